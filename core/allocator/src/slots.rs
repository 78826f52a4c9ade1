//! Dense tables: a small index in place of a name, so that the inner loops compare and look up integers.

use std::hash::Hash;
use std::marker::PhantomData;
use std::sync::Arc;

use indexmap::IndexMap;
use protocol::hashing::IdHashing;

/// A position in a [`Slab`].
pub(crate) trait Slot: Copy + Ord {
    fn from_position(position: u32) -> Self;
    fn position(self) -> usize;
}

macro_rules! slot {
    ($(#[$attribute:meta])* $name:ident) => {
        $(#[$attribute])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
        pub(crate) struct $name(u32);

        impl Slot for $name {
            fn from_position(position: u32) -> Self {
                Self(position)
            }

            fn position(self) -> usize {
                self.0 as usize
            }
        }
    };
}

slot!(
    /// An agent.
    AgentIndex
);
slot!(
    /// A framework.
    FrameworkIndex
);
slot!(
    /// A node of the role tree.
    RoleIndex
);
slot!(
    /// A framework in one of its roles.
    ClientIndex
);

slot!(
    /// A role with a quota.
    QuotaIndex
);

/// Values at stable positions; positions of removed values are used again.
#[derive(Clone, Debug)]
pub(crate) struct Slab<I, V> {
    entries: Vec<Option<V>>,
    free: Vec<u32>,
    index: PhantomData<I>,
}

impl<I: Slot, V> Default for Slab<I, V> {
    fn default() -> Self {
        Self::new()
    }
}

impl<I: Slot, V> Slab<I, V> {
    pub(crate) fn new() -> Self {
        Self { entries: Vec::new(), free: Vec::new(), index: PhantomData }
    }

    pub(crate) fn insert(&mut self, value: V) -> I {
        let position = self.free.pop().unwrap_or_else(|| {
            self.entries.push(None);
            u32::try_from(self.entries.len() - 1).expect("fewer than 2^32 entries fit in memory")
        });
        self.entries[position as usize] = Some(value);
        I::from_position(position)
    }

    pub(crate) fn remove(&mut self, index: I) -> Option<V> {
        let value = self.entries.get_mut(index.position())?.take()?;
        self.free.push(u32::try_from(index.position()).expect("positions are given out as u32"));
        Some(value)
    }

    pub(crate) fn get(&self, index: I) -> Option<&V> {
        self.entries.get(index.position())?.as_ref()
    }

    pub(crate) fn get_mut(&mut self, index: I) -> Option<&mut V> {
        self.entries.get_mut(index.position())?.as_mut()
    }

    pub(crate) fn indices(&self) -> impl Iterator<Item = I> + '_ {
        self.iter().map(|(index, _)| index)
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (I, &V)> + '_ {
        self.entries.iter().enumerate().filter_map(|(position, entry)| {
            let index = I::from_position(u32::try_from(position).ok()?);
            Some((index, entry.as_ref()?))
        })
    }
}

impl<I: Slot, V> std::ops::Index<I> for Slab<I, V> {
    type Output = V;

    fn index(&self, index: I) -> &V {
        self.entries[index.position()].as_ref().expect("an index is dropped with its value")
    }
}

impl<I: Slot, V> std::ops::IndexMut<I> for Slab<I, V> {
    fn index_mut(&mut self, index: I) -> &mut V {
        self.entries[index.position()].as_mut().expect("an index is dropped with its value")
    }
}

/// A [`Slab`] whose values also have a name.
///
/// Names are long and begin alike, so they are found by hash. They are never walked.
#[derive(Clone, Debug)]
pub(crate) struct Named<K, I, V> {
    names: IndexMap<Arc<K>, I, IdHashing>,
    values: Slab<I, V>,
}

impl<K: Hash + Eq, I: Slot, V> Named<K, I, V> {
    pub(crate) fn new() -> Self {
        Self { names: IndexMap::default(), values: Slab::new() }
    }

    pub(crate) fn find(&self, name: &K) -> Option<I> {
        self.names.get(name).copied()
    }

    pub(crate) fn insert(&mut self, name: Arc<K>, value: V) -> I {
        let index = self.values.insert(value);
        self.names.insert(name, index);
        index
    }

    pub(crate) fn remove(&mut self, name: &K) -> Option<V> {
        let index = self.names.swap_remove(name)?;
        self.values.remove(index)
    }

    pub(crate) fn get(&self, index: I) -> Option<&V> {
        self.values.get(index)
    }

    pub(crate) fn get_mut(&mut self, index: I) -> Option<&mut V> {
        self.values.get_mut(index)
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (I, &V)> + '_ {
        self.values.iter()
    }
}

impl<K, I: Slot, V> std::ops::Index<I> for Named<K, I, V> {
    type Output = V;

    fn index(&self, index: I) -> &V {
        &self.values[index]
    }
}

impl<K, I: Slot, V> std::ops::IndexMut<I> for Named<K, I, V> {
    fn index_mut(&mut self, index: I) -> &mut V {
        &mut self.values[index]
    }
}
