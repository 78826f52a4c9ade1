//! Quota, whitelist and pause.

use super::*;
use crate::Quota;

fn limits(text: &str) -> Quota {
    Quota { limits: text.parse().unwrap(), ..Quota::default() }
}

#[test]
fn a_role_consumes_what_it_holds_and_what_is_reserved_for_it() {
    let mut cluster = Cluster::new();
    cluster.add_framework("F1", &["a/b"]);
    cluster.allocator.set_quota("a", limits("cpus:100"));
    cluster.add_agent("A1", "cpus(a/b):2;mem(a):100;cpus(a-c):7;cpus:1;mem:50;ports:[1-9]");
    let consumed = |cluster: &Cluster| cluster.allocator.quota_consumed("a").to_string();
    assert_eq!(consumed(&cluster), "cpus:2; mem:100");
    assert_eq!(cluster.allocate(), ["F1 a/b A1"]);
    assert_eq!(consumed(&cluster), "cpus:3; mem:150", "what is reserved counts once");
    assert_eq!(cluster.allocator.quota_consumed("a-c"), quantities("cpus:7"));
    let statuses = cluster.allocator.role_statuses();
    let roles: Vec<&str> = statuses.iter().map(|status| &*status.role).collect();
    assert_eq!(roles, ["a", "a-c", "a/b"]);
    assert_eq!(statuses[0].quota, limits("cpus:100"));
    assert_eq!(statuses[2].held, quantities("cpus:3;mem:150"));
    cluster.decline("F1", "A1", Some(60));
    assert_eq!(consumed(&cluster), "cpus:2; mem:100");
    assert_eq!(cluster.allocator.role_statuses()[2].filter_count, 1);
    cluster.allocator.remove_agent(&agent("A1"));
    assert_eq!(consumed(&cluster), "{}");
}

#[test]
fn nothing_is_allocated_during_a_pause() {
    let mut cluster = Cluster::new();
    cluster.allocator.pause();
    cluster.add_framework("F1", &["a"]);
    cluster.add_agent("A1", "cpus:1");
    assert!(!cluster.allocator.needs_allocation());
    assert!(cluster.allocate().is_empty());
    cluster.allocator.resume();
    assert_eq!(cluster.allocate(), ["F1 a A1"]);
}

#[test]
fn agents_that_are_not_on_the_whitelist_are_not_offered() {
    let mut cluster = Cluster::new();
    cluster.add_framework("F1", &["a"]);
    cluster.allocator.set_whitelist(Some(names(&["h2"])));
    for name in ["h1", "h2"] {
        let profile = AgentProfile { hostname: name.into(), ..with("cpus:1") };
        cluster.allocator.add_agent(&agent(name), profile, &[]);
    }
    assert_eq!(cluster.allocate(), ["F1 a h2"]);
    cluster.allocator.set_whitelist(Some(names(&["h1"])));
    cluster.decline("F1", "h2", None);
    assert_eq!(cluster.allocate(), ["F1 a h1"]);
    cluster.allocator.set_whitelist(None);
    assert_eq!(cluster.allocate(), ["F1 a h2"]);
}

fn guarantee(text: &str) -> Quota {
    Quota { guarantees: text.parse().unwrap(), ..Quota::default() }
}

/// `framework role agent resources` of each allocation of the next cycle.
fn offers(cluster: &mut Cluster) -> Vec<String> {
    let text = |it: &Allocation| {
        let (framework, agent) = (&it.framework.value, &it.agent.value);
        format!("{framework} {} {agent} {}", it.role, it.resources.unallocated())
    };
    cluster.allocate_whole().iter().map(text).collect()
}

#[test]
fn an_offer_is_chopped_to_the_limits_of_the_role() {
    let mut cluster = Cluster::new();
    cluster.add_framework("F1", &["a"]);
    cluster.allocator.set_quota("a", limits("cpus:3;mem:100"));
    cluster.add_agent("A1", "cpus:2;mem:60;ports:[1-2]");
    cluster.add_agent("A2", "cpus:2;mem:60;disk:7;ports:[1-2]");
    // What has no limit is given whole.
    let expected =
        ["F1 a A1 cpus:2; mem:60; ports:[1-2]", "F1 a A2 cpus:1; mem:40; disk:7; ports:[1-2]"];
    assert_eq!(offers(&mut cluster), expected);
    cluster.add_framework("F2", &["b"]);
    assert_eq!(offers(&mut cluster), ["F2 b A2 cpus:1; mem:20"]);
}

