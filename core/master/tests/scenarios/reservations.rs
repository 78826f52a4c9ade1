//! Reservations and volumes, by frameworks and operators.

use master::{Effect, Response};
use protocol::internal::{ApplyOperationMessage, UpdateOperationStatusMessage};
use protocol::master as api;
use protocol::mesos::framework_info::capability::Type as Capability;
use protocol::mesos::offer::Operation;
use protocol::mesos::offer::operation::{Create, Destroy, Reserve, Type, Unreserve};
use protocol::mesos::resource::disk_info::Persistence;
use protocol::mesos::resource::reservation_info::Type as ReservationType;
use protocol::mesos::resource::{DiskInfo, ReservationInfo};
use protocol::mesos::volume::Mode;
use protocol::mesos::{
    AgentId, FrameworkInfo, OperationId, OperationState, OperationStatus, Resource, Volume,
};
use protocol::messages::MasterToAgent;
use protocol::scheduler;
use protocol::scheduler::call::AcknowledgeOperationStatus;

use crate::cluster::{
    Agent, Cluster, Scheduler, capable, events, framework_info, launch, launched, names, offers,
    rescinded, scalar, task, to_agent, uuid,
};

fn in_role() -> FrameworkInfo {
    FrameworkInfo {
        role: Some("dev".to_owned()),
        ..capable(framework_info("jobs"), &[Capability::ReservationRefinement])
    }
}

fn reserved(mut resource: Resource) -> Resource {
    resource.reservations = vec![ReservationInfo {
        r#type: Some(ReservationType::Dynamic),
        role: Some("dev".to_owned()),
        ..Default::default()
    }];
    resource
}

fn volume(id: &str, size: f64) -> Resource {
    Resource {
        disk: Some(
            DiskInfo {
                persistence: Some(Persistence { id: id.to_owned(), ..Default::default() }),
                volume: Some(Volume {
                    container_path: "data".to_owned(),
                    mode: Mode::Rw,
                    ..Default::default()
                }),
                ..Default::default()
            }
            .into(),
        ),
        ..reserved(scalar("disk", size))
    }
}

fn reserve(resources: Vec<Resource>) -> Operation {
    Operation {
        r#type: Some(Type::Reserve),
        reserve: Some(Reserve { resources, ..Default::default() }),
        ..Default::default()
    }
}

fn unreserve(resources: Vec<Resource>) -> Operation {
    Operation {
        r#type: Some(Type::Unreserve),
        unreserve: Some(Unreserve { resources, ..Default::default() }),
        ..Default::default()
    }
}

fn create(volumes: Vec<Resource>) -> Operation {
    Operation {
        r#type: Some(Type::Create),
        create: Some(Create { volumes, ..Default::default() }),
        ..Default::default()
    }
}

fn destroy(volumes: Vec<Resource>) -> Operation {
    Operation {
        r#type: Some(Type::Destroy),
        destroy: Some(Destroy { volumes, ..Default::default() }),
        ..Default::default()
    }
}

fn applied(effects: &[Effect], agent: &Agent) -> Vec<ApplyOperationMessage> {
    to_agent(effects, &agent.pid)
        .into_iter()
        .filter_map(|message| match message {
            MasterToAgent::ApplyOperation(message) => Some(message.clone()),
            _ => None,
        })
        .collect()
}

fn operation_states(effects: &[Effect], to: &Scheduler) -> Vec<OperationState> {
    events(effects, to.connection)
        .iter()
        .filter_map(|event| event.update_operation_status.as_ref())
        .map(|update| update.status.state)
        .collect()
}

