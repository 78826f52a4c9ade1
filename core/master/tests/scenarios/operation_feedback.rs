//! Operation ids: what a framework is told of its operations, and when.

use std::time::Duration;

use master::{Effect, Response};
use protocol::internal::{UpdateOperationStatusMessage, UpdateSlaveMessage, update_slave_message};
use protocol::master as api;
use protocol::mesos::offer::Operation;
use protocol::mesos::{
    AgentId, FrameworkId, FrameworkInfo, Operation as Record, OperationId, OperationState,
    OperationStatus, Uuid,
};
use protocol::messages::MasterToAgent;
use protocol::scheduler;
use protocol::scheduler::call::reconcile_operations::Operation as Question;
use protocol::scheduler::call::{AcknowledgeOperationStatus, ReconcileOperations, Type};

use crate::cluster::{
    Agent, Cluster, Scheduler, errors, events, launch, names, offers, registration, reregistration,
    scalar, statuses, task, to_agent, uuid,
};
use crate::reservations::{applied, in_role, operation_states, reserve, reserved};

pub fn with_id(id: &str, operation: Operation) -> Operation {
    Operation { id: Some(operation_id(id)), ..operation }
}

fn operation_id(id: &str) -> OperationId {
    OperationId { value: id.to_owned(), ..Default::default() }
}

/// What a framework was told of operations.
pub fn told(effects: &[Effect], to: &Scheduler) -> Vec<OperationStatus> {
    events(effects, to.connection)
        .iter()
        .filter_map(|event| event.update_operation_status.as_ref())
        .map(|update| update.status.clone())
        .collect()
}

fn operation() -> Operation {
    with_id("o", reserve(vec![reserved(scalar("cpus", 1.0))]))
}

fn finished(
    agent: &Agent,
    framework: Option<&FrameworkId>,
    of: Uuid,
) -> UpdateOperationStatusMessage {
    let status = OperationStatus {
        state: OperationState::OperationFinished,
        uuid: Some(uuid(3)),
        agent_id: Some(agent.id.clone()),
        ..Default::default()
    };
    UpdateOperationStatusMessage {
        framework_id: framework.cloned(),
        slave_id: Some(agent.id.clone()),
        status,
        operation_uuid: Some(of),
        ..Default::default()
    }
}

fn acknowledge(agent: &AgentId, id: &str) -> scheduler::Call {
    scheduler::Call {
        r#type: Some(Type::AcknowledgeOperationStatus),
        acknowledge_operation_status: Some(AcknowledgeOperationStatus {
            agent_id: Some(agent.clone()),
            uuid: vec![3; 16],
            operation_id: operation_id(id),
            ..Default::default()
        }),
        ..Default::default()
    }
}

fn reconcile(operations: Vec<Question>) -> scheduler::Call {
    scheduler::Call {
        r#type: Some(Type::ReconcileOperations),
        reconcile_operations: Some(ReconcileOperations { operations, ..Default::default() }),
        ..Default::default()
    }
}

fn question(id: &str, agent: Option<&AgentId>) -> Question {
    Question { operation_id: operation_id(id), agent_id: agent.cloned(), ..Default::default() }
}

fn ask(cluster: &mut Cluster, by: &Scheduler, questions: Vec<Question>) -> Vec<OperationStatus> {
    let (answer, effects) = cluster.call(by, reconcile(questions));
    assert_eq!(answer, Response::Accepted);
    told(&effects, by)
}

/// A framework's operation that has reached its agent.
fn with_operation(info: FrameworkInfo) -> (Cluster, Agent, Scheduler, Uuid) {
    let (mut cluster, agent, scheduler, offer) = Cluster::with_offer(info);
    let effects = cluster.accept(&scheduler, vec![offer.id], vec![operation()]);
    let uuid = applied(&effects, &agent).remove(0).operation_uuid;
    (cluster, agent, scheduler, uuid)
}

