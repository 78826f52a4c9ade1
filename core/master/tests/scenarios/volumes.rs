//! Persistent volumes: shared, resized, destroyed.

use std::time::Duration;

use master::Response;
use protocol::master as api;
use protocol::mesos::framework_info::capability::Type as Capability;
use protocol::mesos::offer::Operation;
use protocol::mesos::offer::operation::{GrowVolume, ShrinkVolume, Type};
use protocol::mesos::resource::SharedInfo;
use protocol::mesos::value::Scalar;
use protocol::mesos::{FrameworkInfo, OperationState, Resource, TaskInfo, TaskState};

use crate::cluster::{
    Agent, Cluster, capable, framework_info, launch, launched, names, offers, rescinded, scalar,
    statuses, task,
};
use crate::operation_feedback::with_id;
use crate::reservations::{
    applied, create, destroy, in_role, operation_states, reserve, reserved, volume,
};

fn sharing() -> FrameworkInfo {
    FrameworkInfo {
        role: Some("dev".to_owned()),
        ..capable(
            framework_info("jobs"),
            &[Capability::ReservationRefinement, Capability::SharedResources],
        )
    }
}

fn shared(id: &str, size: f64) -> Resource {
    Resource { shared: Some(SharedInfo::default()), ..volume(id, size) }
}

fn with_volume(id: &str, agent: &Agent, volume: Resource) -> TaskInfo {
    let mut task = task(id, &agent.id, 0.5, 64.0);
    task.resources.push(volume);
    task
}

pub fn grow(volume: Resource, addition: Resource) -> Operation {
    Operation {
        r#type: Some(Type::GrowVolume),
        grow_volume: Some(Box::new(GrowVolume { volume, addition, ..Default::default() })),
        ..Default::default()
    }
}

pub fn shrink(volume: Resource, subtract: f64) -> Operation {
    let subtract = Scalar { value: subtract, ..Default::default() };
    Operation {
        r#type: Some(Type::ShrinkVolume),
        shrink_volume: Some(Box::new(ShrinkVolume { volume, subtract, ..Default::default() })),
        ..Default::default()
    }
}

fn disk(size: f64) -> Resource {
    reserved(scalar("disk", size))
}

#[test]
fn one_copy_of_a_shared_volume_is_enough_for_many_tasks() {
    let (mut cluster, agent, scheduler, offer) = Cluster::with_offer(sharing());
    let operations = vec![
        reserve(vec![disk(100.0)]),
        create(vec![shared("v", 100.0)]),
        launch(vec![
            with_volume("a", &agent, shared("v", 100.0)),
            with_volume("b", &agent, shared("v", 100.0)),
        ]),
        launch(vec![with_volume("c", &agent, shared("v", 100.0))]),
    ];
    let effects = cluster.accept(&scheduler, vec![offer.id], operations);
    assert_eq!(launched(&effects), ["a", "b", "c"]);
    // It is offered again although it is in use; destroyed it is not.
    let effects = [effects, cluster.advance(Duration::from_secs(10))].concat();
    let offer = offers(&effects, scheduler.connection).pop().unwrap();
    assert!(offer.resources.iter().any(|resource| resource.shared.is_some()), "{offer:?}");
    let attempt = with_id("d", destroy(vec![shared("v", 100.0)]));
    let effects = cluster.accept(&scheduler, vec![offer.id], vec![attempt]);
    assert_eq!(operation_states(&effects, &scheduler), [OperationState::OperationError]);
    // The total has one copy, however many use it.
    let view = cluster.master.snapshot();
    assert_eq!(view.agents[&agent.id].total_resources.disk().to_f64(), 10_000.0);
    for (number, id) in ["a", "b", "c"].into_iter().enumerate() {
        let number = u8::try_from(number).unwrap();
        cluster.update(&agent, &scheduler, id, TaskState::TaskFinished, number);
    }
    let effects = cluster.advance(Duration::from_secs(10));
    let offer = offers(&effects, scheduler.connection).pop().unwrap();
    let attempt = with_id("d", destroy(vec![shared("v", 100.0)]));
    let effects = cluster.accept(&scheduler, vec![offer.id], vec![attempt]);
    assert_eq!(applied(&effects, &agent).len(), 1);
}

