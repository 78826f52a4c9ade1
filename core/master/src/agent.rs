//! What the master knows of one agent.

pub(crate) mod description;
mod drain;
mod liveness;
mod message;
pub(crate) mod registration;
mod removal;
mod reregistration;
mod update;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use protocol::flat::FlatMap;
use protocol::master;
use protocol::mesos::agent_info::Capability;
use protocol::mesos::agent_info::capability::Type;
use protocol::mesos::{
    AgentId, ExecutorId, ExecutorInfo, FrameworkId, OfferId, Operation, TaskId, Unavailability,
};
use protocol::pid::Pid;
use protocol::time::Timestamp;
use resources::Resources;

use crate::agent::description::AgentDescription;
use crate::directory::Directory;
use crate::event::RequestId;
use crate::registry::Participation;
use crate::timer::TimerKey;

/// What an agent's software can do (`SlaveInfo.Capability`).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AgentCapabilities {
    /// As sent.
    pub list: Vec<Capability>,
    pub(crate) multi_role: bool,
    pub(crate) hierarchical_role: bool,
    pub(crate) reservation_refinement: bool,
    pub(crate) resource_provider: bool,
    pub(crate) agent_operation_feedback: bool,
    pub(crate) agent_draining: bool,
    pub(crate) resize_volume: bool,
    pub(crate) task_resource_limits: bool,
}

impl AgentCapabilities {
    /// Reads the list.
    #[must_use]
    pub fn new(list: Vec<Capability>) -> Self {
        let has = |wanted: Type| list.iter().any(|capability| capability.r#type == Some(wanted));
        Self {
            multi_role: has(Type::MultiRole),
            hierarchical_role: has(Type::HierarchicalRole),
            reservation_refinement: has(Type::ReservationRefinement),
            resource_provider: has(Type::ResourceProvider),
            agent_operation_feedback: has(Type::AgentOperationFeedback),
            agent_draining: has(Type::AgentDraining),
            resize_volume: has(Type::ResizeVolume),
            task_resource_limits: has(Type::TaskResourceLimits),
            list,
        }
    }
}

/// What one framework has on one agent.
#[derive(Clone, Debug, Default)]
pub(crate) struct Share {
    /// What its executors, and its tasks that have not ended, hold.
    pub(crate) used: Resources,
    /// Its tasks that have not ended, or whose end is not acknowledged.
    pub(crate) tasks: FlatMap<Arc<TaskId>, ()>,
    /// Its executors, command executors left out.
    pub(crate) executors: FlatMap<ExecutorId, Arc<ExecutorInfo>>,
}

impl Share {
    pub(crate) fn is_empty(&self) -> bool {
        self.tasks.is_empty() && self.executors.is_empty()
    }
}

/// Pings that an agent owes an answer to.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Pings {
    /// Whether the last ping is unanswered.
    pub(crate) outstanding: bool,
    /// How many in a row were not answered in time.
    pub(crate) missed: u32,
    /// When the next is sent.
    pub(crate) timer: Option<TimerKey>,
    /// Whether the agent is queued for removal.
    pub(crate) removal_scheduled: bool,
}

/// A registered agent.
#[derive(Clone, Debug)]
pub(crate) struct Agent {
    pub(crate) id: Arc<AgentId>,
    pub(crate) info: Arc<AgentDescription>,
    pub(crate) pid: Pid,
    pub(crate) version: Arc<str>,
    pub(crate) capabilities: Arc<AgentCapabilities>,
    pub(crate) registered_time: Timestamp,
    pub(crate) reregistered_time: Option<Timestamp>,
    pub(crate) connected: bool,
    /// What operators decided about its offers.
    pub(crate) participation: Participation,
    /// When its machine will be away.
    pub(crate) unavailability: Option<Arc<Unavailability>>,
    /// When this master told it to drain.
    pub(crate) drain_start_time: Option<Timestamp>,
    /// Dynamic reservations and volumes.
    pub(crate) checkpointed: Resources,
    /// All it has.
    pub(crate) total: Resources,
    /// The version of its resources that operations must name.
    pub(crate) resource_version: Option<protocol::mesos::Uuid>,
    pub(crate) frameworks: FlatMap<Arc<FrameworkId>, Share>,
    pub(crate) offers: FlatMap<Arc<OfferId>, ()>,
    /// Operations by UUID; those whose end is not acknowledged, or need not be.
    pub(crate) operations: BTreeMap<Vec<u8>, Arc<Operation>>,
    /// Tasks that a framework wants killed; repeated when the agent reregisters with them.
    pub(crate) killed: BTreeSet<(FrameworkId, TaskId)>,
    pub(crate) pings: Pings,
    pub(crate) reregister_timer: Option<TimerKey>,
    /// Whether it is noted for the next snapshot; see [`Views`](crate::snapshot::Views).
    pub(crate) is_noted: bool,
}

