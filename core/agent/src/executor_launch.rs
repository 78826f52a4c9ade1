//! Starting an executor's container, and giving it its tasks.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use indexmap::IndexMap;
use protocol::time::Timestamp;
use protocol::{executor as executor_api, mesos};

use crate::agent::Agent;
use crate::checkpoint::{self, Change, ExecutorPath, RunPath};
use crate::command_executor;
use crate::config::Config;
use crate::effect::{ContainerLaunch, Effect};
use crate::environment::{self, ExecutorIdentity};
use crate::executor::{Executor, ExecutorKey, State};
use crate::launch::{Launch, Work, is_default_executor};
use crate::resource_state;
use crate::timers::Timer;

impl Agent {
    pub(crate) fn executor_path(&self, key: &ExecutorKey) -> ExecutorPath {
        ExecutorPath {
            agent: self.agent_id(),
            framework: key.framework.clone(),
            executor: key.executor.clone(),
        }
    }

    pub(crate) fn run_path(&self, executor: &Executor) -> RunPath {
        self.executor_path(&executor.key()).run(&executor.container)
    }

    /// Makes the executor, its sandbox and its container.
    pub(crate) fn start_executor(
        &mut self,
        now: Timestamp,
        id: &mesos::FrameworkId,
        launch: &Launch,
    ) {
        let container =
            mesos::ContainerId { value: self.uuids.next_uuid().to_string(), ..Default::default() };
        let Some(framework) = self.frameworks.get(id) else { return };
        let key =
            ExecutorKey { framework: id.clone(), executor: launch.executor.executor_id.clone() };
        let run = self.executor_path(&key).run(&container);
        let executor = Executor {
            info: Arc::new(launch.executor.clone()),
            framework: id.clone(),
            container: container.clone(),
            container_status: None,
            directory: format!("{}/{}", self.config.work_dir, run.directory),
            checkpoint: framework.checkpoints(),
            is_command_executor: launch.is_command_executor,
            state: State::Registering,
            connection: None,
            pending_termination: None,
            queued: IndexMap::new(),
            queued_groups: Vec::new(),
            launched: IndexMap::new(),
            terminated: IndexMap::new(),
            completed: VecDeque::new(),
            undelivered_kills: BTreeMap::new(),
            had_task: false,
        };
        let user = user_of(&self.config, &framework.info, &launch.executor);
        let container_launch = self.container_launch(launch, &executor, user.clone());
        self.checkpoint_executor(&executor);
        self.outbox.send(Effect::CreateSandbox {
            container: container.clone(),
            directory: executor.directory.clone(),
            user,
        });
        self.outbox.send(Effect::LaunchContainer(Box::new(container_launch)));
        let due = now + self.config.timing.executor_registration_timeout;
        self.timers.set(due, Timer::ExecutorRegistration { container: container.clone() });
        self.containers.insert(container, key.clone());
        if let Some(framework) = self.frameworks.get_mut(id) {
            framework.executors.insert(key.executor, executor);
        }
    }

    fn container_launch(
        &self,
        launch: &Launch,
        executor: &Executor,
        user: Option<String>,
    ) -> ContainerLaunch {
        let mut info = launch.executor.clone();
        if is_default_executor(&info) {
            info.command = Some(command_executor::program(&self.config.default_executor));
        }
        let agent = self.agent_id();
        let environment = environment::build(
            &self.config,
            &ExecutorIdentity {
                agent: &agent,
                framework: &executor.framework,
                executor: &info,
                directory: &executor.directory,
                checkpoint: executor.checkpoint,
            },
        );
        // The container starts with what its first tasks have, not with the executor's little.
        let mut resources = info.resources.clone();
        for task in launch.tasks() {
            resources = resource_state::sum(&resources, &task.resources);
        }
        let limits = limits(&info, launch.tasks());
        ContainerLaunch {
            container: executor.container.clone(),
            directory: executor.directory.clone(),
            command: info.command.unwrap_or_default(),
            environment,
            user,
            container_info: info.container.map(|container| *container),
            volumes: self.resources.volume_links(&self.config.work_dir, &resources),
            resources,
            limits,
            pid_checkpoint: executor.checkpoint.then(|| self.run_path(executor).forked_pid()),
        }
    }

    /// Writes what a restarted agent needs to know of the executor. The link to the run comes last:
    /// an executor without it counts as never started.
    fn checkpoint_executor(&mut self, executor: &Executor) {
        if !executor.checkpoint {
            return;
        }
        let path = self.executor_path(&executor.key());
        let run = path.run(&executor.container);
        let is_generated = if executor.is_command_executor { "1" } else { "0" };
        self.outbox.change(checkpoint::write_message(path.info(), &*executor.info));
        let generated = path.generated_for_command_task();
        self.outbox.change(checkpoint::write_text(generated, is_generated));
        self.outbox.change(Change::Directory { path: run.directory.clone() });
        self.outbox.change(Change::Link { path: path.latest_run(), target: run.directory });
    }

    /// Sets what the executor's container may use: the executor's own and that of living tasks.
    pub(crate) fn update_container(&mut self, key: &ExecutorKey) {
        let Some(executor) = self.executor(key) else { return };
        if matches!(executor.state, State::Registering | State::Terminated) {
            return;
        }
        let resources = resource_state::of_executor(executor);
        let effect = Effect::UpdateContainer {
            container: executor.container.clone(),
            volumes: self.resources.volume_links(&self.config.work_dir, &resources),
            resources,
            limits: limits_of_executor(executor),
        };
        self.outbox.send(effect);
    }

