//! `cargo xtask swarm`: the scenarios of swarm at full size against a master of this build, and the
//! rows for SPECIFICATION.md.
//!
//! The master is pinned to core 0 and swarm to core 1, and every scenario gets a fresh master.

use std::io::{BufRead as _, BufReader};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use serde_json::Value;

use crate::command::{cargo, command, run, say};
use crate::test::target_folder;

/// How long a master may take to listen.
const START_LIMIT: Duration = Duration::from_secs(60);

/// What swarm prints when it wants the master restarted.
const RESTART_WANTED: &str = "restart the master now";

/// One row of the table: what is promised, and which fields of a result say whether it is kept.
struct Scenario {
    name: &'static str,
    /// The file of the result, since a scenario may run with several rates.
    file: &'static str,
    arguments: &'static [&'static str],
    /// Promise, field, unit.
    rows: &'static [(&'static str, &'static str, &'static str)],
}

const SCENARIOS: &[Scenario] = &[
    Scenario {
        name: "register",
        file: "register",
        arguments: &["--agents=50000", "--seconds=60"],
        rows: &[
            ("50,000 agents register", "agents_registered_per_second", "/s"),
            ("M8: idle CPU with 50,000 agents: 5 % of a core", "idle_cpu_percent", " %"),
            ("memory with 50,000 agents", "master_resident_bytes", " bytes"),
        ],
    },
    Scenario {
        name: "nsdi",
        file: "nsdi-3300",
        arguments: &["--agents=50000", "--frameworks=200", "--rate=3300", "--seconds=60"],
        rows: &[
            ("launches at a wanted 3,300/s", "launches_per_second", "/s"),
            ("M7: delay of a probe at 3,300/s, p99: 250 ms", "probe_delay_ms_p99", " ms"),
        ],
    },
    Scenario {
        name: "nsdi",
        file: "nsdi-max",
        arguments: &["--agents=50000", "--frameworks=200", "--rate=20000", "--seconds=60"],
        rows: &[("M7: launches per second at most: 10,000/s", "launches_per_second", "/s")],
    },
    Scenario {
        name: "failover",
        file: "failover",
        arguments: &["--agents=50000", "--frameworks=200", "--tasks-per-agent=10"],
        rows: &[
            ("M4: 50,000 agents with 500,000 tasks return: 10 s", "reregistration_seconds", " s"),
            ("M4: first offer after the start: 1 s", "first_offer_seconds", " s"),
            ("M4: /health meanwhile, p99: 50 ms", "health_ms_p99", " ms"),
        ],
    },
    Scenario {
        name: "readers",
        file: "readers",
        arguments: &[
            "--agents=5000",
            "--frameworks=50",
            "--task-seconds=10",
            "--readers=20",
            "--seconds=60",
        ],
        rows: &[("M6: task rate with 20 state readers against none: 0.9", "task_rate_ratio", "")],
    },
    Scenario {
        name: "readers",
        file: "rest",
        arguments: &["--agents=40000", "--frameworks=200", "--tasks-per-agent=10", "--at-rest"],
        rows: &[
            (
                "M5: ten equal readers of 400,000 tasks against one: 1.3",
                "ten_readers_wall_ratio",
                "",
            ),
            ("M5: time to the first byte, p99: 20 ms", "rest_1_reader_first_byte_ms_p99", " ms"),
            ("bytes of the state", "rest_1_reader_bytes", ""),
        ],
    },
    Scenario {
        name: "reconcile",
        file: "reconcile",
        arguments: &["--agents=1000", "--tasks=100000"],
        rows: &[("M10: 100,000 unknown tasks reconciled: 1 s", "reconcile_seconds", " s")],
    },
    Scenario {
        name: "fanout",
        file: "fanout",
        arguments: &["--agents=1000", "--frameworks=20", "--task-seconds=10", "--seconds=40"],
        rows: &[
            ("M10: events delivered to 100 subscribers", "events_delivered_per_second", "/s"),
            ("CPU seconds of the master meanwhile", "master_cpu_seconds", " s"),
            ("without subscribers", "master_cpu_seconds_without_subscribers", " s"),
        ],
    },
];

