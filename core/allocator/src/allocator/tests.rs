use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use protocol::Message;
use protocol::mesos::{AgentId, FrameworkId};
use protocol::time::Timestamp;
use resources::{Quantities, Resources};

use crate::{
    AgentCapabilities, AgentProfile, Allocation, Allocator, Config, FrameworkCapabilities,
    FrameworkProfile, REFUSE_MAX,
};

mod constraints;
mod explanations;
mod fairness;
mod maintenance;
mod policies;
mod properties;
mod quota;
mod reference;

const NOW: Timestamp = Timestamp::from_secs(1_000);

fn framework(name: &str) -> FrameworkId {
    FrameworkId { value: name.to_owned(), ..Default::default() }
}

fn agent(name: &str) -> Arc<AgentId> {
    Arc::new(AgentId { value: name.to_owned(), ..Default::default() })
}

fn resources(text: &str) -> Resources {
    Resources::parse(text, "*").unwrap()
}

fn names(names: &[&str]) -> BTreeSet<String> {
    names.iter().map(|&name| name.to_owned()).collect()
}

fn quantities(text: &str) -> Quantities {
    text.parse().unwrap()
}

fn in_roles(roles: &[&str]) -> FrameworkProfile {
    let capabilities = FrameworkCapabilities { multi_role: true, ..Default::default() };
    FrameworkProfile { roles: names(roles), capabilities, active: true, ..Default::default() }
}

fn with(total: &str) -> AgentProfile {
    let capabilities = AgentCapabilities { multi_role: true, hierarchical_role: true };
    AgentProfile { total: resources(total), capabilities, active: true, ..AgentProfile::default() }
}

/// An allocator and the time.
struct Cluster {
    allocator: Allocator,
    now: Timestamp,
}

impl Cluster {
    fn new() -> Self {
        Self::with_config(Config::default())
    }

    fn with_config(config: Config) -> Self {
        Self { allocator: Allocator::new(config), now: NOW }
    }

    fn add_framework(&mut self, name: &str, roles: &[&str]) {
        self.allocator.add_framework(&framework(name), in_roles(roles), &[]);
    }

    fn add_agent(&mut self, name: &str, total: &str) {
        self.allocator.add_agent(&agent(name), with(total), &[]);
    }

    fn pass(&mut self, seconds: u64) {
        self.now += Duration::from_secs(seconds);
    }

    /// Runs a cycle; gives `framework role agent` of each allocation.
    fn allocate(&mut self) -> Vec<String> {
        let text =
            |it: &Allocation| format!("{} {} {}", it.framework.value, it.role, it.agent.value);
        self.allocate_whole().iter().map(text).collect()
    }

    fn allocate_whole(&mut self) -> Vec<Allocation> {
        self.allocator.allocate(self.now)
    }

    /// Gives back all that a framework holds on an agent.
    fn decline(&mut self, name: &str, on: &str, refuse: Option<u64>) {
        let held = self.allocator.allocated(&agent(on), &framework(name));
        assert!(!held.is_empty(), "{name} holds nothing on {on}");
        let refuse = refuse.map(Duration::from_secs);
        self.allocator.recover_resources(self.now, &framework(name), &agent(on), &held, refuse);
    }
}

#[test]
fn everything_free_on_an_agent_goes_in_one_allocation() {
    let mut cluster = Cluster::new();
    cluster.add_framework("F1", &["dev"]);
    cluster.add_agent("A1", "cpus:4;mem:1024;ports:[31000-32000];cpus(dev):2;cpus(other):1");
    let allocations = cluster.allocate_whole();
    assert_eq!(allocations.len(), 1);
    let expected = resources("cpus:4;mem:1024;ports:[31000-32000];cpus(dev):2");
    assert_eq!(allocations[0].resources, expected.allocated_to("dev"));
    assert_eq!(allocations[0].role, "dev".into());
    assert_eq!(cluster.allocator.available(&agent("A1")), Some(resources("cpus(other):1")));
    assert!(!cluster.allocator.needs_allocation());
    assert_eq!(cluster.allocate(), Vec::<String>::new());
}

