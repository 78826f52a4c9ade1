//! Operations on an agent's resources: applied here, sent to the agent, followed until they end.

mod agent;
mod feedback;
mod index;

use std::sync::Arc;

use protocol::internal::{
    AcknowledgeOperationStatusMessage, ApplyOperationMessage, CheckpointResourcesMessage,
    PingSlaveMessage, ResourceVersionUuid, UpdateOperationStatusMessage,
};
use protocol::mesos::offer::Operation as OperationInfo;
use protocol::mesos::offer::operation::Type;
use protocol::mesos::{AgentId, FrameworkId, Operation, OperationState, OperationStatus, Uuid};
use protocol::messages::MasterToAgent;
use resources::Resource;

use crate::Master;
use crate::agent::Agent;
use crate::metrics::Counter;
use crate::notice::Notice;

pub(crate) use index::OperationIndex;

/// How many operations of one agent may be under way or wait for an acknowledgement. Beyond it new
/// ones are refused: a framework that never acknowledges must not fill the memory.
pub(crate) const AGENT_OPERATIONS_MAX: usize = 16_384;

/// How many statuses are kept of one operation, the newest ones. An agent needs one, a resource
/// provider a few.
const OPERATION_STATUSES_MAX: usize = 16;

/// Whether an operation in this state has ended and changed nothing.
const fn came_to_nothing(state: OperationState) -> bool {
    matches!(
        state,
        OperationState::OperationFailed
            | OperationState::OperationError
            | OperationState::OperationDropped
    )
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
        let Some(agent) = self.agents.registered.get_mut(agent_id) else {
            return;
        };
        self.views.touch_agent(agent_id);
        for conversion in &conversions {
            let applied = agent.total.apply(&conversion.unallocated());
            debug_assert!(applied.is_ok(), "what is offered is part of the total: {applied:?}");
        }
        agent.checkpointed = agent.total.filter(Resource::needs_checkpointing);
        let pid = agent.pid.clone();
        let message = match agent.resource_version.clone() {
            Some(version) if agent.capabilities.resource_provider => {
                let operation = pending(&info, framework_id, agent_id, &uuid);
                self.operations.insert(agent_id, &operation);
                agent.operations.insert(uuid.value.clone(), Arc::new(operation));
                self.metrics.add_operation(kind, OperationState::OperationPending);
                MasterToAgent::from(ApplyOperationMessage {
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
            Some(_) | None => match checkpoint_message(agent) {
                Some(message) => message,
                None => return,
            },
        };
        self.send_to_agent(pid, message);
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
            framework_id,
            slave_id,
            mut status,
            latest_status,
            operation_uuid,
            ..
        } = message;
        let Some(uuid) = operation_uuid.map(|uuid| uuid.value) else {
            // An agent's answer to a framework's own question; the master cannot know more.
            if let Some(framework_id) = framework_id {
                self.notify(&framework_id, Notice::Operation(Box::new(status)));
            }
            return;
        };
        let Some(agent_id) = slave_id.filter(|id| self.agents.registered.contains_key(id)) else {
            self.metrics.add(Counter::InvalidOperationUpdates);
            return;
        };
        let known = self.agents.registered[&agent_id].operations.get(&uuid);
        let Some(operation) = known else {
            // Without a framework it repeats an answer to the master. With one it crossed with the
            // removal of the operation, which is still the framework's to know about.
            if let Some(framework_id) = framework_id {
                self.metrics.add(Counter::InvalidOperationUpdates);
                self.notify(&framework_id, Notice::Operation(Box::new(status)));
            }
            return;
        };
        self.metrics.add(Counter::ValidOperationUpdates);
        let end = operation.latest_status.state;
        if end.is_terminal() && came_to_nothing(status.state) && status.state != end {
            // News of its end were acknowledged on the way, so the agent knows it no more.
            self.forget_operation(&agent_id, &uuid);
            return;
        }
        status.operation_id.clone_from(&operation.info.id);
        let mut latest = latest_status.unwrap_or_else(|| status.clone());
        latest.operation_id.clone_from(&operation.info.id);
        let follower = operation.framework_id.clone().filter(|_| operation.info.id.is_some());
        self.record_operation_status(&agent_id, &uuid, &latest);
        match follower {
            Some(id) if self.frameworks.registered.contains_key(&id) => {
                self.notify(&id, Notice::Operation(Box::new(status)));
                if latest.state.is_terminal() && latest.uuid.is_none() {
                    self.forget_operation(&agent_id, &uuid);
                }
            }
            follower => self.acknowledge_for_nobody(&agent_id, &uuid, follower.as_ref(), latest),
        }
    }

    /// Keeps the status of an operation. One that has ended stays as it ended.
    fn record_operation_status(
        &mut self,
        agent_id: &AgentId,
        uuid: &[u8],
        status: &OperationStatus,
    ) {
        self.views.touch_agent(agent_id);
        let agent = self.agents.registered.get_mut(agent_id);
        let Some(operation) = agent.and_then(|agent| agent.operations.get_mut(uuid)) else {
            return;
        };
        let operation = Arc::make_mut(operation);
        let before = operation.latest_status.state;
        if !before.is_terminal() {
            self.metrics.change_operation(kind(&operation.info), before, status.state);
            operation.latest_status = status.clone();
        }
        if operation.statuses.last() != Some(status) {
            operation.statuses.push(status.clone());
        }
        let surplus = operation.statuses.len().saturating_sub(OPERATION_STATUSES_MAX);
        operation.statuses.drain(..surplus);
        if !before.is_terminal() && came_to_nothing(status.state) {
            self.ask_what_agent_has(agent_id);
        }
    }

    /// What an operation would do was taken for done when it was sent; now the agent did not do it. What it
    /// really has it says when it registers again, which it does on a ping that calls it disconnected.
    fn ask_what_agent_has(&mut self, id: &AgentId) {
        if let Some(agent) = self.agents.registered.get(id).filter(|agent| agent.connected) {
            let pid = agent.pid.clone();
            let message = PingSlaveMessage { connected: false, ..Default::default() };
            self.send_to_agent(pid, MasterToAgent::PingSlave(message));
        }
    }

    /// Acknowledges a status that no framework will acknowledge: the operation has no id, or its
    /// framework has ended.
    fn acknowledge_for_nobody(
        &mut self,
        agent_id: &AgentId,
        uuid: &[u8],
        framework: Option<&FrameworkId>,
        latest: OperationStatus,
    ) {
        let Some(agent) = self.agents.registered.get(agent_id) else {
            return;
        };
        if let Some(status_uuid) = latest.uuid {
            if self.may_be_followed_yet(agent, framework) {
                return;
            }
            let pid = agent.pid.clone();
            let message = AcknowledgeOperationStatusMessage {
                status_uuid,
                operation_uuid: Uuid { value: uuid.to_vec(), ..Default::default() },
                ..Default::default()
            };
            self.send_to_agent(pid, MasterToAgent::AcknowledgeOperationStatus(message));
        }
        if latest.state.is_terminal() {
            self.forget_operation(agent_id, uuid);
        }
    }

    pub(crate) fn forget_operation(&mut self, agent: &AgentId, uuid: &[u8]) {
        if let Some(operation) =
            self.agent_mut(agent).and_then(|agent| agent.operations.remove(uuid))
        {
            self.metrics.remove_operation(kind(&operation.info), operation.latest_status.state);
            self.operations.remove(&operation);
        }
        self.look_at_drain(agent);
    }
}

pub(crate) fn kind(info: &OperationInfo) -> Type {
    info.r#type.unwrap_or(Type::Unknown)
}

/// The whole of reservations and volumes, for an agent that does not know single operations; none
/// when it could not understand them.
fn checkpoint_message(agent: &Agent) -> Option<MasterToAgent> {
    let resources = if agent.capabilities.reservation_refinement {
        agent.checkpointed.to_wire()
    } else {
        agent.checkpointed.to_wire_pre_refinement().ok()?
    };
    let message = CheckpointResourcesMessage { resources, ..Default::default() };
    Some(MasterToAgent::CheckpointResources(message))
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
