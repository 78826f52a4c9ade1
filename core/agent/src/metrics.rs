//! Counters and gauges under Mesos' names (`src/slave/metrics.cpp`).

/// What is counted while the process runs. Gauges are computed when a view is taken.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Metrics {
    /// `slave/tasks_finished`
    pub tasks_finished: u64,
    /// `slave/tasks_failed`
    pub tasks_failed: u64,
    /// `slave/tasks_killed`
    pub tasks_killed: u64,
    /// `slave/tasks_lost`
    pub tasks_lost: u64,
    /// `slave/tasks_gone`
    pub tasks_gone: u64,
    /// `slave/executors_terminated`
    pub executors_terminated: u64,
    /// `slave/valid_status_updates`
    pub valid_status_updates: u64,
    /// `slave/invalid_status_updates`
    pub invalid_status_updates: u64,
    /// `slave/valid_framework_messages`
    pub valid_framework_messages: u64,
    /// `slave/invalid_framework_messages`
    pub invalid_framework_messages: u64,
    /// `slave/container_launch_errors`
    pub container_launch_errors: u64,
    /// `slave/recovery_errors`
    pub recovery_errors: u64,
    /// Messages that came from somebody else than the leading master; Mesos only logs them.
    pub foreign_master_messages: u64,
    /// `gc/path_removals_succeeded`
    pub path_removals_succeeded: u64,
    /// `gc/path_removals_failed`
    pub path_removals_failed: u64,
    /// `slave/recovery_time_secs`, once recovery is over.
    pub recovery_time_secs: Option<f64>,
    /// `slave/executor_directory_max_allowed_age_secs`
    pub executor_directory_max_allowed_age_secs: f64,
    /// The gauges.
    pub gauges: Gauges,
}

/// What is, at the moment the view was taken.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Gauges {
    /// `slave/registered`
    pub registered: bool,
    /// `slave/frameworks_active`
    pub frameworks_active: u64,
    /// `slave/tasks_staging`
    pub tasks_staging: u64,
    /// `slave/tasks_starting`
    pub tasks_starting: u64,
    /// `slave/tasks_running`
    pub tasks_running: u64,
    /// `slave/tasks_killing`
    pub tasks_killing: u64,
    /// `slave/executors_registering`
    pub executors_registering: u64,
    /// `slave/executors_running`
    pub executors_running: u64,
    /// `slave/executors_terminating`
    pub executors_terminating: u64,
    /// `gc/path_removals_pending`
    pub path_removals_pending: u64,
    /// `slave/<name>_total`, `_used` and their `_revocable` kin, for cpus, gpus, mem and disk.
    pub resources: Vec<ResourceGauge>,
}

/// One scalar resource.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ResourceGauge {
    /// `cpus`, `gpus`, `mem` or `disk`.
    pub name: &'static str,
    /// All there is, revocable resources left out.
    pub total: f64,
    /// What is in use, revocable resources left out.
    pub used: f64,
    /// All there is of revocable resources.
    pub revocable_total: f64,
    /// What is in use of revocable resources.
    pub revocable_used: f64,
}

impl Metrics {
    /// Name and value of each metric the agent's core knows, as `/metrics/snapshot` shows them.
    #[must_use]
    pub fn entries(&self) -> Vec<(String, f64)> {
        let gauges = &self.gauges;
        let counters = [
            ("slave/registered", u64::from(gauges.registered)),
            ("slave/frameworks_active", gauges.frameworks_active),
            ("slave/tasks_staging", gauges.tasks_staging),
            ("slave/tasks_starting", gauges.tasks_starting),
            ("slave/tasks_running", gauges.tasks_running),
            ("slave/tasks_killing", gauges.tasks_killing),
            ("slave/tasks_finished", self.tasks_finished),
            ("slave/tasks_failed", self.tasks_failed),
            ("slave/tasks_killed", self.tasks_killed),
            ("slave/tasks_lost", self.tasks_lost),
            ("slave/tasks_gone", self.tasks_gone),
            ("slave/executors_registering", gauges.executors_registering),
            ("slave/executors_running", gauges.executors_running),
            ("slave/executors_terminating", gauges.executors_terminating),
            ("slave/executors_terminated", self.executors_terminated),
            ("slave/executors_preempted", 0),
            ("slave/valid_status_updates", self.valid_status_updates),
            ("slave/invalid_status_updates", self.invalid_status_updates),
            ("slave/valid_framework_messages", self.valid_framework_messages),
            ("slave/invalid_framework_messages", self.invalid_framework_messages),
            ("slave/container_launch_errors", self.container_launch_errors),
            ("slave/recovery_errors", self.recovery_errors),
            ("gc/path_removals_pending", gauges.path_removals_pending),
            ("gc/path_removals_succeeded", self.path_removals_succeeded),
            ("gc/path_removals_failed", self.path_removals_failed),
        ];
        let mut entries: Vec<(String, f64)> =
            counters.into_iter().map(|(name, value)| (name.to_owned(), count(value))).collect();
        entries.push((
            "slave/executor_directory_max_allowed_age_secs".to_owned(),
            self.executor_directory_max_allowed_age_secs,
        ));
        if let Some(seconds) = self.recovery_time_secs {
            entries.push(("slave/recovery_time_secs".to_owned(), seconds));
        }
        for resource in &gauges.resources {
            resource.append_to(&mut entries);
        }
        entries
    }
}

impl ResourceGauge {
    fn append_to(&self, entries: &mut Vec<(String, f64)>) {
        let kinds = [
            ("", self.total, self.used),
            ("_revocable", self.revocable_total, self.revocable_used),
        ];
        for (kind, total, used) in kinds {
            let percent = if total > 0.0 { used / total } else { 0.0 };
            let name = self.name;
            entries.push((format!("slave/{name}{kind}_total"), total));
            entries.push((format!("slave/{name}{kind}_used"), used));
            entries.push((format!("slave/{name}{kind}_percent"), percent));
        }
    }
}

#[expect(clippy::cast_precision_loss, reason = "no counter gets near 2^53")]
fn count(value: u64) -> f64 {
    value as f64
}
