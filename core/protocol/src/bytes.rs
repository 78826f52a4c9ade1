//! Amounts of bytes in Mesos' text syntax: `2GB` (`3rdparty/stout/include/stout/bytes.hpp`).

/// Units from the largest, as `format` tries them.
const UNITS: [(&str, u64); 5] =
    [("TB", 1 << 40), ("GB", 1 << 30), ("MB", 1 << 20), ("KB", 1 << 10), ("B", 1)];

/// Why a text is not an amount of bytes.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BytesError {
    /// Mesos accepts whole numbers only.
    #[error("Fractional bytes '{0}'")]
    Fractional(String),
    /// The number is missing or does not fit 64 bits in the given unit.
    #[error("Invalid bytes '{0}'")]
    Number(String),
    /// The unit is none of B, KB, MB, GB, TB.
    #[error("Unknown bytes unit '{0}'")]
    Unit(String),
}

/// Reads a whole number followed by B, KB, MB, GB or TB in any case; units are powers of 1024.
///
/// # Errors
/// A fraction, a missing or too large number, or a missing or unknown unit.
pub fn parse(text: &str) -> Result<u64, BytesError> {
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = text.split_at(digits);
    if unit.starts_with('.') {
        return Err(BytesError::Fractional(text.to_owned()));
    }
    if unit.is_empty() {
        return Err(BytesError::Number(text.to_owned()));
    }
    let number: u64 = number.parse().map_err(|_| BytesError::Number(text.to_owned()))?;
    let unit = unit.to_ascii_uppercase();
    let Some((_, factor)) = UNITS.iter().find(|(name, _)| *name == unit) else {
        return Err(BytesError::Unit(unit));
    };
    number.checked_mul(*factor).ok_or_else(|| BytesError::Number(text.to_owned()))
}

/// Writes an amount in the largest unit that loses nothing, as Mesos does: 2048 is `2KB`.
#[must_use]
pub fn format(bytes: u64) -> String {
    if bytes == 0 {
        return "0B".to_owned();
    }
    let (unit, factor) =
        UNITS.iter().find(|(_, factor)| bytes.is_multiple_of(*factor)).copied().unwrap_or(("B", 1));
    format!("{}{unit}", bytes / factor)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn reads_and_writes_like_stout() {
        assert_eq!(parse("2GB"), Ok(2 << 30));
        assert_eq!(parse("10mb"), Ok(10 << 20));
        assert_eq!(parse("0B"), Ok(0));
        assert_eq!(format(1 << 40), "1TB");
        assert_eq!(format(1536), "1536B");
        assert_eq!(format(3 << 20), "3MB");
        assert_eq!(parse("1.5GB"), Err(BytesError::Fractional("1.5GB".into())));
        assert_eq!(parse("12"), Err(BytesError::Number("12".into())));
        assert_eq!(parse("GB"), Err(BytesError::Number("GB".into())));
        assert_eq!(parse("1PB"), Err(BytesError::Unit("PB".into())));
        assert_eq!(parse("99999999TB"), Err(BytesError::Number("99999999TB".into())));
    }

    proptest! {
        #[test]
        fn format_is_read_back(bytes: u64) {
            prop_assert_eq!(parse(&format(bytes)), Ok(bytes));
        }
    }
}
