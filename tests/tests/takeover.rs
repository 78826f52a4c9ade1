//! What a master finds that leads after another one: its registry, agents with running tasks, frameworks.

use std::path::PathBuf;
use std::time::Duration;

use serde_json::{Value, json};
use tests::scheduler::Scheduler;
use tests::{
    Daemon, EnsembleCluster, EnsembleClusterOptions, PATIENCE, Place, Process, binary, exchange,
    get_json, post_form, post_json, wait_until,
};

/// The task of [`Patient`] in the leader's state.
fn running_task(state: &Value) -> Option<Value> {
    let frameworks = state["frameworks"].as_array()?.iter();
    let mut tasks = frameworks.filter_map(|framework| framework["tasks"].as_array()).flatten();
    tasks.find(|task| task["name"] == "patient" && task["state"] == "TASK_RUNNING").cloned()
}

/// A task of `meseta execute` that runs until it is let go, and counts how often it was started.
struct Patient {
    execute: Process,
    gate: PathBuf,
    starts: PathBuf,
}

impl Patient {
    fn start(cluster: &mut EnsembleCluster) -> Self {
        let gate = cluster.folder().join("gate");
        let starts = cluster.folder().join("starts");
        let command = format!(
            "echo started >> {}; while [ ! -e {} ]; do sleep 0.05; done",
            starts.display(),
            gate.display()
        );
        let arguments = [
            "execute".to_owned(),
            format!("--master={}", cluster.url()),
            "--name=patient".to_owned(),
            format!("--command={command}"),
            "--resources=cpus:0.1;mem:32".to_owned(),
            "--checkpoint".to_owned(),
        ];
        let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
        let execute = Process::start(&binary(), &arguments, &[], cluster.folder(), "execute");
        let patient = Self { execute, gate, starts };
        patient.wait_until_running(cluster);
        patient
    }

    fn wait_until_running(&self, cluster: &mut EnsembleCluster) -> Value {
        wait_until("the task to run", PATIENCE, || running_task(&cluster.state()))
    }

    /// Lets the task end, and expects that its framework is told.
    fn assert_finishes(mut self) {
        std::fs::write(&self.gate, "").expect("a file");
        let code = self.execute.wait(PATIENCE);
        assert_eq!(code, 0, "{}", self.execute.logs());
        assert!(self.execute.logs().contains("TASK_FINISHED"), "{}", self.execute.logs());
        let starts = std::fs::read_to_string(&self.starts).expect("the task has run");
        assert_eq!(starts, "started\n", "the task has run once");
    }
}

fn with_agents(agents: usize) -> Option<EnsembleCluster> {
    EnsembleCluster::start(EnsembleClusterOptions { agents, ..Default::default() })
}

fn agent_ids(state: &Value) -> Vec<String> {
    let agents = state["slaves"].as_array().expect("agents").iter();
    let mut ids: Vec<String> =
        agents.map(|agent| agent["id"].as_str().expect("an id").to_owned()).collect();
    ids.sort();
    ids
}

fn operate(master: &Daemon, call: &Value) {
    let (status, body) = post_json(&master.url("/api/v1"), call);
    assert_eq!(status, 200, "{call}: {body}");
}

#[test]
fn the_next_leader_finds_all_that_the_first_one_knew() {
    let Some(mut cluster) = with_agents(2) else { return };
    let patient = Patient::start(&mut cluster);
    let busy = patient.wait_until_running(&mut cluster)["slave_id"].clone();
    let before = cluster.state();
    let ids = agent_ids(&before);
    let idle = ids.iter().find(|id| busy != id.as_str()).expect("an idle agent").clone();

    let leader = cluster.wait_for_leader();
    let master = &cluster.masters[leader];
    let weights = json!([{"role": "ads", "weight": 5.0}]);
    operate(
        master,
        &json!({"type": "UPDATE_WEIGHTS", "update_weights": {"weight_infos": weights}}),
    );
    let quota = json!([{"role": "ads", "limits": {"cpus": {"value": 1.0}}}]);
    operate(master, &json!({"type": "UPDATE_QUOTA", "update_quota": {"quota_configs": quota}}));
    let schedule = json!({"windows": [{
        "machine_ids": [{"hostname": "machine-1", "ip": "10.1.2.3"}],
        "unavailability": {"start": {"nanoseconds": 4_000_000_000_000_000_000_u64}},
    }]});
    let (status, body) = post_json(&master.url("/maintenance/schedule"), &schedule);
    assert_eq!(status, 200, "{body}");
    let drain = json!({"type": "DRAIN_AGENT", "drain_agent": {"agent_id": {"value": idle}}});
    operate(master, &drain);
    let removed = torn_down_framework(master);
    let shown = policies(master);

    cluster.masters[leader].kill();
    let next = cluster.wait_for_leader_other_than(Some(leader));
    let master = &cluster.masters[next];
    assert_eq!(policies(master), shown);
    assert_removed(master, &removed);
    cluster.wait_for_agents_with_ids(&ids);
    let task = patient.wait_until_running(&mut cluster);
    assert_eq!(task["slave_id"], busy, "the task is where it was");
    wait_until("the drained agent to be known as such", PATIENCE, || {
        let state = cluster.state();
        let agents = state["slaves"].as_array()?;
        let agent = agents.iter().find(|agent| agent["id"] == idle.as_str())?;
        (agent["deactivated"] == true && agent["drain_info"]["state"] == "DRAINED").then_some(())
    });
    patient.assert_finishes();
}

