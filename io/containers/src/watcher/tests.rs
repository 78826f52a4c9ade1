use std::os::unix::process::ExitStatusExt;
use std::sync::mpsc;
use std::time::Duration;

use super::*;
use crate::spawn::{Output, Program, SpawnConfig, Spawned, spawn};

const PATIENCE: Duration = Duration::from_secs(10);

fn start(line: &str) -> Spawned {
    let (stdout, stderr) = (Output::Inherit, Output::Inherit);
    spawn(SpawnConfig {
        program: &Program::Shell(line.into()),
        environment: &[],
        directory: None,
        user: None,
        stdin: None,
        stdout: &stdout,
        stderr: &stderr,
    })
    .unwrap()
}

#[test]
fn reports_exit_codes_and_signals_of_children_once() {
    let (sender, receiver) = mpsc::channel();
    let watcher = ExitWatcher::start(move |exit| sender.send(exit).unwrap()).unwrap();
    for (key, line) in [("seven", "exit 7"), ("zero", "true"), ("killed", "kill -9 $$")] {
        let spawned = start(line);
        watcher.watch(key, spawned.pid, spawned.start_time).unwrap();
    }
    let exits: BTreeMap<&str, ExitStatus> = (0..3)
        .map(|_| receiver.recv_timeout(PATIENCE).unwrap())
        .map(|exit| (exit.key, exit.status.unwrap()))
        .collect();
    assert_eq!(exits["seven"].code(), Some(7));
    assert_eq!(exits["zero"].code(), Some(0));
    assert_eq!(exits["killed"].signal(), Some(9));
    drop(watcher);
    assert!(receiver.try_recv().is_err());
}

#[test]
fn a_process_that_is_not_ours_ends_without_status() {
    let (sender, receiver) = mpsc::channel();
    let watcher = ExitWatcher::start(move |exit| sender.send(exit).unwrap()).unwrap();
    // Of the two only the shell is our child; the sleep belongs to it.
    let shell = start("sleep 0.3 & wait");
    let stranger = loop {
        let table = crate::ProcessTable::read().unwrap();
        if let Some(found) = table.iter().find(|process| process.parent == shell.pid) {
            break *found;
        }
    };
    watcher.watch("stranger", stranger.pid, stranger.start_time).unwrap();
    let exit = receiver.recv_timeout(PATIENCE).unwrap();
    assert_eq!(exit, Exit { key: "stranger", status: None });
    watcher.watch("shell", shell.pid, shell.start_time).unwrap();
    assert!(receiver.recv_timeout(PATIENCE).unwrap().status.unwrap().success());
}

#[test]
fn a_pid_taken_by_another_process_counts_as_ended() {
    let (sender, receiver) = mpsc::channel();
    let watcher = ExitWatcher::start(move |exit| sender.send(exit).unwrap()).unwrap();
    let ours = ProcessStat::read(i32::try_from(std::process::id()).unwrap()).unwrap();
    watcher.watch("gone", ours.pid, ours.start_time + 1).unwrap();
    let exit = receiver.recv_timeout(PATIENCE).unwrap();
    assert_eq!(exit, Exit { key: "gone", status: None });
}
