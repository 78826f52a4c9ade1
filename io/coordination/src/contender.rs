//! Contends for leadership with an ephemeral sequential node, as a Mesos master does
//! (`src/master/contender/zookeeper.cpp`).

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use tokio::sync::{oneshot, watch};
use tokio::task::JoinHandle;
use tokio::time::{sleep, sleep_until, timeout_at};
use tracing::{info, warn};

use crate::candidates::{JSON_LABEL, candidates};
use crate::ensemble_error::EnsembleError;
use crate::instances;
use crate::url::ZooKeeperUrl;
use crate::zookeeper::{
    Client, Code, CreateMode, Operation, Options, RequestError, SessionEnd, Stat,
};

/// Pauses before a new session is tried, doubled up to the longest.
const PAUSE_FIRST: Duration = Duration::from_millis(100);
const PAUSE_LONGEST: Duration = Duration::from_secs(2);

/// How long after a question that a majority has answered the session still lives, whatever has happened
/// since, of a session with this timeout.
///
/// The leading server counts the timeout from when it has heard of the session. A client's server tells
/// it every half tick of whom it has heard itself, and questions are a tenth of the timeout apart. So
/// when a question is agreed on, the leading server has heard of the session not longer ago than both
/// together: three tenths of a timeout of at least two and a half ticks. (Mesos' 10 seconds are five
/// ticks of ZooKeeper's usual length.)
fn lease(timeout: Duration) -> Duration {
    timeout * 7 / 10
}

/// Numbers the terms of leaders below one path: a later leader's is higher, also across restarts of
/// everything. It is the number of the change that made the leader's node (`czxid`).
///
/// The registry keeps the highest epoch it was claimed with, and refuses lower ones.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Epoch(pub(crate) i64);

impl fmt::Display for Epoch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

/// How a master's candidacy stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Candidacy {
    /// Somebody else leads, or the ensemble cannot be reached (yet): the contender keeps trying.
    Waiting,
    /// This master leads.
    Elected(Epoch),
    /// Leadership is lost, or contending makes no sense. The contender has given up for ever; the
    /// reaction of a master is to exit.
    Ended(ContenderError),
}

/// Why a candidacy has ended.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ContenderError {
    /// Somebody has removed the leader's node.
    #[error("the own node '{0}' was removed: leadership is lost")]
    NodeRemoved(String),
    /// A node with a lower number has appeared, so detectors follow that one.
    #[error("'{0}' has a lower number than the own node: leadership is lost")]
    Overtaken(String),
    /// A majority of the ensemble could not be reached for so long that another master may be elected.
    #[error("a majority of the ZooKeeper servers cannot be reached: leadership is lost")]
    CutOff,
    /// The session has ended while this master led.
    #[error("the own ZooKeeper session has ended: leadership is lost")]
    SessionOver(#[source] EnsembleError),
    /// Nodes of another kind are where the instances of a program were to contend: those of masters,
    /// which would not find each other any more.
    #[error("cannot contend for leadership at '{url}': '{node}' is a node of another program")]
    Occupied {
        /// Where.
        url: String,
        /// The name of such a node.
        node: String,
    },
    /// The ensemble does not let this master contend.
    #[error("cannot contend for leadership at '{url}'")]
    Refused {
        /// Where.
        url: String,
        /// What the ensemble said.
        source: EnsembleError,
    },
}

/// Until when leadership is certain. Cheap to ask, from any thread.
///
/// The contender says that leadership is lost when this runs out; who has just been stopped by the
/// operating system for a while may ask here before it hears of it.
#[derive(Clone, Debug)]
pub struct Lease {
    start: Instant,
    until_nanos: Arc<AtomicU64>,
}

impl Lease {
    fn new() -> Self {
        Self { start: Instant::now(), until_nanos: Arc::default() }
    }

    /// Whether no other master can lead at this moment. The clock is monotonic.
    #[must_use]
    pub fn is_valid(&self) -> bool {
        let until = Duration::from_nanos(self.until_nanos.load(Ordering::Acquire));
        self.start.elapsed() < until
    }

