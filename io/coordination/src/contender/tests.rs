use ::ensemble::Ensemble;
use tokio::time::timeout;

use super::*;
use crate::testing::{Mode, PATIENCE, Relay, client, parse, run};
use crate::zookeeper::Acl;

const LONG: Duration = Duration::from_secs(10);

fn start(url: &str, session_timeout: Duration, data: &str) -> Contender {
    Contender::start(&parse(url), session_timeout, data.into())
}

async fn elected(contender: &Contender) -> Epoch {
    timeout(PATIENCE, contender.elected()).await.expect("an election ends").unwrap()
}

async fn ended(contender: &Contender) -> ContenderError {
    timeout(PATIENCE, contender.ended()).await.expect("the candidacy ends")
}

async fn nodes(client: &Client, path: &str) -> Vec<String> {
    let mut children = client.children(path).await.unwrap();
    children.sort();
    children
}

#[test]
fn one_leads_and_another_follows() {
    let Some(ensemble) = Ensemble::start_or_skip(1) else { return };
    run(async {
        let url = ensemble.url("/clusters/mesos");
        let observer = client(&url);
        let first = start(&url, LONG, "first");
        let epoch = elected(&first).await;
        assert!(first.lease().is_valid());

        let second = start(&url, LONG, "second");
        while nodes(&observer, "/clusters/mesos").await.len() < 2 {
            sleep(Duration::from_millis(10)).await;
        }
        let names = nodes(&observer, "/clusters/mesos").await;
        assert_eq!(names, ["json.info_0000000000", "json.info_0000000001"]);
        let (data, stat) = observer.data("/clusters/mesos/json.info_0000000000").await.unwrap();
        assert_eq!(data, b"first");
        assert_ne!(stat.owner, 0, "the node ends with its session");
        assert_eq!(*second.candidacy().borrow(), Candidacy::Waiting);
        assert!(!second.lease().is_valid());

        let lease = first.lease();
        first.withdraw().await;
        assert!(!lease.is_valid());
        assert!(elected(&second).await > epoch);
        assert_eq!(nodes(&observer, "/clusters/mesos").await, ["json.info_0000000001"]);
    });
}

#[test]
fn a_removed_node_ends_leadership_but_not_a_followers_candidacy() {
    let Some(ensemble) = Ensemble::start_or_skip(1) else { return };
    run(async {
        let url = ensemble.url("/mesos");
        let observer = client(&url);
        let (first, second) = (start(&url, LONG, "first"), start(&url, LONG, "second"));
        elected_one_of(&first, &second).await;
        while nodes(&observer, "/mesos").await.len() < 2 {
            sleep(Duration::from_millis(10)).await;
        }
        observer.delete("/mesos/json.info_0000000001").await.unwrap();
        // The follower comes back with the next number.
        while nodes(&observer, "/mesos").await != ["json.info_0000000000", "json.info_0000000002"] {
            sleep(Duration::from_millis(10)).await;
        }
        observer.delete("/mesos/json.info_0000000000").await.unwrap();
        let (leader, follower) = if matches!(*first.candidacy().borrow(), Candidacy::Waiting) {
            (second, first)
        } else {
            (first, second)
        };
        let error = ended(&leader).await;
        assert_eq!(error, ContenderError::NodeRemoved("json.info_0000000000".to_owned()));
        elected(&follower).await;

        // A foreign node with a lower number is what detectors follow from now on.
        observer
            .create("/mesos/other_0000000001", b"", Acl::Open, CreateMode::Persistent)
            .await
            .unwrap();
        let error = ended(&follower).await;
        assert_eq!(error, ContenderError::Overtaken("other_0000000001".to_owned()));
    });
}

async fn elected_one_of(first: &Contender, second: &Contender) {
    tokio::select! {
        _ = elected(first) => {}
        _ = elected(second) => {}
    }
}

#[test]
fn a_lost_answer_makes_no_second_node() {
    let Some(ensemble) = Ensemble::start_or_skip(1) else { return };
    run(async {
        let relay = Relay::start(ensemble.address(0).into()).await;
        relay.set(Mode::LoseAnswerTo(b"json.info_"));
        let contender = start(&relay.url("/mesos"), LONG, "first");
        // The create is sent and carried out, its answer does not come.
        while relay.lost() == 0 {
            sleep(Duration::from_millis(5)).await;
        }
        relay.set(Mode::Pass);
        elected(&contender).await;
        let observer = client(&ensemble.url("/mesos"));
        assert_eq!(nodes(&observer, "/mesos").await, ["json.info_0000000000"]);
    });
}

