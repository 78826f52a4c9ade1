//! Counters and gauges under the names that dashboards of Mesos know (`docs/monitoring.md`).

use std::collections::BTreeMap;

use protocol::Names;
use protocol::mesos::offer::operation;
use protocol::mesos::task_status::{Reason, Source};
use protocol::mesos::{OperationState, TaskState};

pub use crate::framework::FrameworkCounts;
use crate::framework::Tally;

/// Declares the counters: one line gives the variant, its name and its meaning.
macro_rules! counters {
    ($($(#[$doc:meta])* $variant:ident = $name:literal;)*) => {
        /// A number that only grows.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
        pub enum Counter {
            $($(#[$doc])* $variant,)*
        }

        impl Counter {
            /// Every counter, in order.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)*];

            /// The name in `/metrics/snapshot`.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self {
                    $(Self::$variant => $name,)*
                }
            }
        }
    };
}

counters! {
    /// Messages that named something unknown or came from the wrong peer.
    DroppedMessages = "master/dropped_messages";
    /// Executor messages that could not be forwarded.
    InvalidExecutorToFramework = "master/invalid_executor_to_framework_messages";
    /// Framework messages that could not be forwarded.
    InvalidFrameworkToExecutor = "master/invalid_framework_to_executor_messages";
    /// Operation acknowledgements for something unknown.
    InvalidOperationAcknowledgements = "master/invalid_operation_status_update_acknowledgements";
    /// Operation updates for something unknown.
    InvalidOperationUpdates = "master/invalid_operation_status_updates";
    /// Acknowledgements for something unknown.
    InvalidAcknowledgements = "master/invalid_status_update_acknowledgements";
    /// Status updates for something unknown.
    InvalidStatusUpdates = "master/invalid_status_updates";
    /// `AuthenticateMessage`s.
    MessagesAuthenticate = "master/messages_authenticate";
    /// `DeactivateFrameworkMessage`s.
    MessagesDeactivateFramework = "master/messages_deactivate_framework";
    /// `DECLINE` calls, and `ACCEPT` calls that launch nothing.
    MessagesDeclineOffers = "master/messages_decline_offers";
    /// Messages of executors to frameworks.
    MessagesExecutorToFramework = "master/messages_executor_to_framework";
    /// `ExitedExecutorMessage`s.
    MessagesExitedExecutor = "master/messages_exited_executor";
    /// `MESSAGE` calls.
    MessagesFrameworkToExecutor = "master/messages_framework_to_executor";
    /// `KILL` calls.
    MessagesKillTask = "master/messages_kill_task";
    /// `LAUNCH` operations.
    MessagesLaunchTasks = "master/messages_launch_tasks";
    /// `UpdateOperationStatusMessage`s.
    MessagesOperationStatusUpdate = "master/messages_operation_status_update";
    /// `ACKNOWLEDGE_OPERATION_STATUS` calls.
    MessagesOperationAcknowledgement = "master/messages_operation_status_update_acknowledgement";
    /// `RECONCILE_OPERATIONS` calls.
    MessagesReconcileOperations = "master/messages_reconcile_operations";
    /// `RECONCILE` calls.
    MessagesReconcileTasks = "master/messages_reconcile_tasks";
    /// Subscriptions without an id.
    MessagesRegisterFramework = "master/messages_register_framework";
    /// `RegisterSlaveMessage`s.
    MessagesRegisterAgent = "master/messages_register_slave";
    /// Subscriptions with an id.
    MessagesReregisterFramework = "master/messages_reregister_framework";
    /// `ReregisterSlaveMessage`s.
    MessagesReregisterAgent = "master/messages_reregister_slave";
    /// `REQUEST` calls.
    MessagesResourceRequest = "master/messages_resource_request";
    /// `REVIVE` calls.
    MessagesReviveOffers = "master/messages_revive_offers";
    /// `StatusUpdateMessage`s.
    MessagesStatusUpdate = "master/messages_status_update";
    /// `ACKNOWLEDGE` calls.
    MessagesAcknowledgement = "master/messages_status_update_acknowledgement";
    /// `SUPPRESS` calls.
    MessagesSuppressOffers = "master/messages_suppress_offers";
    /// `TEARDOWN` calls.
    MessagesUnregisterFramework = "master/messages_unregister_framework";
    /// `UnregisterSlaveMessage`s.
    MessagesUnregisterAgent = "master/messages_unregister_slave";
    /// `UpdateSlaveMessage`s.
    MessagesUpdateAgent = "master/messages_update_slave";
    /// Agents that did not return after a restart of the master.
    RecoveryAgentRemovals = "master/recovery_slave_removals";
    /// Agents registered.
    AgentRegistrations = "master/slave_registrations";
    /// Agents removed.
    AgentRemovals = "master/slave_removals";
    /// Agents removed because another registered at the same address.
    AgentRemovalsRegistered = "master/slave_removals/reason_registered";
    /// Agents removed because they did not answer.
    AgentRemovalsUnhealthy = "master/slave_removals/reason_unhealthy";
    /// Agents removed because they said goodbye.
    AgentRemovalsUnregistered = "master/slave_removals/reason_unregistered";
    /// Agents reregistered.
    AgentReregistrations = "master/slave_reregistrations";
    /// Removals called off because the agent answered after all.
    AgentUnreachableCanceled = "master/slave_unreachable_canceled";
    /// Removals of silent agents done.
    AgentUnreachableCompleted = "master/slave_unreachable_completed";
    /// Removals of silent agents begun.
    AgentUnreachableScheduled = "master/slave_unreachable_scheduled";
    /// Old name of the same.
    AgentShutdownsCanceled = "master/slave_shutdowns_canceled";
    /// Old name of the same.
    AgentShutdownsCompleted = "master/slave_shutdowns_completed";
    /// Old name of the same.
    AgentShutdownsScheduled = "master/slave_shutdowns_scheduled";
    /// Tasks that ended in `TASK_DROPPED`.
    TasksDropped = "master/tasks_dropped";
    /// Tasks that ended in `TASK_ERROR`.
    TasksError = "master/tasks_error";
    /// Tasks that ended in `TASK_FAILED`.
    TasksFailed = "master/tasks_failed";
    /// Tasks that ended in `TASK_FINISHED`.
    TasksFinished = "master/tasks_finished";
    /// Tasks that ended in `TASK_GONE`.
    TasksGone = "master/tasks_gone";
    /// Tasks that ended in `TASK_GONE_BY_OPERATOR`.
    TasksGoneByOperator = "master/tasks_gone_by_operator";
    /// Tasks that ended in `TASK_KILLED`.
    TasksKilled = "master/tasks_killed";
    /// Tasks that ended in `TASK_LOST`.
    TasksLost = "master/tasks_lost";
    /// Executor messages forwarded.
    ValidExecutorToFramework = "master/valid_executor_to_framework_messages";
    /// Framework messages forwarded.
    ValidFrameworkToExecutor = "master/valid_framework_to_executor_messages";
    /// Operation acknowledgements forwarded.
    ValidOperationAcknowledgements = "master/valid_operation_status_update_acknowledgements";
    /// Operation updates taken.
    ValidOperationUpdates = "master/valid_operation_status_updates";
    /// Acknowledgements forwarded.
    ValidAcknowledgements = "master/valid_status_update_acknowledgements";
    /// Status updates forwarded.
    ValidStatusUpdates = "master/valid_status_updates";
    /// Task state changes that the transition table does not allow (not in Mesos).
    IllegalTaskTransitions = "master/illegal_task_transitions";
    /// Calls that failed validation.
    InvalidCalls = "master/invalid_calls";
    /// Allocation cycles run.
    AllocationRuns = "allocator/mesos/allocation_runs";
}

/// The counters, and the gauges as of one moment.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Metrics {
    counters: BTreeMap<Counter, u64>,
    /// `master/task_<state>/source_<source>/reason_<reason>`, for combinations that occurred.
    task_reasons: BTreeMap<String, u64>,
    /// Operations that ended in a state, and those that are in another.
    operations: Tally<(operation::Type, OperationState)>,
    /// Set when a snapshot is taken.
    pub(crate) gauges: BTreeMap<String, f64>,
}

impl Metrics {
    /// Adds one.
    pub(crate) fn add(&mut self, counter: Counter) {
        *self.counters.entry(counter).or_default() += 1;
    }

    /// The value of one counter.
    #[must_use]
    pub fn counter(&self, counter: Counter) -> u64 {
        self.counters.get(&counter).copied().unwrap_or(0)
    }

    /// Counts a task that reached `state` for `reason`.
    pub(crate) fn add_task_end(
        &mut self,
        state: TaskState,
        source: Option<Source>,
        reason: Option<Reason>,
    ) {
        if let Some(counter) = terminal_counter(state) {
            self.add(counter);
        }
        if let (Some(source), Some(reason)) = (source, reason) {
            let name = format!(
                "master/{}/{}/{}",
                state.name(Names::V0).to_ascii_lowercase(),
                source.name(Names::V0).to_ascii_lowercase(),
                reason.name(Names::V0).to_ascii_lowercase()
            );
            *self.task_reasons.entry(name).or_default() += 1;
        }
    }

    /// Counts an operation that is known now, or that came to nothing at once.
    pub(crate) fn add_operation(&mut self, kind: operation::Type, state: OperationState) {
        self.operations.add((kind, state));
    }

    /// Counts the change of an operation's state.
    pub(crate) fn change_operation(
        &mut self,
        kind: operation::Type,
        before: OperationState,
        after: OperationState,
    ) {
        if before != after {
            self.operations.remove((kind, before));
            self.operations.add((kind, after));
        }
    }

    /// Counts an operation no longer, unless it ended: what ended is counted for ever.
    pub(crate) fn remove_operation(&mut self, kind: operation::Type, state: OperationState) {
        if !state.is_terminal() {
            self.operations.remove((kind, state));
        }
    }

    /// Adds `master/operations/` to the gauges, by kind and state, and their sums.
    #[expect(clippy::cast_precision_loss, reason = "Mesos' metrics are doubles")]
    pub(crate) fn sum_operations(&mut self) {
        let mut sums: BTreeMap<String, u64> = BTreeMap::new();
        for kind in OPERATIONS {
            let name = kind.name(Names::V1).to_ascii_lowercase();
            for (state, label) in OPERATION_STATES {
                let count = self.operations.get((kind, state));
                for name in [
                    format!("master/operations/{name}/{label}"),
                    format!("master/operations/{name}/total"),
                    format!("master/operations/{label}"),
                    "master/operations/total".to_owned(),
                ] {
                    *sums.entry(name).or_default() += count;
                }
            }
        }
        self.gauges.extend(sums.into_iter().map(|(name, count)| (name, count as f64)));
    }

    /// Every metric with its value, in order of their names within each group.
    pub fn iter(&self) -> impl Iterator<Item = (&str, f64)> {
        #[expect(clippy::cast_precision_loss, reason = "Mesos' metrics are doubles")]
        let number = |value: u64| value as f64;
        Counter::ALL
            .iter()
            .map(move |counter| (counter.name(), number(self.counter(*counter))))
            .chain(
                self.task_reasons.iter().map(move |(name, value)| (name.as_str(), number(*value))),
            )
            .chain(self.gauges.iter().map(|(name, value)| (name.as_str(), *value)))
    }
}

/// The kinds of operations that are counted; launches are counted as tasks.
const OPERATIONS: [operation::Type; 8] = [
    operation::Type::Reserve,
    operation::Type::Unreserve,
    operation::Type::Create,
    operation::Type::Destroy,
    operation::Type::GrowVolume,
    operation::Type::ShrinkVolume,
    operation::Type::CreateDisk,
    operation::Type::DestroyDisk,
];

/// The states of operations as metrics name them.
const OPERATION_STATES: [(OperationState, &str); 8] = [
    (OperationState::OperationPending, "pending"),
    (OperationState::OperationRecovering, "recovering"),
    (OperationState::OperationUnreachable, "unreachable"),
    (OperationState::OperationFinished, "finished"),
    (OperationState::OperationFailed, "failed"),
    (OperationState::OperationError, "error"),
    (OperationState::OperationDropped, "dropped"),
    (OperationState::OperationGoneByOperator, "gone_by_operator"),
];

const fn terminal_counter(state: TaskState) -> Option<Counter> {
    match state {
        TaskState::TaskFinished => Some(Counter::TasksFinished),
        TaskState::TaskFailed => Some(Counter::TasksFailed),
        TaskState::TaskKilled => Some(Counter::TasksKilled),
        TaskState::TaskLost => Some(Counter::TasksLost),
        TaskState::TaskError => Some(Counter::TasksError),
        TaskState::TaskDropped => Some(Counter::TasksDropped),
        TaskState::TaskGone => Some(Counter::TasksGone),
        TaskState::TaskGoneByOperator => Some(Counter::TasksGoneByOperator),
        TaskState::TaskStaging
        | TaskState::TaskStarting
        | TaskState::TaskRunning
        | TaskState::TaskKilling
        | TaskState::TaskUnreachable
        | TaskState::TaskUnknown => None,
    }
}
