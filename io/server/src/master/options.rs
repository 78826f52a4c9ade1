//! What a master is started with.

mod allocation;
mod security;

use std::io;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use coordination::{RegistryTimeouts, UrlError, ZooKeeperUrl};
use master::Config;
use protocol::mesos::DomainInfo;
use protocol::pid::Pid;
use protocol::{Message, Names};

use crate::flags::{CredentialsFlagError, Values};
use crate::http::authentication::Access;

/// Where the registry is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RegistryStore {
    /// In memory: nothing survives the process.
    InMemory,
    /// In one file in this folder, which is made if it is missing.
    WorkDir(PathBuf),
}

/// How a master takes part in an election, and where all of them keep the registry.
#[derive(Clone, Debug)]
pub struct ZooKeeperOptions {
    /// `--zk`: the ensemble, and the path that all masters of a cluster share.
    pub url: ZooKeeperUrl,
    /// `--zk_session_timeout`.
    pub session_timeout: Duration,
    /// How long the registry may take.
    pub timeouts: RegistryTimeouts,
    /// Whether the registry is not kept at all: `--registry=in_memory`.
    pub registry_in_memory: bool,
    /// `--step_down`: a master that loses its leadership stands by again, instead of stopping.
    pub step_down: bool,
}

/// The settings of a master's daemon.
#[derive(Clone, Debug)]
pub struct MasterOptions {
    /// The interface to listen on; `0.0.0.0` is all of them.
    pub ip: Ipv4Addr,
    /// The port to listen on; 0 takes any free one.
    pub port: u16,
    /// The address to publish, if it is not `ip`.
    pub advertise_ip: Option<Ipv4Addr>,
    /// The port to publish, if it is not the one listened on.
    pub advertise_port: Option<u16>,
    /// The name to publish; otherwise see `hostname_lookup`.
    pub hostname: Option<String>,
    /// Whether the machine's name is published when there is no `hostname`, rather than its address.
    pub hostname_lookup: bool,
    /// Where the registry of a single master is.
    pub registry: RegistryStore,
    /// The election that the master takes part in; without one it leads at once.
    pub zookeeper: Option<ZooKeeperOptions>,
    /// Where all random choices come from; the operating system if nothing is given.
    pub seed: Option<u64>,
    /// The cluster's name, shown to people.
    pub cluster: Option<String>,
    /// A file of the names of hosts that receive offers, one a line; read again and again. Without it, all
    /// do.
    pub whitelist: Option<PathBuf>,
    /// Who must say who they are.
    pub(super) access: Access,
    /// What `/flags` shows.
    pub flags: Vec<(String, String)>,
    /// The settings of the state machine. The seed, the pid and the name are replaced at the start.
    pub settings: Config,
}

impl Default for MasterOptions {
    /// Any free port of the loopback interface, a registry in memory, and Mesos' defaults.
    fn default() -> Self {
        Self {
            ip: Ipv4Addr::LOCALHOST,
            port: 0,
            advertise_ip: None,
            advertise_port: None,
            hostname: None,
            hostname_lookup: false,
            registry: RegistryStore::InMemory,
            zookeeper: None,
            seed: None,
            cluster: None,
            whitelist: None,
            access: Access::default(),
            flags: Vec::new(),
            settings: Config::new(0, Pid::EMPTY, String::new()),
        }
    }
}

/// Why flags make no options.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OptionsError {
    /// A value cannot be read.
    #[error("flag --{name}={value} is not accepted: {reason}")]
    Value {
        /// The flag.
        name: &'static str,
        /// Its value.
        value: String,
        /// What is wrong with it.
        reason: String,
    },
    /// Two flags contradict each other.
    #[error("give only one of --{0} and --{1}")]
    Conflict(&'static str, &'static str),
    /// One flag makes no sense without the other.
    #[error("flag --{0} needs --{1}")]
    Together(&'static str, &'static str),
    /// A file of secrets cannot be read.
    #[error(transparent)]
    Credentials(#[from] CredentialsFlagError),
    /// `--ip_discovery_command` cannot be run.
    #[error("flag --ip_discovery_command: '{command}' cannot be run")]
    Discovery {
        /// The command.
        command: String,
        /// What the operating system said.
        source: io::Error,
    },
}

