//! A master and agents as separate processes.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use serde_json::Value;
use tempfile::TempDir;

use crate::process::processes_of;
use crate::{Process, binary, free_port, get_json, try_get_json, wait_until};

/// How long a daemon may take to come up on a busy machine.
const START_LIMIT: Duration = Duration::from_secs(20);

/// What differs between the clusters of tests.
#[derive(Clone, Debug)]
pub struct ClusterOptions {
    /// How many agents.
    pub agents: usize,
    /// The resources of each.
    pub resources: String,
    /// More flags for the master.
    pub master_flags: Vec<String>,
    /// More flags for each agent.
    pub agent_flags: Vec<String>,
    /// What agents get as `--master`, instead of the master's address.
    pub agents_master: Option<String>,
}

impl Default for ClusterOptions {
    fn default() -> Self {
        Self {
            agents: 1,
            resources: "cpus:4;mem:2048;disk:4096;ports:[31000-32000]".to_owned(),
            master_flags: Vec::new(),
            agent_flags: Vec::new(),
            agents_master: None,
        }
    }
}

impl ClusterOptions {
    /// A master that contends at `url`, and agents that look for the leader there. Sessions are short, so
    /// that a failover takes seconds.
    #[must_use]
    pub fn on_zookeeper(url: &str, agents: usize) -> Self {
        let session_timeout = "--zk_session_timeout=2secs".to_owned();
        Self {
            agents,
            master_flags: vec![format!("--zk={url}"), session_timeout.clone()],
            agents_master: Some(url.to_owned()),
            agent_flags: vec![session_timeout],
            ..Self::default()
        }
    }
}

/// One agent of a [`Cluster`].
#[derive(Debug)]
pub struct Agent {
    /// Its process; replaced by [`Cluster::restart_agent`].
    pub process: Process,
    /// Its `host:port`, the same after a restart.
    pub address: String,
    /// Its `--work_dir`.
    pub work_dir: PathBuf,
    arguments: Vec<String>,
}

/// A running cluster in a temporary folder.
#[derive(Debug)]
pub struct Cluster {
    /// The master's process; replaced by [`Cluster::restart_master`].
    pub master: Process,
    /// The master's `host:port`, the same after a restart.
    pub address: String,
    /// The agents.
    pub agents: Vec<Agent>,
    folder: TempDir,
    master_arguments: Vec<String>,
}

impl Cluster {
    /// Starts a master and agents and waits until all agents are registered.
    ///
    /// # Panics
    /// When a daemon does not come up.
    #[must_use]
    pub fn start(options: &ClusterOptions) -> Self {
        let folder = tempfile::Builder::new().prefix("meseta-test-").tempdir().expect("a folder");
        let port = free_port();
        let address = format!("127.0.0.1:{port}");
        let work_dir = folder.path().join("master");
        let mut master_arguments = vec![
            "master".to_owned(),
            "--ip=127.0.0.1".to_owned(),
            format!("--port={port}"),
            "--no-hostname_lookup".to_owned(),
            format!("--work_dir={}", work_dir.display()),
        ];
        master_arguments.extend(options.master_flags.iter().cloned());
        let master = start(&master_arguments, folder.path(), "master");
        let mut cluster = Self { master, address, agents: Vec::new(), folder, master_arguments };
        cluster.wait_for_master();
        for _ in 0..options.agents {
            cluster.add_agent(options);
        }
        cluster.wait_for_agents();
        cluster
    }

    /// Starts one more agent, and does not wait for it.
    pub fn add_agent(&mut self, options: &ClusterOptions) {
        let number = self.agents.len();
        let master = options.agents_master.as_ref().unwrap_or(&self.address);
        let port = free_port();
        let work_dir = self.folder.path().join(format!("agent-{number}"));
        let mut arguments = vec![
            "agent".to_owned(),
            format!("--master={master}"),
            "--ip=127.0.0.1".to_owned(),
            format!("--port={port}"),
            "--no-hostname_lookup".to_owned(),
            format!("--work_dir={}", work_dir.display()),
            format!("--runtime_dir={}", self.folder.path().join("run").display()),
            format!("--resources={}", options.resources),
            "--registration_backoff_factor=10ms".to_owned(),
        ];
        arguments.extend(options.agent_flags.iter().cloned());
        let process = start(&arguments, self.folder.path(), &format!("agent-{number}"));
        let address = format!("127.0.0.1:{port}");
        self.agents.push(Agent { process, address, work_dir, arguments });
    }

    /// The temporary folder of the cluster.
    #[must_use]
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// The URL of a path on the master.
    #[must_use]
    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    /// The master's `/state`.
    #[must_use]
    pub fn state(&self) -> Value {
        get_json(&self.url("/state"))
    }

