//! Policies other than fair sharing.

use proptest::prelude::*;

use super::properties::{Pair, Step, steps};
use super::*;
use crate::SorterPolicy;

fn cluster(role_sorter: SorterPolicy, framework_sorter: SorterPolicy, seed: u64) -> Cluster {
    Cluster::with_config(Config { role_sorter, framework_sorter, seed, ..Config::default() })
}

impl Cluster {
    fn add_agents(&mut self, count: usize) {
        for number in 0..count {
            self.add_agent(&format!("A{number}"), "cpus:1;mem:1024");
        }
    }

    fn weigh(&mut self, weights: &[(&str, f64)]) {
        let weights = weights.iter().map(|&(role, weight)| (role.to_owned(), weight));
        self.allocator.update_weights(&weights.collect::<Vec<_>>());
    }
}

fn count(allocations: &[String], start: &str) -> usize {
    allocations.iter().filter(|it| it.starts_with(start)).count()
}

#[test]
fn a_lower_priority_gets_only_what_no_higher_one_wants() {
    let mut cluster = cluster(SorterPolicy::Priority, SorterPolicy::Drf, 0);
    cluster.weigh(&[("high", 10.0), ("low", 0.5)]);
    for (name, role) in [("F1", "low"), ("F2", "usual"), ("F3", "high"), ("F4", "high")] {
        cluster.add_framework(name, &[role]);
    }
    cluster.add_agents(4);
    let expected = ["F3 high A0", "F4 high A1", "F3 high A2", "F4 high A3"];
    assert_eq!(cluster.allocate(), expected, "frameworks of one role share");
    for (name, on) in [("F3", "A0"), ("F4", "A1"), ("F3", "A2")] {
        cluster.decline(name, on, Some(60));
    }
    cluster.allocator.suppress_offers(&framework("F4"), &names(&[]));
    assert_eq!(cluster.allocate(), ["F2 usual A0", "F3 high A1", "F2 usual A2"]);
    cluster.decline("F2", "A0", Some(60));
    assert_eq!(cluster.allocate(), ["F1 low A0"]);
}

#[test]
fn equal_priorities_share_and_a_changed_weight_changes_the_order() {
    let mut cluster = cluster(SorterPolicy::Priority, SorterPolicy::Priority, 0);
    for (name, role) in [("F1", "a"), ("F2", "b")] {
        cluster.add_framework(name, &[role]);
    }
    cluster.add_agents(4);
    let allocations = cluster.allocate();
    assert_eq!((count(&allocations, "F1"), count(&allocations, "F2")), (2, 2));
    cluster.weigh(&[("b", 2.0)]);
    cluster.add_agent("A4", "cpus:1;mem:1024");
    cluster.add_agent("A5", "cpus:1;mem:1024");
    assert_eq!(cluster.allocate(), ["F2 b A4", "F2 b A5"]);
}

#[test]
fn priorities_apply_at_each_level_of_the_tree() {
    let mut cluster = cluster(SorterPolicy::Priority, SorterPolicy::Drf, 0);
    cluster.weigh(&[("a", 2.0), ("a/low", 0.5), ("b/high", 100.0)]);
    for (name, role) in [("F1", "a/low"), ("F2", "a/usual"), ("F3", "b/high"), ("F4", "a")] {
        cluster.add_framework(name, &[role]);
    }
    let mut order = Vec::new();
    for number in 0..4 {
        cluster.add_agent(&format!("A{number}"), "cpus:1;mem:1024");
        let allocations = cluster.allocate_whole();
        let winner = allocations[0].framework.value.clone();
        cluster.allocator.suppress_offers(&framework(&winner), &names(&[]));
        order.push(winner);
    }
    assert_eq!(order, ["F4", "F2", "F1", "F3"], "frameworks of the role itself weigh 1");
}

#[test]
fn random_turns_go_by_weight_and_not_by_share() {
    let mut cluster = cluster(SorterPolicy::Random, SorterPolicy::Random, 3);
    cluster.weigh(&[("b", 3.0)]);
    for (name, role) in [("F1", "a"), ("F2", "b"), ("F3", "b")] {
        cluster.add_framework(name, &[role]);
    }
    cluster.add_agents(4_000);
    let allocations = cluster.allocate();
    assert_eq!(allocations.len(), 4_000);
    let parts = ["F1", "F2", "F3"].map(|name| count(&allocations, name));
    for (part, expected) in parts.into_iter().zip([1_000, 1_500, 1_500]) {
        assert!(part.abs_diff(expected) < 150, "{parts:?}");
    }
    let is_in_turn = allocations.windows(2).filter(|pair| pair[0][..2] == pair[1][..2]).count();
    assert!(is_in_turn > 1_000, "{is_in_turn} in a row: who has just been served may be again");
}

#[test]
fn the_seed_decides_random_turns() {
    let run = |seed| {
        let mut cluster = cluster(SorterPolicy::Random, SorterPolicy::Drf, seed);
        for (name, role) in [("F1", "a"), ("F2", "b")] {
            cluster.add_framework(name, &[role]);
        }
        cluster.add_agents(50);
        cluster.allocate()
    };
    assert_eq!(run(1), run(1));
    assert_ne!(run(1), run(2));
}

/// Whoever wanted nothing for a long time does not get everything afterwards.
#[test]
fn random_turns_are_not_saved_up() {
    let mut cluster = cluster(SorterPolicy::Random, SorterPolicy::Random, 9);
    cluster.add_framework("F1", &["a"]);
    cluster.add_framework("F2", &["b"]);
    cluster.allocator.suppress_offers(&framework("F1"), &names(&[]));
    cluster.add_agents(2_000);
    assert_eq!(cluster.allocate().len(), 2_000);
    cluster.allocator.revive_offers(&framework("F1"), &names(&[]));
    for number in 2_000..3_000 {
        cluster.add_agent(&format!("A{number}"), "cpus:1;mem:1024");
    }
    let part = count(&cluster.allocate(), "F1");
    assert!(part.abs_diff(500) < 80, "{part}");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 96, ..ProptestConfig::default() })]

    /// Whatever the policy: the books balance, and a cycle leaves nothing that somebody could have.
    #[test]
    fn a_cycle_leaves_nothing_that_somebody_wants(
        steps in steps(),
        policy in prop_oneof![
            Just(SorterPolicy::Drf),
            Just(SorterPolicy::Random),
            Just(SorterPolicy::Priority)
        ],
    ) {
        let mut pair = Pair::new(policy);
        for step in &steps {
            pair.take(step)?;
            pair.check_conservation()?;
            if !matches!(step, Step::Allocate) {
                continue;
            }
            let cluster = &pair.cluster;
            for (number, role) in (0..5).flat_map(|it| ["*", "a", "a/b", "e"].map(|role| (it, role))) {
                let id = framework(&format!("F{number}"));
                if let Some(explanation) = cluster.allocator.explain(cluster.now, &id, role) {
                    prop_assert_eq!(explanation.possible.count, 0, "{:?}", explanation);
                }
            }
        }
    }
}
