//! Containers: a process that starts late, may fail to start, and outlives the agent's process.

use agent::Event;
use agent::effect::ContainerLaunch;
use agent::event::ContainerTermination;
use protocol::mesos::{ContainerId, ContainerStatus, ExecutorId, FrameworkId};
use resources::Resources;

use crate::happening::Happening;
use crate::world::World;
use crate::world::agent_host::COMMAND_EXECUTOR;
use crate::world::executor::Executor;

/// Where a container is in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum State {
    /// Being prepared.
    Starting,
    /// Its processes run.
    Running,
    /// Its processes are gone, with this wait status, and its agent does not know.
    Ended(i32),
}

/// A container.
#[derive(Debug)]
pub(crate) struct Container {
    pub(crate) state: State,
    /// Destroyed before it ran.
    doomed: bool,
    pid_checkpoint: Option<String>,
    pub(crate) executor: Executor,
}

impl Container {
    pub(crate) fn is_starting(&self) -> bool {
        self.state == State::Starting
    }

    pub(crate) fn runs(&self) -> bool {
        self.state == State::Running
    }
}

impl World {
    pub(crate) fn launch_container(&mut self, agent: usize, launch: ContainerLaunch) {
        let life = self.agents[agent].life;
        let variable = |name: &str| launch.environment.get(name).cloned().unwrap_or_default();
        let framework = FrameworkId { value: variable("MESOS_FRAMEWORK_ID"), ..Default::default() };
        let id = ExecutorId { value: variable("MESOS_EXECUTOR_ID"), ..Default::default() };
        let is_command = launch.command.value.as_deref() == Some(COMMAND_EXECUTOR);
        let container = Container {
            state: State::Starting,
            doomed: false,
            pid_checkpoint: launch.pid_checkpoint,
            executor: Executor::new(framework, id, is_command),
        };
        let container_id = launch.container;
        if self.agents[agent].containers.insert(container_id.clone(), container).is_some() {
            let name = &container_id.value;
            self.violate(format!("agent {agent} launches container {name} twice"));
        }
        let forked = Happening::ContainerForked { agent, life, container: container_id };
        self.plan(5, 1_500, forked);
    }

    pub(crate) fn container_forked(&mut self, agent: usize, life: u32, id: &ContainerId) {
        if self.agents[agent].life != life {
            return;
        }
        let fails = !self.healing && self.options.faults && self.random.chance(20);
        let pid = self.name();
        let host = &mut self.agents[agent];
        let Some(container) = host.containers.get_mut(id) else { return };
        if container.doomed || fails {
            let was_doomed = container.doomed;
            host.containers.remove(id);
            let event = if was_doomed {
                Event::ContainerExited {
                    container: id.clone(),
                    termination: ContainerTermination { status: Some(9), ..Default::default() },
                }
            } else {
                self.statistics.fault("container launch failed");
                Event::ContainerLaunchFailed {
                    container: id.clone(),
                    message: "simulated".to_owned(),
                    reason: None,
                }
            };
            self.feed_agent(agent, event);
            return;
        }
        container.state = State::Running;
        if let Some(path) = container.pid_checkpoint.clone() {
            self.write_file(agent, path, pid.to_string().into_bytes());
        }
        let status = Box::new(ContainerStatus::default());
        let dial = Happening::ExecutorDial { agent, container: id.clone() };
        self.plan(1, 500, dial);
        self.check_agent(agent);
        self.feed_agent(agent, Event::ContainerLaunched { container: id.clone(), status });
    }

    /// All processes of a container end with this wait status.
    pub(crate) fn end_container(&mut self, agent: usize, id: &ContainerId, status: i32) {
        let is_up = self.agents[agent].core.is_some();
        let host = &mut self.agents[agent];
        let termination = |status| ContainerTermination { status, ..Default::default() };
        let Some(container) = host.containers.get_mut(id) else {
            // Somebody destroys what is not there: that is answered too.
            let event =
                Event::ContainerExited { container: id.clone(), termination: termination(None) };
            self.feed_agent(agent, event);
            return;
        };
        match container.state {
            State::Starting => container.doomed = true,
            State::Ended(_) => {}
            State::Running => {
                let connection = container.executor.connection.take();
                container.state = State::Ended(status);
                if !is_up {
                    return;
                }
                host.containers.remove(id);
                if let Some(connection) = connection {
                    self.close_executor_stream(agent, connection);
                }
                let termination = termination(Some(status));
                let event = Event::ContainerExited { container: id.clone(), termination };
                self.feed_agent(agent, event);
            }
        }
    }

    /// Tells a restarted agent what lives, and kills what it does not know.
    pub(crate) fn containers_found(&mut self, agent: usize, life: u32, named: &[ContainerId]) {
        if self.agents[agent].life != life {
            return;
        }
        let host = &mut self.agents[agent];
        let mut alive = Vec::new();
        let mut ended = Vec::new();
        for id in named {
            match host.containers.get(id).map(|container| container.state) {
                Some(State::Running) => alive.push((id.clone(), ContainerStatus::default())),
                Some(State::Ended(status)) => ended.push((id.clone(), Some(status))),
                Some(State::Starting) | None => ended.push((id.clone(), None)),
            }
        }
        host.containers.retain(|id, container| container.runs() && named.contains(id));
        self.feed_agent(agent, Event::ContainersRecovered { alive });
        for (container, status) in ended {
            let termination = ContainerTermination { status, ..Default::default() };
            self.feed_agent_of(agent, life, Event::ContainerExited { container, termination });
        }
    }

    /// What the processes on an agent really use, tasks of removed frameworks and the overhead of
    /// command executors left out.
    pub(crate) fn really_used(&self, agent: usize) -> Resources {
        let mut used = Resources::new();
        for container in self.agents[agent].containers.values() {
            let executor = &container.executor;
            if container.runs() && self.is_live(&executor.framework) {
                used += &executor.used();
            }
        }
        used
    }
}
