//! A master's process: how it starts, stands by, leads, pauses and ends, and what it is told.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{Ipv4Addr, SocketAddrV4};
use std::sync::Arc;

use master::{Config, ConnectionId, Event, Master, RequestId, Snapshot};
use protocol::mesos::{FrameworkId, TaskId};
use protocol::pid::Pid;
use protocol::time::Timestamp;

use crate::happening::Happening;
use crate::process::Process;
use crate::world::World;
use crate::world::coordination::Candidacy;
use crate::world::scheduler::Stream;
use crate::world::store::Store;
use crate::world::wire::{Break, REMAINS};

mod effects;

/// No timer of a master makes more work than this at one moment.
const EXPIRIES_MAX: usize = 1_000;

/// A master that was paused for long notices within this time, in milliseconds: so long may a batch take.
const LATE_MAX: u64 = 2_000;

/// A master's host.
#[derive(Debug)]
pub(crate) struct MasterHost {
    /// Counts processes.
    pub(crate) life: u32,
    /// Whether the process runs, be it as a leader or a standby.
    pub(crate) is_up: bool,
    /// What leads, while it does.
    pub(crate) core: Option<Master>,
    /// What it claimed the registry with.
    pub(crate) epoch: u64,
    pub(crate) pid: Pid,
    pub(crate) linked: BTreeSet<Pid>,
    pub(crate) streams: BTreeMap<ConnectionId, Stream>,
    pub(crate) requests: BTreeMap<RequestId, Request>,
    pub(crate) candidacy: Candidacy,
    pub(crate) store: Store,
    /// What it said last, to find what changed.
    pub(crate) snapshot: Option<Arc<Snapshot>>,
    /// Whether the operating system does not let it run, and until when.
    pub(crate) paused_until: Option<Timestamp>,
    paused_since: Timestamp,
    wake: Option<Timestamp>,
}

/// A call that waits for its answer.
#[derive(Debug)]
pub(crate) struct Request {
    pub(crate) scheduler: usize,
    pub(crate) life: u32,
    pub(crate) attempt: u64,
    pub(crate) was_subscribe: bool,
    /// The tasks it was to launch.
    pub(crate) tasks: Vec<TaskId>,
    /// The framework it was to tear down.
    pub(crate) teardown: Option<FrameworkId>,
}

impl MasterHost {
    pub(crate) fn new(index: usize) -> Self {
        let host = u8::try_from(index).unwrap_or(0) + 1;
        Self {
            life: 0,
            is_up: false,
            core: None,
            epoch: 0,
            pid: Pid::new("master", SocketAddrV4::new(Ipv4Addr::new(10, 0, 0, host), 5050)),
            linked: BTreeSet::new(),
            streams: BTreeMap::new(),
            requests: BTreeMap::new(),
            candidacy: Candidacy::default(),
            store: Store::default(),
            snapshot: None,
            paused_until: None,
            paused_since: Timestamp::ZERO,
            wake: None,
        }
    }

    pub(crate) const fn process(&self, master: usize) -> Process {
        Process { master, life: self.life }
    }
}

impl World {
    pub(crate) fn start_master(&mut self, master: usize) {
        let host = &mut self.masters[master];
        if host.is_up {
            return;
        }
        host.life += 1;
        host.is_up = true;
        let process = host.process(master);
        if self.settings.is_coordinated {
            self.plan(0, 200, Happening::SessionRenewal { process });
        } else {
            let epoch = self.registry.epoch() + 1;
            self.lead(process, epoch);
            for agent in 0..self.agents.len() {
                let life = self.agents[agent].life;
                self.plan(0, 2_000, Happening::Detect { agent, life });
            }
        }
    }

    /// Claims the registry, and leads with what it says.
    pub(crate) fn lead(&mut self, process: Process, epoch: u64) {
        let master = process.master;
        let records = match self.registry.claim(process, epoch, self.now) {
            Ok(Some(records)) => records,
            Ok(None) => {
                self.statistics.fault("master elected too late");
                self.stop_master(master, "a later master has claimed the registry");
                return;
            }
            Err(violation) => {
                self.violate(violation);
                return;
            }
        };
        let seed = self.random.number();
        let host = &mut self.masters[master];
        host.epoch = epoch;
        let mut config = Config::new(seed, host.pid.clone(), format!("master-{master}"));
        config.agent_ping_timeout = self.settings.ping_timeout;
        config.max_agent_ping_timeouts = self.settings.ping_timeouts_max;
        config.agent_reregister_timeout = self.settings.reregister_timeout;
        config.offer_timeout = self.settings.offer_timeout;
        config.role_sorter = self.settings.policy.role_sorter;
        config.framework_sorter = self.settings.policy.framework_sorter;
        config.agent_removal_interval = self.settings.policy.removal_interval;
        // In the end the operator lets those go who never come back.
        let limit = self.settings.policy.recovery_removal_limit;
        config.recovery_agent_removal_limit = if self.healing { 1.0 } else { limit };
        let (core, effects) = Master::new(self.now, config, records);
        host.core = Some(core);
        if host.candidacy.lease_until <= self.now {
            // It was told to lead long ago, and looks at its lease soon.
            host.candidacy.late_until = self.now + std::time::Duration::from_millis(100);
            let at = host.candidacy.late_until;
            if self.settings.is_coordinated {
                self.schedule.add(at, Happening::LeaseCheck { process });
            }
        }
        self.log.write(|| format!("    master {master} leads in epoch {epoch}"));
        self.check_recovered(master);
        self.perform_master(master, effects);
        self.expire_master(master);
    }

