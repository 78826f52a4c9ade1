use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use protocol::executor::call::{Subscribe, Update};
use protocol::executor::event::Type;
use protocol::mesos::{TaskState, task_status::Reason};
use protocol::messages::AgentToMaster;
use protocol::time::Timestamp;

use super::samples::{command_task, config, executor_task, framework, run_task, scalar, task_id};
use super::world::{Trace, World};
use crate::checkpoint::{self, Change, Tree};
use crate::config::{Config, RecoverMode};
use crate::effect::{ContainerLaunch, Effect};
use crate::event::{ContainerTermination, Event};
use crate::recovery::RecoveryError;
use crate::view::Phase;

/// A world with one running, acknowledged, checkpointed command task `t`.
fn running() -> (World, ContainerLaunch) {
    let mut world = World::registered();
    let launch = world.launch(framework("F", true), command_task("t"));
    world.subscribe("F", "t");
    let running = world.status("t", TaskState::TaskRunning);
    world.update("F", "t", running);
    world.acknowledge_all();
    world.effects.clear();
    (world, launch)
}

fn recoveries(world: &World) -> Vec<String> {
    let containers = world.effects.iter().find_map(|effect| match effect {
        Effect::RecoverContainers { containers } => Some(containers),
        _ => None,
    });
    containers.unwrap().iter().map(|it| it.container.value.clone()).collect()
}

#[test]
fn a_running_task_is_still_running_and_known_after_a_restart() {
    let (world, launch) = running();
    let mut world = world.restart().unwrap();
    assert_eq!(world.view().phase, Phase::Recovering);
    assert_eq!(recoveries(&world), std::slice::from_ref(&launch.container.value));
    world.detect();
    world.recover_containers(&[&launch.container]);
    assert_eq!(world.view().phase, Phase::Reconnecting);
    world.pass(Duration::from_secs(1));
    assert!(world.messages().is_empty(), "the master hears nothing before executors are back");
    world.subscribe("F", "t");
    assert_eq!(world.event_types(), [Type::Subscribed]);
    assert_eq!(world.view().phase, Phase::Disconnected, "nobody else is waited for");
    world.pass(Duration::from_secs(1));
    let messages = world.messages();
    let AgentToMaster::ReregisterSlave(message) = &messages[0] else { panic!("{messages:?}") };
    assert_eq!(message.tasks.len(), 1);
    assert_eq!(message.tasks[0].state, TaskState::TaskRunning);
    assert_eq!(message.tasks[0].statuses.len(), 1);
    world.register();
    let finished = world.status("t", TaskState::TaskFinished);
    world.update("F", "t", finished);
    assert_eq!(world.acknowledge_all()["t"], [TaskState::TaskFinished]);
}

#[test]
fn a_task_that_finished_meanwhile_is_reported_by_its_executor() {
    let (mut world, launch) = running();
    let status = world.status("t", TaskState::TaskFinished);
    let mut world = world.restart().unwrap();
    world.recover_containers(&[&launch.container]);
    let update = Update { status, ..Default::default() };
    let subscribe = Subscribe { unacknowledged_updates: vec![update], ..Default::default() };
    world.subscribe_with("F", "t", subscribe);
    assert!(world.event_types().contains(&Type::Acknowledged));
    world.register();
    assert_eq!(world.acknowledge_all()["t"], [TaskState::TaskFinished]);
}

#[test]
fn a_task_whose_executor_died_meanwhile_fails() {
    let (world, launch) = running();
    let mut world = world.restart().unwrap();
    world.handle(Event::ContainerExited {
        container: launch.container,
        termination: ContainerTermination { status: Some(9), ..Default::default() },
    });
    world.recover_containers(&[]);
    world.register();
    let update = world.updates().pop().unwrap();
    assert_eq!(update.status.state, TaskState::TaskFailed);
    assert_eq!(update.status.reason, Some(Reason::ReasonExecutorTerminated));
    world.acknowledge(&update);
    assert!(world.view().frameworks.is_empty());
}

