//! What an answer to SUBSCRIBE means, and when to try again. No I/O here.

use std::time::Duration;

use hyper::StatusCode;

/// Between the first two attempts.
const BACKOFF_MIN: Duration = Duration::from_millis(250);

/// Between attempts when many have failed.
const BACKOFF_MAX: Duration = Duration::from_secs(15);

/// How many masters may point to another one before we wait.
const REDIRECTS_MAX: u32 = 5;

/// How many heartbeats may be missing before a stream counts as dead.
const HEARTBEATS_MISSED_MAX: f64 = 5.0;

/// The heartbeat interval until the master tells its own.
const HEARTBEAT_INTERVAL: Duration = Duration::from_secs(15);

/// What to do after an answer to SUBSCRIBE.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Answer {
    /// Events follow.
    Stream,
    /// The leading master is elsewhere.
    Redirect { authority: String },
    /// The master cannot serve now: there is no leader, or it is recovering.
    Retry,
    /// The master will never accept this subscription.
    Refused,
}

impl Answer {
    pub(crate) fn of(status: StatusCode, location: Option<&str>) -> Self {
        match status {
            StatusCode::OK => Self::Stream,
            StatusCode::TEMPORARY_REDIRECT => match location.and_then(authority_of) {
                Some(authority) => Self::Redirect { authority },
                None => Self::Retry,
            },
            status if status.is_client_error() => Self::Refused,
            _ => Self::Retry,
        }
    }
}

/// The `host:port` of `//host:port/path`, with or without a scheme before it.
fn authority_of(location: &str) -> Option<String> {
    let (scheme, rest) = location.split_once("//")?;
    if !matches!(scheme, "" | "http:") {
        return None;
    }
    let authority = rest.split(['/', '?', '#']).next()?;
    let (host, port) = authority.rsplit_once(':')?;
    (!host.is_empty() && port.parse::<u16>().is_ok()).then(|| authority.to_owned())
}

/// How long a stream may be silent.
pub(crate) fn silence_max(heartbeat_interval_seconds: Option<f64>) -> Duration {
    let interval = heartbeat_interval_seconds
        .and_then(|seconds| Duration::try_from_secs_f64(seconds).ok())
        .filter(|interval| !interval.is_zero() && interval.as_secs() < 86_400)
        .unwrap_or(HEARTBEAT_INTERVAL);
    interval.mul_f64(HEARTBEATS_MISSED_MAX)
}

/// Decides when to try again.
#[derive(Debug)]
pub(crate) struct Attempts {
    backoff: Duration,
    redirects: u32,
}

impl Default for Attempts {
    fn default() -> Self {
        Self { backoff: BACKOFF_MIN, redirects: 0 }
    }
}

impl Attempts {
    /// What has failed so far counts no more: the subscription was accepted, or another master leads.
    pub(crate) const fn start_over(&mut self) {
        self.backoff = BACKOFF_MIN;
        self.redirects = 0;
    }

    /// How long to wait after an attempt failed or a stream ended.
    pub(crate) fn failed(&mut self) -> Duration {
        let wait = self.backoff;
        self.backoff = (self.backoff * 2).min(BACKOFF_MAX);
        self.redirects = 0;
        wait
    }

    /// Whether to go at once where a master points to. Masters that point at each other during an
    /// election make us wait instead.
    pub(crate) const fn may_follow(&mut self) -> bool {
        self.redirects += 1;
        self.redirects <= REDIRECTS_MAX
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers() {
        let redirect = |location| Answer::of(StatusCode::TEMPORARY_REDIRECT, location);
        let to = |authority: &str| Answer::Redirect { authority: authority.to_owned() };
        assert_eq!(redirect(Some("//10.0.0.2:5050/api/v1/scheduler")), to("10.0.0.2:5050"));
        assert_eq!(redirect(Some("http://leader:5051/x?y")), to("leader:5051"));
        for location in [None, Some("/api"), Some("//host/"), Some("https://a:1/"), Some("//:1")] {
            assert_eq!(redirect(location), Answer::Retry);
        }
        assert_eq!(Answer::of(StatusCode::OK, None), Answer::Stream);
        for status in [400, 401, 403, 404, 406, 415] {
            assert_eq!(Answer::of(StatusCode::from_u16(status).unwrap(), None), Answer::Refused);
        }
        for status in [500, 503, 204, 301] {
            assert_eq!(Answer::of(StatusCode::from_u16(status).unwrap(), None), Answer::Retry);
        }
    }

    #[test]
    fn waiting_grows_to_its_bound_and_starts_over() {
        let mut attempts = Attempts::default();
        let waits: Vec<u128> = (0..9).map(|_| attempts.failed().as_millis()).collect();
        assert_eq!(waits, [250, 500, 1000, 2000, 4000, 8000, 15000, 15000, 15000]);
        attempts.start_over();
        assert_eq!(attempts.failed(), BACKOFF_MIN);
    }

    #[test]
    fn masters_that_point_at_each_other_make_us_wait() {
        let mut attempts = Attempts::default();
        for _ in 0..REDIRECTS_MAX {
            assert!(attempts.may_follow());
        }
        assert!(!attempts.may_follow());
        attempts.failed();
        assert!(attempts.may_follow());
    }

    #[test]
    fn silence() {
        assert_eq!(silence_max(Some(2.0)), Duration::from_secs(10));
        for absurd in [None, Some(0.0), Some(-1.0), Some(f64::NAN), Some(1e300)] {
            assert_eq!(silence_max(absurd), Duration::from_secs(75));
        }
    }
}
