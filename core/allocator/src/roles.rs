//! The tree of roles and, in each role, its frameworks, all kept in the order in which they are served.
//!
//! Every node orders its children by weighted dominant share, beside one entry for the frameworks of the
//! node's own role (Mesos calls it the virtual leaf `.`). Each order exists in two [`View`]s. What a
//! framework holds changes at once; its place in the orders changes when the next cycle begins
//! ([`RoleTree::refresh`]), so that a thousand recovered resources cost one move per framework.

use std::cmp::Ordering;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::constraints::Demand;
use crate::policy::{Clock, Place, SorterPolicy, Turns};
use crate::profile::{Config, FrameworkCapabilities};
use crate::quota::Gate;
use crate::share::{Amounts, Charge, Rank, Totals, Usage};
use crate::slots::{AgentIndex, ClientIndex, FrameworkIndex, RoleIndex, Slab};

mod gates;
#[cfg(test)]
mod tests;
mod walk;

pub(crate) use walk::Walk;

/// Who takes part in a walk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum View {
    /// Every framework that may get offers in the role.
    All,
    /// Those of them that may want what they did not want, or could not get, in the last cycle.
    Fresh,
}

const VIEWS: [View; 2] = [View::All, View::Fresh];

/// What a framework accepts in a role.
#[derive(Clone, Debug, Default)]
pub(crate) struct Terms {
    pub(crate) capabilities: FrameworkCapabilities,
    /// In place of the allocator's minimum.
    pub(crate) minimum: Option<Arc<[resources::Quantities]>>,
    /// What it demands of agents.
    pub(crate) demand: Option<Demand>,
}

/// A framework in one of its roles.
#[derive(Clone, Debug)]
pub(crate) struct Client {
    pub(crate) framework: FrameworkIndex,
    pub(crate) role: RoleIndex,
    pub(crate) terms: Terms,
    /// Subscribed to the role; if not, it is here for what it still holds.
    pub(crate) subscribed: bool,
    /// Agents that it filters: each at least once, some that it no longer filters.
    pub(crate) filtered: Vec<AgentIndex>,
    /// How many agents it filters.
    pub(crate) filtered_count: usize,
    /// Agents on which it holds something.
    pub(crate) agents: BTreeSet<AgentIndex>,
    usage: Usage,
    rank: Rank,
    /// `rank` may be out of date.
    stale: bool,
    member: [bool; 2],
}

impl Client {
    pub(crate) fn is_in(&self, view: View) -> bool {
        self.member[view as usize]
    }
}

/// An entry among the children of a role.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Group {
    /// The frameworks of the role itself.
    Own,
    /// A role below it.
    Child(RoleIndex),
}

/// One view of one role.
#[derive(Clone, Debug, Default)]
struct Order {
    clients: BTreeSet<(Rank, ClientIndex)>,
    /// The groups that are not in `shut`.
    groups: BTreeSet<(Rank, Group)>,
    /// Groups that quota leaves no room, which only top-level roles can be.
    shut: BTreeSet<(Rank, Group)>,
    /// Those of all groups that miss something of their guarantees.
    lacking: BTreeSet<(Rank, Group)>,
}

impl Order {
    fn has_no_groups(&self) -> bool {
        self.groups.is_empty() && self.shut.is_empty()
    }

    fn insert_group(&mut self, key: (Rank, Group), gate: Gate) {
        if gate.is_lacking {
            self.lacking.insert(key.clone());
        }
        let groups = if gate.is_shut { &mut self.shut } else { &mut self.groups };
        groups.insert(key);
    }

    /// Whether the group was there.
    fn remove_group(&mut self, key: &(Rank, Group), gate: Gate) -> bool {
        if gate.is_lacking {
            self.lacking.remove(key);
        }
        let groups = if gate.is_shut { &mut self.shut } else { &mut self.groups };
        groups.remove(key)
    }

    fn replace_group(&mut self, old: &(Rank, Group), rank: &Rank, gate: Gate) {
        if self.remove_group(old, gate) {
            self.insert_group((rank.clone(), old.1), gate);
        }
    }
}

