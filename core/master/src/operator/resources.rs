//! Reservations and volumes made by operators (`Master::Http::_operation` in `src/master/http.cpp`).

use protocol::Names;
use protocol::causes::with_causes;
use protocol::master::{Call, call};
use protocol::mesos::AgentId;
use protocol::mesos::offer::{Operation, operation};
use resources::{Conversion, Resources};

use crate::Master;
use crate::accept::{prepare, too_many};
use crate::effect::Response;
use crate::offer::REFUSE_DEFAULT;
use crate::operation::AGENT_OPERATIONS_MAX;
use crate::operator::missing;
use crate::validation;
use crate::validation::operation::Asker;

impl Master {
    /// A reservation or volume made by an operator. Offers of the agent make room as needed.
    pub(super) fn operator_operation(&mut self, call: Call, principal: Option<&str>) -> Response {
        let (id, mut operation) = match operation_of(call) {
            Ok(found) => found,
            Err(refusal) => return refusal,
        };
        let id = &id;
        let Some(agent) = self.agents.registered.get(id) else {
            return Response::BadRequest("No agent found with specified ID".to_owned());
        };
        if let Err(error) = prepare(&mut operation, None) {
            return Response::BadRequest(error);
        }
        let asker = Asker { framework: None, principal };
        if let Err(error) = validation::operation::any(&operation, agent, asker) {
            return Response::BadRequest(invalid(&operation, &agent.name(), &error));
        }
        if agent.operations.len() >= AGENT_OPERATIONS_MAX {
            return Response::Conflict(too_many(&agent.name()));
        }
        let conversions = match resources::conversions(&operation) {
            Ok(conversions) => conversions,
            Err(error) => {
                let error = with_causes(&error);
                return Response::BadRequest(invalid(&operation, &agent.name(), &error));
            }
        };
        let mut after = agent.total.clone();
        for conversion in &conversions {
            // Not to be had even if all offers were taken back: then none is.
            if let Err(error) = after.apply(conversion) {
                return Response::Conflict(with_causes(&error));
            }
        }
        if let Some(destroy) = &operation.destroy {
            self.rescind_offers_with(id, &destroy.volumes);
        }
        self.make_room(id, &conversions);
        if let Err(error) = self.convert_available(id, &conversions) {
            return Response::Conflict(error);
        }
        self.apply_operation(id, None, operation);
        Response::Accepted
    }

    /// Takes back those offers of an agent that hold something of what an operation needs, until it is
    /// free. It is not offered to the same frameworks again at once.
    fn make_room(&mut self, id: &AgentId, conversions: &[Conversion]) {
        let (mut needed, mut made) = (Resources::new(), Resources::new());
        for conversion in conversions {
            // What one step makes the next may use.
            needed += &conversion.consumed.saturating_sub(&made);
            made = made.saturating_sub(&conversion.consumed);
            made += &conversion.converted;
        }
        let Some(agent) = self.agents.registered.get(id) else {
            return;
        };
        let offers: Vec<_> = agent.offers.keys().cloned().collect();
        for offer in offers {
            let missing = needed.saturating_sub(&self.allocator.available(id).unwrap_or_default());
            if missing.is_empty() {
                return;
            }
            let helps = self.offers.get(&offer).is_some_and(|offer| {
                missing.saturating_sub(&offer.resources.unallocated()) != missing
            });
            if helps {
                self.rescind_offer_for(&offer, Some(REFUSE_DEFAULT));
            }
        }
    }

    /// Has the allocator carry out all conversions, or none.
    fn convert_available(
        &mut self,
        id: &AgentId,
        conversions: &[Conversion],
    ) -> Result<(), String> {
        let mut available = self.allocator.available(id).unwrap_or_default();
        for conversion in conversions {
            available.apply(conversion).map_err(|error| with_causes(&error))?;
        }
        for conversion in conversions {
            self.allocator
                .update_available(id, &conversion.consumed, &conversion.converted)
                .map_err(|error| with_causes(&error))?;
        }
        Ok(())
    }
}

/// The text for an operation that is refused by itself. Mesos names the agent in some.
fn invalid(operation: &Operation, agent: &str, error: &str) -> String {
    use operation::Type;
    let r#type = operation.r#type.unwrap_or(Type::Unknown);
    let name = r#type.name(Names::V1);
    if matches!(r#type, Type::Unreserve | Type::Destroy) {
        format!("Invalid {name} operation: {error}")
    } else {
        format!("Invalid {name} operation on agent {agent}: {error}")
    }
}

/// The agent and the operation that an operator's call asks for, or the answer to one that lacks a
/// field.
fn operation_of(call: Call) -> Result<(AgentId, Operation), Response> {
    use operation::{Create, Destroy, GrowVolume, Reserve, ShrinkVolume, Type, Unreserve};
    let mut operation = Operation::default();
    let of_type = call.r#type.unwrap_or(call::Type::Unknown);
    let agent = if of_type == call::Type::ReserveResources {
        let call = call.reserve_resources.ok_or_else(|| missing("reserve_resources"))?;
        operation.r#type = Some(Type::Reserve);
        let (source, resources) = (call.source, call.resources);
        operation.reserve = Some(Reserve { source, resources, ..Default::default() });
        call.agent_id
    } else if of_type == call::Type::UnreserveResources {
        let call = call.unreserve_resources.ok_or_else(|| missing("unreserve_resources"))?;
        operation.r#type = Some(Type::Unreserve);
        let resources = call.resources;
        operation.unreserve = Some(Unreserve { resources, ..Default::default() });
        call.agent_id
    } else if of_type == call::Type::CreateVolumes {
        let call = call.create_volumes.ok_or_else(|| missing("create_volumes"))?;
        operation.r#type = Some(Type::Create);
        operation.create = Some(Create { volumes: call.volumes, ..Default::default() });
        call.agent_id
    } else if of_type == call::Type::DestroyVolumes {
        let call = call.destroy_volumes.ok_or_else(|| missing("destroy_volumes"))?;
        operation.r#type = Some(Type::Destroy);
        operation.destroy = Some(Destroy { volumes: call.volumes, ..Default::default() });
        call.agent_id
    } else if of_type == call::Type::GrowVolume {
        let call = call.grow_volume.ok_or_else(|| missing("grow_volume"))?;
        operation.r#type = Some(Type::GrowVolume);
        let (volume, addition) = (call.volume, call.addition);
        operation.grow_volume =
            Some(Box::new(GrowVolume { volume, addition, ..Default::default() }));
        call.agent_id.ok_or_else(no_agent)?
    } else {
        let call = call.shrink_volume.ok_or_else(|| missing("shrink_volume"))?;
        operation.r#type = Some(Type::ShrinkVolume);
        let (volume, subtract) = (call.volume, call.subtract);
        operation.shrink_volume =
            Some(Box::new(ShrinkVolume { volume, subtract, ..Default::default() }));
        call.agent_id.ok_or_else(no_agent)?
    };
    Ok((agent, operation))
}

fn no_agent() -> Response {
    Response::BadRequest(
        "Failed to validate master::Call: Expecting 'agent_id' to be present; only agent default \
         resources are supported right now"
            .to_owned(),
    )
}
