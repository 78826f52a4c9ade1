use std::time::Duration;

use protocol::executor::call::{Subscribe, Type as CallType, Update};
use protocol::executor::event::Type;
use protocol::executor::{Call, call};
use protocol::internal::{
    FrameworkToExecutorMessage, ShutdownExecutorMessage, ShutdownFrameworkMessage,
};
use protocol::mesos::{TaskState, task_status::Reason};
use protocol::messages::{AgentToMaster, MasterToAgent};

use super::samples::{
    agent_id, command_task, config, executor_id, executor_task, framework, framework_id, run_task,
    task_id,
};
use super::world::World;
use crate::checkpoint::Tree;
use crate::effect::{Effect, Status};
use crate::event::{ConnectionId, Event};
use crate::executor::State;

fn call(executor: &str, kind: CallType) -> Call {
    Call {
        framework_id: framework_id("F"),
        executor_id: executor_id(executor),
        r#type: Some(kind),
        ..Default::default()
    }
}

fn destroyed(world: &World) -> bool {
    world.effects.iter().any(|effect| matches!(effect, Effect::DestroyContainer { .. }))
}

#[test]
fn calls_are_refused_with_mesos_codes_and_words() {
    let mut world = World::new();
    let early = world.call(call("t", CallType::Message));
    assert_eq!(early.status, Status::ServiceUnavailable);
    assert_eq!(early.body, "Agent has not finished recovery");
    world.recover_containers(&[]);
    world.register();
    let unknown = |world: &mut World| {
        let mut message = call("t", CallType::Message);
        message.message = Some(call::Message::default());
        world.call(message)
    };
    let answer = unknown(&mut world);
    assert_eq!((answer.status, &*answer.body), (Status::BadRequest, "Framework cannot be found"));
    world.launch(framework("F", true), command_task("other"));
    let answer = unknown(&mut world);
    assert_eq!((answer.status, &*answer.body), (Status::BadRequest, "Executor cannot be found"));
    world.launch(framework("F", true), command_task("t"));
    let answer = unknown(&mut world);
    assert_eq!((answer.status, &*answer.body), (Status::Forbidden, "Executor is not subscribed"));
    // A sign of life is welcome from anybody.
    assert_eq!(world.call(call("nobody", CallType::Heartbeat)).status, Status::Accepted);
    let incomplete = world.call(call("t", CallType::Update));
    assert_eq!(incomplete.status, Status::BadRequest);
    assert_eq!(
        incomplete.body,
        "Failed to validate Executor::Call: Expecting 'update' to be present"
    );
    let mut untyped = call("t", CallType::Message);
    untyped.r#type = None;
    assert_eq!(world.call(untyped).status, Status::BadRequest);
    world.subscribe("F", "t");
    let staging = world.status("t", TaskState::TaskStaging);
    let answer = world.update("F", "t", staging);
    assert!(answer.body.contains("TASK_STAGING"), "{}", answer.body);
    let mut anonymous = world.status("t", TaskState::TaskRunning);
    anonymous.uuid = None;
    assert_eq!(world.update("F", "t", anonymous).status, Status::BadRequest);
    let mut foreign = world.status("t", TaskState::TaskRunning);
    foreign.source = None;
    assert_eq!(world.update("F", "t", foreign).status, Status::BadRequest);
}

#[test]
fn an_unknown_executor_may_not_subscribe() {
    let mut world = World::registered();
    let connection = world.subscribe("F", "t");
    let refused = world.effects.iter().any(|effect| {
        matches!(effect, Effect::RefuseExecutor { connection: of, response }
            if *of == connection && response.status == Status::BadRequest)
    });
    assert!(refused);
}

#[test]
fn an_executor_that_never_subscribes_is_destroyed() {
    let mut world = World::registered();
    let launch = world.launch(framework("F", true), command_task("t"));
    world.pass(Duration::from_secs(59));
    assert!(!destroyed(&world));
    world.pass(Duration::from_secs(2));
    assert!(destroyed(&world));
    world.container_exited(&launch.container, 9);
    let update = world.updates().pop().unwrap();
    assert_eq!(update.status.state, TaskState::TaskFailed);
    assert_eq!(update.status.reason, Some(Reason::ReasonExecutorRegistrationTimeout));
    assert_eq!(update.status.message.as_deref(), Some("Executor did not register within 1mins"));
}

