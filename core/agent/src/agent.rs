//! The agent: all its state, and the entry points that dispatch to one handler per event.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use protocol::mesos;
use protocol::time::Timestamp;
use protocol::uuid::UuidSource;

use crate::config::Config;
use crate::effect::{Effect, Severity, WriteId};
use crate::event::{ConnectionId, Event};
use crate::executor::{Executor, ExecutorKey};
use crate::framework::{self, Framework};
use crate::garbage_collection::GarbageCollection;
use crate::metrics::Metrics;
use crate::operations::Operations;
use crate::outbox::Outbox;
use crate::recovery::{RecoveredState, RecoveryProgress};
use crate::registration::Registration;
use crate::resource_state::ResourceState;
use crate::snapshot::ViewCache;
use crate::status_updates::Streams;
use crate::timers::{Timer, TimerId, Timers};
use crate::view::{FrameworkView, Phase};

/// All state of an agent; no handles, no locks.
#[derive(Debug)]
pub struct Agent {
    pub(crate) config: Arc<Config>,
    pub(crate) started: Timestamp,
    pub(crate) phase: Phase,
    /// As told to the master; the id is absent until the master gave one.
    pub(crate) info: Arc<mesos::AgentInfo>,
    pub(crate) registration: Registration,
    pub(crate) recovery: RecoveryProgress,
    pub(crate) resources: ResourceState,
    pub(crate) operations: Operations,
    pub(crate) drain: Option<Drain>,
    pub(crate) frameworks: BTreeMap<mesos::FrameworkId, Framework>,
    /// Oldest first; bounded.
    pub(crate) completed_frameworks: VecDeque<Arc<FrameworkView>>,
    pub(crate) containers: BTreeMap<mesos::ContainerId, ExecutorKey>,
    pub(crate) connections: BTreeMap<ConnectionId, ExecutorKey>,
    pub(crate) streams: Streams,
    pub(crate) garbage: GarbageCollection,
    pub(crate) collection_due: Option<(Timestamp, TimerId)>,
    pub(crate) timers: Timers,
    pub(crate) outbox: Outbox,
    pub(crate) uuids: UuidSource,
    pub(crate) metrics: Metrics,
    pub(crate) view: ViewCache,
    pub(crate) exit_reason: Option<String>,
    pub(crate) exiting: bool,
}

/// A drain the master asked for.
#[derive(Debug)]
pub(crate) struct Drain {
    pub(crate) config: Arc<mesos::DrainConfig>,
    pub(crate) started: Timestamp,
}

impl Agent {
    /// Starts an agent, with what [`crate::recovery::recover`] found on disk.
    #[must_use]
    pub fn new(
        now: Timestamp,
        config: Config,
        recovered: Option<RecoveredState>,
    ) -> (Self, Vec<Effect>) {
        let config = Arc::new(config);
        let mut agent = Self {
            started: now,
            phase: Phase::Recovering,
            info: Arc::new(crate::registration::describe(&config)),
            registration: Registration::default(),
            recovery: RecoveryProgress::default(),
            resources: ResourceState::new(&config.resources),
            operations: Operations::default(),
            drain: None,
            frameworks: BTreeMap::new(),
            completed_frameworks: VecDeque::new(),
            containers: BTreeMap::new(),
            connections: BTreeMap::new(),
            streams: Streams::default(),
            garbage: GarbageCollection::default(),
            collection_due: None,
            timers: Timers::default(),
            outbox: Outbox::default(),
            uuids: UuidSource::new(config.seed),
            metrics: Metrics::default(),
            view: ViewCache::default(),
            exit_reason: None,
            exiting: false,
            config,
        };
        agent.resources.renew_version(&mut agent.uuids);
        agent.begin_recovery(now, recovered.unwrap_or_default());
        agent.begin_disk_watch(now);
        let effects = agent.finish();
        (agent, effects)
    }

    /// Handles one event.
    pub fn handle(&mut self, now: Timestamp, event: Event) -> Vec<Effect> {
        self.view.invalidate();
        let is_confirmation = matches!(event, Event::Checkpointed { .. });
        if self.exiting && !is_confirmation {
            // The end is decided; at most it waits for a last write.
            return Vec::new();
        }
        match event {
            Event::MasterDetected { leader } => self.master_detected(now, leader),
            Event::Authenticated { master, result } => self.authenticated(now, &master, result),
            Event::MasterMessage { from, message } => self.master_message(now, &from, message),
            Event::MasterExited { pid } => self.master_exited(&pid),
            Event::ExecutorSubscribe { connection, call } => {
                self.executor_subscribe(now, connection, *call);
            }
            Event::ExecutorCall { request, call } => self.executor_call(now, request, *call),
            Event::ExecutorConnectionClosed { connection } => self.connection_closed(connection),
            Event::ContainerLaunched { container, status } => {
                self.container_launched(&container, *status);
            }
            Event::ContainerLaunchFailed { container, message, reason } => {
                self.container_launch_failed(now, &container, &message, reason);
            }
            Event::ContainerUpdateFailed { container, message } => {
                self.container_update_failed(&container, &message);
            }
            Event::ContainerExited { container, termination } => {
                self.container_exited(now, &container, &termination);
            }
            Event::ContainersRecovered { alive } => self.containers_recovered(now, alive),
            Event::Checkpointed { write } => self.checkpointed(write),
            Event::CheckpointFailed { write, message } => self.checkpoint_failed(write, &message),
            Event::DiskUsage { used_fraction } => self.disk_usage(now, used_fraction),
            Event::DirectoryRemoved { path, succeeded } => {
                self.directory_removed(now, &path, succeeded);
            }
            Event::Unregister { message } => self.unregister(now, &message),
        }
        self.finish()
    }

