//! Starts one program in a session of its own, with nothing inherited but what is named.

use std::ffi::OsString;
use std::fs::{File, OpenOptions, Permissions};
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::unistd::{Gid, Uid, User};

use crate::process_table::ProcessStat;
use crate::system;

/// What to run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Program {
    /// A command line for `/bin/sh -c`.
    Shell(OsString),
    /// A program, found by the `PATH` of the new environment unless it has a slash, and its
    /// arguments; the first argument is the name the program sees itself under. With no arguments
    /// the program sees its own path.
    Exec {
        /// Path or name of the program.
        path: OsString,
        /// The arguments, including the name.
        arguments: Vec<OsString>,
    },
}

/// Where standard output or error goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Output {
    /// Where ours goes.
    Inherit,
    /// Where our standard error goes.
    StandardError,
    /// To this file, appended; created with mode 0644 and owned by the user the program runs as.
    File(PathBuf),
}

/// A user and the groups it belongs to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UserIdentity {
    /// The name.
    pub name: String,
    /// The user's number.
    pub uid: u32,
    /// The number of the user's primary group.
    pub gid: u32,
    /// All groups, the primary one included.
    pub groups: Vec<u32>,
}

impl UserIdentity {
    /// Looks the user up in the system's user database.
    ///
    /// # Errors
    /// An unknown name, or a failing look-up.
    pub fn look_up(name: &str) -> Result<Self, SpawnError> {
        let failed = |source| SpawnError::LookUpUser { name: name.to_owned(), source };
        let user = User::from_name(name)
            .map_err(|errno| failed(errno.into()))?
            .ok_or_else(|| SpawnError::UnknownUser { name: name.to_owned() })?;
        let c_name = std::ffi::CString::new(name)
            .map_err(|_| SpawnError::UnknownUser { name: name.to_owned() })?;
        let groups = nix::unistd::getgrouplist(&c_name, user.gid)
            .map_err(|errno| failed(errno.into()))?
            .into_iter()
            .map(Gid::as_raw)
            .collect();
        Ok(Self { name: name.to_owned(), uid: user.uid.as_raw(), gid: user.gid.as_raw(), groups })
    }
}

/// How to start a program.
#[derive(Debug)]
pub struct SpawnConfig<'a> {
    /// What to run.
    pub program: &'a Program,
    /// The complete environment: nothing is added to it.
    pub environment: &'a [(OsString, OsString)],
    /// The working directory; ours when absent.
    pub directory: Option<&'a Path>,
    /// The user to become, which only root can.
    pub user: Option<&'a UserIdentity>,
    /// Standard input; empty when absent.
    pub stdin: Option<OwnedFd>,
    /// Standard output.
    pub stdout: &'a Output,
    /// Standard error.
    pub stderr: &'a Output,
}

/// A program that was started. It is a child of ours: somebody must wait for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Spawned {
    /// Its process id, which is also its session and process group.
    pub pid: i32,
    /// When it started, in clock ticks since boot; with the pid it names the process for ever.
    pub start_time: u64,
}

