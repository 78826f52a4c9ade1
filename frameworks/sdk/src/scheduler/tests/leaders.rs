//! Against masters that a real ensemble elects.

use std::time::Instant;

use coordination::Contender;
use ensemble::Ensemble;

use super::*;

const SESSION_TIMEOUT: Duration = Duration::from_secs(10);

impl Master {
    /// Contends as a master does.
    fn contend(&self, url: &str) -> Contender {
        let address = self.0.local_addr().unwrap();
        let info = mesos::MasterInfo {
            id: format!("id of {address}"),
            ip: u32::from_le_bytes([127, 0, 0, 1]),
            port: address.port().into(),
            pid: Some(format!("master@{address}")),
            ..Default::default()
        };
        let info = info.to_json(Names::V0).into_bytes();
        Contender::start(&url.parse().unwrap(), SESSION_TIMEOUT, info)
    }
}

/// Waits until the framework is told of this, whatever it is told before.
async fn told(incoming: &mut Receiver<Incoming>, expected: &str) {
    while !disconnected(incoming).await.contains(expected) {}
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_elected_leader_is_followed() {
    let Some(ensemble) = Ensemble::start_or_skip(1) else { return };
    let url = ensemble.url("/mesos");
    let (scheduler, mut incoming) = Scheduler::start(options(&url)).unwrap();
    told(&mut incoming, "no master leads at zk://").await;

    let (first, second) = (Master::bind().await, Master::bind().await);
    let first_candidacy = first.contend(&url);
    let mut stream = first.accept().await;
    assert_eq!(stream.call.framework_id, None);
    stream.begin_stream("stream-1").await;
    stream.event(&subscribed(15.0).encode_to_vec()).await;
    next_event(&mut incoming).await;

    // The leader hangs: it holds its stream and does not answer a call.
    let calling = tokio::spawn({
        let scheduler = scheduler.clone();
        async move { scheduler.call(decline()).await }
    });
    let _unanswered = first.accept().await;
    let second_candidacy = second.contend(&url);
    first_candidacy.withdraw().await;
    let withdrawn = Instant::now();

    // The new leader is still recovering when it is asked first.
    let mut early = second.accept().await;
    assert!(withdrawn.elapsed() < Duration::from_secs(5), "followed at once");
    assert_eq!(early.call.framework_id.as_ref().unwrap().value, "F-0001");
    early.answer("HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\n\r\n").await;
    let mut stream_2 = second.accept().await;
    let subscribe = stream_2.call.subscribe.as_ref().unwrap();
    assert_eq!(subscribe.framework_info.id.as_ref().unwrap().value, "F-0001");
    stream_2.begin_stream("stream-2").await;
    stream_2.event(&subscribed(15.0).encode_to_vec()).await;
    told(&mut incoming, &format!("{} does not lead any more", first.authority())).await;
    told(&mut incoming, "503").await;
    next_event(&mut incoming).await;
    let end = timeout(PATIENCE, stream.stream.read_u8()).await.expect("the old stream is closed");
    assert!(end.is_err());
    let unanswered = timeout(PATIENCE, calling).await.expect("the call has ended").unwrap();
    assert!(matches!(unanswered, Err(CallError::Unsubscribed)), "{unanswered:?}");

    let calling = tokio::spawn({
        let scheduler = scheduler.clone();
        async move { scheduler.call(decline()).await }
    });
    let mut call = second.accept().await;
    assert_eq!(header(&call.head, "mesos-stream-id"), Some("stream-2"));
    call.answer("HTTP/1.1 202 Accepted\r\nContent-Length: 0\r\n\r\n").await;
    calling.await.unwrap().unwrap();

    second_candidacy.withdraw().await;
    told(&mut incoming, "no master leads at zk://").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_the_ensemble_nobody_leads() {
    let Some(mut ensemble) = Ensemble::start_or_skip(1) else { return };
    let url = ensemble.url("/mesos");
    let master = Master::bind().await;
    let candidacy = master.contend(&url);
    candidacy.elected().await.unwrap();
    let (_scheduler, mut incoming) = Scheduler::start(options(&url)).unwrap();
    let mut stream = master.accept().await;
    stream.begin_stream("1").await;
    stream.event(&subscribed(60.0).encode_to_vec()).await;
    next_event(&mut incoming).await;

    // Another master may lead in the meantime, and this one cannot know.
    ensemble.kill(0);
    let reason = timeout(3 * SESSION_TIMEOUT, incoming.recv()).await.expect("still subscribed");
    let Some(Incoming::Disconnected { reason }) = reason else { panic!("{reason:?}") };
    assert!(reason.ends_with("does not lead any more"), "{reason}");
    let end = timeout(PATIENCE, stream.stream.read_u8()).await.expect("the stream is closed");
    assert!(end.is_err());
}

#[tokio::test]
async fn a_leader_that_cannot_be_read_is_told() {
    let Some(ensemble) = Ensemble::start_or_skip(1) else { return };
    let url = ensemble.url("/mesos");
    let candidacy =
        Contender::start(&url.parse().unwrap(), SESSION_TIMEOUT, b"{\"no\": \"master\"}".to_vec());
    candidacy.elected().await.unwrap();
    let (_scheduler, mut incoming) = Scheduler::start(options(&url)).unwrap();
    told(&mut incoming, "holds no usable MasterInfo").await;
}
