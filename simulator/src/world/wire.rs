//! The wires between master and agents: what is sent, what arrives, what is lost.

use std::time::Duration;

use protocol::messages::{AgentToMaster, MasterToAgent};
use protocol::pid::Pid;

use crate::happening::Happening;
use crate::lane::Passage;
use crate::world::World;

/// How a connection ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Break {
    /// Both sides live; what is on its way arrives in part.
    Reset,
    /// The master's process died; what it sent may still arrive.
    MasterDied,
    /// The agent's process died; what it sent may still arrive.
    AgentDied,
}

/// What a dead process sent arrives within this time, in milliseconds; no process is back sooner.
pub(crate) const REMAINS: u64 = 200;

impl World {
    /// How long a message takes.
    pub(crate) fn latency(&mut self) -> Duration {
        if self.random.chance(self.settings.slow) && !self.healing {
            self.random.millis(20, 3_000)
        } else {
            self.random.millis(0, 5)
        }
    }

    pub(crate) fn is_doubled(&mut self) -> bool {
        !self.healing && self.random.chance(self.settings.doubled)
    }

    pub(crate) fn send_to_agent(&mut self, agent: usize, message: Box<MasterToAgent>) {
        let from = self.master.pid.clone();
        let delay = self.latency();
        let passage = self.agents[agent].inward.send(self.now, delay);
        if self.is_doubled() {
            self.statistics.fault("message doubled");
            let (from, message) = (from.clone(), message.clone());
            self.schedule.add(passage.at, Happening::AtAgent { agent, passage, from, message });
        }
        self.schedule.add(passage.at, Happening::AtAgent { agent, passage, from, message });
    }

    pub(crate) fn send_to_master(&mut self, agent: usize, to: Pid, message: Box<AgentToMaster>) {
        let delay = self.latency();
        let passage = self.agents[agent].outward.send(self.now, delay);
        if self.is_doubled() {
            self.statistics.fault("message doubled");
            let (to, message) = (to.clone(), message.clone());
            self.schedule.add(passage.at, Happening::AtMaster { agent, passage, to, message });
        }
        self.schedule.add(passage.at, Happening::AtMaster { agent, passage, to, message });
    }

    pub(crate) fn at_master(
        &mut self,
        agent: usize,
        passage: Passage,
        to: &Pid,
        message: Box<AgentToMaster>,
    ) {
        if !self.agents[agent].outward.delivers(passage) {
            self.statistics.fault("message lost");
            return;
        }
        if self.master.core.is_none() || *to != self.master.pid {
            let life = self.agents[agent].life;
            let pid = to.clone();
            self.plan(0, 1_000, Happening::MasterLinkBroken { agent, life, pid });
            return;
        }
        let from = self.agents[agent].pid.clone();
        self.feed_master(master::Event::AgentMessage { from, message });
    }

    pub(crate) fn at_agent(
        &mut self,
        agent: usize,
        passage: Passage,
        from: Pid,
        message: MasterToAgent,
    ) {
        if !self.agents[agent].inward.delivers(passage) {
            self.statistics.fault("message lost");
            return;
        }
        if self.agents[agent].core.is_none() {
            self.report_broken_link(agent);
            return;
        }
        self.feed_agent(agent, agent::Event::MasterMessage { from, message });
    }

    /// The master will notice that its connection to an agent is broken.
    pub(crate) fn report_broken_link(&mut self, agent: usize) {
        let life = self.master.life;
        let pid = self.agents[agent].pid.clone();
        self.plan(0, 3_000, Happening::AgentLinkBroken { life, pid });
    }

    pub(crate) fn agent_link_broken(&mut self, life: u32, pid: &Pid) {
        if self.master.life == life && self.master.linked.remove(pid) {
            self.feed_master(master::Event::Exited { pid: pid.clone() });
        }
    }

    /// Breaks the connections between the master and an agent.
    pub(crate) fn break_connections(&mut self, agent: usize, how: Break) {
        let mut cut = || self.now + self.random.millis(0, REMAINS);
        let (of_agent, of_master) = match how {
            Break::Reset => (cut(), cut()),
            Break::MasterDied => (self.now - Duration::from_nanos(1), cut()),
            Break::AgentDied => (cut(), self.now - Duration::from_nanos(1)),
        };
        self.agents[agent].outward.sever(self.now, of_agent);
        self.agents[agent].inward.sever(self.now, of_master);
        if how != Break::MasterDied {
            self.report_broken_link(agent);
        }
        if how != Break::AgentDied {
            let life = self.agents[agent].life;
            let pid = self.master.pid.clone();
            self.plan(0, 3_000, Happening::MasterLinkBroken { agent, life, pid });
        }
    }
}
