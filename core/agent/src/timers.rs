//! What the agent waits for.

use std::collections::BTreeMap;

use protocol::mesos;
use protocol::time::Timestamp;

/// Everything that can fall due.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Timer {
    /// Authenticate, or register, once more.
    Registration,
    /// No ping came for too long.
    MasterPing,
    /// A launched executor should have subscribed by now.
    ExecutorRegistration {
        /// The run it was set for.
        container: mesos::ContainerId,
    },
    /// An executor asked to shut down should be gone by now.
    ExecutorShutdown {
        /// The run it was set for.
        container: mesos::ContainerId,
    },
    /// A connected executor is due a sign of life.
    ExecutorHeartbeat {
        /// The run it was set for.
        container: mesos::ContainerId,
    },
    /// After a restart: executors should have subscribed again by now.
    ExecutorReregistration,
    /// The oldest update of a task was not acknowledged.
    UpdateRetry {
        /// The framework.
        framework: mesos::FrameworkId,
        /// The task.
        task: mesos::TaskId,
    },
    /// The oldest status of an operation was not acknowledged.
    OperationRetry {
        /// The operation's uuid.
        operation: Vec<u8>,
    },
    /// Ask how full the disk is.
    DiskWatch,
    /// The oldest sandbox is old enough.
    GarbageCollection,
}

/// Names one set timer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct TimerId(Timestamp, u64);

/// The timers in the order in which they fall due; equal times in the order in which they were set.
#[derive(Debug, Default)]
pub struct Timers {
    queue: BTreeMap<TimerId, Timer>,
    next: u64,
}

impl Timers {
    /// Sets a timer.
    pub fn set(&mut self, at: Timestamp, timer: Timer) -> TimerId {
        let id = TimerId(at, self.next);
        self.next += 1;
        self.queue.insert(id, timer);
        id
    }

    /// Takes a timer back; one that fired already is no error.
    pub fn cancel(&mut self, id: TimerId) {
        self.queue.remove(&id);
    }

    /// When the next one falls due.
    #[must_use]
    pub fn next_expiry(&self) -> Option<Timestamp> {
        self.queue.keys().next().map(|id| id.0)
    }

    /// Takes the next one that is due.
    pub fn pop_due(&mut self, now: Timestamp) -> Option<Timer> {
        let entry = self.queue.first_entry()?;
        (entry.key().0 <= now).then(|| entry.remove())
    }
}
