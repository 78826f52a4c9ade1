//! The form of checkpoint files: a 4-byte little-endian length, then the protobuf, repeated.

use protocol::{DecodeError, Message};

/// No record of a healthy agent comes near this; a longer one is damage.
pub const RECORD_BYTES_MAX: usize = 64 * 1024 * 1024;

/// Why a file does not hold what it should.
#[derive(Debug, thiserror::Error)]
pub enum RecordError {
    /// The file ends within a record, as after a crash while writing.
    #[error("ends within a record at byte {offset}")]
    Torn {
        /// Where the record begins.
        offset: usize,
    },
    /// A record's length is impossible.
    #[error("has a record of {length} bytes at byte {offset}")]
    Length {
        /// Where the record begins.
        offset: usize,
        /// The length it claims.
        length: usize,
    },
    /// A record is not the message it should be.
    #[error("has an invalid {message} at byte {offset}")]
    Message {
        /// The message's full name.
        message: &'static str,
        /// Where the record begins.
        offset: usize,
        /// What is wrong with it.
        source: DecodeError,
    },
}

/// One message as a record.
#[must_use]
pub fn encode<M: Message>(message: &M) -> Vec<u8> {
    let body = message.encode_to_vec();
    let length = u32::try_from(body.len()).unwrap_or(u32::MAX);
    let mut record = Vec::with_capacity(body.len() + 4);
    record.extend_from_slice(&length.to_le_bytes());
    record.extend_from_slice(&body);
    record
}

/// What could be read of a sequence of records.
#[derive(Debug)]
pub struct Sequence<M> {
    /// The whole records, in order.
    pub messages: Vec<M>,
    /// Where the last whole record ends.
    pub valid_bytes: usize,
    /// What ended the reading before the end of the file.
    pub error: Option<RecordError>,
}

/// Reads records until the end or the first damage.
#[must_use]
pub fn decode_sequence<M: Message>(content: &[u8]) -> Sequence<M> {
    let mut sequence = Sequence { messages: Vec::new(), valid_bytes: 0, error: None };
    while sequence.valid_bytes < content.len() {
        match decode_at(content, sequence.valid_bytes) {
            Ok((message, end)) => {
                sequence.messages.push(message);
                sequence.valid_bytes = end;
            }
            Err(error) => {
                sequence.error = Some(error);
                break;
            }
        }
    }
    sequence
}

/// Reads the single record of a file; `None` if the file is empty, as after a crash of the host
/// between creating the file and its data reaching the disk.
///
/// # Errors
/// If the record is torn or is not such a message.
pub fn decode<M: Message>(content: &[u8]) -> Result<Option<M>, RecordError> {
    if content.is_empty() {
        return Ok(None);
    }
    decode_at(content, 0).map(|(message, _)| Some(message))
}

fn decode_at<M: Message>(content: &[u8], offset: usize) -> Result<(M, usize), RecordError> {
    let torn = || RecordError::Torn { offset };
    let rest = content.get(offset..).ok_or_else(torn)?;
    let (length, body) = rest.split_first_chunk::<4>().ok_or_else(torn)?;
    let length = usize::try_from(u32::from_le_bytes(*length)).unwrap_or(usize::MAX);
    if length > RECORD_BYTES_MAX {
        return Err(RecordError::Length { offset, length });
    }
    let body = body.get(..length).ok_or_else(torn)?;
    let message = M::decode(body).map_err(|source| RecordError::Message {
        message: M::FULL_NAME,
        offset,
        source,
    })?;
    Ok((message, offset + 4 + length))
}
