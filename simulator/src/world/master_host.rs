//! The master's process: what it is told, and what becomes of its effects.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{Ipv4Addr, SocketAddrV4};
use std::sync::Arc;

use master::registry::AgentStanding;
use master::{Config, ConnectionId, Effect, Event, Master, RequestId, Snapshot};
use protocol::mesos::{TaskId, TaskState, task_status};
use protocol::messages::MasterToAgent;
use protocol::pid::Pid;
use protocol::time::Timestamp;
use protocol::{internal, scheduler};

use crate::happening::{Happening, SchedulerEvent};
use crate::settings::Sabotage;
use crate::world::World;
use crate::world::registry::Registry;
use crate::world::scheduler::Stream;
use crate::world::wire::{Break, REMAINS};

/// No timer of a master makes more work than this at one moment.
const EXPIRIES_MAX: usize = 1_000;

/// The master's host.
#[derive(Debug)]
pub(crate) struct MasterHost {
    /// Counts processes.
    pub(crate) life: u32,
    /// The process, while it runs.
    pub(crate) core: Option<Master>,
    pub(crate) pid: Pid,
    pub(crate) linked: BTreeSet<Pid>,
    pub(crate) streams: BTreeMap<ConnectionId, Stream>,
    pub(crate) requests: BTreeMap<RequestId, Request>,
    pub(crate) registry: Registry,
    /// What it said last, to find what changed.
    pub(crate) snapshot: Option<Arc<Snapshot>>,
    wake: Option<Timestamp>,
}

/// A call that waits for its answer.
#[derive(Debug)]
pub(crate) struct Request {
    pub(crate) scheduler: usize,
    pub(crate) life: u32,
    pub(crate) attempt: u64,
    pub(crate) was_subscribe: bool,
    /// The tasks it was to launch.
    pub(crate) tasks: Vec<TaskId>,
}

impl MasterHost {
    pub(crate) fn new() -> Self {
        Self {
            life: 0,
            core: None,
            pid: pid(1),
            linked: BTreeSet::new(),
            streams: BTreeMap::new(),
            requests: BTreeMap::new(),
            registry: Registry::default(),
            snapshot: None,
            wake: None,
        }
    }
}

fn pid(host: u8) -> Pid {
    Pid::new("master", SocketAddrV4::new(Ipv4Addr::new(10, 0, 0, host), 5050))
}

impl World {
    pub(crate) fn start_master(&mut self) {
        if self.master.core.is_some() {
            return;
        }
        // Another master may have been standing by elsewhere.
        let host = if self.random.chance(500) { 1 } else { 2 };
        self.master.pid = pid(host);
        self.master.life += 1;
        let records = match self.master.registry.read() {
            Ok(records) => records,
            Err(error) => {
                self.violate(format!("a master cannot read the registry: {error}"));
                return;
            }
        };
        let mut config =
            Config::new(self.random.number(), self.master.pid.clone(), format!("master-{host}"));
        config.agent_ping_timeout = self.settings.ping_timeout;
        config.max_agent_ping_timeouts = self.settings.ping_timeouts_max;
        config.agent_reregister_timeout = self.settings.reregister_timeout;
        config.offer_timeout = self.settings.offer_timeout;
        config.role_sorter = self.settings.policy.role_sorter;
        config.framework_sorter = self.settings.policy.framework_sorter;
        config.agent_removal_interval = self.settings.policy.removal_interval;
        config.recovery_agent_removal_limit = self.settings.policy.recovery_removal_limit;
        let (core, effects) = Master::new(self.now, config, records);
        self.master.core = Some(core);
        self.perform_master(effects);
        self.expire_master();
        for agent in 0..self.agents.len() {
            let life = self.agents[agent].life;
            self.plan(0, 2_000, Happening::Detect { agent, life });
        }
    }