fn refused(name: &'static str, value: &str, reason: impl Into<String>) -> OptionsError {
    OptionsError::Value { name, value: value.to_owned(), reason: reason.into() }
}

impl MasterOptions {
    /// Reads the flags of `meseta master`, or those of `meseta local`, which has fewer.
    ///
    /// # Errors
    /// A value that the table of flags lets pass and that makes no sense all the same.
    pub fn from_flags(values: &Values) -> Result<Self, OptionsError> {
        let mut options = Self {
            ip: listen_address(values)?,
            hostname: values.text("hostname").map(str::to_owned),
            hostname_lookup: values.text("hostname_lookup").is_none_or(|text| text == "true"),
            advertise_port: values.port("advertise_port"),
            cluster: values.text("cluster").map(str::to_owned),
            flags: values.display(),
            ..Self::default()
        };
        if let Some(port) = values.port("port") {
            options.port = port;
        }
        if let Some(text) = values.text("advertise_ip") {
            let address = text.parse();
            options.advertise_ip =
                Some(address.map_err(|_| refused("advertise_ip", text, "no IPv4 address"))?);
        }
        if let Some(folder) = values.text("work_dir")
            && values.text("registry") != Some("in_memory")
        {
            options.registry = RegistryStore::WorkDir(PathBuf::from(folder));
        }
        options.zookeeper = zookeeper(values)?;
        durations(values, &mut options.settings);
        numbers(values, &mut options.settings)?;
        allocation::read(values, &mut options.settings)?;
        domain(values, &mut options.settings)?;
        options.whitelist = allocation::whitelist(values);
        security::read(values, &mut options)?;
        Ok(options)
    }

    /// The name to publish for a master that is reached at `address`.
    pub(super) fn published_name(&self, address: SocketAddrV4) -> String {
        if let Some(hostname) = &self.hostname {
            return hostname.clone();
        }
        let ip = *address.ip();
        if !self.hostname_lookup {
            return ip.to_string();
        }
        if ip.is_loopback() {
            return "localhost".to_owned();
        }
        nix::unistd::gethostname()
            .ok()
            .and_then(|name| name.into_string().ok())
            .filter(|name| !name.is_empty())
            .unwrap_or_else(|| ip.to_string())
    }
}

fn listen_address(values: &Values) -> Result<Ipv4Addr, OptionsError> {
    let Some(command) = values.text("ip_discovery_command") else {
        let Some(text) = values.text("ip") else { return Ok(Ipv4Addr::UNSPECIFIED) };
        return text.parse().map_err(|_| refused("ip", text, "no IPv4 address"));
    };
    if values.text("ip").is_some() {
        return Err(OptionsError::Conflict("ip", "ip_discovery_command"));
    }
    let output = Command::new("sh")
        .args(["-c", command])
        .output()
        .map_err(|source| OptionsError::Discovery { command: command.to_owned(), source })?;
    let text = String::from_utf8_lossy(&output.stdout);
    if !output.status.success() {
        let reason = format!("the command ended with {}", output.status);
        return Err(refused("ip_discovery_command", command, reason));
    }
    text.trim().parse().map_err(|_| {
        let reason = format!("it printed '{}', which is no IPv4 address", text.trim());
        refused("ip_discovery_command", command, reason)
    })
}

fn zookeeper(values: &Values) -> Result<Option<ZooKeeperOptions>, OptionsError> {
    let Some(text) = values.text("zk") else { return Ok(None) };
    // The text may hold a password, so the error does not repeat it.
    let url = text.parse().map_err(|error: UrlError| refused("zk", "…", error.to_string()))?;
    let timeouts = RegistryTimeouts::default();
    let session_timeout = values.duration("zk_session_timeout").unwrap_or(timeouts.session);
    Ok(Some(ZooKeeperOptions {
        url,
        session_timeout,
        timeouts: RegistryTimeouts {
            session: session_timeout,
            fetch: values.duration("registry_fetch_timeout").unwrap_or(timeouts.fetch),
            store: values.duration("registry_store_timeout").unwrap_or(timeouts.store),
        },
        registry_in_memory: values.text("registry") == Some("in_memory"),
        step_down: values.text("step_down") == Some("true"),
    }))
}

