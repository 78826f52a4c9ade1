//! Everything that can happen, and to whom.

use std::sync::Arc;

use master::{ConnectionId, RegistryChange};
use protocol::mesos::{ContainerId, OfferId, OperationStatus, TaskId, TaskStatus};
use protocol::messages::{AgentToMaster, MasterToAgent};
use protocol::pid::Pid;
use protocol::{executor, scheduler};

use crate::lane::Passage;
use crate::process::Process;
use crate::world::registry::Outcome;

/// Something that happens at a certain time. Whatever concerns a process names the `life` it was
/// meant for, and is void when the process has died since.
#[derive(Clone, Debug)]
pub(crate) enum Happening {
    /// A message of an agent arrives at a master.
    AtMaster { agent: usize, master: usize, passage: Passage, message: Box<AgentToMaster> },
    /// A message of a master arrives at an agent.
    AtAgent { agent: usize, master: usize, passage: Passage, message: Box<MasterToAgent> },
    /// A master notices that its connection to an agent broke.
    AgentLinkBroken { process: Process, pid: Pid },
    /// An agent notices that its connection to the master broke.
    MasterLinkBroken { agent: usize, life: u32, pid: Pid },

    /// A master's process starts.
    MasterStart { master: usize },
    /// A master has something to do by the clock.
    MasterWake { process: Process },
    /// A master that was paused goes on.
    MasterResumes { process: Process },

    /// A master keeps its session alive, or makes one.
    SessionRenewal { process: Process },
    /// A master hears that its node may be the lowest.
    NodesChange { process: Process },
    /// A session that was not heard of since is over.
    SessionExpiry { session: u64 },
    /// A master that has the lowest node begins to lead.
    Leads { process: Process, epoch: u64 },
    /// A master looks whether it may still lead.
    LeaseCheck { process: Process },
    /// A majority of the coordination service is back.
    ServiceBack,

    /// A step of writes arrives at the registry.
    CommitArrives { process: Process, epoch: u64, number: u64, changes: Vec<RegistryChange> },
    /// A master hears what became of a step of writes.
    CommitAnswered { process: Process, number: u64, outcome: Outcome },

    /// An agent process starts.
    AgentStart { agent: usize },
    /// An agent has something to do by the clock.
    AgentWake { agent: usize, life: u32 },
    /// An agent's detector says who leads.
    Detect { agent: usize, life: u32 },
    /// An agent's disk has done a write.
    Checkpointed { agent: usize, life: u32 },
    /// An agent hears how full its disk is.
    DiskUsage { agent: usize, life: u32 },
    /// A directory is gone.
    DirectoryRemoved { agent: usize, life: u32, path: String },

    /// A container's process starts, or fails to.
    ContainerForked { agent: usize, life: u32, container: ContainerId },
    /// A container's processes are killed.
    ContainerKilled { agent: usize, container: ContainerId },
    /// A restarted agent hears which containers live.
    ContainersFound { agent: usize, life: u32, named: Vec<ContainerId> },

    /// An executor subscribes.
    ExecutorDial { agent: usize, container: ContainerId },
    /// An event arrives at an executor.
    AtExecutor { agent: usize, container: ContainerId, connection: u64, event: ExecutorEvent },
    /// An agent hears that an executor's stream ended.
    ExecutorGone { agent: usize, life: u32, connection: u64 },
    /// An executor's call arrives at its agent.
    ExecutorCall { agent: usize, life: u32, container: ContainerId, call: Box<executor::Call> },
    /// An executor repeats an update that was refused.
    ExecutorRetry { agent: usize, container: ContainerId, uuid: Vec<u8> },
    /// A task goes on.
    TaskStep { agent: usize, container: ContainerId, task: TaskId, generation: u32 },
    /// An executor ends of its own accord.
    ExecutorExit { agent: usize, container: ContainerId },

    /// A scheduler process starts.
    SchedulerStart { scheduler: usize },
    /// A scheduler learns who leads.
    SchedulerDetects { scheduler: usize, life: u32 },
    /// A scheduler subscribes.
    SchedulerDial { scheduler: usize, life: u32 },
    /// A scheduler notices that its connection broke.
    SchedulerLost { scheduler: usize, life: u32, attempt: u64 },
    /// A scheduler's call arrives at a master.
    SchedulerCall {
        scheduler: usize,
        master: usize,
        passage: Passage,
        attempt: u64,
        stream_id: Option<String>,
        call: Box<scheduler::Call>,
    },
    /// Something arrives at a scheduler.
    AtScheduler {
        scheduler: usize,
        life: u32,
        master: usize,
        passage: Passage,
        attempt: u64,
        event: SchedulerEvent,
    },
    /// A master notices that a scheduler's stream broke.
    StreamBroken { process: Process, connection: ConnectionId },
    /// A scheduler thinks of something to do.
    SchedulerIdea { scheduler: usize, life: u32 },
    /// A scheduler decides what to do with offers.
    SchedulerAnswer { scheduler: usize, life: u32, offers: Vec<OfferId> },
    /// A scheduler acknowledges an update.
    SchedulerAcknowledge { scheduler: usize, life: u32, status: Box<TaskStatus> },
    /// A scheduler asks about tasks it is unsure of.
    SchedulerReconcile { scheduler: usize, life: u32 },

    /// A scheduler acknowledges an update of an operation.
    OperationAcknowledge { scheduler: usize, life: u32, status: Box<OperationStatus> },
    /// A scheduler answers a request to give up an agent.
    InverseAnswer { scheduler: usize, life: u32, offer: OfferId },
    /// An operator thinks of something to do.
    OperatorIdea,

    /// Something goes wrong.
    Fault,
    /// Time to see whether the cluster has come to rest.
    Inspection,
}

/// What reaches an executor.
#[derive(Clone, Debug)]
pub(crate) enum ExecutorEvent {
    /// Its subscription was taken.
    Accepted,
    /// Its subscription was refused.
    Refused,
    /// An event on its stream.
    Event(Arc<executor::Event>),
    /// The stream ended.
    Closed,
}

/// What reaches a scheduler.
#[derive(Clone, Debug)]
pub(crate) enum SchedulerEvent {
    /// Its subscription was taken; the name of its stream.
    Accepted(String),
    /// A call was refused, or its subscription.
    Refused { status: u16, text: String, tasks: Vec<TaskId>, was_subscribe: bool },
    /// An event on its stream.
    Event(Arc<scheduler::Event>),
    /// The stream ended.
    Closed,
}
