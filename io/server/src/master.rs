//! The master's daemon: sockets, HTTP, storage and timers around the state machine of `core/master`.
//!
//! One thread owns the state machine. Requests and messages reach it through a bounded channel; what it wants done is
//! done there if it is quick, or handed to a connection or to the registry's thread. Reads are rendered elsewhere, from
//! snapshots.

mod allocations;
mod calls;
mod commands;
mod endpoint;
mod explain;
mod handler;
mod leadership;
mod legacy;
mod metrics;
mod operator_api;
mod options;
mod reads;
mod render;
mod scheduler_api;
mod shell;
mod storage;
mod streams;
mod whitelist;

#[cfg(test)]
mod tests;

use std::fs::File;
use std::io::{self, Read};
use std::net::SocketAddrV4;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::thread;
use std::time::{Duration, Instant};

use ::authentication::cram_md5::ChallengeKey;
use coordination::{EmbeddedFile, InMemory, Registry, RegistryError};
use libprocess::{BindError, Incoming, Node, NodeOptions};
use master::SESSION_ACTOR;
use master::event::Event;
use master::registry::{Record, RecordError};
use protocol::pid::Pid;
use tokio::sync::{mpsc, watch};

pub use self::leadership::Leadership;
pub use self::options::{MasterOptions, OptionsError, RegistryStore};

use self::allocations::AllocationTimes;
use self::commands::Command;
use self::endpoint::MASTER_ACTOR;
use self::handler::{MasterHandler, Names, peer_event};
use self::reads::Reads;
use self::render::Process;
use self::shell::{Shell, Surroundings};
use self::storage::{Storage, StorageStats};
use crate::event_loop::{self, Clock, Inputs, LoopThread, inputs};
use crate::http::serve;

/// How many messages are taken from the node at a time.
const INCOMING_BATCH_MAX: usize = 256;

/// How long messages may take to be written when the daemon stops.
const FLUSH_TIMEOUT: Duration = Duration::from_secs(2);