    /// The master's process dies.
    pub(crate) fn crash_master(&mut self, low: u64, high: u64) {
        if self.master.core.take().is_none() {
            return;
        }
        // What was on its way to the store arrives in part.
        let survivors = self.random.index(self.master.registry.pending.len() + 1);
        let pending: Vec<_> = self.master.registry.pending.drain(..).collect();
        for (_, changes) in pending.into_iter().take(survivors) {
            self.master.registry.apply(changes);
        }
        self.master.life += 1;
        self.master.linked.clear();
        self.master.requests.clear();
        self.operator.master_died();
        self.master.streams.clear();
        self.master.snapshot = None;
        self.master.wake = None;
        for agent in 0..self.agents.len() {
            self.break_connections(agent, Break::MasterDied);
        }
        for scheduler in 0..self.schedulers.len() {
            let cut = self.now + self.random.millis(0, REMAINS);
            self.break_scheduler(scheduler, cut);
        }
        self.plan(low.max(REMAINS + 100), high.max(REMAINS + 100), Happening::MasterStart);
    }

    pub(crate) fn feed_master(&mut self, event: Event) {
        let Some(core) = &mut self.master.core else { return };
        let effects = core.handle(self.now, event);
        self.perform_master(effects);
        self.expire_master();
    }

    pub(crate) fn master_wakes(&mut self, life: u32) {
        // A later wake-up was called off by an earlier one, and comes all the same.
        let is_due = self.master.wake.is_some_and(|wake| wake <= self.now);
        if self.master.life == life && is_due {
            self.master.wake = None;
            self.expire_master();
        }
    }

    fn expire_master(&mut self) {
        for _ in 0..EXPIRIES_MAX {
            let Some(core) = &mut self.master.core else { return };
            let Some(due) = core.next_expiry() else { return };
            if due > self.now {
                if self.master.wake.is_none_or(|wake| wake > due) {
                    self.master.wake = Some(due);
                    let life = self.master.life;
                    self.schedule.add(due, Happening::MasterWake { life });
                }
                return;
            }
            let effects = core.expire(self.now);
            self.perform_master(effects);
        }
        self.violate("the master's timers fall due without end".to_owned());
    }

    fn perform_master(&mut self, effects: Vec<Effect>) {
        for effect in effects {
            if self.master.core.is_some() {
                self.perform_master_effect(effect);
            }
        }
    }

    fn perform_master_effect(&mut self, effect: Effect) {
        match effect {
            Effect::Persist { write, changes } => {
                self.master.registry.pending.push_back((write, changes));
                let slow = self.master.registry.slow_until > self.now && !self.healing;
                let delay =
                    if slow { self.random.millis(100, 5_000) } else { self.random.millis(0, 20) };
                let at = (self.now + delay).max(self.master.registry.last);
                self.master.registry.last = at;
                let life = self.master.life;
                self.schedule.add(at, Happening::RegistryWritten { life });
            }
            Effect::SendToAgent { to, message } => self.master_sends(&to, message),
            Effect::SendToScheduler { connection, event } => {
                let event = self.corrupted(event);
                self.check_told(&event);
                self.check_offered(connection, &event);
                if self.sabotage_event(connection, &event) {
                    return;
                }
                self.send_on_stream(connection, SchedulerEvent::Event(event));
            }
            Effect::SendToDriver { to, message } => {
                self.violate(format!("the master sends {} to {to}: no driver", message.name()));
            }
            Effect::SendAuthentication { to, message, .. } => {
                self.violate(format!("the master sends {} to {to}: nobody asked", message.name()));
            }
            Effect::Link { pid } => {
                let agent = self.agent_at(&pid);
                self.master.linked.insert(pid);
                if let Some(agent) = agent.filter(|agent| self.agents[*agent].core.is_none()) {
                    self.report_broken_link(agent);
                }
            }
            Effect::AcceptSubscription { request, connection, stream_id } => {
                if let Some(request) = self.master.requests.remove(&request) {
                    let Request { scheduler, life, attempt, .. } = request;
                    let stream = Stream { scheduler, life, attempt, is_broken: false };
                    self.master.streams.insert(connection, stream);
                    let accepted = SchedulerEvent::Accepted(stream_id.to_string());
                    self.send_on_stream(connection, accepted);
                }
            }
            Effect::CloseConnection { connection } => {
                self.send_on_stream(connection, SchedulerEvent::Closed);
                self.master.streams.remove(&connection);
            }
            // There are no operators.
            Effect::AcceptSubscriber { .. } | Effect::SendToSubscribers { .. } => {}
            Effect::Respond { request, response } => self.respond(request, &response),
            Effect::Abort { reason } if self.settings.policy.recovery_removal_limit < 1.0 => {
                self.statistics.fault("master gave up");
                self.log.write(|| format!("    the master gives up: {reason}"));
                self.crash_master(500, 8_000);
            }
            Effect::Abort { reason } => {
                self.violate(format!("the master gives up: {reason}"));
            }
        }
    }

