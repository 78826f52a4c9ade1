//! `--whitelist`: the hosts whose agents may be offered, from a file that is read again and again.

use std::collections::BTreeSet;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use master::event::Event;
use tokio::io::AsyncReadExt;

use super::commands::Command;
use crate::event_loop::Inputs;

/// The time between two looks at the file (`WHITELIST_WATCH_INTERVAL`).
const WATCH_INTERVAL: Duration = Duration::from_secs(5);

/// A longer file is not read.
const FILE_BYTES_MAX: u64 = 16 * 1024 * 1024;

/// Reads the file, tells the master, and goes on watching it until the master leads no more.
pub(super) async fn start(path: PathBuf, inputs: Inputs<Command>) {
    let mut last = look(&path, None, &inputs).await;
    tokio::spawn(async move {
        while !inputs.is_stopped() {
            tokio::time::sleep(WATCH_INTERVAL).await;
            last = look(&path, last, &inputs).await;
        }
    });
}

/// A file that cannot be read changes nothing.
async fn look(
    path: &Path,
    last: Option<BTreeSet<String>>,
    inputs: &Inputs<Command>,
) -> Option<BTreeSet<String>> {
    let hostnames = match read(path).await {
        Ok(hostnames) => hostnames,
        Err(error) => {
            tracing::error!(path = %path.display(), %error, "cannot read the whitelist; retrying");
            return last;
        }
    };
    if last.as_ref() == Some(&hostnames) {
        return last;
    }
    if hostnames.is_empty() {
        tracing::warn!(path = %path.display(), "the whitelist is empty: nothing is offered");
    }
    let event = Event::WhitelistChanged { hostnames: Some(hostnames.clone()) };
    let _ = inputs.send(Command::Event(event)).await;
    Some(hostnames)
}

async fn read(path: &Path) -> io::Result<BTreeSet<String>> {
    let file = tokio::fs::File::open(path).await?;
    let mut text = String::new();
    file.take(FILE_BYTES_MAX).read_to_string(&mut text).await?;
    let lines = text.lines().map(str::trim).filter(|line| !line.is_empty());
    Ok(lines.map(str::to_owned).collect())
}
