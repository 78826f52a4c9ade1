//! What a master's process is, whether it leads or stands by.

use std::fs::File;
use std::io::{self, Read};
use std::path::PathBuf;
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex, PoisonError, RwLock};

use ::authentication::cram_md5::ChallengeKey;
use coordination::Lease;
use libprocess::Node;
use tokio::sync::watch;

use super::StartError;
use super::endpoint::MASTER_ACTOR;
use super::leadership::Leadership;
use super::term::{Beginning, OpenedRegistry, Term};
use super::whitelist;
use crate::event_loop::{Clock, Stopped};

/// The process, and its term while it leads.
#[derive(Debug)]
pub(super) struct Daemon {
    pub(super) node: Node,
    pub(super) clock: Clock,
    /// How many event streams were closed because their readers were too slow.
    pub(super) dropped_streams: Arc<AtomicU64>,
    settings: master::Config,
    seed: Option<u64>,
    whitelist: Option<PathBuf>,
    term: RwLock<Option<Arc<Term>>>,
    leadership: watch::Sender<Leadership>,
    /// Who leads when this master does not.
    others: Mutex<Leadership>,
}

/// What a daemon is made with.
pub(super) struct DaemonParts {
    pub(super) node: Node,
    pub(super) clock: Clock,
    /// All but the seed, the pid and the key of challenges.
    pub(super) settings: master::Config,
    pub(super) seed: Option<u64>,
    pub(super) whitelist: Option<PathBuf>,
    pub(super) leadership: watch::Sender<Leadership>,
}

impl Daemon {
    pub(super) fn new(parts: DaemonParts) -> Self {
        let DaemonParts { node, clock, settings, seed, whitelist, leadership } = parts;
        Self {
            node,
            clock,
            dropped_streams: Arc::default(),
            settings,
            seed,
            whitelist,
            term: RwLock::default(),
            leadership,
            others: Mutex::new(Leadership::Unknown),
        }
    }

    /// The term, while this master leads.
    pub(super) fn term(&self) -> Result<Arc<Term>, Stopped> {
        self.term.read().unwrap_or_else(PoisonError::into_inner).clone().ok_or(Stopped)
    }

    /// Settings for the state machine of one term: each has a master id of its own.
    pub(super) fn settings(&self) -> Result<master::Config, StartError> {
        let seed = match self.seed {
            Some(seed) => seed,
            None => crate::host::random_seed().map_err(StartError::Seed)?,
        };
        Ok(master::Config {
            seed,
            pid: self.node.pid(MASTER_ACTOR),
            challenge_key: challenge_key().map_err(StartError::Seed)?,
            ..self.settings.clone()
        })
    }

    /// This master is elected and reads the registry.
    pub(super) fn recovers(&self) {
        self.leadership.send_replace(Leadership::Recovering);
    }

    /// This master leads from now on, for as long as `lease` is valid.
    ///
    /// # Errors
    /// A thread cannot be made.
    pub(super) async fn lead(
        &self,
        settings: master::Config,
        registry: OpenedRegistry,
        lease: Option<Lease>,
    ) -> Result<Arc<Term>, StartError> {
        let term = Arc::new(Term::begin(Beginning {
            node: self.node.clone(),
            clock: self.clock,
            dropped_streams: Arc::clone(&self.dropped_streams),
            settings,
            registry,
            lease,
        })?);
        // Before anything is waited for, so that a term that has begun can be ended.
        *self.term.write().unwrap_or_else(PoisonError::into_inner) = Some(Arc::clone(&term));
        let inputs = term.inputs.clone();
        if let Some(path) = &self.whitelist {
            // Before requests are served, so that nobody gets an offer that the file does not allow.
            whitelist::start(path.clone(), inputs).await;
        }
        self.leadership.send_replace(Leadership::Leading);
        Ok(term)
    }

    /// This master does not lead, or not any more. Waits until its term decides nothing any more.
    pub(super) async fn stand_by(&self) {
        if let Some(term) = self.leave() {
            term.abandon().await;
            self.node.unlink_all();
        }
    }

    /// The daemon stops: what its term has in hand is done and written.
    pub(super) async fn finish(&self) {
        if let Some(term) = self.leave() {
            term.finish().await;
        }
    }

    fn leave(&self) -> Option<Arc<Term>> {
        let term = self.term.write().unwrap_or_else(PoisonError::into_inner).take();
        let others = self.others.lock().unwrap_or_else(PoisonError::into_inner).clone();
        self.leadership.send_replace(others);
        term
    }

    /// Who leads when this master does not.
    pub(super) fn others_changed(&self, others: Leadership) {
        self.others.lock().unwrap_or_else(PoisonError::into_inner).clone_from(&others);
        self.leadership.send_if_modified(|leadership| {
            let is_own = matches!(leadership, Leadership::Leading | Leadership::Recovering);
            let changes = !is_own && *leadership != others;
            if changes {
                *leadership = others;
            }
            changes
        });
    }
}

fn challenge_key() -> io::Result<ChallengeKey> {
    let mut bytes = [0; 16];
    File::open("/dev/urandom")?.read_exact(&mut bytes)?;
    Ok(ChallengeKey(bytes))
}
