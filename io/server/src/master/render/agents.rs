//! Agents, as `/state`, `/state-summary` and `/slaves` show them.

use master::view::{AgentDescription, AgentView, Snapshot};
use protocol::Names;
use resources::{Attributes, Resources};

use super::state::domain;
use super::{document, fields};
use crate::http::json::JsonWriter;

fn info(json: &mut JsonWriter, info: &AgentDescription) {
    json.key("id").string(&info.id.value);
    json.key("hostname").string(&info.hostname);
    let port = info.port.and_then(|port| u64::try_from(port).ok());
    json.key("port").integer(port.unwrap_or(DEFAULT_AGENT_PORT));
    // They were checked when the agent registered.
    let attributes = Attributes::from_wire(&info.attributes).unwrap_or_default();
    json.key("attributes").object(|json| fields(json, &attributes.summary()));
    domain(json, info.domain.as_deref());
}

/// What an `AgentInfo` without a port means.
const DEFAULT_AGENT_PORT: u64 = 5051;

pub(super) fn resources(json: &mut JsonWriter, name: &str, resources: &Resources) {
    json.key(name).object(|json| fields(json, &resources.summary()));
}

/// The fields of an agent.
pub(super) fn agent(json: &mut JsonWriter, agent: &AgentView) {
    info(json, &agent.info);
    json.key("pid").string(&agent.pid.to_string());
    json.key("registered_time").double(agent.registered_time.as_secs_f64());
    if let Some(time) = agent.reregistered_time {
        json.key("reregistered_time").double(time.as_secs_f64());
    }
    resources(json, "resources", &agent.total_resources);
    resources(json, "used_resources", &agent.used_resources);
    resources(json, "offered_resources", &agent.offered_resources);
    json.key("reserved_resources")
        .object(|json| fields(json, &agent.total_resources.reserved_summary()));
    resources(json, "unreserved_resources", &agent.total_resources.unreserved());
    json.key("active").boolean(agent.active);
    json.key("deactivated").boolean(agent.deactivated);
    json.key("version").string(&agent.version);
    json.key("capabilities").array(|json| {
        for capability in &agent.capabilities.list {
            json.string(capability.r#type.map_or("UNKNOWN", |r#type| r#type.name(Names::V0)));
        }
    });
    if let Some(drain) = &agent.drain_info {
        json.key("drain_info").message(&**drain, Names::V0);
        if let Some(start) = agent.drain_start_time {
            json.key("estimated_drain_start_time_seconds").double(start.as_secs_f64());
        }
    }
}

/// The list of agents that have not come back yet; only the one called `id` if it is given.
pub(super) fn recovered(json: &mut JsonWriter, snapshot: &Snapshot, id: Option<&str>) {
    json.key("recovered_slaves").array(|json| {
        for (agent_id, agent) in &snapshot.recovered_agents {
            if id.is_none_or(|id| id == agent_id.value) {
                json.object(|json| info(json, agent));
            }
        }
    });
}

fn full(json: &mut JsonWriter, resources: &Resources) {
    json.array(|json| {
        for resource in resources.to_wire_endpoint() {
            json.message(&resource, Names::V0);
        }
    });
}

/// `/slaves`; only the agent called `id` if it is given.
pub(in crate::master) fn slaves(snapshot: &Snapshot, id: Option<&str>) -> Vec<u8> {
    document(|json| {
        json.key("slaves").array(|json| {
            for (agent_id, view) in &snapshot.agents {
                if id.is_some_and(|id| id != agent_id.value) {
                    continue;
                }
                json.object(|json| {
                    agent(json, view);
                    json.key("reserved_resources_full").object(|json| {
                        for (role, reserved) in view.total_resources.reservations() {
                            json.key(&role);
                            full(json, &reserved);
                        }
                    });
                    json.key("unreserved_resources_full");
                    full(json, &view.total_resources.unreserved());
                    json.key("used_resources_full");
                    full(json, &view.used_resources);
                    json.key("offered_resources_full");
                    full(json, &view.offered_resources);
                });
            }
        });
        recovered(json, snapshot, id);
    })
}
