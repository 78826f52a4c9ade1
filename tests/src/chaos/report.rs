//! The table at the end.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use super::check::end_of;
use super::ledger::Ledger;
use super::world::World;
use crate::Term;

/// After a time without a leader that is longer than a session and an election together.
const LONG_WITHOUT_LEADER_SECONDS: f64 = 8.0;

/// What came of it.
#[derive(Clone, Debug, Default)]
pub struct Report {
    /// Replays the same faults.
    pub seed: u64,
    /// How long it took.
    pub time: Duration,
    /// How often each fault was tried.
    pub faults: Vec<(&'static str, usize)>,
    /// What should not be; empty when all is well.
    pub violations: Vec<String>,
    /// How many tasks each framework has launched.
    pub tasks: Vec<(&'static str, usize)>,
    /// How often leaders followed each other.
    pub failovers: usize,
    /// Seconds from the end of a term to the next, with an ensemble that answers.
    pub without_leader: Vec<f64>,
    /// Seconds from the return of the ensemble to the next term.
    pub after_ensemble: Vec<f64>,
    /// Seconds from the beginning of a term to the first offers of each framework.
    pub first_offers: Vec<(&'static str, Vec<f64>)>,
    /// Tasks that came to their end and whose framework was told of no end.
    pub updates_lost: usize,
    /// Tasks that came to their end and were told to have ended otherwise, by state and reason: the work was
    /// done, and an agent that was killed meanwhile could not know.
    pub ended_otherwise: BTreeMap<String, Vec<String>>,
    /// Daemons and frameworks that ended by themselves, not counting masters that lost their leadership.
    pub unexpected_ends: BTreeMap<String, usize>,
}

impl Report {
    /// Adds what the cluster and the frameworks have written down. Of tasks that were launched later than
    /// `until` not all may be known yet.
    pub(super) fn collect(&mut self, world: &World, until: f64) {
        let terms = world.cluster.terms();
        self.failovers = terms.len().saturating_sub(1);
        for pair in terms.windows(2) {
            let [earlier, later] = pair else { continue };
            let Some(ended) = end_of(earlier, later, &world.ends) else { continue };
            let returned = world.ensemble_returned.iter().copied();
            match { returned }.find(|at| (ended..later.began).contains(at)) {
                Some(returned) => self.after_ensemble.push(later.began - returned),
                None => self.without_leader.push(later.began - ended),
            }
        }
        for framework in &world.frameworks {
            self.tasks.push((framework.name, framework.ledger.tasks.len()));
            self.first_offers.push((framework.name, first_offers(&framework.ledger, &terms)));
            self.updates(world, &framework.ledger, until);
        }
        for name in &world.unexpected_ends {
            *self.unexpected_ends.entry(name.clone()).or_default() += 1;
        }
    }

    /// Whether somebody should read the logs.
    pub(super) fn is_worth_a_look(&self) -> bool {
        let is_long = |seconds: &f64| *seconds > LONG_WITHOUT_LEADER_SECONDS;
        !self.violations.is_empty()
            || self.updates_lost > 0
            || !self.ended_otherwise.is_empty()
            || self.without_leader.iter().any(is_long)
    }

    fn updates(&mut self, world: &World, ledger: &Ledger, until: f64) {
        let done = ledger.tasks.iter().filter(|(id, _)| world.runs.ended.contains(*id));
        for (id, task) in done {
            match task.end() {
                None if task.launched > until => {}
                None => self.updates_lost += 1,
                Some(end) if end.state == "TASK_FINISHED" => {}
                Some(end) => {
                    let kind = format!("{} {} {}", end.state, end.source, end.reason);
                    self.ended_otherwise.entry(kind).or_default().push(id.clone());
                }
            }
        }
    }
}

/// How long after the beginning of each term but the first a framework got its first offers from that master.
fn first_offers(ledger: &Ledger, terms: &[Term]) -> Vec<f64> {
    let mut times = Vec::new();
    for (number, term) in terms.iter().enumerate().skip(1) {
        let until = terms.get(number + 1).map_or(f64::INFINITY, |next| next.began);
        let offers = ledger.first_offers.iter().copied();
        times.extend(
            { offers }.find(|at| (term.began..until).contains(at)).map(|at| at - term.began),
        );
    }
    times
}

/// `n`, median, 99th percentile and maximum of some seconds.
fn distribution(seconds: &[f64]) -> String {
    let mut sorted = seconds.to_vec();
    sorted.sort_by(f64::total_cmp);
    let Some(last) = sorted.len().checked_sub(1) else { return "none".to_owned() };
    let at = |percent: usize| sorted[(last * percent).div_ceil(100)];
    let (median, high) = (at(50), at(99));
    format!("n={} p50={median:.2} s p99={high:.2} s max={:.2} s", sorted.len(), sorted[last])
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let count: usize = self.faults.iter().map(|(_, count)| count).sum();
        writeln!(
            f,
            "chaos: {count} faults in {:.0} s, seed {}",
            self.time.as_secs_f64(),
            self.seed
        )?;
        for (fault, count) in &self.faults {
            writeln!(f, "  {count:4}  {fault}")?;
        }
        for (name, count) in &self.tasks {
            writeln!(f, "tasks of the framework on {name}: {count}")?;
        }
        writeln!(f, "failovers: {}", self.failovers)?;
        writeln!(f, "time without a leader: {}", distribution(&self.without_leader))?;
        writeln!(
            f,
            "time without a leader once ZooKeeper was back: {}",
            distribution(&self.after_ensemble)
        )?;
        for (name, seconds) in &self.first_offers {
            let seconds = distribution(seconds);
            writeln!(f, "time to the first offer after a failover, {name}: {seconds}")?;
        }
        writeln!(f, "status updates lost: {}", self.updates_lost)?;
        for (kind, tasks) in &self.ended_otherwise {
            writeln!(f, "tasks that had done their work and ended as {kind}: {}", tasks.join(" "))?;
        }
        for (name, count) in &self.unexpected_ends {
            writeln!(f, "ended by itself and was started again: {name}, {count} times")?;
        }
        writeln!(f, "violations: {}", self.violations.len())?;
        for violation in &self.violations {
            writeln!(f, "  {violation}")?;
        }
        Ok(())
    }
}