    fn wait_for_master(&mut self) {
        let url = self.url("/state");
        wait_until("the master", START_LIMIT, || {
            assert!(self.master.is_running(), "the master ended: {}", self.master.logs());
            try_get_json(&url)
        });
    }

    /// Waits until every agent is registered and active.
    pub fn wait_for_agents(&mut self) {
        let url = self.url("/state");
        let count = self.agents.len();
        wait_until("the agents to register", START_LIMIT, || {
            for agent in &mut self.agents {
                assert!(agent.process.is_running(), "an agent ended: {}", agent.process.logs());
            }
            // An agent knows of its registration a moment after the master does.
            for agent in &self.agents {
                std::fs::symlink_metadata(agent.work_dir.join("meta/slaves/latest")).ok()?;
            }
            let state = try_get_json(&url)?;
            let active = state["slaves"].as_array()?.iter().filter(|a| a["active"] == true).count();
            // A master that stands by tells of the leader's, among which may be more than ours.
            (active >= count).then_some(())
        });
    }

    /// Kills the master with SIGKILL and starts it again on the same port and folder.
    pub fn restart_master(&mut self) {
        self.master.kill_hard();
        self.master = start(&self.master_arguments, self.folder.path(), "master");
        self.wait_for_master();
    }

    /// Kills an agent with SIGKILL, leaving its tasks alone.
    pub fn kill_agent(&mut self, number: usize) {
        self.agents[number].process.kill_hard();
    }

    /// Starts an agent again on the same port and folder. While it was away its port may have become that of
    /// somebody's connection: then it is started until the port is free again.
    pub fn start_agent(&mut self, number: usize) {
        let arguments = self.agents[number].arguments.clone();
        let count = |logs: &str, text: &str| logs.matches(text).count();
        let before = self.agents[number].process.logs();
        for _ in 0..PORT_ATTEMPTS_MAX {
            let taken = count(&self.agents[number].process.logs(), PORT_TAKEN);
            let process = start(&arguments, self.folder.path(), &format!("agent-{number}"));
            self.agents[number].process = process;
            let process = &mut self.agents[number].process;
            let deadline = Instant::now() + START_LIMIT;
            while process.is_running()
                && count(&process.logs(), READY) == count(&before, READY)
                && Instant::now() < deadline
            {
                std::thread::sleep(Duration::from_millis(5));
            }
            if process.is_running() || count(&process.logs(), PORT_TAKEN) == taken {
                return;
            }
            std::thread::sleep(Duration::from_millis(100));
        }
    }

    /// Gives an agent other values of flags, or more flags, from its next start on.
    pub fn change_agent(&mut self, number: usize, flags: &[(&str, &str)]) {
        let arguments = &mut self.agents[number].arguments;
        for (name, value) in flags {
            let spelled = format!("--{name}=");
            arguments.retain(|argument| !argument.starts_with(&spelled));
            arguments.push(format!("{spelled}{value}"));
        }
    }

    /// Kills an agent with SIGKILL and starts it again.
    pub fn restart_agent(&mut self, number: usize) {
        self.kill_agent(number);
        self.start_agent(number);
    }

    /// What the daemons printed, for the message of a failed test.
    #[must_use]
    pub fn logs(&self) -> String {
        let agents: String = self.agents.iter().map(|agent| agent.process.logs()).collect();
        format!("{}{agents}", self.master.logs())
    }
}

/// How often an agent is started whose port is taken, ten times a second.
const PORT_ATTEMPTS_MAX: u32 = 300;

/// What an agent prints once it listens.
const READY: &str = "Meseta agent is ready";

/// What an agent prints that cannot listen.
const PORT_TAKEN: &str = "Address already in use";

fn start(arguments: &[String], folder: &Path, name: &str) -> Process {
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    Process::start(&binary(), &arguments, &[], folder, name)
}

impl Drop for Cluster {
    fn drop(&mut self) {
        if std::thread::panicking() {
            print_last_lines(&self.logs());
        }
        self.master.kill_hard();
        for agent in &mut self.agents {
            agent.process.kill_hard();
        }
        // A process may fork between the look and the kill, hence again until there is none.
        while let remaining @ [_, ..] = processes_of(self.folder.path()).as_slice() {
            for pid in remaining {
                let _ = kill(*pid, Signal::SIGKILL);
            }
            std::thread::sleep(Duration::from_millis(10));
        }
    }
}

/// Shows the end of the logs to whoever reads of a failed test.
#[expect(clippy::print_stderr, reason = "the logs of a failed test are for its reader")]
pub(crate) fn print_last_lines(logs: &str) {
    let tail: Vec<&str> = logs.lines().rev().take(200).collect();
    for line in tail.into_iter().rev() {
        eprintln!("{line}");
    }
}
