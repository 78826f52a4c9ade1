//! Cuts a connection's bytes into messages, and finds where ordinary HTTP begins. No I/O here.
//!
//! A request is a message when it is a POST whose `User-Agent` starts with `libprocess/` or that has
//! a `Libprocess-From` header (`libprocess()` in `3rdparty/libprocess/src/process.cpp`).

use bytes::{Buf, Bytes, BytesMut};

/// The longest request head looked at. A longer one is no message; the HTTP server that takes the
/// connection over has its own limit.
pub const HEAD_BYTES_MAX: usize = 64 << 10;

/// The longest body of a message: far above the re-registration of the largest agent.
pub const BODY_BYTES_MAX: usize = 256 << 20;

/// The longest line between chunks: sizes with their extensions, and trailers.
const CHUNK_LINE_BYTES_MAX: usize = 4 << 10;

const HEADERS_MAX: usize = 64;
const METHOD: &[u8] = b"POST ";
const AGENT_PREFIX: &str = "libprocess/";

/// What the next bytes of a connection are.
#[derive(Debug)]
pub enum Framed {
    /// More bytes are needed.
    Incomplete,
    /// A whole message, removed from the buffer.
    Message(Request),
    /// The request that starts at the front of the buffer is ordinary HTTP.
    Http,
}

/// One message as it was framed, before its names are understood.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    /// The sender pid as text; its host may be a name.
    pub from: String,
    /// The path without its query, such as `/slave(1)/mesos.internal.PingSlaveMessage`.
    pub path: String,
    /// The protobuf message.
    pub body: Bytes,
    /// Whether the connection stays open after the answer.
    pub keep_alive: bool,
}

impl Request {
    /// The actor, percent-decoded, and the message's name, which may be empty.
    ///
    /// # Errors
    /// The path does not start with `/`, or its first part is not percent-encoded UTF-8.
    pub fn recipient(&self) -> Result<(String, String), DecodeError> {
        let path = self.path.strip_prefix('/').ok_or(DecodeError::Path)?;
        let (actor, name) = path.split_once('/').unwrap_or((path, ""));
        Ok((percent_decode(actor).ok_or(DecodeError::Path)?, name.to_owned()))
    }
}

/// Why a message cannot be taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum DecodeError {
    /// The path names no actor.
    #[error("Request URL path must be '/<actor>/<message>'")]
    Path,
    /// `Content-Length` is not one number.
    #[error("Content-Length is not a number")]
    ContentLength,
    /// The body is longer than [`BODY_BYTES_MAX`].
    #[error("the body is longer than the limit of {BODY_BYTES_MAX} bytes")]
    BodyTooLong,
    /// The body is not chunked as it should be.
    #[error("the chunked body is malformed")]
    Chunk,
}

/// Reads one connection's requests, in order.
#[derive(Debug, Default)]
pub struct Decoder {
    state: State,
}

#[derive(Debug)]
enum State {
    /// Before the end of a head; so many bytes of the buffer hold no end.
    Head {
        scanned: usize,
    },
    Length {
        head: Head,
        length: usize,
    },
    Chunks {
        head: Head,
        body: BytesMut,
    },
    Trailer {
        head: Head,
        body: BytesMut,
    },
}

impl Default for State {
    fn default() -> Self {
        Self::Head { scanned: 0 }
    }
}

#[derive(Debug, Default)]
struct Head {
    from: String,
    path: String,
    keep_alive: bool,
    framing: Framing,
}

#[derive(Debug, Default)]
enum Framing {
    #[default]
    None,
    Length(usize),
    Chunked,
}

impl Head {
    fn with_body(self, body: Bytes) -> Framed {
        Framed::Message(Request {
            from: self.from,
            path: self.path,
            body,
            keep_alive: self.keep_alive,
        })
    }
}

