use std::time::Instant;

use ::ensemble::Ensemble;
use tokio::task::block_in_place;
use tokio::time::timeout;

use super::*;
use crate::testing::{PATIENCE, client, parse, run};

#[test]
fn a_request_that_was_given_up_is_not_carried_out_later() {
    let Some(mut ensemble) = Ensemble::start_or_skip(1) else { return };
    run(async {
        let url = parse(&ensemble.url("/mesos"));
        let client = Client::connect(Options::new(&url, Duration::from_secs(60)));
        let before = client.connected().await.unwrap();
        block_in_place(|| ensemble.kill(0));
        // The first one finds out that the connection is gone.
        let create = client.create("/first", b"", Acl::Open, CreateMode::Persistent);
        let _ = timeout(Duration::from_millis(200), create).await;
        let create = client.create("/abandoned", b"", Acl::Open, CreateMode::Persistent);
        timeout(Duration::from_millis(200), create).await.expect_err("nobody answers");
        let kept = tokio::spawn({
            let client = client.clone();
            async move { client.create("/kept", b"", Acl::Open, CreateMode::Persistent).await }
        });
        block_in_place(|| ensemble.restart(0));
        timeout(PATIENCE, kept).await.unwrap().unwrap().unwrap();
        assert_eq!(client.exists("/abandoned").await, Ok(None));
        assert_eq!(client.connected().await.unwrap(), before, "the session has survived");
    });
}

#[test]
fn a_session_ends_by_itself_when_nobody_answers() {
    let Some(ensemble) = Ensemble::start_or_skip(1) else { return };
    run(async {
        let url = parse(&ensemble.url("/mesos"));
        let session_timeout = Duration::from_secs(2);
        let client = Client::connect(Options::new(&url, session_timeout));
        assert_eq!(client.connected().await.unwrap().1, session_timeout);
        ensemble.pause(0);
        let paused = Instant::now();
        let end = timeout(PATIENCE, client.over()).await.unwrap();
        assert!(paused.elapsed() < session_timeout, "{:?}", paused.elapsed());
        assert!(matches!(end, SessionEnd::Unreachable(_)), "{end}");
        let error = client.exists("/").await.unwrap_err();
        assert_eq!(error, RequestError::SessionOver(end));
    });
}

#[test]
fn a_session_that_was_closed_leaves_nothing() {
    let Some(ensemble) = Ensemble::start_or_skip(1) else { return };
    run(async {
        let url = ensemble.url("/mesos");
        let (owner, observer) = (client(&url), client(&url));
        let mode = CreateMode::EphemeralSequential;
        let path = owner.create("/node_", b"", Acl::Open, mode).await.unwrap();
        let (exists, watch) = observer.watch_existence(&path).await.unwrap();
        assert!(exists);
        owner.close().await;
        timeout(PATIENCE, watch.changed()).await.unwrap();
        assert_eq!(observer.exists(&path).await, Ok(None));
    });
}

#[test]
fn what_a_server_would_not_take_is_not_sent() {
    let Some(ensemble) = Ensemble::start_or_skip(1) else { return };
    run(async {
        let client = client(&ensemble.url("/mesos"));
        let large = vec![0; REQUEST_BYTES_MAX];
        let error = client.create("/large", &large, Acl::Open, CreateMode::Persistent).await;
        assert!(matches!(error, Err(RequestError::TooLong { .. })), "{error:?}");
        // The largest that is sent is indeed taken.
        let largest = &large[..REQUEST_BYTES_MAX - 100];
        client.create("/large", largest, Acl::Open, CreateMode::Persistent).await.unwrap();
    });
}
