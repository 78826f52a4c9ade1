//! Options from the flags of `mesos-execute`.

use anyhow::{Context as _, Result, bail, ensure};
use coordination::Detector;
use protocol::mesos::environment::Variable;
use protocol::mesos::framework_info::capability;
use protocol::mesos::{
    CapabilityInfo, CommandInfo, Environment, RLimitInfo, TaskGroupInfo, TaskId, TaskInfo, Volume,
};
use protocol::{Message, Names};
use resources::Resources;
use sdk::{ContentType, Credential};
use serde_json::Value;
use server::flags::Values;

use super::container::{self, ContainerOptions};
use super::options::{ExecuteOptions, Work, enable, framework};

impl ExecuteOptions {
    /// Understands the flags.
    ///
    /// # Errors
    /// Names the flag that is missing, malformed or contradicts another.
    pub(crate) fn from_flags(values: &Values) -> Result<Self> {
        let master = values.text("master").context("--master is required")?.trim().to_owned();
        Detector::new(&master).context("--master")?;
        let container = container_options(values)?;
        Ok(Self {
            master,
            work: work(values, &container)?,
            group_container: container::of_group(&container.networks),
            kill_after: values.duration("kill_after"),
            framework: framework_from(values)?,
            credential: credential(values),
            content_type: match values.text("content_type") {
                Some("json" | "application/json") => ContentType::Json,
                None | Some("protobuf" | "application/x-protobuf") => ContentType::Protobuf,
                Some(other) => bail!("Invalid content type '{other}'"),
            },
        })
    }
}

fn credential(values: &Values) -> Option<Credential> {
    let (principal, secret) = (values.text("principal")?, values.text("secret")?);
    Some(Credential { principal: principal.to_owned(), secret: secret.to_owned() })
}

