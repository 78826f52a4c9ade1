//! The command line.

use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4};
use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Parser, Subcommand};

use crate::amount::Amount;
use crate::http::Encoding;
use crate::random::Life;

const ABOUT: &str = "Measures a Mesos master by driving it over its public protocols alone.

swarm plays tens of thousands of agents (libprocess messages, all of them behind one address, so \
that few file descriptors are needed) and hundreds of frameworks (the v1 scheduler HTTP API) against \
the master you name: Apache Mesos or Meseta. Its tasks exist in its memory only. While it measures, it \
checks that every task ends exactly once and that no resource is promised or used twice; what is \
wrong is counted in `errors`, and the exit code is 1.

To measure your own master, start one that has nothing else to do (swarm takes every offer it gets), \
then for example:

    swarm register --master=10.0.0.1:5050 --agents=10000
    swarm nsdi --master=10.0.0.1:5050 --agents=5000 --frameworks=50 --rate=300 --json=ours.json
    swarm compare theirs.json ours.json

--master must be the leading master, and must not authenticate agents (or frameworks, unless \
--principal and --secret are given). Run swarm on the master's machine to have its CPU seconds and peak \
memory measured too, and pin both for steady numbers: `taskset -c 0 <master>`, `taskset -c 1 swarm ...`.";

