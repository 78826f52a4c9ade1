//! An agent leaves: it said goodbye, fell silent, or an operator declared it gone.

use std::sync::Arc;

use protocol::mesos::task_status::Reason;
use protocol::mesos::{
    AgentId, AgentInfo, ExecutorId, FrameworkId, OperationState, TaskState, TimeInfo,
};
use protocol::pid::Pid;
use protocol::time::Timestamp;

use crate::Master;
use crate::agent::{Cause, Transition, Unreachable};
use crate::durable::{AfterWrite, Replacement};
use crate::effect::{Effect, Response};
use crate::event::RequestId;
use crate::metrics::Counter;
use crate::registry::{AgentRecord, AgentStanding, agent_change, agent_deletion};
use crate::task::Verdict;
use crate::timer::Timer;

/// What agents and frameworks are told of an agent that may never return.
const GONE: &str = "Agent has been marked gone";

impl Master {
    pub(crate) fn unregister_agent(&mut self, from: &Pid, id: &AgentId) {
        self.metrics.add(Counter::MessagesUnregisterAgent);
        if self.agents.by_pid.get(from).is_none_or(|known| **known != *id) {
            return;
        }
        self.remove_agent(
            id,
            "the agent unregistered",
            Some(Counter::AgentRemovalsUnregistered),
            Replacement::None,
        );
    }

    /// Begins to take a registered agent out. Says whether it began.
    pub(crate) fn remove_agent(
        &mut self,
        id: &AgentId,
        cause: &'static str,
        counter: Option<Counter>,
        replacement: Replacement,
    ) -> bool {
        if self.agents.transitions.contains_key(id) {
            return false;
        }
        self.agents.transitions.insert(id.clone(), Transition::Removing);
        self.persist(
            vec![agent_deletion(id)],
            AfterWrite::RemoveAgent { id: id.clone(), cause, counter, replacement },
        );
        true
    }

    /// The agent is out of the registry.
    pub(crate) fn agent_removed(
        &mut self,
        id: &AgentId,
        cause: &str,
        counter: Option<Counter>,
        replacement: Replacement,
    ) {
        self.agents.transitions.remove(id);
        self.metrics.add(Counter::AgentRemovals);
        if let Some(counter) = counter {
            self.metrics.add(counter);
        }
        let hostname = self.agents.registered.get(id).map(|agent| agent.info.hostname.clone());
        if let Some(hostname) = hostname {
            let message = format!("Agent {hostname} removed: {cause}");
            self.drop_agent(id, |_| {
                Verdict::new(TaskState::TaskLost, Reason::ReasonAgentRemoved, message.clone())
            });
        }
        self.announce_agent_lost(id);
        match replacement {
            Replacement::None => {}
            Replacement::Register { pid, message } => {
                self.agents.registering.remove(&pid);
                self.register_agent(pid, *message);
            }
        }
    }

    /// Queues an agent to be marked unreachable, as fast as the rate limit allows.
    pub(crate) fn schedule_removal(&mut self, id: AgentId, cause: Cause) {
        if self.agents.removals.queue.iter().any(|(queued, _)| *queued == id) {
            return;
        }
        self.metrics.add(Counter::AgentUnreachableScheduled);
        self.metrics.add(Counter::AgentShutdownsScheduled);
        self.agents.removals.queue.push_back((id, cause));
        self.run_removals();
    }

    pub(crate) fn run_removals(&mut self) {
        while !self.agents.removals.waiting && !self.agents.removals.queue.is_empty() {
            if self.agents.removals.next > self.now {
                self.timers.start(self.agents.removals.next, Timer::AgentRemoval);
                self.agents.removals.waiting = true;
                return;
            }
            let Some((id, cause)) = self.agents.removals.queue.pop_front() else {
                return;
            };
            if self.mark_unreachable(&id, cause)
                && let Some(interval) = self.config.agent_removal_interval
            {
                self.agents.removals.next = self.now + interval;
            }
        }
    }

    /// Begins to mark an agent unreachable, if the cause still holds.
    fn mark_unreachable(&mut self, id: &AgentId, cause: Cause) -> bool {
        let registered = self.agents.registered.get(id);
        let subject = match cause {
            Cause::NotRecovered => self
                .agents
                .recovered
                .get(id)
                .map(|recovered| (recovered.info.clone(), recovered.participation.clone())),
            Cause::Unhealthy => registered
                .filter(|agent| agent.pings.removal_scheduled)
                .map(|agent| (agent.info.clone(), agent.participation.clone())),
            Cause::NotReregistered => registered
                .filter(|agent| !agent.connected)
                .map(|agent| (agent.info.clone(), agent.participation.clone())),
        };
        let busy = self.agents.transitions.contains_key(id);
        let Some((info, participation)) = subject.filter(|_| !busy) else {
            // It is back, or coming back, or leaving in another way.
            self.metrics.add(Counter::AgentUnreachableCanceled);
            self.metrics.add(Counter::AgentShutdownsCanceled);
            if let Some(agent) = self.agents.registered.get_mut(id) {
                agent.pings.removal_scheduled = false;
            }
            return false;
        };
        self.metrics.add(Counter::AgentUnreachableCompleted);
        self.metrics.add(Counter::AgentShutdownsCompleted);
        self.agents.transitions.insert(id.clone(), Transition::MarkingUnreachable);
        let since = self.now;
        let change = agent_change(&AgentRecord {
            standing: AgentStanding::Unreachable { since, participation },
            info: info.to_info(),
        });
        self.persist(vec![change], AfterWrite::MarkUnreachable { id: id.clone(), since, cause });
        true
    }

