//! Cuts the bytes of a connection into responses. No I/O here.

use bytes::{Buf, Bytes, BytesMut};

/// The longest head of a response.
const HEAD_BYTES_MAX: usize = 64 << 10;

/// The longest line between chunks.
const CHUNK_LINE_BYTES_MAX: usize = 4 << 10;

const HEADERS_MAX: usize = 64;

/// The next thing that a connection carries.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Part {
    /// A response begins.
    Head(Head),
    /// A piece of its body.
    Data(Bytes),
    /// It is complete.
    End,
}

/// What matters of a response's head.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Head {
    pub(crate) status: u16,
    pub(crate) stream_id: Option<String>,
    pub(crate) location: Option<String>,
}

/// Why bytes are not HTTP responses.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum ResponseError {
    #[error("the response's head is not HTTP")]
    Head,
    #[error("the response's Content-Length is not a number")]
    Length,
    #[error("the response's chunks are malformed")]
    Chunk,
}

/// Reads one connection's responses, in order.
#[derive(Debug, Default)]
pub(crate) struct ResponseDecoder(State);

#[derive(Clone, Copy, Debug, Default)]
enum State {
    #[default]
    Head,
    Length(usize),
    ChunkSize,
    Chunk(usize),
    ChunkEnd,
    Trailer,
    UntilClose,
}

impl ResponseDecoder {
    /// Takes the next part from the front of `buffer`, or nothing when more bytes are needed.
    ///
    /// # Errors
    /// The bytes are no response. Nothing after them can be understood.
    pub(crate) fn next(&mut self, buffer: &mut BytesMut) -> Result<Option<Part>, ResponseError> {
        loop {
            match self.0 {
                State::Head => return self.head(buffer),
                State::Length(0) => {
                    self.0 = State::Head;
                    return Ok(Some(Part::End));
                }
                State::Length(rest) => {
                    let data = take(buffer, rest);
                    self.0 = State::Length(rest - data.len());
                    return Ok(part(data));
                }
                State::ChunkSize => match httparse::parse_chunk_size(buffer) {
                    Ok(httparse::Status::Complete((line, size))) => {
                        buffer.advance(line);
                        let size = usize::try_from(size).map_err(|_| ResponseError::Chunk)?;
                        self.0 = if size == 0 { State::Trailer } else { State::Chunk(size) };
                    }
                    Ok(httparse::Status::Partial) if buffer.len() <= CHUNK_LINE_BYTES_MAX => {
                        return Ok(None);
                    }
                    Ok(httparse::Status::Partial) | Err(_) => return Err(ResponseError::Chunk),
                },
                State::Chunk(rest) => {
                    let data = take(buffer, rest);
                    let left = rest - data.len();
                    self.0 = if left == 0 { State::ChunkEnd } else { State::Chunk(left) };
                    return Ok(part(data));
                }
                State::ChunkEnd => {
                    if buffer.len() < 2 {
                        return Ok(None);
                    }
                    if buffer[..2] != *b"\r\n" {
                        return Err(ResponseError::Chunk);
                    }
                    buffer.advance(2);
                    self.0 = State::ChunkSize;
                }
                State::Trailer => {
                    let Some(end) = buffer.iter().position(|byte| *byte == b'\n') else {
                        return Ok(None);
                    };
                    let is_last = matches!(&buffer[..end], b"" | b"\r");
                    buffer.advance(end + 1);
                    if is_last {
                        self.0 = State::Head;
                        return Ok(Some(Part::End));
                    }
                }
                State::UntilClose => {
                    let rest = buffer.len();
                    return Ok(part(take(buffer, rest)));
                }
            }
        }
    }

    /// Whether the connection may close here without anything being cut off.
    pub(crate) fn may_end(&self, buffer: &BytesMut) -> bool {
        buffer.is_empty() && matches!(self.0, State::Head | State::UntilClose)
    }

    fn head(&mut self, buffer: &mut BytesMut) -> Result<Option<Part>, ResponseError> {
        let mut headers = [httparse::EMPTY_HEADER; HEADERS_MAX];
        let mut response = httparse::Response::new(&mut headers);
        let length = match response.parse(buffer).map_err(|_| ResponseError::Head)? {
            httparse::Status::Complete(length) => length,
            httparse::Status::Partial if buffer.len() <= HEAD_BYTES_MAX => return Ok(None),
            httparse::Status::Partial => return Err(ResponseError::Head),
        };
        let (head, state) = understand(&response)?;
        buffer.advance(length);
        self.0 = state;
        Ok(Some(Part::Head(head)))
    }
}

