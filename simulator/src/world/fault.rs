//! What goes wrong, and the end of it.

use std::time::Duration;

use protocol::mesos::ContainerId;

use crate::happening::Happening;
use crate::world::World;
use crate::world::wire::Break;

mod leadership;

/// How long the cluster has to come to rest once nothing goes wrong any more. The longest wait in
/// it is the repetition of an update after ten minutes.
const REST: Duration = Duration::from_secs(45 * 60);

impl World {
    /// Something goes wrong, and something else will.
    pub(crate) fn fault(&mut self) {
        if self.healing {
            return;
        }
        let interval = self.settings.fault_interval;
        self.plan(interval / 4, interval * 2, Happening::Fault);
        let agent = self.random.index(self.agents.len());
        let scheduler = self.random.index(self.schedulers.len());
        let is_of_leadership = self.random.below(100) < self.settings.leadership_faults;
        let kind = match self.random.below(100) {
            _ if is_of_leadership => self.leadership_fault(),
            0..20 => Some(self.host_fault(agent)),
            20..44 => Some(self.wire_fault(agent)),
            44..62 => Some(self.scheduler_fault(scheduler)),
            62..80 => self.executor_fault(agent),
            80..92 => self.store_fault(agent),
            92..95 => {
                let by = self.random.millis(1_000, 40_000);
                self.jump(by);
                Some("clock jumped")
            }
            _ => {
                let life = self.agents[agent].life;
                self.plan(0, 100, Happening::Detect { agent, life });
                Some("master detected again")
            }
        };
        let Some(kind) = kind else { return };
        self.statistics.fault(kind);
        self.log.write(|| format!("    fault: {kind} (agent {agent}, scheduler {scheduler})"));
    }

    fn host_fault(&mut self, agent: usize) -> &'static str {
        match self.random.below(10) {
            0..3 => {
                let master = self.some_master();
                self.crash_master(master, 500, 8_000);
                "master crashed"
            }
            3..9 => {
                let high = if self.random.chance(300) { 60_000 } else { 5_000 };
                self.crash_agent(agent, 500, high);
                "agent crashed"
            }
            _ => {
                self.reboot_agent(agent, 5_000, 40_000);
                "agent host rebooted"
            }
        }
    }

    fn wire_fault(&mut self, agent: usize) -> &'static str {
        if self.random.chance(500) {
            let master = self.some_master();
            self.break_connections(master, agent, Break::Reset);
            "connection broken"
        } else {
            self.partition(agent);
            "agent partitioned"
        }
    }

    fn scheduler_fault(&mut self, scheduler: usize) -> &'static str {
        match self.random.below(9) {
            0..3 => {
                let high = if self.random.chance(300) { 90_000 } else { 5_000 };
                self.crash_scheduler(scheduler, 200, high);
                "scheduler crashed"
            }
            3..7 => {
                let cut = self.now + self.random.millis(0, 200);
                let master = self.schedulers[scheduler].dialled;
                self.break_scheduler(master, scheduler, cut);
                "scheduler stream broken"
            }
            _ => {
                let until = self.now + self.random.millis(500, 15_000);
                let host = &mut self.schedulers[scheduler];
                for lane in host.upward.iter_mut().chain(&mut host.downward) {
                    lane.block(until);
                }
                "scheduler partitioned"
            }
        }
    }

    fn executor_fault(&mut self, agent: usize) -> Option<&'static str> {
        let container = self.some_container(agent)?;
        if self.random.chance(550) {
            self.end_container(agent, &container, 11);
            Some("executor crashed")
        } else {
            self.break_executor(agent, &container);
            Some("executor stream broken")
        }
    }

    fn store_fault(&mut self, agent: usize) -> Option<&'static str> {
        let until = self.now + Duration::from_secs(5);
        let master = self.some_master();
        match self.random.below(3) {
            0 => {
                // Counted when a write really fails.
                self.masters[master].store.is_failing = true;
                None
            }
            1 => {
                self.masters[master].store.slow_until = until;
                Some("registry slow")
            }
            _ => {
                self.agents[agent].slow_until = until;
                Some("disk slow")
            }
        }
    }

    /// Messages of one direction, or of both, are held back; and the connections may break over it.
    fn partition(&mut self, agent: usize) {
        let length = if self.random.chance(300) { 60_000 } else { 10_000 };
        let until = self.now + self.random.millis(300, length);
        let directions = self.random.below(3);
        if directions != 0 {
            self.agents[agent].inward.iter_mut().for_each(|lane| lane.block(until));
        }
        if directions != 1 {
            self.agents[agent].outward.iter_mut().for_each(|lane| lane.block(until));
        }
        if self.random.chance(400) {
            for master in 0..self.masters.len() {
                self.break_connections(master, agent, Break::Reset);
            }
        }
    }

    fn some_container(&mut self, agent: usize) -> Option<ContainerId> {
        let containers: Vec<ContainerId> = self.agents[agent].containers.keys().cloned().collect();
        self.random.pick(&containers)
    }

    /// The faults end: everything comes back, and the cluster has to come to rest.
    pub(crate) fn heal(&mut self) {
        self.healing = true;
        let now = self.now;
        self.deadline = Some(now + REST);
        self.log.write(|| format!("{now} the faults end"));
        self.heal_service();
        for master in 0..self.masters.len() {
            self.plan(100, 500, Happening::MasterStart { master });
        }
        for agent in 0..self.agents.len() {
            let host = &mut self.agents[agent];
            let was_blind = host.blind.take().is_some();
            host.inward.iter_mut().chain(&mut host.outward).for_each(|lane| lane.block(now));
            let life = host.life;
            // Who detects the master again tells it anew what it may have lost: no others do.
            if was_blind {
                self.plan(100, 500, Happening::Detect { agent, life });
            }
            self.plan(500, 1_000, Happening::AgentStart { agent });
        }
        for scheduler in 0..self.schedulers.len() {
            let host = &mut self.schedulers[scheduler];
            host.upward.iter_mut().chain(&mut host.downward).for_each(|lane| lane.block(now));
            self.plan(100, 500, Happening::SchedulerStart { scheduler });
            self.quiet(scheduler);
        }
        self.plan(100, 500, Happening::OperatorIdea);
        self.schedule.add(now + Duration::from_secs(30), Happening::Inspection);
    }
}
