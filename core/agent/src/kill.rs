//! Killing tasks, wherever they are on their way (`Slave::killTask`, `Slave::kill`), and draining.

use std::sync::Arc;

use protocol::executor as executor_api;
use protocol::internal::KillTaskMessage;
use protocol::mesos::{self, TaskState, task_status};
use protocol::time::Timestamp;

use crate::agent::{Agent, Drain};
use crate::checkpoint::{self, Change};
use crate::effect::Severity;
use crate::executor::{ExecutorKey, State};
use crate::framework::{self, Framework};
use crate::launch::Launch;
use crate::status::AgentStatus;
use crate::view::Phase;

impl Agent {
    pub(crate) fn kill_task(&mut self, now: Timestamp, message: KillTaskMessage) {
        if !matches!(self.phase, Phase::Disconnected | Phase::Running) {
            self.log(Severity::Warning, "a kill was ignored: the agent recovers or terminates");
            return;
        }
        let id = message.framework_id;
        let task = message.task_id;
        let Some(framework) = self.frameworks.get(&id) else {
            let message = format!("a kill of task {} was ignored: no such framework", task.value);
            self.log(Severity::Warning, message);
            return;
        };
        // A framework that is gone cannot acknowledge anything.
        if framework.state == framework::State::Terminating {
            return;
        }
        if framework.pending_launch_of(&task).is_some() {
            self.kill_pending(now, &id, &task);
            return;
        }
        let Some(executor) = framework.executor_of(&task) else {
            let is_aware = framework.is_partition_aware();
            let status = AgentStatus {
                task: &task,
                executor: None,
                state: if is_aware { TaskState::TaskDropped } else { TaskState::TaskLost },
                reason: task_status::Reason::ReasonExecutorTerminated,
                message: "Cannot find executor",
            };
            self.send_unrecorded_status(now, &id, &status);
            return;
        };
        let key = executor.key();
        self.kill(now, &key, &task, message.kill_policy);
    }

    /// Kills a task, and the rest of its group, before its executor was even started for it.
    fn kill_pending(&mut self, now: Timestamp, id: &mesos::FrameworkId, task: &mesos::TaskId) {
        let Some(framework) = self.frameworks.get(id) else { return };
        let Some(index) = framework.pending_launch_of(task) else { return };
        let launch: Launch = framework.pending[index].clone();
        if launch.launch_executor == Some(true) {
            self.send_exited_executor(id, &launch.executor.executor_id, None);
        }
        let tasks: Vec<mesos::TaskId> = launch.tasks().map(|task| task.task_id.clone()).collect();
        let message = killed_message(launch.work.is_group());
        for task in &tasks {
            self.send_killed(now, id, &launch.executor.executor_id, task, message);
        }
    }

    /// Kills a task its executor has, or waits for.
    fn kill(
        &mut self,
        now: Timestamp,
        key: &ExecutorKey,
        task: &mesos::TaskId,
        policy: Option<mesos::KillPolicy>,
    ) {
        let Some(executor) = self.executor_mut(key) else { return };
        if matches!(executor.state, State::Terminating | State::Terminated) {
            return;
        }
        if executor.queued.contains_key(task) {
            let group = executor.queued_group(task);
            let is_registered = executor.state == State::Running;
            let tasks: Vec<mesos::TaskId> = match &group {
                Some(group) => group.tasks.iter().map(|task| task.task_id.clone()).collect(),
                None => vec![task.clone()],
            };
            for task in &tasks {
                let message = killed_message(group.is_some());
                self.send_killed(now, &key.framework, &key.executor, task, message);
            }
            // An executor that waits for its first task would wait for ever.
            let executor = self.executor(key);
            if is_registered && executor.is_some_and(|executor| executor.is_pointless()) {
                self.shut_down_executor(now, key);
            }
            return;
        }
        if executor.terminated.contains_key(task) {
            return;
        }
        if executor.connection.is_none() {
            executor.undelivered_kills.insert(task.clone(), policy);
            return;
        }
        self.send_kill(key, task, policy);
    }

