//! The calls of subscribed schedulers, which come without waiting for answers: all that have arrived are
//! handed in at once, in order, and their answers go out together.
//!
//! hyper takes the next request when the one before is answered, which costs a master one read and one
//! write of the socket for each call. Here only the calls are understood that schedulers make all the
//! time: a `POST` of known length on a subscription. Whatever else comes, also anything odd, is left to
//! hyper from its first byte, and with it the rest of the connection.

use std::collections::VecDeque;
use std::future::poll_fn;
use std::io::{self, Write as _};
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::SystemTime;

use bytes::{Buf as _, Bytes, BytesMut};
use hyper::Method;
use hyper::header::{self, HeaderMap, HeaderName, HeaderValue};
use tokio::io::Interest;
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio::time::{Instant, timeout};

use super::connection::{ConnectionHandle, Handler};
use super::query::Query;
use super::response::Plain;
use super::{
    DRAIN_TIMEOUT, REQUEST_BODY_BYTES_MAX, REQUEST_HEAD_BYTES_MAX, REQUEST_STALL_TIMEOUT, Request,
};

/// Where schedulers post their calls.
const PATHS: [&str; 2] = ["/api/v1/scheduler", "/master/api/v1/scheduler"];

/// The header that every call on a subscription carries. A call with it never opens a stream.
const STREAM_ID: &str = "mesos-stream-id";

/// How many calls of one connection are under way. Further ones wait in the socket.
const CALLS_MAX: usize = 16;

/// Answers that a peer has not read. Beyond this no further call is taken.
const REPLIES_BYTES_MAX: usize = 64 << 10;

/// More header lines than schedulers send; a request with more is left to hyper.
const HEADERS_MAX: usize = 32;

/// Room made for each read.
const READ_BYTES: usize = 16 << 10;

/// What the bytes that have arrived begin with.
enum Next {
    Call(Box<Request>),
    /// Too few bytes to tell.
    Partial,
    /// Something that is not understood here.
    Other,
}

/// A call that was handed in.
struct Call {
    answer: Pin<Box<dyn Future<Output = Option<Plain>> + Send>>,
    /// What came out, once it has, for a call that is not the first in line.
    outcome: Option<Option<Plain>>,
    is_handed_in: bool,
}

struct Connection<H> {
    socket: TcpStream,
    peer: SocketAddr,
    handler: Arc<H>,
    received: BytesMut,
    calls: VecDeque<Call>,
    replies: BytesMut,
    /// Nothing further is read here.
    is_leaving: bool,
    /// The peer sends nothing more, or is not to be answered any more.
    is_closing: bool,
}

/// Serves the calls at the beginning of a connection. Gives back the socket and what was read of it, to go
/// on with by other means; nothing when the connection is over.
pub(super) async fn serve<H: Handler>(
    socket: TcpStream,
    received: Bytes,
    peer: SocketAddr,
    handler: Arc<H>,
    shutdown: &mut watch::Receiver<bool>,
) -> Option<(TcpStream, Bytes)> {
    let mut connection = Connection {
        socket,
        peer,
        handler,
        received: BytesMut::from(received),
        calls: VecDeque::new(),
        replies: BytesMut::new(),
        is_leaving: false,
        is_closing: false,
    };
    let result = tokio::select! {
        result = connection.run() => result,
        // An error means that the daemon is gone.
        _ = shutdown.wait_for(|stopping| *stopping) => Ok(()),
    };
    if *shutdown.borrow() {
        // What was handed in is answered nevertheless.
        connection.is_closing = true;
        let _ = timeout(DRAIN_TIMEOUT, connection.run()).await;
        return None;
    }
    if let Err(error) = result {
        tracing::debug!(%peer, %error, "HTTP connection ended");
        return None;
    }
    (!connection.is_closing).then(|| (connection.socket, connection.received.freeze()))
}

