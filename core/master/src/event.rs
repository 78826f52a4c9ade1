//! What can happen to a master: the closed list of inputs of [`Master::handle`](crate::Master).
//!
//! The shell turns sockets, HTTP requests and finished writes into these, in the order in which they
//! happened, and decides nothing itself.

use std::collections::BTreeSet;
use std::fmt;

use protocol::messages::{AgentToMaster, Authentication, SchedulerToMaster};
use protocol::pid::Pid;
use protocol::{master, scheduler};

/// One open response stream: a v1 scheduler's subscription or an operator's event stream.
///
/// Chosen by the shell, never used twice by one `Master`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ConnectionId(pub u64);

/// One HTTP request that waits for its answer. Chosen by the shell, never used twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RequestId(pub u64);

/// One durable write. Chosen by the master, ascending; see [`Effect::Persist`](crate::Effect).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct WriteId(pub u64);

impl fmt::Display for ConnectionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

/// An input of the master.
#[derive(Clone, Debug, PartialEq)]
pub enum Event {
    /// A libprocess message of an agent. `from` is the sender pid as the sender published it.
    AgentMessage {
        /// The sender.
        from: Pid,
        /// The decoded message.
        message: Box<AgentToMaster>,
    },
    /// A libprocess message of a scheduler driver (v0).
    SchedulerMessage {
        /// The sender.
        from: Pid,
        /// The decoded message.
        message: Box<SchedulerToMaster>,
    },
    /// A libprocess message to one of the master's authentication sessions, whose names begin with
    /// [`SESSION_ACTOR`](crate::SESSION_ACTOR).
    Authentication {
        /// The sender.
        from: Pid,
        /// The session.
        actor: String,
        /// The decoded message.
        message: Box<Authentication>,
    },
    /// The outbound connection to a linked pid broke, or could not be made.
    ///
    /// One event for each pid named in an [`Effect::Link`](crate::Effect) at that address.
    Exited {
        /// The linked pid.
        pid: Pid,
    },
    /// A v1 `SUBSCRIBE` call on `/api/v1/scheduler`.
    ///
    /// Answered by exactly one of [`Effect::AcceptSubscription`](crate::Effect) (the response stays open under `connection`) and
    /// [`Effect::Respond`](crate::Effect) (the request is refused and `connection` never existed).
    SchedulerSubscribe {
        /// The request to answer.
        request: RequestId,
        /// The name of the response stream, should the subscription be accepted.
        connection: ConnectionId,
        /// The `Mesos-Stream-Id` header, which a `SUBSCRIBE` must not carry.
        stream_id: Option<String>,
        /// The whole call, its `type` being `SUBSCRIBE`.
        call: Box<scheduler::Call>,
        /// The authenticated principal, if HTTP authentication is on.
        principal: Option<String>,
    },
    /// Any other v1 call on `/api/v1/scheduler`. Answered by one `Effect::Respond`, for `TEARDOWN` only
    /// after a durable write.
    SchedulerCall {
        /// The request to answer.
        request: RequestId,
        /// The `Mesos-Stream-Id` header as text, if there was one.
        stream_id: Option<String>,
        /// The call.
        call: Box<scheduler::Call>,
        /// The authenticated principal, if HTTP authentication is on.
        principal: Option<String>,
    },
    /// An accepted stream (scheduler or operator) ended: the peer closed it, or the shell dropped a reader that was too slow.
    ///
    /// Not sent for streams which the master itself closed with `Effect::CloseConnection`; sending it all the same is harmless.
    ConnectionClosed {
        /// The stream.
        connection: ConnectionId,
    },
    /// An operator call on `/api/v1` that changes something (`TEARDOWN`, `MARK_AGENT_GONE`, ...), or its legacy endpoint put into the
    /// form of such a call. Answered by one `Effect::Respond`, possibly only after a durable write.
    ///
    /// Calls that only read are answered by the shell from [`Snapshot`](crate::view::Snapshot).
    OperatorCall {
        /// The request to answer.
        request: RequestId,
        /// The call.
        call: Box<master::Call>,
        /// The authenticated principal, if HTTP authentication is on.
        principal: Option<String>,
    },
    /// An operator's `SUBSCRIBE` on `/api/v1`. Answered by one
    /// [`Effect::AcceptSubscriber`](crate::Effect).
    OperatorSubscribe {
        /// The name of the response stream.
        connection: ConnectionId,
        /// The authenticated principal, if HTTP authentication is on.
        principal: Option<String>,
    },
    /// The file of `--whitelist` says something else than before.
    WhitelistChanged {
        /// The names of the hosts whose agents may be offered, or nothing for all.
        hostnames: Option<BTreeSet<String>>,
    },
    /// The write of an `Effect::Persist` is durable. Writes complete in the order in which they were asked for.
    ///
    /// A write that fails for good has no event: a master that cannot store anything must stop.
    Persisted {
        /// The write.
        write: WriteId,
    },
}
