use std::sync::Arc;

use protocol::mesos;
use protocol::mesos::offer::Operation;
use protocol::mesos::offer::operation::Type;

use crate::reservation::{Reservation, ReservationKind};
use crate::wire::{InvalidResource, ResourceError};
use crate::{Quantity, Resource, Resources, Value};

/// Why an operation cannot be applied.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum OperationError {
    #[error("Unknown offer operation")]
    Unknown,
    #[error("Operation {0:?} does not convert resources known to the agent itself")]
    NotSupported(Type),
    #[error("A {operation} offer operation must have the Offer.Operation.{field} field set.")]
    MissingField { operation: &'static str, field: &'static str },
    #[error("{0} contains an invalid resource")]
    Invalid(&'static str, #[source] ResourceError),
    #[error("{field} contains the invalid resource '{name}'")]
    InvalidOne {
        field: &'static str,
        name: String,
        #[source]
        source: InvalidResource,
    },
    #[error("Resource {0} is not dynamically reserved")]
    NotDynamicallyReserved(String),
    #[error("Resource {0} is a persistent volume and cannot be unreserved")]
    VolumeUnreserved(String),
    #[error("Resource {0} is not a persistent volume")]
    NotAVolume(String),
    #[error("The source {source_resources} of a reservation differs from its resources {reserved}")]
    SourceMismatch { source_resources: String, reserved: String },
    #[error("Operation not supported for resource provider")]
    ResourceProvider,
    #[error("Persistent volume {0} cannot be resized: it is shared or on an exclusive disk")]
    NotResizable(String),
    #[error("Resource {addition} cannot be added to persistent volume {volume}")]
    NotAddable { volume: String, addition: String },
    #[error("{subtract} cannot be subtracted from persistent volume {volume}")]
    NotSubtractable { volume: String, subtract: String },
    #[error("{have} does not contain {wanted}")]
    NotContained { have: String, wanted: String },
    #[error("Persistent volume {0} cannot be removed due to additional shared copies")]
    SharedCopies(String),
}

/// What an operation takes from some resources, and what it puts there instead. The amounts of
/// both are the same.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Conversion {
    pub consumed: Resources,
    pub converted: Resources,
    /// A volume that must be gone afterwards, shared copies included.
    gone: Option<Resource>,
}

impl Conversion {
    fn new(consumed: Resources, converted: Resources) -> Self {
        Self { consumed, converted, gone: None }
    }

    /// The same conversion for resources that are allocated to the role.
    #[must_use]
    pub fn allocated_to(&self, role: &str) -> Self {
        self.map(|resources| resources.allocated_to(role))
    }

    /// The same conversion for resources that are not allocated, such as the total of an agent.
    #[must_use]
    pub fn unallocated(&self) -> Self {
        self.map(Resources::unallocated)
    }

    fn map(&self, change: impl Fn(&Resources) -> Resources) -> Self {
        let gone = self.gone.clone().map(Resources::from).map(|gone| change(&gone));
        Self {
            consumed: change(&self.consumed),
            converted: change(&self.converted),
            gone: gone.and_then(|gone| gone.into_iter().next()),
        }
    }
}

