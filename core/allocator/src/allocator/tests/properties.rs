//! Whatever happens, in whatever order: the allocator gives what the [`Reference`] gives.

use std::collections::BTreeMap;
use std::sync::Arc;

use proptest::prelude::*;
use protocol::scheduler;

use super::reference::{Reference, filter_end};
use super::*;
use crate::allocator::Attention;
use crate::roles::View;
use crate::{ConstraintLimits, OfferConstraints, Quota, SorterPolicy};

const ROLES: [&str; 6] = ["*", "a", "a/b", "a/b/c", "a/d", "e"];
const TOTALS: [&str; 6] = [
    "cpus:4;mem:400",
    "cpus:2;mem:800;ports:[1-10]",
    "cpus(a):2;cpus:1;mem:300",
    "cpus(a/b):1;mem(e):200;cpus:1",
    "cpus(a/b/c):1;cpus(a):1",
    "cpus:0.1;mem:10;disk:5",
];

/// Roles that get a quota, and guarantees with limits.
const QUOTA_ROLES: [&str; 2] = ["a", "e"];
const QUOTAS: [(&str, &str); 7] = [
    ("", ""),
    ("", "cpus:3;mem:500"),
    ("", "cpus:1"),
    ("", "cpus:0;mem:0;disk:0"),
    ("cpus:4", ""),
    ("cpus:2;mem:300", "cpus:4;mem:600"),
    ("mem:2000", "mem:2000"),
];

#[derive(Clone, Debug)]
pub(super) enum Step {
    SetFramework(usize, Vec<usize>, Vec<usize>, bool),
    RemoveFramework(usize),
    ActivateFramework(usize, bool),
    Suppress(usize, Vec<usize>),
    Revive(usize, Vec<usize>),
    SetAgent(usize, usize),
    RemoveAgent(usize),
    ActivateAgent(usize, bool),
    Recover(usize, bool, Option<u64>),
    Reserve(usize),
    ReserveFree(usize),
    Weight(usize, u32),
    Quota(usize, usize),
    Pass(u64),
    Allocate,
}

fn step() -> impl Strategy<Value = Step> {
    let roles = || proptest::collection::vec(0..ROLES.len(), 0..4);
    let refuse = proptest::option::weighted(0.7, 0..8_u64);
    prop_oneof![
        4 => (0..5_usize, roles(), roles(), any::<bool>())
            .prop_map(|(name, roles, suppressed, own)| Step::SetFramework(name, roles, suppressed, own)),
        1 => (0..5_usize).prop_map(Step::RemoveFramework),
        2 => (0..5_usize, any::<bool>()).prop_map(|(name, on)| Step::ActivateFramework(name, on)),
        1 => (0..5_usize, roles()).prop_map(|(name, roles)| Step::Suppress(name, roles)),
        2 => (0..5_usize, roles()).prop_map(|(name, roles)| Step::Revive(name, roles)),
        4 => (0..6_usize, 0..TOTALS.len()).prop_map(|(name, total)| Step::SetAgent(name, total)),
        1 => (0..6_usize).prop_map(Step::RemoveAgent),
        2 => (0..6_usize, any::<bool>()).prop_map(|(name, on)| Step::ActivateAgent(name, on)),
        8 => (0..100_usize, any::<bool>(), refuse)
            .prop_map(|(which, part, refuse)| Step::Recover(which, part, refuse)),
        1 => (0..100_usize).prop_map(Step::Reserve),
        1 => (0..6_usize).prop_map(Step::ReserveFree),
        1 => (0..ROLES.len(), 1..5_u32).prop_map(|(role, weight)| Step::Weight(role, weight)),
        2 => (0..2_usize, 0..QUOTAS.len()).prop_map(|(role, quota)| Step::Quota(role, quota)),
        2 => (0..4_u64).prop_map(Step::Pass),
        8 => Just(Step::Allocate),
    ]
}

pub(super) fn steps() -> impl Strategy<Value = Vec<Step>> {
    proptest::collection::vec(step(), 1..60)
}

