//! A master whose agents and frameworks are this process.

use std::collections::VecDeque;
use std::time::Duration;

use master::{Config, ConnectionId, Effect, Event, Master, RequestId};
use protocol::internal::{
    PongSlaveMessage, RegisterSlaveMessage, StatusUpdate, StatusUpdateMessage,
};
use protocol::mesos::offer::{Operation, operation};
use protocol::mesos::value::{self, Ranges, Scalar};
use protocol::mesos::{
    AgentId, AgentInfo, Attribute, CommandInfo, ContainerId, ContainerStatus, FrameworkId,
    FrameworkInfo, Label, Labels, NetworkInfo, Offer, Resource, TaskId, TaskInfo, TaskState,
    TaskStatus, agent_info, framework_info, network_info, task_status,
};
use protocol::messages::AgentToMaster;
use protocol::pid::Pid;
use protocol::scheduler::call::{Accept, Acknowledge, Subscribe, Type};
use protocol::time::Timestamp;
use protocol::{Message, scheduler};

const CPUS: f64 = 32.0;
const MEM: f64 = 65_536.0;

pub(crate) struct Cluster {
    pub(crate) master: Master,
    now: Timestamp,
    next: u64,
    pids: Vec<Pid>,
    running: Vec<(Pid, AgentId, FrameworkId, TaskId)>,
    changed: usize,
}

pub(crate) struct Scheduler {
    id: FrameworkId,
    connection: ConnectionId,
    stream_id: String,
}

impl Cluster {
    pub(crate) fn new() -> Self {
        let pid = "master@127.0.0.1:5050".parse().expect("a pid");
        let now = Timestamp::from_secs(1_700_000_000);
        let (master, effects) =
            Master::new(now, Config::new(7, pid, "localhost".to_owned()), Vec::new());
        let mut cluster =
            Self { master, now, next: 0, pids: Vec::new(), running: Vec::new(), changed: 0 };
        cluster.settle(effects);
        cluster
    }

    pub(crate) fn ping_interval(&self) -> Duration {
        Duration::from_secs(15)
    }

    fn next(&mut self) -> u64 {
        self.next += 1;
        self.next
    }

    /// Does what the effects ask for, as far as it comes back to the master.
    fn settle(&mut self, effects: Vec<Effect>) -> Vec<Effect> {
        let mut all = Vec::new();
        let mut new = effects;
        while !new.is_empty() {
            let mut writes = Vec::new();
            for effect in &new {
                if let Effect::Persist { write, .. } = effect {
                    writes.push(*write);
                }
            }
            all.append(&mut new);
            for write in writes {
                new.extend(self.master.handle(self.now, Event::Persisted { write }));
            }
        }
        all
    }

    fn event(&mut self, event: Event) -> Vec<Effect> {
        let effects = self.master.handle(self.now, event);
        self.settle(effects)
    }

    fn expire(&mut self) -> Vec<Effect> {
        let effects = self.master.expire(self.now);
        self.settle(effects)
    }

    fn agent_message(&mut self, from: &Pid, name: &str, body: &[u8]) -> Vec<Effect> {
        let message = AgentToMaster::decode(name, body)
            .expect("a message of agents")
            .expect("it was just encoded");
        self.event(Event::AgentMessage { from: from.clone(), message: Box::new(message) })
    }

    fn call(&mut self, scheduler: &Scheduler, call: scheduler::Call) {
        let call = scheduler::Call { framework_id: Some(scheduler.id.clone()), ..call };
        let call = scheduler::Call::decode(&call.encode_to_vec()).expect("it was just encoded");
        let request = RequestId(self.next());
        self.event(Event::SchedulerCall {
            request,
            stream_id: Some(scheduler.stream_id.clone()),
            call: Box::new(call),
            principal: None,
        });
    }

