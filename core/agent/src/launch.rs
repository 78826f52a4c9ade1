//! From a RunTaskMessage or RunTaskGroupMessage to tasks that wait for their executor
//! (`Slave::run` to `Slave::launchExecutor` in Mesos' `src/slave/slave.cpp`).

use std::sync::Arc;

use protocol::internal::{RunTaskGroupMessage, RunTaskMessage};
use protocol::mesos::{self, TaskState, executor_info, task_status};
use protocol::pid::Pid;
use protocol::time::Timestamp;

use crate::agent::Agent;
use crate::checkpoint;
use crate::command_executor;
use crate::effect::Severity;
use crate::executor::State;
use crate::framework::{self, Framework};
use crate::resource_state;
use crate::status::AgentStatus;
use crate::task;
use crate::view::{FrameworkView, Phase};

/// What the master wants run together.
#[derive(Clone, Debug, PartialEq)]
pub enum Work {
    /// One task.
    Task(Arc<mesos::TaskInfo>),
    /// Tasks that start together and end together.
    Group(Arc<mesos::TaskGroupInfo>),
}

/// One launch.
#[derive(Clone, Debug, PartialEq)]
pub struct Launch {
    /// What to run.
    pub work: Work,
    /// Who runs it.
    pub executor: mesos::ExecutorInfo,
    /// Whether the agent made that executor for this one task.
    pub is_command_executor: bool,
    /// Whether the master expects a new executor; old masters do not say.
    pub launch_executor: Option<bool>,
    /// The version of the agent's resources the master's decision was based on; one for the agent
    /// itself, others for its resource providers.
    pub resource_version: Option<Vec<u8>>,
    /// What is wrong with its resources, if anything.
    pub invalid: Option<String>,
}

/// Why a launch does not happen.
#[derive(Debug)]
struct Refusal {
    reason: task_status::Reason,
    message: String,
    /// Whether to tell the master that the executor it counts on does not exist.
    executor_exited: bool,
}

impl Launch {
    /// The tasks.
    pub fn tasks(&self) -> impl Iterator<Item = &mesos::TaskInfo> {
        match &self.work {
            Work::Task(task) => std::slice::from_ref(&**task).iter(),
            Work::Group(group) => group.tasks.iter(),
        }
    }

    /// Takes a task out; a launch without tasks is over.
    pub fn remove_task(&mut self, task: &mesos::TaskId) {
        let mut tasks: Vec<mesos::TaskInfo> = self.tasks().cloned().collect();
        tasks.retain(|info| info.task_id != *task);
        let group = mesos::TaskGroupInfo { tasks, ..Default::default() };
        self.work = Work::Group(Arc::new(group));
    }

    fn executor_id(&self) -> mesos::ExecutorId {
        self.executor.executor_id.clone()
    }
}

impl Agent {
    pub(crate) fn run_task(&mut self, now: Timestamp, message: RunTaskMessage) {
        let framework = message.framework;
        let mut task = message.task;
        let Some(id) = framework.id.clone() else {
            self.log(Severity::Error, "a task was ignored: its framework has no id");
            return;
        };
        if task.executor.is_some() == task.command.is_some() {
            let message = "a task was ignored: it needs either a command or an executor";
            self.log(Severity::Error, message);
            return;
        }
        let invalid = complete_task(&mut task, &framework).err();
        let is_command_executor = task.executor.is_none();
        let executor = match task.executor.as_deref() {
            Some(executor) => executor.clone(),
            None => command_executor::describe(&self.config, &framework, &id, &task),
        };
        let launch = Launch {
            work: Work::Task(Arc::new(task)),
            executor,
            is_command_executor,
            launch_executor: message.launch_executor,
            resource_version: own_version(&message.resource_version_uuids),
            invalid,
        };
        let pid = message.pid.and_then(|pid| pid.parse::<Pid>().ok()).filter(|pid| !pid.is_empty());
        self.run(now, framework, &id, pid, launch);
    }

