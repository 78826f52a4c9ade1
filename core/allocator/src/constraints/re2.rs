//! The syntax of RE2 (<https://github.com/google/re2/wiki/Syntax>), rewritten for `regex-automata`.
//!
//! The differences that matter: `\d`, `\s`, `\w` and `\b` mean ASCII; `[` and `&&` inside of a class and a
//! `{` that begins no repetition are ordinary characters; there are `\Q…\E` and octal escapes; and less
//! is allowed after `(?`. Everything doubtful leaves here as `\x{…}`, so that it cannot mean something else.

use std::collections::BTreeSet;

use regex_automata::util::syntax;

/// The most that a repetition may ask for.
const REPETITION_MAX: u32 = 1000;

/// Why an expression is refused, in the words of RE2.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum SyntaxError {
    #[error("missing ): {0}")]
    MissingParenthesis(String),
    #[error("unexpected ): {0}")]
    UnexpectedParenthesis(String),
    #[error("missing ]: {0}")]
    MissingBracket(String),
    #[error("invalid character class range: {0}")]
    ClassRange(String),
    #[error("invalid escape sequence: {0}")]
    Escape(String),
    #[error("trailing \\")]
    TrailingBackslash,
    #[error("no argument for repetition operator: {0}")]
    RepetitionArgument(String),
    #[error("invalid repetition size: {0}")]
    RepetitionSize(String),
    #[error("bad repetition operator: {0}")]
    RepetitionOperator(String),
    #[error("invalid perl operator: {0}")]
    PerlOperator(String),
    #[error("invalid named capture group: {0}")]
    NamedGroup(String),
}

/// Rewrites an expression.
pub(super) fn translate(pattern: &str) -> Result<String, SyntaxError> {
    let mut translator = Translator {
        pattern,
        position: 0,
        output: String::with_capacity(pattern.len() + 16),
        open_groups: 0,
        group_names: BTreeSet::new(),
        last: Last::Nothing,
    };
    while let Some(character) = translator.peek() {
        translator.element(character)?;
    }
    if translator.open_groups > 0 {
        return Err(SyntaxError::MissingParenthesis(pattern.to_owned()));
    }
    Ok(translator.output)
}

/// What stands before the current position, as far as a repetition is concerned.
#[derive(Clone, Copy, Debug)]
enum Last {
    /// Nothing that could be repeated.
    Nothing,
    Atom,
    /// A repetition that began at this position.
    Repetition(usize),
}

#[derive(Debug)]
struct Translator<'a> {
    pattern: &'a str,
    position: usize,
    output: String,
    open_groups: usize,
    group_names: BTreeSet<&'a str>,
    last: Last,
}

