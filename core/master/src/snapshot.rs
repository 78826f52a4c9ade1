//! Makes the read model of [`view`](crate::view) out of the state, redoing only what changed.

mod held;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use protocol::mesos::{AgentId, ExecutorInfo, FrameworkId, Offer, TaskState};
use protocol::time::Timestamp;
use resources::Resources;

pub use crate::snapshot::held::AgentSums;

use crate::Master;
use crate::agent::Agent;
use crate::directory::Directory;
use crate::framework::Framework;
use crate::offer::Offers;
use crate::registry::Participation;
use crate::snapshot::held::Holdings;
use crate::table::Table;
use crate::view::{AgentView, FrameworkView, Snapshot};

/// The last snapshot, and what has changed since.
#[derive(Debug, Default)]
pub(crate) struct Views {
    version: u64,
    /// Agents and frameworks that have changed. Those that are registered say so themselves, too.
    agents: Directory<Arc<AgentId>, ()>,
    frameworks: Directory<Arc<FrameworkId>, ()>,
    /// Frameworks that something was counted for.
    counted: BTreeSet<FrameworkId>,
    /// Whether plans for machines changed, or what frameworks say to them.
    maintenance: bool,
    /// Agents that changed since the invariants were checked.
    pub(crate) unchecked: BTreeSet<AgentId>,
    /// Whether any event came in, so that metrics may have moved.
    pub(crate) stale: bool,
    last: Option<Arc<Snapshot>>,
    /// Whether somebody has asked for a snapshot. Before that, what changes is not noted.
    watched: bool,
    /// Whether somebody has asked since [`Views::forget_if_unread`] looked last.
    is_read: bool,
    holdings: Holdings,
}

impl Views {
    /// Notes that an agent changes.
    pub(crate) fn note_agent(&mut self, agent: &mut Agent) {
        self.version += 1;
        if self.watched && !agent.is_noted {
            agent.is_noted = true;
            self.agents.insert(Arc::clone(&agent.id), ());
        }
        if cfg!(debug_assertions) {
            self.unchecked.insert((*agent.id).clone());
        }
    }

    /// The same for one that need not be registered.
    pub(crate) fn touch_agent(&mut self, id: &AgentId) {
        self.version += 1;
        if self.watched && !self.agents.contains_key(id) {
            self.agents.insert(Arc::new(id.clone()), ());
        }
        if cfg!(debug_assertions) {
            self.unchecked.insert(id.clone());
        }
    }

    /// Notes that a framework changes.
    pub(crate) fn note_framework(&mut self, framework: &mut Framework) {
        self.version += 1;
        if self.watched && !framework.is_noted {
            framework.is_noted = true;
            self.frameworks.insert(Arc::clone(&framework.id), ());
        }
    }

    /// The same for one that need not be registered.
    pub(crate) fn touch_framework(&mut self, id: &FrameworkId) {
        self.version += 1;
        if self.watched && !self.frameworks.contains_key(id) {
            self.frameworks.insert(Arc::new(id.clone()), ());
        }
    }

    /// Notes that something was counted for a framework that is registered.
    pub(crate) fn note_counts(&mut self, framework: &mut Framework) {
        if self.watched && !framework.counted {
            framework.counted = true;
            self.count_framework(&framework.id);
        }
    }

    /// Notes that something was counted for a framework.
    pub(crate) fn count_framework(&mut self, id: &FrameworkId) {
        if self.watched {
            self.counted.insert(id.clone());
        }
    }

    /// Forgets the last snapshot and what has changed since if nobody has asked for one between two
    /// calls: the names of agents and frameworks that come and go would add up for ever. The next to ask
    /// gets everything made anew.
    pub(crate) fn forget_if_unread(&mut self) {
        if std::mem::take(&mut self.is_read) || !self.watched {
            return;
        }
        let unchecked = std::mem::take(&mut self.unchecked);
        *self = Self { version: self.version, stale: true, unchecked, ..Self::default() };
    }

    /// Notes that plans for machines change, or what frameworks say to them.
    pub(crate) fn touch_maintenance(&mut self) {
        self.version += 1;
        self.maintenance = true;
    }

    /// Notes that something else changes.
    pub(crate) fn changed(&mut self) {
        self.version += 1;
    }
}

impl Master {
    /// How often the state has changed; two snapshots of one version differ in metrics only.
    #[must_use]
    pub fn version(&self) -> u64 {
        self.views.version
    }

    /// The state as of now. Costs what changed since the last call, and a pointer for what did not.
    pub fn snapshot(&mut self) -> Arc<Snapshot> {
        self.views.is_read = true;
        if let Some(last) = &self.views.last
            && !self.views.stale
        {
            return Arc::clone(last);
        }
        if !std::mem::replace(&mut self.views.watched, true) {
            self.note_all();
        }
        let last = self.views.last.take();
        let unchanged = last.as_ref().is_some_and(|last| last.version == self.views.version);
        let mut snapshot = match last {
            Some(last) => Arc::unwrap_or_clone(last),
            None => self.empty_snapshot(),
        };
        self.refresh_counts(&mut snapshot);
        if !unchanged {
            self.refresh(&mut snapshot);
        }
        snapshot.metrics = self.metrics.clone();
        snapshot.metrics.gauges = self.gauges(&snapshot);
        snapshot.metrics.sum_operations();
        let snapshot = Arc::new(snapshot);
        self.views.stale = false;
        self.views.last = Some(Arc::clone(&snapshot));
        snapshot
    }

