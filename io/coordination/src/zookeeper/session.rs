//! The task that keeps one session over one connection after the other, or notices its end.
//!
//! The ensemble ends a session when it has not heard of the client for the session timeout. The client
//! must know it no later, and nobody will tell it while it is cut off: so the task counts the session
//! as over when nine tenths of the timeout have passed since it *sent* the latest request that was
//! answered. (Mesos begins to count when it notices that the connection is gone, which is up to two
//! thirds of the timeout later.)

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::{sleep_until, timeout};

use super::connection::{
    AUTHENTICATE, AUTHENTICATION_XID, AnswerHeader, CLOSE_SESSION, Connection, EVENT_XID,
    Handshake, PING, PING_XID, Welcome, read_event,
};
use super::error::{Code, RequestError, SessionEnd};
use super::jute::{write_bytes, write_int, write_text};
use super::operation::Body;
use crate::url::{Credentials, ZooKeeperUrl};

/// How many requests may wait for an answer; further ones wait in the queue.
const IN_FLIGHT_MAX: usize = 512;

/// Pauses between rounds through all servers, doubled up to the longest. Mesos retries every 2 seconds.
const PAUSE_FIRST: Duration = Duration::from_millis(100);
const PAUSE_LONGEST: Duration = Duration::from_secs(2);

/// How long a farewell may take.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(1);

/// What a session is made from.
#[derive(Clone, Debug)]
pub(crate) struct Options {
    /// `host:port` each.
    pub(crate) servers: Vec<String>,
    pub(crate) credentials: Option<Credentials>,
    /// What is asked for; the ensemble may grant more or less.
    pub(crate) timeout: Duration,
    /// The latest change seen. Shared by sessions that follow each other, so that the later one does not
    /// read what is older than what the earlier one has read.
    pub(crate) seen: Arc<AtomicI64>,
}

impl Options {
    /// A session at the servers, and as the user, of `url`.
    pub(crate) fn new(url: &ZooKeeperUrl, timeout: Duration) -> Self {
        Self {
            servers: url.servers().to_vec(),
            credentials: url.credentials().cloned(),
            timeout,
            seen: Arc::default(),
        }
    }
}

/// How a session stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Status {
    /// Connected to no server, and not given up.
    Connecting,
    /// Connected; the session's number and its negotiated timeout.
    Connected { session: i64, timeout: Duration },
    /// Over, for ever.
    Over(SessionEnd),
}

#[derive(Debug)]
pub(super) struct Request {
    pub(super) body: Body,
    /// Told when the node of this path changes, or when changes may be missed from now on.
    pub(super) watch: Option<(String, oneshot::Sender<()>)>,
    pub(super) answer: oneshot::Sender<Result<Bytes, RequestError>>,
}

#[derive(Debug)]
struct InFlight {
    xid: i32,
    sent: Instant,
    request: Request,
}

/// Why a connection is not used any longer.
enum Break {
    /// Another may do better.
    Connection(String),
    Session(SessionEnd),
}

impl From<std::io::Error> for Break {
    fn from(error: std::io::Error) -> Self {
        Self::Connection(error.to_string())
    }
}

impl From<super::jute::Malformed> for Break {
    fn from(error: super::jute::Malformed) -> Self {
        Self::Connection(error.to_string())
    }
}

#[derive(Debug)]
pub(super) struct Session {
    options: Options,
    requests: mpsc::Receiver<Request>,
    status: watch::Sender<Status>,
    id: i64,
    password: Vec<u8>,
    /// As negotiated, or as asked for before.
    timeout: Duration,
    /// When the session counts as over unless an answer comes.
    deadline: Instant,
    in_flight: VecDeque<InFlight>,
    watches: BTreeMap<String, Vec<oneshot::Sender<()>>>,
    xid: i32,
    ping_sent: Option<Instant>,
    last_sent: Instant,
}

impl Session {
    pub(super) fn new(
        options: Options,
        requests: mpsc::Receiver<Request>,
        status: watch::Sender<Status>,
    ) -> Self {
        let now = Instant::now();
        Self {
            requests,
            status,
            id: 0,
            password: vec![0; 16],
            timeout: options.timeout,
            deadline: now + options.timeout,
            options,
            in_flight: VecDeque::new(),
            watches: BTreeMap::new(),
            xid: 0,
            ping_sent: None,
            last_sent: now,
        }
    }

