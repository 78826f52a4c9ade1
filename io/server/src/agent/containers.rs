//! Runs what the agent's core asks for: sandboxes, launches, ends, and what was left by an earlier
//! run of the agent.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs;
use std::io;
use std::os::unix::fs::symlink;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use agent::effect::{ContainerLaunch, ContainerRecovery};
use agent::event::{ContainerTermination, Event};
use containers::{
    ContainerConfig, Exit, Launcher, Output, Program, RecoverConfig, Recovered, Usage,
    UserIdentity, fetcher,
};
use protocol::mesos;
use tokio::runtime::Handle;

use super::machine::Input;
use super::volumes::Volumes;
use crate::event_loop::Inputs;
use protocol::causes::with_causes;

/// The environment variable by which processes are known to belong to a container: its value, the
/// sandbox, is unique to each run of an executor.
const MARKER: &str = "MESOS_DIRECTORY";

/// The file mode of sandboxes, as Mesos creates them: for their owner, and readable by its group.
const SANDBOX_MODE: u32 = 0o750;

/// What launching needs to know of the agent.
#[derive(Clone, Debug)]
pub(super) struct Settings {
    /// Below it pids are written.
    pub meta: PathBuf,
    /// The address that containers on the host network have.
    pub ip: String,
    /// The program that runs as fetcher when its first argument is `fetcher`.
    pub program: PathBuf,
    /// `--frameworks_home`.
    pub frameworks_home: Option<PathBuf>,
    /// `--fetcher_stall_timeout`.
    pub fetcher_stall_timeout: std::time::Duration,
}

#[derive(Debug)]
enum State {
    /// The sandbox could not be created, so the launch that follows must fail.
    NoSandbox(String),
    /// Being fetched or forked. Doomed once somebody asked to destroy it meanwhile.
    Launching { doomed: bool, exited: Option<Option<i32>> },
    /// The process id of its first process.
    Running(Option<u32>),
}

struct Shared {
    launcher: OnceLock<Launcher>,
    inputs: Inputs<Input>,
    runtime: Handle,
    settings: Settings,
    states: Mutex<BTreeMap<mesos::ContainerId, State>>,
    counters: Counters,
    volumes: Mutex<Volumes>,
}

/// What is counted while the process runs.
#[derive(Default)]
struct Counters {
    fetches_succeeded: AtomicU64,
    fetches_failed: AtomicU64,
    destroy_errors: AtomicU64,
}

impl Shared {
    fn states(&self) -> MutexGuard<'_, BTreeMap<mesos::ContainerId, State>> {
        self.states.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn volumes(&self) -> MutexGuard<'_, Volumes> {
        self.volumes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn launcher(&self) -> &Launcher {
        self.launcher.get().unwrap_or_else(|| unreachable!("set before anybody can ask"))
    }

    fn tell(&self, event: Event) {
        // A loop that has ended wants to know nothing more.
        let _ = self.inputs.complete(Input::Event(Box::new(event)));
    }
}

/// The containers of one agent.
#[derive(Clone)]
pub(super) struct Containers(Arc<Shared>);

impl std::fmt::Debug for Containers {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Containers").finish_non_exhaustive()
    }
}

fn launcher_id(container: &mesos::ContainerId) -> containers::ContainerId {
    containers::ContainerId::new(container.value.clone())
}

fn wire_id(container: &containers::ContainerId) -> mesos::ContainerId {
    mesos::ContainerId { value: container.as_str().to_owned(), ..Default::default() }
}

impl Containers {
    pub(super) fn start(
        inputs: Inputs<Input>,
        runtime: Handle,
        settings: Settings,
    ) -> Result<Self, containers::LauncherError> {
        let shared = Arc::new(Shared {
            launcher: OnceLock::new(),
            inputs,
            runtime,
            settings,
            states: Mutex::new(BTreeMap::new()),
            counters: Counters::default(),
            volumes: Mutex::new(Volumes::default()),
        });
        let containers = Self(Arc::clone(&shared));
        let reports = Arc::downgrade(&shared);
        let launcher = Launcher::new(MARKER, move |exit: Exit<containers::ContainerId>| {
            if let Some(shared) = reports.upgrade() {
                let status = exit.status.map(ExitStatusExt::into_raw);
                Self(shared).exited(wire_id(&exit.key), status);
            }
        })?;
        let _ = shared.launcher.set(launcher);
        Ok(containers)
    }

    /// Creates a sandbox. A failure is kept for the launch that follows.
    pub(super) fn create_sandbox(
        &self,
        container: &mesos::ContainerId,
        directory: &str,
        user: Option<&str>,
    ) {
        if let Err(error) = create_sandbox(Path::new(directory), user) {
            let message = format!("Failed to create the sandbox '{directory}': {error}");
            self.0.states().insert(container.clone(), State::NoSandbox(message));
        }
    }