#[test]
fn a_living_executor_that_does_not_come_back_is_destroyed() {
    let (world, launch) = running();
    let mut world = world.restart().unwrap();
    world.recover_containers(&[&launch.container]);
    world.pass(Duration::from_secs(2));
    assert!(world.effects.iter().any(|it| matches!(it, Effect::DestroyContainer { .. })));
    world.register();
    world.container_exited(&launch.container, 9);
    let update = world.updates().pop().unwrap();
    assert_eq!(update.status.state, TaskState::TaskGone);
    assert_eq!(update.status.reason, Some(Reason::ReasonExecutorReregistrationTimeout));
}

#[test]
fn an_update_without_acknowledgement_is_sent_again() {
    let (mut world, launch) = running();
    let finished = world.status("t", TaskState::TaskFinished);
    world.update("F", "t", finished);
    world.container_exited(&launch.container, 0);
    let mut world = world.restart().unwrap();
    assert_eq!(recoveries(&world), std::slice::from_ref(&launch.container.value));
    world.container_exited(&launch.container, 0);
    world.recover_containers(&[]);
    world.register();
    assert_eq!(world.acknowledge_all()["t"], [TaskState::TaskFinished]);
    // Then it is over: the next start remembers it as completed.
    let mut world = world.restart().unwrap();
    assert!(recoveries(&world).is_empty());
    let view = world.view();
    assert!(view.frameworks.is_empty());
    let executor = &view.completed_frameworks[0].completed_executors[0];
    assert_eq!(executor.completed_tasks[0].task_id, task_id("t"));
}

#[test]
fn tasks_of_frameworks_that_do_not_checkpoint_are_forgotten() {
    let mut world = World::registered();
    world.launch(framework("F", false), command_task("t"));
    let mut world = world.restart().unwrap();
    assert!(recoveries(&world).is_empty(), "its container is an orphan");
    assert!(world.view().frameworks.is_empty());
}

#[test]
fn after_a_reboot_nothing_lives_and_the_id_stays() {
    let (world, _) = running();
    let rebooted = Config { boot_id: "another".to_owned(), ..config() };
    let mut world = World::start(rebooted.clone(), world.disk).unwrap();
    assert!(recoveries(&world).is_empty());
    world.recover_containers(&[]);
    assert_eq!(world.view().phase, Phase::Disconnected);
    world.register();
    let update = world.updates().pop().unwrap();
    assert_eq!(update.status.state, TaskState::TaskFailed);
    assert_eq!(
        update.status.message.as_deref(),
        Some("Abnormal executor termination: unknown container")
    );
    assert_eq!(world.disk.file(checkpoint::BOOT_ID), Some(&b"another"[..]));
    // A pid of before the reboot may belong to anybody: it is not believed later either.
    let again = World::start(rebooted, world.disk).unwrap();
    assert!(recoveries(&again).is_empty());
}

#[test]
fn after_a_reboot_a_changed_host_is_a_new_agent() {
    let (world, _) = running();
    let mut changed = config();
    changed.boot_id = "another".to_owned();
    changed.resources = vec![scalar("cpus", 2.0)];
    let mut world = World::start(changed, world.disk).unwrap();
    world.recover_containers(&[]);
    assert!(world.view().info.id.is_none());
    world.detect();
    world.pass(Duration::from_secs(1));
    assert!(matches!(&world.messages()[..], [AgentToMaster::RegisterSlave(_), ..]));
    assert!(world.disk.link_name(checkpoint::LATEST_AGENT).is_none());
}

#[test]
fn cleanup_ends_what_lives_and_exits() {
    let (world, launch) = running();
    let cleanup = Config { recover: RecoverMode::Cleanup, ..config() };
    let mut world = World::start(cleanup, world.disk).unwrap();
    world.recover_containers(&[&launch.container]);
    world.detect();
    world.subscribe("F", "t");
    assert_eq!(world.event_types(), [Type::Shutdown]);
    world.pass(Duration::from_secs(5));
    assert!(world.effects.iter().any(|it| matches!(it, Effect::DestroyContainer { .. })));
    world.container_exited(&launch.container, 9);
    assert!(world.effects.iter().any(|it| matches!(it, Effect::Exit { code: 0, .. })));
    assert!(world.messages().is_empty(), "it never registers");
}

