//! Reservations and volumes, by frameworks and operators.

use std::time::Duration;

use master::{Effect, Response};
use protocol::internal::ApplyOperationMessage;
use protocol::master as api;
use protocol::mesos::framework_info::capability::Type as Capability;
use protocol::mesos::offer::Operation;
use protocol::mesos::offer::operation::{Create, Destroy, Reserve, Type, Unreserve};
use protocol::mesos::resource::disk_info::Persistence;
use protocol::mesos::resource::reservation_info::Type as ReservationType;
use protocol::mesos::resource::{DiskInfo, ReservationInfo};
use protocol::mesos::volume::Mode;
use protocol::mesos::{AgentId, FrameworkInfo, OperationId, OperationState, Resource, Volume};
use protocol::messages::MasterToAgent;

use crate::cluster::{
    Agent, Cluster, Scheduler, capable, events, framework_info, launch, launched, names, offers,
    rescinded, scalar, task, to_agent, uuid,
};

pub fn in_role() -> FrameworkInfo {
    FrameworkInfo {
        role: Some("dev".to_owned()),
        ..capable(framework_info("jobs"), &[Capability::ReservationRefinement])
    }
}

pub fn reserved(mut resource: Resource) -> Resource {
    resource.reservations = vec![ReservationInfo {
        r#type: Some(ReservationType::Dynamic),
        role: Some("dev".to_owned()),
        ..Default::default()
    }];
    resource
}

