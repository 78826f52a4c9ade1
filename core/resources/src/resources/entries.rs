//! The list behind [`Resources`](super::Resources), shared by its copies until one of them changes.

use std::ops::Deref;
use std::sync::Arc;

use crate::Resource;

/// A list in one word. An agent's total is kept in several places, and so is what a task holds.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Entries(Option<Arc<Vec<Resource>>>);

impl Entries {
    pub(super) const EMPTY: Self = Self(None);

    /// The list, to be changed.
    pub(super) fn make_mut(&mut self) -> &mut Vec<Resource> {
        Arc::make_mut(self.0.get_or_insert_default())
    }

    /// The list, for whoever can use it up.
    pub(super) fn take(&mut self) -> Vec<Resource> {
        std::mem::take(self).into_vec()
    }

    pub(super) fn into_vec(self) -> Vec<Resource> {
        self.0.map(Arc::unwrap_or_clone).unwrap_or_default()
    }

    /// Lets go of an empty list, so that two empty ones are equal.
    pub(super) fn normalize(&mut self) {
        if self.is_empty() {
            self.0 = None;
        }
    }
}

impl From<Vec<Resource>> for Entries {
    fn from(mut list: Vec<Resource>) -> Self {
        list.shrink_to_fit();
        Self((!list.is_empty()).then(|| Arc::new(list)))
    }
}

impl Deref for Entries {
    type Target = [Resource];

    fn deref(&self) -> &[Resource] {
        self.0.as_deref().map_or(&[], Vec::as_slice)
    }
}
