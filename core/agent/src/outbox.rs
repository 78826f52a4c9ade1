//! Effects on their way out, and the rule of durability: nothing leaves the agent before everything
//! that was decided earlier is on disk.

use std::collections::VecDeque;

use crate::checkpoint::Change;
use crate::effect::{Effect, Severity, WriteId};

/// More effects than this never wait for the disk: it is broken, or hopelessly slow.
pub const HELD_EFFECTS_MAX: usize = 100_000;

/// Collects the changes and effects of one event, and holds effects until their write is done.
///
/// The rule is coarser than it need be (an answer to one framework waits for another framework's
/// write), and in exchange it cannot be got wrong by forgetting a dependency.
#[derive(Debug, Default)]
pub struct Outbox {
    changes: Vec<Change>,
    ready: Vec<Effect>,
    waiting_for_write: Vec<Effect>,
    held: VecDeque<(WriteId, Effect)>,
    last_write: u64,
    confirmed_write: u64,
}

impl Outbox {
    /// Asks for a durable change; effects sent from now on wait for it.
    pub fn change(&mut self, change: Change) {
        self.changes.push(change);
    }

    /// Sends an effect once everything decided before it is durable.
    pub fn send(&mut self, effect: Effect) {
        if !self.changes.is_empty() {
            self.waiting_for_write.push(effect);
        } else if self.last_write > self.confirmed_write {
            self.held.push_back((WriteId(self.last_write), effect));
        } else {
            self.ready.push(effect);
        }
    }

    /// Sends an effect that depends on nothing: a sign of life, a line for the log.
    pub fn send_now(&mut self, effect: Effect) {
        self.ready.push(effect);
    }

    /// Sends a line for the log.
    pub fn log(&mut self, severity: Severity, message: String) {
        self.send_now(Effect::Log { severity, message });
    }

    /// A write and all earlier ones are durable.
    pub fn confirm(&mut self, write: WriteId) {
        self.confirmed_write = self.confirmed_write.max(write.0.min(self.last_write));
        while self.held.front().is_some_and(|(after, _)| after.0 <= self.confirmed_write) {
            if let Some((_, effect)) = self.held.pop_front() {
                self.ready.push(effect);
            }
        }
    }

    /// Whether too many effects wait.
    #[must_use]
    pub fn is_overwhelmed(&self) -> bool {
        self.held.len() > HELD_EFFECTS_MAX
    }

    /// A write failed: nothing that waits may ever leave.
    pub fn abandon(&mut self) {
        self.held.clear();
        self.waiting_for_write.clear();
        self.changes.clear();
    }

    /// Ends one event: what to do now, with at most one write that holds all changes of the event.
    pub fn take(&mut self) -> Vec<Effect> {
        if !self.changes.is_empty() {
            self.last_write += 1;
            let write = WriteId(self.last_write);
            let changes = std::mem::take(&mut self.changes);
            self.ready.push(Effect::Checkpoint { write, changes });
            self.held.extend(self.waiting_for_write.drain(..).map(|effect| (write, effect)));
        }
        std::mem::take(&mut self.ready)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::checkpoint::write_text;

    fn link(outbox: &mut Outbox) {
        outbox.send(Effect::DetectMaster);
    }

    #[test]
    fn effects_wait_for_the_write_before_them() {
        let mut outbox = Outbox::default();
        link(&mut outbox);
        outbox.change(write_text("a".to_owned(), "1"));
        link(&mut outbox);
        let now = outbox.take();
        assert!(matches!(
            now.as_slice(),
            [Effect::DetectMaster, Effect::Checkpoint { write: WriteId(1), .. }]
        ));
        // A later event needs no write of its own, and still waits.
        link(&mut outbox);
        assert!(outbox.take().is_empty());
        outbox.confirm(WriteId(1));
        assert_eq!(outbox.take().len(), 2);
    }

    #[test]
    fn a_confirmation_covers_earlier_writes_and_no_later_ones() {
        let mut outbox = Outbox::default();
        for text in ["1", "2", "3"] {
            outbox.change(write_text("a".to_owned(), text));
            link(&mut outbox);
            assert_eq!(outbox.take().len(), 1);
        }
        outbox.confirm(WriteId(2));
        assert_eq!(outbox.take().len(), 2);
        outbox.confirm(WriteId(99));
        assert_eq!(outbox.take().len(), 1);
    }
}
