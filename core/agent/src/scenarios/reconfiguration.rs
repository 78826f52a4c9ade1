//! What may change between two runs (`src/slave/compatibility.cpp` in Mesos, and more).

use protocol::mesos::{self, TaskState, value};

use super::operations::{apply, create, reserve};
use super::samples::{allocated, command_task, config, executor_task, framework, scalar};
use super::world::World;
use crate::config::{Config, ReconfigurationPolicy};
use crate::effect::ContainerLaunch;

/// A world with one running, acknowledged, checkpointed command task `t`, which uses half a CPU.
fn running() -> (World, ContainerLaunch) {
    let mut world = World::registered();
    let launch = world.launch(framework("F", true), command_task("t"));
    world.subscribe("F", "t");
    let running = world.status("t", TaskState::TaskRunning);
    world.update("F", "t", running);
    world.acknowledge_all();
    (world, launch)
}

fn under(policy: ReconfigurationPolicy, change: impl Fn(&mut Config)) -> Config {
    let mut config = config();
    config.reconfiguration_policy = policy;
    change(&mut config);
    config
}

/// Why an agent does not start; empty if it does.
fn refusal(world: &World, config: &Config) -> String {
    let error = World::start(config.clone(), world.disk.clone()).err();
    error.map(|error| error.to_string()).unwrap_or_default()
}

fn attribute(name: &str, text: &str) -> mesos::Attribute {
    mesos::Attribute {
        name: name.to_owned(),
        r#type: value::Type::Text,
        text: Some(value::Text { value: text.to_owned(), ..Default::default() }),
        ..Default::default()
    }
}

fn levels(begin: u64, end: u64) -> mesos::Attribute {
    let range = vec![value::Range { begin, end, ..Default::default() }];
    mesos::Attribute {
        name: "levels".to_owned(),
        r#type: value::Type::Ranges,
        ranges: Some(value::Ranges { range, ..Default::default() }),
        ..Default::default()
    }
}

#[test]
fn each_refusal_says_what_differs_and_what_would_allow_it() {
    use ReconfigurationPolicy::{Additive, Any, Equal};
    let (world, _) = running();
    let fewer = |config: &mut Config| config.resources[0] = scalar("cpus", 2.0);
    let more = |config: &mut Config| config.resources[0] = scalar("cpus", 8.0);
    let renamed = |config: &mut Config| config.hostname = "other".to_owned();
    let moved = |config: &mut Config| config.pid = "slave(1)@127.0.0.1:5052".parse().unwrap();
    let labelled = |config: &mut Config| config.attributes = vec![attribute("rack", "a")];
    let end = "or remove /var/agent/meta/slaves/latest to start as a new agent, which forgets running \
               executors";
    assert_eq!(
        refusal(&world, &under(Equal, fewer)),
        format!(
            "incompatible agent info: resource cpus changed: cpus:4 before, cpus:2 now; \
             --reconfiguration_policy=any allows that, {end}"
        )
    );
    let text = refusal(&world, &under(Equal, more));
    assert!(text.contains("--reconfiguration_policy=additive allows that"), "{text}");
    let text = refusal(&world, &under(Equal, labelled));
    assert!(text.contains("attribute rack was added; --reconfiguration_policy=additive"), "{text}");
    assert!(refusal(&world, &under(Additive, fewer)).contains("policy=any allows that"));
    for config in [under(Additive, more), under(Additive, labelled), under(Any, fewer)] {
        assert_eq!(refusal(&world, &config), "");
    }
    // By these the master and executors know the agent.
    for policy in [Equal, Additive, Any] {
        assert_eq!(
            refusal(&world, &under(policy, renamed)),
            format!(
                "incompatible agent info: hostname changed from host to other; masters and executors \
                 know the agent by it: start it as before, {end}"
            )
        );
        assert!(refusal(&world, &under(policy, moved)).contains("port changed from 5051 to 5052"));
    }
}

