//! The types made from `proto/` by `cargo xtask generate`, one module for each package.

pub mod agent;
pub mod allocator;
pub mod checkpoint;
pub mod containerizer;
pub mod executor;
pub mod google;
pub mod internal;
pub mod maintenance;
pub mod master;
pub mod mesos;
pub mod quota;
pub mod quota_v0;
pub mod resource_provider;
pub mod scheduler;
pub mod scheduler_v0;
pub mod state;

#[cfg(test)]
pub(crate) mod registry;
