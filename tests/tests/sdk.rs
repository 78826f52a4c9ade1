//! The example framework of the SDK, `frameworks/sdk/examples/sleepers.rs`, as those run it who learn
//! from it.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::time::Duration;

use ensemble::Ensemble;
use serde_json::Value;
use tests::{Cluster, ClusterOptions, Process, try_get_json, wait_until};

const LIMIT: Duration = Duration::from_secs(60);

/// What `cargo test` leaves beside this test's own folder.
fn example() -> PathBuf {
    let own = std::env::current_exe().expect("a process knows its own path");
    let path = own.ancestors().nth(2).map(|folder| folder.join("examples/sleepers"));
    path.filter(|path| path.exists())
        .expect("the example is not built: `cargo build -p sdk --example sleepers`")
}

fn start(cluster: &Cluster, name: &str, master: &str, store: &str) -> Process {
    let user = nix::unistd::User::from_uid(nix::unistd::Uid::effective());
    let user = user.ok().flatten().expect("a user name").name;
    let arguments = [master, store, "3"];
    Process::start(&example(), &arguments, &[("USER", &user)], cluster.folder(), name)
}

/// The ids of the running tasks of the one framework, once there are three.
fn three_tasks(cluster: &Cluster, process: &Process) -> BTreeSet<String> {
    let running = || {
        let state = try_get_json(&cluster.url("/state"))?;
        let [framework] = state["frameworks"].as_array()?.as_slice() else { return None };
        let tasks = framework["tasks"].as_array()?;
        let is_running = |task: &&Value| task["state"] == "TASK_RUNNING";
        let ids = tasks.iter().filter(is_running).filter_map(|task| task["id"].as_str());
        let ids: BTreeSet<String> = ids.map(str::to_owned).collect();
        (ids.len() == 3 && tasks.len() == 3 && framework["active"] == true).then_some(ids)
    };
    let start = std::time::Instant::now();
    loop {
        if let Some(ids) = running() {
            return ids;
        }
        assert!(start.elapsed() < LIMIT, "not three tasks: {}{}", process.logs(), cluster.logs());
        std::thread::sleep(Duration::from_millis(20));
    }
}

fn wait_for_line(process: &Process, count: usize, line: &str) {
    wait_until(line, LIMIT, || (process.logs().matches(line).count() >= count).then_some(()));
}

fn framework_id(cluster: &Cluster) -> String {
    let state = cluster.state();
    state["frameworks"][0]["id"].as_str().expect("a framework").to_owned()
}

#[test]
fn tasks_run_on_while_master_and_framework_are_killed() {
    let mut cluster = Cluster::start(&ClusterOptions::default());
    let store = cluster.folder().join("store").display().to_string();
    let address = cluster.address.clone();
    let mut first = start(&cluster, "first", &address, &store);
    let tasks = three_tasks(&cluster, &first);
    let id = framework_id(&cluster);

    cluster.restart_master();
    wait_for_line(&first, 2, &format!("subscribed as {id}"));
    assert_eq!(three_tasks(&cluster, &first), tasks, "{}", first.logs());

    first.kill_hard();
    let second = start(&cluster, "second", &address, &store);
    wait_for_line(&second, 1, &format!("subscribed as {id}"));
    assert_eq!(three_tasks(&cluster, &second), tasks, "{}", second.logs());

    // A task that ends is replaced.
    let ended = tasks.first().expect("three tasks");
    let pid = wait_until("the task's process", LIMIT, || sleeping_in(&cluster, ended));
    nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGKILL).expect("a signal that is sent");
    wait_for_line(&second, 1, &format!("{ended} is TASK_FAILED"));
    let now = three_tasks(&cluster, &second);
    assert_eq!(now.intersection(&tasks).count(), 2, "{now:?} {}", second.logs());
}

/// The process of a task: it works in the task's sandbox.
fn sleeping_in(cluster: &Cluster, task: &str) -> Option<nix::unistd::Pid> {
    let folder = cluster.agents[0].work_dir.join("slaves");
    let processes = std::fs::read_dir("/proc").ok()?.flatten();
    processes.into_iter().find_map(|process| {
        let id: i32 = process.file_name().to_str()?.parse().ok()?;
        let cwd = std::fs::read_link(process.path().join("cwd")).ok()?;
        let command = std::fs::read(process.path().join("cmdline")).ok()?;
        (cwd.starts_with(&folder)
            && cwd.components().any(|part| part.as_os_str() == task)
            && command.starts_with(b"sleep\0"))
        .then_some(nix::unistd::Pid::from_raw(id))
    })
}

#[test]
fn the_leading_master_and_the_leading_instance_are_replaced() {
    let Some(ensemble) = Ensemble::start_or_skip(1) else { return };
    let (master, store) = (ensemble.url("/mesos"), ensemble.url("/frameworks/sleepers"));
    let mut old = Cluster::start(&ClusterOptions::on_zookeeper(&master, 1));
    let new = Cluster::start(&ClusterOptions::on_zookeeper(&master, 0));
    let mut first = start(&old, "first", &master, &store);
    let tasks = three_tasks(&old, &first);
    let id = framework_id(&old);
    let second = start(&old, "second", &master, &store);
    wait_for_line(&second, 1, &format!("standing by, leader: Some(\"process {}\")", first.id()));

    old.master.kill_hard();
    wait_for_line(&first, 2, &format!("subscribed as {id}"));
    assert_eq!(three_tasks(&new, &first), tasks, "{}", first.logs());

    first.kill_hard();
    wait_for_line(&second, 1, &format!("subscribed as {id}"));
    assert_eq!(three_tasks(&new, &second), tasks, "{}", second.logs());
}

#[test]
fn a_framework_that_was_torn_down_ends_with_the_place_of_its_id() {
    let cluster = Cluster::start(&ClusterOptions::default());
    let store = cluster.folder().join("store").display().to_string();
    let mut process = start(&cluster, "framework", &cluster.address, &store);
    three_tasks(&cluster, &process);
    let id = framework_id(&cluster);
    let (status, body) =
        tests::post_form(&cluster.url("/master/teardown"), &[("frameworkId", &id)]);
    assert_eq!(status, 200, "{body}");
    assert_eq!(process.wait(LIMIT), 1, "{}", process.logs());
    let logs = process.logs();
    assert!(logs.contains(&id) && logs.contains(&store) && logs.contains("removed"), "{logs}");
}
