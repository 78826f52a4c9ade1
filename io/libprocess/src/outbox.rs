//! Messages that are sent together.

use std::collections::BTreeMap;
use std::net::SocketAddrV4;

use protocol::pid::Pid;

use crate::encoder::encode_message;
use crate::node::Node;
use crate::outbound::Outbound;

/// Messages to one address are handed over when they are this many bytes, so that the bound of the
/// address' queue is looked at in time.
const BUNDLE_BYTES: usize = 128 << 10;

/// Collects messages until [`Outbox::flush`], for a sender that has many at a time.
///
/// [`Node::send`] wakes the connection's writer for each message; here it is woken once for all that go to
/// one address. Messages to one address keep their order, also with those that the node sends itself
/// after a flush. What is not flushed is not sent.
#[derive(Debug)]
pub struct Outbox {
    node: Node,
    bundles: BTreeMap<SocketAddrV4, Bundle>,
}

/// Encoded messages, back to back.
#[derive(Debug, Default)]
pub(crate) struct Bundle {
    pub(crate) bytes: Vec<u8>,
    pub(crate) messages: u64,
}

impl Outbox {
    /// An empty one, for messages of this node.
    #[must_use]
    pub fn new(node: Node) -> Self {
        Self { node, bundles: BTreeMap::new() }
    }

    /// As [`Node::send`], at the next flush.
    pub fn send(&mut self, from_actor: &str, to: &Pid, name: &str, body: impl AsRef<[u8]>) {
        let own = self.node.address();
        if to.address == own || !Outbound::is_reachable(to.address) {
            self.node.send(from_actor, to, name, body);
            return;
        }
        let bundle = self.bundles.entry(to.address).or_default();
        encode_message(from_actor, own, to, name, body.as_ref(), &mut bundle.bytes);
        bundle.messages += 1;
        if bundle.bytes.len() >= BUNDLE_BYTES {
            self.node.send_bundle(to.address, bundle);
        }
    }

    /// As [`Node::link`], at once.
    pub fn link(&self, pid: &Pid) {
        self.node.link(pid);
    }

    /// Sends what was collected.
    pub fn flush(&mut self) {
        for (address, mut bundle) in std::mem::take(&mut self.bundles) {
            if bundle.messages > 0 {
                self.node.send_bundle(address, &mut bundle);
            }
        }
    }
}
