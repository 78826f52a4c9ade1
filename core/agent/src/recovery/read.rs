//! Reading a checkpoint tree (`src/slave/state.cpp` in Mesos).
//!
//! Absent pieces are normal, since the agent may have died between any two writes; they make the thing
//! they belong to absent. Damaged pieces are errors in strict mode, and make the thing absent
//! otherwise.

use std::collections::BTreeSet;

use protocol::checkpoint::ResourceState as ResourceStateRecord;
use protocol::internal::{StatusUpdate, StatusUpdateRecord, status_update_record};
use protocol::pid::Pid;
use protocol::time::Timestamp;
use protocol::{Message, mesos};
use resources::Resources;

use super::RecoveryError;
use crate::checkpoint::{self, Change, ExecutorPath, RunPath, Tree, records};

/// A framework as found.
#[derive(Clone, Debug)]
pub struct RecoveredFramework {
    /// What the master said about it.
    pub info: mesos::FrameworkInfo,
    /// Its id.
    pub id: mesos::FrameworkId,
    /// The scheduler driver's address.
    pub pid: Option<Pid>,
    /// Its executors.
    pub executors: Vec<RecoveredExecutor>,
}

/// An executor as found.
#[derive(Clone, Debug)]
pub struct RecoveredExecutor {
    /// What was launched.
    pub info: mesos::ExecutorInfo,
    /// Whether the agent made it for a command task.
    pub is_command_executor: bool,
    /// Its last run.
    pub run: RecoveredRun,
}

/// The last run of an executor as found.
#[derive(Clone, Debug)]
pub struct RecoveredRun {
    /// The container.
    pub container: mesos::ContainerId,
    /// Whether it is over and accounted for.
    pub completed: bool,
    /// When its directory was last changed.
    pub modified: Timestamp,
    /// The pid of the container's first process, unless the host was rebooted since.
    pub pid: Option<u32>,
    /// Its tasks.
    pub tasks: Vec<RecoveredTask>,
}

/// A task as found.
#[derive(Clone, Debug)]
pub struct RecoveredTask {
    /// The record made at its launch.
    pub record: mesos::Task,
    /// Every update, in order.
    pub updates: Vec<StatusUpdate>,
    /// The uuids of acknowledged updates.
    pub acknowledgements: BTreeSet<Vec<u8>>,
}

/// Something on disk that is of no use any more.
#[derive(Clone, Debug)]
pub struct Leftover {
    /// Relative to the meta directory, and likewise below the work directory.
    pub directory: String,
    /// When it was last changed.
    pub modified: Timestamp,
}

/// Walks one tree.
pub(super) struct Reader<'a> {
    pub(super) tree: &'a Tree,
    pub(super) agent: mesos::AgentId,
    pub(super) strict: bool,
    pub(super) rebooted: bool,
    pub(super) warnings: Vec<String>,
    /// What has to be mended before anything is appended.
    pub(super) repairs: Vec<Change>,
    pub(super) leftovers: Vec<Leftover>,
}

