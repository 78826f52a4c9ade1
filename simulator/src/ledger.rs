//! What really happened, as only somebody outside the cluster can know: against this the cluster's own
//! words are checked.

use std::collections::{BTreeMap, BTreeSet};

use protocol::mesos::{FrameworkId, OfferId, TaskId};

/// The truth.
#[derive(Debug, Default)]
pub(crate) struct Ledger {
    /// Every update an executor made: whose it is and which in a row.
    pub(crate) updates: BTreeMap<Vec<u8>, (TaskId, usize)>,
    /// How many updates each task's executor made.
    counts: BTreeMap<TaskId, usize>,
    /// Updates that agents have on disk.
    pub(crate) durable: BTreeSet<Vec<u8>>,
    /// Updates of which an agent told the executor that they are safe.
    pub(crate) safe: BTreeSet<Vec<u8>>,
    /// Updates that reached their framework.
    pub(crate) delivered: BTreeSet<Vec<u8>>,
    /// The call that launched each task, and the offers it named.
    pub(crate) launches: BTreeMap<TaskId, (u64, Vec<OfferId>)>,
    /// The call that each offer was really used for.
    pub(crate) used_offers: BTreeMap<OfferId, u64>,
    /// Tasks the master sent to an agent.
    pub(crate) started: BTreeSet<TaskId>,
    /// Frameworks that the master told agents to shut down.
    pub(crate) removed: BTreeSet<FrameworkId>,
    /// Agents that the master told to shut down: what they had not delivered yet may be gone.
    pub(crate) shut_down: BTreeSet<usize>,
    /// Where each task began to run.
    pub(crate) runs: BTreeMap<TaskId, usize>,
    /// Which host a task was sent to.
    pub(crate) hosts: BTreeMap<TaskId, usize>,
    /// Which framework launched a task.
    pub(crate) owners: BTreeMap<TaskId, Owner>,
}

/// A framework: a scheduler may be a second one after the first was removed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Owner {
    pub(crate) scheduler: usize,
    pub(crate) identity: u32,
}

impl Ledger {
    /// Notes that an executor made an update.
    pub(crate) fn update_made(&mut self, task: &TaskId, uuid: &[u8]) {
        let count = self.counts.entry(task.clone()).or_default();
        self.updates.insert(uuid.to_vec(), (task.clone(), *count));
        *count += 1;
    }
}
