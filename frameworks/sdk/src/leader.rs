//! Where to find the leading master, now and after each change.

use std::sync::Arc;

use coordination::{Detected, Detection, Detector, Leader, SESSION_TIMEOUT_DEFAULT};
use protocol::causes::with_causes;
use tokio::sync::{mpsc, watch};
use tokio::time::timeout;

use crate::Incoming;

/// The framework does not listen any more.
#[derive(Debug)]
pub(crate) struct NobodyListens;

/// Says which master to subscribe with.
#[derive(Debug)]
pub(crate) enum Leaders {
    /// `host:port`, given by the user. The name is resolved anew for each connection, and a master that
    /// does not lead answers with a redirect.
    Fixed(String),
    /// As an ensemble knows.
    Followed(Followed),
}

/// A leader that changes.
#[derive(Debug)]
pub(crate) struct Followed {
    place: String,
    detected: watch::Receiver<Detected>,
    /// The one that was given out last.
    current: Option<Arc<Leader>>,
    _detection: Detection,
}

impl Leaders {
    /// To be called inside a tokio runtime.
    pub(crate) fn new(detector: &Detector) -> Self {
        if detector.zookeeper().is_none() {
            return Self::Fixed(detector.to_string());
        }
        let detection = detector.watch(SESSION_TIMEOUT_DEFAULT);
        Self::Followed(Followed {
            place: detector.to_string(),
            detected: detection.detected(),
            current: None,
            _detection: detection,
        })
    }

    /// The `host:port` of the leader. While there is none this waits, and tells the framework why.
    pub(crate) async fn next(
        &mut self,
        events: &mpsc::Sender<Incoming>,
    ) -> Result<String, NobodyListens> {
        match self {
            Self::Fixed(authority) => Ok(authority.clone()),
            Self::Followed(followed) => followed.next(events).await,
        }
    }

    /// Waits until the leader is another one than [`Leaders::next`] said last, or none.
    pub(crate) async fn changed(&mut self) {
        match self {
            Self::Fixed(_) => std::future::pending().await,
            Self::Followed(followed) => followed.changed().await,
        }
    }
}

impl Followed {
    async fn next(&mut self, events: &mpsc::Sender<Incoming>) -> Result<String, NobodyListens> {
        // An ensemble that has not answered yet is given some time before the framework hears of it.
        let is_answer = |it: &Detected| !matches!(it, Detected::Unreachable);
        let _ = timeout(SESSION_TIMEOUT_DEFAULT, self.detected.wait_for(is_answer)).await;
        loop {
            let detected = self.detected.borrow_and_update().clone();
            let reason = match detected {
                Detected::Leader(leader) => {
                    let authority = leader.pid.address.to_string();
                    self.current = Some(leader);
                    return Ok(authority);
                }
                Detected::Nobody => format!("no master leads at {}", self.place),
                Detected::Unreachable => format!("{} does not answer", self.place),
                Detected::Failed(error) => with_causes(&*error),
            };
            tracing::debug!(reason, "there is no leading master");
            if events.send(Incoming::Disconnected { reason }).await.is_err() {
                return Err(NobodyListens);
            }
            tokio::select! {
                changed = self.detected.changed() => {
                    if changed.is_err() {
                        // Detection goes on for as long as it is held, but for the end of the runtime.
                        return Err(NobodyListens);
                    }
                }
                () = events.closed() => return Err(NobodyListens),
            }
        }
    }

    async fn changed(&mut self) {
        let current = self.current.as_ref();
        let is_other = |detected: &Detected| detected.leader() != current;
        if self.detected.wait_for(is_other).await.is_err() {
            std::future::pending::<()>().await;
        }
    }
}