#[test]
fn the_roles_below_a_role_share_its_limits_and_reservations_count() {
    let mut cluster = Cluster::new();
    cluster.add_framework("F1", &["a/b"]);
    cluster.add_framework("F2", &["a/c"]);
    cluster.allocator.set_quota("a", limits("cpus:4"));
    cluster.add_agent("A1", "cpus:8;cpus(a/d):2");
    assert_eq!(offers(&mut cluster), ["F1 a/b A1 cpus:2"], "two more are reserved below it");
    assert!(offers(&mut cluster).is_empty());
    let held = cluster.allocator.allocated(&agent("A1"), &framework("F1"));
    assert_eq!(held, resources("cpus:2").allocated_to("a/b"));
    cluster.decline("F1", "A1", Some(60));
    assert_eq!(offers(&mut cluster), ["F2 a/c A1 cpus:2"]);
}

#[test]
fn what_a_role_no_longer_uses_it_may_take_on_any_agent() {
    let mut cluster = Cluster::new();
    cluster.add_framework("F1", &["a"]);
    cluster.allocator.set_quota("a", limits("cpus:2;mem:20"));
    cluster.add_agent("A1", "cpus:2;mem:20");
    cluster.add_agent("A2", "cpus:2;mem:20");
    assert_eq!(offers(&mut cluster), ["F1 a A1 cpus:2; mem:20"]);
    assert!(!cluster.allocator.needs_allocation());
    cluster.decline("F1", "A1", Some(60));
    assert_eq!(offers(&mut cluster), ["F1 a A2 cpus:2; mem:20"]);
    // An agent that is lost frees a part of the quota too.
    cluster.pass(60);
    cluster.allocator.remove_agent(&agent("A2"));
    assert_eq!(offers(&mut cluster), ["F1 a A1 cpus:2; mem:20"]);
    cluster.add_agent("A3", "cpus:1;mem:10");
    assert!(offers(&mut cluster).is_empty());
    cluster.allocator.remove_agent(&agent("A1"));
    assert!(cluster.allocator.needs_allocation(), "there is room on other agents now");
    assert_eq!(offers(&mut cluster), ["F1 a A3 cpus:1; mem:10"]);
}

#[test]
fn guarantees_come_before_fair_shares() {
    let mut cluster = Cluster::new();
    cluster.allocator.set_quota("b", guarantee("cpus:4;mem:40"));
    cluster.add_framework("F1", &["a"]);
    cluster.add_framework("F2", &["b"]);
    for name in ["A1", "A2", "A3"] {
        cluster.add_agent(name, "cpus:2;mem:20");
    }
    let expected = ["F2 b A1 cpus:2; mem:20", "F2 b A2 cpus:2; mem:20", "F1 a A3 cpus:2; mem:20"];
    assert_eq!(offers(&mut cluster), expected);
}

#[test]
fn what_is_missing_to_guarantees_is_held_back_until_somebody_has_it() {
    let mut cluster = Cluster::new();
    cluster.add_framework("F1", &["a"]);
    cluster.allocator.set_quota("b", guarantee("cpus:3"));
    cluster.add_agent("A1", "cpus:2;mem:20");
    cluster.add_agent("A2", "cpus:2;mem:20");
    let expected = ["F1 a A1 cpus:1; mem:20", "F1 a A2 mem:20"];
    assert_eq!(offers(&mut cluster), expected, "of four cpus three are held back");
    cluster.add_framework("F2", &["b"]);
    assert_eq!(offers(&mut cluster), ["F2 b A1 cpus:1", "F2 b A2 cpus:2"]);
    cluster.decline("F2", "A1", Some(60));
    assert!(offers(&mut cluster).is_empty(), "it is kept for b, which may want it later");
    cluster.allocator.set_quota("b", Quota::default());
    assert_eq!(offers(&mut cluster), ["F1 a A1 cpus:1"]);
}

