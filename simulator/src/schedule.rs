//! What is going to happen, ordered by time and, at one time, by when it was decided.

use std::collections::BTreeMap;

use protocol::time::Timestamp;

/// The future.
#[derive(Debug)]
pub struct Schedule<T> {
    queue: BTreeMap<(Timestamp, u64), T>,
    sequence: u64,
}

impl<T> Default for Schedule<T> {
    fn default() -> Self {
        Self { queue: BTreeMap::new(), sequence: 0 }
    }
}

impl<T> Schedule<T> {
    /// Adds something.
    pub fn add(&mut self, at: Timestamp, what: T) {
        self.sequence += 1;
        self.queue.insert((at, self.sequence), what);
    }

    /// Takes what comes next.
    pub fn pop(&mut self) -> Option<(Timestamp, T)> {
        self.queue.pop_first().map(|((at, _), what)| (at, what))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_times_keep_their_order() {
        let mut schedule = Schedule::default();
        schedule.add(Timestamp::from_secs(2), 'c');
        schedule.add(Timestamp::from_secs(1), 'a');
        schedule.add(Timestamp::from_secs(1), 'b');
        let order: String = std::iter::from_fn(|| schedule.pop()).map(|(_, what)| what).collect();
        assert_eq!(order, "abc");
    }
}
