//! What must hold after every step.

use std::sync::Arc;

use protocol::mesos::{FrameworkId, TaskId};
use resources::Resources;

use crate::world::World;

/// Whether every shared resource of `taken`, of which many may have a copy, is there.
fn has_all_shared(total: &Resources, taken: &Resources) -> bool {
    taken.shared().iter().all(|wanted| {
        total.shared().iter().any(|it| it.persistence_id() == wanted.persistence_id())
    })
}

impl World {
    /// Invariant 2, by the books of each master: what is offered and used of an agent is there.
    pub(crate) fn check_masters(&mut self) {
        for master in 0..self.masters.len() {
            self.check_master(master);
        }
    }

    fn check_master(&mut self, master: usize) {
        let host = &mut self.masters[master];
        let Some(core) = &mut host.core else { return };
        let last_version = host.snapshot.as_ref().map(|snapshot| snapshot.version);
        if last_version == Some(core.version()) {
            return;
        }
        // The master can change its snapshot in place only if nobody else holds it: what is needed for
        // the comparison is kept as a copy of the pointers.
        let snapshot = core.snapshot();
        let mut wrong = None;
        for (id, view) in &snapshot.agents {
            let known = host.snapshot.as_ref().and_then(|last| last.agents.get(id));
            if known.is_some_and(|known| Arc::ptr_eq(known, view)) {
                continue;
            }
            let total = &view.total_resources;
            let mut used = view.used_resources.unallocated();
            if self.settings.policy.operations {
                // An agent may return without a reservation that it never heard of, and the master
                // believes for a while that what was launched on that runs.
                used = total.saturating_sub(&total.saturating_sub(&used));
            }
            let taken = &used + &view.offered_resources.unallocated();
            if !total.contains(&taken.non_shared()) || !has_all_shared(total, &taken) {
                wrong = Some(format!(
                    "invariant 2: {taken} is used or offered on agent {} of {}",
                    id.value, view.total_resources
                ));
            }
        }
        host.snapshot = Some(snapshot);
        if let Some(wrong) = wrong {
            self.violate(wrong);
        }
    }

    /// Invariant 2, by what really runs on an agent.
    pub(crate) fn check_agent(&mut self, agent: usize) {
        let used = self.really_used(agent);
        let total = self.agents[agent].total.scalar_quantities();
        if !total.contains(&used.scalar_quantities()) {
            let total = &self.agents[agent].total;
            let text = format!("invariant 2: {used} runs on agent {agent} of {total}");
            self.violate(text);
        }
    }

    /// Invariant 2, by offers: each is used by one call at most, and each task starts once.
    pub(crate) fn check_started(&mut self, task: &TaskId) {
        let Some((call, offers)) = self.ledger.launches.get(task).cloned() else {
            self.violate(format!("task {} starts and nobody launched it", task.value));
            return;
        };
        if !self.ledger.started.insert(task.clone()) {
            self.violate(format!("task {} starts twice", task.value));
        }
        for offer in offers {
            let by = *self.ledger.used_offers.entry(offer.clone()).or_insert(call);
            if by != call {
                self.violate(format!("invariant 2: offer {} is used twice", offer.value));
            }
        }
    }

    /// Whether some scheduler is this framework and the master has not removed it.
    pub(crate) fn is_live(&self, framework: &FrameworkId) -> bool {
        let is_held = self.schedulers.iter().any(|host| host.info.id.as_ref() == Some(framework));
        let is_completed = self.leader_snapshot().is_some_and(|snapshot| {
            snapshot
                .completed_frameworks
                .iter()
                .any(|view| view.info.id.as_ref() == Some(framework))
        });
        is_held && !is_completed && !self.registry.is_removed(framework)
    }
}
