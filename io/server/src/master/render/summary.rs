//! `/state-summary`: agents and frameworks with counts of their tasks.

use std::collections::{BTreeMap, BTreeSet};

use master::view::Snapshot;
use protocol::Names;
use protocol::mesos::{AgentId, FrameworkId, TaskState};

use super::state::Process;
use super::{agents, all_tasks, document, frameworks};
use crate::http::json::JsonWriter;

/// The states that are shown, in this order.
const STATES: [TaskState; 10] = [
    TaskState::TaskStaging,
    TaskState::TaskStarting,
    TaskState::TaskRunning,
    TaskState::TaskKilling,
    TaskState::TaskFinished,
    TaskState::TaskKilled,
    TaskState::TaskFailed,
    TaskState::TaskLost,
    TaskState::TaskError,
    TaskState::TaskUnreachable,
];

/// How many tasks are in which state.
type Counts = BTreeMap<TaskState, u64>;

fn counts(json: &mut JsonWriter, counts: Option<&Counts>) {
    for state in STATES {
        let count = counts.and_then(|counts| counts.get(&state)).copied().unwrap_or(0);
        json.key(state.name(Names::V0)).integer(count);
    }
}

fn ids<'a>(json: &mut JsonWriter, name: &str, ids: impl Iterator<Item = &'a str>) {
    json.key(name).array(|json| ids.for_each(|id| json.string(id)));
}

/// `/state-summary`. Frameworks that are gone do not count.
pub(in crate::master) fn state_summary(snapshot: &Snapshot, process: &Process) -> Vec<u8> {
    let mut by_agent: BTreeMap<&AgentId, (Counts, BTreeSet<&FrameworkId>)> = BTreeMap::new();
    let mut by_framework: BTreeMap<&FrameworkId, (Counts, BTreeSet<&AgentId>)> = BTreeMap::new();
    for (id, framework) in &snapshot.frameworks {
        let (states, agent_ids) = by_framework.entry(id).or_default();
        for task in all_tasks(framework) {
            *states.entry(task.state).or_default() += 1;
            agent_ids.insert(&*task.agent_id);
            let (states, framework_ids) = by_agent.entry(&*task.agent_id).or_default();
            *states.entry(task.state).or_default() += 1;
            framework_ids.insert(id);
        }
    }
    document(|json| {
        json.key("hostname").string(snapshot.master.hostname.as_deref().unwrap_or_default());
        if let Some(cluster) = &process.cluster {
            json.key("cluster").string(cluster);
        }
        json.key("slaves").array(|json| {
            for (id, agent) in &snapshot.agents {
                let found = by_agent.get(id);
                json.object(|json| {
                    agents::agent(json, agent);
                    counts(json, found.map(|(counts, _)| counts));
                    let related = found.into_iter().flat_map(|(_, ids)| ids);
                    ids(json, "framework_ids", related.map(|id| id.value.as_str()));
                });
            }
        });
        json.key("frameworks").array(|json| {
            for (id, framework) in &snapshot.frameworks {
                let found = by_framework.get(id);
                json.object(|json| {
                    frameworks::summary(json, framework);
                    counts(json, found.map(|(counts, _)| counts));
                    let related = found.into_iter().flat_map(|(_, ids)| ids);
                    ids(json, "slave_ids", related.map(|id| id.value.as_str()));
                });
            }
        });
    })
}
