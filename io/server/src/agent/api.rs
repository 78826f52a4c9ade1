//! The agent's HTTP APIs.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use agent::event::{ConnectionId, Event};
use agent::view::View;
use hyper::{Method, StatusCode};
use protocol::causes::with_causes;
use protocol::messages::{Authentication, MasterToAgent};
use protocol::{Message as _, executor};
use tokio::sync::oneshot;

mod calls;
mod containers;
mod state;

use super::authentication::AUTHENTICATEE;
use super::containers::Containers;
use super::machine::{ACTOR, Input};
use crate::event_loop::Inputs;
use crate::files::Attachments;
use crate::flags::{CredentialsFlagError, Values};
use crate::http::authentication::Access;
use crate::http::connection::PeerMessage;
use crate::http::route::Router;
use crate::http::{ContentType, Handler, Rendered, Request, Response, stream};
use crate::metrics::SystemStats;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Endpoint {
    Operator,
    Executor,
    State,
    Containers,
    Statistics,
    Flags,
    Health,
    Version,
    Metrics,
    LoggingToggle,
    SystemStats,
    FilesBrowse,
    FilesRead,
    FilesDownload,
    FilesDebug,
}

const ENDPOINTS: &[(&str, &str, Endpoint)] = &[
    (ACTOR, "api/v1", Endpoint::Operator),
    (ACTOR, "api/v1/executor", Endpoint::Executor),
    (ACTOR, "state", Endpoint::State),
    (ACTOR, "containers", Endpoint::Containers),
    (ACTOR, "monitor/statistics", Endpoint::Statistics),
    (ACTOR, "flags", Endpoint::Flags),
    (ACTOR, "health", Endpoint::Health),
    ("monitor", "statistics", Endpoint::Statistics),
    ("version", "", Endpoint::Version),
    ("metrics", "snapshot", Endpoint::Metrics),
    ("logging", "toggle", Endpoint::LoggingToggle),
    ("system", "stats.json", Endpoint::SystemStats),
    ("files", "browse", Endpoint::FilesBrowse),
    ("files", "read", Endpoint::FilesRead),
    ("files", "download", Endpoint::FilesDownload),
    ("files", "debug", Endpoint::FilesDebug),
];

/// Endpoints that only read; `--authenticate_http_readonly`.
const READ_ONLY: &str = "mesos-agent-readonly";
/// Endpoints that may change something; `--authenticate_http_readwrite`.
const READ_WRITE: &str = "mesos-agent-readwrite";

impl Endpoint {
    /// In which realm a client must be known (`src/slave/constants.hpp`); `None`: nobody is asked.
    const fn realm(self) -> Option<&'static str> {
        match self {
            // Executors have no passwords: theirs would be tokens.
            Self::Health | Self::Version | Self::Executor => None,
            Self::Operator | Self::LoggingToggle => Some(READ_WRITE),
            Self::State
            | Self::Containers
            | Self::Statistics
            | Self::Flags
            | Self::Metrics
            | Self::SystemStats
            | Self::FilesBrowse
            | Self::FilesRead
            | Self::FilesDownload
            | Self::FilesDebug => Some(READ_ONLY),
        }
    }
}

/// Who may use the agent's endpoints, as the flags say.
///
/// # Errors
/// The file of secrets cannot be read.
pub(super) fn access(values: &Values) -> Result<Access, CredentialsFlagError> {
    let credentials = values.credentials("http_credentials")?;
    let realms =
        [("authenticate_http_readonly", READ_ONLY), ("authenticate_http_readwrite", READ_WRITE)];
    let on = realms.into_iter().filter(|(flag, _)| values.boolean(flag));
    Ok(Access::new(on.map(|(_, realm)| realm).collect(), credentials.unwrap_or_default()))
}

/// Answers the requests of one agent.
pub(super) struct Api {
    router: Router<Endpoint>,
    inputs: Inputs<Input>,
    containers: Containers,
    flags: Vec<(String, String)>,
    access: Access,
    connections: AtomicU64,
}

impl Api {
    pub(super) fn new(
        inputs: Inputs<Input>,
        containers: Containers,
        flags: Vec<(String, String)>,
        access: Access,
    ) -> Self {
        let router = Router::new(ACTOR, ENDPOINTS);
        Self { router, inputs, containers, flags, access, connections: AtomicU64::new(0) }
    }

    /// The state as of now; none when the agent is stopping.
    async fn view(&self) -> Option<Arc<View>> {
        let (answer, view) = oneshot::channel();
        self.inputs.send(Input::View(answer)).await.ok()?;
        view.await.ok()
    }