fn durations(values: &Values, settings: &mut Config) {
    for (name, setting) in [
        ("agent_ping_timeout", &mut settings.agent_ping_timeout),
        ("agent_reregister_timeout", &mut settings.agent_reregister_timeout),
        ("allocation_interval", &mut settings.allocation_interval),
        ("allocator_recovery_timeout", &mut settings.allocator_recovery_timeout),
        ("registry_gc_interval", &mut settings.registry_gc_interval),
        ("registry_max_agent_age", &mut settings.registry_max_agent_age),
    ] {
        if let Some(duration) = values.duration(name) {
            *setting = duration;
        }
    }
}

fn numbers(values: &Values, settings: &mut Config) -> Result<(), OptionsError> {
    for (name, setting) in [
        ("max_completed_frameworks", &mut settings.max_completed_frameworks),
        ("max_completed_tasks_per_framework", &mut settings.max_completed_tasks_per_framework),
        ("max_unreachable_tasks_per_framework", &mut settings.max_unreachable_tasks_per_framework),
        (
            "max_operator_event_stream_subscribers",
            &mut settings.max_operator_event_stream_subscribers,
        ),
        ("registry_max_agent_count", &mut settings.registry_max_agent_count),
    ] {
        if let Some(number) = values.integer(name) {
            *setting = usize::try_from(number).unwrap_or(usize::MAX);
        }
    }
    if let Some(count) = values.integer("max_agent_ping_timeouts") {
        settings.max_agent_ping_timeouts = u32::try_from(count).unwrap_or(u32::MAX);
    }
    for (name, setting) in [
        ("root_submissions", &mut settings.root_submissions),
        ("require_agent_domain", &mut settings.require_agent_domain),
        ("filter_gpu_resources", &mut settings.filter_gpu_resources),
        ("publish_per_framework_metrics", &mut settings.publish_per_framework_metrics),
    ] {
        if let Some(text) = values.text(name) {
            *setting = text == "true";
        }
    }
    const PERCENT: &str = "recovery_agent_removal_limit";
    if let Some(text) = values.text(PERCENT) {
        let number = text.trim_end_matches('%').parse::<f64>();
        let percent = number.map_err(|_| refused(PERCENT, text, "expected a percentage"))?;
        settings.recovery_agent_removal_limit = percent / 100.0;
    }
    if let Some(text) = values.text("agent_removal_rate_limit") {
        settings.agent_removal_interval = Some(removal_interval(text)?);
    }
    Ok(())
}

/// `1/10mins`: one removal each ten minutes.
fn removal_interval(text: &str) -> Result<Duration, OptionsError> {
    let malformed = || refused("agent_removal_rate_limit", text, "expected a number per duration");
    let (permits, per) = text.split_once('/').ok_or_else(malformed)?;
    let permits: u32 = permits.parse().map_err(|_| malformed())?;
    let per = protocol::duration::parse(per).map_err(|_| malformed())?;
    per.checked_div(permits).ok_or_else(malformed)
}

/// `--domain`: the region and zone of the master, which all masters of a cluster share in part.
fn domain(values: &Values, settings: &mut Config) -> Result<(), OptionsError> {
    const DOMAIN: &str = "domain";
    if let Some(text) = values.text(DOMAIN) {
        let domain = DomainInfo::from_json(text.as_bytes(), Names::V0)
            .map_err(|error| refused(DOMAIN, text, error.to_string()))?;
        if domain.fault_domain.is_none() {
            return Err(refused(DOMAIN, text, "`domain` must define `fault_domain`"));
        }
        settings.domain = Some(domain);
    }
    Ok(())
}

#[cfg(test)]
mod tests;
