//! The metrics of the master, its registry and its machine.

use std::collections::BTreeMap;
use std::sync::atomic::Ordering;

use super::handler::MasterHandler;
use super::term::Term;
use crate::event_loop::Stopped;
use crate::metrics::SystemStats;

/// Everything that `/metrics/snapshot` and `GET_METRICS` show. A master that stands by shows what it knows of
/// itself.
pub(super) async fn collect(handler: &MasterHandler) -> Result<BTreeMap<String, f64>, Stopped> {
    // A term may end while it is asked.
    let leading = match handler.term() {
        Ok(term) => of_term(&term).await.ok(),
        Err(Stopped) => None,
    };
    let mut metrics =
        leading.unwrap_or_else(|| BTreeMap::from([("master/elected".to_owned(), 0.0)]));
    let uptime = handler.daemon.clock.now() - handler.process.start_time;
    #[expect(clippy::cast_precision_loss, reason = "metrics are doubles")]
    let dropped_streams = handler.daemon.dropped_streams.load(Ordering::Relaxed) as f64;
    metrics.insert("master/uptime_secs".to_owned(), uptime.as_secs_f64());
    metrics.insert("master/event_streams_dropped".to_owned(), dropped_streams);
    SystemStats::read().add_to(&mut metrics);
    Ok(metrics)
}

#[expect(clippy::cast_precision_loss, reason = "metrics are doubles")]
async fn of_term(term: &Term) -> Result<BTreeMap<String, f64>, Stopped> {
    let snapshot = term.reads.snapshot().await?;
    let mut metrics: BTreeMap<String, f64> =
        snapshot.metrics.iter().map(|(name, value)| (name.to_owned(), value)).collect();
    for (name, value) in [
        ("master/elected", 1.0),
        ("master/http_cache_hits", term.reads.hits() as f64),
        ("master/event_queue_messages", term.inputs.waiting() as f64),
        ("master/event_queue_dispatches", 0.0),
        ("master/event_queue_http_requests", 0.0),
    ] {
        metrics.entry(name.to_owned()).or_insert(value);
    }
    for counts in snapshot.framework_counts.values() {
        counts.for_each(|name, value| {
            metrics.insert(name, value);
        });
    }
    metrics.extend(term.reads.ask(|master, _| master.allocator_gauges()).await?);
    for name in ["cpus", "disk", "mem"] {
        let amount = |middle: &str| metrics.get(&format!("master/{name}_{middle}total")).copied();
        let total = amount("").unwrap_or(0.0) + amount("revocable_").unwrap_or(0.0);
        metrics.insert(format!("allocator/mesos/resources/{name}/total"), total);
    }
    // Under both names, as in Mesos; there is no queue between master and allocator.
    for name in ["allocator/event_queue_dispatches", "allocator/mesos/event_queue_dispatches"] {
        metrics.insert(name.to_owned(), 0.0);
    }
    term.allocations.add_to(&mut metrics);
    term.storage.add_to(&mut metrics);
    Ok(metrics)
}
