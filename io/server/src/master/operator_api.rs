//! `/api/v1`: the calls of operators.

use std::sync::Arc;

use bytes::Bytes;
use hyper::StatusCode;
use master::Snapshot;
use master::event::Event;
use protocol::master::call::Type;
use protocol::master::{Call, Response as Reply, response};
use protocol::{mesos, recordio};
use tokio::sync::oneshot;

use super::calls;
use super::commands::{Answer, Command};
use super::handler::{MasterHandler, http_response, plain};
use super::metrics;
use super::reads::{Key, ReadBody, Wire, render_apart};
use super::render::{self, View};
use crate::event_loop::Stopped;
use crate::http::{ContentType, Rendered, Request, Response};

/// Answers one request.
pub(super) async fn answer(handler: &MasterHandler, request: Request) -> Result<Response, Stopped> {
    let parsed = calls::read::<Call>(&request).and_then(|call| {
        validate(&call).map_err(|missing| {
            let text =
                format!("Failed to validate master::Call: Expecting '{missing}' to be present");
            Response::bad_request(text)
        })?;
        Ok((call, calls::accepted(&request)?))
    });
    match parsed {
        Ok((call, content_type)) => perform(handler, call, content_type, request).await,
        Err(refusal) => Ok(refusal),
    }
}

/// Whether the part of a call that its type demands is there; its name otherwise (`src/master/validation.cpp`).
fn validate(call: &Call) -> Result<(), &'static str> {
    let Some(r#type) = call.r#type else { return Err("type") };
    let (present, name) = match r#type {
        Type::GetMetrics => (call.get_metrics.is_some(), "get_metrics"),
        Type::SetLoggingLevel => (call.set_logging_level.is_some(), "set_logging_level"),
        Type::ListFiles => (call.list_files.is_some(), "list_files"),
        Type::ReadFile => (call.read_file.is_some(), "read_file"),
        Type::UpdateWeights => (call.update_weights.is_some(), "update_weights"),
        Type::ReserveResources => (call.reserve_resources.is_some(), "reserve_resources"),
        Type::UnreserveResources => (call.unreserve_resources.is_some(), "unreserve_resources"),
        Type::CreateVolumes => (call.create_volumes.is_some(), "create_volumes"),
        Type::DestroyVolumes => (call.destroy_volumes.is_some(), "destroy_volumes"),
        Type::GrowVolume => (call.grow_volume.is_some(), "grow_volume"),
        Type::ShrinkVolume => (call.shrink_volume.is_some(), "shrink_volume"),
        Type::UpdateMaintenanceSchedule => {
            (call.update_maintenance_schedule.is_some(), "update_maintenance_schedule")
        }
        Type::StartMaintenance => (call.start_maintenance.is_some(), "start_maintenance"),
        Type::StopMaintenance => (call.stop_maintenance.is_some(), "stop_maintenance"),
        Type::DrainAgent => (call.drain_agent.is_some(), "drain_agent"),
        Type::DeactivateAgent => (call.deactivate_agent.is_some(), "deactivate_agent"),
        Type::ReactivateAgent => (call.reactivate_agent.is_some(), "reactivate_agent"),
        Type::UpdateQuota => (call.update_quota.is_some(), "update_quota"),
        Type::SetQuota => (call.set_quota.is_some(), "set_quota"),
        Type::RemoveQuota => (call.remove_quota.is_some(), "remove_quota"),
        Type::Teardown => (call.teardown.is_some(), "teardown"),
        Type::MarkAgentGone => (call.mark_agent_gone.is_some(), "mark_agent_gone"),
        Type::Unknown
        | Type::GetHealth
        | Type::GetFlags
        | Type::GetVersion
        | Type::GetLoggingLevel
        | Type::GetState
        | Type::GetAgents
        | Type::GetFrameworks
        | Type::GetExecutors
        | Type::GetOperations
        | Type::GetTasks
        | Type::GetRoles
        | Type::GetWeights
        | Type::GetMaster
        | Type::Subscribe
        | Type::GetMaintenanceStatus
        | Type::GetMaintenanceSchedule
        | Type::GetQuota => return Ok(()),
    };
    if present { Ok(()) } else { Err(name) }
}

/// What a call asks for.
#[derive(Clone, Copy, Debug)]
enum Action {
    /// Read the state of the cluster.
    View(View),
    /// Read something small.
    Detail(Detail),
    /// Open a stream of events.
    Subscribe,
    /// Read files, of which the master shows none.
    Files,
    /// Log more for a while.
    SetLoggingLevel,
    /// Change something.
    Change,
    /// Nothing known.
    Unknown,
}

