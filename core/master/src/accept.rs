//! `ACCEPT`: a framework uses offers, operation by operation, in order.

mod launch;

pub(crate) use launch::downgrade;

use protocol::Names;
use protocol::mesos::offer::Operation;
use protocol::mesos::offer::operation::Type;
use protocol::mesos::resource::AllocationInfo;
use protocol::mesos::task_status::Reason;
use protocol::mesos::{AgentId, Filters, FrameworkId, Resource, TaskInfo, TaskState, health_check};
use protocol::scheduler::call::Accept;
use resources::Resources;

use crate::Master;
use crate::metrics::Counter;
use crate::notice::Notice;
use crate::offer::refusal;
use crate::task::{Verdict, visible_state};
use crate::validation;

/// An `ACCEPT` in the middle of its operations.
#[derive(Clone, Debug)]
pub(crate) struct Acceptance {
    pub(crate) framework_id: FrameworkId,
    pub(crate) agent_id: AgentId,
    /// The role that the offers are allocated to.
    pub(crate) role: String,
    /// What the offers held.
    offered: Resources,
    /// What no operation has used yet, in the form that the operations so far gave it.
    pub(crate) remaining: Resources,
}

impl Master {
    pub(crate) fn accept(&mut self, framework_id: &FrameworkId, call: Accept) {
        for operation in &call.operations {
            if let Some(launch) = &operation.launch {
                self.metrics.add(if launch.task_infos.is_empty() {
                    Counter::MessagesDeclineOffers
                } else {
                    Counter::MessagesLaunchTasks
                });
            }
        }
        if let Err(error) = validation::offer::ids(&self.offers, framework_id, &call.offer_ids) {
            self.refuse_accept(framework_id, call, &error);
            return;
        }
        let mut acceptance = None;
        for id in &call.offer_ids {
            let Some(offer) = self.take_offer(id) else {
                continue;
            };
            self.count_framework(framework_id, |metrics| metrics.offers_accepted += 1);
            let acceptance = acceptance.get_or_insert_with(|| Acceptance {
                framework_id: framework_id.clone(),
                agent_id: offer.agent_id.clone(),
                role: offer.role.clone(),
                offered: Resources::new(),
                remaining: Resources::new(),
            });
            acceptance.offered += &offer.resources;
            acceptance.remaining += &offer.resources;
        }
        let Some(mut acceptance) = acceptance else {
            return;
        };
        for operation in call.operations {
            self.accept_operation(&mut acceptance, operation);
        }
        self.return_rest(acceptance, call.filters.as_ref());
    }

    /// The offers are no good: the tasks were never launched, and the good ones of the offers are void.
    fn refuse_accept(&mut self, framework_id: &FrameworkId, call: Accept, error: &str) {
        for id in &call.offer_ids {
            if self.offers.get(id).is_some_and(|offer| offer.framework_id == *framework_id) {
                self.discard_offer(id, None);
            }
        }
        let Some(framework) = self.frameworks.registered.get(framework_id) else {
            return;
        };
        let state = visible_state(TaskState::TaskDropped, framework.capabilities);
        for operation in call.operations {
            let tasks = tasks_of(&operation);
            if tasks.is_empty() {
                let reason = format!("Operation attempted with invalid offers: {error}");
                self.drop_operation(framework_id, &operation, reason);
            }
            for task in tasks {
                let verdict = Verdict::new(
                    state,
                    Reason::ReasonInvalidOffers,
                    format!("Task launched with invalid offers: {error}"),
                );
                self.refuse_task(framework_id, task, verdict);
            }
        }
    }

