//! The cluster under test, with all that can be done to it.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use ensemble::Ensemble;
use fastrand::Rng;

use super::clock;
use super::ledger::{Ledger, Runs};
use super::sdk_stream::{SdkStream, StreamSettings};
use crate::network::{Network, Peer};
use crate::relay::Relay;
use crate::{EnsembleCluster, EnsembleClusterOptions, Place, Process};

pub(super) const SERVERS: usize = 3;
pub(super) const MASTERS: usize = 3;
pub(super) const AGENTS: usize = 5;

/// The agent whose disk is small.
const SMALL_DISK_AGENT: usize = AGENTS - 1;
/// Enough for the sandboxes of the tasks of a minute, and soon filled.
const SMALL_DISK_BYTES: u32 = 48 << 20;

/// How often daemons that have ended are started again, as by a supervisor.
const SUPERVISION_INTERVAL: Duration = Duration::from_millis(100);

/// For `nice`: while nobody leads pymesos asks again without any pause, and would take a processor from all others.
const PYMESOS_NICENESS: &str = "--adjustment=10";

/// How many tasks each framework launches in a second.
const TASKS_PER_SECOND: f64 = 5.0;

/// A framework, and what it has written.
pub(super) struct Framework {
    pub(super) name: &'static str,
    pub(super) ledger: Ledger,
    /// When it was ended last; earlier subscriptions are none.
    pub(super) ended: f64,
    settings: StreamSettings,
    life: Life,
}

enum Life {
    Sdk(Option<SdkStream>),
    Pymesos { python: PathBuf, process: Option<Process>, folder: PathBuf },
}

impl Framework {
    fn start(name: &'static str, settings: StreamSettings, life: Life) -> Self {
        let ledger = Ledger::open(&settings.ledger);
        let mut framework = Self { name, ledger, ended: 0.0, settings, life };
        framework.ensure();
        framework
    }

    /// Starts it if it does not run. Gives whether it ended by itself.
    fn ensure(&mut self) -> bool {
        match &mut self.life {
            Life::Sdk(stream) => {
                stream.get_or_insert_with(|| SdkStream::start(self.settings.clone()));
                false
            }
            Life::Pymesos { python, process, folder } => {
                let has_ended = process.as_mut().is_some_and(|process| !process.is_running());
                if has_ended || process.is_none() {
                    *process = Some(start_pymesos(python, &self.settings, folder));
                }
                has_ended
            }
        }
    }

    /// Ends it without a word to the master. It is started again by the next supervision.
    pub(super) fn end(&mut self) {
        self.ended = clock();
        match &mut self.life {
            Life::Sdk(stream) => drop(stream.take()),
            Life::Pymesos { process, .. } => {
                if let Some(mut process) = process.take() {
                    process.kill_hard();
                }
            }
        }
    }
}

fn start_pymesos(python: &Path, settings: &StreamSettings, folder: &Path) -> Process {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("clients/pymesos_stream.py");
    let arguments = [
        PYMESOS_NICENESS.to_owned(),
        python.display().to_string(),
        script.display().to_string(),
        settings.master.clone(),
        settings.ledger.display().to_string(),
        settings.starts.display().to_string(),
        settings.tasks_per_second.to_string(),
    ];
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    Process::start(Path::new("nice"), &arguments, &[], folder, "pymesos")
}

/// A small file system of its own, in memory.
#[derive(Debug)]
pub(super) struct SmallDisk {
    path: PathBuf,
}

impl SmallDisk {
    fn mount(path: PathBuf) -> Option<Self> {
        if !nix::unistd::Uid::effective().is_root() {
            return None;
        }
        std::fs::create_dir_all(&path).expect("a folder");
        let size = format!("size={SMALL_DISK_BYTES}");
        let mut mount = Command::new("mount");
        mount.args(["-t", "tmpfs", "-o", &size, "tmpfs"]).arg(&path);
        mount.status().is_ok_and(|status| status.success()).then_some(Self { path })
    }

