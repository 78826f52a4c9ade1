//! Brings one file into a directory: a copy of a local file, or over HTTP.

use std::fs::File;
use std::io::{self, Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;
use std::time::{Duration, Instant};

use ureq::Agent;
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
            let file = directory.create(name, DOWNLOAD_MODE)?;
            watch(url.clone(), file, stall_timeout)
        }
    }
}

fn copy(path: &Path, directory: &Directory, name: &Path) -> Result<(), TransferError> {
    let failed = |source| TransferError::ReadFile { path: path.to_owned(), source };
    let mut source = File::open(path).map_err(failed)?;
    let metadata = source.metadata().map_err(failed)?;
    if !metadata.is_file() {
        return Err(TransferError::NotAFile(path.to_owned()));
    }
    let mut file = directory.create(name, metadata.permissions().mode())?;
    io::copy(&mut source, &mut file).map(drop).map_err(TransferError::Copy)
}

/// Downloads on another thread and gives up when no byte comes for too long. The thread is left
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
    let mut seen = 0;
    let mut since = Instant::now();
    loop {
        match receiver.recv_timeout(interval) {
            Ok(result) => return result,
            Err(RecvTimeoutError::Disconnected) => return Err(TransferError::Abandoned),
            Err(RecvTimeoutError::Timeout) => {}
        }
        let now = progress.load(Ordering::Relaxed);
        if now != seen {
            seen = now;
            since = Instant::now();
        } else if since.elapsed() >= stall_timeout {
            return Err(TransferError::Stalled(stall_timeout));
        }
    }
}

fn download(url: &str, mut file: File, progress: &AtomicU64) -> Result<(), TransferError> {
    let request = |source| TransferError::Request(Box::new(source));
    let response = agent().get(url).call().map_err(request)?;
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
