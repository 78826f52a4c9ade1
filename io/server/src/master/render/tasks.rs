//! Tasks, as `/state` and `/tasks` show them.

use std::cmp::Ordering;
use std::sync::Arc;

use master::view::Snapshot;
use protocol::Names;
use protocol::mesos::{ContainerStatus, NetworkInfo, Task, TaskStatus};

use super::frameworks::{allocation_role, labels, wire_resources};
use super::{all_frameworks, all_tasks, document};
use crate::http::Query;
use crate::http::json::JsonWriter;

/// How many tasks `/tasks` shows when it is not told.
const TASKS_DEFAULT: usize = 100;

/// The fields of a task.
pub(super) fn task(json: &mut JsonWriter, task: &Task) {
    json.key("id").string(&task.task_id.value);
    json.key("name").string(&task.name);
    json.key("framework_id").string(&task.framework_id.value);
    json.key("executor_id").string(task.executor_id.as_ref().map_or("", |id| &id.value));
    json.key("slave_id").string(&task.agent_id.value);
    json.key("state").string(task.state.name(Names::V0));
    wire_resources(json, &task.resources);
    if !task.limits.is_empty() {
        json.key("limits").object(|json| {
            for (name, limit) in &task.limits {
                json.key(name).double(limit.value);
            }
        });
    }
    json.key("role").string(task.resources.first().map_or("", allocation_role));
    json.key("statuses").array(|json| {
        for one in &task.statuses {
            json.object(|json| status(json, one));
        }
    });
    if let Some(user) = &task.user {
        json.key("user").string(user);
    }
    if let Some(list) = &task.labels {
        json.key("labels");
        labels(json, list);
    }
    if let Some(discovery) = &task.discovery {
        json.key("discovery").message(discovery, Names::V0);
    }
    if let Some(container) = &task.container {
        json.key("container").message(container.as_ref(), Names::V0);
    }
    if let Some(check) = &task.health_check {
        json.key("health_check").message(check.as_ref(), Names::V0);
    }
}

fn status(json: &mut JsonWriter, status: &TaskStatus) {
    json.key("state").string(status.state.name(Names::V0));
    json.key("timestamp").double(status.timestamp.unwrap_or(0.0));
    if let Some(list) = &status.labels {
        json.key("labels");
        labels(json, list);
    }
    if let Some(container) = &status.container_status {
        json.key("container_status").object(|json| container_status(json, container));
    }
    if let Some(healthy) = status.healthy {
        json.key("healthy").boolean(healthy);
    }
}

fn container_status(json: &mut JsonWriter, status: &ContainerStatus) {
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

fn network(json: &mut JsonWriter, info: &NetworkInfo) {
    if !info.groups.is_empty() {
        json.key("groups").array(|json| info.groups.iter().for_each(|group| json.string(group)));
    }
    if let Some(list) = &info.labels {
        json.key("labels");
        labels(json, list);
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

/// Which tasks `/tasks` is asked for.
#[derive(Clone, Debug)]
pub(in crate::master) struct TaskQuery {
    limit: usize,
    offset: usize,
    ascending: bool,
    framework_id: Option<String>,
    task_id: Option<String>,
}

impl TaskQuery {
    /// Reads it; what is no number counts as not given.
    pub(in crate::master) fn new(query: &Query) -> Self {
        let number = |name| query.get(name).and_then(|text| text.parse().ok());
        Self {
            limit: number("limit").unwrap_or(TASKS_DEFAULT),
            offset: number("offset").unwrap_or(0),
            ascending: query.get("order") == Some("asc"),
            framework_id: query.get("framework_id").map(str::to_owned),
            task_id: query.get("task_id").map(str::to_owned),
        }
    }
}

/// `/tasks`, by the time of their first status.
pub(in crate::master) fn tasks(snapshot: &Snapshot, query: &TaskQuery) -> Vec<u8> {
    let named = |wanted: &Option<String>, id: &str| wanted.as_ref().is_none_or(|it| it == id);
    let mut found: Vec<&Arc<Task>> = all_frameworks(snapshot)
        .flat_map(all_tasks)
        .filter(|task| named(&query.framework_id, &task.framework_id.value))
        .filter(|task| named(&query.task_id, &task.task_id.value))
        .collect();
    found.sort_by(|one, other| {
        let order = by_first_status(one, other);
        if query.ascending { order } else { order.reverse() }
    });
    document(|json| {
        json.key("tasks").array(|json| {
            for one in found.into_iter().skip(query.offset).take(query.limit) {
                json.object(|json| task(json, one));
            }
        });
    })
}

fn by_first_status(one: &Task, other: &Task) -> Ordering {
    let first = |task: &Task| task.statuses.first().map(|status| status.timestamp.unwrap_or(0.0));
    match (first(one), first(other)) {
        (Some(one), Some(other)) => one.total_cmp(&other),
        (one, other) => one.is_some().cmp(&other.is_some()),
    }
}
