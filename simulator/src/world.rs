//! The simulated cluster: its hosts, the wires between them, and the clock they share.

use protocol::pid::Pid;
use protocol::time::Timestamp;

use crate::happening::Happening;
use crate::ledger::Ledger;
use crate::random::Random;
use crate::schedule::Schedule;
use crate::settings::{Options, Sabotage, Settings};
use crate::statistics::Statistics;
use crate::trace::Log;

use self::agent_host::AgentHost;
use self::master_host::MasterHost;
use self::operator::Operator;
use self::scheduler::Scheduler;

mod agent_host;
mod check;
mod container;
mod executor;
mod fault;
mod master_host;
mod offered;
mod operation;
mod operator;
mod registry;
mod scheduler;
mod settle;
mod wire;

/// When the clock starts: any time will do.
const START: Timestamp = Timestamp::from_secs(1_700_000_000);
/// More than this happens in no run that comes to rest.
const STEPS_MAX: u64 = 400_000;

/// What is wrong, in words.
pub(crate) type Violation = String;

/// The whole cluster.
#[derive(Debug)]
pub struct World {
    options: Options,
    settings: Settings,
    random: Random,
    now: Timestamp,
    schedule: Schedule<Happening>,
    master: MasterHost,
    agents: Vec<AgentHost>,
    schedulers: Vec<Scheduler>,
    operator: Operator,
    ledger: Ledger,
    statistics: Statistics,
    log: Log,
    /// The first thing that is wrong ends the run.
    violation: Option<Violation>,
    /// Whether the time of faults is over.
    healing: bool,
    /// When the cluster must have come to rest.
    deadline: Option<Timestamp>,
    at_rest: bool,
    /// Names of connections and requests, never used twice.
    names: u64,
}

/// How a run ended.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// What was counted.
    pub statistics: Statistics,
    /// The first thing that was wrong.
    pub violation: Option<String>,
    /// The checksum over everything that happened, if it was asked for.
    pub checksum: u64,
}

impl World {
    /// The cluster of a seed, before anything happens.
    #[must_use]
    pub fn new(seed: u64, options: Options) -> Self {
        let mut random = Random::new(seed);
        let settings = Settings::draw(&mut random, &options);
        let agents = (0..settings.agents).map(|index| AgentHost::new(index, &mut random)).collect();
        let schedulers = (0..settings.frameworks)
            .map(|index| Scheduler::new(index, &settings.policy, &mut random))
            .collect();
        let mut world = Self {
            log: Log::new(options.trace),
            options,
            settings,
            random,
            now: START,
            schedule: Schedule::default(),
            master: MasterHost::new(),
            agents,
            schedulers,
            operator: Operator::default(),
            ledger: Ledger::default(),
            statistics: Statistics::default(),
            violation: None,
            healing: false,
            deadline: None,
            at_rest: false,
            names: 0,
        };
        world.begin();
        world
    }

    fn begin(&mut self) {
        self.plan(0, 100, Happening::MasterStart);
        for agent in 0..self.agents.len() {
            self.plan(0, 3_000, Happening::AgentStart { agent });
        }
        for scheduler in 0..self.schedulers.len() {
            self.plan(0, 3_000, Happening::SchedulerStart { scheduler });
        }
        if self.settings.policy.is_operated() {
            self.plan(1_000, 5_000, Happening::OperatorIdea);
        }
        if self.options.faults {
            self.plan(1_000, 10_000, Happening::Fault);
        }
    }

    /// Runs until something is wrong or the cluster has come to rest.
    #[must_use]
    pub fn run(mut self) -> Outcome {
        while self.violation.is_none() && !self.at_rest {
            self.step();
        }
        let checksum = self.log.checksum();
        Outcome { statistics: self.statistics, violation: self.violation, checksum }
    }

    fn step(&mut self) {
        let Some((at, happening)) = self.schedule.pop() else {
            self.violate("nothing will ever happen again".to_owned());
            return;
        };
        // After a jump of the clock everything that fell due happens at once, in order.
        self.now = self.now.max(at);
        self.statistics.steps += 1;
        let now = self.now;
        self.log.write(|| format!("{now} {happening:?}"));
        self.dispatch(happening);
        self.check_master();
        self.check_quota();
        if !self.healing && self.statistics.steps >= self.options.steps {
            self.heal();
        }
        if self.statistics.steps > STEPS_MAX {
            self.violate("the cluster does not come to rest".to_owned());
        }
    }