fn chosen(roles: &[usize]) -> BTreeSet<String> {
    roles.iter().map(|&role| ROLES[role].to_owned()).collect()
}

/// Both allocators.
pub(super) struct Pair {
    pub(super) cluster: Cluster,
    reference: Reference,
}

impl Pair {
    pub(super) fn new(role_sorter: SorterPolicy) -> Self {
        let minimum = vec![quantities("cpus:0.5"), quantities("mem:100")];
        let config = Config {
            minimum_allocatable: minimum.clone(),
            role_sorter,
            framework_sorter: role_sorter,
            ..Config::default()
        };
        Self {
            cluster: Cluster::with_config(config),
            reference: Reference::new(minimum, role_sorter),
        }
    }

    fn set_framework(&mut self, name: &str, profile: &FrameworkProfile) {
        let id = framework(name);
        if self.reference.frameworks.contains_key(name) {
            self.cluster.allocator.update_framework(&id, profile.clone());
        } else {
            self.cluster.allocator.add_framework(&id, profile.clone(), &[]);
        }
        self.reference.set_framework(name, profile);
    }

    fn set_agent(&mut self, name: &str, profile: &AgentProfile) {
        if self.reference.agents.contains_key(name) {
            self.cluster.allocator.update_agent(&agent(name), profile.clone());
        } else {
            self.cluster.allocator.add_agent(&agent(name), profile.clone(), &[]);
        }
        self.reference.set_agent(name, profile);
    }

    fn holding(&self, which: usize) -> Option<(String, (String, String), Resources)> {
        let held = self.reference.held.iter();
        let (key, resources) = held.cycle().nth(which % self.reference.held.len().max(1))?;
        Some((key.0.clone(), key.1.clone(), resources.clone()))
    }

    fn recover(&mut self, which: usize, is_part: bool, refuse: Option<u64>) {
        let Some((on, client, held)) = self.holding(which) else { return };
        let part = held.filter(|resource| resource.name() == "cpus");
        let back = if is_part && !part.is_empty() { part } else { held };
        let refuse = refuse.map(Duration::from_secs);
        let now = self.cluster.now;
        self.cluster.allocator.recover_resources(
            now,
            &framework(&client.0),
            &agent(&on),
            &back.allocated_to(client.1.as_str()),
            refuse,
        );
        self.reference.unhold(&on, &client, &back);
        if let Some(refuse) = refuse {
            self.reference.refuse(&on, &client, &back, filter_end(now, refuse));
        }
        self.reference.forget();
    }

    /// The framework reserves the unreserved cpus that it holds.
    fn reserve(&mut self, which: usize) {
        let Some((on, client, held)) = self.holding(which) else { return };
        let is_free = |it: &resources::Resource| it.name() == "cpus" && it.is_unreserved();
        let old = held.filter(is_free);
        // What was lost to a smaller total cannot be reserved.
        let total = &self.reference.agents[&on].total;
        if old.is_empty() || client.1 == "*" || !total.contains(&old) {
            return;
        }
        let new = reserved(&old, &client.1);
        self.cluster.allocator.update_allocation(
            &framework(&client.0),
            &agent(&on),
            &old.allocated_to(client.1.as_str()),
            &new.allocated_to(client.1.as_str()),
        );
        self.reference.unhold(&on, &client, &old);
        self.reference.hold(&on, &client, &new);
        self.convert(&on, &old, &new);
    }

    /// The operator reserves the cpus of an agent that are free.
    fn reserve_free(&mut self, name: &str) {
        if !self.reference.agents.contains_key(name) {
            return;
        }
        let is_free = |it: &resources::Resource| it.name() == "cpus" && it.is_unreserved();
        let old = self.reference.free(name).filter(is_free);
        let new = reserved(&old, "e");
        self.cluster.allocator.update_available(&agent(name), &old, &new).unwrap();
        self.convert(name, &old, &new);
    }

    fn convert(&mut self, name: &str, old: &Resources, new: &Resources) {
        let profile = self.reference.agents.get_mut(name).unwrap();
        profile.total = profile.total.checked_sub(old).unwrap() + new;
    }