    /// Notes all there is to be shown.
    fn note_all(&mut self) {
        for id in self.agents.registered.keys() {
            self.views.agents.insert(Arc::clone(id), ());
        }
        for id in self.agents.recovered.keys() {
            self.views.agents.insert(Arc::new(id.clone()), ());
        }
        for id in self.frameworks.registered.keys() {
            self.views.frameworks.insert(Arc::clone(id), ());
        }
        self.views.counted = self.frameworks.completed_counts.keys().cloned().collect();
    }

    fn empty_snapshot(&self) -> Snapshot {
        Snapshot {
            version: 0,
            master: Arc::clone(&self.info),
            elected_time: self.elected_time,
            agents: Table::default(),
            recovered_agents: Table::default(),
            unreachable_agents: 0,
            agent_sums: AgentSums::default(),
            frameworks: Table::default(),
            completed_frameworks: Vec::new(),
            maintenance: self.maintenance_view(),
            weights: Arc::default(),
            quotas: Arc::default(),
            allowed_roles: self.config.roles.clone().map(Arc::new),
            metrics: crate::Metrics::default(),
            framework_counts: BTreeMap::new(),
        }
    }

    fn refresh_counts(&mut self, snapshot: &mut Snapshot) {
        if !self.config.publish_per_framework_metrics {
            self.views.counted.clear();
            return;
        }
        let mut changed = std::mem::take(&mut self.views.counted);
        changed.extend(self.views.frameworks.keys().map(|id| (**id).clone()));
        for id in changed {
            let counts = match self.frameworks.registered.get_mut(&id) {
                Some(framework) => {
                    framework.counted = false;
                    debug_assert!(framework.books_agree(), "tasks of {id:?} counted wrongly");
                    Some(Arc::new(framework.counts()))
                }
                None => self.frameworks.completed_counts.get(&id).cloned(),
            };
            match counts {
                Some(counts) => snapshot.framework_counts.insert(id, counts),
                None => snapshot.framework_counts.remove(&id),
            };
        }
    }

    fn refresh(&mut self, snapshot: &mut Snapshot) {
        snapshot.version = self.views.version;
        if std::mem::take(&mut self.views.maintenance) {
            snapshot.maintenance = self.maintenance_view();
        }
        for id in std::mem::take(&mut self.views.agents).keys() {
            self.refresh_agent(snapshot, id);
        }
        for id in std::mem::take(&mut self.views.frameworks).keys() {
            if let Some(framework) = self.frameworks.registered.get_mut(id) {
                framework.is_noted = false;
                let framework = &self.frameworks.registered[id];
                snapshot.frameworks.insert(Arc::new(self.whole_framework_view(framework)));
            } else {
                snapshot.frameworks.remove(&**id);
            }
        }
        snapshot.unreachable_agents = self.agents.unreachable.len();
        snapshot.completed_frameworks = self.frameworks.completed.values().cloned().collect();
        snapshot.weights = Arc::clone(&self.policy.weights);
        snapshot.quotas = Arc::clone(&self.policy.quotas);
    }

    fn refresh_agent(&mut self, snapshot: &mut Snapshot, id: &AgentId) {
        match self.agents.recovered.get(id) {
            Some(recovered) => snapshot.recovered_agents.insert(Arc::clone(&recovered.info)),
            None => snapshot.recovered_agents.remove(id),
        };
        let frameworks = &self.frameworks.registered;
        let old = match self.agents.registered.get_mut(id) {
            Some(agent) => {
                agent.is_noted = false;
                let view = agent_view(agent, &self.offers);
                snapshot.agent_sums.add(&view);
                self.views.holdings.set(agent, |id| match frameworks.get(id) {
                    Some(framework) => Arc::clone(&framework.id),
                    None => Arc::new(id.clone()),
                });
                snapshot.agents.insert(Arc::new(view))
            }
            None => {
                self.views.holdings.remove(id);
                snapshot.agents.remove(id)
            }
        };
        if let Some(old) = old {
            snapshot.agent_sums.remove(&old);
        }
    }

    fn whole_framework_view(&self, framework: &Framework) -> FrameworkView {
        let used = self.views.holdings.used(&framework.id);
        let executors = self.views.holdings.executors(&framework.id);
        let mut offers: Vec<_> = framework
            .offers
            .keys()
            .filter_map(|id| self.offers.get(id))
            .filter_map(|it| {
                let agent = self.agents.registered.get(&it.agent_id)?;
                Some((Arc::clone(it.shown(agent)), &it.resources))
            })
            .collect();
        offers.sort_by(|(left, _), (right, _)| left.id.cmp(&right.id));
        let view = framework_view(framework, used, executors, &offers, None);
        let inverse_offers = self.maintenance.inverse_offers.offers_of(&framework.id);
        FrameworkView { inverse_offers, ..view }
    }

