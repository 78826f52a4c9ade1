//! What a framework must not forget: its id and small records of its own.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use coordination::{
    Change, EmbeddedFile, Epoch, Registry, RegistryError, RegistryTimeouts, UrlError,
    ZooKeeperRegistry, ZooKeeperUrl,
};
use protocol::mesos::FrameworkId;

/// The key of the framework's id, which is kept as it is: text.
const FRAMEWORK_ID_KEY: &str = "framework-id";

/// What stands before the keys of the framework's own records.
const RECORD_PREFIX: &str = "records/";

/// Durable records of one framework, in an embedded file or in ZooKeeper; clones are the same store.
///
/// One instance of the framework has it open at a time: a file is locked, and whoever opens a store in
/// ZooKeeper takes it from the instance that had it, whose later writes fail with
/// [`StoreError::Deposed`]. So what was read stays true until this instance changes it, and a write need
/// not be compared with what is there.
#[derive(Clone, Debug)]
pub struct Store {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    place: String,
    registry: Box<dyn Registry>,
    framework_id: Mutex<Option<FrameworkId>>,
}

/// Why a store cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StoreError {
    /// The place begins as the URL of an ensemble and is none.
    #[error("the store of the framework has no valid place")]
    Url(#[from] UrlError),
    /// Another instance of the framework has opened the store: nothing that this one writes counts.
    #[error("the store of the framework in {place} was taken over by another instance")]
    Deposed {
        /// The folder, or the ensemble and the path.
        place: String,
    },
    /// The store cannot be opened, read or written. After a failed write it is not known whether the
    /// changes are there, so the only safe reaction is to exit and begin again.
    #[error("cannot {operation} the store of the framework in {place}")]
    Failed {
        /// What was tried.
        operation: &'static str,
        /// The folder, or the ensemble and the path.
        place: String,
        /// What is wrong.
        source: RegistryError,
    },
}

impl Store {
    /// Opens the store in a folder (`/var/lib/example`), or below a path of a ZooKeeper ensemble
    /// (`zk://…/frameworks/example`); makes it if there is none. To be called inside a tokio runtime.
    ///
    /// # Errors
    /// It is in use, damaged or foreign, or the ensemble cannot be reached.
    pub async fn open(place: &str) -> Result<Self, StoreError> {
        Self::open_for(place, None).await
    }

    /// As [`Store::open`], for an instance that was elected by [`crate::Instance`]. Every write checks
    /// that no later leader has opened the store; a store that was opened by one is not opened.
    ///
    /// # Errors
    /// As [`Store::open`].
    pub async fn open_elected(place: &str, epoch: Epoch) -> Result<Self, StoreError> {
        Self::open_for(place, Some(epoch)).await
    }

    async fn open_for(place: &str, epoch: Option<Epoch>) -> Result<Self, StoreError> {
        let url: Option<ZooKeeperUrl> =
            if ZooKeeperUrl::is_meant_by(place) { Some(place.parse()?) } else { None };
        // Without the password.
        let shown = url.as_ref().map_or_else(|| place.to_owned(), ToString::to_string);
        let folder = place.to_owned();
        let opened = blocking(move || {
            let registry = open_registry(url.as_ref(), Path::new(&folder), epoch)?;
            let records = registry.load()?;
            Ok((registry, records))
        });
        let (registry, records) = opened.await.map_err(|error| failed("open", &shown, error))?;
        let id = records.into_iter().find(|(key, _)| key == FRAMEWORK_ID_KEY).map(|(_, id)| id);
        let framework_id = id.map(|id| FrameworkId {
            value: String::from_utf8_lossy(&id).into_owned(),
            ..Default::default()
        });
        let framework_id = Mutex::new(framework_id);
        Ok(Self { inner: Arc::new(Inner { place: shown, registry, framework_id }) })
    }

    /// The folder, or the ensemble and the path, for people.
    #[must_use]
    pub fn place(&self) -> &str {
        &self.inner.place
    }

