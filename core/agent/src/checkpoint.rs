//! What is written where, as paths and contents: no file is touched here.
//!
//! The layout and the formats are those of Apache Mesos (`src/slave/paths.hpp`, `src/slave/state.cpp`),
//! so that an upgrade in place finds its running tasks. All paths of [`Change`] and [`Tree`] are
//! relative to the meta directory, `<work_dir>/meta`. A crash may leave any prefix of the changes
//! (and, at the end, a torn append); [`crate::recovery::recover`] copes with each.

use std::collections::BTreeMap;

use protocol::time::Timestamp;
use protocol::{Message, mesos};

pub mod records;

/// One change on disk, nearly always below the meta directory. Parent directories are created as
/// needed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// Replace the file by this content, atomically (a temporary file beside it, then a rename).
    Write {
        /// The file.
        path: String,
        /// The whole content.
        content: Vec<u8>,
    },
    /// Add to the end of the file, which is created if absent.
    Append {
        /// The file.
        path: String,
        /// One record.
        content: Vec<u8>,
    },
    /// Replace the symbolic link, atomically. Mesos writes the target as an absolute path, so the
    /// shell puts the meta directory before it.
    Link {
        /// The link.
        path: String,
        /// What it points to, also relative to the meta directory.
        target: String,
    },
    /// Create the directory.
    Directory {
        /// The directory.
        path: String,
    },
    /// Remove the file, link or directory tree; it is no error if there is none.
    Remove {
        /// What.
        path: String,
    },
    /// Create the directory of a persistent volume with its parents; it may exist already.
    CreateVolume {
        /// Absolute, unlike the paths above.
        path: String,
    },
    /// Remove a persistent volume's content; it is no error if there is none.
    RemoveVolume {
        /// Absolute, unlike the paths above.
        path: String,
        /// Whether the directory itself stays, as a mount point must.
        keep_root: bool,
    },
}

/// What the shell found below the meta directory: everything below `resources/`, `boot_id`,
/// `slaves/latest` and the agent directory it points to; of other agents' directories only the
/// directory itself. Temporary files are left out.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tree {
    /// By path relative to the meta directory, without a leading slash.
    pub entries: BTreeMap<String, Entry>,
}

/// One directory entry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// What it is, and its content.
    pub kind: EntryKind,
    /// When it was last modified; sandboxes found at recovery are collected counting from here.
    pub modified: Timestamp,
}

/// What a directory entry is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum EntryKind {
    /// A directory.
    Directory,
    /// A symbolic link with its target as written (absolute, normally).
    Link(String),
    /// A file with its content.
    File(Vec<u8>),
}

impl Tree {
    /// The content of a file; `None` if there is none.
    #[must_use]
    pub fn file(&self, path: &str) -> Option<&[u8]> {
        match &self.entries.get(path)?.kind {
            EntryKind::File(content) => Some(content),
            EntryKind::Directory | EntryKind::Link(_) => None,
        }
    }

    /// The last component of a link's target; `None` if there is no such link.
    #[must_use]
    pub fn link_name(&self, path: &str) -> Option<&str> {
        match &self.entries.get(path)?.kind {
            EntryKind::Link(target) => target.rsplit('/').next().filter(|name| !name.is_empty()),
            EntryKind::Directory | EntryKind::File(_) => None,
        }
    }

    /// The names directly below a directory, links left out.
    #[must_use]
    pub fn names(&self, directory: &str) -> Vec<&str> {
        let prefix = format!("{directory}/");
        let mut names: Vec<&str> = Vec::new();
        for (path, entry) in self.entries.range(prefix.clone()..) {
            let Some(rest) = path.strip_prefix(&prefix) else { break };
            let name = rest.split('/').next().unwrap_or(rest);
            let is_link = name.len() == rest.len() && matches!(entry.kind, EntryKind::Link(_));
            if !name.is_empty() && !is_link && names.last() != Some(&name) {
                names.push(name);
            }
        }
        names.dedup();
        names
    }

    /// Applies one change as the shell does on disk. What simulators and tests need to have a disk
    /// of their own.
    pub fn apply(&mut self, now: Timestamp, change: &Change) {
        match change {
            Change::Write { path, content } => {
                self.put(now, path, EntryKind::File(content.clone()));
            }
            Change::Append { path, content } => {
                let mut whole = self.file(path).map(<[u8]>::to_vec).unwrap_or_default();
                whole.extend_from_slice(content);
                self.put(now, path, EntryKind::File(whole));
            }
            Change::Link { path, target } => self.put(now, path, EntryKind::Link(target.clone())),
            Change::Directory { path } => self.put(now, path, EntryKind::Directory),
            Change::Remove { path } => {
                let below = format!("{path}/");
                self.entries.retain(|other, _| other != path && !other.starts_with(&below));
            }
            // Volumes live outside the meta directory.
            Change::CreateVolume { .. } | Change::RemoveVolume { .. } => {}
        }
    }

    fn put(&mut self, now: Timestamp, path: &str, kind: EntryKind) {
        for (index, _) in path.match_indices('/') {
            self.entries
                .entry(path[..index].to_owned())
                .or_insert(Entry { kind: EntryKind::Directory, modified: now });
        }
        self.entries.insert(path.to_owned(), Entry { kind, modified: now });
    }
}

