//! What quota and statistics see of the tree.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::{Role, RoleTree, VIEWS, View};
use crate::quota::Gate;
use crate::share::{Amounts, Share};
use crate::slots::{ClientIndex, QuotaIndex, RoleIndex};

impl RoleTree {
    /// The quota of the top-level role that a role is or belongs to.
    pub(crate) fn quota(&self, role: RoleIndex) -> Option<QuotaIndex> {
        self.roles[role].gate.quota
    }

    /// Changes where a top-level role takes part.
    pub(crate) fn set_gate(&mut self, name: &str, gate: Gate) {
        if gate == Gate::default() {
            self.gates.remove(name);
        } else {
            self.gates.insert(name.to_owned(), gate);
        }
        let Some(role) = self.find(name) else { return };
        let old = self.roles[role].gate;
        let key = (self.roles[role].rank.clone(), super::Group::Child(role));
        for view in VIEWS {
            let order = &mut self.roles[self.root].orders[view as usize];
            if order.remove_group(&key, old) {
                order.insert_group(key.clone(), gate);
            }
        }
        if old.quota == gate.quota {
            self.roles[role].gate = gate;
        } else {
            self.set_gates_below(role, gate);
        }
    }

    fn set_gates_below(&mut self, role: RoleIndex, gate: Gate) {
        let mut roles = vec![role];
        while let Some(role) = roles.pop() {
            let node = &mut self.roles[role];
            node.gate = gate;
            roles.extend(node.children.values());
        }
    }

    /// The clients of a role, and of those below it, that take part in a view.
    pub(crate) fn clients_below(&self, path: &str, view: View) -> Vec<ClientIndex> {
        let mut clients = Vec::new();
        let Some(role) = self.find(path) else { return clients };
        let mut walk = self.walk_below(role, view);
        while walk.next_role().is_some() {
            while let Some(client) = walk.next_client() {
                clients.push(client);
            }
        }
        clients
    }

    /// What a role and those below it hold of what quota counts.
    pub(crate) fn counted(&self, path: &str) -> Amounts {
        self.find(path).map_or_else(Amounts::default, |role| counted(&self.roles[role]))
    }

    /// What everybody holds of what quota counts.
    pub(crate) fn all_counted(&self) -> Amounts {
        counted(&self.roles[self.root])
    }

    /// What a role and those below it hold of everything.
    pub(crate) fn held(&self, path: &str) -> Amounts {
        let role = self.find(path).map(|role| &self.roles[role]);
        role.map_or_else(Amounts::default, |role| role.subtree.amounts.clone())
    }

    pub(crate) fn weight(&self, path: &str) -> f64 {
        self.weights.get(path).copied().unwrap_or(1.0)
    }

    /// The weighted dominant share of a role with those below it.
    pub(crate) fn share(&self, path: &str) -> Share {
        self.totals.share(&self.held(path), self.weight(path))
    }

    /// The dominant share of a client, and that of its role with all below it by weight.
    pub(crate) fn shares(&self, client: ClientIndex) -> (f64, f64) {
        let entry = &self.clients[client];
        let role = &self.roles[entry.role];
        let share = self.totals.share(&entry.usage.amounts, 1.0);
        (share.value(), self.totals.share(&role.subtree.amounts, role.weight).value())
    }

    /// The paths of all roles that have clients, or roles with clients below them.
    pub(crate) fn paths(&self) -> Vec<String> {
        let mut paths = Vec::new();
        let mut roles: Vec<(String, &Arc<str>, RoleIndex)> = Vec::new();
        let below = |path: &str, role: RoleIndex| {
            let path = path.to_owned();
            self.roles[role].children.iter().map(move |(name, &child)| (path.clone(), name, child))
        };
        roles.extend(below("", self.root));
        while let Some((above, name, role)) = roles.pop() {
            let path = if above.is_empty() { name.to_string() } else { format!("{above}/{name}") };
            roles.extend(below(&path, role).collect::<Vec<_>>());
            paths.push(path);
        }
        paths.sort_unstable();
        paths
    }

    /// How many agents the clients of each role filter.
    pub(crate) fn filtered_counts(&self) -> BTreeMap<RoleIndex, usize> {
        let mut counts = BTreeMap::new();
        for (_, client) in self.clients.iter() {
            *counts.entry(client.role).or_default() += client.filtered_count;
        }
        counts
    }
}

fn counted(role: &Role) -> Amounts {
    role.subtree.amounts.minus(&role.subtree.uncounted)
}
