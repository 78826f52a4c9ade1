//! An agent with a disk, a master and executors that are played by the test.

use std::cell::Cell;
use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use protocol::executor as executor_api;
use protocol::internal::{
    SlaveRegisteredMessage, SlaveReregisteredMessage, StatusUpdate,
    StatusUpdateAcknowledgementMessage,
};
use protocol::mesos::{self, TaskState, task_status};
use protocol::messages::{AgentToMaster, MasterToAgent};
use protocol::time::Timestamp;
use protocol::uuid::UuidSource;

use super::samples::{agent_id, config, executor_id, framework_id, master, run_task, task_id};
use crate::checkpoint::{Change, Tree};
use crate::config::Config;
use crate::effect::{ContainerLaunch, Effect, Response, WriteId};
use crate::event::{ConnectionId, ContainerTermination, Event, Leader, RequestId};
use crate::recovery::{RecoveryError, recover};
use crate::{Agent, View};

thread_local! {
    /// Each run of an agent, and each set of executors, draws ids of its own; the same test the same.
    static SEEDS: Cell<u64> = const { Cell::new(100) };
}

fn next_seed() -> u64 {
    SEEDS.with(|seeds| seeds.replace(seeds.get() + 1))
}

/// What happened to the outside, in order.
#[derive(Clone, Debug)]
pub(super) enum Trace {
    Change(Change),
    Effect(Effect),
}

pub(super) struct World {
    pub(super) agent: Agent,
    pub(super) config: Config,
    pub(super) now: Timestamp,
    pub(super) disk: Tree,
    /// Effects not looked at yet.
    pub(super) effects: Vec<Effect>,
    pub(super) trace: Vec<Trace>,
    /// While set, writes are neither carried out nor confirmed.
    pub(super) disk_is_stuck: bool,
    pub(super) stuck: VecDeque<(WriteId, Vec<Change>)>,
    uuids: UuidSource,
    next: u64,
}

impl World {
    /// A fresh agent, not registered.
    pub(super) fn new() -> Self {
        Self::start(config(), Tree::default()).unwrap()
    }

    /// A fresh agent, registered, with nothing left to look at.
    pub(super) fn registered() -> Self {
        let mut world = Self::new();
        world.recover_containers(&[]);
        world.register();
        world.effects.clear();
        world
    }

    /// An agent on a disk of earlier times; nobody has answered `RecoverContainers` yet.
    pub(super) fn start(mut config: Config, disk: Tree) -> Result<Self, RecoveryError> {
        config.seed = next_seed();
        let now = Timestamp::from_secs(1_000_000);
        let recovered = recover(&config, &disk)?;
        let (agent, effects) = Agent::new(now, config.clone(), Some(recovered));
        let mut world = Self {
            agent,
            config,
            now,
            disk,
            effects: Vec::new(),
            trace: Vec::new(),
            disk_is_stuck: false,
            stuck: VecDeque::new(),
            // Executors of different worlds may meet on one disk.
            uuids: UuidSource::new(next_seed()),
            next: 0,
        };
        world.absorb(effects);
        Ok(world)
    }

    /// Kills the agent and starts it again with what is on disk.
    pub(super) fn restart(self) -> Result<Self, RecoveryError> {
        Self::start(self.config, self.disk)
    }

    pub(super) fn handle(&mut self, event: Event) {
        let effects = self.agent.handle(self.now, event);
        self.absorb(effects);
    }

    fn absorb(&mut self, effects: Vec<Effect>) {
        let mut writes = Vec::new();
        for effect in effects {
            if let Effect::Checkpoint { write, changes } = effect {
                if self.disk_is_stuck {
                    self.stuck.push_back((write, changes));
                    continue;
                }
                for change in &changes {
                    self.disk.apply(self.now, change);
                    self.trace.push(Trace::Change(change.clone()));
                }
                writes.push(write);
                continue;
            }
            if let Effect::LaunchContainer(launch) = &effect
                && let Some(path) = &launch.pid_checkpoint
            {
                // The containers write the pid before the command runs.
                let change = crate::checkpoint::write_text(path.clone(), "4711");
                self.disk.apply(self.now, &change);
                self.trace.push(Trace::Change(change));
            }
            self.trace.push(Trace::Effect(effect.clone()));
            self.effects.push(effect);
        }
        for write in writes {
            self.handle(Event::Checkpointed { write });
        }
    }

