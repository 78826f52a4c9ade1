//! Brings one file into a directory: a copy of a local file, or over HTTP.

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use ureq::Agent;
use ureq::http::header::AUTHORIZATION;
use ureq::tls::{Certificate, RootCerts, TlsConfig};

use super::directory::{Directory, DirectoryError};
use super::locate::Source;

/// How long a connection may take to be made.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(30);

/// How much is read at once.
const BUFFER_BYTES: usize = 64 << 10;

/// How often a download is looked at for whether it stands still, at least.
const WATCH_INTERVAL_MAX: Duration = Duration::from_secs(1);

/// The permissions of a downloaded file.
const DOWNLOAD_MODE: u32 = 0o644;

/// Why a file did not come.
#[derive(Debug, thiserror::Error)]
pub(super) enum TransferError {
    #[error("failed to read '{}'", path.display())]
    ReadFile { path: PathBuf, source: io::Error },
    #[error("'{}' is not a plain file", .0.display())]
    NotAFile(PathBuf),
    #[error(transparent)]
    Directory(#[from] DirectoryError),
    #[error("failed to copy")]
    Copy(#[source] io::Error),
    #[error("failed to request the URL")]
    Request(#[source] Box<ureq::Error>),
    #[error("received HTTP return code {0}")]
    Status(u16),
    #[error("failed to start the download")]
    Start(#[source] io::Error),
    #[error("the download stood still for {} s", .0.as_secs_f64())]
    Stalled(Duration),
    #[error("the download was abandoned")]
    Abandoned,
}

/// Brings the file.
pub(super) fn transfer(
    source: &Source,
    directory: &Directory,
    name: &Path,
    stall_timeout: Duration,
) -> Result<(), TransferError> {
    match source {
        Source::File(path) => copy(path, directory, name),
        Source::Url(url) => {
            let (file, incomplete) = directory.begin(name, DOWNLOAD_MODE)?;
            watch(url.clone(), file, stall_timeout)?;
            Ok(incomplete.complete()?)
        }
    }
}

fn copy(path: &Path, directory: &Directory, name: &Path) -> Result<(), TransferError> {
    let failed = |source| TransferError::ReadFile { path: path.to_owned(), source };
    // Not blocking keeps a pipe from holding up the open.
    let mut source = OpenOptions::new()
        .read(true)
        .custom_flags(libc::O_NONBLOCK | libc::O_NOCTTY)
        .open(path)
        .map_err(failed)?;
    let metadata = source.metadata().map_err(failed)?;
    if !metadata.is_file() {
        return Err(TransferError::NotAFile(path.to_owned()));
    }
    let (mut file, incomplete) = directory.begin(name, metadata.permissions().mode())?;
    io::copy(&mut source, &mut file).map_err(TransferError::Copy)?;
    Ok(incomplete.complete()?)
}

/// Downloads on another thread and gives up when no byte comes for too long, or not even a byte per
/// second on average. The thread is left
/// behind then; the process ends soon after.
fn watch(url: String, file: File, stall_timeout: Duration) -> Result<(), TransferError> {
    let progress = Arc::new(AtomicU64::new(0));
    let (sender, receiver) = mpsc::channel();
    let spawned = thread::Builder::new().spawn({
        let progress = Arc::clone(&progress);
        // Nobody listens any more when the download stood still.
        move || drop(sender.send(download(&url, file, &progress)))
    });
    spawned.map_err(TransferError::Start)?;
    let interval = (stall_timeout / 4).clamp(Duration::from_millis(1), WATCH_INTERVAL_MAX);
    let mut pace = Pace::new(stall_timeout, Instant::now());
    loop {
        match receiver.recv_timeout(interval) {
            Ok(result) => return result,
            Err(RecvTimeoutError::Disconnected) => return Err(TransferError::Abandoned),
            Err(RecvTimeoutError::Timeout) => {}
        }
        if pace.is_too_slow(Instant::now(), progress.load(Ordering::Relaxed)) {
            return Err(TransferError::Stalled(stall_timeout));
        }
    }
}

/// Watches how fast the number of bytes grows.
#[derive(Debug)]
struct Pace {
    /// How long it may stand still or crawl; zero is for ever, as in curl.
    timeout: Duration,
    /// The number of bytes, and since when it is that.
    bytes: u64,
    since: Instant,
    /// The number of bytes at the start of the period over which the average is taken.
    first_bytes: u64,
    first: Instant,
}

impl Pace {
    fn new(timeout: Duration, now: Instant) -> Self {
        Self { timeout, bytes: 0, since: now, first_bytes: 0, first: now }
    }

    fn is_too_slow(&mut self, now: Instant, bytes: u64) -> bool {
        if self.timeout.is_zero() {
            return false;
        }
        if bytes != self.bytes {
            self.bytes = bytes;
            self.since = now;
        } else if now.saturating_duration_since(self.since) >= self.timeout {
            return true;
        }
        let elapsed = now.saturating_duration_since(self.first);
        if elapsed < self.timeout {
            return false;
        }
        let crawls = bytes.saturating_sub(self.first_bytes) < elapsed.as_secs();
        self.first_bytes = bytes;
        self.first = now;
        crawls
    }
}

fn download(url: &str, mut file: File, progress: &AtomicU64) -> Result<(), TransferError> {
    let request = |source| TransferError::Request(Box::new(source));
    let (url, credentials) = split_credentials(url);
    let mut get = agent().get(&url);
    if let Some(credentials) = credentials {
        get = get.header(AUTHORIZATION, format!("Basic {}", BASE64_STANDARD.encode(credentials)));
    }
    let response = get.call().map_err(request)?;
    let status = response.status().as_u16();
    if status != 200 {
        return Err(TransferError::Status(status));
    }
    let mut body = response.into_body().into_reader();
    let mut buffer = vec![0; BUFFER_BYTES];
    loop {
        let count = body.read(&mut buffer).map_err(TransferError::Copy)?;
        if count == 0 {
            return file.flush().map_err(TransferError::Copy);
        }
        file.write_all(&buffer[..count]).map_err(TransferError::Copy)?;
        progress.fetch_add(count as u64, Ordering::Relaxed);
    }
}

/// Takes `user:password@` out of a URL (RFC 3986, 3.2.1); what is escaped in them is restored.
fn split_credentials(url: &str) -> (String, Option<Vec<u8>>) {
    let parts = url.split_once("://").and_then(|(scheme, rest)| {
        let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
        let (credentials, _) = rest[..end].rsplit_once('@')?;
        Some((scheme, credentials, &rest[credentials.len() + 1..]))
    });
    match parts {
        None => (url.to_owned(), None),
        Some((scheme, credentials, rest)) => {
            let mut credentials = unescape(credentials);
            if !credentials.contains(&b':') {
                credentials.push(b':');
            }
            (format!("{scheme}://{rest}"), Some(credentials))
        }
    }
}

fn unescape(text: &str) -> Vec<u8> {
    let mut unescaped = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((first, after)) = rest.split_first() {
        let digits = after.get(..2).filter(|digits| digits.iter().all(u8::is_ascii_hexdigit));
        let digits = digits.and_then(|digits| std::str::from_utf8(digits).ok());
        let byte = digits.and_then(|digits| u8::from_str_radix(digits, 16).ok());
        match byte {
            Some(byte) if *first == b'%' => {
                unescaped.push(byte);
                rest = &after[2..];
            }
            Some(_) | None => {
                unescaped.push(*first);
                rest = after;
            }
        }
    }
    unescaped
}

/// An HTTP client. Also one for plain HTTP knows certificates, because a redirect may need them.
fn agent() -> Agent {
    Agent::config_builder()
        .http_status_as_error(false)
        .user_agent("meseta-fetcher")
        .timeout_connect(Some(CONNECT_TIMEOUT))
        .tls_config(tls())
        .build()
        .new_agent()
}

/// Trusts what the system trusts, or what `SSL_CERT_FILE` and `SSL_CERT_DIR` say. Certificates that
/// cannot be read are missing, which the handshake then reports.
fn tls() -> TlsConfig {
    let certificates: Vec<Certificate<'static>> = rustls_native_certs::load_native_certs()
        .certs
        .iter()
        .map(|certificate| Certificate::from_der(certificate).to_owned())
        .collect();
    TlsConfig::builder().root_certs(RootCerts::new_with_certs(&certificates)).build()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_crawling_download_is_too_slow() {
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        let mut pace = Pace::new(Duration::from_secs(60), start);
        // No byte for a minute.
        assert!(!pace.is_too_slow(at(59), 0));
        assert!(pace.is_too_slow(at(60), 0));
        // A minute starts anew with each byte, but the average counts too.
        let mut pace = Pace::new(Duration::from_secs(60), start);
        assert!(!pace.is_too_slow(at(30), 60));
        assert!(!pace.is_too_slow(at(60), 60));
        assert!(!pace.is_too_slow(at(80), 61));
        assert!(pace.is_too_slow(at(120), 62));
        let mut patient = Pace::new(Duration::ZERO, start);
        assert!(!patient.is_too_slow(at(100_000), 0));
    }

    #[test]
    fn credentials_are_taken_out_of_urls() {
        let split = |url| {
            let (url, credentials) = split_credentials(url);
            (url, credentials.map(|bytes| String::from_utf8(bytes).unwrap()))
        };
        let expect =
            |url: &str, credentials: Option<&str>| (url.to_owned(), credentials.map(str::to_owned));
        assert_eq!(split("http://h:1/a@b?c@d"), expect("http://h:1/a@b?c@d", None));
        assert_eq!(split("http://u:p@h:1/a"), expect("http://h:1/a", Some("u:p")));
        assert_eq!(split("https://u:p%40%2F%zz@h"), expect("https://h", Some("u:p@/%zz")));
        assert_eq!(split("http://u@h/"), expect("http://h/", Some("u:")));
    }
}
