//! One allocation cycle.

use std::collections::BTreeMap;
use std::sync::Arc;

use protocol::time::Timestamp;
use resources::Resources;

use super::offering::{Offering, Surroundings};
use super::{Allocator, Attention};
use crate::profile::Allocation;
use crate::quota::Stage;
use crate::roles::View;
use crate::slots::{AgentIndex, ClientIndex, QuotaIndex};

/// Up to this many clients whose filters for an agent have expired are sorted and asked; more are
/// met in a walk over all clients.
const RETURNING_CLIENTS_SORTED_MAX: usize = 16;

/// A cycle while it runs.
#[derive(Debug, Default)]
struct Cycle {
    now: Timestamp,
    /// Some clients are to be considered for all agents with something free.
    has_fresh: bool,
    /// That, or quota allows more than in the last cycle.
    has_more: bool,
    candidates: Vec<Candidate>,
    allocations: Vec<Allocation>,
    /// Where the allocations of the first stage are, as the second adds to them.
    positions: BTreeMap<(AgentIndex, ClientIndex), usize>,
    /// Shared resources given in the first stage.
    given: BTreeMap<AgentIndex, Resources>,
}

impl Cycle {
    /// Whether an agent is among the candidates and has been considered for everybody.
    fn is_done(&self, agent: AgentIndex) -> bool {
        let position = self.candidates.binary_search_by_key(&agent, |candidate| candidate.agent);
        position.is_ok_and(|position| self.candidates[position].is_for_all(self.has_more))
    }
}

/// An agent that needs attention.
#[derive(Debug)]
struct Candidate {
    agent: AgentIndex,
    attention: Attention,
    returning: Vec<ClientIndex>,
}

impl Candidate {
    fn is_for_all(&self, has_more: bool) -> bool {
        match self.attention {
            Attention::Everyone => true,
            Attention::Returning | Attention::Nobody => {
                has_more || self.returning.len() > RETURNING_CLIENTS_SORTED_MAX
            }
        }
    }
}

/// Who is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Ask<'a> {
    View(View),
    Clients(&'a [ClientIndex]),
}

impl Allocator {
    /// Runs a cycle: lets filters expire, then gives out what somebody may have, and books it as held by
    /// them until it is recovered. Each allocation is to be sent as an offer of its own.
    ///
    /// Costs next to nothing when nothing has changed since the last cycle.
    pub fn allocate(&mut self, now: Timestamp) -> Vec<Allocation> {
        self.expire(now);
        if !self.needs_allocation() {
            return Vec::new();
        }
        self.tree.refresh();
        let has_fresh = !self.tree.is_empty(View::Fresh);
        let candidates = self.take_candidates(has_fresh);
        let is_eased = !self.quotas.eased().is_empty() || self.quotas.has_more_surplus();
        let mut cycle = Cycle {
            now,
            has_fresh,
            has_more: has_fresh || is_eased,
            candidates,
            ..Cycle::default()
        };
        for stage in [Stage::Guarantees, Stage::FairShare] {
            self.run_stage(&mut cycle, stage);
        }
        for client in std::mem::take(&mut self.fresh) {
            if self.tree.get_client(client).is_some() {
                self.tree.set_member(client, View::Fresh, false);
            }
        }
        self.quotas.settle();
        cycle.allocations
    }

    /// Whether something has changed since the last cycle that may let somebody have something.
    #[must_use]
    pub fn needs_allocation(&self) -> bool {
        let has_changed = !self.attention.is_empty()
            || !self.tree.is_empty(View::Fresh)
            || !self.quotas.eased().is_empty()
            || self.quotas.has_more_surplus();
        has_changed && !self.is_paused
    }

    /// When [`Allocator::allocate`] may have something to give although nothing else happens: when the
    /// next filter expires, of offers or of inverse offers.
    #[must_use]
    pub fn next_expiry(&self) -> Option<Timestamp> {
        let revisit = self.revisits.first_key_value().map(|(&at, _)| at);
        let maintenance = self.plans.next_expiry();
        self.expiries.next().into_iter().chain(revisit).chain(maintenance).min()
    }

    pub(super) fn expire(&mut self, now: Timestamp) {
        while let Some(due) = self.expiries.pop(now) {
            for (agent, client) in due {
                let Some(entry) = self.agents.get_mut(agent) else { continue };
                let removed = entry.refusals.expire(client, now).removed;
                if removed == 0 {
                    continue;
                }
                let is_last = !entry.refusals.holds(client);
                self.filter_count -= removed;
                if is_last {
                    let entry = self.tree.client_mut(client);
                    entry.filtered_count = entry.filtered_count.saturating_sub(1);
                }
                self.consider_pair(agent, client);
            }
        }
        while let Some(entry) = self.revisits.first_entry().filter(|entry| *entry.key() <= now) {
            for agent in entry.remove() {
                if self.agents.get(agent).is_some() {
                    self.consider_agent(agent);
                }
            }
        }
    }

    /// The agents to be considered, in a fixed order.
    fn take_candidates(&mut self, has_fresh: bool) -> Vec<Candidate> {
        let mut agents = std::mem::take(&mut self.attention);
        if has_fresh {
            agents.extend(&self.idle);
        }
        agents.sort_unstable();
        agents.dedup();
        let candidate = |agent| {
            // An agent may have been removed after it was marked.
            let entry = self.agents.get_mut(agent)?;
            let attention = std::mem::replace(&mut entry.attention, Attention::Nobody);
            Some(Candidate { agent, attention, returning: std::mem::take(&mut entry.returning) })
        };
        agents.into_iter().filter_map(candidate).collect()
    }

