//! Leader election, leader detection and registry storage.
//!
//! * [`Contender`] contends for leadership among the masters of a ZooKeeper ensemble, and tells when it
//!   is won and lost; [`Epoch`] numbers the terms of leaders.
//! * [`Detector`] tells where the leading master is: at a fixed address, or as an ensemble knows.
//! * [`Contender::start_instance`] and [`watch_instances`] are the same for the instances of another
//!   program, such as a framework.
//! * [`Registry`] keeps what a master must not forget: small records under keys, both opaque here.
//!   [`EmbeddedFile`] is the store of a single master, [`ZooKeeperRegistry`] that of several,
//!   [`InMemory`] the one of tests and simulations. [`export`] and [`import`] carry records from one
//!   store to another.
//!
//! Detection and election understand, and are understood by, all that speaks Mesos' ZooKeeper layout.

mod candidates;
mod contender;
mod detector;
mod embedded_file;
mod ensemble_error;
mod in_memory;
mod instances;
mod registry;
#[cfg(test)]
mod testing;
mod transfer;
mod url;
mod zookeeper;
mod zookeeper_registry;

pub use contender::{Candidacy, Contender, ContenderError, Epoch, Lease};
pub use detector::{Detected, Detection, Detector, DetectorError, Leader, SESSION_TIMEOUT_DEFAULT};
pub use embedded_file::EmbeddedFile;
pub use ensemble_error::EnsembleError;
pub use in_memory::InMemory;
pub use instances::watch_instances;
pub use registry::{Change, Record, Registry, RegistryError};
pub use transfer::{TransferError, UNFINISHED_IMPORT_KEY, export, import};
pub use url::{UrlError, ZooKeeperUrl};
pub use zookeeper_registry::{RegistryTimeouts, ZooKeeperRegistry};
