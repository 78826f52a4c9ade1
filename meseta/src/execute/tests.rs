//! The whole program against a master and an agent that are played here, byte by byte.

use std::sync::{Arc, Mutex};

use protocol::mesos::{
    Address, AgentId, ExecutorId, FrameworkId, Offer, OfferId, TaskId, TaskState, TaskStatus, Url,
};
use protocol::scheduler::{Event, event};
use protocol::{Message as _, Names, agent, recordio};
use resources::Resources;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

use super::*;

/// What the played task writes to its stdout.
const TEXT: &[u8] = b"one\ntwo\xff\n";

#[derive(Clone)]
struct Played {
    address: std::net::SocketAddr,
    /// The last status the played task reaches, after TASK_RUNNING.
    end: (TaskState, &'static str),
    calls: Arc<Mutex<Vec<call::Type>>>,
    events: mpsc::UnboundedSender<Event>,
}

impl Played {
    /// One server that is the master and the agent.
    async fn start(end: (TaskState, &'static str)) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let (events, receiver) = mpsc::unbounded_channel();
        let receiver = Arc::new(tokio::sync::Mutex::new(receiver));
        let played =
            Self { address: listener.local_addr().unwrap(), end, calls: Arc::default(), events };
        let accepting = played.clone();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(accepting.clone().serve(stream, Arc::clone(&receiver)));
            }
        });
        played
    }

    async fn serve(
        self,
        mut stream: TcpStream,
        events: Arc<tokio::sync::Mutex<mpsc::UnboundedReceiver<Event>>>,
    ) {
        let mut bytes = Vec::new();
        while let Some((path, body)) = request(&mut stream, &mut bytes).await {
            let answer = match path.as_str() {
                "/api/v1/scheduler" => {
                    let call = Call::decode(&body).unwrap();
                    let kind = call.r#type.unwrap();
                    self.calls.lock().unwrap().push(kind);
                    if kind == call::Type::Subscribe {
                        return self.stream(stream, events).await;
                    }
                    self.react(&call);
                    answer("202 Accepted", b"")
                }
                "/api/v1" => answer("200 OK", &file(&body)),
                path if path.starts_with("/files/browse?path=/frameworks/F/executors/") => {
                    answer("200 OK", b"[]")
                }
                _ => answer("404 Not Found", b""),
            };
            stream.write_all(&answer).await.unwrap();
        }
    }

    async fn stream(
        &self,
        mut stream: TcpStream,
        events: Arc<tokio::sync::Mutex<mpsc::UnboundedReceiver<Event>>>,
    ) {
        let head = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nMesos-Stream-Id: 1\r\n\r\n";
        stream.write_all(head).await.unwrap();
        self.events.send(subscribed()).unwrap();
        self.events.send(self.offers()).unwrap();
        let mut events = events.lock().await;
        while let Some(event) = events.recv().await {
            let record = recordio::encode(&event.encode_to_vec());
            let chunk = [format!("{:x}\r\n", record.len()).as_bytes(), &record, b"\r\n"].concat();
            if stream.write_all(&chunk).await.is_err() {
                return;
            }
        }
    }

    /// What the master does about a call.
    fn react(&self, call: &Call) {
        if let Some(accept) = &call.accept {
            let launch = accept.operations[0].launch.as_ref().unwrap();
            let task_id = &launch.task_infos[0].task_id;
            self.events.send(update(task_id, TaskState::TaskRunning, "")).unwrap();
            if self.end.0 != TaskState::TaskKilled {
                self.events.send(update(task_id, self.end.0, self.end.1)).unwrap();
            }
        }
        if let Some(kill) = &call.kill {
            self.events.send(update(&kill.task_id, self.end.0, self.end.1)).unwrap();
        }
    }

    fn offers(&self) -> Event {
        let offer = Offer {
            id: OfferId { value: "O".into(), ..Default::default() },
            agent_id: AgentId { value: "A".into(), ..Default::default() },
            hostname: "localhost".into(),
            url: Some(Url {
                scheme: "http".into(),
                address: Address {
                    ip: Some(self.address.ip().to_string()),
                    port: self.address.port().into(),
                    ..Default::default()
                },
                ..Default::default()
            }),
            resources: Resources::parse("cpus:4;mem:1024", "*").unwrap().to_wire(),
            ..Default::default()
        };
        Event {
            r#type: Some(event::Type::Offers),
            offers: Some(event::Offers { offers: vec![offer], ..Default::default() }),
            ..Default::default()
        }
    }

    fn options(&self) -> ExecuteOptions {
        let command = ["echo", "one"].map(str::to_owned);
        ExecuteOptions::for_arguments(self.address.to_string(), &command)
    }

    fn calls(&self) -> Vec<call::Type> {
        self.calls.lock().unwrap().clone()
    }
}

