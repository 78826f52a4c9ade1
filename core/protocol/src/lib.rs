//! Mesos' messages and their encodings: protobuf, Mesos JSON, RecordIO, pids, durations.
//!
//! Everything here is a pure function of its arguments: no clock, no I/O, no randomness. Bytes from
//! outside never panic; they give an error that names the field.

pub mod bytes;
pub mod duration;
pub mod pid;
pub mod recordio;
pub mod time;
pub mod uuid;