#[derive(Clone, Debug)]
struct Role {
    /// The last component of the path.
    name: Arc<str>,
    /// The whole path; only where there are clients, as a deep role would else take quadratic space.
    path: Option<Arc<str>>,
    parent: Option<RoleIndex>,
    children: BTreeMap<Arc<str>, RoleIndex>,
    client_count: usize,
    weight: f64,
    own: Usage,
    subtree: Usage,
    own_rank: Rank,
    rank: Rank,
    /// Of the top-level role that this role is or belongs to; where it stands is true in that one alone.
    gate: Gate,
    orders: [Order; 2],
    /// Of its frameworks, and of the roles below it.
    clocks: (Clock, Clock),
}

impl Role {
    fn new(name: &str, parent: Option<RoleIndex>, weight: f64) -> Self {
        let name: Arc<str> = Arc::from(name);
        Self {
            name: Arc::clone(&name),
            path: None,
            parent,
            children: BTreeMap::new(),
            client_count: 0,
            weight,
            own: Usage::default(),
            subtree: Usage::default(),
            own_rank: Rank::new(Arc::from(".")),
            rank: Rank::new(name),
            gate: Gate::default(),
            orders: [Order::default(), Order::default()],
            clocks: (Clock::default(), Clock::default()),
        }
    }
}

impl Rank {
    fn new(name: Arc<str>) -> Self {
        Self { place: Place::default(), allocations: 0, name }
    }

    fn of(
        policy: SorterPolicy,
        usage: &Usage,
        totals: &Totals,
        weight: f64,
        name: &Arc<str>,
    ) -> Self {
        Self {
            place: policy.place(usage, totals, weight),
            allocations: usage.allocations,
            name: Arc::clone(name),
        }
    }
}

#[derive(Clone, Debug)]
pub(crate) struct RoleTree {
    roles: Slab<RoleIndex, Role>,
    clients: Slab<ClientIndex, Client>,
    root: RoleIndex,
    /// Weights by path, of roles with and without frameworks.
    weights: BTreeMap<String, f64>,
    /// Gates of top-level roles with a quota.
    gates: BTreeMap<String, Gate>,
    totals: Totals,
    role_sorter: SorterPolicy,
    framework_sorter: SorterPolicy,
    turns: Turns,
    /// All ranks are out of date.
    all_stale: bool,
    /// Clients whose ranks, and those of the roles above them, are out of date.
    stale: Vec<ClientIndex>,
}

impl RoleTree {
    pub(crate) fn new(totals: Totals, config: &Config) -> Self {
        let mut roles = Slab::new();
        let root = roles.insert(Role::new("", None, 1.0));
        Self {
            roles,
            clients: Slab::new(),
            root,
            weights: BTreeMap::new(),
            gates: BTreeMap::new(),
            totals,
            role_sorter: config.role_sorter,
            framework_sorter: config.framework_sorter,
            turns: Turns::new(config.seed),
            all_stale: false,
            stale: Vec::new(),
        }
    }

    pub(crate) fn client(&self, client: ClientIndex) -> &Client {
        &self.clients[client]
    }

    pub(crate) fn client_mut(&mut self, client: ClientIndex) -> &mut Client {
        &mut self.clients[client]
    }

    pub(crate) fn get_client(&self, client: ClientIndex) -> Option<&Client> {
        self.clients.get(client)
    }

    /// The path of a role that has clients.
    pub(crate) fn path(&self, role: RoleIndex) -> &str {
        self.roles[role].path.as_deref().unwrap_or_default()
    }

    /// The same, for whoever keeps it.
    pub(crate) fn shared_path(&self, role: RoleIndex) -> Arc<str> {
        self.roles[role].path.clone().unwrap_or_default()
    }

    /// Whether the role has a `/` in its path.
    pub(crate) fn is_hierarchical(&self, role: RoleIndex) -> bool {
        self.roles[role].parent != Some(self.root)
    }

    /// The node of a role that has clients, or roles with clients below it.
    pub(crate) fn find(&self, path: &str) -> Option<RoleIndex> {
        path.split('/')
            .try_fold(self.root, |role, name| self.roles[role].children.get(name).copied())
    }