    fn respond(&mut self, request: RequestId, response: &master::Response) {
        if self.operator.is_asking(request) {
            self.operator_hears(request, response);
            return;
        }
        let Some(request) = self.master.requests.remove(&request) else {
            self.violate("a request is answered twice".to_owned());
            return;
        };
        let status = response.status();
        if status == 200 || status == 202 {
            return;
        }
        let event = SchedulerEvent::Refused {
            status,
            text: format!("{response:?}"),
            tasks: request.tasks,
            was_subscribe: request.was_subscribe,
        };
        self.send_to_scheduler(request.scheduler, request.life, request.attempt, event);
    }

    fn master_sends(&mut self, to: &Pid, message: Box<MasterToAgent>) {
        let Some(agent) = self.agent_at(to) else {
            self.violate(format!("the master sends {} to {to}: nobody", message.name()));
            return;
        };
        self.check_sent_to_agent(agent, &message);
        if self.sabotaged(Sabotage::ForgetOperations)
            && matches!(*message, MasterToAgent::ApplyOperation(_))
        {
            return;
        }
        if matches!(*message, MasterToAgent::Shutdown(_)) {
            self.ledger.shut_down.insert(agent);
        }
        let copy = self.sabotaged(Sabotage::LaunchTwice).then(|| renamed(&message)).flatten();
        self.send_to_agent(agent, message);
        if let Some(copy) = copy {
            self.send_to_agent(agent, Box::new(copy));
        }
    }

    /// Invariant 5: what claims durability follows the write.
    fn check_sent_to_agent(&mut self, agent: usize, message: &MasterToAgent) {
        let admitted = match message {
            MasterToAgent::SlaveRegistered(message) => Some(&message.slave_id),
            MasterToAgent::SlaveReregistered(message) => Some(&message.slave_id),
            MasterToAgent::RunTask(message) => {
                let task = message.task.task_id.clone();
                self.ledger.hosts.insert(task.clone(), agent);
                self.check_started(&task);
                None
            }
            MasterToAgent::ShutdownFramework(message) => {
                let id = &message.framework_id;
                if !self.master.registry.is_removed(id) {
                    let text = format!(
                        "invariant 5: agent {agent} is to shut down framework {}, which the registry \
                         does not call removed",
                        id.value
                    );
                    self.violate(text);
                }
                self.ledger.removed.insert(message.framework_id.clone());
                None
            }
            MasterToAgent::RunTaskGroup(_)
            | MasterToAgent::KillTask(_)
            | MasterToAgent::ShutdownExecutor(_)
            | MasterToAgent::FrameworkToExecutor(_)
            | MasterToAgent::UpdateFramework(_)
            | MasterToAgent::CheckpointResources(_)
            | MasterToAgent::ApplyOperation(_)
            | MasterToAgent::ReconcileOperations(_)
            | MasterToAgent::StatusUpdateAcknowledgement(_)
            | MasterToAgent::AcknowledgeOperationStatus(_)
            | MasterToAgent::DrainSlave(_)
            | MasterToAgent::Shutdown(_)
            | MasterToAgent::PingSlave(_)
            | MasterToAgent::AuthenticationError(_) => None,
        };
        let Some(id) = admitted else { return };
        let standing = self.master.registry.standing(id);
        if !matches!(standing, Some(AgentStanding::Admitted { .. })) {
            let name = message.name();
            self.violate(format!(
                "invariant 5: {name} for {} goes to agent {agent} while the registry says {standing:?}",
                id.value
            ));
        }
    }