    pub(crate) fn run_task_group(&mut self, now: Timestamp, message: RunTaskGroupMessage) {
        let framework = message.framework;
        let Some(id) = framework.id.clone() else {
            self.log(Severity::Error, "a task group was ignored: its framework has no id");
            return;
        };
        let mut group = message.task_group;
        let mut executor = message.executor;
        if group.tasks.is_empty() {
            self.log(Severity::Error, "a task group was ignored: it has no tasks");
            return;
        }
        let mut invalid = complete(&mut executor.resources, &framework).err();
        for task in &mut group.tasks {
            invalid = invalid.or(complete_task(task, &framework).err());
        }
        let launch = Launch {
            work: Work::Group(Arc::new(group)),
            executor,
            is_command_executor: false,
            launch_executor: message.launch_executor,
            resource_version: own_version(&message.resource_version_uuids),
            invalid,
        };
        self.run(now, framework, &id, None, launch);
    }

    fn run(
        &mut self,
        now: Timestamp,
        info: mesos::FrameworkInfo,
        id: &mesos::FrameworkId,
        pid: Option<Pid>,
        mut launch: Launch,
    ) {
        let agent = self.agent_id();
        if launch.tasks().any(|task| task.agent_id != agent) {
            self.log(Severity::Warning, "a launch was ignored: it is meant for another agent id");
            return;
        }
        if !matches!(self.phase, Phase::Disconnected | Phase::Running) {
            self.log(Severity::Warning, "a launch was ignored: the agent recovers or terminates");
            return;
        }
        if launch.executor.framework_id.is_none() {
            launch.executor.framework_id = Some(id.clone());
        }
        let known = self.frameworks.get(id);
        let is_here = |task: &mesos::TaskInfo| known.is_some_and(|it| it.has_task(&task.task_id));
        if launch.tasks().any(is_here) {
            // Reporting a failure would end the task that is here.
            self.log(Severity::Warning, "a launch was ignored: a task of it is here already");
            return;
        }
        if known.is_none() {
            self.add_framework(info, id.clone(), pid);
        }
        let key = launch.executor_id();
        let must_wait = self.reclaim_directories(id, &key);
        let Some(framework) = self.frameworks.get_mut(id) else { return };
        // Later launches for an executor may not overtake one that waits.
        let waits = framework.pending.iter().any(|other| other.executor.executor_id == key);
        if must_wait || waits {
            framework.pending.push(launch);
        } else {
            self.start(now, id, launch);
            self.remove_framework_if_idle(now, id);
        }
    }

    fn add_framework(
        &mut self,
        info: mesos::FrameworkInfo,
        id: mesos::FrameworkId,
        pid: Option<Pid>,
    ) {
        let mut framework = Framework::new(info, id.clone(), pid);
        let is_it = |other: &Arc<FrameworkView>| other.info.id.as_ref() == Some(&id);
        let completed = self.completed_frameworks.iter().position(is_it);
        if let Some(old) = completed.and_then(|index| self.completed_frameworks.remove(index)) {
            framework.completed_executors = old.completed_executors.iter().cloned().collect();
        }
        self.checkpoint_framework(&framework);
        self.frameworks.insert(id, framework);
    }

    /// Writes what a restarted agent needs to know of the framework.
    pub(crate) fn checkpoint_framework(&mut self, framework: &Framework) {
        if !framework.checkpoints() {
            return;
        }
        let agent = self.agent_id();
        let path = checkpoint::framework_info(&agent, &framework.id);
        self.outbox.change(checkpoint::write_message(path, &*framework.info));
        let pid = framework.pid.clone().unwrap_or(Pid::EMPTY);
        let path = checkpoint::framework_pid(&agent, &framework.id);
        self.outbox.change(checkpoint::write_text(path, &pid.to_string()));
    }

    /// Starts the launches that waited for a directory, in order.
    pub(crate) fn start_pending_launches(&mut self, now: Timestamp) {
        let ids: Vec<mesos::FrameworkId> = self.frameworks.keys().cloned().collect();
        for id in ids {
            let Some(framework) = self.frameworks.get_mut(&id) else { continue };
            let pending = std::mem::take(&mut framework.pending);
            for launch in pending {
                let must_wait = self.reclaim_directories(&id, &launch.executor_id());
                let Some(framework) = self.frameworks.get_mut(&id) else { break };
                let key = launch.executor_id();
                let waits = framework.pending.iter().any(|other| other.executor.executor_id == key);
                if must_wait || waits {
                    framework.pending.push(launch);
                } else {
                    self.start(now, &id, launch);
                }
            }
            self.remove_framework_if_idle(now, &id);
        }
    }

