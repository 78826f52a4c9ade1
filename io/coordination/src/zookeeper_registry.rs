//! The registry of several masters: one small node for each record in a ZooKeeper ensemble.
//!
//! ```text
//! /mesos/registry                      made in one step with all that follows but the records
//! /mesos/registry/format               "meseta-registry 1"
//! /mesos/registry/head                 {"epoch":…,"claim":…,"batch":…,"records":…}
//! /mesos/registry/records/00 … 3f      64 buckets
//! /mesos/registry/records/2a/agents%2F…-S7    the record `agents/…-S7`
//! ```
//!
//! Each step of writes is one multi. Its first part replaces the head if that has still the version this
//! master knows, so
//!
//! * whoever claims the registry ([`Epoch`]) makes every later write of its predecessor fail, also one
//!   that is still on its way: [`RegistryError::Deposed`];
//! * when the answer to a multi is lost, it is sent again. It cannot be applied twice: the second time
//!   the head has another version, and says whether it was this very step that changed it.
//!
//! The head also counts the records, so that a registry from which some were removed by hand is noticed.
//! 64 buckets keep a list of children below 1 MiB for half a million records.

use std::sync::mpsc as answers;
use std::thread;
use std::time::Duration;

use tokio::sync::mpsc;

use crate::contender::Epoch;
use crate::registry::{Change, Record, Registry, RegistryError};
use crate::url::ZooKeeperUrl;

mod layout;
mod link;
mod store;

use self::store::{Access, Store};

/// How long things may take. The defaults are those of Mesos' flags.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RegistryTimeouts {
    /// The session asked for (`--zk_session_timeout`). A session that is lost is replaced by a new one.
    pub session: Duration,
    /// Opening, and reading all records (`--registry_fetch_timeout`).
    pub fetch: Duration,
    /// One call of [`Registry::commit`] or [`Registry::commit_all`] (`--registry_store_timeout`).
    pub store: Duration,
}

impl Default for RegistryTimeouts {
    fn default() -> Self {
        Self {
            session: crate::SESSION_TIMEOUT_DEFAULT,
            fetch: Duration::from_mins(1),
            store: Duration::from_secs(20),
        }
    }
}

/// A registry in a ZooKeeper ensemble.
///
/// It runs a thread of its own, so the calls may come from anywhere; they block until the ensemble has
/// answered or the time is over. After a failed write the ensemble may hold it or not, so all further
/// writes are refused.
#[derive(Debug)]
pub struct ZooKeeperRegistry {
    location: String,
    /// Each caller waits for its answer, so there are never more commands than callers.
    commands: mpsc::UnboundedSender<Command>,
}

#[derive(Debug)]
enum Command {
    Load(answers::Sender<Result<Vec<Record>, RegistryError>>),
    Commit(Vec<Vec<Change>>, answers::Sender<Result<(), RegistryError>>),
}

impl ZooKeeperRegistry {
    /// Claims the registry below the path of `url` for the leader of this epoch, or makes it.
    ///
    /// # Errors
    /// [`RegistryError::Deposed`] if a later leader has claimed it. What is there is no registry, or the
    /// ensemble cannot be reached.
    pub fn open(
        url: &ZooKeeperUrl,
        epoch: Epoch,
        timeouts: RegistryTimeouts,
    ) -> Result<Self, RegistryError> {
        Self::start(url, Access::Leader(epoch), timeouts)
    }

    /// Claims the registry without an election, from whoever leads: that master's next write fails, and
    /// the leader that is elected next can claim it again. For tools, while no master runs.
    ///
    /// # Errors
    /// As [`ZooKeeperRegistry::open`].
    pub fn take_over(
        url: &ZooKeeperUrl,
        timeouts: RegistryTimeouts,
    ) -> Result<Self, RegistryError> {
        Self::start(url, Access::TakeOver, timeouts)
    }

    /// Opens the registry for reading, beside a master that goes on writing. [`Registry::load`] gives
    /// the records of one moment.
    ///
    /// # Errors
    /// There is no registry, or the ensemble cannot be reached.
    pub fn open_read_only(
        url: &ZooKeeperUrl,
        timeouts: RegistryTimeouts,
    ) -> Result<Self, RegistryError> {
        Self::start(url, Access::ReadOnly, timeouts)
    }

    /// The ensemble and the path of the registry.
    #[must_use]
    pub fn location(&self) -> &str {
        &self.location
    }

    fn start(
        url: &ZooKeeperUrl,
        access: Access,
        timeouts: RegistryTimeouts,
    ) -> Result<Self, RegistryError> {
        let (commands, receiver) = mpsc::unbounded_channel();
        let (opened, is_opened) = answers::channel();
        let url = url.clone();
        let location = layout::location(&url);
        let no_thread = |error: std::io::Error| RegistryError::Ensemble {
            operation: "start a thread for",
            location: location.clone(),
            source: crate::EnsembleError::new(error.to_string()),
        };
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(no_thread)?;
        thread::Builder::new()
            .name("zookeeper".to_owned())
            .spawn(move || {
                runtime.block_on(async {
                    let store = match Store::open(&url, access, timeouts).await {
                        Ok(store) => store,
                        Err(error) => {
                            let _ = opened.send(Err(error));
                            return;
                        }
                    };
                    let _ = opened.send(Ok(()));
                    serve(store, receiver).await;
                });
            })
            .map_err(no_thread)?;
        wait(&is_opened, &location)?;
        Ok(Self { location, commands })
    }

    fn ask<T>(
        &self,
        command: impl FnOnce(answers::Sender<Result<T, RegistryError>>) -> Command,
    ) -> Result<T, RegistryError> {
        let (sender, answer) = answers::channel();
        // Without the thread there is no answer either.
        let _ = self.commands.send(command(sender));
        wait(&answer, &self.location)
    }
}

fn wait<T>(
    answer: &answers::Receiver<Result<T, RegistryError>>,
    location: &str,
) -> Result<T, RegistryError> {
    answer.recv().unwrap_or_else(|_| {
        Err(RegistryError::Ensemble {
            operation: "use",
            location: location.to_owned(),
            source: crate::EnsembleError::new("the thread of the registry has ended"),
        })
    })
}

async fn serve(mut store: Store, mut commands: mpsc::UnboundedReceiver<Command>) {
    while let Some(command) = commands.recv().await {
        // Who asked may have gone.
        match command {
            Command::Load(answer) => {
                let _ = answer.send(store.load().await);
            }
            Command::Commit(writes, answer) => {
                let _ = answer.send(store.commit(&writes).await);
            }
        }
    }
    store.close().await;
}

impl Registry for ZooKeeperRegistry {
    fn load(&self) -> Result<Vec<Record>, RegistryError> {
        self.ask(Command::Load)
    }

    fn commit(&self, changes: &[Change]) -> Result<(), RegistryError> {
        self.commit_all(&[changes.to_vec()])
    }

    fn commit_all(&self, writes: &[Vec<Change>]) -> Result<(), RegistryError> {
        self.ask(|answer| Command::Commit(writes.to_vec(), answer))
    }
}

#[cfg(test)]
mod tests;
