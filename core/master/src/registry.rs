//! What a master remembers beyond its own life: small records, one for each agent and framework.
//!
//! | key | value |
//! |---|---|
//! | `master` | [`MasterRecord`]: the count of masters that have led, and the last one's id |
//! | `agent/<agent id>` | [`AgentRecord`]: admitted, unreachable or gone |
//! | `framework/<framework id>` | [`FrameworkRecord`]: with the deadline of its failover, or removed |
//! | `maintenance/schedule` | when which machines will be away |
//! | `maintenance/down/<host name>/<address>` | that a machine is down |
//! | `weight/<role>` | the share of a role, as an operator set it |
//! | `quota/<role>` | the quota of a role |
//!
//! A value is one byte for the form of what follows, fixed-size numbers in little-endian order, then
//! one protobuf. A change costs one small write.

mod policy;

use protocol::maintenance::Schedule;
use protocol::mesos::{AgentId, AgentInfo, DrainInfo, FrameworkId, FrameworkInfo, MachineId};
use protocol::quota::QuotaConfig;
use protocol::time::Timestamp;
use protocol::{DecodeError, Message};

use crate::effect::RegistryChange;
pub use policy::{quota_change, quota_deletion, weight_change};

/// The key of the [`MasterRecord`].
pub const MASTER_KEY: &str = "master";
const AGENT_PREFIX: &str = "agent/";
const FRAMEWORK_PREFIX: &str = "framework/";
const SCHEDULE_KEY: &str = "maintenance/schedule";
const MACHINE_DOWN_PREFIX: &str = "maintenance/down/";

/// Who led last.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MasterRecord {
    /// How many masters have led on this registry, this one included.
    pub epoch: u64,
    /// The id of the one that wrote the record.
    pub id: String,
}

/// Whether an operator keeps an agent out of the offers.
#[derive(Clone, Debug, Default, PartialEq)]
pub enum Participation {
    /// Its resources are offered.
    #[default]
    Full,
    /// Its resources are not offered; its tasks run on.
    Deactivated,
    /// Its resources are not offered, and its tasks are being killed or were.
    Drain(Box<DrainInfo>),
}

