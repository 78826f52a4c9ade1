//! Operators' calls that change the cluster.

mod resources;
mod stream;

use protocol::master::call::Type;
use protocol::mesos::FrameworkId;
use protocol::{Names, master};

use crate::Master;
use crate::effect::{Effect, Response};
use crate::event::RequestId;
use crate::metrics::Counter;
pub(crate) use stream::Subscribers;

impl Master {
    /// A call that changes something.
    pub(crate) fn operator_call(
        &mut self,
        request: RequestId,
        call: master::Call,
        principal: Option<&str>,
    ) {
        let Some(call) = self.defer_agent_call(request, call) else {
            return;
        };
        let response = match call.r#type.unwrap_or(Type::Unknown) {
            Type::Teardown => match &call.teardown {
                Some(call) => return self.operator_teardown(request, &call.framework_id),
                None => missing("teardown"),
            },
            Type::MarkAgentGone => match &call.mark_agent_gone {
                Some(call) => return self.mark_gone(Some(request), &call.agent_id),
                None => missing("mark_agent_gone"),
            },
            Type::DeactivateAgent => match &call.deactivate_agent {
                Some(call) => return self.deactivate_agent(request, &call.agent_id),
                None => missing("deactivate_agent"),
            },
            Type::ReactivateAgent => match &call.reactivate_agent {
                Some(call) => return self.reactivate_agent(request, &call.agent_id),
                None => missing("reactivate_agent"),
            },
            Type::DrainAgent => match &call.drain_agent {
                Some(call) => return self.drain_agent(request, call),
                None => missing("drain_agent"),
            },
            Type::UpdateMaintenanceSchedule | Type::StartMaintenance | Type::StopMaintenance => {
                match missing_maintenance(&call) {
                    Some(field) => missing(field),
                    None => return self.maintenance_call(request, call),
                }
            }
            Type::UpdateWeights | Type::UpdateQuota | Type::SetQuota | Type::RemoveQuota => {
                return self.policy_call(request, call);
            }
            Type::ReserveResources
            | Type::UnreserveResources
            | Type::CreateVolumes
            | Type::DestroyVolumes
            | Type::GrowVolume
            | Type::ShrinkVolume => self.operator_operation(call, principal),
            r#type @ Type::SetLoggingLevel => {
                Response::NotImplemented(format!("{} is not implemented", r#type.name(Names::V1)))
            }
            r#type @ (Type::GetHealth
            | Type::GetFlags
            | Type::GetVersion
            | Type::GetMetrics
            | Type::GetLoggingLevel
            | Type::ListFiles
            | Type::ReadFile
            | Type::GetState
            | Type::GetAgents
            | Type::GetFrameworks
            | Type::GetExecutors
            | Type::GetOperations
            | Type::GetTasks
            | Type::GetRoles
            | Type::GetWeights
            | Type::GetMaster
            | Type::GetMaintenanceStatus
            | Type::GetMaintenanceSchedule
            | Type::GetQuota
            | Type::Subscribe
            | Type::Unknown) => {
                Response::NotImplemented(format!("{} changes nothing", r#type.name(Names::V1)))
            }
        };
        self.effects.push(Effect::Respond { request, response });
    }

    fn operator_teardown(&mut self, request: RequestId, id: &FrameworkId) {
        if self.frameworks.registered.contains_key(id) {
            self.metrics.add(Counter::MessagesUnregisterFramework);
            self.remove_framework(id, Some((request, Response::Ok)));
            return;
        }
        let response = Response::BadRequest("No framework found with specified ID".to_owned());
        self.effects.push(Effect::Respond { request, response });
    }
}

/// The field that a call about maintenance lacks.
fn missing_maintenance(call: &master::Call) -> Option<&'static str> {
    match call.r#type {
        Some(Type::UpdateMaintenanceSchedule) if call.update_maintenance_schedule.is_none() => {
            Some("update_maintenance_schedule")
        }
        Some(Type::StartMaintenance) if call.start_maintenance.is_none() => {
            Some("start_maintenance")
        }
        Some(Type::StopMaintenance) if call.stop_maintenance.is_none() => Some("stop_maintenance"),
        Some(_) | None => None,
    }
}

pub(crate) fn missing(field: &str) -> Response {
    Response::BadRequest(format!(
        "Failed to validate master::Call: Expecting '{field}' to be present"
    ))
}