#[test]
fn headroom_that_is_not_needed_any_more_goes_to_everyone() {
    let mut cluster = Cluster::new();
    cluster.add_framework("F1", &["a"]);
    cluster.allocator.set_quota("b", guarantee("cpus:2"));
    cluster.add_agent("A1", "cpus:2");
    assert!(offers(&mut cluster).is_empty());
    cluster.add_agent("A2", "cpus(b):2");
    assert_eq!(offers(&mut cluster), ["F1 a A1 cpus:2"], "a reservation meets the guarantee");
}

#[test]
fn a_role_below_its_guarantee_gets_more_of_an_agent_as_far_as_limits_and_headroom_allow() {
    let mut cluster = Cluster::new();
    let quota = Quota { guarantees: quantities("cpus:1"), limits: "cpus:3".parse().unwrap() };
    cluster.allocator.set_quota("a", quota);
    cluster.allocator.set_quota("c", guarantee("mem:15"));
    cluster.add_framework("F1", &["a"]);
    cluster.add_framework("F2", &["b"]);
    cluster.add_agent("A1", "cpus:4;mem:20;ports:[1-2]");
    let expected = ["F1 a A1 cpus:3; mem:5; ports:[1-2]", "F2 b A1 cpus:1"];
    assert_eq!(offers(&mut cluster), expected);
}

#[test]
fn revocable_and_reserved_resources_are_given_whatever_the_limits() {
    let mut cluster = Cluster::new();
    let mut capable = in_roles(&["a"]);
    capable.capabilities.revocable_resources = true;
    cluster.allocator.add_framework(&framework("F1"), capable, &[]);
    cluster.allocator.set_quota("a", limits("cpus:1;mem:0"));
    let mut profile = with("cpus:1;mem:10;cpus(a):3");
    profile.total += resources("cpus:7")
        .into_iter()
        .map(resources::Resource::into_revocable)
        .collect::<Resources>();
    cluster.allocator.add_agent(&agent("A1"), profile, &[]);
    let allocations = cluster.allocate_whole();
    assert_eq!(allocations.len(), 1);
    let resources = &allocations[0].resources;
    assert_eq!(resources.revocable().cpus(), quantities("cpus:7").get("cpus"));
    assert_eq!(resources.reserved_to("a").cpus(), quantities("cpus:3").get("cpus"));
    assert!(
        resources.unreserved().non_revocable().is_empty(),
        "the reservation is above the limit"
    );
}

#[test]
fn a_lower_limit_takes_nothing_away_but_gives_nothing_more() {
    let mut cluster = Cluster::new();
    cluster.add_framework("F1", &["a"]);
    cluster.add_agent("A1", "cpus:4");
    assert_eq!(offers(&mut cluster), ["F1 a A1 cpus:4"]);
    cluster.allocator.set_quota("a", limits("cpus:2"));
    let back = resources("cpus:3").allocated_to("a");
    cluster.allocator.recover_resources(NOW, &framework("F1"), &agent("A1"), &back, None);
    assert_eq!(offers(&mut cluster), ["F1 a A1 cpus:1"]);
}

#[test]
fn reserving_what_is_held_changes_no_consumption() {
    let mut cluster = Cluster::new();
    cluster.add_framework("F1", &["a"]);
    cluster.allocator.set_quota("a", limits("cpus:2"));
    cluster.add_agent("A1", "cpus:4");
    cluster.allocate();
    let (old, new) =
        (resources("cpus:2").allocated_to("a"), resources("cpus(a):2").allocated_to("a"));
    cluster.allocator.update_allocation(&framework("F1"), &agent("A1"), &old, &new);
    assert_eq!(cluster.allocator.quota_consumed("a"), quantities("cpus:2"));
    cluster.decline("F1", "A1", None);
    assert_eq!(cluster.allocator.quota_consumed("a"), quantities("cpus:2"));
    assert_eq!(offers(&mut cluster), ["F1 a A1 cpus(reservations: [(STATIC,a)]):2"]);
}
