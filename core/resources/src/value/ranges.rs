use std::fmt;

/// Whole numbers as inclusive intervals, sorted, disjoint and never adjacent.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Ranges(Vec<(u64, u64)>);

/// An interval whose begin is above its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("range [{begin}-{end}] begins after its end")]
pub struct InvalidRange {
    pub begin: u64,
    pub end: u64,
}

impl Ranges {
    /// Sorts the intervals and merges those that overlap or touch.
    ///
    /// # Errors
    /// An interval begins after its end.
    pub fn new(intervals: impl IntoIterator<Item = (u64, u64)>) -> Result<Self, InvalidRange> {
        let mut intervals: Vec<_> = intervals.into_iter().collect();
        if let Some(&(begin, end)) = intervals.iter().find(|(begin, end)| begin > end) {
            return Err(InvalidRange { begin, end });
        }
        intervals.sort_unstable();
        Ok(Self::coalesce(intervals.into_iter()))
    }

    /// Merges intervals that come sorted by their begin.
    fn coalesce(intervals: impl Iterator<Item = (u64, u64)>) -> Self {
        let mut merged: Vec<(u64, u64)> = Vec::with_capacity(intervals.size_hint().0);
        for (begin, end) in intervals {
            match merged.last_mut() {
                Some(last) if begin <= last.1.saturating_add(1) => last.1 = last.1.max(end),
                Some(_) | None => merged.push((begin, end)),
            }
        }
        Self(merged)
    }

    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The intervals, ascending.
    #[must_use]
    pub fn intervals(&self) -> &[(u64, u64)] {
        &self.0
    }

    /// How many numbers are in the ranges.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.0
            .iter()
            .fold(0, |sum: u64, (begin, end)| sum.saturating_add((end - begin).saturating_add(1)))
    }

    /// The numbers themselves, ascending.
    pub fn numbers(&self) -> impl Iterator<Item = u64> {
        self.0.iter().flat_map(|&(begin, end)| begin..=end)
    }

    #[must_use]
    pub fn contains_number(&self, number: u64) -> bool {
        let after = self.0.partition_point(|(begin, _)| *begin <= number);
        after > 0 && self.0[after - 1].1 >= number
    }

    /// Whether every number of `other` is here too.
    #[must_use]
    pub fn contains(&self, other: &Self) -> bool {
        let mut mine = self.0.iter().peekable();
        other.0.iter().all(|(begin, end)| {
            while mine.next_if(|interval| interval.1 < *begin).is_some() {}
            mine.peek().is_some_and(|interval| interval.0 <= *begin && *end <= interval.1)
        })
    }

    /// All numbers of both.
    #[must_use]
    pub fn union(&self, other: &Self) -> Self {
        if self.is_empty() {
            return other.clone();
        }
        let (mut left, mut right) = (self.0.iter().peekable(), other.0.iter().peekable());
        Self::coalesce(std::iter::from_fn(|| match (left.peek(), right.peek()) {
            (Some(a), Some(b)) if a.0 <= b.0 => left.next().copied(),
            (_, Some(_)) => right.next().copied(),
            (Some(_), None) => left.next().copied(),
            (None, None) => None,
        }))
    }

    /// The numbers that are not in `other`.
    #[must_use]
    pub fn difference(&self, other: &Self) -> Self {
        let mut kept = Vec::with_capacity(self.0.len());
        let mut cuts = other.0.iter().copied().peekable();
        for &(mut begin, end) in &self.0 {
            let mut used_up = false;
            while cuts.next_if(|cut| cut.1 < begin).is_some() {}
            while let Some(&(cut_begin, cut_end)) = cuts.peek() {
                if cut_begin > end {
                    break;
                }
                if cut_begin > begin {
                    kept.push((begin, cut_begin - 1));
                }
                if cut_end >= end {
                    used_up = true;
                    break;
                }
                begin = cut_end + 1;
                cuts.next();
            }
            if !used_up {
                kept.push((begin, end));
            }
        }
        Self(kept)
    }

    /// The numbers that both have.
    #[must_use]
    pub fn intersection(&self, other: &Self) -> Self {
        self.difference(&self.difference(other))
    }
}

impl fmt::Display for Ranges {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("[")?;
        for (index, (begin, end)) in self.0.iter().enumerate() {
            let separator = if index == 0 { "" } else { ", " };
            write!(formatter, "{separator}{begin}-{end}")?;
        }
        formatter.write_str("]")
    }
}

#[cfg(test)]
mod tests {
    use super::Ranges;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    fn ranges() -> impl Strategy<Value = Ranges> {
        proptest::collection::vec((0_u64..60, 0_u64..8), 0..8).prop_map(|pairs| {
            Ranges::new(pairs.into_iter().map(|(begin, length)| (begin, begin + length))).unwrap()
        })
    }

    fn model(ranges: &Ranges) -> BTreeSet<u64> {
        ranges.numbers().collect()
    }

    #[test]
    fn intervals_that_touch_are_merged() {
        let ranges = Ranges::new([(5, 6), (1, 2), (3, 4), (9, 9)]).unwrap();
        assert_eq!(ranges.to_string(), "[1-6, 9-9]");
        assert_eq!(ranges.count(), 7);
    }

    #[test]
    fn the_largest_numbers_do_not_overflow() {
        let all = Ranges::new([(0, u64::MAX), (u64::MAX, u64::MAX)]).unwrap();
        assert_eq!(all.intervals(), [(0, u64::MAX)]);
        assert_eq!(all.count(), u64::MAX);
        let top = Ranges::new([(u64::MAX, u64::MAX)]).unwrap();
        assert_eq!(all.difference(&top).intervals(), [(0, u64::MAX - 1)]);
        assert!(all.difference(&all).is_empty());
    }

    #[test]
    fn an_inverted_interval_is_refused() {
        assert_eq!(
            Ranges::new([(1, 2), (4, 3)]).unwrap_err().to_string(),
            "range [4-3] begins after its end"
        );
    }

    proptest! {
        #[test]
        fn behave_like_a_set_of_numbers(a in ranges(), b in ranges(), number in 0_u64..70) {
            let (x, y) = (model(&a), model(&b));
            prop_assert_eq!(model(&a.union(&b)), &x | &y);
            prop_assert_eq!(model(&a.difference(&b)), &x - &y);
            prop_assert_eq!(model(&a.intersection(&b)), &x & &y);
            prop_assert_eq!(a.contains(&b), y.is_subset(&x));
            prop_assert_eq!(a.contains_number(number), x.contains(&number));
            prop_assert_eq!(a.count(), x.len() as u64);
            prop_assert_eq!(a == b, x == y);
        }

        #[test]
        fn results_stay_canonical(a in ranges(), b in ranges()) {
            for result in [a.union(&b), a.difference(&b), a.intersection(&b)] {
                let intervals = result.intervals();
                prop_assert!(intervals.iter().all(|(begin, end)| begin <= end));
                prop_assert!(intervals.windows(2).all(|pair| pair[0].1 + 1 < pair[1].0));
            }
        }
    }
}