    /// The framework's id, once it has been subscribed. A [`crate::Scheduler`] with this store keeps it
    /// here.
    #[must_use]
    pub fn framework_id(&self) -> Option<FrameworkId> {
        self.inner.framework_id.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Forgets the id and all records: the framework that subscribes next is a new one.
    ///
    /// # Errors
    /// The store cannot be read or written.
    pub async fn clear(&self) -> Result<(), StoreError> {
        let inner = Arc::clone(&self.inner);
        let cleared = blocking(move || {
            let records = inner.registry.load()?;
            let changes: Vec<Change> =
                records.into_iter().map(|(key, _)| Change::remove(key)).collect();
            inner.registry.commit(&changes)?;
            inner.know(None);
            Ok(())
        });
        cleared.await.map_err(|error| failed("clear", self.place(), error))
    }

    /// Keeps the framework's id.
    pub(crate) async fn keep_framework_id(&self, id: &FrameworkId) -> Result<(), StoreError> {
        if self.framework_id().as_ref() == Some(id) {
            return Ok(());
        }
        let (inner, id) = (Arc::clone(&self.inner), id.clone());
        let kept = blocking(move || {
            inner.registry.commit(&[Change::set(FRAMEWORK_ID_KEY, id.value.as_bytes())])?;
            inner.know(Some(id));
            Ok(())
        });
        kept.await.map_err(|error| failed("write to", self.place(), error))
    }

    /// All records of the framework's own.
    ///
    /// # Errors
    /// The store cannot be read.
    pub async fn load(&self) -> Result<BTreeMap<String, Vec<u8>>, StoreError> {
        let inner = Arc::clone(&self.inner);
        let records = blocking(move || inner.registry.load()).await;
        let records = records.map_err(|error| failed("read", self.place(), error))?;
        let own = |(key, value): (String, Vec<u8>)| {
            Some((key.strip_prefix(RECORD_PREFIX)?.to_owned(), value))
        };
        Ok(records.into_iter().filter_map(own).collect())
    }

    /// Sets and removes records, all or none of them. When this returns `Ok` they survive a crash.
    ///
    /// A record should be small: one that belongs to one task or one job. A megabyte in one commit is
    /// more than ZooKeeper takes.
    ///
    /// # Errors
    /// The store cannot be written, or belongs to another instance.
    pub async fn commit(&self, changes: Vec<Change>) -> Result<(), StoreError> {
        let inner = Arc::clone(&self.inner);
        let own =
            |change: Change| Change { key: format!("{RECORD_PREFIX}{}", change.key), ..change };
        let changes: Vec<Change> = changes.into_iter().map(own).collect();
        let committed = blocking(move || inner.registry.commit(&changes)).await;
        committed.map_err(|error| failed("write to", self.place(), error))
    }
}

impl Inner {
    fn know(&self, id: Option<FrameworkId>) {
        *self.framework_id.lock().unwrap_or_else(PoisonError::into_inner) = id;
    }
}

fn open_registry(
    url: Option<&ZooKeeperUrl>,
    folder: &Path,
    epoch: Option<Epoch>,
) -> Result<Box<dyn Registry>, RegistryError> {
    let timeouts = RegistryTimeouts::default();
    Ok(match (url, epoch) {
        (Some(url), Some(epoch)) => Box::new(ZooKeeperRegistry::open(url, epoch, timeouts)?),
        (Some(url), None) => Box::new(ZooKeeperRegistry::take_over(url, timeouts)?),
        (None, Some(_) | None) => Box::new(EmbeddedFile::open(folder)?),
    })
}

fn failed(operation: &'static str, place: &str, error: RegistryError) -> StoreError {
    let place = place.to_owned();
    if matches!(error, RegistryError::Deposed { .. }) {
        return StoreError::Deposed { place };
    }
    StoreError::Failed { operation, place, source: error }
}

/// Runs what may block on a thread that may. It is carried out also when nobody waits any more.
async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, RegistryError> + Send + 'static,
) -> Result<T, RegistryError> {
    match tokio::task::spawn_blocking(work).await {
        Ok(result) => result,
        Err(error) => match error.try_into_panic() {
            Ok(panic) => std::panic::resume_unwind(panic),
            // The runtime is being shut down, and this future with it.
            Err(_) => std::future::pending().await,
        },
    }
}

#[cfg(test)]
mod tests;
