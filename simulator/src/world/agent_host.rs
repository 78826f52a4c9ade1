//! An agent's host: the agent's process, its disk, and what becomes of the process' effects.

use std::collections::{BTreeMap, VecDeque};
use std::net::{Ipv4Addr, SocketAddrV4};
use std::time::Duration;

use agent::checkpoint::{Change, Tree, records};
use agent::config::{
    CommandLine, EnvironmentConfig, GarbageCollectionConfig, HistoryConfig, ReconfigurationPolicy,
    RecoverMode, Timing,
};
use agent::event::{ConnectionId, Leader, RequestId};
use agent::{Agent, Config, Effect, Event, WriteId};
use master::registry::AgentStanding;
use protocol::internal::StatusUpdateRecord;
use protocol::mesos::{self, ContainerId};
use protocol::messages::AgentToMaster;
use protocol::pid::Pid;
use protocol::time::Timestamp;
use resources::{Attributes, Resources};

use crate::happening::{ExecutorEvent, Happening};
use crate::lane::Lane;
use crate::random::Random;
use crate::settings::Sabotage;
use crate::world::World;
use crate::world::container::Container;
use crate::world::wire::{Break, REMAINS};

/// No timer of an agent makes more work than this at one moment.
const EXPIRIES_MAX: usize = 1_000;
/// What the agents have the command executor at.
pub(crate) const COMMAND_EXECUTOR: &str = "/command-executor";

/// An agent's host.
#[derive(Debug)]
pub(crate) struct AgentHost {
    pub(crate) pid: Pid,
    /// Counts processes.
    pub(crate) life: u32,
    /// The process, while it runs.
    pub(crate) core: Option<Agent>,
    /// From each master.
    pub(crate) inward: Vec<Lane>,
    /// To each master.
    pub(crate) outward: Vec<Lane>,
    /// Its detector hears nothing of the coordination service, since and until then.
    pub(crate) blind: Option<(Timestamp, Timestamp)>,
    /// Whom it takes for the leader.
    pub(crate) detected: Option<Pid>,
    pub(crate) total: Resources,
    resources: Vec<mesos::Resource>,
    /// Counts boots of the host.
    pub(crate) boots: u32,
    disk: Tree,
    /// Writes under way, oldest first.
    writes: VecDeque<(WriteId, Vec<Change>)>,
    last_write: Timestamp,
    /// Writes take long until then.
    pub(crate) slow_until: Timestamp,
    pub(crate) containers: BTreeMap<ContainerId, Container>,
    /// Which executor is on which stream.
    pub(crate) streams: BTreeMap<ConnectionId, ContainerId>,
    /// Which update each waiting call carries.
    pub(crate) requests: BTreeMap<RequestId, (ContainerId, Vec<u8>)>,
    wake: Option<Timestamp>,
}

impl AgentHost {
    pub(crate) fn new(index: usize, masters: usize, random: &mut Random) -> Self {
        let host = u8::try_from(index).unwrap_or(0);
        let address = SocketAddrV4::new(Ipv4Addr::new(10, 0, 1, host), 5051);
        let text = format!(
            "cpus:{};mem:{};disk:10000;ports:[31000-31099]",
            random.between(1, 8),
            random.between(4, 32) * 128
        );
        let total = Resources::parse(&text, "*").unwrap_or_default();
        Self {
            pid: Pid::new("slave(1)", address),
            life: 0,
            core: None,
            inward: vec![Lane::default(); masters],
            outward: vec![Lane::default(); masters],
            blind: None,
            detected: None,
            resources: total.to_wire(),
            total,
            boots: 1,
            disk: Tree::default(),
            writes: VecDeque::new(),
            last_write: Timestamp::ZERO,
            slow_until: Timestamp::ZERO,
            containers: BTreeMap::new(),
            streams: BTreeMap::new(),
            requests: BTreeMap::new(),
            wake: None,
        }
    }