    /// Makes room for the queued tasks of a running executor and hands them over.
    pub(crate) fn deliver_after_update(&mut self, key: &ExecutorKey) {
        let Some(executor) = self.executor(key) else { return };
        if executor.state == State::Running && executor.connection.is_some() {
            self.update_container(key);
            self.deliver_queued(key);
        }
    }

    /// Hands all queued tasks to a connected executor. A disconnected one gets them when it comes
    /// back.
    pub(crate) fn deliver_queued(&mut self, key: &ExecutorKey) {
        let Some(executor) = self.executor_mut(key) else { return };
        let groups = std::mem::take(&mut executor.queued_groups);
        let tasks: Vec<Arc<mesos::TaskInfo>> =
            std::mem::take(&mut executor.queued).into_values().collect();
        for task in &tasks {
            executor.launch(task);
        }
        let is_in_group = |task: &mesos::TaskInfo| {
            groups.iter().flat_map(|group| &group.tasks).any(|other| other.task_id == task.task_id)
        };
        let mut events: Vec<executor_api::Event> = Vec::new();
        events
            .extend(tasks.iter().filter(|task| !is_in_group(task)).map(|task| launch_event(task)));
        events.extend(groups.iter().map(|group| launch_group_event(group)));
        for event in events {
            self.send_to_executor(key, event);
        }
    }

    /// Sends an event if the executor is connected.
    pub(crate) fn send_to_executor(&mut self, key: &ExecutorKey, event: executor_api::Event) {
        let executor = self.executor(key);
        let Some(connection) = executor.and_then(|executor| executor.connection.as_ref()) else {
            return;
        };
        let effect = Effect::SendToExecutor { connection: connection.id, event: Arc::new(event) };
        self.outbox.send(effect);
    }
}

/// Whom the executor's processes run as.
fn user_of(
    config: &Config,
    framework: &mesos::FrameworkInfo,
    executor: &mesos::ExecutorInfo,
) -> Option<String> {
    if !config.switch_user {
        return None;
    }
    let of_command = executor.command.as_ref().and_then(|command| command.user.clone());
    of_command.or_else(|| Some(framework.user.clone())).filter(|user| !user.is_empty())
}

fn launch_event(task: &mesos::TaskInfo) -> executor_api::Event {
    executor_api::Event {
        r#type: Some(executor_api::event::Type::Launch),
        launch: Some(
            executor_api::event::Launch { task: task.clone(), ..Default::default() }.into(),
        ),
        ..Default::default()
    }
}

fn launch_group_event(group: &mesos::TaskGroupInfo) -> executor_api::Event {
    executor_api::Event {
        r#type: Some(executor_api::event::Type::LaunchGroup),
        launch_group: Some(executor_api::event::LaunchGroup {
            task_group: group.clone(),
            ..Default::default()
        }),
        ..Default::default()
    }
}

/// What one task wants of a resource: its limit, if it names one, and its request.
struct Want<'a> {
    limits: &'a BTreeMap<String, mesos::value::Scalar>,
    resources: &'a [mesos::Resource],
}

fn limits<'a>(
    executor: &mesos::ExecutorInfo,
    tasks: impl Iterator<Item = &'a mesos::TaskInfo>,
) -> BTreeMap<String, mesos::value::Scalar> {
    let wants: Vec<Want<'_>> =
        tasks.map(|task| Want { limits: &task.limits, resources: &task.resources }).collect();
    limits_of(executor, &wants)
}

fn limits_of_executor(executor: &Executor) -> BTreeMap<String, mesos::value::Scalar> {
    let queued = executor
        .queued
        .values()
        .map(|task| Want { limits: &task.limits, resources: &task.resources });
    let launched = executor
        .launched
        .values()
        .map(|task| Want { limits: &task.limits, resources: &task.resources });
    let wants: Vec<Want<'_>> = queued.chain(launched).collect();
    limits_of(&executor.info, &wants)
}

/// The executor's limits: the sum of its tasks' limits, with the request of each that names none,
/// and the executor's own. Without any task limit there is none (`computeExecutorLimits`).
fn limits_of(
    executor: &mesos::ExecutorInfo,
    wants: &[Want<'_>],
) -> BTreeMap<String, mesos::value::Scalar> {
    let mut limits = BTreeMap::new();
    for name in ["cpus", "mem"] {
        if !wants.iter().any(|want| want.limits.contains_key(name)) {
            continue;
        }
        let of_tasks: f64 = wants
            .iter()
            .map(|want| match want.limits.get(name) {
                Some(limit) => limit.value,
                None => resource_state::scalar(want.resources, name),
            })
            .sum();
        let value = of_tasks + resource_state::scalar(&executor.resources, name);
        let scalar = mesos::value::Scalar { value, ..Default::default() };
        limits.insert(name.to_owned(), scalar);
    }
    limits
}

impl Work {
    /// Whether the work is a group.
    #[must_use]
    pub const fn is_group(&self) -> bool {
        matches!(self, Self::Group(_))
    }
}
