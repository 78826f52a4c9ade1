//! The agent proves to the master who it is, before it registers (`src/slave/slave.cpp`, `authenticate`).

use std::time::{Duration, Instant};

use ::authentication::Credential;
use ::authentication::cram_md5::{Authenticatee, Next};
use libprocess::Node;
use protocol::internal::AuthenticateMessage;
use protocol::messages::{AgentToMaster, Authentication};
use protocol::pid::Pid;

use super::machine::ACTOR;

/// What the names of the actors that take part in handshakes begin with.
pub(super) const AUTHENTICATEE: &str = "crammd5-authenticatee";

/// How long one attempt may take: a random time between a least one and a bound that grows with each
/// attempt that took too long, so that the agents of a cluster do not come back all at once.
#[derive(Clone, Copy, Debug)]
pub struct AuthenticationTimeouts {
    /// `--authentication_timeout_min`.
    pub min: Duration,
    /// `--authentication_timeout_max`: the bound grows up to this.
    pub max: Duration,
    /// `--authentication_backoff_factor`: the first bound is twice this above the least time, the next
    /// one four times and so on.
    pub backoff_factor: Duration,
}

impl AuthenticationTimeouts {
    /// The time of an attempt after so many that took too long.
    fn draw(&self, late_attempts: u32) -> Duration {
        let growth = 2_u32.saturating_pow(late_attempts.saturating_add(1));
        let bound = self.min.saturating_add(self.backoff_factor.saturating_mul(growth));
        let spread = bound.min(self.max).saturating_sub(self.min);
        self.min + spread.mul_f64(random_share())
    }
}

/// Between 0 and 1; in the middle on machines that have no random numbers.
fn random_share() -> f64 {
    let thousandths = crate::host::random_seed().map_or(500, |seed| seed % 1000);
    u32::try_from(thousandths).map_or(0.5, |it| f64::from(it) / 1000.0)
}

impl Default for AuthenticationTimeouts {
    /// Mesos' defaults.
    fn default() -> Self {
        Self {
            min: Duration::from_secs(5),
            max: Duration::from_secs(60),
            backoff_factor: Duration::from_secs(1),
        }
    }
}

#[derive(Debug)]
struct Attempt {
    actor: String,
    master: Pid,
    authenticatee: Authenticatee,
    begun: Instant,
    timeout: Duration,
}

/// The agent's side of handshakes; one at a time.
#[derive(Debug)]
pub(super) struct Authentications {
    node: Node,
    credential: Credential,
    timeouts: AuthenticationTimeouts,
    /// Since the last success.
    late_attempts: u32,
    count: u64,
    attempt: Option<Attempt>,
}

impl Authentications {
    pub(super) fn new(
        node: Node,
        credential: Credential,
        timeouts: AuthenticationTimeouts,
    ) -> Self {
        node.register_actor_prefix(AUTHENTICATEE);
        Self { node, credential, timeouts, late_attempts: 0, count: 0, attempt: None }
    }

    /// Begins a handshake with the master. One that is under way goes on, unless it takes too long or is
    /// with another master.
    pub(super) fn begin(&mut self, master: &Pid) {
        if let Some(attempt) = self.attempt.take() {
            let is_late = attempt.begun.elapsed() >= attempt.timeout;
            if attempt.master == *master && !is_late {
                self.attempt = Some(attempt);
                return;
            }
            if is_late {
                tracing::warn!(%master, timeout = ?attempt.timeout, "the authentication took too long");
                self.late_attempts = self.late_attempts.saturating_add(1);
            }
        }
        self.count += 1;
        // A name of its own for each attempt: what an old session still says finds nobody.
        let actor = format!("{AUTHENTICATEE}({})", self.count);
        let pid = self.node.pid(ACTOR).to_string();
        let message: AgentToMaster = AuthenticateMessage { pid, ..Default::default() }.into();
        self.node.send(&actor, master, message.name(), message.encode());
        self.attempt = Some(Attempt {
            actor,
            master: master.clone(),
            authenticatee: Authenticatee::new(self.credential.clone()),
            begun: Instant::now(),
            timeout: self.timeouts.draw(self.late_attempts),
        });
    }

    /// Takes a message to one of the actors; gives the master and the result when the handshake has ended.
    pub(super) fn handle(
        &mut self,
        actor: &str,
        from: &Pid,
        message: &Authentication,
    ) -> Option<(Pid, Result<(), String>)> {
        let attempt = self.attempt.as_mut()?;
        if attempt.actor != actor || attempt.master.address != from.address {
            return None;
        }
        let result = match attempt.authenticatee.handle(message) {
            Next::Reply(reply) => {
                self.node.send(actor, from, reply.name(), reply.encode());
                return None;
            }
            Next::Authenticated => {
                self.late_attempts = 0;
                Ok(())
            }
            Next::Refused(reason) => Err(reason),
        };
        self.attempt.take().map(|attempt| (attempt.master, result))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn attempts_may_take_longer_the_more_were_too_slow() {
        let timeouts = AuthenticationTimeouts::default();
        let longest = |late| (0..200).map(|_| timeouts.draw(late)).max().unwrap();
        for (late, bound) in [(0, 7), (1, 9), (2, 13), (5, 60), (u32::MAX, 60)] {
            let bound = Duration::from_secs(bound);
            assert!(longest(late) <= bound, "{late}: {:?}", longest(late));
            assert!(longest(late) > bound.mul_f64(0.8), "{late}: {:?}", longest(late));
            assert!(timeouts.draw(late) >= timeouts.min);
        }
        // A maximum below the minimum does not count.
        let odd = AuthenticationTimeouts { max: Duration::from_secs(1), ..timeouts };
        assert_eq!(odd.draw(3), odd.min);
    }
}
