//! What became of the resources that were offered.

use std::time::Duration;

use protocol::mesos::{AgentId, FrameworkId};
use protocol::time::Timestamp;
use resources::{Resource, Resources};

use super::{Allocator, NotAvailable, amounts, by_role};
use crate::refusals::Expiries;
use crate::slots::{AgentIndex, ClientIndex};

/// The longest that a filter lasts, whatever `refuse_seconds` says (Mesos' own limit).
pub const REFUSE_MAX: Duration = Duration::from_secs(365 * 24 * 60 * 60);

/// Entries of a client's list of filtered agents that may be out of date beyond the number of agents
/// it filters before the list is cleaned.
const STALE_FILTERED_MAX: usize = 64;

impl Allocator {
    /// Takes back resources that were declined or left unused (`refuse` is how long the framework does
    /// not want them), or that were freed by the end of a task or of an offer (`None`).
    ///
    /// A refusal makes a filter: in this role, this framework is not offered these resources of this
    /// agent, or a subset of them, for that long; but no shorter than the allocation interval, and no
    /// longer than [`REFUSE_MAX`].
    ///
    /// # Panics
    /// If the framework does not hold the resources there.
    pub fn recover_resources(
        &mut self,
        now: Timestamp,
        framework: &FrameworkId,
        agent: &AgentId,
        resources: &Resources,
        refuse: Option<Duration>,
    ) {
        let Some(agent) = self.agents.find(agent) else { return };
        let Some(framework) = self.frameworks.find(framework) else { return };
        for (role, resources) in by_role(resources) {
            let client = self.client(framework, &role);
            self.unhold(agent, client, &resources);
            self.free_resources(agent, &resources);
            if let Some(refuse) = refuse
                && self.tree.client(client).subscribed
            {
                let refuse = refuse.max(self.config.allocation_interval).min(REFUSE_MAX);
                self.add_filter(agent, client, &resources, now + refuse);
            }
            self.drop_client_if_done(client);
        }
        self.consider_agent(agent);
    }

    /// Notes that an operation turned `old`, which the framework holds, into `new`, both with
    /// allocation roles. What the agent has changes accordingly, except that copies of shared resources
    /// come and go without changing it.
    ///
    /// # Panics
    /// If the framework does not hold `old` there.
    pub fn update_allocation(
        &mut self,
        framework: &FrameworkId,
        agent: &AgentId,
        old: &Resources,
        new: &Resources,
    ) {
        let Some(agent) = self.agents.find(agent) else { return };
        let Some(framework) = self.frameworks.find(framework) else { return };
        let mut clients = Vec::new();
        for (role, resources) in by_role(old) {
            let client = self.client(framework, &role);
            self.unhold(agent, client, &resources);
            clients.push(client);
        }
        let (old, unallocated) = (old.unallocated(), new.unallocated());
        let is_simple = self.convert_simply(agent, &old, &unallocated);
        if !is_simple {
            self.convert_total(agent, &old, &unallocated);
        }
        self.track(agent, framework, new);
        if !is_simple {
            self.recompute_free(agent);
            self.update_idle(agent);
        }
        for client in clients {
            self.drop_client_if_done(client);
        }
    }

    /// Notes that an operator's operation turned `old`, which is free on the agent, into `new`.
    ///
    /// # Errors
    /// If `old` is not all free: offers that hold it must be recovered first. Nothing is changed then.
    pub fn update_available(
        &mut self,
        agent: &AgentId,
        old: &Resources,
        new: &Resources,
    ) -> Result<(), NotAvailable> {
        let Some(agent) = self.agents.find(agent) else { return Ok(()) };
        let entry = &self.agents[agent];
        if !entry.free.contains(&old.non_shared()) || !entry.shared.contains(&old.shared()) {
            return Err(NotAvailable { agent: entry.id.value.clone(), wanted: old.to_string() });
        }
        if self.convert_simply(agent, old, new) {
            let free = &mut self.agents[agent].free;
            assert!(free.checked_sub_assign(old), "it was seen to be free");
            *free += new;
        } else {
            self.convert_total(agent, old, new);
        }
        self.consider_agent(agent);
        Ok(())
    }

    /// Adds to what is free on an agent what a client no longer holds.
    pub(super) fn free_resources(&mut self, agent: AgentIndex, resources: &Resources) {
        if self.agents[agent].is_overcommitted {
            self.recompute_free(agent);
        } else {
            self.agents[agent].free += &resources.non_shared();
        }
    }

    fn add_filter(
        &mut self,
        agent: AgentIndex,
        client: ClientIndex,
        refused: &Resources,
        until: Timestamp,
    ) {
        let refusals = &mut self.agents[agent].refusals;
        let is_first = !refusals.holds(client);
        let change = refusals.insert(client, refused, until);
        self.filter_count += change.added;
        self.filter_count -= change.removed;
        if change.added > 0 {
            self.expiries.push(until, agent, client);
        }
        if is_first {
            let entry = self.tree.client_mut(client);
            entry.filtered.push(agent);
            entry.filtered_count += 1;
            if entry.filtered.len() > 2 * entry.filtered_count + STALE_FILTERED_MAX {
                let agents = &self.agents;
                entry.filtered.sort_unstable();
                entry.filtered.dedup();
                entry.filtered.retain(|&agent| {
                    agents.get(agent).is_some_and(|agent| agent.refusals.holds(client))
                });
            }
        }
        if self.expiries.is_stale(self.filter_count) {
            self.expiries = Expiries::default();
            for (agent, entry) in self.agents.iter() {
                for (client, until) in entry.refusals.iter() {
                    self.expiries.push(until, agent, client);
                }
            }
        }
    }

    /// Turns `old` into `new` in what an agent has; `old` is not held, or no longer.
    fn convert_total(&mut self, agent: AgentIndex, old: &Resources, new: &Resources) {
        let total = &self.agents[agent].profile.total;
        let mut converted = total.non_shared().saturating_sub(&old.non_shared());
        converted += &new.non_shared();
        let is_kept = |volume: &Resource| !old.contains_one(volume) || new.contains_one(volume);
        let mut shared = total.shared().filter(is_kept);
        for volume in new.iter().filter(|resource| resource.is_shared()) {
            // The total has one copy of each, `new` one for each user.
            let copies = Resources::from(volume.clone());
            if !shared.iter().any(|known| copies.contains_one(known)) {
                shared += copies;
            }
        }
        converted += &shared;
        self.count_total(agent, &converted);
        let amounts = amounts(&mut self.names, converted.iter());
        self.tree.change_totals(&self.agents[agent].amounts, &amounts);
        let entry = &mut self.agents[agent];
        entry.amounts = amounts;
        entry.profile.total = converted;
        self.recompute_free(agent);
        self.update_idle(agent);
    }

    /// [`Allocator::convert_total`] in place, for agents with many reservations: what is free stays as it
    /// is. False, and nothing is changed, when that is not so simple.
    fn convert_simply(&mut self, agent: AgentIndex, old: &Resources, new: &Resources) -> bool {
        let entry = &mut self.agents[agent];
        let is_shared = old.iter().chain(new).any(Resource::is_shared);
        if entry.is_overcommitted || is_shared || !entry.profile.total.checked_sub_assign(old) {
            return false;
        }
        entry.profile.total += new;
        let removed = amounts(&mut self.names, old.iter());
        let added = amounts(&mut self.names, new.iter());
        entry.amounts.subtract_all(&removed);
        entry.amounts.add_all(&added);
        self.tree.change_totals(&removed, &added);
        self.count_change(old, new);
        true
    }
}
