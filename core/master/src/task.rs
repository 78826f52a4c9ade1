//! Tasks: which changes of state are allowed, what an update does, when a task is forgotten.

pub(crate) mod list;
pub(crate) mod record;
mod update;

use std::sync::Arc;

use protocol::internal::StatusUpdate;
use protocol::mesos::{AgentId, ExecutorId, FrameworkId, Task, TaskId, TaskInfo, TaskState};
use protocol::mesos::{TaskStatus, TimeInfo, task_status};
use resources::Resources;

use crate::Master;
use crate::agent::Share;
use crate::framework::FrameworkCapabilities;
use crate::metrics::Counter;
use crate::task::record::{TaskIds, TaskRecord};

/// Whether a task in this state holds resources on a registered agent.
#[must_use]
pub(crate) const fn holds_resources(state: TaskState) -> bool {
    !state.is_terminal() && !matches!(state, TaskState::TaskUnreachable)
}

/// The transition table.
///
/// A task that ended stays as it ended; nothing goes back to `TASK_STAGING`; `TASK_UNKNOWN` is an
/// answer to a question, never the state of a task. Executors may repeat or reorder the states
/// between launch and end, and do.
#[must_use]
pub(crate) const fn allowed(from: TaskState, to: TaskState) -> bool {
    match to {
        TaskState::TaskStaging => matches!(from, TaskState::TaskStaging),
        TaskState::TaskUnknown => false,
        TaskState::TaskStarting
        | TaskState::TaskRunning
        | TaskState::TaskKilling
        | TaskState::TaskUnreachable
        | TaskState::TaskFinished
        | TaskState::TaskFailed
        | TaskState::TaskKilled
        | TaskState::TaskError
        | TaskState::TaskLost
        | TaskState::TaskDropped
        | TaskState::TaskGone
        | TaskState::TaskGoneByOperator => !from.is_terminal(),
    }
}

/// The state as a framework may see it: without `PARTITION_AWARE` the finer states are `TASK_LOST`.
#[must_use]
pub(crate) const fn visible_state(
    state: TaskState,
    capabilities: FrameworkCapabilities,
) -> TaskState {
    match state {
        TaskState::TaskDropped
        | TaskState::TaskUnreachable
        | TaskState::TaskGone
        | TaskState::TaskGoneByOperator
        | TaskState::TaskUnknown
            if !capabilities.partition_aware =>
        {
            TaskState::TaskLost
        }
        TaskState::TaskDropped
        | TaskState::TaskUnreachable
        | TaskState::TaskGone
        | TaskState::TaskGoneByOperator
        | TaskState::TaskUnknown
        | TaskState::TaskStaging
        | TaskState::TaskStarting
        | TaskState::TaskRunning
        | TaskState::TaskKilling
        | TaskState::TaskFinished
        | TaskState::TaskFailed
        | TaskState::TaskKilled
        | TaskState::TaskError
        | TaskState::TaskLost => state,
    }
}

/// The master's own words about a task: an update made here, which needs no acknowledgement.
#[derive(Clone, Debug)]
pub(crate) struct Verdict {
    pub(crate) state: TaskState,
    pub(crate) reason: task_status::Reason,
    pub(crate) message: String,
    pub(crate) unreachable_time: Option<TimeInfo>,
}

impl Verdict {
    pub(crate) fn new(
        state: TaskState,
        reason: task_status::Reason,
        message: impl Into<String>,
    ) -> Self {
        Self { state, reason, message: message.into(), unreachable_time: None }
    }
}

/// Where a task is kept once it is removed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum History {
    /// Among those that ended.
    Completed,
    /// Among those that may still run, out of reach.
    Unreachable,
}

/// What a new task is launched with, without the ids of framework, agent and task. It is moved out of
/// `info`, and [`give_back`] moves it in again, as both are needed for a moment only.
fn staged(info: &mut TaskInfo) -> Task {
    let command = info.command.as_ref();
    let executor_command = info.executor.as_deref().and_then(|executor| executor.command.as_ref());
    Task {
        user: command.or(executor_command).and_then(|command| command.user.clone()),
        executor_id: info.executor.as_ref().map(|executor| executor.executor_id.clone()),
        state: TaskState::TaskStaging,
        name: std::mem::take(&mut info.name),
        resources: std::mem::take(&mut info.resources),
        labels: info.labels.take(),
        discovery: info.discovery.take(),
        container: info.container.take(),
        health_check: info.health_check.take(),
        kill_policy: info.kill_policy.take(),
        limits: std::mem::take(&mut info.limits),
        ..Default::default()
    }
}

