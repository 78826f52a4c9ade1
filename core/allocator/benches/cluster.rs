//! The clusters that benchmarks run on.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use allocator::{
    AgentCapabilities, AgentProfile, Allocation, Allocator, Config, FrameworkCapabilities,
    FrameworkProfile, Quota,
};
use protocol::mesos::{AgentId, FrameworkId, Label, Labels};
use protocol::time::Timestamp;
use resources::{Quantity, Reservation, Resource, Resources, parse_alternatives};

pub const REFUSE_FOR_GOOD: Duration = Duration::from_secs(300 * 24 * 60 * 60);

pub struct Cluster {
    pub allocator: Allocator,
    pub now: Timestamp,
}

impl Cluster {
    pub fn new() -> Self {
        let minimum_allocatable =
            parse_alternatives("cpus:0.01|mem:32").expect("the default of Mesos is valid");
        let config = Config { minimum_allocatable, ..Config::default() };
        Self { allocator: Allocator::new(config), now: Timestamp::from_secs(1_000_000) }
    }

    pub fn add_frameworks(&mut self, count: usize, role: impl Fn(usize) -> String) {
        for number in 0..count {
            let profile = FrameworkProfile {
                roles: BTreeSet::from([role(number)]),
                capabilities: FrameworkCapabilities { multi_role: true, ..Default::default() },
                active: true,
                ..FrameworkProfile::default()
            };
            self.allocator.add_framework(&framework(number), profile, &[]);
        }
    }

    pub fn add_agents(
        &mut self,
        count: usize,
        total: &str,
        used: impl Fn(usize) -> Vec<(FrameworkId, Resources)>,
    ) {
        for number in 0..count {
            self.add_agent(number, resources(total), &used(number));
        }
    }

    fn add_agent(&mut self, number: usize, total: Resources, used: &[(FrameworkId, Resources)]) {
        let profile = AgentProfile {
            total,
            capabilities: AgentCapabilities { multi_role: true, hierarchical_role: true },
            active: true,
            ..AgentProfile::default()
        };
        self.allocator.add_agent(&agent(number), profile, used);
    }

    pub fn allocate(&mut self) -> Vec<Allocation> {
        self.now += Duration::from_secs(1);
        self.allocator.allocate(self.now)
    }

    pub fn recover(&mut self, allocations: &[Allocation], refuse: Option<Duration>) {
        for it in allocations {
            let (framework, agent) = (&it.framework, &it.agent);
            self.allocator.recover_resources(self.now, framework, agent, &it.resources, refuse);
        }
    }
}

pub const AGENT: &str = "cpus:24;mem:4096;disk:4096;ports:[31000-32000]";

pub fn framework(number: usize) -> FrameworkId {
    FrameworkId { value: format!("20261122-160000-framework-{number:06}"), ..Default::default() }
}

pub fn agent(number: usize) -> Arc<AgentId> {
    Arc::new(AgentId { value: format!("20261122-160000-agent-S{number:06}"), ..Default::default() })
}

pub fn resources(text: &str) -> Resources {
    Resources::parse(text, "*").expect("benchmarks name valid resources")
}

/// Mesos' `HierarchicalAllocator_BENCHMARK_Test.DeclineOffers`: every agent is partly used.
pub fn partly_used(agents: usize, frameworks: usize) -> Cluster {
    let mut cluster = Cluster::new();
    cluster.add_frameworks(frameworks, |_| "*".to_owned());
    let ports: Vec<String> = (0..16).map(|it| format!("{0}-{0}", 31_000 + it * 60)).collect();
    let used = format!("cpus:16;mem:2014;disk:1024;ports:[{}]", ports.join(","));
    let used = resources(&used).allocated_to("*");
    cluster
        .add_agents(agents, AGENT, |number| vec![(framework(number % frameworks), used.clone())]);
    cluster
}

/// Everything is free, and filtered by ten frameworks.
pub fn filtered(agents: usize) -> Cluster {
    let mut cluster = Cluster::new();
    cluster.add_frameworks(10, |_| "*".to_owned());
    cluster.add_agents(agents, AGENT, |_| Vec::new());
    loop {
        let allocations = cluster.allocate();
        if allocations.is_empty() {
            return cluster;
        }
        cluster.recover(&allocations, Some(REFUSE_FOR_GOOD));
    }
}

