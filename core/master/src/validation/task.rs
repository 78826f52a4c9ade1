//! A task and its executor, before they are launched.

use protocol::mesos::{ExecutorInfo, TaskInfo, container_info, executor_info};
use resources::{Quantity, Resources};

use crate::agent::Agent;
use crate::framework::Framework;
use crate::validation::{
    check, command, id, not_mixed_revocable, overlap, resources, single_allocation_role,
    unique_persistence_ids,
};

/// Where a task is to be launched, and with what.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Site<'a> {
    pub(crate) framework: &'a Framework,
    pub(crate) agent: &'a Agent,
    /// What is left of the offers, allocated.
    pub(crate) available: &'a Resources,
}

/// A task launched by itself, whose resources are allocated already; gives them.
pub(crate) fn task(task: &TaskInfo, site: Site<'_>) -> Result<Resources, String> {
    let own = info(task, site)?;
    let requested = with_executor(task, &own, site)?;
    if !site.available.contains(&requested) {
        return Err(format!(
            "Total resources {requested} required by task and its executor is more than available \
             {}",
            site.available
        ));
    }
    let shares = linux_info(task.container.as_deref()).and_then(|linux| linux.share_cgroups);
    if shares == Some(false) {
        return Err("Only tasks in a task group may have 'share_cgroups' set to 'false'".to_owned());
    }
    Ok(own)
}

/// What tasks have in common, in a group or not; gives the resources.
pub(crate) fn info(task: &TaskInfo, site: Site<'_>) -> Result<Resources, String> {
    id(&task.task_id.value)?;
    if site.framework.tasks.contains(&task.task_id) {
        return Err(format!("Task has duplicate ID: {}", task.task_id.value));
    }
    if site.framework.unreachable_tasks.contains(&task.task_id) {
        return Err(format!("Task reuses the ID of an unreachable task: {}", task.task_id.value));
    }
    if task.agent_id != *site.agent.id {
        return Err(format!(
            "Task uses invalid agent {} while agent {} is expected",
            task.agent_id.value, site.agent.id.value
        ));
    }
    let grace = task.kill_policy.as_ref().and_then(|policy| policy.grace_period.as_ref());
    if grace.is_some_and(|duration| duration.nanoseconds < 0) {
        return Err("Task's 'kill_policy.grace_period' must be non-negative".to_owned());
    }
    if task.max_completion_time.as_ref().is_some_and(|duration| duration.nanoseconds < 0) {
        return Err("Task's `max_completion_time` must be non-negative".to_owned());
    }
    if let Some(it) = &task.check {
        check::check(it).map_err(|error| format!("Task uses invalid check: {error}"))?;
    }
    if let Some(it) = &task.health_check {
        check::health(it).map_err(|error| format!("Task uses invalid health check: {error}"))?;
    }
    let own = task_resources(task)?;
    if let Some(it) = &task.command {
        command::command(it)
            .map_err(|error| format!("Task's `CommandInfo` is invalid: {error}"))?;
    }
    if let Some(it) = &task.container {
        command::container(it)
            .map_err(|error| format!("Task's `ContainerInfo` is invalid: {error}"))?;
    }
    limits(task, &own, site.agent)?;
    Ok(own)
}

fn task_resources(task: &TaskInfo) -> Result<Resources, String> {
    if task.resources.is_empty() {
        return Err("Task uses no resources".to_owned());
    }
    let parsed = resources(&task.resources)
        .map_err(|error| format!("Task uses invalid resources: {error}"))?;
    unique_persistence_ids(&parsed)
        .map_err(|error| format!("Task uses duplicate persistence ID: {error}"))?;
    single_allocation_role(&parsed).map_err(|error| format!("Invalid task resources: {error}"))?;
    not_mixed_revocable(&parsed)
        .map_err(|error| format!("Task mixes revocable and non-revocable resources: {error}"))?;
    Ok(parsed)
}

fn limits(task: &TaskInfo, requested: &Resources, agent: &Agent) -> Result<(), String> {
    if task.limits.is_empty() {
        return Ok(());
    }
    if !agent.capabilities.task_resource_limits {
        return Err("Agent is not capable of handling task resource limits".to_owned());
    }
    if task.limits.keys().any(|name| name != "cpus" && name != "mem") {
        return Err("Only cpus and mem may be included in a task's resource limits".to_owned());
    }
    for (name, long, request) in
        [("cpus", "CPU", requested.cpus()), ("mem", "memory", requested.mem())]
    {
        let Some(limit) = task.limits.get(name) else {
            continue;
        };
        if request.is_zero() {
            return Err(format!(
                "When a {long} limit is specified, a {long} request must also be specified"
            ));
        }
        if limit.value < request.to_f64() || limit.value.is_nan() {
            let name = if name == "cpus" { "cpu" } else { "memory" };
            return Err(format!(
                "The {name} limit must be greater than or equal to the {name} request"
            ));
        }
    }
    Ok(())
}

