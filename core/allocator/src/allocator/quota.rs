//! Quota, whitelist and pause as they are set, and what roles have.

use std::collections::BTreeSet;

use resources::{Quantities, Resources};

use super::Allocator;
use crate::profile::AgentProfile;
use crate::quota::{Parts, Quota};
use crate::roles::View;
use crate::slots::{AgentIndex, QuotaIndex};

/// How a role stands, for metrics and `/roles`.
#[derive(Clone, Debug, PartialEq)]
pub struct RoleStatus {
    /// Its path.
    pub role: String,
    /// What its share is divided by.
    pub weight: f64,
    /// The largest part of the cluster that it holds, with the roles below it, over all resources, divided
    /// by its weight.
    pub dominant_share: f64,
    /// How many (framework, agent) pairs of this role alone have a filter.
    pub filter_count: usize,
    /// Its quota. Only top-level roles have one.
    pub quota: Quota,
    /// What it consumes of its quota: [`Allocator::quota_consumed`].
    pub quota_consumed: Quantities,
    /// All scalars that it holds, with the roles below it, offered or in use.
    pub held: Quantities,
}

impl Allocator {
    /// Sets the quota of a top-level role, in place of the one it has; the default removes it. What the
    /// role holds already stays with it. Paths with a `/` are passed over: Mesos knows no quota there.
    pub fn set_quota(&mut self, role: &str, quota: Quota) {
        if role.contains('/') {
            return;
        }
        let held = self.tree.counted(role);
        let all_held = self.tree.all_counted();
        let gate = self.quotas.set(role, quota, &mut self.names, &held, &all_held);
        self.tree.set_gate(role, gate);
        for client in self.tree.clients_below(role, View::All) {
            self.consider_client(client);
        }
    }

    /// What a role consumes of its quota, whether it has one or not: what is held in it and below it of
    /// unreserved, non-revocable scalars, and all scalars that are reserved for it or below it, held or
    /// not. What is offered counts as held; Mesos' own number for operators leaves offers out.
    #[must_use]
    pub fn quota_consumed(&self, role: &str) -> Quantities {
        let mut consumed = self.tree.counted(role);
        consumed.add_all(&self.quotas.reserved(role));
        self.names.quantities(&consumed)
    }

    /// Lets nothing be allocated until [`Allocator::resume`]: a new master with quotas waits so for its
    /// agents, lest it give away what is guaranteed.
    pub fn pause(&mut self) {
        self.is_paused = true;
    }

    /// Ends [`Allocator::pause`].
    pub fn resume(&mut self) {
        self.is_paused = false;
    }

    /// Whether nothing is allocated for now.
    #[must_use]
    pub fn is_paused(&self) -> bool {
        self.is_paused
    }

    /// Lets only agents with these hostnames be offered (`--whitelist`). `None`: all agents.
    pub fn set_whitelist(&mut self, hostnames: Option<BTreeSet<String>>) {
        if self.whitelist == hostnames {
            return;
        }
        self.whitelist = hostnames;
        let agents: Vec<AgentIndex> = self.agents.iter().map(|(agent, _)| agent).collect();
        for agent in agents {
            let is_listed = self.is_listed(&self.agents[agent].profile);
            let was_listed = std::mem::replace(&mut self.agents[agent].is_listed, is_listed);
            if is_listed && !was_listed {
                self.consider_agent(agent);
            }
            self.update_idle(agent);
        }
    }

    /// All roles that have frameworks, resources, reservations or a quota, or roles below them that do;
    /// by path.
    #[must_use]
    pub fn role_statuses(&self) -> Vec<RoleStatus> {
        let mut paths: BTreeSet<String> = self.tree.paths().into_iter().collect();
        paths.extend(self.quotas.roles().map(str::to_owned));
        let filtered = self.tree.filtered_counts();
        let status = |role: String| RoleStatus {
            weight: self.tree.weight(&role),
            dominant_share: self.tree.share(&role).value(),
            filter_count: self
                .tree
                .find(&role)
                .and_then(|role| filtered.get(&role).copied())
                .unwrap_or(0),
            quota: self.quotas.get(&role).cloned().unwrap_or_default(),
            quota_consumed: self.quota_consumed(&role),
            held: self.names.quantities(&self.tree.held(&role)),
            role,
        };
        paths.into_iter().map(status).collect()
    }

    pub(super) fn is_listed(&self, profile: &AgentProfile) -> bool {
        self.whitelist.as_ref().is_none_or(|listed| listed.contains(&*profile.hostname))
    }

    /// Notes that the total of an agent is to become this.
    pub(super) fn count_total(&mut self, agent: AgentIndex, total: &Resources) {
        let old = Parts::of(&mut self.names, &self.agents[agent].profile.total);
        let new = Parts::of(&mut self.names, total);
        self.count_parts(&old, &new);
    }

    /// Notes that an agent has `new` in place of `old`.
    pub(super) fn count_change(&mut self, old: &Resources, new: &Resources) {
        let old = Parts::of(&mut self.names, old);
        let new = Parts::of(&mut self.names, new);
        self.count_parts(&old, &new);
    }

    fn count_parts(&mut self, old: &Parts, new: &Parts) {
        let added = self.quotas.change_total(new, 1);
        let removed = self.quotas.change_total(old, -1);
        self.update_gates(added.into_iter().chain(removed));
    }

    /// Brings the role tree in line with quotas whose gates have changed.
    pub(super) fn update_gates(&mut self, changed: impl IntoIterator<Item = QuotaIndex>) {
        for quota in changed {
            self.tree.set_gate(self.quotas.role(quota), self.quotas.gate(quota));
        }
    }
}
