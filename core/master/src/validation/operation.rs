//! Reservations and volumes, before they are made.

use protocol::causes::with_causes;
use protocol::mesos::offer::Operation;
use protocol::mesos::offer::operation::{
    Create, Destroy, GrowVolume, Reserve, ShrinkVolume, Unreserve,
};
use protocol::mesos::resource::disk_info::source::Type as SourceType;
use protocol::mesos::volume::Mode;
use protocol::mesos::{FrameworkInfo, Resource as WireResource};
use resources::{Quantity, Resource, Resources};

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
    let parsed =
        resources(&operation.resources).map_err(|error| format!("Invalid resources: {error}"))?;
    if !operation.source.is_empty() {
        from_source(&operation.source, &operation.resources, &parsed)?;
    }
    one_provider(&operation.resources)?;
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

/// A reservation that replaces another: each side under one stack of reservations, and the same
/// amounts on both.
fn from_source(
    source: &[WireResource],
    target: &[WireResource],
    parsed_target: &Resources,
) -> Result<(), String> {
    let parsed = resources(source).map_err(|error| format!("Invalid source: {error}"))?;
    one_stack(source, &parsed).map_err(|error| format!("Invalid source: {error}"))?;
    one_stack(target, parsed_target).map_err(|error| format!("Invalid resources: {error}"))?;
    one_provider(source)?;
    let (have, want) = (parsed.to_unreserved(), parsed_target.to_unreserved());
    if have != want {
        return Err(format!(
            "Source and target resources should refer to identical resource quantities: {have} vs. \
             {want}"
        ));
    }
    Ok(())
}

