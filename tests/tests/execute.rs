//! `meseta execute`, the command line's way to run one task.

use std::path::Path;
use std::time::Duration;

use nix::sys::signal::Signal;
use tests::{Cluster, ClusterOptions, Output, Process, binary, run, wait_until};

const LIMIT: Duration = Duration::from_secs(60);

fn execute(cluster: &Cluster, flags: &[&str]) -> Output {
    let master = format!("--master={}", cluster.address);
    let mut arguments = vec!["execute", master.as_str()];
    arguments.extend(flags);
    run(&binary(), &arguments, &[], LIMIT)
}

#[test]
fn a_finished_task_exits_with_zero_and_prints_each_status() {
    let cluster = Cluster::start(&ClusterOptions::default());
    let output = execute(&cluster, &["--name=hello", "--command=echo hello"]);
    assert_eq!(output.code, 0, "{output:?}{}", cluster.logs());
    for state in ["TASK_STARTING", "TASK_RUNNING", "TASK_FINISHED"] {
        assert!(output.stdout.contains(state), "no {state} in {}", output.stdout);
    }
}

#[test]
fn the_output_of_a_task_is_in_its_sandbox() {
    let cluster = Cluster::start(&ClusterOptions::default());
    let output =
        execute(&cluster, &["--name=hello", "--command=echo to-stdout; echo to-stderr >&2"]);
    assert_eq!(output.code, 0, "{output:?}");
    let find = |name: &str, text: &str| {
        let mut folders = vec![cluster.agents[0].work_dir.join("slaves")];
        while let Some(folder) = folders.pop() {
            for entry in std::fs::read_dir(&folder).expect("a folder of the sandbox").flatten() {
                let kind = entry.file_type().expect("a file type");
                if kind.is_dir() {
                    folders.push(entry.path());
                } else if entry.file_name() == name {
                    let bytes = std::fs::read(entry.path()).expect("a readable file");
                    return String::from_utf8_lossy(&bytes).contains(text);
                }
            }
        }
        false
    };
    assert!(find("stdout", "to-stdout"));
    assert!(find("stderr", "to-stderr"));
}

#[test]
fn a_failed_task_exits_with_one_and_says_why() {
    let cluster = Cluster::start(&ClusterOptions::default());
    let output = execute(&cluster, &["--name=fails", "--command=exit 7"]);
    assert_eq!(output.code, 1, "{output:?}");
    assert!(output.stdout.contains("TASK_FAILED"), "{output:?}");
    assert!(output.stdout.contains("exited with status 7"), "{output:?}");
}

#[test]
fn words_instead_of_a_shell_and_an_environment() {
    let cluster = Cluster::start(&ClusterOptions::default());
    let flags = ["--name=env", "--no-shell", "--command=/usr/bin/test -n word"];
    assert_eq!(execute(&cluster, &flags).code, 0);
    let flags =
        ["--name=env", "--command=test \"$COLOUR\" = green", "--env={\"COLOUR\":\"green\"}"];
    assert_eq!(execute(&cluster, &flags).code, 0);
}

#[test]
fn a_task_is_killed_after_the_given_time() {
    let cluster = Cluster::start(&ClusterOptions::default());
    let output = execute(&cluster, &["--name=long", "--command=sleep 1000", "--kill_after=300ms"]);
    assert_eq!(output.code, 1, "{output:?}");
    assert!(output.stdout.contains("TASK_KILLED"), "{output:?}");
}

#[test]
fn an_interrupt_ends_the_task_and_the_framework() {
    let cluster = Cluster::start(&ClusterOptions::default());
    let master = format!("--master={}", cluster.address);
    let arguments = ["execute", master.as_str(), "--name=long", "--command=sleep 98765"];
    let mut process = Process::start(&binary(), &arguments, &[], cluster.folder(), "execute");
    wait_until("the task to run", LIMIT, || process.logs().contains("TASK_RUNNING").then_some(()));
    process.signal(Signal::SIGINT);
    assert_ne!(process.wait(LIMIT), 0);
    wait_until("the framework to end", LIMIT, || {
        let state = cluster.state();
        (state["frameworks"].as_array()?.is_empty()
            && state["completed_frameworks"].as_array()?.len() == 1)
            .then_some(())
    });
}