/// What a task takes together with its executor, if that one is not running yet.
fn with_executor(task: &TaskInfo, own: &Resources, site: Site<'_>) -> Result<Resources, String> {
    if task.executor.is_some() == task.command.is_some() {
        return Err(
            "Task should have at least one (but not both) of CommandInfo or ExecutorInfo present"
                .to_owned(),
        );
    }
    let Some(executor) = &task.executor else {
        return Ok(own.clone());
    };
    executor_on(executor, site)?;
    if executor.r#type.is_some_and(|it| it != executor_info::Type::Custom) {
        return Err("'ExecutorInfo.type' must be 'CUSTOM'".to_owned());
    }
    if executor.command.is_none() {
        return Err("'ExecutorInfo.command' must be set".to_owned());
    }
    let executors = crate::parsed(&executor.resources);
    if !executors.shared().is_empty() {
        return Err(format!(
            "Executor resources {executors} should not contain any shared resources"
        ));
    }
    no_shared_cgroups(executor)?;
    if overlap([own, &executors]) {
        return Err(format!(
            "There are overlapping resources in the task resources {own} and executor resources \
             {executors}"
        ));
    }
    let both = own + &executors;
    unique_persistence_ids(&both)
        .map_err(|error| format!("Task and its executor use duplicate persistence ID: {error}"))?;
    not_mixed_revocable(&both).map_err(|error| {
        format!("Task and its executor mix revocable and non-revocable resources: {error}")
    })?;
    let running = site.agent.executor(&site.framework.id, &executor.executor_id).is_some();
    Ok(if running { own.clone() } else { both })
}

/// An executor by itself.
pub(crate) fn executor(executor: &ExecutorInfo) -> Result<(), String> {
    match executor.r#type {
        Some(executor_info::Type::Default) => {
            if executor.command.is_some() {
                return Err(
                    "'ExecutorInfo.command' must not be set for 'DEFAULT' executor".to_owned()
                );
            }
            if let Some(container) = &executor.container {
                if container.r#type != container_info::Type::Mesos {
                    return Err(
                        "'ExecutorInfo.container.type' must be 'MESOS' for 'DEFAULT' executor"
                            .to_owned(),
                    );
                }
                if container.mesos.as_ref().is_some_and(|mesos| mesos.image.is_some()) {
                    return Err(
                        "'ExecutorInfo.container.mesos.image' must not be set for 'DEFAULT' executor"
                            .to_owned(),
                    );
                }
            }
        }
        Some(executor_info::Type::Custom) => {
            if executor.command.is_none() {
                return Err("'ExecutorInfo.command' must be set for 'CUSTOM' executor".to_owned());
            }
        }
        Some(executor_info::Type::Unknown) | None => {}
    }
    id(&executor.executor_id.value)?;
    if executor.shutdown_grace_period.as_ref().is_some_and(|it| it.nanoseconds < 0) {
        return Err("ExecutorInfo's 'shutdown_grace_period' must be non-negative".to_owned());
    }
    if let Some(it) = &executor.command {
        command::command(it)
            .map_err(|error| format!("Executor's `CommandInfo` is invalid: {error}"))?;
    }
    if let Some(it) = &executor.container {
        command::container(it)
            .map_err(|error| format!("Executor's `ContainerInfo` is invalid: {error}"))?;
    }
    Ok(())
}

/// An executor on an agent: the framework's own, and the same as one that runs there under its id.
pub(crate) fn executor_on(it: &ExecutorInfo, site: Site<'_>) -> Result<(), String> {
    executor(it)?;
    let Some(framework_id) = &it.framework_id else {
        return Err("'ExecutorInfo.framework_id' must be set".to_owned());
    };
    if *framework_id != *site.framework.id {
        return Err(format!(
            "ExecutorInfo has an invalid FrameworkID (Actual: {} vs Expected: {})",
            framework_id.value, site.framework.id.value
        ));
    }
    let parsed = resources(&it.resources)
        .map_err(|error| format!("Executor uses invalid resources: {error}"))?;
    unique_persistence_ids(&parsed)
        .map_err(|error| format!("Executor uses duplicate persistence ID: {error}"))?;
    single_allocation_role(&parsed)
        .map_err(|error| format!("Invalid executor resources: {error}"))?;
    not_mixed_revocable(&parsed).map_err(|error| {
        format!("Executor mixes revocable and non-revocable resources: {error}")
    })?;
    let running = site.agent.executor(&site.framework.id, &it.executor_id);
    if running.is_some_and(|running| !same_executor(running, it)) {
        return Err(
            "ExecutorInfo is not compatible with existing ExecutorInfo with same ExecutorID."
                .to_owned(),
        );
    }
    Ok(())
}

/// Executors are compared without regard to the order and form of their resources.
fn same_executor(running: &ExecutorInfo, wanted: &ExecutorInfo) -> bool {
    let bare = |it: &ExecutorInfo| ExecutorInfo { resources: Vec::new(), ..it.clone() };
    crate::parsed(&running.resources) == crate::parsed(&wanted.resources)
        && bare(running) == bare(wanted)
}

/// Only the tasks of a group may share cgroups with their executor, never an executor with others.
pub(crate) fn no_shared_cgroups(executor: &ExecutorInfo) -> Result<(), String> {
    let shares = linux_info(executor.container.as_deref()).and_then(|it| it.share_cgroups);
    if shares == Some(true) {
        return Err(
            "The 'share_cgroups' field cannot be set to 'true' on executor containers".to_owned()
        );
    }
    Ok(())
}

/// The Linux settings of a container.
pub(crate) fn linux_info(
    container: Option<&protocol::mesos::ContainerInfo>,
) -> Option<&protocol::mesos::LinuxInfo> {
    container?.linux_info.as_ref()
}

/// The least an executor of a task group must have (`MIN_CPUS`, `MIN_MEM`).
pub(crate) const EXECUTOR_CPUS_MINIMUM: Option<Quantity> = Quantity::from_thousandths(10);
/// In megabytes.
pub(crate) const EXECUTOR_MEM_MINIMUM: Quantity = Quantity::from_units(32);
