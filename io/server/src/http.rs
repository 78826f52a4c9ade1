//! The HTTP half of a daemon: HTTP/1.1 as libprocess serves it, on connections that libprocess
//! hands over.
//!
//! A connection may carry pipelined requests, a stream that never ends, or, in between, libprocess
//! messages. Everything a peer can make a daemon keep is bounded by a constant of this module.

pub mod authentication;
mod calls;
pub mod compression;
pub mod connection;
pub mod json;
pub mod jsonp;
pub mod media;
pub mod query;
pub mod request;
pub mod response;
pub mod route;
pub mod shared;
pub mod stream;

#[cfg(test)]
mod tests;

use std::time::Duration;

pub use connection::{Handler, serve};
pub use jsonp::Callback;
pub use media::ContentType;
pub use query::Query;
pub use request::Request;
pub use response::{Rendered, Response};
pub use shared::{Coding, Shared, SharedBody};
pub use stream::{StreamBody, StreamSender};

/// The largest request body that is read, before and after decompression; a bigger one gets 413.
///
/// An `ACCEPT` that launches ten thousand tasks of 2 KB is 20 MB.
pub const REQUEST_BODY_BYTES_MAX: usize = 32 * 1024 * 1024;

/// The most bytes that the request line and headers of one request may take; beyond it the answer is 431.
pub const REQUEST_HEAD_BYTES_MAX: usize = 64 * 1024;

/// The most header lines of one request; beyond it the answer is 431.
pub const REQUEST_HEADERS_MAX: usize = 100;

/// How long a request's head may take from its first to its last byte, and how long its body may
/// pause. A connection on which no request has begun may idle for ever, as peers expect of libprocess.
pub const REQUEST_STALL_TIMEOUT: Duration = Duration::from_secs(15);

/// How many bytes may wait for the reader of one stream. One record that finds the queue empty is
/// always taken, however big: a `SUBSCRIBED` event carries the state of a whole cluster.
pub const STREAM_QUEUE_BYTES_MAX: usize = 16 * 1024 * 1024;

/// The same for a scheduler's stream. The answers to the reconciliation of 100,000 tasks come at once, and
/// are 40 MB of JSON.
pub const SCHEDULER_QUEUE_BYTES_MAX: usize = 64 * 1024 * 1024;

/// How long a stream that the daemon ended, or a connection at shutdown, may take to drain.
pub const DRAIN_TIMEOUT: Duration = Duration::from_secs(5);
