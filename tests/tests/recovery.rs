//! What survives when daemons are killed with -9.

use std::time::Duration;

use serde_json::Value;
use tests::{Cluster, ClusterOptions, Process, binary, get_json, wait_until};

const LIMIT: Duration = Duration::from_secs(60);

fn execute(cluster: &Cluster, name: &str, command: &str) -> Process {
    let master = format!("--master={}", cluster.address);
    let (name_flag, command) = (format!("--name={name}"), format!("--command={command}"));
    let arguments = [
        "execute",
        master.as_str(),
        name_flag.as_str(),
        command.as_str(),
        "--resources=cpus:0.1;mem:32",
        "--checkpoint",
    ];
    Process::start(&binary(), &arguments, &[], cluster.folder(), name)
}

fn tasks(state: &Value) -> Vec<(String, String)> {
    let frameworks = state["frameworks"].as_array().expect("frameworks");
    let tasks = frameworks.iter().flat_map(|framework| {
        framework["tasks"].as_array().expect("tasks").iter().map(|task| {
            (
                task["id"].as_str().unwrap_or("").to_owned(),
                task["state"].as_str().unwrap_or("").to_owned(),
            )
        })
    });
    tasks.collect()
}

fn wait_for_running(cluster: &Cluster, count: usize) {
    wait_until("tasks to run", LIMIT, || {
        let running = tasks(&cluster.state()).iter().filter(|t| t.1 == "TASK_RUNNING").count();
        (running == count).then_some(())
    });
}

#[test]
fn running_tasks_survive_their_agent_and_finished_ones_are_reported() {
    let mut cluster = Cluster::start(&ClusterOptions::default());
    let gate = cluster.folder().join("gate");
    let wait_for_gate = format!("while [ ! -e {} ]; do sleep 0.05; done", gate.display());
    let mut early = execute(&cluster, "early", &wait_for_gate);
    let late_gate = cluster.folder().join("late-gate");
    let wait = format!("while [ ! -e {} ]; do sleep 0.05; done", late_gate.display());
    let mut late = execute(&cluster, "late", &wait);
    wait_for_running(&cluster, 2);
    let before = get_json(&format!("http://{}/state", cluster.agents[0].address))["id"].clone();

    cluster.kill_agent(0);
    // This task finishes while no agent is there to hear of it.
    std::fs::write(&gate, "").expect("a file");
    std::thread::sleep(Duration::from_millis(500));
    cluster.start_agent(0);

    assert_eq!(early.wait(LIMIT), 0, "{}{}", early.logs(), cluster.logs());
    wait_for_running(&cluster, 1);
    let after = get_json(&format!("http://{}/state", cluster.agents[0].address))["id"].clone();
    assert_eq!(before, after, "the agent keeps its id");
    std::fs::write(&late_gate, "").expect("a file");
    assert_eq!(late.wait(LIMIT), 0, "{}{}", late.logs(), cluster.logs());
}

#[test]
fn tasks_do_not_notice_that_the_master_restarts() {
    let mut cluster = Cluster::start(&ClusterOptions::default());
    let gate = cluster.folder().join("gate");
    let command = format!("while [ ! -e {} ]; do sleep 0.05; done", gate.display());
    let mut execute = execute(&cluster, "patient", &command);
    wait_for_running(&cluster, 1);
    let agent = cluster.state()["slaves"][0]["id"].clone();

    cluster.restart_master();

    cluster.wait_for_agents();
    assert_eq!(cluster.state()["slaves"][0]["id"], agent, "the agent is known again");
    wait_for_running(&cluster, 1);
    std::fs::write(&gate, "").expect("a file");
    assert_eq!(execute.wait(LIMIT), 0, "{}{}", execute.logs(), cluster.logs());
}

#[test]
fn a_registry_survives_a_kill_at_any_instant() {
    let mut cluster = Cluster::start(&ClusterOptions { agents: 3, ..ClusterOptions::default() });
    let ids = |state: &Value| -> Vec<String> {
        let agents = state["slaves"].as_array().expect("slaves").iter();
        let mut ids: Vec<String> = agents.map(|agent| agent["id"].to_string()).collect();
        ids.sort();
        ids
    };
    let before = ids(&cluster.state());
    for pause in [0, 1, 3, 10, 30, 100, 300] {
        cluster.restart_master();
        std::thread::sleep(Duration::from_millis(pause));
    }
    cluster.wait_for_agents();
    assert_eq!(ids(&cluster.state()), before, "every agent kept its id");
}

#[test]
fn a_changed_agent_refuses_to_start_and_changes_nothing() {
    let mut cluster = Cluster::start(&ClusterOptions::default());
    cluster.kill_agent(0);
    let before = cluster.agents[0].address.clone();
    for (port, way_out) in [
        (before.rsplit(':').next().expect("a port"), "--reconfiguration_policy=any allows that"),
        ("0", "know the agent by it: start it as before"),
    ] {
        let work_dir = format!("--work_dir={}", cluster.agents[0].work_dir.display());
        let master = format!("--master={}", cluster.address);
        let port = format!("--port={port}");
        let arguments = [
            "agent",
            master.as_str(),
            work_dir.as_str(),
            port.as_str(),
            "--ip=127.0.0.1",
            "--no-hostname_lookup",
            "--resources=cpus:1;mem:64",
        ];
        let mut changed = Process::start(&binary(), &arguments, &[], cluster.folder(), "changed");
        assert_eq!(changed.wait(LIMIT), 1, "{}", changed.logs());
        let logs = changed.logs();
        assert!(logs.contains(way_out), "the way out is named: {logs}");
    }
    cluster.start_agent(0);
    cluster.wait_for_agents();
}
