//! Reservations and volumes, before they are made.

use protocol::mesos::offer::Operation;
use protocol::mesos::offer::operation::{Create, Destroy, Reserve, Unreserve};
use protocol::mesos::volume::Mode;
use protocol::mesos::{FrameworkInfo, Resource as WireResource};
use resources::{Resource, Resources};

use crate::agent::Agent;
use crate::framework::{FrameworkCapabilities, roles};
use crate::validation::{resources, single_allocation_role, unique_persistence_ids};

/// Who asks for an operation: a framework, or an operator.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Asker<'a> {
    pub(crate) framework: Option<&'a FrameworkInfo>,
    pub(crate) principal: Option<&'a str>,
}

/// `RESERVE`. The resources are allocated when a framework asks, and not when an operator does.
pub(crate) fn reserve(operation: &Reserve, agent: &Agent, asker: Asker<'_>) -> Result<(), String> {
    let parsed = valid(&operation.resources)?;
    resources(&operation.source).map_err(|error| format!("Invalid source: {error}"))?;
    for resource in parsed.iter() {
        if !resource.is_dynamically_reserved() {
            return Err(format!("Resource {resource} is not dynamically reserved"));
        }
        expressible(resource, agent, "reserved")?;
        reservation_principal(resource, asker.principal)?;
        match asker.framework {
            Some(framework) => reservation_role(resource, framework)?,
            None => {
                if resource.allocation_role().is_some() {
                    return Err("A reserve operation was attempted with an allocated resource, but \
                                the operator API only allows reservations to be made to unallocated \
                                resources"
                        .to_owned());
                }
            }
        }
    }
    if asker.framework.is_some() {
        single_allocation_role(&parsed)
            .map_err(|error| format!("Invalid reservation resources: {error}"))?;
    }
    Ok(())
}

fn reservation_principal(resource: &Resource, principal: Option<&str>) -> Result<(), String> {
    let Some(principal) = principal else {
        return Ok(());
    };
    match resource.reservations().last().and_then(|it| it.principal.as_deref()) {
        None => Err(format!(
            "A reserve operation was attempted by principal '{principal}', but there is a reserved \
             resource in the request with no principal set"
        )),
        Some(named) if named != principal => Err(format!(
            "A reserve operation was attempted by authenticated principal '{principal}', which does \
             not match a reserved resource in the request with principal '{named}'"
        )),
        Some(_) => Ok(()),
    }
}

fn reservation_role(resource: &Resource, framework: &FrameworkInfo) -> Result<(), String> {
    let reserved = resource.reservation_role().unwrap_or("*");
    let Some(allocated) = resource.allocation_role() else {
        return Err(format!(
            "A reserve operation was attempted on unallocated resource {resource}, but frameworks \
             can only perform reservations on allocated resources"
        ));
    };
    if allocated != reserved {
        return Err(format!(
            "A reserve operation was attempted for a resource with role '{reserved}', but the \
             resource was allocated to role '{allocated}'"
        ));
    }
    let own = roles(framework);
    if !own.contains(reserved) {
        let own: Vec<&str> = own.iter().map(String::as_str).collect();
        return Err(format!(
            "A reserve operation was attempted for a resource with role '{reserved}', but the \
             framework can only reserve resources with roles '{{ {} }}'",
            own.join(", ")
        ));
    }
    Ok(())
}

/// `UNRESERVE`.
pub(crate) fn unreserve(operation: &Unreserve) -> Result<(), String> {
    for resource in valid(&operation.resources)?.iter() {
        if !resource.is_dynamically_reserved() {
            return Err(format!("Resource {resource} is not dynamically reserved"));
        }
        if resource.is_persistent_volume() {
            return Err(format!(
                "A dynamically reserved persistent volume {resource} cannot be unreserved directly. \
                 Please destroy the persistent volume first then unreserve the resource"
            ));
        }
    }
    Ok(())
}