#[test]
fn the_feedback_of_an_operation_goes_round() {
    let (mut cluster, agent, scheduler, of) = with_operation(in_role());
    let pending = ask(&mut cluster, &scheduler, Vec::new()).remove(0);
    assert_eq!(pending.state, OperationState::OperationPending);
    assert_eq!(pending.operation_id, Some(operation_id("o")));
    let update = finished(&agent, Some(&scheduler.id), of.clone());
    for _ in 0..2 {
        let effects = cluster.agent_message(&agent.pid, update.clone());
        let status = told(&effects, &scheduler).remove(0);
        assert_eq!(status.state, OperationState::OperationFinished);
        assert_eq!(status.uuid, Some(uuid(3)));
        assert_eq!(status.operation_id, Some(operation_id("o")));
        assert!(names(&effects, &agent.pid).is_empty(), "the framework acknowledges");
    }
    // Until then it is there to be seen, without a uuid to acknowledge when asked for.
    let view = cluster.master.snapshot();
    assert_eq!(view.agents[&agent.id].operations.len(), 1);
    assert_eq!(view.agents[&agent.id].operations[0].statuses.len(), 1);
    let known = ask(&mut cluster, &scheduler, vec![question("o", None)]).remove(0);
    assert_eq!((known.state, known.uuid), (OperationState::OperationFinished, None));

    let (_, effects) = cluster.call(&scheduler, acknowledge(&agent.id, "other"));
    assert!(names(&effects, &agent.pid).is_empty());
    let (answer, effects) = cluster.call(&scheduler, acknowledge(&agent.id, "o"));
    assert_eq!(answer, Response::Accepted);
    let MasterToAgent::AcknowledgeOperationStatus(message) = to_agent(&effects, &agent.pid)[0]
    else {
        panic!("{effects:?}");
    };
    assert_eq!((&message.operation_uuid, &message.status_uuid), (&of, &uuid(3)));
    let (_, effects) = cluster.call(&scheduler, acknowledge(&agent.id, "o"));
    assert!(names(&effects, &agent.pid).is_empty(), "it is forgotten");
    assert!(cluster.master.snapshot().agents[&agent.id].operations.is_empty());
}

#[test]
fn ids_need_a_stream_an_able_agent_and_no_launch() {
    let (mut cluster, agent, scheduler, offer) = Cluster::with_offer(in_role());
    let tasks = vec![task("t", &agent.id, 1.0, 64.0)];
    let operations = vec![with_id("l", launch(tasks))];
    let effects = cluster.accept(&scheduler, vec![offer.id], operations);
    let status = statuses(&effects, scheduler.connection).remove(0);
    let text = "The `id` field cannot be set on LAUNCH operations";
    assert_eq!(status.message.as_deref(), Some(text));

    // An agent without feedback.
    let mut cluster = Cluster::new();
    let mut message = registration(1);
    message.agent_capabilities.retain(|it| {
        it.r#type != Some(protocol::mesos::agent_info::capability::Type::AgentOperationFeedback)
    });
    let effects = cluster.agent_message(&crate::cluster::agent_pid(1), message);
    let id = crate::cluster::registered_id(&effects).unwrap();
    let (scheduler, effects) = cluster.subscribe(in_role());
    let offer = offers(&effects, scheduler.connection).remove(0);
    let effects = cluster.accept(&scheduler, vec![offer.id], vec![operation()]);
    let status = told(&effects, &scheduler).remove(0);
    assert_eq!(status.state, OperationState::OperationError);
    let text = format!(
        "Operation on agent default resources requested feedback, but agent {} does not have the \
         required AGENT_OPERATION_FEEDBACK and RESOURCE_PROVIDER capabilities",
        id.value
    );
    assert_eq!(status.message, Some(text));
    assert!(errors(&effects, scheduler.connection).is_empty());
}

