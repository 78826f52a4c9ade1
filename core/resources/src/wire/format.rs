//! Changing the reservation format of a resource in place, for messages that are relayed: every
//! other field stays as it came.

use protocol::mesos;
use protocol::mesos::resource::ReservationInfo;
use protocol::mesos::resource::reservation_info::Type;

use super::{CannotDowngrade, InvalidResource, Reservation, ResourceError, validate};
use crate::role;

/// Checks resources and turns those in the older format (`role`, `reservation`) into the newer
/// one (`reservations`).
///
/// # Errors
/// The first resource that is invalid; the ones before it are already changed.
pub fn upgrade(resources: &mut [mesos::Resource]) -> Result<(), ResourceError> {
    for (index, resource) in resources.iter_mut().enumerate() {
        upgrade_one(resource).map_err(|reason| ResourceError {
            index,
            name: resource.name.clone(),
            reason,
        })?;
    }
    Ok(())
}

fn upgrade_one(resource: &mut mesos::Resource) -> Result<(), InvalidResource> {
    let reservations = validate::all(resource)?.1;
    if resource.reservations.is_empty() {
        resource.reservations = reservations.iter().map(Reservation::to_wire).collect();
    }
    resource.role = None;
    resource.reservation = None;
    Ok(())
}

/// Turns resources in the newer format into the older one, for peers without
/// RESERVATION_REFINEMENT. Resources that are in the older format already stay so.
///
/// # Errors
/// A resource has more than one reservation; the ones before it are already changed.
pub fn downgrade(resources: &mut [mesos::Resource]) -> Result<(), CannotDowngrade> {
    for resource in resources {
        match resource.reservations.as_slice() {
            [] => {
                resource.role.get_or_insert_with(|| role::UNRESERVED.to_owned());
            }
            [single] => {
                resource.role.clone_from(&single.role);
                resource.reservation = (single.r#type == Some(Type::Dynamic))
                    .then(|| ReservationInfo { r#type: None, role: None, ..single.clone() });
                resource.reservations.clear();
            }
            _ => return Err(CannotDowngrade { name: resource.name.clone() }),
        }
    }
    Ok(())
}
