//! Agents are drained, machines go down and come up, with real processes.

use std::time::Duration;

use serde_json::{Value, json};
use tests::scheduler::Scheduler;
use tests::{Cluster, ClusterOptions, get_json, post_json, wait_until};

const LIMIT: Duration = Duration::from_secs(60);

/// A framework whose tasks survive restarts of agents, and which knows the finer states.
fn subscribe(cluster: &Cluster) -> Scheduler {
    let fields = json!({
        "checkpoint": true,
        "failover_timeout": 600,
        "capabilities": [{"type": "PARTITION_AWARE"}],
    });
    Scheduler::subscribe_with(&cluster.address, fields)
}

fn call(cluster: &Cluster, call: &Value) -> (u16, String) {
    post_json(&cluster.url("/api/v1"), call)
}

fn done(answer: &(u16, String)) {
    assert_eq!((answer.0, answer.1.as_str()), (200, ""));
}

fn agent_call(name: &str, agent: &Value, mut fields: Value) -> Value {
    fields["agent_id"] = json!({"value": agent});
    json!({"type": name, (name.to_lowercase()): fields})
}

fn drain_state(cluster: &Cluster) -> String {
    let agents = get_json(&cluster.url("/slaves"));
    agents["slaves"][0]["drain_info"]["state"].as_str().unwrap_or("none").to_owned()
}

#[test]
fn a_drain_goes_on_while_agent_and_master_are_killed() {
    let mut cluster = Cluster::start(&ClusterOptions::default());
    let mut scheduler = subscribe(&cluster);
    let command = "trap '' TERM; while true; do sleep 0.1; done";
    let stubborn = scheduler.run("stubborn", command, 1.0, LIMIT);
    let agent = cluster.state()["slaves"][0]["id"].clone();

    let drain = json!({"max_grace_period": {"seconds": 5}});
    done(&call(&cluster, &agent_call("DRAIN_AGENT", &agent, drain)));
    let reactivate = agent_call("REACTIVATE_AGENT", &agent, json!({}));
    let refused = call(&cluster, &reactivate);
    assert_eq!((refused.0, refused.1.as_str()), (400, "Agent is still in the DRAINING state"));
    let agents = call(&cluster, &json!({"type": "GET_AGENTS"}));
    let agents: Value = serde_json::from_str(&agents.1).expect("JSON");
    let shown = &agents["get_agents"]["agents"][0];
    assert_eq!(shown["drain_info"]["state"], "DRAINING");
    assert_eq!(shown["drain_info"]["config"]["max_grace_period"]["nanoseconds"], 5_000_000_000_u64);
    assert!(shown["estimated_drain_start_time"]["nanoseconds"].is_u64(), "{shown}");
    let own = get_json(&format!("http://{}/state", cluster.agents[0].address));
    assert_eq!(own["drain_config"]["max_grace_period"]["nanoseconds"], 5_000_000_000_u64);

    cluster.restart_agent(0);
    scheduler.wait_for_state(&stubborn, "TASK_KILLED", LIMIT);
    assert_eq!(scheduler.status(&stubborn)["reason"], "REASON_AGENT_DRAINING");
    wait_until("the drain to end", LIMIT, || (drain_state(&cluster) == "DRAINED").then_some(()));

    cluster.restart_master();
    wait_until("the agent to return", LIMIT, || (drain_state(&cluster) == "DRAINED").then_some(()));
    let mut scheduler = subscribe(&cluster);
    done(&call(&cluster, &reactivate));
    scheduler.run("welcome", "sleep 600", 1.0, LIMIT);
    assert_eq!(drain_state(&cluster), "none");
}

#[test]
fn an_agent_that_is_drained_for_good_leaves() {
    let mut cluster = Cluster::start(&ClusterOptions::default());
    let mut scheduler = subscribe(&cluster);
    let task = scheduler.run("t", "sleep 600", 1.0, LIMIT);
    let agent = cluster.state()["slaves"][0]["id"].clone();
    done(&call(&cluster, &agent_call("DRAIN_AGENT", &agent, json!({"mark_gone": true}))));
    scheduler.wait_for_state(&task, "TASK_GONE_BY_OPERATOR", LIMIT);
    assert_eq!(scheduler.status(&task)["reason"], "REASON_AGENT_DRAINING");
    cluster.agents[0].process.wait(LIMIT);
    let state = cluster.state();
    assert_eq!(state["slaves"], json!([]));
    let again = call(&cluster, &agent_call("DRAIN_AGENT", &agent, json!({})));
    assert_eq!((again.0, again.1.as_str()), (400, "Unknown agent"));
}

#[test]
fn a_machine_is_scheduled_goes_down_and_comes_up() {
    let mut cluster = Cluster::start(&ClusterOptions::default());
    let machine = json!({"hostname": "127.0.0.1", "ip": "127.0.0.1"});
    let schedule = json!({"windows": [{
        "machine_ids": [machine],
        "unavailability": {
            "start": {"nanoseconds": 1_900_000_000_000_000_000_u64},
            "duration": {"nanoseconds": 3_600_000_000_000_u64},
        },
    }]});
    let schedule_url = cluster.url("/maintenance/schedule");
    let status_url = cluster.url("/maintenance/status");
    done(&post_json(&schedule_url, &schedule));
    cluster.restart_master();
    assert_eq!(get_json(&schedule_url), schedule, "the schedule survives the master");
    assert_eq!(get_json(&status_url), json!({"draining_machines": [{"id": machine}]}));
    cluster.wait_for_agents();

    let mut scheduler = subscribe(&cluster);
    let offer = scheduler.next_offer(LIMIT);
    assert_eq!(offer["unavailability"], schedule["windows"][0]["unavailability"]);
    scheduler.launch(&offer, &[], 0.0);
    let task = scheduler.run("t", "sleep 600", 600.0, LIMIT);
    let asked = scheduler.next_inverse_offer(LIMIT);
    assert_eq!(asked["unavailability"], schedule["windows"][0]["unavailability"]);
    scheduler.call(json!({
        "type": "ACCEPT_INVERSE_OFFERS",
        "accept_inverse_offers": {
            "inverse_offer_ids": [asked["id"]],
            "filters": {"refuse_seconds": 600},
        },
    }));
    let status = get_json(&status_url);
    assert_eq!(status["draining_machines"][0]["statuses"][0]["status"], "ACCEPT", "{status}");

    done(&post_json(&cluster.url("/machine/down"), &json!([machine])));
    scheduler.wait_for_state(&task, "TASK_LOST", LIMIT);
    cluster.agents[0].process.wait(LIMIT);
    assert_eq!(get_json(&status_url), json!({"down_machines": [machine]}));
    // It may not come back, whoever leads.
    cluster.restart_master();
    cluster.start_agent(0);
    cluster.agents[0].process.wait(LIMIT);
    done(&post_json(&cluster.url("/machine/up"), &json!([machine])));
    assert_eq!(get_json(&schedule_url), json!({}));
    cluster.start_agent(0);
    cluster.wait_for_agents();
}
