//! Which directories of the past are removed, and when: after `--gc_delay`, or sooner when the disk
//! fills up (`src/slave/gc.cpp`, `Slave::age`).

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use protocol::time::Timestamp;

use crate::config::GarbageCollectionConfig;

/// Directories waiting for removal and being removed, by absolute path. Their number is bounded by
/// what is on disk.
#[derive(Debug, Default)]
pub struct GarbageCollection {
    scheduled: BTreeMap<String, Timestamp>,
    by_time: BTreeSet<(Timestamp, String)>,
    removing: BTreeSet<String>,
}

impl GarbageCollection {
    /// Remembers a directory; a later call replaces an earlier one.
    pub fn schedule(&mut self, path: String, removal: Timestamp) {
        if let Some(old) = self.scheduled.insert(path.clone(), removal) {
            self.by_time.remove(&(old, path.clone()));
        }
        self.by_time.insert((removal, path));
    }

    /// Spares a directory that is in use again. Whether it, or one above it, is being removed right
    /// now, so that using it has to wait.
    pub fn unschedule(&mut self, path: &str) -> bool {
        if let Some(old) = self.scheduled.remove(path) {
            self.by_time.remove(&(old, path.to_owned()));
        }
        self.removing.iter().any(|other| is_within(path, other))
    }

    /// Takes what is to be removed by `until`, and counts it as being removed.
    pub fn take_due(&mut self, until: Timestamp) -> Vec<String> {
        let mut due = Vec::new();
        while self.by_time.first().is_some_and(|(removal, _)| *removal <= until) {
            if let Some((_, path)) = self.by_time.pop_first() {
                self.scheduled.remove(&path);
                self.removing.insert(path.clone());
                due.push(path);
            }
        }
        due
    }

    /// A removal ended, well or not.
    pub fn removed(&mut self, path: &str) {
        self.removing.remove(path);
    }

    /// When the next removal is due.
    #[must_use]
    pub fn next(&self) -> Option<Timestamp> {
        self.by_time.first().map(|(removal, _)| *removal)
    }

    /// How many directories wait or are being removed.
    #[must_use]
    pub fn pending(&self) -> usize {
        self.scheduled.len() + self.removing.len()
    }
}

/// How old a directory may get while the disk is used to this fraction.
#[must_use]
pub fn age_allowed(config: &GarbageCollectionConfig, used_fraction: f64) -> Duration {
    let share = (1.0 - config.disk_headroom - used_fraction).clamp(0.0, 1.0);
    // A fraction that is no number clamps to no number; then nothing may be removed early.
    if share.is_nan() { config.delay } else { config.delay.mul_f64(share) }
}

fn is_within(path: &str, directory: &str) -> bool {
    path.strip_prefix(directory).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fuller_disk_allows_less_age() {
        let config = GarbageCollectionConfig::default();
        assert_eq!(age_allowed(&config, 0.95), Duration::ZERO);
        assert_eq!(age_allowed(&config, 0.4), config.delay.mul_f64(0.5));
        assert!(age_allowed(&config, 0.0) < config.delay);
        assert_eq!(age_allowed(&config, f64::NAN), config.delay);
    }

    #[test]
    fn a_directory_in_use_again_is_spared() {
        let mut collection = GarbageCollection::default();
        collection.schedule("/w/a".to_owned(), Timestamp::from_secs(10));
        collection.schedule("/w/b".to_owned(), Timestamp::from_secs(20));
        assert!(!collection.unschedule("/w/a"));
        assert_eq!(collection.next(), Some(Timestamp::from_secs(20)));
        assert!(collection.take_due(Timestamp::from_secs(15)).is_empty());
        assert_eq!(collection.take_due(Timestamp::from_secs(20)), ["/w/b"]);
    }

    #[test]
    fn a_directory_below_one_being_removed_has_to_wait() {
        let mut collection = GarbageCollection::default();
        collection.schedule("/w/a".to_owned(), Timestamp::from_secs(1));
        collection.take_due(Timestamp::from_secs(1));
        assert!(collection.unschedule("/w/a/runs"));
        assert!(!collection.unschedule("/w/ab"));
        collection.removed("/w/a");
        assert!(!collection.unschedule("/w/a/runs"));
    }
}