#[test]
fn damage_stops_a_strict_agent_and_is_skipped_by_another() {
    let (world, _) = running();
    let mut disk = world.disk;
    let path = disk.entries.keys().find(|path| path.ends_with("executor.info")).cloned().unwrap();
    disk.apply(world.now, &Change::Write { path: path.clone(), content: vec![9, 0, 0, 0, 255] });
    let error = World::start(config(), disk.clone()).err().unwrap();
    assert!(matches!(&error, RecoveryError::Damaged { path: of, .. } if *of == path));
    let lenient = Config { strict: false, ..config() };
    let mut world = World::start(lenient, disk).unwrap();
    assert_eq!(world.view().metrics.recovery_errors, 1);
    assert!(world.view().frameworks.is_empty());
}

#[test]
fn a_torn_update_is_cut_off_before_more_is_appended() {
    let (mut world, launch) = running();
    let is_updates = |path: &&String| path.ends_with("task.updates");
    let path = world.disk.entries.keys().find(is_updates).cloned().unwrap();
    let torn = Change::Append { path, content: vec![200, 0, 0, 0, 1, 2] };
    world.disk.apply(world.now, &torn);
    let mut world = world.restart().unwrap();
    world.recover_containers(&[&launch.container]);
    world.subscribe("F", "t");
    world.register();
    let finished = world.status("t", TaskState::TaskFinished);
    world.update("F", "t", finished);
    let mut world = world.restart().unwrap();
    world.container_exited(&launch.container, 0);
    world.recover_containers(&[]);
    world.register();
    assert_eq!(world.acknowledge_all()["t"], [TaskState::TaskFinished]);
}

#[test]
fn sandboxes_of_the_past_are_collected_by_age() {
    let (mut world, launch) = running();
    let finished = world.status("t", TaskState::TaskFinished);
    world.update("F", "t", finished);
    world.acknowledge_all();
    world.container_exited(&launch.container, 0);
    let removed = |world: &World| -> BTreeSet<String> {
        let paths = world.effects.iter().filter_map(|effect| match effect {
            Effect::RemoveDirectory { path } => Some(path.clone()),
            _ => None,
        });
        paths.collect()
    };
    world.pass(Duration::from_secs(6 * 24 * 3600));
    assert!(removed(&world).is_empty());
    assert!(world.effects.iter().any(|it| matches!(it, Effect::MeasureDiskUsage)));
    // A disk filled to 30 % leaves 60 % of the week.
    world.handle(Event::DiskUsage { used_fraction: 0.3 });
    let gone = removed(&world);
    assert!(gone.contains(&launch.directory));
    assert!(gone.contains("/var/agent/slaves/S0/frameworks/F"));
    assert!(gone.contains("/var/agent/meta/slaves/S0/frameworks/F/executors/t"));
    // The framework comes back while its directory is being removed: the launch waits for that.
    world.effects.clear();
    world.master_says(run_task(framework("F", true), command_task("u")));
    assert!(world.launches().is_empty());
    assert_eq!(world.view().frameworks[0].pending_tasks.len(), 1);
    for path in gone {
        world.handle(Event::DirectoryRemoved { path, succeeded: true });
    }
    assert_eq!(world.launches().len(), 1);
    assert!(world.view().frameworks[0].pending_tasks.is_empty());
}

/// What an agent that died had promised.
#[derive(Default)]
struct Promises {
    /// Tasks whose container was launched.
    launched: BTreeSet<String>,
    /// Uuids the executor was told are safe, by task.
    acknowledged: BTreeMap<Vec<u8>, String>,
    /// Uuids the master has seen.
    forwarded: BTreeSet<Vec<u8>>,
}

