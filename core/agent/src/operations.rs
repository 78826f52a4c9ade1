//! Operations on the agent's own resources: reserve, unreserve, create and destroy volumes
//! (`Slave::applyOperation`, `Slave::checkpointResourceState`), and the reliable report of their end.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use protocol::checkpoint::ResourceState as ResourceStateRecord;
use protocol::internal::{
    AcknowledgeOperationStatusMessage, ApplyOperationMessage, CheckpointResourcesMessage,
    ReconcileOperationsMessage, UpdateOperationStatusMessage, reconcile_operations_message,
};
use protocol::mesos::{self, OperationState};
use protocol::messages::AgentToMaster;
use protocol::time::Timestamp;
use resources::Resources;

use crate::agent::Agent;
use crate::checkpoint::{self, Change, records};
use crate::effect::Severity;
use crate::resource_state::can_be_kept;
use crate::status_updates::{RETRY_INTERVAL_MAX, RETRY_INTERVAL_MIN};
use crate::timers::{Timer, TimerId};
use crate::view::Phase;

/// How many operations are remembered, so that one that comes twice is applied once.
const APPLIED_OPERATIONS_MAX: usize = 1024;

/// How many operations may wait for their acknowledgement; more are dropped.
const UNACKNOWLEDGED_OPERATIONS_MAX: usize = 16_384;

/// Operations that are over and not acknowledged, by uuid.
#[derive(Debug, Default)]
pub(crate) struct Operations {
    entries: BTreeMap<Vec<u8>, Entry>,
    applied: VecDeque<Vec<u8>>,
}

#[derive(Debug)]
struct Entry {
    operation: mesos::Operation,
    retry: Option<TimerId>,
    retry_interval: Duration,
}

impl Operations {
    pub(crate) fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    pub(crate) fn all(&self) -> Vec<mesos::Operation> {
        self.entries.values().map(|entry| entry.operation.clone()).collect()
    }

    pub(crate) fn insert(&mut self, operation: mesos::Operation) {
        let uuid = operation.uuid.value.clone();
        self.applied.push_back(uuid.clone());
        while self.applied.len() > APPLIED_OPERATIONS_MAX {
            self.applied.pop_front();
        }
        let entry = Entry { operation, retry: None, retry_interval: RETRY_INTERVAL_MIN };
        self.entries.insert(uuid, entry);
    }

    /// Operations that came before the answer to the first registration did not know the agent's id.
    /// Says whether there are any.
    fn name_agent(&mut self, id: &mesos::AgentId) -> bool {
        for Entry { operation, .. } in self.entries.values_mut() {
            operation.agent_id = Some(id.clone());
            let statuses = operation.statuses.iter_mut().chain([&mut operation.latest_status]);
            statuses.for_each(|status| status.agent_id = Some(id.clone()));
        }
        !self.entries.is_empty()
    }

    fn has_applied(&self, uuid: &[u8]) -> bool {
        self.applied.iter().any(|other| other == uuid)
    }
}

impl Agent {
    /// The whole of reservations and volumes, from a master that does not send single operations.
    pub(crate) fn checkpoint_resources(&mut self, message: &CheckpointResourcesMessage) {
        match Resources::from_wire(&message.resources) {
            Ok(resources) if resources.iter().all(can_be_kept) => {
                self.change_checkpointed(resources);
            }
            Ok(resources) => {
                let text = format!(
                    "resources to checkpoint were ignored: {resources} has a volume that cannot be kept here"
                );
                self.log(Severity::Error, text);
            }
            Err(error) => {
                let text = format!("resources to checkpoint were ignored: {error}");
                self.log(Severity::Error, text);
            }
        }
    }

    pub(crate) fn apply_operation(&mut self, now: Timestamp, message: ApplyOperationMessage) {
        let uuid = message.operation_uuid.clone();
        if self.operations.has_applied(&uuid.value) {
            return;
        }
        let version = &message.resource_version_uuid;
        let is_own = version.resource_provider_id.is_none() && !version.uuid.value.is_empty();
        if is_own && version.uuid.value != self.resources.version() {
            // Decided before the registration that this version was superseded by: what the agent
            // told of itself there does not have the operation, so it must never have it.
            self.drop_operation(message, "Operation assumes outdated resource state");
            return;
        }
        if self.operations.entries.len() >= UNACKNOWLEDGED_OPERATIONS_MAX {
            self.drop_operation(message, "Too many operations wait for their acknowledgement");
            self.register_again(now);
            return;
        }
        let is_refused = self.perform_operation(message);
        self.report_operation(now, &uuid.value);
        if is_refused {
            // The master took it for done. Registering again tells it what there really is.
            self.register_again(now);
        }
    }

