//! The calls that every framework makes.

use protocol::mesos::offer::{Operation, operation};
use protocol::mesos::{AgentId, Offer, TaskId, TaskInfo, TaskStatus};
use protocol::scheduler::{Call, call};

use super::{CallError, Scheduler};

impl Scheduler {
    /// Launches tasks on an offer and gives the rest of it back; without tasks it declines the offer. The
    /// resources come back in another offer after five seconds, the master's default.
    ///
    /// # Errors
    /// As [`Scheduler::call`].
    pub async fn launch(&self, offer: &Offer, tasks: Vec<TaskInfo>) -> Result<(), CallError> {
        let offer_ids = vec![offer.id.clone()];
        if tasks.is_empty() {
            let decline = Some(call::Decline { offer_ids, ..Default::default() });
            return self.make(call::Type::Decline, Call { decline, ..Default::default() }).await;
        }
        let launch = Operation {
            r#type: Some(operation::Type::Launch),
            launch: Some(operation::Launch { task_infos: tasks, ..Default::default() }),
            ..Default::default()
        };
        let accept =
            Some(call::Accept { offer_ids, operations: vec![launch], ..Default::default() });
        self.make(call::Type::Accept, Call { accept, ..Default::default() }).await
    }

    /// Acknowledges a status update, so that it is not sent again; nothing if it wants no answer.
    ///
    /// # Errors
    /// As [`Scheduler::call`].
    pub async fn acknowledge(&self, status: &TaskStatus) -> Result<(), CallError> {
        let (Some(agent_id), Some(uuid)) = (&status.agent_id, &status.uuid) else { return Ok(()) };
        let acknowledge = Some(call::Acknowledge {
            agent_id: agent_id.clone(),
            task_id: status.task_id.clone(),
            uuid: uuid.clone(),
            ..Default::default()
        });
        self.make(call::Type::Acknowledge, Call { acknowledge, ..Default::default() }).await
    }

    /// Asks for the status of tasks, given their ids and those of their agents; for that of all tasks of
    /// the framework if there are none. A task that the master does not know is told to be lost, as soon
    /// as all agents had the time to come back to a new master.
    ///
    /// # Errors
    /// As [`Scheduler::call`].
    pub async fn reconcile(
        &self,
        tasks: impl IntoIterator<Item = (&str, &str)>,
    ) -> Result<(), CallError> {
        let task = |(task, agent): (&str, &str)| call::reconcile::Task {
            task_id: TaskId { value: task.to_owned(), ..Default::default() },
            agent_id: Some(AgentId { value: agent.to_owned(), ..Default::default() }),
            ..Default::default()
        };
        let tasks = tasks.into_iter().map(task).collect();
        let reconcile = Some(call::Reconcile { tasks, ..Default::default() });
        self.make(call::Type::Reconcile, Call { reconcile, ..Default::default() }).await
    }

    async fn make(&self, kind: call::Type, call: Call) -> Result<(), CallError> {
        self.call(Call { r#type: Some(kind), ..call }).await
    }
}
