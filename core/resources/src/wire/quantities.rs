//! Amounts by name, as quota messages and task limits carry them.

use std::collections::BTreeMap;

use protocol::mesos::value::Scalar;

use super::scalar_to_wire;
use crate::{Limits, Quantities, Quantity};

/// An amount is negative, not finite or too large.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[error("Invalid quantity {value} of '{name}'")]
pub struct InvalidQuantity {
    pub name: String,
    pub value: f64,
}

fn quantity(name: &str, scalar: &Scalar) -> Result<Quantity, InvalidQuantity> {
    Quantity::from_f64(scalar.value)
        .ok_or_else(|| InvalidQuantity { name: name.to_owned(), value: scalar.value })
}

impl Quantities {
    /// Reads a map of scalars; zero amounts are dropped.
    ///
    /// # Errors
    /// Names the amount that is none.
    pub fn from_wire(wire: &BTreeMap<String, Scalar>) -> Result<Self, InvalidQuantity> {
        wire.iter().map(|(name, scalar)| Ok((name.as_str(), quantity(name, scalar)?))).collect()
    }

    #[must_use]
    pub fn to_wire(&self) -> BTreeMap<String, Scalar> {
        self.iter().map(|(name, it)| (name.to_owned(), scalar_to_wire(it.to_f64()))).collect()
    }
}

impl Limits {
    /// Reads a map of scalars; a limit of zero stays one.
    ///
    /// # Errors
    /// Names the amount that is none.
    pub fn from_wire(wire: &BTreeMap<String, Scalar>) -> Result<Self, InvalidQuantity> {
        let mut limits = Self::UNLIMITED;
        for (name, scalar) in wire {
            limits.set(name, quantity(name, scalar)?);
        }
        Ok(limits)
    }

    #[must_use]
    pub fn to_wire(&self) -> BTreeMap<String, Scalar> {
        self.iter().map(|(name, it)| (name.to_owned(), scalar_to_wire(it.to_f64()))).collect()
    }
}

#[cfg(test)]
mod tests {
    use crate::{Limits, Quantities};

    #[test]
    fn survive_the_wire() {
        let quantities: Quantities = "cpus:1.5;mem:32".parse().unwrap();
        assert_eq!(Quantities::from_wire(&quantities.to_wire()), Ok(quantities));
        let limits: Limits = "cpus:0;mem:32".parse().unwrap();
        assert_eq!(Limits::from_wire(&limits.to_wire()), Ok(limits.clone()));
        let mut wire = limits.to_wire();
        wire.entry("mem".to_owned()).and_modify(|scalar| scalar.value = -1.0);
        let message = Limits::from_wire(&wire).unwrap_err().to_string();
        assert_eq!(message, "Invalid quantity -1 of 'mem'");
        assert!(Quantities::from_wire(&wire).is_err());
    }
}
