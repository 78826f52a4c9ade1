//! The roles of the cluster, each with those below it (`RoleResourceBreakdown` in
//! `src/master/master.cpp`).

use std::collections::BTreeMap;

use protocol::mesos::FrameworkId;
use protocol::quota::QuotaConfig;
use resources::{Quantities, Resources, role};

use crate::view::{AgentView, FrameworkView, Snapshot};

/// The weight of a role that was given none.
const WEIGHT_DEFAULT: f64 = 1.0;

/// One role. All amounts are those of the role and of all roles below it.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct RoleView {
    /// Its share; 1 by default.
    pub weight: f64,
    /// Its quota, if it has one.
    pub quota: QuotaConfig,
    /// Who is subscribed to it, or holds resources of it: without those of the roles below.
    pub frameworks: Vec<FrameworkId>,
    /// What tasks and executors hold.
    pub allocated: Quantities,
    /// What is offered at the moment.
    pub offered: Quantities,
    /// What agents keep for it.
    pub reserved: Quantities,
    /// What counts against its quota: what is allocated, and what is reserved and not allocated.
    pub consumed: Quantities,
}

impl Snapshot {
    /// The roles that are known: those that a framework, a weight, a reservation or a quota names and
    /// those above them; with `--roles`, those of the flag alone.
    #[must_use]
    pub fn roles(&self) -> BTreeMap<String, RoleView> {
        let mut roles = Roles { snapshot: self, known: BTreeMap::new() };
        for role in self.weights.keys().chain(self.quotas.keys()) {
            roles.touch(role);
        }
        for (id, framework) in &self.frameworks {
            roles.add_framework(id, framework);
        }
        for agent in self.agents.values() {
            roles.add_agent(agent);
        }
        let mut known = roles.known;
        if let Some(allowed) = &self.allowed_roles {
            let mut rest = known;
            let mut shown = Roles { snapshot: self, known: BTreeMap::new() };
            for role in allowed.iter().map(String::as_str).chain([role::UNRESERVED]) {
                shown.touch(role);
            }
            known = shown.known;
            for (role, view) in &mut known {
                if let Some(full) = rest.remove(role) {
                    *view = full;
                }
            }
        }
        known
    }
}

struct Roles<'a> {
    snapshot: &'a Snapshot,
    known: BTreeMap<String, RoleView>,
}

impl Roles<'_> {
    /// The view of a role, which is made if need be together with those above it.
    fn touch(&mut self, role: &str) -> &mut RoleView {
        if !self.known.contains_key(role) {
            self.known.insert(role.to_owned(), self.snapshot.empty_role(role));
            for above in role::ancestors(role) {
                if !self.known.contains_key(above) {
                    self.known.insert(above.to_owned(), self.snapshot.empty_role(above));
                }
            }
        }
        self.known.entry(role.to_owned()).or_default()
    }

    fn add_framework(&mut self, id: &FrameworkId, framework: &FrameworkView) {
        for role in crate::framework::roles(&framework.info) {
            self.touch(&role).frameworks.push(id.clone());
        }
        let used = (&framework.used_resources, true);
        let offered = (&framework.offered_resources, false);
        for (resources, is_used) in [used, offered] {
            for (role, resources) in resources.allocations() {
                let view = self.touch(&role);
                // It may hold something in a role that it has left.
                if view.frameworks.last() != Some(id) {
                    view.frameworks.push(id.clone());
                }
                let amounts = resources.quantities();
                self.add(&role, |view| {
                    if is_used {
                        view.allocated += &amounts;
                        view.consumed += &amounts;
                    } else {
                        view.offered += &amounts;
                    }
                });
            }
        }
    }

    fn add_agent(&mut self, agent: &AgentView) {
        let mut used = if agent.used_resources.is_empty() {
            BTreeMap::new()
        } else {
            agent.used_resources.reservations()
        };
        for (role, resources) in agent.total_resources.reservations() {
            self.touch(&role);
            let reserved = resources.quantities();
            let used = used.remove(&role).as_ref().map(Resources::quantities).unwrap_or_default();
            let unused = reserved.saturating_sub(&used);
            self.add(&role, |view| {
                view.reserved += &reserved;
                view.consumed += &unused;
            });
        }
    }

    /// Changes a role and those above it.
    fn add(&mut self, role: &str, change: impl Fn(&mut RoleView)) {
        for role in std::iter::once(role).chain(role::ancestors(role)) {
            if let Some(view) = self.known.get_mut(role) {
                change(view);
            }
        }
    }
}

impl Snapshot {
    fn empty_role(&self, role: &str) -> RoleView {
        RoleView {
            weight: self.weights.get(role).copied().unwrap_or(WEIGHT_DEFAULT),
            quota: self.quotas.get(role).cloned().unwrap_or_default(),
            ..RoleView::default()
        }
    }
}
