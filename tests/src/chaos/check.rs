//! What must be true, whatever went wrong.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use serde_json::Value;

use super::ledger::Task;
use super::world::World;
use crate::{Term, try_get_json};

/// How long it may take, after a fault is mended, until all is as it should be. Most of it is the patience of
/// pymesos, which sleeps for up to 15 seconds between its attempts to connect.
const SETTLE_LIMIT: Duration = Duration::from_secs(90);

const POLL_INTERVAL: Duration = Duration::from_millis(200);

/// Resources are counted in thousandths.
const TOLERANCE: f64 = 0.0005;

/// Waits until a master leads, all agents are back, the frameworks are subscribed with that master, and every
/// task that was launched before is running or has ended, as its framework has been told.
///
/// # Errors
/// What is still missing after a while.
pub(super) fn settle(world: &mut World, since: f64) -> Result<Settled, String> {
    let start = Instant::now();
    let mut last = String::new();
    loop {
        world.supervise();
        match missing(world, since) {
            None => return Ok(Settled { time: start.elapsed(), last }),
            Some(what) if start.elapsed() > SETTLE_LIMIT => {
                return Err(format!("{what}, {SETTLE_LIMIT:?} after the fault was mended"));
            }
            Some(what) => last = what,
        }
        std::thread::sleep(POLL_INTERVAL);
    }
}

/// How all became well.
pub(super) struct Settled {
    /// How long it took.
    pub(super) time: Duration,
    /// What was missing last.
    pub(super) last: String,
}

fn missing(world: &mut World, since: f64) -> Option<String> {
    let Some(leader) = world.cluster.leader() else { return Some("nobody leads".to_owned()) };
    let term = world.cluster.terms().pop();
    let Some(term) = term.filter(|term| term.master == leader) else {
        return Some("the leader has not said so".to_owned());
    };
    let Some(state) = try_get_json(&world.cluster.masters[leader].url("/state")) else {
        return Some("the leader shows no state".to_owned());
    };
    let agents = state["slaves"].as_array().map(Vec::as_slice).unwrap_or_default();
    let active = agents.iter().filter(|agent| agent["active"] == true).count();
    if active != world.cluster.agents.len() {
        return Some(format!("{active} agents are active at the leader"));
    }
    for framework in &world.frameworks {
        let subscribed = framework.ledger.subscriptions.last().copied().unwrap_or_default();
        if subscribed < term.began.max(framework.ended) {
            return Some(format!("the framework on {} is not subscribed", framework.name));
        }
        for (id, task) in &framework.ledger.tasks {
            let is_going_on = task.is_running() && !world.runs.ended.contains(id);
            if task.launched < since && task.end().is_none() && !is_going_on {
                return Some(format!("nothing more was heard of {id}: {task:?}"));
            }
        }
    }
    None
}

/// Looks at everything once; gives what is wrong.
pub(super) fn examine(world: &mut World) -> Vec<String> {
    let mut wrong = Vec::new();
    world.supervise();
    for (id, processes) in &world.runs.started {
        if processes.len() > 1 {
            wrong.push(format!("task {id} ran {} times: {processes:?}", processes.len()));
        }
    }
    for framework in &world.frameworks {
        wrong.extend(framework.ledger.errors.iter().map(|error| {
            format!("the framework on {} was told of an error: {error}", framework.name)
        }));
        for (id, task) in &framework.ledger.tasks {
            wrong.extend(contradiction(world, id, task));
        }
    }
    wrong.extend(leaders_that_overlap(&world.cluster.terms(), &world.ends));
    wrong.extend(registry(world));
    let state = world.cluster.state();
    wrong.extend(resources(&state));
    if world.cluster.logs().contains("panicked at") {
        wrong.push("a daemon panicked".to_owned());
    }
    wrong
}

/// A task that did run, and that a master said it does not know of.
fn contradiction(world: &World, id: &str, task: &Task) -> Option<String> {
    let end = task.end()?;
    let is_given_up = ["TASK_LOST", "TASK_UNKNOWN", "TASK_GONE", "TASK_DROPPED"];
    let by_master = end.source == "SOURCE_MASTER" && is_given_up.contains(&end.state.as_str());
    let has_run = world.runs.started.contains_key(id);
    (by_master && has_run).then(|| format!("task {id} has run, and was given up: {task:?}"))
}

/// Terms that began before the one before them was over, by the clock that all daemons share.
pub(super) fn leaders_that_overlap(terms: &[Term], ends: &[(usize, f64)]) -> Vec<String> {
    let mut wrong = Vec::new();
    for pair in terms.windows(2) {
        let [earlier, later] = pair else { continue };
        if earlier.epoch == later.epoch {
            wrong.push(format!("two masters led in one epoch: {earlier:?}, {later:?}"));
        }
        if end_of(earlier, later, ends).is_none() {
            wrong.push(format!("a master led while another one did: {earlier:?}, {later:?}"));
        }
    }
    wrong
}

/// When a term was over, if that was before the next one began: as its master said, or because the test kept
/// it from going on.
pub(super) fn end_of(term: &Term, next: &Term, ends: &[(usize, f64)]) -> Option<f64> {
    let forced = ends.iter().filter(|(master, _)| *master == term.master).map(|(_, at)| *at);
    let all = forced.chain(term.ended).filter(|at| (term.began..=next.began).contains(at));
    all.reduce(f64::min)
}

fn registry(world: &World) -> Option<String> {
    let found = world.cluster.registry_epoch();
    let newest = world.cluster.terms().last().map(|term| term.epoch);
    // Without a server that answers there is nothing to compare; the next look will.
    (found.is_some() && found < newest)
        .then(|| format!("the registry is of epoch {found:?}, the leader's is {newest:?}"))
}

/// Each agent's resources: what tasks use is what is used, and no more is used and offered than there is.
fn resources(state: &Value) -> Vec<String> {
    let list = |value: &Value| value.as_array().cloned().unwrap_or_default();
    let mut by_tasks: BTreeMap<(String, &str), f64> = BTreeMap::new();
    for framework in list(&state["frameworks"]) {
        for task in list(&framework["tasks"]) {
            let ended = ["TASK_FINISHED", "TASK_FAILED", "TASK_KILLED", "TASK_LOST", "TASK_ERROR"];
            if ended.contains(&task["state"].as_str().unwrap_or_default()) {
                continue;
            }
            let agent = task["slave_id"].as_str().unwrap_or_default().to_owned();
            for name in ["cpus", "mem"] {
                let amount = task["resources"][name].as_f64().unwrap_or_default();
                *by_tasks.entry((agent.clone(), name)).or_default() += amount;
            }
        }
    }
    let mut wrong = Vec::new();
    for agent in list(&state["slaves"]) {
        let id = agent["id"].as_str().unwrap_or_default().to_owned();
        for name in ["cpus", "mem"] {
            let amount = |kind: &str| agent[kind][name].as_f64().unwrap_or_default();
            let total = amount("resources");
            let (used, offered) = (amount("used_resources"), amount("offered_resources"));
            let tasks = by_tasks.get(&(id.clone(), name)).copied().unwrap_or_default();
            if used + offered > total + TOLERANCE || (used - tasks).abs() > TOLERANCE {
                wrong.push(format!(
                    "{name} of agent {id}: {total} in all, {used} used, {tasks} by tasks, {offered} offered"
                ));
            }
        }
    }
    wrong
}
