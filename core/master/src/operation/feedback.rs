//! What a framework says and asks about its operations.

use std::collections::BTreeMap;

use protocol::internal::{
    AcknowledgeOperationStatusMessage, ReconcileOperationsMessage, reconcile_operations_message,
};
use protocol::mesos::{AgentId, FrameworkId, Operation, OperationState, OperationStatus, Uuid};
use protocol::messages::MasterToAgent;
use protocol::scheduler::call::reconcile_operations::Operation as Question;
use protocol::scheduler::call::{AcknowledgeOperationStatus, ReconcileOperations};

use crate::Master;
use crate::metrics::Counter;
use crate::notice::Notice;

impl Master {
    /// `ACKNOWLEDGE_OPERATION_STATUS`.
    pub(crate) fn acknowledge_operation(
        &mut self,
        framework_id: &FrameworkId,
        call: AcknowledgeOperationStatus,
    ) {
        self.metrics.add(Counter::MessagesOperationAcknowledgement);
        let Some((pid, operation_uuid, state)) = self.acknowledged(framework_id, &call) else {
            self.metrics.add(Counter::InvalidOperationAcknowledgements);
            return;
        };
        if state.is_terminal()
            && let Some(agent_id) = &call.agent_id
        {
            self.forget_operation(agent_id, &operation_uuid.value);
        }
        let message = AcknowledgeOperationStatusMessage {
            status_uuid: Uuid { value: call.uuid, ..Default::default() },
            resource_provider_id: call.resource_provider_id,
            operation_uuid,
            ..Default::default()
        };
        self.send_to_agent(pid, MasterToAgent::AcknowledgeOperationStatus(message));
        self.metrics.add(Counter::ValidOperationAcknowledgements);
    }

    /// Whom an acknowledgement goes to, the operation it is about, and the state acknowledged; none
    /// when nobody waits for it.
    fn acknowledged(
        &self,
        framework_id: &FrameworkId,
        call: &AcknowledgeOperationStatus,
    ) -> Option<(protocol::pid::Pid, Uuid, OperationState)> {
        let agent = self.agents.registered.get(call.agent_id.as_ref()?)?;
        let capable = match call.resource_provider_id {
            Some(_) => agent.capabilities.resource_provider,
            None => agent.capabilities.agent_operation_feedback,
        };
        if !agent.connected || !capable {
            return None;
        }
        let (at, uuid) = self.operations.find(framework_id, &call.operation_id)?;
        let operation = agent.operations.get(uuid).filter(|_| *at == *agent.id)?;
        let status = operation
            .statuses
            .iter()
            .find(|status| status.uuid.as_ref().is_some_and(|uuid| uuid.value == call.uuid))?;
        Some((agent.pid.clone(), operation.uuid.clone(), status.state))
    }

    /// `RECONCILE_OPERATIONS`: what is known of the operations named, or of all.
    pub(crate) fn reconcile_operations(
        &mut self,
        framework_id: &FrameworkId,
        call: ReconcileOperations,
    ) {
        self.metrics.add(Counter::MessagesReconcileOperations);
        let mut answers = Vec::new();
        let mut forwarded: BTreeMap<AgentId, Vec<_>> = BTreeMap::new();
        if call.operations.is_empty() {
            let own = self.operations.of(framework_id);
            let known = own.filter_map(|(agent, uuid)| {
                self.agents.registered.get(agent)?.operations.get(uuid)
            });
            answers.extend(known.map(|operation| status_of(operation)));
        }
        for question in call.operations {
            let found = self.operations.find(framework_id, &question.operation_id);
            let known = found
                .and_then(|(agent, uuid)| self.agents.registered.get(agent)?.operations.get(uuid));
            if let Some(operation) = known {
                answers.push(status_of(operation));
            } else if let Some(agent) = self.provider_to_ask(&question) {
                forwarded.entry(agent).or_default().push(reconcile_operations_message::Operation {
                    operation_id: Some(question.operation_id),
                    resource_provider_id: question.resource_provider_id,
                    ..Default::default()
                });
            } else {
                answers.push(self.status_of_unknown(question));
            }
        }
        for status in answers {
            self.notify(framework_id, Notice::Operation(Box::new(status)));
        }
        for (agent, operations) in forwarded {
            let Some(pid) = self.agents.registered.get(&agent).map(|agent| agent.pid.clone())
            else {
                continue;
            };
            let message = ReconcileOperationsMessage {
                framework_id: Some(framework_id.clone()),
                operations,
                ..Default::default()
            };
            self.send_to_agent(pid, MasterToAgent::ReconcileOperations(message));
        }
    }

    /// The agent that knows whether a resource provider was ever there; the master keeps none.
    fn provider_to_ask(&self, question: &Question) -> Option<AgentId> {
        question.resource_provider_id.as_ref()?;
        let agent = self.agents.registered.get(question.agent_id.as_ref()?)?;
        agent.capabilities.agent_operation_feedback.then(|| (*agent.id).clone())
    }

    /// What can be said of an operation that is not known here, which depends on where its agent is.
    fn status_of_unknown(&self, question: Question) -> OperationStatus {
        use OperationState::{
            OperationGoneByOperator, OperationRecovering, OperationUnknown, OperationUnreachable,
        };
        let (state, message) = match &question.agent_id {
            None => (
                OperationUnknown,
                "Reconciliation: Operation is unknown and no 'agent_id' was provided",
            ),
            Some(agent) if self.agents.recovered.contains_key(agent) => (
                OperationRecovering,
                "Reconciliation: Agent is recovered but has not re-registered",
            ),
            Some(agent) if self.agents.registered.contains_key(agent) => {
                (OperationUnknown, "Reconciliation: Operation is unknown")
            }
            Some(agent) if self.agents.unreachable.contains_key(agent) => {
                (OperationUnreachable, "Reconciliation: Agent is unreachable")
            }
            Some(agent) if self.agents.gone.contains_key(agent) => {
                (OperationGoneByOperator, "Reconciliation: Agent marked gone by operator")
            }
            Some(_) => (OperationUnknown, "Reconciliation: Both operation and agent are unknown"),
        };
        OperationStatus {
            operation_id: Some(question.operation_id),
            state,
            message: Some(message.to_owned()),
            agent_id: question.agent_id,
            resource_provider_id: question.resource_provider_id,
            ..Default::default()
        }
    }
}

/// The last thing that was told of an operation, not to be acknowledged again.
fn status_of(operation: &Operation) -> OperationStatus {
    let last = operation.statuses.last().unwrap_or(&operation.latest_status);
    OperationStatus { uuid: None, ..last.clone() }
}
