//! A framework asks for tasks that nobody knows.

use super::Run;
use crate::options::{Defaults, OptionsError, Reconcile, Settings};
use crate::report::{Report, per_second};

pub(super) async fn run(options: Reconcile) -> anyhow::Result<Report> {
    let settings = Settings::new(options.common, Defaults::default()).await?;
    for (flag, value) in [
        ("tasks", options.tasks),
        ("batch", options.batch),
        ("frameworks", settings.common.frameworks),
    ] {
        if value == 0 {
            let value = value.to_string();
            return Err(OptionsError::Value { flag, value, rule: "at least 1" }.into());
        }
    }
    let tasks = u64::from(options.tasks);
    let mut run = Run::new("reconcile", settings).await?;
    run.report.set("tasks_asked_for", tasks);
    run.report.set("tasks_per_call", options.batch);
    run.register().await?;
    run.subscribe().await?;
    run.start_measuring();
    let start = run.engine.now();
    run.engine.ask_for_unknown_tasks(options.tasks as usize, options.batch as usize);
    let answered = run
        .engine
        .run_until("all answers", |it| {
            it.reconciliation.as_ref().is_some_and(|asked| asked.answers >= tasks)
        })
        .await;
    run.stop_measuring();
    if let Err(error) = answered {
        run.engine.ledger.violations.add(error.to_string());
    }
    let asked = run.engine.reconciliation.as_ref();
    let latest = asked.and_then(|asked| asked.latest).unwrap_or(start);
    let seconds = latest.saturating_sub(start).as_secs_f64();
    let answers = asked.map_or(0, |asked| asked.answers);
    run.report.set_number("reconcile_seconds", Some(seconds));
    run.report.set("answers", answers);
    run.report.set_number("answers_per_second", Some(per_second(answers, seconds)));
    Ok(run.finish().await)
}
