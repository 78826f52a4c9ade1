//! The message that benchmarks encode and decode.

use protocol::internal::ReregisterSlaveMessage;
use protocol::mesos::{
    AgentId, AgentInfo, ContainerStatus, FrameworkId, FrameworkInfo, NetworkInfo, Resource, Task,
    TaskId, TaskState, TaskStatus, network_info, resource, task_status, value,
};

/// What an agent with so many tasks says after a failover.
pub fn reregistration(tasks: usize) -> ReregisterSlaveMessage {
    let id = |text: &str| AgentId { value: text.into(), ..Default::default() };
    let framework_id =
        FrameworkId { value: "6cc8b9a0-21dd-4a5c-8b1f-0-0001".into(), ..Default::default() };
    ReregisterSlaveMessage {
        slave: AgentInfo {
            hostname: "agent-17.example.org".into(),
            port: Some(5051),
            resources: resources(32.0),
            id: Some(id("6cc8b9a0-21dd-4a5c-8b1f-S17")),
            checkpoint: Some(true),
            ..Default::default()
        },
        tasks: (0..tasks).map(|number| task(number, &framework_id)).collect(),
        frameworks: vec![FrameworkInfo {
            user: "root".into(),
            name: "marathon".into(),
            id: Some(framework_id),
            ..Default::default()
        }],
        version: Some("1.11.0".into()),
        ..Default::default()
    }
}

fn task(number: usize, framework_id: &FrameworkId) -> Task {
    let task_id =
        TaskId { value: format!("service.instance-{number:08}._app.1"), ..Default::default() };
    let agent_id = AgentId { value: "6cc8b9a0-21dd-4a5c-8b1f-S17".into(), ..Default::default() };
    let address =
        network_info::IpAddress { ip_address: Some("10.0.0.17".into()), ..Default::default() };
    let network = NetworkInfo { ip_addresses: vec![address], ..Default::default() };
    let status = TaskStatus {
        task_id: task_id.clone(),
        state: TaskState::TaskRunning,
        source: Some(task_status::Source::SourceExecutor),
        agent_id: Some(agent_id.clone()),
        timestamp: Some(1_700_000_000.25),
        uuid: Some(vec![7; 16]),
        container_status: Some(ContainerStatus {
            network_infos: vec![network],
            executor_pid: Some(4242),
            ..Default::default()
        }),
        ..Default::default()
    };
    Task {
        name: "service".into(),
        task_id,
        framework_id: framework_id.clone(),
        agent_id,
        state: TaskState::TaskRunning,
        resources: resources(0.5),
        statuses: vec![status],
        status_update_state: Some(TaskState::TaskRunning),
        ..Default::default()
    }
}

fn resources(cpus: f64) -> Vec<Resource> {
    let scalar = |name: &str, amount: f64| Resource {
        name: name.into(),
        r#type: value::Type::Scalar,
        scalar: Some(value::Scalar { value: amount, ..Default::default() }),
        allocation_info: Some(resource::AllocationInfo {
            role: Some("production".into()),
            ..Default::default()
        }),
        ..Default::default()
    };
    vec![scalar("cpus", cpus), scalar("mem", cpus * 4096.0), scalar("disk", cpus * 1000.0)]
}
