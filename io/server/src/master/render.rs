//! Renders the read model as Mesos' endpoints show it (`src/master/readonly_handler.cpp`, `src/common/http.cpp`).

mod agents;
mod envelope;
mod explain;
mod frameworks;
mod operator;
mod policy;
mod roles;
mod state;
mod summary;
mod tasks;

#[cfg(test)]
mod tests;

use std::sync::Arc;

use master::view::{FrameworkView, Snapshot, TaskRecord};

pub(super) use self::agents::slaves;
pub(super) use self::envelope::respond;
pub(super) use self::explain::{explanation, offer_constraints_debug};
pub(super) use self::frameworks::frameworks;
pub(super) use self::operator::{View, stream_view, subscribed, view};
pub(super) use self::policy::{quota, quota_status, weights};
pub(super) use self::roles::roles;
pub(super) use self::state::{Process, flags, state, stream_state};
pub(super) use self::summary::state_summary;
pub(super) use self::tasks::{TaskQuery, tasks};

use crate::http::json::JsonWriter;

/// Writes one JSON object.
fn document(fields: impl FnOnce(&mut JsonWriter)) -> Vec<u8> {
    let mut json = JsonWriter::new();
    json.object(fields);
    json.into_bytes()
}

/// Writes fields that were put together elsewhere.
fn fields(json: &mut JsonWriter, fields: &serde_json::Map<String, serde_json::Value>) {
    for (name, value) in fields {
        value_to_json(json.key(name), value);
    }
}

fn value_to_json(json: &mut JsonWriter, value: &serde_json::Value) {
    match value {
        serde_json::Value::Number(number) => json.double(number.as_f64().unwrap_or(0.0)),
        serde_json::Value::String(text) => json.string(text),
        serde_json::Value::Object(map) => json.object(|json| fields(json, map)),
        serde_json::Value::Array(values) => json.array(|json| {
            for value in values {
                value_to_json(json, value);
            }
        }),
        serde_json::Value::Bool(value) => json.boolean(*value),
        serde_json::Value::Null => json.raw(b"null"),
    }
}

/// Frameworks that are there, then those that are gone.
fn all_frameworks(snapshot: &Snapshot) -> impl Iterator<Item = &FrameworkView> {
    snapshot.frameworks.values().chain(&snapshot.completed_frameworks).map(AsRef::as_ref)
}

/// Every task that is known of a framework.
fn all_tasks(framework: &FrameworkView) -> impl Iterator<Item = &Arc<TaskRecord>> {
    let past = framework.unreachable_tasks.iter().chain(framework.completed_tasks.iter());
    framework.tasks.iter().chain(past)
}
