//! How a role stands against its quota, by the master's books and by what its operator was told.

use std::collections::BTreeMap;

use master::Snapshot;
use resources::{Quantities, Quantity, Resources};

type Amounts = BTreeMap<String, Quantity>;

/// The quota of a role as its operator knows it.
#[derive(Debug, Default)]
pub(crate) struct Quota {
    pub(crate) guarantees: Amounts,
    pub(crate) limits: Amounts,
    asked: Option<(Amounts, Amounts)>,
    /// A master died with a change under way.
    is_unknown: bool,
}

impl Quota {
    /// Whether the operator knows what is in force.
    pub(crate) fn is_certain(&self) -> bool {
        self.asked.is_none() && !self.is_unknown
    }

    pub(crate) fn is_asked(&self) -> bool {
        self.asked.is_some()
    }

    pub(crate) fn asks(&mut self, guarantees: Amounts, limits: Amounts) {
        self.asked = Some((guarantees, limits));
    }

    pub(crate) fn hears(&mut self, is_done: bool) {
        if let Some((guarantees, limits)) = self.asked.take()
            && is_done
        {
            self.guarantees = guarantees;
            self.limits = limits;
            self.is_unknown = false;
        }
    }

    /// The answer will never come.
    pub(crate) fn loses_answer(&mut self) {
        self.is_unknown |= self.asked.take().is_some();
    }
}

/// What a role and those below it consume of its quota: what they hold or are offered, and what is
/// reserved for them.
pub(crate) fn consumed(snapshot: &Snapshot, role: &str) -> Quantities {
    let mut all = Resources::new();
    for framework in snapshot.frameworks.values() {
        for held in [&framework.used_resources, &framework.offered_resources] {
            let held = held.allocated_to_subtree(role);
            all += &held.unreserved().non_revocable().unallocated();
        }
    }
    for agent in snapshot.agents.values() {
        all += &agent.total_resources.reserved_to_subtree(role);
    }
    all.scalar_quantities()
}

/// What nobody has and nothing is reserved of.
pub(crate) fn free(snapshot: &Snapshot) -> Quantities {
    let mut free = Quantities::new();
    for agent in snapshot.agents.values() {
        let mut taken = agent.used_resources.unallocated();
        taken += &agent.offered_resources.unallocated();
        let left = agent.total_resources.saturating_sub(&taken).unreserved();
        for (name, quantity) in left.scalar_quantities().iter() {
            free.increase(name, quantity);
        }
    }
    free
}
