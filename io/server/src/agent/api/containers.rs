//! What the executors' containers use: `/containers`, `/monitor/statistics` and `GET_CONTAINERS`.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use agent::view::{ExecutorView, View};
use containers::Usage;
use protocol::agent::response::{GetContainers, get_containers::Container};
use protocol::{Names, mesos};
use resources::Resources;

use crate::http::json::JsonWriter;

const MEGABYTE: f64 = 1024.0 * 1024.0;

/// One executor's container with what it uses now.
pub(super) struct ContainerUsage {
    framework: mesos::FrameworkId,
    executor: Arc<ExecutorView>,
    pid: Option<u32>,
    statistics: mesos::ResourceStatistics,
}

/// All containers of living executors.
pub(super) fn usage(
    view: &View,
    usage: &BTreeMap<mesos::ContainerId, Usage>,
    processes: &BTreeMap<mesos::ContainerId, u32>,
) -> Vec<ContainerUsage> {
    let timestamp = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs_f64();
    let executors = view.frameworks.iter().flat_map(|framework| {
        let id = framework.info.id.clone().unwrap_or_default();
        framework.executors.iter().map(move |executor| (id.clone(), Arc::clone(executor)))
    });
    executors
        .map(|(framework, executor)| {
            let used = usage.get(&executor.container).copied().unwrap_or_default();
            let statistics = statistics(timestamp, &executor.resources, used);
            let pid = processes.get(&executor.container).copied();
            ContainerUsage { framework, executor, pid, statistics }
        })
        .collect()
}

fn statistics(
    timestamp: f64,
    resources: &[mesos::Resource],
    used: Usage,
) -> mesos::ResourceStatistics {
    let allocated = Resources::from_wire(resources).unwrap_or_default();
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "an amount of memory is neither negative nor near 2^64"
    )]
    let memory = (allocated.scalar("mem").to_f64() * MEGABYTE) as u64;
    mesos::ResourceStatistics {
        timestamp,
        processes: Some(used.processes),
        threads: Some(used.threads),
        cpus_user_time_secs: Some(used.cpus_user_time_secs),
        cpus_system_time_secs: Some(used.cpus_system_time_secs),
        cpus_soft_limit: Some(allocated.scalar("cpus").to_f64()),
        mem_limit_bytes: Some(memory),
        mem_soft_limit_bytes: Some(memory),
        mem_rss_bytes: Some(used.mem_rss_bytes),
        ..Default::default()
    }
}

/// `GET_CONTAINERS`.
pub(super) fn get_containers(usages: Vec<ContainerUsage>) -> GetContainers {
    let containers = usages.into_iter().map(|usage| Container {
        framework_id: Some(usage.framework),
        executor_id: Some(usage.executor.info.executor_id.clone()),
        executor_name: usage.executor.info.name.clone(),
        container_id: usage.executor.container.clone(),
        container_status: Some(status(&usage.executor, usage.pid)),
        resource_statistics: Some(usage.statistics.into()),
        ..Default::default()
    });
    GetContainers { containers: containers.collect(), ..Default::default() }
}

fn status(executor: &ExecutorView, pid: Option<u32>) -> mesos::ContainerStatus {
    mesos::ContainerStatus {
        container_id: Some(executor.container.clone()),
        executor_pid: pid,
        ..Default::default()
    }
}

/// `/containers`, and `/monitor/statistics`, which leaves ids and statuses out.
pub(super) fn legacy(usages: &[ContainerUsage], with_containers: bool) -> Vec<u8> {
    let mut json = JsonWriter::new();
    json.array(|json| {
        for usage in usages {
            json.object(|json| {
                let info = &usage.executor.info;
                if with_containers {
                    json.key("container_id").string(&usage.executor.container.value);
                }
                json.key("executor_id").string(&info.executor_id.value);
                json.key("executor_name").string(info.name.as_deref().unwrap_or_default());
                json.key("framework_id").string(&usage.framework.value);
                json.key("source").string(info.source.as_deref().unwrap_or_default());
                json.key("statistics").message(&usage.statistics, Names::V0);
                if with_containers {
                    json.key("status").message(&status(&usage.executor, usage.pid), Names::V0);
                }
            });
        }
    });
    json.into_bytes()
}
