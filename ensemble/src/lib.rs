//! A real ZooKeeper ensemble for tests, from the jars of Debian's `zookeeper` package.
//!
//! ```no_run
//! let Some(mut ensemble) = ensemble::Ensemble::start_or_skip(3) else { return };
//! let url = ensemble.url("/mesos"); // zk://127.0.0.1:…,127.0.0.1:…,127.0.0.1:…/mesos
//! let leader = ensemble.leader().expect("a started ensemble has a leader");
//! ensemble.kill(leader);
//! ensemble.wait_for_quorum();
//! ensemble.restart(leader);
//! ```
//!
//! Everything blocks, so that it can be used from any kind of test. Servers are numbered from 0, listen
//! on ports that were free, those of the loopback interface unless told otherwise, keep their files in a temporary folder and end with the
//! [`Ensemble`], also when the test fails.

mod client;
mod server;

use std::net::{Ipv4Addr, SocketAddrV4, TcpListener};
use std::path::Path;
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use tempfile::TempDir;

pub use self::client::{Access, Client};
use self::server::Server;

/// Where Debian's packages put the jars.
const JARS: &[&str] = &[
    "/usr/share/java/zookeeper.jar",
    "/usr/share/java/zookeeper-jute.jar",
    "/usr/share/java/slf4j-simple.jar",
];

/// The unit of the servers' own timing, in milliseconds.
const TICK_TIME: u32 = 500;

/// The shortest session a client may ask for, in milliseconds: two ticks are ZooKeeper's own default.
pub const SESSION_TIMEOUT_MIN: Duration = Duration::from_secs(1);

/// How long an ensemble may take to have a leader. Java needs a second to start on an idle machine and
/// many on one that compiles.
const QUORUM_TIMEOUT: Duration = Duration::from_secs(60);

/// How often a start is tried: a port may be taken between the moment it was found free and its use.
const START_ATTEMPTS: u32 = 3;

/// Why there is no ensemble.
#[derive(Debug, thiserror::Error)]
pub enum EnsembleError {
    /// Java or ZooKeeper is not installed.
    #[error("{0} is missing: on Debian, `apt-get install zookeeper default-jre-headless`")]
    Missing(String),
    /// The servers found no leader in time.
    #[error("the servers have no leader after {QUORUM_TIMEOUT:?}; they printed:\n{0}")]
    NoQuorum(String),
    /// A folder, file, port or process cannot be made.
    #[error("cannot {operation}")]
    System {
        /// What was tried.
        operation: &'static str,
        /// What the operating system said.
        source: std::io::Error,
    },
}

/// Running ZooKeeper servers that know each other.
#[derive(Debug)]
pub struct Ensemble {
    servers: Vec<Server>,
    // After the servers, so that their files go when they have ended.
    _folder: TempDir,
}

impl Ensemble {
    /// Starts `size` servers and waits until one of them leads.
    ///
    /// # Errors
    /// Something is not installed, or the servers do not come up.
    pub fn start(size: usize) -> Result<Self, EnsembleError> {
        Self::start_at(Ipv4Addr::LOCALHOST, size)
    }

    /// As [`Ensemble::start`], on another of this machine's addresses, so that it can be reached from
    /// other network namespaces.
    ///
    /// # Errors
    /// As [`Ensemble::start`].
    pub fn start_at(ip: Ipv4Addr, size: usize) -> Result<Self, EnsembleError> {
        for jar in JARS {
            if !Path::new(jar).exists() {
                return Err(EnsembleError::Missing((*jar).to_owned()));
            }
        }
        let mut attempt = 1;
        loop {
            let mut ensemble = Self::spawn(ip, size)?;
            match ensemble.await_quorum() {
                Ok(()) => return Ok(ensemble),
                Err(error) if attempt == START_ATTEMPTS => return Err(error),
                Err(_) => attempt += 1,
            }
        }
    }

    /// As [`Ensemble::start`], for tests that are skipped where ZooKeeper is not installed; the reason
    /// is printed.
    ///
    /// # Panics
    /// When the servers do not come up.
    #[must_use]
    #[expect(clippy::print_stderr, reason = "a skipped test must be seen")]
    pub fn start_or_skip(size: usize) -> Option<Self> {
        match Self::start(size) {
            Ok(ensemble) => Some(ensemble),
            Err(error @ EnsembleError::Missing(_)) => {
                eprintln!("SKIPPED, not tested: {error}");
                None
            }
            Err(error) => panic!("starting ZooKeeper: {error}"),
        }
    }

