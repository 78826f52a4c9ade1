//! What was promised must hold, whoever leads: an answer follows its write, and a new leader knows what is
//! written.

use std::collections::{BTreeMap, BTreeSet};

use master::registry::{AgentStanding, Participation, Record};
use protocol::mesos::value::Scalar;
use protocol::mesos::{AgentId, FrameworkId, TaskId};
use resources::Quantity;

use crate::settings::Sabotage;
use crate::world::World;
use crate::world::operator::Wish;

impl World {
    /// A master that begins to lead knows all that the registry says.
    pub(crate) fn check_recovered(&mut self, master: usize) {
        let Some(core) = &mut self.masters[master].core else { return };
        let difference = self.registry.books().difference(&core.snapshot());
        if let Some(difference) = difference {
            self.violate(difference);
        }
    }

    /// A framework that was told that its end is accepted is durably removed.
    pub(crate) fn check_torn_down(&mut self, framework: Option<&FrameworkId>) {
        let Some(id) = framework.filter(|id| !self.registry.is_removed(id)) else { return };
        let text = format!("acknowledged: {} is torn down, and the registry has it", id.value);
        self.violate(text);
    }

    /// Each task begins to run once.
    pub(crate) fn check_run(&mut self, agent: usize, task: &TaskId) {
        if let Some(other) = self.ledger.runs.insert(task.clone(), agent) {
            let name = &task.value;
            self.violate(format!("task {name} runs on agent {agent} and ran on agent {other}"));
        }
    }

    /// What an operator was told to be done is durable, or was when the call had been made.
    pub(crate) fn check_done(&mut self, master: usize, mark: u64, wish: &Wish) {
        // Who does not know that another leads may say that all is as wanted, which it was before.
        if !self.is_in_office(master) || self.sabotaged(Sabotage::ForgetDrains) {
            return;
        }
        if !self.is_durable(mark, wish) {
            self.violate(format!("acknowledged: {wish:?} is done, and the registry lacks it"));
        }
    }

    fn is_durable(&self, mark: u64, wish: &Wish) -> bool {
        let any = |key: &str, holds: &dyn Fn(Option<Record>) -> bool| {
            let values = self.registry.values_since(key, mark);
            values.into_iter().any(|value| {
                let record = value.and_then(|value| Record::decode(key, value).ok());
                holds(record)
            })
        };
        let agent = |id: &AgentId, holds: &dyn Fn(Option<AgentStanding>) -> bool| {
            any(&format!("agent/{}", id.value), &|record| {
                let Some(Record::Agent(record)) = record else { return holds(None) };
                holds(Some(record.standing))
            })
        };
        match wish {
            Wish::Exclude { agent: id, drain } => agent(id, &|standing| {
                let participation = participation(standing);
                participation.is_none_or(|it| match it {
                    Participation::Full => false,
                    Participation::Deactivated => !drain,
                    Participation::Drain(_) => true,
                })
            }),
            Wish::Include(id) => agent(id, &|standing| {
                participation(standing).is_none_or(|it| it == Participation::Full)
            }),
            Wish::Gone(id) => {
                agent(id, &|standing| matches!(standing, Some(AgentStanding::Gone { .. })))
            }
            Wish::Schedule(hosts) => any("maintenance/schedule", &|record| {
                let Some(Record::Schedule(schedule)) = record else { return hosts.is_empty() };
                let machines = schedule.windows.iter().flat_map(|window| &window.machine_ids);
                let planned: BTreeSet<String> =
                    machines.filter_map(|machine| machine.hostname.clone()).collect();
                planned == hosts.iter().map(|host| format!("agent-{host}")).collect()
            }),
            Wish::Down(host) => any(&down_key(*host), &|record| record.is_some()),
            Wish::Up(host) => any(&down_key(*host), &|record| record.is_none()),
            Wish::Weights(weights) => weights.iter().all(|(role, wanted)| {
                any(&format!("weight/{role}"), &|record| {
                    matches!(record, Some(Record::Weight { weight, .. })
                        if weight.to_bits() == wanted.to_bits())
                })
            }),
            Wish::Quota { role, guarantees, limits } => any(&format!("quota/{role}"), &|record| {
                let Some(Record::Quota(config)) = record else {
                    return guarantees.is_empty() && limits.is_empty();
                };
                is_equal(&config.guarantees, guarantees) && is_equal(&config.limits, limits)
            }),
        }
    }
}

/// What operators decided about an agent that may come back; nothing of others.
fn participation(standing: Option<AgentStanding>) -> Option<Participation> {
    match standing? {
        AgentStanding::Admitted { participation }
        | AgentStanding::Unreachable { participation, .. } => Some(participation),
        AgentStanding::Gone { .. } => None,
    }
}

fn down_key(host: usize) -> String {
    format!("maintenance/down/agent-{host}/10.0.1.{host}")
}

fn is_equal(stored: &BTreeMap<String, Scalar>, wanted: &BTreeMap<String, Scalar>) -> bool {
    let amounts = |scalars: &BTreeMap<String, Scalar>| -> BTreeMap<String, Option<Quantity>> {
        let amount =
            |(name, scalar): (&String, &Scalar)| (name.clone(), Quantity::from_f64(scalar.value));
        scalars.iter().map(amount).collect()
    };
    amounts(stored) == amounts(wanted)
}
