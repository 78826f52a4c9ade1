use std::time::Duration;

use protocol::scheduler::event;
use protocol::{mesos, recordio};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc::Receiver;
use tokio::time::timeout;

use super::*;

mod leaders;

const PATIENCE: Duration = Duration::from_secs(10);

/// The master's side, byte by byte.
struct Master(TcpListener);

struct Received {
    head: String,
    call: Call,
    stream: TcpStream,
}

impl Master {
    async fn bind() -> Self {
        Self(TcpListener::bind("127.0.0.1:0").await.unwrap())
    }

    fn authority(&self) -> String {
        self.0.local_addr().unwrap().to_string()
    }

    async fn accept(&self) -> Received {
        let (stream, _) = timeout(PATIENCE, self.0.accept()).await.expect("no connection").unwrap();
        receive(stream).await
    }
}

async fn receive(mut stream: TcpStream) -> Received {
    let mut bytes = Vec::new();
    loop {
        if let Some(end) = bytes.windows(4).position(|window| window == b"\r\n\r\n") {
            let head = String::from_utf8(bytes[..end].to_vec()).unwrap().to_lowercase();
            let length = header(&head, "content-length").unwrap().parse::<usize>().unwrap();
            if bytes.len() >= end + 4 + length {
                let body = &bytes[end + 4..];
                let call = if header(&head, "content-type") == Some("application/json") {
                    Call::from_json(body, Names::V1).unwrap()
                } else {
                    Call::decode(body).unwrap()
                };
                return Received { head, call, stream };
            }
        }
        let read = timeout(PATIENCE, stream.read_buf(&mut bytes)).await.unwrap().unwrap();
        assert_ne!(read, 0);
    }
}

fn header<'a>(head: &'a str, name: &str) -> Option<&'a str> {
    head.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": "))
}

impl Received {
    async fn answer(&mut self, text: &str) {
        self.stream.write_all(text.as_bytes()).await.unwrap();
    }

    async fn begin_stream(&mut self, stream_id: &str) {
        self.answer(&format!(
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nMesos-Stream-Id: {stream_id}\r\n\r\n"
        ))
        .await;
    }

    async fn event(&mut self, event: &[u8]) {
        let record = recordio::encode(event);
        let mut chunk = format!("{:x}\r\n", record.len()).into_bytes();
        chunk.extend(record);
        chunk.extend(b"\r\n");
        self.stream.write_all(&chunk).await.unwrap();
    }
}

fn subscribed(interval: f64) -> Event {
    Event {
        r#type: Some(event::Type::Subscribed),
        subscribed: Some(event::Subscribed {
            framework_id: FrameworkId { value: "F-0001".into(), ..Default::default() },
            heartbeat_interval_seconds: Some(interval),
            ..Default::default()
        }),
        ..Default::default()
    }
}

fn options(master: &str) -> SchedulerOptions {
    let framework =
        FrameworkInfo { user: "nobody".into(), name: "test".into(), ..Default::default() };
    SchedulerOptions::new(master, framework)
}

fn decline() -> Call {
    Call {
        r#type: Some(call::Type::Decline),
        decline: Some(call::Decline {
            offer_ids: vec![mesos::OfferId { value: "O1".into(), ..Default::default() }],
            ..Default::default()
        }),
        ..Default::default()
    }
}

async fn next(incoming: &mut Receiver<Incoming>) -> Option<Incoming> {
    timeout(PATIENCE, incoming.recv()).await.expect("nothing arrived")
}

async fn next_event(incoming: &mut Receiver<Incoming>) -> Event {
    match next(incoming).await {
        Some(Incoming::Event(event)) => *event,
        other => panic!("no event: {other:?}"),
    }
}

async fn disconnected(incoming: &mut Receiver<Incoming>) -> String {
    match next(incoming).await {
        Some(Incoming::Disconnected { reason }) => reason,
        other => panic!("still connected: {other:?}"),
    }
}

