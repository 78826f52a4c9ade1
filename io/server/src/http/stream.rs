//! Response streams: RecordIO records queued for one reader, never more than a bound.

use std::collections::VecDeque;
use std::fmt;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use bytes::{Bytes, BytesMut};
use hyper::body::Frame;

use super::STREAM_QUEUE_BYTES_MAX;
use super::connection::ConnectionHandle;

/// Records that wait are put together into chunks of about this size: one is quicker to write than many.
const CHUNK_BYTES: usize = 32 * 1024;

/// Why a record was not queued.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SendError {
    /// The peer closed the connection, or the stream was dropped before.
    #[error("the stream is closed")]
    Closed,
    /// The reader is too slow; its connection is being closed.
    #[error("the reader left more than {0} bytes unread")]
    Overflow(usize),
}

struct State {
    queue: VecDeque<Bytes>,
    /// Small records behind the queue.
    tail: BytesMut,
    queued_bytes: usize,
    bytes_max: usize,
    finished: bool,
    closed: bool,
    waker: Option<Waker>,
}

impl State {
    fn push(&mut self, chunk: Bytes) {
        self.queued_bytes += chunk.len();
        let is_alone = self.queue.is_empty() && self.tail.is_empty();
        if is_alone || self.tail.len() + chunk.len() > CHUNK_BYTES {
            if !self.tail.is_empty() {
                let tail = std::mem::take(&mut self.tail).freeze();
                self.queue.push_back(tail);
            }
            // Readers of one event share it as long as they keep up.
            self.queue.push_back(chunk);
        } else {
            self.tail.extend_from_slice(&chunk);
        }
    }

    fn pop(&mut self) -> Option<Bytes> {
        let chunk = match self.queue.pop_front() {
            Some(chunk) => chunk,
            None if self.tail.is_empty() => return None,
            None => std::mem::take(&mut self.tail).freeze(),
        };
        self.queued_bytes = self.queued_bytes.saturating_sub(chunk.len());
        Some(chunk)
    }

    fn close(&mut self) {
        self.closed = true;
        self.queue = VecDeque::new();
        self.tail = BytesMut::new();
    }
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
        tail: BytesMut::new(),
        queued_bytes: 0,
        bytes_max: STREAM_QUEUE_BYTES_MAX,
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
    /// Changes how many bytes may wait.
    #[must_use]
    pub fn with_bytes_max(self, bytes_max: usize) -> Self {
        self.shared.lock().bytes_max = bytes_max;
        self
    }

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
        if state.queued_bytes > 0 && state.queued_bytes + chunk.len() > state.bytes_max {
            let bytes_max = state.bytes_max;
            state.close();
            drop(state);
            self.shared.connection.abort();
            return Err(SendError::Overflow(bytes_max));
        }
        state.push(chunk);
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
        if let Some(chunk) = state.pop() {
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
        state.close();
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

#[cfg(test)]
mod tests {
    use super::*;

    fn state() -> State {
        State {
            queue: VecDeque::new(),
            tail: BytesMut::new(),
            queued_bytes: 0,
            bytes_max: STREAM_QUEUE_BYTES_MAX,
            finished: false,
            closed: false,
            waker: None,
        }
    }

    #[test]
    fn records_that_wait_are_put_together_in_order() {
        let mut state = state();
        let mut expected = Vec::new();
        for number in 0..20_000_u32 {
            let length = if number % 1000 == 7 { 3 * CHUNK_BYTES } else { 40 };
            let record = number.to_le_bytes().repeat(length / 4);
            expected.extend_from_slice(&record);
            state.push(record.into());
        }
        assert_eq!(state.queued_bytes, expected.len());
        let mut chunks = Vec::new();
        while let Some(chunk) = state.pop() {
            chunks.push(chunk);
        }
        assert_eq!(state.queued_bytes, 0);
        assert!(chunks.concat() == expected, "records are lost or in another order");
        assert!(chunks.len() < 100, "{} chunks", chunks.len());
    }
}
