//! What makes a resource from the wire invalid, with the words Mesos has for it
//! (`Resources::validate` in `src/common/resources.cpp`).

use protocol::mesos;
use protocol::mesos::resource::ReservationInfo;
use protocol::mesos::resource::disk_info::source::Type as SourceType;
use protocol::mesos::resource::reservation_info::Type as ReservationType;
use protocol::mesos::value::Type;

use crate::reservation::{Reservation, ReservationKind};
use crate::role::{self, InvalidRole};
use crate::{Quantity, Ranges, Set, Value};

/// Why one resource is refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidResource {
    #[error("Empty resource name")]
    EmptyName,
    #[error("Unsupported resource type")]
    UnsupportedType,
    #[error("Invalid {0} resource")]
    WrongValue(&'static str),
    #[error("Invalid scalar resource: value <= 0")]
    NotPositive,
    #[error("Invalid scalar resource: value is not a finite number in range")]
    NotFinite,
    #[error("Invalid ranges resource: begin > end")]
    InvertedRange,
    #[error("Invalid ranges resource: overlapping ranges")]
    OverlappingRanges,
    #[error("Invalid set resource: duplicated elements")]
    DuplicatedElements,
    #[error("DiskInfo should not be set for {0} resource")]
    NotADisk(String),
    #[error("{field} should not be set for {source_type} disk source")]
    UnexpectedRoot { field: &'static str, source_type: &'static str },
    #[error("Unsupported 'DiskInfo.Source.Type'")]
    UnsupportedSource,
    #[error(transparent)]
    Role(#[from] InvalidRole),
    #[error("'Resource.ReservationInfo.{0}' must not be set for the 'Resource.reservation' field")]
    UnexpectedReservationField(&'static str),
    #[error("Invalid reservation: role \"*\" cannot be dynamically reserved")]
    UnreservedRoleDynamicallyReserved,
    #[error("Invalid reservation: 'Resource.ReservationInfo.{0}' field must be set.")]
    MissingReservationField(&'static str),
    #[error("Invalid reservation: role \"*\" cannot be reserved")]
    UnreservedRoleReserved,
    #[error("Unsupported 'Resource.ReservationInfo.Type'")]
    UnsupportedReservation,
    #[error("Invalid refined reservation: A refined reservation cannot be STATIC")]
    StaticRefinement,
    #[error("Invalid refined reservation: role '{descendant}' is not a refinement of '{ancestor}'")]
    NotARefinement { descendant: String, ancestor: String },
    #[error(
        "Invalid resource format: 'Resource.role' field with '{field}' does not match the role \
         '{reserved}' in 'Resource.reservations'"
    )]
    RoleMismatch { field: String, reserved: String },
    #[error(
        "Invalid resource format: 'Resource.reservation' must not be set if the single \
         reservation in 'Resource.reservations' is STATIC"
    )]
    ReservationFieldForStatic,
    #[error(
        "Invalid resource format: 'Resource.role' and 'Resource.reservation' must either be both \
         set or both not set if the single reservation in 'Resource.reservations' is DYNAMIC"
    )]
    HalfOldFormat,
    #[error(
        "Invalid resource format: 'Resource.reservation.{0}' field does not match the {0} in \
         'Resource.reservations'"
    )]
    ReservationMismatch(&'static str),
    #[error(
        "Invalid resource format: 'Resource.{0}' must not be set if there is more than one \
         reservation in 'Resource.reservations'"
    )]
    OldFieldForRefined(&'static str),
    #[error("Resource {0} cannot be shared")]
    NotShareable(String),
    #[error("Only persistent volumes can be shared")]
    SharedWithoutVolume,
}

/// Checks everything there is to check; gives the value and the stack of reservations.
pub(super) fn all(
    resource: &mesos::Resource,
) -> Result<(Value, Vec<Reservation>), InvalidResource> {
    if resource.name.is_empty() {
        return Err(InvalidResource::EmptyName);
    }
    let value = value(resource)?;
    check_disk(resource)?;
    Ok((value, reservations(resource)?))
}