    /// Carries out what the stuck disk was asked for.
    pub(super) fn unstick_disk(&mut self) {
        self.disk_is_stuck = false;
        while let Some((write, changes)) = self.stuck.pop_front() {
            for change in &changes {
                self.disk.apply(self.now, change);
            }
            self.handle(Event::Checkpointed { write });
        }
    }

    /// Lets time pass, firing timers when they are due.
    pub(super) fn pass(&mut self, duration: Duration) {
        let end = self.now + duration;
        while let Some(due) = self.agent.next_expiry().filter(|due| *due <= end) {
            self.now = self.now.max(due);
            let effects = self.agent.expire(self.now);
            self.absorb(effects);
        }
        self.now = end;
    }

    pub(super) fn view(&mut self) -> std::sync::Arc<View> {
        self.agent.snapshot()
    }

    pub(super) fn recover_containers(&mut self, alive: &[&mesos::ContainerId]) {
        let status = mesos::ContainerStatus { executor_pid: Some(4711), ..Default::default() };
        let alive = alive.iter().map(|id| ((*id).clone(), status.clone())).collect();
        self.handle(Event::ContainersRecovered { alive });
    }

    pub(super) fn detect(&mut self) {
        let leader = Some(Leader { pid: master(), info: None });
        self.handle(Event::MasterDetected { leader });
    }

    /// Detects the master and answers the (re)registration.
    pub(super) fn register(&mut self) {
        self.detect();
        self.pass(Duration::from_secs(1));
        let messages = self.messages();
        let is_new =
            messages.iter().any(|message| matches!(message, AgentToMaster::RegisterSlave(_)));
        self.master_says(if is_new {
            MasterToAgent::SlaveRegistered(SlaveRegisteredMessage {
                slave_id: agent_id(),
                ..Default::default()
            })
        } else {
            MasterToAgent::SlaveReregistered(SlaveReregisteredMessage {
                slave_id: agent_id(),
                ..Default::default()
            })
        });
    }

    pub(super) fn master_says(&mut self, message: MasterToAgent) {
        self.handle(Event::MasterMessage { from: master(), message });
    }

    /// Takes the messages to the master out of the effects.
    pub(super) fn messages(&mut self) -> Vec<AgentToMaster> {
        let mut messages = Vec::new();
        self.effects.retain(|effect| match effect {
            Effect::SendToMaster { message, .. } => {
                messages.push((**message).clone());
                false
            }
            _ => true,
        });
        messages
    }

    /// The status updates among the messages to the master; the other messages are dropped.
    pub(super) fn updates(&mut self) -> Vec<StatusUpdate> {
        let messages = self.messages().into_iter();
        messages
            .filter_map(|message| match message {
                AgentToMaster::StatusUpdate(message) => Some(message.update),
                _ => None,
            })
            .collect()
    }

    pub(super) fn acknowledge(&mut self, update: &StatusUpdate) {
        self.master_says(MasterToAgent::StatusUpdateAcknowledgement(
            StatusUpdateAcknowledgementMessage {
                slave_id: agent_id(),
                framework_id: update.framework_id.clone(),
                task_id: update.status.task_id.clone(),
                uuid: update.uuid.clone().unwrap(),
                ..Default::default()
            },
        ));
    }

    /// Takes the container launches out of the effects.
    pub(super) fn launches(&mut self) -> Vec<ContainerLaunch> {
        let mut launches = Vec::new();
        self.effects.retain(|effect| match effect {
            Effect::LaunchContainer(launch) => {
                launches.push((**launch).clone());
                false
            }
            _ => true,
        });
        launches
    }

    /// Launches a task and says that its container runs.
    pub(super) fn launch(
        &mut self,
        framework: mesos::FrameworkInfo,
        task: mesos::TaskInfo,
    ) -> ContainerLaunch {
        self.master_says(run_task(framework, task));
        let launch = self.launches().pop().expect("a container is launched");
        self.container_launched(&launch.container);
        launch
    }

    pub(super) fn container_launched(&mut self, container: &mesos::ContainerId) {
        let status = mesos::ContainerStatus { executor_pid: Some(4711), ..Default::default() };
        self.handle(Event::ContainerLaunched {
            container: container.clone(),
            status: Box::new(status),
        });
    }