#[test]
fn a_new_subscription_replaces_the_old_one() {
    let mut world = World::registered();
    world.launch(framework("F", true), command_task("t"));
    let first = world.subscribe("F", "t");
    world.events();
    let task = command_task("t");
    let known = Subscribe { unacknowledged_tasks: vec![task], ..Default::default() };
    let second = world.subscribe_with("F", "t", known);
    assert!(
        world
            .effects
            .iter()
            .any(|it| matches!(it, Effect::CloseExecutor { connection } if *connection == first))
    );
    let events = world.events();
    assert_eq!(events.len(), 1, "the task is not launched again");
    assert_eq!(events[0].0, second);
    // The end of the old stream does not end the new one.
    world.handle(Event::ExecutorConnectionClosed { connection: first });
    world.master_says(MasterToAgent::FrameworkToExecutor(message_to("t")));
    assert_eq!(world.event_types(), [Type::Message]);
}

fn message_to(executor: &str) -> FrameworkToExecutorMessage {
    FrameworkToExecutorMessage {
        slave_id: agent_id(),
        framework_id: framework_id("F"),
        executor_id: executor_id(executor),
        data: b"hello".to_vec(),
        ..Default::default()
    }
}

#[test]
fn a_task_lost_on_its_way_to_the_executor_is_dropped() {
    let mut world = World::registered();
    world.launch(framework("F", true), executor_task("a", "e"));
    let connection = world.subscribe("F", "e");
    world.handle(Event::ExecutorConnectionClosed { connection });
    world.master_says(run_task(framework("F", true), executor_task("b", "e")));
    world.events();
    let mut status = world.status("c", TaskState::TaskRunning);
    status.task_id = task_id("a");
    let update = Update { status, ..Default::default() };
    let subscribe = Subscribe { unacknowledged_updates: vec![update], ..Default::default() };
    world.subscribe_with("F", "e", subscribe);
    // `a` is known by its update, and `b` was not sent before.
    assert_eq!(world.event_types(), [Type::Acknowledged, Type::Subscribed, Type::Launch]);
    assert_eq!(world.acknowledge_all()["a"], [TaskState::TaskRunning]);
    // `b` was sent now; the executor comes back without it.
    world.subscribe("F", "e");
    let update = world.updates().pop().unwrap();
    assert_eq!(update.status.task_id, task_id("b"));
    assert_eq!(update.status.state, TaskState::TaskDropped);
    assert_eq!(update.status.reason, Some(Reason::ReasonAgentRestarted));
}

#[test]
fn messages_pass_both_ways() {
    let mut world = World::registered();
    world.launch(framework("F", true), command_task("t"));
    world.master_says(MasterToAgent::FrameworkToExecutor(message_to("t")));
    assert_eq!(world.view().metrics.invalid_framework_messages, 1);
    world.subscribe("F", "t");
    world.effects.clear();
    world.master_says(MasterToAgent::FrameworkToExecutor(message_to("t")));
    let (_, event) = world.events().pop().unwrap();
    assert_eq!(event.message.unwrap().data, b"hello");
    let mut answer = call("t", CallType::Message);
    answer.message = Some(call::Message { data: b"hi".to_vec(), ..Default::default() });
    world.call(answer);
    let messages = world.messages();
    let [AgentToMaster::ExecutorToFramework(message)] = &messages[..] else {
        panic!("{messages:?}")
    };
    assert_eq!(message.data, b"hi");
    assert_eq!(world.view().metrics.valid_framework_messages, 2);
}

#[test]
fn executors_get_signs_of_life() {
    let mut world = World::registered();
    world.launch(framework("F", true), command_task("t"));
    world.subscribe("F", "t");
    world.events();
    world.pass(Duration::from_secs(3 * 30 * 60 + 1));
    assert_eq!(world.event_types(), [Type::Heartbeat; 3]);
}

