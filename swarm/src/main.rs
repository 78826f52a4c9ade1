//! swarm measures a Mesos master by driving it over its public protocols alone.

mod amount;
mod compare;
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
    let scenario = match command {
        Command::Compare { first, second } => {
            write(&compare::compare(&first, &second)?)?;
            return Ok(ExitCode::SUCCESS);
        }
        Command::Scenario(scenario) => scenario,
    };
    let (threads, json) = (scenario.common().threads, scenario.common().json.clone());
    let runtime = if threads > 1 {
        tokio::runtime::Builder::new_multi_thread().worker_threads(threads).enable_all().build()
    } else {
        tokio::runtime::Builder::new_current_thread().enable_all().build()
    }
    .context("starting the runtime")?;
    let report = runtime.block_on(scenario::run(scenario))?;
    if let Some(path) = json {
        std::fs::write(&path, report.to_json())
            .with_context(|| format!("writing {}", path.display()))?;
    }
    write(&report.to_table())?;
    Ok(if report.errors() == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn write(text: &str) -> anyhow::Result<()> {
    std::io::stdout().write_all(text.as_bytes()).context("writing to standard output")
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
