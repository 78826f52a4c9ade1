//! One life of a master's process.

/// A master's process, from its start to its end. The next one on the same host is another.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Process {
    /// On which host.
    pub(crate) master: usize,
    /// Which in a row there.
    pub(crate) life: u32,
}
