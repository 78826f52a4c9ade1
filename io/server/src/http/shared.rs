//! Large bodies: rendered once for all who read at the same pace, and never whole in memory.
//!
//! A body is rendered from something that does not change, such as a snapshot, so it can be rendered
//! again at any time. That is how a reader who falls behind goes on: on its own, from where it is.

mod output;

#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, VecDeque};
use std::fmt;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use bytes::Bytes;
use tokio::sync::Semaphore;

pub use self::output::{Coding, Output};

/// How large the pieces are in which a body is rendered.
pub const CHUNK_BYTES: usize = 128 * 1024;

/// How many pieces wait for the slowest reader of a body.
pub const WINDOW_CHUNKS_MAX: usize = 64;

/// How many large bodies are rendered at a time; further ones wait for their turn.
pub const RENDERINGS_MAX: usize = 16;

/// How long readers who are quicker wait for the slowest, all in all, before it goes on alone.
const LAG_MAX: Duration = Duration::from_millis(100);

/// How long a rendering waits for readers who take nothing before it is given up.
const STALL_MAX: Duration = Duration::from_secs(30);

static RENDERINGS: Semaphore = Semaphore::const_new(RENDERINGS_MAX);

/// The reader took nothing for so long that the rendering was given up, or the rendering failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the body was given up")]
pub struct GivenUp;

type Render = dyn Fn(Output) + Send + Sync;

#[derive(Debug)]
struct Reader {
    /// The next piece it wants.
    position: u64,
    waker: Option<Waker>,
    /// It is too slow for the others and goes on alone.
    left_behind: bool,
}

#[derive(Debug, Default)]
struct Window {
    chunks: VecDeque<Bytes>,
    /// The number of the first of `chunks`.
    first: u64,
    readers: BTreeMap<u64, Reader>,
    readers_ever: u64,
    /// How long readers have waited for slower ones.
    lag: Duration,
    finished: bool,
    given_up: bool,
}

impl Window {
    fn end(&self) -> u64 {
        self.first + self.chunks.len() as u64
    }

    /// The readers that this rendering is for; those left behind get one of their own.
    fn followers(&self) -> impl Iterator<Item = &Reader> {
        self.readers.values().filter(|reader| !reader.left_behind)
    }

    fn has_followers(&self) -> bool {
        self.followers().next().is_some()
    }

    /// Where the slowest reader is.
    fn slowest(&self) -> Option<u64> {
        self.followers().map(|reader| reader.position).min()
    }

    /// Drops what every reader has.
    fn drop_read(&mut self) {
        let slowest = self.slowest();
        while self.first < slowest.unwrap_or(u64::MAX) && self.chunks.pop_front().is_some() {
            self.first += 1;
        }
    }

    fn wake_all(&mut self) {
        for waker in self.readers.values_mut().filter_map(|reader| reader.waker.take()) {
            waker.wake();
        }
    }

    /// Leaves the slowest readers behind once others have waited for them for too long, all in all.
    fn leave_behind(&mut self, waited: Duration) {
        let end = self.end();
        if self.followers().any(|reader| reader.position == end) {
            self.lag += waited;
        }
        if self.lag < LAG_MAX {
            return;
        }
        self.lag = Duration::ZERO;
        let slowest = self.slowest();
        let slow = |reader: &&mut Reader| !reader.left_behind && Some(reader.position) == slowest;
        for reader in self.readers.values_mut().filter(slow) {
            reader.left_behind = true;
            if let Some(waker) = reader.waker.take() {
                waker.wake();
            }
        }
    }
}

/// A body that is being rendered.
pub struct Shared {
    window: Mutex<Window>,
    room: Condvar,
    render: Arc<Render>,
    coding: Coding,
}

impl fmt::Debug for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Shared").field("window", &self.window).finish_non_exhaustive()
    }
}

impl Shared {
    /// Begins to render a body for a first reader, on a thread that may block. `render` writes it, possibly
    /// several times and each time the same, and finishes it. To be called inside a tokio runtime.
    #[must_use]
    pub fn start(
        coding: Coding,
        render: impl Fn(Output) + Send + Sync + 'static,
    ) -> (Arc<Self>, SharedBody) {
        Self::start_from(Arc::new(render), coding, 0)
    }