    pub(super) async fn run(mut self) {
        let end = self.keep().await;
        self.fail_all(&RequestError::SessionOver(end.clone()));
        self.status.send_replace(Status::Over(end.clone()));
        self.requests.close();
        while let Some(request) = self.requests.recv().await {
            let _ = request.answer.send(Err(RequestError::SessionOver(end.clone())));
        }
    }

    async fn keep(&mut self) -> SessionEnd {
        let mut reason = "no server has answered yet".to_owned();
        loop {
            let connection = match self.establish(&mut reason).await {
                Ok(connection) => connection,
                Err(end) => return end,
            };
            let status = Status::Connected { session: self.id, timeout: self.timeout };
            self.status.send_replace(status);
            match self.serve(connection).await {
                Break::Session(end) => return end,
                Break::Connection(error) => reason = error,
            }
            self.status.send_replace(Status::Connecting);
            self.fail_all(&RequestError::Interrupted);
        }
    }

    /// Goes round the servers until one takes the session.
    async fn establish(&mut self, reason: &mut String) -> Result<Connection, SessionEnd> {
        let mut pause = PAUSE_FIRST;
        loop {
            let mut servers = self.options.servers.clone();
            fastrand::shuffle(&mut servers);
            for server in &servers {
                if self.requests.is_closed() && self.requests.is_empty() {
                    return Err(SessionEnd::Closed);
                }
                let left = self.deadline.saturating_duration_since(Instant::now());
                if left.is_zero() {
                    return Err(SessionEnd::Unreachable(std::mem::take(reason)));
                }
                match timeout(self.attempt_timeout().min(left), self.attach(server)).await {
                    Ok(Ok(connection)) => return Ok(connection),
                    Ok(Err(Break::Session(end))) => return Err(end),
                    Ok(Err(Break::Connection(error))) => *reason = format!("{server}: {error}"),
                    Err(_) => *reason = format!("{server} does not answer"),
                }
            }
            sleep_until((Instant::now() + pause).min(self.deadline).into()).await;
            pause = (pause * 2).min(PAUSE_LONGEST);
        }
    }

    /// How long one server may take. With a session at stake little time is left for the others.
    fn attempt_timeout(&self) -> Duration {
        if self.id == 0 { self.timeout / 3 } else { self.timeout / 10 }
    }

    async fn attach(&mut self, server: &str) -> Result<Connection, Break> {
        let mut connection = Connection::open(server).await?;
        let sent = Instant::now();
        connection.queue_handshake(&Handshake {
            seen: self.options.seen.load(Ordering::Relaxed),
            timeout_ms: i32::try_from(self.options.timeout.as_millis()).unwrap_or(i32::MAX),
            session: self.id,
            password: &self.password,
        });
        let frame = loop {
            if let Some(frame) = connection.next_frame()? {
                break frame;
            }
            connection.exchange().await?;
        };
        let welcome = Welcome::decode(&frame)?;
        if welcome.timeout_ms == 0 {
            return Err(Break::Session(SessionEnd::Expired));
        }
        self.id = welcome.session;
        self.password = welcome.password;
        self.timeout = Duration::from_millis(welcome.timeout_ms.into());
        self.deadline = sent + self.lease();
        self.ping_sent = None;
        self.last_sent = sent;
        if let Some(credentials) = &self.options.credentials {
            let mut fields = Vec::new();
            write_int(&mut fields, 0);
            write_text(&mut fields, "digest");
            write_bytes(&mut fields, credentials.as_digest().as_bytes());
            connection.queue(AUTHENTICATION_XID, &Body { kind: AUTHENTICATE, fields });
        }
        Ok(connection)
    }

    /// How long an answer proves that the session lives.
    fn lease(&self) -> Duration {
        self.timeout * 9 / 10
    }

    async fn serve(&mut self, mut connection: Connection) -> Break {
        loop {
            match self.serve_once(&mut connection).await {
                Ok(()) => {}
                Err(end) => return end,
            }
        }
    }

    async fn serve_once(&mut self, connection: &mut Connection) -> Result<(), Break> {
        while let Some(frame) = connection.next_frame()? {
            self.take_answer(frame)?;
        }
        let ping_at = self.last_sent + self.timeout / 5;
        let silence_until =
            self.oldest_unanswered().map(|sent| sent.max(connection.heard) + self.timeout * 2 / 5);
        tokio::select! {
            result = connection.exchange() => result?,
            request = self.requests.recv(), if self.in_flight.len() < IN_FLIGHT_MAX => match request {
                Some(request) => self.send(connection, request),
                None => return Err(self.close(connection).await),
            },
            () = sleep_until(ping_at.into()), if self.ping_sent.is_none() => {
                connection.queue(PING_XID, &Body { kind: PING, fields: Vec::new() });
                self.last_sent = Instant::now();
                self.ping_sent = Some(self.last_sent);
            }
            () = sleep_until(silence_until.unwrap_or(self.deadline).into()), if silence_until.is_some() => {
                return Err(Break::Connection("the server has fallen silent".to_owned()));
            }
            () = sleep_until(self.deadline.into()) => {
                let reason = "the server has fallen silent".to_owned();
                return Err(Break::Session(SessionEnd::Unreachable(reason)));
            }
        }
        Ok(())
    }

