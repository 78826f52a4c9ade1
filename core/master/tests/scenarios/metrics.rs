//! What is counted: for each framework, and of operations.

use std::collections::BTreeMap;

use protocol::mesos::offer::Operation;
use protocol::mesos::offer::operation::{Reserve, Type};
use protocol::mesos::{FrameworkId, FrameworkInfo, OperationId, TaskState};
use protocol::scheduler;
use protocol::scheduler::call::{Acknowledge, Decline, Type as CallType};

use crate::cluster::{
    Cluster, config, framework_info, launch, offers, partition_aware, scalar, task, task_id,
};

fn counts(cluster: &mut Cluster, framework: &FrameworkId) -> BTreeMap<String, f64> {
    let mut counts = BTreeMap::new();
    if let Some(framework) = cluster.master.snapshot().framework_counts.get(framework) {
        framework.for_each(|name, value| {
            counts.insert(name, value);
        });
    }
    counts
}

/// The counters of a framework that are not zero, without what is common to their names.
fn moved(cluster: &mut Cluster, framework: &FrameworkId) -> BTreeMap<String, f64> {
    let counts = counts(cluster, framework).into_iter();
    let short = counts.map(|(name, value)| {
        let prefix = format!("master/frameworks/my%20jobs/{}/", framework.value);
        (name.strip_prefix(&prefix).unwrap().to_owned(), value)
    });
    short.filter(|(_, value)| *value != 0.0).collect()
}

fn expected(counts: &[(&str, f64)]) -> BTreeMap<String, f64> {
    counts.iter().map(|(name, value)| ((*name).to_owned(), *value)).collect()
}

