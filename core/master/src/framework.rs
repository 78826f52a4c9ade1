//! What the master knows of one framework.

mod call;
mod metrics;
mod removal;
pub(crate) mod subscribe;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use indexmap::IndexMap;
use protocol::mesos::framework_info::capability::Type;
use protocol::mesos::{AgentId, FrameworkId, FrameworkInfo, OfferId};
use protocol::pid::Pid;
use protocol::scheduler;
use protocol::time::Timestamp;
use protocol::uuid::Uuid;
use resources::Resources;

use crate::Master;
use crate::directory::Directory;
use crate::event::ConnectionId;
use crate::task::list::Tasks;
use crate::timer::TimerKey;
use crate::view::FrameworkView;

pub use crate::framework::metrics::FrameworkCounts;
pub(crate) use crate::framework::metrics::{FrameworkMetrics, Tally};

/// What a framework's software understands (`FrameworkInfo.Capability`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct FrameworkCapabilities {
    pub(crate) revocable_resources: bool,
    pub(crate) gpu_resources: bool,
    pub(crate) shared_resources: bool,
    pub(crate) partition_aware: bool,
    pub(crate) multi_role: bool,
    pub(crate) reservation_refinement: bool,
    pub(crate) region_aware: bool,
}

impl FrameworkCapabilities {
    pub(crate) fn of(info: &FrameworkInfo) -> Self {
        let has = |wanted: Type| {
            info.capabilities.iter().any(|capability| capability.r#type == Some(wanted))
        };
        Self {
            revocable_resources: has(Type::RevocableResources),
            gpu_resources: has(Type::GpuResources),
            shared_resources: has(Type::SharedResources),
            partition_aware: has(Type::PartitionAware),
            multi_role: has(Type::MultiRole),
            reservation_refinement: has(Type::ReservationRefinement),
            region_aware: has(Type::RegionAware),
        }
    }
}

/// The roles a framework subscribes to: `roles` with `MULTI_ROLE`, else the one `role`.
pub(crate) fn roles(info: &FrameworkInfo) -> BTreeSet<String> {
    if FrameworkCapabilities::of(info).multi_role {
        info.roles.iter().cloned().collect()
    } else {
        BTreeSet::from([info.role.clone().unwrap_or_else(|| "*".to_owned())])
    }
}

/// Offer constraints by role, ready to be asked.
pub(crate) type Constraints = BTreeMap<String, Arc<allocator::OfferConstraints>>;

/// How to reach a framework.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Peer {
    /// By the stream of its subscription (v1).
    Stream {
        /// Where events go.
        connection: ConnectionId,
        /// What its calls must carry.
        stream_id: Uuid,
    },
    /// By messages to its driver (v0).
    Driver(Pid),
}

/// Whether a framework is there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Presence {
    /// Known from the registry or an agent; not subscribed with this master yet.
    Recovered,
    /// Subscribed once, and away.
    Disconnected,
    /// Subscribed.
    Connected {
        /// Where.
        peer: Peer,
        /// Whether it gets offers; a v0 driver that aborted does not.
        active: bool,
    },
}

/// A framework that is not removed.
#[derive(Clone, Debug)]
pub(crate) struct Framework {
    pub(crate) id: Arc<FrameworkId>,
    pub(crate) info: Arc<FrameworkInfo>,
    pub(crate) roles: BTreeSet<String>,
    pub(crate) suppressed_roles: BTreeSet<String>,
    pub(crate) capabilities: FrameworkCapabilities,
    pub(crate) offer_constraints: Option<Arc<scheduler::OfferConstraints>>,
    /// The same by role, as the allocator takes them.
    pub(crate) constraints: Constraints,
    pub(crate) presence: Presence,
    /// The address of its last driver, even when it is away.
    pub(crate) pid: Option<Pid>,
    pub(crate) registered_time: Timestamp,
    pub(crate) reregistered_time: Option<Timestamp>,
    pub(crate) failover_timer: Option<TimerKey>,
    /// Whether its removal is being written.
    pub(crate) leaving: bool,
    /// Tasks that have not ended, or whose end is not acknowledged.
    pub(crate) tasks: Tasks,
    /// Tasks on unreachable agents, oldest first; bounded.
    pub(crate) unreachable_tasks: Tasks,
    /// Tasks that ended, oldest first; bounded.
    pub(crate) completed_tasks: Tasks,
    pub(crate) offers: Directory<Arc<OfferId>, ()>,
    /// Where it has tasks or executors.
    pub(crate) agents: Directory<Arc<AgentId>, ()>,
    pub(crate) metrics: FrameworkMetrics,
    /// What its last task held at its beginning.
    last_held: Resources,
    /// Whether the metrics differ from those last shown.
    pub(crate) counted: bool,
    /// Whether it is noted for the next snapshot; see [`Views`](crate::snapshot::Views).
    pub(crate) is_noted: bool,
}