    pub(crate) fn add_client(
        &mut self,
        framework: FrameworkIndex,
        framework_name: Arc<str>,
        path: &str,
    ) -> ClientIndex {
        let role = self.find_or_add(path);
        let node = &mut self.roles[role];
        node.client_count += 1;
        if node.path.is_none() {
            node.path = Some(Arc::from(path));
        }
        let client = self.clients.insert(Client {
            framework,
            role,
            terms: Terms::default(),
            subscribed: false,
            filtered: Vec::new(),
            filtered_count: 0,
            agents: BTreeSet::new(),
            usage: Usage::default(),
            rank: Rank::new(framework_name),
            stale: false,
            member: [false; 2],
        });
        if self.framework_sorter.has_turns() {
            self.clients[client].usage.turn = self.turns.first(self.roles[role].clocks.0);
        }
        self.mark_stale(client);
        client
    }

    fn find_or_add(&mut self, path: &str) -> RoleIndex {
        let mut role = self.root;
        let mut end = 0;
        for name in path.split('/') {
            end += name.len();
            let existing = self.roles[role].children.get(name).copied();
            role = existing.unwrap_or_else(|| {
                let weight = self.weights.get(&path[..end]).copied().unwrap_or(1.0);
                let gate = if role == self.root {
                    self.gates.get(name).copied().unwrap_or_default()
                } else {
                    self.roles[role].gate
                };
                let mut child = Role::new(name, Some(role), weight);
                child.gate = gate;
                if self.role_sorter.has_turns() {
                    child.subtree.turn = self.turns.first(self.roles[role].clocks.1);
                    child.own.turn = self.turns.first(Clock::default());
                }
                let child = self.roles.insert(child);
                let name = Arc::clone(&self.roles[child].name);
                self.roles[role].children.insert(name, child);
                child
            });
            end += 1;
        }
        role
    }

    /// Removes a client that holds nothing any more, and the roles that are empty without it.
    pub(crate) fn remove_client(&mut self, client: ClientIndex) {
        // What it gave back last also moves the roles above it, which nobody could find later.
        self.rerank(client);
        for view in VIEWS {
            self.set_member(client, view, false);
        }
        let Some(removed) = self.clients.remove(client) else { return };
        assert!(removed.usage.amounts.is_empty(), "a framework leaves a role with empty hands");
        self.roles[removed.role].client_count -= 1;
        let mut role = removed.role;
        while let Some(parent) = self.roles[role].parent {
            if self.roles[role].client_count > 0 || !self.roles[role].children.is_empty() {
                break;
            }
            if let Some(removed) = self.roles.remove(role) {
                self.roles[parent].children.remove(&removed.name);
            }
            role = parent;
        }
    }

    /// Lets a client take part in the walks of a view, or not.
    pub(crate) fn set_member(&mut self, client: ClientIndex, view: View, member: bool) {
        let slot = view as usize;
        let entry = &mut self.clients[client];
        if entry.member[slot] == member {
            return;
        }
        entry.member[slot] = member;
        let key = (entry.rank.clone(), client);
        let mut role = entry.role;
        let node = &mut self.roles[role];
        let order = &mut node.orders[slot];
        let was_empty = order.clients.is_empty();
        if member {
            order.clients.insert(key);
        } else {
            order.clients.remove(&key);
        }
        if was_empty == order.clients.is_empty() {
            return;
        }
        let mut key = (node.own_rank.clone(), Group::Own);
        let mut gate = Gate::default();
        // Up the tree, for as long as an order becomes, or stops being, empty.
        loop {
            let node = &mut self.roles[role];
            let order = &mut node.orders[slot];
            let was_empty = order.has_no_groups();
            if member {
                order.insert_group(key, gate);
            } else {
                order.remove_group(&key, gate);
            }
            let Some(parent) = node.parent else { return };
            if was_empty == order.has_no_groups() {
                return;
            }
            key = (node.rank.clone(), Group::Child(role));
            gate = if parent == self.root { node.gate } else { Gate::default() };
            role = parent;
        }
    }

    /// Adds to what a client and the roles above it hold.
    pub(crate) fn charge(&mut self, client: ClientIndex, charge: &Charge) {
        self.change_usage(client, |usage| {
            usage.amounts.add_all(&charge.amounts);
            usage.uncounted.add_all(&charge.uncounted);
        });
    }

