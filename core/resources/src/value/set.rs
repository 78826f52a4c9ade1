use std::fmt;

/// Distinct names, sorted.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Set(Vec<String>);

impl Set {
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    #[must_use]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// The items, ascending.
    #[must_use]
    pub fn items(&self) -> &[String] {
        &self.0
    }

    /// Whether every item of `other` is here too.
    #[must_use]
    pub fn contains(&self, other: &Self) -> bool {
        other.0.iter().all(|item| self.0.binary_search(item).is_ok())
    }

    /// All items of both.
    #[must_use]
    pub fn union(&self, other: &Self) -> Self {
        self.0.iter().chain(&other.0).cloned().collect()
    }

    /// The items that are not in `other`.
    #[must_use]
    pub fn difference(&self, other: &Self) -> Self {
        Self(self.0.iter().filter(|item| other.0.binary_search(item).is_err()).cloned().collect())
    }
}

impl FromIterator<String> for Set {
    fn from_iter<I: IntoIterator<Item = String>>(items: I) -> Self {
        let mut items: Vec<_> = items.into_iter().collect();
        items.sort_unstable();
        items.dedup();
        Self(items)
    }
}

impl fmt::Display for Set {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{{{}}}", self.0.join(", "))
    }
}

#[cfg(test)]
mod tests {
    use super::Set;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    #[test]
    fn prints_like_mesos() {
        let set: Set = ["b", "a", "b"].map(String::from).into_iter().collect();
        assert_eq!(set.to_string(), "{a, b}");
        assert_eq!(Set::default().to_string(), "{}");
    }

    proptest! {
        #[test]
        fn behaves_like_a_tree_set(
            a in proptest::collection::btree_set("[a-f]", 0..6),
            b in proptest::collection::btree_set("[a-f]", 0..6),
        ) {
            let set = |items: &BTreeSet<String>| items.iter().cloned().collect::<Set>();
            prop_assert_eq!(set(&a).union(&set(&b)), set(&(&a | &b)));
            prop_assert_eq!(set(&a).difference(&set(&b)), set(&(&a - &b)));
            prop_assert_eq!(set(&a).contains(&set(&b)), b.is_subset(&a));
        }
    }
}
