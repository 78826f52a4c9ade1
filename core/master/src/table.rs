//! Ordered tables whose copies share what has not changed.

use std::borrow::Borrow;
use std::fmt;
use std::ops::Index;
use std::sync::Arc;

/// How many entries stand together. What a change copies while a snapshot holds on to the table is one
/// such group and the list of groups.
const CHUNK_MAX: usize = 32;

/// A value that holds its own key.
pub trait Keyed {
    /// The key.
    type Key: Ord;

    /// The key of this value; it never changes while the value is in a table.
    fn key(&self) -> &Self::Key;
}

/// Values in the order of their keys.
///
/// A clone costs nothing: both sides share all their entries until one of them changes, which copies a
/// small part. So a snapshot of a large and busy table is cheap however often one is taken.
pub struct Table<V> {
    chunks: Arc<Vec<Arc<Vec<V>>>>,
    length: usize,
}

impl<V> Clone for Table<V> {
    fn clone(&self) -> Self {
        Self { chunks: Arc::clone(&self.chunks), length: self.length }
    }
}

impl<V> Default for Table<V> {
    fn default() -> Self {
        Self { chunks: Arc::default(), length: 0 }
    }
}

impl<V: fmt::Debug> fmt::Debug for Table<V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.values()).finish()
    }
}

impl<V: PartialEq> PartialEq for Table<V> {
    fn eq(&self, other: &Self) -> bool {
        self.length == other.length && self.values().eq(other.values())
    }
}

impl<V> Table<V> {
    /// How many values there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.length
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.length == 0
    }

    /// All values, in the order of their keys.
    pub fn values(&self) -> impl DoubleEndedIterator<Item = &V> + Clone + '_ {
        self.chunks.iter().flat_map(|chunk| chunk.iter())
    }
}

impl<V: Keyed> Table<V> {
    /// All keys and values, in the order of the keys.
    pub fn iter(&self) -> impl DoubleEndedIterator<Item = (&V::Key, &V)> + Clone + '_ {
        self.values().map(|value| (value.key(), value))
    }

    /// All keys, in order.
    pub fn keys(&self) -> impl DoubleEndedIterator<Item = &V::Key> + Clone + '_ {
        self.values().map(Keyed::key)
    }

    /// The value with this key.
    #[must_use]
    pub fn get<Q>(&self, key: &Q) -> Option<&V>
    where
        V::Key: Borrow<Q>,
        Q: Ord + ?Sized,
    {
        let (chunk, position) = self.find(key).ok()?;
        Some(&self.chunks[chunk][position])
    }

    /// Whether there is a value with this key.
    #[must_use]
    pub fn contains_key<Q>(&self, key: &Q) -> bool
    where
        V::Key: Borrow<Q>,
        Q: Ord + ?Sized,
    {
        self.find(key).is_ok()
    }

    /// The value with the smallest key.
    #[must_use]
    pub fn first(&self) -> Option<&V> {
        self.chunks.first()?.first()
    }

    /// Where a key is, or where it belongs.
    fn find<Q>(&self, key: &Q) -> Result<(usize, usize), (usize, usize)>
    where
        V::Key: Borrow<Q>,
        Q: Ord + ?Sized,
    {
        let starts_behind =
            |chunk: &Arc<Vec<V>>| chunk.first().is_none_or(|first| first.key().borrow() <= key);
        let chunk = self.chunks.partition_point(starts_behind).saturating_sub(1);
        let Some(values) = self.chunks.get(chunk) else { return Err((0, 0)) };
        match values.binary_search_by(|value| value.key().borrow().cmp(key)) {
            Ok(position) => Ok((chunk, position)),
            Err(position) => Err((chunk, position)),
        }
    }
}

impl<V: Keyed + Clone> Table<V> {
    /// The value with this key, to be changed. Its key must stay.
    pub fn get_mut<Q>(&mut self, key: &Q) -> Option<&mut V>
    where
        V::Key: Borrow<Q>,
        Q: Ord + ?Sized,
    {
        let (chunk, position) = self.find(key).ok()?;
        let chunk = Arc::make_mut(&mut Arc::make_mut(&mut self.chunks)[chunk]);
        Some(&mut chunk[position])
    }

    /// Puts a value in, and gives back the one with the same key.
    pub fn insert(&mut self, value: V) -> Option<V> {
        let (chunk, position) = match self.find(value.key()) {
            Ok((chunk, position)) => {
                let chunk = Arc::make_mut(&mut Arc::make_mut(&mut self.chunks)[chunk]);
                return Some(std::mem::replace(&mut chunk[position], value));
            }
            Err(place) => place,
        };
        self.length += 1;
        let chunks = Arc::make_mut(&mut self.chunks);
        let Some(shared) = chunks.get_mut(chunk) else {
            chunks.push(Arc::new(vec![value]));
            return None;
        };
        let full = shared.len() >= CHUNK_MAX;
        if full && position == shared.len() {
            // Keys mostly ascend: full groups stay full.
            chunks.insert(chunk + 1, Arc::new(vec![value]));
            return None;
        }
        let values = Arc::make_mut(shared);
        if !full {
            values.insert(position, value);
            return None;
        }
        let mut upper = values.split_off(CHUNK_MAX / 2);
        match position.checked_sub(CHUNK_MAX / 2) {
            Some(position) => upper.insert(position, value),
            None => values.insert(position, value),
        }
        chunks.insert(chunk + 1, Arc::new(upper));
        None
    }

