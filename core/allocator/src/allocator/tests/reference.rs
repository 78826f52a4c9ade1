//! An allocator that keeps plain lists and computes everything anew in each cycle.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use resources::{Quantities, Quantity, Resource, Resources, role};

use super::*;
use crate::{Quota, SorterPolicy};

/// Framework, role.
type Client = (String, String);

#[derive(Debug, Default)]
pub(super) struct Reference {
    minimum: Vec<Quantities>,
    pub(super) role_sorter: SorterPolicy,
    pub(super) frameworks: BTreeMap<String, FrameworkProfile>,
    pub(super) agents: BTreeMap<String, AgentProfile>,
    /// What each client holds, by agent, without allocation roles.
    pub(super) held: BTreeMap<(String, Client), Resources>,
    weights: BTreeMap<String, f64>,
    pub(super) quotas: BTreeMap<String, Quota>,
    filters: Vec<Filter>,
    /// How often each client was served, then each role by itself, then each role with all below it.
    counts: [BTreeMap<Client, u64>; 3],
}

#[derive(Debug)]
struct Filter {
    client: Client,
    agent: String,
    refused: Resources,
    until: Timestamp,
}

/// Level of priority, share, allocations, name.
type Rank = (f64, f64, u64, String);

fn compare(left: &Rank, right: &Rank) -> std::cmp::Ordering {
    let levels = left.0.total_cmp(&right.0);
    let shares = || left.1.total_cmp(&right.1);
    levels.then_with(shares).then_with(|| (left.2, &left.3).cmp(&(right.2, &right.3)))
}

impl Reference {
    pub(super) fn new(minimum: Vec<Quantities>, role_sorter: SorterPolicy) -> Self {
        Self { minimum, role_sorter, ..Self::default() }
    }

    pub(super) fn set_framework(&mut self, name: &str, profile: &FrameworkProfile) {
        if let Some(old) = self.frameworks.insert(name.to_owned(), profile.clone()) {
            let is_cleared = |role: &String| {
                !profile.roles.contains(role)
                    || old.suppressed_roles.contains(role)
                        && !profile.suppressed_roles.contains(role)
            };
            self.filters.retain(|it| it.client.0 != name || !is_cleared(&it.client.1));
        }
        self.forget();
    }

    pub(super) fn remove_framework(&mut self, name: &str) {
        self.frameworks.remove(name);
        self.held.retain(|(_, (framework, _)), _| framework != name);
        self.filters.retain(|it| it.client.0 != name);
        self.forget();
    }

    pub(super) fn set_framework_active(&mut self, name: &str, active: bool) {
        if let Some(profile) = self.frameworks.get_mut(name) {
            profile.active = active;
            if !active {
                self.filters.retain(|it| it.client.0 != name);
            }
        }
    }

    pub(super) fn suppress(&mut self, name: &str, roles: &BTreeSet<String>) {
        if let Some(profile) = self.frameworks.get_mut(name) {
            let wanted = profile.roles.iter().filter(|it| roles.is_empty() || roles.contains(*it));
            profile.suppressed_roles.extend(wanted.cloned().collect::<Vec<_>>());
        }
    }

    pub(super) fn revive(&mut self, name: &str, roles: &BTreeSet<String>) {
        if let Some(profile) = self.frameworks.get_mut(name) {
            let is_wanted = |it: &String| {
                profile.roles.contains(it) && (roles.is_empty() || roles.contains(it))
            };
            self.filters.retain(|it| it.client.0 != name || !is_wanted(&it.client.1));
            let wanted: BTreeSet<String> =
                profile.roles.iter().filter(|it| is_wanted(it)).cloned().collect();
            profile.suppressed_roles.retain(|it| !wanted.contains(it));
        }
    }

    pub(super) fn set_weight(&mut self, role: &str, weight: f64) {
        self.weights.insert(role.to_owned(), weight);
    }

    pub(super) fn set_agent(&mut self, name: &str, profile: &AgentProfile) {
        let old = self.agents.insert(name.to_owned(), profile.clone());
        if old.is_some_and(|old| old.total != profile.total) {
            self.filters.retain(|it| it.agent != name);
        }
    }

    pub(super) fn remove_agent(&mut self, name: &str) {
        self.agents.remove(name);
        self.held.retain(|(agent, _), _| agent != name);
        self.filters.retain(|it| it.agent != name);
        self.forget();
    }

    pub(super) fn hold(&mut self, agent: &str, client: &Client, resources: &Resources) {
        *self.held.entry((agent.to_owned(), client.clone())).or_default() += resources;
        *self.counts[0].entry(client.clone()).or_default() += 1;
        let role = |role: &str| (String::new(), role.to_owned());
        *self.counts[1].entry(role(&client.1)).or_default() += 1;
        *self.counts[2].entry(role(&client.1)).or_default() += 1;
        for ancestor in role::ancestors(&client.1) {
            *self.counts[2].entry(role(ancestor)).or_default() += 1;
        }
    }

