//! Executors: they subscribe, run tasks for a drawn time, report, repeat what was not acknowledged, and
//! may end at any moment.

use std::collections::{BTreeMap, VecDeque};

use agent::Event;
use agent::effect::{Response, Status};
use agent::event::{ConnectionId, RequestId};
use protocol::executor::{call, event};
use protocol::mesos::{
    ContainerId, ExecutorId, FrameworkId, TaskId, TaskInfo, TaskState, TaskStatus, task_status,
};
use protocol::time::Timestamp;
use protocol::{executor, mesos};
use resources::Resources;

use crate::happening::{ExecutorEvent, Happening};
use crate::world::World;

/// An executor's process.
#[derive(Debug)]
pub(crate) struct Executor {
    pub(crate) framework: FrameworkId,
    pub(crate) id: ExecutorId,
    pub(crate) is_command: bool,
    /// What it holds besides its tasks.
    pub(crate) own: Resources,
    pub(crate) connection: Option<ConnectionId>,
    is_accepted: bool,
    pub(crate) tasks: BTreeMap<TaskId, Run>,
    /// Updates not acknowledged, oldest first.
    updates: Vec<TaskStatus>,
    /// Which of them are to be sent on this connection, one at a time.
    unsent: VecDeque<Vec<u8>>,
    is_calling: bool,
    inbox: Timestamp,
    pub(crate) is_ending: bool,
}

/// A task in the hands of its executor.
#[derive(Debug)]
pub(crate) struct Run {
    info: TaskInfo,
    resources: Resources,
    pub(crate) state: TaskState,
    /// Whether the agent has confirmed any update of it.
    is_confirmed: bool,
    is_killed: bool,
    /// Counts its plans: only the last one is carried out.
    generation: u32,
}

impl Run {
    pub(crate) fn is_alive(&self) -> bool {
        !self.state.is_terminal()
    }
}

impl Executor {
    pub(crate) fn new(framework: FrameworkId, id: ExecutorId, is_command: bool) -> Self {
        Self {
            framework,
            id,
            is_command,
            own: Resources::new(),
            connection: None,
            is_accepted: false,
            tasks: BTreeMap::new(),
            updates: Vec::new(),
            unsent: VecDeque::new(),
            is_calling: false,
            inbox: Timestamp::ZERO,
            is_ending: false,
        }
    }

    /// What it and its living tasks hold.
    pub(crate) fn used(&self) -> Resources {
        let mut used = self.own.clone();
        for run in self.tasks.values().filter(|run| run.is_alive()) {
            used += &run.resources;
        }
        used
    }

    fn call(&self, kind: call::Type) -> executor::Call {
        executor::Call {
            executor_id: self.id.clone(),
            framework_id: self.framework.clone(),
            r#type: Some(kind),
            ..Default::default()
        }
    }
}

fn update(status: TaskStatus) -> call::Update {
    call::Update { status, ..Default::default() }
}

impl World {
    fn executor(&mut self, agent: usize, container: &ContainerId) -> Option<&mut Executor> {
        let container = self.agents[agent].containers.get_mut(container)?;
        container.runs().then_some(&mut container.executor)
    }

    pub(crate) fn executor_dials(&mut self, agent: usize, container: &ContainerId) {
        let connection = ConnectionId(self.name());
        let is_up = self.agents[agent].core.is_some();
        let Some(executor) = self.executor(agent, container) else { return };
        if executor.connection.is_some() {
            return;
        }
        if !is_up {
            self.redial(agent, container);
            return;
        }
        executor.connection = Some(connection);
        executor.is_accepted = false;
        executor.is_calling = false;
        executor.unsent.clear();
        let mut call = executor.call(call::Type::Subscribe);
        let unconfirmed = executor.tasks.values().filter(|run| !run.is_confirmed);
        call.subscribe = Some(call::Subscribe {
            unacknowledged_tasks: unconfirmed.map(|run| run.info.clone()).collect(),
            unacknowledged_updates: executor.updates.iter().cloned().map(update).collect(),
            ..Default::default()
        });
        self.agents[agent].streams.insert(connection, container.clone());
        self.feed_agent(agent, Event::ExecutorSubscribe { connection, call: Box::new(call) });
    }

