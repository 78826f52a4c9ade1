//! One look at a task: a command, an HTTP request or a TCP connection.

use std::ffi::OsString;
use std::io::{self, Read, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream, ToSocketAddrs};
use std::os::fd::AsFd;
use std::os::unix::process::ExitStatusExt;
use std::process::{Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use containers::{Output, Program, SpawnConfig, TreeSeed};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use crate::http::{Part, ResponseDecoder};

/// How many redirects are followed, as `curl` does.
const REDIRECTS_MAX: usize = 50;

/// How often a process is looked at on a kernel without pidfds.
const POLL_INTERVAL: Duration = Duration::from_millis(50);

/// What to look at.
#[derive(Clone, Debug)]
pub(crate) enum Probe {
    Command { program: Program, environment: Vec<(OsString, OsString)> },
    Http { secure: bool, address: SocketAddr, path: String },
    Tcp { address: SocketAddr },
}

/// What was seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Seen {
    ExitCode(i32),
    HttpStatus(u16),
    Connected(bool),
}

/// Why nothing was seen.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ProbeError {
    #[error("timed out after {}", protocol::duration::format(*after))]
    TimedOut { after: Duration },
    #[error("failed to start the command")]
    Spawn(#[from] containers::SpawnError),
    #[error("command {}", containers::wait_status::describe(*status))]
    Signalled { status: ExitStatus },
    #[error("the command's exit status was lost")]
    NoStatus,
    #[error("failed to request '{url}'")]
    Request { url: String, source: io::Error },
    #[error("more than {REDIRECTS_MAX} redirects")]
    TooManyRedirects,
    #[error("curl exited without a status code: {message}")]
    Curl { message: String },
}

/// Where a task on this machine listens.
pub(crate) fn loopback(ipv6: bool, port: u32) -> SocketAddr {
    let ip = if ipv6 { IpAddr::V6(Ipv6Addr::LOCALHOST) } else { IpAddr::V4(Ipv4Addr::LOCALHOST) };
    SocketAddr::new(ip, u16::try_from(port).unwrap_or(0))
}

/// Looks; blocks no longer than the timeout, of which zero means none.
pub(crate) fn perform(probe: &Probe, timeout: Duration) -> Result<Seen, ProbeError> {
    let timeout = if timeout.is_zero() { Duration::from_secs(86_400) } else { timeout };
    match probe {
        Probe::Command { program, environment } => run(program, environment, timeout),
        Probe::Http { secure, address, path } => {
            let scheme = if *secure { "https" } else { "http" };
            request(format!("{scheme}://{address}{path}"), timeout).map(Seen::HttpStatus)
        }
        Probe::Tcp { address } => {
            Ok(Seen::Connected(TcpStream::connect_timeout(address, timeout).is_ok()))
        }
    }
}

/// The command's output goes where the task's errors go, as in Mesos.
fn run(
    program: &Program,
    environment: &[(OsString, OsString)],
    timeout: Duration,
) -> Result<Seen, ProbeError> {
    let spawned = containers::spawn(SpawnConfig {
        program,
        environment,
        directory: None,
        user: None,
        stdin: None,
        stdout: &Output::StandardError,
        stderr: &Output::StandardError,
    })?;
    let deadline = Instant::now() + timeout;
    if let Some(status) = wait(spawned.pid, deadline)? {
        return status.code().map(Seen::ExitCode).ok_or(ProbeError::Signalled { status });
    }
    let seed = TreeSeed { leader: spawned.pid, start_time: spawned.start_time, marker: None };
    // What cannot be killed is left to the agent, which destroys the container.
    let _ = containers::signal_tree(&seed, libc::SIGKILL);
    let _ = wait(spawned.pid, Instant::now() + Duration::from_secs(1));
    Err(ProbeError::TimedOut { after: timeout })
}

