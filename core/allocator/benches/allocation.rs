//! Times of allocation cycles. `cargo bench -p allocator --bench allocation [-- --json] [name…]`
//!
//! `decline` is Mesos' `HierarchicalAllocator_BENCHMARK_Test.DeclineOffers`: every agent is partly used,
//! every framework declines every offer for good, round after round. `quota` is its `LargeAndSmallQuota`.
//!
//! Times are those of the processor where the name ends in `_cpu_ms`, which other programs disturb less.
#![expect(clippy::print_stdout, reason = "a benchmark prints its results")]
#![expect(clippy::disallowed_methods, reason = "a benchmark measures time")]

mod cluster;

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use allocator::{
    Allocation, ConstraintLimits, FrameworkCapabilities, FrameworkProfile, OfferConstraints,
};
use cluster::{AGENT, Cluster, REFUSE_FOR_GOOD, framework};
use protocol::scheduler::attribute_constraint::predicate::TextMatches;
use protocol::scheduler::attribute_constraint::selector::PseudoattributeType;
use protocol::scheduler::attribute_constraint::{Predicate, Selector};
use protocol::scheduler::offer_constraints::RoleConstraints;
use protocol::scheduler::offer_constraints::role_constraints::Group;
use protocol::scheduler::{self, AttributeConstraint};

/// Wall clock and processor time.
#[derive(Clone, Copy, Default)]
struct Spent {
    wall: Duration,
    processor: Duration,
}

fn measure<T>(run: impl FnOnce() -> T) -> (T, Spent) {
    let (start, processor) = (Instant::now(), processor_time());
    let result = run();
    (result, Spent { wall: start.elapsed(), processor: processor_time().saturating_sub(processor) })
}

/// How long this thread has run on a processor, as of the last tick of the scheduler; zero where Linux
/// does not say.
fn processor_time() -> Duration {
    std::thread::yield_now();
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap_or_default();
    let nanoseconds = text.split(' ').next().and_then(|first| first.parse().ok());
    Duration::from_nanos(nanoseconds.unwrap_or(0))
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
                "{name:<12}{agents:>8} agents{frameworks:>8} frameworks   {}",
                figures.join("  ")
            );
        }
    }
}

fn milliseconds(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1e3
}

fn median(times: &[Spent], which: impl Fn(&Spent) -> Duration) -> Duration {
    let mut times: Vec<Duration> = times.iter().map(which).collect();
    times.sort_unstable();
    times[times.len() / 2]
}

/// Everything is free, and filtered by everyone; nothing changes.
fn idle(report: &Report, agents: usize) {
    const CYCLES: u32 = 100_000;
    let mut cluster = cluster::filtered(agents);
    let ((), spent) = measure(|| {
        for _ in 0..CYCLES {
            assert!(cluster.allocate().is_empty());
        }
    });
    let nanoseconds = spent.wall.as_secs_f64() * 1e9 / f64::from(CYCLES);
    report.row("idle", agents, 10, &[("cycle_ns", nanoseconds)]);
}

fn decline(report: &Report, agents: usize, frameworks: usize, rounds: usize) {
    let (mut cluster, added) = measure(|| cluster::partly_used(agents, frameworks));
    let (mut cycles, mut recoveries) = (Vec::new(), Vec::new());
    for _ in 0..rounds {
        let (allocations, time) = measure(|| cluster.allocate());
        assert_eq!(allocations.len(), agents, "each agent is offered to somebody");
        cycles.push(time);
        let refuse = Some(REFUSE_FOR_GOOD);
        recoveries.push(measure(|| cluster.recover(&allocations, refuse)).1);
    }
    let worst = cycles.iter().map(|spent| spent.wall).max().unwrap_or_default();
    let figures = [
        ("add_ms", milliseconds(added.wall)),
        ("rounds", rounds as f64),
        ("first_ms", milliseconds(cycles[0].wall)),
        ("worst_ms", milliseconds(worst)),
        ("median_ms", milliseconds(median(&cycles, |it| it.wall))),
        ("median_cpu_ms", milliseconds(median(&cycles, |it| it.processor))),
        ("decline_median_cpu_ms", milliseconds(median(&recoveries, |it| it.processor))),
    ];
    report.row("decline", agents, frameworks, &figures);
}

