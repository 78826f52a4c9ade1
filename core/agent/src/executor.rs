//! One run of an executor and its tasks.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use indexmap::IndexMap;
use protocol::mesos::{self, TaskState, task_status};

use crate::event::ConnectionId;
use crate::task;
use crate::timers::TimerId;

/// The life of an executor: each state leads only to later ones.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum State {
    /// Launched, or recovered, and not subscribed (again) yet.
    Registering,
    /// Subscribed.
    Running,
    /// Asked to end, or being destroyed.
    Terminating,
    /// Its container is gone; updates of its tasks may still wait for acknowledgement.
    Terminated,
}

/// Which executor, among all frameworks'.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ExecutorKey {
    /// The framework.
    pub framework: mesos::FrameworkId,
    /// The executor.
    pub executor: mesos::ExecutorId,
}

/// Why the agent ended an executor's container; told to the tasks it takes along.
#[derive(Clone, Debug, PartialEq)]
pub struct PendingTermination {
    /// The state of its tasks.
    pub state: TaskState,
    /// The reason.
    pub reason: task_status::Reason,
    /// For the framework's eyes.
    pub message: String,
}

/// The stream of a subscribed executor.
#[derive(Debug)]
pub struct Connection {
    /// The stream.
    pub id: ConnectionId,
    /// The next sign of life.
    pub heartbeat: TimerId,
}

/// One run.
#[derive(Debug)]
pub struct Executor {
    /// As the framework or the agent described it.
    pub info: Arc<mesos::ExecutorInfo>,
    /// The framework.
    pub framework: mesos::FrameworkId,
    /// The container of this run.
    pub container: mesos::ContainerId,
    /// What the containers say about it, once launched.
    pub container_status: Option<mesos::ContainerStatus>,
    /// The sandbox, absolute.
    pub directory: String,
    /// Whether its state is written to disk.
    pub checkpoint: bool,
    /// Whether the agent made it for one command task.
    pub is_command_executor: bool,
    /// Where it is in its life.
    pub state: State,
    /// Its stream, while it is connected.
    pub connection: Option<Connection>,
    /// Set when the agent decided to end it.
    pub pending_termination: Option<PendingTermination>,
    /// Tasks waiting for it.
    pub queued: IndexMap<mesos::TaskId, Arc<mesos::TaskInfo>>,
    /// The groups some of the queued tasks belong to: all tasks of a group are queued, or none.
    pub queued_groups: Vec<Arc<mesos::TaskGroupInfo>>,
    /// Tasks it was given.
    pub launched: IndexMap<mesos::TaskId, Arc<mesos::Task>>,
    /// Tasks that are over and wait for an acknowledgement.
    pub terminated: IndexMap<mesos::TaskId, Arc<mesos::Task>>,
    /// Tasks that are over and acknowledged; bounded.
    pub completed: VecDeque<Arc<mesos::Task>>,
    /// Kills that came while it was not connected.
    pub undelivered_kills: BTreeMap<mesos::TaskId, Option<mesos::KillPolicy>>,
    /// Whether it ever reported anything of a task, so that it had one.
    pub had_task: bool,
}

/// Why a status does not change a task.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TransitionError {
    /// An executor cannot know a task it was not given.
    #[error("the task is still queued")]
    Queued,
    /// Nothing follows a terminal state.
    #[error("the task is already terminated")]
    Terminated,
    /// No such task here.
    #[error("the task is unknown")]
    Unknown,
}

impl Executor {
    /// What identifies it.
    #[must_use]
    pub fn key(&self) -> ExecutorKey {
        ExecutorKey { framework: self.framework.clone(), executor: self.info.executor_id.clone() }
    }

    /// Whether the task is here and not completed.
    #[must_use]
    pub fn has_task(&self, task: &mesos::TaskId) -> bool {
        self.queued.contains_key(task)
            || self.launched.contains_key(task)
            || self.terminated.contains_key(task)
    }

    /// Whether some task is not over, or not acknowledged.
    #[must_use]
    pub fn has_incomplete_tasks(&self) -> bool {
        !self.queued.is_empty() || !self.launched.is_empty() || !self.terminated.is_empty()
    }

