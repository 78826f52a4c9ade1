//! RecordIO: a decimal byte count, a newline, that many bytes, and the next record at once
//! (`3rdparty/stout/include/stout/recordio.hpp`).

/// The longest record [`Decoder::default`] takes: far above any event of a real cluster, far below
/// what would exhaust memory.
pub const MAX_RECORD_BYTES: usize = 256 << 20;

/// The longest length header: the digits of 2^64.
const MAX_HEADER_BYTES: usize = 20;

/// One record with its header.
#[must_use]
pub fn encode(record: &[u8]) -> Vec<u8> {
    let mut output = Vec::with_capacity(record.len() + 12);
    encode_into(record, &mut output);
    output
}

/// Appends one record with its header to `output`.
pub fn encode_into(record: &[u8], output: &mut Vec<u8>) {
    output.extend_from_slice(record.len().to_string().as_bytes());
    output.push(b'\n');
    output.extend_from_slice(record);
}

/// Why a stream is not RecordIO. After an error the start of the next record is unknown, so the
/// decoder gives the same error for ever.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RecordError {
    /// The header is not a decimal number.
    #[error("Failed to decode length '{0}'")]
    Length(String),
    /// The record is longer than the decoder's limit.
    #[error("record of {length} bytes is longer than the limit of {limit}")]
    TooLong {
        /// What the header says.
        length: u64,
        /// What the decoder accepts.
        limit: usize,
    },
}

/// Cuts a byte stream, which arrives in pieces of any size, into records.
#[derive(Clone, Debug)]
pub struct Decoder {
    limit: usize,
    buffer: Vec<u8>,
    /// Bytes of the record being read; `None` while reading a header.
    length: Option<usize>,
    failure: Option<RecordError>,
}

impl Default for Decoder {
    fn default() -> Self {
        Self::new(MAX_RECORD_BYTES)
    }
}

impl Decoder {
    /// A decoder that refuses records longer than `limit` bytes.
    #[must_use]
    pub const fn new(limit: usize) -> Self {
        Self { limit, buffer: Vec::new(), length: None, failure: None }
    }

    /// Takes the next piece of the stream and gives the records it completes.
    ///
    /// # Errors
    /// A header that is not a number or exceeds the limit; records completed before it in the same
    /// piece are dropped with it, as in Mesos.
    pub fn decode(&mut self, mut data: &[u8]) -> Result<Vec<Vec<u8>>, RecordError> {
        if let Some(failure) = &self.failure {
            return Err(failure.clone());
        }
        let mut records = Vec::new();
        while let Some(record) = self.next_record(&mut data)? {
            records.push(record);
        }
        Ok(records)
    }

    /// Whether the stream may end here: no record is half read.
    #[must_use]
    pub fn is_at_boundary(&self) -> bool {
        self.buffer.is_empty() && self.length.is_none() && self.failure.is_none()
    }

    fn next_record(&mut self, data: &mut &[u8]) -> Result<Option<Vec<u8>>, RecordError> {
        let length = match self.length {
            Some(length) => length,
            None => match self.read_header(data) {
                Ok(Some(length)) => length,
                Ok(None) => return Ok(None),
                Err(error) => {
                    self.failure = Some(error.clone());
                    return Err(error);
                }
            },
        };
        // The buffer grows with what arrived, never with what the header promises.
        let take = (length - self.buffer.len()).min(data.len());
        let (piece, rest) = data.split_at(take);
        self.buffer.extend_from_slice(piece);
        *data = rest;
        if self.buffer.len() < length {
            self.length = Some(length);
            return Ok(None);
        }
        self.length = None;
        Ok(Some(std::mem::take(&mut self.buffer)))
    }

    fn read_header(&mut self, data: &mut &[u8]) -> Result<Option<usize>, RecordError> {
        let newline = data.iter().position(|byte| *byte == b'\n');
        let (piece, rest) = data.split_at(newline.unwrap_or(data.len()));
        if self.buffer.len() + piece.len() > MAX_HEADER_BYTES {
            self.buffer.extend_from_slice(&piece[..piece.len().min(MAX_HEADER_BYTES)]);
            return Err(RecordError::Length(String::from_utf8_lossy(&self.buffer).into_owned()));
        }
        self.buffer.extend_from_slice(piece);
        if newline.is_none() {
            *data = rest;
            return Ok(None);
        }
        *data = &rest[1..];
        let text = String::from_utf8_lossy(&self.buffer).into_owned();
        self.buffer.clear();
        if !text.bytes().all(|byte| byte.is_ascii_digit()) {
            return Err(RecordError::Length(text));
        }
        let length: u64 = text.parse().map_err(|_| RecordError::Length(text))?;
        match usize::try_from(length) {
            Ok(length) if length <= self.limit => Ok(Some(length)),
            _ => Err(RecordError::TooLong { length, limit: self.limit }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn reads_the_documented_example() {
        assert_eq!(encode(b"hello"), b"5\nhello");
        let mut decoder = Decoder::default();
        let records = decoder.decode(b"5\nhello6\nworld!0\n").unwrap();
        assert_eq!(records, [b"hello".to_vec(), b"world!".to_vec(), Vec::new()]);
        assert!(decoder.is_at_boundary());
    }

    #[test]
    fn errors_are_final() {
        let mut decoder = Decoder::default();
        let error = RecordError::Length("x".into());
        assert_eq!(decoder.decode(b"x\nabc"), Err(error.clone()));
        assert_eq!(decoder.decode(b"1\na"), Err(error));
        assert_eq!(
            Decoder::new(10).decode(b"11\n"),
            Err(RecordError::TooLong { length: 11, limit: 10 })
        );
        assert!(Decoder::default().decode(b"\n").is_err());
        assert!(Decoder::default().decode(&[b'1'; 21]).is_err());
        assert!(Decoder::default().decode(b"+5\nhello").is_err());
    }

    proptest! {
        #[test]
        fn any_cut_gives_the_same_records(
            records in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..40), 0..8),
            piece in 1_usize..17,
        ) {
            let stream: Vec<u8> = records.iter().flat_map(|record| encode(record)).collect();
            let mut decoder = Decoder::default();
            let mut read = Vec::new();
            for chunk in stream.chunks(piece) {
                read.extend(decoder.decode(chunk).unwrap());
            }
            prop_assert_eq!(read, records);
            prop_assert!(decoder.is_at_boundary());
        }
    }
}
