//! One agent with thousands of reservations that differ by label: how long twenty times reserving and
//! unreserving takes through the master, by an operator and by a framework that is offered the whole
//! agent again after each.

#![expect(clippy::print_stdout, reason = "a bench reports on standard output")]
#![expect(clippy::disallowed_methods, reason = "a bench reads the clock")]

use std::time::{Duration, Instant};

use master::{Config, ConnectionId, Effect, Event, Master, RequestId};
use protocol::internal::{PongSlaveMessage, RegisterSlaveMessage, UpdateOperationStatusMessage};
use protocol::master as api;
use protocol::mesos::offer::Operation;
use protocol::mesos::offer::operation::{Reserve, Type, Unreserve};
use protocol::mesos::{
    AgentId, AgentInfo, FrameworkId, FrameworkInfo, Label, Labels, OperationState, OperationStatus,
    Resource, Uuid, agent_info, framework_info,
};
use protocol::messages::{AgentToMaster, MasterToAgent};
use protocol::pid::Pid;
use protocol::scheduler::call::{Accept, Subscribe};
use protocol::time::Timestamp;
use protocol::{mesos, scheduler};

const RESERVATIONS: u32 = 6_400;
const ROUNDS: u32 = 20;

/// What all rounds may take together, on the machine of SPECIFICATION.md.
const LIMIT: Duration = Duration::from_secs(1);

fn scalar(value: f64) -> Resource {
    Resource {
        name: "cpus".to_owned(),
        r#type: mesos::value::Type::Scalar,
        scalar: Some(mesos::value::Scalar { value, ..Default::default() }),
        ..Default::default()
    }
}

fn labelled(number: u32) -> Resource {
    let label = Label {
        key: "reservation".to_owned(),
        value: Some(format!("value-{number}")),
        ..Default::default()
    };
    let reservation = mesos::resource::ReservationInfo {
        r#type: Some(mesos::resource::reservation_info::Type::Dynamic),
        role: Some("dev".to_owned()),
        labels: Some(Labels { labels: vec![label], ..Default::default() }),
        ..Default::default()
    };
    Resource { reservations: vec![reservation], ..scalar(1.0) }
}

struct Cluster {
    master: Master,
    now: Timestamp,
    next: u64,
    pid: Pid,
    agent: AgentId,
    framework: FrameworkId,
    stream_id: String,
    offers: Vec<mesos::OfferId>,
    accepted: u32,
}

impl Cluster {
    fn new() -> Self {
        let pid = "master@127.0.0.1:5050".parse().expect("a pid");
        let now = Timestamp::from_secs(1_700_000_000);
        let config = Config::new(7, pid, "localhost".to_owned());
        let (master, effects) = Master::new(now, config, Vec::new());
        let mut cluster = Self {
            master,
            now,
            next: 0,
            pid: "slave(1)@127.0.0.1:5051".parse().expect("a pid"),
            agent: AgentId::default(),
            framework: FrameworkId::default(),
            stream_id: String::new(),
            offers: Vec::new(),
            accepted: 0,
        };
        cluster.settle(effects);
        cluster.register();
        cluster
    }

