use std::fmt;
use std::ops::{Add, AddAssign};
use std::str::FromStr;
use std::sync::Arc;

use crate::Quantity;
use crate::value::{ParseValueError, Parsed, tokenize};

/// How much there is of each name, whoever it is reserved for. Zero amounts are not kept.
///
/// The counterpart of Mesos' `ResourceQuantities`: ranges and sets count their members.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Quantities(Vec<(Arc<str>, Quantity)>);

/// Why a text such as `cpus:1;mem:32` is refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ParseQuantitiesError {
    #[error("Failed to parse '{0}': missing or extra ':'")]
    Pair(String),
    #[error("Failed to parse '{text}' to quantity")]
    Value {
        text: String,
        #[source]
        source: ParseValueError,
    },
    #[error("Failed to parse '{0}' to quantity: only scalar values are allowed")]
    NotScalar(String),
    #[error("Failed to parse '{0}' to quantity: negative values are not allowed")]
    Negative(String),
    #[error("Failed to parse '{0}' to quantity: the value is too large")]
    TooLarge(String),
    #[error("Failed to parse '{0}' to limit: duplicate names are not allowed")]
    Duplicate(String),
}

impl Quantities {
    /// Nothing of anything.
    pub const EMPTY: Self = Self(Vec::new());

    #[must_use]
    pub fn new() -> Self {
        Self::EMPTY
    }

    /// An amount of one name.
    #[must_use]
    pub fn of(name: &str, quantity: Quantity) -> Self {
        let mut quantities = Self::EMPTY;
        quantities.increase(name, quantity);
        quantities
    }

    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    #[must_use]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Names and amounts, by name.
    pub fn iter(&self) -> impl Iterator<Item = (&str, Quantity)> {
        self.0.iter().map(|(name, quantity)| (&**name, *quantity))
    }

    /// The amount of a name, zero if there is none.
    #[must_use]
    pub fn get(&self, name: &str) -> Quantity {
        self.position(name).map_or(Quantity::ZERO, |index| self.0[index].1)
    }

    /// Adds an amount to what there is of a name.
    pub fn increase(&mut self, name: &str, quantity: Quantity) {
        if quantity.is_zero() {
            return;
        }
        match self.position(name) {
            Ok(index) => self.0[index].1 += quantity,
            Err(index) => self.0.insert(index, (Arc::from(name), quantity)),
        }
    }

    /// As [`Quantities::increase`], sharing the name instead of copying it.
    pub(crate) fn increase_shared(&mut self, name: &Arc<str>, quantity: Quantity) {
        if quantity.is_zero() {
            return;
        }
        match self.position(name) {
            Ok(index) => self.0[index].1 += quantity,
            Err(index) => self.0.insert(index, (Arc::clone(name), quantity)),
        }
    }

    /// Whether there is at least as much of everything as in `other`.
    #[must_use]
    pub fn contains(&self, other: &Self) -> bool {
        other.iter().all(|(name, quantity)| self.get(name) >= quantity)
    }

    /// What is left; `None` when `other` has more of something.
    #[must_use]
    pub fn checked_sub(&self, other: &Self) -> Option<Self> {
        self.contains(other).then(|| self.saturating_sub(other))
    }

    /// What is left, names that would go below zero dropped.
    #[must_use]
    pub fn saturating_sub(&self, other: &Self) -> Self {
        let left = |(name, quantity): &(Arc<str>, Quantity)| {
            let rest = quantity.saturating_sub(other.get(name));
            (!rest.is_zero()).then(|| (Arc::clone(name), rest))
        };
        Self(self.0.iter().filter_map(left).collect())
    }

    /// Takes away what can be taken away; nothing goes below zero.
    pub fn saturating_sub_assign(&mut self, other: &Self) {
        for (name, quantity) in &mut self.0 {
            *quantity = quantity.saturating_sub(other.get(name));
        }
        self.0.retain(|(_, quantity)| !quantity.is_zero());
    }

    /// The names for which the predicate holds.
    #[must_use]
    pub fn filter(&self, mut predicate: impl FnMut(&str) -> bool) -> Self {
        Self(self.0.iter().filter(|(name, _)| predicate(name)).cloned().collect())
    }

    fn position(&self, name: &str) -> Result<usize, usize> {
        self.0.binary_search_by(|(other, _)| (**other).cmp(name))
    }
}

impl AddAssign<&Quantities> for Quantities {
    fn add_assign(&mut self, other: &Quantities) {
        for (name, quantity) in &other.0 {
            self.increase_shared(name, *quantity);
        }
    }
}

impl Add<&Quantities> for Quantities {
    type Output = Quantities;

    fn add(mut self, other: &Quantities) -> Quantities {
        self += other;
        self
    }
}

impl<'a> FromIterator<(&'a str, Quantity)> for Quantities {
    fn from_iter<I: IntoIterator<Item = (&'a str, Quantity)>>(pairs: I) -> Self {
        let mut quantities = Self::EMPTY;
        for (name, quantity) in pairs {
            quantities.increase(name, quantity);
        }
        quantities
    }
}

