//! What every generated message type has: the binary encoding and Mesos' JSON.

use crate::json::{self, JsonError, ObjectReader, ObjectWriter};
use crate::unknown::UnknownFields;
use crate::wire::{self, DecodeError, Decoding, Field};

/// Room for an encoding at first: most messages fit, and those that do not would grow in many steps from
/// nothing.
const ENCODING_BYTES: usize = 256;

/// Which of the two name tables JSON uses.
///
/// v0 and v1 messages are the same on the wire and differ in names only (`slave_id`, `agent_id`),
/// so there is one set of types and the names are chosen when JSON is written or read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Names {
    /// Names of the packages `mesos.*`: `slave_id`, `SOURCE_SLAVE`.
    V0,
    /// Names of the packages `mesos.v1.*`: `agent_id`, `SOURCE_AGENT`.
    V1,
}

/// One field of a message, as JSON and error texts need it.
#[derive(Debug)]
pub struct FieldInfo {
    /// The number on the wire.
    pub number: u32,
    /// The name in v0 JSON; empty when the field is not in the v0 definition.
    pub v0: &'static str,
    /// The name in v1 JSON. `AgentInfo.checkpoint`, which only the v0 definition has, is shown in v1
    /// JSON too where it is set, as by Mesos.
    pub v1: &'static str,
    /// For a required field its bit in [`Message::REQUIRED`], else 0.
    pub required: u64,
}

impl FieldInfo {
    pub(crate) const fn new(
        number: u32,
        v0: &'static str,
        v1: &'static str,
        required: u64,
    ) -> Self {
        Self { number, v0, v1, required }
    }

    /// The name in the given table; empty when the field is absent there.
    #[must_use]
    pub const fn name(&self, names: Names) -> &'static str {
        match names {
            Names::V0 => self.v0,
            Names::V1 => self.v1,
        }
    }
}

/// A protobuf message of Mesos.
///
/// The generated part is four functions that handle one field each; everything else is here.
pub trait Message: Sized + Default {
    /// The protobuf type name; the v1 one where both exist.
    const FULL_NAME: &'static str;
    /// The fields in the order of the definition, which is the order of JSON.
    const FIELDS: &'static [FieldInfo];
    /// One bit for each required field.
    const REQUIRED: u64;

    /// Appends the fields in the order of their numbers, the unknown ones last.
    #[doc(hidden)]
    fn encode_fields(&self, output: &mut Vec<u8>);
    /// Takes one field off the wire.
    #[doc(hidden)]
    fn decode_field(
        &mut self,
        field: &Field<'_>,
        decoding: &mut Decoding,
    ) -> Result<(), DecodeError>;
    /// Writes the members of the JSON object.
    #[doc(hidden)]
    fn write_json_fields(&self, writer: &mut ObjectWriter<'_>);
    /// Takes one member of a JSON object.
    #[doc(hidden)]
    fn read_json_field(
        &mut self,
        number: u32,
        value: &serde_json::Value,
        reader: &mut ObjectReader<'_>,
    ) -> Result<(), JsonError>;
    /// Fields that came in and are not in the definition.
    #[doc(hidden)]
    fn unknown_mut(&mut self) -> &mut UnknownFields;

    /// Appends the binary encoding to `output`.
    fn encode(&self, output: &mut Vec<u8>) {
        self.encode_fields(output);
    }

    /// The binary encoding.
    #[must_use]
    fn encode_to_vec(&self) -> Vec<u8> {
        let mut output = Vec::with_capacity(ENCODING_BYTES);
        self.encode_fields(&mut output);
        output
    }

    /// Appends the message as the field of another one.
    fn encode_as_field(&self, number: u32, output: &mut Vec<u8>) {
        wire::required(output, number, self);
    }

    /// Reads the binary encoding.
    ///
    /// Fields that are not in the definition, and enum numbers that are not in the enum, are kept
    /// and written back. Fields may come in any order and more than once, as protobuf demands.
    ///
    /// # Errors
    /// Malformed bytes, text that is not UTF-8, nesting deeper than [`crate::MAX_DEPTH`], or a
    /// missing required field; the error names the field (`framework_info.user`).
    fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        let mut message = Self::default();
        message.merge(bytes, 0, true)?;
        Ok(message)
    }

    /// Takes all fields of `bytes`. A fresh message lacks its required fields; one that was already
    /// read has them.
    #[doc(hidden)]
    fn merge(&mut self, bytes: &[u8], depth: u32, fresh: bool) -> Result<(), DecodeError> {
        let mut decoding = Decoding::new(depth, if fresh { 0 } else { Self::REQUIRED });
        let mut rest = bytes;
        while let Some(field) = Field::read(&mut rest)? {
            if let Err(mut error) = self.decode_field(&field, &mut decoding) {
                error.prefix(field_name(Self::FIELDS, field.number));
                return Err(error);
            }
        }
        decoding.finish(Self::FIELDS, Self::REQUIRED, self.unknown_mut())
    }

    /// Appends the message as a JSON object by the rules of Mesos
    /// (`3rdparty/stout/include/stout/protobuf.hpp`).
    fn write_json(&self, names: Names, output: &mut Vec<u8>) {
        json::write_object(output, names, |writer| self.write_json_fields(writer));
    }

    /// The message as a JSON object.
    #[must_use]
    fn to_json(&self, names: Names) -> String {
        let mut output = Vec::new();
        self.write_json(names, &mut output);
        // Every byte comes from a `str`; should that ever be wrong, damaged text beats a panic.
        String::from_utf8(output)
            .unwrap_or_else(|error| String::from_utf8_lossy(error.as_bytes()).into_owned())
    }

    /// Reads a JSON object by the rules of Mesos: unknown members and nulls are ignored, numbers
    /// and booleans may be given as strings.
    ///
    /// # Errors
    /// Text that is not JSON, a member of the wrong kind, or missing required fields (all of them
    /// are named).
    fn from_json(text: &[u8], names: Names) -> Result<Self, JsonError> {
        Self::from_json_value(&json::parse(text)?, names)
    }

    /// Reads a parsed JSON object; see [`Message::from_json`].
    ///
    /// # Errors
    /// A value that is no object, a member of the wrong kind, or missing required fields.
    fn from_json_value(value: &serde_json::Value, names: Names) -> Result<Self, JsonError> {
        let serde_json::Value::Object(object) = value else {
            return Err(JsonError::NotAnObject);
        };
        let mut message = Self::default();
        let mut missing = Vec::new();
        message.merge_json(object, names, &mut missing, &mut String::new())?;
        if missing.is_empty() { Ok(message) } else { Err(JsonError::Missing(missing)) }
    }

    /// Takes all members of a JSON object and notes the required ones that are not there.
    #[doc(hidden)]
    fn merge_json(
        &mut self,
        object: &serde_json::Map<String, serde_json::Value>,
        names: Names,
        missing: &mut Vec<String>,
        path: &mut String,
    ) -> Result<(), JsonError> {
        let mut reader = ObjectReader::new(names, missing, path);
        for (name, value) in object {
            let Some(info) = reader.find(Self::FIELDS, name) else { continue };
            if !value.is_null() {
                reader.enter(name);
                self.read_json_field(info.number, value, &mut reader)?;
                reader.leave();
            }
        }
        reader.finish(Self::FIELDS, Self::REQUIRED);
        Ok(())
    }
}

/// The name of a field for an error text, by its number.
fn field_name(fields: &[FieldInfo], number: u32) -> &'static str {
    fields.iter().find(|field| field.number == number).map_or("(unknown)", |field| field.v1)
}
