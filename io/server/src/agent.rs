//! The agent daemon: sockets, files and processes around `core/agent`.

use std::io;
use std::net::SocketAddrV4;
use std::path::PathBuf;
use std::sync::Arc;

use agent::Agent;
use agent::config::{CommandLine, Config};
use libprocess::{BindError, Incoming, Node, NodeOptions};
use protocol::DecodeError;
use protocol::causes::with_causes;
use protocol::messages::{Authentication, MasterToAgent};
use protocol::pid::Pid;
use tokio::runtime::Handle;
use tokio::sync::{mpsc, watch};

mod api;
mod authentication;
mod checkpoints;
mod containers;
mod detector;
mod machine;
mod options;
mod volumes;

pub use authentication::AuthenticationTimeouts;
pub use checkpoints::CheckpointError;
pub use machine::Exit;
pub use options::{AgentOptions, OptionsError};

use self::api::Api;
use self::authentication::{AUTHENTICATEE, Authentications};
use self::checkpoints::Writer;
use self::containers::{Containers, Settings};
use self::detector::Detection;
use self::machine::{ACTOR, AgentMachine, Input, Parts};
use crate::event_loop::{self, Clock, Inputs, LoopThread};

/// Why an agent does not start. Nothing was changed on disk then.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The flags contradict each other or the machine.
    #[error(transparent)]
    Options(#[from] OptionsError),
    /// The master's name is not known.
    #[error("failed to find the master")]
    Master(#[source] coordination::DetectorError),
    /// The port is taken, or the address is not ours.
    #[error(transparent)]
    Bind(#[from] BindError),
    /// The work directory cannot be used.
    #[error("failed to use the work directory '{}'", path.display())]
    WorkDirectory {
        /// The directory.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The checkpoints cannot be read.
    #[error(transparent)]
    Checkpoint(#[from] CheckpointError),
    /// The checkpoints do not fit this agent.
    #[error("{0}")]
    Recovery(String),
    /// A thread or a random number could not be had.
    #[error("failed to start the agent's threads")]
    System(#[source] io::Error),
    /// Containers cannot be launched.
    #[error(transparent)]
    Launcher(#[from] ::containers::LauncherError),
}

/// A running agent.
#[derive(Debug)]
pub struct AgentServer {
    address: SocketAddrV4,
    node: Node,
    inputs: Inputs<Input>,
    containers: Containers,
    exit: watch::Receiver<Option<Exit>>,
    shutdown: watch::Sender<bool>,
    thread: Option<LoopThread>,
    _lock: std::fs::File,
}

impl AgentServer {
    /// Starts an agent: recovers what an earlier run left in the work directory, then listens and
    /// looks for its master. To be called inside a tokio runtime.
    ///
    /// # Errors
    /// See [`StartError`].
    pub async fn start(options: AgentOptions) -> Result<Self, StartError> {
        let resources = options.resources()?.to_wire();
        let attributes = options.attributes()?.to_wire();
        let (inputs, receiver) = event_loop::inputs();
        let detection =
            Detection::start(&options.master, options.zk_session_timeout, inputs.clone())
                .map_err(StartError::Master)?;
        let work_dir = absolute(&options.work_dir)?;
        let meta = work_dir.join("meta");
        let tree = checkpoints::read(&meta)?;
        let (node, incoming) = Node::bind(node_options(&options)).await?;
        let config = config(&options, &node, &work_dir, resources, attributes)?;
        let clock = Clock::start();
        let recovered = agent::recovery::recover(&config, &tree)
            .map_err(|error| StartError::Recovery(with_causes(&error)))?;
        let lock = prepare(&work_dir)?;
        let (core, effects) = Agent::new(clock.now(), config, Some(recovered));

        let containers = Containers::start(
            inputs.clone(),
            Handle::current(),
            Settings {
                meta: meta.clone(),
                ip: node.address().ip().to_string(),
                program: options.program.clone(),
                frameworks_home: options.frameworks_home.clone(),
                fetcher_stall_timeout: options.fetcher_stall_timeout,
            },
        )?;
        let writer = writer(meta, inputs.clone()).map_err(StartError::System)?;
        let (exit, exited) = watch::channel(None);
        let parts = Parts {
            core,
            node: node.clone(),
            writer,
            containers: containers.clone(),
            detection,
            inputs: inputs.clone(),
            runtime: Handle::current(),
            work_dir: work_dir.clone(),
            exit,
            authentications: options.credential.clone().map(|credential| {
                Authentications::new(node.clone(), credential, options.authentication_timeouts)
            }),
        };
        let thread = event_loop::spawn("agent", clock, receiver, Arc::new(()), move || {
            AgentMachine::new(parts, effects)
        })
        .map_err(StartError::System)?;
        node.register_actor(ACTOR);
        let (shutdown, stopping) = watch::channel(false);
        let api =
            Arc::new(Api::new(inputs.clone(), containers.clone(), options.flags, options.access));
        tokio::spawn(receive(incoming, inputs.clone(), api, stopping));
        let address = node.address();
        Ok(Self {
            address,
            node,
            inputs,
            containers,
            exit: exited,
            shutdown,
            thread: Some(thread),
            _lock: lock,
        })
    }

    /// Where the agent listens.
    #[must_use]
    pub fn address(&self) -> SocketAddrV4 {
        self.address
    }

    /// Waits until the agent ends on its own account.
    pub async fn ended(&mut self) -> Exit {
        match self.exit.wait_for(Option::is_some).await {
            Ok(exit) => exit.clone(),
            Err(_) => None,
        }
        .unwrap_or_else(|| Exit { code: 1, reason: "the agent's event loop ended".to_owned() })
    }

    /// Asks the agent to leave the cluster and end its tasks; it then ends on its own account.
    pub fn unregister(&self, message: &str) {
        let event = agent::event::Event::Unregister { message: message.to_owned() };
        // An agent that ended already has left.
        let _ = self.inputs.complete(Input::Event(Box::new(event)));
    }

    /// Stops the daemon. Its containers go on: a later run in the same work directory finds them.
    pub async fn shutdown(mut self) {
        self.stop().await;
    }

    /// Stops the daemon and every container.
    pub async fn shutdown_with_containers(mut self) {
        self.stop().await;
        let containers = self.containers.clone();
        let destroyed = tokio::task::spawn_blocking(move || containers.destroy_all()).await;
        if let Err(error) = destroyed {
            tracing::error!(%error, "containers were not all destroyed");
        }
    }

    async fn stop(&mut self) {
        // What has ended already needs no telling.
        let _ = self.inputs.complete(Input::Stop);
        self.shutdown.send_replace(true);
        if let Some(thread) = self.thread.take() {
            let joined = tokio::task::spawn_blocking(move || thread.join()).await;
            if let Err(error) = joined {
                tracing::error!(%error, "the agent's event loop was not joined");
            }
        }
        self.node.shutdown();
    }
}

fn node_options(options: &AgentOptions) -> NodeOptions {
    NodeOptions {
        ip: options.ip,
        port: options.port,
        advertise_ip: options.advertise_ip,
        advertise_port: options.advertise_port,
        require_peer_address_ip_match: false,
        ..NodeOptions::default()
    }
}

fn absolute(work_dir: &std::path::Path) -> Result<PathBuf, StartError> {
    std::path::absolute(work_dir)
        .map_err(|source| StartError::WorkDirectory { path: work_dir.to_path_buf(), source })
}

/// Creates the work directory and takes it for this process alone.
fn prepare(work_dir: &std::path::Path) -> Result<std::fs::File, StartError> {
    let refused = |source| StartError::WorkDirectory { path: work_dir.to_path_buf(), source };
    std::fs::create_dir_all(work_dir.join("meta")).map_err(refused)?;
    let path = work_dir.join("meta").join(".lock");
    let lock = std::fs::File::options().create(true).append(true).open(path).map_err(refused)?;
    lock.try_lock().map_err(|_| refused(io::Error::other("another agent uses it")))?;
    Ok(lock)
}

fn config(
    options: &AgentOptions,
    node: &Node,
    work_dir: &std::path::Path,
    resources: Vec<protocol::mesos::Resource>,
    attributes: Vec<protocol::mesos::Attribute>,
) -> Result<Config, StartError> {
    let command_executor = CommandLine {
        program: options.program.to_string_lossy().into_owned(),
        arguments: vec!["mesos-executor".to_owned(), "executor".to_owned()],
    };
    // Task groups come with real containers; until then launching refuses a program without a name.
    let default_executor = CommandLine { program: String::new(), arguments: Vec::new() };
    Ok(Config {
        pid: node.pid(ACTOR),
        hostname: options.hostname.clone(),
        work_dir: work_dir.to_string_lossy().into_owned(),
        resources,
        attributes,
        domain: None,
        version: crate::host::MESOS_VERSION.to_owned(),
        boot_id: boot_id().map_err(StartError::System)?,
        seed: crate::host::random_seed().map_err(StartError::System)?,
        recover: options.recover,
        strict: options.strict,
        reconfiguration_policy: options.reconfiguration_policy,
        authenticate: options.credential.is_some(),
        command_executor,
        default_executor,
        environment: options.environment(),
        switch_user: options.switch_user,
        timing: options.timing.clone(),
        garbage_collection: options.garbage_collection.clone(),
        history: options.history.clone(),
    })
}

fn boot_id() -> io::Result<String> {
    let text = std::fs::read_to_string("/proc/sys/kernel/random/boot_id")?;
    Ok(text.trim().to_owned())
}

fn writer(meta: PathBuf, inputs: Inputs<Input>) -> io::Result<Writer> {
    Writer::start(meta, move |write, result| {
        let event = match result {
            Ok(()) => agent::event::Event::Checkpointed { write },
            Err(error) => {
                let message = with_causes(&error);
                agent::event::Event::CheckpointFailed { write, message }
            }
        };
        // A loop that has ended waits for no write.
        let _ = inputs.complete(Input::Event(Box::new(event)));
    })
}

/// Feeds what arrives at the port into the loop.
async fn receive(
    mut incoming: mpsc::Receiver<Incoming>,
    inputs: Inputs<Input>,
    api: Arc<Api>,
    stopping: watch::Receiver<bool>,
) {
    while let Some(arrived) = incoming.recv().await {
        let event = match arrived {
            Incoming::Message { from, actor, name, body } if actor.starts_with(AUTHENTICATEE) => {
                if let Some(Ok(message)) = Authentication::decode(&name, &body) {
                    let _ = inputs.send(Input::Authentication { actor, from, message }).await;
                }
                continue;
            }
            Incoming::Message { from, actor: _, name, body } => {
                match master_message(from, &name, &body) {
                    Some(event) => event,
                    None => continue,
                }
            }
            Incoming::Exited { pid } => agent::event::Event::MasterExited { pid },
            Incoming::Http(connection) => {
                let peer = connection.peer();
                let (received, socket) = connection.into_parts();
                let serving =
                    crate::http::serve(socket, received, peer, Arc::clone(&api), stopping.clone());
                tokio::spawn(serving);
                continue;
            }
        };
        if inputs.send(Input::Event(Box::new(event))).await.is_err() {
            return;
        }
    }
}

/// The event that a message means; none for messages of other kinds, which Mesos ignores too.
fn master_message(from: Pid, name: &str, body: &[u8]) -> Option<agent::event::Event> {
    let decoded: Option<Result<MasterToAgent, DecodeError>> = MasterToAgent::decode(name, body);
    match decoded? {
        Ok(message) => Some(agent::event::Event::MasterMessage { from, message }),
        Err(error) => {
            tracing::warn!(%from, name, %error, "a message is malformed and was dropped");
            None
        }
    }
}
