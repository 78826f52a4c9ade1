//! Finding, greeting and keeping the master (`Slave::detected` to `Slave::reregistered`, `ping` in
//! Mesos' `src/slave/slave.cpp`).

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use protocol::internal::{
    self, MasterSlaveConnection, PongSlaveMessage, ReconcileTasksMessage, RegisterSlaveMessage,
    ReregisterSlaveMessage, UpdateSlaveMessage,
};
use protocol::mesos::{self, TaskState, agent_info, task_status};
use protocol::messages::AgentToMaster;
use protocol::pid::Pid;
use protocol::time::Timestamp;
use protocol::uuid::UuidSource;

use crate::agent::Agent;
use crate::checkpoint::{self, Change};
use crate::config::{Config, RecoverMode};
use crate::effect::{Effect, Severity};
use crate::event::Leader;
use crate::executor::State;
use crate::framework;
use crate::resource_state;
use crate::status::AgentStatus;
use crate::task;
use crate::timers::{Timer, TimerId};
use crate::view::{FrameworkView, Phase};

/// No attempt waits longer for the next one.
const BACKOFF_MAX: Duration = Duration::from_secs(60);
/// The bound of waits begins at least with this, so that doubling it helps.
const BACKOFF_MIN: Duration = Duration::from_millis(1);
/// Launches that refer to older registrations than these are not on their way any more.
const SUPERSEDED_VERSIONS_MAX: usize = 64;

/// What is known about the master and the attempts to register with it.
#[derive(Debug, Default)]
pub(crate) struct Registration {
    pub(crate) leader: Option<Leader>,
    pub(crate) registered: Option<Timestamp>,
    authenticated: bool,
    /// The bound of the next random wait.
    backoff_max: Duration,
    attempt: Option<TimerId>,
    ping: Option<TimerId>,
    ping_timeout: Option<Duration>,
    /// Versions of the agent's resources that earlier registrations named, oldest first; bounded.
    pub(crate) superseded_versions: VecDeque<Vec<u8>>,
    /// Set when the agent changed over a restart: an old master would not notice.
    pub(crate) needs_agent_update: bool,
    /// Set until a master has taken note of that change; what is on disk is what masters know.
    pub(crate) is_change_unknown: bool,
}

/// What an agent tells of itself before it has an id.
pub(crate) fn describe(config: &Config) -> mesos::AgentInfo {
    mesos::AgentInfo {
        hostname: config.hostname.clone(),
        port: Some(i32::from(config.pid.address.port())),
        resources: config.resources.clone(),
        attributes: config.attributes.clone(),
        domain: config.domain.clone(),
        checkpoint: Some(true),
        ..Default::default()
    }
}

