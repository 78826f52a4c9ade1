//! What is said about offers that are not made, and that it is true.

use proptest::prelude::*;

use super::properties::{Pair, steps};
use super::*;
use crate::{Explanation, Reason, SorterPolicy};

impl Cluster {
    fn explain(&self, name: &str, role: &str) -> Explanation {
        self.allocator.explain(self.now, &framework(name), role).unwrap()
    }

    /// Why there is no offer on each agent, with the number of agents, and on how many there could be
    /// one.
    fn reasons(&self, name: &str, role: &str) -> (usize, Vec<(Reason, usize)>) {
        let explanation = self.explain(name, role);
        let causes = explanation.causes.into_iter();
        let causes = causes.map(|cause| (cause.reason, cause.agents.count)).collect();
        (explanation.possible.count, causes)
    }
}

#[test]
fn nothing_is_said_about_strangers() {
    let cluster = Cluster::new();
    assert_eq!(cluster.allocator.explain(NOW, &framework("F1"), "*"), None);
}

#[test]
fn what_keeps_a_framework_from_all_offers_comes_with_the_agents_it_costs() {
    let mut cluster = Cluster::new();
    cluster.add_framework("F1", &["a"]);
    cluster.add_agent("A1", "cpus:1;mem:100");
    cluster.add_agent("A2", "cpus(b):1");
    assert_eq!(cluster.reasons("F1", "a"), (1, vec![(Reason::ReservedForOthers, 1)]));
    assert_eq!(cluster.reasons("F1", "b"), (0, vec![(Reason::NotSubscribed, 2)]));
    cluster.allocator.pause();
    let expected = vec![(Reason::Paused, 1), (Reason::ReservedForOthers, 1)];
    assert_eq!(cluster.reasons("F1", "a"), (0, expected));
    cluster.allocator.set_whitelist(Some(names(&["h1"])));
    assert_eq!(
        cluster.reasons("F1", "a"),
        (0, vec![(Reason::Paused, 0), (Reason::NotWhitelisted, 2)])
    );
    cluster.allocator.set_whitelist(None);
    cluster.allocator.suppress_offers(&framework("F1"), &names(&[]));
    let expected = vec![(Reason::Suppressed, 1), (Reason::ReservedForOthers, 1)];
    assert_eq!(cluster.reasons("F1", "a"), (0, expected));
    cluster.allocator.deactivate_framework(&framework("F1"));
    let expected = vec![(Reason::FrameworkInactive, 1), (Reason::ReservedForOthers, 1)];
    assert_eq!(cluster.reasons("F1", "a"), (0, expected));
}

#[test]
fn each_agent_counts_for_the_first_reason_that_applies() {
    let config = Config {
        region: Some("here".to_owned()),
        minimum_allocatable: vec![quantities("cpus:0.5")],
        ..Config::default()
    };
    let mut cluster = Cluster::with_config(config);
    cluster.add_framework("F1", &["a/b"]);
    let mut remote = with("cpus:1");
    remote.region = Some("there".to_owned());
    let mut old = with("cpus:1");
    old.capabilities = AgentCapabilities::default();
    let mut older = with("cpus:1");
    older.capabilities.hierarchical_role = false;
    let mut down = with("cpus:1");
    down.active = false;
    let mut revocable = with("");
    revocable.total =
        resources("cpus:7").into_iter().map(resources::Resource::into_revocable).collect();
    let profiles = [
        ("A0", with("cpus:1;gpus:1")),
        ("A1", remote),
        ("A2", old),
        ("A3", older),
        ("A4", down),
        ("A5", revocable),
        ("A6", with("cpus:0.1")),
        ("A7", with("cpus:2")),
        ("A8", with("cpus:2")),
    ];
    for (name, profile) in profiles {
        cluster.allocator.add_agent(&agent(name), profile, &[]);
    }
    assert_eq!(cluster.allocate(), ["F1 a/b A7", "F1 a/b A8"]);
    cluster.decline("F1", "A8", Some(60));
    let explanation = cluster.explain("F1", "a/b");
    assert_eq!((explanation.agents, explanation.possible.count), (9, 0));
    let causes = explanation.causes.iter().map(|cause| {
        assert_eq!(cause.agents.count, 1);
        (cause.reason.clone(), cause.agents.examples[0].value.as_str(), cause.until)
    });
    let until = Some(cluster.now + Duration::from_secs(60));
    assert_eq!(
        causes.collect::<Vec<_>>(),
        [
            (Reason::AgentInactive, "A4", None),
            (Reason::AgentWithoutMultiRole, "A2", None),
            (Reason::AgentWithoutHierarchicalRole, "A3", None),
            (Reason::Gpus, "A0", None),
            (Reason::RemoteRegion, "A1", None),
            (Reason::NothingFree, "A7", None),
            (Reason::NotUnderstood, "A5", None),
            (Reason::BelowMinimum, "A6", None),
            (Reason::Refused, "A8", until),
        ]
    );
    cluster.pass(60);
    assert_eq!(cluster.explain("F1", "a/b").possible.examples, [(*agent("A8")).clone()]);
}

