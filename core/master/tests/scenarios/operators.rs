//! Operators' calls, their event streams and the read model.

use std::sync::Arc;
use std::time::Duration;

use master::{ConnectionId, Effect, Event, Response};
use protocol::master as api;
use protocol::master::call::{DeactivateAgent, ReactivateAgent, Teardown, Type};
use protocol::master::event;
use protocol::mesos::TaskState;

use crate::cluster::{
    Cluster, closed, config, framework_info, launch, names, offers, rescinded, task,
};

fn published(effects: &[Effect], to: ConnectionId) -> Vec<Arc<api::Event>> {
    effects
        .iter()
        .filter_map(|effect| match effect {
            Effect::SendToSubscribers { connections, event } if connections.contains(&to) => {
                Some(Arc::clone(event))
            }
            _ => None,
        })
        .collect()
}

fn types(effects: &[Effect], to: ConnectionId) -> Vec<event::Type> {
    published(effects, to).iter().filter_map(|event| event.r#type).collect()
}

fn subscribe(cluster: &mut Cluster) -> (ConnectionId, Vec<Effect>) {
    let connection = cluster.connection();
    let effects = cluster.event(Event::OperatorSubscribe { connection, principal: None });
    (connection, effects)
}

#[test]
fn a_stream_begins_with_a_snapshot_and_tells_every_change() {
    let mut cluster = Cluster::new();
    cluster.add_agent(1);
    let (stream, effects) = subscribe(&mut cluster);
    let Effect::AcceptSubscriber { snapshot, heartbeat_interval, .. } = &effects[0] else {
        panic!("{effects:?}");
    };
    assert_eq!(snapshot.agents.len(), 1);
    assert_eq!(*heartbeat_interval, Duration::from_secs(15));
    assert_eq!(types(&effects, stream), [event::Type::Heartbeat]);

    let connection = cluster.connection();
    let request = cluster.request();
    let effects = cluster.event(Event::SchedulerSubscribe {
        request,
        connection,
        stream_id: None,
        call: Box::new(crate::cluster::subscribe_call(framework_info("jobs"))),
        principal: None,
    });
    assert_eq!(types(&effects, stream), [event::Type::FrameworkAdded]);
    let added = published(&effects, stream).remove(0);
    let framework = &added.framework_added.as_ref().unwrap().framework;
    assert!(framework.active && framework.connected && !framework.recovered);
    assert!(framework.offers.is_empty());
}

#[test]
fn tasks_and_agents_are_followed() {
    let (mut cluster, agent, scheduler, offer) = Cluster::with_offer(framework_info("jobs"));
    let (stream, _) = subscribe(&mut cluster);
    let tasks = launch(vec![task("t", &agent.id, 1.0, 10.0)]);
    let effects = cluster.accept(&scheduler, vec![offer.id], vec![tasks]);
    assert_eq!(types(&effects, stream), [event::Type::TaskAdded]);
    let effects = cluster.update(&agent, &scheduler, "t", TaskState::TaskRunning, 1);
    let updated = published(&effects, stream).remove(0);
    let updated = updated.task_updated.as_ref().unwrap();
    assert_eq!(updated.state, TaskState::TaskRunning);
    assert_eq!(updated.status.uuid.as_deref(), Some(&[1; 16][..]));
    let effects = cluster.update(&agent, &scheduler, "t", TaskState::TaskRunning, 2);
    assert!(types(&effects, stream).is_empty(), "no news");

    let pid = crate::cluster::agent_pid(2);
    let effects = cluster.agent_message(&pid, crate::cluster::registration(2));
    assert_eq!(types(&effects, stream), [event::Type::AgentAdded]);
    let added = published(&effects, stream).remove(0);
    let added = &added.agent_added.as_ref().unwrap().agent;
    assert_eq!(added.agent_info.hostname, "node-2");
    assert!(added.active);
    let effects = cluster.advance_with_pongs(Duration::from_secs(90), &[&agent]);
    let others = types(&effects, stream);
    assert!(others.contains(&event::Type::AgentRemoved), "{others:?}");
    assert_eq!(others.iter().filter(|it| **it == event::Type::Heartbeat).count(), 6);

    let effects = cluster.event(Event::ConnectionClosed { connection: scheduler.connection });
    let last = types(&effects, stream).pop();
    assert_eq!(last, Some(event::Type::FrameworkRemoved));

    cluster.event(Event::ConnectionClosed { connection: stream });
    let effects = cluster.advance(Duration::from_secs(60));
    assert!(types(&effects, stream).is_empty());
}

#[test]
fn the_oldest_stream_makes_room() {
    let mut small = config();
    small.max_operator_event_stream_subscribers = 2;
    let mut cluster = Cluster::with(small);
    let (first, _) = subscribe(&mut cluster);
    let (second, _) = subscribe(&mut cluster);
    let (_, effects) = subscribe(&mut cluster);
    assert!(closed(&effects, first) && !closed(&effects, second));
}

#[test]
fn operators_tear_frameworks_down() {
    let (mut cluster, agent, scheduler, _) = Cluster::with_offer(framework_info("jobs"));
    let call = |id: &protocol::mesos::FrameworkId| api::Call {
        r#type: Some(Type::Teardown),
        teardown: Some(Teardown { framework_id: id.clone(), ..Default::default() }),
        ..Default::default()
    };
    let (answer, effects) = cluster.operate(call(&scheduler.id));
    assert_eq!(answer, Some(Response::Ok));
    assert_eq!(names(&effects, &agent.pid), ["ShutdownFrameworkMessage"]);
    assert!(closed(&effects, scheduler.connection));
    let (answer, _) = cluster.operate(call(&scheduler.id));
    assert!(matches!(answer, Some(Response::BadRequest(_))));
    let empty = api::Call { r#type: Some(Type::Teardown), ..Default::default() };
    let expected = "Failed to validate master::Call: Expecting 'teardown' to be present".to_owned();
    assert_eq!(cluster.operate(empty).0, Some(Response::BadRequest(expected)));
}

#[test]
fn deactivation_outlives_agent_and_master() {
    let (mut cluster, agent, scheduler, offer) = Cluster::with_offer(framework_info("jobs"));
    let deactivate = api::Call {
        r#type: Some(Type::DeactivateAgent),
        deactivate_agent: Some(DeactivateAgent {
            agent_id: agent.id.clone(),
            ..Default::default()
        }),
        ..Default::default()
    };
    cluster.writes_complete = false;
    let (answer, _) = cluster.operate(deactivate);
    assert_eq!(answer, None, "not before it is durable");
    let effects = cluster.complete_writes();
    assert!(effects.iter().any(|it| matches!(it, Effect::Respond { response: Response::Ok, .. })));
    assert_eq!(rescinded(&effects, scheduler.connection), [offer.id]);
    cluster.writes_complete = true;

    cluster.restart();
    cluster.agent_message(&agent.pid, crate::cluster::reregistration(&agent));
    let info = protocol::mesos::FrameworkInfo { id: Some(scheduler.id), ..framework_info("jobs") };
    let (scheduler, effects) = cluster.subscribe(info);
    assert!(offers(&effects, scheduler.connection).is_empty());
    let view = cluster.master.snapshot();
    let agent_view = &view.agents[&agent.id];
    assert!(agent_view.deactivated && !agent_view.active && agent_view.connected);

    let reactivate = api::Call {
        r#type: Some(Type::ReactivateAgent),
        reactivate_agent: Some(ReactivateAgent { agent_id: agent.id, ..Default::default() }),
        ..Default::default()
    };
    let (answer, effects) = cluster.operate(reactivate);
    assert_eq!(answer, Some(Response::Ok));
    assert_eq!(offers(&effects, scheduler.connection).len(), 1);
}

#[test]
fn snapshots_share_what_did_not_change() {
    let (mut cluster, agent, scheduler, offer) = Cluster::with_offer(framework_info("jobs"));
    let other = cluster.add_agent(2);
    let before = cluster.master.snapshot();
    assert!(Arc::ptr_eq(&before, &cluster.master.snapshot()), "nothing happened");
    cluster.pong(&agent);
    let same = cluster.master.snapshot();
    assert_eq!(before.version, same.version);

    let tasks = launch(vec![task("t", &agent.id, 1.0, 10.0)]);
    cluster.accept(&scheduler, vec![offer.id], vec![tasks]);
    let after = cluster.master.snapshot();
    assert!(after.version > before.version);
    assert!(Arc::ptr_eq(&before.agents[&other.id], &after.agents[&other.id]));
    assert!(!Arc::ptr_eq(&before.agents[&agent.id], &after.agents[&agent.id]));
    let role = &after.roles()["*"];
    assert_eq!(role.frameworks, [scheduler.id]);
    assert!(role.allocated.get("cpus").to_f64() >= 1.0);
    let metric = |name: &str| after.metrics.iter().find(|it| it.0 == name).unwrap().1;
    assert_eq!(metric("master/cpus_total"), 8.0);
    assert_eq!(metric("master/cpus_used"), 1.0);
    assert_eq!(metric("master/cpus_percent"), 0.125);
    assert_eq!(metric("master/tasks_staging"), 1.0);
    assert_eq!(metric("master/slaves_active"), 2.0);
    assert_eq!(metric("master/frameworks_connected"), 1.0);
}
