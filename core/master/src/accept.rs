//! `ACCEPT`: a framework uses offers, operation by operation, in order.

mod convert;
mod form;
mod launch;

use std::borrow::Cow;
use std::sync::Arc;

pub(crate) use convert::too_many;
pub(crate) use form::prepare;
pub(crate) use launch::downgrade;

use protocol::Names;
use protocol::mesos::offer::Operation;
use protocol::mesos::offer::operation::Type;
use protocol::mesos::task_status::Reason;
use protocol::mesos::{AgentId, Filters, FrameworkId, TaskInfo, TaskState};
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
    pub(crate) framework_id: Arc<FrameworkId>,
    pub(crate) agent_id: Arc<AgentId>,
    /// The role that the offers are allocated to.
    pub(crate) role: Arc<str>,
    /// What the offers held.
    offered: Resources,
    /// What no operation has used yet, in the form that the operations so far gave it.
    pub(crate) remaining: Resources,
    /// The shared resources among these, those included that tasks have used: one copy of a shared
    /// volume is enough for several tasks.
    pub(crate) shared: Resources,
    /// What resized volumes became. It is offered again at once, and no later operation of the same
    /// call may build on it.
    resized: Resources,
}

impl Acceptance {
    /// What a task may use: what is left, and shared volumes again and again.
    fn available(&self) -> Cow<'_, Resources> {
        if self.shared.is_empty() {
            return Cow::Borrowed(&self.remaining);
        }
        Cow::Owned(&self.remaining.non_shared() + &self.shared)
    }
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
                framework_id: Arc::clone(&offer.framework_id),
                agent_id: Arc::clone(&offer.agent_id),
                role: Arc::clone(&offer.role),
                offered: Resources::new(),
                remaining: Resources::new(),
                shared: Resources::new(),
                resized: Resources::new(),
            });
            acceptance.offered += &offer.resources;
            acceptance.remaining += &offer.resources;
        }
        let Some(mut acceptance) = acceptance else {
            return;
        };
        acceptance.shared = acceptance.remaining.shared();
        for operation in call.operations {
            self.accept_operation(&mut acceptance, operation);
        }
        self.return_rest(acceptance, call.filters.as_ref());
    }

    /// The offers are no good: the tasks were never launched, and the good ones of the offers are void.
    fn refuse_accept(&mut self, framework_id: &FrameworkId, call: Accept, error: &str) {
        for id in &call.offer_ids {
            if self.offers.get(id).is_some_and(|offer| *offer.framework_id == *framework_id) {
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
        let prepared = prepare(&mut operation, Some(&acceptance.role))
            .map_err(|error| match r#type {
                Type::Launch | Type::LaunchGroup | Type::Unknown => error,
                Type::Reserve
                | Type::Unreserve
                | Type::Create
                | Type::Destroy
                | Type::GrowVolume
                | Type::ShrinkVolume
                | Type::CreateDisk
                | Type::DestroyDisk => {
                    format!("Operation attempted with invalid resources: {error}")
                }
            })
            .and_then(|()| self.allow_operation_id(acceptance, &operation, r#type));
        if let Err(error) = prepared {
            self.refuse_operation(acceptance, &operation, r#type, &error);
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
            Type::Reserve
            | Type::Unreserve
            | Type::Create
            | Type::Destroy
            | Type::GrowVolume
            | Type::ShrinkVolume => self.convert(acceptance, operation),
            Type::CreateDisk | Type::DestroyDisk => {
                let error = format!("Operation {} is not supported", r#type.name(Names::V1));
                self.drop_operation(&acceptance.framework_id, &operation, error);
            }
            // Of a newer Mesos. There is nothing to answer to.
            Type::Unknown => self.metrics.add(Counter::DroppedMessages),
        }
    }

    /// Tells a framework why an operation, or the tasks it should have launched, came to nothing.
    fn refuse_operation(
        &mut self,
        acceptance: &Acceptance,
        operation: &Operation,
        r#type: Type,
        error: &str,
    ) {
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
        let tasks = tasks_of(operation);
        if tasks.is_empty() {
            self.drop_operation(&acceptance.framework_id, operation, error.to_owned());
        }
        for task in tasks {
            let verdict = Verdict::new(TaskState::TaskError, reason, error);
            self.refuse_task(&acceptance.framework_id, task, verdict);
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

    /// Gives back what was not used: what was offered is not offered to the framework again for a
    /// while, what its operations made of it at once.
    fn return_rest(&mut self, acceptance: Acceptance, filters: Option<&Filters>) {
        let Acceptance { framework_id, agent_id, offered, remaining, resized, .. } = acceptance;
        let converted = (&remaining + &resized).saturating_sub(&offered);
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
        self.agent_mut(&agent_id);
        self.framework_mut(&framework_id);
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