    /// The registry says that the agent is unreachable.
    pub(crate) fn marked_unreachable(&mut self, id: &AgentId, since: Timestamp, cause: Cause) {
        self.agents.transitions.remove(id);
        self.metrics.add(Counter::AgentRemovals);
        self.metrics.add(Counter::AgentRemovalsUnhealthy);
        let participation = match cause {
            Cause::NotRecovered => {
                self.metrics.add(Counter::RecoveryAgentRemovals);
                self.views.touch_agent(id);
                self.agents.recovered.remove(id).map(|recovered| recovered.participation)
            }
            Cause::Unhealthy | Cause::NotReregistered => {
                let participation =
                    self.agents.registered.get(id).map(|agent| agent.participation.clone());
                self.drop_unreachable(id, since, cause);
                participation
            }
        };
        let participation = participation.unwrap_or_default();
        self.agents.unreachable.insert(id.clone(), Unreachable { since, participation });
        self.announce_agent_lost(id);
    }

    fn drop_unreachable(&mut self, id: &AgentId, since: Timestamp, cause: Cause) {
        let message = match cause {
            Cause::Unhealthy => "health check timed out".to_owned(),
            Cause::NotReregistered => format!(
                "agent did not reregister within {} after disconnecting",
                protocol::duration::format(self.config.agent_reregister_timeout)
            ),
            Cause::NotRecovered => format!(
                "agent did not reregister within {} after master failover",
                protocol::duration::format(self.config.agent_reregister_timeout)
            ),
        };
        self.end_operations(
            id,
            OperationState::OperationUnreachable,
            "Agent was marked unreachable",
        );
        let unreachable_time = TimeInfo { nanoseconds: since.as_nanos(), ..Default::default() };
        self.drop_agent(id, |partition_aware| {
            let state =
                if partition_aware { TaskState::TaskUnreachable } else { TaskState::TaskLost };
            Verdict {
                unreachable_time: Some(unreachable_time.clone()),
                ..Verdict::new(state, Reason::ReasonAgentRemoved, message.clone())
            }
        });
    }

    /// `MARK_AGENT_GONE`, or the end of a drain that asked for it: whether the agent is there, away or
    /// unreachable, it may never return.
    pub(crate) fn mark_gone(&mut self, request: Option<RequestId>, id: &AgentId) {
        let response = if self.agents.gone.contains_key(id) {
            Response::Ok
        } else if let Some(transition) = self.agents.transitions.get(id) {
            let what = match transition {
                Transition::MarkingGone => "already being transitioned to gone",
                Transition::Removing => "being transitioned to removed",
                Transition::MarkingUnreachable => "being transitioned to unreachable",
                Transition::Reregistering | Transition::Updating => "being updated; try again",
            };
            Response::ServiceUnavailable(format!("Agent '{}' is {what}", id.value))
        } else if let Some(info) = self.known_agent_info(id) {
            self.agents.transitions.insert(id.clone(), Transition::MarkingGone);
            let since = self.now;
            let change =
                agent_change(&AgentRecord { standing: AgentStanding::Gone { since }, info });
            self.persist(vec![change], AfterWrite::MarkGone { id: id.clone(), since, request });
            return;
        } else {
            Response::NotFound(format!("Agent '{}' not found", id.value))
        };
        if let Some(request) = request {
            self.effects.push(Effect::Respond { request, response });
        }
    }

    /// What is known of an agent that was not declared gone.
    pub(crate) fn known_agent_info(&self, id: &AgentId) -> Option<AgentInfo> {
        if let Some(agent) = self.agents.registered.get(id) {
            return Some(agent.info.to_info());
        }
        if let Some(recovered) = self.agents.recovered.get(id) {
            return Some(recovered.info.to_info());
        }
        self.agents
            .unreachable
            .contains_key(id)
            .then(|| AgentInfo { id: Some(id.clone()), ..Default::default() })
    }

