//! Machines are scheduled for maintenance, go down and come up again.

use std::time::Duration;

use master::{Effect, Event, Response};
use protocol::allocator::inverse_offer_status::Status;
use protocol::maintenance::{Schedule, Window};
use protocol::master as api;
use protocol::master::call::{
    DrainAgent, StartMaintenance, StopMaintenance, Type, UpdateMaintenanceSchedule,
};
use protocol::mesos::{
    DurationInfo, Filters, FrameworkInfo, InverseOffer, MachineId, OfferId, TaskState, TimeInfo,
    Unavailability,
};
use protocol::scheduler;
use protocol::scheduler::call::{AcceptInverseOffers, DeclineInverseOffers, Type as CallType};

use crate::cluster::{
    Cluster, Scheduler, agent_pid, events, framework_info, names, offers, registered_id,
    registration, reregistration, rescinded, statuses,
};

fn machine(number: u8) -> MachineId {
    MachineId {
        hostname: Some(format!("Node-{number}")),
        ip: Some(format!("10.0.0.{number}")),
        ..Default::default()
    }
}

fn window(machines: Vec<MachineId>, start: i64) -> Window {
    Window {
        machine_ids: machines,
        unavailability: Unavailability {
            start: TimeInfo { nanoseconds: start, ..Default::default() },
            duration: Some(DurationInfo { nanoseconds: 3_600_000_000_000, ..Default::default() }),
            ..Default::default()
        },
        ..Default::default()
    }
}

fn update(windows: Vec<Window>) -> api::Call {
    let schedule = Schedule { windows, ..Default::default() };
    api::Call {
        r#type: Some(Type::UpdateMaintenanceSchedule),
        update_maintenance_schedule: Some(UpdateMaintenanceSchedule {
            schedule,
            ..Default::default()
        }),
        ..Default::default()
    }
}

fn start(machines: Vec<MachineId>) -> api::Call {
    api::Call {
        r#type: Some(Type::StartMaintenance),
        start_maintenance: Some(StartMaintenance { machines, ..Default::default() }),
        ..Default::default()
    }
}

fn stop(machines: Vec<MachineId>) -> api::Call {
    api::Call {
        r#type: Some(Type::StopMaintenance),
        stop_maintenance: Some(StopMaintenance { machines, ..Default::default() }),
        ..Default::default()
    }
}

fn refused(cluster: &mut Cluster, call: api::Call, text: &str) {
    let version = cluster.master.version();
    let (answer, _) = cluster.operate(call);
    assert_eq!(answer, Some(Response::BadRequest(text.to_owned())));
    assert_eq!(cluster.master.version(), version, "nothing changes");
}

fn done(cluster: &mut Cluster, call: api::Call) -> Vec<Effect> {
    let (answer, effects) = cluster.operate(call);
    assert_eq!(answer, Some(Response::Ok));
    effects
}

#[test]
fn offers_tell_of_the_window_and_are_renewed_when_it_changes() {
    let (mut cluster, _, scheduler, offer) = Cluster::with_offer(framework_info("jobs"));
    assert_eq!(offer.unavailability, None);
    cluster.writes_complete = false;
    let (answer, effects) = cluster.operate(update(vec![window(vec![machine(1)], 5)]));
    assert_eq!(answer, None, "not before it is durable");
    assert!(rescinded(&effects, scheduler.connection).is_empty());
    let effects = cluster.complete_writes();
    cluster.writes_complete = true;
    assert_eq!(rescinded(&effects, scheduler.connection), [offer.id]);
    let offer = offers(&effects, scheduler.connection).remove(0);
    assert_eq!(offer.unavailability, Some(window(vec![], 5).unavailability));

    let same = done(&mut cluster, update(vec![window(vec![machine(1)], 5)]));
    assert!(rescinded(&same, scheduler.connection).is_empty(), "nothing is new for the agent");
    let effects = done(&mut cluster, update(vec![]));
    assert_eq!(rescinded(&effects, scheduler.connection), [offer.id]);
    assert_eq!(offers(&effects, scheduler.connection)[0].unavailability, None);
}