    /// Tells the master that an operation was not even tried. Nothing is kept of it: should this be
    /// lost, the master asks when the agent registers again.
    fn drop_operation(&mut self, message: ApplyOperationMessage, text: &str) {
        self.log(Severity::Warning, format!("an operation is dropped: {text}"));
        let status = mesos::OperationStatus {
            operation_id: message.operation_info.id,
            state: OperationState::OperationDropped,
            message: Some(text.to_owned()),
            agent_id: Some(self.agent_id()),
            ..Default::default()
        };
        let update = UpdateOperationStatusMessage {
            framework_id: message.framework_id,
            slave_id: Some(self.agent_id()),
            status,
            operation_uuid: Some(message.operation_uuid),
            ..Default::default()
        };
        self.send_to_master(AgentToMaster::UpdateOperationStatus(update));
    }

    /// Applies an operation, if it fits, and checkpoints it with its end. Says whether it did not fit.
    fn perform_operation(&mut self, message: ApplyOperationMessage) -> bool {
        let next = self.resources.after(&message.operation_info);
        let (state, text) = match &next {
            Ok(_) => (OperationState::OperationFinished, None),
            Err(error) => (OperationState::OperationFailed, Some(error.clone())),
        };
        let status = mesos::OperationStatus {
            operation_id: message.operation_info.id.clone(),
            state,
            message: text,
            uuid: Some(mesos::Uuid {
                value: self.uuids.next_uuid().to_vec(),
                ..Default::default()
            }),
            agent_id: Some(self.agent_id()),
            ..Default::default()
        };
        self.operations.insert(mesos::Operation {
            framework_id: message.framework_id,
            agent_id: Some(self.agent_id()),
            info: message.operation_info,
            latest_status: status.clone(),
            statuses: vec![status],
            uuid: message.operation_uuid,
            ..Default::default()
        });
        match next {
            Ok(resources) => {
                self.change_checkpointed(resources);
                false
            }
            Err(error) => {
                self.log(Severity::Error, format!("an operation failed: {error}"));
                self.checkpoint_operations();
                true
            }
        }
    }

    /// The agent has got its id, which frameworks need to acknowledge what they are told.
    pub(crate) fn name_operations(&mut self, id: &mesos::AgentId) {
        if self.operations.name_agent(id) {
            self.checkpoint_operations();
        }
    }

    /// Finishes what an agent of Apache Mesos had begun on this disk: it checkpoints creating and
    /// destroying volumes before it does them.
    pub(crate) fn finish_pending_operations(&mut self) {
        let pending: Vec<mesos::Operation> = self
            .operations
            .entries
            .values()
            .map(|entry| &entry.operation)
            .filter(|it| it.latest_status.state == OperationState::OperationPending)
            .cloned()
            .collect();
        for operation in pending {
            self.operations.entries.remove(&operation.uuid.value);
            self.perform_operation(ApplyOperationMessage {
                framework_id: operation.framework_id,
                operation_info: operation.info,
                operation_uuid: operation.uuid,
                ..Default::default()
            });
        }
    }

    /// Makes another set of reservations and volumes the agent's, on disk and in memory.
    fn change_checkpointed(&mut self, next: Resources) {
        let volume_changes = self.resources.volume_changes(&self.config.work_dir, &next);
        let mut checked = crate::resource_state::ResourceState::new(&[]);
        std::mem::swap(&mut checked, &mut self.resources);
        let outcome = checked.set_checkpointed(next);
        self.resources = checked;
        if let Err(error) = outcome {
            let text = format!("resources to checkpoint do not fit the agent: {error}");
            self.log(Severity::Error, text);
            return;
        }
        self.checkpoint_resource_state(volume_changes);
    }

    /// Writes the target, carries out the volumes' changes, and only then the state itself: a crash
    /// in between is finished by the next start.
    pub(crate) fn checkpoint_resource_state(&mut self, volume_changes: Vec<Change>) {
        let state = self.resource_state_record();
        let list = encode_list(&self.resources.checkpointed_for_wire());
        let target = checkpoint::RESOURCES_AND_OPERATIONS_TARGET.to_owned();
        self.outbox.change(checkpoint::write_message(target.clone(), &state));
        let list_target = checkpoint::RESOURCES_TARGET.to_owned();
        let change = Change::Write { path: list_target.clone(), content: list.clone() };
        self.outbox.change(change);
        for change in volume_changes {
            self.outbox.change(change);
        }
        let path = checkpoint::RESOURCES_INFO.to_owned();
        self.outbox.change(Change::Write { path, content: list });
        self.outbox.change(Change::Remove { path: list_target });
        let path = checkpoint::RESOURCES_AND_OPERATIONS.to_owned();
        self.outbox.change(checkpoint::write_message(path, &state));
        self.outbox.change(Change::Remove { path: target });
    }

    /// Writes the operations anew where the resources stay as they are.
    fn checkpoint_operations(&mut self) {
        let path = checkpoint::RESOURCES_AND_OPERATIONS.to_owned();
        let state = self.resource_state_record();
        self.outbox.change(checkpoint::write_message(path, &state));
    }

