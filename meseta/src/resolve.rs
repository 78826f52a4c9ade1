//! `meseta resolve`: prints where the leading master is (`src/cli/resolve.cpp`).

use anyhow::{Context as _, Result, bail};
use coordination::Detector;
use server::flags::Values;

use crate::terminal::print;

/// What is left out of the pid: every master has it.
const MASTER_PREFIX: &str = "master@";

/// Runs `meseta resolve MASTER`.
pub(crate) fn run(values: &Values, words: &[String]) -> Result<i32> {
    let [master] = words else {
        bail!("name one master: zk://host:port,.../path, host:port or master@host:port")
    };
    let timeout = values.duration("timeout").context("--timeout is no duration")?;
    let detector = Detector::new(master)?;
    let leader = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?
        .block_on(detector.resolve(timeout))?;
    let pid = leader.pid.to_string();
    print(&format!("{}\n", pid.strip_prefix(MASTER_PREFIX).unwrap_or(&pid)));
    Ok(0)
}
