//! swarm, the load generator, against a real master: every scenario, small.

use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::Value;
use tests::{Cluster, ClusterOptions, Output, binary, run};

/// How long one small run may take on a busy machine.
const RUN_LIMIT: Duration = Duration::from_secs(120);

/// The swarm binary that stands beside meseta's.
fn swarm() -> PathBuf {
    let path = binary().with_file_name("swarm");
    assert!(path.exists(), "no {}: run `cargo xtask test`, or build it", path.display());
    path
}

fn master() -> Cluster {
    Cluster::start(&ClusterOptions { agents: 0, ..ClusterOptions::default() })
}

/// Runs a scenario with 50 agents and 5 frameworks; gives its output and its result.
fn measure(cluster: &Cluster, scenario: &str, more: &[&str]) -> (Output, Value) {
    let json = cluster.folder().join(format!("{scenario}.json"));
    let master = format!("--master={}", cluster.address);
    let json_flag = format!("--json={}", json.display());
    let mut arguments =
        vec![scenario, &master, &json_flag, "--agents=50", "--frameworks=5", "--patience=60"];
    arguments.extend(more);
    let output = run(&swarm(), &arguments, &[], RUN_LIMIT);
    assert_eq!(output.code, 0, "{}\n{}\n{}", output.stdout, output.stderr, cluster.logs());
    let text = std::fs::read_to_string(&json).expect("the result as JSON");
    let result: Value = serde_json::from_str(&text).expect("JSON");
    assert_eq!(result["errors"], 0, "{result}");
    assert_eq!(result["scenario"], scenario);
    (output, result)
}

fn number(result: &Value, name: &str) -> f64 {
    result[name].as_f64().unwrap_or_else(|| panic!("{name} is no number: {result}"))
}

#[test]
fn agents_register_and_the_master_is_measured() {
    let cluster = master();
    let (output, result) = measure(&cluster, "register", &["--seconds=1"]);
    assert!(number(&result, "agents_registered_per_second") > 0.0);
    assert_eq!(result["master_pid"], cluster.master.id());
    assert!(number(&result, "master_rss_bytes") > 1e6);
    assert!(output.stdout.contains("agents_registered_per_second"), "{}", output.stdout);
    // It leaves nothing behind.
    tests::wait_until("the agents to leave", RUN_LIMIT, || {
        (cluster.state()["activated_slaves"] == 0.0).then_some(())
    });
}

#[test]
fn a_steady_cluster_runs_tasks_in_both_encodings() {
    let cluster = master();
    let tasks = ["--seconds=3", "--task-seconds=0.5"];
    let (_, protobuf) = measure(&cluster, "steady", &tasks);
    // Each of the 100 places has a new task twice a second.
    assert!(number(&protobuf, "launches_per_second") > 20.0, "{protobuf}");
    assert_eq!(protobuf["tasks_lost"], 0);
    let frameworks = cluster.state()["frameworks"].clone();
    assert_eq!(frameworks, serde_json::json!([]), "frameworks are torn down");
    let (_, json) = measure(&cluster, "steady", &[&tasks[..], &["--encoding=json"]].concat());
    assert!(number(&json, "launches_per_second") > 20.0, "{json}");
}

#[test]
fn a_probe_gets_its_task_in_a_busy_cluster() {
    let cluster = master();
    let flags = ["--seconds=3", "--rate=100", "--probe-interval=0.2", "--roles=3"];
    let (_, result) = measure(&cluster, "nsdi", &flags);
    assert!(number(&result, "probe_delay_ms_p50") > 0.0);
    assert!(number(&result, "probe_delay_ms_p99") >= number(&result, "probe_delay_ms_p50"));
    assert!(number(&result, "probes") >= 5.0, "{result}");
}