    /// Whether it was told to run something and never will: every task was killed on its way.
    #[must_use]
    pub fn is_pointless(&self) -> bool {
        !self.had_task && self.launched.is_empty() && self.queued.is_empty()
    }

    /// Adds a task that waits.
    pub fn enqueue(&mut self, task: Arc<mesos::TaskInfo>) {
        self.queued.insert(task.task_id.clone(), task);
    }

    /// Adds a group of tasks that wait.
    pub fn enqueue_group(&mut self, group: Arc<mesos::TaskGroupInfo>) {
        for task in &group.tasks {
            self.queued.insert(task.task_id.clone(), Arc::new(task.clone()));
        }
        self.queued_groups.push(group);
    }

    /// The group a queued task belongs to.
    #[must_use]
    pub fn queued_group(&self, task: &mesos::TaskId) -> Option<Arc<mesos::TaskGroupInfo>> {
        self.queued_groups
            .iter()
            .find(|group| group.tasks.iter().any(|member| member.task_id == *task))
            .cloned()
    }

    /// Takes a task out of the queue; a group leaves with its last task.
    pub fn dequeue(&mut self, task: &mesos::TaskId) -> Option<Arc<mesos::TaskInfo>> {
        let info = self.queued.shift_remove(task)?;
        let queued = &self.queued;
        self.queued_groups
            .retain(|group| group.tasks.iter().any(|member| queued.contains_key(&member.task_id)));
        Some(info)
    }

    /// Records that the executor was given the task.
    pub fn launch(&mut self, info: &mesos::TaskInfo) {
        let record = task::record(info, TaskState::TaskStaging, &self.framework);
        self.launched.insert(info.task_id.clone(), Arc::new(record));
    }

    /// Whether [`Self::apply_status`] would accept the status.
    ///
    /// # Errors
    /// If the status cannot follow.
    pub fn check_status(&self, status: &mesos::TaskStatus) -> Result<(), TransitionError> {
        if self.queued.contains_key(&status.task_id) {
            let ends = status.state.is_terminal();
            return if ends { Ok(()) } else { Err(TransitionError::Queued) };
        }
        if self.launched.contains_key(&status.task_id) {
            return Ok(());
        }
        if self.terminated.contains_key(&status.task_id) {
            return Err(TransitionError::Terminated);
        }
        Err(TransitionError::Unknown)
    }

    /// Moves a task on.
    ///
    /// # Errors
    /// If the status cannot follow; nothing is changed then.
    pub fn apply_status(&mut self, status: &mesos::TaskStatus) -> Result<(), TransitionError> {
        self.check_status(status)?;
        if status.source == Some(task_status::Source::SourceExecutor) {
            self.had_task = true;
        }
        let ends = status.state.is_terminal();
        if let Some(info) = self.dequeue(&status.task_id) {
            let mut record = task::record(&info, status.state, &self.framework);
            task::append_status(&mut record, status);
            self.terminated.insert(status.task_id.clone(), Arc::new(record));
        } else if ends {
            self.undelivered_kills.remove(&status.task_id);
            if let Some(mut record) = self.launched.shift_remove(&status.task_id) {
                task::append_status(Arc::make_mut(&mut record), status);
                self.terminated.insert(status.task_id.clone(), record);
            }
        } else if let Some(record) = self.launched.get_mut(&status.task_id) {
            task::append_status(Arc::make_mut(record), status);
        }
        Ok(())
    }

    /// The record of a task that was given to the executor and is not completed.
    pub fn record_mut(&mut self, task: &mesos::TaskId) -> Option<&mut mesos::Task> {
        let record = match self.launched.get_mut(task) {
            Some(record) => record,
            None => self.terminated.get_mut(task)?,
        };
        Some(Arc::make_mut(record))
    }

    /// Moves a terminated task to the history. Whether there was such a task.
    pub fn complete(&mut self, task: &mesos::TaskId, completed_tasks_max: usize) -> bool {
        let Some(record) = self.terminated.shift_remove(task) else { return false };
        self.completed.push_back(record);
        while self.completed.len() > completed_tasks_max {
            self.completed.pop_front();
        }
        true
    }
}
