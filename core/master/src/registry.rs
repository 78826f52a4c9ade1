//! What a master remembers beyond its own life: small records, one for each agent and framework.
//!
//! | key | value |
//! |---|---|
//! | `master` | [`MasterRecord`]: the count of masters that have led, and the last one's id |
//! | `agent/<agent id>` | [`AgentRecord`]: admitted, unreachable or gone |
//! | `framework/<framework id>` | [`FrameworkRecord`]: with the deadline of its failover, or removed |
//!
//! A value is one byte for the form of what follows, fixed-size numbers in little-endian order, then
//! one protobuf. A change costs one small write.

use protocol::mesos::{AgentId, AgentInfo, FrameworkId, FrameworkInfo};
use protocol::time::Timestamp;
use protocol::{DecodeError, Message};

use crate::effect::RegistryChange;

/// The key of the [`MasterRecord`].
pub const MASTER_KEY: &str = "master";
const AGENT_PREFIX: &str = "agent/";
const FRAMEWORK_PREFIX: &str = "framework/";

/// Who led last.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MasterRecord {
    /// How many masters have led on this registry, this one included.
    pub epoch: u64,
    /// The id of the one that wrote the record.
    pub id: String,
}

/// What the registry says of an agent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AgentStanding {
    /// A member of the cluster.
    Admitted {
        /// Whether an operator took it out of the offers.
        deactivated: bool,
    },
    /// Removed because it did not answer; it may return.
    Unreachable {
        /// Since when.
        since: Timestamp,
    },
    /// Declared gone by an operator; it may never return.
    Gone {
        /// Since when.
        since: Timestamp,
    },
}

/// One agent.
#[derive(Clone, Debug, PartialEq)]
pub struct AgentRecord {
    /// Where it stands.
    pub standing: AgentStanding,
    /// What it last said of itself, its id included.
    pub info: AgentInfo,
}

/// Where the registry says a framework stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FrameworkStanding {
    /// Subscribed when the record was written.
    Subscribed,
    /// Away; removed unless it is back by then.
    Disconnected {
        /// When its failover timeout ends.
        deadline: Timestamp,
    },
    /// Torn down; its id may never return.
    Removed {
        /// Since when.
        since: Timestamp,
    },
}

/// One framework. Mesos keeps none, and forgets failover timeouts and removed ids with each master.
#[derive(Clone, Debug, PartialEq)]
pub struct FrameworkRecord {
    /// Where it stands.
    pub standing: FrameworkStanding,
    /// What it last said of itself, its id included.
    pub info: FrameworkInfo,
}

/// Any record.
#[derive(Clone, Debug, PartialEq)]
pub enum Record {
    /// Under `master`.
    Master(MasterRecord),
    /// Under `agent/<id>`.
    Agent(Box<AgentRecord>),
    /// Under `framework/<id>`.
    Framework(Box<FrameworkRecord>),
}
