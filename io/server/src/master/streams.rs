//! The open response streams of schedulers and operators.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use master::event::ConnectionId;
use protocol::{Message, Names, recordio};
use protocol::{master as operator, scheduler};

use crate::http::stream::SendError;
use crate::http::{ContentType, StreamSender};

#[derive(Debug)]
struct OpenStream {
    sender: StreamSender,
    content_type: ContentType,
}

/// One record: an event in the encoding of its reader.
pub(super) fn record<M: Message>(event: &M, content_type: ContentType) -> Bytes {
    let body = match content_type {
        ContentType::Json => event.to_json(Names::V1).into_bytes(),
        ContentType::Protobuf => event.encode_to_vec(),
    };
    Bytes::from(recordio::encode(&body))
}

/// The encodings of the event that was sent last. One that goes to many is encoded once for each content type.
#[derive(Debug)]
struct Encoded<E> {
    event: Arc<E>,
    json: Option<Bytes>,
    protobuf: Option<Bytes>,
}

impl<E: Message> Encoded<E> {
    fn new(event: &Arc<E>) -> Self {
        Self { event: Arc::clone(event), json: None, protobuf: None }
    }

    fn record(&mut self, content_type: ContentType) -> Bytes {
        let slot = match content_type {
            ContentType::Json => &mut self.json,
            ContentType::Protobuf => &mut self.protobuf,
        };
        slot.get_or_insert_with(|| record(self.event.as_ref(), content_type)).clone()
    }
}

/// The open streams by name.
#[derive(Debug, Default)]
pub(super) struct Streams {
    open: BTreeMap<ConnectionId, OpenStream>,
    last: Option<Encoded<scheduler::Event>>,
}

impl Streams {
    /// Adds a stream.
    pub(super) fn open(
        &mut self,
        connection: ConnectionId,
        sender: StreamSender,
        content_type: ContentType,
    ) {
        self.open.insert(connection, OpenStream { sender, content_type });
    }

    /// Ends a stream after what was sent before.
    pub(super) fn close(&mut self, connection: ConnectionId) {
        self.open.remove(&connection);
    }

    /// Sends an event to a scheduler, if its stream is still open.
    pub(super) fn send_scheduler(
        &mut self,
        connection: ConnectionId,
        event: &Arc<scheduler::Event>,
    ) {
        let Some(stream) = self.open.get(&connection) else { return };
        let content_type = stream.content_type;
        let encoded = match &mut self.last {
            Some(last) if Arc::ptr_eq(&last.event, event) => last,
            last => last.insert(Encoded::new(event)),
        };
        let record = encoded.record(content_type);
        self.send(connection, record);
    }

    /// Sends an event to operators.
    pub(super) fn send_operators(
        &mut self,
        connections: &[ConnectionId],
        event: &Arc<operator::Event>,
    ) {
        let mut encoded = Encoded::new(event);
        for connection in connections {
            if let Some(stream) = self.open.get(connection) {
                let record = encoded.record(stream.content_type);
                self.send(*connection, record);
            }
        }
    }

    /// Lets go of the last event.
    pub(super) fn batch_done(&mut self) {
        self.last = None;
    }

    fn send(&mut self, connection: ConnectionId, record: Bytes) {
        let Some(stream) = self.open.get(&connection) else { return };
        match stream.sender.send(record) {
            Ok(()) => return,
            // The end of the response is reported by its body.
            Err(SendError::Closed) => {}
            Err(error @ SendError::Overflow(_)) => {
                tracing::warn!(%connection, %error, "closing an event stream");
            }
        }
        self.open.remove(&connection);
    }
}
