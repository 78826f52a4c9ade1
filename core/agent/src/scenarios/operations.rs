use std::time::Duration;

use protocol::internal::{
    AcknowledgeOperationStatusMessage, ApplyOperationMessage, DrainSlaveMessage,
    ReconcileOperationsMessage, UpdateOperationStatusMessage, reconcile_operations_message,
};
use protocol::mesos::offer::Operation;
use protocol::mesos::offer::operation::{Create, Destroy, Reserve, Type};
use protocol::mesos::resource::{DiskInfo, ReservationInfo, disk_info, reservation_info};
use protocol::mesos::{self, OperationState, TaskState, framework_info, task_status};
use protocol::messages::{AgentToMaster, MasterToAgent};

use super::samples::{agent_id, command_task, config, framework, run_task, scalar};
use super::world::World;
use crate::checkpoint::{self, Change};
use crate::effect::Effect;
use crate::recovery::RecoveryError;

pub(super) fn reserved(value: f64) -> mesos::Resource {
    mesos::Resource {
        reservations: vec![ReservationInfo {
            r#type: Some(reservation_info::Type::Dynamic),
            role: Some("eng/web".to_owned()),
            ..Default::default()
        }],
        ..scalar("disk", value)
    }
}

pub(super) fn volume() -> mesos::Resource {
    let persistence = disk_info::Persistence { id: "v1".to_owned(), ..Default::default() };
    mesos::Resource {
        disk: Some(Box::new(DiskInfo { persistence: Some(persistence), ..Default::default() })),
        ..reserved(100.0)
    }
}

