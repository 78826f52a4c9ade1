//! The posix launcher: containers as plain process trees, without namespaces or cgroups.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fmt;
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::process_table::{ProcessStat, ProcessTableError, SharedTable, environment_variable};
use crate::spawn::{Output, Program, SpawnConfig, SpawnError, UserIdentity, spawn};
use crate::tree::{self, MarkerCache, TreeSeed};
use crate::watcher::{Exit, ExitWatcher, WatchError};

/// How long a destroyed container's processes may take to disappear. SIGKILL acts at once but for
/// processes inside an uninterruptible system call.
const DESTROY_TIMEOUT: Duration = Duration::from_secs(60);

/// The first pause between two looks at a dying container, doubled up to the longest.
const DESTROY_PAUSE_FIRST: Duration = Duration::from_millis(1);
const DESTROY_PAUSE_LONGEST: Duration = Duration::from_millis(50);

/// The name of a container, unique on its machine.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ContainerId(String);

impl ContainerId {
    /// The container of this name.
    pub fn new(name: impl Into<String>) -> Self {
        Self(name.into())
    }

    /// The name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for ContainerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A container to start.
#[derive(Clone, Debug)]
pub struct ContainerConfig {
    /// Its name.
    pub id: ContainerId,
    /// What it runs.
    pub program: Program,
    /// The complete environment; nothing is inherited or added. It must have the launcher's marker
    /// variable, with a value no other container has.
    pub environment: Vec<(OsString, OsString)>,
    /// The working directory.
    pub directory: PathBuf,
    /// The user to run as, which only root can choose; ours when absent.
    pub user: Option<String>,
    /// Where standard output goes.
    pub stdout: Output,
    /// Where standard error goes.
    pub stderr: Output,
}

/// A container that was started by an earlier run of this program.
#[derive(Clone, Debug)]
pub struct RecoverConfig {
    /// Its name.
    pub id: ContainerId,
    /// The process id it was started with.
    pub pid: i32,
    /// When that process started, in clock ticks since boot, if it was written down.
    pub start_time: Option<u64>,
    /// The value of the marker variable in its environment.
    pub marker: OsString,
}

/// A container that runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Started {
    /// Its first process, which leads its session and process group.
    pub pid: i32,
    /// When that started, in clock ticks since boot.
    pub start_time: u64,
}

/// What became of a container while nobody watched.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Recovered {
    /// It runs and is watched again.
    Running,
    /// Its first process has ended; others may be left, which [`Launcher::destroy`] finds.
    Exited,
}

/// What a container uses: the sum over its living processes.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Usage {
    /// Seconds of CPU in user mode, those of ended children included.
    pub cpus_user_time_secs: f64,
    /// Seconds of CPU in kernel mode, those of ended children included.
    pub cpus_system_time_secs: f64,
    /// Resident memory.
    pub mem_rss_bytes: u64,
    /// Processes.
    pub processes: u32,
    /// Threads of all processes.
    pub threads: u32,
}

