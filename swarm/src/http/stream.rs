//! A response that never ends: RecordIO records as they come.

use std::io;

use bytes::BytesMut;
use protocol::recordio;
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpStream;

use super::Server;
use super::decoder::{Part, ResponseDecoder};

/// Room made for each read.
const READ_BYTES: usize = 64 << 10;

/// The longest body of a refusal that is shown.
const REFUSAL_BYTES_MAX: usize = 4096;

/// An open subscription.
#[derive(Debug)]
pub(crate) struct EventStream {
    connection: TcpStream,
    buffer: BytesMut,
    decoder: ResponseDecoder,
    records: recordio::Decoder,
    has_ended: bool,
    /// The value of `Mesos-Stream-Id`.
    pub(crate) stream_id: Option<String>,
}

/// Why there is no stream.
#[derive(Debug, thiserror::Error)]
pub(crate) enum StreamError {
    /// No connection, or it broke before the answer.
    #[error("no answer to the subscription")]
    Connection(#[from] io::Error),
    /// The master answered something else than a stream.
    #[error("the subscription was answered {status}: {text}")]
    Refused { status: u16, text: String },
}

impl EventStream {
    /// Sends `request` on a connection of its own and waits for the stream to begin.
    pub(crate) async fn open(server: &Server, request: &[u8]) -> Result<Self, StreamError> {
        let mut connection = server.connect().await?;
        connection.write_all(request).await?;
        let mut stream = Self {
            connection,
            buffer: BytesMut::with_capacity(READ_BYTES),
            decoder: ResponseDecoder::default(),
            records: recordio::Decoder::default(),
            has_ended: false,
            stream_id: None,
        };
        let head = loop {
            match stream.part().await? {
                Some(Part::Head(head)) => break head,
                Some(Part::Data(_) | Part::End) => {}
                None => return Err(io::Error::from(io::ErrorKind::UnexpectedEof).into()),
            }
        };
        if head.status == 200 {
            stream.stream_id = head.stream_id;
            return Ok(stream);
        }
        let mut text = head.location.map(|to| format!("redirected to {to} ")).unwrap_or_default();
        while let Ok(Some(Part::Data(data))) = stream.part().await {
            text.push_str(&String::from_utf8_lossy(&data));
            if text.len() > REFUSAL_BYTES_MAX {
                break;
            }
        }
        Err(StreamError::Refused { status: head.status, text })
    }

    /// The records that arrived since; at least one. Nothing when the stream has ended.
    ///
    /// # Errors
    /// The connection broke, or carries something else than records.
    pub(crate) async fn next(&mut self) -> io::Result<Option<Vec<Vec<u8>>>> {
        let mut records = Vec::new();
        if self.has_ended {
            return Ok(None);
        }
        loop {
            match self.decoder.next(&mut self.buffer).map_err(invalid)? {
                Some(Part::Data(data)) => {
                    records.extend(self.records.decode(&data).map_err(invalid)?);
                }
                // The connection stays open after the stream's end, so nothing else would tell of it.
                Some(Part::End) => {
                    self.has_ended = true;
                    return Ok((!records.is_empty()).then_some(records));
                }
                Some(Part::Head(_)) => return Err(invalid("a second response on a stream")),
                None if !records.is_empty() => return Ok(Some(records)),
                None => {
                    if self.fill().await? == 0 {
                        return Ok(None);
                    }
                }
            }
        }
    }

    async fn part(&mut self) -> io::Result<Option<Part>> {
        loop {
            if let Some(part) = self.decoder.next(&mut self.buffer).map_err(invalid)? {
                return Ok(Some(part));
            }
            if self.fill().await? == 0 {
                return Ok(None);
            }
        }
    }

    async fn fill(&mut self) -> io::Result<usize> {
        self.buffer.reserve(READ_BYTES);
        loop {
            self.connection.readable().await?;
            match self.connection.try_read_buf(&mut self.buffer) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                result => return result,
            }
        }
    }
}

fn invalid(error: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, error)
}

#[cfg(test)]
mod tests {
    use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4};

    use tokio::io::AsyncReadExt as _;
    use tokio::net::TcpListener;

    use super::*;

    /// A server that answers the first request with these bytes and keeps the connection open.
    async fn serve(answer: &'static [u8]) -> Server {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let SocketAddr::V4(address) = listener.local_addr().unwrap() else { unreachable!() };
        tokio::spawn(async move {
            let (mut connection, _) = listener.accept().await.unwrap();
            let mut request = [0; 1024];
            let _ = connection.read(&mut request).await.unwrap();
            connection.write_all(answer).await.unwrap();
            let _ = connection.read(&mut request).await;
        });
        Server::new(SocketAddrV4::new(Ipv4Addr::LOCALHOST, address.port()), None)
    }

    #[tokio::test]
    async fn a_stream_that_ends_together_with_its_last_record_ends() {
        let server = serve(
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nMesos-Stream-Id: x\r\n\r\n\
              4\r\n2\nab\r\n0\r\n\r\n",
        )
        .await;
        let mut stream = EventStream::open(&server, b"hello").await.unwrap();
        assert_eq!(stream.stream_id.as_deref(), Some("x"));
        assert_eq!(stream.next().await.unwrap(), Some(vec![b"ab".to_vec()]));
        assert_eq!(stream.next().await.unwrap(), None);
    }

    #[tokio::test]
    async fn a_refusal_says_why() {
        let server = serve(b"HTTP/1.1 403 Forbidden\r\nContent-Length: 7\r\n\r\nnot you").await;
        let error = EventStream::open(&server, b"hello").await.unwrap_err();
        assert_eq!(error.to_string(), "the subscription was answered 403: not you");
    }
}
