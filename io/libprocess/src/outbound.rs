//! Everything a node sends: one queue and one connection per destination address.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::net::SocketAddrV4;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use protocol::pid::Pid;
use tokio::io::Interest;
use tokio::net::TcpStream;
use tokio::sync::Notify;
use tokio::time::timeout;

use crate::encoder::encode_message;
use crate::node::{Incoming, Shared};
use crate::outbox::Bundle;

/// How many bytes may wait for one address, unless [`crate::NodeOptions`] says otherwise, besides those
/// being written. A longer message is taken when nothing else waits.
pub const QUEUE_BYTES_MAX: usize = 64 << 20;

/// How many messages may wait for one address, unless [`crate::NodeOptions`] says otherwise.
pub const QUEUE_MESSAGES_MAX: usize = 65_536;

/// How many messages more may wait for each actor linked at an address: thousands of agents may live
/// behind one.
pub const QUEUE_MESSAGES_PER_LINK_MAX: usize = 64;

/// How many bytes more may wait for each actor linked at an address.
pub const QUEUE_BYTES_PER_LINK_MAX: usize = 8 << 10;

/// How long opening a connection may take.
pub const DIAL_TIMEOUT: Duration = Duration::from_secs(10);

/// How long an unlinked connection stays open after its last message, in case there are more.
const LINGER: Duration = Duration::from_secs(1);

/// A buffer that grew larger than this is given back after the burst.
const BUFFER_BYTES_KEPT: usize = 1 << 20;

const DISCARD_BYTES: usize = 16 << 10;

/// The peers a node has a connection to, or is opening one to.
#[derive(Debug)]
pub(crate) struct Outbound {
    peers: Mutex<Peers>,
    limits: QueueLimits,
}

/// What may wait for one address, besides what may for each actor linked there.
#[derive(Clone, Copy, Debug)]
pub(crate) struct QueueLimits {
    pub(crate) messages: usize,
    pub(crate) bytes: usize,
}

#[derive(Debug, Default)]
struct Peers {
    by_address: BTreeMap<SocketAddrV4, Peer>,
    generations: u64,
}

#[derive(Debug)]
struct Peer {
    /// Which writer owns this peer. A writer that finds another generation has been replaced.
    generation: u64,
    /// Encoded messages, back to back, so that one write takes them all.
    queue: Vec<u8>,
    queued: u64,
    /// Messages the writer has taken and not finished.
    in_flight: u64,
    linked: BTreeSet<Pid>,
    /// A message had to be refused on a link: its order guarantee is gone, so it must break.
    is_broken: bool,
    wake: Arc<Notify>,
}

impl Peer {
    fn is_full(&self, limits: QueueLimits, length: usize) -> bool {
        let links = self.linked.len();
        let bytes_max = limits.bytes.saturating_add(links * QUEUE_BYTES_PER_LINK_MAX);
        let messages_max = limits.messages.saturating_add(links * QUEUE_MESSAGES_PER_LINK_MAX);
        let bytes = self.queue.len().saturating_add(length);
        self.queued > 0
            && (bytes > bytes_max
                || usize::try_from(self.queued).is_ok_and(|queued| queued >= messages_max))
    }
}

impl Outbound {
    pub(crate) fn new(limits: QueueLimits) -> Self {
        Self { peers: Mutex::default(), limits }
    }

    /// Whether anybody can listen at an address.
    pub(crate) fn is_reachable(address: SocketAddrV4) -> bool {
        address.port() != 0 && !address.ip().is_unspecified()
    }

    pub(crate) fn send(shared: &Arc<Shared>, from: &str, to: &Pid, name: &str, body: &[u8]) {
        if !Self::is_reachable(to.address) {
            shared.counters.messages_lost.add(1);
            return;
        }
        let mut peers = shared.outbound.lock();
        let peer = Self::peer(shared, &mut peers, to.address);
        if Self::refuses(shared, peer, to.address, body.len(), 1) {
            return;
        }
        encode_message(from, shared.address, to, name, body, &mut peer.queue);
        peer.queued += 1;
        peer.wake.notify_one();
    }

