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
use super::term::{self, Beginning, Term, TermEnd};
use super::{RegistryStore, StartError};
use crate::causes::with_causes;

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
        let end = tokio::select! {
            end = candidacy(&daemon, &options) => end,
            () = stopped(&mut stopping) => {
                daemon.stand_by().await;
                return;
            }
        };
        daemon.stand_by().await;
        match end {
            TermEnd::Deposed(reason) if options.step_down => {
                tracing::warn!(%reason, "the master has stepped down and will contend again");
            }
            TermEnd::Deposed(reason) | TermEnd::Aborted(reason) => {
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

/// Contends once, and leads if elected. Returns when it leads no more or never will.
async fn candidacy(daemon: &Arc<Daemon>, options: &ZooKeeperOptions) -> TermEnd {
    let settings = match daemon.settings() {
        Ok(settings) => settings,
        Err(error) => return TermEnd::Aborted(with_causes(&error)),
    };
    // Detectors of all kinds read this, so the names are the old ones.
    let info = master::master_info(&settings).to_json(Names::V0);
    let contender = Contender::start(&options.url, options.session_timeout, info.into_bytes());
    let end = match contender.elected().await {
        Ok(epoch) => lead(daemon, options, &contender, settings, epoch).await,
        Err(error) => refused(&error),
    };
    // Nothing of this term may act once the next master leads.
    daemon.stand_by().await;
    contender.withdraw().await;
    end
}

async fn lead(
    daemon: &Arc<Daemon>,
    options: &ZooKeeperOptions,
    contender: &Contender,
    settings: master::Config,
    epoch: Epoch,
) -> TermEnd {
    daemon.recovers();
    tracing::info!(%epoch, "elected: reading the registry");
    let end = tokio::select! {
        end = reign(daemon, options, contender, settings, epoch) => end,
        error = contender.ended() => TermEnd::Deposed(with_causes(&error)),
    };
    // Before anything is waited for: from this moment on nothing is done in this term.
    tracing::warn!(%epoch, reason = end.reason(), "the master leads no more");
    end
}

async fn reign(
    daemon: &Arc<Daemon>,
    options: &ZooKeeperOptions,
    contender: &Contender,
    settings: master::Config,
    epoch: Epoch,
) -> TermEnd {
    match begin(daemon, options, contender, settings, epoch).await {
        Ok(term) => term.ended().await,
        Err(error) => unreadable(&error),
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

async fn begin(
    daemon: &Arc<Daemon>,
    options: &ZooKeeperOptions,
    contender: &Contender,
    settings: master::Config,
    epoch: Epoch,
) -> Result<Arc<Term>, StartError> {
    let store = options.clone();
    let registry = term::open_registry(move || match store.registry_in_memory {
        true => term::embedded(&RegistryStore::InMemory),
        false => term::shared(&store, epoch),
    })
    .await?;
    let term = Term::begin(Beginning {
        node: daemon.node.clone(),
        clock: daemon.clock,
        dropped_streams: Arc::clone(&daemon.dropped_streams),
        settings,
        registry,
        lease: Some(contender.lease()),
    })?;
    let term = Arc::new(term);
    daemon.lead(Arc::clone(&term)).await;
    tracing::info!(address = %daemon.node.address(), %epoch, "the master leads");
    Ok(term)
}

fn refused(error: &ContenderError) -> TermEnd {
    let reason = with_causes(error);
    // The ensemble says no, and would say so again.
    let is_final = matches!(error, ContenderError::Refused { .. });
    if is_final { TermEnd::Aborted(reason) } else { TermEnd::Deposed(reason) }
}
