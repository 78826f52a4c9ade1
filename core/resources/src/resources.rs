mod entries;
mod select;

use std::cmp::Ordering;
use std::fmt;
use std::iter::Sum;
use std::ops::{Add, AddAssign};

use crate::Resource;
use crate::resources::entries::Entries;

/// A multiset of resources in canonical form.
///
/// Entries are sorted, no two of them could be merged, none is empty. So equality is equality of
/// content, and the arithmetic walks both sides once; when one side is much smaller it is looked
/// up in the other instead, so that changing one of thousands of reservations stays cheap.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Resources(Entries);

/// How many times smaller the other side must be for looking up to beat walking.
const LOOKUP_FACTOR: usize = 8;

impl Resources {
    /// Nothing.
    pub const EMPTY: Self = Self(Entries::EMPTY);

    #[must_use]
    pub fn new() -> Self {
        Self::EMPTY
    }

    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// How many entries there are; copies of a shared volume are one entry.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    pub fn iter(&self) -> std::slice::Iter<'_, Resource> {
        self.0.iter()
    }

    /// Adds one resource; an empty one changes nothing.
    pub fn insert(&mut self, resource: Resource) {
        if resource.value.is_empty() || resource.copies == 0 {
            return;
        }
        match self.position(&resource) {
            Ok(index) => self.0.make_mut()[index].merge(&resource),
            Err(index) => self.0.make_mut().insert(index, resource),
        }
    }

    /// Whether everything in `other` is here too, under the same reservations, on the same disks
    /// and allocated to the same roles.
    #[must_use]
    pub fn contains(&self, other: &Self) -> bool {
        if other.len() > self.len() {
            return false;
        }
        if self.is_much_longer_than(other) {
            return other.iter().all(|wanted| self.contains_one(wanted));
        }
        let mut mine = self.0.iter().peekable();
        other.iter().all(|wanted| {
            while mine.next_if(|entry| entry.order(wanted) == Ordering::Less).is_some() {}
            mine.next_if(|entry| entry.order(wanted) == Ordering::Equal)
                .is_some_and(|entry| entry.covers(wanted))
        })
    }

    /// Whether this much of one resource is here.
    #[must_use]
    pub fn contains_one(&self, wanted: &Resource) -> bool {
        wanted.value.is_empty()
            || self.position(wanted).is_ok_and(|index| self.0[index].covers(wanted))
    }

    /// What is left; `None` when `other` is not contained.
    #[must_use]
    pub fn checked_sub(&self, other: &Self) -> Option<Self> {
        let mut rest = self.clone();
        rest.checked_sub_assign(other).then_some(rest)
    }

    /// Takes `other` away. Returns false, and changes nothing, when it is not contained.
    #[must_use]
    pub fn checked_sub_assign(&mut self, other: &Self) -> bool {
        if self == other {
            // Most often all that is there is taken.
            *self = Self::EMPTY;
            return true;
        }
        if !self.contains(other) {
            return false;
        }
        if self.is_much_longer_than(other) {
            for taken in other {
                self.subtract(taken);
            }
            return true;
        }
        let mut taken = other.0.iter().peekable();
        self.0.make_mut().retain_mut(|entry| {
            let Some(taken) = taken.next_if(|it| it.order(entry) == Ordering::Equal) else {
                return true;
            };
            entry.minus(taken).map(|rest| *entry = rest).is_some()
        });
        self.0.normalize();
        true
    }

    /// Takes away whatever of `other` is here: amounts stop at zero, members that are missing
    /// are skipped. For callers who know that `other` may have changed meanwhile.
    #[must_use]
    pub fn saturating_sub(&self, other: &Self) -> Self {
        if other.is_empty() {
            return self.clone();
        }
        if other.contains(self) {
            return Self::EMPTY;
        }
        let mut rest = self.clone();
        if self.is_much_longer_than(other) {
            for taken in other {
                rest.subtract(taken);
            }
            return rest;
        }
        let mut taken = other.0.iter().peekable();
        rest.0.make_mut().retain_mut(|entry| {
            while taken.next_if(|it| it.order(entry) == Ordering::Less).is_some() {}
            let Some(taken) = taken.next_if(|it| it.order(entry) == Ordering::Equal) else {
                return true;
            };
            entry.minus(taken).map(|rest| *entry = rest).is_some()
        });
        rest.0.normalize();
        rest
    }

    fn subtract(&mut self, taken: &Resource) {
        let Ok(index) = self.position(taken) else { return };
        match self.0[index].minus(taken) {
            Some(rest) => self.0.make_mut()[index] = rest,
            None => {
                self.0.make_mut().remove(index);
                self.0.normalize();
            }
        }
    }

    fn position(&self, resource: &Resource) -> Result<usize, usize> {
        self.0.binary_search_by(|entry| entry.order(resource))
    }

    fn is_much_longer_than(&self, other: &Self) -> bool {
        other.len().saturating_mul(LOOKUP_FACTOR) < self.len()
    }

    /// Puts entries in order and merges those that belong together.
    pub(crate) fn from_unsorted(mut entries: Vec<Resource>) -> Self {
        entries.retain(|entry| !entry.value.is_empty() && entry.copies > 0);
        // Mostly they come in the order in which they were once given out.
        if entries.is_sorted_by(|left, right| left.order(right) == Ordering::Less) {
            return Self(entries.into());
        }
        entries.sort_by(Resource::order);
        entries.dedup_by(|later, kept| {
            let same = later.order(kept) == Ordering::Equal;
            if same {
                kept.merge(later);
            }
            same
        });
        Self(entries.into())
    }
}

