//! Recorded traffic of Apache Mesos, replayed against a node.

use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::{Incoming, Node, NodeOptions, encode_message};
use protocol::pid::Pid;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::sync::mpsc::Receiver;

/// A message as the recording holds it, found by means of its own.
#[derive(Debug, PartialEq)]
struct Recorded {
    from: String,
    actor: String,
    name: String,
    body: Vec<u8>,
    bytes: Vec<u8>,
}

fn recordings() -> Vec<(PathBuf, Vec<u8>)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/golden/wire");
    let mut files = Vec::new();
    for folder in std::fs::read_dir(&root).expect("the recordings are part of the repository") {
        let folder = folder.unwrap().path();
        if folder.is_dir() {
            files.extend(std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()));
        }
    }
    files.retain(|file| file.extension().is_some_and(|extension| extension == "bin"));
    files.sort();
    assert!(files.len() > 100, "{} recordings", files.len());
    files.into_iter().map(|file| (file.clone(), std::fs::read(file).unwrap())).collect()
}

/// Cuts a recording at the fixed form in which libprocess writes messages; stops at anything else.
fn messages(mut bytes: &[u8]) -> Vec<Recorded> {
    let mut found = Vec::new();
    while let Some((recorded, rest)) = first_message(bytes) {
        found.push(recorded);
        bytes = rest;
    }
    found
}

fn first_message(bytes: &[u8]) -> Option<(Recorded, &[u8])> {
    let head_length = bytes.windows(4).position(|window| window == b"\r\n\r\n")? + 4;
    let head = std::str::from_utf8(&bytes[..head_length]).ok()?;
    let path = head.strip_prefix("POST /")?.split(' ').next()?;
    let (actor, name) = path.split_once('/')?;
    let from = head.split("\r\nLibprocess-From: ").nth(1)?.split("\r\n").next()?;
    let (body, length) = if head.contains("chunked") {
        let size_end = bytes[head_length..].iter().position(|byte| *byte == b'\r')? + head_length;
        let digits = std::str::from_utf8(&bytes[head_length..size_end]).ok()?;
        let size = usize::from_str_radix(digits, 16).ok()?;
        let body = bytes.get(size_end + 2..size_end + 2 + size)?;
        (body.to_vec(), size_end + 2 + size + 7)
    } else {
        (Vec::new(), head_length)
    };
    let recorded = Recorded {
        from: from.to_owned(),
        actor: actor.to_owned(),
        name: name.to_owned(),
        body,
        bytes: bytes.get(..length)?.to_vec(),
    };
    Some((recorded, &bytes[length..]))
}

async fn receive(incoming: &mut Receiver<Incoming>) -> Incoming {
    tokio::time::timeout(Duration::from_secs(10), incoming.recv())
        .await
        .expect("nothing arrived")
        .unwrap()
}

#[tokio::test]
async fn every_recorded_message_is_delivered_as_it_was_sent() {
    let (node, mut incoming) = Node::bind(NodeOptions::default()).await.unwrap();
    node.register_actor_prefix("");
    let mut total = 0;
    for (path, bytes) in recordings() {
        let expected = messages(&bytes);
        let mut stream = TcpStream::connect(node.address()).await.unwrap();
        stream.write_all(&bytes).await.unwrap();
        for recorded in &expected {
            let Incoming::Message { from, actor, name, body } = receive(&mut incoming).await else {
                panic!("{}: not a message", path.display());
            };
            assert_eq!(from.to_string(), recorded.from, "{}", path.display());
            assert_eq!((&actor, &name), (&recorded.actor, &recorded.name), "{}", path.display());
            assert_eq!(body, recorded.body, "{}", path.display());
        }
        total += expected.len();
        let length: usize = expected.iter().map(|recorded| recorded.bytes.len()).sum();
        if length < bytes.len() {
            // Requests and answers of ordinary HTTP.
            let Incoming::Http(connection) = receive(&mut incoming).await else {
                panic!("{}: not handed over", path.display());
            };
            assert!(bytes[length..].starts_with(&connection.into_parts().0));
        }
    }
    assert!(total > 300, "{total} messages");
    assert_eq!(node.counters().messages_malformed, 0);
}

#[test]
fn our_bytes_are_those_of_mesos() {
    let mut compared = 0;
    for (path, bytes) in recordings() {
        for recorded in messages(&bytes) {
            let from: Pid = recorded.from.parse().unwrap();
            let text = String::from_utf8_lossy(&recorded.bytes).into_owned();
            let host = text.split("\r\nHost: ").nth(1).unwrap().split("\r\n").next().unwrap();
            let to = Pid::new(recorded.actor.clone(), host.parse().unwrap());
            let mut ours = Vec::new();
            encode_message(&from.id, from.address, &to, &recorded.name, &recorded.body, &mut ours);
            assert_eq!(ours, recorded.bytes, "{}: {text}", path.display());
            compared += 1;
        }
    }
    assert!(compared > 300, "{compared} messages");
}

/// A fixed generator, so that a failure can be repeated.
struct Generator(u64);

impl Generator {
    fn below(&mut self, limit: usize) -> usize {
        self.0 =
            self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(self.0 >> 33).unwrap() % limit
    }
}

#[tokio::test]
async fn damaged_recordings_do_not_stop_the_node() {
    let (node, mut incoming) = Node::bind(NodeOptions::default()).await.unwrap();
    node.register_actor_prefix("");
    let drain = tokio::spawn(async move {
        let mut marker = None;
        while let Some(event) = incoming.recv().await {
            if let Incoming::Message { name, body, .. } = event
                && name == "marker"
            {
                marker = Some(body);
                break;
            }
        }
        marker
    });
    let mut generator = Generator(42);
    for (_, mut bytes) in recordings() {
        bytes.truncate(20_000);
        for _ in 0..1 + bytes.len() / 300 {
            let position = generator.below(bytes.len());
            bytes[position] = u8::try_from(generator.below(256)).unwrap();
        }
        let mut stream = TcpStream::connect(node.address()).await.unwrap();
        // The node may close before all is written.
        let _ = stream.write_all(&bytes).await;
    }
    let (sender, _incoming) = Node::bind(NodeOptions::default()).await.unwrap();
    sender.send("a", &node.pid("b"), "marker", b"alive");
    let marker = tokio::time::timeout(Duration::from_secs(10), drain).await.unwrap().unwrap();
    assert_eq!(marker.unwrap().as_ref(), b"alive");
}