impl<'a> Translator<'a> {
    fn rest(&self) -> &'a str {
        &self.pattern[self.position..]
    }

    fn peek(&self) -> Option<char> {
        self.rest().chars().next()
    }

    fn next(&mut self) -> Option<char> {
        let character = self.peek()?;
        self.position += character.len_utf8();
        Some(character)
    }

    fn from(&self, start: usize) -> String {
        self.pattern[start..self.position].to_owned()
    }

    fn element(&mut self, character: char) -> Result<(), SyntaxError> {
        match character {
            '(' => return self.open_group(),
            ')' => {
                if self.open_groups == 0 {
                    return Err(SyntaxError::UnexpectedParenthesis(self.pattern.to_owned()));
                }
                self.open_groups -= 1;
                self.output.push(')');
            }
            '*' | '+' | '?' => return self.repetition(character),
            '{' if self.repetition_end().is_some() => return self.counted_repetition(),
            '[' => return self.class(),
            '\\' => return self.escape(),
            '|' => {
                self.output.push('|');
                self.position += 1;
                self.last = Last::Nothing;
                return Ok(());
            }
            '.' | '^' | '$' => self.output.push(character),
            other => push_literal(&mut self.output, other),
        }
        self.position += character.len_utf8();
        self.last = Last::Atom;
        Ok(())
    }

    fn open_group(&mut self) -> Result<(), SyntaxError> {
        let start = self.position;
        self.position += 1;
        self.last = Last::Nothing;
        let rest = self.rest();
        if !rest.starts_with('?') {
            self.output.push('(');
            self.open_groups += 1;
            return Ok(());
        }
        if let Some(named) = rest.strip_prefix("?P<") {
            let Some((name, _)) = named.split_once('>') else {
                return Err(SyntaxError::NamedGroup(self.pattern[start..].to_owned()));
            };
            self.position += 3 + name.len() + 1;
            let is_word = |it: char| it.is_ascii_alphanumeric() || it == '_';
            let is_new =
                !name.is_empty() && name.chars().all(is_word) && self.group_names.insert(name);
            if !is_new {
                return Err(SyntaxError::NamedGroup(self.from(start)));
            }
            // What is captured is not used, and the name may begin with a digit.
            self.output.push('(');
            self.open_groups += 1;
            return Ok(());
        }
        self.position += 1;
        self.flags(start)
    }

    /// What follows `(?`.
    fn flags(&mut self, start: usize) -> Result<(), SyntaxError> {
        let (mut is_negated, mut has_flags) = (false, false);
        loop {
            match self.next() {
                None => return Err(SyntaxError::MissingParenthesis(self.pattern.to_owned())),
                Some('i' | 'm' | 's' | 'U') => has_flags = true,
                Some('-') if !is_negated => (is_negated, has_flags) = (true, false),
                Some(':') if has_flags || !is_negated => {
                    self.open_groups += 1;
                    break;
                }
                Some(')') if has_flags => break,
                Some(_) => return Err(SyntaxError::PerlOperator(self.from(start))),
            }
        }
        let flags = &self.pattern[start..self.position];
        self.output.push_str(flags);
        Ok(())
    }

    fn repetition(&mut self, operator: char) -> Result<(), SyntaxError> {
        let start = self.position;
        self.position += 1;
        self.repeat(start)?;
        self.output.push(operator);
        self.laziness();
        Ok(())
    }

    /// Where the repetition in braces at the current position ends, if it is one.
    fn repetition_end(&self) -> Option<usize> {
        let inside = &self.rest()[1..];
        let end = inside.find('}')?;
        let (low, high) = inside[..end].split_once(',').unwrap_or((&inside[..end], ""));
        let is_number = |text: &str| text.chars().all(|it| it.is_ascii_digit());
        (!low.is_empty() && is_number(low) && is_number(high)).then_some(self.position + end + 2)
    }

    fn counted_repetition(&mut self) -> Result<(), SyntaxError> {
        let start = self.position;
        self.position = self.repetition_end().unwrap_or(start + 1);
        self.repeat(start)?;
        let text = self.from(start);
        let inside = text.trim_matches(['{', '}']);
        let (low, high) = inside.split_once(',').unwrap_or((inside, inside));
        let number = |text: &str| text.parse().ok().filter(|&it: &u32| it <= REPETITION_MAX);
        let is_valid = match (number(low), high.is_empty(), number(high)) {
            (Some(_), true, _) => true,
            (Some(low), false, Some(high)) => low <= high,
            (None, _, _) | (_, false, None) => false,
        };
        if !is_valid {
            return Err(SyntaxError::RepetitionSize(text));
        }
        self.output.push_str(&text);
        self.laziness();
        Ok(())
    }

    /// Checks that there is something for the repetition from `start` on to repeat.
    fn repeat(&mut self, start: usize) -> Result<(), SyntaxError> {
        match self.last {
            Last::Nothing => return Err(SyntaxError::RepetitionArgument(self.from(start))),
            Last::Repetition(first) => {
                return Err(SyntaxError::RepetitionOperator(self.from(first)));
            }
            Last::Atom => self.last = Last::Repetition(start),
        }
        Ok(())
    }

    fn laziness(&mut self) {
        if self.peek() == Some('?') {
            self.position += 1;
            self.output.push('?');
        }
    }

    fn escape(&mut self) -> Result<(), SyntaxError> {
        let rest = self.rest();
        if let Some(quoted) = rest.strip_prefix(r"\Q") {
            let (literal, end) = match quoted.find(r"\E") {
                Some(end) => (&quoted[..end], end + 4),
                None => (quoted, rest.len()),
            };
            for character in literal.chars() {
                push_literal(&mut self.output, character);
                self.last = Last::Atom;
            }
            self.position += end;
            return Ok(());
        }
        self.last = Last::Atom;
        let assertion = match rest[1..].chars().next() {
            Some('b') => r"(?-u:\b)",
            Some('B') => r"(?-u:\B)",
            Some('A') => r"\A",
            Some('z') => r"\z",
            Some(_) | None => {
                if let Some(class) = self.class_escape()? {
                    self.output.push('[');
                    self.output.push_str(&class);
                    self.output.push(']');
                } else {
                    let character = self.character_escape()?;
                    push_literal(&mut self.output, character);
                }
                return Ok(());
            }
        };
        self.position += 2;
        self.output.push_str(assertion);
        Ok(())
    }

    /// `\d` and the like, as what stands between the brackets of a class.
    fn class_escape(&mut self) -> Result<Option<String>, SyntaxError> {
        let start = self.position;
        let class = match self.rest()[1..].chars().next() {
            Some('d') => "0-9",
            Some('D') => "[^0-9]",
            Some('s') => r"\t\n\x0C\r\x20",
            Some('S') => r"[^\t\n\x0C\r\x20]",
            Some('w') => "0-9A-Za-z_",
            Some('W') => "[^0-9A-Za-z_]",
            Some('p' | 'P') => return self.property(start).map(Some),
            Some(_) | None => return Ok(None),
        };
        self.position += 2;
        Ok(Some(class.to_owned()))
    }

    /// `\pL`, `\p{Greek}`, `\p{^Greek}`.
    fn property(&mut self, start: usize) -> Result<String, SyntaxError> {
        self.position += 1;
        let mut is_negated = self.next() == Some('P');
        let name = match self.next() {
            Some('{') => {
                let Some((name, _)) = self.rest().split_once('}') else {
                    let rest = self.pattern[start..].to_owned();
                    return Err(SyntaxError::ClassRange(rest));
                };
                self.position += name.len() + 1;
                name.to_owned()
            }
            Some(letter) => letter.to_string(),
            None => return Err(SyntaxError::ClassRange(self.from(start))),
        };
        let name = match name.strip_prefix('^') {
            Some(name) => {
                is_negated = !is_negated;
                name
            }
            None => &name,
        };
        let class = format!(r"\{}{{{name}}}", if is_negated { 'P' } else { 'p' });
        let is_word = name.chars().all(|it| it.is_ascii_alphanumeric() || it == '_');
        if !is_word || syntax::parse(&class).is_err() {
            return Err(SyntaxError::ClassRange(self.from(start)));
        }
        Ok(class)
    }

    /// An escape that stands for one character.
    fn character_escape(&mut self) -> Result<char, SyntaxError> {
        let start = self.position;
        self.position += 1;
        let Some(character) = self.next() else { return Err(SyntaxError::TrailingBackslash) };
        let octal = |it: Option<char>| it.and_then(|it| it.to_digit(8));
        Ok(match character {
            'a' => '\x07',
            'f' => '\x0c',
            'n' => '\n',
            'r' => '\r',
            't' => '\t',
            'v' => '\x0b',
            'x' => return self.hexadecimal(start),
            // One digit alone would refer to a group, which RE2 does not have.
            '0' | '1'..='7' if character == '0' || octal(self.peek()).is_some() => {
                let mut code = character.to_digit(8).unwrap_or_default();
                for _ in 0..2 {
                    let Some(digit) = octal(self.peek()) else { break };
                    code = code * 8 + digit;
                    self.position += 1;
                }
                char::from_u32(code).ok_or_else(|| SyntaxError::Escape(self.from(start)))?
            }
            '_' => return Err(SyntaxError::Escape(self.from(start))),
            other if other.is_ascii() && !other.is_ascii_alphanumeric() => other,
            _ => return Err(SyntaxError::Escape(self.from(start))),
        })
    }

    fn hexadecimal(&mut self, start: usize) -> Result<char, SyntaxError> {
        let rest = self.rest();
        let (digits, end) = match rest.strip_prefix('{') {
            Some(inside) => {
                let digits = inside.split('}').next().unwrap_or_default();
                (digits, digits.len() + 2)
            }
            None => (rest.get(..2).unwrap_or_default(), 2),
        };
        let is_valid = !digits.is_empty() && digits.chars().all(|it| it.is_ascii_hexdigit());
        let code = is_valid.then(|| u32::from_str_radix(digits, 16).ok()).flatten();
        match code.and_then(char::from_u32) {
            Some(character) if end <= rest.len() => {
                self.position += end;
                Ok(character)
            }
            Some(_) | None => Err(SyntaxError::Escape(self.pattern[start..].to_owned())),
        }
    }

    fn class(&mut self) -> Result<(), SyntaxError> {
        let start = self.position;
        let missing = || SyntaxError::MissingBracket(self.pattern[start..].to_owned());
        let missing = missing();
        self.position += 1;
        self.output.push('[');
        if self.peek() == Some('^') {
            self.position += 1;
            self.output.push('^');
        }
        let mut is_first = true;
        loop {
            match self.peek() {
                None => return Err(missing),
                Some(']') if !is_first => break,
                Some('[') if self.rest().starts_with("[:") => self.named_class()?,
                Some('\\') => match self.class_escape()? {
                    Some(class) => self.output.push_str(&class),
                    None => self.range(&missing)?,
                },
                Some(_) => self.range(&missing)?,
            }
            is_first = false;
        }
        self.position += 1;
        self.output.push(']');
        self.last = Last::Atom;
        Ok(())
    }

    /// `[:alpha:]` inside of a class; without its end, an ordinary bracket.
    fn named_class(&mut self) -> Result<(), SyntaxError> {
        const NAMES: [&str; 14] = [
            "alnum", "alpha", "ascii", "blank", "cntrl", "digit", "graph", "lower", "print",
            "punct", "space", "upper", "word", "xdigit",
        ];
        let rest = self.rest();
        let Some(end) = rest[2..].find(":]") else {
            push_literal(&mut self.output, '[');
            self.position += 1;
            return Ok(());
        };
        let (name, whole) = (&rest[2..end + 2], &rest[..end + 4]);
        if !NAMES.contains(&name.strip_prefix('^').unwrap_or(name)) {
            return Err(SyntaxError::ClassRange(whole.to_owned()));
        }
        self.output.push_str(whole);
        self.position += whole.len();
        Ok(())
    }

    /// A character of a class, or two with a `-` between.
    fn range(&mut self, missing: &SyntaxError) -> Result<(), SyntaxError> {
        let start = self.position;
        let low = self.class_character(missing)?;
        let rest = self.rest();
        push_literal(&mut self.output, low);
        if rest.starts_with('-') && !rest.starts_with("-]") && rest.len() > 1 {
            self.position += 1;
            let high = self.class_character(missing)?;
            if high < low {
                return Err(SyntaxError::ClassRange(self.from(start)));
            }
            self.output.push('-');
            push_literal(&mut self.output, high);
        }
        Ok(())
    }

    fn class_character(&mut self, missing: &SyntaxError) -> Result<char, SyntaxError> {
        match self.peek() {
            Some('\\') => self.character_escape(),
            Some(character) => {
                self.position += character.len_utf8();
                Ok(character)
            }
            None => Err(missing.clone()),
        }
    }
}

/// A character as itself, whatever it means elsewhere.
fn push_literal(output: &mut String, character: char) {
    if character.is_alphanumeric() {
        output.push(character);
    } else {
        output.push_str(&format!(r"\x{{{:X}}}", u32::from(character)));
    }
}
