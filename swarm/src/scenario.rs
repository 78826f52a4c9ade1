//! The scenarios: what is done in which order, and what is measured.

mod failover;
mod fanout;
mod nsdi;
mod readers;
mod reconcile;
mod register;
mod steady;

use std::time::Duration;

use serde_json::json;

use crate::engine::{Appetite, Engine};
use crate::http::reader::{Body, Reader};
use crate::master_process::{MasterProcess, Usage, own_cpu};
use crate::options::{Scenario, Settings};
use crate::report::{Report, per_second};

/// How long agents and frameworks may take to leave; the result does not depend on it.
const LEAVE_TIMEOUT: Duration = Duration::from_secs(10);

/// Runs what the command line asks for.
pub(crate) async fn run(scenario: Scenario) -> anyhow::Result<Report> {
    match scenario {
        Scenario::Register(common) => register::run(common).await,
        Scenario::Steady(common) => steady::run(common).await,
        Scenario::Nsdi(options) => nsdi::run(options).await,
        Scenario::Failover(options) => failover::run(options).await,
        Scenario::Readers(options) => readers::run(options).await,
        Scenario::Reconcile(options) => reconcile::run(options).await,
        Scenario::Fanout(options) => fanout::run(options).await,
    }
}

/// A running scenario: the cluster and what is noted about it.
#[derive(Debug)]
struct Run {
    engine: Engine,
    report: Report,
    process: Option<MasterProcess>,
    own_cpu: Option<Duration>,
    usage: Option<Usage>,
}

impl Run {
    async fn new(scenario: &str, settings: Settings) -> anyhow::Result<Self> {
        let process = MasterProcess::find(settings.common.master_pid, settings.master);
        let mut report = Report::new(scenario);
        let common = &settings.common;
        report.set(
            "parameters",
            json!({
                "master": common.master,
                "agents": common.agents,
                "frameworks": common.frameworks,
                "seed": common.seed,
                "seconds": common.seconds,
                "tasks_per_agent": settings.tasks_per_agent,
                "task_seconds": settings.life.map(|life| life.mean_seconds),
                "encoding": common.encoding.media_type(),
            }),
        );
        report.set("master_pid", process.map(MasterProcess::id));
        let engine = Engine::new(settings).await?;
        Ok(Self { engine, report, process, own_cpu: None, usage: None })
    }

    /// Begins what the numbers of CPU and memory are about.
    fn start_measuring(&mut self) {
        self.engine.take_counters();
        self.usage = self.process.and_then(MasterProcess::usage);
        self.own_cpu = own_cpu();
    }

    /// Notes the CPU and memory used since.
    fn stop_measuring(&mut self) {
        let after = self.process.and_then(MasterProcess::usage);
        let used =
            self.usage.zip(after).map(|(before, after)| after.cpu.saturating_sub(before.cpu));
        let own = self.own_cpu.zip(own_cpu()).map(|(before, after)| after.saturating_sub(before));
        self.report.set_number("master_cpu_seconds", used.map(|cpu| cpu.as_secs_f64()));
        self.report.set_number("swarm_cpu_seconds", own.map(|cpu| cpu.as_secs_f64()));
        self.report.set("master_rss_bytes", after.map(|usage| usage.peak_bytes));
    }

    /// All agents register; notes how fast.
    async fn register(&mut self) -> anyhow::Result<()> {
        let count = self.engine.fleet.count();
        self.engine.register_all();
        let time = self
            .engine
            .run_until("all agents to be registered", |it| it.fleet.registered() == count)
            .await?;
        let seconds = time.as_secs_f64();
        self.report.set_number("registration_seconds", Some(seconds));
        let rate = per_second(u64::from(count), seconds);
        self.report.set_number("agents_registered_per_second", Some(rate));
        Ok(())
    }

    /// All frameworks subscribe.
    async fn subscribe(&mut self) -> anyhow::Result<()> {
        let count = self.engine.settings.common.frameworks as usize;
        self.engine.subscribe_all();
        self.engine
            .run_until("all frameworks to be subscribed", |it| it.subscribed() == count)
            .await?;
        Ok(())
    }

    /// All frameworks subscribe, all agents register, and tasks are launched until the cluster is
    /// full; notes how fast.
    ///
    /// In this order, so that the tasks are shared out: the first framework to subscribe to a cluster
    /// at rest is offered all of it.
    async fn fill(&mut self) -> anyhow::Result<()> {
        /// So full counts as full: tasks end all the time, and their places are free for a while.
        const FULL: f64 = 0.9;
        let capacity = self.engine.settings.capacity();
        self.engine.is_filling = true;
        self.engine.appetite = Appetite::Full;
        self.subscribe().await?;
        let start = self.engine.now();
        self.register().await?;
        let is_endless = self.engine.settings.life.is_none();
        self.engine
            .run_until("the cluster to be full of tasks", |it| {
                let share = per_second(it.ledger.running(), 1.0) / per_second(capacity, 1.0);
                let has_turned_over = it.counters.launches >= capacity;
                if is_endless { share >= 1.0 } else { share >= FULL || has_turned_over }
            })
            .await?;
        let time = self.engine.now().saturating_sub(start);
        self.engine.is_filling = false;
        self.report.set_number("fill_seconds", Some(time.as_secs_f64()));
        let rate = per_second(self.engine.counters.launches, time.as_secs_f64());
        self.report.set_number("fill_launches_per_second", Some(rate));
        Ok(())
    }

    /// Ends all tasks, and says what never ended.
    async fn drain(&mut self) -> anyhow::Result<()> {
        self.engine.appetite = Appetite::None;
        self.engine.stop_probes();
        self.engine.hurry();
        let drained = self.engine.run_until("all tasks to end", |it| it.ledger.live() == 0).await;
        if let Err(error) = drained {
            self.engine.ledger.violations.add(error.to_string());
        }
        self.engine.ledger.close();
        Ok(())
    }

    /// Leaves the master as it was found, and gives the result.
    async fn finish(mut self) -> Report {
        self.engine.is_restart_expected = true;
        // In this order, so that no framework is told of every agent that goes, nor every agent of
        // each framework.
        let ids = self.engine.close_all();
        self.engine.unregister_all();
        self.engine.flush(LEAVE_TIMEOUT).await;
        let mut reader = Reader::new(self.engine.server.clone(), LEAVE_TIMEOUT);
        let tear_down = async {
            for id in ids {
                let body = format!("frameworkId={}", id.value);
                let request = self.engine.server.post_form("/master/teardown", &body);
                reader.exchange(&request, Body::Count).await?;
            }
            std::io::Result::Ok(())
        };
        match tokio::time::timeout(LEAVE_TIMEOUT, tear_down).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::warn!(%error, "frameworks are left at the master"),
            Err(_) => tracing::warn!("frameworks are left at the master: it is too busy"),
        }
        self.report.finish(&self.engine.ledger.violations)
    }
}
