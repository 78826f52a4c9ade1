//! A daemon of Meseta that is killed, paused and started again with the same flags.

use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};

use nix::sys::signal::Signal;

use crate::{Process, binary, free_port};

/// Where a daemon runs and listens.
#[derive(Clone, Debug)]
pub struct Place {
    /// The address that it publishes.
    pub ip: Ipv4Addr,
    /// The port, the same after each start.
    pub port: u16,
    /// A program with arguments that runs the daemon, such as `ip netns exec NAME`; none if it is empty.
    pub launcher: Vec<String>,
}

impl Place {
    /// On the loopback interface, at a port that was free.
    #[must_use]
    pub fn on_loopback() -> Self {
        Self { ip: Ipv4Addr::LOCALHOST, port: free_port(), launcher: Vec::new() }
    }
}

/// A master or an agent.
#[derive(Debug)]
pub struct Daemon {
    /// The process, replaced at each start.
    pub process: Process,
    /// Its `ip:port`.
    pub address: String,
    /// Such as `master-0`.
    pub name: String,
    is_paused: bool,
    launcher: Vec<String>,
    arguments: Vec<String>,
    folder: PathBuf,
}

impl Daemon {
    /// Starts `meseta KIND` with flags that say where it is, and more. What it prints goes to files in
    /// `folder`, named after it.
    #[must_use]
    pub fn start(kind: &str, name: &str, place: Place, folder: &Path, flags: Vec<String>) -> Self {
        let Place { ip, port, launcher } = place;
        let mut arguments = vec![
            kind.to_owned(),
            format!("--ip={ip}"),
            format!("--port={port}"),
            "--no-hostname_lookup".to_owned(),
            format!("--work_dir={}", folder.join(name).display()),
        ];
        arguments.extend(flags);
        Self {
            process: launch(&launcher, &arguments, folder, name),
            address: format!("{ip}:{port}"),
            name: name.to_owned(),
            is_paused: false,
            launcher,
            arguments,
            folder: folder.to_owned(),
        }
    }

    /// Kills it with SIGKILL and waits until it is gone; a paused one too.
    pub fn kill(&mut self) {
        self.process.kill_hard();
        self.is_paused = false;
    }

    /// Starts it again; kills it first if it runs.
    pub fn restart(&mut self) {
        self.kill();
        self.process = launch(&self.launcher, &self.arguments, &self.folder, &self.name);
    }

    /// Stops it with SIGSTOP: it holds its connections and does nothing.
    pub fn pause(&mut self) {
        self.process.signal(Signal::SIGSTOP);
        self.is_paused = true;
    }

    /// Lets it run on.
    pub fn resume(&mut self) {
        self.process.signal(Signal::SIGCONT);
        self.is_paused = false;
    }

    /// Whether it runs and is not paused.
    pub fn is_active(&mut self) -> bool {
        !self.is_paused && self.process.is_running()
    }

    /// Whether it was paused and not resumed.
    #[must_use]
    pub fn is_paused(&self) -> bool {
        self.is_paused
    }

    /// The URL of a path.
    #[must_use]
    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    /// What it logged in all its lives.
    #[must_use]
    pub fn log(&self) -> String {
        let text = std::fs::read(&self.process.stderr).unwrap_or_default();
        String::from_utf8_lossy(&text).into_owned()
    }
}

fn launch(launcher: &[String], arguments: &[String], folder: &Path, name: &str) -> Process {
    let binary = binary();
    let text = binary.display().to_string();
    let mut all: Vec<&str> = launcher.iter().map(String::as_str).collect();
    let program = if all.is_empty() {
        binary
    } else {
        all.push(&text);
        PathBuf::from(all.remove(0))
    };
    all.extend(arguments.iter().map(String::as_str));
    Process::start(&program, &all, &[], folder, name)
}
