//! Maintenance: which machines will be away when, and which are down now (Mesos'
//! `src/master/maintenance.cpp`, `docs/maintenance.md`).
//!
//! A machine is UP, or in the schedule: DRAINING until an operator starts the maintenance, DOWN until
//! an operator stops it.

mod inverse_offer;
mod validation;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::Ipv4Addr;
use std::sync::Arc;
use std::time::Duration;

use protocol::allocator::InverseOfferStatus;
use protocol::maintenance::cluster_status::DrainingMachine;
use protocol::maintenance::{ClusterStatus, Schedule};
use protocol::master;
use protocol::master::call::Type;
use protocol::mesos::{AgentId, MachineId, Unavailability};
use protocol::time::Timestamp;

use crate::Master;
use crate::agent::Agent;
use crate::agent::registration::agent_profile;
use crate::durable::{AfterWrite, Replacement};
use crate::effect::{Effect, Response};
use crate::event::RequestId;
use crate::registry::{machine_down_change, machine_down_deletion, schedule_change};
use crate::view::MaintenanceView;
use inverse_offer::InverseOffers;

pub(crate) use validation::readable;

/// How many calls may wait while another change of the schedule is being written.
const WAITING_CALLS_MAX: usize = 1000;

/// What agents are told when their machine goes down.
const DOWN: &str = "Operator initiated 'Machine DOWN'";

/// A machine as machines are compared: host names without regard to case, empty parts left out.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Machine {
    hostname: Option<String>,
    ip: Option<String>,
}

impl Machine {
    pub(crate) fn new(id: &MachineId) -> Self {
        let some = |text: &Option<String>| text.clone().filter(|text| !text.is_empty());
        Self { hostname: some(&id.hostname).map(|it| it.to_ascii_lowercase()), ip: some(&id.ip) }
    }

    fn of_agent(hostname: &str, ip: Ipv4Addr) -> Self {
        Self { hostname: Some(hostname.to_ascii_lowercase()), ip: Some(ip.to_string()) }
    }

    /// The name under which the registry keeps that it is down.
    pub(crate) fn key(&self) -> String {
        let text = |part: &Option<String>| part.clone().unwrap_or_default();
        format!("{}/{}", text(&self.hostname), text(&self.ip))
    }
}

/// A machine in the schedule.
#[derive(Clone, Debug)]
struct Planned {
    /// As the operator wrote it.
    id: MachineId,
    unavailability: Arc<Unavailability>,
    down: bool,
}

/// The schedule, and what waits for it to be written.
#[derive(Debug, Default)]
pub(crate) struct Maintenance {
    schedule: Schedule,
    machines: BTreeMap<Machine, Planned>,
    /// Whether a change is being written.
    writing: bool,
    waiting: VecDeque<(RequestId, Box<master::Call>)>,
    pub(crate) inverse_offers: InverseOffers,
}

/// A change that is written.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Change {
    /// Another schedule.
    Schedule(Box<Schedule>),
    /// These machines are down.
    Down(Vec<MachineId>),
    /// These machines are up again and out of the schedule, which is now this.
    Up(Vec<MachineId>, Box<Schedule>),
}

impl Maintenance {
    /// What the registry says.
    pub(crate) fn recover(schedule: Schedule, down: &[MachineId]) -> Self {
        let mut maintenance = Self::default();
        maintenance.set_schedule(schedule);
        for id in down {
            if let Some(planned) = maintenance.machines.get_mut(&Machine::new(id)) {
                planned.down = true;
            }
        }
        maintenance
    }

    fn set_schedule(&mut self, schedule: Schedule) {
        let mut machines = BTreeMap::new();
        for window in &schedule.windows {
            for id in &window.machine_ids {
                let machine = Machine::new(id);
                let down = self.machines.get(&machine).is_some_and(|planned| planned.down);
                let unavailability = Arc::new(window.unavailability.clone());
                machines.insert(machine, Planned { id: id.clone(), unavailability, down });
            }
        }
        self.machines = machines;
        self.schedule = schedule;
    }

    fn planned(&self, hostname: &str, ip: Ipv4Addr) -> Option<&Planned> {
        if self.machines.is_empty() {
            return None;
        }
        self.machines.get(&Machine::of_agent(hostname, ip))
    }

    fn planned_for(&self, agent: &Agent) -> Option<&Planned> {
        self.planned(&agent.info.hostname, *agent.pid.address.ip())
    }

    /// Whether agents of this host may not register.
    pub(crate) fn is_host_down(&self, hostname: &str, ip: Ipv4Addr) -> bool {
        self.planned(hostname, ip).is_some_and(|planned| planned.down)
    }

