//! An agent whose resources and attributes change over a restart, while a task runs.

use std::time::Duration;

use serde_json::{Value, json};
use tests::scheduler::Scheduler;
use tests::{Cluster, ClusterOptions, get_json, wait_until};

const LIMIT: Duration = Duration::from_secs(60);

fn cpus(offer: &Value) -> f64 {
    let resources = offer["resources"].as_array().expect("resources");
    let cpus = resources.iter().filter(|resource| resource["name"] == "cpus");
    cpus.filter_map(|resource| resource["scalar"]["value"].as_f64()).sum()
}

fn attributes(offer: &Value) -> Vec<String> {
    let attributes = offer["attributes"].as_array().cloned().unwrap_or_default();
    attributes.iter().map(|it| format!("{}:{}", it["name"], it["text"]["value"])).collect()
}

/// The cluster, a framework, and its running task that uses one CPU of four.
fn with_task() -> (Cluster, Scheduler, String) {
    let cluster = Cluster::start(&ClusterOptions::default());
    let fields = json!({"checkpoint": true, "failover_timeout": 3600.0});
    let mut scheduler = Scheduler::subscribe_with(&cluster.address, fields);
    let gate = cluster.folder().join("gate");
    let command = format!("while [ ! -e {} ]; do sleep 0.05; done", gate.display());
    let offer = scheduler.next_offer(LIMIT);
    let mut task = scheduler.task("t", &offer, &command);
    task["resources"][0]["scalar"]["value"] = json!(1);
    scheduler.launch(&offer, &[task], 0.0);
    scheduler.wait_for_state("t", "TASK_RUNNING", LIMIT);
    let framework = scheduler.id()["value"].as_str().expect("an id").to_owned();
    (cluster, scheduler, framework)
}

fn restart_with(cluster: &mut Cluster, flags: &[(&str, &str)]) {
    cluster.kill_agent(0);
    cluster.change_agent(0, flags);
    cluster.start_agent(0);
}

/// The master's view of the agent, once it has these CPUs and is active.
fn agent_with_cpus(cluster: &Cluster, cpus: f64) -> Value {
    wait_until("the agent's new resources", LIMIT, || {
        let agent = cluster.state()["slaves"][0].clone();
        let has_them =
            agent["resources"]["cpus"].as_f64().is_some_and(|it| (it - cpus).abs() < 1e-9);
        (has_them && agent["active"] == true).then_some(agent)
    })
}

#[test]
fn resources_and_attributes_change_while_a_task_runs() {
    let (mut cluster, mut scheduler, _) = with_task();
    let id = cluster.state()["slaves"][0]["id"].clone();

    // More, under Mesos' own policy.
    restart_with(
        &mut cluster,
        &[
            ("resources", "cpus:8;mem:2048;disk:4096;ports:[31000-32000]"),
            ("attributes", "rack:a"),
            ("reconfiguration_policy", "additive"),
        ],
    );
    let agent = agent_with_cpus(&cluster, 8.0);
    assert_eq!((&agent["id"], &agent["attributes"]["rack"]), (&id, &json!("a")));
    let large = scheduler.next_offer_with(LIMIT, |offer| (cpus(offer) - 7.0).abs() < 1e-9);
    assert_eq!(attributes(&large), [r#""rack":"a""#]);

    // Other attributes, and less than what is offered at this moment.
    restart_with(
        &mut cluster,
        &[
            ("resources", "cpus:2;mem:1024;ports:[31000-31010]"),
            ("attributes", "rack:b;zone:z"),
            ("reconfiguration_policy", "any"),
        ],
    );
    let agent = agent_with_cpus(&cluster, 2.0);
    assert_eq!((&agent["id"], &agent["attributes"]["rack"]), (&id, &json!("b")));
    assert_eq!(agent["used_resources"]["cpus"].as_f64(), Some(1.0));
    let small = scheduler.next_offer_with(LIMIT, |offer| cpus(offer) < 1.5);
    assert_eq!(attributes(&small), [r#""rack":"b""#, r#""zone":"z""#]);
    // Too late for the large one.
    let task = scheduler.task("late", &large, "true");
    scheduler.launch(&large, &[task], 0.0);
    scheduler.wait_for_any_state("late", &["TASK_LOST", "TASK_DROPPED"], LIMIT);

    // What is left can be used. An agent that launches has on disk what it told its master before.
    scheduler.accept(&small, &[], 0.0);
    scheduler.run("small", "true", 0.0, LIMIT);
    assert_eq!(scheduler.status("t")["state"], "TASK_RUNNING");
    // Both are remembered: the strictest policy has nothing against another start.
    restart_with(&mut cluster, &[("reconfiguration_policy", "equal")]);
    agent_with_cpus(&cluster, 2.0);
    cluster.wait_for_agents();
    std::fs::write(cluster.folder().join("gate"), "").expect("a file");
    scheduler.wait_for_state("t", "TASK_FINISHED", LIMIT);
}

#[test]
fn what_a_task_uses_is_not_given_up() {
    let (mut cluster, mut scheduler, framework) = with_task();
    let too_few = "cpus:0.5;mem:2048;disk:4096;ports:[31000-32000]";
    for (policy, refusal) in [
        (
            "equal",
            "incompatible agent info: resource cpus changed: cpus:4 before, cpus:0.5 now; \
             --reconfiguration_policy=any allows that, or remove "
                .to_owned(),
        ),
        (
            "any",
            format!(
                "the agent's tasks use more than it would have: cpus:1 in use, cpus:0.5 left: task t \
                 of framework {framework} uses cpus:1; give it at least that, or start it as before \
                 and end these tasks first"
            ),
        ),
    ] {
        restart_with(&mut cluster, &[("resources", too_few), ("reconfiguration_policy", policy)]);
        assert_eq!(cluster.agents[0].process.wait(LIMIT), 1, "{}", cluster.logs());
        let logs = cluster.agents[0].process.logs();
        assert!(logs.contains(&refusal), "{refusal} is not in {logs}");
    }
    // Nothing was changed by that: the task goes on when the agent is back as it was.
    restart_with(
        &mut cluster,
        &[
            ("resources", "cpus:4;mem:2048;disk:4096;ports:[31000-32000]"),
            ("reconfiguration_policy", "equal"),
        ],
    );
    agent_with_cpus(&cluster, 4.0);
    cluster.wait_for_agents();
    let state = get_json(&format!("http://{}/state", cluster.agents[0].address));
    let task = &state["frameworks"][0]["executors"][0]["tasks"][0];
    assert_eq!(task["state"], "TASK_RUNNING", "{state}");
    std::fs::write(cluster.folder().join("gate"), "").expect("a file");
    scheduler.wait_for_state("t", "TASK_FINISHED", LIMIT);
}