pub(super) fn reserve() -> Operation {
    let reserve = Reserve { resources: vec![reserved(100.0)], ..Default::default() };
    Operation { r#type: Some(Type::Reserve), reserve: Some(reserve), ..Default::default() }
}

pub(super) fn create() -> Operation {
    let create = Create { volumes: vec![volume()], ..Default::default() };
    Operation { r#type: Some(Type::Create), create: Some(create), ..Default::default() }
}

pub(super) fn destroy() -> Operation {
    let destroy = Destroy { volumes: vec![volume()], ..Default::default() };
    Operation { r#type: Some(Type::Destroy), destroy: Some(destroy), ..Default::default() }
}

pub(super) fn uuid(number: u8) -> mesos::Uuid {
    mesos::Uuid { value: vec![number; 16], ..Default::default() }
}

pub(super) fn apply(world: &mut World, number: u8, operation: Operation) {
    world.master_says(MasterToAgent::from(ApplyOperationMessage {
        operation_info: operation,
        operation_uuid: uuid(number),
        ..Default::default()
    }));
}

pub(super) fn reports(world: &mut World) -> Vec<UpdateOperationStatusMessage> {
    let messages = world.messages().into_iter();
    messages
        .filter_map(|message| match message {
            AgentToMaster::UpdateOperationStatus(message) => Some(message),
            _ => None,
        })
        .collect()
}

pub(super) fn acknowledge(world: &mut World, report: &UpdateOperationStatusMessage) {
    world.master_says(MasterToAgent::AcknowledgeOperationStatus(
        AcknowledgeOperationStatusMessage {
            status_uuid: report.status.uuid.clone().unwrap(),
            operation_uuid: report.operation_uuid.clone().unwrap(),
            ..Default::default()
        },
    ));
}

pub(super) fn volume_changes(world: &World) -> Vec<Change> {
    let changes = world.trace.iter().filter_map(|trace| match trace {
        super::world::Trace::Change(change) => Some(change.clone()),
        super::world::Trace::Effect(_) => None,
    });
    changes
        .filter(|it| matches!(it, Change::CreateVolume { .. } | Change::RemoveVolume { .. }))
        .collect()
}

#[test]
fn an_operation_that_overtakes_the_answer_to_the_registration_is_told_with_the_agents_id() {
    let mut world = World::new();
    world.recover_containers(&[]);
    world.detect();
    world.pass(Duration::from_secs(1));
    // The first answer was lost, and the master uses the agent.
    apply(&mut world, 1, reserve());
    assert!(reports(&mut world).is_empty(), "it is not registered yet");
    world.register();
    let report = reports(&mut world).remove(0);
    assert_eq!(report.status.agent_id, Some(agent_id()));
    // Also after a restart, as long as it is not acknowledged.
    let mut world = world.restart().unwrap();
    world.recover_containers(&[]);
    world.register();
    let report = reports(&mut world).remove(0);
    assert_eq!(report.status.agent_id, Some(agent_id()));
    acknowledge(&mut world, &report);
    let mut world = world.restart().unwrap();
    world.recover_containers(&[]);
    world.register();
    assert!(reports(&mut world).is_empty());
}

#[test]
fn operations_change_the_total_and_are_reported_until_acknowledged() {
    let mut world = World::registered();
    apply(&mut world, 1, reserve());
    let report = reports(&mut world).pop().unwrap();
    assert_eq!(report.status.state, OperationState::OperationFinished);
    assert_eq!(report.operation_uuid, Some(uuid(1)));
    assert_eq!(report.latest_status.as_ref(), Some(&report.status));
    assert_eq!(world.view().checkpointed_resources.len(), 1);
    apply(&mut world, 1, reserve());
    assert!(reports(&mut world).is_empty(), "the same operation is applied once");
    world.pass(Duration::from_secs(10));
    assert_eq!(reports(&mut world).len(), 1);
    acknowledge(&mut world, &report);
    world.pass(Duration::from_secs(600));
    assert!(reports(&mut world).is_empty());
    assert!(world.view().operations.is_empty());
}

#[test]
fn volumes_are_made_and_removed_with_their_operations() {
    let path = "/var/agent/volumes/roles/eng web/v1".to_owned();
    let mut world = World::registered();
    apply(&mut world, 1, reserve());
    apply(&mut world, 2, create());
    assert_eq!(volume_changes(&world), [Change::CreateVolume { path: path.clone() }]);
    apply(&mut world, 3, destroy());
    let removal = Change::RemoveVolume { path, keep_root: false };
    assert_eq!(volume_changes(&world).pop(), Some(removal));
}

#[test]
fn an_operation_that_does_not_fit_fails_and_changes_nothing() {
    let mut world = World::registered();
    apply(&mut world, 1, create());
    let report = reports(&mut world).pop().unwrap();
    assert_eq!(report.status.state, OperationState::OperationFailed);
    assert!(world.view().checkpointed_resources.is_empty());
}

#[test]
fn reservations_and_unacknowledged_operations_survive_a_restart() {
    let mut world = World::registered();
    apply(&mut world, 1, reserve());
    apply(&mut world, 2, create());
    let reported = reports(&mut world);
    acknowledge(&mut world, &reported[0]);
    let mut world = world.restart().unwrap();
    assert_eq!(world.view().checkpointed_resources.len(), 1);
    world.recover_containers(&[]);
    world.detect();
    world.pass(Duration::from_secs(1));
    let messages = world.messages();
    let AgentToMaster::ReregisterSlave(message) = &messages[0] else { panic!("{messages:?}") };
    assert_eq!(message.checkpointed_resources.len(), 1);
    world.register();
    let again = reports(&mut world);
    assert_eq!(again.len(), 1);
    assert_eq!(again[0].operation_uuid, Some(uuid(2)));
}

#[test]
fn a_change_of_volumes_is_finished_by_the_next_start() {
    let mut world = World::registered();
    apply(&mut world, 1, reserve());
    world.disk_is_stuck = true;
    apply(&mut world, 2, create());
    let (_, changes) = world.stuck.pop_front().unwrap();
    for done in 0..=changes.len() {
        let mut disk = world.disk.clone();
        for change in &changes[..done] {
            disk.apply(world.now, change);
        }
        let mut next = World::start(config(), disk).unwrap();
        next.recover_containers(&[]);
        let created = volume_changes(&next);
        let is_volume_known =
            next.view().checkpointed_resources.iter().any(|resource| resource.disk.is_some());
        // Once the target is written the change happens, now or then; before, it never does.
        assert_eq!(is_volume_known, done > 0, "after {done} changes");
        // With the volume its operation is known to have ended, and without it to be unheard of.
        next.register();
        assert_eq!(
            reports(&mut next).iter().filter(|it| it.operation_uuid == Some(uuid(2))).count(),
            usize::from(done > 0),
            "after {done} changes"
        );
        // The last two changes come after the volume is there and the state says so.
        let is_redone = done > 0 && done < changes.len() - 1;
        assert_eq!(created.len(), usize::from(is_redone), "after {done} changes");
        assert!(next.disk.file(checkpoint::RESOURCES_AND_OPERATIONS_TARGET).is_none());
        assert!(next.disk.file(checkpoint::RESOURCES_TARGET).is_none());
    }
}

#[test]
fn resources_that_no_longer_hold_the_reservations_stop_the_start() {
    let mut world = World::registered();
    apply(&mut world, 1, reserve());
    let mut smaller = config();
    smaller.resources = vec![scalar("cpus", 4.0), scalar("disk", 50.0)];
    let error = World::start(smaller, world.disk).err().unwrap();
    assert!(matches!(error, RecoveryError::ResourcesDoNotFit { .. }), "{error}");
}

#[test]
fn tasks_on_unknown_volumes_are_dropped() {
    let mut world = World::registered();
    let mut task = command_task("t");
    task.resources.push(mesos::Resource {
        allocation_info: task.resources[0].allocation_info.clone(),
        ..volume()
    });
    world.master_says(run_task(framework("F", true), task.clone()));
    let update = world.updates().pop().unwrap();
    assert_eq!(update.status.state, TaskState::TaskDropped);
    assert_eq!(update.status.reason, Some(task_status::Reason::ReasonResourcesUnknown));
    world.acknowledge(&update);
    apply(&mut world, 1, reserve());
    apply(&mut world, 2, create());
    task.task_id.value = "u".to_owned();
    world.master_says(run_task(framework("F", true), task));
    assert_eq!(world.launches().len(), 1);
}

#[test]
fn questions_about_operations_are_answered() {
    let mut world = World::registered();
    apply(&mut world, 1, reserve());
    world.effects.clear();
    let ask = |number| reconcile_operations_message::Operation {
        operation_uuid: Some(uuid(number)),
        ..Default::default()
    };
    world.master_says(MasterToAgent::ReconcileOperations(ReconcileOperationsMessage {
        operations: vec![ask(1), ask(9)],
        ..Default::default()
    }));
    let answers = reports(&mut world);
    assert_eq!(answers.len(), 1);
    assert_eq!(answers[0].operation_uuid, Some(uuid(9)));
    assert_eq!(answers[0].status.state, OperationState::OperationDropped);
}

#[test]
fn a_draining_agent_kills_everything_and_takes_nothing() {
    let drain = || {
        MasterToAgent::DrainSlave(DrainSlaveMessage {
            config: mesos::DrainConfig {
                max_grace_period: Some(mesos::DurationInfo {
                    nanoseconds: 3_000_000_000,
                    ..Default::default()
                }),
                ..Default::default()
            },
            ..Default::default()
        })
    };
    let mut world = World::registered();
    world.master_says(drain());
    assert!(world.view().drain_config.is_none(), "there is nothing to drain");
    let launch = world.launch(framework("F", true), command_task("t"));
    world.subscribe("F", "t");
    let running = world.status("t", TaskState::TaskRunning);
    world.update("F", "t", running);
    world.acknowledge_all();
    world.events();
    world.master_says(drain());
    let (_, event) = world.events().pop().unwrap();
    let policy = event.kill.unwrap().kill_policy.unwrap();
    assert_eq!(policy.grace_period.unwrap().nanoseconds, 3_000_000_000);
    world.master_says(run_task(framework("F", true), command_task("u")));
    let update = world.updates().pop().unwrap();
    assert_eq!(update.status.reason, Some(task_status::Reason::ReasonAgentDraining));
    world.acknowledge(&update);
    // The drain goes on over a restart.
    let mut world = world.restart().unwrap();
    world.recover_containers(&[&launch.container]);
    world.subscribe("F", "t");
    world.register();
    assert!(world.view().drain_config.is_some());
    let killed = world.status("t", TaskState::TaskKilled);
    world.update("F", "t", killed);
    let update = world.updates().pop().unwrap();
    assert_eq!(update.status.reason, Some(task_status::Reason::ReasonAgentDraining));
    world.acknowledge(&update);
    world.container_exited(&launch.container, 0);
    assert!(world.view().drain_config.is_none());
    let path = checkpoint::drain_config(&agent_id());
    assert!(world.disk.file(&path).is_none());
    assert!(!world.effects.iter().any(|effect| matches!(effect, Effect::Exit { .. })));
}

#[test]
fn a_task_on_an_agent_that_will_be_gone_ends_when_it_has_ended() {
    for (capabilities, end) in [
        (vec![framework_info::capability::Type::PartitionAware], TaskState::TaskGoneByOperator),
        (vec![], TaskState::TaskKilled),
    ] {
        let info = mesos::FrameworkInfo {
            capabilities: capabilities
                .into_iter()
                .map(|it| framework_info::Capability { r#type: Some(it), ..Default::default() })
                .collect(),
            ..framework("F", true)
        };
        let mut world = World::registered();
        world.launch(info, command_task("t"));
        world.subscribe("F", "t");
        let config = mesos::DrainConfig { mark_gone: Some(true), ..Default::default() };
        world.master_says(MasterToAgent::DrainSlave(DrainSlaveMessage {
            config,
            ..Default::default()
        }));
        // It may take its grace period.
        for (told, expected) in
            [(TaskState::TaskKilling, TaskState::TaskKilling), (TaskState::TaskKilled, end)]
        {
            let status = world.status("t", told);
            world.update("F", "t", status);
            let update = world.updates().pop().unwrap();
            assert_eq!(update.status.state, expected);
            let reason = task_status::Reason::ReasonAgentDraining;
            assert_eq!(update.status.reason, Some(reason));
            world.acknowledge(&update);
        }
    }
}
