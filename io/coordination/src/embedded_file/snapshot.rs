//! Checks a registry file on a copy in memory, so that finding damage changes nothing on disk.

use std::path::Path;

use redb::backends::InMemoryBackend;
use redb::{Builder, StorageBackend};

use crate::registry::RegistryError;

/// Reads the whole file and verifies the checksum of every page. A file left by a crash is sound:
/// the repair that redb does when it opens one is done here too, on the copy.
pub(super) fn verify(path: &Path) -> Result<(), RegistryError> {
    let bytes = std::fs::read(path)
        .map_err(|error| RegistryError::Open { path: path.to_owned(), source: error.into() })?;
    let unreadable = |reason| RegistryError::Unreadable { path: path.to_owned(), reason };
    if bytes.is_empty() {
        // An empty one would be taken for a new database.
        return Err(unreadable("it is empty".to_owned()));
    }
    let copy = copy(&bytes).map_err(unreadable)?;
    drop(bytes);
    let database = super::guard(path, || {
        Builder::new()
            .set_cache_size(super::CACHE_BYTES)
            .set_check_integrity_on_open(true)
            .create_with_backend(copy)
    })?;
    drop(database);
    Ok(())
}

fn copy(bytes: &[u8]) -> Result<InMemoryBackend, String> {
    let backend = InMemoryBackend::new();
    let length = u64::try_from(bytes.len()).map_err(|error| error.to_string())?;
    backend.set_len(length).map_err(|error| error.to_string())?;
    backend.write(0, bytes).map_err(|error| error.to_string())?;
    Ok(backend)
}
