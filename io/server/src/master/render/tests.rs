//! Renders a state that Apache Mesos was in and compares with what it showed.

use std::collections::BTreeMap;
use std::fs;
use std::future::poll_fn;
use std::path::Path;
use std::sync::Arc;

use master::table::Table;
use master::view::{AgentCapabilities, AgentDescription, AgentSums, AgentView, FrameworkView};
use master::{Metrics, Snapshot};
use protocol::master::Response;
use protocol::master::response::get_frameworks::Framework;
use protocol::mesos::{MasterInfo, Task, TimeInfo};
use protocol::time::Timestamp;
use protocol::{Message, Names};
use resources::Resources;
use serde_json::Value;

use super::*;
use crate::http::shared::{CHUNK_BYTES, Coding, Output, Shared};
use crate::http::{ContentType, Query};

type TestResult = Result<(), Box<dyn std::error::Error>>;

fn golden(name: &str) -> Result<Value, Box<dyn std::error::Error>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/golden/master");
    let text = fs::read(folder.join(format!("{name}.json")))?;
    Ok(serde_json::from_slice(&text)?)
}

fn response(name: &str) -> Result<Response, Box<dyn std::error::Error>> {
    Ok(Response::from_json_value(&golden(name)?, Names::V1)?)
}

fn time(info: Option<&TimeInfo>) -> Option<Timestamp> {
    info.map(|info| Timestamp::from_nanos(info.nanoseconds))
}

fn framework_view(
    framework: &Framework,
    tasks: &protocol::master::response::GetTasks,
) -> Result<FrameworkView, Box<dyn std::error::Error>> {
    let id = framework.framework_info.id.clone().unwrap_or_default();
    let own = |tasks: &[Task]| -> Vec<Arc<TaskRecord>> {
        let own = tasks.iter().filter(|task| task.framework_id == id).cloned();
        own.map(TaskRecord::from_task).map(Arc::new).collect()
    };
    Ok(FrameworkView {
        inverse_offers: Vec::new(),
        info: Arc::new(framework.framework_info.clone()),
        pid: None,
        active: framework.active,
        connected: framework.connected,
        recovered: framework.recovered,
        registered_time: time(framework.registered_time.as_ref()).unwrap_or(Timestamp::ZERO),
        reregistered_time: None,
        unregistered_time: time(framework.unregistered_time.as_ref()),
        used_resources: Resources::from_wire(&framework.allocated_resources)?,
        offered_resources: Resources::from_wire(&framework.offered_resources)?,
        offers: framework.offers.iter().cloned().map(Arc::new).collect(),
        tasks: own(&tasks.tasks).into_iter().collect(),
        unreachable_tasks: own(&tasks.unreachable_tasks).into_iter().collect(),
        completed_tasks: own(&tasks.completed_tasks).into_iter().collect(),
        executors: Vec::new(),
        offer_constraints: None,
    })
}

