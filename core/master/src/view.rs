//! The read model: what state queries are answered from, without stopping the master.
//!
//! Records are shared (`Arc`): a record that did not change between two snapshots is the same
//! pointer in both, so that a shell may cache its encoding by `Arc::ptr_eq`, or the encoding of the
//! whole by [`Snapshot::version`].

mod response;
mod roles;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use protocol::pid::Pid;
use protocol::time::Timestamp;
use protocol::{maintenance, mesos, quota, scheduler};
use resources::Resources;

pub use crate::agent::AgentCapabilities;
pub use crate::agent::description::AgentDescription;
pub use crate::task::list::TaskList;
pub use crate::task::record::TaskRecord;

use crate::metrics::{FrameworkCounts, Metrics};
pub use crate::snapshot::AgentSums;
use crate::table::{Keyed, Table};
pub use roles::RoleView;

/// The whole cluster at one moment.
#[derive(Clone, Debug)]
pub struct Snapshot {
    /// Grows with every change of anything below but the metrics.
    pub version: u64,
    /// Who the master is: id, pid, address, version, capabilities.
    pub master: Arc<mesos::MasterInfo>,
    /// When the process started leading (the two are one moment: the core exists only while it leads).
    pub elected_time: Timestamp,
    /// Agents that registered, connected or not, in the order of their ids.
    pub agents: Table<Arc<AgentView>>,
    /// Agents known from the registry that have not come back yet.
    pub recovered_agents: Table<Arc<AgentDescription>>,
    /// How many agents are unreachable.
    pub unreachable_agents: usize,
    /// What the agents add up to, for the gauges.
    pub agent_sums: AgentSums,
    /// Frameworks that are subscribed, disconnected or recovered.
    pub frameworks: Table<Arc<FrameworkView>>,
    /// Frameworks removed, oldest first; bounded by `Config::max_completed_frameworks`.
    pub completed_frameworks: Vec<Arc<FrameworkView>>,
    /// Weights by role, of roles that were given one.
    pub weights: Arc<BTreeMap<String, f64>>,
    /// Quota by role, of roles that have one.
    pub quotas: Arc<BTreeMap<String, quota::QuotaConfig>>,
    /// `--roles`: the only roles that may be used, besides `*`.
    pub allowed_roles: Option<Arc<BTreeSet<String>>>,
    /// When which machines will be away.
    pub maintenance: Arc<MaintenanceView>,
    /// Counters and gauges, as of this moment.
    pub metrics: Metrics,
    /// Counters of each framework, removed ones included; not part of what [`Snapshot::version`] covers.
    pub framework_counts: BTreeMap<mesos::FrameworkId, Arc<FrameworkCounts>>,
}

static NO_FRAMEWORK_ID: mesos::FrameworkId =
    mesos::FrameworkId { value: String::new(), unknown: protocol::UnknownFields::NONE };

// Whatever is kept in the state has its id.
impl Keyed for Arc<AgentView> {
    type Key = mesos::AgentId;

    fn key(&self) -> &mesos::AgentId {
        self.info.key()
    }
}

impl Keyed for Arc<FrameworkView> {
    type Key = mesos::FrameworkId;

    fn key(&self) -> &mesos::FrameworkId {
        self.info.id.as_ref().unwrap_or(&NO_FRAMEWORK_ID)
    }
}

/// What is planned for machines.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct MaintenanceView {
    /// As the operator wrote it, without the machines that are up again.
    pub schedule: maintenance::Schedule,
    /// Which machines drain, with what frameworks say to that, and which are down.
    pub status: maintenance::ClusterStatus,
}

/// One registered agent.
#[derive(Clone, Debug, PartialEq)]
pub struct AgentView {
    /// As registered; its resources are those without oversubscription and before reservations.
    pub info: Arc<AgentDescription>,
    /// Where it listens.
    pub pid: Pid,
    /// The version of its software.
    pub version: Arc<str>,
    /// What it can do.
    pub capabilities: Arc<AgentCapabilities>,
    /// When it first registered with this master.
    pub registered_time: Timestamp,
    /// When it last reregistered with this master.
    pub reregistered_time: Option<Timestamp>,
    /// Whether its link is up.
    pub connected: bool,
    /// Whether its resources may be offered.
    pub active: bool,
    /// Whether an operator took it out of the offers.
    pub deactivated: bool,
    /// How far a drain got that an operator asked for.
    pub drain_info: Option<Box<mesos::DrainInfo>>,
    /// When this master told it to drain.
    pub drain_start_time: Option<Timestamp>,
    /// All it has, reservations, volumes and oversubscription included.
    pub total_resources: Resources,
    /// What tasks and executors hold.
    pub used_resources: Resources,
    /// What is offered at the moment.
    pub offered_resources: Resources,
    /// Operations under way, and those whose end is not acknowledged, by UUID.
    pub operations: Vec<Arc<mesos::Operation>>,
}

/// One framework, with its tasks.
#[derive(Clone, Debug, PartialEq)]
pub struct FrameworkView {
    /// As last subscribed or updated, its id included.
    pub info: Arc<mesos::FrameworkInfo>,
    /// The driver's address; none for a framework on the HTTP API.
    pub pid: Option<Pid>,
    /// Whether it gets offers.
    pub active: bool,
    /// Whether a driver or a stream is there.
    pub connected: bool,
    /// Known from the registry or from an agent, and not subscribed with this master yet.
    pub recovered: bool,
    /// When it first subscribed to this master, or was recovered.
    pub registered_time: Timestamp,
    /// When it last resubscribed to this master.
    pub reregistered_time: Option<Timestamp>,
    /// When it was removed.
    pub unregistered_time: Option<Timestamp>,
    /// What it holds in tasks and executors.
    pub used_resources: Resources,
    /// What it is offered.
    pub offered_resources: Resources,
    /// Its outstanding offers, by id.
    pub offers: Vec<Arc<mesos::Offer>>,
    /// Its outstanding inverse offers, by id.
    pub inverse_offers: Vec<Arc<mesos::InverseOffer>>,
    /// Its tasks that have not ended, or whose end it has not acknowledged; oldest first.
    pub tasks: TaskList,
    /// Its tasks on unreachable agents, oldest first; bounded.
    pub unreachable_tasks: TaskList,
    /// Its tasks that ended, oldest first; bounded.
    pub completed_tasks: TaskList,
    /// Its running executors, command executors left out.
    pub executors: Vec<(mesos::AgentId, Arc<mesos::ExecutorInfo>)>,
    /// The offer constraints of its subscription.
    pub offer_constraints: Option<Arc<scheduler::OfferConstraints>>,
}
