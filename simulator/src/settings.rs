//! What a run is told, and what it draws from its seed before it begins.

use std::time::Duration;

use crate::random::Random;

mod policy;

pub use policy::Policy;

/// What a run is told.
#[derive(Clone, Debug)]
pub struct Options {
    /// How many things happen before the faults end and the cluster has to come to rest.
    pub steps: u64,
    /// How many masters; drawn from the seed if not given.
    pub masters: Option<usize>,
    /// How many agents; drawn from the seed if not given.
    pub agents: Option<usize>,
    /// How many frameworks; drawn from the seed if not given.
    pub frameworks: Option<usize>,
    /// Whether anything goes wrong.
    pub faults: bool,
    /// A defect put into the cluster on purpose, to prove that the checks can fail.
    pub sabotage: Option<Sabotage>,
    /// Whether to write down all that happens.
    pub trace: Trace,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            steps: 2500,
            masters: None,
            agents: None,
            frameworks: None,
            faults: true,
            sabotage: None,
            trace: Trace::Off,
        }
    }
}

/// What is written down of a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trace {
    /// Nothing, which is quickest.
    Off,
    /// A checksum over everything, to compare two runs.
    Checksum,
    /// One line for each thing that happens, on standard output.
    Lines,
}

/// A defect that the checks must find.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sabotage {
    /// The master acknowledges ends of tasks itself and does not tell the framework.
    SwallowTerminalUpdates,
    /// The master starts each task a second time under another name.
    LaunchTwice,
    /// The master's store confirms writes that it then forgets.
    ForgetfulRegistry,
    /// The agents' disks confirm writes that they then forget.
    ForgetfulDisks,
    /// Executors' ends are reported as if their tasks ran again.
    RepeatOldUpdates,
    /// What is reserved for one role is offered to another.
    OfferForeignReservations,
    /// Agents that operators took out are offered.
    OfferExcludedAgents,
    /// The master does not hear of what frameworks want of agents.
    ForgetConstraints,
    /// The master has higher limits than the operator asked for.
    RaiseLimits,
    /// The master has no guarantees.
    ForgetGuarantees,
    /// Frameworks are told nothing of their operations.
    SwallowOperationUpdates,
    /// Frameworks are asked to give up agents for which nothing is planned.
    InviteUnscheduled,
    /// The master does not hear that agents are to be drained.
    ForgetDrains,
    /// The master forgets what operations did to an agent.
    ForgetOperations,
    /// The registry takes the writes of a master that was deposed.
    TrustAnyEpoch,
    /// Every leader claims the registry with the same epoch.
    RepeatEpochs,
    /// A master goes on when its lease is over.
    OutliveLeases,
    /// A master goes on for ever, as if the registry did not refuse it.
    IgnoreDeposition,
    /// A master takes a write for done as soon as it is asked for.
    ConfirmEarly,
    /// A new master does not get what the registry says of frameworks.
    HideFrameworks,
    /// Agents take orders from whoever gives them.
    ObeyAnyMaster,
}

impl Sabotage {
    /// Whether it shows only in a run with every policy.
    #[must_use]
    pub fn needs_policies(self) -> bool {
        match self {
            Self::SwallowTerminalUpdates
            | Self::LaunchTwice
            | Self::ForgetfulRegistry
            | Self::ForgetfulDisks
            | Self::RepeatOldUpdates
            | Self::TrustAnyEpoch
            | Self::RepeatEpochs
            | Self::OutliveLeases
            | Self::IgnoreDeposition
            | Self::ConfirmEarly
            | Self::HideFrameworks
            | Self::ObeyAnyMaster => false,
            Self::OfferForeignReservations
            | Self::OfferExcludedAgents
            | Self::ForgetConstraints
            | Self::RaiseLimits
            | Self::ForgetGuarantees
            | Self::SwallowOperationUpdates
            | Self::InviteUnscheduled
            | Self::ForgetDrains
            | Self::ForgetOperations => true,
        }
    }

    /// Whether it shows only when several masters take turns.
    #[must_use]
    pub fn needs_masters(self) -> bool {
        matches!(
            self,
            Self::TrustAnyEpoch
                | Self::RepeatEpochs
                | Self::OutliveLeases
                | Self::IgnoreDeposition
                | Self::ObeyAnyMaster
        )
    }
}