    async fn executor(&self, request: Request) -> Response {
        if request.method != Method::POST {
            return Response::method_not_allowed(&["POST"], &request.method);
        }
        let call: Box<executor::Call> = match decode_call(&request) {
            Ok(call) => Box::new(call),
            Err(response) => return response,
        };
        if call.r#type == Some(executor::call::Type::Subscribe) {
            return self.subscribe(request, call).await;
        }
        let (answer, answered) = oneshot::channel();
        if self.inputs.send(Input::Call { call, answer }).await.is_err() {
            return stopping();
        }
        answered.await.map_or_else(|_| stopping(), |response| render(&response))
    }

    async fn subscribe(&self, request: Request, call: Box<executor::Call>) -> Response {
        let Some(content_type) = request.accepted_content_type() else {
            return not_acceptable();
        };
        let connection = ConnectionId(self.connections.fetch_add(1, Ordering::Relaxed) + 1);
        let inputs = self.inputs.clone();
        let (sender, body) = stream::stream(request.connection.clone(), move || {
            let event = Event::ExecutorConnectionClosed { connection };
            // A loop that has ended has no streams.
            let _ = inputs.complete(Input::Event(Box::new(event)));
        });
        let (answer, answered) = oneshot::channel();
        let input = Input::Subscribe { call, content_type, stream: sender, connection, answer };
        if self.inputs.send(input).await.is_err() {
            return stopping();
        }
        match answered.await {
            Ok(Ok(())) => Response::stream(content_type, body),
            Ok(Err(refusal)) => render(&refusal),
            Err(_) => stopping(),
        }
    }
}

fn stopping() -> Response {
    Response::text(StatusCode::SERVICE_UNAVAILABLE, "The agent is stopping")
}

fn render(response: &agent::effect::Response) -> Response {
    let status =
        StatusCode::from_u16(response.status.code()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    if response.body.is_empty() {
        Response::empty(status)
    } else {
        Response::text(status, response.body.clone())
    }
}

/// Reads the body of a call in the encoding that its header names.
fn decode_call<M: protocol::Message>(request: &Request) -> Result<M, Response> {
    let Some(header) = request.header(hyper::header::CONTENT_TYPE) else {
        return Err(Response::bad_request("Expecting 'Content-Type' to be present"));
    };
    match ContentType::parse(header) {
        Some(ContentType::Protobuf) => M::decode(&request.body).map_err(|error| {
            let error = with_causes(&error);
            Response::bad_request(format!("Failed to parse body into Call protobuf: {error}"))
        }),
        Some(ContentType::Json) => {
            M::from_json(&request.body, protocol::Names::V1).map_err(|error| {
                let error = with_causes(&error);
                Response::bad_request(format!("Failed to convert JSON into Call protobuf: {error}"))
            })
        }
        None => Err(Response::text(
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
            format!(
                "Expecting 'Content-Type' of {} or {}",
                ContentType::Json.as_str(),
                ContentType::Protobuf.as_str()
            ),
        )),
    }
}

impl Api {
    async fn operator(&self, request: Request) -> Response {
        if request.method != Method::POST {
            return Response::method_not_allowed(&["POST"], &request.method);
        }
        let call: protocol::agent::Call = match decode_call(&request) {
            Ok(call) => call,
            Err(response) => return response,
        };
        if call.r#type.is_none() {
            return Response::bad_request(
                "Failed to validate agent::Call: Expecting 'type' to be present",
            );
        }
        let Some(content_type) = request.accepted_content_type() else {
            return not_acceptable();
        };
        if call.r#type == Some(protocol::agent::call::Type::SetLoggingLevel) {
            return set_logging_level(&call);
        }
        let Some(view) = self.view().await else { return stopping() };
        if calls::is_recovering(&view) {
            return Response::text(
                StatusCode::SERVICE_UNAVAILABLE,
                "Agent has not finished recovery",
            );
        }
        let files = attachments(&view);
        let context = calls::Context {
            usages: self.usages(&view).await,
            metrics: metrics(&view, &self.containers).into_iter().collect(),
            view: &view,
            flags: &self.flags,
            files: &files,
        };
        match calls::answer(&call, context) {
            Ok(message) => {
                let body = match content_type {
                    ContentType::Protobuf => message.encode_to_vec(),
                    ContentType::Json => calls::to_json(&message),
                };
                Response::content(content_type, Rendered::new(body).into())
            }
            Err(calls::Refusal::BadRequest(text)) => Response::bad_request(text),
            Err(calls::Refusal::NotImplemented(text)) => {
                Response::text(StatusCode::NOT_IMPLEMENTED, text)
            }
            Err(calls::Refusal::Files(error)) => error.response(),
        }
    }

    /// Usage takes a look at every process, on a thread that may block.
    async fn usages(&self, view: &Arc<View>) -> Vec<containers::ContainerUsage> {
        let (containers, view) = (self.containers.clone(), Arc::clone(view));
        let usage = tokio::task::spawn_blocking(move || {
            containers::usage(&view, &containers.usage(), &containers.processes())
        })
        .await;
        usage.unwrap_or_default()
    }

    async fn read(&self, endpoint: Endpoint, request: &Request) -> Response {
        if !request.is_read() {
            return Response::method_not_allowed(&["GET"], &request.method);
        }
        let Some(view) = self.view().await else { return stopping() };
        let json =
            |body: Vec<u8>| Response::json(Rendered::new(body).into(), request.query.get("jsonp"));
        match endpoint {
            Endpoint::State => json(state::state(&view, &self.flags)),
            Endpoint::Containers => json(containers::legacy(&self.usages(&view).await, true)),
            Endpoint::Statistics => json(containers::legacy(&self.usages(&view).await, false)),
            Endpoint::Metrics => json(crate::metrics::to_json(&metrics(&view, &self.containers))),
            Endpoint::FilesBrowse => attachments(&view).browse_response(&request.query),
            Endpoint::FilesRead => attachments(&view).read_response(&request.query),
            Endpoint::FilesDownload => attachments(&view).download_response(&request.query),
            Endpoint::FilesDebug => attachments(&view).debug_response(&request.query),
            Endpoint::SystemStats => json(SystemStats::read().to_json()),
            Endpoint::Flags => json(state::flags(&self.flags)),
            Endpoint::Version => json(crate::version::document(crate::host::MESOS_VERSION)),
            Endpoint::Health
            | Endpoint::LoggingToggle
            | Endpoint::Operator
            | Endpoint::Executor => Response::empty(StatusCode::OK),
        }
    }
}