#[tokio::test]
async fn follows_the_leader_calls_and_comes_back_under_its_id() {
    let (standby, leader) = (Master::bind().await, Master::bind().await);
    let mut options = options(&standby.authority());
    options.credential = Some(Credential { principal: "p".into(), secret: "s".into() });
    let (scheduler, mut incoming) = Scheduler::start(options).unwrap();
    let location = format!("//{}/api/v1/scheduler", leader.authority());
    let redirect = format!(
        "HTTP/1.1 307 Temporary Redirect\r\nLocation: {location}\r\nContent-Length: 0\r\n\r\n"
    );
    standby.accept().await.answer(&redirect).await;

    let mut stream = leader.accept().await;
    assert!(stream.head.starts_with("post /api/v1/scheduler http/1.1"), "{}", stream.head);
    assert_eq!(header(&stream.head, "content-type"), Some("application/x-protobuf"));
    assert_eq!(header(&stream.head, "accept"), Some("application/x-protobuf"));
    assert_eq!(header(&stream.head, "authorization"), Some("basic cdpz"));
    assert_eq!(header(&stream.head, "mesos-stream-id"), None);
    assert_eq!(stream.call.r#type, Some(call::Type::Subscribe));
    assert_eq!(stream.call.framework_id, None);
    assert!(matches!(scheduler.call(decline()).await, Err(CallError::NotSubscribed)));

    stream.begin_stream("stream-1").await;
    stream.event(&subscribed(15.0).encode_to_vec()).await;
    assert_eq!(next_event(&mut incoming).await, subscribed(15.0));
    assert_eq!(scheduler.framework_id().unwrap().value, "F-0001");

    let calling = tokio::spawn({
        let scheduler = scheduler.clone();
        async move {
            let first = scheduler.call(decline()).await;
            (first, scheduler.call(decline()).await)
        }
    });
    let mut call = leader.accept().await;
    assert_eq!(header(&call.head, "mesos-stream-id"), Some("stream-1"));
    assert_eq!(call.call.framework_id.as_ref().unwrap().value, "F-0001");
    assert_eq!(call.call.decline, decline().decline);
    call.answer("HTTP/1.1 202 Accepted\r\nContent-Length: 0\r\n\r\n").await;
    // The second one arrives on the same connection.
    let mut second = receive(call.stream).await;
    second.answer("HTTP/1.1 400 Bad Request\r\nContent-Length: 3\r\n\r\nbad").await;
    let (first, second) = calling.await.unwrap();
    first.unwrap();
    let error = second.unwrap_err().to_string();
    assert_eq!(error, "the master refused the call with 400 Bad Request: bad");

    drop(stream);
    disconnected(&mut incoming).await;
    assert!(matches!(scheduler.call(decline()).await, Err(CallError::NotSubscribed)));
    let again = standby.accept().await;
    assert_eq!(again.call.framework_id.as_ref().unwrap().value, "F-0001");
    let subscribe = again.call.subscribe.as_ref().unwrap();
    assert_eq!(subscribe.framework_info.id.as_ref().unwrap().value, "F-0001");
}

#[tokio::test]
async fn json_is_spoken_on_request() {
    let master = Master::bind().await;
    let mut options = options(&format!("master@{}", master.authority()));
    options.content_type = ContentType::Json;
    let (_scheduler, mut incoming) = Scheduler::start(options).unwrap();
    let mut stream = master.accept().await;
    assert_eq!(header(&stream.head, "accept"), Some("application/json"));
    stream.begin_stream("1").await;
    stream.event(subscribed(15.0).to_json(Names::V1).as_bytes()).await;
    stream.event(b"{\"type\":\"HEARTBEAT\"}").await;
    assert_eq!(next_event(&mut incoming).await, subscribed(15.0));
    assert_eq!(next_event(&mut incoming).await.r#type, Some(event::Type::Heartbeat));
}

#[tokio::test]
async fn a_silent_stream_is_left() {
    let master = Master::bind().await;
    let (_scheduler, mut incoming) = Scheduler::start(options(&master.authority())).unwrap();
    let mut stream = master.accept().await;
    stream.begin_stream("1").await;
    stream.event(&subscribed(0.02).encode_to_vec()).await;
    next_event(&mut incoming).await;
    assert_eq!(disconnected(&mut incoming).await, "no heartbeat for 100ms");
    master.accept().await;
}

#[tokio::test]
async fn an_unavailable_master_is_tried_again_and_a_refusal_is_final() {
    let master = Master::bind().await;
    let (_scheduler, mut incoming) = Scheduler::start(options(&master.authority())).unwrap();
    let text = "HTTP/1.1 503 Service Unavailable\r\nContent-Length: 9\r\n\r\nno leader";
    master.accept().await.answer(text).await;
    let reason = disconnected(&mut incoming).await;
    assert!(reason.ends_with("503 Service Unavailable: no leader"), "{reason}");
    let text = "HTTP/1.1 401 Unauthorized\r\nContent-Length: 2\r\n\r\nno";
    master.accept().await.answer(text).await;
    match next(&mut incoming).await {
        Some(Incoming::Failed(SubscribeError::Refused { status, reason, .. })) => {
            assert_eq!((status, reason.as_str()), (StatusCode::UNAUTHORIZED, "no"));
        }
        other => panic!("not refused: {other:?}"),
    }
    assert!(next(&mut incoming).await.is_none());
}

#[tokio::test]
async fn an_error_event_is_the_last() {
    let master = Master::bind().await;
    let (_scheduler, mut incoming) = Scheduler::start(options(&master.authority())).unwrap();
    let mut stream = master.accept().await;
    stream.begin_stream("1").await;
    stream.event(&removed().encode_to_vec()).await;
    assert_eq!(next_event(&mut incoming).await, removed());
    assert!(next(&mut incoming).await.is_none());
}

fn removed() -> Event {
    let error = event::Error { message: "Framework has been removed".into(), ..Default::default() };
    Event { r#type: Some(event::Type::Error), error: Some(error), ..Default::default() }
}

#[tokio::test]
async fn a_restarted_framework_comes_back_under_the_id_in_its_store() {
    let folder = tempfile::tempdir().unwrap();
    let place = folder.path().display().to_string();
    let master = Master::bind().await;
    let mut options = options(&master.authority());
    options.store = Some(Store::open(&place).await.unwrap());
    let start = |options: &SchedulerOptions| Scheduler::start(options.clone()).unwrap();

    let (scheduler, mut incoming) = start(&options);
    let mut stream = master.accept().await;
    assert_eq!(stream.call.framework_id, None);
    stream.begin_stream("1").await;
    stream.event(&subscribed(15.0).encode_to_vec()).await;
    next_event(&mut incoming).await;
    let store = options.store.clone().unwrap();
    assert_eq!(store.framework_id().unwrap().value, "F-0001", "kept before it is told");
    drop((scheduler, incoming));

    let (_scheduler, mut incoming) = start(&options);
    let mut stream = master.accept().await;
    assert_eq!(stream.call.framework_id.as_ref().unwrap().value, "F-0001");
    stream.begin_stream("2").await;
    stream.event(&removed().encode_to_vec()).await;
    let Some(Incoming::Failed(error)) = next(&mut incoming).await else { panic!("not told") };
    let text = error.to_string();
    assert!(text.contains("F-0001") && text.contains(&place), "{text}");
    assert!(text.contains("has been removed"), "{text}");
    assert!(next(&mut incoming).await.is_none(), "it is not tried again");
}

#[tokio::test]
async fn an_instance_whose_store_was_taken_over_is_not_subscribed() {
    let Some(ensemble) = ensemble::Ensemble::start_or_skip(1) else { return };
    let place = ensemble.url("/frameworks/example");
    let master = Master::bind().await;
    let mut options = options(&master.authority());
    options.store = Some(Store::open(&place).await.unwrap());
    let (_scheduler, mut incoming) = Scheduler::start(options).unwrap();
    let mut stream = master.accept().await;
    let successor = Store::open(&place).await.unwrap();
    stream.begin_stream("1").await;
    stream.event(&subscribed(15.0).encode_to_vec()).await;
    match next(&mut incoming).await {
        Some(Incoming::Failed(SubscribeError::Store(StoreError::Deposed { .. }))) => {}
        other => panic!("not told: {other:?}"),
    }
    assert_eq!(successor.framework_id(), None);
}

#[tokio::test]
async fn nonsense_on_the_stream_ends_it() {
    let master = Master::bind().await;
    let (_scheduler, mut incoming) = Scheduler::start(options(&master.authority())).unwrap();
    let mut stream = master.accept().await;
    stream.begin_stream("1").await;
    stream.event(b"\xff\xff\xff").await;
    let reason = disconnected(&mut incoming).await;
    assert!(reason.starts_with("an event is not valid protobuf"), "{reason}");
}

#[tokio::test]
async fn dropping_the_scheduler_closes_the_stream() {
    let master = Master::bind().await;
    let (scheduler, incoming) = Scheduler::start(options(&master.authority())).unwrap();
    let mut stream = master.accept().await;
    stream.begin_stream("1").await;
    drop((scheduler, incoming));
    let end = timeout(PATIENCE, stream.stream.read_u8()).await.expect("still open");
    assert!(end.is_err());
}

#[tokio::test]
async fn what_is_no_master_is_refused() {
    for text in ["", "host", "host:", ":1", "zk://a:2181", "zk://a/mesos"] {
        assert!(matches!(Scheduler::start(options(text)), Err(StartError::Master(_))), "{text}");
    }
}

#[test]
fn secrets_are_not_shown() {
    let credential = Credential { principal: "p".into(), secret: "hidden".into() };
    assert!(!format!("{credential:?}").contains("hidden"));
}
