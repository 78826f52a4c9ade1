//! One ZooKeeper server: its folder and its process.

use std::fs::File;
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, SocketAddrV4, TcpStream};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::{EnsembleError, JARS, TICK_TIME};

/// How long a server may take to answer a four-letter word. A paused one never does.
const ANSWER_TIMEOUT: Duration = Duration::from_millis(500);

const CONFIGURATION: &str = "zoo.cfg";
const LOG: &str = "log";

#[derive(Debug)]
pub(crate) struct Server {
    folder: PathBuf,
    address: SocketAddrV4,
    /// The process, and whether its end was asked for.
    child: Child,
    is_killed: bool,
}

impl Server {
    /// Writes the configuration and starts the process.
    pub(crate) fn create(
        folder: &Path,
        number: usize,
        address: SocketAddrV4,
        members: &str,
    ) -> Result<Self, EnsembleError> {
        let configuration = format!(
            "tickTime={TICK_TIME}\ninitLimit=20\nsyncLimit=10\ndataDir={}\nclientPort={}\n\
             clientPortAddress={}\nadmin.enableServer=false\n4lw.commands.whitelist=*\n\
             maxClientCnxns=0\nmaxSessionTimeout=60000\nstandaloneEnabled=false\n{members}",
            folder.display(),
            address.port(),
            address.ip()
        );
        let failed = |source| EnsembleError::System { operation: "write a server's files", source };
        std::fs::create_dir(folder).map_err(failed)?;
        std::fs::write(folder.join("myid"), number.to_string()).map_err(failed)?;
        std::fs::write(folder.join(CONFIGURATION), configuration).map_err(failed)?;
        let child = spawn(folder)?;
        Ok(Self { folder: folder.to_owned(), address, child, is_killed: false })
    }

    pub(crate) fn start(&mut self) -> Result<(), EnsembleError> {
        self.child = spawn(&self.folder)?;
        self.is_killed = false;
        Ok(())
    }

    pub(crate) fn address(&self) -> SocketAddrV4 {
        self.address
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Whether the process ended by itself.
    pub(crate) fn has_failed(&mut self) -> bool {
        !self.is_killed && !matches!(self.child.try_wait(), Ok(None))
    }

    pub(crate) fn signal(&self, signal: Signal) {
        // The child is not waited for anywhere but in `kill`, so the number is its own.
        if !self.is_killed {
            let pid = Pid::from_raw(i32::try_from(self.child.id()).expect("process ids fit"));
            let _ = kill(pid, signal);
        }
    }

    /// Each thread stops by itself, a moment after the signal.
    pub(crate) fn wait_until_stopped(&self) {
        let tasks = format!("/proc/{}/task", self.child.id());
        let is_running = |status: &str| {
            status.lines().any(|line| line.starts_with("State:") && !line.contains("(stopped)"))
        };
        while std::fs::read_dir(&tasks).is_ok_and(|mut entries| {
            entries.any(|entry| {
                let status = entry.map(|entry| entry.path().join("status"));
                status.and_then(std::fs::read_to_string).is_ok_and(|it| is_running(&it))
            })
        }) {
            std::thread::sleep(Duration::from_millis(1));
        }
    }

    pub(crate) fn kill(&mut self) {
        if !self.is_killed {
            let _ = self.child.kill();
            let _ = self.child.wait();
            self.is_killed = true;
        }
    }

    pub(crate) fn ask(&self, word: &str) -> Option<String> {
        let address = SocketAddr::V4(self.address());
        let mut stream = TcpStream::connect_timeout(&address, ANSWER_TIMEOUT).ok()?;
        stream.set_read_timeout(Some(ANSWER_TIMEOUT)).ok()?;
        stream.write_all(word.as_bytes()).ok()?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).ok()?;
        Some(answer)
    }

    pub(crate) fn log(&self) -> String {
        let text = std::fs::read(self.folder.join(LOG)).unwrap_or_default();
        format!("--- {}\n{}", self.folder.display(), String::from_utf8_lossy(&text))
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.kill();
    }
}

fn spawn(folder: &Path) -> Result<Child, EnsembleError> {
    let failed = |source| EnsembleError::System { operation: "write a server's files", source };
    let log = File::options().create(true).append(true).open(folder.join(LOG)).map_err(failed)?;
    let errors = log.try_clone().map_err(failed)?;
    Command::new("java")
        // A quicker start: many servers run on a machine with few cores. The memory is a limit for tests
        // with many nodes; most take a tenth of it.
        .args(["-Xmx512m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1"])
        .args(["-cp", &JARS.join(":"), "org.apache.zookeeper.server.quorum.QuorumPeerMain"])
        .arg(CONFIGURATION)
        .current_dir(folder)
        .stdin(Stdio::null())
        .stdout(log)
        .stderr(errors)
        .process_group(0)
        .spawn()
        .map_err(|source| {
            if source.kind() == std::io::ErrorKind::NotFound {
                EnsembleError::Missing("java".to_owned())
            } else {
                EnsembleError::System { operation: "start java", source }
            }
        })
}