/// Reads that are not worth keeping.
#[derive(Clone, Copy, Debug)]
enum Detail {
    Health,
    Flags,
    Version,
    Metrics,
    LoggingLevel,
    Operations,
    Master,
    MaintenanceStatus,
    MaintenanceSchedule,
    Quota,
}

const fn action(r#type: Type) -> Action {
    match r#type {
        Type::GetState => Action::View(View::State),
        Type::GetAgents => Action::View(View::Agents),
        Type::GetFrameworks => Action::View(View::Frameworks),
        Type::GetExecutors => Action::View(View::Executors),
        Type::GetTasks => Action::View(View::Tasks),
        Type::GetRoles => Action::View(View::Roles),
        Type::GetWeights => Action::View(View::Weights),
        Type::GetHealth => Action::Detail(Detail::Health),
        Type::GetFlags => Action::Detail(Detail::Flags),
        Type::GetVersion => Action::Detail(Detail::Version),
        Type::GetMetrics => Action::Detail(Detail::Metrics),
        Type::GetLoggingLevel => Action::Detail(Detail::LoggingLevel),
        Type::GetOperations => Action::Detail(Detail::Operations),
        Type::GetMaster => Action::Detail(Detail::Master),
        Type::GetMaintenanceStatus => Action::Detail(Detail::MaintenanceStatus),
        Type::GetMaintenanceSchedule => Action::Detail(Detail::MaintenanceSchedule),
        Type::GetQuota => Action::Detail(Detail::Quota),
        Type::Subscribe => Action::Subscribe,
        Type::ListFiles | Type::ReadFile => Action::Files,
        Type::Unknown => Action::Unknown,
        Type::SetLoggingLevel => Action::SetLoggingLevel,
        Type::UpdateWeights
        | Type::ReserveResources
        | Type::UnreserveResources
        | Type::CreateVolumes
        | Type::DestroyVolumes
        | Type::GrowVolume
        | Type::ShrinkVolume
        | Type::UpdateMaintenanceSchedule
        | Type::StartMaintenance
        | Type::StopMaintenance
        | Type::DrainAgent
        | Type::DeactivateAgent
        | Type::ReactivateAgent
        | Type::UpdateQuota
        | Type::SetQuota
        | Type::RemoveQuota
        | Type::Teardown
        | Type::MarkAgentGone => Action::Change,
    }
}

async fn perform(
    handler: &MasterHandler,
    call: Call,
    content_type: ContentType,
    request: Request,
) -> Result<Response, Stopped> {
    match action(call.r#type.unwrap_or(Type::Unknown)) {
        Action::View(view) => {
            let render = move |snapshot: &_| render::view(snapshot, view, content_type);
            let pieces = move |snapshot: &_, output| {
                render::stream_view(snapshot, view, content_type, output);
            };
            let key = Key::Operator(view, content_type);
            let wire = Wire { coding: request.accepted_coding(), callback: None };
            Ok(match handler.term()?.reads.large(key, wire, render, pieces).await? {
                ReadBody::Whole(body) => Response::content(content_type, body),
                ReadBody::Shared(body) => Response::shared(content_type, body),
            })
        }
        Action::Detail(detail) => {
            let reply = read_detail(handler, detail).await?;
            let body = Rendered::new(render::respond(&reply, content_type));
            Ok(Response::content(content_type, Arc::new(body)))
        }
        Action::Subscribe => subscribe(handler, content_type, request).await,
        Action::SetLoggingLevel => {
            if let Some(wanted) = call.set_logging_level {
                crate::logging::set_for(wanted.level, crate::logging::duration(&wanted.duration));
            }
            Ok(Response::empty(StatusCode::OK))
        }
        Action::Files => Ok(Response::text(StatusCode::NOT_FOUND, "")),
        Action::Change => change(handler, request.principal.clone(), call, content_type).await,
        Action::Unknown => Ok(plain(StatusCode::NOT_IMPLEMENTED)),
    }
}

/// Hands a call that changes something to the master.
pub(super) async fn change(
    handler: &MasterHandler,
    principal: Option<String>,
    call: Call,
    content_type: ContentType,
) -> Result<Response, Stopped> {
    let request = handler.names.request();
    let event = Event::OperatorCall { request, call: Box::new(call), principal };
    Ok(match handler.ask(request, event, None).await? {
        Answer::Response(response) => http_response(response, content_type),
        Answer::Scheduler { body, .. } | Answer::Operator { body, .. } => {
            Response::stream(content_type, body)
        }
    })
}