impl Decoder {
    /// Takes the next message from the front of `buffer`. To be called again, with no new bytes,
    /// until it says [`Framed::Incomplete`]; not after [`Framed::Http`] or an error, when the start
    /// of the next message is unknown.
    ///
    /// # Errors
    /// The body is framed wrongly or too long.
    pub fn next(&mut self, buffer: &mut BytesMut) -> Result<Framed, DecodeError> {
        loop {
            match std::mem::take(&mut self.state) {
                State::Head { scanned } => match Self::head(buffer, scanned)? {
                    HeadStep::Incomplete { scanned } => {
                        self.state = State::Head { scanned };
                        return Ok(Framed::Incomplete);
                    }
                    HeadStep::Http => return Ok(Framed::Http),
                    HeadStep::Message(head) => match head.framing {
                        Framing::None => return Ok(head.with_body(Bytes::new())),
                        Framing::Length(length) => self.state = State::Length { head, length },
                        Framing::Chunked => {
                            self.state = State::Chunks { head, body: BytesMut::new() };
                        }
                    },
                },
                State::Length { head, length } => {
                    if buffer.len() < length {
                        self.state = State::Length { head, length };
                        return Ok(Framed::Incomplete);
                    }
                    return Ok(head.with_body(buffer.split_to(length).freeze()));
                }
                State::Chunks { head, mut body } => match chunk(buffer, &mut body)? {
                    ChunkStep::Incomplete => {
                        self.state = State::Chunks { head, body };
                        return Ok(Framed::Incomplete);
                    }
                    ChunkStep::Taken => self.state = State::Chunks { head, body },
                    ChunkStep::Last => self.state = State::Trailer { head, body },
                },
                State::Trailer { head, body } => {
                    if !trailer(buffer)? {
                        self.state = State::Trailer { head, body };
                        return Ok(Framed::Incomplete);
                    }
                    return Ok(head.with_body(body.freeze()));
                }
            }
        }
    }

    /// Whether no message is half read, given that `buffer` is what is left of the stream.
    #[must_use]
    pub fn is_at_boundary(&self, buffer: &BytesMut) -> bool {
        matches!(self.state, State::Head { .. }) && buffer.is_empty()
    }

    fn head(buffer: &mut BytesMut, scanned: usize) -> Result<HeadStep, DecodeError> {
        if scanned == 0 {
            // Empty lines before a request line are ignored, as every HTTP server does.
            let blank = buffer.iter().take_while(|byte| matches!(byte, b'\r' | b'\n')).count();
            buffer.advance(blank);
        }
        let compared = buffer.len().min(METHOD.len());
        if buffer[..compared] != METHOD[..compared] {
            return Ok(HeadStep::Http);
        }
        let Some(end) = end_of_head(buffer, scanned) else {
            if buffer.len() > HEAD_BYTES_MAX {
                return Ok(HeadStep::Http);
            }
            return Ok(HeadStep::Incomplete { scanned: buffer.len() });
        };
        let Some(head) = parse_head(&buffer[..end])? else { return Ok(HeadStep::Http) };
        buffer.advance(end);
        Ok(HeadStep::Message(head))
    }
}

enum HeadStep {
    Incomplete { scanned: usize },
    Http,
    Message(Head),
}

/// The length of the head with its blank line. The first `scanned` bytes hold none.
fn end_of_head(buffer: &[u8], scanned: usize) -> Option<usize> {
    let start = scanned.saturating_sub(2);
    for (index, byte) in buffer.iter().enumerate().skip(start) {
        if *byte == b'\n' {
            match buffer.get(index + 1..) {
                Some([b'\n', ..]) => return Some(index + 2),
                Some([b'\r', b'\n', ..]) => return Some(index + 3),
                _ => {}
            }
        }
    }
    None
}

/// `None` when it is no message, or nothing that can be understood as HTTP.
fn parse_head(bytes: &[u8]) -> Result<Option<Head>, DecodeError> {
    let mut headers = [httparse::EMPTY_HEADER; HEADERS_MAX];
    let mut request = httparse::Request::new(&mut headers);
    let Ok(httparse::Status::Complete(_)) = request.parse(bytes) else { return Ok(None) };
    let mut from = None;
    let mut agent = None;
    let mut chunked = false;
    let mut length = None;
    let mut keep_alive = request.version == Some(1);
    for header in request.headers.iter() {
        let name = header.name;
        let value = header.value.trim_ascii();
        if name.eq_ignore_ascii_case("libprocess-from") {
            from = Some(String::from_utf8_lossy(value).into_owned());
        } else if name.eq_ignore_ascii_case("user-agent") {
            agent = std::str::from_utf8(value)
                .ok()
                .and_then(|value| value.strip_prefix(AGENT_PREFIX))
                .and_then(|value| value.split_ascii_whitespace().next().or(Some("")));
        } else if name.eq_ignore_ascii_case("transfer-encoding") {
            chunked = ends_with_chunked(value);
        } else if name.eq_ignore_ascii_case("content-length") {
            length = Some(value);
        } else if name.eq_ignore_ascii_case("connection") {
            keep_alive = if value.eq_ignore_ascii_case(b"keep-alive") {
                true
            } else if value.eq_ignore_ascii_case(b"close") {
                false
            } else {
                keep_alive
            };
        }
    }
    let Some(from) = from.or_else(|| agent.map(str::to_owned)) else { return Ok(None) };
    let framing = match length {
        _ if chunked => Framing::Chunked,
        Some(length) => Framing::Length(parse_length(length)?),
        None => Framing::None,
    };
    let target = request.path.unwrap_or_default();
    let path = target.split(['?', '#']).next().unwrap_or_default().to_owned();
    Ok(Some(Head { from, path, keep_alive, framing }))
}

