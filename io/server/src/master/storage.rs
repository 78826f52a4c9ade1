//! The thread that makes changes of the registry durable.

use std::collections::BTreeMap;
use std::io;
use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError, mpsc};
use std::thread;
use std::time::Instant;

use coordination::{Change, Registry};
use master::effect::RegistryChange;
use master::event::{Event, WriteId};

use super::commands::Command;
use crate::event_loop::Inputs;
use crate::metrics::Latencies;
use protocol::causes::with_causes;

/// How many writes may wait for the disk. Beyond it the master waits too: it may not go on without its registry.
const WRITES_MAX: usize = 65_536;

/// How many writes go into one commit.
const COMMIT_WRITES_MAX: usize = 4096;

struct Write {
    id: WriteId,
    changes: Vec<RegistryChange>,
}

/// What `/metrics/snapshot` says of the registry.
#[derive(Debug)]
pub(super) struct StorageStats {
    file: Option<PathBuf>,
    fetch_ms: f64,
    queued: AtomicUsize,
    stores: Mutex<Latencies>,
}

impl StorageStats {
    /// Of a registry kept in `file`, which took `fetch_ms` milliseconds to read.
    pub(super) fn new(file: Option<PathBuf>, fetch_ms: f64) -> Self {
        Self { file, fetch_ms, queued: AtomicUsize::new(0), stores: Mutex::default() }
    }

    /// Adds the `registrar/` metrics.
    #[expect(clippy::cast_precision_loss, reason = "metrics are doubles")]
    pub(super) fn add_to(&self, metrics: &mut BTreeMap<String, f64>) {
        let queued = self.queued.load(Ordering::Relaxed) as f64;
        metrics.insert("registrar/queued_operations".to_owned(), queued);
        metrics.insert("registrar/state_fetch_ms".to_owned(), self.fetch_ms);
        let metadata = self.file.as_ref().and_then(|file| file.metadata().ok());
        if let Some(metadata) = metadata {
            let size = metadata.len() as f64;
            metrics.insert("registrar/registry_size_bytes".to_owned(), size);
        }
        let stores = self.stores.lock().unwrap_or_else(PoisonError::into_inner);
        stores.add_to("registrar/state_store_ms", metrics);
    }
}

/// Takes writes. When the last one is dropped, the thread ends after what it was given.
#[derive(Debug)]
pub(super) struct Storage {
    writes: mpsc::SyncSender<Write>,
    stats: Arc<StorageStats>,
}

impl Storage {
    /// Starts the thread. Each write that is durable comes back as `Event::Persisted`.
    pub(super) fn start(
        registry: Box<dyn Registry>,
        inputs: Inputs<Command>,
        stats: Arc<StorageStats>,
    ) -> io::Result<(Self, thread::JoinHandle<()>)> {
        let (writes, receiver) = mpsc::sync_channel(WRITES_MAX);
        let shared = Arc::clone(&stats);
        let thread = thread::Builder::new()
            .name("registry".to_owned())
            .spawn(move || run(registry.as_ref(), &receiver, &inputs, &shared))?;
        Ok((Self { writes, stats }, thread))
    }

    /// Makes `changes` durable after all earlier ones.
    pub(super) fn write(&self, id: WriteId, changes: Vec<RegistryChange>) {
        self.stats.queued.fetch_add(1, Ordering::Relaxed);
        // The thread ends before this only after a failure, which it has reported.
        let _ = self.writes.send(Write { id, changes });
    }
}

