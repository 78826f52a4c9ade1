//! Agents are drained, deactivated, reactivated and declared gone.

use std::time::Duration;

use master::{Effect, Response};
use protocol::internal::{ReregisterSlaveMessage, UpdateSlaveMessage};
use protocol::master as api;
use protocol::master::call::{DeactivateAgent, DrainAgent, MarkAgentGone, ReactivateAgent, Type};
use protocol::mesos::task_status::Reason;
use protocol::mesos::{AgentId, DrainInfo, DrainState, FrameworkInfo, OfferId, TaskState};
use protocol::messages::MasterToAgent;
use protocol::pid::Pid;

use crate::cluster::{
    Agent, Cluster, Scheduler, framework_info, launch, launched, names, offers, partition_aware,
    registration, reregistration, rescinded, statuses, task, task_id, to_agent,
};

fn drain(id: &AgentId, seconds: Option<i64>, mark_gone: bool) -> api::Call {
    let max_grace_period = seconds
        .map(|seconds| protocol::google::Duration { seconds: Some(seconds), ..Default::default() });
    api::Call {
        r#type: Some(Type::DrainAgent),
        drain_agent: Some(DrainAgent {
            agent_id: id.clone(),
            max_grace_period,
            mark_gone: Some(mark_gone),
            ..Default::default()
        }),
        ..Default::default()
    }
}

fn reactivate(id: &AgentId) -> api::Call {
    api::Call {
        r#type: Some(Type::ReactivateAgent),
        reactivate_agent: Some(ReactivateAgent { agent_id: id.clone(), ..Default::default() }),
        ..Default::default()
    }
}

fn deactivate(id: &AgentId) -> api::Call {
    api::Call {
        r#type: Some(Type::DeactivateAgent),
        deactivate_agent: Some(DeactivateAgent { agent_id: id.clone(), ..Default::default() }),
        ..Default::default()
    }
}

fn mark_gone(id: &AgentId) -> api::Call {
    api::Call {
        r#type: Some(Type::MarkAgentGone),
        mark_agent_gone: Some(MarkAgentGone { agent_id: id.clone(), ..Default::default() }),
        ..Default::default()
    }
}

fn bad(text: &str) -> Option<Response> {
    Some(Response::BadRequest(text.to_owned()))
}

/// A framework that survives restarts, with a running task.
fn with_task(info: FrameworkInfo) -> (Cluster, Agent, Scheduler) {
    let info = FrameworkInfo { checkpoint: Some(true), failover_timeout: Some(1e6), ..info };
    let (mut cluster, agent, scheduler, offer) = Cluster::with_offer(info);
    cluster.running_task(&agent, &scheduler, &offer, "t");
    (cluster, agent, scheduler)
}

/// The offer of what the task left, which comes once the filter of the launch is over.
fn rest(cluster: &mut Cluster, scheduler: &Scheduler) -> OfferId {
    cluster.advance(Duration::from_secs(6));
    cluster.master.snapshot().frameworks[&scheduler.id].offers[0].id.clone()
}

fn drain_info(cluster: &mut Cluster, id: &AgentId) -> Option<DrainInfo> {
    cluster.master.snapshot().agents[id].drain_info.as_deref().cloned()
}

fn state(cluster: &mut Cluster, id: &AgentId) -> Option<DrainState> {
    drain_info(cluster, id).map(|info| info.state)
}

/// The drains that an agent was told of: the bound on grace periods in nanoseconds, and whether it
/// is gone afterwards.
fn told(effects: &[Effect], pid: &Pid) -> Vec<(Option<i64>, bool)> {
    to_agent(effects, pid)
        .into_iter()
        .filter_map(|message| match message {
            MasterToAgent::DrainSlave(message) => Some((
                message.config.max_grace_period.as_ref().map(|period| period.nanoseconds),
                message.config.mark_gone.unwrap_or(false),
            )),
            _ => None,
        })
        .collect()
}

/// The task's end, and its acknowledgement.
fn end_task(cluster: &mut Cluster, agent: &Agent, scheduler: &Scheduler) -> Vec<Effect> {
    cluster.update(agent, scheduler, "t", TaskState::TaskKilled, 9);
    let acknowledge = protocol::scheduler::call::Acknowledge {
        agent_id: agent.id.clone(),
        task_id: task_id("t"),
        uuid: vec![9; 16],
        ..Default::default()
    };
    let call = protocol::scheduler::Call {
        r#type: Some(protocol::scheduler::call::Type::Acknowledge),
        acknowledge: Some(acknowledge),
        ..Default::default()
    };
    cluster.call(scheduler, call).1
}

