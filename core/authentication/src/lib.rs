//! Who somebody is: credentials, and the handshake by which agents and drivers prove that they have one.
//!
//! Pure: bytes and messages in, messages out. Sessions, time limits and sockets are those of the caller.

pub mod cram_md5;
mod credentials;

pub use credentials::{Credential, Credentials, CredentialsError};
