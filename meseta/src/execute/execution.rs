//! The framework's decisions: which offer to take, what to answer, when it is over. No I/O here.

use std::collections::BTreeMap;
use std::time::Duration;

use protocol::mesos::offer::{Operation, operation};
use protocol::mesos::{
    AgentId, ContainerInfo, ExecutorId, ExecutorInfo, FrameworkId, Offer, TaskGroupInfo, TaskId,
    TaskInfo, TaskState, TaskStatus, executor_info,
};
use protocol::scheduler::{Call, Event, call, event};
use resources::Resources;

use super::offers::take;
use super::options::{ExecuteOptions, Work};
use super::sandbox::Sandbox;
use super::status::{Ending, describe};

/// What the executor of a task group needs for itself, as in `mesos-execute`.
const GROUP_EXECUTOR_RESOURCES: &str = "cpus:0.1;mem:32;disk:32";
const GROUP_EXECUTOR_ID: &str = "default-executor";

/// What is to be done.
#[derive(Debug)]
pub(super) enum Action {
    Call(Box<Call>),
    /// Text for standard output, with its line end.
    Print(String),
    /// The task runs; it may do so for this long.
    KillAfter(Duration),
    /// The task's files are there.
    Follow(Sandbox),
    /// Everything has ended.
    Finish(Ending),
    /// It cannot go on.
    Fail(String),
}

/// One task or task group from its offer to its end.
#[derive(Debug)]
pub(super) struct Execution {
    role: String,
    work: Work,
    group_container: Option<ContainerInfo>,
    kill_after: Option<Duration>,
    framework_id: Option<FrameworkId>,
    launched: Option<Launched>,
    /// The last status of each task.
    statuses: BTreeMap<TaskId, TaskStatus>,
}

#[derive(Debug)]
struct Launched {
    agent_id: AgentId,
    /// `host:port` of the agent.
    agent: Option<String>,
}

impl Execution {
    pub(super) fn new(options: ExecuteOptions) -> Self {
        Self {
            role: options.framework.role.unwrap_or_else(|| "*".to_owned()),
            work: options.work,
            group_container: options.group_container,
            kill_after: options.kill_after,
            framework_id: None,
            launched: None,
            statuses: BTreeMap::new(),
        }
    }

    pub(super) fn handle(&mut self, event: Event) -> Vec<Action> {
        let Some(kind) = event.r#type else { return Vec::new() };
        match kind {
            event::Type::Subscribed => {
                event.subscribed.map_or_else(Vec::new, |it| self.subscribed(it))
            }
            event::Type::Offers => {
                let offers = event.offers.map(|offers| offers.offers).unwrap_or_default();
                offers.iter().flat_map(|offer| self.offered(offer)).collect()
            }
            event::Type::Update => {
                event.update.map_or_else(Vec::new, |update| self.updated(update.status))
            }
            event::Type::Error => {
                let reason = event.error.map(|error| error.message).unwrap_or_default();
                vec![Action::Fail(format!("Received an ERROR event: {reason}"))]
            }
            event::Type::Unknown
            | event::Type::InverseOffers
            | event::Type::Rescind
            | event::Type::RescindInverseOffer
            | event::Type::UpdateOperationStatus
            | event::Type::Message
            | event::Type::Failure
            | event::Type::Heartbeat => Vec::new(),
        }
    }

