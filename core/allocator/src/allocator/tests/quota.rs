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
        let profile = AgentProfile { hostname: name.to_owned(), ..with("cpus:1") };
        cluster.allocator.add_agent(&agent(name), profile, &[]);
    }
    assert_eq!(cluster.allocate(), ["F1 a h2"]);
    cluster.allocator.set_whitelist(Some(names(&["h1"])));
    cluster.decline("F1", "h2", None);
    assert_eq!(cluster.allocate(), ["F1 a h1"]);
    cluster.allocator.set_whitelist(None);
    assert_eq!(cluster.allocate(), ["F1 a h2"]);
}
