//! The pages made from a flag table: `--help` for a terminal, Markdown for the documentation.

use std::fmt::Write as _;

use super::{Flag, FlagTable, Kind, Support};

/// The column at which help texts begin, and the width they are wrapped to.
const HELP_COLUMN: usize = 6;
const HELP_WIDTH: usize = 92;

/// The text of `--help`.
#[must_use]
pub fn help(table: &FlagTable) -> String {
    let mut page = format!("{}\n\nUsage: {}\n", table.summary, table.usage);
    for (group, flags) in table.groups {
        let _ = write!(page, "\n{group}:\n");
        for flag in *flags {
            let _ = writeln!(page, "  {}", spelling(flag));
            for line in wrap(&description(flag), HELP_WIDTH - HELP_COLUMN) {
                let _ = writeln!(page, "{:HELP_COLUMN$}{line}", "");
            }
        }
    }
    page.push_str(
        "\nEach flag may also stand in the environment as MESOS_NAME (the command line wins), and\n\
         any value may be file:///path to use the content of that file.\n",
    );
    page
}

/// The documentation page of a program's flags.
#[must_use]
pub fn markdown(table: &FlagTable) -> String {
    let mut page = format!(
        "# Flags of `meseta {}`\n\n{}\n\nMade from the flag table by `cargo xtask docs`. Usage: \
         `{}`. Each flag may also stand in the environment as `MESOS_NAME`; the command line \
         wins. Any value may be `file:///path` to use the content of that file.\n",
        table.program, table.summary, table.usage
    );
    for (group, flags) in table.groups {
        let _ = write!(page, "\n## {group}\n\n| flag | default | meaning |\n|---|---|---|\n");
        for flag in *flags {
            let default = flag.default.map(|text| format!("`{text}`")).unwrap_or_default();
            let description = description_without_default(flag).replace('|', "\\|");
            let _ = writeln!(page, "| `{}` | {default} | {description} |", spelling(flag));
        }
    }
    page
}

fn spelling(flag: &Flag) -> String {
    match flag.kind {
        Kind::Boolean => format!("--[no-]{}", flag.name),
        Kind::Path => format!("--{}=PATH", flag.name),
        Kind::Port => format!("--{}=PORT", flag.name),
        Kind::Integer(_) | Kind::Number => format!("--{}=NUMBER", flag.name),
        Kind::Duration | Kind::DurationWithin(..) => format!("--{}=DURATION", flag.name),
        Kind::Bytes => format!("--{}=BYTES", flag.name),
        Kind::Percent => format!("--{}=PERCENT", flag.name),
        Kind::Rate => format!("--{}=RATE", flag.name),
        Kind::Address => format!("--{}=ADDRESS", flag.name),
        Kind::OneOf(words) => format!("--{}={}", flag.name, words.join("|")),
        Kind::Secret => format!("--{}=FILE", flag.name),
        Kind::Json => format!("--{}=JSON", flag.name),
        Kind::Place => format!("--{}=PLACE", flag.name),
        Kind::Text => format!("--{}=VALUE", flag.name),
    }
}

fn description(flag: &Flag) -> String {
    let mut text = description_without_default(flag);
    if let Some(default) = flag.default.filter(|text| !text.is_empty()) {
        let _ = write!(text, " (default: {default})");
    }
    text
}

fn description_without_default(flag: &Flag) -> String {
    let mut text = flag.help.to_owned();
    if flag.required {
        text.push_str(" Required.");
    }
    if !flag.deprecated_names.is_empty() {
        let _ = write!(text, " Formerly --{}.", flag.deprecated_names.join(", --"));
    }
    match flag.support {
        Support::Full => {}
        Support::Ignored(reason) => {
            let _ = write!(text, " No effect: {reason}.");
        }
        Support::Refused(instead) => {
            let _ = write!(text, " Not supported: {instead}.");
        }
    }
    text
}

fn wrap(text: &str, width: usize) -> Vec<String> {
    let mut lines = vec![String::new()];
    for word in text.split_whitespace() {
        let line = lines.last_mut().filter(|line| line.len() + 1 + word.len() <= width);
        match line {
            Some(line) if line.is_empty() => line.push_str(word),
            Some(line) => {
                line.push(' ');
                line.push_str(word);
            }
            None => lines.push(word.to_owned()),
        }
    }
    lines
}
