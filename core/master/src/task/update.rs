//! Status updates: from agents to frameworks, and acknowledgements back.

use std::sync::Arc;

use protocol::internal::{StatusUpdate, StatusUpdateAcknowledgementMessage, StatusUpdateMessage};
use protocol::mesos::{FrameworkId, TaskId, TaskState, task_status::Reason};
use protocol::messages::MasterToAgent;
use protocol::pid::Pid;
use protocol::scheduler::call::Acknowledge;
use protocol::uuid::Uuid;
use resources::Resources;

use crate::Master;
use crate::metrics::Counter;
use crate::notice::Notice;
use crate::task::record::TaskRecord;
use crate::task::{History, allowed, holds_resources};

impl Master {
    /// A status update of an agent.
    pub(crate) fn status_update(&mut self, message: StatusUpdateMessage) {
        self.metrics.add(Counter::MessagesStatusUpdate);
        let StatusUpdateMessage { mut update, pid, .. } = message;
        // The agent names itself as the one to acknowledge to; without that the driver would drop
        // the update's UUID and the framework could never acknowledge.
        let pid = pid.and_then(|pid| pid.parse::<Pid>().ok());
        let known = update
            .slave_id
            .as_ref()
            .is_some_and(|agent| self.agents.registered.contains_key(agent));
        let uuid = update.uuid.as_deref().is_some_and(|uuid| Uuid::from_slice(uuid).is_ok());
        let (true, true, Some(pid)) = (known, uuid, pid) else {
            self.metrics.add(Counter::InvalidStatusUpdates);
            return;
        };

        let framework = self.frameworks.registered.get(&update.framework_id);
        let connected = framework.is_some_and(crate::framework::Framework::connected);
        let task = framework.and_then(|framework| framework.tasks.get(&update.status.task_id));
        let known_task = task.is_some_and(|task| Some(&*task.agent_id) == update.slave_id.as_ref());
        if known_task {
            self.update_task(&mut update);
        }
        if connected {
            self.forward(update, pid);
        }
        self.metrics.add(if connected && known_task {
            Counter::ValidStatusUpdates
        } else {
            Counter::InvalidStatusUpdates
        });
    }

    /// Sends an update to its framework. One with a UUID is remembered as the one whose
    /// acknowledgement is awaited.
    pub(crate) fn forward(&mut self, mut update: StatusUpdate, acknowledge_to: Pid) {
        let uuid = update.uuid.as_ref().filter(|uuid| !uuid.is_empty());
        let Some(framework) = self.frameworks.registered.get_mut(&update.framework_id) else {
            return;
        };
        let framework_id = Arc::clone(&framework.id);
        if let Some(uuid) = uuid
            && let Some(task) = framework.tasks.get_mut(&update.status.task_id)
        {
            Arc::make_mut(task).forwarded(update.status.state, uuid);
            self.views.note_framework(framework);
        }
        // What agents older than Mesos 0.23 left out of the status is filled in from the update.
        let status = &mut update.status;
        let uuid = uuid.filter(|_| !acknowledge_to.is_empty());
        if status.uuid.as_ref() != uuid {
            status.uuid = uuid.cloned();
        }
        if update.slave_id.is_some() && status.agent_id != update.slave_id {
            status.agent_id.clone_from(&update.slave_id);
        }
        if update.executor_id.is_some() && status.executor_id != update.executor_id {
            status.executor_id.clone_from(&update.executor_id);
        }
        status.timestamp = Some(update.timestamp);
        self.notify(&framework_id, Notice::Update { update: Box::new(update), acknowledge_to });
    }