fn subscribed() -> Event {
    Event {
        r#type: Some(event::Type::Subscribed),
        subscribed: Some(event::Subscribed {
            framework_id: FrameworkId { value: "F".into(), ..Default::default() },
            ..Default::default()
        }),
        ..Default::default()
    }
}

fn update(task_id: &TaskId, state: TaskState, message: &str) -> Event {
    let status = TaskStatus {
        task_id: task_id.clone(),
        state,
        message: Some(message.into()),
        agent_id: Some(AgentId { value: "A".into(), ..Default::default() }),
        executor_id: Some(ExecutorId { value: task_id.value.clone(), ..Default::default() }),
        uuid: Some(vec![7; 16]),
        ..Default::default()
    };
    Event {
        r#type: Some(event::Type::Update),
        update: Some(Box::new(event::Update { status, ..Default::default() })),
        ..Default::default()
    }
}

/// The agent's answer to READ_FILE, a few bytes at a time.
fn file(body: &[u8]) -> Vec<u8> {
    let read = agent::Call::decode(body).unwrap().read_file.unwrap();
    let start = usize::try_from(read.offset).unwrap().min(TEXT.len());
    let end = (start + 3).min(TEXT.len());
    let file = agent::response::ReadFile {
        size: u64::try_from(TEXT.len()).unwrap(),
        data: TEXT[start..end].to_vec(),
        ..Default::default()
    };
    agent::Response { read_file: Some(file), ..Default::default() }.encode_to_vec()
}

fn answer(status: &str, body: &[u8]) -> Vec<u8> {
    let head = format!("HTTP/1.1 {status}\r\nContent-Length: {}\r\n\r\n", body.len());
    [head.as_bytes(), body].concat()
}

async fn request(stream: &mut TcpStream, bytes: &mut Vec<u8>) -> Option<(String, Vec<u8>)> {
    loop {
        if let Some(end) = bytes.windows(4).position(|window| window == b"\r\n\r\n") {
            let head = String::from_utf8(bytes[..end].to_vec()).unwrap().to_lowercase();
            let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
            let length = length.map_or(0, |length| length.parse::<usize>().unwrap());
            if bytes.len() >= end + 4 + length {
                let original = String::from_utf8(bytes[..end].to_vec()).unwrap();
                let path = original.split(' ').nth(1).unwrap().to_owned();
                let body = bytes[end + 4..end + 4 + length].to_vec();
                bytes.drain(..end + 4 + length);
                return Some((path, body));
            }
        }
        if stream.read_buf(bytes).await.ok()? == 0 {
            return None;
        }
    }
}

#[tokio::test]
async fn a_finished_task_is_acknowledged_and_the_framework_torn_down() {
    let played = Played::start((TaskState::TaskFinished, "")).await;
    assert_eq!(run(played.options()).await.unwrap(), 0);
    let calls: Vec<&str> = played.calls().iter().map(|kind| kind.name(Names::V1)).collect();
    assert_eq!(
        calls,
        ["SUBSCRIBE", "ACCEPT", "SUPPRESS", "ACKNOWLEDGE", "ACKNOWLEDGE", "TEARDOWN"]
    );
}

#[tokio::test]
async fn a_failed_task_is_a_failure() {
    let played = Played::start((TaskState::TaskFailed, "Command exited with status 7")).await;
    assert_eq!(run(played.options()).await.unwrap(), 1);
}

#[tokio::test]
async fn the_exit_code_of_a_streamed_task_is_returned() {
    let played = Played::start((TaskState::TaskFailed, "Command exited with status 7")).await;
    assert_eq!(run_and_stream(played.options()).await.unwrap(), 7);
}

#[tokio::test]
async fn a_task_is_killed_when_its_time_is_over() {
    let played = Played::start((TaskState::TaskKilled, "")).await;
    let options =
        ExecuteOptions { kill_after: Some(Duration::from_millis(50)), ..played.options() };
    assert_eq!(run(options).await.unwrap(), 1);
    assert!(played.calls().contains(&call::Type::Kill));
}

#[tokio::test]
async fn the_output_is_copied_byte_by_byte_to_its_end() {
    let played = Played::start((TaskState::TaskFinished, "")).await;
    let sandbox = sandbox::Sandbox {
        agent: played.address.to_string(),
        framework_id: "F".to_owned(),
        executor_id: "E".to_owned(),
    };
    let (ended, has_ended) = tokio::sync::watch::channel(false);
    let mut output = Vec::new();
    let copying = sandbox::copy(&sandbox, "stdout", &mut output, has_ended);
    let ending = async {
        tokio::time::sleep(Duration::from_millis(120)).await;
        ended.send_replace(true);
    };
    let (copied, ()) = tokio::join!(copying, ending);
    copied.unwrap();
    assert_eq!(output, TEXT);
}