async fn subscribe(
    handler: &MasterHandler,
    content_type: ContentType,
    request: Request,
) -> Result<Response, Stopped> {
    let stream = handler.pending(request.connection, content_type);
    let event =
        Event::OperatorSubscribe { connection: stream.connection, principal: request.principal };
    let event = Box::new(event);
    let (reply, answer) = oneshot::channel();
    handler.term()?.inputs.send(Command::Subscribe { event, reply, stream }).await?;
    Ok(match answer.await.map_err(|_| Stopped)? {
        Answer::Response(response) => http_response(response, content_type),
        Answer::Scheduler { body, .. } => Response::stream(content_type, body),
        Answer::Operator { snapshot, heartbeat_seconds, mut body } => {
            // Later events wait in the stream meanwhile.
            let render = move |snapshot: &_| {
                recordio::encode(&render::subscribed(snapshot, heartbeat_seconds, content_type))
            };
            let subscribed = render_apart(snapshot, render).await?;
            body.prepend(Bytes::clone(subscribed.plain()));
            Response::stream(content_type, body)
        }
    })
}

/// The operations on all agents.
fn operations(snapshot: &Snapshot) -> response::GetOperations {
    let operations = snapshot.agents.values().flat_map(|agent| &agent.operations);
    let operations = operations.map(|operation| (**operation).clone()).collect();
    response::GetOperations { operations, ..Default::default() }
}

fn maintenance_status(snapshot: &Snapshot) -> response::GetMaintenanceStatus {
    let status = snapshot.maintenance.status.clone();
    response::GetMaintenanceStatus { status, ..Default::default() }
}

fn maintenance_schedule(snapshot: &Snapshot) -> response::GetMaintenanceSchedule {
    let schedule = snapshot.maintenance.schedule.clone();
    response::GetMaintenanceSchedule { schedule, ..Default::default() }
}

async fn read_detail(handler: &MasterHandler, detail: Detail) -> Result<Reply, Stopped> {
    let mut reply = Reply::default();
    let kind = match detail {
        Detail::Health => {
            reply.get_health = Some(response::GetHealth { healthy: true, ..Default::default() });
            response::Type::GetHealth
        }
        Detail::Flags => {
            let flag = |(name, value): &(String, String)| mesos::Flag {
                name: name.clone(),
                value: Some(value.clone()),
                ..Default::default()
            };
            let flags = handler.process.flags.iter().map(flag).collect();
            reply.get_flags = Some(response::GetFlags { flags, ..Default::default() });
            response::Type::GetFlags
        }
        Detail::Version => {
            let version_info = crate::version::info(&handler.process.version);
            reply.get_version = Some(response::GetVersion { version_info, ..Default::default() });
            response::Type::GetVersion
        }
        Detail::Metrics => {
            let metrics = metrics::collect(handler).await?;
            let metric =
                |(name, value)| mesos::Metric { name, value: Some(value), ..Default::default() };
            let metrics = metrics.into_iter().map(metric).collect();
            reply.get_metrics = Some(response::GetMetrics { metrics, ..Default::default() });
            response::Type::GetMetrics
        }
        Detail::LoggingLevel => {
            reply.get_logging_level = Some(response::GetLoggingLevel {
                level: crate::logging::level(),
                ..Default::default()
            });
            response::Type::GetLoggingLevel
        }
        Detail::Operations => {
            reply.get_operations = Some(operations(&*handler.term()?.reads.snapshot().await?));
            response::Type::GetOperations
        }
        Detail::Master => {
            let snapshot = handler.term()?.reads.snapshot().await?;
            reply.get_master = Some(response::GetMaster {
                master_info: Some(Box::new(snapshot.master.as_ref().clone())),
                start_time: Some(handler.process.start_time.as_secs_f64()),
                elected_time: Some(snapshot.elected_time.as_secs_f64()),
                ..Default::default()
            });
            response::Type::GetMaster
        }
        Detail::MaintenanceStatus => {
            let snapshot = handler.term()?.reads.snapshot().await?;
            reply.get_maintenance_status = Some(maintenance_status(&snapshot));
            response::Type::GetMaintenanceStatus
        }
        Detail::MaintenanceSchedule => {
            let snapshot = handler.term()?.reads.snapshot().await?;
            reply.get_maintenance_schedule = Some(maintenance_schedule(&snapshot));
            response::Type::GetMaintenanceSchedule
        }
        Detail::Quota => {
            let status = render::quota_status(&*handler.term()?.reads.snapshot().await?);
            reply.get_quota = Some(response::GetQuota { status, ..Default::default() });
            response::Type::GetQuota
        }
    };
    reply.r#type = Some(kind);
    Ok(reply)
}
