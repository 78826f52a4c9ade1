use super::decode::{Outcome, Payload, error};
use super::encode;
use super::{DecodeError, DecodeErrorKind, FIXED32, FIXED64, LENGTH_DELIMITED, MAX_DEPTH, VARINT};
use crate::json::{self, JsonError, JsonKind, ObjectReader};
use crate::message::{Message, Names};

/// The value of one field, in both encodings.
#[doc(hidden)]
pub trait Value: Sized + Default {
    /// How the value stands on the wire.
    const WIRE_TYPE: u32;
    /// Appends the value without its tag.
    fn encode(&self, output: &mut Vec<u8>);
    /// Takes a payload. A fresh value has not been read before; only messages care.
    fn merge(
        &mut self,
        payload: Payload<'_>,
        depth: u32,
        fresh: bool,
    ) -> Result<Outcome, DecodeError>;
    /// Appends the value as JSON.
    fn write_json(&self, names: Names, output: &mut Vec<u8>);
    /// Takes a JSON value; `false` when it must be dropped (an enum text nobody knows).
    fn read_json(
        &mut self,
        value: &serde_json::Value,
        reader: &mut ObjectReader<'_>,
    ) -> Result<bool, JsonError>;
}

impl<M: Message> Value for M {
    const WIRE_TYPE: u32 = LENGTH_DELIMITED;

    fn encode(&self, output: &mut Vec<u8>) {
        encode::length_delimited(output, |output| self.encode_fields(output));
    }

    fn merge(
        &mut self,
        payload: Payload<'_>,
        depth: u32,
        fresh: bool,
    ) -> Result<Outcome, DecodeError> {
        let Payload::Bytes(bytes) = payload else { return Ok(Outcome::NotMine) };
        if depth >= MAX_DEPTH {
            return Err(error(DecodeErrorKind::Depth));
        }
        Message::merge(self, bytes, depth + 1, fresh)?;
        Ok(Outcome::Taken)
    }

    fn write_json(&self, names: Names, output: &mut Vec<u8>) {
        json::write_object(output, names, |writer| self.write_json_fields(writer));
    }

    fn read_json(
        &mut self,
        value: &serde_json::Value,
        reader: &mut ObjectReader<'_>,
    ) -> Result<bool, JsonError> {
        let serde_json::Value::Object(object) = value else {
            return Err(reader.unexpected(value));
        };
        let (names, missing, path) = reader.nested();
        self.merge_json(object, names, missing, path)?;
        Ok(true)
    }
}

/// The integers that protobuf writes as varints: negative ones as ten bytes, like `int64`.
macro_rules! varint {
    ($type:ty, $value:ident, $to_wire:expr, $from_wire:expr) => {
        impl Value for $type {
            const WIRE_TYPE: u32 = VARINT;

            #[inline]
            fn encode(&self, output: &mut Vec<u8>) {
                let $value = *self;
                encode::varint(output, $to_wire);
            }

            #[inline]
            fn merge(
                &mut self,
                payload: Payload<'_>,
                _depth: u32,
                _fresh: bool,
            ) -> Result<Outcome, DecodeError> {
                let Payload::Varint($value) = payload else { return Ok(Outcome::NotMine) };
                *self = $from_wire;
                Ok(Outcome::Taken)
            }

            fn write_json(&self, _names: Names, output: &mut Vec<u8>) {
                output.extend_from_slice(self.to_string().as_bytes());
            }

            fn read_json(
                &mut self,
                value: &serde_json::Value,
                reader: &mut ObjectReader<'_>,
            ) -> Result<bool, JsonError> {
                let number = json::integer(value, reader)?;
                *self = number.try_into().map_err(|_| reader.error(JsonKind::Range))?;
                Ok(true)
            }
        }
    };
}

#[expect(
    clippy::cast_sign_loss,
    clippy::cast_possible_truncation,
    clippy::cast_possible_wrap,
    reason = "protobuf defines these conversions as reinterpretation and truncation"
)]
mod integers {
    use super::{
        DecodeError, JsonError, JsonKind, Names, ObjectReader, Outcome, Payload, VARINT, Value,
        encode, json,
    };

    varint!(i32, value, i64::from(value) as u64, value as i32);
    varint!(i64, value, value as u64, value as i64);
    varint!(u32, value, u64::from(value), value as u32);
    varint!(u64, value, value, value);

    /// An enum's number from the wire.
    pub(super) fn enum_number(value: u64) -> i32 {
        value as i32
    }

    /// An enum's number for the wire.
    pub(super) fn enum_varint(number: i32) -> u64 {
        i64::from(number) as u64
    }
}

impl Value for bool {
    const WIRE_TYPE: u32 = VARINT;

    fn encode(&self, output: &mut Vec<u8>) {
        output.push(u8::from(*self));
    }

    fn merge(
        &mut self,
        payload: Payload<'_>,
        _depth: u32,
        _fresh: bool,
    ) -> Result<Outcome, DecodeError> {
        let Payload::Varint(value) = payload else { return Ok(Outcome::NotMine) };
        *self = value != 0;
        Ok(Outcome::Taken)
    }

    fn write_json(&self, _names: Names, output: &mut Vec<u8>) {
        output.extend_from_slice(if *self { b"true" } else { b"false" });
    }

    fn read_json(
        &mut self,
        value: &serde_json::Value,
        reader: &mut ObjectReader<'_>,
    ) -> Result<bool, JsonError> {
        *self = match (value.as_bool(), value.as_str()) {
            (Some(value), _) => value,
            (None, Some(text)) => match text.trim() {
                "true" => true,
                "false" => false,
                _ => return Err(reader.error(JsonKind::Boolean(text.to_owned()))),
            },
            (None, None) => return Err(reader.unexpected(value)),
        };
        Ok(true)
    }
}

