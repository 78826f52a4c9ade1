//! One accepted connection, from its first HTTP request to its end.

use std::convert::Infallible;
use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::task::{Context, Poll};

use bytes::{Buf, Bytes};
use hyper::body::Incoming;
use hyper::header::{HeaderMap, USER_AGENT};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, StatusCode};
use hyper_util::rt::TokioIo;
use protocol::pid::Pid;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::sync::{Notify, watch};
use tokio::time::{Instant, Sleep, sleep_until};

use super::calls;
use super::query::percent_decode;
use super::response::ResponseBody;
use super::{
    DRAIN_TIMEOUT, REQUEST_HEAD_BYTES_MAX, REQUEST_HEADERS_MAX, REQUEST_STALL_TIMEOUT, Request,
    Response,
};

/// A libprocess message that came between the HTTP requests of a connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PeerMessage {
    /// The sender, as it published itself.
    pub from: Pid,
    /// The actor it is for.
    pub actor: String,
    /// The name of the protobuf type.
    pub name: String,
    /// The protobuf.
    pub body: Bytes,
}

/// What answers the requests of a daemon.
pub trait Handler: Send + Sync + 'static {
    /// Answers one request.
    fn handle(&self, request: Request) -> impl Future<Output = Response> + Send;

    /// Takes one libprocess message. False when there is no such actor.
    fn deliver(&self, message: PeerMessage) -> impl Future<Output = bool> + Send;
}

#[derive(Debug, Default)]
struct Control {
    /// Requests whose head has been read and whose response has not been handed to the socket.
    in_flight: AtomicUsize,
    /// Requests whose head has been read, in all.
    begun: AtomicUsize,
    /// The daemon has ended a stream whose rest is not written.
    draining: AtomicBool,
    /// The body of a stream has ended; its last bytes may not be written.
    body_ended: AtomicBool,
    /// `draining` has changed.
    changed: Notify,
}

/// A reference to a connection, for those who may want it closed.
#[derive(Clone, Debug, Default)]
pub struct ConnectionHandle(Arc<Control>);

impl ConnectionHandle {
    /// Closes the connection unless the body of the stream on it has ended and is written in time.
    pub(super) fn drain(&self) {
        self.0.draining.store(true, Ordering::Relaxed);
        self.0.changed.notify_one();
    }

    /// The body of the stream on the connection gives no more.
    pub(super) fn body_ended(&self) {
        self.0.body_ended.store(true, Ordering::Relaxed);
    }

    /// All that was given to the socket has left for the kernel.
    fn flushed(&self) {
        if self.0.body_ended.load(Ordering::Relaxed) {
            self.0.body_ended.store(false, Ordering::Relaxed);
            self.0.draining.store(false, Ordering::Relaxed);
            self.0.changed.notify_one();
        }
    }

    fn begin_request(&self) -> InFlight {
        self.0.begun.fetch_add(1, Ordering::Relaxed);
        self.0.in_flight.fetch_add(1, Ordering::Relaxed);
        InFlight(self.clone())
    }
}

/// Held while a request is being answered.
#[derive(Debug)]
pub struct InFlight(ConnectionHandle);

