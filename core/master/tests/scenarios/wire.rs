//! Messages compared with those of a real Apache Mesos master.

use protocol::Message;
use protocol::internal::{ApplyOperationMessage, RunTaskMessage};
use protocol::master as api;
use protocol::mesos::offer::Operation;
use protocol::messages::MasterToAgent;

use crate::cluster::{Cluster, launch, offers, registration, to_agent};

/// The `RunTaskMessage` of Mesos 1.12.0-dev for `mesos-execute --name=hello --command="echo hello"`.
const RUN_TASK: &[u8] = b"\x12\x60\x0a\x04root\x12\x16mesos-execute instance\x1a\x2b\x0a\x29\
04c40e99-5fe0-4193-91f9-989429ec8c01-0000\x28\x00\x32\x01*R\x02\x08\x07R\x02\x08\x02R\x02\x08\x01\
R\x02\x08\x05\x1a\x0a@0.0.0.0:0\"\x7e\x0a\x05hello\x12\x07\x0a\x05hello\x1a\x29\x0a\x27\
04c40e99-5fe0-4193-91f9-989429ec8c01-S0\"\x18\x0a\x04cpus\x10\x00\x1a\x09\x09\x00\x00\x00\x00\x00\x00\xe0?\
Z\x03\x0a\x01*\"\x17\x0a\x03mem\x10\x00\x1a\x09\x09\x00\x00\x00\x00\x00\x00P@Z\x03\x0a\x01*:\x0e\x1a\x0a\
echo hello0\x01*\x14\x12\x12\x0a\x10\xc1\x10\xba\x2f\x1e\x39F\x2b\xa0\x10\xa9\xd4D8$\x9f0\x01";

#[test]
fn a_launch_is_the_message_that_mesos_sends() {
    let recorded = RunTaskMessage::decode(RUN_TASK).unwrap();

    let mut cluster = Cluster::new();
    let mut message = registration(1);
    message.resource_version_uuid = Some(recorded.resource_version_uuids[0].uuid.clone());
    let pid = crate::cluster::agent_pid(1);
    let effects = cluster.agent_message(&pid, message);
    let agent = crate::cluster::registered_id(&effects).unwrap();
    let mut info = recorded.framework.clone();
    info.id = None;
    let (scheduler, effects) = cluster.subscribe(info);
    let offer = offers(&effects, scheduler.connection).remove(0);

    let mut task = recorded.task.clone();
    task.agent_id = agent.clone();
    for resource in &mut task.resources {
        resource.allocation_info = None;
    }
    let effects = cluster.accept(&scheduler, vec![offer.id], vec![launch(vec![task])]);
    let sent = to_agent(&effects, &pid)
        .into_iter()
        .find_map(|message| match message {
            MasterToAgent::RunTask(message) => Some((**message).clone()),
            _ => None,
        })
        .unwrap();

    let mut expected = recorded;
    expected.framework.id = Some(scheduler.id);
    expected.task.agent_id = agent;
    assert_eq!(sent, expected);
    assert_eq!(sent.encode_to_vec(), expected.encode_to_vec());
}

/// The bodies of the recorded messages of a name, each of them in one chunk.
fn bodies(recording: &[u8], name: &str) -> Vec<Vec<u8>> {
    let end = |bytes: &[u8], mark: &[u8]| {
        bytes.windows(mark.len()).position(|window| window == mark).map(|at| at + mark.len())
    };
    let mark = format!("/mesos.internal.{name} HTTP/1.1\r\n");
    let (mut found, mut rest) = (Vec::new(), recording);
    while let Some(at) = end(rest, mark.as_bytes()) {
        let body = &rest[at + end(&rest[at..], b"\r\n\r\n").unwrap()..];
        let digits = end(body, b"\r\n").unwrap();
        let size = std::str::from_utf8(&body[..digits - 2]).unwrap();
        let size = usize::from_str_radix(size, 16).unwrap();
        found.push(body[digits..digits + size].to_vec());
        rest = &body[digits + size..];
    }
    found
}

fn operator_call(operation: &Operation, agent: &protocol::mesos::AgentId) -> api::Call {
    use api::call::{CreateVolumes, DestroyVolumes, Type, UnreserveResources};
    let agent_id = agent.clone();
    let mut call = api::Call::default();
    if let Some(it) = &operation.reserve {
        return crate::reservations::operator_reserve(agent, it.resources.clone());
    } else if let Some(it) = &operation.unreserve {
        let resources = it.resources.clone();
        call.r#type = Some(Type::UnreserveResources);
        call.unreserve_resources =
            Some(UnreserveResources { agent_id, resources, ..Default::default() });
    } else if let Some(it) = &operation.create {
        let volumes = it.volumes.clone();
        call.r#type = Some(Type::CreateVolumes);
        call.create_volumes = Some(CreateVolumes { agent_id, volumes, ..Default::default() });
    } else if let Some(it) = &operation.destroy {
        let volumes = it.volumes.clone();
        call.r#type = Some(Type::DestroyVolumes);
        call.destroy_volumes = Some(DestroyVolumes { agent_id, volumes, ..Default::default() });
    }
    call
}

#[test]
fn operators_operations_are_the_messages_that_mesos_sends() {
    let path = "../../tests/golden/wire/operations/51920-to-5051.bin";
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join(path);
    let recording = std::fs::read(path).expect("the recordings are part of the repository");
    let bodies = bodies(&recording, "ApplyOperationMessage");
    assert_eq!(bodies.len(), 4);
    let mut cluster = Cluster::new();
    let agent = cluster.add_agent(1);
    for body in bodies {
        let expected = ApplyOperationMessage::decode(&body).unwrap();
        assert_eq!(expected.encode_to_vec(), body);
        let (answer, effects) = cluster.operate(operator_call(&expected.operation_info, &agent.id));
        assert_eq!(answer, Some(master::Response::Accepted));
        let mut sent = crate::reservations::applied(&effects, &agent).remove(0);
        assert_eq!(sent.resource_version_uuid.uuid, crate::cluster::uuid(200));
        sent.resource_version_uuid = expected.resource_version_uuid.clone();
        sent.operation_uuid = expected.operation_uuid.clone();
        assert_eq!(sent, expected);
        assert_eq!(sent.encode_to_vec(), body, "byte for byte");
    }
}
