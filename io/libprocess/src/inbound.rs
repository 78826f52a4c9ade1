//! One accepted connection: messages in order, answers in order, and ordinary HTTP handed over.

use std::io;
use std::net::{IpAddr, SocketAddr, SocketAddrV4};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use bytes::{Buf, BytesMut};
use protocol::pid::Pid;
use tokio::io::Interest;
use tokio::net::TcpStream;
use tokio::sync::mpsc::error::TrySendError;
use tokio::time::{Instant, timeout, timeout_at};

use crate::decoder::{Decoder, Framed, Request};
use crate::encoder::{Reply, encode_reply};
use crate::http_connection::HttpConnection;
use crate::node::{Incoming, Shared};

/// How long the first request's head of a connection may take from its first byte. Later ones may
/// take as long as they like: closing a peer's link tells it that we died.
const HEAD_TIMEOUT: Duration = Duration::from_secs(30);

/// How long the last answers may take before the connection is closed.
const FLUSH_TIMEOUT: Duration = Duration::from_secs(5);

/// Answers waiting for a peer that does not read them. Some peers never do, so beyond this the
/// answers are dropped and the messages still taken.
const REPLIES_BYTES_MAX: usize = 1 << 20;

/// Room made for each read.
const READ_BYTES: usize = 64 << 10;

const RESOLVE_TIMEOUT: Duration = Duration::from_secs(5);

pub(crate) async fn serve(shared: Arc<Shared>, stream: TcpStream, peer: SocketAddr) {
    // Answers are small and peers may wait for them.
    let _ = stream.set_nodelay(true);
    let connection = Connection {
        shared: &shared,
        stream,
        peer,
        buffer: BytesMut::new(),
        replies: BytesMut::new(),
        sender: None,
    };
    if let Err(error) = connection.run().await {
        tracing::debug!(%peer, %error, "connection broke");
    }
}

struct Connection<'a> {
    shared: &'a Shared,
    stream: TcpStream,
    peer: SocketAddr,
    buffer: BytesMut,
    replies: BytesMut,
    /// The last sender's text and what it means: nearly always the same for a whole connection.
    sender: Option<(String, Pid)>,
}

enum Next {
    Continue,
    Close,
}

