//! Containers that start, fail to start, and end; what becomes of their tasks, executors and
//! frameworks (`Slave::executorLaunched` to `Slave::removeFramework`).

use protocol::mesos::{self, TaskState, task_status};
use protocol::time::Timestamp;

use crate::agent::Agent;
use crate::checkpoint::Change;
use crate::effect::{Effect, Severity};
use crate::event::ContainerTermination;
use crate::executor::{ExecutorKey, PendingTermination, State};
use crate::framework;
use crate::snapshot::{executor_view, framework_view};
use crate::status::{AgentStatus, Origin};
use crate::view::Phase;

impl Agent {
    pub(crate) fn container_launched(
        &mut self,
        container: &mesos::ContainerId,
        mut status: mesos::ContainerStatus,
    ) {
        if status.container_id.is_none() {
            status.container_id = Some(container.clone());
        }
        // A terminating executor gets its grace period even if its container was late; an unknown
        // one may not linger.
        match self.executor_in(container) {
            Some(executor) => executor.container_status = Some(status),
            None => self.outbox.send(Effect::DestroyContainer { container: container.clone() }),
        }
    }

    pub(crate) fn container_launch_failed(
        &mut self,
        now: Timestamp,
        container: &mesos::ContainerId,
        message: &str,
        reason: Option<task_status::Reason>,
    ) {
        self.metrics.container_launch_errors += 1;
        let Some(executor) = self.executor_in(container) else { return };
        executor.pending_termination = Some(PendingTermination {
            state: TaskState::TaskFailed,
            reason: reason.unwrap_or(task_status::Reason::ReasonContainerLaunchFailed),
            message: format!("Failed to launch container: {message}"),
        });
        let text = format!("container {} failed to launch: {message}", container.value);
        self.log(Severity::Error, text);
        self.container_exited(now, container, &ContainerTermination::default());
    }

    pub(crate) fn container_update_failed(
        &mut self,
        container: &mesos::ContainerId,
        message: &str,
    ) {
        let Some(executor) = self.executor_in(container) else { return };
        let key = executor.key();
        let framework = self.frameworks.get(&key.framework);
        let is_aware = framework.is_some_and(framework::Framework::is_partition_aware);
        let pending = PendingTermination {
            state: if is_aware { TaskState::TaskGone } else { TaskState::TaskLost },
            reason: task_status::Reason::ReasonContainerUpdateFailed,
            message: format!("Failed to update resources for container: {message}"),
        };
        if let Some(executor) = self.executor_mut(&key) {
            executor.pending_termination = Some(pending);
        }
        self.outbox.send(Effect::DestroyContainer { container: container.clone() });
    }

    pub(crate) fn container_exited(
        &mut self,
        now: Timestamp,
        container: &mesos::ContainerId,
        termination: &ContainerTermination,
    ) {
        let Some(executor) = self.executor_in(container) else { return };
        if executor.state == State::Terminated {
            return;
        }
        let key = executor.key();
        executor.state = State::Terminated;
        let is_command_executor = executor.is_command_executor;
        self.close_connection(&key);
        self.containers.remove(container);
        self.metrics.executors_terminated += 1;
        let framework = self.frameworks.get(&key.framework);
        let is_told = framework.is_some_and(|it| it.state == framework::State::Running);
        if is_told {
            self.end_tasks(now, &key, termination);
        } else {
            self.end_tasks_silently(&key);
        }
        if !is_command_executor {
            self.send_exited_executor(&key.framework, &key.executor, termination.status);
        }
        let is_over = !is_told
            || self.phase == Phase::Terminating
            || self.executor(&key).is_some_and(|executor| !executor.has_incomplete_tasks());
        if is_over {
            self.remove_executor(now, &key);
        }
        self.remove_framework_if_idle(now, &key.framework);
        self.finish_reconnecting_if_complete(now);
    }