/// swarm
#[derive(Debug, Parser)]
#[command(name = "swarm", version, about = "Measures a Mesos master.", long_about = ABOUT)]
pub(crate) struct CommandLine {
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// What to do.
#[derive(Debug, Subcommand)]
#[expect(clippy::large_enum_variant, reason = "there is one, for the whole run")]
pub(crate) enum Command {
    #[command(flatten)]
    Scenario(Scenario),
    /// Shows two results side by side, with their ratios
    Compare {
        /// A result that --json wrote
        first: PathBuf,
        /// Another one
        second: PathBuf,
    },
}

/// What to measure.
#[derive(Debug, Subcommand)]
pub(crate) enum Scenario {
    /// Agents register as fast as the master takes them, and then idle
    Register(Common),
    /// Frameworks keep the cluster full of tasks that end after a while
    Steady(Common),
    /// As steady, at a wanted rate, while a probe measures how long a new framework's task takes to run
    ///
    /// The experiment of the Mesos paper (NSDI 2011, 6.5): 50,000 agents with two tasks each of 30 s on
    /// average come from 200 frameworks. Lives are shortened so that --rate launches a second result.
    Nsdi(Nsdi),
    /// The master is restarted and all agents come back with their tasks
    ///
    /// All agents are filled with tasks that do not end. Then --restart-command restarts the master (on the
    /// same port), or you do when you are asked to. Measured from the first answer of /health on.
    Failover(Failover),
    /// Readers of /state: what they cost the cluster, and what they wait
    ///
    /// Half of --seconds without readers and half with them; then, the cluster being idle, one reader
    /// against ten equal ones.
    Readers(Readers),
    /// A framework asks for tasks that nobody knows
    Reconcile(Reconcile),
    /// Subscribers of the operator event stream watch a busy cluster
    ///
    /// Half of --seconds without subscribers and half with them.
    Fanout(Fanout),
}

impl Scenario {
    /// What every scenario has.
    pub(crate) fn common(&self) -> &Common {
        match self {
            Self::Register(common) | Self::Steady(common) => common,
            Self::Nsdi(options) => &options.common,
            Self::Failover(options) => &options.common,
            Self::Readers(options) => &options.common,
            Self::Reconcile(options) => &options.common,
            Self::Fanout(options) => &options.common,
        }
    }
}

/// What all scenarios have in common.
#[derive(Clone, Debug, Args)]
pub(crate) struct Common {
    /// The leading master
    #[arg(long, value_name = "HOST:PORT")]
    pub(crate) master: String,
    /// How many agents to simulate
    #[arg(long, value_name = "N", default_value_t = 1000)]
    pub(crate) agents: u32,
    /// How many frameworks to simulate
    #[arg(long, value_name = "M", default_value_t = 10)]
    pub(crate) frameworks: u32,
    /// Where all draws come from: the same seed gives the same work
    #[arg(long, value_name = "S", default_value_t = 1)]
    pub(crate) seed: u64,
    /// How long to measure
    #[arg(long, value_name = "T", default_value_t = 30.0)]
    pub(crate) seconds: f64,
    /// Writes the result to this file as JSON, too
    #[arg(long, value_name = "FILE")]
    pub(crate) json: Option<PathBuf>,
    /// How frameworks write their calls and read their events
    #[arg(long, value_enum, default_value_t = Encoding::Protobuf)]
    pub(crate) encoding: Encoding,
    /// Tasks an agent holds [default: 2; failover: 10]
    #[arg(long, value_name = "N")]
    pub(crate) tasks_per_agent: Option<u32>,
    /// Tasks launched with one offer at most
    #[arg(long, value_name = "N", default_value_t = u32::MAX, hide_default_value = true)]
    pub(crate) tasks_per_offer: u32,
    /// How long a task lives on average [default: 30; failover: until the end]
    #[arg(long, value_name = "SECONDS")]
    pub(crate) task_seconds: Option<f64>,
    /// Standard deviation of the lives [default: a third of --task-seconds]
    #[arg(long, value_name = "SECONDS")]
    pub(crate) task_seconds_deviation: Option<f64>,
    /// What a task takes
    #[arg(long, value_name = "CPUS", default_value_t = 1.0)]
    pub(crate) task_cpus: f64,
    /// What a task takes
    #[arg(long, value_name = "MEGABYTES", default_value_t = 128.0)]
    pub(crate) task_mem: f64,
    /// Room for this many tasks more than --tasks-per-agent on each agent [default: 0; failover: 1]
    #[arg(long, value_name = "N")]
    pub(crate) spare_tasks: Option<u32>,
    /// Frameworks share so many roles, `swarm-0` and so on; 0: all are in `*`
    #[arg(long, value_name = "N", default_value_t = 1)]
    pub(crate) roles: u32,
    /// For how long declined offers are refused
    #[arg(long, value_name = "SECONDS", default_value_t = 5.0)]
    pub(crate) refuse_seconds: f64,
    /// Agents that wait for their registration at a time
    #[arg(long, value_name = "N", default_value_t = 1000)]
    pub(crate) register_window: u32,
    /// Tasks launched that do not run yet, at a time
    #[arg(long, value_name = "N", default_value_t = 20_000)]
    pub(crate) launch_window: u32,
    /// How long any step may take, such as the registration of all agents, before swarm gives up
    #[arg(long, value_name = "SECONDS", default_value_t = 1800.0)]
    pub(crate) patience: f64,
    /// The master's process [default: who listens on the master's port of this machine]
    #[arg(long, value_name = "PID")]
    pub(crate) master_pid: Option<u32>,
    /// The address the agents listen on [default: the one that leads to the master]
    #[arg(long)]
    pub(crate) ip: Option<Ipv4Addr>,
    /// The port the agents listen on [default: any]
    #[arg(long, default_value_t = 0, hide_default_value = true)]
    pub(crate) port: u16,
    /// The user that tasks run as, as far as the master is concerned
    #[arg(long, default_value = "nobody")]
    pub(crate) user: String,
    /// Who to be for HTTP basic authentication
    #[arg(long, requires = "secret")]
    pub(crate) principal: Option<String>,
    /// The principal's secret
    #[arg(long, requires = "principal")]
    pub(crate) secret: Option<String>,
    /// Threads for sockets; 1 keeps swarm on one core
    #[arg(long, value_name = "N", default_value_t = 1)]
    pub(crate) threads: usize,
}

/// `swarm nsdi`
#[derive(Clone, Debug, Args)]
pub(crate) struct Nsdi {
    #[command(flatten)]
    pub(crate) common: Common,
    /// Launches per second that the lives of tasks are chosen for [default: what --task-seconds gives]
    #[arg(long, value_name = "R")]
    pub(crate) rate: Option<f64>,
    /// Time between two probes
    #[arg(long, value_name = "SECONDS", default_value_t = 0.25)]
    pub(crate) probe_interval: f64,
}

/// `swarm failover`
#[derive(Clone, Debug, Args)]
pub(crate) struct Failover {
    #[command(flatten)]
    pub(crate) common: Common,
    /// Kills and restarts the master; without it, swarm asks you to
    #[arg(long, value_name = "COMMAND")]
    pub(crate) restart_command: Option<String>,
}

/// `swarm readers`
#[derive(Clone, Debug, Args)]
pub(crate) struct Readers {
    #[command(flatten)]
    pub(crate) common: Common,
    /// How many readers ask again and again while the task rate is measured
    #[arg(long, value_name = "K", default_value_t = 20)]
    pub(crate) readers: u32,
    /// What they read
    #[arg(long, value_name = "PATH", default_value = "/state")]
    pub(crate) path: String,
    /// Only read a cluster at rest: its tasks (--tasks-per-agent, 10 unless given) do not end
    #[arg(long)]
    pub(crate) at_rest: bool,
}

/// `swarm reconcile`
#[derive(Clone, Debug, Args)]
pub(crate) struct Reconcile {
    #[command(flatten)]
    pub(crate) common: Common,
    /// How many tasks to ask for
    #[arg(long, value_name = "N", default_value_t = 100_000)]
    pub(crate) tasks: u32,
    /// How many of them in one call
    #[arg(long, value_name = "N", default_value_t = 100_000)]
    pub(crate) batch: u32,
}

/// `swarm fanout`
#[derive(Clone, Debug, Args)]
pub(crate) struct Fanout {
    #[command(flatten)]
    pub(crate) common: Common,
    /// How many subscribers
    #[arg(long, value_name = "K", default_value_t = 100)]
    pub(crate) subscribers: u32,
}

/// The shape of the work, with every default decided.
#[derive(Clone, Debug)]
pub(crate) struct Settings {
    pub(crate) common: Common,
    pub(crate) master: SocketAddrV4,
    pub(crate) tasks_per_agent: u32,
    /// Nothing: tasks live until the end of the run.
    pub(crate) life: Option<Life>,
    pub(crate) task: Amount,
    pub(crate) agent: Amount,
    pub(crate) patience: Duration,
    pub(crate) measured: Duration,
}

/// What a scenario wants where the command line says nothing.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Defaults {
    pub(crate) tasks_per_agent: u32,
    pub(crate) task_seconds: Option<f64>,
    pub(crate) spare_tasks: u32,
}

