//! Finding the leading master in a real ZooKeeper ensemble.

use std::time::Duration;

use ensemble::Ensemble;
use tests::{
    Cluster, ClusterOptions, Leadership, Output, Process, binary, run, try_get_json, wait_until,
};

const LIMIT: Duration = Duration::from_secs(60);

fn meseta(arguments: &[&str]) -> Output {
    run(&binary(), arguments, &[], LIMIT)
}

fn assert_fails_with(output: &Output, expected: &str) {
    assert_eq!(output.code, 1, "{output:?}");
    assert_eq!(output.stdout, "");
    assert!(output.stderr.contains(expected), "{output:?}");
    assert_eq!(output.stderr.trim_end().lines().count(), 1, "{output:?}");
}

#[test]
fn commands_find_the_leader() {
    let Some(ensemble) = Ensemble::start_or_skip(1) else { return };
    let cluster = Cluster::start(&ClusterOptions::default());
    let url = ensemble.url("/mesos");
    let output = meseta(&["resolve", "--timeout=1secs", &url]);
    assert_fails_with(&output, "no master leads at 'zk://");

    let leadership = Leadership::take(&url, &cluster.address);
    let output = meseta(&["resolve", &url]);
    assert_eq!((output.code, output.stdout), (0, format!("{}\n", cluster.address)));
    let link = cluster.folder().join("mesos-resolve");
    std::os::unix::fs::symlink(binary(), &link).expect("a link");
    let output = run(&link, &[&url], &[], LIMIT);
    assert_eq!((output.code, output.stdout), (0, format!("{}\n", cluster.address)));

    let master = format!("--master={url}");
    let output = meseta(&["execute", &master, "--name=hello", "--command=true"]);
    assert_eq!(output.code, 0, "{output:?}{}", cluster.logs());
    assert!(output.stdout.contains("TASK_FINISHED"), "{output:?}");
    let output = meseta(&["explain", &master, "no-such-framework"]);
    assert_fails_with(&output, "no-such-framework");
    assert!(output.stderr.contains(&cluster.address), "the leader has answered: {output:?}");

    drop(leadership);
    let output = meseta(&["resolve", "--timeout=1secs", &url]);
    assert_fails_with(&output, "no master leads at 'zk://");
}

#[test]
fn a_command_goes_on_when_another_master_leads() {
    let Some(ensemble) = Ensemble::start_or_skip(1) else { return };
    let url = ensemble.url("/mesos");
    let mut old = Cluster::start(&ClusterOptions::on_zookeeper(&url, 1));
    let new = Cluster::start(&ClusterOptions::on_zookeeper(&url, 0));
    let gate = old.folder().join("gate");
    let command = format!("--command=while [ ! -e {} ]; do sleep 0.05; done", gate.display());
    let master = format!("--master={url}");
    let arguments = ["execute", master.as_str(), "--name=gated", command.as_str()];
    let mut execute = Process::start(&binary(), &arguments, &[], old.folder(), "execute");
    wait_until("the task to run", LIMIT, || execute.logs().contains("RUNNING").then_some(()));
    old.master.kill_hard();
    wait_until("the framework at the new master", LIMIT, || {
        let state = try_get_json(&new.url("/state"))?;
        let [framework] = state["frameworks"].as_array()?.as_slice() else { return None };
        (framework["active"] == true && framework["tasks"].as_array()?.len() == 1).then_some(())
    });
    std::fs::write(&gate, "").expect("a file");
    assert_eq!(execute.wait(LIMIT), 0, "{}{}", execute.logs(), new.logs());
    assert!(execute.logs().contains("TASK_FINISHED"), "{}", execute.logs());
}

#[test]
fn an_address_resolves_to_itself_and_what_cannot_be_resolved_is_told() {
    let resolve = |master: &str| meseta(&["resolve", "--timeout=500ms", master]);
    assert_eq!(resolve("master@127.0.0.1:5050").stdout, "127.0.0.1:5050\n");
    assert_eq!(resolve("localhost:5050").stdout, "127.0.0.1:5050\n");
    assert_fails_with(&resolve("zk://me:secret@127.0.0.1:1/mesos"), "did not answer within 500ms");
    assert!(!resolve("zk://me:secret@127.0.0.1:1/mesos").stderr.contains("secret"));
    assert_fails_with(&resolve("zk://127.0.0.1:2181"), "needs a path");
    assert_fails_with(&resolve("host"), "host:port");
    assert_fails_with(&resolve("no-such-host.invalid:5050"), "no-such-host.invalid");
    assert_fails_with(&meseta(&["resolve"]), "name one master");
}
