//! Operations on an agent's resources: applied here, sent to the agent, followed until they end.

use protocol::internal::{
    AcknowledgeOperationStatusMessage, ApplyOperationMessage, CheckpointResourcesMessage,
    ReconcileOperationsMessage, ResourceVersionUuid, UpdateOperationStatusMessage,
    reconcile_operations_message,
};
use protocol::mesos::offer::Operation as OperationInfo;
use protocol::mesos::offer::operation::Type;
use protocol::mesos::{AgentId, FrameworkId, Operation, OperationState, OperationStatus, Uuid};
use protocol::messages::MasterToAgent;
use protocol::scheduler::call::{AcknowledgeOperationStatus, ReconcileOperations};

use crate::Master;
use crate::agent::Agent;
use crate::metrics::Counter;
use crate::notice::Notice;

/// Whether an operation in this state has ended.
pub(crate) const fn ended(state: OperationState) -> bool {
    match state {
        OperationState::OperationFinished
        | OperationState::OperationFailed
        | OperationState::OperationError
        | OperationState::OperationDropped
        | OperationState::OperationGoneByOperator => true,
        OperationState::OperationUnsupported
        | OperationState::OperationPending
        | OperationState::OperationUnreachable
        | OperationState::OperationRecovering
        | OperationState::OperationUnknown => false,
    }
}

impl Master {
    /// Applies an operation, which was validated, to an agent's total and tells the agent.
    pub(crate) fn apply_operation(
        &mut self,
        agent_id: &AgentId,
        framework_id: Option<&FrameworkId>,
        info: OperationInfo,
    ) {
        let Ok(conversions) = resources::conversions(&info) else {
            return;
        };
        let uuid = Uuid { value: self.uuids.next_uuid().to_vec(), ..Default::default() };
        let kind = kind(&info);
        if let Some(framework_id) = framework_id {
            self.count_framework(framework_id, |metrics| metrics.operations.add(kind));
        }
        let Some(agent) = self.agent_mut(agent_id) else {
            return;
        };
        for conversion in &conversions {
            let applied = agent.total.apply(&conversion.unallocated());
            debug_assert!(applied.is_ok(), "what is offered is part of the total: {applied:?}");
        }
        agent.checkpointed = agent.total.filter(resources::Resource::needs_checkpointing);
        let pid = agent.pid.clone();
        let message = match agent.resource_version.clone() {
            Some(version) if agent.capabilities.resource_provider => {
                let operation = pending(&info, framework_id, agent_id, &uuid);
                agent.operations.insert(uuid.value.clone(), operation);
                self.metrics.add_operation(kind, OperationState::OperationPending);
                MasterToAgent::ApplyOperation(ApplyOperationMessage {
                    framework_id: framework_id.cloned(),
                    operation_info: info,
                    operation_uuid: uuid,
                    resource_version_uuid: ResourceVersionUuid {
                        uuid: version,
                        ..Default::default()
                    },
                    ..Default::default()
                })
            }
            Some(_) | None => {
                let mut resources = agent.checkpointed.to_wire();
                if !agent.capabilities.reservation_refinement {
                    crate::accept::downgrade(&mut resources);
                }
                MasterToAgent::CheckpointResources(CheckpointResourcesMessage {
                    resources,
                    ..Default::default()
                })
            }
        };
        self.send_to_agent(&pid, message);
    }

    /// Tells a framework that an operation with an id was not applied.
    pub(crate) fn drop_operation(
        &mut self,
        framework_id: &FrameworkId,
        operation: &OperationInfo,
        message: String,
    ) {
        self.metrics.add_operation(kind(operation), OperationState::OperationError);
        let Some(id) = &operation.id else {
            self.metrics.add(Counter::DroppedMessages);
            return;
        };
        let status = OperationStatus {
            operation_id: Some(id.clone()),
            state: OperationState::OperationError,
            message: Some(message),
            ..Default::default()
        };
        self.notify(framework_id, Notice::Operation(Box::new(status)));
    }

