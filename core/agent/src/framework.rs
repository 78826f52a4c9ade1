//! A framework's executors on this agent.

use std::collections::VecDeque;
use std::sync::Arc;

use indexmap::IndexMap;
use protocol::mesos;
use protocol::pid::Pid;

use crate::executor::Executor;
use crate::launch::Launch;
use crate::view::ExecutorView;

/// Whether a framework's tasks may still run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// Tasks come and go.
    Running,
    /// The master said the framework is gone: everything of it ends, and nobody is told.
    Terminating,
}

/// A framework with something on this agent.
#[derive(Debug)]
pub struct Framework {
    /// What the master says about it.
    pub info: Arc<mesos::FrameworkInfo>,
    /// Its id, which `info` has to contain.
    pub id: mesos::FrameworkId,
    /// The scheduler driver's address; `None` for schedulers that speak HTTP.
    pub pid: Option<Pid>,
    /// Running or terminating.
    pub state: State,
    /// Launches that wait until a directory is free, in the order they came.
    pub pending: Vec<Launch>,
    /// Its executors whose end is not accounted for.
    pub executors: IndexMap<mesos::ExecutorId, Executor>,
    /// The last executors that ended, as readers see them; bounded.
    pub completed_executors: VecDeque<Arc<ExecutorView>>,
}

impl Framework {
    /// A framework that has nothing here yet.
    #[must_use]
    pub fn new(info: mesos::FrameworkInfo, id: mesos::FrameworkId, pid: Option<Pid>) -> Self {
        Self {
            info: Arc::new(info),
            id,
            pid,
            state: State::Running,
            pending: Vec::new(),
            executors: IndexMap::new(),
            completed_executors: VecDeque::new(),
        }
    }

    /// Whether the framework's state is written to disk, so that its tasks outlive the agent.
    #[must_use]
    pub fn checkpoints(&self) -> bool {
        self.info.checkpoint.unwrap_or(false)
    }

    /// Whether the framework knows the states between lost and running.
    #[must_use]
    pub fn is_partition_aware(&self) -> bool {
        is_partition_aware(&self.info)
    }

    /// Whether nothing of it is left.
    #[must_use]
    pub fn is_idle(&self) -> bool {
        self.executors.is_empty() && self.pending.is_empty()
    }

    /// The executor that has the task.
    #[must_use]
    pub fn executor_of(&self, task: &mesos::TaskId) -> Option<&Executor> {
        self.executors.values().find(|executor| executor.has_task(task))
    }

    /// Whether the task is here in any form but completed.
    #[must_use]
    pub fn has_task(&self, task: &mesos::TaskId) -> bool {
        self.pending_launch_of(task).is_some() || self.executor_of(task).is_some()
    }

    /// Whether the task is in the history, as far as that goes back.
    #[must_use]
    pub fn has_completed(&self, task: &mesos::TaskId) -> bool {
        let living = self.executors.values().flat_map(|executor| &executor.completed);
        let over = self
            .completed_executors
            .iter()
            .flat_map(|view| view.terminated_tasks.iter().chain(&view.completed_tasks));
        living.chain(over).any(|record| record.task_id == *task)
    }

    /// The waiting launch that has the task.
    #[must_use]
    pub fn pending_launch_of(&self, task: &mesos::TaskId) -> Option<usize> {
        self.pending.iter().position(|launch| launch.tasks().any(|info| info.task_id == *task))
    }

    /// Remembers an executor that is over.
    pub fn complete(&mut self, executor: Arc<ExecutorView>, completed_executors_max: usize) {
        self.completed_executors.push_back(executor);
        while self.completed_executors.len() > completed_executors_max {
            self.completed_executors.pop_front();
        }
    }
}

/// Whether the framework knows the states between lost and running.
#[must_use]
pub fn is_partition_aware(info: &mesos::FrameworkInfo) -> bool {
    use mesos::framework_info::capability::Type;
    info.capabilities.iter().any(|capability| capability.r#type == Some(Type::PartitionAware))
}

/// The roles a framework is in, whichever way it says so.
#[must_use]
pub fn roles(info: &mesos::FrameworkInfo) -> Vec<String> {
    use mesos::framework_info::capability::Type;
    let is_multi_role =
        info.capabilities.iter().any(|capability| capability.r#type == Some(Type::MultiRole));
    if is_multi_role {
        info.roles.clone()
    } else {
        vec![info.role.clone().unwrap_or_else(|| "*".to_owned())]
    }
}
