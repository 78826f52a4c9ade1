//! What agents and frameworks say.

use protocol::internal::{RegisterSlaveMessage, StatusUpdate, StatusUpdateMessage};
use protocol::mesos::offer::{Operation, operation};
use protocol::mesos::value::{self, Ranges, Scalar};
use protocol::mesos::{
    AgentId, AgentInfo, Attribute, CommandInfo, ContainerId, ContainerStatus, FrameworkId, Label,
    Labels, NetworkInfo, Offer, Resource, TaskId, TaskInfo, TaskState, TaskStatus, agent_info,
    network_info, task_status,
};
use protocol::pid::Pid;
use protocol::scheduler;
use protocol::scheduler::call::{Accept, Acknowledge, Type};

const CPUS: f64 = 32.0;
const MEM: f64 = 65_536.0;

/// The state of a task, as its agent tells it.
pub(crate) fn status_update(
    pid: &Pid,
    agent: &AgentId,
    framework: &FrameworkId,
    task: &TaskId,
    state: TaskState,
    number: u64,
) -> StatusUpdateMessage {
    let status = TaskStatus {
        task_id: task.clone(),
        state,
        source: Some(task_status::Source::SourceExecutor),
        agent_id: Some(agent.clone()),
        uuid: Some(uuid(number)),
        timestamp: Some(1_700_000_000.0),
        container_status: Some(ContainerStatus {
            container_id: Some(ContainerId {
                value: format!("00000000-0000-4000-8000-{number:012}"),
                ..Default::default()
            }),
            network_infos: vec![NetworkInfo {
                ip_addresses: vec![network_info::IpAddress {
                    ip_address: Some("10.0.0.1".to_owned()),
                    ..Default::default()
                }],
                ..Default::default()
            }],
            ..Default::default()
        }),
        ..Default::default()
    };
    StatusUpdateMessage {
        update: StatusUpdate {
            framework_id: framework.clone(),
            slave_id: Some(agent.clone()),
            status,
            timestamp: 1_700_000_000.0,
            uuid: Some(uuid(number)),
            latest_state: Some(state),
            ..Default::default()
        },
        pid: Some(pid.to_string()),
        ..Default::default()
    }
}

/// The answer of a framework to an update.
pub(crate) fn acknowledge(agent: &AgentId, task: &TaskId, uuid: Vec<u8>) -> scheduler::Call {
    scheduler::Call {
        r#type: Some(Type::Acknowledge),
        acknowledge: Some(Acknowledge {
            agent_id: agent.clone(),
            task_id: task.clone(),
            uuid,
            ..Default::default()
        }),
        ..Default::default()
    }
}

/// A framework uses an offer for so many tasks, each with a part of an agent.
pub(crate) fn accept(offer: &Offer, first: u64, tasks: u64, share: f64) -> scheduler::Call {
    let task_infos = (0..tasks).map(|index| task(first + index, &offer.agent_id, share)).collect();
    let launch = Operation {
        r#type: Some(operation::Type::Launch),
        launch: Some(operation::Launch { task_infos, ..Default::default() }),
        ..Default::default()
    };
    scheduler::Call {
        r#type: Some(Type::Accept),
        accept: Some(Accept {
            offer_ids: vec![offer.id.clone()],
            operations: vec![launch],
            ..Default::default()
        }),
        ..Default::default()
    }
}

/// Where the agent of an offer listens.
pub(crate) fn agent_pid(offer: &Offer) -> Pid {
    let address = offer.url.as_ref().map(|url| &url.address).expect("an address");
    let ip = address.ip.as_deref().unwrap_or_default();
    format!("slave(1)@{ip}:{}", address.port).parse().expect("a pid")
}

/// How many tasks of this part of an agent an offer has room for.
pub(crate) fn room(offer: &Offer, share: f64) -> u64 {
    let cpus = offer.resources.iter().find(|resource| resource.name == "cpus");
    let offered = cpus.and_then(|cpus| cpus.scalar.as_ref()).map_or(0.0, |scalar| scalar.value);
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a few tasks")]
    let room = (offered / (CPUS * share) + 1e-6) as u64;
    room
}

pub(crate) fn pid(number: u64) -> Pid {
    let [.., high, middle, low] = number.to_be_bytes();
    format!("slave(1)@10.{high}.{middle}.{low}:5051").parse().expect("a pid")
}

pub(crate) fn uuid(number: u64) -> Vec<u8> {
    let mut bytes = vec![7; 16];
    bytes[8..].copy_from_slice(&number.to_be_bytes());
    bytes
}

fn scalar(name: &str, value: f64) -> Resource {
    Resource {
        name: name.to_owned(),
        r#type: value::Type::Scalar,
        scalar: Some(Scalar { value, ..Default::default() }),
        ..Default::default()
    }
}

pub(crate) fn registration(number: u64) -> RegisterSlaveMessage {
    use agent_info::capability::Type;
    let capabilities = [
        Type::MultiRole,
        Type::HierarchicalRole,
        Type::ReservationRefinement,
        Type::ResourceProvider,
        Type::AgentOperationFeedback,
        Type::TaskResourceLimits,
    ];
    let range = value::Range { begin: 31_000, end: 32_000, ..Default::default() };
    let ports = Resource {
        name: "ports".to_owned(),
        r#type: value::Type::Ranges,
        ranges: Some(Ranges { range: vec![range], ..Default::default() }),
        ..Default::default()
    };
    let attribute = Attribute {
        name: "rack".to_owned(),
        r#type: value::Type::Text,
        text: Some(value::Text { value: format!("rack-{}", number % 100), ..Default::default() }),
        ..Default::default()
    };
    RegisterSlaveMessage {
        slave: AgentInfo {
            hostname: format!("node-{number}.cluster.example.com"),
            port: Some(5051),
            resources: vec![
                scalar("cpus", CPUS),
                scalar("mem", MEM),
                scalar("disk", 1_000_000.0),
                ports,
            ],
            attributes: vec![attribute],
            checkpoint: Some(true),
            ..Default::default()
        },
        version: Some("1.12.0".to_owned()),
        agent_capabilities: capabilities
            .map(|it| agent_info::Capability { r#type: Some(it), ..Default::default() })
            .into(),
        resource_version_uuid: Some(protocol::mesos::Uuid {
            value: uuid(number),
            ..Default::default()
        }),
        ..Default::default()
    }
}

pub(crate) fn task(number: u64, agent: &AgentId, share: f64) -> TaskInfo {
    let labels = [("team", "platform"), ("tier", "production")].map(|(key, value)| Label {
        key: key.to_owned(),
        value: Some(value.to_owned()),
        ..Default::default()
    });
    TaskInfo {
        name: format!("service-{}", number % 1000),
        task_id: TaskId { value: format!("service.{number:08}.instance"), ..Default::default() },
        agent_id: agent.clone(),
        resources: vec![scalar("cpus", CPUS * share), scalar("mem", MEM * share)],
        command: Some(CommandInfo { value: Some("sleep 1000".to_owned()), ..Default::default() }),
        labels: Some(Labels { labels: labels.into(), ..Default::default() }),
        ..Default::default()
    }
}