fn returning(cluster: &mut Cluster, agent: &Agent) -> ReregisterSlaveMessage {
    let view = cluster.master.snapshot();
    let framework = view.frameworks.values().next().unwrap();
    let all = framework.tasks.iter().chain(framework.unreachable_tasks.iter());
    let mut tasks: Vec<_> = all.map(|task| task.to_task()).collect();
    for task in &mut tasks {
        task.state = TaskState::TaskRunning;
    }
    ReregisterSlaveMessage {
        tasks,
        frameworks: vec![(*framework.info).clone()],
        ..reregistration(agent)
    }
}

#[test]
fn a_drain_is_durable_before_the_agent_hears_of_it_and_ends_with_its_tasks() {
    let (mut cluster, agent, scheduler) = with_task(framework_info("jobs"));
    let offered = rest(&mut cluster, &scheduler);
    cluster.writes_complete = false;
    let (answer, effects) = cluster.operate(drain(&agent.id, Some(60), false));
    assert_eq!(answer, None);
    assert!(told(&effects, &agent.pid).is_empty());
    let effects = cluster.complete_writes();
    cluster.writes_complete = true;
    assert!(effects.iter().any(|it| matches!(it, Effect::Respond { response: Response::Ok, .. })));
    assert_eq!(told(&effects, &agent.pid), [(Some(60_000_000_000), false)]);
    assert_eq!(rescinded(&effects, scheduler.connection), [offered]);
    assert_eq!(state(&mut cluster, &agent.id), Some(DrainState::Draining));
    let now = cluster.now;
    let view = cluster.master.snapshot();
    assert_eq!(view.agents[&agent.id].drain_start_time, Some(now));
    let shown = view.agents[&agent.id].to_response();
    assert_eq!(shown.deactivated, Some(true));
    assert!(!shown.active && shown.estimated_drain_start_time.is_some());

    assert_eq!(
        cluster.operate(reactivate(&agent.id)).0,
        bad("Agent is still in the DRAINING state")
    );
    // The end alone is not enough: the framework has to know of it.
    cluster.update(&agent, &scheduler, "t", TaskState::TaskKilled, 9);
    assert_eq!(state(&mut cluster, &agent.id), Some(DrainState::Draining));
    end_task(&mut cluster, &agent, &scheduler);
    assert_eq!(state(&mut cluster, &agent.id), Some(DrainState::Drained));
    let effects = cluster.advance_with_pongs(Duration::from_secs(60), &[&agent]);
    assert!(offers(&effects, scheduler.connection).is_empty(), "it is still out of the offers");

    let (answer, effects) = cluster.operate(reactivate(&agent.id));
    assert_eq!(answer, Some(Response::Ok));
    assert_eq!(offers(&effects, scheduler.connection).len(), 1);
    assert_eq!(drain_info(&mut cluster, &agent.id), None);
    assert_eq!(cluster.operate(reactivate(&agent.id)).0, bad("Agent is not deactivated"));
}

#[test]
fn an_idle_agent_is_drained_at_once_and_stays_so_across_masters() {
    let mut cluster = Cluster::new();
    let agent = cluster.add_agent(1);
    let (answer, _) = cluster.operate(drain(&agent.id, None, false));
    assert_eq!(answer, Some(Response::Ok));
    assert_eq!(state(&mut cluster, &agent.id), Some(DrainState::Drained));

    cluster.restart();
    let effects = cluster.agent_message(&agent.pid, reregistration(&agent));
    assert_eq!(told(&effects, &agent.pid), [(None, false)], "its own record may be lost");
    assert_eq!(state(&mut cluster, &agent.id), Some(DrainState::Drained));
    let (scheduler, effects) = cluster.subscribe(framework_info("jobs"));
    assert!(offers(&effects, scheduler.connection).is_empty());
    let (answer, effects) = cluster.operate(reactivate(&agent.id));
    assert_eq!(answer, Some(Response::Ok));
    assert_eq!(offers(&effects, scheduler.connection).len(), 1);
}

#[test]
fn a_drained_agent_is_gone_if_that_was_asked_for() {
    let (mut cluster, agent, scheduler) = with_task(partition_aware("jobs"));
    cluster.operate(drain(&agent.id, None, true));
    let effects = end_task(&mut cluster, &agent, &scheduler);
    assert!(names(&effects, &agent.pid).contains(&"ShutdownMessage"));
    assert!(cluster.master.snapshot().agents.is_empty());
    let effects = cluster.agent_message(&agent.pid, reregistration(&agent));
    assert_eq!(names(&effects, &agent.pid), ["ShutdownMessage"]);
    assert_eq!(cluster.operate(drain(&agent.id, None, false)).0, bad("Unknown agent"));
}

