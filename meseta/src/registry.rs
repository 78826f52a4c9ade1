//! `meseta registry`: carries a master's registry from one store to another.

use std::io::{BufWriter, stdin, stdout};
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use coordination::{
    Detected, Detector, EmbeddedFile, Registry, RegistryTimeouts, SESSION_TIMEOUT_DEFAULT,
    ZooKeeperRegistry, ZooKeeperUrl, export, import,
};
use server::flags::Values;
use tokio::time::timeout;

use crate::terminal::print_error;

/// How much longer writing may take than reading: an import writes every record.
const WRITE_FACTOR: u32 = 10;

/// Runs `meseta registry export` or `meseta registry import`.
pub(crate) fn run(values: &Values, words: &[String]) -> Result<i32> {
    let store = Store::from_flags(values)?;
    let limit = values.duration("timeout").context("--timeout is no duration")?;
    match words {
        [word] if word == "export" => {
            let count = export(&*store.open_for_reading(limit)?, &mut BufWriter::new(stdout()))?;
            print_error(&format!("{} exported", records(count)));
        }
        [word] if word == "import" => {
            let registry = store.open_for_writing(limit, values.boolean("force"))?;
            let count = import(&*registry, &mut stdin().lock())?;
            print_error(&format!("{} imported", records(count)));
        }
        _ => bail!("say what to do: export or import"),
    }
    Ok(0)
}

fn records(count: usize) -> String {
    if count == 1 { "1 record".to_owned() } else { format!("{count} records") }
}

/// Where the registry is.
enum Store {
    ZooKeeper { text: String, url: ZooKeeperUrl },
    WorkDir(PathBuf),
}

impl Store {
    fn from_flags(values: &Values) -> Result<Self> {
        match (values.text("zk"), values.text("work_dir")) {
            (Some(text), None) => {
                let url = text.parse().context("--zk")?;
                Ok(Self::ZooKeeper { text: text.to_owned(), url })
            }
            (None, Some(folder)) => Ok(Self::WorkDir(folder.into())),
            (Some(_), Some(_)) | (None, None) => bail!("give --zk or --work_dir, and not both"),
        }
    }

    fn open_for_reading(&self, limit: Duration) -> Result<Box<dyn Registry>> {
        match self {
            Self::ZooKeeper { url, .. } => {
                Ok(Box::new(ZooKeeperRegistry::open_read_only(url, timeouts(limit))?))
            }
            Self::WorkDir(folder) if !EmbeddedFile::exists_in(folder) => {
                bail!("there is no registry in '{}'", folder.display())
            }
            Self::WorkDir(folder) => Ok(Box::new(EmbeddedFile::open(folder)?)),
        }
    }

    fn open_for_writing(&self, limit: Duration, force: bool) -> Result<Box<dyn Registry>> {
        match self {
            Self::ZooKeeper { text, url } => {
                if !force {
                    check_that_nobody_leads(text, limit)?;
                }
                Ok(Box::new(ZooKeeperRegistry::take_over(url, timeouts(limit))?))
            }
            // The file is locked while a master has it open.
            Self::WorkDir(folder) => Ok(Box::new(EmbeddedFile::open(folder)?)),
        }
    }
}

fn timeouts(limit: Duration) -> RegistryTimeouts {
    RegistryTimeouts { fetch: limit, store: limit * WRITE_FACTOR, ..RegistryTimeouts::default() }
}

fn check_that_nobody_leads(url: &str, limit: Duration) -> Result<()> {
    let detector = Detector::new(url)?;
    let last =
        tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(async {
            let detection = detector.watch(SESSION_TIMEOUT_DEFAULT);
            let mut detected = detection.detected();
            let is_answer = |it: &Detected| !matches!(it, Detected::Unreachable);
            let _ = timeout(limit, detected.wait_for(is_answer)).await;
            detected.borrow().clone()
        });
    match last {
        Detected::Nobody => Ok(()),
        Detected::Leader(leader) => bail!(
            "{} leads at {detector}: stop all masters before an import, or give --force",
            leader.pid
        ),
        Detected::Failed(error) => {
            Err(error).context("it is not known whether a master leads, which --force disregards")
        }
        Detected::Unreachable => bail!("{detector} did not answer within {limit:?}"),
    }
}
