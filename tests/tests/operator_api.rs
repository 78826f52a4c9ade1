//! The operator API against answers recorded from a real Apache Mesos: whatever stands in a recorded
//! document stands in ours, with the same type of value.

use std::path::Path;
use std::time::Duration;

use serde_json::{Value, json};
use tests::scheduler::Scheduler;
use tests::{Cluster, ClusterOptions, get, get_json, post_json, wait_until};

const LIMIT: Duration = Duration::from_secs(60);

/// Objects whose keys are data: names of flags, metrics, roles, frameworks.
const MAPS: &[&str] = &["flags", "get_flags", "get_metrics", "metrics", "reserved_resources"];

/// What Meseta has no counterpart of: where Mesos' build came from, and its log directory.
const ABSENT: &[&str] =
    &["git_sha", "git_branch", "git_tag", "log_dir", "build_user", "unregistered_frameworks"];

/// What a capability list says is what is implemented, which differs.
const DIFFERENT: &[&str] = &["capabilities"];

fn golden(file: &str) -> Value {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("golden").join(file);
    let text = std::fs::read_to_string(&path).expect("a recorded answer");
    serde_json::from_str(&text).expect("recorded JSON")
}

/// Paths of the recorded document that ours lacks, or has with another type.
fn missing(recorded: &Value, ours: &Value, path: &str, found: &mut Vec<String>) {
    match (recorded, ours) {
        (Value::Object(recorded), Value::Object(ours)) => {
            for (key, value) in recorded {
                let below = format!("{path}.{key}");
                if ABSENT.contains(&key.as_str()) || DIFFERENT.contains(&key.as_str()) {
                    continue;
                }
                match ours.get(key) {
                    Some(_) if MAPS.contains(&key.as_str()) => {}
                    Some(other) => missing(value, other, &below, found),
                    None => found.push(below),
                }
            }
        }
        (Value::Array(recorded), Value::Array(ours)) => {
            if let (Some(recorded), Some(ours)) = (recorded.first(), ours.first()) {
                missing(recorded, ours, &format!("{path}[0]"), found);
            }
        }
        _ if std::mem::discriminant(recorded) == std::mem::discriminant(ours) => {}
        _ => found.push(format!("{path}: {recorded} became {ours}")),
    }
}

fn assert_covers(file: &str, ours: &Value) {
    let mut found = Vec::new();
    missing(&golden(file), ours, "", &mut found);
    assert!(found.is_empty(), "{file}: {found:#?}\nours: {ours}");
}

/// A cluster as the recorded one: a framework that runs a task, and one whose task is completed.
fn recorded_cluster() -> (Cluster, Scheduler) {
    let cluster = Cluster::start(&ClusterOptions::default());
    let mut completed = Scheduler::subscribe(&cluster.address);
    let offer = completed.next_offer(LIMIT);
    let task = completed.task("t1", &offer, "echo hello");
    completed.launch(&offer, &[task], 0.0);
    completed.wait_for_state("t1", "TASK_FINISHED", LIMIT);
    completed.call(json!({"type": "TEARDOWN"}));
    let mut running = Scheduler::subscribe(&cluster.address);
    let offer = running.next_offer(LIMIT);
    let task = running.task("sleeper", &offer, "sleep 1000");
    running.launch(&offer, &[task], 0.0);
    running.wait_for_state("sleeper", "TASK_RUNNING", LIMIT);
    (cluster, running)
}

#[test]
fn documents_have_the_shapes_of_mesos() {
    let (cluster, _scheduler) = recorded_cluster();
    for path in [
        "state",
        "state-summary",
        "slaves",
        "frameworks",
        "tasks",
        "roles",
        "flags",
        "version",
        "weights",
        "quota",
        "maintenance/schedule",
        "maintenance/status",
    ] {
        let file = format!("master/GET_{}.json", path.replace('/', "_"));
        for form in [format!("/{path}"), format!("/master/{path}"), format!("/{path}.json")] {
            // The version has an actor of its own, and no other names.
            if path == "version" && form != "/version" {
                continue;
            }
            assert_covers(&file, &get_json(&cluster.url(&form)));
        }
    }
    let agent = |path: &str| get_json(&format!("http://{}{path}", cluster.agents[0].address));
    for path in ["state", "flags", "version", "containers", "monitor/statistics"] {
        let file = format!("agent/GET_{}.json", path.replace('/', "_"));
        assert_covers(&file, &agent(&format!("/{path}")));
    }
    assert_covers("agent/GET_slave_1__state.json", &agent("/slave(1)/state"));
}

