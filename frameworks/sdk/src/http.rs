//! One HTTP/1.1 connection at a time, to one server.

use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Incoming as Body;
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper::header::{CONTENT_TYPE, HOST, LOCATION};
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio::time::timeout;

/// How long opening a connection may take.
const DIAL_TIMEOUT: Duration = Duration::from_secs(10);

/// How long a server may take to answer, other than with a stream.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(60);

/// The longest answer read whole.
const ANSWER_BYTES_MAX: usize = 256 << 20;

/// Why a request got no answer. The cause is in `source()`.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum HttpError {
    /// No connection.
    #[error("cannot connect to {authority}")]
    Connect {
        /// `host:port`.
        authority: String,
        /// What the operating system said.
        source: std::io::Error,
    },
    /// The request cannot be written as HTTP, for example for a line break in a header.
    #[error("not a valid request to {authority}")]
    Request {
        /// `host:port`.
        authority: String,
        /// What is wrong.
        source: hyper::http::Error,
    },
    /// The connection broke before the answer.
    #[error("no answer from {authority}")]
    Exchange {
        /// `host:port`.
        authority: String,
        /// What went wrong.
        source: hyper::Error,
    },
    /// The answer broke off or is too long.
    #[error("cannot read the answer of {authority}")]
    Body {
        /// `host:port`.
        authority: String,
        /// What went wrong.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The server accepts connections and does not answer.
    #[error("{authority} did not answer in time")]
    TimedOut {
        /// `host:port`.
        authority: String,
    },
}

/// A connection that requests are sent on, one after the other.
#[derive(Debug)]
pub(crate) struct Connection {
    authority: String,
    sender: SendRequest<Full<Bytes>>,
}

impl Connection {
    pub(crate) async fn open(authority: &str) -> Result<Self, HttpError> {
        let connect_error = |source| HttpError::Connect { authority: authority.to_owned(), source };
        let stream = timeout(DIAL_TIMEOUT, TcpStream::connect(authority))
            .await
            .map_err(|_| HttpError::TimedOut { authority: authority.to_owned() })?
            .map_err(connect_error)?;
        stream.set_nodelay(true).map_err(connect_error)?;
        let (sender, connection) = handshake(TokioIo::new(stream))
            .await
            .map_err(|source| HttpError::Exchange { authority: authority.to_owned(), source })?;
        // It ends when the sender and the answer's body are dropped.
        tokio::spawn(async move {
            if let Err(error) = connection.await {
                tracing::debug!(%error, "HTTP connection broke");
            }
        });
        Ok(Self { authority: authority.to_owned(), sender })
    }

    /// Uses `kept` again if it leads to the right server, which may have closed it when idle.
    pub(crate) async fn reuse(kept: Option<Self>, authority: &str) -> Result<Self, HttpError> {
        if let Some(mut connection) = kept
            && connection.authority == authority
            && connection.sender.ready().await.is_ok()
        {
            return Ok(connection);
        }
        Self::open(authority).await
    }

    pub(crate) async fn send(
        &mut self,
        request: hyper::http::request::Builder,
        body: Vec<u8>,
    ) -> Result<Response<Body>, HttpError> {
        let authority = || self.authority.clone();
        let request = request
            .header(HOST, &self.authority)
            .body(Full::new(Bytes::from(body)))
            .map_err(|source| HttpError::Request { authority: authority(), source })?;
        timeout(ANSWER_TIMEOUT, self.sender.send_request(request))
            .await
            .map_err(|_| HttpError::TimedOut { authority: authority() })?
            .map_err(|source| HttpError::Exchange { authority: authority(), source })
    }
}

pub(crate) async fn read_whole(authority: &str, body: Body) -> Result<Bytes, HttpError> {
    let read = Limited::new(body, ANSWER_BYTES_MAX).collect();
    timeout(ANSWER_TIMEOUT, read)
        .await
        .map_err(|_| HttpError::TimedOut { authority: authority.to_owned() })?
        .map(http_body_util::Collected::to_bytes)
        .map_err(|source| HttpError::Body { authority: authority.to_owned(), source })
}

/// A whole answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HttpResponse {
    /// Such as 200.
    pub status: StatusCode,
    /// Where a redirect leads.
    pub location: Option<String>,
    /// The answer's body.
    pub body: Bytes,
}

/// A client of one daemon's HTTP endpoints, over one connection that is kept.
#[derive(Debug)]
pub struct HttpClient {
    authority: String,
    authorization: Option<String>,
    connection: Option<Connection>,
}

impl HttpClient {
    /// A client of the daemon at `authority` (`host:port`). Nothing is dialled yet.
    #[must_use]
    pub fn new(authority: impl Into<String>) -> Self {
        Self { authority: authority.into(), authorization: None, connection: None }
    }

    /// Uses HTTP basic authentication.
    #[must_use]
    pub fn with_credential(mut self, credential: &crate::Credential) -> Self {
        self.authorization = Some(credential.to_basic());
        self
    }

    /// Reads `path`, which includes the query.
    ///
    /// # Errors
    /// There is no answer. An answer of any status is none.
    pub async fn get(&mut self, path: &str) -> Result<HttpResponse, HttpError> {
        self.exchange(Request::get(path), Vec::new()).await
    }

    /// Posts `body` to `path`.
    ///
    /// # Errors
    /// There is no answer. An answer of any status is none.
    pub async fn post(
        &mut self,
        path: &str,
        content_type: &str,
        body: Vec<u8>,
    ) -> Result<HttpResponse, HttpError> {
        let request = Request::post(path)
            .header(CONTENT_TYPE, content_type)
            .header(hyper::header::ACCEPT, content_type);
        self.exchange(request, body).await
    }

    async fn exchange(
        &mut self,
        mut request: hyper::http::request::Builder,
        body: Vec<u8>,
    ) -> Result<HttpResponse, HttpError> {
        if let Some(authorization) = &self.authorization {
            request = request.header(hyper::header::AUTHORIZATION, authorization);
        }
        let mut connection = Connection::reuse(self.connection.take(), &self.authority).await?;
        let response = connection.send(request, body).await?;
        let status = response.status();
        let location = response.headers().get(LOCATION).and_then(|value| value.to_str().ok());
        let location = location.map(str::to_owned);
        let body = read_whole(&self.authority, response.into_body()).await?;
        self.connection = Some(connection);
        Ok(HttpResponse { status, location, body })
    }
}