/// The example of Mesos' architecture page: what the first framework leaves goes to the second.
#[test]
fn what_a_framework_does_not_use_goes_to_the_next() {
    let mut cluster = Cluster::new();
    cluster.add_framework("F1", &["*"]);
    cluster.add_framework("F2", &["*"]);
    cluster.add_agent("A1", "cpus:4;mem:4096");
    assert_eq!(cluster.allocate(), ["F1 * A1"]);
    let rest = resources("cpus:1;mem:1024").allocated_to("*");
    cluster.allocator.recover_resources(
        cluster.now,
        &framework("F1"),
        &agent("A1"),
        &rest,
        Some(Duration::from_secs(5)),
    );
    let allocations = cluster.allocate_whole();
    assert_eq!(allocations.len(), 1);
    assert_eq!(*allocations[0].framework, framework("F2"));
    assert_eq!(allocations[0].resources, rest);
}

#[test]
fn roles_share_before_frameworks_do() {
    let mut cluster = Cluster::new();
    cluster.add_framework("F1", &["a"]);
    cluster.add_framework("F2", &["a"]);
    cluster.add_framework("F3", &["b"]);
    for number in 0..4 {
        cluster.add_agent(&format!("A{number}"), "cpus:1;mem:1024");
    }
    assert_eq!(cluster.allocate(), ["F1 a A0", "F3 b A1", "F2 a A2", "F3 b A3"]);
}

#[test]
fn weights_give_proportional_parts() {
    let mut cluster = Cluster::new();
    cluster.allocator.update_weights(&[("b".to_owned(), 3.0), ("a".to_owned(), f64::NAN)]);
    cluster.add_framework("F1", &["a"]);
    cluster.add_framework("F2", &["b"]);
    for number in 0..8 {
        cluster.add_agent(&format!("A{number}"), "cpus:1;mem:1024");
    }
    let allocations = cluster.allocate();
    assert_eq!(allocations.iter().filter(|it| it.starts_with("F2")).count(), 6);
}

#[test]
fn a_new_framework_gets_what_is_idle() {
    let mut cluster = Cluster::new();
    cluster.add_agent("A1", "cpus:1;mem:1024");
    assert!(cluster.allocate().is_empty());
    assert!(!cluster.allocator.needs_allocation());
    cluster.add_framework("F1", &["*"]);
    assert!(cluster.allocator.needs_allocation());
    assert_eq!(cluster.allocate(), ["F1 * A1"]);
}

#[test]
fn a_filter_holds_for_its_time() {
    let mut cluster = Cluster::new();
    cluster.add_framework("F1", &["*"]);
    cluster.add_agent("A1", "cpus:1;mem:1024");
    assert_eq!(cluster.allocate(), ["F1 * A1"]);
    cluster.decline("F1", "A1", Some(5));
    assert_eq!(cluster.allocator.filter_count(), 1);
    assert!(cluster.allocate().is_empty());
    assert_eq!(cluster.allocator.next_expiry(), Some(cluster.now + Duration::from_secs(5)));
    cluster.pass(4);
    assert!(cluster.allocate().is_empty());
    cluster.pass(1);
    assert_eq!(cluster.allocate(), ["F1 * A1"]);
    assert_eq!(cluster.allocator.filter_count(), 0);
    assert_eq!(cluster.allocator.next_expiry(), None);
}

#[test]
fn a_filter_lasts_an_interval_at_least_and_a_year_at_most() {
    for (refuse, lasts) in [(0, 1), (u64::MAX, REFUSE_MAX.as_secs())] {
        let mut cluster = Cluster::new();
        cluster.add_framework("F1", &["*"]);
        cluster.add_agent("A1", "cpus:1;mem:1024");
        cluster.allocate();
        cluster.decline("F1", "A1", Some(refuse));
        assert!(cluster.allocate().is_empty());
        assert_eq!(cluster.allocator.next_expiry(), Some(cluster.now + Duration::from_secs(lasts)));
    }
}

