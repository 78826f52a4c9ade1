//! Times of allocation cycles. `cargo bench -p allocator [-- --json] [name…]`
//!
//! `decline` is Mesos' `HierarchicalAllocator_BENCHMARK_Test.DeclineOffers`: every agent is partly used,
//! every framework declines every offer for good, round after round.
#![expect(clippy::print_stdout, reason = "a benchmark prints its results")]
#![expect(clippy::disallowed_methods, reason = "a benchmark measures time")]

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use allocator::{
    AgentCapabilities, AgentProfile, Allocation, Allocator, Config, FrameworkCapabilities,
    FrameworkProfile,
};
use protocol::mesos::{AgentId, FrameworkId};
use protocol::time::Timestamp;
use resources::{Resources, parse_alternatives};

const REFUSE_FOR_GOOD: Duration = Duration::from_secs(300 * 24 * 60 * 60);

struct Cluster {
    allocator: Allocator,
    now: Timestamp,
}

impl Cluster {
    fn new() -> Self {
        let minimum_allocatable =
            parse_alternatives("cpus:0.01|mem:32").expect("the default of Mesos is valid");
        let config = Config { minimum_allocatable, ..Config::default() };
        Self { allocator: Allocator::new(config), now: Timestamp::from_secs(1_000_000) }
    }

