//! Reads HTTP/1.1 responses from a byte stream that arrives in pieces (RFC 9112).

/// The longest head of a response, and the longest line inside a chunked body.
const HEAD_BYTES_MAX: usize = 64 << 10;

/// The most header fields of a response.
const HEADERS_MAX: usize = 64;

/// A piece of a response.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Part {
    /// The head, with the status code and, of a redirect, where to.
    Head { status: u16, location: Option<String> },
    /// Some of the body.
    Body(Vec<u8>),
    /// The response is complete.
    End,
}

/// Why bytes are no HTTP response.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum HttpError {
    #[error("malformed head of an HTTP response")]
    Head(#[from] httparse::Error),
    #[error("the head of an HTTP response is longer than {HEAD_BYTES_MAX} bytes")]
    HeadTooLong,
    #[error("malformed length of an HTTP response")]
    Length,
    #[error("malformed chunk in an HTTP response")]
    Chunk,
}

/// Cuts one connection's bytes into the parts of its responses, which follow each other.
#[derive(Debug, Default)]
pub(crate) struct ResponseDecoder {
    /// Bytes that are not complete enough to be taken.
    buffer: Vec<u8>,
    state: State,
}

#[derive(Clone, Copy, Debug, Default)]
enum State {
    #[default]
    Head,
    /// So many bytes of a body of known length are missing.
    Sized(u64),
    ChunkSize,
    /// So many bytes of a chunk are missing.
    Chunk(u64),
    ChunkEnd,
    Trailers,
    /// The body ends with the connection.
    UntilClose,
}

impl ResponseDecoder {
    /// Takes the next bytes of the connection and gives the parts they complete.
    pub(crate) fn decode(&mut self, data: &[u8]) -> Result<Vec<Part>, HttpError> {
        self.buffer.extend_from_slice(data);
        let mut parts = Vec::new();
        while self.step(&mut parts)? {}
        if self.buffer.is_empty() {
            // A stream is idle most of the time, and should not hold memory meanwhile.
            self.buffer = Vec::new();
        }
        Ok(parts)
    }

    /// Takes one piece from the buffer; false when there is none to take.
    fn step(&mut self, parts: &mut Vec<Part>) -> Result<bool, HttpError> {
        match self.state {
            State::Head => self.head(parts),
            State::Sized(left) => Ok(self.body(left, State::Sized, parts)),
            State::Chunk(left) => Ok(self.body(left, State::Chunk, parts)),
            State::UntilClose => Ok(self.body(u64::MAX, |_| State::UntilClose, parts)),
            State::ChunkSize => self.chunk_size(),
            State::ChunkEnd => {
                let Some(line) = self.line()? else { return Ok(false) };
                self.state = State::ChunkSize;
                if line.is_empty() { Ok(true) } else { Err(HttpError::Chunk) }
            }
            State::Trailers => {
                let Some(line) = self.line()? else { return Ok(false) };
                if line.is_empty() {
                    self.end(parts);
                }
                Ok(true)
            }
        }
    }

    fn end(&mut self, parts: &mut Vec<Part>) {
        self.state = State::Head;
        parts.push(Part::End);
    }

    fn head(&mut self, parts: &mut Vec<Part>) -> Result<bool, HttpError> {
        let mut headers = [httparse::EMPTY_HEADER; HEADERS_MAX];
        let mut response = httparse::Response::new(&mut headers);
        let httparse::Status::Complete(length) = response.parse(&self.buffer)? else {
            let too_long = self.buffer.len() > HEAD_BYTES_MAX;
            return if too_long { Err(HttpError::HeadTooLong) } else { Ok(false) };
        };
        let status = response.code.unwrap_or_default();
        let header = |name: &str| {
            response
                .headers
                .iter()
                .find(|header| header.name.eq_ignore_ascii_case(name))
                .and_then(|header| std::str::from_utf8(header.value).ok())
        };
        let location = header("Location").map(str::to_owned);
        let chunked = header("Transfer-Encoding")
            .is_some_and(|value| value.to_ascii_lowercase().ends_with("chunked"));
        self.state = match header("Content-Length") {
            _ if chunked => State::ChunkSize,
            _ if status < 200 || status == 204 || status == 304 => State::Sized(0),
            Some(length) => State::Sized(length.trim().parse().map_err(|_| HttpError::Length)?),
            None => State::UntilClose,
        };
        self.buffer.drain(..length);
        if status < 200 {
            // An interim response is followed by the real one.
            self.state = State::Head;
            return Ok(true);
        }
        parts.push(Part::Head { status, location });
        if matches!(self.state, State::Sized(0)) {
            self.end(parts);
        }
        Ok(true)
    }

