//! The agent's core in its event loop: inputs go in, effects are carried out. Nothing is decided
//! here.

use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::path::PathBuf;
use std::sync::Arc;

use agent::Agent;
use agent::effect::{Effect, Response, Severity};
use agent::event::{ConnectionId, Event, RequestId};
use agent::view::View;
use bytes::Bytes;
use libprocess::Node;
use protocol::messages::Authentication;
use protocol::pid::Pid;
use protocol::time::Timestamp;
use protocol::{Message as _, executor};
use tokio::runtime::Handle;
use tokio::sync::{oneshot, watch};

use super::authentication::Authentications;
use super::checkpoints::Writer;
use super::containers::Containers;
use super::detector::Detection;
use crate::event_loop::{Inputs, Machine};
use crate::http::{ContentType, StreamSender};

/// The id of the agent's actor; what C++ agents call themselves.
pub(super) const ACTOR: &str = "slave(1)";

/// What reaches the loop.
pub(super) enum Input {
    Event(Box<Event>),
    /// An executor wants to subscribe; the answer says whether its stream is open.
    Subscribe {
        call: Box<executor::Call>,
        content_type: ContentType,
        stream: StreamSender,
        connection: ConnectionId,
        answer: oneshot::Sender<Result<(), Response>>,
    },
    /// Another call of an executor.
    Call {
        call: Box<executor::Call>,
        answer: oneshot::Sender<Response>,
    },
    /// A message to an actor of ours that takes part in an authentication.
    Authentication {
        actor: String,
        from: Pid,
        message: Authentication,
    },
    /// Somebody wants to see the state.
    View(oneshot::Sender<Arc<View>>),
    /// The daemon stops; tasks of checkpointing frameworks go on.
    Stop,
}

/// How the loop ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Exit {
    /// The process' exit code.
    pub code: i32,
    /// One clear line.
    pub reason: String,
}

struct Stream {
    content_type: ContentType,
    sender: StreamSender,
}

struct Waiting {
    stream: Stream,
    answer: oneshot::Sender<Result<(), Response>>,
}

/// What [`AgentMachine`] needs to carry effects out.
pub(super) struct Parts {
    pub core: Agent,
    pub node: Node,
    pub writer: Writer,
    pub containers: Containers,
    pub detection: Detection,
    pub inputs: Inputs<Input>,
    pub runtime: Handle,
    pub work_dir: PathBuf,
    pub exit: watch::Sender<Option<Exit>>,
    /// None without a credential.
    pub authentications: Option<Authentications>,
}

/// The state machine with those who wait for its answers.
pub(super) struct AgentMachine {
    parts: Parts,
    requests: BTreeMap<RequestId, oneshot::Sender<Response>>,
    requests_seen: u64,
    waiting: BTreeMap<ConnectionId, Waiting>,
    streams: BTreeMap<ConnectionId, Stream>,
    /// The master whose end is heard of.
    linked: Option<Pid>,
}

impl AgentMachine {
    /// Takes the parts and carries out what the core wants first.
    pub(super) fn new(parts: Parts, effects: Vec<Effect>) -> Self {
        let mut machine = Self {
            parts,
            requests: BTreeMap::new(),
            requests_seen: 0,
            waiting: BTreeMap::new(),
            streams: BTreeMap::new(),
            linked: None,
        };
        if machine.perform_all(effects).is_break() {
            // The loop ends with its first input; there is one from the detector at the latest.
            let _ = machine.parts.inputs.complete(Input::Stop);
        }
        machine
    }

    fn perform_all(&mut self, effects: Vec<Effect>) -> ControlFlow<()> {
        effects.into_iter().try_for_each(|effect| self.perform(effect))
    }

    fn perform(&mut self, effect: Effect) -> ControlFlow<()> {
        match effect {
            Effect::LinkMaster { pid } => self.link(pid),
            Effect::Authenticate { master } => match &mut self.parts.authentications {
                Some(authentications) => authentications.begin(&master),
                None => {
                    let result = Err("this agent has no credential".to_owned());
                    self.tell(Event::Authenticated { master, result });
                }
            },
            Effect::DetectMaster => self.parts.detection.again(),
            Effect::SendToMaster { to, message } => {
                self.parts.node.send(ACTOR, &to, message.name(), message.encode());
            }
            Effect::Checkpoint { write, changes } => self.parts.writer.write(write, changes),
            Effect::CreateSandbox { container, directory, user } => {
                self.parts.containers.create_sandbox(&container, &directory, user.as_deref());
            }
            Effect::LaunchContainer(launch) => self.parts.containers.launch(launch),
            // Without other isolators the volumes are all there is to set.
            Effect::UpdateContainer { container, resources: _, limits: _, volumes } => {
                self.parts.containers.update(&container, &volumes);
            }
            Effect::DestroyContainer { container } => self.parts.containers.destroy(container),
            Effect::RecoverContainers { containers } => self.parts.containers.recover(containers),
            Effect::AcceptExecutor { connection } => self.accept(connection),
            Effect::RefuseExecutor { connection, response } => {
                if let Some(waiting) = self.waiting.remove(&connection) {
                    let _ = waiting.answer.send(Err(response));
                }
            }
            Effect::SendToExecutor { connection, event } => self.send(connection, &event),
            Effect::CloseExecutor { connection } => drop(self.streams.remove(&connection)),
            Effect::Respond { request, response } => {
                if let Some(answer) = self.requests.remove(&request) {
                    // The executor may have hung up meanwhile.
                    let _ = answer.send(response);
                }
            }
            Effect::RemoveDirectory { path } => self.remove_directory(path),
            Effect::MeasureDiskUsage => self.measure_disk_usage(),
            Effect::Log { severity, message } => log(severity, &message),
            Effect::Exit { code, reason } => {
                self.parts.exit.send_replace(Some(Exit { code, reason }));
                return ControlFlow::Break(());
            }
        }
        ControlFlow::Continue(())
    }

