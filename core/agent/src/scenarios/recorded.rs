//! What a real Apache Mesos agent said, and what this one says in its place.

use std::path::{Path, PathBuf};
use std::time::Duration;

use protocol::internal::{ReregisterSlaveMessage, StatusUpdateMessage};
use protocol::mesos;
use protocol::messages::{AgentToMaster, ExecutorToAgent, MasterToAgent};

use super::samples::{config, scalar};
use super::world::World;
use crate::Config;
use crate::checkpoint::Tree;
use crate::event::Event;

/// One recorded libprocess message.
struct Recorded {
    from: String,
    name: String,
    body: Vec<u8>,
}

fn next_message(bytes: &[u8]) -> Option<(Recorded, &[u8])> {
    let head_end = bytes.windows(4).position(|window| window == b"\r\n\r\n")? + 4;
    let head = std::str::from_utf8(&bytes[..head_end]).ok()?;
    let name = head.split(' ').nth(1)?.rsplit('/').next()?.to_owned();
    let from = head.split("\r\nLibprocess-From: ").nth(1)?.split("\r\n").next()?.to_owned();
    let rest = &bytes[head_end..];
    if !head.contains("chunked") {
        return Some((Recorded { from, name, body: Vec::new() }, rest));
    }
    let digits_end = rest.iter().position(|byte| *byte == b'\r')?;
    let size = usize::from_str_radix(std::str::from_utf8(&rest[..digits_end]).ok()?, 16).ok()?;
    let body_start = digits_end + 2;
    let body = rest.get(body_start..body_start + size)?.to_vec();
    // The chunk's own line end, and the empty last chunk.
    let rest = rest.get(body_start + size + 7..)?;
    Some((Recorded { from, name, body }, rest))
}

/// All messages of a recorded scene that went to a port.
fn recorded(scene: &str, port: u16) -> Vec<Recorded> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/golden/wire").join(scene);
    let entries = std::fs::read_dir(folder).expect("the recordings are part of the repository");
    let mut files: Vec<PathBuf> = entries.map(|entry| entry.unwrap().path()).collect();
    files.sort();
    let mut messages = Vec::new();
    for file in files {
        if !file.to_str().unwrap().ends_with(&format!("-to-{port}.bin")) {
            continue;
        }
        let bytes = std::fs::read(file).unwrap();
        let mut rest = bytes.as_slice();
        while let Some((message, next)) = next_message(rest) {
            messages.push(message);
            rest = next;
        }
    }
    assert!(!messages.is_empty(), "{scene} has messages to {port}");
    messages
}

fn of_agent(scene: &str) -> Vec<AgentToMaster> {
    let messages = recorded(scene, 5050).into_iter();
    messages
        .filter_map(|it| AgentToMaster::decode(&it.name, &it.body))
        .map(Result::unwrap)
        .collect()
}

fn of_master(scene: &str) -> Vec<MasterToAgent> {
    let messages = recorded(scene, 5051).into_iter();
    messages
        .filter(|it| it.from.starts_with("master@"))
        .filter_map(|it| MasterToAgent::decode(&it.name, &it.body))
        .map(Result::unwrap)
        .collect()
}

/// The configuration of the recorded agent.
fn recorded_config() -> Config {
    let range = mesos::value::Range { begin: 31000, end: 32000, ..Default::default() };
    let ports = mesos::Resource {
        name: "ports".to_owned(),
        r#type: mesos::value::Type::Ranges,
        ranges: Some(mesos::value::Ranges { range: vec![range], ..Default::default() }),
        ..Default::default()
    };
    let mut config = config();
    config.hostname = "127.0.0.1".to_owned();
    config.resources =
        vec![scalar("cpus", 4.0), scalar("mem", 4096.0), scalar("disk", 10000.0), ports];
    config
}

#[test]
fn the_first_registration_is_the_recorded_one() {
    let recorded = of_agent("register");
    let mut world = World::start(recorded_config(), Tree::default()).unwrap();
    world.recover_containers(&[]);
    world.detect();
    world.pass(Duration::from_secs(1));
    let mut ours = world.messages().remove(0);
    let (AgentToMaster::RegisterSlave(theirs), AgentToMaster::RegisterSlave(ours)) =
        (&recorded[0], &mut ours)
    else {
        panic!("both register first")
    };
    ours.resource_version_uuid.clone_from(&theirs.resource_version_uuid);
    assert_eq!(ours, theirs);
    let registered = of_master("register").remove(0);
    world.master_says(registered);
    let mut update = world.messages().remove(0);
    let (AgentToMaster::UpdateSlave(theirs), AgentToMaster::UpdateSlave(ours)) =
        (&recorded[1], &mut update)
    else {
        panic!("both send their state next")
    };
    ours.resource_version_uuid.clone_from(&theirs.resource_version_uuid);
    assert_eq!(ours, theirs);
}

/// The statuses the recorded executor sent, in order and once each.
fn executor_statuses(scene: &str) -> Vec<mesos::TaskStatus> {
    let mut statuses: Vec<mesos::TaskStatus> = Vec::new();
    for message in recorded(scene, 5051) {
        let decoded = ExecutorToAgent::decode(&message.name, &message.body);
        if let Some(Ok(ExecutorToAgent::StatusUpdate(message))) = decoded {
            let status = message.update.status;
            if statuses.iter().all(|known| known.uuid != status.uuid) {
                statuses.push(status);
            }
        }
    }
    statuses
}