    /// Asks to kill every task that has not ended; nothing when none was launched.
    pub(super) fn kill(&self) -> Vec<Action> {
        let Some(launched) = &self.launched else { return Vec::new() };
        let agent_id = &launched.agent_id;
        let kill = |task_id: &TaskId| {
            let text =
                format!("Asked to kill task '{}' on agent '{}'\n", task_id.value, agent_id.value);
            let kill = call::Kill {
                task_id: task_id.clone(),
                agent_id: Some(agent_id.clone()),
                ..Default::default()
            };
            let call =
                Call { r#type: Some(call::Type::Kill), kill: Some(kill), ..Default::default() };
            [Action::Print(text), Action::Call(Box::new(call))]
        };
        self.unfinished().flat_map(kill).collect()
    }

    /// A call was certainly not sent: an offer that was to be accepted is gone.
    pub(super) fn call_not_sent(&mut self, kind: Option<call::Type>) {
        if kind == Some(call::Type::Accept) {
            self.launched = None;
        }
    }

    fn unfinished(&self) -> impl Iterator<Item = &TaskId> {
        let ids = self.work.tasks().iter().map(|task| &task.task_id);
        ids.filter(|id| self.statuses.get(id).is_none_or(|status| !status.state.is_terminal()))
    }

    fn subscribed(&mut self, subscribed: event::Subscribed) -> Vec<Action> {
        let is_new = self.framework_id.as_ref() != Some(&subscribed.framework_id);
        let text = format!("Subscribed with ID {}\n", subscribed.framework_id.value);
        self.framework_id = Some(subscribed.framework_id);
        let mut actions = if is_new { vec![Action::Print(text)] } else { Vec::new() };
        // Updates may have been lost with the old master.
        actions.extend(self.reconcile());
        actions
    }

    fn reconcile(&self) -> Option<Action> {
        let launched = self.launched.as_ref()?;
        let task = |task_id: &TaskId| call::reconcile::Task {
            task_id: task_id.clone(),
            agent_id: Some(launched.agent_id.clone()),
            ..Default::default()
        };
        let reconcile =
            call::Reconcile { tasks: self.unfinished().map(task).collect(), ..Default::default() };
        let call = Call {
            r#type: Some(call::Type::Reconcile),
            reconcile: Some(reconcile),
            ..Default::default()
        };
        Some(Action::Call(Box::new(call)))
    }

    fn offered(&mut self, offer: &Offer) -> Vec<Action> {
        let operation = match self.launched {
            Some(_) => None,
            None => self.place(offer),
        };
        let Some(operation) = operation else {
            return vec![Action::Call(Box::new(decline(offer)))];
        };
        self.launched =
            Some(Launched { agent_id: offer.agent_id.clone(), agent: agent_address(offer) });
        let accept = call::Accept {
            offer_ids: vec![offer.id.clone()],
            operations: vec![operation],
            ..Default::default()
        };
        let call =
            Call { r#type: Some(call::Type::Accept), accept: Some(accept), ..Default::default() };
        // Nothing more is wanted, so the other frameworks shall have it.
        let suppress = Call { r#type: Some(call::Type::Suppress), ..Default::default() };
        vec![
            Action::Call(Box::new(call)),
            Action::Print(self.submitted(&offer.agent_id)),
            Action::Call(Box::new(suppress)),
        ]
    }

    fn submitted(&self, agent_id: &AgentId) -> String {
        let agent = &agent_id.value;
        match &self.work {
            Work::Task(task) => format!("Submitted task '{}' to agent '{agent}'\n", task.name),
            Work::Group(group) => {
                let ids: Vec<&str> =
                    group.tasks.iter().map(|task| task.task_id.value.as_str()).collect();
                format!(
                    "Submitted task group with tasks [ {} ] to agent '{agent}'\n",
                    ids.join(", ")
                )
            }
        }
    }

    /// The launch, if the offer has what it takes.
    fn place(&self, offer: &Offer) -> Option<Operation> {
        let mut offered = Resources::from_wire(&offer.resources).ok()?.unallocated();
        let mut place = |task: &TaskInfo| {
            let wanted = Resources::from_wire(&task.resources).ok()?;
            let taken = take(&mut offered, &wanted, &self.role)?;
            Some(TaskInfo {
                agent_id: offer.agent_id.clone(),
                resources: taken.to_wire(),
                ..task.clone()
            })
        };
        match &self.work {
            Work::Task(task) => {
                let task_infos = vec![place(task)?];
                Some(Operation {
                    r#type: Some(operation::Type::Launch),
                    launch: Some(operation::Launch { task_infos, ..Default::default() }),
                    ..Default::default()
                })
            }
            Work::Group(group) => {
                let tasks: Option<Vec<TaskInfo>> = group.tasks.iter().map(&mut place).collect();
                let task_group = TaskGroupInfo { tasks: tasks?, ..group.clone() };
                let wanted = Resources::parse(GROUP_EXECUTOR_RESOURCES, "*").ok()?;
                let resources = take(&mut offered, &wanted, &self.role)?;
                let launch_group = operation::LaunchGroup {
                    executor: self.group_executor(&resources),
                    task_group,
                    ..Default::default()
                };
                Some(Operation {
                    r#type: Some(operation::Type::LaunchGroup),
                    launch_group: Some(launch_group.into()),
                    ..Default::default()
                })
            }
        }
    }

    fn group_executor(&self, resources: &Resources) -> ExecutorInfo {
        ExecutorInfo {
            r#type: Some(executor_info::Type::Default),
            executor_id: ExecutorId { value: GROUP_EXECUTOR_ID.to_owned(), ..Default::default() },
            framework_id: self.framework_id.clone(),
            container: self.group_container.clone().map(Box::new),
            resources: resources.to_wire(),
            ..Default::default()
        }
    }

    fn updated(&mut self, status: TaskStatus) -> Vec<Action> {
        let is_ours = self.work.tasks().iter().any(|task| task.task_id == status.task_id);
        let mut actions = vec![Action::Print(describe(&status))];
        actions.extend(acknowledge(&status));
        if !is_ours {
            return actions;
        }
        actions.extend(self.sandbox(&status).map(Action::Follow));
        if status.state == TaskState::TaskRunning {
            actions.extend(self.kill_after.map(Action::KillAfter));
        }
        self.statuses.insert(status.task_id.clone(), status);
        if self.unfinished().next().is_none() {
            actions.push(Action::Finish(Ending::of(self.statuses.values().cloned())));
        }
        actions
    }

    /// Where the task's output is, once an executor has reported: then the folder exists.
    fn sandbox(&self, status: &TaskStatus) -> Option<Sandbox> {
        let agent = self.launched.as_ref()?.agent.clone()?;
        let framework_id = self.framework_id.as_ref()?.value.clone();
        let is_of_executor = status.executor_id.is_some() || status.state == TaskState::TaskRunning;
        is_of_executor.then(|| Sandbox {
            agent,
            framework_id,
            // The executor of a command task has the task's id.
            executor_id: status
                .executor_id
                .as_ref()
                .map_or_else(|| status.task_id.value.clone(), |id| id.value.clone()),
        })
    }
}

fn decline(offer: &Offer) -> Call {
    let decline = call::Decline { offer_ids: vec![offer.id.clone()], ..Default::default() };
    Call { r#type: Some(call::Type::Decline), decline: Some(decline), ..Default::default() }
}

/// Only updates with a uuid want an answer.
fn acknowledge(status: &TaskStatus) -> Option<Action> {
    let acknowledge = call::Acknowledge {
        agent_id: status.agent_id.clone()?,
        task_id: status.task_id.clone(),
        uuid: status.uuid.clone()?,
        ..Default::default()
    };
    let call = Call {
        r#type: Some(call::Type::Acknowledge),
        acknowledge: Some(acknowledge),
        ..Default::default()
    };
    Some(Action::Call(Box::new(call)))
}

fn agent_address(offer: &Offer) -> Option<String> {
    let address = &offer.url.as_ref()?.address;
    let host = address.ip.as_ref().or(address.hostname.as_ref())?;
    Some(format!("{host}:{}", address.port))
}

#[cfg(test)]
mod tests;
