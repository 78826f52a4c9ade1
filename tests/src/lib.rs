//! Starts real clusters of real processes and watches them from outside.
//!
//! The tests in `tests/tests` know Meseta as its users do: a binary, its flags and its HTTP APIs.
//! Everything a test starts ends with it, also when it fails: dropping a [`Cluster`] or [`EnsembleCluster`] kills its
//! daemons and every process that still works in one of its sandboxes.

pub mod chaos;
mod client;
mod cluster;
mod daemon;
mod ensemble_cluster;
mod leadership;
mod network;
mod process;
mod relay;
pub mod scheduler;

pub use client::{Exchange, exchange, get, get_json, post_form, post_json, try_get_json};
pub use cluster::{Agent, Cluster, ClusterOptions};
pub use daemon::{Daemon, Place};
pub use ensemble_cluster::{
    ENSEMBLE_PATH, EnsembleCluster, EnsembleClusterOptions, PATIENCE, Term, is_elected,
};
pub use leadership::Leadership;
pub use process::{Output, Process, binary, free_port, run, wait_until};
