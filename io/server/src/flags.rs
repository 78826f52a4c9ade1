//! One table defines each flag: the parser, `--help`, `/flags` and the documentation pages all
//! read it.
//!
//! The rules are those of Mesos (`3rdparty/stout/include/stout/flags`): `--name=value`, `--name`
//! and `--no-name` for booleans, `MESOS_NAME` in the environment with the command line winning,
//! and `file:///path` in place of any value.

use std::collections::BTreeMap;
use std::time::Duration;

mod agent_flags;
mod credentials;
mod error;
mod execute_flags;
mod explain_flags;
mod kind;
mod local_flags;
mod logging_flags;
mod master_flags;
mod page;
mod place;
mod registry_flags;
mod resolve_flags;
#[cfg(test)]
mod tests;

pub use credentials::CredentialsFlagError;
pub use error::FlagError;
pub use kind::Kind;
pub use page::{help, markdown};

/// The longest file a `file://` value may name, in bytes.
const VALUE_FILE_BYTES_MAX: u64 = 16 * 1024 * 1024;

/// What happens when a flag is given a value other than its default.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Support {
    /// The value takes effect.
    Full,
    /// The value is accepted, and a line in the log says why it changes nothing.
    Ignored(&'static str),
    /// The program does not start; the text says what to do instead.
    Refused(&'static str),
}

/// The definition of one flag.
#[derive(Clone, Copy, Debug)]
pub struct Flag {
    /// The name without dashes, as Mesos spells it.
    pub name: &'static str,
    /// What values are accepted.
    pub kind: Kind,
    /// The value when none is given, as text; `None` leaves the flag unset.
    pub default: Option<&'static str>,
    /// What the flag does, in a sentence or two.
    pub help: &'static str,
    /// Older names, accepted with a warning.
    pub deprecated_names: &'static [&'static str],
    /// Whether a value takes effect.
    pub support: Support,
    /// Whether the program refuses to start without it.
    pub required: bool,
}

impl Flag {
    pub(crate) const fn new(name: &'static str, kind: Kind, help: &'static str) -> Self {
        Self {
            name,
            kind,
            default: None,
            help,
            deprecated_names: &[],
            support: Support::Full,
            required: false,
        }
    }

    pub(crate) const fn default(mut self, default: &'static str) -> Self {
        self.default = Some(default);
        self
    }

    pub(crate) const fn formerly(mut self, names: &'static [&'static str]) -> Self {
        self.deprecated_names = names;
        self
    }

    pub(crate) const fn ignored(mut self, reason: &'static str) -> Self {
        self.support = Support::Ignored(reason);
        self
    }

    pub(crate) const fn refused(mut self, instead: &'static str) -> Self {
        self.support = Support::Refused(instead);
        self
    }

    pub(crate) const fn required(mut self) -> Self {
        self.required = true;
        self
    }
}

/// All flags of one program.
#[derive(Clone, Copy, Debug)]
pub struct FlagTable {
    /// The program's name as the user types it after `meseta`.
    pub program: &'static str,
    /// One line that says what the program is for.
    pub summary: &'static str,
    /// How the program is called.
    pub usage: &'static str,
    /// The groups of flags, in the order of the help page.
    pub groups: &'static [(&'static str, &'static [Flag])],
}

impl FlagTable {
    /// The flags of `meseta master`.
    pub const MASTER: Self = master_flags::TABLE;
    /// The flags of `meseta agent`.
    pub const AGENT: Self = agent_flags::TABLE;
    /// The flags of `meseta local`.
    pub const LOCAL: Self = local_flags::TABLE;
    /// The flags of `meseta explain`.
    pub const EXPLAIN: Self = explain_flags::TABLE;
    /// The flags of `meseta execute`.
    pub const EXECUTE: Self = execute_flags::TABLE;
    /// The flags of `meseta registry`.
    pub const REGISTRY: Self = registry_flags::TABLE;
    /// The flags of `meseta resolve`.
    pub const RESOLVE: Self = resolve_flags::TABLE;