    fn body(&mut self, left: u64, state: fn(u64) -> State, parts: &mut Vec<Part>) -> bool {
        if self.buffer.is_empty() {
            return false;
        }
        let available = self.buffer.len();
        let taken = usize::try_from(left).map_or(available, |left| left.min(available));
        parts.push(Part::Body(self.buffer.drain(..taken).collect()));
        let left = left - taken as u64;
        self.state = state(left);
        match self.state {
            State::Sized(0) => self.end(parts),
            State::Chunk(0) => self.state = State::ChunkEnd,
            State::Head
            | State::Sized(_)
            | State::ChunkSize
            | State::Chunk(_)
            | State::ChunkEnd
            | State::Trailers
            | State::UntilClose => {}
        }
        true
    }

    fn chunk_size(&mut self) -> Result<bool, HttpError> {
        match httparse::parse_chunk_size(&self.buffer).map_err(|_| HttpError::Chunk)? {
            httparse::Status::Complete((length, size)) => {
                self.buffer.drain(..length);
                self.state = if size == 0 { State::Trailers } else { State::Chunk(size) };
                Ok(true)
            }
            httparse::Status::Partial if self.buffer.len() > HEAD_BYTES_MAX => {
                Err(HttpError::Chunk)
            }
            httparse::Status::Partial => Ok(false),
        }
    }

    fn line(&mut self) -> Result<Option<Vec<u8>>, HttpError> {
        let Some(end) = self.buffer.windows(2).position(|bytes| bytes == b"\r\n") else {
            let too_long = self.buffer.len() > HEAD_BYTES_MAX;
            return if too_long { Err(HttpError::Chunk) } else { Ok(None) };
        };
        let line = self.buffer.drain(..end + 2).take(end).collect();
        Ok(Some(line))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn head(status: u16) -> Part {
        Part::Head { status, location: None }
    }

    /// What a stream decodes to when cut into pieces of this size, bodies joined.
    fn decode(text: &[u8], piece: usize) -> Vec<Part> {
        let mut decoder = ResponseDecoder::default();
        let mut joined: Vec<Part> = Vec::new();
        for data in text.chunks(piece) {
            for part in decoder.decode(data).unwrap() {
                match (joined.last_mut(), part) {
                    (Some(Part::Body(body)), Part::Body(more)) => body.extend(more),
                    (_, part) => joined.push(part),
                }
            }
        }
        joined
    }

    #[test]
    fn pieces_of_any_size_give_the_same_responses() {
        let text =
            b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 202 Accepted\r\nContent-Length: 0\r\n\r\n\
            HTTP/1.1 400 Bad\r\ncontent-length: 3\r\n\r\nbad\
            HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n\
            3\r\nabc\r\n4;x=y\r\ndefg\r\n0\r\nA: b\r\n\r\n\
            HTTP/1.1 204 No Content\r\n\r\n";
        let expected = [
            head(202),
            Part::End,
            head(400),
            Part::Body(b"bad".to_vec()),
            Part::End,
            head(200),
            Part::Body(b"abcdefg".to_vec()),
            Part::End,
            head(204),
            Part::End,
        ];
        for piece in [1, 2, 3, 7, 1000] {
            assert_eq!(decode(text, piece), expected);
        }
    }

    #[test]
    fn a_body_without_length_goes_on_until_the_connection_ends() {
        let text = b"HTTP/1.0 302 Found\r\nLocation: /there\r\n\r\nabc";
        let expected = [
            Part::Head { status: 302, location: Some("/there".to_owned()) },
            Part::Body(b"abc".to_vec()),
        ];
        assert_eq!(decode(text, 5), expected);
    }

    #[test]
    fn garbage_is_refused() {
        let decode = |text: &[u8]| ResponseDecoder::default().decode(text).unwrap_err();
        assert!(matches!(decode(b"\x16\x03\x01 no"), HttpError::Head(_)));
        assert_eq!(decode(b"HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\n"), HttpError::Length);
        let chunked = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";
        assert_eq!(decode(&[&chunked[..], b"zz\r\n"].concat()), HttpError::Chunk);
        assert_eq!(decode(&[&chunked[..], b"1\r\nab\r\n"].concat()), HttpError::Chunk);
        let endless = [&b"HTTP/1.1 200 OK\r\nA: "[..], &vec![b'a'; HEAD_BYTES_MAX]].concat();
        assert_eq!(decode(&endless), HttpError::HeadTooLong);
    }
}