/// What an operation does to resources, step by step. LAUNCH, LAUNCH_GROUP, CREATE_DISK and
/// DESTROY_DISK are no conversions that are known beforehand.
///
/// # Errors
/// The operation lacks its field, a resource in it is invalid, or not of the kind the operation
/// is for.
pub fn conversions(operation: &Operation) -> Result<Vec<Conversion>, OperationError> {
    let missing = |operation, field| OperationError::MissingField { operation, field };
    match operation.r#type.unwrap_or(Type::Unknown) {
        Type::Reserve => {
            let reserve = operation.reserve.as_ref().ok_or(missing("RESERVE", "reserve"))?;
            reserve_conversions(&reserve.source, &reserve.resources)
        }
        Type::Unreserve => {
            let unreserve =
                operation.unreserve.as_ref().ok_or(missing("UNRESERVE", "unreserve"))?;
            each(&unreserve.resources, "unreserve.resources", unreserve_one)
        }
        Type::Create => {
            let create = operation.create.as_ref().ok_or(missing("CREATE", "create"))?;
            each(&create.volumes, "create.volumes", create_one)
        }
        Type::Destroy => {
            let destroy = operation.destroy.as_ref().ok_or(missing("DESTROY", "destroy"))?;
            each(&destroy.volumes, "destroy.volumes", destroy_one)
        }
        Type::GrowVolume => {
            let grow =
                operation.grow_volume.as_ref().ok_or(missing("GROW_VOLUME", "grow_volume"))?;
            Ok(vec![grow_volume(&grow.volume, &grow.addition)?])
        }
        Type::ShrinkVolume => {
            let shrink = operation
                .shrink_volume
                .as_ref()
                .ok_or(missing("SHRINK_VOLUME", "shrink_volume"))?;
            Ok(vec![shrink_volume(&shrink.volume, shrink.subtract.value)?])
        }
        Type::Unknown => Err(OperationError::Unknown),
        other @ (Type::Launch | Type::LaunchGroup | Type::CreateDisk | Type::DestroyDisk) => {
            Err(OperationError::NotSupported(other))
        }
    }
}

fn reserve_conversions(
    source: &[mesos::Resource],
    resources: &[mesos::Resource],
) -> Result<Vec<Conversion>, OperationError> {
    let read = |field, wire| {
        Resources::from_wire(wire).map_err(|error| OperationError::Invalid(field, error))
    };
    let reserved = read("reserve.resources", resources)?;
    if let Some(wrong) = reserved.iter().find(|resource| !resource.is_dynamically_reserved()) {
        return Err(OperationError::NotDynamicallyReserved(wrong.to_string()));
    }
    if source.is_empty() {
        let Some(consumed) = reserved.pop_reservation() else { return Ok(Vec::new()) };
        return Ok(vec![Conversion::new(consumed, reserved)]);
    }
    let consumed = read("reserve.source", source)?;
    if consumed.to_unreserved() != reserved.to_unreserved() {
        let (source_resources, reserved) = (consumed.to_string(), reserved.to_string());
        return Err(OperationError::SourceMismatch { source_resources, reserved });
    }
    Ok(vec![Conversion::new(consumed, reserved)])
}

fn each(
    wire: &[mesos::Resource],
    field: &'static str,
    convert: impl Fn(&Resource) -> Result<Conversion, OperationError>,
) -> Result<Vec<Conversion>, OperationError> {
    wire.iter().map(|wire| convert(&read_one(field, wire)?)).collect()
}

fn read_one(field: &'static str, wire: &mesos::Resource) -> Result<Resource, OperationError> {
    Resource::from_wire(wire).map_err(|source| OperationError::InvalidOne {
        field,
        name: wire.name.clone(),
        source,
    })
}

fn unreserve_one(resource: &Resource) -> Result<Conversion, OperationError> {
    if resource.is_persistent_volume() {
        return Err(OperationError::VolumeUnreserved(resource.to_string()));
    }
    let reserved = Resources::from(resource.clone());
    match reserved.pop_reservation() {
        Some(converted) if resource.is_dynamically_reserved() => {
            Ok(Conversion::new(reserved, converted))
        }
        Some(_) | None => Err(OperationError::NotDynamicallyReserved(resource.to_string())),
    }
}

fn create_one(volume: &Resource) -> Result<Conversion, OperationError> {
    check_volume(volume)?;
    Ok(Conversion::new(volume.clone().without_volume().into(), volume.clone().into()))
}

fn destroy_one(volume: &Resource) -> Result<Conversion, OperationError> {
    check_volume(volume)?;
    let converted = volume.clone().without_volume().into();
    let conversion = Conversion::new(volume.clone().into(), converted);
    Ok(Conversion { gone: Some(volume.clone()), ..conversion })
}

fn check_volume(resource: &Resource) -> Result<(), OperationError> {
    if resource.is_persistent_volume() {
        return Ok(());
    }
    Err(OperationError::NotAVolume(resource.to_string()))
}

