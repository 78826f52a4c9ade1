//! The endpoints from before `/api/v1` that are not renderings of the state.

mod maintenance;
mod policy;

use std::collections::BTreeMap;
use std::sync::Arc;

use hyper::{Method, StatusCode};
use protocol::master::Call;
use protocol::master::call::{
    CreateVolumes, DestroyVolumes, ReserveResources, Teardown, Type, UnreserveResources,
};
use protocol::mesos::{AgentId, FrameworkId, Resource};
use protocol::{Message, Names, json};

use super::calls::json_error;
use super::endpoint::{Endpoint, FilesRead, ResourceOperation};
use super::handler::MasterHandler;
use super::operator_api::change;
use super::{metrics, render};
use crate::event_loop::Stopped;
use crate::http::{ContentType, Query, Rendered, Request, Response};
use crate::metrics::{SystemStats, to_json};

/// Answers one request for `endpoint`.
pub(super) async fn answer(
    handler: &MasterHandler,
    endpoint: Endpoint,
    request: Request,
) -> Result<Response, Stopped> {
    let shown =
        |body: Vec<u8>| Response::json(Arc::new(Rendered::new(body)), request.query.get("jsonp"));
    match endpoint {
        Endpoint::Flags if !request.is_read() => {
            Ok(Response::method_not_allowed(&["GET"], &request.method))
        }
        Endpoint::Flags => Ok(shown(render::flags(&handler.process.flags))),
        Endpoint::Version => Ok(shown(crate::version::document(&handler.process.version))),
        Endpoint::SystemStats => Ok(shown(SystemStats::read().to_json())),
        Endpoint::Metrics => Ok(shown(to_json(&metrics::collect(handler).await?))),
        // There are no actors inside whose queues could be shown.
        Endpoint::Processes => Ok(shown(b"[]".to_vec())),
        Endpoint::LoggingToggle => Ok(crate::logging::toggle(&request.query)),
        Endpoint::Files(read) => Ok(files(read, &request)),
        Endpoint::Teardown => teardown(handler, &request).await,
        Endpoint::Weights => policy::weights(handler, &request).await,
        Endpoint::Quota => policy::quota(handler, &request).await,
        Endpoint::MaintenanceSchedule => maintenance::schedule(handler, &request).await,
        Endpoint::MaintenanceStatus => maintenance::status(handler, &request).await,
        Endpoint::Machines(direction) => maintenance::machines(handler, direction, &request).await,
        Endpoint::Operation(operation) => operate(handler, operation, &request).await,
        Endpoint::Api
        | Endpoint::Scheduler
        | Endpoint::Health
        | Endpoint::Redirect
        | Endpoint::Explain
        | Endpoint::OfferConstraintsDebug
        | Endpoint::Read(_) => Ok(Response::not_found()),
    }
}

/// `/files/*`: there are no files.
fn files(read: FilesRead, request: &Request) -> Response {
    if read == FilesRead::Debug {
        let body = Arc::new(Rendered::new(b"{}".to_vec()));
        return Response::json(body, request.query.get("jsonp"));
    }
    if request.query.get("path").is_none_or(str::is_empty) {
        return Response::bad_request("Expecting 'path=value' in query.\n");
    }
    match read {
        FilesRead::Browse | FilesRead::Read | FilesRead::Debug => {
            Response::text(StatusCode::NOT_FOUND, "")
        }
        FilesRead::Download => Response::not_found(),
    }
}

/// The form in the body of a `POST`.
fn form(request: &Request) -> Result<Query, Response> {
    if request.method != Method::POST {
        return Err(Response::method_not_allowed(&["POST"], &request.method));
    }
    Query::parse(&String::from_utf8_lossy(&request.body))
        .map_err(|error| Response::bad_request(format!("Unable to decode query string: {error}")))
}

fn missing(field: &str) -> Response {
    Response::bad_request(format!("Missing '{field}' query parameter in the request body"))
}