    fn resource_state_record(&self) -> ResourceStateRecord {
        ResourceStateRecord {
            operations: self.operations.all(),
            resources: self.resources.checkpointed_for_wire(),
            ..Default::default()
        }
    }

    /// Tells the master how an operation ended, again and again until it is acknowledged.
    fn report_operation(&mut self, now: Timestamp, uuid: &[u8]) {
        if self.phase != Phase::Running {
            return;
        }
        let agent = self.agent_id();
        let Some(entry) = self.operations.entries.get_mut(uuid) else { return };
        if let Some(timer) = entry.retry.take() {
            self.timers.cancel(timer);
        }
        let retry = Timer::OperationRetry { operation: uuid.to_vec() };
        entry.retry = Some(self.timers.set(now + entry.retry_interval, retry));
        entry.retry_interval = (entry.retry_interval * 2).min(RETRY_INTERVAL_MAX);
        let operation = &entry.operation;
        let message = UpdateOperationStatusMessage {
            framework_id: operation.framework_id.clone(),
            slave_id: Some(agent),
            status: operation.latest_status.clone(),
            latest_status: Some(operation.latest_status.clone()),
            operation_uuid: Some(operation.uuid.clone()),
            ..Default::default()
        };
        self.send_to_master(AgentToMaster::UpdateOperationStatus(message));
    }

    pub(crate) fn retry_operation(&mut self, now: Timestamp, uuid: &[u8]) {
        if let Some(entry) = self.operations.entries.get_mut(uuid) {
            entry.retry = None;
            self.report_operation(now, uuid);
        }
    }

    pub(crate) fn pause_operations(&mut self) {
        for entry in self.operations.entries.values_mut() {
            if let Some(timer) = entry.retry.take() {
                self.timers.cancel(timer);
            }
        }
    }

    pub(crate) fn resume_operations(&mut self, now: Timestamp) {
        let uuids: Vec<Vec<u8>> = self.operations.entries.keys().cloned().collect();
        for uuid in uuids {
            if let Some(entry) = self.operations.entries.get_mut(&uuid) {
                entry.retry_interval = RETRY_INTERVAL_MIN;
            }
            self.report_operation(now, &uuid);
        }
    }

    pub(crate) fn operation_acknowledged(&mut self, message: &AcknowledgeOperationStatusMessage) {
        let uuid = &message.operation_uuid.value;
        let Some(entry) = self.operations.entries.get(uuid) else { return };
        if entry.operation.latest_status.uuid.as_ref() != Some(&message.status_uuid) {
            return;
        }
        if let Some(timer) = self.operations.entries.remove(uuid).and_then(|entry| entry.retry) {
            self.timers.cancel(timer);
        }
        self.checkpoint_operations();
        self.finish_drain_if_complete();
    }

    /// Answers for operations the master, or a framework, asks about.
    pub(crate) fn reconcile_operations(&mut self, message: &ReconcileOperationsMessage) {
        for asked in &message.operations {
            if asked.resource_provider_id.is_some() && message.framework_id.is_none() {
                // There are no resource providers here, and the master knows of none.
                continue;
            }
            let known = self.find_operation(message.framework_id.as_ref(), asked);
            let status = match (known, &message.framework_id) {
                // The master knows it too: nothing to say.
                (Some(_), None) => continue,
                (Some(operation), Some(_)) => {
                    mesos::OperationStatus { uuid: None, ..operation.latest_status.clone() }
                }
                (None, framework) => mesos::OperationStatus {
                    operation_id: asked.operation_id.clone(),
                    state: match framework {
                        Some(_) => OperationState::OperationUnknown,
                        None => OperationState::OperationDropped,
                    },
                    agent_id: Some(self.agent_id()),
                    ..Default::default()
                },
            };
            let update = UpdateOperationStatusMessage {
                framework_id: message.framework_id.clone(),
                slave_id: Some(self.agent_id()),
                status,
                operation_uuid: asked.operation_uuid.clone(),
                ..Default::default()
            };
            self.send_to_master(AgentToMaster::UpdateOperationStatus(update));
        }
    }

    fn find_operation(
        &self,
        framework: Option<&mesos::FrameworkId>,
        asked: &reconcile_operations_message::Operation,
    ) -> Option<&mesos::Operation> {
        if let Some(uuid) = &asked.operation_uuid {
            return self.operations.entries.get(&uuid.value).map(|entry| &entry.operation);
        }
        let id = asked.operation_id.as_ref()?;
        self.operations.entries.values().map(|entry| &entry.operation).find(|operation| {
            operation.info.id.as_ref() == Some(id) && operation.framework_id.as_ref() == framework
        })
    }
}

/// A list of resources as a sequence of records.
fn encode_list(resources: &[mesos::Resource]) -> Vec<u8> {
    resources.iter().flat_map(records::encode).collect()
}
