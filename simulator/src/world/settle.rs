//! What must hold once the faults are over and the cluster has come to rest.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use protocol::mesos::{DrainState, FrameworkId, OperationState, TaskId, TaskState};
use protocol::scheduler::call;
use resources::Resources;

use crate::happening::Happening;
use crate::world::operation::Doing;
use crate::world::{Violation, World};

/// How long between two looks at a cluster that is to come to rest.
const INSPECTION_INTERVAL: Duration = Duration::from_secs(20);

impl World {
    /// The framework wants nothing more.
    pub(crate) fn quiet(&mut self, scheduler: usize) {
        let suppress = call::Suppress::default();
        self.call(scheduler, call::Type::Suppress, |call| call.suppress = Some(suppress));
    }

    /// Looks whether the cluster has come to rest; at the deadline it must have.
    pub(crate) fn inspect(&mut self) {
        let unrest = self.unrest();
        match unrest {
            None => self.at_rest = true,
            Some(unrest) if self.deadline.is_some_and(|deadline| self.now >= deadline) => {
                self.violate(unrest);
            }
            Some(unrest) => {
                let now = self.now;
                self.log.write(|| format!("{now} not at rest: {unrest}"));
                self.schedule.add(now + INSPECTION_INTERVAL, Happening::Inspection);
            }
        }
    }

    /// What is not as it should be in a cluster at rest.
    fn unrest(&mut self) -> Option<Violation> {
        self.unrest_of_processes()
            .or_else(|| self.unrest_of_tasks())
            .or_else(|| self.unrest_of_updates())
            .or_else(|| self.unrest_of_operations())
            .or_else(|| self.unrest_of_drains())
            .or_else(|| self.unrest_of_books())
            .or_else(|| self.unrest_of_totals())
            .or_else(|| self.unrest_of_registry())
    }

    /// What the leader believes is what the next one would know.
    fn unrest_of_registry(&self) -> Option<Violation> {
        let host = &self.masters[self.leader()?];
        if !host.store.is_idle() {
            return Some("a write is under way".to_owned());
        }
        self.registry.books().difference(host.snapshot.as_ref()?)
    }

    /// Every operation with an id ended in a state that its framework was told.
    fn unrest_of_operations(&self) -> Option<Violation> {
        self.schedulers.iter().enumerate().find_map(|(index, scheduler)| {
            let open = |doing: &Doing| {
                // An agent that went for good while out of reach was unreachable to the last.
                let is_lost = doing.state == OperationState::OperationUnreachable
                    && !self.is_member(&doing.agent);
                !doing.is_over() && !is_lost
            };
            let (id, doing) = scheduler.operations.iter().find(|(_, doing)| open(doing))?;
            let state = doing.state;
            Some(format!("operations: framework {index} was told {state:?} of {id} at last"))
        })
    }

    /// Agents that were to be drained are drained.
    fn unrest_of_drains(&mut self) -> Option<Violation> {
        let snapshot = self.leader_snapshot()?;
        let mut drained = 0;
        for id in &self.operator.drained {
            if !self.registry.is_member_since_it_joined(id) {
                continue;
            }
            let view = snapshot.agents.get(id);
            let state = view.and_then(|view| view.drain_info.as_ref()).map(|info| info.state);
            if state != Some(DrainState::Drained) {
                return Some(format!("drains: agent {} is {state:?}", id.value));
            }
            drained += 1;
        }
        self.statistics.agents_drained = drained;
        None
    }

    /// Master and agent agree on what an agent has, reservations and volumes included.
    fn unrest_of_totals(&mut self) -> Option<Violation> {
        let snapshot = self.leader_snapshot()?;
        self.agents.iter_mut().enumerate().find_map(|(index, host)| {
            let own = host.core.as_mut()?.snapshot();
            let own = Resources::from_wire(&own.resources).unwrap_or_default();
            let view = snapshot.agents.values().find(|view| view.pid == host.pid)?;
            let believed = &view.total_resources;
            (*believed != own).then(|| {
                format!("operations: agent {index} has {own}, and the master believes {believed}")
            })
        })
    }

