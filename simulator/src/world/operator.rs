//! An operator: drains agents, plans maintenance, changes quota and weights, and remembers what the
//! master confirmed.

use std::collections::{BTreeMap, BTreeSet};

use master::{Event, RequestId, Response};
use protocol::maintenance::{Schedule, Window};
use protocol::master::Call;
use protocol::master::call::{
    DeactivateAgent, DrainAgent, MarkAgentGone, ReactivateAgent, StartMaintenance, StopMaintenance,
    Type, UpdateMaintenanceSchedule, UpdateQuota, UpdateWeights,
};
use protocol::mesos::value::Scalar;
use protocol::mesos::{AgentId, DurationInfo, MachineId, TimeInfo, Unavailability, WeightInfo};
use protocol::quota::QuotaConfig;
use resources::{Quantities, Quantity};

use crate::happening::Happening;
use crate::settings::Sabotage;
use crate::world::World;

pub(crate) mod view;

use view::Quota;

/// The roles that frameworks are in, by their top level.
const ROLES: [&str; 3] = ["a", "b", "c"];

/// What an operator knows.
#[derive(Debug, Default)]
pub(crate) struct Operator {
    pending: BTreeMap<RequestId, Asked>,
    /// Agents that are confirmed to be out of the offers.
    pub(crate) excluded: BTreeSet<AgentId>,
    /// Agents that are confirmed to drain.
    pub(crate) drained: BTreeSet<AgentId>,
    /// Hosts with a window in the confirmed schedule.
    scheduled: BTreeSet<usize>,
    /// Hosts with a window in a schedule whose fate is open.
    perhaps_scheduled: BTreeSet<usize>,
    /// Hosts that may be down for maintenance.
    down: BTreeSet<usize>,
    /// Quota by role.
    pub(crate) quota: BTreeMap<String, Quota>,
    /// What was offered in this step: by whom, to which role, and what is not reserved.
    pub(crate) offered: Vec<(usize, String, Quantities)>,
}

/// A call that waits for its answer.
#[derive(Clone, Debug)]
struct Asked {
    master: usize,
    /// When, by the registry's changes.
    mark: u64,
    wish: Wish,
}

/// What a call is to bring about.
#[derive(Clone, Debug)]
pub(crate) enum Wish {
    Exclude { agent: AgentId, drain: bool },
    Include(AgentId),
    Gone(AgentId),
    Schedule(BTreeSet<usize>),
    Down(usize),
    Up(usize),
    Quota { role: String, guarantees: BTreeMap<String, Scalar>, limits: BTreeMap<String, Scalar> },
    Weights(BTreeMap<String, f64>),
}

impl Operator {
    pub(crate) fn is_asking(&self, request: RequestId) -> bool {
        self.pending.contains_key(&request)
    }

    /// Whether an agent is asked to be offered again, and nobody has answered yet.
    fn wants_back(&self, agent: &AgentId) -> bool {
        self.pending.values().any(|asked| matches!(&asked.wish, Wish::Include(id) if id == agent))
    }

    /// Whether a master may believe that a window is planned for a host.
    pub(crate) fn may_be_scheduled(&self, host: usize) -> bool {
        self.scheduled.contains(&host) || self.perhaps_scheduled.contains(&host)
    }

    /// What was asked for may have been done or not.
    pub(crate) fn master_died(&mut self, master: usize) {
        for asked in self.pending.values().filter(|asked| asked.master == master) {
            if let Wish::Quota { role, .. } = &asked.wish
                && let Some(quota) = self.quota.get_mut(role)
            {
                quota.loses_answer();
            }
        }
        self.pending.retain(|_, asked| asked.master != master);
    }
}

fn machine(host: usize) -> MachineId {
    MachineId {
        hostname: Some(format!("agent-{host}")),
        ip: Some(format!("10.0.1.{host}")),
        ..Default::default()
    }
}

fn thousandths(number: u64) -> Quantity {
    i64::try_from(number).ok().and_then(Quantity::from_thousandths).unwrap_or(Quantity::ZERO)
}

fn amounts(random: &mut crate::random::Random) -> BTreeMap<String, Quantity> {
    let mut amounts = BTreeMap::new();
    if random.chance(700) {
        amounts.insert("cpus".to_owned(), thousandths(100 * random.between(1, 60)));
    }
    if random.chance(500) {
        let megabytes = 32 * random.between(1, 100);
        amounts.insert("mem".to_owned(), thousandths(1000 * megabytes));
    }
    amounts
}

fn wire(amounts: &BTreeMap<String, Quantity>, factor: f64) -> BTreeMap<String, Scalar> {
    let scalar = |(name, amount): (&String, &Quantity)| {
        let value = amount.to_f64() * factor;
        (name.clone(), Scalar { value, ..Default::default() })
    };
    amounts.iter().map(scalar).collect()
}

impl World {
    pub(crate) fn operator_idea(&mut self) {
        if self.healing {
            self.open_everything();
            return;
        }
        self.plan(500, 6_000, Happening::OperatorIdea);
        let policy = self.settings.policy.clone();
        let agent = self.random.index(self.agents.len());
        match self.random.below(10) {
            0..3 if policy.drains => self.change_participation(agent),
            3 if policy.drains => self.declare_gone(agent),
            4..7 if policy.maintenance => self.maintain(agent),
            7 if policy.weights => self.change_weights(),
            8..10 if policy.quota => self.change_quota(),
            _ => {}
        }
    }

