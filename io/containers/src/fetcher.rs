//! Fetches what a container needs into its directory, in a process of its own.
//!
//! Downloads and archives come from strangers, so they are handled by a short-lived child that has
//! the rights of the container's user and nothing else: the program that launches containers runs
//! itself again with the subcommand `fetcher`, which ends in [`main`]. The request goes through
//! standard input as JSON; what happens is logged to the container's own `stderr` file.

mod directory;
mod extract;
mod locate;
mod request;
mod transfer;

use std::ffi::OsString;
use std::fs::OpenOptions;
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::process::ExitStatus;
use std::time::Duration;

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::resource::{Resource, setrlimit};
use nix::sys::signal::Signal;

pub use request::{Item, Request, RequestError};

use crate::spawn::{Output, Program, SpawnConfig, SpawnError, UserIdentity, spawn};
use crate::system;
use crate::tree::TreeSeed;
use crate::wait_status;
use directory::{Directory, DirectoryError};
use extract::Limits;

/// The subcommand that runs [`main`].
const SUBCOMMAND: &str = "fetcher";

/// The name the child sees itself under: the fetcher's, even if the program's file has the name of
/// another of the programs it is.
const NAME: &str = "mesos-fetcher";

/// The longest request that is read.
const REQUEST_BYTES_MAX: u64 = 16 << 20;

/// What each line of the log starts with, among those of the container.
const LOG_PREFIX: &str = "fetcher: ";

/// How much of the last line of the log becomes the reason of a failure.
const LAST_LINE_BYTES_MAX: u64 = 4 << 10;

/// The memory that the child may take.
const MEMORY_BYTES_MAX: u64 = 1 << 30;

/// How often the child is looked at on a kernel without pidfds.
const POLL_INTERVAL: Duration = Duration::from_millis(20);

/// What the child inherits of our environment: where programs and certificates are, and proxies.
const INHERITED: [&str; 11] = [
    "PATH",
    "SSL_CERT_FILE",
    "SSL_CERT_DIR",
    "http_proxy",
    "https_proxy",
    "all_proxy",
    "no_proxy",
    "HTTP_PROXY",
    "HTTPS_PROXY",
    "ALL_PROXY",
    "NO_PROXY",
];

