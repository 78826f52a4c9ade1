use std::collections::BTreeMap;
use std::fmt::Write as _;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value as Json;

use crate::message::{FieldInfo, Names};
use crate::wire::Value;

/// Why a text is not the JSON of a message. The texts are those Mesos' users know.
#[derive(Debug, thiserror::Error)]
pub enum JsonError {
    /// Not JSON at all.
    #[error("syntax error at line {} column {}", .0.line(), .0.column())]
    Syntax(#[source] serde_json::Error),
    /// JSON, but no object.
    #[error("Expecting a JSON object")]
    NotAnObject,
    /// A member has the wrong kind or value.
    #[error("{}", describe(kind, path))]
    Field {
        /// Where, such as `task_infos[3].resources[0].name`.
        path: String,
        /// What is wrong.
        kind: JsonKind,
    },
    /// Required fields are missing; all of them, each with its path.
    #[error("Missing required fields: {}", .0.join(", "))]
    Missing(Vec<String>),
}

/// What is wrong with a member of an object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum JsonKind {
    /// A kind of JSON value (`number`, `object`, ...) the field cannot hold.
    Unexpected(&'static str),
    /// A string that should hold a number.
    Number(String),
    /// A string that should hold a boolean.
    Boolean(String),
    /// An integer that does not fit the field.
    Range,
    /// A string that should hold base64.
    Base64,
    /// A text that is no value of the enum of a required field.
    Enum(String),
}

fn describe(kind: &JsonKind, path: &str) -> String {
    match kind {
        JsonKind::Unexpected(what) => format!("Not expecting a JSON {what} for field '{path}'"),
        JsonKind::Number(text) => {
            format!("Failed to parse '{text}' as a JSON number for field '{path}'")
        }
        JsonKind::Boolean(text) => {
            format!("Failed to parse '{text}' as a JSON boolean for field '{path}'")
        }
        JsonKind::Range => format!("The JSON number is out of range for field '{path}'"),
        JsonKind::Base64 => format!("Failed to base64 decode bytes field '{path}'"),
        JsonKind::Enum(text) => format!("Failed to find enum for '{text}' of field '{path}'"),
    }
}

/// Parses JSON text.
///
/// # Errors
/// Text that is not JSON, or nests deeper than 128 levels.
pub fn parse(text: &[u8]) -> Result<Json, JsonError> {
    serde_json::from_slice(text).map_err(JsonError::Syntax)
}

/// What is remembered while the members of one JSON object come in.
#[derive(Debug)]
pub struct ObjectReader<'a> {
    names: Names,
    /// The required fields seen so far.
    seen: u64,
    missing: &'a mut Vec<String>,
    /// How many were missing before this object: its own come before those of its members.
    missing_before: usize,
    path: &'a mut String,
    /// The length of `path` for this object itself.
    base: usize,
}

impl<'a> ObjectReader<'a> {
    pub(crate) fn new(names: Names, missing: &'a mut Vec<String>, path: &'a mut String) -> Self {
        let missing_before = missing.len();
        let base = path.len();
        Self { names, seen: 0, missing, missing_before, path, base }
    }

