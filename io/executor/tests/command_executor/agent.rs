//! The agent's side of the executor API, as much of it as the tests steer by hand.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU16, Ordering};
use std::sync::mpsc::{self, Receiver, Sender};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use protocol::executor::{Call, Event, call, event};
use protocol::mesos::{self, TaskState, TaskStatus};
use protocol::{Message, recordio};
use tempfile::TempDir;

pub const PATIENCE: Duration = Duration::from_secs(10);

/// A call, and the stream of events if it subscribed.
struct Incoming {
    call: Call,
    stream: Option<TcpStream>,
}

/// An agent with one executor.
pub struct Agent {
    pub sandbox: TempDir,
    pub executor: Child,
    address: SocketAddr,
    incoming: Receiver<Incoming>,
    stream: Option<TcpStream>,
    /// All open connections, to be broken by [`Agent::go_away`].
    connections: Arc<Mutex<Vec<TcpStream>>>,
    /// What subscriptions are answered with.
    subscribe_status: Arc<AtomicU16>,
    /// What other calls are answered with.
    call_status: Arc<AtomicU16>,
}

fn executor_program() -> PathBuf {
    let test = std::env::current_exe().unwrap();
    test.parent().unwrap().parent().unwrap().join("examples/command_executor")
}

impl Agent {
    pub fn start(more: &[(&str, &str)]) -> Self {
        Self::start_with_status(200, more)
    }

