//! What every registry store promises.

use std::fmt::Debug;
use std::path::PathBuf;

use crate::ensemble_error::EnsembleError;

/// A key with its value, as stored.
pub type Record = (String, Vec<u8>);

/// One change of one record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// Which record.
    pub key: String,
    /// Its new value; `None` removes the record, and removing an absent record is no error.
    pub value: Option<Vec<u8>>,
}

impl Change {
    /// Sets the record under `key`, whether or not it exists.
    #[must_use]
    pub fn set(key: impl Into<String>, value: impl Into<Vec<u8>>) -> Self {
        Self { key: key.into(), value: Some(value.into()) }
    }

    /// Removes the record under `key`, if it exists.
    #[must_use]
    pub fn remove(key: impl Into<String>) -> Self {
        Self { key: key.into(), value: None }
    }
}

/// Durable records of a master.
///
/// The calls block until the disk has answered, so a caller with an event loop makes them on a
/// thread of their own. Batching is the caller's: one commit with a hundred changes costs about as
/// much as one with a single change.
pub trait Registry: Debug + Send + Sync {
    /// All records, in the order of their keys.
    ///
    /// # Errors
    /// The store cannot be read.
    fn load(&self) -> Result<Vec<Record>, RegistryError>;

    /// Applies all changes, in order, or none of them. When this returns `Ok` they survive a crash
    /// of the process and of the machine.
    ///
    /// # Errors
    /// The store cannot be written. It is then unknown whether the changes will be there after a
    /// restart, so the only safe reaction of a master is to exit.
    fn commit(&self, changes: &[Change]) -> Result<(), RegistryError>;

    /// Applies several writes in order, each of them whole or not at all. When this returns `Ok` all of
    /// them survive a crash.
    ///
    /// A store with a limit on what it writes at once may need several steps. A crash between two steps
    /// leaves the earlier writes and none of the later: the same as if the crash had come between two
    /// calls, so it is safe for whoever tells nobody of a write before this returns.
    ///
    /// # Errors
    /// As [`Registry::commit`].
    fn commit_all(&self, writes: &[Vec<Change>]) -> Result<(), RegistryError> {
        self.commit(&writes.concat())
    }
}

/// Which operation on a registry store failed. The cause is in `source()`.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RegistryError {
    /// The folder of the store cannot be made or written to.
    #[error("cannot write to the registry folder '{}'", path.display())]
    Folder {
        /// The folder.
        path: PathBuf,
        /// What the operating system said.
        source: std::io::Error,
    },
    /// Another process has the file open.
    #[error("the registry file '{}' is in use by another process", path.display())]
    InUse {
        /// The file.
        path: PathBuf,
    },
    /// The file exists but is not a registry, or is damaged. It was left as it was.
    #[error("the file '{}' is not a readable registry: {reason}", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// The file cannot be opened or created.
    #[error("cannot open the registry file '{}'", path.display())]
    Open {
        /// The file.
        path: PathBuf,
        /// What the store said.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The records cannot be read.
    #[error("cannot read the registry file '{}'", path.display())]
    Load {
        /// The file.
        path: PathBuf,
        /// What the store said.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The changes cannot be written.
    #[error("cannot commit to the registry file '{}'", path.display())]
    Commit {
        /// The file.
        path: PathBuf,
        /// What the store said.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// Another master has taken over the registry: this one does not lead any more, and nothing it
    /// writes counts.
    #[error("the registry at '{location}' was taken over by another master")]
    Deposed {
        /// The ensemble and the path.
        location: String,
    },
    /// What is at the place of the registry is none, is incomplete, was changed by somebody else, or is
    /// of a newer version. It was left as it was.
    #[error("'{location}' is not a readable registry: {reason}")]
    Foreign {
        /// The ensemble and the path.
        location: String,
        /// What is wrong with it.
        reason: String,
    },
    /// The ensemble cannot be reached in time, or refuses.
    #[error("cannot {operation} the registry at '{location}'")]
    Ensemble {
        /// What was tried.
        operation: &'static str,
        /// The ensemble and the path.
        location: String,
        /// What the ensemble, or the way to it, had to say.
        source: EnsembleError,
    },
    /// One write is larger than an ensemble takes at once. Nothing was written.
    #[error(
        "a write of {bytes} bytes is too large for ZooKeeper: at most {bytes_max} fit into one"
    )]
    TooLarge {
        /// What the write takes.
        bytes: usize,
        /// The limit.
        bytes_max: usize,
    },
    /// The registry was opened for reading alone.
    #[error("the registry at '{location}' was opened for reading alone")]
    ReadOnly {
        /// The ensemble and the path.
        location: String,
    },
}