fn set_logging_level(call: &protocol::agent::Call) -> Response {
    let Some(wanted) = &call.set_logging_level else {
        return Response::bad_request(
            "Failed to validate agent::Call: Expecting 'set_logging_level' to be present",
        );
    };
    crate::logging::set_for(wanted.level, crate::logging::duration(&wanted.duration));
    Response::empty(StatusCode::OK)
}

fn not_acceptable() -> Response {
    let text = format!(
        "Expecting 'Accept' to allow '{}' or '{}'",
        ContentType::Protobuf.as_str(),
        ContentType::Json.as_str()
    );
    Response::text(StatusCode::NOT_ACCEPTABLE, text)
}

/// All metrics by name.
fn metrics(view: &View, containers: &Containers) -> BTreeMap<String, f64> {
    let mut metrics: BTreeMap<String, f64> = view.metrics.entries().into_iter().collect();
    let uptime = crate::event_loop::Clock::start().now() - view.started;
    metrics.insert("slave/uptime_secs".to_owned(), uptime.as_secs_f64());
    containers.add_to(&mut metrics);
    SystemStats::read().add_to(&mut metrics);
    metrics
}

/// The sandboxes: under their own paths, and under paths that need no container id.
fn attachments(view: &View) -> Attachments {
    let mut files = Attachments::default();
    for framework in view.completed_frameworks.iter().chain(&view.frameworks) {
        let id = framework.info.id.as_ref().map_or("", |id| &id.value);
        for executor in framework.completed_executors.iter().chain(&framework.executors) {
            let executor_id = &executor.info.executor_id.value;
            let virtual_path = format!("/frameworks/{id}/executors/{executor_id}");
            files.attach(&executor.directory, &executor.directory);
            files.attach(format!("{virtual_path}/runs/latest"), &executor.directory);
            if let Some((runs, _)) = executor.directory.rsplit_once('/') {
                files.attach(format!("{runs}/latest"), &executor.directory);
            }
        }
    }
    files
}

impl Handler for Api {
    async fn handle(&self, mut request: Request) -> Response {
        let endpoint = self.router.resolve(&request.path);
        request.principal =
            match self.access.principal(endpoint.and_then(Endpoint::realm), &request) {
                Ok(principal) => principal,
                Err(refusal) => return refusal,
            };
        match endpoint {
            Some(Endpoint::Executor) => self.executor(request).await,
            Some(Endpoint::LoggingToggle) => crate::logging::toggle(&request.query),
            Some(Endpoint::Operator) => self.operator(request).await,
            Some(endpoint) => self.read(endpoint, &request).await,
            None => Response::not_found(),
        }
    }

    async fn deliver(&self, message: PeerMessage) -> bool {
        if message.actor.starts_with(AUTHENTICATEE) {
            if let Some(Ok(decoded)) = Authentication::decode(&message.name, &message.body) {
                let PeerMessage { actor, from, .. } = message;
                let input = Input::Authentication { actor, from, message: decoded };
                return self.inputs.send(input).await.is_ok();
            }
            return true;
        }
        if message.actor != ACTOR {
            return false;
        }
        if let Some(Ok(decoded)) = MasterToAgent::decode(&message.name, &message.body) {
            let event = Event::MasterMessage { from: message.from, message: decoded };
            return self.inputs.send(Input::Event(Box::new(event))).await.is_ok();
        }
        true
    }
}
