//! Write a scheduler in Rust, over the public HTTP APIs: nothing here is closed to others, so what
//! is built on it runs on Apache Mesos too.
//!
//! [`Scheduler::start`] subscribes a framework and keeps it subscribed: it finds the leading master,
//! follows a change of leader, notices a dead stream by its missing heartbeats and comes back under the
//! same framework id.
//! With a [`Store`] a restarted framework comes back under its id too, and an [`Instance`] makes one of
//! several instances lead. Events arrive on a channel; [`Scheduler::call`] sends calls, in order.
//!
//! ```no_run
//! use protocol::{mesos, scheduler};
//! use sdk::{Incoming, Scheduler, SchedulerOptions};
//!
//! # async fn run() -> Result<(), Box<dyn std::error::Error>> {
//! let framework = mesos::FrameworkInfo { name: "example".into(), ..Default::default() };
//! let (scheduler, mut incoming) = Scheduler::start(SchedulerOptions::new("localhost:5050", framework))?;
//! while let Some(Incoming::Event(event)) = incoming.recv().await {
//!     if let Some(offers) = event.offers {
//!         let offer_ids = offers.offers.into_iter().map(|offer| offer.id).collect();
//!         scheduler
//!             .call(scheduler::Call {
//!                 r#type: Some(scheduler::call::Type::Decline),
//!                 decline: Some(scheduler::call::Decline { offer_ids, ..Default::default() }),
//!                 ..Default::default()
//!             })
//!             .await?;
//!     }
//! }
//! # Ok(())
//! # }
//! ```

mod http;
mod instance;
mod leader;
mod scheduler;
mod store;
mod subscription;

pub use coordination::{Change, ContenderError, Detected, DetectorError, Epoch, Lease, UrlError};
pub use http::{HttpClient, HttpError, HttpResponse};
pub use instance::Instance;
pub use scheduler::{
    CallError, ContentType, Credential, EVENTS_MAX, Incoming, Scheduler, SchedulerOptions,
    StartError, SubscribeError,
};
pub use store::{Store, StoreError};
