//! Schedulers: frameworks on the HTTP API, with a durable book of their tasks and of what they were told.

use std::collections::{BTreeMap, BTreeSet};

use master::{ConnectionId, Event, RequestId};
use protocol::mesos::framework_info::{Capability, capability};
use protocol::mesos::{
    self, AgentId, FrameworkId, FrameworkInfo, Offer, OfferId, TaskId, TaskState, value,
};
use protocol::scheduler;
use protocol::scheduler::offer_constraints::{RoleConstraints, role_constraints};
use protocol::scheduler::{attribute_constraint, call};

use crate::happening::{Happening, SchedulerEvent};
use crate::lane::{Lane, Passage};
use crate::ledger::Owner;
use crate::random::Random;
use crate::settings::Settings;
use crate::world::World;
use crate::world::master_host::Request;
use crate::world::operation::Doing;

mod connection;
mod decision;
mod update;

/// A scheduler's process and its book.
#[derive(Debug)]
pub(crate) struct Scheduler {
    /// Counts processes.
    pub(crate) life: u32,
    pub(crate) is_up: bool,
    pub(crate) info: FrameworkInfo,
    /// Counts frameworks this scheduler has been.
    pub(crate) identity: u32,
    /// Counts connections.
    attempt: u64,
    is_connecting: bool,
    pub(crate) stream_id: Option<String>,
    pub(crate) is_subscribed: bool,
    /// To each master.
    pub(crate) upward: Vec<Lane>,
    /// From each master.
    pub(crate) downward: Vec<Lane>,
    /// Whom it takes for the leader.
    leader: Option<usize>,
    /// Whom it has dialled last.
    pub(crate) dialled: usize,
    pub(crate) offers: BTreeMap<OfferId, Offer>,
    /// An offer that was used or taken back.
    stale: Option<Offer>,
    pub(crate) book: BTreeMap<TaskId, Entry>,
    is_asking: bool,
    next_task: u64,
    /// The only rack it takes offers of.
    pub(crate) rack: Option<String>,
    pub(crate) operations: BTreeMap<String, Doing>,
    pub(crate) next_operation: u64,
}

/// What a framework knows of one of its tasks.
#[derive(Debug)]
pub(crate) struct Entry {
    pub(crate) agent: AgentId,
    pub(crate) state: TaskState,
    /// Whether the master said so of its own accord.
    pub(crate) by_master: bool,
    /// Whether to ask.
    pub(crate) is_uncertain: bool,
    seen: BTreeSet<Vec<u8>>,
    highest: Option<usize>,
}

impl Entry {
    /// Whether nothing more is to come.
    pub(crate) fn is_over(&self) -> bool {
        self.state.is_terminal() && !self.by_master
    }
}

/// A subscription as the master's host knows it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Stream {
    pub(crate) scheduler: usize,
    pub(crate) life: u32,
    pub(crate) attempt: u64,
    /// Nothing more gets through, and the master does not know yet.
    pub(crate) is_broken: bool,
}

