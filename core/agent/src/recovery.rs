//! Starting where an earlier run of the agent left off (`Slave::recover` in Mesos'
//! `src/slave/slave.cpp`).
//!
//! [`recover`] is pure: from the files found it makes a [`RecoveredState`], or says why the agent may
//! not start; nothing on disk is changed then. The agent started with that state first has its
//! containers found again, then waits for living executors to subscribe, then looks for the master.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use indexmap::IndexMap;
use protocol::mesos::{self, TaskState, task_status};
use protocol::time::Timestamp;
use resources::Resources;

use self::read::Reader;
pub use self::read::{
    Leftover, RecoveredExecutor, RecoveredFramework, RecoveredRun, RecoveredTask,
};
use crate::agent::{Agent, Drain};
use crate::checkpoint::{self, Change, Tree, records};
use crate::config::{Config, ReconfigurationPolicy, RecoverMode};
use crate::effect::{ContainerRecovery, Effect, Severity};
use crate::event::ContainerTermination;
use crate::executor::{Executor, ExecutorKey, PendingTermination, State};
use crate::framework::Framework;
use crate::snapshot::executor_view;
use crate::timers::{Timer, TimerId};
use crate::view::Phase;

mod compatibility;
mod in_use;
mod operation_streams;
mod read;

/// Why the agent may not start.
#[derive(Debug, thiserror::Error)]
pub enum RecoveryError {
    /// A file is damaged, and `--strict` is set.
    #[error("checkpoint file {path} is damaged (--strict=false skips what is)")]
    Damaged {
        /// Relative to the meta directory.
        path: String,
        /// What is wrong with it.
        source: records::RecordError,
    },
    /// A file holds resources that make no sense.
    #[error("checkpoint file {path} holds invalid resources")]
    InvalidResources {
        /// Relative to the meta directory.
        path: String,
        /// What is wrong with them.
        source: Box<resources::ResourceError>,
    },
    /// Reservations or volumes on disk need more than the agent has.
    #[error("checkpointed resources {checkpointed} do not fit into the agent's resources {total}")]
    ResourcesDoNotFit {
        /// Reservations and volumes.
        checkpointed: String,
        /// What `--resources` says.
        total: String,
        /// What is missing.
        source: Box<resources::OperationError>,
    },
    /// The configuration differs more than `--reconfiguration_policy` allows.
    #[error(
        "incompatible agent info: {difference}; {}, or remove {latest} to start as a new agent, \
         which forgets running executors",
        way_out(*.allowed_by)
    )]
    Incompatible {
        /// What differs.
        difference: String,
        /// The policy that would allow it, if one does.
        allowed_by: Option<ReconfigurationPolicy>,
        /// The link that makes this the same agent.
        latest: String,
    },
    /// The agent would have less than its tasks use.
    #[error(
        "the agent's tasks use more than it would have: {missing}; give it at least that, or start it \
         as before and end these tasks first"
    )]
    InUse {
        /// What is missing, and who uses it.
        missing: String,
    },
}

fn way_out(allowed_by: Option<ReconfigurationPolicy>) -> String {
    match allowed_by {
        Some(policy) => format!("--reconfiguration_policy={} allows that", policy.name()),
        None => "masters and executors know the agent by it: start it as before".to_owned(),
    }
}

/// What an earlier run left behind.
#[derive(Clone, Debug, Default)]
pub struct RecoveredState {
    /// The agent's id, if it goes on as the same one.
    id: Option<mesos::AgentId>,
    /// Whether its description changed, as far as that is allowed.
    changed: bool,
    rebooted: bool,
    frameworks: Vec<RecoveredFramework>,
    committed: Resources,
    target: Option<Resources>,
    operations: Vec<mesos::Operation>,
    drain: Option<mesos::DrainConfig>,
    repairs: Vec<Change>,
    leftovers: Vec<Leftover>,
    other_agents: Vec<mesos::AgentId>,
    warnings: Vec<String>,
}

