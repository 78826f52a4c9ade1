//! Weights, quota and explanations with real processes.

use std::time::Duration;

use serde_json::{Value, json};
use tests::scheduler::Scheduler;
use tests::{Cluster, ClusterOptions, Output, binary, get, get_json, post_json, run, wait_until};

const LIMIT: Duration = Duration::from_secs(60);

fn operate(cluster: &Cluster, call: &Value) {
    let (status, text) = post_json(&cluster.url("/api/v1"), call);
    assert_eq!((status, text.as_str()), (200, ""), "{call}");
}

fn update_quota(cluster: &Cluster, role: &str, limits: &Value) {
    let config = json!({"role": role, "limits": limits});
    let call = json!({"type": "UPDATE_QUOTA", "update_quota": {"quota_configs": [config]}});
    operate(cluster, &call);
}

fn subscribe(cluster: &Cluster, name: &str, role: &str) -> Scheduler {
    Scheduler::subscribe_with(&cluster.address, json!({"name": name, "role": role}))
}

/// Gives the next offer back.
fn decline(scheduler: &mut Scheduler, refuse_seconds: u64) {
    let offer = scheduler.next_offer(LIMIT);
    scheduler.call(json!({"type": "DECLINE", "decline": {
        "offer_ids": [offer["id"]], "filters": {"refuse_seconds": refuse_seconds}}}));
}

fn cpus(offer: &Value) -> f64 {
    let resources = offer["resources"].as_array().into_iter().flatten();
    resources
        .filter(|it| it["name"] == "cpus")
        .filter_map(|it| it["scalar"]["value"].as_f64())
        .sum()
}

/// What `meseta explain` prints.
fn explain(cluster: &Cluster, words: &[&str]) -> String {
    let master = format!("--master={}", cluster.address);
    let mut arguments = vec!["explain", master.as_str()];
    arguments.extend(words);
    let Output { code, stdout, stderr } = run(&binary(), &arguments, &[], LIMIT);
    assert_eq!(code, 0, "{stderr}");
    stdout
}

/// The explanation of a framework in a role once a reason stands in it.
fn explained(cluster: &Cluster, framework: &str, reason: &str) -> Value {
    let url = cluster.url(&format!("/explain?framework_id={framework}"));
    wait_until(reason, LIMIT, || {
        let answer = get_json(&url);
        let causes = answer["roles"][0]["causes"].as_array()?.clone();
        causes.into_iter().find(|cause| cause["reason"] == reason)
    })
}

#[test]
fn quota_and_weights_outlast_the_master() {
    let mut cluster = Cluster::start(&ClusterOptions {
        master_flags: vec!["--weights=ads=2,web=3".to_owned()],
        ..ClusterOptions::default()
    });
    update_quota(&cluster, "ads", &json!({"cpus": {"value": 1}}));
    let weights = json!([{"role": "ads", "weight": 5}]);
    let call = json!({"type": "UPDATE_WEIGHTS", "update_weights": {"weight_infos": weights}});
    operate(&cluster, &call);
    let before = (get_json(&cluster.url("/quota")), get_json(&cluster.url("/weights")));
    cluster.restart_master();
    let after = (get_json(&cluster.url("/quota")), get_json(&cluster.url("/weights")));
    assert_eq!(after, before);
    assert_eq!(
        after.1,
        json!([{"role": "ads", "weight": 5.0}, {"role": "web", "weight": 3.0}]),
        "the flag no longer counts"
    );
    cluster.wait_for_agents();
    let mut ads = subscribe(&cluster, "ads", "ads");
    let offer = ads.next_offer(LIMIT);
    assert!((cpus(&offer) - 1.0).abs() < 1e-9, "the limit holds: {offer}");
    let roles = get_json(&cluster.url("/roles"));
    let role = roles["roles"].as_array().into_iter().flatten().find(|it| it["name"] == "ads");
    assert_eq!(role.map(|it| it["quota"]["limit"].clone()), Some(json!({"cpus": 1.0})));
    let metrics = get_json(&cluster.url("/metrics/snapshot"));
    for (name, value) in [
        ("quota/roles/ads/resources/cpus/limit", 1.0),
        ("quota/roles/ads/resources/cpus/offered_or_allocated", 1.0),
        ("resources/cpus/total", 4.0),
        ("resources/cpus/offered_or_allocated", 1.0),
        ("offer_filters/roles/ads/active", 0.0),
    ] {
        assert_eq!(metrics[format!("allocator/mesos/{name}")], value, "{name}");
    }
    for name in ["allocation_runs", "allocation_run_ms/count", "allocation_run_latency_ms/p99"] {
        assert!(metrics[format!("allocator/mesos/{name}")].is_number(), "{name}");
    }
}

