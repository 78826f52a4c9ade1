//! What the shell hands to the thread that owns the master.

use std::fmt;
use std::sync::Arc;

use master::Master;
use master::effect::Response;
use master::event::{ConnectionId, Event, RequestId};
use master::view::Snapshot;
use protocol::time::Timestamp;
use protocol::uuid::Uuid;
use tokio::sync::{OwnedSemaphorePermit, oneshot};

use crate::http::connection::ConnectionHandle;
use crate::http::{ContentType, StreamBody};

/// One input of the master's loop.
#[derive(Debug)]
pub(super) enum Command {
    /// Something happened that nobody waits for.
    Event(Event),
    /// What agents and drivers have sent, in order. Together, so that the one connection of many agents gets its turn
    /// among hundreds of schedulers' calls that wait for theirs.
    Messages {
        /// What they mean.
        events: Vec<Event>,
        /// Room among those that wait, until they are handled.
        room: OwnedSemaphorePermit,
    },
    /// An HTTP request that waits for an answer.
    Request {
        /// Its name in `event`.
        request: RequestId,
        /// What to hand to the master.
        event: Box<Event>,
        /// Where the answer goes.
        reply: oneshot::Sender<Answer>,
        /// The response stream it asks for, if it subscribes.
        stream: Option<PendingStream>,
    },
    /// An operator subscribes.
    Subscribe {
        /// What to hand to the master.
        event: Box<Event>,
        /// Where the answer goes.
        reply: oneshot::Sender<Answer>,
        /// The response stream.
        stream: PendingStream,
    },
    /// Somebody wants to read the state of the cluster.
    Read(oneshot::Sender<Arc<Snapshot>>),
    /// Somebody wants to know something that no state shows.
    Ask(Question),
    /// The registry cannot be written any more, for this reason.
    StorageFailed(String),
    /// The daemon stops.
    Stop,
}

/// A question to the master, which also sends the answer to whoever asked.
pub(super) struct Question(Box<Ask>);

type Ask = dyn FnOnce(&Master, Timestamp) + Send;

impl Question {
    pub(super) fn new(ask: impl FnOnce(&Master, Timestamp) + Send + 'static) -> Self {
        Self(Box::new(ask))
    }

    pub(super) fn ask(self, master: &Master, now: Timestamp) {
        (self.0)(master, now);
    }
}

impl fmt::Debug for Question {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Question")
    }
}

/// A response that may become a stream.
#[derive(Debug)]
pub(super) struct PendingStream {
    /// Its name.
    pub connection: ConnectionId,
    /// The connection it is on.
    pub handle: ConnectionHandle,
    /// What its reader accepts.
    pub content_type: ContentType,
}

/// The answer to a request.
#[derive(Debug)]
pub(super) enum Answer {
    /// A plain one.
    Response(Response),
    /// A scheduler's stream, which is open.
    Scheduler {
        /// The value of `Mesos-Stream-Id`.
        stream_id: Uuid,
        /// The body.
        body: StreamBody,
    },
    /// An operator's stream, which is open. `SUBSCRIBED` with this state goes before all that is in it.
    Operator {
        /// The state of the cluster to which the events apply.
        snapshot: Arc<Snapshot>,
        /// For `SUBSCRIBED.heartbeat_interval_seconds`.
        heartbeat_seconds: f64,
        /// The body.
        body: StreamBody,
    },
}
