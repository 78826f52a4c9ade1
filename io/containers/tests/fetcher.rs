//! The fetcher as a process of its own.
#![expect(clippy::unwrap_used, reason = "a test that finds nothing has failed")]

use std::fs;
use std::io::{self, Read, Write};
use std::net::TcpListener;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use containers::fetcher::{FetchError, FetchProcess, Item, Request, run_in_child};
use tempfile::TempDir;

fn program() -> PathBuf {
    let test = std::env::current_exe().unwrap();
    test.parent().unwrap().parent().unwrap().join("examples/fetcher")
}

/// A sandbox and a request to fetch these into it.
fn request(uris: &[&str]) -> (TempDir, Request) {
    let sandbox = tempfile::tempdir().unwrap();
    fs::set_permissions(sandbox.path(), fs::Permissions::from_mode(0o777)).unwrap();
    let items = uris.iter().map(|uri| Item {
        uri: (*uri).to_owned(),
        extract: true,
        executable: false,
        output_file: None,
        cache: false,
    });
    let request = Request {
        directory: sandbox.path().to_owned(),
        items: items.collect(),
        user: None,
        frameworks_home: None,
        stall_timeout: Duration::from_secs(5),
    };
    (sandbox, request)
}

#[test]
fn files_are_fetched_with_the_rights_of_the_user() {
    let (sandbox, mut request) = request(&["/etc/passwd"]);
    let is_root = containers::system::is_root();
    if is_root {
        // The user must be able to reach the program.
        let target = std::env::current_exe().unwrap();
        let reachable = target
            .ancestors()
            .skip(1)
            .filter(|path| path.is_dir())
            .all(|path| fs::metadata(path).unwrap().permissions().mode() & 0o001 != 0);
        request.user = reachable.then(|| "nobody".to_owned());
    }
    run_in_child(&program(), &request).unwrap();
    let fetched = sandbox.path().join("passwd");
    assert_eq!(fs::read(&fetched).unwrap(), fs::read("/etc/passwd").unwrap());
    if let Some(user) = &request.user {
        let identity = containers::UserIdentity::look_up(user).unwrap();
        assert_eq!(fs::metadata(&fetched).unwrap().uid(), identity.uid);
    }
    let log = fs::read_to_string(sandbox.path().join("stderr")).unwrap();
    assert!(log.contains("Fetched '/etc/passwd' to 'passwd'"), "{log}");
}

#[test]
fn the_first_failure_ends_it_and_stands_in_the_log() {
    let (sandbox, request) = request(&["hdfs://host/a", "/etc/passwd"]);
    let error = run_in_child(&program(), &request).unwrap_err();
    let text = error.to_string();
    let start = "the fetcher exited with status 1: Failed to fetch 'hdfs://host/a': URIs of scheme";
    assert!(text.starts_with(start), "{text}");
    let log = fs::read_to_string(sandbox.path().join("stderr")).unwrap();
    assert!(log.contains("Failed to fetch 'hdfs://host/a': URIs of scheme 'hdfs'"), "{log}");
    assert!(!sandbox.path().join("passwd").exists());
}

/// Serves one file over TLS with a certificate that signs itself, which is returned as PEM with the
/// port. Answers so many connections, of which some may fail.
fn serve_tls(connections: usize) -> (String, u16, JoinHandle<()>) {
    let issued = rcgen::generate_simple_self_signed(vec!["127.0.0.1".to_owned()]).unwrap();
    let key = rustls::pki_types::PrivateKeyDer::Pkcs8(issued.signing_key.serialize_der().into());
    let config = rustls::ServerConfig::builder()
        .with_no_client_auth()
        .with_single_cert(vec![issued.cert.der().clone()], key)
        .unwrap();
    let config = Arc::new(config);
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let server = std::thread::spawn(move || {
        for _ in 0..connections {
            let (stream, _) = listener.accept().unwrap();
            let connection = rustls::ServerConnection::new(Arc::clone(&config)).unwrap();
            // A client that does not trust us hangs up, which is what it shall do.
            let _ = answer(rustls::StreamOwned::new(connection, stream));
        }
    });
    (issued.cert.pem(), port, server)
}

fn answer(mut stream: impl Read + Write) -> io::Result<()> {
    let mut request = Vec::new();
    let mut byte = [0];
    while !request.ends_with(b"\r\n\r\n") {
        stream.read_exact(&mut byte)?;
        request.push(byte[0]);
    }
    stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 7\r\n\r\ncontent")?;
    stream.flush()
}

/// Runs the fetcher as a shell would, trusting these certificates only. Gives its log if it failed.
fn fetch_trusting(certificates: &Path, sandbox: &Path, uri: &str) -> Result<(), String> {
    let request = format!(
        r#"{{"directory": "{}", "frameworks_home": null, "stall_timeout_ms": 5000, "items": [{{"uri":
        "{uri}", "extract": true, "executable": false, "cache": false, "output_file": null}}]}}"#,
        sandbox.display(),
    );
    let mut child = Command::new(program())
        .arg("fetcher")
        .env("SSL_CERT_FILE", certificates)
        .stdin(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(request.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    let log = String::from_utf8(output.stderr).unwrap();
    if output.status.success() { Ok(()) } else { Err(log) }
}

#[test]
fn https_needs_a_trusted_certificate_for_the_right_host() {
    let (pem, port, server) = serve_tls(3);
    let (other_pem, _, _unused) = serve_tls(0);
    let sandbox = tempfile::tempdir().unwrap();
    let (ours, other) = (sandbox.path().join("ours.pem"), sandbox.path().join("other.pem"));
    fs::write(&ours, pem).unwrap();
    fs::write(&other, other_pem).unwrap();

    fetch_trusting(&ours, sandbox.path(), &format!("https://127.0.0.1:{port}/file")).unwrap();
    assert_eq!(fs::read(sandbox.path().join("file")).unwrap(), b"content");
    let uri = format!("https://127.0.0.1:{port}/untrusted");
    let log = fetch_trusting(&other, sandbox.path(), &uri).unwrap_err();
    assert!(log.contains("invalid peer certificate"), "{log}");
    let uri = format!("https://localhost:{port}/wrong-name");
    let log = fetch_trusting(&ours, sandbox.path(), &uri).unwrap_err();
    assert!(log.contains("invalid peer certificate"), "{log}");
    server.join().unwrap();
    assert!(!sandbox.path().join("untrusted").exists());
    assert!(!sandbox.path().join("wrong-name").exists());
}

#[test]
fn a_fetch_can_be_stopped() {
    // Accepts, and never answers.
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let uri = format!("http://{}/x", listener.local_addr().unwrap());
    let (_sandbox, request) = request(&[&uri]);
    let started = Instant::now();
    let process = FetchProcess::start(&program(), &request).unwrap();
    containers::signal_tree(process.seed(), libc::SIGKILL).unwrap();
    let error = process.wait().unwrap_err();
    assert!(matches!(error, FetchError::Failed { .. }), "{error:?}");
    assert!(started.elapsed() < Duration::from_secs(4));
}
