//! Mesos' messages and their encodings: protobuf, Mesos JSON, RecordIO, pids, durations.
//!
//! Everything here is a pure function of its arguments: no clock, no I/O, no randomness, but for the seed
//! of [`hashing`], which nothing that is put out depends on. Bytes from
//! outside never panic; they give an error that names the field.

pub mod bytes;
pub mod causes;
pub mod duration;
pub mod flat;
#[expect(
    unused_qualifications,
    clippy::enum_variant_names,
    reason = "names are those of the definitions, every type is named from the root"
)]
mod generated;
pub mod hashing;
pub mod json;
mod message;
#[expect(
    clippy::large_enum_variant,
    reason = "messages are handled one at a time, soon after they are read"
)]
pub mod messages;
pub mod pid;
pub mod recordio;
#[cfg(test)]
mod registry;
mod states;
#[cfg(test)]
mod tests;
pub mod time;
mod unknown;
pub mod uuid;
mod wire;

pub use generated::{
    agent, allocator, checkpoint, containerizer, executor, google, internal, maintenance, master,
    mesos, quota, quota_v0, resource_provider, scheduler, scheduler_v0, state,
};
pub use json::JsonError;
pub use message::{FieldInfo, Message, Names};
pub use unknown::UnknownFields;
pub use wire::{DecodeError, DecodeErrorKind, Decoding, Field, MAX_DEPTH};
