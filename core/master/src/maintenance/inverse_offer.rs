//! Inverse offers: frameworks are asked to give up what they hold on agents that will be away.
//!
//! An answer changes nothing but what operators see in the status of the maintenance.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use allocator::InverseAllocation;
use protocol::allocator::InverseOfferStatus;
use protocol::allocator::inverse_offer_status::Status;
use protocol::mesos::{AgentId, Filters, FrameworkId, InverseOffer, OfferId, TimeInfo};

use crate::Master;
use crate::agent::Agent;
use crate::notice::Notice;
use crate::offer::refusal;
use crate::timer::{Timer, TimerKey};

/// An inverse offer that is not answered.
#[derive(Clone, Debug)]
struct Outstanding {
    offer: Arc<InverseOffer>,
    agent_id: AgentId,
    timer: Option<TimerKey>,
}

/// The inverse offers that are not answered. At most one for each agent and framework.
#[derive(Clone, Debug, Default)]
pub(crate) struct InverseOffers {
    outstanding: BTreeMap<OfferId, Outstanding>,
    by_agent: BTreeMap<AgentId, BTreeSet<OfferId>>,
    by_framework: BTreeMap<FrameworkId, BTreeSet<OfferId>>,
    /// Those that the allocator made while the agent was out of the offers. It makes no other until
    /// they are given back.
    held_back: BTreeMap<AgentId, BTreeSet<FrameworkId>>,
}

impl InverseOffers {
    fn insert(&mut self, id: OfferId, outstanding: Outstanding) {
        let framework = outstanding.offer.framework_id.clone();
        self.by_agent.entry(outstanding.agent_id.clone()).or_default().insert(id.clone());
        self.by_framework.entry(framework).or_default().insert(id.clone());
        self.outstanding.insert(id, outstanding);
    }

    fn remove(&mut self, id: &OfferId) -> Option<Outstanding> {
        let outstanding = self.outstanding.remove(id)?;
        remove_from(&mut self.by_agent, &outstanding.agent_id, id);
        remove_from(&mut self.by_framework, &outstanding.offer.framework_id, id);
        Some(outstanding)
    }

    fn of_agent(&self, id: &AgentId) -> Vec<OfferId> {
        self.by_agent.get(id).map(|ids| ids.iter().cloned().collect()).unwrap_or_default()
    }

    fn of_framework(&self, id: &FrameworkId) -> Vec<OfferId> {
        self.by_framework.get(id).map(|ids| ids.iter().cloned().collect()).unwrap_or_default()
    }

    /// Those of a framework, by id.
    pub(crate) fn offers_of(&self, id: &FrameworkId) -> Vec<Arc<InverseOffer>> {
        let offers = self.of_framework(id);
        offers.iter().map(|id| Arc::clone(&self.outstanding[id].offer)).collect()
    }
}

fn remove_from<K: Ord>(index: &mut BTreeMap<K, BTreeSet<OfferId>>, key: &K, id: &OfferId) {
    if let Some(ids) = index.get_mut(key) {
        ids.remove(id);
        if ids.is_empty() {
            index.remove(key);
        }
    }
}

impl Master {
    /// Asks the frameworks that the allocator says are to be asked.
    pub(crate) fn make_inverse_offers(&mut self) {
        if !self.allocator.needs_inverse_offers(self.now) {
            return;
        }
        let allocations = self.allocator.inverse_offers(self.now);
        let by_framework = crate::group(
            allocations.into_iter().map(|allocation| (allocation.framework.clone(), allocation)),
        );
        for (framework_id, allocations) in by_framework {
            let made: Vec<InverseOffer> = allocations
                .into_iter()
                .filter_map(|allocation| self.make_inverse_offer(allocation))
                .collect();
            if !made.is_empty() {
                self.views.touch_framework(&framework_id);
                self.notify(&framework_id, Notice::InverseOffers(made));
            }
        }
    }

    fn make_inverse_offer(&mut self, allocation: InverseAllocation) -> Option<InverseOffer> {
        let InverseAllocation { framework, agent: agent_id, .. } = allocation;
        let agent = self.agents.registered.get(&agent_id)?;
        let unavailability = agent.unavailability.as_deref()?.clone();
        if !agent.active() {
            let held_back = &mut self.maintenance.inverse_offers.held_back;
            held_back.entry(agent_id).or_default().insert(framework);
            return None;
        }
        let url = Some(agent.url());
        let id = self.ids.next_offer(&self.info);
        let offer = InverseOffer {
            id: id.clone(),
            url,
            framework_id: framework,
            agent_id: Some(agent_id.clone()),
            unavailability,
            ..Default::default()
        };
        let timer = self.config.offer_timeout.map(|timeout| {
            self.timers.start(self.now + timeout, Timer::InverseOfferTimeout(id.clone()))
        });
        let outstanding = Outstanding { offer: Arc::new(offer.clone()), agent_id, timer };
        self.maintenance.inverse_offers.insert(id, outstanding);
        Some(offer)
    }