    fn config(&self, index: usize, seed: u64, backoff: Duration) -> Config {
        let program =
            |path: &str| CommandLine { program: path.to_owned(), arguments: vec![path.to_owned()] };
        Config {
            pid: self.pid.clone(),
            hostname: format!("agent-{index}"),
            work_dir: "/var/agent".to_owned(),
            resources: self.resources.clone(),
            attributes: Attributes::parse(&format!("rack:r{}", index % 2))
                .map(|attributes| attributes.to_wire())
                .unwrap_or_default(),
            domain: None,
            version: "1.12.0".to_owned(),
            boot_id: format!("boot-{}", self.boots),
            seed,
            recover: RecoverMode::Reconnect,
            strict: true,
            reconfiguration_policy: ReconfigurationPolicy::Equal,
            authenticate: false,
            command_executor: program(COMMAND_EXECUTOR),
            default_executor: program("/default-executor"),
            environment: EnvironmentConfig::default(),
            switch_user: false,
            timing: Timing {
                registration_backoff_factor: backoff,
                executor_registration_timeout: Duration::from_secs(20),
                ..Timing::default()
            },
            garbage_collection: GarbageCollectionConfig {
                delay: Duration::from_secs(120),
                ..GarbageCollectionConfig::default()
            },
            history: HistoryConfig::default(),
        }
    }
}

impl World {
    pub(crate) fn start_agent(&mut self, agent: usize) {
        if self.agents[agent].core.is_some() {
            return;
        }
        let seed = self.random.number();
        let host = &mut self.agents[agent];
        host.life += 1;
        let life = host.life;
        let config = host.config(agent, seed, self.settings.registration_backoff);
        let recovered = match agent::recovery::recover(&config, &host.disk) {
            Ok(recovered) => recovered,
            Err(error) => {
                self.violate(format!("agent {agent} cannot start again: {error}"));
                return;
            }
        };
        let (core, effects) = Agent::new(self.now, config, Some(recovered));
        host.core = Some(core);
        self.perform_agent(agent, effects);
        self.expire_agent(agent);
        self.plan(0, 1_000, Happening::Detect { agent, life });
    }

    /// The agent's process dies; what it started lives on.
    pub(crate) fn crash_agent(&mut self, agent: usize, low: u64, high: u64) {
        let host = &mut self.agents[agent];
        if host.core.take().is_none() {
            return;
        }
        host.life += 1;
        host.detected = None;
        host.wake = None;
        host.requests.clear();
        self.lose_writes(agent);
        let host = &mut self.agents[agent];
        // The launcher dies with the agent, and what it had not started yet never starts.
        host.containers.retain(|_, container| !container.is_starting());
        for (connection, container) in std::mem::take(&mut host.streams) {
            let connection = connection.0;
            let event = ExecutorEvent::Closed;
            let closed = Happening::AtExecutor { agent, container, connection, event };
            self.schedule.add(self.now, closed);
        }
        for master in 0..self.masters.len() {
            self.break_connections(master, agent, Break::AgentDied);
        }
        let low = low.max(REMAINS + 100);
        self.plan(low, high.max(low), Happening::AgentStart { agent });
    }

    /// The host restarts: all its processes die, and the agent with them.
    pub(crate) fn reboot_agent(&mut self, agent: usize, low: u64, high: u64) {
        self.agents[agent].boots += 1;
        self.agents[agent].containers.clear();
        self.crash_agent(agent, low, high);
    }

    /// Whether an operator called the agent gone: it may never return.
    fn is_gone(&mut self, agent: usize) -> bool {
        let Some(core) = &mut self.agents[agent].core else { return false };
        let id = core.snapshot().info.id.clone();
        let standing = id.and_then(|id| self.registry.standing(&id));
        matches!(standing, Some(AgentStanding::Gone { .. }))
    }

    /// Another host takes the place and the address of this one.
    fn replace_agent(&mut self, agent: usize) {
        let host = &mut self.agents[agent];
        host.disk = Tree::default();
        host.containers.clear();
        host.boots += 1;
        self.statistics.fault("agent host replaced");
    }

    /// A crash leaves any prefix of what was not confirmed, and perhaps a torn last line.
    fn lose_writes(&mut self, agent: usize) {
        let writes: Vec<_> = self.agents[agent].writes.drain(..).collect();
        let mut changes: Vec<Change> =
            writes.into_iter().flat_map(|(_, changes)| changes).collect();
        let survivors = self.random.index(changes.len() + 1);
        let torn = changes.get(survivors).cloned();
        changes.truncate(survivors);
        self.apply(agent, &changes);
        if let Some(Change::Append { path, mut content }) = torn
            && self.random.chance(500)
        {
            content.truncate(self.random.index(content.len()));
            self.agents[agent].disk.apply(self.now, &Change::Append { path, content });
        }
    }

