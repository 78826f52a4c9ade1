//! Messages from the master: who may send them, and one handler for each.

use std::sync::Arc;

use protocol::executor as executor_api;
use protocol::internal::{FrameworkToExecutorMessage, UpdateFrameworkMessage};
use protocol::messages::MasterToAgent;
use protocol::pid::Pid;
use protocol::time::Timestamp;

use crate::agent::Agent;
use crate::effect::Severity;
use crate::executor::{ExecutorKey, State};
use crate::framework;
use crate::view::Phase;

impl Agent {
    pub(crate) fn master_message(&mut self, now: Timestamp, from: &Pid, message: MasterToAgent) {
        if let MasterToAgent::PingSlave(ping) = &message {
            // Pings come from the master's observer of this agent, under an id of its own.
            self.pinged(now, from, ping.connected);
            return;
        }
        if self.master() != Some(from) {
            self.metrics.foreign_master_messages += 1;
            let text = format!("{} from {from} ignored: it is not the leader", message.name());
            self.log(Severity::Warning, text);
            return;
        }
        if matches!(self.phase, Phase::Recovering | Phase::Reconnecting) {
            // Nothing was said to this master yet, so this is for the run before this one.
            let text = format!("{} from {from} ignored: recovery is under way", message.name());
            self.log(Severity::Warning, text);
            return;
        }
        self.leader_message(now, message);
    }

    fn leader_message(&mut self, now: Timestamp, message: MasterToAgent) {
        match message {
            MasterToAgent::SlaveRegistered(message) => {
                self.agent_registered(now, &message.slave_id, message.connection);
            }
            MasterToAgent::SlaveReregistered(message) => {
                let reconciliations = &message.reconciliations;
                self.agent_reregistered(
                    now,
                    &message.slave_id,
                    reconciliations,
                    message.connection,
                );
            }
            MasterToAgent::PingSlave(_) => {}
            MasterToAgent::RunTask(message) => self.run_task(now, *message),
            MasterToAgent::RunTaskGroup(message) => self.run_task_group(now, *message),
            MasterToAgent::KillTask(message) => self.kill_task(now, message),
            MasterToAgent::ShutdownExecutor(message) => {
                self.shutdown_executor_message(now, message);
            }
            MasterToAgent::ShutdownFramework(message) => {
                self.shutdown_framework(now, &message.framework_id);
            }
            MasterToAgent::FrameworkToExecutor(message) => self.framework_message(message),
            MasterToAgent::UpdateFramework(message) => self.update_framework(now, message),
            MasterToAgent::CheckpointResources(message) => self.checkpoint_resources(&message),
            MasterToAgent::ApplyOperation(message) => self.apply_operation(now, *message),
            MasterToAgent::ReconcileOperations(message) => self.reconcile_operations(&message),
            MasterToAgent::StatusUpdateAcknowledgement(message) => {
                let uuid = &message.uuid;
                self.update_acknowledged(now, &message.framework_id, &message.task_id, uuid);
            }
            MasterToAgent::AcknowledgeOperationStatus(message) => {
                self.operation_acknowledged(&message);
            }
            MasterToAgent::DrainSlave(message) => self.start_drain(now, message.config),
            MasterToAgent::Shutdown(message) => {
                self.shutdown_agent(now, message.message.as_deref());
            }
            MasterToAgent::AuthenticationError(message) => {
                let error = message.error.unwrap_or_default();
                self.log(Severity::Warning, format!("authentication failed: {error}"));
            }
        }
    }

    fn framework_message(&mut self, message: FrameworkToExecutorMessage) {
        let key = ExecutorKey { framework: message.framework_id, executor: message.executor_id };
        let framework = self.frameworks.get(&key.framework);
        let is_running = framework.is_some_and(|it| it.state == framework::State::Running);
        let hears = self.executor(&key).is_some_and(|executor| {
            executor.state == State::Running && executor.connection.is_some()
        });
        if self.phase != Phase::Running || !is_running || !hears {
            self.metrics.invalid_framework_messages += 1;
            return;
        }
        self.metrics.valid_framework_messages += 1;
        let event = executor_api::Event {
            r#type: Some(executor_api::event::Type::Message),
            message: Some(executor_api::event::Message {
                data: message.data,
                ..Default::default()
            }),
            ..Default::default()
        };
        self.send_to_executor(&key, event);
    }

    /// The framework subscribed again, possibly from elsewhere or with another description.
    fn update_framework(&mut self, now: Timestamp, message: UpdateFrameworkMessage) {
        if self.phase != Phase::Running {
            self.metrics.invalid_framework_messages += 1;
            return;
        }
        let Some(mut framework) = self.frameworks.remove(&message.framework_id) else { return };
        if framework.state == framework::State::Running {
            if let Some(mut info) = message.framework_info {
                info.id.get_or_insert_with(|| framework.id.clone());
                framework.info = Arc::new(*info);
            }
            let pid = message.pid.and_then(|pid| pid.parse::<Pid>().ok());
            framework.pid = pid.filter(|pid| !pid.is_empty());
            self.checkpoint_framework(&framework);
        }
        self.frameworks.insert(framework.id.clone(), framework);
        // It can hear now what it missed.
        self.resume_updates(now);
    }
}
