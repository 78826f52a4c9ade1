//! What goes wrong with masters, with what elects them, and between them and the others.

use protocol::time::Timestamp;

use crate::happening::Happening;
use crate::world::World;

impl World {
    /// The leader more often than another.
    pub(super) fn some_master(&mut self) -> usize {
        let any = self.random.index(self.masters.len());
        let is_leader = self.random.chance(700);
        self.leader().filter(|_| is_leader).unwrap_or(any)
    }

    /// Shorter than a lease, longer than a session, or something between.
    fn about_a_session(&mut self) -> Timestamp {
        let timeout = u64::try_from(self.coordination.timeout.as_millis()).unwrap_or(u64::MAX);
        self.now + self.random.millis(timeout / 10, timeout * 3)
    }

    pub(super) fn leadership_fault(&mut self) -> Option<&'static str> {
        let master = self.some_master();
        let until = self.about_a_session();
        match self.random.below(10) {
            0 | 1 => {
                self.crash_master(master, 300, 15_000);
                Some("master killed")
            }
            2 | 3 => {
                self.pause_master(master, until);
                Some("master paused")
            }
            4 => {
                self.cut_from_agents(master, until);
                Some("master cut off from agents")
            }
            5 => {
                self.cut_from_schedulers(master, until);
                Some("master cut off from frameworks")
            }
            _ if !self.settings.is_coordinated => None,
            6 | 7 => {
                self.masters[master].candidacy.cut_until = until;
                self.disturbed(until);
                Some("master cut off from the service")
            }
            8 if self.random.chance(500) => {
                self.service_goes(until);
                Some("service down")
            }
            8 => {
                let agent = self.random.index(self.agents.len());
                self.agents[agent].blind = Some((self.now, until));
                let life = self.agents[agent].life;
                let given_up = self.now + self.coordination.timeout;
                self.schedule.add(given_up, Happening::Detect { agent, life });
                self.schedule.add(until, Happening::Detect { agent, life });
                Some("agent cut off from the service")
            }
            _ => {
                let leader = self.leader()?;
                self.remove_node(leader);
                self.disturbed(self.now);
                Some("node removed")
            }
        }
    }

    /// One direction or both; the connections hold.
    fn cut_from_agents(&mut self, master: usize, until: Timestamp) {
        let directions = self.random.below(3);
        for host in &mut self.agents {
            if directions != 0 {
                host.inward[master].block(until);
            }
            if directions != 1 {
                host.outward[master].block(until);
            }
        }
    }

    fn cut_from_schedulers(&mut self, master: usize, until: Timestamp) {
        let directions = self.random.below(3);
        for host in &mut self.schedulers {
            if directions != 0 {
                host.downward[master].block(until);
            }
            if directions != 1 {
                host.upward[master].block(until);
            }
        }
    }
}