    fn set(&self, until: Instant) {
        let nanos = until.saturating_duration_since(self.start).as_nanos();
        self.until_nanos.store(u64::try_from(nanos).unwrap_or(u64::MAX), Ordering::Release);
    }

    fn end(&self) {
        self.until_nanos.store(0, Ordering::Release);
    }
}

/// A master's part in an election. Dropping it withdraws, soon; [`Contender::withdraw`] waits for it.
#[derive(Debug)]
pub struct Contender {
    candidacy: watch::Receiver<Candidacy>,
    lease: Lease,
    /// Dropped to end the task.
    stop: oneshot::Sender<()>,
    task: JoinHandle<()>,
}

impl Contender {
    /// Begins to contend with a node that holds `master_info`: the master's `MasterInfo` in JSON with
    /// v0 names. To be called inside a tokio runtime.
    ///
    /// `session_timeout` is what the ensemble is asked for. It is also the bound after which a leader
    /// that is cut off has stepped down and another may follow.
    #[must_use]
    pub fn start(url: &ZooKeeperUrl, session_timeout: Duration, master_info: Vec<u8>) -> Self {
        Self::start_with_label(url, session_timeout, JSON_LABEL, master_info)
    }

    pub(crate) fn start_with_label(
        url: &ZooKeeperUrl,
        session_timeout: Duration,
        label: &'static str,
        data: Vec<u8>,
    ) -> Self {
        let (sender, candidacy) = watch::channel(Candidacy::Waiting);
        let (stop, stopped) = oneshot::channel();
        let lease = Lease::new();
        let election = Election {
            url: url.clone(),
            options: Options::new(url, session_timeout),
            label,
            data,
            candidacy: sender,
            lease: lease.clone(),
        };
        let task = tokio::spawn(election.run(stopped));
        Self { candidacy, lease, stop, task }
    }

    /// How the candidacy stands, now and at each change.
    #[must_use]
    pub fn candidacy(&self) -> watch::Receiver<Candidacy> {
        self.candidacy.clone()
    }

    /// Until when leadership is certain.
    #[must_use]
    pub fn lease(&self) -> Lease {
        self.lease.clone()
    }

    /// Waits until this master leads.
    ///
    /// # Errors
    /// It never will.
    pub async fn elected(&self) -> Result<Epoch, ContenderError> {
        let mut candidacy = self.candidacy.clone();
        loop {
            match &*candidacy.borrow_and_update() {
                Candidacy::Elected(epoch) => return Ok(*epoch),
                Candidacy::Ended(error) => return Err(error.clone()),
                Candidacy::Waiting => {}
            }
            if candidacy.changed().await.is_err() {
                return Err(withdrawn());
            }
        }
    }

    /// Waits for the end of the candidacy.
    pub async fn ended(&self) -> ContenderError {
        let mut candidacy = self.candidacy.clone();
        loop {
            if let Candidacy::Ended(error) = &*candidacy.borrow_and_update() {
                return error.clone();
            }
            if candidacy.changed().await.is_err() {
                return withdrawn();
            }
        }
    }

    /// Removes the node, so that another master can lead at once. If the ensemble cannot be reached this
    /// gives up within seconds, and the node goes with the session.
    pub async fn withdraw(self) {
        drop(self.stop);
        let _ = self.task.await;
    }
}

/// The task ends without a word only with its runtime or after its contender was dropped.
fn withdrawn() -> ContenderError {
    ContenderError::SessionOver(SessionEnd::Closed.into())
}

/// What happened to one session's worth of contending.
enum Outcome {
    /// It is worth another session.
    Again(EnsembleError),
    End(ContenderError),
}

struct Election {
    url: ZooKeeperUrl,
    options: Options,
    label: &'static str,
    data: Vec<u8>,
    candidacy: watch::Sender<Candidacy>,
    lease: Lease,
}