/// Why a master does not start. Nothing on disk has changed then.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StartError {
    /// The port cannot be listened on.
    #[error(transparent)]
    Bind(#[from] BindError),
    /// The registry cannot be opened or read.
    #[error(transparent)]
    Registry(#[from] RegistryError),
    /// The registry holds something that no master writes.
    #[error("the registry is damaged or of another version")]
    Record(#[from] RecordError),
    /// The operating system gives no random numbers.
    #[error("cannot read random numbers from the operating system")]
    Seed(#[source] io::Error),
    /// A thread cannot be made.
    #[error("cannot start a thread")]
    Thread(#[source] io::Error),
}

/// Starts masters.
#[derive(Clone, Copy, Debug)]
pub struct MasterServer;

/// A running master. Dropping it stops it without waiting.
#[derive(Debug)]
pub struct RunningMaster {
    address: SocketAddrV4,
    hostname: String,
    node: Node,
    inputs: Inputs<Command>,
    shutdown: watch::Sender<bool>,
    leadership: watch::Sender<Leadership>,
    stopped: watch::Receiver<Option<String>>,
    threads: Option<(LoopThread, thread::JoinHandle<()>)>,
}

impl MasterServer {
    /// Starts a master, which leads at once. To be called inside a tokio runtime with I/O and time.
    ///
    /// # Errors
    /// The port is taken, or the registry cannot be used; the port is tried first.
    pub async fn start(options: MasterOptions) -> Result<RunningMaster, StartError> {
        let clock = Clock::start();
        let (node, incoming) = Node::bind(node_options(&options)).await?;
        let address = node.address();
        let OpenedRegistry { registry, file, records, fetch_ms } =
            open_registry(options.registry.clone()).await?;

        let hostname = options.published_name(address);
        let settings = settings(&options, &node, &hostname)?;

        let (inputs, receiver) = inputs();
        let stats = Arc::new(StorageStats::new(file, fetch_ms));
        let (storage, storage_thread) =
            Storage::start(registry, inputs.clone(), Arc::clone(&stats))
                .map_err(StartError::Thread)?;
        let (stopped_sender, stopped) = watch::channel(None);
        let stopped_sender = Arc::new(stopped_sender);
        let allocations = Arc::new(AllocationTimes::default());
        let dropped_streams = Arc::new(AtomicU64::new(0));
        let around = Surroundings {
            node: node.clone(),
            clock,
            allocations: Arc::clone(&allocations),
            dropped_streams: Arc::clone(&dropped_streams),
            storage,
            inputs: inputs.clone(),
            stopped: Arc::clone(&stopped_sender),
        };
        let process = Arc::new(Process {
            version: settings.version.clone(),
            hostname: hostname.clone(),
            port: address.port(),
            start_time: clock.now(),
            cluster: options.cluster,
            flags: options.flags,
        });
        let loop_thread = event_loop::spawn("master", clock, receiver, stopped_sender, move || {
            Shell::new(clock.now(), settings, records, around)
        })
        .map_err(StartError::Thread)?;

        let (leadership, leadership_receiver) = watch::channel(Leadership::Leading);
        let handler = Arc::new(MasterHandler {
            router: endpoint::router(),
            inputs: inputs.clone(),
            leadership: leadership_receiver,
            reads: Reads::new(inputs.clone()),
            process,
            storage: stats,
            allocations,
            dropped_streams,
            clock,
            names: Names::default(),
            access: options.access,
        });
        let (shutdown, stopping) = watch::channel(false);
        if let Some(path) = options.whitelist {
            whitelist::start(path, inputs.clone(), stopping.clone()).await;
        }
        register_actors(&node);
        tokio::spawn(take_incoming(incoming, handler, inputs.clone(), stopping));
        tracing::info!(%address, hostname, "the master leads");
        Ok(RunningMaster {
            address,
            hostname,
            node,
            inputs,
            shutdown,
            leadership,
            stopped,
            threads: Some((loop_thread, storage_thread)),
        })
    }
}

impl RunningMaster {
    /// Where the master is reached, as it publishes it.
    #[must_use]
    pub fn address(&self) -> SocketAddrV4 {
        self.address
    }

    /// The name that it publishes.
    #[must_use]
    pub fn hostname(&self) -> &str {
        &self.hostname
    }

    /// The pid that agents and drivers send to.
    #[must_use]
    pub fn pid(&self) -> Pid {
        self.node.pid(MASTER_ACTOR)
    }

    /// Says who leads. Requests that need the leader are sent there from now on.
    pub fn set_leadership(&self, leadership: Leadership) {
        self.leadership.send_replace(leadership);
    }

    /// Waits until the master stops by itself, and says why: its registry cannot be written, or it may not go on. The
    /// process should end then, so that its supervisor starts another one.
    pub async fn stopped(&mut self) -> String {
        match self.stopped.wait_for(Option::is_some).await {
            Ok(reason) => reason.clone().unwrap_or_default(),
            Err(_) => "the thread of the master has ended".to_owned(),
        }
    }

    /// Stops it: answers what is being answered, writes what is to be written, and closes the port.
    pub async fn shutdown(mut self) {
        self.shutdown.send_replace(true);
        let _ = self.inputs.complete(Command::Stop);
        if let Some((loop_thread, storage_thread)) = self.threads.take() {
            let joined = tokio::task::spawn_blocking(move || {
                loop_thread.join();
                if storage_thread.join().is_err() {
                    tracing::error!("the registry's thread panicked");
                }
            });
            let _ = joined.await;
        }
        self.node.flush(FLUSH_TIMEOUT).await;
        self.node.shutdown();
    }
}

impl Drop for RunningMaster {
    fn drop(&mut self) {
        let _ = self.inputs.complete(Command::Stop);
        self.node.shutdown();
    }
}

fn node_options(options: &MasterOptions) -> NodeOptions {
    NodeOptions {
        ip: options.ip,
        port: options.port,
        advertise_ip: options.advertise_ip,
        advertise_port: options.advertise_port,
        ..NodeOptions::default()
    }
}

/// What messages may be sent to.
fn register_actors(node: &Node) {
    node.register_actor(MASTER_ACTOR);
    node.register_actor_prefix(SESSION_ACTOR);
}

/// The settings of the state machine of a master that is reached at `node`.
fn settings(
    options: &MasterOptions,
    node: &Node,
    hostname: &str,
) -> Result<master::Config, StartError> {
    let seed = match options.seed {
        Some(seed) => seed,
        None => random_seed().map_err(StartError::Seed)?,
    };
    Ok(master::Config {
        seed,
        pid: node.pid(MASTER_ACTOR),
        hostname: hostname.to_owned(),
        challenge_key: challenge_key().map_err(StartError::Seed)?,
        ..options.settings.clone()
    })
}

struct OpenedRegistry {
    registry: Box<dyn Registry>,
    /// Where it is kept, if it is one file.
    file: Option<PathBuf>,
    records: Vec<Record>,
    /// How long it took to read, in milliseconds.
    fetch_ms: f64,
}

/// Opens the registry on a thread that may block.
async fn open_registry(store: RegistryStore) -> Result<OpenedRegistry, StartError> {
    tokio::task::spawn_blocking(move || read_registry(&store))
        .await
        .map_err(|error| StartError::Thread(io::Error::other(error)))?
}

fn read_registry(store: &RegistryStore) -> Result<OpenedRegistry, StartError> {
    let started = Instant::now();
    let (registry, file): (Box<dyn Registry>, _) = match store {
        RegistryStore::InMemory => (Box::new(InMemory::new()), None),
        RegistryStore::WorkDir(folder) => {
            let registry = EmbeddedFile::open(folder)?;
            let file = registry.path().to_owned();
            (Box::new(registry), Some(file))
        }
    };
    let mut records = Vec::new();
    for (key, value) in registry.load()? {
        records.push(Record::decode(&key, &value)?);
    }
    let fetch_ms = started.elapsed().as_secs_f64() * 1000.0;
    Ok(OpenedRegistry { registry, file, records, fetch_ms })
}

fn challenge_key() -> io::Result<ChallengeKey> {
    let mut bytes = [0; 16];
    File::open("/dev/urandom")?.read_exact(&mut bytes)?;
    Ok(ChallengeKey(bytes))
}

fn random_seed() -> io::Result<u64> {
    let mut bytes = [0; 8];
    File::open("/dev/urandom")?.read_exact(&mut bytes)?;
    Ok(u64::from_le_bytes(bytes))
}

async fn take_incoming(
    mut incoming: mpsc::Receiver<Incoming>,
    handler: Arc<MasterHandler>,
    inputs: Inputs<Command>,
    mut stopping: watch::Receiver<bool>,
) {
    let mut batch = Vec::with_capacity(INCOMING_BATCH_MAX);
    loop {
        tokio::select! {
            received = incoming.recv_many(&mut batch, INCOMING_BATCH_MAX) => {
                if received == 0 {
                    return;
                }
            }
            // An error means that the handle was dropped.
            _ = stopping.wait_for(|stopping| *stopping) => return,
        }
        for incoming in batch.drain(..) {
            let event = match incoming {
                Incoming::Http(connection) => {
                    let peer = connection.peer();
                    let (received, socket) = connection.into_parts();
                    let handler = Arc::clone(&handler);
                    tokio::spawn(serve(socket, received, peer, handler, stopping.clone()));
                    None
                }
                Incoming::Message { from, actor, name, body } => {
                    peer_event(&from, &actor, &name, &body)
                }
                Incoming::Exited { pid } => Some(Event::Exited { pid }),
            };
            if let Some(event) = event
                && inputs.send(Command::Event(event)).await.is_err()
            {
                return;
            }
        }
    }
}