/// Of a full cluster, a hundred agents become free.
fn changed(report: &Report, agents: usize) {
    const CHANGED: usize = 100;
    let (mut cluster, mut held) = cluster::full(agents);
    let mut cycles = Vec::new();
    for round in 0..200 {
        let mut cycle = |cluster: &mut Cluster| -> Vec<Allocation> {
            let (allocations, time) = measure(|| cluster.allocate());
            cycles.push(time);
            allocations
        };
        cluster::change(&mut cluster, &mut held, CHANGED, round, &mut cycle);
    }
    let time = median(&cycles, |it| it.wall).as_secs_f64() * 1e6;
    report.row("changed", agents, 200, &[("changed_agents", CHANGED as f64), ("median_us", time)]);
}

/// One framework is revived where everybody else filters everything; then all filters expire.
fn revive(report: &Report, agents: usize, frameworks: usize) {
    let mut cluster = Cluster::new();
    cluster.add_frameworks(frameworks, |_| "*".to_owned());
    cluster.add_agents(agents, AGENT, |_| Vec::new());
    loop {
        let allocations = cluster.allocate();
        if allocations.is_empty() {
            break;
        }
        cluster.recover(&allocations, Some(REFUSE_FOR_GOOD));
    }
    cluster.allocator.revive_offers(&framework(frameworks - 1), &BTreeSet::new());
    let (allocations, revived) = measure(|| cluster.allocate());
    assert_eq!(allocations.len(), agents);
    cluster.recover(&allocations, Some(Duration::from_secs(2)));
    assert!(cluster.allocate().is_empty());
    let (allocations, expired) = measure(|| cluster.allocate());
    assert_eq!(allocations.len(), agents);
    let figures = [
        ("revived_cpu_ms", milliseconds(revived.processor)),
        ("expired_cpu_ms", milliseconds(expired.processor)),
    ];
    report.row("revive", agents, frameworks, &figures);
}

/// Each framework in a role of its own.
fn roles(report: &Report, agents: usize, frameworks: usize) {
    let mut cluster = Cluster::new();
    cluster.add_frameworks(frameworks, |number| format!("group{}/role{number}", number % 50));
    cluster.add_agents(agents, AGENT, |_| Vec::new());
    let (allocations, full) = measure(|| cluster.allocate());
    assert_eq!(allocations.len(), agents);
    let (_, empty) = measure(|| cluster.allocate());
    let figures =
        [("full_cpu_ms", milliseconds(full.processor)), ("empty_ms", milliseconds(empty.wall))];
    report.row("roles", agents, frameworks, &figures);
}

/// Each framework in a role of its own, each with a quota that the first cycle fills.
fn quota(report: &Report, roles: usize) {
    let mut cluster = cluster::with_quotas(roles);
    let (allocations, full) = measure(|| cluster.allocate());
    let large = roles / 6;
    assert_eq!(allocations.len(), roles + large, "all have what they are guaranteed");
    let (allocations_after, empty) = measure(|| cluster.allocate());
    assert!(allocations_after.is_empty(), "and nobody has more");
    let figures = [
        ("full_ms", milliseconds(full.wall)),
        ("full_cpu_ms", milliseconds(full.processor)),
        ("empty_ms", milliseconds(empty.wall)),
    ];
    report.row("quota", (roles - large) / 5 + large * 5, roles, &figures);
}

/// Twenty times reserve and unreserve on an agent with many reservations.
fn reservations(report: &Report, count: usize) {
    let time = |by_framework| {
        let mut cluster = cluster::with_reservations(count, by_framework);
        let run = || cluster::reserve_and_unreserve(&mut cluster, 20, by_framework);
        milliseconds(measure(run).1.wall)
    };
    let figures = [
        ("reservations", count as f64),
        ("operator_ms", time(false)),
        ("framework_ms", time(true)),
    ];
    report.row("reserve", 1, 1, &figures);
}

