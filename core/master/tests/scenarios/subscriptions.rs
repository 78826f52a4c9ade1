//! Frameworks subscribe, are refused, fail over and go.

use std::time::Duration;

use master::{Effect, Event, Response};
use protocol::mesos::framework_info::capability::Type as Capability;
use protocol::mesos::{FrameworkId, FrameworkInfo};
use protocol::scheduler::call::Type;
use protocol::scheduler::event;
use protocol::{mesos, scheduler};

use crate::cluster::{
    Cluster, agent_pid, capable, closed, config, errors, events, framework_info, names, offers,
    rescinded, response, subscribe_call,
};

/// Subscribes and returns the error, if there is one.
fn refusal(cluster: &mut Cluster, info: FrameworkInfo) -> Option<String> {
    let (request, connection) = (cluster.request(), cluster.connection());
    let effects = cluster.event(Event::SchedulerSubscribe {
        request,
        connection,
        stream_id: None,
        call: Box::new(subscribe_call(info)),
        principal: None,
    });
    let error = errors(&effects, connection).pop();
    // A refusal comes after the header of a stream, which then ends.
    assert!(matches!(effects[0], Effect::AcceptSubscription { .. }));
    assert_eq!(error.is_some(), closed(&effects, connection));
    error
}

#[test]
fn first_events_are_subscribed_heartbeat_and_offers() {
    let mut cluster = Cluster::new();
    cluster.add_agent(1);
    let (scheduler, effects) = cluster.subscribe(framework_info("jobs"));

    let types: Vec<_> =
        events(&effects, scheduler.connection).iter().filter_map(|it| it.r#type).collect();
    assert_eq!(types, [event::Type::Subscribed, event::Type::Heartbeat, event::Type::Offers]);
    assert!(scheduler.id.value.ends_with("-0000"), "{}", scheduler.id.value);
    let first = events(&effects, scheduler.connection);
    let subscribed = first[0].subscribed.as_ref().unwrap();
    assert_eq!(subscribed.heartbeat_interval_seconds, Some(15.0));
    let master = subscribed.master_info.as_ref().unwrap();
    assert_eq!(master.ip, 0x0100_007f, "the bytes 127.0.0.1 as a little-endian number");
    assert_eq!(master.pid.as_deref(), Some("master@127.0.0.1:5050"));

    let (second, _) = cluster.subscribe(framework_info("more"));
    assert!(second.id.value.ends_with("-0001"));
}

#[test]
fn heartbeats_come_every_fifteen_seconds_until_the_stream_ends() {
    let mut cluster = Cluster::new();
    let info = FrameworkInfo { failover_timeout: Some(3600.0), ..framework_info("jobs") };
    let (scheduler, _) = cluster.subscribe(info);
    let effects = cluster.advance(Duration::from_secs(46));
    assert_eq!(events(&effects, scheduler.connection).len(), 3);
    cluster.event(Event::ConnectionClosed { connection: scheduler.connection });
    let effects = cluster.advance(Duration::from_secs(60));
    assert!(events(&effects, scheduler.connection).is_empty());
}

#[test]
fn bad_framework_infos_are_refused_with_an_error_event() {
    let mut restricted = config();
    restricted.roles = Some(["dev".to_owned()].into());
    restricted.root_submissions = false;
    let mut cluster = Cluster::with(restricted);
    let info = || framework_info("jobs");
    let role = |role: &str| Some(role.to_owned());
    let cases = [
        (FrameworkInfo { role: role("ops"), ..info() }, "not present in the master's --roles"),
        (FrameworkInfo { user: "root".to_owned(), ..info() }, "User 'root' is not allowed"),
        (
            FrameworkInfo { role: role("/dev"), ..info() },
            "'FrameworkInfo.role' is not a valid role",
        ),
        (FrameworkInfo { roles: vec!["dev".into()], ..info() }, "not MULTI_ROLE capable"),
        (
            FrameworkInfo { role: role("dev"), ..capable(info(), &[Capability::MultiRole]) },
            "'FrameworkInfo.role' must not be set",
        ),
        (
            FrameworkInfo { failover_timeout: Some(-1.0), ..info() },
            "failover_timeout (-1) is invalid",
        ),
        (FrameworkInfo { failover_timeout: Some(1e300), ..info() }, "is invalid"),
        (FrameworkInfo { failover_timeout: Some(f64::NAN), ..info() }, "is invalid"),
        (
            FrameworkInfo {
                id: Some(FrameworkId { value: "a/b".into(), ..Default::default() }),
                ..info()
            },
            "'a/b' contains invalid characters",
        ),
    ];
    for (info, expected) in cases {
        let error = refusal(&mut cluster, info).expect("refused");
        assert!(error.contains(expected), "{error} / {expected}");
    }
    assert_eq!(refusal(&mut cluster, FrameworkInfo { role: role("dev"), ..info() }), None);
}

#[test]
fn malformed_subscriptions_are_bad_requests() {
    let mut cluster = Cluster::new();
    let id = |value: &str| Some(FrameworkId { value: value.to_owned(), ..Default::default() });
    let good = subscribe_call(framework_info("jobs"));
    let mut differs = subscribe_call(FrameworkInfo { id: id("a"), ..framework_info("jobs") });
    differs.framework_id = id("b");
    let principal = FrameworkInfo { principal: Some("p".into()), ..framework_info("jobs") };
    let cases = [
        (
            scheduler::Call { subscribe: None, ..good.clone() },
            None,
            None,
            "Failed to validate scheduler::Call: Expecting 'subscribe' to be present",
        ),
        (
            differs,
            None,
            None,
            "Failed to validate scheduler::Call: 'framework_id' differs from \
             'subscribe.framework_info.id'",
        ),
        (good, Some("x"), None, "Subscribe calls should not include the 'Mesos-Stream-Id' header"),
        (
            subscribe_call(principal),
            None,
            Some("q"),
            "Failed to validate scheduler::Call: Authenticated principal 'q' does not match \
             principal 'p' set in `FrameworkInfo`",
        ),
    ];
    for (call, stream_id, principal, expected) in cases {
        let (request, connection) = (cluster.request(), cluster.connection());
        let effects = cluster.event(Event::SchedulerSubscribe {
            request,
            connection,
            stream_id: stream_id.map(str::to_owned),
            call: Box::new(call),
            principal: principal.map(str::to_owned),
        });
        assert_eq!(response(&effects, request), Response::BadRequest(expected.to_owned()));
        assert_eq!(effects.len(), 1);
    }
}

#[test]
fn the_newest_subscription_wins() {
    let info = FrameworkInfo { failover_timeout: Some(60.0), ..framework_info("jobs") };
    let (mut cluster, agent, old, offer) = Cluster::with_offer(info.clone());

    let renamed = FrameworkInfo {
        id: Some(old.id.clone()),
        user: "other".to_owned(),
        webui_url: Some("http://ui".to_owned()),
        ..info
    };
    let (new, effects) = cluster.subscribe(renamed);
    assert_eq!(new.id, old.id);
    assert_eq!(errors(&effects, old.connection), ["Framework failed over"]);
    assert!(closed(&effects, old.connection));
    assert_eq!(names(&effects, &agent.pid), ["UpdateFrameworkMessage"]);
    // The resources of the old scheduler's offer are offered to the new one.
    let offers = offers(&effects, new.connection);
    assert_eq!(offers.len(), 1);
    assert_ne!(offers[0].id, offer.id);
    // What cannot change keeps its value.
    let view = cluster.master.snapshot();
    let framework = &view.frameworks[&new.id];
    assert_eq!(framework.info.user, "nobody");
    assert_eq!(framework.info.webui_url.as_deref(), Some("http://ui"));

    // The old stream's end, reported late, is of no interest.
    cluster.event(Event::ConnectionClosed { connection: old.connection });
    assert!(cluster.master.snapshot().frameworks[&new.id].connected);
    // And its stream id is worth nothing.
    let (answer, _) =
        cluster.call(&old, scheduler::Call { r#type: Some(Type::Revive), ..Default::default() });
    assert!(matches!(answer, Response::BadRequest(text) if text.contains("didn't match")));
}

#[test]
fn a_principal_cannot_be_changed() {
    let mut cluster = Cluster::new();
    let info = FrameworkInfo { principal: Some("p".into()), ..framework_info("jobs") };
    let (scheduler, _) = cluster.subscribe(info.clone());
    let changed =
        FrameworkInfo { principal: Some("q".into()), id: Some(scheduler.id.clone()), ..info };
    let error = refusal(&mut cluster, changed).unwrap();
    assert_eq!(error, "Changing framework's principal is not allowed.");
    assert!(cluster.master.snapshot().frameworks[&scheduler.id].connected, "the old one stays");
}

#[test]
fn without_failover_timeout_a_framework_ends_with_its_stream() {
    let (mut cluster, agent, scheduler, _) = Cluster::with_offer(framework_info("jobs"));
    let effects = cluster.event(Event::ConnectionClosed { connection: scheduler.connection });
    assert_eq!(names(&effects, &agent.pid), ["ShutdownFrameworkMessage"]);
    let view = cluster.master.snapshot();
    assert!(view.frameworks.is_empty());
    assert_eq!(view.completed_frameworks.len(), 1);
    assert!(view.agents[&agent.id].offered_resources.is_empty());

    let info = FrameworkInfo { id: Some(scheduler.id), ..framework_info("jobs") };
    assert_eq!(refusal(&mut cluster, info).as_deref(), Some("Framework has been removed"));
}

#[test]
fn a_framework_may_return_within_its_failover_timeout() {
    let info = FrameworkInfo { failover_timeout: Some(60.0), ..framework_info("jobs") };
    let (mut cluster, agent, scheduler, _) = Cluster::with_offer(info.clone());
    cluster.event(Event::ConnectionClosed { connection: scheduler.connection });
    let effects = cluster.advance_with_pongs(Duration::from_secs(59), &[&agent]);
    assert!(names(&effects, &agent.pid).is_empty());

    let info = FrameworkInfo { id: Some(scheduler.id), ..info };
    let (again, effects) = cluster.subscribe(info);
    assert_eq!(offers(&effects, again.connection).len(), 1);
    let effects = cluster.advance_with_pongs(Duration::from_secs(600), &[&agent]);
    assert!(!names(&effects, &agent.pid).contains(&"ShutdownFrameworkMessage"));

    cluster.event(Event::ConnectionClosed { connection: again.connection });
    let effects = cluster.advance_with_pongs(Duration::from_secs(61), &[&agent]);
    assert_eq!(names(&effects, &agent.pid), ["ShutdownFrameworkMessage"]);
}

#[test]
fn the_history_of_frameworks_is_bounded() {
    let mut small = config();
    small.max_completed_frameworks = 2;
    let mut cluster = Cluster::with(small);
    let mut ids = Vec::new();
    for number in 0..4 {
        let (scheduler, _) = cluster.subscribe(framework_info(&format!("f{number}")));
        ids.push(scheduler.id.clone());
        cluster.event(Event::ConnectionClosed { connection: scheduler.connection });
    }
    let view = cluster.master.snapshot();
    let kept: Vec<_> =
        view.completed_frameworks.iter().map(|it| it.info.id.clone().unwrap()).collect();
    assert_eq!(kept, ids[2..]);
    let records: Vec<_> =
        cluster.registry.keys().filter(|key| key.starts_with("framework/")).collect();
    assert_eq!(records.len(), 2, "{records:?}");
}

#[test]
fn roles_that_are_dropped_lose_their_offers() {
    let multi = |roles: &[&str]| FrameworkInfo {
        roles: roles.iter().map(|role| (*role).to_owned()).collect(),
        failover_timeout: Some(60.0),
        ..capable(framework_info("jobs"), &[Capability::MultiRole])
    };
    let mut cluster = Cluster::new();
    cluster.add_agent(1);
    let (scheduler, effects) = cluster.subscribe(multi(&["a"]));
    let offer = offers(&effects, scheduler.connection).remove(0);
    assert_eq!(offer.allocation_info.as_ref().unwrap().role.as_deref(), Some("a"));
    let role = |resource: &mesos::Resource| resource.allocation_info.clone().unwrap().role;
    assert!(offer.resources.iter().all(|it| role(it).as_deref() == Some("a")));

    let info = FrameworkInfo { id: Some(scheduler.id.clone()), ..multi(&["b"]) };
    let call = scheduler::Call {
        r#type: Some(Type::UpdateFramework),
        update_framework: Some(Box::new(scheduler::call::UpdateFramework {
            framework_info: info,
            ..Default::default()
        })),
        ..Default::default()
    };
    let (answer, effects) = cluster.call(&scheduler, call);
    assert_eq!(answer, Response::Ok);
    assert_eq!(rescinded(&effects, scheduler.connection), [offer.id]);
    let next = offers(&effects, scheduler.connection).remove(0);
    assert_eq!(next.allocation_info.unwrap().role.as_deref(), Some("b"));
    assert_eq!(names(&effects, &agent_pid(1)), ["UpdateFrameworkMessage"]);
}
