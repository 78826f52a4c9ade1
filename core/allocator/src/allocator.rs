//! The allocator's state, and the accounting that all its calls share.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use protocol::flat::FlatMap;
use protocol::mesos::{AgentId, FrameworkId};
use protocol::time::Timestamp;
use resources::{Resource, Resources};

use crate::constraints::{Demands, Verdicts};
use crate::profile::{AgentProfile, Config, FrameworkProfile};
use crate::quota::{Quotas, is_counted};
use crate::refusals::{Expiries, Refusals};
use crate::roles::{RoleTree, View};
use crate::share::{Amounts, Charge, Names, Totals};
use crate::slots::{AgentIndex, ClientIndex, FrameworkIndex, Named};

mod agents;
mod cycle;
mod explain;
mod frameworks;
mod maintenance;
mod offering;
mod offers;
mod quota;
#[cfg(test)]
mod tests;

pub use offers::REFUSE_MAX;
pub use quota::RoleStatus;

/// Decides which framework gets which resources of which agent.
///
/// A state machine without a clock: calls tell it what has happened, [`Allocator::allocate`] answers
/// with what to offer, [`Allocator::next_expiry`] says when it wants to be asked again although nothing
/// has happened. The same calls in the same order give the same allocations.
///
/// The cost of a cycle follows what changed since the last one: agents whose free resources changed
/// are considered for everyone, frameworks that arrived or were revived for all agents with something
/// free, and a filter that expired for its one framework on its one agent.
///
/// A framework or agent that is not known (any more) is passed over in silence: messages about it may
/// have been on their way when it was removed.
#[derive(Clone, Debug)]
pub struct Allocator {
    config: Config,
    names: Names,
    tree: RoleTree,
    frameworks: Named<FrameworkId, FrameworkIndex, Framework>,
    agents: Named<AgentId, AgentIndex, Agent>,
    /// Active agents with something free.
    idle: BTreeSet<AgentIndex>,
    /// Agents whose `attention` is not `Nobody`, in the order in which that began.
    attention: Vec<AgentIndex>,
    /// Clients in [`View::Fresh`].
    fresh: Vec<ClientIndex>,
    expiries: Expiries,
    /// How many filters there are.
    filter_count: usize,
    /// Agents to look at again because of shared resources, which stay free however often they are
    /// allocated.
    revisits: BTreeMap<Timestamp, BTreeSet<AgentIndex>>,
    plans: maintenance::Plans,
    demands: Demands,
    /// Clients with a minimum of their own.
    own_minimum_count: usize,
    quotas: Quotas,
    /// Agents of which something was not given, for the headroom.
    held_back: BTreeSet<AgentIndex>,
    /// Nothing is allocated.
    is_paused: bool,
    /// The hostnames of the agents that may be offered. `None`: all may.
    whitelist: Option<BTreeSet<String>>,
}

#[derive(Clone, Debug)]
struct Framework {
    id: Arc<FrameworkId>,
    /// The id again, as the name by which equal shares are ordered.
    name: Arc<str>,
    /// Added; if not, it was only named as the user of an agent's resources.
    is_added: bool,
    profile: FrameworkProfile,
    /// Its clients by role: those it is subscribed to and those it still holds something in.
    clients: BTreeMap<String, ClientIndex>,
}

/// Who is to be considered for an agent in the next cycle, beside the fresh clients.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Attention {
    Nobody,
    /// The clients in `returning`.
    Returning,
    Everyone,
}

#[derive(Clone, Debug)]
struct Agent {
    id: Arc<AgentId>,
    profile: AgentProfile,
    /// The scalars of the total.
    amounts: Amounts,
    /// What nobody holds, without shared resources.
    free: Resources,
    /// The shared resources of the total, of which everybody may hold a copy.
    shared: Resources,
    /// What each client holds, without the allocation role.
    held: FlatMap<ClientIndex, Resources>,
    /// More is held than there is, since the total has shrunk.
    is_overcommitted: bool,
    has_gpus: bool,
    /// In another region than the master.
    is_remote: bool,
    /// Not kept out by the whitelist.
    is_listed: bool,
    refusals: Refusals,
    /// Whose constraints it meets.
    verdicts: Verdicts,
    /// The plan to take it down.
    maintenance: Option<Box<maintenance::Maintenance>>,
    attention: Attention,
    /// Clients a filter of which has expired.
    returning: Vec<ClientIndex>,
}

/// Operator's resources are not all free.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("agent {agent} has not all of these resources free: {wanted}")]
pub struct NotAvailable {
    /// The agent.
    pub agent: String,
    /// What should have been free.
    pub wanted: String,
}