    /// Takes from what a client and the roles above it hold.
    pub(crate) fn discharge(&mut self, client: ClientIndex, charge: &Charge) {
        self.change_usage(client, |usage| {
            usage.amounts.subtract_all(&charge.amounts);
            usage.uncounted.subtract_all(&charge.uncounted);
        });
    }

    /// Counts one more allocation to a client and the roles above it.
    pub(crate) fn count_allocation(&mut self, client: ClientIndex) {
        self.change_usage(client, |usage| usage.allocations += 1);
        if self.framework_sorter.has_turns() || self.role_sorter.has_turns() {
            self.take_turn(client);
        }
    }

    fn change_usage(&mut self, client: ClientIndex, change: impl Fn(&mut Usage)) {
        let entry = &mut self.clients[client];
        change(&mut entry.usage);
        let mut above = Some(entry.role);
        change(&mut self.roles[entry.role].own);
        while let Some(role) = above {
            change(&mut self.roles[role].subtree);
            above = self.roles[role].parent;
        }
        self.mark_stale(client);
    }

    /// Draws the next turns of a client and the roles above it.
    fn take_turn(&mut self, client: ClientIndex) {
        let entry = &mut self.clients[client];
        let mut role = entry.role;
        let node = &mut self.roles[role];
        let (turns, clock) = (&mut self.turns, &mut node.clocks);
        entry.usage.turn = turns.next(entry.usage.turn, 1.0, &mut clock.0);
        node.own.turn = turns.next(node.own.turn, 1.0, &mut clock.1);
        while let Some(parent) = self.roles[role].parent {
            let (turn, weight) = (self.roles[role].subtree.turn, self.roles[role].weight);
            let clock = &mut self.roles[parent].clocks.1;
            let turn = self.turns.next(turn, weight, clock);
            self.roles[role].subtree.turn = turn;
            role = parent;
        }
    }

    fn mark_stale(&mut self, client: ClientIndex) {
        let entry = &mut self.clients[client];
        if !entry.stale {
            entry.stale = true;
            self.stale.push(client);
        }
    }

    /// Changes what the cluster has; all shares change with it.
    pub(crate) fn change_totals(&mut self, removed: &Amounts, added: &Amounts) {
        if removed != added {
            self.totals.subtract_all(removed);
            self.totals.add_all(added);
            self.all_stale = true;
        }
    }

    /// Sets the weight of a role, whether it exists or not.
    pub(crate) fn set_weight(&mut self, path: &str, weight: f64) {
        self.weights.insert(path.to_owned(), weight);
        if let Some(role) = self.find(path) {
            self.roles[role].weight = weight;
            self.all_stale = true;
        }
    }

    /// Whether all orders are up to date.
    pub(crate) fn is_current(&self) -> bool {
        !self.all_stale && self.stale.is_empty()
    }

    /// Brings all orders up to date.
    pub(crate) fn refresh(&mut self) {
        let stale = std::mem::take(&mut self.stale);
        if std::mem::take(&mut self.all_stale) {
            for client in stale {
                if let Some(entry) = self.clients.get_mut(client) {
                    entry.stale = false;
                }
            }
            self.sort_all();
        } else {
            for client in stale {
                self.rerank(client);
            }
        }
    }

    /// Moves a client, and the roles above it, to their places.
    pub(crate) fn rerank(&mut self, client: ClientIndex) {
        let Some(entry) = self.clients.get_mut(client) else { return };
        entry.stale = false;
        // Who has just been served need not be looked at again.
        if self.stale.last() == Some(&client) {
            self.stale.pop();
        }
        let rank =
            Rank::of(self.framework_sorter, &entry.usage, &self.totals, 1.0, &entry.rank.name);
        let mut role = entry.role;
        let node = &mut self.roles[role];
        if rank != entry.rank {
            let old = (std::mem::replace(&mut entry.rank, rank.clone()), client);
            for order in &mut node.orders {
                replace(&mut order.clients, &old, &rank);
            }
        }
        let rank = Rank::of(self.role_sorter, &node.own, &self.totals, 1.0, &node.own_rank.name);
        if rank != node.own_rank {
            let old = (std::mem::replace(&mut node.own_rank, rank.clone()), Group::Own);
            for order in &mut node.orders {
                order.replace_group(&old, &rank, Gate::default());
            }
        }
        while let Some(parent) = self.roles[role].parent {
            let node = &mut self.roles[role];
            let rank =
                Rank::of(self.role_sorter, &node.subtree, &self.totals, node.weight, &node.name);
            if rank != node.rank {
                let old = (std::mem::replace(&mut node.rank, rank.clone()), Group::Child(role));
                let gate = if parent == self.root { node.gate } else { Gate::default() };
                for order in &mut self.roles[parent].orders {
                    order.replace_group(&old, &rank, gate);
                }
            }
            role = parent;
        }
    }

