//! Runs processes in containers, fetches what they need, reports what they use.
//!
//! A container here is a process tree with a directory of its own: [`Launcher`] starts it, watches
//! it across restarts of the program that started it, measures it and destroys it. The crate knows
//! nothing of tasks or frameworks. It is the only one with unsafe code, all of it in [`system`].

pub mod fetcher;
mod launcher;
mod process_table;
mod spawn;
pub mod system;
mod tree;
pub mod wait_status;
mod watcher;

pub use launcher::{
    ContainerConfig, ContainerId, DestroyError, LaunchError, Launcher, LauncherError,
    RecoverConfig, Recovered, Started, Usage,
};
pub use process_table::{ProcessStat, ProcessTable, ProcessTableError};
pub use spawn::{Output, Program, SpawnConfig, SpawnError, Spawned, UserIdentity, spawn};
pub use tree::{TreeSeed, signal_tree};
pub use watcher::{Exit, ExitWatcher, WatchError};