#[test]
fn a_shutdown_grants_the_executor_its_grace_period() {
    let mut world = World::registered();
    let mut task = executor_task("a", "e");
    let grace = protocol::mesos::DurationInfo { nanoseconds: 7_000_000_000, ..Default::default() };
    task.executor.as_mut().unwrap().shutdown_grace_period = Some(grace);
    let launch = world.launch(framework("F", true), task);
    assert_eq!(launch.environment["MESOS_EXECUTOR_SHUTDOWN_GRACE_PERIOD"], "7secs");
    world.subscribe("F", "e");
    world.events();
    world.master_says(MasterToAgent::ShutdownExecutor(ShutdownExecutorMessage {
        framework_id: Some(framework_id("F")),
        executor_id: Some(executor_id("e")),
        ..Default::default()
    }));
    assert_eq!(world.event_types(), [Type::Shutdown]);
    world.pass(Duration::from_secs(6));
    assert!(!destroyed(&world));
    world.pass(Duration::from_secs(1));
    assert!(destroyed(&world));
    world.container_exited(&launch.container, 9);
    let update = world.updates().pop().unwrap();
    assert_eq!(update.status.state, TaskState::TaskFailed);
    assert_eq!(update.status.reason, Some(Reason::ReasonExecutorTerminated));
    assert_eq!(update.status.message.as_deref(), Some("Executor terminated"));
}

#[test]
fn a_framework_that_is_gone_is_told_nothing() {
    let mut world = World::registered();
    let launch = world.launch(framework("F", true), command_task("t"));
    world.subscribe("F", "t");
    world.effects.clear();
    world.master_says(MasterToAgent::ShutdownFramework(ShutdownFrameworkMessage {
        framework_id: framework_id("F"),
        ..Default::default()
    }));
    assert_eq!(world.event_types(), [Type::Shutdown]);
    let killed = world.status("t", TaskState::TaskKilled);
    world.update("F", "t", killed);
    world.container_exited(&launch.container, 0);
    world.pass(Duration::from_secs(60));
    assert!(world.updates().is_empty());
    let view = world.view();
    assert!(view.frameworks.is_empty());
    assert_eq!(view.completed_frameworks.len(), 1);
}

#[test]
fn histories_are_bounded() {
    let mut config = config();
    config.history.completed_executors_per_framework_max = 3;
    config.history.completed_frameworks_max = 2;
    config.history.completed_tasks_per_executor_max = 4;
    let mut world = World::start(config, Tree::default()).unwrap();
    world.recover_containers(&[]);
    world.register();
    let launch = world.launch(framework("F", false), executor_task("t0", "e"));
    world.subscribe("F", "e");
    for index in 0..9 {
        let task = format!("t{index}");
        if index > 0 {
            world.master_says(run_task(framework("F", false), executor_task(&task, "e")));
        }
        let finished = world.status(&task, TaskState::TaskFinished);
        world.update("F", "e", finished);
        world.acknowledge_all();
    }
    assert_eq!(world.view().frameworks[0].executors[0].completed_tasks.len(), 4);
    world.container_exited(&launch.container, 0);
    for index in 0..5 {
        let id = format!("G{index}");
        for executor in 0..5 {
            let task = format!("t{executor}");
            let launch = world.launch(framework(&id, false), command_task(&task));
            world.container_exited(&launch.container, 0);
        }
        world.acknowledge_all();
    }
    let view = world.view();
    assert_eq!(view.completed_frameworks.len(), 2);
    assert_eq!(view.completed_frameworks[1].completed_executors.len(), 3);
}

#[test]
fn a_stream_of_nobody_may_close() {
    let mut world = World::registered();
    world.handle(Event::ExecutorConnectionClosed { connection: ConnectionId(77) });
    assert!(world.effects.is_empty());
    let launch = world.launch(framework("F", false), command_task("t"));
    world.subscribe("F", "t");
    world.container_exited(&launch.container, 0);
    world.container_exited(&launch.container, 0);
    assert_eq!(world.view().frameworks[0].executors[0].state, State::Terminated);
    assert_eq!(world.view().metrics.executors_terminated, 1);
}
