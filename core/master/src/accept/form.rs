//! The form of an operation's resources: what a framework sent becomes what is used inside.

use protocol::causes::with_causes;
use protocol::mesos::offer::Operation;
use protocol::mesos::offer::operation::Type;
use protocol::mesos::resource::AllocationInfo;
use protocol::mesos::{Resource, TaskInfo, health_check};

/// Checks that an operation has the field its type is for (`validateAndUpgradeResources` in
/// `src/common/resources_utils.cpp`).
fn has_its_field(operation: &Operation) -> Result<(), String> {
    let (present, article, name, field) = match operation.r#type.unwrap_or(Type::Unknown) {
        Type::Launch => (operation.launch.is_some(), "A", "LAUNCH", "launch"),
        Type::LaunchGroup => {
            (operation.launch_group.is_some(), "A", "LAUNCH_GROUP", "launch_group")
        }
        Type::Reserve => (operation.reserve.is_some(), "A", "RESERVE", "reserve"),
        Type::Unreserve => (operation.unreserve.is_some(), "An", "UNRESERVE", "unreserve"),
        Type::Create => (operation.create.is_some(), "A", "CREATE", "create"),
        Type::Destroy => (operation.destroy.is_some(), "A", "DESTROY", "destroy"),
        Type::GrowVolume => (operation.grow_volume.is_some(), "A", "GROW_VOLUME", "grow_volume"),
        Type::ShrinkVolume => {
            (operation.shrink_volume.is_some(), "A", "SHRINK_VOLUME", "shrink_volume")
        }
        Type::CreateDisk => (operation.create_disk.is_some(), "A", "CREATE_DISK", "create_disk"),
        Type::DestroyDisk => {
            (operation.destroy_disk.is_some(), "A", "DESTROY_DISK", "destroy_disk")
        }
        Type::Unknown => return Ok(()),
    };
    if present {
        return Ok(());
    }
    // Mesos has one text that lacks a word.
    let kind = if field == "grow_volume" { "operation" } else { "offer operation" };
    Err(format!("{article} {name} {kind} must have the Offer.Operation.{field} field set."))
}

/// Brings the resources in an operation into the one form used inside: reservations as a stack, and
/// allocated to the role of the offers; an operator's resources are allocated to nobody.
pub(crate) fn prepare(operation: &mut Operation, role: Option<&str>) -> Result<(), String> {
    has_its_field(operation)?;
    if let Some(launch) = &mut operation.launch {
        for task in &mut launch.task_infos {
            prepare_task(task, role)?;
        }
    }
    if let Some(group) = &mut operation.launch_group {
        normalize_all(&mut group.executor.resources, role)?;
        for task in &mut group.task_group.tasks {
            prepare_task(task, role)?;
        }
    }
    if let Some(reserve) = &mut operation.reserve {
        normalize_all(&mut reserve.resources, role)?;
        normalize_all(&mut reserve.source, role)?;
    }
    if let Some(unreserve) = &mut operation.unreserve {
        normalize_all(&mut unreserve.resources, role)?;
    }
    if let Some(create) = &mut operation.create {
        normalize_all(&mut create.volumes, role)?;
    }
    if let Some(destroy) = &mut operation.destroy {
        normalize_all(&mut destroy.volumes, role)?;
    }
    if let Some(grow) = &mut operation.grow_volume {
        normalize(&mut grow.volume, role)?;
        normalize(&mut grow.addition, role)?;
    }
    if let Some(shrink) = &mut operation.shrink_volume {
        normalize(&mut shrink.volume, role)?;
    }
    Ok(())
}

fn prepare_task(task: &mut TaskInfo, role: Option<&str>) -> Result<(), String> {
    normalize_all(&mut task.resources, role)?;
    if let Some(executor) = &mut task.executor {
        normalize_all(&mut executor.resources, role)?;
    }
    // Frameworks older than the field do not say what kind of check they mean.
    if let Some(check) = &mut task.health_check
        && check.r#type.is_none()
    {
        check.r#type = match (check.command.is_some(), check.http.is_some()) {
            (true, false) => Some(health_check::Type::Command),
            (false, true) => Some(health_check::Type::Http),
            (true, true) | (false, false) => None,
        };
    }
    Ok(())
}

fn normalize_all(resources: &mut [Resource], role: Option<&str>) -> Result<(), String> {
    resources.iter_mut().try_for_each(|resource| normalize(resource, role))
}

fn normalize(resource: &mut Resource, role: Option<&str>) -> Result<(), String> {
    let parsed = resources::Resource::from_wire(resource).map_err(|error| {
        format!("Resource '{}' is invalid: {}", resource.name, with_causes(&error))
    })?;
    if !parsed.is_written_as(resource) {
        *resource = parsed.to_wire();
    }
    if resource.allocation_info.is_none() {
        resource.allocation_info =
            role.map(|role| AllocationInfo { role: Some(role.to_owned()), ..Default::default() });
    }
    Ok(())
}
