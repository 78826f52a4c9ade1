//! Frameworks keep the cluster full of tasks that end after a while.

use super::Run;
use crate::options::{Common, Defaults, Settings};
use crate::report::Report;

pub(super) async fn run(common: Common) -> anyhow::Result<Report> {
    let settings = Settings::new(common, Defaults::default()).await?;
    let measured = settings.measured;
    let mut run = Run::new("steady", settings).await?;
    run.fill().await?;
    run.start_measuring();
    run.engine.run_for(measured).await?;
    run.stop_measuring();
    let counters = run.engine.take_counters();
    run.report.set_counters(&counters, measured.as_secs_f64());
    run.drain().await?;
    Ok(run.finish().await)
}
