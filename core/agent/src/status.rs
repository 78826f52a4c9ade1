//! Status updates on their way from an executor, or the agent itself, to the master
//! (`Slave::statusUpdate` to `Slave::forward` in Mesos' `src/slave/slave.cpp`).

use protocol::executor as executor_api;
use protocol::internal::{
    StatusUpdate, StatusUpdateMessage, StatusUpdateRecord, status_update_record,
};
use protocol::mesos::{self, TaskState, task_status};
use protocol::messages::AgentToMaster;
use protocol::time::Timestamp;

use crate::agent::Agent;
use crate::checkpoint;
use crate::effect::Severity;
use crate::executor::{Executor, ExecutorKey, State};
use crate::framework;
use crate::status_updates::{Acknowledged, PENDING_UPDATES_PER_TASK_MAX};
use crate::timers::Timer;
use crate::view::Phase;

/// Who made an update.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Origin {
    /// The agent: nobody waits for an acknowledgement.
    Agent,
    /// An executor, over HTTP.
    Executor(ExecutorKey),
}

/// A status the agent reports of its own accord.
#[derive(Debug)]
pub(crate) struct AgentStatus<'a> {
    pub(crate) task: &'a mesos::TaskId,
    pub(crate) executor: Option<&'a mesos::ExecutorId>,
    pub(crate) state: TaskState,
    pub(crate) reason: task_status::Reason,
    pub(crate) message: &'a str,
}

impl Agent {
    /// Makes the update for a status of the agent's own.
    pub(crate) fn status_of_agent(
        &mut self,
        now: Timestamp,
        framework: &mesos::FrameworkId,
        status: &AgentStatus<'_>,
    ) -> StatusUpdate {
        let uuid = self.uuids.next_uuid().to_vec();
        let timestamp = now.as_secs_f64();
        StatusUpdate {
            framework_id: framework.clone(),
            executor_id: status.executor.cloned(),
            slave_id: Some(self.agent_id()),
            status: mesos::TaskStatus {
                task_id: status.task.clone(),
                agent_id: Some(self.agent_id()),
                state: status.state,
                source: Some(task_status::Source::SourceAgent),
                reason: Some(status.reason),
                message: Some(status.message.to_owned()),
                timestamp: Some(timestamp),
                uuid: Some(uuid.clone()),
                ..Default::default()
            },
            timestamp,
            uuid: Some(uuid),
            ..Default::default()
        }
    }

    /// Reports a status of the agent's own.
    pub(crate) fn send_status(
        &mut self,
        now: Timestamp,
        framework: &mesos::FrameworkId,
        status: &AgentStatus<'_>,
    ) {
        let update = self.status_of_agent(now, framework, status);
        self.status_update(now, update, &Origin::Agent);
    }

    /// Reports the status of a task whose framework may not be known here.
    pub(crate) fn send_unrecorded_status(
        &mut self,
        now: Timestamp,
        framework: &mesos::FrameworkId,
        status: &AgentStatus<'_>,
    ) {
        let update = self.status_of_agent(now, framework, status);
        self.add_to_stream(now, update, None);
    }

    /// Handles an update of whatever origin; the uuid is present and was checked at the edge.
    pub(crate) fn status_update(
        &mut self,
        now: Timestamp,
        mut update: StatusUpdate,
        origin: &Origin,
    ) {
        let agent = Some(self.agent_id());
        if update.slave_id != agent || update.status.agent_id != agent || update.uuid.is_none() {
            self.ignore_update("it names another agent");
            return;
        }
        update.status.uuid.clone_from(&update.uuid);
        update.status.source = Some(match origin {
            Origin::Agent => task_status::Source::SourceAgent,
            Origin::Executor(_) => task_status::Source::SourceExecutor,
        });
        if update.executor_id.is_some() {
            update.status.executor_id.clone_from(&update.executor_id);
        }
        let Some(framework) = self.frameworks.get(&update.framework_id) else {
            self.ignore_update("its framework is unknown");
            return;
        };
        // A framework that is gone cannot acknowledge anything.
        if framework.state == framework::State::Terminating {
            self.ignore_update("its framework is terminating");
            return;
        }
        self.mark_drained(&mut update);
        self.metrics.valid_status_updates += 1;
        if self.acknowledge_repetition(&update, origin) {
            return;
        }
        if self.end_pending_task(&update) {
            let framework = update.framework_id.clone();
            self.add_to_stream(now, update, None);
            self.remove_framework_if_idle(now, &framework);
            return;
        }
        self.status_update_of_known_task(now, update, origin);
    }

