//! Status updates of the executor's task.

use std::time::Duration;

use protocol::mesos::{
    self, CheckStatusInfo, TaskState, TaskStatus, check_info, check_status_info, task_status,
};
use protocol::uuid::Uuid;

/// What differs from one update to the next.
#[derive(Clone, Debug)]
pub(crate) struct StatusDraft {
    pub(crate) state: TaskState,
    pub(crate) message: Option<String>,
    pub(crate) reason: Option<task_status::Reason>,
    pub(crate) healthy: Option<bool>,
}

impl StatusDraft {
    pub(crate) const fn new(state: TaskState) -> Self {
        Self { state, message: None, reason: None, healthy: None }
    }

    pub(crate) fn finish(
        self,
        task: &mesos::TaskInfo,
        executor_id: &mesos::ExecutorId,
        unix_seconds: f64,
        uuid: Uuid,
    ) -> TaskStatus {
        TaskStatus {
            task_id: task.task_id.clone(),
            state: self.state,
            message: self.message,
            source: Some(task_status::Source::SourceExecutor),
            reason: self.reason,
            executor_id: Some(executor_id.clone()),
            timestamp: Some(unix_seconds),
            uuid: Some(uuid.to_vec()),
            healthy: self.healthy,
            check_status: task.check.as_ref().map(empty_check_status),
            ..Default::default()
        }
    }
}

/// The result of a check that was not made yet: its kind only. Frameworks are promised it in every
/// update of a task with a check.
pub(crate) fn empty_check_status(check: &mesos::CheckInfo) -> CheckStatusInfo {
    let r#type = check.r#type.unwrap_or_default();
    let mut status = CheckStatusInfo { r#type: check.r#type, ..Default::default() };
    match r#type {
        check_info::Type::Unknown => {}
        check_info::Type::Command => status.command = Some(check_status_info::Command::default()),
        check_info::Type::Http => status.http = Some(check_status_info::Http::default()),
        check_info::Type::Tcp => status.tcp = Some(check_status_info::Tcp::default()),
    }
    status
}

/// A duration of a message; a negative one counts as none.
pub(crate) fn duration(info: &mesos::DurationInfo) -> Duration {
    Duration::from_nanos(u64::try_from(info.nanoseconds).unwrap_or(0))
}