impl Framework {
    pub(crate) fn new(id: FrameworkId, info: FrameworkInfo, now: Timestamp) -> Self {
        Self {
            id: Arc::new(id),
            roles: roles(&info),
            capabilities: FrameworkCapabilities::of(&info),
            info: Arc::new(info),
            suppressed_roles: BTreeSet::new(),
            offer_constraints: None,
            constraints: Constraints::new(),
            presence: Presence::Recovered,
            pid: None,
            registered_time: now,
            reregistered_time: None,
            failover_timer: None,
            leaving: false,
            tasks: Tasks::default(),
            unreachable_tasks: Tasks::default(),
            completed_tasks: Tasks::default(),
            offers: Directory::default(),
            agents: Directory::default(),
            metrics: FrameworkMetrics::default(),
            last_held: Resources::EMPTY,
            counted: false,
            is_noted: false,
        }
    }

    pub(crate) fn connected(&self) -> bool {
        matches!(self.presence, Presence::Connected { .. })
    }

    pub(crate) fn active(&self) -> bool {
        matches!(self.presence, Presence::Connected { active: true, .. })
    }

    pub(crate) fn recovered(&self) -> bool {
        self.presence == Presence::Recovered
    }

    /// The same resources, in the memory of those of the last task if they are equal: most frameworks
    /// launch many tasks of one kind.
    pub(crate) fn like_last(&mut self, held: Resources) -> Resources {
        if !held.is_empty() && self.last_held != held {
            self.last_held = held.clone();
        }
        if held.is_empty() { held } else { self.last_held.clone() }
    }

    /// Its stream, when it is connected over HTTP.
    pub(crate) fn stream(&self) -> Option<(ConnectionId, Uuid)> {
        match &self.presence {
            Presence::Connected { peer: Peer::Stream { connection, stream_id }, .. } => {
                Some((*connection, *stream_id))
            }
            Presence::Connected { peer: Peer::Driver(_), .. }
            | Presence::Recovered
            | Presence::Disconnected => None,
        }
    }

    /// Its counters, as of now.
    pub(crate) fn counts(&self) -> FrameworkCounts {
        FrameworkCounts::new(&self.id, &self.info, &self.metrics).registered(
            self.connected(),
            &self.roles,
            &self.suppressed_roles,
            self.unreachable_tasks.len(),
        )
    }

    /// Whether the counters of tasks are what counting them now gives.
    pub(crate) fn books_agree(&self) -> bool {
        protocol::mesos::TaskState::ALL.iter().all(|state| {
            let count = self.tasks.iter().filter(|task| task.state == *state).count();
            self.metrics.tasks.get(*state) == count as u64
        })
    }

    /// The pid text agents get: empty for a framework on the HTTP API.
    pub(crate) fn pid_text(&self) -> String {
        match &self.pid {
            Some(pid) => pid.to_string(),
            None => Pid::EMPTY_TEXT.to_owned(),
        }
    }
}

/// All frameworks.
#[derive(Clone, Debug, Default)]
pub(crate) struct Frameworks {
    pub(crate) registered: Directory<Arc<FrameworkId>, Framework>,
    /// Streams of v1 frameworks.
    pub(crate) by_connection: BTreeMap<ConnectionId, FrameworkId>,
    /// Drivers of v0 frameworks that are connected.
    pub(crate) by_pid: BTreeMap<Pid, FrameworkId>,
    /// Removed ones, oldest first; bounded.
    pub(crate) completed: IndexMap<FrameworkId, Arc<FrameworkView>>,
    /// The counters of removed ones; those of recovered masters have none.
    pub(crate) completed_counts: BTreeMap<FrameworkId, Arc<FrameworkCounts>>,
}

impl Master {
    /// Counts something for a framework that is not removed.
    pub(crate) fn count_framework(
        &mut self,
        id: &FrameworkId,
        count: impl FnOnce(&mut FrameworkMetrics),
    ) {
        if let Some(framework) = self.frameworks.registered.get_mut(id) {
            count(&mut framework.metrics);
            self.views.note_counts(framework);
        }
    }
}