    /// Starts a container in the background.
    pub(super) fn launch(&self, launch: Box<ContainerLaunch>) {
        let failure = {
            let mut states = self.0.states();
            match states.remove(&launch.container) {
                Some(State::NoSandbox(message)) => Some(message),
                Some(State::Launching { .. } | State::Running(_)) | None => {
                    let state = State::Launching { doomed: false, exited: None };
                    states.insert(launch.container.clone(), state);
                    None
                }
            }
        };
        if let Some(message) = failure {
            let container = launch.container;
            self.0.tell(Event::ContainerLaunchFailed { container, message, reason: None });
            return;
        }
        let containers = self.clone();
        self.0.runtime.spawn_blocking(move || containers.run(&launch));
    }

    fn run(&self, launch: &ContainerLaunch) {
        let container = launch.container.clone();
        let linked = self.0.volumes().prepare(&container, &launch.directory, &launch.volumes);
        let prepared =
            linked.map_err(|error| with_causes(&error)).and_then(|()| self.fetch(launch));
        if self.is_doomed(&container) {
            self.0.volumes().forget(&container);
            self.0.states().remove(&container);
            let termination = ContainerTermination::default();
            self.0.tell(Event::ContainerExited { container, termination });
            return;
        }
        let started = prepared.and_then(|()| self.fork(launch));
        let status = match started {
            Ok(status) => Box::new(status),
            Err(message) => {
                self.0.volumes().forget(&container);
                self.0.states().remove(&container);
                self.0.tell(Event::ContainerLaunchFailed { container, message, reason: None });
                return;
            }
        };
        let running = State::Running(status.executor_pid);
        let before = self.0.states().insert(container.clone(), running);
        self.0.tell(Event::ContainerLaunched { container: container.clone(), status });
        match before {
            Some(State::Launching { exited: Some(status), .. }) => self.finish(&container, status),
            Some(State::Launching { doomed: true, exited: None }) => self.kill(&container),
            Some(State::Launching { .. } | State::NoSandbox(_) | State::Running(_)) | None => {}
        }
    }

    fn is_doomed(&self, container: &mesos::ContainerId) -> bool {
        matches!(self.0.states().get(container), Some(State::Launching { doomed: true, .. }))
    }

    fn fetch(&self, launch: &ContainerLaunch) -> Result<(), String> {
        if launch.command.uris.is_empty() {
            return Ok(());
        }
        let settings = &self.0.settings;
        let request = fetcher::Request {
            directory: launch.directory.clone().into(),
            user: launch.user.clone(),
            frameworks_home: settings.frameworks_home.clone(),
            stall_timeout: settings.fetcher_stall_timeout,
            items: launch.command.uris.iter().map(item).collect(),
        };
        let fetched = fetcher::run_in_child(&settings.program, &request);
        let counters = &self.0.counters;
        let counter =
            if fetched.is_ok() { &counters.fetches_succeeded } else { &counters.fetches_failed };
        counter.fetch_add(1, Ordering::Relaxed);
        fetched.map_err(|error| {
            format!("Failed to fetch all URIs for the container: {}", with_causes(&error))
        })
    }

    fn fork(&self, launch: &ContainerLaunch) -> Result<mesos::ContainerStatus, String> {
        let variables = launch.environment.iter();
        let mut environment: Vec<(OsString, OsString)> =
            variables.map(|(name, value)| (name.into(), value.into())).collect();
        if !launch.environment.contains_key(MARKER) {
            environment.push((MARKER.into(), launch.directory.clone().into()));
        }
        let directory = PathBuf::from(&launch.directory);
        let config = ContainerConfig {
            id: launcher_id(&launch.container),
            program: program(&launch.command)?,
            environment,
            user: switch_to(launch.user.as_deref())?,
            stdout: Output::File(directory.join("stdout")),
            stderr: Output::File(directory.join("stderr")),
            directory,
        };
        let started = self.0.launcher().launch(&config).map_err(|error| with_causes(&error))?;
        if let Some(path) = &launch.pid_checkpoint {
            // A container that is not recorded is still found, by its marker, and destroyed.
            let path = self.0.settings.meta.join(path);
            if let Err(error) = write_pid(&path, started.pid) {
                let _ = self.0.launcher().destroy(&config.id);
                return Err(format!("Failed to write '{}': {error}", path.display()));
            }
        }
        Ok(self.status(&launch.container, started.pid))
    }