impl Scheduler {
    pub(crate) fn new(index: usize, settings: &Settings, random: &mut Random) -> Self {
        let policy = &settings.policy;
        let mut info = FrameworkInfo {
            user: "user".to_owned(),
            name: format!("framework-{index}"),
            failover_timeout: Some([5.0, 60.0, 600.0][random.index(3)]),
            checkpoint: Some(true),
            ..Default::default()
        };
        if random.chance(600) {
            let r#type = Some(capability::Type::PartitionAware);
            info.capabilities.push(Capability { r#type, ..Default::default() });
        }
        // Drawn apart, so that a policy more or less leaves the rest of a run as it is.
        let mut drawn = Random::new(random.clone().number());
        if policy.roles {
            take_roles(&mut info, &mut drawn);
        }
        let rack =
            (policy.constraints && drawn.chance(600)).then(|| format!("r{}", drawn.below(2)));
        Self {
            life: 0,
            is_up: false,
            rack,
            operations: BTreeMap::new(),
            next_operation: 0,
            info,
            identity: 0,
            attempt: 0,
            is_connecting: false,
            stream_id: None,
            is_subscribed: false,
            upward: vec![Lane::default(); settings.masters],
            downward: vec![Lane::default(); settings.masters],
            leader: None,
            dialled: 0,
            offers: BTreeMap::new(),
            stale: None,
            book: BTreeMap::new(),
            is_asking: false,
            next_task: 0,
        }
    }
}

/// Gives a framework roles, and the capabilities that it needs for them.
fn take_roles(info: &mut FrameworkInfo, random: &mut Random) {
    let choices: [&[&str]; 6] = [&["a"], &["b"], &["a/x"], &["a", "b"], &["c"], &["a", "a/x"]];
    info.roles = choices[random.index(choices.len())].iter().map(|it| (*it).to_owned()).collect();
    for r#type in [
        capability::Type::MultiRole,
        capability::Type::ReservationRefinement,
        capability::Type::SharedResources,
    ] {
        let capability = Capability { r#type: Some(r#type), ..Default::default() };
        info.capabilities.push(capability);
    }
}

/// What a framework says that wants agents of one rack only.
fn on_rack(rack: &str, roles: &[String]) -> scheduler::OfferConstraints {
    let selector = attribute_constraint::Selector {
        attribute_name: Some("rack".to_owned()),
        ..Default::default()
    };
    let equals = attribute_constraint::predicate::TextEquals {
        value: rack.to_owned(),
        ..Default::default()
    };
    let predicate =
        attribute_constraint::Predicate { text_equals: Some(equals), ..Default::default() };
    let constraint = scheduler::AttributeConstraint { selector, predicate, ..Default::default() };
    let group =
        role_constraints::Group { attribute_constraints: vec![constraint], ..Default::default() };
    let constraints = RoleConstraints { groups: vec![group], ..Default::default() };
    let role_constraints = roles.iter().map(|role| (role.clone(), constraints.clone())).collect();
    scheduler::OfferConstraints { role_constraints, ..Default::default() }
}

/// A scalar resource in thousandths.
pub(crate) fn scalar(name: &str, thousandths: u32) -> mesos::Resource {
    mesos::Resource {
        name: name.to_owned(),
        r#type: value::Type::Scalar,
        scalar: Some(value::Scalar {
            value: f64::from(thousandths) / 1000.0,
            ..Default::default()
        }),
        ..Default::default()
    }
}

impl World {
    pub(crate) fn dispatch_scheduling(&mut self, happening: Happening) {
        if let Happening::SchedulerCall { scheduler, master, passage, attempt, stream_id, call } =
            happening
        {
            self.scheduler_calls(scheduler, master, passage, attempt, stream_id, call);
            return;
        }
        if let Happening::StreamBroken { process, connection } = happening {
            let host = &mut self.masters[process.master];
            if host.life == process.life && host.streams.remove(&connection).is_some() {
                self.feed_master(process.master, Event::ConnectionClosed { connection });
            }
            return;
        }
        if let Happening::SchedulerStart { scheduler } = happening {
            self.start_scheduler(scheduler);
            return;
        }
        let Some((scheduler, life)) = addressee(&happening) else { return };
        let host = &self.schedulers[scheduler];
        if host.life == life && host.is_up {
            self.scheduler_experiences(scheduler, happening);
        }
    }

    #[expect(clippy::wildcard_enum_match_arm, reason = "the others were told apart before")]
    fn scheduler_experiences(&mut self, scheduler: usize, happening: Happening) {
        match happening {
            Happening::SchedulerDetects { .. } => self.scheduler_detects(scheduler),
            Happening::SchedulerDial { .. } => self.scheduler_dials(scheduler),
            Happening::SchedulerLost { attempt, .. }
                if self.schedulers[scheduler].attempt == attempt =>
            {
                self.scheduler_disconnected(scheduler);
            }
            Happening::AtScheduler { master, passage, attempt, event, .. } => {
                let host = &self.schedulers[scheduler];
                if host.downward[master].delivers(passage) && host.attempt == attempt {
                    self.at_scheduler(scheduler, event);
                }
            }
            Happening::SchedulerIdea { .. } => self.scheduler_idea(scheduler),
            Happening::SchedulerAnswer { offers, .. } => self.answer_offers(scheduler, &offers),
            Happening::SchedulerAcknowledge { status, .. } => {
                self.scheduler_acknowledges(scheduler, *status);
            }
            Happening::OperationAcknowledge { status, .. } => {
                self.operation_acknowledged(scheduler, *status);
            }
            Happening::InverseAnswer { offer, .. } => self.answer_inverse_offer(scheduler, offer),
            Happening::SchedulerReconcile { .. } => self.scheduler_asks(scheduler),
            _ => {}
        }
    }

    /// Sends a call, for the framework that the scheduler is.
    pub(crate) fn call(
        &mut self,
        scheduler: usize,
        kind: call::Type,
        fill: impl FnOnce(&mut scheduler::Call),
    ) {
        if !self.schedulers[scheduler].is_subscribed {
            return;
        }
        let mut call = scheduler::Call {
            framework_id: self.schedulers[scheduler].info.id.clone(),
            r#type: Some(kind),
            ..Default::default()
        };
        fill(&mut call);
        self.send_call(scheduler, call);
    }

    fn send_call(&mut self, scheduler: usize, call: scheduler::Call) {
        let delay = self.latency();
        let is_repeatable = !matches!(
            call.r#type,
            Some(call::Type::Accept | call::Type::Subscribe | call::Type::Teardown)
        );
        let is_doubled = is_repeatable && self.is_doubled();
        let host = &mut self.schedulers[scheduler];
        let master = host.dialled;
        let passage = host.upward[master].send(self.now, delay);
        let (attempt, stream_id) = (host.attempt, host.stream_id.clone());
        let happening = Happening::SchedulerCall {
            scheduler,
            master,
            passage,
            attempt,
            stream_id,
            call: Box::new(call),
        };
        if is_doubled {
            self.statistics.fault("call doubled");
            self.schedule.add(passage.at, happening.clone());
        }
        self.schedule.add(passage.at, happening);
    }

    fn scheduler_calls(
        &mut self,
        scheduler: usize,
        master: usize,
        passage: Passage,
        attempt: u64,
        stream_id: Option<String>,
        call: Box<scheduler::Call>,
    ) {
        let host = &self.schedulers[scheduler];
        let life = host.life;
        if !host.upward[master].delivers(passage) {
            self.statistics.fault("call lost");
            return;
        }
        if self.masters[master].core.is_none() {
            self.plan(0, 1_000, Happening::SchedulerLost { scheduler, life, attempt });
            return;
        }
        let request = RequestId(self.name());
        let was_subscribe = call.r#type == Some(call::Type::Subscribe);
        let tasks = call.accept.iter().flat_map(|accept| launched_tasks(accept).cloned()).collect();
        let is_teardown = call.r#type == Some(call::Type::Teardown);
        let teardown = call.framework_id.clone().filter(|_| is_teardown);
        self.registry.torn_down.extend(teardown.clone());
        let waiting = Request { scheduler, life, attempt, was_subscribe, tasks, teardown };
        self.masters[master].requests.insert(request, waiting);
        let event = if was_subscribe {
            let connection = ConnectionId(self.name());
            let principal = None;
            Event::SchedulerSubscribe { request, connection, stream_id, call, principal }
        } else {
            Event::SchedulerCall { request, stream_id, call, principal: None }
        };
        self.feed_master(master, event);
    }

    fn at_scheduler(&mut self, scheduler: usize, event: SchedulerEvent) {
        match event {
            SchedulerEvent::Accepted(stream_id) => {
                self.schedulers[scheduler].stream_id = Some(stream_id);
            }
            SchedulerEvent::Closed => self.scheduler_disconnected(scheduler),
            SchedulerEvent::Refused { status, text, tasks, was_subscribe } => {
                self.log.write(|| format!("    scheduler {scheduler} refused: {status} {text}"));
                for task in tasks {
                    if let Some(entry) = self.schedulers[scheduler].book.get_mut(&task) {
                        entry.is_uncertain = true;
                    }
                }
                if was_subscribe {
                    self.scheduler_disconnected(scheduler);
                } else {
                    self.ask_soon(scheduler);
                }
            }
            SchedulerEvent::Event(event) => self.scheduler_event(scheduler, &event),
        }
    }

    fn scheduler_event(&mut self, scheduler: usize, event: &scheduler::Event) {
        if let Some(subscribed) = &event.subscribed {
            self.scheduler_subscribed(scheduler, &subscribed.framework_id);
        } else if let Some(offers) = &event.offers {
            self.offers_arrive(scheduler, &offers.offers);
        } else if let Some(rescind) = &event.rescind {
            let host = &mut self.schedulers[scheduler];
            if let Some(offer) = host.offers.remove(&rescind.offer_id) {
                host.stale = Some(offer);
            }
        } else if let Some(update) = &event.update_operation_status {
            self.operation_update_arrives(scheduler, &update.status);
        } else if let Some(offers) = &event.inverse_offers {
            let life = self.schedulers[scheduler].life;
            for offer in &offers.inverse_offers {
                let offer = offer.id.clone();
                self.plan(0, 3_000, Happening::InverseAnswer { scheduler, life, offer });
            }
        } else if let Some(update) = &event.update {
            self.update_arrives(scheduler, &update.status);
        } else if let Some(error) = &event.error {
            if error.message == "Framework has been removed" {
                self.become_another_framework(scheduler);
            }
            self.scheduler_disconnected(scheduler);
        }
    }

    fn scheduler_subscribed(&mut self, scheduler: usize, id: &FrameworkId) {
        let host = &mut self.schedulers[scheduler];
        host.is_subscribed = true;
        if host.info.id.as_ref().is_some_and(|own| own != id) {
            self.violate(format!("framework {scheduler} is given another id: {}", id.value));
            return;
        }
        host.info.id = Some(id.clone());
        host.offers.clear();
        for entry in host.book.values_mut().filter(|entry| !entry.is_over()) {
            entry.is_uncertain = true;
        }
        self.ask_soon(scheduler);
    }

    /// The old framework is no more.
    pub(crate) fn become_another_framework(&mut self, scheduler: usize) {
        let host = &mut self.schedulers[scheduler];
        host.info.id = None;
        host.identity += 1;
        host.book.clear();
        host.operations.clear();
        host.offers.clear();
        host.stale = None;
    }

    pub(crate) fn owner(&self, scheduler: usize) -> Owner {
        Owner { scheduler, identity: self.schedulers[scheduler].identity }
    }
}

/// The tasks a call is to launch.
fn launched_tasks(accept: &call::Accept) -> impl Iterator<Item = &TaskId> {
    accept
        .operations
        .iter()
        .filter_map(|operation| operation.launch.as_ref())
        .flat_map(|launch| launch.task_infos.iter().map(|task| &task.task_id))
}

#[expect(
    clippy::wildcard_enum_match_arm,
    reason = "only these are addressed to a scheduler's life"
)]
fn addressee(happening: &Happening) -> Option<(usize, u32)> {
    match happening {
        Happening::SchedulerDetects { scheduler, life }
        | Happening::SchedulerDial { scheduler, life }
        | Happening::SchedulerLost { scheduler, life, .. }
        | Happening::AtScheduler { scheduler, life, .. }
        | Happening::SchedulerIdea { scheduler, life }
        | Happening::SchedulerAnswer { scheduler, life, .. }
        | Happening::SchedulerAcknowledge { scheduler, life, .. }
        | Happening::OperationAcknowledge { scheduler, life, .. }
        | Happening::InverseAnswer { scheduler, life, .. }
        | Happening::SchedulerReconcile { scheduler, life } => Some((*scheduler, *life)),
        _ => None,
    }
}
