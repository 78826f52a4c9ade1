//! What agents say of their operations, and what becomes of these when an agent goes.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use protocol::internal::{ReconcileOperationsMessage, reconcile_operations_message};
use protocol::mesos::{AgentId, FrameworkId, Operation, OperationState, OperationStatus, Uuid};
use protocol::messages::MasterToAgent;

use crate::Master;
use crate::agent::Agent;
use crate::notice::Notice;
use crate::operation::kind;

/// How long an agent must have been back before the master acknowledges the operations of a framework
/// it does not know: after the master's start the agent may be faster than the framework.
const ORPHAN_ADOPTION_WAIT: Duration = Duration::from_secs(600);

impl Master {
    /// Whether the framework of an operation is not known, and may still come.
    pub(crate) fn may_be_followed_yet(
        &self,
        agent: &Agent,
        framework: Option<&FrameworkId>,
    ) -> bool {
        let Some(framework) = framework else {
            return false;
        };
        let back_for = agent.reregistered_time.map(|since| self.now.since(since));
        !self.frameworks.completed.contains_key(framework)
            && back_for.is_some_and(|time| time < ORPHAN_ADOPTION_WAIT)
    }

    /// Takes over the operations that an agent named, and asks about those that it did not: they may
    /// have been lost on the way to it.
    pub(crate) fn reconcile_agent_operations(&mut self, id: &AgentId, reported: Vec<Operation>) {
        let Some(agent) = self.agents.registered.get_mut(id) else {
            return;
        };
        let named: BTreeSet<&Vec<u8>> =
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
            if !agent.operations.contains_key(&operation.uuid.value) {
                self.metrics.add_operation(kind(&operation.info), operation.latest_status.state);
                self.operations.insert(id, &operation);
                agent.operations.insert(operation.uuid.value.clone(), Arc::new(operation));
            }
        }
        self.views.touch_agent(id);
        if !operations.is_empty() {
            let message = ReconcileOperationsMessage { operations, ..Default::default() };
            self.send_to_agent(pid, MasterToAgent::ReconcileOperations(message));
        }
    }

    /// Tells frameworks that the operations on an agent are out of reach or gone with it, as `state`
    /// says. Frameworks that are away learn it when they ask.
    pub(crate) fn end_operations(&mut self, id: &AgentId, state: OperationState, message: &str) {
        let Some(agent) = self.agents.registered.get(id) else {
            return;
        };
        let operations: Vec<Arc<Operation>> = agent.operations.values().cloned().collect();
        self.forget_operations(id);
        for operation in operations {
            self.metrics.add_operation(kind(&operation.info), state);
            if let (Some(framework_id), Some(operation_id)) =
                (&operation.framework_id, &operation.info.id)
            {
                let status = OperationStatus {
                    operation_id: Some(operation_id.clone()),
                    state,
                    agent_id: Some(id.clone()),
                    message: Some(message.to_owned()),
                    ..Default::default()
                };
                self.notify(framework_id, Notice::Operation(Box::new(status)));
            }
        }
    }

    /// Forgets the operations of an agent that goes. If it comes back it names them again.
    pub(crate) fn forget_operations(&mut self, id: &AgentId) {
        let Some(agent) = self.agent_mut(id) else {
            return;
        };
        for operation in std::mem::take(&mut agent.operations).into_values() {
            self.metrics.remove_operation(kind(&operation.info), operation.latest_status.state);
            self.operations.remove(&operation);
        }
    }
}
