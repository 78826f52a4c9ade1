//! A task group and its executor: all or nothing.

use std::collections::BTreeSet;

use protocol::mesos::{ContainerInfo, ExecutorInfo, TaskGroupInfo, TaskInfo};
use protocol::mesos::{container_info, executor_info, health_check};
use resources::{Quantity, Resources};

use crate::validation::task::{
    EXECUTOR_CPUS_MINIMUM, EXECUTOR_MEM_MINIMUM, Site, executor_on, info, linux_info,
    no_shared_cgroups,
};
use crate::validation::{not_mixed_revocable, overlap, unique_persistence_ids};

/// A task group on an agent. Its resources are allocated already.
pub(crate) fn group(
    group: &TaskGroupInfo,
    executor: &ExecutorInfo,
    site: Site<'_>,
) -> Result<(), String> {
    let mut ids = BTreeSet::new();
    for it in &group.tasks {
        let valid = task(it, site).and_then(|()| {
            if ids.insert(&it.task_id) {
                Ok(())
            } else {
                Err(format!("Task has duplicate ID: {}", it.task_id.value))
            }
        });
        valid.map_err(|error| format!("Task '{}' is invalid: {error}", it.task_id.value))?;
    }
    group_executor(group, executor, site)?;
    share_cgroups(group, executor, site)
}

fn task(task: &TaskInfo, site: Site<'_>) -> Result<(), String> {
    info(task, site)?;
    if task.executor.is_none() {
        return Err("'TaskInfo.executor' must be set".to_owned());
    }
    if let Some(container) = &task.container {
        let network_check =
            task.health_check.as_ref().and_then(|check| check.r#type).is_some_and(|kind| {
                matches!(kind, health_check::Type::Http | health_check::Type::Tcp)
            });
        if !container.network_infos.is_empty() && network_check {
            return Err("HTTP and TCP health checks are not supported for nested containers not \
                        joining parent's network"
                .to_owned());
        }
        if container.r#type == container_info::Type::Docker {
            return Err("Docker ContainerInfo is not supported on the task".to_owned());
        }
    }
    if !task.limits.is_empty() && shares(task.container.as_deref()) {
        return Err("Resource limits may only be set for tasks within a task group when the \
                    'share_cgroups' field is set to 'false'."
            .to_owned());
    }
    Ok(())
}

fn group_executor(
    group: &TaskGroupInfo,
    executor: &ExecutorInfo,
    site: Site<'_>,
) -> Result<(), String> {
    executor_on(executor, site)?;
    match executor.r#type {
        None => return Err("'ExecutorInfo.type' must be set".to_owned()),
        Some(executor_info::Type::Unknown) => return Err("Unknown executor type".to_owned()),
        Some(executor_info::Type::Default | executor_info::Type::Custom) => {}
    }
    if executor.container.as_ref().is_some_and(|it| it.r#type == container_info::Type::Docker) {
        return Err("Docker ContainerInfo is not supported on the executor".to_owned());
    }
    for task in &group.tasks {
        if task.executor.as_deref().is_some_and(|own| own != executor) {
            return Err(format!(
                "The `ExecutorInfo` of task '{}' is different from executor '{}'",
                task.task_id.value, executor.executor_id.value
            ));
        }
    }
    let own = crate::parsed(&executor.resources);
    enough_for_an_executor(executor, &own)?;
    let tasks: Vec<Resources> =
        group.tasks.iter().map(|task| crate::parsed(&task.resources)).collect();
    let of_tasks: Resources = tasks.iter().cloned().sum();
    let all = &of_tasks + &own;
    unique_persistence_ids(&all).map_err(|error| {
        format!("Task group and executor use duplicate persistence ID: {error}")
    })?;
    not_mixed_revocable(&all).map_err(|error| {
        format!("Task group and executor mix revocable and non-revocable resources: {error}")
    })?;
    if overlap(tasks.iter().chain([&own])) {
        return Err(format!(
            "There are overlapping resources in the task group's task resources {of_tasks} and/or \
             executor resources {own}"
        ));
    }
    let running = site.agent.executor(&site.framework.id, &executor.executor_id).is_some();
    let total = if running { of_tasks } else { all };
    if !site.available.contains(&total) {
        return Err(format!(
            "Total resources {total} required by task group and its executor are more than \
             available {}",
            site.available
        ));
    }
    Ok(())
}

fn enough_for_an_executor(executor: &ExecutorInfo, own: &Resources) -> Result<(), String> {
    let id = &executor.executor_id.value;
    let amount = |quantity: Quantity| {
        if quantity.is_zero() { "None".to_owned() } else { quantity.to_string() }
    };
    if EXECUTOR_CPUS_MINIMUM.is_some_and(|minimum| own.cpus() < minimum) {
        return Err(format!(
            "Executor '{id}' uses less CPUs ({}) than the minimum required (0.01)",
            amount(own.cpus())
        ));
    }
    if own.mem() < EXECUTOR_MEM_MINIMUM {
        return Err(format!(
            "Executor '{id}' uses less memory ({}) than the minimum required (32MB)",
            amount(own.mem())
        ));
    }
    if own.disk().is_zero() {
        return Err(format!("Executor '{id}' uses no disk"));
    }
    Ok(())
}

/// All tasks under one executor agree on whether they share its cgroups.
fn share_cgroups(
    group: &TaskGroupInfo,
    executor: &ExecutorInfo,
    site: Site<'_>,
) -> Result<(), String> {
    no_shared_cgroups(executor)?;
    let new = group.tasks.iter().map(|task| shares(task.container.as_deref()));
    let running = site
        .framework
        .tasks
        .iter()
        .chain(site.framework.unreachable_tasks.iter())
        .filter(|task| {
            task.agent_id == site.agent.id
                && task.executor_id.as_deref() == Some(&executor.executor_id)
        })
        .map(|task| shares(task.description().container.as_deref()));
    let ways: BTreeSet<bool> = new.chain(running).collect();
    if ways.len() > 1 {
        return Err("If set, the value of 'share_cgroups' must be the same for all tasks in each \
                    task group and under a single executor"
            .to_owned());
    }
    Ok(())
}

fn shares(container: Option<&ContainerInfo>) -> bool {
    linux_info(container).and_then(|it| it.share_cgroups).unwrap_or(true)
}