#[test]
fn destroying_a_shared_volume_takes_it_out_of_all_offers() {
    let (mut cluster, agent, scheduler, offer) = Cluster::with_offer(sharing());
    let operations = vec![reserve(vec![disk(100.0)]), create(vec![shared("v", 100.0)])];
    cluster.accept(&scheduler, vec![offer.id], operations);
    let (other, effects) =
        cluster.subscribe(FrameworkInfo { name: "other".to_owned(), ..sharing() });
    let effects = [effects, cluster.advance(Duration::from_secs(10))].concat();
    let theirs = offers(&effects, other.connection).pop();
    let call = api::Call {
        r#type: Some(api::call::Type::DestroyVolumes),
        destroy_volumes: Some(api::call::DestroyVolumes {
            agent_id: agent.id,
            volumes: vec![shared("v", 100.0)],
            ..Default::default()
        }),
        ..Default::default()
    };
    let (answer, effects) = cluster.operate(call.clone());
    assert_eq!(answer, Some(Response::Accepted));
    if let Some(offer) = theirs {
        assert_eq!(rescinded(&effects, other.connection), [offer.id]);
    }
    assert_eq!(rescinded(&effects, scheduler.connection).len(), 1);
    let (answer, _) = cluster.operate(call);
    let text = "Invalid DESTROY operation: Persistent volumes not found".to_owned();
    assert_eq!(answer, Some(Response::BadRequest(text)));
}

#[test]
fn shared_volumes_are_for_frameworks_that_know_them() {
    let (mut cluster, agent, scheduler, offer) = Cluster::with_offer(in_role());
    let operations =
        vec![reserve(vec![disk(100.0)]), with_id("c", create(vec![shared("v", 100.0)]))];
    let effects = cluster.accept(&scheduler, vec![offer.id], operations);
    assert_eq!(operation_states(&effects, &scheduler), [OperationState::OperationError]);
    assert_eq!(applied(&effects, &agent).len(), 1);
}

#[test]
fn volumes_grow_and_shrink_between_tasks() {
    let (mut cluster, agent, scheduler, offer) = Cluster::with_offer(in_role());
    let operations = vec![
        reserve(vec![disk(150.0)]),
        create(vec![volume("v", 100.0)]),
        grow(volume("v", 100.0), disk(50.0)),
        // The result is not for this call: it is offered first.
        launch(vec![with_volume("t", &agent, volume("v", 150.0))]),
    ];
    let effects = cluster.accept(&scheduler, vec![offer.id], operations);
    assert_eq!(applied(&effects, &agent).len(), 3);
    assert_eq!(statuses(&effects, scheduler.connection)[0].state, TaskState::TaskError);
    let again = offers(&effects, scheduler.connection).remove(0);
    let size = |offered: &[Resource]| {
        let found = offered.iter().find(|it| it.disk.is_some()).cloned();
        found.and_then(|it| it.scalar).map(|it| it.value)
    };
    assert_eq!(size(&again.resources), Some(150.0));
    let operations = vec![shrink(volume("v", 150.0), 125.0)];
    let effects = cluster.accept(&scheduler, vec![again.id], operations);
    let again = offers(&effects, scheduler.connection).remove(0);
    assert_eq!(size(&again.resources), Some(25.0));
    let view = cluster.master.snapshot();
    let total = &view.agents[&agent.id].total_resources;
    assert_eq!(total.disk().to_f64(), 10_000.0);
    assert_eq!(total.reserved_to("dev").disk().to_f64(), 150.0);
}

