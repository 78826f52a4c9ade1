//! `/maintenance/*` and `/machine/*`: the maintenance calls of `/api/v1` in their older form.

use std::sync::Arc;

use hyper::Method;
use protocol::maintenance::Schedule;
use protocol::master::Call;
use protocol::master::call::{StartMaintenance, StopMaintenance, Type, UpdateMaintenanceSchedule};
use protocol::mesos::MachineId;
use protocol::{Message, Names, json};

use super::super::calls::json_error;
use super::super::endpoint::Direction;
use super::super::handler::MasterHandler;
use super::super::operator_api::change;
use crate::event_loop::Stopped;
use crate::http::json::JsonWriter;
use crate::http::{ContentType, Rendered, Request, Response};

/// The answer to JSON that is neither an object nor a list where one is needed.
const UNEXPECTED_TYPE: &str = "Unexpected JSON type parsed";

/// `/maintenance/schedule`: when which machines will be away.
pub(super) async fn schedule(
    handler: &MasterHandler,
    request: &Request,
) -> Result<Response, Stopped> {
    if request.is_read() {
        let snapshot = handler.term()?.reads.snapshot().await?;
        return Ok(shown(&snapshot.maintenance.schedule, request));
    }
    if request.method != Method::POST {
        return Ok(Response::method_not_allowed(&["GET", "POST"], &request.method));
    }
    let schedule = parse(request).and_then(|value| {
        if !value.is_object() {
            return Err(Response::bad_request(UNEXPECTED_TYPE));
        }
        Schedule::from_json_value(&value, Names::V0)
            .map_err(|error| Response::bad_request(error.to_string()))
    });
    let schedule = match schedule {
        Ok(schedule) => schedule,
        Err(refusal) => return Ok(refusal),
    };
    let call = Call {
        r#type: Some(Type::UpdateMaintenanceSchedule),
        update_maintenance_schedule: Some(UpdateMaintenanceSchedule {
            schedule,
            ..Default::default()
        }),
        ..Default::default()
    };
    change(handler, request.principal.clone(), call, ContentType::Json).await
}

/// `/maintenance/status`: how far machines are.
pub(super) async fn status(
    handler: &MasterHandler,
    request: &Request,
) -> Result<Response, Stopped> {
    if !request.is_read() {
        return Ok(Response::method_not_allowed(&["GET"], &request.method));
    }
    let snapshot = handler.term()?.reads.snapshot().await?;
    Ok(shown(&snapshot.maintenance.status, request))
}

/// `/machine/down` and `/machine/up`: maintenance begins, or is over.
pub(super) async fn machines(
    handler: &MasterHandler,
    direction: Direction,
    request: &Request,
) -> Result<Response, Stopped> {
    if request.method != Method::POST {
        return Ok(Response::method_not_allowed(&["POST"], &request.method));
    }
    let machines = match parse(request).and_then(|value| machine_ids(&value)) {
        Ok(machines) => machines,
        Err(refusal) => return Ok(refusal),
    };
    let call = match direction {
        Direction::Down => Call {
            r#type: Some(Type::StartMaintenance),
            start_maintenance: Some(StartMaintenance { machines, ..Default::default() }),
            ..Default::default()
        },
        Direction::Up => Call {
            r#type: Some(Type::StopMaintenance),
            stop_maintenance: Some(StopMaintenance { machines, ..Default::default() }),
            ..Default::default()
        },
    };
    change(handler, request.principal.clone(), call, ContentType::Json).await
}

fn parse(request: &Request) -> Result<serde_json::Value, Response> {
    json::parse(&request.body)
        .map_err(|error| Response::bad_request(json_error(&error, &request.body)))
}

fn machine_ids(value: &serde_json::Value) -> Result<Vec<MachineId>, Response> {
    let Some(values) = value.as_array() else {
        return Err(Response::bad_request(UNEXPECTED_TYPE));
    };
    let read = |value| MachineId::from_json_value(value, Names::V0);
    values
        .iter()
        .map(read)
        .collect::<Result<_, _>>()
        .map_err(|error| Response::bad_request(error.to_string()))
}

fn shown(message: &impl Message, request: &Request) -> Response {
    let mut json = JsonWriter::new();
    json.message(message, Names::V0);
    Response::json(Arc::new(Rendered::new(json.into_bytes())), request.query.get("jsonp"))
}