    pub fn start_with_status(status: u16, more: &[(&str, &str)]) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let (sender, incoming) = mpsc::channel();
        let connections = Arc::new(Mutex::new(Vec::new()));
        let subscribe_status = Arc::new(AtomicU16::new(status));
        let call_status = Arc::new(AtomicU16::new(202));
        thread::spawn({
            let statuses = Statuses {
                subscribe: Arc::clone(&subscribe_status),
                call: Arc::clone(&call_status),
            };
            let connections = Arc::clone(&connections);
            move || accept(&listener, &sender, &connections, &statuses)
        });
        let sandbox = tempfile::tempdir().unwrap();
        let stdout = std::fs::File::create(sandbox.path().join("stdout")).unwrap();
        let stderr = std::fs::File::create(sandbox.path().join("stderr")).unwrap();
        let executor = Command::new(executor_program())
            .env_clear()
            .envs([
                ("PATH", "/usr/bin:/bin"),
                ("MESOS_SLAVE_PID", &format!("slave(1)@{address}")),
                ("MESOS_FRAMEWORK_ID", "framework"),
                ("MESOS_EXECUTOR_ID", "task"),
                ("MESOS_CHECKPOINT", "0"),
                ("MESOS_EXECUTOR_SHUTDOWN_GRACE_PERIOD", "3secs"),
                ("FROM_AGENT", "inherited"),
                ("OVERWRITTEN", "agent"),
            ])
            .envs(more.iter().copied())
            .current_dir(sandbox.path())
            .stdin(Stdio::null())
            .stdout(stdout)
            .stderr(stderr)
            .spawn()
            .unwrap();
        Self {
            sandbox,
            executor,
            address,
            incoming,
            stream: None,
            connections,
            subscribe_status,
            call_status,
        }
    }

    /// An agent that the executor has subscribed with.
    pub fn subscribed(more: &[(&str, &str)], capabilities: &[Capability]) -> Self {
        let mut agent = Self::start(more);
        let subscribe = agent.accept_subscription();
        assert!(subscribe.unacknowledged_tasks.is_empty());
        assert!(subscribe.unacknowledged_updates.is_empty());
        agent.send_subscribed(capabilities);
        agent
    }

    /// Waits for a SUBSCRIBE call and keeps its stream.
    pub fn accept_subscription(&mut self) -> call::Subscribe {
        let incoming = self.incoming.recv_timeout(PATIENCE).unwrap();
        assert_eq!(incoming.call.r#type, Some(call::Type::Subscribe), "{:?}", incoming.call);
        assert_eq!(incoming.call.framework_id.value, "framework");
        assert_eq!(incoming.call.executor_id.value, "task");
        self.stream = incoming.stream;
        incoming.call.subscribe.unwrap()
    }

    pub fn send_subscribed(&mut self, capabilities: &[Capability]) {
        let capabilities = capabilities
            .iter()
            .map(|r#type| mesos::framework_info::Capability {
                r#type: Some(*r#type),
                ..Default::default()
            })
            .collect();
        let framework_info = mesos::FrameworkInfo { capabilities, ..Default::default() };
        let subscribed = event::Subscribed { framework_info, ..Default::default() };
        self.send(&Event {
            r#type: Some(event::Type::Subscribed),
            subscribed: Some(Box::new(subscribed)),
            ..Default::default()
        });
    }

    pub fn answer_subscriptions_with(&self, status: u16) {
        self.subscribe_status.store(status, Ordering::SeqCst);
    }

    pub fn answer_calls_with(&self, status: u16) {
        self.call_status.store(status, Ordering::SeqCst);
    }

    /// Sends an event in two chunks, so that records and chunks do not agree.
    pub fn send(&mut self, event: &Event) {
        let record = recordio::encode(&event.encode_to_vec());
        let stream = self.stream.as_mut().unwrap();
        let (first, second) = record.split_at(record.len() / 2);
        for chunk in [first, second].into_iter().filter(|chunk| !chunk.is_empty()) {
            write!(stream, "{:x}\r\n", chunk.len()).unwrap();
            stream.write_all(chunk).unwrap();
            stream.write_all(b"\r\n").unwrap();
            stream.flush().unwrap();
        }
    }

    pub fn launch(&mut self, task: mesos::TaskInfo) {
        let launch = event::Launch { task, ..Default::default() };
        self.send(&Event {
            r#type: Some(event::Type::Launch),
            launch: Some(Box::new(launch)),
            ..Default::default()
        });
    }

    pub fn kill(&mut self, grace_period: Option<Duration>) {
        let kill_policy = grace_period.map(kill_policy);
        let kill = event::Kill { task_id: task_id("task"), kill_policy, ..Default::default() };
        self.send(&Event {
            r#type: Some(event::Type::Kill),
            kill: Some(kill),
            ..Default::default()
        });
    }

    pub fn send_type(&mut self, r#type: event::Type) {
        self.send(&Event { r#type: Some(r#type), ..Default::default() });
    }

    pub fn acknowledge(&mut self, status: &TaskStatus) {
        let acknowledged = event::Acknowledged {
            task_id: status.task_id.clone(),
            uuid: status.uuid.clone().unwrap(),
            ..Default::default()
        };
        self.send(&Event {
            r#type: Some(event::Type::Acknowledged),
            acknowledged: Some(acknowledged),
            ..Default::default()
        });
    }

    /// The next update, not acknowledged.
    pub fn update(&self) -> TaskStatus {
        let Ok(incoming) = self.incoming.recv_timeout(PATIENCE) else {
            panic!("no update; the executor says:\n{}", self.read("stderr"));
        };
        assert_eq!(incoming.call.r#type, Some(call::Type::Update), "{:?}", incoming.call);
        incoming.call.update.unwrap().status
    }

    pub fn expect_silence(&self, duration: Duration) {
        assert!(self.incoming.recv_timeout(duration).is_err());
    }

    /// The next update, which has this state; acknowledged.
    pub fn expect(&mut self, state: TaskState) -> TaskStatus {
        let status = self.update();
        assert_eq!(status.state, state, "{status:?}\n{}", self.read("stderr"));
        self.acknowledge(&status);
        status
    }

    pub fn read(&self, name: &str) -> String {
        std::fs::read_to_string(self.sandbox.path().join(name)).unwrap()
    }

    /// Waits for the executor to say something.
    pub fn wait_for_log(&self, text: &str) {
        let deadline = Instant::now() + PATIENCE;
        while !self.read("stderr").contains(text) {
            assert!(Instant::now() < deadline, "no '{text}':\n{}", self.read("stderr"));
            thread::sleep(Duration::from_millis(5));
        }
    }

    /// Breaks all connections, as an agent that restarts does.
    pub fn go_away(&mut self) {
        for connection in self.connections.lock().unwrap().drain(..) {
            // It may be broken already.
            let _ = connection.shutdown(std::net::Shutdown::Both);
        }
        self.stream = None;
    }

    /// Breaks all connections and refuses new ones: nobody listens any more.
    pub fn vanish(&mut self) {
        self.answer_subscriptions_with(0);
        // Wakes the listener's thread, which then ends.
        let _ = TcpStream::connect(self.address);
        self.go_away();
    }

    /// Waits for the executor's end and gives its exit code.
    pub fn exit_code(&mut self) -> Option<i32> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            if let Some(status) = self.executor.try_wait().unwrap() {
                return status.code();
            }
            assert!(Instant::now() < deadline, "still running:\n{}", self.read("stderr"));
            thread::sleep(Duration::from_millis(5));
        }
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        // Only an executor of a failed test is still there.
        let _ = self.executor.kill();
        let _ = self.executor.wait();
    }
}

