//! Agents that find their master in a real ZooKeeper ensemble. The masters here do not contend: the test
//! makes their nodes, as masters would, so that it decides who leads.

use std::time::{Duration, Instant};

use ensemble::Ensemble;
use serde_json::{Value, json};
use tests::scheduler::Scheduler;
use tests::{Cluster, ClusterOptions, Leadership, get, get_json, try_get_json, wait_until};

const LIMIT: Duration = Duration::from_secs(60);
/// After so long without a ping an agent looks for its master again.
const PINGS_MISSED: Duration = Duration::from_secs(75);
const PASSWORD: &str = "zk-password-of-the-test";

fn lone_master() -> Cluster {
    Cluster::start(&ClusterOptions { agents: 0, ..ClusterOptions::default() })
}

/// Options of agents that look for their master at `url`.
fn following(url: &str) -> ClusterOptions {
    ClusterOptions {
        agents_master: Some(url.to_owned()),
        agent_flags: vec!["--zk_session_timeout=2secs".to_owned()],
        ..ClusterOptions::default()
    }
}

fn framework() -> Value {
    json!({"checkpoint": true, "failover_timeout": 3600.0})
}

/// A command that runs until a file is there.
fn gated(cluster: &Cluster) -> (std::path::PathBuf, String) {
    let gate = cluster.folder().join("gate");
    let command = format!("while [ ! -e {} ]; do sleep 0.05; done", gate.display());
    (gate, command)
}

/// The ids of a master's active agents.
fn active_agents(master: &Cluster) -> Vec<String> {
    let state = try_get_json(&master.url("/state")).unwrap_or_default();
    let agents = state["slaves"].as_array().cloned().unwrap_or_default();
    agents.iter().filter(|it| it["active"] == true).map(|it| it["id"].to_string()).collect()
}

fn wait_for_log(cluster: &Cluster, text: &str) {
    wait_until(text, LIMIT, || cluster.agents[0].process.logs().contains(text).then_some(()));
}

#[test]
fn an_agent_follows_the_leader_and_takes_its_tasks_along() {
    let Some(ensemble) = Ensemble::start_or_skip(1) else { return };
    let url = ensemble.url_as(&format!("meseta:{PASSWORD}"), "/mesos");
    let (mut first, second) = (lone_master(), lone_master());
    let of_first = Leadership::take(&url, &first.address);
    first.add_agent(&following(&url));
    first.wait_for_agents();
    let agent = active_agents(&first);
    let mut scheduler = Scheduler::subscribe_with(&first.address, framework());
    let (gate, command) = gated(&first);
    let task = scheduler.run("t", &command, 3600.0, LIMIT);

    drop(of_first);
    let _of_second = Leadership::take(&url, &second.address);
    wait_until("the agent at the new leader", LIMIT, || {
        (active_agents(&second) == agent).then_some(())
    });

    // The old one lives on, and believes that it leads.
    let kill = json!({"task_id": {"value": task}});
    scheduler.call(json!({"type": "KILL", "kill": kill}));
    wait_for_log(&first, "mesos.internal.KillTaskMessage from master@");
    wait_for_log(&first, "ignored: it is not the leader");

    let mut fields = framework();
    fields["id"] = scheduler.id().clone();
    let mut scheduler = Scheduler::subscribe_with(&second.address, fields);
    let running = json!({"tasks": [{"task_id": {"value": task}}]});
    scheduler.call(json!({"type": "RECONCILE", "reconcile": running}));
    scheduler.wait_for_state(&task, "TASK_RUNNING", LIMIT);
    std::fs::write(gate, "").expect("a file");
    scheduler.wait_for_state(&task, "TASK_FINISHED", LIMIT);

    let address = &first.agents[0].address;
    for path in ["/flags", "/state", "/slave(1)/flags"] {
        let (_, body) = get(&format!("http://{address}{path}"));
        assert!(!body.contains(PASSWORD), "{path} shows the password: {body}");
        assert!(body.contains("zk://meseta:***@"), "{path} shows where masters are: {body}");
    }
    assert!(!first.agents[0].process.logs().contains(PASSWORD), "the log shows the password");
}

