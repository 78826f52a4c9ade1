//! Draws from a seed: the same seed gives the same cluster and the same work.

use std::time::Duration;

use protocol::uuid::UuidSource;

/// A seeded source of draws. Not for secrets.
#[derive(Clone, Debug)]
pub(crate) struct Random {
    source: UuidSource,
    /// Box-Muller makes two normal draws at a time.
    spare: Option<f64>,
}

impl Random {
    pub(crate) fn new(seed: u64) -> Self {
        Self { source: UuidSource::new(seed), spare: None }
    }

    /// Uniform in [0, 1).
    #[expect(clippy::cast_precision_loss, reason = "53 bits fit a double exactly")]
    pub(crate) fn share(&mut self) -> f64 {
        (self.source.next_u64() >> 11) as f64 / (1_u64 << 53) as f64
    }

    /// Uniform in 0..`bound`; 0 when there is nothing to choose.
    pub(crate) fn below(&mut self, bound: u64) -> u64 {
        if bound == 0 { 0 } else { self.source.next_u64() % bound }
    }

    /// Normal with mean 0 and deviation 1.
    pub(crate) fn normal(&mut self) -> f64 {
        if let Some(spare) = self.spare.take() {
            return spare;
        }
        // 1 - share is in (0, 1], where the logarithm is finite.
        let radius = (-2.0 * (1.0 - self.share()).ln()).sqrt();
        let angle = std::f64::consts::TAU * self.share();
        self.spare = Some(radius * angle.sin());
        radius * angle.cos()
    }
}

/// How long tasks live: normally distributed, and never less than a hundredth of the mean.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Life {
    pub(crate) mean_seconds: f64,
    pub(crate) deviation_seconds: f64,
}

impl Life {
    pub(crate) fn draw(self, random: &mut Random) -> Duration {
        let seconds = self.mean_seconds + self.deviation_seconds * random.normal();
        Duration::try_from_secs_f64(seconds.max(self.mean_seconds / 100.0)).unwrap_or(Duration::MAX)
    }

    /// What is left of a life at a random moment of it: for a cluster that starts full, so that
    /// its tasks do not all end together.
    pub(crate) fn draw_rest(self, random: &mut Random) -> Duration {
        let share = random.share();
        self.draw(random).mul_f64(share)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DRAWS: u32 = 20_000;

    fn mean_and_deviation(values: &[f64]) -> (f64, f64) {
        let count = f64::from(DRAWS);
        let mean = values.iter().sum::<f64>() / count;
        let variance = values.iter().map(|value| (value - mean).powi(2)).sum::<f64>() / count;
        (mean, variance.sqrt())
    }

    #[test]
    fn lives_have_the_mean_and_deviation_asked_for() {
        let mut random = Random::new(7);
        let life = Life { mean_seconds: 30.0, deviation_seconds: 10.0 };
        let lives: Vec<f64> = (0..DRAWS).map(|_| life.draw(&mut random).as_secs_f64()).collect();
        let (mean, deviation) = mean_and_deviation(&lives);
        assert!((mean - 30.0).abs() < 0.5, "{mean}");
        assert!((deviation - 10.0).abs() < 0.5, "{deviation}");
        assert!(lives.iter().all(|life| *life >= 0.3));
    }

    #[test]
    fn rests_are_half_a_life_on_average() {
        let mut random = Random::new(8);
        let life = Life { mean_seconds: 30.0, deviation_seconds: 0.0 };
        let rests: Vec<f64> =
            (0..DRAWS).map(|_| life.draw_rest(&mut random).as_secs_f64()).collect();
        let (mean, _) = mean_and_deviation(&rests);
        assert!((mean - 15.0).abs() < 0.5, "{mean}");
        assert!(rests.iter().all(|rest| *rest <= 30.0));
    }

    #[test]
    fn a_seed_repeats() {
        let life = Life { mean_seconds: 1.0, deviation_seconds: 0.5 };
        let draw = |seed| {
            let mut random = Random::new(seed);
            (0..10).map(|_| life.draw(&mut random)).collect::<Vec<_>>()
        };
        assert_eq!(draw(1), draw(1));
        assert_ne!(draw(1), draw(2));
    }

    #[test]
    fn an_endless_life_is_not_an_overflow() {
        let life = Life { mean_seconds: f64::MAX, deviation_seconds: 0.0 };
        assert_eq!(life.draw(&mut Random::new(1)), Duration::MAX);
        assert_eq!(Random::new(1).below(0), 0);
    }
}