impl Election {
    async fn run(self, mut stopped: oneshot::Receiver<()>) {
        let mut pause = PAUSE_FIRST;
        loop {
            let client = Client::connect(self.options.clone());
            let outcome = tokio::select! {
                outcome = self.contend(&client) => outcome,
                // Also when the sender is dropped.
                _ = &mut stopped => {
                    self.lease.end();
                    client.close().await;
                    return;
                }
            };
            self.lease.end();
            match outcome {
                Outcome::End(error) => {
                    self.candidacy.send_replace(Candidacy::Ended(error));
                    client.close().await;
                    return;
                }
                Outcome::Again(error) => {
                    warn!("contending at {} again: {error}", self.url);
                    client.close().await;
                }
            }
            tokio::select! {
                () = sleep(pause) => {}
                _ = &mut stopped => return,
            }
            pause = (pause * 2).min(PAUSE_LONGEST);
        }
    }

    async fn contend(&self, client: &Client) -> Outcome {
        let (session, timeout) = match client.connected().await {
            Ok(connected) => connected,
            Err(end @ SessionEnd::Credentials) => return Outcome::End(self.refused(end)),
            Err(end) => return Outcome::Again(end.into()),
        };
        if let Some(node) = instances::stranger(client, &self.url, self.label).await {
            return Outcome::End(ContenderError::Occupied { url: self.url.to_string(), node });
        }
        loop {
            let node = match self.join(client, session).await {
                Ok(node) => node,
                Err(error @ (RequestError::Refused(_) | RequestError::TooLong { .. })) => {
                    return Outcome::End(self.refused(error));
                }
                Err(error) => return Outcome::Again(error.into()),
            };
            info!("contending at {} as {}", self.url, node.name);
            match self.await_turn(client, &node).await {
                Ok(true) => {
                    let error = self.lead(client, &node, timeout).await;
                    let was_elected = matches!(*self.candidacy.borrow(), Candidacy::Elected(_));
                    return if was_elected {
                        Outcome::End(error)
                    } else {
                        Outcome::Again(EnsembleError::new(error.to_string()))
                    };
                }
                // Somebody has removed the node of a master that does not lead: no harm is done.
                Ok(false) => {}
                Err(error) => return Outcome::Again(error.into()),
            }
        }
    }

    fn refused(&self, error: impl Into<EnsembleError>) -> ContenderError {
        ContenderError::Refused { url: self.url.to_string(), source: error.into() }
    }

    /// Makes the session's one node, or finds it.
    async fn join(&self, client: &Client, session: i64) -> Result<Node, RequestError> {
        loop {
            match self.try_join(client, session).await {
                // The node may have been made nevertheless, hence the look around before each try.
                Err(RequestError::Interrupted) => sleep(PAUSE_FIRST).await,
                Ok(Some(node)) => return Ok(node),
                Ok(None) => {}
                Err(error) => return Err(error),
            }
        }
    }

    async fn try_join(&self, client: &Client, session: i64) -> Result<Option<Node>, RequestError> {
        let base = self.url.path();
        let acl = self.url.acl();
        client.create_path(base, acl).await?;
        // A request that was sent over an earlier connection and whose answer was lost has reached the
        // leader before this connection took over the session, or never will. After this the server
        // has it too.
        client.sync(base).await?;
        let mut own = None;
        for candidate in candidates(&client.children(base).await?) {
            let path = format!("{base}/{}", candidate.name);
            match client.exists(&path).await? {
                Some(stat) if stat.owner == session && own.is_none() => own = Some(path),
                Some(stat) if stat.owner == session => client.delete(&path).await?,
                Some(_) | None => {}
            }
        }
        let path = match own {
            Some(path) => path,
            None => {
                let prefix = format!("{base}/{}_", self.label);
                let mode = CreateMode::EphemeralSequential;
                client.create(&prefix, &self.data, acl, mode).await?
            }
        };
        Ok(client.exists(&path).await?.and_then(|stat| Node::new(&path, stat)))
    }

