//! A client of ZooKeeper, as much of one as election, detection and the registry need.
//!
//! It is our own because of what a session means here: a leader that cannot reach the ensemble must
//! know that its session is over before the ensemble gives its place to another, and a request that
//! its caller gave up must not be carried out later. See
//! `docs/decisions/0011-own-zookeeper-client.md`.
//!
//! * `jute`: the primitive encodings.
//! * `operation`: requests and answers.
//! * `connection`: one TCP connection; frames, handshake, answers in order.
//! * `session`: the task that keeps a session over many connections, or notices its end.
//! * `client`: what the rest of the crate calls.

mod client;
mod connection;
mod error;
mod jute;
mod operation;
mod session;

pub(crate) use client::{Client, Watch};
pub(crate) use error::{Code, RequestError, SessionEnd};
pub(crate) use operation::{Acl, CreateMode, Operation, Stat};
pub(crate) use session::Options;
