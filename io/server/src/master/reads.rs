//! Answers reads from snapshots of the master's state, each rendered once however many ask.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use master::Master;
use master::view::Snapshot;
use protocol::time::Timestamp;
use tokio::sync::{oneshot, watch};

use super::commands::{Command, Question};
use super::endpoint::Read;
use super::render::View;
use crate::event_loop::{Inputs, Stopped};
use crate::http::shared::Output;
use crate::http::{Callback, Coding, ContentType, Rendered, Shared, SharedBody};

/// From so many agents and tasks on, the state is sent while it is rendered instead of being kept whole.
const LARGE_OBJECTS_MIN: usize = 4000;

/// How long the first reader of a large state waits for others that want the same at the same time.
const GATHERING: Duration = Duration::from_millis(4);

/// A rendering that depends on nothing but the state: there are no more of these than endpoints and encodings.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Key {
    /// A legacy endpoint.
    Legacy(Read),
    /// A call of `/api/v1`.
    Operator(View, ContentType),
}

/// The last rendering, with the version of the state that it shows. Locked while it is renewed, so that a second reader
/// waits instead of rendering the same.
type Slot = tokio::sync::Mutex<Option<(u64, Arc<Rendered>)>>;

/// What is sent to all readers alike.
type SentAs = (Key, Coding);

/// Where readers who come together find what they share, once it is there.
type Gathered = watch::Receiver<Option<Arc<Shared>>>;

/// Reads the state.
#[derive(Debug)]
pub(super) struct Reads {
    inputs: Inputs<Command>,
    slots: Mutex<BTreeMap<Key, Arc<Slot>>>,
    hits: AtomicU64,
    /// Whether the state was large when it was last read.
    is_large: AtomicBool,
    gatherings: Mutex<BTreeMap<SentAs, Gathered>>,
    /// What is being sent, with the version of the state that it shows.
    sending: Mutex<BTreeMap<SentAs, (u64, Weak<Shared>)>>,
}

/// The body of an answer.
#[derive(Debug)]
pub(super) enum ReadBody {
    /// All of it.
    Whole(Arc<Rendered>),
    /// Rendered while it is sent.
    Shared(SharedBody),
}

/// How an answer that may be large is put on the wire.
#[derive(Clone, Debug)]
pub(super) struct Wire {
    /// What a large one is sent as.
    pub coding: Coding,
    /// The function that a script is to call with it.
    pub callback: Option<Callback>,
}

/// Readers of one thing who come together. Dropped by the first of them, however it fares.
struct Gathering<'a> {
    reads: &'a Reads,
    key: SentAs,
    result: watch::Sender<Option<Arc<Shared>>>,
}

