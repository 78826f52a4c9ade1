//! A registry that lasts as long as the process, as Mesos' `--registry=in_memory`.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::registry::{Change, Record, Registry, RegistryError};

/// Records in memory. Nothing survives the process.
#[derive(Debug, Default)]
pub struct InMemory {
    records: Mutex<BTreeMap<String, Vec<u8>>>,
}

impl InMemory {
    /// An empty registry.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    fn records(&self) -> MutexGuard<'_, BTreeMap<String, Vec<u8>>> {
        // The map is whole between any two statements, so a panic elsewhere does not spoil it.
        self.records.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Registry for InMemory {
    fn load(&self) -> Result<Vec<Record>, RegistryError> {
        Ok(self.records().iter().map(|(key, value)| (key.clone(), value.clone())).collect())
    }

    fn commit(&self, changes: &[Change]) -> Result<(), RegistryError> {
        let mut records = self.records();
        for change in changes {
            match &change.value {
                Some(value) => records.insert(change.key.clone(), value.clone()),
                None => records.remove(&change.key),
            };
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn changes_apply_in_order() {
        let registry = InMemory::new();
        registry
            .commit(&[Change::set("b", "1"), Change::set("a", "2"), Change::remove("missing")])
            .unwrap();
        registry.commit(&[Change::remove("b"), Change::set("b", "3")]).unwrap();
        assert_eq!(
            registry.load().unwrap(),
            [("a".to_owned(), b"2".to_vec()), ("b".to_owned(), b"3".to_vec())]
        );
    }
}
