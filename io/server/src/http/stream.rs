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
    /// The reader is too slow. Nothing was queued; [`StreamSender::give_up`] ends the stream.
    #[error(
        "{waiting} bytes of events wait for the subscriber, more than the bound of {bytes_max}"
    )]
    Overflow {
        /// How many bytes would wait.
        waiting: usize,
        /// How many may.
        bytes_max: usize,
    },
}

type OnClose = Box<dyn FnOnce() + Send>;

struct State {
    queue: VecDeque<Bytes>,
    /// Small records behind the queue.
    tail: BytesMut,
    queued_bytes: usize,
    bytes_max: usize,
    finished: bool,
    closed: bool,
    /// The reader was too slow: what came before the last record is dropped.
    given_up: bool,
    on_close: Option<OnClose>,
    waker: Option<Waker>,
}

impl State {
    fn new(on_close: OnClose) -> Self {
        Self {
            queue: VecDeque::new(),
            tail: BytesMut::new(),
            queued_bytes: 0,
            bytes_max: STREAM_QUEUE_BYTES_MAX,
            finished: false,
            closed: false,
            given_up: false,
            on_close: Some(on_close),
            waker: None,
        }
    }

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

    /// Drops what waits: whole records, as one that is being written has left the queue.
    fn clear(&mut self) {
        self.queue = VecDeque::new();
        self.tail = BytesMut::new();
        self.queued_bytes = 0;
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
}

/// Makes a stream on `connection`. `on_close` is called once, when the response has ended for whatever reason or
/// its reader is given up.
pub fn stream(
    connection: ConnectionHandle,
    on_close: impl FnOnce() + Send + 'static,
) -> (StreamSender, StreamBody) {
    let state = Mutex::new(State::new(Box::new(on_close)));
    let shared = Arc::new(Shared { state, connection });
    let body = StreamBody { shared: Arc::clone(&shared), first: None };
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
    /// When the peer is gone, or has left too much unread.
    pub fn send(&self, chunk: Bytes) -> Result<(), SendError> {
        let mut state = self.shared.lock();
        if state.closed {
            return Err(SendError::Closed);
        }
        let waiting = state.queued_bytes + chunk.len();
        if state.queued_bytes > 0 && waiting > state.bytes_max {
            return Err(SendError::Overflow { waiting, bytes_max: state.bytes_max });
        }
        state.push(chunk);
        if let Some(waker) = state.waker.take() {
            waker.wake();
        }
        Ok(())
    }

    /// Ends the stream of a reader that is too slow: drops what waits for it, and leaves `last`, which may say why.
    /// What is being written already is written to its end.
    pub fn give_up(self, last: Option<Bytes>) {
        let mut state = self.shared.lock();
        if state.closed {
            return;
        }
        state.clear();
        state.given_up = true;
        if let Some(last) = last {
            state.push(last);
        }
        let on_close = state.on_close.take();
        drop(state);
        if let Some(on_close) = on_close {
            on_close();
        }
    }
}

impl Drop for StreamSender {
    fn drop(&mut self) {
        let mut state = self.shared.lock();
        if !state.closed {
            // A reader that does not take the rest must not keep the connection for ever. Said before the body
            // can end, which takes it back.
            self.shared.connection.drain();
        }
        state.finished = true;
        if let Some(waker) = state.waker.take() {
            waker.wake();
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
        let mut state = self.shared.lock();
        if let Some(chunk) = self.first.take()
            && !state.given_up
        {
            return Poll::Ready(Some(chunk));
        }
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
        state.closed = true;
        state.clear();
        let on_close = state.on_close.take();
        drop(state);
        self.shared.connection.body_ended();
        if let Some(on_close) = on_close {
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

    #[test]
    fn records_that_wait_are_put_together_in_order() {
        let mut state = State::new(Box::new(|| ()));
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

    fn next(body: &mut StreamBody) -> Poll<Option<Bytes>> {
        body.poll_chunk(&mut Context::from_waker(Waker::noop()))
    }

    fn chunk(text: &'static str) -> Poll<Option<Bytes>> {
        Poll::Ready(Some(Bytes::from_static(text.as_bytes())))
    }

    #[test]
    fn a_reader_that_is_given_up_gets_the_last_record_and_the_end() -> Result<(), SendError> {
        let closed = Arc::new(Mutex::new(0));
        let counted = Arc::clone(&closed);
        let count = move || *counted.lock().unwrap_or_else(PoisonError::into_inner) += 1;
        let closings = || *closed.lock().unwrap_or_else(PoisonError::into_inner);
        let (sender, mut body) = stream(ConnectionHandle::default(), count);
        let sender = sender.with_bytes_max(6);
        sender.send(Bytes::from_static(b"one"))?;
        assert_eq!(next(&mut body), chunk("one"), "is being written");
        sender.send(Bytes::from_static(b"two"))?;
        sender.send(Bytes::from_static(b"six"))?;
        let overflow = sender.send(Bytes::from_static(b"ten"));
        assert_eq!(overflow, Err(SendError::Overflow { waiting: 9, bytes_max: 6 }));
        assert_eq!(closings(), 0);
        sender.give_up(Some(Bytes::from_static(b"why")));
        assert_eq!(closings(), 1, "said at once, not when the reader has taken the rest");
        assert_eq!(next(&mut body), chunk("why"));
        assert_eq!(next(&mut body), Poll::Ready(None));
        drop(body);
        assert_eq!(closings(), 1);
        Ok(())
    }

    #[test]
    fn overflow_alone_changes_nothing() -> Result<(), SendError> {
        let (sender, mut body) = stream(ConnectionHandle::default(), || ());
        let sender = sender.with_bytes_max(3);
        sender.send(Bytes::from_static(b"one"))?;
        assert!(sender.send(Bytes::from_static(b"two")).is_err());
        assert_eq!(next(&mut body), chunk("one"));
        sender.send(Bytes::from_static(b"six"))?;
        assert_eq!(next(&mut body), chunk("six"));
        assert_eq!(next(&mut body), Poll::Pending);
        Ok(())
    }

    #[test]
    fn what_goes_first_is_dropped_with_the_rest() {
        let (sender, mut body) = stream(ConnectionHandle::default(), || ());
        sender.give_up(Some(Bytes::from_static(b"why")));
        body.prepend(Bytes::from_static(b"a cluster's state"));
        assert_eq!(next(&mut body), chunk("why"));
        assert_eq!(next(&mut body), Poll::Ready(None));
    }
}
