//! Frameworks, as `/state`, `/state-summary` and `/frameworks` show them.

use std::sync::Arc;

use master::view::{FrameworkView, Snapshot, TaskRecord};
use protocol::mesos::framework_info::capability::Type;
use protocol::mesos::{AgentId, CommandInfo, ExecutorInfo, Offer};
use protocol::{Names, scheduler};

use super::agents::resources;
use super::document;
use crate::http::json::JsonWriter;
use crate::legacy;

/// The role of a framework that names none.
const DEFAULT_ROLE: &str = "*";

/// The fields that `/state-summary` shows too.
pub(super) fn summary(json: &mut JsonWriter, framework: &FrameworkView) {
    let info = framework.info.as_ref();
    json.key("id").string(info.id.as_ref().map_or("", |id| &id.value));
    json.key("name").string(&info.name);
    if let Some(pid) = &framework.pid {
        json.key("pid").string(&pid.to_string());
    }
    resources(json, "used_resources", &framework.used_resources);
    resources(json, "offered_resources", &framework.offered_resources);
    json.key("capabilities").array(|json| {
        for capability in &info.capabilities {
            json.string(capability.r#type.map_or("UNKNOWN", |r#type| r#type.name(Names::V0)));
        }
    });
    json.key("hostname").string(info.hostname.as_deref().unwrap_or_default());
    json.key("webui_url").string(info.webui_url.as_deref().unwrap_or_default());
    json.key("active").boolean(framework.active);
    json.key("connected").boolean(framework.connected);
    json.key("recovered").boolean(framework.recovered);
}

/// All fields of a framework.
pub(super) fn framework(json: &mut JsonWriter, framework: &FrameworkView) {
    summary(json, framework);
    let info = framework.info.as_ref();
    json.key("user").string(&info.user);
    json.key("failover_timeout").double(info.failover_timeout.unwrap_or(0.0));
    json.key("checkpoint").boolean(info.checkpoint.unwrap_or(false));
    json.key("registered_time").double(framework.registered_time.as_secs_f64());
    let unregistered = framework.unregistered_time.map_or(0.0, |time| time.as_secs_f64());
    json.key("unregistered_time").double(unregistered);
    if let Some(principal) = &info.principal {
        json.key("principal").string(principal);
    }
    let held = &framework.used_resources + &framework.offered_resources;
    resources(json, "resources", &held);
    if let Some(time) = framework.reregistered_time
        && time != framework.registered_time
    {
        json.key("reregistered_time").double(time.as_secs_f64());
    }
    if info.capabilities.iter().any(|capability| capability.r#type == Some(Type::MultiRole)) {
        json.key("roles").array(|json| info.roles.iter().for_each(|role| json.string(role)));
    } else {
        json.key("role").string(info.role.as_deref().unwrap_or(DEFAULT_ROLE));
    }
    tasks(json, "tasks", framework.tasks.iter());
    tasks(json, "unreachable_tasks", framework.unreachable_tasks.iter());
    tasks(json, "completed_tasks", framework.completed_tasks.iter());
    json.key("offers").array(|json| {
        for one in &framework.offers {
            json.object(|json| offer(json, one));
        }
    });
    json.key("executors").array(|json| {
        for (agent, one) in &framework.executors {
            json.object(|json| executor(json, agent, one));
        }
    });
    if let Some(list) = &info.labels {
        legacy::labels(json.key("labels"), list);
    }
    let none = scheduler::OfferConstraints::default();
    let constraints = framework.offer_constraints.as_deref().unwrap_or(&none);
    json.key("offer_constraints").message(constraints, Names::V0);
}

fn tasks<'a>(json: &mut JsonWriter, name: &str, tasks: impl Iterator<Item = &'a Arc<TaskRecord>>) {
    json.key(name).array(|json| {
        for task in tasks {
            if json.is_abandoned() {
                return;
            }
            legacy::task(json, &task.to_task());
        }
    });
}

fn offer(json: &mut JsonWriter, offer: &Offer) {
    json.key("id").string(&offer.id.value);
    json.key("framework_id").string(&offer.framework_id.value);
    let allocation = offer.allocation_info.clone().unwrap_or_default();
    json.key("allocation_info").message(&allocation, Names::V0);
    json.key("slave_id").string(&offer.agent_id.value);
    legacy::resources(json.key("resources"), &offer.resources);
}

fn executor(json: &mut JsonWriter, agent: &AgentId, executor: &ExecutorInfo) {
    json.key("executor_id").string(&executor.executor_id.value);
    json.key("name").string(executor.name.as_deref().unwrap_or_default());
    json.key("framework_id").string(executor.framework_id.as_ref().map_or("", |id| &id.value));
    let none = CommandInfo::default();
    json.key("command");
    json.object(|json| command(json, executor.command.as_ref().unwrap_or(&none)));
    legacy::resources(json.key("resources"), &executor.resources);
    if !executor.resources.is_empty() {
        json.key("role").string(legacy::role(&executor.resources).unwrap_or_default());
    }
    if let Some(list) = &executor.labels {
        legacy::labels(json.key("labels"), list);
    }
    if let Some(r#type) = executor.r#type {
        json.key("type").string(r#type.name(Names::V0));
    }
    json.key("slave_id").string(&agent.value);
}

fn command(json: &mut JsonWriter, command: &CommandInfo) {
    if let Some(shell) = command.shell {
        json.key("shell").boolean(shell);
    }
    if let Some(value) = &command.value {
        json.key("value").string(value);
    }
    json.key("argv").array(|json| {
        for argument in &command.arguments {
            json.string(argument);
        }
    });
    if let Some(environment) = &command.environment {
        json.key("environment").message(environment, Names::V0);
    }
    json.key("uris").array(|json| {
        for uri in &command.uris {
            json.object(|json| {
                json.key("value").string(&uri.value);
                json.key("executable").boolean(uri.executable.unwrap_or(false));
            });
        }
    });
}

/// `/frameworks`; only the framework called `id` if it is given.
pub(in crate::master) fn frameworks(snapshot: &Snapshot, id: Option<&str>) -> Vec<u8> {
    let wanted = |view: &FrameworkView| {
        let own = view.info.id.as_ref().map(|own| own.value.as_str());
        id.is_none() || id == own
    };
    document(|json| {
        json.key("frameworks").array(|json| {
            for view in snapshot.frameworks.values().filter(|view| wanted(view)) {
                json.object(|json| framework(json, view));
            }
        });
        json.key("completed_frameworks").array(|json| {
            for view in snapshot.completed_frameworks.iter().filter(|view| wanted(view)) {
                json.object(|json| framework(json, view));
            }
        });
        json.key("unregistered_frameworks").array(|_| ());
    })
}
