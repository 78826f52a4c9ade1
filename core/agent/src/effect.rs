//! What the agent wants done: a closed enum; the shell executes effects in the order given.
//!
//! Order and durability: an effect that follows a [`Effect::Checkpoint`] in the core's order of
//! decisions is held back by the core itself until that write is confirmed with
//! `Event::Checkpointed`. So the shell never waits: it hands writes to its writer (one queue, first
//! in first out; neighbours may share one sync) and executes everything else at once.

use std::collections::BTreeMap;
use std::sync::Arc;

use protocol::messages::AgentToMaster;
use protocol::pid::Pid;
use protocol::{executor, mesos};

use crate::checkpoint::Change;
use crate::event::{ConnectionId, RequestId};

/// One batch of changes below the meta directory; increasing from 1 within a process.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct WriteId(pub u64);

/// Everything an agent can ask for.
#[derive(Clone, Debug)]
pub enum Effect {
    /// Link the master's address, so that `Event::MasterExited` tells when it breaks.
    LinkMaster {
        /// Whom.
        pid: Pid,
    },
    /// Run the authentication exchange with the agent's credential, answer with
    /// `Event::Authenticated`.
    Authenticate {
        /// With whom.
        master: Pid,
    },
    /// Ask the detector again, as if the leader had been lost: no ping came for too long.
    DetectMaster,
    /// Send one libprocess message as the agent's pid.
    SendToMaster {
        /// The master, or the observer that pinged.
        to: Pid,
        /// The message.
        message: Box<AgentToMaster>,
    },
    /// Apply the changes in order, below the meta directory, and make them durable; answer with
    /// `Event::Checkpointed` or `Event::CheckpointFailed`.
    Checkpoint {
        /// To be named in the answer.
        write: WriteId,
        /// One by one; a crash may leave any prefix of them.
        changes: Vec<Change>,
    },
    /// Create a sandbox: `directory` (absolute) with parents, owned by `user`, and the relative link
    /// `latest` beside it pointing to it. Failure is reported as `ContainerLaunchFailed` of
    /// `container`, and the following `LaunchContainer` is then skipped.
    CreateSandbox {
        /// Whose sandbox.
        container: mesos::ContainerId,
        /// `<work_dir>/slaves/<S>/frameworks/<F>/executors/<E>/runs/<C>`.
        directory: String,
        /// Owner; `None` leaves it to the agent's own user.
        user: Option<String>,
    },
    /// Fetch, prepare, fork, write the pid if asked for, execute. Answer `ContainerLaunched` or
    /// `ContainerLaunchFailed`; later `ContainerExited`.
    LaunchContainer(Box<ContainerLaunch>),
    /// Set what the container may use. Only a failure is answered (`ContainerUpdateFailed`).
    UpdateContainer {
        /// Which.
        container: mesos::ContainerId,
        /// All it has from now on.
        resources: Vec<mesos::Resource>,
        /// Upper limits by resource name, where they differ from the resources (`cpus`, `mem`).
        limits: BTreeMap<String, mesos::value::Scalar>,
        /// All volumes it has from now on. Done before any later effect.
        volumes: Vec<VolumeLink>,
    },
    /// Kill every process of the container at once. `ContainerExited` follows, also if it is not
    /// running yet or unknown.
    DestroyContainer {
        /// Which.
        container: mesos::ContainerId,
    },
    /// After a restart: watch these again, and destroy every other container that the containers'
    /// own records show. Answer with `ContainersRecovered`, and `ContainerExited` for each that is
    /// gone.
    RecoverContainers {
        /// The executors' containers which may live.
        containers: Vec<ContainerRecovery>,
    },
    /// Answer the SUBSCRIBE request with 200 and keep the stream open for events.
    AcceptExecutor {
        /// The stream.
        connection: ConnectionId,
    },
    /// Answer the SUBSCRIBE request with an error; the stream ends.
    RefuseExecutor {
        /// The stream.
        connection: ConnectionId,
        /// The answer.
        response: Response,
    },
    /// Write one event to an executor's stream.
    SendToExecutor {
        /// The stream.
        connection: ConnectionId,
        /// The event; encoded as the executor asked in `Accept`.
        event: Arc<executor::Event>,
    },
    /// End an executor's stream after what was written to it. `ExecutorConnectionClosed` may follow.
    CloseExecutor {
        /// The stream.
        connection: ConnectionId,
    },
    /// Answer a request that `Event::ExecutorCall` brought.
    Respond {
        /// Whom.
        request: RequestId,
        /// The answer.
        response: Response,
    },
    /// Delete a directory tree (absolute path) in the background, answer `DirectoryRemoved`.
    RemoveDirectory {
        /// Below the work directory.
        path: String,
    },
    /// Answer with `Event::DiskUsage`.
    MeasureDiskUsage,
    /// A fact for the log.
    Log {
        /// How bad it is.
        severity: Severity,
        /// One sentence.
        message: String,
    },
    /// Stop the process after everything before this effect was done.
    Exit {
        /// The process' exit code.
        code: i32,
        /// One clear line.
        reason: String,
    },
}