/// Volumes are resized on disks that can be shared out only.
fn resizable(volume: &Resource) -> Result<Quantity, OperationError> {
    check_volume(volume)?;
    if volume.provider_id().is_some() {
        return Err(OperationError::ResourceProvider);
    }
    match volume.value().scalar() {
        Some(size) if !volume.is_shared() && !volume.clone().without_volume().is_indivisible() => {
            Ok(size)
        }
        Some(_) | None => Err(OperationError::NotResizable(volume.to_string())),
    }
}

fn grow_volume(
    volume: &mesos::Resource,
    addition: &mesos::Resource,
) -> Result<Conversion, OperationError> {
    let volume = read_one("grow_volume.volume", volume)?;
    let addition = read_one("grow_volume.addition", addition)?;
    let size = resizable(&volume)?;
    let mergeable = volume.clone().without_volume().order(&addition).is_eq();
    let grown = addition.value().scalar().and_then(|more| size.checked_add(more));
    let (true, Some(grown)) = (mergeable, grown) else {
        let (volume, addition) = (volume.to_string(), addition.to_string());
        return Err(OperationError::NotAddable { volume, addition });
    };
    let converted = Resource { value: Value::Scalar(grown), ..volume.clone() };
    Ok(Conversion::new([volume, addition].into_iter().collect(), converted.into()))
}

fn shrink_volume(volume: &mesos::Resource, subtract: f64) -> Result<Conversion, OperationError> {
    let volume = read_one("shrink_volume.volume", volume)?;
    let size = resizable(&volume)?;
    let freed = Quantity::from_f64(subtract).filter(|freed| !freed.is_zero() && *freed < size);
    let Some((freed, rest)) = freed.and_then(|freed| Some((freed, size.checked_sub(freed)?)))
    else {
        let (volume, subtract) = (volume.to_string(), subtract.to_string());
        return Err(OperationError::NotSubtractable { volume, subtract });
    };
    let shrunk = Resource { value: Value::Scalar(rest), ..volume.clone() };
    let freed = Resource { value: Value::Scalar(freed), ..volume.clone() }.without_volume();
    Ok(Conversion::new(volume.into(), [shrunk, freed].into_iter().collect()))
}

impl Resources {
    /// What these resources become by an operation.
    ///
    /// # Errors
    /// The operation is invalid, or the resources do not contain what it needs.
    pub fn apply_operation(&self, operation: &Operation) -> Result<Self, OperationError> {
        let mut result = self.clone();
        for conversion in conversions(operation)? {
            result.apply(&conversion)?;
        }
        Ok(result)
    }

    /// Carries out a conversion; nothing is changed on error.
    ///
    /// # Errors
    /// The resources do not contain what is consumed, or a volume to be destroyed has other
    /// users.
    pub fn apply(&mut self, conversion: &Conversion) -> Result<(), OperationError> {
        if !self.checked_sub_assign(&conversion.consumed) {
            let (have, wanted) = (self.to_string(), conversion.consumed.to_string());
            return Err(OperationError::NotContained { have, wanted });
        }
        if let Some(volume) = conversion.gone.as_ref().filter(|it| self.contains_one(it)) {
            let error = OperationError::SharedCopies(volume.to_string());
            *self += &conversion.consumed;
            return Err(error);
        }
        *self += &conversion.converted;
        Ok(())
    }

    /// Finds again, in the resources an agent was started with, the reservations and volumes it
    /// has checkpointed. These resources must not have them yet.
    ///
    /// # Errors
    /// The agent no longer has what was reserved or made a volume.
    pub fn apply_checkpointed(&self, checkpointed: &Self) -> Result<Self, OperationError> {
        let mut total = self.clone();
        for resource in checkpointed {
            let outermost = resource.reservations().first();
            let fixed = outermost.filter(|it| it.kind == ReservationKind::Static).cloned();
            let fixed: Arc<[Reservation]> = fixed.into_iter().collect();
            let mut plain = resource.clone().without_volume();
            if resource.is_dynamically_reserved() {
                plain = plain.with_reservations(fixed);
            }
            total.apply(&Conversion::new(plain.into(), resource.clone().into()))?;
        }
        Ok(total)
    }
}

#[cfg(test)]
mod tests;