impl Connection<'_> {
    async fn run(mut self) -> io::Result<()> {
        let mut decoder = Decoder::default();
        let mut deadline = None;
        let mut is_message_connection = false;
        loop {
            match decoder.next(&mut self.buffer) {
                Ok(Framed::Message(request)) => {
                    is_message_connection = true;
                    if let Next::Close = self.take(request).await? {
                        return self.finish().await;
                    }
                }
                Ok(Framed::Http) => return self.hand_over().await,
                Err(error) => {
                    self.shared.counters.messages_malformed.add(1);
                    tracing::warn!(peer = %self.peer, %error, "malformed message");
                    self.reply(&Reply::BadRequest(error.to_string()));
                    return self.finish().await;
                }
                Ok(Framed::Incomplete) => {
                    let has_begun = !decoder.is_at_boundary(&self.buffer);
                    let read = if has_begun && !is_message_connection {
                        let deadline =
                            *deadline.get_or_insert_with(|| Instant::now() + HEAD_TIMEOUT);
                        timeout_at(deadline, self.fill()).await??
                    } else {
                        self.fill().await?
                    };
                    if read == 0 {
                        return self.finish().await;
                    }
                }
            }
        }
    }

    /// Delivers one message and queues its answer.
    async fn take(&mut self, request: Request) -> io::Result<Next> {
        let keep_alive = request.keep_alive;
        let reply = match self.understand(request).await {
            Ok(message) => {
                self.deliver(message).await?;
                self.shared.counters.messages_received.add(1);
                Reply::Accepted
            }
            Err(reply) => {
                match &reply {
                    Reply::NotFound => self.shared.counters.messages_unroutable.add(1),
                    Reply::BadRequest(reason) | Reply::InternalServerError(reason) => {
                        self.shared.counters.messages_malformed.add(1);
                        tracing::warn!(peer = %self.peer, %reason, "message refused");
                    }
                    Reply::Accepted => {}
                }
                reply
            }
        };
        self.reply(&reply);
        Ok(if keep_alive { Next::Continue } else { Next::Close })
    }

    async fn understand(&mut self, request: Request) -> Result<Incoming, Reply> {
        let (actor, name) =
            request.recipient().map_err(|error| Reply::InternalServerError(error.to_string()))?;
        let from = self.sender(&request.from).await.ok_or_else(|| {
            Reply::InternalServerError(format!(
                "Failed to determine sender from request headers: '{}'",
                request.from
            ))
        })?;
        if self.shared.require_peer_address_ip_match
            && IpAddr::V4(*from.address.ip()) != self.peer.ip()
        {
            return Err(Reply::BadRequest(format!(
                "UPID IP address validation failed: Message from {from} was sent from IP {}",
                self.peer.ip()
            )));
        }
        if !self.shared.actors.contains(&actor) {
            return Err(Reply::NotFound);
        }
        Ok(Incoming::Message { from, actor, name, body: request.body })
    }

    async fn sender(&mut self, text: &str) -> Option<Pid> {
        if let Some((known, pid)) = &self.sender
            && known == text
        {
            return Some(pid.clone());
        }
        let pid = match text.parse() {
            Ok(pid) => pid,
            Err(_) => resolve(text).await?,
        };
        self.sender = Some((text.to_owned(), pid.clone()));
        Some(pid)
    }

    /// Waits for room in the channel: a full one slows down this peer, not the node.
    async fn deliver(&mut self, message: Incoming) -> io::Result<()> {
        let closed = || io::Error::other("the node is no longer listened to");
        match self.shared.incoming.try_send(message) {
            Ok(()) => Ok(()),
            Err(TrySendError::Closed(_)) => Err(closed()),
            Err(TrySendError::Full(message)) => {
                self.write_replies()?;
                self.shared.incoming.send(message).await.map_err(|_| closed())
            }
        }
    }

    fn reply(&mut self, reply: &Reply) {
        if self.replies.len() > REPLIES_BYTES_MAX {
            self.shared.counters.replies_dropped.add(1);
            return;
        }
        let mut encoded = Vec::with_capacity(128);
        encode_reply(reply, SystemTime::now(), &mut encoded);
        self.replies.extend_from_slice(&encoded);
    }

    /// Reads more bytes, writing answers meanwhile. 0: the peer has finished.
    async fn fill(&mut self) -> io::Result<usize> {
        loop {
            self.write_replies()?;
            self.buffer.reserve(READ_BYTES);
            match self.stream.try_read_buf(&mut self.buffer) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                result => return result,
            }
            if self.buffer.is_empty() {
                // Most connections are idle nearly always, and there are many.
                self.buffer = BytesMut::new();
            }
            if self.replies.is_empty() {
                self.replies = BytesMut::new();
            }
            let interest = if self.replies.is_empty() {
                Interest::READABLE
            } else {
                Interest::READABLE | Interest::WRITABLE
            };
            self.stream.ready(interest).await?;
        }
    }

    /// Writes what the socket takes at once.
    fn write_replies(&mut self) -> io::Result<()> {
        while !self.replies.is_empty() {
            match self.stream.try_write(&self.replies) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(written) => self.replies.advance(written),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    async fn finish(&mut self) -> io::Result<()> {
        timeout(FLUSH_TIMEOUT, async {
            loop {
                self.write_replies()?;
                if self.replies.is_empty() {
                    return Ok(());
                }
                self.stream.writable().await?;
            }
        })
        .await?
    }

    async fn hand_over(mut self) -> io::Result<()> {
        self.finish().await?;
        let connection = HttpConnection::new(self.buffer.split().freeze(), self.stream, self.peer);
        self.shared
            .incoming
            .send(Incoming::Http(connection))
            .await
            .map_err(|_| io::Error::other("the node is no longer listened to"))
    }
}

/// Understands `id@name:port`, as some libraries write it.
async fn resolve(text: &str) -> Option<Pid> {
    let (id, host) = text.split_once('@')?;
    let addresses =
        timeout(RESOLVE_TIMEOUT, tokio::net::lookup_host(host.trim())).await.ok()?.ok()?;
    let address = addresses.filter_map(ipv4).next()?;
    Some(Pid::new(id, address))
}

pub(crate) fn ipv4(address: SocketAddr) -> Option<SocketAddrV4> {
    match address {
        SocketAddr::V4(address) => Some(address),
        SocketAddr::V6(_) => None,
    }
}