/// Reads the value, checking that exactly the field of the declared type is there.
fn value(resource: &mesos::Resource) -> Result<Value, InvalidResource> {
    match (resource.r#type, &resource.scalar, &resource.ranges, &resource.set) {
        (Type::Scalar, Some(scalar), None, None) => scalar_value(scalar.value),
        (Type::Ranges, None, Some(ranges), None) => ranges_value(ranges),
        (Type::Set, None, None, Some(set)) => {
            let distinct: Set = set.item.iter().cloned().collect();
            if distinct.len() < set.item.len() {
                return Err(InvalidResource::DuplicatedElements);
            }
            Ok(Value::Set(distinct))
        }
        (Type::Scalar, ..) => Err(InvalidResource::WrongValue("scalar")),
        (Type::Ranges, ..) => Err(InvalidResource::WrongValue("ranges")),
        (Type::Set, ..) => Err(InvalidResource::WrongValue("set")),
        (Type::Text, ..) => Err(InvalidResource::UnsupportedType),
    }
}

/// Zero is an amount; what is not zero but rounds to it is an error.
fn scalar_value(number: f64) -> Result<Value, InvalidResource> {
    if number.is_nan() || number == f64::INFINITY {
        return Err(InvalidResource::NotFinite);
    }
    if number < 0.0 {
        return Err(InvalidResource::NotPositive);
    }
    let quantity = Quantity::from_f64(number).ok_or(InvalidResource::NotFinite)?;
    if quantity.is_zero() && number > 0.0 {
        return Err(InvalidResource::NotPositive);
    }
    Ok(Value::Scalar(quantity))
}

fn ranges_value(wire: &mesos::value::Ranges) -> Result<Value, InvalidResource> {
    let mut intervals: Vec<_> = wire.range.iter().map(|range| (range.begin, range.end)).collect();
    intervals.sort_unstable();
    let ranges =
        Ranges::new(intervals.iter().copied()).map_err(|_| InvalidResource::InvertedRange)?;
    if intervals.windows(2).any(|pair| pair[1].0 <= pair[0].1) {
        return Err(InvalidResource::OverlappingRanges);
    }
    Ok(Value::Ranges(ranges))
}

fn check_disk(resource: &mesos::Resource) -> Result<(), InvalidResource> {
    let has_volume = resource.disk.as_ref().is_some_and(|disk| disk.persistence.is_some());
    if resource.shared.is_some() {
        if resource.name != "disk" {
            return Err(InvalidResource::NotShareable(resource.name.clone()));
        }
        if !has_volume {
            return Err(InvalidResource::SharedWithoutVolume);
        }
    }
    let Some(disk) = &resource.disk else { return Ok(()) };
    if resource.name != "disk" {
        return Err(InvalidResource::NotADisk(resource.name.clone()));
    }
    let Some(source) = &disk.source else { return Ok(()) };
    let source_type = match source.r#type {
        SourceType::Path | SourceType::Mount => return Ok(()),
        SourceType::Block => "BLOCK",
        SourceType::Raw => "RAW",
        SourceType::Unknown => return Err(InvalidResource::UnsupportedSource),
    };
    if source.mount.is_some() {
        return Err(InvalidResource::UnexpectedRoot { field: "Mount", source_type });
    }
    if source.path.is_some() {
        return Err(InvalidResource::UnexpectedRoot { field: "Path", source_type });
    }
    Ok(())
}

/// Reads the reservations from either format: the `reservations` stack, or the older fields
/// `role` and `reservation`.
fn reservations(resource: &mesos::Resource) -> Result<Vec<Reservation>, InvalidResource> {
    if resource.reservations.is_empty() {
        return Ok(old_reservation(resource)?.into_iter().collect());
    }
    let stack: Vec<_> =
        resource.reservations.iter().map(one_reservation).collect::<Result<_, _>>()?;
    check_refinement(&stack)?;
    if let [single] = stack.as_slice() {
        check_old_fields(resource, single)?;
    } else if resource.role.is_some() {
        return Err(InvalidResource::OldFieldForRefined("role"));
    } else if resource.reservation.is_some() {
        return Err(InvalidResource::OldFieldForRefined("reservation"));
    }
    Ok(stack)
}

