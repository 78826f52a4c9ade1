//! Points in time as the core sees them: handed in, never read from a clock.

use std::fmt;
use std::ops::{Add, AddAssign, Sub};
use std::time::Duration;

/// Nanoseconds since the Unix epoch, the unit of `mesos.TimeInfo`.
///
/// Arithmetic saturates: a duration taken from a peer (`failover_timeout`, `refuse_seconds`) may be
/// centuries long and must not wrap round into the past.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timestamp(i64);

impl Timestamp {
    /// The Unix epoch.
    pub const ZERO: Self = Self(0);
    /// The latest representable time (April 2262).
    pub const MAX: Self = Self(i64::MAX);

    /// The time `nanos` nanoseconds after the Unix epoch.
    #[must_use]
    pub const fn from_nanos(nanos: i64) -> Self {
        Self(nanos)
    }

    /// The time `seconds` seconds after the Unix epoch, saturating.
    #[must_use]
    pub const fn from_secs(seconds: i64) -> Self {
        Self(seconds.saturating_mul(1_000_000_000))
    }

    /// The time `seconds` seconds after the Unix epoch; not-a-number is the epoch.
    #[must_use]
    pub fn from_secs_f64(seconds: f64) -> Self {
        #[expect(
            clippy::cast_possible_truncation,
            reason = "a float cast saturates, which is the wanted behaviour at both ends"
        )]
        let (whole, fraction) = (seconds.trunc() as i64, (seconds.fract() * 1e9) as i64);
        // Apart, because today's time in nanoseconds has more digits than a double.
        Self(whole.saturating_mul(1_000_000_000).saturating_add(fraction))
    }

    /// Nanoseconds since the Unix epoch.
    #[must_use]
    pub const fn as_nanos(self) -> i64 {
        self.0
    }

    /// Whole seconds since the Unix epoch, rounded down.
    #[must_use]
    pub const fn as_secs(self) -> i64 {
        self.0.div_euclid(1_000_000_000)
    }

    /// Seconds since the Unix epoch, the unit of `TaskStatus.timestamp`.
    #[must_use]
    pub fn as_secs_f64(self) -> f64 {
        #[expect(
            clippy::cast_precision_loss,
            reason = "Mesos' own unit for these fields is a double of seconds"
        )]
        let nanos = self.0 as f64;
        nanos / 1e9
    }

    /// The time from `earlier` to `self`; zero when `earlier` is later.
    #[must_use]
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_nanos(u64::try_from(self.0.saturating_sub(earlier.0)).unwrap_or(0))
    }
}

impl Add<Duration> for Timestamp {
    type Output = Self;

    fn add(self, duration: Duration) -> Self {
        Self(self.0.saturating_add(i64::try_from(duration.as_nanos()).unwrap_or(i64::MAX)))
    }
}

impl AddAssign<Duration> for Timestamp {
    fn add_assign(&mut self, duration: Duration) {
        *self = *self + duration;
    }
}

impl Sub<Duration> for Timestamp {
    type Output = Self;

    fn sub(self, duration: Duration) -> Self {
        Self(self.0.saturating_sub(i64::try_from(duration.as_nanos()).unwrap_or(i64::MAX)))
    }
}

impl Sub for Timestamp {
    type Output = Duration;

    fn sub(self, earlier: Self) -> Duration {
        self.since(earlier)
    }
}

impl fmt::Display for Timestamp {
    /// Seconds since the epoch with nine decimals.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{:09}", self.as_secs(), self.0.rem_euclid(1_000_000_000))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arithmetic_saturates() {
        assert_eq!(Timestamp::MAX + Duration::MAX, Timestamp::MAX);
        assert_eq!(Timestamp::ZERO - Timestamp::MAX, Duration::ZERO);
        assert_eq!(Timestamp::from_secs(5) - Timestamp::from_secs(3), Duration::from_secs(2));
        assert_eq!(Timestamp::from_secs_f64(f64::INFINITY), Timestamp::MAX);
    }

    #[test]
    fn seconds_round_trip() {
        let time = Timestamp::from_secs_f64(1_700_000_000.25);
        assert_eq!(time.as_nanos(), 1_700_000_000_250_000_000);
        assert!((time.as_secs_f64() - 1_700_000_000.25).abs() < 1e-6);
        assert_eq!(time.to_string(), "1700000000.250000000");
    }
}
