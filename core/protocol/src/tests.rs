//! Tests over all message types: against another implementation, against recorded traffic, and
//! against damaged input.

mod arbitrary;
mod conformance;
mod golden;
mod mutation;
mod rules;

use std::path::PathBuf;

use crate::generated::registry::MESSAGES;
use crate::registry::Entry;

/// A path from the root of the repository.
fn repository(path: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../..").join(path)
}

/// The entry of a v0, v1 or internal message name.
fn entry(name: &str) -> Option<&'static Entry> {
    MESSAGES.iter().find(|entry| entry.name == name || entry.v0_name == Some(name))
}