    pub(super) fn unhold(&mut self, agent: &str, client: &Client, resources: &Resources) {
        let key = (agent.to_owned(), client.clone());
        let rest = self.held[&key].checked_sub(resources).unwrap();
        if rest.is_empty() {
            self.held.remove(&key);
        } else {
            self.held.insert(key, rest);
        }
    }

    pub(super) fn refuse(
        &mut self,
        agent: &str,
        client: &Client,
        refused: &Resources,
        until: Timestamp,
    ) {
        let profile = self.frameworks.get(&client.0);
        if profile.is_some_and(|profile| profile.roles.contains(&client.1)) {
            self.filters.push(Filter {
                client: client.clone(),
                agent: agent.to_owned(),
                refused: refused.clone(),
                until,
            });
        }
    }

    /// Forgets how often clients and roles were served that are there no more.
    pub(super) fn forget(&mut self) {
        let clients = self.clients();
        let is_live = |role: &str| clients.iter().any(|it| role::is_in_subtree_of(&it.1, role));
        self.counts[0].retain(|client, _| clients.contains(client));
        for counts in &mut self.counts[1..] {
            counts.retain(|(_, role), _| is_live(role));
        }
    }

    fn clients(&self) -> BTreeSet<Client> {
        let subscribed = self.frameworks.iter().flat_map(|(name, profile)| {
            profile.roles.iter().map(|role| (name.clone(), role.clone()))
        });
        subscribed.chain(self.held.keys().map(|(_, client)| client.clone())).collect()
    }

    pub(super) fn free(&self, agent: &str) -> Resources {
        let held = self.held.iter().filter(|((on, _), _)| on == agent);
        let held: Resources = held.map(|(_, resources)| resources).sum();
        self.agents[agent].total.saturating_sub(&held)
    }

    fn share(&self, weight: f64, is_counted: impl Fn(&Client) -> bool) -> f64 {
        let total: Resources = self.agents.values().map(|profile| &profile.total).sum();
        let total = total.scalar_quantities();
        let held = self.held.iter().filter(|((_, client), _)| is_counted(client));
        let held: Resources = held.map(|(_, resources)| resources).sum();
        let shares = held.scalar_quantities();
        let shares = shares.iter().filter(|(name, _)| !total.get(name).is_zero()).map(
            #[expect(clippy::cast_precision_loss, reason = "the amounts of tests are small")]
            |(name, amount)| amount.thousandths() as f64 / total.get(name).thousandths() as f64,
        );
        shares.fold(0.0, f64::max) / weight
    }

    fn count(&self, kind: usize, client: &Client) -> u64 {
        self.counts[kind].get(client).copied().unwrap_or(0)
    }

    /// Active clients in the order in which they are served.
    fn order(&self) -> Vec<Client> {
        let clients: Vec<Client> =
            self.clients().into_iter().filter(|it| self.is_active(it)).collect();
        self.order_below("", &clients)
    }

    fn order_below(&self, role: &str, clients: &[Client]) -> Vec<Client> {
        let mut groups: Vec<(Rank, Vec<Client>)> = Vec::new();
        let mut own: Vec<(Rank, Client)> = Vec::new();
        let mut children = BTreeSet::new();
        for client in clients {
            if client.1 == role {
                let share = self.share(1.0, |it| it == client);
                own.push(((0.0, share, self.count(0, client), client.0.clone()), client.clone()));
            } else {
                let rest =
                    if role.is_empty() { &client.1[..] } else { &client.1[role.len() + 1..] };
                let end = client.1.len() - rest.len() + rest.find('/').unwrap_or(rest.len());
                children.insert(client.1[..end].to_owned());
            }
        }
        if !own.is_empty() {
            own.sort_by(|left, right| compare(&left.0, &right.0));
            let share = self.share(1.0, |it| it.1 == role);
            let count = self.count(1, &(String::new(), role.to_owned()));
            let own = own.into_iter().map(|(_, client)| client).collect();
            let (level, share) = self.place(share, 1.0);
            groups.push(((level, share, count, ".".to_owned()), own));
        }
        for child in children {
            let weight = self.weights.get(&child).copied().unwrap_or(1.0);
            let share = self.share(1.0, |it| role::is_in_subtree_of(&it.1, &child));
            let (level, share) = self.place(share, weight);
            let count = self.count(2, &(String::new(), child.clone()));
            let below: Vec<Client> = clients
                .iter()
                .filter(|it| role::is_in_subtree_of(&it.1, &child))
                .cloned()
                .collect();
            let name = child.rsplit('/').next().unwrap().to_owned();
            groups.push(((level, share, count, name), self.order_below(&child, &below)));
        }
        groups.sort_by(|left, right| compare(&left.0, &right.0));
        groups.into_iter().flat_map(|(_, clients)| clients).collect()
    }

    /// Level and share of a role of this weight.
    fn place(&self, share: f64, weight: f64) -> (f64, f64) {
        match self.role_sorter {
            SorterPolicy::Drf => (0.0, share / weight),
            SorterPolicy::Priority => (-weight, share),
            SorterPolicy::Random => unreachable!("its order cannot be told beforehand"),
        }
    }

