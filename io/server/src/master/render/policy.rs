//! Weights and quota, as `/api/v1`, `/weights` and `/quota` show them.

use master::view::Snapshot;
use protocol::Names;
use protocol::mesos::value::Type;
use protocol::mesos::{Resource, WeightInfo};
use protocol::quota::{QuotaConfig, QuotaInfo, QuotaStatus};

use crate::http::json::JsonWriter;

/// The weights that were set.
pub(in crate::master) fn weight_infos(snapshot: &Snapshot) -> Vec<WeightInfo> {
    let info = |(role, weight): (&String, &f64)| WeightInfo {
        role: Some(role.clone()),
        weight: *weight,
        ..Default::default()
    };
    snapshot.weights.iter().map(info).collect()
}

/// The quota of all roles that have one, in both forms.
pub(in crate::master) fn quota_status(snapshot: &Snapshot) -> QuotaStatus {
    let info = |config: &QuotaConfig| QuotaInfo {
        role: Some(config.role.clone()),
        guarantee: config
            .guarantees
            .iter()
            .map(|(name, scalar)| Resource {
                name: name.clone(),
                r#type: Type::Scalar,
                scalar: Some(scalar.clone()),
                ..Default::default()
            })
            .collect(),
        ..Default::default()
    };
    QuotaStatus {
        infos: snapshot.quotas.values().map(info).collect(),
        configs: snapshot.quotas.values().cloned().collect(),
        ..Default::default()
    }
}

/// `/weights`.
pub(in crate::master) fn weights(snapshot: &Snapshot) -> Vec<u8> {
    let mut json = JsonWriter::new();
    json.array(|json| {
        for (role, weight) in snapshot.weights.iter() {
            json.object(|json| {
                json.key("role").string(role);
                json.key("weight").double(*weight);
            });
        }
    });
    json.into_bytes()
}

/// `/quota`.
pub(in crate::master) fn quota(snapshot: &Snapshot) -> Vec<u8> {
    let mut json = JsonWriter::new();
    json.message(&quota_status(snapshot), Names::V0);
    json.into_bytes()
}