    /// Invariant 5: an agent is called unreachable only once that is durable.
    fn check_told(&mut self, event: &scheduler::Event) {
        let Some(update) = &event.update else { return };
        let status = &update.status;
        let is_verdict = status.state == TaskState::TaskUnreachable
            && status.source == Some(task_status::Source::SourceMaster);
        let Some(agent) = status.agent_id.as_ref().filter(|_| is_verdict) else { return };
        self.statistics.tasks_unreachable += 1;
        if !self.master.registry.may_be_called_unreachable(agent) {
            let (task, agent) = (&status.task_id.value, &agent.value);
            self.violate(format!(
                "invariant 5: task {task} is called unreachable and agent {agent} never was"
            ));
        }
    }

    /// Does to an event what sabotage wants; whether the event is swallowed.
    fn sabotage_event(&mut self, connection: ConnectionId, event: &scheduler::Event) -> bool {
        if event.update_operation_status.is_some() {
            return self.sabotaged(Sabotage::SwallowOperationUpdates);
        }
        let Some(status) = event.update.as_ref().map(|update| &update.status) else { return false };
        let (Some(uuid), Some(agent)) = (&status.uuid, &status.agent_id) else { return false };
        let ends = matches!(status.state, TaskState::TaskFinished | TaskState::TaskFailed);
        if ends && self.sabotaged(Sabotage::RepeatOldUpdates) {
            let mut old = event.clone();
            if let Some(update) = &mut old.update {
                update.status.state = TaskState::TaskRunning;
                update.status.uuid = None;
            }
            self.send_on_stream(connection, SchedulerEvent::Event(Arc::new(event.clone())));
            self.send_on_stream(connection, SchedulerEvent::Event(Arc::new(old)));
            return true;
        }
        if !ends || !self.sabotaged(Sabotage::SwallowTerminalUpdates) {
            return false;
        }
        let owner = self.ledger.owners.get(&status.task_id).copied();
        let framework = owner.and_then(|owner| self.schedulers[owner.scheduler].info.id.clone());
        let message = internal::StatusUpdateAcknowledgementMessage {
            slave_id: agent.clone(),
            framework_id: framework.unwrap_or_default(),
            task_id: status.task_id.clone(),
            uuid: uuid.clone(),
            ..Default::default()
        };
        let pids: Vec<usize> = (0..self.agents.len()).collect();
        for agent in pids {
            let message = MasterToAgent::StatusUpdateAcknowledgement(message.clone());
            self.send_to_agent(agent, Box::new(message));
        }
        true
    }

    pub(crate) fn registry_written(&mut self, life: u32) {
        if self.master.life != life {
            return;
        }
        let Some((write, changes)) = self.master.registry.pending.pop_front() else { return };
        if std::mem::take(&mut self.master.registry.failing) && !self.healing {
            self.statistics.fault("registry write failed");
            // A write that fails may have been done all the same.
            if self.random.chance(500) {
                self.master.registry.apply(changes);
                self.crash_master(500, 8_000);
            } else {
                self.master.registry.pending.clear();
                self.crash_master(500, 8_000);
            }
            return;
        }
        if !self.sabotaged(Sabotage::ForgetfulRegistry) {
            self.master.registry.apply(changes);
        }
        self.feed_master(Event::Persisted { write });
    }
}

/// The same launch under another name.
fn renamed(message: &MasterToAgent) -> Option<MasterToAgent> {
    if let MasterToAgent::RunTask(message) = message {
        let mut copy = message.clone();
        copy.task.task_id.value.push_str("-again");
        Some(MasterToAgent::RunTask(copy))
    } else {
        None
    }
}
