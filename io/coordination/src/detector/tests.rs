use ::ensemble::Ensemble;

use super::*;
use crate::contender::Contender;
use crate::testing::{PATIENCE, client, parse, run};
use crate::zookeeper::{Acl, Client, CreateMode};
use protocol::{Message as _, Names};

#[test]
fn texts_name_addresses_and_ensembles() {
    for (text, pid) in [
        ("127.0.0.1:5050", "master@127.0.0.1:5050"),
        ("master@10.0.0.1:5050\n", "master@10.0.0.1:5050"),
        ("localhost:5051", "master@127.0.0.1:5051"),
    ] {
        assert_eq!(Detector::new(text).unwrap().leader().unwrap().to_string(), pid);
    }
    let detector = Detector::new("zk://me:secret@a:2181,b:2181/mesos").unwrap();
    assert_eq!(detector.to_string(), "zk://me:***@a:2181,b:2181/mesos");
    let error = detector.leader().unwrap_err().to_string();
    assert!(error.contains("has to be watched") && !error.contains("secret"), "{error}");
}

#[test]
fn refusals_say_what_is_expected() {
    for text in ["", "localhost", "localhost:", ":5050", "@1.2.3.4:1", "a:99999", "http://a:1"] {
        let error = Detector::new(text).unwrap_err().to_string();
        assert!(error.contains("expected host:port"), "{text}: {error}");
    }
    let error = Detector::new("zk://a:2181").unwrap_err().to_string();
    assert!(error.contains("needs a path"), "{error}");
    let unknown = Detector::new("no-such-host.invalid:5050").unwrap();
    assert!(unknown.leader().unwrap_err().to_string().contains("no-such-host.invalid"));
}

#[test]
fn a_fixed_address_leads_at_once() {
    run(async {
        let detector = Detector::new("localhost:5050").unwrap();
        let leader = detector.resolve(PATIENCE).await.unwrap();
        assert_eq!(leader.pid.to_string(), "master@127.0.0.1:5050");
        assert_eq!(leader.info, None);
        let unknown = Detector::new("no-such-host.invalid:5050").unwrap();
        let error = unknown.resolve(PATIENCE).await.unwrap_err();
        assert!(matches!(*error, DetectorError::Resolve { .. }), "{error}");
    });
}

fn info(port: u32) -> MasterInfo {
    let pid = Some(format!("master@127.0.0.1:{port}"));
    MasterInfo { id: port.to_string(), ip: 0x0100_007f, port, pid, ..Default::default() }
}

fn contend(url: &str, port: u32) -> Contender {
    let data = info(port).to_json(Names::V0).into_bytes();
    Contender::start(&parse(url), SESSION_TIMEOUT_DEFAULT, data)
}

async fn wait_for(
    detected: &mut watch::Receiver<Detected>,
    what: &str,
    matches: impl Fn(&Detected) -> bool,
) -> Detected {
    let found = timeout(PATIENCE, detected.wait_for(|it| matches(it))).await;
    let found = found.ok().map(|found| found.unwrap().clone());
    found.unwrap_or_else(|| panic!("waited in vain for {what}; last: {:?}", detected.borrow()))
}

async fn wait_for_port(detected: &mut watch::Receiver<Detected>, port: u16) -> Arc<Leader> {
    let is_it = |it: &Detected| it.leader().is_some_and(|it| it.pid.address.port() == port);
    let found = wait_for(detected, &format!("the master at port {port}"), is_it).await;
    Arc::clone(found.leader().unwrap())
}

#[test]
fn each_change_of_the_leader_is_seen() {
    let Some(ensemble) = Ensemble::start_or_skip(1) else { return };
    run(async {
        let url = ensemble.url("/some/mesos");
        let detector = Detector::new(&url).unwrap();
        let error = detector.resolve(Duration::from_secs(2)).await.unwrap_err();
        assert!(matches!(*error, DetectorError::Nobody(_)), "{error}");

        let detection = detector.watch(SESSION_TIMEOUT_DEFAULT);
        let mut detected = detection.detected();
        wait_for(&mut detected, "nobody", |it| matches!(it, Detected::Nobody)).await;
        let first = contend(&url, 5050);
        let leader = wait_for_port(&mut detected, 5050).await;
        assert_eq!(leader.info, Some(info(5050)));
        let second = contend(&url, 5051);
        assert_eq!(detector.resolve(PATIENCE).await.unwrap(), *leader);
        first.withdraw().await;
        wait_for_port(&mut detected, 5051).await;
        second.withdraw().await;
        wait_for(&mut detected, "nobody", |it| matches!(it, Detected::Nobody)).await;
    });
}

