//! The records of what operators decided about roles: weights and quota.

use protocol::Message;
use protocol::mesos::WeightInfo;
use protocol::quota::QuotaConfig;

use super::{Record, RecordError};
use crate::effect::RegistryChange;

const WEIGHT_PREFIX: &str = "weight/";
const QUOTA_PREFIX: &str = "quota/";
/// The one form of either value: a protobuf.
const PROTOBUF: u8 = 1;

/// The change that stores the weight of a role.
#[must_use]
pub fn weight_change(role: &str, weight: f64) -> RegistryChange {
    let info = WeightInfo { role: Some(role.to_owned()), weight, ..Default::default() };
    RegistryChange { key: format!("{WEIGHT_PREFIX}{role}"), value: Some(value(&info)) }
}

/// The change that stores the quota of a role.
#[must_use]
pub fn quota_change(config: &QuotaConfig) -> RegistryChange {
    RegistryChange { key: format!("{QUOTA_PREFIX}{}", config.role), value: Some(value(config)) }
}

/// The change that forgets the quota of a role.
#[must_use]
pub fn quota_deletion(role: &str) -> RegistryChange {
    RegistryChange { key: format!("{QUOTA_PREFIX}{role}"), value: None }
}

fn value(message: &impl Message) -> Vec<u8> {
    let mut value = vec![PROTOBUF];
    message.encode(&mut value);
    value
}

/// Reads one of these records; nothing when the key is of another kind.
pub(super) fn decode(key: &str, form: u8, message: &[u8]) -> Option<Result<Record, RecordError>> {
    let is_weight = key.starts_with(WEIGHT_PREFIX);
    if !is_weight && !key.starts_with(QUOTA_PREFIX) {
        return None;
    }
    if form != PROTOBUF {
        return Some(Err(RecordError::Form { key: key.to_owned(), form }));
    }
    let record = if is_weight {
        WeightInfo::decode(message)
            .map(|info| Record::Weight { role: info.role.unwrap_or_default(), weight: info.weight })
    } else {
        QuotaConfig::decode(message).map(|config| Record::Quota(Box::new(config)))
    };
    Some(record.map_err(|source| RecordError::Decode { key: key.to_owned(), source }))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use protocol::mesos::value::Scalar;

    use super::*;

    fn read(change: &RegistryChange) -> Result<Record, RecordError> {
        Record::decode(&change.key, change.value.as_deref().unwrap())
    }

    #[test]
    fn weights_and_quota_read_back_as_written() {
        let change = weight_change("ads/eu", 2.5);
        assert_eq!(change.key, "weight/ads/eu");
        let expected = Record::Weight { role: "ads/eu".to_owned(), weight: 2.5 };
        assert_eq!(read(&change).unwrap(), expected);

        let scalar = |value| Scalar { value, ..Default::default() };
        let config = QuotaConfig {
            role: "ads".to_owned(),
            guarantees: BTreeMap::from([("cpus".to_owned(), scalar(1.0))]),
            limits: BTreeMap::from([("cpus".to_owned(), scalar(2.0))]),
            ..Default::default()
        };
        let change = quota_change(&config);
        assert_eq!(change.key, "quota/ads");
        assert_eq!(read(&change).unwrap(), Record::Quota(Box::new(config)));
        assert_eq!(quota_deletion("ads").key, change.key);
    }

    #[test]
    fn other_forms_are_errors() {
        for key in ["weight/ads", "quota/ads"] {
            let error = Record::decode(key, &[9, 1]).unwrap_err();
            assert!(matches!(error, RecordError::Form { form: 9, .. }), "{error}");
            let error = Record::decode(key, &[1, 0xff]).unwrap_err();
            assert!(matches!(error, RecordError::Decode { .. }), "{error}");
            assert!(matches!(Record::decode(key, &[]), Err(RecordError::Short(_))));
        }
    }
}
