//! Tasks: their states, and the records made of them.

use protocol::mesos::{self, TaskState};

/// The record of a task: what the agent keeps, checkpoints and reports of a `TaskInfo`.
#[must_use]
pub fn record(
    task: &mesos::TaskInfo,
    state: TaskState,
    framework: &mesos::FrameworkId,
) -> mesos::Task {
    let command_user = task.command.as_ref().and_then(|command| command.user.clone());
    let executor = task.executor.as_ref();
    let executor_user = || executor?.command.as_ref()?.user.clone();
    mesos::Task {
        name: task.name.clone(),
        task_id: task.task_id.clone(),
        framework_id: framework.clone(),
        executor_id: executor.map(|executor| executor.executor_id.clone()),
        agent_id: task.agent_id.clone(),
        state,
        resources: task.resources.clone(),
        limits: task.limits.clone(),
        labels: task.labels.clone(),
        discovery: task.discovery.clone(),
        container: task.container.clone(),
        health_check: task.health_check.clone(),
        kill_policy: task.kill_policy.clone(),
        user: command_user.or_else(executor_user),
        ..Default::default()
    }
}

/// Records a status: the last one of each run of equal states is kept.
pub fn append_status(task: &mut mesos::Task, status: &mesos::TaskStatus) {
    if task.statuses.last().is_some_and(|last| last.state == status.state) {
        task.statuses.pop();
    }
    task.statuses.push(status.clone());
    task.state = status.state;
}