#[test]
fn a_framework_is_counted_from_its_subscription_to_its_end() {
    let info = FrameworkInfo { failover_timeout: Some(600.0), ..framework_info("my jobs") };
    let (mut cluster, agent, scheduler, offer) = Cluster::with_offer(info);
    let id = scheduler.id.clone();
    assert_eq!(
        moved(&mut cluster, &id),
        expected(&[
            ("subscribed", 1.0),
            ("calls", 1.0),
            ("calls/subscribe", 1.0),
            ("events", 3.0),
            ("events/subscribed", 1.0),
            ("events/heartbeat", 1.0),
            ("events/offers", 1.0),
            ("offers/sent", 1.0),
        ])
    );
    let tasks = vec![task("a", &agent.id, 1.0, 64.0), task("b", &agent.id, 1.0, 64.0)];
    let effects = cluster.accept(&scheduler, vec![offer.id], vec![launch(tasks)]);
    assert!(offers(&effects, scheduler.connection).is_empty(), "the rest is filtered");
    cluster.update(&agent, &scheduler, "a", TaskState::TaskRunning, 1);
    cluster.update(&agent, &scheduler, "a", TaskState::TaskFinished, 2);
    let call = scheduler::Call {
        r#type: Some(CallType::Acknowledge),
        acknowledge: Some(Acknowledge {
            agent_id: agent.id.clone(),
            task_id: task_id("a"),
            uuid: vec![2; 16],
            ..Default::default()
        }),
        ..Default::default()
    };
    cluster.call(&scheduler, call);
    let counts = moved(&mut cluster, &id);
    for (name, count) in [
        ("calls", 3.0),
        ("calls/accept", 1.0),
        ("calls/acknowledge", 1.0),
        ("events/update", 2.0),
        ("offers/accepted", 1.0),
        ("operations", 2.0),
        ("operations/launch", 2.0),
        ("tasks/active/task_staging", 1.0),
        ("tasks/terminal/task_finished", 1.0),
    ] {
        assert_eq!(counts.get(name), Some(&count), "{name} of {counts:?}");
    }
    assert!(!counts.contains_key("tasks/active/task_running"), "{counts:?}");

    // A removed framework keeps its counters for as long as it is remembered.
    let teardown = scheduler::Call { r#type: Some(CallType::Teardown), ..Default::default() };
    cluster.call(&scheduler, teardown);
    let counts = moved(&mut cluster, &id);
    assert_eq!(counts.get("calls/teardown"), Some(&1.0));
    assert_eq!(counts.get("tasks/terminal/task_killed"), Some(&1.0));
    assert!(!counts.contains_key("subscribed"), "{counts:?}");
    assert!(!counts.contains_key("tasks/active/task_staging"), "{counts:?}");
}

/// All that a reader sees but the time.
fn seen(cluster: &mut Cluster) -> String {
    let snapshot = cluster.master.snapshot();
    let metrics = snapshot.metrics.iter().filter(|(name, _)| *name != "master/uptime_secs");
    let metrics: BTreeMap<&str, f64> = metrics.collect();
    let counted = &snapshot.framework_counts;
    format!(
        "{:?} {:?} {:?} {metrics:?} {counted:?}",
        snapshot.agents, snapshot.frameworks, snapshot.completed_frameworks
    )
}

#[test]
fn a_framework_that_ends_before_anybody_reads_is_counted() {
    let (mut cluster, _, scheduler, _) = Cluster::with_offer(framework_info("my jobs"));
    let teardown = scheduler::Call { r#type: Some(CallType::Teardown), ..Default::default() };
    cluster.call(&scheduler, teardown);
    assert_eq!(moved(&mut cluster, &scheduler.id).get("calls/teardown"), Some(&1.0));
}

#[test]
fn after_a_long_time_without_readers_the_next_one_sees_the_same() {
    let info = FrameworkInfo { failover_timeout: Some(600.0), ..framework_info("my jobs") };
    let run = |is_read_late: bool| {
        let (mut cluster, agent, scheduler, offer) = Cluster::with_offer(info.clone());
        let (ended, _) = cluster.subscribe(framework_info("my other jobs"));
        let tasks = vec![task("a", &agent.id, 1.0, 64.0)];
        cluster.accept(&scheduler, vec![offer.id], vec![launch(tasks)]);
        if !is_read_late {
            seen(&mut cluster);
        }
        let teardown = scheduler::Call { r#type: Some(CallType::Teardown), ..Default::default() };
        cluster.call(&ended, teardown);
        cluster.advance_with_pongs(config().registry_gc_interval * 5 / 2, &[&agent]);
        cluster.update(&agent, &scheduler, "a", TaskState::TaskRunning, 1);
        seen(&mut cluster)
    };
    // In the one run all that was noted is forgotten meanwhile, in the other nobody had looked before.
    assert_eq!(run(false), run(true));
}

#[test]
fn offers_count_as_declined_and_as_rescinded_and_roles_as_suppressed() {
    let (mut cluster, agent, scheduler, offer) = Cluster::with_offer(framework_info("my jobs"));
    let decline = scheduler::Call {
        r#type: Some(CallType::Decline),
        decline: Some(Decline { offer_ids: vec![offer.id; 2], ..Default::default() }),
        ..Default::default()
    };
    cluster.call(&scheduler, decline);
    let revive = scheduler::Call { r#type: Some(CallType::Revive), ..Default::default() };
    cluster.call(&scheduler, revive);
    cluster.event(master::Event::Exited { pid: agent.pid });
    let suppress = scheduler::Call { r#type: Some(CallType::Suppress), ..Default::default() };
    cluster.call(&scheduler, suppress);
    let counts = moved(&mut cluster, &scheduler.id);
    for (name, count) in [
        ("offers/sent", 2.0),
        ("offers/declined", 1.0),
        ("offers/rescinded", 1.0),
        ("events/rescind", 1.0),
        ("calls/suppress", 1.0),
        ("roles/*/suppressed", 1.0),
    ] {
        assert_eq!(counts.get(name), Some(&count), "{name} of {counts:?}");
    }
}

#[test]
fn unreachable_tasks_are_active_and_elsewhere() {
    let (mut cluster, agent, scheduler, offer) = Cluster::with_offer(partition_aware("my jobs"));
    cluster.running_task(&agent, &scheduler, &offer, "t");
    cluster.advance(std::time::Duration::from_secs(120));
    let counts = moved(&mut cluster, &scheduler.id);
    assert_eq!(counts.get("tasks/active/task_unreachable"), Some(&1.0), "{counts:?}");
    assert!(!counts.contains_key("tasks/active/task_running"), "{counts:?}");
}

#[test]
fn nothing_is_published_of_frameworks_when_that_is_switched_off() {
    let config = master::Config { publish_per_framework_metrics: false, ..config() };
    let mut cluster = Cluster::with(config);
    let (scheduler, _) = cluster.subscribe(framework_info("my jobs"));
    assert!(counts(&mut cluster, &scheduler.id).is_empty());
}

#[test]
fn operations_are_counted_by_kind_and_state() {
    let info = FrameworkInfo {
        role: Some("dev".to_owned()),
        ..crate::cluster::capable(
            framework_info("my jobs"),
            &[protocol::mesos::framework_info::capability::Type::ReservationRefinement],
        )
    };
    let (mut cluster, agent, scheduler, offer) = Cluster::with_offer(info);
    let reserve = |cpus: f64, role: &str, id: &str| {
        let mut resource = scalar("cpus", cpus);
        resource.reservations = vec![protocol::mesos::resource::ReservationInfo {
            r#type: Some(protocol::mesos::resource::reservation_info::Type::Dynamic),
            role: Some(role.to_owned()),
            ..Default::default()
        }];
        Operation {
            r#type: Some(Type::Reserve),
            id: Some(OperationId { value: id.to_owned(), ..Default::default() }),
            reserve: Some(Reserve { resources: vec![resource], ..Default::default() }),
            ..Default::default()
        }
    };
    let operations = vec![reserve(1.0, "dev", "good"), reserve(1.0, "foreign", "bad")];
    cluster.accept(&scheduler, vec![offer.id], operations);
    let gauge = |cluster: &mut Cluster, name: &str| {
        let snapshot = cluster.master.snapshot();
        snapshot.metrics.iter().find(|(known, _)| *known == name).map(|(_, value)| value)
    };
    for (name, count) in [
        ("master/operations/total", 2.0),
        ("master/operations/pending", 1.0),
        ("master/operations/error", 1.0),
        ("master/operations/reserve/total", 2.0),
        ("master/operations/reserve/pending", 1.0),
        ("master/operations/create/total", 0.0),
    ] {
        assert_eq!(gauge(&mut cluster, name), Some(count), "{name}");
    }
    let counts = moved(&mut cluster, &scheduler.id);
    assert_eq!(counts.get("operations/reserve"), Some(&1.0), "{counts:?}");
    assert_eq!(counts.get("events/update_operation_status"), Some(&1.0), "{counts:?}");

    // The agent falls silent: the pending operation is unreachable.
    cluster.event(master::Event::Exited { pid: agent.pid });
    cluster.advance(std::time::Duration::from_secs(700));
    assert_eq!(gauge(&mut cluster, "master/operations/pending"), Some(0.0));
    assert_eq!(gauge(&mut cluster, "master/operations/reserve/unreachable"), Some(1.0));
}
