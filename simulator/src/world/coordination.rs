//! The coordination service, as ZooKeeper is one: sessions that end when nothing was heard of them for
//! their timeout, numbered nodes that go with them, and the lowest node leads. A majority of its servers
//! may be away; then it knows nothing, forgets nothing and ends no session.
//!
//! A master renews its session and its lease as `io/coordination/src/contender.rs` does.

use std::collections::BTreeMap;
use std::time::Duration;

use protocol::time::Timestamp;

use crate::happening::Happening;
use crate::process::Process;
use crate::settings::Sabotage;
use crate::world::World;

/// Watchers hear of a change within this time, in milliseconds.
const WATCH_MAX: u64 = 300;
/// A master that was elected begins to lead within this time, in milliseconds.
const TAKEOVER_MAX: u64 = 300;

/// The service.
#[derive(Debug)]
pub(crate) struct Coordination {
    /// `--zk_session_timeout`.
    pub(crate) timeout: Duration,
    sessions: BTreeMap<u64, Session>,
    /// Numbers sessions, nodes and changes.
    numbers: u64,
    /// When it went away and when it will be back.
    outage: Option<(Timestamp, Timestamp)>,
}

/// The session of one process, with its node.
#[derive(Clone, Copy, Debug)]
struct Session {
    process: Process,
    /// When the service heard of it last.
    heard: Timestamp,
    /// The number of its node, by which it is elected, and of the change that made it. Nothing when
    /// somebody removed it.
    node: Option<u64>,
}

/// What a master has to do with the service.
#[derive(Debug, Default)]
pub(crate) struct Candidacy {
    session: Option<u64>,
    /// Until when no other master can lead.
    pub(crate) lease_until: Timestamp,
    /// It has lost its lease without a fault of its own, and acts on until it notices.
    pub(crate) late_until: Timestamp,
    /// It does not reach the service until then.
    pub(crate) cut_until: Timestamp,
    /// It was told to lead.
    is_elected: bool,
}

impl Candidacy {
    /// The process died, and the next knows nothing of it.
    pub(crate) fn forget(&mut self) {
        let cut_until = self.cut_until;
        *self = Self { cut_until, ..Self::default() };
    }
}

impl Coordination {
    pub(crate) fn new(timeout: Duration) -> Self {
        Self { timeout, sessions: BTreeMap::new(), numbers: 0, outage: None }
    }

    pub(crate) fn is_up(&self, now: Timestamp) -> bool {
        self.outage.is_none_or(|(_, end)| end <= now)
    }

    /// Whether it has been away for so long that who asks it takes nobody for the leader.
    fn is_given_up(&self, now: Timestamp) -> bool {
        self.outage.is_some_and(|(begin, end)| end > now && begin + self.timeout <= now)
    }

    /// Who has the lowest node.
    pub(crate) fn leader(&self) -> Option<Process> {
        let lowest = self.sessions.values().filter(|session| session.node.is_some());
        lowest.min_by_key(|session| session.node).map(|session| session.process)
    }

    fn next(&mut self) -> u64 {
        self.numbers += 1;
        self.numbers
    }

    /// The wall clock jumped; nothing here goes by it.
    fn shift(&mut self, by: Duration) {
        for session in self.sessions.values_mut() {
            session.heard += by;
        }
        self.outage = self.outage.map(|(begin, end)| (begin + by, end + by));
    }
}

impl World {
    /// The clock of the world jumps. The service and the leases go by monotonic clocks.
    pub(crate) fn jump(&mut self, by: Duration) {
        self.now += by;
        self.coordination.shift(by);
        for host in &mut self.masters {
            let candidacy = &mut host.candidacy;
            candidacy.lease_until += by;
            candidacy.late_until += by;
            candidacy.cut_until += by;
        }
        self.leadership.jump(self.now, by);
    }

    pub(crate) fn reaches_service(&self, master: usize) -> bool {
        self.coordination.is_up(self.now) && self.masters[master].candidacy.cut_until <= self.now
    }