/// For [`Effect::Log`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Severity {
    /// Normal, and rare enough to log.
    Info,
    /// Handled, but somebody should look.
    Warning,
    /// Something was lost or refused.
    Error,
}

/// A persistent volume as a container sees it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct VolumeLink {
    /// The volume's directory, absolute.
    pub source: String,
    /// Where the container finds it, relative to its sandbox.
    pub container_path: String,
    /// Whether the container may only read it.
    pub read_only: bool,
    /// Whether other containers may use it at the same time.
    pub shared: bool,
}

/// Everything needed to start a container; executing it needs no further decision.
#[derive(Clone, Debug, PartialEq)]
pub struct ContainerLaunch {
    /// A fresh uuid, or for nested containers a child of one.
    pub container: mesos::ContainerId,
    /// The sandbox, absolute; working directory, and home of `stdout` and `stderr`.
    pub directory: String,
    /// Shell text, or path and arguments. Its `uris` are to be fetched first; its `environment` is
    /// already part of `environment` below.
    pub command: mesos::CommandInfo,
    /// The complete environment of the process: nothing is inherited.
    pub environment: BTreeMap<String, String>,
    /// Whom to run as; `None` is the agent's own user.
    pub user: Option<String>,
    /// Image, volumes, networks, terminal.
    pub container_info: Option<mesos::ContainerInfo>,
    /// What it may use.
    pub resources: Vec<mesos::Resource>,
    /// Upper limits by resource name, where they differ from the resources.
    pub limits: BTreeMap<String, mesos::value::Scalar>,
    /// The persistent volumes among its resources.
    pub volumes: Vec<VolumeLink>,
    /// Where to write the pid (decimal text), below the meta directory, after the fork and before
    /// the command is executed: so no process of a checkpointing framework can run unrecorded.
    pub pid_checkpoint: Option<String>,
}

/// A container that may still run.
#[derive(Clone, Debug, PartialEq)]
pub struct ContainerRecovery {
    /// Its id.
    pub container: mesos::ContainerId,
    /// Its sandbox, absolute.
    pub directory: String,
    /// The checkpointed pid of its first process; `None` when the agent died before it was known.
    pub pid: Option<u32>,
    /// What it may use.
    pub resources: Vec<mesos::Resource>,
    /// The persistent volumes among its resources.
    pub volumes: Vec<VolumeLink>,
    /// Image, volumes, networks, as at launch.
    pub container_info: Option<mesos::ContainerInfo>,
}

/// An HTTP answer: the status and its text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Response {
    /// Accepted, or the error.
    pub status: Status,
    /// Plain text; empty for 202.
    pub body: String,
}

/// The HTTP statuses the executor API uses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Status {
    /// 202
    Accepted,
    /// 400
    BadRequest,
    /// 403
    Forbidden,
    /// 503
    ServiceUnavailable,
}

impl Status {
    /// The number on the wire.
    #[must_use]
    pub const fn code(self) -> u16 {
        match self {
            Self::Accepted => 202,
            Self::BadRequest => 400,
            Self::Forbidden => 403,
            Self::ServiceUnavailable => 503,
        }
    }
}