/// The state that the golden files show.
fn snapshot() -> Result<Snapshot, Box<dyn std::error::Error>> {
    let state = response("v1_GET_STATE")?.get_state.ok_or("no state")?;
    let tasks = state.get_tasks.ok_or("no tasks")?;
    let mut agents = Table::default();
    for agent in state.get_agents.ok_or("no agents")?.agents {
        let view = AgentView {
            operations: Vec::new(),
            pid: agent.pid.ok_or("no pid")?.parse()?,
            version: agent.version.into(),
            capabilities: Arc::new(AgentCapabilities::new(agent.capabilities)),
            registered_time: time(agent.registered_time.as_ref()).ok_or("no time")?,
            reregistered_time: time(agent.reregistered_time.as_ref()),
            connected: true,
            active: agent.active,
            deactivated: false,
            drain_info: None,
            drain_start_time: None,
            total_resources: Resources::from_wire(&agent.total_resources)?,
            used_resources: Resources::from_wire(&agent.allocated_resources)?,
            offered_resources: Resources::from_wire(&agent.offered_resources)?,
            info: Arc::new(AgentDescription::new(agent.agent_info)),
        };
        agents.insert(Arc::new(view));
    }
    let mut frameworks = Table::default();
    let mut completed_frameworks = Vec::new();
    let found = state.get_frameworks.ok_or("no frameworks")?;
    for framework in &found.frameworks {
        frameworks.insert(Arc::new(framework_view(framework, &tasks)?));
    }
    for framework in &found.completed_frameworks {
        completed_frameworks.push(Arc::new(framework_view(framework, &tasks)?));
    }
    let info = response("v1_GET_MASTER")?.get_master.ok_or("no master")?;
    Ok(Snapshot {
        maintenance: Arc::default(),
        version: 1,
        master: Arc::new(info.master_info.map_or_else(MasterInfo::default, |info| *info)),
        elected_time: Timestamp::from_secs_f64(info.elected_time.ok_or("not elected")?),
        agents,
        recovered_agents: Table::default(),
        agent_sums: AgentSums::default(),
        unreachable_agents: 0,
        frameworks,
        completed_frameworks,
        weights: Arc::default(),
        quotas: Arc::default(),
        allowed_roles: None,
        metrics: Metrics::default(),
        framework_counts: BTreeMap::new(),
    })
}

fn process() -> Result<Process, Box<dyn std::error::Error>> {
    let state = golden("GET_state")?;
    let flags = state["flags"].as_object().ok_or("no flags")?;
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    Ok(Process {
        version: "1.12.0".to_owned(),
        hostname: "127.0.0.1".to_owned(),
        port: 5050,
        start_time: Timestamp::from_secs_f64(state["start_time"].as_f64().ok_or("no time")?),
        cluster: None,
        flags: flags.iter().map(|(name, value)| (name.clone(), text(value))).collect(),
    })
}

/// Compares names, their order, types and values; numbers to a microsecond.
fn assert_same(actual: &Value, expected: &Value, path: &str) {
    match (actual, expected) {
        (Value::Object(actual), Value::Object(expected)) => {
            let names: Vec<&String> = actual.keys().collect();
            let wanted: Vec<&String> = expected.keys().collect();
            assert_eq!(names, wanted, "names at {path}");
            for (name, value) in actual {
                assert_same(value, &expected[name], &format!("{path}.{name}"));
            }
        }
        (Value::Array(actual), Value::Array(expected)) => {
            assert_eq!(actual.len(), expected.len(), "length at {path}");
            for (index, (one, other)) in actual.iter().zip(expected).enumerate() {
                assert_same(one, other, &format!("{path}[{index}]"));
            }
        }
        (Value::Number(actual), Value::Number(expected)) => {
            assert_eq!(actual.is_f64(), expected.is_f64(), "kind of number at {path}");
            let difference = actual.as_f64().zip(expected.as_f64()).map(|(one, other)| one - other);
            let limit = if actual.is_f64() { 1e-6 } else { 0.5 };
            assert!(
                difference.is_some_and(|it| it.abs() < limit),
                "{actual} at {path}: {expected}"
            );
        }
        _ => assert_eq!(actual, expected, "value at {path}"),
    }
}

fn check(body: &[u8], name: &str) -> TestResult {
    let actual = serde_json::from_slice(body)?;
    assert_same(&actual, &golden(name)?, name);
    Ok(())
}

/// What depends on when and where a program was built.
fn without_build(mut value: Value) -> Value {
    if let Some(object) = value.as_object_mut() {
        for name in ["git_sha", "git_branch", "git_tag"] {
            object.shift_remove(name);
        }
        for name in ["build_date", "build_user"] {
            object.insert(name.to_owned(), Value::from(""));
        }
        object.insert("build_time".to_owned(), Value::from(0.0));
    }
    value
}

