//! Makes the read model of [`view`](crate::view) out of the state, redoing only what changed.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use protocol::mesos::{AgentId, ExecutorInfo, FrameworkId, Offer, TaskState};
use protocol::time::Timestamp;
use resources::Resources;

use crate::Master;
use crate::agent::Agent;
use crate::framework::Framework;
use crate::offer::Offers;
use crate::registry::Participation;
use crate::view::{AgentView, FrameworkView, Snapshot};

/// The last snapshot, and what has changed since.
#[derive(Debug, Default)]
pub(crate) struct Views {
    version: u64,
    agents: BTreeSet<AgentId>,
    frameworks: BTreeSet<FrameworkId>,
    /// Frameworks that something was counted for.
    counted: BTreeSet<FrameworkId>,
    /// Whether plans for machines changed, or what frameworks say to them.
    maintenance: bool,
    /// Agents that changed since the invariants were checked.
    pub(crate) unchecked: BTreeSet<AgentId>,
    /// Whether any event came in, so that metrics may have moved.
    pub(crate) stale: bool,
    last: Option<Arc<Snapshot>>,
}

impl Views {
    /// Notes that an agent changes.
    pub(crate) fn touch_agent(&mut self, id: &AgentId) {
        self.version += 1;
        if !self.agents.contains(id) {
            self.agents.insert(id.clone());
        }
        if cfg!(debug_assertions) {
            self.unchecked.insert(id.clone());
        }
    }

    /// Notes that a framework changes.
    pub(crate) fn touch_framework(&mut self, id: &FrameworkId) {
        self.version += 1;
        if !self.frameworks.contains(id) {
            self.frameworks.insert(id.clone());
        }
    }

