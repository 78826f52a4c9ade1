//! The simulated agents: they register, answer pings, and run tasks that do nothing for a while.

use std::collections::{HashMap, VecDeque};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use protocol::internal::{PongSlaveMessage, RunTaskMessage};
use protocol::mesos;
use protocol::messages::{AgentToMaster, MasterToAgent};
use protocol::pid::Pid;

use super::Engine;
use super::messages::{self, Update};
use crate::ledger::{ENDED, STARTED};
use crate::timers::{Moment, Timer};

/// The first wait for an answer to a registration. Masters that are busy with thousands of agents
/// take their time, and a repetition is more work for them.
const REGISTRATION_RETRY_MIN: Duration = Duration::from_secs(15);
const REGISTRATION_RETRY_MAX: Duration = Duration::from_secs(120);

/// The waits of Mesos' agents for an acknowledgement.
const STATUS_RETRY_MIN: Duration = Duration::from_secs(10);
const STATUS_RETRY_MAX: Duration = Duration::from_secs(600);

/// How far an agent's registration is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Phase {
    /// Not registered, and not trying.
    Idle,
    /// In the queue of those that are to register.
    Queued,
    /// Has asked and waits for the answer.
    Registering,
    Registered,
}

#[derive(Debug)]
struct Agent {
    phase: Phase,
    /// What the master calls it, once it has registered.
    id: Option<mesos::AgentId>,
    /// The tasks whose ends are not acknowledged.
    tasks: Vec<u64>,
}

/// All agents.
#[derive(Debug)]
pub(crate) struct Fleet {
    agents: Vec<Agent>,
    by_id: HashMap<String, u32>,
    queue: VecDeque<u32>,
    registering: u32,
    registered: u32,
    /// When each of the latest registrations was confirmed.
    pub(crate) last_registration: Moment,
}

impl Fleet {
    pub(super) fn new(count: u32) -> Self {
        let agent = |_| Agent { phase: Phase::Idle, id: None, tasks: Vec::new() };
        Self {
            agents: (0..count).map(agent).collect(),
            by_id: HashMap::new(),
            queue: VecDeque::new(),
            registering: 0,
            registered: 0,
            last_registration: Moment::ZERO,
        }
    }

    pub(crate) fn count(&self) -> u32 {
        u32::try_from(self.agents.len()).unwrap_or(u32::MAX)
    }

    pub(crate) fn registered(&self) -> u32 {
        self.registered
    }

    /// The agent that an offer is of. The offer may come before the agent knows its own id, and then
    /// the host tells.
    pub(super) fn offered(&self, offer: &mesos::Offer) -> Option<u32> {
        let known = self.by_id.get(&offer.agent_id.value).copied();
        let agent = known.or_else(|| messages::agent_on(&offer.hostname))?;
        (agent < self.count()).then_some(agent)
    }

    pub(super) fn id(&self, agent: u32) -> Option<&mesos::AgentId> {
        self.agents.get(agent as usize)?.id.as_ref()
    }

    fn get(&mut self, agent: u32) -> Option<&mut Agent> {
        self.agents.get_mut(agent as usize)
    }

    fn forget_task(&mut self, agent: u32, task: u64) {
        if let Some(agent) = self.get(agent)
            && let Some(place) = agent.tasks.iter().position(|number| *number == task)
        {
            agent.tasks.swap_remove(place);
        }
    }

    fn set_phase(&mut self, agent: u32, phase: Phase) {
        let Some(agent) = self.agents.get_mut(agent as usize) else { return };
        match agent.phase {
            Phase::Registering => self.registering -= 1,
            Phase::Registered => self.registered -= 1,
            Phase::Idle | Phase::Queued => {}
        }
        match phase {
            Phase::Registering => self.registering += 1,
            Phase::Registered => self.registered += 1,
            Phase::Idle | Phase::Queued => {}
        }
        agent.phase = phase;
    }
}