impl Drop for Gathering<'_> {
    fn drop(&mut self) {
        let mut gatherings = lock(&self.reads.gatherings);
        // The next may have begun.
        let own = self.result.subscribe();
        if gatherings.get(&self.key).is_some_and(|other| other.same_channel(&own)) {
            gatherings.remove(&self.key);
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Whether a state is too large to be rendered as a whole.
fn is_large(snapshot: &Snapshot) -> bool {
    let tasks: usize = snapshot.frameworks.values().map(|framework| framework.tasks.len()).sum();
    snapshot.agents.len() + snapshot.recovered_agents.len() + tasks >= LARGE_OBJECTS_MIN
}

impl Reads {
    /// Reads the state of the master behind `inputs`.
    pub(super) fn new(inputs: Inputs<Command>) -> Self {
        Self {
            inputs,
            slots: Mutex::default(),
            hits: AtomicU64::new(0),
            is_large: AtomicBool::new(false),
            gatherings: Mutex::default(),
            sending: Mutex::default(),
        }
    }

    /// How often an answer was there already.
    pub(super) fn hits(&self) -> u64 {
        self.hits.load(Ordering::Relaxed)
    }

    /// The state, at some moment after the call.
    pub(super) async fn snapshot(&self) -> Result<Arc<Snapshot>, Stopped> {
        let (reply, snapshot) = oneshot::channel();
        self.inputs.send(Command::Read(reply)).await?;
        snapshot.await.map_err(|_| Stopped)
    }

    /// Asks the master itself, on its own thread, something that no state shows.
    pub(super) async fn ask<T: Send + 'static>(
        &self,
        question: impl FnOnce(&Master, Timestamp) -> T + Send + 'static,
    ) -> Result<T, Stopped> {
        let (reply, answer) = oneshot::channel();
        let question = Question::new(move |master, now| {
            // Whoever asked may have gone.
            let _ = reply.send(question(master, now));
        });
        self.inputs.send(Command::Ask(question)).await?;
        answer.await.map_err(|_| Stopped)
    }

    /// Renders the state on a thread that may take its time.
    pub(super) async fn render(
        &self,
        render: impl FnOnce(&Snapshot) -> Vec<u8> + Send + 'static,
    ) -> Result<Arc<Rendered>, Stopped> {
        let snapshot = self.snapshot().await?;
        render_apart(snapshot, render).await
    }

    /// The same, or what was rendered before if nothing has changed since.
    pub(super) async fn cached(
        &self,
        key: Key,
        render: impl FnOnce(&Snapshot) -> Vec<u8> + Send + 'static,
    ) -> Result<Arc<Rendered>, Stopped> {
        let snapshot = self.snapshot().await?;
        self.cached_of(key, snapshot, render).await
    }

    async fn cached_of(
        &self,
        key: Key,
        snapshot: Arc<Snapshot>,
        render: impl FnOnce(&Snapshot) -> Vec<u8> + Send + 'static,
    ) -> Result<Arc<Rendered>, Stopped> {
        let slot = Arc::clone(lock(&self.slots).entry(key).or_default());
        let mut slot = slot.lock().await;
        // Whoever waited for another reader's rendering may find it newer than asked for.
        if let Some((version, rendered)) = slot.as_ref()
            && *version >= snapshot.version
        {
            self.hits.fetch_add(1, Ordering::Relaxed);
            return Ok(Arc::clone(rendered));
        }
        let version = snapshot.version;
        let rendered = render_apart(snapshot, render).await?;
        *slot = Some((version, Arc::clone(&rendered)));
        Ok(rendered)
    }

    /// The same for what may be too large to keep: then it is sent while `pieces` renders it, once for all
    /// who ask at about the same time and in the same coding. Scripts call a function that the reader names, so
    /// each is rendered for its reader.
    pub(super) async fn large(
        &self,
        key: Key,
        wire: Wire,
        whole: impl FnOnce(&Snapshot) -> Vec<u8> + Send + 'static,
        pieces: impl Fn(&Snapshot, Output) + Send + Sync + 'static,
    ) -> Result<ReadBody, Stopped> {
        let Wire { coding, callback } = wire;
        if callback.is_some() || !self.is_large.load(Ordering::Relaxed) {
            let snapshot = self.snapshot().await?;
            if !is_large(&snapshot) {
                return Ok(ReadBody::Whole(self.cached_of(key, snapshot, whole).await?));
            }
            self.is_large.store(true, Ordering::Relaxed);
            if let Some(callback) = callback {
                let render = move |output| pieces(&snapshot, callback.enclose(output));
                return Ok(ReadBody::Shared(Shared::start(coding, render).1));
            }
        }
        let gathering = loop {
            let mut result = match self.gather((key, coding)) {
                Ok(gathering) => break gathering,
                Err(result) => result,
            };
            // An error means that the first reader has gone: somebody else has to be the first then.
            let shared = result.wait_for(Option::is_some).await.ok().and_then(|it| it.clone());
            if let Some(body) = shared.and_then(|shared| shared.join()) {
                self.hits.fetch_add(1, Ordering::Relaxed);
                return Ok(ReadBody::Shared(body));
            }
        };
        tokio::time::sleep(GATHERING).await;
        // Whoever comes after the snapshot must see a later one.
        lock(&self.gatherings).remove(&(key, coding));
        let snapshot = self.snapshot().await?;
        if !is_large(&snapshot) {
            self.is_large.store(false, Ordering::Relaxed);
            return Ok(ReadBody::Whole(self.cached_of(key, snapshot, whole).await?));
        }
        let (shared, body) = self.send((key, coding), snapshot, pieces);
        gathering.result.send_replace(Some(shared));
        Ok(ReadBody::Shared(body))
    }

    /// Makes the caller the first of a gathering, or gives the result of one that has begun.
    fn gather(&self, key: SentAs) -> Result<Gathering<'_>, Gathered> {
        let mut gatherings = lock(&self.gatherings);
        if let Some(result) = gatherings.get(&key) {
            return Err(result.clone());
        }
        let (result, receiver) = watch::channel(None);
        gatherings.insert(key, receiver);
        Ok(Gathering { reads: self, key, result })
    }

    /// Joins those to whom the same state is being sent, or begins to send it.
    fn send(
        &self,
        key: SentAs,
        snapshot: Arc<Snapshot>,
        pieces: impl Fn(&Snapshot, Output) + Send + Sync + 'static,
    ) -> (Arc<Shared>, SharedBody) {
        let mut sending = lock(&self.sending);
        if let Some((version, shared)) = sending.get(&key)
            && *version == snapshot.version
            && let Some(shared) = shared.upgrade()
            && let Some(body) = shared.join()
        {
            return (shared, body);
        }
        let version = snapshot.version;
        let (shared, body) = Shared::start(key.1, move |output| pieces(&snapshot, output));
        sending.insert(key, (version, Arc::downgrade(&shared)));
        (shared, body)
    }
}

/// Renders on a thread that may block.
pub(super) async fn render_apart(
    snapshot: Arc<Snapshot>,
    render: impl FnOnce(&Snapshot) -> Vec<u8> + Send + 'static,
) -> Result<Arc<Rendered>, Stopped> {
    tokio::task::spawn_blocking(move || Arc::new(Rendered::new(render(&snapshot))))
        .await
        .map_err(|_| Stopped)
}
