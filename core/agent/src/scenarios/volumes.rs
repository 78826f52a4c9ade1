//! Volumes in containers, and operations that are not simply applied.

use std::time::Duration;

use protocol::checkpoint::ResourceState;
use protocol::internal::{
    ApplyOperationMessage, ReconcileOperationsMessage, ResourceVersionUuid,
    UpdateOperationStatusMessage, UpdateOperationStatusRecord, reconcile_operations_message,
    update_operation_status_record,
};
use protocol::mesos::offer::Operation;
use protocol::mesos::offer::operation::{Create, GrowVolume, Type};
use protocol::mesos::resource::{AllocationInfo, DiskInfo, SharedInfo, disk_info};
use protocol::mesos::{self, OperationState, volume::Mode};
use protocol::messages::{AgentToMaster, MasterToAgent};

use super::operations::{
    apply, create, destroy, reports, reserve, reserved, uuid, volume, volume_changes,
};
use super::samples::{agent_id, command_task, config, executor_task, framework, run_task, scalar};
use super::world::World;
use crate::checkpoint::{self, Change, records};
use crate::effect::{Effect, VolumeLink};

fn mounted(volume: mesos::Resource, path: &str) -> mesos::Resource {
    let mut volume = volume;
    if let Some(disk) = &mut volume.disk {
        disk.volume = Some(mesos::Volume {
            container_path: path.to_owned(),
            mode: Mode::Rw,
            ..Default::default()
        });
    }
    volume.allocation_info =
        Some(AllocationInfo { role: Some("eng/web".to_owned()), ..Default::default() });
    volume
}

fn link(path: &str, shared: bool) -> VolumeLink {
    VolumeLink {
        source: "/var/agent/volumes/roles/eng web/v1".to_owned(),
        container_path: path.to_owned(),
        read_only: false,
        shared,
    }
}