impl<H: Handler> Connection<H> {
    /// Until the connection is over or left to others, all calls being answered.
    async fn run(&mut self) -> io::Result<()> {
        let mut stalled_since = None;
        loop {
            let may_be_more = self.take_calls();
            self.answer_what_is_ready().await;
            self.write_replies()?;
            if may_be_more && self.is_reading() {
                continue;
            }
            if self.calls.is_empty()
                && self.replies.is_empty()
                && (self.is_leaving || self.is_closing)
            {
                return Ok(());
            }
            // A call that has begun must go on arriving; hyper has the words for one that does not.
            let is_stalling = self.calls.is_empty() && !self.received.is_empty();
            let since = *stalled_since.get_or_insert_with(Instant::now);
            if !is_stalling {
                stalled_since = None;
            } else if since.elapsed() >= REQUEST_STALL_TIMEOUT {
                self.is_leaving = true;
                continue;
            }
            let wait = self.wait();
            if is_stalling {
                let _ = timeout(REQUEST_STALL_TIMEOUT.saturating_sub(since.elapsed()), wait).await;
            } else {
                wait.await?;
            }
            self.read()?;
        }
    }

    fn is_reading(&self) -> bool {
        !self.is_leaving
            && !self.is_closing
            && self.calls.len() < CALLS_MAX
            && self.replies.len() < REPLIES_BYTES_MAX
    }

    /// Makes calls of what has arrived. Says whether there may be more of them, for which there is no room.
    fn take_calls(&mut self) -> bool {
        while self.is_reading() {
            match next(&mut self.received, self.peer) {
                Next::Call(request) => {
                    let handler = Arc::clone(&self.handler);
                    self.calls.push_back(Call {
                        answer: Box::pin(async move {
                            let accepts_gzip = request.accepts_gzip();
                            handler.handle(*request).await.into_plain(accepts_gzip).await
                        }),
                        outcome: None,
                        is_handed_in: false,
                    });
                }
                Next::Partial => return false,
                Next::Other => self.is_leaving = true,
            }
        }
        true
    }

    /// Hands new calls in, in order, and takes the answers of those that are first in line.
    async fn answer_what_is_ready(&mut self) {
        poll_fn(|context| {
            self.poll_calls(context);
            Poll::Ready(())
        })
        .await;
    }

    fn poll_calls(&mut self, context: &mut Context<'_>) {
        for call in self.calls.iter_mut().filter(|call| !call.is_handed_in) {
            call.is_handed_in = true;
            if let Poll::Ready(outcome) = call.answer.as_mut().poll(context) {
                call.outcome = Some(outcome);
            }
        }
        while let Some(first) = self.calls.front_mut() {
            let outcome = match first.outcome.take() {
                Some(outcome) => outcome,
                None => match first.answer.as_mut().poll(context) {
                    Poll::Ready(outcome) => outcome,
                    Poll::Pending => return,
                },
            };
            self.calls.pop_front();
            match outcome {
                Some(plain) => self.reply(&plain),
                // A stream, which no call on a subscription opens.
                None => self.is_closing = true,
            }
        }
    }

    fn reply(&mut self, plain: &Plain) {
        let mut head = Vec::with_capacity(256);
        let reason = plain.status.canonical_reason().unwrap_or_default();
        // Writing to a vector cannot fail.
        let _ = write!(head, "HTTP/1.1 {} {reason}\r\n", plain.status.as_u16());
        for (name, value) in &plain.headers {
            title_case(name.as_str(), &mut head);
            head.extend_from_slice(b": ");
            head.extend_from_slice(value.as_bytes());
            head.extend_from_slice(b"\r\n");
        }
        let date = httpdate::HttpDate::from(SystemTime::now());
        let _ = write!(head, "Content-Length: {}\r\nDate: {date}\r\n\r\n", plain.body.len());
        self.replies.extend_from_slice(&head);
        self.replies.extend_from_slice(&plain.body);
        let closes = plain.headers.get(header::CONNECTION).is_some_and(|value| value == "close");
        self.is_closing |= closes;
    }

    /// Until an answer is there, or the socket can be read or written.
    async fn wait(&mut self) -> io::Result<()> {
        let interest = match (self.is_reading(), self.replies.is_empty()) {
            (true, true) => Some(Interest::READABLE),
            (true, false) => Some(Interest::READABLE | Interest::WRITABLE),
            (false, false) => Some(Interest::WRITABLE),
            (false, true) => None,
        };
        let Self { socket, calls, .. } = self;
        let ready = async {
            match interest {
                Some(interest) => socket.ready(interest).await.map(drop),
                None => std::future::pending().await,
            }
        };
        let answered = poll_fn(|context| match calls.front_mut() {
            None => Poll::Pending,
            Some(first) if first.outcome.is_some() => Poll::Ready(()),
            Some(first) => first.answer.as_mut().poll(context).map(|outcome| {
                first.outcome = Some(outcome);
            }),
        });
        tokio::select! {
            biased;
            () = answered => Ok(()),
            ready = ready => ready,
        }
    }