    /// Machines come up at the end, or the cluster never comes to rest.
    fn open_everything(&mut self) {
        let hosts: Vec<usize> = self.operator.down.iter().copied().collect();
        for host in hosts {
            self.bring_up(host);
        }
        if !self.operator.down.is_empty() {
            self.plan(3_000, 5_000, Happening::OperatorIdea);
        }
    }

    fn ask_master(&mut self, call: Call, wish: Wish) {
        let Some(master) = self.asked_master() else { return };
        let request = RequestId(self.name());
        self.log.write(|| format!("    operator asks master {master}: {call:?}"));
        let mark = self.registry.mark();
        self.operator.pending.insert(request, Asked { master, mark, wish });
        self.statistics.operator_calls += 1;
        let event = Event::OperatorCall { request, call: Box::new(call), principal: None };
        self.feed_master(master, event);
    }

    /// Whom the operator asks: who leads, or who did.
    fn asked_master(&mut self) -> Option<usize> {
        let any = self.random.index(self.masters.len());
        let prefers_leader = self.random.chance(800);
        let answers = |master: &usize| {
            let host = &self.masters[*master];
            host.core.is_some() && host.paused_until.is_none()
        };
        let first = if prefers_leader { self.leader() } else { Some(any) };
        first.filter(answers).or_else(|| (0..self.masters.len()).find(answers))
    }

    pub(crate) fn operator_hears(
        &mut self,
        master: usize,
        request: RequestId,
        response: &Response,
    ) {
        let Some(asked) = self.operator.pending.remove(&request) else { return };
        let Asked { mark, wish, .. } = asked;
        if response.status() == 200 {
            self.check_done(master, mark, &wish);
        }
        // What somebody did who leads no more may be undone since.
        let is_done = response.status() == 200 && self.is_in_office(master);
        self.log.write(|| format!("    operator hears {response:?} to {wish:?}"));
        if is_done {
            self.statistics.operator_calls_done += 1;
        }
        match wish {
            // Asked for before it was to be taken back.
            Wish::Exclude { agent, .. } if self.operator.wants_back(&agent) => {}
            Wish::Exclude { agent, drain } if is_done => {
                self.operator.excluded.insert(agent.clone());
                if drain {
                    self.operator.drained.insert(agent);
                }
            }
            Wish::Schedule(hosts) if is_done => {
                self.operator.scheduled = hosts;
                self.operator.perhaps_scheduled.clear();
            }
            Wish::Up(host) => {
                // Refused if it was up already.
                self.operator.down.remove(&host);
                if is_done {
                    self.operator.scheduled.remove(&host);
                }
            }
            Wish::Quota { role, .. } => {
                let is_known = self.is_in_office(master);
                match self.operator.quota.get_mut(&role) {
                    Some(quota) if is_known => quota.hears(is_done),
                    Some(quota) => quota.loses_answer(),
                    None => {}
                }
            }
            Wish::Exclude { .. }
            | Wish::Include(_)
            | Wish::Gone(_)
            | Wish::Schedule(_)
            | Wish::Down(_)
            | Wish::Weights(_) => {}
        }
    }

    /// The id under which the master knows the agent on a host.
    fn agent_id(&mut self, host: usize) -> Option<AgentId> {
        let asked = self.asked_master()?;
        let snapshot = self.masters[asked].snapshot.as_ref()?;
        let view = snapshot.agents.values().find(|view| view.pid == self.agents[host].pid)?;
        Some((*view.info.id).clone())
    }

    fn change_participation(&mut self, host: usize) {
        let Some(agent_id) = self.agent_id(host) else { return };
        let id = agent_id.clone();
        match self.random.below(3) {
            0 => {
                let call = DeactivateAgent { agent_id, ..Default::default() };
                let call = Call {
                    r#type: Some(Type::DeactivateAgent),
                    deactivate_agent: Some(call),
                    ..Default::default()
                };
                self.ask_master(call, Wish::Exclude { agent: id, drain: false });
            }
            1 => {
                let seconds = i64::try_from(self.random.below(20)).unwrap_or(0);
                let grace =
                    protocol::google::Duration { seconds: Some(seconds), ..Default::default() };
                let drain = DrainAgent {
                    agent_id,
                    max_grace_period: Some(grace),
                    mark_gone: Some(self.random.chance(150)),
                    ..Default::default()
                };
                let call = Call {
                    r#type: Some(Type::DrainAgent),
                    drain_agent: Some(drain),
                    ..Default::default()
                };
                let wish = Wish::Exclude { agent: id.clone(), drain: true };
                if self.sabotaged(Sabotage::ForgetDrains) {
                    self.operator.drained.insert(id);
                    return;
                }
                self.ask_master(call, wish);
            }
            _ => {
                self.operator.excluded.remove(&id);
                self.operator.drained.remove(&id);
                let wish = Wish::Include(id);
                let call = ReactivateAgent { agent_id, ..Default::default() };
                let call = Call {
                    r#type: Some(Type::ReactivateAgent),
                    reactivate_agent: Some(call),
                    ..Default::default()
                };
                self.ask_master(call, wish);
            }
        }
    }

