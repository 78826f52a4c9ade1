//! What a run counts, so that a reader sees that it was worth running.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

/// Counters of one run, or of many.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Statistics {
    /// Things that happened.
    pub steps: u64,
    /// Faults put in, by kind.
    pub faults: BTreeMap<&'static str, u64>,
    /// Tasks that frameworks launched.
    pub tasks_launched: u64,
    /// Tasks whose framework was told that they finished.
    pub tasks_finished: u64,
    /// Tasks whose framework was told another end.
    pub tasks_ended_otherwise: u64,
    /// How often a framework was told that a task is unreachable.
    pub tasks_unreachable: u64,
    /// Offers made.
    pub offers: u64,
    /// Inverse offers made.
    pub inverse_offers: u64,
    /// Operations that frameworks asked for.
    pub operations: u64,
    /// Operations whose framework was told that they finished.
    pub operations_finished: u64,
    /// Calls of operators.
    pub operator_calls: u64,
    /// Calls of operators that did what they were to do.
    pub operator_calls_done: u64,
    /// How often somebody began to lead.
    pub leaders: u64,
    /// The longest time without a leader while nothing was wrong with masters any more, in milliseconds.
    pub leaderless_max: u64,
    /// Agents that were drained at the end.
    pub agents_drained: u64,
    /// Agents of which the master counts more as used than is, when all is at rest.
    pub agents_overcounted: u64,
}

impl Statistics {
    /// Counts a fault.
    pub fn fault(&mut self, kind: &'static str) {
        *self.faults.entry(kind).or_default() += 1;
    }

    /// Notes how long nobody led.
    pub fn leaderless(&mut self, time: Duration) {
        let millis = u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
        self.leaderless_max = self.leaderless_max.max(millis);
    }

    /// How many faults there were.
    #[must_use]
    pub fn faults_total(&self) -> u64 {
        self.faults.values().sum()
    }

    /// Adds another run's.
    pub fn add(&mut self, other: &Self) {
        self.steps += other.steps;
        for (kind, count) in &other.faults {
            *self.faults.entry(kind).or_default() += count;
        }
        self.tasks_launched += other.tasks_launched;
        self.tasks_finished += other.tasks_finished;
        self.tasks_ended_otherwise += other.tasks_ended_otherwise;
        self.tasks_unreachable += other.tasks_unreachable;
        self.offers += other.offers;
        self.inverse_offers += other.inverse_offers;
        self.operations += other.operations;
        self.operations_finished += other.operations_finished;
        self.operator_calls += other.operator_calls;
        self.operator_calls_done += other.operator_calls_done;
        self.leaders += other.leaders;
        self.leaderless_max = self.leaderless_max.max(other.leaderless_max);
        self.agents_drained += other.agents_drained;
        self.agents_overcounted += other.agents_overcounted;
    }
}

impl fmt::Display for Statistics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} steps, {} faults, {} tasks launched, {} finished, {} ended otherwise, {} reports of \
             unreachable tasks, {} agents with more counted than used; {} offers, {} inverse offers, {} \
             operations, {} of them finished, {} calls of operators, {} of them done, {} agents drained; \
             {} times a master began to lead, {} ms without one at most \
             while one could",
            self.steps,
            self.faults_total(),
            self.tasks_launched,
            self.tasks_finished,
            self.tasks_ended_otherwise,
            self.tasks_unreachable,
            self.agents_overcounted,
            self.offers,
            self.inverse_offers,
            self.operations,
            self.operations_finished,
            self.operator_calls,
            self.operator_calls_done,
            self.agents_drained,
            self.leaders,
            self.leaderless_max,
        )
    }
}
