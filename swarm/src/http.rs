//! HTTP/1.1 as a framework or an operator speaks it, with pipelined calls and endless streams.

pub(crate) mod calls;
pub(crate) mod decoder;
pub(crate) mod reader;
pub(crate) mod stream;

use std::fmt::Write as _;
use std::io;
use std::net::SocketAddrV4;
use std::time::Duration;

use base64::Engine as _;
use tokio::net::TcpStream;
use tokio::time::timeout;

/// How long opening a connection may take; a master that restarts a large cluster accepts slowly.
const DIAL_TIMEOUT: Duration = Duration::from_secs(30);

/// How messages are written in HTTP bodies.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Encoding {
    /// `application/x-protobuf`
    Protobuf,
    /// `application/json`
    Json,
}

impl Encoding {
    pub(crate) const fn media_type(self) -> &'static str {
        match self {
            Self::Protobuf => "application/x-protobuf",
            Self::Json => "application/json",
        }
    }

    pub(crate) fn encode<M: protocol::Message>(self, message: &M) -> Vec<u8> {
        match self {
            Self::Protobuf => message.encode_to_vec(),
            Self::Json => {
                let mut output = Vec::new();
                message.write_json(protocol::Names::V1, &mut output);
                output
            }
        }
    }

    /// # Errors
    /// The bytes are no such message.
    pub(crate) fn decode<M: protocol::Message>(self, bytes: &[u8]) -> io::Result<M> {
        let invalid = |error: String| io::Error::new(io::ErrorKind::InvalidData, error);
        match self {
            Self::Protobuf => M::decode(bytes).map_err(|error| invalid(error.to_string())),
            Self::Json => {
                M::from_json(bytes, protocol::Names::V1).map_err(|error| invalid(error.to_string()))
            }
        }
    }
}

/// Where requests go, and as whom.
#[derive(Clone, Debug)]
pub(crate) struct Server {
    pub(crate) address: SocketAddrV4,
    /// The value of `Authorization`, when the master wants one.
    pub(crate) authorization: Option<String>,
}

impl Server {
    pub(crate) fn new(address: SocketAddrV4, credential: Option<(&str, &str)>) -> Self {
        let encode = |(principal, secret): (&str, &str)| {
            let text = format!("{principal}:{secret}");
            format!("Basic {}", base64::engine::general_purpose::STANDARD.encode(text))
        };
        Self { address, authorization: credential.map(encode) }
    }

    pub(crate) async fn connect(&self) -> io::Result<TcpStream> {
        let stream = timeout(DIAL_TIMEOUT, TcpStream::connect(self.address)).await??;
        stream.set_nodelay(true)?;
        Ok(stream)
    }

    /// The head of a GET, complete.
    pub(crate) fn get(&self, path: &str) -> Vec<u8> {
        let mut head = format!("GET {path} HTTP/1.1\r\n");
        self.finish(&mut head);
        head.push_str("\r\n");
        head.into_bytes()
    }

    /// The head of a POST as far as it is the same for all bodies; see [`append_post`].
    pub(crate) fn post(&self, path: &str, encoding: Encoding, stream_id: Option<&str>) -> String {
        let media = encoding.media_type();
        let mut head =
            format!("POST {path} HTTP/1.1\r\nContent-Type: {media}\r\nAccept: {media}\r\n");
        if let Some(id) = stream_id {
            // Writing to a string cannot fail.
            let _ = write!(head, "Mesos-Stream-Id: {id}\r\n");
        }
        self.finish(&mut head);
        head
    }

    /// A whole POST of a form, as the endpoints take it that are older than the v1 API.
    pub(crate) fn post_form(&self, path: &str, body: &str) -> Vec<u8> {
        let mut head =
            format!("POST {path} HTTP/1.1\r\nContent-Type: application/x-www-form-urlencoded\r\n");
        self.finish(&mut head);
        let mut request = Vec::new();
        append_post(&head, body.as_bytes(), &mut request);
        request
    }

    fn finish(&self, head: &mut String) {
        let _ = write!(head, "Host: {}\r\nConnection: keep-alive\r\n", self.address);
        if let Some(authorization) = &self.authorization {
            let _ = write!(head, "Authorization: {authorization}\r\n");
        }
    }
}

/// Appends a whole POST to `output`.
pub(crate) fn append_post(head: &str, body: &[u8], output: &mut Vec<u8>) {
    output.extend_from_slice(head.as_bytes());
    output.extend_from_slice(format!("Content-Length: {}\r\n\r\n", body.len()).as_bytes());
    output.extend_from_slice(body);
}
