//! The master is restarted, and all agents come back with their tasks.

use std::process::Stdio;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use tokio::process::Command;

use super::Run;
use crate::http::Server;
use crate::http::reader::{Body, Reader};
use crate::master_process::MasterProcess;
use crate::options::{Defaults, Failover, Settings};
use crate::report::{Report, per_second};
use crate::samples::Samples;

/// How often the master is asked whether it lives, in vain or not.
const HEALTH_INTERVAL: Duration = Duration::from_millis(10);

/// How long `/health` may take before the master counts as not there.
const HEALTH_PATIENCE: Duration = Duration::from_secs(30);

/// How long the answers to a reconciliation may pause before they count as complete.
const ANSWERS_PAUSE: Duration = Duration::from_secs(10);

pub(super) async fn run(options: Failover) -> anyhow::Result<Report> {
    let defaults = Defaults { tasks_per_agent: 10, task_seconds: None, spare_tasks: 1 };
    let settings = Settings::new(options.common, defaults).await?;
    let mut run = Run::new("failover", settings).await?;
    run.fill().await?;
    run.engine.is_restart_expected = true;
    let health = Health::watch(run.engine.server.clone())?;
    let restart = restart(options.restart_command.as_deref())?;
    run.engine.run_until("the master to go", |it| it.link_broke.is_some()).await?;
    run.engine.disconnect_all();
    run.engine.forget_offers();
    run.engine
        .run_until("the master to answer /health again", |_| health.is_back())
        .await
        .context("after the restart")?;
    measure(&mut run).await?;
    let lives = health.stop();
    run.report.set_percentiles("health", &lives.answered);
    run.report.set_number("health_ms_max", lives.answered.percentile_ms(1.0));
    run.report.set("health_failures_since_start", lives.failures_since_back);
    if let Some(mut restart) = restart
        && let Ok(Some(status)) = restart.try_wait()
        && !status.success()
    {
        bail!("--restart-command failed: {status}");
    }
    check_tasks(&mut run).await?;
    Ok(run.finish().await)
}

/// From the moment the master answers again until all agents and frameworks are back.
async fn measure(run: &mut Run) -> anyhow::Result<()> {
    let settings = &run.engine.settings;
    run.process = MasterProcess::find(settings.common.master_pid, settings.master);
    let frameworks = settings.common.frameworks as usize;
    let count = run.engine.fleet.count();
    let tasks = run.engine.ledger.running();
    let start = run.engine.now();
    run.engine.register_all();
    run.engine.resubscribe_all();
    run.engine.run_until("all agents to be back", |it| it.fleet.registered() == count).await?;
    let seconds = (run.engine.fleet.last_registration.saturating_sub(start)).as_secs_f64();
    run.engine.run_until("all frameworks to be back", |it| it.subscribed() == frameworks).await?;
    run.engine.run_until("the first offer", |it| it.first_offer.is_some()).await?;
    let first_offer = run.engine.first_offer.map(|offer| offer.saturating_sub(start));
    run.report.set_number("reregistration_seconds", Some(seconds));
    run.report
        .set_number("agents_reregistered_per_second", Some(per_second(count.into(), seconds)));
    run.report.set_number("tasks_reregistered_per_second", Some(per_second(tasks, seconds)));
    let first_offer = first_offer.map(|offer| offer.as_secs_f64());
    run.report.set_number("first_offer_seconds", first_offer);
    run.report.set("tasks_kept", tasks);
    // The new process began at nothing, so what it has used is what it took.
    let usage = run.process.and_then(MasterProcess::usage);
    run.report.set_number("master_cpu_seconds", usage.map(|usage| usage.cpu.as_secs_f64()));
    run.report.set("master_rss_bytes", usage.map(|usage| usage.peak_bytes));
    Ok(())
}