    fn accept_operation(&mut self, acceptance: &mut Acceptance, mut operation: Operation) {
        let r#type = operation.r#type.unwrap_or(Type::Unknown);
        let prepared = prepare(&mut operation, &acceptance.role)
            .and_then(|()| self.allow_operation_id(acceptance, &operation, r#type));
        if let Err(error) = prepared {
            let reason = match r#type {
                Type::LaunchGroup => Reason::ReasonTaskGroupInvalid,
                Type::Launch
                | Type::Reserve
                | Type::Unreserve
                | Type::Create
                | Type::Destroy
                | Type::GrowVolume
                | Type::ShrinkVolume
                | Type::CreateDisk
                | Type::DestroyDisk
                | Type::Unknown => Reason::ReasonTaskInvalid,
            };
            let tasks = tasks_of(&operation);
            if tasks.is_empty() {
                self.drop_operation(&acceptance.framework_id, &operation, error);
                return;
            }
            for task in tasks {
                let verdict = Verdict::new(TaskState::TaskError, reason, error.clone());
                self.refuse_task(&acceptance.framework_id, task, verdict);
            }
            return;
        }
        match r#type {
            Type::Launch => {
                for task in operation.launch.unwrap_or_default().task_infos {
                    self.launch_task(acceptance, task);
                }
            }
            Type::LaunchGroup => {
                self.launch_group(
                    acceptance,
                    operation.launch_group.map(|it| *it).unwrap_or_default(),
                );
            }
            Type::Reserve | Type::Unreserve | Type::Create | Type::Destroy => {
                self.convert(acceptance, operation);
            }
            Type::GrowVolume | Type::ShrinkVolume | Type::CreateDisk | Type::DestroyDisk => {
                let error = format!("Operation {} is not supported", r#type.name(Names::V1));
                self.drop_operation(&acceptance.framework_id, &operation, error);
            }
            // Of a newer Mesos. There is nothing to answer to.
            Type::Unknown => self.metrics.add(Counter::DroppedMessages),
        }
    }

    /// Whether a framework may follow an operation by an id of its own.
    fn allow_operation_id(
        &mut self,
        acceptance: &Acceptance,
        operation: &Operation,
        r#type: Type,
    ) -> Result<(), String> {
        if operation.id.is_none() {
            return Ok(());
        }
        if matches!(r#type, Type::Launch | Type::LaunchGroup) {
            return Err(format!(
                "The `id` field cannot be set on {} operations",
                r#type.name(Names::V1)
            ));
        }
        let framework = self.frameworks.registered.get(&acceptance.framework_id);
        if framework.is_some_and(|framework| framework.stream().is_none()) {
            let error = "The 'id' field was set in an offer operation, but operation feedback is \
                         not supported for the SchedulerDriver API";
            self.notify(
                &acceptance.framework_id,
                Notice::Error(format!(
                    "{error}; please use the HTTP scheduler API for this feature"
                )),
            );
            return Err(error.to_owned());
        }
        let Some(agent) = self.agents.registered.get(&acceptance.agent_id) else {
            return Err("Agent removed".to_owned());
        };
        let id = &acceptance.agent_id.value;
        if !agent.capabilities.resource_provider {
            return Err(format!(
                "Operation requested feedback, but agent {id} does not have the required \
                 RESOURCE_PROVIDER capability"
            ));
        }
        if !agent.capabilities.agent_operation_feedback {
            return Err(format!(
                "Operation on agent default resources requested feedback, but agent {id} does not \
                 have the required AGENT_OPERATION_FEEDBACK and RESOURCE_PROVIDER capabilities"
            ));
        }
        Ok(())
    }

    /// A reservation or volume operation: it takes effect here at once, so that what follows in the
    /// same call can use the result, and on the agent when it gets the message.
    fn convert(&mut self, acceptance: &mut Acceptance, operation: Operation) {
        if let Err(error) = self.try_convert(acceptance, &operation) {
            self.drop_operation(&acceptance.framework_id, &operation, error);
            return;
        }
        self.apply_operation(&acceptance.agent_id, Some(&acceptance.framework_id), operation);
    }

    fn try_convert(
        &mut self,
        acceptance: &mut Acceptance,
        operation: &Operation,
    ) -> Result<(), String> {
        self.validate_operation(acceptance, operation)?;
        let conversions =
            resources::conversions(operation).map_err(|error| validation::with_causes(&error))?;
        let mut remaining = acceptance.remaining.clone();
        for conversion in &conversions {
            remaining.apply(conversion).map_err(|error| validation::with_causes(&error))?;
        }
        acceptance.remaining = remaining;
        for conversion in &conversions {
            self.allocator.update_allocation(
                &acceptance.framework_id,
                &acceptance.agent_id,
                &conversion.consumed,
                &conversion.converted,
            );
        }
        Ok(())
    }

    fn validate_operation(
        &self,
        acceptance: &Acceptance,
        operation: &Operation,
    ) -> Result<(), String> {
        let framework = self.frameworks.registered.get(&acceptance.framework_id);
        let agent = self.agents.registered.get(&acceptance.agent_id);
        let (Some(framework), Some(agent)) = (framework, agent) else {
            return Err("Agent removed".to_owned());
        };
        let asker = validation::operation::Asker {
            framework: Some(&framework.info),
            principal: framework.info.principal.as_deref(),
        };
        if operation.reserve.as_ref().is_some_and(|reserve| !reserve.source.is_empty()) {
            return Err(
                "Reservation updates are not yet implemented for the scheduler API.".to_owned()
            );
        }
        let valid = validation::operation::any(operation, agent, asker);
        valid.map_err(|error| format!("{error}; on agent {}", agent.id.value))
    }

    /// Gives back what was not used: what was offered is not offered to the framework again for a
    /// while, what its operations made of it at once.
    fn return_rest(&mut self, acceptance: Acceptance, filters: Option<&Filters>) {
        let Acceptance { framework_id, agent_id, offered, remaining, .. } = acceptance;
        let converted = remaining.saturating_sub(&offered);
        let declined = remaining.saturating_sub(&converted);
        for (resources, refuse) in [(converted, None), (declined, Some(refusal(filters)))] {
            if !resources.is_empty() {
                self.allocator.recover_resources(
                    self.now,
                    &framework_id,
                    &agent_id,
                    &resources,
                    refuse,
                );
            }
        }
        self.views.touch_agent(&agent_id);
        self.views.touch_framework(&framework_id);
    }
}

/// The tasks that an operation launches.
fn tasks_of(operation: &Operation) -> &[TaskInfo] {
    match (&operation.launch, &operation.launch_group) {
        (Some(launch), _) => &launch.task_infos,
        (None, Some(group)) => &group.task_group.tasks,
        (None, None) => &[],
    }
}

/// Brings the resources in an operation into the one form used inside: reservations as a stack, and
/// allocated to the role of the offers.
fn prepare(operation: &mut Operation, role: &str) -> Result<(), String> {
    if let Some(launch) = &mut operation.launch {
        for task in &mut launch.task_infos {
            prepare_task(task, role)?;
        }
    }
    if let Some(group) = &mut operation.launch_group {
        normalize(&mut group.executor.resources, role)?;
        for task in &mut group.task_group.tasks {
            prepare_task(task, role)?;
        }
    }
    if let Some(reserve) = &mut operation.reserve {
        normalize(&mut reserve.source, role)?;
        normalize(&mut reserve.resources, role)?;
    }
    if let Some(unreserve) = &mut operation.unreserve {
        normalize(&mut unreserve.resources, role)?;
    }
    if let Some(create) = &mut operation.create {
        normalize(&mut create.volumes, role)?;
    }
    if let Some(destroy) = &mut operation.destroy {
        normalize(&mut destroy.volumes, role)?;
    }
    Ok(())
}

fn prepare_task(task: &mut TaskInfo, role: &str) -> Result<(), String> {
    normalize(&mut task.resources, role)?;
    if let Some(executor) = &mut task.executor {
        normalize(&mut executor.resources, role)?;
    }
    // Frameworks older than the field do not say what kind of check they mean.
    if let Some(check) = &mut task.health_check
        && check.r#type.is_none()
    {
        check.r#type = match (check.command.is_some(), check.http.is_some()) {
            (true, false) => Some(health_check::Type::Command),
            (false, true) => Some(health_check::Type::Http),
            (true, true) | (false, false) => None,
        };
    }
    Ok(())
}

fn normalize(resources: &mut [Resource], role: &str) -> Result<(), String> {
    for resource in resources {
        let mut parsed = resources::Resource::from_wire(resource)
            .map_err(|error| validation::with_causes(&error))?
            .to_wire();
        if parsed.allocation_info.is_none() {
            parsed.allocation_info =
                Some(AllocationInfo { role: Some(role.to_owned()), ..Default::default() });
        }
        *resource = parsed;
    }
    Ok(())
}