    pub(super) fn take(&mut self, step: &Step) -> Result<Vec<Allocation>, TestCaseError> {
        let allocator = &mut self.cluster.allocator;
        match step {
            Step::SetFramework(name, roles, suppressed, own_minimum) => {
                let mut profile = FrameworkProfile {
                    roles: chosen(roles),
                    suppressed_roles: chosen(suppressed),
                    ..in_roles(&[])
                };
                if *own_minimum {
                    profile.minimum_allocatable.insert("a".to_owned(), vec![quantities("mem:10")]);
                }
                if *name == 3 {
                    profile.constraints = choosy();
                }
                self.set_framework(&format!("F{name}"), &profile);
            }
            Step::RemoveFramework(name) => {
                let name = format!("F{name}");
                allocator.remove_framework(&framework(&name));
                self.reference.remove_framework(&name);
            }
            Step::ActivateFramework(name, on) => {
                let name = format!("F{name}");
                let id = framework(&name);
                if *on {
                    allocator.activate_framework(&id);
                } else {
                    allocator.deactivate_framework(&id);
                }
                self.reference.set_framework_active(&name, *on);
            }
            Step::Suppress(name, roles) => {
                let name = format!("F{name}");
                allocator.suppress_offers(&framework(&name), &chosen(roles));
                self.reference.suppress(&name, &chosen(roles));
            }
            Step::Revive(name, roles) => {
                let name = format!("F{name}");
                allocator.revive_offers(&framework(&name), &chosen(roles));
                self.reference.revive(&name, &chosen(roles));
            }
            Step::SetAgent(name, total) => {
                let name = format!("A{name}");
                let profile =
                    AgentProfile { hostname: name.as_str().into(), ..with(TOTALS[*total]) };
                self.set_agent(&name, &profile);
            }
            Step::RemoveAgent(name) => {
                let name = format!("A{name}");
                allocator.remove_agent(&agent(&name));
                self.reference.remove_agent(&name);
            }
            Step::ActivateAgent(name, on) => self.activate_agent(&format!("A{name}"), *on),
            Step::Recover(which, part, refuse) => self.recover(*which, *part, *refuse),
            Step::Reserve(which) => self.reserve(*which),
            Step::ReserveFree(name) => self.reserve_free(&format!("A{name}")),
            Step::Weight(role, weight) => {
                let weight = f64::from(*weight);
                allocator.update_weights(&[(ROLES[*role].to_owned(), weight)]);
                self.reference.set_weight(ROLES[*role], weight);
            }
            Step::Quota(role, quota) => self.set_quota(QUOTA_ROLES[*role], QUOTAS[*quota]),
            Step::Pass(seconds) => self.cluster.pass(*seconds),
            Step::Allocate => return self.allocate(),
        }
        Ok(Vec::new())
    }

    fn set_quota(&mut self, role: &str, (guarantees, limits): (&str, &str)) {
        let quota =
            Quota { guarantees: guarantees.parse().unwrap(), limits: limits.parse().unwrap() };
        self.cluster.allocator.set_quota(role, quota.clone());
        if quota == Quota::default() {
            self.reference.quotas.remove(role);
        } else {
            self.reference.quotas.insert(role.to_owned(), quota);
        }
    }

    fn activate_agent(&mut self, name: &str, on: bool) {
        if on {
            self.cluster.allocator.activate_agent(&agent(name));
        } else {
            self.cluster.allocator.deactivate_agent(&agent(name));
        }
        if let Some(profile) = self.reference.agents.get_mut(name) {
            profile.active = on;
        }
    }