#[test]
fn a_draining_agent_is_told_again_when_it_returns() {
    let (mut cluster, agent, scheduler) = with_task(partition_aware("jobs"));
    cluster.operate(drain(&agent.id, Some(5), false));
    let message = returning(&mut cluster, &agent);

    // The same master.
    let effects = cluster.agent_message(&agent.pid, message.clone());
    assert_eq!(told(&effects, &agent.pid), [(Some(5_000_000_000), false)]);

    // Another master: it does not know yet that nothing is left to drain.
    cluster.restart();
    let effects = cluster.agent_message(&agent.pid, message.clone());
    assert_eq!(told(&effects, &agent.pid), [(Some(5_000_000_000), false)]);
    assert_eq!(state(&mut cluster, &agent.id), Some(DrainState::Draining));

    // Out of reach for a while.
    let info = FrameworkInfo {
        id: Some(scheduler.id),
        checkpoint: Some(true),
        failover_timeout: Some(1e6),
        ..partition_aware("jobs")
    };
    let (scheduler, _) = cluster.subscribe(info);
    let effects = cluster.advance(Duration::from_secs(90));
    let lost: Vec<_> = statuses(&effects, scheduler.connection);
    assert_eq!(lost[0].state, TaskState::TaskUnreachable);
    let effects = cluster.agent_message(&agent.pid, message);
    assert_eq!(told(&effects, &agent.pid), [(Some(5_000_000_000), false)]);
    assert!(!cluster.master.snapshot().agents[&agent.id].active);
    end_task(&mut cluster, &agent, &scheduler);
    assert_eq!(state(&mut cluster, &agent.id), Some(DrainState::Drained));
}

#[test]
fn operations_are_waited_for() {
    let mut cluster = Cluster::new();
    let agent = cluster.add_agent(1);
    cluster.operate(drain(&agent.id, None, false));
    cluster.restart();
    // It returns with an operation, which only the update after the registration tells.
    let operation = protocol::mesos::Operation {
        agent_id: Some(agent.id.clone()),
        uuid: crate::cluster::uuid(3),
        ..Default::default()
    };
    cluster.operate(drain(&agent.id, None, false));
    cluster.agent_message(&agent.pid, reregistration(&agent));
    assert_eq!(state(&mut cluster, &agent.id), Some(DrainState::Draining));
    let update = |operations| UpdateSlaveMessage {
        slave_id: agent.id.clone(),
        operations: Some(protocol::internal::update_slave_message::Operations {
            operations,
            ..Default::default()
        }),
        ..Default::default()
    };
    cluster.agent_message(&agent.pid, update(vec![operation]));
    assert_eq!(state(&mut cluster, &agent.id), Some(DrainState::Draining));
    let finished = protocol::internal::UpdateOperationStatusMessage {
        slave_id: Some(agent.id.clone()),
        operation_uuid: Some(crate::cluster::uuid(3)),
        status: protocol::mesos::OperationStatus {
            state: protocol::mesos::OperationState::OperationFinished,
            uuid: Some(crate::cluster::uuid(4)),
            ..Default::default()
        },
        ..Default::default()
    };
    cluster.agent_message(&agent.pid, finished);
    assert_eq!(state(&mut cluster, &agent.id), Some(DrainState::Drained));
}

#[test]
fn an_unreachable_agent_can_be_drained() {
    let (mut cluster, agent, scheduler) = with_task(partition_aware("jobs"));
    let message = returning(&mut cluster, &agent);
    cluster.advance(Duration::from_secs(90));
    assert_eq!(cluster.operate(drain(&agent.id, None, false)).0, Some(Response::Ok));
    cluster.restart();
    let effects = cluster.agent_message(&agent.pid, message);
    assert_eq!(told(&effects, &agent.pid), [(None, false)]);
    let info = FrameworkInfo { id: Some(scheduler.id), ..partition_aware("jobs") };
    let (scheduler, effects) = cluster.subscribe(info);
    assert!(offers(&effects, scheduler.connection).is_empty());
}

#[test]
fn what_cannot_be_drained_is_refused() {
    let mut cluster = Cluster::new();
    let unknown = AgentId { value: "nobody".to_owned(), ..Default::default() };
    assert_eq!(cluster.operate(drain(&unknown, None, false)).0, bad("Unknown agent"));
    assert_eq!(cluster.operate(deactivate(&unknown)).0, bad("Unknown agent"));
    assert_eq!(cluster.operate(reactivate(&unknown)).0, bad("Agent is not deactivated"));
    let not_found = Response::NotFound("Agent 'nobody' not found".to_owned());
    assert_eq!(cluster.operate(mark_gone(&unknown)).0, Some(not_found));

    let pid = crate::cluster::agent_pid(2);
    let mut message = registration(2);
    message.agent_capabilities.clear();
    let effects = cluster.agent_message(&pid, message);
    let old = crate::cluster::registered_id(&effects).unwrap();
    let text = format!("Agent {} is not capable of draining", old.value);
    assert_eq!(cluster.operate(drain(&old, None, false)).0, bad(&text));

    let agent = cluster.add_agent(1);
    for seconds in [-1, i64::MAX] {
        let text = "Expecting 'max_grace_period' to be between zero and 292 years";
        assert_eq!(cluster.operate(drain(&agent.id, Some(seconds), false)).0, bad(text));
    }
    cluster.writes_complete = false;
    assert_eq!(cluster.operate(mark_gone(&agent.id)).0, None);
    let conflict = Response::Conflict("Agent is currently being marked gone".to_owned());
    assert_eq!(cluster.operate(drain(&agent.id, None, false)).0, Some(conflict));
    let text = format!("Agent '{}' is already being transitioned to gone", agent.id.value);
    let busy = Response::ServiceUnavailable(text);
    assert_eq!(cluster.operate(mark_gone(&agent.id)).0, Some(busy));
    cluster.complete_writes();
    assert_eq!(cluster.operate(mark_gone(&agent.id)).0, Some(Response::Ok));
}

