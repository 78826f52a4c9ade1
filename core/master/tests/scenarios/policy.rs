//! Weights and quota, as operators set them.

use std::collections::BTreeMap;
use std::time::Duration;

use master::{Effect, Event, Response, SorterPolicy};
use protocol::master as api;
use protocol::master::call::{RemoveQuota, SetQuota, Type, UpdateQuota, UpdateWeights};
use protocol::mesos::framework_info::capability::Type as FrameworkCapability;
use protocol::mesos::value::{Scalar, Text, Type as ValueType};
use protocol::mesos::{Attribute, DomainInfo, FrameworkInfo, WeightInfo};
use protocol::quota::{QuotaConfig, QuotaRequest};
use protocol::scheduler::call::{Type as CallType, UpdateFramework};
use protocol::scheduler::{self, OfferConstraints};
use protocol::{Message, Names, json};

use crate::cluster::{
    Cluster, amount, capable, config, framework_info, launch, offers, registration, rescinded,
    scalar, task,
};

/// A framework in one role.
pub fn in_role(name: &str, role: &str) -> FrameworkInfo {
    let info = FrameworkInfo { roles: vec![role.to_owned()], ..framework_info(name) };
    capable(info, &[FrameworkCapability::MultiRole])
}

fn weights(list: &[(&str, f64)]) -> api::Call {
    let info = |(role, weight): &(&str, f64)| WeightInfo {
        role: Some((*role).to_owned()),
        weight: *weight,
        ..Default::default()
    };
    api::Call {
        r#type: Some(Type::UpdateWeights),
        update_weights: Some(UpdateWeights {
            weight_infos: list.iter().map(info).collect(),
            ..Default::default()
        }),
        ..Default::default()
    }
}

fn amounts(list: &[(&str, f64)]) -> BTreeMap<String, Scalar> {
    let scalar = |value| Scalar { value, ..Default::default() };
    list.iter().map(|(name, value)| ((*name).to_owned(), scalar(*value))).collect()
}

fn quota_config(role: &str, guarantees: &[(&str, f64)], limits: &[(&str, f64)]) -> QuotaConfig {
    QuotaConfig {
        role: role.to_owned(),
        guarantees: amounts(guarantees),
        limits: amounts(limits),
        ..Default::default()
    }
}

pub fn quota(configs: Vec<QuotaConfig>, force: bool) -> api::Call {
    api::Call {
        r#type: Some(Type::UpdateQuota),
        update_quota: Some(UpdateQuota {
            force: Some(force),
            quota_configs: configs,
            ..Default::default()
        }),
        ..Default::default()
    }
}

pub fn limit(role: &str, limits: &[(&str, f64)]) -> api::Call {
    quota(vec![quota_config(role, &[], limits)], false)
}

fn set_quota(role: &str, cpus: f64) -> api::Call {
    let quota_request = QuotaRequest {
        role: Some(role.to_owned()),
        guarantee: vec![scalar("cpus", cpus)],
        ..Default::default()
    };
    api::Call {
        r#type: Some(Type::SetQuota),
        set_quota: Some(SetQuota { quota_request, ..Default::default() }),
        ..Default::default()
    }
}

fn remove_quota(role: &str) -> api::Call {
    api::Call {
        r#type: Some(Type::RemoveQuota),
        remove_quota: Some(RemoveQuota { role: role.to_owned(), ..Default::default() }),
        ..Default::default()
    }
}

fn refused(cluster: &mut Cluster, call: api::Call) -> String {
    let before = (cluster.registry.clone(), cluster.master.version());
    let (answer, effects) = cluster.operate(call);
    let writes = effects.iter().any(|effect| matches!(effect, Effect::Persist { .. }));
    assert!(!writes, "a refused call stores nothing");
    assert_eq!((cluster.registry.clone(), cluster.master.version()), before, "and changes nothing");
    match answer {
        Some(Response::BadRequest(text) | Response::Conflict(text)) => text,
        other => panic!("{other:?}"),
    }
}

fn accepted(cluster: &mut Cluster, call: api::Call) -> Vec<Effect> {
    let (answer, effects) = cluster.operate(call);
    assert_eq!(answer, Some(Response::Ok));
    effects
}

