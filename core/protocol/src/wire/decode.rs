use std::collections::BTreeMap;

use super::{
    DecodeError, DecodeErrorKind, FIXED32, FIXED64, GROUP_END, GROUP_START, LENGTH_DELIMITED,
    MAX_DEPTH, VARINT, Value, encode,
};
use crate::message::FieldInfo;
use crate::unknown::UnknownFields;

/// One field as it stands on the wire.
#[derive(Debug)]
pub struct Field<'a> {
    pub(crate) number: u32,
    payload: Payload<'a>,
    /// The field with its tag, for the unknown fields.
    raw: &'a [u8],
}

/// What follows a tag.
#[derive(Clone, Copy, Debug)]
pub enum Payload<'a> {
    /// Wire type 0.
    Varint(u64),
    /// Wire type 1, little-endian.
    Fixed64(u64),
    /// Wire type 5, little-endian.
    Fixed32(u32),
    /// Wire type 2.
    Bytes(&'a [u8]),
    /// Wire types 3 and 4, skipped.
    Group,
}

/// What a value made of a payload.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The value took it.
    Taken,
    /// It is of another wire type, or a number the enum does not have: an unknown field.
    NotMine,
}

/// What is remembered while the fields of one message come in.
#[derive(Debug)]
pub struct Decoding {
    depth: u32,
    /// The required fields seen so far.
    seen: u64,
    unknown: UnknownFields,
}

impl Decoding {
    pub(crate) fn new(depth: u32, seen: u64) -> Self {
        Self { depth, seen, unknown: UnknownFields::NONE }
    }

    pub(crate) fn finish(
        self,
        fields: &[FieldInfo],
        required: u64,
        unknown: &mut UnknownFields,
    ) -> Result<(), DecodeError> {
        unknown.push(self.unknown.as_bytes());
        let missing = required & !self.seen;
        if missing == 0 {
            return Ok(());
        }
        let name = fields
            .iter()
            .find(|field| field.required & missing != 0)
            .map_or("(unknown)", |field| field.v1);
        Err(DecodeError::missing(name))
    }
}

pub(super) fn error(kind: DecodeErrorKind) -> DecodeError {
    DecodeError::new(kind)
}

#[inline]
fn varint(bytes: &mut &[u8]) -> Result<u64, DecodeError> {
    if let Some((&first @ 0..0x80, rest)) = bytes.split_first() {
        *bytes = rest;
        return Ok(u64::from(first));
    }
    long_varint(bytes)
}

fn long_varint(bytes: &mut &[u8]) -> Result<u64, DecodeError> {
    let mut value = 0;
    for shift in (0..70).step_by(7) {
        let (&byte, rest) = bytes.split_first().ok_or_else(|| error(DecodeErrorKind::Truncated))?;
        *bytes = rest;
        // Bits above the 64th are dropped, as in protobuf's own parsers.
        value |= u64::from(byte & 0x7f) << shift;
        if byte < 0x80 {
            return Ok(value);
        }
    }
    Err(error(DecodeErrorKind::Varint))
}

fn split<'a>(bytes: &mut &'a [u8], length: u64) -> Result<&'a [u8], DecodeError> {
    let length = usize::try_from(length).map_err(|_| error(DecodeErrorKind::Truncated))?;
    let (front, rest) =
        bytes.split_at_checked(length).ok_or_else(|| error(DecodeErrorKind::Truncated))?;
    *bytes = rest;
    Ok(front)
}

fn fixed<const N: usize>(bytes: &mut &[u8]) -> Result<[u8; N], DecodeError> {
    let (front, rest) =
        bytes.split_first_chunk().ok_or_else(|| error(DecodeErrorKind::Truncated))?;
    *bytes = rest;
    Ok(*front)
}

fn tag(bytes: &mut &[u8]) -> Result<(u32, u32), DecodeError> {
    let tag = u32::try_from(varint(bytes)?).map_err(|_| error(DecodeErrorKind::Tag))?;
    if tag >> 3 == 0 {
        return Err(error(DecodeErrorKind::Tag));
    }
    Ok((tag >> 3, tag & 7))
}

/// Skips to the end of a group that has been opened; groups may hold groups.
fn skip_group(bytes: &mut &[u8], number: u32) -> Result<(), DecodeError> {
    let mut open = vec![number];
    while let Some(innermost) = open.last().copied() {
        if bytes.is_empty() {
            return Err(error(DecodeErrorKind::Group));
        }
        let (number, wire_type) = tag(bytes)?;
        match wire_type {
            GROUP_START if open.len() >= MAX_DEPTH as usize => {
                return Err(error(DecodeErrorKind::Depth));
            }
            GROUP_START => open.push(number),
            GROUP_END if number == innermost => {
                open.pop();
            }
            GROUP_END => return Err(error(DecodeErrorKind::Group)),
            _ => {
                payload(bytes, number, wire_type)?;
            }
        }
    }
    Ok(())
}

#[inline]
fn payload<'a>(
    bytes: &mut &'a [u8],
    number: u32,
    wire_type: u32,
) -> Result<Payload<'a>, DecodeError> {
    Ok(match wire_type {
        VARINT => Payload::Varint(varint(bytes)?),
        FIXED64 => Payload::Fixed64(u64::from_le_bytes(fixed(bytes)?)),
        FIXED32 => Payload::Fixed32(u32::from_le_bytes(fixed(bytes)?)),
        LENGTH_DELIMITED => {
            let length = varint(bytes)?;
            Payload::Bytes(split(bytes, length)?)
        }
        GROUP_START => {
            skip_group(bytes, number)?;
            Payload::Group
        }
        GROUP_END => return Err(error(DecodeErrorKind::Group)),
        _ => return Err(error(DecodeErrorKind::Tag)),
    })
}