/// What the registry says of an agent.
#[derive(Clone, Debug, PartialEq)]
pub enum AgentStanding {
    /// A member of the cluster.
    Admitted {
        /// What operators decided about its offers.
        participation: Participation,
    },
    /// Removed because it did not answer; it may return.
    Unreachable {
        /// Since when.
        since: Timestamp,
        /// What operators decided about its offers.
        participation: Participation,
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
    /// Under `maintenance/schedule`.
    Schedule(Box<Schedule>),
    /// Under `maintenance/down/<host name>/<address>`.
    MachineDown(MachineId),
    /// Under `weight/<role>`.
    Weight {
        /// The role.
        role: String,
        /// Its share, a positive number.
        weight: f64,
    },
    /// Under `quota/<role>`.
    Quota(Box<QuotaConfig>),
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
// These two have a length in four bytes and a `DrainInfo` before the `AgentInfo`.
const AGENT_DRAIN: u8 = 6;
const AGENT_UNREACHABLE_DRAIN: u8 = 7;
const FRAMEWORK_SUBSCRIBED: u8 = 1;
const FRAMEWORK_DISCONNECTED: u8 = 2;
const FRAMEWORK_REMOVED: u8 = 3;
const SCHEDULE: u8 = 1;
const MACHINE_DOWN: u8 = 1;

impl Record {
    /// Reads a record.
    ///
    /// # Errors
    /// When the key or the value is not one that the functions of this module make.
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
        if let Some(record) = policy::decode(key, *form, rest) {
            return record;
        }
        let (time, message) = rest.split_first_chunk::<8>().ok_or_else(short)?;
        let time = Timestamp::from_nanos(i64::from_le_bytes(*time));
        if key.starts_with(AGENT_PREFIX) {
            let (participation, message) = match *form {
                AGENT_DRAIN | AGENT_UNREACHABLE_DRAIN => {
                    let (length, rest) = message.split_first_chunk::<4>().ok_or_else(short)?;
                    let length = usize::try_from(u32::from_le_bytes(*length)).ok();
                    let (drain, info) =
                        length.and_then(|it| rest.split_at_checked(it)).ok_or_else(short)?;
                    (
                        Participation::Drain(Box::new(DrainInfo::decode(drain).map_err(failed)?)),
                        info,
                    )
                }
                AGENT_DEACTIVATED | AGENT_UNREACHABLE_DEACTIVATED => {
                    (Participation::Deactivated, message)
                }
                _ => (Participation::Full, message),
            };
            let standing = match *form {
                AGENT_ADMITTED | AGENT_DEACTIVATED | AGENT_DRAIN => {
                    AgentStanding::Admitted { participation }
                }
                AGENT_UNREACHABLE | AGENT_UNREACHABLE_DEACTIVATED | AGENT_UNREACHABLE_DRAIN => {
                    AgentStanding::Unreachable { since: time, participation }
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
        if key == SCHEDULE_KEY {
            if *form != SCHEDULE {
                return Err(unknown());
            }
            return Ok(Self::Schedule(Box::new(Schedule::decode(message).map_err(failed)?)));
        }
        if key.starts_with(MACHINE_DOWN_PREFIX) {
            if *form != MACHINE_DOWN {
                return Err(unknown());
            }
            return Ok(Self::MachineDown(MachineId::decode(message).map_err(failed)?));
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
    let (forms, participation, time) = match &record.standing {
        AgentStanding::Admitted { participation } => {
            ([AGENT_ADMITTED, AGENT_DEACTIVATED, AGENT_DRAIN], participation, Timestamp::ZERO)
        }
        AgentStanding::Unreachable { since, participation } => (
            [AGENT_UNREACHABLE, AGENT_UNREACHABLE_DEACTIVATED, AGENT_UNREACHABLE_DRAIN],
            participation,
            *since,
        ),
        AgentStanding::Gone { since } => ([AGENT_GONE; 3], &Participation::Full, *since),
    };
    let [full, deactivated, drained] = forms;
    let value = match participation {
        Participation::Full => value(full, time, &record.info),
        Participation::Deactivated => value(deactivated, time, &record.info),
        Participation::Drain(drain) => {
            let drain = drain.encode_to_vec();
            let mut value = vec![drained];
            value.extend_from_slice(&time.as_nanos().to_le_bytes());
            let length = u32::try_from(drain.len()).unwrap_or(u32::MAX);
            value.extend_from_slice(&length.to_le_bytes());
            value.extend_from_slice(&drain);
            record.info.encode(&mut value);
            value
        }
    };
    let id = record.info.id.clone().unwrap_or_default();
    RegistryChange { key: agent_key(&id), value: Some(value) }
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

/// The change that stores when which machines will be away.
#[must_use]
pub fn schedule_change(schedule: &Schedule) -> RegistryChange {
    let value = value(SCHEDULE, Timestamp::ZERO, schedule);
    RegistryChange { key: SCHEDULE_KEY.to_owned(), value: Some(value) }
}

/// The change that stores that a machine is down.
#[must_use]
pub fn machine_down_change(id: &MachineId) -> RegistryChange {
    let value = value(MACHINE_DOWN, Timestamp::ZERO, id);
    RegistryChange { key: machine_down_key(id), value: Some(value) }
}

/// The change that forgets that a machine is down.
#[must_use]
pub fn machine_down_deletion(id: &MachineId) -> RegistryChange {
    RegistryChange { key: machine_down_key(id), value: None }
}

fn machine_down_key(id: &MachineId) -> String {
    format!("{MACHINE_DOWN_PREFIX}{}", crate::maintenance::Machine::new(id).key())
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

    fn drained() -> Participation {
        Participation::Drain(Box::new(DrainInfo {
            state: protocol::mesos::DrainState::Drained,
            config: protocol::mesos::DrainConfig { mark_gone: Some(true), ..Default::default() },
            ..Default::default()
        }))
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
            AgentStanding::Admitted { participation: Participation::Full },
            AgentStanding::Admitted { participation: Participation::Deactivated },
            AgentStanding::Admitted { participation: drained() },
            AgentStanding::Unreachable { since: time, participation: Participation::Full },
            AgentStanding::Unreachable { since: time, participation: Participation::Deactivated },
            AgentStanding::Unreachable { since: time, participation: drained() },
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
        let machine = MachineId { hostname: Some("Node-1".to_owned()), ..Default::default() };
        let window = protocol::maintenance::Window {
            machine_ids: vec![machine.clone()],
            ..Default::default()
        };
        let schedule = Schedule { windows: vec![window], ..Default::default() };
        changes.extend([schedule_change(&schedule), machine_down_change(&machine)]);
        records.extend([Record::Schedule(Box::new(schedule)), Record::MachineDown(machine)]);
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
        assert_eq!(changes[7].key, "framework/m-0001");
        assert_eq!(changes[11].key, "maintenance/down/node-1/");
    }

    #[test]
    fn unknown_forms_and_keys_are_errors() {
        let value = [9; 20];
        for key in ["agent/a", "framework/f", "master", "maintenance/schedule"] {
            assert!(matches!(Record::decode(key, &value), Err(RecordError::Form { form: 9, .. })));
        }
        assert!(matches!(Record::decode("nothing/x", &[1; 20]), Err(RecordError::Key(_))));
    }
}