#[test]
fn weights_are_in_force_once_they_are_durable_and_outlast_the_master() {
    let mut settings = config();
    settings.weights = BTreeMap::from([("ads".to_owned(), 3.0), ("web".to_owned(), 2.0)]);
    let mut cluster = Cluster::with(settings);
    assert_eq!(cluster.master.snapshot().weights["ads"], 3.0, "the flag's");

    cluster.writes_complete = false;
    let (answer, _) = cluster.operate(weights(&[(" ads ", 5.0), ("jobs/night", 0.5)]));
    assert_eq!(answer, None, "nothing is said before it is stored");
    assert_eq!(cluster.master.snapshot().weights["ads"], 3.0);
    let effects = cluster.complete_writes();
    assert!(effects.iter().any(|it| matches!(it, Effect::Respond { response: Response::Ok, .. })));

    cluster.writes_complete = true;
    cluster.restart();
    let snapshot = cluster.master.snapshot();
    let expected = [("ads", 5.0), ("jobs/night", 0.5), ("web", 2.0)];
    let expected = expected.map(|(role, weight)| (role.to_owned(), weight));
    assert_eq!(*snapshot.weights, BTreeMap::from(expected), "the registry beats the flag");
    let roles: Vec<String> = snapshot.roles().into_keys().collect();
    assert_eq!(roles, ["ads", "jobs", "jobs/night", "web"], "roles above are known too");
}

#[test]
fn one_bad_weight_refuses_them_all() {
    let mut settings = config();
    settings.roles = Some(["ads".to_owned()].into());
    let mut cluster = Cluster::with(settings);
    let prefix = "Failed to validate update weights request JSON";
    for (role, weight, expected) in [
        ("/x", 1.0, ": Invalid role '/x': Role '/x' cannot start with a slash"),
        ("web", 1.0, ": Unknown role 'web'"),
        ("ads", -0.5, " for role 'ads': Invalid weight '-0.5': Weights must be positive"),
        ("ads", 0.0, " for role 'ads': Invalid weight '0': Weights must be positive"),
    ] {
        let error = refused(&mut cluster, weights(&[("*", 2.0), (role, weight)]));
        assert_eq!(error, format!("{prefix}{expected}"));
    }
}

#[test]
fn new_weights_take_offers_back_when_somebody_uses_the_role() {
    let mut cluster = Cluster::new();
    cluster.add_agent(1);
    let (ads, effects) = cluster.subscribe(in_role("ads", "ads"));
    let offer = offers(&effects, ads.connection).remove(0);
    let effects = accepted(&mut cluster, weights(&[("web", 2.0)]));
    assert!(rescinded(&effects, ads.connection).is_empty(), "nobody is in role web");
    let effects = accepted(&mut cluster, weights(&[("ads", 2.0)]));
    assert_eq!(rescinded(&effects, ads.connection), [offer.id]);
    assert_eq!(offers(&effects, ads.connection).len(), 1, "and offered anew");
}

#[test]
fn quota_is_checked_against_itself_and_the_cluster() {
    let mut settings = config();
    settings.roles = Some(["ads", "web", "ads/eu"].map(str::to_owned).into());
    let mut cluster = Cluster::with(settings);
    cluster.add_agent(1);
    for (config, expected) in [
        (
            quota_config("jobs", &[], &[]),
            "Invalid QuotaConfig: 'jobs' is not on the roles whitelist",
        ),
        (
            quota_config("ads/eu", &[], &[]),
            "Updating quota on nested role 'ads/eu' is not supported yet",
        ),
        (
            quota_config("ads", &[("cpus", 2.0)], &[("cpus", 1.0)]),
            "Invalid QuotaConfig: 'QuotaConfig.guarantees' { cpus: 2 } is not contained within \
             the 'QuotaConfig.limits' { cpus: 1 }",
        ),
        (
            quota_config("ads", &[("cpus", 3.0)], &[]),
            "Invalid QuotaConfig: total quota guarantees 'cpus:5' exceed cluster capacity \
             'cpus:4; disk:10000; mem:4096' (use 'force' flag to bypass this check)",
        ),
    ] {
        let call = quota(vec![quota_config("web", &[("cpus", 2.0)], &[]), config], false);
        assert_eq!(refused(&mut cluster, call), expected);
    }
    let too_much = vec![quota_config("ads", &[("cpus", 5.0)], &[])];
    accepted(&mut cluster, quota(too_much, true));
    assert_eq!(cluster.master.snapshot().quotas.len(), 1, "force puts up with too little");
}