/// All kinds of sabotage, with the names the command line has for them.
pub const SABOTAGE: &[(&str, Sabotage)] = &[
    ("swallow-terminal-updates", Sabotage::SwallowTerminalUpdates),
    ("launch-twice", Sabotage::LaunchTwice),
    ("forgetful-registry", Sabotage::ForgetfulRegistry),
    ("forgetful-disks", Sabotage::ForgetfulDisks),
    ("repeat-old-updates", Sabotage::RepeatOldUpdates),
    ("offer-foreign-reservations", Sabotage::OfferForeignReservations),
    ("offer-excluded-agents", Sabotage::OfferExcludedAgents),
    ("forget-constraints", Sabotage::ForgetConstraints),
    ("raise-limits", Sabotage::RaiseLimits),
    ("forget-guarantees", Sabotage::ForgetGuarantees),
    ("swallow-operation-updates", Sabotage::SwallowOperationUpdates),
    ("invite-unscheduled", Sabotage::InviteUnscheduled),
    ("forget-drains", Sabotage::ForgetDrains),
    ("forget-operations", Sabotage::ForgetOperations),
    ("trust-any-epoch", Sabotage::TrustAnyEpoch),
    ("repeat-epochs", Sabotage::RepeatEpochs),
    ("outlive-leases", Sabotage::OutliveLeases),
    ("ignore-deposition", Sabotage::IgnoreDeposition),
    ("confirm-early", Sabotage::ConfirmEarly),
    ("hide-frameworks", Sabotage::HideFrameworks),
    ("obey-any-master", Sabotage::ObeyAnyMaster),
];

/// What differs from seed to seed.
#[derive(Clone, Debug)]
pub struct Settings {
    /// How many masters.
    pub masters: usize,
    /// Whether they are elected by a service that also keeps the registry; else the one master has a
    /// registry of its own.
    pub is_coordinated: bool,
    /// `--zk_session_timeout`.
    pub session_timeout: Duration,
    /// How many agents.
    pub agents: usize,
    /// How many frameworks.
    pub frameworks: usize,
    /// `--agent_ping_timeout`.
    pub ping_timeout: Duration,
    /// `--max_agent_ping_timeouts`.
    pub ping_timeouts_max: u32,
    /// `--agent_reregister_timeout`.
    pub reregister_timeout: Duration,
    /// `--offer_timeout`.
    pub offer_timeout: Option<Duration>,
    /// `--registration_backoff_factor`.
    pub registration_backoff: Duration,
    /// The mean time between two faults, in milliseconds.
    pub fault_interval: u64,
    /// How many faults in a hundred concern masters and what elects them.
    pub leadership_faults: u64,
    /// How many messages in a thousand arrive twice.
    pub doubled: u64,
    /// How many messages in a thousand take long.
    pub slow: u64,
    /// How many executors in a thousand are the framework's own.
    pub custom_executors: u64,
    /// What operators and frameworks do beyond launching tasks.
    pub policy: Policy,
}

impl Settings {
    /// Draws the settings of a run.
    #[must_use]
    pub fn draw(random: &mut Random, options: &Options) -> Self {
        let agents = usize::try_from(random.between(1, 4)).unwrap_or(1);
        let frameworks = usize::try_from(random.between(1, 3)).unwrap_or(1);
        let faults = if options.faults { 1 } else { 0 };
        // A sequence of its own, so that a policy more or less leaves the rest of a run as it is.
        let mut policies = Random::new(random.clone().number());
        let all = options.sabotage.is_some_and(Sabotage::needs_policies);
        let needs_masters = options.sabotage.is_some_and(Sabotage::needs_masters);
        let drawn = usize::try_from(policies.between(1, 3)).unwrap_or(1);
        let masters = options.masters.unwrap_or(if needs_masters { drawn.max(2) } else { drawn });
        let is_coordinated = policies.chance(500) || masters > 1;
        let longest = if needs_masters { 1_500 } else { 8_000 };
        let session_timeout = policies.millis(1_000, longest);
        let leadership_faults = [8, 16, 60][policies.index(3)];
        Self {
            masters,
            is_coordinated,
            session_timeout,
            leadership_faults: if needs_masters { 60 } else { leadership_faults },
            agents: options.agents.unwrap_or(agents),
            frameworks: options.frameworks.unwrap_or(frameworks),
            ping_timeout: random.millis(500, 5_000),
            ping_timeouts_max: u32::try_from(random.between(2, 5)).unwrap_or(2),
            reregister_timeout: random.millis(10_000, 60_000),
            offer_timeout: random.chance(300).then(|| random.millis(1_000, 20_000)),
            registration_backoff: random.millis(50, 1_000),
            fault_interval: random.between(300, 8_000),
            doubled: random.between(0, 60) * faults,
            slow: random.between(0, 100),
            custom_executors: [0, 200, 1000][random.index(3)],
            policy: Policy::draw(&mut policies, all),
        }
    }
}
