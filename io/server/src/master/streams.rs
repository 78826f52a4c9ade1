//! The open response streams of schedulers and operators.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

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

/// What a subscriber is told that was too slow.
fn reason(error: &SendError) -> String {
    format!("{error}; they are dropped and the subscription ends: subscribe again")
}

/// The last record of an operator who was too slow. Mesos has no such event, so its type is one that clients skip.
fn operator_error(error: &SendError, content_type: ContentType) -> Bytes {
    let error = operator::event::Error { message: reason(error), ..Default::default() };
    let event = operator::Event {
        r#type: Some(operator::event::Type::Unknown),
        error: Some(error),
        ..Default::default()
    };
    record(&event, content_type)
}

/// The open streams by name.
#[derive(Debug)]
pub(super) struct Streams {
    open: BTreeMap<ConnectionId, OpenStream>,
    last: Option<Encoded<scheduler::Event>>,
    /// How many readers were too slow, for `master/event_streams_dropped`.
    dropped: Arc<AtomicU64>,
}

impl Streams {
    /// None so far. `dropped` counts the readers that were too slow.
    pub(super) fn new(dropped: Arc<AtomicU64>) -> Self {
        Self { open: BTreeMap::new(), last: None, dropped }
    }

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
        // `ERROR` would be for good: libraries would not subscribe again, while a stream that only ends is opened
        // anew at once.
        self.send(connection, record, None);
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
                self.send(*connection, record, Some(operator_error));
            }
        }
    }

    /// Lets go of the last event.
    pub(super) fn batch_done(&mut self) {
        self.last = None;
    }

    /// Sends a record, or what `farewell` makes as the last one, if anything, when its reader is too slow. That a stream has
    /// ended is reported by its body.
    fn send(
        &mut self,
        connection: ConnectionId,
        record: Bytes,
        farewell: Option<fn(&SendError, ContentType) -> Bytes>,
    ) {
        let Some(stream) = self.open.get(&connection) else { return };
        let Err(error) = stream.sender.send(record) else { return };
        let Some(OpenStream { sender, content_type }) = self.open.remove(&connection) else {
            return;
        };
        match error {
            SendError::Closed => {}
            SendError::Overflow { .. } => {
                tracing::warn!(%connection, %error, "dropping a slow subscriber");
                self.dropped.fetch_add(1, Ordering::Relaxed);
                sender.give_up(farewell.map(|farewell| farewell(&error, content_type)));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::task::{Context, Poll, Waker};

    use super::*;
    use crate::http::StreamBody;
    use crate::http::connection::ConnectionHandle;
    use crate::http::stream::stream;

    const SUBSCRIBERS: u64 = 100;

    fn streams() -> Streams {
        Streams::new(Arc::default())
    }

    /// As many subscribers of each content type.
    fn subscribe(streams: &mut Streams) -> Vec<(ConnectionId, ContentType, StreamBody)> {
        let kinds = [ContentType::Json, ContentType::Protobuf];
        let subscribers = (0..SUBSCRIBERS).zip(kinds.into_iter().cycle());
        subscribers
            .map(|(number, content_type)| {
                let (sender, body) = stream(ConnectionHandle::default(), || ());
                streams.open(ConnectionId(number), sender, content_type);
                (ConnectionId(number), content_type, body)
            })
            .collect()
    }

    fn next(body: &mut StreamBody) -> Option<Bytes> {
        match body.poll_chunk(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(chunk) => chunk,
            Poll::Pending => None,
        }
    }

    /// How many buffers the subscribers were given, each of which must hold `event`. All are kept meanwhile, so two
    /// cannot have one address: there were as many encodings.
    fn encodings<E: Message>(
        subscribers: &mut [(ConnectionId, ContentType, StreamBody)],
        event: &E,
    ) -> usize {
        let chunks: Vec<Bytes> = subscribers
            .iter_mut()
            .map(|(_, content_type, body)| {
                let chunk = next(body).unwrap_or_default();
                assert_eq!(chunk, record(event, *content_type));
                chunk
            })
            .collect();
        chunks.iter().map(|chunk| chunk.as_ptr()).collect::<BTreeSet<_>>().len()
    }

    #[test]
    fn one_event_to_many_operators_is_encoded_once_per_format() {
        let mut streams = streams();
        let mut subscribers = subscribe(&mut streams);
        let connections: Vec<ConnectionId> = subscribers.iter().map(|(id, ..)| *id).collect();
        let event = operator::Event {
            r#type: Some(operator::event::Type::Heartbeat),
            ..Default::default()
        };
        streams.send_operators(&connections, &Arc::new(event.clone()));
        assert_eq!(encodings(&mut subscribers, &event), 2);
    }

    #[test]
    fn one_event_to_many_schedulers_is_encoded_once_per_format() {
        let mut streams = streams();
        let mut subscribers = subscribe(&mut streams);
        let event = scheduler::Event {
            r#type: Some(scheduler::event::Type::Heartbeat),
            ..Default::default()
        };
        let shared = Arc::new(event.clone());
        for (connection, ..) in &subscribers {
            streams.send_scheduler(*connection, &shared);
        }
        assert_eq!(encodings(&mut subscribers, &event), 2);
        // An equal event that is another one is not taken for it.
        let other = Arc::new(event.clone());
        for (connection, ..) in &subscribers {
            streams.send_scheduler(*connection, &other);
        }
        assert_eq!(encodings(&mut subscribers, &event), 2);
    }
}