#[test]
fn an_agent_that_joins_a_scheduled_machine_is_offered_with_the_window() {
    let mut cluster = Cluster::new();
    done(&mut cluster, update(vec![window(vec![machine(1)], 5)]));
    cluster.add_agent(1);
    cluster.add_agent(2);
    let (scheduler, effects) = cluster.subscribe(framework_info("jobs"));
    let offers = offers(&effects, scheduler.connection);
    let windows: Vec<_> =
        offers.iter().map(|it| (it.hostname.as_str(), it.unavailability.is_some())).collect();
    assert_eq!(windows.len(), 2);
    assert!(windows.contains(&("node-1", true)) && windows.contains(&("node-2", false)));
}

#[test]
fn a_machine_goes_down_and_comes_up() {
    let (mut cluster, agent, scheduler, offer) = Cluster::with_offer(framework_info("jobs"));
    cluster.running_task(&agent, &scheduler, &offer, "t");
    done(&mut cluster, update(vec![window(vec![machine(1), machine(2)], 5)]));
    let view = cluster.master.snapshot();
    assert_eq!(view.maintenance.status.draining_machines.len(), 2);

    let effects = done(&mut cluster, start(vec![machine(1)]));
    assert_eq!(names(&effects, &agent.pid), ["ShutdownMessage"]);
    let status = statuses(&effects, scheduler.connection).remove(0);
    assert_eq!(status.state, TaskState::TaskLost);
    let text = "Agent node-1 removed: Operator initiated 'Machine DOWN'";
    assert_eq!(status.message.as_deref(), Some(text));
    let lost = events(&effects, scheduler.connection).iter().any(|it| it.failure.is_some());
    assert!(lost, "the framework hears that the agent is lost");
    let view = cluster.master.snapshot();
    assert_eq!(view.maintenance.status.down_machines, [machine(1)]);
    assert_eq!(view.maintenance.status.draining_machines[0].id, machine(2));
    assert!(view.agents.is_empty());

    // The schedule and what is down outlive the master.
    cluster.restart();
    let effects = cluster.agent_message(&agent.pid, reregistration(&agent));
    assert_eq!(names(&effects, &agent.pid), ["ShutdownMessage"]);
    let pid = agent_pid(1);
    let effects = cluster.agent_message(&pid, registration(1));
    assert_eq!(names(&effects, &pid), ["ShutdownMessage"]);
    let effects = cluster.agent_message(&agent_pid(2), registration(2));
    assert!(registered_id(&effects).is_some(), "the other machine is not down yet");

    done(&mut cluster, stop(vec![machine(1)]));
    let view = cluster.master.snapshot();
    assert!(view.maintenance.status.down_machines.is_empty());
    assert_eq!(view.maintenance.schedule.windows, [window(vec![machine(2)], 5)]);
    cluster.restart();
    let effects = cluster.agent_message(&pid, registration(1));
    assert!(registered_id(&effects).is_some());
    done(&mut cluster, start(vec![machine(2)]));
    done(&mut cluster, stop(vec![machine(2)]));
    assert!(cluster.master.snapshot().maintenance.schedule.windows.is_empty());
}