    /// Every flag of the program, in table order.
    pub fn flags(&self) -> impl Iterator<Item = &'static Flag> + use<> {
        self.groups.iter().flat_map(|(_, flags)| flags.iter())
    }

    fn find(&self, name: &str) -> Option<&'static Flag> {
        self.flags().find(|flag| flag.name == name || flag.deprecated_names.contains(&name))
    }

    /// Reads flags from the environment and the command line.
    ///
    /// # Errors
    /// An unknown, repeated, malformed, refused or missing flag; an argument that is no flag.
    pub fn parse(
        &self,
        arguments: &[String],
        environment: &BTreeMap<String, String>,
    ) -> Result<Values, FlagError> {
        let mut given: BTreeMap<&'static str, Given> = BTreeMap::new();
        let mut warnings = Vec::new();
        for flag in self.flags() {
            if let Some((variable, text)) = from_environment(flag, environment) {
                given.insert(flag.name, Given { spelled: variable, text, in_environment: true });
            }
        }
        for argument in arguments {
            let (flag, spelled, text) = self.read_argument(argument)?;
            if let Some(name) = deprecated_spelling(flag, &spelled) {
                warnings.push(format!("--{name} is deprecated: use --{}", flag.name));
            }
            let earlier = given.insert(flag.name, Given { spelled, text, in_environment: false });
            if earlier.is_some_and(|earlier| !earlier.in_environment) {
                return Err(FlagError::Repeated { name: flag.name.to_owned() });
            }
        }
        let mut values = Values {
            program: self.program,
            texts: BTreeMap::new(),
            shown: BTreeMap::new(),
            warnings,
        };
        // Help and version are for users who may not know what is required.
        let asks = ["help", "version"].iter().any(|name| {
            given.get(name).is_some_and(|given| matches!(given.text.as_str(), "true" | "1"))
        });
        for flag in self.flags() {
            values.settle(flag, given.get(flag.name), asks)?;
        }
        Ok(values)
    }

    fn read_argument(&self, argument: &str) -> Result<(&'static Flag, String, String), FlagError> {
        let Some(body) = argument.strip_prefix("--").filter(|body| !body.is_empty()) else {
            return Err(FlagError::NotAFlag { argument: place::without_password(argument) });
        };
        let (name, value) = match body.split_once('=') {
            Some((name, value)) => (name, Some(value)),
            None => (body, None),
        };
        let spelled = format!("--{name}");
        if let Some(flag) = self.find(name) {
            return match value {
                Some(value) => Ok((flag, spelled, value.to_owned())),
                None if flag.kind == Kind::Boolean => Ok((flag, spelled, "true".to_owned())),
                None => Err(FlagError::MissingValue {
                    name: name.to_owned(),
                    accepted: flag.kind.accepted(),
                }),
            };
        }
        let negated = name.strip_prefix("no-").and_then(|name| self.find(name));
        match (negated, value) {
            (Some(flag), None) if flag.kind == Kind::Boolean => {
                Ok((flag, spelled, "false".to_owned()))
            }
            (Some(flag), Some(value)) if flag.kind == Kind::Boolean => {
                Err(FlagError::NegatedWithValue {
                    name: flag.name.to_owned(),
                    value: value.to_owned(),
                })
            }
            (Some(flag), _) => Err(FlagError::NotBoolean { name: flag.name.to_owned() }),
            (None, _) => Err(FlagError::Unknown {
                name: name.to_owned(),
                program: self.program,
                nearest: error::nearest(name, self.flags().map(|flag| flag.name)),
            }),
        }
    }
}

/// Where a value came from, for error messages.
#[derive(Clone, Debug)]
struct Given {
    /// `--port` or `MESOS_PORT`.
    spelled: String,
    text: String,
    in_environment: bool,
}

fn from_environment(
    flag: &Flag,
    environment: &BTreeMap<String, String>,
) -> Option<(String, String)> {
    std::iter::once(flag.name).chain(flag.deprecated_names.iter().copied()).find_map(|name| {
        [name.to_uppercase(), name.to_owned()].into_iter().find_map(|name| {
            let variable = format!("MESOS_{name}");
            let text = environment.get(&variable)?.clone();
            Some((variable, text))
        })
    })
}