#[test]
fn examples_are_few_and_the_count_is_whole() {
    let mut cluster = Cluster::new();
    cluster.add_framework("F1", &["a"]);
    for number in 0..30 {
        cluster.add_agent(&format!("A{number}"), "cpus:1");
    }
    let possible = cluster.explain("F1", "a").possible;
    assert_eq!((possible.count, possible.examples.len()), (30, crate::EXAMPLES_MAX));
}

#[test]
fn who_is_served_before_is_named_with_its_share() {
    let mut cluster = Cluster::new();
    for (name, role) in [("F1", "a"), ("F2", "b"), ("F3", "b")] {
        cluster.add_framework(name, &[role]);
    }
    for number in 0..4 {
        cluster.add_agent(&format!("A{number}"), "cpus:1;mem:100");
    }
    assert_eq!(cluster.allocate(), ["F1 a A0", "F2 b A1", "F1 a A2", "F3 b A3"]);
    cluster.decline("F3", "A3", None);
    // Not only the last cycle's order counts, but what has happened since.
    let standing = cluster.explain("F2", "b").standing;
    assert_eq!((standing.share, standing.role_share, standing.ahead), (0.25, 0.25, 1));
    assert_eq!(standing.competitors[0].framework, framework("F3"));
    assert_eq!((standing.competitors[0].share, standing.competitors[0].role_share), (0.0, 0.25));
    let standing = cluster.explain("F1", "a").standing;
    assert_eq!(standing.ahead, 2);
    let ahead: Vec<&str> =
        standing.competitors.iter().map(|it| it.framework.value.as_str()).collect();
    assert_eq!(ahead, ["F3", "F2"]);
}

#[test]
fn shared_volumes_wait_for_the_next_interval() {
    let mut cluster = shared_volume_cluster();
    assert_eq!(cluster.allocate(), ["F1 a A1"]);
    let explanation = cluster.explain("F1", "a");
    assert_eq!(explanation.causes[0].reason, Reason::SharedOfferedAlready);
    assert_eq!(explanation.causes[0].until, Some(cluster.now + Duration::from_secs(1)));
    cluster.pass(1);
    assert_eq!(cluster.explain("F1", "a").possible.count, 1);
    assert_eq!(cluster.allocate(), ["F1 a A1"]);
}

/// Runs the next cycle with nobody but one client, and with nothing but one agent if one is given; gives
/// the agents it is offered.
fn offered_alone(cluster: &Cluster, name: &str, role: &str, on: Option<&AgentId>) -> Vec<AgentId> {
    let mut allocator = cluster.allocator.clone();
    for other in (0..6).map(|number| agent(&format!("A{number}"))) {
        if on.is_some_and(|on| *on != *other) {
            allocator.deactivate_agent(&other);
        }
    }
    for number in 0..5 {
        let other = format!("F{number}");
        if other != name {
            allocator.deactivate_framework(&framework(&other));
        }
    }
    let others = allocator.frameworks.find(&framework(name)).map(|index| {
        let roles = &allocator.frameworks[index].profile.roles;
        roles.iter().filter(|it| *it != role).cloned().collect::<BTreeSet<_>>()
    });
    if let Some(others) = others.filter(|others| !others.is_empty()) {
        allocator.suppress_offers(&framework(name), &others);
    }
    let allocations = allocator.allocate(cluster.now).into_iter();
    let mut agents: Vec<_> =
        allocations.filter(|it| it.framework.value == name).map(|it| (*it.agent).clone()).collect();
    agents.sort();
    agents
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    /// It says that an offer is possible for exactly the agents that the next cycle gives away, each by
    /// itself: two may be more than a limit allows.
    #[test]
    fn explanations_foretell_the_next_cycle(steps in steps()) {
        let mut pair = Pair::new(SorterPolicy::Drf);
        for step in &steps {
            pair.take(step)?;
            let cluster = &pair.cluster;
            for number in 0..5 {
                let name = format!("F{number}");
                for role in ["a", "a/b", "e"] {
                    let explanation =
                        cluster.allocator.explain(cluster.now, &framework(&name), role);
                    let Some(mut explanation) = explanation else { continue };
                    let causes = explanation.causes.iter().map(|it| it.agents.count).sum::<usize>();
                    prop_assert_eq!(explanation.possible.count + causes, explanation.agents);
                    explanation.possible.examples.sort();
                    let offered = offered_alone(cluster, &name, role, None);
                    let mut expected = offered.clone();
                    for it in &explanation.possible.examples {
                        if !offered.contains(it) {
                            expected.extend(offered_alone(cluster, &name, role, Some(it)));
                        }
                    }
                    expected.sort();
                    prop_assert_eq!(explanation.possible.examples, expected);
                }
            }
        }
    }
}