#[test]
fn wrong_schedules_are_refused_in_the_words_of_mesos() {
    let mut cluster = Cluster::new();
    cluster.add_agent(3);
    let nothing = "List of machines in the maintenance window is empty";
    refused(&mut cluster, update(vec![window(vec![], 0)]), nothing);
    let text =
        r#"Machine '{"hostname":"Node-1","ip":"10.0.0.1"}' appears more than once in the schedule"#;
    let mut twice = machine(1);
    twice.hostname = Some("nODE-1".to_owned());
    let windows = vec![window(vec![twice.clone()], 0), window(vec![machine(1)], 9)];
    refused(&mut cluster, update(windows), text);
    refused(&mut cluster, start(vec![twice, machine(1)]), text);
    let mut negative = window(vec![machine(1)], 0);
    negative.unavailability.duration = Some(DurationInfo { nanoseconds: -1, ..Default::default() });
    refused(&mut cluster, update(vec![negative]), "Unavailability 'duration' is negative");
    let empty = "Both 'hostname' and 'ip' for a machine are empty";
    refused(&mut cluster, update(vec![window(vec![MachineId::default()], 0)]), empty);
    let mut odd = machine(1);
    odd.ip = Some("10.0.0.300".to_owned());
    let text = "Failed to parse IPv4: 10.0.0.300";
    refused(&mut cluster, update(vec![window(vec![odd], 0)]), text);

    refused(&mut cluster, start(vec![]), "List of machines is empty");
    refused(&mut cluster, stop(vec![]), "List of machines is empty");
    let text =
        r#"Machine '{"hostname":"Node-1","ip":"10.0.0.1"}' is not part of a maintenance schedule"#;
    refused(&mut cluster, start(vec![machine(1)]), text);
    refused(&mut cluster, stop(vec![machine(1)]), text);
    let text = r#"Machine '{"hostname":"Node-3","ip":"10.0.0.3"}' is not in DRAINING mode and cannot be brought down"#;
    refused(&mut cluster, start(vec![machine(3)]), text);

    done(&mut cluster, update(vec![window(vec![machine(1), machine(2)], 0)]));
    let text = r#"Machine '{"hostname":"Node-1","ip":"10.0.0.1"}' is not in DOWN mode and cannot be brought up"#;
    refused(&mut cluster, stop(vec![machine(1)]), text);
    done(&mut cluster, start(vec![machine(1)]));
    let text = r#"Machine '{"hostname":"Node-1","ip":"10.0.0.1"}' is not in DRAINING mode and cannot be brought down"#;
    refused(&mut cluster, start(vec![machine(1)]), text);
    let text = r#"Machine '{"hostname":"Node-1","ip":"10.0.0.1"}' is deactivated and cannot be removed from the schedule"#;
    refused(&mut cluster, update(vec![window(vec![machine(2)], 0)]), text);
    // Its window may move.
    done(&mut cluster, update(vec![window(vec![machine(1)], 77)]));
    assert_eq!(cluster.master.snapshot().maintenance.status.down_machines, [machine(1)]);
}

#[test]
fn changes_are_validated_against_those_before_them() {
    let mut cluster = Cluster::new();
    cluster.writes_complete = false;
    cluster.operate(update(vec![window(vec![machine(1)], 5)]));
    let (answer, _) = cluster.operate(start(vec![machine(1)]));
    assert_eq!(answer, None, "it waits for the schedule to be written");
    cluster.operate(update(vec![]));
    let effects = cluster.complete_writes();
    let answers: Vec<_> = effects
        .iter()
        .filter_map(|effect| match effect {
            Effect::Respond { response, .. } => Some(response.status()),
            _ => None,
        })
        .collect();
    assert_eq!(answers, [200, 200, 400]);
}

#[test]
fn an_agent_whose_machine_goes_down_during_its_admission_leaves_at_once() {
    let mut cluster = Cluster::new();
    done(&mut cluster, update(vec![window(vec![machine(1)], 5)]));
    cluster.writes_complete = false;
    let pid = agent_pid(1);
    cluster.operate(start(vec![machine(1)]));
    cluster.agent_message(&pid, registration(1));
    let effects = cluster.complete_writes();
    assert!(names(&effects, &pid).contains(&"ShutdownMessage"));
    assert!(cluster.master.snapshot().agents.is_empty());
    cluster.writes_complete = true;
    cluster.advance(Duration::from_secs(1));
    assert!(cluster.registry.keys().all(|key| !key.starts_with("agent/")));
}