    pub(crate) fn send_bundle(shared: &Arc<Shared>, address: SocketAddrV4, bundle: &mut Bundle) {
        let mut peers = shared.outbound.lock();
        let peer = Self::peer(shared, &mut peers, address);
        let messages = std::mem::take(&mut bundle.messages);
        if Self::refuses(shared, peer, address, bundle.bytes.len(), messages) {
            bundle.bytes.clear();
            return;
        }
        if peer.queue.is_empty() {
            std::mem::swap(&mut peer.queue, &mut bundle.bytes);
        } else {
            peer.queue.append(&mut bundle.bytes);
        }
        peer.queued += messages;
        peer.wake.notify_one();
    }

    /// Whether there is no room for so many messages more. They are lost then, and a link at the address breaks.
    fn refuses(
        shared: &Shared,
        peer: &mut Peer,
        address: SocketAddrV4,
        bytes: usize,
        messages: u64,
    ) -> bool {
        if !peer.is_full(shared.outbound.limits, bytes) {
            return false;
        }
        shared.counters.messages_overflowed.add(messages);
        if !peer.linked.is_empty() && !peer.is_broken {
            tracing::warn!(%address, "queue is full, breaking the link");
            peer.is_broken = true;
            peer.wake.notify_one();
        }
        true
    }

    pub(crate) fn link(shared: &Arc<Shared>, pid: &Pid, reconnect: bool) {
        let mut peers = shared.outbound.lock();
        if reconnect && peers.by_address.contains_key(&pid.address) {
            peers.generations += 1;
            let generation = peers.generations;
            if let Some(peer) = peers.by_address.get_mut(&pid.address) {
                shared.counters.messages_lost.add(peer.in_flight);
                peer.in_flight = 0;
                peer.generation = generation;
                peer.is_broken = false;
                let replaced = std::mem::replace(&mut peer.wake, Arc::new(Notify::new()));
                replaced.notify_one();
                spawn_writer(shared, pid.address, generation, Arc::clone(&peer.wake));
            }
        }
        let peer = Self::peer(shared, &mut peers, pid.address);
        peer.linked.insert(pid.clone());
        // A connection about to close because it was not needed stays.
        peer.wake.notify_one();
    }

    pub(crate) fn unlink(&self, pid: &Pid) {
        if let Some(peer) = self.lock().by_address.get_mut(&pid.address) {
            peer.linked.remove(pid);
            peer.wake.notify_one();
        }
    }

    pub(crate) fn unlink_all(&self) {
        for peer in self.lock().by_address.values_mut() {
            peer.linked.clear();
            peer.wake.notify_one();
        }
    }

    pub(crate) fn is_idle(&self) -> bool {
        self.lock().by_address.values().all(|peer| peer.queued == 0 && peer.in_flight == 0)
    }

    fn lock(&self) -> MutexGuard<'_, Peers> {
        self.peers.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn peer<'a>(shared: &Arc<Shared>, peers: &'a mut Peers, address: SocketAddrV4) -> &'a mut Peer {
        let generations = &mut peers.generations;
        peers.by_address.entry(address).or_insert_with(|| {
            *generations += 1;
            let wake = Arc::new(Notify::new());
            spawn_writer(shared, address, *generations, Arc::clone(&wake));
            Peer {
                generation: *generations,
                queue: Vec::new(),
                queued: 0,
                in_flight: 0,
                linked: BTreeSet::new(),
                is_broken: false,
                wake,
            }
        })
    }
}

fn spawn_writer(shared: &Arc<Shared>, address: SocketAddrV4, generation: u64, wake: Arc<Notify>) {
    let writer = Writer { shared: Arc::clone(shared), address, generation, wake };
    shared.spawn(writer.run());
}

/// Owns the connection to one address.
struct Writer {
    shared: Arc<Shared>,
    address: SocketAddrV4,
    generation: u64,
    wake: Arc<Notify>,
}

/// What a writer is to do next.
enum Work {
    /// The batch holds messages to write.
    Write,
    /// Nothing to write; the connection is to be kept, for as long as it is linked or for a while.
    Wait { is_linked: bool },
    /// Another writer has taken over.
    Replaced,
    /// The connection is to be given up.
    Break,
}

/// How a writer ended.
enum End {
    /// Nothing left to do, or replaced: nobody needs to know.
    Done,
    Broken(io::Error),
}

impl Writer {
    async fn run(self) {
        let end = match self.connect().await {
            Ok(stream) => self.write_all(&stream).await,
            Err(error) => End::Broken(error),
        };
        if let End::Broken(error) = end {
            self.give_up(&error).await;
        }
    }

    async fn connect(&self) -> io::Result<TcpStream> {
        let stream = timeout(DIAL_TIMEOUT, TcpStream::connect(self.address)).await??;
        stream.set_nodelay(true)?;
        Ok(stream)
    }

