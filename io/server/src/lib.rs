//! The daemons: sockets, HTTP, timers and storage around the state machines of `core`.

pub mod event_loop;
pub mod flags;
pub mod http;
pub mod master;
pub mod metrics;
pub mod agent;
pub mod files;
pub mod host;
mod legacy;
