//! What an agent is started with.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};

use ::authentication::Credential;
use agent::config::{
    EnvironmentConfig, GarbageCollectionConfig, HistoryConfig, ReconfigurationPolicy, RecoverMode,
    Timing,
};
use coordination::{Detector, DetectorError};
use resources::{Attributes, Detected, Resources};

use super::AuthenticationTimeouts;
use super::api;
use crate::flags::{CredentialsFlagError, Values};
use crate::http::authentication::Access;
use protocol::causes::with_causes;

/// Where executors look for programs when the operator does not say.
const EXECUTOR_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// The settings of an agent.
#[derive(Clone, Debug)]
pub struct AgentOptions {
    /// `--master`.
    pub master: Detector,
    /// `--zk_session_timeout`.
    pub zk_session_timeout: std::time::Duration,
    /// `--ip`.
    pub ip: Ipv4Addr,
    /// `--port`; 0 takes a free one.
    pub port: u16,
    /// `--advertise_ip`.
    pub advertise_ip: Option<Ipv4Addr>,
    /// `--advertise_port`.
    pub advertise_port: Option<u16>,
    /// `--hostname`, or what stands for it.
    pub hostname: String,
    /// `--work_dir`.
    pub work_dir: PathBuf,
    /// `--resources`, not completed.
    pub resources: String,
    /// `--default_role`.
    pub default_role: String,
    /// `--attributes`.
    pub attributes: String,
    /// `--recover`.
    pub recover: RecoverMode,
    /// `--strict`.
    pub strict: bool,
    /// `--reconfiguration_policy`.
    pub reconfiguration_policy: ReconfigurationPolicy,
    /// `--switch_user`; has no effect unless we are root.
    pub switch_user: bool,
    /// `--executor_environment_variables`.
    pub executor_environment_variables: Option<BTreeMap<String, String>>,
    /// `--sandbox_directory`.
    pub sandbox_directory: String,
    /// `--frameworks_home`.
    pub frameworks_home: Option<PathBuf>,
    /// `--fetcher_stall_timeout`.
    pub fetcher_stall_timeout: std::time::Duration,
    /// Waiting times.
    pub timing: Timing,
    /// Sandbox clean-up.
    pub garbage_collection: GarbageCollectionConfig,
    /// Bounds of histories.
    pub history: HistoryConfig,
    /// The program that is executor, fetcher and so on by its first argument.
    pub program: PathBuf,
    /// `--credential`: who the agent is for the master.
    pub credential: Option<Credential>,
    /// `--authentication_timeout_min` and `_max`.
    pub authentication_timeouts: AuthenticationTimeouts,
    /// The principals that HTTP clients may be, and the realms in which they must say so.
    pub(super) access: Access,
    /// What `/flags` shows.
    pub flags: Vec<(String, String)>,
}

/// Why options cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum OptionsError {
    /// `--master` names no place.
    #[error("flag --master={value} is not accepted")]
    Master {
        /// The value, without a password.
        value: String,
        /// Why.
        source: DetectorError,
    },
    /// A flag's value has the right kind and yet cannot be used.
    #[error("flag --{name}={value} is not accepted: {reason}")]
    Value {
        /// The flag.
        name: &'static str,
        /// Its value.
        value: String,
        /// Why.
        reason: String,
    },
    /// A file of secrets cannot be read.
    #[error(transparent)]
    Credentials(#[from] CredentialsFlagError),
    /// The address to listen on cannot be found out.
    #[error("failed to find the address to listen on: give --ip")]
    Address {
        /// Why.
        source: std::io::Error,
    },
    /// The path of the running program cannot be found out.
    #[error("failed to find the path of the running program")]
    Program {
        /// Why.
        source: std::io::Error,
    },
}

