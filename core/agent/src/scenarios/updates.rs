use std::time::Duration;

use protocol::executor::event::Type;
use protocol::mesos::{TaskState, task_status};
use protocol::messages::AgentToMaster;

use super::samples::{agent_id, command_task, executor_id, framework};
use super::world::World;
use crate::checkpoint::records;
use crate::event::Event;

/// A world with one running command task `t` of framework `F` whose updates so far are acknowledged.
fn running(checkpoint: bool) -> World {
    let mut world = World::registered();
    world.launch(framework("F", checkpoint), command_task("t"));
    world.subscribe("F", "t");
    let running = world.status("t", TaskState::TaskRunning);
    world.update("F", "t", running);
    world.acknowledge_all();
    world.effects.clear();
    world
}

#[test]
fn forwarded_updates_are_filled_in_as_mesos_does() {
    let mut world = World::registered();
    let launch = world.launch(framework("F", true), command_task("t"));
    world.subscribe("F", "t");
    let status = world.status("t", TaskState::TaskStarting);
    world.update("F", "t", status.clone());
    let running = world.status("t", TaskState::TaskRunning);
    world.update("F", "t", running);
    let messages = world.messages();
    let [AgentToMaster::StatusUpdate(message)] = &messages[..] else { panic!("{messages:?}") };
    assert_eq!(message.pid.as_deref(), Some("slave(1)@127.0.0.1:5051"));
    let update = &message.update;
    assert_eq!(update.uuid, status.uuid);
    assert_eq!(update.slave_id, Some(agent_id()));
    assert_eq!(update.executor_id, Some(executor_id("t")));
    assert!((update.timestamp - 1.0).abs() < f64::EPSILON);
    assert_eq!(update.latest_state, Some(TaskState::TaskStarting));
    assert_eq!(update.status.uuid, status.uuid);
    assert_eq!(update.status.source, Some(task_status::Source::SourceExecutor));
    assert_eq!(update.status.agent_id, Some(agent_id()));
    let container = update.status.container_status.as_ref().unwrap();
    assert_eq!(container.container_id, Some(launch.container));
    assert_eq!(container.executor_pid, Some(4711));
    let address = &container.network_infos[0].ip_addresses[0];
    assert_eq!(address.ip_address.as_deref(), Some("127.0.0.1"));
    // The next one leaves only after this one is acknowledged.
    world.acknowledge(update);
    let next = world.updates();
    assert_eq!(next.len(), 1);
    assert_eq!(next[0].status.state, TaskState::TaskRunning);
}

#[test]
fn updates_are_repeated_with_growing_waits_until_acknowledged() {
    let mut world = running(true);
    let finished = world.status("t", TaskState::TaskFinished);
    world.update("F", "t", finished);
    let mut seen = world.updates();
    let mut waits = vec![10, 20, 40, 80, 160, 320, 600, 600];
    waits.reverse();
    while let Some(wait) = waits.pop() {
        world.pass(Duration::from_secs(wait - 1));
        assert!(world.updates().is_empty(), "too early before {wait} s");
        world.pass(Duration::from_secs(1));
        let repeated = world.updates();
        assert_eq!(repeated.len(), 1, "after {wait} s");
        seen.extend(repeated);
    }
    assert!(seen.windows(2).all(|pair| pair[0].uuid == pair[1].uuid));
    world.acknowledge(&seen[0]);
    world.pass(Duration::from_secs(3600));
    assert!(world.updates().is_empty());
}

#[test]
fn an_update_is_promised_to_nobody_before_it_is_on_disk() {
    let mut world = running(true);
    world.disk_is_stuck = true;
    let finished = world.status("t", TaskState::TaskFinished);
    let request = world.begin_update("F", "t", finished);
    assert!(world.answer(request).is_none(), "202 says that the update is safe");
    world.pass(Duration::from_secs(60));
    assert!(world.updates().is_empty());
    assert!(world.events().is_empty());
    world.unstick_disk();
    assert_eq!(world.answer(request).unwrap().status.code(), 202);
    assert!(!world.updates().is_empty());
    assert_eq!(world.event_types(), [Type::Acknowledged]);
}

#[test]
fn a_repeated_update_is_acknowledged_again_and_forwarded_once() {
    let mut world = running(true);
    let status = world.status("t", TaskState::TaskKilling);
    world.update("F", "t", status.clone());
    world.update("F", "t", status);
    assert_eq!(world.event_types(), [Type::Acknowledged, Type::Acknowledged]);
    assert_eq!(world.acknowledge_all()["t"], [TaskState::TaskKilling]);
}

#[test]
fn nothing_follows_a_terminal_state() {
    let mut world = running(true);
    let finished = world.status("t", TaskState::TaskFinished);
    world.update("F", "t", finished);
    let failed = world.status("t", TaskState::TaskFailed);
    world.update("F", "t", failed);
    assert_eq!(world.event_types(), [Type::Acknowledged, Type::Acknowledged]);
    assert_eq!(world.acknowledge_all()["t"], [TaskState::TaskFinished]);
}

#[test]
fn acknowledgements_that_do_not_fit_change_nothing() {
    let mut world = running(true);
    let killing = world.status("t", TaskState::TaskKilling);
    let finished = world.status("t", TaskState::TaskFinished);
    world.update("F", "t", killing);
    world.update("F", "t", finished.clone());
    let update = world.updates().pop().unwrap();
    let mut early = update.clone();
    early.uuid = finished.uuid;
    world.acknowledge(&early);
    assert!(world.updates().is_empty());
    world.acknowledge(&update);
    world.acknowledge(&update);
    let next = world.updates();
    assert_eq!(next.len(), 1);
    assert_eq!(next[0].status.state, TaskState::TaskFinished);
}

#[test]
fn updates_wait_for_a_master_and_then_leave_at_once() {
    let mut world = running(false);
    world.handle(Event::MasterDetected { leader: None });
    let finished = world.status("t", TaskState::TaskFinished);
    world.update("F", "t", finished);
    world.pass(Duration::from_secs(3600));
    assert!(world.updates().is_empty());
    world.register();
    assert_eq!(world.acknowledge_all()["t"], [TaskState::TaskFinished]);
}

#[test]
fn the_file_of_updates_has_mesos_form() {
    use protocol::internal::{StatusUpdateRecord, status_update_record::Type as RecordType};
    let world = running(true);
    let (_, entry) = world
        .disk
        .entries
        .iter()
        .find(|(path, _)| path.ends_with("/tasks/t/task.updates"))
        .unwrap();
    let crate::checkpoint::EntryKind::File(content) = &entry.kind else { panic!() };
    let length = u32::from_le_bytes(content[..4].try_into().unwrap());
    assert!(usize::try_from(length).unwrap() < content.len());
    let records = records::decode_sequence::<StatusUpdateRecord>(content);
    let types: Vec<RecordType> = records.messages.iter().map(|it| it.r#type).collect();
    assert_eq!(types, [RecordType::Update, RecordType::Ack]);
    assert_eq!(records.messages[1].uuid, records.messages[0].update.as_ref().unwrap().uuid);
}
