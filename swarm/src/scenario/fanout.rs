//! Subscribers of the operator event stream watch a busy cluster.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::Context as _;
use protocol::master::{Call, Event, call, event};

use super::Run;
use crate::http::stream::EventStream;
use crate::http::{Encoding, Server, append_post};
use crate::options::{Defaults, Fanout, Settings};
use crate::report::{Report, per_second};

const API: &str = "/api/v1";

/// What one subscriber saw.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Seen {
    is_subscribed: bool,
    has_ended: bool,
    events: u64,
    bytes: u64,
    /// How often each task was added, and how often it was last seen.
    added: BTreeMap<String, u32>,
}

type Shared = Arc<Mutex<Vec<Seen>>>;

pub(super) async fn run(options: Fanout) -> anyhow::Result<Report> {
    let settings = Settings::new(options.common, Defaults::default()).await?;
    let measured = settings.measured;
    let encoding = settings.common.encoding;
    let mut run = Run::new("fanout", settings).await?;
    run.report.set("subscribers", options.subscribers);
    run.fill().await?;

    let half = measured / 2;
    run.start_measuring();
    run.engine.run_for(half).await?;
    run.stop_measuring();
    let alone = run.engine.take_counters();
    let cpu_alone = run.report.number("master_cpu_seconds");

    let seen: Shared = Arc::new(Mutex::new(vec![Seen::default(); options.subscribers as usize]));
    let request = subscription(&run.engine.server, encoding);
    let watchers: Vec<_> = (0..options.subscribers as usize)
        .map(|number| {
            let (server, seen) = (run.engine.server.clone(), Arc::clone(&seen));
            tokio::spawn(watch(server, request.clone(), encoding, number, seen))
        })
        .collect();
    let everyone = Arc::clone(&seen);
    run.engine
        .run_until("all subscribers to be subscribed", move |_| {
            lock(&everyone).iter().all(|seen| seen.is_subscribed || seen.has_ended)
        })
        .await
        .context("subscribing to /api/v1")?;
    run.start_measuring();
    let before = total(&seen);
    run.engine.run_for(half).await?;
    run.stop_measuring();
    let after = total(&seen);
    let counters = run.engine.take_counters();
    let seconds = half.as_secs_f64();
    run.report.set_counters(&counters, seconds);
    let without = per_second(alone.launches, seconds);
    run.report.set_number("launches_per_second_without_subscribers", Some(without));
    run.report.set_number("master_cpu_seconds_without_subscribers", cpu_alone);
    let events = after.0.saturating_sub(before.0);
    run.report.set_number("events_delivered_per_second", Some(per_second(events, seconds)));
    let bytes = after.1.saturating_sub(before.1);
    run.report.set_number("bytes_delivered_per_second", Some(per_second(bytes, seconds)));
    run.drain().await?;
    // What happened last is on its way to the subscribers.
    run.engine.run_for(std::time::Duration::from_secs(1)).await?;
    for watcher in watchers {
        watcher.abort();
    }
    for problem in compare(&lock(&seen)) {
        run.engine.ledger.violations.add(problem);
    }
    Ok(run.finish().await)
}

fn lock(seen: &Shared) -> std::sync::MutexGuard<'_, Vec<Seen>> {
    seen.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The events and bytes that all subscribers got.
fn total(seen: &Shared) -> (u64, u64) {
    lock(seen).iter().fold((0, 0), |sum, seen| (sum.0 + seen.events, sum.1 + seen.bytes))
}

fn subscription(server: &Server, encoding: Encoding) -> Vec<u8> {
    let call = Call { r#type: Some(call::Type::Subscribe), ..Default::default() };
    let mut request = Vec::new();
    append_post(&server.post(API, encoding, None), &encoding.encode(&call), &mut request);
    request
}

async fn watch(
    server: Server,
    request: Vec<u8>,
    encoding: Encoding,
    number: usize,
    shared: Shared,
) {
    let opened = EventStream::open(&server, &request).await;
    if let Ok(mut stream) = opened {
        while let Ok(Some(records)) = stream.next().await {
            // Decoding a hundred copies of each event would measure this process and not the master.
            let events: Vec<Event> = if number < READING_SUBSCRIBERS {
                records.iter().filter_map(|record| encoding.decode(record).ok()).collect()
            } else {
                Vec::new()
            };
            let mut shared = lock(&shared);
            if let Some(seen) = shared.get_mut(number) {
                seen.note(&records, &events);
            }
        }
    }
    if let Some(seen) = lock(&shared).get_mut(number) {
        seen.has_ended = true;
    }
}

/// So many subscribers look into their events.
const READING_SUBSCRIBERS: usize = 2;

impl Seen {
    fn note(&mut self, records: &[Vec<u8>], events: &[Event]) {
        // The first record is the answer to the subscription.
        self.is_subscribed = true;
        self.events += u64::try_from(records.len()).unwrap_or(u64::MAX);
        let bytes: usize = records.iter().map(Vec::len).sum();
        self.bytes += u64::try_from(bytes).unwrap_or(u64::MAX);
        for event in events {
            if event.r#type == Some(event::Type::TaskAdded)
                && let Some(added) = &event.task_added
            {
                *self.added.entry(added.task.task_id.value.clone()).or_default() += 1;
            }
        }
    }
}

/// What is wrong with what the subscribers saw: nobody may be left out, nothing may come twice.
fn compare(seen: &[Seen]) -> Vec<String> {
    let mut problems = Vec::new();
    for (number, seen) in seen.iter().enumerate() {
        if seen.has_ended {
            problems.push(format!("the stream of subscriber {number} ended"));
        }
        if let Some((task, times)) = seen.added.iter().find(|(_, times)| **times > 1) {
            problems.push(format!("subscriber {number} was told {times} times of task {task}"));
        }
    }
    problems
}

#[cfg(test)]
mod tests {
    use super::*;
    use protocol::mesos::{Task, TaskId};

    fn added(id: &str) -> Event {
        let task_id = TaskId { value: id.to_owned(), ..Default::default() };
        let task = Task { task_id, ..Default::default() };
        Event {
            r#type: Some(event::Type::TaskAdded),
            task_added: Some(Box::new(event::TaskAdded { task, ..Default::default() })),
            ..Default::default()
        }
    }

    #[test]
    fn what_comes_twice_or_ends_is_found() {
        let mut good = Seen::default();
        good.note(&[vec![0; 10], vec![0; 5]], &[added("a"), added("b")]);
        assert_eq!((good.events, good.bytes), (2, 15));
        assert_eq!(compare(&[good.clone()]), Vec::<String>::new());
        let mut doubled = good.clone();
        doubled.note(&[Vec::new()], &[added("b")]);
        let ended = Seen { has_ended: true, ..Seen::default() };
        let problems = compare(&[good, doubled, ended]);
        assert_eq!(problems.len(), 2, "{problems:?}");
        assert!(problems[0].contains("subscriber 1 was told 2 times of task b"));
        assert!(problems[1].contains("subscriber 2 ended"));
    }
}