impl AgentOptions {
    /// Mesos' defaults for an agent of this master.
    ///
    /// # Errors
    /// The path of the running program cannot be found out.
    pub fn new(master: Detector, work_dir: PathBuf) -> Result<Self, OptionsError> {
        let program = std::env::current_exe().map_err(|source| OptionsError::Program { source })?;
        Ok(Self {
            master,
            zk_session_timeout: coordination::SESSION_TIMEOUT_DEFAULT,
            ip: Ipv4Addr::LOCALHOST,
            port: 5051,
            advertise_ip: None,
            advertise_port: None,
            hostname: "localhost".to_owned(),
            work_dir,
            resources: String::new(),
            default_role: "*".to_owned(),
            attributes: String::new(),
            recover: RecoverMode::Reconnect,
            strict: true,
            reconfiguration_policy: ReconfigurationPolicy::Equal,
            switch_user: true,
            executor_environment_variables: None,
            sandbox_directory: "/mnt/mesos/sandbox".to_owned(),
            frameworks_home: None,
            fetcher_stall_timeout: std::time::Duration::from_secs(60),
            timing: Timing::default(),
            garbage_collection: GarbageCollectionConfig::default(),
            history: HistoryConfig::default(),
            program,
            credential: None,
            authentication_timeouts: AuthenticationTimeouts::default(),
            access: Access::default(),
            flags: Vec::new(),
        })
    }

    /// Reads the flags of `meseta agent`.
    ///
    /// # Errors
    /// A value that cannot be used.
    pub fn from_flags(values: &Values) -> Result<Self, OptionsError> {
        let text = |name: &str| values.text(name).unwrap_or_default().to_owned();
        let detector =
            text("master").parse::<Detector>().map_err(|source| OptionsError::Master {
                value: values.shown("master").unwrap_or_default().to_owned(),
                source,
            })?;
        let defaults = Self::new(detector, text("work_dir").into())?;
        let ip = crate::host::listening_address(values)
            .map_err(|source| OptionsError::Address { source })?;
        let timeouts = defaults.authentication_timeouts;
        let authentication_timeouts = AuthenticationTimeouts {
            min: values.duration("authentication_timeout_min").unwrap_or(timeouts.min),
            max: values.duration("authentication_timeout_max").unwrap_or(timeouts.max),
            backoff_factor: values
                .duration("authentication_backoff_factor")
                .unwrap_or(timeouts.backoff_factor),
        };
        check_isolation(&text("isolation"))?;
        let completed = values.integer("max_completed_executors_per_framework");
        let history = HistoryConfig {
            completed_executors_per_framework_max: completed
                .and_then(|count| usize::try_from(count).ok())
                .unwrap_or(defaults.history.completed_executors_per_framework_max),
            ..defaults.history
        };
        Ok(Self {
            credential: values.credential("credential")?,
            authentication_timeouts,
            access: api::access(values)?,
            zk_session_timeout: values
                .duration("zk_session_timeout")
                .unwrap_or(defaults.zk_session_timeout),
            ip,
            port: values.port("port").unwrap_or(defaults.port),
            advertise_ip: values.text("advertise_ip").and_then(|text| text.parse().ok()),
            advertise_port: values.port("advertise_port"),
            hostname: crate::host::published_hostname(values, ip),
            resources: read_if_file(&text("resources"))?,
            default_role: text("default_role"),
            attributes: text("attributes"),
            recover: match values.text("recover") {
                Some("cleanup") => RecoverMode::Cleanup,
                Some(_) | None => RecoverMode::Reconnect,
            },
            strict: values.boolean("strict"),
            reconfiguration_policy: match values.text("reconfiguration_policy") {
                Some("additive") => ReconfigurationPolicy::Additive,
                Some("any") => ReconfigurationPolicy::Any,
                Some(_) | None => ReconfigurationPolicy::Equal,
            },
            switch_user: values.boolean("switch_user"),
            executor_environment_variables: variables(values)?,
            sandbox_directory: text("sandbox_directory"),
            frameworks_home: values
                .text("frameworks_home")
                .filter(|text| !text.is_empty())
                .map(PathBuf::from),
            fetcher_stall_timeout: values
                .duration("fetcher_stall_timeout")
                .unwrap_or(defaults.fetcher_stall_timeout),
            timing: timing(values),
            garbage_collection: garbage_collection(values),
            history,
            flags: values.display(),
            ..defaults
        })
    }

    /// The resources to offer: what the flag says, and what was found for the rest.
    ///
    /// # Errors
    /// The flag's text is malformed.
    pub fn resources(&self) -> Result<Resources, OptionsError> {
        Resources::of_agent(&self.resources, &self.default_role, &detect(&self.work_dir))
            .map_err(|error| refused("resources", &self.resources, &error))
    }