#[test]
fn without_zookeeper_tasks_go_on_and_what_becomes_of_them_is_told_later() {
    let Some(mut ensemble) = Ensemble::start_or_skip(1) else { return };
    let url = ensemble.url("/mesos");
    let mut cluster = lone_master();
    let leadership = Leadership::take(&url, &cluster.address);
    let file = cluster.folder().join("zk");
    std::fs::write(&file, format!("{url}\n")).expect("a file");
    cluster.add_agent(&following(&format!("file://{}", file.display())));
    cluster.wait_for_agents();
    let mut scheduler = Scheduler::subscribe_with(&cluster.address, framework());
    let (gate, command) = gated(&cluster);
    let task = scheduler.run("t", &command, 3600.0, LIMIT);

    ensemble.kill(0);
    wait_for_log(&cluster, "is out of reach: who leads is not known");
    std::fs::write(gate, "").expect("a file");
    let agent_state = format!("http://{}/state", cluster.agents[0].address);
    wait_until("the end of the task", LIMIT, || {
        get_json(&agent_state).to_string().contains("TASK_FINISHED").then_some(())
    });
    let state = cluster.state();
    assert_eq!(state["frameworks"][0]["tasks"][0]["state"], "TASK_RUNNING", "nobody was told");

    ensemble.restart(0);
    ensemble.wait_for_quorum();
    drop(leadership);
    let _leadership = Leadership::take(&url, &cluster.address);
    scheduler.wait_for_state(&task, "TASK_FINISHED", LIMIT);
}

#[test]
fn a_leader_whose_process_is_replaced_is_joined_at_once() {
    let Some(ensemble) = Ensemble::start_or_skip(1) else { return };
    let url = ensemble.url("/mesos");
    let mut cluster = lone_master();
    let _leadership = Leadership::take(&url, &cluster.address);
    cluster.add_agent(&following(&url));
    cluster.wait_for_agents();
    let agent = active_agents(&cluster);
    // Its node stays where it is, so that the detector has no news.
    let start = Instant::now();
    cluster.restart_master();
    cluster.wait_for_agents();
    assert_eq!(active_agents(&cluster), agent);
    assert!(start.elapsed() < PINGS_MISSED, "no missed ping is waited for: {:?}", start.elapsed());
}

#[test]
fn an_agent_waits_for_zookeeper_and_says_what_is_wrong_there() {
    let Some(mut ensemble) = Ensemble::start_or_skip(1) else { return };
    let url = ensemble.url("/mesos");
    let mut cluster = lone_master();
    ensemble.kill(0);
    cluster.add_agent(&following(&url));
    wait_for_log(&cluster, "looking for the leader at zk://");

    ensemble.restart(0);
    ensemble.wait_for_quorum();
    wait_for_log(&cluster, "no master leads at zk://");
    let garbage = Leadership::take_with(&url, b"no master at all".to_vec());
    wait_for_log(
        &cluster,
        "the leading master is not known: the node '/mesos/json.info_0000000000'",
    );

    drop(garbage);
    let _leadership = Leadership::take(&url, &cluster.address);
    cluster.wait_for_agents();
}

#[test]
fn a_url_that_is_none_is_refused_without_its_password() {
    let arguments = ["agent", "--work_dir=/nowhere", "--master=zk://me:zk-secret@a:2181"];
    let output = tests::run(&tests::binary(), &arguments, &[], LIMIT);
    assert_eq!(output.code, 1);
    let all = format!("{}{}", output.stdout, output.stderr);
    assert!(!all.contains("zk-secret"), "{all}");
    assert!(all.contains("flag --master=zk://me:***@a:2181 is not accepted"), "{all}");
    assert!(all.contains("needs a path such as '/mesos'"), "{all}");
}