impl AddAssign<&Resources> for Resources {
    fn add_assign(&mut self, other: &Resources) {
        if other.is_empty() {
            return;
        }
        if self.is_empty() {
            self.0 = other.0.clone();
            return;
        }
        if self.is_much_longer_than(other) {
            for resource in other {
                self.insert(resource.clone());
            }
            return;
        }
        let mut merged = Vec::with_capacity(self.len() + other.len());
        let mut mine = self.0.take().into_iter().peekable();
        for theirs in other {
            while let Some(entry) = mine.next_if(|entry| entry.order(theirs) == Ordering::Less) {
                merged.push(entry);
            }
            match mine.next_if(|entry| entry.order(theirs) == Ordering::Equal) {
                Some(mut entry) => {
                    entry.merge(theirs);
                    merged.push(entry);
                }
                None => merged.push(theirs.clone()),
            }
        }
        merged.extend(mine);
        self.0 = merged.into();
    }
}

impl AddAssign for Resources {
    fn add_assign(&mut self, other: Resources) {
        if self.is_empty() {
            *self = other;
        } else {
            *self += &other;
        }
    }
}

impl Add<&Resources> for Resources {
    type Output = Resources;

    fn add(mut self, other: &Resources) -> Resources {
        self += other;
        self
    }
}

impl Add for Resources {
    type Output = Resources;

    fn add(mut self, other: Resources) -> Resources {
        self += other;
        self
    }
}

impl Add<&Resources> for &Resources {
    type Output = Resources;

    fn add(self, other: &Resources) -> Resources {
        self.clone() + other
    }
}

impl Sum for Resources {
    fn sum<I: Iterator<Item = Self>>(iterator: I) -> Self {
        iterator.flat_map(|resources| resources.0.into_vec()).collect()
    }
}

impl<'a> Sum<&'a Resources> for Resources {
    fn sum<I: Iterator<Item = &'a Resources>>(iterator: I) -> Self {
        iterator.flat_map(|resources| resources.0.iter().cloned()).collect()
    }
}

impl From<Resource> for Resources {
    fn from(resource: Resource) -> Self {
        Self::from_unsorted(vec![resource])
    }
}

impl FromIterator<Resource> for Resources {
    fn from_iter<I: IntoIterator<Item = Resource>>(resources: I) -> Self {
        Self::from_unsorted(resources.into_iter().collect())
    }
}

impl Extend<Resource> for Resources {
    fn extend<I: IntoIterator<Item = Resource>>(&mut self, resources: I) {
        *self += resources.into_iter().collect::<Resources>();
    }
}

impl IntoIterator for Resources {
    type Item = Resource;
    type IntoIter = std::vec::IntoIter<Resource>;

    fn into_iter(self) -> Self::IntoIter {
        self.0.into_vec().into_iter()
    }
}

impl<'a> IntoIterator for &'a Resources {
    type Item = &'a Resource;
    type IntoIter = std::slice::Iter<'a, Resource>;

    fn into_iter(self) -> Self::IntoIter {
        self.0.iter()
    }
}

impl fmt::Display for Resources {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_empty() {
            return formatter.write_str("{}");
        }
        for (index, resource) in self.iter().enumerate() {
            let separator = if index == 0 { "" } else { "; " };
            write!(formatter, "{separator}{resource}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
