//! What the master does by the clock: a closed list of timers, ordered by (time, sequence).

use std::collections::BTreeMap;
use std::sync::Arc;

use protocol::mesos::{AgentId, FrameworkId, OfferId};
use protocol::pid::Pid;
use protocol::time::Timestamp;

use crate::event::ConnectionId;

/// Something due at a certain time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Timer {
    /// Ping an agent, and count the ping before as missed if it was not answered.
    AgentPing(Arc<AgentId>),
    /// A disconnected agent has not reregistered in time.
    AgentReregister(Arc<AgentId>),
    /// Agents known from the registry have not reregistered in time.
    RecoveredAgents,
    /// The removal rate limit allows the next agent to be removed.
    AgentRemoval,
    /// A disconnected framework has not resubscribed in time.
    FrameworkFailover(FrameworkId),
    /// An authentication takes too long; with the number of the attempt.
    Authentication(Pid, u64),
    /// An offer was held for too long.
    OfferTimeout(OfferId),
    /// An inverse offer was held for too long.
    InverseOfferTimeout(OfferId),
    /// The next heartbeat on a v1 scheduler's stream.
    SchedulerHeartbeat(FrameworkId, ConnectionId),
    /// The next heartbeat on an operator's stream.
    SubscriberHeartbeat(ConnectionId),
    /// Old records leave the registry.
    RegistryGc,
    /// Agents had their time to come back before the first allocation.
    AllocatorRecovery,
}

/// The name of a running timer, needed to cancel it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct TimerKey(Timestamp, u64);

/// The running timers.
#[derive(Clone, Debug, Default)]
pub(crate) struct Timers {
    queue: BTreeMap<TimerKey, Timer>,
    sequence: u64,
}

impl Timers {
    /// Starts a timer.
    pub(crate) fn start(&mut self, at: Timestamp, timer: Timer) -> TimerKey {
        self.sequence += 1;
        let key = TimerKey(at, self.sequence);
        self.queue.insert(key, timer);
        key
    }

    /// Stops a timer. One that has fired or was stopped is left alone.
    pub(crate) fn cancel(&mut self, key: TimerKey) {
        self.queue.remove(&key);
    }

    /// When the next timer is due.
    pub(crate) fn next(&self) -> Option<Timestamp> {
        self.queue.first_key_value().map(|(key, _)| key.0)
    }

    /// Takes the next timer that is due at `now`.
    pub(crate) fn pop(&mut self, now: Timestamp) -> Option<Timer> {
        if self.next()? > now {
            return None;
        }
        self.queue.pop_first().map(|(_, timer)| timer)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn timers_fire_in_order_of_time_then_of_start() {
        let mut timers = Timers::default();
        let late = Timestamp::from_secs(2);
        let early = Timestamp::from_secs(1);
        timers.start(late, Timer::RegistryGc);
        timers.start(early, Timer::AgentRemoval);
        timers.start(early, Timer::RecoveredAgents);
        let cancelled = timers.start(early, Timer::RegistryGc);
        timers.cancel(cancelled);

        assert_eq!(timers.pop(Timestamp::ZERO), None);
        assert_eq!(timers.pop(early), Some(Timer::AgentRemoval));
        assert_eq!(timers.pop(early), Some(Timer::RecoveredAgents));
        assert_eq!(timers.pop(early), None);
        assert_eq!(timers.next(), Some(late));
        assert_eq!(timers.pop(late), Some(Timer::RegistryGc));
        assert_eq!(timers.next(), None);
    }
}