    fn dispatch(&mut self, happening: Happening) {
        match happening {
            Happening::AtMaster { agent, passage, to, message } => {
                self.at_master(agent, passage, &to, message);
            }
            Happening::AtAgent { agent, passage, from, message } => {
                self.at_agent(agent, passage, from, *message);
            }
            Happening::AgentLinkBroken { life, pid } => self.agent_link_broken(life, &pid),
            Happening::MasterLinkBroken { agent, life, pid } => {
                self.feed_agent_of(agent, life, agent::Event::MasterExited { pid });
            }
            Happening::MasterStart => self.start_master(),
            Happening::MasterWake { life } => self.master_wakes(life),
            Happening::RegistryWritten { life } => self.registry_written(life),
            Happening::AgentStart { agent } => self.start_agent(agent),
            Happening::AgentWake { agent, life } => self.agent_wakes(agent, life),
            Happening::Detect { agent, life } => self.detect(agent, life),
            Happening::Checkpointed { agent, life } => self.checkpointed(agent, life),
            Happening::DiskUsage { agent, life } => {
                let event = agent::Event::DiskUsage { used_fraction: 0.1 };
                self.feed_agent_of(agent, life, event);
            }
            Happening::DirectoryRemoved { agent, life, path } => {
                self.directory_removed(agent, life, path);
            }
            Happening::ContainerForked { agent, life, container } => {
                self.container_forked(agent, life, &container);
            }
            Happening::ContainerKilled { agent, container } => {
                self.end_container(agent, &container, 9);
            }
            Happening::ContainersFound { agent, life, named } => {
                self.containers_found(agent, life, &named);
            }
            Happening::ExecutorDial { agent, container } => self.executor_dials(agent, &container),
            Happening::AtExecutor { agent, container, connection, event } => {
                self.at_executor(agent, &container, connection, event);
            }
            Happening::ExecutorGone { agent, life, connection } => {
                self.executor_is_gone(agent, life, connection);
            }
            Happening::ExecutorCall { agent, life, container, call } => {
                self.executor_calls(agent, life, container, call);
            }
            Happening::ExecutorRetry { agent, container, uuid } => {
                self.executor_retries(agent, &container, &uuid);
            }
            Happening::TaskStep { agent, container, task, generation } => {
                self.task_steps(agent, &container, &task, generation);
            }
            Happening::ExecutorExit { agent, container } => {
                self.end_container(agent, &container, 0);
            }
            scheduling @ (Happening::SchedulerStart { .. }
            | Happening::SchedulerDial { .. }
            | Happening::SchedulerLost { .. }
            | Happening::SchedulerCall { .. }
            | Happening::AtScheduler { .. }
            | Happening::StreamBroken { .. }
            | Happening::SchedulerIdea { .. }
            | Happening::SchedulerAnswer { .. }
            | Happening::SchedulerAcknowledge { .. }
            | Happening::OperationAcknowledge { .. }
            | Happening::InverseAnswer { .. }
            | Happening::SchedulerReconcile { .. }) => self.dispatch_scheduling(scheduling),
            Happening::OperatorIdea => self.operator_idea(),
            Happening::Fault => self.fault(),
            Happening::Inspection => self.inspect(),
        }
    }

    fn executor_is_gone(&mut self, agent: usize, life: u32, connection: u64) {
        let connection = agent::event::ConnectionId(connection);
        let event = agent::Event::ExecutorConnectionClosed { connection };
        self.feed_agent_of(agent, life, event);
    }

    /// Plans something for some time between two bounds in milliseconds from now.
    fn plan(&mut self, low: u64, high: u64, happening: Happening) {
        let delay = self.random.millis(low, high);
        self.schedule.add(self.now + delay, happening);
    }

    fn violate(&mut self, what: Violation) {
        let now = self.now;
        self.log.write(|| format!("{now} VIOLATION {what}"));
        if self.violation.is_none() {
            self.violation = Some(what);
        }
    }

    fn sabotaged(&self, kind: Sabotage) -> bool {
        self.options.sabotage == Some(kind)
    }

    fn name(&mut self) -> u64 {
        self.names += 1;
        self.names
    }

    /// Which agent listens there.
    fn agent_at(&self, pid: &Pid) -> Option<usize> {
        self.agents.iter().position(|agent| agent.pid.address == pid.address)
    }
}
