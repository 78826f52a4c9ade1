//! Query strings and form bodies: `name=value&name=value`, percent-encoded.

use std::collections::BTreeMap;

/// A decoded query string, or the decoded body of a form.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Query(BTreeMap<String, String>);

/// Why text is not percent-encoded.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// A `%` without two hexadecimal digits after it. Mesos' words.
    #[error("Malformed % escape in '{text}': '{escape}'")]
    Escape {
        /// The whole text.
        text: String,
        /// What stands in the place of an escape.
        escape: String,
    },
    /// The bytes are not UTF-8.
    #[error("'{text}' does not decode to UTF-8")]
    NotUtf8 {
        /// The whole text.
        text: String,
    },
}

impl Query {
    /// Decodes `text`; a name that comes twice keeps its last value.
    ///
    /// # Errors
    ///
    /// When an escape is malformed or a name or value is not UTF-8.
    pub fn parse(text: &str) -> Result<Self, DecodeError> {
        let mut pairs = BTreeMap::new();
        for pair in text.split(['&', ';']).filter(|pair| !pair.is_empty()) {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            pairs.insert(percent_decode(name, true)?, percent_decode(value, true)?);
        }
        Ok(Self(pairs))
    }

    /// The value of `name`.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str)
    }

    /// The names and values without `name`, in one text form, so that equal queries give equal keys.
    #[must_use]
    pub fn canonical_without(&self, name: &str) -> String {
        let mut text = String::new();
        for (key, value) in self.0.iter().filter(|(key, _)| *key != name) {
            text.push_str(&format!("{key:?}={value:?}&"));
        }
        text
    }
}

/// Undoes percent-encoding; `plus_is_blank` in queries and forms, not in paths.
///
/// # Errors
///
/// As [`Query::parse`].
pub fn percent_decode(text: &str, plus_is_blank: bool) -> Result<String, DecodeError> {
    let bytes = text.as_bytes();
    let mut decoded = Vec::with_capacity(bytes.len());
    let mut rest = bytes;
    while let Some((&first, tail)) = rest.split_first() {
        match first {
            b'%' => {
                let digits = tail.get(..2).and_then(|digits| {
                    let text = std::str::from_utf8(digits).ok()?;
                    // `from_str_radix` would take a sign.
                    if !digits.iter().all(u8::is_ascii_hexdigit) {
                        return None;
                    }
                    u8::from_str_radix(text, 16).ok()
                });
                let Some(byte) = digits else {
                    let escape = rest.get(..3).unwrap_or(rest);
                    let escape = String::from_utf8_lossy(escape).into_owned();
                    return Err(DecodeError::Escape { text: text.to_owned(), escape });
                };
                decoded.push(byte);
                rest = &tail[2..];
            }
            b'+' if plus_is_blank => {
                decoded.push(b' ');
                rest = tail;
            }
            byte => {
                decoded.push(byte);
                rest = tail;
            }
        }
    }
    String::from_utf8(decoded).map_err(|_| DecodeError::NotUtf8 { text: text.to_owned() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn decodes_names_and_values() -> Result<(), DecodeError> {
        let query = Query::parse("frameworkId=a%2Fb+c&empty&last=1&last=2")?;
        assert_eq!(query.get("frameworkId"), Some("a/b c"));
        assert_eq!(query.get("empty"), Some(""));
        assert_eq!(query.get("last"), Some("2"));
        assert_eq!(query.get("absent"), None);
        Ok(())
    }

    #[test]
    fn malformed_escapes_are_errors() {
        for text in ["a=%", "a=%1", "a=%zz", "a=%+1", "%e", "a=%ff"] {
            assert!(Query::parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_plus_stays_in_paths() {
        assert_eq!(percent_decode("slave%281%29+x", false).as_deref(), Ok("slave(1)+x"));
    }
}
