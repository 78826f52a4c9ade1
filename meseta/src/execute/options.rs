//! What to run, and as whom.

use std::time::Duration;

use protocol::mesos::environment::Variable;
use protocol::mesos::framework_info::{Capability, capability};
use protocol::mesos::{
    CommandInfo, ContainerInfo, Environment, FrameworkInfo, Resource, TaskGroupInfo, TaskId,
    TaskInfo,
};
use resources::Resources;
use sdk::{ContentType, Credential};

/// A framework and its only task or task group.
#[derive(Clone, Debug)]
pub(crate) struct ExecuteOptions {
    /// `host:port` of a master, or the URL of the ensemble that elects it.
    pub(crate) master: String,
    /// How to subscribe. Its role is where the resources come from.
    pub(crate) framework: FrameworkInfo,
    /// What to launch. Agents and reservations are filled in when there is an offer.
    pub(crate) work: Work,
    /// The container of the executor of a task group.
    pub(crate) group_container: Option<ContainerInfo>,
    /// How long the task may run.
    pub(crate) kill_after: Option<Duration>,
    /// How to prove who we are.
    pub(crate) credential: Option<Credential>,
    /// How to talk to the master.
    pub(crate) content_type: ContentType,
}

/// What to launch.
#[derive(Clone, Debug)]
pub(crate) enum Work {
    Task(Box<TaskInfo>),
    Group(TaskGroupInfo),
}

impl Work {
    pub(crate) fn tasks(&self) -> &[TaskInfo] {
        match self {
            Self::Task(task) => std::slice::from_ref(task),
            Self::Group(group) => &group.tasks,
        }
    }
}

/// What a command on a cluster of its own gets: little, so that the smallest agent can run it.
const COMMAND_RESOURCES: &str = "cpus:0.1;mem:32";

/// Keeps the executor's own lines out of the output of a command.
const EXECUTOR_LOG_LEVEL: (&str, &str) = ("MESETA_EXECUTOR_LOG_LEVEL", "WARNING");

impl ExecuteOptions {
    /// Runs a command with its arguments as they are, without a shell between.
    pub(crate) fn for_arguments(master: String, command: &[String]) -> Self {
        let program = command.first().map_or("", String::as_str);
        let name = program.rsplit('/').next().filter(|name| !name.is_empty()).unwrap_or("task");
        let task = TaskInfo {
            name: name.to_owned(),
            task_id: TaskId { value: name.to_owned(), ..Default::default() },
            resources: parsed(COMMAND_RESOURCES),
            command: Some(CommandInfo {
                environment: Some(environment(&[EXECUTOR_LOG_LEVEL])),
                shell: Some(false),
                value: Some(program.to_owned()),
                arguments: command.to_vec(),
                ..Default::default()
            }),
            ..Default::default()
        };
        Self {
            master,
            framework: framework(),
            work: Work::Task(Box::new(task)),
            group_container: None,
            kill_after: None,
            credential: None,
            content_type: ContentType::Protobuf,
        }
    }
}

fn environment(variables: &[(&str, &str)]) -> Environment {
    let variable = |(name, value): &(&str, &str)| Variable {
        name: (*name).to_owned(),
        value: Some((*value).to_owned()),
        ..Default::default()
    };
    Environment { variables: variables.iter().map(variable).collect(), ..Default::default() }
}

fn parsed(resources: &str) -> Vec<Resource> {
    // The text is ours; a mistake in it would show as a task that gets nothing.
    Resources::parse(resources, "*").map(|resources| resources.to_wire()).unwrap_or_default()
}

/// A framework with the capabilities that are always wanted.
pub(crate) fn framework() -> FrameworkInfo {
    let mut framework = FrameworkInfo {
        user: user(),
        name: "meseta execute".to_owned(),
        role: Some("*".to_owned()),
        checkpoint: Some(false),
        ..Default::default()
    };
    for kind in [
        capability::Type::ReservationRefinement,
        capability::Type::TaskKillingState,
        capability::Type::PartitionAware,
    ] {
        enable(&mut framework, kind);
    }
    framework
}

pub(crate) fn enable(framework: &mut FrameworkInfo, kind: capability::Type) {
    let capability = Capability { r#type: Some(kind), ..Default::default() };
    if !framework.capabilities.contains(&capability) {
        framework.capabilities.push(capability);
    }
}

/// Who runs this program; its number, where it has no name.
fn user() -> String {
    let uid = nix::unistd::Uid::effective();
    match nix::unistd::User::from_uid(uid) {
        Ok(Some(user)) => user.name,
        Ok(None) | Err(_) => uid.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arguments_become_a_task() {
        let command = ["/bin/echo", "a b", ""].map(str::to_owned);
        let options = ExecuteOptions::for_arguments("127.0.0.1:5050".to_owned(), &command);
        let [task] = options.work.tasks() else { panic!("one task") };
        // A slash is not allowed in a task id.
        assert_eq!((task.name.as_str(), task.task_id.value.as_str()), ("echo", "echo"));
        let info = task.command.as_ref().unwrap();
        assert_eq!(info.shell, Some(false));
        assert_eq!(info.value.as_deref(), Some("/bin/echo"));
        assert_eq!(info.arguments, command);
        assert_eq!(task.resources.len(), 2);
        assert!(!options.framework.user.is_empty());
    }
}