fn run(
    registry: &dyn Registry,
    writes: &mpsc::Receiver<Write>,
    inputs: &Inputs<Command>,
    stats: &StorageStats,
) {
    while let Ok(first) = writes.recv() {
        let mut batch = vec![first];
        batch.extend(writes.try_iter().take(COMMIT_WRITES_MAX - 1));
        let mut ids = Vec::with_capacity(batch.len());
        let mut writes = Vec::with_capacity(batch.len());
        for write in batch {
            ids.push(write.id);
            let converted =
                |change: RegistryChange| Change { key: change.key, value: change.value };
            writes.push(write.changes.into_iter().map(converted).collect::<Vec<_>>());
        }
        let started = Instant::now();
        if let Err(error) = registry.commit_all(&writes) {
            let _ = inputs.complete(Command::StorageFailed(with_causes(&error)));
            return;
        }
        stats.stores.lock().unwrap_or_else(PoisonError::into_inner).add(started.elapsed());
        stats.queued.fetch_sub(ids.len(), Ordering::Relaxed);
        for write in ids {
            if inputs.complete(Command::Event(Event::Persisted { write })).is_err() {
                return;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicBool;

    use coordination::{Record, RegistryError};
    use tokio::time::timeout;

    use super::*;
    use crate::event_loop;

    /// Notes the size of each commit; the first one takes a while.
    #[derive(Debug, Default)]
    struct Recorder {
        commits: Arc<Mutex<Vec<usize>>>,
        fails: Arc<AtomicBool>,
    }

    impl Registry for Recorder {
        fn load(&self) -> Result<Vec<Record>, RegistryError> {
            Ok(Vec::new())
        }

        fn commit(&self, changes: &[Change]) -> Result<(), RegistryError> {
            if self.fails.load(Ordering::Relaxed) {
                let source = "the disk is full".into();
                return Err(RegistryError::Commit { path: "records".into(), source });
            }
            let mut commits = self.commits.lock().unwrap_or_else(PoisonError::into_inner);
            if commits.is_empty() {
                thread::sleep(std::time::Duration::from_millis(50));
            }
            commits.push(changes.len());
            Ok(())
        }
    }

    fn change() -> Vec<RegistryChange> {
        vec![RegistryChange { key: "agent/a".to_owned(), value: None }]
    }

    #[tokio::test]
    async fn writes_that_wait_go_into_one_commit_and_come_back_in_order()
    -> Result<(), Box<dyn std::error::Error>> {
        let (inputs, mut receiver) = event_loop::inputs();
        let registry = Recorder::default();
        let commits = Arc::clone(&registry.commits);
        let stats = Arc::new(StorageStats::new(None, 0.0));
        let (storage, thread) = Storage::start(Box::new(registry), inputs, Arc::clone(&stats))?;
        for id in 0..100 {
            storage.write(WriteId(id), change());
        }
        for id in 0..100 {
            let command = timeout(std::time::Duration::from_secs(5), receiver.next()).await?;
            let Some(Command::Event(Event::Persisted { write })) = command else {
                return Err(format!("{command:?}").into());
            };
            assert_eq!(write, WriteId(id));
        }
        let commits = commits.lock().unwrap_or_else(PoisonError::into_inner).clone();
        assert_eq!(commits.iter().sum::<usize>(), 100);
        assert!(commits.len() <= 3, "{commits:?}");
        let mut metrics = BTreeMap::new();
        stats.add_to(&mut metrics);
        assert_eq!(metrics.get("registrar/queued_operations"), Some(&0.0));
        drop(storage);
        assert!(thread.join().is_ok());
        Ok(())
    }

    #[tokio::test]
    async fn a_write_that_fails_is_reported_with_its_cause()
    -> Result<(), Box<dyn std::error::Error>> {
        let (inputs, mut receiver) = event_loop::inputs();
        let registry = Recorder::default();
        registry.fails.store(true, Ordering::Relaxed);
        let stats = Arc::new(StorageStats::new(None, 0.0));
        let (storage, _thread) = Storage::start(Box::new(registry), inputs, stats)?;
        storage.write(WriteId(1), change());
        let command = timeout(std::time::Duration::from_secs(5), receiver.next()).await?;
        let Some(Command::StorageFailed(reason)) = command else {
            return Err(format!("{command:?}").into());
        };
        assert_eq!(reason, "cannot commit to the registry file 'records': the disk is full");
        Ok(())
    }
}
