//! CRAM-MD5 (RFC 2195) in Mesos' messages (`src/authentication/cram_md5`).
//!
//! | step | who | message |
//! |---|---|---|
//! | 1 | client | `AuthenticateMessage`, to the master |
//! | 2 | server | `AuthenticationMechanismsMessage` with `CRAM-MD5` |
//! | 3 | client | `AuthenticationStartMessage` |
//! | 4 | server | `AuthenticationStepMessage` with the challenge |
//! | 5 | client | `AuthenticationStepMessage` with the principal and the keyed digest of the challenge |
//! | 6 | server | `AuthenticationCompletedMessage`, `…FailedMessage` or `…ErrorMessage` |

use std::fmt::{self, Write as _};

use hmac::{Hmac, KeyInit as _, Mac as _};
use md5::Md5;
use protocol::internal::{
    AuthenticationCompletedMessage, AuthenticationErrorMessage, AuthenticationFailedMessage,
    AuthenticationMechanismsMessage, AuthenticationStartMessage, AuthenticationStepMessage,
};
use protocol::messages::Authentication;

use crate::{Credential, Credentials};

/// The only mechanism that Mesos has.
pub const MECHANISM: &str = "CRAM-MD5";

/// The key from which challenges are derived. From the operating system's random numbers in production;
/// its debug form hides it.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
pub struct ChallengeKey(pub [u8; 16]);

impl fmt::Debug for ChallengeKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ChallengeKey")
    }
}

type HmacMd5 = Hmac<Md5>;

fn keyed(secret: &[u8], text: &[u8]) -> HmacMd5 {
    #[expect(clippy::expect_used, reason = "HMAC takes keys of any length")]
    let mut digest = HmacMd5::new_from_slice(secret).expect("HMAC takes keys of any length");
    digest.update(text);
    digest
}

fn hexadecimal(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        // Writing to a String cannot fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}

/// The challenge number `number`: unique, and nobody without `key` can tell it beforehand.
#[must_use]
pub fn challenge(key: ChallengeKey, number: u64) -> Vec<u8> {
    let digest = keyed(&key.0, &number.to_be_bytes()).finalize().into_bytes();
    format!("<{}.{number}@meseta>", hexadecimal(&digest)).into_bytes()
}

/// The answer to a challenge.
#[must_use]
pub fn answer(credential: &Credential, challenge: &[u8]) -> Vec<u8> {
    let digest = keyed(credential.secret.as_bytes(), challenge).finalize().into_bytes();
    format!("{} {}", credential.principal, hexadecimal(&digest)).into_bytes()
}

/// The principal of a right answer.
fn verified(credentials: &Credentials, challenge: &[u8], answer: &[u8]) -> Option<String> {
    let (principal, digest) = std::str::from_utf8(answer).ok()?.rsplit_once(' ')?;
    let mut bytes = Vec::with_capacity(16);
    for pair in digest.as_bytes().chunks(2) {
        let pair = std::str::from_utf8(pair).ok().filter(|pair| pair.len() == 2)?;
        bytes.push(u8::from_str_radix(pair, 16).ok()?);
    }
    let secret = credentials.secret(principal)?;
    keyed(secret.as_bytes(), challenge).verify_slice(&bytes).ok()?;
    Some(principal.to_owned())
}

/// How far the master's side of a handshake is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Progress {
    /// The client is to go on.
    Waiting,
    /// The client is this principal.
    Authenticated(String),
    /// The client is not who it says, or does not follow the protocol.
    Refused,
}

/// The master's side of one handshake.
#[derive(Clone, Debug)]
pub struct Session {
    challenge: Vec<u8>,
    state: SessionState,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum SessionState {
    Starting,
    Stepping,
    Ended,
}

impl Session {
    /// A handshake with its challenge, and what is to be sent first.
    #[must_use]
    pub fn new(challenge: Vec<u8>) -> (Self, Authentication) {
        let offer = AuthenticationMechanismsMessage {
            mechanisms: vec![MECHANISM.to_owned()],
            ..Default::default()
        };
        (Self { challenge, state: SessionState::Starting }, offer.into())
    }

    /// Takes a message of the client; gives the answer, and how far the handshake is.
    pub fn handle(
        &mut self,
        credentials: &Credentials,
        message: &Authentication,
    ) -> (Authentication, Progress) {
        match (self.state, message) {
            (SessionState::Starting, Authentication::Start(start)) => {
                if start.mechanism != MECHANISM {
                    return self.refuse(format!(
                        "Mechanism '{}' is not supported: use {MECHANISM}",
                        start.mechanism
                    ));
                }
                self.state = SessionState::Stepping;
                let data = self.challenge.clone();
                let step = AuthenticationStepMessage { data, ..Default::default() };
                (step.into(), Progress::Waiting)
            }
            (SessionState::Stepping, Authentication::Step(step)) => {
                self.state = SessionState::Ended;
                match verified(credentials, &self.challenge, &step.data) {
                    Some(principal) => (
                        AuthenticationCompletedMessage::default().into(),
                        Progress::Authenticated(principal),
                    ),
                    None => (AuthenticationFailedMessage::default().into(), Progress::Refused),
                }
            }
            (
                SessionState::Starting | SessionState::Stepping | SessionState::Ended,
                Authentication::Start(_)
                | Authentication::Step(_)
                | Authentication::Mechanisms(_)
                | Authentication::Completed(_)
                | Authentication::Failed(_)
                | Authentication::Error(_),
            ) => {
                let what = match message {
                    Authentication::Start(_) => "start",
                    Authentication::Step(_) => "step",
                    Authentication::Mechanisms(_) => "mechanisms",
                    Authentication::Completed(_) => "completed",
                    Authentication::Failed(_) => "failed",
                    Authentication::Error(_) => "error",
                };
                self.refuse(format!("Unexpected authentication '{what}' received"))
            }
        }
    }

