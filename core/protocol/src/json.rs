//! Mesos' JSON form of messages (`3rdparty/stout/include/stout/protobuf.hpp`, `jsonify.hpp`).
//!
//! Unlike protobuf's canonical JSON: field names as in the definition, 64-bit integers as numbers,
//! enums as names, unset optional fields absent unless they have an explicit default.

mod read;
mod write;

pub use read::{JsonError, JsonKind, ObjectReader, parse};
pub(crate) use read::{double, integer, read_base64};
pub use write::{ObjectWriter, write_double, write_string};
pub(crate) use write::{write_base64, write_object};
