//! A master with fake surroundings: a registry that is a map, agents and frameworks that are words.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use master::registry::Record;
use master::{Config, ConnectionId, Effect, Event, Master, RequestId, Response, WriteId};
use protocol::internal::{
    PongSlaveMessage, RegisterSlaveMessage, ReregisterSlaveMessage, StatusUpdate,
    StatusUpdateMessage,
};
use protocol::mesos::framework_info::capability::Type as FrameworkCapability;
use protocol::mesos::offer::operation;
use protocol::mesos::value::{Range, Ranges, Scalar, Type as ValueType};
use protocol::mesos::{
    AgentId, AgentInfo, CommandInfo, ExecutorId, ExecutorInfo, FrameworkId, FrameworkInfo, Offer,
    OfferId, Resource, TaskId, TaskInfo, TaskState, TaskStatus, agent_info, framework_info,
};
use protocol::messages::{AgentToMaster, MasterToAgent, MasterToScheduler, SchedulerToMaster};
use protocol::pid::Pid;
use protocol::scheduler;
use protocol::scheduler::call::{Accept, Subscribe, Type as CallType};
use protocol::time::Timestamp;

pub struct Cluster {
    pub master: Master,
    pub now: Timestamp,
    /// Whether writes complete as soon as they are asked for.
    pub writes_complete: bool,
    pub writes: VecDeque<WriteId>,
    pub registry: BTreeMap<String, Vec<u8>>,
    unwritten: BTreeMap<WriteId, Vec<master::RegistryChange>>,
    config: Config,
    next: u64,
}

/// A v1 framework that is subscribed.
#[derive(Clone, Debug)]
pub struct Scheduler {
    pub id: FrameworkId,
    pub connection: ConnectionId,
    pub stream_id: String,
}

/// An agent that is registered.
#[derive(Clone, Debug)]
pub struct Agent {
    pub id: AgentId,
    pub pid: Pid,
    pub info: AgentInfo,
}

pub fn config() -> Config {
    Config::new(7, "master@127.0.0.1:5050".parse().unwrap(), "localhost".to_owned())
}

impl Cluster {
    pub fn new() -> Self {
        Self::with(config())
    }

    pub fn with(config: Config) -> Self {
        let now = Timestamp::from_secs(1_700_000_000);
        let (master, effects) = Master::new(now, config.clone(), Vec::new());
        let mut cluster = Self {
            master,
            now,
            writes_complete: true,
            writes: VecDeque::new(),
            registry: BTreeMap::new(),
            unwritten: BTreeMap::new(),
            config,
            next: 1,
        };
        cluster.settle(effects);
        cluster
    }

    /// What the next master is started with.
    pub fn reconfigure(&mut self, config: Config) {
        self.config = config;
    }

    /// The master dies, and another takes over what is in the registry.
    pub fn restart(&mut self) -> Vec<Effect> {
        self.writes.clear();
        self.unwritten.clear();
        self.config.seed += 1;
        let records =
            self.registry.iter().map(|(key, value)| Record::decode(key, value).unwrap()).collect();
        let (master, effects) = Master::new(self.now, self.config.clone(), records);
        self.master = master;
        self.settle(effects)
    }

    /// Hands in an event, and returns all effects up to the moment when the master is still.
    pub fn event(&mut self, event: Event) -> Vec<Effect> {
        let effects = self.master.handle(self.now, event);
        self.settle(effects)
    }

    fn settle(&mut self, effects: Vec<Effect>) -> Vec<Effect> {
        let mut all = Vec::new();
        let mut new = effects;
        for _ in 0..1000 {
            for effect in &new {
                if let Effect::Persist { write, changes } = effect {
                    self.writes.push_back(*write);
                    self.unwritten.insert(*write, changes.clone());
                }
            }
            all.append(&mut new);
            if self.writes_complete && !self.writes.is_empty() {
                new = self.complete_write();
            } else if self.master.next_expiry().is_some_and(|due| due <= self.now) {
                new = self.master.expire(self.now);
            } else {
                return all;
            }
        }
        panic!("the master does not come to rest");
    }

