//! Agents come, change, and go.

use std::sync::Arc;

use protocol::flat::FlatMap;
use protocol::mesos::{AgentId, FrameworkId};
use resources::Resources;

use super::{Agent, Allocator, Attention, amounts, by_role};
use crate::constraints::Verdicts;
use crate::profile::AgentProfile;
use crate::refusals::Refusals;
use crate::share::Amounts;
use crate::slots::{AgentIndex, FrameworkIndex};

impl Allocator {
    /// Adds an agent. `used` is what tasks and executors on it hold, with allocation roles; their
    /// frameworks need not be known yet.
    ///
    /// # Panics
    /// If it was added before.
    pub fn add_agent(
        &mut self,
        id: &Arc<AgentId>,
        profile: AgentProfile,
        used: &[(FrameworkId, Resources)],
    ) {
        assert!(self.agents.find(id).is_none(), "agent {id:?} is added twice");
        let agent = self.agents.insert(
            Arc::clone(id),
            Agent {
                id: Arc::clone(id),
                profile: AgentProfile::default(),
                amounts: Amounts::default(),
                free: Resources::default(),
                shared: Resources::default(),
                held: FlatMap::default(),
                is_overcommitted: false,
                has_gpus: false,
                is_remote: false,
                is_listed: true,
                refusals: Refusals::default(),
                verdicts: Verdicts::default(),
                maintenance: None,
                attention: Attention::Nobody,
                returning: Vec::new(),
            },
        );
        self.set_agent_profile(agent, profile);
        for (framework, resources) in used {
            let framework = self.find_or_add_framework(framework);
            self.track(agent, framework, resources);
        }
        self.recompute_free(agent);
        self.update_idle(agent);
    }

    /// Changes total, capabilities, attributes, region, planned unavailability, or whether it is active. A
    /// changed total, or changed attributes, clear the filters for this agent: frameworks may want it now.
    pub fn update_agent(&mut self, id: &AgentId, profile: AgentProfile) {
        let Some(agent) = self.agents.find(id) else { return };
        if self.agents[agent].profile == profile {
            return;
        }
        let old = &self.agents[agent].profile;
        if old.total != profile.total || old.attributes != profile.attributes {
            self.drop_agent_filters(agent);
        }
        self.set_agent_profile(agent, profile);
    }

    /// Clears all filters for an agent, as its attributes have changed.
    pub fn clear_agent_filters(&mut self, id: &AgentId) {
        let Some(agent) = self.agents.find(id) else { return };
        self.drop_agent_filters(agent);
        self.consider_agent(agent);
    }

    /// Removes an agent, and forgets what was held on it: recovering that later has no effect.
    pub fn remove_agent(&mut self, id: &AgentId) {
        let Some(agent) = self.agents.find(id) else { return };
        for (&client, held) in &self.agents[agent].held.clone() {
            self.unhold(agent, client, held);
            self.drop_client_if_done(client);
        }
        self.drop_agent_filters(agent);
        self.drop_maintenance(agent);
        self.idle.remove(&agent);
        self.held_back.remove(&agent);
        self.count_total(agent, &Resources::EMPTY);
        self.tree.change_totals(&self.agents[agent].amounts, &Amounts::default());
        self.agents.remove(id);
    }

    /// Lets an agent's resources be offered, after it has connected again.
    pub fn activate_agent(&mut self, id: &AgentId) {
        if let Some(agent) = self.agents.find(id)
            && !self.agents[agent].profile.active
        {
            self.agents[agent].profile.active = true;
            self.consider_agent(agent);
        }
    }

    /// Lets nothing of an agent be offered until it is activated.
    pub fn deactivate_agent(&mut self, id: &AgentId) {
        if let Some(agent) = self.agents.find(id) {
            self.agents[agent].profile.active = false;
            self.update_idle(agent);
        }
    }

    /// Books resources with allocation roles on the framework's clients.
    pub(super) fn track(&mut self, agent: AgentIndex, framework: FrameworkIndex, used: &Resources) {
        for (role, resources) in by_role(used) {
            let client = self.client(framework, &role);
            let charge = self.hold(agent, client, &resources);
            let quota = self.tree.quota(self.tree.client(client).role);
            let changed = self.quotas.charge(quota, &charge.counted());
            self.update_gates(changed);
        }
    }

    fn set_agent_profile(&mut self, agent: AgentIndex, profile: AgentProfile) {
        let total = amounts(&mut self.names, profile.total.iter());
        self.count_total(agent, &profile.total);
        let is_listed = self.is_listed(&profile);
        let entry = &mut self.agents[agent];
        entry.is_listed = is_listed;
        let old = std::mem::replace(&mut entry.amounts, total);
        entry.has_gpus = !profile.total.scalar("gpus").is_zero();
        entry.is_remote = match (&self.config.region, &profile.region) {
            (Some(own), Some(region)) => own != region,
            (Some(_) | None, None) | (None, Some(_)) => false,
        };
        let plan = profile.unavailability;
        let is_new_plan = entry.profile.unavailability != plan;
        entry.verdicts.clear();
        entry.profile = profile;
        self.tree.change_totals(&old, &self.agents[agent].amounts);
        if is_new_plan {
            self.plan_maintenance(agent, plan);
        }
        self.recompute_free(agent);
        self.consider_agent(agent);
    }

    fn drop_agent_filters(&mut self, agent: AgentIndex) {
        for client in self.agents[agent].refusals.clear() {
            self.filter_count -= 1;
            let entry = self.tree.client_mut(client);
            entry.filtered_count = entry.filtered_count.saturating_sub(1);
        }
    }
}
