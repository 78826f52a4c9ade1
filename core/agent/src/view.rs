//! What readers of the agent see: an immutable snapshot, shared, taken only when something changed.

use std::sync::Arc;

use protocol::mesos;
use protocol::pid::Pid;
use protocol::time::Timestamp;

use crate::metrics::Metrics;

/// All that the operator API, the legacy endpoints and the UI show of an agent.
#[derive(Clone, Debug)]
pub struct View {
    /// Grows with every change; equal versions are equal views.
    pub version: u64,
    /// When the process started.
    pub started: Timestamp,
    /// What the agent is doing.
    pub phase: Phase,
    /// The agent as told to the master; the id is absent before the first registration.
    pub info: Arc<mesos::AgentInfo>,
    /// The agent's address.
    pub pid: Pid,
    /// The leading master, if there is one.
    pub master: Option<Pid>,
    /// When the master last confirmed a registration or reregistration.
    pub registered: Option<Timestamp>,
    /// All resources, with dynamic reservations and volumes applied.
    pub resources: Arc<Vec<mesos::Resource>>,
    /// What living executors and tasks hold.
    pub allocated: Arc<Vec<mesos::Resource>>,
    /// The part that had to be checkpointed: dynamic reservations and persistent volumes.
    pub checkpointed_resources: Arc<Vec<mesos::Resource>>,
    /// Frameworks with something alive here, by id.
    pub frameworks: Vec<Arc<FrameworkView>>,
    /// The last frameworks that had something here, oldest first.
    pub completed_frameworks: Vec<Arc<FrameworkView>>,
    /// Operations the master applied and that still wait for acknowledgement.
    pub operations: Vec<Arc<mesos::Operation>>,
    /// The drain asked for by the master, while it lasts.
    pub drain_config: Option<Arc<mesos::DrainConfig>>,
    /// When draining began.
    pub drain_started: Option<Timestamp>,
    /// The counters and gauges.
    pub metrics: Metrics,
}

/// Where an agent is in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// Living containers are being found again; calls of executors are answered with 503.
    Recovering,
    /// Waiting for living executors to subscribe again (`--executor_reregistration_timeout`).
    Reconnecting,
    /// Ready, but not registered with a leading master.
    Disconnected,
    /// Registered.
    Running,
    /// On the way out.
    Terminating,
}

/// One framework on this agent.
#[derive(Clone, Debug)]
pub struct FrameworkView {
    /// What the master said about it.
    pub info: Arc<mesos::FrameworkInfo>,
    /// The scheduler driver's address; `None` for schedulers that speak HTTP.
    pub pid: Option<Pid>,
    /// Tasks whose launch is still being decided.
    pub pending_tasks: Vec<Arc<mesos::TaskInfo>>,
    /// Living executors.
    pub executors: Vec<Arc<ExecutorView>>,
    /// The last executors that ended, oldest first.
    pub completed_executors: Vec<Arc<ExecutorView>>,
}

/// One run of an executor.
#[derive(Clone, Debug)]
pub struct ExecutorView {
    /// What was launched.
    pub info: Arc<mesos::ExecutorInfo>,
    /// The container of this run.
    pub container: mesos::ContainerId,
    /// The sandbox, absolute.
    pub directory: String,
    /// Registering, running, terminating, terminated.
    pub state: crate::executor::State,
    /// Whether the agent made this executor for one command task.
    pub is_command_executor: bool,
    /// What the executor itself and its living tasks hold.
    pub resources: Vec<mesos::Resource>,
    /// Tasks that wait for the executor to subscribe.
    pub queued_tasks: Vec<Arc<mesos::TaskInfo>>,
    /// Tasks given to the executor and not over.
    pub launched_tasks: Vec<Arc<mesos::Task>>,
    /// Tasks that are over but whose last update is not acknowledged.
    pub terminated_tasks: Vec<Arc<mesos::Task>>,
    /// The last tasks that are over and acknowledged, oldest first.
    pub completed_tasks: Vec<Arc<mesos::Task>>,
}
