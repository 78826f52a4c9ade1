//! What can be wrong with a flag, and how the user is told.

use std::io;

/// Why the flags of a program cannot be used. Each text names the flag, the value and what is
/// accepted.
#[derive(Debug, thiserror::Error)]
pub enum FlagError {
    /// No flag of the program has this name.
    #[error("unknown flag --{name}{}; `meseta {program} --help` lists what is accepted", suggestion(.nearest.as_deref()))]
    Unknown {
        /// The name as typed.
        name: String,
        /// The program.
        program: &'static str,
        /// The known name that looks most like it.
        nearest: Option<String>,
    },
    /// The same flag stands twice on the command line.
    #[error("flag --{name} is given more than once; give it once")]
    Repeated {
        /// The flag's name.
        name: String,
    },
    /// An argument does not begin with two dashes.
    #[error("unexpected argument '{argument}': flags are written --name=value")]
    NotAFlag {
        /// The argument.
        argument: String,
    },
    /// A flag that is not boolean stands without a value.
    #[error("flag --{name} needs a value (--{name}=VALUE): {accepted}")]
    MissingValue {
        /// The flag's name.
        name: String,
        /// What is accepted.
        accepted: String,
    },
    /// `--no-name=value`.
    #[error("flag --no-{name}={value} mixes two forms: write --no-{name} or --{name}={value}")]
    NegatedWithValue {
        /// The flag's name.
        name: String,
        /// The value.
        value: String,
    },
    /// `--no-name` for a flag that takes a value.
    #[error("flag --no-{name} is not accepted: --{name} takes a value and is not boolean")]
    NotBoolean {
        /// The flag's name.
        name: String,
    },
    /// The value does not fit the flag's kind.
    #[error("flag {spelled}={value} is not accepted: expected {accepted}")]
    Malformed {
        /// The flag as typed, or the environment variable.
        spelled: String,
        /// The value.
        value: String,
        /// What is accepted.
        accepted: String,
    },
    /// The flag is known and its feature is not there.
    #[error("flag {spelled}={value} is not supported: {instead}")]
    Refused {
        /// The flag as typed, or the environment variable.
        spelled: String,
        /// The value.
        value: String,
        /// What to do instead.
        instead: &'static str,
    },
    /// A flag without default is not given.
    #[error("flag --{name} is required by meseta {program}: {accepted}")]
    Missing {
        /// The flag's name.
        name: &'static str,
        /// The program.
        program: &'static str,
        /// What is accepted.
        accepted: String,
    },
    /// A `file://` value names a file that cannot be read.
    #[error("flag {spelled}={value}: the file cannot be read")]
    File {
        /// The flag as typed, or the environment variable.
        spelled: String,
        /// The value.
        value: String,
        /// Why.
        source: io::Error,
    },
}

fn suggestion(nearest: Option<&str>) -> String {
    nearest.map(|name| format!(" (did you mean --{name}?)")).unwrap_or_default()
}

/// The name closest to `typed`, when it is close enough to be a slip of the finger.
pub(super) fn nearest(typed: &str, names: impl Iterator<Item = &'static str>) -> Option<String> {
    let distance_max = (typed.len() / 3).max(2).min(typed.len().saturating_sub(1));
    names
        .map(|name| (edit_distance(typed, name), name))
        .filter(|(distance, _)| *distance <= distance_max)
        .min()
        .map(|(_, name)| name.to_owned())
}

/// The number of single-letter changes between two names (Levenshtein).
fn edit_distance(left: &str, right: &str) -> usize {
    let right: Vec<char> = right.chars().collect();
    let mut row: Vec<usize> = (0..=right.len()).collect();
    for (i, left_char) in left.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, right_char) in right.iter().enumerate() {
            let substitution = diagonal + usize::from(left_char != *right_char);
            diagonal = row[j + 1];
            row[j + 1] = substitution.min(row[j] + 1).min(row[j + 1] + 1);
        }
    }
    row[right.len()]
}