#[test]
fn limits_below_what_is_consumed_need_force() {
    let mut cluster = Cluster::new();
    let agent = cluster.add_agent(1);
    let (ads, effects) = cluster.subscribe(in_role("ads", "ads/eu"));
    let offer = offers(&effects, ads.connection).remove(0);
    let tasks = launch(vec![task("t", &agent.id, 2.0, 100.0)]);
    cluster.accept(&ads, vec![offer.id], vec![tasks]);
    let tight = [("cpus", 1.0)];
    assert_eq!(
        refused(&mut cluster, limit("ads", &tight)),
        "Invalid QuotaConfig: Role 'ads' is already consuming 'cpus:2; mem:100'; this is more than \
         the requested limits 'cpus:1' (use 'force' flag to bypass this check)"
    );
    accepted(&mut cluster, quota(vec![quota_config("ads", &[], &tight)], true));
    let view = &cluster.master.snapshot().roles()["ads"];
    assert_eq!(view.consumed.to_string(), "cpus:2; mem:100");
    assert_eq!(view.quota.limits["cpus"].value, 1.0);
}

#[test]
fn quota_outlasts_the_master_and_is_removed_by_the_default() {
    let mut cluster = Cluster::new();
    cluster.add_agent(1);
    let both = vec![
        quota_config("ads", &[("cpus", 1.0)], &[("cpus", 2.0)]),
        quota_config("web", &[], &[("mem", 100.0)]),
    ];
    accepted(&mut cluster, quota(both.clone(), false));
    cluster.restart();
    let stored: Vec<QuotaConfig> = cluster.master.snapshot().quotas.values().cloned().collect();
    assert_eq!(stored, both);
    accepted(&mut cluster, quota(vec![quota_config("ads", &[], &[])], false));
    accepted(&mut cluster, remove_quota("web"));
    assert!(cluster.registry.keys().all(|key| !key.starts_with("quota/")));
    cluster.restart();
    assert!(cluster.master.snapshot().quotas.is_empty());
    let error = refused(&mut cluster, remove_quota("web"));
    assert_eq!(error, "Failed to remove quota: Role 'web' has no quota set");
}

#[test]
fn the_old_calls_set_guarantee_and_limit_in_one() {
    let mut cluster = Cluster::new();
    cluster.add_agent(1);
    let prefix = "Failed to validate set quota request";
    let nested = refused(&mut cluster, set_quota("ads/eu", 1.0));
    assert_eq!(
        nested,
        format!(
            "{prefix}: Invalid quota configuration. Parent role 'ads' with guarantees ({{}}) does \
             not contain the sum of its children's guarantees (cpus:1)"
        )
    );
    let error = refused(&mut cluster, set_quota("ads", 40.0));
    assert_eq!(
        error,
        "Quota guarantees overcommit the cluster (use 'force' to bypass this check): Total quota \
         guarantees 'cpus:40' exceed cluster capacity 'cpus:4; disk:10000; mem:4096'"
    );
    accepted(&mut cluster, set_quota("ads", 2.0));
    let stored = cluster.master.snapshot().quotas["ads"].clone();
    assert_eq!(stored, quota_config("ads", &[("cpus", 2.0)], &[("cpus", 2.0)]));
    let twice = refused(&mut cluster, set_quota("ads", 2.0));
    assert_eq!(twice, format!("{prefix}: Cannot set quota for role 'ads' which already has quota"));
}

