//! `/api/v1/scheduler`.

use hyper::header::{HeaderName, HeaderValue};
use master::event::Event;
use protocol::scheduler::Call;
use protocol::scheduler::call::Type;

use super::calls;
use super::commands::Answer;
use super::handler::{MasterHandler, http_response};
use crate::event_loop::Stopped;
use crate::http::{ContentType, Request, Response};

/// Names a subscription; every later call of it repeats the name.
const STREAM_ID: HeaderName = HeaderName::from_static("mesos-stream-id");

/// Answers one request.
pub(super) async fn answer(handler: &MasterHandler, request: Request) -> Result<Response, Stopped> {
    let call: Call = match calls::read(&request) {
        Ok(call) => call,
        Err(refusal) => return Ok(refusal),
    };
    let subscribes = call.r#type == Some(Type::Subscribe);
    // Mesos looks at `Accept` only where the answer has a body.
    let content_type = if subscribes || call.r#type == Some(Type::ReconcileOperations) {
        match calls::accepted(&request) {
            Ok(content_type) => content_type,
            Err(refusal) => return Ok(refusal),
        }
    } else {
        ContentType::Json
    };
    let stream_id = request.header(STREAM_ID).map(str::to_owned);
    let principal = request.principal.clone();
    let call = Box::new(call);
    let id = handler.names.request();
    let answer = if subscribes {
        let stream = handler.pending(request.connection, content_type);
        let connection = stream.connection;
        let event =
            Event::SchedulerSubscribe { request: id, connection, stream_id, call, principal };
        handler.ask(id, event, Some(stream)).await?
    } else {
        let event = Event::SchedulerCall { request: id, stream_id, call, principal };
        handler.ask(id, event, None).await?
    };
    Ok(match answer {
        Answer::Response(response) => http_response(response, content_type),
        Answer::Scheduler { stream_id, body } => {
            let response = Response::stream(content_type, body);
            match HeaderValue::from_str(&stream_id.to_string()) {
                Ok(value) => response.with(STREAM_ID, value),
                Err(_) => response,
            }
        }
        Answer::Operator { body, .. } => Response::stream(content_type, body),
    })
}
