//! Clients of ZooKeeper that nobody here wrote find our masters, and we find theirs: kazoo, and pymesos
//! 0.3.15 with its own detector.

use std::path::{Path, PathBuf};
use std::time::Duration;

use ensemble::Ensemble;
use serde_json::{Value, json};
use tests::{Cluster, ClusterOptions, Process, binary, run, wait_until};

const LIMIT: Duration = Duration::from_secs(60);

/// Longer than the scenarios' own limit, so that they can say what they waited for.
const SCENARIO_LIMIT: Duration = Duration::from_secs(150);

/// The interpreter of the virtual environment that `cargo xtask test` installs.
fn python() -> PathBuf {
    std::env::var_os("MESETA_PYMESOS_PYTHON")
        .map(PathBuf::from)
        .expect("MESETA_PYMESOS_PYTHON names no interpreter with pymesos: run `cargo xtask test`")
}

fn client(script: &str, arguments: &[&str], folder: &Path, name: &str) -> Process {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("clients").join(script);
    let script = script.display().to_string();
    let mut all = vec![script.as_str()];
    all.extend(arguments);
    Process::start(&python(), &all, &[], folder, name)
}

/// `host:port,…/path`, as kazoo takes it.
fn hosts(url: &str) -> &str {
    url.trim_start_matches("zk://")
}

/// What a client has printed under a key so far.
fn said(process: &Process, key: &str) -> Vec<Value> {
    let text = std::fs::read_to_string(&process.stdout).unwrap_or_default();
    let lines = text.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    lines.filter_map(|line| line.get(key).cloned()).collect()
}

/// What `meseta resolve` finds.
fn resolve(url: &str) -> String {
    let output = run(&binary(), &["resolve", "--timeout=20secs", url], &[], LIMIT);
    assert_eq!(output.code, 0, "{output:?}");
    output.stdout.trim_end().to_owned()
}

#[test]
fn pymesos_detector_reads_our_leader_and_follows_it() {
    let Some(ensemble) = Ensemble::start_or_skip(1) else { return };
    let url = ensemble.url("/clusters/mesos");
    let mut first = Cluster::start(&ClusterOptions::on_zookeeper(&url, 0));
    let detector = client("zookeeper_nodes.py", &["detect", hosts(&url)], first.folder(), "kazoo");
    let leader = |cluster: &Cluster| {
        wait_until("the leader's data", LIMIT, || {
            let masters = said(&detector, "master");
            let pid = format!("master@{}", cluster.address);
            masters.into_iter().find(|info| info["pid"] == pid.as_str())
        })
    };
    let info = leader(&first);
    let port: u16 =
        first.address.rsplit(':').next().and_then(|it| it.parse().ok()).expect("a port");
    let address = json!({"hostname": "127.0.0.1", "ip": "127.0.0.1", "port": port});
    assert_eq!(info["address"], address);
    assert_eq!((&info["ip"], &info["port"]), (&json!(16_777_343), &json!(port)));
    assert_eq!(info["hostname"], "127.0.0.1");
    assert!(info["version"].as_str().is_some_and(|it| it.starts_with("1.")), "{info}");
    assert!(info["id"].as_str().is_some_and(|id| !id.is_empty()), "{info}");
    assert!(info["capabilities"].as_array().is_some_and(|all| !all.is_empty()), "{info}");

    let second = Cluster::start(&ClusterOptions::on_zookeeper(&url, 0));
    first.master.kill_hard();
    leader(&second);
    // pymesos takes the least name as text for the leader's.
    let nodes = wait_until("a single candidate", LIMIT, || {
        let nodes = said(&detector, "nodes").pop()?;
        let names = nodes.as_array()?.iter().filter_map(Value::as_str).map(str::to_owned);
        let masters: Vec<String> = names.filter(|name| name != "registry").collect();
        (masters.len() == 1).then_some(masters)
    });
    let number = nodes[0].strip_prefix("json.info_").expect("Mesos' name of a node");
    assert!(number.len() == 10 && number.bytes().all(|byte| byte.is_ascii_digit()), "{nodes:?}");
}

#[test]
fn masters_in_cpp_of_every_age_are_found() {
    let Some(ensemble) = Ensemble::start_or_skip(1) else { return };
    let folder = tempfile::tempdir().expect("a folder");
    for (kind, name) in [("json", "json.info_"), ("protobuf", "info_"), ("pid", "")] {
        let url = ensemble.url(&format!("/{kind}"));
        let arguments = ["lead", hosts(&url), kind, "10.1.2.3", "5051"];
        let leader = client("zookeeper_nodes.py", &arguments, folder.path(), kind);
        let node = wait_until("the node", LIMIT, || said(&leader, "node").pop());
        assert_eq!(node, format!("/{name}0000000000"), "{}", leader.logs());
        assert_eq!(resolve(&url), "10.1.2.3:5051");
    }
}

#[test]
fn pymesos_runs_tasks_across_a_failover_of_the_master() {
    let Some(ensemble) = Ensemble::start_or_skip(1) else { return };
    let url = ensemble.url("/mesos");
    let mut first = Cluster::start(&ClusterOptions::on_zookeeper(&url, 2));
    let second = Cluster::start(&ClusterOptions::on_zookeeper(&url, 0));
    assert_eq!(resolve(&url), first.address);
    let arguments = ["sleepers", url.as_str(), "20", "--retry"];
    let mut scheduler = client("pymesos_scheduler.py", &arguments, first.folder(), "scheduler");
    wait_until("running tasks", LIMIT, || {
        (said(&scheduler, "state").iter().filter(|it| *it == "TASK_RUNNING").count() >= 10)
            .then_some(())
    });
    first.master.kill_hard();
    let code = scheduler.wait(SCENARIO_LIMIT);
    assert_eq!(code, 0, "{}{}{}", scheduler.logs(), first.logs(), second.logs());
    assert_eq!(resolve(&url), second.address);
    assert_eq!(said(&scheduler, "done"), ["sleepers"], "{}", scheduler.logs());
    assert_eq!(said(&scheduler, "reregistered").len(), 1, "{}", scheduler.logs());
}
