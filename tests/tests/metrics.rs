//! Metrics: the documented names are the served ones, those of Apache Mesos are among them, and the
//! logging level that operators raise.

use std::collections::BTreeSet;
use std::path::Path;
use std::time::Duration;

use serde_json::{Value, json};
use tests::scheduler::Scheduler;
use tests::{Cluster, ClusterOptions, get, get_json, post_json, wait_until};

const LIMIT: Duration = Duration::from_secs(60);

/// A name of `docs/user/metrics.md`.
#[derive(Debug)]
struct Documented {
    /// Components, with `<word>` for one or more of any.
    pattern: Vec<String>,
    /// Whether it is there from the start.
    always: bool,
}

/// The names in the tables of one section.
fn documented(section: &str) -> Vec<Documented> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/user/metrics.md");
    let text = std::fs::read_to_string(path).expect("the page of metrics");
    let sections =
        text.split("\n## ").filter(|it| it.starts_with(section) || it.starts_with("Both"));
    let rows = sections.flat_map(str::lines).filter(|line| line.starts_with("| `"));
    let mut names = Vec::new();
    for row in rows {
        let cells: Vec<&str> = row.split('|').map(str::trim).collect();
        let always = cells[2].is_empty();
        for written in cells[1].split('`').filter(|text| text.contains('/')) {
            for name in expand(written) {
                let pattern = name.split('/').map(str::to_owned).collect();
                names.push(Documented { pattern, always });
            }
        }
    }
    names
}

/// `a/{b,c}` is `a/b` and `a/c`.
fn expand(written: &str) -> Vec<String> {
    let Some((before, rest)) = written.split_once('{') else {
        return vec![written.to_owned()];
    };
    let (choices, after) = rest.split_once('}').expect("a closing brace");
    choices.split(',').flat_map(|choice| expand(&format!("{before}{choice}{after}"))).collect()
}

fn matches(pattern: &[String], name: &[&str]) -> bool {
    match (pattern.split_first(), name.split_first()) {
        (None, None) => true,
        (Some((part, patterns)), Some((first, names))) => {
            let any = part.starts_with('<');
            (any || part == first) && (matches(patterns, names) || (any && matches(pattern, names)))
        }
        (None, Some(_)) | (Some(_), None) => false,
    }
}

fn names(metrics: &Value) -> BTreeSet<String> {
    metrics.as_object().expect("an object").keys().cloned().collect()
}

/// What `GET_METRICS` shows.
fn called(address: &str) -> BTreeSet<String> {
    let call = json!({
        "type": "GET_METRICS",
        "get_metrics": {"timeout": {"nanoseconds": 5_000_000_000_u64}}
    });
    let (status, body) = post_json(&format!("http://{address}/api/v1"), &call);
    assert_eq!(status, 200, "{body}");
    let answer: Value = serde_json::from_str(&body).expect("JSON");
    let metrics = answer["get_metrics"]["metrics"].as_array().expect("a list");
    assert!(metrics.iter().all(|metric| metric["value"].is_number()));
    metrics.iter().filter_map(|metric| metric["name"].as_str()).map(str::to_owned).collect()
}

/// The ids of frameworks stand in names.
fn without_ids(names: &BTreeSet<String>) -> BTreeSet<String> {
    let general = |name: &String| {
        let mut parts: Vec<&str> = name.split('/').collect();
        if let ["master", "frameworks", own, id, ..] = parts.as_mut_slice() {
            (*own, *id) = ("name", "id");
        }
        parts.join("/")
    };
    names.iter().map(general).collect()
}

#[test]
fn every_metric_is_documented_and_those_of_mesos_are_there() {
    let cluster = Cluster::start(&ClusterOptions::default());
    let mut completed = Scheduler::subscribe(&cluster.address);
    let offer = completed.next_offer(LIMIT);
    let task = completed.task("t", &offer, "exit 3");
    completed.launch(&offer, &[task], 0.0);
    completed.wait_for_state("t", "TASK_FAILED", LIMIT);
    completed.call(json!({"type": "TEARDOWN"}));
    let _running = Scheduler::subscribe(&cluster.address);

    for (daemon, address) in [("Master", &cluster.address), ("Agent", &cluster.agents[0].address)] {
        let served = names(&get_json(&format!("http://{address}/metrics/snapshot")));
        let table = documented(daemon);
        let split: Vec<Vec<&str>> = served.iter().map(|name| name.split('/').collect()).collect();
        let unknown: Vec<&Vec<&str>> = split
            .iter()
            .filter(|name| !table.iter().any(|it| matches(&it.pattern, name)))
            .collect();
        assert!(unknown.is_empty(), "{daemon} serves what no page names: {unknown:#?}");
        let lacking: Vec<&Documented> = table
            .iter()
            .filter(|it| it.always && !split.iter().any(|name| matches(&it.pattern, name)))
            .collect();
        assert!(lacking.is_empty(), "{daemon} lacks what its page names: {lacking:#?}");
        assert_eq!(without_ids(&called(address)), without_ids(&served), "{daemon}");

        let file = format!("golden/{}/GET_metrics_snapshot.json", daemon.to_lowercase());
        let text = std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(file));
        let recorded: Value =
            serde_json::from_str(&text.expect("a recorded answer")).expect("JSON");
        let recorded = without_ids(&names(&recorded));
        let ours = without_ids(&served);
        let lacking: Vec<&String> =
            recorded.difference(&ours).filter(|name| !name.starts_with("allocator/")).collect();
        assert!(lacking.is_empty(), "{daemon} lacks what Mesos serves: {lacking:#?}");
    }
    let metrics = get_json(&cluster.url("/metrics/snapshot"));
    assert_eq!(metrics["master/slaves_active"].as_f64(), Some(1.0));
    assert_eq!(metrics["master/tasks_failed"].as_f64(), Some(1.0));
}

#[test]
fn the_logging_level_is_raised_for_a_while() {
    let cluster = Cluster::start(&ClusterOptions::default());
    for address in [&cluster.address, &cluster.agents[0].address] {
        let toggle = format!("http://{address}/logging/toggle");
        assert_eq!(get(&toggle), (200, "0\n".to_owned()));
        assert_eq!(get(&format!("{toggle}?level=2&duration=1hrs")).0, 200);
        assert_eq!(get(&toggle).1, "2\n");
        let call = json!({
            "type": "SET_LOGGING_LEVEL",
            "set_logging_level": {"level": 1, "duration": {"nanoseconds": 300_000_000}}
        });
        let (status, body) = post_json(&format!("http://{address}/api/v1"), &call);
        assert_eq!((status, body.as_str()), (200, ""));
        wait_until("the level to fall back", LIMIT, || (get(&toggle).1 == "0\n").then_some(()));
        let (status, text) = get(&format!("{toggle}?level=-1&duration=1secs"));
        assert_eq!((status, text.trim_end()), (400, "Invalid level '-1'."));
    }
    let log = cluster.master.logs();
    assert!(log.contains("DEBUG") || log.contains("TRACE"), "nothing more was logged: {log}");
}
