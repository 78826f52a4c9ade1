use std::time::Duration;

use protocol::executor::event::Type;
use protocol::internal::{KillTaskMessage, ResourceVersionUuid, RunTaskMessage};
use protocol::mesos::{self, TaskState, executor_info, task_status};
use protocol::messages::{AgentToMaster, MasterToAgent};

use super::samples::{
    command_task, custom_executor, executor_id, executor_task, framework, framework_id, run_group,
    run_task, task_id,
};
use super::world::World;
use crate::effect::Effect;
use crate::event::{Event, Limitation};
use crate::executor::State;

fn kill(task: &str) -> MasterToAgent {
    MasterToAgent::KillTask(KillTaskMessage {
        framework_id: framework_id("F"),
        task_id: task_id(task),
        ..Default::default()
    })
}

#[test]
fn a_command_task_runs_from_end_to_end() {
    let mut world = World::registered();
    world.master_says(run_task(framework("F", true), command_task("t")));
    assert!(matches!(
        &world.effects[..],
        [Effect::CreateSandbox { .. }, Effect::LaunchContainer(_)]
    ));
    let launch = world.launches().pop().unwrap();
    let run = format!("slaves/S0/frameworks/F/executors/t/runs/{}", launch.container.value);
    assert_eq!(launch.directory, format!("/var/agent/{run}"));
    assert_eq!(launch.user.as_deref(), Some("nobody"));
    assert_eq!(launch.pid_checkpoint, Some(format!("{run}/pids/forked.pid")));
    assert_eq!(launch.command.value.as_deref(), Some("/opt/meseta"));
    assert_eq!(launch.command.shell, Some(false));
    // The executor's little, and what its task has.
    let cpus = launch.resources.iter().find(|it| it.name == "cpus").unwrap();
    assert!((cpus.scalar.as_ref().unwrap().value - 0.6).abs() < 1e-9);
    assert_environment(&launch.environment, &launch.directory);
    world.container_launched(&launch.container);
    let connection = world.subscribe("F", "t");
    assert!(
        world
            .effects
            .iter()
            .any(|it| matches!(it, Effect::AcceptExecutor { connection: of } if *of == connection))
    );
    let events = world.events();
    assert_eq!(events.len(), 2);
    assert_eq!(events[0].1.r#type, Some(Type::Subscribed));
    assert_eq!(events[1].1.r#type, Some(Type::Launch));
    assert_eq!(events[1].1.launch.as_ref().unwrap().task.task_id, task_id("t"));
    let name = events[0].1.subscribed.as_ref().unwrap().executor_info.name.clone();
    assert_eq!(name.as_deref(), Some("Command Executor (Task: t) (Command: sh -c 'sleep 9')"));
    for state in [TaskState::TaskStarting, TaskState::TaskRunning, TaskState::TaskFinished] {
        let status = world.status("t", state);
        assert_eq!(world.update("F", "t", status).status.code(), 202);
        assert_eq!(world.event_types(), [Type::Acknowledged]);
    }
    let states = world.acknowledge_all();
    assert_eq!(
        states["t"],
        [TaskState::TaskStarting, TaskState::TaskRunning, TaskState::TaskFinished]
    );
    world.container_exited(&launch.container, 0);
    let view = world.view();
    assert!(view.frameworks.is_empty());
    assert!(view.allocated.is_empty());
    let executor = &view.completed_frameworks[0].completed_executors[0];
    assert_eq!(executor.completed_tasks[0].state, TaskState::TaskFinished);
    assert_eq!(view.metrics.tasks_finished, 1);
    assert_eq!(view.metrics.executors_terminated, 1);
    assert!(world.disk.file(&format!("{run}/executor.sentinel")).is_some());
    assert!(
        !world.messages().iter().any(|it| matches!(it, AgentToMaster::ExitedExecutor(_))),
        "the master does not know of command executors"
    );
}

fn assert_environment(environment: &std::collections::BTreeMap<String, String>, directory: &str) {
    let expected = [
        ("LIBPROCESS_PORT", "0"),
        ("MESOS_AGENT_ENDPOINT", "127.0.0.1:5051"),
        ("MESOS_ALLOCATION_ROLE", "*"),
        ("MESOS_CHECKPOINT", "1"),
        ("MESOS_DIRECTORY", directory),
        ("MESOS_EXECUTOR_ID", "t"),
        ("MESOS_EXECUTOR_SHUTDOWN_GRACE_PERIOD", "5secs"),
        ("MESOS_FRAMEWORK_ID", "F"),
        ("MESOS_HTTP_COMMAND_EXECUTOR", "1"),
        ("MESOS_RECOVERY_TIMEOUT", "15mins"),
        ("MESOS_SANDBOX", directory),
        ("MESOS_SLAVE_ID", "S0"),
        ("MESOS_SLAVE_PID", "slave(1)@127.0.0.1:5051"),
        ("MESOS_SUBSCRIPTION_BACKOFF_MAX", "2secs"),
        ("PATH", "/bin"),
    ];
    let expected: std::collections::BTreeMap<String, String> =
        expected.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    assert_eq!(*environment, expected);
}

#[test]
fn the_container_is_launched_only_after_the_task_is_on_disk() {
    let mut world = World::registered();
    world.disk_is_stuck = true;
    world.master_says(run_task(framework("F", true), command_task("t")));
    assert!(world.effects.is_empty());
    world.unstick_disk();
    assert_eq!(world.launches().len(), 1);
    // A framework that does not checkpoint waits for nothing.
    world.disk_is_stuck = true;
    world.master_says(run_task(framework("G", false), command_task("u")));
    assert_eq!(world.launches().len(), 1);
    assert!(world.stuck.is_empty());
}

#[test]
fn one_executor_runs_many_tasks_in_order() {
    let mut world = World::registered();
    let launch = world.launch(framework("F", false), executor_task("a", "e"));
    world.master_says(run_task(framework("F", false), executor_task("b", "e")));
    assert!(world.launches().is_empty(), "the executor is there already");
    world.subscribe("F", "e");
    let launched: Vec<String> = world
        .events()
        .into_iter()
        .filter_map(|(_, event)| Some(event.launch?.task.task_id.value.clone()))
        .collect();
    assert_eq!(launched, ["a", "b"]);
    world.master_says(run_task(framework("F", false), executor_task("c", "e")));
    assert_eq!(world.event_types(), [Type::Launch]);
    let resources = world.effects.iter().rev().find_map(|effect| match effect {
        Effect::UpdateContainer { resources, .. } => Some(resources.clone()),
        _ => None,
    });
    let resources = resources.unwrap();
    let cpus = resources.iter().find(|it| it.name == "cpus").unwrap();
    assert!((cpus.scalar.as_ref().unwrap().value - 1.75).abs() < 1e-9);
    world.container_exited(&launch.container, 0x100);
    let messages = world.messages();
    let exited = messages.iter().find_map(|message| match message {
        AgentToMaster::ExitedExecutor(message) => Some(message),
        _ => None,
    });
    assert_eq!(exited.unwrap().status, 0x100);
}

#[test]
fn tasks_of_an_executor_that_dies_fail_with_its_reason() {
    let mut world = World::registered();
    let launch = world.launch(framework("F", false), executor_task("a", "e"));
    world.subscribe("F", "e");
    let running = world.status("a", TaskState::TaskRunning);
    world.update("F", "e", running);
    world.master_says(run_task(framework("F", false), executor_task("b", "e")));
    world.acknowledge_all();
    world.handle(Event::ContainerExited {
        container: launch.container,
        termination: crate::event::ContainerTermination {
            status: Some(9),
            limitation: Some(Limitation {
                reason: task_status::Reason::ReasonContainerLimitationMemory,
                resources: vec![super::samples::scalar("mem", 64.0)],
                message: "Memory limit exceeded".to_owned(),
            }),
            message: None,
        },
    });
    let updates = world.updates();
    assert_eq!(updates.len(), 2);
    for update in &updates {
        assert_eq!(update.status.state, TaskState::TaskFailed);
        assert_eq!(
            update.status.reason,
            Some(task_status::Reason::ReasonContainerLimitationMemory)
        );
        assert_eq!(update.status.message.as_deref(), Some("Memory limit exceeded"));
        assert_eq!(update.status.limitation.as_ref().unwrap().resources[0].name, "mem");
        assert_eq!(update.status.source, Some(task_status::Source::SourceAgent));
    }
    assert_eq!(world.view().frameworks[0].executors[0].state, State::Terminated);
    for update in &updates {
        world.acknowledge(update);
    }
    assert!(world.view().frameworks.is_empty());
}

#[test]
fn a_container_that_cannot_be_launched_fails_its_tasks() {
    let mut world = World::registered();
    world.master_says(run_task(framework("F", true), command_task("t")));
    let container = world.launches().pop().unwrap().container;
    let message = "fetching http://x failed".to_owned();
    world.handle(Event::ContainerLaunchFailed { container, message, reason: None });
    let updates = world.updates();
    assert_eq!(updates[0].status.state, TaskState::TaskFailed);
    assert_eq!(updates[0].status.reason, Some(task_status::Reason::ReasonContainerLaunchFailed));
    assert_eq!(
        updates[0].status.message.as_deref(),
        Some("Failed to launch container: fetching http://x failed")
    );
    world.acknowledge(&updates[0]);
    assert!(world.view().frameworks.is_empty());
    assert_eq!(world.view().metrics.container_launch_errors, 1);
}

#[test]
fn a_kill_before_the_executor_subscribes_ends_the_task_there() {
    let mut world = World::registered();
    world.launch(framework("F", false), command_task("t"));
    world.master_says(kill("t"));
    let updates = world.updates();
    assert_eq!(updates[0].status.state, TaskState::TaskKilled);
    assert_eq!(updates[0].status.reason, Some(task_status::Reason::ReasonTaskKilledDuringLaunch));
    // An executor without a task would wait for ever.
    world.subscribe("F", "t");
    assert_eq!(world.event_types(), [Type::Shutdown]);
    assert_eq!(world.view().frameworks[0].executors[0].state, State::Terminating);
}

#[test]
fn a_kill_of_a_running_task_goes_to_its_executor_even_if_that_is_away() {
    let mut world = World::registered();
    world.launch(framework("F", false), command_task("t"));
    let connection = world.subscribe("F", "t");
    let running = world.status("t", TaskState::TaskRunning);
    world.update("F", "t", running);
    world.events();
    world.master_says(kill("t"));
    assert_eq!(world.event_types(), [Type::Kill]);
    world.handle(Event::ExecutorConnectionClosed { connection });
    world.master_says(kill("t"));
    assert!(world.events().is_empty());
    world.subscribe("F", "t");
    assert_eq!(world.event_types(), [Type::Subscribed, Type::Kill]);
}

#[test]
fn a_kill_of_an_unknown_task_is_answered() {
    let mut world = World::registered();
    world.launch(framework("F", false), command_task("t"));
    world.master_says(kill("other"));
    let updates = world.updates();
    assert_eq!(updates[0].status.task_id, task_id("other"));
    assert_eq!(updates[0].status.state, TaskState::TaskDropped);
    assert_eq!(updates[0].status.reason, Some(task_status::Reason::ReasonExecutorTerminated));
}

#[test]
fn a_task_group_is_launched_whole_and_killed_whole() {
    let default_executor = mesos::ExecutorInfo {
        r#type: Some(executor_info::Type::Default),
        command: None,
        ..custom_executor("pod")
    };
    let mut world = World::registered();
    let tasks = vec![command_task("a"), command_task("b")];
    world.master_says(run_group(framework("F", true), default_executor.clone(), tasks.clone()));
    let launch = world.launches().pop().unwrap();
    assert_eq!(launch.command.arguments, ["default-executor", "executor"]);
    world.container_launched(&launch.container);
    world.subscribe("F", "pod");
    let events = world.events();
    let group = events[1].1.launch_group.as_ref().unwrap();
    assert_eq!(group.task_group.tasks.len(), 2);
    assert_eq!(world.view().frameworks[0].executors[0].launched_tasks.len(), 2);

    let mut world = World::registered();
    world.master_says(run_group(framework("F", true), default_executor, tasks));
    world.master_says(kill("b"));
    let states = world.acknowledge_all();
    assert_eq!(states["a"], [TaskState::TaskKilled]);
    assert_eq!(states["b"], [TaskState::TaskKilled]);
}

#[test]
fn refused_launches_are_reported_as_dropped() {
    let mut world = World::registered();
    let version = ResourceVersionUuid {
        uuid: mesos::Uuid { value: vec![1; 16], ..Default::default() },
        ..Default::default()
    };
    world.master_says(MasterToAgent::from(RunTaskMessage {
        framework: framework("F", true),
        task: command_task("outdated"),
        resource_version_uuids: vec![version],
        ..Default::default()
    }));
    let update = world.updates().pop().unwrap();
    assert_eq!(update.status.state, TaskState::TaskDropped);
    assert_eq!(update.status.reason, Some(task_status::Reason::ReasonInvalidOffers));
    // No executor is expected, and there is none.
    world.master_says(MasterToAgent::from(RunTaskMessage {
        framework: framework("F", true),
        task: executor_task("late", "gone"),
        launch_executor: Some(false),
        ..Default::default()
    }));
    let update = world.updates().pop().unwrap();
    assert_eq!(update.status.state, TaskState::TaskDropped);
    assert_eq!(update.status.reason, Some(task_status::Reason::ReasonExecutorTerminated));
    // The reports are repeated although nothing of the framework is left here.
    assert!(world.view().frameworks.is_empty());
    world.pass(Duration::from_secs(11));
    assert_eq!(world.updates().len(), 2);
}

#[test]
fn a_launch_that_comes_twice_does_not_disturb_the_first() {
    let mut world = World::registered();
    world.launch(framework("F", true), command_task("t"));
    world.subscribe("F", "t");
    world.effects.clear();
    world.master_says(run_task(framework("F", true), command_task("t")));
    assert!(world.launches().is_empty());
    assert!(world.updates().is_empty());
    assert_eq!(world.view().frameworks[0].executors[0].launched_tasks.len(), 1);
}

#[test]
fn a_launch_for_another_agent_id_is_ignored() {
    let mut world = World::registered();
    let mut task = command_task("t");
    task.agent_id.value = "S9".to_owned();
    world.master_says(run_task(framework("F", true), task));
    assert!(world.effects.iter().all(|effect| matches!(effect, Effect::Log { .. })));
    assert!(world.view().frameworks.is_empty());
}

#[test]
fn limits_cover_requests_of_tasks_without_limits() {
    let mut world = World::registered();
    let mut task = executor_task("a", "e");
    let limit = mesos::value::Scalar { value: 2.0, ..Default::default() };
    task.limits.insert("cpus".to_owned(), limit);
    let launch = world.launch(framework("F", false), task);
    assert!((launch.limits["cpus"].value - 2.25).abs() < 1e-9);
    assert!(!launch.limits.contains_key("mem"));
    assert_eq!(executor_id("e"), custom_executor("e").executor_id);
}