fn understand(response: &httparse::Response<'_, '_>) -> Result<(Head, State), ResponseError> {
    let status = response.code.unwrap_or_default();
    let mut head = Head { status, stream_id: None, location: None };
    let mut state = None;
    for header in response.headers.iter() {
        let text = || String::from_utf8_lossy(header.value).trim().to_owned();
        if header.name.eq_ignore_ascii_case("content-length") {
            let length = text().parse().map_err(|_| ResponseError::Length)?;
            state = state.or(Some(State::Length(length)));
        } else if header.name.eq_ignore_ascii_case("transfer-encoding") {
            state = Some(State::ChunkSize);
        } else if header.name.eq_ignore_ascii_case("mesos-stream-id") {
            head.stream_id = Some(text());
        } else if header.name.eq_ignore_ascii_case("location") {
            head.location = Some(text());
        }
    }
    let has_no_body = status < 200 || status == 204 || status == 304;
    let state = if has_no_body { State::Length(0) } else { state.unwrap_or(State::UntilClose) };
    Ok((head, state))
}

fn take(buffer: &mut BytesMut, limit: usize) -> Bytes {
    buffer.split_to(limit.min(buffer.len())).freeze()
}

fn part(data: Bytes) -> Option<Part> {
    (!data.is_empty()).then_some(Part::Data(data))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn decode_all(pieces: &[&[u8]]) -> Result<Vec<(u16, Vec<u8>)>, ResponseError> {
        let mut decoder = ResponseDecoder::default();
        let mut buffer = BytesMut::new();
        let mut responses = Vec::new();
        for piece in pieces {
            buffer.extend_from_slice(piece);
            while let Some(part) = decoder.next(&mut buffer)? {
                match part {
                    Part::Head(head) => responses.push((head.status, Vec::new())),
                    Part::Data(data) => {
                        if let Some((_, body)) = responses.last_mut() {
                            body.extend_from_slice(&data);
                        }
                    }
                    Part::End => {}
                }
            }
        }
        Ok(responses)
    }

    const STREAM: &[u8] = b"HTTP/1.1 202 Accepted\r\nContent-Length: 0\r\n\r\n\
        HTTP/1.1 400 Bad Request\r\ncontent-length: 5\r\n\r\nwrong\
        HTTP/1.1 204 No Content\r\n\r\n\
        HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nMesos-Stream-Id: abc\r\n\r\n\
        5\r\nhello\r\n6;x=y\r\n world\r\n0\r\nTrailer: 1\r\n\r\n\
        HTTP/1.1 202 Accepted\r\nContent-Length: 0\r\n\r\n";

    #[test]
    fn pipelined_responses_come_in_order() {
        let expected = vec![
            (202, Vec::new()),
            (400, b"wrong".to_vec()),
            (204, Vec::new()),
            (200, b"hello world".to_vec()),
            (202, Vec::new()),
        ];
        assert_eq!(decode_all(&[STREAM]), Ok(expected));
    }

    #[test]
    fn nonsense_is_an_error() {
        assert_eq!(decode_all(&[b"SMTP hello\r\n\r\n"]), Err(ResponseError::Head));
        let bad = b"HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\n";
        assert_eq!(decode_all(&[bad]), Err(ResponseError::Length));
        let bad = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nabc\r\n";
        assert_eq!(decode_all(&[bad]), Err(ResponseError::Chunk));
    }

    #[test]
    fn a_body_may_last_until_the_connection_closes() {
        let mut decoder = ResponseDecoder::default();
        let mut buffer = BytesMut::from(&b"HTTP/1.1 200 OK\r\n\r\nab"[..]);
        assert!(matches!(decoder.next(&mut buffer), Ok(Some(Part::Head(_)))));
        assert_eq!(decoder.next(&mut buffer), Ok(Some(Part::Data(Bytes::from_static(b"ab")))));
        assert_eq!(decoder.next(&mut buffer), Ok(None));
        assert!(decoder.may_end(&buffer));
    }

    proptest! {
        #[test]
        fn any_cut_gives_the_same_responses(piece in 1_usize..40) {
            let pieces: Vec<&[u8]> = STREAM.chunks(piece).collect();
            prop_assert_eq!(decode_all(&pieces), decode_all(&[STREAM]));
        }

        #[test]
        fn no_bytes_make_it_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = decode_all(&[&bytes]);
        }
    }
}