/// What this agent can do; each of these is implemented.
#[must_use]
pub fn capabilities() -> Vec<agent_info::Capability> {
    use agent_info::capability::Type;
    [
        Type::MultiRole,
        Type::HierarchicalRole,
        Type::ReservationRefinement,
        Type::ResourceProvider,
        Type::ResizeVolume,
        Type::AgentOperationFeedback,
        Type::AgentDraining,
        Type::TaskResourceLimits,
    ]
    .into_iter()
    .map(|kind| agent_info::Capability { r#type: Some(kind), ..Default::default() })
    .collect()
}

/// A random share of a wait, so that agents do not all come at once.
fn random_share(uuids: &mut UuidSource, bound: Duration) -> Duration {
    let thousandths = u32::try_from(uuids.next_u64() % 1000).unwrap_or(0);
    bound * thousandths / 1000
}

impl Agent {
    pub(crate) fn master(&self) -> Option<&Pid> {
        self.registration.leader.as_ref().map(|leader| &leader.pid)
    }

    pub(crate) fn send_to_master(&mut self, message: AgentToMaster) {
        let Some(to) = self.master().cloned() else { return };
        self.outbox.send(Effect::SendToMaster { to, message: Box::new(message) });
    }

    pub(crate) fn master_detected(&mut self, now: Timestamp, leader: Option<Leader>) {
        match &leader {
            Some(leader) => self.log(Severity::Info, format!("detected master {}", leader.pid)),
            None => self.log(Severity::Info, "lost the leading master"),
        }
        self.registration.leader = leader;
        self.registration.authenticated = false;
        self.disconnect();
        if self.phase == Phase::Disconnected {
            self.begin_registration(now);
        }
    }

    /// Stops everything that needs a registered agent.
    fn disconnect(&mut self) {
        if matches!(self.phase, Phase::Running | Phase::Disconnected) {
            self.phase = Phase::Disconnected;
        }
        self.pause_updates();
        self.pause_operations();
        let timers = [self.registration.attempt.take(), self.registration.ping.take()];
        for timer in timers.into_iter().flatten() {
            self.timers.cancel(timer);
        }
    }

    /// Gives up what the master believes of the agent, and tells it anew.
    pub(crate) fn register_again(&mut self, now: Timestamp) {
        if self.phase == Phase::Running {
            self.disconnect();
            self.begin_registration(now);
        }
    }

    /// Starts, or starts again, the attempts to register with the known leader.
    pub(crate) fn begin_registration(&mut self, now: Timestamp) {
        let Some(leader) = &self.registration.leader else { return };
        if self.config.recover == RecoverMode::Cleanup {
            return;
        }
        if self.registration.needs_agent_update && !has_agent_update(leader) {
            let reason = "the agent changed over the restart, but the detected master lacks the \
                          AGENT_UPDATE capability: refusing to connect";
            self.exit(1, reason.to_owned());
            return;
        }
        let factor = self.config.timing.registration_backoff_factor;
        self.registration.backoff_max = factor * 2;
        let wait = random_share(&mut self.uuids, factor);
        self.registration.attempt = Some(self.timers.set(now + wait, Timer::Registration));
    }

    pub(crate) fn registration_due(&mut self, now: Timestamp) {
        self.registration.attempt = None;
        if self.phase != Phase::Disconnected {
            return;
        }
        let Some(master) = self.master().cloned() else { return };
        if self.config.authenticate && !self.registration.authenticated {
            self.outbox.send(Effect::Authenticate { master });
        } else {
            // Linking only now, after the back-off, spreads the connections of a whole cluster.
            self.outbox.send(Effect::LinkMaster { pid: master });
            // What was decided on a first registration is not missing in its repetition, as the master
            // goes on from what it has: a launch that meets the repetition on its way stays good.
            if self.info.id.is_some() {
                self.renew_version_for_registration();
            }
            let message = self.registration_message();
            self.send_to_master(message);
        }
        let bound = self.registration.backoff_max.clamp(BACKOFF_MIN, BACKOFF_MAX);
        self.registration.backoff_max = bound * 2;
        let wait = random_share(&mut self.uuids, bound).max(BACKOFF_MIN);
        self.registration.attempt = Some(self.timers.set(now + wait, Timer::Registration));
    }

    pub(crate) fn authenticated(
        &mut self,
        now: Timestamp,
        master: &Pid,
        result: Result<(), String>,
    ) {
        if self.master() != Some(master) || self.phase != Phase::Disconnected {
            return;
        }
        match result {
            Ok(()) => {
                self.registration.authenticated = true;
                if let Some(timer) = self.registration.attempt.take() {
                    self.timers.cancel(timer);
                }
                self.registration_due(now);
            }
            Err(reason) => {
                let message = format!("authentication with {master} failed: {reason}");
                self.log(Severity::Warning, message);
            }
        }
    }

    /// A launch that the master decided on an older registration may be missing in this one, so that
    /// the master takes its resources for free: from now on it is refused as outdated.
    fn renew_version_for_registration(&mut self) {
        let old = self.resources.version().to_vec();
        self.resources.renew_version(&mut self.uuids);
        let superseded = &mut self.registration.superseded_versions;
        superseded.push_back(old);
        while superseded.len() > SUPERSEDED_VERSIONS_MAX {
            superseded.pop_front();
        }
    }

    /// The description in the form that every master reads.
    fn info_for_wire(&self) -> mesos::AgentInfo {
        let mut info = (*self.info).clone();
        info.resources = resource_state::downgraded(&info.resources);
        info
    }

    fn registration_message(&self) -> AgentToMaster {
        let checkpointed_resources = self.resources.checkpointed_for_wire();
        let resource_version_uuid = Some(self.resources.version_message());
        if self.info.id.is_none() {
            return AgentToMaster::RegisterSlave(RegisterSlaveMessage {
                slave: self.info_for_wire(),
                checkpointed_resources,
                version: Some(self.config.version.clone()),
                agent_capabilities: capabilities(),
                resource_version_uuid,
                ..Default::default()
            });
        }
        let mut message = ReregisterSlaveMessage {
            slave: self.info_for_wire(),
            checkpointed_resources,
            version: Some(self.config.version.clone()),
            agent_capabilities: capabilities(),
            resource_version_uuid,
            ..Default::default()
        };
        for framework in self.frameworks.values() {
            message.frameworks.push((*framework.info).clone());
            add_live_framework(&mut message, framework);
        }
        for task in &mut message.tasks {
            task.resources = resource_state::downgraded(&task.resources);
        }
        for executor in &mut message.executor_infos {
            executor.resources = resource_state::downgraded(&executor.resources);
        }
        for framework in &self.completed_frameworks {
            message.completed_frameworks.push(archive(framework));
        }
        AgentToMaster::ReregisterSlave(message)
    }

    pub(crate) fn agent_registered(
        &mut self,
        now: Timestamp,
        id: &mesos::AgentId,
        connection: Option<MasterSlaveConnection>,
    ) {
        self.set_ping_timeout(connection);
        match self.phase {
            Phase::Disconnected if self.info.id.as_ref().is_none_or(|own| own == id) => {
                self.log(Severity::Info, format!("registered with agent id {}", id.value));
                if self.info.id.is_none() {
                    self.checkpoint_identity(id);
                }
                self.connected(now);
            }
            Phase::Disconnected | Phase::Running if self.info.id.as_ref() != Some(id) => {
                let own = self.agent_id().value;
                let reason = format!("registered but got wrong id {} (own: {own})", id.value);
                self.exit(1, reason);
            }
            // The answer came twice, or too late.
            Phase::Recovering
            | Phase::Reconnecting
            | Phase::Disconnected
            | Phase::Running
            | Phase::Terminating => {}
        }
    }

    /// Makes the id durable: everything the agent later writes lies below it.
    fn checkpoint_identity(&mut self, id: &mesos::AgentId) {
        Arc::make_mut(&mut self.info).id = Some(id.clone());
        let directory = checkpoint::agent_directory(id);
        self.outbox.change(Change::Directory { path: directory.clone() });
        self.outbox.change(checkpoint::write_message(checkpoint::agent_info(id), &*self.info));
        let latest = checkpoint::LATEST_AGENT.to_owned();
        self.outbox.change(Change::Link { path: latest, target: directory });
        self.name_operations(id);
    }

    pub(crate) fn agent_reregistered(
        &mut self,
        now: Timestamp,
        id: &mesos::AgentId,
        reconciliations: &[ReconcileTasksMessage],
        connection: Option<MasterSlaveConnection>,
    ) {
        if self.info.id.as_ref() != Some(id) {
            let own = self.agent_id().value;
            self.exit(1, format!("reregistered but got wrong id {} (own: {own})", id.value));
            return;
        }
        self.set_ping_timeout(connection);
        match self.phase {
            Phase::Disconnected => {
                self.log(Severity::Info, "reregistered");
                self.connected(now);
            }
            Phase::Running => {}
            // Meant for the run before this one.
            Phase::Recovering | Phase::Reconnecting | Phase::Terminating => return,
        }
        for reconciliation in reconciliations {
            self.reconcile_tasks(now, reconciliation);
        }
    }

    fn connected(&mut self, now: Timestamp) {
        self.phase = Phase::Running;
        if std::mem::take(&mut self.registration.is_change_unknown) {
            let path = checkpoint::agent_info(&self.agent_id());
            self.outbox.change(checkpoint::write_message(path, &*self.info));
        }
        self.registration.registered = Some(now);
        if let Some(timer) = self.registration.attempt.take() {
            self.timers.cancel(timer);
        }
        self.reset_ping_timer(now);
        self.send_agent_update();
        self.resume_updates(now);
        self.resume_operations(now);
    }

    /// Tells the master what it cannot know from the registration itself.
    pub(crate) fn send_agent_update(&mut self) {
        let message = UpdateSlaveMessage {
            slave_id: self.agent_id(),
            update_oversubscribed_resources: Some(false),
            operations: Some(internal::update_slave_message::Operations {
                operations: self.operations.all(),
                ..Default::default()
            }),
            resource_version_uuid: Some(self.resources.version_message()),
            resource_providers: Some(internal::update_slave_message::ResourceProviders::default()),
            ..Default::default()
        };
        self.send_to_master(AgentToMaster::UpdateSlave(message));
    }

    /// Ends tasks the master believes to be here and that never arrived.
    fn reconcile_tasks(&mut self, now: Timestamp, reconciliation: &ReconcileTasksMessage) {
        let framework_id = &reconciliation.framework_id;
        let is_aware =
            reconciliation.framework.as_deref().is_some_and(framework::is_partition_aware);
        for status in &reconciliation.statuses {
            let framework = self.frameworks.get(framework_id);
            if framework.is_some_and(|framework| framework.has_task(&status.task_id)) {
                continue;
            }
            let state = if is_aware { TaskState::TaskDropped } else { TaskState::TaskLost };
            let status = AgentStatus {
                task: &status.task_id,
                executor: None,
                state,
                reason: task_status::Reason::ReasonReconciliation,
                message: "Reconciliation: task unknown to the agent",
            };
            self.send_unrecorded_status(now, framework_id, &status);
        }
    }

    fn set_ping_timeout(&mut self, connection: Option<MasterSlaveConnection>) {
        let seconds = connection.and_then(|connection| connection.total_ping_timeout_seconds);
        self.registration.ping_timeout = seconds
            .and_then(|seconds| Duration::try_from_secs_f64(seconds).ok())
            .filter(|timeout| !timeout.is_zero());
    }

    fn reset_ping_timer(&mut self, now: Timestamp) {
        if let Some(timer) = self.registration.ping.take() {
            self.timers.cancel(timer);
        }
        let timeout =
            self.registration.ping_timeout.unwrap_or(self.config.timing.master_ping_timeout);
        self.registration.ping = Some(self.timers.set(now + timeout, Timer::MasterPing));
    }

    /// Answers in every phase: recovery may take longer than the master's patience.
    pub(crate) fn pinged(&mut self, now: Timestamp, from: &Pid, connected: bool) {
        let pong = Box::new(AgentToMaster::PongSlave(PongSlaveMessage::default()));
        self.outbox.send_now(Effect::SendToMaster { to: from.clone(), message: pong });
        let is_leader = self.master().is_some_and(|master| master.address == from.address);
        if self.phase != Phase::Running || !is_leader {
            return;
        }
        if connected {
            self.reset_ping_timer(now);
            return;
        }
        // The master saw the connection break while this side did not.
        self.log(Severity::Warning, "the master takes the agent for disconnected: reregistering");
        self.disconnect();
        self.begin_registration(now);
    }

    pub(crate) fn master_ping_missed(&mut self) {
        self.registration.ping = None;
        if self.phase != Phase::Running {
            return;
        }
        self.log(Severity::Warning, "no ping from the master for too long: detecting it again");
        self.registration.leader = None;
        self.disconnect();
        self.outbox.send(Effect::DetectMaster);
    }

    /// Only noted: the detector tells of a new leader, and missing pings of a lost one.
    pub(crate) fn master_exited(&mut self, pid: &Pid) {
        if self.master().is_some_and(|master| master.address == pid.address) {
            self.log(Severity::Warning, "the connection to the master broke");
        }
    }
}

fn has_agent_update(leader: &Leader) -> bool {
    use mesos::master_info::capability::Type;
    // A bare address says nothing about capabilities: then nothing can be refused.
    leader.info.as_ref().is_none_or(|info| {
        info.capabilities.iter().any(|capability| capability.r#type == Some(Type::AgentUpdate))
    })
}

fn add_live_framework(message: &mut ReregisterSlaveMessage, framework: &framework::Framework) {
    let staging =
        |info: &mesos::TaskInfo| task::record(info, TaskState::TaskStaging, &framework.id);
    for launch in &framework.pending {
        message.tasks.extend(launch.tasks().map(staging));
    }
    for executor in framework.executors.values() {
        let records = executor.launched.values().chain(executor.terminated.values());
        message.tasks.extend(records.map(|record| (**record).clone()));
        message.tasks.extend(executor.queued.values().map(|info| staging(info)));
        // The master keeps no record of executors the agent made, nor of those that hold nothing.
        if !executor.is_command_executor && executor.state != State::Terminated {
            message.executor_infos.push((*executor.info).clone());
        }
    }
}

fn archive(framework: &FrameworkView) -> internal::archive::Framework {
    let mut tasks = Vec::new();
    for executor in &framework.completed_executors {
        let records = executor.terminated_tasks.iter().chain(&executor.completed_tasks);
        tasks.extend(records.map(|record| (**record).clone()));
    }
    internal::archive::Framework {
        framework_info: (*framework.info).clone(),
        pid: framework.pid.as_ref().map(ToString::to_string),
        tasks,
        ..Default::default()
    }
}
