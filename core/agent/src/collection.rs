//! The agent's side of garbage collection: watching the disk, removing old sandboxes, sparing
//! directories that are in use again.

use std::time::Duration;

use protocol::mesos;
use protocol::time::Timestamp;

use crate::agent::Agent;
use crate::checkpoint;
use crate::effect::{Effect, Severity};
use crate::executor::ExecutorKey;
use crate::garbage_collection::age_allowed;
use crate::timers::Timer;

/// A shorter `--disk_watch_interval` would be all the agent does.
const DISK_WATCH_INTERVAL_MIN: Duration = Duration::from_secs(1);

impl Agent {
    /// The absolute path of something below the work directory.
    pub(crate) fn work_path(&self, relative: &str) -> String {
        format!("{}/{relative}", self.config.work_dir)
    }

    /// The absolute path of something below the meta directory.
    pub(crate) fn meta_path(&self, relative: &str) -> String {
        format!("{}/meta/{relative}", self.config.work_dir)
    }

    pub(crate) fn begin_disk_watch(&mut self, now: Timestamp) {
        let age = age_allowed(&self.config.garbage_collection, 0.0);
        self.metrics.executor_directory_max_allowed_age_secs = age.as_secs_f64();
        self.set_disk_watch_timer(now);
    }

    pub(crate) fn watch_disk(&mut self, now: Timestamp) {
        self.outbox.send(Effect::MeasureDiskUsage);
        self.set_disk_watch_timer(now);
    }

    fn set_disk_watch_timer(&mut self, now: Timestamp) {
        let interval = self.config.garbage_collection.disk_watch_interval;
        self.timers.set(now + interval.max(DISK_WATCH_INTERVAL_MIN), Timer::DiskWatch);
    }

    /// Removes what is older than a disk as full as this allows.
    pub(crate) fn disk_usage(&mut self, now: Timestamp, used_fraction: f64) {
        let config = &self.config.garbage_collection;
        let age = age_allowed(config, used_fraction);
        let early = config.delay.saturating_sub(age);
        self.metrics.executor_directory_max_allowed_age_secs = age.as_secs_f64();
        self.remove_due(now + early);
    }

    pub(crate) fn collect_garbage(&mut self, now: Timestamp) {
        self.collection_due = None;
        self.remove_due(now);
        self.set_collection_timer();
    }

    fn remove_due(&mut self, until: Timestamp) {
        for path in self.garbage.take_due(until) {
            self.outbox.send(Effect::RemoveDirectory { path });
        }
    }

    /// Removes a directory when it has been unused for the configured delay.
    pub(crate) fn schedule_removal(&mut self, unused_since: Timestamp, path: String) {
        let removal = unused_since + self.config.garbage_collection.delay;
        self.garbage.schedule(path, removal);
        self.set_collection_timer();
    }

    fn set_collection_timer(&mut self) {
        let Some(next) = self.garbage.next() else { return };
        if self.collection_due.is_some_and(|(due, _)| due <= next) {
            return;
        }
        if let Some((_, timer)) = self.collection_due.take() {
            self.timers.cancel(timer);
        }
        // Directories unused at about the same time go together.
        let due = next + Duration::from_secs(1);
        let timer = self.timers.set(due, Timer::GarbageCollection);
        self.collection_due = Some((due, timer));
    }

    /// The records of one task of an executor that may live much longer.
    pub(crate) fn collect_task_directory(
        &mut self,
        now: Timestamp,
        key: &ExecutorKey,
        task: &mesos::TaskId,
    ) {
        let Some(executor) = self.executor(key).filter(|executor| executor.checkpoint) else {
            return;
        };
        let directory = self.run_path(executor).task_directory(task);
        self.schedule_removal(now, self.meta_path(&directory));
    }

    /// Spares the directories a new run of an executor will use. Whether it has to wait for one that
    /// is being removed right now.
    pub(crate) fn reclaim_directories(
        &mut self,
        framework: &mesos::FrameworkId,
        executor: &mesos::ExecutorId,
    ) -> bool {
        let key = ExecutorKey { framework: framework.clone(), executor: executor.clone() };
        let of_framework = checkpoint::framework_directory(&self.agent_id(), framework);
        let of_executor = self.executor_path(&key).directory();
        let mut must_wait = false;
        for directory in [of_framework, of_executor] {
            for path in [self.work_path(&directory), self.meta_path(&directory)] {
                must_wait |= self.garbage.unschedule(&path);
            }
        }
        must_wait
    }

    pub(crate) fn directory_removed(&mut self, now: Timestamp, path: &str, succeeded: bool) {
        self.garbage.removed(path);
        if succeeded {
            self.metrics.path_removals_succeeded += 1;
        } else {
            self.metrics.path_removals_failed += 1;
            self.log(Severity::Warning, format!("failed to remove {path}"));
        }
        self.start_pending_launches(now);
    }
}
