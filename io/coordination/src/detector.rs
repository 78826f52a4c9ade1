//! Where the leading master is, from the text of a `--master` or `--zk` flag
//! (`src/master/detector/detector.cpp`).

use std::net::{SocketAddr, SocketAddrV4, ToSocketAddrs};
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use protocol::mesos::MasterInfo;
use protocol::pid::Pid;
use tokio::sync::watch;
use tokio::task::AbortHandle;
use tokio::time::{sleep, timeout};

use crate::ensemble_error::EnsembleError;
use crate::url::{UrlError, ZooKeeperUrl};

pub(crate) mod ensemble;

/// The actor that every master is.
const MASTER_ACTOR: &str = "master";

/// How long a ZooKeeper session lasts that is not heard of: Mesos' default for masters and agents, and
/// what its scheduler driver always uses.
pub const SESSION_TIMEOUT_DEFAULT: Duration = Duration::from_secs(10);

/// Pauses between attempts to resolve a host name, doubled up to the longest.
const PAUSE_FIRST: Duration = Duration::from_millis(100);
const PAUSE_LONGEST: Duration = Duration::from_secs(10);

/// Knows where to look for the leading master: at a fixed address or in a ZooKeeper ensemble.
///
/// This is the parsed text alone. [`Detector::watch`] follows the leader, [`Detector::resolve`] asks once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Detector {
    place: Place,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Place {
    Address(Address),
    ZooKeeper(ZooKeeperUrl),
}

/// The one address of a master that always leads.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Address {
    actor: String,
    host: String,
    port: u16,
}

/// The leading master.
#[derive(Clone, Debug, PartialEq)]
pub struct Leader {
    /// Where messages to it go.
    pub pid: Pid,
    /// What it says of itself; `None` when only its address is known.
    pub info: Option<MasterInfo>,
}

/// What is known of the leader at some moment.
#[derive(Clone, Debug)]
pub enum Detected<L = Leader> {
    /// The ensemble has not answered yet, or not for as long as a session lasts. Whoever led may have
    /// been replaced, so this is no leader.
    Unreachable,
    /// The ensemble answers: nobody leads.
    Nobody,
    /// This one leads.
    Leader(Arc<L>),
    /// The leader cannot be read or looked for. Further changes are reported nevertheless.
    Failed(Arc<DetectorError>),
}

impl<L: PartialEq> Detected<L> {
    /// The leader, if one is known.
    #[must_use]
    pub fn leader(&self) -> Option<&Arc<L>> {
        match self {
            Self::Leader(leader) => Some(leader),
            Self::Unreachable | Self::Nobody | Self::Failed(_) => None,
        }
    }

    fn says_the_same_as(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Leader(one), Self::Leader(another)) => one == another,
            (Self::Failed(one), Self::Failed(another)) => one.to_string() == another.to_string(),
            (Self::Unreachable, Self::Unreachable) | (Self::Nobody, Self::Nobody) => true,
            (Self::Unreachable | Self::Nobody | Self::Leader(_) | Self::Failed(_), _) => false,
        }
    }
}

/// A search that goes on in the background until this is dropped.
#[derive(Debug)]
pub struct Detection<L = Leader> {
    detected: watch::Receiver<Detected<L>>,
    task: AbortHandle,
}

impl<L> Detection<L> {
    pub(crate) fn new(detected: watch::Receiver<Detected<L>>, task: AbortHandle) -> Self {
        Self { detected, task }
    }

    /// What is known now, and each change.
    #[must_use]
    pub fn detected(&self) -> watch::Receiver<Detected<L>> {
        self.detected.clone()
    }
}

impl<L> Drop for Detection<L> {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Detector {
    /// Reads `zk://…/path`, `host:port` or `master@host:port`.
    ///
    /// # Errors
    /// The text is none of these.
    pub fn new(text: &str) -> Result<Self, DetectorError> {
        text.parse()
    }