    pub(crate) fn renewal_due(&mut self, process: Process) {
        if self.is_current(process) {
            let next = Happening::SessionRenewal { process };
            self.schedule.add(self.now + self.coordination.timeout / 5, next);
            self.renew_session(process);
        }
    }

    /// A master says that it lives: seven tenths of the timeout after a question that was answered its
    /// session lives for sure, since the service has heard of it two tenths before at the earliest.
    pub(crate) fn renew_session(&mut self, process: Process) {
        if !self.is_current(process) || !self.reaches_service(process.master) {
            return;
        }
        let host = &self.masters[process.master];
        let is_defiant = host.core.is_some() && self.sabotaged(Sabotage::IgnoreDeposition);
        if host.candidacy.late_until > self.now || is_defiant {
            // It is busy with what waited for it.
            return;
        }
        let timeout = self.coordination.timeout;
        let lag = timeout / 5 * u32::try_from(self.random.below(100)).unwrap_or(0) / 100;
        let now = self.now;
        let id = self.masters[process.master].candidacy.session;
        let session = id.and_then(|id| self.coordination.sessions.get_mut(&id));
        let Some(session) = session else {
            if self.masters[process.master].candidacy.is_elected {
                self.stop_master(process.master, "its session is over");
            } else {
                self.begin_session(process);
            }
            return;
        };
        session.heard = session.heard.max(now - lag);
        let Some(node) = session.node else {
            self.stop_master(process.master, "its node was removed");
            return;
        };
        self.settle_commit(process.master);
        if !self.is_current(process) || self.coordination.leader() != Some(process) {
            return;
        }
        let candidacy = &mut self.masters[process.master].candidacy;
        candidacy.lease_until = now + timeout * 7 / 10;
        if !std::mem::replace(&mut candidacy.is_elected, true) {
            let epoch = if self.sabotaged(Sabotage::RepeatEpochs) { 1 } else { node };
            self.plan(5, TAKEOVER_MAX, Happening::Leads { process, epoch });
            self.schedule.add(now + timeout * 7 / 10, Happening::LeaseCheck { process });
        }
    }

    fn begin_session(&mut self, process: Process) {
        let id = self.coordination.next();
        let node = Some(self.coordination.next());
        self.coordination.sessions.insert(id, Session { process, heard: self.now, node });
        self.masters[process.master].candidacy.session = Some(id);
        let timeout = self.coordination.timeout;
        self.schedule.add(self.now + timeout, Happening::SessionExpiry { session: id });
        self.look_at_nodes();
    }

    pub(crate) fn session_expires(&mut self, id: u64) {
        let Some(session) = self.coordination.sessions.get(&id) else { return };
        let due = session.heard + self.coordination.timeout;
        let due = match self.coordination.outage {
            // Who comes back gives everybody the whole time again.
            Some((_, end)) if end > self.now => end + self.coordination.timeout,
            Some(_) | None => due,
        };
        if due > self.now {
            self.schedule.add(due, Happening::SessionExpiry { session: id });
            return;
        }
        let process = session.process;
        self.log.write(|| format!("    the session of {process:?} is over"));
        self.coordination.sessions.remove(&id);
        self.look_at_nodes();
    }

    /// A master that stops of its own accord takes its node with it, if it can.
    pub(crate) fn end_session(&mut self, master: usize) {
        let Some(id) = self.masters[master].candidacy.session else { return };
        if self.reaches_service(master) && self.coordination.sessions.remove(&id).is_some() {
            self.look_at_nodes();
        }
    }

    /// Somebody removes a node by hand: the master hears of it, but not at once.
    pub(crate) fn remove_node(&mut self, master: usize) {
        let Some(id) = self.masters[master].candidacy.session else { return };
        let Some(session) = self.coordination.sessions.get_mut(&id) else { return };
        session.node = None;
        let process = session.process;
        let late = self.now + self.random.millis(0, WATCH_MAX);
        let candidacy = &mut self.masters[master].candidacy;
        candidacy.late_until = late;
        candidacy.lease_until = candidacy.lease_until.min(self.now);
        self.schedule.add(late, Happening::LeaseCheck { process });
        self.look_at_nodes();
    }

