//! Amounts of scalar resources and the dominant share computed from them.

use std::borrow::Cow;
use std::collections::BTreeSet;
use std::sync::Arc;

use resources::{Quantities, Quantity};

use crate::policy::{Place, Turn};

/// The number that stands for the name of a scalar resource in [`Amounts`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Name(u32);

/// The names of scalar resources seen so far. Operators choose them (`--resources`), so they stay few.
#[derive(Clone, Debug, Default)]
pub(crate) struct Names {
    names: Vec<String>,
}

impl Names {
    pub(crate) fn intern(&mut self, name: &str) -> Name {
        let position = self.names.iter().position(|known| known == name).unwrap_or_else(|| {
            self.names.push(name.to_owned());
            self.names.len() - 1
        });
        Name(u32::try_from(position).expect("fewer than 2^32 names fit in memory"))
    }

    pub(crate) fn find(&self, name: &str) -> Option<Name> {
        let position = self.names.iter().position(|known| known == name)?;
        u32::try_from(position).ok().map(Name)
    }

    pub(crate) fn get(&self, name: Name) -> &str {
        &self.names[name.0 as usize]
    }

    /// Amounts with their names; those below zero are left out.
    pub(crate) fn quantities(&self, amounts: &Amounts) -> Quantities {
        let named = |(name, amount): (Name, i128)| {
            let thousandths = i64::try_from(amount).unwrap_or(i64::MAX);
            let quantity = Quantity::from_thousandths(thousandths)?;
            Some((self.names[name.0 as usize].as_str(), quantity))
        };
        amounts.iter().filter_map(named).collect()
    }
}

/// How much of each scalar resource, in the smallest unit of the fixed-point scalars. Zeros are left out.
///
/// Wider than one scalar, so that no number of agents can make a sum overflow.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Amounts {
    entries: Vec<(Name, i128)>,
}

impl Amounts {
    pub(crate) fn add(&mut self, name: Name, amount: i128) {
        match self.entries.binary_search_by_key(&name, |entry| entry.0) {
            Ok(position) => {
                self.entries[position].1 += amount;
                if self.entries[position].1 == 0 {
                    self.entries.remove(position);
                }
            }
            Err(position) => {
                if amount != 0 {
                    self.entries.insert(position, (name, amount));
                }
            }
        }
    }

    pub(crate) fn add_all(&mut self, other: &Self) {
        self.change_all(other, 1);
    }

    pub(crate) fn subtract_all(&mut self, other: &Self) {
        self.change_all(other, -1);
    }

    fn change_all(&mut self, other: &Self, sign: i128) {
        // Agents mostly have the same few resources, so that both sides have the same names.
        let pairs = self.entries.iter().zip(&other.entries);
        let are_alike = self.entries.len() == other.entries.len()
            && pairs.clone().all(|(own, other)| own.0 == other.0 && own.1 + sign * other.1 != 0);
        if are_alike {
            for (own, other) in self.entries.iter_mut().zip(&other.entries) {
                own.1 += sign * other.1;
            }
            return;
        }
        for &(name, amount) in &other.entries {
            self.add(name, sign * amount);
        }
    }

    pub(crate) fn get(&self, name: Name) -> i128 {
        self.entries
            .binary_search_by_key(&name, |entry| entry.0)
            .map_or(0, |position| self.entries[position].1)
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    pub(crate) fn len(&self) -> usize {
        self.entries.len()
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (Name, i128)> + '_ {
        self.entries.iter().copied()
    }

    /// What is left; may fall below zero.
    pub(crate) fn minus(&self, other: &Self) -> Self {
        let mut rest = self.clone();
        rest.subtract_all(other);
        rest
    }
}

/// A weighted dominant share: never not-a-number, so that it has a total order.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Share(f64);

impl From<f64> for Share {
    fn from(value: f64) -> Self {
        Self(value)
    }
}

impl Share {
    pub(crate) fn value(self) -> f64 {
        self.0
    }
}

impl PartialEq for Share {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Eq for Share {}

impl PartialOrd for Share {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Share {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.0.total_cmp(&other.0)
    }
}

/// The place of a framework or a role among its siblings: the smallest is served first.
///
/// Its place by the policy, then (Mesos' `sorter/drf/sorter.hpp`) how often it was served, then name.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Rank {
    pub(crate) place: Place,
    pub(crate) allocations: u64,
    pub(crate) name: Arc<str>,
}

/// What a framework or a role holds.
#[derive(Clone, Debug, Default)]
pub(crate) struct Usage {
    pub(crate) amounts: Amounts,
    /// The part of `amounts` that quota does not count: what is reserved or revocable.
    pub(crate) uncounted: Amounts,
    /// How often something was allocated to it: spreads allocations over equal shares.
    pub(crate) allocations: u64,
    /// Its next turn, for policies that have turns.
    pub(crate) turn: Turn,
}

/// What somebody takes or gives back.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Charge {
    pub(crate) amounts: Amounts,
    /// As in [`Usage`].
    pub(crate) uncounted: Amounts,
}

