//! The registry that all masters share: a commit is applied whole or not at all, and only for the master
//! that claimed the registry last. What must never happen to it is checked here, whoever is to blame.

use std::collections::{BTreeMap, BTreeSet};

use master::RegistryChange;
use master::registry::{AgentRecord, AgentStanding, FrameworkStanding, Record};
use protocol::mesos::{AgentId, FrameworkId};
use protocol::time::Timestamp;

use crate::process::Process;
use crate::world::Violation;

pub(crate) mod books;

/// What became of a commit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// It is durable.
    Applied,
    /// A later master has claimed the registry: nothing was changed.
    Deposed,
}

/// The defects a store can have on purpose.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Defects {
    /// It confirms what it forgets.
    pub(crate) forgets: bool,
    /// It does not look who writes.
    pub(crate) trusts_anyone: bool,
    /// It does not give frameworks to a new master.
    pub(crate) hides_frameworks: bool,
}

/// What a key had from a change on, until the next.
#[derive(Debug)]
struct Value {
    number: u64,
    value: Option<Vec<u8>>,
}

/// The registry.
#[derive(Debug, Default)]
pub(crate) struct Registry {
    defects: Defects,
    records: BTreeMap<String, Vec<u8>>,
    /// The epoch of the last claim.
    epoch: u64,
    /// Who made it, and since when.
    owner: Option<(Process, Timestamp)>,
    /// The last commit of the owner.
    last_commit: u64,
    /// Who has claimed each epoch.
    claims: BTreeMap<u64, Process>,
    /// All values each key had.
    history: BTreeMap<String, Vec<Value>>,
    changes: u64,
    /// Processes that took with them what they had not sent yet.
    silenced: BTreeSet<Process>,
    /// Agents that were durably members at some time.
    admitted: BTreeSet<AgentId>,
    /// Agents that were durably unreachable at some time.
    unreachable: BTreeSet<AgentId>,
    /// Agents whose record was deleted at some time, with what was decided about them.
    forgotten: BTreeSet<AgentId>,
    /// Frameworks that somebody asked to tear down.
    pub(crate) torn_down: BTreeSet<FrameworkId>,
}

impl Registry {
    pub(crate) fn new(defects: Defects) -> Self {
        Self { defects, ..Self::default() }
    }

    /// A master takes over, and reads everything. Nothing if a later one was first.
    ///
    /// # Errors
    /// A record cannot be read, or an epoch is claimed twice.
    pub(crate) fn claim(
        &mut self,
        by: Process,
        epoch: u64,
        now: Timestamp,
    ) -> Result<Option<Vec<Record>>, Violation> {
        if epoch < self.epoch {
            return Ok(None);
        }
        if let Some(other) = self.claims.insert(epoch, by).filter(|other| *other != by) {
            return Err(format!("invariant 4: {other:?} and {by:?} lead in epoch {epoch}"));
        }
        self.epoch = epoch;
        self.owner = Some((by, now));
        self.last_commit = 0;
        let hidden = |key: &str| self.defects.hides_frameworks && key.starts_with("framework/");
        let read = |(key, value): (&String, &Vec<u8>)| {
            Record::decode(key, value)
                .map_err(|error| format!("a master cannot read the registry: {error}"))
        };
        self.records
            .iter()
            .filter(|(key, _)| !hidden(key))
            .map(read)
            .collect::<Result<_, _>>()
            .map(Some)
    }

    /// Applies the changes if `by` has the epoch of the last claim. A commit that is sent twice is
    /// applied once.
    ///
    /// # Errors
    /// What must not happen has happened.
    pub(crate) fn commit(
        &mut self,
        by: Process,
        epoch: u64,
        number: u64,
        changes: Vec<RegistryChange>,
    ) -> Result<Outcome, Violation> {
        if epoch != self.epoch && !self.defects.trusts_anyone {
            return Ok(Outcome::Deposed);
        }
        if self.owner.is_none_or(|(owner, _)| owner != by) {
            return Err(format!(
                "invariant 4: {by:?} of epoch {epoch} writes in epoch {}",
                self.epoch
            ));
        }
        if number > self.last_commit && !self.defects.forgets {
            for change in changes {
                self.apply(change)?;
            }
        }
        self.last_commit = self.last_commit.max(number);
        Ok(Outcome::Applied)
    }

    /// What became of a commit whose answer was lost: nothing if it never arrived.
    pub(crate) fn outcome(&self, by: Process, number: u64) -> Option<Outcome> {
        if self.owner.is_none_or(|(owner, _)| owner != by) {
            return Some(Outcome::Deposed);
        }
        (self.last_commit >= number).then_some(Outcome::Applied)
    }

    /// What a process that died has not sent yet never arrives.
    pub(crate) fn silence(&mut self, process: Process) {
        self.silenced.insert(process);
    }

    pub(crate) fn hears(&self, process: Process) -> bool {
        !self.silenced.contains(&process)
    }

    /// The epoch of the last claim.
    pub(crate) const fn epoch(&self) -> u64 {
        self.epoch
    }

    /// Whether a master is the last that claimed the registry.
    pub(crate) fn is_owner(&self, process: Process) -> bool {
        self.owner.is_some_and(|(owner, _)| owner == process)
    }

