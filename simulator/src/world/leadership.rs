//! Who may lead, and for how long nobody does.

use std::time::Duration;

use protocol::time::Timestamp;

use crate::process::Process;
use crate::settings::Sabotage;
use crate::world::World;

/// What it takes from the end of the old leader's session to a new leader, its own way to the service
/// included.
const TAKEOVER: Duration = Duration::from_secs(2);

/// What is known of leaders, past and present.
#[derive(Debug, Default)]
pub(crate) struct Leadership {
    /// Since when nobody leads.
    since: Option<Timestamp>,
    /// Nothing has been wrong with masters and service since then.
    disturbed_until: Timestamp,
    /// The last that led.
    last: Option<Process>,
}

impl Leadership {
    /// The wall clock jumped.
    pub(crate) fn jump(&mut self, now: Timestamp, by: Duration) {
        self.disturbed_until = now.max(self.disturbed_until + by);
    }
}

impl World {
    /// Something is wrong with masters or their service until then.
    pub(crate) fn disturbed(&mut self, until: Timestamp) {
        self.leadership.disturbed_until = self.leadership.disturbed_until.max(until);
    }

    /// Whether a master's process is still that one.
    pub(crate) fn is_current(&self, process: Process) -> bool {
        let host = &self.masters[process.master];
        host.is_up && host.life == process.life
    }

    /// Whether nobody has claimed the registry after that master.
    pub(crate) fn is_in_office(&self, master: usize) -> bool {
        self.registry.is_owner(self.masters[master].process(master))
    }

    /// The master that claimed the registry last, if it still is there.
    pub(crate) fn leader(&self) -> Option<usize> {
        (0..self.masters.len())
            .find(|master| self.masters[*master].core.is_some() && self.is_in_office(*master))
    }

    /// The last snapshot of the leader.
    pub(crate) fn leader_snapshot(&self) -> Option<std::sync::Arc<master::Snapshot>> {
        self.masters[self.leader()?].snapshot.clone()
    }

    /// Invariant 4, by the clock: a master that leads has a lease, unless it was stopped for so long that
    /// it does not know yet. And nobody leads for no longer than it takes to notice.
    pub(crate) fn check_leadership(&mut self) {
        if !self.settings.is_coordinated || self.sabotaged(Sabotage::IgnoreDeposition) {
            return;
        }
        let now = self.now;
        let mut wrong = None;
        let mut leads = None;
        for (master, host) in self.masters.iter().enumerate() {
            if host.core.is_none() || host.paused_until.is_some() {
                continue;
            }
            let candidacy = &host.candidacy;
            if candidacy.lease_until >= now {
                leads = Some(host.process(master));
            } else if candidacy.late_until < now {
                wrong = Some(format!("invariant 4: master {master} goes on without a lease"));
            }
        }
        if let Some(wrong) = wrong {
            self.violate(wrong);
        }
        if let Some(process) = leads {
            if self.leadership.last != Some(process) {
                self.leadership.last = Some(process);
                self.statistics.leaders += 1;
                if let Some(since) = self.leadership.since {
                    let able = since.max(self.leadership.disturbed_until);
                    self.statistics.leaderless(now.since(able));
                }
            }
            self.leadership.since = None;
            return;
        }
        let since = *self.leadership.since.get_or_insert(now);
        let since = since.max(self.leadership.disturbed_until);
        if now > since + self.coordination.timeout + self.coordination.timeout / 5 + TAKEOVER {
            self.violate(format!("leadership: nobody leads since {since}"));
        }
    }
}
