//! Frameworks come, change, and go.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use protocol::mesos::{AgentId, FrameworkId};
use resources::{Quantities, Resources};

use super::{Allocator, Framework};
use crate::constraints::{Demand, OfferConstraints};
use crate::profile::FrameworkProfile;
use crate::roles::View;
use crate::slots::{ClientIndex, FrameworkIndex};

impl Allocator {
    /// Adds a framework, or fills in one that agents have named before as the user of their resources.
    ///
    /// `used` is what it holds already, per agent, with allocation roles. Agents that are not known yet
    /// are skipped, as they bring it along themselves, and so are agents on which something of this
    /// framework is tracked already.
    ///
    /// # Panics
    /// If it was added before.
    pub fn add_framework(
        &mut self,
        id: &FrameworkId,
        profile: FrameworkProfile,
        used: &[(AgentId, Resources)],
    ) {
        let framework = self.find_or_add_framework(id);
        assert!(!self.frameworks[framework].is_added, "framework {id:?} is added twice");
        self.frameworks[framework].is_added = true;
        let clients = self.frameworks[framework].clients.values();
        let tracked: BTreeSet<_> =
            clients.flat_map(|&client| self.tree.client(client).agents.clone()).collect();
        for (agent, resources) in used {
            if let Some(agent) = self.agents.find(agent)
                && !tracked.contains(&agent)
            {
                self.track(agent, framework, resources);
                self.recompute_free(agent);
                self.update_idle(agent);
            }
        }
        self.set_profile(framework, profile);
    }

    /// Changes roles, suppression, capabilities or minimum (SUBSCRIBE again, UPDATE_FRAMEWORK).
    ///
    /// Its filters in roles that it leaves, or that are no longer suppressed, are cleared. What it
    /// holds in a role that it leaves stays its own.
    pub fn update_framework(&mut self, id: &FrameworkId, profile: FrameworkProfile) {
        if let Some(framework) = self.frameworks.find(id) {
            self.set_profile(framework, profile);
        }
    }

    /// Removes a framework; what it still holds is free again.
    pub fn remove_framework(&mut self, id: &FrameworkId) {
        let Some(framework) = self.frameworks.find(id) else { return };
        for client in self.frameworks[framework].clients.clone().into_values() {
            for agent in self.tree.client(client).agents.clone() {
                if let Some(held) = self.agents[agent].held.get(&client).cloned() {
                    self.unhold(agent, client, &held);
                    self.free_resources(agent, &held);
                    self.consider_agent(agent);
                }
            }
            self.set_active(client, false);
            self.tree.client_mut(client).subscribed = false;
            self.drop_client_if_done(client);
        }
        self.forget_inverse_offers(framework, true);
        self.frameworks.remove(id);
    }

    /// Lets a framework get offers, after it has connected again. Suppressed roles stay so.
    pub fn activate_framework(&mut self, id: &FrameworkId) {
        if let Some(framework) = self.frameworks.find(id) {
            self.frameworks[framework].profile.active = true;
            self.update_clients(framework);
            self.consider_all_maintenance();
        }
    }

    /// Gives a framework no more offers until it is activated, and clears its filters. What it holds
    /// stays its own until recovered.
    pub fn deactivate_framework(&mut self, id: &FrameworkId) {
        let Some(framework) = self.frameworks.find(id) else { return };
        self.frameworks[framework].profile.active = false;
        self.update_clients(framework);
        self.forget_inverse_offers(framework, false);
        for client in self.frameworks[framework].clients.clone().into_values() {
            self.clear_client_filters(client);
        }
    }

    /// Lets no more offers go to a framework in some of its roles, in all if `roles` is empty.
    pub fn suppress_offers(&mut self, id: &FrameworkId, roles: &BTreeSet<String>) {
        let Some(framework) = self.frameworks.find(id) else { return };
        for (role, _) in self.named_clients(framework, roles) {
            self.frameworks[framework].profile.suppressed_roles.insert(role);
        }
        self.update_clients(framework);
    }

    /// Lets offers go to a framework in some of its roles, in all if `roles` is empty, and clears its
    /// filters there.
    pub fn revive_offers(&mut self, id: &FrameworkId, roles: &BTreeSet<String>) {
        let Some(framework) = self.frameworks.find(id) else { return };
        let clients = self.named_clients(framework, roles);
        for (role, client) in &clients {
            self.frameworks[framework].profile.suppressed_roles.remove(role);
            self.clear_client_filters(*client);
        }
        self.update_clients(framework);
        for (_, client) in clients {
            self.consider_client(client);
        }
    }

    /// Sets weights of roles. They must be positive numbers, as Mesos demands of operators; others are
    /// passed over.
    pub fn update_weights(&mut self, weights: &[(String, f64)]) {
        for (role, weight) in weights {
            if weight.is_finite() && *weight > 0.0 {
                self.tree.set_weight(role, *weight);
            }
        }
    }

