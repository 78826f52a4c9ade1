use super::{Ranges, Set};

/// What the text of one value means. Resources refuse text, attributes refuse sets.
#[derive(Clone, Debug, PartialEq)]
pub enum Parsed {
    /// A finite number that is not negative, as written: not yet rounded to thousandths.
    Scalar(f64),
    Ranges(Ranges),
    Set(Set),
    Text(String),
}

/// Why the text of one value is refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ParseValueError {
    #[error("Expecting non-empty string")]
    Empty,
    #[error("Mismatched brackets")]
    MismatchedBrackets,
    #[error("Expecting one or more \"ranges\"")]
    IncompleteRange,
    #[error("Expecting non-negative integers in '{0}'")]
    NotAnInteger(String),
    #[error("Invalid ranges: begin > end in '{begin}-{end}'")]
    InvertedRange { begin: u64, end: u64 },
    #[error("Subnormal values not supported")]
    Subnormal,
    #[error("Unexpected '{0}' found")]
    UnexpectedBracket(char),
}

impl Parsed {
    /// Reads `1.5`, `[1-2,4-5]`, `{a,b}` or any other text. Blanks are removed first, as Mesos
    /// does (`src/common/values.cpp`), so a text loses its blanks too.
    ///
    /// # Errors
    /// Brackets do not match or stand in the wrong place, or a range is malformed.
    pub fn parse(text: &str) -> Result<Self, ParseValueError> {
        let text: String = text.chars().filter(|character| *character != ' ').collect();
        if text.is_empty() {
            return Err(ParseValueError::Empty);
        }
        for (open, close) in [('{', '}'), ('[', ']'), ('(', ')')] {
            if !brackets_match(&text, open, close) {
                return Err(ParseValueError::MismatchedBrackets);
            }
        }
        match (text.find('['), text.find('{')) {
            (Some(0), _) => parse_ranges(&text).map(Self::Ranges),
            (Some(_), _) => Err(ParseValueError::UnexpectedBracket('[')),
            (None, Some(0)) => Ok(Self::Set(tokenize(&text, "{},\n").map(str::to_owned).collect())),
            (None, Some(_)) => Err(ParseValueError::UnexpectedBracket('{')),
            (None, None) => parse_number_or_text(text),
        }
    }

    /// The name of the type as the wire has it.
    #[must_use]
    pub const fn type_name(&self) -> &'static str {
        match self {
            Self::Scalar(_) => "SCALAR",
            Self::Ranges(_) => "RANGES",
            Self::Set(_) => "SET",
            Self::Text(_) => "TEXT",
        }
    }
}

fn parse_ranges(text: &str) -> Result<Ranges, ParseValueError> {
    let tokens: Vec<_> = tokenize(text, "[]-,\n").collect();
    let (pairs, rest) = tokens.as_chunks::<2>();
    if !rest.is_empty() {
        return Err(ParseValueError::IncompleteRange);
    }
    let mut intervals = Vec::with_capacity(pairs.len());
    for [begin, end] in pairs {
        let number = |token: &str| {
            parse_integer(token).ok_or_else(|| ParseValueError::NotAnInteger(token.to_owned()))
        };
        intervals.push((number(begin)?, number(end)?));
    }
    Ranges::new(intervals)
        .map_err(|error| ParseValueError::InvertedRange { begin: error.begin, end: error.end })
}

fn parse_number_or_text(text: String) -> Result<Parsed, ParseValueError> {
    match parse_number(&text) {
        Some(number) if number.is_subnormal() => Err(ParseValueError::Subnormal),
        Some(number) if number.is_finite() && number >= 0.0 => Ok(Parsed::Scalar(number)),
        Some(_) | None => Ok(Parsed::Text(text)),
    }
}

fn parse_number(text: &str) -> Option<f64> {
    if let Ok(number) = text.parse() {
        return Some(number);
    }
    let digits = text.strip_prefix("0x").or_else(|| text.strip_prefix("0X"))?;
    u32::from_str_radix(digits, 16).ok().map(f64::from)
}

fn parse_integer(text: &str) -> Option<u64> {
    match text.strip_prefix("0x").or_else(|| text.strip_prefix("0X")) {
        Some(digits) => u64::from_str_radix(digits, 16).ok(),
        None => text.parse().ok(),
    }
}

fn brackets_match(text: &str, open: char, close: char) -> bool {
    let mut depth = 0_u32;
    for character in text.chars() {
        if character == open {
            depth += 1;
        } else if character == close {
            let Some(outer) = depth.checked_sub(1) else { return false };
            depth = outer;
        }
    }
    depth == 0
}

/// The non-empty parts between any of the delimiters.
pub(crate) fn tokenize<'a>(text: &'a str, delimiters: &'a str) -> impl Iterator<Item = &'a str> {
    text.split(|character| delimiters.contains(character)).filter(|token| !token.is_empty())
}

#[cfg(test)]
mod tests {
    use super::Parsed;

    fn message(text: &str) -> String {
        Parsed::parse(text).unwrap_err().to_string()
    }

    #[test]
    fn reads_each_type() {
        assert_eq!(Parsed::parse("1.5"), Ok(Parsed::Scalar(1.5)));
        assert_eq!(Parsed::parse("0x10"), Ok(Parsed::Scalar(16.0)));
        assert_eq!(Parsed::parse("abc def"), Ok(Parsed::Text("abcdef".to_owned())));
        for text in ["[1-3, 4-5, 8-9]", "[1-3],[4-5] , [8-9]", "[8-9,1-5]"] {
            let Parsed::Ranges(ranges) = Parsed::parse(text).unwrap() else {
                panic!("{text} should be ranges");
            };
            assert_eq!(ranges.to_string(), "[1-5, 8-9]");
        }
        let Parsed::Set(set) = Parsed::parse("{b, a}").unwrap() else { panic!("not a set") };
        assert_eq!(set.to_string(), "{a, b}");
    }

    #[test]
    fn numbers_that_are_no_amounts_are_text() {
        for text in ["-1", "nan", "inf"] {
            assert_eq!(Parsed::parse(text), Ok(Parsed::Text(text.to_owned())));
        }
        assert_eq!(message("1e-310"), "Subnormal values not supported");
    }

    #[test]
    fn refuses_with_the_words_of_mesos() {
        assert_eq!(message("  "), "Expecting non-empty string");
        assert_eq!(message("[1-2"), "Mismatched brackets");
        assert_eq!(message("}{"), "Mismatched brackets");
        assert_eq!(message("[1-2-3]"), "Expecting one or more \"ranges\"");
        assert_eq!(message("[1-b]"), "Expecting non-negative integers in 'b'");
        assert_eq!(message("a[1-2]"), "Unexpected '[' found");
        assert_eq!(message("a{1}"), "Unexpected '{' found");
        assert_eq!(message("[5-1]"), "Invalid ranges: begin > end in '5-1'");
    }
}