#[test]
fn operations_and_launches_build_on_each_other() {
    let (mut cluster, agent, scheduler, offer) = Cluster::with_offer(in_role());
    let mut tasks = vec![task("t", &agent.id, 1.0, 64.0)];
    tasks[0].resources = vec![reserved(scalar("cpus", 1.0)), volume("v", 100.0)];
    let operations = vec![
        reserve(vec![reserved(scalar("cpus", 2.0)), reserved(scalar("disk", 500.0))]),
        create(vec![volume("v", 100.0)]),
        launch(tasks),
    ];
    let effects = cluster.accept(&scheduler, vec![offer.id], operations);
    assert_eq!(
        names(&effects, &agent.pid),
        ["ApplyOperationMessage", "ApplyOperationMessage", "RunTaskMessage"]
    );
    assert_eq!(launched(&effects), ["t"]);
    let messages = applied(&effects, &agent);
    assert_eq!(messages[0].resource_version_uuid.uuid, uuid(200));
    assert_ne!(messages[0].operation_uuid, messages[1].operation_uuid);
    assert_eq!(messages[0].framework_id.as_ref(), Some(&scheduler.id));
    let view = cluster.master.snapshot();
    let total = &view.agents[&agent.id].total_resources;
    assert_eq!(total.reserved_to("dev").cpus().to_f64(), 2.0);
    assert_eq!(total.persistent_volumes().disk().to_f64(), 100.0);
    assert_eq!(total.cpus().to_f64(), 4.0, "nothing is made or lost");
    // What the operations made is offered again at once; it was not declined.
    let again = offers(&effects, scheduler.connection).remove(0);
    assert!(again.resources.iter().any(|it| !it.reservations.is_empty()));
    assert_eq!(view.roles["dev"].reserved.cpus().to_f64(), 2.0);
}

#[test]
fn volumes_are_destroyed_and_reservations_undone() {
    let (mut cluster, agent, scheduler, offer) = Cluster::with_offer(in_role());
    let disk = || vec![reserved(scalar("disk", 100.0))];
    let operations = vec![
        reserve(disk()),
        create(vec![volume("v", 100.0)]),
        destroy(vec![volume("v", 100.0)]),
        unreserve(disk()),
    ];
    let effects = cluster.accept(&scheduler, vec![offer.id], operations);
    assert_eq!(applied(&effects, &agent).len(), 4);
    let view = cluster.master.snapshot();
    let expected = crate::cluster::agent_info(1).resources;
    let expected = resources::Resources::from_wire(&expected).unwrap();
    assert_eq!(view.agents[&agent.id].total_resources, expected);
}

#[test]
fn invalid_operations_are_dropped_and_told_when_they_have_an_id() {
    let (mut cluster, agent, scheduler, offer) = Cluster::with_offer(in_role());
    let with_id = |operation: Operation| Operation {
        id: Some(OperationId { value: "o".to_owned(), ..Default::default() }),
        ..operation
    };
    let mut foreign = reserved(scalar("cpus", 1.0));
    foreign.reservations[0].role = Some("other".to_owned());
    let operations = vec![
        with_id(reserve(vec![scalar("cpus", 1.0)])),
        with_id(reserve(vec![foreign])),
        with_id(reserve(vec![reserved(scalar("cpus", 100.0))])),
        with_id(create(vec![reserved(scalar("disk", 1.0))])),
        with_id(create(vec![volume("v", 1.0)])),
        with_id(destroy(vec![volume("v", 1.0)])),
        with_id(unreserve(vec![reserved(scalar("cpus", 1.0))])),
        reserve(vec![scalar("cpus", 1.0)]),
    ];
    let expected = operations.len() - 1;
    let effects = cluster.accept(&scheduler, vec![offer.id], operations);
    assert!(names(&effects, &agent.pid).is_empty());
    let states = operation_states(&effects, &scheduler);
    assert_eq!(states, vec![OperationState::OperationError; expected]);
}