    pub(crate) fn send_kill(
        &mut self,
        key: &ExecutorKey,
        task: &mesos::TaskId,
        policy: Option<mesos::KillPolicy>,
    ) {
        let kill = executor_api::event::Kill {
            task_id: task.clone(),
            kill_policy: policy,
            ..Default::default()
        };
        let event = executor_api::Event {
            r#type: Some(executor_api::event::Type::Kill),
            kill: Some(kill),
            ..Default::default()
        };
        self.send_to_executor(key, event);
    }

    fn send_killed(
        &mut self,
        now: Timestamp,
        framework: &mesos::FrameworkId,
        executor: &mesos::ExecutorId,
        task: &mesos::TaskId,
        message: &str,
    ) {
        let status = AgentStatus {
            task,
            executor: Some(executor),
            state: TaskState::TaskKilled,
            reason: task_status::Reason::ReasonTaskKilledDuringLaunch,
            message,
        };
        self.send_status(now, framework, &status);
    }

    /// Kills everything and takes nothing new, until the master says otherwise or all is gone.
    pub(crate) fn start_drain(&mut self, now: Timestamp, config: mesos::DrainConfig) {
        if self.frameworks.is_empty() && self.operations.is_empty() {
            self.log(Severity::Info, "asked to drain with nothing to drain");
            return;
        }
        let path = checkpoint::drain_config(&self.agent_id());
        self.outbox.change(checkpoint::write_message(path, &config));
        self.drain = Some(Drain { config: Arc::new(config), started: now });
        self.kill_everything(now);
    }

    /// Kills all tasks, with the drain's bound on their grace periods.
    pub(crate) fn kill_everything(&mut self, now: Timestamp) {
        let ids: Vec<mesos::FrameworkId> = self.frameworks.keys().cloned().collect();
        for id in ids {
            while let Some(task) = self.frameworks.get(&id).and_then(first_pending_task) {
                self.kill_pending(now, &id, &task);
            }
            let Some(framework) = self.frameworks.get(&id) else { continue };
            let mut kills = Vec::new();
            for executor in framework.executors.values() {
                let queued =
                    executor.queued.values().map(|task| (&task.task_id, &task.kill_policy));
                let launched =
                    executor.launched.values().map(|task| (&task.task_id, &task.kill_policy));
                for (task, policy) in queued.chain(launched) {
                    kills.push((executor.key(), task.clone(), self.drain_policy(policy.as_ref())));
                }
            }
            for (key, task, policy) in kills {
                self.kill(now, &key, &task, policy);
            }
        }
    }

    /// The grace period a draining agent imposes, if the task's own is longer or unknown.
    fn drain_policy(&self, own: Option<&mesos::KillPolicy>) -> Option<mesos::KillPolicy> {
        let bound = self.drain.as_ref()?.config.max_grace_period.clone()?;
        let own = own.and_then(|policy| policy.grace_period.as_ref());
        if own.is_some_and(|own| own.nanoseconds <= bound.nanoseconds) {
            return None;
        }
        Some(mesos::KillPolicy { grace_period: Some(bound), ..Default::default() })
    }

    /// Ends the drain once nothing is left.
    pub(crate) fn finish_drain_if_complete(&mut self) {
        if self.drain.is_some() && self.frameworks.is_empty() && self.operations.is_empty() {
            self.log(Severity::Info, "the agent is drained");
            self.drain = None;
            let path = checkpoint::drain_config(&self.agent_id());
            self.outbox.change(Change::Remove { path });
        }
    }
}

fn first_pending_task(framework: &Framework) -> Option<mesos::TaskId> {
    framework.pending.first()?.tasks().next().map(|task| task.task_id.clone())
}

const fn killed_message(is_group: bool) -> &'static str {
    if is_group {
        "A task within the task group was killed before delivery to the executor"
    } else {
        "Killed before delivery to the executor"
    }
}
