//! Machines are scheduled for maintenance, go down and come up again.

use std::time::Duration;

use master::{Effect, Response};
use protocol::maintenance::{Schedule, Window};
use protocol::master as api;
use protocol::master::call::{
    DrainAgent, StartMaintenance, StopMaintenance, Type, UpdateMaintenanceSchedule,
};
use protocol::mesos::{DurationInfo, MachineId, TaskState, TimeInfo, Unavailability};

use crate::cluster::{
    Cluster, agent_pid, events, framework_info, names, offers, registered_id, registration,
    reregistration, rescinded, statuses,
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
    for message in [names(&cluster.agent_message(&agent.pid, reregistration(&agent)), &agent.pid)] {
        assert_eq!(message, ["ShutdownMessage"]);
    }
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