impl Charge {
    /// What quota counts of it.
    pub(crate) fn counted(&self) -> Cow<'_, Amounts> {
        if self.uncounted.is_empty() {
            Cow::Borrowed(&self.amounts)
        } else {
            Cow::Owned(self.amounts.minus(&self.uncounted))
        }
    }
}

/// All there is in the cluster: what shares are shares of.
#[derive(Clone, Debug, Default)]
pub(crate) struct Totals {
    amounts: Amounts,
    excluded: BTreeSet<Name>,
}

impl Totals {
    pub(crate) fn new(excluded: &BTreeSet<String>, names: &mut Names) -> Self {
        let excluded = excluded.iter().map(|name| names.intern(name)).collect();
        Self { amounts: Amounts::default(), excluded }
    }

    pub(crate) fn add_all(&mut self, amounts: &Amounts) {
        self.amounts.add_all(amounts);
    }

    pub(crate) fn subtract_all(&mut self, amounts: &Amounts) {
        self.amounts.subtract_all(amounts);
    }

    /// The largest part of the cluster, over all resources, that `held` is, divided by the weight.
    pub(crate) fn share(&self, held: &Amounts, weight: f64) -> Share {
        let mut largest = 0.0_f64;
        for &(name, amount) in &held.entries {
            let total = self.amounts.get(name);
            if total > 0 && !self.excluded.contains(&name) {
                largest = largest.max(ratio(amount, total));
            }
        }
        Share(largest / weight)
    }
}

#[expect(
    clippy::cast_precision_loss,
    reason = "shares are compared, not added up: 53 bits order them well enough, and the same on every \
              machine"
)]
fn ratio(part: i128, whole: i128) -> f64 {
    match (i64::try_from(part), i64::try_from(whole)) {
        // Rounds alike, and is one machine instruction each.
        (Ok(part), Ok(whole)) => part as f64 / whole as f64,
        (Ok(_) | Err(_), Ok(_) | Err(_)) => part as f64 / whole as f64,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn amounts(names: &mut Names, entries: &[(&str, i128)]) -> Amounts {
        let mut amounts = Amounts::default();
        for &(name, amount) in entries {
            amounts.add(names.intern(name), amount);
        }
        amounts
    }

    #[test]
    fn the_dominant_resource_decides_and_weights_divide() {
        let mut names = Names::default();
        let mut totals = Totals::new(&BTreeSet::new(), &mut names);
        totals.add_all(&amounts(&mut names, &[("cpus", 10_000), ("mem", 100_000)]));
        let held = amounts(&mut names, &[("cpus", 1_000), ("mem", 50_000), ("tapes", 7)]);
        assert_eq!(totals.share(&held, 1.0), Share(0.5));
        assert_eq!(totals.share(&held, 2.0), Share(0.25));
        assert_eq!(totals.share(&Amounts::default(), 2.0), Share(0.0));
    }

    #[test]
    fn excluded_resources_do_not_count() {
        let mut names = Names::default();
        let mut totals = Totals::new(&BTreeSet::from(["gpus".to_owned()]), &mut names);
        totals.add_all(&amounts(&mut names, &[("cpus", 10), ("gpus", 10)]));
        let held = amounts(&mut names, &[("cpus", 1), ("gpus", 9)]);
        assert_eq!(totals.share(&held, 1.0), Share(0.1));
    }

    #[test]
    fn amounts_that_cancel_leave_nothing() {
        let mut names = Names::default();
        let some = amounts(&mut names, &[("cpus", 3), ("mem", 5)]);
        let mut sum = some.clone();
        sum.add_all(&some);
        sum.subtract_all(&some);
        assert_eq!(sum, some);
        sum.subtract_all(&some);
        assert!(sum.is_empty());
    }
}
