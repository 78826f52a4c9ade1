//! Libprocess messages over HTTP/1.1: pids, links, pipelining.
//!
//! Mesos' daemons and drivers talk in one-way messages: a `POST /<actor>/<message type>` whose reply
//! (`202 Accepted`) carries nothing. An answer is a message of its own, on a connection the other
//! side opens. Peers write many requests without waiting for replies. The same port serves ordinary
//! HTTP.
//!
//! [`Node::bind`] opens the port and gives the node, which sends, and a channel of [`Incoming`]:
//! messages, ordinary HTTP connections, and peers whose link broke.
//!
//! ```no_run
//! use libprocess::{Incoming, Node, NodeOptions};
//!
//! # async fn run() -> Result<(), libprocess::BindError> {
//! let (node, mut incoming) = Node::bind(NodeOptions::default()).await?;
//! node.register_actor("master");
//! while let Some(event) = incoming.recv().await {
//!     match event {
//!         Incoming::Message { from, name, .. } => {
//!             node.link(&from);
//!             node.send("master", &from, "mesos.internal.PingSlaveMessage", &[]);
//!             println!("{name} from {from}");
//!         }
//!         Incoming::Http(connection) => drop(connection),
//!         Incoming::Exited { pid } => println!("{pid} is gone"),
//!     }
//! }
//! # Ok(())
//! # }
//! ```

mod actors;
mod counters;
mod decoder;
mod encoder;
#[cfg(test)]
mod golden_tests;
mod http_connection;
mod inbound;
mod node;
mod outbound;
mod outbox;

pub use counters::Counters;
pub use decoder::{BODY_BYTES_MAX, DecodeError, Decoder, Framed, HEAD_BYTES_MAX, Request};
pub use encoder::encode_message;
pub use http_connection::HttpConnection;
pub use node::{BindError, INCOMING_MAX, Incoming, Node, NodeOptions};
pub use outbound::{
    DIAL_TIMEOUT, QUEUE_BYTES_MAX, QUEUE_BYTES_PER_LINK_MAX, QUEUE_MESSAGES_MAX,
    QUEUE_MESSAGES_PER_LINK_MAX,
};
pub use outbox::Outbox;
