//! Maps that are found in by hash: ids are long and begin alike, so that comparing them is slow.

use std::borrow::Borrow;
use std::hash::Hash;
use std::ops::Index;

use indexmap::IndexMap;
use protocol::hashing::IdHashing;

/// Values by key.
///
/// They are walked in the order in which they came, except that the last takes the place of one that is
/// removed. That depends on what was asked for alone, never on hashes, whose seed differs between runs so
/// that nobody can choose ids that collide.
#[derive(Clone, Debug)]
pub(crate) struct Directory<K, V> {
    entries: IndexMap<K, V, IdHashing>,
}

impl<K, V> Default for Directory<K, V> {
    fn default() -> Self {
        Self { entries: IndexMap::default() }
    }
}

impl<K: Hash + Eq, V> Directory<K, V> {
    pub(crate) fn len(&self) -> usize {
        self.entries.len()
    }

    pub(crate) fn get<Q: Hash + Eq + ?Sized>(&self, key: &Q) -> Option<&V>
    where
        K: Borrow<Q>,
    {
        self.entries.get(key)
    }

    pub(crate) fn get_mut<Q: Hash + Eq + ?Sized>(&mut self, key: &Q) -> Option<&mut V>
    where
        K: Borrow<Q>,
    {
        self.entries.get_mut(key)
    }

    pub(crate) fn contains_key<Q: Hash + Eq + ?Sized>(&self, key: &Q) -> bool
    where
        K: Borrow<Q>,
    {
        self.entries.contains_key(key)
    }

    /// Puts a value in, and gives back the one that had the key.
    pub(crate) fn insert(&mut self, key: K, value: V) -> Option<V> {
        self.entries.insert(key, value)
    }

    /// Takes a value out, and lets go of memory when most of it is unused.
    pub(crate) fn remove<Q: Hash + Eq + ?Sized>(&mut self, key: &Q) -> Option<V>
    where
        K: Borrow<Q>,
    {
        let value = self.entries.swap_remove(key)?;
        if self.entries.capacity() > SPARE_MAX && self.entries.len() * 4 < self.entries.capacity() {
            self.entries.shrink_to(self.entries.len() * 2);
        }
        Some(value)
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (&K, &V)> + '_ {
        self.entries.iter()
    }

    pub(crate) fn keys(&self) -> impl Iterator<Item = &K> + '_ {
        self.entries.keys()
    }

    pub(crate) fn values(&self) -> impl Iterator<Item = &V> + '_ {
        self.entries.values()
    }

    pub(crate) fn values_mut(&mut self) -> impl Iterator<Item = &mut V> + '_ {
        self.entries.values_mut()
    }
}

/// Room for so many entries is kept though it may be unused.
const SPARE_MAX: usize = 64;

impl<K: Hash + Eq + Borrow<Q>, Q: Hash + Eq + ?Sized, V> Index<&Q> for Directory<K, V> {
    type Output = V;

    fn index(&self, key: &Q) -> &V {
        self.get(key).expect("a key that is in the directory")
    }
}
