//! Inverse offers: asking frameworks to give up agents that are planned to be taken down.
//!
//! As in Mesos (`hierarchical.cpp`, `generateInverseOffers`): one for each framework that holds something
//! on the agent, and no further one before it has answered and its refusal has expired. An answer changes
//! nothing but what operators see. A changed plan makes all answers void, and everyone is asked again.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use protocol::mesos::{AgentId, FrameworkId};
use protocol::time::Timestamp;

use super::{Allocator, REFUSE_MAX};
use crate::profile::{InverseAllocation, InverseOfferStatus, Unavailability};
use crate::slots::{AgentIndex, FrameworkIndex};

/// A plan to take down an agent, and what became of it.
#[derive(Clone, Debug)]
pub(super) struct Maintenance {
    unavailability: Unavailability,
    /// Who was asked and has not answered.
    outstanding: BTreeSet<FrameworkIndex>,
    /// Who is not to be asked before when.
    refused: BTreeMap<FrameworkIndex, Timestamp>,
    /// The last answer of each, and when it came.
    answers: BTreeMap<FrameworkIndex, (bool, Timestamp)>,
}

impl Maintenance {
    fn new(unavailability: Unavailability) -> Self {
        Self {
            unavailability,
            outstanding: BTreeSet::new(),
            refused: BTreeMap::new(),
            answers: BTreeMap::new(),
        }
    }
}

/// Which agents are planned to be taken down, and when to look at them.
#[derive(Clone, Debug, Default)]
pub(super) struct Plans {
    planned: BTreeSet<AgentIndex>,
    /// Those with somebody to be asked, perhaps.
    due: BTreeSet<AgentIndex>,
    /// When refusals expire.
    expiries: BTreeSet<(Timestamp, AgentIndex, FrameworkIndex)>,
}

impl Plans {
    pub(super) fn next_expiry(&self) -> Option<Timestamp> {
        self.expiries.first().map(|&(at, _, _)| at)
    }
}

impl Allocator {
    /// The inverse offers to be sent now. Each is outstanding until it is answered or rescinded
    /// ([`Allocator::answer_inverse_offer`]).
    pub fn inverse_offers(&mut self, now: Timestamp) -> Vec<InverseAllocation> {
        self.expire_inverse_filters(now);
        let mut offers = Vec::new();
        for agent in std::mem::take(&mut self.plans.due) {
            let Some(entry) = self.agents.get_mut(agent) else { continue };
            let Some(maintenance) = &mut entry.maintenance else { continue };
            let users = entry.held.keys().map(|&client| self.tree.client(client).framework);
            for framework in users.collect::<BTreeSet<_>>() {
                let user = &self.frameworks[framework];
                if user.is_added
                    && user.profile.active
                    && !maintenance.refused.contains_key(&framework)
                    && maintenance.outstanding.insert(framework)
                {
                    offers.push(InverseAllocation {
                        framework: (*user.id).clone(),
                        agent: (*entry.id).clone(),
                        unavailability: maintenance.unavailability,
                    });
                }
            }
        }
        offers
    }

    /// Whether [`Allocator::inverse_offers`] may have something to send: after each event that matters
    /// to it, and when [`Allocator::next_expiry`] has come.
    #[must_use]
    pub fn needs_inverse_offers(&self, now: Timestamp) -> bool {
        !self.plans.due.is_empty() || self.plans.next_expiry().is_some_and(|at| at <= now)
    }

