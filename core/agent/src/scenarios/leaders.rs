//! Leaders that come and go (`Slave::detected` in Mesos' `src/slave/slave.cpp`).

use std::time::Duration;

use protocol::internal::{
    KillTaskMessage, PingSlaveMessage, ShutdownMessage, SlaveReregisteredMessage,
};
use protocol::mesos::{self, TaskState, master_info};
use protocol::messages::{AgentToMaster, MasterToAgent};
use protocol::pid::Pid;

use super::samples::{
    agent_id, command_task, config, framework, framework_id, master, scalar, task_id,
};
use super::world::World;
use crate::config::ReconfigurationPolicy;
use crate::effect::Effect;
use crate::event::{Event, Leader};
use crate::view::Phase;

fn successor() -> Pid {
    "master@127.0.0.2:5050".parse().unwrap()
}

fn lead(world: &mut World, pid: Pid) {
    world.handle(Event::MasterDetected { leader: Some(Leader { pid, info: None }) });
}

/// A world with one running command task `t` of framework `F` whose updates so far are acknowledged.
fn running() -> World {
    let mut world = World::registered();
    world.launch(framework("F", true), command_task("t"));
    world.subscribe("F", "t");
    let running = world.status("t", TaskState::TaskRunning);
    world.update("F", "t", running);
    world.acknowledge_all();
    world.effects.clear();
    world
}

fn reregistered() -> MasterToAgent {
    MasterToAgent::SlaveReregistered(SlaveReregisteredMessage {
        slave_id: agent_id(),
        ..Default::default()
    })
}

/// To whom registrations went.
fn registrations(world: &World) -> Vec<Pid> {
    let to = |effect: &Effect| match effect {
        Effect::SendToMaster { to, message } => {
            matches!(**message, AgentToMaster::ReregisterSlave(_)).then(|| to.clone())
        }
        _ => None,
    };
    world.effects.iter().filter_map(to).collect()
}

#[test]
fn without_a_leader_tasks_go_on_and_their_updates_wait_for_the_next_one() {
    let mut world = running();
    world.handle(Event::MasterDetected { leader: None });
    assert_eq!(world.view().phase, Phase::Disconnected);
    let finished = world.status("t", TaskState::TaskFinished);
    world.update("F", "t", finished);
    world.pass(Duration::from_secs(3600));
    assert!(world.messages().is_empty(), "nobody is there to hear anything");

    lead(&mut world, successor());
    world.pass(Duration::from_secs(1));
    let messages = world.messages();
    let AgentToMaster::ReregisterSlave(message) = &messages[0] else { panic!("{messages:?}") };
    assert_eq!(message.tasks[0].state, TaskState::TaskFinished);
    let is_update = |it: &AgentToMaster| matches!(it, AgentToMaster::StatusUpdate(_));
    assert!(!messages.iter().any(is_update), "the new leader does not know the agent yet");
    world.handle(Event::MasterMessage { from: successor(), message: reregistered() });
    let updates = world.updates();
    assert_eq!(updates.len(), 1);
    assert_eq!(updates[0].status.state, TaskState::TaskFinished);
}

#[test]
fn a_new_leader_is_linked_and_the_old_one_is_not_believed_any_more() {
    let mut world = running();
    lead(&mut world, successor());
    world.pass(Duration::from_secs(1));
    let is_link = |it: &Effect| matches!(it, Effect::LinkMaster { pid } if *pid == successor());
    assert!(world.effects.iter().any(is_link));
    assert!(registrations(&world).iter().all(|to| *to == successor()));
    world.effects.clear();
    // Whatever the old one still says, in whatever order.
    let kill = KillTaskMessage {
        framework_id: framework_id("F"),
        task_id: task_id("t"),
        ..Default::default()
    };
    world.master_says(reregistered());
    world.master_says(MasterToAgent::KillTask(kill.clone()));
    world.master_says(MasterToAgent::Shutdown(ShutdownMessage::default()));
    assert_eq!(world.view().phase, Phase::Disconnected);
    assert_eq!(world.view().metrics.foreign_master_messages, 3);
    assert!(world.events().is_empty(), "the executor hears nothing of it");
    // Its end is none of the agent's business.
    world.handle(Event::MasterExited { pid: master() });
    assert_eq!(world.view().master, Some(successor()));

    world.handle(Event::MasterMessage { from: successor(), message: reregistered() });
    assert_eq!(world.view().phase, Phase::Running);
    let message = MasterToAgent::KillTask(kill);
    world.handle(Event::MasterMessage { from: successor(), message });
    assert_eq!(world.events().len(), 1, "the new leader is obeyed");
}

