//! The thread that owns the master: hands it what happened and does what it wants done.

use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use coordination::Lease;
use libprocess::{Node, Outbox};
use master::effect::{Effect, Response};
use master::event::{ConnectionId, Event, RequestId};
use master::view::Snapshot;
use master::{Config, Master};
use protocol::time::Timestamp;
use tokio::sync::{oneshot, watch};

use super::allocations::AllocationTimes;
use super::commands::{Answer, Command, PendingStream};
use super::endpoint::MASTER_ACTOR;
use super::storage::Storage;
use super::streams::Streams;
use super::term::TermEnd;
use crate::event_loop::{Clock, Inputs, Machine};
use crate::http::stream::stream;
use crate::http::{SCHEDULER_QUEUE_BYTES_MAX, STREAM_QUEUE_BYTES_MAX, StreamBody};

/// What the master is surrounded by.
#[derive(Debug)]
pub(super) struct Surroundings {
    pub node: Node,
    pub clock: Clock,
    pub allocations: Arc<AllocationTimes>,
    pub storage: Storage,
    pub inputs: Inputs<Command>,
    /// Subscribers that were too slow.
    pub dropped_streams: Arc<AtomicU64>,
    /// Until when leadership is certain; for ever without an election.
    pub lease: Option<Lease>,
    /// Why the master stopped by itself, once it has.
    pub ended: Arc<watch::Sender<Option<TermEnd>>>,
}

#[derive(Debug)]
struct Waiting {
    reply: oneshot::Sender<Answer>,
    stream: Option<PendingStream>,
}

/// The master and what its effects act on.
#[derive(Debug)]
pub(super) struct Shell {
    master: Master,
    around: Surroundings,
    /// What the batch in hand sends to agents and drivers.
    outbox: Outbox,
    /// Requests without an answer so far; no more than there are connections.
    waiting: BTreeMap<RequestId, Waiting>,
    /// Operators whose subscription is not answered; likewise.
    subscribing: BTreeMap<ConnectionId, Waiting>,
    streams: Streams,
    /// Who wants to read the state; likewise.
    readers: Vec<oneshot::Sender<Arc<Snapshot>>>,
    stopping: bool,
}

impl Shell {
    /// A master that leads from now on.
    pub(super) fn new(
        now: Timestamp,
        config: Config,
        records: Vec<master::registry::Record>,
        around: Surroundings,
    ) -> Self {
        let (master, effects) = Master::new(now, config, records);
        let streams = Streams::new(Arc::clone(&around.dropped_streams));
        let mut shell = Self {
            master,
            outbox: Outbox::new(around.node.clone()),
            around,
            waiting: BTreeMap::new(),
            subscribing: BTreeMap::new(),
            streams,
            readers: Vec::new(),
            stopping: false,
        };
        shell.perform_all(effects);
        shell.outbox.flush();
        shell
    }

    fn flow(&mut self) -> ControlFlow<()> {
        if !self.stopping {
            return ControlFlow::Continue(());
        }
        // The batch ends here, and with it the loop.
        if self.may_act() {
            self.outbox.flush();
        }
        ControlFlow::Break(())
    }

    /// Whether no other master can lead at this moment.
    fn may_act(&self) -> bool {
        self.around.lease.as_ref().is_none_or(Lease::is_valid)
    }

    /// Leadership may be lost: nothing that is still to be done or sent may be done or sent.
    fn depose(&mut self) -> ControlFlow<()> {
        let reason = "leadership could not be renewed in time: another master may lead";
        self.stop(TermEnd::Deposed(reason.to_owned()));
        ControlFlow::Break(())
    }

    fn stop(&mut self, end: TermEnd) {
        tracing::error!(reason = end.reason(), "the master stops");
        self.around.ended.send_replace(Some(end));
        self.stopping = true;
    }

    fn event(&mut self, now: Timestamp, event: Event) {
        let effects = self.master.handle(now, event);
        self.perform_all(effects);
    }

    fn perform_all(&mut self, effects: Vec<Effect>) {
        for effect in effects {
            self.perform(effect);
        }
    }