    fn status(&self, container: &mesos::ContainerId, pid: i32) -> mesos::ContainerStatus {
        let address = mesos::network_info::IpAddress {
            ip_address: Some(self.0.settings.ip.clone()),
            ..Default::default()
        };
        let network = mesos::NetworkInfo { ip_addresses: vec![address], ..Default::default() };
        mesos::ContainerStatus {
            container_id: Some(container.clone()),
            network_infos: vec![network],
            executor_pid: u32::try_from(pid).ok(),
            ..Default::default()
        }
    }

    /// Gives a running container other volumes, before anything else is done.
    pub(super) fn update(
        &self,
        container: &mesos::ContainerId,
        volumes: &[agent::effect::VolumeLink],
    ) {
        let updated = self.0.volumes().update(container, volumes);
        if let Err(error) = updated {
            let (container, message) = (container.clone(), with_causes(&error));
            self.0.tell(Event::ContainerUpdateFailed { container, message });
        }
    }

    /// Kills a container. Its end is told as that of any other.
    pub(super) fn destroy(&self, container: mesos::ContainerId) {
        match self.0.states().get_mut(&container) {
            Some(State::Launching { doomed, .. }) => {
                *doomed = true;
                return;
            }
            Some(State::Running(_)) => {}
            Some(State::NoSandbox(_)) | None => {
                let termination = ContainerTermination::default();
                self.0.tell(Event::ContainerExited { container, termination });
                return;
            }
        }
        let containers = self.clone();
        self.0.runtime.spawn_blocking(move || containers.kill(&container));
    }

    fn kill(&self, container: &mesos::ContainerId) {
        match self.0.launcher().destroy(&launcher_id(container)) {
            // Unknown means that its end came first and is being told.
            Ok(()) | Err(containers::DestroyError::Unknown { .. }) => {}
            Err(error) => {
                self.0.counters.destroy_errors.fetch_add(1, Ordering::Relaxed);
                tracing::error!(
                    container = container.value,
                    error = with_causes(&error),
                    "a container was not destroyed"
                );
            }
        }
    }

    fn exited(&self, container: mesos::ContainerId, status: Option<i32>) {
        if let Some(State::Launching { exited, .. }) = self.0.states().get_mut(&container) {
            *exited = Some(status);
            return;
        }
        let containers = self.clone();
        self.0.runtime.spawn_blocking(move || containers.finish(&container, status));
    }

    /// Removes what the first process of a container left running, then tells its end.
    fn finish(&self, container: &mesos::ContainerId, status: Option<i32>) {
        self.kill(container);
        self.0.volumes().forget(container);
        self.0.states().remove(container);
        let termination = ContainerTermination { status, ..Default::default() };
        self.0.tell(Event::ContainerExited { container: container.clone(), termination });
    }

    /// Watches what survived an earlier run of the agent; what did not is told to have ended.
    pub(super) fn recover(&self, recoveries: Vec<ContainerRecovery>) {
        let containers = self.clone();
        self.0.runtime.spawn_blocking(move || {
            let alive = recoveries.iter().filter_map(|recovery| containers.take_over(recovery));
            let alive = alive.collect();
            containers.0.tell(Event::ContainersRecovered { alive });
        });
    }

    fn take_over(
        &self,
        recovery: &ContainerRecovery,
    ) -> Option<(mesos::ContainerId, mesos::ContainerStatus)> {
        let container = &recovery.container;
        // Process 0 is nobody's: then only the marker can lead to what is left of the container.
        let pid = recovery.pid.and_then(|pid| i32::try_from(pid).ok()).unwrap_or(0);
        let config = RecoverConfig {
            id: launcher_id(container),
            pid,
            start_time: None,
            marker: recovery.directory.clone().into(),
        };
        self.0.states().insert(container.clone(), State::Running(recovery.pid));
        self.0.volumes().recover(container, &recovery.directory, &recovery.volumes);
        match self.0.launcher().recover(&config) {
            Ok(Recovered::Running) => Some((container.clone(), self.status(container, pid))),
            // The launcher reports its end, as of any other container.
            Ok(Recovered::Exited) => None,
            Err(error) => {
                tracing::error!(
                    container = container.value,
                    error = with_causes(&error),
                    "a container was not recovered"
                );
                self.finish(container, None);
                None
            }
        }
    }

    /// The first process of each running container.
    pub(super) fn processes(&self) -> BTreeMap<mesos::ContainerId, u32> {
        let states = self.0.states();
        let running = states.iter().filter_map(|(container, state)| match state {
            State::Running(Some(pid)) => Some((container.clone(), *pid)),
            State::Running(None) | State::NoSandbox(_) | State::Launching { .. } => None,
        });
        running.collect()
    }

