//! The order in which siblings are served: the roles below one role, or the frameworks of one.
//!
//! Everything that tells one policy from another is in this file. A policy turns what a role or framework
//! holds, and its weight, into a [`Place`]; the smallest is served first. Equal places go by the number of
//! allocations, then by name.

use protocol::uuid::UuidSource;

use crate::share::{Share, Totals, Usage};

/// How siblings take turns: the values of `--role_sorter` and `--framework_sorter`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum SorterPolicy {
    /// Fair sharing: the smallest dominant share, divided by the weight, is first.
    #[default]
    Drf,
    /// Each has the next turn with a probability in proportion to its weight, whatever it holds.
    Random,
    /// The highest weight is first, and the next gets what that does not want. Equal weights share
    /// fairly, so that frameworks, which have none, do.
    Priority,
}

/// Where a role or framework stands among its siblings.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Place {
    level: u64,
    share: Share,
}

impl SorterPolicy {
    pub(crate) fn place(self, usage: &Usage, totals: &Totals, weight: f64) -> Place {
        match self {
            Self::Drf => Place { level: 0, share: totals.share(&usage.amounts, weight) },
            Self::Random => Place { level: 0, share: Share::from(usage.turn.at(weight)) },
            // Positive floats are ordered like their bits.
            Self::Priority => Place {
                level: u64::MAX - weight.to_bits(),
                share: totals.share(&usage.amounts, 1.0),
            },
        }
    }

    pub(crate) fn has_turns(self) -> bool {
        match self {
            Self::Random => true,
            Self::Drf | Self::Priority => false,
        }
    }
}

/// When somebody's next turn comes, on a clock that is moved on by turns alone.
///
/// Turns are the events of Poisson processes, one for each sibling, at a rate of its weight. The earliest
/// event is then each sibling's with a probability in proportion to its weight, whatever went before; and
/// the others, in the order of their events, are the weighted shuffle of Mesos (`sorter/random/utils.hpp`).
/// But only one event has to be drawn for each allocation, where a shuffle draws for everybody.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Turn {
    /// The time of its last turn.
    last: f64,
    /// How long after that, at a weight of one.
    wait: f64,
}

impl Turn {
    fn at(self, weight: f64) -> f64 {
        self.last + self.wait / weight
    }
}

/// The clock of some siblings: the time of the latest turn any of them has taken.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Clock(f64);

/// Where turns come from.
#[derive(Clone, Debug)]
pub(crate) struct Turns(UuidSource);

impl Turns {
    pub(crate) fn new(seed: u64) -> Self {
        Self(UuidSource::new(seed))
    }

    /// The first turn of a new sibling.
    pub(crate) fn first(&mut self, clock: Clock) -> Turn {
        Turn { last: clock.0, wait: self.wait() }
    }

    /// The turn after `turn`, which is taken now.
    pub(crate) fn next(&mut self, turn: Turn, weight: f64, clock: &mut Clock) -> Turn {
        // Who was passed over for long, as it wanted nothing, has one turn due and not many.
        clock.0 = clock.0.max(turn.at(weight));
        self.first(*clock)
    }

    /// An exponentially distributed time with mean 1, by von Neumann's method: a logarithm may differ
    /// between machines in its last digit, comparisons do not.
    fn wait(&mut self) -> f64 {
        let mut whole = 0.0;
        loop {
            let first = self.uniform();
            let (mut smallest, mut length) = (first, 1_u32);
            loop {
                let next = self.uniform();
                if next >= smallest {
                    break;
                }
                smallest = next;
                length += 1;
            }
            // Falling sequences of odd length are as frequent as the density is high.
            if length % 2 == 1 {
                return whole + first;
            }
            whole += 1.0;
        }
    }

    /// Evenly distributed between 0 and 1.
    fn uniform(&mut self) -> f64 {
        let bits = self.0.next_u64() >> 32;
        f64::from(u32::try_from(bits).unwrap_or(u32::MAX)) / 4_294_967_296.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_are_exponentially_distributed() {
        const DRAWS: u32 = 200_000;
        let mut turns = Turns::new(1);
        let waits: Vec<f64> = (0..DRAWS).map(|_| turns.wait()).collect();
        let part = |limit: f64| {
            let count = waits.iter().filter(|&&wait| wait > limit).count();
            f64::from(u32::try_from(count).unwrap()) / f64::from(DRAWS)
        };
        let mean = waits.iter().sum::<f64>() / f64::from(DRAWS);
        assert!((mean - 1.0).abs() < 0.02, "mean {mean}");
        for limit in [0.1_f64, 0.5, 1.0, 2.0, 3.5] {
            let expected = (-limit).exp();
            assert!((part(limit) - expected).abs() < 0.01, "beyond {limit}: {}", part(limit));
        }
    }

    #[test]
    fn turns_go_in_proportion_to_weights() {
        let mut turns = Turns::new(7);
        let mut clock = Clock::default();
        let weights = [1.0, 2.0, 5.0];
        let mut next = weights.map(|_| turns.first(clock));
        let mut counts = [0_u32; 3];
        let mut repeated = 0_u32;
        let mut last = usize::MAX;
        for _ in 0..80_000 {
            let time = |&it: &usize| Share::from(next[it].at(weights[it]));
            let winner = (0..3).min_by_key(time).unwrap();
            next[winner] = turns.next(next[winner], weights[winner], &mut clock);
            counts[winner] += 1;
            repeated += u32::from(winner == last);
            last = winner;
        }
        for (count, weight) in counts.into_iter().zip(weights) {
            let part = f64::from(count) / 80_000.0;
            assert!((part - weight / 8.0).abs() < 0.01, "weight {weight} gets {part}");
        }
        // Independent of who was served before: 1/64 + 4/64 + 25/64 of all turns repeat the last.
        let part = f64::from(repeated) / 80_000.0;
        assert!((part - 30.0 / 64.0).abs() < 0.01, "{part}");
    }

    #[test]
    fn priorities_are_ordered_by_weight_before_share() {
        let totals = Totals::default();
        let place = |weight| SorterPolicy::Priority.place(&Usage::default(), &totals, weight);
        assert!(place(10.0) < place(2.5));
        assert!(place(2.5) < place(0.1));
        assert_eq!(place(3.0), place(3.0));
    }
}