impl Default for Defaults {
    fn default() -> Self {
        Self { tasks_per_agent: 2, task_seconds: Some(30.0), spare_tasks: 0 }
    }
}

/// Why the command line makes no sense. The field is named as the user wrote it.
#[derive(Debug, thiserror::Error)]
pub(crate) enum OptionsError {
    #[error("--master={0} has no IPv4 address and port")]
    Master(String),
    #[error("--{flag}={value} must be {rule}")]
    Value { flag: &'static str, value: String, rule: &'static str },
}

impl Settings {
    /// # Errors
    /// A value that no run can have, or a master whose name leads nowhere.
    pub(crate) async fn new(common: Common, defaults: Defaults) -> Result<Self, OptionsError> {
        let master = resolve(&common.master).await?;
        check(&common)?;
        let tasks_per_agent = common.tasks_per_agent.unwrap_or(defaults.tasks_per_agent);
        let spare = common.spare_tasks.unwrap_or(defaults.spare_tasks);
        let life = common.task_seconds.or(defaults.task_seconds).map(|mean_seconds| Life {
            mean_seconds,
            deviation_seconds: common.task_seconds_deviation.unwrap_or(mean_seconds / 3.0),
        });
        let task = Amount::new(common.task_cpus, common.task_mem);
        Ok(Self {
            master,
            tasks_per_agent,
            life,
            task,
            agent: task.times(tasks_per_agent.saturating_add(spare)),
            patience: Duration::from_secs_f64(common.patience),
            measured: Duration::from_secs_f64(common.seconds),
            common,
        })
    }

    /// How many tasks the cluster holds.
    pub(crate) fn capacity(&self) -> u64 {
        u64::from(self.common.agents) * u64::from(self.tasks_per_agent)
    }
}

fn check(common: &Common) -> Result<(), OptionsError> {
    /// Anything longer is a mistake: about 31 years.
    const SECONDS_MAX: f64 = 1e9;
    let times = [
        ("seconds", Some(common.seconds)),
        ("patience", Some(common.patience)),
        ("task-seconds", common.task_seconds),
        ("task-seconds-deviation", common.task_seconds_deviation),
        ("refuse-seconds", Some(common.refuse_seconds)),
    ];
    for (flag, value) in times {
        if let Some(value) = value
            && !(0.0..=SECONDS_MAX).contains(&value)
        {
            let rule = "a number of seconds that is not negative";
            return Err(OptionsError::Value { flag, value: value.to_string(), rule });
        }
    }
    for (flag, value) in [("task-cpus", common.task_cpus), ("task-mem", common.task_mem)] {
        if !(0.001..=1e9).contains(&value) {
            let rule = "at least 0.001";
            return Err(OptionsError::Value { flag, value: value.to_string(), rule });
        }
    }
    for (flag, value) in [
        ("agents", common.agents),
        ("register-window", common.register_window),
        ("launch-window", common.launch_window),
        ("tasks-per-offer", common.tasks_per_offer),
    ] {
        if value == 0 {
            let rule = "at least 1";
            return Err(OptionsError::Value { flag, value: value.to_string(), rule });
        }
    }
    Ok(())
}

async fn resolve(master: &str) -> Result<SocketAddrV4, OptionsError> {
    let error = || OptionsError::Master(master.to_owned());
    let mut addresses = tokio::net::lookup_host(master).await.map_err(|_| error())?;
    addresses
        .find_map(|address| match address {
            SocketAddr::V4(address) => Some(address),
            SocketAddr::V6(_) => None,
        })
        .ok_or_else(error)
}