#[test]
fn a_ping_of_a_former_leader_is_answered_and_changes_nothing() {
    let mut world = running();
    lead(&mut world, successor());
    world.pass(Duration::from_secs(1));
    world.handle(Event::MasterMessage { from: successor(), message: reregistered() });
    world.effects.clear();
    let message =
        MasterToAgent::PingSlave(PingSlaveMessage { connected: false, ..Default::default() });
    let observer: Pid = "slave-observer(1)@127.0.0.1:5050".parse().unwrap();
    world.handle(Event::MasterMessage { from: observer, message });
    assert!(matches!(&world.messages()[..], [AgentToMaster::PongSlave(_)]));
    assert_eq!(world.view().phase, Phase::Running);
}

#[test]
fn a_leader_that_is_known_during_recovery_hears_of_the_agent_afterwards() {
    let world = running();
    let mut world = world.restart().unwrap();
    world.detect();
    // Meant for the run before this one.
    world.master_says(MasterToAgent::Shutdown(ShutdownMessage::default()));
    assert_eq!(world.view().phase, Phase::Recovering);
    lead(&mut world, successor());
    world.recover_containers(&[]);
    world.pass(Duration::from_secs(5));
    let to = registrations(&world);
    assert!(!to.is_empty() && to.iter().all(|to| *to == successor()), "{to:?}");
}

fn info(capabilities: &[master_info::capability::Type]) -> mesos::MasterInfo {
    let capability = |it: &master_info::capability::Type| master_info::Capability {
        r#type: Some(*it),
        ..Default::default()
    };
    mesos::MasterInfo {
        capabilities: capabilities.iter().map(capability).collect(),
        ..Default::default()
    }
}

#[test]
fn a_changed_agent_joins_only_masters_that_take_note_of_changes() {
    use master_info::capability::Type;
    let mut more = config();
    more.resources.push(scalar("gpus", 1.0));
    more.reconfiguration_policy = ReconfigurationPolicy::Additive;
    let changed = |disk| {
        let mut world = World::start(more.clone(), disk).unwrap();
        world.recover_containers(&[]);
        world.pass(Duration::from_secs(5));
        world
    };
    let lead_with = |world: &mut World, info| {
        let leader = Some(Leader { pid: master(), info });
        world.handle(Event::MasterDetected { leader });
        world.pass(Duration::from_secs(1));
    };
    let mut world = changed(running().disk);
    lead_with(&mut world, Some(info(&[Type::AgentUpdate])));
    assert_eq!(registrations(&world).first(), Some(&master()));

    let mut world = changed(running().disk);
    lead_with(&mut world, Some(info(&[])));
    assert!(registrations(&world).is_empty());
    let refused = |effect: &Effect| matches!(effect, Effect::Exit { code: 1, reason } if reason.contains("AGENT_UPDATE"));
    assert!(world.effects.iter().any(refused));
    // Nor does it forget over a restart that masters know it otherwise.
    let mut world = changed(world.disk);
    lead_with(&mut world, Some(info(&[])));
    assert!(world.effects.iter().any(refused));
    // Once a master has taken note, any will do.
    let mut world = changed(world.disk);
    world.register();
    let mut world = changed(world.disk);
    lead_with(&mut world, Some(info(&[])));
    assert_eq!(registrations(&world).first(), Some(&master()));
}
