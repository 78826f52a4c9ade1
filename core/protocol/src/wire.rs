//! The protobuf wire format: varints, tags and the fields built from them.
//!
//! Mesos' definitions use nine of protobuf's scalar types (double, float, int32, int64, uint32,
//! uint64, bool, string, bytes) and no groups, so a Rust type has exactly one wire form; groups are
//! skipped when they come as unknown fields.

mod decode;
mod encode;
mod error;
mod value;

pub use decode::{Decoding, Field, Outcome, Payload};
pub(crate) use encode::{map, optional, repeated, required, unknown};
pub use error::{DecodeError, DecodeErrorKind};
pub use value::Value;
pub(crate) use value::{encode_enum, enum_number_of, enumeration};

/// How deep messages may nest: protobuf's own limit. A hostile body could else exhaust the stack.
pub const MAX_DEPTH: u32 = 100;

const VARINT: u32 = 0;
const FIXED64: u32 = 1;
const LENGTH_DELIMITED: u32 = 2;
const GROUP_START: u32 = 3;
const GROUP_END: u32 = 4;
const FIXED32: u32 = 5;
