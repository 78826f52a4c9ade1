//! What may be offered to whom: checked on every offer, and spoilt on purpose.

use std::sync::Arc;

use master::ConnectionId;
use protocol::mesos::resource::ReservationInfo;
use protocol::mesos::{AgentId, InverseOffer, Offer, Resource};
use protocol::scheduler::Event;
use resources::{Resources, role};

use crate::settings::Sabotage;
use crate::world::{Violation, World};

impl World {
    /// The event as a master with the wanted defect would have made it.
    pub(crate) fn corrupted(&self, event: Arc<Event>) -> Arc<Event> {
        let mut bad = (*event).clone();
        if let Some(offers) = &mut bad.offers
            && let Some(offer) = offers.offers.first_mut()
        {
            if self.sabotaged(Sabotage::OfferForeignReservations)
                && let Some(resource) = offer.resources.first_mut()
            {
                let role = Some("elsewhere".to_owned());
                resource.reservations = vec![ReservationInfo { role, ..Default::default() }];
                return Arc::new(bad);
            }
            if self.sabotaged(Sabotage::OfferExcludedAgents)
                && let Some(excluded) = self.operator.excluded.first()
            {
                offer.agent_id = excluded.clone();
                return Arc::new(bad);
            }
        }
        if self.sabotaged(Sabotage::InviteUnscheduled)
            && let Some(offers) = &mut bad.inverse_offers
            && let Some(offer) = offers.inverse_offers.first_mut()
        {
            let value = "another".to_owned();
            offer.agent_id = Some(AgentId { value, ..Default::default() });
            return Arc::new(bad);
        }
        event
    }

    /// Checks offers and inverse offers at the moment when the master sends them.
    pub(crate) fn check_offered(&mut self, master: usize, connection: ConnectionId, event: &Event) {
        let Some(stream) = self.masters[master].streams.get(&connection) else { return };
        let scheduler = stream.scheduler;
        let offers = event.offers.iter().flat_map(|offers| &offers.offers);
        let inverse = event.inverse_offers.iter().flat_map(|offers| &offers.inverse_offers);
        let wrong = offers
            .map(|offer| self.wrong_offer(master, scheduler, offer))
            .chain(inverse.map(|offer| self.wrong_inverse_offer(master, offer)))
            .find_map(|wrong| wrong);
        if let Some(wrong) = wrong {
            self.violate(wrong);
        }
        for offer in event.offers.iter().flat_map(|offers| &offers.offers) {
            let role = offer.allocation_info.as_ref().and_then(|info| info.role.clone());
            let unreserved =
                Resources::from_wire(&offer.resources).unwrap_or_default().unreserved();
            let role = role.unwrap_or_else(|| "*".to_owned());
            self.operator.offered.push((master, role, unreserved.scalar_quantities()));
            self.statistics.offers += 1;
        }
        let inverse = event.inverse_offers.iter().flat_map(|offers| &offers.inverse_offers);
        self.statistics.inverse_offers += u64::try_from(inverse.count()).unwrap_or(0);
    }

    fn wrong_offer(&self, master: usize, scheduler: usize, offer: &Offer) -> Option<Violation> {
        let role = offer.allocation_info.as_ref().and_then(|info| info.role.as_deref());
        let foreign = |resource: &&Resource| {
            let reserved = resource.reservations.last().and_then(|it| it.role.as_deref());
            reserved.is_some_and(|reserved| {
                role.is_none_or(|role| !role::is_in_subtree_of(role, reserved))
            })
        };
        if let Some(resource) = offer.resources.iter().find(foreign) {
            return Some(format!(
                "reservations: framework {scheduler} is offered {resource:?} in role {role:?}"
            ));
        }
        let agent = &offer.agent_id;
        // Who does not know that another leads does not know what that one was told.
        if self.is_in_office(master)
            && self.operator.excluded.contains(agent)
            && self.registry.is_member_since_it_joined(agent)
        {
            return Some(format!(
                "drains: agent {} is offered to framework {scheduler} and was taken out",
                agent.value
            ));
        }
        let rack = self.schedulers[scheduler].rack.as_ref()?;
        let attribute = offer.attributes.iter().find(|attribute| attribute.name == "rack");
        let text = attribute.and_then(|attribute| attribute.text.as_ref());
        let is_wanted = text.is_some_and(|text| text.value == *rack);
        (!is_wanted).then(|| {
            let agent = &agent.value;
            format!("constraints: framework {scheduler} wants {rack} and is offered agent {agent}")
        })
    }

    fn wrong_inverse_offer(&self, master: usize, offer: &InverseOffer) -> Option<Violation> {
        let agent = offer.agent_id.as_ref()?;
        let snapshot = self.masters[master].snapshot.as_ref();
        let view = snapshot.and_then(|snapshot| snapshot.agents.get(agent));
        let host = view.and_then(|view| self.agent_at(&view.pid));
        let is_scheduled = host.is_some_and(|host| self.operator.may_be_scheduled(host));
        // An agent that registered in this very step is not in the last snapshot.
        let is_new = view.is_none() && self.registry.is_admitted(agent);
        (self.is_in_office(master) && !is_scheduled && !is_new).then(|| {
            format!("maintenance: agent {} is asked for and nothing is planned", agent.value)
        })
    }

    /// Limits are not exceeded by anything new, and what others are guaranteed is held back.
    pub(crate) fn check_quota(&mut self) {
        let offered = std::mem::take(&mut self.operator.offered);
        if offered.is_empty() || !self.settings.policy.quota {
            return;
        }
        for (master, role, quantities) in &offered {
            let Some(snapshot) = self.masters[*master].snapshot.clone() else { continue };
            if !self.is_in_office(*master) {
                continue;
            }
            let top = role::top_level(role);
            let wrong = match self.operator.quota.get(top) {
                Some(quota) if quota.is_certain() => {
                    quota.limits.iter().find_map(|(name, limit)| {
                        let consumed = operator_view::consumed(&snapshot, top).get(name);
                        (!quantities.get(name).is_zero() && consumed > *limit).then(|| {
                            format!(
                                "limits: {role} is offered {name} and has {consumed} of {limit}"
                            )
                        })
                    })
                }
                Some(_) => None,
                None => self.wrong_headroom(&snapshot, role, quantities),
            };
            if let Some(wrong) = wrong {
                self.violate(wrong);
            }
        }
    }

    /// Who has no quota gets nothing that is needed for what others are guaranteed.
    fn wrong_headroom(
        &self,
        snapshot: &master::Snapshot,
        role: &str,
        quantities: &resources::Quantities,
    ) -> Option<Violation> {
        if !self.operator.quota.values().all(operator_view::Quota::is_certain) {
            return None;
        }
        let free = operator_view::free(snapshot);
        let mut unmet = resources::Quantities::new();
        for (guaranteed, quota) in &self.operator.quota {
            let consumed = operator_view::consumed(snapshot, guaranteed);
            for (name, guarantee) in &quota.guarantees {
                unmet.increase(name, guarantee.saturating_sub(consumed.get(name)));
            }
        }
        quantities.iter().find_map(|(name, _)| {
            let (free, unmet) = (free.get(name), unmet.get(name));
            (free < unmet).then(|| {
                format!("guarantees: {role} is offered {name}, and {free} is left for {unmet}")
            })
        })
    }
}

pub(crate) use crate::world::operator::view as operator_view;
