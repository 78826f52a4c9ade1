//! One allocation cycle.

use protocol::time::Timestamp;
use resources::Resources;

use super::offering::Offering;
use super::{Allocator, Attention};
use crate::profile::Allocation;
use crate::roles::View;
use crate::slots::{AgentIndex, ClientIndex};

/// Up to this many clients whose filters for an agent have expired are sorted and asked; more are
/// met in a walk over all clients.
const RETURNING_CLIENTS_SORTED_MAX: usize = 16;

impl Allocator {
    /// Runs a cycle: lets filters expire, then gives out what somebody may have, and books it as held by
    /// them until it is recovered. Each allocation is to be sent as an offer of its own.
    ///
    /// Costs next to nothing when nothing has changed since the last cycle.
    pub fn allocate(&mut self, now: Timestamp) -> Vec<Allocation> {
        self.expire(now);
        let mut allocations = Vec::new();
        if self.needs_allocation() {
            self.tree.refresh();
            for agent in self.agents_to_consider() {
                self.allocate_agent(now, agent, &mut allocations);
            }
            for client in std::mem::take(&mut self.fresh) {
                if self.tree.get_client(client).is_some() {
                    self.tree.set_member(client, View::Fresh, false);
                }
            }
        }
        allocations
    }

    /// Whether something has changed since the last cycle that may let somebody have something.
    #[must_use]
    pub fn needs_allocation(&self) -> bool {
        !self.is_paused && (!self.attention.is_empty() || !self.tree.is_empty(View::Fresh))
    }

    /// When [`Allocator::allocate`] may have something to give although nothing else happens: when the
    /// next filter expires, of offers or of inverse offers.
    #[must_use]
    pub fn next_expiry(&self) -> Option<Timestamp> {
        let revisit = self.revisits.first_key_value().map(|(&at, _)| at);
        let maintenance = self.plans.next_expiry();
        self.expiries.next().into_iter().chain(revisit).chain(maintenance).min()
    }

    fn expire(&mut self, now: Timestamp) {
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

    /// The agents that the cycle is about, in a fixed order.
    fn agents_to_consider(&mut self) -> Vec<AgentIndex> {
        let mut agents = std::mem::take(&mut self.attention);
        if !self.tree.is_empty(View::Fresh) {
            agents.extend(&self.idle);
        }
        agents.sort_unstable();
        agents.dedup();
        agents
    }

    fn allocate_agent(
        &mut self,
        now: Timestamp,
        agent: AgentIndex,
        allocations: &mut Vec<Allocation>,
    ) {
        // An agent may have been removed after it was marked.
        let Some(entry) = self.agents.get_mut(agent) else { return };
        let attention = std::mem::replace(&mut entry.attention, Attention::Nobody);
        let mut returning = std::mem::take(&mut entry.returning);
        if !self.idle.contains(&agent) {
            return;
        }
        let mut offering = Offering::new(now, &self.config, &self.tree, &self.agents[agent]);
        if self.own_minimum_count == 0 && !offering.meets_minimum() {
            return;
        }
        let has_fresh = !self.tree.is_empty(View::Fresh);
        let is_few = returning.len() <= RETURNING_CLIENTS_SORTED_MAX;
        match attention {
            Attention::Nobody => offering.ask_view(View::Fresh),
            Attention::Returning if is_few && !has_fresh => offering.ask_clients(&mut returning),
            Attention::Returning | Attention::Everyone => offering.ask_view(View::All),
        }
        for (client, resources) in offering.into_taken() {
            allocations.push(self.allocate_to(now, agent, client, &resources));
        }
    }

    fn allocate_to(
        &mut self,
        now: Timestamp,
        agent: AgentIndex,
        client: ClientIndex,
        resources: &Resources,
    ) -> Allocation {
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
                let at = now + self.config.allocation_interval;
                self.revisits.entry(at).or_default().insert(agent);
            }
        }
        self.update_idle(agent);
        let client = self.tree.client(client);
        let role = self.tree.path(client.role).to_owned();
        Allocation {
            framework: self.frameworks[client.framework].id.clone(),
            agent: self.agents[agent].id.clone(),
            resources: resources.allocated_to(&role),
            role,
        }
    }
}