/// A cluster of which 200 frameworks hold everything, and what they hold, by agent.
pub fn full(agents: usize) -> (Cluster, Vec<Allocation>) {
    let mut cluster = Cluster::new();
    cluster.add_frameworks(200, |number| format!("role{}", number % 20));
    cluster.add_agents(agents, AGENT, |_| Vec::new());
    let mut held = cluster.allocate();
    assert_eq!(held.len(), agents);
    held.sort_by(|left, right| left.agent.cmp(&right.agent));
    (cluster, held)
}

/// Frees the `changed` agents of a full cluster whose turn it is, and has them allocated.
pub fn change(
    cluster: &mut Cluster,
    held: &mut [Allocation],
    changed: usize,
    round: usize,
    cycle: &mut dyn FnMut(&mut Cluster) -> Vec<Allocation>,
) {
    let stride = held.len() / changed;
    for number in 0..changed {
        let freed = held[(number * stride + round) % held.len()].clone();
        cluster.recover(std::slice::from_ref(&freed), None);
    }
    let allocations = cycle(cluster);
    assert_eq!(allocations.len(), changed);
    for it in allocations {
        let position = held.binary_search_by(|other| other.agent.cmp(&it.agent));
        held[position.expect("each agent is held")] = it;
    }
}

/// Mesos' `BENCHMARK_HierarchicalAllocator_WithQuotaParam.LargeAndSmallQuota`: a sixth of the roles has
/// a quota of two agents, the others of half an agent.
pub fn with_quotas(roles: usize) -> Cluster {
    let large = roles / 6;
    let mut cluster = Cluster::new();
    cluster.add_frameworks(roles, |number| format!("role{number}"));
    for number in 0..roles {
        let amount = if number < large { 4 } else { 1 };
        let quota = format!("cpus:{amount};mem:{0};disk:{0}", amount * 1024);
        let quota = Quota {
            guarantees: quota.parse().expect("a valid quota"),
            limits: quota.parse().expect("a valid quota"),
        };
        cluster.allocator.set_quota(&format!("role{number}"), quota);
    }
    let agents = (roles - large) / 5 + large * 5;
    cluster.add_agents(agents, "cpus:2;mem:2048;disk:2048", |_| Vec::new());
    cluster
}

/// A cpu that is reserved under a label of its own.
fn labelled(number: usize) -> Resources {
    let label = Label {
        key: "reservation".to_owned(),
        value: Some(format!("value-{number}")),
        ..Default::default()
    };
    let labels = Labels { labels: vec![label], ..Default::default() };
    let reservation = Reservation::dynamic("dev", Some("alice")).with_labels(labels);
    resources("cpus:1").push_reservation(&reservation).expect("a valid reservation")
}

/// One agent with so many reservations, and a framework that is offered them all if it is active.
pub fn with_reservations(count: usize, active: bool) -> Cluster {
    let mut cluster = Cluster::new();
    cluster.add_frameworks(1, |_| "dev".to_owned());
    if !active {
        cluster.allocator.deactivate_framework(&framework(0));
    }
    let unreserved = Resource::scalar("cpus", Quantity::from_units(100));
    let total = (0..count).flat_map(labelled).chain(std::iter::once(unreserved)).collect();
    cluster.add_agent(0, total, &[]);
    assert_eq!(cluster.allocate().len(), usize::from(active));
    cluster
}

/// Reserves and unreserves, as an operator what is free, as a framework what it holds.
pub fn reserve_and_unreserve(cluster: &mut Cluster, rounds: usize, by_framework: bool) {
    let plain = resources("cpus:1");
    for round in 0..rounds {
        let reserved = labelled(1_000_000 + round);
        for (old, new) in [(&plain, &reserved), (&reserved, &plain)] {
            if by_framework {
                let (old, new) = (old.allocated_to("dev"), new.allocated_to("dev"));
                cluster.allocator.update_allocation(&framework(0), &agent(0), &old, &new);
            } else {
                let done = cluster.allocator.update_available(&agent(0), old, new);
                done.expect("it is free");
            }
        }
    }
}