    pub(crate) fn find<'f>(&self, fields: &'f [FieldInfo], name: &str) -> Option<&'f FieldInfo> {
        fields.iter().find(|field| !name.is_empty() && field.name(self.names) == name)
    }

    pub(crate) fn enter(&mut self, name: &str) {
        if !self.path.is_empty() {
            self.path.push('.');
        }
        self.path.push_str(name);
    }

    pub(crate) fn leave(&mut self) {
        self.path.truncate(self.base);
    }

    pub(crate) fn finish(self, fields: &[FieldInfo], required: u64) {
        let absent = required & !self.seen;
        let separator = if self.path.is_empty() { "" } else { "." };
        let own = fields.iter().filter(|field| field.required & absent != 0);
        for (position, field) in (self.missing_before..).zip(own) {
            let path = format!("{}{separator}{}", self.path, field.name(self.names));
            self.missing.insert(position, path);
        }
    }

    pub(crate) fn nested(&mut self) -> (Names, &mut Vec<String>, &mut String) {
        (self.names, self.missing, self.path)
    }

    pub(crate) fn error(&self, kind: JsonKind) -> JsonError {
        JsonError::Field { path: self.path.clone(), kind }
    }

    pub(crate) fn unexpected(&self, value: &Json) -> JsonError {
        self.error(JsonKind::Unexpected(match value {
            Json::Null => "null",
            Json::Bool(_) => "boolean",
            Json::Number(_) => "number",
            Json::String(_) => "string",
            Json::Array(_) => "array",
            Json::Object(_) => "object",
        }))
    }

    pub(crate) fn enum_text<'v>(&self, value: &'v Json) -> Result<(Names, &'v str), JsonError> {
        match value.as_str() {
            Some(text) => Ok((self.names, text)),
            None => Err(self.unexpected(value)),
        }
    }

    pub(crate) fn required<T: Value>(
        &mut self,
        target: &mut T,
        bit: u64,
        value: &Json,
    ) -> Result<(), JsonError> {
        // Only enums drop a value, and only texts.
        if !target.read_json(value, self)? {
            let text = value.as_str().unwrap_or_default().to_owned();
            return Err(self.error(JsonKind::Enum(text)));
        }
        self.seen |= bit;
        Ok(())
    }

    pub(crate) fn optional<T: Value>(
        &mut self,
        target: &mut Option<T>,
        value: &Json,
    ) -> Result<(), JsonError> {
        let mut read = T::default();
        if read.read_json(value, self)? {
            *target = Some(read);
        }
        Ok(())
    }

    pub(crate) fn optional_box<T: Value>(
        &mut self,
        target: &mut Option<Box<T>>,
        value: &Json,
    ) -> Result<(), JsonError> {
        let mut read = Box::<T>::default();
        if T::read_json(&mut read, value, self)? {
            *target = Some(read);
        }
        Ok(())
    }

    /// An array, or, as Mesos allows, a single value without brackets.
    pub(crate) fn repeated<T: Value>(
        &mut self,
        target: &mut Vec<T>,
        value: &Json,
    ) -> Result<(), JsonError> {
        let values = value.as_array().map_or(std::slice::from_ref(value), Vec::as_slice);
        let length = self.path.len();
        for value in values.iter().filter(|value| !value.is_null()) {
            // Writing to a string cannot fail.
            let _ = write!(self.path, "[{}]", target.len());
            let mut read = T::default();
            if read.read_json(value, self)? {
                target.push(read);
            }
            self.path.truncate(length);
        }
        Ok(())
    }

    pub(crate) fn map<T: Value>(
        &mut self,
        target: &mut BTreeMap<String, T>,
        value: &Json,
    ) -> Result<(), JsonError> {
        let Json::Object(entries) = value else { return Err(self.unexpected(value)) };
        let length = self.path.len();
        for (key, value) in entries.iter().filter(|(_, value)| !value.is_null()) {
            // Writing to a string cannot fail.
            let _ = write!(self.path, "[{key}]");
            let mut read = T::default();
            if read.read_json(value, self)? {
                target.insert(key.clone(), read);
            }
            self.path.truncate(length);
        }
        Ok(())
    }
}

/// An integer, or a string holding one. Mesos cuts off the fraction of `1.5`.
pub(crate) fn integer(value: &Json, reader: &ObjectReader<'_>) -> Result<i128, JsonError> {
    let number = number(value, reader)?;
    if let Some(number) = number.as_i64() {
        return Ok(number.into());
    }
    if let Some(number) = number.as_u64() {
        return Ok(number.into());
    }
    #[expect(clippy::cast_possible_truncation, reason = "the cast saturates; the caller checks")]
    number.as_f64().map(|number| number as i128).ok_or_else(|| reader.error(JsonKind::Range))
}

/// A number, a string holding one, or the text `Infinity` or `-Infinity`.
pub(crate) fn double(value: &Json, reader: &ObjectReader<'_>) -> Result<f64, JsonError> {
    match value.as_str() {
        Some("Infinity") => Ok(f64::INFINITY),
        Some("-Infinity") => Ok(f64::NEG_INFINITY),
        _ => number(value, reader)?.as_f64().ok_or_else(|| reader.error(JsonKind::Range)),
    }
}

fn number(value: &Json, reader: &ObjectReader<'_>) -> Result<serde_json::Number, JsonError> {
    match (value, value.as_str()) {
        (Json::Number(number), _) => Ok(number.clone()),
        (_, Some(text)) => {
            serde_json::from_str(text).map_err(|_| reader.error(JsonKind::Number(text.to_owned())))
        }
        (_, None) => Err(reader.unexpected(value)),
    }
}

/// The bytes of standard base64 with padding, or `None`.
pub(crate) fn read_base64(text: &str) -> Option<Vec<u8>> {
    STANDARD.decode(text).ok()
}
