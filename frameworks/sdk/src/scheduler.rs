//! A subscribed framework: the stream of events, and calls.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use coordination::{Detector, DetectorError};
use hyper::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE};
use hyper::{Request, StatusCode};
use protocol::mesos::{FrameworkId, FrameworkInfo};
use protocol::scheduler::{Call, Event, call};
use protocol::{DecodeError, JsonError, Message, Names};
use tokio::sync::{mpsc, watch};
use tokio::time::sleep;

use crate::http::{Connection, HttpError, read_whole};
use crate::leader::Leaders;
use crate::store::{Store, StoreError};

mod calls;
mod stream;

/// How many events wait for the framework before reading pauses.
pub const EVENTS_MAX: usize = 256;

/// How long a call's answer is waited for when the stream has ended: the answer to a teardown may come
/// after the end of the stream.
const ANSWER_GRACE: Duration = Duration::from_secs(1);

/// What masters say to a framework that has ended (`src/master/master.cpp`).
const REMOVED_MESSAGES: &[&str] = &["Framework has been removed"];

const PATH: &str = "/api/v1/scheduler";
const STREAM_ID: &str = "Mesos-Stream-Id";

/// How messages are encoded.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ContentType {
    /// `application/x-protobuf`.
    #[default]
    Protobuf,
    /// `application/json`.
    Json,
}

impl ContentType {
    const fn mime(self) -> &'static str {
        match self {
            Self::Protobuf => "application/x-protobuf",
            Self::Json => "application/json",
        }
    }

    fn encode(self, call: &Call) -> Vec<u8> {
        match self {
            Self::Protobuf => call.encode_to_vec(),
            Self::Json => call.to_json(Names::V1).into_bytes(),
        }
    }

    fn decode(self, bytes: &[u8]) -> Result<Event, EventError> {
        Ok(match self {
            Self::Protobuf => Event::decode(bytes)?,
            Self::Json => Event::from_json(bytes, Names::V1)?,
        })
    }
}

#[derive(Debug, thiserror::Error)]
enum EventError {
    #[error("an event is not valid protobuf")]
    Protobuf(#[from] DecodeError),
    #[error("an event is not valid JSON")]
    Json(#[from] JsonError),
}

/// A principal and its secret, for HTTP basic authentication.
#[derive(Clone, PartialEq, Eq)]
pub struct Credential {
    /// Who.
    pub principal: String,
    /// The proof.
    pub secret: String,
}

impl Credential {
    pub(crate) fn to_basic(&self) -> String {
        format!("Basic {}", STANDARD.encode(format!("{}:{}", self.principal, self.secret)))
    }
}

impl std::fmt::Debug for Credential {
    /// Without the secret, which must not get into logs.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Credential").field("principal", &self.principal).finish_non_exhaustive()
    }
}

/// Who subscribes, and where.
#[derive(Clone, Debug)]
pub struct SchedulerOptions {
    /// Where to find the leading master: `zk://…/path` of the ensemble that elects it, or the
    /// `host:port` or `master@host:port` of a master, which need not be the leading one.
    pub master: String,
    /// The framework. With an id it resubscribes.
    pub framework: FrameworkInfo,
    /// Roles for which no offers are wanted at first.
    pub suppressed_roles: Vec<String>,
    /// How to prove who we are, if the master asks.
    pub credential: Option<Credential>,
    /// How messages are encoded.
    pub content_type: ContentType,
    /// Where the framework's id is kept: it subscribes under the id that is there, if `framework` has
    /// none, and a new id is there before SUBSCRIBED is handed on.
    pub store: Option<Store>,
}

impl SchedulerOptions {
    /// Protobuf, without authentication.
    #[must_use]
    pub fn new(master: impl Into<String>, framework: FrameworkInfo) -> Self {
        Self {
            master: master.into(),
            framework,
            suppressed_roles: Vec::new(),
            credential: None,
            content_type: ContentType::default(),
            store: None,
        }
    }
}

/// What happens to a framework.
#[derive(Debug)]
pub enum Incoming {
    /// An event of the master. After one of type ERROR the framework is not subscribed again and
    /// nothing follows.
    Event(Box<Event>),
    /// The stream ended or could not be opened, or no master leads. It is tried again, and SUBSCRIBED
    /// will tell of success; calls fail until then.
    Disconnected {
        /// For people.
        reason: String,
    },
    /// The framework cannot be subscribed, for good. Nothing follows.
    Failed(SubscribeError),
}

/// Why a scheduler cannot be started.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StartError {
    /// The text given as the master is no address and no URL of an ensemble.
    #[error(transparent)]
    Master(#[from] DetectorError),
}

/// Why a framework cannot be subscribed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SubscribeError {
    /// The master refuses.
    #[error("the master at {authority} refused the subscription with {status}: {reason}")]
    Refused {
        /// `host:port`.
        authority: String,
        /// Such as 401.
        status: StatusCode,
        /// What the master said.
        reason: String,
    },
    /// The framework whose id is in the store has ended: it was torn down, or away for longer than its
    /// failover timeout. Without a store the master's ERROR event tells so.
    #[error(
        "the master at {authority} does not take framework {framework_id}, whose id is kept in {place}, \
         any more: {reason}; a new framework begins with an empty store"
    )]
    Removed {
        /// `host:port`.
        authority: String,
        /// The framework's id.
        framework_id: String,
        /// Where the store is.
        place: String,
        /// What the master said.
        reason: String,
    },
    /// The framework's id cannot be kept.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Why a call had no effect.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CallError {
    /// The framework is not subscribed.
    #[error("cannot send the call: the framework is not subscribed")]
    NotSubscribed,
    /// The subscription ended before the answer; whether the master got the call is unknown.
    #[error("the subscription ended before the master answered the call")]
    Unsubscribed,
    /// No answer; whether the master got the call is unknown.
    #[error("cannot send the call")]
    Http(#[from] HttpError),
    /// The master refused the call.
    #[error("the master refused the call with {status}: {reason}")]
    Refused {
        /// Such as 400.
        status: StatusCode,
        /// What the master said.
        reason: String,
    },
}

