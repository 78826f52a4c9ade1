//! A master's life in an election: it stands by, leads when it is elected, and stops when it may not lead
//! any more (`Master::detected` and `lostCandidacy` in `src/master/master.cpp`).

use std::sync::Arc;
use std::time::Duration;

use coordination::{Contender, ContenderError, Detected, Detector, Epoch, Leader, RegistryError};
use protocol::{Message as _, Names};
use tokio::sync::watch;

use super::daemon::Daemon;
use super::leadership::Leadership;
use super::options::ZooKeeperOptions;
use super::term::{self, Term, TermEnd};
use super::{RegistryStore, StartError};
use protocol::causes::with_causes;

/// How long a master that stepped down waits before it contends again, so that another one is tried.
const STEP_DOWN_PAUSE: Duration = Duration::from_secs(1);

/// Contends until the daemon stops, or until the reason is known why it should: then it is sent to `over`.
pub(super) async fn run(
    daemon: Arc<Daemon>,
    options: ZooKeeperOptions,
    over: watch::Sender<Option<String>>,
    mut stopping: watch::Receiver<bool>,
) {
    loop {
        let end = match Candidate::start(&daemon, &options) {
            Ok(candidate) => candidate.run(&mut stopping).await,
            Err(error) => Some(TermEnd::Aborted(with_causes(&error))),
        };
        match end {
            None => return,
            Some(TermEnd::Deposed(reason)) if options.step_down => {
                tracing::warn!(%reason, "the master has stepped down and will contend again");
            }
            Some(TermEnd::Deposed(reason) | TermEnd::Aborted(reason)) => {
                over.send_replace(Some(reason));
                return;
            }
        }
        tokio::select! {
            () = tokio::time::sleep(STEP_DOWN_PAUSE) => {}
            () = stopped(&mut stopping) => return,
        }
    }
}

async fn stopped(stopping: &mut watch::Receiver<bool>) {
    // An error means that the handle was dropped.
    let _ = stopping.wait_for(|stopping| *stopping).await;
}

/// Follows who leads, for requests that are sent on to the leader.
pub(super) async fn follow_leader(daemon: Arc<Daemon>, options: ZooKeeperOptions) {
    let detection = Detector::from(options.url.clone()).watch(options.session_timeout);
    let mut detected = detection.detected();
    let own = daemon.node.pid(super::endpoint::MASTER_ACTOR);
    loop {
        let others = match &*detected.borrow_and_update() {
            // Whether this master leads is known better from its own candidacy.
            Detected::Leader(leader) if leader.pid == own => Leadership::Unknown,
            Detected::Leader(leader) => Leadership::Elsewhere {
                hostname: published_name(leader),
                port: leader.pid.address.port(),
            },
            Detected::Nobody | Detected::Unreachable => Leadership::Unknown,
            Detected::Failed(error) => {
                tracing::warn!(error = with_causes(error), "cannot tell who leads");
                Leadership::Unknown
            }
        };
        daemon.others_changed(others);
        if detected.changed().await.is_err() {
            return;
        }
    }
}

fn published_name(leader: &Leader) -> String {
    let published = leader.info.as_ref().and_then(|info| info.hostname.clone());
    published.unwrap_or_else(|| leader.pid.address.ip().to_string())
}

/// One candidacy, with the term that it may lead to.
struct Candidate<'a> {
    daemon: &'a Daemon,
    options: &'a ZooKeeperOptions,
    settings: master::Config,
    contender: Contender,
}

impl<'a> Candidate<'a> {
    fn start(daemon: &'a Daemon, options: &'a ZooKeeperOptions) -> Result<Self, StartError> {
        let settings = daemon.settings()?;
        // Detectors of all kinds read this, so the names are the old ones.
        let info = master::master_info(&settings).to_json(Names::V0);
        let contender = Contender::start(&options.url, options.session_timeout, info.into_bytes());
        Ok(Self { daemon, options, settings, contender })
    }

    /// Contends, and leads if elected. Returns when it leads no more or never will; without an end when the
    /// daemon stops.
    async fn run(self, stopping: &mut watch::Receiver<bool>) -> Option<TermEnd> {
        let end = tokio::select! {
            end = self.contend() => Some(end),
            () = stopped(stopping) => None,
        };
        // Nothing of this term may act once the next master leads.
        match end {
            Some(_) => self.daemon.stand_by().await,
            None => self.daemon.finish().await,
        }
        self.contender.withdraw().await;
        end
    }

    async fn contend(&self) -> TermEnd {
        let epoch = match self.contender.elected().await {
            Ok(epoch) => epoch,
            Err(error) => return refused(&error),
        };
        self.daemon.recovers();
        tracing::info!(%epoch, "elected: reading the registry");
        let end = tokio::select! {
            end = self.lead(epoch) => end,
            error = self.contender.ended() => TermEnd::Deposed(with_causes(&error)),
        };
        // Before anything is waited for: from this moment on nothing is done in this term.
        tracing::warn!(%epoch, reason = end.reason(), "the master leads no more");
        end
    }

    async fn lead(&self, epoch: Epoch) -> TermEnd {
        match self.begin(epoch).await {
            Ok(term) => term.ended().await,
            Err(error) => unreadable(&error),
        }
    }

    async fn begin(&self, epoch: Epoch) -> Result<Arc<Term>, StartError> {
        let options = self.options.clone();
        let open = move || {
            if options.registry_in_memory {
                term::embedded(&RegistryStore::InMemory)
            } else {
                term::shared(&options, epoch)
            }
        };
        let registry = term::open_registry(open).await?;
        let settings = self.settings.clone();
        let term = self.daemon.lead(settings, registry, Some(self.contender.lease())).await?;
        tracing::info!(address = %self.daemon.node.address(), %epoch, "the master leads");
        Ok(term)
    }
}

/// Why a registry that cannot be read ends a term. An ensemble that is out of reach may be there later, while
/// what is no registry stays none.
fn unreadable(error: &StartError) -> TermEnd {
    let reason = with_causes(error);
    let may_pass = matches!(
        error,
        StartError::Registry(RegistryError::Deposed { .. } | RegistryError::Ensemble { .. })
    );
    if may_pass { TermEnd::Deposed(reason) } else { TermEnd::Aborted(reason) }
}

fn refused(error: &ContenderError) -> TermEnd {
    let reason = with_causes(error);
    // The ensemble says no, and would say so again.
    let is_final = matches!(error, ContenderError::Refused { .. });
    if is_final { TermEnd::Aborted(reason) } else { TermEnd::Deposed(reason) }
}