    fn apply(&mut self, change: RegistryChange) -> Result<(), Violation> {
        self.changes += 1;
        let RegistryChange { key, value } = change;
        self.history
            .entry(key.clone())
            .or_default()
            .push(Value { number: self.changes, value: value.clone() });
        let Some(value) = value else {
            self.records.remove(&key);
            if let Some(id) = key.strip_prefix("agent/") {
                self.forgotten.insert(AgentId { value: id.to_owned(), ..Default::default() });
            }
            return Ok(());
        };
        match Record::decode(&key, &value) {
            Ok(Record::Agent(record)) => self.note_agent(&record)?,
            Ok(Record::Framework(record)) => {
                let old = self.framework(&key);
                self.check_framework(&key, old, &record)?;
            }
            Ok(
                Record::Master(_)
                | Record::Schedule(_)
                | Record::MachineDown(_)
                | Record::Weight { .. }
                | Record::Quota(_),
            ) => {}
            Err(error) => return Err(format!("a master writes what it cannot read: {error}")),
        }
        self.records.insert(key, value);
        Ok(())
    }

    fn note_agent(&mut self, record: &AgentRecord) -> Result<(), Violation> {
        let Some(id) = record.info.id.clone() else { return Ok(()) };
        let was_gone = matches!(self.standing(&id), Some(AgentStanding::Gone { .. }));
        if was_gone && !matches!(record.standing, AgentStanding::Gone { .. }) {
            return Err(format!("acknowledged: agent {} was gone and comes back", id.value));
        }
        match record.standing {
            AgentStanding::Admitted { .. } => drop(self.admitted.insert(id)),
            AgentStanding::Unreachable { .. } => drop(self.unreachable.insert(id)),
            AgentStanding::Gone { .. } => {}
        }
        Ok(())
    }

    /// A removed framework never comes back, and none is removed before its time is over.
    fn check_framework(
        &self,
        key: &str,
        old: Option<(FrameworkStanding, f64)>,
        new: &master::registry::FrameworkRecord,
    ) -> Result<(), Violation> {
        let Some((old, timeout)) = old else { return Ok(()) };
        let FrameworkStanding::Removed { since } = new.standing else {
            return if matches!(old, FrameworkStanding::Removed { .. }) {
                Err(format!("acknowledged: {key} was removed and comes back"))
            } else {
                Ok(())
            };
        };
        if new.info.id.as_ref().is_some_and(|id| self.torn_down.contains(id)) {
            return Ok(());
        }
        let earliest = match old {
            FrameworkStanding::Removed { .. } => return Ok(()),
            FrameworkStanding::Disconnected { deadline } => deadline,
            FrameworkStanding::Subscribed => {
                let start = self.owner.map_or(Timestamp::ZERO, |(_, start)| start);
                start + std::time::Duration::try_from_secs_f64(timeout).unwrap_or_default()
            }
        };
        if since < earliest {
            return Err(format!(
                "deadlines: {key} is removed at {since}, and has until {earliest}"
            ));
        }
        Ok(())
    }

    fn framework(&self, key: &str) -> Option<(FrameworkStanding, f64)> {
        match Record::decode(key, self.records.get(key)?) {
            Ok(Record::Framework(record)) => {
                Some((record.standing, record.info.failover_timeout.unwrap_or_default()))
            }
            Ok(
                Record::Master(_)
                | Record::Agent(_)
                | Record::Schedule(_)
                | Record::MachineDown(_)
                | Record::Weight { .. }
                | Record::Quota(_),
            )
            | Err(_) => None,
        }
    }

    /// A moment in the registry's life, for [`Registry::values_since`].
    pub(crate) const fn mark(&self) -> u64 {
        self.changes
    }

    /// The values a key had at that moment or after it.
    pub(crate) fn values_since(&self, key: &str, mark: u64) -> Vec<Option<&[u8]>> {
        let history = self.history.get(key).map_or(&[][..], Vec::as_slice);
        let later = history.partition_point(|value| value.number <= mark);
        let at_mark = later.checked_sub(1).and_then(|last| history[last].value.as_deref());
        let after = history[later..].iter().map(|value| value.value.as_deref());
        std::iter::once(at_mark).chain(after).collect()
    }

    /// All records there are.
    pub(crate) fn records(&self) -> impl Iterator<Item = Record> {
        self.records.iter().filter_map(|(key, value)| Record::decode(key, value).ok())
    }

    /// Whether it was durable at some time that an agent is unreachable, or nothing is known of it.
    pub(crate) fn may_be_called_unreachable(&self, agent: &AgentId) -> bool {
        self.unreachable.contains(agent) || self.standing(agent).is_none()
    }

    /// What is durable of an agent.
    pub(crate) fn standing(&self, agent: &AgentId) -> Option<AgentStanding> {
        let key = format!("agent/{}", agent.value);
        match Record::decode(&key, self.records.get(&key)?) {
            Ok(Record::Agent(record)) => {
                let AgentRecord { standing, .. } = *record;
                Some(standing)
            }
            Ok(
                Record::Master(_)
                | Record::Framework(_)
                | Record::Schedule(_)
                | Record::MachineDown(_)
                | Record::Weight { .. }
                | Record::Quota(_),
            )
            | Err(_) => None,
        }
    }

    /// Whether it is durable that an agent is in the cluster.
    pub(crate) fn is_admitted(&self, agent: &AgentId) -> bool {
        matches!(self.standing(agent), Some(AgentStanding::Admitted { .. }))
    }

    /// Whether it was durable at some time that an agent is in the cluster.
    pub(crate) fn was_admitted(&self, agent: &AgentId) -> bool {
        self.admitted.contains(agent)
    }

    /// Whether the same holds and its record was never deleted, with what was decided about it.
    pub(crate) fn is_member_since_it_joined(&self, agent: &AgentId) -> bool {
        self.is_admitted(agent) && !self.forgotten.contains(agent)
    }

    /// Whether it is durable that a framework was removed.
    pub(crate) fn is_removed(&self, framework: &FrameworkId) -> bool {
        let standing = self.framework(&format!("framework/{}", framework.value));
        matches!(standing, Some((FrameworkStanding::Removed { .. }, _)))
    }
}
