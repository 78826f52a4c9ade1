//! Masters on an ensemble that does not let them in, or holds what no master has written.

use std::time::Duration;

use ensemble::{Access, Client};
use tests::{
    ENSEMBLE_PATH, EnsembleCluster, EnsembleClusterOptions, PATIENCE, Place, exchange, wait_until,
};

/// An ensemble without masters so far.
fn without_masters(credentials: Option<&str>) -> Option<EnsembleCluster> {
    EnsembleCluster::start(EnsembleClusterOptions {
        masters: 0,
        credentials: credentials.map(str::to_owned),
        ..EnsembleClusterOptions::default()
    })
}

fn client(cluster: &EnsembleCluster) -> Client {
    cluster.ensemble.client().expect("a session")
}

/// Waits for a master that ends by itself; gives what it printed.
fn refusal(cluster: &mut EnsembleCluster, master: usize) -> String {
    let code = cluster.masters[master].process.wait(PATIENCE);
    let log = cluster.masters[master].log();
    assert_eq!(code, 1, "{log}");
    log
}

fn last_line(log: &str) -> &str {
    log.lines().last().unwrap_or_default()
}

#[test]
fn wrong_passwords_and_paths_without_rights_end_a_master_with_a_clear_line() {
    let Some(mut cluster) = without_masters(Some("masters:right-password")) else { return };
    let mut owner = client(&cluster);
    owner.authenticate("somebody:else").expect("credentials");
    owner.create("/locked", b"", Access::Creator).expect("a node");

    cluster.add_master(Place::on_loopback());
    cluster.wait_for_leader();
    let wrong = cluster.ensemble.url_as("masters:wrong-password", ENSEMBLE_PATH);
    cluster.add_master_at(&wrong, Place::on_loopback());
    let locked = cluster.ensemble.url_as("masters:right-password", "/locked/masters");
    cluster.add_master_at(&locked, Place::on_loopback());
    for master in [1, 2] {
        let log = refusal(&mut cluster, master);
        let line = last_line(&log);
        assert!(line.contains("cannot contend for leadership at 'zk://"), "{line}");
        assert!(line.ends_with("access to the node is denied"), "{line}");
        assert!(!log.contains("-password"), "the password is shown: {log}");
    }
    assert_eq!(cluster.leader(), Some(0), "the first one is not disturbed");
    for path in ["/flags", "/state"] {
        let answer = exchange("GET", &cluster.masters[0].url(path), "", PATIENCE);
        assert!(!answer.expect("an answer").body.contains("right-password"), "{path}");
    }
    assert!(!cluster.masters[0].log().contains("right-password"));
}

#[test]
fn garbage_beside_the_candidates_does_no_harm_and_garbage_before_them_is_no_leader() {
    let Some(mut cluster) = without_masters(None) else { return };
    let mut client = client(&cluster);
    client.create(ENSEMBLE_PATH, b"", Access::World).expect("a node");
    for (name, data) in
        [("log_replicas", "x"), ("notes", "{"), ("json.info_x", ""), ("json.info_99999999999", "")]
    {
        let path = format!("{ENSEMBLE_PATH}/{name}");
        client.create(&path, data.as_bytes(), Access::World).expect("a node");
    }
    cluster.add_master(Place::on_loopback());
    cluster.add_master(Place::on_loopback());
    let leader = cluster.wait_for_leader();
    let standby = 1 - leader;

    // Lower than the leader's: whoever it belongs to, detectors follow it.
    for (name, data) in [("json.info_-000000001", "nonsense"), ("strange_-000000002", "")] {
        let path = format!("{ENSEMBLE_PATH}/{name}");
        client.create(&path, data.as_bytes(), Access::World).expect("a node");
        wait_until("the masters to say what is wrong", PATIENCE, || {
            cluster.masters[standby].log().contains(name).then_some(())
        });
        if cluster.masters[leader].is_active() {
            assert_eq!(cluster.masters[leader].process.wait(PATIENCE), 1);
        }
        let answer = exchange("GET", &cluster.masters[standby].url("/state"), "", PATIENCE);
        assert_eq!(answer.map(|it| it.status), Some(503));
    }
    for name in ["json.info_-000000001", "strange_-000000002"] {
        client.delete(&format!("{ENSEMBLE_PATH}/{name}")).expect("a node");
    }
    assert_eq!(cluster.wait_for_leader(), standby);
}

#[test]
fn a_registry_that_cannot_be_understood_is_left_as_it_is() {
    let Some(mut cluster) = without_masters(None) else { return };
    cluster.add_master(Place::on_loopback());
    cluster.wait_for_leader();
    cluster.masters[0].kill();
    let mut client = client(&cluster);
    let node = |name: &str| format!("{ENSEMBLE_PATH}/registry/{name}");
    let (format, head) = (client.get(&node("format")), client.get(&node("head")));
    let (format, head) = (format.expect("a node"), head.expect("a node"));

    let mut master = 0;
    for (name, data, reason) in [
        ("format", "meseta-registry 2", "format 2, this version reads 1"),
        ("format", "something else", "made by another program"),
        ("head", "{\"epoch\":", "'head' is damaged"),
        ("head", "{\"epoch\":1,\"claim\":1,\"batch\":1,\"records\":77}", "records"),
    ] {
        client.set(&node(name), data.as_bytes()).expect("a node");
        master += 1;
        cluster.add_master(Place::on_loopback());
        let log = refusal(&mut cluster, master);
        assert!(last_line(&log).contains(reason), "{log}");
        if name == "format" {
            assert_eq!(client.get(&node(name)).expect("a node"), data.as_bytes());
            client.set(&node(name), &format).expect("a node");
        } else {
            client.set(&node(name), &head).expect("a node");
        }
    }
    client.delete(&node("format")).expect("a node");
    cluster.add_master(Place::on_loopback());
    let log = refusal(&mut cluster, master + 1);
    assert!(last_line(&log).contains("'format' is missing"), "{log}");
    assert_eq!(client.get(&node("head")).expect("a node"), head);
    client.create(&node("format"), &format, Access::World).expect("a node");

    cluster.masters[0].restart();
    assert_eq!(cluster.wait_for_leader(), 0, "it is what it was");
    std::thread::sleep(Duration::from_millis(100));
    assert!(cluster.masters[0].is_active());
}