#[test]
fn what_cannot_be_resized_is_refused_in_the_words_of_mesos() {
    let (mut cluster, agent, scheduler, offer) = Cluster::with_offer(sharing());
    let operations = vec![reserve(vec![disk(500.0)]), create(vec![volume("v", 100.0)])];
    let effects = cluster.accept(&scheduler, vec![offer.id], operations);
    let offer = offers(&effects, scheduler.connection).remove(0);
    let operations = vec![
        with_id("a", shrink(volume("v", 100.0), 100.0)),
        with_id("b", shrink(volume("v", 100.0), 0.0)),
        with_id("c", grow(volume("v", 100.0), scalar("disk", 1.0))),
        with_id("d", grow(shared("v", 100.0), disk(1.0))),
        with_id("e", grow(disk(100.0), disk(1.0))),
        with_id("f", grow(volume("w", 100.0), disk(1.0))),
        with_id("g", shrink(volume("v", 50.0), 25.0)),
    ];
    let expected = [
        "Value of 'ShrinkVolume.subtract' must be smaller than the size",
        "Value of 'ShrinkVolume.subtract' must be greater than zero",
        "Incompatible resources in the 'GrowVolume.volume' and 'GrowVolume.addition'",
        "Growing a shared persistent volume is not supported",
        "Invalid persistent volume in the 'GrowVolume.volume' field",
        "Invalid GROW_VOLUME operation: ",
        "Invalid SHRINK_VOLUME operation: ",
    ];
    let effects = cluster.accept(&scheduler, vec![offer.id], operations);
    assert!(names(&effects, &agent.pid).is_empty());
    let texts: Vec<String> = crate::operation_feedback::told(&effects, &scheduler)
        .into_iter()
        .map(|status| status.message.unwrap_or_default())
        .collect();
    assert_eq!(texts.len(), expected.len());
    for (text, expected) in texts.iter().zip(expected) {
        assert!(text.contains(expected), "{text} should say {expected}");
    }
}

#[test]
fn operators_resize_volumes_that_are_free() {
    let mut cluster = Cluster::new();
    let agent = cluster.add_agent(1);
    let reserve = crate::reservations::operator_reserve(&agent.id, vec![disk(200.0)]);
    assert_eq!(cluster.operate(reserve).0, Some(Response::Accepted));
    let create = api::Call {
        r#type: Some(api::call::Type::CreateVolumes),
        create_volumes: Some(api::call::CreateVolumes {
            agent_id: agent.id.clone(),
            volumes: vec![volume("v", 100.0)],
            ..Default::default()
        }),
        ..Default::default()
    };
    assert_eq!(cluster.operate(create).0, Some(Response::Accepted));
    let grow = |agent_id| api::Call {
        r#type: Some(api::call::Type::GrowVolume),
        grow_volume: Some(Box::new(api::call::GrowVolume {
            agent_id,
            volume: volume("v", 100.0),
            addition: disk(50.0),
            ..Default::default()
        })),
        ..Default::default()
    };
    let (answer, effects) = cluster.operate(grow(Some(agent.id.clone())));
    assert_eq!(answer, Some(Response::Accepted));
    assert_eq!(applied(&effects, &agent)[0].operation_info.r#type, Some(Type::GrowVolume));
    let (answer, _) = cluster.operate(grow(Some(agent.id.clone())));
    assert!(matches!(answer, Some(Response::Conflict(_))), "{answer:?}");
    let (answer, _) = cluster.operate(grow(None));
    let text = "Failed to validate master::Call: Expecting 'agent_id' to be present; only agent \
                default resources are supported right now";
    assert_eq!(answer, Some(Response::BadRequest(text.to_owned())));
    let shrink = api::Call {
        r#type: Some(api::call::Type::ShrinkVolume),
        shrink_volume: Some(Box::new(api::call::ShrinkVolume {
            agent_id: Some(agent.id.clone()),
            volume: volume("v", 150.0),
            subtract: Scalar { value: 100.0, ..Default::default() },
            ..Default::default()
        })),
        ..Default::default()
    };
    assert_eq!(cluster.operate(shrink).0, Some(Response::Accepted));
    let view = cluster.master.snapshot();
    let total = &view.agents[&agent.id].total_resources;
    assert_eq!(total.persistent_volumes().disk().to_f64(), 50.0);
}

#[test]
fn the_id_of_a_volume_is_taken_once() {
    for make in [volume, shared] {
        let (mut cluster, agent, scheduler, offer) = Cluster::with_offer(sharing());
        let operations = vec![
            reserve(vec![disk(500.0)]),
            create(vec![make("v", 100.0)]),
            with_id("again", create(vec![make("v", 100.0)])),
            with_id("bigger", create(vec![make("v", 200.0)])),
            with_id("twice", create(vec![make("w", 50.0), make("w", 50.0)])),
        ];
        let effects = cluster.accept(&scheduler, vec![offer.id], operations);
        assert_eq!(applied(&effects, &agent).len(), 2);
        let told = crate::operation_feedback::told(&effects, &scheduler);
        assert_eq!(told.len(), 3);
        for status in told {
            let text = status.message.unwrap_or_default();
            assert!(text.contains("is not unique; on agent"), "{text}");
        }
    }
}