impl Allocator {
    /// An allocator for an empty cluster.
    #[must_use]
    pub fn new(config: Config) -> Self {
        let mut names = Names::default();
        let totals = Totals::new(&config.fair_sharing_excluded, &mut names);
        let tree = RoleTree::new(totals, &config);
        Self {
            config,
            names,
            tree,
            frameworks: Named::new(),
            agents: Named::new(),
            idle: BTreeSet::new(),
            attention: Vec::new(),
            fresh: Vec::new(),
            expiries: Expiries::default(),
            filter_count: 0,
            revisits: BTreeMap::new(),
            plans: maintenance::Plans::default(),
            demands: Demands::default(),
            own_minimum_count: 0,
            quotas: Quotas::default(),
            held_back: BTreeSet::new(),
            is_paused: false,
            whitelist: None,
        }
    }

    /// What is free on an agent: not held by any framework. Shared resources are always in it.
    #[must_use]
    pub fn available(&self, agent: &AgentId) -> Option<Resources> {
        let agent = &self.agents[self.agents.find(agent)?];
        let mut available = agent.free.clone();
        available += &agent.shared;
        Some(available)
    }

    /// What a framework holds on an agent, offered or in use, with allocation roles.
    #[must_use]
    pub fn allocated(&self, agent: &AgentId, framework: &FrameworkId) -> Resources {
        let mut allocated = Resources::default();
        if let Some(agent) = self.agents.find(agent)
            && let Some(framework) = self.frameworks.find(framework)
        {
            for (role, client) in &self.frameworks[framework].clients {
                if let Some(held) = self.agents[agent].held.get(client) {
                    allocated += &held.allocated_to(role.as_str());
                }
            }
        }
        allocated
    }

    /// How many filters there are: a framework that declines the offer of an agent adds one.
    #[must_use]
    pub fn filter_count(&self) -> usize {
        self.filter_count
    }

    #[cfg(test)]
    fn expiries_length(&self) -> usize {
        self.expiries.len()
    }

    /// The client of a framework in a role, made if need be.
    fn client(&mut self, framework: FrameworkIndex, role: &str) -> ClientIndex {
        let entry = &mut self.frameworks[framework];
        if let Some(&client) = entry.clients.get(role) {
            return client;
        }
        let client = self.tree.add_client(framework, Arc::clone(&entry.name), role);
        entry.clients.insert(role.to_owned(), client);
        client
    }

    /// Forgets a client that is not subscribed and holds nothing, and a framework that was never added
    /// and has no such client left.
    fn drop_client_if_done(&mut self, client: ClientIndex) {
        let entry = self.tree.client(client);
        if entry.subscribed || !entry.agents.is_empty() {
            return;
        }
        let (framework, role) = (entry.framework, self.tree.path(entry.role).to_owned());
        self.clear_client_filters(client);
        self.set_minimum(client, None);
        self.set_constraints(client, None);
        self.tree.remove_client(client);
        let entry = &mut self.frameworks[framework];
        entry.clients.remove(&role);
        if entry.clients.is_empty() && !entry.is_added {
            let id = Arc::clone(&entry.id);
            self.frameworks.remove(&id);
        }
    }

    /// Books `resources` (without allocation role) of an agent on a client; its quota has been charged
    /// or is to be charged with what is returned.
    fn hold(&mut self, agent: AgentIndex, client: ClientIndex, resources: &Resources) -> Charge {
        let charge = self.newly_held(agent, client, resources);
        let entry = &mut self.agents[agent];
        *entry.held.get_or_insert(&client, Resources::default) += resources;
        self.tree.client_mut(client).agents.insert(agent);
        self.tree.charge(client, &charge);
        self.tree.count_allocation(client);
        self.consider_maintenance(agent);
        charge
    }

    /// Takes `resources` off what a client holds on an agent.
    ///
    /// # Panics
    /// If it does not hold them.
    fn unhold(&mut self, agent: AgentIndex, client: ClientIndex, resources: &Resources) {
        let entry = &mut self.agents[agent];
        let held = entry.held.get_mut(&client);
        match held.map(|held| (held.checked_sub_assign(resources), held.is_empty())) {
            Some((true, false)) => {}
            Some((true, true)) => {
                entry.held.remove(&client);
                self.tree.client_mut(client).agents.remove(&agent);
            }
            Some((false, _)) | None => {
                let (agent, held) = (&entry.id, entry.held.get(&client));
                panic!("{client:?} gives back {resources} of agent {agent:?} but holds {held:?}");
            }
        }
        let charge = self.newly_held(agent, client, resources);
        self.tree.discharge(client, &charge);
        let quota = self.tree.quota(self.tree.client(client).role);
        let changed = self.quotas.discharge(quota, &charge.counted());
        self.update_gates(changed);
    }

