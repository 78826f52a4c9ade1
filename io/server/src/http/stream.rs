//! Response streams: RecordIO records queued for one reader, never more than a bound.

use std::collections::VecDeque;
use std::fmt;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use hyper::body::Frame;

use super::STREAM_QUEUE_BYTES_MAX;
use super::connection::ConnectionHandle;

/// What a queued record costs beyond its bytes, so that many tiny records are bounded too.
const RECORD_OVERHEAD_BYTES: usize = 64;

/// Why a record was not queued.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SendError {
    /// The peer closed the connection, or the stream was dropped before.
    #[error("the stream is closed")]
    Closed,
    /// The reader is too slow; its connection is being closed.
    #[error("the reader left more than {STREAM_QUEUE_BYTES_MAX} bytes unread")]
    Overflow,
}

struct State {
    queue: VecDeque<Bytes>,
    queued_bytes: usize,
    finished: bool,
    closed: bool,
    waker: Option<Waker>,
}

struct Shared {
    state: Mutex<State>,
    connection: ConnectionHandle,
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The daemon's end of a stream. Dropping it ends the stream once everything queued is written.
pub struct StreamSender {
    shared: Arc<Shared>,
}

/// The connection's end of a stream: the body of a chunked response.
pub struct StreamBody {
    shared: Arc<Shared>,
    /// What goes before everything that is queued.
    first: Option<Bytes>,
    on_close: Option<Box<dyn FnOnce() + Send>>,
}

/// Makes a stream on `connection`. `on_close` is called once, when the response has ended for whatever reason.
pub fn stream(
    connection: ConnectionHandle,
    on_close: impl FnOnce() + Send + 'static,
) -> (StreamSender, StreamBody) {
    let state = Mutex::new(State {
        queue: VecDeque::new(),
        queued_bytes: 0,
        finished: false,
        closed: false,
        waker: None,
    });
    let shared = Arc::new(Shared { state, connection });
    let body =
        StreamBody { shared: Arc::clone(&shared), first: None, on_close: Some(Box::new(on_close)) };
    (StreamSender { shared }, body)
}

impl StreamSender {
    /// Queues one chunk. Never waits.
    ///
    /// # Errors
    ///
    /// When the peer is gone, or has left too much unread: then its connection is closed as well.
    pub fn send(&self, chunk: Bytes) -> Result<(), SendError> {
        let mut state = self.shared.lock();
        if state.closed {
            return Err(SendError::Closed);
        }
        let cost = chunk.len() + RECORD_OVERHEAD_BYTES;
        if !state.queue.is_empty() && state.queued_bytes + cost > STREAM_QUEUE_BYTES_MAX {
            state.closed = true;
            state.queue = VecDeque::new();
            drop(state);
            self.shared.connection.abort();
            return Err(SendError::Overflow);
        }
        state.queued_bytes += cost;
        state.queue.push_back(chunk);
        if let Some(waker) = state.waker.take() {
            waker.wake();
        }
        Ok(())
    }
}

impl Drop for StreamSender {
    fn drop(&mut self) {
        let mut state = self.shared.lock();
        state.finished = true;
        if let Some(waker) = state.waker.take() {
            waker.wake();
        }
        let closed = state.closed;
        drop(state);
        if !closed {
            // A reader that does not take the rest must not keep the connection for ever.
            self.shared.connection.drain();
        }
    }
}

impl fmt::Debug for StreamSender {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = self.shared.lock();
        f.debug_struct("StreamSender").field("queued_bytes", &state.queued_bytes).finish()
    }
}

impl StreamBody {
    /// Puts a chunk before everything that is queued: one that took long to make, while the daemon went on sending.
    pub fn prepend(&mut self, chunk: Bytes) {
        self.first = Some(chunk);
    }

    /// The next chunk, or the end of the response.
    pub fn poll_chunk(&mut self, context: &mut Context<'_>) -> Poll<Option<Bytes>> {
        if let Some(chunk) = self.first.take() {
            return Poll::Ready(Some(chunk));
        }
        let mut state = self.shared.lock();
        if let Some(chunk) = state.queue.pop_front() {
            state.queued_bytes =
                state.queued_bytes.saturating_sub(chunk.len() + RECORD_OVERHEAD_BYTES);
            return Poll::Ready(Some(chunk));
        }
        if state.finished || state.closed {
            return Poll::Ready(None);
        }
        state.waker = Some(context.waker().clone());
        Poll::Pending
    }

    /// The same as a frame of a [`hyper::body::Body`].
    pub fn poll_frame<E>(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, E>>> {
        self.get_mut().poll_chunk(context).map(|chunk| chunk.map(|bytes| Ok(Frame::data(bytes))))
    }
}

impl Drop for StreamBody {
    fn drop(&mut self) {
        let mut state = self.shared.lock();
        state.closed = true;
        state.queue = VecDeque::new();
        drop(state);
        self.shared.connection.drained();
        if let Some(on_close) = self.on_close.take() {
            on_close();
        }
    }
}

impl fmt::Debug for StreamBody {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StreamBody").finish_non_exhaustive()
    }
}
