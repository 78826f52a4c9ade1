//! Writes one enum.

use std::fmt::Write as _;

use crate::generate::model::{Enum, EnumValue};
use crate::generate::names;

/// The enum, its numbers and its names.
pub fn render(enumeration: &Enum) -> String {
    let name = &enumeration.place.name;
    let mut text = String::from("\n");
    let _ = writeln!(text, "/// `{}`.", enumeration.full_name);
    if let Some(v0_name) = &enumeration.v0_name
        && *v0_name != enumeration.full_name.replacen("mesos.v1", "mesos", 1)
    {
        let _ = writeln!(text, "///\n/// In v0 `{v0_name}`.");
    }
    text.push_str(
        "#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]\n\
         #[repr(i32)]\n",
    );
    let _ = writeln!(text, "pub enum {name} {{");
    for (index, value) in enumeration.values.iter().enumerate() {
        let default = if index == 0 { "#[default]\n" } else { "" };
        let variant = names::variant(value.name());
        let _ = writeln!(text, "{default}/// `{}`\n{variant} = {},", value.name(), value.number);
    }
    text.push_str("}\n\n");
    let _ = writeln!(text, "impl {name} {{");
    functions(enumeration, &mut text);
    let _ = writeln!(text, "}}\n\ncrate::wire::enumeration!({name});");
    text
}

fn functions(enumeration: &Enum, text: &mut String) {
    text.push_str(
        "/// All values, in the order of the definition.\npub const ALL: &'static [Self] = &[",
    );
    for value in &enumeration.values {
        let _ = write!(text, "Self::{},", names::variant(value.name()));
    }
    text.push_str("];\n\n/// The number on the wire.\n#[must_use]\npub const fn number(self) -> i32 {\nself as i32\n}\n\n");
    text.push_str(
        "/// The value with this number.\n#[must_use]\n\
         pub const fn from_number(number: i32) -> Option<Self> {\nSome(match number {\n",
    );
    for value in &enumeration.values {
        let _ = writeln!(text, "{} => Self::{},", value.number, names::variant(value.name()));
    }
    text.push_str("_ => return None,\n})\n}\n\n");
    text.push_str(
        "/// The name in the definition.\n#[must_use]\n\
         pub const fn name(self, names: crate::Names) -> &'static str {\n",
    );
    if enumeration.values.iter().all(|value| both(value).0 == both(value).1) {
        text.push_str("let _ = names;\n");
    }
    text.push_str("match self {\n");
    for value in &enumeration.values {
        let variant = names::variant(value.name());
        let _ = match both(value) {
            (v0, v1) if v0 == v1 => writeln!(text, "Self::{variant} => {v1:?},"),
            (v0, v1) => writeln!(
                text,
                "Self::{variant} => match names {{ crate::Names::V0 => {v0:?}, \
                 crate::Names::V1 => {v1:?} }},"
            ),
        };
    }
    text.push_str("}\n}\n\n");
    text.push_str(
        "/// The value with this name.\n#[must_use]\n\
         pub fn from_name(text: &str, names: crate::Names) -> Option<Self> {\n\
         Self::ALL.iter().copied().find(|value| value.name(names) == text)\n}\n",
    );
}

/// A value one version does not have is written with the other's name: no reader could know it
/// better.
fn both(value: &EnumValue) -> (&str, &str) {
    (value.v0.as_deref().unwrap_or(value.name()), value.name())
}