/// The two floating point types: little-endian IEEE 754.
macro_rules! float {
    ($type:ty, $bits:ident, $wire_type:expr, $value:ident, $from_double:expr) => {
        impl Value for $type {
            const WIRE_TYPE: u32 = $wire_type;

            fn encode(&self, output: &mut Vec<u8>) {
                output.extend_from_slice(&self.to_le_bytes());
            }

            fn merge(
                &mut self,
                payload: Payload<'_>,
                _depth: u32,
                _fresh: bool,
            ) -> Result<Outcome, DecodeError> {
                let Payload::$bits(bits) = payload else { return Ok(Outcome::NotMine) };
                *self = <$type>::from_bits(bits);
                Ok(Outcome::Taken)
            }

            fn write_json(&self, _names: Names, output: &mut Vec<u8>) {
                json::write_double(f64::from(*self), output);
            }

            fn read_json(
                &mut self,
                value: &serde_json::Value,
                reader: &mut ObjectReader<'_>,
            ) -> Result<bool, JsonError> {
                let $value = json::double(value, reader)?;
                *self = $from_double;
                Ok(true)
            }
        }
    };
}

float!(f64, Fixed64, FIXED64, number, number);
float!(f32, Fixed32, FIXED32, number, narrow(number));

#[expect(clippy::cast_possible_truncation, reason = "a `float` field keeps what fits it")]
fn narrow(value: f64) -> f32 {
    value as f32
}

impl Value for String {
    const WIRE_TYPE: u32 = LENGTH_DELIMITED;

    #[inline]
    fn encode(&self, output: &mut Vec<u8>) {
        encode::varint(output, self.len() as u64);
        output.extend_from_slice(self.as_bytes());
    }

    fn merge(
        &mut self,
        payload: Payload<'_>,
        _depth: u32,
        _fresh: bool,
    ) -> Result<Outcome, DecodeError> {
        let Payload::Bytes(bytes) = payload else { return Ok(Outcome::NotMine) };
        let text = std::str::from_utf8(bytes).map_err(|_| error(DecodeErrorKind::Utf8))?;
        self.clear();
        self.push_str(text);
        Ok(Outcome::Taken)
    }

    fn write_json(&self, _names: Names, output: &mut Vec<u8>) {
        json::write_string(self, output);
    }

    fn read_json(
        &mut self,
        value: &serde_json::Value,
        reader: &mut ObjectReader<'_>,
    ) -> Result<bool, JsonError> {
        let serde_json::Value::String(text) = value else { return Err(reader.unexpected(value)) };
        self.clone_from(text);
        Ok(true)
    }
}

impl Value for Vec<u8> {
    const WIRE_TYPE: u32 = LENGTH_DELIMITED;

    fn encode(&self, output: &mut Vec<u8>) {
        encode::varint(output, self.len() as u64);
        output.extend_from_slice(self);
    }

    fn merge(
        &mut self,
        payload: Payload<'_>,
        _depth: u32,
        _fresh: bool,
    ) -> Result<Outcome, DecodeError> {
        let Payload::Bytes(bytes) = payload else { return Ok(Outcome::NotMine) };
        self.clear();
        self.extend_from_slice(bytes);
        Ok(Outcome::Taken)
    }

    fn write_json(&self, _names: Names, output: &mut Vec<u8>) {
        json::write_base64(self, output);
    }

    fn read_json(
        &mut self,
        value: &serde_json::Value,
        reader: &mut ObjectReader<'_>,
    ) -> Result<bool, JsonError> {
        let serde_json::Value::String(text) = value else { return Err(reader.unexpected(value)) };
        *self = json::read_base64(text).ok_or_else(|| reader.error(JsonKind::Base64))?;
        Ok(true)
    }
}

/// Makes a generated enum a field value. Enums are closed: a number outside is an unknown field.
macro_rules! enumeration {
    ($type:ty) => {
        impl crate::wire::Value for $type {
            const WIRE_TYPE: u32 = 0;

            fn encode(&self, output: &mut Vec<u8>) {
                crate::wire::encode_enum(self.number(), output);
            }

            fn merge(
                &mut self,
                payload: crate::wire::Payload<'_>,
                _depth: u32,
                _fresh: bool,
            ) -> Result<crate::wire::Outcome, crate::wire::DecodeError> {
                match crate::wire::enum_number_of(payload).and_then(Self::from_number) {
                    Some(value) => {
                        *self = value;
                        Ok(crate::wire::Outcome::Taken)
                    }
                    None => Ok(crate::wire::Outcome::NotMine),
                }
            }

            fn write_json(&self, names: crate::Names, output: &mut Vec<u8>) {
                crate::json::write_string(self.name(names), output);
            }

            fn read_json(
                &mut self,
                value: &serde_json::Value,
                reader: &mut crate::json::ObjectReader<'_>,
            ) -> Result<bool, crate::json::JsonError> {
                let (names, text) = reader.enum_text(value)?;
                let found = Self::from_name(text, names);
                if let Some(value) = found {
                    *self = value;
                }
                Ok(found.is_some())
            }
        }
    };
}

pub(crate) use enumeration;

/// Appends an enum's number.
pub(crate) fn encode_enum(number: i32, output: &mut Vec<u8>) {
    encode::varint(output, integers::enum_varint(number));
}

/// The enum number in a payload, if it holds one.
pub(crate) fn enum_number_of(payload: Payload<'_>) -> Option<i32> {
    if let Payload::Varint(value) = payload { Some(integers::enum_number(value)) } else { None }
}
