//! What is answered, and how it is put on the wire.

use std::pin::Pin;
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll};

use bytes::Bytes;
use hyper::body::{Frame, SizeHint};
use hyper::header::{self, HeaderMap, HeaderName, HeaderValue};
use hyper::{Method, StatusCode};

use super::compression::{GZIP_BYTES_MIN, compress};
use super::connection::InFlight;
use super::shared::{Coding, GivenUp, SharedBody};
use super::stream::StreamBody;
use super::{Callback, ContentType};

const TEXT: HeaderValue = HeaderValue::from_static("text/plain; charset=utf-8");
const JSON: HeaderValue = HeaderValue::from_static("application/json");
const JAVASCRIPT: HeaderValue = HeaderValue::from_static("text/javascript");
const GZIP: HeaderValue = HeaderValue::from_static("gzip");

/// Bodies from here on are compressed on a thread that may block.
const INLINE_GZIP_BYTES_MAX: usize = 64 * 1024;

/// A body that several readers share; compressed at most once.
#[derive(Debug)]
pub struct Rendered {
    plain: Bytes,
    gzip: OnceLock<Option<Bytes>>,
}

impl Rendered {
    /// A body.
    #[must_use]
    pub fn new(plain: Vec<u8>) -> Self {
        Self { plain: plain.into(), gzip: OnceLock::new() }
    }

    /// As it was rendered.
    #[must_use]
    pub fn plain(&self) -> &Bytes {
        &self.plain
    }

    fn gzip(&self) -> Option<&Bytes> {
        self.gzip.get_or_init(|| compress(&self.plain).ok().map(Bytes::from)).as_ref()
    }
}

#[derive(Debug)]
enum Body {
    Full(Arc<Rendered>),
    Shared(SharedBody),
    Stream(StreamBody),
}

/// An answer.
#[derive(Debug)]
pub struct Response {
    status: StatusCode,
    headers: Box<HeaderMap>,
    body: Body,
}

impl Response {
    /// An answer without a body.
    #[must_use]
    pub fn empty(status: StatusCode) -> Self {
        Self::full(status, Arc::new(Rendered::new(Vec::new())))
    }

    /// An answer in plain text.
    #[must_use]
    pub fn text(status: StatusCode, text: impl Into<String>) -> Self {
        Self::full(status, Arc::new(Rendered::new(text.into().into_bytes())))
            .with(header::CONTENT_TYPE, TEXT)
    }

    /// 200 with a body in one of the encodings of the v1 APIs.
    #[must_use]
    pub fn content(content_type: ContentType, body: Arc<Rendered>) -> Self {
        Self::full(StatusCode::OK, body)
            .with(header::CONTENT_TYPE, HeaderValue::from_static(content_type.as_str()))
    }

    /// 200 with JSON, or with JavaScript that calls the function `jsonp` with it.
    #[must_use]
    pub fn json(body: Arc<Rendered>, jsonp: Option<&str>) -> Self {
        let Some(name) = jsonp else {
            return Self::full(StatusCode::OK, body).with(header::CONTENT_TYPE, JSON);
        };
        match Callback::parse(name) {
            Ok(callback) => {
                let script = Arc::new(Rendered::new(callback.call(body.plain())));
                Self::full(StatusCode::OK, script).with(header::CONTENT_TYPE, JAVASCRIPT)
            }
            Err(error) => Self::bad_request(error.to_string()),
        }
    }

    /// 200 with a large body in one of the encodings of the v1 APIs, sent while it is rendered.
    #[must_use]
    pub fn shared(content_type: ContentType, body: SharedBody) -> Self {
        Self::large(body, HeaderValue::from_static(content_type.as_str()))
    }

    /// The same with JavaScript, which calls a function with JSON.
    #[must_use]
    pub fn shared_script(body: SharedBody) -> Self {
        Self::large(body, JAVASCRIPT)
    }

    fn large(body: SharedBody, kind: HeaderValue) -> Self {
        let coding = body.coding();
        let response =
            Self { status: StatusCode::OK, headers: Box::default(), body: Body::Shared(body) }
                .with(header::CONTENT_TYPE, kind);
        match coding {
            Coding::Identity => response,
            Coding::Gzip => response.with(header::CONTENT_ENCODING, GZIP),
        }
    }

    /// 200 with bytes of no known kind.
    #[must_use]
    pub fn binary(body: Arc<Rendered>) -> Self {
        let kind = HeaderValue::from_static("application/octet-stream");
        Self::full(StatusCode::OK, body).with(header::CONTENT_TYPE, kind)
    }

    /// 200 with a chunked body that goes on until its sender is dropped.
    #[must_use]
    pub fn stream(content_type: ContentType, body: StreamBody) -> Self {
        Self { status: StatusCode::OK, headers: Box::default(), body: Body::Stream(body) }
            .with(header::CONTENT_TYPE, HeaderValue::from_static(content_type.as_str()))
    }

    /// 400.
    #[must_use]
    pub fn bad_request(text: impl Into<String>) -> Self {
        Self::text(StatusCode::BAD_REQUEST, text)
    }

    /// 404 as libprocess answers it when there is no such endpoint.
    #[must_use]
    pub fn not_found() -> Self {
        Self::text(StatusCode::NOT_FOUND, "404 Not Found.")
    }

