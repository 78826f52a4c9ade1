//! What is refused before it changes anything, and in which words.
//!
//! The texts are those of Mesos (`src/master/validation.cpp`, `src/common/validation.cpp`) where
//! frameworks and operators get to see them.

pub(crate) mod agent;
pub(crate) mod call;
pub(crate) mod check;
pub(crate) mod command;
pub(crate) mod framework;
pub(crate) mod group;
pub(crate) mod offer;
pub(crate) mod operation;
pub(crate) mod quota;
pub(crate) mod task;

use std::collections::BTreeSet;

use protocol::causes::with_causes;
use protocol::mesos;
use resources::{Resource, Resources};

/// The longest id, since ids become names of directories (`NAME_MAX`).
const ID_LENGTH_MAX: usize = 255;

/// Ids of frameworks, agents, executors, tasks and volumes.
pub(crate) fn id(id: &str) -> Result<(), String> {
    if id.is_empty() {
        return Err("ID must not be empty".to_owned());
    }
    if id.len() > ID_LENGTH_MAX {
        return Err(format!("ID must not be greater than {ID_LENGTH_MAX} characters"));
    }
    if id == "." || id == ".." {
        return Err(format!("'{id}' is disallowed"));
    }
    if id.chars().any(|letter| letter.is_ascii_control() || letter == '/' || letter == '\\') {
        return Err(format!("'{id}' contains invalid characters"));
    }
    Ok(())
}

/// Resources from outside, each valid by itself and with a valid disk.
pub(crate) fn resources(list: &[mesos::Resource]) -> Result<Resources, String> {
    let parsed = Resources::from_wire(list)
        .map_err(|error| format!("Invalid resources: {}", with_causes(&error)))?;
    for resource in list {
        gpus(resource).map_err(|error| format!("Invalid 'gpus' resource: {error}"))?;
    }
    for resource in list {
        disk(resource).map_err(|error| format!("Invalid DiskInfo: {error}"))?;
    }
    for resource in list {
        let is_dynamic =
            || Resource::from_wire(resource).is_ok_and(|it| it.is_dynamically_reserved());
        if resource.revocable.is_some() && is_dynamic() {
            return Err(format!(
                "Invalid ReservationInfo: Dynamically reserved resource {} cannot be created from \
                 revocable resources",
                resource.name
            ));
        }
    }
    Ok(parsed)
}

fn gpus(resource: &mesos::Resource) -> Result<(), String> {
    let whole =
        resource.scalar.as_ref().is_none_or(|scalar| scalar.value.fract().abs() < f64::EPSILON);
    if resource.name == "gpus" && !whole {
        return Err("The 'gpus' resource must be an unsigned integer".to_owned());
    }
    Ok(())
}

fn disk(resource: &mesos::Resource) -> Result<(), String> {
    let Some(disk) = resource.disk.as_ref() else {
        return Ok(());
    };
    let Some(persistence) = disk.persistence.as_ref() else {
        return if disk.volume.is_some() {
            Err("Non-persistent volume not supported".to_owned())
        } else if disk.source.is_none() {
            Err("DiskInfo is set but empty".to_owned())
        } else {
            Ok(())
        };
    };
    if resource.revocable.is_some() {
        return Err("Persistent volumes cannot be created from revocable resources".to_owned());
    }
    if Resource::from_wire(resource).is_ok_and(|it| it.is_unreserved()) {
        return Err("Persistent volumes cannot be created from unreserved resources".to_owned());
    }
    let Some(volume) = disk.volume.as_ref() else {
        return Err("Expecting 'volume' to be set for persistent volume".to_owned());
    };
    if volume.host_path.is_some() {
        return Err("Expecting 'host_path' to be unset for persistent volume".to_owned());
    }
    id(&persistence.id)
        .map_err(|error| format!("Invalid persistence ID for persistent volume: {error}"))
}

/// No two volumes of one role have the same id.
pub(crate) fn unique_persistence_ids(resources: &Resources) -> Result<(), String> {
    let mut seen = BTreeSet::new();
    for resource in resources.iter() {
        if let Some(id) = resource.persistence_id()
            && !seen.insert((resource.reservation_role(), id))
        {
            return Err(format!("Persistence ID '{id}' is not unique"));
        }
    }
    Ok(())
}

/// All resources are allocated, and to one role.
pub(crate) fn single_allocation_role(resources: &Resources) -> Result<(), String> {
    let mut first: Option<&str> = None;
    for resource in resources.iter() {
        let Some(role) = resource.allocation_role() else {
            return Err("The resources are not allocated to a role".to_owned());
        };
        match first {
            Some(first) if first != role => {
                return Err(format!(
                    "The resources have multiple allocation roles ('{role}' and '{first}') but \
                     only one allocation role is allowed"
                ));
            }
            Some(_) | None => first = Some(role),
        }
    }
    Ok(())
}

/// One name is either revocable or not.
pub(crate) fn not_mixed_revocable(resources: &Resources) -> Result<(), String> {
    if !resources.iter().any(Resource::is_revocable) {
        return Ok(());
    }
    let names = |resources: Resources| -> BTreeSet<String> {
        resources.names().into_iter().map(str::to_owned).collect()
    };
    let revocable = names(resources.revocable());
    match names(resources.non_revocable()).intersection(&revocable).next() {
        Some(name) => {
            Err(format!("Cannot use both revocable and non-revocable '{name}' at the same time"))
        }
        None => Ok(()),
    }
}

/// Whether the same range or set member is named twice.
pub(crate) fn overlap<'a>(all: impl IntoIterator<Item = &'a Resources>) -> bool {
    let mut merged = Resources::new();
    let mut separate = resources::Quantities::new();
    for resources in all {
        separate += &resources.quantities();
        merged += resources;
    }
    merged.quantities() != separate
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_must_be_usable_as_file_names() {
        assert_eq!(id("task-1.a_b"), Ok(()));
        for bad in ["", ".", "..", "a/b", "a\\b", "a\nb"] {
            assert!(id(bad).is_err(), "{bad:?}");
        }
        assert_eq!(id(&"x".repeat(255)), Ok(()));
        assert!(id(&"x".repeat(256)).is_err());
    }
}
