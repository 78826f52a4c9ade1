//! Durable writes, and what follows each once it is done.

use std::collections::BTreeMap;

use protocol::internal::{ExitedExecutorMessage, RegisterSlaveMessage, ReregisterSlaveMessage};
use protocol::mesos::{AgentId, FrameworkId};
use protocol::pid::Pid;
use protocol::quota::QuotaConfig;
use protocol::time::Timestamp;

use crate::Master;
use crate::agent::Cause;
use crate::effect::{Effect, RegistryChange, Response};
use crate::event::{RequestId, WriteId};
use crate::maintenance;
use crate::metrics::Counter;
use crate::policy::Rescind;
use crate::registry::Participation;

/// What follows a durable write. Nothing that depends on the write happens before.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum AfterWrite {
    /// Nothing depends on it.
    Nothing,
    /// Add an agent that registered, and tell it.
    AdmitAgent { pid: Pid, message: Box<RegisterSlaveMessage> },
    /// Add an agent that came back, and tell it.
    ReadmitAgent { pid: Pid, message: Box<ReregisterSlaveMessage> },
    /// Take over what a registered agent now says of itself, and tell it.
    UpdateAgent { pid: Pid, message: Box<ReregisterSlaveMessage> },
    /// Take a silent agent out, and tell its frameworks.
    MarkUnreachable { id: AgentId, since: Timestamp, cause: Cause },
    /// Take an agent out for good, tell its frameworks and the operator.
    MarkGone { id: AgentId, since: Timestamp, request: Option<RequestId> },
    /// Take an agent out, and tell its frameworks.
    RemoveAgent {
        id: AgentId,
        cause: &'static str,
        counter: Option<Counter>,
        replacement: Replacement,
    },
    /// Stop or resume an agent's offers, have it drain, and tell the operator.
    SetParticipation { id: AgentId, participation: Participation, request: Option<RequestId> },
    /// End a framework's tasks, and tell who asked for it.
    RemoveFramework { id: FrameworkId, since: Timestamp, answer: Option<(RequestId, Response)> },
    /// Go by what an operator planned for machines, and tell the operator.
    Maintenance { change: maintenance::Change, request: RequestId },
    /// Put weights into force, and tell the operator.
    SetWeights { weights: Vec<(String, f64)>, request: RequestId },
    /// Put quota into force, and tell the operator.
    SetQuotas { configs: Vec<QuotaConfig>, rescind: Rescind, request: RequestId },
}

/// What follows the removal of an agent.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Replacement {
    /// Nothing.
    None,
    /// A new agent registered at the same address.
    Register { pid: Pid, message: Box<RegisterSlaveMessage> },
}

/// The writes under way.
#[derive(Debug, Default)]
pub(crate) struct Writes {
    next: u64,
    pending: BTreeMap<WriteId, AfterWrite>,
}

impl Writes {
    /// An agent asks again while what it said before is being written: what it says now is news, and
    /// what is written stays right as long as its description is the same.
    pub(crate) fn renew_reregistration(&mut self, from: &Pid, news: ReregisterSlaveMessage) {
        let waiting = self.pending.values_mut().find_map(|then| match then {
            AfterWrite::ReadmitAgent { pid, message }
            | AfterWrite::UpdateAgent { pid, message } => {
                (pid == from && message.slave == news.slave).then_some(message)
            }
            AfterWrite::Nothing
            | AfterWrite::AdmitAgent { .. }
            | AfterWrite::MarkUnreachable { .. }
            | AfterWrite::MarkGone { .. }
            | AfterWrite::RemoveAgent { .. }
            | AfterWrite::SetParticipation { .. }
            | AfterWrite::SetWeights { .. }
            | AfterWrite::SetQuotas { .. }
            | AfterWrite::RemoveFramework { .. }
            | AfterWrite::Maintenance { .. } => None,
        });
        if let Some(message) = waiting {
            **message = news;
        }
    }

    /// An executor ended while its agent's return is being written: it is not there any more when
    /// the agent is. Says whether it was named.
    pub(crate) fn forget_executor(&mut self, exited: &ExitedExecutorMessage) -> bool {
        let mut named = false;
        for then in self.pending.values_mut() {
            if let AfterWrite::ReadmitAgent { message, .. } = then
                && message.slave.id.as_ref() == Some(&exited.slave_id)
            {
                let before = message.executor_infos.len();
                message.executor_infos.retain(|executor| {
                    executor.executor_id != exited.executor_id
                        || executor.framework_id.as_ref() != Some(&exited.framework_id)
                });
                named |= message.executor_infos.len() < before;
            }
        }
        named
    }
}

impl Master {
    /// Makes `changes` durable and goes on with `then` afterwards.
    pub(crate) fn persist(&mut self, changes: Vec<RegistryChange>, then: AfterWrite) {
        self.writes.next += 1;
        let write = WriteId(self.writes.next);
        self.writes.pending.insert(write, then);
        self.effects.push(Effect::Persist { write, changes });
    }

    pub(crate) fn persisted(&mut self, write: WriteId) {
        let Some(then) = self.writes.pending.remove(&write) else {
            return;
        };
        match then {
            AfterWrite::Nothing => {}
            AfterWrite::AdmitAgent { pid, message } => self.agent_admitted(&pid, *message),
            AfterWrite::ReadmitAgent { pid, message } => self.agent_readmitted(&pid, *message),
            AfterWrite::UpdateAgent { pid, message } => self.agent_updated(&pid, *message),
            AfterWrite::MarkUnreachable { id, since, cause } => {
                self.marked_unreachable(&id, since, cause);
            }
            AfterWrite::MarkGone { id, since, request } => self.marked_gone(&id, since, request),
            AfterWrite::RemoveAgent { id, cause, counter, replacement } => {
                self.agent_removed(&id, cause, counter, replacement);
            }
            AfterWrite::SetParticipation { id, participation, request } => {
                self.participation_set(&id, participation, request);
            }
            AfterWrite::SetWeights { weights, request } => self.weights_set(&weights, request),
            AfterWrite::SetQuotas { configs, rescind, request } => {
                self.quotas_set(&configs, rescind, request);
            }
            AfterWrite::RemoveFramework { id, since, answer } => {
                self.framework_removed(&id, since, answer);
            }
            AfterWrite::Maintenance { change, request } => {
                self.maintenance_written(change, request);
            }
        }
    }
}
