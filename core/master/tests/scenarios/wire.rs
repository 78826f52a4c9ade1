//! Messages compared with those of a real Apache Mesos master.

use protocol::Message;
use protocol::internal::RunTaskMessage;
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
            MasterToAgent::RunTask(message) => Some(message.clone()),
            _ => None,
        })
        .unwrap();

    let mut expected = recorded;
    expected.framework.id = Some(scheduler.id);
    expected.task.agent_id = agent;
    assert_eq!(sent, expected);
    assert_eq!(sent.encode_to_vec(), expected.encode_to_vec());
}
