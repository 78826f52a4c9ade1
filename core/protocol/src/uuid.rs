//! UUIDs: 16 raw bytes in protobufs (`TaskStatus.uuid`), hyphenated text in ids.

use std::fmt;
use std::str::FromStr;

/// A UUID of any version (RFC 9562).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Uuid([u8; 16]);

/// Why bytes or a text are not a UUID.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum UuidError {
    /// Not 16 bytes.
    #[error("Expecting UUID string size of 16, but got {0}")]
    Length(usize),
    /// Not 8-4-4-4-12 hexadecimal digits.
    #[error("invalid UUID '{0}'")]
    Text(String),
}

impl Uuid {
    /// The UUID made of these bytes.
    #[must_use]
    pub const fn from_bytes(bytes: [u8; 16]) -> Self {
        Self(bytes)
    }

    /// The UUID in a `bytes` field.
    ///
    /// # Errors
    /// When there are not exactly 16 bytes.
    pub fn from_slice(bytes: &[u8]) -> Result<Self, UuidError> {
        bytes.try_into().map(Self).map_err(|_| UuidError::Length(bytes.len()))
    }

    /// The 16 bytes, as they stand in a `bytes` field.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; 16] {
        &self.0
    }

    fn text(self) -> [u8; 36] {
        const DIGITS: &[u8; 16] = b"0123456789abcdef";
        let mut text = [b'-'; 36];
        let mut end = 0;
        for (index, byte) in self.0.iter().enumerate() {
            end += usize::from(matches!(index, 4 | 6 | 8 | 10));
            text[end] = DIGITS[usize::from(byte >> 4)];
            text[end + 1] = DIGITS[usize::from(byte & 0x0f)];
            end += 2;
        }
        text
    }

    /// The 16 bytes as the value of a `bytes` field.
    #[must_use]
    pub fn to_vec(self) -> Vec<u8> {
        self.0.to_vec()
    }
}

impl fmt::Display for Uuid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(std::str::from_utf8(&self.text()).unwrap_or_default())
    }
}

/// Whether a text is the UUID as it is displayed.
impl PartialEq<str> for Uuid {
    fn eq(&self, other: &str) -> bool {
        *other.as_bytes() == self.text()
    }
}

impl FromStr for Uuid {
    type Err = UuidError;

    fn from_str(text: &str) -> Result<Self, UuidError> {
        let error = || UuidError::Text(text.to_owned());
        let groups: Vec<&str> = text.split('-').collect();
        if !groups.iter().map(|group| group.len()).eq([8, 4, 4, 4, 12]) {
            return Err(error());
        }
        let digits = groups.concat();
        let mut bytes = [0; 16];
        for (byte, pair) in bytes.iter_mut().zip(digits.as_bytes().chunks_exact(2)) {
            let high = char::from(pair[0]).to_digit(16).ok_or_else(error)?;
            let low = char::from(pair[1]).to_digit(16).ok_or_else(error)?;
            *byte = u8::try_from(high * 16 + low).map_err(|_| error())?;
        }
        Ok(Self(bytes))
    }
}

/// A deterministic source of version 4 UUIDs.
///
/// The seed comes from outside (the operating system in production, the test's number in
/// simulation), so a run can be repeated exactly. The generator is SplitMix64: fast, of full period
/// for its 64-bit state, not for secrets.
#[derive(Clone, Debug)]
pub struct UuidSource {
    state: u64,
}

impl UuidSource {
    /// A source that gives the same UUIDs for the same seed.
    #[must_use]
    pub const fn new(seed: u64) -> Self {
        Self { state: seed }
    }

    /// The next UUID.
    pub fn next_uuid(&mut self) -> Uuid {
        let mut bytes = [0; 16];
        bytes[..8].copy_from_slice(&self.next_u64().to_be_bytes());
        bytes[8..].copy_from_slice(&self.next_u64().to_be_bytes());
        bytes[6] = (bytes[6] & 0x0f) | 0x40;
        bytes[8] = (bytes[8] & 0x3f) | 0x80;
        Uuid(bytes)
    }

    /// The next 64 random bits.
    pub fn next_u64(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.state;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_round_trips() {
        let text = "6cc8b9a0-21dd-4a5c-8b1f-0123456789ab";
        let uuid: Uuid = text.parse().unwrap();
        assert_eq!(uuid.to_string(), text);
        assert_eq!(Uuid::from_slice(uuid.as_bytes()), Ok(uuid));
        assert_eq!(Uuid::from_slice(b"short"), Err(UuidError::Length(5)));
        for bad in ["", "6cc8b9a0", "6cc8b9a0-21dd-4a5c-8b1f-0123456789ag", "é"] {
            assert_eq!(bad.parse::<Uuid>(), Err(UuidError::Text(bad.into())));
        }
    }

    #[test]
    fn source_repeats_for_a_seed_and_marks_version_four() {
        let mut first = UuidSource::new(7);
        let mut second = UuidSource::new(7);
        let uuid = first.next_uuid();
        assert_eq!(uuid, second.next_uuid());
        assert_ne!(uuid, first.next_uuid());
        assert_ne!(uuid, UuidSource::new(8).next_uuid());
        assert_eq!(&uuid.to_string()[14..15], "4");
    }
}
