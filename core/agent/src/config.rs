//! What an agent is started with: flags after parsing and validation, and facts of the host.

use std::collections::BTreeMap;
use std::time::Duration;

use protocol::mesos;
use protocol::pid::Pid;

/// Everything that stays the same while the process runs.
#[derive(Clone, Debug)]
pub struct Config {
    /// The agent's own libprocess address, normally `slave(1)@ip:port`.
    pub pid: Pid,
    /// `--hostname`, or what the host calls itself; part of the agent's identity.
    pub hostname: String,
    /// Absolute path of `--work_dir`, without a trailing slash.
    pub work_dir: String,
    /// `--resources` completed with what the host has; unreserved or statically reserved.
    pub resources: Vec<mesos::Resource>,
    /// `--attributes`.
    pub attributes: Vec<mesos::Attribute>,
    /// `--domain`.
    pub domain: Option<mesos::DomainInfo>,
    /// The version told to the master, such as `1.12.0`: the Mesos release whose behaviour is spoken.
    pub version: String,
    /// The kernel's boot id; a change means that every process of before is gone.
    pub boot_id: String,
    /// Source of all randomness: uuids and back-off.
    pub seed: u64,
    /// `--recover`.
    pub recover: RecoverMode,
    /// `--strict`: whether a damaged checkpoint stops the agent, or is skipped with a warning.
    pub strict: bool,
    /// `--reconfiguration_policy`.
    pub reconfiguration_policy: ReconfigurationPolicy,
    /// Whether a credential is configured, so that authentication comes before registration.
    pub authenticate: bool,
    /// What to start for a task that brings no executor.
    pub command_executor: CommandLine,
    /// What to start for executors of type DEFAULT (task groups).
    pub default_executor: CommandLine,
    /// What executors get in their environment.
    pub environment: EnvironmentConfig,
    /// `--switch_user`: run executors as the user they name.
    pub switch_user: bool,
    /// Waiting times.
    pub timing: Timing,
    /// Sandbox clean-up.
    pub garbage_collection: GarbageCollectionConfig,
    /// Bounds of the histories.
    pub history: HistoryConfig,
}

/// A program with arguments; run without a shell.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CommandLine {
    /// Absolute path.
    pub program: String,
    /// `argv`, the program's name first.
    pub arguments: Vec<String>,
}

/// What executors find in their environment beyond what identifies them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct EnvironmentConfig {
    /// `--executor_environment_variables`; wins over the defaults below.
    pub variables: Option<BTreeMap<String, String>>,
    /// `PATH` when the above does not say.
    pub path: String,
    /// The agent's own `LIBPROCESS_IP`, if it has one.
    pub libprocess_ip: Option<String>,
    /// The library of language bindings, if it exists on this host.
    pub native_library: Option<String>,
    /// `--sandbox_directory`: where a container with an image of its own sees its sandbox.
    pub sandbox_directory: String,
    /// `--http_executor_domain_sockets`: the socket's path as executors see it.
    pub domain_socket: Option<String>,
    /// `--hadoop_home`.
    pub hadoop_home: Option<String>,
}

/// `--recover`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RecoverMode {
    /// Take up living executors again.
    Reconnect,
    /// Kill what lives, then exit.
    Cleanup,
}

/// `--reconfiguration_policy`: what may differ from the checkpointed agent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReconfigurationPolicy {
    /// Nothing.
    Equal,
    /// More resources, more attributes, a domain where there was none.
    Additive,
    /// Resources that no running task uses, all attributes and the domain. Mesos does not have this.
    Any,
}

impl ReconfigurationPolicy {
    /// The flag's value.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Equal => "equal",
            Self::Additive => "additive",
            Self::Any => "any",
        }
    }
}

/// Waiting times, all with Mesos' defaults.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Timing {
    /// `--registration_backoff_factor`, 1 s.
    pub registration_backoff_factor: Duration,
    /// `--executor_registration_timeout`, 1 min.
    pub executor_registration_timeout: Duration,
    /// `--executor_reregistration_timeout`, 2 s; executors are told to try again at least as often.
    pub executor_reregistration_timeout: Duration,
    /// `--executor_shutdown_grace_period`, 5 s.
    pub executor_shutdown_grace_period: Duration,
    /// `--recovery_timeout`, 15 min: how long an executor waits for a dead agent.
    pub recovery_timeout: Duration,
    /// How long without a ping until the master is detected again; the master's answer to the
    /// registration replaces it. 75 s.
    pub master_ping_timeout: Duration,
    /// Time between two HEARTBEAT events to an executor, 30 min.
    pub executor_heartbeat_interval: Duration,
}

impl Default for Timing {
    fn default() -> Self {
        Self {
            registration_backoff_factor: Duration::from_secs(1),
            executor_registration_timeout: Duration::from_secs(60),
            executor_reregistration_timeout: Duration::from_secs(2),
            executor_shutdown_grace_period: Duration::from_secs(5),
            recovery_timeout: Duration::from_secs(15 * 60),
            master_ping_timeout: Duration::from_secs(75),
            executor_heartbeat_interval: Duration::from_secs(30 * 60),
        }
    }
}

/// When sandboxes of finished executors are removed.
#[derive(Clone, Debug, PartialEq)]
pub struct GarbageCollectionConfig {
    /// `--gc_delay`, 1 week.
    pub delay: Duration,
    /// `--gc_disk_headroom`, 0.1.
    pub disk_headroom: f64,
    /// `--disk_watch_interval`, 1 min.
    pub disk_watch_interval: Duration,
}

impl Default for GarbageCollectionConfig {
    fn default() -> Self {
        Self {
            delay: Duration::from_secs(7 * 24 * 3600),
            disk_headroom: 0.1,
            disk_watch_interval: Duration::from_secs(60),
        }
    }
}

/// How much of the past is remembered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HistoryConfig {
    /// 50, as Mesos.
    pub completed_frameworks_max: usize,
    /// `--max_completed_executors_per_framework`, 150.
    pub completed_executors_per_framework_max: usize,
    /// 200, as Mesos.
    pub completed_tasks_per_executor_max: usize,
}

impl Default for HistoryConfig {
    fn default() -> Self {
        Self {
            completed_frameworks_max: 50,
            completed_executors_per_framework_max: 150,
            completed_tasks_per_executor_max: 200,
        }
    }
}
