use std::fmt;
use std::iter::Sum;
use std::ops::{Add, AddAssign};

/// An amount of a scalar resource, in thousandths of its unit (a CPU, a megabyte).
///
/// Mesos sends amounts as doubles but computes with three decimal digits only
/// (`src/common/values.cpp`), so that 0.1 added ten times is 1. A quantity is never negative.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Quantity(i64);

/// Thousandths in one unit.
const SCALE: i64 = 1000;

/// Amounts from here on are rejected on input: they would not fit the fixed-point number.
const THOUSANDTHS_MAX: f64 = 9.2e18;

impl Quantity {
    /// Nothing.
    pub const ZERO: Self = Self(0);
    /// The largest amount; additions stop here instead of wrapping.
    pub const MAX: Self = Self(i64::MAX);

    /// An amount of whole units.
    #[must_use]
    pub const fn from_units(units: u32) -> Self {
        Self(units as i64 * SCALE)
    }

    /// An amount counted in thousandths; `None` when negative.
    #[must_use]
    pub const fn from_thousandths(thousandths: i64) -> Option<Self> {
        if thousandths < 0 { None } else { Some(Self(thousandths)) }
    }

    /// The number of something countable, such as the ports in a range.
    #[must_use]
    pub fn from_count(count: u64) -> Self {
        Self(i64::try_from(count).unwrap_or(i64::MAX).saturating_mul(SCALE))
    }

    /// Rounds half away from zero to three decimals, as Mesos does. `None` when the number is
    /// negative after rounding, not finite, or too large.
    #[must_use]
    pub fn from_f64(value: f64) -> Option<Self> {
        let thousandths = (value * 1000.0).round();
        if !(0.0..THOUSANDTHS_MAX).contains(&thousandths) {
            return None;
        }
        #[expect(clippy::cast_possible_truncation, reason = "checked against the bounds above")]
        let thousandths = thousandths as i64;
        Some(Self(thousandths))
    }

    /// The number that goes on the wire. Whole units and thousandths are converted apart, as
    /// Mesos does, so that both sides print the same digits.
    #[must_use]
    pub fn to_f64(self) -> f64 {
        #[expect(clippy::cast_precision_loss, reason = "the wire carries a double")]
        let (units, thousandths) = ((self.0 / SCALE) as f64, (self.0 % SCALE) as f64);
        units + thousandths / 1000.0
    }

    /// The amount in thousandths.
    #[must_use]
    pub const fn thousandths(self) -> i64 {
        self.0
    }

    /// The whole units, fraction cut off.
    #[must_use]
    pub const fn units(self) -> u64 {
        (self.0 / SCALE).unsigned_abs()
    }

    #[must_use]
    pub const fn is_zero(self) -> bool {
        self.0 == 0
    }

    /// `None` when the sum is above [`Quantity::MAX`].
    #[must_use]
    pub fn checked_add(self, other: Self) -> Option<Self> {
        self.0.checked_add(other.0).map(Self)
    }

    /// `None` when `other` is more than `self`.
    #[must_use]
    pub fn checked_sub(self, other: Self) -> Option<Self> {
        if other.0 > self.0 { None } else { Some(Self(self.0 - other.0)) }
    }

    /// What is left, or zero.
    #[must_use]
    pub fn saturating_sub(self, other: Self) -> Self {
        Self((self.0 - other.0).max(0))
    }

    /// The amount times a factor, rounded to thousandths; zero for a negative or undefined
    /// factor. Used where a share of an amount is needed, such as a percentage.
    #[must_use]
    pub fn scaled(self, factor: f64) -> Self {
        let product = self.to_f64() * factor;
        if product.is_nan() || product <= 0.0 {
            return Self::ZERO;
        }
        Self::from_f64(product).unwrap_or(Self::MAX)
    }

    /// This amount as a part of `total`; zero when `total` is zero, as in Mesos' dominant share.
    #[must_use]
    pub fn ratio(self, total: Self) -> f64 {
        if total.is_zero() { 0.0 } else { self.to_f64() / total.to_f64() }
    }
}