    /// What each container uses.
    pub(super) fn usage(&self) -> BTreeMap<mesos::ContainerId, Usage> {
        match self.0.launcher().usage() {
            Ok(usage) => usage.into_iter().map(|(id, usage)| (wire_id(&id), usage)).collect(),
            Err(error) => {
                tracing::warn!(error = with_causes(&error), "the usage of containers is not known");
                BTreeMap::new()
            }
        }
    }

    /// Adds the `containerizer/` metrics. Nothing is fetched through a cache, and there are no images
    /// and no resource providers, so their numbers are 0.
    #[expect(clippy::cast_precision_loss, reason = "metrics are doubles")]
    pub(super) fn add_to(&self, metrics: &mut BTreeMap<String, f64>) {
        let counters = &self.0.counters;
        let value = |counter: &AtomicU64| counter.load(Ordering::Relaxed) as f64;
        for (name, value) in [
            ("containerizer/fetcher/task_fetches_succeeded", value(&counters.fetches_succeeded)),
            ("containerizer/fetcher/task_fetches_failed", value(&counters.fetches_failed)),
            ("containerizer/fetcher/cache_size_total_bytes", 0.0),
            ("containerizer/fetcher/cache_size_used_bytes", 0.0),
            ("containerizer/mesos/container_destroy_errors", value(&counters.destroy_errors)),
            ("containerizer/mesos/provisioner/bind/remove_rootfs_errors", 0.0),
            ("containerizer/mesos/provisioner/remove_container_errors", 0.0),
            ("resource_provider_manager/subscribed", 0.0),
            ("resource_provider_manager/events/subscribe", 0.0),
            ("resource_provider_manager/events/disconnect", 0.0),
        ] {
            metrics.insert(name.to_owned(), value);
        }
    }

    /// Kills every container and waits until all are gone.
    pub(super) fn destroy_all(&self) {
        for id in self.0.launcher().containers() {
            self.kill(&wire_id(&id));
        }
    }
}

fn item(uri: &mesos::command_info::Uri) -> fetcher::Item {
    fetcher::Item {
        uri: uri.value.clone(),
        executable: uri.executable.unwrap_or(false),
        extract: uri.extract(),
        cache: uri.cache.unwrap_or(false),
        output_file: uri.output_file.clone(),
    }
}

fn program(command: &mesos::CommandInfo) -> Result<Program, String> {
    let Some(value) = command.value.as_deref() else {
        return Err("The command has no value".to_owned());
    };
    if value.is_empty() && !command.shell() {
        let text = "Task groups need the default executor, which this version does not have";
        return Err(text.to_owned());
    }
    Ok(if command.shell() {
        Program::Shell(value.into())
    } else {
        let arguments = command.arguments.iter().map(OsString::from).collect();
        Program::Exec { path: value.into(), arguments }
    })
}

/// The user to become, or none when it is the one we are.
fn switch_to(user: Option<&str>) -> Result<Option<String>, String> {
    let Some(user) = user else { return Ok(None) };
    let own = nix::unistd::Uid::effective();
    if own.is_root() {
        return Ok(Some(user.to_owned()));
    }
    let identity = UserIdentity::look_up(user).map_err(|error| with_causes(&error))?;
    if identity.uid == own.as_raw() {
        return Ok(None);
    }
    Err(format!(
        "Only an agent that runs as root can run tasks as '{user}'; start it with --no-switch_user"
    ))
}

fn write_pid(path: &Path, pid: i32) -> io::Result<()> {
    if let Some(parent) = path.parent() {
        fs::create_dir_all(parent)?;
    }
    fs::write(path, pid.to_string())
}

fn create_sandbox(directory: &Path, user: Option<&str>) -> Result<(), String> {
    use std::os::unix::fs::PermissionsExt as _;

    let said = |error: io::Error| error.to_string();
    fs::create_dir_all(directory).map_err(said)?;
    fs::set_permissions(directory, fs::Permissions::from_mode(SANDBOX_MODE)).map_err(said)?;
    if let Some(user) = switch_to(user)? {
        let identity = UserIdentity::look_up(&user).map_err(|error| with_causes(&error))?;
        std::os::unix::fs::chown(directory, Some(identity.uid), Some(identity.gid))
            .map_err(said)?;
    }
    let Some((parent, name)) = directory.parent().zip(directory.file_name()) else {
        return Ok(());
    };
    let link = parent.join("latest");
    let temporary = parent.join(".latest");
    let _ = fs::remove_file(&temporary);
    symlink(name, &temporary).map_err(said)?;
    fs::rename(&temporary, &link).map_err(said)
}