#[test]
fn calls_are_answered_in_the_shapes_of_mesos() {
    let (cluster, _scheduler) = recorded_cluster();
    let calls = [
        (
            "master",
            vec![
                "GET_AGENTS",
                "GET_EXECUTORS",
                "GET_FLAGS",
                "GET_FRAMEWORKS",
                "GET_HEALTH",
                "GET_LOGGING_LEVEL",
                "GET_MAINTENANCE_SCHEDULE",
                "GET_MAINTENANCE_STATUS",
                "GET_MASTER",
                "GET_OPERATIONS",
                "GET_QUOTA",
                "GET_ROLES",
                "GET_STATE",
                "GET_TASKS",
                "GET_VERSION",
                "GET_WEIGHTS",
            ],
        ),
        (
            "agent",
            vec![
                "GET_AGENT",
                "GET_CONTAINERS",
                "GET_EXECUTORS",
                "GET_FLAGS",
                "GET_FRAMEWORKS",
                "GET_HEALTH",
                "GET_LOGGING_LEVEL",
                "GET_OPERATIONS",
                "GET_RESOURCE_PROVIDERS",
                "GET_STATE",
                "GET_TASKS",
                "GET_VERSION",
            ],
        ),
    ];
    for (daemon, calls) in calls {
        let address =
            if daemon == "master" { &cluster.address } else { &cluster.agents[0].address };
        for call in calls {
            let (status, body) =
                post_json(&format!("http://{address}/api/v1"), &json!({"type": call}));
            assert_eq!(status, 200, "{daemon} {call}: {body}");
            let ours: Value = serde_json::from_str(&body).expect("JSON");
            assert_eq!(ours["type"], call);
            assert_covers(&format!("{daemon}/v1_{call}.json"), &ours);
        }
    }
}

#[test]
fn sandboxes_are_browsed_and_read() {
    let (cluster, _scheduler) = recorded_cluster();
    let agent = format!("http://{}", cluster.agents[0].address);
    let directory = wait_until("the first framework to be completed", LIMIT, || {
        let state = get_json(&format!("{agent}/state"));
        let executors = &state["completed_frameworks"][0]["completed_executors"];
        executors[0]["directory"].as_str().map(str::to_owned)
    });
    let directory = directory.as_str();
    let names: Vec<String> = get_json(&format!("{agent}/files/browse?path={directory}"))
        .as_array()
        .expect("a listing")
        .iter()
        .map(|entry| entry["path"].as_str().unwrap_or_default().replace(directory, ""))
        .collect();
    assert_eq!(names, ["/stderr", "/stdout"]);
    let read = get_json(&format!("{agent}/files/read?path={directory}/stdout&offset=0"));
    assert!(read["data"].as_str().expect("text").contains("hello\n"), "{read}");
    let size = get_json(&format!("{agent}/files/read?path={directory}/stdout&offset=-1"));
    assert_eq!(size["offset"].as_u64(), read["data"].as_str().map(|text| text.len() as u64));
    let (status, body) = get(&format!("{agent}/files/download?path={directory}/stdout"));
    assert_eq!((status, body.as_str()), (200, read["data"].as_str().expect("text")));
    assert_eq!(get(&format!("{agent}/files/read?path=/etc/passwd")).0, 404);
    assert_eq!(get(&format!("{agent}/files/read?path={directory}/../../stdout")).0, 404);
}

#[test]
fn a_framework_is_torn_down_by_the_operator() {
    let (cluster, _scheduler) = recorded_cluster();
    let id = cluster.state()["frameworks"][0]["id"].clone();
    let call = json!({"type": "TEARDOWN", "teardown": {"framework_id": {"value": id}}});
    let (status, body) = post_json(&cluster.url("/api/v1"), &call);
    assert_eq!(status, 200, "{body}");
    wait_until("the framework and its task to end", LIMIT, || {
        let state = cluster.state();
        let agent = get_json(&format!("http://{}/state", cluster.agents[0].address));
        (state["frameworks"].as_array()?.is_empty() && agent["frameworks"].as_array()?.is_empty())
            .then_some(())
    });
}

#[test]
fn what_is_not_there_is_not_found_and_wrong_methods_are_named() {
    let cluster = Cluster::start(&ClusterOptions::default());
    for address in [&cluster.address, &cluster.agents[0].address] {
        assert_eq!(get(&format!("http://{address}/nosuchendpoint")).0, 404);
        let (status, body) = get(&format!("http://{address}/api/v1"));
        assert_eq!(status, 405);
        assert!(body.contains("'POST'"), "{body}");
    }
    let (status, body) = post_json(&cluster.url("/api/v1"), &json!({"type": "UPDATE_QUOTA"}));
    assert!(status == 501 || status == 400, "{status} {body}");
}