impl Add for Quantity {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self(self.0.saturating_add(other.0))
    }
}

impl AddAssign for Quantity {
    fn add_assign(&mut self, other: Self) {
        *self = *self + other;
    }
}

impl Sum for Quantity {
    fn sum<I: Iterator<Item = Self>>(iterator: I) -> Self {
        iterator.fold(Self::ZERO, Add::add)
    }
}

/// Fifteen significant digits without trailing zeros, which is how a C++ stream prints a double.
impl fmt::Display for Quantity {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (units, thousandths) = (self.0 / SCALE, self.0 % SCALE);
        if units >= 1_000_000_000_000_000 {
            let text = format!("{:.14e}", self.to_f64());
            let (mantissa, exponent) = text.split_once('e').unwrap_or((&text, "0"));
            let mantissa = mantissa.trim_end_matches('0').trim_end_matches('.');
            return write!(formatter, "{mantissa}e+{exponent}");
        }
        if thousandths == 0 {
            return write!(formatter, "{units}");
        }
        // The digits of the units and three decimals fit fifteen digits up to here.
        let decimals = 15_usize.saturating_sub(units.to_string().len()).min(3);
        let text = format!("{:.decimals$}", self.to_f64());
        let text = if decimals == 0 { &text } else { text.trim_end_matches('0') };
        formatter.write_str(text.trim_end_matches('.'))
    }
}

#[cfg(test)]
mod tests {
    use super::Quantity;
    use proptest::prelude::*;

    #[test]
    fn rounds_half_away_from_zero_to_three_decimals() {
        let thousandths = |value| Quantity::from_f64(value).map(Quantity::thousandths);
        assert_eq!(thousandths(0.1), Some(100));
        assert_eq!(thousandths(0.0005), Some(1));
        assert_eq!(thousandths(0.00049), Some(0));
        assert_eq!(thousandths(1.2345), Some(1235));
        assert_eq!(thousandths(-0.0001), Some(0));
        assert_eq!(thousandths(-1.0), None);
        assert_eq!(thousandths(f64::NAN), None);
        assert_eq!(thousandths(f64::INFINITY), None);
        assert_eq!(thousandths(1e16), None);
    }

    #[test]
    fn ten_tenths_are_one() {
        let tenth = Quantity::from_f64(0.1).unwrap();
        assert_eq!(std::iter::repeat_n(tenth, 10).sum::<Quantity>(), Quantity::from_units(1));
    }

    #[test]
    fn prints_like_a_stream_with_fifteen_digits() {
        let text = |thousandths| Quantity::from_thousandths(thousandths).unwrap().to_string();
        assert_eq!(text(0), "0");
        assert_eq!(text(10), "0.01");
        assert_eq!(text(1_500), "1.5");
        assert_eq!(text(252_899_000), "252899");
        assert_eq!(text(1_234_567_890_123_456), "1234567890123.46");
        assert_eq!(text(2_000_000_000_000_000_000), "2e+15");
    }

    #[test]
    fn never_becomes_negative_and_never_wraps() {
        let (one, two) = (Quantity::from_units(1), Quantity::from_units(2));
        assert_eq!(one.checked_sub(two), None);
        assert_eq!(one.saturating_sub(two), Quantity::ZERO);
        assert_eq!(Quantity::MAX + one, Quantity::MAX);
        assert_eq!(Quantity::MAX.checked_add(one), None);
    }

    proptest! {
        #[test]
        fn survives_the_wire(thousandths in 0_i64..1_000_000_000_000_000) {
            let quantity = Quantity::from_thousandths(thousandths).unwrap();
            prop_assert_eq!(Quantity::from_f64(quantity.to_f64()), Some(quantity));
        }

        #[test]
        fn printed_text_reads_back(thousandths in 0_i64..999_999_999_999_999) {
            let quantity = Quantity::from_thousandths(thousandths).unwrap();
            let number: f64 = quantity.to_string().parse().unwrap();
            prop_assert_eq!(Quantity::from_f64(number), Some(quantity));
        }
    }
}