#[test]
fn a_filter_lets_more_than_was_refused_pass_but_not_less() {
    let mut cluster = Cluster::new();
    cluster.add_framework("F1", &["*"]);
    cluster.add_agent("A1", "cpus:4;mem:1024");
    cluster.allocate();
    let (some, rest) = (resources("cpus:1;mem:512"), resources("cpus:3;mem:512"));
    let give_back = |cluster: &mut Cluster, what: &Resources, refuse| {
        let what = what.allocated_to("*");
        cluster.allocator.recover_resources(NOW, &framework("F1"), &agent("A1"), &what, refuse);
        cluster.allocate()
    };
    assert!(give_back(&mut cluster, &some, Some(Duration::from_secs(60))).is_empty());
    // A task has ended: now there is more than it has refused.
    assert_eq!(give_back(&mut cluster, &rest, None), ["F1 * A1"]);
    let all = resources("cpus:4;mem:1024");
    assert!(give_back(&mut cluster, &all, Some(Duration::from_secs(60))).is_empty());
    let mut less = with("cpus:4;mem:1024");
    less.active = false;
    cluster.allocator.update_agent(&agent("A1"), less.clone());
    less.active = true;
    cluster.allocator.update_agent(&agent("A1"), less);
    assert!(cluster.allocate().is_empty(), "the filter outlives a disconnection");
    let attributes = resources::Attributes::parse("rack:r1").unwrap().to_wire();
    let described = AgentProfile { attributes: attributes.into(), ..with("cpus:4;mem:1024") };
    cluster.allocator.update_agent(&agent("A1"), described);
    assert_eq!(cluster.allocate(), ["F1 * A1"], "changed attributes clear it");
    cluster.decline("F1", "A1", Some(60));
    cluster.allocator.update_agent(&agent("A1"), with("cpus:3;mem:1024"));
    assert_eq!(cluster.allocate(), ["F1 * A1"], "a changed total clears it");
}

#[test]
fn a_filter_is_for_one_role() {
    let mut cluster = Cluster::new();
    cluster.add_framework("F1", &["a", "b"]);
    cluster.add_agent("A1", "cpus:1;mem:1024");
    assert_eq!(cluster.allocate(), ["F1 a A1"]);
    cluster.decline("F1", "A1", Some(5));
    assert_eq!(cluster.allocate(), ["F1 b A1"]);
}

#[test]
fn reviving_clears_filters_and_suppression() {
    let mut cluster = Cluster::new();
    cluster.add_framework("F1", &["a", "b"]);
    cluster.add_agent("A1", "cpus:1;mem:1024");
    cluster.allocator.suppress_offers(&framework("F1"), &names(&["b"]));
    assert_eq!(cluster.allocate(), ["F1 a A1"]);
    cluster.decline("F1", "A1", Some(60));
    assert!(cluster.allocate().is_empty());
    cluster.allocator.revive_offers(&framework("F1"), &names(&["b"]));
    assert_eq!(cluster.allocate(), ["F1 b A1"]);
    cluster.decline("F1", "A1", Some(60));
    cluster.allocator.suppress_offers(&framework("F1"), &names(&[]));
    cluster.allocator.revive_offers(&framework("F1"), &names(&[]));
    assert_eq!(cluster.allocator.filter_count(), 0);
    assert_eq!(cluster.allocate().len(), 1);
}

#[test]
fn frameworks_that_are_inactive_get_nothing() {
    let mut cluster = Cluster::new();
    cluster.add_framework("F1", &["*"]);
    cluster.allocator.deactivate_framework(&framework("F1"));
    cluster.add_agent("A1", "cpus:1;mem:1024");
    assert!(cluster.allocate().is_empty());
    cluster.allocator.activate_framework(&framework("F1"));
    assert_eq!(cluster.allocate(), ["F1 * A1"]);
    cluster.decline("F1", "A1", Some(60));
    cluster.allocator.deactivate_framework(&framework("F1"));
    assert_eq!(cluster.allocator.filter_count(), 0, "its filters go with it");
}

#[test]
fn agents_that_are_inactive_offer_nothing() {
    let mut cluster = Cluster::new();
    cluster.add_framework("F1", &["*"]);
    cluster.add_agent("A1", "cpus:1;mem:1024");
    cluster.allocator.deactivate_agent(&agent("A1"));
    assert!(cluster.allocate().is_empty());
    cluster.allocator.activate_agent(&agent("A1"));
    assert_eq!(cluster.allocate(), ["F1 * A1"]);
}

#[test]
fn removed_frameworks_free_what_they_held() {
    let mut cluster = Cluster::new();
    cluster.add_framework("F1", &["*"]);
    cluster.add_agent("A1", "cpus:1;mem:1024");
    let allocations = cluster.allocate_whole();
    cluster.add_framework("F2", &["*"]);
    cluster.allocator.remove_framework(&framework("F1"));
    assert_eq!(cluster.allocate(), ["F2 * A1"]);
    // Too late: it was recovered already.
    let late = &allocations[0].resources;
    cluster.allocator.recover_resources(NOW, &framework("F1"), &agent("A1"), late, None);
    assert!(cluster.allocate().is_empty());
}

