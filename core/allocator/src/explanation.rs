//! Why a framework gets no offers: what [`crate::Allocator::explain`] answers.

use protocol::mesos::{AgentId, FrameworkId};
use protocol::time::Timestamp;

/// Agents that an explanation names for each reason; of more, it gives the number.
pub const EXAMPLES_MAX: usize = 10;

/// Frameworks that an explanation names as being served before the one it is about.
pub const COMPETITORS_MAX: usize = 10;

/// Roles that an explanation names as those for whose guarantees something is held back.
pub const LACKING_ROLES_MAX: usize = 10;

/// What keeps a framework from getting offers in a role, agent by agent.
///
/// Every agent is counted once: in `possible`, or in the first of `causes` that applies to it. So the
/// counts add up to the number of agents, unless a cause without agents of its own says more about them.
#[derive(Clone, Debug, PartialEq)]
pub struct Explanation {
    /// The framework.
    pub framework: FrameworkId,
    /// The role.
    pub role: String,
    /// How many agents there are.
    pub agents: usize,
    /// Agents of which the next cycle would offer something, if nobody else were there to take it.
    pub possible: AgentSample,
    /// What keeps the others back, each reason at most once.
    pub causes: Vec<Cause>,
    /// Who is served first.
    pub standing: Standing,
}

/// A reason, and the agents it keeps back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cause {
    /// The reason.
    pub reason: Reason,
    /// Which agents.
    pub agents: AgentSample,
    /// When that ends for the first of them, where it is known.
    pub until: Option<Timestamp>,
}

/// Why an agent is not offered.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Reason {
    /// The framework is not subscribed to the role. Concerns all agents.
    NotSubscribed,
    /// The framework is not connected. Concerns all agents on which an offer were possible.
    FrameworkInactive,
    /// The framework has suppressed the role. Concerns all agents on which an offer were possible.
    Suppressed,
    /// Nothing is offered to anybody until enough agents are back after a start of the master. Concerns
    /// all agents on which an offer were possible.
    Paused,
    /// The agent is disconnected, deactivated or draining.
    AgentInactive,
    /// The agent is not on the whitelist.
    NotWhitelisted,
    /// The framework is MULTI_ROLE, the agent is older than that.
    AgentWithoutMultiRole,
    /// The role is below another one, the agent is older than that.
    AgentWithoutHierarchicalRole,
    /// The agent has GPUs, the framework lacks GPU_RESOURCES.
    Gpus,
    /// The agent is in another region than the master, the framework is not REGION_AWARE.
    RemoteRegion,
    /// The agent does not meet the framework's offer constraints.
    Constraints,
    /// Everything on the agent is held by frameworks.
    NothingFree,
    /// All that is free on the agent is reserved for roles that are neither this one nor above it.
    ReservedForOthers,
    /// All that is free is revocable, shared, or of refined reservations, which the framework lacks the
    /// capabilities for.
    NotUnderstood,
    /// Less is free than the framework's, or the master's, minimum.
    BelowMinimum,
    /// What the limits of the role's quota leave is nothing, too little, or has been refused.
    QuotaLimit {
        /// The resources whose limits do that.
        resources: Vec<String>,
    },
    /// What is left when the guarantees of other roles are held back is nothing, too little, or has been
    /// refused.
    HeldForGuarantees {
        /// Roles that miss something of their guarantees, [`LACKING_ROLES_MAX`] at most.
        roles: Vec<String>,
    },
    /// The framework has refused what is free, or more.
    Refused,
    /// All that is free are shared volumes, which are offered once in an allocation interval.
    SharedOfferedAlready,
}

/// Some agents out of a number.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AgentSample {
    /// How many there are.
    pub count: usize,
    /// The first of them, [`EXAMPLES_MAX`] at most.
    pub examples: Vec<AgentId>,
}

impl AgentSample {
    pub(crate) fn add(&mut self, agent: &AgentId) {
        self.count += 1;
        if self.examples.len() < EXAMPLES_MAX {
            self.examples.push(agent.clone());
        }
    }
}

/// Who is served before a framework, when both want the same.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Standing {
    /// The framework's dominant share of the cluster in the role.
    pub share: f64,
    /// The dominant share of its role with all below it, divided by the role's weight.
    pub role_share: f64,
    /// How many frameworks, in how many roles each, are served first.
    pub ahead: usize,
    /// The first of them in that order, [`COMPETITORS_MAX`] at most.
    pub competitors: Vec<Competitor>,
}

/// A framework that is served earlier.
#[derive(Clone, Debug, PartialEq)]
pub struct Competitor {
    /// The framework.
    pub framework: FrameworkId,
    /// The role it is served in.
    pub role: String,
    /// Its dominant share of the cluster in that role.
    pub share: f64,
    /// The dominant share of that role with all below it, divided by the role's weight.
    pub role_share: f64,
}
