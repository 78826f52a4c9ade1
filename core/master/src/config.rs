//! What a master is told once, at its start. Names and defaults are those of Mesos' flags
//! (`src/master/flags.cpp`, `src/master/constants.hpp`).

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use allocator::{ConstraintLimits, SorterPolicy};
use authentication::Credentials;
use authentication::cram_md5::ChallengeKey;
use protocol::mesos;
use protocol::pid::Pid;

/// The settings of a master.
#[derive(Clone, Debug, PartialEq)]
pub struct Config {
    /// The seed of all UUIDs and random choices. From the operating system in production.
    pub seed: u64,
    /// The master's own pid, as it is published: agents and drivers drop messages from any other.
    pub pid: Pid,
    /// `--hostname`, or what stands for it.
    pub hostname: String,
    /// `MasterInfo.version` and what `/version` says; Mesos' number, which peers compare.
    pub version: String,
    /// `--authenticate_frameworks`: drivers must authenticate before they subscribe.
    pub authenticate_frameworks: bool,
    /// `--authenticate_agents`: agents must authenticate before they register.
    pub authenticate_agents: bool,
    /// `--credentials`: who may authenticate. Without them every attempt is answered with an error.
    pub credentials: Option<Credentials>,
    /// `--authentication_v0_timeout`: how long one attempt may take.
    pub authentication_timeout: Duration,
    /// What the challenges of authentications are derived from.
    pub challenge_key: ChallengeKey,
    /// `--domain`.
    pub domain: Option<mesos::DomainInfo>,
    /// `--require_agent_domain`: whether agents without a region and zone are kept out.
    pub require_agent_domain: bool,
    /// `--agent_ping_timeout`: the time between pings, and the time allowed for each answer.
    pub agent_ping_timeout: Duration,
    /// `--max_agent_ping_timeouts`: unanswered pings in a row that make an agent unreachable.
    pub max_agent_ping_timeouts: u32,
    /// `--agent_reregister_timeout`: how long a known agent may take to return, both after the master's start and after its
    /// connection broke.
    pub agent_reregister_timeout: Duration,
    /// `--agent_removal_rate_limit`: at most one removal of an agent in this time.
    pub agent_removal_interval: Option<Duration>,
    /// `--recovery_agent_removal_limit` as a fraction between 0 and 1. The master stops when more than this share of the agents it
    /// recovered would have to be removed.
    pub recovery_agent_removal_limit: f64,
    /// `--allocation_interval`.
    pub allocation_interval: Duration,
    /// `--offer_timeout`.
    pub offer_timeout: Option<Duration>,
    /// The time between `HEARTBEAT` events on every stream. Fixed in Mesos.
    pub heartbeat_interval: Duration,
    /// `--max_completed_frameworks`.
    pub max_completed_frameworks: usize,
    /// `--max_completed_tasks_per_framework`.
    pub max_completed_tasks_per_framework: usize,
    /// `--max_unreachable_tasks_per_framework`.
    pub max_unreachable_tasks_per_framework: usize,
    /// `--max_operator_event_stream_subscribers`: beyond it the oldest stream is closed.
    pub max_operator_event_stream_subscribers: usize,
    /// `--registry_gc_interval`.
    pub registry_gc_interval: Duration,
    /// `--registry_max_agent_age`, of agents unreachable or gone.
    pub registry_max_agent_age: Duration,
    /// `--registry_max_agent_count`, of agents unreachable or gone.
    pub registry_max_agent_count: usize,
    /// `--root_submissions`: whether frameworks and tasks may run as root.
    pub root_submissions: bool,
    /// `--roles`: the only roles allowed, or nothing for all.
    pub roles: Option<BTreeSet<String>>,
    /// `--weights`: the share of a role, 1 when not named.
    pub weights: BTreeMap<String, f64>,
    /// `--role_sorter`: how roles take turns.
    pub role_sorter: SorterPolicy,
    /// `--framework_sorter`: how the frameworks of a role take turns.
    pub framework_sorter: SorterPolicy,
    /// `--min_allocatable_resources`: sets of scalar quantities, one of which an offer must reach.
    pub min_allocatable_resources: Vec<BTreeMap<String, f64>>,
    /// `--allocator_agent_recovery_factor`: the part of the known agents that must be back after a
    /// start before anything is offered, when there is quota.
    pub allocator_agent_recovery_factor: f64,
    /// `--allocator_recovery_timeout`: the longest such wait.
    pub allocator_recovery_timeout: Duration,
    /// `--offer_constraints_re2_max_mem` and `--offer_constraints_re2_max_program_size`.
    pub constraint_limits: ConstraintLimits,
    /// `--fair_sharing_excluded_resource_names`.
    pub fair_sharing_excluded_resource_names: BTreeSet<String>,
    /// `--publish_per_framework_metrics`.
    pub publish_per_framework_metrics: bool,
    /// `--filter_gpu_resources`: agents with GPUs are offered to frameworks with `GPU_RESOURCES` only.
    pub filter_gpu_resources: bool,
}

impl Config {
    /// Mesos' defaults for a master with this pid.
    #[must_use]
    pub fn new(seed: u64, pid: Pid, hostname: String) -> Self {
        Self {
            seed,
            pid,
            hostname,
            version: "1.12.0".to_owned(),
            authenticate_frameworks: false,
            authenticate_agents: false,
            credentials: None,
            authentication_timeout: Duration::from_secs(15),
            challenge_key: ChallengeKey::default(),
            domain: None,
            require_agent_domain: false,
            agent_ping_timeout: Duration::from_secs(15),
            max_agent_ping_timeouts: 5,
            agent_reregister_timeout: Duration::from_secs(600),
            agent_removal_interval: None,
            recovery_agent_removal_limit: 1.0,
            allocation_interval: Duration::from_secs(1),
            offer_timeout: None,
            heartbeat_interval: Duration::from_secs(15),
            max_completed_frameworks: 50,
            max_completed_tasks_per_framework: 1000,
            max_unreachable_tasks_per_framework: 1000,
            max_operator_event_stream_subscribers: 1000,
            registry_gc_interval: Duration::from_secs(15 * 60),
            registry_max_agent_age: Duration::from_secs(14 * 24 * 3600),
            registry_max_agent_count: 102_400,
            root_submissions: true,
            roles: None,
            weights: BTreeMap::new(),
            role_sorter: SorterPolicy::Drf,
            framework_sorter: SorterPolicy::Drf,
            min_allocatable_resources: vec![
                BTreeMap::from([("cpus".to_owned(), 0.01)]),
                BTreeMap::from([("mem".to_owned(), 32.0)]),
            ],
            allocator_agent_recovery_factor: 0.8,
            allocator_recovery_timeout: Duration::from_secs(600),
            constraint_limits: ConstraintLimits::default(),
            fair_sharing_excluded_resource_names: BTreeSet::new(),
            publish_per_framework_metrics: true,
            filter_gpu_resources: true,
        }
    }

    /// How long an agent waits for a ping before it believes the master gone
    /// (`MasterSlaveConnection.total_ping_timeout_seconds`).
    #[must_use]
    pub fn total_ping_timeout(&self) -> Duration {
        self.agent_ping_timeout * self.max_agent_ping_timeouts
    }
}