    /// 405 with the methods that are allowed.
    #[must_use]
    pub fn method_not_allowed(allowed: &[&'static str], method: &Method) -> Self {
        let quoted: Vec<String> = allowed.iter().map(|name| format!("'{name}'")).collect();
        let text = format!(
            "405 Method Not Allowed. Expecting one of {{ {} }}, but received '{method}'.",
            quoted.join(", ")
        );
        let allow =
            HeaderValue::from_str(&allowed.join(", ")).unwrap_or(HeaderValue::from_static(""));
        Self::text(StatusCode::METHOD_NOT_ALLOWED, text).with(header::ALLOW, allow)
    }

    /// 307 to `location`; 500 if that cannot stand in a header.
    #[must_use]
    pub fn temporary_redirect(location: &str) -> Self {
        match HeaderValue::from_str(location) {
            Ok(location) => {
                Self::empty(StatusCode::TEMPORARY_REDIRECT).with(header::LOCATION, location)
            }
            Err(_) => Self::text(StatusCode::INTERNAL_SERVER_ERROR, "The leader has no valid name"),
        }
    }

    /// The same with one more header.
    #[must_use]
    pub fn with(mut self, name: HeaderName, value: HeaderValue) -> Self {
        self.headers.insert(name, value);
        self
    }

    /// The same, and the connection is closed after it.
    #[must_use]
    pub fn closing(self) -> Self {
        self.with(header::CONNECTION, HeaderValue::from_static("close"))
    }

    /// The status.
    #[must_use]
    pub fn status(&self) -> StatusCode {
        self.status
    }

    fn full(status: StatusCode, body: Arc<Rendered>) -> Self {
        Self { status, headers: Box::default(), body: Body::Full(body) }
    }

    /// The status, headers and bytes of an answer that is no stream.
    pub(super) async fn into_plain(self, accepts_gzip: bool) -> Option<Plain> {
        let mut headers = self.headers;
        match self.body {
            Body::Full(rendered) => {
                let body = encode(rendered, accepts_gzip, &mut headers).await;
                Some(Plain { status: self.status, headers: *headers, body })
            }
            Body::Shared(_) | Body::Stream(_) => None,
        }
    }

    /// Makes hyper's form of it, compressed where the client takes that and it is worth it.
    pub(super) async fn into_hyper(
        self,
        accepts_gzip: bool,
        in_flight: InFlight,
    ) -> hyper::Response<ResponseBody> {
        let mut headers = self.headers;
        let body = match self.body {
            Body::Stream(stream) => WireBody::Stream(stream),
            Body::Shared(shared) => WireBody::Shared(shared),
            Body::Full(rendered) => {
                WireBody::Full(encode(rendered, accepts_gzip, &mut headers).await)
            }
        };
        let mut response = hyper::Response::new(ResponseBody { body, in_flight: Some(in_flight) });
        *response.status_mut() = self.status;
        *response.headers_mut() = *headers;
        response
    }
}

/// An answer whose body is known whole.
#[derive(Debug)]
pub(super) struct Plain {
    pub(super) status: StatusCode,
    pub(super) headers: HeaderMap,
    pub(super) body: Bytes,
}

/// The bytes of a body, and its `Content-Encoding` if they are compressed.
async fn encode(rendered: Arc<Rendered>, accepts_gzip: bool, headers: &mut HeaderMap) -> Bytes {
    if !accepts_gzip || rendered.plain().len() < GZIP_BYTES_MIN {
        return rendered.plain().clone();
    }
    let packed = if rendered.plain().len() < INLINE_GZIP_BYTES_MAX {
        rendered.gzip().cloned()
    } else {
        let shared = Arc::clone(&rendered);
        tokio::task::spawn_blocking(move || shared.gzip().cloned()).await.ok().flatten()
    };
    match packed {
        Some(packed) => {
            headers.insert(header::CONTENT_ENCODING, GZIP);
            packed
        }
        None => rendered.plain().clone(),
    }
}

#[derive(Debug)]
enum WireBody {
    Full(Bytes),
    Shared(SharedBody),
    Stream(StreamBody),
}

/// The body of a response, on its way out.
#[derive(Debug)]
pub struct ResponseBody {
    body: WireBody,
    in_flight: Option<InFlight>,
}

impl hyper::body::Body for ResponseBody {
    type Data = Bytes;
    type Error = GivenUp;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, GivenUp>>> {
        let chunk = match &mut self.body {
            WireBody::Full(bytes) if bytes.is_empty() => Poll::Ready(None),
            WireBody::Full(bytes) => Poll::Ready(Some(Ok(std::mem::take(bytes)))),
            WireBody::Shared(shared) => shared.poll_chunk(context),
            WireBody::Stream(stream) => stream.poll_chunk(context).map(|chunk| chunk.map(Ok)),
        };
        if matches!(chunk, Poll::Ready(None)) {
            self.in_flight = None;
        }
        chunk.map(|chunk| chunk.map(|bytes| bytes.map(Frame::data)))
    }

    fn is_end_stream(&self) -> bool {
        matches!(&self.body, WireBody::Full(bytes) if bytes.is_empty())
    }

    fn size_hint(&self) -> SizeHint {
        match &self.body {
            WireBody::Full(bytes) => SizeHint::with_exact(bytes.len() as u64),
            WireBody::Stream(_) | WireBody::Shared(_) => SizeHint::default(),
        }
    }
}