#[test]
fn offers_make_room_for_quota() {
    let mut cluster = Cluster::new();
    cluster.add_agent(1);
    let (ads, effects) = cluster.subscribe(in_role("ads", "ads"));
    let offer = offers(&effects, ads.connection).remove(0);
    let effects = accepted(&mut cluster, limit("ads", &[("cpus", 1.0)]));
    assert_eq!(rescinded(&effects, ads.connection), [offer.id], "more than it may have");
    let again = offers(&effects, ads.connection);
    assert!(again.iter().map(|it| amount(&it.resources, "cpus")).sum::<f64>() <= 1.0);

    let (web, effects) = cluster.subscribe(in_role("web", "web"));
    assert_eq!(offers(&effects, web.connection).len(), 1);
    let guarantee = vec![quota_config("jobs", &[("cpus", 4.0)], &[])];
    let effects = accepted(&mut cluster, quota(guarantee, false));
    assert_eq!(rescinded(&effects, web.connection).len(), 1, "held for role jobs now");
    let rest = offers(&effects, web.connection);
    assert!(rest.iter().all(|it| amount(&it.resources, "cpus") == 0.0), "{rest:?}");
}

#[test]
fn nothing_is_offered_until_most_agents_are_back_when_there_is_quota() {
    let mut cluster = Cluster::new();
    let agents: Vec<_> = (1..=5).map(|number| cluster.add_agent(number)).collect();
    accepted(&mut cluster, limit("ads", &[("cpus", 100.0)]));
    cluster.restart();
    let (web, _) = cluster.subscribe(in_role("web", "web"));
    for agent in &agents[..3] {
        let message = crate::cluster::reregistration(agent);
        let effects = cluster.agent_message(&agent.pid, message);
        assert!(offers(&effects, web.connection).is_empty(), "three of five");
    }
    let message = crate::cluster::reregistration(&agents[3]);
    let effects = cluster.agent_message(&agents[3].pid, message);
    assert_eq!(offers(&effects, web.connection).len(), 4);
}

#[test]
fn agents_that_stay_away_are_not_waited_for_for_ever() {
    let mut cluster = Cluster::new();
    let agents = [cluster.add_agent(1), cluster.add_agent(2)];
    accepted(&mut cluster, limit("ads", &[("cpus", 100.0)]));
    let mut settings = config();
    settings.allocator_agent_recovery_factor = 1.0;
    settings.allocator_recovery_timeout = Duration::from_secs(30);
    cluster.reconfigure(settings);
    cluster.restart();
    let (web, _) = cluster.subscribe(in_role("web", "web"));
    let message = crate::cluster::reregistration(&agents[0]);
    let effects = cluster.agent_message(&agents[0].pid, message);
    assert!(offers(&effects, web.connection).is_empty());
    let effects = cluster.advance_with_pongs(Duration::from_secs(30), &[&agents[0]]);
    assert_eq!(offers(&effects, web.connection).len(), 1);
}

fn constraints(role: &str, attribute: &str, regex: &str) -> OfferConstraints {
    let text = json::parse(
        format!(
            r#"{{"role_constraints": {{"{role}": {{"groups": [{{"attribute_constraints": [{{
                "selector": {{"attribute_name": "{attribute}"}},
                "predicate": {{"text_matches": {{"regex": "{regex}"}}}}
            }}]}}]}}}}}}"#
        )
        .as_bytes(),
    );
    OfferConstraints::from_json_value(&text.unwrap(), Names::V1).unwrap()
}

fn update(info: &FrameworkInfo, constraints: OfferConstraints) -> scheduler::Call {
    scheduler::Call {
        r#type: Some(CallType::UpdateFramework),
        update_framework: Some(Box::new(UpdateFramework {
            framework_info: info.clone(),
            offer_constraints: Some(constraints),
            ..Default::default()
        })),
        ..Default::default()
    }
}