    fn redial(&mut self, agent: usize, container: &ContainerId) {
        self.plan(50, 1_200, Happening::ExecutorDial { agent, container: container.clone() });
    }

    /// The executor's end of a stream breaks.
    pub(crate) fn break_executor(&mut self, agent: usize, container: &ContainerId) {
        let Some(executor) = self.executor(agent, container) else { return };
        if let Some(connection) = executor.connection.take() {
            self.close_executor_stream(agent, connection);
            self.redial(agent, container);
        }
    }

    pub(crate) fn close_executor_stream(&mut self, agent: usize, connection: ConnectionId) {
        self.agents[agent].streams.remove(&connection);
        let life = self.agents[agent].life;
        let connection = connection.0;
        self.plan(0, 500, Happening::ExecutorGone { agent, life, connection });
    }

    pub(crate) fn send_to_executor(
        &mut self,
        agent: usize,
        connection: ConnectionId,
        event: ExecutorEvent,
    ) {
        let Some(container) = self.agents[agent].streams.get(&connection).cloned() else { return };
        let delay = self.random.millis(0, 3);
        let now = self.now;
        let Some(executor) = self.executor(agent, &container) else { return };
        executor.inbox = executor.inbox.max(now + delay);
        let at = executor.inbox;
        let connection = connection.0;
        let happening = Happening::AtExecutor { agent, container, connection, event };
        self.schedule.add(at, happening);
    }

    pub(crate) fn at_executor(
        &mut self,
        agent: usize,
        container: &ContainerId,
        connection: u64,
        event: ExecutorEvent,
    ) {
        let Some(executor) = self.executor(agent, container) else { return };
        if executor.connection != Some(ConnectionId(connection)) {
            return;
        }
        match event {
            ExecutorEvent::Accepted => {
                executor.is_accepted = true;
                self.pump(agent, container);
            }
            ExecutorEvent::Refused => {
                executor.connection = None;
                self.redial(agent, container);
            }
            ExecutorEvent::Closed => {
                executor.connection = None;
                if executor.is_ending {
                    self.plan_exit(agent, container, 0, 500);
                } else {
                    self.redial(agent, container);
                }
            }
            ExecutorEvent::Event(event) => self.executor_event(agent, container, &event),
        }
    }