fn actor(agent: u32) -> String {
    // Mesos' own agents are called slave(1).
    format!("slave({})", agent + 1)
}

fn agent_of(actor: &str) -> Option<u32> {
    let number: u32 = actor.strip_prefix("slave(")?.strip_suffix(')')?.parse().ok()?;
    number.checked_sub(1)
}

fn time_of_day() -> f64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs_f64()
}

impl Engine {
    /// Lets all agents register, a window of them at a time.
    pub(crate) fn register_all(&mut self) {
        self.node.link(&self.master);
        for agent in 0..self.fleet.count() {
            self.fleet.set_phase(agent, Phase::Queued);
        }
        self.fleet.queue = (0..self.fleet.count()).collect();
    }

    /// All agents know that the master is gone.
    pub(crate) fn disconnect_all(&mut self) {
        self.fleet.queue.clear();
        for agent in 0..self.fleet.count() {
            self.fleet.set_phase(agent, Phase::Idle);
        }
    }

    pub(super) fn register_more(&mut self, now: Moment) {
        while self.fleet.registering < self.settings.common.register_window
            && let Some(agent) = self.fleet.queue.pop_front()
        {
            self.fleet.set_phase(agent, Phase::Registering);
            self.send_registration(now, agent, 0);
        }
    }

    pub(super) fn retry_registration(&mut self, now: Moment, agent: u32, attempt: u16) {
        let phase = self.fleet.get(agent).map(|agent| agent.phase);
        if phase == Some(Phase::Registering) {
            tracing::debug!(agent, attempt, "asking again to be registered");
            self.node.link(&self.master);
            self.send_registration(now, agent, attempt);
        }
    }

    fn send_registration(&mut self, now: Moment, agent: u32, attempt: u16) {
        let id = self.fleet.id(agent).cloned();
        let port = self.node.address().port();
        let info = messages::agent_info(agent, port, self.settings.agent, id.clone());
        let message: AgentToMaster = match id {
            None => messages::register(agent, info).into(),
            Some(id) => {
                let (tasks, frameworks) = self.running(agent, &id);
                messages::reregister(agent, info, tasks, frameworks).into()
            }
        };
        self.send_to_master(agent, &message);
        let wait = (REGISTRATION_RETRY_MIN * 2_u32.pow(u32::from(attempt.min(8))))
            .min(REGISTRATION_RETRY_MAX);
        self.timers.set(now + wait, Timer::Registration { agent, attempt: attempt + 1 });
    }

    /// The tasks of an agent and the frameworks they belong to.
    fn running(
        &self,
        agent: u32,
        agent_id: &mesos::AgentId,
    ) -> (Vec<mesos::Task>, Vec<mesos::FrameworkInfo>) {
        let mut tasks = Vec::new();
        let mut owners = Vec::new();
        let numbers = self.fleet.agents.get(agent as usize).map(|agent| &agent.tasks);
        for number in numbers.into_iter().flatten() {
            let Some(task) = self.ledger.task(*number) else { continue };
            let Some(framework) = self.frameworks.get(task.framework as usize) else { continue };
            let Some(framework_id) = &framework.id else { continue };
            let update = Update {
                task: *number,
                sequence: STARTED,
                framework_id,
                agent_id,
                agent_pid: "",
                seed: self.settings.common.seed,
                timestamp: time_of_day(),
            };
            tasks.push(messages::running_task(
                &update,
                self.settings.task,
                &framework.resource_role(&self.settings),
            ));
            if !owners.contains(&task.framework) {
                owners.push(task.framework);
            }
        }
        let frameworks = owners
            .into_iter()
            .filter_map(|owner| self.frameworks.get(owner as usize))
            .map(|framework| framework.info(&self.settings))
            .collect();
        (tasks, frameworks)
    }

    fn send_to_master(&self, agent: u32, message: &AgentToMaster) {
        self.node.send(&actor(agent), &self.master, message.name(), message.encode());
    }

