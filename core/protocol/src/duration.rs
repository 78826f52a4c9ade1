//! Durations in Mesos' text syntax: `15secs` (`3rdparty/stout/include/stout/duration.hpp`).

use std::time::Duration;

/// Units from the largest, in nanoseconds.
const UNITS: [(&str, u64); 8] = [
    ("weeks", 604_800_000_000_000),
    ("days", 86_400_000_000_000),
    ("hrs", 3_600_000_000_000),
    ("mins", 60_000_000_000),
    ("secs", 1_000_000_000),
    ("ms", 1_000_000),
    ("us", 1_000),
    ("ns", 1),
];

/// The longest duration Mesos can hold: 2^63 - 1 nanoseconds, about 292 years.
pub const MAX: Duration = Duration::from_nanos(i64::MAX as u64);

/// Why a text or number is not a duration.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum DurationError {
    /// The number is missing or malformed, or there is no unit.
    #[error("Invalid duration '{0}'")]
    Number(String),
    /// The unit is unknown.
    #[error(
        "Unknown duration unit '{0}'; supported units are 'ns', 'us', 'ms', 'secs', 'mins', 'hrs', \
         'days', and 'weeks'"
    )]
    Unit(String),
    /// The value does not fit 63 bits of nanoseconds, is negative or is not a number.
    #[error("duration of {0} seconds is out of range")]
    Range(f64),
}

/// Reads a decimal number followed by a unit. Negative durations are not part of the syntax.
///
/// # Errors
/// A malformed number, an unknown unit, or more than [`MAX`].
pub fn parse(text: &str) -> Result<Duration, DurationError> {
    let end = text.bytes().take_while(|byte| byte.is_ascii_digit() || *byte == b'.').count();
    let (number, unit) = text.split_at(end);
    if unit.is_empty() {
        return Err(DurationError::Number(text.to_owned()));
    }
    let value: f64 = number.parse().map_err(|_| DurationError::Number(text.to_owned()))?;
    let Some((_, factor)) = UNITS.iter().find(|(name, _)| *name == unit) else {
        return Err(DurationError::Unit(unit.to_owned()));
    };
    from_nanos(value * as_float(*factor))
}

/// A duration from seconds as they stand in messages (`failover_timeout`, `refuse_seconds`).
///
/// # Errors
/// Negative numbers, not-a-number, or more than [`MAX`].
pub fn from_secs(seconds: f64) -> Result<Duration, DurationError> {
    from_nanos(seconds * 1e9)
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "checked to lie between zero and MAX; the fraction of a nanosecond is dropped"
)]
fn from_nanos(nanos: f64) -> Result<Duration, DurationError> {
    if (0.0..=as_float(i64::MAX as u64)).contains(&nanos) {
        Ok(Duration::from_nanos(nanos as u64).min(MAX))
    } else {
        Err(DurationError::Range(nanos / 1e9))
    }
}

#[expect(clippy::cast_precision_loss, reason = "Mesos computes durations in doubles")]
fn as_float(value: u64) -> f64 {
    value as f64
}

/// Writes a duration as Mesos does: in the largest unit not above it, or in the next smaller one
/// when only that gives a whole number (`10days`, but `1.42857142857143weeks` plus a nanosecond).
#[must_use]
pub fn format(duration: Duration) -> String {
    let nanos = u64::try_from(duration.min(MAX).as_nanos()).unwrap_or(u64::MAX);
    let bucket = UNITS.iter().position(|(_, factor)| nanos >= *factor).unwrap_or(UNITS.len() - 1);
    let (mut unit, mut factor) = UNITS[bucket];
    if let Some((smaller, smaller_factor)) = UNITS.get(bucket + 1)
        && !nanos.is_multiple_of(factor)
        && nanos.is_multiple_of(*smaller_factor)
    {
        (unit, factor) = (smaller, *smaller_factor);
    }
    if nanos.is_multiple_of(factor) {
        return format!("{}{unit}", nanos / factor);
    }
    // A C++ stream with 15 significant digits; the value is never so small or large that it would
    // switch to an exponent.
    let value = as_float(nanos) / as_float(factor);
    let integer_digits = (nanos / factor).to_string().len();
    let text = format!("{value:.*}", 15_usize.saturating_sub(integer_digits));
    format!("{}{unit}", text.trim_end_matches('0').trim_end_matches('.'))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn reads_every_unit() {
        assert_eq!(parse("15secs"), Ok(Duration::from_secs(15)));
        assert_eq!(parse("1.5mins"), Ok(Duration::from_secs(90)));
        assert_eq!(parse("2weeks"), Ok(Duration::from_secs(1_209_600)));
        assert_eq!(parse("10days"), Ok(Duration::from_secs(864_000)));
        assert_eq!(parse("1hrs"), Ok(Duration::from_secs(3600)));
        assert_eq!(parse("250ms"), Ok(Duration::from_millis(250)));
        assert_eq!(parse("3us"), Ok(Duration::from_micros(3)));
        assert_eq!(parse("7ns"), Ok(Duration::from_nanos(7)));
    }

    #[test]
    fn refuses_what_stout_refuses() {
        assert_eq!(parse("15"), Err(DurationError::Number("15".into())));
        assert_eq!(parse("secs"), Err(DurationError::Number("secs".into())));
        assert_eq!(parse("1..5secs"), Err(DurationError::Number("1..5secs".into())));
        assert_eq!(parse("-1secs"), Err(DurationError::Number("-1secs".into())));
        assert_eq!(parse("1sec"), Err(DurationError::Unit("sec".into())));
        assert!(matches!(parse("99999weeks"), Err(DurationError::Range(_))));
        assert!(from_secs(f64::NAN).is_err() && from_secs(-1.0).is_err());
    }

    #[test]
    fn writes_like_stout() {
        assert_eq!(format(Duration::ZERO), "0ns");
        assert_eq!(format(Duration::from_secs(75)), "75secs");
        assert_eq!(format(Duration::from_secs(60)), "1mins");
        assert_eq!(format(Duration::from_secs(864_000)), "10days");
        assert_eq!(format(Duration::from_millis(1_500)), "1500ms");
        assert_eq!(format(Duration::from_nanos(1_500)), "1500ns");
        assert_eq!(format(Duration::from_nanos(1_500_000_001)), "1.500000001secs");
        assert_eq!(format(MAX), "15250.2844524715weeks");
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_back_to_fifteen_digits(nanos in 0..i64::MAX as u64) {
            let duration = Duration::from_nanos(nanos);
            let read = parse(&format(duration)).unwrap();
            let tolerance = Duration::from_nanos(1 + nanos / 100_000_000_000_000);
            prop_assert!(read.abs_diff(duration) <= tolerance, "{:?} {:?}", duration, read);
        }

        #[test]
        fn whole_units_are_read_back_exactly(seconds in 0_u64..3600, days in 0_u64..100_000) {
            for duration in [Duration::from_secs(seconds), Duration::from_secs(days * 86_400)] {
                prop_assert_eq!(parse(&format(duration)), Ok(duration));
            }
        }
    }
}