    fn allocate(&mut self) -> Result<Vec<Allocation>, TestCaseError> {
        let now = self.cluster.now;
        let mut agents: Vec<String> = self.reference.agents.keys().cloned().collect();
        let allocator = &mut self.cluster.allocator;
        allocator.expire(now);
        let has_fresh = !allocator.tree.is_empty(View::Fresh);
        agents.sort_by_key(|name| {
            let agent = allocator.agents.find(&agent(name)).unwrap();
            (!has_fresh && allocator.agents[agent].attention == Attention::Nobody, agent)
        });
        for it in &self.cluster.allocator.clone().allocate(now) {
            let client = (it.framework.value.clone(), it.role.to_string());
            let offer = it.resources.unallocated();
            prop_assert!(self.reference.is_active(&client));
            prop_assert!(self.reference.agents[&it.agent.value].active);
            prop_assert!(!self.reference.is_filtered(&client, &it.agent.value, &offer, now));
            let amounts = offer.quantities();
            prop_assert!(self.reference.minimum(&client).iter().any(|it| amounts.contains(it)));
            prop_assert!(offer.iter().all(|resource| resource.is_allocatable_to(&it.role)));
        }
        match self.reference.role_sorter {
            SorterPolicy::Drf | SorterPolicy::Priority => {}
            SorterPolicy::Random => return Ok(self.follow()),
        }
        let expected = self.reference.allocate(now, &agents);
        let before = QUOTA_ROLES.map(|role| self.cluster.allocator.quota_consumed(role));
        let allocations = self.cluster.allocate_whole();
        for (role, before) in QUOTA_ROLES.into_iter().zip(before) {
            let after = self.cluster.allocator.quota_consumed(role);
            let Some(quota) = self.reference.quotas.get(role) else { continue };
            for (name, limit) in quota.limits.iter() {
                prop_assert!(after.get(name) <= limit.max(before.get(name)), "{role} {after}");
            }
        }
        let actual: BTreeMap<_, _> = allocations
            .iter()
            .map(|it| {
                let client = (it.framework.value.clone(), it.role.to_string());
                ((it.agent.value.clone(), client), it.resources.unallocated())
            })
            .collect();
        prop_assert_eq!(actual.len(), allocations.len());
        prop_assert_eq!(actual, expected);
        prop_assert!(!self.cluster.allocator.needs_allocation());
        Ok(allocations)
    }

    /// Runs a cycle whose outcome nobody can tell beforehand.
    fn follow(&mut self) -> Vec<Allocation> {
        let allocations = self.cluster.allocate_whole();
        for it in &allocations {
            let client = (it.framework.value.clone(), it.role.to_string());
            self.reference.hold(&it.agent.value, &client, &it.resources.unallocated());
        }
        allocations
    }

    /// Nothing is lost, nothing is held twice.
    pub(super) fn check_conservation(&self) -> Result<(), TestCaseError> {
        for (name, profile) in &self.reference.agents {
            let allocator = &self.cluster.allocator;
            let free = allocator.available(&agent(name)).unwrap();
            prop_assert_eq!(&free, &self.reference.free(name));
            let ids = ["F0", "F1", "F2", "F3", "F4"].map(framework);
            let held = ids.iter().map(|id| allocator.allocated(&agent(name), id));
            let held = held.sum::<Resources>().unallocated();
            if profile.total.contains(&held) {
                prop_assert_eq!(held + &free, profile.total.clone());
            }
        }
        for role in QUOTA_ROLES {
            let consumed = self.cluster.allocator.quota_consumed(role);
            prop_assert_eq!(consumed, self.reference.consumed(role));
        }
        Ok(())
    }
}

/// Constraints of one framework, in some of its roles.
fn choosy() -> BTreeMap<String, Arc<OfferConstraints>> {
    const WIRE: &str = r#"{"role_constraints": {"a/b": {"groups": [{"attribute_constraints": [
        {"selector": {"pseudoattribute_type": "HOSTNAME"},
         "predicate": {"text_matches": {"regex": "A[0-2]"}}}]}]}}}"#;
    let wire = scheduler::OfferConstraints::from_json(WIRE.as_bytes(), protocol::Names::V1);
    OfferConstraints::compile(&wire.unwrap(), &ConstraintLimits::default()).unwrap()
}

