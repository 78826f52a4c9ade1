//! Regular expressions of offer constraints: the syntax of RE2, bounded in size, matched as a whole.
//!
//! Mesos' frameworks write these for RE2 (`text_matches` in `scheduler.proto`). The library used here has
//! nearly the same language and the same linear time; [`super::re2`] rewrites the rest. Of RE2's
//! syntax only `\C` (a single byte) is refused.

use std::cmp::Ordering;
use std::fmt;

use regex_automata::meta;
use regex_automata::nfa::thompson;
use regex_automata::nfa::thompson::WhichCaptures;

use super::re2;

/// How large a regular expression may become.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ConstraintLimits {
    /// `--offer_constraints_re2_max_mem`: bytes that one compiled expression may take, at
    /// [`INSTRUCTION_BYTES`] for each instruction as in RE2. Beyond it an expression is not even compiled.
    pub memory_max: u64,
    /// `--offer_constraints_re2_max_program_size`: instructions that a compiled expression may have.
    pub program_size_max: usize,
}

impl Default for ConstraintLimits {
    /// The defaults of Mesos' flags (`src/master/constants.hpp`).
    fn default() -> Self {
        Self { memory_max: 4096, program_size_max: 100 }
    }
}

/// What RE2 reckons for one instruction of a compiled expression.
const INSTRUCTION_BYTES: u64 = 8;

/// How much more than that an instruction takes here: what the compiler may use before it gives up.
const COMPILER_BYTES_PER_BYTE: u64 = 16;

/// States that our compiler adds around an expression, and RE2 does not count: the search for a start,
/// and the capture of the whole.
const SURROUNDING_STATES: usize = 4;

/// Why a regular expression is refused, in Mesos' words.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PatternError {
    /// Not in the language, or beyond the memory limit.
    #[error("Failed to construct regex from pattern '{pattern}': {reason}")]
    Invalid {
        /// As given.
        pattern: String,
        /// In the words of RE2.
        reason: String,
    },
    /// Beyond the program size limit.
    #[error(
        "Regex '{pattern}' is too complex: program size of {size} is larger than maximum of {max} allowed"
    )]
    TooComplex {
        /// As given.
        pattern: String,
        /// Its instructions.
        size: usize,
        /// How many it may have.
        max: usize,
    },
}

/// A compiled regular expression.
#[derive(Clone)]
pub(super) struct Pattern {
    text: String,
    regex: meta::Regex,
}

impl Pattern {
    pub(super) fn compile(text: &str, limits: &ConstraintLimits) -> Result<Self, PatternError> {
        let invalid = |reason: String| PatternError::Invalid { pattern: text.to_owned(), reason };
        let too_large = || invalid("pattern too large - compile failed".to_owned());
        let translated = re2::translate(text).map_err(|error| invalid(error.to_string()))?;
        let memory_max = limits.memory_max.saturating_mul(COMPILER_BYTES_PER_BYTE);
        let memory_max = usize::try_from(memory_max).unwrap_or(usize::MAX);
        let counted = thompson::Config::new()
            .which_captures(WhichCaptures::All)
            .nfa_size_limit(Some(memory_max));
        let counted = thompson::Compiler::new().configure(counted).build(&translated);
        let states = match counted {
            Ok(program) => program.states().len(),
            Err(error) if error.size_limit().is_some() => return Err(too_large()),
            Err(_) => return Err(invalid("unexpected error".to_owned())),
        };
        let size = states.saturating_sub(SURROUNDING_STATES);
        if size as u64 > limits.memory_max / INSTRUCTION_BYTES {
            return Err(too_large());
        }
        if size > limits.program_size_max {
            let (pattern, max) = (text.to_owned(), limits.program_size_max);
            return Err(PatternError::TooComplex { pattern, size, max });
        }
        let config = meta::Config::new().hybrid(false).dfa(false);
        let whole = format!(r"\A(?:{translated})\z");
        let regex = meta::Builder::new().configure(config).build(&whole);
        let regex = regex.map_err(|_| invalid("unexpected error".to_owned()))?;
        Ok(Self { text: text.to_owned(), regex })
    }

    /// Whether all of `text` is in the expression's language.
    pub(super) fn matches(&self, text: &str) -> bool {
        self.regex.is_match(text)
    }
}

impl fmt::Debug for Pattern {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "Pattern({:?})", self.text)
    }
}

/// The same text is the same expression.
impl PartialEq for Pattern {
    fn eq(&self, other: &Self) -> bool {
        self.text == other.text
    }
}

impl Eq for Pattern {}

impl PartialOrd for Pattern {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Pattern {
    fn cmp(&self, other: &Self) -> Ordering {
        self.text.cmp(&other.text)
    }
}