/// Container ids are made up anew by each agent.
fn set_container(status: &mut mesos::TaskStatus, container: &mesos::ContainerId) {
    if let Some(of_status) = &mut status.container_status {
        of_status.container_id = Some(container.clone());
    }
}

#[test]
fn a_restart_tells_the_master_what_the_recorded_agent_told() {
    let theirs = of_agent("agent-restart");
    let mut world = World::start(recorded_config(), Tree::default()).unwrap();
    world.recover_containers(&[]);
    world.detect();
    world.pass(Duration::from_secs(1));
    let (mut acknowledgements, mut others) = (Vec::new(), Vec::new());
    for message in of_master("agent-restart") {
        match message {
            MasterToAgent::StatusUpdateAcknowledgement(_) => acknowledgements.push(message),
            MasterToAgent::SlaveRegistered(_) | MasterToAgent::RunTask(_) => others.push(message),
            _ => {}
        }
    }
    assert_eq!((others.len(), acknowledgements.len()), (2, 2));
    for message in others {
        // The resource versions of the recorded agent are not this one's.
        world.master_says(match message {
            MasterToAgent::RunTask(mut message) => {
                message.resource_version_uuids.clear();
                MasterToAgent::RunTask(message)
            }
            other => other,
        });
    }
    let launch = world.launches().pop().unwrap();
    let status = mesos::ContainerStatus { executor_pid: Some(25293), ..Default::default() };
    world.handle(Event::ContainerLaunched {
        container: launch.container.clone(),
        status: Box::new(status),
    });
    let executor = launch.environment["MESOS_EXECUTOR_ID"].clone();
    let framework = launch.environment["MESOS_FRAMEWORK_ID"].clone();
    world.subscribe(&framework, &executor);
    let mut expected: Vec<StatusUpdateMessage> = theirs
        .iter()
        .filter_map(|message| match message {
            AgentToMaster::StatusUpdate(message) => Some(message.clone()),
            _ => None,
        })
        .collect();
    let statuses = executor_statuses("agent-restart");
    for (index, mut status) in statuses.into_iter().take(2).enumerate() {
        status.source = Some(mesos::task_status::Source::SourceExecutor);
        world.update(&framework, &executor, status);
        set_container(&mut expected[index].update.status, &launch.container);
        let sent = world.messages();
        let Some(AgentToMaster::StatusUpdate(ours)) = sent.last() else { panic!("{sent:?}") };
        assert_eq!(*ours, expected[index]);
        world.master_says(acknowledgements[index].clone());
    }
    let mut world = world.restart().unwrap();
    world.recover_containers(&[&launch.container]);
    world.subscribe(&framework, &executor);
    world.detect();
    world.pass(Duration::from_secs(1));
    let AgentToMaster::ReregisterSlave(ours) = world.messages().remove(0) else {
        panic!("it registers again")
    };
    let theirs = theirs.into_iter().find_map(|message| match message {
        AgentToMaster::ReregisterSlave(message) => Some(message),
        _ => None,
    });
    assert_eq!(normal(ours, &launch.container), normal(theirs.unwrap(), &launch.container));
}

fn normal(
    mut message: ReregisterSlaveMessage,
    container: &mesos::ContainerId,
) -> ReregisterSlaveMessage {
    message.resource_version_uuid = None;
    for status in message.tasks.iter_mut().flat_map(|task| &mut task.statuses) {
        set_container(status, container);
    }
    message
}

/// Applies what a real master ordered: reserve, create, destroy, unreserve.
#[test]
fn operations_are_applied_and_reported_as_by_the_recorded_agent() {
    let theirs = of_agent("operations").into_iter().filter_map(|message| match message {
        AgentToMaster::UpdateOperationStatus(message) => Some(message),
        _ => None,
    });
    let mut theirs: Vec<_> = theirs.collect();
    let mut world = World::start(recorded_config(), Tree::default()).unwrap();
    world.recover_containers(&[]);
    world.detect();
    world.pass(Duration::from_secs(1));
    let mut reported = 0;
    for message in of_master("operations") {
        match message {
            MasterToAgent::SlaveRegistered(_) => world.master_says(message),
            MasterToAgent::ApplyOperation(mut message) => {
                // The resource version of the recorded agent is not this one's.
                message.resource_version_uuid.uuid.value.clear();
                world.effects.clear();
                world.master_says(MasterToAgent::ApplyOperation(message));
                let sent = world.messages();
                let Some(AgentToMaster::UpdateOperationStatus(mut ours)) = sent.last().cloned()
                else {
                    panic!("{sent:?}")
                };
                let theirs = &mut theirs[reported];
                reported += 1;
                // Each agent makes up the ids of its statuses.
                let acknowledged = ours.status.uuid.clone();
                for message in [&mut ours, &mut *theirs] {
                    message.status.uuid = None;
                    message.latest_status.as_mut().unwrap().uuid = None;
                }
                assert_eq!(ours, *theirs);
                let acknowledgement = protocol::internal::AcknowledgeOperationStatusMessage {
                    status_uuid: acknowledged.unwrap(),
                    operation_uuid: ours.operation_uuid.unwrap(),
                    ..Default::default()
                };
                world.master_says(MasterToAgent::AcknowledgeOperationStatus(acknowledgement));
            }
            _ => {}
        }
    }
    assert_eq!(reported, 4);
    assert!(world.view().checkpointed_resources.is_empty(), "all of it was undone");
    assert!(world.view().operations.is_empty());
}
