//! What happened on a node since it was bound.

use std::sync::atomic::{AtomicU64, Ordering};

/// Counts since the node was bound. Messages are lost silently on the wire, as in libprocess, so
/// these counts are the only trace of it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Counters {
    /// Messages given to the receiver.
    pub messages_received: u64,
    /// Messages for an actor that is not registered; answered 404.
    pub messages_unroutable: u64,
    /// Requests that are no valid message; answered 400 or 500.
    pub messages_malformed: u64,
    /// Replies that were not written because the peer does not read them.
    pub replies_dropped: u64,
    /// Messages written to a connection. Whether the peer read them is unknown.
    pub messages_sent: u64,
    /// Messages that were queued and not written: no connection, or it broke.
    pub messages_lost: u64,
    /// Messages refused because the queue to their destination was full.
    pub messages_overflowed: u64,
    /// Links that broke, counted per address.
    pub links_broken: u64,
}

macro_rules! cells {
    ($($name:ident),* $(,)?) => {
        /// The same counts while they are being made.
        #[derive(Debug, Default)]
        pub(crate) struct Cells { $(pub(crate) $name: Cell,)* }

        impl Cells {
            pub(crate) fn read(&self) -> Counters {
                Counters { $($name: self.$name.0.load(Ordering::Relaxed),)* }
            }
        }
    };
}

cells! {
    messages_received,
    messages_unroutable,
    messages_malformed,
    replies_dropped,
    messages_sent,
    messages_lost,
    messages_overflowed,
    links_broken,
}

/// One count.
#[derive(Debug, Default)]
pub(crate) struct Cell(AtomicU64);

impl Cell {
    pub(crate) fn add(&self, amount: u64) {
        self.0.fetch_add(amount, Ordering::Relaxed);
    }
}