    /// Whether the agent's machine is down.
    pub(crate) fn is_down(&self, agent: &Agent) -> bool {
        self.planned_for(agent).is_some_and(|planned| planned.down)
    }

    /// The agent's machine as the schedule names it, if it does.
    pub(crate) fn scheduled_machine(&self, agent: &Agent) -> Option<&MachineId> {
        self.planned_for(agent).map(|planned| &planned.id)
    }

    /// When the agent's machine will be away.
    pub(crate) fn unavailability(&self, agent: &Agent) -> Option<Arc<Unavailability>> {
        self.planned_for(agent).map(|planned| Arc::clone(&planned.unavailability))
    }

    /// The schedule without the machines that come up again; windows without machines go too.
    fn schedule_without(&self, ids: &[MachineId]) -> Schedule {
        let up: BTreeSet<Machine> = ids.iter().map(Machine::new).collect();
        let mut schedule = self.schedule.clone();
        for window in &mut schedule.windows {
            window.machine_ids.retain(|id| !up.contains(&Machine::new(id)));
        }
        schedule.windows.retain(|window| !window.machine_ids.is_empty());
        schedule
    }
}

/// A planned absence as the allocator understands it.
pub(crate) fn planned_absence(unavailability: &Unavailability) -> allocator::Unavailability {
    let duration = unavailability.duration.as_ref().map(|duration| duration.nanoseconds);
    allocator::Unavailability {
        start: Timestamp::from_nanos(unavailability.start.nanoseconds),
        duration: duration
            .and_then(|nanoseconds| u64::try_from(nanoseconds).ok())
            .map(Duration::from_nanos),
    }
}

