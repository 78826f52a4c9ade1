//! What stands below the errors of everything that talks to an ensemble.

use crate::zookeeper::{RequestError, SessionEnd};

/// What the ensemble, or the way to it, had to say. The text tells all there is to know.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct EnsembleError(String);

impl EnsembleError {
    pub(crate) fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }
}

impl From<RequestError> for EnsembleError {
    fn from(error: RequestError) -> Self {
        Self(match error {
            RequestError::Refused(code) => code.to_string(),
            RequestError::SessionOver(end) => end.to_string(),
            RequestError::Interrupted
            | RequestError::Malformed(_)
            | RequestError::TooLong { .. } => error.to_string(),
        })
    }
}

impl From<SessionEnd> for EnsembleError {
    fn from(end: SessionEnd) -> Self {
        Self(end.to_string())
    }
}
