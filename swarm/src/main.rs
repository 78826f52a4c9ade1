//! swarm measures a Mesos master by driving it over its public protocols alone.

mod amount;
mod engine;
mod http;
mod ledger;
mod master_process;
mod options;
mod random;
mod report;
mod samples;
mod scenario;
mod timers;

use std::io::Write as _;
use std::process::ExitCode;

use anyhow::Context as _;
use clap::Parser as _;
use tracing_subscriber::EnvFilter;

use crate::options::{Command, CommandLine};
use crate::report::Report;

/// Sockets for a thousand frameworks and a thousand subscribers, and some more.
const DESCRIPTORS_WANTED: u64 = 16_384;

fn main() -> ExitCode {
    let filter = EnvFilter::try_from_env("SWARM_LOG").unwrap_or_else(|_| EnvFilter::new("warn"));
    tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).init();
    match run(CommandLine::parse().command) {
        Ok(code) => code,
        Err(error) => {
            tracing::error!("{error:#}");
            ExitCode::from(2)
        }
    }
}

fn run(command: Command) -> anyhow::Result<ExitCode> {
    raise_descriptor_limit();
    let (threads, json) = match &command {
        Command::Compare { .. } => (1, None),
        Command::Register(common) | Command::Steady(common) => {
            (common.threads, common.json.clone())
        }
        Command::Nsdi(it) => (it.common.threads, it.common.json.clone()),
        Command::Failover(it) => (it.common.threads, it.common.json.clone()),
        Command::Readers(it) => (it.common.threads, it.common.json.clone()),
        Command::Reconcile(it) => (it.common.threads, it.common.json.clone()),
        Command::Fanout(it) => (it.common.threads, it.common.json.clone()),
    };
    let runtime = if threads > 1 {
        tokio::runtime::Builder::new_multi_thread().worker_threads(threads).enable_all().build()
    } else {
        tokio::runtime::Builder::new_current_thread().enable_all().build()
    }
    .context("starting the runtime")?;
    let report: Report = runtime.block_on(scenario::run(command))?;
    if let Some(path) = json {
        std::fs::write(&path, report.to_json())
            .with_context(|| format!("writing {}", path.display()))?;
    }
    std::io::stdout().write_all(report.to_table().as_bytes()).context("writing the table")?;
    Ok(if report.errors() == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// As many file descriptors as are wanted and allowed.
fn raise_descriptor_limit() {
    use nix::sys::resource::{Resource, getrlimit, setrlimit};
    let Ok((soft, hard)) = getrlimit(Resource::RLIMIT_NOFILE) else { return };
    let wanted = DESCRIPTORS_WANTED.min(hard);
    if soft < wanted
        && let Err(error) = setrlimit(Resource::RLIMIT_NOFILE, wanted, hard)
    {
        tracing::warn!(%error, soft, wanted, "cannot raise the limit of file descriptors");
    }
}
