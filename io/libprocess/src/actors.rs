//! Which actors live on this node.

use std::collections::BTreeSet;
use std::sync::{PoisonError, RwLock};

/// The names that messages may be addressed to.
#[derive(Debug, Default)]
pub(crate) struct Actors(RwLock<Names>);

#[derive(Debug, Default)]
struct Names {
    exact: BTreeSet<String>,
    prefixes: BTreeSet<String>,
}

impl Actors {
    pub(crate) fn add(&self, name: &str) {
        self.write(|names| names.exact.insert(name.to_owned()));
    }

    pub(crate) fn add_prefix(&self, prefix: &str) {
        self.write(|names| names.prefixes.insert(prefix.to_owned()));
    }

    pub(crate) fn remove(&self, name: &str) {
        self.write(|names| names.exact.remove(name));
    }

    pub(crate) fn contains(&self, name: &str) -> bool {
        let names = self.0.read().unwrap_or_else(PoisonError::into_inner);
        names.exact.contains(name) || names.prefixes.iter().any(|prefix| name.starts_with(prefix))
    }

    fn write(&self, change: impl FnOnce(&mut Names) -> bool) {
        let mut names = self.0.write().unwrap_or_else(PoisonError::into_inner);
        change(&mut names);
    }
}