/// The kernel's boot id of the last run, as text.
pub const BOOT_ID: &str = "boot_id";
/// Dynamic reservations and persistent volumes: a sequence of `Resource` records.
pub const RESOURCES_INFO: &str = "resources/resources.info";
/// The same while it is being changed.
pub const RESOURCES_TARGET: &str = "resources/resources.target";
/// Resources and operations together: one `ResourceState` record.
pub const RESOURCES_AND_OPERATIONS: &str = "resources/resources_and_operations.state";
/// The same while it is being changed.
pub const RESOURCES_AND_OPERATIONS_TARGET: &str = "resources/resources_and_operations.target";
/// Link to the directory of the last agent id.
pub const LATEST_AGENT: &str = "slaves/latest";

/// The directory of an agent id.
#[must_use]
pub fn agent_directory(agent: &mesos::AgentId) -> String {
    format!("slaves/{}", agent.value)
}

/// One `AgentInfo` record.
#[must_use]
pub fn agent_info(agent: &mesos::AgentId) -> String {
    format!("{}/slave.info", agent_directory(agent))
}

/// One `DrainConfig` record, while the agent is draining.
#[must_use]
pub fn drain_config(agent: &mesos::AgentId) -> String {
    format!("{}/drain.config", agent_directory(agent))
}

/// The directory of a framework.
#[must_use]
pub fn framework_directory(agent: &mesos::AgentId, framework: &mesos::FrameworkId) -> String {
    format!("{}/frameworks/{}", agent_directory(agent), framework.value)
}

/// One `FrameworkInfo` record.
#[must_use]
pub fn framework_info(agent: &mesos::AgentId, framework: &mesos::FrameworkId) -> String {
    format!("{}/framework.info", framework_directory(agent, framework))
}

/// The scheduler driver's pid as text; `@0.0.0.0:0` for schedulers that speak HTTP.
#[must_use]
pub fn framework_pid(agent: &mesos::AgentId, framework: &mesos::FrameworkId) -> String {
    format!("{}/framework.pid", framework_directory(agent, framework))
}

/// Names one executor, alive or not.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ExecutorPath {
    /// The agent.
    pub agent: mesos::AgentId,
    /// The framework.
    pub framework: mesos::FrameworkId,
    /// The executor.
    pub executor: mesos::ExecutorId,
}

impl ExecutorPath {
    /// The directory: below the work directory for sandboxes, below meta for checkpoints.
    #[must_use]
    pub fn directory(&self) -> String {
        let framework = framework_directory(&self.agent, &self.framework);
        format!("{framework}/executors/{}", self.executor.value)
    }

    /// One `ExecutorInfo` record.
    #[must_use]
    pub fn info(&self) -> String {
        format!("{}/executor.info", self.directory())
    }

    /// `1` if the agent made the executor for a command task, else `0`.
    #[must_use]
    pub fn generated_for_command_task(&self) -> String {
        format!("{}/executor_generated_for_command_task", self.directory())
    }

    /// Link to the last run.
    #[must_use]
    pub fn latest_run(&self) -> String {
        format!("{}/runs/latest", self.directory())
    }

    /// The directory of one run: below the work directory the sandbox, below meta the checkpoints.
    #[must_use]
    pub fn run(&self, container: &mesos::ContainerId) -> RunPath {
        RunPath { directory: format!("{}/runs/{}", self.directory(), container.value) }
    }
}

/// Names one run of an executor.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct RunPath {
    /// The run's directory.
    pub directory: String,
}

impl RunPath {
    /// Present once the run is over and its tasks are accounted for.
    #[must_use]
    pub fn sentinel(&self) -> String {
        format!("{}/executor.sentinel", self.directory)
    }

    /// The pid of the container's first process, as text.
    #[must_use]
    pub fn forked_pid(&self) -> String {
        format!("{}/pids/forked.pid", self.directory)
    }

    /// The pid of an executor that speaks libprocess, as text.
    #[must_use]
    pub fn libprocess_pid(&self) -> String {
        format!("{}/pids/libprocess.pid", self.directory)
    }

    /// Empty; present if the executor speaks HTTP.
    #[must_use]
    pub fn http_marker(&self) -> String {
        format!("{}/http.marker", self.directory)
    }

    /// The directory of one task.
    #[must_use]
    pub fn task_directory(&self, task: &mesos::TaskId) -> String {
        format!("{}/tasks/{}", self.directory, task.value)
    }

    /// One `Task` record.
    #[must_use]
    pub fn task_info(&self, task: &mesos::TaskId) -> String {
        format!("{}/task.info", self.task_directory(task))
    }

    /// A sequence of `StatusUpdateRecord`s: updates and their acknowledgements.
    #[must_use]
    pub fn task_updates(&self, task: &mesos::TaskId) -> String {
        format!("{}/task.updates", self.task_directory(task))
    }
}

/// A change that writes one message as a record.
#[must_use]
pub fn write_message<M: Message>(path: String, message: &M) -> Change {
    Change::Write { path, content: records::encode(message) }
}

/// A change that appends one message as a record.
#[must_use]
pub fn append_message<M: Message>(path: String, message: &M) -> Change {
    Change::Append { path, content: records::encode(message) }
}

/// A change that writes plain text.
#[must_use]
pub fn write_text(path: String, text: &str) -> Change {
    Change::Write { path, content: text.as_bytes().to_vec() }
}
