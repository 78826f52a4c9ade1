//! Messages of agents.

use std::collections::BTreeSet;

use protocol::causes::with_causes;
use protocol::internal::{RegisterSlaveMessage, ReregisterSlaveMessage};
use protocol::mesos::{AgentInfo, TaskState};
use resources::Resources;

use crate::validation::{framework, id, task};

/// The oldest agents that may join (`MINIMUM_AGENT_VERSION`).
const VERSION_MINIMUM: [u32; 3] = [1, 0, 0];

/// `RegisterSlaveMessage`.
pub(crate) fn registration(message: &RegisterSlaveMessage) -> Result<(), String> {
    info(&message.slave)?;
    if !message.checkpointed_resources.is_empty() && !message.slave.checkpoint.unwrap_or(false) {
        return Err("Checkpointed resources provided when checkpointing is not enabled".to_owned());
    }
    resources(&message.checkpointed_resources)
}

/// `ReregisterSlaveMessage`: all ids in it refer to each other.
pub(crate) fn reregistration(message: &ReregisterSlaveMessage) -> Result<(), String> {
    info(&message.slave)?;
    resources(&message.checkpointed_resources)?;
    let mut frameworks = BTreeSet::new();
    for info in &message.frameworks {
        framework::info(info)?;
        let Some(id) = info.id.as_ref() else {
            return Err("Framework has no FrameworkID".to_owned());
        };
        if !frameworks.insert(id) {
            return Err(format!("Framework has a duplicate FrameworkID: '{}'", id.value));
        }
    }
    let mut executors = BTreeSet::new();
    for executor in &message.executor_infos {
        task::executor(executor)?;
        resources(&executor.resources)?;
        let Some(framework) = executor.framework_id.as_ref().filter(|id| frameworks.contains(id))
        else {
            return Err("Executor has an invalid FrameworkID".to_owned());
        };
        if !executors.insert((framework, &executor.executor_id)) {
            return Err(format!(
                "Framework '{}' has a duplicate ExecutorID '{}'",
                framework.value, executor.executor_id.value
            ));
        }
    }
    let mut tasks = BTreeSet::new();
    for task in &message.tasks {
        id(&task.task_id.value).map_err(|error| format!("Task has an invalid TaskID: {error}"))?;
        if Some(&task.agent_id) != message.slave.id.as_ref() {
            return Err(format!("Task has an invalid SlaveID '{}'", task.agent_id.value));
        }
        if !frameworks.contains(&task.framework_id) {
            return Err(format!("Task has an invalid FrameworkID '{}'", task.framework_id.value));
        }
        if !tasks.insert((&task.framework_id, &task.task_id)) {
            return Err(format!("Task has a duplicate TaskID '{}'", task.task_id.value));
        }
        if let Some(executor) = task.executor_id.as_ref()
            && task.state == TaskState::TaskRunning
            && !executors.contains(&(&task.framework_id, executor))
        {
            return Err(format!("Task has an invalid ExecutorID '{}'", executor.value));
        }
        resources(&task.resources)
            .map_err(|error| format!("Task uses invalid resources: {error}"))?;
    }
    Ok(())
}

/// The version of an agent's software is one that this master can work with.
pub(crate) fn version(version: Option<&str>) -> Result<(), String> {
    let text = version.unwrap_or_default();
    let invalid = || format!("Failed to parse version '{text}' of agent");
    // `1.12.0-dev+build`: labels do not matter here.
    let numbers = text.split(['-', '+']).next().unwrap_or_default();
    let mut parsed = [0; 3];
    for (index, part) in numbers.split('.').enumerate() {
        let slot = parsed.get_mut(index).ok_or_else(invalid)?;
        *slot = part.parse().map_err(|_| invalid())?;
    }
    if parsed < VERSION_MINIMUM {
        return Err(format!("agent version is {text}, minimum supported agent version is 1.0.0"));
    }
    Ok(())
}

fn info(info: &AgentInfo) -> Result<(), String> {
    if let Some(agent) = info.id.as_ref() {
        id(&agent.value)?;
    }
    resources(&info.resources)
}

fn resources(list: &[protocol::mesos::Resource]) -> Result<(), String> {
    Resources::from_wire(list).map(|_| ()).map_err(|error| with_causes(&error))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn agents_before_one_are_refused() {
        for good in ["1.0.0", "1.12.0", "1.12.0-dev", "2.0", "1.11.0+g12"] {
            assert_eq!(version(Some(good)), Ok(()), "{good}");
        }
        for bad in ["0.28.2", "", "one", "1.x", "1.2.3.4"] {
            assert!(version(Some(bad)).is_err(), "{bad}");
        }
        assert!(version(None).is_err());
    }
}
