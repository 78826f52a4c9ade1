//! One direction of a connection between two hosts: in order, until it breaks.

use std::time::Duration;

use protocol::time::Timestamp;

/// One direction of a connection.
///
/// What is sent arrives in the order in which it was sent, after whatever delay. When the connection
/// breaks, what would have arrived by a certain moment still does; the rest is lost. A new connection
/// takes its place at once, and what is sent on it may overtake the remains of the old one.
#[derive(Clone, Debug, Default)]
pub struct Lane {
    /// For each broken connection, the moment up to which its messages still arrive.
    cuts: Vec<Timestamp>,
    /// When what arrived was lost with a receiver that did not look.
    lost: Vec<(Timestamp, Timestamp)>,
    last_arrival: Timestamp,
    blocked_until: Timestamp,
}

/// A place on a lane: when something arrives, and by which of the lane's connections.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Passage {
    /// When it arrives.
    pub at: Timestamp,
    connection: usize,
}

impl Lane {
    /// Sends something that takes at least `delay`.
    pub fn send(&mut self, now: Timestamp, delay: Duration) -> Passage {
        let at = (now + delay).max(self.blocked_until).max(self.last_arrival);
        self.last_arrival = at;
        Passage { at, connection: self.cuts.len() }
    }

    /// Whether what was sent does arrive.
    #[must_use]
    pub fn delivers(&self, passage: Passage) -> bool {
        let is_lost =
            |(from, to): &(Timestamp, Timestamp)| *from <= passage.at && passage.at <= *to;
        self.cuts.get(passage.connection).is_none_or(|cut| passage.at <= *cut)
            && !self.lost.iter().any(is_lost)
    }

    /// The receiver dies, and has not looked at what arrived since then.
    pub fn lose(&mut self, since: Timestamp, now: Timestamp) {
        self.lost.push((since, now));
    }

    /// Breaks the connection; what would arrive by `cut` still does.
    pub fn sever(&mut self, now: Timestamp, cut: Timestamp) {
        self.cuts.push(cut);
        self.last_arrival = now;
    }

    /// Holds back everything sent from now on until then.
    pub fn block(&mut self, until: Timestamp) {
        self.blocked_until = until;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn order_is_kept_until_the_connection_breaks() {
        let at = Timestamp::from_secs;
        let seconds = Duration::from_secs;
        let mut lane = Lane::default();
        let first = lane.send(at(0), seconds(5));
        let second = lane.send(at(1), seconds(1));
        assert_eq!((first.at, second.at), (at(5), at(5)));

        lane.sever(at(2), at(4));
        let third = lane.send(at(2), seconds(1));
        assert_eq!(third.at, at(3));
        assert!(!lane.delivers(first) && !lane.delivers(second) && lane.delivers(third));

        lane.block(at(10));
        let late = lane.send(at(4), seconds(1));
        assert_eq!(late.at, at(10));
        lane.lose(at(9), at(11));
        assert!(!lane.delivers(late) && lane.delivers(third));
    }
}
