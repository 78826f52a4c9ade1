//! Errors as one line of text.

use std::error::Error;

/// An error with all that caused it, in the one-line form that Mesos' texts have: `what: why: why that`.
#[must_use]
pub fn with_causes(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(": ");
        text.push_str(&error.to_string());
        cause = error.source();
    }
    text
}
