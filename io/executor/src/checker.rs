//! Checks and health checks of the task: when they are made and what their results mean.

use std::sync::Arc;
use std::sync::mpsc::{self, Receiver, Sender};
use std::thread;
use std::time::{Duration, Instant};

use nix::sys::eventfd::{EfdFlags, EventFd};
use protocol::mesos::{self, CheckStatusInfo, check_info, check_status_info, health_check};

use crate::check::{self, Probe, Seen, loopback};
use crate::command_executor::{Health, Input};
use crate::log;
use crate::status::empty_check_status;
use crate::task::{Environment, command_environment, program};

/// The stack of a thread that makes one check.
const STACK_BYTES: usize = 128 << 10;

/// Why a task is not checked.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CheckerError {
    #[error("the {0} has no kind, or lacks what its kind needs")]
    Incomplete(&'static str),
    #[error("failed to prepare the checks")]
    Wake(#[from] nix::Error),
}

/// All checks of the task. Dropping it ends them; what is under way is forgotten.
#[derive(Debug)]
pub(crate) struct Checks {
    checkers: Vec<Checker>,
    sender: Sender<Finished>,
    receiver: Receiver<Finished>,
    /// Becomes readable when a check is finished.
    wake: Arc<EventFd>,
}

#[derive(Debug)]
struct Checker {
    name: &'static str,
    probe: Probe,
    interval: Duration,
    timeout: Duration,
    /// When to look next; none while looking.
    due: Option<Instant>,
    purpose: Purpose,
}

#[derive(Debug)]
enum Purpose {
    Check { previous: CheckStatusInfo, template: CheckStatusInfo },
    Health(HealthState),
}

#[derive(Debug)]
struct HealthState {
    grace_period: Duration,
    started: Instant,
    limit: u32,
    failures: u32,
    /// Whether it has never been healthy.
    initializing: bool,
}

#[derive(Debug)]
struct Finished {
    index: usize,
    result: Result<Seen, String>,
}

impl Checks {
    /// The checks a task asks for; none for most.
    pub(crate) fn of(
        task: &mesos::TaskInfo,
        environment: &Environment,
        now: Instant,
    ) -> Result<Option<Self>, CheckerError> {
        let mut checkers = Vec::new();
        if let Some(check) = &task.check {
            checkers.push(Checker::of_check(check, environment, now)?);
        }
        if let Some(check) = &task.health_check {
            checkers.push(Checker::of_health_check(check, environment, now)?);
        }
        if checkers.is_empty() {
            return Ok(None);
        }
        let flags = EfdFlags::EFD_CLOEXEC | EfdFlags::EFD_NONBLOCK;
        let wake = Arc::new(EventFd::from_flags(flags)?);
        let (sender, receiver) = mpsc::channel();
        Ok(Some(Self { checkers, sender, receiver, wake }))
    }

    pub(crate) fn wake(&self) -> &EventFd {
        &self.wake
    }

    pub(crate) fn next_expiry(&self) -> Option<Instant> {
        self.checkers.iter().filter_map(|checker| checker.due).min()
    }

    /// Starts what is due.
    pub(crate) fn expire(&mut self, now: Instant) {
        for (index, checker) in self.checkers.iter_mut().enumerate() {
            if checker.due.is_none_or(|due| due > now) {
                continue;
            }
            checker.due = None;
            let (probe, timeout) = (checker.probe.clone(), checker.timeout);
            let (sender, wake) = (self.sender.clone(), Arc::clone(&self.wake));
            let started = thread::Builder::new().stack_size(STACK_BYTES).spawn(move || {
                let result = check::perform(&probe, timeout).map_err(|error| describe(&error));
                // Nobody listens any more when the task is being killed.
                let _ = sender.send(Finished { index, result });
                let _ = wake.write(1);
            });
            if let Err(error) = started {
                log::warning(format_args!("Failed to start a {}: {error}", checker.name));
                checker.due = Some(now + checker.interval);
            }
        }
    }

    /// What finished checks mean.
    pub(crate) fn take(&mut self, now: Instant) -> Vec<Input> {
        let _ = self.wake.read();
        let mut inputs = Vec::new();
        while let Ok(Finished { index, result }) = self.receiver.try_recv() {
            if let Some(checker) = self.checkers.get_mut(index) {
                checker.due = Some(now + checker.interval);
                inputs.extend(checker.interpret(now, result));
            }
        }
        inputs
    }
}

fn describe(error: &check::ProbeError) -> String {
    match std::error::Error::source(error) {
        Some(cause) => format!("{error}: {cause}"),
        None => error.to_string(),
    }
}

impl Checker {
    fn of_check(
        check: &mesos::CheckInfo,
        environment: &Environment,
        now: Instant,
    ) -> Result<Self, CheckerError> {
        let incomplete = || CheckerError::Incomplete("check");
        let probe = match check.r#type.unwrap_or_default() {
            check_info::Type::Unknown => None,
            check_info::Type::Command => {
                check.command.as_ref().and_then(|check| command(&check.command, environment))
            }
            check_info::Type::Http => check.http.as_ref().map(|http| Probe::Http {
                secure: false,
                address: loopback(false, http.port),
                path: http.path.clone().unwrap_or_default(),
            }),
            check_info::Type::Tcp => {
                check.tcp.as_ref().map(|tcp| Probe::Tcp { address: loopback(false, tcp.port) })
            }
        };
        let template = empty_check_status(check);
        Ok(Self {
            name: "check",
            probe: probe.ok_or_else(incomplete)?,
            interval: seconds(check.interval_seconds()),
            timeout: seconds(check.timeout_seconds()),
            due: now.checked_add(seconds(check.delay_seconds())),
            purpose: Purpose::Check { previous: template.clone(), template },
        })
    }

    fn of_health_check(
        check: &mesos::HealthCheck,
        environment: &Environment,
        now: Instant,
    ) -> Result<Self, CheckerError> {
        let incomplete = || CheckerError::Incomplete("health check");
        let ipv6 = |protocol| protocol == mesos::network_info::Protocol::IPv6;
        let probe = match health_check_type(check) {
            health_check::Type::Unknown => None,
            health_check::Type::Command => {
                check.command.as_ref().and_then(|info| command(info, environment))
            }
            health_check::Type::Http => check.http.as_ref().map(|http| Probe::Http {
                secure: http.scheme.as_deref() == Some("https"),
                address: loopback(ipv6(http.protocol()), http.port),
                path: http.path.clone().unwrap_or_default(),
            }),
            health_check::Type::Tcp => check
                .tcp
                .as_ref()
                .map(|tcp| Probe::Tcp { address: loopback(ipv6(tcp.protocol()), tcp.port) }),
        };
        Ok(Self {
            name: "health check",
            probe: probe.ok_or_else(incomplete)?,
            interval: seconds(check.interval_seconds()),
            timeout: seconds(check.timeout_seconds()),
            due: now.checked_add(seconds(check.delay_seconds())),
            purpose: Purpose::Health(HealthState {
                grace_period: seconds(check.grace_period_seconds()),
                started: now,
                limit: check.consecutive_failures(),
                failures: 0,
                initializing: true,
            }),
        })
    }

    fn interpret(&mut self, now: Instant, result: Result<Seen, String>) -> Option<Input> {
        match &mut self.purpose {
            Purpose::Check { previous, template } => {
                let status = match result {
                    Ok(seen) => check_status(template, seen),
                    Err(problem) => {
                        log::warning(format_args!("The {} failed: {problem}", self.name));
                        template.clone()
                    }
                };
                if status == *previous {
                    return None;
                }
                *previous = status.clone();
                Some(Input::Checked(status))
            }
            Purpose::Health(state) => {
                let health = match result.and_then(judge) {
                    Ok(()) => state.success(),
                    Err(problem) => {
                        log::warning(format_args!("The {} failed: {problem}", self.name));
                        state.failure(now)
                    }
                };
                health.map(Input::Health)
            }
        }
    }
}