fn one_stack(list: &[WireResource], parsed: &Resources) -> Result<(), String> {
    let Some(first) = list.first() else {
        return Err("Resource cannot be empty".to_owned());
    };
    if list.iter().any(|resource| resource.reservations != first.reservations) {
        return Err(format!("Mixed reservations are not supported{parsed}"));
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
    if !own.contains(allocated) {
        let own: Vec<&str> = own.iter().map(String::as_str).collect();
        return Err(format!(
            "A reserve operation was attempted for a resource allocated to role '{allocated}', but \
             the framework only has roles '{{ {} }}'",
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
    volumes(&operation.volumes).map_err(|error| format!("Not a persistent volume: {error}"))?;
    unique_persistence_ids(&(&agent.checkpointed + &parsed.unallocated()))?;
    new_persistence_ids(&agent.checkpointed, &parsed)?;
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

/// A volume that is there already is the same however it is described, so that it is not another one
/// with the same id; yet it cannot be made again.
fn new_persistence_ids(checkpointed: &Resources, volumes: &Resources) -> Result<(), String> {
    let known = checkpointed.persistent_volumes();
    for volume in volumes.iter() {
        let is_same = |other: &Resource| {
            other.reservation_role() == volume.reservation_role()
                && other.persistence_id() == volume.persistence_id()
        };
        if volume.copies() > 1 || known.iter().any(is_same) {
            let id = volume.persistence_id().unwrap_or_default();
            return Err(format!("Persistence ID '{id}' is not unique"));
        }
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
    volumes(&operation.volumes).map_err(|error| format!("Not a persistent volume: {error}"))?;
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

/// `GROW_VOLUME`: a volume of the agent's own disk that nobody shares, and more of the same disk.
pub(crate) fn grow_volume(operation: &GrowVolume, agent: &Agent) -> Result<(), String> {
    let volume = one("GrowVolume.volume", &operation.volume)?;
    let addition = one("GrowVolume.addition", &operation.addition)?;
    if addition.value().scalar().is_none_or(|more| more.is_zero()) {
        return Err("The size of 'GrowVolume.addition' field must be greater than zero".to_owned());
    }
    if volume.provider_id().is_some() {
        return Err("Growing a volume from a resource provider is not supported".to_owned());
    }
    volumes(std::slice::from_ref(&operation.volume)).map_err(|error| {
        format!("Invalid persistent volume in the 'GrowVolume.volume' field: {error}")
    })?;
    if volume.is_shared() {
        return Err("Growing a shared persistent volume is not supported".to_owned());
    }
    if (Resources::from(volume.clone().without_volume()) + Resources::from(addition)).len() != 1 {
        return Err("Incompatible resources in the 'GrowVolume.volume' and 'GrowVolume.addition' \
                    fields"
            .to_owned());
    }
    if !agent.capabilities.resize_volume {
        return Err(format!(
            "Volume {volume} cannot be grown on an agent without RESIZE_VOLUME capability"
        ));
    }
    Ok(())
}

/// `SHRINK_VOLUME`: something must be left of the volume.
pub(crate) fn shrink_volume(operation: &ShrinkVolume, agent: &Agent) -> Result<(), String> {
    let volume = one("ShrinkVolume.volume", &operation.volume)?;
    let subtract = Quantity::from_f64(operation.subtract.value).unwrap_or(Quantity::ZERO);
    if subtract.is_zero() {
        return Err("Value of 'ShrinkVolume.subtract' must be greater than zero".to_owned());
    }
    if volume.value().scalar().is_none_or(|size| size <= subtract) {
        return Err("Value of 'ShrinkVolume.subtract' must be smaller than the size of \
                    'ShrinkVolume.volume'"
            .to_owned());
    }
    if volume.provider_id().is_some() {
        return Err("Shrinking a volume from a resource provider is not supported".to_owned());
    }
    if volume.disk_source().is_some_and(|source| source.r#type == SourceType::Mount) {
        return Err("Shrinking a volume on a MOUNT disk is not supported".to_owned());
    }
    volumes(std::slice::from_ref(&operation.volume)).map_err(|error| {
        format!("Invalid persistent volume in the 'ShrinkVolume.volume' field: {error}")
    })?;
    if volume.is_shared() {
        return Err("Shrinking a shared persistent volume is not supported".to_owned());
    }
    if !agent.capabilities.resize_volume {
        return Err(format!(
            "Volume {volume} cannot be shrunk on an agent without RESIZE_VOLUME capability"
        ));
    }
    Ok(())
}

fn one(field: &str, wire: &WireResource) -> Result<Resource, String> {
    Resource::from_wire(wire).map_err(|error| {
        format!("Invalid resource in the '{field}' field: {}", with_causes(&error))
    })
}

fn valid(list: &[WireResource]) -> Result<Resources, String> {
    let parsed = resources(list).map_err(|error| format!("Invalid resources: {error}"))?;
    one_provider(list)?;
    Ok(parsed)
}

/// All resources of an operation are of one provider; here that is the agent itself.
fn one_provider(list: &[WireResource]) -> Result<(), String> {
    let providers: std::collections::BTreeSet<Option<&str>> = list
        .iter()
        .map(|resource| resource.provider_id.as_ref().map(|id| id.value.as_str()))
        .collect();
    if providers.len() == 1 && providers.contains(&None) {
        return Ok(());
    }
    if providers.len() == 1 {
        return Err("Operations on resources of resource providers are not supported".to_owned());
    }
    if providers.contains(&None) {
        return Err(
            "Invalid resources: Some resources have a resource provider and some do not".to_owned()
        );
    }
    // None at all are refused in the same words, as in Mesos.
    let names: Vec<&str> = providers.into_iter().flatten().collect();
    Err(format!(
        "Invalid resources: The resources have multiple resource providers: {}",
        names.join(", ")
    ))
}

fn volumes(list: &[WireResource]) -> Result<(), String> {
    for resource in list {
        let Some(disk) = &resource.disk else {
            return Err(match Resource::from_wire(resource) {
                Ok(resource) => format!("Resource {resource} does not have DiskInfo"),
                Err(_) => format!("Resource {} does not have DiskInfo", resource.name),
            });
        };
        if disk.persistence.is_none() {
            return Err("'persistence' is not set in DiskInfo".to_owned());
        }
        match &disk.volume {
            None => return Err("Expecting 'volume' to be set for persistent volume".to_owned()),
            Some(volume) if volume.mode == Mode::Ro => {
                return Err("Read-only persistent volume not supported".to_owned());
            }
            Some(_) => {}
        }
    }
    Ok(())
}

/// An agent that does not know a form of reservation cannot keep it.
fn expressible(resource: &Resource, agent: &Agent, done: &str) -> Result<(), String> {
    let role = resource.reservation_role().unwrap_or("*");
    let what = if done == "created" { "Volume" } else { "Resource" };
    if !agent.capabilities.hierarchical_role && role.contains('/') {
        return Err(format!(
            "{what} {resource} with reservation for hierarchical role '{role}' cannot be {done} on \
             an agent without HIERARCHICAL_ROLE capability"
        ));
    }
    if !agent.capabilities.reservation_refinement && resource.has_refined_reservations() {
        return Err(format!(
            "{what} {resource} with reservation refinement cannot be {done} on an agent without \
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
    if let Some(it) = &operation.grow_volume {
        grow_volume(it, agent)?;
    }
    if let Some(it) = &operation.shrink_volume {
        shrink_volume(it, agent)?;
    }
    Ok(())
}