    fn oldest_unanswered(&self) -> Option<Instant> {
        let request = self.in_flight.front().map(|it| it.sent);
        request.into_iter().chain(self.ping_sent).min()
    }

    fn send(&mut self, connection: &mut Connection, request: Request) {
        // A request that its caller has given up is not carried out.
        if request.answer.is_closed() {
            return;
        }
        self.xid = self.xid.checked_add(1).unwrap_or(1);
        connection.queue(self.xid, &request.body);
        self.last_sent = Instant::now();
        self.in_flight.push_back(InFlight { xid: self.xid, sent: self.last_sent, request });
    }

    fn take_answer(&mut self, mut frame: Bytes) -> Result<(), Break> {
        let header = AnswerHeader::split(&mut frame)?;
        self.options.seen.fetch_max(header.seen, Ordering::Relaxed);
        let code = Code::from_number(header.error);
        match header.xid {
            EVENT_XID => {
                let path = read_event(&frame)?;
                for watch in self.watches.remove(&path).unwrap_or_default() {
                    let _ = watch.send(());
                }
                Ok(())
            }
            PING_XID => {
                if let Some(sent) = self.ping_sent.take() {
                    self.answered(sent);
                }
                Ok(())
            }
            AUTHENTICATION_XID => match code {
                None => Ok(()),
                Some(_) => Err(Break::Session(SessionEnd::Credentials)),
            },
            xid => {
                let Some(found) = self.in_flight.pop_front_if(|it| it.xid == xid) else {
                    return Err(Break::Connection("an answer to no request".to_owned()));
                };
                self.answered(found.sent);
                self.deliver(found.request, code, frame)
            }
        }
    }

    /// The session lived when the answered request was sent.
    fn answered(&mut self, sent: Instant) {
        self.deadline = self.deadline.max(sent + self.lease());
    }

    fn deliver(&mut self, request: Request, code: Option<Code>, frame: Bytes) -> Result<(), Break> {
        let result = match code {
            None => Ok(frame),
            Some(Code::SessionExpired) => {
                let error = RequestError::SessionOver(SessionEnd::Expired);
                let _ = request.answer.send(Err(error));
                return Err(Break::Session(SessionEnd::Expired));
            }
            Some(code @ (Code::SessionMoved | Code::ConnectionLoss)) => {
                let _ = request.answer.send(Err(RequestError::Interrupted));
                return Err(Break::Connection(code.to_string()));
            }
            Some(code) => Err(RequestError::Refused(code)),
        };
        // The server leaves a watch when it has found the node; at a node that is missing it does so for
        // `exists`, which is why only that asks for watches of missing nodes.
        let is_set = matches!(&result, Ok(_) | Err(RequestError::Refused(Code::NoNode)));
        if let Some((path, watch)) = request.watch
            && is_set
        {
            let watches = self.watches.entry(path).or_default();
            watches.retain(|it| !it.is_closed());
            watches.push(watch);
        }
        let _ = request.answer.send(result);
        Ok(())
    }

    /// Ends the session at the ensemble too, so that its ephemeral nodes go at once.
    async fn close(&mut self, connection: &mut Connection) -> Break {
        connection.queue(1, &Body { kind: CLOSE_SESSION, fields: Vec::new() });
        let farewell = async {
            connection.flush().await?;
            // The server ends the connection when it has ended the session.
            loop {
                connection.exchange().await?;
            }
        };
        let _: Result<std::io::Result<()>, _> = timeout(CLOSE_TIMEOUT, farewell).await;
        Break::Session(SessionEnd::Closed)
    }

    fn fail_all(&mut self, error: &RequestError) {
        for found in self.in_flight.drain(..) {
            let _ = found.request.answer.send(Err(error.clone()));
        }
        // Dropped watches tell their owners to look again.
        self.watches.clear();
        self.ping_sent = None;
    }
}
