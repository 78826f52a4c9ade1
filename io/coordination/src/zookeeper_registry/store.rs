//! Claims, reads and writes a registry.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Instant;

use super::RegistryTimeouts;
use super::layout::{self, CHILDREN, Head, Layout};
use super::link::{Failure, Link};
use crate::contender::Epoch;
use crate::ensemble_error::EnsembleError;
use crate::registry::{Change, Record, RegistryError};
use crate::url::ZooKeeperUrl;
use crate::zookeeper::{Code, Operation, Options, RequestError, Stat};

/// How large a step of several writes becomes. A server takes 1 MiB.
const STEP_BYTES_MAX: usize = 512 * 1024;

/// How large one write may be: what a server takes, less room for the head.
const WRITE_BYTES_MAX: usize = 1_000_000;

/// What a registry is opened for.
#[derive(Clone, Copy, Debug)]
pub(super) enum Access {
    Leader(Epoch),
    TakeOver,
    ReadOnly,
}

#[derive(Debug)]
pub(super) struct Store {
    link: Link,
    layout: Layout,
    location: String,
    timeouts: RegistryTimeouts,
    state: State,
}

#[derive(Debug)]
enum State {
    Claimed(Claim),
    ReadOnly,
    /// A write has failed, and it is not known what the ensemble holds.
    Unknown,
}

/// What this master knows of the registry that nobody else may change.
#[derive(Debug)]
struct Claim {
    head: Head,
    /// Of the node `head`.
    version: i32,
    keys: BTreeSet<String>,
}

impl Store {
    pub(super) async fn open(
        url: &ZooKeeperUrl,
        access: Access,
        timeouts: RegistryTimeouts,
    ) -> Result<Self, RegistryError> {
        let mut store = Self {
            link: Link::new(Options::new(url, timeouts.session)),
            layout: Layout::new(url),
            location: layout::location(url),
            timeouts,
            state: State::ReadOnly,
        };
        let deadline = Instant::now() + timeouts.fetch;
        match access {
            Access::ReadOnly => {
                store.read_head(deadline).await?;
            }
            Access::Leader(epoch) => store.claim(deadline, Some(epoch)).await?,
            Access::TakeOver => store.claim(deadline, None).await?,
        }
        Ok(store)
    }

    pub(super) async fn close(self) {
        self.link.close().await;
    }

    fn foreign(&self, reason: impl Into<String>) -> RegistryError {
        RegistryError::Foreign { location: self.location.clone(), reason: reason.into() }
    }

    fn deposed(&self) -> RegistryError {
        RegistryError::Deposed { location: self.location.clone() }
    }

    fn failed(&self, operation: &'static str, failure: Failure) -> RegistryError {
        let source = match failure {
            Failure::TooLate(error) => error,
            Failure::Request(RequestError::Refused(Code::NoNode)) => {
                return self.foreign("a node of it is missing");
            }
            Failure::Request(error) => EnsembleError::from(error),
        };
        RegistryError::Ensemble { operation, location: self.location.clone(), source }
    }

    /// Makes the registry this epoch's, or, if there is none, that of this very moment.
    async fn claim(
        &mut self,
        deadline: Instant,
        epoch: Option<Epoch>,
    ) -> Result<(), RegistryError> {
        let layout = self.layout.clone();
        let session = async |client: &crate::zookeeper::Client| {
            client.create_path(&layout.base, layout.acl()).await?;
            let (session, _) = client.connected().await.map_err(RequestError::SessionOver)?;
            Ok(session)
        };
        let claim = self.link.persistently(deadline, session).await;
        let claim = claim.map_err(|failure| self.failed("claim", failure))?;
        self.make_if_missing(deadline).await?;
        let mut epoch = epoch;
        let (head, version) = loop {
            let (head, stat) = self.read_head(deadline).await?;
            let Some(Epoch(number)) = epoch else {
                // Changes are numbered as epochs are, so the number of a change that is made now is
                // higher than the epoch of any leader before, and lower than that of any later one.
                if let Some(stat) = self.replace_head(deadline, &head, stat.version).await? {
                    epoch = Some(Epoch(stat.modified));
                }
                continue;
            };
            let own = Head { epoch: number, claim, batch: 0, records: head.records };
            if head == own {
                break (head, stat.version);
            }
            if head.epoch > number {
                return Err(self.deposed());
            }
            // If somebody was quicker, or the answer was lost, the next look at the head tells.
            self.replace_head(deadline, &own, stat.version).await?;
        };
        let keys = self.list(deadline, &head).await?;
        self.state = State::Claimed(Claim { head, version, keys: keys.into_iter().collect() });
        Ok(())
    }

