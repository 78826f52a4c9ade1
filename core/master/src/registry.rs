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
        /// Whether an operator took it out of the offers before.
        deactivated: bool,
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

/// Why a record cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum RecordError {
    /// The key has none of the known forms.
    #[error("registry key '{0}' is not known")]
    Key(String),
    /// The value ends too early.
    #[error("registry record '{0}' is cut short")]
    Short(String),
    /// The value is of a form that this version does not know.
    #[error("registry record '{key}' has the unknown form {form}")]
    Form {
        /// The record.
        key: String,
        /// Its first byte.
        form: u8,
    },
    /// The protobuf in the value cannot be read.
    #[error("registry record '{key}' cannot be decoded")]
    Decode {
        /// The record.
        key: String,
        /// What is wrong with it.
        source: DecodeError,
    },
}

// The forms of values.
const MASTER: u8 = 1;
const AGENT_ADMITTED: u8 = 1;
const AGENT_DEACTIVATED: u8 = 2;
const AGENT_UNREACHABLE: u8 = 3;
const AGENT_UNREACHABLE_DEACTIVATED: u8 = 4;
const AGENT_GONE: u8 = 5;
const FRAMEWORK_SUBSCRIBED: u8 = 1;
const FRAMEWORK_DISCONNECTED: u8 = 2;
const FRAMEWORK_REMOVED: u8 = 3;

impl Record {
    /// Reads a record.
    ///
    /// # Errors
    /// When the key or the value is not one that [`master_change`], [`agent_change`] or
    /// [`framework_change`] make.
    pub fn decode(key: &str, value: &[u8]) -> Result<Self, RecordError> {
        let short = || RecordError::Short(key.to_owned());
        let (form, rest) = value.split_first().ok_or_else(short)?;
        let unknown = || RecordError::Form { key: key.to_owned(), form: *form };
        let failed = |source| RecordError::Decode { key: key.to_owned(), source };
        if key == MASTER_KEY {
            if *form != MASTER {
                return Err(unknown());
            }
            let (epoch, id) = rest.split_first_chunk::<8>().ok_or_else(short)?;
            let id = String::from_utf8_lossy(id).into_owned();
            return Ok(Self::Master(MasterRecord { epoch: u64::from_le_bytes(*epoch), id }));
        }
        let (time, message) = rest.split_first_chunk::<8>().ok_or_else(short)?;
        let time = Timestamp::from_nanos(i64::from_le_bytes(*time));
        if key.starts_with(AGENT_PREFIX) {
            let standing = match *form {
                AGENT_ADMITTED => AgentStanding::Admitted { deactivated: false },
                AGENT_DEACTIVATED => AgentStanding::Admitted { deactivated: true },
                AGENT_UNREACHABLE => AgentStanding::Unreachable { since: time, deactivated: false },
                AGENT_UNREACHABLE_DEACTIVATED => {
                    AgentStanding::Unreachable { since: time, deactivated: true }
                }
                AGENT_GONE => AgentStanding::Gone { since: time },
                _ => return Err(unknown()),
            };
            let info = AgentInfo::decode(message).map_err(failed)?;
            return Ok(Self::Agent(Box::new(AgentRecord { standing, info })));
        }
        if key.starts_with(FRAMEWORK_PREFIX) {
            let standing = match *form {
                FRAMEWORK_SUBSCRIBED => FrameworkStanding::Subscribed,
                FRAMEWORK_DISCONNECTED => FrameworkStanding::Disconnected { deadline: time },
                FRAMEWORK_REMOVED => FrameworkStanding::Removed { since: time },
                _ => return Err(unknown()),
            };
            let info = FrameworkInfo::decode(message).map_err(failed)?;
            return Ok(Self::Framework(Box::new(FrameworkRecord { standing, info })));
        }
        Err(RecordError::Key(key.to_owned()))
    }
}

/// The change that stores who leads.
#[must_use]
pub fn master_change(record: &MasterRecord) -> RegistryChange {
    let mut value = vec![MASTER];
    value.extend_from_slice(&record.epoch.to_le_bytes());
    value.extend_from_slice(record.id.as_bytes());
    RegistryChange { key: MASTER_KEY.to_owned(), value: Some(value) }
}