    pub(super) fn is_active(&self, client: &Client) -> bool {
        self.frameworks.get(&client.0).is_some_and(|profile| {
            profile.active
                && profile.roles.contains(&client.1)
                && !profile.suppressed_roles.contains(&client.1)
        })
    }

    pub(super) fn is_filtered(
        &self,
        client: &Client,
        agent: &str,
        offer: &Resources,
        now: Timestamp,
    ) -> bool {
        self.filters.iter().any(|it| {
            it.client == *client
                && it.agent == agent
                && it.until > now
                && it.refused.contains(offer)
        })
    }

    pub(super) fn minimum(&self, client: &Client) -> &[Quantities] {
        self.frameworks[&client.0].minimum_allocatable.get(&client.1).unwrap_or(&self.minimum)
    }

    fn wants(&self, client: &Client, agent: &str, offer: &Resources, now: Timestamp) -> bool {
        let minimum = self.minimum(client);
        let amounts = offer.quantities();
        let constraints = self.frameworks[&client.0].constraints.get(&client.1);
        !offer.is_empty()
            && constraints.is_none_or(|it| it.admit(&self.agents[agent]))
            && (minimum.is_empty() || minimum.iter().any(|it| amounts.contains(it)))
            && !self.is_filtered(client, agent, offer, now)
    }

    /// A cycle over all agents in this order.
    pub(super) fn allocate(
        &mut self,
        now: Timestamp,
        agents: &[String],
    ) -> BTreeMap<(String, Client), Resources> {
        let mut allocations: BTreeMap<(String, Client), Resources> = BTreeMap::new();
        let agents: Vec<&String> = agents.iter().filter(|it| self.agents[*it].active).collect();
        for is_guarantee_stage in [true, false] {
            for &agent in &agents {
                for client in self.order() {
                    let left = self.free(agent).allocatable_to(&client.1);
                    let offer = self.restrained(&client, &left, is_guarantee_stage);
                    if self.wants(&client, agent, &offer, now) {
                        self.hold(agent, &client, &offer);
                        *allocations.entry((agent.clone(), client)).or_default() += offer;
                    }
                }
            }
        }
        allocations
    }

    /// What a role consumes of its quota, and those below it.
    pub(super) fn consumed(&self, role: &str) -> Quantities {
        let is_below = |other: &str| role::is_in_subtree_of(other, role);
        let held = self.held.iter().filter(|((_, client), _)| is_below(&client.1));
        let held: Resources = held.map(|(_, resources)| resources.unreserved()).sum();
        let totals = self.agents.values().map(|it| it.total.reserved_to_subtree(role));
        held.scalar_quantities() + &totals.sum::<Resources>().scalar_quantities()
    }

    fn missing(&self, role: &str, name: &str) -> Quantity {
        let quota = &self.quotas[role];
        let guarantee = quota.guarantees.get(name);
        let guarantee = quota.limits.get(name).map_or(guarantee, |limit| limit.min(guarantee));
        guarantee.saturating_sub(self.consumed(role).get(name))
    }

    /// What a framework may have of what is left of an agent.
    fn restrained(&self, client: &Client, left: &Resources, is_guarantee_stage: bool) -> Resources {
        let role = client.1.split('/').next().unwrap();
        let quota = self.quotas.get(role);
        let unreserved = left.unreserved().scalar_quantities();
        let is_missing = |name| !self.missing(role, name).is_zero();
        if is_guarantee_stage
            && !(quota.is_some() && unreserved.iter().any(|(name, _)| is_missing(name)))
        {
            return Resources::EMPTY;
        }
        let part = |resource: &Resource| {
            let name = resource.name();
            if resource.is_reserved() || resource.value().scalar().is_none() {
                return Some(resource.clone());
            }
            let mut most = self.surplus(name);
            if let Some(quota) = quota {
                if is_guarantee_stage {
                    most = most.map(|most| most + self.missing(role, name));
                }
                let room = quota.limits.get(name);
                let room = room.map(|limit| limit.saturating_sub(self.consumed(role).get(name)));
                most = most.into_iter().chain(room).min();
            }
            most.map_or_else(|| Some(resource.clone()), |most| resource.shrunk_to(most))
        };
        left.iter().filter_map(part).collect()
    }

    /// What is free beyond what has to be held back for guarantees; `None`: everything.
    fn surplus(&self, name: &str) -> Option<Quantity> {
        let missing: Quantity = self.quotas.keys().map(|role| self.missing(role, name)).sum();
        if missing.is_zero() {
            return None;
        }
        let amount = |resources: Resources| resources.unreserved().scalar(name);
        let total = amount(self.agents.values().map(|it| &it.total).sum());
        let held = amount(self.held.values().sum());
        Some(total.saturating_sub(held).saturating_sub(missing))
    }
}

pub(super) fn filter_end(now: Timestamp, refuse: Duration) -> Timestamp {
    now + refuse.max(Duration::from_secs(1)).min(REFUSE_MAX)
}
