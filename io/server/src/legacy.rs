//! Parts of the legacy JSON documents that master and agent share (`src/common/http.cpp`).

use protocol::{Names, mesos};
use resources::Resources;

use crate::http::json::JsonWriter;

/// The resources map: sums by name.
pub(crate) fn resources(json: &mut JsonWriter, resources: &[mesos::Resource]) {
    // What stands in a daemon's own state was checked when it came in.
    let summary = Resources::from_wire(resources).unwrap_or_default().summary();
    json.raw(serde_json::Value::Object(summary).to_string().as_bytes());
}

/// The whole resources, in the form that old clients know.
pub(crate) fn resources_full(json: &mut JsonWriter, resources: &Resources) {
    let wire = resources.to_wire_pre_refinement().unwrap_or_else(|_| resources.to_wire());
    json.array(|json| wire.iter().for_each(|resource| json.message(resource, Names::V0)));
}

/// A task as `/state` and `/tasks` show it.
pub(crate) fn task(json: &mut JsonWriter, task: &mesos::Task) {
    json.object(|json| {
        json.key("id").string(&task.task_id.value);
        json.key("name").string(&task.name);
        json.key("framework_id").string(&task.framework_id.value);
        json.key("executor_id").string(task.executor_id.as_ref().map_or("", |id| &id.value));
        json.key("slave_id").string(&task.agent_id.value);
        json.key("state").string(task.state.name(Names::V0));
        resources(json.key("resources"), &task.resources);
        if !task.limits.is_empty() {
            json.key("limits").object(|json| {
                for (name, limit) in &task.limits {
                    json.key(name).double(limit.value);
                }
            });
        }
        if let Some(role) = role(&task.resources) {
            json.key("role").string(role);
        }
        json.key("statuses").array(|json| task.statuses.iter().for_each(|one| status(json, one)));
        if let Some(user) = &task.user {
            json.key("user").string(user);
        }
        if let Some(labels) = &task.labels {
            self::labels(json.key("labels"), labels);
        }
        if let Some(discovery) = &task.discovery {
            json.key("discovery").message(discovery, Names::V0);
        }
        if let Some(container) = &task.container {
            json.key("container").message(container.as_ref(), Names::V0);
        }
        if let Some(health_check) = &task.health_check {
            json.key("health_check").message(health_check.as_ref(), Names::V0);
        }
    });
}

/// The role that resources are allocated to.
pub(crate) fn role(resources: &[mesos::Resource]) -> Option<&str> {
    resources.first()?.allocation_info.as_ref()?.role.as_deref()
}

/// Labels are an array here, not an object with one.
pub(crate) fn labels(json: &mut JsonWriter, labels: &mesos::Labels) {
    json.array(|json| labels.labels.iter().for_each(|label| json.message(label, Names::V0)));
}

fn status(json: &mut JsonWriter, status: &mesos::TaskStatus) {
    json.object(|json| {
        json.key("state").string(status.state.name(Names::V0));
        json.key("timestamp").double(status.timestamp.unwrap_or(0.0));
        if let Some(labels) = &status.labels {
            self::labels(json.key("labels"), labels);
        }
        if let Some(container) = &status.container_status {
            json.key("container_status").object(|json| container_status(json, container));
        }
        if let Some(healthy) = status.healthy {
            json.key("healthy").boolean(healthy);
        }
    });
}

fn container_status(json: &mut JsonWriter, status: &mesos::ContainerStatus) {
    if let Some(id) = &status.container_id {
        json.key("container_id").message(id, Names::V0);
    }
    if !status.network_infos.is_empty() {
        json.key("network_infos").array(|json| {
            for info in &status.network_infos {
                json.object(|json| network(json, info));
            }
        });
    }
    if let Some(cgroup) = &status.cgroup_info {
        json.key("cgroup_info").message(cgroup, Names::V0);
    }
}

fn network(json: &mut JsonWriter, info: &mesos::NetworkInfo) {
    if !info.groups.is_empty() {
        json.key("groups").array(|json| info.groups.iter().for_each(|group| json.string(group)));
    }
    if let Some(list) = &info.labels {
        labels(json.key("labels"), list);
    }
    if !info.ip_addresses.is_empty() {
        json.key("ip_addresses").array(|json| {
            for address in &info.ip_addresses {
                json.message(address, Names::V0);
            }
        });
    }
    if let Some(name) = &info.name {
        json.key("name").string(name);
    }
    if !info.port_mappings.is_empty() {
        json.key("port_mappings").array(|json| {
            for mapping in &info.port_mappings {
                json.message(mapping, Names::V0);
            }
        });
    }
}
