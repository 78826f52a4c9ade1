//! `LAUNCH` and `LAUNCH_GROUP`.

use std::sync::Arc;

use protocol::internal::{ResourceVersionUuid, RunTaskGroupMessage, RunTaskMessage};
use protocol::mesos::offer::operation::{LaunchGroup, Type};
use protocol::mesos::task_status::Reason;
use protocol::mesos::{AgentId, ExecutorInfo, FrameworkId, TaskInfo, TaskState};
use resources::Resources;

use crate::Master;
use crate::accept::Acceptance;
use crate::agent::{Agent, Share};
use crate::task::Verdict;
use crate::validation;
use crate::validation::task::Site;

impl Master {
    /// Launches one task, or tells the framework why not. The next task is on its own.
    pub(crate) fn launch_task(&mut self, acceptance: &mut Acceptance, mut task: TaskInfo) {
        let framework_id = Arc::clone(&acceptance.framework_id);
        if let Some(executor) = &mut task.executor
            && executor.framework_id.is_none()
        {
            executor.framework_id = Some((*framework_id).clone());
        }
        let available = acceptance.available();
        let valid = self
            .site(acceptance, &available)
            .ok_or_else(|| "Agent removed".to_owned())
            .and_then(|site| validation::task::task(&task, site));
        let resources = match valid {
            Ok(resources) => resources,
            Err(error) => {
                let verdict = Verdict::new(TaskState::TaskError, Reason::ReasonTaskInvalid, error);
                self.refuse_task(&framework_id, &task, verdict);
                return;
            }
        };
        let launch_executor =
            task.executor.as_ref().is_none_or(|executor| self.start_executor(acceptance, executor));
        self.consume(acceptance, &resources);
        self.add_task(&framework_id, &mut task, resources);

        let framework = self.frameworks.registered.get(&framework_id);
        let agent = self.agents.registered.get(&acceptance.agent_id);
        let (Some(framework), Some(agent)) = (framework, agent) else {
            return;
        };
        let mut message = RunTaskMessage {
            framework: (*framework.info).clone(),
            task,
            resource_version_uuids: resource_versions(agent),
            pid: Some(framework.pid_text()),
            launch_executor: Some(launch_executor),
            ..Default::default()
        };
        if !agent.capabilities.reservation_refinement {
            downgrade_task(&mut message.task);
        }
        let pid = agent.pid.clone();
        self.count_framework(&framework_id, |metrics| metrics.operations.add(Type::Launch));
        self.send_to_agent(pid, message);
    }

    /// Launches all tasks of a group under one executor, or none.
    pub(crate) fn launch_group(&mut self, acceptance: &mut Acceptance, operation: LaunchGroup) {
        let framework_id = Arc::clone(&acceptance.framework_id);
        let LaunchGroup { mut executor, task_group: mut group, .. } = operation;
        if executor.framework_id.is_none() {
            executor.framework_id = Some((*framework_id).clone());
        }
        for task in &mut group.tasks {
            match &mut task.executor {
                None => task.executor = Some(Box::new(executor.clone())),
                Some(own) if own.framework_id.is_none() => {
                    own.framework_id = Some((*framework_id).clone());
                }
                Some(_) => {}
            }
        }
        let valid = self
            .site(acceptance, &acceptance.remaining)
            .ok_or_else(|| "Agent removed".to_owned())
            .and_then(|site| validation::group::group(&group, &executor, site));
        if let Err(error) = valid {
            for task in &group.tasks {
                let verdict = Verdict::new(
                    TaskState::TaskError,
                    Reason::ReasonTaskGroupInvalid,
                    error.clone(),
                );
                self.refuse_task(&framework_id, task, verdict);
            }
            return;
        }
        let launch_executor = self.start_executor(acceptance, &executor);
        for task in &mut group.tasks {
            let resources = crate::parsed(&task.resources);
            self.consume(acceptance, &resources);
            self.add_task(&framework_id, task, resources);
        }

        let framework = self.frameworks.registered.get(&framework_id);
        let agent = self.agents.registered.get(&acceptance.agent_id);
        let (Some(framework), Some(agent)) = (framework, agent) else {
            return;
        };
        if !agent.capabilities.reservation_refinement {
            downgrade(&mut executor.resources);
            group.tasks.iter_mut().for_each(downgrade_task);
        }
        let message = RunTaskGroupMessage {
            framework: (*framework.info).clone(),
            executor,
            task_group: group,
            resource_version_uuids: resource_versions(agent),
            launch_executor: Some(launch_executor),
            ..Default::default()
        };
        let pid = agent.pid.clone();
        self.count_framework(&framework_id, |metrics| metrics.operations.add(Type::LaunchGroup));
        self.send_to_agent(pid, message);
    }

