//! Why a framework gets no offers, as the master tells it.

use master::explain::{ExplainError, FrameworkExplanation, Reason};
use protocol::scheduler;
use protocol::scheduler::call::{Decline, Suppress, Type as CallType};

use crate::cluster::{Cluster, framework_info, launch, offers, task};
use crate::policy::{in_role, limit};

fn reasons(explanation: &FrameworkExplanation, role: &str) -> Vec<(Reason, usize)> {
    let role = explanation.roles.iter().find(|it| it.explanation.role == role).unwrap();
    let causes = role.explanation.causes.iter();
    causes.map(|cause| (cause.reason.clone(), cause.agents.count)).collect()
}

#[test]
fn each_reason_is_told_with_its_agents() {
    let mut cluster = Cluster::new();
    let agents = [cluster.add_agent(1), cluster.add_agent(2), cluster.add_agent(3)];
    let (ads, effects) = cluster.subscribe(in_role("ads", "ads"));
    let offered = offers(&effects, ads.connection);
    assert_eq!(offered.len(), 3);

    let first = offered.iter().find(|offer| offer.agent_id == agents[0].id).unwrap();
    let decline = Decline { offer_ids: vec![first.id.clone()], ..Default::default() };
    let call = scheduler::Call {
        r#type: Some(CallType::Decline),
        decline: Some(decline),
        ..Default::default()
    };
    cluster.call(&ads, call);
    let told = cluster.master.explain(cluster.now, "ads", None).unwrap();
    assert_eq!((told.framework.clone(), told.connected), (ads.id.clone(), true));
    assert_eq!(reasons(&told, "ads"), [(Reason::NothingFree, 2), (Reason::Refused, 1)]);
    assert_eq!(told.roles[0].offers.len(), 2, "what is not free is in its own hands");
    let refused = told.roles[0].explanation.causes.last().unwrap();
    assert_eq!(refused.until, Some(cluster.now + std::time::Duration::from_secs(5)));
    assert_eq!(told.hostnames[&agents[0].id], "node-1");

    let suppress = Suppress { roles: vec!["ads".to_owned()], ..Default::default() };
    let call = scheduler::Call {
        r#type: Some(CallType::Suppress),
        suppress: Some(suppress),
        ..Default::default()
    };
    cluster.call(&ads, call);
    let told = cluster.master.explain(cluster.now, &ads.id.value, Some("ads")).unwrap();
    assert!(reasons(&told, "ads").contains(&(Reason::Suppressed, 0)), "{told:?}");
    let told = cluster.master.explain(cluster.now, "ads", Some("web")).unwrap();
    assert_eq!(reasons(&told, "web"), [(Reason::NotSubscribed, 3)]);
}

#[test]
fn a_role_at_its_limit_is_told_which_limit() {
    let mut cluster = Cluster::new();
    let agent = cluster.add_agent(1);
    cluster.operate(limit("ads", &[("cpus", 1.0), ("mem", 100.0), ("disk", 0.0)]));
    let (ads, effects) = cluster.subscribe(in_role("ads", "ads"));
    let offer = offers(&effects, ads.connection).remove(0);
    let tasks = launch(vec![task("t", &agent.id, 1.0, 100.0)]);
    cluster.accept(&ads, vec![offer.id], vec![tasks]);
    let told = cluster.master.explain(cluster.now, "ads", None).unwrap();
    let causes = reasons(&told, "ads");
    let [(Reason::QuotaLimit { resources }, 1)] = causes.as_slice() else { panic!("{causes:?}") };
    assert!(resources.contains(&"cpus".to_owned()), "{resources:?}");
}

#[test]
fn a_name_must_tell_which_framework() {
    let mut cluster = Cluster::new();
    let (first, _) = cluster.subscribe(framework_info("jobs"));
    let (second, _) = cluster.subscribe(framework_info("jobs"));
    let ids = vec![first.id.value.clone(), second.id.value];
    let error = cluster.master.explain(cluster.now, "jobs", None).unwrap_err();
    assert_eq!(error, ExplainError::Ambiguous { name: "jobs".to_owned(), ids });
    assert!(cluster.master.explain(cluster.now, &first.id.value, None).is_ok());
    let error = cluster.master.explain(cluster.now, "other", None).unwrap_err();
    assert_eq!(error.to_string(), "No framework with the ID or name 'other' is registered");
}