    fn filler(&self) -> PathBuf {
        self.path.join("filler")
    }

    pub(super) fn fill(&self) {
        let bytes = usize::try_from(SMALL_DISK_BYTES).expect("a small disk");
        // As much as there is room for.
        let _ = std::fs::write(self.filler(), vec![1; bytes]);
    }

    pub(super) fn clear(&self) {
        let _ = std::fs::remove_file(self.filler());
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("--lazy").arg(&self.path).status();
    }
}

/// Everything that runs.
pub(super) struct World {
    pub(super) frameworks: Vec<Framework>,
    pub(super) cluster: EnsembleCluster,
    pub(super) relays: Vec<Relay>,
    pub(super) network: Option<Network>,
    pub(super) disk: Option<SmallDisk>,
    pub(super) runs: Runs,
    pub(super) random: Rng,
    /// When masters were kept from leading by the test, in seconds since 1970.
    pub(super) ends: Vec<(usize, f64)>,
    /// When a majority of the ensemble was back after it had been missed.
    pub(super) ensemble_returned: Vec<f64>,
    /// Which daemons have ended by themselves, and how often; the masters that leadership was lost by are not
    /// among them.
    pub(super) unexpected_ends: Vec<String>,
    held_agents: Vec<usize>,
}

impl World {
    /// `None`, and a line that says so, where ZooKeeper is not installed.
    pub(super) fn start(seed: u64) -> Option<Self> {
        let network = Network::create_or_skip(MASTERS + AGENTS);
        let ip = network.as_ref().map_or(std::net::Ipv4Addr::LOCALHOST, Network::own_address);
        let ensemble = match Ensemble::start_at(ip, SERVERS) {
            Ok(ensemble) => ensemble,
            Err(error @ ensemble::EnsembleError::Missing(_)) => {
                skip(&error.to_string());
                return None;
            }
            Err(error) => panic!("starting ZooKeeper: {error}"),
        };
        let relays: Vec<Relay> =
            (0..SERVERS).map(|server| Relay::start(ip, ensemble.address(server))).collect();
        let addresses: Vec<String> = relays.iter().map(|it| it.address().to_string()).collect();
        let mut cluster = EnsembleCluster::on(ensemble, options());
        cluster.set_url(format!("zk://{}{}", addresses.join(","), crate::ENSEMBLE_PATH));
        let place = |number: usize| match &network {
            Some(network) => Place {
                ip: network.address(number),
                port: 5050,
                launcher: network.launcher(number),
            },
            None => Place::on_loopback(),
        };
        for number in 0..MASTERS {
            cluster.add_master(place(number));
        }
        cluster.wait_for_leader();
        let disk = SmallDisk::mount(cluster.folder().join(format!("agent-{SMALL_DISK_AGENT}")));
        for number in 0..AGENTS {
            cluster.add_agent(place(MASTERS + number));
        }
        cluster.wait_for_agents();
        let starts = cluster.folder().join("starts");
        let frameworks = start_frameworks(&cluster, &starts);
        Some(Self {
            frameworks,
            cluster,
            relays,
            network,
            disk,
            runs: Runs::open(&starts),
            random: Rng::with_seed(seed),
            ends: Vec::new(),
            ensemble_returned: Vec::new(),
            unexpected_ends: Vec::new(),
            held_agents: Vec::new(),
        })
    }

    /// Lets time pass; what has ended is started again meanwhile.
    pub(super) fn pass(&mut self, time: Duration) {
        let start = Instant::now();
        while start.elapsed() < time {
            std::thread::sleep(SUPERVISION_INTERVAL.min(time));
            // A framework that the test has ended stays away for this while.
            self.supervise_daemons();
        }
    }

