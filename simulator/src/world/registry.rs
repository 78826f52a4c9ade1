//! The master's store: writes become durable one after the other, and it may fail.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use master::registry::{AgentRecord, AgentStanding, FrameworkStanding, Record};
use master::{RegistryChange, WriteId};
use protocol::mesos::{AgentId, FrameworkId};
use protocol::time::Timestamp;

/// The store.
#[derive(Debug, Default)]
pub(crate) struct Registry {
    records: BTreeMap<String, Vec<u8>>,
    /// Writes under way, oldest first.
    pub(crate) pending: VecDeque<(WriteId, Vec<RegistryChange>)>,
    pub(crate) last: Timestamp,
    /// The next write fails.
    pub(crate) failing: bool,
    /// Writes take long until then.
    pub(crate) slow_until: Timestamp,
    /// Agents that were durably unreachable at some time.
    unreachable: BTreeSet<AgentId>,
    /// Agents whose record was deleted at some time, with what was decided about them.
    forgotten: BTreeSet<AgentId>,
}

impl Registry {
    pub(crate) fn apply(&mut self, changes: Vec<RegistryChange>) {
        for change in changes {
            let Some(value) = change.value else {
                self.records.remove(&change.key);
                if let Some(value) = change.key.strip_prefix("agent/") {
                    let value = value.to_owned();
                    self.forgotten.insert(AgentId { value, ..Default::default() });
                }
                continue;
            };
            if let Ok(Record::Agent(record)) = Record::decode(&change.key, &value)
                && matches!(record.standing, AgentStanding::Unreachable { .. })
            {
                self.unreachable.extend(record.info.id);
            }
            self.records.insert(change.key, value);
        }
    }

    /// Whether it was durable at some time that an agent is unreachable, or nothing is known of it.
    pub(crate) fn may_be_called_unreachable(&self, agent: &AgentId) -> bool {
        self.unreachable.contains(agent) || self.standing(agent).is_none()
    }

    /// What a new master reads.
    pub(crate) fn read(&self) -> Result<Vec<Record>, String> {
        self.records
            .iter()
            .map(|(key, value)| Record::decode(key, value).map_err(|error| error.to_string()))
            .collect()
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

    /// Whether the same holds and its record was never deleted, with what was decided about it.
    pub(crate) fn is_member_since_it_joined(&self, agent: &AgentId) -> bool {
        self.is_admitted(agent) && !self.forgotten.contains(agent)
    }

    /// Whether it is durable that a framework was removed.
    pub(crate) fn is_removed(&self, framework: &FrameworkId) -> bool {
        let key = format!("framework/{}", framework.value);
        let record = self.records.get(&key).map(|value| Record::decode(&key, value));
        matches!(
            record,
            Some(Ok(Record::Framework(record)))
                if matches!(record.standing, FrameworkStanding::Removed { .. })
        )
    }
}