    /// Takes the value with this key out.
    pub fn remove<Q>(&mut self, key: &Q) -> Option<V>
    where
        V::Key: Borrow<Q>,
        Q: Ord + ?Sized,
    {
        let (chunk, position) = self.find(key).ok()?;
        self.length -= 1;
        let chunks = Arc::make_mut(&mut self.chunks);
        let values = Arc::make_mut(&mut chunks[chunk]);
        let value = values.remove(position);
        let left = values.len();
        if left == 0 {
            chunks.remove(chunk);
        } else if let Some(next) = chunks.get(chunk + 1)
            && left + next.len() <= CHUNK_MAX / 2
        {
            // Few entries each: together they take less room.
            let next = chunks.remove(chunk + 1);
            Arc::make_mut(&mut chunks[chunk]).extend(next.iter().cloned());
        }
        Some(value)
    }

    /// Takes the value with the smallest key out.
    pub fn pop_first(&mut self) -> Option<V>
    where
        V::Key: Clone,
    {
        let key = self.first()?.key().clone();
        self.remove(&key)
    }
}

/// The value at a position in the order of the keys.
impl<V> Index<usize> for Table<V> {
    type Output = V;

    fn index(&self, position: usize) -> &V {
        let mut before = 0;
        for chunk in self.chunks.iter() {
            if let Some(value) = chunk.get(position - before) {
                return value;
            }
            before += chunk.len();
        }
        panic!("there are {} values, there is none at {position}", self.length);
    }
}

/// The value with a key.
impl<V: Keyed> Index<&V::Key> for Table<V> {
    type Output = V;

    fn index(&self, key: &V::Key) -> &V {
        self.get(key).expect("a key that is in the table")
    }
}

impl<'a, V: Keyed> IntoIterator for &'a Table<V> {
    type Item = (&'a V::Key, &'a V);
    type IntoIter = Box<dyn Iterator<Item = Self::Item> + 'a>;

    fn into_iter(self) -> Self::IntoIter {
        Box::new(self.iter())
    }
}

impl<V: Keyed + Clone> FromIterator<V> for Table<V> {
    fn from_iter<I: IntoIterator<Item = V>>(values: I) -> Self {
        let mut table = Self::default();
        for value in values {
            table.insert(value);
        }
        table
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    #[derive(Clone, Debug, PartialEq)]
    struct Entry(u16, u32);

    impl Keyed for Entry {
        type Key = u16;

        fn key(&self) -> &u16 {
            &self.0
        }
    }

    #[derive(Clone, Debug)]
    enum Step {
        Insert(u16, u32),
        Remove(u16),
        Change(u16, u32),
        PopFirst,
        Snapshot,
    }

    fn step() -> impl Strategy<Value = Step> {
        let key = 0..200_u16;
        prop_oneof![
            4 => (key.clone(), any::<u32>()).prop_map(|(key, value)| Step::Insert(key, value)),
            2 => key.clone().prop_map(Step::Remove),
            2 => (key, any::<u32>()).prop_map(|(key, value)| Step::Change(key, value)),
            1 => Just(Step::PopFirst),
            1 => Just(Step::Snapshot),
        ]
    }

    fn content(table: &Table<Entry>) -> Vec<(u16, u32)> {
        table.values().map(|entry| (entry.0, entry.1)).collect()
    }

    proptest! {
        #[test]
        fn it_is_a_map_and_its_clones_never_change(
            steps in proptest::collection::vec(step(), 0..600)
        ) {
            let mut table = Table::default();
            let mut model = BTreeMap::new();
            let mut snapshots = Vec::new();
            for step in steps {
                match step {
                    Step::Insert(key, value) => {
                        let old = table.insert(Entry(key, value)).map(|entry| entry.1);
                        prop_assert_eq!(old, model.insert(key, value));
                    }
                    Step::Remove(key) => {
                        let old = table.remove(&key).map(|entry| entry.1);
                        prop_assert_eq!(old, model.remove(&key));
                    }
                    Step::Change(key, value) => {
                        if let Some(entry) = table.get_mut(&key) {
                            entry.1 = value;
                        }
                        model.entry(key).and_modify(|old| *old = value);
                    }
                    Step::PopFirst => {
                        let first = table.pop_first().map(|entry| (entry.0, entry.1));
                        prop_assert_eq!(first, model.pop_first());
                    }
                    Step::Snapshot => snapshots.push((table.clone(), content(&table))),
                }
                prop_assert_eq!(table.len(), model.len());
            }
            let expected: Vec<(u16, u32)> = model.iter().map(|(key, value)| (*key, *value)).collect();
            prop_assert_eq!(content(&table), expected);
            for key in 0..200 {
                prop_assert_eq!(table.get(&key).map(|entry| entry.1), model.get(&key).copied());
            }
            for (snapshot, before) in snapshots {
                prop_assert_eq!(content(&snapshot), before);
            }
        }
    }
}