/// Why something was not fetched.
#[derive(Debug, thiserror::Error)]
pub enum FetchError {
    /// The child was not started.
    #[error("failed to start the fetcher")]
    Spawn(#[from] SpawnError),
    /// The child was not told what to fetch.
    #[error("failed to send the request to the fetcher")]
    Send(#[source] io::Error),
    /// The child failed; its log is in the container's `stderr`.
    #[error("the fetcher {}: {message}", wait_status::describe(*status))]
    Failed {
        /// How it ended.
        status: ExitStatus,
        /// The last line of its log.
        message: String,
    },
    /// Somebody else waited for the child.
    #[error("the fetcher's exit status was lost")]
    NoStatus(#[source] io::Error),
}

/// A running fetcher.
#[derive(Debug)]
pub struct FetchProcess {
    seed: TreeSeed,
    log: PathBuf,
}

impl FetchProcess {
    /// Starts the child. `current_exe` is the program whose subcommand `fetcher` calls [`main`].
    ///
    /// Blocks until the child has read the request, which it does first of all. The child does not
    /// outlive the calling thread.
    ///
    /// # Errors
    /// See [`FetchError`]; nothing runs then.
    pub fn start(current_exe: &Path, request: &Request) -> Result<Self, FetchError> {
        let user = request.user.as_deref().map(UserIdentity::look_up).transpose()?;
        let log = request.directory.join("stderr");
        let (reader, mut writer) = io::pipe().map_err(FetchError::Send)?;
        let environment: Vec<(OsString, OsString)> = INHERITED
            .iter()
            .filter_map(|name| Some(((*name).into(), std::env::var_os(name)?)))
            .collect();
        let program = Program::Exec {
            path: current_exe.into(),
            arguments: vec![NAME.into(), SUBCOMMAND.into()],
        };
        let spawned = spawn(SpawnConfig {
            program: &program,
            environment: &environment,
            directory: Some(&request.directory),
            user: user.as_ref(),
            stdin: Some(OwnedFd::from(reader)),
            stdout: &Output::File(request.directory.join("stdout")),
            stderr: &Output::File(log.clone()),
        })?;
        let seed = TreeSeed { leader: spawned.pid, start_time: spawned.start_time, marker: None };
        let process = Self { seed, log };
        if let Err(error) = writer.write_all(&request.to_json()) {
            // It ended before it had read everything; how it ended says more than a broken pipe.
            drop(writer);
            process.wait()?;
            return Err(FetchError::Send(error));
        }
        Ok(process)
    }

    /// What [`crate::signal_tree`] needs to stop it early; [`Self::wait`] then gives an error.
    #[must_use]
    pub const fn seed(&self) -> &TreeSeed {
        &self.seed
    }

    /// Blocks until everything is fetched.
    ///
    /// # Errors
    /// When the child failed or was stopped.
    pub fn wait(&self) -> Result<(), FetchError> {
        let pid = self.seed.leader;
        let pidfd = system::open_pidfd(pid).ok();
        loop {
            match system::try_wait(pid).map_err(FetchError::NoStatus)? {
                Some(status) if status.success() => return Ok(()),
                Some(status) => {
                    let message = last_line(&self.log).unwrap_or_default();
                    return Err(FetchError::Failed { status, message });
                }
                None => {}
            }
            match &pidfd {
                Some(pidfd) => {
                    let mut fds = [PollFd::new(pidfd.as_fd(), PollFlags::POLLIN)];
                    // An interrupted wait is repeated by the loop.
                    let _ = poll(&mut fds, PollTimeout::NONE);
                }
                None => std::thread::sleep(POLL_INTERVAL),
            }
        }
    }
}

/// The end of the fetcher's log. The file lies where strangers may write, so it is not trusted to be
/// a file.
fn last_line(path: &Path) -> io::Result<String> {
    let mut file = OpenOptions::new()
        .read(true)
        .custom_flags(libc::O_NOFOLLOW | libc::O_NONBLOCK | libc::O_NOCTTY)
        .open(path)?;
    let length = file.metadata()?.len();
    file.seek(SeekFrom::Start(length.saturating_sub(LAST_LINE_BYTES_MAX)))?;
    let mut text = Vec::new();
    file.take(LAST_LINE_BYTES_MAX).read_to_end(&mut text)?;
    let text = String::from_utf8_lossy(&text);
    let line = text.trim_end().lines().next_back().unwrap_or_default();
    Ok(line.strip_prefix(LOG_PREFIX).unwrap_or(line).to_owned())
}

/// Fetches everything a request asks for; blocks meanwhile.
///
/// # Errors
/// See [`FetchError`]. Some items may have been fetched.
pub fn run_in_child(current_exe: &Path, request: &Request) -> Result<(), FetchError> {
    FetchProcess::start(current_exe, request)?.wait()
}

/// Binds the child's life to that of the thread which started it, and bounds the memory a crafted
/// archive can make it take. Both guard against what goes wrong elsewhere, so the fetcher also works
/// where the system refuses them.
fn guard() {
    let _ = nix::sys::prctl::set_pdeathsig(Signal::SIGKILL);
    let _ = setrlimit(Resource::RLIMIT_DATA, MEMORY_BYTES_MAX, MEMORY_BYTES_MAX);
}

/// The child: reads the request from standard input, fetches, and gives the exit code.
#[must_use]
pub fn main() -> i32 {
    guard();
    let mut text = Vec::new();
    let request = match io::stdin().lock().take(REQUEST_BYTES_MAX).read_to_end(&mut text) {
        Ok(_) => Request::from_json(&text),
        Err(source) => Err(RequestError::Read(source)),
    };
    let request = match request {
        Ok(request) => request,
        Err(error) => {
            log(&format!("Failed to read the fetch request: {}", with_causes(&error)));
            return 1;
        }
    };
    for item in &request.items {
        log(&format!("Fetching '{}'", item.uri));
        match fetch(&request, item) {
            Ok(name) => log(&format!("Fetched '{}' to '{name}'", item.uri)),
            Err(error) => {
                log(&format!("Failed to fetch '{}': {}", item.uri, with_causes(&error)));
                return 1;
            }
        }
    }
    0
}

/// Why one item was not fetched.
#[derive(Debug, thiserror::Error)]
enum ItemError {
    #[error(transparent)]
    Source(#[from] locate::SourceError),
    #[error(transparent)]
    Transfer(#[from] transfer::TransferError),
    #[error(transparent)]
    Directory(#[from] DirectoryError),
    #[error("failed to extract the archive")]
    Extract(#[from] extract::ExtractError),
}

/// Fetches one item and gives the name it has in the directory.
fn fetch(request: &Request, item: &Item) -> Result<String, ItemError> {
    let directory = Directory::open(&request.directory)?;
    let (source, name) = locate::locate(&item.uri, request.frameworks_home.as_deref())?;
    let name = item.output_file.clone().unwrap_or(name);
    transfer::transfer(&source, &directory, Path::new(&name), request.stall_timeout)?;
    if item.executable {
        directory.make_executable(Path::new(&name))?;
    } else if item.extract && !extract::extract(&directory, Path::new(&name), Limits::default())? {
        log(&format!("'{name}' is not extracted, because its name is not that of an archive"));
    }
    Ok(name)
}

fn with_causes(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(": ");
        text.push_str(&error.to_string());
        cause = error.source();
    }
    text
}

fn log(text: &str) {
    // A container's directory on a full disk is no reason to fail here.
    let text = text.replace(['\n', '\r'], " ");
    let _ = writeln!(io::stderr().lock(), "{LOG_PREFIX}{text}");
}

#[cfg(test)]
mod tests;