#[test]
fn a_deactivated_agent_keeps_its_tasks_and_gets_no_new_ones() {
    let (mut cluster, agent, scheduler) = with_task(framework_info("jobs"));
    let offer = rest(&mut cluster, &scheduler);
    let (answer, effects) = cluster.operate(deactivate(&agent.id));
    assert_eq!(answer, Some(Response::Ok));
    assert!(names(&effects, &agent.pid).is_empty(), "the agent does not hear of it");
    let late = launch(vec![task("late", &agent.id, 1.0, 32.0)]);
    let effects = cluster.accept(&scheduler, vec![offer], vec![late]);
    assert!(launched(&effects).is_empty());
    assert_eq!(cluster.operate(deactivate(&agent.id)).0, Some(Response::Ok), "again");
    let view = cluster.master.snapshot();
    assert_eq!(view.frameworks[&scheduler.id].tasks[0].state, TaskState::TaskRunning);
    // A drain may follow, and a deactivation does not end a drain.
    cluster.operate(drain(&agent.id, None, false));
    cluster.operate(deactivate(&agent.id));
    assert_eq!(state(&mut cluster, &agent.id), Some(DrainState::Draining));
}

#[test]
fn tasks_of_an_unreachable_agent_end_when_it_is_declared_gone() {
    for (info, expected, reason) in [
        (
            partition_aware("jobs"),
            TaskState::TaskGoneByOperator,
            Reason::ReasonAgentRemovedByOperator,
        ),
        (framework_info("jobs"), TaskState::TaskLost, Reason::ReasonAgentRemoved),
    ] {
        let aware = expected == TaskState::TaskGoneByOperator;
        let (mut cluster, agent, scheduler) = with_task(info);
        cluster.advance(Duration::from_secs(90));
        let before = cluster.master.snapshot();
        assert_eq!(before.frameworks[&scheduler.id].unreachable_tasks.len(), 1);
        let (answer, effects) = cluster.operate(mark_gone(&agent.id));
        assert_eq!(answer, Some(Response::Ok));
        let status = statuses(&effects, scheduler.connection).remove(0);
        assert_eq!((status.state, status.reason), (expected, Some(reason)), "aware: {aware}");
        assert_eq!(status.message.as_deref(), Some("Agent has been marked gone"));
        let view = cluster.master.snapshot();
        let framework = &view.frameworks[&scheduler.id];
        assert!(framework.unreachable_tasks.is_empty() && framework.tasks.is_empty());
        assert_eq!(framework.completed_tasks[0].state, expected);
    }
}

#[test]
fn calls_wait_for_what_is_written_about_their_agent() {
    let mut cluster = Cluster::new();
    let agent = cluster.add_agent(1);
    cluster.writes_complete = false;
    let mut returning = reregistration(&agent);
    returning.slave.attributes = vec![protocol::mesos::Attribute {
        name: "rack".to_owned(),
        r#type: protocol::mesos::value::Type::Text,
        text: Some(protocol::mesos::value::Text { value: "r1".to_owned(), ..Default::default() }),
        ..Default::default()
    }];
    cluster.agent_message(&agent.pid, returning);
    for call in [deactivate(&agent.id), reactivate(&agent.id), drain(&agent.id, None, false)] {
        assert_eq!(cluster.operate(call).0, None, "it waits");
    }
    let effects = cluster.complete_writes();
    let answers: Vec<_> = effects
        .iter()
        .filter_map(|effect| match effect {
            Effect::Respond { response, .. } => Some(response.clone()),
            _ => None,
        })
        .collect();
    assert_eq!(answers, [Response::Ok, Response::Ok, Response::Ok]);
    let view = cluster.master.snapshot();
    assert_eq!(view.agents[&agent.id].info.attributes.len(), 1);
    assert_eq!(state(&mut cluster, &agent.id), Some(DrainState::Drained));
}
