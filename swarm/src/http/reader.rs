//! Reads answers whole, and measures how long they take.

use std::io;
use std::time::{Duration, Instant};

use bytes::BytesMut;
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::Server;
use super::decoder::{Part, ResponseDecoder};

/// Room made for each read.
const READ_BYTES: usize = 256 << 10;

/// One answer and how long it took.
#[derive(Clone, Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    /// The body, when it was asked for.
    pub(crate) body: Vec<u8>,
    pub(crate) body_bytes: u64,
    /// From the request to the first byte of the answer.
    pub(crate) first_byte: Duration,
    /// From the request to the last byte.
    pub(crate) total: Duration,
}

/// Whether an answer's body is wanted or only its length.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Body {
    Keep,
    Count,
}

/// A client that reads one page after the other over one connection.
#[derive(Debug)]
pub(crate) struct Reader {
    server: Server,
    connection: Option<TcpStream>,
    patience: Duration,
}

impl Reader {
    pub(crate) fn new(server: Server, patience: Duration) -> Self {
        Self { server, connection: None, patience }
    }

    /// # Errors
    /// No connection, no whole answer, or none within the patience. The next request opens a new
    /// connection.
    pub(crate) async fn get(&mut self, path: &str, body: Body) -> io::Result<Answer> {
        let request = self.server.get(path);
        self.exchange(&request, body).await
    }

    /// Sends a whole request and reads its answer; errors as for [`Reader::get`].
    pub(crate) async fn exchange(&mut self, request: &[u8], body: Body) -> io::Result<Answer> {
        let mut connection = match self.connection.take() {
            Some(connection) => connection,
            None => timeout(self.patience, self.server.connect()).await??,
        };
        let answer = timeout(self.patience, exchange(&mut connection, request, body)).await??;
        self.connection = Some(connection);
        Ok(answer)
    }
}

async fn exchange(connection: &mut TcpStream, request: &[u8], body: Body) -> io::Result<Answer> {
    let start = Instant::now();
    connection.write_all(request).await?;
    let mut decoder = ResponseDecoder::default();
    let mut buffer = BytesMut::new();
    let mut answer = Answer {
        status: 0,
        body: Vec::new(),
        body_bytes: 0,
        first_byte: Duration::ZERO,
        total: Duration::ZERO,
    };
    loop {
        while let Some(part) = decoder.next(&mut buffer).map_err(io::Error::other)? {
            match part {
                Part::Head(head) => answer.status = head.status,
                Part::Data(data) => {
                    answer.body_bytes += u64::try_from(data.len()).unwrap_or(u64::MAX);
                    if body == Body::Keep {
                        answer.body.extend_from_slice(&data);
                    }
                }
                Part::End => {
                    answer.total = start.elapsed();
                    return Ok(answer);
                }
            }
        }
        buffer.reserve(READ_BYTES);
        connection.readable().await?;
        match connection.try_read_buf(&mut buffer) {
            Ok(0) if decoder.may_end(&buffer) && answer.status != 0 => {
                answer.total = start.elapsed();
                return Ok(answer);
            }
            Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
            Ok(_) if answer.first_byte.is_zero() => answer.first_byte = start.elapsed(),
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(error) => return Err(error),
        }
    }
}