fn give_back(task: Task, info: &mut TaskInfo) {
    info.name = task.name;
    info.resources = task.resources;
    info.labels = task.labels;
    info.discovery = task.discovery;
    info.container = task.container;
    info.health_check = task.health_check;
    info.kill_policy = task.kill_policy;
    info.limits = task.limits;
}

impl Master {
    /// An update with the master as its source.
    pub(crate) fn verdict_update(
        &self,
        framework: &FrameworkId,
        agent: Option<AgentId>,
        task: &TaskId,
        executor: Option<ExecutorId>,
        verdict: Verdict,
    ) -> StatusUpdate {
        let timestamp = self.now.as_secs_f64();
        StatusUpdate {
            framework_id: framework.clone(),
            executor_id: executor.clone(),
            slave_id: agent.clone(),
            status: TaskStatus {
                task_id: task.clone(),
                state: verdict.state,
                source: Some(task_status::Source::SourceMaster),
                reason: Some(verdict.reason),
                message: Some(verdict.message),
                agent_id: agent,
                executor_id: executor,
                timestamp: Some(timestamp),
                unreachable_time: verdict.unreachable_time,
                ..Default::default()
            },
            timestamp,
            ..Default::default()
        }
    }

    /// Adds a task that is being launched, as `info` describes it. The agent must be known.
    pub(crate) fn add_task(
        &mut self,
        framework_id: &FrameworkId,
        info: &mut TaskInfo,
        resources: Resources,
    ) {
        let agent = self.agents.registered.get(&info.agent_id);
        let Some(agent_id) = agent.map(|agent| Arc::clone(&agent.id)) else {
            return;
        };
        let Some(framework) = self.framework_mut(framework_id) else {
            return;
        };
        let ids = TaskIds {
            task: Arc::new(info.task_id.clone()),
            framework: Arc::clone(&framework.id),
            agent: agent_id,
        };
        let mut described = staged(info);
        let held = framework.like_last(resources);
        let task = Arc::new(TaskRecord::new(ids, &mut described, held));
        give_back(described, info);
        framework.agents.insert(Arc::clone(&task.agent_id), ());
        framework.tasks.push(Arc::clone(&task));
        self.count_framework(framework_id, |metrics| metrics.task_added(task.state));
        self.publish_task_added(&task);
        if let Some(agent) = self.agent_mut(&task.agent_id) {
            let share = agent.frameworks.get_or_insert(&task.framework_id, Share::default);
            share.tasks.insert(Arc::clone(&task.task_id), ());
            share.used += task.held();
        }
    }

    /// A task that an agent brought in the form in which it is kept, its ids shared with its framework
    /// and agent.
    pub(crate) fn task_record(&mut self, mut task: Task, held: Resources) -> TaskRecord {
        let agent = self.agents.registered.get(&task.agent_id);
        let agent_id = agent.map(|agent| Arc::clone(&agent.id));
        let framework = self.frameworks.registered.get_mut(&task.framework_id);
        let (framework_id, held) = match framework {
            Some(framework) => (Some(Arc::clone(&framework.id)), framework.like_last(held)),
            None => (None, held),
        };
        let own = TaskIds::take(&mut task);
        let ids = TaskIds {
            task: own.task,
            framework: framework_id.unwrap_or(own.framework),
            agent: agent_id.unwrap_or(own.agent),
        };
        TaskRecord::new(ids, &mut task, held)
    }

    /// Forgets a task that is known: it ended and its end is acknowledged, or its agent is gone.
    pub(crate) fn remove_task(
        &mut self,
        framework_id: &FrameworkId,
        task_id: &TaskId,
        history: History,
    ) {
        let completed_bound = self.config.max_completed_tasks_per_framework;
        let unreachable_bound = self.config.max_unreachable_tasks_per_framework;
        let Some(framework) = self.framework_mut(framework_id) else {
            return;
        };
        let Some(task) = framework.tasks.remove(task_id) else {
            return;
        };
        match history {
            History::Unreachable => {
                framework.unreachable_tasks.push_bounded(Arc::clone(&task), unreachable_bound);
            }
            History::Completed => {
                framework.completed_tasks.push_bounded(Arc::clone(&task), completed_bound);
            }
        }
        self.count_framework(framework_id, |metrics| metrics.tasks.remove(task.state));
        if holds_resources(task.state) {
            self.release(framework_id, &task.agent_id, task.held());
        }
        if let Some(agent) = self.agent_mut(&task.agent_id) {
            if !agent.killed.is_empty() {
                agent.killed.remove(&(framework_id.clone(), task_id.clone()));
            }
            if let Some(share) = agent.frameworks.get_mut(framework_id) {
                share.tasks.remove(task_id);
            }
        }
        self.drop_empty_share(framework_id, &task.agent_id);
        self.look_at_drain(&task.agent_id);
    }

