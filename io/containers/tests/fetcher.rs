//! The fetcher as a process of its own.
#![expect(clippy::unwrap_used, reason = "a test that finds nothing has failed")]

use std::fs;
use std::net::TcpListener;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::PathBuf;
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