    fn spawn(ip: Ipv4Addr, size: usize) -> Result<Self, EnsembleError> {
        let folder = tempfile::Builder::new()
            .prefix("zookeeper-")
            .tempdir()
            .map_err(|source| EnsembleError::System { operation: "make a folder", source })?;
        // All held until all are known, so that they differ.
        let ports = (0..3 * size)
            .map(|_| TcpListener::bind((ip, 0)))
            .collect::<Result<Vec<_>, _>>()
            .and_then(|listeners| {
                listeners.iter().map(|it| it.local_addr().map(|address| address.port())).collect()
            })
            .map_err(|source| EnsembleError::System { operation: "find free ports", source });
        let ports: Vec<u16> = ports?;
        let members: String = ports
            .chunks(3)
            .enumerate()
            .map(|(number, ports)| format!("server.{number}={ip}:{}:{}\n", ports[1], ports[2]))
            .collect();
        let servers = ports
            .chunks(3)
            .enumerate()
            .map(|(number, ports)| {
                let address = SocketAddrV4::new(ip, ports[0]);
                Server::create(&folder.path().join(number.to_string()), number, address, &members)
            })
            .collect::<Result<Vec<_>, _>>()?;
        Ok(Self { servers, _folder: folder })
    }

    /// How many servers there are, running or not.
    #[must_use]
    pub fn size(&self) -> usize {
        self.servers.len()
    }

    /// `zk://host:port,…` of all servers, followed by `path`, which begins with a slash.
    #[must_use]
    pub fn url(&self, path: &str) -> String {
        format!("zk://{}{path}", self.connect_string())
    }

    /// As [`Ensemble::url`], with `user:password`.
    #[must_use]
    pub fn url_as(&self, credentials: &str, path: &str) -> String {
        format!("zk://{credentials}@{}{path}", self.connect_string())
    }

    /// `host:port,…` of all servers.
    #[must_use]
    pub fn connect_string(&self) -> String {
        let all: Vec<String> = self.servers.iter().map(|it| it.address().to_string()).collect();
        all.join(",")
    }

    /// Where clients reach a server.
    #[must_use]
    pub fn address(&self, server: usize) -> SocketAddrV4 {
        self.servers[server].address()
    }

    /// A session at any server that is part of a quorum, to look at nodes or to change them by hand.
    ///
    /// # Errors
    /// There is no such server; the error is that of the last one asked.
    pub fn client(&self) -> std::io::Result<Client> {
        let mut last = std::io::Error::other("there is no server");
        for server in 0..self.size() {
            // A paused server would keep us waiting.
            if self.mode(server).is_none() {
                continue;
            }
            match Client::connect(self.address(server)) {
                Ok(client) => return Ok(client),
                Err(error) => last = error,
            }
        }
        Err(last)
    }

    /// The process id of a server, for tests that cut it off by other means.
    #[must_use]
    pub fn pid(&self, server: usize) -> u32 {
        self.servers[server].pid()
    }

    /// The server that leads, as the servers tell themselves.
    #[must_use]
    pub fn leader(&self) -> Option<usize> {
        (0..self.size()).find(|server| {
            self.mode(*server).is_some_and(|mode| mode == "leader" || mode == "standalone")
        })
    }

    /// `leader`, `follower` or `standalone`; `None` when the server does not answer or has no quorum.
    #[must_use]
    pub fn mode(&self, server: usize) -> Option<String> {
        let answer = self.ask(server, "srvr")?;
        answer.lines().find_map(|line| line.strip_prefix("Mode: ")).map(str::to_owned)
    }

    /// What a server answers to one of ZooKeeper's four-letter words, such as `srvr`, `cons` or `dump`.
    #[must_use]
    pub fn ask(&self, server: usize, word: &str) -> Option<String> {
        self.servers[server].ask(word)
    }

    /// Ends a server with SIGKILL.
    pub fn kill(&mut self, server: usize) {
        self.servers[server].kill();
    }

    /// Stops a server with SIGSTOP: it holds its connections and answers nothing. It stands still when
    /// this returns.
    pub fn pause(&self, server: usize) {
        self.servers[server].signal(Signal::SIGSTOP);
        self.servers[server].wait_until_stopped();
    }

    /// Lets a paused server run on.
    pub fn resume(&self, server: usize) {
        self.servers[server].signal(Signal::SIGCONT);
    }

    /// Starts a killed server again, on its old ports with its old files; kills it first if it runs.
    ///
    /// # Panics
    /// When the process cannot be started.
    pub fn restart(&mut self, server: usize) {
        self.servers[server].kill();
        self.servers[server].start().expect("what was started once starts again");
    }

    /// Waits until a server leads and a majority answers.
    ///
    /// # Panics
    /// When that takes more than a minute; the message holds what the servers printed.
    pub fn wait_for_quorum(&mut self) {
        if let Err(error) = self.await_quorum() {
            panic!("{error}");
        }
    }

    fn await_quorum(&mut self) -> Result<(), EnsembleError> {
        let deadline = Instant::now() + QUORUM_TIMEOUT;
        loop {
            let serving = (0..self.size()).filter(|server| self.mode(*server).is_some()).count();
            if serving > self.size() / 2 && self.leader().is_some() {
                return Ok(());
            }
            if Instant::now() > deadline || self.servers.iter_mut().any(Server::has_failed) {
                let logs: String = self.servers.iter().map(Server::log).collect();
                return Err(EnsembleError::NoQuorum(logs));
            }
            std::thread::sleep(Duration::from_millis(50));
        }
    }
}
