//! Leads every request of the master's port to what answers it.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use hyper::StatusCode;
use master::SESSION_ACTOR;
use master::effect;
use master::event::{ConnectionId, Event, RequestId};
use protocol::DecodeError;
use protocol::messages::{AgentToMaster, Authentication, SchedulerToMaster};
use protocol::pid::Pid;
use tokio::sync::{oneshot, watch};

use super::commands::{Answer, Command, PendingStream};
use super::daemon::Daemon;
use super::endpoint::{Endpoint, MASTER_ACTOR, Read};
use super::leadership::Leadership;
use super::reads::{Key, ReadBody, Wire};
use super::render::{self, Process};
use super::term::Term;
use super::{explain, legacy, operator_api, scheduler_api};
use crate::event_loop::Stopped;
use crate::http::authentication::Access;
use crate::http::connection::{ConnectionHandle, PeerMessage};
use crate::http::route::Router;
use crate::http::{ContentType, Handler, Rendered, Request, Response};

/// What answers the requests.
#[derive(Debug)]
pub(super) struct MasterHandler {
    pub(super) router: Router<Endpoint>,
    pub(super) daemon: Arc<Daemon>,
    pub(super) leadership: watch::Receiver<Leadership>,
    pub(super) process: Arc<Process>,
    pub(super) names: Names,
    pub(super) access: Access,
}

/// Gives out the names of requests and streams.
#[derive(Debug, Default)]
pub(super) struct Names {
    requests: AtomicU64,
    connections: AtomicU64,
}

impl Names {
    pub(super) fn request(&self) -> RequestId {
        RequestId(self.requests.fetch_add(1, Ordering::Relaxed))
    }

    pub(super) fn connection(&self) -> ConnectionId {
        ConnectionId(self.connections.fetch_add(1, Ordering::Relaxed))
    }
}

/// The answer while the daemon stops.
impl From<Stopped> for Response {
    fn from(stopped: Stopped) -> Self {
        Self::text(StatusCode::SERVICE_UNAVAILABLE, stopped.to_string()).closing()
    }
}

/// What a message from a peer to one of the master's actors means, or none if it has no such message.
pub(super) fn peer_event(from: &Pid, actor: &str, name: &str, body: &[u8]) -> Option<Event> {
    let decoded = if actor == MASTER_ACTOR {
        master_event(from, name, body)
    } else {
        Authentication::decode(name, body).map(|message| {
            message.map(|message| Event::Authentication {
                from: from.clone(),
                actor: actor.to_owned(),
                message: Box::new(message),
            })
        })
    };
    match decoded? {
        Ok(event) => Some(event),
        Err(error) => {
            tracing::warn!(%from, actor, name, %error, "dropping a message that cannot be decoded");
            None
        }
    }
}

fn master_event(from: &Pid, name: &str, body: &[u8]) -> Option<Result<Event, DecodeError>> {
    Some(match AgentToMaster::decode(name, body) {
        Some(message) => message
            .map(|message| Event::AgentMessage { from: from.clone(), message: Box::new(message) }),
        None => SchedulerToMaster::decode(name, body)?.map(|message| Event::SchedulerMessage {
            from: from.clone(),
            message: Box::new(message),
        }),
    })
}

impl MasterHandler {
    /// Hands a request to the master and waits for its answer.
    pub(super) async fn ask(
        &self,
        request: RequestId,
        event: Event,
        stream: Option<PendingStream>,
    ) -> Result<Answer, Stopped> {
        let (reply, answer) = oneshot::channel();
        let event = Box::new(event);
        self.term()?.inputs.send(Command::Request { request, event, reply, stream }).await?;
        answer.await.map_err(|_| Stopped)
    }

    /// A stream that a request asks for.
    pub(super) fn pending(
        &self,
        handle: ConnectionHandle,
        content_type: ContentType,
    ) -> PendingStream {
        PendingStream { connection: self.names.connection(), handle, content_type }
    }

    /// The term of this master, which ends when it leads no more.
    pub(super) fn term(&self) -> Result<Arc<Term>, Stopped> {
        self.daemon.term()
    }

