//! Tasks, as `/state` and `/tasks` show them.

use std::cmp::Ordering;
use std::sync::Arc;

use master::view::{Snapshot, TaskRecord};

use super::{all_frameworks, all_tasks, document};
use crate::http::Query;
use crate::legacy;

/// How many tasks `/tasks` shows when it is not told.
const TASKS_DEFAULT: usize = 100;

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
    let mut found: Vec<(Option<f64>, &Arc<TaskRecord>)> = all_frameworks(snapshot)
        .flat_map(all_tasks)
        .filter(|task| named(&query.framework_id, &task.framework_id.value))
        .filter(|task| named(&query.task_id, &task.task_id.value))
        .map(|task| (task.first_timestamp(), task))
        .collect();
    found.sort_by(|(one, _), (other, _)| {
        let order = by_first_status(*one, *other);
        if query.ascending { order } else { order.reverse() }
    });
    document(|json| {
        json.key("tasks").array(|json| {
            for (_, one) in found.into_iter().skip(query.offset).take(query.limit) {
                legacy::task(json, &one.to_task());
            }
        });
    })
}

fn by_first_status(one: Option<f64>, other: Option<f64>) -> Ordering {
    match (one, other) {
        (Some(one), Some(other)) => one.total_cmp(&other),
        (one, other) => one.is_some().cmp(&other.is_some()),
    }
}
