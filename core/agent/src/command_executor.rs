//! The executor the agent makes for a task that brings none (`Slave::getExecutorInfo` in Mesos'
//! `src/slave/slave.cpp`).

use std::time::Duration;

use protocol::mesos;

use crate::config::{CommandLine, Config};

/// What a command executor itself is given, above what its task has.
const CPUS: f64 = 0.1;
/// In megabytes.
const MEMORY: f64 = 32.0;
/// The executor outlives its task's grace period by this, so that it can still report.
const REPORTING_TIME: Duration = Duration::from_secs(2);
/// More of a command does not fit into the executor's name.
const COMMAND_IN_NAME_MAX: usize = 15;

/// The executor of a command task: same id, the task's files and variables, the built-in program.
#[must_use]
pub fn describe(
    config: &Config,
    framework: &mesos::FrameworkInfo,
    framework_id: &mesos::FrameworkId,
    task: &mesos::TaskInfo,
) -> mesos::ExecutorInfo {
    let of_task = task.command.clone().unwrap_or_default();
    mesos::ExecutorInfo {
        executor_id: mesos::ExecutorId { value: task.task_id.value.clone(), ..Default::default() },
        framework_id: Some(framework_id.clone()),
        command: Some(command(config, framework, task, &of_task)),
        container: task.container.clone(),
        resources: overhead(task),
        name: Some(format!("Command Executor {}", name(task, &of_task))),
        source: Some(task.task_id.value.clone()),
        labels: task.labels.clone(),
        discovery: task.discovery.clone(),
        shutdown_grace_period: shutdown_grace_period(task),
        ..Default::default()
    }
}

/// A command that runs one of the built-in programs.
#[must_use]
pub fn program(line: &CommandLine) -> mesos::CommandInfo {
    mesos::CommandInfo {
        value: Some(line.program.clone()),
        arguments: line.arguments.clone(),
        shell: Some(false),
        ..Default::default()
    }
}

fn command(
    config: &Config,
    framework: &mesos::FrameworkInfo,
    task: &mesos::TaskInfo,
    of_task: &mesos::CommandInfo,
) -> mesos::CommandInfo {
    let mut command = program(&config.command_executor);
    command.uris.clone_from(&of_task.uris);
    command.environment.clone_from(&of_task.environment);
    command.user.clone_from(&of_task.user);
    let mesos_container = task.container.as_ref().and_then(|container| container.mesos.as_ref());
    if mesos_container.is_some_and(|container| container.image.is_some()) {
        let directory = &config.environment.sandbox_directory;
        command.arguments.push(format!("--sandbox_directory={directory}"));
        if config.switch_user {
            let user = of_task.user.as_ref().unwrap_or(&framework.user);
            command.arguments.push(format!("--user={user}"));
        }
    }
    command
}

fn name(task: &mesos::TaskInfo, command: &mesos::CommandInfo) -> String {
    let shown = match (&command.value, command.shell.unwrap_or(true)) {
        (None, true) => "(Command: NO COMMAND)".to_owned(),
        (None, false) => "(Command: NO EXECUTABLE)".to_owned(),
        (Some(value), true) => {
            let (value, dots) = shorten(value);
            format!("(Command: sh -c '{value}{dots}')")
        }
        (Some(value), false) => {
            let line = format!("{value}, {}", command.arguments.join(", "));
            let (line, dots) = shorten(&line);
            format!("(Command: [{line}{dots}])")
        }
    };
    format!("(Task: {}) {shown}", task.task_id.value)
}

fn shorten(text: &str) -> (String, &'static str) {
    if text.len() <= COMMAND_IN_NAME_MAX {
        return (text.to_owned(), "");
    }
    let mut end = COMMAND_IN_NAME_MAX - 3;
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    (text[..end].to_owned(), "...")
}

/// This leads to a small overcommitment, as in Mesos.
fn overhead(task: &mesos::TaskInfo) -> Vec<mesos::Resource> {
    let allocation = task.resources.iter().find_map(|resource| resource.allocation_info.clone());
    [("cpus", CPUS), ("mem", MEMORY)]
        .into_iter()
        .map(|(name, value)| mesos::Resource {
            name: name.to_owned(),
            r#type: mesos::value::Type::Scalar,
            scalar: Some(mesos::value::Scalar { value, ..Default::default() }),
            allocation_info: allocation.clone(),
            ..Default::default()
        })
        .collect()
}

fn shutdown_grace_period(task: &mesos::TaskInfo) -> Option<mesos::DurationInfo> {
    let grace_period = task.kill_policy.as_ref()?.grace_period.as_ref()?;
    let reporting_time = i64::try_from(REPORTING_TIME.as_nanos()).unwrap_or(0);
    let nanoseconds = grace_period.nanoseconds.saturating_add(reporting_time);
    Some(mesos::DurationInfo { nanoseconds, ..Default::default() })
}