/// Everything is free, and filtered by everyone; one framework asks why it gets nothing.
fn explain(report: &Report, agents: usize) {
    let cluster = cluster::filtered(agents);
    let ask = || cluster.allocator.explain(cluster.now, &framework(0), "*");
    let (explanation, spent) = measure(ask);
    assert_eq!(explanation.expect("the framework is known").causes[0].agents.count, agents);
    let figures = [
        ("explain_ms", milliseconds(spent.wall)),
        ("explain_cpu_ms", milliseconds(spent.processor)),
    ];
    report.row("explain", agents, 10, &figures);
}

/// Resident memory of this process in bytes; zero where Linux does not say.
fn resident() -> usize {
    let text = std::fs::read_to_string("/proc/self/statm").unwrap_or_default();
    let pages = text.split(' ').nth(1).and_then(|pages| pages.parse::<usize>().ok());
    pages.unwrap_or(0) * 4096
}

/// What agents with nothing on them and frameworks that hold nothing take.
fn memory(report: &Report, count: usize) {
    let mut cluster = Cluster::new();
    let before = resident();
    cluster.add_agents(count, AGENT, |_| Vec::new());
    assert!(cluster.allocate().is_empty());
    let with_agents = resident();
    cluster.add_frameworks(count, |_| "*".to_owned());
    let all = resident();
    let each = |from: usize, to: usize| to.saturating_sub(from) as f64 / count as f64;
    let figures =
        [("agent_bytes", each(before, with_agents)), ("framework_bytes", each(with_agents, all))];
    report.row("memory", count, count, &figures);
}

/// Everything is free; each framework wants agents of another name.
fn constrained(agents: usize, frameworks: usize) -> Cluster {
    let mut cluster = Cluster::new();
    cluster.add_agents(agents, AGENT, |_| Vec::new());
    for number in 0..frameworks {
        let regex = format!("rack-{number}-[0-9]+");
        let text_matches = Some(TextMatches { regex, ..Default::default() });
        let hostname = Some(PseudoattributeType::Hostname);
        let constraint = AttributeConstraint {
            selector: Selector { pseudoattribute_type: hostname, ..Default::default() },
            predicate: Predicate { text_matches, ..Default::default() },
            ..Default::default()
        };
        let group = Group { attribute_constraints: vec![constraint], ..Default::default() };
        let constraints = RoleConstraints { groups: vec![group], ..Default::default() };
        let role_constraints = [("*".to_owned(), constraints)].into();
        let wire = scheduler::OfferConstraints { role_constraints, ..Default::default() };
        let constraints = OfferConstraints::compile(&wire, &ConstraintLimits::default());
        let profile = FrameworkProfile {
            roles: BTreeSet::from(["*".to_owned()]),
            capabilities: FrameworkCapabilities { multi_role: true, ..Default::default() },
            constraints: constraints.expect("the expression is valid"),
            active: true,
            ..FrameworkProfile::default()
        };
        cluster.allocator.add_framework(&framework(number), profile, &[]);
    }
    cluster
}

/// No agent meets the constraints of any framework; then all of them change.
fn constraints(report: &Report, agents: usize, frameworks: usize) {
    let mut cluster = constrained(agents, frameworks);
    let mut look = || {
        let (allocations, spent) = measure(|| cluster.allocate());
        assert!(allocations.is_empty());
        for number in 0..agents {
            cluster.allocator.clear_agent_filters(&cluster::agent(number));
        }
        milliseconds(spent.processor)
    };
    let figures = [("first_cpu_ms", look()), ("again_cpu_ms", look())];
    report.row("constraints", agents, frameworks, &figures);
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
    if wanted("constraints") {
        constraints(&report, 10_000, 1_000);
    }
    if wanted("explain") {
        explain(&report, 50_000);
    }
    if wanted("quota") {
        quota(&report, 300);
        quota(&report, 3_000);
    }
    if wanted("reserve") {
        reservations(&report, 800);
        reservations(&report, 6_400);
    }
    if wanted("memory") {
        memory(&report, 100_000);
    }
    if wanted("revive") {
        revive(&report, 10_000, 200);
    }
    for (agents, frameworks, rounds) in
        [(1_000, 50, 50), (10_000, 1_000, 100), (20_000, 2_000, 20), (50_000, 6_000, 10)]
    {
        if wanted("decline") || names.iter().any(|it| **it == format!("decline{agents}")) {
            decline(&report, agents, frameworks, rounds);
        }
    }
}