    async fn make_if_missing(&mut self, deadline: Instant) -> Result<(), RegistryError> {
        let layout = &self.layout;
        let made = self.link.persistently(deadline, async |client| {
            client.sync(&layout.base).await?;
            if client.exists(&layout.root).await?.is_some() {
                return Ok(());
            }
            match client.multi(&layout.creation()).await {
                // Somebody was quicker, or this client was, before its connection broke.
                Err(RequestError::Refused(Code::NodeExists)) => Ok(()),
                other => other,
            }
        });
        made.await.map_err(|failure| self.failed("make", failure))
    }

    /// Checks the frame of the registry and reads the head.
    async fn read_head(&mut self, deadline: Instant) -> Result<(Head, Stat), RegistryError> {
        let layout = &self.layout;
        let read = self.link.persistently(deadline, async |client| {
            client.sync(&layout.base).await?;
            let children = match client.children(&layout.root).await {
                Err(RequestError::Refused(Code::NoNode)) => return Ok(None),
                other => other?,
            };
            let missing = CHILDREN.iter().find(|name| !children.iter().any(|it| it == **name));
            if let Some(name) = missing {
                return Ok(Some(Err(format!("its node '{name}' is missing"))));
            }
            let (format, _) = client.data(&layout.format).await?;
            let (head, stat) = client.data(&layout.head).await?;
            Ok(Some(Ok((format, head, stat))))
        });
        match read.await {
            Ok(None) => Err(self.foreign("there is none")),
            Ok(Some(Err(reason))) => Err(self.foreign(reason)),
            Ok(Some(Ok((format, head, stat)))) => {
                layout::check_format(&format).map_err(|reason| self.foreign(reason))?;
                let head = Head::decode(&head).map_err(|reason| self.foreign(reason))?;
                Ok((head, stat))
            }
            Err(failure) => Err(self.failed("read", failure)),
        }
    }

    /// Replaces the head of this version; none if it has another.
    async fn replace_head(
        &mut self,
        deadline: Instant,
        head: &Head,
        version: i32,
    ) -> Result<Option<Stat>, RegistryError> {
        let path = &self.layout.head;
        let replaced = self.link.persistently(deadline, async |client| {
            client.set(path, head.encode().as_bytes(), Some(version)).await
        });
        match replaced.await {
            Ok(stat) => Ok(Some(stat)),
            Err(Failure::Request(RequestError::Refused(Code::BadVersion))) => Ok(None),
            Err(failure) => Err(self.failed("claim", failure)),
        }
    }

    /// All keys, in order. There must be as many as the head says.
    async fn list(&mut self, deadline: Instant, head: &Head) -> Result<Vec<String>, RegistryError> {
        let layout = &self.layout;
        let listed = self
            .link
            .persistently(deadline, async |client| client.children_of_all(layout.buckets()).await);
        let children = listed.await.map_err(|failure| self.failed("read", failure))?;
        let keys = Layout::keys(&children).map_err(|reason| self.foreign(reason))?;
        if count(keys.len()) != head.records {
            let reason = format!("it has {} records, {} were written", keys.len(), head.records);
            return Err(self.foreign(reason));
        }
        Ok(keys)
    }

    pub(super) async fn load(&mut self) -> Result<Vec<Record>, RegistryError> {
        let deadline = Instant::now() + self.timeouts.fetch;
        match &self.state {
            State::Claimed(claim) => {
                let keys: Vec<String> = claim.keys.iter().cloned().collect();
                let values = self.read_values(deadline, &keys).await;
                let values = values.map_err(|failure| self.failed("read", failure))?;
                Ok(keys.into_iter().zip(values).collect())
            }
            State::ReadOnly => self.load_of_one_moment(deadline).await,
            State::Unknown => Err(self.unknown("read")),
        }
    }

    async fn read_values(
        &mut self,
        deadline: Instant,
        keys: &[String],
    ) -> Result<Vec<Vec<u8>>, Failure> {
        let layout = &self.layout;
        let read = self.link.persistently(deadline, async |client| {
            client.data_of_all(keys.iter().map(|key| layout.record(key))).await
        });
        read.await
    }

    /// Reads until nobody has written in the meantime.
    async fn load_of_one_moment(
        &mut self,
        deadline: Instant,
    ) -> Result<Vec<Record>, RegistryError> {
        loop {
            let (head, before) = self.read_head(deadline).await?;
            let listed = self.list(deadline, &head).await;
            let read = match listed {
                Ok(keys) => match self.read_values(deadline, &keys).await {
                    Ok(values) => Ok(keys.into_iter().zip(values).collect()),
                    Err(failure) => Err(self.failed("read", failure)),
                },
                Err(error) => Err(error),
            };
            let (_, after) = self.read_head(deadline).await?;
            if before.version == after.version {
                return read;
            }
        }
    }