/// The change that stores an agent's record under its id.
#[must_use]
pub fn agent_change(record: &AgentRecord) -> RegistryChange {
    let (form, time) = match record.standing {
        AgentStanding::Admitted { deactivated: false } => (AGENT_ADMITTED, Timestamp::ZERO),
        AgentStanding::Admitted { deactivated: true } => (AGENT_DEACTIVATED, Timestamp::ZERO),
        AgentStanding::Unreachable { since, deactivated: false } => (AGENT_UNREACHABLE, since),
        AgentStanding::Unreachable { since, deactivated: true } => {
            (AGENT_UNREACHABLE_DEACTIVATED, since)
        }
        AgentStanding::Gone { since } => (AGENT_GONE, since),
    };
    let id = record.info.id.clone().unwrap_or_default();
    RegistryChange { key: agent_key(&id), value: Some(value(form, time, &record.info)) }
}

/// The change that forgets an agent.
#[must_use]
pub fn agent_deletion(id: &AgentId) -> RegistryChange {
    RegistryChange { key: agent_key(id), value: None }
}

/// The change that stores a framework's record under its id.
#[must_use]
pub fn framework_change(record: &FrameworkRecord) -> RegistryChange {
    let (form, time) = match record.standing {
        FrameworkStanding::Subscribed => (FRAMEWORK_SUBSCRIBED, Timestamp::ZERO),
        FrameworkStanding::Disconnected { deadline } => (FRAMEWORK_DISCONNECTED, deadline),
        FrameworkStanding::Removed { since } => (FRAMEWORK_REMOVED, since),
    };
    let id = record.info.id.clone().unwrap_or_default();
    RegistryChange { key: framework_key(&id), value: Some(value(form, time, &record.info)) }
}

/// The change that forgets a framework.
#[must_use]
pub fn framework_deletion(id: &FrameworkId) -> RegistryChange {
    RegistryChange { key: framework_key(id), value: None }
}

fn agent_key(id: &AgentId) -> String {
    format!("{AGENT_PREFIX}{}", id.value)
}

fn framework_key(id: &FrameworkId) -> String {
    format!("{FRAMEWORK_PREFIX}{}", id.value)
}

fn value(form: u8, time: Timestamp, message: &impl Message) -> Vec<u8> {
    let mut value = vec![form];
    value.extend_from_slice(&time.as_nanos().to_le_bytes());
    message.encode(&mut value);
    value
}

#[cfg(test)]
mod tests {
    use super::*;

    fn agent() -> AgentInfo {
        AgentInfo {
            hostname: "node-1".to_owned(),
            id: Some(AgentId { value: "m-S1".to_owned(), ..Default::default() }),
            ..Default::default()
        }
    }

    fn framework() -> FrameworkInfo {
        FrameworkInfo {
            user: "root".to_owned(),
            name: "jobs".to_owned(),
            id: Some(FrameworkId { value: "m-0001".to_owned(), ..Default::default() }),
            failover_timeout: Some(60.0),
            ..Default::default()
        }
    }

    #[test]
    fn every_record_reads_back_as_written() {
        let time = Timestamp::from_secs(1_700_000_000);
        let mut changes = vec![];
        let mut records = vec![];
        for standing in [
            AgentStanding::Admitted { deactivated: false },
            AgentStanding::Admitted { deactivated: true },
            AgentStanding::Unreachable { since: time, deactivated: false },
            AgentStanding::Unreachable { since: time, deactivated: true },
            AgentStanding::Gone { since: time },
        ] {
            let record = AgentRecord { standing, info: agent() };
            changes.push(agent_change(&record));
            records.push(Record::Agent(Box::new(record)));
        }
        for standing in [
            FrameworkStanding::Subscribed,
            FrameworkStanding::Disconnected { deadline: time },
            FrameworkStanding::Removed { since: time },
        ] {
            let record = FrameworkRecord { standing, info: framework() };
            changes.push(framework_change(&record));
            records.push(Record::Framework(Box::new(record)));
        }
        let record = MasterRecord { epoch: 7, id: "m".to_owned() };
        changes.push(master_change(&record));
        records.push(Record::Master(record));

        for (change, record) in changes.iter().zip(records) {
            let value = change.value.as_deref().unwrap();
            assert_eq!(Record::decode(&change.key, value).unwrap(), record);
            for end in 0..value.len().min(9) {
                assert!(Record::decode(&change.key, &value[..end]).is_err(), "{end} bytes");
            }
        }
        assert_eq!(changes[0].key, "agent/m-S1");
        assert_eq!(changes[5].key, "framework/m-0001");
    }

    #[test]
    fn unknown_forms_and_keys_are_errors() {
        let value = [9; 20];
        for key in ["agent/a", "framework/f", "master"] {
            assert!(matches!(Record::decode(key, &value), Err(RecordError::Form { form: 9, .. })));
        }
        assert!(matches!(Record::decode("quota/x", &[1; 20]), Err(RecordError::Key(_))));
    }
}
