//! The simulated frameworks: their subscriptions, their calls and what they are told.

use std::time::Duration;

use protocol::mesos::{self, framework_info};
use protocol::scheduler::{self, call, event};
use tokio::sync::mpsc;

use super::{Engine, Input};
use crate::http::calls::{Calls, CallsEvent};
use crate::http::stream::{EventStream, StreamError};
use crate::http::{Encoding, Server, append_post};
use crate::ledger::Heard;
use crate::options::Settings;
use crate::timers::{Moment, Timer};

use super::messages;

const API: &str = "/api/v1/scheduler";

/// The wait before a broken subscription is tried again.
const RESUBSCRIBE_WAIT: Duration = Duration::from_millis(100);

/// Frameworks come back after a restart of the master, however long it takes.
const FAILOVER_SECONDS: f64 = 7.0 * 24.0 * 3600.0;

/// What a framework's connections tell.
#[derive(Debug)]
pub(crate) enum FrameworkInput {
    /// The subscription's stream is open.
    Opened {
        stream_id: Option<String>,
    },
    Events(Vec<scheduler::Event>),
    /// The subscription was refused, for ever.
    Refused(String),
    /// The subscription's stream broke, or could not be opened.
    Closed,
    Calls(CallsEvent),
}

/// How far a framework's subscription is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Subscription {
    /// Not wanted, or waiting to be tried again.
    None,
    Asked,
    Subscribed,
}

/// What a framework is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Role {
    /// Runs as many tasks as it can.
    Load,
    /// Runs one task, whose delay is measured.
    Probe { since: Moment, has_launched: bool },
}

/// One framework.
#[derive(Debug)]
pub(crate) struct Framework {
    pub(crate) id: Option<mesos::FrameworkId>,
    pub(crate) subscription: Subscription,
    pub(crate) role: Role,
    number: u32,
    generation: u32,
    calls: Option<Calls>,
    /// Ends the task that reads the stream when it is dropped.
    reading: Option<tokio::task::JoinHandle<()>>,
}

impl Framework {
    pub(super) fn new(number: u32, role: Role) -> Self {
        Self {
            id: None,
            subscription: Subscription::None,
            role,
            number,
            generation: 0,
            calls: None,
            reading: None,
        }
    }