impl<'a> Field<'a> {
    /// The next field, or `None` at the end.
    #[inline]
    pub(crate) fn read(bytes: &mut &'a [u8]) -> Result<Option<Self>, DecodeError> {
        if bytes.is_empty() {
            return Ok(None);
        }
        let before = *bytes;
        let (number, wire_type) = tag(bytes)?;
        let payload = payload(bytes, number, wire_type)?;
        let raw = &before[..before.len() - bytes.len()];
        Ok(Some(Self { number, payload, raw }))
    }

    pub(crate) fn unknown(&self, decoding: &mut Decoding) -> Result<(), DecodeError> {
        decoding.unknown.push(self.raw);
        Ok(())
    }

    #[inline]
    pub(crate) fn required<T: Value>(
        &self,
        target: &mut T,
        bit: u64,
        decoding: &mut Decoding,
    ) -> Result<(), DecodeError> {
        let fresh = decoding.seen & bit == 0;
        match target.merge(self.payload, decoding.depth, fresh)? {
            Outcome::Taken => decoding.seen |= bit,
            Outcome::NotMine => decoding.unknown.push(self.raw),
        }
        Ok(())
    }

    #[inline]
    pub(crate) fn optional<T: Value>(
        &self,
        target: &mut Option<T>,
        decoding: &mut Decoding,
    ) -> Result<(), DecodeError> {
        let fresh = target.is_none();
        let value = target.get_or_insert_default();
        if value.merge(self.payload, decoding.depth, fresh)? == Outcome::NotMine {
            if fresh {
                *target = None;
            }
            decoding.unknown.push(self.raw);
        }
        Ok(())
    }

    pub(crate) fn optional_box<T: Value>(
        &self,
        target: &mut Option<Box<T>>,
        decoding: &mut Decoding,
    ) -> Result<(), DecodeError> {
        let fresh = target.is_none();
        let value = target.get_or_insert_default();
        if value.merge(self.payload, decoding.depth, fresh)? == Outcome::NotMine {
            if fresh {
                *target = None;
            }
            decoding.unknown.push(self.raw);
        }
        Ok(())
    }

    pub(crate) fn repeated<T: Value>(
        &self,
        target: &mut Vec<T>,
        decoding: &mut Decoding,
    ) -> Result<(), DecodeError> {
        if T::WIRE_TYPE != LENGTH_DELIMITED
            && let Payload::Bytes(packed) = self.payload
        {
            return self.packed(packed, target, decoding);
        }
        // Read in its place: tasks and resources are large to move.
        let index = target.len();
        if index == target.capacity() {
            // Most lists hold one or two, and a vector's own first step is four.
            target.reserve_exact(index.max(1));
        }
        target.push(T::default());
        match target[index].merge(self.payload, decoding.depth, true) {
            Ok(Outcome::Taken) => {}
            Ok(Outcome::NotMine) => {
                target.pop();
                decoding.unknown.push(self.raw);
            }
            Err(mut error) => {
                error.prefix(&format!("[{index}]"));
                return Err(error);
            }
        }
        Ok(())
    }

    /// Scalars in one length-delimited field. Mesos never writes them, every parser must read them.
    fn packed<T: Value>(
        &self,
        mut packed: &[u8],
        target: &mut Vec<T>,
        decoding: &mut Decoding,
    ) -> Result<(), DecodeError> {
        while !packed.is_empty() {
            let before = packed;
            let payload = payload(&mut packed, self.number, T::WIRE_TYPE)?;
            let mut value = T::default();
            match value.merge(payload, decoding.depth, true)? {
                Outcome::Taken => target.push(value),
                Outcome::NotMine => {
                    let mut field = Vec::new();
                    encode::varint(&mut field, u64::from(self.number << 3 | T::WIRE_TYPE));
                    field.extend_from_slice(&before[..before.len() - packed.len()]);
                    decoding.unknown.push(&field);
                }
            }
        }
        Ok(())
    }

    pub(crate) fn map<T: Value>(
        &self,
        target: &mut BTreeMap<String, T>,
        decoding: &mut Decoding,
    ) -> Result<(), DecodeError> {
        let Payload::Bytes(mut entry) = self.payload else {
            return self.unknown(decoding);
        };
        let mut key = String::new();
        let mut value = T::default();
        let mut fresh = true;
        while let Some(field) = Field::read(&mut entry)? {
            match field.number {
                1 => {
                    key.merge(field.payload, decoding.depth, true)?;
                }
                2 => {
                    let outcome = value.merge(field.payload, decoding.depth, fresh);
                    fresh = false;
                    if let Err(mut error) = outcome {
                        error.prefix(&format!("[{key}]"));
                        return Err(error);
                    }
                }
                _ => {}
            }
        }
        // An absent message value is an empty one, which is an error if it has required fields.
        if fresh && T::WIRE_TYPE == LENGTH_DELIMITED {
            value.merge(Payload::Bytes(&[]), decoding.depth, true)?;
        }
        target.insert(key, value);
        Ok(())
    }
}
