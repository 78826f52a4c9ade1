//! What agents say to the master, as real ones word it.

use protocol::internal::{
    RegisterSlaveMessage, ReregisterSlaveMessage, StatusUpdate, StatusUpdateMessage,
    UpdateSlaveMessage, update_slave_message,
};
use protocol::mesos::{self, TaskState, agent_info, task_status, value};

use crate::amount::{Amount, scalar};
use crate::ledger::{ENDED, STARTED};

/// The version that the agents claim.
const VERSION: &str = "1.11.0";

/// Megabytes of disk of each agent. No task takes any.
const DISK_MEGABYTES: f64 = 10_240.0;

const PORTS: (u64, u64) = (31_000, 32_000);

fn unreserved(resource: mesos::Resource) -> mesos::Resource {
    mesos::Resource { role: Some("*".to_owned()), ..resource }
}

fn ports() -> mesos::Resource {
    let range = value::Range { begin: PORTS.0, end: PORTS.1, ..Default::default() };
    mesos::Resource {
        name: "ports".to_owned(),
        r#type: value::Type::Ranges,
        ranges: Some(value::Ranges { range: vec![range], ..Default::default() }),
        ..Default::default()
    }
}

/// What agent number `agent` is.
pub(super) fn agent_info(
    agent: u32,
    port: u16,
    total: Amount,
    id: Option<mesos::AgentId>,
) -> mesos::AgentInfo {
    let resources = [
        scalar("cpus", total.cpus()),
        scalar("mem", total.megabytes()),
        scalar("disk", DISK_MEGABYTES),
        ports(),
    ];
    mesos::AgentInfo {
        hostname: format!("swarm-{agent}"),
        port: Some(i32::from(port)),
        resources: resources.into_iter().map(unreserved).collect(),
        id,
        checkpoint: Some(true),
        ..Default::default()
    }
}

/// The agent that has this host to itself.
pub(super) fn agent_on(hostname: &str) -> Option<u32> {
    hostname.strip_prefix("swarm-")?.parse().ok()
}