/// What operators have set.
fn policies(master: &Daemon) -> [Value; 3] {
    ["/weights", "/quota", "/maintenance/schedule"].map(|path| get_json(&master.url(path)))
}

/// The id of a framework that was there and is no more.
fn torn_down_framework(master: &Daemon) -> Value {
    let scheduler = Scheduler::subscribe_with(
        &master.address,
        json!({"name": "removed", "failover_timeout": 3600.0}),
    );
    let state = get_json(&master.url("/state"));
    let frameworks = state["frameworks"].as_array().expect("frameworks").iter();
    let id =
        { frameworks }.find(|it| it["name"] == "removed").expect("it is subscribed")["id"].clone();
    let text = id.as_str().expect("an id");
    let (status, body) = post_form(&master.url("/teardown"), &[("frameworkId", text)]);
    assert_eq!(status, 200, "{body}");
    drop(scheduler);
    id
}

fn assert_removed(master: &Daemon, id: &Value) {
    let id = json!({"value": id});
    let subscribe = json!({
        "type": "SUBSCRIBE",
        "framework_id": id,
        "subscribe": {"framework_info": {"user": "root", "name": "removed", "id": id}},
    });
    let url = master.url("/api/v1/scheduler");
    let answer = exchange("POST", &url, &subscribe.to_string(), PATIENCE);
    let body = answer.expect("an answer that ends").body;
    assert!(body.contains("\"ERROR\"") && body.contains("removed"), "{body}");
}

#[test]
fn a_leader_that_wakes_up_late_does_not_disturb_agents_and_tasks() {
    let Some(mut cluster) = with_agents(1) else { return };
    let patient = Patient::start(&mut cluster);
    let ids = agent_ids(&cluster.state());
    let leader = cluster.wait_for_leader();
    cluster.masters[leader].pause();
    cluster.wait_for_leader_other_than(Some(leader));
    cluster.wait_for_agents_with_ids(&ids);
    patient.wait_until_running(&mut cluster);
    cluster.masters[leader].resume();
    assert_eq!(cluster.masters[leader].process.wait(PATIENCE), 1);
    std::thread::sleep(Duration::from_secs(1));
    cluster.wait_for_agents_with_ids(&ids);
    patient.assert_finishes();
    assert!(cluster.agents[0].process.is_running());
}

#[test]
fn tasks_go_on_and_end_while_nobody_leads() {
    let Some(mut cluster) = with_agents(1) else { return };
    let patient = Patient::start(&mut cluster);
    for master in &mut cluster.masters {
        master.kill();
    }
    // The task ends meanwhile.
    std::fs::write(&patient.gate, "").expect("a file");
    std::thread::sleep(Duration::from_secs(3));
    for master in &mut cluster.masters {
        master.restart();
    }
    cluster.wait_for_leader();
    patient.assert_finishes();
}

#[test]
fn a_master_with_an_empty_registry_takes_over_agents_with_their_tasks() {
    let Some(mut cluster) = EnsembleCluster::start(EnsembleClusterOptions {
        masters: 1,
        agents: 1,
        ..EnsembleClusterOptions::default()
    }) else {
        return;
    };
    let patient = Patient::start(&mut cluster);
    let ids = agent_ids(&cluster.state());
    let url = cluster.url().to_owned();
    cluster.add_master_with(&url, Place::on_loopback(), &["--registry=in_memory"]);
    cluster.masters[0].kill();
    assert_eq!(cluster.wait_for_leader(), 1);
    cluster.wait_for_agents_with_ids(&ids);
    patient.wait_until_running(&mut cluster);
    patient.assert_finishes();
}
