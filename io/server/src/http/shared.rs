//! Large bodies: rendered once for all who read at the same pace, and never whole in memory.
//!
//! A body is rendered from something that does not change, such as a snapshot, so it can be rendered
//! again at any time. That is how a reader who falls behind goes on: on its own, from where it is.

use std::collections::{BTreeMap, VecDeque};
use std::fmt;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use bytes::Bytes;
use tokio::sync::Semaphore;

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

/// Where a rendering puts its pieces.
#[derive(Debug)]
pub struct Output {
    shared: Arc<Shared>,
    /// How many bytes are left out at the beginning, because the reader has them already.
    skip: usize,
}

impl Output {
    /// Puts out a piece, and waits while readers are too far behind. False when nobody reads any more:
    /// the rest need not be rendered.
    pub fn push(&mut self, mut chunk: Vec<u8>) -> bool {
        if self.skip >= chunk.len() {
            self.skip -= chunk.len();
            return self.shared.lock().has_followers();
        }
        chunk.drain(..std::mem::take(&mut self.skip));
        self.shared.push(chunk.into())
    }
}

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
}

impl fmt::Debug for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Shared").field("window", &self.window).finish_non_exhaustive()
    }
}

impl Shared {
    /// Begins to render a body for a first reader, on a thread that may block. `render` writes it, possibly
    /// several times and each time the same. To be called inside a tokio runtime.
    #[must_use]
    pub fn start(render: impl Fn(Output) + Send + Sync + 'static) -> (Arc<Self>, SharedBody) {
        Self::start_from(Arc::new(render), 0)
    }

    /// The same for a reader that has the first `skip` bytes.
    fn start_from(render: Arc<Render>, skip: usize) -> (Arc<Self>, SharedBody) {
        let own = Arc::new(Self { window: Mutex::default(), room: Condvar::new(), render });
        let body = own.add_reader(&mut own.lock(), skip);
        let shared = Arc::clone(&own);
        tokio::spawn(async move {
            // Never closed.
            let Ok(_permit) = RENDERINGS.acquire().await else { return };
            let rendering = tokio::task::spawn_blocking(move || {
                // However it ends, a panic included, readers are told.
                let ended = Ended(Arc::clone(&shared));
                (shared.render)(Output { shared: Arc::clone(&shared), skip });
                ended.well();
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

/// Tells readers when a rendering has ended.
struct Ended(Arc<Shared>);

impl Ended {
    fn well(self) {
        self.0.lock().finished = true;
    }
}

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
        let (_, body) = Shared::start_from(Arc::clone(&self.shared.render), self.taken);
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

#[cfg(test)]
mod tests {
    use std::future::poll_fn;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    const CHUNKS: u32 = 400;

    /// A body of numbered pieces with its first reader, and how often it was rendered.
    fn body() -> (Arc<Shared>, SharedBody, Arc<AtomicUsize>) {
        let count = Arc::new(AtomicUsize::new(0));
        let counted = Arc::clone(&count);
        let (shared, first) = Shared::start(move |mut output: Output| {
            counted.fetch_add(1, Ordering::Relaxed);
            for number in 0..CHUNKS {
                if !output.push(number.to_le_bytes().repeat(256)) {
                    return;
                }
            }
        });
        (shared, first, count)
    }

    fn expected() -> Vec<u8> {
        (0..CHUNKS).flat_map(|number| number.to_le_bytes().repeat(256)).collect()
    }

    async fn read(mut body: SharedBody, pause: Duration) -> Result<Vec<u8>, GivenUp> {
        let mut all = Vec::new();
        while let Some(chunk) = poll_fn(|context| body.poll_chunk(context)).await {
            all.extend_from_slice(&chunk?);
            if !pause.is_zero() {
                tokio::time::sleep(pause).await;
            }
        }
        Ok(all)
    }

    #[tokio::test]
    async fn equal_readers_share_one_rendering() -> Result<(), Box<dyn std::error::Error>> {
        let (shared, first, count) = body();
        let others: Vec<_> = (0..9).filter_map(|_| shared.join()).collect();
        assert_eq!(others.len(), 9);
        let tasks: Vec<_> = others
            .into_iter()
            .chain([first])
            .map(|body| tokio::spawn(read(body, Duration::ZERO)))
            .collect();
        for task in tasks {
            assert_eq!(task.await??, expected());
        }
        assert_eq!(count.load(Ordering::Relaxed), 1);
        assert!(shared.join().is_none(), "its beginning is gone");
        Ok(())
    }

    #[tokio::test]
    async fn a_slow_reader_goes_on_alone_and_gets_the_same()
    -> Result<(), Box<dyn std::error::Error>> {
        let (shared, quick, count) = body();
        let slow = shared.join().ok_or("joins")?;
        let quick = tokio::spawn(read(quick, Duration::ZERO));
        let slow = tokio::spawn(read(slow, Duration::from_millis(3)));
        assert_eq!(quick.await??, expected());
        assert_eq!(slow.await??, expected());
        assert_eq!(count.load(Ordering::Relaxed), 2);
        Ok(())
    }

    #[tokio::test]
    async fn a_reader_that_stands_still_is_waited_for_once()
    -> Result<(), Box<dyn std::error::Error>> {
        let (shared, quick, _) = body();
        let still = shared.join().ok_or("joins")?;
        assert_eq!(tokio::spawn(read(quick, Duration::ZERO)).await??, expected());
        // The one pause was when the window was full; the rest was rendered as if it were not there.
        assert!(shared.lock().readers[&still.id].left_behind);
        assert!(shared.lock().lag < LAG_MAX);
        assert_eq!(shared.lock().readers[&still.id].position, 0);
        assert_eq!(read(still, Duration::ZERO).await?, expected());
        Ok(())
    }

    #[tokio::test]
    async fn a_rendering_without_readers_ends() -> Result<(), Box<dyn std::error::Error>> {
        let (shared, reader, count) = body();
        drop(reader);
        let deadline = Instant::now() + Duration::from_secs(10);
        while Arc::strong_count(&shared) > 1 && Instant::now() < deadline {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        assert_eq!(Arc::strong_count(&shared), 1, "the rendering let go");
        assert!(count.load(Ordering::Relaxed) <= 1);
        assert!(shared.lock().chunks.len() <= WINDOW_CHUNKS_MAX);
        Ok(())
    }

    #[tokio::test]
    async fn a_rendering_that_fails_is_no_end() {
        let (_, reader) = Shared::start(|mut output: Output| {
            output.push(vec![1]);
            std::panic::resume_unwind(Box::new("it failed"));
        });
        assert_eq!(read(reader, Duration::ZERO).await, Err(GivenUp));
    }
}
