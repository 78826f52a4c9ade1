//! A task as it is kept: with hundreds of thousands of them, their size is the master's size.

use std::sync::Arc;

use protocol::Message;
use protocol::mesos::{AgentId, ExecutorId, FrameworkId, Task, TaskId, TaskState, TaskStatus};
use resources::Resources;

/// The number of the field `Task.statuses`.
const STATUSES: u32 = 8;

/// Room for one more status: most fit.
const STATUS_BYTES: usize = 192;

/// A task: what decisions need as fields, all else encoded.
///
/// The ids are shared with others that hold the same; statuses stand without the ids of the task, which
/// [`TaskRecord::to_task`] puts in again.
#[derive(Clone, Debug, PartialEq)]
pub struct TaskRecord {
    /// The task.
    pub task_id: Arc<TaskId>,
    /// Whose it is.
    pub framework_id: Arc<FrameworkId>,
    /// Where it runs, or ran.
    pub agent_id: Arc<AgentId>,
    /// The executor that it runs under; none for a command.
    pub executor_id: Option<Box<ExecutorId>>,
    /// The latest state that is known.
    pub state: TaskState,
    /// The state in the latest update that was forwarded to the framework.
    pub status_update_state: Option<TaskState>,
    /// That update, as it is to be acknowledged.
    status_update_uuid: Option<Box<[u8]>>,
    /// The state in the latest status, and where that begins in `statuses`.
    last_status: Option<(TaskState, u32)>,
    /// What it holds, allocated to the role of its offer; nothing once it has ended.
    held: Resources,
    /// A `Task` without what stands above and without statuses.
    description: Arc<[u8]>,
    /// The statuses as fields of a `Task`.
    statuses: Box<[u8]>,
}

/// The ids of a task, each shared with all that keep it.
#[derive(Debug)]
pub(crate) struct TaskIds {
    pub(crate) task: Arc<TaskId>,
    pub(crate) framework: Arc<FrameworkId>,
    pub(crate) agent: Arc<AgentId>,
}

impl TaskIds {
    /// Takes the ids out of a task, shared with nobody.
    pub(crate) fn take(task: &mut Task) -> Self {
        Self {
            task: Arc::new(std::mem::take(&mut task.task_id)),
            framework: Arc::new(std::mem::take(&mut task.framework_id)),
            agent: Arc::new(std::mem::take(&mut task.agent_id)),
        }
    }
}

impl TaskRecord {
    /// What there is to be kept of `task`, which holds `held`. Of the task are left those of its fields
    /// that stand encoded.
    pub(crate) fn new(ids: TaskIds, task: &mut Task, held: Resources) -> Self {
        let mut statuses = std::mem::take(&mut task.statuses);
        let mut record = Self {
            task_id: ids.task,
            framework_id: ids.framework,
            agent_id: ids.agent,
            executor_id: task.executor_id.take().map(Box::new),
            state: task.state,
            status_update_state: task.status_update_state.take(),
            status_update_uuid: task.status_update_uuid.take().map(Vec::into_boxed_slice),
            last_status: None,
            held,
            description: task.encode_to_vec().into(),
            statuses: Box::default(),
        };
        for status in &mut statuses {
            record.append_status(status, record.statuses.len());
        }
        record
    }

    /// The same, for a task whose framework and agent nothing else is kept of.
    #[must_use]
    pub fn from_task(mut task: Task) -> Self {
        let ids = TaskIds::take(&mut task);
        Self::new(ids, &mut task, Resources::EMPTY)
    }

    /// The whole task.
    #[must_use]
    pub fn to_task(&self) -> Task {
        let mut task = decode(&[&self.description, &self.statuses]);
        task.task_id = (*self.task_id).clone();
        task.framework_id = (*self.framework_id).clone();
        task.agent_id = (*self.agent_id).clone();
        task.executor_id = self.executor_id.as_deref().cloned();
        task.state = self.state;
        task.status_update_state = self.status_update_state;
        task.status_update_uuid = self.status_update_uuid.as_deref().map(<[u8]>::to_vec);
        for status in &mut task.statuses {
            self.name_status(status);
        }
        task
    }

    /// What it was launched with: everything but statuses and what is at hand as fields.
    #[must_use]
    pub fn description(&self) -> Task {
        decode(&[&self.description])
    }

    /// What it holds, allocated to the role of its offer; nothing once it has ended.
    pub(crate) fn held(&self) -> &Resources {
        &self.held
    }

    /// What it held and does not hold any more.
    pub(crate) fn let_go(&mut self) -> Resources {
        std::mem::take(&mut self.held)
    }

    /// The latest status.
    #[must_use]
    pub fn latest_status(&self) -> Option<TaskStatus> {
        let (_, begin) = self.last_status?;
        let mut status = decode(&[&self.statuses[begin as usize..]]).statuses.pop()?;
        self.name_status(&mut status);
        Some(status)
    }

    /// When its first status was made, in seconds since 1970; 0 if that does not say.
    #[must_use]
    pub fn first_timestamp(&self) -> Option<f64> {
        let statuses = decode(&[&self.statuses]).statuses;
        statuses.first().map(|status| status.timestamp.unwrap_or(0.0))
    }

    /// Whether the update with this UUID is the latest that was forwarded.
    #[must_use]
    pub fn awaits_acknowledgement(&self, uuid: &[u8]) -> bool {
        self.status_update_uuid.as_deref() == Some(uuid)
    }

    /// Notes which update was forwarded last.
    pub(crate) fn forwarded(&mut self, state: TaskState, uuid: &[u8]) {
        self.status_update_state = Some(state);
        self.status_update_uuid = Some(uuid.into());
    }

