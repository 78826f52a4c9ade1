use std::time::Duration;

use protocol::internal::{
    MasterSlaveConnection, PingSlaveMessage, ReconcileTasksMessage, ShutdownMessage,
    SlaveRegisteredMessage, SlaveReregisteredMessage,
};
use protocol::mesos::{self, TaskState, task_status::Reason};
use protocol::messages::{AgentToMaster, MasterToAgent};
use protocol::pid::Pid;

use super::samples::{agent_id, command_task, config, framework, framework_id, master, task_id};
use super::world::World;
use crate::checkpoint;
use crate::effect::Effect;
use crate::event::{Event, Leader};
use crate::view::Phase;

fn registered(id: &str) -> MasterToAgent {
    MasterToAgent::SlaveRegistered(SlaveRegisteredMessage {
        slave_id: mesos::AgentId { value: id.to_owned(), ..Default::default() },
        connection: Some(MasterSlaveConnection {
            total_ping_timeout_seconds: Some(40.0),
            ..Default::default()
        }),
        ..Default::default()
    })
}

fn observer() -> Pid {
    "slave-observer(1)@127.0.0.1:5050".parse().unwrap()
}

fn ping(world: &mut World, connected: bool) {
    let message = MasterToAgent::PingSlave(PingSlaveMessage { connected, ..Default::default() });
    world.handle(Event::MasterMessage { from: observer(), message });
}

fn count_registrations(world: &mut World) -> usize {
    let is_registration = |message: &&AgentToMaster| {
        matches!(message, AgentToMaster::RegisterSlave(_) | AgentToMaster::ReregisterSlave(_))
    };
    world.messages().iter().filter(is_registration).count()
}

#[test]
fn registers_like_mesos_and_retries_with_growing_waits() {
    let mut world = World::new();
    world.recover_containers(&[]);
    assert_eq!(world.view().phase, Phase::Disconnected);
    world.detect();
    world.pass(Duration::from_secs(1));
    let messages = world.messages();
    let Some(AgentToMaster::RegisterSlave(message)) = messages.first() else {
        panic!("{messages:?}")
    };
    assert_eq!(message.version.as_deref(), Some("1.12.0"));
    assert_eq!(message.slave.hostname, "host");
    assert_eq!(message.slave.port, Some(5051));
    assert_eq!(message.slave.checkpoint, Some(true));
    // In the form that masters before reservation refinement read, too.
    assert_eq!(message.slave.resources[0].role.as_deref(), Some("*"));
    assert_eq!(message.agent_capabilities.len(), 8);
    assert_eq!(message.resource_version_uuid.as_ref().unwrap().value.len(), 16);
    assert!(matches!(&world.effects[..], [.., Effect::LinkMaster { pid }] if *pid == master()));
    // At most one attempt each minute once the waits have grown.
    world.pass(Duration::from_secs(600));
    let attempts = count_registrations(&mut world);
    world.pass(Duration::from_secs(3600));
    let later = count_registrations(&mut world);
    assert!(attempts >= 5, "{attempts}");
    assert!((60..300).contains(&later), "{later}");
}

#[test]
fn a_master_is_not_overrun_without_a_back_off_factor_either() {
    let mut config = config();
    config.timing.registration_backoff_factor = Duration::ZERO;
    let mut world = World::start(config, checkpoint::Tree::default()).unwrap();
    world.recover_containers(&[]);
    world.detect();
    world.pass(Duration::from_secs(60));
    let attempts = count_registrations(&mut world);
    assert!((5..60).contains(&attempts), "{attempts}");
}

#[test]
fn the_id_is_durable_before_it_is_used() {
    let mut world = World::new();
    world.recover_containers(&[]);
    world.detect();
    world.pass(Duration::from_secs(1));
    world.messages();
    world.disk_is_stuck = true;
    world.master_says(registered("S0"));
    assert!(world.messages().is_empty(), "nothing leaves before the id is on disk");
    world.unstick_disk();
    assert!(matches!(&world.messages()[..], [AgentToMaster::UpdateSlave(_)]));
    assert_eq!(world.disk.link_name(checkpoint::LATEST_AGENT), Some("S0"));
    assert!(world.disk.file(&checkpoint::agent_info(&agent_id())).is_some());
    assert_eq!(world.view().phase, Phase::Running);
    // The answer once more changes nothing; another id is fatal.
    world.master_says(registered("S0"));
    assert!(world.messages().is_empty());
    world.master_says(registered("S1"));
    assert!(world.effects.iter().any(|effect| matches!(effect, Effect::Exit { code: 1, .. })));
}

