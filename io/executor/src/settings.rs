//! What an executor is told by its environment (`docs/executor-http-api.md` of Mesos).

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::PathBuf;
use std::time::Duration;

use protocol::duration;
use protocol::pid::{Pid, PidError};

/// What is the agent's secret and not the task's.
const TOKEN_VARIABLE: &str = "MESOS_EXECUTOR_AUTHENTICATION_TOKEN";

/// How long an executor gets to shut down if the agent does not say.
const SHUTDOWN_GRACE_PERIOD_DEFAULT: Duration = Duration::from_secs(5);

/// The settings of one executor.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// The agent.
    pub agent: Pid,
    /// The agent's socket in the file system, to be used instead of its address.
    pub domain_socket: Option<PathBuf>,
    /// The framework's id.
    pub framework_id: String,
    /// The executor's id.
    pub executor_id: String,
    /// How long to look for an agent that went away; `None`: not at all, the executor ends then.
    pub recovery: Option<Recovery>,
    /// How long the agent waits after SHUTDOWN before it kills the container.
    pub shutdown_grace_period: Duration,
    /// What identifies the executor to an agent that asks for it.
    pub authentication_token: Option<String>,
    /// The environment as it came, without the token: the task's, but for what the task adds.
    pub environment: BTreeMap<OsString, OsString>,
}

/// How to look for an agent that went away.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Recovery {
    /// For how long.
    pub timeout: Duration,
    /// The longest pause between two attempts.
    pub backoff_max: Duration,
}

/// Why the environment is not that of an executor.
#[derive(Debug, thiserror::Error)]
pub enum SettingsError {
    /// A variable is missing.
    #[error("expecting '{name}' to be set in the environment")]
    Missing {
        /// The variable.
        name: &'static str,
    },
    /// A variable holds bytes that are not text.
    #[error("environment variable '{name}' is not UTF-8")]
    NotText {
        /// The variable.
        name: &'static str,
    },
    /// The agent's address is none.
    #[error("failed to parse MESOS_SLAVE_PID")]
    Agent(#[source] PidError),
    /// A variable holds no duration.
    #[error("failed to parse {name} '{value}'")]
    Duration {
        /// The variable.
        name: &'static str,
        /// What it holds.
        value: String,
        /// What is wrong with it.
        source: duration::DurationError,
    },
}

impl Settings {
    /// Reads the settings from an environment.
    ///
    /// # Errors
    /// See [`SettingsError`].
    pub fn from_environment(
        variables: impl IntoIterator<Item = (OsString, OsString)>,
    ) -> Result<Self, SettingsError> {
        let mut environment: BTreeMap<OsString, OsString> = variables.into_iter().collect();
        let authentication_token = environment
            .remove(OsStr::new(TOKEN_VARIABLE))
            .map(|value| String::from_utf8(value.into_vec()))
            .transpose()
            .map_err(|_| SettingsError::NotText { name: TOKEN_VARIABLE })?;
        let variables = Variables(&environment);
        let recovery = match variables.text("MESOS_CHECKPOINT")? {
            Some("1") => Some(Recovery {
                timeout: variables.required_duration("MESOS_RECOVERY_TIMEOUT")?,
                backoff_max: variables.required_duration("MESOS_SUBSCRIPTION_BACKOFF_MAX")?,
            }),
            _ => None,
        };
        Ok(Self {
            agent: variables.required("MESOS_SLAVE_PID")?.parse().map_err(SettingsError::Agent)?,
            domain_socket: variables.text("MESOS_DOMAIN_SOCKET")?.map(PathBuf::from),
            framework_id: variables.required("MESOS_FRAMEWORK_ID")?.to_owned(),
            executor_id: variables.required("MESOS_EXECUTOR_ID")?.to_owned(),
            recovery,
            shutdown_grace_period: variables
                .duration("MESOS_EXECUTOR_SHUTDOWN_GRACE_PERIOD")?
                .unwrap_or(SHUTDOWN_GRACE_PERIOD_DEFAULT),
            authentication_token,
            environment,
        })
    }
}

struct Variables<'a>(&'a BTreeMap<OsString, OsString>);

impl<'a> Variables<'a> {
    fn text(&self, name: &'static str) -> Result<Option<&'a str>, SettingsError> {
        self.0
            .get(OsStr::from_bytes(name.as_bytes()))
            .map(|value| value.to_str().ok_or(SettingsError::NotText { name }))
            .transpose()
    }

    fn required(&self, name: &'static str) -> Result<&'a str, SettingsError> {
        self.text(name)?.ok_or(SettingsError::Missing { name })
    }

    fn duration(&self, name: &'static str) -> Result<Option<Duration>, SettingsError> {
        let parse = |value: &str| {
            duration::parse(value).map_err(|source| SettingsError::Duration {
                name,
                value: value.to_owned(),
                source,
            })
        };
        self.text(name)?.map(parse).transpose()
    }

    fn required_duration(&self, name: &'static str) -> Result<Duration, SettingsError> {
        self.duration(name)?.ok_or(SettingsError::Missing { name })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(more: &[(&str, &str)]) -> Result<Settings, SettingsError> {
        let basic = [
            ("MESOS_SLAVE_PID", "slave(1)@127.0.0.1:5051"),
            ("MESOS_FRAMEWORK_ID", "f"),
            ("MESOS_EXECUTOR_ID", "e"),
            ("PATH", "/bin"),
        ];
        let all = basic.iter().chain(more);
        Settings::from_environment(all.map(|(name, value)| (name.into(), value.into())))
    }

    #[test]
    fn the_token_is_kept_from_the_task() {
        let settings = settings(&[("MESOS_EXECUTOR_AUTHENTICATION_TOKEN", "secret")]).unwrap();
        assert_eq!(settings.authentication_token.as_deref(), Some("secret"));
        assert_eq!(settings.environment.len(), 4);
        assert_eq!(settings.shutdown_grace_period, Duration::from_secs(5));
        assert_eq!(settings.recovery, None);
    }

    #[test]
    fn recovery_needs_its_timeouts() {
        let error = settings(&[("MESOS_CHECKPOINT", "1")]).unwrap_err();
        assert!(matches!(error, SettingsError::Missing { name: "MESOS_RECOVERY_TIMEOUT" }));
        let settings = settings(&[
            ("MESOS_CHECKPOINT", "1"),
            ("MESOS_RECOVERY_TIMEOUT", "15mins"),
            ("MESOS_SUBSCRIPTION_BACKOFF_MAX", "2secs"),
            ("MESOS_EXECUTOR_SHUTDOWN_GRACE_PERIOD", "7secs"),
        ])
        .unwrap();
        let recovery = settings.recovery.unwrap();
        assert_eq!(recovery.timeout, Duration::from_secs(900));
        assert_eq!(recovery.backoff_max, Duration::from_secs(2));
        assert_eq!(settings.shutdown_grace_period, Duration::from_secs(7));
    }

    #[test]
    fn bad_values_are_named() {
        let error = settings(&[("MESOS_EXECUTOR_SHUTDOWN_GRACE_PERIOD", "5")]).unwrap_err();
        assert!(error.to_string().contains("MESOS_EXECUTOR_SHUTDOWN_GRACE_PERIOD '5'"));
        let error = settings(&[("MESOS_SLAVE_PID", "nowhere")]).unwrap_err();
        assert!(matches!(error, SettingsError::Agent(_)));
    }
}
