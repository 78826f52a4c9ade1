//! The agent's `/state` (`src/slave/http.cpp`).

use agent::view::{ExecutorView, FrameworkView, View};
use protocol::{Names, mesos};
use resources::{Attributes, Resources};
use serde_json::{Map, Value};

use crate::host::MESOS_VERSION;
use crate::http::json::JsonWriter;
use crate::legacy;

/// The document.
pub(super) fn state(view: &View, flags: &[(String, String)]) -> Vec<u8> {
    let total = Resources::from_wire(&view.resources).unwrap_or_default();
    let allocated = Resources::from_wire(&view.allocated).unwrap_or_default();
    let mut json = JsonWriter::new();
    json.object(|json| {
        let info = crate::version::info(MESOS_VERSION);
        json.key("version").string(&info.version);
        json.key("build_date").string(info.build_date.as_deref().unwrap_or_default());
        json.key("build_time").double(info.build_time.unwrap_or(0.0));
        json.key("build_user").string(info.build_user.as_deref().unwrap_or_default());
        json.key("start_time").double(view.started.as_secs_f64());
        if let Some(id) = &view.info.id {
            json.key("id").string(&id.value);
        }
        json.key("pid").string(&view.pid.to_string());
        json.key("hostname").string(&view.info.hostname);
        json.key("capabilities").array(|json| {
            let kinds = agent::capabilities();
            kinds
                .iter()
                .filter_map(|one| one.r#type)
                .for_each(|kind| json.string(kind.name(Names::V0)));
        });
        drain(json, view);
        map(json, "resources", total.summary());
        map(json, "reserved_resources", total.reserved_summary());
        map(json, "unreserved_resources", total.unreserved().summary());
        json.key("reserved_resources_full").object(|json| {
            for (role, reserved) in total.reservations() {
                legacy::resources_full(json.key(&role), &reserved);
            }
        });
        legacy::resources_full(json.key("unreserved_resources_full"), &total.unreserved());
        map(json, "reserved_resources_allocated", allocated.reserved_summary());
        let unreserved = allocated.unreserved().summary();
        map(json, "unreserved_resources_allocated", unreserved);
        json.key("resource_providers").array(|_| {});
        let attributes = Attributes::from_wire(&view.info.attributes).unwrap_or_default();
        map(json, "attributes", attributes.summary());
        if let Some(master) = &view.master {
            json.key("master_hostname").string(&master.address.ip().to_string());
        }
        json.key("flags").object(|json| {
            for (name, value) in flags {
                json.key(name).string(value);
            }
        });
        json.key("frameworks")
            .array(|json| view.frameworks.iter().for_each(|one| framework(json, view, one)));
        json.key("completed_frameworks").array(|json| {
            view.completed_frameworks.iter().for_each(|one| framework(json, view, one));
        });
    });
    json.into_bytes()
}

/// How far the agent is with a drain, while it lasts.
fn drain(json: &mut JsonWriter, view: &View) {
    let Some(config) = &view.drain_config else { return };
    json.key("drain_config").message(&**config, Names::V0);
    if let Some(started) = view.drain_started {
        let seconds = started.as_nanos() / 1_000_000_000;
        json.key("estimated_drain_start_time_seconds").raw(seconds.to_string().as_bytes());
    }
}

/// `/flags`.
pub(super) fn flags(flags: &[(String, String)]) -> Vec<u8> {
    let mut json = JsonWriter::new();
    json.object(|json| {
        json.key("flags").object(|json| {
            flags.iter().for_each(|(name, value)| json.key(name).string(value));
        });
    });
    json.into_bytes()
}

fn map(json: &mut JsonWriter, key: &str, fields: Map<String, Value>) {
    json.key(key).raw(Value::Object(fields).to_string().as_bytes());
}

fn framework(json: &mut JsonWriter, view: &View, framework: &FrameworkView) {
    let info = &framework.info;
    json.object(|json| {
        json.key("id").string(info.id.as_ref().map_or("", |id| &id.value));
        json.key("name").string(&info.name);
        json.key("user").string(&info.user);
        json.key("failover_timeout").double(info.failover_timeout());
        json.key("checkpoint").boolean(info.checkpoint());
        json.key("hostname").string(info.hostname.as_deref().unwrap_or_default());
        if let Some(principal) = &info.principal {
            json.key("principal").string(principal);
        }
        if is_multi_role(info) {
            json.key("roles").array(|json| info.roles.iter().for_each(|role| json.string(role)));
        } else {
            json.key("role").string(&info.role());
        }
        json.key("executors").array(|json| {
            framework.executors.iter().for_each(|one| executor(json, view, framework, one));
        });
        json.key("completed_executors").array(|json| {
            framework
                .completed_executors
                .iter()
                .for_each(|one| executor(json, view, framework, one));
        });
    });
}

fn is_multi_role(info: &mesos::FrameworkInfo) -> bool {
    let wanted = mesos::framework_info::capability::Type::MultiRole;
    info.capabilities.iter().any(|capability| capability.r#type == Some(wanted))
}

fn executor(
    json: &mut JsonWriter,
    view: &View,
    framework: &FrameworkView,
    executor: &ExecutorView,
) {
    let info = &executor.info;
    json.object(|json| {
        json.key("id").string(&info.executor_id.value);
        json.key("name").string(info.name.as_deref().unwrap_or_default());
        json.key("source").string(info.source.as_deref().unwrap_or_default());
        json.key("container").string(&executor.container.value);
        json.key("directory").string(&executor.directory);
        legacy::resources(json.key("resources"), &executor.resources);
        // An executor that has ended holds nothing any more.
        let role = legacy::role(&executor.resources).or_else(|| legacy::role(&info.resources));
        if let Some(role) = role {
            json.key("role").string(role);
        }
        if let Some(labels) = &info.labels {
            legacy::labels(json.key("labels"), labels);
        }
        json.key("tasks")
            .array(|json| executor.launched_tasks.iter().for_each(|one| legacy::task(json, one)));
        json.key("queued_tasks").array(|json| {
            for info in &executor.queued_tasks {
                legacy::task(json, &super::calls::staging(view, framework, executor, info));
            }
        });
        json.key("completed_tasks").array(|json| {
            let ended = executor.completed_tasks.iter().chain(&executor.terminated_tasks);
            ended.for_each(|one| legacy::task(json, one));
        });
    });
}
