//! Inverse offers.

use super::*;
use crate::{InverseAllocation, Unavailability};

const PLAN: Unavailability = Unavailability { start: Timestamp::from_secs(9_000), duration: None };

fn planned(total: &str, plan: Option<Unavailability>) -> AgentProfile {
    AgentProfile { unavailability: plan, ..with(total) }
}

impl Cluster {
    /// `framework agent` of each inverse offer that is to be sent.
    fn inverse_offers(&mut self) -> Vec<String> {
        let text = |it: &InverseAllocation| format!("{} {}", it.framework.value, it.agent.value);
        let is_needed = self.allocator.needs_inverse_offers(self.now);
        let offers = self.allocator.inverse_offers(self.now);
        assert!(is_needed || offers.is_empty());
        offers.iter().map(text).collect()
    }

    fn answer(&mut self, name: &str, on: &str, accepted: Option<bool>, refuse: Option<u64>) {
        let refuse = refuse.map(Duration::from_secs);
        let (on, name) = (agent(on), framework(name));
        self.allocator.answer_inverse_offer(self.now, &on, &name, accepted, refuse);
    }

    fn statuses(&self, on: &str) -> Vec<(String, bool, i64)> {
        let statuses = self.allocator.inverse_offer_statuses(&agent(on));
        statuses.into_iter().map(|it| (it.framework.value, it.accepted, it.at.as_secs())).collect()
    }
}

/// Two frameworks hold a half of A1 each; a third holds A2.
fn busy() -> Cluster {
    let mut cluster = Cluster::new();
    let half = resources("cpus:1;mem:100");
    let used = [("F1", "a"), ("F2", "a")].map(|it| (framework(it.0), half.allocated_to(it.1)));
    cluster.allocator.add_agent(&agent("A1"), with("cpus:2;mem:200"), &used);
    let used = [(framework("F3"), half.allocated_to("b"))];
    cluster.allocator.add_agent(&agent("A2"), with("cpus:1;mem:100"), &used);
    for (name, role) in [("F1", "a"), ("F2", "a"), ("F3", "b")] {
        cluster.add_framework(name, &[role]);
    }
    cluster
}

#[test]
fn frameworks_that_hold_something_are_asked_once() {
    let mut cluster = busy();
    assert!(cluster.inverse_offers().is_empty());
    cluster.allocator.update_agent(&agent("A1"), planned("cpus:2;mem:200", Some(PLAN)));
    assert_eq!(cluster.inverse_offers(), ["F1 A1", "F2 A1"]);
    assert!(cluster.inverse_offers().is_empty(), "outstanding");
    assert!(cluster.statuses("A1").is_empty(), "nobody has answered");
    cluster.pass(3600);
    assert!(cluster.inverse_offers().is_empty(), "still outstanding");
}

#[test]
fn answers_are_remembered_and_the_question_comes_again_after_the_refusal() {
    let mut cluster = busy();
    cluster.allocator.update_agent(&agent("A1"), planned("cpus:2;mem:200", Some(PLAN)));
    cluster.inverse_offers();
    cluster.answer("F1", "A1", Some(false), Some(60));
    cluster.answer("F2", "A1", Some(true), Some(5));
    cluster.answer("F3", "A1", Some(true), Some(5));
    let at = NOW.as_secs();
    assert_eq!(cluster.statuses("A1"), [("F1".into(), false, at), ("F2".into(), true, at)]);
    assert!(cluster.inverse_offers().is_empty());
    assert_eq!(cluster.allocator.next_expiry(), Some(cluster.now + Duration::from_secs(5)));
    cluster.pass(5);
    assert_eq!(cluster.inverse_offers(), ["F2 A1"]);
    cluster.answer("F2", "A1", Some(false), None);
    assert_eq!(cluster.statuses("A1")[1], ("F2".into(), false, at + 5));
    assert!(cluster.inverse_offers().is_empty(), "an interval at least");
    cluster.pass(55);
    assert_eq!(cluster.inverse_offers(), ["F1 A1", "F2 A1"]);
    assert_eq!(cluster.statuses("A1").len(), 2, "the last answers stand");
}

#[test]
fn a_rescinded_inverse_offer_is_made_again_but_not_to_the_inactive() {
    let mut cluster = busy();
    cluster.allocator.deactivate_framework(&framework("F2"));
    cluster.allocator.update_agent(&agent("A1"), planned("cpus:2;mem:200", Some(PLAN)));
    assert_eq!(cluster.inverse_offers(), ["F1 A1"]);
    cluster.answer("F1", "A1", None, None);
    assert_eq!(cluster.inverse_offers(), ["F1 A1"]);
    cluster.allocator.activate_framework(&framework("F2"));
    assert_eq!(cluster.inverse_offers(), ["F2 A1"]);
    cluster.answer("F2", "A1", Some(true), Some(1000));
    cluster.allocator.deactivate_framework(&framework("F2"));
    cluster.allocator.activate_framework(&framework("F2"));
    assert_eq!(cluster.inverse_offers(), ["F2 A1"], "its refusal went with its connection");
    assert_eq!(cluster.statuses("A1").len(), 1, "its answer did not");
}

#[test]
fn a_changed_plan_makes_answers_void_and_its_end_ends_all() {
    let mut cluster = busy();
    cluster.allocator.update_agent(&agent("A1"), planned("cpus:2;mem:200", Some(PLAN)));
    cluster.inverse_offers();
    cluster.answer("F1", "A1", Some(true), Some(100_000));
    let later = Unavailability { duration: Some(Duration::from_secs(60)), ..PLAN };
    cluster.allocator.update_agent(&agent("A1"), planned("cpus:2;mem:200", Some(later)));
    assert!(cluster.statuses("A1").is_empty());
    let offers = cluster.allocator.inverse_offers(cluster.now);
    assert_eq!(offers.len(), 2);
    assert!(offers.iter().all(|it| it.unavailability == later));
    cluster.answer("F1", "A1", Some(true), Some(100_000));
    cluster.allocator.update_agent(&agent("A1"), planned("cpus:3;mem:200", Some(later)));
    assert_eq!(cluster.statuses("A1").len(), 1, "the same plan");
    cluster.allocator.update_agent(&agent("A1"), planned("cpus:3;mem:200", None));
    assert!(cluster.statuses("A1").is_empty());
    assert!(cluster.inverse_offers().is_empty());
    assert_eq!(cluster.allocator.next_expiry(), None);
}

#[test]
fn who_begins_to_hold_something_is_asked_and_who_leaves_is_forgotten() {
    let mut cluster = Cluster::new();
    cluster.add_framework("F1", &["*"]);
    cluster.allocator.add_agent(&agent("A1"), planned("cpus:1", Some(PLAN)), &[]);
    assert!(cluster.inverse_offers().is_empty());
    assert_eq!(cluster.allocate(), ["F1 * A1"]);
    assert_eq!(cluster.inverse_offers(), ["F1 A1"]);
    cluster.answer("F1", "A1", Some(true), Some(60));
    cluster.allocator.remove_framework(&framework("F1"));
    assert!(cluster.statuses("A1").is_empty());
    assert_eq!(cluster.allocator.next_expiry(), None);
    cluster.add_framework("F2", &["*"]);
    assert_eq!(cluster.allocate(), ["F2 * A1"]);
    assert_eq!(cluster.inverse_offers(), ["F2 A1"]);
    cluster.allocator.remove_agent(&agent("A1"));
    cluster.answer("F2", "A1", Some(true), Some(60));
    assert!(cluster.inverse_offers().is_empty());
}