    /// A framework subscribes and wants no offers yet.
    pub(crate) fn subscribe(&mut self, number: u64) -> Scheduler {
        let role = format!("role-{number}");
        let capabilities = [
            framework_info::capability::Type::MultiRole,
            framework_info::capability::Type::PartitionAware,
        ];
        let info = FrameworkInfo {
            user: "nobody".to_owned(),
            name: format!("framework-{number}"),
            roles: vec![role.clone()],
            capabilities: capabilities
                .map(|it| framework_info::Capability { r#type: Some(it), ..Default::default() })
                .into(),
            ..Default::default()
        };
        let call = scheduler::Call {
            r#type: Some(Type::Subscribe),
            subscribe: Some(Box::new(Subscribe {
                framework_info: info,
                suppressed_roles: vec![role],
                ..Default::default()
            })),
            ..Default::default()
        };
        let (request, connection) = (RequestId(self.next()), ConnectionId(self.next()));
        let effects = self.event(Event::SchedulerSubscribe {
            request,
            connection,
            stream_id: None,
            call: Box::new(call),
            principal: None,
        });
        let mut scheduler =
            Scheduler { id: FrameworkId::default(), connection, stream_id: String::new() };
        for effect in effects {
            if let Effect::AcceptSubscription { stream_id, .. } = &effect {
                scheduler.stream_id = stream_id.to_string();
            } else if let Effect::SendToScheduler { event, .. } = effect
                && let Some(subscribed) = &event.subscribed
            {
                scheduler.id = subscribed.framework_id.clone();
            }
        }
        scheduler
    }

    pub(crate) fn add_agent(&mut self, number: u64) {
        let pid = pid(number);
        let message = registration(number).encode_to_vec();
        self.agent_message(&pid, "mesos.internal.RegisterSlaveMessage", &message);
        self.pids.push(pid);
        self.expire();
    }

    /// The frameworks take every idle agent whole, for so many tasks on each, which then run.
    pub(crate) fn launch(&mut self, schedulers: &[Scheduler], tasks: u64) -> u64 {
        for scheduler in schedulers {
            let revive = scheduler::Call { r#type: Some(Type::Revive), ..Default::default() };
            self.call(scheduler, revive);
        }
        let mut launched = 0;
        let mut queue = VecDeque::from(self.expire());
        while let Some(effect) = queue.pop_front() {
            let Effect::SendToScheduler { connection, event } = effect else { continue };
            let Some(offers) = &event.offers else { continue };
            let scheduler = schedulers
                .iter()
                .find(|it| it.connection == connection)
                .expect("offers go to the frameworks there are");
            for offer in &offers.offers {
                self.accept(scheduler, offer, tasks);
                launched += tasks;
            }
        }
        for scheduler in schedulers {
            let suppress = scheduler::Call { r#type: Some(Type::Suppress), ..Default::default() };
            self.call(scheduler, suppress);
        }
        launched
    }

    fn accept(&mut self, scheduler: &Scheduler, offer: &Offer, tasks: u64) {
        let share = 1.0 / f64::from(u32::try_from(tasks).expect("few tasks on one agent"));
        let first = self.next;
        self.next += tasks;
        let infos: Vec<TaskInfo> =
            (0..tasks).map(|index| task(first + index, &offer.agent_id, share)).collect();
        let ids: Vec<TaskId> = infos.iter().map(|task| task.task_id.clone()).collect();
        let launch = Operation {
            r#type: Some(operation::Type::Launch),
            launch: Some(operation::Launch { task_infos: infos, ..Default::default() }),
            ..Default::default()
        };
        let accept = Accept {
            offer_ids: vec![offer.id.clone()],
            operations: vec![launch],
            ..Default::default()
        };
        let call = scheduler::Call {
            r#type: Some(Type::Accept),
            accept: Some(accept),
            ..Default::default()
        };
        self.call(scheduler, call);
        let address = offer.url.as_ref().map(|url| &url.address).expect("an address");
        let ip = address.ip.as_deref().unwrap_or_default();
        let pid: Pid = format!("slave(1)@{ip}:{}", address.port).parse().expect("a pid");
        for id in ids {
            let number = self.next();
            self.update(&pid, &offer.agent_id, &scheduler.id, &id, number);
            let acknowledge = scheduler::Call {
                r#type: Some(Type::Acknowledge),
                acknowledge: Some(Acknowledge {
                    agent_id: offer.agent_id.clone(),
                    task_id: id.clone(),
                    uuid: uuid(number),
                    ..Default::default()
                }),
                ..Default::default()
            };
            self.call(scheduler, acknowledge);
            if self.running.len() < 10_000 {
                let agent = offer.agent_id.clone();
                self.running.push((pid.clone(), agent, scheduler.id.clone(), id));
            }
        }
    }

    fn update(
        &mut self,
        pid: &Pid,
        agent: &AgentId,
        framework: &FrameworkId,
        task: &TaskId,
        number: u64,
    ) {
        let status = TaskStatus {
            task_id: task.clone(),
            state: TaskState::TaskRunning,
            source: Some(task_status::Source::SourceExecutor),
            agent_id: Some(agent.clone()),
            uuid: Some(uuid(number)),
            timestamp: Some(1_700_000_000.0),
            container_status: Some(ContainerStatus {
                container_id: Some(ContainerId {
                    value: format!("00000000-0000-4000-8000-{number:012}"),
                    ..Default::default()
                }),
                network_infos: vec![NetworkInfo {
                    ip_addresses: vec![network_info::IpAddress {
                        ip_address: Some("10.0.0.1".to_owned()),
                        ..Default::default()
                    }],
                    ..Default::default()
                }],
                ..Default::default()
            }),
            ..Default::default()
        };
        let message = StatusUpdateMessage {
            update: StatusUpdate {
                framework_id: framework.clone(),
                slave_id: Some(agent.clone()),
                status,
                timestamp: 1_700_000_000.0,
                uuid: Some(uuid(number)),
                latest_state: Some(TaskState::TaskRunning),
                ..Default::default()
            },
            pid: Some(pid.to_string()),
            ..Default::default()
        };
        let body = message.encode_to_vec();
        self.agent_message(pid, "mesos.internal.StatusUpdateMessage", &body);
    }

    /// So many running tasks report again.
    pub(crate) fn change_tasks(&mut self, count: usize) {
        for _ in 0..count {
            self.changed = (self.changed + 97) % self.running.len();
            let (pid, agent, framework, task) = self.running[self.changed].clone();
            let number = self.next();
            self.update(&pid, &agent, &framework, &task, number);
        }
    }

    /// Every agent is pinged once and answers.
    pub(crate) fn ping_all(&mut self) -> usize {
        self.now += self.ping_interval();
        let pings = self.expire().len();
        let body = PongSlaveMessage::default().encode_to_vec();
        for pid in std::mem::take(&mut self.pids) {
            self.agent_message(&pid, "mesos.internal.PongSlaveMessage", &body);
        }
        pings
    }
}

fn pid(number: u64) -> Pid {
    let [.., high, middle, low] = number.to_be_bytes();
    format!("slave(1)@10.{high}.{middle}.{low}:5051").parse().expect("a pid")
}

fn uuid(number: u64) -> Vec<u8> {
    let mut bytes = vec![7; 16];
    bytes[8..].copy_from_slice(&number.to_be_bytes());
    bytes
}

fn scalar(name: &str, value: f64) -> Resource {
    Resource {
        name: name.to_owned(),
        r#type: value::Type::Scalar,
        scalar: Some(Scalar { value, ..Default::default() }),
        ..Default::default()
    }
}

fn registration(number: u64) -> RegisterSlaveMessage {
    use agent_info::capability::Type;
    let capabilities = [
        Type::MultiRole,
        Type::HierarchicalRole,
        Type::ReservationRefinement,
        Type::ResourceProvider,
        Type::AgentOperationFeedback,
        Type::TaskResourceLimits,
    ];
    let range = value::Range { begin: 31_000, end: 32_000, ..Default::default() };
    let ports = Resource {
        name: "ports".to_owned(),
        r#type: value::Type::Ranges,
        ranges: Some(Ranges { range: vec![range], ..Default::default() }),
        ..Default::default()
    };
    let attribute = Attribute {
        name: "rack".to_owned(),
        r#type: value::Type::Text,
        text: Some(value::Text { value: format!("rack-{}", number % 100), ..Default::default() }),
        ..Default::default()
    };
    RegisterSlaveMessage {
        slave: AgentInfo {
            hostname: format!("node-{number}.cluster.example.com"),
            port: Some(5051),
            resources: vec![
                scalar("cpus", CPUS),
                scalar("mem", MEM),
                scalar("disk", 1_000_000.0),
                ports,
            ],
            attributes: vec![attribute],
            checkpoint: Some(true),
            ..Default::default()
        },
        version: Some("1.12.0".to_owned()),
        agent_capabilities: capabilities
            .map(|it| agent_info::Capability { r#type: Some(it), ..Default::default() })
            .into(),
        resource_version_uuid: Some(protocol::mesos::Uuid {
            value: uuid(number),
            ..Default::default()
        }),
        ..Default::default()
    }
}

fn task(number: u64, agent: &AgentId, share: f64) -> TaskInfo {
    let labels = [("team", "platform"), ("tier", "production")].map(|(key, value)| Label {
        key: key.to_owned(),
        value: Some(value.to_owned()),
        ..Default::default()
    });
    TaskInfo {
        name: format!("service-{}", number % 1000),
        task_id: TaskId { value: format!("service.{number:08}.instance"), ..Default::default() },
        agent_id: agent.clone(),
        resources: vec![scalar("cpus", CPUS * share), scalar("mem", MEM * share)],
        command: Some(CommandInfo { value: Some("sleep 1000".to_owned()), ..Default::default() }),
        labels: Some(Labels { labels: labels.into(), ..Default::default() }),
        ..Default::default()
    }
}
