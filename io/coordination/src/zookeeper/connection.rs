//! One TCP connection to one server: frames out and in, whole and in order.

use std::io;
use std::time::Instant;

use bytes::{Buf as _, Bytes, BytesMut};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};

use super::jute::{
    Malformed, Reader, write_bool, write_bytes, write_int, write_length, write_long,
};
use super::operation::Body;

/// The longest answer that is read. Servers limit what they are sent (`jute.maxbuffer`, 1 MiB), not what
/// they send: a list of children can be longer.
const ANSWER_BYTES_MAX: usize = 16 << 20;

/// How much is read at once, if there is so much.
const READ_BYTES: usize = 64 * 1024;

/// The xids of answers that belong to no request (`org/apache/zookeeper/ClientCnxn.java`).
pub(super) const EVENT_XID: i32 = -1;
pub(super) const PING_XID: i32 = -2;
pub(super) const AUTHENTICATION_XID: i32 = -4;

pub(super) const PING: i32 = 11;
pub(super) const AUTHENTICATE: i32 = 100;
pub(super) const CLOSE_SESSION: i32 = -11;

#[derive(Debug)]
pub(super) struct Connection {
    reader: OwnedReadHalf,
    writer: OwnedWriteHalf,
    incoming: BytesMut,
    outgoing: BytesMut,
    /// When bytes last came.
    pub(super) heard: Instant,
}

impl Connection {
    /// Connects to `host:port`; the name is resolved each time, so that a moved server is found.
    pub(super) async fn open(server: &str) -> io::Result<Self> {
        let stream = TcpStream::connect(server).await?;
        stream.set_nodelay(true)?;
        let (reader, writer) = stream.into_split();
        Ok(Self {
            reader,
            writer,
            incoming: BytesMut::new(),
            outgoing: BytesMut::new(),
            heard: Instant::now(),
        })
    }

    /// Appends a request to what will be written.
    pub(super) fn queue(&mut self, xid: i32, body: &Body) {
        let mut header = Vec::with_capacity(12);
        write_length(&mut header, 8 + body.fields.len());
        write_int(&mut header, xid);
        write_int(&mut header, body.kind);
        self.outgoing.extend_from_slice(&header);
        self.outgoing.extend_from_slice(&body.fields);
    }

    /// Appends the handshake, which has no header.
    pub(super) fn queue_handshake(&mut self, handshake: &Handshake<'_>) {
        let fields = handshake.encode();
        let mut length = Vec::with_capacity(4);
        write_length(&mut length, fields.len());
        self.outgoing.extend_from_slice(&length);
        self.outgoing.extend_from_slice(&fields);
    }

    /// Writes and reads what the socket takes and gives at this moment, waiting for either. Nothing is
    /// lost when the future is dropped.
    pub(super) async fn exchange(&mut self) -> io::Result<()> {
        let Self { reader, writer, incoming, outgoing, .. } = self;
        incoming.reserve(READ_BYTES);
        tokio::select! {
            written = writer.write_buf(outgoing), if outgoing.has_remaining() => match written? {
                0 => return Err(io::ErrorKind::WriteZero.into()),
                _ => return Ok(()),
            },
            read = reader.read_buf(incoming) => if read? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            },
        }
        self.heard = Instant::now();
        Ok(())
    }

    /// Writes all that is queued, and leaves unread what comes.
    pub(super) async fn flush(&mut self) -> io::Result<()> {
        while self.outgoing.has_remaining() {
            self.writer.write_buf(&mut self.outgoing).await?;
        }
        Ok(())
    }

    /// The next whole frame that has come, without its length.
    pub(super) fn next_frame(&mut self) -> Result<Option<Bytes>, Malformed> {
        let Some(prefix) = self.incoming.first_chunk::<4>() else { return Ok(None) };
        let length = usize::try_from(i32::from_be_bytes(*prefix)).unwrap_or(usize::MAX);
        if length > ANSWER_BYTES_MAX {
            return Err(Malformed("length of an answer"));
        }
        if self.incoming.len() < 4 + length {
            return Ok(None);
        }
        self.incoming.advance(4);
        Ok(Some(self.incoming.split_to(length).freeze()))
    }
}

/// What a client says first.
#[derive(Debug)]
pub(super) struct Handshake<'a> {
    /// The latest change the client has seen: a server that is behind it refuses, so that what a client
    /// reads never goes back in time.
    pub(super) seen: i64,
    pub(super) timeout_ms: i32,
    /// 0 for a new session.
    pub(super) session: i64,
    pub(super) password: &'a [u8],
}

impl Handshake<'_> {
    fn encode(&self) -> Vec<u8> {
        let mut fields = Vec::new();
        let protocol_version = 0;
        let read_only = false;
        write_int(&mut fields, protocol_version);
        write_long(&mut fields, self.seen);
        write_int(&mut fields, self.timeout_ms);
        write_long(&mut fields, self.session);
        write_bytes(&mut fields, self.password);
        write_bool(&mut fields, read_only);
        fields
    }
}

/// What a server answers to it.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Welcome {
    /// As negotiated; 0 when there is no such session.
    pub(super) timeout_ms: u32,
    pub(super) session: i64,
    pub(super) password: Vec<u8>,
}

impl Welcome {
    pub(super) fn decode(frame: &[u8]) -> Result<Self, Malformed> {
        let mut reader = Reader::new(frame, "welcome");
        let _protocol_version = reader.int()?;
        let timeout_ms = u32::try_from(reader.int()?).unwrap_or(0);
        let session = reader.long()?;
        let password = reader.bytes()?.to_vec();
        Ok(Self { timeout_ms, session, password })
    }
}

/// The head of an answer, and where the rest begins.
#[derive(Debug)]
pub(super) struct AnswerHeader {
    pub(super) xid: i32,
    /// The latest change the server has seen.
    pub(super) seen: i64,
    /// 0 for success.
    pub(super) error: i32,
}

/// Bytes of an [`AnswerHeader`].
const HEADER_BYTES: usize = 16;

impl AnswerHeader {
    pub(super) fn split(frame: &mut Bytes) -> Result<Self, Malformed> {
        if frame.len() < HEADER_BYTES {
            return Err(Malformed("head of an answer"));
        }
        let head = frame.split_to(HEADER_BYTES);
        let mut reader = Reader::new(&head, "head of an answer");
        Ok(Self { xid: reader.int()?, seen: reader.long()?, error: reader.int()? })
    }
}

/// The path that an event is about.
pub(super) fn read_event(frame: &[u8]) -> Result<String, Malformed> {
    let mut reader = Reader::new(frame, "event");
    let _kind = reader.int()?;
    let _state = reader.int()?;
    Ok(reader.text()?.to_owned())
}