/// Reads what an earlier run left behind, and checks that this one may go on.
///
/// # Errors
/// If a file is damaged (in strict mode), or if configuration and checkpoint do not fit together.
pub fn recover(config: &Config, tree: &Tree) -> Result<RecoveredState, RecoveryError> {
    let boot_id = tree.file(checkpoint::BOOT_ID).map(String::from_utf8_lossy);
    let rebooted = boot_id.is_some_and(|boot_id| boot_id.trim() != config.boot_id);
    let latest = tree.link_name(checkpoint::LATEST_AGENT).unwrap_or_default();
    let agent = mesos::AgentId { value: latest.to_owned(), ..Default::default() };
    let mut reader = Reader {
        tree,
        agent,
        strict: config.strict,
        rebooted,
        warnings: Vec::new(),
        repairs: Vec::new(),
        leftovers: Vec::new(),
    };
    let found = reader.resources()?;
    let meant = found.target.as_ref().unwrap_or(&found.committed);
    let total: Resources =
        Resources::from_wire(&config.resources).unwrap_or_else(|_| Resources::new());
    let total =
        total.apply_checkpointed(meant).map_err(|source| RecoveryError::ResourcesDoNotFit {
            checkpointed: meant.to_string(),
            total: total.to_string(),
            source: Box::new(source),
        })?;
    let mut state = RecoveredState {
        rebooted,
        committed: found.committed,
        target: found.target,
        operations: found.operations,
        ..RecoveredState::default()
    };
    if !latest.is_empty() {
        recover_agent(config, &mut reader, &mut state)?;
    }
    if config.reconfiguration_policy == ReconfigurationPolicy::Any
        && state.changed
        && let Some(missing) = in_use::missing(&total, &state.frameworks)
    {
        return Err(RecoveryError::InUse { missing });
    }
    state.other_agents = tree
        .names("slaves")
        .into_iter()
        .filter(|name| state.id.as_ref().is_none_or(|id| id.value != *name))
        .map(|name| mesos::AgentId { value: name.to_owned(), ..Default::default() })
        .collect();
    state.repairs.append(&mut reader.repairs);
    state.leftovers = reader.leftovers;
    state.warnings.append(&mut reader.warnings);
    Ok(state)
}

fn recover_agent(
    config: &Config,
    reader: &mut Reader<'_>,
    state: &mut RecoveredState,
) -> Result<(), RecoveryError> {
    let path = checkpoint::agent_info(&reader.agent);
    let Some(old) = reader.message::<mesos::AgentInfo>(&path)? else { return Ok(()) };
    let new = crate::registration::describe(config);
    if let Some(difference) = compatibility::difference(config.reconfiguration_policy, &old, &new) {
        let latest = checkpoint::LATEST_AGENT.to_owned();
        if !state.rebooted {
            let latest = format!("{}/meta/{latest}", config.work_dir);
            let compatibility::Difference { text: difference, allowed_by } = difference;
            return Err(RecoveryError::Incompatible { difference, allowed_by, latest });
        }
        // Nothing lives after a reboot; a changed host is a new agent.
        state.warnings.push(format!("starting as a new agent: {}", difference.text));
        state.repairs.push(Change::Remove { path: latest });
        return Ok(());
    }
    state.changed = mesos::AgentInfo { id: old.id.clone(), ..new } != old;
    state.drain = reader.message::<mesos::DrainConfig>(&checkpoint::drain_config(&reader.agent))?;
    state.frameworks = reader.frameworks()?;
    state.operations = reader.without_acknowledged(std::mem::take(&mut state.operations));
    state.id = Some(reader.agent.clone());
    Ok(())
}

/// How far the agent is on its way back.
#[derive(Debug, Default)]
pub(crate) struct RecoveryProgress {
    other_agents: Vec<mesos::AgentId>,
    deadline: Option<TimerId>,
    /// Executors whose process was never recorded: there can be none.
    never_started: Vec<mesos::ContainerId>,
}

impl Agent {
    /// Takes over what was found, and asks for the containers.
    pub(crate) fn begin_recovery(&mut self, now: Timestamp, state: RecoveredState) {
        self.metrics.recovery_errors = u64::try_from(state.warnings.len()).unwrap_or(u64::MAX);
        for warning in state.warnings {
            self.log(Severity::Warning, format!("recovery: {warning}"));
        }
        for repair in state.repairs {
            self.outbox.change(repair);
        }
        if let Some(id) = state.id {
            Arc::make_mut(&mut self.info).id = Some(id);
        }
        for operation in state.operations {
            // Whatever was not finished then was never begun: operations are applied at once.
            self.operations.insert(operation);
        }
        self.recover_resources(state.committed, state.target);
        self.finish_pending_operations();
        self.drain = state.drain.map(|config| Drain { config: Arc::new(config), started: now });
        self.recovery.other_agents = state.other_agents;
        self.registration.needs_agent_update = state.changed;
        self.registration.is_change_unknown = state.changed;
        let mut containers = Vec::new();
        for framework in state.frameworks {
            self.recover_framework(now, framework, &mut containers);
        }
        for leftover in state.leftovers {
            self.schedule_removal(leftover.modified, self.work_path(&leftover.directory));
            self.schedule_removal(leftover.modified, self.meta_path(&leftover.directory));
        }
        self.outbox.send(Effect::RecoverContainers { containers });
    }

