//! How much the process logs: operators raise it for a while (`/logging/toggle`, `SET_LOGGING_LEVEL`).
//!
//! Mesos' levels are those of glog: 0 is what the flags ask for, and more is more.

use std::sync::{Arc, LazyLock, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use hyper::StatusCode;
use protocol::mesos::DurationInfo;

use crate::http::{Query, Response};

/// The log of this process; every daemon in it writes there.
static PROCESS: LazyLock<Arc<Verbosity>> = LazyLock::new(Arc::default);

type Apply = Box<dyn Fn(u32) + Send>;

#[derive(Default)]
struct State {
    level: u32,
    /// Grows with each change, so that a timer knows whether it is still wanted.
    changes: u64,
    apply: Option<Apply>,
}

/// A level that falls back to 0 after a while.
#[derive(Default)]
struct Verbosity(Mutex<State>);

impl Verbosity {
    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Sets the level, and returns the number of this change.
    fn set(&self, level: u32) -> u64 {
        let mut state = self.state();
        state.level = level;
        state.changes += 1;
        if let Some(apply) = &state.apply {
            apply(level);
        }
        state.changes
    }

    /// Sets the level for a while. A later call takes the place of this one.
    fn set_for(self: &Arc<Self>, level: u32, duration: Duration) {
        let change = self.set(level);
        tracing::info!("the logging level is {level}");
        if level == 0 {
            return;
        }
        let verbosity = Arc::clone(self);
        tokio::spawn(async move {
            tokio::time::sleep(duration).await;
            if verbosity.state().changes == change {
                verbosity.set(0);
                tracing::info!("the logging level is 0 again");
            }
        });
    }
}

/// Says what to do when the level changes. The program that set up the log knows.
pub fn on_change(apply: impl Fn(u32) + Send + 'static) {
    PROCESS.state().apply = Some(Box::new(apply));
}

/// The present level.
pub(crate) fn level() -> u32 {
    PROCESS.state().level
}

/// Sets the level for a while. To be called on the runtime.
pub(crate) fn set_for(level: u32, duration: Duration) {
    PROCESS.set_for(level, duration);
}

/// How long a call asks for; nothing when it is negative.
pub(crate) fn duration(duration: &DurationInfo) -> Duration {
    Duration::from_nanos(u64::try_from(duration.nanoseconds).unwrap_or(0))
}

/// Answers `/logging/toggle`.
pub(crate) fn toggle(query: &Query) -> Response {
    match parse(query) {
        Ok(None) => Response::text(StatusCode::OK, format!("{}\n", level())),
        Ok(Some((level, duration))) => {
            set_for(level, duration);
            Response::empty(StatusCode::OK)
        }
        Err(error) => Response::bad_request(format!("{error}\n")),
    }
}

fn parse(query: &Query) -> Result<Option<(u32, Duration)>, String> {
    let (level, duration) = match (query.get("level"), query.get("duration")) {
        (None, None) => return Ok(None),
        (None, Some(_)) => return Err("Expecting 'level=value' in query.".to_owned()),
        (Some(_), None) => return Err("Expecting 'duration=value' in query.".to_owned()),
        (Some(level), Some(duration)) => (level, duration),
    };
    let number: i32 =
        level.parse().map_err(|_| format!("Failed to convert '{level}' to number."))?;
    let number = u32::try_from(number).map_err(|_| format!("Invalid level '{number}'."))?;
    let duration = protocol::duration::parse(duration).map_err(|error| format!("{error}."))?;
    Ok(Some((number, duration)))
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_level_reverts_and_a_later_one_takes_its_place() {
        let (sender, changes) = mpsc::channel();
        let verbosity = Arc::new(Verbosity::default());
        verbosity.state().apply = Some(Box::new(move |level| {
            let _ = sender.send(level);
        }));
        verbosity.set_for(1, Duration::from_secs(10));
        tokio::time::sleep(Duration::from_secs(5)).await;
        verbosity.set_for(3, Duration::from_secs(10));
        tokio::time::sleep(Duration::from_secs(9)).await;
        assert_eq!(verbosity.state().level, 3);
        tokio::time::sleep(Duration::from_secs(2)).await;
        assert_eq!(verbosity.state().level, 0);
        assert_eq!(changes.try_iter().collect::<Vec<u32>>(), [1, 3, 0]);
    }

    #[test]
    fn what_is_wrong_is_named_as_mesos_names_it() {
        let error = |text: &str| parse(&Query::parse(text).unwrap()).unwrap_err();
        assert_eq!(error("level=1"), "Expecting 'duration=value' in query.");
        assert_eq!(error("duration=1secs"), "Expecting 'level=value' in query.");
        assert_eq!(error("level=x&duration=1secs"), "Failed to convert 'x' to number.");
        assert_eq!(error("level=-1&duration=1secs"), "Invalid level '-1'.");
        assert_eq!(error("level=1&duration=soon"), "Invalid duration 'soon'.");
    }
}