/// Runs the scenarios whose names contain `filter`.
pub(crate) fn swarm(filter: &str) -> Result<()> {
    run(cargo(&["build", "--release", "--package", "meseta", "--package", "swarm"]))?;
    let target = target_folder()?;
    let results = target.join("swarm");
    std::fs::create_dir_all(&results).context("creating the folder of results")?;
    let mut table = String::from("| promise | measured |\n|---|---|\n");
    let mut failed = Vec::new();
    for scenario in SCENARIOS.iter().filter(|scenario| scenario.file.contains(filter)) {
        let json = results.join(format!("{}.json", scenario.file));
        if let Err(error) = measure(&target, scenario, &json) {
            say(&format!("{}: {error:#}", scenario.file));
            failed.push(scenario.file);
        }
        let Ok(text) = std::fs::read_to_string(&json) else { continue };
        let result: Value = serde_json::from_str(&text).context("reading a result")?;
        for (promise, field, unit) in scenario.rows {
            table.push_str(&format!("| {promise} | {}{unit} |\n", result[*field]));
        }
    }
    say(&table);
    if failed.is_empty() { Ok(()) } else { bail!("not right: {}", failed.join(", ")) }
}

fn measure(target: &Path, scenario: &Scenario, json: &Path) -> Result<()> {
    if json.exists() {
        std::fs::remove_file(json).context("removing an old result")?;
    }
    let mut master = Master::start(target, scenario.file)?;
    let swarm = target.join("release/swarm");
    let mut arguments = vec![
        scenario.name.to_owned(),
        format!("--master=127.0.0.1:{}", master.port),
        format!("--json={}", json.display()),
    ];
    arguments.extend(scenario.arguments.iter().map(|&argument| argument.to_owned()));
    say(&format!("$ swarm {}", arguments.join(" ")));
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let mut swarm = pinned(1, &swarm, &arguments).stderr(Stdio::piped()).spawn()?;
    let errors = swarm.stderr.take().context("swarm has no standard error")?;
    for line in BufReader::new(errors).lines() {
        let line = line.context("reading what swarm says")?;
        if line.contains(RESTART_WANTED) {
            master.restart()?;
        } else {
            say(&line);
        }
    }
    let status = swarm.wait().context("waiting for swarm")?;
    if !status.success() {
        bail!("swarm ended with {status}");
    }
    Ok(())
}

/// A command that runs on one core alone.
fn pinned(core: u32, program: &Path, arguments: &[&str]) -> Command {
    let core = core.to_string();
    let program = program.display().to_string();
    let mut all = vec!["-c", &core, &program];
    all.extend(arguments);
    command("taskset", &all)
}

/// A master that ends when it is dropped, with a folder of its own.
struct Master {
    binary: PathBuf,
    folder: PathBuf,
    port: u16,
    process: Child,
}

impl Master {
    fn start(target: &Path, name: &str) -> Result<Self> {
        let binary = target.join("release/meseta");
        let folder = target.join("swarm").join(format!("master-{name}"));
        if folder.exists() {
            std::fs::remove_dir_all(&folder).context("removing an old master's folder")?;
        }
        let port = TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
        let process = spawn(&binary, &folder, port)?;
        let mut master = Self { binary, folder, port, process };
        master.wait()?;
        Ok(master)
    }

    fn restart(&mut self) -> Result<()> {
        self.process.kill().context("killing the master")?;
        self.process.wait().context("waiting for the master's end")?;
        self.process = spawn(&self.binary, &self.folder, self.port)?;
        self.wait()
    }

    fn wait(&mut self) -> Result<()> {
        let start = Instant::now();
        while std::net::TcpStream::connect(("127.0.0.1", self.port)).is_err() {
            if let Some(status) = self.process.try_wait()? {
                bail!("the master ended with {status}");
            }
            if start.elapsed() > START_LIMIT {
                bail!("the master does not listen");
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        Ok(())
    }
}

impl Drop for Master {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn spawn(binary: &Path, folder: &Path, port: u16) -> Result<Child> {
    let arguments = [
        "master".to_owned(),
        "--ip=127.0.0.1".to_owned(),
        format!("--port={port}"),
        "--no-hostname_lookup".to_owned(),
        format!("--work_dir={}", folder.display()),
    ];
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let mut command = pinned(0, binary, &arguments);
    command.stdin(Stdio::null()).stdout(Stdio::null());
    command.spawn().context("starting a master")
}
