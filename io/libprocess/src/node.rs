//! A node: one port, its actors, and everything it sends.

use std::io;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use protocol::pid::Pid;
use tokio::net::TcpListener;
use tokio::runtime::Handle;
use tokio::sync::{mpsc, watch};

use crate::actors::Actors;
use crate::counters::{Cells, Counters};
use crate::http_connection::HttpConnection;
use crate::inbound::{self, ipv4};
use crate::outbound::{Outbound, QUEUE_BYTES_MAX, QUEUE_MESSAGES_MAX, QueueLimits};
use crate::outbox::Bundle;

/// How many incoming events wait for their reader before the connections they come from do.
pub const INCOMING_MAX: usize = 4096;

/// How many messages that the node sent to itself may wait.
const LOCAL_MESSAGES_MAX: usize = 65_536;

/// How long accepting pauses when the process has no file descriptors left.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

const FLUSH_POLL: Duration = Duration::from_millis(2);

/// Where to listen, and what to say about it.
#[derive(Clone, Debug)]
pub struct NodeOptions {
    /// The interface; `0.0.0.0` is all of them.
    pub ip: Ipv4Addr,
    /// 0 takes any free port.
    pub port: u16,
    /// The address others are told, when it is not `ip` (containers, NAT).
    pub advertise_ip: Option<Ipv4Addr>,
    /// The port others are told, when it is not the one listened on.
    pub advertise_port: Option<u16>,
    /// Refuses messages whose sender pid has another IP address than the connection.
    pub require_peer_address_ip_match: bool,
    /// How many messages may wait for one address, besides those for each actor linked there; see
    /// [`crate::QUEUE_MESSAGES_MAX`].
    pub queue_messages_max: usize,
    /// How many bytes may wait for one address; see [`crate::QUEUE_BYTES_MAX`].
    pub queue_bytes_max: usize,
}

impl Default for NodeOptions {
    /// Any free port of the loopback interface.
    fn default() -> Self {
        Self {
            ip: Ipv4Addr::LOCALHOST,
            port: 0,
            advertise_ip: None,
            advertise_port: None,
            require_peer_address_ip_match: false,
            queue_messages_max: QUEUE_MESSAGES_MAX,
            queue_bytes_max: QUEUE_BYTES_MAX,
        }
    }
}

/// What arrives at a node.
#[derive(Debug)]
pub enum Incoming {
    /// A message to one of the node's actors.
    Message {
        /// Who sent it, by its own account.
        from: Pid,
        /// Which registered actor it is for.
        actor: String,
        /// The full protobuf type name, such as `mesos.internal.RegisterSlaveMessage`.
        name: String,
        /// The encoded message.
        body: Bytes,
    },
    /// A connection whose next request is ordinary HTTP.
    Http(HttpConnection),
    /// The link to this peer broke or could not be made. It is no longer linked.
    Exited {
        /// A pid that was linked.
        pid: Pid,
    },
}

/// Why a node cannot be opened.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BindError {
    /// The address cannot be listened on.
    #[error("cannot listen on {address}")]
    Listen {
        /// The address.
        address: SocketAddrV4,
        /// What the operating system said.
        source: io::Error,
    },
}

/// What the tasks of a node share.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) address: SocketAddrV4,
    pub(crate) actors: Actors,
    pub(crate) counters: Cells,
    pub(crate) incoming: mpsc::Sender<Incoming>,
    pub(crate) outbound: Outbound,
    pub(crate) require_peer_address_ip_match: bool,
    /// Sending is possible from any thread, also one outside the runtime.
    runtime: Handle,
    local: mpsc::Sender<Incoming>,
    stop: watch::Receiver<bool>,
}

impl Shared {
    /// Runs `task` until it ends or the node stops.
    pub(crate) fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        let mut stop = self.stop.clone();
        self.runtime.spawn(async move {
            tokio::select! {
                () = task => {}
                // An error means that the last handle is gone.
                _ = stop.wait_for(|stopped| *stopped) => {}
            }
        });
    }

    fn send_to_self(&self, message: Incoming) {
        if self.local.try_send(message).is_err() {
            self.counters.messages_overflowed.add(1);
        }
    }
}

/// A handle to a node; clones are the same node. When the last one is dropped, or at
/// [`Node::shutdown`], the port and all connections close.
#[derive(Clone, Debug)]
pub struct Node {
    shared: Arc<Shared>,
    stop: Arc<watch::Sender<bool>>,
}

impl Node {
    /// Listens, and starts to accept. To be called inside a tokio runtime, which runs the node.
    ///
    /// # Errors
    /// The address cannot be listened on.
    pub async fn bind(options: NodeOptions) -> Result<(Self, mpsc::Receiver<Incoming>), BindError> {
        let address = SocketAddrV4::new(options.ip, options.port);
        let failed = |source| BindError::Listen { address, source };
        let listener = TcpListener::bind(address).await.map_err(failed)?;
        let bound = listener.local_addr().map_err(failed)?;
        let advertised_ip = match options.advertise_ip {
            Some(ip) => ip,
            None if options.ip.is_unspecified() => host_address().await,
            None => options.ip,
        };
        let advertised =
            SocketAddrV4::new(advertised_ip, options.advertise_port.unwrap_or(bound.port()));
        let (incoming, receiver) = mpsc::channel(INCOMING_MAX);
        let (local, local_receiver) = mpsc::channel(LOCAL_MESSAGES_MAX);
        let (stop, stopped) = watch::channel(false);
        let shared = Arc::new(Shared {
            address: advertised,
            actors: Actors::default(),
            counters: Cells::default(),
            incoming,
            outbound: Outbound::new(QueueLimits {
                messages: options.queue_messages_max,
                bytes: options.queue_bytes_max,
            }),
            require_peer_address_ip_match: options.require_peer_address_ip_match,
            runtime: Handle::current(),
            local,
            stop: stopped,
        });
        shared.spawn(accept(Arc::clone(&shared), listener));
        shared.spawn(pump(shared.incoming.clone(), local_receiver));
        Ok((Self { shared, stop: Arc::new(stop) }, receiver))
    }