    /// The state in the latest status.
    pub(crate) fn latest_status_state(&self) -> Option<TaskState> {
        self.last_status.map(|(state, _)| state)
    }

    /// Adds a status, without its data.
    pub(crate) fn push_status(&mut self, status: &mut TaskStatus) {
        self.append_status(status, self.statuses.len());
    }

    /// Puts a status, without its data, in the place of the latest.
    pub(crate) fn replace_latest_status(&mut self, status: &mut TaskStatus) {
        let begin = self.last_status.map_or(0, |(_, begin)| begin as usize);
        self.append_status(status, begin);
    }

    /// What is not kept is taken out of the status, which costs less than a copy, and put back.
    fn append_status(&mut self, status: &mut TaskStatus, begin: usize) {
        let data = status.data.take();
        let is_own_task = status.task_id == *self.task_id;
        let task_id = is_own_task.then(|| std::mem::take(&mut status.task_id));
        let is_own_agent = status.agent_id.as_ref() == Some(&*self.agent_id);
        let agent_id = is_own_agent.then(|| status.agent_id.replace(AgentId::default()));
        // A command's executor has the name of the task.
        let is_own = |id: &ExecutorId| id.value == self.task_id.value && id.unknown.is_empty();
        let is_own_executor = status.executor_id.as_ref().is_some_and(is_own);
        let executor_id =
            is_own_executor.then(|| status.executor_id.replace(ExecutorId::default()));

        let mut statuses = Vec::with_capacity(begin + STATUS_BYTES);
        statuses.extend_from_slice(&self.statuses[..begin]);
        status.encode_as_field(STATUSES, &mut statuses);
        self.statuses = statuses.into_boxed_slice();
        self.last_status = u32::try_from(begin).ok().map(|begin| (status.state, begin));

        status.data = data;
        if let Some(id) = task_id {
            status.task_id = id;
        }
        if let Some(id) = agent_id {
            status.agent_id = id;
        }
        if let Some(id) = executor_id {
            status.executor_id = id;
        }
    }

    /// Puts in again what [`TaskRecord::append_status`] left out. No id of a task, agent or executor is
    /// empty, so that empty ones say what is known anyway.
    fn name_status(&self, status: &mut TaskStatus) {
        if status.task_id == TaskId::default() {
            status.task_id.clone_from(&self.task_id);
        }
        if status.agent_id == Some(AgentId::default()) {
            status.agent_id = Some((*self.agent_id).clone());
        }
        if let Some(executor) = &mut status.executor_id
            && *executor == ExecutorId::default()
        {
            executor.value.clone_from(&self.task_id.value);
        }
    }
}

/// Reads parts of a task that were encoded here. Concatenated encodings are the merged message.
fn decode(parts: &[&[u8]]) -> Task {
    let mut task = Task::default();
    for part in parts {
        // Statuses alone lack the required fields, which is what `merge` of a read message allows.
        let merged = task.merge(part, 0, false);
        debug_assert!(merged.is_ok(), "what was encoded here can be read: {merged:?}");
    }
    task
}

#[cfg(test)]
mod tests {
    use protocol::mesos::{Label, Labels, Resource};

    use super::*;

    fn task() -> Task {
        let status = |state, executor: &str| TaskStatus {
            task_id: TaskId { value: "task".to_owned(), ..Default::default() },
            agent_id: Some(AgentId { value: "agent".to_owned(), ..Default::default() }),
            executor_id: Some(ExecutorId { value: executor.to_owned(), ..Default::default() }),
            state,
            message: Some("x".repeat(300)),
            timestamp: Some(7.5),
            ..Default::default()
        };
        Task {
            name: "name".to_owned(),
            task_id: TaskId { value: "task".to_owned(), ..Default::default() },
            framework_id: FrameworkId { value: "framework".to_owned(), ..Default::default() },
            agent_id: AgentId { value: "agent".to_owned(), ..Default::default() },
            executor_id: Some(ExecutorId { value: "executor".to_owned(), ..Default::default() }),
            state: TaskState::TaskRunning,
            resources: vec![Resource { name: "cpus".to_owned(), ..Default::default() }],
            labels: Some(Labels { labels: vec![Label::default()], ..Default::default() }),
            statuses: vec![
                status(TaskState::TaskStarting, "task"),
                status(TaskState::TaskRunning, "other"),
            ],
            status_update_state: Some(TaskState::TaskRunning),
            status_update_uuid: Some(vec![1; 16]),
            ..Default::default()
        }
    }

    #[test]
    fn a_task_comes_back_whole() {
        let record = TaskRecord::from_task(task());
        assert_eq!(record.to_task(), task());
        assert_eq!(record.latest_status(), task().statuses.pop());
        assert_eq!(record.first_timestamp(), Some(7.5));
        assert!(record.awaits_acknowledgement(&[1; 16]));
        let empty = TaskRecord::from_task(Task::default());
        assert_eq!(empty.to_task(), Task::default());
        assert_eq!(empty.latest_status(), None);
    }

    #[test]
    fn the_latest_status_is_replaced_and_others_stay() {
        let mut record = TaskRecord::from_task(task());
        let mut expected = task();
        let mut last = expected.statuses.pop().unwrap();
        last.message = None;
        expected.statuses.push(last.clone());
        record.replace_latest_status(&mut last.clone());
        assert_eq!(record.to_task(), expected);

        let end = TaskStatus { state: TaskState::TaskFinished, ..last };
        record.push_status(&mut end.clone());
        expected.statuses.push(end);
        assert_eq!(record.to_task(), expected);
        assert_eq!(record.latest_status_state(), Some(TaskState::TaskFinished));
    }
}
