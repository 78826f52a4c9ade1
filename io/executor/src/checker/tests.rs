use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener};

use protocol::mesos::{CheckInfo, CommandInfo, HealthCheck, TaskInfo};

use super::*;

const PATIENCE: Duration = Duration::from_secs(10);

fn environment() -> Environment {
    [("PATH".into(), "/usr/bin:/bin".into())].into_iter().collect()
}

fn health_task(check: HealthCheck) -> TaskInfo {
    let check = HealthCheck {
        delay_seconds: Some(0.0),
        interval_seconds: Some(0.01),
        timeout_seconds: check.timeout_seconds.or(Some(5.0)),
        ..check
    };
    TaskInfo { health_check: Some(Box::new(check)), ..Default::default() }
}

fn shell(line: &str) -> CommandInfo {
    CommandInfo { value: Some(line.to_owned()), ..Default::default() }
}

/// The first so many reports of a task's checks.
fn reports(task: &TaskInfo, count: usize) -> Vec<Input> {
    let mut checks = Checks::of(task, &environment(), Instant::now()).unwrap().unwrap();
    let deadline = Instant::now() + PATIENCE;
    let mut reports = Vec::new();
    while reports.len() < count {
        assert!(Instant::now() < deadline, "{reports:?}");
        checks.expire(Instant::now());
        reports.extend(checks.take(Instant::now()));
        thread::sleep(Duration::from_millis(2));
    }
    reports.truncate(count);
    reports
}

fn health(inputs: &[Input]) -> Vec<(bool, bool)> {
    let health = inputs.iter().map(|input| {
        let Input::Health(health) = input else { panic!("{input:?}") };
        (health.healthy, health.kill)
    });
    health.collect()
}

/// Answers each request with the next of these responses.
fn serve(responses: &'static [&'static str]) -> (SocketAddr, thread::JoinHandle<Vec<String>>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let server = thread::spawn(move || {
        let mut requests = Vec::new();
        for response in responses {
            let (mut stream, _) = listener.accept().unwrap();
            let mut request = Vec::new();
            while !request.ends_with(b"\r\n\r\n") {
                let mut byte = [0];
                stream.read_exact(&mut byte).unwrap();
                request.push(byte[0]);
            }
            let text = String::from_utf8(request).unwrap();
            requests.push(text.lines().next().unwrap().to_owned());
            stream.write_all(response.as_bytes()).unwrap();
        }
        requests
    });
    (address, server)
}

#[test]
fn failures_count_after_the_first_success_and_kill_at_the_limit() {
    let directory = tempfile::tempdir().unwrap();
    let count = directory.path().join("count");
    // Fails twice, succeeds once, fails for ever.
    let line = format!("echo >> {0}; test $(wc -l < {0}) = 3", count.display());
    let task = health_task(HealthCheck {
        command: Some(shell(&line)),
        consecutive_failures: Some(2),
        grace_period_seconds: Some(3600.0),
        ..Default::default()
    });
    let reports = reports(&task, 3);
    assert_eq!(health(&reports), [(true, false), (false, false), (false, true)]);
}

#[test]
fn without_grace_period_the_first_failure_counts() {
    let task = health_task(HealthCheck {
        command: Some(shell("exit 1")),
        consecutive_failures: Some(1),
        grace_period_seconds: Some(0.0),
        ..Default::default()
    });
    assert_eq!(health(&reports(&task, 1)), [(false, true)]);
}

#[test]
fn a_command_that_takes_too_long_is_killed_and_counts_as_failed() {
    let task = health_task(HealthCheck {
        command: Some(shell("sleep 60")),
        timeout_seconds: Some(0.1),
        grace_period_seconds: Some(0.0),
        ..Default::default()
    });
    let started = Instant::now();
    assert_eq!(health(&reports(&task, 1)), [(false, false)]);
    assert!(started.elapsed() < Duration::from_secs(5));
}

#[test]
fn http_redirects_are_followed_to_the_status_that_counts() {
    let (address, server) = serve(&[
        "HTTP/1.1 302 Found\r\nLocation: /there\r\nContent-Length: 0\r\n\r\n",
        "HTTP/1.1 204 No Content\r\n\r\n",
        "HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\n\r\n",
    ]);
    let task = health_task(HealthCheck {
        http: Some(health_check::HttpCheckInfo {
            port: u32::from(address.port()),
            path: Some("/here?a=b".to_owned()),
            ..Default::default()
        }),
        grace_period_seconds: Some(0.0),
        ..Default::default()
    });
    assert_eq!(health(&reports(&task, 2)), [(true, false), (false, false)]);
    let requests = server.join().unwrap();
    assert_eq!(requests[..2], ["GET /here?a=b HTTP/1.1", "GET /there HTTP/1.1"]);
}

#[test]
fn checks_report_changes_only() {
    let directory = tempfile::tempdir().unwrap();
    let count = directory.path().join("count");
    // 0, 0, 0, 7, 7, ...
    let line = format!("echo >> {0}; test $(wc -l < {0}) -le 3 || exit 7", count.display());
    let command = check_info::Command { command: shell(&line), ..Default::default() };
    let task = TaskInfo {
        check: Some(CheckInfo {
            r#type: Some(check_info::Type::Command),
            command: Some(command),
            delay_seconds: Some(0.0),
            interval_seconds: Some(0.01),
            ..Default::default()
        }),
        ..Default::default()
    };
    let codes: Vec<Option<i32>> = reports(&task, 2)
        .into_iter()
        .map(|input| {
            let Input::Checked(status) = input else { panic!("{input:?}") };
            status.command.unwrap().exit_code
        })
        .collect();
    assert_eq!(codes, [Some(0), Some(7)]);
}

#[test]
fn tcp_checks_tell_whether_somebody_listens() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = u32::from(listener.local_addr().unwrap().port());
    let connected = |port| {
        let probe = Probe::Tcp { address: loopback(false, port) };
        check::perform(&probe, Duration::from_secs(5)).unwrap()
    };
    assert_eq!(connected(port), Seen::Connected(true));
    drop(listener);
    assert_eq!(connected(port), Seen::Connected(false));
}

#[test]
fn a_check_without_what_it_needs_is_refused() {
    let task =
        health_task(HealthCheck { r#type: Some(health_check::Type::Http), ..Default::default() });
    let error = Checks::of(&task, &environment(), Instant::now()).unwrap_err();
    assert_eq!(error.to_string(), "the health check has no kind, or lacks what its kind needs");
    let none = Checks::of(&TaskInfo::default(), &environment(), Instant::now()).unwrap();
    assert!(none.is_none());
}