impl Promises {
    fn note(&mut self, effect: &Effect) {
        match effect {
            Effect::LaunchContainer(launch) => {
                self.launched.insert(launch.environment["MESOS_EXECUTOR_ID"].clone());
            }
            Effect::SendToExecutor { event, .. } => {
                if let Some(acknowledged) = &event.acknowledged {
                    let task = acknowledged.task_id.value.clone();
                    self.acknowledged.insert(acknowledged.uuid.clone(), task);
                }
            }
            Effect::SendToMaster { message, .. } => {
                if let AgentToMaster::StatusUpdate(message) = &**message {
                    self.forwarded.extend(message.update.uuid.clone());
                }
            }
            _ => {}
        }
    }
}

/// A whole life: two frameworks' worth of writes, a kill, a failure, an end.
fn a_life() -> World {
    let mut world = World::registered();
    world.trace.clear();
    let first = world.launch(framework("F", true), command_task("t"));
    world.subscribe("F", "t");
    for state in [TaskState::TaskStarting, TaskState::TaskRunning] {
        let status = world.status("t", state);
        world.update("F", "t", status);
    }
    let second = world.launch(framework("F", true), executor_task("e", "e"));
    world.subscribe("F", "e");
    world.acknowledge_all();
    let status = world.status("e", TaskState::TaskRunning);
    world.update("F", "e", status);
    let finished = world.status("t", TaskState::TaskFinished);
    world.update("F", "t", finished);
    world.acknowledge_all();
    world.container_exited(&first.container, 0);
    world.container_exited(&second.container, 9);
    world.acknowledge_all();
    world
}

/// The agent dies after each single change on disk. Whatever it had promised before, it keeps.
#[test]
fn no_instant_of_death_loses_a_task_or_an_acknowledged_update() {
    let life = a_life();
    assert!(life.trace.len() > 40, "the life is long enough to be worth it");
    let before = World::registered().disk;
    for end in 0..=life.trace.len() {
        let mut disk = before.clone();
        let mut promises = Promises::default();
        for trace in &life.trace[..end] {
            match trace {
                Trace::Change(change) => disk.apply(Timestamp::from_secs(5), change),
                Trace::Effect(effect) => promises.note(effect),
            }
        }
        check_promises(disk, &promises, &format!("death after {end} steps"));
    }
}

fn check_promises(disk: Tree, promises: &Promises, when: &str) {
    let mut world = World::start(config(), disk).unwrap_or_else(|error| panic!("{when}: {error}"));
    let found = world.effects.iter().find_map(|effect| match effect {
        Effect::RecoverContainers { containers } => Some(containers.clone()),
        _ => None,
    });
    for recovery in found.unwrap() {
        world.container_exited(&recovery.container, 9);
    }
    world.recover_containers(&[]);
    let known = known_tasks(&mut world);
    world.register();
    let mut seen = BTreeSet::new();
    loop {
        let updates = world.updates();
        if updates.is_empty() {
            break;
        }
        for update in updates {
            seen.insert(update.uuid.clone().unwrap());
            world.acknowledge(&update);
        }
    }
    for task in &promises.launched {
        assert!(known.contains_key(task), "{when}: task {task} is forgotten");
    }
    for (uuid, task) in &promises.acknowledged {
        let reached = seen.contains(uuid) || promises.forwarded.contains(uuid);
        assert!(reached, "{when}: an update of task {task} is lost");
    }
    // Everything ends: nothing is left that nobody will ever finish.
    let ended = known_tasks(&mut world);
    for (task, state) in &ended {
        assert!(state.is_terminal(), "{when}: task {task} ends as {state:?}");
    }
    assert!(world.view().frameworks.is_empty(), "{when}: something is left");
}

fn known_tasks(world: &mut World) -> BTreeMap<String, TaskState> {
    let view = world.view();
    let frameworks = view.frameworks.iter().chain(&view.completed_frameworks);
    let executors = frameworks.flat_map(|it| it.executors.iter().chain(&it.completed_executors));
    executors
        .flat_map(|executor| {
            let launched = executor.launched_tasks.iter().chain(&executor.terminated_tasks);
            launched.chain(&executor.completed_tasks)
        })
        .map(|task| (task.task_id.value.clone(), task.state))
        .collect()
}
