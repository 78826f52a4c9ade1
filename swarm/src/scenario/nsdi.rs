//! The experiment of the Mesos paper (NSDI 2011, 6.5): a cluster full of short tasks, and what a new
//! framework waits for its first one.

use std::time::Duration;

use super::Run;
use crate::options::{Defaults, Nsdi, OptionsError, Settings};
use crate::random::Life;
use crate::report::Report;

/// Lives in the paper: 30 s on average with a deviation of 10 s.
const DEVIATION_SHARE: f64 = 1.0 / 3.0;

pub(super) async fn run(options: Nsdi) -> anyhow::Result<Report> {
    let mut settings = Settings::new(options.common, Defaults::default()).await?;
    if let Some(rate) = options.rate {
        settings.life = Some(life_for(rate, settings.capacity())?);
    }
    let interval = Duration::try_from_secs_f64(options.probe_interval)
        .ok()
        .filter(|interval| !interval.is_zero())
        .ok_or(OptionsError::Value {
            flag: "probe-interval",
            value: options.probe_interval.to_string(),
            rule: "a number of seconds above 0",
        })?;
    let measured = settings.measured;
    let life = settings.life;
    let mut run = Run::new("nsdi", settings).await?;
    run.report.set_number("wanted_launches_per_second", options.rate);
    run.report.set_number("task_seconds_mean", life.map(|life| life.mean_seconds));
    run.fill().await?;
    run.start_measuring();
    run.engine.start_probes(interval);
    run.engine.run_for(measured).await?;
    run.stop_measuring();
    let running = run.engine.ledger.running();
    run.engine.stop_probes();
    let mut counters = run.engine.take_counters();
    // A probe that still waits may be the slowest of all.
    let waited =
        run.engine.run_until("the last probes to run", |it| it.probes_waiting() == 0).await;
    if let Err(error) = waited {
        run.engine.ledger.violations.add(error.to_string());
    }
    counters.probe_delay.append(&run.engine.counters.probe_delay);
    counters.probe_offer_delay.append(&run.engine.counters.probe_offer_delay);
    run.report.set_counters(&counters, measured.as_secs_f64());
    run.report.set("tasks_running", running);
    run.report.set("probes", counters.probe_delay.count());
    run.report.set_percentiles("probe_delay", &counters.probe_delay);
    run.report.set_percentiles("probe_offer_delay", &counters.probe_offer_delay);
    run.drain().await?;
    Ok(run.finish().await)
}

/// The lives with which a full cluster launches so many tasks a second.
fn life_for(rate: f64, capacity: u64) -> Result<Life, OptionsError> {
    #[expect(clippy::cast_precision_loss, reason = "far below 2^53 tasks")]
    let mean_seconds = capacity as f64 / rate;
    if rate > 0.0 && mean_seconds.is_finite() {
        return Ok(Life { mean_seconds, deviation_seconds: mean_seconds * DEVIATION_SHARE });
    }
    Err(OptionsError::Value { flag: "rate", value: rate.to_string(), rule: "above 0" })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rate_decides_how_long_tasks_live() {
        let life = life_for(10_000.0, 100_000).unwrap();
        assert!((life.mean_seconds - 10.0).abs() < 1e-9);
        assert!((life.deviation_seconds - 10.0 / 3.0).abs() < 1e-9);
        assert!(life_for(0.0, 100).is_err());
        assert!(life_for(f64::NAN, 100).is_err());
    }
}