    pub(super) fn agent_message(
        &mut self,
        now: Moment,
        from: &Pid,
        actor_name: &str,
        name: &str,
        body: &[u8],
    ) {
        let known = agent_of(actor_name).filter(|agent| *agent < self.fleet.count());
        let Some(agent) = known else {
            self.ledger.violations.add(format!("a message to {actor_name}, who is not simulated"));
            return;
        };
        let message = match MasterToAgent::decode(name, body) {
            Some(Ok(message)) => message,
            Some(Err(error)) => {
                self.ledger.violations.add(format!("agent {agent} cannot read {name}: {error}"));
                return;
            }
            // Real agents ignore messages they do not know.
            None => return,
        };
        match message {
            MasterToAgent::SlaveRegistered(message) => {
                self.agent_registered(now, agent, message.slave_id);
            }
            MasterToAgent::SlaveReregistered(message) => {
                self.agent_registered(now, agent, message.slave_id);
            }
            MasterToAgent::PingSlave(ping) => self.pinged(agent, from, ping.connected),
            MasterToAgent::RunTask(message) => self.run_task(now, agent, &message),
            MasterToAgent::StatusUpdateAcknowledgement(message) => {
                self.status_acknowledged(now, agent, &message.uuid);
            }
            MasterToAgent::Shutdown(message) => {
                let reason = message.message.unwrap_or_default();
                self.ledger
                    .violations
                    .add(format!("agent {agent} was told to shut down: {reason}"));
            }
            MasterToAgent::RunTaskGroup(_)
            | MasterToAgent::KillTask(_)
            | MasterToAgent::ApplyOperation(_)
            | MasterToAgent::AuthenticationError(_) => {
                self.ledger.violations.add(format!("agent {agent} got an unexpected {name}"));
            }
            // Nothing that a simulated agent has could change by these.
            MasterToAgent::ShutdownExecutor(_)
            | MasterToAgent::ShutdownFramework(_)
            | MasterToAgent::FrameworkToExecutor(_)
            | MasterToAgent::UpdateFramework(_)
            | MasterToAgent::CheckpointResources(_)
            | MasterToAgent::ReconcileOperations(_)
            | MasterToAgent::AcknowledgeOperationStatus(_)
            | MasterToAgent::DrainSlave(_) => {}
        }
    }

    fn agent_registered(&mut self, now: Moment, agent: u32, id: mesos::AgentId) {
        let Some(known) = self.fleet.get(agent) else { return };
        if let Some(own) = &known.id
            && *own != id
        {
            let (own, new) = (own.value.clone(), id.value);
            self.ledger
                .violations
                .add(format!("agent {agent} is {own} and was registered as {new}"));
            return;
        }
        if known.phase != Phase::Registering {
            return;
        }
        if known.id.is_none() {
            known.id = Some(id.clone());
            if let Some(other) = self.fleet.by_id.insert(id.value.clone(), agent) {
                let id = &id.value;
                self.ledger.violations.add(format!("agents {other} and {agent} are both {id}"));
            }
        }
        self.fleet.set_phase(agent, Phase::Registered);
        self.fleet.last_registration = now;
        let update = messages::update_agent(agent, id);
        self.send_to_master(agent, &update.into());
    }

    fn pinged(&mut self, agent: u32, from: &Pid, is_connected: bool) {
        self.counters.pings += 1;
        let pong = AgentToMaster::PongSlave(PongSlaveMessage::default());
        self.node.send(&actor(agent), from, pong.name(), pong.encode());
        let is_registered = self.fleet.get(agent).is_some_and(|it| it.phase == Phase::Registered);
        if !is_connected && is_registered {
            self.fleet.set_phase(agent, Phase::Queued);
            self.fleet.queue.push_back(agent);
        }
    }

