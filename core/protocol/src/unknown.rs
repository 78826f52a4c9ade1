//! Fields this version does not know, kept byte for byte.

/// The fields of a message that are not in its definition, as they stood on the wire.
///
/// Mesos' own masters keep them, so that a newer framework's `TaskInfo` reaches a newer agent whole.
/// Almost always empty: one word then.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[expect(clippy::box_collection, reason = "a word per message instead of three")]
pub struct UnknownFields(Option<Box<Vec<u8>>>);

impl UnknownFields {
    /// No unknown fields.
    pub const NONE: Self = Self(None);

    /// Whether there are none.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.0.is_none()
    }

    /// The fields in wire format, in the order they came.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        self.0.as_deref().map_or(&[], Vec::as_slice)
    }

    /// Keeps one more field, given in wire format with its tag.
    pub(crate) fn push(&mut self, field: &[u8]) {
        if !field.is_empty() {
            self.0.get_or_insert_default().extend_from_slice(field);
        }
    }
}