    /// Gives back what a task or executor held.
    pub(crate) fn release(
        &mut self,
        framework_id: &FrameworkId,
        agent_id: &AgentId,
        resources: &Resources,
    ) {
        if resources.is_empty() {
            return;
        }
        let now = self.now;
        if let Some(agent) = self.agent_mut(agent_id) {
            if let Some(share) = agent.frameworks.get_mut(framework_id) {
                let held = share.used.checked_sub_assign(resources);
                debug_assert!(held, "{framework_id:?} does not hold {resources} on {agent_id:?}");
            }
            self.allocator.recover_resources(now, framework_id, agent_id, resources, None);
        }
    }

    /// Forgets that a framework has something on an agent, when it has nothing there any more.
    pub(crate) fn drop_empty_share(&mut self, framework_id: &FrameworkId, agent_id: &AgentId) {
        let Some(agent) = self.agents.registered.get_mut(agent_id) else {
            return;
        };
        if agent.frameworks.get(framework_id).is_some_and(Share::is_empty) {
            agent.frameworks.remove(framework_id);
            if let Some(framework) = self.frameworks.registered.get_mut(framework_id) {
                framework.agents.remove(agent_id);
            }
        }
    }

    /// Tells a framework about a task that never came to be.
    pub(crate) fn refuse_task(
        &mut self,
        framework: &FrameworkId,
        task: &TaskInfo,
        verdict: Verdict,
    ) {
        self.metrics.add_task_end(
            verdict.state,
            Some(task_status::Source::SourceMaster),
            Some(verdict.reason),
        );
        let update = self.verdict_update(
            framework,
            Some(task.agent_id.clone()),
            &task.task_id,
            None,
            verdict,
        );
        self.forward(update, protocol::pid::Pid::EMPTY);
    }

    /// Counts a change of state that the table does not allow.
    pub(crate) fn count_illegal_transition(&mut self) {
        self.metrics.add(Counter::IllegalTaskTransitions);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const STATES: [TaskState; 14] = [
        TaskState::TaskStaging,
        TaskState::TaskStarting,
        TaskState::TaskRunning,
        TaskState::TaskKilling,
        TaskState::TaskFinished,
        TaskState::TaskFailed,
        TaskState::TaskKilled,
        TaskState::TaskError,
        TaskState::TaskLost,
        TaskState::TaskDropped,
        TaskState::TaskUnreachable,
        TaskState::TaskGone,
        TaskState::TaskGoneByOperator,
        TaskState::TaskUnknown,
    ];

    #[test]
    fn a_task_that_ended_never_changes() {
        for from in STATES.into_iter().filter(|state| state.is_terminal()) {
            for to in STATES {
                assert!(!allowed(from, to), "{from:?} to {to:?}");
            }
        }
    }

    #[test]
    fn a_live_task_may_reach_any_end() {
        for from in STATES.into_iter().filter(|state| !state.is_terminal()) {
            for to in STATES.into_iter().filter(|state| state.is_terminal()) {
                assert!(allowed(from, to), "{from:?} to {to:?}");
            }
            assert!(!allowed(from, TaskState::TaskUnknown));
        }
    }

    #[test]
    fn old_frameworks_see_finer_states_as_lost() {
        let old = FrameworkCapabilities::default();
        let aware = FrameworkCapabilities { partition_aware: true, ..old };
        for state in STATES {
            assert_eq!(visible_state(state, aware), state);
        }
        assert_eq!(visible_state(TaskState::TaskGone, old), TaskState::TaskLost);
        assert_eq!(visible_state(TaskState::TaskUnreachable, old), TaskState::TaskLost);
        assert_eq!(visible_state(TaskState::TaskKilling, old), TaskState::TaskKilling);
    }
}
