//! Frameworks on the v0 driver: `mesos.scheduler.Call` and the older messages.

use std::time::Duration;

use master::{Effect, Event};
use protocol::internal::{
    DeactivateFrameworkMessage, KillTaskMessage, LaunchTasksMessage, ReconcileTasksMessage,
    RegisterFrameworkMessage, ReregisterFrameworkMessage, StatusUpdateAcknowledgementMessage,
    UnregisterFrameworkMessage,
};
use protocol::mesos::{FrameworkId, FrameworkInfo, Offer, TaskState};
use protocol::messages::{MasterToAgent, MasterToScheduler};
use protocol::pid::Pid;
use protocol::scheduler::call::Type;
use protocol::scheduler_v0;

use crate::cluster::{
    Cluster, agent_pid, framework_info, launched, names, status_update, task, task_id, to_agent,
    to_driver,
};

fn driver(number: u8) -> Pid {
    format!("scheduler-{number}@10.0.1.{number}:4000").parse().unwrap()
}

fn short_names(effects: &[Effect], pid: &Pid) -> Vec<&'static str> {
    to_driver(effects, pid)
        .iter()
        .map(|message| message.name().trim_start_matches("mesos.internal."))
        .collect()
}

fn subscribe(info: FrameworkInfo, force: bool) -> scheduler_v0::Call {
    scheduler_v0::Call {
        framework_id: info.id.clone(),
        r#type: Some(Type::Subscribe),
        subscribe: Some(Box::new(scheduler_v0::call::Subscribe {
            framework_info: info,
            force: Some(force),
            ..Default::default()
        })),
        ..Default::default()
    }
}

fn registered(effects: &[Effect], pid: &Pid) -> FrameworkId {
    to_driver(effects, pid)
        .into_iter()
        .find_map(|message| match message {
            MasterToScheduler::FrameworkRegistered(message) => Some(message.framework_id.clone()),
            _ => None,
        })
        .expect("the driver is registered")
}

fn offered(effects: &[Effect], pid: &Pid) -> Vec<(Offer, String)> {
    to_driver(effects, pid)
        .into_iter()
        .filter_map(|message| match message {
            MasterToScheduler::ResourceOffers(message) => Some(message),
            _ => None,
        })
        .flat_map(|message| message.offers.iter().cloned().zip(message.pids.iter().cloned()))
        .collect()
}

fn durable() -> FrameworkInfo {
    FrameworkInfo { failover_timeout: Some(60.0), ..framework_info("old") }
}

#[test]
fn a_driver_runs_a_task_with_the_older_messages() {
    let mut cluster = Cluster::new();
    let agent = cluster.add_agent(1);
    let pid = driver(1);
    let register = RegisterFrameworkMessage { framework: durable(), ..Default::default() };
    let effects = cluster.driver_message(&pid, register.clone());
    assert_eq!(
        short_names(&effects, &pid),
        ["FrameworkRegisteredMessage", "ResourceOffersMessage"]
    );
    assert!(effects.iter().any(|it| matches!(it, Effect::Link { pid: linked } if *linked == pid)));
    let id = registered(&effects, &pid);
    let (offer, agent_at) = offered(&effects, &pid).remove(0);
    assert_eq!(agent_at, agent.pid.to_string());
    // The answer was lost: it asks again and gets the same id.
    let effects = cluster.driver_message(&pid, register);
    assert_eq!(registered(&effects, &pid), id);

    let launch = LaunchTasksMessage {
        framework_id: id.clone(),
        tasks: vec![task("t", &agent.id, 1.0, 64.0)],
        offer_ids: vec![offer.id],
        ..Default::default()
    };
    // Another driver cannot use it.
    assert!(launched(&cluster.driver_message(&driver(2), launch.clone())).is_empty());
    let effects = cluster.driver_message(&pid, launch);
    assert_eq!(launched(&effects), ["t"]);
    let MasterToAgent::RunTask(message) = to_agent(&effects, &agent.pid)[0] else { panic!() };
    assert_eq!(message.pid, Some(pid.to_string()));

    let update = status_update(&agent, &id, "t", TaskState::TaskFinished, 1);
    let effects = cluster.agent_message(&agent.pid, update);
    let MasterToScheduler::StatusUpdate(message) = to_driver(&effects, &pid)[0] else { panic!() };
    assert_eq!(message.pid, Some(agent.pid.to_string()), "or the driver would drop the uuid");
    assert_eq!(message.update.uuid.as_deref(), Some(&[1; 16][..]));
    let acknowledge = StatusUpdateAcknowledgementMessage {
        slave_id: agent.id.clone(),
        framework_id: id.clone(),
        task_id: task_id("t"),
        uuid: vec![1; 16],
        ..Default::default()
    };
    let effects = cluster.driver_message(&pid, acknowledge);
    assert_eq!(names(&effects, &agent.pid), ["StatusUpdateAcknowledgementMessage"]);

    // The master's own words carry the empty pid.
    let reconcile = ReconcileTasksMessage {
        framework_id: id.clone(),
        statuses: vec![protocol::mesos::TaskStatus {
            task_id: task_id("ghost"),
            ..Default::default()
        }],
        ..Default::default()
    };
    let effects = cluster.driver_message(&pid, reconcile);
    let MasterToScheduler::StatusUpdate(message) = to_driver(&effects, &pid)[0] else { panic!() };
    assert_eq!(message.pid.as_deref(), Some("@0.0.0.0:0"));
    assert_eq!(message.update.status.state, TaskState::TaskLost);

    let kill =
        KillTaskMessage { framework_id: id.clone(), task_id: task_id("x"), ..Default::default() };
    assert_eq!(short_names(&cluster.driver_message(&pid, kill), &pid), ["StatusUpdateMessage"]);
    let bye = UnregisterFrameworkMessage { framework_id: id, ..Default::default() };
    let effects = cluster.driver_message(&pid, bye);
    assert_eq!(names(&effects, &agent.pid), ["ShutdownFrameworkMessage"]);
}

