//! Roles, as `/roles` and `GET_ROLES` show them.

use std::collections::BTreeMap;

use master::view::{RoleView, Snapshot};
use protocol::mesos;
use protocol::mesos::value::Scalar;
use resources::{Quantities, Quantity, Resource, Resources};

use super::{document, fields};
use crate::http::json::JsonWriter;

/// What `GET_ROLES` can show of a role's resources.
const SHOWN: [&str; 4] = ["cpus", "disk", "gpus", "mem"];

fn quantities(json: &mut JsonWriter, name: &str, quantities: &Quantities) {
    json.key(name).object(|json| fields(json, &quantities.summary()));
}

fn scalars(json: &mut JsonWriter, name: &str, scalars: &BTreeMap<String, Scalar>) {
    json.key(name).object(|json| {
        for (name, scalar) in scalars {
            json.key(name).double(scalar.value);
        }
    });
}

fn role(json: &mut JsonWriter, name: &str, view: &RoleView) {
    json.key("name").string(name);
    json.key("weight").double(view.weight);
    json.key("quota").object(|json| {
        json.key("role").string(name);
        scalars(json, "guarantee", &view.quota.guarantees);
        scalars(json, "limit", &view.quota.limits);
        quantities(json, "consumed", &view.consumed);
    });
    let held = view.allocated.clone() + &view.offered;
    quantities(json, "resources", &held);
    quantities(json, "allocated", &view.allocated);
    quantities(json, "offered", &view.offered);
    quantities(json, "reserved", &view.reserved);
    json.key("frameworks")
        .array(|json| view.frameworks.iter().for_each(|id| json.string(&id.value)));
}

/// `/roles`.
pub(in crate::master) fn roles(snapshot: &Snapshot) -> Vec<u8> {
    document(|json| {
        json.key("roles").array(|json| {
            for (name, view) in &snapshot.roles() {
                json.object(|json| role(json, name, view));
            }
        });
    })
}

/// The roles of `GET_ROLES`.
pub(super) fn messages(snapshot: &Snapshot) -> Vec<mesos::Role> {
    let message = |(name, view): (String, RoleView)| {
        let held = view.allocated + &view.offered;
        let shown: Resources = SHOWN
            .iter()
            .map(|resource| (*resource, held.get(resource)))
            .filter(|(_, quantity)| *quantity != Quantity::ZERO)
            .map(|(resource, quantity)| Resource::scalar(resource, quantity))
            .collect();
        mesos::Role {
            name,
            weight: view.weight,
            frameworks: view.frameworks,
            resources: shown.to_wire(),
            ..Default::default()
        }
    };
    snapshot.roles().into_iter().map(message).collect()
}