    /// What it says of itself.
    pub(super) fn info(&self, settings: &Settings) -> mesos::FrameworkInfo {
        use framework_info::capability::Type;
        let common = &settings.common;
        let kind = match self.role {
            Role::Load => "swarm",
            Role::Probe { .. } => "swarm-probe",
        };
        let capabilities = [Type::MultiRole, Type::PartitionAware, Type::ReservationRefinement];
        mesos::FrameworkInfo {
            user: common.user.clone(),
            name: format!("{kind}-{}", self.number),
            id: self.id.clone(),
            failover_timeout: Some(FAILOVER_SECONDS),
            checkpoint: Some(true),
            roles: vec![self.resource_role(settings)],
            principal: common.principal.clone(),
            capabilities: capabilities
                .into_iter()
                .map(|kind| framework_info::Capability { r#type: Some(kind), ..Default::default() })
                .collect(),
            ..Default::default()
        }
    }

    /// The role that its offers are made to.
    pub(super) fn resource_role(&self, settings: &Settings) -> String {
        match settings.common.roles {
            0 => "*".to_owned(),
            roles => format!("swarm-{}", self.number % roles),
        }
    }

    fn close(&mut self) {
        self.generation += 1;
        self.subscription = Subscription::None;
        self.calls = None;
        if let Some(reading) = self.reading.take() {
            reading.abort();
        }
    }
}

impl Drop for Framework {
    fn drop(&mut self) {
        self.close();
    }
}

impl Engine {
    /// Adds the frameworks of the command line and lets them subscribe.
    pub(crate) fn subscribe_all(&mut self) {
        for number in 0..self.settings.common.frameworks {
            let framework = self.add_framework(Role::Load);
            debug_assert_eq!(framework, number);
            self.subscribe(framework);
        }
    }

    pub(super) fn add_framework(&mut self, role: Role) -> u32 {
        let number = u32::try_from(self.frameworks.len()).unwrap_or(u32::MAX);
        self.frameworks.push(Framework::new(number, role));
        number
    }

    /// How many frameworks are subscribed.
    pub(crate) fn subscribed(&self) -> usize {
        let subscribed = |it: &&Framework| it.subscription == Subscription::Subscribed;
        self.frameworks.iter().filter(subscribed).count()
    }

    /// Closes all connections of the frameworks, which then subscribe again.
    pub(crate) fn resubscribe_all(&mut self) {
        for number in 0..self.frameworks.len() {
            let number = u32::try_from(number).unwrap_or(u32::MAX);
            self.subscribe(number);
        }
    }

    pub(super) fn subscribe(&mut self, number: u32) {
        let Some(framework) = self.frameworks.get_mut(number as usize) else { return };
        if framework.subscription != Subscription::None {
            return;
        }
        framework.close();
        framework.subscription = Subscription::Asked;
        let call = scheduler::Call {
            framework_id: framework.id.clone(),
            r#type: Some(call::Type::Subscribe),
            subscribe: Some(Box::new(call::Subscribe {
                framework_info: framework.info(&self.settings),
                ..Default::default()
            })),
            ..Default::default()
        };
        let encoding = self.settings.common.encoding;
        let mut request = Vec::new();
        let head = self.server.post(API, encoding, None);
        append_post(&head, &encoding.encode(&call), &mut request);
        let generation = framework.generation;
        let (server, inputs) = (self.server.clone(), self.inputs_sender.clone());
        framework.reading = Some(tokio::spawn(async move {
            let listener = Listener { framework: number, generation, inputs };
            read_stream(&server, &request, encoding, &listener).await;
        }));
    }

    pub(super) fn framework_input(&mut self, now: Moment, input: Input) {
        let Input { framework: number, generation, input } = input;
        let Some(framework) = self.frameworks.get_mut(number as usize) else { return };
        if framework.generation != generation {
            return;
        }
        match input {
            FrameworkInput::Opened { stream_id } => {
                let encoding = self.settings.common.encoding;
                let head = self.server.post(API, encoding, stream_id.as_deref());
                let wrap = move |event| Input {
                    framework: number,
                    generation,
                    input: FrameworkInput::Calls(event),
                };
                let inputs = self.inputs_sender.clone();
                framework.calls = Some(Calls::open(self.server.clone(), head, inputs, wrap));
            }
            FrameworkInput::Events(events) => {
                for event in events {
                    self.event(now, number, event);
                }
            }
            FrameworkInput::Refused(reason) => {
                self.failure = Some(format!("framework {number}: {reason}"));
            }
            FrameworkInput::Closed => self.framework_disconnected(now, number),
            FrameworkInput::Calls(CallsEvent::Refused { status, text }) => {
                self.counters.refused_calls += 1;
                if !self.is_restart_expected {
                    let text =
                        format!("a call of framework {number} was answered {status}: {text}");
                    self.ledger.violations.add(text);
                }
            }
            FrameworkInput::Calls(CallsEvent::Closed { unanswered }) => {
                tracing::debug!(number, unanswered, "the connection of calls closed");
                self.framework_disconnected(now, number);
            }
        }
    }

    fn framework_disconnected(&mut self, now: Moment, number: u32) {
        let Some(framework) = self.frameworks.get_mut(number as usize) else { return };
        framework.close();
        self.ledger.disconnected(number);
        self.held_offers.retain(|(holder, _)| *holder != number);
        if !self.is_restart_expected {
            self.ledger.violations.add(format!("framework {number} was disconnected"));
        }
        self.timers.set(now + RESUBSCRIBE_WAIT, Timer::Resubscribe { framework: number });
    }

    fn event(&mut self, now: Moment, number: u32, event: scheduler::Event) {
        match event.r#type.unwrap_or_default() {
            event::Type::Subscribed => {
                let id = event.subscribed.map(|subscribed| subscribed.framework_id);
                self.framework_subscribed(now, number, id);
            }
            event::Type::Offers => {
                for offer in event.offers.into_iter().flat_map(|offers| offers.offers) {
                    self.offered(now, number, offer);
                }
                self.decline(number);
            }
            event::Type::Rescind => {
                if let Some(rescind) = event.rescind {
                    self.rescinded(&rescind.offer_id.value);
                }
            }
            event::Type::Update => {
                if let Some(update) = event.update {
                    self.told(now, number, &update.status);
                }
            }
            event::Type::Error => {
                let text = event.error.map(|error| error.message).unwrap_or_default();
                self.failure = Some(format!("framework {number}: {text}"));
            }
            event::Type::Failure
            | event::Type::Heartbeat
            | event::Type::Message
            | event::Type::InverseOffers
            | event::Type::RescindInverseOffer
            | event::Type::UpdateOperationStatus
            | event::Type::Unknown => {}
        }
    }

    fn framework_subscribed(&mut self, now: Moment, number: u32, id: Option<mesos::FrameworkId>) {
        let Some(framework) = self.frameworks.get_mut(number as usize) else { return };
        framework.subscription = Subscription::Subscribed;
        if framework.id.is_some() && framework.id != id {
            let text = format!("framework {number} came back as {id:?}");
            self.ledger.violations.add(text);
        }
        framework.id = id;
        tracing::debug!(number, at = ?now, "subscribed");
    }

    fn told(&mut self, now: Moment, number: u32, status: &mesos::TaskStatus) {
        self.counters.updates += 1;
        if self.reconciliation.is_some() && status.uuid.is_none() {
            self.reconciled(number, status);
            return;
        }
        if let Some(uuid) = &status.uuid
            && let Some(agent_id) = &status.agent_id
        {
            self.acknowledge(number, agent_id.clone(), status.task_id.clone(), uuid.clone());
        }
        let Some(task) = messages::task_number(&status.task_id) else {
            let id = &status.task_id.value;
            self.ledger.violations.add(format!("framework {number} is told of the unknown {id}"));
            return;
        };
        match self.ledger.heard(now, number, task, status.state) {
            Heard::Running(delay) => {
                self.counters.launches += 1;
                self.counters.launch_delay.record(delay);
                self.probe_runs(now, number);
            }
            Heard::Ended { finished: true } => {
                self.counters.finished += 1;
            }
            Heard::Ended { finished: false } => {
                tracing::debug!(task, state = ?status.state, message = ?status.message, "lost");
                self.counters.lost += 1;
            }
            Heard::Again => {}
        }
    }

    fn acknowledge(
        &mut self,
        number: u32,
        agent_id: mesos::AgentId,
        task_id: mesos::TaskId,
        uuid: Vec<u8>,
    ) {
        let acknowledge = call::Acknowledge { agent_id, task_id, uuid, ..Default::default() };
        self.call(
            number,
            scheduler::Call {
                r#type: Some(call::Type::Acknowledge),
                acknowledge: Some(acknowledge),
                ..Default::default()
            },
        );
    }

    /// Sends a call of a framework. While it is not connected, nobody hears it.
    pub(super) fn call(&mut self, number: u32, call: scheduler::Call) {
        let Some(framework) = self.frameworks.get(number as usize) else { return };
        let Some(calls) = &framework.calls else { return };
        let call = scheduler::Call { framework_id: framework.id.clone(), ..call };
        let body = self.settings.common.encoding.encode(&call);
        if !calls.post(&body) {
            let unanswered = calls.unanswered();
            self.ledger.violations.add(format!(
                "framework {number} has {unanswered} unanswered calls: the master does not read them"
            ));
        }
    }

    /// Closes all connections of the frameworks. Gives the ids that the master knows them by.
    pub(crate) fn close_all(&mut self) -> Vec<mesos::FrameworkId> {
        for framework in &mut self.frameworks {
            framework.close();
        }
        self.frameworks.iter().filter_map(|framework| framework.id.clone()).collect()
    }
}

/// Who wants to know what comes over one subscription.
#[derive(Debug)]
struct Listener {
    framework: u32,
    generation: u32,
    inputs: mpsc::Sender<Input>,
}

impl Listener {
    /// Says whether anybody listens.
    async fn tell(&self, input: FrameworkInput) -> bool {
        let input = Input { framework: self.framework, generation: self.generation, input };
        self.inputs.send(input).await.is_ok()
    }
}

/// Subscribes and hands on what comes, until the stream ends or nobody listens.
async fn read_stream(server: &Server, request: &[u8], encoding: Encoding, listener: &Listener) {
    let mut stream = match EventStream::open(server, request).await {
        Ok(stream) => stream,
        Err(error) => {
            tracing::debug!(%error, "not subscribed");
            let input = match error {
                // A master that is not elected or recovered yet says 503.
                StreamError::Connection(_) | StreamError::Refused { status: 503, .. } => {
                    FrameworkInput::Closed
                }
                StreamError::Refused { .. } => FrameworkInput::Refused(error.to_string()),
            };
            listener.tell(input).await;
            return;
        }
    };
    if !listener.tell(FrameworkInput::Opened { stream_id: stream.stream_id.take() }).await {
        return;
    }
    while let Ok(Some(records)) = stream.next().await {
        let mut events = Vec::with_capacity(records.len());
        for record in records {
            match encoding.decode::<scheduler::Event>(&record) {
                Ok(event) => events.push(event),
                Err(error) => {
                    let text = format!("an event cannot be read: {error}");
                    listener.tell(FrameworkInput::Refused(text)).await;
                    return;
                }
            }
        }
        if !listener.tell(FrameworkInput::Events(events)).await {
            return;
        }
    }
    listener.tell(FrameworkInput::Closed).await;
}