/// The inverse offers sent on a stream.
fn inverse_offers(effects: &[Effect], scheduler: &Scheduler) -> Vec<InverseOffer> {
    events(effects, scheduler.connection)
        .iter()
        .filter_map(|event| event.inverse_offers.as_ref())
        .flat_map(|offers| offers.inverse_offers.clone())
        .collect()
}

fn rescinded_inverse(effects: &[Effect], scheduler: &Scheduler) -> Vec<OfferId> {
    events(effects, scheduler.connection)
        .iter()
        .filter_map(|event| event.rescind_inverse_offer.as_ref())
        .map(|rescind| rescind.inverse_offer_id.clone())
        .collect()
}

fn answer(id: &OfferId, accept: bool, seconds: f64) -> scheduler::Call {
    let filters = Some(Filters { refuse_seconds: Some(seconds), ..Default::default() });
    let inverse_offer_ids = vec![id.clone()];
    if accept {
        scheduler::Call {
            r#type: Some(CallType::AcceptInverseOffers),
            accept_inverse_offers: Some(AcceptInverseOffers {
                inverse_offer_ids,
                filters,
                ..Default::default()
            }),
            ..Default::default()
        }
    } else {
        scheduler::Call {
            r#type: Some(CallType::DeclineInverseOffers),
            decline_inverse_offers: Some(DeclineInverseOffers {
                inverse_offer_ids,
                filters,
                ..Default::default()
            }),
            ..Default::default()
        }
    }
}

fn answers(cluster: &mut Cluster) -> Vec<Status> {
    let view = cluster.master.snapshot();
    let machine = &view.maintenance.status.draining_machines[0];
    machine.statuses.iter().map(|status| status.status).collect()
}

#[test]
fn frameworks_are_asked_to_give_up_what_they_hold() {
    let (mut cluster, agent, scheduler, offer) = Cluster::with_offer(framework_info("jobs"));
    cluster.running_task(&agent, &scheduler, &offer, "t");
    let effects = done(&mut cluster, update(vec![window(vec![machine(1)], 5)]));
    let asked = inverse_offers(&effects, &scheduler).remove(0);
    assert_eq!(asked.agent_id.as_ref(), Some(&agent.id));
    assert_eq!(asked.framework_id, scheduler.id);
    assert_eq!(asked.unavailability.start.nanoseconds, 5);
    assert!(asked.resources.is_empty() && asked.url.is_some());
    assert!(answers(&mut cluster).is_empty());
    let view = cluster.master.snapshot();
    assert_eq!(*view.frameworks[&scheduler.id].inverse_offers[0], asked);

    // A refusal holds for its time; then the framework is asked again.
    let (response, _) = cluster.call(&scheduler, answer(&asked.id, false, 30.0));
    assert_eq!(response, Response::Accepted);
    assert_eq!(answers(&mut cluster), [Status::Decline]);
    let effects = cluster.advance_with_pongs(Duration::from_secs(28), &[&agent]);
    assert!(inverse_offers(&effects, &scheduler).is_empty());
    let effects = cluster.advance(Duration::from_secs(4));
    let asked = inverse_offers(&effects, &scheduler).remove(0);
    cluster.call(&scheduler, answer(&asked.id, true, 1e6));
    assert_eq!(answers(&mut cluster), [Status::Accept]);
    // An answer to what is answered is nothing.
    cluster.call(&scheduler, answer(&asked.id, false, 1.0));
    assert_eq!(answers(&mut cluster), [Status::Accept]);

    // Another plan is another question.
    let effects = done(&mut cluster, update(vec![window(vec![machine(1)], 6)]));
    let asked = inverse_offers(&effects, &scheduler).remove(0);
    assert!(answers(&mut cluster).is_empty());
    let effects = done(&mut cluster, update(vec![]));
    assert_eq!(rescinded_inverse(&effects, &scheduler), [asked.id]);
    assert!(inverse_offers(&effects, &scheduler).is_empty());
}