fn deprecated_spelling<'a>(flag: &Flag, spelled: &'a str) -> Option<&'a str> {
    let name = spelled.trim_start_matches("--");
    let name = name.strip_prefix("no-").unwrap_or(name);
    flag.deprecated_names.contains(&name).then_some(name)
}

/// The values of a program's flags, checked against their kinds.
#[derive(Clone, Debug)]
pub struct Values {
    program: &'static str,
    /// Normalised as `/flags` shows them: `15000ms` has become `15secs`.
    texts: BTreeMap<&'static str, String>,
    /// The values that others may see.
    shown: BTreeMap<&'static str, String>,
    /// Lines for the log: deprecated names, flags without effect.
    warnings: Vec<String>,
}

impl Values {
    fn settle(
        &mut self,
        flag: &'static Flag,
        given: Option<&Given>,
        asks: bool,
    ) -> Result<(), FlagError> {
        let Some(given) = given else {
            if let Some(default) = flag.default {
                self.texts.insert(flag.name, default.to_owned());
            } else if flag.required && !asks {
                return Err(FlagError::Missing {
                    name: flag.name,
                    program: self.program,
                    accepted: flag.kind.accepted(),
                });
            }
            return Ok(());
        };
        let text = kind::fetch(flag.kind, &given.text).map_err(|source| FlagError::File {
            spelled: given.spelled.clone(),
            value: given.text.clone(),
            source,
        })?;
        let Some(text) = flag.kind.normalise(&text) else {
            return Err(FlagError::Malformed {
                spelled: given.spelled.clone(),
                value: text,
                accepted: flag.kind.accepted(),
            });
        };
        let shown = flag.kind.shown(&given.text, &text);
        if flag.default != Some(text.as_str()) {
            match flag.support {
                Support::Full => {}
                Support::Ignored(reason) => {
                    self.warnings.push(format!("{} has no effect: {reason}", given.spelled));
                }
                Support::Refused(instead) => {
                    return Err(FlagError::Refused {
                        spelled: given.spelled.clone(),
                        value: shown,
                        instead,
                    });
                }
            }
        }
        self.shown.insert(flag.name, shown);
        self.texts.insert(flag.name, text);
        Ok(())
    }

    /// Lines to log once logging runs.
    #[must_use]
    pub fn warnings(&self) -> &[String] {
        &self.warnings
    }

    /// Names and values as `/flags` shows them, unset flags left out, sorted by name.
    #[must_use]
    pub fn display(&self) -> Vec<(String, String)> {
        let shown = |(name, text): (&&'static str, &String)| {
            ((*name).to_owned(), self.shown.get(name).unwrap_or(text).clone())
        };
        self.texts.iter().map(shown).collect()
    }

    /// The value of a flag as others may see it: for messages about it.
    #[must_use]
    pub fn shown(&self, name: &str) -> Option<&str> {
        self.shown.get(name).or_else(|| self.texts.get(name)).map(String::as_str)
    }

    /// The text of a flag, `None` when it is neither given nor has a default.
    #[must_use]
    pub fn text(&self, name: &str) -> Option<&str> {
        self.texts.get(name).map(String::as_str)
    }

    /// Whether a boolean flag is set; unset is false.
    #[must_use]
    pub fn boolean(&self, name: &str) -> bool {
        self.text(name) == Some("true")
    }

    /// A whole number.
    #[must_use]
    pub fn integer(&self, name: &str) -> Option<u64> {
        self.text(name)?.parse().ok()
    }

    /// A port.
    #[must_use]
    pub fn port(&self, name: &str) -> Option<u16> {
        self.text(name)?.parse().ok()
    }

    /// A decimal number.
    #[must_use]
    pub fn number(&self, name: &str) -> Option<f64> {
        self.text(name)?.parse().ok()
    }

    /// A duration.
    #[must_use]
    pub fn duration(&self, name: &str) -> Option<Duration> {
        protocol::duration::parse(self.text(name)?).ok()
    }

    /// An amount of bytes.
    #[must_use]
    pub fn byte_size(&self, name: &str) -> Option<u64> {
        protocol::bytes::parse(self.text(name)?).ok()
    }
}