    /// Reads what is there.
    fn read(&mut self) -> io::Result<()> {
        if !self.is_reading() {
            return Ok(());
        }
        self.received.reserve(READ_BYTES);
        match self.socket.try_read_buf(&mut self.received) {
            Ok(0) => self.is_closing = true,
            Ok(_) => return Ok(()),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(error) => return Err(error),
        }
        if self.received.is_empty() {
            // Most connections are idle nearly always.
            self.received = BytesMut::new();
        }
        Ok(())
    }

    /// Writes what the socket takes at once.
    fn write_replies(&mut self) -> io::Result<()> {
        while !self.replies.is_empty() {
            match self.socket.try_write(&self.replies) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(written) => self.replies.advance(written),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }
}

/// The call that the bytes begin with, which are taken out with it.
fn next(received: &mut BytesMut, peer: SocketAddr) -> Next {
    let mut lines = [httparse::EMPTY_HEADER; HEADERS_MAX];
    let mut parsed = httparse::Request::new(&mut lines);
    let head_bytes = match parsed.parse(received) {
        Ok(httparse::Status::Complete(length)) => length,
        // What is no call is known by its first bytes, as hyper wants to see it.
        Ok(httparse::Status::Partial) => {
            let is_post = parsed.method.is_none_or(|method| method == "POST");
            let is_call =
                parsed.path.is_none_or(|path| PATHS.iter().any(|it| it.starts_with(path)));
            let may_be = is_post && is_call && received.len() < REQUEST_HEAD_BYTES_MAX;
            return if may_be { Next::Partial } else { Next::Other };
        }
        Err(_) => return Next::Other,
    };
    let (Some("POST"), Some(path), Some(1)) = (parsed.method, parsed.path, parsed.version) else {
        return Next::Other;
    };
    if !PATHS.contains(&path) {
        return Next::Other;
    }
    let Some(headers) = headers(parsed.headers) else { return Next::Other };
    let length = headers.get(header::CONTENT_LENGTH).and_then(|value| value.to_str().ok());
    let Some(length) = length.and_then(|text| text.parse::<usize>().ok()) else {
        return Next::Other;
    };
    if length > REQUEST_BODY_BYTES_MAX || !is_plain(&headers) {
        return Next::Other;
    }
    if received.len() < head_bytes + length {
        received.reserve(head_bytes + length - received.len());
        return Next::Partial;
    }
    let path = path.to_owned();
    received.advance(head_bytes);
    let body = received.split_to(length).freeze();
    Next::Call(Box::new(Request {
        method: Method::POST,
        target: path.clone(),
        path,
        query: Query::default(),
        headers,
        body,
        principal: None,
        peer,
        connection: ConnectionHandle::default(),
    }))
}

/// The header lines; nothing when one comes twice or cannot be read.
fn headers(lines: &[httparse::Header<'_>]) -> Option<HeaderMap> {
    let mut headers = HeaderMap::with_capacity(lines.len());
    for line in lines {
        let name = HeaderName::from_bytes(line.name.as_bytes()).ok()?;
        let value = HeaderValue::from_bytes(line.value).ok()?;
        if headers.insert(name, value).is_some() {
            return None;
        }
    }
    Some(headers)
}

/// Whether nothing in the head asks for more than a body of known length on a subscription.
fn is_plain(headers: &HeaderMap) -> bool {
    let is_odd = [
        header::TRANSFER_ENCODING,
        header::CONTENT_ENCODING,
        header::EXPECT,
        header::UPGRADE,
        HeaderName::from_static("libprocess-from"),
    ];
    let keeps_alive = headers
        .get(header::CONNECTION)
        .is_none_or(|value| value.as_bytes().eq_ignore_ascii_case(b"keep-alive"));
    let is_libprocess = headers
        .get(header::USER_AGENT)
        .is_some_and(|agent| agent.as_bytes().starts_with(b"libprocess/"));
    headers.contains_key(STREAM_ID)
        && keeps_alive
        && !is_libprocess
        && !is_odd.iter().any(|name| headers.contains_key(name))
}

/// Writes a header's name as libprocess does: `Content-Type`.
fn title_case(name: &str, output: &mut Vec<u8>) {
    let mut begins = true;
    for byte in name.bytes() {
        output.push(if begins { byte.to_ascii_uppercase() } else { byte });
        begins = byte == b'-';
    }
}
