//! Runs the simulated cluster: one loop that takes what the master sends, and the timers.

mod agents;
mod frameworks;
mod messages;
mod offers;
mod probe;
mod reconciliation;

use std::collections::VecDeque;
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4, UdpSocket};
use std::time::{Duration, Instant};

use libprocess::{Incoming, Node, NodeOptions};
use protocol::mesos;
use protocol::pid::Pid;
use tokio::sync::mpsc;

use crate::http::Server;
use crate::ledger::Ledger;
use crate::options::Settings;
use crate::random::Random;
use crate::samples::Samples;
use crate::timers::{Moment, Timer, Timers};

pub(crate) use agents::Fleet;
pub(crate) use frameworks::{Framework, FrameworkInput};

/// How many messages or events are handled before timers and sockets get their turn.
const BATCH_MAX: usize = 512;

/// Batches of events that wait for the loop before the connections they come from do.
const INPUTS_MAX: usize = 256;

/// How long the loop waits for something to happen before it looks whether its work is done.
const TURN_MAX: Duration = Duration::from_millis(10);

/// Messages to the master that may wait besides those of each agent and task.
const QUEUE_MESSAGES_MAX: usize = 65_536;

/// Bytes that may wait for a master that does not read.
const QUEUE_BYTES_MAX: usize = 2 << 30;

/// Timers handled in one turn, so that the sockets are not left alone when many are due.
const TIMERS_PER_TURN_MAX: usize = 2048;

/// What a framework's connections hand to the loop. Connections that were given up are told apart
/// by their generation.
#[derive(Debug)]
pub(crate) struct Input {
    pub(crate) framework: u32,
    pub(crate) generation: u32,
    pub(crate) input: FrameworkInput,
}

/// What happened since the counters were last reset.
#[derive(Clone, Debug, Default)]
pub(crate) struct Counters {
    /// Tasks whose frameworks were told that they run.
    pub(crate) launches: u64,
    pub(crate) finished: u64,
    /// Tasks that ended otherwise.
    pub(crate) lost: u64,
    pub(crate) offers: u64,
    pub(crate) declined: u64,
    pub(crate) rescinded: u64,
    pub(crate) updates: u64,
    /// Updates that agents sent again because nobody acknowledged them.
    pub(crate) repeated_updates: u64,
    /// Calls that the master answered with an error.
    pub(crate) refused_calls: u64,
    pub(crate) pings: u64,
    /// From a launch to the framework's knowledge that the task runs.
    pub(crate) launch_delay: Samples,
    /// From a probe's subscription to the same.
    pub(crate) probe_delay: Samples,
    /// From a probe's subscription to its first offer.
    pub(crate) probe_offer_delay: Samples,
}

/// A step took longer than the user's patience, or can never end.
#[derive(Debug, thiserror::Error)]
pub(crate) enum EngineError {
    #[error("cannot listen for the master's messages")]
    Listen(#[from] libprocess::BindError),
    #[error("waited {0:?} in vain for: {1} (--patience)")]
    Patience(Duration, String),
    #[error("the master refuses: {0}")]
    Refused(String),
}

/// What the frameworks do with their offers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Appetite {
    /// They launch as many tasks as each agent may hold.
    Full,
    /// They decline.
    None,
}

/// The simulated cluster.
#[derive(Debug)]
pub(crate) struct Engine {
    pub(crate) settings: Settings,
    pub(crate) server: Server,
    pub(crate) fleet: Fleet,
    pub(crate) frameworks: Vec<Framework>,
    pub(crate) ledger: Ledger,
    pub(crate) counters: Counters,
    pub(crate) appetite: Appetite,
    /// Once the run is over: tasks that are to end now.
    hurrying: Option<VecDeque<u64>>,
    /// Whether a broken connection is what is being measured.
    pub(crate) is_restart_expected: bool,
    /// When the latest connection of the agents to the master broke.
    pub(crate) link_broke: Option<Moment>,
    /// When the first offer came after [`Engine::forget_offers`].
    pub(crate) first_offer: Option<Moment>,
    /// Lives of tasks that start now are what is left of one: the cluster is being filled.
    pub(crate) is_filling: bool,
    held_offers: VecDeque<(u32, mesos::Offer)>,
    /// Offers of the framework whose event is being handled that it does not want.
    declining: Vec<mesos::OfferId>,
    probes: probe::Probes,
    pub(crate) reconciliation: Option<reconciliation::Reconciliation>,
    timers: Timers,
    random: Random,
    node: Node,
    master: Pid,
    incoming: mpsc::Receiver<Incoming>,
    inputs: mpsc::Receiver<Input>,
    inputs_sender: mpsc::Sender<Input>,
    messages: Vec<Incoming>,
    batch: Vec<Input>,
    started: Instant,
    failure: Option<String>,
}

impl Engine {
    /// Listens; nothing is sent yet.
    ///
    /// # Errors
    /// The address cannot be listened on.
    pub(crate) async fn new(settings: Settings) -> Result<Self, EngineError> {
        let common = &settings.common;
        let ip = common.ip.unwrap_or_else(|| address_towards(settings.master));
        let options = NodeOptions {
            ip,
            port: common.port,
            // Each task has at most one update under way, and each agent little else.
            queue_messages_max: QUEUE_MESSAGES_MAX.saturating_add(4 * common.agents as usize)
                + usize::try_from(settings.capacity()).unwrap_or(0),
            queue_bytes_max: QUEUE_BYTES_MAX,
            ..NodeOptions::default()
        };
        let (node, incoming) = Node::bind(options).await?;
        node.register_actor_prefix("slave(");
        let credential = common.principal.as_deref().zip(common.secret.as_deref());
        let (inputs_sender, inputs) = mpsc::channel(INPUTS_MAX);
        Ok(Self {
            server: Server::new(settings.master, credential),
            fleet: Fleet::new(common.agents),
            frameworks: Vec::new(),
            ledger: Ledger::new(common.agents, settings.agent, settings.task),
            counters: Counters::default(),
            appetite: Appetite::None,
            hurrying: None,
            is_restart_expected: false,
            link_broke: None,
            first_offer: None,
            is_filling: false,
            held_offers: VecDeque::new(),
            declining: Vec::new(),
            probes: probe::Probes::default(),
            reconciliation: None,
            timers: Timers::default(),
            random: Random::new(common.seed),
            node,
            master: Pid::new("master", settings.master),
            incoming,
            inputs,
            inputs_sender,
            messages: Vec::with_capacity(BATCH_MAX),
            batch: Vec::with_capacity(BATCH_MAX),
            started: Instant::now(),
            failure: None,
            settings,
        })
    }

