//! Whether an agent is still there: pings, broken links, and how long it may stay away.

use std::sync::Arc;

use protocol::internal::PingSlaveMessage;
use protocol::mesos::task_status::Reason;
use protocol::mesos::{AgentId, TaskState};
use protocol::messages::MasterToAgent;
use protocol::pid::Pid;

use crate::Master;
use crate::agent::Cause;
use crate::metrics::Counter;
use crate::notice::Notice;
use crate::task::Verdict;
use crate::timer::Timer;

impl Master {
    pub(crate) fn start_pings(&mut self, id: &AgentId) {
        self.send_ping(id);
    }

    fn send_ping(&mut self, id: &AgentId) {
        let at = self.now + self.config.agent_ping_timeout;
        let Some(agent) = self.agents.registered.get_mut(id) else {
            return;
        };
        let timer = self.timers.start(at, Timer::AgentPing(Arc::clone(&agent.id)));
        agent.pings.outstanding = true;
        agent.pings.timer = Some(timer);
        let (pid, connected) = (agent.pid.clone(), agent.connected);
        self.send_to_agent(
            pid,
            MasterToAgent::PingSlave(PingSlaveMessage { connected, ..Default::default() }),
        );
    }

    /// The time for the next ping has come. The one before may be unanswered.
    pub(crate) fn ping_due(&mut self, id: &AgentId) {
        let limit = self.config.max_agent_ping_timeouts;
        let Some(agent) = self.agents.registered.get_mut(id) else {
            return;
        };
        if agent.pings.outstanding {
            agent.pings.missed += 1;
            if agent.pings.missed >= limit && !agent.pings.removal_scheduled {
                agent.pings.removal_scheduled = true;
                self.schedule_removal(id.clone(), Cause::Unhealthy);
            }
        }
        self.send_ping(id);
    }

    pub(crate) fn pong(&mut self, from: &Pid) {
        let Some(id) = self.agents.by_pid.get(from).cloned() else {
            return;
        };
        let Some(agent) = self.agents.registered.get_mut(&id) else {
            return;
        };
        agent.pings.outstanding = false;
        agent.pings.missed = 0;
        if agent.pings.removal_scheduled {
            agent.pings.removal_scheduled = false;
            let waiting = self.agents.removals.queue.len();
            self.agents
                .removals
                .queue
                .retain(|(queued, cause)| *queued != *id || *cause != Cause::Unhealthy);
            if self.agents.removals.queue.len() < waiting {
                self.metrics.add(Counter::AgentUnreachableCanceled);
                self.metrics.add(Counter::AgentShutdownsCanceled);
            }
        }
    }

    /// A link broke: the peer is an agent or a v0 driver.
    pub(crate) fn exited(&mut self, pid: &Pid) {
        self.forget_principal(pid);
        if let Some(framework) = self.frameworks.by_pid.get(pid).cloned() {
            self.framework_exited(&framework);
        }
        let Some(id) = self.agents.by_pid.get(pid).cloned() else {
            return;
        };
        if self.agents.registered[&id].connected {
            self.disconnect_agent(&id);
        }
    }

    /// The agent cannot be reached for now. Tasks that would not survive a restart of it are gone.
    fn disconnect_agent(&mut self, id: &AgentId) {
        let at = self.now + self.config.agent_reregister_timeout;
        let Some(agent) = self.agents.registered.get_mut(id) else {
            return;
        };
        self.views.note_agent(agent);
        let timer = self.timers.start(at, Timer::AgentReregister(Arc::clone(&agent.id)));
        agent.connected = false;
        agent.reregister_timer = Some(timer);
        let hostname = agent.info.hostname.clone();
        let frameworks: Vec<_> = agent.frameworks.keys().cloned().collect();
        self.deactivate_agent_offers(id);

        for framework_id in frameworks {
            let keeps = self
                .frameworks
                .registered
                .get(&framework_id)
                .is_some_and(|framework| framework.info.checkpoint.unwrap_or(false));
            if keeps {
                continue;
            }
            let verdict = Verdict::new(
                TaskState::TaskLost,
                Reason::ReasonAgentDisconnected,
                format!("Agent {hostname} disconnected"),
            );
            self.end_share(id, &framework_id, &verdict);
        }
    }

    /// Takes back what is offered of an agent and stops further offers.
    pub(crate) fn deactivate_agent_offers(&mut self, id: &AgentId) {
        self.allocator.deactivate_agent(id);
        self.rescind_offers_of(id);
        self.hold_inverse_offers_back(id);
        self.views.touch_agent(id);
    }

    /// Takes back what is offered of an agent.
    pub(crate) fn rescind_offers_of(&mut self, id: &AgentId) {
        let offers: Vec<_> = self
            .agents
            .registered
            .get(id)
            .map(|agent| agent.offers.keys().cloned().collect())
            .unwrap_or_default();
        for offer in offers {
            self.rescind_offer(&offer);
        }
    }

    /// A disconnected agent stayed away for too long.
    pub(crate) fn reregister_timeout(&mut self, id: &AgentId) {
        let Some(agent) = self.agents.registered.get_mut(id) else {
            return;
        };
        agent.reregister_timer = None;
        if !agent.connected {
            self.schedule_removal(id.clone(), Cause::NotReregistered);
        }
    }

    /// Every connected framework learns that an agent is lost.
    pub(crate) fn announce_agent_lost(&mut self, id: &AgentId) {
        let frameworks: Vec<_> = self.frameworks.registered.keys().cloned().collect();
        for framework in frameworks {
            self.notify(&framework, Notice::AgentLost(id.clone()));
        }
    }
}
