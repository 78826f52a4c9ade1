//! Principals and their secrets, as operators write them down.

use std::collections::BTreeMap;
use std::fmt;

use serde_json::Value;

/// One principal and its secret. Its debug form hides the secret.
#[derive(Clone, PartialEq, Eq)]
pub struct Credential {
    /// Who.
    pub principal: String,
    /// What only they know.
    pub secret: String,
}

impl fmt::Debug for Credential {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Credential").field("principal", &self.principal).finish_non_exhaustive()
    }
}

/// The secrets of all principals. The debug form hides them.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Credentials {
    secrets: BTreeMap<String, String>,
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.secrets.keys()).finish()
    }
}

/// What is wrong with a document of credentials. Never shows a secret.
#[derive(Debug, thiserror::Error)]
pub enum CredentialsError {
    /// It begins like JSON and is none.
    #[error("it is not valid JSON")]
    Json(#[source] serde_json::Error),
    /// A field is missing or of another type.
    #[error("expected {expected} at '{field}'")]
    Field {
        /// Where.
        field: String,
        /// What should be there.
        expected: &'static str,
    },
    /// A line of the old text form is not `principal secret`.
    #[error("line {0} is not 'principal secret'")]
    Line(usize),
    /// One principal has two secrets.
    #[error("principal '{0}' is named twice")]
    Twice(String),
}

impl Credential {
    /// Reads one credential, `{"principal": "p", "secret": "s"}` or the old `p s`.
    ///
    /// # Errors
    /// The text is neither.
    pub fn parse(text: &str) -> Result<Self, CredentialsError> {
        if is_json(text) {
            let value = serde_json::from_str(text).map_err(CredentialsError::Json)?;
            return from_json(&value, "");
        }
        from_line(text.trim(), 1)
    }
}

impl Credentials {
    /// Reads the value of `--credentials`: `{"credentials": [{"principal": "p", "secret": "s"}]}` (JSON
    /// mapping of `mesos.Credentials`), or the form from before it, one `principal secret` a line.
    ///
    /// # Errors
    /// The text is neither, or names a principal twice.
    pub fn parse(text: &str) -> Result<Self, CredentialsError> {
        let listed = if is_json(text) {
            let value: Value = serde_json::from_str(text).map_err(CredentialsError::Json)?;
            let list = value.get("credentials").and_then(Value::as_array);
            let list = list.ok_or(CredentialsError::Field {
                field: "credentials".to_owned(),
                expected: "a list",
            })?;
            let entry = |(index, value)| from_json(value, &format!("credentials[{index}]."));
            list.iter().enumerate().map(entry).collect::<Result<Vec<_>, _>>()?
        } else {
            let lines = text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty());
            lines
                .map(|(index, line)| from_line(line.trim(), index + 1))
                .collect::<Result<_, _>>()?
        };
        let mut secrets = BTreeMap::new();
        for Credential { principal, secret } in listed {
            if secrets.insert(principal.clone(), secret).is_some() {
                return Err(CredentialsError::Twice(principal));
            }
        }
        Ok(Self { secrets })
    }

    /// The secret of a principal.
    #[must_use]
    pub fn secret(&self, principal: &str) -> Option<&str> {
        self.secrets.get(principal).map(String::as_str)
    }

    /// Whether this is the secret of this principal. Takes as long for a wrong secret as for a right one of
    /// the same length.
    #[must_use]
    pub fn verify(&self, principal: &str, secret: &str) -> bool {
        let Some(known) = self.secret(principal) else { return false };
        let differences = known.bytes().zip(secret.bytes()).map(|(left, right)| left ^ right);
        known.len() == secret.len() && differences.fold(0, |sum, difference| sum | difference) == 0
    }
}

fn is_json(text: &str) -> bool {
    text.trim_start().starts_with(['{', '['])
}

fn from_json(value: &Value, prefix: &str) -> Result<Credential, CredentialsError> {
    let text = |name: &str| value.get(name).and_then(Value::as_str).map(str::to_owned);
    let field = |name: &str| CredentialsError::Field {
        field: format!("{prefix}{name}"),
        expected: "a text",
    };
    Ok(Credential {
        principal: text("principal").ok_or_else(|| field("principal"))?,
        secret: text("secret").ok_or_else(|| field("secret"))?,
    })
}

fn from_line(line: &str, number: usize) -> Result<Credential, CredentialsError> {
    let mut words = line.split_whitespace();
    match (words.next(), words.next(), words.next()) {
        (Some(principal), Some(secret), None) => {
            Ok(Credential { principal: principal.to_owned(), secret: secret.to_owned() })
        }
        _ => Err(CredentialsError::Line(number)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_forms_are_read() {
        let json = r#"{"credentials": [{"principal": "a", "secret": "x y"},
                                       {"principal": "b", "secret": "z"}]}"#;
        let credentials = Credentials::parse(json).unwrap();
        assert_eq!(credentials.secret("a"), Some("x y"));
        let lines = Credentials::parse("a  x\n\nb z\n").unwrap();
        assert_eq!(lines.secret("b"), Some("z"));
        assert_eq!(lines.secret("c"), None);
        let one = Credential::parse(r#"{"principal": "a", "secret": "x"}"#).unwrap();
        assert_eq!(one, Credential::parse("a x").unwrap());
    }

    #[test]
    fn errors_name_the_place_and_no_secret() {
        for (text, expected) in [
            (r#"{"credentials": [{"principal": "a"}]}"#, "at 'credentials[0].secret'"),
            (r#"{"credential": []}"#, "expected a list at 'credentials'"),
            ("{", "not valid JSON"),
            ("a x\nb", "line 2"),
            ("a hidden\na hidden2", "principal 'a' is named twice"),
        ] {
            let error = Credentials::parse(text).unwrap_err().to_string();
            assert!(error.contains(expected), "{error}");
            assert!(!error.contains("hidden"), "{error}");
        }
        let shown = format!("{:?}", Credentials::parse("a hidden").unwrap());
        assert!(!shown.contains("hidden"), "{shown}");
    }

    #[test]
    fn only_the_right_secret_is_verified() {
        let credentials = Credentials::parse("a secret").unwrap();
        assert!(credentials.verify("a", "secret"));
        for (principal, secret) in [("a", "secreT"), ("a", "secre"), ("a", ""), ("b", "secret")] {
            assert!(!credentials.verify(principal, secret), "{principal} {secret}");
        }
    }
}