    fn run_stage(&mut self, cycle: &mut Cycle, stage: Stage) {
        if cycle.has_fresh {
            self.consider_eased();
        }
        let candidates = std::mem::take(&mut cycle.candidates);
        for candidate in &candidates {
            if stage == Stage::Guarantees && self.tree.is_nobody_lacking(View::All) {
                break;
            }
            let ask = match candidate.attention {
                Attention::Nobody => Ask::View(self.view_of_unchanged(candidate.agent)),
                Attention::Returning if !candidate.is_for_all(cycle.has_more) => {
                    Ask::Clients(&candidate.returning)
                }
                Attention::Returning | Attention::Everyone => Ask::View(View::All),
            };
            self.allocate_agent(cycle, stage, candidate.agent, ask);
        }
        cycle.candidates = candidates;
        if !cycle.has_fresh {
            self.run_stage_on_others(cycle, stage);
        }
    }

    /// Considers agents that have not changed for those who may have more of them now: who is below its
    /// limits again, or everybody if less has to be held back.
    ///
    /// That ends as soon as quota allows no more than it did when all agents had been considered: on the
    /// remaining agents nobody can have what they could not have then.
    fn run_stage_on_others(&mut self, cycle: &mut Cycle, stage: Stage) {
        let agents: Vec<AgentIndex> = if self.consider_eased() {
            self.idle.iter().copied().collect()
        } else if self.quotas.has_more_surplus() {
            self.held_back.iter().copied().collect()
        } else {
            return;
        };
        for agent in agents {
            if !self.quotas.has_more_surplus() && self.quotas.eased().is_empty() {
                break;
            }
            let view = self.view_of_unchanged(agent);
            if stage == Stage::Guarantees && self.tree.is_nobody_lacking(view) {
                continue;
            }
            if !cycle.is_done(agent) {
                self.allocate_agent(cycle, stage, agent, Ask::View(view));
            }
        }
    }

    /// Has the clients of roles that consume less than before considered for all agents; false when there
    /// are no such roles.
    fn consider_eased(&mut self) -> bool {
        let eased: Vec<QuotaIndex> = self.quotas.eased().iter().copied().collect();
        for &quota in &eased {
            for client in self.tree.clients_below(self.quotas.role(quota), View::All) {
                self.consider_client(client);
            }
        }
        !eased.is_empty()
    }

    /// Who may want something of an agent that is as it was.
    fn view_of_unchanged(&self, agent: AgentIndex) -> View {
        let is_for_all = self.held_back.contains(&agent) && self.quotas.has_more_surplus();
        if is_for_all { View::All } else { View::Fresh }
    }

    pub(super) fn surroundings<'a>(
        &'a self,
        now: Timestamp,
        agent: AgentIndex,
        given: Option<&'a Resources>,
    ) -> Surroundings<'a> {
        Surroundings {
            now,
            config: &self.config,
            names: &self.names,
            tree: &self.tree,
            agent: &self.agents[agent],
            given,
            has_own_minima: self.own_minimum_count > 0,
        }
    }

    fn allocate_agent(&mut self, cycle: &mut Cycle, stage: Stage, agent: AgentIndex, ask: Ask<'_>) {
        if !self.idle.contains(&agent) {
            return;
        }
        let surroundings = Surroundings {
            now: cycle.now,
            config: &self.config,
            names: &self.names,
            tree: &self.tree,
            agent: &self.agents[agent],
            given: cycle.given.get(&agent),
            has_own_minima: self.own_minimum_count > 0,
        };
        let mut offering = Offering::new(surroundings, &mut self.quotas, stage);
        if !offering.is_enough() {
            return;
        }
        match ask {
            Ask::View(view) => offering.ask_view(view),
            Ask::Clients(clients) => offering.ask_clients(clients),
        }
        let outcome = offering.into_outcome();
        if outcome.is_held_back {
            self.held_back.insert(agent);
        } else if stage == Stage::FairShare && ask == Ask::View(View::All) {
            self.held_back.remove(&agent);
        }
        self.update_gates(outcome.gates);
        for (client, resources) in outcome.taken {
            self.allocate_to(cycle, agent, client, &resources);
            if stage == Stage::Guarantees {
                let shared = resources.shared();
                if !shared.is_empty() {
                    *cycle.given.entry(agent).or_default() += shared;
                }
                cycle.positions.insert((agent, client), cycle.allocations.len() - 1);
            }
        }
    }

    fn allocate_to(
        &mut self,
        cycle: &mut Cycle,
        agent: AgentIndex,
        client: ClientIndex,
        resources: &Resources,
    ) {
        self.hold(agent, client, resources);
        self.tree.rerank(client);
        let entry = &mut self.agents[agent];
        if entry.shared.is_empty() {
            let is_taken = entry.free.checked_sub_assign(resources);
            assert!(is_taken, "only what is free is allocated");
        } else {
            let is_taken = entry.free.checked_sub_assign(&resources.non_shared());
            assert!(is_taken, "only what is free is allocated");
            if resources.iter().any(resources::Resource::is_shared) {
                let at = cycle.now + self.config.allocation_interval;
                self.revisits.entry(at).or_default().insert(agent);
            }
        }
        self.update_idle(agent);
        let index = client;
        let client = self.tree.client(client);
        let role = self.tree.shared_path(client.role);
        let resources = resources.allocated_to(Arc::clone(&role));
        if let Some(&position) = cycle.positions.get(&(agent, index)) {
            cycle.allocations[position].resources += resources;
            return;
        }
        cycle.allocations.push(Allocation {
            framework: Arc::clone(&self.frameworks[client.framework].id),
            agent: Arc::clone(&self.agents[agent].id),
            resources,
            role,
        });
    }
}
