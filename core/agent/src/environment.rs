//! The environment of an executor, complete: nothing is inherited from the agent.

use std::collections::BTreeMap;
use std::time::Duration;

use protocol::{duration, mesos};

use crate::config::Config;

/// What identifies the executor to itself.
#[derive(Debug)]
pub struct ExecutorIdentity<'a> {
    /// The agent.
    pub agent: &'a mesos::AgentId,
    /// The framework.
    pub framework: &'a mesos::FrameworkId,
    /// The executor as launched, with its command.
    pub executor: &'a mesos::ExecutorInfo,
    /// The sandbox, absolute.
    pub directory: &'a str,
    /// Whether the framework checkpoints, so that the executor outlives an agent restart.
    pub checkpoint: bool,
}

/// How long an executor gets to shut down on its own.
#[must_use]
pub fn shutdown_grace_period(config: &Config, executor: &mesos::ExecutorInfo) -> Duration {
    executor
        .shutdown_grace_period
        .as_ref()
        .map_or(config.timing.executor_shutdown_grace_period, |period| {
            Duration::from_nanos(u64::try_from(period.nanoseconds).unwrap_or(0))
        })
}

/// All variables (`executorEnvironment` in Mesos' `src/slave/slave.cpp`, and what its containerizer
/// adds): defaults, then the operator's, then the agent's own, then the framework's.
#[must_use]
pub fn build(config: &Config, identity: &ExecutorIdentity<'_>) -> BTreeMap<String, String> {
    let mut variables = operator_variables(config);
    let mut set = |name: &str, value: String| {
        variables.insert(name.to_owned(), value);
    };
    set("LIBPROCESS_PORT", "0".to_owned());
    set("MESOS_FRAMEWORK_ID", identity.framework.value.clone());
    set("MESOS_EXECUTOR_ID", identity.executor.executor_id.value.clone());
    set("MESOS_DIRECTORY", identity.directory.to_owned());
    set("MESOS_SANDBOX", sandbox_as_seen_inside(config, identity));
    set("MESOS_SLAVE_ID", identity.agent.value.clone());
    set("MESOS_SLAVE_PID", config.pid.to_string());
    set("MESOS_AGENT_ENDPOINT", config.pid.address.to_string());
    set("MESOS_CHECKPOINT", if identity.checkpoint { "1" } else { "0" }.to_owned());
    // The built-in command executor speaks HTTP.
    set("MESOS_HTTP_COMMAND_EXECUTOR", "1".to_owned());
    let grace_period = shutdown_grace_period(config, identity.executor);
    set("MESOS_EXECUTOR_SHUTDOWN_GRACE_PERIOD", duration::format(grace_period));
    if identity.checkpoint {
        set("MESOS_RECOVERY_TIMEOUT", duration::format(config.timing.recovery_timeout));
        let backoff_max = config.timing.executor_reregistration_timeout;
        set("MESOS_SUBSCRIPTION_BACKOFF_MAX", duration::format(backoff_max));
    }
    if let Some(path) = &config.environment.domain_socket {
        set("MESOS_DOMAIN_SOCKET", path.clone());
    }
    if let Some(role) = allocation_role(identity.executor) {
        set("MESOS_ALLOCATION_ROLE", role.to_owned());
    }
    let command = identity.executor.command.as_ref();
    let environment = command.and_then(|command| command.environment.as_ref());
    for variable in environment.iter().flat_map(|environment| &environment.variables) {
        // A variable of type SECRET has no value here; resolving it is the containers' business.
        if let Some(value) = &variable.value {
            variables.insert(variable.name.clone(), value.clone());
        }
    }
    variables
}

fn operator_variables(config: &Config) -> BTreeMap<String, String> {
    let environment = &config.environment;
    let mut variables = BTreeMap::new();
    variables.insert("PATH".to_owned(), environment.path.clone());
    if let Some(ip) = &environment.libprocess_ip {
        variables.insert("LIBPROCESS_IP".to_owned(), ip.clone());
    }
    if let Some(home) = &environment.hadoop_home {
        variables.insert("HADOOP_HOME".to_owned(), home.clone());
    }
    if let Some(library) = &environment.native_library {
        for name in ["MESOS_NATIVE_JAVA_LIBRARY", "MESOS_NATIVE_LIBRARY"] {
            variables.insert(name.to_owned(), library.clone());
        }
    }
    variables.extend(environment.variables.clone().unwrap_or_default());
    variables
}

/// A container with an image of its own sees its sandbox at a fixed place.
fn sandbox_as_seen_inside(config: &Config, identity: &ExecutorIdentity<'_>) -> String {
    let container = identity.executor.container.as_ref();
    let mesos_image = container.and_then(|container| container.mesos.as_ref()?.image.as_ref());
    let is_docker = container.is_some_and(|container| container.docker.is_some());
    if mesos_image.is_some() || is_docker {
        config.environment.sandbox_directory.clone()
    } else {
        identity.directory.to_owned()
    }
}

fn allocation_role(executor: &mesos::ExecutorInfo) -> Option<&str> {
    let allocation = executor.resources.first()?.allocation_info.as_ref()?;
    allocation.role.as_deref()
}