fn framework_from(values: &Values) -> Result<protocol::mesos::FrameworkInfo> {
    let mut framework = framework();
    framework.name = "mesos-execute instance".to_owned();
    framework.role = Some(values.text("role").unwrap_or("*").to_owned());
    framework.checkpoint = Some(values.boolean("checkpoint"));
    framework.principal = values.text("principal").map(str::to_owned);
    enable(&mut framework, capability::Type::RevocableResources);
    if !values.boolean("partition_aware") {
        framework
            .capabilities
            .retain(|capability| capability.r#type != Some(capability::Type::PartitionAware));
    }
    for name in list(values.text("framework_capabilities")) {
        match capability::Type::from_name(&name, Names::V1) {
            Some(kind @ capability::Type::GpuResources) => enable(&mut framework, kind),
            Some(_) => bail!("--framework_capabilities: unsupported capability '{name}'"),
            None => bail!("--framework_capabilities: unknown capability '{name}'"),
        }
    }
    Ok(framework)
}

/// The parts between commas.
fn list(text: Option<&str>) -> Vec<String> {
    let parts = text.unwrap_or_default().split(',').map(str::trim);
    parts.filter(|part| !part.is_empty()).map(str::to_owned).collect()
}

fn container_options(values: &Values) -> Result<ContainerOptions> {
    Ok(ContainerOptions {
        containerizer: values.text("containerizer").unwrap_or("mesos").to_owned(),
        docker_image: values.text("docker_image").map(str::to_owned),
        networks: list(values.text("networks")),
        volumes: volumes(values)?,
        effective_capabilities: message::<CapabilityInfo>(values, "effective_capabilities")?,
        bounding_capabilities: message::<CapabilityInfo>(values, "bounding_capabilities")?,
        rlimits: message::<RLimitInfo>(values, "rlimits")?,
        tty: values.boolean("tty"),
    })
}

fn work(values: &Values, container: &ContainerOptions) -> Result<Work> {
    let (task, group) = (json(values, "task")?, json(values, "task_group")?);
    ensure!(
        task.is_none() || group.is_none(),
        "Either --task or --task_group may be given, but not both"
    );
    if task.is_none() && group.is_none() {
        return Ok(Work::Task(Box::new(command_task(values, container)?)));
    }
    for name in ["name", "command", "env", "docker_image", "volumes"] {
        ensure!(
            values.text(name).is_none(),
            "--{name} can only be given when neither --task nor --task_group is"
        );
    }
    if let Some(mut task) = task {
        ensure!(container.networks.is_empty(), "--networks can only be given when --task is not");
        fill_agent_id(&mut task);
        let task = TaskInfo::from_json(task.to_string().as_bytes(), Names::V1);
        return Ok(Work::Task(Box::new(task.context("--task is no TaskInfo")?)));
    }
    let mut group = group.unwrap_or_default();
    let tasks = group.get_mut("tasks").and_then(Value::as_array_mut);
    tasks.into_iter().flatten().for_each(fill_agent_id);
    let group = TaskGroupInfo::from_json(group.to_string().as_bytes(), Names::V1)
        .context("--task_group is no TaskGroupInfo")?;
    ensure!(!group.tasks.is_empty(), "--task_group holds no task");
    Ok(Work::Group(group))
}

/// The message requires an agent, which only an offer can name.
fn fill_agent_id(task: &mut Value) {
    if let Some(task) = task.as_object_mut() {
        task.entry("agent_id").or_insert_with(|| serde_json::json!({ "value": "" }));
    }
}

fn command_task(values: &Values, container: &ContainerOptions) -> Result<TaskInfo> {
    let name = values.text("name").context("--name is required")?;
    let resources = values.text("resources").unwrap_or_default();
    let resources = Resources::parse(resources, "*")
        .with_context(|| format!("Failed to parse resources '{resources}'"))?;
    Ok(TaskInfo {
        name: name.to_owned(),
        task_id: TaskId { value: name.to_owned(), ..Default::default() },
        resources: resources.to_wire(),
        command: Some(command(values)?),
        container: container::of_task(container)?.map(Box::new),
        ..Default::default()
    })
}

fn command(values: &Values) -> Result<CommandInfo> {
    let text = values.text("command");
    let shell = values.boolean("shell");
    ensure!(!shell || text.is_some(), "--command is required");
    let words = || text.unwrap_or_default().split_ascii_whitespace().map(str::to_owned);
    let (value, arguments) = if shell {
        (text.map(str::to_owned), Vec::new())
    } else {
        (words().next(), words().collect())
    };
    Ok(CommandInfo {
        shell: Some(shell),
        value,
        arguments,
        environment: environment(values)?,
        ..Default::default()
    })
}

fn environment(values: &Values) -> Result<Option<Environment>> {
    let Some(json) = json(values, "env")? else { return Ok(None) };
    let Value::Object(entries) = json else { bail!("--env is no JSON object") };
    let mut variables = Vec::new();
    for (name, value) in entries {
        let Value::String(value) = value else { bail!("--env: the value of {name} is no text") };
        variables.push(Variable { name, value: Some(value), ..Default::default() });
    }
    Ok(Some(Environment { variables, ..Default::default() }))
}

fn volumes(values: &Values) -> Result<Vec<Volume>> {
    let Some(json) = json(values, "volumes")? else { return Ok(Vec::new()) };
    let Value::Array(items) = json else { bail!("--volumes is no JSON array") };
    let read = |item: Value| Volume::from_json(item.to_string().as_bytes(), Names::V1);
    items.into_iter().map(|item| read(item).context("--volumes: not a Volume")).collect()
}

fn message<M: Message>(values: &Values, name: &str) -> Result<Option<M>> {
    let Some(text) = values.text(name) else { return Ok(None) };
    let message = M::from_json(text.as_bytes(), Names::V1);
    Ok(Some(message.with_context(|| format!("--{name} is no {}", M::FULL_NAME))?))
}

fn json(values: &Values, name: &str) -> Result<Option<Value>> {
    let Some(text) = values.text(name) else { return Ok(None) };
    Ok(Some(serde_json::from_str(text).with_context(|| format!("--{name} is no JSON"))?))
}

#[cfg(test)]
mod tests;
