//! All message types by name, for tests that go through them.

use crate::wire::DecodeError;
use crate::{JsonError, Message, Names};

/// One message type behind plain functions.
pub(crate) struct Entry {
    /// The v1 name, or the only one.
    pub(crate) name: &'static str,
    /// The v0 name of a pair.
    pub(crate) v0_name: Option<&'static str>,
    /// Decodes and encodes.
    pub(crate) reencode: fn(&[u8]) -> Result<Vec<u8>, DecodeError>,
    /// Decodes and writes JSON.
    pub(crate) to_json: fn(&[u8], Names) -> Result<String, DecodeError>,
    /// Reads JSON and encodes.
    pub(crate) from_json: fn(&[u8], Names) -> Result<Vec<u8>, JsonError>,
}

impl Entry {
    pub(crate) const fn new<M: Message>(v0_name: Option<&'static str>) -> Self {
        Self {
            name: M::FULL_NAME,
            v0_name,
            reencode: |bytes| Ok(M::decode(bytes)?.encode_to_vec()),
            to_json: |bytes, names| Ok(M::decode(bytes)?.to_json(names)),
            from_json: |text, names| Ok(M::from_json(text, names)?.encode_to_vec()),
        }
    }
}
