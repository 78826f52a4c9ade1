//! `meseta local`, the first thing a new user runs.

use std::path::Path;
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use tests::{Output, Process, binary, get, get_json, run, wait_until};

const LIMIT: Duration = Duration::from_secs(60);

fn local(arguments: &[&str]) -> Output {
    let mut all = vec!["local", "--port=0"];
    all.extend(arguments);
    run(&binary(), &all, &[], LIMIT)
}

fn address(process: &Process) -> String {
    wait_until("the cluster to print its address", LIMIT, || {
        let logs = process.logs();
        let rest = logs.split("http://").nth(1)?;
        Some(rest.split_whitespace().next()?.trim_end_matches(['/', '.', ',']).to_owned())
    })
}

#[test]
fn a_command_runs_on_a_fresh_cluster_and_its_output_and_exit_code_come_back() {
    let output = local(&["--", "sh", "-c", "echo one; echo two >&2; exit 3"]);
    assert_eq!(output.code, 3, "{output:?}");
    assert_eq!(output.stdout, "one\n", "{output:?}");
    assert_eq!(output.stderr, "two\n", "{output:?}");
}

#[test]
fn arguments_reach_the_command_as_they_are() {
    // Also when each agent has less than a processor.
    let output = local(&["--agents=4", "--", "printf", "%s|", "a b", "$HOME", "'quoted'", ""]);
    assert_eq!(output.code, 0, "{output:?}");
    assert_eq!(output.stdout, "a b|$HOME|'quoted'||", "{output:?}");
}

#[test]
fn a_cluster_is_ready_within_a_second_and_leaves_nothing_behind() {
    let folder = tempfile::tempdir().expect("a folder");
    let temporary = folder.path().join("tmp");
    std::fs::create_dir(&temporary).expect("a folder");
    let text = temporary.display().to_string();
    let start = Instant::now();
    let mut process = Process::start(
        &binary(),
        &["local", "--port=0", "--agents=3"],
        &[("TMPDIR", &text)],
        folder.path(),
        "local",
    );
    let address = address(&process);
    let url = format!("http://{address}/state");
    wait_until("three agents", LIMIT, || {
        (get_json(&url)["slaves"].as_array()?.len() == 3).then_some(())
    });
    let elapsed = start.elapsed();
    assert!(elapsed < Duration::from_secs(3), "ready after {elapsed:?}");

    // A task that runs when the cluster is interrupted ends with it.
    let master = format!("--master={address}");
    let marker = folder.path().join("task-is-up");
    let command = format!("--command=touch {}; exec sleep 43210", marker.display());
    let resources = "--resources=cpus:0.1;mem:32";
    let arguments = ["execute", master.as_str(), "--name=sleeper", command.as_str(), resources];
    let execute = Process::start(&binary(), &arguments, &[], folder.path(), "execute");
    wait_until("the task to run", LIMIT, || marker.exists().then_some(()));
    process.signal(Signal::SIGINT);
    assert_eq!(process.wait(LIMIT), 0, "{}", process.logs());
    drop(execute);
    assert_eq!(sleepers(), 0, "the task outlived its cluster");
    let left: Vec<_> = std::fs::read_dir(&temporary).expect("a folder").flatten().collect();
    assert!(left.is_empty(), "left behind: {left:?}");
}

fn sleepers() -> usize {
    std::fs::read_dir("/proc")
        .expect("/proc")
        .flatten()
        .filter(|entry| {
            std::fs::read(entry.path().join("cmdline"))
                .is_ok_and(|bytes| bytes.starts_with(b"sleep\x0043210"))
        })
        .count()
}

#[test]
fn an_ordinary_user_can_run_it() {
    if !nix::unistd::Uid::effective().is_root() {
        // Every other test of this file already ran as an ordinary user.
        return;
    }
    // The binary may stand where only root can go: a copy stands where everybody can.
    let folder = tempfile::Builder::new().prefix("meseta-user-").tempdir().expect("a folder");
    let copy = folder.path().join("meseta");
    std::fs::copy(binary(), &copy).expect("a copy of the binary");
    for path in [folder.path(), Path::new(&copy)] {
        let mode = std::os::unix::fs::PermissionsExt::from_mode(0o755);
        std::fs::set_permissions(path, mode).expect("permissions");
    }
    let script = format!("cd / && {} local --port=0 -- id -u", copy.display());
    let arguments = ["--reuid=65534", "--regid=65534", "--clear-groups", "sh", "-c", &script];
    let output = run(Path::new("/usr/bin/setpriv"), &arguments, &[], LIMIT);
    assert_eq!(output.code, 0, "{output:?}");
    assert_eq!(output.stdout, "65534\n", "{output:?}");
}

#[test]
fn what_it_prints_leads_on() {
    let folder = tempfile::tempdir().expect("a folder");
    // It is killed at the end and cannot remove its own folder, which therefore stands in this one.
    let environment = [("TMPDIR", folder.path().to_str().expect("a path that is text"))];
    let arguments = ["local", "--port=0"];
    let process = Process::start(&binary(), &arguments, &environment, folder.path(), "local");
    let address = address(&process);
    let (status, _) = get(&format!("http://{address}/health"));
    assert_eq!(status, 200);
    wait_until("a hint at what to try next", LIMIT, || {
        process.logs().contains(&format!("meseta execute --master={address}")).then_some(())
    });
}

#[test]
fn a_port_in_use_is_one_clear_line() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = taken.local_addr().expect("an address").port();
    let output = run(&binary(), &["local", &format!("--port={port}")], &[], LIMIT);
    assert_eq!(output.code, 1, "{output:?}");
    assert!(output.stderr.contains(&port.to_string()), "{output:?}");
    assert_eq!(output.stderr.trim_end().lines().count(), 1, "{output:?}");
}
