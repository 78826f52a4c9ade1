//! An HTTP client that shows what is on the wire.

use std::io;
use std::net::SocketAddr;

use protocol::recordio::Decoder;
use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};
use tokio::time::timeout;

use super::PATIENCE;

/// An answer whose end is known.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) status: u16,
    pub(super) headers: Vec<(String, String)>,
    pub(super) body: Vec<u8>,
}

impl Answer {
    pub(super) fn header(&self, name: &str) -> Option<&str> {
        let found = self.headers.iter().find(|(header, _)| header.eq_ignore_ascii_case(name));
        found.map(|(_, value)| value.as_str())
    }

    pub(super) fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    pub(super) fn json(&self) -> Result<Value, serde_json::Error> {
        serde_json::from_slice(&self.body)
    }
}

#[derive(Debug)]
pub(super) struct Client {
    socket: TcpStream,
    received: Vec<u8>,
    records: Decoder,
    decoded: std::collections::VecDeque<Vec<u8>>,
}

type Failure = Box<dyn std::error::Error>;

impl Client {
    pub(super) async fn connect(address: SocketAddr) -> io::Result<Self> {
        let socket = TcpStream::connect(address).await?;
        socket.set_nodelay(true)?;
        Ok(Self::over(socket))
    }

    /// A client whose window is small, so that not the kernel but the master keeps what is not read.
    pub(super) async fn connect_narrow(address: SocketAddr) -> io::Result<Self> {
        let socket = TcpSocket::new_v4()?;
        socket.set_recv_buffer_size(4096)?;
        Ok(Self::over(socket.connect(address).await?))
    }

    fn over(socket: TcpStream) -> Self {
        Self {
            socket,
            received: Vec::new(),
            records: Decoder::new(1 << 26),
            decoded: std::collections::VecDeque::new(),
        }
    }

    pub(super) async fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.socket.write_all(bytes).await
    }

    /// Sends a request and reads its answer.
    pub(super) async fn request(&mut self, request: &[u8]) -> Result<Answer, Failure> {
        self.send(request).await?;
        self.answer(request.starts_with(b"HEAD ")).await
    }

    /// Reads one answer; one to `HEAD` has no body.
    pub(super) async fn answer(&mut self, head: bool) -> Result<Answer, Failure> {
        let mut answer = self.head().await?;
        let length = match answer.header("Content-Length") {
            Some(length) if !head => length.parse()?,
            _ => 0,
        };
        while self.received.len() < length {
            self.fill().await?;
        }
        answer.body = self.received.drain(..length).collect();
        Ok(answer)
    }

    /// Reads status line and headers.
    pub(super) async fn head(&mut self) -> Result<Answer, Failure> {
        let end = loop {
            match self.received.windows(4).position(|window| window == b"\r\n\r\n") {
                Some(end) => break end,
                None => self.fill().await?,
            }
        };
        let head: Vec<u8> = self.received.drain(..end + 4).collect();
        let text = String::from_utf8(head)?;
        let mut lines = text.lines();
        let status_line = lines.next().unwrap_or_default();
        let status = status_line.split(' ').nth(1).unwrap_or_default().parse()?;
        let headers = lines
            .filter_map(|line| line.split_once(": "))
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .collect();
        Ok(Answer { status, headers, body: Vec::new() })
    }

    /// The next record of a chunked response; nothing when it has ended.
    pub(super) async fn record(&mut self) -> Result<Option<Vec<u8>>, Failure> {
        loop {
            if let Some(record) = self.decoded.pop_front() {
                return Ok(Some(record));
            }
            match self.chunk().await? {
                None => return Ok(None),
                Some(chunk) => self.decoded.extend(self.records.decode(&chunk)?),
            }
        }
    }

    /// All of a chunked response that is no stream of records.
    pub(super) async fn chunks(&mut self) -> Result<Vec<u8>, Failure> {
        let mut all = Vec::new();
        while let Some(chunk) = self.chunk().await? {
            all.extend_from_slice(&chunk);
        }
        Ok(all)
    }

    /// The next chunk of a chunked response; nothing when it has ended.
    async fn chunk(&mut self) -> Result<Option<Vec<u8>>, Failure> {
        let end = loop {
            match self.received.windows(2).position(|window| window == b"\r\n") {
                Some(end) => break end,
                None => self.fill().await?,
            }
        };
        let size = usize::from_str_radix(std::str::from_utf8(&self.received[..end])?, 16)?;
        while self.received.len() < end + 2 + size + 2 {
            self.fill().await?;
        }
        let chunk: Vec<u8> = self.received.drain(..end + 2 + size + 2).collect();
        Ok((size > 0).then(|| chunk[end + 2..end + 2 + size].to_vec()))
    }

    /// The next event that is no heartbeat, as JSON.
    pub(super) async fn event(&mut self) -> Result<Value, Failure> {
        loop {
            let record = self.record().await?.ok_or("the stream ended")?;
            let event: Value = serde_json::from_slice(&record)?;
            if event["type"] != "HEARTBEAT" {
                return Ok(event);
            }
        }
    }

    /// Reads until the other side closes.
    pub(super) async fn rest(&mut self) -> Result<Vec<u8>, Failure> {
        while self.fill().await.is_ok() {}
        Ok(std::mem::take(&mut self.received))
    }

    async fn fill(&mut self) -> Result<(), Failure> {
        let mut buffer = vec![0; 64 * 1024];
        let count = timeout(PATIENCE, self.socket.read(&mut buffer)).await??;
        if count == 0 {
            return Err("the connection was closed".into());
        }
        self.received.extend_from_slice(&buffer[..count]);
        Ok(())
    }
}