fn reserved(resources: &Resources, role: &str) -> Resources {
    resources.push_reservation(&resources::Reservation::dynamic(role, None)).unwrap()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 512, ..ProptestConfig::default() })]

    #[test]
    fn incremental_cycles_give_what_complete_ones_would(
        steps in steps(),
        policy in prop_oneof![Just(SorterPolicy::Drf), Just(SorterPolicy::Priority)],
    ) {
        let mut pair = Pair::new(policy);
        for step in &steps {
            pair.take(step)?;
            pair.check_conservation()?;
        }
        pair.allocate()?;
        pair.check_conservation()?;
    }

    #[test]
    fn the_same_calls_give_the_same_allocations(
        steps in steps(),
        policy in prop_oneof![Just(SorterPolicy::Drf), Just(SorterPolicy::Priority)],
    ) {
        let (mut first, mut second) = (Pair::new(policy), Pair::new(policy));
        for step in &steps {
            prop_assert_eq!(first.take(step)?, second.take(step)?);
        }
    }

    /// Whoever is below its guarantee and refuses nothing leaves none of what it misses to others.
    #[test]
    fn guarantees_are_met_while_there_are_resources(
        totals in proptest::collection::vec((1..5_u32, 1..5_u32), 1..8),
        guarantees in proptest::collection::vec((0..9_u32, 0..9_u32), 3),
        is_late in any::<bool>(),
    ) {
        let mut cluster = Cluster::new();
        let roles = ["a", "b", "c"];
        for (role, (cpus, mem)) in roles.into_iter().zip(&guarantees) {
            let guarantees = quantities(&format!("cpus:{cpus};mem:{mem}"));
            cluster.allocator.set_quota(role, Quota { guarantees, ..Quota::default() });
        }
        cluster.add_framework("other", &["d"]);
        for (number, (cpus, mem)) in totals.iter().enumerate() {
            cluster.add_agent(&format!("A{number}"), &format!("cpus:{cpus};mem:{mem}"));
        }
        if is_late {
            cluster.allocate();
        }
        for role in roles {
            cluster.add_framework(role, &[role]);
        }
        cluster.allocate();
        let free: Resources = (0..totals.len())
            .map(|number| cluster.allocator.available(&agent(&format!("A{number}"))).unwrap())
            .sum();
        let all: u32 = totals.iter().map(|(cpus, _)| cpus).sum();
        let guaranteed: u32 = guarantees.iter().map(|(cpus, _)| cpus).sum();
        for (role, (cpus, mem)) in roles.into_iter().zip(&guarantees) {
            let wanted = quantities(&format!("cpus:{cpus};mem:{mem}"));
            let missing = wanted.saturating_sub(&cluster.allocator.quota_consumed(role));
            for (name, amount) in missing.iter() {
                prop_assert!(free.scalar(name).is_zero(), "{role} misses {amount} of {name}");
            }
            // What was held back is there for those who come later.
            prop_assert!(all < guaranteed || missing.get("cpus").is_zero());
        }
    }

    /// With equal demands and weights nobody gets more than one agent more than another.
    #[test]
    fn nobody_envies_anybody_by_more_than_one_agent(
        frameworks in 1..12_usize,
        agents in 0..60_usize,
        freed in proptest::collection::vec(0..60_usize, 0..40),
    ) {
        let mut cluster = Cluster::new();
        for number in 0..frameworks {
            cluster.add_framework(&format!("F{number}"), &["*"]);
        }
        for number in 0..agents {
            cluster.add_agent(&format!("A{number}"), "cpus:2;mem:200");
        }
        let mut owners: BTreeMap<String, String> = BTreeMap::new();
        let freed = freed.iter().map(|number| Some(format!("A{number}")));
        for on in std::iter::once(None).chain(freed) {
            if let Some(on) = on
                && let Some(owner) = owners.remove(&on)
            {
                cluster.decline(&owner, &on, None);
            }
            for it in cluster.allocate_whole() {
                owners.insert(it.agent.value.clone(), it.framework.value.clone());
            }
            let count = |number| {
                let name = format!("F{number}");
                owners.values().filter(|owner| **owner == name).count()
            };
            let counts: Vec<usize> = (0..frameworks).map(count).collect();
            prop_assert_eq!(owners.len(), agents);
            prop_assert!(counts.iter().max().unwrap() - counts.iter().min().unwrap() <= 1);
        }
    }
}