    /// The launch itself, or the reports of its refusal.
    fn start(&mut self, now: Timestamp, id: &mesos::FrameworkId, launch: Launch) {
        let Some(framework) = self.frameworks.get(id) else { return };
        if framework.state == framework::State::Terminating || self.phase == Phase::Terminating {
            // A framework that is gone cannot acknowledge; but the master counts its executors.
            if launch.launch_executor == Some(true) && self.phase != Phase::Terminating {
                self.send_exited_executor(id, &launch.executor.executor_id, None);
            }
            return;
        }
        if let Err(refusal) = self.check(now, id, &launch) {
            self.refuse(now, id, &launch, &refusal);
            return;
        }
        let key = launch.executor_id();
        let exists =
            self.frameworks.get(id).is_some_and(|framework| framework.executors.contains_key(&key));
        if !exists {
            self.start_executor(now, id, &launch);
        }
        self.enqueue(id, launch);
        if exists {
            self.deliver_after_update(&crate::executor::ExecutorKey {
                framework: id.clone(),
                executor: key,
            });
        }
    }

    fn check(
        &mut self,
        now: Timestamp,
        id: &mesos::FrameworkId,
        launch: &Launch,
    ) -> Result<(), Refusal> {
        let refusal = |reason, message: &str| {
            let executor_exited = launch.launch_executor == Some(true);
            Refusal { reason, message: message.to_owned(), executor_exited }
        };
        if let Some(error) = &launch.invalid {
            return Err(refusal(task_status::Reason::ReasonTaskInvalid, error));
        }
        if self.drain.is_some() {
            let message = "Task was received while agent was already draining";
            return Err(refusal(task_status::Reason::ReasonAgentDraining, message));
        }
        let is_outdated = launch
            .resource_version
            .as_deref()
            .is_some_and(|version| version != self.resources.version());
        if is_outdated {
            let message = "Task assumes outdated resource state";
            let mut refusal = refusal(task_status::Reason::ReasonInvalidOffers, message);
            // The registration that outdated the launch tells that there is no such executor. Saying it
            // once more could end the next executor of that id.
            let superseded = &self.registration.superseded_versions;
            if launch.resource_version.as_ref().is_some_and(|it| superseded.contains(it)) {
                refusal.executor_exited = false;
            }
            return Err(refusal);
        }
        let unknown = |resources: &[mesos::Resource]| !self.resources.knows_checkpointed(resources);
        if launch.tasks().any(|task| unknown(&task.resources)) {
            let message = "The checkpointed resources being used by the task or task group are \
                           unknown to the agent";
            return Err(refusal(task_status::Reason::ReasonResourcesUnknown, message));
        }
        if unknown(&launch.executor.resources) {
            let message =
                "The checkpointed resources being used by the executor are unknown to the agent";
            return Err(refusal(task_status::Reason::ReasonResourcesUnknown, message));
        }
        self.check_executor(now, id, launch)
    }

    /// Compares what the master believes of the executor with what there is.
    fn check_executor(
        &mut self,
        now: Timestamp,
        id: &mesos::FrameworkId,
        launch: &Launch,
    ) -> Result<(), Refusal> {
        let framework = self.frameworks.get(id);
        let executor = framework.and_then(|each| each.executors.get(&launch.executor.executor_id));
        let Some(executor) = executor else {
            if launch.launch_executor == Some(false) && !launch.is_command_executor {
                return Err(Refusal {
                    reason: task_status::Reason::ReasonExecutorTerminated,
                    message: "No executor is expected to launch and there is none running"
                        .to_owned(),
                    executor_exited: false,
                });
            }
            return Ok(());
        };
        let state = executor.state;
        if launch.is_command_executor {
            return Err(Refusal {
                reason: task_status::Reason::ReasonTaskInvalid,
                message: "Cannot reuse an already existing executor for a command task".to_owned(),
                executor_exited: false,
            });
        }
        if launch.launch_executor == Some(true) {
            let key = executor.key();
            if state != State::Terminated {
                // The master does not know of this executor: it may not linger.
                self.shut_down_executor(now, &key);
            }
            return Err(Refusal {
                reason: task_status::Reason::ReasonExecutorTerminated,
                message: "Master wants to launch executor, but one already exists".to_owned(),
                executor_exited: state == State::Terminated,
            });
        }
        let message = match state {
            State::Registering | State::Running => return Ok(()),
            State::Terminating => "Executor terminating",
            State::Terminated => "Executor terminated",
        };
        Err(Refusal {
            reason: task_status::Reason::ReasonExecutorTerminated,
            message: message.to_owned(),
            executor_exited: false,
        })
    }