    /// Links the master; the one before it is nobody's any more.
    fn link(&mut self, pid: Pid) {
        self.parts.node.relink(&pid);
        if let Some(former) = self.linked.replace(pid)
            && Some(&former) != self.linked.as_ref()
        {
            self.parts.node.unlink(&former);
        }
    }

    fn tell(&self, event: Event) {
        // The loop is running: it is this one.
        let _ = self.parts.inputs.complete(Input::Event(Box::new(event)));
    }

    fn accept(&mut self, connection: ConnectionId) {
        if let Some(waiting) = self.waiting.remove(&connection)
            && waiting.answer.send(Ok(())).is_ok()
        {
            self.streams.insert(connection, waiting.stream);
        }
    }

    fn send(&mut self, connection: ConnectionId, event: &executor::Event) {
        let Some(stream) = self.streams.get(&connection) else { return };
        let record = match stream.content_type {
            ContentType::Json => event.to_json(protocol::Names::V1).into_bytes(),
            ContentType::Protobuf => event.encode_to_vec(),
        };
        let Err(error) = stream.sender.send(Bytes::from(protocol::recordio::encode(&record)))
        else {
            return;
        };
        tracing::debug!(%error, "an event did not reach its executor");
        // The end of the stream is an event of its own. An executor is not told why: it may subscribe again, while
        // ERROR would have it end its tasks.
        if let Some(stream) = self.streams.remove(&connection) {
            stream.sender.give_up(None);
        }
    }

    fn remove_directory(&self, path: String) {
        let inputs = self.parts.inputs.clone();
        self.parts.runtime.spawn_blocking(move || {
            let removed = std::fs::remove_dir_all(&path);
            let succeeded = match &removed {
                Ok(()) => true,
                Err(error) => error.kind() == std::io::ErrorKind::NotFound,
            };
            if let Err(error) = removed
                && !succeeded
            {
                tracing::warn!(path, %error, "a directory was not removed");
            }
            let event = Event::DirectoryRemoved { path, succeeded };
            let _ = inputs.complete(Input::Event(Box::new(event)));
        });
    }

    fn measure_disk_usage(&self) {
        match nix::sys::statvfs::statvfs(&self.parts.work_dir) {
            Ok(disk) => {
                #[expect(clippy::cast_precision_loss, reason = "a fraction needs no more digits")]
                let (free, all) = (disk.blocks_available() as f64, disk.blocks().max(1) as f64);
                self.tell(Event::DiskUsage { used_fraction: 1.0 - free / all });
            }
            Err(error) => {
                tracing::warn!(path = %self.parts.work_dir.display(), %error, "the disk usage is not known");
            }
        }
    }
}

fn log(severity: Severity, message: &str) {
    match severity {
        Severity::Info => tracing::info!("{message}"),
        Severity::Warning => tracing::warn!("{message}"),
        Severity::Error => tracing::error!("{message}"),
    }
}

impl Machine for AgentMachine {
    type Input = Input;

    fn handle(&mut self, now: Timestamp, input: Input) -> ControlFlow<()> {
        let event = match input {
            Input::Event(event) => {
                if let Event::ExecutorConnectionClosed { connection } = &*event {
                    self.streams.remove(connection);
                }
                *event
            }
            Input::Subscribe { call, content_type, stream, connection, answer } => {
                let stream = Stream { content_type, sender: stream };
                self.waiting.insert(connection, Waiting { stream, answer });
                Event::ExecutorSubscribe { connection, call }
            }
            Input::Call { call, answer } => {
                self.requests_seen += 1;
                let request = RequestId(self.requests_seen);
                self.requests.insert(request, answer);
                Event::ExecutorCall { request, call }
            }
            Input::Authentication { actor, from, message } => {
                let authentications = self.parts.authentications.as_mut();
                let ended = authentications.and_then(|it| it.handle(&actor, &from, &message));
                let Some((master, result)) = ended else { return ControlFlow::Continue(()) };
                Event::Authenticated { master, result }
            }
            Input::View(answer) => {
                let _ = answer.send(self.parts.core.snapshot());
                return ControlFlow::Continue(());
            }
            Input::Stop => return ControlFlow::Break(()),
        };
        let lost = if let Event::MasterExited { pid } = &event { Some(pid.clone()) } else { None };
        let effects = self.parts.core.handle(now, event);
        if let Some(pid) = lost {
            self.parts.detection.lost(&self.parts.runtime, &pid);
        }
        self.perform_all(effects)
    }

    fn expire(&mut self, now: Timestamp) -> ControlFlow<()> {
        let effects = self.parts.core.expire(now);
        self.perform_all(effects)
    }

    fn next_expiry(&self) -> Option<Timestamp> {
        self.parts.core.next_expiry()
    }

    fn batch_done(&mut self, _now: Timestamp) {}
}