#[test]
fn removed_agents_no_longer_count_in_shares() {
    let mut cluster = Cluster::new();
    cluster.add_framework("F1", &["*"]);
    cluster.add_framework("F2", &["*"]);
    cluster.add_agent("A1", "cpus:1;mem:1024");
    cluster.add_agent("A2", "cpus:1;mem:1024");
    assert_eq!(cluster.allocate(), ["F1 * A1", "F2 * A2"]);
    cluster.allocator.remove_agent(&agent("A2"));
    cluster.add_agent("A3", "cpus:1;mem:1024");
    assert_eq!(cluster.allocate(), ["F2 * A3"], "F2 holds nothing any more");
}

#[test]
fn agents_bring_the_use_of_frameworks_that_are_not_known_yet() {
    let mut cluster = Cluster::new();
    let used = resources("cpus:3;mem:512").allocated_to("a");
    cluster.allocator.add_agent(
        &agent("A1"),
        with("cpus:4;mem:1024"),
        &[(framework("F2"), used.clone())],
    );
    cluster.add_framework("F1", &["a"]);
    let profile = in_roles(&["a"]);
    cluster.allocator.add_framework(
        &framework("F2"),
        profile,
        &[((*agent("A1")).clone(), used.clone())],
    );
    assert_eq!(cluster.allocator.allocated(&agent("A1"), &framework("F2")), used);
    let allocations = cluster.allocate_whole();
    assert_eq!(allocations.len(), 1);
    assert_eq!(*allocations[0].framework, framework("F1"), "F2 has its share");
    assert_eq!(allocations[0].resources, resources("cpus:1;mem:512").allocated_to("a"));
}

#[test]
fn a_framework_brings_what_it_uses_on_agents_that_did_not_say() {
    let mut cluster = Cluster::new();
    cluster.add_agent("A1", "cpus:4;mem:1024");
    let used = resources("cpus:4;mem:1024").allocated_to("*");
    let used = [((*agent("A1")).clone(), used.clone()), ((*agent("unknown")).clone(), used)];
    cluster.allocator.add_framework(&framework("F1"), in_roles(&["*"]), &used);
    assert!(cluster.allocate().is_empty());
    cluster.decline("F1", "A1", None);
    assert_eq!(cluster.allocate(), ["F1 * A1"]);
}

#[test]
fn what_is_held_in_a_role_that_was_left_stays_held() {
    let mut cluster = Cluster::new();
    cluster.add_framework("F1", &["a"]);
    cluster.add_agent("A1", "cpus:4;mem:1024");
    cluster.allocate();
    cluster.allocator.update_framework(&framework("F1"), in_roles(&["b"]));
    assert!(cluster.allocate().is_empty());
    cluster.decline("F1", "A1", Some(60));
    assert_eq!(cluster.allocator.filter_count(), 0, "no filter in a role it has left");
    assert_eq!(cluster.allocate(), ["F1 b A1"]);
}

#[test]
fn allocations_below_the_minimum_are_held_back() {
    let minimum_allocatable = vec![quantities("cpus:0.5"), quantities("mem:64")];
    let mut cluster = Cluster::with_config(Config { minimum_allocatable, ..Config::default() });
    cluster.add_framework("F1", &["*"]);
    cluster.add_agent("A1", "cpus:0.1;mem:32;disk:1000");
    assert!(cluster.allocate().is_empty());
    let mut modest = in_roles(&["*"]);
    modest.minimum_allocatable.insert("*".to_owned(), vec![quantities("disk:1")]);
    cluster.allocator.add_framework(&framework("F2"), modest, &[]);
    assert_eq!(cluster.allocate(), ["F2 * A1"]);
    cluster.add_agent("A2", "cpus:0.1;mem:64");
    assert_eq!(cluster.allocate(), ["F1 * A2"], "one of the minima is enough");
}

#[test]
fn reservations_go_to_the_role_and_those_below_it_alone() {
    let mut cluster = Cluster::new();
    cluster.add_framework("F1", &["other", "a/b"]);
    cluster.add_framework("F2", &["a"]);
    cluster.add_agent("A1", "cpus(a/b):1;mem(a/b):100");
    assert_eq!(cluster.allocate(), ["F1 a/b A1"]);
    cluster.add_agent("A2", "cpus(a):1;mem(a):100");
    assert_eq!(cluster.allocate(), ["F2 a A2"], "it has the smaller share");
    cluster.add_agent("A3", "cpus(a):1;mem(a):100");
    cluster.allocator.suppress_offers(&framework("F2"), &names(&[]));
    assert_eq!(cluster.allocate(), ["F1 a/b A3"]);
    cluster.add_agent("A4", "cpus:1;mem:100;cpus(a):1;cpus(c):1");
    assert_eq!(cluster.allocate().len(), 2, "one takes what is unreserved, the other what is not");
    assert_eq!(cluster.allocator.available(&agent("A4")), Some(resources("cpus(c):1")));
}