    fn refuse(
        &mut self,
        now: Timestamp,
        id: &mesos::FrameworkId,
        launch: &Launch,
        refusal: &Refusal,
    ) {
        let is_aware = self.frameworks.get(id).is_some_and(Framework::is_partition_aware);
        let state = if is_aware { TaskState::TaskDropped } else { TaskState::TaskLost };
        for task in launch.tasks() {
            let status = AgentStatus {
                task: &task.task_id,
                executor: Some(&launch.executor.executor_id),
                state,
                reason: refusal.reason,
                message: &refusal.message,
            };
            // The task was never here: a task of the same id that is must not be touched.
            self.send_unrecorded_status(now, id, &status);
        }
        if refusal.executor_exited {
            self.send_exited_executor(id, &launch.executor.executor_id, None);
        }
    }

    fn enqueue(&mut self, id: &mesos::FrameworkId, launch: Launch) {
        let agent_tasks: Vec<mesos::TaskInfo> = launch.tasks().cloned().collect();
        let Some(framework) = self.frameworks.get(id) else { return };
        let Some(executor) = framework.executors.get(&launch.executor.executor_id) else { return };
        if executor.checkpoint {
            let run = self.run_path(executor);
            for task in &agent_tasks {
                let record = task::record(task, TaskState::TaskStaging, id);
                let path = run.task_info(&task.task_id);
                self.outbox.change(checkpoint::write_message(path, &record));
            }
        }
        let Some(framework) = self.frameworks.get_mut(id) else { return };
        let Some(executor) = framework.executors.get_mut(&launch.executor.executor_id) else {
            return;
        };
        match launch.work {
            Work::Task(task) => executor.enqueue(task),
            Work::Group(group) => executor.enqueue_group(group),
        }
    }
}

/// Whether the executor is the built-in one for task groups.
#[must_use]
pub fn is_default_executor(executor: &mesos::ExecutorInfo) -> bool {
    executor.r#type == Some(executor_info::Type::Default)
}

/// The version of the agent's own resources, among those of resource providers.
fn own_version(versions: &[protocol::internal::ResourceVersionUuid]) -> Option<Vec<u8>> {
    versions
        .iter()
        .find(|version| version.resource_provider_id.is_none())
        .map(|version| version.uuid.value.clone())
}

/// Rewrites resources in the present form, and says which role they are allocated to where an old
/// master did not.
fn complete(
    resources: &mut Vec<mesos::Resource>,
    framework: &mesos::FrameworkInfo,
) -> Result<(), String> {
    *resources = resource_state::upgraded(resources)?;
    let roles = framework::roles(framework);
    for resource in resources.iter_mut().filter(|it| it.allocation_info.is_none()) {
        let [role] = roles.as_slice() else {
            return Err(format!("resource {} is allocated to no role", resource.name));
        };
        resource.allocation_info = Some(mesos::resource::AllocationInfo {
            role: Some(role.clone()),
            ..Default::default()
        });
    }
    Ok(())
}

fn complete_task(
    task: &mut mesos::TaskInfo,
    framework: &mesos::FrameworkInfo,
) -> Result<(), String> {
    complete(&mut task.resources, framework)?;
    match task.executor.as_deref_mut() {
        Some(executor) => complete(&mut executor.resources, framework),
        None => Ok(()),
    }
}
