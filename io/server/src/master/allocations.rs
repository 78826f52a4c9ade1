//! How long allocations take, and how long they wait.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use crate::metrics::Latencies;

/// The times of the last allocations.
#[derive(Debug, Default)]
pub(super) struct AllocationTimes(Mutex<Times>);

#[derive(Debug, Default)]
struct Times {
    runs: Latencies,
    waits: Latencies,
}

impl AllocationTimes {
    /// Notes an allocation that was due for `wait` when it began and took `run`, offers included.
    pub(super) fn add(&self, wait: Duration, run: Duration) {
        let mut times = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        times.waits.add(wait);
        times.runs.add(run);
    }

    /// Adds `allocator/mesos/allocation_run_ms` and `allocator/mesos/allocation_run_latency_ms`.
    pub(super) fn add_to(&self, metrics: &mut BTreeMap<String, f64>) {
        let times = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        times.runs.add_to("allocator/mesos/allocation_run_ms", metrics);
        times.waits.add_to("allocator/mesos/allocation_run_latency_ms", metrics);
    }
}