#[test]
fn who_is_cut_off_steps_down_before_another_leads() {
    let Some(ensemble) = Ensemble::start_or_skip(1) else { return };
    run(async {
        let session_timeout = Duration::from_secs(3);
        let relay = Relay::start(ensemble.address(0).into()).await;
        let first = start(&relay.url("/mesos"), session_timeout, "first");
        let epoch = elected(&first).await;
        let second = start(&ensemble.url("/mesos"), session_timeout, "second");

        relay.set(Mode::Hold);
        let cut = Instant::now();
        let lease = first.lease();
        let (lost, led) = tokio::join!(
            async {
                let error = ended(&first).await;
                (error, Instant::now(), lease.is_valid())
            },
            async {
                let epoch = elected(&second).await;
                (epoch, Instant::now())
            }
        );
        assert_eq!(lost.0, ContenderError::CutOff);
        assert!(!lost.2, "the lease ends with leadership");
        assert!(lost.1 - cut < session_timeout, "{:?}", lost.1 - cut);
        assert!(lost.1 < led.1, "two led at the same time");
        assert!(led.0 > epoch);
    });
}

#[test]
fn leadership_survives_the_death_of_a_server() {
    let Some(mut ensemble) = Ensemble::start_or_skip(3) else { return };
    run(async {
        let contender = start(&ensemble.url("/mesos"), LONG, "first");
        let epoch = elected(&contender).await;
        for _ in 0..2 {
            let server = ensemble.leader().unwrap();
            ensemble.kill(server);
            tokio::task::block_in_place(|| ensemble.wait_for_quorum());
            tokio::task::block_in_place(|| ensemble.restart(server));
            tokio::task::block_in_place(|| ensemble.wait_for_quorum());
            assert_eq!(*contender.candidacy().borrow(), Candidacy::Elected(epoch));
        }
        // Longer than the lease: it was renewed with the new leaders.
        sleep(LONG * 7 / 10).await;
        assert!(contender.lease().is_valid());
        assert_eq!(*contender.candidacy().borrow(), Candidacy::Elected(epoch));
    });
}

#[test]
fn without_a_majority_nobody_leads() {
    let Some(ensemble) = Ensemble::start_or_skip(3) else { return };
    run(async {
        let session_timeout = Duration::from_secs(4);
        let url = ensemble.url("/mesos");
        let first = start(&url, session_timeout, "first");
        elected(&first).await;
        let leader = ensemble.leader().unwrap();
        let others = [(leader + 1) % 3, (leader + 2) % 3];
        for server in others {
            ensemble.pause(server);
        }
        // The leading server goes on answering pings for a while, so only a majority counts.
        let paused = Instant::now();
        let error = ended(&first).await;
        assert!(
            matches!(error, ContenderError::CutOff | ContenderError::SessionOver(_)),
            "{error}"
        );
        assert!(paused.elapsed() < session_timeout, "{:?}", paused.elapsed());

        let second = start(&url, session_timeout, "second");
        sleep(session_timeout).await;
        assert_eq!(*second.candidacy().borrow(), Candidacy::Waiting);
        for server in others {
            ensemble.resume(server);
        }
        elected(&second).await;
    });
}

#[test]
fn credentials_guard_the_nodes() {
    let Some(ensemble) = Ensemble::start_or_skip(1) else { return };
    run(async {
        let contender = start(&ensemble.url_as("mesos:secret", "/mesos"), LONG, "first");
        elected(&contender).await;
        let observer = client(&ensemble.url("/mesos"));
        assert_eq!(nodes(&observer, "/mesos").await, ["json.info_0000000000"], "all may read");
        let error = observer.delete("/mesos/json.info_0000000000").await.unwrap_err();
        assert_eq!(error, RequestError::Refused(Code::NoAuth));

        let wrong = start(&ensemble.url_as("mesos:wrong", "/mesos"), LONG, "second");
        let error = ended(&wrong).await;
        let text = format!("{error}: {}", std::error::Error::source(&error).unwrap());
        assert!(text.contains("cannot contend") && text.contains("denied"), "{text}");
        assert!(!text.contains("wrong"), "{text}");
    });
}
