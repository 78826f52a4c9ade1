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
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;
use std::process::ExitStatus;
use std::time::Duration;

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

pub use request::{Item, Request, RequestError};

use crate::spawn::{Output, Program, SpawnConfig, SpawnError, UserIdentity, spawn};
use crate::system;
use crate::tree::TreeSeed;
use crate::wait_status;
use directory::{Directory, DirectoryError};

/// The subcommand that runs [`main`].
const SUBCOMMAND: &str = "fetcher";

/// The longest request that is read.
const REQUEST_BYTES_MAX: u64 = 16 << 20;

/// How often the child is looked at on a kernel without pidfds.
const POLL_INTERVAL: Duration = Duration::from_millis(20);

/// What the child inherits of our environment: where programs and certificates are, and proxies.
const INHERITED: [&str; 9] = [
    "PATH",
    "SSL_CERT_FILE",
    "SSL_CERT_DIR",
    "http_proxy",
    "https_proxy",
    "no_proxy",
    "HTTP_PROXY",
    "HTTPS_PROXY",
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
    #[error("the fetcher {}", wait_status::describe(*status))]
    Failed {
        /// How it ended.
        status: ExitStatus,
    },
    /// Somebody else waited for the child.
    #[error("the fetcher's exit status was lost")]
    NoStatus(#[source] io::Error),
}

/// A running fetcher.
#[derive(Debug)]
pub struct FetchProcess {
    seed: TreeSeed,
}

impl FetchProcess {
    /// Starts the child. `current_exe` is the program whose subcommand `fetcher` calls [`main`].
    ///
    /// Blocks until the child has read the request, which it does first of all.
    ///
    /// # Errors
    /// See [`FetchError`]; nothing runs then.
    pub fn start(current_exe: &Path, request: &Request) -> Result<Self, FetchError> {
        let user = request.user.as_deref().map(UserIdentity::look_up).transpose()?;
        let (reader, mut writer) = io::pipe().map_err(FetchError::Send)?;
        let environment: Vec<(OsString, OsString)> = INHERITED
            .iter()
            .filter_map(|name| Some(((*name).into(), std::env::var_os(name)?)))
            .collect();
        let program = Program::Exec {
            path: current_exe.into(),
            arguments: vec![current_exe.into(), SUBCOMMAND.into()],
        };
        let spawned = spawn(SpawnConfig {
            program: &program,
            environment: &environment,
            directory: Some(&request.directory),
            user: user.as_ref(),
            stdin: Some(OwnedFd::from(reader)),
            stdout: &Output::File(request.directory.join("stdout")),
            stderr: &Output::File(request.directory.join("stderr")),
        })?;
        let seed = TreeSeed { leader: spawned.pid, start_time: spawned.start_time, marker: None };
        let process = Self { seed };
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
                Some(status) => return Err(FetchError::Failed { status }),
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

/// Fetches everything a request asks for; blocks meanwhile.
///
/// # Errors
/// See [`FetchError`]. Some items may have been fetched.
pub fn run_in_child(current_exe: &Path, request: &Request) -> Result<(), FetchError> {
    FetchProcess::start(current_exe, request)?.wait()
}

/// The child: reads the request from standard input, fetches, and gives the exit code.
#[must_use]
pub fn main() -> i32 {
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
    } else if item.extract && !extract::extract(&directory, Path::new(&name))? {
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
    let _ = writeln!(io::stderr().lock(), "fetcher: {text}");
}

#[cfg(test)]
mod tests;