impl Master {
    /// `UPDATE_MAINTENANCE_SCHEDULE`, `START_MAINTENANCE` or `STOP_MAINTENANCE`. One after the other: a
    /// change is validated against what the one before made.
    pub(crate) fn maintenance_call(&mut self, request: RequestId, call: master::Call) {
        if self.maintenance.writing {
            if self.maintenance.waiting.len() < WAITING_CALLS_MAX {
                self.maintenance.waiting.push_back((request, Box::new(call)));
            } else {
                let response = Response::ServiceUnavailable(
                    "Too many changes of the maintenance schedule are under way".to_owned(),
                );
                self.effects.push(Effect::Respond { request, response });
            }
            return;
        }
        let change = match call.r#type {
            Some(Type::UpdateMaintenanceSchedule) => self.schedule_asked(call),
            Some(Type::StartMaintenance) => {
                let machines = call.start_maintenance.map(|call| call.machines);
                self.machines_down_asked(machines.unwrap_or_default())
            }
            Some(_) | None => {
                let machines = call.stop_maintenance.map(|call| call.machines);
                self.machines_up_asked(machines.unwrap_or_default())
            }
        };
        match change {
            Ok(change) => self.write_maintenance(request, change),
            Err(error) => {
                let response = Response::BadRequest(error);
                self.effects.push(Effect::Respond { request, response });
            }
        }
    }

    fn schedule_asked(&self, call: master::Call) -> Result<Change, String> {
        let schedule = call.update_maintenance_schedule.map(|call| call.schedule);
        let schedule = schedule.unwrap_or_default();
        let machines = validation::schedule(&schedule)?;
        let removed = self
            .maintenance
            .machines
            .iter()
            .find(|(machine, planned)| planned.down && !machines.contains(machine));
        if let Some((_, planned)) = removed {
            let machine = validation::json(&planned.id);
            return Err(format!(
                "Machine '{machine}' is deactivated and cannot be removed from the schedule"
            ));
        }
        Ok(Change::Schedule(Box::new(schedule)))
    }

    fn machines_down_asked(&self, ids: Vec<MachineId>) -> Result<Change, String> {
        validation::machines(&ids)?;
        for id in &ids {
            if self.known_machine(id)?.is_none_or(|planned| planned.down) {
                let machine = validation::json(id);
                return Err(format!(
                    "Machine '{machine}' is not in DRAINING mode and cannot be brought down"
                ));
            }
        }
        Ok(Change::Down(ids))
    }

    fn machines_up_asked(&self, ids: Vec<MachineId>) -> Result<Change, String> {
        validation::machines(&ids)?;
        for id in &ids {
            if self.known_machine(id)?.is_none_or(|planned| !planned.down) {
                let machine = validation::json(id);
                return Err(format!(
                    "Machine '{machine}' is not in DOWN mode and cannot be brought up"
                ));
            }
        }
        let schedule = Box::new(self.maintenance.schedule_without(&ids));
        Ok(Change::Up(ids, schedule))
    }

    /// What is planned for a machine; nothing for one that is UP with an agent on it. Any other is not
    /// known.
    fn known_machine(&self, id: &MachineId) -> Result<Option<&Planned>, String> {
        let machine = Machine::new(id);
        if let Some(planned) = self.maintenance.machines.get(&machine) {
            return Ok(Some(planned));
        }
        let has_agent = self.agents.registered.values().any(|agent| {
            Machine::of_agent(&agent.info.hostname, *agent.pid.address.ip()) == machine
        });
        if has_agent {
            return Ok(None);
        }
        Err(format!("Machine '{}' is not part of a maintenance schedule", validation::json(id)))
    }

    fn write_maintenance(&mut self, request: RequestId, change: Change) {
        let changes = match &change {
            Change::Schedule(schedule) => vec![schedule_change(schedule)],
            Change::Down(ids) => ids.iter().map(machine_down_change).collect(),
            Change::Up(ids, schedule) => {
                let deletions = ids.iter().map(machine_down_deletion);
                deletions.chain([schedule_change(schedule)]).collect()
            }
        };
        self.maintenance.writing = true;
        self.persist(changes, AfterWrite::Maintenance { change, request });
    }

    /// The registry says what an operator planned.
    pub(crate) fn maintenance_written(&mut self, change: Change, request: RequestId) {
        self.maintenance.writing = false;
        match change {
            Change::Schedule(schedule) => {
                self.maintenance.set_schedule(*schedule);
                self.unavailability_changed();
            }
            Change::Down(ids) => {
                for id in &ids {
                    if let Some(planned) = self.maintenance.machines.get_mut(&Machine::new(id)) {
                        planned.down = true;
                    }
                }
                let agents = self.agents.registered.values();
                let down = agents.filter(|agent| self.maintenance.is_down(agent));
                self.agents.unsettled.extend(down.map(|agent| (*agent.id).clone()));
            }
            Change::Up(_, schedule) => {
                self.maintenance.set_schedule(*schedule);
                self.unavailability_changed();
            }
        }
        self.views.touch_maintenance();
        self.effects.push(Effect::Respond { request, response: Response::Ok });
        while !self.maintenance.writing
            && let Some((request, call)) = self.maintenance.waiting.pop_front()
        {
            self.maintenance_call(request, *call);
        }
    }

    /// Offers of agents whose plans changed are taken back, so that frameworks learn of the change.
    fn unavailability_changed(&mut self) {
        let changed: Vec<(Arc<AgentId>, Option<Arc<Unavailability>>)> = self
            .agents
            .registered
            .values()
            .map(|agent| (agent, self.maintenance.unavailability(agent)))
            .filter(|(agent, new)| agent.unavailability != *new)
            .map(|(agent, new)| (agent.id.clone(), new))
            .collect();
        for (id, unavailability) in changed {
            let Some(agent) = self.agent_mut(&id) else {
                continue;
            };
            agent.unavailability = unavailability;
            let profile = agent_profile(agent);
            let offers: Vec<_> = agent.offers.keys().cloned().collect();
            self.void_inverse_offers(&id);
            self.allocator.update_agent(&id, profile);
            for offer in offers {
                self.rescind_offer(&offer);
            }
        }
    }

    /// Takes an agent out whose machine is down.
    pub(crate) fn remove_agent_of_machine(&mut self, id: &AgentId) {
        let Some(agent) = self.agents.registered.get(id) else {
            return;
        };
        let pid = agent.pid.clone();
        // The message may get lost: the frameworks are told all the same.
        self.shut_down_agent(&pid, DOWN);
        self.remove_agent(id, DOWN, None, Replacement::None);
    }

    /// What readers see of it.
    pub(crate) fn maintenance_view(&self) -> Arc<MaintenanceView> {
        let mut status = ClusterStatus::default();
        let mut answers: BTreeMap<&Machine, Vec<InverseOfferStatus>> = BTreeMap::new();
        let concerned = self.agents.registered.values().filter(|it| it.unavailability.is_some());
        for agent in concerned {
            let machine = Machine::of_agent(&agent.info.hostname, *agent.pid.address.ip());
            if let Some((machine, _)) = self.maintenance.machines.get_key_value(&machine) {
                answers.entry(machine).or_default().extend(self.inverse_offer_statuses(agent));
            }
        }
        for (machine, planned) in &self.maintenance.machines {
            if planned.down {
                status.down_machines.push(planned.id.clone());
            } else {
                let id = planned.id.clone();
                let statuses = answers.remove(machine).unwrap_or_default();
                let draining = DrainingMachine { id, statuses, ..Default::default() };
                status.draining_machines.push(draining);
            }
        }
        Arc::new(MaintenanceView { schedule: self.maintenance.schedule.clone(), status })
    }
}
