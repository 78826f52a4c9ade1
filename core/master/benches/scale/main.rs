//! A master with very many agents and tasks, all in this process.
//!
//! `cargo bench -p master --bench scale -- [--agents=50000] [--tasks=50000] [--frameworks=200]
//! [--lives=100000]`
//!
//! Every message goes in through its encoding, as it would from a socket. Memory is what the operating
//! system says is resident, so allocator overhead counts.
#![expect(clippy::print_stdout, reason = "a benchmark prints its results")]
#![expect(clippy::disallowed_methods, reason = "a benchmark measures time and memory")]

mod cluster;
mod lives;
mod messages;

use std::time::{Duration, Instant};

use crate::cluster::{Cluster, Scheduler};
use crate::lives::Lives;

/// What one idle agent may cost (M8).
const AGENT_BYTES_MAX: u64 = 4096;
/// What one running task may cost (M8).
const TASK_BYTES_MAX: u64 = 1024;
/// What the whole may cost at a million of each (M8).
const RESIDENT_BYTES_MAX: u64 = 16 << 30;
/// So many tasks of a framework end before lives are measured: its history is full then, by default at
/// 1000.
const HISTORY_TASKS: u64 = 1100;
/// Agents come in so many groups, and tasks are launched on each before the next comes. The first group
/// tells what an idle agent costs, all together what tasks cost on top.
const CHUNKS: u64 = 10;

fn main() {
    let agents = argument("agents").unwrap_or(50_000);
    let tasks = argument("tasks").unwrap_or(agents);
    let frameworks = argument("frameworks").unwrap_or(200);
    let mut cluster = Cluster::new();
    let schedulers: Vec<Scheduler> =
        (0..frameworks).map(|number| cluster.subscribe(number)).collect();
    let mut is_kept = true;

    let empty = resident_bytes();
    let chunk = agents.div_ceil(CHUNKS);
    let (mut registering, mut launching) = (Duration::ZERO, Duration::ZERO);
    let mut agent_bytes = 0;
    let mut launched = 0;
    for begin in (0..agents).step_by(usize::try_from(chunk).unwrap_or(usize::MAX)) {
        let end = agents.min(begin + chunk);
        let start = Instant::now();
        (begin..end).for_each(|number| cluster.add_agent(number));
        registering += start.elapsed();
        if begin == 0 {
            agent_bytes = (resident_bytes() - empty) / end;
        }
        let start = Instant::now();
        launched += cluster.launch(&schedulers, tasks / agents);
        launching += start.elapsed();
    }
    let busy = resident_bytes();
    let task_bytes = (busy - empty).saturating_sub(agents * agent_bytes) / launched;
    println!("{agents} agents register: {} per second", per_second(agents, registering));
    println!(
        "{launched} tasks launched, running and acknowledged: {} per second",
        per_second(launched, launching)
    );
    is_kept &= report("bytes per idle agent", agent_bytes, AGENT_BYTES_MAX);
    is_kept &= report("bytes per running task", task_bytes, TASK_BYTES_MAX);
    is_kept &= report("resident MiB", busy >> 20, RESIDENT_BYTES_MAX >> 20);

    snapshots(&mut cluster, busy);

    let start = Instant::now();
    let pings = cluster.ping_all();
    let share = start.elapsed().as_secs_f64() / cluster.ping_interval().as_secs_f64() * 100.0;
    println!("{pings} pings and pongs, of the core alone: {share:.2} % of a processor core");
    let lives = argument("lives").unwrap_or(100_000);
    if lives > 0 {
        task_lives(&mut cluster, &schedulers, lives, tasks / agents);
    }
    if !is_kept {
        std::process::exit(1);
    }
}

/// What the life of a task costs the thread of the master, once all histories are full.
fn task_lives(cluster: &mut Cluster, schedulers: &[Scheduler], count: u64, tasks_per_agent: u64) {
    let share = 1.0 / f64::from(u32::try_from(tasks_per_agent).expect("few tasks on one agent"));
    let mut lives = Lives::new(cluster, schedulers, share);
    lives.run(HISTORY_TASKS * schedulers.len() as u64);
    let (start, before) = (Instant::now(), processor_time());
    let (count, times) = lives.run(count);
    // Others may have had the processor in between: what counts is the time of this process.
    let part = (processor_time() - before).as_secs_f64() / start.elapsed().as_secs_f64();
    #[expect(clippy::cast_precision_loss, reason = "a cost for people to read")]
    let each = |time: Duration| time.as_secs_f64() * part * 1e6 / count as f64;
    println!(
        "{count} task lives: {:.1} us each to decide and {:.1} us to encode what is sent",
        each(times.deciding),
        each(times.encoding)
    );
}

/// What readers of the state cost the thread that owns the master.
fn snapshots(cluster: &mut Cluster, before: u64) {
    let start = Instant::now();
    let first = cluster.master.snapshot();
    println!("first snapshot: {:.3} ms", milliseconds(start.elapsed()));
    let mut times = Vec::new();
    let mut kept = first;
    for _ in 0..20 {
        cluster.change_tasks(100);
        let start = Instant::now();
        let next = cluster.master.snapshot();
        times.push(start.elapsed());
        // A reader holds on to the one before while the next is made.
        kept = next;
    }
    drop(kept);
    times.sort();
    println!(
        "snapshot after 100 changed tasks: {:.3} ms (median), {:.3} ms (worst)",
        milliseconds(times[times.len() / 2]),
        milliseconds(times[times.len() - 1])
    );
    let grown = resident_bytes().saturating_sub(before);
    println!("resident MiB more by snapshots: {}", grown >> 20);
}

fn argument(name: &str) -> Option<u64> {
    let prefix = format!("--{name}=");
    std::env::args().find_map(|argument| argument.strip_prefix(&prefix)?.parse().ok())
}

fn report(name: &str, measured: u64, limit: u64) -> bool {
    let is_kept = measured <= limit;
    let verdict = if is_kept { "kept" } else { "MISSED" };
    println!("{name}: {measured} (at most {limit}: {verdict})");
    is_kept
}

fn per_second(count: u64, time: Duration) -> u64 {
    #[expect(
        clippy::cast_precision_loss,
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a rate for people to read"
    )]
    let rate = (count as f64 / time.as_secs_f64()) as u64;
    rate
}

fn milliseconds(time: Duration) -> f64 {
    time.as_secs_f64() * 1000.0
}

/// What the processor has done for this process so far.
fn processor_time() -> Duration {
    let text = std::fs::read_to_string("/proc/self/schedstat").expect("this is Linux");
    Duration::from_nanos(text.split(' ').next().and_then(|it| it.parse().ok()).expect("a time"))
}

fn resident_bytes() -> u64 {
    let statm = std::fs::read_to_string("/proc/self/statm").expect("this is Linux");
    let pages: u64 =
        statm.split(' ').nth(1).and_then(|text| text.parse().ok()).expect("resident pages");
    pages * 4096
}