impl Drop for InFlight {
    fn drop(&mut self) {
        self.0.0.in_flight.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Serves a connection whose first request is no libprocess message, until either side closes it.
///
/// `received` are the bytes already read from it. `shutdown` turns true when the daemon stops: then open responses may drain for a
/// moment, and no further request is taken.
pub async fn serve<H: Handler>(
    socket: TcpStream,
    received: Bytes,
    peer: SocketAddr,
    handler: Arc<H>,
    mut shutdown: watch::Receiver<bool>,
) {
    let rest = calls::serve(socket, received, peer, Arc::clone(&handler), &mut shutdown).await;
    let Some((socket, received)) = rest else { return };
    let handle = ConnectionHandle::default();
    let io = WatchedSocket::new(socket, received, handle.clone());
    let service_handle = handle.clone();
    let service = service_fn(move |request| {
        answer(request, peer, service_handle.clone(), Arc::clone(&handler))
    });
    let mut server = http1::Builder::new();
    server
        .header_read_timeout(None)
        .max_buf_size(REQUEST_HEAD_BYTES_MAX)
        .max_headers(REQUEST_HEADERS_MAX)
        .title_case_headers(true);
    let mut connection = pin!(server.serve_connection(TokioIo::new(io), service));
    let mut deadline: Option<Instant> = None;
    let mut stopping = false;
    loop {
        tokio::select! {
            result = connection.as_mut() => {
                if let Err(error) = result {
                    tracing::debug!(%peer, %error, "HTTP connection ended");
                }
                return;
            }
            () = handle.0.changed.notified(), if !stopping => {
                let draining = handle.0.draining.load(Ordering::Relaxed);
                deadline = draining.then(|| Instant::now() + DRAIN_TIMEOUT);
            }
            () = sleep_until(deadline.unwrap_or_else(Instant::now)), if deadline.is_some() => {
                tracing::debug!(%peer, "HTTP connection closed: its reader is too slow");
                return;
            }
            changed = shutdown.changed(), if !stopping => {
                if changed.is_err() || *shutdown.borrow() {
                    stopping = true;
                    deadline = Some(Instant::now() + DRAIN_TIMEOUT);
                    connection.as_mut().graceful_shutdown();
                }
            }
        }
    }
}

async fn answer<H: Handler>(
    request: hyper::Request<Incoming>,
    peer: SocketAddr,
    connection: ConnectionHandle,
    handler: Arc<H>,
) -> Result<hyper::Response<ResponseBody>, Infallible> {
    let in_flight = connection.begin_request();
    let is_message = request.method() == Method::POST && is_libprocess(request.headers());
    let (accepts_gzip, response) = match Request::receive(request, peer, connection).await {
        Err(response) => (false, response),
        Ok(request) if is_message => (false, deliver(request, handler.as_ref()).await),
        Ok(request) => (request.accepts_gzip(), handler.handle(request).await),
    };
    Ok(response.into_hyper(accepts_gzip, in_flight).await)
}

/// Whether a POST is a libprocess message (`libprocess()` in `src/process.cpp`).
fn is_libprocess(headers: &HeaderMap) -> bool {
    headers.contains_key("libprocess-from")
        || headers.get(USER_AGENT).is_some_and(|agent| agent.as_bytes().starts_with(b"libprocess/"))
}

async fn deliver(request: Request, handler: &impl Handler) -> Response {
    let Some(message) = peer_message(request) else {
        return Response::empty(StatusCode::INTERNAL_SERVER_ERROR);
    };
    if handler.deliver(message).await {
        Response::empty(StatusCode::ACCEPTED)
    } else {
        Response::empty(StatusCode::NOT_FOUND)
    }
}

fn peer_message(request: Request) -> Option<PeerMessage> {
    let sender = match request.headers.get("libprocess-from") {
        Some(sender) => sender.to_str().ok()?,
        None => request.header(USER_AGENT)?.strip_prefix("libprocess/")?,
    };
    let from = sender.parse().ok()?;
    let (actor, name) = request.path.strip_prefix('/')?.split_once('/')?;
    let actor = percent_decode(actor, false).ok()?;
    Some(PeerMessage { from, actor, name: name.to_owned(), body: request.body })
}

/// A socket that gives first what was read before, and fails when a request's head does not arrive in time.
struct WatchedSocket {
    socket: TcpStream,
    received: Bytes,
    handle: ConnectionHandle,
    /// Set while bytes of a head have arrived and the request has not begun.
    stall: Option<Stall>,
}

struct Stall {
    /// [`Control::begun`] when the bytes arrived: more means that the head was complete.
    begun: usize,
    sleep: Pin<Box<Sleep>>,
}

impl WatchedSocket {
    fn new(socket: TcpStream, received: Bytes, handle: ConnectionHandle) -> Self {
        Self { socket, received, handle, stall: None }
    }

    fn arrived(&mut self) {
        let begun = self.handle.0.begun.load(Ordering::Relaxed);
        if self.stall.as_ref().is_none_or(|stall| stall.begun != begun) {
            let sleep = Box::pin(tokio::time::sleep(REQUEST_STALL_TIMEOUT));
            self.stall = Some(Stall { begun, sleep });
        }
    }

    fn poll_stall(&mut self, context: &mut Context<'_>) -> Poll<io::Error> {
        let control = &self.handle.0;
        let Some(stall) = &mut self.stall else { return Poll::Pending };
        if stall.begun != control.begun.load(Ordering::Relaxed) {
            self.stall = None;
            return Poll::Pending;
        }
        // Bytes that come while a response is written belong to a request that is not read yet.
        if control.in_flight.load(Ordering::Relaxed) > 0 {
            return Poll::Pending;
        }
        stall.sleep.as_mut().poll(context).map(|()| {
            io::Error::new(io::ErrorKind::TimedOut, "the request's head did not arrive in time")
        })
    }
}

impl AsyncRead for WatchedSocket {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if !self.received.is_empty() {
            let count = self.received.len().min(buffer.remaining());
            buffer.put_slice(&self.received[..count]);
            self.received.advance(count);
            self.arrived();
            return Poll::Ready(Ok(()));
        }
        let before = buffer.filled().len();
        match Pin::new(&mut self.socket).poll_read(context, buffer) {
            Poll::Pending => self.poll_stall(context).map(Err),
            Poll::Ready(result) => {
                if buffer.filled().len() > before {
                    self.arrived();
                }
                Poll::Ready(result)
            }
        }
    }
}

impl AsyncWrite for WatchedSocket {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.socket).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        // Asked for by hyper when it has nothing left to write.
        let flushed = Pin::new(&mut self.socket).poll_flush(context);
        if matches!(flushed, Poll::Ready(Ok(()))) {
            self.handle.flushed();
        }
        flushed
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_shutdown(context)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffers: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.socket).poll_write_vectored(context, buffers)
    }

    fn is_write_vectored(&self) -> bool {
        self.socket.is_write_vectored()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stream_is_drained_when_its_last_bytes_are_written() {
        let handle = ConnectionHandle::default();
        let draining = || handle.0.draining.load(Ordering::Relaxed);
        handle.drain();
        handle.flushed();
        assert!(draining(), "the body goes on");
        handle.body_ended();
        assert!(draining(), "its end is not written");
        handle.flushed();
        assert!(!draining());
        handle.drain();
        handle.flushed();
        assert!(draining(), "the end of one stream is not that of the next");
    }
}