    fn executor_event(&mut self, agent: usize, container: &ContainerId, event: &executor::Event) {
        if let Some(subscribed) = &event.subscribed {
            let Some(executor) = self.executor(agent, container) else { return };
            if !executor.is_command {
                let own = &subscribed.executor_info.resources;
                executor.own = Resources::from_wire(own).unwrap_or_default().unallocated();
            }
            self.check_agent(agent);
        } else if let Some(launch) = &event.launch {
            self.launch_task(agent, container, &launch.task);
        } else if let Some(acknowledged) = &event.acknowledged {
            self.update_confirmed(agent, container, acknowledged);
        } else if let Some(kill) = &event.kill {
            self.kill_task(agent, container, &kill.task_id);
        } else if event.r#type == Some(event::Type::Shutdown) {
            self.shut_down_executor(agent, container);
        }
    }

    fn launch_task(&mut self, agent: usize, container: &ContainerId, info: &TaskInfo) {
        let resources = Resources::from_wire(&info.resources).unwrap_or_default().unallocated();
        let starts = self.random.chance(700);
        let Some(executor) = self.executor(agent, container) else { return };
        let run = Run {
            info: info.clone(),
            resources,
            state: TaskState::TaskStaging,
            is_confirmed: false,
            is_killed: false,
            generation: 0,
        };
        if executor.tasks.insert(info.task_id.clone(), run).is_some() {
            self.violate(format!("task {} is launched twice", info.task_id.value));
            return;
        }
        self.check_run(agent, &info.task_id);
        self.check_agent(agent);
        if starts {
            self.report(agent, container, &info.task_id, TaskState::TaskStarting);
        }
        self.plan_task(agent, container, &info.task_id, 1, 200);
    }

    fn plan_task(
        &mut self,
        agent: usize,
        container: &ContainerId,
        task: &TaskId,
        low: u64,
        high: u64,
    ) {
        let Some(executor) = self.executor(agent, container) else { return };
        let Some(run) = executor.tasks.get_mut(task) else { return };
        run.generation += 1;
        let (task, generation) = (task.clone(), run.generation);
        let container = container.clone();
        self.plan(low, high, Happening::TaskStep { agent, container, task, generation });
    }

    pub(crate) fn task_steps(
        &mut self,
        agent: usize,
        container: &ContainerId,
        task: &TaskId,
        generation: u32,
    ) {
        let (is_endless, fails) = (self.random.chance(100), self.random.chance(150));
        let high = if self.random.chance(500) { 1_000 } else { 40_000 };
        let Some(executor) = self.executor(agent, container) else { return };
        let Some(run) = executor.tasks.get(task) else { return };
        if run.generation != generation || !run.is_alive() {
            return;
        }
        if run.is_killed {
            self.report(agent, container, task, TaskState::TaskKilled);
        } else if run.state == TaskState::TaskRunning {
            let state = if fails { TaskState::TaskFailed } else { TaskState::TaskFinished };
            self.report(agent, container, task, state);
        } else {
            self.report(agent, container, task, TaskState::TaskRunning);
            if !is_endless {
                self.plan_task(agent, container, task, 1, high);
            }
        }
    }

    fn kill_task(&mut self, agent: usize, container: &ContainerId, task: &TaskId) {
        let says_so = self.random.chance(400);
        let Some(executor) = self.executor(agent, container) else { return };
        let Some(run) = executor.tasks.get_mut(task) else { return };
        if run.is_killed || !run.is_alive() {
            return;
        }
        run.is_killed = true;
        if says_so {
            self.report(agent, container, task, TaskState::TaskKilling);
        }
        self.plan_task(agent, container, task, 0, 1_500);
    }

    fn shut_down_executor(&mut self, agent: usize, container: &ContainerId) {
        let Some(executor) = self.executor(agent, container) else { return };
        executor.is_ending = true;
        let alive: Vec<TaskId> = executor
            .tasks
            .iter()
            .filter(|(_, run)| run.is_alive())
            .map(|(task, _)| task.clone())
            .collect();
        for task in alive {
            self.report(agent, container, &task, TaskState::TaskKilled);
        }
        self.plan_exit(agent, container, 0, 4_000);
    }

    fn plan_exit(&mut self, agent: usize, container: &ContainerId, low: u64, high: u64) {
        let container = container.clone();
        self.plan(low, high, Happening::ExecutorExit { agent, container });
    }

    /// Makes an update and sends it as soon as it is its turn.
    fn report(&mut self, agent: usize, container: &ContainerId, task: &TaskId, state: TaskState) {
        let uuid = self.random.uuid();
        let now = self.now;
        let Some(executor) = self.executor(agent, container) else { return };
        let id = executor.id.clone();
        let Some(run) = executor.tasks.get_mut(task) else { return };
        run.state = state;
        executor.updates.push(TaskStatus {
            task_id: task.clone(),
            state,
            source: Some(task_status::Source::SourceExecutor),
            executor_id: Some(id),
            timestamp: Some(now.as_secs_f64()),
            uuid: Some(uuid.clone()),
            ..Default::default()
        });
        executor.unsent.push_back(uuid.clone());
        self.ledger.update_made(task, &uuid);
        self.pump(agent, container);
    }

    /// Sends the next update, if the one before was taken.
    fn pump(&mut self, agent: usize, container: &ContainerId) {
        let Some(executor) = self.executor(agent, container) else { return };
        if executor.connection.is_none() || !executor.is_accepted || executor.is_calling {
            return;
        }
        let Some(uuid) = executor.unsent.front() else { return };
        let status = executor.updates.iter().find(|status| status.uuid.as_ref() == Some(uuid));
        let Some(status) = status.cloned() else {
            executor.unsent.pop_front();
            self.pump(agent, container);
            return;
        };
        executor.is_calling = true;
        let mut call = executor.call(call::Type::Update);
        call.update = Some(Box::new(update(status)));
        let life = self.agents[agent].life;
        let container = container.clone();
        let call = Box::new(call);
        self.plan(0, 3, Happening::ExecutorCall { agent, life, container, call });
    }

    pub(crate) fn executor_calls(
        &mut self,
        agent: usize,
        life: u32,
        container: ContainerId,
        call: Box<executor::Call>,
    ) {
        if self.agents[agent].life != life {
            return;
        }
        let request = RequestId(self.name());
        let uuid = call.update.as_ref().and_then(|update| update.status.uuid.clone());
        self.agents[agent].requests.insert(request, (container, uuid.unwrap_or_default()));
        self.feed_agent(agent, Event::ExecutorCall { request, call });
    }

    pub(crate) fn agent_responds(&mut self, agent: usize, request: RequestId, response: &Response) {
        let Some((container, uuid)) = self.agents[agent].requests.remove(&request) else {
            self.violate(format!("agent {agent} answers a request twice"));
            return;
        };
        let Some(executor) = self.executor(agent, &container) else { return };
        if response.status == Status::Accepted {
            executor.is_calling = false;
            if executor.unsent.front() == Some(&uuid) {
                executor.unsent.pop_front();
            }
            self.pump(agent, &container);
        } else {
            self.plan(500, 1_000, Happening::ExecutorRetry { agent, container, uuid });
        }
    }

    pub(crate) fn executor_retries(&mut self, agent: usize, container: &ContainerId, uuid: &[u8]) {
        let Some(executor) = self.executor(agent, container) else { return };
        if executor.unsent.front().is_some_and(|front| front == uuid) {
            executor.is_calling = false;
            self.pump(agent, container);
        }
    }

    fn update_confirmed(
        &mut self,
        agent: usize,
        container: &ContainerId,
        acknowledged: &event::Acknowledged,
    ) {
        let Some(executor) = self.executor(agent, container) else { return };
        executor.updates.retain(|status| status.uuid.as_ref() != Some(&acknowledged.uuid));
        if let Some(run) = executor.tasks.get_mut(&acknowledged.task_id) {
            run.is_confirmed = true;
        }
        let is_over = executor.tasks.values().all(|run| !run.is_alive());
        if executor.is_command && is_over && executor.updates.is_empty() && !executor.is_ending {
            executor.is_ending = true;
            self.plan_exit(agent, container, 0, 1_000);
        }
    }

    /// Invariant 5: what an agent calls safe is on disk.
    pub(crate) fn check_sent_to_executor(&mut self, agent: usize, event: &executor::Event) {
        let Some(acknowledged) = &event.acknowledged else { return };
        let uuid = &acknowledged.uuid;
        if !self.ledger.durable.contains(uuid) {
            let task = &acknowledged.task_id.value;
            self.violate(format!(
                "invariant 5: agent {agent} calls an update of {task} safe before it is on disk"
            ));
        }
        self.ledger.safe.insert(uuid.clone());
    }

    /// The living tasks on an agent, with their framework and state.
    pub(crate) fn living_tasks(&self, agent: usize) -> Vec<(&FrameworkId, &TaskId, TaskState)> {
        let containers = self.agents[agent].containers.values().filter(|each| each.runs());
        let mut tasks = Vec::new();
        for container in containers {
            let executor = &container.executor;
            let alive = executor.tasks.iter().filter(|(_, run)| run.is_alive());
            tasks.extend(alive.map(|(task, run)| (&executor.framework, task, run.state)));
        }
        tasks
    }
}

/// The task's executor, as frameworks describe their own.
pub(crate) fn custom_executor(index: u64) -> mesos::ExecutorInfo {
    mesos::ExecutorInfo {
        executor_id: ExecutorId { value: format!("executor-{index}"), ..Default::default() },
        command: Some(mesos::CommandInfo {
            value: Some("./executor".to_owned()),
            ..Default::default()
        }),
        resources: vec![
            crate::world::scheduler::scalar("cpus", 100),
            crate::world::scheduler::scalar("mem", 32_000),
        ],
        ..Default::default()
    }
}