async fn create(client: &Client, path: &str, data: &[u8]) {
    client.create(path, data, Acl::Open, CreateMode::Persistent).await.unwrap();
}

#[test]
fn nodes_of_old_masters_are_read_and_garbage_is_reported() {
    let Some(ensemble) = Ensemble::start_or_skip(1) else { return };
    run(async {
        let url = ensemble.url("/mesos");
        let client = client(&url);
        let detection = Detector::new(&url).unwrap().watch(SESSION_TIMEOUT_DEFAULT);
        let mut detected = detection.detected();
        create(&client, "/mesos", b"").await;
        create(&client, "/mesos/log_replicas", b"").await;
        create(&client, "/mesos/json.info_0000000009", info(9009).to_json(Names::V0).as_bytes())
            .await;
        wait_for_port(&mut detected, 9009).await;
        create(&client, "/mesos/info_0000000008", &info(9008).encode_to_vec()).await;
        assert_eq!(wait_for_port(&mut detected, 9008).await.info, Some(info(9008)));
        create(&client, "/mesos/0000000007", b"master@127.0.0.1:9007").await;
        assert_eq!(wait_for_port(&mut detected, 9007).await.info, None);

        for (name, expected) in [
            ("other_0000000006", "unknown label"),
            ("json.info_0000000005", "MasterInfo in JSON"),
            ("info_0000000004", "MasterInfo in protobuf"),
            ("0000000003", "pid"),
        ] {
            create(&client, &format!("/mesos/{name}"), b"\xff garbage").await;
            let says = |it: &Detected| {
                matches!(it, Detected::Failed(error)
                if error.to_string().contains(expected) && error.to_string().contains(name))
            };
            wait_for(&mut detected, name, says).await;
        }
        // Who reads garbage goes on watching.
        for name in ["0000000003", "info_0000000004", "json.info_0000000005", "other_0000000006"] {
            client.delete(&format!("/mesos/{name}")).await.unwrap();
        }
        wait_for_port(&mut detected, 9007).await;
    });
}

#[test]
fn an_ensemble_out_of_reach_means_no_leader() {
    let Some(mut ensemble) = Ensemble::start_or_skip(3) else { return };
    run(async {
        let url = ensemble.url("/mesos");
        let session_timeout = Duration::from_secs(3);
        let contender = contend(&url, 5050);
        timeout(PATIENCE, contender.elected()).await.unwrap().unwrap();
        let detection = Detector::new(&url).unwrap().watch(session_timeout);
        let mut detected = detection.detected();
        wait_for_port(&mut detected, 5050).await;
        let leader = ensemble.leader().unwrap();
        ensemble.kill(leader);
        tokio::task::block_in_place(|| ensemble.wait_for_quorum());
        assert!(detected.borrow().leader().is_some(), "one server of three is no loss");

        let others: Vec<usize> = (0..3).filter(|server| *server != leader).collect();
        for server in &others {
            ensemble.pause(*server);
        }
        let paused = std::time::Instant::now();
        wait_for(&mut detected, "the loss", |it| matches!(it, Detected::Unreachable)).await;
        assert!(paused.elapsed() < session_timeout, "{:?}", paused.elapsed());
        let error = Detector::new(&url).unwrap().resolve(Duration::from_secs(1)).await.unwrap_err();
        assert!(matches!(*error, DetectorError::Unreachable { .. }), "{error}");
        for server in &others {
            ensemble.resume(*server);
        }
        let is_answer = |it: &Detected| matches!(it, Detected::Nobody | Detected::Leader(_));
        wait_for(&mut detected, "an answer", is_answer).await;
    });
}
