//! How fast agents register, and what they cost when they do nothing.

use super::Run;
use crate::options::{Common, Defaults, Settings};
use crate::report::Report;

pub(super) async fn run(common: Common) -> anyhow::Result<Report> {
    let settings = Settings::new(common, Defaults::default()).await?;
    let seconds = settings.common.seconds;
    let measured = settings.measured;
    let mut run = Run::new("register", settings).await?;
    run.start_measuring();
    run.register().await?;
    run.stop_measuring();
    let before = run.process.and_then(crate::master_process::MasterProcess::usage);
    run.engine.take_counters();
    run.engine.run_for(measured).await?;
    let after = run.process.and_then(crate::master_process::MasterProcess::usage);
    let idle = before
        .zip(after)
        .map(|(before, after)| after.cpu.saturating_sub(before.cpu).as_secs_f64() / seconds);
    run.report.set_number("idle_cpu_percent", idle.map(|share| share * 100.0));
    run.report.set("master_resident_bytes", after.map(|usage| usage.resident_bytes));
    run.report.set("pings_while_idle", run.engine.counters.pings);
    Ok(run.finish().await)
}