/// Every task must be known to the new master.
async fn check_tasks(run: &mut Run) -> anyhow::Result<()> {
    let tasks = run.engine.ledger.running();
    run.engine.ask_for_all_tasks();
    let start = run.engine.now();
    let answered = run
        .engine
        .run_until("the answers about all tasks", |it| {
            let Some(asked) = &it.reconciliation else { return true };
            let latest = asked.latest.unwrap_or(start);
            asked.answers >= tasks || it.now().saturating_sub(latest) > ANSWERS_PAUSE
        })
        .await;
    if let Err(error) = answered {
        run.engine.ledger.violations.add(error.to_string());
    }
    let known = run.engine.reconciliation.as_ref().map_or(0, |asked| asked.answers);
    run.report.set("tasks_known_after_restart", known);
    if known != tasks {
        let text = format!("{tasks} tasks ran, and after the restart the master knows {known}");
        run.engine.ledger.violations.add(text);
    }
    Ok(())
}

/// Restarts the master by command, or asks for it.
fn restart(command: Option<&str>) -> anyhow::Result<Option<tokio::process::Child>> {
    let Some(command) = command else {
        tracing::warn!("restart the master now: it is waited for");
        return Ok(None);
    };
    // The command may leave the master as its child, which must not hold our output open.
    let child = Command::new("/bin/sh")
        .args(["-c", command])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .spawn()
        .with_context(|| format!("starting --restart-command={command}"))?;
    Ok(Some(child))
}

#[derive(Debug, Default)]
struct Pulse {
    /// A request failed after the watch began.
    has_gone: bool,
    /// And a later one was answered.
    is_back: bool,
    answered: Samples,
    failures_since_back: u64,
}

/// Asks `/health` again and again, on a thread of its own: how busy the simulated cluster is must
/// not look like a slow master.
#[derive(Debug)]
struct Health {
    pulse: Arc<Mutex<Pulse>>,
    is_over: Arc<AtomicBool>,
    thread: std::thread::JoinHandle<()>,
}

impl Health {
    fn watch(server: Server) -> anyhow::Result<Self> {
        let pulse = Arc::new(Mutex::new(Pulse::default()));
        let is_over = Arc::new(AtomicBool::new(false));
        let (shared, stop) = (Arc::clone(&pulse), Arc::clone(&is_over));
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let ask = async move {
            let mut reader = Reader::new(server, HEALTH_PATIENCE);
            while !stop.load(Ordering::Relaxed) {
                let asked = Instant::now();
                let answer = reader.get("/health", Body::Count).await;
                let is_well = answer.is_ok_and(|answer| answer.status == 200);
                shared
                    .lock()
                    .unwrap_or_else(PoisonError::into_inner)
                    .beat(is_well, asked.elapsed());
                tokio::time::sleep(HEALTH_INTERVAL).await;
            }
        };
        let thread = std::thread::Builder::new()
            .name("health".to_owned())
            .spawn(move || runtime.block_on(ask))?;
        Ok(Self { pulse, is_over, thread })
    }

    fn is_back(&self) -> bool {
        self.pulse.lock().unwrap_or_else(PoisonError::into_inner).is_back
    }

    fn stop(self) -> Pulse {
        self.is_over.store(true, Ordering::Relaxed);
        // It has nothing to panic about, and ends after its last question.
        let _ = self.thread.join();
        std::mem::take(&mut *self.pulse.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Pulse {
    fn beat(&mut self, is_well: bool, time: Duration) {
        match (is_well, self.is_back) {
            (true, true) => self.answered.record(time),
            (true, false) => self.is_back = self.has_gone,
            (false, true) => self.failures_since_back += 1,
            (false, false) => self.has_gone = true,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_answers_after_the_restart_count() {
        let mut pulse = Pulse::default();
        let ms = Duration::from_millis;
        pulse.beat(true, ms(1));
        assert!(!pulse.is_back, "the old master still answers");
        pulse.beat(false, ms(1));
        assert!(!pulse.is_back);
        pulse.beat(true, ms(500));
        assert!(pulse.is_back);
        pulse.beat(true, ms(7));
        pulse.beat(false, ms(9));
        assert_eq!(pulse.answered.percentile_ms(1.0), Some(7.0));
        assert_eq!(pulse.failures_since_back, 1);
    }
}