    fn status_update_of_known_task(
        &mut self,
        now: Timestamp,
        mut update: StatusUpdate,
        origin: &Origin,
    ) {
        let framework = self.frameworks.get(&update.framework_id);
        let task = update.status.task_id.clone();
        let Some(executor) = framework.and_then(|framework| framework.executor_of(&task)) else {
            // The end of a completed task was told and acknowledged: nothing may follow it. Of other
            // tasks, such as those that never got here, the master has to hear all the same.
            let is_completed = framework.is_some_and(|framework| framework.has_completed(&task));
            if !is_completed || *origin == Origin::Agent {
                self.add_to_stream(now, update.clone(), None);
            }
            self.acknowledge_to_executor(&update, origin);
            return;
        };
        let key = executor.key();
        if let Err(error) = executor.check_status(&update.status) {
            let state = update.status.state;
            let message = format!("status {state:?} of task {} ignored: {error}", task.value);
            self.log(Severity::Warning, message);
            // Otherwise the executor would send it for ever.
            self.acknowledge_to_executor(&update, origin);
            return;
        }
        if reached_executor(executor, &update.status) {
            add_container_status(&self.config.pid, executor, &mut update.status);
        }
        let checkpoint = self.updates_path(executor, &task);
        let ends = update.status.state.is_terminal();
        if let Some(executor) = self.executor_mut(&key) {
            // Checked above: nothing else can be wrong.
            let _ = executor.apply_status(&update.status);
        }
        if ends {
            self.count_terminal(update.status.state);
            self.update_container(&key);
        }
        self.add_to_stream(now, update.clone(), checkpoint);
        self.acknowledge_to_executor(&update, origin);
    }

    fn ignore_update(&mut self, why: &str) {
        self.metrics.invalid_status_updates += 1;
        self.log(Severity::Warning, format!("a status update is ignored because {why}"));
    }

    /// Whether the update is a repetition; then it is acknowledged again and nothing else happens.
    fn acknowledge_repetition(&mut self, update: &StatusUpdate, origin: &Origin) -> bool {
        let stream = self.streams.get(&update.framework_id, &update.status.task_id);
        let uuid = update.uuid.as_deref().unwrap_or_default();
        let is_known = stream.is_some_and(|stream| stream.knows(uuid));
        if is_known {
            self.acknowledge_to_executor(update, origin);
        }
        is_known
    }

    /// Takes a task that was not even given to an executor out of its launch.
    fn end_pending_task(&mut self, update: &StatusUpdate) -> bool {
        let Some(framework) = self.frameworks.get_mut(&update.framework_id) else { return false };
        let Some(index) = framework.pending_launch_of(&update.status.task_id) else {
            return false;
        };
        let launch = &mut framework.pending[index];
        launch.remove_task(&update.status.task_id);
        if launch.tasks().next().is_none() {
            framework.pending.remove(index);
        }
        true
    }

    /// While the agent drains, frameworks learn that from the end of their tasks. (Mesos turns
    /// `TASK_KILLING` into an end too, and so may leave before the grace period is over.)
    fn mark_drained(&self, update: &mut StatusUpdate) {
        let Some(drain) = &self.drain else { return };
        if !matches!(update.status.state, TaskState::TaskKilling | TaskState::TaskKilled) {
            return;
        }
        update.status.reason = Some(task_status::Reason::ReasonAgentDraining);
        let framework = self.frameworks.get(&update.framework_id);
        let is_aware = framework.is_some_and(framework::Framework::is_partition_aware);
        let ends = update.status.state == TaskState::TaskKilled;
        if ends && drain.config.mark_gone.unwrap_or(false) && is_aware {
            update.status.state = TaskState::TaskGoneByOperator;
        }
    }

    fn updates_path(&self, executor: &Executor, task: &mesos::TaskId) -> Option<String> {
        executor.checkpoint.then(|| self.run_path(executor).task_updates(task))
    }

