//! The master's state machine.
//!
//! A [`Master`] is driven from outside: [`Master::handle`] takes what happened, [`Master::expire`]
//! fires what is due, and both return what is to be done. It has no clock, no I/O and no
//! randomness of its own: the same seed and the same inputs give the same outputs, byte for byte.
//!
//! The calling contract, in one sentence: after every batch of `handle` calls, call `expire` with
//! the current time, and again when [`Master::next_expiry`] comes; perform all effects in order.

pub mod config;
pub mod effect;
pub mod event;
pub mod explain;
pub mod metrics;
pub mod registry;
pub mod table;
pub mod view;

mod accept;
mod agent;
mod authentication;
mod directory;
mod driver;
mod durable;
mod framework;
mod invariant;
mod maintenance;
mod notice;
mod offer;
mod operation;
mod operator;
mod policy;
mod reconciliation;
mod recovery;
mod snapshot;
mod task;
mod timer;
mod validation;

use std::collections::BTreeMap;
use std::sync::Arc;

use allocator::Allocator;
use protocol::mesos::{AgentId, FrameworkId, MasterInfo, OfferId};
use protocol::messages::MasterToAgent;
use protocol::pid::Pid;
use protocol::time::Timestamp;
use protocol::uuid::UuidSource;

pub use allocator::{ConstraintLimits, SorterPolicy};

pub use crate::config::Config;
pub use crate::effect::{Effect, RegistryChange, Response};
pub use crate::event::{ConnectionId, Event, RequestId, WriteId};
pub use crate::metrics::{Counter, Metrics};
pub use crate::recovery::master_info;
pub use crate::view::Snapshot;

pub use crate::authentication::SESSION_ACTOR;

use crate::agent::{Agent, Agents};
use crate::authentication::Authentications;
use crate::durable::Writes;
use crate::framework::{Framework, Frameworks};
use crate::maintenance::Maintenance;
use crate::offer::Offers;
use crate::operation::OperationIndex;
use crate::operator::Subscribers;
use crate::policy::Policy;
use crate::snapshot::Views;
use crate::timer::{Timer, Timers};

/// A leading master.
#[derive(Debug)]
pub struct Master {
    config: Config,
    /// The time of the event in hand.
    now: Timestamp,
    /// What the event in hand has caused so far.
    effects: Vec<Effect>,
    info: Arc<MasterInfo>,
    elected_time: Timestamp,
    uuids: UuidSource,
    /// How many ids of each kind this master has given out.
    ids: IdCounts,
    authentications: Authentications,
    agents: Agents,
    frameworks: Frameworks,
    offers: Offers,
    operations: OperationIndex,
    allocator: Allocator,
    policy: Policy,
    /// When the last allocation ran.
    last_allocation: Timestamp,
    maintenance: Maintenance,
    timers: Timers,
    writes: Writes,
    subscribers: Subscribers,
    metrics: Metrics,
    views: Views,
}

#[derive(Debug, Default)]
struct IdCounts {
    frameworks: u64,
    agents: u64,
    offers: u64,
}

impl IdCounts {
    /// The id of an offer or inverse offer.
    fn next_offer(&mut self, master: &MasterInfo) -> OfferId {
        let value = format!("{}-O{}", master.id, self.offers);
        self.offers += 1;
        OfferId { value, ..Default::default() }
    }
}

impl Master {
    /// Takes what happened at `now`.
    pub fn handle(&mut self, now: Timestamp, event: Event) -> Vec<Effect> {
        self.begin(now);
        match event {
            Event::AgentMessage { from, message } => self.agent_message(from, *message),
            Event::SchedulerMessage { from, message } => self.driver_message(from, *message),
            Event::Authentication { from, actor, message } => {
                self.authentication_message(&from, &actor, &message);
            }
            Event::Exited { pid } => self.exited(&pid),
            Event::SchedulerSubscribe { request, connection, stream_id, call, principal } => {
                self.scheduler_subscribe(
                    request,
                    connection,
                    stream_id.as_deref(),
                    *call,
                    principal,
                );
            }
            Event::SchedulerCall { request, stream_id, call, principal } => {
                self.scheduler_call(request, stream_id.as_deref(), *call, principal.as_deref());
            }
            Event::ConnectionClosed { connection } => self.connection_closed(connection),
            Event::OperatorCall { request, call, principal } => {
                self.operator_call(request, *call, principal.as_deref());
            }
            Event::OperatorSubscribe { connection, principal: _ } => {
                self.operator_subscribe(connection);
            }
            Event::WhitelistChanged { hostnames } => self.allocator.set_whitelist(hostnames),
            Event::Persisted { write } => self.persisted(write),
        }
        self.finish()
    }

