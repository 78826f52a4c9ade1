//! A request whose head and body have arrived.

use std::net::SocketAddr;

use bytes::{Bytes, BytesMut};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use hyper::header::{self, HeaderMap, HeaderName};
use hyper::{Method, StatusCode};

use super::compression::{DecompressError, decompress};
use super::connection::ConnectionHandle;
use super::media::{ContentType, accepts_encoding};
use super::query::Query;
use super::{
    Callback, Coding, DRAIN_TIMEOUT, REQUEST_BODY_BYTES_MAX, REQUEST_STALL_TIMEOUT, Response,
};

/// One HTTP request.
#[derive(Debug)]
pub struct Request {
    /// `GET`, `POST`, ...
    pub method: Method,
    /// The path, as it came.
    pub path: String,
    /// Path and query, as they came: what a redirect repeats.
    pub target: String,
    /// The decoded query string.
    pub query: Query,
    /// The headers.
    pub headers: HeaderMap,
    /// The body, decompressed.
    pub body: Bytes,
    /// Who sent it, if it had to say and prove so.
    pub principal: Option<String>,
    /// The other end of the connection.
    pub peer: SocketAddr,
    /// The connection, on which the response may become a stream.
    pub connection: ConnectionHandle,
}

impl Request {
    /// The value of a header, if it is there once and is text.
    #[must_use]
    pub fn header(&self, name: impl Into<HeaderName>) -> Option<&str> {
        self.headers.get(name.into()).and_then(|value| value.to_str().ok())
    }

    /// The encoding for an answer; none when the client accepts neither JSON nor protobuf.
    #[must_use]
    pub fn accepted_content_type(&self) -> Option<ContentType> {
        ContentType::negotiate(self.header(header::ACCEPT))
    }

    /// Whether a compressed answer may be sent.
    #[must_use]
    pub fn accepts_gzip(&self) -> bool {
        accepts_encoding(self.header(header::ACCEPT_ENCODING), "gzip")
    }

    /// What a large answer is to be sent as.
    #[must_use]
    pub fn accepted_coding(&self) -> Coding {
        if self.accepts_gzip() { Coding::Gzip } else { Coding::Identity }
    }

    /// The function that a script is to call with the JSON asked for; none if plain JSON is wanted.
    ///
    /// # Errors
    /// 400 when it is no name of a function.
    pub fn callback(&self) -> Result<Option<Callback>, Response> {
        let callback = self.query.get("jsonp").map(Callback::parse).transpose();
        callback.map_err(|error| Response::bad_request(error.to_string()))
    }

    /// Whether this is a read: `GET`, or `HEAD`, which is answered as `GET` without the body.
    #[must_use]
    pub fn is_read(&self) -> bool {
        self.method == Method::GET || self.method == Method::HEAD
    }

    /// Reads what hyper has parsed.
    pub(super) async fn receive(
        request: hyper::Request<Incoming>,
        peer: SocketAddr,
        connection: ConnectionHandle,
    ) -> Result<Self, Response> {
        let (parts, body) = request.into_parts();
        let query = Query::parse(parts.uri.query().unwrap_or_default())
            .map_err(|error| Response::bad_request(error.to_string()))?;
        let mut body = read_body(&parts.headers, body).await?;
        if is_gzip(&parts.headers) {
            body = decompress(&body, REQUEST_BODY_BYTES_MAX).map(Bytes::from).map_err(|error| {
                match error {
                    DecompressError::Malformed(_) => Response::bad_request(error.to_string()),
                    DecompressError::TooLarge { .. } => too_large(),
                }
            })?;
        }
        let target = parts.uri.path_and_query().map_or_else(|| "/".to_owned(), ToString::to_string);
        Ok(Self {
            method: parts.method,
            path: parts.uri.path().to_owned(),
            target,
            query,
            headers: parts.headers,
            body,
            principal: None,
            peer,
            connection,
        })
    }
}

fn is_gzip(headers: &HeaderMap) -> bool {
    headers
        .get(header::CONTENT_ENCODING)
        .is_some_and(|value| value.as_bytes().eq_ignore_ascii_case(b"gzip"))
}

fn too_large() -> Response {
    let text = format!("The request body is larger than {REQUEST_BODY_BYTES_MAX} bytes");
    Response::text(StatusCode::PAYLOAD_TOO_LARGE, text).closing()
}

/// Takes the rest of a body that is refused, while the answer is written.
///
/// A connection that is closed with bytes unread is reset, and the client may never see the answer.
async fn discard(mut body: Incoming) {
    let read = async {
        let mut taken = 0;
        while taken < REQUEST_BODY_BYTES_MAX
            && let Some(Ok(frame)) = body.frame().await
        {
            taken += frame.data_ref().map_or(0, Bytes::len);
        }
    };
    // Whoever sends more, or more slowly, is cut off.
    let _ = tokio::time::timeout(DRAIN_TIMEOUT, read).await;
}

async fn read_body(headers: &HeaderMap, mut body: Incoming) -> Result<Bytes, Response> {
    let declared = headers
        .get(header::CONTENT_LENGTH)
        .and_then(|value| value.to_str().ok())
        .and_then(|value| value.parse::<u64>().ok());
    // Refused before the first byte is read, so that a client that waits for `100 Continue` sends none.
    if declared.is_some_and(|length| length > REQUEST_BODY_BYTES_MAX as u64) {
        if !headers.contains_key(header::EXPECT) {
            tokio::spawn(discard(body));
        }
        return Err(too_large());
    }
    let mut first = Bytes::new();
    let mut collected = BytesMut::new();
    loop {
        let frame = match tokio::time::timeout(REQUEST_STALL_TIMEOUT, body.frame()).await {
            Err(_) => {
                let text = format!(
                    "The request body paused for more than {} seconds",
                    REQUEST_STALL_TIMEOUT.as_secs()
                );
                return Err(Response::text(StatusCode::REQUEST_TIMEOUT, text).closing());
            }
            Ok(None) => break,
            Ok(Some(Err(error))) => {
                let text = format!("Failed to read the request body: {error}");
                return Err(Response::bad_request(text).closing());
            }
            Ok(Some(Ok(frame))) => frame,
        };
        let Ok(data) = frame.into_data() else { continue };
        if first.len() + collected.len() + data.len() > REQUEST_BODY_BYTES_MAX {
            tokio::spawn(discard(body));
            return Err(too_large());
        }
        // Most bodies are one frame, which is kept without a copy.
        if first.is_empty() && collected.is_empty() {
            first = data;
            continue;
        }
        if collected.is_empty() {
            collected.extend_from_slice(&first);
            first = Bytes::new();
        }
        collected.extend_from_slice(&data);
    }
    Ok(if collected.is_empty() { first } else { collected.freeze() })
}