    /// Queues an update, durably if it has a place on disk, and forwards it if it is the first.
    pub(crate) fn add_to_stream(
        &mut self,
        now: Timestamp,
        update: StatusUpdate,
        checkpoint: Option<String>,
    ) {
        let framework = update.framework_id.clone();
        let task = update.status.task_id.clone();
        let uuid = update.uuid.clone().unwrap_or_default();
        let stream = self.streams.open(&framework, &task, checkpoint);
        if stream.knows(&uuid) {
            return;
        }
        let is_first = stream.pending.is_empty();
        if let Some(path) = stream.checkpoint.clone() {
            let record = StatusUpdateRecord {
                r#type: status_update_record::Type::Update,
                update: Some(update.clone().into()),
                ..Default::default()
            };
            self.outbox.change(checkpoint::append_message(path, &record));
        }
        stream.push(&uuid, update);
        if is_first {
            self.forward_update(now, &framework, &task);
        }
    }

    /// Sends the oldest update of a task to the master, and sets the timer for its repetition.
    fn forward_update(
        &mut self,
        now: Timestamp,
        framework: &mesos::FrameworkId,
        task: &mesos::TaskId,
    ) {
        if self.phase != Phase::Running {
            return;
        }
        let Some(stream) = self.streams.get_mut(framework, task) else { return };
        let Some(mut update) = stream.pending.front().cloned() else { return };
        if let Some(timer) = stream.retry.take() {
            self.timers.cancel(timer);
        }
        let interval = stream.next_retry_interval();
        let retry = Timer::UpdateRetry { framework: framework.clone(), task: task.clone() };
        stream.retry = Some(self.timers.set(now + interval, retry));
        let record = self.frameworks.get_mut(framework).and_then(|framework| {
            framework.executors.values_mut().find_map(|executor| executor.record_mut(task))
        });
        if let Some(record) = record {
            record.status_update_state = Some(update.status.state);
            record.status_update_uuid.clone_from(&update.uuid);
            update.latest_state = Some(record.state);
        }
        let message = StatusUpdateMessage {
            update,
            pid: Some(self.config.pid.to_string()),
            ..Default::default()
        };
        self.send_to_master(AgentToMaster::StatusUpdate(message));
    }

    pub(crate) fn retry_update(
        &mut self,
        now: Timestamp,
        framework: &mesos::FrameworkId,
        task: &mesos::TaskId,
    ) {
        if let Some(stream) = self.streams.get_mut(framework, task) {
            stream.retry = None;
            self.forward_update(now, framework, task);
        }
    }

    /// Stops repetitions while there is no master to hear them.
    pub(crate) fn pause_updates(&mut self) {
        for stream in self.streams.iter_mut() {
            if let Some(timer) = stream.retry.take() {
                self.timers.cancel(timer);
            }
        }
    }

    /// Sends every outstanding update at once.
    pub(crate) fn resume_updates(&mut self, now: Timestamp) {
        for (framework, task) in self.streams.with_pending() {
            if let Some(stream) = self.streams.get_mut(&framework, &task) {
                stream.retry_interval = crate::status_updates::RETRY_INTERVAL_MIN;
            }
            self.forward_update(now, &framework, &task);
        }
    }

    pub(crate) fn update_acknowledged(
        &mut self,
        now: Timestamp,
        framework: &mesos::FrameworkId,
        task: &mesos::TaskId,
        uuid: &[u8],
    ) {
        if self.phase != Phase::Running {
            return;
        }
        let path = self.streams.get(framework, task).and_then(|stream| stream.checkpoint.clone());
        let outcome = self.streams.acknowledge(framework, task, uuid);
        if outcome == Acknowledged::Unexpected {
            return;
        }
        if let Some(path) = path {
            let record = StatusUpdateRecord {
                r#type: status_update_record::Type::Ack,
                uuid: Some(uuid.to_vec()),
                ..Default::default()
            };
            self.outbox.change(checkpoint::append_message(path, &record));
        }
        if let Some(timer) =
            self.streams.get_mut(framework, task).and_then(|stream| stream.retry.take())
        {
            self.timers.cancel(timer);
        }
        if outcome == Acknowledged::Continues {
            self.forward_update(now, framework, task);
            return;
        }
        self.streams.remove(framework, task);
        self.complete_task(now, framework, task);
    }

