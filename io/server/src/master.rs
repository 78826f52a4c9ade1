//! The master's daemon: sockets, HTTP, storage and timers around the state machine of `core/master`.
//!
//! One thread owns the state machine. Requests and messages reach it through a bounded channel; what it wants done is
//! done there if it is quick, or handed to a connection or to the registry's thread. Reads are rendered elsewhere, from
//! snapshots.

mod allocations;
mod calls;
mod commands;
mod daemon;
mod election;
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
mod term;
mod whitelist;

#[cfg(test)]
mod tests;

use std::io;
use std::net::SocketAddrV4;
use std::sync::Arc;
use std::time::Duration;

use coordination::RegistryError;
use libprocess::{BindError, Incoming, Node, NodeOptions};
use master::SESSION_ACTOR;
use master::event::Event;
use master::registry::RecordError;
use protocol::pid::Pid;
use tokio::sync::{Semaphore, mpsc, watch};
use tokio::task::JoinHandle;

pub use self::leadership::Leadership;
pub use self::options::{MasterOptions, OptionsError, RegistryStore, ZooKeeperOptions};

use self::commands::Command;
use self::daemon::{Daemon, DaemonParts};
use self::endpoint::MASTER_ACTOR;
use self::handler::{MasterHandler, Names, peer_event};
use self::render::Process;
use self::term::Term;
use crate::event_loop::Clock;
use crate::http::serve;

/// How many messages are taken from the node at a time.
const INCOMING_BATCH_MAX: u32 = 256;

/// How many messages of agents and drivers may wait for the master. Beyond it the connections they come from do.
const MESSAGES_WAITING_MAX: u32 = 16 * INCOMING_BATCH_MAX;

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
    daemon: Arc<Daemon>,
    shutdown: watch::Sender<bool>,
    leadership: watch::Sender<Leadership>,
    /// Why the master has stopped by itself.
    over: watch::Receiver<Option<String>>,
    /// What has the master lead, or contend.
    life: Option<JoinHandle<()>>,
}

impl MasterServer {
    /// Starts a master. Without an ensemble it leads at once; else it stands by until it is elected. To be called
    /// inside a tokio runtime with I/O and time.
    ///
    /// # Errors
    /// The port is taken, or the registry of a single master cannot be used; the port is tried first.
    pub async fn start(options: MasterOptions) -> Result<RunningMaster, StartError> {
        let clock = Clock::start();
        let (node, incoming) = Node::bind(node_options(&options)).await?;
        let address = node.address();
        let hostname = options.published_name(address);
        let (leadership, leadership_receiver) = watch::channel(Leadership::Unknown);
        let settings = master::Config { hostname: hostname.clone(), ..options.settings };
        let process = Process {
            version: settings.version.clone(),
            hostname: hostname.clone(),
            port: address.port(),
            start_time: clock.now(),
            cluster: options.cluster,
            flags: options.flags,
        };
        let daemon = Arc::new(Daemon::new(DaemonParts {
            node: node.clone(),
            clock,
            settings,
            seed: options.seed,
            whitelist: options.whitelist,
            leadership: leadership.clone(),
        }));
        let (shutdown, stopping) = watch::channel(false);
        let (over_sender, over) = watch::channel(None);
        let life = match options.zookeeper {
            None => {
                let term = lead_alone(&daemon, options.registry).await?;
                tracing::info!(%address, hostname, "the master leads");
                let daemon = Arc::clone(&daemon);
                tokio::spawn(reign_alone(daemon, term, over_sender, stopping.clone()))
            }
            Some(election) => {
                let following = election::follow_leader(Arc::clone(&daemon), election.clone());
                tokio::spawn(until_stopping(following, stopping.clone()));
                let daemon = Arc::clone(&daemon);
                tokio::spawn(election::run(daemon, election, over_sender, stopping.clone()))
            }
        };
        let handler = Arc::new(MasterHandler {
            router: endpoint::router(),
            daemon: Arc::clone(&daemon),
            leadership: leadership_receiver,
            process: Arc::new(process),
            names: Names::default(),
            access: options.access,
        });
        register_actors(&node);
        tokio::spawn(take_incoming(incoming, handler, stopping));
        Ok(RunningMaster {
            address,
            hostname,
            daemon,
            shutdown,
            leadership,
            over,
            life: Some(life),
        })
    }
}