    /// Notes that something was counted for a framework.
    pub(crate) fn count_framework(&mut self, id: &FrameworkId) {
        self.counted.insert(id.clone());
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
        if let Some(last) = &self.views.last
            && !self.views.stale
        {
            return Arc::clone(last);
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

    fn empty_snapshot(&self) -> Snapshot {
        Snapshot {
            version: 0,
            master: Arc::clone(&self.info),
            elected_time: self.elected_time,
            agents: BTreeMap::new(),
            recovered_agents: BTreeMap::new(),
            unreachable_agents: 0,
            frameworks: BTreeMap::new(),
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
            return;
        }
        let mut changed = std::mem::take(&mut self.views.counted);
        changed.extend(self.views.frameworks.iter().cloned());
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
        for id in std::mem::take(&mut self.views.agents) {
            match self.agents.registered.get(&id) {
                Some(agent) => {
                    snapshot.agents.insert(id, Arc::new(agent_view(agent, &self.offers)));
                }
                None => {
                    snapshot.agents.remove(&id);
                }
            }
        }
        for id in std::mem::take(&mut self.views.frameworks) {
            match self.frameworks.registered.get(&id) {
                Some(framework) => {
                    let view = self.whole_framework_view(framework);
                    snapshot.frameworks.insert(id, Arc::new(view));
                }
                None => {
                    snapshot.frameworks.remove(&id);
                }
            }
        }
        snapshot.recovered_agents = self
            .agents
            .recovered
            .iter()
            .map(|(id, recovered)| (id.clone(), Arc::clone(&recovered.info)))
            .collect();
        snapshot.unreachable_agents = self.agents.unreachable.len();
        snapshot.completed_frameworks = self.frameworks.completed.values().cloned().collect();
        snapshot.weights = Arc::clone(&self.policy.weights);
        snapshot.quotas = Arc::clone(&self.policy.quotas);
    }

    fn whole_framework_view(&self, framework: &Framework) -> FrameworkView {
        let mut used = Vec::new();
        let mut executors = Vec::new();
        for agent in framework.agents.iter().filter_map(|id| self.agents.registered.get(id)) {
            if let Some(share) = agent.frameworks.get(&framework.id) {
                used.push(&share.used);
                executors
                    .extend(share.executors.values().map(|it| (agent.id.clone(), Arc::clone(it))));
            }
        }
        let offers: Vec<_> = framework.offers.iter().filter_map(|id| self.offers.get(id)).collect();
        let offers: Vec<_> =
            offers.iter().map(|it| (Arc::clone(&it.offer), &it.resources)).collect();
        let view = framework_view(framework, &used, &executors, &offers, None);
        let inverse_offers = self.maintenance.inverse_offers.offers_of(&framework.id);
        FrameworkView { inverse_offers, ..view }
    }

    #[expect(clippy::cast_precision_loss, reason = "Mesos' metrics are doubles")]
    fn gauges(&self, snapshot: &Snapshot) -> BTreeMap<String, f64> {
        let mut gauges = BTreeMap::new();
        let mut set = |name: &str, value: f64| gauges.insert(format!("master/{name}"), value);
        let count = |test: &dyn Fn(&&Arc<AgentView>) -> bool| {
            snapshot.agents.values().filter(test).count() as f64
        };
        set("elected", 1.0);
        set("uptime_secs", self.now.since(self.elected_time).as_secs_f64());
        set("slaves_connected", count(&|agent| agent.connected));
        set("slaves_disconnected", count(&|agent| !agent.connected));
        set("slaves_active", count(&|agent| agent.active));
        set("slaves_inactive", count(&|agent| !agent.active));
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

        let total = scalar_sums(snapshot.agents.values().map(|agent| &agent.total_resources));
        let used = scalar_sums(snapshot.agents.values().map(|agent| &agent.used_resources));
        for name in ["cpus", "gpus", "mem", "disk"] {
            for (revocable, middle) in [(false, ""), (true, "revocable_")] {
                let sum = |sums: &BTreeMap<(&str, bool), f64>| {
                    sums.get(&(name, revocable)).copied().unwrap_or(0.0)
                };
                let (total, used) = (sum(&total), sum(&used));
                set(&format!("{name}_{middle}total"), total);
                set(&format!("{name}_{middle}used"), used);
                let share = if total > 0.0 { used / total } else { 0.0 };
                set(&format!("{name}_{middle}percent"), share);
            }
        }
        gauges
    }
}

/// The amount of each scalar, apart for revocable and other resources.
fn scalar_sums<'a>(all: impl Iterator<Item = &'a Resources>) -> BTreeMap<(&'a str, bool), f64> {
    let mut sums = BTreeMap::new();
    for resource in all.flat_map(Resources::iter) {
        let amount = resource.quantity().to_f64();
        *sums.entry((resource.name(), resource.is_revocable())).or_default() += amount;
    }
    sums
}

/// The view of an agent.
pub(crate) fn agent_view(agent: &Agent, offers: &Offers) -> AgentView {
    let offered: Resources = agent
        .offers
        .iter()
        .filter_map(|id| offers.get(id))
        .map(|offer| offer.resources.clone())
        .sum();
    AgentView {
        info: Arc::clone(&agent.info),
        pid: agent.pid.clone(),
        version: agent.version.clone(),
        capabilities: agent.capabilities.list.clone(),
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
        offered_resources: offered,
        operations: agent.operations.values().cloned().collect(),
        frameworks: agent.frameworks.keys().cloned().collect(),
    }
}

/// The view of a framework with what it holds where.
pub(crate) fn framework_view(
    framework: &Framework,
    used: &[&Resources],
    executors: &[(AgentId, Arc<ExecutorInfo>)],
    offers: &[(Arc<Offer>, &Resources)],
    unregistered_time: Option<Timestamp>,
) -> FrameworkView {
    let total = |all: &mut dyn Iterator<Item = &Resources>| {
        let mut sum = Resources::new();
        for resources in all {
            sum += resources;
        }
        sum
    };
    FrameworkView {
        info: Arc::clone(&framework.info),
        pid: framework.pid.clone(),
        active: framework.active(),
        connected: framework.connected(),
        recovered: framework.recovered() && unregistered_time.is_none(),
        registered_time: framework.registered_time,
        reregistered_time: framework.reregistered_time,
        unregistered_time,
        used_resources: total(&mut used.iter().copied()),
        offered_resources: total(&mut offers.iter().map(|(_, resources)| *resources)),
        offers: offers.iter().map(|(offer, _)| Arc::clone(offer)).collect(),
        inverse_offers: Vec::new(),
        tasks: framework.tasks.clone(),
        unreachable_tasks: framework.unreachable_tasks.past().clone(),
        completed_tasks: framework.completed_tasks.past().clone(),
        executors: executors.to_vec(),
        offer_constraints: framework.offer_constraints.clone(),
    }
}