impl fmt::Display for Quantities {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_pairs(formatter, self.iter())
    }
}

/// `cpus:1; mem:32`, or `{}` for nothing.
pub(crate) fn write_pairs<'a>(
    formatter: &mut fmt::Formatter<'_>,
    pairs: impl Iterator<Item = (&'a str, Quantity)>,
) -> fmt::Result {
    let mut empty = true;
    for (name, quantity) in pairs {
        let separator = if empty { "" } else { "; " };
        write!(formatter, "{separator}{name}:{quantity}")?;
        empty = false;
    }
    if empty { formatter.write_str("{}") } else { Ok(()) }
}

/// Reads `cpus:1;mem:32`; the amounts of a repeated name are summed.
impl FromStr for Quantities {
    type Err = ParseQuantitiesError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let mut quantities = Self::EMPTY;
        for token in tokenize(text, ";") {
            let (name, quantity) = parse_pair(token)?;
            quantities.increase(name, quantity);
        }
        Ok(quantities)
    }
}

/// Reads one `name:amount`.
pub(crate) fn parse_pair(token: &str) -> Result<(&str, Quantity), ParseQuantitiesError> {
    let parts: Vec<_> = tokenize(token, ":").collect();
    let &[name, text] = parts.as_slice() else {
        return Err(ParseQuantitiesError::Pair(token.to_owned()));
    };
    let parsed = Parsed::parse(text)
        .map_err(|source| ParseQuantitiesError::Value { text: text.to_owned(), source })?;
    let number = match parsed {
        Parsed::Scalar(number) => number,
        Parsed::Text(text) if text.parse().is_ok_and(|number: f64| number < 0.0) => {
            return Err(ParseQuantitiesError::Negative(text));
        }
        Parsed::Ranges(_) | Parsed::Set(_) | Parsed::Text(_) => {
            return Err(ParseQuantitiesError::NotScalar(text.to_owned()));
        }
    };
    let quantity = Quantity::from_f64(number)
        .ok_or_else(|| ParseQuantitiesError::TooLarge(text.to_owned()))?;
    Ok((name.trim(), quantity))
}

/// Reads alternatives separated by `|`, as `--min_allocatable_resources` has them:
/// `cpus:0.01|mem:32`.
///
/// # Errors
/// The first alternative that is malformed.
pub fn parse_alternatives(text: &str) -> Result<Vec<Quantities>, ParseQuantitiesError> {
    tokenize(text, "|").map(str::parse).collect()
}

#[cfg(test)]
mod tests {
    use super::{Quantities, parse_alternatives};
    use crate::Quantity;
    use proptest::prelude::*;

    fn parse(text: &str) -> Quantities {
        text.parse().unwrap()
    }

    fn quantities() -> impl Strategy<Value = Quantities> {
        proptest::collection::vec(("[a-d]", 0_i64..5000), 0..6).prop_map(|pairs| {
            pairs
                .iter()
                .map(|(name, amount)| (name.as_str(), Quantity::from_thousandths(*amount).unwrap()))
                .collect()
        })
    }

    #[test]
    fn reads_sums_and_prints() {
        assert_eq!(parse("mem: 32;cpus:0.01;mem:1").to_string(), "cpus:0.01; mem:33");
        assert_eq!(parse("").to_string(), "{}");
        assert_eq!(parse("cpus:0"), Quantities::EMPTY);
        let alternatives = parse_alternatives("cpus:0.01|mem:32;ports:1").unwrap();
        assert_eq!(alternatives, [parse("cpus:0.01"), parse("mem:32;ports:1")]);
    }

    #[test]
    fn refuses_what_is_no_amount() {
        let message = |text: &str| text.parse::<Quantities>().unwrap_err().to_string();
        assert_eq!(message("cpus"), "Failed to parse 'cpus': missing or extra ':'");
        assert_eq!(
            message("cpus:-1"),
            "Failed to parse '-1' to quantity: negative values are not allowed"
        );
        assert_eq!(
            message("ports:[1-2]"),
            "Failed to parse '[1-2]' to quantity: only scalar values are allowed"
        );
        assert_eq!(message("cpus:[1"), "Failed to parse '[1' to quantity");
    }

    proptest! {
        #[test]
        fn subtracting_undoes_adding(a in quantities(), b in quantities()) {
            let sum = a.clone() + &b;
            prop_assert!(sum.contains(&a) && sum.contains(&b));
            prop_assert_eq!(sum.checked_sub(&b), Some(a.clone()));
            prop_assert_eq!(a.checked_sub(&b).is_some(), a.contains(&b));
            let mut rest = a.clone();
            rest.saturating_sub_assign(&b);
            prop_assert_eq!(rest, a.saturating_sub(&b));
        }

        #[test]
        fn printed_text_reads_back(a in quantities()) {
            prop_assume!(!a.is_empty());
            prop_assert_eq!(parse(&a.to_string()), a);
        }
    }
}
