//! What the agent is told: one closed enum, one handler per variant.

use protocol::messages::MasterToAgent;
use protocol::pid::Pid;
use protocol::{executor, mesos};

use crate::effect::WriteId;

/// One subscription stream of an executor, numbered by the shell; never reused within a process.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ConnectionId(pub u64);

/// One HTTP request that waits for its answer, numbered by the shell; never reused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RequestId(pub u64);

/// The leading master as the detector reports it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Leader {
    /// Where to send, and the only sender whose messages are believed.
    pub pid: Pid,
    /// What the master publishes about itself; `None` when the flag names a bare address.
    pub info: Option<mesos::MasterInfo>,
}

/// Everything that can happen to an agent.
#[derive(Clone, Debug)]
pub enum Event {
    /// The detector found a leader, lost it (`None`), or found another one.
    MasterDetected {
        /// The leader from now on.
        leader: Option<Leader>,
    },
    /// Authentication asked for by [`crate::Effect::Authenticate`] ended.
    Authenticated {
        /// The master it was done with; an answer about another master is ignored.
        master: Pid,
        /// The reason of the refusal or failure; the agent tries again after a back-off.
        result: Result<(), String>,
    },
    /// A libprocess message. Ignored (and counted) unless `from` is the detected master; pings come
    /// from the master's observer, which lives at the same address under another id.
    MasterMessage {
        /// The sender as in `Libprocess-From`.
        from: Pid,
        /// The decoded message.
        message: MasterToAgent,
    },
    /// The link to the master's address broke.
    MasterExited {
        /// The linked pid.
        pid: Pid,
    },
    /// A SUBSCRIBE call of the executor HTTP API. Answered by `AcceptExecutor` or `RefuseExecutor`.
    ExecutorSubscribe {
        /// The stream that will carry the events.
        connection: ConnectionId,
        /// The whole call; its type is SUBSCRIBE.
        call: Box<executor::Call>,
    },
    /// Any other call of the executor HTTP API (UPDATE, MESSAGE, HEARTBEAT). Answered by `Respond`.
    ExecutorCall {
        /// Whom to answer.
        request: RequestId,
        /// The whole call.
        call: Box<executor::Call>,
    },
    /// An executor's subscription stream ended, whoever ended it.
    ExecutorConnectionClosed {
        /// The stream.
        connection: ConnectionId,
    },
    /// A container asked for by `LaunchContainer` runs: its process is forked, its pid is on disk
    /// (if a path was given for it) and its command is being executed.
    ContainerLaunched {
        /// The container.
        container: mesos::ContainerId,
        /// What to report about it in status updates (pid, addresses, cgroup settings). The
        /// container id inside may be left out.
        status: Box<mesos::ContainerStatus>,
    },
    /// A container could not be started: a fetch, a mount, an image, a fork failed. Nothing of it
    /// is left; no `ContainerExited` follows.
    ContainerLaunchFailed {
        /// The container.
        container: mesos::ContainerId,
        /// What failed, for the framework's eyes.
        message: String,
        /// The more precise reason, where there is one (default: `REASON_CONTAINER_LAUNCH_FAILED`).
        reason: Option<mesos::task_status::Reason>,
    },
    /// What `UpdateContainer` asked for could not be done; the tasks it was for cannot run.
    ContainerUpdateFailed {
        /// The container.
        container: mesos::ContainerId,
        /// What failed.
        message: String,
    },
    /// Every process of a container is gone and its resources are free. Sent once for a launched
    /// container, and after recovery for each container that was named in `RecoverContainers` and
    /// is not alive.
    ContainerExited {
        /// The container.
        container: mesos::ContainerId,
        /// How it ended.
        termination: ContainerTermination,
    },
    /// Answer to `RecoverContainers`: the living ones are watched again and orphans are destroyed.
    /// `ContainerExited` for the dead ones may come before or after.
    ContainersRecovered {
        /// The named containers that live, with what to report about them.
        alive: Vec<(mesos::ContainerId, mesos::ContainerStatus)>,
    },
    /// A write is on disk, and with it every earlier one.
    Checkpointed {
        /// The write.
        write: WriteId,
    },
    /// A write failed. The agent stops: it can promise nothing any more.
    CheckpointFailed {
        /// The write.
        write: WriteId,
        /// What failed, naming the path.
        message: String,
    },
    /// How full the file system of the work directory is (asked each `disk_watch_interval` by
    /// `MeasureDiskUsage`).
    DiskUsage {
        /// Between 0.0 and 1.0.
        used_fraction: f64,
    },
    /// A `RemoveDirectory` ended.
    DirectoryRemoved {
        /// The path as given.
        path: String,
        /// Whether everything below is gone.
        succeeded: bool,
    },
    /// The operator wants the agent to leave the cluster and stop its tasks (SIGUSR1).
    Unregister {
        /// Why, for logs and frameworks.
        message: String,
    },
}

/// How a container ended.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ContainerTermination {
    /// The wait status (as `waitpid(2)` gives it: exit code in bits 8 to 15, signal in bits 0 to
    /// 6) of the container's first process; `None` when nobody could reap it.
    pub status: Option<i32>,
    /// Set when the container was ended for exceeding a limit.
    pub limitation: Option<Limitation>,
    /// Anything worth telling the framework.
    pub message: Option<String>,
}

/// Why a container was not allowed to go on.
#[derive(Clone, Debug, PartialEq)]
pub struct Limitation {
    /// For example `REASON_CONTAINER_LIMITATION_MEMORY`.
    pub reason: mesos::task_status::Reason,
    /// The resources whose limit was hit.
    pub resources: Vec<mesos::Resource>,
    /// For the framework's eyes.
    pub message: String,
}