#[test]
fn attributes_may_grow_or_change_as_the_policy_says() {
    use ReconfigurationPolicy::{Additive, Any, Equal};
    let with = |policy, attributes: &[mesos::Attribute]| {
        under(policy, |config| config.attributes = attributes.to_vec())
    };
    let before = [attribute("rack", "a"), levels(1, 5)];
    let mut world = World::start(with(Equal, &before), crate::checkpoint::Tree::default()).unwrap();
    world.recover_containers(&[]);
    world.register();
    let reordered = [levels(1, 5), attribute("rack", "a")];
    let grown = [attribute("rack", "a"), levels(1, 9), attribute("zone", "b")];
    let shrunk = [attribute("rack", "a"), levels(1, 4)];
    let changed = [attribute("rack", "b"), levels(1, 5)];
    assert_eq!(refusal(&world, &with(Equal, &reordered)), "");
    let text = refusal(&world, &with(Equal, &grown));
    assert!(text.contains("attribute levels changed from [1-5] to [1-9]"), "{text}");
    assert_eq!(refusal(&world, &with(Additive, &grown)), "");
    let text = refusal(&world, &with(Additive, &changed));
    assert!(text.contains("attribute rack changed from a to b; --reconfiguration_policy=any"));
    assert!(refusal(&world, &with(Additive, &shrunk)).contains("attribute levels changed"));
    let text = refusal(&world, &with(Additive, &[levels(1, 5)]));
    assert!(text.contains("attribute rack is missing: it was a"), "{text}");
    for attributes in [&grown[..], &shrunk, &changed, &[]] {
        assert_eq!(refusal(&world, &with(Any, attributes)), "");
    }
}

#[test]
fn more_resources_are_taken_on_when_allowed_and_remembered() {
    let (world, launch) = running();
    let more = under(ReconfigurationPolicy::Additive, |config| {
        config.resources.push(scalar("gpus", 1.0));
    });
    let mut world = World::start(more.clone(), world.disk).unwrap();
    world.recover_containers(&[&launch.container]);
    world.subscribe("F", "t");
    world.register();
    assert_eq!(world.view().resources.len(), 4);
    let equal = Config { reconfiguration_policy: ReconfigurationPolicy::Equal, ..more };
    assert_eq!(refusal(&world, &equal), "");
}

#[test]
fn what_no_task_uses_may_go() {
    let (world, launch) = running();
    let fewer = under(ReconfigurationPolicy::Any, |config| {
        config.resources = vec![scalar("cpus", 0.5), scalar("mem", 64.0)];
        config.attributes = vec![attribute("rack", "b")];
    });
    let mut world = World::start(fewer, world.disk).unwrap();
    world.recover_containers(&[&launch.container]);
    world.subscribe("F", "t");
    world.register();
    let view = world.view();
    assert_eq!(view.resources.len(), 2);
    assert_eq!(view.frameworks[0].executors.len(), 1, "the task goes on");
}

#[test]
fn what_a_task_uses_must_stay_and_the_refusal_names_the_task() {
    let (mut world, _) = running();
    world.launch(framework("F", true), executor_task("u", "e"));
    world.subscribe("F", "e");
    let fewer = |cpus: f64| {
        under(ReconfigurationPolicy::Any, |config| config.resources[0] = scalar("cpus", cpus))
    };
    assert_eq!(
        refusal(&world, &fewer(1.0)),
        "the agent's tasks use more than it would have: cpus:1.25 in use, cpus:1 left: executor e of \
         framework F uses cpus:0.25, task u of framework F uses cpus:0.5, task t of framework F uses \
         cpus:0.5; give it at least that, or start it as before and end these tasks first"
    );
    assert_eq!(refusal(&world, &fewer(1.25)), "");
    // A whole kind of resources that is in use.
    let without = under(ReconfigurationPolicy::Any, |config| drop(config.resources.remove(1)));
    assert!(refusal(&world, &without).contains("mem:128 in use, {} left: task u"));
    // Who has ended is not in the way, even if the master has not heard of it yet.
    let finished = world.status("t", TaskState::TaskFinished);
    world.update("F", "t", finished);
    assert_eq!(refusal(&world, &fewer(0.75)), "");
    // After the machine was started anew nothing runs.
    let rebooted = Config { boot_id: "another".to_owned(), ..fewer(0.1) };
    assert_eq!(refusal(&world, &rebooted), "");
}

#[test]
fn long_lists_of_tasks_are_cut() {
    let mut world = World::registered();
    for number in 0..13 {
        let mut task = command_task(&format!("t{number}"));
        task.resources = vec![allocated("cpus", 0.25)];
        world.launch(framework("F", true), task);
        world.subscribe("F", &format!("t{number}"));
    }
    let none = under(ReconfigurationPolicy::Any, |config| drop(config.resources.remove(0)));
    let text = refusal(&world, &none);
    assert_eq!(text.matches("task t").count(), 10, "{text}");
    assert!(text.contains(" and 3 more; give it"), "{text}");
}

#[test]
fn reservations_and_volumes_must_fit_too() {
    let mut world = World::registered();
    apply(&mut world, 1, reserve());
    apply(&mut world, 2, create());
    let smaller = |disk: f64| {
        under(ReconfigurationPolicy::Any, |config| config.resources[2] = scalar("disk", disk))
    };
    let text = refusal(&world, &smaller(1.0));
    assert!(text.contains("do not fit into the agent's resources"), "{text}");
    assert_eq!(refusal(&world, &smaller(9000.0)), "");
}