#[test]
fn capabilities_decide_what_a_framework_sees() {
    let region = Some("here".to_owned());
    let mut cluster = Cluster::with_config(Config { region, ..Config::default() });
    cluster.add_framework("F1", &["a/b"]);
    let mut remote = with("cpus:1;mem:1");
    remote.region = Some("there".to_owned());
    let mut old = with("cpus:1;mem:1");
    old.capabilities = AgentCapabilities::default();
    cluster.allocator.add_agent(&agent("remote"), remote, &[]);
    cluster.allocator.add_agent(&agent("old"), old, &[]);
    cluster.add_agent("gpus", "cpus:1;gpus:1");
    assert!(cluster.allocate().is_empty());
    let mut capable = in_roles(&["a/b"]);
    capable.capabilities.gpu_resources = true;
    capable.capabilities.region_aware = true;
    cluster.allocator.update_framework(&framework("F1"), capable);
    assert_eq!(cluster.allocate(), ["F1 a/b remote", "F1 a/b gpus"]);
    let mut single = in_roles(&["a"]);
    single.capabilities.multi_role = false;
    cluster.allocator.add_framework(&framework("F2"), single, &[]);
    assert_eq!(cluster.allocate(), ["F2 a old"]);
}

#[test]
fn revocable_resources_are_for_those_who_understand_them() {
    let mut cluster = Cluster::new();
    cluster.add_framework("F1", &["*"]);
    let mut profile = with("cpus:1;mem:100");
    let revocable: Resources =
        resources("cpus:7").into_iter().map(resources::Resource::into_revocable).collect();
    profile.total += &revocable;
    cluster.allocator.add_agent(&agent("A1"), profile, &[]);
    let allocations = cluster.allocate_whole();
    assert_eq!(allocations[0].resources, resources("cpus:1;mem:100").allocated_to("*"));
    let mut capable = in_roles(&["*"]);
    capable.capabilities.revocable_resources = true;
    cluster.allocator.add_framework(&framework("F2"), capable, &[]);
    let allocations = cluster.allocate_whole();
    assert_eq!(allocations[0].resources, revocable.allocated_to("*"));
}

/// 10 MB of disk that tasks can share.
fn shared_volume() -> Resources {
    let volume = br#"{"name": "disk", "type": "SCALAR", "scalar": {"value": 10}, "shared": {},
        "reservations": [{"type": "STATIC", "role": "a"}],
        "disk": {"persistence": {"id": "v1"}, "volume": {"container_path": "p", "mode": "RW"}}}"#;
    let volume = protocol::mesos::Resource::from_json(volume, protocol::Names::V1).unwrap();
    Resources::from(resources::Resource::from_wire(&volume).unwrap())
}

/// A framework that understands shared volumes, and an agent with one.
fn shared_volume_cluster() -> Cluster {
    let mut cluster = Cluster::new();
    let mut profile = with("");
    profile.total += &shared_volume();
    cluster.allocator.add_agent(&agent("A1"), profile, &[]);
    let mut capable = in_roles(&["a"]);
    capable.capabilities.shared_resources = true;
    cluster.allocator.add_framework(&framework("F1"), capable, &[]);
    cluster
}

#[test]
fn shared_volumes_are_offered_once_in_an_interval_however_many_use_them() {
    let volume = shared_volume();
    let mut cluster = Cluster::new();
    let mut profile = with("cpus:1");
    profile.total += &volume;
    cluster.allocator.add_agent(&agent("A1"), profile, &[]);
    cluster.add_framework("F1", &["a"]);
    let allocations = cluster.allocate_whole();
    assert_eq!(allocations[0].resources.unallocated(), resources("cpus:1"), "it knows no sharing");
    let mut capable = in_roles(&["a"]);
    capable.capabilities.shared_resources = true;
    for name in ["F2", "F3"] {
        cluster.allocator.add_framework(&framework(name), capable.clone(), &[]);
    }
    assert_eq!(cluster.allocate(), ["F2 a A1"]);
    assert!(cluster.allocate().is_empty(), "once in an interval");
    assert_eq!(cluster.allocator.next_expiry(), Some(cluster.now + Duration::from_secs(1)));
    cluster.pass(1);
    assert_eq!(cluster.allocate(), ["F3 a A1"]);
    assert_eq!(cluster.allocator.available(&agent("A1")), Some(volume.clone()));
    assert_eq!(cluster.allocator.allocated(&agent("A1"), &framework("F2")).unallocated(), volume);
    cluster.decline("F2", "A1", Some(60));
    cluster.decline("F3", "A1", Some(60));
    assert!(cluster.allocate().is_empty());
    assert_eq!(cluster.allocator.available(&agent("A1")), Some(volume));
}