    async fn write_all(&self, stream: &TcpStream) -> End {
        let mut batch = Vec::new();
        loop {
            let result = match self.next(&mut batch) {
                Work::Write => self.write(stream, &batch).await,
                Work::Wait { is_linked: true } => self.wait(stream).await,
                Work::Wait { is_linked: false } => match timeout(LINGER, self.wait(stream)).await {
                    Ok(result) => result,
                    Err(_) if self.close_if_idle() => return End::Done,
                    Err(_) => Ok(()),
                },
                Work::Replaced => return End::Done,
                Work::Break => Err(io::Error::other("the queue was full")),
            };
            if let Err(error) = result {
                return End::Broken(error);
            }
        }
    }

    /// Takes what is queued into `batch`, whose messages are written.
    fn next(&self, batch: &mut Vec<u8>) -> Work {
        batch.clear();
        if batch.capacity() > BUFFER_BYTES_KEPT {
            *batch = Vec::new();
        }
        let mut peers = self.shared.outbound.lock();
        let Some(peer) = self.own(&mut peers) else { return Work::Replaced };
        self.shared.counters.messages_sent.add(peer.in_flight);
        peer.in_flight = 0;
        if peer.is_broken {
            return Work::Break;
        }
        if peer.queued == 0 {
            return Work::Wait { is_linked: !peer.linked.is_empty() };
        }
        std::mem::swap(&mut peer.queue, batch);
        peer.in_flight = std::mem::take(&mut peer.queued);
        Work::Write
    }

    async fn write(&self, stream: &TcpStream, mut bytes: &[u8]) -> io::Result<()> {
        while !bytes.is_empty() {
            match stream.try_write(bytes) {
                Ok(written) => {
                    bytes = &bytes[written..];
                    continue;
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => return Err(error),
            }
            tokio::select! {
                ready = stream.ready(Interest::READABLE | Interest::WRITABLE) => { ready?; }
                () = self.wake.notified() => {
                    if self.must_stop() {
                        return Ok(());
                    }
                }
            }
            discard_replies(stream)?;
        }
        discard_replies(stream)
    }

    /// Until there may be something to do. The peer's answers are read and thrown away meanwhile.
    async fn wait(&self, stream: &TcpStream) -> io::Result<()> {
        loop {
            tokio::select! {
                () = self.wake.notified() => return Ok(()),
                ready = stream.readable() => {
                    ready?;
                    discard_replies(stream)?;
                }
            }
        }
    }

    fn must_stop(&self) -> bool {
        let mut peers = self.shared.outbound.lock();
        self.own(&mut peers).is_none_or(|peer| peer.is_broken)
    }

    fn own<'a>(&self, peers: &'a mut Peers) -> Option<&'a mut Peer> {
        let peer = peers.by_address.get_mut(&self.address)?;
        (peer.generation == self.generation).then_some(peer)
    }

    fn close_if_idle(&self) -> bool {
        let mut peers = self.shared.outbound.lock();
        let is_idle = match self.own(&mut peers) {
            Some(peer) => peer.queued == 0 && peer.linked.is_empty(),
            None => return true,
        };
        if is_idle {
            peers.by_address.remove(&self.address);
        }
        is_idle
    }

    /// Everything queued is lost, and who linked an actor at this address is told.
    async fn give_up(&self, error: &io::Error) {
        let linked = {
            let mut peers = self.shared.outbound.lock();
            if self.own(&mut peers).is_none() {
                return;
            }
            let Some(peer) = peers.by_address.remove(&self.address) else { return };
            let lost = peer.queued + peer.in_flight;
            self.shared.counters.messages_lost.add(lost);
            tracing::debug!(address = %self.address, %error, lost, "connection broke");
            peer.linked
        };
        if linked.is_empty() {
            return;
        }
        self.shared.counters.links_broken.add(1);
        for pid in linked {
            // An error means that nobody listens any more.
            let _ = self.shared.incoming.send(Incoming::Exited { pid }).await;
        }
    }
}

/// Reads what is there. Answers carry nothing; only the end of the stream matters.
fn discard_replies(stream: &TcpStream) -> io::Result<()> {
    let mut buffer = [0; DISCARD_BYTES];
    loop {
        match stream.try_read(&mut buffer) {
            Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
            Err(error) => return Err(error),
        }
    }
}