fn create_of(volumes: Vec<mesos::Resource>) -> Operation {
    let create = Create { volumes, ..Default::default() };
    Operation { r#type: Some(Type::Create), create: Some(create), ..Default::default() }
}

#[test]
fn containers_get_the_volumes_of_their_tasks() {
    let mut world = World::registered();
    apply(&mut world, 1, reserve());
    apply(&mut world, 2, create());
    let mut task = command_task("t");
    task.resources.push(mounted(volume(), "data"));
    let launch = world.launch(framework("F", true), task);
    assert_eq!(launch.volumes, [link("data", false)]);
}

#[test]
fn a_running_executor_gets_and_loses_the_volumes_of_its_tasks() {
    let shared = || mesos::Resource { shared: Some(SharedInfo::default()), ..volume() };
    let mut world = World::registered();
    apply(&mut world, 1, reserve());
    apply(&mut world, 2, create_of(vec![shared()]));
    world.launch(framework("F", true), executor_task("t", "e"));
    world.subscribe("F", "e");
    world.effects.clear();
    let mut task = executor_task("u", "e");
    task.resources.push(mounted(shared(), "data"));
    world.master_says(run_task(framework("F", true), task));
    let links = |world: &mut World| {
        let position =
            world.effects.iter().position(|it| matches!(it, Effect::UpdateContainer { .. }));
        match world.effects.remove(position.unwrap()) {
            Effect::UpdateContainer { volumes, .. } => volumes,
            other => panic!("{other:?}"),
        }
    };
    let at = |world: &World, wanted: fn(&Effect) -> bool| world.effects.iter().position(wanted);
    let updated = at(&world, |it| matches!(it, Effect::UpdateContainer { .. }));
    let told = at(&world, |it| matches!(it, Effect::SendToExecutor { .. }));
    assert!(updated.is_some() && updated < told, "the volume is there before the task starts");
    assert_eq!(links(&mut world), [link("data", true)]);
    world.effects.clear();
    let finished = world.status("u", mesos::TaskState::TaskFinished);
    world.update("F", "e", finished);
    assert_eq!(links(&mut world), []);
}

#[test]
fn disks_with_a_root_of_their_own_have_their_volumes_there() {
    use disk_info::source::{Mount, Path, Type as Source};
    let of = |source: disk_info::Source, id: &str| {
        let mut volume = volume();
        let disk = volume.disk.as_mut().unwrap();
        disk.source = Some(source);
        disk.persistence.as_mut().unwrap().id = id.to_owned();
        volume
    };
    let path = disk_info::Source {
        r#type: Source::Path,
        path: Some(Path { root: Some("/disk1".to_owned()), ..Default::default() }),
        ..Default::default()
    };
    let mount = disk_info::Source {
        r#type: Source::Mount,
        mount: Some(Mount { root: Some("/mnt/disk2".to_owned()), ..Default::default() }),
        ..Default::default()
    };
    let with = |source: &disk_info::Source| mesos::Resource {
        disk: Some(Box::new(DiskInfo { source: Some(source.clone()), ..Default::default() })),
        ..scalar("disk", 100.0)
    };
    let mut config = config();
    config.resources.extend([with(&path), with(&mount)]);
    let mut world = World::start(config, checkpoint::Tree::default()).unwrap();
    world.recover_containers(&[]);
    world.register();
    let volumes = vec![of(path, "p"), of(mount, "m")];
    let reserve = volumes.iter().cloned().map(|mut volume| {
        let disk = volume.disk.as_mut().unwrap();
        disk.persistence = None;
        volume
    });
    let mut operation = super::operations::reserve();
    operation.reserve.as_mut().unwrap().resources = reserve.collect();
    apply(&mut world, 1, operation);
    apply(&mut world, 2, create_of(volumes.clone()));
    let mut operation = destroy();
    operation.destroy.as_mut().unwrap().volumes = volumes;
    apply(&mut world, 3, operation);
    let states: Vec<_> = reports(&mut world).iter().map(|it| it.status.state).collect();
    assert_eq!(states, [OperationState::OperationFinished; 3]);
    let (path, mount) = ("/disk1/volumes/roles/eng web/p".to_owned(), "/mnt/disk2".to_owned());
    let mut changes = volume_changes(&world);
    changes.sort_by_key(|change| format!("{change:?}"));
    assert_eq!(
        changes,
        [
            Change::CreateVolume { path: path.clone() },
            Change::CreateVolume { path: mount.clone() },
            Change::RemoveVolume { path, keep_root: false },
            Change::RemoveVolume { path: mount, keep_root: true },
        ]
    );
}

#[test]
fn a_grown_volume_keeps_its_directory() {
    let mut world = World::registered();
    let mut all = reserve();
    all.reserve.as_mut().unwrap().resources = vec![reserved(150.0)];
    apply(&mut world, 1, all);
    apply(&mut world, 2, create());
    let grow = GrowVolume { volume: volume(), addition: reserved(50.0), ..Default::default() };
    let grow = Operation {
        r#type: Some(Type::GrowVolume),
        grow_volume: Some(Box::new(grow)),
        ..Default::default()
    };
    apply(&mut world, 3, grow);
    assert_eq!(volume_changes(&world).len(), 1, "the directory was made and is left alone");
    let checkpointed = &world.view().checkpointed_resources;
    let sizes: Vec<f64> =
        checkpointed.iter().filter_map(|it| it.scalar.as_ref()).map(|it| it.value).collect();
    assert_eq!(sizes, [150.0]);
}

fn apply_versioned(world: &mut World, number: u8, operation: Operation, version: Vec<u8>) {
    world.master_says(MasterToAgent::from(ApplyOperationMessage {
        operation_info: operation,
        operation_uuid: uuid(number),
        resource_version_uuid: ResourceVersionUuid {
            uuid: mesos::Uuid { value: version, ..Default::default() },
            ..Default::default()
        },
        ..Default::default()
    }));
}

#[test]
fn operations_of_an_older_registration_are_dropped() {
    let mut world = World::new();
    world.recover_containers(&[]);
    world.detect();
    world.pass(Duration::from_secs(1));
    let version = |world: &mut World| {
        world.messages().into_iter().find_map(|message| match message {
            AgentToMaster::RegisterSlave(it) => it.resource_version_uuid,
            AgentToMaster::ReregisterSlave(it) => it.resource_version_uuid,
            _ => None,
        })
    };
    let old = version(&mut world).unwrap().value;
    world.register();
    let mut world = world.restart().unwrap();
    world.recover_containers(&[]);
    world.register();
    world.effects.clear();
    apply_versioned(&mut world, 1, reserve(), old);
    let report = reports(&mut world).pop().unwrap();
    assert_eq!(report.status.state, OperationState::OperationDropped);
    assert_eq!((report.operation_uuid, report.status.uuid), (Some(uuid(1)), None));
    assert!(world.view().checkpointed_resources.is_empty());
    assert!(world.view().operations.is_empty());
}

#[test]
fn an_agent_that_cannot_follow_its_master_registers_again() {
    let mut world = World::registered();
    apply(&mut world, 1, create());
    world.pass(Duration::from_secs(2));
    let messages = world.messages();
    let is_told = messages.iter().any(|it| matches!(it, AgentToMaster::UpdateOperationStatus(_)));
    let is_again = messages.iter().any(|it| matches!(it, AgentToMaster::ReregisterSlave(_)));
    assert!(is_told && is_again, "{messages:?}");
}

#[test]
fn no_volume_leads_out_of_its_place() {
    for id in ["../../etc", "..", ".", "", "a/b"] {
        let mut world = World::registered();
        apply(&mut world, 1, reserve());
        let mut volume = volume();
        volume.disk.as_mut().unwrap().persistence.as_mut().unwrap().id = id.to_owned();
        apply(&mut world, 2, create_of(vec![volume]));
        let report = reports(&mut world).pop().unwrap();
        assert_eq!(report.status.state, OperationState::OperationFailed, "{id}");
        assert!(volume_changes(&world).is_empty(), "{id}");
    }
}

#[test]
fn a_question_about_a_resource_provider_is_answered() {
    let mut world = World::registered();
    world.effects.clear();
    let provider = mesos::ResourceProviderId { value: "p".to_owned(), ..Default::default() };
    let asked = reconcile_operations_message::Operation {
        operation_id: Some(mesos::OperationId { value: "o".to_owned(), ..Default::default() }),
        resource_provider_id: Some(provider),
        ..Default::default()
    };
    world.master_says(MasterToAgent::ReconcileOperations(ReconcileOperationsMessage {
        framework_id: Some(mesos::FrameworkId { value: "F".to_owned(), ..Default::default() }),
        operations: vec![asked],
        ..Default::default()
    }));
    let answer = reports(&mut world).pop().unwrap();
    assert_eq!(answer.status.state, OperationState::OperationUnknown);
    assert_eq!(answer.operation_uuid, None);
}

/// What an agent of Apache Mesos leaves when it dies between noting an operation and ending it.
#[test]
fn operations_that_another_agent_had_begun_are_finished() {
    let mut world = World::registered();
    apply(&mut world, 1, reserve());
    let record = |number: u8, info: Operation, state, status_uuid| mesos::Operation {
        agent_id: Some(agent_id()),
        info,
        latest_status: mesos::OperationStatus { state, uuid: status_uuid, ..Default::default() },
        uuid: uuid(number),
        ..Default::default()
    };
    let path = checkpoint::RESOURCES_AND_OPERATIONS;
    let state: ResourceState = records::decode(world.disk.file(path).unwrap()).unwrap().unwrap();
    let operations = vec![
        record(2, create(), OperationState::OperationPending, None),
        record(3, reserve(), OperationState::OperationFinished, Some(uuid(30))),
        record(4, reserve(), OperationState::OperationFinished, Some(uuid(40))),
    ];
    let state = ResourceState { operations, ..state };
    let now = world.now;
    world.disk.apply(now, &checkpoint::write_message(path.to_owned(), &state));
    // The end of the third is acknowledged, that of the fourth is not; the ninth is long forgotten.
    let stream = |number: u8| {
        let text = protocol::uuid::Uuid::from_slice(&[number; 16]).unwrap().to_string();
        format!("{}/operations/{text}/operation.updates", checkpoint::agent_directory(&agent_id()))
    };
    let update = |number: u8| UpdateOperationStatusRecord {
        r#type: update_operation_status_record::Type::Update,
        update: Some(Box::new(UpdateOperationStatusMessage {
            status: mesos::OperationStatus {
                state: OperationState::OperationFinished,
                uuid: Some(uuid(number)),
                ..Default::default()
            },
            ..Default::default()
        })),
        ..Default::default()
    };
    let acknowledgement = UpdateOperationStatusRecord {
        r#type: update_operation_status_record::Type::Ack,
        uuid: Some(uuid(30)),
        ..Default::default()
    };
    for (number, record) in
        [(3, update(30)), (3, acknowledgement), (4, update(40)), (9, update(90))]
    {
        world.disk.apply(now, &checkpoint::append_message(stream(number), &record));
    }
    let mut world = world.restart().unwrap();
    world.recover_containers(&[]);
    world.register();
    let mut reported: Vec<_> = reports(&mut world)
        .into_iter()
        .map(|it| (it.operation_uuid.unwrap(), it.status.state))
        .collect();
    reported.sort();
    let finished = OperationState::OperationFinished;
    assert_eq!(reported, [(uuid(2), finished), (uuid(4), finished)]);
    assert_eq!(volume_changes(&world).len(), 1);
    assert!(world.disk.file(&stream(9)).is_none());
}