    fn complete_write(&mut self) -> Vec<Effect> {
        let write = self.writes.pop_front().unwrap();
        for change in self.unwritten.remove(&write).unwrap() {
            match change.value {
                Some(value) => self.registry.insert(change.key, value),
                None => self.registry.remove(&change.key),
            };
        }
        self.master.handle(self.now, Event::Persisted { write })
    }

    /// Completes all writes under way.
    pub fn complete_writes(&mut self) -> Vec<Effect> {
        let mut all = Vec::new();
        while !self.writes.is_empty() {
            let effects = self.complete_write();
            all.extend(self.settle(effects));
        }
        all
    }

    /// Lets time pass, firing every timer at its own time.
    pub fn advance(&mut self, duration: Duration) -> Vec<Effect> {
        let end = self.now + duration;
        let mut all = Vec::new();
        while let Some(due) = self.master.next_expiry().filter(|due| *due <= end) {
            self.now = self.now.max(due);
            let effects = self.master.expire(self.now);
            all.extend(self.settle(effects));
        }
        self.now = end;
        all
    }

    pub fn request(&mut self) -> RequestId {
        self.next += 1;
        RequestId(self.next)
    }

    pub fn connection(&mut self) -> ConnectionId {
        self.next += 1;
        ConnectionId(self.next)
    }

    pub fn agent_message(&mut self, from: &Pid, message: impl Into<AgentToMaster>) -> Vec<Effect> {
        self.event(Event::AgentMessage { from: from.clone(), message: Box::new(message.into()) })
    }

    pub fn driver_message(
        &mut self,
        from: &Pid,
        message: impl Into<SchedulerToMaster>,
    ) -> Vec<Effect> {
        self.event(Event::SchedulerMessage {
            from: from.clone(),
            message: Box::new(message.into()),
        })
    }

    /// An agent registers and gets its id.
    pub fn add_agent(&mut self, number: u8) -> Agent {
        let pid = agent_pid(number);
        let effects = self.agent_message(&pid, registration(number));
        let id = registered_id(&effects).expect("the agent is registered");
        Agent { info: AgentInfo { id: Some(id.clone()), ..agent_info(number) }, id, pid }
    }

    /// A framework subscribes; its offers follow among the effects.
    pub fn subscribe(&mut self, info: FrameworkInfo) -> (Scheduler, Vec<Effect>) {
        let (request, connection) = (self.request(), self.connection());
        let effects = self.event(Event::SchedulerSubscribe {
            request,
            connection,
            stream_id: None,
            call: Box::new(subscribe_call(info)),
            principal: None,
        });
        let stream_id = effects
            .iter()
            .find_map(|effect| match effect {
                Effect::AcceptSubscription { stream_id, .. } => Some(stream_id.to_string()),
                _ => None,
            })
            .expect("the subscription is accepted");
        let id = events(&effects, connection)
            .iter()
            .find_map(|event| event.subscribed.as_ref())
            .expect("the framework is subscribed")
            .framework_id
            .clone();
        (Scheduler { id, connection, stream_id }, effects)
    }

    /// A call of a framework, with the effects and the answer.
    pub fn call(
        &mut self,
        scheduler: &Scheduler,
        call: scheduler::Call,
    ) -> (Response, Vec<Effect>) {
        let (answer, effects) = self.try_call(scheduler, call);
        (answer.expect("the call is answered"), effects)
    }

    /// The same of a call that may have to wait for a write.
    pub fn try_call(
        &mut self,
        scheduler: &Scheduler,
        call: scheduler::Call,
    ) -> (Option<Response>, Vec<Effect>) {
        let request = self.request();
        let call = scheduler::Call { framework_id: Some(scheduler.id.clone()), ..call };
        let effects = self.event(Event::SchedulerCall {
            request,
            stream_id: Some(scheduler.stream_id.clone()),
            call: Box::new(call),
            principal: None,
        });
        (try_response(&effects, request), effects)
    }

    pub fn operate(&mut self, call: protocol::master::Call) -> (Option<Response>, Vec<Effect>) {
        let request = self.request();
        let effects =
            self.event(Event::OperatorCall { request, call: Box::new(call), principal: None });
        (try_response(&effects, request), effects)
    }