impl Agent {
    /// Whether its resources may be offered.
    pub(crate) fn active(&self) -> bool {
        self.connected && self.participation == Participation::Full
    }

    /// What all frameworks together hold.
    pub(crate) fn used(&self) -> Resources {
        let mut used = Resources::default();
        for share in self.frameworks.values() {
            used += &share.used;
        }
        used
    }

    pub(crate) fn executor(
        &self,
        framework: &FrameworkId,
        executor: &ExecutorId,
    ) -> Option<&Arc<ExecutorInfo>> {
        self.frameworks.get(framework)?.executors.get(executor)
    }

    /// How the agent is named in texts: id, address and host.
    pub(crate) fn name(&self) -> String {
        format!("{} at {} ({})", self.id.value, self.pid, self.info.hostname)
    }

    /// `http://host:port/slave(1)`, for offers.
    pub(crate) fn url(&self) -> protocol::mesos::Url {
        protocol::mesos::Url {
            scheme: "http".to_owned(),
            address: protocol::mesos::Address {
                hostname: Some(self.info.hostname.as_ref().to_owned()),
                ip: Some(self.pid.address.ip().to_string()),
                port: i32::from(self.pid.address.port()),
                ..Default::default()
            },
            path: Some(format!("/{}", self.pid.id)),
            ..Default::default()
        }
    }
}

/// A durable change of an agent that is being written. While one is, no other is begun.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Transition {
    Reregistering,
    MarkingUnreachable,
    MarkingGone,
    Removing,
    Updating,
}

/// An agent that the registry knows and that has not come back yet.
#[derive(Clone, Debug)]
pub(crate) struct Recovered {
    pub(crate) info: Arc<AgentDescription>,
    pub(crate) participation: Participation,
}

/// An agent that did not answer.
#[derive(Clone, Debug)]
pub(crate) struct Unreachable {
    pub(crate) since: Timestamp,
    pub(crate) participation: Participation,
}

/// The software of the agent that came last: nearly all agents have the same.
#[derive(Clone, Debug, Default)]
pub(crate) struct Software {
    version: Arc<str>,
    capabilities: Arc<AgentCapabilities>,
}

impl Software {
    /// A version and what it can do, in the memory of those of the last agent if they are equal.
    pub(crate) fn like_last(
        &mut self,
        version: Option<String>,
        capabilities: Vec<Capability>,
    ) -> (Arc<str>, Arc<AgentCapabilities>) {
        let version = version.unwrap_or_default();
        if *self.version != *version {
            self.version = version.into();
        }
        if self.capabilities.list != capabilities {
            self.capabilities = Arc::new(AgentCapabilities::new(capabilities));
        }
        (Arc::clone(&self.version), Arc::clone(&self.capabilities))
    }
}

/// All agents, by where they stand.
#[derive(Clone, Debug, Default)]
pub(crate) struct Agents {
    pub(crate) software: Software,
    pub(crate) registered: Directory<Arc<AgentId>, Box<Agent>>,
    /// Registered agents by where they listen.
    pub(crate) by_pid: Directory<Pid, Arc<AgentId>>,
    pub(crate) recovered: BTreeMap<AgentId, Recovered>,
    /// Addresses whose first registration is being written.
    pub(crate) registering: BTreeSet<Pid>,
    pub(crate) transitions: BTreeMap<AgentId, Transition>,
    pub(crate) unreachable: BTreeMap<AgentId, Unreachable>,
    pub(crate) gone: BTreeMap<AgentId, Timestamp>,
    /// Registered agents that may be due to leave, or to count as drained, once no write is under way.
    pub(crate) unsettled: BTreeSet<AgentId>,
    /// Calls of operators that wait until what is written about their agent is durable; bounded.
    pub(crate) deferred: Vec<(RequestId, Box<master::Call>)>,
    /// Agents waiting to be marked unreachable.
    pub(crate) removals: Removals,
}

/// Why an agent is to be marked unreachable.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Cause {
    /// It did not answer pings.
    Unhealthy,
    /// It lost its connection and did not reregister.
    NotReregistered,
    /// It did not return after the master's start.
    NotRecovered,
}

/// The rate limit of removals. At most one entry for each agent.
#[derive(Clone, Debug, Default)]
pub(crate) struct Removals {
    pub(crate) queue: VecDeque<(AgentId, Cause)>,
    /// The earliest time of the next removal.
    pub(crate) next: Timestamp,
    /// Whether the timer runs.
    pub(crate) waiting: bool,
}
