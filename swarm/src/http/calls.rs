//! Calls of one framework: written without waiting for their answers, as Mesos' own library does.

use std::io;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::BytesMut;
use tokio::io::AsyncWriteExt as _;
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::sync::{Notify, mpsc};
use tokio::time::timeout;

use super::decoder::{Part, ResponseDecoder};
use super::{Server, append_post};

/// Calls that wait for a master that does not read them. Beyond this the connection is given up.
const QUEUE_BYTES_MAX: usize = 512 << 20;

/// Room made for each read.
const READ_BYTES: usize = 16 << 10;

/// How long the last answers may take when the owner has gone.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(30);

/// Refusals that wait for their reader before the connection does.
const REFUSALS_MAX: usize = 64;

/// The longest body of a refusal that is shown.
const REFUSAL_BYTES_MAX: usize = 1024;

/// What a connection of calls tells its owner.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum CallsEvent {
    /// A call was answered with something else than success.
    Refused { status: u16, text: String },
    /// The connection is gone, with the calls that were not answered.
    Closed { unanswered: u64 },
}

/// A connection that calls are posted on. Dropping it closes the connection.
#[derive(Debug)]
pub(crate) struct Calls {
    queue: Arc<Queue>,
    head: String,
}

#[derive(Debug, Default)]
struct Queue {
    bytes: Mutex<Vec<u8>>,
    wake: Notify,
    is_closed: AtomicBool,
    sent: AtomicU64,
    answered: AtomicU64,
}

impl Calls {
    /// Opens a connection in the background; `head` is the same for all calls. What happens to the
    /// connection goes to `events`, as `wrap` puts it.
    pub(crate) fn open<T: Send + 'static>(
        server: Server,
        head: String,
        events: mpsc::Sender<T>,
        wrap: impl Fn(CallsEvent) -> T + Send + Sync + 'static,
    ) -> Self {
        let queue = Arc::new(Queue::default());
        let shared = Arc::clone(&queue);
        tokio::spawn(async move {
            let (refusals, mut refused) = mpsc::channel(REFUSALS_MAX);
            let run = shared.run(&server, &refusals);
            tokio::pin!(run);
            loop {
                tokio::select! {
                    Some(refusal) = refused.recv() => {
                        if events.send(wrap(refusal)).await.is_err() {
                            return;
                        }
                    }
                    result = &mut run => {
                        if let Err(error) = result {
                            tracing::debug!(%error, "connection of calls broke");
                        }
                        break;
                    }
                }
            }
            let unanswered = shared.unanswered();
            // Whoever opened the connection may have gone.
            let _ = events.send(wrap(CallsEvent::Closed { unanswered })).await;
        });
        Self { queue, head }
    }

    /// Queues one call. Says whether there was room.
    pub(crate) fn post(&self, body: &[u8]) -> bool {
        let mut bytes = self.queue.bytes.lock().unwrap_or_else(PoisonError::into_inner);
        if bytes.len() + body.len() > QUEUE_BYTES_MAX {
            return false;
        }
        append_post(&self.head, body, &mut bytes);
        drop(bytes);
        self.queue.sent.fetch_add(1, Ordering::Relaxed);
        self.queue.wake.notify_one();
        true
    }

    /// How many calls wait for their answers.
    pub(crate) fn unanswered(&self) -> u64 {
        self.queue.unanswered()
    }
}

impl Drop for Calls {
    fn drop(&mut self) {
        self.queue.is_closed.store(true, Ordering::Relaxed);
        self.queue.wake.notify_one();
    }
}

impl Queue {
    fn unanswered(&self) -> u64 {
        let sent = self.sent.load(Ordering::Relaxed);
        sent.saturating_sub(self.answered.load(Ordering::Relaxed))
    }

    async fn run(&self, server: &Server, refusals: &mpsc::Sender<CallsEvent>) -> io::Result<()> {
        let (reading, mut writing) = server.connect().await?.into_split();
        let read = self.read(reading, refusals);
        tokio::pin!(read);
        tokio::select! {
            result = self.write(&mut writing) => result?,
            result = &mut read => return result,
        }
        // Closing with answers unread would reset the connection, and with it undo the last calls.
        timeout(DRAIN_TIMEOUT, read).await?
    }

    /// Ends, all being written, when the owner has gone.
    async fn write(&self, writing: &mut OwnedWriteHalf) -> io::Result<()> {
        let mut batch = Vec::new();
        loop {
            batch.clear();
            std::mem::swap(
                &mut batch,
                &mut self.bytes.lock().unwrap_or_else(PoisonError::into_inner),
            );
            if !batch.is_empty() {
                writing.write_all(&batch).await?;
            } else if self.is_closed.load(Ordering::Relaxed) {
                return Ok(());
            } else {
                self.wake.notified().await;
            }
        }
    }

    async fn read(
        &self,
        reading: OwnedReadHalf,
        refusals: &mpsc::Sender<CallsEvent>,
    ) -> io::Result<()> {
        let mut decoder = ResponseDecoder::default();
        let mut buffer = BytesMut::new();
        let mut refusal: Option<(u16, String)> = None;
        loop {
            while let Some(part) = decoder.next(&mut buffer).map_err(io::Error::other)? {
                match part {
                    Part::Head(head) if (200..300).contains(&head.status) => {}
                    Part::Head(head) => {
                        refusal = Some((head.status, head.location.unwrap_or_default()));
                    }
                    Part::Data(data) => {
                        if let Some((_, text)) = &mut refusal
                            && text.len() < REFUSAL_BYTES_MAX
                        {
                            text.push_str(&String::from_utf8_lossy(&data));
                        }
                    }
                    Part::End => {
                        self.answered.fetch_add(1, Ordering::Relaxed);
                        if let Some((status, text)) = refusal.take() {
                            // The receiver lives as long as this runs.
                            let _ = refusals.send(CallsEvent::Refused { status, text }).await;
                        }
                    }
                }
            }
            if self.is_closed.load(Ordering::Relaxed) && self.unanswered() == 0 {
                return Ok(());
            }
            buffer.reserve(READ_BYTES);
            reading.readable().await?;
            match reading.try_read_buf(&mut buffer) {
                Ok(0) => return Ok(()),
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => return Err(error),
            }
        }
    }
}