#[test]
fn a_task_larger_than_the_cluster_waits_for_offers() {
    let cluster = Cluster::start(&ClusterOptions::default());
    let master = format!("--master={}", cluster.address);
    let flags = ["execute", master.as_str(), "--name=big", "--command=true", "--resources=cpus:64"];
    let mut process = Process::start(&binary(), &flags, &[], cluster.folder(), "execute");
    std::thread::sleep(Duration::from_secs(2));
    assert!(process.is_running(), "{}", process.logs());
}

#[test]
fn what_a_task_names_is_fetched_into_its_sandbox() {
    let cluster = Cluster::start(&ClusterOptions::default());
    let folder = cluster.folder();
    std::fs::write(folder.join("script"), "#!/bin/sh\ncat inner/file\n").expect("a file");
    std::fs::create_dir(folder.join("inner")).expect("a folder");
    std::fs::write(folder.join("inner/file"), "fetched\n").expect("a file");
    let archive = folder.join("archive.tar.gz").display().to_string();
    let arguments = ["-czf", archive.as_str(), "-C", &folder.display().to_string(), "inner"];
    assert_eq!(run(Path::new("/bin/tar"), &arguments, &[], LIMIT).code, 0);
    let task = serde_json::json!({
        "name": "fetch", "task_id": {"value": "fetch"}, "agent_id": {"value": ""},
        "command": {
            "value": "./renamed | grep fetched",
            "uris": [
                {"value": archive, "extract": true},
                {"value": folder.join("script"), "executable": true, "output_file": "renamed"},
            ],
        },
        "resources": [
            {"name": "cpus", "type": "SCALAR", "scalar": {"value": 0.1}},
            {"name": "mem", "type": "SCALAR", "scalar": {"value": 32}},
        ],
    });
    let output = execute(&cluster, &[&format!("--task={task}")]);
    assert_eq!(output.code, 0, "{output:?}{}", cluster.logs());

    let mut missing = task;
    missing["command"]["uris"][0]["value"] = "/no/such/file".into();
    let output = execute(&cluster, &[&format!("--task={missing}")]);
    assert_eq!(output.code, 1, "{output:?}");
    assert!(output.stdout.contains("/no/such/file"), "the URI is named: {output:?}");
}

#[test]
fn a_task_group_is_refused_with_the_reason() {
    let cluster = Cluster::start(&ClusterOptions::default());
    let group = "--task_group={\"tasks\":[{\"name\":\"a\",\"task_id\":{\"value\":\"a\"},\
                 \"agent_id\":{\"value\":\"\"},\"command\":{\"value\":\"true\"},\"resources\":\
                 [{\"name\":\"cpus\",\"type\":\"SCALAR\",\"scalar\":{\"value\":0.1}},\
                 {\"name\":\"mem\",\"type\":\"SCALAR\",\"scalar\":{\"value\":32}}]}]}";
    let output = execute(&cluster, &[group]);
    assert_eq!(output.code, 1, "{output:?}");
    assert!(output.stdout.contains("default executor"), "{output:?}");
}

#[test]
fn mistakes_are_told_in_one_line() {
    let cases: [(&[&str], &str); 4] = [
        (&["execute", "--name=x", "--command=true"], "--master is required"),
        (
            &["execute", "--master=127.0.0.1:1", "--name=x", "--comand=true"],
            "did you mean --command",
        ),
        (&["execute", "--master=zk://localhost/mesos", "--name=x", "--command=true"], "ZooKeeper"),
        (
            &[
                "execute",
                "--master=127.0.0.1:1",
                "--name=x",
                "--command=true",
                "--resources=cpus:many",
            ],
            "many",
        ),
    ];
    for (arguments, expected) in cases {
        let output = run(&binary(), arguments, &[], LIMIT);
        assert_eq!(output.code, 1, "{arguments:?}: {output:?}");
        assert!(output.stderr.contains(expected), "{arguments:?}: {output:?}");
        assert_eq!(output.stderr.trim_end().lines().count(), 1, "{output:?}");
    }
}