#[test]
fn operations_change_what_is_held_and_what_the_agent_has() {
    let mut cluster = Cluster::new();
    cluster.add_framework("F1", &["a"]);
    cluster.add_framework("F2", &["b"]);
    cluster.add_agent("A1", "cpus:4;mem:100");
    assert_eq!(cluster.allocate(), ["F1 a A1"]);
    let (old, new) =
        (resources("cpus:1").allocated_to("a"), resources("cpus(a):1").allocated_to("a"));
    cluster.allocator.update_allocation(&framework("F1"), &agent("A1"), &old, &new);
    cluster.decline("F1", "A1", Some(60));
    let allocations = cluster.allocate_whole();
    assert_eq!(allocations.len(), 1);
    assert_eq!(*allocations[0].framework, framework("F2"));
    assert_eq!(allocations[0].resources, resources("cpus:3;mem:100").allocated_to("b"));
    assert_eq!(cluster.allocator.available(&agent("A1")), Some(resources("cpus(a):1")));
}

#[test]
fn operators_change_what_is_free_and_nothing_else() {
    let mut cluster = Cluster::new();
    cluster.add_agent("A1", "cpus:4;mem:100");
    let (old, new) = (resources("cpus:4"), resources("cpus(a):4"));
    cluster.allocator.update_available(&agent("A1"), &old, &new).unwrap();
    cluster.add_framework("F1", &["b"]);
    assert_eq!(cluster.allocate(), ["F1 b A1"]);
    let error = cluster.allocator.update_available(
        &agent("A1"),
        &resources("mem:100"),
        &resources("mem(a):100"),
    );
    assert!(error.unwrap_err().to_string().contains("A1"));
    assert_eq!(cluster.allocator.available(&agent("A1")), Some(new));
}

#[test]
fn an_agent_that_shrinks_below_its_use_offers_nothing_until_that_has_ended() {
    let mut cluster = Cluster::new();
    cluster.add_framework("F1", &["*"]);
    cluster.add_agent("A1", "cpus:4;mem:100");
    cluster.allocate();
    cluster.allocator.update_agent(&agent("A1"), with("cpus:2;mem:100"));
    let mut give_back = |text: &str| {
        let what = resources(text).allocated_to("*");
        cluster.allocator.recover_resources(NOW, &framework("F1"), &agent("A1"), &what, None);
        let allocations = cluster.allocate_whole();
        allocations.iter().map(|it| it.resources.unallocated()).sum::<Resources>()
    };
    assert_eq!(give_back("cpus:1"), Resources::EMPTY);
    assert_eq!(give_back("cpus:2"), resources("cpus:1"));
}

#[test]
#[should_panic(expected = "gives back")]
fn giving_back_what_is_not_held_is_a_bug_of_the_caller() {
    let mut cluster = Cluster::new();
    cluster.add_framework("F1", &["*"]);
    cluster.add_agent("A1", "cpus:4;mem:100");
    let what = resources("cpus:1").allocated_to("*");
    cluster.allocator.recover_resources(NOW, &framework("F1"), &agent("A1"), &what, None);
}

#[test]
fn long_filters_that_are_cleared_again_and_again_leave_nothing_behind() {
    let mut cluster = Cluster::new();
    cluster.add_framework("F1", &["*"]);
    cluster.add_agent("A1", "cpus:4;mem:100");
    for _ in 0..5_000 {
        assert_eq!(cluster.allocate().len(), 1);
        cluster.decline("F1", "A1", Some(1_000_000));
        cluster.pass(1);
        cluster.allocator.revive_offers(&framework("F1"), &names(&[]));
    }
    assert!(cluster.allocator.expiries_length() < 3_000);
    assert_eq!(cluster.allocator.filter_count(), 0);
}