/// A handle to a framework's subscription; clones are the same one. When the last is dropped, or
/// the channel's receiver, the stream closes, and the master sees the framework disconnect.
#[derive(Clone, Debug)]
pub struct Scheduler {
    shared: Arc<Shared>,
    _stop: Arc<Stop>,
}

/// Ends the task that reads the stream.
#[derive(Debug)]
struct Stop(tokio::task::AbortHandle);

impl Drop for Stop {
    fn drop(&mut self) {
        self.0.abort();
    }
}

#[derive(Debug)]
struct Shared {
    options: SchedulerOptions,
    framework_id: Mutex<Option<FrameworkId>>,
    /// `None` while the framework is not subscribed.
    subscription: watch::Sender<Option<Subscription>>,
    /// The connection for calls. One at a time holds it, which keeps calls in order.
    calls: tokio::sync::Mutex<Option<Connection>>,
}

/// Where to send calls, and the header that ties them to the stream.
#[derive(Clone, Debug)]
struct Subscription {
    authority: String,
    stream_id: Option<String>,
}

impl Scheduler {
    /// Subscribes, and stays subscribed. To be called inside a tokio runtime.
    ///
    /// # Errors
    /// The master's address cannot be understood. Everything later arrives on the channel.
    pub fn start(
        options: SchedulerOptions,
    ) -> Result<(Self, mpsc::Receiver<Incoming>), StartError> {
        let detector = Detector::new(&options.master)?;
        let (events, receiver) = mpsc::channel(EVENTS_MAX);
        let known = options.store.as_ref().and_then(Store::framework_id);
        let framework_id = Mutex::new(options.framework.id.clone().or(known));
        let shared = Arc::new(Shared {
            options,
            framework_id,
            subscription: watch::Sender::new(None),
            calls: tokio::sync::Mutex::default(),
        });
        let leaders = Leaders::new(&detector);
        let task = tokio::spawn(stream::run(Arc::clone(&shared), leaders, events));
        Ok((Self { shared, _stop: Arc::new(Stop(task.abort_handle())) }, receiver))
    }