impl HealthState {
    /// Reported on the first success, also the first after failures.
    fn success(&mut self) -> Option<Health> {
        let news = self.initializing || self.failures > 0;
        self.initializing = false;
        self.failures = 0;
        news.then_some(Health { healthy: true, kill: false })
    }

    /// Failures do not count while the task starts, which ends with the first success.
    fn failure(&mut self, now: Instant) -> Option<Health> {
        let in_grace_period = now.saturating_duration_since(self.started) <= self.grace_period;
        if self.initializing && !self.grace_period.is_zero() && in_grace_period {
            return None;
        }
        self.failures += 1;
        Some(Health { healthy: false, kill: self.failures >= self.limit })
    }
}

/// Old frameworks leave the type out; the kind they mean is the one they describe.
fn health_check_type(check: &mesos::HealthCheck) -> health_check::Type {
    match check.r#type {
        Some(r#type) => r#type,
        None if check.command.is_some() => health_check::Type::Command,
        None if check.http.is_some() => health_check::Type::Http,
        None if check.tcp.is_some() => health_check::Type::Tcp,
        None => health_check::Type::Unknown,
    }
}

fn command(info: &mesos::CommandInfo, environment: &Environment) -> Option<Probe> {
    let environment = command_environment(info, environment).into_iter().collect();
    program(info).map(|program| Probe::Command { program, environment })
}

/// Seconds of a message; what is no duration counts as zero.
fn seconds(seconds: f64) -> Duration {
    Duration::try_from_secs_f64(seconds).unwrap_or_default()
}

fn check_status(template: &CheckStatusInfo, seen: Seen) -> CheckStatusInfo {
    let mut status = template.clone();
    match seen {
        Seen::ExitCode(code) => {
            let exit_code = Some(code);
            status.command = Some(check_status_info::Command { exit_code, ..Default::default() });
        }
        Seen::HttpStatus(code) => {
            let status_code = Some(u32::from(code));
            status.http = Some(check_status_info::Http { status_code, ..Default::default() });
        }
        Seen::Connected(connected) => {
            let succeeded = Some(connected);
            status.tcp = Some(check_status_info::Tcp { succeeded, ..Default::default() });
        }
    }
    status
}

fn judge(seen: Seen) -> Result<(), String> {
    match seen {
        Seen::ExitCode(0) | Seen::HttpStatus(200..400) | Seen::Connected(true) => Ok(()),
        Seen::ExitCode(code) => Err(format!("Command exited with status {code}")),
        Seen::HttpStatus(status) => Err(format!("Unexpected HTTP response code: {status}")),
        Seen::Connected(false) => Err("TCP connection failed".to_owned()),
    }
}

#[cfg(test)]
mod tests;
