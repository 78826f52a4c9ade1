//! What agents add up to, kept up to date agent by agent, so that no snapshot sums up the cluster.

use std::collections::BTreeMap;
use std::sync::Arc;

use protocol::mesos::{AgentId, ExecutorInfo, FrameworkId};
use resources::Resources;

use crate::agent::Agent;
use crate::view::AgentView;

/// The resources that have gauges.
const GAUGED: [&str; 4] = ["cpus", "gpus", "mem", "disk"];

/// Amounts in thousandths, by the place of the name in `GAUGED`; those that are not revocable first.
type Amounts = [[i128; 2]; GAUGED.len()];

/// What agents count for in the gauges.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct AgentSums {
    pub(crate) connected: usize,
    pub(crate) active: usize,
    total: Amounts,
    used: Amounts,
}

impl AgentSums {
    pub(super) fn add(&mut self, view: &AgentView) {
        self.connected += usize::from(view.connected);
        self.active += usize::from(view.active);
        change(&mut self.total, &view.total_resources, 1);
        change(&mut self.used, &view.used_resources, 1);
    }

    pub(super) fn remove(&mut self, view: &AgentView) {
        self.connected -= usize::from(view.connected);
        self.active -= usize::from(view.active);
        change(&mut self.total, &view.total_resources, -1);
        change(&mut self.used, &view.used_resources, -1);
    }

    /// Each gauged name, whether it is about revocable resources, and the total and used amounts.
    #[expect(clippy::cast_precision_loss, reason = "Mesos' metrics are doubles")]
    pub(super) fn amounts(&self) -> impl Iterator<Item = (&'static str, bool, f64, f64)> + '_ {
        let amount = |sum: i128| sum as f64 / 1000.0;
        (0..GAUGED.len()).flat_map(move |name| {
            [false, true].map(|revocable| {
                let kind = usize::from(revocable);
                let (total, used) = (self.total[name][kind], self.used[name][kind]);
                (GAUGED[name], revocable, amount(total), amount(used))
            })
        })
    }
}

fn change(amounts: &mut Amounts, resources: &Resources, sign: i128) {
    for resource in resources {
        if let Some(name) = GAUGED.iter().position(|name| *name == resource.name()) {
            let amount = i128::from(resource.quantity().thousandths());
            amounts[name][usize::from(resource.is_revocable())] += sign * amount;
        }
    }
}

/// What one framework has, on all agents together.
#[derive(Debug, Default)]
struct Held {
    /// Scalars that can be added and taken away again.
    scalars: Resources,
    /// The others by agent: the ports of one agent are not those of another, but look alike.
    others: BTreeMap<Arc<AgentId>, Resources>,
    executors: BTreeMap<Arc<AgentId>, Vec<Arc<ExecutorInfo>>>,
}

/// What one agent adds to a framework.
#[derive(Debug)]
struct Part {
    framework: Arc<FrameworkId>,
    scalars: Resources,
    has_others: bool,
    has_executors: bool,
}

/// What frameworks have, as of the last snapshot.
#[derive(Debug, Default)]
pub(super) struct Holdings {
    frameworks: BTreeMap<Arc<FrameworkId>, Held>,
    parts: BTreeMap<Arc<AgentId>, Vec<Part>>,
}

fn is_summed(resource: &resources::Resource) -> bool {
    resource.value().scalar().is_some() && !resource.is_indivisible()
}

impl Holdings {
    /// Takes note of an agent that has changed. `framework_id` gives the shared form of an id.
    pub(super) fn set(
        &mut self,
        agent: &Agent,
        framework_id: impl Fn(&FrameworkId) -> Arc<FrameworkId>,
    ) {
        self.remove(&agent.id);
        let mut parts = Vec::with_capacity(agent.frameworks.len());
        for (id, share) in &agent.frameworks {
            let framework = framework_id(id);
            let held = self.frameworks.entry(Arc::clone(&framework)).or_default();
            let scalars = share.used.filter(is_summed);
            held.scalars += &scalars;
            let others = share.used.filter(|resource| !is_summed(resource));
            let has_others = !others.is_empty();
            if has_others {
                held.others.insert(Arc::clone(&agent.id), others);
            }
            let has_executors = !share.executors.is_empty();
            if has_executors {
                let executors = share.executors.values().cloned().collect();
                held.executors.insert(Arc::clone(&agent.id), executors);
            }
            parts.push(Part { framework, scalars, has_others, has_executors });
        }
        if !parts.is_empty() {
            self.parts.insert(Arc::clone(&agent.id), parts);
        }
    }

    /// Forgets an agent.
    pub(super) fn remove(&mut self, agent: &AgentId) {
        for part in self.parts.remove(agent).unwrap_or_default() {
            let Some(held) = self.frameworks.get_mut(&part.framework) else { continue };
            let was_held = held.scalars.checked_sub_assign(&part.scalars);
            debug_assert!(was_held, "what was added can be taken away");
            if part.has_others {
                held.others.remove(agent);
            }
            if part.has_executors {
                held.executors.remove(agent);
            }
            if held.scalars.is_empty() && held.others.is_empty() && held.executors.is_empty() {
                self.frameworks.remove(&part.framework);
            }
        }
    }

    /// What a framework's tasks and executors hold.
    pub(super) fn used(&self, framework: &FrameworkId) -> Resources {
        let Some(held) = self.frameworks.get(framework) else { return Resources::new() };
        let mut used = held.scalars.clone();
        for others in held.others.values() {
            used += others;
        }
        used
    }

    /// A framework's executors, by agent.
    pub(super) fn executors(&self, framework: &FrameworkId) -> Vec<(AgentId, Arc<ExecutorInfo>)> {
        let Some(held) = self.frameworks.get(framework) else { return Vec::new() };
        let of_agent = |(agent, executors): (&Arc<AgentId>, &Vec<Arc<ExecutorInfo>>)| {
            let agent = (**agent).clone();
            let pairs = executors.iter().map(move |it| (agent.clone(), Arc::clone(it)));
            pairs.collect::<Vec<_>>()
        };
        held.executors.iter().flat_map(of_agent).collect()
    }
}
