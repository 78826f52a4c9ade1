//! The wires between master and agents: what is sent, what arrives, what is lost.

use std::time::Duration;

use protocol::messages::{AgentToMaster, MasterToAgent};
use protocol::pid::Pid;

use crate::happening::Happening;
use crate::lane::Passage;
use crate::process::Process;
use crate::settings::Sabotage;
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

    pub(crate) fn send_to_agent(
        &mut self,
        master: usize,
        agent: usize,
        message: Box<MasterToAgent>,
    ) {
        let delay = self.latency();
        let passage = self.agents[agent].inward[master].send(self.now, delay);
        if self.is_doubled() {
            self.statistics.fault("message doubled");
            let message = message.clone();
            self.schedule.add(passage.at, Happening::AtAgent { agent, master, passage, message });
        }
        self.schedule.add(passage.at, Happening::AtAgent { agent, master, passage, message });
    }

    pub(crate) fn send_to_master(&mut self, agent: usize, to: &Pid, message: Box<AgentToMaster>) {
        let Some(master) = self.master_at(to) else {
            self.violate(format!("agent {agent} sends {} to {to}: nobody", message.name()));
            return;
        };
        let delay = self.latency();
        let passage = self.agents[agent].outward[master].send(self.now, delay);
        if self.is_doubled() {
            self.statistics.fault("message doubled");
            let message = message.clone();
            self.schedule.add(passage.at, Happening::AtMaster { agent, master, passage, message });
        }
        self.schedule.add(passage.at, Happening::AtMaster { agent, master, passage, message });
    }

    pub(crate) fn at_master(
        &mut self,
        agent: usize,
        master: usize,
        passage: Passage,
        message: Box<AgentToMaster>,
    ) {
        if !self.agents[agent].outward[master].delivers(passage) {
            self.statistics.fault("message lost");
            return;
        }
        if !self.masters[master].is_up {
            let life = self.agents[agent].life;
            let pid = self.masters[master].pid.clone();
            self.plan(0, 1_000, Happening::MasterLinkBroken { agent, life, pid });
            return;
        }
        // A standby drops what is meant for a leader.
        let from = self.agents[agent].pid.clone();
        self.feed_master(master, master::Event::AgentMessage { from, message });
    }

    pub(crate) fn at_agent(
        &mut self,
        agent: usize,
        master: usize,
        passage: Passage,
        message: MasterToAgent,
    ) {
        if !self.agents[agent].inward[master].delivers(passage) {
            self.statistics.fault("message lost");
            return;
        }
        if self.agents[agent].core.is_none() {
            self.report_broken_link(master, agent);
            return;
        }
        let mut from = self.masters[master].pid.clone();
        // Pings are answered, whoever sends them.
        let is_foreign = self.agents[agent].detected.as_ref() != Some(&from)
            && !matches!(message, MasterToAgent::PingSlave(_));
        if self.sabotaged(Sabotage::ObeyAnyMaster)
            && let Some(detected) = self.agents[agent].detected.clone()
        {
            from = detected;
        }
        let name = message.name();
        let event = agent::Event::MasterMessage { from, message };
        if !is_foreign {
            self.feed_agent(agent, event);
        } else if self.is_obeyed(agent, event) {
            self.violate(format!("invariant 4: agent {agent} obeys {name} of master {master}"));
        }
    }

    /// Whether an agent does anything about an event, besides a note in its log.
    fn is_obeyed(&mut self, agent: usize, event: agent::Event) -> bool {
        let Some(core) = &mut self.agents[agent].core else { return false };
        let effects = core.handle(self.now, event);
        effects.iter().any(|effect| !matches!(effect, agent::Effect::Log { .. }))
    }

    /// A master will notice that its connection to an agent is broken.
    pub(crate) fn report_broken_link(&mut self, master: usize, agent: usize) {
        let process = self.masters[master].process(master);
        let pid = self.agents[agent].pid.clone();
        self.plan(0, 3_000, Happening::AgentLinkBroken { process, pid });
    }

    pub(crate) fn agent_link_broken(&mut self, process: Process, pid: &Pid) {
        let host = &mut self.masters[process.master];
        if host.life == process.life && host.linked.remove(pid) {
            self.feed_master(process.master, master::Event::Exited { pid: pid.clone() });
        }
    }

    /// Breaks the connections between a master and an agent.
    pub(crate) fn break_connections(&mut self, master: usize, agent: usize, how: Break) {
        let mut cut = || self.now + self.random.millis(0, REMAINS);
        let (of_agent, of_master) = match how {
            Break::Reset => (cut(), cut()),
            Break::MasterDied => (self.now - Duration::from_nanos(1), cut()),
            Break::AgentDied => (cut(), self.now - Duration::from_nanos(1)),
        };
        self.agents[agent].outward[master].sever(self.now, of_agent);
        self.agents[agent].inward[master].sever(self.now, of_master);
        if how != Break::MasterDied {
            self.report_broken_link(master, agent);
        }
        if how != Break::AgentDied {
            let life = self.agents[agent].life;
            let pid = self.masters[master].pid.clone();
            self.plan(0, 3_000, Happening::MasterLinkBroken { agent, life, pid });
        }
    }
}
