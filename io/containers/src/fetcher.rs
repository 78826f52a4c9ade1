//! Fetches what a container needs into its sandbox before it starts.
//!
//! The agent runs the fetcher as a program of its own ([`run_in_child`]), as the user of the
//! container: what comes from outside is never parsed with the agent's rights.

use std::path::PathBuf;
use std::time::Duration;

mod child;

pub use child::{FetchError, main, run_in_child};

/// What to fetch for one container.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    /// The sandbox: everything lands in it.
    pub directory: PathBuf,
    /// The user to fetch as; ours when absent.
    pub user: Option<String>,
    /// Relative paths are looked up in it.
    pub frameworks_home: Option<PathBuf>,
    /// A download that brings less than a byte per second for this long is given up.
    pub stall_timeout: Duration,
    /// What to fetch, in this order.
    pub items: Vec<Item>,
}

/// One thing to fetch, as `CommandInfo.URI` describes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Item {
    /// An absolute path, a path relative to the frameworks' home, or a URI of the schemes `file`,
    /// `http` and `https`.
    pub uri: String,
    /// Whether to make it executable, in which case it is not extracted.
    pub executable: bool,
    /// Whether to extract it if its name is that of an archive.
    pub extract: bool,
    /// Whether a copy may be kept for other containers. Nothing is kept yet: each container
    /// downloads its own.
    pub cache: bool,
    /// The path in the sandbox; the last component of the URI when absent.
    pub output_file: Option<String>,
}
