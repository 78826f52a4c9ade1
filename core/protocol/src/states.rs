//! Which states of tasks and operations are the last (`include/mesos/v1/mesos.proto`).

use crate::mesos::{OperationState, TaskState};

impl TaskState {
    /// Whether a task in this state has ended: no other state follows. A task that is unreachable or
    /// unknown may still run.
    #[must_use]
    pub const fn is_terminal(self) -> bool {
        match self {
            Self::TaskFinished
            | Self::TaskFailed
            | Self::TaskKilled
            | Self::TaskError
            | Self::TaskLost
            | Self::TaskDropped
            | Self::TaskGone
            | Self::TaskGoneByOperator => true,
            Self::TaskStaging
            | Self::TaskStarting
            | Self::TaskRunning
            | Self::TaskKilling
            | Self::TaskUnreachable
            | Self::TaskUnknown => false,
        }
    }
}

impl OperationState {
    /// Whether an operation in this state has ended: no other state follows.
    #[must_use]
    pub const fn is_terminal(self) -> bool {
        match self {
            Self::OperationFinished
            | Self::OperationFailed
            | Self::OperationError
            | Self::OperationDropped
            | Self::OperationGoneByOperator => true,
            Self::OperationUnsupported
            | Self::OperationPending
            | Self::OperationUnreachable
            | Self::OperationRecovering
            | Self::OperationUnknown => false,
        }
    }
}
