mod ranges;
mod set;
mod text;

use std::fmt;

pub use ranges::{InvalidRange, Ranges};
pub use set::Set;
pub(crate) use text::tokenize;
pub use text::{ParseValueError, Parsed};

use crate::Quantity;

/// How much of a resource there is.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Value {
    Scalar(Quantity),
    Ranges(Ranges),
    Set(Set),
}

/// The type of a [`Value`]. Resources of one name but different types never mix.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ValueKind {
    Scalar,
    Ranges,
    Set,
}

impl Value {
    #[must_use]
    pub const fn kind(&self) -> ValueKind {
        match self {
            Self::Scalar(_) => ValueKind::Scalar,
            Self::Ranges(_) => ValueKind::Ranges,
            Self::Set(_) => ValueKind::Set,
        }
    }

    #[must_use]
    pub fn is_empty(&self) -> bool {
        match self {
            Self::Scalar(quantity) => quantity.is_zero(),
            Self::Ranges(ranges) => ranges.is_empty(),
            Self::Set(set) => set.is_empty(),
        }
    }

    /// Whether `other` is of the same type and not more than this.
    #[must_use]
    pub fn contains(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Scalar(left), Self::Scalar(right)) => right <= left,
            (Self::Ranges(left), Self::Ranges(right)) => left.contains(right),
            (Self::Set(left), Self::Set(right)) => left.contains(right),
            (Self::Scalar(_) | Self::Ranges(_) | Self::Set(_), _) => false,
        }
    }

    /// Adds a value of the same type; one of another type is left out.
    pub(crate) fn add(&mut self, other: &Self) {
        debug_assert_eq!(self.kind(), other.kind());
        match (self, other) {
            (Self::Scalar(left), Self::Scalar(right)) => *left += *right,
            (Self::Ranges(left), Self::Ranges(right)) => *left = left.union(right),
            (Self::Set(left), Self::Set(right)) => *left = left.union(right),
            (Self::Scalar(_) | Self::Ranges(_) | Self::Set(_), _) => {}
        }
    }

    /// What is left; members that are missing here are skipped, amounts stop at zero.
    pub(crate) fn saturating_sub(&self, other: &Self) -> Self {
        debug_assert_eq!(self.kind(), other.kind());
        match (self, other) {
            (Self::Scalar(left), Self::Scalar(right)) => Self::Scalar(left.saturating_sub(*right)),
            (Self::Ranges(left), Self::Ranges(right)) => Self::Ranges(left.difference(right)),
            (Self::Set(left), Self::Set(right)) => Self::Set(left.difference(right)),
            (Self::Scalar(_) | Self::Ranges(_) | Self::Set(_), _) => self.clone(),
        }
    }

    /// The amount, the number of numbers, or the number of items.
    #[must_use]
    pub fn quantity(&self) -> Quantity {
        match self {
            Self::Scalar(quantity) => *quantity,
            Self::Ranges(ranges) => Quantity::from_count(ranges.count()),
            Self::Set(set) => Quantity::from_count(set.len() as u64),
        }
    }

    /// The amount, if this is a scalar.
    #[must_use]
    pub const fn scalar(&self) -> Option<Quantity> {
        match self {
            Self::Scalar(quantity) => Some(*quantity),
            Self::Ranges(_) | Self::Set(_) => None,
        }
    }
}

impl fmt::Display for Value {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Scalar(quantity) => quantity.fmt(formatter),
            Self::Ranges(ranges) => ranges.fmt(formatter),
            Self::Set(set) => set.fmt(formatter),
        }
    }
}
