//! The registry of a single master: one file, written with redb.
//!
//! `<work_dir>/registry/records.redb` holds the records, `<work_dir>/registry/lock` is locked while
//! a process has them open.
//!
//! A commit writes the 4096-byte B-tree pages on the way to the changed records, redb's own
//! bookkeeping and then calls `fsync`: 29 kB for one record of 600 bytes among 5000 (measured by the
//! test `a_small_change_writes_little`), and hardly more for several neighbours. The cost depends on
//! what changes and on the depth of the tree, not on the number of records.

use std::fs::{File, OpenOptions, TryLockError};
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};

use redb::{
    Builder, Database, DatabaseError, ReadableDatabase, ReadableTable, StorageError,
    TableDefinition,
};

use crate::registry::{Change, Record, Registry, RegistryError};

mod snapshot;

/// The folder inside the work folder.
const FOLDER: &str = "registry";
const FILE: &str = "records.redb";
/// A file being created. It gets its name once it is complete, so a crash leaves no half file.
const NEW_FILE: &str = "records.redb.new";
const LOCK_FILE: &str = "lock";

/// Pages kept in memory. A registry is read once, at the start.
const CACHE_BYTES: usize = 16 << 20;

const RECORDS: TableDefinition<'_, &str, &[u8]> = TableDefinition::new("records");
const FORMAT: TableDefinition<'_, &str, u64> = TableDefinition::new("format");
const FORMAT_KEY: &str = "version";
const FORMAT_VERSION: u64 = 1;

type Cause = Box<dyn std::error::Error + Send + Sync>;

/// A registry in one file.
#[derive(Debug)]
pub struct EmbeddedFile {
    path: PathBuf,
    database: Database,
    /// Held for as long as the database is open.
    _lock: File,
}

impl EmbeddedFile {
    /// Opens the registry in `work_dir`, or creates it.
    ///
    /// What is there is checked as a whole before anything is written: a foreign or damaged file
    /// stays as it was.
    ///
    /// # Errors
    /// The folder cannot be written, the file is in use, foreign, damaged or of a newer format.
    pub fn open(work_dir: &Path) -> Result<Self, RegistryError> {
        let folder = work_dir.join(FOLDER);
        let in_folder = |source| RegistryError::Folder { path: folder.clone(), source };
        std::fs::create_dir_all(&folder).map_err(in_folder)?;
        let path = folder.join(FILE);
        let lock = lock(&folder.join(LOCK_FILE), &path)?;
        let database = if path.try_exists().map_err(in_folder)? {
            snapshot::verify(&path)?;
            guard(&path, || open(&path))?
        } else {
            create(&folder, &path)?
        };
        let registry = Self { path, database, _lock: lock };
        registry.check_format()?;
        Ok(registry)
    }

    /// Whether there is a registry in `work_dir`; it may be damaged.
    #[must_use]
    pub fn exists_in(work_dir: &Path) -> bool {
        work_dir.join(FOLDER).join(FILE).exists()
    }

    /// The file that holds the records.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    fn check_format(&self) -> Result<(), RegistryError> {
        let version = self.read_format().map_err(|source| self.load_error(source))?;
        if version == Some(FORMAT_VERSION) {
            return Ok(());
        }
        let reason = match version {
            Some(version) => format!("format {version}, this version reads {FORMAT_VERSION}"),
            None => "it is a redb file of another program".to_owned(),
        };
        Err(RegistryError::Unreadable { path: self.path.clone(), reason })
    }

    fn read_format(&self) -> Result<Option<u64>, Cause> {
        let transaction = self.database.begin_read()?;
        let table = match transaction.open_table(FORMAT) {
            Ok(table) => table,
            Err(redb::TableError::TableDoesNotExist(_)) => return Ok(None),
            Err(error) => return Err(error.into()),
        };
        Ok(table.get(FORMAT_KEY)?.map(|version| version.value()))
    }

    fn read_records(&self) -> Result<Vec<Record>, Cause> {
        let transaction = self.database.begin_read()?;
        let table = transaction.open_table(RECORDS)?;
        let mut records = Vec::new();
        for entry in table.iter()? {
            let (key, value) = entry?;
            records.push((key.value().to_owned(), value.value().to_vec()));
        }
        Ok(records)
    }

    fn write_changes(&self, changes: &[Change]) -> Result<(), Cause> {
        let transaction = self.database.begin_write()?;
        {
            let mut table = transaction.open_table(RECORDS)?;
            for change in changes {
                match &change.value {
                    Some(value) => table.insert(change.key.as_str(), value.as_slice())?,
                    None => table.remove(change.key.as_str())?,
                };
            }
        }
        transaction.commit()?;
        Ok(())
    }

    fn load_error(&self, source: Cause) -> RegistryError {
        RegistryError::Load { path: self.path.clone(), source }
    }
}

