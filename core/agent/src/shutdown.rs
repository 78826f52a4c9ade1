//! Ending executors, frameworks and the agent on request.

use protocol::internal::{ExitedExecutorMessage, ShutdownExecutorMessage, UnregisterSlaveMessage};
use protocol::mesos::{self, TaskState, task_status};
use protocol::messages::AgentToMaster;
use protocol::time::Timestamp;

use crate::agent::Agent;
use crate::effect::{Effect, Severity};
use crate::environment;
use crate::executor::{ExecutorKey, PendingTermination, State};
use crate::framework;
use crate::subscription::shutdown_event;
use crate::timers::Timer;
use crate::view::Phase;

impl Agent {
    pub(crate) fn shutdown_executor_message(
        &mut self,
        now: Timestamp,
        message: ShutdownExecutorMessage,
    ) {
        if !matches!(self.phase, Phase::Running | Phase::Terminating) {
            return;
        }
        let (Some(framework), Some(executor)) = (message.framework_id, message.executor_id) else {
            self.log(Severity::Warning, "a shutdown of an executor was ignored: it names none");
            return;
        };
        let key = ExecutorKey { framework, executor };
        let is_running = self
            .frameworks
            .get(&key.framework)
            .is_some_and(|framework| framework.state == framework::State::Running);
        if is_running {
            self.shut_down_executor(now, &key);
            self.remove_framework_if_idle(now, &key.framework);
        }
    }

    /// Asks an executor to end, and destroys it when its grace period is over. One that is not
    /// connected cannot hear that, but is told when it subscribes. One that is ending already is
    /// left alone.
    pub(crate) fn shut_down_executor(&mut self, now: Timestamp, key: &ExecutorKey) {
        let Some(executor) = self.executor_mut(key) else { return };
        if matches!(executor.state, State::Terminating | State::Terminated) {
            return;
        }
        executor.state = State::Terminating;
        let container = executor.container.clone();
        let info = executor.info.clone();
        self.send_to_executor(key, shutdown_event());
        let due = now + environment::shutdown_grace_period(&self.config, &info);
        self.timers.set(due, Timer::ExecutorShutdown { container });
    }

    pub(crate) fn shutdown_missed(&mut self, container: &mesos::ContainerId) {
        let Some(executor) = self.executor_in(container) else { return };
        if executor.state == State::Terminating {
            self.outbox.send(Effect::DestroyContainer { container: container.clone() });
        }
    }

    /// An executor never subscribed.
    pub(crate) fn registration_missed(&mut self, container: &mesos::ContainerId) {
        let timeout = protocol::duration::format(self.config.timing.executor_registration_timeout);
        let Some(executor) = self.executor_in(container) else { return };
        if executor.state != State::Registering {
            return;
        }
        executor.state = State::Terminating;
        executor.pending_termination = Some(PendingTermination {
            state: TaskState::TaskFailed,
            reason: task_status::Reason::ReasonExecutorRegistrationTimeout,
            message: format!("Executor did not register within {timeout}"),
        });
        self.outbox.send(Effect::DestroyContainer { container: container.clone() });
    }

    /// The master says the framework is gone for good.
    pub(crate) fn shutdown_framework(&mut self, now: Timestamp, id: &mesos::FrameworkId) {
        if !matches!(self.phase, Phase::Running | Phase::Terminating) {
            return;
        }
        let Some(framework) = self.frameworks.get_mut(id) else {
            // Updates nobody will ever acknowledge.
            self.forget_updates(id);
            return;
        };
        if framework.state == framework::State::Terminating {
            return;
        }
        framework.state = framework::State::Terminating;
        framework.pending.clear();
        let keys: Vec<ExecutorKey> =
            framework.executors.values().map(crate::executor::Executor::key).collect();
        for key in keys {
            if self.executor(&key).is_some_and(|executor| executor.state == State::Terminated) {
                self.remove_executor(now, &key);
            } else {
                self.shut_down_executor(now, &key);
            }
        }
        self.remove_framework_if_idle(now, id);
    }

    pub(crate) fn forget_updates(&mut self, id: &mesos::FrameworkId) {
        for mut stream in self.streams.remove_framework(id) {
            if let Some(timer) = stream.retry.take() {
                self.timers.cancel(timer);
            }
        }
    }

    /// The master wants the agent gone.
    pub(crate) fn shutdown_agent(&mut self, now: Timestamp, message: Option<&str>) {
        let why = message.filter(|message| !message.is_empty());
        let why = why.map(|why| format!(": {why}")).unwrap_or_default();
        self.log(Severity::Warning, format!("asked by the master to shut down{why}"));
        self.end(now, format!("shut down by the master{why}"));
    }

    /// The operator wants the agent to leave.
    pub(crate) fn unregister(&mut self, now: Timestamp, message: &str) {
        if self.info.id.is_some() && self.phase == Phase::Running {
            let message =
                UnregisterSlaveMessage { slave_id: self.agent_id(), ..Default::default() };
            self.send_to_master(AgentToMaster::UnregisterSlave(message));
        }
        self.end(now, format!("unregistered: {message}"));
    }

    /// Ends every framework; the process exits with the last of them.
    pub(crate) fn end(&mut self, now: Timestamp, reason: String) {
        if self.phase == Phase::Terminating {
            return;
        }
        self.phase = Phase::Terminating;
        self.exit_reason = Some(reason);
        let ids: Vec<mesos::FrameworkId> = self.frameworks.keys().cloned().collect();
        for id in ids {
            self.shutdown_framework(now, &id);
        }
        self.exit_if_ended();
    }

    pub(crate) fn exit_if_ended(&mut self) {
        if self.phase == Phase::Terminating && self.frameworks.is_empty() {
            let reason = self.exit_reason.clone().unwrap_or_else(|| "ended".to_owned());
            self.exit(0, reason);
        }
    }

    /// Tells the master that an executor it counts is not there, with its wait status.
    pub(crate) fn send_exited_executor(
        &mut self,
        framework: &mesos::FrameworkId,
        executor: &mesos::ExecutorId,
        status: Option<i32>,
    ) {
        let message = ExitedExecutorMessage {
            slave_id: self.agent_id(),
            framework_id: framework.clone(),
            executor_id: executor.clone(),
            status: status.unwrap_or(-1),
            ..Default::default()
        };
        self.send_to_master(AgentToMaster::ExitedExecutor(message));
    }
}
