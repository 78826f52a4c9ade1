//! Reconciliation: a framework asks what became of its tasks.

use protocol::internal::StatusUpdate;
use protocol::mesos::task_status::Reason;
use protocol::mesos::{AgentId, FrameworkId, TaskState, TimeInfo};
use protocol::pid::Pid;
use protocol::scheduler::call::Reconcile;
use protocol::scheduler::call::reconcile;

use crate::Master;
use crate::metrics::Counter;
use crate::task::record::TaskRecord;
use crate::task::{Verdict, visible_state};

impl Master {
    /// Explicit reconciliation for the tasks named, implicit for all known ones when none is.
    pub(crate) fn reconcile(&mut self, framework_id: &FrameworkId, call: &Reconcile) {
        self.metrics.add(Counter::MessagesReconcileTasks);
        let updates: Vec<StatusUpdate> = if call.tasks.is_empty() {
            let Some(framework) = self.frameworks.registered.get(framework_id) else {
                return;
            };
            framework.tasks.iter().map(|task| self.latest(task)).collect()
        } else {
            call.tasks.iter().filter_map(|task| self.answer(framework_id, task)).collect()
        };
        for update in updates {
            self.forward(update, Pid::EMPTY);
        }
    }

    fn answer(&self, framework_id: &FrameworkId, asked: &reconcile::Task) -> Option<StatusUpdate> {
        let framework = self.frameworks.registered.get(framework_id)?;
        if let Some(task) = framework.tasks.get(&asked.task_id) {
            return Some(self.latest(task));
        }
        let verdict = self.verdict_on_unknown_task(asked.agent_id.as_ref())?;
        let verdict =
            Verdict { state: visible_state(verdict.state, framework.capabilities), ..verdict };
        Some(self.verdict_update(
            framework_id,
            asked.agent_id.clone(),
            &asked.task_id,
            None,
            verdict,
        ))
    }

    /// The table of answers for a task that the master does not know, by what it knows of the agent.
    /// No answer while the agent may still come back with the task.
    fn verdict_on_unknown_task(&self, agent: Option<&AgentId>) -> Option<Verdict> {
        let verdict =
            |state, message: &str| Some(Verdict::new(state, Reason::ReasonReconciliation, message));
        let agents = &self.agents;
        let Some(agent) = agent else {
            return if agents.recovered.is_empty() {
                verdict(TaskState::TaskUnknown, "Reconciliation: Task is unknown")
            } else {
                None
            };
        };
        if agents.recovered.contains_key(agent) {
            None
        } else if agents.registered.contains_key(agent) {
            verdict(TaskState::TaskGone, "Reconciliation: Task is unknown to the agent")
        } else if let Some(unreachable) = agents.unreachable.get(agent) {
            Some(Verdict {
                unreachable_time: Some(TimeInfo {
                    nanoseconds: unreachable.since.as_nanos(),
                    ..Default::default()
                }),
                ..Verdict::new(
                    TaskState::TaskUnreachable,
                    Reason::ReasonReconciliation,
                    "Reconciliation: Task is unreachable",
                )
            })
        } else if agents.gone.contains_key(agent) {
            verdict(TaskState::TaskGoneByOperator, "Reconciliation: Task is gone")
        } else {
            verdict(TaskState::TaskUnknown, "Reconciliation: Task is unknown")
        }
    }

    fn latest(&self, task: &TaskRecord) -> StatusUpdate {
        self.report(
            task,
            Verdict::new(
                task.status_update_state.unwrap_or(task.state),
                Reason::ReasonReconciliation,
                "Reconciliation: Latest task state",
            ),
        )
    }

    /// An update about a known task with what its last status said of health, checks and container.
    pub(crate) fn report(&self, task: &TaskRecord, verdict: Verdict) -> StatusUpdate {
        let mut update = self.verdict_update(
            &task.framework_id,
            Some((*task.agent_id).clone()),
            &task.task_id,
            task.executor_id.as_deref().cloned(),
            verdict,
        );
        if let Some(last) = task.latest_status() {
            update.status.healthy = last.healthy;
            update.status.check_status = last.check_status;
            update.status.container_status = last.container_status;
        }
        update
    }
}
