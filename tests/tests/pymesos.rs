//! Schedulers and an executor on an unchanged pymesos 0.3.15, a client that nobody here wrote.

use std::path::{Path, PathBuf};
use std::thread::JoinHandle;
use std::time::Duration;

use tests::{Cluster, ClusterOptions, Process};

/// Longer than the scenarios' own limit, so that they can say what they waited for.
const SCENARIO_LIMIT: Duration = Duration::from_secs(150);

fn client(name: &str) -> String {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("clients").join(name).display().to_string()
}

/// The interpreter of the virtual environment that `cargo xtask test` installs.
fn python() -> PathBuf {
    std::env::var_os("MESETA_PYMESOS_PYTHON")
        .map(PathBuf::from)
        .expect("MESETA_PYMESOS_PYTHON names no interpreter with pymesos: run `cargo xtask test`")
}

fn scheduler(cluster: &Cluster, scenario: &str, count: &str, more: &[&str]) -> Process {
    let python = python();
    let script = client("pymesos_scheduler.py");
    let mut arguments = vec![script.as_str(), scenario, cluster.address.as_str(), count];
    arguments.extend(more);
    let interpreter = python.display().to_string();
    let executor = client("pymesos_executor.py");
    if scenario == "executor" {
        arguments.extend([interpreter.as_str(), executor.as_str()]);
    }
    Process::start(&python, &arguments, &[], cluster.folder(), &format!("scheduler-{scenario}"))
}

fn assert_done(cluster: &Cluster, mut scheduler: Process) {
    let code = scheduler.wait(SCENARIO_LIMIT);
    if code != 0 {
        panic!("exit code {code}\n{}{}{:#}", scheduler.logs(), cluster.logs(), cluster.state());
    }
    assert!(scheduler.logs().contains("\"done\""), "{}", scheduler.logs());
}

fn run(scenario: &str, count: &str) {
    let cluster = Cluster::start(&ClusterOptions { agents: 2, ..ClusterOptions::default() });
    let scheduler = scheduler(&cluster, scenario, count, &[]);
    assert_done(&cluster, scheduler);
}

/// Runs a scenario while its agent is killed with -9 and started again a few times.
fn run_across_restarts(scenario: &str, count: &str) {
    let mut cluster = Cluster::start(&ClusterOptions::default());
    let mut scheduler = scheduler(&cluster, scenario, count, &["--retry"]);
    for _ in 0..3 {
        std::thread::sleep(Duration::from_millis(1500));
        if !scheduler.is_running() {
            break;
        }
        cluster.restart_agent(0);
    }
    assert_done(&cluster, scheduler);
}

#[test]
fn two_hundred_tasks_finish() {
    run("tasks", "200");
}

#[test]
fn a_pymesos_executor_runs_tasks_and_exchanges_messages() {
    run("executor", "20");
}

#[test]
fn tasks_are_killed() {
    run("kill", "20");
}

#[test]
fn declined_offers_stay_away_as_long_as_the_filter_says() {
    let cluster = Cluster::start(&ClusterOptions::default());
    let scheduler = scheduler(&cluster, "decline", "5", &[]);
    assert_done(&cluster, scheduler);
}

#[test]
fn suppressed_offers_come_back_on_revive() {
    let cluster = Cluster::start(&ClusterOptions::default());
    let scheduler = scheduler(&cluster, "suppress", "1", &[]);
    assert_done(&cluster, scheduler);
}

#[test]
fn running_and_unknown_tasks_are_reconciled() {
    run("reconcile", "10");
}

#[test]
fn tasks_finish_although_their_agent_restarts() {
    run_across_restarts("sleepers", "20");
}

#[test]
fn every_scenario_survives_an_agent_restart() {
    let threads: Vec<JoinHandle<()>> = [
        ("tasks", "200"),
        ("executor", "20"),
        ("kill", "20"),
        ("reconcile", "5"),
        ("decline", "5"),
        ("suppress", "1"),
    ]
    .into_iter()
    .map(|(scenario, count)| std::thread::spawn(move || run_across_restarts(scenario, count)))
    .collect();
    // All are waited for before any is judged, so that each removes its processes.
    let results: Vec<_> = threads.into_iter().map(JoinHandle::join).collect();
    for result in results {
        result.expect("the scenario's own message says what went wrong");
    }
}
