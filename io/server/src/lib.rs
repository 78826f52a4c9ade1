//! The daemons: sockets, HTTP, timers and storage around the state machines of `core`.

pub mod agent;
pub mod event_loop;
pub mod files;
pub mod flags;
pub mod host;
pub mod http;
mod legacy;
pub mod logging;
pub mod master;
pub mod metrics;
mod version;