    /// The registry says that the agent is gone.
    pub(crate) fn marked_gone(
        &mut self,
        id: &AgentId,
        since: Timestamp,
        request: Option<RequestId>,
    ) {
        self.agents.transitions.remove(id);
        self.agents.gone.insert(id.clone(), since);
        let unreachable = self.agents.unreachable.remove(id).is_some();
        self.agents.recovered.remove(id);
        self.views.touch_agent(id);
        if let Some(agent) = self.agents.registered.get(id) {
            let pid = agent.pid.clone();
            self.end_operations(id, OperationState::OperationGoneByOperator, GONE);
            self.shut_down_agent(&pid, GONE);
            self.metrics.add(Counter::AgentRemovals);
            self.drop_agent(id, gone_verdict);
        }
        if unreachable {
            // The frameworks were told that it is lost when it became unreachable.
            self.end_unreachable_tasks(id);
        } else {
            self.announce_agent_lost(id);
        }
        if let Some(request) = request {
            self.effects.push(Effect::Respond { request, response: Response::Ok });
        }
    }

    /// Tasks that were out of reach with their agent will never come back.
    fn end_unreachable_tasks(&mut self, id: &AgentId) {
        let bound = self.config.max_completed_tasks_per_framework;
        let ids: Vec<_> = self.frameworks.registered.keys().cloned().collect();
        for framework_id in ids {
            let Some(framework) = self.frameworks.registered.get(&framework_id) else {
                continue;
            };
            let verdict = gone_verdict(framework.capabilities.partition_aware);
            let tasks: Vec<_> = framework
                .unreachable_tasks
                .iter()
                .filter(|task| *task.agent_id == *id)
                .cloned()
                .collect();
            for task in tasks {
                let mut update = self.report(&task, verdict.clone());
                if let Some(framework) = self.framework_mut(&framework_id) {
                    framework.unreachable_tasks.remove(&task.task_id);
                    let mut ended = (*task).clone();
                    ended.state = verdict.state;
                    ended.push_status(&mut update.status);
                    framework.completed_tasks.push_bounded(Arc::new(ended), bound);
                }
                let (source, reason) = (update.status.source, update.status.reason);
                self.metrics.add_task_end(verdict.state, source, reason);
                self.forward(update, Pid::EMPTY);
            }
        }
    }

    /// Takes an agent out of the state; its tasks end by `verdict`, which is told whether the
    /// framework is `PARTITION_AWARE`.
    fn drop_agent(&mut self, id: &AgentId, verdict: impl Fn(bool) -> Verdict) {
        let Some(agent) = self.agents.registered.get(id) else {
            return;
        };
        let frameworks: Vec<_> = agent.frameworks.keys().cloned().collect();
        let offers: Vec<_> = agent.offers.keys().cloned().collect();
        // First of all, so that nothing that is freed below is offered again.
        self.allocator.remove_agent(id);
        for framework_id in &frameworks {
            let partition_aware = self
                .frameworks
                .registered
                .get(framework_id)
                .is_some_and(|framework| framework.capabilities.partition_aware);
            self.end_share(id, framework_id, &verdict(partition_aware));
        }
        for offer in offers {
            self.rescind_offer(&offer);
        }
        self.forget_operations(id);
        self.void_inverse_offers(id);
        if let Some(agent) = self.agents.registered.remove(id) {
            if agent.unavailability.is_some() {
                self.views.touch_maintenance();
            }
            for timer in [agent.pings.timer, agent.reregister_timer].into_iter().flatten() {
                self.timers.cancel(timer);
            }
            self.agents.by_pid.remove(&agent.pid);
        }
        self.agents.removals.queue.retain(|(queued, _)| queued != id);
        self.views.touch_agent(id);
        self.publish_agent_removed(id);
    }

    /// Ends what a framework has on an agent that is still registered.
    pub(crate) fn end_share(
        &mut self,
        id: &AgentId,
        framework_id: &FrameworkId,
        verdict: &Verdict,
    ) {
        let Some(share) =
            self.agents.registered.get(id).and_then(|agent| agent.frameworks.get(framework_id))
        else {
            return;
        };
        let tasks: Vec<_> = share.tasks.keys().cloned().collect();
        let executors: Vec<_> = share.executors.keys().cloned().collect();
        for task in tasks {
            self.end_task(framework_id, &task, verdict.clone());
        }
        for executor in executors {
            self.remove_executor(id, framework_id, &executor);
        }
    }

    /// Forgets an executor and frees what it held.
    pub(crate) fn remove_executor(
        &mut self,
        id: &AgentId,
        framework_id: &FrameworkId,
        executor_id: &ExecutorId,
    ) {
        let executor = self
            .agent_mut(id)
            .and_then(|agent| agent.frameworks.get_mut(framework_id))
            .and_then(|share| share.executors.remove(executor_id));
        let Some(executor) = executor else {
            return;
        };
        self.views.touch_framework(framework_id);
        self.release(framework_id, id, &crate::parsed(&executor.resources));
        self.drop_empty_share(framework_id, id);
    }
}

/// How tasks end with an agent that is declared gone.
fn gone_verdict(partition_aware: bool) -> Verdict {
    let (state, reason) = if partition_aware {
        (TaskState::TaskGoneByOperator, Reason::ReasonAgentRemovedByOperator)
    } else {
        (TaskState::TaskLost, Reason::ReasonAgentRemoved)
    };
    Verdict::new(state, reason, GONE)
}
