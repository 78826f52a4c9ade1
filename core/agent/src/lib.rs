//! The agent's state machine.
//!
//! [`Agent`] is driven from outside: [`Agent::handle`] takes what happened, [`Agent::expire`] fires
//! what fell due, both answer with what is to be done, and [`Agent::next_expiry`] says when to come
//! back. Nothing here reads a clock, touches a disk or starts a process.
//!
//! A process starts like this: read the meta directory into a [`checkpoint::Tree`], give it to
//! [`recovery::recover`] (an error is for the operator, exit code 1), start the agent with the outcome,
//! execute its effects, and keep feeding it events.

mod agent;
pub mod checkpoint;
mod collection;
mod command_executor;
pub mod config;
pub mod effect;
pub mod environment;
pub mod event;
pub mod executor;
mod executor_api;
mod executor_launch;
pub mod framework;
mod garbage_collection;
mod kill;
pub mod launch;
mod master_messages;
pub mod metrics;
mod operations;
mod outbox;
pub mod recovery;
mod registration;
mod resource_state;
#[cfg(test)]
mod scenarios;
mod shutdown;
mod snapshot;
mod status;
pub mod status_updates;
mod subscription;
pub mod task;
mod termination;
mod timers;
pub mod view;

pub use crate::agent::Agent;
pub use crate::config::Config;
pub use crate::effect::{Effect, WriteId};
pub use crate::event::Event;
pub use crate::recovery::RecoveredState;
pub use crate::registration::capabilities;
pub use crate::view::View;