    /// Reports the end of every task that is not over.
    fn end_tasks(&mut self, now: Timestamp, key: &ExecutorKey, termination: &ContainerTermination) {
        let Some(executor) = self.executor(key) else { return };
        let pending = executor.pending_termination.clone();
        let tasks: Vec<mesos::TaskId> =
            executor.launched.keys().chain(executor.queued.keys()).cloned().collect();
        let message = end_message(pending.as_ref(), termination);
        let limitation = termination.limitation.as_ref();
        let state = match (limitation, &pending) {
            (None, Some(pending)) => pending.state,
            (Some(_), _) | (None, None) => TaskState::TaskFailed,
        };
        let reason = limitation
            .map(|limitation| limitation.reason)
            .or(pending.map(|pending| pending.reason))
            .unwrap_or(task_status::Reason::ReasonExecutorTerminated);
        for task in tasks {
            let status = AgentStatus {
                task: &task,
                executor: Some(&key.executor),
                state,
                reason,
                message: &message,
            };
            let mut update = self.status_of_agent(now, &key.framework, &status);
            let resources = limitation.map(|limitation| limitation.resources.clone());
            update.status.limitation = resources
                .filter(|it| !it.is_empty())
                .map(|resources| mesos::TaskResourceLimitation { resources, ..Default::default() });
            self.status_update(now, update, &Origin::Agent);
        }
    }

    /// The framework is gone: its tasks only have to stop using resources.
    fn end_tasks_silently(&mut self, key: &ExecutorKey) {
        let Some(executor) = self.executor_mut(key) else { return };
        let launched = std::mem::take(&mut executor.launched);
        executor.terminated.extend(launched);
        executor.queued.clear();
        executor.queued_groups.clear();
    }

    /// Accounts for an executor that is over, and leaves its sandbox to the garbage collection.
    pub(crate) fn remove_executor(&mut self, now: Timestamp, key: &ExecutorKey) {
        let Some(framework) = self.frameworks.get_mut(&key.framework) else { return };
        let Some(executor) = framework.executors.shift_remove(&key.executor) else { return };
        let is_awaited =
            framework.pending.iter().any(|launch| launch.executor.executor_id == key.executor);
        let checkpoint = executor.checkpoint;
        let directory = executor.directory.clone();
        let container = executor.container.clone();
        let completed_max = self.config.history.completed_executors_per_framework_max;
        framework.complete(executor_view(&executor), completed_max);
        let path = self.executor_path(key);
        let run = path.run(&container);
        if checkpoint {
            self.outbox.change(Change::Write { path: run.sentinel(), content: Vec::new() });
            self.schedule_removal(now, self.meta_path(&run.directory));
        }
        self.schedule_removal(now, directory);
        if !is_awaited {
            self.schedule_removal(now, self.work_path(&path.directory()));
            if checkpoint {
                self.schedule_removal(now, self.meta_path(&path.directory()));
            }
        }
    }

    pub(crate) fn remove_framework_if_idle(&mut self, now: Timestamp, id: &mesos::FrameworkId) {
        if self.frameworks.get(id).is_none_or(|framework| !framework.is_idle()) {
            return;
        }
        let Some(framework) = self.frameworks.remove(id) else { return };
        if framework.state == framework::State::Terminating || self.phase == Phase::Terminating {
            self.forget_updates(id);
        }
        let directory = crate::checkpoint::framework_directory(&self.agent_id(), id);
        if framework.checkpoints() {
            self.schedule_removal(now, self.meta_path(&directory));
        }
        self.schedule_removal(now, self.work_path(&directory));
        self.completed_frameworks.push_back(framework_view(&framework));
        while self.completed_frameworks.len() > self.config.history.completed_frameworks_max {
            self.completed_frameworks.pop_front();
        }
        self.finish_drain_if_complete();
        self.exit_if_ended();
    }
}

fn end_message(pending: Option<&PendingTermination>, termination: &ContainerTermination) -> String {
    let of_limitation = termination.limitation.as_ref().map(|it| it.message.as_str());
    let messages: Vec<&str> = pending
        .map(|pending| pending.message.as_str())
        .into_iter()
        .chain(of_limitation)
        .chain(termination.message.as_deref())
        .filter(|message| !message.is_empty())
        .collect();
    if messages.is_empty() { "Executor terminated".to_owned() } else { messages.join("; ") }
}