/// `/teardown`.
async fn teardown(handler: &MasterHandler, request: &Request) -> Result<Response, Stopped> {
    let form = match form(request) {
        Ok(form) => form,
        Err(refusal) => return Ok(refusal),
    };
    let Some(id) = form.get("frameworkId") else { return Ok(missing("frameworkId")) };
    let framework_id = FrameworkId { value: id.to_owned(), ..Default::default() };
    let call = Call {
        r#type: Some(Type::Teardown),
        teardown: Some(Teardown { framework_id, ..Default::default() }),
        ..Default::default()
    };
    change(handler, request.principal.clone(), call, ContentType::Json).await
}

/// The operations on an agent's resources.
async fn operate(
    handler: &MasterHandler,
    operation: ResourceOperation,
    request: &Request,
) -> Result<Response, Stopped> {
    let form = match form(request) {
        Ok(form) => form,
        Err(refusal) => return Ok(refusal),
    };
    let mut fields = BTreeMap::new();
    for field in operation.required_fields() {
        let Some(value) = form.get(field) else { return Ok(missing(field)) };
        fields.insert(*field, value);
    }
    let agent_id = AgentId {
        value: fields.get("slaveId").copied().unwrap_or_default().to_owned(),
        ..Default::default()
    };
    let list = |field: &str| resources(field, fields.get(field).copied().unwrap_or_default());
    let call = match operation {
        ResourceOperation::Reserve => reserve(&form, agent_id),
        ResourceOperation::Unreserve => list("resources").map(|resources| Call {
            r#type: Some(Type::UnreserveResources),
            unreserve_resources: Some(UnreserveResources {
                agent_id,
                resources,
                ..Default::default()
            }),
            ..Default::default()
        }),
        ResourceOperation::CreateVolumes => list("volumes").map(|volumes| Call {
            r#type: Some(Type::CreateVolumes),
            create_volumes: Some(CreateVolumes { agent_id, volumes, ..Default::default() }),
            ..Default::default()
        }),
        ResourceOperation::DestroyVolumes => list("volumes").map(|volumes| Call {
            r#type: Some(Type::DestroyVolumes),
            destroy_volumes: Some(DestroyVolumes { agent_id, volumes, ..Default::default() }),
            ..Default::default()
        }),
    };
    match call {
        Ok(call) => change(handler, request.principal.clone(), call, ContentType::Json).await,
        Err(refusal) => Ok(refusal),
    }
}

/// `/reserve`, which alone may say what a reservation replaces.
fn reserve(form: &Query, agent_id: AgentId) -> Result<Call, Response> {
    let list = |field: &str| {
        let prefix = format!("Error parsing '{field}' query parameter in the request body");
        form.get(field).map(|text| resource_list(&prefix, text)).transpose()
    };
    let resources = list("resources")?.unwrap_or_default();
    let source = list("source")?.unwrap_or_default();
    Ok(Call {
        r#type: Some(Type::ReserveResources),
        reserve_resources: Some(ReserveResources {
            agent_id,
            source,
            resources,
            ..Default::default()
        }),
        ..Default::default()
    })
}

/// The JSON array in a field of a form.
fn resources(field: &str, text: &str) -> Result<Vec<Resource>, Response> {
    let prefix = format!("Error in parsing '{field}' query parameter in the request body");
    resource_list(&prefix, text)
}

fn resource_list(prefix: &str, text: &str) -> Result<Vec<Resource>, Response> {
    let refuse = |reason: String| Response::bad_request(format!("{prefix}: {reason}"));
    let value = json::parse(text.as_bytes())
        .map_err(|error| refuse(json_error(&error, text.as_bytes())))?;
    let Some(values) = value.as_array() else {
        return Err(refuse("Expecting a JSON array".to_owned()));
    };
    let read = |value| Resource::from_json_value(value, Names::V0);
    values.iter().map(read).collect::<Result<_, _>>().map_err(|error| refuse(error.to_string()))
}
