//! Arithmetic of resources: fixed-point scalars, ranges, sets, reservations, volumes, and their
//! text syntax.
//!
//! [`Resources`] is the type everything else is about: what an agent has, what an offer holds,
//! what a task uses. It is a canonical multiset, so equal content compares equal however it was
//! put together, and adding, subtracting and comparing are single walks over sorted entries.
//! [`Quantities`] forgets who may use a resource and keeps only how much there is of each name.

mod limits;
mod quantities;
mod quantity;
pub mod role;
mod value;

pub use limits::Limits;
pub use quantities::{ParseQuantitiesError, Quantities, parse_alternatives};
pub use quantity::Quantity;
pub use value::{InvalidRange, ParseValueError, Parsed, Ranges, Set, Value, ValueKind};