    fn declare_gone(&mut self, host: usize) {
        let Some(agent_id) = self.agent_id(host) else { return };
        let wish = Wish::Gone(agent_id.clone());
        let gone = MarkAgentGone { agent_id, ..Default::default() };
        let call = Call {
            r#type: Some(Type::MarkAgentGone),
            mark_agent_gone: Some(gone),
            ..Default::default()
        };
        self.statistics.fault("agent gone");
        self.ask_master(call, wish);
    }

    fn maintain(&mut self, host: usize) {
        match self.random.below(4) {
            0 | 1 => self.change_schedule(),
            2 => {
                self.operator.down.insert(host);
                // An agent that is shut down leaves the registry, and what was decided about it.
                if let Some(id) = self.agent_id(host) {
                    self.operator.excluded.remove(&id);
                    self.operator.drained.remove(&id);
                }
                let call = StartMaintenance { machines: vec![machine(host)], ..Default::default() };
                let call = Call {
                    r#type: Some(Type::StartMaintenance),
                    start_maintenance: Some(call),
                    ..Default::default()
                };
                self.ask_master(call, Wish::Down(host));
            }
            _ => self.bring_up(host),
        }
    }

    fn bring_up(&mut self, host: usize) {
        let call = StopMaintenance { machines: vec![machine(host)], ..Default::default() };
        let call = Call {
            r#type: Some(Type::StopMaintenance),
            stop_maintenance: Some(call),
            ..Default::default()
        };
        self.ask_master(call, Wish::Up(host));
    }

    fn change_schedule(&mut self) {
        let hosts: BTreeSet<usize> =
            (0..self.agents.len()).filter(|_| self.random.chance(500)).collect();
        let mut windows = Vec::new();
        for host in &hosts {
            let start = self.now + self.random.millis(0, 60_000);
            let hour = DurationInfo { nanoseconds: 3_600_000_000_000, ..Default::default() };
            let unavailability = Unavailability {
                start: TimeInfo { nanoseconds: start.as_nanos(), ..Default::default() },
                duration: Some(hour),
                ..Default::default()
            };
            let machine_ids = vec![machine(*host)];
            windows.push(Window { machine_ids, unavailability, ..Default::default() });
        }
        let schedule = Schedule { windows, ..Default::default() };
        let update = UpdateMaintenanceSchedule { schedule, ..Default::default() };
        let call = Call {
            r#type: Some(Type::UpdateMaintenanceSchedule),
            update_maintenance_schedule: Some(update),
            ..Default::default()
        };
        self.operator.perhaps_scheduled.extend(&hosts);
        self.ask_master(call, Wish::Schedule(hosts));
    }

    fn change_weights(&mut self) {
        let mut weight_infos = Vec::new();
        let mut weights = BTreeMap::new();
        for role in ROLES {
            if self.random.chance(500) {
                let weight = [0.5, 1.0, 2.0, 5.0][self.random.index(4)];
                weights.insert(role.to_owned(), weight);
                let role = Some(role.to_owned());
                weight_infos.push(WeightInfo { role, weight, ..Default::default() });
            }
        }
        if weight_infos.is_empty() {
            return;
        }
        let update = UpdateWeights { weight_infos, ..Default::default() };
        let call = Call {
            r#type: Some(Type::UpdateWeights),
            update_weights: Some(update),
            ..Default::default()
        };
        self.ask_master(call, Wish::Weights(weights));
    }

    fn change_quota(&mut self) {
        let role = ROLES[self.random.index(2)].to_owned();
        let limits = amounts(&mut self.random);
        let guarantees: BTreeMap<String, Quantity> = amounts(&mut self.random)
            .into_iter()
            .filter(|(name, amount)| limits.get(name).is_none_or(|limit| amount <= limit))
            .collect();
        let raised = if self.sabotaged(Sabotage::RaiseLimits) { 50.0 } else { 1.0 };
        let forgotten = self.sabotaged(Sabotage::ForgetGuarantees);
        let config = QuotaConfig {
            role: role.clone(),
            guarantees: if forgotten { BTreeMap::new() } else { wire(&guarantees, 1.0) },
            limits: wire(&limits, raised),
            ..Default::default()
        };
        let wish = Wish::Quota {
            role: role.clone(),
            guarantees: config.guarantees.clone(),
            limits: config.limits.clone(),
        };
        let update = UpdateQuota {
            force: Some(self.random.chance(800)),
            quota_configs: vec![config],
            ..Default::default()
        };
        let call = Call {
            r#type: Some(Type::UpdateQuota),
            update_quota: Some(update),
            ..Default::default()
        };
        let is_asked = self.asked_master().is_some();
        let quota = self.operator.quota.entry(role).or_default();
        if quota.is_asked() || !is_asked {
            return;
        }
        quota.asks(guarantees, limits);
        self.ask_master(call, wish);
    }
}
