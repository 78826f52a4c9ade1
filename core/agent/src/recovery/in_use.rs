//! What running tasks hold, which the agent must go on having.

use protocol::mesos;
use resources::Resources;

use super::read::{RecoveredExecutor, RecoveredFramework, RecoveredTask};

/// So many of those that are in the way are named.
const HOLDERS_NAMED_MAX: usize = 10;

/// A task or an executor, and what it holds.
struct Holder {
    name: String,
    resources: Resources,
}

/// Says which resources in use are missing in the total, and who uses them; nothing if none is.
///
/// Whoever ended while no agent was there counts as running, since nobody has looked yet.
pub(super) fn missing(total: &Resources, frameworks: &[RecoveredFramework]) -> Option<String> {
    let holders: Vec<Holder> = frameworks.iter().flat_map(holders_of).collect();
    let mut used = Resources::new();
    for holder in &holders {
        used += &holder.resources;
    }
    let missing = used.saturating_sub(total);
    let is_short = |name: &str| missing.iter().any(|resource| resource.name() == name);
    let short = |resources: &Resources| resources.filter(|resource| is_short(resource.name()));
    if missing.is_empty() {
        return None;
    }
    let in_the_way: Vec<String> = holders
        .iter()
        .map(|holder| (&holder.name, short(&holder.resources)))
        .filter(|(_, held)| !held.is_empty())
        .map(|(name, held)| format!("{name} uses {held}"))
        .collect();
    let mut named = in_the_way[..in_the_way.len().min(HOLDERS_NAMED_MAX)].join(", ");
    if in_the_way.len() > HOLDERS_NAMED_MAX {
        named += &format!(" and {} more", in_the_way.len() - HOLDERS_NAMED_MAX);
    }
    Some(format!("{} in use, {} left: {named}", short(&used), short(total)))
}

fn holders_of(framework: &RecoveredFramework) -> Vec<Holder> {
    framework.executors.iter().flat_map(|executor| holders_in(framework, executor)).collect()
}

/// What the master counts too: not the share that the agent adds for its own command executors.
fn holders_in(framework: &RecoveredFramework, executor: &RecoveredExecutor) -> Vec<Holder> {
    // Without a process nothing runs: it never did, or the machine was started anew.
    if executor.run.completed || executor.run.pid.is_none() {
        return Vec::new();
    }
    let of_framework = &framework.id.value;
    let mut holders = Vec::new();
    if !executor.is_command_executor {
        holders.push(Holder {
            name: format!(
                "executor {} of framework {of_framework}",
                executor.info.executor_id.value
            ),
            resources: held(&executor.info.resources),
        });
    }
    for task in executor.run.tasks.iter().filter(|task| !is_over(task)) {
        holders.push(Holder {
            name: format!("task {} of framework {of_framework}", task.record.task_id.value),
            resources: held(&task.record.resources),
        });
    }
    holders
}

fn is_over(task: &RecoveredTask) -> bool {
    task.record.state.is_terminal()
        || task.updates.iter().any(|update| update.status.state.is_terminal())
}

/// As a part of the agent's total. Of a shared volume any number of tasks may hold a copy.
fn held(wire: &[mesos::Resource]) -> Resources {
    let resources = crate::resource_state::read_valid(wire);
    resources.unallocated().non_shared()
}