    /// Finishes a change of reservations or volumes that was under way.
    fn recover_resources(&mut self, committed: Resources, target: Option<Resources>) {
        // Both fit: `recover` made sure of the one, and the run before this one of the other.
        let _ = self.resources.set_checkpointed(committed);
        let Some(target) = target else { return };
        let changes = self.resources.volume_changes(&self.config.work_dir, &target);
        let _ = self.resources.set_checkpointed(target);
        self.checkpoint_resource_state(changes);
    }

    fn recover_framework(
        &mut self,
        now: Timestamp,
        found: RecoveredFramework,
        containers: &mut Vec<ContainerRecovery>,
    ) {
        let id = found.id.clone();
        let mut framework = Framework::new(found.info, found.id, found.pid);
        let mut removals = Vec::new();
        for executor in found.executors {
            let recovery = self.recover_executor(&id, &executor);
            let key =
                ExecutorKey { framework: id.clone(), executor: executor.info.executor_id.clone() };
            if executor.run.completed {
                let path = self.executor_path(&key);
                let run = path.run(&executor.run.container).directory;
                removals.extend([path.directory(), run].map(|it| (executor.run.modified, it)));
                let max = self.config.history.completed_executors_per_framework_max;
                framework.complete(executor_view(&recovery), max);
                continue;
            }
            self.containers.insert(executor.run.container.clone(), key.clone());
            match executor.run.pid {
                Some(pid) => containers.push(self.container_recovery(&recovery, pid)),
                None => self.recovery.never_started.push(executor.run.container.clone()),
            }
            framework.executors.insert(key.executor, recovery);
        }
        for (modified, directory) in removals {
            self.schedule_removal(modified, self.work_path(&directory));
            self.schedule_removal(modified, self.meta_path(&directory));
        }
        self.frameworks.insert(id.clone(), framework);
        self.remove_framework_if_idle(now, &id);
    }

    fn container_recovery(&self, executor: &Executor, pid: u32) -> ContainerRecovery {
        let resources = crate::resource_state::of_executor(executor);
        ContainerRecovery {
            container: executor.container.clone(),
            directory: executor.directory.clone(),
            pid: Some(pid),
            volumes: self.resources.volume_links(&self.config.work_dir, &resources),
            resources,
            container_info: executor.info.container.as_deref().cloned(),
        }
    }

    fn recover_executor(&mut self, id: &mesos::FrameworkId, found: &RecoveredExecutor) -> Executor {
        let run = &found.run;
        let key = ExecutorKey { framework: id.clone(), executor: found.info.executor_id.clone() };
        let path = self.executor_path(&key).run(&run.container);
        let mut executor = Executor {
            info: Arc::new(found.info.clone()),
            framework: id.clone(),
            container: run.container.clone(),
            container_status: None,
            directory: self.work_path(&path.directory),
            checkpoint: true,
            is_command_executor: found.is_command_executor,
            state: if run.completed { State::Terminated } else { State::Registering },
            connection: None,
            pending_termination: None,
            queued: IndexMap::new(),
            queued_groups: Vec::new(),
            launched: IndexMap::new(),
            terminated: IndexMap::new(),
            completed: VecDeque::new(),
            undelivered_kills: BTreeMap::new(),
            had_task: false,
        };
        for task in &run.tasks {
            self.recover_task(&mut executor, task, path.task_updates(&task.record.task_id));
        }
        if run.completed {
            // Its framework was gone: nobody had to be told of the tasks that were left.
            let launched = std::mem::take(&mut executor.launched);
            executor.terminated.extend(launched);
        }
        executor
    }