#[test]
fn only_the_detected_master_is_believed() {
    let mut world = World::registered();
    let stranger: Pid = "master@127.0.0.9:5050".parse().unwrap();
    let shutdown = MasterToAgent::Shutdown(ShutdownMessage::default());
    world.handle(Event::MasterMessage { from: stranger, message: shutdown });
    assert_eq!(world.view().phase, Phase::Running);
    assert_eq!(world.view().metrics.foreign_master_messages, 1);
}

#[test]
fn pings_are_answered_to_their_sender_even_while_recovering() {
    let mut world = World::new();
    ping(&mut world, true);
    let answered = world.effects.iter().any(|effect| {
        matches!(effect, Effect::SendToMaster { to, message }
            if *to == observer() && matches!(**message, AgentToMaster::PongSlave(_)))
    });
    assert!(answered);
}

#[test]
fn a_ping_that_says_disconnected_leads_to_reregistration() {
    let mut world = World::registered();
    ping(&mut world, false);
    assert_eq!(world.view().phase, Phase::Disconnected);
    world.pass(Duration::from_secs(1));
    assert!(
        world.messages().iter().any(|it| matches!(it, AgentToMaster::ReregisterSlave(_))),
        "it registers again under its id"
    );
}

#[test]
fn without_pings_the_master_is_detected_again() {
    let mut world = World::new();
    world.recover_containers(&[]);
    world.detect();
    world.pass(Duration::from_secs(1));
    world.master_says(registered("S0"));
    world.effects.clear();
    world.pass(Duration::from_secs(30));
    ping(&mut world, true);
    world.pass(Duration::from_secs(39));
    assert!(!world.effects.iter().any(|effect| matches!(effect, Effect::DetectMaster)));
    world.pass(Duration::from_secs(2));
    assert!(world.effects.iter().any(|effect| matches!(effect, Effect::DetectMaster)));
    assert_eq!(world.view().phase, Phase::Disconnected);
    assert_eq!(world.view().master, None);
}

#[test]
fn registers_only_after_authentication_if_there_is_a_credential() {
    let config = crate::Config { authenticate: true, ..config() };
    let mut world = World::start(config, checkpoint::Tree::default()).unwrap();
    world.recover_containers(&[]);
    world.detect();
    world.pass(Duration::from_secs(1));
    assert!(world.messages().is_empty());
    assert!(world.effects.iter().any(|it| matches!(it, Effect::Authenticate { .. })));
    let refused = Err("no such principal".to_owned());
    world.handle(Event::Authenticated { master: master(), result: refused });
    assert!(world.messages().is_empty());
    world.effects.clear();
    world.pass(Duration::from_secs(10));
    assert!(world.effects.iter().any(|it| matches!(it, Effect::Authenticate { .. })));
    world.handle(Event::Authenticated { master: master(), result: Ok(()) });
    assert_eq!(count_registrations(&mut world), 1);
    // A new leader knows nothing of the old one's authentication.
    world.detect();
    world.effects.clear();
    world.pass(Duration::from_secs(1));
    assert_eq!(count_registrations(&mut world), 0);
}

/// The resource versions in all registrations sent since the last look.
fn registered_versions(world: &mut World) -> Vec<Vec<u8>> {
    let version = |message: AgentToMaster| match message {
        AgentToMaster::RegisterSlave(it) => it.resource_version_uuid,
        AgentToMaster::ReregisterSlave(it) => it.resource_version_uuid,
        _ => None,
    };
    world.messages().into_iter().filter_map(version).map(|it| it.value).collect()
}