#[test]
fn nobody_is_asked_about_an_agent_that_is_away() {
    let info = FrameworkInfo { checkpoint: Some(true), ..framework_info("jobs") };
    let (mut cluster, agent, scheduler, offer) = Cluster::with_offer(info);
    cluster.running_task(&agent, &scheduler, &offer, "t");
    let effects = done(&mut cluster, update(vec![window(vec![machine(1)], 5)]));
    let asked = inverse_offers(&effects, &scheduler).remove(0);
    let effects = cluster.event(Event::Exited { pid: agent.pid.clone() });
    assert_eq!(rescinded_inverse(&effects, &scheduler), [asked.id]);
    // A plan that changes meanwhile is for later.
    let effects = done(&mut cluster, update(vec![window(vec![machine(1)], 6)]));
    assert!(inverse_offers(&effects, &scheduler).is_empty());
    let view = cluster.master.snapshot();
    let framework = &view.frameworks[&scheduler.id];
    let message = protocol::internal::ReregisterSlaveMessage {
        tasks: framework.tasks.iter().map(|task| task.to_task()).collect(),
        frameworks: vec![(*framework.info).clone()],
        ..reregistration(&agent)
    };
    let effects = cluster.agent_message(&agent.pid, message);
    let asked = inverse_offers(&effects, &scheduler).remove(0);
    assert_eq!(asked.unavailability.start.nanoseconds, 6);
    let effects = done(&mut cluster, start(vec![machine(1)]));
    assert_eq!(rescinded_inverse(&effects, &scheduler), [asked.id]);
    assert!(cluster.master.snapshot().frameworks[&scheduler.id].inverse_offers.is_empty());
}

#[test]
fn a_framework_that_returns_is_asked_again_and_a_slow_one_anew() {
    let mut slow = crate::cluster::config();
    slow.offer_timeout = Some(Duration::from_secs(60));
    let mut cluster = Cluster::with(slow);
    let agent = cluster.add_agent(1);
    let info = FrameworkInfo { failover_timeout: Some(1e6), ..framework_info("jobs") };
    let (scheduler, effects) = cluster.subscribe(info.clone());
    let offer = offers(&effects, scheduler.connection).remove(0);
    cluster.running_task(&agent, &scheduler, &offer, "t");
    let effects = done(&mut cluster, update(vec![window(vec![machine(1)], 5)]));
    let first = inverse_offers(&effects, &scheduler).remove(0);

    let effects = cluster.advance_with_pongs(Duration::from_secs(61), &[&agent]);
    assert_eq!(rescinded_inverse(&effects, &scheduler), [first.id]);
    let second = inverse_offers(&effects, &scheduler).remove(0);

    let info = FrameworkInfo { id: Some(scheduler.id.clone()), ..info };
    let (scheduler, effects) = cluster.subscribe(info.clone());
    let third = inverse_offers(&effects, &scheduler).remove(0);
    assert_ne!(second.id, third.id);
    cluster.event(Event::ConnectionClosed { connection: scheduler.connection });
    assert!(cluster.master.snapshot().frameworks[&scheduler.id].inverse_offers.is_empty());
    let (scheduler, effects) = cluster.subscribe(info);
    assert_eq!(inverse_offers(&effects, &scheduler).len(), 1);
}

#[test]
fn an_agent_in_the_schedule_is_not_drained_apart() {
    let mut cluster = Cluster::new();
    let agent = cluster.add_agent(1);
    done(&mut cluster, update(vec![window(vec![machine(1)], 5)]));
    let drain = api::Call {
        r#type: Some(Type::DrainAgent),
        drain_agent: Some(DrainAgent { agent_id: agent.id.clone(), ..Default::default() }),
        ..Default::default()
    };
    let text = format!(
        "Agent {} is part of a maintenance schedule under Machine Node-1 (10.0.0.1)",
        agent.id.value
    );
    refused(&mut cluster, drain, &text);
}