    /// Accepts an offer with the given operations.
    pub fn accept(
        &mut self,
        scheduler: &Scheduler,
        offers: Vec<OfferId>,
        operations: Vec<operation_type::Operation>,
    ) -> Vec<Effect> {
        let (response, effects) = self.call(scheduler, accept_call(offers, operations));
        assert_eq!(response, Response::Accepted);
        effects
    }

    /// An agent, a framework, and the first offer.
    pub fn with_offer(info: FrameworkInfo) -> (Self, Agent, Scheduler, Offer) {
        let mut cluster = Self::new();
        let agent = cluster.add_agent(1);
        let (scheduler, effects) = cluster.subscribe(info);
        let offer = offers(&effects, scheduler.connection).remove(0);
        (cluster, agent, scheduler, offer)
    }

    /// A task of 1 cpu and 128 MB that runs.
    pub fn running_task(&mut self, agent: &Agent, scheduler: &Scheduler, offer: &Offer, id: &str) {
        let task = task(id, &agent.id, 1.0, 128.0);
        let effects = self.accept(scheduler, vec![offer.id.clone()], vec![launch(vec![task])]);
        assert_eq!(launched(&effects), [id]);
        self.update(agent, scheduler, id, TaskState::TaskRunning, 1);
    }

    pub fn update(
        &mut self,
        agent: &Agent,
        scheduler: &Scheduler,
        task: &str,
        state: TaskState,
        uuid: u8,
    ) -> Vec<Effect> {
        let message = status_update(agent, &scheduler.id, task, state, uuid);
        self.agent_message(&agent.pid, message)
    }

    /// Answers a ping for the agent.
    pub fn pong(&mut self, agent: &Agent) -> Vec<Effect> {
        self.agent_message(&agent.pid, PongSlaveMessage::default())
    }

    /// Lets time pass while these agents answer every ping.
    pub fn advance_with_pongs(&mut self, duration: Duration, agents: &[&Agent]) -> Vec<Effect> {
        let end = self.now + duration;
        let mut all = Vec::new();
        while self.now < end {
            all.extend(self.advance(Duration::from_secs(5).min(end - self.now)));
            for agent in agents {
                all.extend(self.pong(agent));
            }
        }
        all
    }
}

pub mod operation_type {
    pub use protocol::mesos::offer::Operation;
}

pub fn agent_pid(number: u8) -> Pid {
    format!("slave(1)@10.0.0.{number}:5051").parse().unwrap()
}

pub fn scalar(name: &str, value: f64) -> Resource {
    Resource {
        name: name.to_owned(),
        r#type: ValueType::Scalar,
        scalar: Some(Scalar { value, ..Default::default() }),
        ..Default::default()
    }
}

pub fn ports(begin: u64, end: u64) -> Resource {
    let range = Range { begin, end, ..Default::default() };
    Resource {
        name: "ports".to_owned(),
        r#type: ValueType::Ranges,
        ranges: Some(Ranges { range: vec![range], ..Default::default() }),
        ..Default::default()
    }
}

pub fn agent_info(number: u8) -> AgentInfo {
    AgentInfo {
        hostname: format!("node-{number}"),
        port: Some(5051),
        resources: vec![
            scalar("cpus", 4.0),
            scalar("mem", 4096.0),
            scalar("disk", 10_000.0),
            ports(31000, 32000),
        ],
        checkpoint: Some(true),
        ..Default::default()
    }
}