    fn apply(&mut self, agent: usize, changes: &[Change]) {
        for change in changes {
            self.agents[agent].disk.apply(self.now, change);
            if let Change::Append { path, content } = change
                && path.ends_with("task.updates")
            {
                for record in records::decode_sequence::<StatusUpdateRecord>(content).messages {
                    let uuid = record.update.and_then(|update| update.uuid);
                    self.ledger.durable.extend(uuid);
                }
            }
        }
    }

    pub(crate) fn checkpointed(&mut self, agent: usize, life: u32) {
        if self.agents[agent].life != life {
            return;
        }
        let Some((write, changes)) = self.agents[agent].writes.pop_front() else { return };
        if !self.sabotaged(Sabotage::ForgetfulDisks) {
            self.apply(agent, &changes);
        }
        self.feed_agent(agent, Event::Checkpointed { write });
    }

    /// The agent writes a file of its own accord, outside the order of checkpoints.
    pub(crate) fn write_file(&mut self, agent: usize, path: String, content: Vec<u8>) {
        self.agents[agent].disk.apply(self.now, &Change::Write { path, content });
    }

    pub(crate) fn detect(&mut self, agent: usize, life: u32) {
        let detected = match self.agents[agent].blind {
            Some((begin, end)) if end > self.now => {
                // It gives the leader up when its session must have ended.
                if begin + self.coordination.timeout > self.now {
                    return;
                }
                None
            }
            Some(_) | None if self.settings.is_coordinated => match self.detected() {
                Some(leader) => leader,
                None => return,
            },
            Some(_) | None => self.leader().map(|master| self.masters[master].process(master)),
        };
        let leader = detected.map(|process| {
            let host = &self.masters[process.master];
            let info = host.core.as_ref().map(|core| (**core.info()).clone());
            Leader { pid: host.pid.clone(), info }
        });
        if self.agents[agent].life == life {
            self.agents[agent].detected = leader.as_ref().map(|leader| leader.pid.clone());
        }
        self.feed_agent_of(agent, life, Event::MasterDetected { leader });
    }

    pub(crate) fn directory_removed(&mut self, agent: usize, life: u32, path: String) {
        if self.agents[agent].life != life {
            return;
        }
        if let Some(path) = path.strip_prefix("/var/agent/meta/") {
            let change = Change::Remove { path: path.to_owned() };
            self.agents[agent].disk.apply(self.now, &change);
        }
        self.feed_agent(agent, Event::DirectoryRemoved { path, succeeded: true });
    }

    /// Tells an agent something that was meant for the process of that life.
    pub(crate) fn feed_agent_of(&mut self, agent: usize, life: u32, event: Event) {
        if self.agents[agent].life == life {
            self.feed_agent(agent, event);
        }
    }

    pub(crate) fn feed_agent(&mut self, agent: usize, event: Event) {
        let Some(core) = &mut self.agents[agent].core else { return };
        let effects = core.handle(self.now, event);
        self.perform_agent(agent, effects);
        self.expire_agent(agent);
    }

    pub(crate) fn agent_wakes(&mut self, agent: usize, life: u32) {
        // A later wake-up was called off by an earlier one, and comes all the same.
        let is_due = self.agents[agent].wake.is_some_and(|wake| wake <= self.now);
        if self.agents[agent].life == life && is_due {
            self.agents[agent].wake = None;
            self.expire_agent(agent);
        }
    }

    fn expire_agent(&mut self, agent: usize) {
        for _ in 0..EXPIRIES_MAX {
            let host = &mut self.agents[agent];
            let Some(core) = &mut host.core else { return };
            let Some(due) = core.next_expiry() else { return };
            if due > self.now {
                if host.wake.is_none_or(|wake| wake > due) {
                    host.wake = Some(due);
                    let life = host.life;
                    self.schedule.add(due, Happening::AgentWake { agent, life });
                }
                return;
            }
            let effects = core.expire(self.now);
            self.perform_agent(agent, effects);
        }
        self.violate(format!("the timers of agent {agent} fall due without end"));
    }