    fn unrest_of_processes(&self) -> Option<Violation> {
        let Some(snapshot) = self.leader_snapshot() else {
            return Some("there is no master".to_owned());
        };
        for (index, scheduler) in self.schedulers.iter().enumerate() {
            if !scheduler.is_subscribed {
                return Some(format!("framework {index} is not subscribed"));
            }
        }
        for (index, host) in self.agents.iter().enumerate() {
            let registered =
                snapshot.agents.values().any(|view| view.pid == host.pid && view.connected);
            if host.core.is_none() || !registered {
                return Some(format!("agent {index} is not registered"));
            }
        }
        None
    }

    /// Invariant 3: what a framework was told last of each task is so.
    fn unrest_of_tasks(&self) -> Option<Violation> {
        let mut living: BTreeMap<&TaskId, (&FrameworkId, TaskState)> = BTreeMap::new();
        for agent in 0..self.agents.len() {
            for (framework, task, state) in self.living_tasks(agent) {
                living.insert(task, (framework, state));
            }
        }
        for (index, scheduler) in self.schedulers.iter().enumerate() {
            for (task, entry) in &scheduler.book {
                let told = entry.state;
                let real = living.remove(task).map(|(_, state)| state);
                let name = &task.value;
                let agrees = match real {
                    Some(real) => told == real,
                    None => told.is_terminal() || told == TaskState::TaskUnknown,
                };
                let is_gone = told == TaskState::TaskUnreachable && !self.is_member(&entry.agent);
                if !agrees && !is_gone {
                    return Some(format!(
                        "invariant 3: framework {index} was told {told:?} of task {name}, which is \
                         {real:?}"
                    ));
                }
            }
        }
        let (task, (framework, state)) = living.pop_first()?;
        Some(format!(
            "invariant 3: task {} of {} is {state:?} and no framework knows",
            task.value, framework.value
        ))
    }

    /// Whether the agent of that id is in the cluster now.
    fn is_member(&self, id: &protocol::mesos::AgentId) -> bool {
        self.leader_snapshot().is_some_and(|snapshot| snapshot.agents.contains_key(id))
    }

    /// Invariants 3 and 5: every update that an agent called safe reached its framework.
    fn unrest_of_updates(&self) -> Option<Violation> {
        let lost = self.ledger.safe.iter().find_map(|uuid| {
            let (task, index) = self.ledger.updates.get(uuid)?;
            let owner = self.ledger.owners.get(task)?;
            // A host that was shut down for good, or replaced, took with it what was not told yet.
            if self.ledger.shut_down.contains(&self.ledger.hosts.get(task).copied()?) {
                return None;
            }
            // A framework that was removed is told nothing any more, even if it returns.
            let id = self.schedulers[owner.scheduler].info.id.as_ref();
            let is_present = self.owner(owner.scheduler) == *owner
                && id.is_some_and(|id| !self.ledger.removed.contains(id));
            (is_present && !self.ledger.delivered.contains(uuid)).then_some((task, index))
        });
        let (task, index) = lost?;
        Some(format!("invariant 3: update {index} of task {} was safe and is lost", task.value))
    }

    /// Invariant 2: the master counts as used all that is used. When news of an executor's end are lost
    /// it counts more, until the agent registers again; that is waste, and only counted.
    fn unrest_of_books(&mut self) -> Option<Violation> {
        let snapshot = self.leader_snapshot()?;
        let mut surplus = 0;
        let mut known = BTreeSet::new();
        for view in snapshot.frameworks.values() {
            for task in view.tasks.iter().filter(|task| !task.state.is_terminal()) {
                known.insert(&*task.task_id);
            }
        }
        for (index, host) in self.agents.iter().enumerate() {
            for (_, task, state) in self.living_tasks(index) {
                if !known.remove(task) {
                    let name = &task.value;
                    return Some(format!("task {name} is {state:?} and the master does not know"));
                }
            }
            let counted: Resources = snapshot
                .agents
                .values()
                .filter(|view| view.pid == host.pid)
                .map(|view| view.used_resources.unallocated())
                .sum();
            let used = self.really_used(index);
            if !counted.contains(&used) {
                return Some(format!(
                    "invariant 2: the master counts {counted} on agent {index}, where {used} runs"
                ));
            }
            surplus += u64::from(counted != used);
        }
        self.statistics.agents_overcounted = surplus;
        let task = known.pop_first()?;
        Some(format!("the master believes that task {} runs", task.value))
    }
}
