//! Configurations, frameworks and tasks that scenarios are made of.

use std::time::Duration;

use protocol::internal::{RunTaskGroupMessage, RunTaskMessage};
use protocol::mesos;
use protocol::messages::MasterToAgent;
use protocol::pid::Pid;

use crate::config::{
    CommandLine, Config, EnvironmentConfig, GarbageCollectionConfig, HistoryConfig,
    ReconfigurationPolicy, RecoverMode, Timing,
};

/// The id the master gives.
pub(super) const AGENT: &str = "S0";

pub(super) fn config() -> Config {
    let line = |name: &str| CommandLine {
        program: "/opt/meseta".to_owned(),
        arguments: vec![name.to_owned(), "executor".to_owned()],
    };
    Config {
        pid: "slave(1)@127.0.0.1:5051".parse().unwrap(),
        hostname: "host".to_owned(),
        work_dir: "/var/agent".to_owned(),
        resources: vec![scalar("cpus", 4.0), scalar("mem", 4096.0), scalar("disk", 10000.0)],
        attributes: Vec::new(),
        domain: None,
        version: "1.12.0".to_owned(),
        boot_id: "boot".to_owned(),
        seed: 7,
        recover: RecoverMode::Reconnect,
        strict: true,
        reconfiguration_policy: ReconfigurationPolicy::Equal,
        authenticate: false,
        command_executor: line("executor"),
        default_executor: line("default-executor"),
        environment: EnvironmentConfig {
            path: "/bin".to_owned(),
            sandbox_directory: "/mnt/mesos/sandbox".to_owned(),
            ..EnvironmentConfig::default()
        },
        switch_user: true,
        // The master of these worlds pings nobody.
        timing: Timing {
            master_ping_timeout: Duration::from_secs(1_000_000_000),
            ..Timing::default()
        },
        garbage_collection: GarbageCollectionConfig::default(),
        history: HistoryConfig::default(),
    }
}

pub(super) fn scalar(name: &str, value: f64) -> mesos::Resource {
    mesos::Resource {
        name: name.to_owned(),
        r#type: mesos::value::Type::Scalar,
        scalar: Some(mesos::value::Scalar { value, ..Default::default() }),
        ..Default::default()
    }
}

pub(super) fn allocated(name: &str, value: f64) -> mesos::Resource {
    let role = Some("*".to_owned());
    mesos::Resource {
        allocation_info: Some(mesos::resource::AllocationInfo { role, ..Default::default() }),
        ..scalar(name, value)
    }
}

pub(super) fn framework_id(id: &str) -> mesos::FrameworkId {
    mesos::FrameworkId { value: id.to_owned(), ..Default::default() }
}

pub(super) fn executor_id(id: &str) -> mesos::ExecutorId {
    mesos::ExecutorId { value: id.to_owned(), ..Default::default() }
}

pub(super) fn task_id(id: &str) -> mesos::TaskId {
    mesos::TaskId { value: id.to_owned(), ..Default::default() }
}

pub(super) fn agent_id() -> mesos::AgentId {
    mesos::AgentId { value: AGENT.to_owned(), ..Default::default() }
}

pub(super) fn framework(id: &str, checkpoint: bool) -> mesos::FrameworkInfo {
    use mesos::framework_info::{Capability, capability::Type};
    let capability = Capability { r#type: Some(Type::PartitionAware), ..Default::default() };
    mesos::FrameworkInfo {
        user: "nobody".to_owned(),
        name: "test".to_owned(),
        id: Some(framework_id(id)),
        checkpoint: Some(checkpoint),
        role: Some("*".to_owned()),
        capabilities: vec![capability],
        ..Default::default()
    }
}

pub(super) fn command_task(id: &str) -> mesos::TaskInfo {
    let command = mesos::CommandInfo { value: Some("sleep 9".to_owned()), ..Default::default() };
    mesos::TaskInfo {
        name: id.to_owned(),
        task_id: task_id(id),
        agent_id: agent_id(),
        resources: vec![allocated("cpus", 0.5), allocated("mem", 64.0)],
        command: Some(command),
        ..Default::default()
    }
}

pub(super) fn custom_executor(id: &str) -> mesos::ExecutorInfo {
    let command = mesos::CommandInfo { value: Some("./run".to_owned()), ..Default::default() };
    mesos::ExecutorInfo {
        executor_id: executor_id(id),
        framework_id: Some(framework_id("F")),
        command: Some(command),
        resources: vec![allocated("cpus", 0.25)],
        ..Default::default()
    }
}

/// A task for a custom executor.
pub(super) fn executor_task(id: &str, executor: &str) -> mesos::TaskInfo {
    mesos::TaskInfo {
        command: None,
        executor: Some(Box::new(custom_executor(executor))),
        ..command_task(id)
    }
}

pub(super) fn run_task(framework: mesos::FrameworkInfo, task: mesos::TaskInfo) -> MasterToAgent {
    MasterToAgent::from(RunTaskMessage {
        framework_id: framework.id.clone(),
        framework,
        task,
        pid: Some(Pid::EMPTY.to_string()),
        ..Default::default()
    })
}

pub(super) fn run_group(
    framework: mesos::FrameworkInfo,
    executor: mesos::ExecutorInfo,
    tasks: Vec<mesos::TaskInfo>,
) -> MasterToAgent {
    MasterToAgent::from(RunTaskGroupMessage {
        framework,
        executor,
        task_group: mesos::TaskGroupInfo { tasks, ..Default::default() },
        ..Default::default()
    })
}

pub(super) fn master() -> Pid {
    "master@127.0.0.1:5050".parse().unwrap()
}