    /// The nodes changed, or may be seen again: who watches them hears of it after a while.
    fn look_at_nodes(&mut self) {
        for agent in 0..self.agents.len() {
            let life = self.agents[agent].life;
            self.plan(0, 2_000, Happening::Detect { agent, life });
        }
        for scheduler in 0..self.schedulers.len() {
            let life = self.schedulers[scheduler].life;
            self.plan(0, 3_000, Happening::SchedulerDetects { scheduler, life });
        }
        if let Some(process) = self.coordination.leader()
            && self.is_current(process)
            && !self.masters[process.master].candidacy.is_elected
        {
            self.plan(0, WATCH_MAX, Happening::NodesChange { process });
        }
    }

    /// A master that was told to lead does; it may have been too slow, which the registry tells it.
    pub(crate) fn leads(&mut self, process: Process, epoch: u64) {
        let is_there = self.is_current(process) && self.masters[process.master].core.is_none();
        if !is_there {
            return;
        }
        if !self.reaches_service(process.master) {
            // It goes on trying until its lease is over.
            self.plan(50, 500, Happening::Leads { process, epoch });
            return;
        }
        self.lead(process, epoch);
    }

    /// A master looks at its lease, as it does all the time.
    pub(crate) fn check_lease(&mut self, process: Process) {
        if !self.is_current(process)
            || self.sabotaged(Sabotage::OutliveLeases)
            || self.sabotaged(Sabotage::IgnoreDeposition)
        {
            return;
        }
        let candidacy = &self.masters[process.master].candidacy;
        let until = candidacy.lease_until.max(candidacy.late_until);
        if until > self.now {
            self.schedule.add(until, Happening::LeaseCheck { process });
        } else {
            self.stop_master(process.master, "its lease is over");
        }
    }

    /// A majority of the servers goes away.
    pub(crate) fn service_goes(&mut self, until: Timestamp) {
        if !self.coordination.is_up(self.now) {
            return;
        }
        self.coordination.outage = Some((self.now, until));
        self.schedule.add(until, Happening::ServiceBack);
        self.disturbed(until);
        // Who still has heard nothing after the timeout gives the leader up.
        let given_up = self.now + self.coordination.timeout;
        if given_up < until {
            for agent in 0..self.agents.len() {
                let life = self.agents[agent].life;
                let at = given_up + self.random.millis(0, 1_000);
                self.schedule.add(at, Happening::Detect { agent, life });
            }
            for scheduler in 0..self.schedulers.len() {
                let life = self.schedulers[scheduler].life;
                let at = given_up + self.random.millis(0, 1_000);
                self.schedule.add(at, Happening::SchedulerDetects { scheduler, life });
            }
        }
    }

    pub(crate) fn service_returns(&mut self) {
        let now = self.now;
        let Some((_, end)) = self.coordination.outage else { return };
        if end > now {
            self.schedule.add(end, Happening::ServiceBack);
            return;
        }
        self.coordination.outage = None;
        for session in self.coordination.sessions.values_mut() {
            session.heard = now;
        }
        self.look_at_nodes();
    }

    /// Nothing is wrong with the service any more.
    pub(crate) fn heal_service(&mut self) {
        if let Some((_, end)) = &mut self.coordination.outage {
            *end = self.now;
            self.service_returns();
        }
        for host in &mut self.masters {
            host.candidacy.cut_until = self.now;
        }
    }

    /// Whom somebody who watches the nodes takes for the leader; nothing when that is no news.
    pub(crate) fn detected(&self) -> Option<Option<Process>> {
        if self.coordination.is_given_up(self.now) {
            return Some(None);
        }
        self.coordination.is_up(self.now).then(|| self.coordination.leader())
    }
}
