//! `meseta local`: a whole cluster in one process, with embedded stores.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use server::agent::{AgentOptions, AgentServer};
use server::flags::{FlagTable, Values};
use server::master::{MasterOptions, MasterServer, RunningMaster};

use crate::daemon::{Ending, runtime, signalled};
use crate::execute::{ExecuteOptions, run_and_stream};
use crate::terminal::print;

/// How long agents of a local cluster wait before they register; nobody else competes with them.
const REGISTRATION_BACKOFF: &str = "10ms";

/// Runs a cluster until it is interrupted, or for the time that `command` takes.
pub(crate) fn run(values: &Values, command: &[String]) -> Result<i32> {
    let folder = Folder::open(values)?;
    let status = runtime()?.block_on(async {
        let cluster = Cluster::start(values, folder.path()).await?;
        let outcome = if command.is_empty() {
            print(&cluster.welcome());
            serve().await
        } else {
            cluster.execute(command).await
        };
        cluster.stop().await;
        outcome
    });
    folder.close()?;
    status
}

async fn serve() -> Result<i32> {
    while signalled().await? == Ending::Leave {}
    Ok(0)
}

/// Where state and sandboxes are; removed at the end unless the user named it.
enum Folder {
    Kept(PathBuf),
    Temporary(tempfile::TempDir),
}

impl Folder {
    fn open(values: &Values) -> Result<Self> {
        if let Some(path) = values.text("work_dir") {
            return Ok(Self::Kept(path.into()));
        }
        let folder = tempfile::Builder::new()
            .prefix("meseta-local-")
            .tempdir()
            .context("failed to create a temporary folder")?;
        // Tasks may run as other users, who must be able to reach their sandboxes.
        let mode = std::os::unix::fs::PermissionsExt::from_mode(0o711);
        std::fs::set_permissions(folder.path(), mode)
            .context("failed to open the temporary folder to tasks")?;
        Ok(Self::Temporary(folder))
    }

    fn path(&self) -> &Path {
        match self {
            Self::Kept(path) => path,
            Self::Temporary(folder) => folder.path(),
        }
    }

    fn close(self) -> Result<()> {
        match self {
            Self::Kept(_) => Ok(()),
            Self::Temporary(folder) => {
                folder.close().context("failed to remove the temporary folder")
            }
        }
    }
}

struct Cluster {
    master: RunningMaster,
    agents: Vec<AgentServer>,
}

impl Cluster {
    async fn start(values: &Values, folder: &Path) -> Result<Self> {
        let master = MasterServer::start(master_options(values, folder)?).await?;
        let mut cluster = Self { master, agents: Vec::new() };
        for number in 1..=values.integer("agents").unwrap_or(1) {
            let options = cluster.agent_options(values, folder, number);
            let started = match options {
                Ok(options) => AgentServer::start(options).await.map_err(Into::into),
                Err(error) => Err(error),
            };
            match started {
                Ok(agent) => cluster.agents.push(agent),
                Err(error) => {
                    cluster.stop().await;
                    return Err(error).with_context(|| format!("failed to start agent {number}"));
                }
            }
        }
        Ok(cluster)
    }

    fn agent_options(&self, values: &Values, folder: &Path, number: u64) -> Result<AgentOptions> {
        let address = self.master.address();
        let mut flags = vec![
            format!("--master={address}"),
            format!("--ip={}", address.ip()),
            "--port=0".to_owned(),
            "--no-hostname_lookup".to_owned(),
            format!("--work_dir={}", folder.join(format!("agent-{number}")).display()),
            format!("--registration_backoff_factor={REGISTRATION_BACKOFF}"),
        ];
        for name in ["resources", "attributes"] {
            if let Some(text) = values.text(name) {
                flags.push(format!("--{name}={text}"));
            }
        }
        let values_of_agent = FlagTable::AGENT.parse(&flags, &std::collections::BTreeMap::new())?;
        let mut options = AgentOptions::from_flags(&values_of_agent)?;
        let count = values.integer("agents").unwrap_or(1);
        if values.text("resources").is_none() && count > 1 {
            options.resources = share(&options, count, number)?;
        }
        Ok(options)
    }

    fn welcome(&self) -> String {
        let address = self.master.address();
        let agents = match self.agents.len() {
            1 => "1 agent".to_owned(),
            count => format!("{count} agents"),
        };
        let program = own_name();
        format!(
            "Meseta is ready at http://{address} with {agents}.\n\n\
             Try in another terminal:\n  \
             {program} execute --master={address} --name=hello --command='echo hello'\n  \
             curl http://{address}/state\n\n\
             Ctrl-C stops the cluster and every task.\n"
        )
    }

    async fn execute(&self, command: &[String]) -> Result<i32> {
        let options = ExecuteOptions::for_arguments(self.master.address().to_string(), command);
        tokio::select! {
            status = run_and_stream(options) => status,
            ending = signalled() => {
                ending?;
                // As shells tell of a command that was interrupted.
                Ok(130)
            }
        }
    }

    async fn stop(self) {
        for agent in self.agents {
            agent.shutdown_with_containers().await;
        }
        self.master.shutdown().await;
    }
}

/// How to call this program: by its name if that finds it, else by its path.
fn own_name() -> String {
    let name = env!("CARGO_BIN_NAME");
    let Ok(own) = std::env::current_exe() else { return name.to_owned() };
    let path = std::env::var_os("PATH").unwrap_or_default();
    let found = std::env::split_paths(&path).map(|folder| folder.join(name)).find(|it| it.exists());
    if found.and_then(|found| found.canonicalize().ok()) == own.canonicalize().ok() {
        return name.to_owned();
    }
    let here = std::env::current_dir().unwrap_or_default();
    own.strip_prefix(here).unwrap_or(&own).display().to_string()
}

fn master_options(values: &Values, folder: &Path) -> Result<MasterOptions> {
    let text = |name: &str| values.text(name).unwrap_or_default();
    let flags = vec![
        format!("--ip={}", text("ip")),
        format!("--port={}", text("port")),
        "--no-hostname_lookup".to_owned(),
        format!("--allocation_interval={}", text("allocation_interval")),
        format!("--work_dir={}", folder.join("master").display()),
    ];
    let values = FlagTable::MASTER.parse(&flags, &std::collections::BTreeMap::new())?;
    Ok(MasterOptions::from_flags(&values)?)
}

/// One agent's part of what the machine has: scalars divided, ports cut into equal ranges.
fn share(options: &AgentOptions, count: u64, number: u64) -> Result<String> {
    let whole = options.resources()?;
    let part = |name: &str| whole.scalar(name).to_f64() / number_to_f64(count);
    let ports_first = 31_000 + (number - 1) * (1000 / count);
    let ports_last = ports_first + (1000 / count).saturating_sub(1);
    Ok(format!(
        "cpus:{:.2};mem:{};disk:{};ports:[{ports_first}-{ports_last}]",
        part("cpus"),
        part("mem").floor(),
        part("disk").floor(),
    ))
}

#[expect(clippy::cast_precision_loss, reason = "nobody runs 2^53 agents in one process")]
fn number_to_f64(number: u64) -> f64 {
    number as f64
}