#[test]
fn a_repeated_registration_outdates_launches_only_if_it_names_tasks() {
    let mut world = World::start(config(), checkpoint::Tree::default()).unwrap();
    world.recover_containers(&[]);
    world.detect();
    world.pass(Duration::from_secs(30));
    let first = registered_versions(&mut world);
    assert!(first.len() > 1, "it repeats itself until it is answered");
    assert!(first.iter().all(|version| *version == first[0]), "{first:?}");

    let mut world = World::registered();
    registered_versions(&mut world);
    world.handle(Event::MasterDetected { leader: None });
    let leader = Some(Leader { pid: master(), info: None });
    world.handle(Event::MasterDetected { leader });
    world.pass(Duration::from_secs(30));
    let again = registered_versions(&mut world);
    assert!(again.len() > 1 && again[0] != again[1], "{again:?}");
}

#[test]
fn reregistration_tells_everything_and_reconciles() {
    let mut world = World::registered();
    world.launch(framework("F", true), command_task("t"));
    world.handle(Event::MasterDetected { leader: None });
    let leader = Some(Leader { pid: master(), info: None });
    world.handle(Event::MasterDetected { leader });
    world.pass(Duration::from_secs(1));
    let messages = world.messages();
    let Some(AgentToMaster::ReregisterSlave(message)) = messages.first() else {
        panic!("{messages:?}")
    };
    assert_eq!(message.slave.id, Some(agent_id()));
    assert_eq!(message.frameworks.len(), 1);
    assert_eq!(message.tasks.len(), 1);
    assert_eq!(message.tasks[0].state, TaskState::TaskStaging);
    assert_eq!(message.tasks[0].resources[0].role.as_deref(), Some("*"));
    assert!(message.executor_infos.is_empty(), "the master keeps no command executors");
    world.master_says(MasterToAgent::SlaveReregistered(SlaveReregisteredMessage {
        slave_id: agent_id(),
        reconciliations: vec![ReconcileTasksMessage {
            framework_id: framework_id("F"),
            statuses: ["t", "never-arrived"].map(status).to_vec(),
            framework: Some(Box::new(framework("F", true))),
            ..Default::default()
        }],
        ..Default::default()
    }));
    let updates = world.updates();
    assert_eq!(updates.len(), 1);
    assert_eq!(updates[0].status.task_id, task_id("never-arrived"));
    assert_eq!(updates[0].status.state, TaskState::TaskDropped);
    assert_eq!(updates[0].status.reason, Some(Reason::ReasonReconciliation));
}

fn status(task: &str) -> mesos::TaskStatus {
    mesos::TaskStatus { task_id: task_id(task), ..Default::default() }
}

#[test]
fn a_shutdown_ends_executors_and_then_the_process() {
    let mut world = World::registered();
    let launch = world.launch(framework("F", false), command_task("t"));
    world.subscribe("F", "t");
    world.master_says(MasterToAgent::Shutdown(ShutdownMessage::default()));
    assert!(!world.effects.iter().any(|effect| matches!(effect, Effect::Exit { .. })));
    world.container_exited(&launch.container, 0);
    assert!(world.effects.iter().any(|effect| matches!(effect, Effect::Exit { code: 0, .. })));
    let mut idle = World::registered();
    idle.handle(Event::Unregister { message: "maintenance".to_owned() });
    assert!(matches!(&idle.messages()[..], [AgentToMaster::UnregisterSlave(_)]));
    assert!(idle.effects.iter().any(|effect| matches!(effect, Effect::Exit { code: 0, .. })));
}

#[test]
fn a_failed_write_ends_the_process_and_sends_nothing() {
    let mut world = World::registered();
    world.disk_is_stuck = true;
    world.master_says(super::samples::run_task(framework("F", true), command_task("t")));
    let (write, _) = world.stuck.pop_front().unwrap();
    world.handle(Event::CheckpointFailed { write, message: "disk full".to_owned() });
    assert!(world.launches().is_empty());
    assert!(world.effects.iter().any(|effect| matches!(effect, Effect::Exit { code: 1, .. })));
}