    /// Forgets an inverse offer, whatever the allocator makes of that.
    fn take_inverse_offer(&mut self, id: &OfferId) -> Option<Outstanding> {
        let outstanding = self.maintenance.inverse_offers.remove(id)?;
        if let Some(timer) = outstanding.timer {
            self.timers.cancel(timer);
        }
        self.views.touch_framework(&outstanding.offer.framework_id);
        Some(outstanding)
    }

    fn rescind_inverse_offer(&mut self, id: &OfferId) -> Option<Outstanding> {
        let outstanding = self.take_inverse_offer(id)?;
        let framework = outstanding.offer.framework_id.clone();
        self.notify(&framework, Notice::RescindInverseOffer(id.clone()));
        Some(outstanding)
    }

    /// A framework was asked for too long: it is asked anew.
    pub(crate) fn inverse_offer_timeout(&mut self, id: &OfferId) {
        if let Some(Outstanding { offer, agent_id, .. }) = self.rescind_inverse_offer(id) {
            let (now, framework) = (self.now, &offer.framework_id);
            self.allocator.answer_inverse_offer(now, &agent_id, framework, None, None);
        }
    }

    /// The agent is out of the offers: nobody needs to answer before it is back.
    pub(crate) fn hold_inverse_offers_back(&mut self, agent: &AgentId) {
        for id in self.maintenance.inverse_offers.of_agent(agent) {
            if let Some(outstanding) = self.rescind_inverse_offer(&id) {
                let held_back = &mut self.maintenance.inverse_offers.held_back;
                let frameworks = held_back.entry(agent.clone()).or_default();
                frameworks.insert(outstanding.offer.framework_id.clone());
            }
        }
    }

    /// The agent is among the offers again.
    pub(crate) fn release_inverse_offers(&mut self, agent: &AgentId) {
        let frameworks = self.maintenance.inverse_offers.held_back.remove(agent);
        for framework in frameworks.unwrap_or_default() {
            self.allocator.answer_inverse_offer(self.now, agent, &framework, None, None);
        }
    }

    /// The agent, or the plan for it, is no more: what was asked about it is void, and the allocator
    /// knows.
    pub(crate) fn void_inverse_offers(&mut self, agent: &AgentId) {
        for id in self.maintenance.inverse_offers.of_agent(agent) {
            self.rescind_inverse_offer(&id);
        }
        self.maintenance.inverse_offers.held_back.remove(agent);
    }

    /// The framework is inactive: it is asked anew when it is back, for which the allocator looks.
    pub(crate) fn withdraw_inverse_offers(&mut self, framework: &FrameworkId, rescind: bool) {
        for id in self.maintenance.inverse_offers.of_framework(framework) {
            if rescind {
                self.rescind_inverse_offer(&id);
            } else {
                self.take_inverse_offer(&id);
            }
        }
    }

    /// A framework has another connection: it is asked anew there.
    pub(crate) fn repeat_inverse_offers(&mut self, framework: &FrameworkId) {
        for id in self.maintenance.inverse_offers.of_framework(framework) {
            if let Some(Outstanding { agent_id, .. }) = self.take_inverse_offer(&id) {
                self.allocator.answer_inverse_offer(self.now, &agent_id, framework, None, None);
            }
        }
    }

    /// `ACCEPT_INVERSE_OFFERS` and `DECLINE_INVERSE_OFFERS`.
    pub(crate) fn answer_inverse_offers(
        &mut self,
        framework: &FrameworkId,
        ids: &[OfferId],
        filters: Option<&Filters>,
        accepted: bool,
    ) {
        let refuse = refusal(filters);
        let own = self.maintenance.inverse_offers.of_framework(framework);
        for id in ids {
            // One that was rescinded meanwhile, or is another's, is none of its business.
            if !own.contains(id) {
                continue;
            }
            if let Some(Outstanding { agent_id, .. }) = self.take_inverse_offer(id) {
                let (now, accepted) = (self.now, Some(accepted));
                self.allocator.answer_inverse_offer(
                    now,
                    &agent_id,
                    framework,
                    accepted,
                    Some(refuse),
                );
                self.views.touch_maintenance();
            }
        }
    }

    /// What frameworks say to the plan for an agent.
    pub(super) fn inverse_offer_statuses(&self, agent: &Agent) -> Vec<InverseOfferStatus> {
        let statuses = self.allocator.inverse_offer_statuses(&agent.id);
        statuses
            .into_iter()
            .map(|it| InverseOfferStatus {
                status: if it.accepted { Status::Accept } else { Status::Decline },
                framework_id: it.framework,
                timestamp: TimeInfo { nanoseconds: it.at.as_nanos(), ..Default::default() },
                ..Default::default()
            })
            .collect()
    }
}