pub fn volume(id: &str, size: f64) -> Resource {
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

pub fn reserve(resources: Vec<Resource>) -> Operation {
    Operation {
        r#type: Some(Type::Reserve),
        reserve: Some(Reserve { resources, ..Default::default() }),
        ..Default::default()
    }
}

pub fn unreserve(resources: Vec<Resource>) -> Operation {
    Operation {
        r#type: Some(Type::Unreserve),
        unreserve: Some(Unreserve { resources, ..Default::default() }),
        ..Default::default()
    }
}

pub fn create(volumes: Vec<Resource>) -> Operation {
    Operation {
        r#type: Some(Type::Create),
        create: Some(Create { volumes, ..Default::default() }),
        ..Default::default()
    }
}

pub fn destroy(volumes: Vec<Resource>) -> Operation {
    Operation {
        r#type: Some(Type::Destroy),
        destroy: Some(Destroy { volumes, ..Default::default() }),
        ..Default::default()
    }
}

pub fn applied(effects: &[Effect], agent: &Agent) -> Vec<ApplyOperationMessage> {
    to_agent(effects, &agent.pid)
        .into_iter()
        .filter_map(|message| match message {
            MasterToAgent::ApplyOperation(message) => Some((**message).clone()),
            _ => None,
        })
        .collect()
}

pub fn operation_states(effects: &[Effect], to: &Scheduler) -> Vec<OperationState> {
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
    assert_eq!(view.roles()["dev"].reserved.get("cpus").to_f64(), 2.0);
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

pub fn operator_reserve(agent: &AgentId, resources: Vec<Resource>) -> api::Call {
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
    assert!(offers(&effects, scheduler.connection).is_empty(), "the rest waits for five seconds");
    let effects = cluster.advance(Duration::from_secs(6));
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

fn refined(resource: Resource, role: &str) -> Resource {
    let mut resource = reserved(resource);
    resource.reservations.push(ReservationInfo {
        r#type: Some(ReservationType::Dynamic),
        role: Some(role.to_owned()),
        ..Default::default()
    });
    resource
}

fn from_source(agent: &AgentId, source: Vec<Resource>, target: Vec<Resource>) -> api::Call {
    let mut call = operator_reserve(agent, target);
    call.reserve_resources.as_mut().unwrap().source = source;
    call
}

#[test]
fn operators_move_resources_from_one_reservation_to_another() {
    let mut cluster = Cluster::new();
    let agent = cluster.add_agent(1);
    let cpus = || scalar("cpus", 2.0);
    let mut other = reserved(cpus());
    other.reservations[0].role = Some("other".to_owned());
    let reserved_to = |cluster: &mut Cluster, role: &str| {
        let view = cluster.master.snapshot();
        view.agents[&agent.id].total_resources.reserved_to(role).cpus().to_f64()
    };
    // From nothing, to a refinement of itself, and to another role altogether.
    for (source, target, role) in [
        (cpus(), reserved(cpus()), "dev"),
        (reserved(cpus()), refined(cpus(), "dev/a"), "dev/a"),
        (refined(cpus(), "dev/a"), other.clone(), "other"),
        (other, reserved(cpus()), "dev"),
    ] {
        let (answer, _) = cluster.operate(from_source(&agent.id, vec![source], vec![target]));
        assert_eq!(answer, Some(Response::Accepted));
        assert_eq!(reserved_to(&mut cluster, role), 2.0);
    }
    assert_eq!(reserved_to(&mut cluster, "other"), 0.0);
}

fn bad_request(answer: Option<Response>) -> String {
    match answer {
        Some(Response::BadRequest(text)) => text,
        other => panic!("{other:?}"),
    }
}

#[test]
fn reservations_that_make_no_sense_are_refused_in_the_words_of_mesos() {
    let mut cluster = Cluster::new();
    let agent = cluster.add_agent(1);
    let cpus = |amount| scalar("cpus", amount);
    let name = format!("{} at {} (node-1)", agent.id.value, agent.pid);
    let prefix = format!("Invalid RESERVE operation on agent {name}: ");
    let (answer, _) = cluster.operate(operator_reserve(&agent.id, vec![cpus(1.0)]));
    let text = bad_request(answer);
    assert_eq!(text, format!("{prefix}Resource cpus:1 is not dynamically reserved"));
    let (answer, _) = cluster.operate(operator_reserve(&agent.id, Vec::new()));
    assert!(bad_request(answer).starts_with(&prefix));
    let source = vec![cpus(1.0)];
    let call = from_source(&agent.id, source, vec![reserved(cpus(2.0))]);
    let text = bad_request(cluster.operate(call).0);
    assert_eq!(
        text,
        format!(
            "{prefix}Source and target resources should refer to identical resource quantities: \
             cpus:1 vs. cpus:2"
        )
    );
    let mixed = vec![cpus(1.0), reserved(cpus(1.0))];
    let call = from_source(&agent.id, mixed, vec![reserved(cpus(2.0))]);
    let text = bad_request(cluster.operate(call).0);
    assert!(text.contains("Invalid source: Mixed reservations are not supported"), "{text}");
    // More than there is: refused without taking an offer back.
    let call = from_source(&agent.id, vec![reserved(cpus(1.0))], vec![refined(cpus(1.0), "dev/a")]);
    let (answer, effects) = cluster.operate(call);
    assert!(matches!(answer, Some(Response::Conflict(_))), "{answer:?}");
    assert!(names(&effects, &agent.pid).is_empty());
    // A role that is none.
    let mut wrong = reserved(cpus(1.0));
    wrong.reservations[0].role = Some("a b".to_owned());
    let text = bad_request(cluster.operate(operator_reserve(&agent.id, vec![wrong])).0);
    assert!(text.contains("a b"), "{text}");
}

#[test]
fn the_principal_of_a_reservation_is_that_of_its_maker() {
    let mut cluster = Cluster::new();
    let agent = cluster.add_agent(1);
    let named = |principal: Option<&str>| {
        let mut resource = reserved(scalar("cpus", 1.0));
        resource.reservations[0].principal = principal.map(str::to_owned);
        operator_reserve(&agent.id, vec![resource])
    };
    let mut ask = |call| {
        let request = cluster.request();
        let principal = Some("ops".to_owned());
        let effects =
            cluster.event(master::Event::OperatorCall { request, call: Box::new(call), principal });
        crate::cluster::try_response(&effects, request)
    };
    let text = bad_request(ask(named(None)));
    assert!(
        text.contains("there is a reserved resource in the request with no principal"),
        "{text}"
    );
    let text = bad_request(ask(named(Some("else"))));
    assert!(text.contains("does not match a reserved resource"), "{text}");
    assert_eq!(ask(named(Some("ops"))), Some(Response::Accepted));
}

#[test]
fn what_is_reserved_is_offered_to_its_role_alone() {
    let (mut cluster, agent, stranger, _) = Cluster::with_offer(framework_info("stranger"));
    let (owner, _) = cluster.subscribe(in_role());
    let call = operator_reserve(&agent.id, vec![reserved(scalar("cpus", 3.0))]);
    let (answer, effects) = cluster.operate(call);
    assert_eq!(answer, Some(Response::Accepted));
    let effects = [effects, cluster.advance(Duration::from_secs(10))].concat();
    for offer in offers(&effects, stranger.connection) {
        assert!(offer.resources.iter().all(|it| it.reservations.is_empty()), "{offer:?}");
    }
    let own: f64 = offers(&effects, owner.connection)
        .iter()
        .flat_map(|offer| &offer.resources)
        .filter(|resource| !resource.reservations.is_empty())
        .map(|resource| resource.scalar.as_ref().unwrap().value)
        .sum();
    assert_eq!(own, 3.0);
}

/// A reservation as frameworks knew it before there were stacks of them.
fn old_format(mut resource: Resource) -> Resource {
    resource.role = Some("dev".to_owned());
    resource.reservation = Some(ReservationInfo::default());
    resource
}

#[test]
fn old_frameworks_reserve_and_are_offered_in_the_old_format() {
    let info = FrameworkInfo { role: Some("dev".to_owned()), ..framework_info("old") };
    let (mut cluster, agent, scheduler, offer) = Cluster::with_offer(info);
    let operation = reserve(vec![old_format(scalar("cpus", 1.0))]);
    let effects = cluster.accept(&scheduler, vec![offer.id], vec![operation]);
    // The agent knows stacks.
    let sent = applied(&effects, &agent).remove(0).operation_info.reserve.unwrap();
    assert_eq!((sent.resources[0].reservations.len(), &sent.resources[0].role), (1, &None));
    let effects = [effects, cluster.advance(Duration::from_secs(10))].concat();
    let offered: Vec<Resource> =
        offers(&effects, scheduler.connection).into_iter().flat_map(|it| it.resources).collect();
    let own = offered.iter().find(|it| it.role.as_deref() == Some("dev")).unwrap();
    assert!(own.reservation.is_some() && own.reservations.is_empty(), "{own:?}");
    assert!(offered.iter().all(|it| it.role.is_some() && it.reservations.is_empty()));
}

#[test]
fn refined_reservations_are_hidden_from_frameworks_that_cannot_read_them() {
    let mut cluster = Cluster::new();
    let agent = cluster.add_agent(1);
    let call = operator_reserve(&agent.id, vec![reserved(scalar("cpus", 2.0))]);
    assert_eq!(cluster.operate(call).0, Some(Response::Accepted));
    let target = vec![refined(scalar("cpus", 2.0), "dev/web")];
    let call = from_source(&agent.id, vec![reserved(scalar("cpus", 2.0))], target);
    assert_eq!(cluster.operate(call).0, Some(Response::Accepted));
    let in_web = |name| FrameworkInfo { role: Some("dev/web".to_owned()), ..framework_info(name) };
    let refined_in = |effects: &[Effect], to: &Scheduler| {
        let offers = offers(effects, to.connection);
        offers.iter().flat_map(|it| &it.resources).filter(|it| it.reservations.len() == 2).count()
    };
    let (old, effects) = cluster.subscribe(in_web("old"));
    assert!(!offers(&effects, old.connection).is_empty(), "the rest is offered");
    assert_eq!(refined_in(&effects, &old), 0);
    let able = capable(in_web("able"), &[Capability::ReservationRefinement]);
    let (able, effects) = cluster.subscribe(able);
    assert_eq!(refined_in(&effects, &able), 1);
}
