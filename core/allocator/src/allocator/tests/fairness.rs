//! Fairness between those who want the same: nobody envies anybody by more than one agent.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;

const ROLES: [&str; 7] = ["a", "a/x", "a/y", "a/y/z", "b", "b/x", "c"];

/// How many agents somebody holds, for which weight.
type Part = (f64, u32);

/// Whether nobody would have more, for its weight, without one of its agents than somebody else has.
fn is_fair(parts: &[Part]) -> bool {
    parts.iter().all(|&(weight, count)| {
        let without = f64::from(count.saturating_sub(1)) / weight;
        parts.iter().all(|&(other, count)| without <= f64::from(count) / other + 1e-9)
    })
}

/// A cluster with frameworks in these roles, and the agents each of them holds.
struct Shares {
    cluster: Cluster,
    weights: BTreeMap<&'static str, f64>,
    frameworks: Vec<(String, &'static str)>,
    owners: BTreeMap<String, (String, String)>,
}

impl Shares {
    fn new(weights: &[(usize, u32)], frameworks: &[usize]) -> Self {
        let mut cluster = Cluster::new();
        let weights: BTreeMap<_, _> =
            weights.iter().map(|&(role, weight)| (ROLES[role], f64::from(weight))).collect();
        for (role, weight) in &weights {
            cluster.allocator.update_weights(&[((*role).to_owned(), *weight)]);
        }
        let mut named = Vec::new();
        for (number, &role) in frameworks.iter().enumerate() {
            let name = format!("F{number}");
            cluster.add_framework(&name, &[ROLES[role]]);
            named.push((name, ROLES[role]));
        }
        Self { cluster, weights, frameworks: named, owners: BTreeMap::new() }
    }

    fn allocate(&mut self) {
        for it in self.cluster.allocate_whole() {
            self.owners
                .insert(it.agent.value.clone(), (it.framework.value.clone(), it.role.to_string()));
        }
    }

    fn count(&self, is_counted: impl Fn(&str, &str) -> bool) -> u32 {
        let counted = self.owners.values().filter(|(name, role)| is_counted(name, role));
        u32::try_from(counted.count()).unwrap()
    }

    /// The roles below one, and the frameworks of its own as one more.
    fn siblings(&self, role: Option<&str>) -> Vec<Part> {
        let depth = role.map_or(0, |role| role.split('/').count());
        let mut children: BTreeSet<String> = BTreeSet::new();
        let mut has_own = false;
        for (_, path) in &self.frameworks {
            if role.is_some_and(|role| !resources::role::is_in_subtree_of(path, role)) {
                continue;
            }
            has_own |= role == Some(path);
            let parts: Vec<&str> = path.split('/').take(depth + 1).collect();
            if parts.len() == depth + 1 {
                children.insert(parts.join("/"));
            }
        }
        let part = |child: &String| {
            let weight = self.weights.get(child.as_str()).copied().unwrap_or(1.0);
            (weight, self.count(|_, path| resources::role::is_in_subtree_of(path, child)))
        };
        let mut parts: Vec<Part> = children.iter().map(part).collect();
        if let Some(role) = role.filter(|_| has_own) {
            parts.push((1.0, self.count(|_, path| path == role)));
        }
        parts
    }

    fn frameworks_of(&self, role: &str) -> Vec<Part> {
        let names = self.frameworks.iter().filter(|(_, path)| *path == role);
        names.map(|(name, _)| (1.0, self.count(|owner, _| owner == name))).collect()
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 256, ..ProptestConfig::default() })]

    /// Between siblings at each level of the tree, by weight, as agents come.
    #[test]
    fn siblings_do_not_envy_each_other_as_the_cluster_grows(
        weights in proptest::collection::vec((0..ROLES.len(), 1..6_u32), 0..5),
        frameworks in proptest::collection::vec(0..ROLES.len(), 1..10),
        batches in proptest::collection::vec(1..12_usize, 1..5),
    ) {
        let mut shares = Shares::new(&weights, &frameworks);
        let mut agents = 0;
        for batch in batches {
            for _ in 0..batch {
                shares.cluster.add_agent(&format!("A{agents}"), "cpus:2;mem:200");
                agents += 1;
            }
            shares.allocate();
            prop_assert_eq!(shares.owners.len(), agents);
            prop_assert!(is_fair(&shares.siblings(None)));
            for role in ROLES {
                prop_assert!(is_fair(&shares.siblings(Some(role))), "below {role}");
                prop_assert!(is_fair(&shares.frameworks_of(role)), "in {role}");
            }
        }
    }

    /// Between the roles at the top, by weight, as agents become free again.
    #[test]
    fn roles_do_not_envy_each_other_as_agents_change_hands(
        weights in proptest::collection::vec((0..ROLES.len(), 1..6_u32), 0..5),
        frameworks in proptest::collection::vec(0..ROLES.len(), 1..10),
        agents in 1..40_usize,
        freed in proptest::collection::vec(0..40_usize, 0..40),
    ) {
        let mut shares = Shares::new(&weights, &frameworks);
        for number in 0..agents {
            shares.cluster.add_agent(&format!("A{number}"), "cpus:2;mem:200");
        }
        shares.allocate();
        for number in freed {
            let on = format!("A{number}");
            let Some((owner, _)) = shares.owners.remove(&on) else { continue };
            shares.cluster.decline(&owner, &on, None);
            shares.allocate();
            prop_assert_eq!(shares.owners.len(), agents);
            prop_assert!(is_fair(&shares.siblings(None)), "{:?}", shares.siblings(None));
        }
    }
}