/// Why a launcher could not be made or asked.
#[derive(Debug, thiserror::Error)]
pub enum LauncherError {
    /// The thread that watches processes could not be started.
    #[error("failed to start the launcher")]
    Watch(#[from] WatchError),
}

/// Why a container was not launched or recovered.
#[derive(Debug, thiserror::Error)]
pub enum LaunchError {
    /// The name is taken.
    #[error("container '{id}' already exists")]
    Duplicate {
        /// The container.
        id: ContainerId,
    },
    /// The environment lacks the variable by which the container's processes are recognised.
    #[error("the environment of container '{id}' has no variable '{variable}'")]
    NoMarker {
        /// The container.
        id: ContainerId,
        /// The variable that is missing.
        variable: String,
    },
    /// The program did not start.
    #[error("failed to start container '{id}'")]
    Spawn {
        /// The container.
        id: ContainerId,
        /// What went wrong.
        source: SpawnError,
    },
    /// Nobody would learn of its end.
    #[error("failed to watch container '{id}'")]
    Watch {
        /// The container.
        id: ContainerId,
        /// What went wrong.
        source: WatchError,
    },
}

/// Why a container is not destroyed.
#[derive(Debug, thiserror::Error)]
pub enum DestroyError {
    /// There is no container of this name.
    #[error("there is no container '{id}'")]
    Unknown {
        /// The container.
        id: ContainerId,
    },
    /// The processes could not be listed.
    #[error("failed to find the processes of container '{id}'")]
    List {
        /// The container.
        id: ContainerId,
        /// What went wrong.
        source: ProcessTableError,
    },
    /// Processes are left although they were killed.
    #[error("processes {pids:?} of container '{id}' did not end after SIGKILL")]
    Unkillable {
        /// The container.
        id: ContainerId,
        /// What is left.
        pids: Vec<i32>,
    },
}

/// Starts, watches, measures and destroys containers. All methods may be called from any thread.
///
/// Dropping the launcher leaves the containers running.
#[derive(Debug)]
pub struct Launcher {
    marker_variable: String,
    watcher: ExitWatcher<ContainerId>,
    processes: SharedTable,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    containers: BTreeMap<ContainerId, TreeSeed>,
    markers: MarkerCache,
}

impl Launcher {
    /// A launcher whose containers are recognised by an environment variable of this name.
    ///
    /// `report` is called, on a thread of the launcher, once for each container whose first process
    /// has ended; possibly before [`Self::launch`] has returned. The container stays known, and what
    /// is left of it alive, until [`Self::destroy`].
    ///
    /// # Errors
    /// When the watching thread cannot be started.
    pub fn new(
        marker_variable: impl Into<String>,
        report: impl FnMut(Exit<ContainerId>) + Send + 'static,
    ) -> Result<Self, LauncherError> {
        Ok(Self {
            marker_variable: marker_variable.into(),
            watcher: ExitWatcher::start(report)?,
            processes: SharedTable::default(),
            state: Mutex::new(State::default()),
        })
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Starts a container. Takes about as long as a fork and an exec.
    ///
    /// # Errors
    /// See [`LaunchError`]; nothing runs then.
    pub fn launch(&self, config: &ContainerConfig) -> Result<Started, LaunchError> {
        let id = &config.id;
        let failed = |source| LaunchError::Spawn { id: id.clone(), source };
        let marker = config
            .environment
            .iter()
            .find(|(name, _)| *name == *self.marker_variable)
            .map(|(_, value)| value.as_bytes().to_vec());
        let Some(marker) = marker else {
            let variable = self.marker_variable.clone();
            return Err(LaunchError::NoMarker { id: id.clone(), variable });
        };
        let user = config.user.as_deref().map(UserIdentity::look_up).transpose().map_err(failed)?;
        if self.lock().containers.contains_key(id) {
            return Err(LaunchError::Duplicate { id: id.clone() });
        }
        let spawned = spawn(SpawnConfig {
            program: &config.program,
            environment: &config.environment,
            directory: Some(&config.directory),
            user: user.as_ref(),
            stdin: None,
            stdout: &config.stdout,
            stderr: &config.stderr,
        })
        .map_err(failed)?;
        let seed = self.seed(spawned.pid, spawned.start_time, marker);
        self.lock().containers.insert(id.clone(), seed);
        self.watch(id, spawned.pid, spawned.start_time)?;
        Ok(Started { pid: spawned.pid, start_time: spawned.start_time })
    }

    fn seed(&self, leader: i32, start_time: u64, marker: Vec<u8>) -> TreeSeed {
        let variable = self.marker_variable.clone().into_bytes();
        TreeSeed { leader, start_time, marker: Some((variable, marker)) }
    }

    fn watch(&self, id: &ContainerId, pid: i32, start_time: u64) -> Result<(), LaunchError> {
        self.watcher.watch(id.clone(), pid, start_time).map_err(|source| {
            if let Err(error) = self.destroy(id) {
                tracing::warn!(%id, ?error, "a container that cannot be watched is left running");
            }
            LaunchError::Watch { id: id.clone(), source }
        })
    }

    /// Takes over a container started by an earlier run of this program: it is no child of ours, so
    /// its end will be reported without a wait status. One whose first process has ended is reported
    /// at once. The process is taken for the container's only if it has the marker in its environment
    /// and, if known, started at that time; another process may have its pid by now.
    ///
    /// # Errors
    /// See [`LaunchError`].
    pub fn recover(&self, config: &RecoverConfig) -> Result<Recovered, LaunchError> {
        let id = &config.id;
        if self.lock().containers.contains_key(id) {
            return Err(LaunchError::Duplicate { id: id.clone() });
        }
        let marker = config.marker.as_bytes();
        let variable = self.marker_variable.as_bytes();
        let found = ProcessStat::read(config.pid).filter(|stat| {
            !stat.is_dead()
                && config.start_time.is_none_or(|expected| expected == stat.start_time)
                && environment_variable(config.pid, variable).is_some_and(|value| value == marker)
        });
        // A start time of zero stands for "gone": it matches no process, and excludes none that may
        // be left of the container.
        let start_time = found.map_or(0, |stat| stat.start_time);
        let seed = self.seed(config.pid, start_time, marker.to_vec());
        self.lock().containers.insert(id.clone(), seed);
        self.watch(id, config.pid, start_time)?;
        Ok(if found.is_some() { Recovered::Running } else { Recovered::Exited })
    }

    /// The containers that were launched or recovered and not yet destroyed.
    #[must_use]
    pub fn containers(&self) -> Vec<ContainerId> {
        self.lock().containers.keys().cloned().collect()
    }

    /// Kills every process of a container, waits until all are gone and forgets it.
    ///
    /// Blocks meanwhile, usually for milliseconds. Whether its first process had ended already makes
    /// no difference; if not, its end is reported as always.
    ///
    /// # Errors
    /// See [`DestroyError`]; the container stays known, so that destroying can be tried again.
    pub fn destroy(&self, id: &ContainerId) -> Result<(), DestroyError> {
        let seed = self.lock().containers.get(id).cloned();
        let Some(seed) = seed else { return Err(DestroyError::Unknown { id: id.clone() }) };
        let list = |source| DestroyError::List { id: id.clone(), source };
        let started = Instant::now();
        let mut pause = DESTROY_PAUSE_FIRST;
        let look = || {
            let table = self.processes.read()?;
            Ok(tree::members(&table, &seed, &mut self.lock().markers))
        };
        loop {
            let left = look().map_err(list)?;
            if left.is_empty() {
                self.lock().containers.remove(id);
                return Ok(());
            }
            if started.elapsed() > DESTROY_TIMEOUT {
                let pids = left.iter().map(|process| process.pid).collect();
                return Err(DestroyError::Unkillable { id: id.clone(), pids });
            }
            tree::signal_members(libc::SIGKILL, look).map_err(list)?;
            std::thread::sleep(pause);
            pause = (pause * 2).min(DESTROY_PAUSE_LONGEST);
        }
    }

    /// What each container uses, from one pass over all processes of the machine. A container without
    /// living processes is listed with zeros.
    ///
    /// # Errors
    /// When the processes cannot be listed.
    pub fn usage(&self) -> Result<BTreeMap<ContainerId, Usage>, ProcessTableError> {
        let table = self.processes.read()?;
        let mut state = self.lock();
        let ids: Vec<ContainerId> = state.containers.keys().cloned().collect();
        let seeds: Vec<TreeSeed> = state.containers.values().cloned().collect();
        let owners = tree::attribute(&table, &seeds, &mut state.markers);
        drop(state);
        let units = Units::of_this_machine();
        let mut usages = vec![Usage::default(); ids.len()];
        for (pid, owner) in owners {
            if let (Some(process), Some(usage)) = (table.get(pid), usages.get_mut(owner))
                && !process.is_dead()
            {
                units.add(usage, process);
            }
        }
        Ok(ids.into_iter().zip(usages).collect())
    }
}

/// In what `/proc` counts.
struct Units {
    ticks_per_second: f64,
    page_bytes: u64,
}

impl Units {
    fn of_this_machine() -> Self {
        use nix::unistd::{SysconfVar, sysconf};

        let ask = |variable, otherwise: u32| {
            let answer = sysconf(variable).ok().flatten();
            answer.and_then(|value| u32::try_from(value).ok()).unwrap_or(otherwise)
        };
        Self {
            ticks_per_second: f64::from(ask(SysconfVar::CLK_TCK, 100)),
            page_bytes: u64::from(ask(SysconfVar::PAGE_SIZE, 4096)),
        }
    }

    #[expect(clippy::cast_precision_loss, reason = "2^53 ticks are millions of years")]
    fn add(&self, usage: &mut Usage, process: &ProcessStat) {
        usage.cpus_user_time_secs += process.user_ticks as f64 / self.ticks_per_second;
        usage.cpus_system_time_secs += process.system_ticks as f64 / self.ticks_per_second;
        usage.mem_rss_bytes += process.resident_pages * self.page_bytes;
        usage.processes += 1;
        usage.threads += process.threads;
    }
}

#[cfg(test)]
mod tests;