    /// `UpdateOperationStatusMessage` of an agent.
    pub(crate) fn operation_update(&mut self, message: UpdateOperationStatusMessage) {
        self.metrics.add(Counter::MessagesOperationStatusUpdate);
        let UpdateOperationStatusMessage {
            framework_id, slave_id, mut status, operation_uuid, ..
        } = message;
        let agent = slave_id.as_ref().and_then(|id| self.agents.registered.get_mut(id));
        let uuid = operation_uuid.map(|uuid| uuid.value);
        let operation = agent
            .zip(uuid.as_ref())
            .and_then(|(agent, uuid)| Some((agent.pid.clone(), agent.operations.get_mut(uuid)?)));
        let (Some((pid, operation)), Some(uuid), Some(agent_id)) = (operation, uuid, slave_id)
        else {
            // An operation that is not known here may still be the framework's.
            self.metrics.add(Counter::InvalidOperationUpdates);
            if let Some(framework_id) = framework_id {
                self.notify(&framework_id, Notice::Operation(Box::new(status)));
            }
            return;
        };
        self.metrics.add(Counter::ValidOperationUpdates);
        status.operation_id.clone_from(&operation.info.id);
        let before = operation.latest_status.state;
        self.metrics.change_operation(kind(&operation.info), before, status.state);
        operation.latest_status = status.clone();
        operation.statuses.push(status.clone());
        let owner = operation.framework_id.clone().filter(|_| operation.info.id.is_some());
        let follower = owner.filter(|id| self.frameworks.registered.contains_key(id));
        let finished = ended(status.state);
        let acknowledged = status.uuid.clone();
        match follower {
            Some(framework_id) => {
                self.notify(&framework_id, Notice::Operation(Box::new(status)));
                if finished && acknowledged.is_none() {
                    self.forget_operation(&agent_id, &uuid);
                }
            }
            None => {
                // Nobody else will acknowledge.
                if let Some(status_uuid) = acknowledged {
                    let message = AcknowledgeOperationStatusMessage {
                        status_uuid,
                        operation_uuid: Uuid { value: uuid.clone(), ..Default::default() },
                        ..Default::default()
                    };
                    self.send_to_agent(&pid, MasterToAgent::AcknowledgeOperationStatus(message));
                }
                if finished {
                    self.forget_operation(&agent_id, &uuid);
                }
            }
        }
    }

    fn forget_operation(&mut self, agent_id: &AgentId, uuid: &[u8]) {
        if let Some(agent) = self.agents.registered.get_mut(agent_id)
            && let Some(operation) = agent.operations.remove(uuid)
        {
            self.metrics.remove_operation(kind(&operation.info), operation.latest_status.state);
        }
        self.look_at_drain(agent_id);
    }

    /// `ACKNOWLEDGE_OPERATION_STATUS`.
    pub(crate) fn acknowledge_operation(
        &mut self,
        framework_id: &FrameworkId,
        call: AcknowledgeOperationStatus,
    ) {
        self.metrics.add(Counter::MessagesOperationAcknowledgement);
        let agent = call
            .agent_id
            .as_ref()
            .and_then(|id| self.agents.registered.get(id))
            .filter(|agent| agent.connected && agent.capabilities.agent_operation_feedback);
        let found = agent.and_then(|agent| {
            let operation = agent.operations.values().find(|operation| {
                operation.framework_id.as_ref() == Some(framework_id)
                    && operation.info.id.as_ref() == Some(&call.operation_id)
            })?;
            let status = operation
                .statuses
                .iter()
                .find(|it| it.uuid.as_ref().is_some_and(|uuid| uuid.value == call.uuid))?;
            Some((agent, operation.uuid.clone(), ended(status.state)))
        });
        let Some((agent, operation_uuid, finished)) = found else {
            self.metrics.add(Counter::InvalidOperationAcknowledgements);
            return;
        };
        let (agent_id, pid) = (agent.id.clone(), agent.pid.clone());
        if finished {
            self.forget_operation(&agent_id, &operation_uuid.value);
        }
        let message = AcknowledgeOperationStatusMessage {
            status_uuid: Uuid { value: call.uuid, ..Default::default() },
            operation_uuid,
            ..Default::default()
        };
        self.send_to_agent(&pid, MasterToAgent::AcknowledgeOperationStatus(message));
        self.metrics.add(Counter::ValidOperationAcknowledgements);
    }