    fn refuse(&mut self, error: String) -> (Authentication, Progress) {
        self.state = SessionState::Ended;
        let message = AuthenticationErrorMessage { error: Some(error), ..Default::default() };
        (message.into(), Progress::Refused)
    }
}

/// What the client's side of a handshake does next.
#[derive(Clone, Debug, PartialEq)]
pub enum Next {
    /// Send this to whoever sent the message.
    Reply(Authentication),
    /// The server believes us.
    Authenticated,
    /// It does not, for this reason.
    Refused(String),
}

/// The client's side of one handshake, after `AuthenticateMessage` was sent.
#[derive(Clone, Debug)]
pub struct Authenticatee {
    credential: Credential,
    started: bool,
}

impl Authenticatee {
    /// A handshake that has not begun.
    #[must_use]
    pub fn new(credential: Credential) -> Self {
        Self { credential, started: false }
    }

    /// Takes a message of the server.
    pub fn handle(&mut self, message: &Authentication) -> Next {
        match message {
            Authentication::Mechanisms(offered) => {
                if !offered.mechanisms.iter().any(|mechanism| mechanism == MECHANISM) {
                    return Next::Refused(format!(
                        "the master offers no {MECHANISM} but '{}'",
                        offered.mechanisms.join(", ")
                    ));
                }
                self.started = true;
                let start = AuthenticationStartMessage {
                    mechanism: MECHANISM.to_owned(),
                    data: Some(Vec::new()),
                    ..Default::default()
                };
                Next::Reply(start.into())
            }
            Authentication::Step(step) if self.started => {
                let data = answer(&self.credential, &step.data);
                Next::Reply(AuthenticationStepMessage { data, ..Default::default() }.into())
            }
            Authentication::Completed(_) if self.started => Next::Authenticated,
            Authentication::Failed(_) => {
                let principal = &self.credential.principal;
                Next::Refused(format!("the master does not accept the secret of '{principal}'"))
            }
            Authentication::Error(error) => {
                Next::Refused(error.error.clone().unwrap_or_else(|| "no reason given".to_owned()))
            }
            Authentication::Step(_) | Authentication::Completed(_) | Authentication::Start(_) => {
                Next::Refused("the master does not keep to the protocol".to_owned())
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn credential() -> Credential {
        Credential::parse("tim tanstaaftanstaaf").unwrap()
    }

    fn credentials() -> Credentials {
        Credentials::parse("tim tanstaaftanstaaf\nbob other").unwrap()
    }

    #[test]
    fn the_example_of_the_rfc_is_answered_as_in_the_rfc() {
        let challenge = b"<1896.697170952@postoffice.reston.mci.net>";
        let expected = b"tim b913a602c7eda7a495b4e6e7334d3890";
        assert_eq!(answer(&credential(), challenge), expected);
        assert_eq!(verified(&credentials(), challenge, expected).as_deref(), Some("tim"));
    }

    #[test]
    fn both_sides_agree() {
        let (mut session, first) = Session::new(challenge(ChallengeKey([7; 16]), 1));
        let mut client = Authenticatee::new(credential());
        let Next::Reply(start) = client.handle(&first) else { panic!("no start") };
        let (step, progress) = session.handle(&credentials(), &start);
        assert_eq!(progress, Progress::Waiting);
        let Next::Reply(answer) = client.handle(&step) else { panic!("no answer") };
        let (last, progress) = session.handle(&credentials(), &answer);
        assert_eq!(progress, Progress::Authenticated("tim".to_owned()));
        assert_eq!(client.handle(&last), Next::Authenticated);
        // A session takes no second answer.
        let (_, progress) = session.handle(&credentials(), &answer);
        assert_eq!(progress, Progress::Refused);
    }

    #[test]
    fn wrong_answers_are_refused() {
        let challenge = b"<1@x>".to_vec();
        let right = answer(&credential(), &challenge);
        let mut other_principal = b"bob".to_vec();
        other_principal.extend_from_slice(&right[3..]);
        for wrong in [
            &other_principal[..],
            &right[..right.len() - 2],
            &right[4..],
            b"",
            b"tim ",
            b"tim zz",
            b"\xff \xff",
            b"nobody b913a602c7eda7a495b4e6e7334d3890",
        ] {
            assert_eq!(verified(&credentials(), &challenge, wrong), None, "{wrong:?}");
        }
        assert_eq!(
            verified(&credentials(), b"<2@x>", &right),
            None,
            "an answer fits one challenge"
        );
    }

    #[test]
    fn challenges_differ_by_key_and_number() {
        let one = challenge(ChallengeKey([1; 16]), 1);
        assert_ne!(one, challenge(ChallengeKey([1; 16]), 2));
        assert_ne!(one, challenge(ChallengeKey([2; 16]), 1));
    }

    #[test]
    fn messages_out_of_turn_end_the_session() {
        let step: Authentication = AuthenticationStepMessage::default().into();
        let (mut session, _) = Session::new(challenge(ChallengeKey([0; 16]), 0));
        let (answer, progress) = session.handle(&credentials(), &step);
        assert_eq!(progress, Progress::Refused);
        let Authentication::Error(error) = answer else { panic!("{answer:?}") };
        assert_eq!(error.error.as_deref(), Some("Unexpected authentication 'step' received"));
        assert!(matches!(Authenticatee::new(credential()).handle(&step), Next::Refused(_)));
    }
}
