//! What a command executor decides: when its task runs, is killed, and what the agent is told.
//!
//! Like the cores it acts on nothing itself: inputs go in with the time, actions come out.

use std::process::ExitStatus;
use std::time::{Duration, Instant};

use protocol::executor::{Call, Event, call, event};
use protocol::mesos::{self, TaskState, framework_info, task_status};
use protocol::uuid::UuidSource;

use crate::log;
use crate::status::{self, StatusDraft};

/// How long a task gets between SIGTERM and SIGKILL if nobody says.
const KILL_GRACE_PERIOD_DEFAULT: Duration = Duration::from_secs(3);

/// What is kept of the agent's shutdown grace period for sending the last update.
const SHUTDOWN_RESERVE: Duration = Duration::from_secs(2);

/// How long the acknowledgement of the terminal update may take.
const LAST_ACKNOWLEDGEMENT_TIMEOUT: Duration = Duration::from_secs(60);

/// The exit codes of the executor.
pub(crate) const EXIT_SUCCESS: i32 = 0;
pub(crate) const EXIT_FAILURE: i32 = 1;

/// A point in time: for intervals, and as the seconds since 1970 that an update carries.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Moment {
    pub(crate) at: Instant,
    pub(crate) unix_seconds: f64,
}

/// What happened.
#[derive(Debug)]
pub(crate) enum Input {
    /// The agent sent an event.
    Event(Box<Event>),
    /// The task's process runs.
    Started,
    /// The task's process could not be started, and why.
    NotStarted(String),
    /// The task's process has ended; without a status when that is not to be had.
    Ended(Option<ExitStatus>),
    /// The health of the task is to be reported.
    Health(Health),
    /// The result of the task's check has changed.
    Checked(mesos::CheckStatusInfo),
    /// The agent cannot be reached for now.
    AgentAway,
    /// The agent will not come back.
    AgentLost,
}

/// A health report.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Health {
    pub(crate) healthy: bool,
    /// Whether the task failed so often that it has to die.
    pub(crate) kill: bool,
}

/// What is to be done.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Action {
    /// Send a call, if the executor is subscribed; it is part of the next subscription otherwise.
    Send(Box<Call>),
    /// Start the task; the answer is [`Input::Started`] or [`Input::NotStarted`].
    Start(Box<mesos::TaskInfo>),
    /// Do not check the task any more.
    StopChecks,
    /// Send SIGTERM to the task's tree.
    Terminate,
    /// Send SIGKILL to the task's tree.
    Kill,
    /// End the executor with this exit code.
    Exit(i32),
}

/// The one task of a command executor.
#[derive(Debug)]
struct Task {
    info: Box<mesos::TaskInfo>,
    /// Whether the agent has acknowledged any update of the task.
    acknowledged: bool,
    last_status: mesos::TaskStatus,
    phase: Phase,
}

#[derive(Debug)]
enum Phase {
    Starting,
    Running {
        /// When the task has taken too long.
        completion_deadline: Option<Instant>,
    },
    Dying {
        cause: Cause,
        since: Instant,
        /// When SIGKILL follows; none once it has been sent.
        escalation: Option<Instant>,
    },
    /// The terminal update was sent; its acknowledgement is awaited until then, or for as long as
    /// the agent is away.
    Ended {
        give_up: Option<Instant>,
    },
}

/// Why a task is killed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Cause {
    Requested,
    Unhealthy,
    CompletionTime,
}

/// The state of the executor.
#[derive(Debug)]
pub(crate) struct CommandExecutor {
    framework_id: mesos::FrameworkId,
    executor_id: mesos::ExecutorId,
    shutdown_grace_period: Duration,
    uuids: UuidSource,
    reports_killing: bool,
    agent_lost: bool,
    task: Option<Task>,
    unacknowledged: Vec<call::Update>,
}

impl CommandExecutor {
    pub(crate) fn new(
        framework_id: String,
        executor_id: String,
        shutdown_grace_period: Duration,
        seed: u64,
    ) -> Self {
        Self {
            framework_id: mesos::FrameworkId { value: framework_id, ..Default::default() },
            executor_id: mesos::ExecutorId { value: executor_id, ..Default::default() },
            shutdown_grace_period,
            uuids: UuidSource::new(seed),
            reports_killing: false,
            agent_lost: false,
            task: None,
            unacknowledged: Vec::new(),
        }
    }