    pub(super) async fn commit(&mut self, writes: &[Vec<Change>]) -> Result<(), RegistryError> {
        let steps = self.steps(writes)?;
        let deadline = Instant::now() + self.timeouts.store;
        for step in steps {
            match std::mem::replace(&mut self.state, State::Unknown) {
                State::Claimed(claim) => {
                    self.state = State::Claimed(self.write(deadline, claim, step).await?);
                }
                State::ReadOnly => {
                    self.state = State::ReadOnly;
                    return Err(RegistryError::ReadOnly { location: self.location.clone() });
                }
                State::Unknown => return Err(self.unknown("write")),
            }
        }
        Ok(())
    }

    fn unknown(&self, operation: &'static str) -> RegistryError {
        let source = EnsembleError::new("an earlier write has failed");
        RegistryError::Ensemble { operation, location: self.location.clone(), source }
    }

    /// Puts as many whole writes into each step as fit. A later change of a record replaces earlier ones
    /// of the same step.
    fn steps<'a>(&self, writes: &'a [Vec<Change>]) -> Result<Vec<Step<'a>>, RegistryError> {
        let mut steps: Vec<Step<'a>> = Vec::new();
        let mut step_bytes = 0;
        for write in writes.iter().filter(|write| !write.is_empty()) {
            let bytes = write.iter().map(|change| self.encoded_bytes(change)).sum();
            if bytes > WRITE_BYTES_MAX {
                return Err(RegistryError::TooLarge { bytes, bytes_max: WRITE_BYTES_MAX });
            }
            let changes = write.iter().map(|it| (it.key.as_str(), it.value.as_deref()));
            match steps.last_mut() {
                Some(step) if step_bytes + bytes <= STEP_BYTES_MAX => {
                    step.extend(changes);
                    step_bytes += bytes;
                }
                Some(_) | None => {
                    steps.push(changes.collect());
                    step_bytes = bytes;
                }
            }
        }
        Ok(steps)
    }

    /// What a change takes in a multi at most.
    fn encoded_bytes(&self, change: &Change) -> usize {
        let value = change.value.clone().unwrap_or_default();
        self.layout.creation_of(&change.key, value).encoded_bytes()
    }

    /// Makes one step durable.
    async fn write(
        &mut self,
        deadline: Instant,
        mut claim: Claim,
        step: Step<'_>,
    ) -> Result<Claim, RegistryError> {
        let mut operations = Vec::with_capacity(step.len() + 1);
        for (key, value) in step {
            match (value, claim.keys.contains(key)) {
                (Some(value), true) => operations.push(Operation::Set {
                    path: self.layout.record(key),
                    data: value.to_vec(),
                    version: None,
                }),
                (Some(value), false) => {
                    operations.push(self.layout.creation_of(key, value.to_vec()));
                    claim.keys.insert(key.to_owned());
                }
                (None, true) => {
                    operations.push(Operation::Delete { path: self.layout.record(key) });
                    claim.keys.remove(key);
                }
                (None, false) => {}
            }
        }
        let head =
            Head { batch: claim.head.batch + 1, records: count(claim.keys.len()), ..claim.head };
        let set_head = Operation::Set {
            path: self.layout.head.clone(),
            data: head.encode().into_bytes(),
            version: Some(claim.version),
        };
        // First, so that another version is what a deposed master, and a repeated step, is told of.
        operations.insert(0, set_head);
        let written =
            self.link.persistently(deadline, async |client| client.multi(&operations).await).await;
        match written {
            Ok(()) => {
                let version = claim.version.wrapping_add(1);
                Ok(Claim { head, version, keys: claim.keys })
            }
            Err(Failure::Request(RequestError::Refused(Code::BadVersion))) => {
                // An answer may have been lost: then the head is what this step has made of it.
                let (found, stat) = self.read_head(deadline).await?;
                if found == head {
                    return Ok(Claim { head, version: stat.version, keys: claim.keys });
                }
                Err(self.deposed())
            }
            Err(Failure::Request(RequestError::Refused(Code::NodeExists))) => {
                Err(self.foreign("somebody else has made a record"))
            }
            Err(failure) => Err(self.failed("write", failure)),
        }
    }
}

/// The changes of a step, at most one for each record.
type Step<'a> = BTreeMap<&'a str, Option<&'a [u8]>>;

fn count(length: usize) -> u64 {
    u64::try_from(length).unwrap_or(u64::MAX)
}
