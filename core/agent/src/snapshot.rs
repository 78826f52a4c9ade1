//! Taking a view: built anew only after something changed, and shared.

use std::sync::Arc;

use protocol::mesos::{self, TaskState};
use resources::Resources;

use crate::agent::Agent;
use crate::executor::{Executor, State};
use crate::framework::Framework;
use crate::metrics::{Gauges, Metrics, ResourceGauge};
use crate::resource_state;
use crate::view::{ExecutorView, FrameworkView, Phase, View};

/// The last view, and whether it still holds.
#[derive(Debug, Default)]
pub(crate) struct ViewCache {
    version: u64,
    last: Option<Arc<View>>,
}

impl ViewCache {
    pub(crate) fn invalidate(&mut self) {
        if self.last.take().is_some() {
            self.version += 1;
        }
    }
}

impl Agent {
    /// What the agent is at this moment.
    pub fn snapshot(&mut self) -> Arc<View> {
        if let Some(view) = &self.view.last {
            return Arc::clone(view);
        }
        let view = Arc::new(self.build_view());
        self.view.last = Some(Arc::clone(&view));
        view
    }

    fn build_view(&self) -> View {
        let allocated = self.allocated();
        View {
            version: self.view.version,
            started: self.started,
            phase: self.phase,
            info: Arc::clone(&self.info),
            pid: self.config.pid.clone(),
            master: self.master().cloned(),
            registered: self.registration.registered,
            resources: Arc::new(self.resources.total().to_wire()),
            allocated: Arc::new(allocated.to_wire()),
            checkpointed_resources: Arc::new(self.resources.checkpointed().to_wire()),
            frameworks: self.frameworks.values().map(framework_view).collect(),
            completed_frameworks: self.completed_frameworks.iter().cloned().collect(),
            operations: self.operations.all().into_iter().map(Arc::new).collect(),
            drain_config: self.drain.as_ref().map(|drain| Arc::clone(&drain.config)),
            drain_started: self.drain.as_ref().map(|drain| drain.started),
            metrics: Metrics { gauges: self.gauges(&allocated), ..self.metrics.clone() },
        }
    }

    /// What living executors and tasks hold.
    fn allocated(&self) -> Resources {
        let executors = self.frameworks.values().flat_map(|framework| framework.executors.values());
        executors
            .filter(|executor| executor.state != State::Terminated)
            .map(resource_state::held_by)
            .sum()
    }

    fn gauges(&self, allocated: &Resources) -> Gauges {
        let mut gauges = Gauges {
            registered: self.phase == Phase::Running,
            frameworks_active: count(self.frameworks.len()),
            path_removals_pending: count(self.garbage.pending()),
            resources: resource_gauges(self.resources.total(), allocated),
            ..Gauges::default()
        };
        for framework in self.frameworks.values() {
            gauges.tasks_staging +=
                count(framework.pending.iter().map(|launch| launch.tasks().count()).sum());
            for executor in framework.executors.values() {
                add_executor(&mut gauges, executor);
            }
        }
        gauges
    }
}

fn add_executor(gauges: &mut Gauges, executor: &Executor) {
    match executor.state {
        State::Registering => gauges.executors_registering += 1,
        State::Running => gauges.executors_running += 1,
        State::Terminating => gauges.executors_terminating += 1,
        State::Terminated => {}
    }
    gauges.tasks_staging += count(executor.queued.len());
    for task in executor.launched.values() {
        match task.state {
            TaskState::TaskStaging => gauges.tasks_staging += 1,
            TaskState::TaskStarting => gauges.tasks_starting += 1,
            TaskState::TaskRunning => gauges.tasks_running += 1,
            TaskState::TaskKilling => gauges.tasks_killing += 1,
            // Nothing launched is in another state.
            TaskState::TaskFinished
            | TaskState::TaskFailed
            | TaskState::TaskKilled
            | TaskState::TaskError
            | TaskState::TaskLost
            | TaskState::TaskDropped
            | TaskState::TaskUnreachable
            | TaskState::TaskGone
            | TaskState::TaskGoneByOperator
            | TaskState::TaskUnknown => {}
        }
    }
}

fn resource_gauges(total: &Resources, allocated: &Resources) -> Vec<ResourceGauge> {
    let (total_fixed, total_revocable) = (total.non_revocable(), total.revocable());
    let (used_fixed, used_revocable) = (allocated.non_revocable(), allocated.revocable());
    ["cpus", "gpus", "mem", "disk"]
        .into_iter()
        .map(|name| ResourceGauge {
            name,
            total: total_fixed.scalar(name).to_f64(),
            used: used_fixed.scalar(name).to_f64(),
            revocable_total: total_revocable.scalar(name).to_f64(),
            revocable_used: used_revocable.scalar(name).to_f64(),
        })
        .collect()
}

pub(crate) fn framework_view(framework: &Framework) -> Arc<FrameworkView> {
    let pending = framework.pending.iter().flat_map(|launch| launch.tasks());
    Arc::new(FrameworkView {
        info: Arc::clone(&framework.info),
        pid: framework.pid.clone(),
        pending_tasks: pending.map(|task| Arc::new(task.clone())).collect(),
        executors: framework.executors.values().map(executor_view).collect(),
        completed_executors: framework.completed_executors.iter().cloned().collect(),
    })
}

pub(crate) fn executor_view(executor: &Executor) -> Arc<ExecutorView> {
    Arc::new(ExecutorView {
        info: Arc::clone(&executor.info),
        container: executor.container.clone(),
        directory: executor.directory.clone(),
        state: executor.state,
        is_command_executor: executor.is_command_executor,
        resources: resources_of(executor),
        queued_tasks: executor.queued.values().cloned().collect(),
        launched_tasks: executor.launched.values().cloned().collect(),
        terminated_tasks: executor.terminated.values().cloned().collect(),
        completed_tasks: executor.completed.iter().cloned().collect(),
    })
}

/// Nothing is held by an executor that is over, though its description says what it had.
fn resources_of(executor: &Executor) -> Vec<mesos::Resource> {
    match executor.state {
        State::Registering | State::Running | State::Terminating => {
            resource_state::of_executor(executor)
        }
        State::Terminated => Vec::new(),
    }
}

fn count(number: usize) -> u64 {
    u64::try_from(number).unwrap_or(u64::MAX)
}
