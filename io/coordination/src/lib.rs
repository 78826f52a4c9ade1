//! Registry storage and leader detection.
//!
//! * [`Registry`] keeps what a master must not forget: small records under keys, both opaque here.
//!   [`EmbeddedFile`] is the store of a single master, [`InMemory`] the one of tests and simulations.
//! * [`Detector`] tells where the leading master is.

mod detector;
mod embedded_file;
mod in_memory;
mod registry;

pub use detector::{Detector, DetectorError};
pub use embedded_file::EmbeddedFile;
pub use in_memory::InMemory;
pub use registry::{Change, Record, Registry, RegistryError};