    /// A master's process is killed.
    pub(crate) fn crash_master(&mut self, master: usize, low: u64, high: u64) {
        let host = &mut self.masters[master];
        if !host.is_up {
            return;
        }
        let process = host.process(master);
        // Of what was on its way to the registry some may arrive, and be it long after.
        if self.random.chance(500) {
            self.registry.silence(process);
        }
        let host = &mut self.masters[master];
        if host.paused_until.is_some() {
            // What came for it while it did not run dies with it.
            let (since, now) = (host.paused_since, self.now);
            for agent in &mut self.agents {
                agent.outward[master].lose(since, now);
            }
            for scheduler in &mut self.schedulers {
                scheduler.upward[master].lose(since, now);
            }
        }
        host.is_up = false;
        host.core = None;
        host.store.forget();
        host.candidacy.forget();
        host.paused_until = None;
        host.linked.clear();
        host.requests.clear();
        host.streams.clear();
        host.snapshot = None;
        host.wake = None;
        self.operator.master_died(master);
        for agent in 0..self.agents.len() {
            self.break_connections(master, agent, Break::MasterDied);
        }
        for scheduler in 0..self.schedulers.len() {
            let cut = self.now + self.random.millis(0, REMAINS);
            self.break_scheduler(master, scheduler, cut);
        }
        let low = low.max(REMAINS + 100);
        let high = high.max(low);
        self.disturbed(self.now + std::time::Duration::from_millis(high));
        self.plan(low, high, Happening::MasterStart { master });
    }

    /// A master ends of its own accord; its supervisor starts it again.
    pub(crate) fn stop_master(&mut self, master: usize, reason: &str) {
        self.statistics.fault("master stepped down");
        self.log.write(|| format!("    master {master} stops: {reason}"));
        self.end_session(master);
        self.crash_master(master, 500, 8_000);
    }

    /// The operating system stops a master's process for a while.
    pub(crate) fn pause_master(&mut self, master: usize, until: Timestamp) {
        let host = &mut self.masters[master];
        if !host.is_up || host.paused_until.is_some() {
            return;
        }
        host.paused_until = Some(until);
        host.paused_since = self.now;
        let process = host.process(master);
        self.schedule.add(until, Happening::MasterResumes { process });
        self.disturbed(until);
    }

    /// A master goes on, and may do what waited for it before it looks at the clock.
    pub(crate) fn resume_master(&mut self, process: Process) {
        let notices_at_once = self.random.chance(300);
        let late = self.now + self.random.millis(0, LATE_MAX);
        if !self.is_current(process) {
            return;
        }
        let host = &mut self.masters[process.master];
        host.paused_until = None;
        if host.core.is_none() || !self.settings.is_coordinated {
            return;
        }
        if notices_at_once {
            self.check_lease(process);
        } else {
            host.candidacy.late_until = late;
            self.schedule.add(late, Happening::LeaseCheck { process });
        }
    }

    pub(crate) fn feed_master(&mut self, master: usize, event: Event) {
        let Some(core) = &mut self.masters[master].core else { return };
        let effects = core.handle(self.now, event);
        self.perform_master(master, effects);
        self.expire_master(master);
    }

    pub(crate) fn master_wakes(&mut self, process: Process) {
        // A later wake-up was called off by an earlier one, and comes all the same.
        let host = &mut self.masters[process.master];
        let is_due = host.wake.is_some_and(|wake| wake <= self.now);
        if host.life == process.life && is_due {
            host.wake = None;
            self.expire_master(process.master);
        }
    }

    fn expire_master(&mut self, master: usize) {
        for _ in 0..EXPIRIES_MAX {
            let host = &mut self.masters[master];
            let Some(core) = &mut host.core else { return };
            let Some(due) = core.next_expiry() else { return };
            if due > self.now {
                if host.wake.is_none_or(|wake| wake > due) {
                    host.wake = Some(due);
                    let process = host.process(master);
                    self.schedule.add(due, Happening::MasterWake { process });
                }
                return;
            }
            let effects = core.expire(self.now);
            self.perform_master(master, effects);
        }
        self.violate(format!("the timers of master {master} fall due without end"));
    }

    /// Whether a master's process listens there.
    pub(crate) fn is_master_up(&self, pid: &Pid) -> bool {
        self.master_at(pid).is_some_and(|master| self.masters[master].is_up)
    }

    /// Which master listens there.
    pub(crate) fn master_at(&self, pid: &Pid) -> Option<usize> {
        self.masters.iter().position(|host| host.pid.address == pid.address)
    }
}