    fn site<'a>(
        &'a self,
        acceptance: &'a Acceptance,
        available: &'a Resources,
    ) -> Option<Site<'a>> {
        Some(Site {
            framework: self.frameworks.registered.get(&acceptance.framework_id)?,
            agent: self.agents.registered.get(&acceptance.agent_id)?,
            available,
        })
    }

    /// Accounts for an executor, once for all its tasks. Says whether the agent must start it.
    fn start_executor(&mut self, acceptance: &mut Acceptance, executor: &ExecutorInfo) -> bool {
        let (framework_id, agent_id) = (&acceptance.framework_id, &acceptance.agent_id);
        let running = self
            .agents
            .registered
            .get(agent_id)
            .is_some_and(|agent| agent.executor(framework_id, &executor.executor_id).is_some());
        if running {
            return false;
        }
        let resources = crate::parsed(&executor.resources);
        self.add_executor(framework_id, agent_id, executor.clone(), &resources);
        self.consume(acceptance, &resources);
        true
    }

    fn add_executor(
        &mut self,
        framework_id: &Arc<FrameworkId>,
        agent_id: &Arc<AgentId>,
        executor: ExecutorInfo,
        resources: &Resources,
    ) {
        if let Some(agent) = self.agent_mut(agent_id) {
            let share = agent.frameworks.get_or_insert(framework_id, Share::default);
            share.used += resources;
            share.executors.insert(executor.executor_id.clone(), Arc::new(executor));
        }
        if let Some(framework) = self.framework_mut(framework_id) {
            framework.agents.insert(Arc::clone(agent_id), ());
        }
    }

    /// Takes what a task or executor uses out of what is left. Of a shared volume that an earlier task
    /// of the same call uses already there is another copy, which the allocator is told of.
    fn consume(&mut self, acceptance: &mut Acceptance, resources: &Resources) {
        let shared = resources.shared();
        if !shared.is_empty() {
            let additional = shared.saturating_sub(&acceptance.remaining.shared());
            if !additional.is_empty() {
                self.allocator.update_allocation(
                    &acceptance.framework_id,
                    &acceptance.agent_id,
                    &Resources::new(),
                    &additional,
                );
                acceptance.remaining += &additional;
            }
        }
        let contained = acceptance.remaining.checked_sub_assign(resources);
        debug_assert!(contained, "validation compared {resources} with what is left");
    }
}

/// The versions of resources that a launch relies on.
fn resource_versions(agent: &Agent) -> Vec<ResourceVersionUuid> {
    agent
        .resource_version
        .iter()
        .map(|uuid| ResourceVersionUuid { uuid: uuid.clone(), ..Default::default() })
        .collect()
}

fn downgrade_task(task: &mut TaskInfo) {
    downgrade(&mut task.resources);
    if let Some(executor) = &mut task.executor {
        downgrade(&mut executor.resources);
    }
}

/// Writes resources in the form that agents without `RESERVATION_REFINEMENT` know. What they cannot
/// express was refused when it was reserved.
pub(crate) fn downgrade(resources: &mut [protocol::mesos::Resource]) {
    for resource in resources {
        if resource.reservations.is_empty() && resource.reservation.is_none() {
            resource.role.get_or_insert_with(|| resources::role::UNRESERVED.to_owned());
        } else if let Ok(parsed) = resources::Resource::from_wire(resource)
            && let Ok(old) = parsed.to_wire_pre_refinement()
        {
            *resource = old;
        }
    }
}
