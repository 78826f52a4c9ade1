//! What a master must know that reads the registry, or that has written all it has decided.

use std::collections::{BTreeMap, BTreeSet};

use master::Snapshot;
use master::registry::{AgentStanding, FrameworkStanding, Record};
use protocol::maintenance::Schedule;
use protocol::mesos::{AgentId, FrameworkId};
use protocol::quota::QuotaConfig;

use crate::world::Violation;
use crate::world::registry::Registry;

/// What the records say, sorted out anew, without the master's help.
#[derive(Debug, Default)]
pub(crate) struct Books {
    members: BTreeSet<AgentId>,
    unreachable: usize,
    frameworks: BTreeSet<FrameworkId>,
    removed: usize,
    weights: BTreeMap<String, f64>,
    quotas: BTreeMap<String, QuotaConfig>,
    schedule: Schedule,
    machines_down: usize,
}

impl Registry {
    pub(crate) fn books(&self) -> Books {
        let mut books = Books::default();
        for record in self.records() {
            match record {
                Record::Master(_) => {}
                Record::Agent(record) => match record.standing {
                    AgentStanding::Admitted { .. } => books.members.extend(record.info.id),
                    AgentStanding::Unreachable { .. } => books.unreachable += 1,
                    AgentStanding::Gone { .. } => {}
                },
                Record::Framework(record) => match record.standing {
                    FrameworkStanding::Subscribed | FrameworkStanding::Disconnected { .. } => {
                        books.frameworks.extend(record.info.id);
                    }
                    FrameworkStanding::Removed { .. } => books.removed += 1,
                },
                Record::Schedule(schedule) => books.schedule = *schedule,
                Record::MachineDown(_) => books.machines_down += 1,
                Record::Weight { role, weight } => drop(books.weights.insert(role, weight)),
                Record::Quota(config) => {
                    books.quotas.insert(config.role.clone(), *config);
                }
            }
        }
        books
    }
}

impl Books {
    /// In what a master differs from the records.
    pub(crate) fn difference(&self, snapshot: &Snapshot) -> Option<Violation> {
        let known: BTreeSet<AgentId> =
            snapshot.agents.keys().chain(snapshot.recovered_agents.keys()).cloned().collect();
        let frameworks: BTreeSet<FrameworkId> = snapshot.frameworks.keys().cloned().collect();
        let down = snapshot.maintenance.status.down_machines.len();
        let what = if known != self.members {
            format!("agents {known:?}, and they are {:?}", self.members)
        } else if snapshot.unreachable_agents != self.unreachable {
            format!("{} unreachable agents of {}", snapshot.unreachable_agents, self.unreachable)
        } else if frameworks != self.frameworks {
            format!("frameworks {frameworks:?}, and they are {:?}", self.frameworks)
        } else if snapshot.completed_frameworks.len() != self.removed {
            let completed = snapshot.completed_frameworks.len();
            format!("{completed} removed frameworks of {}", self.removed)
        } else if *snapshot.weights != self.weights {
            format!("weights {:?}, and they are {:?}", snapshot.weights, self.weights)
        } else if *snapshot.quotas != self.quotas {
            format!("quotas {:?}, and they are {:?}", snapshot.quotas, self.quotas)
        } else if snapshot.maintenance.schedule != self.schedule {
            let schedule = &snapshot.maintenance.schedule;
            format!("the schedule {schedule:?}, and it is {:?}", self.schedule)
        } else if down != self.machines_down {
            format!("{down} machines down of {}", self.machines_down)
        } else {
            return None;
        };
        Some(format!("acknowledged: the master believes in {what}"))
    }
}