#[test]
fn weights_decide_who_gets_more() {
    let cluster = Cluster::start(&ClusterOptions {
        agents: 3,
        master_flags: vec!["--role_sorter=priority".to_owned()],
        ..ClusterOptions::default()
    });
    let weights = json!([{"role": "urgent", "weight": 9}]);
    let call = json!({"type": "UPDATE_WEIGHTS", "update_weights": {"weight_infos": weights}});
    operate(&cluster, &call);
    let mut batch = subscribe(&cluster, "batch", "batch");
    for _ in 0..3 {
        let _ = batch.next_offer(LIMIT);
    }
    let mut urgent = subscribe(&cluster, "urgent", "urgent");
    // Weights that change take offers back, which then go to whom they favour.
    operate(&cluster, &call);
    for _ in 0..3 {
        let _ = urgent.next_offer(LIMIT);
    }
    let told = get_json(&cluster.url("/explain?framework_id=batch"));
    assert_eq!(told["roles"][0]["standing"]["ahead"], 1, "{told}");
    assert_eq!(told["roles"][0]["standing"]["competitors"][0]["name"], "urgent");
}

#[test]
fn the_truth_is_told_to_who_asks_why_not() {
    let cluster = Cluster::start(&ClusterOptions {
        agent_flags: vec!["--attributes=rack:r1".to_owned()],
        ..ClusterOptions::default()
    });
    let mut declines = subscribe(&cluster, "declines", "declines");
    decline(&mut declines, 600);
    let cause = explained(&cluster, "declines", "REFUSED");
    assert_eq!(cause["count"], 1);
    assert!(cause["text"].as_str().is_some_and(|it| it.contains("(in 10 min)")), "{cause}");
    let page = explain(&cluster, &["declines", "declines"]);
    assert!(page.contains("1 agent: refused by the framework until"), "{page}");
    assert!(page.contains("-> wait, REVIVE the role"), "{page}");

    let mut suppresses = subscribe(&cluster, "suppresses", "suppresses");
    suppresses.call(json!({"type": "SUPPRESS", "suppress": {}}));
    decline(&mut suppresses, 0);
    explained(&cluster, "suppresses", "SUPPRESSED");

    let constraints = json!({"role_constraints": {"picky": {"groups": [{"attribute_constraints": [
        {"selector": {"attribute_name": "rack"}, "predicate": {"text_equals": {"value": "r2"}}}
    ]}]}}});
    let mut picky = subscribe(&cluster, "picky", "picky");
    let id = get_json(&cluster.url("/explain?framework_id=picky"))["framework_id"].clone();
    picky.call(json!({"type": "UPDATE_FRAMEWORK", "update_framework": {
        "framework_info": {"id": {"value": id}, "user": user(&cluster, "picky"), "name": "picky", "role": "picky"},
        "offer_constraints": constraints}}));
    decline(&mut picky, 0);
    explained(&cluster, "picky", "CONSTRAINTS");
    let page = explain(&cluster, &["picky"]);
    assert!(page.contains("1 agent: do not meet the framework's offer constraints"), "{page}");

    let none = json!({"cpus": {"value": 0}, "mem": {"value": 0}, "disk": {"value": 0}});
    update_quota(&cluster, "limited", &none);
    let _limited = subscribe(&cluster, "limited", "limited");
    explained(&cluster, "limited", "QUOTA_LIMIT");

    let (status, text) = get(&cluster.url("/explain?framework_id=nobody"));
    assert_eq!(status, 404, "{text}");
}

fn user(cluster: &Cluster, framework: &str) -> Value {
    let state = cluster.state();
    let frameworks = state["frameworks"].as_array().into_iter().flatten();
    let mut named = frameworks.filter(|it| it["name"] == framework);
    named.next().map_or(Value::Null, |it| it["user"].clone())
}
