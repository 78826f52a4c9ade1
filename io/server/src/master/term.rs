//! One time of leading: the state machine on its thread, its registry, and what answers from it.

use std::io;
use std::path::PathBuf;
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use coordination::{EmbeddedFile, InMemory, Lease, Registry, ZooKeeperRegistry};
use libprocess::Node;
use master::registry::Record;
use tokio::sync::watch;

use super::StartError;
use super::allocations::AllocationTimes;
use super::commands::Command;
use super::options::{RegistryStore, ZooKeeperOptions};
use super::reads::Reads;
use super::shell::{Shell, Surroundings};
use super::storage::{Storage, StorageStats};
use crate::event_loop::{self, Clock, Inputs, LoopThread, inputs};

/// How long a master that leads no more waits for its last write.
const LAST_WRITE_TIMEOUT: Duration = Duration::from_secs(1);
const LAST_WRITE_POLL_INTERVAL: Duration = Duration::from_millis(5);

/// Why a term is over.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum TermEnd {
    /// The master may not lead any more, or cannot write its registry; another one can.
    Deposed(String),
    /// The master may not go on at all.
    Aborted(String),
}

impl TermEnd {
    pub(super) fn reason(&self) -> &str {
        match self {
            Self::Deposed(reason) | Self::Aborted(reason) => reason,
        }
    }
}

/// What a term begins with.
pub(super) struct Beginning {
    pub(super) node: Node,
    pub(super) clock: Clock,
    pub(super) dropped_streams: Arc<AtomicU64>,
    pub(super) settings: master::Config,
    pub(super) registry: OpenedRegistry,
    /// Until when leadership is certain; a master without an election leads for ever.
    pub(super) lease: Option<Lease>,
}

/// A master that leads.
#[derive(Debug)]
pub(super) struct Term {
    pub(super) inputs: Inputs<Command>,
    pub(super) reads: Reads,
    pub(super) storage: Arc<StorageStats>,
    pub(super) allocations: Arc<AllocationTimes>,
    ended: watch::Receiver<Option<TermEnd>>,
    threads: Mutex<Option<(LoopThread, thread::JoinHandle<()>)>>,
}

impl Term {
    /// Starts the threads. From now on there are effects.
    ///
    /// # Errors
    /// A thread cannot be made.
    pub(super) fn begin(beginning: Beginning) -> Result<Self, StartError> {
        let Beginning { node, clock, dropped_streams, settings, registry, lease } = beginning;
        let OpenedRegistry { registry, file, records, fetch_ms } = registry;
        let (inputs, receiver) = inputs();
        let storage_stats = Arc::new(StorageStats::new(file, fetch_ms));
        let (storage, storage_thread) =
            Storage::start(registry, inputs.clone(), Arc::clone(&storage_stats))
                .map_err(StartError::Thread)?;
        let (ended_sender, ended) = watch::channel(None);
        let ended_sender = Arc::new(ended_sender);
        let allocations = Arc::new(AllocationTimes::default());
        let around = Surroundings {
            node,
            clock,
            allocations: Arc::clone(&allocations),
            dropped_streams,
            storage,
            inputs: inputs.clone(),
            lease,
            ended: Arc::clone(&ended_sender),
        };
        let loop_thread = event_loop::spawn("master", clock, receiver, ended_sender, move || {
            Shell::new(clock.now(), settings, records, around)
        })
        .map_err(StartError::Thread)?;
        Ok(Self {
            reads: Reads::new(inputs.clone()),
            inputs,
            storage: storage_stats,
            allocations,
            ended,
            threads: Mutex::new(Some((loop_thread, storage_thread))),
        })
    }

    /// Waits until the master stops by itself, and says why.
    pub(super) async fn ended(&self) -> TermEnd {
        let mut ended = self.ended.clone();
        let end = match ended.wait_for(Option::is_some).await {
            Ok(end) => end.clone(),
            Err(_) => None,
        };
        end.unwrap_or_else(|| TermEnd::Aborted("the thread of the master has ended".to_owned()))
    }

    /// Has the master stop after what it has in hand. Does not wait.
    pub(super) fn stop(&self) {
        let _ = self.inputs.complete(Command::Stop);
    }

    /// Stops it and waits until what it wrote is written.
    pub(super) async fn finish(&self) {
        let Some(storage) = self.stop_deciding().await else { return };
        let joined = tokio::task::spawn_blocking(move || join_storage(storage));
        let _ = joined.await;
    }

    /// Stops it and waits until it decides nothing any more. What it wrote last is given a moment: an ensemble
    /// that is out of reach does not keep a master that leads no more from going on, and whether that write still
    /// counts is the registry's to say.
    pub(super) async fn abandon(&self) {
        let Some(storage) = self.stop_deciding().await else { return };
        let start = Instant::now();
        while !storage.is_finished() {
            if start.elapsed() > LAST_WRITE_TIMEOUT {
                tracing::warn!("what was written last may not be in the registry");
                return;
            }
            tokio::time::sleep(LAST_WRITE_POLL_INTERVAL).await;
        }
        join_storage(storage);
    }

    /// Gives the registry's thread, to whoever asks first.
    async fn stop_deciding(&self) -> Option<thread::JoinHandle<()>> {
        self.stop();
        let threads = self.threads.lock().unwrap_or_else(PoisonError::into_inner).take();
        let (loop_thread, storage_thread) = threads?;
        let joined = tokio::task::spawn_blocking(move || loop_thread.join());
        let _ = joined.await;
        Some(storage_thread)
    }
}

fn join_storage(thread: thread::JoinHandle<()>) {
    if thread.join().is_err() {
        tracing::error!("the registry's thread panicked");
    }
}

/// A registry and what is in it.
pub(super) struct OpenedRegistry {
    registry: Box<dyn Registry>,
    /// Where it is kept, if it is one file.
    file: Option<PathBuf>,
    records: Vec<Record>,
    /// How long it took to read, in milliseconds.
    fetch_ms: f64,
}

/// Opens a registry and reads it, on a thread that may block.
pub(super) async fn open_registry(
    open: impl FnOnce() -> Result<(Box<dyn Registry>, Option<PathBuf>), StartError> + Send + 'static,
) -> Result<OpenedRegistry, StartError> {
    let opened = tokio::task::spawn_blocking(move || {
        let started = Instant::now();
        let (registry, file) = open()?;
        let mut records = Vec::new();
        for (key, value) in registry.load()? {
            records.push(Record::decode(&key, &value)?);
        }
        let fetch_ms = started.elapsed().as_secs_f64() * 1000.0;
        Ok(OpenedRegistry { registry, file, records, fetch_ms })
    });
    opened.await.map_err(|error| StartError::Thread(io::Error::other(error)))?
}

/// The registry of a single master.
pub(super) fn embedded(
    store: &RegistryStore,
) -> Result<(Box<dyn Registry>, Option<PathBuf>), StartError> {
    match store {
        RegistryStore::InMemory => Ok((Box::new(InMemory::new()), None)),
        RegistryStore::WorkDir(folder) => {
            let registry = EmbeddedFile::open(folder)?;
            let file = registry.path().to_owned();
            Ok((Box::new(registry), Some(file)))
        }
    }
}

/// The registry that all masters of an ensemble share, claimed for the leader of this epoch.
pub(super) fn shared(
    options: &ZooKeeperOptions,
    epoch: coordination::Epoch,
) -> Result<(Box<dyn Registry>, Option<PathBuf>), StartError> {
    let registry = ZooKeeperRegistry::open(&options.url, epoch, options.timeouts)?;
    Ok((Box::new(registry), None))
}