    /// Waits until the node has the lowest number; `false` if it is removed before.
    async fn await_turn(&self, client: &Client, node: &Node) -> Result<bool, RequestError> {
        loop {
            match client.watch_children(self.url.path()).await {
                Ok((children, watch)) => match node.standing(&children) {
                    Standing::Lowest => return Ok(true),
                    Standing::Behind(_) => watch.changed().await,
                    Standing::Gone => return Ok(false),
                },
                Err(RequestError::Refused(Code::NoNode)) => return Ok(false),
                Err(RequestError::Interrupted) => sleep(PAUSE_FIRST).await,
                Err(error) => return Err(error),
            }
        }
    }

    /// Leads until something speaks against it.
    async fn lead(&self, client: &Client, node: &Node, timeout: Duration) -> ContenderError {
        tokio::select! {
            error = self.watch_node(client, node) => error,
            error = self.renew_lease(client, node, timeout) => error,
            end = client.over() => ContenderError::SessionOver(end.into()),
        }
    }

    async fn watch_node(&self, client: &Client, node: &Node) -> ContenderError {
        loop {
            match client.watch_children(self.url.path()).await {
                Ok((children, watch)) => match node.standing(&children) {
                    Standing::Lowest => watch.changed().await,
                    Standing::Behind(other) => return ContenderError::Overtaken(other),
                    Standing::Gone => return ContenderError::NodeRemoved(node.name.clone()),
                },
                Err(RequestError::Refused(Code::NoNode)) => {
                    return ContenderError::NodeRemoved(node.name.clone());
                }
                Err(RequestError::Interrupted) => sleep(PAUSE_FIRST).await,
                Err(error) => return ContenderError::SessionOver(error.into()),
            }
        }
    }

    /// Asks the ensemble again and again whether the node is still there, in a way that needs a majority.
    ///
    /// A ping would not do: a server that is cut off from the others goes on answering pings for as long
    /// as its `syncLimit`, while the others end the session. An empty multi with a check is agreed on by
    /// a majority.
    async fn renew_lease(&self, client: &Client, node: &Node, timeout: Duration) -> ContenderError {
        let check = [Operation::Check { path: node.path.clone(), version: None }];
        let mut until = Instant::now() + lease(timeout);
        let mut elected = false;
        loop {
            let sent = Instant::now();
            match timeout_at(until.into(), client.multi(&check)).await {
                Err(_) => return ContenderError::CutOff,
                Ok(Ok(())) => {
                    until = sent + lease(timeout);
                    self.lease.set(until);
                    if !elected {
                        elected = true;
                        info!("leading at {} as {}", self.url, node.name);
                        self.candidacy.send_replace(Candidacy::Elected(node.epoch));
                    }
                    sleep_until((sent + timeout / 10).into()).await;
                }
                Ok(Err(RequestError::Interrupted)) => sleep(PAUSE_FIRST.min(timeout / 20)).await,
                Ok(Err(RequestError::Refused(Code::NoNode))) => {
                    return ContenderError::NodeRemoved(node.name.clone());
                }
                Ok(Err(error)) => return ContenderError::SessionOver(error.into()),
            }
        }
    }
}

/// This master's node.
struct Node {
    path: String,
    name: String,
    epoch: Epoch,
}

/// Where a node stands among the candidates.
enum Standing {
    Lowest,
    /// Behind the node of this name.
    Behind(String),
    Gone,
}

impl Node {
    fn new(path: &str, stat: Stat) -> Option<Self> {
        let (_, name) = path.rsplit_once('/')?;
        Some(Self { path: path.to_owned(), name: name.to_owned(), epoch: Epoch(stat.created) })
    }

    fn standing(&self, children: &[String]) -> Standing {
        let all = candidates(children);
        match all.first() {
            Some(first) if first.name == self.name => Standing::Lowest,
            Some(first) if all.iter().any(|it| it.name == self.name) => {
                Standing::Behind(first.name.clone())
            }
            Some(_) | None => Standing::Gone,
        }
    }
}

#[cfg(test)]
mod tests;