/// Why a program was not started.
#[derive(Debug, thiserror::Error)]
pub enum SpawnError {
    /// The system has no user of this name.
    #[error("no user named '{name}'")]
    UnknownUser {
        /// The name asked for.
        name: String,
    },
    /// The user database did not answer.
    #[error("failed to look up user '{name}'")]
    LookUpUser {
        /// The name asked for.
        name: String,
        /// What the system said.
        source: io::Error,
    },
    /// Another user was asked for without the rights to become it.
    #[error("only root can run a program as user '{name}'")]
    NotRoot {
        /// The name asked for.
        name: String,
    },
    /// A file for standard output or error could not be opened.
    #[error("failed to open '{}' for output", path.display())]
    OpenOutput {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The program could not be executed, or its directory entered.
    #[error("failed to execute '{program}'")]
    Execute {
        /// The program.
        program: String,
        /// What the system said.
        source: io::Error,
    },
}

/// Starts a program in an own session and process group, with default signals, umask 022 and no file
/// descriptor but its standard three.
///
/// # Errors
/// See [`SpawnError`]. An error after the fork is found out too: when this returns `Ok`, the program
/// runs.
pub fn spawn(config: SpawnConfig<'_>) -> Result<Spawned, SpawnError> {
    let identity = config.user.map(switch_to).transpose()?.flatten();
    let owner = identity.as_ref().map(|identity| (identity.uid, identity.gid));
    let (mut command, shown) = command(config.program);
    command.env_clear();
    command.envs(config.environment.iter().map(|(name, value)| (name, value)));
    if let Some(directory) = config.directory {
        command.current_dir(directory);
    }
    command.stdin(config.stdin.map_or_else(Stdio::null, Stdio::from));
    command.stdout(open_output(config.stdout, owner)?);
    command.stderr(open_output(config.stderr, owner)?);
    system::prepare_child(&mut command, identity);
    let execute = |source| SpawnError::Execute { program: shown.clone(), source };
    let child = command.spawn().map_err(execute)?;
    let pid = i32::try_from(child.id())
        .map_err(|error| execute(io::Error::new(io::ErrorKind::InvalidData, error)))?;
    // The child is not waited for yet, so at worst its zombie is found here.
    let start_time = ProcessStat::read(pid).map_or(0, |stat| stat.start_time);
    Ok(Spawned { pid, start_time })
}

fn command(program: &Program) -> (Command, String) {
    match program {
        Program::Shell(line) => {
            let mut command = Command::new("/bin/sh");
            command.arg0("sh").arg("-c").arg(line);
            (command, "/bin/sh".to_owned())
        }
        Program::Exec { path, arguments } => {
            let mut command = Command::new(path);
            if let Some((name, rest)) = arguments.split_first() {
                command.arg0(name).args(rest);
            }
            (command, path.to_string_lossy().into_owned())
        }
    }
}

/// The identity to switch to; none when we already are that user.
fn switch_to(user: &UserIdentity) -> Result<Option<system::Identity>, SpawnError> {
    if !system::is_root() {
        if user.uid == Uid::effective().as_raw() {
            return Ok(None);
        }
        return Err(SpawnError::NotRoot { name: user.name.clone() });
    }
    Ok(Some(system::Identity { uid: user.uid, gid: user.gid, groups: user.groups.clone() }))
}

fn open_output(output: &Output, owner: Option<(u32, u32)>) -> Result<Stdio, SpawnError> {
    match output {
        Output::Inherit => Ok(Stdio::inherit()),
        Output::StandardError => io::stderr()
            .as_fd()
            .try_clone_to_owned()
            .map(Stdio::from)
            .map_err(|source| SpawnError::OpenOutput { path: "/dev/stderr".into(), source }),
        Output::File(path) => open_file(path, owner)
            .map(Stdio::from)
            .map_err(|source| SpawnError::OpenOutput { path: path.clone(), source }),
    }
}

/// Opens a file in a directory that a stranger may write to, while we may be root: nothing but a
/// plain file with a single name is accepted, so that no link leads the output elsewhere.
fn open_file(path: &Path, owner: Option<(u32, u32)>) -> io::Result<File> {
    let file = OpenOptions::new()
        .append(true)
        .create(true)
        .mode(0o644)
        .custom_flags(libc::O_NOFOLLOW | libc::O_NONBLOCK | libc::O_NOCTTY)
        .open(path)?;
    let metadata = file.metadata()?;
    if !metadata.is_file() || metadata.nlink() > 1 {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "not a plain file"));
    }
    // The mode given to open() is subject to our umask.
    file.set_permissions(Permissions::from_mode(0o644))?;
    if let Some((uid, gid)) = owner {
        std::os::unix::fs::fchown(&file, Some(uid), Some(gid))?;
    }
    // Non-blocking was only meant to keep a planted pipe from holding up the open.
    fcntl(file.as_fd(), FcntlArg::F_SETFL(OFlag::O_APPEND))?;
    Ok(file)
}
