//! The v1 scheduler API's checks, and the calls that have no file of their own.

use std::time::Duration;

use master::{Event, Response};
use protocol::mesos::{ExecutorId, FrameworkId, FrameworkInfo};
use protocol::messages::MasterToAgent;
use protocol::scheduler;
use protocol::scheduler::call::{Message, Revive, Shutdown, Suppress, Type, UpdateFramework};

use crate::cluster::{
    Cluster, accept_call, agent_pid, events, framework_info, names, offers, response, to_agent,
};

fn revive() -> scheduler::Call {
    scheduler::Call { r#type: Some(Type::Revive), ..Default::default() }
}

#[test]
fn calls_need_the_stream_id_of_a_live_subscription() {
    let mut cluster = Cluster::new();
    let info = FrameworkInfo { failover_timeout: Some(60.0), ..framework_info("jobs") };
    let (scheduler, _) = cluster.subscribe(info);
    let send = |cluster: &mut Cluster, id: Option<&str>, stream_id: Option<&str>| {
        let request = cluster.request();
        let framework_id = id.map(|id| FrameworkId { value: id.to_owned(), ..Default::default() });
        let effects = cluster.event(Event::SchedulerCall {
            request,
            stream_id: stream_id.map(str::to_owned),
            call: Box::new(scheduler::Call { framework_id, ..revive() }),
            principal: None,
        });
        response(&effects, request)
    };
    let bad = |text: &str| Response::BadRequest(text.to_owned());
    let id = scheduler.id.value.clone();
    let stream = scheduler.stream_id.as_str();
    assert_eq!(
        send(&mut cluster, None, Some(stream)),
        bad("Failed to validate scheduler::Call: Expecting 'framework_id' to be present")
    );
    assert_eq!(send(&mut cluster, Some("x"), Some(stream)), bad("Framework cannot be found"));
    assert_eq!(
        send(&mut cluster, Some(&id), None),
        bad("All non-subscribe calls should include the 'Mesos-Stream-Id' header")
    );
    let wrong = format!(
        "The stream ID 'foreign' included in this request didn't match the stream ID currently \
         associated with framework ID {id}"
    );
    assert_eq!(send(&mut cluster, Some(&id), Some("foreign")), bad(&wrong));
    assert_eq!(send(&mut cluster, Some(&id), Some(stream)), Response::Accepted);

    cluster.event(Event::ConnectionClosed { connection: scheduler.connection });
    assert_eq!(
        send(&mut cluster, Some(&id), Some(stream)),
        Response::Forbidden("Framework is not subscribed".to_owned())
    );
}

#[test]
fn calls_must_carry_what_their_type_needs() {
    let mut cluster = Cluster::new();
    let (scheduler, _) = cluster.subscribe(framework_info("jobs"));
    for (r#type, field) in [
        (Type::Accept, "accept"),
        (Type::Decline, "decline"),
        (Type::Kill, "kill"),
        (Type::Shutdown, "shutdown"),
        (Type::Acknowledge, "acknowledge"),
        (Type::Reconcile, "reconcile"),
        (Type::Message, "message"),
        (Type::Request, "request"),
        (Type::UpdateFramework, "update_framework"),
    ] {
        let call = scheduler::Call { r#type: Some(r#type), ..Default::default() };
        let expected =
            format!("Failed to validate scheduler::Call: Expecting '{field}' to be present");
        assert_eq!(cluster.call(&scheduler, call).0, Response::BadRequest(expected));
    }
    let untyped = scheduler::Call::default();
    let expected = "Failed to validate scheduler::Call: Expecting 'type' to be present".to_owned();
    assert_eq!(cluster.call(&scheduler, untyped).0, Response::BadRequest(expected));
    let unknown = scheduler::Call { r#type: Some(Type::Unknown), ..Default::default() };
    assert!(matches!(cluster.call(&scheduler, unknown).0, Response::NotImplemented(_)));
}

#[test]
fn another_principal_may_not_call() {
    let mut cluster = Cluster::new();
    let info = FrameworkInfo { principal: Some("p".into()), ..framework_info("jobs") };
    let (scheduler, _) = cluster.subscribe(info);
    let request = cluster.request();
    let effects = cluster.event(Event::SchedulerCall {
        request,
        stream_id: Some(scheduler.stream_id.clone()),
        call: Box::new(scheduler::Call { framework_id: Some(scheduler.id), ..revive() }),
        principal: Some("q".to_owned()),
    });
    let Response::BadRequest(text) = response(&effects, request) else { panic!() };
    assert!(text.starts_with("Authenticated principal 'q' does not match principal 'p'"), "{text}");
}

#[test]
fn suppressed_frameworks_get_no_offers_until_they_revive() {
    let (mut cluster, _, scheduler, offer) = Cluster::with_offer(framework_info("jobs"));
    let suppress = |roles: &[&str]| scheduler::Call {
        r#type: Some(Type::Suppress),
        suppress: Some(Suppress {
            roles: roles.iter().map(|role| (*role).to_owned()).collect(),
            ..Default::default()
        }),
        ..Default::default()
    };
    assert_eq!(cluster.call(&scheduler, suppress(&[])).0, Response::Accepted);
    cluster.call(&scheduler, accept_call(vec![offer.id], vec![]));
    let effects = cluster.advance(Duration::from_secs(60));
    assert!(offers(&effects, scheduler.connection).is_empty());
    let (answer, effects) = cluster.call(&scheduler, revive());
    assert_eq!(answer, Response::Accepted);
    let offer = offers(&effects, scheduler.connection).remove(0);

    // One role that it has not got voids the whole call.
    cluster.call(&scheduler, suppress(&["*", "other"]));
    let decline =
        scheduler::Call { r#type: Some(Type::Accept), ..accept_call(vec![offer.id], vec![]) };
    cluster.call(&scheduler, decline);
    let effects = cluster.advance(Duration::from_secs(7));
    assert_eq!(offers(&effects, scheduler.connection).len(), 1);
}

#[test]
fn revive_clears_filters() {
    let (mut cluster, _, scheduler, offer) = Cluster::with_offer(framework_info("jobs"));
    cluster.call(&scheduler, accept_call(vec![offer.id], vec![]));
    let call = scheduler::Call {
        revive: Some(Revive { roles: vec!["*".to_owned()], ..Default::default() }),
        ..revive()
    };
    let (_, effects) = cluster.call(&scheduler, call);
    assert_eq!(offers(&effects, scheduler.connection).len(), 1, "at once");
}

#[test]
fn teardown_kills_everything() {
    let (mut cluster, agent, scheduler, offer) = Cluster::with_offer(framework_info("jobs"));
    cluster.running_task(&agent, &scheduler, &offer, "t");
    let call = scheduler::Call { r#type: Some(Type::Teardown), ..Default::default() };
    let (answer, effects) = cluster.call(&scheduler, call);
    assert_eq!(answer, Response::Accepted);
    assert_eq!(names(&effects, &agent.pid), ["ShutdownFrameworkMessage"]);
    assert!(crate::cluster::closed(&effects, scheduler.connection));
    let view = cluster.master.snapshot();
    let framework = &view.completed_frameworks[0];
    assert_eq!(framework.completed_tasks[0].state, protocol::mesos::TaskState::TaskKilled);
    assert!(!framework.active && !framework.connected && framework.unregistered_time.is_some());
    assert!(view.agents[&agent.id].used_resources.is_empty());
    assert!(view.agents[&agent.id].offered_resources.is_empty());
    // Its resources are there for others.
    let (other, effects) = cluster.subscribe(framework_info("other"));
    assert_eq!(offers(&effects, other.connection).len(), 1);
}

#[test]
fn messages_pass_between_framework_and_executor() {
    let (mut cluster, agent, scheduler, _) = Cluster::with_offer(framework_info("jobs"));
    let executor_id = ExecutorId { value: "e".to_owned(), ..Default::default() };
    let call = scheduler::Call {
        r#type: Some(Type::Message),
        message: Some(Message {
            agent_id: agent.id.clone(),
            executor_id: executor_id.clone(),
            data: vec![0, 1, 2],
            ..Default::default()
        }),
        ..Default::default()
    };
    let (_, effects) = cluster.call(&scheduler, call);
    let MasterToAgent::FrameworkToExecutor(message) = to_agent(&effects, &agent.pid)[0] else {
        panic!("{effects:?}");
    };
    assert_eq!(message.data, [0, 1, 2]);

    let answer = protocol::internal::ExecutorToFrameworkMessage {
        slave_id: agent.id.clone(),
        framework_id: scheduler.id.clone(),
        executor_id: executor_id.clone(),
        data: vec![3],
        ..Default::default()
    };
    let effects = cluster.agent_message(&agent.pid, answer);
    let event = events(&effects, scheduler.connection).remove(0);
    assert_eq!(event.message.as_ref().unwrap().data, [3]);

    let call = scheduler::Call {
        r#type: Some(Type::Shutdown),
        shutdown: Some(Shutdown { executor_id, agent_id: agent.id, ..Default::default() }),
        ..Default::default()
    };
    let (_, effects) = cluster.call(&scheduler, call);
    assert_eq!(names(&effects, &agent_pid(1)), ["ShutdownExecutorMessage"]);
}

#[test]
fn update_framework_is_all_or_nothing() {
    let mut cluster = Cluster::new();
    let (scheduler, _) = cluster.subscribe(framework_info("jobs"));
    let update = |change: fn(&mut FrameworkInfo), suppressed: &[&str]| {
        let mut info = FrameworkInfo { id: Some(scheduler.id.clone()), ..framework_info("jobs") };
        change(&mut info);
        scheduler::Call {
            r#type: Some(Type::UpdateFramework),
            update_framework: Some(Box::new(UpdateFramework {
                framework_info: info,
                suppressed_roles: suppressed.iter().map(|role| (*role).to_owned()).collect(),
                ..Default::default()
            })),
            ..Default::default()
        }
    };
    let refused = [
        (
            update(|it| it.user = "root".into(), &[]),
            "FrameworkInfo update is not valid: Updating 'F",
        ),
        (update(|it| it.checkpoint = Some(true), &[]), "FrameworkInfo update is not valid: "),
        (update(|it| it.principal = Some("p".into()), &[]), "FrameworkInfo update is not valid: "),
        (update(|it| it.role = Some("a b".into()), &[]), "Supplied FrameworkInfo is not valid: "),
        (update(|_| {}, &["x"]), "'UpdateFramework' call is not valid: Suppressed roles { x }"),
    ];
    for (call, expected) in refused {
        let Response::BadRequest(text) = cluster.call(&scheduler, call).0 else { panic!() };
        assert!(text.starts_with(expected), "{text}");
    }
    let (answer, _) = cluster.call(&scheduler, update(|it| it.name = "renamed".into(), &[]));
    assert_eq!(answer, Response::Ok);
    assert_eq!(cluster.master.snapshot().frameworks[&scheduler.id].info.name, "renamed");
}