impl Reader<'_> {
    /// The single record of a file, if there is a sound one.
    pub(super) fn message<M: Message>(&mut self, path: &str) -> Result<Option<M>, RecoveryError> {
        let Some(content) = self.tree.file(path) else { return Ok(None) };
        match records::decode(content) {
            Ok(message) => Ok(message),
            Err(source) if self.strict => {
                Err(RecoveryError::Damaged { path: path.to_owned(), source })
            }
            Err(error) => {
                self.warnings.push(format!("{path} {error}"));
                Ok(None)
            }
        }
    }

    fn text(&self, path: &str) -> Option<&str> {
        let text = std::str::from_utf8(self.tree.file(path)?).ok()?.trim();
        (!text.is_empty()).then_some(text)
    }

    fn leftover(&mut self, directory: String) {
        let modified = self.modified(&directory);
        self.leftovers.push(Leftover { directory, modified });
    }

    fn modified(&self, path: &str) -> Timestamp {
        self.tree.entries.get(path).map_or(Timestamp::ZERO, |entry| entry.modified)
    }

    pub(super) fn frameworks(&mut self) -> Result<Vec<RecoveredFramework>, RecoveryError> {
        let directory = format!("{}/frameworks", checkpoint::agent_directory(&self.agent));
        let mut frameworks = Vec::new();
        for name in self.tree.names(&directory) {
            let id = mesos::FrameworkId { value: name.to_owned(), ..Default::default() };
            match self.framework(&id)? {
                Some(framework) => frameworks.push(framework),
                None => self.leftover(checkpoint::framework_directory(&self.agent, &id)),
            }
        }
        Ok(frameworks)
    }

    fn framework(
        &mut self,
        id: &mesos::FrameworkId,
    ) -> Result<Option<RecoveredFramework>, RecoveryError> {
        let path = checkpoint::framework_info(&self.agent, id);
        let Some(mut info) = self.message::<mesos::FrameworkInfo>(&path)? else { return Ok(None) };
        info.id.get_or_insert_with(|| id.clone());
        let path = checkpoint::framework_pid(&self.agent, id);
        let Some(pid) = self.text(&path).and_then(|text| text.parse::<Pid>().ok()) else {
            return Ok(None);
        };
        let pid = Some(pid).filter(|pid| !pid.is_empty());
        let directory = checkpoint::framework_directory(&self.agent, id);
        let mut executors = Vec::new();
        for name in self.tree.names(&format!("{directory}/executors")) {
            let path = ExecutorPath {
                agent: self.agent.clone(),
                framework: id.clone(),
                executor: mesos::ExecutorId { value: name.to_owned(), ..Default::default() },
            };
            match self.executor(&path)? {
                Some(executor) => executors.push(executor),
                None => self.leftover(path.directory()),
            }
        }
        Ok(Some(RecoveredFramework { info, id: id.clone(), pid, executors }))
    }

    fn executor(
        &mut self,
        path: &ExecutorPath,
    ) -> Result<Option<RecoveredExecutor>, RecoveryError> {
        let Some(latest) = self.tree.link_name(&path.latest_run()) else { return Ok(None) };
        let Some(info) = self.message::<mesos::ExecutorInfo>(&path.info())? else {
            return Ok(None);
        };
        let runs = format!("{}/runs", path.directory());
        let names = self.tree.names(&runs);
        if !names.contains(&latest) {
            return Ok(None);
        }
        for name in names.into_iter().filter(|name| *name != latest) {
            self.leftover(format!("{runs}/{name}"));
        }
        let is_command_executor = match self.text(&path.generated_for_command_task()) {
            Some(text) => text == "1",
            // Written by agents that did not say.
            None => info.name.as_deref().is_some_and(|name| name.starts_with("Command Executor")),
        };
        let container = mesos::ContainerId { value: latest.to_owned(), ..Default::default() };
        let run = self.run(&path.run(&container), container)?;
        Ok(Some(RecoveredExecutor { info, is_command_executor, run }))
    }

    fn run(
        &mut self,
        path: &RunPath,
        container: mesos::ContainerId,
    ) -> Result<RecoveredRun, RecoveryError> {
        let completed = self.tree.entries.contains_key(&path.sentinel());
        let forked_pid = path.forked_pid();
        let mut pid = self.text(&forked_pid).and_then(|text| text.parse().ok());
        if self.rebooted && pid.take().is_some() {
            // The number may belong to anybody now, also in a restart without a reboot.
            self.repairs.push(Change::Remove { path: forked_pid });
        }
        let mut tasks = Vec::new();
        for name in self.tree.names(&format!("{}/tasks", path.directory)) {
            let id = mesos::TaskId { value: name.to_owned(), ..Default::default() };
            if let Some(record) = self.message::<mesos::Task>(&path.task_info(&id))? {
                tasks.push(self.task(path, &id, record)?);
            }
        }
        let modified = self.modified(&path.directory);
        Ok(RecoveredRun { container, completed, modified, pid, tasks })
    }

    fn task(
        &mut self,
        run: &RunPath,
        id: &mesos::TaskId,
        record: mesos::Task,
    ) -> Result<RecoveredTask, RecoveryError> {
        let path = run.task_updates(id);
        let content = self.tree.file(&path).unwrap_or_default();
        let sequence = records::decode_sequence::<StatusUpdateRecord>(content);
        if let Some(error) = sequence.error {
            // A torn end is what a crash while appending leaves; nobody was told of that record.
            let is_torn = matches!(error, records::RecordError::Torn { .. });
            if self.strict && !is_torn {
                return Err(RecoveryError::Damaged { path, source: error });
            }
            self.warnings.push(format!("{path} {error}: cut off there"));
            let content = content[..sequence.valid_bytes].to_vec();
            self.repairs.push(Change::Write { path, content });
        }
        let mut updates = Vec::new();
        let mut acknowledgements = BTreeSet::new();
        for record in sequence.messages {
            match record.r#type {
                status_update_record::Type::Update => {
                    updates.extend(record.update.map(|update| *update));
                }
                status_update_record::Type::Ack => acknowledgements.extend(record.uuid),
            }
        }
        Ok(RecoveredTask { record, updates, acknowledgements })
    }

    /// Reservations, volumes and operations: what is meant to be, and what was before if the agent
    /// died on the way there.
    pub(super) fn resources(&mut self) -> Result<ResourcesFound, RecoveryError> {
        let state_path = checkpoint::RESOURCES_AND_OPERATIONS;
        let target_path = checkpoint::RESOURCES_AND_OPERATIONS_TARGET;
        let target = self.message::<ResourceStateRecord>(target_path)?;
        let state = self.message::<ResourceStateRecord>(state_path)?;
        let operations = target.as_ref().or(state.as_ref()).map(|state| state.operations.clone());
        let committed = match &state {
            Some(state) => state.resources.clone(),
            None => self.resource_list(checkpoint::RESOURCES_INFO)?.unwrap_or_default(),
        };
        let target = match target {
            Some(target) => Some(target.resources),
            // An agent that crashed before it ever wrote the newer form.
            None if state.is_none() => self.resource_list(checkpoint::RESOURCES_TARGET)?,
            None => None,
        };
        Ok(ResourcesFound {
            committed: read_resources(state_path, &committed)?,
            target: target.map(|target| read_resources(target_path, &target)).transpose()?,
            operations: operations.unwrap_or_default(),
        })
    }

    fn resource_list(&mut self, path: &str) -> Result<Option<Vec<mesos::Resource>>, RecoveryError> {
        let Some(content) = self.tree.file(path) else { return Ok(None) };
        let sequence = records::decode_sequence::<mesos::Resource>(content);
        match sequence.error {
            Some(source) if self.strict => {
                return Err(RecoveryError::Damaged { path: path.to_owned(), source });
            }
            Some(error) => self.warnings.push(format!("{path} {error}")),
            None => {}
        }
        Ok(Some(sequence.messages))
    }
}

/// What was found of reservations, volumes and operations.
pub(super) struct ResourcesFound {
    pub(super) committed: Resources,
    pub(super) target: Option<Resources>,
    pub(super) operations: Vec<mesos::Operation>,
}

fn read_resources(path: &str, wire: &[mesos::Resource]) -> Result<Resources, RecoveryError> {
    Resources::from_wire(wire).map_err(|source| RecoveryError::InvalidResources {
        path: path.to_owned(),
        source: Box::new(source),
    })
}