    #[expect(clippy::cast_precision_loss, reason = "Mesos' metrics are doubles")]
    fn gauges(&self, snapshot: &Snapshot) -> BTreeMap<String, f64> {
        let mut gauges = BTreeMap::new();
        let mut set = |name: &str, value: f64| gauges.insert(format!("master/{name}"), value);
        let agents = snapshot.agents.len();
        let AgentSums { connected, active, .. } = snapshot.agent_sums;
        set("elected", 1.0);
        set("uptime_secs", self.now.since(self.elected_time).as_secs_f64());
        set("slaves_connected", connected as f64);
        set("slaves_disconnected", (agents - connected) as f64);
        set("slaves_active", active as f64);
        set("slaves_inactive", (agents - active) as f64);
        set("slaves_unreachable", snapshot.unreachable_agents as f64);
        let count = |test: &dyn Fn(&&Arc<FrameworkView>) -> bool| {
            snapshot.frameworks.values().filter(test).count() as f64
        };
        set("frameworks_connected", count(&|framework| framework.connected));
        set("frameworks_disconnected", count(&|framework| !framework.connected));
        set("frameworks_active", count(&|framework| framework.active));
        set("frameworks_inactive", count(&|framework| !framework.active));
        set("outstanding_offers", self.offers.len() as f64);
        set("operator_event_stream_subscribers", self.subscribers.len() as f64);

        let frameworks = || self.frameworks.registered.values();
        let unreachable: usize = frameworks().map(|it| it.unreachable_tasks.len()).sum();
        let tasks = |state| frameworks().map(|it| it.metrics.tasks.get(state)).sum::<u64>() as f64;
        set("tasks_staging", tasks(TaskState::TaskStaging));
        set("tasks_starting", tasks(TaskState::TaskStarting));
        set("tasks_running", tasks(TaskState::TaskRunning));
        set("tasks_killing", tasks(TaskState::TaskKilling));
        set("tasks_unreachable", unreachable as f64);

        for (name, revocable, total, used) in snapshot.agent_sums.amounts() {
            let middle = if revocable { "revocable_" } else { "" };
            set(&format!("{name}_{middle}total"), total);
            set(&format!("{name}_{middle}used"), used);
            let share = if total > 0.0 { used / total } else { 0.0 };
            set(&format!("{name}_{middle}percent"), share);
        }
        gauges
    }
}

fn sum<'a>(all: impl Iterator<Item = &'a Resources>) -> Resources {
    let mut sum = Resources::new();
    for resources in all {
        sum += resources;
    }
    sum
}

/// The view of an agent.
pub(crate) fn agent_view(agent: &Agent, offers: &Offers) -> AgentView {
    let offered = agent.offers.keys().filter_map(|id| offers.get(id));
    AgentView {
        info: Arc::clone(&agent.info),
        pid: agent.pid.clone(),
        version: Arc::clone(&agent.version),
        capabilities: Arc::clone(&agent.capabilities),
        registered_time: agent.registered_time,
        reregistered_time: agent.reregistered_time,
        connected: agent.connected,
        active: agent.active(),
        deactivated: agent.participation != Participation::Full,
        drain_info: match &agent.participation {
            Participation::Drain(drain) => Some(drain.clone()),
            Participation::Full | Participation::Deactivated => None,
        },
        drain_start_time: agent.drain_start_time,
        total_resources: agent.total.clone(),
        used_resources: agent.used(),
        offered_resources: sum(offered.map(|offer| &offer.resources)),
        operations: agent.operations.values().cloned().collect(),
    }
}

/// The view of a framework without what it holds.
pub(crate) fn bare_framework_view(
    framework: &Framework,
    unregistered_time: Option<Timestamp>,
) -> FrameworkView {
    framework_view(framework, Resources::new(), Vec::new(), &[], unregistered_time)
}

/// The view of a framework with what it holds where.
fn framework_view(
    framework: &Framework,
    used_resources: Resources,
    executors: Vec<(AgentId, Arc<ExecutorInfo>)>,
    offers: &[(Arc<Offer>, &Resources)],
    unregistered_time: Option<Timestamp>,
) -> FrameworkView {
    FrameworkView {
        info: Arc::clone(&framework.info),
        pid: framework.pid.clone(),
        active: framework.active(),
        connected: framework.connected(),
        recovered: framework.recovered() && unregistered_time.is_none(),
        registered_time: framework.registered_time,
        reregistered_time: framework.reregistered_time,
        unregistered_time,
        used_resources,
        offered_resources: sum(offers.iter().map(|(_, resources)| *resources)),
        offers: offers.iter().map(|(offer, _)| Arc::clone(offer)).collect(),
        inverse_offers: Vec::new(),
        tasks: framework.tasks.list().clone(),
        unreachable_tasks: framework.unreachable_tasks.list().clone(),
        completed_tasks: framework.completed_tasks.list().clone(),
        executors,
        offer_constraints: framework.offer_constraints.clone(),
    }
}
