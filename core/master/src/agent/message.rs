//! Messages of agents, one handler each.

use protocol::internal::{ExecutorToFrameworkMessage, ExitedExecutorMessage};
use protocol::messages::AgentToMaster;
use protocol::pid::Pid;

use crate::Master;
use crate::event::Event;
use crate::metrics::Counter;
use crate::notice::Notice;

impl Master {
    pub(crate) fn agent_message(&mut self, from: Pid, message: AgentToMaster) {
        let registers =
            matches!(message, AgentToMaster::RegisterSlave(_) | AgentToMaster::ReregisterSlave(_));
        if registers {
            if self.is_authenticating(&from) {
                self.wait_for_authentication(
                    &from,
                    Event::AgentMessage { from: from.clone(), message: Box::new(message) },
                );
                return;
            }
            let is_proven = self.use_principal(&from).is_some();
            if self.config.authenticate_agents && !is_proven {
                // It authenticates and registers again by itself.
                self.metrics.add(Counter::DroppedMessages);
                return;
            }
        }
        match message {
            AgentToMaster::Authenticate(message) => self.authenticate(from, &message),
            AgentToMaster::RegisterSlave(message) => self.register_agent(from, message),
            AgentToMaster::ReregisterSlave(message) => self.reregister_agent(from, message),
            AgentToMaster::UnregisterSlave(message) => {
                self.unregister_agent(&from, &message.slave_id);
            }
            AgentToMaster::UpdateSlave(message) => self.update_agent(message),
            AgentToMaster::StatusUpdate(message) => self.status_update(message),
            AgentToMaster::ExitedExecutor(message) => self.exited_executor(message),
            AgentToMaster::ExecutorToFramework(message) => self.executor_message(message),
            AgentToMaster::UpdateOperationStatus(message) => self.operation_update(message),
            AgentToMaster::PongSlave(_) => self.pong(&from),
        }
    }

    fn exited_executor(&mut self, message: ExitedExecutorMessage) {
        self.metrics.add(Counter::MessagesExitedExecutor);
        let returning = self.writes.forget_executor(&message);
        let ExitedExecutorMessage { slave_id, framework_id, executor_id, status, .. } = message;
        let known = self
            .agents
            .registered
            .get(&slave_id)
            .is_some_and(|agent| agent.executor(&framework_id, &executor_id).is_some());
        if !known && !returning {
            return;
        }
        self.remove_executor(&slave_id, &framework_id, &executor_id);
        self.notify(
            &framework_id,
            Notice::ExecutorExited { agent: slave_id, executor: executor_id, status },
        );
    }

    fn executor_message(&mut self, message: ExecutorToFrameworkMessage) {
        self.metrics.add(Counter::MessagesExecutorToFramework);
        let ExecutorToFrameworkMessage { slave_id, framework_id, executor_id, data, .. } = message;
        let known = self.agents.registered.contains_key(&slave_id)
            && self
                .frameworks
                .registered
                .get(&framework_id)
                .is_some_and(crate::framework::Framework::connected);
        if !known {
            self.metrics.add(Counter::InvalidExecutorToFramework);
            return;
        }
        self.notify(
            &framework_id,
            Notice::Message { agent: slave_id, executor: executor_id, data },
        );
        self.metrics.add(Counter::ValidExecutorToFramework);
    }
}