    /// `RECONCILE_OPERATIONS`: what is known of the operations named, or of all.
    pub(crate) fn reconcile_operations(
        &mut self,
        framework_id: &FrameworkId,
        call: &ReconcileOperations,
    ) {
        self.metrics.add(Counter::MessagesReconcileOperations);
        let own = |agent: &Agent| -> Vec<OperationStatus> {
            agent
                .operations
                .values()
                .filter(|it| it.framework_id.as_ref() == Some(framework_id) && it.info.id.is_some())
                .map(|it| OperationStatus {
                    operation_id: it.info.id.clone(),
                    state: it.latest_status.state,
                    agent_id: Some(agent.id.clone()),
                    ..Default::default()
                })
                .collect()
        };
        let known: Vec<OperationStatus> = self.agents.registered.values().flat_map(own).collect();
        let answers: Vec<OperationStatus> = if call.operations.is_empty() {
            known
        } else {
            call.operations
                .iter()
                .map(|asked| {
                    known
                        .iter()
                        .find(|status| status.operation_id.as_ref() == Some(&asked.operation_id))
                        .cloned()
                        .unwrap_or_else(|| OperationStatus {
                            operation_id: Some(asked.operation_id.clone()),
                            state: self.unknown_operation_state(asked.agent_id.as_ref()),
                            agent_id: asked.agent_id.clone(),
                            message: Some("Reconciliation: Operation is unknown".to_owned()),
                            ..Default::default()
                        })
                })
                .collect()
        };
        for status in answers {
            self.notify(framework_id, Notice::Operation(Box::new(status)));
        }
    }

    fn unknown_operation_state(&self, agent: Option<&AgentId>) -> OperationState {
        let Some(agent) = agent else {
            return OperationState::OperationUnknown;
        };
        if self.agents.recovered.contains_key(agent) {
            OperationState::OperationRecovering
        } else if self.agents.unreachable.contains_key(agent) {
            OperationState::OperationUnreachable
        } else if self.agents.gone.contains_key(agent) {
            OperationState::OperationGoneByOperator
        } else {
            OperationState::OperationUnknown
        }
    }

    /// Tells frameworks that the operations on an agent ended in `state`.
    pub(crate) fn end_operations(&mut self, id: &AgentId, state: OperationState, message: &str) {
        let Some(agent) = self.agents.registered.get_mut(id) else {
            return;
        };
        for operation in std::mem::take(&mut agent.operations).into_values() {
            let kind = kind(&operation.info);
            self.metrics.remove_operation(kind, operation.latest_status.state);
            self.metrics.add_operation(kind, state);
            if let (Some(framework_id), Some(operation_id)) =
                (operation.framework_id, operation.info.id)
            {
                let status = OperationStatus {
                    operation_id: Some(operation_id),
                    state,
                    agent_id: Some(id.clone()),
                    message: Some(message.to_owned()),
                    ..Default::default()
                };
                self.notify(&framework_id, Notice::Operation(Box::new(status)));
            }
        }
    }

    /// Nobody follows the operations of a removed framework any more; the agent still reports them.
    pub(crate) fn abandon_operations(&mut self, framework_id: &FrameworkId) {
        for agent in self.agents.registered.values_mut() {
            for operation in agent.operations.values_mut() {
                if operation.framework_id.as_ref() == Some(framework_id) {
                    operation.framework_id = None;
                }
            }
        }
    }

    /// Takes over the operations that an agent named, and asks about those that it did not.
    pub(crate) fn reconcile_agent_operations(&mut self, id: &AgentId, reported: Vec<Operation>) {
        let Some(agent) = self.agents.registered.get_mut(id) else {
            return;
        };
        let named: std::collections::BTreeSet<&Vec<u8>> =
            reported.iter().map(|operation| &operation.uuid.value).collect();
        let operations: Vec<reconcile_operations_message::Operation> = agent
            .operations
            .keys()
            .filter(|uuid| !named.contains(uuid))
            .map(|uuid| reconcile_operations_message::Operation {
                operation_uuid: Some(Uuid { value: uuid.clone(), ..Default::default() }),
                ..Default::default()
            })
            .collect();
        let pid = agent.pid.clone();
        for operation in reported {
            agent.operations.entry(operation.uuid.value.clone()).or_insert_with(|| {
                self.metrics.add_operation(kind(&operation.info), operation.latest_status.state);
                operation
            });
        }
        if !operations.is_empty() {
            let message = ReconcileOperationsMessage { operations, ..Default::default() };
            self.send_to_agent(&pid, MasterToAgent::ReconcileOperations(message));
        }
    }
}

fn kind(info: &OperationInfo) -> Type {
    info.r#type.unwrap_or(Type::Unknown)
}

fn pending(
    info: &OperationInfo,
    framework_id: Option<&FrameworkId>,
    agent_id: &AgentId,
    uuid: &Uuid,
) -> Operation {
    let status = OperationStatus {
        operation_id: info.id.clone(),
        state: OperationState::OperationPending,
        agent_id: Some(agent_id.clone()),
        ..Default::default()
    };
    Operation {
        framework_id: framework_id.cloned(),
        agent_id: Some(agent_id.clone()),
        info: info.clone(),
        latest_status: status,
        statuses: Vec::new(),
        uuid: uuid.clone(),
        ..Default::default()
    }
}