    /// Fires the timers that are due.
    pub fn expire(&mut self, now: Timestamp) -> Vec<Effect> {
        if self.exiting {
            return Vec::new();
        }
        while let Some(timer) = self.timers.pop_due(now) {
            self.view.invalidate();
            match timer {
                Timer::Registration => self.registration_due(now),
                Timer::MasterPing => self.master_ping_missed(),
                Timer::ExecutorRegistration { container } => self.registration_missed(&container),
                Timer::ExecutorShutdown { container } => self.shutdown_missed(&container),
                Timer::ExecutorHeartbeat { container } => self.heartbeat_due(now, &container),
                Timer::ExecutorReregistration => self.reregistration_over(now),
                Timer::UpdateRetry { framework, task } => self.retry_update(now, &framework, &task),
                Timer::OperationRetry { operation } => self.retry_operation(now, &operation),
                Timer::DiskWatch => self.watch_disk(now),
                Timer::GarbageCollection => self.collect_garbage(now),
            }
        }
        self.finish()
    }

    /// When [`Self::expire`] wants to be called.
    #[must_use]
    pub fn next_expiry(&self) -> Option<Timestamp> {
        if self.exiting { None } else { self.timers.next_expiry() }
    }

    fn finish(&mut self) -> Vec<Effect> {
        if cfg!(debug_assertions) {
            self.assert_invariants();
        }
        if self.outbox.is_overwhelmed() && !self.exiting {
            self.stop_at_once("the disk does not keep up with the agent's state".to_owned());
        }
        self.outbox.take()
    }

    fn checkpointed(&mut self, write: WriteId) {
        self.outbox.confirm(write);
    }

    fn checkpoint_failed(&mut self, write: WriteId, message: &str) {
        self.stop_at_once(format!("write {} of the agent's state failed: {message}", write.0));
    }

    /// Ends the process without another promise to anybody.
    fn stop_at_once(&mut self, reason: String) {
        self.outbox.abandon();
        self.exiting = true;
        self.phase = Phase::Terminating;
        self.outbox.send_now(Effect::Exit { code: 1, reason });
    }

    /// Ends the process; only the first reason counts.
    pub(crate) fn exit(&mut self, code: i32, reason: String) {
        if !self.exiting {
            self.exiting = true;
            self.phase = Phase::Terminating;
            self.outbox.send(Effect::Exit { code, reason });
        }
    }

    pub(crate) fn log(&mut self, severity: Severity, message: impl Into<String>) {
        self.outbox.log(severity, message.into());
    }

    /// The id the master gave; an empty one before that, which matches nothing.
    pub(crate) fn agent_id(&self) -> mesos::AgentId {
        self.info.id.clone().unwrap_or_default()
    }

    pub(crate) fn executor(&self, key: &ExecutorKey) -> Option<&Executor> {
        self.frameworks.get(&key.framework)?.executors.get(&key.executor)
    }

    pub(crate) fn executor_mut(&mut self, key: &ExecutorKey) -> Option<&mut Executor> {
        self.frameworks.get_mut(&key.framework)?.executors.get_mut(&key.executor)
    }

    /// The executor whose present run is in this container.
    pub(crate) fn executor_in(&mut self, container: &mesos::ContainerId) -> Option<&mut Executor> {
        let key = self.containers.get(container)?.clone();
        self.executor_mut(&key).filter(|executor| executor.container == *container)
    }

    /// What must hold between events; checked in debug builds and tests.
    fn assert_invariants(&self) {
        assert!(self.resources.is_consistent(), "the total is not what reservations make of it");
        for (container, key) in &self.containers {
            let executor = self.executor(key);
            assert!(
                executor.is_some_and(|executor| executor.container == *container),
                "container {container:?} belongs to no executor"
            );
        }
        for (connection, key) in &self.connections {
            let executor = self.executor(key);
            let of_executor = executor.and_then(|executor| executor.connection.as_ref());
            assert!(
                of_executor.is_some_and(|of_executor| of_executor.id == *connection),
                "connection {connection:?} belongs to no executor"
            );
        }
        for (id, framework) in &self.frameworks {
            assert!(!framework.is_idle(), "framework {id:?} has nothing here");
            let is_told =
                framework.state == framework::State::Running && self.phase != Phase::Terminating;
            for task in framework.executors.values().flat_map(|each| each.terminated.values()) {
                assert!(
                    !is_told || task.state.is_terminal(),
                    "task {:?} is over in state {:?}",
                    task.task_id,
                    task.state
                );
            }
        }
    }
}