    /// Notes that a framework has accepted or declined its inverse offer (`accepted`), or that it was
    /// rescinded (`None`). It is not asked again for the time of `refuse`, for an allocation interval at
    /// least and [`REFUSE_MAX`] at most. Answers to what is not outstanding are not remembered.
    pub fn answer_inverse_offer(
        &mut self,
        now: Timestamp,
        agent: &AgentId,
        framework: &FrameworkId,
        accepted: Option<bool>,
        refuse: Option<Duration>,
    ) {
        let Some(agent) = self.agents.find(agent) else { return };
        let Some(framework) = self.frameworks.find(framework) else { return };
        let Some(maintenance) = &mut self.agents[agent].maintenance else { return };
        if maintenance.outstanding.remove(&framework)
            && let Some(accepted) = accepted
        {
            maintenance.answers.insert(framework, (accepted, now));
        }
        self.plans.due.insert(agent);
        if accepted.is_some() || refuse.is_some() {
            let refuse = refuse.unwrap_or_default().max(self.config.allocation_interval);
            let until = now + refuse.min(REFUSE_MAX);
            let old = maintenance.refused.get(&framework).copied();
            let until = old.map_or(until, |old| old.max(until));
            if let Some(old) = maintenance.refused.insert(framework, until) {
                self.plans.expiries.remove(&(old, agent, framework));
            }
            self.plans.expiries.insert((until, agent, framework));
        }
    }

    /// What frameworks have answered about the plan for an agent, by framework. Those that were asked
    /// and have not answered are not in it; nobody is, if there is no plan.
    #[must_use]
    pub fn inverse_offer_statuses(&self, agent: &AgentId) -> Vec<InverseOfferStatus> {
        let Some(agent) = self.agents.find(agent) else { return Vec::new() };
        let Some(maintenance) = &self.agents[agent].maintenance else { return Vec::new() };
        let status = |(&framework, &(accepted, at)): (&FrameworkIndex, &(bool, Timestamp))| {
            InverseOfferStatus { framework: (*self.frameworks[framework].id).clone(), accepted, at }
        };
        let mut statuses: Vec<_> = maintenance.answers.iter().map(status).collect();
        statuses.sort_by(|left, right| left.framework.cmp(&right.framework));
        statuses
    }

    /// Takes over a new plan for an agent, or that there is none any more.
    pub(super) fn plan_maintenance(&mut self, agent: AgentIndex, plan: Option<Unavailability>) {
        self.drop_maintenance(agent);
        if let Some(plan) = plan {
            self.agents[agent].maintenance = Some(Box::new(Maintenance::new(plan)));
            self.plans.planned.insert(agent);
            self.plans.due.insert(agent);
        }
    }

    /// Forgets the plan for an agent.
    pub(super) fn drop_maintenance(&mut self, agent: AgentIndex) {
        if let Some(maintenance) = self.agents[agent].maintenance.take() {
            for (framework, until) in maintenance.refused {
                self.plans.expiries.remove(&(until, agent, framework));
            }
            self.plans.planned.remove(&agent);
            self.plans.due.remove(&agent);
        }
    }

    /// Has the plan for an agent looked at, as somebody began to hold something there.
    pub(super) fn consider_maintenance(&mut self, agent: AgentIndex) {
        if self.agents[agent].maintenance.is_some() {
            self.plans.due.insert(agent);
        }
    }

    /// Has all plans looked at, as a framework became active.
    pub(super) fn consider_all_maintenance(&mut self) {
        self.plans.due.extend(&self.plans.planned);
    }

    /// Forgets what was asked of a framework that has gone away, and what it refused; also its answers,
    /// if it does not come back.
    pub(super) fn forget_inverse_offers(&mut self, framework: FrameworkIndex, is_final: bool) {
        for &agent in &self.plans.planned {
            let Some(maintenance) = &mut self.agents[agent].maintenance else { continue };
            maintenance.outstanding.remove(&framework);
            if let Some(until) = maintenance.refused.remove(&framework) {
                self.plans.expiries.remove(&(until, agent, framework));
            }
            if is_final {
                maintenance.answers.remove(&framework);
            }
        }
    }

    fn expire_inverse_filters(&mut self, now: Timestamp) {
        while let Some(&(at, agent, framework)) = self.plans.expiries.first()
            && at <= now
        {
            self.plans.expiries.pop_first();
            if let Some(maintenance) = &mut self.agents[agent].maintenance {
                maintenance.refused.remove(&framework);
                self.plans.due.insert(agent);
            }
        }
    }
}