    /// The attributes.
    ///
    /// # Errors
    /// The flag's text is malformed.
    pub fn attributes(&self) -> Result<Attributes, OptionsError> {
        Attributes::parse(&self.attributes)
            .map_err(|error| refused("attributes", &self.attributes, &error))
    }

    pub(super) fn environment(&self) -> EnvironmentConfig {
        EnvironmentConfig {
            variables: self.executor_environment_variables.clone(),
            path: EXECUTOR_PATH.to_owned(),
            libprocess_ip: Some(self.ip.to_string()).filter(|_| !self.ip.is_unspecified()),
            native_library: None,
            sandbox_directory: self.sandbox_directory.clone(),
            domain_socket: None,
            hadoop_home: None,
        }
    }
}

fn timing(values: &Values) -> Timing {
    let defaults = Timing::default();
    let given = |name: &str, otherwise| values.duration(name).unwrap_or(otherwise);
    Timing {
        registration_backoff_factor: given(
            "registration_backoff_factor",
            defaults.registration_backoff_factor,
        ),
        executor_registration_timeout: given(
            "executor_registration_timeout",
            defaults.executor_registration_timeout,
        ),
        executor_reregistration_timeout: given(
            "executor_reregistration_timeout",
            defaults.executor_reregistration_timeout,
        ),
        executor_shutdown_grace_period: given(
            "executor_shutdown_grace_period",
            defaults.executor_shutdown_grace_period,
        ),
        recovery_timeout: given("recovery_timeout", defaults.recovery_timeout),
        ..defaults
    }
}

fn garbage_collection(values: &Values) -> GarbageCollectionConfig {
    let defaults = GarbageCollectionConfig::default();
    let given = |name: &str, otherwise| values.duration(name).unwrap_or(otherwise);
    GarbageCollectionConfig {
        delay: given("gc_delay", defaults.delay),
        disk_headroom: values.number("gc_disk_headroom").unwrap_or(defaults.disk_headroom),
        disk_watch_interval: given("disk_watch_interval", defaults.disk_watch_interval),
    }
}

fn refused(name: &'static str, value: &str, error: &dyn std::error::Error) -> OptionsError {
    let reason = with_causes(error);
    OptionsError::Value { name, value: value.to_owned(), reason }
}

/// `--resources` may name a file without `file://`, as any flag that takes JSON.
fn read_if_file(text: &str) -> Result<String, OptionsError> {
    if !text.starts_with('/') {
        return Ok(text.to_owned());
    }
    std::fs::read_to_string(text).map_err(|error| refused("resources", text, &error))
}

fn variables(values: &Values) -> Result<Option<BTreeMap<String, String>>, OptionsError> {
    let name = "executor_environment_variables";
    let Some(text) = values.text(name) else { return Ok(None) };
    serde_json::from_str(text).map(Some).map_err(|_| OptionsError::Value {
        name,
        value: text.to_owned(),
        reason: "expected a JSON object whose values are strings".to_owned(),
    })
}

/// Isolators of this version; the others would promise what is not kept.
const ISOLATORS: &[&str] = &["posix/cpu", "posix/mem", "filesystem/posix"];

fn check_isolation(text: &str) -> Result<(), OptionsError> {
    let mut names = text.split(',').filter(|name| !name.is_empty());
    match names.find(|name| !ISOLATORS.contains(name) && *name != "process") {
        None => Ok(()),
        Some(unknown) => Err(OptionsError::Value {
            name: "isolation",
            value: text.to_owned(),
            reason: format!(
                "there is no isolator '{unknown}' in this version; there are {}",
                ISOLATORS.join(", ")
            ),
        }),
    }
}

/// What this machine has.
fn detect(work_dir: &Path) -> Detected {
    let cpus = std::thread::available_parallelism().map_or(1, usize::from);
    // The folder may not exist yet: its file system is that of the nearest parent.
    let existing = work_dir.ancestors().find(|path| path.exists()).unwrap_or(Path::new("/"));
    let disk_bytes = nix::sys::statvfs::statvfs(existing)
        .map_or(0, |disk| disk.blocks().saturating_mul(disk.fragment_size()));
    Detected {
        cpus: u32::try_from(cpus).unwrap_or(u32::MAX),
        mem_bytes: crate::metrics::SystemStats::read().mem_total_bytes,
        disk_bytes,
        gpus: 0,
    }
}