fn ends_with_chunked(value: &[u8]) -> bool {
    let last = value.rsplit(|byte| *byte == b',').next().unwrap_or_default();
    last.trim_ascii().eq_ignore_ascii_case(b"chunked")
}

fn parse_length(value: &[u8]) -> Result<usize, DecodeError> {
    if value.is_empty() || !value.iter().all(u8::is_ascii_digit) {
        return Err(DecodeError::ContentLength);
    }
    let text = std::str::from_utf8(value).map_err(|_| DecodeError::ContentLength)?;
    match text.parse() {
        Ok(length) if length <= BODY_BYTES_MAX => Ok(length),
        _ => Err(DecodeError::BodyTooLong),
    }
}

enum ChunkStep {
    Incomplete,
    Taken,
    Last,
}

fn chunk(buffer: &mut BytesMut, body: &mut BytesMut) -> Result<ChunkStep, DecodeError> {
    let (line, size) = match httparse::parse_chunk_size(buffer) {
        Ok(httparse::Status::Complete(parsed)) => parsed,
        Ok(httparse::Status::Partial) if buffer.len() <= CHUNK_LINE_BYTES_MAX => {
            return Ok(ChunkStep::Incomplete);
        }
        _ => return Err(DecodeError::Chunk),
    };
    if size == 0 {
        buffer.advance(line);
        return Ok(ChunkStep::Last);
    }
    let size = usize::try_from(size).map_err(|_| DecodeError::BodyTooLong)?;
    if size > BODY_BYTES_MAX - body.len() {
        return Err(DecodeError::BodyTooLong);
    }
    let Some([first, second, ..]) = buffer.get(line + size..) else {
        return Ok(ChunkStep::Incomplete);
    };
    if [*first, *second] != *b"\r\n" {
        return Err(DecodeError::Chunk);
    }
    buffer.advance(line);
    let data = buffer.split_to(size);
    buffer.advance(2);
    // Libprocess sends a body as one chunk, which is then taken without copying it.
    if body.is_empty() {
        *body = data;
    } else {
        body.extend_from_slice(&data);
    }
    Ok(ChunkStep::Taken)
}

/// Skips the lines after the last chunk; says whether the blank one was found.
fn trailer(buffer: &mut BytesMut) -> Result<bool, DecodeError> {
    while let Some(end) = buffer.iter().position(|byte| *byte == b'\n') {
        let blank = matches!(&buffer[..end], b"" | b"\r");
        buffer.advance(end + 1);
        if blank {
            return Ok(true);
        }
    }
    if buffer.len() > CHUNK_LINE_BYTES_MAX { Err(DecodeError::Chunk) } else { Ok(false) }
}

fn percent_decode(text: &str) -> Option<String> {
    if !text.contains('%') {
        return Some(text.to_owned());
    }
    let mut output = Vec::with_capacity(text.len());
    let mut bytes = text.bytes();
    while let Some(byte) = bytes.next() {
        if byte != b'%' {
            output.push(byte);
            continue;
        }
        let high = char::from(bytes.next()?).to_digit(16)?;
        let low = char::from(bytes.next()?).to_digit(16)?;
        output.push(u8::try_from(high * 16 + low).ok()?);
    }
    String::from_utf8(output).ok()
}

#[cfg(test)]
mod tests;
