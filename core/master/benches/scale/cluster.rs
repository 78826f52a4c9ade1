//! A master whose agents and frameworks are this process.

use std::collections::VecDeque;
use std::time::Duration;

use master::{Config, ConnectionId, Effect, Event, Master, RequestId};
use protocol::internal::PongSlaveMessage;
use protocol::mesos::{
    AgentId, FrameworkId, FrameworkInfo, Offer, TaskId, TaskState, framework_info,
};
use protocol::messages::AgentToMaster;
use protocol::pid::Pid;
use protocol::scheduler::call::{Subscribe, Type};
use protocol::time::Timestamp;
use protocol::{Message, scheduler};

use crate::messages::{accept, acknowledge, agent_pid, pid, registration, status_update, uuid};

pub(crate) struct Cluster {
    pub(crate) master: Master,
    pub(crate) now: Timestamp,
    next: u64,
    pids: Vec<Pid>,
    running: Vec<(Pid, AgentId, FrameworkId, TaskId)>,
    changed: usize,
}

pub(crate) struct Scheduler {
    pub(crate) id: FrameworkId,
    pub(crate) connection: ConnectionId,
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

    pub(crate) fn next(&mut self) -> u64 {
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
        self.event(agent_event(from, name, body))
    }

    pub(crate) fn call(&mut self, scheduler: &Scheduler, call: scheduler::Call) {
        let event = self.call_event(scheduler, call);
        self.event(event);
    }

    /// A call as it comes from a socket.
    pub(crate) fn call_event(&mut self, scheduler: &Scheduler, call: scheduler::Call) -> Event {
        let call = scheduler::Call { framework_id: Some(scheduler.id.clone()), ..call };
        let call = scheduler::Call::decode(&call.encode_to_vec()).expect("it was just encoded");
        Event::SchedulerCall {
            request: RequestId(self.next()),
            stream_id: Some(scheduler.stream_id.clone()),
            call: Box::new(call),
            principal: None,
        }
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
        let call = accept(offer, first, tasks, share);
        let ids = task_ids(&call);
        self.call(scheduler, call);
        let pid = agent_pid(offer);
        for id in ids {
            let number = self.next();
            self.update(&pid, &offer.agent_id, &scheduler.id, &id, number);
            let acknowledge = acknowledge(&offer.agent_id, &id, uuid(number));
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
        let state = TaskState::TaskRunning;
        let body = status_update(pid, agent, framework, task, state, number).encode_to_vec();
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

/// A message of an agent as it comes from a socket.
pub(crate) fn agent_event(from: &Pid, name: &str, body: &[u8]) -> Event {
    let message = AgentToMaster::decode(name, body)
        .expect("a message of agents")
        .expect("it was just encoded");
    Event::AgentMessage { from: from.clone(), message: Box::new(message) }
}

fn task_ids(call: &scheduler::Call) -> Vec<TaskId> {
    let operations = call.accept.iter().flat_map(|accept| &accept.operations);
    let tasks = operations.filter_map(|it| it.launch.as_ref()).flat_map(|it| &it.task_infos);
    tasks.map(|task| task.task_id.clone()).collect()
}