    /// The address in this node's pids.
    #[must_use]
    pub fn address(&self) -> SocketAddrV4 {
        self.shared.address
    }

    /// The pid of an actor of this node.
    #[must_use]
    pub fn pid(&self, actor: &str) -> Pid {
        Pid::new(actor, self.shared.address)
    }

    /// Takes messages for `actor`. Messages for unknown actors are answered 404.
    pub fn register_actor(&self, actor: &str) {
        self.shared.actors.add(actor);
    }

    /// Takes messages for every actor whose name starts with `prefix`, such as `slave-observer(`.
    pub fn register_actor_prefix(&self, prefix: &str) {
        self.shared.actors.add_prefix(prefix);
    }

    /// Takes no more messages for `actor`.
    pub fn unregister_actor(&self, actor: &str) {
        self.shared.actors.remove(actor);
    }

    /// Sends one message from `from_actor` of this node. Never blocks and never fails: messages to
    /// one address are queued and written in order, over the link when there is one, else over a
    /// connection that closes when it is not needed any more. What cannot be written is lost, and
    /// counted.
    pub fn send(&self, from_actor: &str, to: &Pid, name: &str, body: impl AsRef<[u8]>) {
        let body = body.as_ref();
        if to.address != self.shared.address {
            Outbound::send(&self.shared, from_actor, to, name, body);
        } else if self.shared.actors.contains(&to.id) {
            self.shared.send_to_self(Incoming::Message {
                from: self.pid(from_actor),
                actor: to.id.clone(),
                name: name.to_owned(),
                body: Bytes::copy_from_slice(body),
            });
        } else {
            self.shared.counters.messages_unroutable.add(1);
        }
    }

    /// Sends the messages of a bundle, which go to an address of another node, and leaves it empty.
    pub(crate) fn send_bundle(&self, address: SocketAddrV4, bundle: &mut Bundle) {
        Outbound::send_bundle(&self.shared, address, bundle);
    }

    /// Keeps a connection open to the peer's address. When it breaks, or cannot be opened, one
    /// [`Incoming::Exited`] tells so for each pid linked at that address, and the pids are no longer
    /// linked. Linking a linked pid again, or one of this node, does nothing.
    pub fn link(&self, pid: &Pid) {
        if pid.address != self.shared.address {
            Outbound::link(&self.shared, pid, false);
        }
    }

    /// As [`Node::link`], over a new connection: an existing one may be dead without us knowing.
    /// Replacing it is not reported as an exit; messages being written to it may be lost.
    pub fn relink(&self, pid: &Pid) {
        if pid.address != self.shared.address {
            Outbound::link(&self.shared, pid, true);
        }
    }

    /// Forgets a link. No exit will be reported for this pid.
    pub fn unlink(&self, pid: &Pid) {
        self.shared.outbound.unlink(pid);
    }

    /// Forgets all links. No exit will be reported, and connections close when nothing is sent any more.
    pub fn unlink_all(&self) {
        self.shared.outbound.unlink_all();
    }

    /// What happened so far.
    #[must_use]
    pub fn counters(&self) -> Counters {
        self.shared.counters.read()
    }

    /// Waits until everything sent is written or lost, but no longer than `limit`. Says whether it
    /// is.
    pub async fn flush(&self, limit: Duration) -> bool {
        let idle = async {
            while !self.shared.outbound.is_idle() {
                tokio::time::sleep(FLUSH_POLL).await;
            }
        };
        tokio::time::timeout(limit, idle).await.is_ok()
    }

    /// Closes the port and every connection that was not handed over. Messages not yet written are
    /// lost; see [`Node::flush`].
    pub fn shutdown(&self) {
        self.stop.send_replace(true);
    }
}

async fn accept(shared: Arc<Shared>, listener: TcpListener) {
    loop {
        match listener.accept().await {
            Ok((stream, peer)) => {
                shared.spawn(inbound::serve(Arc::clone(&shared), stream, peer));
            }
            Err(error) => {
                tracing::warn!(%error, "cannot accept a connection");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

async fn pump(incoming: mpsc::Sender<Incoming>, mut local: mpsc::Receiver<Incoming>) {
    while let Some(message) = local.recv().await {
        if incoming.send(message).await.is_err() {
            return;
        }
    }
}

/// The address to tell others when listening on all interfaces: what the host's own name resolves
/// to, as in libprocess.
async fn host_address() -> Ipv4Addr {
    let name = tokio::fs::read_to_string("/proc/sys/kernel/hostname").await.unwrap_or_default();
    let found = tokio::net::lookup_host((name.trim(), 0)).await;
    match found.ok().and_then(|mut addresses| addresses.find_map(ipv4)) {
        Some(address) => *address.ip(),
        None => {
            tracing::warn!(
                host = name.trim(),
                "the host's name has no IPv4 address: advertising 127.0.0.1, which other machines \
                 cannot reach; set an address to advertise"
            );
            Ipv4Addr::LOCALHOST
        }
    }
}

#[cfg(test)]
mod tests;