#[test]
fn constraints_decide_which_agents_are_offered() {
    let mut cluster = Cluster::new();
    for number in 1..=2 {
        let mut message = registration(number);
        message.slave.attributes = vec![Attribute {
            name: "rack".to_owned(),
            r#type: ValueType::Text,
            text: Some(Text { value: format!("r{number}"), ..Default::default() }),
            ..Default::default()
        }];
        cluster.agent_message(&crate::cluster::agent_pid(number), message);
    }
    let info = in_role("ads", "ads");
    let (ads, effects) = cluster.subscribe(info.clone());
    assert_eq!(offers(&effects, ads.connection).len(), 2);
    let info = FrameworkInfo { id: Some(ads.id.clone()), ..info };

    let (answer, _) = cluster.call(&ads, update(&info, constraints("web", "rack", "r1")));
    let expected = "'UpdateFramework' call is not valid: Offer constraints specify \
                    `role_constraints` for a role 'web'not contained in the set of roles";
    assert_eq!(answer, Response::BadRequest(expected.to_owned()));
    let (answer, _) = cluster.call(&ads, update(&info, constraints("ads", "rack", "(")));
    let Response::BadRequest(error) = answer else { panic!("{answer:?}") };
    let expected = "'UpdateFramework' call is not valid: Offer constraints are not valid: A role \
                    ads has an invalid 'AttributeConstraint': Failed to construct regex from \
                    pattern '(': ";
    assert!(error.starts_with(expected), "{error}");
    assert_eq!(cluster.master.snapshot().frameworks[&ads.id].offer_constraints, None);

    let wanted = constraints("ads", "rack", "r1");
    let (answer, _) = cluster.call(&ads, update(&info, wanted.clone()));
    assert_eq!(answer, Response::Ok);
    let shown = cluster.master.snapshot().frameworks[&ads.id].offer_constraints.clone();
    assert_eq!(shown.as_deref(), Some(&wanted));
    let effects = cluster.agent_message(&crate::cluster::agent_pid(3), registration(3));
    assert!(offers(&effects, ads.connection).is_empty(), "it has no rack");
}

#[test]
fn hosts_that_are_not_on_the_whitelist_get_nothing() {
    let mut cluster = Cluster::new();
    let hostnames = |names: &[&str]| Event::WhitelistChanged {
        hostnames: Some(names.iter().map(|name| (*name).to_owned()).collect()),
    };
    cluster.event(hostnames(&["node-2"]));
    cluster.add_agent(1);
    let second = cluster.add_agent(2);
    let (web, effects) = cluster.subscribe(in_role("web", "web"));
    let offered = offers(&effects, web.connection);
    assert_eq!(offered.iter().map(|it| &it.agent_id).collect::<Vec<_>>(), [&second.id]);
    let effects = cluster.event(hostnames(&["node-1", "node-2"]));
    assert_eq!(offers(&effects, web.connection).len(), 1, "node-1 joins");
}

#[test]
fn the_role_with_the_greatest_weight_is_served_first_under_strict_priority() {
    let mut settings = config();
    settings.role_sorter = SorterPolicy::Priority;
    let mut cluster = Cluster::with(settings);
    accepted(&mut cluster, weights(&[("urgent", 10.0)]));
    let (batch, _) = cluster.subscribe(in_role("batch", "batch"));
    let (urgent, _) = cluster.subscribe(in_role("urgent", "urgent"));
    for number in 1..=3 {
        let effects =
            cluster.agent_message(&crate::cluster::agent_pid(number), registration(number));
        assert_eq!(offers(&effects, urgent.connection).len(), 1);
        assert!(offers(&effects, batch.connection).is_empty());
    }
}

#[test]
fn agents_without_a_domain_are_kept_out_where_one_is_required() {
    let domain = |region: &str| {
        let text = format!(
            r#"{{"fault_domain": {{"region": {{"name": "{region}"}}, "zone": {{"name": "a"}}}}}}"#
        );
        DomainInfo::from_json(text.as_bytes(), Names::V1).unwrap()
    };
    let mut settings = config();
    settings.domain = Some(domain("eu"));
    settings.require_agent_domain = true;
    let mut cluster = Cluster::with(settings);
    let (web, _) = cluster.subscribe(in_role("web", "web"));
    let pid = crate::cluster::agent_pid(1);
    let effects = cluster.agent_message(&pid, registration(1));
    assert!(effects.is_empty(), "it is ignored: {effects:?}");
    for (number, region, offered) in [(2, "eu", 1), (3, "us", 0)] {
        let mut message = registration(number);
        message.slave.domain = Some(domain(region));
        let effects = cluster.agent_message(&crate::cluster::agent_pid(number), message);
        assert_eq!(offers(&effects, web.connection).len(), offered, "{region}");
    }
}