/// Leads without an election.
async fn lead_alone(daemon: &Daemon, store: RegistryStore) -> Result<Arc<Term>, StartError> {
    let registry = term::open_registry(move || term::embedded(&store)).await?;
    daemon.lead(daemon.settings()?, registry, None).await
}

/// Until the daemon stops, or the reason is known why it should: then it is sent to `over`.
async fn reign_alone(
    daemon: Arc<Daemon>,
    term: Arc<Term>,
    over: watch::Sender<Option<String>>,
    stopping: watch::Receiver<bool>,
) {
    let ended = async {
        let end = term.ended().await;
        over.send_replace(Some(end.reason().to_owned()));
    };
    until_stopping(ended, stopping).await;
    daemon.finish().await;
}

async fn until_stopping(work: impl Future<Output = ()>, mut stopping: watch::Receiver<bool>) {
    tokio::select! {
        () = work => {}
        // An error means that the handle was dropped.
        _ = stopping.wait_for(|stopping| *stopping) => {}
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
        self.daemon.node.pid(MASTER_ACTOR)
    }

    /// Whether it leads, now and at each change.
    #[must_use]
    pub fn leadership(&self) -> watch::Receiver<Leadership> {
        self.leadership.subscribe()
    }

    /// Says who leads. Requests that need the leader are sent there from now on.
    pub fn set_leadership(&self, leadership: Leadership) {
        self.leadership.send_replace(leadership);
    }

    /// Waits until the master stops by itself, and says why: its registry cannot be written, it lost its leadership, or it
    /// may not go on. The process should end then, so that its supervisor starts another one.
    pub async fn stopped(&mut self) -> String {
        match self.over.wait_for(Option::is_some).await {
            Ok(reason) => reason.clone().unwrap_or_default(),
            Err(_) => "the thread of the master has ended".to_owned(),
        }
    }

    /// Stops it: answers what is being answered, writes what is to be written, gives up its candidacy, and closes the
    /// port.
    pub async fn shutdown(mut self) {
        self.shutdown.send_replace(true);
        if let Some(life) = self.life.take() {
            let _ = life.await;
        }
        self.daemon.node.flush(FLUSH_TIMEOUT).await;
        self.daemon.node.shutdown();
    }
}

impl Drop for RunningMaster {
    fn drop(&mut self) {
        if let Ok(term) = self.daemon.term() {
            term.stop();
        }
        self.daemon.node.shutdown();
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

async fn take_incoming(
    mut incoming: mpsc::Receiver<Incoming>,
    handler: Arc<MasterHandler>,
    mut stopping: watch::Receiver<bool>,
) {
    let batch_max = INCOMING_BATCH_MAX as usize;
    let mut batch = Vec::with_capacity(batch_max);
    let waiting = Arc::new(Semaphore::new(MESSAGES_WAITING_MAX as usize));
    loop {
        tokio::select! {
            received = incoming.recv_many(&mut batch, batch_max) => {
                if received == 0 {
                    return;
                }
            }
            // An error means that the handle was dropped.
            _ = stopping.wait_for(|stopping| *stopping) => return,
        }
        let mut events = Vec::with_capacity(batch.len());
        for incoming in batch.drain(..) {
            match incoming {
                Incoming::Http(connection) => {
                    let peer = connection.peer();
                    let (received, socket) = connection.into_parts();
                    let handler = Arc::clone(&handler);
                    tokio::spawn(serve(socket, received, peer, handler, stopping.clone()));
                }
                Incoming::Message { from, actor, name, body } => {
                    events.extend(peer_event(&from, &actor, &name, &body));
                }
                Incoming::Exited { pid } => events.push(Event::Exited { pid }),
            }
        }
        // Before a term, and after it, messages mean nothing; their senders repeat what matters.
        let Ok(term) = handler.term() else { continue };
        let count = u32::try_from(events.len()).unwrap_or(INCOMING_BATCH_MAX);
        if count > 0
            && let Ok(room) = Arc::clone(&waiting).acquire_many_owned(count).await
        {
            // A term that has just ended takes nothing any more.
            let _ = term.inputs.send(Command::Messages { events, room }).await;
        }
    }
}
