use std::collections::BTreeMap;

use super::{LENGTH_DELIMITED, Value};
use crate::unknown::UnknownFields;

#[inline]
#[expect(clippy::cast_possible_truncation, reason = "seven bits at a time")]
pub(super) fn varint(output: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        output.push(value as u8 | 0x80);
        value >>= 7;
    }
    output.push(value as u8);
}

#[inline]
fn tag(output: &mut Vec<u8>, number: u32, wire_type: u32) {
    varint(output, u64::from(number << 3 | wire_type));
}

/// Appends what `body` writes, with its length in front.
///
/// The length is not known before. One byte is kept for it, which fits most messages; longer ones
/// are moved up once. Each byte moves at most once for each level of nesting, by `memmove`, which is
/// cheaper than computing all lengths first.
pub(super) fn length_delimited(output: &mut Vec<u8>, body: impl FnOnce(&mut Vec<u8>)) {
    let start = output.len();
    output.push(0);
    body(output);
    let length = output.len() - start - 1;
    if let Ok(short @ 0..0x80) = u8::try_from(length) {
        output[start] = short;
    } else {
        insert_length(output, start, length);
    }
}

#[expect(clippy::cast_possible_truncation, reason = "seven bits at a time")]
fn insert_length(output: &mut Vec<u8>, start: usize, length: usize) {
    let width = (usize::BITS - length.leading_zeros()).div_ceil(7) as usize;
    let end = output.len();
    output.resize(end + width - 1, 0);
    output.copy_within(start + 1..end, start + width);
    let mut rest = length;
    for byte in &mut output[start..start + width] {
        *byte = rest as u8 | 0x80;
        rest >>= 7;
    }
    output[start + width - 1] &= 0x7f;
}

#[inline]
pub(crate) fn required<T: Value>(output: &mut Vec<u8>, number: u32, value: &T) {
    tag(output, number, T::WIRE_TYPE);
    value.encode(output);
}

#[inline]
pub(crate) fn optional<T: Value>(output: &mut Vec<u8>, number: u32, value: Option<&T>) {
    if let Some(value) = value {
        required(output, number, value);
    }
}

#[inline]
pub(crate) fn repeated<T: Value>(output: &mut Vec<u8>, number: u32, values: &[T]) {
    for value in values {
        required(output, number, value);
    }
}

pub(crate) fn map<T: Value>(output: &mut Vec<u8>, number: u32, entries: &BTreeMap<String, T>) {
    for (key, value) in entries {
        tag(output, number, LENGTH_DELIMITED);
        length_delimited(output, |output| {
            required(output, 1, key);
            required(output, 2, value);
        });
    }
}

#[inline]
pub(crate) fn unknown(output: &mut Vec<u8>, fields: &UnknownFields) {
    output.extend_from_slice(fields.as_bytes());
}
