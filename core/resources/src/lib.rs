//! Arithmetic of resources: fixed-point scalars, ranges, sets, reservations, volumes, and their
//! text syntax.
//!
//! [`Resources`] is the type everything else is about: what an agent has, what an offer holds,
//! what a task uses. It is a canonical multiset, so equal content compares equal however it was
//! put together, and adding, subtracting and comparing are single walks over sorted entries.
//! [`Quantities`] forgets who may use a resource and keeps only how much there is of each name.

mod agent;
mod attributes;
mod limits;
mod operation;
mod quantities;
mod quantity;
mod reservation;
mod resource;
mod resources;
pub mod role;
mod summary;
mod text;
mod value;
mod wire;

pub use agent::Detected;
pub use attributes::{Attribute, AttributeError, AttributeValue, Attributes};
pub use limits::Limits;
pub use operation::{Conversion, OperationError, conversions};
pub use quantities::{ParseQuantitiesError, Quantities, parse_alternatives};
pub use quantity::Quantity;
pub use reservation::{Reservation, ReservationKind};
pub use resource::Resource;
pub use resources::Resources;
pub use text::ParseResourcesError;
pub use value::{InvalidRange, ParseValueError, Parsed, Ranges, Set, Value, ValueKind};
pub use wire::{
    CannotDowngrade, InvalidQuantity, InvalidResource, ResourceError, downgrade, upgrade,
};