fn old_reservation(resource: &mesos::Resource) -> Result<Option<Reservation>, InvalidResource> {
    let role = resource.role.as_deref().unwrap_or(role::UNRESERVED);
    role::validate(role)?;
    let Some(reservation) = &resource.reservation else {
        return Ok((role != role::UNRESERVED).then(|| Reservation::fixed(role)));
    };
    if reservation.r#type.is_some() {
        return Err(InvalidResource::UnexpectedReservationField("type"));
    }
    if reservation.role.is_some() {
        return Err(InvalidResource::UnexpectedReservationField("role"));
    }
    if role == role::UNRESERVED {
        return Err(InvalidResource::UnreservedRoleDynamicallyReserved);
    }
    let mut info: ReservationInfo = reservation.clone();
    info.role = Some(role.to_owned());
    info.r#type = Some(ReservationType::Dynamic);
    one_reservation(&info).map(Some)
}

fn one_reservation(info: &ReservationInfo) -> Result<Reservation, InvalidResource> {
    match info.r#type {
        None => return Err(InvalidResource::MissingReservationField("type")),
        Some(ReservationType::Unknown) => return Err(InvalidResource::UnsupportedReservation),
        Some(ReservationType::Static | ReservationType::Dynamic) => {}
    }
    Reservation::from_wire(info).ok_or(InvalidResource::MissingReservationField("role"))
}

/// Checks a stack of reservations: valid roles, each below the one before, and none but the
/// first made by the agent's flags.
pub(crate) fn check_refinement(stack: &[Reservation]) -> Result<(), InvalidResource> {
    for reservation in stack {
        role::validate(&reservation.role)?;
        if reservation.role == role::UNRESERVED {
            return Err(InvalidResource::UnreservedRoleReserved);
        }
    }
    for pair in stack.windows(2) {
        let (ancestor, descendant) = (&pair[0].role, &pair[1].role);
        if pair[1].kind == ReservationKind::Static {
            return Err(InvalidResource::StaticRefinement);
        }
        if !role::is_strict_subrole_of(descendant, ancestor) {
            let (descendant, ancestor) = (descendant.clone(), ancestor.clone());
            return Err(InvalidResource::NotARefinement { descendant, ancestor });
        }
    }
    Ok(())
}

/// The older fields may stand beside a single reservation if they say the same.
fn check_old_fields(
    resource: &mesos::Resource,
    reservation: &Reservation,
) -> Result<(), InvalidResource> {
    if let Some(role) = resource.role.as_ref().filter(|role| **role != reservation.role) {
        let (field, reserved) = (role.clone(), reservation.role.clone());
        return Err(InvalidResource::RoleMismatch { field, reserved });
    }
    match (reservation.kind, &resource.reservation) {
        (ReservationKind::Static, Some(_)) => Err(InvalidResource::ReservationFieldForStatic),
        (ReservationKind::Static, None) => Ok(()),
        (ReservationKind::Dynamic, old) if old.is_some() != resource.role.is_some() => {
            Err(InvalidResource::HalfOldFormat)
        }
        (ReservationKind::Dynamic, None) => Ok(()),
        (ReservationKind::Dynamic, Some(old)) => {
            let principals = [&old.principal, &reservation.principal];
            let [left, right] = principals.map(|it| it.as_deref().unwrap_or_default());
            if left != right {
                return Err(InvalidResource::ReservationMismatch("principal"));
            }
            let mut labels = old.labels.clone().unwrap_or_default().labels;
            labels.sort();
            let reserved = reservation.labels().map(|it| it.labels.as_slice()).unwrap_or_default();
            if labels != reserved {
                return Err(InvalidResource::ReservationMismatch("labels"));
            }
            Ok(())
        }
    }
}