    pub(super) fn find_or_add_framework(&mut self, id: &FrameworkId) -> FrameworkIndex {
        self.frameworks.find(id).unwrap_or_else(|| {
            let id = Arc::new(id.clone());
            let framework = Framework {
                id: Arc::clone(&id),
                name: Arc::from(id.value.as_str()),
                is_added: false,
                profile: FrameworkProfile::default(),
                clients: BTreeMap::new(),
            };
            self.frameworks.insert(id, framework)
        })
    }

    fn set_profile(&mut self, framework: FrameworkIndex, profile: FrameworkProfile) {
        let old = std::mem::replace(&mut self.frameworks[framework].profile, profile);
        for role in self.frameworks[framework].profile.roles.clone() {
            self.client(framework, &role);
        }
        let entry = &self.frameworks[framework];
        let new = &entry.profile;
        let mut changed = Vec::new();
        let mut cleared = Vec::new();
        for (role, &client) in &entry.clients {
            if old.capabilities != new.capabilities
                || old.minimum_allocatable.get(role) != new.minimum_allocatable.get(role)
                || old.constraints.get(role) != new.constraints.get(role)
            {
                changed.push(client);
            }
            if old.roles.contains(role) && !new.roles.contains(role)
                || old.suppressed_roles.contains(role) && !new.suppressed_roles.contains(role)
            {
                cleared.push(client);
            }
        }
        for client in cleared {
            self.clear_client_filters(client);
        }
        self.update_clients(framework);
        self.consider_all_maintenance();
        for client in changed {
            if self.tree.get_client(client).is_some() {
                self.consider_client(client);
            }
        }
    }

    /// Brings the clients of a framework in line with its profile.
    fn update_clients(&mut self, framework: FrameworkIndex) {
        for (role, client) in self.frameworks[framework].clients.clone() {
            let profile = &self.frameworks[framework].profile;
            let subscribed = profile.roles.contains(&role);
            let suppressed = profile.suppressed_roles.contains(&role);
            let active = profile.active && subscribed && !suppressed;
            let minimum = profile.minimum_allocatable.get(&role);
            let minimum = minimum.map(|minimum| Arc::from(&minimum[..]));
            let constraints = profile.constraints.get(&role).cloned();
            let entry = self.tree.client_mut(client);
            entry.subscribed = subscribed;
            entry.terms.capabilities = profile.capabilities;
            self.set_minimum(client, minimum);
            self.set_constraints(client, constraints);
            self.set_active(client, active);
            self.drop_client_if_done(client);
        }
    }

    fn set_active(&mut self, client: ClientIndex, active: bool) {
        let was_active = self.tree.client(client).is_in(View::All);
        self.tree.set_member(client, View::All, active);
        if !active {
            self.tree.set_member(client, View::Fresh, false);
        } else if !was_active {
            self.consider_client(client);
        }
    }

    pub(super) fn set_minimum(&mut self, client: ClientIndex, minimum: Option<Arc<[Quantities]>>) {
        let is_own = minimum.is_some();
        let old = std::mem::replace(&mut self.tree.client_mut(client).terms.minimum, minimum);
        self.own_minimum_count += usize::from(is_own);
        self.own_minimum_count -= usize::from(old.is_some());
    }

    pub(super) fn set_constraints(
        &mut self,
        client: ClientIndex,
        constraints: Option<Arc<OfferConstraints>>,
    ) {
        let old = self.tree.client_mut(client).terms.demand.take();
        if old.as_ref().map(Demand::constraints) == constraints.as_ref() {
            self.tree.client_mut(client).terms.demand = old;
            return;
        }
        let new = constraints.map(|constraints| self.demands.enter(constraints));
        self.tree.client_mut(client).terms.demand = new;
        if let Some(old) = old {
            self.demands.leave(&old);
            if self.demands.is_sparse() {
                self.renumber_demands();
            }
        }
    }

    fn renumber_demands(&mut self) {
        self.demands.renumber();
        for client in self.frameworks.iter().flat_map(|(_, entry)| entry.clients.values()) {
            let terms = &mut self.tree.client_mut(*client).terms;
            terms.demand = terms.demand.take().map(|demand| self.demands.renumbered(&demand));
        }
        for agent in self.agents.iter().map(|(agent, _)| agent).collect::<Vec<_>>() {
            self.agents[agent].verdicts.clear();
        }
    }

    /// The clients of a framework in the roles that it is subscribed to and that are named, all if none
    /// is.
    fn named_clients(
        &self,
        framework: FrameworkIndex,
        roles: &BTreeSet<String>,
    ) -> Vec<(String, ClientIndex)> {
        let entry = &self.frameworks[framework];
        let is_named = |role: &String| {
            entry.profile.roles.contains(role) && (roles.is_empty() || roles.contains(role))
        };
        let clients = entry.clients.iter().filter(|(role, _)| is_named(role));
        clients.map(|(role, &client)| (role.clone(), client)).collect()
    }
}