#[test]
fn state_is_what_mesos_shows() -> TestResult {
    let body = state(&snapshot()?, &process()?);
    let actual = without_build(serde_json::from_slice(&body)?);
    let mut expected = without_build(golden("GET_state")?);
    // Capabilities name what this master can do.
    expected["capabilities"] = serde_json::json!(["AGENT_UPDATE", "AGENT_DRAINING", "QUOTA_V2"]);
    assert_same(&actual, &expected, "GET_state");
    Ok(())
}

#[test]
fn state_summary_is_what_mesos_shows() -> TestResult {
    check(&state_summary(&snapshot()?, &process()?), "GET_state-summary")
}

#[test]
fn agents_are_what_mesos_shows() -> TestResult {
    check(&slaves(&snapshot()?, None), "GET_slaves")?;
    let none: Value = serde_json::from_slice(&slaves(&snapshot()?, Some("other")))?;
    assert_eq!(none, serde_json::json!({"slaves": [], "recovered_slaves": []}));
    Ok(())
}

#[test]
fn frameworks_are_what_mesos_shows() -> TestResult {
    check(&frameworks(&snapshot()?, None), "GET_frameworks")?;
    let snapshot = snapshot()?;
    let id = snapshot.frameworks.keys().next().ok_or("no framework")?.value.clone();
    let one: Value = serde_json::from_slice(&frameworks(&snapshot, Some(&id)))?;
    assert_eq!(one["frameworks"][0]["id"], id.as_str());
    assert_eq!(one["completed_frameworks"], serde_json::json!([]));
    Ok(())
}

#[test]
fn roles_are_what_mesos_shows() -> TestResult {
    check(&roles(&snapshot()?), "GET_roles")?;
    check(&view(&snapshot()?, View::Roles, ContentType::Json), "v1_GET_ROLES")
}

#[test]
fn tasks_are_selected_and_ordered() -> TestResult {
    let snapshot = snapshot()?;
    let ids = |query: &str| -> Result<Vec<String>, Box<dyn std::error::Error>> {
        let body = tasks(&snapshot, &TaskQuery::new(&Query::parse(query)?));
        let value: Value = serde_json::from_slice(&body)?;
        let tasks = value["tasks"].as_array().ok_or("no tasks")?;
        Ok(tasks.iter().filter_map(|task| task["id"].as_str().map(str::to_owned)).collect())
    };
    check(&tasks(&snapshot, &TaskQuery::new(&Query::default())), "GET_tasks")?;
    assert_eq!(ids("")?, ["sleeper", "t1"]);
    assert_eq!(ids("order=asc")?, ["t1", "sleeper"]);
    assert_eq!(ids("limit=1&offset=1")?, ["t1"]);
    assert_eq!(ids("task_id=t1")?, ["t1"]);
    assert_eq!(ids("framework_id=nobody")?, Vec::<String>::new());
    assert_eq!(ids("limit=x")?, ["sleeper", "t1"]);
    Ok(())
}

#[test]
fn operator_reads_are_what_mesos_shows() -> TestResult {
    let snapshot = snapshot()?;
    for (kind, name) in [
        (View::State, "v1_GET_STATE"),
        (View::Agents, "v1_GET_AGENTS"),
        (View::Frameworks, "v1_GET_FRAMEWORKS"),
        (View::Executors, "v1_GET_EXECUTORS"),
        (View::Tasks, "v1_GET_TASKS"),
        (View::Weights, "v1_GET_WEIGHTS"),
    ] {
        let json = view(&snapshot, kind, ContentType::Json);
        check(&json, name)?;
        let protobuf = Response::decode(&view(&snapshot, kind, ContentType::Protobuf))?;
        let same = Response::from_json(&json, Names::V1)?;
        assert_eq!(protobuf, same, "{name} in protobuf and JSON");
    }
    Ok(())
}

