//! Agents and drivers authenticate before they register and subscribe.

use std::time::Duration;

use authentication::cram_md5::{Authenticatee, Next};
use authentication::{Credential, Credentials};
use master::{Config, Effect, Event};
use protocol::internal::{AuthenticateMessage, RegisterFrameworkMessage};
use protocol::mesos::FrameworkInfo;
use protocol::messages::{Authentication, MasterToScheduler};
use protocol::pid::Pid;

use crate::cluster::{
    Cluster, agent_pid, config, framework_info, names, registered_id, registration, to_driver,
};

fn authenticatee() -> Pid {
    "crammd5-authenticatee(1)@10.0.0.1:5051".parse().unwrap()
}

fn driver() -> Pid {
    "scheduler-1@10.0.0.1:5051".parse().unwrap()
}

fn strict() -> Cluster {
    Cluster::with(Config {
        authenticate_agents: true,
        authenticate_frameworks: true,
        credentials: Some(Credentials::parse("p secret").unwrap()),
        ..config()
    })
}

fn begin(client: &Pid) -> AuthenticateMessage {
    AuthenticateMessage { pid: client.to_string(), ..Default::default() }
}

/// What a session says, and its name.
fn said(effects: &[Effect]) -> Option<(String, Authentication)> {
    effects.iter().find_map(|effect| match effect {
        Effect::SendAuthentication { actor, to, message } if *to == authenticatee() => {
            Some((actor.clone(), (**message).clone()))
        }
        _ => None,
    })
}

fn answer(cluster: &mut Cluster, from: Pid, actor: &str, message: Authentication) -> Vec<Effect> {
    let actor = actor.to_owned();
    cluster.event(Event::Authentication { from, actor, message: Box::new(message) })
}

/// Goes through the handshake; gives the last effects, and whether it succeeded.
fn handshake(cluster: &mut Cluster, client: &Pid, credential: &str) -> (Vec<Effect>, bool) {
    let mut peer = Authenticatee::new(Credential::parse(credential).unwrap());
    let mut effects = cluster.agent_message(&authenticatee(), begin(client));
    for _ in 0..4 {
        let (actor, message) = said(&effects).expect("the session answers");
        match peer.handle(&message) {
            Next::Reply(reply) => effects = answer(cluster, authenticatee(), &actor, reply),
            Next::Authenticated => return (effects, true),
            Next::Refused(_) => return (effects, false),
        }
    }
    panic!("the handshake has no end");
}

fn subscribe(cluster: &mut Cluster, info: FrameworkInfo) -> Vec<Effect> {
    let message = RegisterFrameworkMessage { framework: info, ..Default::default() };
    cluster.driver_message(&driver(), message)
}

fn error(effects: &[Effect]) -> Option<String> {
    to_driver(effects, &driver()).into_iter().find_map(|message| match message {
        MasterToScheduler::FrameworkError(error) => Some(error.message.clone()),
        _ => None,
    })
}

#[test]
fn an_agent_registers_only_after_it_has_authenticated() {
    let mut cluster = strict();
    let pid = agent_pid(1);
    assert!(cluster.agent_message(&pid, registration(1)).is_empty());
    assert!(!handshake(&mut cluster, &pid, "p wrong").1);
    assert!(!handshake(&mut cluster, &pid, "q secret").1);
    assert!(cluster.agent_message(&pid, registration(1)).is_empty());

    assert!(handshake(&mut cluster, &pid, "p secret").1);
    // What one has proved is not proved for another.
    assert!(cluster.agent_message(&agent_pid(2), registration(2)).is_empty());
    let effects = cluster.agent_message(&pid, registration(1));
    assert!(registered_id(&effects).is_some());
}

#[test]
fn a_registration_waits_for_the_authentication_that_is_under_way() {
    let mut cluster = strict();
    let pid = agent_pid(1);
    let mut peer = Authenticatee::new(Credential::parse("p secret").unwrap());
    let effects = cluster.agent_message(&authenticatee(), begin(&pid));
    let (actor, message) = said(&effects).unwrap();
    let Next::Reply(start) = peer.handle(&message) else { panic!("no start") };
    let effects = answer(&mut cluster, authenticatee(), &actor, start);
    for _ in 0..3 {
        assert!(cluster.agent_message(&pid, registration(1)).is_empty());
    }
    let (_, message) = said(&effects).unwrap();
    let Next::Reply(step) = peer.handle(&message) else { panic!("no step") };
    let effects = answer(&mut cluster, authenticatee(), &actor, step);
    assert!(registered_id(&effects).is_some(), "{effects:?}");
}

