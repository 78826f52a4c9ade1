mod format;
mod quantities;
mod validate;

use std::sync::Arc;

use protocol::mesos;
use protocol::mesos::resource::ReservationInfo;
use protocol::mesos::value::Type;

pub use format::{downgrade, upgrade};
pub use quantities::InvalidQuantity;
pub use validate::InvalidResource;
pub(crate) use validate::check_refinement;

use crate::reservation::{Reservation, ReservationKind};
use crate::resource::Key;
use crate::{Resource, Resources, Value, role};

/// A resource from outside is refused. Says which of them and why.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("Resource '{name}' (number {index} of the list) is invalid")]
pub struct ResourceError {
    /// The position in the list, from zero.
    pub index: usize,
    pub name: String,
    #[source]
    pub reason: InvalidResource,
}

/// A resource has refined reservations, which the older format cannot express.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("Cannot downgrade resources containing refined reservations: '{name}'")]
pub struct CannotDowngrade {
    pub name: String,
}

impl Resource {
    /// Reads a resource in either reservation format; an empty one is valid.
    ///
    /// # Errors
    /// What `Resources::validate` of Mesos refuses, in the same words.
    pub fn from_wire(wire: &mesos::Resource) -> Result<Self, InvalidResource> {
        Self::read(wire, None)
    }

    /// Reads a resource; `neighbour` may be allocated to the same role, which both share then.
    fn read(wire: &mesos::Resource, neighbour: Option<&Self>) -> Result<Self, InvalidResource> {
        let (value, reservations) = validate::all(wire)?;
        let role = wire.allocation_info.as_ref().and_then(|info| info.role.as_deref());
        let shared = neighbour.and_then(|it| it.allocation.as_ref());
        let shared = shared.filter(|it| role == Some(it.as_ref()));
        let allocation = shared.cloned().or_else(|| role.map(Arc::from));
        let is_plain = reservations.is_empty()
            && wire.disk.is_none()
            && wire.provider_id.is_none()
            && wire.revocable.is_none()
            && wire.shared.is_none()
            && wire.unknown.is_empty();
        if is_plain && let Some(key) = Key::everyday(&wire.name, value.kind()) {
            return Ok(Self { key, allocation, value, copies: 1 });
        }
        let key = Key {
            reservations: Arc::from(reservations),
            disk: wire.disk.as_deref().map(|disk| Arc::new(disk.clone())),
            provider_id: wire.provider_id.as_ref().map(|id| Arc::from(id.value.as_str())),
            revocable: wire.revocable.is_some(),
            shared: wire.shared.is_some(),
            unknown: wire.unknown.clone(),
            ..Key::new(&wire.name, value.kind())
        };
        Ok(Self { allocation, ..Self::from_key(key, value) })
    }

    /// Writes the resource once, with its stack of reservations, as peers with
    /// RESERVATION_REFINEMENT expect it.
    #[must_use]
    pub fn to_wire(&self) -> mesos::Resource {
        let mut wire = self.to_wire_without_reservations();
        wire.reservations = self.reservations().iter().map(Reservation::to_wire).collect();
        wire
    }

    /// Whether `wire`, from which this resource was read, is plainly what [`Resource::to_wire`] gives. It
    /// may be so although the answer is no.
    #[must_use]
    pub fn is_written_as(&self, wire: &mesos::Resource) -> bool {
        let is_exact = match (&self.value, &wire.scalar) {
            (Value::Scalar(quantity), Some(scalar)) => {
                scalar.unknown.is_empty() && scalar.value.to_bits() == quantity.to_f64().to_bits()
            }
            (Value::Scalar(_) | Value::Ranges(_) | Value::Set(_), _) => false,
        };
        let is_bare = wire.role.is_none()
            && wire.reservation.is_none()
            && wire.reservations.is_empty()
            && wire.disk.is_none()
            && wire.provider_id.is_none()
            && wire.revocable.is_none()
            && wire.shared.is_none();
        let is_clean = wire.allocation_info.as_ref().is_none_or(|info| info.unknown.is_empty());
        is_exact && is_bare && is_clean
    }

    /// Writes the resource once in the older format: `role`, and `reservation` for a dynamic
    /// reservation.
    ///
    /// # Errors
    /// There is more than one reservation.
    pub fn to_wire_pre_refinement(&self) -> Result<mesos::Resource, CannotDowngrade> {
        if self.has_refined_reservations() {
            return Err(CannotDowngrade { name: self.name().to_owned() });
        }
        let mut wire = self.to_wire_without_reservations();
        self.write_old_fields(&mut wire);
        Ok(wire)
    }

