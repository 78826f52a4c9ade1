//! Which operations a framework has, and where.

use std::collections::BTreeMap;

use protocol::mesos::{AgentId, FrameworkId, Operation, OperationId};

/// The operations of frameworks, by framework: a question about one of them must not cost a walk over
/// all agents. The operations themselves belong to their agents. A framework need not be known: after
/// the master's start an agent may come back before the framework does.
#[derive(Clone, Debug, Default)]
pub(crate) struct OperationIndex {
    frameworks: BTreeMap<FrameworkId, FrameworkOperations>,
}

#[derive(Clone, Debug, Default)]
struct FrameworkOperations {
    /// The agent of each operation, by the operation's UUID.
    agents: BTreeMap<Vec<u8>, AgentId>,
    /// The operation with each id that the framework has given. When it gives one twice the later
    /// operation has it, as in Mesos.
    ids: BTreeMap<OperationId, Vec<u8>>,
}

impl OperationIndex {
    pub(crate) fn insert(&mut self, agent: &AgentId, operation: &Operation) {
        let Some(framework) = &operation.framework_id else {
            return;
        };
        let uuid = &operation.uuid.value;
        let entry = self.frameworks.entry(framework.clone()).or_default();
        entry.agents.insert(uuid.clone(), agent.clone());
        if let Some(id) = &operation.info.id {
            entry.ids.insert(id.clone(), uuid.clone());
        }
    }

    pub(crate) fn remove(&mut self, operation: &Operation) {
        let Some(framework) = &operation.framework_id else {
            return;
        };
        let Some(entry) = self.frameworks.get_mut(framework) else {
            return;
        };
        let uuid = &operation.uuid.value;
        entry.agents.remove(uuid);
        if let Some(id) = &operation.info.id
            && entry.ids.get(id) == Some(uuid)
        {
            entry.ids.remove(id);
        }
        if entry.agents.is_empty() {
            self.frameworks.remove(framework);
        }
    }

    /// The agent and UUID of the operation that a framework knows by this id.
    pub(crate) fn find(
        &self,
        framework: &FrameworkId,
        id: &OperationId,
    ) -> Option<(&AgentId, &[u8])> {
        let entry = self.frameworks.get(framework)?;
        let uuid = entry.ids.get(id)?;
        Some((entry.agents.get(uuid)?, uuid))
    }

    /// All operations of a framework: agent and UUID.
    pub(crate) fn of(&self, framework: &FrameworkId) -> impl Iterator<Item = (&AgentId, &[u8])> {
        let entry = self.frameworks.get(framework);
        entry.into_iter().flat_map(|entry| &entry.agents).map(|(uuid, agent)| (agent, &uuid[..]))
    }
}
