//! Offer constraints as they come, change and go.

use std::sync::Arc;

use protocol::scheduler;

use super::*;
use crate::{ConstraintLimits, OfferConstraints};

/// Agents with this hostname alone, in role `a`.
fn only(hostname: &str) -> FrameworkProfile {
    let wire = format!(
        r#"{{"role_constraints": {{"a": {{"groups": [{{"attribute_constraints": [
            {{"selector": {{"pseudoattribute_type": "HOSTNAME"}},
              "predicate": {{"text_equals": {{"value": "{hostname}"}}}}}}]}}]}}}}}}"#
    );
    let wire = scheduler::OfferConstraints::from_json(wire.as_bytes(), protocol::Names::V1);
    let constraints = OfferConstraints::compile(&wire.unwrap(), &ConstraintLimits::default());
    FrameworkProfile { constraints: constraints.unwrap(), ..in_roles(&["a", "b"]) }
}

fn named(hostname: &str) -> AgentProfile {
    AgentProfile { hostname: hostname.into(), ..with("cpus:1") }
}

#[test]
fn constraints_are_for_their_role_alone() {
    let mut cluster = Cluster::new();
    cluster.allocator.add_framework(&framework("F1"), only("h1"), &[]);
    cluster.allocator.add_agent(&agent("A1"), named("h2"), &[]);
    assert_eq!(cluster.allocate(), ["F1 b A1"]);
    cluster.decline("F1", "A1", Some(60));
    assert!(cluster.allocate().is_empty());
    assert_eq!(cluster.allocator.filter_count(), 1, "nothing is refused that was never offered");
}

#[test]
fn changed_constraints_hold_from_the_next_cycle_on() {
    let mut cluster = Cluster::new();
    let suppressed =
        |hostname: &str| FrameworkProfile { suppressed_roles: names(&["b"]), ..only(hostname) };
    cluster.allocator.add_framework(&framework("F1"), suppressed("h1"), &[]);
    cluster.allocator.add_framework(&framework("F2"), suppressed("h1"), &[]);
    cluster.allocator.add_agent(&agent("A1"), named("h2"), &[]);
    assert!(cluster.allocate().is_empty());
    // So often that their numbers run out.
    for round in 0..300 {
        cluster.allocator.update_framework(&framework("F1"), suppressed(&format!("x{round}")));
        assert!(cluster.allocate().is_empty());
        assert!(!cluster.allocator.needs_allocation());
    }
    cluster.allocator.update_framework(&framework("F1"), suppressed("h2"));
    assert_eq!(cluster.allocate(), ["F1 a A1"]);
    cluster.allocator.remove_framework(&framework("F1"));
    assert!(cluster.allocate().is_empty());
    // An agent that changes is looked at anew.
    cluster.allocator.update_agent(&agent("A1"), named("h1"));
    assert_eq!(cluster.allocate(), ["F2 a A1"]);
    cluster.decline("F2", "A1", None);
    let mut without = suppressed("h2");
    cluster.allocator.update_framework(&framework("F2"), without.clone());
    assert!(cluster.allocate().is_empty());
    without.constraints.clear();
    cluster.allocator.update_framework(&framework("F2"), without);
    assert_eq!(cluster.allocate(), ["F2 a A1"]);
}

#[test]
fn equal_constraints_are_one() {
    let (first, second) = (only("h1").constraints, only("h1").constraints);
    assert_eq!(first["a"], second["a"]);
    assert!(!Arc::ptr_eq(&first["a"], &second["a"]));
    assert!(only("h0").constraints["a"] < first["a"]);
}