    pub(super) fn container_exited(&mut self, container: &mesos::ContainerId, status: i32) {
        let termination =
            ContainerTermination { status: Some(status), ..ContainerTermination::default() };
        self.handle(Event::ContainerExited { container: container.clone(), termination });
    }

    pub(super) fn subscribe(&mut self, framework: &str, executor: &str) -> ConnectionId {
        self.subscribe_with(framework, executor, executor_api::call::Subscribe::default())
    }

    pub(super) fn subscribe_with(
        &mut self,
        framework: &str,
        executor: &str,
        subscribe: executor_api::call::Subscribe,
    ) -> ConnectionId {
        self.next += 1;
        let connection = ConnectionId(self.next);
        let call = executor_api::Call {
            framework_id: framework_id(framework),
            executor_id: executor_id(executor),
            r#type: Some(executor_api::call::Type::Subscribe),
            subscribe: Some(subscribe),
            ..Default::default()
        };
        self.handle(Event::ExecutorSubscribe { connection, call: Box::new(call) });
        connection
    }

    /// A status as an executor makes it.
    pub(super) fn status(&mut self, task: &str, state: TaskState) -> mesos::TaskStatus {
        mesos::TaskStatus {
            task_id: task_id(task),
            state,
            source: Some(task_status::Source::SourceExecutor),
            uuid: Some(self.uuids.next_uuid().to_vec()),
            timestamp: Some(1.0),
            ..Default::default()
        }
    }

    /// Sends an update of an executor; the answer.
    pub(super) fn update(
        &mut self,
        framework: &str,
        executor: &str,
        status: mesos::TaskStatus,
    ) -> Response {
        let request = self.begin_update(framework, executor, status);
        self.answer(request).expect("the call is answered")
    }

    /// Sends an update of an executor, whose answer may have to wait.
    pub(super) fn begin_update(
        &mut self,
        framework: &str,
        executor: &str,
        status: mesos::TaskStatus,
    ) -> RequestId {
        let update = executor_api::call::Update { status, ..Default::default() };
        self.begin_call(executor_api::Call {
            framework_id: framework_id(framework),
            executor_id: executor_id(executor),
            r#type: Some(executor_api::call::Type::Update),
            update: Some(Box::new(update)),
            ..Default::default()
        })
    }

    pub(super) fn call(&mut self, call: executor_api::Call) -> Response {
        let request = self.begin_call(call);
        self.answer(request).expect("the call is answered")
    }

    fn begin_call(&mut self, call: executor_api::Call) -> RequestId {
        self.next += 1;
        let request = RequestId(self.next);
        self.handle(Event::ExecutorCall { request, call: Box::new(call) });
        request
    }

    /// Takes the answer to a call out of the effects.
    pub(super) fn answer(&mut self, request: RequestId) -> Option<Response> {
        let position = self
            .effects
            .iter()
            .position(|it| matches!(it, Effect::Respond { request: of, .. } if *of == request))?;
        match self.effects.remove(position) {
            Effect::Respond { response, .. } => Some(response),
            other => panic!("{other:?}"),
        }
    }

    /// Takes the events to executors out of the effects.
    pub(super) fn events(&mut self) -> Vec<(ConnectionId, executor_api::Event)> {
        let mut events = Vec::new();
        self.effects.retain(|effect| match effect {
            Effect::SendToExecutor { connection, event } => {
                events.push((*connection, (**event).clone()));
                false
            }
            _ => true,
        });
        events
    }

    /// The kinds of the events to executors, in order.
    pub(super) fn event_types(&mut self) -> Vec<executor_api::event::Type> {
        self.events().into_iter().filter_map(|(_, event)| event.r#type).collect()
    }

    /// Acknowledges updates until none is left; their states by task, in order.
    pub(super) fn acknowledge_all(&mut self) -> BTreeMap<String, Vec<TaskState>> {
        let mut states: BTreeMap<String, Vec<TaskState>> = BTreeMap::new();
        loop {
            let updates = self.updates();
            if updates.is_empty() {
                return states;
            }
            for update in updates {
                let task = update.status.task_id.value.clone();
                states.entry(task).or_default().push(update.status.state);
                self.acknowledge(&update);
            }
        }
    }
}
