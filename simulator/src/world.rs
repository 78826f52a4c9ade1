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
use self::coordination::Coordination;
use self::leadership::Leadership;
use self::master_host::MasterHost;
use self::operator::Operator;
use self::registry::{Defects, Registry};
use self::scheduler::Scheduler;

mod agent_host;
mod check;
mod container;
mod coordination;
mod executor;
mod fault;
mod leadership;
mod master_host;
mod offered;
mod operation;
mod operator;
mod promise;
pub(crate) mod registry;
mod scheduler;
mod settle;
mod store;
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
    masters: Vec<MasterHost>,
    coordination: Coordination,
    leadership: Leadership,
    registry: Registry,
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
        let agents = (0..settings.agents)
            .map(|index| AgentHost::new(index, settings.masters, &mut random))
            .collect();
        let masters = (0..settings.masters).map(MasterHost::new).collect();
        let schedulers = (0..settings.frameworks)
            .map(|index| Scheduler::new(index, &settings, &mut random))
            .collect();
        let sabotaged = |kind| options.sabotage == Some(kind);
        let defects = Defects {
            forgets: sabotaged(Sabotage::ForgetfulRegistry),
            trusts_anyone: sabotaged(Sabotage::TrustAnyEpoch),
            hides_frameworks: sabotaged(Sabotage::HideFrameworks),
        };
        let coordination = Coordination::new(settings.session_timeout);
        let mut world = Self {
            log: Log::new(options.trace),
            options,
            settings,
            random,
            now: START,
            schedule: Schedule::default(),
            masters,
            coordination,
            leadership: Leadership::default(),
            registry: Registry::new(defects),
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
        for master in 0..self.masters.len() {
            self.plan(0, 1_000, Happening::MasterStart { master });
        }
        self.disturbed(self.now + std::time::Duration::from_secs(1));
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
        let now = self.now;
        if let Some(until) = self.paused_addressee(&happening) {
            self.schedule.add(until, happening);
            return;
        }
        self.statistics.steps += u64::from(!is_routine(&happening));
        self.log.write(|| format!("{now} {happening:?}"));
        self.dispatch(happening);
        self.check_leadership();
        self.check_masters();
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
            Happening::AtMaster { agent, master, passage, message } => {
                self.at_master(agent, master, passage, message);
            }
            Happening::AtAgent { agent, master, passage, message } => {
                self.at_agent(agent, master, passage, *message);
            }
            Happening::AgentLinkBroken { process, pid } => self.agent_link_broken(process, &pid),
            Happening::MasterLinkBroken { agent, life, pid } => {
                self.feed_agent_of(agent, life, agent::Event::MasterExited { pid });
            }
            leading @ (Happening::MasterStart { .. }
            | Happening::MasterWake { .. }
            | Happening::MasterResumes { .. }
            | Happening::SessionRenewal { .. }
            | Happening::NodesChange { .. }
            | Happening::SessionExpiry { .. }
            | Happening::Leads { .. }
            | Happening::LeaseCheck { .. }
            | Happening::ServiceBack
            | Happening::CommitArrives { .. }
            | Happening::CommitAnswered { .. }) => self.dispatch_leading(leading),
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
            running @ (Happening::ContainerForked { .. }
            | Happening::ContainerKilled { .. }
            | Happening::ContainersFound { .. }
            | Happening::ExecutorDial { .. }
            | Happening::AtExecutor { .. }
            | Happening::ExecutorGone { .. }
            | Happening::ExecutorCall { .. }
            | Happening::ExecutorRetry { .. }
            | Happening::TaskStep { .. }
            | Happening::ExecutorExit { .. }) => self.dispatch_running(running),
            scheduling @ (Happening::SchedulerStart { .. }
            | Happening::SchedulerDetects { .. }
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

    #[expect(clippy::wildcard_enum_match_arm, reason = "the others were told apart before")]
    fn dispatch_running(&mut self, happening: Happening) {
        match happening {
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
            _ => {}
        }
    }

    #[expect(clippy::wildcard_enum_match_arm, reason = "the others were told apart before")]
    fn dispatch_leading(&mut self, happening: Happening) {
        match happening {
            Happening::MasterStart { master } => self.start_master(master),
            Happening::MasterWake { process } => self.master_wakes(process),
            Happening::MasterResumes { process } => self.resume_master(process),
            Happening::SessionRenewal { process } => self.renewal_due(process),
            Happening::NodesChange { process } => self.renew_session(process),
            Happening::SessionExpiry { session } => self.session_expires(session),
            Happening::Leads { process, epoch } => self.leads(process, epoch),
            Happening::LeaseCheck { process } => self.check_lease(process),
            Happening::ServiceBack => self.service_returns(),
            Happening::CommitArrives { process, epoch, number, changes } => {
                self.commit_arrives(process, epoch, number, changes);
            }
            Happening::CommitAnswered { process, number, outcome } => {
                self.commit_answered(process, number, outcome);
            }
            _ => {}
        }
    }

    /// Until when what happens waits because the master's process it concerns is paused.
    #[expect(clippy::wildcard_enum_match_arm, reason = "only these concern a master's process")]
    fn paused_addressee(&self, happening: &Happening) -> Option<Timestamp> {
        let master = match happening {
            Happening::AtMaster { master, .. } | Happening::SchedulerCall { master, .. } => *master,
            Happening::AgentLinkBroken { process, .. }
            | Happening::StreamBroken { process, .. }
            | Happening::MasterWake { process }
            | Happening::SessionRenewal { process }
            | Happening::NodesChange { process }
            | Happening::Leads { process, .. }
            | Happening::LeaseCheck { process }
            | Happening::CommitAnswered { process, .. } => process.master,
            _ => return None,
        };
        self.masters[master].paused_until.filter(|until| *until > self.now)
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

/// What happens so often, whether or not anything is up, that it does not count as a step.
fn is_routine(happening: &Happening) -> bool {
    matches!(
        happening,
        Happening::SessionRenewal { .. }
            | Happening::SessionExpiry { .. }
            | Happening::LeaseCheck { .. }
    )
}