#[test]
fn a_second_driver_needs_force() {
    let mut cluster = Cluster::new();
    cluster.add_agent(1);
    let (first, second) = (driver(1), driver(2));
    let effects = cluster.driver_message(&first, subscribe(durable(), false));
    let id = registered(&effects, &first);
    let known = FrameworkInfo { id: Some(id), ..durable() };

    let effects = cluster.driver_message(&second, subscribe(known.clone(), false));
    assert_eq!(short_names(&effects, &second), ["FrameworkErrorMessage"]);
    assert!(to_driver(&effects, &first).is_empty());

    let effects = cluster.driver_message(&second, subscribe(known.clone(), true));
    assert_eq!(short_names(&effects, &first), ["FrameworkErrorMessage"]);
    assert_eq!(
        short_names(&effects, &second),
        ["FrameworkRegisteredMessage", "ResourceOffersMessage"]
    );
    // The same driver asking again is told that it is reregistered, and its offers are void.
    let effects = cluster.driver_message(&second, subscribe(known, false));
    assert_eq!(
        short_names(&effects, &second),
        ["RescindResourceOfferMessage", "FrameworkReregisteredMessage", "ResourceOffersMessage"]
    );
}

#[test]
fn a_broken_driver_may_return_and_an_aborted_one_gets_no_offers() {
    let mut cluster = Cluster::new();
    let agent = cluster.add_agent(1);
    let pid = driver(1);
    let effects = cluster.driver_message(&pid, subscribe(durable(), false));
    let id = registered(&effects, &pid);
    let effects = cluster.event(Event::Exited { pid: pid.clone() });
    assert_eq!(
        short_names(&effects, &pid),
        ["FrameworkErrorMessage", "RescindResourceOfferMessage"]
    );
    assert!(!cluster.master.snapshot().frameworks[&id].connected);
    let back = ReregisterFrameworkMessage {
        framework: FrameworkInfo { id: Some(id.clone()), ..durable() },
        failover: false,
        ..Default::default()
    };
    let effects = cluster.driver_message(&pid, back);
    assert!(short_names(&effects, &pid).contains(&"FrameworkReregisteredMessage"));

    let deactivate = DeactivateFrameworkMessage { framework_id: id.clone(), ..Default::default() };
    let effects = cluster.driver_message(&pid, deactivate);
    assert_eq!(short_names(&effects, &pid), ["RescindResourceOfferMessage"]);
    let effects = cluster.advance_with_pongs(Duration::from_secs(30), &[&agent]);
    assert!(offered(&effects, &pid).is_empty());
    let view = cluster.master.snapshot();
    assert!(view.frameworks[&id].connected && !view.frameworks[&id].active);
}

#[test]
fn a_framework_may_move_to_the_http_api() {
    let mut cluster = Cluster::new();
    cluster.add_agent(1);
    let pid = driver(1);
    let effects = cluster.driver_message(&pid, subscribe(durable(), false));
    let id = registered(&effects, &pid);
    let (scheduler, effects) =
        cluster.subscribe(FrameworkInfo { id: Some(id.clone()), ..durable() });
    assert_eq!(scheduler.id, id);
    assert_eq!(short_names(&effects, &pid), ["FrameworkErrorMessage"]);
    let MasterToAgent::UpdateFramework(message) = to_agent(&effects, &agent_pid(1)).pop().unwrap()
    else {
        panic!("{effects:?}");
    };
    assert_eq!(message.pid.as_deref(), Some("@0.0.0.0:0"));
    // The old driver's link breaking is of no interest any more.
    cluster.event(Event::Exited { pid });
    assert!(cluster.master.snapshot().frameworks[&id].connected);
}