    /// The call that subscribes, with all the agent has not acknowledged.
    pub(crate) fn subscription(&self) -> Call {
        let unacknowledged_tasks = self
            .task
            .iter()
            .filter(|task| !task.acknowledged)
            .map(|task| (*task.info).clone())
            .collect();
        Call {
            subscribe: Some(call::Subscribe {
                unacknowledged_tasks,
                unacknowledged_updates: self.unacknowledged.clone(),
                ..Default::default()
            }),
            ..self.call(call::Type::Subscribe)
        }
    }

    /// The call that keeps a connection open.
    pub(crate) fn heartbeat(&self) -> Call {
        self.call(call::Type::Heartbeat)
    }

    fn call(&self, r#type: call::Type) -> Call {
        Call {
            executor_id: self.executor_id.clone(),
            framework_id: self.framework_id.clone(),
            r#type: Some(r#type),
            ..Default::default()
        }
    }

    /// Takes an input.
    pub(crate) fn handle(&mut self, now: Moment, input: Input) -> Vec<Action> {
        let mut actions = Vec::new();
        match input {
            Input::Event(event) => self.on_event(now, *event, &mut actions),
            Input::Started => self.on_started(now, &mut actions),
            Input::NotStarted(why) => self.on_not_started(now, why, &mut actions),
            Input::Ended(status) => self.on_ended(now, status, &mut actions),
            Input::Health(health) => self.on_health(now, health, &mut actions),
            Input::Checked(result) => self.on_checked(now, result, &mut actions),
            Input::AgentAway => self.await_acknowledgement(None),
            Input::AgentLost => {
                self.agent_lost = true;
                self.on_shutdown(now, &mut actions);
            }
        }
        actions
    }

    /// When [`Self::expire`] has something to do next.
    pub(crate) fn next_expiry(&self) -> Option<Instant> {
        match self.task.as_ref()?.phase {
            Phase::Starting => None,
            Phase::Running { completion_deadline } => completion_deadline,
            Phase::Dying { escalation, .. } => escalation,
            Phase::Ended { give_up } => give_up,
        }
    }

    /// Does what is due.
    pub(crate) fn expire(&mut self, now: Moment) -> Vec<Action> {
        let mut actions = Vec::new();
        if self.next_expiry().is_none_or(|due| due > now.at) {
            return actions;
        }
        let Some(task) = &mut self.task else { return actions };
        match &mut task.phase {
            Phase::Starting => {}
            Phase::Running { .. } => {
                log::info(format_args!("Task exceeded its maximum completion time"));
                self.kill(now, Cause::CompletionTime, Duration::ZERO, &mut actions);
            }
            Phase::Dying { escalation, .. } => {
                log::info(format_args!("Task did not terminate in time, sending SIGKILL"));
                *escalation = None;
                actions.push(Action::Kill);
            }
            Phase::Ended { .. } => {
                log::error(format_args!(
                    "Did not receive ACK for the terminal status update from the agent"
                ));
                actions.push(Action::Exit(EXIT_FAILURE));
            }
        }
        actions
    }

