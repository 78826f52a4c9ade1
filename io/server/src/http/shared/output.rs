//! Where a rendering puts its pieces, and what becomes of them on their way to the readers.

use std::fmt;
use std::io::{self, Write};
use std::sync::Arc;

use flate2::Compression;
use flate2::write::GzEncoder;

use super::Shared;

/// How much of a compressed body is gathered into one piece.
const GZIP_CHUNK_BYTES: usize = 32 * 1024;

/// What a body is sent as (`Content-Encoding`, RFC 9110).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Coding {
    /// As it was rendered.
    Identity,
    /// Compressed, once for all who read it so.
    Gzip,
}

/// Where a rendering puts its pieces.
pub struct Output {
    shared: Arc<Shared>,
    /// How many bytes are left out at the beginning, because the reader has them already.
    skip: usize,
    gzip: Option<GzEncoder<Vec<u8>>>,
    /// What goes after the last piece.
    after: &'static [u8],
}

impl Output {
    pub(super) fn new(shared: Arc<Shared>, skip: usize) -> Self {
        let gzip = match shared.coding {
            Coding::Identity => None,
            // Fast rather than small, as for bodies that are compressed whole.
            Coding::Gzip => Some(GzEncoder::new(Vec::new(), Compression::fast())),
        };
        Self { shared, skip, gzip, after: b"" }
    }

    /// Puts out `before`, and `after` when it ends.
    #[must_use]
    pub fn enclosed(mut self, before: Vec<u8>, after: &'static [u8]) -> Self {
        // Whether anybody reads is said again with the next piece.
        self.push(before);
        self.after = after;
        self
    }

    /// Puts out a piece, and waits while readers are too far behind. False when nobody reads any more:
    /// the rest need not be rendered.
    pub fn push(&mut self, chunk: Vec<u8>) -> bool {
        match self.encode(chunk) {
            Ok(chunk) => self.put_out(chunk),
            Err(_) => false,
        }
    }

    /// Puts out the last piece. Without it readers are told that the body was given up.
    pub fn finish(mut self, mut last: Vec<u8>) {
        last.extend_from_slice(self.after);
        if let Ok(chunk) = self.encode_last(last)
            && self.put_out(chunk)
        {
            self.shared.finish();
        }
    }

    /// What there is to be put out once `chunk` is rendered. Never fails in practice: writing to memory does not.
    fn encode(&mut self, chunk: Vec<u8>) -> io::Result<Vec<u8>> {
        let Some(gzip) = &mut self.gzip else { return Ok(chunk) };
        gzip.write_all(&chunk)?;
        let is_enough = gzip.get_ref().len() >= GZIP_CHUNK_BYTES;
        Ok(if is_enough { std::mem::take(gzip.get_mut()) } else { Vec::new() })
    }

    fn encode_last(&mut self, chunk: Vec<u8>) -> io::Result<Vec<u8>> {
        let Some(mut gzip) = self.gzip.take() else { return Ok(chunk) };
        gzip.write_all(&chunk)?;
        gzip.finish()
    }

    fn put_out(&mut self, mut chunk: Vec<u8>) -> bool {
        if self.skip >= chunk.len() {
            self.skip -= chunk.len();
            return self.shared.lock().has_followers();
        }
        chunk.drain(..std::mem::take(&mut self.skip));
        self.shared.push(chunk.into())
    }
}

impl fmt::Debug for Output {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Output").field("skip", &self.skip).finish_non_exhaustive()
    }
}