fn capabilities() -> Vec<agent_info::Capability> {
    use agent_info::capability::Type;
    [
        Type::MultiRole,
        Type::HierarchicalRole,
        Type::ReservationRefinement,
        Type::ResourceProvider,
        Type::ResizeVolume,
        Type::AgentOperationFeedback,
        Type::AgentDraining,
        Type::TaskResourceLimits,
    ]
    .into_iter()
    .map(|kind| agent_info::Capability { r#type: Some(kind), ..Default::default() })
    .collect()
}

/// The version of an agent's resources, which never change.
fn resource_version(agent: u32) -> mesos::Uuid {
    mesos::Uuid { value: uuid(u64::from(agent), 0, 0).to_vec(), ..Default::default() }
}

pub(super) fn register(agent: u32, slave: mesos::AgentInfo) -> RegisterSlaveMessage {
    RegisterSlaveMessage {
        slave,
        version: Some(VERSION.to_owned()),
        agent_capabilities: capabilities(),
        resource_version_uuid: Some(resource_version(agent)),
        ..Default::default()
    }
}

pub(super) fn reregister(
    agent: u32,
    slave: mesos::AgentInfo,
    tasks: Vec<mesos::Task>,
    frameworks: Vec<mesos::FrameworkInfo>,
) -> ReregisterSlaveMessage {
    ReregisterSlaveMessage {
        slave,
        tasks,
        frameworks,
        version: Some(VERSION.to_owned()),
        agent_capabilities: capabilities(),
        resource_version_uuid: Some(resource_version(agent)),
        ..Default::default()
    }
}

/// What an agent adds right after its registration.
pub(super) fn update_agent(agent: u32, slave_id: mesos::AgentId) -> UpdateSlaveMessage {
    UpdateSlaveMessage {
        slave_id,
        update_oversubscribed_resources: Some(false),
        operations: Some(update_slave_message::Operations::default()),
        resource_version_uuid: Some(resource_version(agent)),
        resource_providers: Some(update_slave_message::ResourceProviders::default()),
        ..Default::default()
    }
}

/// What a status update is about.
#[derive(Clone, Copy, Debug)]
pub(super) struct Update<'a> {
    pub(super) task: u64,
    pub(super) sequence: u8,
    pub(super) framework_id: &'a mesos::FrameworkId,
    pub(super) agent_id: &'a mesos::AgentId,
    pub(super) agent_pid: &'a str,
    pub(super) seed: u64,
    /// The time of day in seconds since 1970.
    pub(super) timestamp: f64,
}

pub(super) fn status_update(update: &Update<'_>) -> StatusUpdateMessage {
    let state = state_of(update.sequence);
    let executor_id = mesos::ExecutorId { value: task_name(update.task), ..Default::default() };
    let uuid = uuid(update.task, update.sequence, update.seed).to_vec();
    let status = mesos::TaskStatus {
        task_id: task_id(update.task),
        state,
        source: Some(task_status::Source::SourceExecutor),
        agent_id: Some(update.agent_id.clone()),
        executor_id: Some(executor_id.clone()),
        timestamp: Some(update.timestamp),
        uuid: Some(uuid.clone()),
        ..Default::default()
    };
    StatusUpdateMessage {
        update: StatusUpdate {
            framework_id: update.framework_id.clone(),
            executor_id: Some(executor_id),
            slave_id: Some(update.agent_id.clone()),
            status,
            timestamp: update.timestamp,
            uuid: Some(uuid),
            latest_state: Some(state),
            ..Default::default()
        },
        pid: Some(update.agent_pid.to_owned()),
        ..Default::default()
    }
}

/// A running task as a reregistering agent lists it.
pub(super) fn running_task(update: &Update<'_>, amount: Amount, role: &str) -> mesos::Task {
    let status = status_update(update).update.status;
    let allocated = |resource| mesos::Resource {
        allocation_info: Some(mesos::resource::AllocationInfo {
            role: Some(role.to_owned()),
            ..Default::default()
        }),
        ..unreserved(resource)
    };
    let resources = amount.to_resources().into_iter().map(allocated).collect();
    mesos::Task {
        name: TASK_NAME.to_owned(),
        task_id: task_id(update.task),
        framework_id: update.framework_id.clone(),
        // The executor of a command task is the agent's own affair.
        executor_id: None,
        agent_id: update.agent_id.clone(),
        state: TaskState::TaskRunning,
        resources,
        status_update_state: Some(TaskState::TaskRunning),
        status_update_uuid: status.uuid.clone(),
        statuses: vec![status],
        ..Default::default()
    }
}

/// What all tasks are called.
pub(super) const TASK_NAME: &str = "swarm";

fn state_of(sequence: u8) -> TaskState {
    debug_assert!(matches!(sequence, STARTED | ENDED));
    if sequence == STARTED { TaskState::TaskRunning } else { TaskState::TaskFinished }
}

fn task_name(number: u64) -> String {
    format!("swarm-{number}")
}

pub(super) fn task_id(number: u64) -> mesos::TaskId {
    mesos::TaskId { value: task_name(number), ..Default::default() }
}

/// The number in a task id that [`task_id`] made.
pub(super) fn task_number(id: &mesos::TaskId) -> Option<u64> {
    id.value.strip_prefix("swarm-")?.parse().ok()
}

/// The UUID of an update: version 4 in form, and telling what it is about.
pub(super) fn uuid(number: u64, sequence: u8, seed: u64) -> [u8; 16] {
    let mut bytes = [0; 16];
    bytes[..6].copy_from_slice(&number.to_be_bytes()[2..]);
    bytes[6] = 0x40;
    bytes[7] = sequence;
    bytes[8] = 0x80;
    bytes[9..].copy_from_slice(&seed.to_be_bytes()[1..]);
    bytes
}

/// The task and the number of the update in a UUID that [`uuid`] made.
pub(super) fn update_of(uuid: &[u8]) -> Option<(u64, u8)> {
    let bytes: &[u8; 16] = uuid.try_into().ok()?;
    let mut number = [0; 8];
    number[2..].copy_from_slice(&bytes[..6]);
    Some((u64::from_be_bytes(number), bytes[7]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_tell_what_they_are_about() {
        let uuid = uuid(987_654_321, ENDED, 42);
        assert_eq!(update_of(&uuid), Some((987_654_321, ENDED)));
        assert_eq!(update_of(b"short"), None);
        assert_eq!(task_number(&task_id(17)), Some(17));
        let foreign = mesos::TaskId { value: "other".into(), ..Default::default() };
        assert_eq!(task_number(&foreign), None);
    }

    #[test]
    fn an_agent_has_what_its_tasks_need() {
        let info = agent_info(3, 5051, Amount::new(2.0, 256.0), None);
        assert_eq!(Amount::of(&info.resources), Amount::new(2.0, 256.0));
        assert_eq!(agent_on(&info.hostname), Some(3));
        assert!(info.resources.iter().all(|resource| resource.role.as_deref() == Some("*")));
    }
}
