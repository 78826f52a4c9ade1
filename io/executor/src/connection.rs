//! The two connections to the agent: one whose response is the stream of events, one for all other
//! calls (as the agent expects; the first has no end).

use std::collections::VecDeque;
use std::fs::File;
use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::time::Duration;

use nix::poll::{PollFd, PollFlags};
use protocol::executor::{Call, Event, call};
use protocol::recordio::{self, RecordError};
use protocol::{DecodeError, Message};

use crate::http::{HttpError, Part, ResponseDecoder};
use crate::log;
use crate::settings::Settings;

/// How long connecting may take. The agent is on the same machine.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// How much is read at once.
const READ_BYTES: usize = 16 << 10;

/// The longest event. A task is far below; the whole event is held in memory.
const EVENT_BYTES_MAX: usize = 64 << 20;

/// How much of a refusal's text is kept.
const REFUSAL_BYTES_MAX: usize = 4096;

const STATUS_OK: u16 = 200;
const STATUS_ACCEPTED: u16 = 202;
const STATUS_NOT_FOUND: u16 = 404;
const STATUS_SERVICE_UNAVAILABLE: u16 = 503;

/// Why a connection is of no use any more.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ConnectionError {
    #[error("failed to connect to the agent")]
    Connect(#[source] io::Error),
    #[error("failed to read from the agent")]
    Read(#[source] io::Error),
    #[error("failed to write to the agent")]
    Write(#[source] io::Error),
    #[error("the agent closed the connection")]
    Closed,
    #[error("the agent does not speak HTTP")]
    Http(#[from] HttpError),
    #[error("the agent's events are not in RecordIO format")]
    Record(#[from] RecordError),
    #[error("failed to decode an event")]
    Event(#[from] DecodeError),
}

/// What came from the agent.
#[derive(Debug)]
pub(crate) enum Received {
    /// The agent accepted the subscription; events follow.
    Subscribed,
    /// The agent cannot take the subscription yet; it has to be sent again later.
    SubscribeLater,
    /// The agent cannot take the update now; it has to be told again with a new subscription.
    UpdateLater,
    /// The agent refused a call for good.
    Refused { call: call::Type, status: u16, body: String },
    /// An event.
    Event(Box<Event>),
}

/// Where the agent listens and how it is spoken to.
#[derive(Debug)]
pub(crate) struct Agent {
    address: SocketAddr,
    domain_socket: Option<PathBuf>,
    path: String,
    authentication_token: Option<String>,
}

impl Agent {
    pub(crate) fn new(settings: &Settings) -> Self {
        Self {
            address: settings.agent.address.into(),
            domain_socket: settings.domain_socket.clone(),
            path: format!("/{}/api/v1/executor", settings.agent.id),
            authentication_token: settings.authentication_token.clone(),
        }
    }

    fn open(&self) -> io::Result<OwnedFd> {
        if let Some(path) = &self.domain_socket {
            let stream = UnixStream::connect(path)?;
            stream.set_nonblocking(true)?;
            return Ok(stream.into());
        }
        let stream = TcpStream::connect_timeout(&self.address, CONNECT_TIMEOUT)?;
        stream.set_nodelay(true)?;
        stream.set_nonblocking(true)?;
        Ok(stream.into())
    }

    fn request(&self, call: &Call) -> Vec<u8> {
        let body = call.encode_to_vec();
        let authorization = self
            .authentication_token
            .as_ref()
            .map(|token| format!("Authorization: Bearer {token}\r\n"))
            .unwrap_or_default();
        let head = format!(
            "POST {} HTTP/1.1\r\nHost: {}\r\nAccept: application/x-protobuf\r\n\
             Content-Type: application/x-protobuf\r\nContent-Length: {}\r\n{authorization}\r\n",
            self.path,
            self.address,
            body.len(),
        );
        let mut request = head.into_bytes();
        request.extend(body);
        request
    }
}

/// A connected agent.
#[derive(Debug)]
pub(crate) struct Connection {
    events: Channel,
    calls: Channel,
    records: recordio::Decoder,
    subscribed: bool,
}

impl Connection {
    pub(crate) fn open(agent: &Agent) -> Result<Self, ConnectionError> {
        let open = || agent.open().map(Channel::new).map_err(ConnectionError::Connect);
        Ok(Self {
            events: open()?,
            calls: open()?,
            records: recordio::Decoder::new(EVENT_BYTES_MAX),
            subscribed: false,
        })
    }

    /// Whether calls other than SUBSCRIBE may be sent.
    pub(crate) const fn is_subscribed(&self) -> bool {
        self.subscribed
    }

    pub(crate) fn subscribe(&mut self, agent: &Agent, call: &Call) -> Result<(), ConnectionError> {
        self.events.send(agent.request(call), call::Type::Subscribe)
    }

    pub(crate) fn send(&mut self, agent: &Agent, call: &Call) -> Result<(), ConnectionError> {
        self.calls.send(agent.request(call), call.r#type.unwrap_or_default())
    }

    /// The descriptors to wait for.
    pub(crate) fn poll_fds(&self) -> [PollFd<'_>; 2] {
        [self.events.poll_fd(), self.calls.poll_fd()]
    }

    /// Reads and writes what can be without waiting. What was received before an error counts.
    pub(crate) fn advance(&mut self, received: &mut Vec<Received>) -> Result<(), ConnectionError> {
        // Events first and all of them: an agent that goes away closes both connections at once.
        while let Some(parts) = self.events.read()? {
            for part in parts {
                self.on_event_part(part, received)?;
            }
        }
        while let Some(parts) = self.calls.read()? {
            for part in parts {
                received.extend(self.calls.on_part(part));
            }
        }
        self.events.flush()?;
        self.calls.flush()
    }

    fn on_event_part(
        &mut self,
        part: Part,
        received: &mut Vec<Received>,
    ) -> Result<(), ConnectionError> {
        match part {
            Part::Head { status: STATUS_OK, .. } => {
                self.subscribed = true;
                received.push(Received::Subscribed);
            }
            Part::Body(data) if self.subscribed => {
                for record in self.records.decode(&data)? {
                    received.push(Received::Event(Box::new(Event::decode(&record)?)));
                }
            }
            Part::End if self.subscribed => return Err(ConnectionError::Closed),
            part @ (Part::Head { .. } | Part::Body(_) | Part::End) => {
                received.extend(self.events.on_part(part));
            }
        }
        Ok(())
    }
}

/// One connection: requests go out, responses come back in the same order.
#[derive(Debug)]
struct Channel {
    socket: File,
    outgoing: VecDeque<u8>,
    decoder: ResponseDecoder,
    awaited: VecDeque<call::Type>,
    status: u16,
    body: Vec<u8>,
}

impl Channel {
    fn new(socket: OwnedFd) -> Self {
        Self {
            socket: socket.into(),
            outgoing: VecDeque::new(),
            decoder: ResponseDecoder::default(),
            awaited: VecDeque::new(),
            status: 0,
            body: Vec::new(),
        }
    }

    fn fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }

    fn poll_fd(&self) -> PollFd<'_> {
        let mut flags = PollFlags::POLLIN;
        if !self.outgoing.is_empty() {
            flags |= PollFlags::POLLOUT;
        }
        PollFd::new(self.fd(), flags)
    }

    fn send(&mut self, request: Vec<u8>, call: call::Type) -> Result<(), ConnectionError> {
        self.awaited.push_back(call);
        self.outgoing.extend(request);
        self.flush()
    }

    fn flush(&mut self) -> Result<(), ConnectionError> {
        while !self.outgoing.is_empty() {
            match self.socket.write(self.outgoing.as_slices().0) {
                Ok(0) => return Err(ConnectionError::Closed),
                Ok(count) => drop(self.outgoing.drain(..count)),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(ConnectionError::Write(error)),
            }
        }
        self.outgoing = VecDeque::new();
        Ok(())
    }

    /// What is there to read; `None` when there is nothing for now.
    fn read(&mut self) -> Result<Option<Vec<Part>>, ConnectionError> {
        let mut data = [0; READ_BYTES];
        match self.socket.read(&mut data) {
            Ok(0) => Err(ConnectionError::Closed),
            Ok(count) => Ok(Some(self.decoder.decode(&data[..count])?)),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(None),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => Ok(Some(Vec::new())),
            Err(error) => Err(ConnectionError::Read(error)),
        }
    }

    fn on_part(&mut self, part: Part) -> Option<Received> {
        match part {
            Part::Head { status, .. } => {
                self.status = status;
                self.body.clear();
                None
            }
            Part::Body(data) => {
                let room = REFUSAL_BYTES_MAX.saturating_sub(self.body.len());
                self.body.extend(data.into_iter().take(room));
                None
            }
            Part::End => self.on_response(),
        }
    }

    fn on_response(&mut self) -> Option<Received> {
        let call = self.awaited.pop_front()?;
        if self.status == STATUS_ACCEPTED {
            return None;
        }
        let body = String::from_utf8_lossy(&self.body).into_owned();
        let name = call.name(protocol::Names::V1);
        log::warning(format_args!("Received status {} ({body}) for {name}", self.status));
        match (self.status, call) {
            // The agent recovers or has not set up its routes.
            (STATUS_SERVICE_UNAVAILABLE | STATUS_NOT_FOUND, call::Type::Subscribe) => {
                Some(Received::SubscribeLater)
            }
            // The agent still waits for other executors to come back, or has its hands full.
            (STATUS_SERVICE_UNAVAILABLE, call::Type::Update) => Some(Received::UpdateLater),
            (status, call) => Some(Received::Refused { call, status, body }),
        }
    }
}
