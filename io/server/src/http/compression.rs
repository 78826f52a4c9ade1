//! gzip, both ways.

use std::io::{self, Read, Write};

use flate2::Compression;
use flate2::read::MultiGzDecoder;
use flate2::write::GzEncoder;

/// Bodies below this are sent as they are, as libprocess does (`GZIP_MINIMUM_BODY_LENGTH`).
pub const GZIP_BYTES_MIN: usize = 1024;

/// Compresses a body. Fast rather than small: a master compresses the same state for many readers.
///
/// # Errors
///
/// Never in practice: writing to memory does not fail.
pub fn compress(body: &[u8]) -> io::Result<Vec<u8>> {
    let mut encoder = GzEncoder::new(Vec::with_capacity(body.len() / 4), Compression::fast());
    encoder.write_all(body)?;
    encoder.finish()
}

/// Why a compressed request body cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum DecompressError {
    /// The bytes are not gzip.
    #[error("Failed to decompress the request body")]
    Malformed(#[source] io::Error),
    /// More comes out than may be kept.
    #[error("The request body is larger than {limit} bytes")]
    TooLarge {
        /// The limit.
        limit: usize,
    },
}

/// Decompresses a body to at most `limit` bytes.
///
/// # Errors
///
/// When it is malformed or too large.
pub fn decompress(body: &[u8], limit: usize) -> Result<Vec<u8>, DecompressError> {
    let mut plain = Vec::new();
    let bound = u64::try_from(limit).unwrap_or(u64::MAX).saturating_add(1);
    MultiGzDecoder::new(body)
        .take(bound)
        .read_to_end(&mut plain)
        .map_err(DecompressError::Malformed)?;
    if plain.len() > limit {
        return Err(DecompressError::TooLarge { limit });
    }
    Ok(plain)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_body_survives_both_ways() -> Result<(), Box<dyn std::error::Error>> {
        let body = b"{\"tasks\":[]}".repeat(500);
        let packed = compress(&body)?;
        assert!(packed.len() < body.len() / 10);
        assert_eq!(decompress(&packed, body.len())?, body);
        Ok(())
    }

    #[test]
    fn a_bomb_is_refused() -> Result<(), Box<dyn std::error::Error>> {
        let packed = compress(&vec![0; 1_000_000])?;
        assert!(matches!(decompress(&packed, 999_999), Err(DecompressError::TooLarge { .. })));
        Ok(())
    }

    #[test]
    fn garbage_is_refused() {
        assert!(matches!(decompress(b"hello", 100), Err(DecompressError::Malformed(_))));
    }
}