    /// Starts all again that has ended, but for what the test holds back.
    pub(super) fn supervise(&mut self) {
        self.supervise_daemons();
        for framework in &mut self.frameworks {
            if framework.ensure() {
                self.unexpected_ends.push(format!("framework on {}", framework.name));
            }
            framework.ledger.read();
        }
        self.runs.read();
    }

    fn supervise_daemons(&mut self) {
        // A master that has lost its leadership ends, and is to be started again.
        for master in &mut self.cluster.masters {
            if !master.process.is_running() {
                master.restart();
            }
        }
        for (number, agent) in self.cluster.agents.iter_mut().enumerate() {
            if !agent.process.is_running() && !self.held_agents.contains(&number) {
                self.unexpected_ends.push(agent.name.clone());
                agent.restart();
            }
        }
    }

    /// Notes that a master leads no more because of what the test does next.
    pub(super) fn ends_now(&mut self, master: usize) {
        self.ends.push((master, clock()));
    }

    /// Waits for a majority of the ensemble, and notes when it was there.
    pub(super) fn ensemble_returns(&mut self) {
        self.cluster.ensemble.wait_for_quorum();
        self.ensemble_returned.push(clock());
    }

    /// Kills an agent, and keeps it from being started again.
    pub(super) fn hold_agent(&mut self, agent: usize) {
        self.held_agents.push(agent);
        self.cluster.agents[agent].kill();
    }

    /// Starts the agents again that were killed.
    pub(super) fn release_agents(&mut self) {
        for agent in std::mem::take(&mut self.held_agents) {
            self.cluster.agents[agent].restart();
        }
    }

    /// The ensemble, as daemons reach it.
    pub(super) fn ensemble_peers(&self) -> Vec<Peer> {
        let ports = self.relays.iter().map(|relay| relay.address().port()).collect();
        let network = self.network.iter();
        network.map(|it| Peer::Ports(it.own_address(), Vec::clone(&ports))).collect()
    }

    /// All agents.
    pub(super) fn agent_peers(&self) -> Vec<Peer> {
        let network = self.network.iter();
        network
            .flat_map(|network| {
                (0..AGENTS).map(|agent| Peer::Address(network.address(MASTERS + agent)))
            })
            .collect()
    }
}

impl Drop for World {
    fn drop(&mut self) {
        for framework in &mut self.frameworks {
            framework.end();
        }
        // Before the file system goes that an agent works on.
        self.cluster.end_processes();
    }
}

fn options() -> EnsembleClusterOptions {
    EnsembleClusterOptions {
        servers: SERVERS,
        master_flags: vec!["--max_completed_tasks_per_framework=20".to_owned()],
        // Sandboxes of short tasks go soon, or they would fill the small disk.
        agent_flags: vec!["--gc_delay=20secs".to_owned()],
        ..EnsembleClusterOptions::default()
    }
}

fn start_frameworks(cluster: &EnsembleCluster, starts: &Path) -> Vec<Framework> {
    let settings = |name: &str| StreamSettings {
        master: cluster.ensemble.url(crate::ENSEMBLE_PATH),
        ledger: cluster.folder().join(format!("ledger-{name}")),
        starts: starts.to_owned(),
        tasks_per_second: TASKS_PER_SECOND,
    };
    let mut frameworks = vec![Framework::start("the SDK", settings("sdk"), Life::Sdk(None))];
    match std::env::var_os("MESETA_PYMESOS_PYTHON") {
        Some(python) => {
            let folder = cluster.folder().to_owned();
            let life = Life::Pymesos { python: python.into(), process: None, folder };
            frameworks.push(Framework::start("pymesos", settings("pymesos"), life));
        }
        None => {
            skip("a framework on pymesos: run `cargo xtask test`, or set MESETA_PYMESOS_PYTHON");
        }
    }
    frameworks
}

#[expect(clippy::print_stderr, reason = "what is not tested must be seen")]
fn skip(what: &str) {
    eprintln!("LEFT OUT, not tested: {what}");
}
