//! One of several instances of a framework, of which one leads and the others stand by.

use coordination::{
    Contender, ContenderError, Detected, Detection, Epoch, Lease, SESSION_TIMEOUT_DEFAULT,
    UrlError, watch_instances,
};
use tokio::sync::watch;

/// An instance's part in the election of a framework's leading instance. Dropping it withdraws, soon;
/// [`Instance::withdraw`] waits for it.
///
/// The one that leads opens the framework's [`crate::Store`] with its [`Epoch`] and subscribes. Once it
/// leads no more it can write nothing; the simplest reaction is to exit, and to let a supervisor start it
/// again.
#[derive(Debug)]
pub struct Instance {
    contender: Contender,
    detection: Detection<String>,
}

impl Instance {
    /// Begins to contend below a path of the framework's own: `zk://…/frameworks/example`, never the
    /// path of masters. `address` is what other instances are told of the leader, usually the `host:port`
    /// that serves the framework's users. To be called inside a tokio runtime.
    ///
    /// # Errors
    /// The place is no URL of an ensemble. Everything later is told by [`Instance::elected`].
    pub fn start(place: &str, address: &str) -> Result<Self, UrlError> {
        let url = place.parse()?;
        Ok(Self {
            contender: Contender::start_instance(&url, SESSION_TIMEOUT_DEFAULT, address),
            detection: watch_instances(&url, SESSION_TIMEOUT_DEFAULT),
        })
    }

    /// Waits until this instance leads.
    ///
    /// # Errors
    /// It never will.
    pub async fn elected(&self) -> Result<Epoch, ContenderError> {
        self.contender.elected().await
    }

    /// Waits for the end of leadership, or of the hope for it.
    pub async fn ended(&self) -> ContenderError {
        self.contender.ended().await
    }

    /// Until when leadership is certain: to be asked before what must not be done twice, other than
    /// writing to the store.
    #[must_use]
    pub fn lease(&self) -> Lease {
        self.contender.lease()
    }

    /// The address of the instance that leads, for redirects; `None` while none is known.
    #[must_use]
    pub fn leader(&self) -> Option<String> {
        let detected = self.leaders();
        detected.borrow().leader().map(ToString::to_string)
    }

    /// The address of the instance that leads, now and at each change.
    #[must_use]
    pub fn leaders(&self) -> watch::Receiver<Detected<String>> {
        self.detection.detected()
    }

    /// Ends the candidacy, so that another instance can lead at once.
    pub async fn withdraw(self) {
        self.contender.withdraw().await;
    }
}
