//! Readers of the whole state: what they wait for it, and what they cost the cluster.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::Run;
use crate::http::reader::{Answer, Body, Reader};
use crate::options::{Defaults, OptionsError, Readers, Settings};
use crate::report::{Report, per_second};
use crate::samples::Samples;

/// How often one reader, and ten equal ones, read a cluster at rest.
const ROUNDS: u32 = 5;

/// How many equal readers are compared with one.
const EQUAL_READERS: u32 = 10;

/// How long a cluster may take to come to rest.
const SETTLING: Duration = Duration::from_secs(2);

/// What readers measured together.
#[derive(Debug, Default)]
struct Reads {
    first_byte: Samples,
    total: Samples,
    bytes: u64,
    failures: u64,
}

type Shared = Arc<Mutex<Reads>>;

fn lock(reads: &Shared) -> MutexGuard<'_, Reads> {
    reads.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Reads {
    fn append(&mut self, other: &Self) {
        self.first_byte.append(&other.first_byte);
        self.total.append(&other.total);
        self.bytes += other.bytes;
        self.failures += other.failures;
    }
}

pub(super) async fn run(options: Readers) -> anyhow::Result<Report> {
    if options.readers == 0 {
        let value = options.readers.to_string();
        return Err(OptionsError::Value { flag: "readers", value, rule: "at least 1" }.into());
    }
    let defaults = if options.at_rest {
        Defaults { tasks_per_agent: 10, task_seconds: None, ..Defaults::default() }
    } else {
        Defaults::default()
    };
    let settings = Settings::new(options.common.clone(), defaults).await?;
    let patience = settings.patience;
    let mut run = Run::new("readers", settings).await?;
    run.report.set("readers", options.readers);
    run.fill().await?;
    if !options.at_rest {
        busy(&mut run, &options, patience).await?;
        run.drain().await?;
    }
    // Who declines every second keeps a master busy, too.
    run.engine.suppress_all();
    run.engine.run_for(SETTLING).await?;
    rest(&mut run, &options.path, patience).await?;
    Ok(run.finish().await)
}

/// A cluster full of short tasks: half of the time without readers, half with them.
async fn busy(run: &mut Run, options: &Readers, patience: Duration) -> anyhow::Result<()> {
    let half = run.engine.settings.measured / 2;
    run.engine.take_counters();
    run.engine.run_for(half).await?;
    let alone = run.engine.take_counters();

    let reads = Shared::default();
    let readers: Vec<_> = (0..options.readers)
        .map(|_| {
            let reader = Reader::new(run.engine.server.clone(), patience);
            tokio::spawn(read_for_ever(reader, options.path.clone(), Arc::clone(&reads)))
        })
        .collect();
    run.start_measuring();
    run.engine.run_for(half).await?;
    run.stop_measuring();
    let watched = run.engine.take_counters();
    for reader in &readers {
        reader.abort();
    }
    let seconds = half.as_secs_f64();
    run.report.set_counters(&watched, seconds);
    let without = per_second(alone.launches, seconds);
    run.report.set_number("launches_per_second_without_readers", Some(without));
    let ratio = per_second(watched.launches, seconds) / without;
    run.report.set_number("task_rate_ratio", Some(ratio).filter(|ratio| ratio.is_finite()));
    report_reads(run, "read", &reads, seconds);
    Ok(())
}

fn report_reads(run: &mut Run, name: &str, reads: &Shared, seconds: f64) {
    let reads = lock(reads);
    let count = reads.total.count();
    run.report.set_number(&format!("{name}s_per_second"), Some(per_second(count, seconds)));
    run.report.set_percentiles(&format!("{name}_first_byte"), &reads.first_byte);
    run.report.set_percentiles(&format!("{name}_total"), &reads.total);
    run.report.set(&format!("{name}_bytes"), reads.bytes.checked_div(count));
    if reads.failures > 0 {
        let text = format!("{} of the reads failed", reads.failures);
        run.engine.ledger.violations.add(text);
    }
}

/// A cluster at rest, full of agents: one reader against ten equal ones.
async fn rest(run: &mut Run, path: &str, patience: Duration) -> anyhow::Result<()> {
    let mut walls = Vec::new();
    let mut cpus = Vec::new();
    for readers in [1, EQUAL_READERS] {
        let reads = Shared::default();
        let mut wall = Duration::ZERO;
        let before = run.process.and_then(|process| process.usage());
        for _ in 0..ROUNDS {
            let round = Shared::default();
            let tasks: Vec<_> = (0..readers)
                .map(|_| {
                    let reader = Reader::new(run.engine.server.clone(), patience);
                    tokio::spawn(read_once(reader, path.to_owned(), Arc::clone(&round)))
                })
                .collect();
            run.engine
                .run_until("the readers", |_| {
                    tasks.iter().all(tokio::task::JoinHandle::is_finished)
                })
                .await?;
            let round = std::mem::take(&mut *lock(&round));
            wall += round.total.longest();
            lock(&reads).append(&round);
        }
        let after = run.process.and_then(|process| process.usage());
        let cpu = before.zip(after).map(|(before, after)| after.cpu.saturating_sub(before.cpu));
        walls.push(wall.as_secs_f64());
        cpus.push(cpu.map(|cpu| cpu.as_secs_f64()));
        report_reads(run, &format!("rest_{readers}_reader"), &reads, wall.as_secs_f64());
    }
    if let [one, ten] = walls[..] {
        run.report.set_number("ten_readers_wall_ratio", Some(ten / one));
    }
    if let [Some(one), Some(ten)] = cpus[..] {
        run.report.set_number("ten_readers_cpu_ratio", (one > 0.0).then(|| ten / one));
    }
    Ok(())
}

async fn read_for_ever(mut reader: Reader, path: String, reads: Shared) {
    loop {
        let answer = reader.get(&path, Body::Count).await;
        note(&reads, answer);
        tokio::task::yield_now().await;
    }
}

async fn read_once(mut reader: Reader, path: String, reads: Shared) {
    let answer = reader.get(&path, Body::Count).await;
    note(&reads, answer);
}

fn note(reads: &Shared, answer: std::io::Result<Answer>) {
    let mut reads = lock(reads);
    match answer {
        Ok(answer) if answer.status == 200 => {
            reads.first_byte.record(answer.first_byte);
            reads.total.record(answer.total);
            reads.bytes += answer.body_bytes;
        }
        Ok(_) | Err(_) => reads.failures += 1,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn failures_are_no_measurements() {
        let reads = Shared::default();
        let time = Duration::from_millis(3);
        let answer = |status| Answer {
            status,
            body: Vec::new(),
            body_bytes: 10,
            first_byte: time,
            total: time * 2,
        };
        note(&reads, Ok(answer(200)));
        note(&reads, Ok(answer(503)));
        note(&reads, Err(std::io::ErrorKind::UnexpectedEof.into()));
        let reads = reads.lock().unwrap();
        assert_eq!((reads.total.count(), reads.failures, reads.bytes), (1, 2, 10));
        assert_eq!(reads.first_byte.percentile_ms(0.5), Some(3.0));
    }
}
