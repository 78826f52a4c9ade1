//! What is to happen later.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::time::Duration;

/// A time of this run: how long it has been going on.
pub(crate) type Moment = Duration;

/// What a timer is for. A timer is never cancelled: whoever handles it looks whether it still
/// matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Timer {
    /// The task has done its work.
    TaskEnds { task: u64 },
    /// The agent's status update may not have been acknowledged; it was sent `attempt` times.
    StatusRetry { task: u64, sequence: u8, attempt: u16 },
    /// The agent may not have heard from the master; it asked `attempt` times.
    Registration { agent: u32, attempt: u16 },
    /// A framework whose connection broke tries again.
    Resubscribe { framework: u32 },
    /// The next probe is to start.
    Probe,
    /// A contradiction is to be looked at again.
    Suspicion,
}

/// The timers by the time they are due; those due together in the order they were set.
#[derive(Debug, Default)]
pub(crate) struct Timers {
    heap: BinaryHeap<Reverse<(Moment, u64, Timer)>>,
    set: u64,
}

impl Timers {
    pub(crate) fn set(&mut self, at: Moment, timer: Timer) {
        self.set += 1;
        self.heap.push(Reverse((at, self.set, timer)));
    }

    pub(crate) fn next(&self) -> Option<Moment> {
        self.heap.peek().map(|Reverse((at, _, _))| *at)
    }

    /// Takes one timer that is due.
    pub(crate) fn take_due(&mut self, now: Moment) -> Option<Timer> {
        if self.next()? > now {
            return None;
        }
        self.heap.pop().map(|Reverse((_, _, timer))| timer)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn timers_come_in_order_and_not_early() {
        let mut timers = Timers::default();
        let second = Duration::from_secs;
        timers.set(second(3), Timer::Probe);
        timers.set(second(1), Timer::TaskEnds { task: 9 });
        timers.set(second(1), Timer::TaskEnds { task: 1 });
        assert_eq!(timers.next(), Some(second(1)));
        assert_eq!(timers.take_due(second(0)), None);
        assert_eq!(timers.take_due(second(1)), Some(Timer::TaskEnds { task: 9 }));
        assert_eq!(timers.take_due(second(1)), Some(Timer::TaskEnds { task: 1 }));
        assert_eq!(timers.take_due(second(2)), None);
        assert_eq!(timers.take_due(second(3)), Some(Timer::Probe));
        assert_eq!(timers.next(), None);
    }
}