    fn perform(&mut self, effect: Effect) {
        match effect {
            Effect::Persist { write, changes } => self.around.storage.write(write, changes),
            Effect::SendToAgent { to, message } => {
                self.outbox.send(MASTER_ACTOR, &to, message.name(), message.encode());
            }
            Effect::SendToDriver { to, message } => {
                self.outbox.send(MASTER_ACTOR, &to, message.name(), message.encode());
            }
            Effect::SendAuthentication { actor, to, message } => {
                self.outbox.send(&actor, &to, message.name(), message.encode());
            }
            Effect::Link { pid } => self.outbox.link(&pid),
            Effect::SendToScheduler { connection, event } => {
                self.streams.send_scheduler(connection, &event);
            }
            Effect::SendToSubscribers { connections, event } => {
                self.streams.send_operators(&connections, &event);
            }
            Effect::AcceptSubscription { request, connection: _, stream_id } => {
                if let Some(Waiting { reply, stream: Some(pending) }) =
                    self.waiting.remove(&request)
                {
                    let body = self.open(pending, SCHEDULER_QUEUE_BYTES_MAX);
                    let _ = reply.send(Answer::Scheduler { stream_id, body });
                }
            }
            Effect::AcceptSubscriber { connection, snapshot, heartbeat_interval } => {
                if let Some(Waiting { reply, stream: Some(pending) }) =
                    self.subscribing.remove(&connection)
                {
                    let body = self.open(pending, STREAM_QUEUE_BYTES_MAX);
                    let heartbeat_seconds = heartbeat_interval.as_secs_f64();
                    let _ = reply.send(Answer::Operator { snapshot, heartbeat_seconds, body });
                }
            }
            Effect::CloseConnection { connection } => self.streams.close(connection),
            Effect::Respond { request, response } => self.respond(request, response),
            Effect::Abort { reason } => self.stop(TermEnd::Aborted(reason)),
        }
    }

    fn respond(&mut self, request: RequestId, response: Response) {
        if let Some(waiting) = self.waiting.remove(&request) {
            // Whoever asked may have gone.
            let _ = waiting.reply.send(Answer::Response(response));
        }
    }

    fn open(&mut self, pending: PendingStream, queue_bytes_max: usize) -> StreamBody {
        let inputs = self.around.inputs.clone();
        let connection = pending.connection;
        let (sender, body) = stream(pending.handle, move || {
            let _ = inputs.complete(Command::Event(Event::ConnectionClosed { connection }));
        });
        let sender = sender.with_bytes_max(queue_bytes_max);
        self.streams.open(connection, sender, pending.content_type);
        body
    }
}

impl Machine for Shell {
    type Input = Command;

    fn handle(&mut self, now: Timestamp, input: Command) -> ControlFlow<()> {
        if !self.may_act() {
            return self.depose();
        }
        match input {
            Command::Event(event) => {
                if let Event::ConnectionClosed { connection } = event {
                    self.streams.close(connection);
                }
                self.event(now, event);
            }
            Command::Messages { events, room } => {
                for event in events {
                    self.event(now, event);
                }
                drop(room);
            }
            Command::Request { request, event, reply, stream } => {
                self.waiting.insert(request, Waiting { reply, stream });
                self.event(now, *event);
            }
            Command::Subscribe { event, reply, stream } => {
                let waiting = Waiting { reply, stream: None };
                let connection = stream.connection;
                self.subscribing.insert(connection, Waiting { stream: Some(stream), ..waiting });
                self.event(now, *event);
            }
            Command::Read(reply) => self.readers.push(reply),
            Command::Ask(question) => question.ask(&self.master, now),
            Command::StorageFailed(reason) => self.stop(TermEnd::Deposed(reason)),
            Command::Stop => self.stopping = true,
        }
        self.flow()
    }

    fn expire(&mut self, now: Timestamp) -> ControlFlow<()> {
        if !self.may_act() {
            return self.depose();
        }
        let due = self.master.next_expiry();
        let runs = self.master.allocation_runs();
        let effects = self.master.expire(now);
        if self.master.allocation_runs() > runs {
            let wait = due.map_or(Duration::ZERO, |due| now.since(due));
            self.around.allocations.add(wait, self.around.clock.now().since(now));
        }
        self.perform_all(effects);
        self.flow()
    }

    fn next_expiry(&self) -> Option<Timestamp> {
        self.master.next_expiry()
    }

    fn batch_done(&mut self, _now: Timestamp) {
        if !self.may_act() {
            // What is collected must not be sent. The next input ends the loop.
            let _ = self.around.inputs.complete(Command::Stop);
            return;
        }
        self.outbox.flush();
        self.streams.batch_done();
        if self.readers.is_empty() {
            return;
        }
        // All who asked during a batch read the same state.
        let snapshot = self.master.snapshot();
        for reader in self.readers.drain(..) {
            let _ = reader.send(Arc::clone(&snapshot));
        }
    }
}