impl Registry for EmbeddedFile {
    fn load(&self) -> Result<Vec<Record>, RegistryError> {
        self.read_records().map_err(|source| self.load_error(source))
    }

    fn commit(&self, changes: &[Change]) -> Result<(), RegistryError> {
        if changes.is_empty() {
            return Ok(());
        }
        self.write_changes(changes)
            .map_err(|source| RegistryError::Commit { path: self.path.clone(), source })
    }
}

fn lock(lock_path: &Path, path: &Path) -> Result<File, RegistryError> {
    let open_error = |source: io::Error| RegistryError::Open {
        path: lock_path.to_owned(),
        source: source.into(),
    };
    let file = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(false)
        .open(lock_path)
        .map_err(open_error)?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(RegistryError::InUse { path: path.to_owned() }),
        Err(TryLockError::Error(error)) => Err(open_error(error)),
    }
}

fn open(path: &Path) -> Result<Database, DatabaseError> {
    Builder::new().set_cache_size(CACHE_BYTES).open(path)
}

/// Builds the file under another name, makes it durable and gives it its name.
fn create(folder: &Path, path: &Path) -> Result<Database, RegistryError> {
    let new_path = folder.join(NEW_FILE);
    let in_folder = |source| RegistryError::Folder { path: folder.to_owned(), source };
    match std::fs::remove_file(&new_path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(in_folder(error)),
        _ => {}
    }
    initialize(&new_path)
        .map_err(|source| RegistryError::Open { path: new_path.clone(), source })?;
    std::fs::rename(&new_path, path).map_err(in_folder)?;
    // Without this the rename itself could be lost with the machine's power.
    File::open(folder).and_then(|folder| folder.sync_all()).map_err(in_folder)?;
    guard(path, || open(path))
}

fn initialize(path: &Path) -> Result<(), Cause> {
    let database = Builder::new().set_cache_size(CACHE_BYTES).create(path)?;
    let transaction = database.begin_write()?;
    transaction.open_table(RECORDS)?;
    transaction.open_table(FORMAT)?.insert(FORMAT_KEY, FORMAT_VERSION)?;
    transaction.commit()?;
    Ok(())
}

/// Opens a database, with every way in which a damaged file can fail turned into an error: redb
/// asserts some of its own invariants.
fn guard(
    path: &Path,
    open: impl FnOnce() -> Result<Database, DatabaseError>,
) -> Result<Database, RegistryError> {
    let unreadable = |reason| RegistryError::Unreadable { path: path.to_owned(), reason };
    match catch_unwind(AssertUnwindSafe(open)) {
        Ok(Ok(database)) => Ok(database),
        Ok(Err(DatabaseError::DatabaseAlreadyOpen)) => {
            Err(RegistryError::InUse { path: path.to_owned() })
        }
        Ok(Err(DatabaseError::Storage(StorageError::Io(error))))
            if error.kind() != io::ErrorKind::InvalidData =>
        {
            Err(RegistryError::Open { path: path.to_owned(), source: error.into() })
        }
        Ok(Err(error)) => Err(unreadable(error.to_string())),
        Err(_) => Err(unreadable("it is damaged".to_owned())),
    }
}

#[cfg(test)]
mod tests;