    fn sort_all(&mut self) {
        let roles: Vec<RoleIndex> = self.roles.indices().collect();
        for client in self.clients.indices().collect::<Vec<_>>() {
            let entry = &mut self.clients[client];
            entry.rank =
                Rank::of(self.framework_sorter, &entry.usage, &self.totals, 1.0, &entry.rank.name);
        }
        for &role in &roles {
            let node = &mut self.roles[role];
            node.own_rank =
                Rank::of(self.role_sorter, &node.own, &self.totals, 1.0, &node.own_rank.name);
            node.rank =
                Rank::of(self.role_sorter, &node.subtree, &self.totals, node.weight, &node.name);
        }
        for role in roles {
            let mut orders = std::mem::take(&mut self.roles[role].orders);
            for order in &mut orders {
                let clients = std::mem::take(&mut order.clients).into_iter();
                order.clients = clients
                    .map(|(_, client)| (self.clients[client].rank.clone(), client))
                    .collect();
                for groups in [&mut order.groups, &mut order.shut, &mut order.lacking] {
                    *groups = std::mem::take(groups)
                        .into_iter()
                        .map(|(_, group)| (self.group_rank(role, group).clone(), group))
                        .collect();
                }
            }
            self.roles[role].orders = orders;
        }
    }

    fn group_rank(&self, role: RoleIndex, group: Group) -> &Rank {
        match group {
            Group::Own => &self.roles[role].own_rank,
            Group::Child(child) => &self.roles[child].rank,
        }
    }

    /// Whether nobody takes part in the walks of a view.
    pub(crate) fn is_empty(&self, view: View) -> bool {
        self.roles[self.root].orders[view as usize].has_no_groups()
    }

    /// Whether nobody takes part in [`RoleTree::walk_lacking`].
    pub(crate) fn is_nobody_lacking(&self, view: View) -> bool {
        self.roles[self.root].orders[view as usize].lacking.is_empty()
    }

    /// Which of two clients a walk comes to first.
    pub(crate) fn compare(&self, left: ClientIndex, right: ClientIndex) -> Ordering {
        let (left_role, right_role) = (self.clients[left].role, self.clients[right].role);
        if left_role != right_role {
            let (left_chain, right_chain) = (self.chain(left_role), self.chain(right_role));
            let common = left_chain.iter().zip(&right_chain).take_while(|(a, b)| a == b).count();
            let above = left_chain[common - 1];
            let group = |chain: &[RoleIndex]| {
                chain.get(common).map_or(Group::Own, |&role| Group::Child(role))
            };
            let (left, right) = (group(&left_chain), group(&right_chain));
            return self.group_rank(above, left).cmp(self.group_rank(above, right));
        }
        self.clients[left].rank.cmp(&self.clients[right].rank)
    }

    /// The roles from the root down to `role`.
    fn chain(&self, role: RoleIndex) -> Vec<RoleIndex> {
        let mut chain = vec![role];
        let mut above = self.roles[role].parent;
        while let Some(role) = above {
            chain.push(role);
            above = self.roles[role].parent;
        }
        chain.reverse();
        chain
    }
}

/// Moves an entry of an order, if it is there.
fn replace<T: Ord + Copy>(order: &mut BTreeSet<(Rank, T)>, old: &(Rank, T), rank: &Rank) {
    if order.remove(old) {
        order.insert((rank.clone(), old.1));
    }
}
