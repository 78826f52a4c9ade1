//! Operators' calls that change the cluster.

mod stream;

use protocol::master::call::Type;
use protocol::mesos::offer::Operation;
use protocol::mesos::offer::operation;
use protocol::mesos::{AgentId, FrameworkId, Resource};
use protocol::{Names, master};

use crate::Master;
use crate::effect::{Effect, Response};
use crate::event::RequestId;
use crate::metrics::Counter;
use crate::validation;
use crate::validation::operation::Asker;
pub(crate) use stream::Subscribers;

impl Master {
    /// A call that changes something.
    pub(crate) fn operator_call(
        &mut self,
        request: RequestId,
        call: master::Call,
        principal: Option<&str>,
    ) {
        let response = match call.r#type.unwrap_or(Type::Unknown) {
            Type::Teardown => match &call.teardown {
                Some(call) => self.operator_teardown(&call.framework_id),
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
            Type::UpdateMaintenanceSchedule if call.update_maintenance_schedule.is_none() => {
                missing("update_maintenance_schedule")
            }
            Type::StartMaintenance if call.start_maintenance.is_none() => {
                missing("start_maintenance")
            }
            Type::StopMaintenance if call.stop_maintenance.is_none() => missing("stop_maintenance"),
            Type::UpdateMaintenanceSchedule | Type::StartMaintenance | Type::StopMaintenance => {
                return self.maintenance_call(request, call);
            }
            Type::ReserveResources => {
                self.operator_operation(call, operation::Type::Reserve, principal)
            }
            Type::UnreserveResources => {
                self.operator_operation(call, operation::Type::Unreserve, principal)
            }
            Type::CreateVolumes => {
                self.operator_operation(call, operation::Type::Create, principal)
            }
            Type::DestroyVolumes => {
                self.operator_operation(call, operation::Type::Destroy, principal)
            }
            r#type @ (Type::UpdateWeights
            | Type::UpdateQuota
            | Type::SetQuota
            | Type::RemoveQuota
            | Type::GrowVolume
            | Type::ShrinkVolume
            | Type::SetLoggingLevel) => {
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

    fn operator_teardown(&mut self, id: &FrameworkId) -> Response {
        if !self.frameworks.registered.contains_key(id) {
            return Response::BadRequest("No framework found with specified ID".to_owned());
        }
        self.metrics.add(Counter::MessagesUnregisterFramework);
        self.remove_framework(id);
        Response::Ok
    }

    /// A reservation or volume made by an operator. Offers of the agent make room as needed.
    fn operator_operation(
        &mut self,
        call: master::Call,
        r#type: operation::Type,
        principal: Option<&str>,
    ) -> Response {
        let (id, mut operation) = match operation_of(call, r#type) {
            Ok(found) => found,
            Err(field) => return missing(field),
        };
        let id = &id;
        if let Err(error) = normalize(&mut operation) {
            return Response::BadRequest(error);
        }
        let Some(agent) = self.agents.registered.get(id) else {
            return Response::BadRequest("No agent found with specified ID".to_owned());
        };
        let asker = Asker { framework: None, principal };
        if let Err(error) = validation::operation::any(&operation, agent, asker) {
            return Response::BadRequest(format!("Invalid operation: {error}"));
        }
        let conversions = match resources::conversions(&operation) {
            Ok(conversions) => conversions,
            Err(error) => return Response::BadRequest(validation::with_causes(&error)),
        };
        let mut after = agent.total.clone();
        let mut needed = resources::Resources::new();
        for conversion in &conversions {
            if let Err(error) = after.apply(conversion) {
                return Response::Conflict(validation::with_causes(&error));
            }
            needed += &conversion.consumed;
        }
        let offers: Vec<_> = agent.offers.iter().cloned().collect();
        for offer in offers {
            let available = self.allocator.available(id).unwrap_or_default();
            if available.contains(&needed) {
                break;
            }
            self.rescind_offer(&offer);
        }
        if !self.allocator.available(id).unwrap_or_default().contains(&needed) {
            return Response::Conflict(format!("Resources {needed} are not available"));
        }
        for conversion in &conversions {
            let updated =
                self.allocator.update_available(id, &conversion.consumed, &conversion.converted);
            if updated.is_err() {
                return Response::Conflict("Resources are not available".to_owned());
            }
        }
        self.apply_operation(id, None, operation);
        Response::Accepted
    }
}

/// The agent and the operation that an operator's call asks for; the error is the field it lacks.
fn operation_of(
    call: master::Call,
    r#type: operation::Type,
) -> Result<(AgentId, Operation), &'static str> {
    let mut operation = Operation { r#type: Some(r#type), ..Default::default() };
    let agent = if r#type == operation::Type::Reserve {
        let call = call.reserve_resources.ok_or("reserve_resources")?;
        operation.reserve = Some(operation::Reserve {
            source: call.source,
            resources: call.resources,
            ..Default::default()
        });
        call.agent_id
    } else if r#type == operation::Type::Unreserve {
        let call = call.unreserve_resources.ok_or("unreserve_resources")?;
        let resources = call.resources;
        operation.unreserve = Some(operation::Unreserve { resources, ..Default::default() });
        call.agent_id
    } else if r#type == operation::Type::Create {
        let call = call.create_volumes.ok_or("create_volumes")?;
        operation.create = Some(operation::Create { volumes: call.volumes, ..Default::default() });
        call.agent_id
    } else {
        let call = call.destroy_volumes.ok_or("destroy_volumes")?;
        operation.destroy =
            Some(operation::Destroy { volumes: call.volumes, ..Default::default() });
        call.agent_id
    };
    Ok((agent, operation))
}

fn missing(field: &str) -> Response {
    Response::BadRequest(format!(
        "Failed to validate master::Call: Expecting '{field}' to be present"
    ))
}

/// Brings the resources of an operator's operation into the form used inside.
fn normalize(operation: &mut Operation) -> Result<(), String> {
    let mut lists: Vec<&mut Vec<Resource>> = Vec::new();
    if let Some(reserve) = &mut operation.reserve {
        lists.extend([&mut reserve.source, &mut reserve.resources]);
    }
    lists.extend(operation.unreserve.as_mut().map(|it| &mut it.resources));
    lists.extend(operation.create.as_mut().map(|it| &mut it.volumes));
    lists.extend(operation.destroy.as_mut().map(|it| &mut it.volumes));
    for resource in lists.into_iter().flatten() {
        *resource = resources::Resource::from_wire(resource)
            .map_err(|error| validation::with_causes(&error))?
            .to_wire();
    }
    Ok(())
}
