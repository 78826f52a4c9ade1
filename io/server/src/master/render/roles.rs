//! Roles, as `/roles` and `GET_ROLES` show them.

use master::view::{RoleView, Snapshot};
use protocol::mesos;
use resources::{Quantities, Quantity, Resource, Resources};

use super::{document, fields};
use crate::http::json::JsonWriter;

/// What `GET_ROLES` can show of a role's resources.
const SHOWN: [&str; 4] = ["cpus", "disk", "gpus", "mem"];

/// What a role and those below it have, taken together.
struct Breakdown {
    allocated: Quantities,
    offered: Quantities,
    reserved: Quantities,
    consumed: Quantities,
}

impl Breakdown {
    fn new(snapshot: &Snapshot, role: &str) -> Self {
        let mut allocated = Quantities::new();
        let mut offered = Quantities::new();
        for framework in snapshot.frameworks.values() {
            allocated += &framework.used_resources.allocated_to_subtree(role).scalar_quantities();
            offered += &framework.offered_resources.allocated_to_subtree(role).scalar_quantities();
        }
        let mut reserved = Quantities::new();
        let mut consumed = allocated.clone();
        for agent in snapshot.agents.values() {
            let total = agent.total_resources.reserved_to_subtree(role).scalar_quantities();
            let used = agent.used_resources.reserved_to_subtree(role).scalar_quantities();
            consumed += &total.saturating_sub(&used);
            reserved += &total;
        }
        Self { allocated, offered, reserved, consumed }
    }
}

fn quantities(json: &mut JsonWriter, name: &str, quantities: &Quantities) {
    json.key(name).object(|json| fields(json, &quantities.summary()));
}

fn role(json: &mut JsonWriter, snapshot: &Snapshot, name: &str, view: &RoleView) {
    let breakdown = Breakdown::new(snapshot, name);
    json.key("name").string(name);
    json.key("weight").double(view.weight);
    json.key("quota").object(|json| {
        json.key("role").string(name);
        json.key("guarantee").object(|_| ());
        json.key("limit").object(|_| ());
        quantities(json, "consumed", &breakdown.consumed);
    });
    let mut held = breakdown.allocated.clone();
    held += &breakdown.offered;
    quantities(json, "resources", &held);
    quantities(json, "allocated", &breakdown.allocated);
    quantities(json, "offered", &breakdown.offered);
    quantities(json, "reserved", &breakdown.reserved);
    json.key("frameworks")
        .array(|json| view.frameworks.iter().for_each(|id| json.string(&id.value)));
}

/// `/roles`.
pub(in crate::master) fn roles(snapshot: &Snapshot) -> Vec<u8> {
    document(|json| {
        json.key("roles").array(|json| {
            for (name, view) in &snapshot.roles {
                json.object(|json| role(json, snapshot, name, view));
            }
        });
    })
}

/// The roles of `GET_ROLES`.
pub(super) fn messages(snapshot: &Snapshot) -> Vec<mesos::Role> {
    let message = |(name, view): (&String, &std::sync::Arc<RoleView>)| {
        let breakdown = Breakdown::new(snapshot, name);
        let mut held = breakdown.allocated;
        held += &breakdown.offered;
        let shown: Resources = SHOWN
            .iter()
            .map(|resource| (*resource, held.get(resource)))
            .filter(|(_, quantity)| *quantity != Quantity::ZERO)
            .map(|(resource, quantity)| Resource::scalar(resource, quantity))
            .collect();
        mesos::Role {
            name: name.clone(),
            weight: view.weight,
            frameworks: view.frameworks.clone(),
            resources: shown.to_wire(),
            ..Default::default()
        }
    };
    snapshot.roles.iter().map(message).collect()
}