    /// The URL of the ensemble, unless the master has a fixed address.
    #[must_use]
    pub fn zookeeper(&self) -> Option<&ZooKeeperUrl> {
        match &self.place {
            Place::ZooKeeper(url) => Some(url),
            Place::Address(_) => None,
        }
    }

    /// Begins to look for the leader. To be called inside a tokio runtime.
    ///
    /// `session_timeout` is asked of the ensemble; an ensemble that is out of reach for longer is
    /// reported as [`Detected::Unreachable`]. It does not matter for a fixed address.
    #[must_use]
    pub fn watch(&self, session_timeout: Duration) -> Detection {
        let (sender, detected) = watch::channel(Detected::Unreachable);
        let task = match self.place.clone() {
            Place::Address(address) => tokio::spawn(address.watch(sender)),
            Place::ZooKeeper(url) => {
                tokio::spawn(ensemble::watch(url, session_timeout, ensemble::read_master, sender))
            }
        };
        Detection::new(detected, task.abort_handle())
    }

    /// Looks for the leader once, for at most `limit`; a leader that is elected meanwhile is found. To
    /// be called inside a tokio runtime.
    ///
    /// # Errors
    /// There is no leader, or it cannot be read or looked for.
    pub async fn resolve(&self, limit: Duration) -> Result<Leader, Arc<DetectorError>> {
        let detection = self.watch(SESSION_TIMEOUT_DEFAULT);
        let mut detected = detection.detected();
        let is_answer = |it: &Detected| matches!(it, Detected::Leader(_) | Detected::Failed(_));
        let _ = timeout(limit, detected.wait_for(is_answer)).await;
        let last = detected.borrow().clone();
        match last {
            Detected::Leader(leader) => Ok(Arc::unwrap_or_clone(leader)),
            Detected::Failed(error) => Err(error),
            Detected::Nobody => Err(Arc::new(DetectorError::Nobody(self.to_string()))),
            Detected::Unreachable => {
                Err(Arc::new(DetectorError::Unreachable { place: self.to_string(), limit }))
            }
        }
    }

    /// The pid of a master with a fixed address. A host name is resolved at each call, so that a moved
    /// name is followed; that may block for as long as the resolver takes.
    ///
    /// # Errors
    /// The host name has no IPv4 address, or the leader has to be looked for in an ensemble.
    pub fn leader(&self) -> Result<Pid, DetectorError> {
        match &self.place {
            Place::Address(address) => address.resolve(),
            Place::ZooKeeper(url) => Err(DetectorError::Changing(url.to_string())),
        }
    }
}

impl std::fmt::Display for Detector {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match &self.place {
            Place::Address(address) => write!(f, "{}:{}", address.host, address.port),
            Place::ZooKeeper(url) => write!(f, "{url}"),
        }
    }
}

impl Address {
    fn resolve(&self) -> Result<Pid, DetectorError> {
        let unresolved =
            |source| DetectorError::Resolve { host: self.host.clone(), source: Some(source) };
        let addresses = (self.host.as_str(), self.port).to_socket_addrs().map_err(unresolved)?;
        self.first_ipv4(addresses)
    }

    async fn resolve_later(&self) -> Result<Pid, DetectorError> {
        let unresolved =
            |source| DetectorError::Resolve { host: self.host.clone(), source: Some(source) };
        let found = tokio::net::lookup_host((self.host.as_str(), self.port)).await;
        self.first_ipv4(found.map_err(unresolved)?)
    }

    fn first_ipv4(
        &self,
        addresses: impl Iterator<Item = SocketAddr>,
    ) -> Result<Pid, DetectorError> {
        let ipv4 = |address| match address {
            SocketAddr::V4(address) => Some(address),
            SocketAddr::V6(_) => None,
        };
        let address: Option<SocketAddrV4> = { addresses }.find_map(ipv4);
        address
            .map(|address| Pid::new(self.actor.clone(), address))
            .ok_or_else(|| DetectorError::Resolve { host: self.host.clone(), source: None })
    }