    /// The amounts in `resources`, counting a shared resource only when the client does not hold a copy
    /// of it on the agent already.
    fn newly_held(
        &mut self,
        agent: AgentIndex,
        client: ClientIndex,
        resources: &Resources,
    ) -> Charge {
        let entry = &self.agents[agent];
        let held = entry.held.get(&client);
        let is_new = |shared: &&Resource| {
            resources.contains_one(shared) && !held.is_some_and(|held| held.contains_one(shared))
        };
        let shared = entry.shared.iter().filter(is_new);
        let newly = resources.iter().filter(|it| !it.is_shared()).chain(shared);
        let amounts = amounts(&mut self.names, newly.clone());
        let uncounted = self::amounts(&mut self.names, newly.filter(|it| !is_counted(it)));
        Charge { amounts, uncounted }
    }

    /// Recomputes what is free on an agent from its total and what is held.
    fn recompute_free(&mut self, agent: AgentIndex) {
        let entry = &mut self.agents[agent];
        let mut held = Resources::default();
        for resources in entry.held.values() {
            held += &resources.non_shared();
        }
        let total = entry.profile.total.non_shared();
        entry.is_overcommitted = !total.contains(&held);
        // Nearly every agent is offered sooner or later, and the first change would copy a long list in the
        // middle of an operation.
        entry.free = total.saturating_sub(&held).detached();
        entry.shared = entry.profile.total.shared();
    }

    /// Has an agent considered for everyone in the next cycle.
    fn consider_agent(&mut self, agent: AgentIndex) {
        let entry = &mut self.agents[agent];
        if entry.attention == Attention::Nobody {
            self.attention.push(agent);
        }
        entry.attention = Attention::Everyone;
        entry.returning.clear();
        self.update_idle(agent);
    }

    /// Has an agent considered for one client in the next cycle.
    fn consider_pair(&mut self, agent: AgentIndex, client: ClientIndex) {
        let entry = &mut self.agents[agent];
        match entry.attention {
            Attention::Everyone => return,
            Attention::Returning => {}
            Attention::Nobody => {
                self.attention.push(agent);
                entry.attention = Attention::Returning;
            }
        }
        entry.returning.push(client);
    }

    /// Has a client considered for all agents with something free in the next cycle.
    fn consider_client(&mut self, client: ClientIndex) {
        let entry = self.tree.client(client);
        if entry.is_in(View::All) && !entry.is_in(View::Fresh) {
            self.tree.set_member(client, View::Fresh, true);
            self.fresh.push(client);
        }
    }

    fn update_idle(&mut self, agent: AgentIndex) {
        let entry = &self.agents[agent];
        let has_something = !(entry.free.is_empty() && entry.shared.is_empty());
        if entry.profile.active && entry.is_listed && has_something {
            self.idle.insert(agent);
        } else {
            self.idle.remove(&agent);
            self.held_back.remove(&agent);
        }
    }

    fn clear_client_filters(&mut self, client: ClientIndex) {
        let entry = self.tree.client_mut(client);
        entry.filtered_count = 0;
        for agent in std::mem::take(&mut entry.filtered) {
            if let Some(agent) = self.agents.get_mut(agent) {
                self.filter_count -= agent.refusals.remove_client(client).removed;
            }
        }
    }
}

/// The scalars in `resources`, summed up by name.
fn amounts<'a>(names: &mut Names, resources: impl Iterator<Item = &'a Resource>) -> Amounts {
    let mut amounts = Amounts::default();
    for resource in resources {
        if resource.value().scalar().is_some() {
            let quantity = resource.quantity().thousandths();
            amounts.add(names.intern(resource.name()), i128::from(quantity));
        }
    }
    amounts
}

/// Resources by the role that they are allocated to, without it. Those of peers too old to say are
/// in role `*`.
fn by_role(resources: &Resources) -> Vec<(Arc<str>, Resources)> {
    let role = |resource: &Resource| match resource.shared_allocation_role() {
        Some(role) => Arc::clone(role),
        None => Arc::from(resources::role::UNRESERVED),
    };
    let mut entries = resources.iter();
    let Some(first) = entries.next() else { return Vec::new() };
    // Offers and tasks are in one role each.
    if entries.all(|resource| resource.allocation_role() == first.allocation_role()) {
        return vec![(role(first), resources.unallocated())];
    }
    let mut roles: BTreeMap<Arc<str>, Vec<Resource>> = BTreeMap::new();
    for resource in resources {
        roles.entry(role(resource)).or_default().push(resource.clone());
    }
    let collect = |resources: Vec<Resource>| resources.into_iter().collect::<Resources>();
    roles.into_iter().map(|(role, resources)| (role, collect(resources).unallocated())).collect()
}