pub fn agent_capabilities() -> Vec<agent_info::Capability> {
    use agent_info::capability::Type;
    [
        Type::MultiRole,
        Type::HierarchicalRole,
        Type::ReservationRefinement,
        Type::ResourceProvider,
        Type::AgentOperationFeedback,
        Type::AgentDraining,
        Type::ResizeVolume,
        Type::TaskResourceLimits,
    ]
    .into_iter()
    .map(|r#type| agent_info::Capability { r#type: Some(r#type), ..Default::default() })
    .collect()
}

pub fn registration(number: u8) -> RegisterSlaveMessage {
    RegisterSlaveMessage {
        slave: agent_info(number),
        version: Some("1.12.0".to_owned()),
        agent_capabilities: agent_capabilities(),
        resource_version_uuid: Some(uuid(200)),
        ..Default::default()
    }
}

pub fn reregistration(agent: &Agent) -> ReregisterSlaveMessage {
    ReregisterSlaveMessage {
        slave: agent.info.clone(),
        version: Some("1.12.0".to_owned()),
        agent_capabilities: agent_capabilities(),
        resource_version_uuid: Some(uuid(200)),
        ..Default::default()
    }
}

pub fn uuid(number: u8) -> protocol::mesos::Uuid {
    protocol::mesos::Uuid { value: vec![number; 16], ..Default::default() }
}

pub fn framework_info(name: &str) -> FrameworkInfo {
    FrameworkInfo { user: "nobody".to_owned(), name: name.to_owned(), ..Default::default() }
}

pub fn capable(info: FrameworkInfo, capabilities: &[FrameworkCapability]) -> FrameworkInfo {
    let capabilities = capabilities
        .iter()
        .map(|r#type| framework_info::Capability { r#type: Some(*r#type), ..Default::default() })
        .collect();
    FrameworkInfo { capabilities, ..info }
}

pub fn partition_aware(name: &str) -> FrameworkInfo {
    capable(framework_info(name), &[FrameworkCapability::PartitionAware])
}

pub fn subscribe_call(info: FrameworkInfo) -> scheduler::Call {
    scheduler::Call {
        framework_id: info.id.clone(),
        r#type: Some(CallType::Subscribe),
        subscribe: Some(Box::new(Subscribe { framework_info: info, ..Default::default() })),
        ..Default::default()
    }
}

pub fn accept_call(
    offer_ids: Vec<OfferId>,
    operations: Vec<operation_type::Operation>,
) -> scheduler::Call {
    scheduler::Call {
        r#type: Some(CallType::Accept),
        accept: Some(Accept { offer_ids, operations, ..Default::default() }),
        ..Default::default()
    }
}

pub fn launch(task_infos: Vec<TaskInfo>) -> operation_type::Operation {
    operation_type::Operation {
        r#type: Some(operation::Type::Launch),
        launch: Some(operation::Launch { task_infos, ..Default::default() }),
        ..Default::default()
    }
}

pub fn task_id(id: &str) -> TaskId {
    TaskId { value: id.to_owned(), ..Default::default() }
}

pub fn task(id: &str, agent: &AgentId, cpus: f64, mem: f64) -> TaskInfo {
    TaskInfo {
        name: id.to_owned(),
        task_id: task_id(id),
        agent_id: agent.clone(),
        resources: vec![scalar("cpus", cpus), scalar("mem", mem)],
        command: Some(command("true")),
        ..Default::default()
    }
}

pub fn command(value: &str) -> CommandInfo {
    CommandInfo { value: Some(value.to_owned()), ..Default::default() }
}

pub fn executor(id: &str, cpus: f64, mem: f64) -> ExecutorInfo {
    ExecutorInfo {
        executor_id: ExecutorId { value: id.to_owned(), ..Default::default() },
        command: Some(command("executor")),
        resources: vec![scalar("cpus", cpus), scalar("mem", mem)],
        ..Default::default()
    }
}

pub fn status_update(
    agent: &Agent,
    framework: &FrameworkId,
    task: &str,
    state: TaskState,
    number: u8,
) -> StatusUpdateMessage {
    StatusUpdateMessage {
        update: StatusUpdate {
            framework_id: framework.clone(),
            slave_id: Some(agent.id.clone()),
            status: TaskStatus {
                task_id: task_id(task),
                state,
                uuid: Some(vec![number; 16]),
                data: Some(b"data".to_vec()),
                ..Default::default()
            },
            timestamp: 5.0,
            uuid: Some(vec![number; 16]),
            latest_state: Some(state),
            ..Default::default()
        },
        pid: Some(agent.pid.to_string()),
        ..Default::default()
    }
}

/// What was sent on a stream.
pub fn events(effects: &[Effect], to: ConnectionId) -> Vec<Arc<scheduler::Event>> {
    effects
        .iter()
        .filter_map(|effect| match effect {
            Effect::SendToScheduler { connection, event } if *connection == to => {
                Some(Arc::clone(event))
            }
            _ => None,
        })
        .collect()
}

pub fn offers(effects: &[Effect], to: ConnectionId) -> Vec<Offer> {
    events(effects, to)
        .iter()
        .filter_map(|event| event.offers.as_ref())
        .flat_map(|offers| offers.offers.clone())
        .collect()
}

pub fn rescinded(effects: &[Effect], to: ConnectionId) -> Vec<OfferId> {
    events(effects, to)
        .iter()
        .filter_map(|event| event.rescind.as_ref())
        .map(|rescind| rescind.offer_id.clone())
        .collect()
}

pub fn statuses(effects: &[Effect], to: ConnectionId) -> Vec<TaskStatus> {
    events(effects, to)
        .iter()
        .filter_map(|event| event.update.as_ref())
        .map(|update| update.status.clone())
        .collect()
}

pub fn errors(effects: &[Effect], to: ConnectionId) -> Vec<String> {
    events(effects, to)
        .iter()
        .filter_map(|event| event.error.as_ref())
        .map(|error| error.message.clone())
        .collect()
}

/// What was sent to an agent.
pub fn to_agent<'a>(effects: &'a [Effect], pid: &Pid) -> Vec<&'a MasterToAgent> {
    effects
        .iter()
        .filter_map(|effect| match effect {
            Effect::SendToAgent { to, message } if to == pid => Some(&**message),
            _ => None,
        })
        .collect()
}