#[test]
fn an_authentication_that_takes_too_long_ends_and_lets_the_peer_try_again() {
    let mut cluster = strict();
    let pid = agent_pid(1);
    let effects = cluster.agent_message(&authenticatee(), begin(&pid));
    let (actor, message) = said(&effects).unwrap();
    cluster.agent_message(&pid, registration(1));
    let effects = cluster.advance(Duration::from_secs(15));
    assert!(registered_id(&effects).is_none(), "it was not authenticated");
    let mut peer = Authenticatee::new(Credential::parse("p secret").unwrap());
    let Next::Reply(start) = peer.handle(&message) else { panic!("no start") };
    assert!(said(&answer(&mut cluster, authenticatee(), &actor, start)).is_none());
    assert!(handshake(&mut cluster, &pid, "p secret").1);
}

#[test]
fn nobody_else_takes_part_in_a_handshake() {
    let mut cluster = strict();
    let effects = cluster.agent_message(&authenticatee(), begin(&agent_pid(1)));
    let (actor, message) = said(&effects).unwrap();
    let mut peer = Authenticatee::new(Credential::parse("p secret").unwrap());
    let Next::Reply(start) = peer.handle(&message) else { panic!("no start") };
    let stranger = "crammd5-authenticatee(1)@10.0.0.9:5051".parse().unwrap();
    assert!(answer(&mut cluster, stranger, &actor, start.clone()).is_empty());
    assert!(
        answer(&mut cluster, authenticatee(), "crammd5-authenticator-session(99)", start)
            .is_empty()
    );
}

#[test]
fn a_peer_whose_connection_broke_authenticates_again() {
    let mut cluster = strict();
    let pid = agent_pid(1);
    assert!(handshake(&mut cluster, &pid, "p secret").1);
    // The end of an older connection does not undo what was proved since.
    cluster.event(Event::Exited { pid: pid.clone() });
    assert!(registered_id(&cluster.agent_message(&pid, registration(1))).is_some());
    cluster.event(Event::Exited { pid: pid.clone() });
    assert!(cluster.agent_message(&pid, registration(1)).is_empty());
}

#[test]
fn a_driver_subscribes_as_the_principal_that_it_has_proved_to_be() {
    let mut cluster = strict();
    let refused = subscribe(&mut cluster, framework_info("jobs"));
    let expected = "Framework at scheduler-1@10.0.0.1:5051 is not authenticated";
    assert_eq!(error(&refused).as_deref(), Some(expected));

    assert!(handshake(&mut cluster, &driver(), "p secret").1);
    let other = FrameworkInfo { principal: Some("q".to_owned()), ..framework_info("jobs") };
    let refused = subscribe(&mut cluster, other);
    let expected = "Framework principal 'q' does not match authenticated principal 'p'";
    assert_eq!(error(&refused).as_deref(), Some(expected));

    let effects = subscribe(&mut cluster, framework_info("jobs"));
    assert_eq!(error(&effects), None);
    let snapshot = cluster.master.snapshot();
    let framework = snapshot.frameworks.values().next().expect("it is subscribed");
    assert_eq!(framework.info.principal.as_deref(), Some("p"));
}

#[test]
fn without_credentials_an_attempt_is_answered_with_an_error_and_all_may_register() {
    let mut cluster = Cluster::new();
    let effects = cluster.agent_message(&authenticatee(), begin(&agent_pid(1)));
    let (_, message) = said(&effects).unwrap();
    let Authentication::Error(error) = message else { panic!("{message:?}") };
    assert_eq!(error.error.as_deref(), Some("No authenticator loaded"));
    let effects = cluster.agent_message(&agent_pid(1), registration(1));
    assert_eq!(names(&effects, &agent_pid(1))[0], "SlaveRegisteredMessage");
}
