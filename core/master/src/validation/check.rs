//! Checks and health checks.

use protocol::mesos::{CheckInfo, CommandInfo, HealthCheck, check_info, health_check};

use crate::validation::command;

/// `TaskInfo.health_check`.
pub(crate) fn health(check: &HealthCheck) -> Result<(), String> {
    match check.r#type {
        None => return Err("HealthCheck must specify 'type'".to_owned()),
        Some(health_check::Type::Command) => {
            let Some(it) = &check.command else {
                return Err("Expecting 'command' to be set for COMMAND health check".to_owned());
            };
            executable(it).map_err(|kind| format!("Command health check must contain {kind}"))?;
            command::command(it)
                .map_err(|error| format!("Health check's `CommandInfo` is invalid: {error}"))?;
        }
        Some(health_check::Type::Http) => {
            let Some(http) = &check.http else {
                return Err("Expecting 'http' to be set for HTTP health check".to_owned());
            };
            if let Some(scheme) =
                http.scheme.as_deref().filter(|it| !matches!(*it, "http" | "https"))
            {
                return Err(format!("Unsupported HTTP health check scheme: '{scheme}'"));
            }
            if let Some(path) = http.path.as_deref().filter(|it| !it.starts_with('/')) {
                return Err(format!("The path '{path}' of HTTP health check must start with '/'"));
            }
        }
        Some(health_check::Type::Tcp) => {
            if check.tcp.is_none() {
                return Err("Expecting 'tcp' to be set for TCP health check".to_owned());
            }
        }
        Some(health_check::Type::Unknown) => {
            return Err("'UNKNOWN' is not a valid health check type".to_owned());
        }
    }
    non_negative(&[
        ("delay_seconds", check.delay_seconds),
        ("grace_period_seconds", check.grace_period_seconds),
        ("interval_seconds", check.interval_seconds),
        ("timeout_seconds", check.timeout_seconds),
    ])
}

/// `TaskInfo.check`.
pub(crate) fn check(check: &CheckInfo) -> Result<(), String> {
    match check.r#type {
        None => return Err("CheckInfo must specify 'type'".to_owned()),
        Some(check_info::Type::Command) => {
            let Some(it) = &check.command else {
                return Err("Expecting 'command' to be set for COMMAND check".to_owned());
            };
            executable(&it.command).map_err(|kind| format!("Command check must contain {kind}"))?;
            command::command(&it.command)
                .map_err(|error| format!("Check's `CommandInfo` is invalid: {error}"))?;
        }
        Some(check_info::Type::Http) => {
            let Some(http) = &check.http else {
                return Err("Expecting 'http' to be set for HTTP check".to_owned());
            };
            if let Some(path) = http.path.as_deref().filter(|it| !it.starts_with('/')) {
                return Err(format!("The path '{path}' of HTTP check must start with '/'"));
            }
        }
        Some(check_info::Type::Tcp) => {
            if check.tcp.is_none() {
                return Err("Expecting 'tcp' to be set for TCP check".to_owned());
            }
        }
        Some(check_info::Type::Unknown) => {
            return Err("'UNKNOWN' is not a valid check type".to_owned());
        }
    }
    non_negative(&[
        ("delay_seconds", check.delay_seconds),
        ("interval_seconds", check.interval_seconds),
        ("timeout_seconds", check.timeout_seconds),
    ])
}

/// A command says what to run; the error is what is missing.
fn executable(command: &CommandInfo) -> Result<(), &'static str> {
    match (&command.value, command.shell.unwrap_or(true)) {
        (Some(_), _) => Ok(()),
        (None, true) => Err("'shell command'"),
        (None, false) => Err("'executable path'"),
    }
}

fn non_negative(fields: &[(&str, Option<f64>)]) -> Result<(), String> {
    match fields.iter().find(|(_, seconds)| seconds.is_some_and(|seconds| seconds < 0.0)) {
        Some((field, _)) => Err(format!("Expecting '{field}' to be non-negative")),
        None => Ok(()),
    }
}