    /// The id the master gave, once subscribed.
    #[must_use]
    pub fn framework_id(&self) -> Option<FrameworkId> {
        self.shared.framework_id()
    }

    /// Sends one call; the framework id is filled in. Calls arrive in the order in which this was
    /// called. Success means that the master took the call, not that it could do it.
    ///
    /// # Errors
    /// The framework is not subscribed, there is no answer, or the master refuses the call.
    pub async fn call(&self, mut call: Call) -> Result<(), CallError> {
        let mut kept = self.shared.calls.lock().await;
        let mut subscriptions = self.shared.subscription.subscribe();
        let subscription =
            subscriptions.borrow_and_update().clone().ok_or(CallError::NotSubscribed)?;
        if call.framework_id.is_none() {
            call.framework_id = self.shared.framework_id();
        }
        // A master that is deposed because it hangs must not keep those calls waiting that are for the
        // next one.
        let ended = async {
            let _ = subscriptions.changed().await;
            sleep(ANSWER_GRACE).await;
        };
        tokio::select! {
            done = self.shared.send(&call, &subscription, &mut kept) => done,
            () = ended => Err(CallError::Unsubscribed),
        }
    }
}

impl Shared {
    fn framework_id(&self) -> Option<FrameworkId> {
        self.framework_id.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The id is known before it is kept: should another master lead meanwhile, the framework goes there
    /// under this id.
    async fn subscribed(
        &self,
        id: FrameworkId,
        subscription: Subscription,
    ) -> Result<(), StoreError> {
        *self.framework_id.lock().unwrap_or_else(PoisonError::into_inner) = Some(id.clone());
        if let Some(store) = &self.options.store {
            store.keep_framework_id(&id).await?;
        }
        self.subscription.send_replace(Some(subscription));
        Ok(())
    }

    /// Why there is no use in trying again, if an ERROR event says that the framework in the store has
    /// ended.
    fn removed(&self, authority: &str, event: &Event) -> Option<SubscribeError> {
        let (store, error) = (self.options.store.as_ref()?, event.error.as_ref()?);
        let framework_id = self.framework_id()?.value;
        REMOVED_MESSAGES.contains(&error.message.as_str()).then(|| SubscribeError::Removed {
            authority: authority.to_owned(),
            framework_id,
            place: store.place().to_owned(),
            reason: error.message.clone(),
        })
    }

    fn unsubscribed(&self) {
        self.subscription.send_if_modified(|subscription| subscription.take().is_some());
    }

    async fn send(
        &self,
        call: &Call,
        subscription: &Subscription,
        kept: &mut Option<Connection>,
    ) -> Result<(), CallError> {
        let authority = &subscription.authority;
        let mut connection = Connection::reuse(kept.take(), authority).await?;
        let mut request = self.request();
        if let Some(stream_id) = &subscription.stream_id {
            request = request.header(STREAM_ID, stream_id);
        }
        let body = self.options.content_type.encode(call);
        let response = connection.send(request, body).await?;
        let status = response.status();
        let reason = read_whole(authority, response.into_body()).await?;
        *kept = Some(connection);
        if status.is_success() {
            return Ok(());
        }
        Err(CallError::Refused { status, reason: String::from_utf8_lossy(&reason).into_owned() })
    }

    fn request(&self) -> hyper::http::request::Builder {
        let mime = self.options.content_type.mime();
        let mut request = Request::post(PATH).header(CONTENT_TYPE, mime).header(ACCEPT, mime);
        if let Some(credential) = &self.options.credential {
            request = request.header(AUTHORIZATION, credential.to_basic());
        }
        request
    }

    /// The SUBSCRIBE call, under the id we have.
    fn subscribe(&self) -> Call {
        let framework_id = self.framework_id();
        let mut framework_info = self.options.framework.clone();
        framework_info.id.clone_from(&framework_id);
        Call {
            r#type: Some(call::Type::Subscribe),
            framework_id,
            subscribe: Some(Box::new(call::Subscribe {
                framework_info,
                suppressed_roles: self.options.suppressed_roles.clone(),
                ..Default::default()
            })),
            ..Default::default()
        }
    }
}

#[cfg(test)]
mod tests;
