//! Writes a big message field by field, in JSON or protobuf, without building it first.

use std::borrow::Borrow;

use protocol::{Message, Names, master};

use crate::http::ContentType;
use crate::http::json::JsonWriter;
use crate::http::shared::{CHUNK_BYTES, Output};

/// Wire type 2 of the protobuf encoding: a length and that many bytes.
const LENGTH_DELIMITED: u64 = 2;

/// A message that is being written. Lists stand in JSON even when they are empty, as in Mesos.
#[derive(Debug)]
pub(super) enum Envelope {
    Json(JsonWriter),
    Protobuf(Vec<u8>),
    /// Protobuf that is put out while it is written.
    Parts(Parts),
}

/// A protobuf message in parts. A field that is a message may stand several times, which readers must
/// merge; so nothing need be kept until its length is known.
#[derive(Debug)]
pub(super) struct Parts {
    /// The fields that are open, from the outside in.
    path: Vec<u32>,
    /// What was written to the innermost.
    bytes: Vec<u8>,
    /// The innermost stands nowhere yet.
    is_new: bool,
    output: Output,
    abandoned: bool,
}

impl Parts {
    fn put_out(&mut self) {
        if self.bytes.is_empty() && !self.is_new {
            return;
        }
        let mut part = std::mem::take(&mut self.bytes);
        for number in self.path.iter().rev() {
            let mut outer = Vec::with_capacity(part.len() + 12);
            delimited(&mut outer, *number, &part);
            part = outer;
        }
        self.is_new = false;
        if !self.abandoned && !part.is_empty() {
            self.abandoned = !self.output.push(part);
        }
    }
}

impl Envelope {
    /// Writes a whole message.
    pub(super) fn message(content_type: ContentType, write: impl FnOnce(&mut Self)) -> Vec<u8> {
        let mut envelope = match content_type {
            ContentType::Json => {
                let mut json = JsonWriter::new();
                json.begin_object();
                Self::Json(json)
            }
            ContentType::Protobuf => Self::Protobuf(Vec::new()),
        };
        write(&mut envelope);
        match envelope {
            Self::Json(mut json) => {
                json.end_object();
                json.into_bytes()
            }
            Self::Protobuf(bytes) | Self::Parts(Parts { bytes, .. }) => bytes,
        }
    }

    /// Writes a whole message piece by piece.
    pub(super) fn stream(content_type: ContentType, output: Output, write: impl FnOnce(&mut Self)) {
        let mut envelope = match content_type {
            ContentType::Json => {
                let mut json = JsonWriter::streamed(output);
                json.begin_object();
                Self::Json(json)
            }
            ContentType::Protobuf => Self::Parts(Parts {
                path: Vec::new(),
                bytes: Vec::new(),
                is_new: false,
                output,
                abandoned: false,
            }),
        };
        write(&mut envelope);
        match envelope {
            Self::Json(mut json) => {
                json.end_object();
                json.finish();
            }
            Self::Parts(mut parts) => {
                parts.put_out();
                if !parts.abandoned {
                    parts.output.finish(Vec::new());
                }
            }
            Self::Protobuf(_) => {}
        }
    }

    /// Writes the type of a response or event: field 1.
    pub(super) fn kind(&mut self, name: &str, number: i32) {
        match self {
            Self::Json(json) => json.key("type").string(name),
            Self::Protobuf(bytes) | Self::Parts(Parts { bytes, .. }) => {
                varint(bytes, 1 << 3);
                varint(bytes, u64::try_from(number).unwrap_or(0));
            }
        }
    }

    /// Writes the field of `M` called `name`, a message.
    pub(super) fn nested<M: Message>(&mut self, name: &str, write: impl FnOnce(&mut Self)) {
        let outer = match self {
            Self::Parts(parts) => {
                parts.put_out();
                parts.path.push(field_number::<M>(name));
                parts.is_new = true;
                None
            }
            Self::Json(json) => {
                json.key(name).begin_object();
                None
            }
            Self::Protobuf(bytes) => Some(std::mem::take(bytes)),
        };
        write(self);
        match (self, outer) {
            (Self::Json(json), _) => json.end_object(),
            (Self::Parts(parts), _) => {
                parts.put_out();
                parts.path.pop();
                parts.is_new = false;
            }
            (Self::Protobuf(bytes), outer) => {
                // The length of the field stands before it, so it is written apart.
                let inner = std::mem::replace(bytes, outer.unwrap_or_default());
                delimited(bytes, field_number::<M>(name), &inner);
            }
        }
    }

    /// Writes the field of `M` called `name`, a list of messages.
    pub(super) fn list<M: Message, I: Message>(
        &mut self,
        name: &str,
        items: impl Iterator<Item = impl Borrow<I>>,
    ) {
        match self {
            Self::Json(json) => json.key(name).array(|json| {
                for item in items {
                    if json.is_abandoned() {
                        return;
                    }
                    json.message(item.borrow(), Names::V1);
                }
            }),
            Self::Parts(parts) => {
                let number = field_number::<M>(name);
                for item in items {
                    delimited(&mut parts.bytes, number, &item.borrow().encode_to_vec());
                    if parts.bytes.len() >= CHUNK_BYTES {
                        parts.put_out();
                    }
                    if parts.abandoned {
                        return;
                    }
                }
            }
            Self::Protobuf(bytes) => {
                let number = field_number::<M>(name);
                for item in items {
                    delimited(bytes, number, &item.borrow().encode_to_vec());
                }
            }
        }
    }

    /// Writes the field of `M` called `name`, a double.
    pub(super) fn double<M: Message>(&mut self, name: &str, value: f64) {
        match self {
            Self::Json(json) => json.key(name).double(value),
            Self::Protobuf(bytes) | Self::Parts(Parts { bytes, .. }) => {
                varint(bytes, u64::from(field_number::<M>(name)) << 3 | 1);
                bytes.extend_from_slice(&value.to_le_bytes());
            }
        }
    }
}

/// The bytes of a response that exists as a message.
pub(in crate::master) fn respond(
    response: &master::Response,
    content_type: ContentType,
) -> Vec<u8> {
    match content_type {
        ContentType::Json => response.to_json(Names::V1).into_bytes(),
        ContentType::Protobuf => response.encode_to_vec(),
    }
}

fn field_number<M: Message>(name: &str) -> u32 {
    let field = M::FIELDS.iter().find(|field| field.v1 == name);
    assert!(field.is_some(), "{} has no field {name}", M::FULL_NAME);
    field.map_or(0, |field| field.number)
}

fn delimited(bytes: &mut Vec<u8>, number: u32, body: &[u8]) {
    varint(bytes, u64::from(number) << 3 | LENGTH_DELIMITED);
    varint(bytes, body.len() as u64);
    bytes.extend_from_slice(body);
}

fn varint(bytes: &mut Vec<u8>, mut value: u64) {
    while let low @ 0x80.. = value {
        bytes.push((low & 0x7f) as u8 | 0x80);
        value >>= 7;
    }
    bytes.push((value & 0x7f) as u8);
}
