use std::collections::BTreeMap;
use std::io::Write as _;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use crate::message::Names;
use crate::wire::Value;

/// Writes the members of one JSON object.
#[derive(Debug)]
pub struct ObjectWriter<'a> {
    output: &'a mut Vec<u8>,
    names: Names,
    first: bool,
}

pub(crate) fn write_object(
    output: &mut Vec<u8>,
    names: Names,
    members: impl FnOnce(&mut ObjectWriter<'_>),
) {
    output.push(b'{');
    members(&mut ObjectWriter { output, names, first: true });
    output.push(b'}');
}

impl ObjectWriter<'_> {
    /// The name of the table in use.
    pub(crate) fn pick(&self, v0: &'static str, v1: &'static str) -> &'static str {
        match self.names {
            Names::V0 => v0,
            Names::V1 => v1,
        }
    }

    /// Starts a member. Names come from definitions and need no escaping. An empty name stands for
    /// a field the table in use does not have.
    fn name(&mut self, name: &'static str) -> bool {
        if name.is_empty() {
            return false;
        }
        self.output.extend_from_slice(if self.first { b"\"" } else { b",\"" });
        self.first = false;
        self.output.extend_from_slice(name.as_bytes());
        self.output.extend_from_slice(b"\":");
        true
    }

    pub(crate) fn required<T: Value>(&mut self, name: &'static str, value: &T) {
        if self.name(name) {
            value.write_json(self.names, self.output);
        }
    }

    pub(crate) fn optional<T: Value>(&mut self, name: &'static str, value: Option<&T>) {
        if let Some(value) = value {
            self.required(name, value);
        }
    }

    /// A field with a default that only v0 has: v1 shows it when it is set.
    pub(crate) fn v0_defaulted<T: Value>(
        &mut self,
        name: &'static str,
        default: &T,
        value: Option<&T>,
    ) {
        match self.names {
            Names::V0 => self.required(name, value.unwrap_or(default)),
            Names::V1 => self.optional(name, value),
        }
    }

    pub(crate) fn repeated<T: Value>(&mut self, name: &'static str, values: &[T]) {
        if values.is_empty() || !self.name(name) {
            return;
        }
        let mut separator = b'[';
        for value in values {
            self.output.push(separator);
            value.write_json(self.names, self.output);
            separator = b',';
        }
        self.output.push(b']');
    }

    pub(crate) fn map<T: Value>(&mut self, name: &'static str, entries: &BTreeMap<String, T>) {
        if entries.is_empty() || !self.name(name) {
            return;
        }
        let mut separator = b'{';
        for (key, value) in entries {
            self.output.push(separator);
            write_string(key, self.output);
            self.output.push(b':');
            value.write_json(self.names, self.output);
            separator = b',';
        }
        self.output.push(b'}');
    }
}

/// Appends a JSON string with its quotes.
pub fn write_string(text: &str, output: &mut Vec<u8>) {
    output.push(b'"');
    let mut plain = 0;
    for (index, byte) in text.bytes().enumerate() {
        if byte >= 0x20 && byte != b'"' && byte != b'\\' {
            continue;
        }
        output.extend_from_slice(&text.as_bytes()[plain..index]);
        plain = index + 1;
        match byte {
            b'"' | b'\\' => output.extend_from_slice(&[b'\\', byte]),
            b'\n' => output.extend_from_slice(b"\\n"),
            b'\r' => output.extend_from_slice(b"\\r"),
            b'\t' => output.extend_from_slice(b"\\t"),
            0x08 => output.extend_from_slice(b"\\b"),
            0x0c => output.extend_from_slice(b"\\f"),
            // Writing to a vector cannot fail.
            control => drop(write!(output, "\\u{control:04X}")),
        }
    }
    output.extend_from_slice(&text.as_bytes()[plain..]);
    output.push(b'"');
}

/// Appends a double as RapidJSON does: shortest digits that read back the same, always with a
/// fraction or an exponent (`1.0`). JSON has no infinities; Mesos reads the strings `"Infinity"` and
/// `"-Infinity"`, so those are written.
pub fn write_double(value: f64, output: &mut Vec<u8>) {
    if value.is_nan() {
        return output.extend_from_slice(b"\"NaN\"");
    }
    if value.is_infinite() {
        let text: &[u8] = if value > 0.0 { b"\"Infinity\"" } else { b"\"-Infinity\"" };
        return output.extend_from_slice(text);
    }
    let magnitude = value.abs();
    // Writing to a vector cannot fail. Rust's forms agree with RapidJSON's in these ranges.
    if magnitude == 0.0 || (1e-4..1e16).contains(&magnitude) {
        drop(write!(output, "{value:?}"));
    } else if (1e16..1e21).contains(&magnitude) {
        drop(write!(output, "{value}.0"));
    } else if (1e-6..1e-4).contains(&magnitude) {
        drop(write!(output, "{value}"));
    } else {
        drop(write!(output, "{value:e}"));
    }
}

pub(crate) fn write_base64(bytes: &[u8], output: &mut Vec<u8>) {
    output.push(b'"');
    output.extend_from_slice(STANDARD.encode(bytes).as_bytes());
    output.push(b'"');
}
