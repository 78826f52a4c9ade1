//! Requests that outlive connections and sessions.

use std::time::{Duration, Instant};

use tokio::time::{sleep, timeout_at};
use tracing::warn;

use crate::ensemble_error::EnsembleError;
use crate::zookeeper::{Client, Options, RequestError, SessionEnd};

/// The pause after a request that was interrupted.
const PAUSE: Duration = Duration::from_millis(50);

/// One session after the other.
#[derive(Debug)]
pub(super) struct Link {
    options: Options,
    client: Client,
}

/// Why there is no result.
#[derive(Debug)]
pub(super) enum Failure {
    /// The time is over.
    TooLate(EnsembleError),
    /// Trying again would not help.
    Request(RequestError),
}

impl Link {
    pub(super) fn new(options: Options) -> Self {
        Self { client: Client::connect(options.clone()), options }
    }

    /// Does something until it succeeds or the ensemble says no, in as many connections and sessions as it
    /// takes. So it may be done more than once.
    pub(super) async fn persistently<T>(
        &mut self,
        deadline: Instant,
        task: impl AsyncFn(&Client) -> Result<T, RequestError>,
    ) -> Result<T, Failure> {
        let mut last = EnsembleError::new("it does not answer");
        loop {
            match timeout_at(deadline.into(), task(&self.client)).await {
                Ok(Ok(result)) => return Ok(result),
                Err(_) => return Err(Failure::TooLate(last)),
                Ok(Err(error @ RequestError::Interrupted)) => last = error.into(),
                Ok(Err(RequestError::SessionOver(end))) if end != SessionEnd::Credentials => {
                    warn!("the registry needs a new ZooKeeper session: {end}");
                    last = end.into();
                    self.client = Client::connect(self.options.clone());
                }
                Ok(Err(error)) => return Err(Failure::Request(error)),
            }
            sleep(PAUSE).await;
        }
    }

    pub(super) async fn close(self) {
        self.client.close().await;
    }
}