#[test]
fn questions_are_answered_by_where_the_agent_is() {
    let (mut cluster, agent, scheduler, _) = with_operation(in_role());
    let other = cluster.add_agent(2);
    let gone = api::Call {
        r#type: Some(api::call::Type::MarkAgentGone),
        mark_agent_gone: Some(api::call::MarkAgentGone {
            agent_id: other.id.clone(),
            ..Default::default()
        }),
        ..Default::default()
    };
    cluster.operate(gone);
    let nobody = AgentId { value: "nobody".to_owned(), ..Default::default() };
    let questions = vec![
        question("o", Some(&agent.id)),
        question("x", Some(&agent.id)),
        question("x", Some(&other.id)),
        question("x", Some(&nobody)),
        question("x", None),
    ];
    let answers = ask(&mut cluster, &scheduler, questions);
    let expected = [
        (OperationState::OperationPending, None),
        (OperationState::OperationUnknown, Some("Reconciliation: Operation is unknown")),
        (
            OperationState::OperationGoneByOperator,
            Some("Reconciliation: Agent marked gone by operator"),
        ),
        (
            OperationState::OperationUnknown,
            Some("Reconciliation: Both operation and agent are unknown"),
        ),
        (
            OperationState::OperationUnknown,
            Some("Reconciliation: Operation is unknown and no 'agent_id' was provided"),
        ),
    ];
    let answers: Vec<_> = answers.iter().map(|it| (it.state, it.message.as_deref())).collect();
    assert_eq!(answers, expected);

    // Nobody answers pings: the agent becomes unreachable, and its operations with it.
    let effects = cluster.advance(Duration::from_secs(200));
    assert_eq!(operation_states(&effects, &scheduler), [OperationState::OperationUnreachable]);
    let answer = ask(&mut cluster, &scheduler, vec![question("o", Some(&agent.id))]).remove(0);
    assert_eq!(answer.state, OperationState::OperationUnreachable);
    assert_eq!(answer.message.as_deref(), Some("Reconciliation: Agent is unreachable"));
}

fn named(agent: &Agent, operations: Vec<Record>) -> UpdateSlaveMessage {
    UpdateSlaveMessage {
        slave_id: agent.id.clone(),
        update_oversubscribed_resources: Some(false),
        operations: Some(update_slave_message::Operations { operations, ..Default::default() }),
        resource_version_uuid: Some(uuid(200)),
        ..Default::default()
    }
}

#[test]
fn operations_the_agent_never_got_are_dropped() {
    let (mut cluster, agent, scheduler, of) = with_operation(in_role());
    cluster.agent_message(&agent.pid, reregistration(&agent));
    let effects = cluster.agent_message(&agent.pid, named(&agent, Vec::new()));
    let MasterToAgent::ReconcileOperations(message) = to_agent(&effects, &agent.pid)[0] else {
        panic!("{effects:?}");
    };
    assert_eq!(message.operations[0].operation_uuid, Some(of.clone()));
    let answer = UpdateOperationStatusMessage {
        slave_id: Some(agent.id.clone()),
        status: OperationStatus {
            state: OperationState::OperationDropped,
            agent_id: Some(agent.id.clone()),
            ..Default::default()
        },
        operation_uuid: Some(of),
        ..Default::default()
    };
    let effects = cluster.agent_message(&agent.pid, answer.clone());
    let status = told(&effects, &scheduler).remove(0);
    assert_eq!(status.state, OperationState::OperationDropped);
    assert_eq!(status.operation_id, Some(operation_id("o")));
    let effects = cluster.agent_message(&agent.pid, answer);
    assert!(told(&effects, &scheduler).is_empty(), "it is over");
}

#[test]
fn a_new_master_learns_operations_from_agents() {
    let (mut cluster, agent, scheduler, of) = with_operation(in_role());
    let record = {
        let view = cluster.master.snapshot();
        (*view.agents[&agent.id].operations[0]).clone()
    };
    cluster.restart();
    let info = FrameworkInfo { id: Some(scheduler.id.clone()), ..in_role() };
    let (again, _) = cluster.subscribe(info);
    let answer = ask(&mut cluster, &again, vec![question("o", Some(&agent.id))]).remove(0);
    assert_eq!(answer.state, OperationState::OperationRecovering);
    cluster.agent_message(&agent.pid, reregistration(&agent));
    cluster.agent_message(&agent.pid, named(&agent, vec![record]));
    let answer = ask(&mut cluster, &again, vec![question("o", Some(&agent.id))]).remove(0);
    assert_eq!(answer.state, OperationState::OperationPending);
    let update = finished(&agent, Some(&scheduler.id), of);
    let effects = cluster.agent_message(&agent.pid, update);
    assert_eq!(operation_states(&effects, &again), [OperationState::OperationFinished]);
    let (_, effects) = cluster.call(&again, acknowledge(&agent.id, "o"));
    assert_eq!(names(&effects, &agent.pid), ["AcknowledgeOperationStatusMessage"]);
}

