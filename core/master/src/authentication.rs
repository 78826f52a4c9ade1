//! Agents and drivers prove who they are, before they register or subscribe.

use std::collections::BTreeMap;

use ::authentication::cram_md5::{Progress, Session, challenge};
use indexmap::IndexMap;
use protocol::internal::{AuthenticateMessage, AuthenticationErrorMessage};
use protocol::mesos::FrameworkInfo;
use protocol::messages::Authentication;
use protocol::pid::Pid;

use crate::Master;
use crate::effect::Effect;
use crate::event::Event;
use crate::metrics::Counter;
use crate::timer::{Timer, TimerKey};

/// What the names of the master's authentication sessions begin with.
pub const SESSION_ACTOR: &str = "crammd5-authenticator-session";

/// Authentications that may be under way at once: more than agents that come back together.
const ATTEMPTS_MAX: usize = 200_000;

/// Principals remembered for peers that may never register. The oldest is forgotten beyond it.
const PRINCIPALS_MAX: usize = 400_000;

/// One authentication under way.
#[derive(Clone, Debug)]
struct Attempt {
    number: u64,
    actor: String,
    /// The actor of the peer that takes part in the handshake.
    authenticatee: Pid,
    session: Session,
    timer: TimerKey,
    /// The last registration that came meanwhile. Peers repeat theirs, and each says all.
    waiting: Option<Box<Event>>,
}

/// Who a peer has proved to be.
#[derive(Clone, Debug)]
struct Proven {
    principal: String,
    /// Whether it has registered or subscribed since.
    used: bool,
}

/// Who is authenticating, and who has.
#[derive(Clone, Debug, Default)]
pub(crate) struct Authentications {
    count: u64,
    /// By the pid of the agent or driver.
    attempts: BTreeMap<Pid, Attempt>,
    sessions: BTreeMap<String, Pid>,
    proven: IndexMap<Pid, Proven>,
}

impl Master {
    /// `AuthenticateMessage`, from the actor of a peer that takes part in the handshake.
    pub(crate) fn authenticate(&mut self, from: Pid, message: &AuthenticateMessage) {
        self.metrics.add(Counter::MessagesAuthenticate);
        let Ok(client) = message.pid.parse::<Pid>() else {
            self.metrics.add(Counter::DroppedMessages);
            return;
        };
        self.authentications.proven.shift_remove(&client);
        let waiting = self.end_attempt(&client).and_then(|attempt| attempt.waiting);
        let number = self.authentications.count;
        self.authentications.count += 1;
        let actor = format!("{SESSION_ACTOR}({number})");
        let refusal = if self.config.credentials.is_none() {
            Some("No authenticator loaded")
        } else if self.authentications.attempts.len() >= ATTEMPTS_MAX {
            Some("Too many authentications are in progress")
        } else {
            None
        };
        if let Some(error) = refusal {
            let error = Some(error.to_owned());
            let message = AuthenticationErrorMessage { error, ..Default::default() };
            self.send_authentication(actor, from, message.into());
            return;
        }
        let (session, first) = Session::new(challenge(self.config.challenge_key, number));
        let at = self.now + self.config.authentication_timeout;
        let timer = self.timers.start(at, Timer::Authentication(client.clone(), number));
        self.authentications.sessions.insert(actor.clone(), client.clone());
        let authenticatee = from.clone();
        let attempt =
            Attempt { number, actor: actor.clone(), authenticatee, session, timer, waiting };
        self.authentications.attempts.insert(client, attempt);
        self.send_authentication(actor, from, first);
    }