    /// The same for a reader that has the first `skip` bytes, as they are coded.
    fn start_from(render: Arc<Render>, coding: Coding, skip: usize) -> (Arc<Self>, SharedBody) {
        let own = Arc::new(Self { window: Mutex::default(), room: Condvar::new(), render, coding });
        let body = own.add_reader(&mut own.lock(), skip);
        let shared = Arc::clone(&own);
        tokio::spawn(async move {
            // Never closed.
            let Ok(_permit) = RENDERINGS.acquire().await else { return };
            let rendering = tokio::task::spawn_blocking(move || {
                // However it ends, a panic included, readers are told.
                let _ended = Ended(Arc::clone(&shared));
                (shared.render)(Output::new(Arc::clone(&shared), skip));
            });
            let _ = rendering.await;
        });
        (own, body)
    }

    /// One more reader, from the beginning; none when the beginning is gone.
    #[must_use]
    pub fn join(self: &Arc<Self>) -> Option<SharedBody> {
        let mut window = self.lock();
        if window.first > 0 || window.given_up {
            return None;
        }
        Some(self.add_reader(&mut window, 0))
    }

    fn add_reader(self: &Arc<Self>, window: &mut Window, taken: usize) -> SharedBody {
        window.readers_ever += 1;
        let id = window.readers_ever;
        window.readers.insert(id, Reader { position: 0, waker: None, left_behind: false });
        SharedBody { shared: Arc::clone(self), id, taken }
    }

    fn lock(&self) -> MutexGuard<'_, Window> {
        self.window.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// All has been put out.
    fn finish(&self) {
        let mut window = self.lock();
        window.finished = true;
        window.wake_all();
    }

    fn push(&self, chunk: Bytes) -> bool {
        let mut window = self.lock();
        let started = Instant::now();
        while window.chunks.len() >= WINDOW_CHUNKS_MAX {
            window.drop_read();
            if window.chunks.len() < WINDOW_CHUNKS_MAX || !window.has_followers() {
                break;
            }
            if started.elapsed() > STALL_MAX {
                window.given_up = true;
                window.wake_all();
                return false;
            }
            let waiting = Instant::now();
            let waited = self.room.wait_timeout(window, LAG_MAX);
            (window, _) = waited.unwrap_or_else(PoisonError::into_inner);
            window.leave_behind(waiting.elapsed());
        }
        if !window.has_followers() {
            return false;
        }
        window.chunks.push_back(chunk);
        window.wake_all();
        true
    }
}

/// Tells readers when a rendering has ended without being finished.
struct Ended(Arc<Shared>);

impl Drop for Ended {
    fn drop(&mut self) {
        let mut window = self.0.lock();
        if !window.finished {
            window.given_up = true;
        }
        window.wake_all();
    }
}

/// One reader of a body.
#[derive(Debug)]
pub struct SharedBody {
    shared: Arc<Shared>,
    id: u64,
    /// How many bytes it has.
    taken: usize,
}

impl SharedBody {
    /// What the pieces are.
    #[must_use]
    pub fn coding(&self) -> Coding {
        self.shared.coding
    }

    /// The next piece, or the end.
    pub fn poll_chunk(
        &mut self,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Bytes, GivenUp>>> {
        let mut window = self.shared.lock();
        let (first, finished, given_up) = (window.first, window.finished, window.given_up);
        let Some(reader) = window.readers.get_mut(&self.id) else {
            return Poll::Ready(Some(Err(GivenUp)));
        };
        if reader.left_behind {
            drop(window);
            self.go_on_alone();
            return self.poll_chunk(context);
        }
        let index = usize::try_from(reader.position - first).unwrap_or(usize::MAX);
        let position = reader.position;
        if let Some(chunk) = window.chunks.get(index).cloned() {
            if let Some(reader) = window.readers.get_mut(&self.id) {
                reader.position = position + 1;
            }
            drop(window);
            self.taken += chunk.len();
            self.shared.room.notify_one();
            return Poll::Ready(Some(Ok(chunk)));
        }
        if finished {
            return Poll::Ready(None);
        }
        if given_up {
            return Poll::Ready(Some(Err(GivenUp)));
        }
        if let Some(reader) = window.readers.get_mut(&self.id) {
            reader.waker = Some(context.waker().clone());
        }
        Poll::Pending
    }

    fn go_on_alone(&mut self) {
        let render = Arc::clone(&self.shared.render);
        let (_, body) = Shared::start_from(render, self.shared.coding, self.taken);
        // Dropping what stood here leaves the common body.
        *self = body;
    }
}

impl Drop for SharedBody {
    fn drop(&mut self) {
        self.shared.lock().readers.remove(&self.id);
        self.shared.room.notify_one();
    }
}
