//! Starts the task's process.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::os::fd::OwnedFd;
use std::process::ExitStatus;

use containers::{Output, Program, SpawnConfig, TreeSeed};
use protocol::mesos;
use protocol::mesos::environment::variable;

use crate::log;

/// An environment: names and values.
pub(crate) type Environment = BTreeMap<OsString, OsString>;

/// The process of the task, which leads a session of its own.
#[derive(Debug)]
pub(crate) struct Process {
    pub(crate) pid: i32,
    start_time: u64,
    /// Readable when the process ends; none on a kernel without pidfds, where it is polled for.
    pub(crate) pidfd: Option<OwnedFd>,
}

/// Why a task was not started. The text is what the framework reads.
#[derive(Debug, thiserror::Error)]
pub(crate) enum StartError {
    #[error("Expecting task '{id}' to have a command")]
    NoCommand { id: String },
    #[error("Shell command of task '{id}' is not specified")]
    NoShellCommand { id: String },
    #[error("Executable of task '{id}' is not specified")]
    NoExecutable { id: String },
    #[error(
        "Task '{id}' needs a container image, and the command executor runs tasks without images"
    )]
    Image { id: String },
    #[error("Failed to start task '{id}'")]
    Spawn { id: String, source: containers::SpawnError },
}

impl StartError {
    /// The text with all its causes.
    pub(crate) fn message(&self) -> String {
        let mut message = self.to_string();
        let mut cause = std::error::Error::source(self);
        while let Some(error) = cause {
            message.push_str(": ");
            message.push_str(&error.to_string());
            cause = error.source();
        }
        message
    }
}

impl Process {
    /// Starts the task's command in our working directory, which is the sandbox, as our user.
    pub(crate) fn start(
        task: &mesos::TaskInfo,
        environment: &Environment,
    ) -> Result<Self, StartError> {
        let id = || task.task_id.value.clone();
        if needs_image(task) {
            return Err(StartError::Image { id: id() });
        }
        let command = task.command.as_ref().ok_or_else(|| StartError::NoCommand { id: id() })?;
        let program = program(command).ok_or_else(|| {
            if command.shell() {
                StartError::NoShellCommand { id: id() }
            } else {
                StartError::NoExecutable { id: id() }
            }
        })?;
        let environment = task_environment(task, command, environment);
        let spawned = containers::spawn(SpawnConfig {
            program: &program,
            environment: &environment.into_iter().collect::<Vec<_>>(),
            directory: None,
            user: None,
            stdin: None,
            stdout: &Output::Inherit,
            stderr: &Output::Inherit,
        })
        .map_err(|source| StartError::Spawn { id: id(), source })?;
        log::info(format_args!("Forked command at {}", spawned.pid));
        // The child is not waited for yet, so the pid is still its own.
        let pidfd = containers::system::open_pidfd(spawned.pid).ok();
        Ok(Self { pid: spawned.pid, start_time: spawned.start_time, pidfd })
    }

    /// Whether it has ended, and how; an ended process without status was taken by somebody else.
    pub(crate) fn try_wait(&self) -> Option<Option<ExitStatus>> {
        containers::system::try_wait(self.pid).map_or(Some(None), |status| status.map(Some))
    }

    /// Signals the process and all its descendants.
    pub(crate) fn signal_tree(&self, signal: i32) {
        let seed = TreeSeed { leader: self.pid, start_time: self.start_time, marker: None };
        match containers::signal_tree(&seed, signal) {
            Ok(pids) => log::info(format_args!("Sent signal {signal} to processes {pids:?}")),
            Err(error) => log::error(format_args!(
                "Failed to signal the process tree of {}: {error}",
                self.pid
            )),
        }
    }
}

fn needs_image(task: &mesos::TaskInfo) -> bool {
    task.container.as_ref().is_some_and(|container| {
        container.docker.is_some()
            || container.mesos.as_ref().is_some_and(|mesos| mesos.image.is_some())
    })
}

/// What a command runs; nothing when it does not say.
pub(crate) fn program(command: &mesos::CommandInfo) -> Option<Program> {
    let value: OsString = command.value.as_ref()?.into();
    if command.shell() {
        return Some(Program::Shell(value));
    }
    let arguments = command.arguments.iter().map(OsString::from).collect();
    Some(Program::Exec { path: value, arguments })
}

/// An environment with that of a command on top. Secrets have no value here.
pub(crate) fn command_environment(
    command: &mesos::CommandInfo,
    environment: &Environment,
) -> Environment {
    let mut environment = environment.clone();
    for variable in command.environment.iter().flat_map(|environment| &environment.variables) {
        if variable.r#type() == variable::Type::Secret {
            continue;
        }
        let value = variable.value.clone().unwrap_or_default();
        environment.insert(variable.name.clone().into(), value.into());
    }
    environment
}

fn task_environment(
    task: &mesos::TaskInfo,
    command: &mesos::CommandInfo,
    environment: &Environment,
) -> Environment {
    let mut environment = command_environment(command, environment);
    let allocation = task.resources.first().and_then(|resource| resource.allocation_info.as_ref());
    if let Some(role) = allocation.and_then(|allocation| allocation.role.as_ref()) {
        environment.insert("MESOS_ALLOCATION_ROLE".into(), role.into());
    }
    environment
}
