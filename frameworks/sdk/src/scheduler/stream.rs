//! The task that subscribes and reads events, again and again.

use std::sync::Arc;
use std::time::Duration;

use http_body_util::BodyExt;
use hyper::Response;
use hyper::body::Incoming as Body;
use hyper::header::LOCATION;
use protocol::causes::with_causes;
use protocol::recordio;
use protocol::scheduler::{Event, event};
use tokio::sync::mpsc;
use tokio::time::{sleep, timeout};

use super::{Incoming, STREAM_ID, Shared, SubscribeError, Subscription};
use crate::http::{Connection, read_whole};
use crate::leader::{Leaders, NobodyListens};
use crate::subscription::{Answer, Attempts, silence_max};

/// How one attempt to subscribe ended.
enum End {
    /// To be tried again after a while.
    Lost {
        reason: String,
    },
    Redirected {
        authority: String,
    },
    /// The master that was subscribed with, or asked, does not lead any more.
    Deposed,
    /// Nothing more to do: refused, an ERROR event, or nobody listens.
    Final,
}

pub(super) async fn run(shared: Arc<Shared>, mut leaders: Leaders, events: mpsc::Sender<Incoming>) {
    let mut attempts = Attempts::default();
    let mut redirected = None;
    loop {
        let authority = match redirected.take() {
            Some(authority) => authority,
            None => match leaders.next(&events).await {
                Ok(authority) => authority,
                Err(NobodyListens) => return,
            },
        };
        let end = tokio::select! {
            end = attempt(&shared, &authority, &events, &mut attempts) => end,
            () = leaders.changed() => End::Deposed,
        };
        shared.unsubscribed();
        let (reason, wait) = match end {
            End::Final => return,
            End::Redirected { authority } if attempts.may_follow() => {
                redirected = Some(authority);
                continue;
            }
            End::Redirected { authority: other } => {
                (format!("{authority} says that {other} leads"), attempts.failed())
            }
            End::Lost { reason } => (reason, attempts.failed()),
            End::Deposed => {
                attempts.start_over();
                (format!("{authority} does not lead any more"), Duration::ZERO)
            }
        };
        tracing::debug!(%authority, reason, "subscription lost");
        if events.send(Incoming::Disconnected { reason }).await.is_err() {
            return;
        }
        tokio::select! {
            () = sleep(wait) => {}
            () = leaders.changed() => attempts.start_over(),
        }
    }
}

fn lost(error: &dyn std::error::Error) -> End {
    End::Lost { reason: with_causes(error) }
}

async fn attempt(
    shared: &Shared,
    authority: &str,
    events: &mpsc::Sender<Incoming>,
    attempts: &mut Attempts,
) -> End {
    let mut connection = match Connection::open(authority).await {
        Ok(connection) => connection,
        Err(error) => return lost(&error),
    };
    let body = shared.options.content_type.encode(&shared.subscribe());
    let response = match connection.send(shared.request(), body).await {
        Ok(response) => response,
        Err(error) => return lost(&error),
    };
    let status = response.status();
    let location = response.headers().get(LOCATION).and_then(|value| value.to_str().ok());
    match Answer::of(status, location) {
        Answer::Redirect { authority } => End::Redirected { authority },
        Answer::Stream => read(shared, authority, response, events, attempts).await,
        answer @ (Answer::Retry | Answer::Refused) => {
            let reason = match read_whole(authority, response.into_body()).await {
                Ok(reason) => String::from_utf8_lossy(&reason).into_owned(),
                Err(error) => return lost(&error),
            };
            if answer == Answer::Retry {
                return End::Lost { reason: format!("{authority} answered {status}: {reason}") };
            }
            let authority = authority.to_owned();
            fail(SubscribeError::Refused { authority, status, reason }, events).await
        }
    }
}

async fn read(
    shared: &Shared,
    authority: &str,
    response: Response<Body>,
    events: &mpsc::Sender<Incoming>,
    attempts: &mut Attempts,
) -> End {
    let stream_id = response.headers().get(STREAM_ID).and_then(|value| value.to_str().ok());
    let subscription =
        Subscription { authority: authority.to_owned(), stream_id: stream_id.map(str::to_owned) };
    let mut body = response.into_body();
    let mut decoder = recordio::Decoder::default();
    let mut silence = silence_max(None);
    loop {
        let frame = match timeout(silence, body.frame()).await {
            Err(_) => return End::Lost { reason: format!("no heartbeat for {silence:?}") },
            Ok(None) => return End::Lost { reason: format!("{authority} closed the stream") },
            Ok(Some(Err(error))) => return lost(&error),
            Ok(Some(Ok(frame))) => frame,
        };
        let Some(data) = frame.data_ref() else { continue };
        let records = match decoder.decode(data) {
            Ok(records) => records,
            Err(error) => return lost(&error),
        };
        for record in records {
            let event = match shared.options.content_type.decode(&record) {
                Ok(event) => event,
                Err(error) => return lost(&error),
            };
            if let Some(subscribed) = &event.subscribed {
                silence = silence_max(subscribed.heartbeat_interval_seconds);
                attempts.start_over();
                let id = subscribed.framework_id.clone();
                if let Err(error) = shared.subscribed(id, subscription.clone()).await {
                    return fail(error.into(), events).await;
                }
            }
            if let Some(error) = shared.removed(authority, &event) {
                return fail(error, events).await;
            }
            if let Some(end) = pass(event, events).await {
                return end;
            }
        }
    }
}

async fn fail(error: SubscribeError, events: &mpsc::Sender<Incoming>) -> End {
    // An error means that nobody listens, which ends the task too.
    let _ = events.send(Incoming::Failed(error)).await;
    End::Final
}

async fn pass(event: Event, events: &mpsc::Sender<Incoming>) -> Option<End> {
    let is_error = event.r#type == Some(event::Type::Error);
    let sent = events.send(Incoming::Event(Box::new(event))).await;
    (is_error || sent.is_err()).then_some(End::Final)
}
