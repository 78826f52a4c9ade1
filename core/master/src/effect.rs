//! What a master wants done: the closed list of outputs of [`Master::handle`](crate::Master).
//!
//! The shell performs effects in the order given. An effect needs no decision to be carried out.

use std::sync::Arc;
use std::time::Duration;

use protocol::messages::{Authentication, MasterToAgent, MasterToScheduler};
use protocol::pid::Pid;
use protocol::uuid::Uuid;
use protocol::{master, scheduler};

use crate::event::{ConnectionId, RequestId, WriteId};
use crate::view::Snapshot;

/// An output of the master.
#[derive(Clone, Debug)]
pub enum Effect {
    /// Make `changes` durable, all or nothing, then hand in `Event::Persisted { write }`.
    ///
    /// Several writes may be batched into one flush if their order is kept. What depends on the write follows as effects of that
    /// event, never earlier.
    Persist {
        /// The name of the write.
        write: WriteId,
        /// What to store and what to delete.
        changes: Vec<RegistryChange>,
    },
    /// Send a libprocess message, as the master's own pid, to an agent.
    SendToAgent {
        /// The receiver.
        to: Pid,
        /// The message.
        message: Box<MasterToAgent>,
    },
    /// Write one event to the stream of a v1 scheduler, in the encoding that its `Accept` header asked for.
    SendToScheduler {
        /// The stream.
        connection: ConnectionId,
        /// The event. Shared, because some events go to many schedulers.
        event: Arc<scheduler::Event>,
    },
    /// Send a libprocess message, as the master's own pid, to a v0 scheduler driver.
    SendToDriver {
        /// The receiver.
        to: Pid,
        /// The message.
        message: Box<MasterToScheduler>,
    },
    /// Send a libprocess message, as one of the master's authentication sessions.
    SendAuthentication {
        /// The session, the name of an actor.
        actor: String,
        /// The receiver.
        to: Pid,
        /// The message.
        message: Box<Authentication>,
    },
    /// Keep a persistent connection to the address of `pid` and report its end as `Event::Exited { pid }`.
    Link {
        /// The peer.
        pid: Pid,
    },
    /// Answer a scheduler's `SUBSCRIBE` with status 200 and a `Mesos-Stream-Id` header, and keep the response open.
    AcceptSubscription {
        /// The request that asked.
        request: RequestId,
        /// The stream's name from now on.
        connection: ConnectionId,
        /// The value of the header.
        stream_id: Uuid,
    },
    /// Answer an operator's `SUBSCRIBE` with status 200, send `SUBSCRIBED` made of `snapshot`, and keep the response open.
    AcceptSubscriber {
        /// The stream's name from now on.
        connection: ConnectionId,
        /// The state of the cluster to which the following events apply.
        snapshot: Arc<Snapshot>,
        /// For `SUBSCRIBED.heartbeat_interval_seconds`.
        heartbeat_interval: Duration,
    },
    /// End a stream in an orderly way, after what was sent before.
    CloseConnection {
        /// The stream.
        connection: ConnectionId,
    },
    /// Write one event to several operators' streams. To be encoded once for each content type.
    SendToSubscribers {
        /// The streams.
        connections: Vec<ConnectionId>,
        /// The event.
        event: Arc<master::Event>,
    },
    /// Answer a waiting HTTP request.
    Respond {
        /// The request.
        request: RequestId,
        /// The answer.
        response: Response,
    },
    /// The master cannot go on and its process must stop with this reason, so that a standby takes over.
    Abort {
        /// One line for the operator.
        reason: String,
    },
}

/// One change of the registry, which is an ordered map from text to bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RegistryChange {
    /// The record's key; see [`registry`](crate::registry) for the forms.
    pub key: String,
    /// The record's new value, or nothing to delete it.
    pub value: Option<Vec<u8>>,
}

/// The answer to an HTTP request. Texts are the whole plain-text body.
#[derive(Clone, Debug, PartialEq)]
pub enum Response {
    /// 200 with an empty body.
    Ok,
    /// 200 with a message in the negotiated encoding.
    OkWith(Box<master::Response>),
    /// 202 with an empty body.
    Accepted,
    /// 400.
    BadRequest(String),
    /// 403.
    Forbidden(String),
    /// 404.
    NotFound(String),
    /// 409.
    Conflict(String),
    /// 500.
    InternalServerError(String),
    /// 501.
    NotImplemented(String),
    /// 503.
    ServiceUnavailable(String),
}

impl Response {
    /// The HTTP status code.
    #[must_use]
    pub const fn status(&self) -> u16 {
        match self {
            Self::Ok | Self::OkWith(_) => 200,
            Self::Accepted => 202,
            Self::BadRequest(_) => 400,
            Self::Forbidden(_) => 403,
            Self::NotFound(_) => 404,
            Self::Conflict(_) => 409,
            Self::InternalServerError(_) => 500,
            Self::NotImplemented(_) => 501,
            Self::ServiceUnavailable(_) => 503,
        }
    }
}
