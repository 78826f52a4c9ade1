//! Operations that turn resources into others: reservations and volumes.

use protocol::Names;
use protocol::causes::with_causes;
use protocol::mesos::offer::Operation;
use protocol::mesos::offer::operation::Type;
use protocol::mesos::{AgentId, OfferId, Resource as WireResource};
use resources::Resources;

use crate::Master;
use crate::accept::Acceptance;
use crate::operation::AGENT_OPERATIONS_MAX;
use crate::validation;

impl Master {
    /// A reservation or volume operation: it takes effect here at once, so that what follows in the
    /// same call can use the result, and on the agent when it gets the message.
    pub(super) fn convert(&mut self, acceptance: &mut Acceptance, operation: Operation) {
        if let Err(error) = self.try_convert(acceptance, &operation) {
            self.drop_operation(&acceptance.framework_id, &operation, error);
            return;
        }
        self.apply_operation(&acceptance.agent_id, Some(&acceptance.framework_id), operation);
    }

    fn try_convert(
        &mut self,
        acceptance: &mut Acceptance,
        operation: &Operation,
    ) -> Result<(), String> {
        self.validate_operation(acceptance, operation)?;
        if let Some(destroy) = &operation.destroy {
            self.rescind_offers_with(&acceptance.agent_id, &destroy.volumes);
        }
        let conversions = resources::conversions(operation).map_err(|error| with_causes(&error))?;
        let mut remaining = acceptance.remaining.clone();
        match operation.r#type.unwrap_or(Type::Unknown) {
            r#type @ (Type::GrowVolume | Type::ShrinkVolume) => {
                let consumed: Resources = conversions.iter().map(|it| &it.consumed).sum();
                if !remaining.checked_sub_assign(&consumed) {
                    return Err(format!(
                        "Invalid {} operation: {remaining} does not contain {consumed}",
                        r#type.name(Names::V1)
                    ));
                }
                acceptance.resized += conversions.iter().map(|it| &it.converted).sum::<Resources>();
            }
            Type::Reserve
            | Type::Unreserve
            | Type::Create
            | Type::Destroy
            | Type::Launch
            | Type::LaunchGroup
            | Type::CreateDisk
            | Type::DestroyDisk
            | Type::Unknown => {
                for conversion in &conversions {
                    remaining.apply(conversion).map_err(|error| with_causes(&error))?;
                }
                if operation.create.is_some() || operation.destroy.is_some() {
                    acceptance.shared = remaining.shared();
                }
            }
        }
        acceptance.remaining = remaining;
        for conversion in &conversions {
            self.allocator.update_allocation(
                &acceptance.framework_id,
                &acceptance.agent_id,
                &conversion.consumed,
                &conversion.converted,
            );
        }
        Ok(())
    }

    fn validate_operation(
        &self,
        acceptance: &Acceptance,
        operation: &Operation,
    ) -> Result<(), String> {
        let framework = self.frameworks.registered.get(&acceptance.framework_id);
        let agent = self.agents.registered.get(&acceptance.agent_id);
        let (Some(framework), Some(agent)) = (framework, agent) else {
            return Err("Agent removed".to_owned());
        };
        if agent.operations.len() >= AGENT_OPERATIONS_MAX {
            return Err(too_many(&agent.name()));
        }
        let asker = validation::operation::Asker {
            framework: Some(&framework.info),
            principal: framework.info.principal.as_deref(),
        };
        if operation.reserve.as_ref().is_some_and(|reserve| !reserve.source.is_empty()) {
            return Err("Operation attempted with invalid resources: Reservation updates are not \
                        yet implemented for the scheduler API."
                .to_owned());
        }
        let valid = validation::operation::any(operation, agent, asker);
        valid.map_err(|error| format!("{error}; on agent {}", agent.name()))
    }

    /// Takes back the offers of an agent that hold a volume which is about to be destroyed. Only
    /// shared volumes can be offered to somebody else at the same time.
    pub(crate) fn rescind_offers_with(&mut self, agent: &AgentId, volumes: &[WireResource]) {
        let Some(agent) = self.agents.registered.get(agent) else {
            return;
        };
        let volumes = crate::parsed(volumes).unallocated();
        let holds_one = |id: &OfferId| {
            self.offers.get(id).is_some_and(|offer| {
                let offered = offer.resources.unallocated();
                volumes.iter().any(|volume| offered.contains_one(volume))
            })
        };
        let affected: Vec<_> = agent.offers.keys().filter(|id| holds_one(id)).cloned().collect();
        for offer in affected {
            self.rescind_offer(&offer);
        }
    }
}

/// Why one more operation on an agent is refused.
pub(crate) fn too_many(agent: &str) -> String {
    format!(
        "{AGENT_OPERATIONS_MAX} operations on agent {agent} are under way or wait for an \
         acknowledgement"
    )
}