#[test]
fn an_operators_stream_begins_with_the_state() -> TestResult {
    let snapshot = snapshot()?;
    let json: Value = serde_json::from_slice(&subscribed(&snapshot, 15.0, ContentType::Json))?;
    assert_eq!(json["type"], "SUBSCRIBED");
    assert_eq!(json["subscribed"]["heartbeat_interval_seconds"], 15.0);
    let state = golden("v1_GET_STATE")?;
    assert_same(&json["subscribed"]["get_state"], &state["get_state"], "SUBSCRIBED");
    let body = subscribed(&snapshot, 15.0, ContentType::Protobuf);
    let event = protocol::master::Event::decode(&body)?;
    let subscribed = event.subscribed.ok_or("nothing")?;
    assert_eq!(subscribed.heartbeat_interval_seconds, Some(15.0));
    assert_eq!(
        subscribed.get_state.and_then(|it| it.get_agents).map(|it| it.agents.len()),
        Some(1)
    );
    Ok(())
}

#[test]
fn versions_have_the_fields_of_mesos() -> TestResult {
    let expected = without_build(golden("GET_version")?);
    let mut actual: Value = serde_json::from_slice(&crate::version::document("1.12.0"))?;
    let names = |value: &Value| {
        let mut names: Vec<String> =
            value.as_object().into_iter().flatten().map(|(name, _)| name.clone()).collect();
        names.sort();
        names
    };
    actual = without_build(actual);
    assert_eq!(names(&actual), names(&expected));
    assert_eq!(actual["version"], "1.12.0");
    Ok(())
}

/// All that a rendering puts out.
async fn streamed(
    render: impl Fn(Output) + Send + Sync + 'static,
) -> Result<Vec<u8>, Box<dyn std::error::Error>> {
    let (_, mut body) = Shared::start(Coding::Identity, render);
    let mut all = Vec::new();
    while let Some(chunk) = poll_fn(|context| body.poll_chunk(context)).await {
        all.extend_from_slice(&chunk?);
    }
    Ok(all)
}

/// The golden state with very many tasks, so that it takes several pieces.
fn large_snapshot() -> Result<Snapshot, Box<dyn std::error::Error>> {
    let mut large = snapshot()?;
    let framework = large.frameworks.values().next().ok_or("no framework")?;
    let mut framework = framework.as_ref().clone();
    let task = all_tasks(&framework).next().ok_or("no task")?.to_task();
    framework.tasks = (0..3000)
        .map(|number| {
            let value = format!("task-{number}");
            let task_id = protocol::mesos::TaskId { value, ..Default::default() };
            Arc::new(TaskRecord::from_task(Task { task_id, ..task.clone() }))
        })
        .collect();
    large.frameworks.insert(Arc::new(framework));
    Ok(large)
}

#[tokio::test]
async fn what_is_sent_piece_by_piece_is_the_whole() -> Result<(), Box<dyn std::error::Error>> {
    let snapshot = Arc::new(large_snapshot()?);
    let process = Arc::new(process()?);
    let whole = state(&snapshot, &process);
    let (shared, own) = (Arc::clone(&snapshot), Arc::clone(&process));
    let pieces = streamed(move |output| stream_state(&shared, &own, output)).await?;
    assert!(whole.len() > 2 * CHUNK_BYTES, "{} bytes", whole.len());
    assert!(whole == pieces, "/state differs when it is sent piece by piece");

    let views = [View::State, View::Agents, View::Frameworks, View::Executors, View::Tasks];
    for wanted in views {
        let shared = Arc::clone(&snapshot);
        let pieces =
            streamed(move |it| stream_view(&shared, wanted, ContentType::Json, it)).await?;
        assert!(pieces == view(&snapshot, wanted, ContentType::Json), "{wanted:?} differs");

        let shared = Arc::clone(&snapshot);
        let pieces =
            streamed(move |it| stream_view(&shared, wanted, ContentType::Protobuf, it)).await?;
        let whole = view(&snapshot, wanted, ContentType::Protobuf);
        assert_eq!(Response::decode(&pieces)?, Response::decode(&whole)?, "{wanted:?}");
    }
    Ok(())
}