    fn perform_agent(&mut self, agent: usize, effects: Vec<Effect>) {
        let life = self.agents[agent].life;
        for effect in effects {
            if self.agents[agent].life == life && self.agents[agent].core.is_some() {
                self.perform_agent_effect(agent, effect);
            }
        }
    }

    fn perform_agent_effect(&mut self, agent: usize, effect: Effect) {
        let life = self.agents[agent].life;
        match effect {
            Effect::LinkMaster { pid } if self.is_master_up(&pid) => {}
            Effect::LinkMaster { pid } => {
                self.plan(0, 1_000, Happening::MasterLinkBroken { agent, life, pid });
            }
            Effect::Authenticate { master } => {
                let event = Event::Authenticated { master, result: Ok(()) };
                self.feed_agent(agent, event);
            }
            Effect::DetectMaster => self.plan(0, 1_000, Happening::Detect { agent, life }),
            Effect::SendToMaster { to, message } => {
                self.check_sent_to_master(agent, &message);
                self.send_to_master(agent, &to, message);
            }
            Effect::Checkpoint { write, changes } => {
                let slow = self.agents[agent].slow_until > self.now && !self.healing;
                let delay =
                    if slow { self.random.millis(100, 4_000) } else { self.random.millis(0, 20) };
                let host = &mut self.agents[agent];
                host.writes.push_back((write, changes));
                let at = (self.now + delay).max(host.last_write);
                host.last_write = at;
                self.schedule.add(at, Happening::Checkpointed { agent, life });
            }
            Effect::CreateSandbox { .. } | Effect::UpdateContainer { .. } => {}
            Effect::LaunchContainer(launch) => self.launch_container(agent, *launch),
            Effect::DestroyContainer { container } => {
                self.plan(0, 100, Happening::ContainerKilled { agent, container });
            }
            Effect::RecoverContainers { containers } => {
                let named = containers.into_iter().map(|each| each.container).collect();
                self.plan(0, 500, Happening::ContainersFound { agent, life, named });
            }
            Effect::AcceptExecutor { connection } => {
                self.send_to_executor(agent, connection, ExecutorEvent::Accepted);
            }
            Effect::RefuseExecutor { connection, response: _ } => {
                self.send_to_executor(agent, connection, ExecutorEvent::Refused);
                self.agents[agent].streams.remove(&connection);
            }
            Effect::SendToExecutor { connection, event } => {
                self.check_sent_to_executor(agent, &event);
                self.send_to_executor(agent, connection, ExecutorEvent::Event(event));
            }
            Effect::CloseExecutor { connection } => {
                self.send_to_executor(agent, connection, ExecutorEvent::Closed);
                self.agents[agent].streams.remove(&connection);
            }
            Effect::Respond { request, response } => {
                self.agent_responds(agent, request, &response);
            }
            Effect::RemoveDirectory { path } => {
                self.plan(0, 500, Happening::DirectoryRemoved { agent, life, path });
            }
            Effect::MeasureDiskUsage => self.plan(0, 10, Happening::DiskUsage { agent, life }),
            Effect::Log { severity, message } => {
                self.log.write(|| format!("    agent {agent}: {severity:?}: {message}"));
            }
            Effect::Exit { code, reason } => {
                self.statistics.fault("agent exited");
                self.log.write(|| format!("    agent {agent} exits with {code}: {reason}"));
                let is_gone = self.is_gone(agent);
                self.crash_agent(agent, 500, 5_000);
                if is_gone {
                    self.replace_agent(agent);
                }
            }
        }
    }

    /// Invariant 5: an update of an executor leaves the agent only once it is on disk.
    fn check_sent_to_master(&mut self, agent: usize, message: &AgentToMaster) {
        let AgentToMaster::StatusUpdate(message) = message else { return };
        let Some(uuid) = &message.update.uuid else { return };
        if self.ledger.updates.contains_key(uuid) && !self.ledger.durable.contains(uuid) {
            let task = &message.update.status.task_id.value;
            self.violate(format!(
                "invariant 5: agent {agent} sends an update of {task} before it is on disk"
            ));
        }
    }
}