#[test]
fn all_agents_come_back_with_their_tasks() {
    let mut cluster = master();
    let address = cluster.address.clone();
    let json = cluster.folder().join("failover.json");
    let arguments = [
        "failover".to_owned(),
        format!("--master={address}"),
        format!("--json={}", json.display()),
        "--agents=50".to_owned(),
        "--frameworks=5".to_owned(),
        "--tasks-per-agent=4".to_owned(),
        "--patience=60".to_owned(),
    ];
    let running = std::thread::spawn(move || {
        let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
        run(&swarm(), &arguments, &[], RUN_LIMIT)
    });
    let tasks = |state: &Value| {
        let frameworks = state["frameworks"].as_array().into_iter().flatten();
        frameworks.filter_map(|it| it["tasks"].as_array()).map(Vec::len).sum::<usize>()
    };
    tests::wait_until("200 tasks", RUN_LIMIT, || (tasks(&cluster.state()) == 200).then_some(()));
    // What swarm waits for may be known to the master a moment earlier.
    std::thread::sleep(Duration::from_secs(1));
    cluster.restart_master();
    let output = running.join().expect("swarm runs");
    assert_eq!(output.code, 0, "{}\n{}\n{}", output.stdout, output.stderr, cluster.logs());
    let text = std::fs::read_to_string(&json).expect("the result as JSON");
    let result: Value = serde_json::from_str(&text).expect("JSON");
    assert_eq!(result["errors"], 0, "{result}");
    assert_eq!(result["tasks_known_after_restart"], 200);
    assert!(number(&result, "reregistration_seconds") > 0.0);
    assert!(number(&result, "first_offer_seconds") > 0.0);
    assert!(number(&result, "health_ms_p99") > 0.0);
}

#[test]
fn readers_are_measured_beside_a_busy_cluster() {
    let cluster = master();
    let flags = ["--seconds=4", "--readers=4", "--task-seconds=0.5"];
    let (_, result) = measure(&cluster, "readers", &flags);
    assert!(number(&result, "reads_per_second") > 0.0);
    assert!(number(&result, "read_first_byte_ms_p50") > 0.0);
    assert!(number(&result, "task_rate_ratio") > 0.0);
    assert!(number(&result, "ten_readers_wall_ratio") > 0.0);
}

#[test]
fn unknown_tasks_are_all_answered() {
    let cluster = master();
    let (_, result) = measure(&cluster, "reconcile", &["--tasks=3000", "--batch=1000"]);
    assert_eq!(result["answers"], 3000);
    assert!(number(&result, "reconcile_seconds") > 0.0);
}

#[test]
fn subscribers_see_a_busy_cluster() {
    let cluster = master();
    let flags = ["--seconds=4", "--subscribers=10", "--task-seconds=0.5"];
    let (_, result) = measure(&cluster, "fanout", &flags);
    assert!(number(&result, "events_delivered_per_second") > 100.0, "{result}");
}

#[test]
fn two_results_stand_side_by_side() {
    let folder = tempfile::tempdir().expect("a folder");
    let write = |name: &str, rate: f64| {
        let path = folder.path().join(name);
        let result = format!(r#"{{"scenario": "steady", "launches_per_second": {rate}}}"#);
        std::fs::write(&path, result).expect("a file");
        path
    };
    let (slow, fast) = (write("slow.json", 100.0), write("fast.json", 250.0));
    let text = |path: &Path| path.display().to_string();
    let output = run(&swarm(), &["compare", &text(&slow), &text(&fast)], &[], RUN_LIMIT);
    assert_eq!(output.code, 0, "{}", output.stderr);
    let row = output.stdout.lines().find(|line| line.starts_with("launches_per_second"));
    assert!(row.is_some_and(|row| row.ends_with("2.50x")), "{}", output.stdout);
}

#[test]
fn a_wrong_command_line_names_the_flag() {
    for (flag, text) in [
        ("--agents=0", "--agents=0 must be at least 1"),
        ("--seconds=-1", "--seconds=-1 must be"),
        ("--master=nowhere", "--master=nowhere has no IPv4 address and port"),
    ] {
        let mut arguments = vec!["steady"];
        if !flag.starts_with("--master") {
            arguments.push("--master=127.0.0.1:1");
        }
        arguments.push(flag);
        let output = run(&swarm(), &arguments, &[], RUN_LIMIT);
        assert_eq!(output.code, 2, "{flag}: {}", output.stdout);
        assert!(output.stderr.contains(text), "{flag}: {}", output.stderr);
    }
}
