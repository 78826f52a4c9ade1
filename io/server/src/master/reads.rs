//! Answers reads from snapshots of the master's state, each rendered once however many ask.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use master::view::Snapshot;
use tokio::sync::oneshot;

use super::commands::Command;
use super::endpoint::Read;
use super::render::View;
use crate::event_loop::{Inputs, Stopped};
use crate::http::{ContentType, Rendered};

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

/// Reads the state.
#[derive(Debug)]
pub(super) struct Reads {
    inputs: Inputs<Command>,
    slots: Mutex<BTreeMap<Key, Arc<Slot>>>,
    hits: AtomicU64,
}

impl Reads {
    /// Reads the state of the master behind `inputs`.
    pub(super) fn new(inputs: Inputs<Command>) -> Self {
        Self { inputs, slots: Mutex::default(), hits: AtomicU64::new(0) }
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
        let slot = {
            let mut slots = self.slots.lock().unwrap_or_else(PoisonError::into_inner);
            Arc::clone(slots.entry(key).or_default())
        };
        let snapshot = self.snapshot().await?;
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
