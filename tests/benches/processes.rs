//! Numbers of whole processes: how fast a cluster starts and runs tasks, and what it holds.
//!
//! Run by `cargo xtask bench`; SPECIFICATION.md says what each number must reach. Exits with 1
//! when one is missed.
#![expect(clippy::print_stdout, reason = "a benchmark prints what it measured")]

use std::path::Path;
use std::time::{Duration, Instant};

use serde_json::json;
use tests::scheduler::Scheduler;
use tests::{Cluster, ClusterOptions, Process, binary, get_json, try_get_json, wait_until};

const LIMIT: Duration = Duration::from_secs(120);

struct Report {
    missed: usize,
}

impl Report {
    fn line(&mut self, what: &str, measured: f64, most: f64, unit: &str) {
        let verdict = if measured <= most { "ok" } else { "MISSED" };
        self.missed += usize::from(measured > most);
        println!("{what:<60} {measured:>10.2} {unit:<4} (at most {most} {unit}) {verdict}");
    }
}

fn main() {
    let mut report = Report { missed: 0 };
    ready(&mut report);
    idle_memory(&mut report);
    latency(&mut report);
    throughput(&mut report);
    executor_memory(&mut report);
    std::process::exit(i32::from(report.missed > 0));
}

/// From the start of `meseta local` to an agent that offers resources.
fn ready(report: &mut Report) {
    let times: Vec<f64> = (0..5)
        .map(|_| {
            let folder = tempfile::tempdir().expect("a folder");
            let port = tests::free_port();
            let start = Instant::now();
            let flag = format!("--port={port}");
            let process = Process::start(&binary(), &["local", &flag], &[], folder.path(), "local");
            let url = format!("http://127.0.0.1:{port}/state");
            wait_until("an agent", LIMIT, || {
                let state = try_get_json(&url)?;
                (state["activated_slaves"].as_f64()? > 0.0).then_some(())
            });
            let elapsed = start.elapsed().as_secs_f64();
            process.signal(nix::sys::signal::Signal::SIGINT);
            elapsed
        })
        .collect();
    report.line("`local` ready to accept a task (median of 5)", median(times), 1.0, "s");
}

fn idle_memory(report: &mut Report) {
    let cluster = Cluster::start(&ClusterOptions::default());
    std::thread::sleep(Duration::from_secs(2));
    let resident = resident_mebibytes(cluster.master.id());
    report.line("idle master with 1 agent, resident", resident, 25.0, "MiB");
}

/// From an offer to TASK_RUNNING of `true`, one task at a time on an idle cluster.
fn latency(report: &mut Report) {
    let cluster = Cluster::start(&ClusterOptions::default());
    let mut scheduler = Scheduler::subscribe(&cluster.address);
    let times: Vec<f64> = (0..40)
        .map(|number| {
            let offer = scheduler.next_offer(LIMIT);
            let start = Instant::now();
            let task = scheduler.task(&format!("latency-{number}"), &offer, "true");
            scheduler.launch(&offer, &[task], 0.0);
            scheduler.wait_for_state(&format!("latency-{number}"), "TASK_RUNNING", LIMIT);
            let elapsed = start.elapsed().as_secs_f64() * 1000.0;
            scheduler.wait_for_state(&format!("latency-{number}"), "TASK_FINISHED", LIMIT);
            elapsed
        })
        .collect();
    report.line("offer to TASK_RUNNING for `true`, p50 of 40", median(times), 30.0, "ms");
}

/// 1,000 command tasks of `true` on one agent, from the first accept to the last TASK_FINISHED.
fn throughput(report: &mut Report) {
    let cluster = Cluster::start(&ClusterOptions {
        resources: "cpus:2;mem:8192".to_owned(),
        ..ClusterOptions::default()
    });
    let mut scheduler = Scheduler::subscribe(&cluster.address);
    let elapsed = scheduler.run_many(1000, "true", LIMIT);
    report.line("1,000 tasks of `true` on one agent", elapsed.as_secs_f64(), 15.0, "s");
}

fn executor_memory(report: &mut Report) {
    let cluster = Cluster::start(&ClusterOptions::default());
    let mut scheduler = Scheduler::subscribe(&cluster.address);
    let offer = scheduler.next_offer(LIMIT);
    let task = scheduler.task("sleeper", &offer, "sleep 60");
    scheduler.launch(&offer, &[task], 0.0);
    scheduler.wait_for_state("sleeper", "TASK_RUNNING", LIMIT);
    let containers = get_json(&format!("http://{}/containers", cluster.agents[0].address));
    assert_eq!(containers.as_array().map(Vec::len), Some(1), "{containers}");
    let executor = executor_of(cluster.folder());
    // After a second without work it gives back what starting took.
    std::thread::sleep(Duration::from_secs(2));
    report.line("idle command executor, resident", resident_mebibytes(executor), 4.0, "MiB");
    assert_ne!(containers[0]["statistics"]["mem_rss_bytes"], json!(0));
}

/// The process that runs as executor for a sandbox in this folder.
fn executor_of(folder: &Path) -> u32 {
    let folder = folder.to_string_lossy().into_owned();
    let entries = std::fs::read_dir("/proc").expect("/proc").flatten();
    let ids = entries.filter_map(|entry| entry.file_name().to_string_lossy().parse::<u32>().ok());
    ids.filter(|id| {
        let read = |name: &str| std::fs::read(format!("/proc/{id}/{name}")).unwrap_or_default();
        let environment = String::from_utf8_lossy(&read("environ")).into_owned();
        environment.contains(&folder) && read("cmdline").starts_with(b"mesos-executor")
    })
    .min()
    .expect("an executor runs")
}

fn resident_mebibytes(process: u32) -> f64 {
    let status = std::fs::read_to_string(format!("/proc/{process}/status")).expect("a process");
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).expect("a resident size");
    let kibibytes: f64 = line.split_whitespace().nth(1).and_then(|n| n.parse().ok()).expect("kB");
    kibibytes / 1024.0
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}
