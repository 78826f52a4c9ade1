//! Child processes that do not outlive their test.

use std::fs::File;
use std::net::TcpListener;
use std::os::unix::process::{CommandExt as _, ExitStatusExt as _};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

/// The binary under test: `MESETA_BINARY`, which `cargo xtask test` sets, or the one that a build
/// of the workspace left beside this test's own folder.
#[must_use]
pub fn binary() -> PathBuf {
    if let Some(path) = std::env::var_os("MESETA_BINARY") {
        return path.into();
    }
    let own = std::env::current_exe().expect("a process knows its own path");
    let beside = own.ancestors().nth(2).map(|folder| folder.join("meseta"));
    beside.filter(|path| path.exists()).expect(
        "no meseta binary: run `cargo xtask test`, or `cargo build` first, or set MESETA_BINARY",
    )
}

/// A port that was free a moment ago, for processes that must come back on the same one.
#[must_use]
pub fn free_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a loopback port is free");
    listener.local_addr().expect("a listener has an address").port()
}

/// Asks every few milliseconds until there is an answer.
///
/// # Panics
/// When there is none in time; the message names what was waited for.
pub fn wait_until<T>(what: &str, limit: Duration, mut ask: impl FnMut() -> Option<T>) -> T {
    let start = Instant::now();
    loop {
        if let Some(answer) = ask() {
            return answer;
        }
        assert!(start.elapsed() < limit, "waited {limit:?} in vain for: {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// What a finished program left.
#[derive(Clone, Debug)]
pub struct Output {
    /// The exit code, or 128 plus the signal's number as shells count.
    pub code: i32,
    /// Standard output.
    pub stdout: String,
    /// Standard error.
    pub stderr: String,
}

/// Runs a program to its end with nothing of this process' environment but `PATH` and `HOME`.
///
/// # Panics
/// When it cannot be started or takes longer than `limit`.
#[must_use]
pub fn run(
    program: &Path,
    arguments: &[&str],
    environment: &[(&str, &str)],
    limit: Duration,
) -> Output {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let mut process = Process::start(program, arguments, environment, folder.path(), "run");
    let status = process.wait(limit);
    let read = |path: &Path| {
        String::from_utf8_lossy(&std::fs::read(path).unwrap_or_default()).into_owned()
    };
    Output { code: status, stdout: read(&process.stdout), stderr: read(&process.stderr) }
}

/// A running program with its output in files.
#[derive(Debug)]
pub struct Process {
    child: Child,
    name: String,
    /// The file that holds its standard output.
    pub stdout: PathBuf,
    /// The file that holds its standard error.
    pub stderr: PathBuf,
}

impl Process {
    /// Starts a program in a process group of its own; its output goes to files in `folder`.
    ///
    /// # Panics
    /// When it cannot be started.
    #[must_use]
    pub fn start(
        program: &Path,
        arguments: &[&str],
        environment: &[(&str, &str)],
        folder: &Path,
        name: &str,
    ) -> Self {
        let stdout = folder.join(format!("{name}.stdout"));
        let stderr = folder.join(format!("{name}.stderr"));
        let open = |path: &Path| {
            File::options().create(true).append(true).open(path).expect("a log file in the folder")
        };
        let mut command = Command::new(program);
        command.args(arguments).env_clear().stdin(Stdio::null());
        for name in ["PATH", "HOME"] {
            if let Some(value) = std::env::var_os(name) {
                command.env(name, value);
            }
        }
        command.envs(environment.iter().copied()).process_group(0);
        let child = command
            .stdout(open(&stdout))
            .stderr(open(&stderr))
            .spawn()
            .unwrap_or_else(|error| panic!("starting {}: {error}", program.display()));
        Self { child, name: name.to_owned(), stdout, stderr }
    }

    /// The process id.
    #[must_use]
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Sends a signal to the process alone.
    pub fn signal(&self, signal: Signal) {
        // A process that ended already cannot be signalled, which is no failure of the test.
        let _ = kill(self.pid(), signal);
    }

    fn pid(&self) -> Pid {
        Pid::from_raw(i32::try_from(self.child.id()).expect("process ids fit"))
    }

    /// Kills it with SIGKILL and waits until it is gone.
    pub fn kill_hard(&mut self) {
        if self.is_running() {
            self.signal(Signal::SIGKILL);
        }
        let _ = self.child.wait();
    }

    /// Whether it still runs.
    pub fn is_running(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(None))
    }

    /// Waits for its end.
    ///
    /// # Panics
    /// When it takes longer than `limit`; the message holds what it printed.
    pub fn wait(&mut self, limit: Duration) -> i32 {
        let start = Instant::now();
        loop {
            if let Ok(Some(status)) = self.child.try_wait() {
                return status.code().unwrap_or_else(|| 128 + status.signal().unwrap_or(0));
            }
            assert!(
                start.elapsed() < limit,
                "{} runs longer than {limit:?}: {}",
                self.name,
                self.logs()
            );
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// What it printed so far, both streams.
    #[must_use]
    pub fn logs(&self) -> String {
        let read = |path: &Path| {
            String::from_utf8_lossy(&std::fs::read(path).unwrap_or_default()).into_owned()
        };
        format!(
            "--- {} stdout\n{}--- {} stderr\n{}",
            self.name,
            read(&self.stdout),
            self.name,
            read(&self.stderr)
        )
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if self.is_running() {
            let _ = nix::sys::signal::killpg(self.pid(), Signal::SIGKILL);
            self.kill_hard();
        }
    }
}

/// The processes that work for a folder: it stands in their environment, arguments or as their
/// working directory. The test itself is left out.
#[must_use]
pub(crate) fn processes_of(folder: &Path) -> Vec<Pid> {
    let text = folder.to_string_lossy().into_owned();
    let own = std::process::id();
    let Ok(entries) = std::fs::read_dir("/proc") else { return Vec::new() };
    entries
        .flatten()
        .filter_map(|entry| entry.file_name().to_string_lossy().parse::<u32>().ok())
        .filter(|id| *id != own && concerns(*id, &text))
        .filter_map(|id| i32::try_from(id).ok())
        .map(Pid::from_raw)
        .collect()
}

fn concerns(id: u32, folder: &str) -> bool {
    let in_file = |name: &str| {
        std::fs::read(format!("/proc/{id}/{name}"))
            .is_ok_and(|bytes| String::from_utf8_lossy(&bytes).contains(folder))
    };
    let in_link = std::fs::read_link(format!("/proc/{id}/cwd"))
        .is_ok_and(|path| path.to_string_lossy().starts_with(folder));
    in_link || in_file("environ") || in_file("cmdline")
}