    /// Writes the resource as the operator endpoints show it: both formats at once where the
    /// older one can express the reservations.
    #[must_use]
    pub fn to_wire_endpoint(&self) -> mesos::Resource {
        let mut wire = self.to_wire();
        if !self.has_refined_reservations() {
            self.write_old_fields(&mut wire);
        }
        wire
    }

    fn write_old_fields(&self, wire: &mut mesos::Resource) {
        let Some(reservation) = self.reservations().last() else {
            wire.role = Some(role::UNRESERVED.to_owned());
            return;
        };
        wire.role = Some(reservation.role.clone());
        if reservation.kind == ReservationKind::Dynamic {
            let old = ReservationInfo { r#type: None, role: None, ..reservation.to_wire() };
            wire.reservation = Some(old);
        }
    }

    fn to_wire_without_reservations(&self) -> mesos::Resource {
        let mut wire = mesos::Resource {
            name: self.name().to_owned(),
            provider_id: self
                .provider_id()
                .map(|id| mesos::ResourceProviderId { value: id.to_owned(), ..Default::default() }),
            allocation_info: self.allocation_role().map(|role| mesos::resource::AllocationInfo {
                role: Some(role.to_owned()),
                ..Default::default()
            }),
            disk: self.disk().map(|disk| disk.clone().into()),
            revocable: self.is_revocable().then(Default::default),
            shared: self.is_shared().then(Default::default),
            unknown: self.key.unknown.clone(),
            ..Default::default()
        };
        match &self.value {
            Value::Scalar(quantity) => {
                wire.r#type = Type::Scalar;
                wire.scalar = Some(scalar_to_wire(quantity.to_f64()));
            }
            Value::Ranges(ranges) => {
                wire.r#type = Type::Ranges;
                wire.ranges = Some(ranges_to_wire(ranges));
            }
            Value::Set(set) => {
                wire.r#type = Type::Set;
                wire.set =
                    Some(mesos::value::Set { item: set.items().to_vec(), ..Default::default() });
            }
        }
        wire
    }
}

pub(crate) fn scalar_to_wire(value: f64) -> mesos::value::Scalar {
    mesos::value::Scalar { value, ..Default::default() }
}

pub(crate) fn ranges_to_wire(ranges: &crate::Ranges) -> mesos::value::Ranges {
    let range = ranges
        .intervals()
        .iter()
        .map(|&(begin, end)| mesos::value::Range { begin, end, ..Default::default() })
        .collect();
    mesos::value::Ranges { range, ..Default::default() }
}

impl Resources {
    /// Reads a list of resources in either reservation format. Equal ones are merged, empty ones
    /// dropped.
    ///
    /// # Errors
    /// The first resource that is invalid.
    pub fn from_wire(wire: &[mesos::Resource]) -> Result<Self, ResourceError> {
        let mut read: Vec<Resource> = Vec::with_capacity(wire.len());
        for (index, wire) in wire.iter().enumerate() {
            let resource = Resource::read(wire, read.last()).map_err(|reason| ResourceError {
                index,
                name: wire.name.clone(),
                reason,
            })?;
            read.push(resource);
        }
        Ok(Self::from_unsorted(read))
    }

    /// Writes every resource with its stack of reservations. A shared volume is written once,
    /// as Mesos does, however many use it.
    #[must_use]
    pub fn to_wire(&self) -> Vec<mesos::Resource> {
        self.written().map(Resource::to_wire).collect()
    }

    /// Writes the older format, for frameworks and peers without RESERVATION_REFINEMENT.
    ///
    /// # Errors
    /// A resource has more than one reservation.
    pub fn to_wire_pre_refinement(&self) -> Result<Vec<mesos::Resource>, CannotDowngrade> {
        self.written().map(Resource::to_wire_pre_refinement).collect()
    }

    /// Writes what the operator endpoints show; see [`Resource::to_wire_endpoint`].
    #[must_use]
    pub fn to_wire_endpoint(&self) -> Vec<mesos::Resource> {
        self.written().map(Resource::to_wire_endpoint).collect()
    }

    fn written(&self) -> impl Iterator<Item = &Resource> {
        self.iter().flat_map(|resource| {
            let times = if resource.is_shared() { 1 } else { resource.copies };
            std::iter::repeat_n(resource, usize::try_from(times).unwrap_or(usize::MAX))
        })
    }
}

#[cfg(test)]
mod tests;
