//! Status-update streams: each update of a task reaches the master at least once and in order, one at
//! a time, until the framework acknowledges it.
//!
//! Streams know nothing of executors or frameworks' states; they keep the queue, what was received and
//! acknowledged, and how long to wait. Retries: 10 s doubling to 10 min, as Mesos does.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use protocol::internal::StatusUpdate;
use protocol::mesos::{FrameworkId, TaskId};

use crate::timers::TimerId;

/// The wait before the first repetition.
pub const RETRY_INTERVAL_MIN: Duration = Duration::from_secs(10);
/// No wait is longer.
pub const RETRY_INTERVAL_MAX: Duration = Duration::from_secs(600);
/// An executor whose task has this many unacknowledged updates is refused further ones until the
/// framework catches up.
pub const PENDING_UPDATES_PER_TASK_MAX: usize = 4096;

/// One task's updates.
#[derive(Debug)]
pub struct Stream {
    /// Where updates and acknowledgements are appended; `None` when the framework does not
    /// checkpoint.
    pub checkpoint: Option<String>,
    /// Unacknowledged updates, oldest first; the first one is outstanding.
    pub pending: VecDeque<StatusUpdate>,
    /// The retry timer while an update is outstanding.
    pub retry: Option<TimerId>,
    /// The wait that the next retry timer gets.
    pub retry_interval: Duration,
    received: BTreeSet<Vec<u8>>,
    acknowledged: BTreeSet<Vec<u8>>,
}

/// What became of an acknowledgement.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Acknowledged {
    /// The update is done; more may follow.
    Continues,
    /// The update was terminal: the stream is over.
    Ends,
    /// The acknowledgement does not fit: a repetition, or a stream unknown here.
    Unexpected,
}

impl Stream {
    fn new(checkpoint: Option<String>) -> Self {
        Self {
            checkpoint,
            pending: VecDeque::new(),
            retry: None,
            retry_interval: RETRY_INTERVAL_MIN,
            received: BTreeSet::new(),
            acknowledged: BTreeSet::new(),
        }
    }

    /// Whether this update came before.
    #[must_use]
    pub fn knows(&self, uuid: &[u8]) -> bool {
        self.received.contains(uuid)
    }

    /// Adds an update that was not known.
    pub fn push(&mut self, uuid: &[u8], update: StatusUpdate) {
        self.received.insert(uuid.to_vec());
        self.pending.push_back(update);
    }

    /// Takes the wait before the next repetition and doubles the one after it.
    pub fn next_retry_interval(&mut self) -> Duration {
        let interval = self.retry_interval;
        self.retry_interval = (interval * 2).min(RETRY_INTERVAL_MAX);
        interval
    }
}

/// All streams.
#[derive(Debug, Default)]
pub struct Streams {
    streams: BTreeMap<(FrameworkId, TaskId), Stream>,
}

impl Streams {
    /// The stream of a task.
    #[must_use]
    pub fn get(&self, framework: &FrameworkId, task: &TaskId) -> Option<&Stream> {
        self.streams.get(&(framework.clone(), task.clone()))
    }

    /// The stream of a task.
    pub fn get_mut(&mut self, framework: &FrameworkId, task: &TaskId) -> Option<&mut Stream> {
        self.streams.get_mut(&(framework.clone(), task.clone()))
    }

    /// The stream of a task, made if there is none.
    pub fn open(
        &mut self,
        framework: &FrameworkId,
        task: &TaskId,
        checkpoint: Option<String>,
    ) -> &mut Stream {
        self.streams
            .entry((framework.clone(), task.clone()))
            .or_insert_with(|| Stream::new(checkpoint))
    }

    /// Rebuilds a stream from its checkpoint: updates in the order written, and the uuids of the
    /// acknowledged ones. A stream that ended is not kept.
    pub fn replay(
        &mut self,
        framework: &FrameworkId,
        task: &TaskId,
        checkpoint: String,
        updates: &[StatusUpdate],
        acknowledgements: &BTreeSet<Vec<u8>>,
    ) {
        let mut stream = Stream::new(Some(checkpoint));
        for update in updates {
            let uuid = update.uuid.clone().unwrap_or_default();
            stream.received.insert(uuid.clone());
            if !acknowledgements.contains(&uuid) {
                stream.pending.push_back(update.clone());
                continue;
            }
            stream.acknowledged.insert(uuid);
            if update.status.state.is_terminal() {
                return;
            }
        }
        if !stream.received.is_empty() {
            self.streams.insert((framework.clone(), task.clone()), stream);
        }
    }

    /// Handles an acknowledgement; the caller checkpoints it, and removes a stream that ends.
    pub fn acknowledge(
        &mut self,
        framework: &FrameworkId,
        task: &TaskId,
        uuid: &[u8],
    ) -> Acknowledged {
        let Some(stream) = self.get_mut(framework, task) else {
            return Acknowledged::Unexpected;
        };
        let fits =
            stream.pending.front().is_some_and(|update| update.uuid.as_deref() == Some(uuid));
        let Some(update) = stream.pending.pop_front_if(|_| fits) else {
            return Acknowledged::Unexpected;
        };
        stream.acknowledged.insert(uuid.to_vec());
        stream.retry_interval = RETRY_INTERVAL_MIN;
        if update.status.state.is_terminal() { Acknowledged::Ends } else { Acknowledged::Continues }
    }

    /// Removes one stream.
    pub fn remove(&mut self, framework: &FrameworkId, task: &TaskId) -> Option<Stream> {
        self.streams.remove(&(framework.clone(), task.clone()))
    }

    /// Removes all streams of a framework.
    pub fn remove_framework(&mut self, framework: &FrameworkId) -> Vec<Stream> {
        let first = (framework.clone(), TaskId::default());
        let keys: Vec<_> = self
            .streams
            .range(first..)
            .map(|(key, _)| key.clone())
            .take_while(|(other, _)| other == framework)
            .collect();
        keys.iter().filter_map(|key| self.streams.remove(key)).collect()
    }

    /// The tasks with an unacknowledged update.
    #[must_use]
    pub fn with_pending(&self) -> Vec<(FrameworkId, TaskId)> {
        self.streams
            .iter()
            .filter(|(_, stream)| !stream.pending.is_empty())
            .map(|(key, _)| key.clone())
            .collect()
    }

    /// Each stream, to stop or inspect it.
    pub fn iter_mut(&mut self) -> impl Iterator<Item = &mut Stream> {
        self.streams.values_mut()
    }
}
