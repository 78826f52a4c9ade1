//! Agents that leave: on a signal, because the master says so, or after cleaning up.

use std::time::Duration;

use nix::sys::signal::Signal;
use serde_json::json;
use tests::scheduler::Scheduler;
use tests::{Cluster, ClusterOptions, post_json, wait_until};

const LIMIT: Duration = Duration::from_secs(60);
const ENDS: &[&str] =
    &["TASK_KILLED", "TASK_FAILED", "TASK_LOST", "TASK_GONE", "TASK_GONE_BY_OPERATOR"];

/// A cluster, a framework, and the id of its task, whose process tells that it lives by a file.
fn with_task() -> (Cluster, Scheduler, String) {
    let cluster = Cluster::start(&ClusterOptions::default());
    let fields = json!({
        "checkpoint": true,
        "failover_timeout": 3600.0,
        "capabilities": [{"type": "PARTITION_AWARE"}],
    });
    let mut scheduler = Scheduler::subscribe_with(&cluster.address, fields);
    let sign = cluster.folder().join("sign");
    let command = format!("while true; do touch {}; sleep 0.05; done", sign.display());
    let task = scheduler.run("t", &command, 0.0, LIMIT);
    wait_until("the task's first sign", LIMIT, || sign.exists().then_some(()));
    (cluster, scheduler, task)
}

/// Whether the task's process lives still.
fn lives(cluster: &Cluster) -> bool {
    let sign = cluster.folder().join("sign");
    let _ = std::fs::remove_file(&sign);
    std::thread::sleep(Duration::from_millis(500));
    sign.exists()
}

fn wait_until_nobody_is_registered(cluster: &Cluster) {
    wait_until("the agent to be gone", LIMIT, || {
        let agents = cluster.state()["slaves"].as_array().map(Vec::len);
        (agents == Some(0)).then_some(())
    });
}

#[test]
fn an_agent_leaves_on_a_signal_and_takes_its_tasks_along() {
    let (mut cluster, mut scheduler, task) = with_task();
    cluster.agents[0].process.signal(Signal::SIGUSR1);
    assert_eq!(cluster.agents[0].process.wait(LIMIT), 0, "{}", cluster.logs());
    assert!(!lives(&cluster));
    wait_until_nobody_is_registered(&cluster);
    scheduler.wait_for_any_state(&task, ENDS, LIMIT);
}

#[test]
fn an_agent_that_is_gone_is_told_so_whenever_it_comes_back() {
    let (mut cluster, mut scheduler, task) = with_task();
    let id = cluster.state()["slaves"][0]["id"].clone();
    let gone = json!({"type": "MARK_AGENT_GONE", "mark_agent_gone": {"agent_id": {"value": id}}});
    let (status, body) = post_json(&cluster.url("/api/v1"), &gone);
    assert_eq!(status, 200, "{body}");
    scheduler.wait_for_state(&task, "TASK_GONE_BY_OPERATOR", LIMIT);
    assert_eq!(cluster.agents[0].process.wait(LIMIT), 0, "{}", cluster.logs());
    assert!(!lives(&cluster));
    cluster.start_agent(0);
    assert_eq!(cluster.agents[0].process.wait(LIMIT), 0, "{}", cluster.logs());
    let reason = "shut down by the master: Agent has been marked gone";
    assert!(cluster.agents[0].process.logs().contains(reason), "{}", cluster.logs());
    wait_until_nobody_is_registered(&cluster);
}

#[test]
fn cleaning_up_ends_tasks_and_the_next_start_reports_them() {
    let (mut cluster, mut scheduler, task) = with_task();
    cluster.kill_agent(0);
    assert!(lives(&cluster), "the task goes on without its agent");
    cluster.change_agent(0, &[("recover", "cleanup")]);
    cluster.start_agent(0);
    assert_eq!(cluster.agents[0].process.wait(LIMIT), 0, "{}", cluster.logs());
    assert!(!lives(&cluster));
    cluster.change_agent(0, &[("recover", "reconnect")]);
    cluster.start_agent(0);
    cluster.wait_for_agents();
    // The agent has nothing left of it, as in Mesos: the master asks what became of the task.
    scheduler.wait_for_state(&task, "TASK_DROPPED", LIMIT);
    assert_eq!(scheduler.status(&task)["reason"], "REASON_RECONCILIATION");
}