    fn add_frameworks(&mut self, count: usize, role: impl Fn(usize) -> String) {
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

    fn add_agents(&mut self, count: usize, used: impl Fn(usize) -> Vec<(FrameworkId, Resources)>) {
        let profile = AgentProfile {
            total: resources("cpus:24;mem:4096;disk:4096;ports:[31000-32000]"),
            capabilities: AgentCapabilities { multi_role: true, hierarchical_role: true },
            active: true,
            ..AgentProfile::default()
        };
        for number in 0..count {
            self.allocator.add_agent(&agent(number), profile.clone(), &used(number));
        }
    }

    fn allocate(&mut self) -> (Vec<Allocation>, Duration) {
        self.now += Duration::from_secs(1);
        let start = Instant::now();
        let allocations = self.allocator.allocate(self.now);
        (allocations, start.elapsed())
    }

    fn recover(&mut self, allocations: &[Allocation], refuse: Option<Duration>) -> Duration {
        let start = Instant::now();
        for it in allocations {
            let (framework, agent) = (&it.framework, &it.agent);
            self.allocator.recover_resources(self.now, framework, agent, &it.resources, refuse);
        }
        start.elapsed()
    }
}

fn framework(number: usize) -> FrameworkId {
    FrameworkId { value: format!("20261122-160000-framework-{number:06}"), ..Default::default() }
}

fn agent(number: usize) -> AgentId {
    AgentId { value: format!("20261122-160000-agent-S{number:06}"), ..Default::default() }
}

fn resources(text: &str) -> Resources {
    Resources::parse(text, "*").expect("benchmarks name valid resources")
}

struct Report {
    json: bool,
}

impl Report {
    fn row(&self, name: &str, agents: usize, frameworks: usize, figures: &[(&str, f64)]) {
        if self.json {
            let figures: Vec<String> =
                figures.iter().map(|(name, value)| format!(",\"{name}\":{value:.6}")).collect();
            let figures = figures.concat();
            println!(
                "{{\"bench\":\"{name}\",\"agents\":{agents},\"frameworks\":{frameworks}{figures}}}"
            );
        } else {
            let figures: Vec<String> =
                figures.iter().map(|(name, value)| format!("{name} {value:.4}")).collect();
            println!(
                "{name:<10}{agents:>9} agents{frameworks:>8} frameworks   {}",
                figures.join("  ")
            );
        }
    }
}

fn milliseconds(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1e3
}

fn median(mut times: Vec<Duration>) -> Duration {
    times.sort_unstable();
    times[times.len() / 2]
}

/// Everything is free, and filtered by everyone; nothing changes.
fn idle(report: &Report, agents: usize) {
    const CYCLES: u32 = 100_000;
    let mut cluster = Cluster::new();
    cluster.add_frameworks(10, |_| "*".to_owned());
    cluster.add_agents(agents, |_| Vec::new());
    loop {
        let (allocations, _) = cluster.allocate();
        if allocations.is_empty() {
            break;
        }
        cluster.recover(&allocations, Some(REFUSE_FOR_GOOD));
    }
    let start = Instant::now();
    for _ in 0..CYCLES {
        assert!(cluster.allocate().0.is_empty());
    }
    let nanoseconds = start.elapsed().as_secs_f64() * 1e9 / f64::from(CYCLES);
    report.row("idle", agents, 10, &[("cycle_ns", nanoseconds)]);
}

fn decline(report: &Report, agents: usize, frameworks: usize, rounds: usize) {
    let mut cluster = Cluster::new();
    let start = Instant::now();
    cluster.add_frameworks(frameworks, |_| "*".to_owned());
    let added_frameworks = start.elapsed();
    let ports: Vec<String> = (0..16).map(|it| format!("{0}-{0}", 31_000 + it * 60)).collect();
    let used = format!("cpus:16;mem:2014;disk:1024;ports:[{}]", ports.join(","));
    let used = resources(&used).allocated_to("*");
    let start = Instant::now();
    cluster.add_agents(agents, |number| vec![(framework(number % frameworks), used.clone())]);
    let added_agents = start.elapsed();
    let (mut cycles, mut recoveries) = (Vec::new(), Vec::new());
    for _ in 0..rounds {
        let (allocations, time) = cluster.allocate();
        assert_eq!(allocations.len(), agents, "each agent is offered to somebody");
        cycles.push(time);
        recoveries.push(cluster.recover(&allocations, Some(REFUSE_FOR_GOOD)));
    }
    let figures = [
        ("add_frameworks_ms", milliseconds(added_frameworks)),
        ("add_agents_ms", milliseconds(added_agents)),
        ("rounds", rounds as f64),
        ("first_ms", milliseconds(cycles[0])),
        ("worst_ms", milliseconds(cycles.iter().copied().max().unwrap_or_default())),
        ("median_ms", milliseconds(median(cycles))),
        ("decline_median_ms", milliseconds(median(recoveries))),
    ];
    report.row("decline", agents, frameworks, &figures);
}

/// Of a full cluster, a hundred agents become free.
fn changed(report: &Report, agents: usize) {
    const CHANGED: usize = 100;
    let mut cluster = Cluster::new();
    cluster.add_frameworks(200, |number| format!("role{}", number % 20));
    cluster.add_agents(agents, |_| Vec::new());
    let (allocations, _) = cluster.allocate();
    assert_eq!(allocations.len(), agents);
    let stride = agents / CHANGED;
    let mut held: Vec<Allocation> = allocations;
    held.sort_by(|left, right| left.agent.cmp(&right.agent));
    let mut cycles = Vec::new();
    for round in 0..200 {
        let positions: Vec<usize> =
            (0..CHANGED).map(|number| (number * stride + round) % agents).collect();
        for &position in &positions {
            let freed = held[position].clone();
            cluster.recover(std::slice::from_ref(&freed), None);
        }
        let (allocations, time) = cluster.allocate();
        assert_eq!(allocations.len(), CHANGED);
        cycles.push(time);
        for it in allocations {
            let position = held.binary_search_by(|other| other.agent.cmp(&it.agent));
            held[position.expect("each agent is held")] = it;
        }
    }
    let time = median(cycles).as_secs_f64() * 1e6;
    report.row("changed", agents, 200, &[("changed_agents", CHANGED as f64), ("median_us", time)]);
}

/// One framework is revived where everybody else filters everything; then all filters expire.
fn revive(report: &Report, agents: usize, frameworks: usize) {
    let mut cluster = Cluster::new();
    cluster.add_frameworks(frameworks, |_| "*".to_owned());
    cluster.add_agents(agents, |_| Vec::new());
    loop {
        let (allocations, _) = cluster.allocate();
        if allocations.is_empty() {
            break;
        }
        cluster.recover(&allocations, Some(REFUSE_FOR_GOOD));
    }
    cluster.allocator.revive_offers(&framework(frameworks - 1), &BTreeSet::new());
    let (allocations, revived) = cluster.allocate();
    assert_eq!(allocations.len(), agents);
    cluster.recover(&allocations, Some(Duration::from_secs(2)));
    assert!(cluster.allocate().0.is_empty());
    let (allocations, expired) = cluster.allocate();
    assert_eq!(allocations.len(), agents);
    let figures = [("revived_ms", milliseconds(revived)), ("expired_ms", milliseconds(expired))];
    report.row("revive", agents, frameworks, &figures);
}

/// Each framework in a role of its own.
fn roles(report: &Report, agents: usize, frameworks: usize) {
    let mut cluster = Cluster::new();
    cluster.add_frameworks(frameworks, |number| format!("group{}/role{number}", number % 50));
    cluster.add_agents(agents, |_| Vec::new());
    let (allocations, full) = cluster.allocate();
    assert_eq!(allocations.len(), agents);
    let (_, empty) = cluster.allocate();
    let figures = [("full_ms", milliseconds(full)), ("empty_ms", milliseconds(empty))];
    report.row("roles", agents, frameworks, &figures);
}

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let report = Report { json: arguments.iter().any(|it| it == "--json") };
    let names: Vec<&String> = arguments.iter().filter(|it| !it.starts_with('-')).collect();
    let wanted = |name: &str| names.is_empty() || names.iter().any(|it| *it == name);
    if wanted("idle") {
        idle(&report, 100);
        idle(&report, 50_000);
    }
    if wanted("changed") {
        changed(&report, 1_000);
        changed(&report, 100_000);
    }
    if wanted("roles") {
        roles(&report, 3_000, 3_000);
    }
    if wanted("revive") {
        revive(&report, 10_000, 200);
    }
    if wanted("decline") {
        decline(&report, 1_000, 50, 50);
        decline(&report, 10_000, 1_000, 100);
        decline(&report, 20_000, 2_000, 20);
        decline(&report, 50_000, 6_000, 10);
    }
}