    /// A message to an authentication session.
    pub(crate) fn authentication_message(
        &mut self,
        from: &Pid,
        actor: &str,
        message: &Authentication,
    ) {
        let client = self.authentications.sessions.get(actor).cloned();
        let attempt = client.as_ref().and_then(|it| self.authentications.attempts.get_mut(it));
        let (Some(client), Some(attempt), Some(credentials)) =
            (client, attempt, &self.config.credentials)
        else {
            self.metrics.add(Counter::DroppedMessages);
            return;
        };
        // A session talks with the actor that asked for it and with nobody else.
        if attempt.authenticatee != *from {
            self.metrics.add(Counter::DroppedMessages);
            return;
        }
        let (answer, progress) = attempt.session.handle(credentials, message);
        self.send_authentication(actor.to_owned(), from.clone(), answer);
        match progress {
            Progress::Waiting => {}
            Progress::Authenticated(principal) => {
                let proven = &mut self.authentications.proven;
                proven.insert(client.clone(), Proven { principal, used: false });
                if proven.len() > PRINCIPALS_MAX {
                    proven.shift_remove_index(0);
                }
                self.authentication_ended(&client);
            }
            Progress::Refused => self.authentication_ended(&client),
        }
    }

    /// An authentication takes too long.
    pub(crate) fn authentication_timeout(&mut self, client: &Pid, number: u64) {
        let attempt = self.authentications.attempts.get(client);
        if attempt.is_some_and(|attempt| attempt.number == number) {
            self.authentication_ended(client);
        }
    }

    pub(crate) fn is_authenticating(&self, client: &Pid) -> bool {
        self.authentications.attempts.contains_key(client)
    }

    /// Keeps a registration until the authentication has ended, whatever its end is.
    pub(crate) fn wait_for_authentication(&mut self, client: &Pid, event: Event) {
        if let Some(attempt) = self.authentications.attempts.get_mut(client) {
            attempt.waiting = Some(Box::new(event));
        }
    }

    /// Who a peer that registers or subscribes now has proved to be.
    pub(crate) fn use_principal(&mut self, client: &Pid) -> Option<&String> {
        let proven = self.authentications.proven.get_mut(client)?;
        proven.used = true;
        Some(&proven.principal)
    }

    /// Forgets who a peer is, as its connection is gone: it authenticates before it comes back.
    ///
    /// One that has authenticated again and not come back yet is left alone: what broke is an older
    /// connection.
    pub(crate) fn forget_principal(&mut self, client: &Pid) {
        if self.authentications.proven.get(client).is_some_and(|proven| proven.used) {
            self.authentications.proven.swap_remove(client);
        }
    }

    /// Whether a driver may subscribe as what it says it is; takes its principal over if it names none.
    pub(crate) fn authenticated_driver(
        &mut self,
        from: &Pid,
        info: &mut FrameworkInfo,
    ) -> Result<(), String> {
        let required = self.config.authenticate_frameworks;
        let principal = self.use_principal(from);
        if required && principal.is_none() {
            return Err(format!("Framework at {from} is not authenticated"));
        }
        match (&info.principal, principal) {
            (Some(named), Some(principal)) if named != principal => Err(format!(
                "Framework principal '{named}' does not match authenticated principal '{principal}'"
            )),
            (Some(_), _) | (None, None) => Ok(()),
            (None, Some(principal)) => {
                info.principal = Some(principal.clone());
                Ok(())
            }
        }
    }

    fn authentication_ended(&mut self, client: &Pid) {
        let waiting = self.end_attempt(client).and_then(|attempt| attempt.waiting);
        match waiting.map(|event| *event) {
            Some(Event::AgentMessage { from, message }) => self.agent_message(from, *message),
            Some(Event::SchedulerMessage { from, message }) => self.driver_message(from, *message),
            Some(
                Event::Authentication { .. }
                | Event::Exited { .. }
                | Event::SchedulerSubscribe { .. }
                | Event::SchedulerCall { .. }
                | Event::ConnectionClosed { .. }
                | Event::OperatorCall { .. }
                | Event::OperatorSubscribe { .. }
                | Event::WhitelistChanged { .. }
                | Event::Persisted { .. },
            )
            | None => {}
        }
    }

    fn end_attempt(&mut self, client: &Pid) -> Option<Attempt> {
        let attempt = self.authentications.attempts.remove(client)?;
        self.authentications.sessions.remove(&attempt.actor);
        self.timers.cancel(attempt.timer);
        Some(attempt)
    }

    fn send_authentication(&mut self, actor: String, to: Pid, message: Authentication) {
        let message = Box::new(message);
        self.effects.push(Effect::SendAuthentication { actor, to, message });
    }
}