    /// Resolves the name, as often as it takes, and reports the leader.
    async fn watch(self, detected: watch::Sender<Detected>) {
        let mut pause = PAUSE_FIRST;
        loop {
            match self.resolve_later().await {
                Ok(pid) => {
                    report(&detected, Detected::Leader(Arc::new(Leader { pid, info: None })));
                    return;
                }
                Err(error) => report(&detected, Detected::Failed(Arc::new(error))),
            }
            sleep(pause).await;
            pause = (pause * 2).min(PAUSE_LONGEST);
        }
    }
}

/// Tells of news, and only of news.
fn report<L: PartialEq>(detected: &watch::Sender<Detected<L>>, news: Detected<L>) {
    detected.send_if_modified(|last| {
        let is_new = !last.says_the_same_as(&news);
        if is_new {
            *last = news;
        }
        is_new
    });
}

impl From<ZooKeeperUrl> for Detector {
    /// Looks for the leader in this ensemble.
    fn from(url: ZooKeeperUrl) -> Self {
        Self { place: Place::ZooKeeper(url) }
    }
}

impl FromStr for Detector {
    type Err = DetectorError;

    fn from_str(text: &str) -> Result<Self, DetectorError> {
        let text = text.trim();
        if ZooKeeperUrl::is_meant_by(text) {
            return Ok(Self { place: Place::ZooKeeper(text.parse().map_err(DetectorError::Url)?) });
        }
        let invalid = || DetectorError::Invalid(text.to_owned());
        let (actor, address) = text.split_once('@').unwrap_or((MASTER_ACTOR, text));
        let (host, port) = address.rsplit_once(':').ok_or_else(invalid)?;
        if actor.is_empty() || host.is_empty() || host.contains(['/', ':', '@']) {
            return Err(invalid());
        }
        let port = port.parse().map_err(|_| invalid())?;
        let address = Address { actor: actor.to_owned(), host: host.to_owned(), port };
        Ok(Self { place: Place::Address(address) })
    }
}

/// Why the leading master is not known.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DetectorError {
    /// The text begins as the URL of an ensemble and is none.
    #[error(transparent)]
    Url(UrlError),
    /// The text is no address.
    #[error(
        "'{0}' is not the address of a master: expected host:port, master@host:port or \
         zk://host:port,.../path"
    )]
    Invalid(String),
    /// The host has no IPv4 address.
    #[error("cannot resolve the master's host '{host}' to an IPv4 address")]
    Resolve {
        /// The host name.
        host: String,
        /// What the resolver said; `None` when it knows only IPv6 addresses.
        source: Option<std::io::Error>,
    },
    /// The leader of an ensemble was asked for as if it had a fixed address.
    #[error("the leading master at '{0}' changes and has to be watched")]
    Changing(String),
    /// The ensemble did not answer in time.
    #[error("'{place}' did not answer within {limit:?}")]
    Unreachable {
        /// Who did not answer.
        place: String,
        /// How long it had.
        limit: Duration,
    },
    /// The ensemble knows no master.
    #[error("no master leads at '{0}'")]
    Nobody(String),
    /// The ensemble does not let this client look.
    #[error("cannot look for the leader at '{place}'")]
    Refused {
        /// Where.
        place: String,
        /// What the ensemble said.
        source: EnsembleError,
    },
    /// The leader's node has a label that no known master writes, so its data cannot be understood.
    #[error(
        "the node '{node}' of the leading master has an unknown label: expected 'json.info' or 'info'"
    )]
    Label {
        /// The path of the node.
        node: String,
    },
    /// A node of another program is where the leading instance of a program was looked for.
    #[error("the node '{node}' of the leader is that of another program")]
    Stranger {
        /// The path of the node.
        node: String,
    },
    /// The data in the leader's node is not what its label says.
    #[error("the node '{node}' of the leader holds no usable {expected}")]
    Data {
        /// The path of the node.
        node: String,
        /// What should be there.
        expected: &'static str,
        /// What is wrong with it.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
}

#[cfg(test)]
mod tests;
