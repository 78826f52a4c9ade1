//! Frameworks that come for one task, whose delay is what a user of a busy cluster feels.
//!
//! A probe stays subscribed when its task has ended, and wants nothing: to tear it down would make the
//! master tell every agent, which would be measured with the next probes.

use std::time::Duration;

use protocol::scheduler::{self, call};

use super::frameworks::Role;
use super::{Appetite, Engine};
use crate::timers::{Moment, Timer};

/// Probes that wait for their task at a time; when a master is slower, the next ones are left out.
const PROBES_MAX: u32 = 64;

/// When probes come.
#[derive(Debug, Default)]
pub(super) struct Probes {
    interval: Option<Duration>,
    waiting: u32,
}

impl Engine {
    /// Starts a probe now and then again after each interval.
    pub(crate) fn start_probes(&mut self, interval: Duration) {
        self.probes.interval = Some(interval);
        let now = self.now();
        self.timers.set(now, Timer::Probe);
    }

    /// Lets no more probes come. Those that wait go on.
    pub(crate) fn stop_probes(&mut self) {
        self.probes.interval = None;
    }

    /// How many probes wait for their tasks to run.
    pub(crate) fn probes_waiting(&self) -> u32 {
        self.probes.waiting
    }

    pub(super) fn start_probe(&mut self, now: Moment) {
        let Some(interval) = self.probes.interval else { return };
        self.timers.set(now + interval, Timer::Probe);
        if self.probes.waiting >= PROBES_MAX {
            return;
        }
        let number = self.add_framework(Role::Probe { since: now, has_launched: false });
        self.probes.waiting += 1;
        self.subscribe(number);
    }

    pub(super) fn probe_launched(&mut self, number: u32) {
        let Some(framework) = self.frameworks.get_mut(number as usize) else { return };
        if let Role::Probe { has_launched, .. } = &mut framework.role {
            *has_launched = true;
        }
        // It wants nothing more, so that what is free goes to those who do.
        self.suppress(number);
    }

    /// Nobody wants offers any more.
    pub(crate) fn suppress_all(&mut self) {
        self.appetite = Appetite::None;
        for number in 0..u32::try_from(self.frameworks.len()).unwrap_or(u32::MAX) {
            self.suppress(number);
        }
    }

    fn suppress(&mut self, number: u32) {
        let r#type = Some(call::Type::Suppress);
        let suppress = Some(call::Suppress::default());
        self.call(number, scheduler::Call { r#type, suppress, ..Default::default() });
    }

    pub(super) fn probe_runs(&mut self, now: Moment, number: u32) {
        let Some(framework) = self.frameworks.get(number as usize) else { return };
        if let Role::Probe { since, .. } = framework.role {
            self.counters.probe_delay.record(now.saturating_sub(since));
            self.probes.waiting -= 1;
        }
    }
}