/// `CREATE`.
pub(crate) fn create(operation: &Create, agent: &Agent, asker: Asker<'_>) -> Result<(), String> {
    let parsed = valid(&operation.volumes)?;
    volumes(&operation.volumes)?;
    unique_persistence_ids(&(&agent.checkpointed + &parsed.unallocated()))?;
    for volume in parsed.iter() {
        if let Some(framework) = asker.framework
            && volume.is_shared()
            && !FrameworkCapabilities::of(framework).shared_resources
        {
            return Err(format!(
                "Create volume operation for '{volume}' has been attempted by framework '{}' with \
                 no SHARED_RESOURCES capability",
                framework.id.as_ref().map(|id| id.value.as_str()).unwrap_or_default()
            ));
        }
        expressible(volume, agent, "created")?;
        volume_principal(volume, asker.principal)?;
    }
    if asker.framework.is_some() {
        single_allocation_role(&parsed)
            .map_err(|error| format!("Invalid volume resources: {error}"))?;
    }
    Ok(())
}

fn volume_principal(volume: &Resource, principal: Option<&str>) -> Result<(), String> {
    let Some(principal) = principal else {
        return Ok(());
    };
    let named = volume
        .disk()
        .and_then(|disk| disk.persistence.as_ref())
        .and_then(|persistence| persistence.principal.as_deref());
    match named {
        None => Err(format!(
            "Create volume operation attempted by principal '{principal}', but there is a volume in \
             the operation with no principal set in 'disk.persistence'"
        )),
        Some(named) if named != principal => Err(format!(
            "Create volume operation attempted by authenticated principal '{principal}', which does \
             not match a volume in the operation with principal '{named}' set in 'disk.persistence'"
        )),
        Some(_) => Ok(()),
    }
}

/// `DESTROY`. A volume in use stays.
pub(crate) fn destroy(operation: &Destroy, agent: &Agent) -> Result<(), String> {
    let parsed = valid(&operation.volumes)?.unallocated();
    volumes(&operation.volumes)?;
    let used = agent.used().unallocated();
    for volume in parsed.iter() {
        if !agent.checkpointed.contains_one(volume) {
            return Err("Persistent volumes not found".to_owned());
        }
        if used.contains_one(volume) {
            return Err("Persistent volumes in use".to_owned());
        }
    }
    Ok(())
}

fn valid(list: &[WireResource]) -> Result<Resources, String> {
    let parsed = resources(list).map_err(|error| format!("Invalid resources: {error}"))?;
    if parsed.iter().any(|resource| resource.provider_id().is_some()) {
        return Err("Operations on resources of resource providers are not supported".to_owned());
    }
    Ok(parsed)
}

fn volumes(list: &[WireResource]) -> Result<(), String> {
    for resource in list {
        let invalid = |text: &str| Err(format!("Not a persistent volume: {text}"));
        let Some(disk) = &resource.disk else {
            return invalid(&format!("Resource {} does not have DiskInfo", resource.name));
        };
        if disk.persistence.is_none() {
            return invalid("'persistence' is not set in DiskInfo");
        }
        match &disk.volume {
            None => return invalid("Expecting 'volume' to be set for persistent volume"),
            Some(volume) if volume.mode == Mode::Ro => {
                return invalid("Read-only persistent volume not supported");
            }
            Some(_) => {}
        }
    }
    Ok(())
}

/// An agent that does not know a form of reservation cannot keep it.
fn expressible(resource: &Resource, agent: &Agent, done: &str) -> Result<(), String> {
    let role = resource.reservation_role().unwrap_or("*");
    if !agent.capabilities.hierarchical_role && role.contains('/') {
        return Err(format!(
            "Resource {resource} with reservation for hierarchical role '{role}' cannot be {done} on \
             an agent without HIERARCHICAL_ROLE capability"
        ));
    }
    if !agent.capabilities.reservation_refinement && resource.has_refined_reservations() {
        return Err(format!(
            "Resource {resource} with reservation refinement cannot be {done} on an agent without \
             RESERVATION_REFINEMENT capability"
        ));
    }
    Ok(())
}

/// Any operation that converts resources.
pub(crate) fn any(operation: &Operation, agent: &Agent, asker: Asker<'_>) -> Result<(), String> {
    if let Some(it) = &operation.reserve {
        reserve(it, agent, asker)?;
    }
    if let Some(it) = &operation.unreserve {
        unreserve(it)?;
    }
    if let Some(it) = &operation.create {
        create(it, agent, asker)?;
    }
    if let Some(it) = &operation.destroy {
        destroy(it, agent)?;
    }
    Ok(())
}