pub use mesos::framework_info::capability::Type as Capability;

pub fn task_id(value: &str) -> mesos::TaskId {
    mesos::TaskId { value: value.to_owned(), ..Default::default() }
}

pub fn kill_policy(grace_period: Duration) -> mesos::KillPolicy {
    let nanoseconds = i64::try_from(grace_period.as_nanos()).unwrap();
    mesos::KillPolicy {
        grace_period: Some(mesos::DurationInfo { nanoseconds, ..Default::default() }),
        ..Default::default()
    }
}

/// A task with a shell command.
pub fn shell_task(line: &str) -> mesos::TaskInfo {
    mesos::TaskInfo {
        name: "name".to_owned(),
        task_id: task_id("task"),
        command: Some(mesos::CommandInfo { value: Some(line.to_owned()), ..Default::default() }),
        ..Default::default()
    }
}

/// What is answered from now on.
#[derive(Clone)]
struct Statuses {
    subscribe: Arc<AtomicU16>,
    call: Arc<AtomicU16>,
}

fn accept(
    listener: &TcpListener,
    sender: &Sender<Incoming>,
    connections: &Arc<Mutex<Vec<TcpStream>>>,
    statuses: &Statuses,
) {
    while let Ok((stream, _)) = listener.accept() {
        if statuses.subscribe.load(Ordering::SeqCst) == 0 {
            return;
        }
        connections.lock().unwrap().push(stream.try_clone().unwrap());
        let (sender, statuses) = (sender.clone(), statuses.clone());
        // Ends with the connection, or with the test that listens.
        thread::spawn(move || {
            let mut reader = BufReader::new(stream);
            while let Ok(Some(call)) = read_call(&mut reader) {
                if answer(reader.get_ref(), call, &sender, &statuses).is_none() {
                    return;
                }
            }
        });
    }
}

/// Answers a call and passes it on; nothing when there is nobody to pass it to.
fn answer(
    mut connection: &TcpStream,
    call: Call,
    sender: &Sender<Incoming>,
    statuses: &Statuses,
) -> Option<()> {
    let subscribes = call.r#type == Some(call::Type::Subscribe);
    let status = if subscribes { &statuses.subscribe } else { &statuses.call };
    let (response, stream) = match status.load(Ordering::SeqCst) {
        202 => ("202 Accepted\r\nContent-Length: 0\r\n\r\n".to_owned(), None),
        200 => (
            "200 OK\r\nContent-Type: application/x-protobuf\r\nTransfer-Encoding: chunked\r\n\r\n"
                .to_owned(),
            Some(connection.try_clone().ok()?),
        ),
        status => (format!("{status} No\r\nContent-Length: 2\r\n\r\nno"), None),
    };
    connection.write_all(format!("HTTP/1.1 {response}").as_bytes()).ok()?;
    sender.send(Incoming { call, stream }).ok()
}

/// Reads one request; nothing when the connection has ended between two.
fn read_call(reader: &mut BufReader<TcpStream>) -> io::Result<Option<Call>> {
    let mut length = 0;
    let mut line = String::new();
    loop {
        line.clear();
        if reader.read_line(&mut line)? == 0 {
            return Ok(None);
        }
        if line.starts_with("POST") {
            assert_eq!(line.trim_end(), "POST /slave(1)/api/v1/executor HTTP/1.1");
        }
        if let Some(value) = line.strip_prefix("Content-Length: ") {
            length = value.trim().parse().unwrap();
        }
        if line == "\r\n" {
            let mut body = vec![0; length];
            reader.read_exact(&mut body)?;
            return Ok(Some(Call::decode(&body).unwrap()));
        }
    }
}
