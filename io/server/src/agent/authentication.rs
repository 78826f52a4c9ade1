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

/// How long one attempt may take (`--authentication_timeout_min`, `--authentication_timeout_max`).
#[derive(Clone, Copy, Debug)]
pub struct AuthenticationTimeouts {
    /// The first attempt.
    pub min: Duration,
    /// Attempts that come after ones that took too long: twice as long each, up to this.
    pub max: Duration,
}

impl Default for AuthenticationTimeouts {
    /// Mesos' defaults.
    fn default() -> Self {
        Self { min: Duration::from_secs(5), max: Duration::from_secs(60) }
    }
}

#[derive(Debug)]
struct Attempt {
    actor: String,
    master: Pid,
    authenticatee: Authenticatee,
    begun: Instant,
}

/// The agent's side of handshakes; one at a time.
#[derive(Debug)]
pub(super) struct Authentications {
    node: Node,
    credential: Credential,
    timeouts: AuthenticationTimeouts,
    timeout: Duration,
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
        Self { node, credential, timeouts, timeout: timeouts.min, count: 0, attempt: None }
    }

    /// Begins a handshake with the master. One that is under way goes on, unless it takes too long or is
    /// with another master.
    pub(super) fn begin(&mut self, master: &Pid) {
        if let Some(attempt) = self.attempt.take() {
            let is_late = attempt.begun.elapsed() >= self.timeout;
            if attempt.master == *master && !is_late {
                self.attempt = Some(attempt);
                return;
            }
            if is_late {
                tracing::warn!(%master, timeout = ?self.timeout, "the authentication took too long");
                self.timeout = (self.timeout * 2).min(self.timeouts.max);
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
                self.timeout = self.timeouts.min;
                Ok(())
            }
            Next::Refused(reason) => Err(reason),
        };
        self.attempt.take().map(|attempt| (attempt.master, result))
    }
}