    /// Fires all that is due at `now`.
    pub fn expire(&mut self, now: Timestamp) -> Vec<Effect> {
        self.begin(now);
        while let Some(timer) = self.timers.pop(self.now) {
            self.fire(timer);
        }
        if self.allocation_due().is_some_and(|due| due <= self.now) {
            self.allocate();
        }
        self.finish()
    }

    /// When `expire` must be called next. May lie in the past: then at once.
    #[must_use]
    pub fn next_expiry(&self) -> Option<Timestamp> {
        match (self.timers.next(), self.allocation_due()) {
            (Some(timer), Some(allocation)) => Some(timer.min(allocation)),
            (timer, allocation) => timer.or(allocation),
        }
    }

    /// Who this master is.
    #[must_use]
    pub fn info(&self) -> &Arc<MasterInfo> {
        &self.info
    }

    fn fire(&mut self, timer: Timer) {
        match timer {
            Timer::AgentPing(agent) => self.ping_due(&agent),
            Timer::AgentReregister(agent) => self.reregister_timeout(&agent),
            Timer::RecoveredAgents => self.recovered_agents_timeout(),
            Timer::AgentRemoval => {
                self.agents.removals.waiting = false;
                self.run_removals();
            }
            Timer::FrameworkFailover(framework) => self.failover_timeout(&framework),
            Timer::Authentication(client, attempt) => {
                self.authentication_timeout(&client, attempt);
            }
            Timer::OfferTimeout(offer) => self.rescind_offer(&offer),
            Timer::InverseOfferTimeout(offer) => self.inverse_offer_timeout(&offer),
            Timer::SchedulerHeartbeat(framework, connection) => {
                self.scheduler_heartbeat(framework, connection);
            }
            Timer::SubscriberHeartbeat(connection) => self.subscriber_heartbeat(connection),
            Timer::RegistryGc => self.registry_gc(),
            Timer::AllocatorRecovery => self.finish_allocator_recovery(),
        }
    }

    fn begin(&mut self, now: Timestamp) {
        // Time never runs backwards inside, whatever the clock outside does.
        self.now = self.now.max(now);
        debug_assert!(self.effects.is_empty(), "effects are handed out after every event");
    }

    fn finish(&mut self) -> Vec<Effect> {
        self.settle_agents();
        if cfg!(debug_assertions) {
            self.check_invariants();
        }
        self.views.stale = true;
        std::mem::take(&mut self.effects)
    }

    /// The framework, to be changed.
    fn framework_mut(&mut self, id: &FrameworkId) -> Option<&mut Framework> {
        let framework = self.frameworks.registered.get_mut(id)?;
        self.views.note_framework(framework);
        Some(framework)
    }

    /// The registered agent, to be changed.
    fn agent_mut(&mut self, id: &AgentId) -> Option<&mut Agent> {
        let agent = self.agents.registered.get_mut(id)?;
        self.views.note_agent(agent);
        Some(agent)
    }

    fn send_to_agent(&mut self, to: Pid, message: impl Into<MasterToAgent>) {
        self.effects.push(Effect::SendToAgent { to, message: Box::new(message.into()) });
    }

    /// What each registered agent is told, for messages that go to all.
    fn agent_pids(&self) -> Vec<Pid> {
        self.agents.registered.values().map(|agent| agent.pid.clone()).collect()
    }

    fn new_framework_id(&mut self) -> FrameworkId {
        let value = format!("{}-{:04}", self.info.id, self.ids.frameworks);
        self.ids.frameworks += 1;
        FrameworkId { value, ..Default::default() }
    }

    fn new_agent_id(&mut self) -> AgentId {
        let value = format!("{}-S{}", self.info.id, self.ids.agents);
        self.ids.agents += 1;
        AgentId { value, ..Default::default() }
    }
}

/// Groups items by key, keeping the order of keys.
fn group<K: Ord, V>(items: impl IntoIterator<Item = (K, V)>) -> BTreeMap<K, Vec<V>> {
    let mut groups: BTreeMap<K, Vec<V>> = BTreeMap::new();
    for (key, value) in items {
        groups.entry(key).or_default().push(value);
    }
    groups
}

/// Resources that were validated when they came in.
fn parsed(list: &[protocol::mesos::Resource]) -> resources::Resources {
    resources::Resources::from_wire(list).unwrap_or_default()
}