    /// Takes the news of an update into the task it is about. The update stays as it is.
    pub(crate) fn update_task(&mut self, update: &mut StatusUpdate) {
        let Some(framework) = self.frameworks.registered.get_mut(&update.framework_id) else {
            return;
        };
        let status = &mut update.status;
        let Some(kept) = framework.tasks.get_mut(&status.task_id) else {
            return;
        };
        // The agent may already know a later state than the one it reports in order.
        let state = update.latest_state.unwrap_or(status.state);
        let task = Arc::make_mut(kept);
        let before = task.state;
        let legal = before == state || allowed(before, state);
        if legal {
            task.state = state;
        }
        let news = record_status(task, status);
        let ends = holds_resources(before) && !holds_resources(task.state);
        let held = if ends { task.let_go() } else { Resources::EMPTY };
        let task = Arc::clone(kept);
        framework.metrics.task_changed(before, task.state);
        self.views.note_framework(framework);
        self.views.note_counts(framework);

        if !legal {
            self.count_illegal_transition();
        }
        if news {
            self.publish_task_updated(&task, &update.status);
        }
        if ends {
            self.release(&task.framework_id, &task.agent_id, &held);
            if task.state.is_terminal() {
                // The end may be known before the update that tells it: see above.
                let status = &update.status;
                self.metrics.add_task_end(task.state, status.source, status.reason);
            }
        }
    }

    /// A framework has seen an update.
    pub(crate) fn acknowledge(&mut self, framework_id: &FrameworkId, call: Acknowledge) {
        self.metrics.add(Counter::MessagesAcknowledgement);
        let Some(agent) =
            self.agents.registered.get(&call.agent_id).filter(|agent| agent.connected)
        else {
            self.metrics.add(Counter::InvalidAcknowledgements);
            return;
        };
        let pid = agent.pid.clone();
        let task = self
            .frameworks
            .registered
            .get(framework_id)
            .and_then(|framework| framework.tasks.get(&call.task_id))
            .filter(|task| *task.agent_id == call.agent_id);
        if let Some(task) = task {
            let Some(state) = task.status_update_state else {
                // The update was not sent by this master; the agent will send it again.
                self.metrics.add(Counter::InvalidAcknowledgements);
                return;
            };
            if state.is_terminal() && task.awaits_acknowledgement(&call.uuid) {
                self.remove_task(framework_id, &call.task_id, History::Completed);
            }
        }
        self.send_to_agent(
            pid,
            MasterToAgent::StatusUpdateAcknowledgement(StatusUpdateAcknowledgementMessage {
                slave_id: call.agent_id,
                framework_id: framework_id.clone(),
                task_id: call.task_id,
                uuid: call.uuid,
                ..Default::default()
            }),
        );
        self.metrics.add(Counter::ValidAcknowledgements);
    }

    /// Ends a task by the master's own word, tells its framework and forgets it.
    pub(crate) fn end_task(
        &mut self,
        framework_id: &FrameworkId,
        task_id: &TaskId,
        verdict: crate::task::Verdict,
    ) {
        let Some(task) = self
            .frameworks
            .registered
            .get(framework_id)
            .and_then(|framework| framework.tasks.get(task_id))
        else {
            return;
        };
        let (agent, executor) = ((*task.agent_id).clone(), task.executor_id.as_deref().cloned());
        let mut update = self.verdict_update(framework_id, Some(agent), task_id, executor, verdict);
        // The framework of a task that has already ended waits for that end, which the agent can no
        // longer repeat: it gets the verdict, while the history keeps how the task really ended.
        let live = self.task_state(framework_id, task_id).is_some_and(|state| !state.is_terminal());
        let history = if live && update.status.unreachable_time.is_some() {
            History::Unreachable
        } else {
            History::Completed
        };
        if live {
            self.update_task(&mut update);
        }
        self.remove_task(framework_id, task_id, history);
        self.forward(update, Pid::EMPTY);
    }

    pub(crate) fn task_state(
        &self,
        framework_id: &FrameworkId,
        task_id: &TaskId,
    ) -> Option<TaskState> {
        Some(self.frameworks.registered.get(framework_id)?.tasks.get(task_id)?.state)
    }
}

/// Keeps one status for each distinct state in a row, without the data; says whether operators want
/// to know.
fn record_status(task: &mut TaskRecord, status: &mut protocol::mesos::TaskStatus) -> bool {
    let check_changed = matches!(
        status.reason,
        Some(Reason::ReasonTaskCheckStatusUpdated | Reason::ReasonTaskHealthCheckStatusUpdated)
    );
    if task.latest_status_state() == Some(status.state) {
        task.replace_latest_status(status);
        check_changed
    } else {
        task.push_status(status);
        true
    }
}