    async fn read(&self, read: Read, request: &Request) -> Result<Response, Stopped> {
        let term = self.term()?;
        let process = Arc::clone(&self.process);
        let query = &request.query;
        let text = |name: &str| query.get(name).map(str::to_owned);
        let callback = match request.callback() {
            Ok(callback) => callback,
            Err(refusal) => return Ok(refusal),
        };
        let body = match read {
            Read::State => {
                let is_script = callback.is_some();
                let wire = Wire { coding: request.accepted_coding(), callback };
                let again = Arc::clone(&process);
                let whole = move |it: &_| render::state(it, &process);
                let pieces = move |it: &_, output| render::stream_state(it, &again, output);
                match term.reads.large(Key::Legacy(read), wire, whole, pieces).await? {
                    ReadBody::Whole(body) => Ok(body),
                    ReadBody::Shared(body) if is_script => {
                        return Ok(Response::shared_script(body));
                    }
                    ReadBody::Shared(body) => {
                        return Ok(Response::shared(ContentType::Json, body));
                    }
                }
            }
            Read::StateSummary => {
                let render = move |it: &_| render::state_summary(it, &process);
                term.reads.cached(Key::Legacy(read), render).await
            }
            Read::Roles => term.reads.cached(Key::Legacy(read), render::roles).await,
            Read::Slaves => match text("slave_id") {
                None => term.reads.cached(Key::Legacy(read), |it| render::slaves(it, None)).await,
                id => term.reads.render(move |it| render::slaves(it, id.as_deref())).await,
            },
            Read::Frameworks => match text("framework_id") {
                None => {
                    term.reads.cached(Key::Legacy(read), |it| render::frameworks(it, None)).await
                }
                id => term.reads.render(move |it| render::frameworks(it, id.as_deref())).await,
            },
            Read::Tasks => {
                let query = render::TaskQuery::new(query);
                term.reads.render(move |it| render::tasks(it, &query)).await
            }
        };
        Ok(Response::json(body?, query.get("jsonp")))
    }

    async fn answer(&self, endpoint: Endpoint, request: Request) -> Result<Response, Stopped> {
        match endpoint {
            Endpoint::Api => operator_api::answer(self, request).await,
            Endpoint::Scheduler => scheduler_api::answer(self, request).await,
            Endpoint::Read(read) => self.read(read, &request).await,
            Endpoint::Explain => explain::answer(self, &request).await,
            Endpoint::OfferConstraintsDebug => explain::constraints(self, &request).await,
            Endpoint::Redirect => {
                let own = (self.process.hostname.as_str(), self.process.port);
                Ok(self.leadership.borrow().redirect(own, &request))
            }
            Endpoint::Health => Ok(Response::empty(StatusCode::OK)),
            Endpoint::Flags
            | Endpoint::Version
            | Endpoint::Metrics
            | Endpoint::SystemStats
            | Endpoint::Processes
            | Endpoint::LoggingToggle
            | Endpoint::Files(_)
            | Endpoint::Teardown
            | Endpoint::MaintenanceSchedule
            | Endpoint::MaintenanceStatus
            | Endpoint::Machines(_)
            | Endpoint::Weights
            | Endpoint::Quota
            | Endpoint::Operation(_) => legacy::answer(self, endpoint, request).await,
        }
    }
}

impl Handler for MasterHandler {
    async fn handle(&self, mut request: Request) -> Response {
        tracing::debug!(peer = %request.peer, method = %request.method, path = request.path, "request");
        let Some(endpoint) = self.router.resolve(&request.path) else {
            return Response::not_found();
        };
        request.principal = match self.access.principal(endpoint.realm(), &request) {
            Ok(principal) => principal,
            Err(refusal) => return refusal,
        };
        let diverted = self.leadership.borrow().divert(endpoint, &request);
        match diverted {
            Some(response) => response,
            None => self.answer(endpoint, request).await.unwrap_or_else(Response::from),
        }
    }

    async fn deliver(&self, message: PeerMessage) -> bool {
        if message.actor != MASTER_ACTOR && !message.actor.starts_with(SESSION_ACTOR) {
            return false;
        }
        let event = peer_event(&message.from, &message.actor, &message.name, &message.body);
        if let Some(event) = event {
            // Before a term, and after it, messages mean nothing; their senders repeat what matters.
            if let Ok(term) = self.term() {
                let _ = term.inputs.send(Command::Event(event)).await;
            }
        }
        true
    }
}

/// Puts the master's answer into HTTP.
pub(super) fn http_response(response: effect::Response, content_type: ContentType) -> Response {
    let status = StatusCode::from_u16(response.status()).unwrap_or_default();
    match response {
        effect::Response::Ok | effect::Response::Accepted => Response::empty(status),
        effect::Response::OkWith(message) => {
            let body = render::respond(&message, content_type);
            Response::content(content_type, Arc::new(Rendered::new(body)))
        }
        effect::Response::BadRequest(text)
        | effect::Response::Forbidden(text)
        | effect::Response::NotFound(text)
        | effect::Response::Conflict(text)
        | effect::Response::InternalServerError(text)
        | effect::Response::NotImplemented(text)
        | effect::Response::ServiceUnavailable(text) => {
            if text.is_empty() {
                plain(status)
            } else {
                Response::text(status, text)
            }
        }
    }
}

/// A status that says no more than its name, as libprocess words it.
pub(super) fn plain(status: StatusCode) -> Response {
    let reason = status.canonical_reason().unwrap_or_default();
    Response::text(status, format!("{} {reason}.", status.as_u16()))
}
