use std::fmt;
use std::str::FromStr;

use crate::quantities::{ParseQuantitiesError, parse_pair, write_pairs};
use crate::value::tokenize;
use crate::{Quantities, Quantity};

/// The most of each name that may be used. A name that is absent is unlimited; a limit of zero
/// is a limit. The counterpart of Mesos' `ResourceLimits`, used for quota.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Limits(Vec<(String, Quantity)>);

impl Limits {
    /// No limit on anything.
    pub const UNLIMITED: Self = Self(Vec::new());

    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The limit of a name; `None` means unlimited.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<Quantity> {
        self.position(name).ok().map(|index| self.0[index].1)
    }

    /// Sets the limit of a name, replacing an earlier one.
    pub fn set(&mut self, name: &str, limit: Quantity) {
        match self.position(name) {
            Ok(index) => self.0[index].1 = limit,
            Err(index) => self.0.insert(index, (name.to_owned(), limit)),
        }
    }

    /// Names and limits, by name.
    pub fn iter(&self) -> impl Iterator<Item = (&str, Quantity)> {
        self.0.iter().map(|(name, limit)| (name.as_str(), *limit))
    }

    /// Whether these amounts stay within the limits.
    #[must_use]
    pub fn allow(&self, quantities: &Quantities) -> bool {
        self.iter().all(|(name, limit)| quantities.get(name) <= limit)
    }

    /// Whether these limits are nowhere tighter than `other`.
    #[must_use]
    pub fn contains(&self, other: &Self) -> bool {
        self.iter().all(|(name, limit)| other.get(name).is_some_and(|other| other <= limit))
    }

    /// What may still be used when `used` is used already. Unlimited names stay so.
    #[must_use]
    pub fn remaining(&self, used: &Quantities) -> Self {
        let rest = |(name, limit): &(String, Quantity)| {
            (name.clone(), limit.saturating_sub(used.get(name)))
        };
        Self(self.0.iter().map(rest).collect())
    }

    fn position(&self, name: &str) -> Result<usize, usize> {
        self.0.binary_search_by(|(other, _)| other.as_str().cmp(name))
    }
}

impl fmt::Display for Limits {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_pairs(formatter, self.iter())
    }
}

/// Reads `cpus:1;mem:0`; a name may stand only once.
impl FromStr for Limits {
    type Err = ParseQuantitiesError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let mut limits = Self::UNLIMITED;
        for token in tokenize(text, ";") {
            let (name, limit) = parse_pair(token)?;
            if limits.get(name).is_some() {
                return Err(ParseQuantitiesError::Duplicate(name.to_owned()));
            }
            limits.set(name, limit);
        }
        Ok(limits)
    }
}

#[cfg(test)]
mod tests {
    use super::Limits;
    use crate::{Quantities, Quantity};

    #[test]
    fn an_absent_name_is_unlimited_and_zero_is_a_limit() {
        let limits: Limits = "cpus:2;gpus:0".parse().unwrap();
        let allow = |text: &str| limits.allow(&text.parse::<Quantities>().unwrap());
        assert!(allow("cpus:2;mem:1000000"));
        assert!(!allow("cpus:2.001"));
        assert!(!allow("gpus:1"));
        assert_eq!(limits.to_string(), "cpus:2; gpus:0");
        let left = limits.remaining(&"cpus:0.5;gpus:3;mem:1".parse().unwrap());
        assert_eq!(left.get("cpus"), Quantity::from_f64(1.5));
        assert_eq!(left.get("gpus"), Some(Quantity::ZERO));
        assert_eq!(left.get("mem"), None);
    }

    #[test]
    fn wider_limits_contain_tighter_ones() {
        let limits = |text: &str| text.parse::<Limits>().unwrap();
        assert!(limits("cpus:2").contains(&limits("cpus:1;mem:5")));
        assert!(!limits("cpus:2;mem:5").contains(&limits("cpus:1")));
        assert!(Limits::UNLIMITED.contains(&limits("cpus:1")));
        assert!("cpus:1;cpus:2".parse::<Limits>().is_err());
    }
}