/// Waits for a child of ours; `None` when the time is over.
fn wait(pid: i32, deadline: Instant) -> Result<Option<ExitStatus>, ProbeError> {
    let pidfd = containers::system::open_pidfd(pid).ok();
    loop {
        match containers::system::try_wait(pid) {
            Ok(Some(status)) => return Ok(Some(ExitStatus::from_raw(status.into_raw()))),
            Ok(None) => {}
            Err(_) => return Err(ProbeError::NoStatus),
        }
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Ok(None);
        }
        match &pidfd {
            Some(pidfd) => {
                let mut fds = [PollFd::new(pidfd.as_fd(), PollFlags::POLLIN)];
                let timeout = PollTimeout::try_from(left).unwrap_or(PollTimeout::MAX);
                // An interrupted wait is repeated by the loop.
                let _ = poll(&mut fds, timeout);
            }
            None => std::thread::sleep(POLL_INTERVAL.min(left)),
        }
    }
}

/// The status of the last of possibly several responses: redirects are followed.
fn request(mut url: String, timeout: Duration) -> Result<u16, ProbeError> {
    let deadline = Instant::now() + timeout;
    for _ in 0..=REDIRECTS_MAX {
        let left = deadline.saturating_duration_since(Instant::now());
        let timed_out = ProbeError::TimedOut { after: timeout };
        if left.is_zero() {
            return Err(timed_out);
        }
        let Some(rest) = url.strip_prefix("http://") else { return curl(&url, left) };
        let (authority, path) = match rest.find(['/', '?']) {
            Some(position) => rest.split_at(position),
            None => (rest, "/"),
        };
        let slash = if path.starts_with('/') { "" } else { "/" };
        let (status, location) = match get(authority, &format!("{slash}{path}"), deadline) {
            Ok(response) => response,
            Err(error) if is_timeout(&error) => return Err(timed_out),
            Err(source) => return Err(ProbeError::Request { url, source }),
        };
        match location {
            Some(location) if (300..400).contains(&status) => {
                url = if location.contains("://") {
                    location
                } else {
                    let slash = if location.starts_with('/') { "" } else { "/" };
                    format!("http://{authority}{slash}{location}")
                };
            }
            _ => return Ok(status),
        }
    }
    Err(ProbeError::TooManyRedirects)
}

fn is_timeout(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut)
}

fn get(authority: &str, path: &str, deadline: Instant) -> io::Result<(u16, Option<String>)> {
    let left = || {
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() { Err(io::Error::from(io::ErrorKind::TimedOut)) } else { Ok(left) }
    };
    let with_port = if authority.ends_with(']') || !authority.contains(':') {
        format!("{authority}:80")
    } else {
        authority.to_owned()
    };
    let address = with_port.to_socket_addrs()?.next();
    let address = address.ok_or_else(|| io::Error::from(io::ErrorKind::NotFound))?;
    let mut stream = TcpStream::connect_timeout(&address, left()?)?;
    stream.set_write_timeout(Some(left()?))?;
    let request = format!(
        "GET {path} HTTP/1.1\r\nHost: {authority}\r\nUser-Agent: meseta\r\nAccept: */*\r\n\
         Connection: close\r\n\r\n"
    );
    stream.write_all(request.as_bytes())?;
    let mut decoder = ResponseDecoder::default();
    let mut data = [0; 4096];
    loop {
        stream.set_read_timeout(Some(left()?))?;
        let count = stream.read(&mut data)?;
        if count == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let parts = decoder
            .decode(&data[..count])
            .map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))?;
        if let Some(Part::Head { status, location }) = parts.into_iter().next() {
            return Ok((status, location));
        }
    }
}

/// HTTPS is left to the program Mesos uses for all requests: TLS in every executor would cost more
/// memory than the executor itself. Certificates are not verified, since a task on the loopback
/// address has none for it.
fn curl(url: &str, timeout: Duration) -> Result<u16, ProbeError> {
    let output = Command::new("curl")
        .args(["-s", "-S", "-L", "-k", "-g", "-o", "/dev/null", "-w", "%{http_code}"])
        .arg("--max-time")
        .arg(format!("{:.3}", timeout.as_secs_f64()))
        .arg(url)
        .stdin(Stdio::null())
        .output()
        .map_err(|source| ProbeError::Request { url: url.to_owned(), source })?;
    let status = String::from_utf8_lossy(&output.stdout).trim().parse();
    status.ok().filter(|_| output.status.success()).ok_or_else(|| ProbeError::Curl {
        message: String::from_utf8_lossy(&output.stderr).trim().to_owned(),
    })
}