    fn recover_task(&mut self, executor: &mut Executor, found: &RecoveredTask, updates: String) {
        let id = found.record.task_id.clone();
        executor.launched.insert(id.clone(), Arc::new(found.record.clone()));
        for update in &found.updates {
            // An update the task did not follow the first time is not followed now either.
            let _ = executor.apply_status(&update.status);
            let uuid = update.uuid.as_deref().unwrap_or_default();
            let is_over = update.status.state.is_terminal();
            if is_over && found.acknowledgements.contains(uuid) {
                executor.complete(&id, self.config.history.completed_tasks_per_executor_max);
            }
        }
        if executor.state != State::Terminated {
            let acknowledgements = &found.acknowledgements;
            let framework = &executor.framework;
            self.streams.replay(framework, &id, updates, &found.updates, acknowledgements);
        }
    }

    pub(crate) fn containers_recovered(
        &mut self,
        now: Timestamp,
        alive: Vec<(mesos::ContainerId, mesos::ContainerStatus)>,
    ) {
        if self.phase != Phase::Recovering {
            return;
        }
        self.phase = Phase::Reconnecting;
        for (container, status) in alive {
            self.container_launched(&container, status);
        }
        for container in std::mem::take(&mut self.recovery.never_started) {
            let termination = ContainerTermination {
                message: Some("Abnormal executor termination: unknown container".to_owned()),
                ..ContainerTermination::default()
            };
            self.container_exited(now, &container, &termination);
        }
        if self.phase != Phase::Reconnecting {
            // The last of them was waited for.
            return;
        }
        if self.config.recover == RecoverMode::Cleanup {
            self.finish_recovery(now);
            self.end(now, "clean-up is done".to_owned());
            return;
        }
        let due = now + self.config.timing.executor_reregistration_timeout;
        self.recovery.deadline = Some(self.timers.set(due, Timer::ExecutorReregistration));
        self.finish_reconnecting_if_complete(now);
    }

    /// Nobody else is waited for once every living executor is back.
    pub(crate) fn finish_reconnecting_if_complete(&mut self, now: Timestamp) {
        let is_awaited = self
            .frameworks
            .values()
            .flat_map(|framework| framework.executors.values())
            .any(|executor| executor.state == State::Registering);
        let waits = self.recovery.deadline.is_some();
        if self.phase == Phase::Reconnecting && waits && !is_awaited {
            self.finish_recovery(now);
        }
    }

    /// Executors that live and do not come back are hung: they are destroyed.
    pub(crate) fn reregistration_over(&mut self, now: Timestamp) {
        self.recovery.deadline = None;
        if self.phase != Phase::Reconnecting {
            return;
        }
        let timeout =
            protocol::duration::format(self.config.timing.executor_reregistration_timeout);
        let mut destroyed = Vec::new();
        for framework in self.frameworks.values_mut() {
            let is_aware = framework.is_partition_aware();
            for executor in framework.executors.values_mut() {
                if executor.state != State::Registering {
                    continue;
                }
                executor.state = State::Terminating;
                executor.pending_termination = Some(PendingTermination {
                    state: if is_aware { TaskState::TaskGone } else { TaskState::TaskLost },
                    reason: task_status::Reason::ReasonExecutorReregistrationTimeout,
                    message: format!("Executor did not reregister within {timeout}"),
                });
                destroyed.push(executor.container.clone());
            }
        }
        for container in destroyed {
            self.outbox.send(Effect::DestroyContainer { container });
        }
        self.finish_recovery(now);
    }

    fn finish_recovery(&mut self, now: Timestamp) {
        if let Some(deadline) = self.recovery.deadline.take() {
            self.timers.cancel(deadline);
        }
        self.phase = Phase::Disconnected;
        self.metrics.recovery_time_secs = Some((now - self.started).as_secs_f64());
        let boot_id = checkpoint::write_text(checkpoint::BOOT_ID.to_owned(), &self.config.boot_id);
        self.outbox.change(boot_id);
        for agent in std::mem::take(&mut self.recovery.other_agents) {
            let directory = checkpoint::agent_directory(&agent);
            self.schedule_removal(now, self.work_path(&directory));
            self.schedule_removal(now, self.meta_path(&directory));
        }
        if self.drain.is_some() {
            self.kill_everything(now);
            self.finish_drain_if_complete();
        }
        self.log(Severity::Info, "recovery is over");
        self.begin_registration(now);
    }
}