    /// How long this run has been going on.
    pub(crate) fn now(&self) -> Moment {
        self.started.elapsed()
    }

    /// Runs the cluster until `is_done`, and says how long that took.
    ///
    /// # Errors
    /// It takes longer than the patience, or the master refuses what cannot be done without.
    pub(crate) async fn run_until(
        &mut self,
        what: &str,
        is_done: impl Fn(&Self) -> bool,
    ) -> Result<Duration, EngineError> {
        let start = self.now();
        let limit = start + self.settings.patience;
        while !is_done(self) {
            if self.now() >= limit {
                return Err(EngineError::Patience(self.settings.patience, what.to_owned()));
            }
            self.turn(limit).await?;
        }
        Ok(self.now() - start)
    }

    /// Runs the cluster for this long.
    ///
    /// # Errors
    /// The master refuses what cannot be done without.
    pub(crate) async fn run_for(&mut self, time: Duration) -> Result<(), EngineError> {
        let end = self.now() + time;
        while self.now() < end {
            self.turn(end).await?;
        }
        Ok(())
    }

    /// Waits for something to happen, no longer than until `limit`, and handles it.
    async fn turn(&mut self, limit: Moment) -> Result<(), EngineError> {
        let now = self.now();
        self.use_held_offers(now);
        self.register_more(now);
        self.hurry_more(now);
        // What is waited for may happen beside the loop, which then has nothing to wake it.
        let limit = limit.min(now + TURN_MAX);
        let next = self.timers.next().map_or(limit, |due| due.min(limit));
        let wait = next.saturating_sub(now);
        tokio::select! {
            biased;
            _ = self.inputs.recv_many(&mut self.batch, BATCH_MAX) => {}
            _ = self.incoming.recv_many(&mut self.messages, BATCH_MAX) => {}
            () = tokio::time::sleep(wait) => {}
        }
        // Whatever woke the loop, the other source gets its turn, too.
        while self.batch.len() < BATCH_MAX
            && let Ok(input) = self.inputs.try_recv()
        {
            self.batch.push(input);
        }
        while self.messages.len() < BATCH_MAX
            && let Ok(message) = self.incoming.try_recv()
        {
            self.messages.push(message);
        }
        let now = self.now();
        let mut batch = std::mem::take(&mut self.batch);
        for input in batch.drain(..) {
            self.framework_input(now, input);
        }
        self.batch = batch;
        let mut messages = std::mem::take(&mut self.messages);
        for message in messages.drain(..) {
            self.incoming(now, message);
        }
        self.messages = messages;
        for _ in 0..TIMERS_PER_TURN_MAX {
            let Some(timer) = self.timers.take_due(now) else { break };
            self.expire(now, timer);
        }
        // The connections' tasks write what was queued before the loop goes on.
        tokio::task::yield_now().await;
        match self.failure.take() {
            Some(reason) => Err(EngineError::Refused(reason)),
            None => Ok(()),
        }
    }

    fn incoming(&mut self, now: Moment, incoming: Incoming) {
        match incoming {
            Incoming::Message { from, actor, name, body } => {
                self.agent_message(now, &from, &actor, &name, &body);
            }
            // Nobody has a reason to browse a simulated agent.
            Incoming::Http(connection) => drop(connection),
            Incoming::Exited { pid } => {
                tracing::info!(%pid, "the connection to the master broke");
                self.link_broke = Some(now);
                if !self.is_restart_expected {
                    self.ledger.violations.add("the connection to the master broke");
                }
            }
        }
    }

    fn expire(&mut self, now: Moment, timer: Timer) {
        match timer {
            Timer::TaskEnds { task } => self.task_worked(now, task),
            Timer::StatusRetry { task, sequence, attempt } => {
                self.retry_status(now, task, sequence, attempt);
            }
            Timer::Registration { agent, attempt } => {
                self.retry_registration(now, agent, attempt);
            }
            Timer::Resubscribe { framework } => self.subscribe(framework),
            Timer::Probe => self.start_probe(now),
            Timer::Suspicion => self.ledger.judge(now),
        }
    }

    /// Starts to count anew, at the beginning of what is measured.
    pub(crate) fn take_counters(&mut self) -> Counters {
        std::mem::take(&mut self.counters)
    }

    /// Waits until what was sent is written.
    pub(crate) async fn flush(&self, limit: Duration) {
        self.node.flush(limit).await;
    }
}

/// The address of this machine that packets to `peer` come from.
fn address_towards(peer: SocketAddrV4) -> Ipv4Addr {
    // Connecting a UDP socket sends nothing; it only chooses a route.
    let local = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0))
        .and_then(|socket| socket.connect(peer).and_then(|()| socket.local_addr()));
    match local {
        Ok(SocketAddr::V4(address)) => *address.ip(),
        Ok(SocketAddr::V6(_)) | Err(_) => Ipv4Addr::LOCALHOST,
    }
}
