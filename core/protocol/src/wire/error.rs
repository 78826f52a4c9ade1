use std::fmt;

/// Why bytes are not a message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DecodeError(Box<Inner>);

#[derive(Clone, Debug, PartialEq, Eq)]
struct Inner {
    path: String,
    kind: DecodeErrorKind,
}

/// What is wrong with the bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DecodeErrorKind {
    /// The bytes end within a field.
    #[error("the message ends in the middle of a field")]
    Truncated,
    /// A varint has more than ten bytes.
    #[error("a varint has more than ten bytes")]
    Varint,
    /// Field number 0, or a wire type protobuf does not have.
    #[error("a field tag is invalid")]
    Tag,
    /// Groups do not nest properly.
    #[error("a group is not closed")]
    Group,
    /// A string field holds something else.
    #[error("the string is not UTF-8")]
    Utf8,
    /// Messages nest deeper than [`crate::MAX_DEPTH`].
    #[error("messages nest too deep")]
    Depth,
    /// A required field is missing.
    #[error("the field is required but missing")]
    Missing,
}

impl DecodeError {
    pub(crate) fn new(kind: DecodeErrorKind) -> Self {
        Self(Box::new(Inner { path: String::new(), kind }))
    }

    pub(crate) fn missing(name: &str) -> Self {
        Self(Box::new(Inner { path: name.to_owned(), kind: DecodeErrorKind::Missing }))
    }

    /// Where the error is, such as `task_infos[3].resources[0].name`; empty for the message itself.
    #[must_use]
    pub fn path(&self) -> &str {
        &self.0.path
    }

    /// What is wrong there.
    #[must_use]
    pub fn kind(&self) -> DecodeErrorKind {
        self.0.kind
    }

    /// Says that the error happened inside `segment`, a field name or an index in brackets.
    pub(crate) fn prefix(&mut self, segment: &str) {
        let path = &mut self.0.path;
        if !path.is_empty() && !path.starts_with('[') {
            path.insert(0, '.');
        }
        path.insert_str(0, segment);
    }
}

impl fmt::Display for DecodeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.path.is_empty() {
            write!(f, "{}", self.0.kind)
        } else {
            write!(f, "field '{}': {}", self.0.path, self.0.kind)
        }
    }
}

impl std::error::Error for DecodeError {}