    fn on_event(&mut self, now: Moment, event: Event, actions: &mut Vec<Action>) {
        let Some(r#type) = event.r#type else {
            return log::warning(format_args!("Ignored an event of unknown type"));
        };
        log::info(format_args!("Received {} event", r#type.name(protocol::Names::V1)));
        match r#type {
            event::Type::Subscribed => self.on_subscribed(now, event.subscribed),
            event::Type::Launch => self.on_launch(now, event.launch, actions),
            event::Type::LaunchGroup => {
                log::error(format_args!("LAUNCH_GROUP event is not supported"));
                self.on_shutdown(now, actions);
            }
            event::Type::Kill => self.on_kill(now, event.kill, actions),
            event::Type::Acknowledged => self.on_acknowledged(event.acknowledged, actions),
            event::Type::Shutdown => self.on_shutdown(now, actions),
            event::Type::Error => self.on_error(now, event.error, actions),
            event::Type::Message | event::Type::Heartbeat | event::Type::Unknown => {}
        }
    }

    fn await_acknowledgement(&mut self, until: Option<Instant>) {
        if let Some(Task { phase: Phase::Ended { give_up }, .. }) = &mut self.task {
            *give_up = until;
        }
    }

    fn on_subscribed(&mut self, now: Moment, subscribed: Option<Box<event::Subscribed>>) {
        let Some(subscribed) = subscribed else { return malformed("subscribed") };
        log::info(format_args!("Subscribed executor on {}", subscribed.agent_info.hostname));
        self.await_acknowledgement(Some(now.at + LAST_ACKNOWLEDGEMENT_TIMEOUT));
        self.reports_killing = subscribed.framework_info.capabilities.iter().any(|capability| {
            capability.r#type == Some(framework_info::capability::Type::TaskKillingState)
        });
    }

    fn on_launch(
        &mut self,
        now: Moment,
        launch: Option<Box<event::Launch>>,
        actions: &mut Vec<Action>,
    ) {
        let Some(launch) = launch else { return malformed("launch") };
        if self.task.is_some() {
            let draft = StatusDraft {
                message: Some(
                    "Attempted to run multiple tasks using a \"command\" executor".to_owned(),
                ),
                ..StatusDraft::new(TaskState::TaskFailed)
            };
            let status = self.status(now, &launch.task, draft);
            self.forward(status, actions);
            return;
        }
        let info = Box::new(launch.task);
        let status = self.status(now, &info, StatusDraft::new(TaskState::TaskStarting));
        self.task = Some(Task {
            info: info.clone(),
            acknowledged: false,
            last_status: status.clone(),
            phase: Phase::Starting,
        });
        self.forward(status, actions);
        log::info(format_args!("Starting task {}", info.task_id.value));
        actions.push(Action::Start(info));
    }

    fn on_started(&mut self, now: Moment, actions: &mut Vec<Action>) {
        let Some(task) = &mut self.task else { return };
        let limit = task.info.max_completion_time.as_ref().map(status::duration);
        let completion_deadline =
            limit.filter(|limit| !limit.is_zero()).and_then(|limit| now.at.checked_add(limit));
        task.phase = Phase::Running { completion_deadline };
        self.report(now, StatusDraft::new(TaskState::TaskRunning), actions);
    }

    fn on_not_started(&mut self, now: Moment, why: String, actions: &mut Vec<Action>) {
        let draft = StatusDraft {
            message: Some(why),
            reason: Some(task_status::Reason::ReasonContainerLaunchFailed),
            ..StatusDraft::new(TaskState::TaskFailed)
        };
        self.end(now, draft, actions);
    }

    fn on_ended(&mut self, now: Moment, status: Option<ExitStatus>, actions: &mut Vec<Action>) {
        let Some(task) = &self.task else { return };
        let cause = match task.phase {
            Phase::Dying { cause, .. } => Some(cause),
            Phase::Starting | Phase::Running { .. } => None,
            Phase::Ended { .. } => return,
        };
        let mut draft = match (status, cause) {
            (None, _) => StatusDraft::new(TaskState::TaskFailed),
            (Some(_), Some(Cause::CompletionTime)) => StatusDraft {
                reason: Some(task_status::Reason::ReasonMaxCompletionTimeReached),
                ..StatusDraft::new(TaskState::TaskFailed)
            },
            (Some(_), Some(Cause::Unhealthy)) => {
                StatusDraft { healthy: Some(false), ..StatusDraft::new(TaskState::TaskKilled) }
            }
            (Some(_), Some(Cause::Requested)) => StatusDraft::new(TaskState::TaskKilled),
            (Some(status), None) if status.success() => StatusDraft::new(TaskState::TaskFinished),
            (Some(_), None) => StatusDraft::new(TaskState::TaskFailed),
        };
        let message = status.map_or_else(
            || "Failed to get exit status for Command".to_owned(),
            |status| format!("Command {}", containers::wait_status::describe(status)),
        );
        log::info(format_args!("{message}"));
        draft.message = Some(message);
        self.end(now, draft, actions);
    }

    /// The task is over: the terminal update goes out, and its acknowledgement ends the executor.
    fn end(&mut self, now: Moment, draft: StatusDraft, actions: &mut Vec<Action>) {
        let Some(task) = &mut self.task else { return };
        task.phase = Phase::Ended { give_up: Some(now.at + LAST_ACKNOWLEDGEMENT_TIMEOUT) };
        actions.push(Action::StopChecks);
        self.report(now, draft, actions);
        if self.agent_lost {
            // No agent will look for what is left of the task.
            actions.push(Action::Kill);
            actions.push(Action::Exit(EXIT_FAILURE));
        }
    }

    fn on_health(&mut self, now: Moment, health: Health, actions: &mut Vec<Action>) {
        let Some(task) = &self.task else { return };
        if !matches!(task.phase, Phase::Running { .. }) {
            return;
        }
        log::info(format_args!("Received task health update, healthy: {}", health.healthy));
        let status = mesos::TaskStatus {
            reason: Some(task_status::Reason::ReasonTaskHealthCheckStatusUpdated),
            healthy: Some(health.healthy),
            ..task.last_status.clone()
        };
        self.report_again(now, status, actions);
        if health.kill {
            let grace_period = self.kill_grace_period(None);
            self.kill(now, Cause::Unhealthy, grace_period, actions);
        }
    }

    fn on_checked(
        &mut self,
        now: Moment,
        result: mesos::CheckStatusInfo,
        actions: &mut Vec<Action>,
    ) {
        let Some(task) = &self.task else { return };
        if !matches!(task.phase, Phase::Running { .. }) {
            return;
        }
        let status = mesos::TaskStatus {
            reason: Some(task_status::Reason::ReasonTaskCheckStatusUpdated),
            check_status: Some(result),
            ..task.last_status.clone()
        };
        self.report_again(now, status, actions);
    }

    fn on_kill(&mut self, now: Moment, kill: Option<event::Kill>, actions: &mut Vec<Action>) {
        let Some(kill) = kill else { return malformed("kill") };
        if self.task.as_ref().is_none_or(|task| task.info.task_id != kill.task_id) {
            let id = &kill.task_id.value;
            return log::warning(format_args!("Ignored a kill for unknown task {id}"));
        }
        let grace_period = self.kill_grace_period(kill.kill_policy.as_ref());
        log::info(format_args!(
            "Received kill for task {} with grace period of {}",
            kill.task_id.value,
            protocol::duration::format(grace_period)
        ));
        self.kill(now, Cause::Requested, grace_period, actions);
    }

    /// The policy of the kill goes before that of the task.
    fn kill_grace_period(&self, policy: Option<&mesos::KillPolicy>) -> Duration {
        let task = self.task.as_ref().and_then(|task| task.info.kill_policy.as_ref());
        policy
            .and_then(|policy| policy.grace_period.as_ref())
            .or_else(|| task.and_then(|policy| policy.grace_period.as_ref()))
            .map_or(KILL_GRACE_PERIOD_DEFAULT, status::duration)
    }

    fn kill(
        &mut self,
        now: Moment,
        cause: Cause,
        grace_period: Duration,
        actions: &mut Vec<Action>,
    ) {
        let Some(task) = &mut self.task else { return };
        match &mut task.phase {
            Phase::Starting | Phase::Ended { .. } => {}
            // A grace period can only be shortened: a kill that is repeated changes nothing, and
            // one with more time must not give the task more time.
            Phase::Dying { since, escalation: Some(escalation), .. } => {
                *escalation = (*escalation).min(deadline(*since, grace_period).max(now.at));
            }
            Phase::Dying { escalation: None, .. } => {}
            Phase::Running { .. } => {
                let escalation = Some(deadline(now.at, grace_period));
                task.phase = Phase::Dying { cause, since: now.at, escalation };
                if self.reports_killing && cause != Cause::CompletionTime {
                    self.report(now, StatusDraft::new(TaskState::TaskKilling), actions);
                }
                actions.push(Action::StopChecks);
                actions.push(Action::Terminate);
            }
        }
    }

    fn on_acknowledged(
        &mut self,
        acknowledged: Option<event::Acknowledged>,
        actions: &mut Vec<Action>,
    ) {
        let Some(acknowledged) = acknowledged else { return malformed("acknowledged") };
        let position = self
            .unacknowledged
            .iter()
            .position(|update| update.status.uuid.as_ref() == Some(&acknowledged.uuid));
        let Some(position) = position else {
            return log::warning(format_args!(
                "Received acknowledgement for unknown status update"
            ));
        };
        let update = self.unacknowledged.remove(position);
        let Some(task) = &mut self.task else { return };
        if update.status.task_id != task.info.task_id {
            return;
        }
        task.acknowledged = true;
        if matches!(task.phase, Phase::Ended { .. }) && update.status.state.is_terminal() {
            actions.push(Action::Exit(EXIT_SUCCESS));
        }
    }

    /// Killing the one task is all there is to shut down.
    fn on_shutdown(&mut self, now: Moment, actions: &mut Vec<Action>) {
        log::info(format_args!("Shutting down"));
        let code = if self.agent_lost { EXIT_FAILURE } else { EXIT_SUCCESS };
        match self.task.as_ref().map(|task| &task.phase) {
            None => actions.push(Action::Exit(code)),
            Some(Phase::Ended { .. }) => {
                if self.agent_lost {
                    actions.push(Action::Exit(EXIT_FAILURE));
                }
            }
            Some(Phase::Starting | Phase::Running { .. } | Phase::Dying { .. }) => {
                let grace_period = self.shutdown_grace_period.saturating_sub(SHUTDOWN_RESERVE);
                self.kill(now, Cause::Requested, grace_period, actions);
            }
        }
    }

    /// The agent will not serve this executor, so its task must not outlive it.
    fn on_error(&mut self, now: Moment, error: Option<event::Error>, actions: &mut Vec<Action>) {
        let message = error.map(|error| error.message).unwrap_or_default();
        log::error(format_args!("Error: {message}"));
        self.agent_lost = true;
        self.on_shutdown(now, actions);
    }

    fn status(
        &mut self,
        now: Moment,
        task: &mesos::TaskInfo,
        draft: StatusDraft,
    ) -> mesos::TaskStatus {
        draft.finish(task, &self.executor_id, now.unix_seconds, self.uuids.next_uuid())
    }

    /// Sends an update of the task made from scratch.
    fn report(&mut self, now: Moment, draft: StatusDraft, actions: &mut Vec<Action>) {
        let Some(task) = &self.task else { return };
        let uuid = self.uuids.next_uuid();
        let status = draft.finish(&task.info, &self.executor_id, now.unix_seconds, uuid);
        self.forward(status, actions);
    }

    /// Sends an update that says what an earlier one said, and more.
    fn report_again(
        &mut self,
        now: Moment,
        mut status: mesos::TaskStatus,
        actions: &mut Vec<Action>,
    ) {
        status.uuid = Some(self.uuids.next_uuid().to_vec());
        status.timestamp = Some(now.unix_seconds);
        self.forward(status, actions);
    }

    fn forward(&mut self, status: mesos::TaskStatus, actions: &mut Vec<Action>) {
        if let Some(task) = &mut self.task
            && task.info.task_id == status.task_id
        {
            task.last_status = status.clone();
        }
        let update = call::Update { status, ..Default::default() };
        self.unacknowledged.push(update.clone());
        let call = Call { update: Some(Box::new(update)), ..self.call(call::Type::Update) };
        actions.push(Action::Send(Box::new(call)));
    }
}

/// A grace period that is too long for the clock is as good as a year.
fn deadline(since: Instant, grace_period: Duration) -> Instant {
    since
        .checked_add(grace_period)
        .unwrap_or_else(|| since + Duration::from_secs(365 * 24 * 60 * 60))
}

fn malformed(field: &str) {
    log::warning(format_args!("Ignored an event without '{field}'"));
}

#[cfg(test)]
mod tests;
