//! The allocator's gauges (`src/master/allocator/mesos/metrics.cpp`).

use std::collections::BTreeMap;

use resources::Quantities;

use crate::Master;
use crate::metrics::Counter;

/// The resources whose sums have gauges of their own.
const SUMMED: [&str; 3] = ["cpus", "disk", "mem"];

impl Master {
    /// How many allocations there were.
    #[must_use]
    pub fn allocation_runs(&self) -> u64 {
        self.metrics.counter(Counter::AllocationRuns)
    }

    /// The gauges under `allocator/mesos/`, by their whole names, except for what agents have in total.
    ///
    /// Costs a look at every role, so it is for those who read metrics.
    #[must_use]
    pub fn allocator_gauges(&self) -> BTreeMap<String, f64> {
        let mut gauges = BTreeMap::new();
        let mut set = |name: String, value: f64| {
            gauges.insert(format!("allocator/mesos/{name}"), value);
        };
        let mut held = Quantities::new();
        for status in self.allocator.role_statuses() {
            let role = &status.role;
            set(format!("roles/{role}/shares/dominant"), status.dominant_share);
            #[expect(clippy::cast_precision_loss, reason = "Mesos' metrics are doubles")]
            let filters = status.filter_count as f64;
            set(format!("offer_filters/roles/{role}/active"), filters);
            let quota = format!("quota/roles/{role}/resources");
            for (name, amount) in status.quota.guarantees.iter() {
                set(format!("{quota}/{name}/guarantee"), amount.to_f64());
            }
            for (name, amount) in status.quota.limits.iter() {
                set(format!("{quota}/{name}/limit"), amount.to_f64());
            }
            for (name, amount) in status.quota_consumed.iter() {
                set(format!("{quota}/{name}/consumed"), amount.to_f64());
            }
            if status.quota != allocator::Quota::default() {
                for (name, amount) in status.held.iter() {
                    set(format!("{quota}/{name}/offered_or_allocated"), amount.to_f64());
                }
            }
            if !role.contains('/') {
                held += &status.held;
            }
        }
        for name in SUMMED {
            set(format!("resources/{name}/offered_or_allocated"), held.get(name).to_f64());
        }
        gauges
    }
}