    fn register(&mut self) {
        use agent_info::capability::Type;
        let capabilities = [
            Type::MultiRole,
            Type::HierarchicalRole,
            Type::ReservationRefinement,
            Type::ResourceProvider,
            Type::AgentOperationFeedback,
        ];
        let message = RegisterSlaveMessage {
            slave: AgentInfo {
                hostname: "node".to_owned(),
                checkpoint: Some(true),
                resources: vec![scalar(f64::from(RESERVATIONS) + 100.0)],
                ..Default::default()
            },
            checkpointed_resources: (0..RESERVATIONS).map(labelled).collect(),
            agent_capabilities: capabilities
                .map(|it| agent_info::Capability { r#type: Some(it), ..Default::default() })
                .into(),
            version: Some("1.12.0".to_owned()),
            resource_version_uuid: Some(Uuid { value: vec![1; 16], ..Default::default() }),
            ..Default::default()
        };
        self.agent_message(message.into());
    }

    fn subscribe(&mut self) {
        use framework_info::capability::Type;
        let capability = |it| framework_info::Capability { r#type: Some(it), ..Default::default() };
        let info = FrameworkInfo {
            user: "nobody".to_owned(),
            name: "framework".to_owned(),
            roles: vec!["dev".to_owned()],
            capabilities: [Type::MultiRole, Type::ReservationRefinement].map(capability).into(),
            ..Default::default()
        };
        let subscribe = Subscribe { framework_info: info, ..Default::default() };
        let call = scheduler::Call {
            r#type: Some(scheduler::call::Type::Subscribe),
            subscribe: Some(Box::new(subscribe)),
            ..Default::default()
        };
        let (request, connection) = (RequestId(self.next()), ConnectionId(self.next()));
        self.event(Event::SchedulerSubscribe {
            request,
            connection,
            stream_id: None,
            call: Box::new(call),
            principal: None,
        });
    }

    fn next(&mut self) -> u64 {
        self.next += 1;
        self.next
    }

    fn agent_message(&mut self, message: AgentToMaster) {
        let from = self.pid.clone();
        self.event(Event::AgentMessage { from, message: Box::new(message) });
    }

    fn event(&mut self, event: Event) {
        let effects = self.master.handle(self.now, event);
        self.settle(effects);
    }

    /// Plays the registry, the agent and the framework until the master is still.
    fn settle(&mut self, effects: Vec<Effect>) {
        for effect in effects {
            self.perform(effect);
        }
        while self.master.next_expiry().is_some_and(|due| due <= self.now) {
            let effects = self.master.expire(self.now);
            for effect in effects {
                self.perform(effect);
            }
        }
    }

    #[expect(clippy::wildcard_enum_match_arm, reason = "the rest goes nowhere in this bench")]
    fn perform(&mut self, effect: Effect) {
        match effect {
            Effect::Persist { write, .. } => self.event(Event::Persisted { write }),
            Effect::AcceptSubscription { stream_id, .. } => self.stream_id = stream_id.to_string(),
            Effect::SendToScheduler { event, .. } => {
                if let Some(subscribed) = &event.subscribed {
                    self.framework = subscribed.framework_id.clone();
                }
                let offers = event.offers.iter().flat_map(|offers| &offers.offers);
                self.offers.extend(offers.map(|offer| offer.id.clone()));
                if let Some(rescind) = &event.rescind {
                    self.offers.retain(|offer| *offer != rescind.offer_id);
                }
            }
            Effect::SendToAgent { message, .. } => self.agent_hears(*message),
            Effect::Respond { response, .. } => {
                assert_eq!(response.status(), 202, "{response:?}");
                self.accepted += 1;
            }
            _ => {}
        }
    }

    #[expect(clippy::wildcard_enum_match_arm, reason = "the rest goes nowhere in this bench")]
    fn agent_hears(&mut self, message: MasterToAgent) {
        match message {
            MasterToAgent::SlaveRegistered(message) => self.agent = message.slave_id,
            MasterToAgent::PingSlave(_) => {
                let from = self.pid.clone();
                let pong = Box::new(PongSlaveMessage::default().into());
                self.event(Event::AgentMessage { from, message: pong });
            }
            MasterToAgent::ApplyOperation(message) => {
                let status = OperationStatus {
                    state: OperationState::OperationFinished,
                    uuid: Some(message.operation_uuid.clone()),
                    ..Default::default()
                };
                let update = UpdateOperationStatusMessage {
                    framework_id: message.framework_id,
                    slave_id: Some(self.agent.clone()),
                    status,
                    operation_uuid: Some(message.operation_uuid),
                    ..Default::default()
                };
                self.agent_message(update.into());
            }
            _ => {}
        }
    }

    fn operate(&mut self, call: api::Call) {
        let request = RequestId(self.next());
        self.event(Event::OperatorCall { request, call: Box::new(call), principal: None });
    }

    fn operator_round(&mut self, number: u32) {
        let agent_id = self.agent.clone();
        self.operate(api::Call {
            r#type: Some(api::call::Type::ReserveResources),
            reserve_resources: Some(api::call::ReserveResources {
                agent_id: agent_id.clone(),
                resources: vec![labelled(number)],
                ..Default::default()
            }),
            ..Default::default()
        });
        self.operate(api::Call {
            r#type: Some(api::call::Type::UnreserveResources),
            unreserve_resources: Some(api::call::UnreserveResources {
                agent_id,
                resources: vec![labelled(number)],
                ..Default::default()
            }),
            ..Default::default()
        });
    }

    fn accept(&mut self, operation: Operation) {
        let offer_ids = std::mem::take(&mut self.offers);
        assert_eq!(offer_ids.len(), 1, "the whole agent is offered");
        let accept = Accept { offer_ids, operations: vec![operation], ..Default::default() };
        let call = scheduler::Call {
            framework_id: Some(self.framework.clone()),
            r#type: Some(scheduler::call::Type::Accept),
            accept: Some(accept),
            ..Default::default()
        };
        let request = RequestId(self.next());
        self.event(Event::SchedulerCall {
            request,
            stream_id: Some(self.stream_id.clone()),
            call: Box::new(call),
            principal: None,
        });
        // The unused rest is refused for five seconds.
        self.now += Duration::from_secs(6);
        self.settle(Vec::new());
        let offers = std::mem::take(&mut self.offers);
        self.offers = self.merged(offers);
    }

    /// What an operation made is offered before the rest of the agent. Only an offer of everything is
    /// of use here, so several are declined until there is one.
    fn merged(&mut self, offers: Vec<mesos::OfferId>) -> Vec<mesos::OfferId> {
        if offers.len() <= 1 {
            return offers;
        }
        let decline = scheduler::call::Decline { offer_ids: offers, ..Default::default() };
        let call = scheduler::Call {
            framework_id: Some(self.framework.clone()),
            r#type: Some(scheduler::call::Type::Decline),
            decline: Some(decline),
            ..Default::default()
        };
        let request = RequestId(self.next());
        self.event(Event::SchedulerCall {
            request,
            stream_id: Some(self.stream_id.clone()),
            call: Box::new(call),
            principal: None,
        });
        self.now += Duration::from_secs(6);
        self.settle(Vec::new());
        std::mem::take(&mut self.offers)
    }

    fn framework_round(&mut self, number: u32) {
        let resources = vec![labelled(number)];
        self.accept(Operation {
            r#type: Some(Type::Reserve),
            reserve: Some(Reserve { resources: resources.clone(), ..Default::default() }),
            ..Default::default()
        });
        self.accept(Operation {
            r#type: Some(Type::Unreserve),
            unreserve: Some(Unreserve { resources, ..Default::default() }),
            ..Default::default()
        });
    }
}

/// The processor time of this thread, so that what else runs on the machine does not count.
fn processor_time() -> Duration {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap_or_default();
    let nanos = text.split_whitespace().next().and_then(|first| first.parse().ok());
    Duration::from_nanos(nanos.unwrap_or(0))
}

fn time(name: &str, mut round: impl FnMut(u32)) -> Duration {
    let (start, before) = (Instant::now(), processor_time());
    for number in 0..ROUNDS {
        round(1_000_000 + number);
    }
    let took = processor_time() - before;
    println!("{name}: {took:>10.1?} of processor time, {:>10.1?} on the clock", start.elapsed());
    took
}

fn main() {
    println!("{ROUNDS} x reserve and unreserve, {RESERVATIONS} reservations on the agent");
    let mut cluster = Cluster::new();
    let operator = time("operator, nobody subscribed", |number| cluster.operator_round(number));
    cluster.subscribe();
    let rescinding = time("operator, offers rescinded ", |number| cluster.operator_round(number));
    cluster.now += Duration::from_secs(6);
    cluster.settle(Vec::new());
    let offers = std::mem::take(&mut cluster.offers);
    cluster.offers = cluster.merged(offers);
    let framework = time("framework, offered again   ", |number| cluster.framework_round(number));
    assert!(cluster.accepted > 2 * 2 * ROUNDS, "every call was answered");
    for took in [operator, rescinding, framework] {
        assert!(took <= LIMIT, "{took:?} is more than {LIMIT:?}");
    }
}