/// The short names of messages sent to an agent, pings left out.
pub fn names(effects: &[Effect], pid: &Pid) -> Vec<&'static str> {
    to_agent(effects, pid)
        .iter()
        .map(|message| message.name().trim_start_matches("mesos.internal."))
        .filter(|name| *name != "PingSlaveMessage")
        .collect()
}

/// What was sent to a driver.
pub fn to_driver<'a>(effects: &'a [Effect], pid: &Pid) -> Vec<&'a MasterToScheduler> {
    effects
        .iter()
        .filter_map(|effect| match effect {
            Effect::SendToDriver { to, message } if to == pid => Some(&**message),
            _ => None,
        })
        .collect()
}

/// The ids of the tasks that agents were told to run.
pub fn launched(effects: &[Effect]) -> Vec<String> {
    let mut ids = Vec::new();
    for effect in effects {
        let Effect::SendToAgent { message, .. } = effect else { continue };
        match &**message {
            MasterToAgent::RunTask(message) => ids.push(message.task.task_id.value.clone()),
            MasterToAgent::RunTaskGroup(message) => {
                ids.extend(message.task_group.tasks.iter().map(|it| it.task_id.value.clone()));
            }
            _ => {}
        }
    }
    ids
}

pub fn registered_id(effects: &[Effect]) -> Option<AgentId> {
    effects.iter().find_map(|effect| match effect {
        Effect::SendToAgent { message, .. } => match &**message {
            MasterToAgent::SlaveRegistered(message) => Some(message.slave_id.clone()),
            _ => None,
        },
        _ => None,
    })
}

pub fn try_response(effects: &[Effect], to: RequestId) -> Option<Response> {
    let mut answers = effects.iter().filter_map(|effect| match effect {
        Effect::Respond { request, response } if *request == to => Some(response.clone()),
        _ => None,
    });
    let answer = answers.next();
    assert!(answers.next().is_none(), "a request is answered once");
    answer
}

pub fn response(effects: &[Effect], to: RequestId) -> Response {
    try_response(effects, to).expect("the request is answered")
}

pub fn closed(effects: &[Effect], stream: ConnectionId) -> bool {
    effects.iter().any(
        |effect| matches!(effect, Effect::CloseConnection { connection } if *connection == stream),
    )
}

/// The amount of a scalar in resources on the wire.
pub fn amount(resources: &[Resource], name: &str) -> f64 {
    resources
        .iter()
        .filter(|resource| resource.name == name)
        .filter_map(|resource| resource.scalar.as_ref())
        .map(|scalar| scalar.value)
        .sum()
}