#[test]
fn the_feedback_of_an_operation_goes_round() {
    let (mut cluster, agent, scheduler, offer) = Cluster::with_offer(in_role());
    let id = OperationId { value: "o".to_owned(), ..Default::default() };
    let operation =
        Operation { id: Some(id.clone()), ..reserve(vec![reserved(scalar("cpus", 1.0))]) };
    let effects = cluster.accept(&scheduler, vec![offer.id], vec![operation]);
    let operation_uuid = applied(&effects, &agent).remove(0).operation_uuid;
    let update = UpdateOperationStatusMessage {
        framework_id: Some(scheduler.id.clone()),
        slave_id: Some(agent.id.clone()),
        status: OperationStatus {
            state: OperationState::OperationFinished,
            uuid: Some(uuid(3)),
            ..Default::default()
        },
        operation_uuid: Some(operation_uuid),
        ..Default::default()
    };
    let effects = cluster.agent_message(&agent.pid, update);
    assert_eq!(operation_states(&effects, &scheduler), [OperationState::OperationFinished]);
    let acknowledge = scheduler::Call {
        r#type: Some(scheduler::call::Type::AcknowledgeOperationStatus),
        acknowledge_operation_status: Some(AcknowledgeOperationStatus {
            agent_id: Some(agent.id.clone()),
            uuid: vec![3; 16],
            operation_id: id,
            ..Default::default()
        }),
        ..Default::default()
    };
    let (answer, effects) = cluster.call(&scheduler, acknowledge.clone());
    assert_eq!(answer, Response::Accepted);
    assert_eq!(names(&effects, &agent.pid), ["AcknowledgeOperationStatusMessage"]);
    let (_, effects) = cluster.call(&scheduler, acknowledge);
    assert!(names(&effects, &agent.pid).is_empty(), "it is forgotten");
}

fn operator_reserve(agent: &AgentId, resources: Vec<Resource>) -> api::Call {
    api::Call {
        r#type: Some(api::call::Type::ReserveResources),
        reserve_resources: Some(api::call::ReserveResources {
            agent_id: agent.clone(),
            resources,
            ..Default::default()
        }),
        ..Default::default()
    }
}

#[test]
fn operators_reserve_what_is_offered_by_rescinding() {
    let (mut cluster, agent, scheduler, offer) = Cluster::with_offer(framework_info("jobs"));
    let (answer, effects) =
        cluster.operate(operator_reserve(&agent.id, vec![reserved(scalar("cpus", 3.0))]));
    assert_eq!(answer, Some(Response::Accepted));
    assert_eq!(rescinded(&effects, scheduler.connection), [offer.id]);
    let message = applied(&effects, &agent).remove(0);
    assert_eq!(message.framework_id, None);
    let left = offers(&effects, scheduler.connection).remove(0);
    assert_eq!(crate::cluster::amount(&left.resources, "cpus"), 1.0);

    let (answer, _) =
        cluster.operate(operator_reserve(&agent.id, vec![reserved(scalar("cpus", 3.0))]));
    assert!(matches!(answer, Some(Response::Conflict(_))), "{answer:?}");
    let (answer, _) = cluster.operate(operator_reserve(&agent.id, vec![scalar("cpus", 1.0)]));
    assert!(matches!(answer, Some(Response::BadRequest(_))), "{answer:?}");
    let nobody = AgentId { value: "x".to_owned(), ..Default::default() };
    let (answer, _) =
        cluster.operate(operator_reserve(&nobody, vec![reserved(scalar("cpus", 1.0))]));
    assert!(matches!(answer, Some(Response::BadRequest(_))), "{answer:?}");
}

#[test]
fn agents_without_operations_get_checkpointed_resources() {
    let mut cluster = Cluster::new();
    let mut message = crate::cluster::registration(1);
    message.agent_capabilities.retain(|it| {
        use protocol::mesos::agent_info::capability::Type;
        matches!(it.r#type, Some(Type::MultiRole | Type::HierarchicalRole))
    });
    let pid = crate::cluster::agent_pid(1);
    let effects = cluster.agent_message(&pid, message);
    let id = crate::cluster::registered_id(&effects).unwrap();
    let (answer, effects) =
        cluster.operate(operator_reserve(&id, vec![reserved(scalar("cpus", 1.0))]));
    assert_eq!(answer, Some(Response::Accepted));
    let MasterToAgent::CheckpointResources(message) = to_agent(&effects, &pid)[0] else {
        panic!("{effects:?}");
    };
    assert_eq!(message.resources.len(), 1);
    // In the format that such agents know.
    assert_eq!(message.resources[0].role.as_deref(), Some("dev"));
    assert!(message.resources[0].reservation.is_some());
    assert!(message.resources[0].reservations.is_empty());
}
