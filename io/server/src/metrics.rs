//! What a daemon knows of its machine and of its own slowness, under libprocess' metric names.

use std::collections::{BTreeMap, VecDeque};
use std::fs;
use std::time::Duration;

use crate::http::json::JsonWriter;

/// How many durations [`Latencies`] keeps for its percentiles, as libprocess' time series do.
pub const SAMPLES_MAX: usize = 1000;

/// The load, processors and memory of the machine.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct SystemStats {
    /// Load averages of 1, 5 and 15 minutes.
    pub load: [f64; 3],
    /// Processors online.
    pub cpus_total: u32,
    /// Bytes nobody uses.
    pub mem_free_bytes: u64,
    /// Bytes of memory.
    pub mem_total_bytes: u64,
}

impl SystemStats {
    /// Reads them from `/proc`; what cannot be read is zero.
    #[must_use]
    pub fn read() -> Self {
        let mut stats = Self {
            cpus_total: std::thread::available_parallelism()
                .ok()
                .and_then(|count| u32::try_from(count.get()).ok())
                .unwrap_or(0),
            ..Self::default()
        };
        if let Ok(loadavg) = fs::read_to_string("/proc/loadavg") {
            for (load, text) in stats.load.iter_mut().zip(loadavg.split_whitespace()) {
                *load = text.parse().unwrap_or(0.0);
            }
        }
        if let Ok(meminfo) = fs::read_to_string("/proc/meminfo") {
            stats.mem_total_bytes = meminfo_bytes(&meminfo, "MemTotal:");
            stats.mem_free_bytes = meminfo_bytes(&meminfo, "MemFree:");
        }
        stats
    }

    /// The body of `/system/stats.json`.
    #[must_use]
    pub fn to_json(&self) -> Vec<u8> {
        let mut json = JsonWriter::new();
        json.object(|json| {
            let [one, five, fifteen] = self.load;
            json.key("avg_load_15min").double(fifteen);
            json.key("avg_load_1min").double(one);
            json.key("avg_load_5min").double(five);
            json.key("cpus_total").integer(self.cpus_total.into());
            json.key("mem_free_bytes").integer(self.mem_free_bytes);
            json.key("mem_total_bytes").integer(self.mem_total_bytes);
        });
        json.into_bytes()
    }

    /// Adds the `system/` metrics.
    #[expect(clippy::cast_precision_loss, reason = "metrics are doubles")]
    pub fn add_to(&self, metrics: &mut BTreeMap<String, f64>) {
        let [one, five, fifteen] = self.load;
        for (name, value) in [
            ("system/cpus_total", f64::from(self.cpus_total)),
            ("system/load_1min", one),
            ("system/load_5min", five),
            ("system/load_15min", fifteen),
            ("system/mem_free_bytes", self.mem_free_bytes as f64),
            ("system/mem_total_bytes", self.mem_total_bytes as f64),
        ] {
            metrics.insert(name.to_owned(), value);
        }
    }
}

/// A line such as `MemTotal:       24684092 kB` in bytes.
fn meminfo_bytes(meminfo: &str, label: &str) -> u64 {
    meminfo
        .lines()
        .find_map(|line| line.strip_prefix(label))
        .and_then(|rest| rest.split_whitespace().next())
        .and_then(|kilobytes| kilobytes.parse::<u64>().ok())
        .map_or(0, |kilobytes| kilobytes.saturating_mul(1024))
}

/// How long something took, the last [`SAMPLES_MAX`] times.
#[derive(Clone, Debug, Default)]
pub struct Latencies {
    samples: VecDeque<f64>,
    count: u64,
}

impl Latencies {
    /// Adds one duration.
    pub fn add(&mut self, duration: Duration) {
        if self.samples.len() == SAMPLES_MAX {
            self.samples.pop_front();
        }
        self.samples.push_back(duration.as_secs_f64() * 1000.0);
        self.count += 1;
    }

    /// Adds `<name>` (the last, in milliseconds), its count, extremes and percentiles. Nothing before the first.
    #[expect(clippy::cast_precision_loss, reason = "metrics are doubles")]
    pub fn add_to(&self, name: &str, metrics: &mut BTreeMap<String, f64>) {
        let Some(last) = self.samples.back() else { return };
        metrics.insert(name.to_owned(), *last);
        metrics.insert(format!("{name}/count"), self.count as f64);
        let mut sorted: Vec<f64> = self.samples.iter().copied().collect();
        sorted.sort_by(f64::total_cmp);
        for (suffix, share) in [
            ("min", 0.0),
            ("p50", 0.5),
            ("p90", 0.9),
            ("p95", 0.95),
            ("p99", 0.99),
            ("p999", 0.999),
            ("p9999", 0.9999),
            ("max", 1.0),
        ] {
            metrics.insert(format!("{name}/{suffix}"), percentile(&sorted, share));
        }
    }
}

/// The value below which `share` of the sorted samples lie, interpolated between neighbours.
#[expect(
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "an index into at most SAMPLES_MAX samples"
)]
fn percentile(sorted: &[f64], share: f64) -> f64 {
    let position = share * sorted.len().saturating_sub(1) as f64;
    let below = position.floor() as usize;
    let low = sorted.get(below).copied().unwrap_or(0.0);
    let high = sorted.get(below + 1).copied().unwrap_or(low);
    low + (high - low) * position.fract()
}

/// The body of `/metrics/snapshot`.
#[must_use]
pub fn to_json(metrics: &BTreeMap<String, f64>) -> Vec<u8> {
    let mut json = JsonWriter::new();
    json.object(|json| {
        for (name, value) in metrics {
            json.key(name).double(*value);
        }
    });
    json.into_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_machine_has_a_processor_and_memory() {
        let stats = SystemStats::read();
        assert!(stats.cpus_total >= 1);
        assert!(stats.mem_total_bytes >= stats.mem_free_bytes && stats.mem_total_bytes > 1 << 20);
    }

    #[test]
    fn percentiles_lie_between_neighbours() {
        let mut latencies = Latencies::default();
        let mut metrics = BTreeMap::new();
        latencies.add_to("x", &mut metrics);
        assert!(metrics.is_empty(), "nothing before the first");
        for milliseconds in [4, 1, 3, 2] {
            latencies.add(Duration::from_millis(milliseconds));
        }
        latencies.add_to("x", &mut metrics);
        let value = |name: &str| metrics.get(name).copied().unwrap_or(f64::NAN);
        assert!((value("x") - 2.0).abs() < 1e-9);
        assert!((value("x/count") - 4.0).abs() < 1e-9);
        assert!((value("x/min") - 1.0).abs() < 1e-9);
        assert!((value("x/max") - 4.0).abs() < 1e-9);
        assert!((value("x/p50") - 2.5).abs() < 1e-9);
    }

    #[test]
    fn old_samples_leave() {
        let mut latencies = Latencies::default();
        latencies.add(Duration::from_secs(9));
        for _ in 0..SAMPLES_MAX {
            latencies.add(Duration::from_secs(1));
        }
        let mut metrics = BTreeMap::new();
        latencies.add_to("x", &mut metrics);
        assert!((metrics["x/max"] - 1000.0).abs() < 1e-9);
        assert!((metrics["x/count"] - 1001.0).abs() < 1e-9);
    }
}
