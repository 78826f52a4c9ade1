//! What was measured: as a table for people, as JSON for programs.

use std::fmt::Write as _;

use serde_json::{Map, Number, Value, json};

use crate::engine::Counters;
use crate::ledger::Violations;
use crate::samples::Samples;

/// Fields that every result has, in this order; null where a scenario does not measure them.
const ALWAYS: &[&str] = &[
    "launches_per_second",
    "probe_delay_ms_p50",
    "probe_delay_ms_p99",
    "agents_registered_per_second",
    "master_cpu_seconds",
    "master_rss_bytes",
];

/// One result: named values in the order they were measured.
#[derive(Clone, Debug, Default)]
pub(crate) struct Report {
    fields: Map<String, Value>,
}

impl Report {
    pub(crate) fn new(scenario: &str) -> Self {
        let mut report = Self::default();
        report.fields.insert("scenario".to_owned(), json!(scenario));
        report
    }

    pub(crate) fn set(&mut self, name: &str, value: impl Into<Value>) {
        self.fields.insert(name.to_owned(), value.into());
    }

    /// Sets a measured number, rounded to what can be meant by it.
    pub(crate) fn set_number(&mut self, name: &str, value: Option<f64>) {
        let rounded = value.map(|value| (value * 1000.0).round() / 1000.0);
        let number = rounded.and_then(Number::from_f64).map_or(Value::Null, Value::Number);
        self.fields.insert(name.to_owned(), number);
    }

    /// Sets `<name>_ms_p50` and `<name>_ms_p99`.
    pub(crate) fn set_percentiles(&mut self, name: &str, samples: &Samples) {
        self.set_number(&format!("{name}_ms_p50"), samples.percentile_ms(0.5));
        self.set_number(&format!("{name}_ms_p99"), samples.percentile_ms(0.99));
    }

    /// Sets what was counted in `seconds`.
    pub(crate) fn set_counters(&mut self, counters: &Counters, seconds: f64) {
        let rate = |count: u64| Some(per_second(count, seconds));
        self.set_number("measured_seconds", Some(seconds));
        self.set_number("launches_per_second", rate(counters.launches));
        self.set_number("offers_per_second", rate(counters.offers));
        self.set_number("updates_per_second", rate(counters.updates));
        self.set_percentiles("launch_delay", &counters.launch_delay);
        self.set("tasks_launched", counters.launches);
        self.set("tasks_finished", counters.finished);
        self.set("tasks_lost", counters.lost);
        self.set("offers_declined", counters.declined);
        self.set("offers_rescinded", counters.rescinded);
        self.set("updates_repeated", counters.repeated_updates);
        self.set("calls_refused", counters.refused_calls);
    }

    /// Adds what went wrong, which ends a result.
    pub(crate) fn finish(mut self, violations: &Violations) -> Self {
        for name in ALWAYS {
            if !self.fields.contains_key(*name) {
                self.fields.insert((*name).to_owned(), Value::Null);
            }
        }
        self.set("errors", violations.count());
        self.set("violations", violations.texts().to_vec());
        self
    }

    /// A number that was set before.
    pub(crate) fn number(&self, name: &str) -> Option<f64> {
        self.fields.get(name).and_then(Value::as_f64)
    }

    /// How much went wrong.
    pub(crate) fn errors(&self) -> u64 {
        self.fields.get("errors").and_then(Value::as_u64).unwrap_or(0)
    }

    pub(crate) fn to_json(&self) -> String {
        let text = serde_json::to_string_pretty(&self.fields);
        // A map of numbers and texts can always be written.
        text.unwrap_or_default() + "\n"
    }

    pub(crate) fn to_table(&self) -> String {
        let mut table = String::new();
        let width = self.fields.keys().map(String::len).max().unwrap_or(0);
        for (name, value) in &self.fields {
            match value {
                Value::Array(texts) => {
                    for text in texts {
                        // Writing to a string cannot fail.
                        let _ = writeln!(table, "  {}", show(text));
                    }
                }
                Value::Object(members) => {
                    let text: Vec<String> = members
                        .iter()
                        .map(|(name, value)| format!("{name}={}", show(value)))
                        .collect();
                    let _ = writeln!(table, "{name:<width$}  {}", text.join(" "));
                }
                Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {
                    let _ = writeln!(table, "{name:<width$}  {}", show(value));
                }
            }
        }
        table
    }
}

/// A count for each second of a time.
#[expect(clippy::cast_precision_loss, reason = "counts far below 2^53")]
pub(crate) fn per_second(count: u64, seconds: f64) -> f64 {
    if seconds > 0.0 { count as f64 / seconds } else { 0.0 }
}

/// A value as people read it.
pub(crate) fn show(value: &Value) -> String {
    match value {
        Value::Null => "-".to_owned(),
        Value::String(text) => text.clone(),
        Value::Bool(_) | Value::Number(_) | Value::Array(_) | Value::Object(_) => value.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn a_result_holds_what_it_must_and_what_went_wrong() {
        let mut report = Report::new("steady");
        let mut counters = Counters { launches: 300, ..Counters::default() };
        counters.launch_delay.record(Duration::from_millis(7));
        report.set_counters(&counters, 10.0);
        let mut violations = Violations::default();
        violations.add("a contradiction");
        let report = report.finish(&violations);
        let value: Value = serde_json::from_str(&report.to_json()).unwrap();
        assert_eq!(value["scenario"], "steady");
        assert_eq!(value["launches_per_second"], 30.0);
        assert_eq!(value["launch_delay_ms_p99"], 7.0);
        assert_eq!(value["errors"], 1);
        assert_eq!(value["violations"][0], "a contradiction");
        for name in ALWAYS {
            assert!(value.get(name).is_some(), "{name}");
        }
        assert!(value["probe_delay_ms_p50"].is_null());
        let table = report.to_table();
        assert!(table.contains("launches_per_second           30.0\n"), "{table}");
        assert!(table.contains("a contradiction"));
    }

    #[test]
    fn nothing_in_no_time_is_no_rate() {
        assert!(per_second(5, 0.0).abs() < f64::EPSILON);
    }
}
