//! Measured times and their percentiles.

use std::time::Duration;

use crate::random::Random;

/// More samples than these are thinned out, each being kept with the same chance.
const SAMPLES_MAX: usize = 1 << 18;

/// Times, in the order they came.
#[derive(Clone, Debug)]
pub(crate) struct Samples {
    nanos: Vec<u64>,
    taken: u64,
    random: Random,
}

impl Default for Samples {
    fn default() -> Self {
        Self { nanos: Vec::new(), taken: 0, random: Random::new(0) }
    }
}

impl Samples {
    pub(crate) fn record(&mut self, time: Duration) {
        let nanos = u64::try_from(time.as_nanos()).unwrap_or(u64::MAX);
        self.taken += 1;
        if self.nanos.len() < SAMPLES_MAX {
            self.nanos.push(nanos);
            return;
        }
        let place = self.random.below(self.taken);
        if let Some(kept) = usize::try_from(place).ok().and_then(|at| self.nanos.get_mut(at)) {
            *kept = nanos;
        }
    }

    /// Adds the samples of another.
    pub(crate) fn append(&mut self, other: &Self) {
        for nanos in &other.nanos {
            self.record(Duration::from_nanos(*nanos));
        }
    }

    /// The longest of the samples that were kept.
    pub(crate) fn longest(&self) -> Duration {
        Duration::from_nanos(self.nanos.iter().copied().max().unwrap_or(0))
    }

    /// How many were recorded.
    pub(crate) fn count(&self) -> u64 {
        self.taken
    }

    /// The time that `share` (0 to 1) of the samples do not exceed, in milliseconds: the nearest
    /// rank, so it is a time that was measured. Nothing without samples.
    pub(crate) fn percentile_ms(&self, share: f64) -> Option<f64> {
        let mut sorted = self.nanos.clone();
        sorted.sort_unstable();
        let last = sorted.len().checked_sub(1)?;
        #[expect(
            clippy::cast_precision_loss,
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "a rank among at most SAMPLES_MAX"
        )]
        let rank = (share * sorted.len() as f64).ceil() as usize;
        sorted.get(rank.saturating_sub(1).min(last)).map(|nanos| to_ms(*nanos))
    }
}

#[expect(clippy::cast_precision_loss, reason = "times far below 2^53 nanoseconds")]
fn to_ms(nanos: u64) -> f64 {
    nanos as f64 / 1e6
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_measured_times() {
        let mut samples = Samples::default();
        assert_eq!(samples.percentile_ms(0.5), None);
        for ms in (1..=100).rev() {
            samples.record(Duration::from_millis(ms));
        }
        assert_eq!(samples.percentile_ms(0.0), Some(1.0));
        assert_eq!(samples.percentile_ms(0.5), Some(50.0));
        assert_eq!(samples.percentile_ms(0.99), Some(99.0));
        assert_eq!(samples.percentile_ms(1.0), Some(100.0));
        assert_eq!(samples.count(), 100);
    }

    #[test]
    fn thinning_keeps_the_distribution() {
        let mut samples = Samples::default();
        let total = 3 * SAMPLES_MAX as u64;
        for number in 0..total {
            samples.record(Duration::from_millis(number));
        }
        assert_eq!(samples.nanos.len(), SAMPLES_MAX);
        let median = samples.percentile_ms(0.5).unwrap_or_default();
        let relative = median / to_ms(total * 1_000_000);
        assert!((0.48..0.52).contains(&relative), "{relative}");
    }
}