    fn run_task(&mut self, now: Moment, agent: u32, message: &RunTaskMessage) {
        let id = &message.task.task_id;
        let Some(number) = messages::task_number(id) else {
            let id = &id.value;
            self.ledger.violations.add(format!("agent {agent} was told to run the unknown {id}"));
            return;
        };
        if !self.ledger.started(agent, number) {
            return;
        }
        if let Some(agent) = self.fleet.get(agent) {
            agent.tasks.push(number);
        }
        self.send_status(now, number, STARTED, 1);
        if self.hurrying.is_some() {
            self.timers.set(now, Timer::TaskEnds { task: number });
        } else if let Some(life) = self.settings.life {
            let time = if self.is_filling {
                life.draw_rest(&mut self.random)
            } else {
                life.draw(&mut self.random)
            };
            self.timers.set(now.saturating_add(time), Timer::TaskEnds { task: number });
        }
    }

    pub(super) fn task_worked(&mut self, now: Moment, task: u64) {
        if self.ledger.worked(task) {
            self.send_status(now, task, ENDED, 1);
        }
    }

    fn status_acknowledged(&mut self, now: Moment, agent: u32, uuid: &[u8]) {
        let Some((task, sequence)) = messages::update_of(uuid) else {
            self.ledger.violations.add(format!("agent {agent} got an acknowledgement of nothing"));
            return;
        };
        if self.ledger.acknowledged(task, sequence) {
            self.send_status(now, task, ENDED, 1);
        } else if sequence == ENDED {
            self.fleet.forget_task(agent, task);
        }
    }

    pub(super) fn retry_status(&mut self, now: Moment, task: u64, sequence: u8, attempt: u16) {
        if self.ledger.awaits(task, sequence) {
            self.ledger.repeated(task);
            self.counters.repeated_updates += 1;
            self.send_status(now, task, sequence, attempt);
        }
    }

    fn send_status(&mut self, now: Moment, number: u64, sequence: u8, attempt: u16) {
        let Some(task) = self.ledger.task(number) else { return };
        let agent = task.agent;
        let framework = self.frameworks.get(task.framework as usize);
        let framework_id = framework.and_then(|framework| framework.id.as_ref());
        let (Some(framework_id), Some(agent_id)) = (framework_id, self.fleet.id(agent)) else {
            return;
        };
        let update = Update {
            task: number,
            sequence,
            framework_id,
            agent_id,
            agent_pid: &format!("{}@{}", actor(agent), self.node.address()),
            seed: self.settings.common.seed,
            timestamp: time_of_day(),
        };
        let message = messages::status_update(&update);
        self.send_to_master(agent, &message.into());
        let doublings = u32::from(attempt.saturating_sub(1).min(8));
        let wait = (STATUS_RETRY_MIN * 2_u32.pow(doublings)).min(STATUS_RETRY_MAX);
        let retry = Timer::StatusRetry { task: number, sequence, attempt: attempt + 1 };
        self.timers.set(now + wait, retry);
    }

    /// Ends all tasks as soon as their frameworks know that they run, a window of them at a time.
    pub(crate) fn hurry(&mut self) {
        self.hurrying = Some(self.ledger.numbers().into());
    }

    pub(super) fn hurry_more(&mut self, now: Moment) {
        while self.ledger.ending() < self.settings.common.launch_window
            && let Some(task) = self.hurrying.as_mut().and_then(VecDeque::pop_front)
        {
            self.task_worked(now, task);
        }
    }

    /// All agents leave for good.
    pub(crate) fn unregister_all(&mut self) {
        for agent in 0..self.fleet.count() {
            if let Some(slave_id) = self.fleet.id(agent).cloned() {
                let message =
                    protocol::internal::UnregisterSlaveMessage { slave_id, ..Default::default() };
                self.send_to_master(agent, &message.into());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn actors_are_named_as_mesos_names_them() {
        assert_eq!(actor(0), "slave(1)");
        assert_eq!(agent_of("slave(50000)"), Some(49_999));
        for wrong in ["slave(0)", "slave(x)", "master", "slave(1"] {
            assert_eq!(agent_of(wrong), None, "{wrong}");
        }
    }
}