#[test]
fn operations_of_a_framework_that_ended_are_acknowledged_by_the_master() {
    let (mut cluster, agent, scheduler, of) = with_operation(in_role());
    let teardown = scheduler::Call { r#type: Some(Type::Teardown), ..Default::default() };
    cluster.call(&scheduler, teardown);
    let update = finished(&agent, Some(&scheduler.id), of);
    let effects = cluster.agent_message(&agent.pid, update);
    assert_eq!(names(&effects, &agent.pid), ["AcknowledgeOperationStatusMessage"]);
    assert!(cluster.master.snapshot().agents[&agent.id].operations.is_empty());
}

#[test]
fn operations_of_an_unknown_framework_wait_for_it() {
    let mut cluster = Cluster::new();
    let agent = cluster.add_agent(1);
    cluster.agent_message(&agent.pid, reregistration(&agent));
    let stranger = FrameworkId { value: "stranger".to_owned(), ..Default::default() };
    let record = Record {
        framework_id: Some(stranger.clone()),
        agent_id: Some(agent.id.clone()),
        info: operation(),
        uuid: uuid(9),
        ..Default::default()
    };
    cluster.agent_message(&agent.pid, named(&agent, vec![record]));
    let update = finished(&agent, Some(&stranger), uuid(9));
    let effects = cluster.agent_message(&agent.pid, update.clone());
    assert!(names(&effects, &agent.pid).is_empty(), "the framework may still come");
    cluster.advance_with_pongs(Duration::from_secs(601), &[&agent]);
    let effects = cluster.agent_message(&agent.pid, update);
    assert_eq!(names(&effects, &agent.pid), ["AcknowledgeOperationStatusMessage"]);
}

#[test]
fn operators_and_operations_without_id_need_no_acknowledgement_of_others() {
    let (mut cluster, agent, scheduler, offer) = Cluster::with_offer(in_role());
    let operation = reserve(vec![reserved(scalar("cpus", 1.0))]);
    let effects = cluster.accept(&scheduler, vec![offer.id], vec![operation]);
    let of = applied(&effects, &agent).remove(0).operation_uuid;
    let update = finished(&agent, Some(&scheduler.id), of);
    let effects = cluster.agent_message(&agent.pid, update);
    assert!(told(&effects, &scheduler).is_empty());
    assert_eq!(names(&effects, &agent.pid), ["AcknowledgeOperationStatusMessage"]);
}

#[test]
fn an_agent_that_did_not_do_an_operation_is_asked_what_it_has() {
    let (mut cluster, agent, scheduler, offer) = Cluster::with_offer(in_role());
    let effects = cluster.accept(&scheduler, vec![offer.id], vec![operation()]);
    let of = applied(&effects, &agent).remove(0).operation_uuid;
    let total = |cluster: &mut Cluster| {
        let view = cluster.master.snapshot();
        view.agents.get(&agent.id).unwrap().total_resources.reserved().cpus().to_f64()
    };
    assert_eq!(total(&mut cluster), 1.0, "taken for done");
    let mut dropped = finished(&agent, Some(&scheduler.id), of);
    dropped.status.state = OperationState::OperationDropped;
    dropped.status.uuid = None;
    let effects = cluster.agent_message(&agent.pid, dropped);
    let asked = to_agent(&effects, &agent.pid)
        .into_iter()
        .any(|message| matches!(message, MasterToAgent::PingSlave(ping) if !ping.connected));
    assert!(asked, "{effects:?}");
    cluster.agent_message(&agent.pid, reregistration(&agent));
    assert_eq!(total(&mut cluster), 0.0);
}