    /// Moves an acknowledged task to the history, and its executor after it if it was the last.
    fn complete_task(
        &mut self,
        now: Timestamp,
        framework: &mesos::FrameworkId,
        task: &mesos::TaskId,
    ) {
        let completed_max = self.config.history.completed_tasks_per_executor_max;
        let executor = self.frameworks.get(framework).and_then(|each| each.executor_of(task));
        let Some(key) = executor.map(Executor::key) else { return };
        let Some(executor) = self.executor_mut(&key) else { return };
        let is_completed = executor.complete(task, completed_max);
        let is_over = executor.state == State::Terminated && !executor.has_incomplete_tasks();
        if is_completed {
            self.collect_task_directory(now, &key, task);
        }
        if is_over {
            self.remove_executor(now, &key);
        }
        self.remove_framework_if_idle(now, framework);
    }

    fn acknowledge_to_executor(&mut self, update: &StatusUpdate, origin: &Origin) {
        let Origin::Executor(key) = origin else { return };
        let acknowledged = executor_api::event::Acknowledged {
            task_id: update.status.task_id.clone(),
            uuid: update.uuid.clone().unwrap_or_default(),
            ..Default::default()
        };
        let event = executor_api::Event {
            r#type: Some(executor_api::event::Type::Acknowledged),
            acknowledged: Some(acknowledged),
            ..Default::default()
        };
        self.send_to_executor(key, event);
    }

    /// Whether so many updates of the task wait that no more can be taken.
    pub(crate) fn is_overwhelmed(
        &self,
        framework: &mesos::FrameworkId,
        task: &mesos::TaskId,
    ) -> bool {
        let stream = self.streams.get(framework, task);
        stream.is_some_and(|stream| stream.pending.len() >= PENDING_UPDATES_PER_TASK_MAX)
    }

    fn count_terminal(&mut self, state: TaskState) {
        match state {
            TaskState::TaskFinished => self.metrics.tasks_finished += 1,
            TaskState::TaskFailed => self.metrics.tasks_failed += 1,
            TaskState::TaskKilled => self.metrics.tasks_killed += 1,
            TaskState::TaskLost => self.metrics.tasks_lost += 1,
            TaskState::TaskGone => self.metrics.tasks_gone += 1,
            // Mesos has no counters for the rest.
            TaskState::TaskStaging
            | TaskState::TaskStarting
            | TaskState::TaskRunning
            | TaskState::TaskKilling
            | TaskState::TaskError
            | TaskState::TaskDropped
            | TaskState::TaskUnreachable
            | TaskState::TaskGoneByOperator
            | TaskState::TaskUnknown => {}
        }
    }
}

/// Whether the status is about a task in the executor's container, rather than one that waited
/// outside or was lost on the way.
fn reached_executor(executor: &Executor, status: &mesos::TaskStatus) -> bool {
    let was_lost = status.source == Some(task_status::Source::SourceAgent)
        && matches!(status.state, TaskState::TaskDropped | TaskState::TaskLost);
    !executor.queued.contains_key(&status.task_id) && !was_lost
}

/// Adds what the containers say; an address the executor knows better stays.
fn add_container_status(
    agent: &protocol::pid::Pid,
    executor: &Executor,
    status: &mut mesos::TaskStatus,
) {
    // An executor may speak before the containers have told that it runs.
    let is_heard = status.source == Some(task_status::Source::SourceExecutor);
    if executor.container_status.is_none() && !is_heard {
        return;
    }
    let mut of_task = status.container_status.take().unwrap_or_default();
    if let Some(known) = &executor.container_status {
        merge_container_status(&mut of_task, known);
    }
    if of_task.container_id.is_none() {
        of_task.container_id = Some(executor.container.clone());
    }
    if of_task.network_infos.is_empty() {
        let address = mesos::network_info::IpAddress {
            ip_address: Some(agent.address.ip().to_string()),
            ..Default::default()
        };
        of_task
            .network_infos
            .push(mesos::NetworkInfo { ip_addresses: vec![address], ..Default::default() });
    }
    status.container_status = Some(of_task);
}

fn merge_container_status(target: &mut mesos::ContainerStatus, known: &mesos::ContainerStatus) {
    if target.network_infos.is_empty() {
        target.network_infos.clone_from(&known.network_infos);
    }
    if target.cgroup_info.is_none() {
        target.cgroup_info.clone_from(&known.cgroup_info);
    }
    if target.executor_pid.is_none() {
        target.executor_pid = known.executor_pid;
    }
    if target.container_id.is_none() {
        target.container_id.clone_from(&known.container_id);
    }
}
