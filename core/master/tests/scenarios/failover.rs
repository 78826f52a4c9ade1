//! A master dies and another takes over.

use std::time::Duration;

use master::{Effect, Event};
use protocol::internal::ReregisterSlaveMessage;
use protocol::mesos::{FrameworkInfo, TaskState};

use crate::cluster::{
    Agent, Cluster, Scheduler, amount, config, events, framework_info, names, offers,
    reregistration, statuses,
};

fn with_task(info: FrameworkInfo) -> (Cluster, Agent, Scheduler, ReregisterSlaveMessage) {
    let (mut cluster, agent, scheduler, offer) = Cluster::with_offer(info);
    cluster.running_task(&agent, &scheduler, &offer, "t");
    let view = cluster.master.snapshot();
    let framework = &view.frameworks[&scheduler.id];
    let message = ReregisterSlaveMessage {
        tasks: framework.tasks.iter().map(|task| task.to_task()).collect(),
        frameworks: vec![(*framework.info).clone()],
        ..reregistration(&agent)
    };
    (cluster, agent, scheduler, message)
}

#[test]
fn agents_and_frameworks_come_back_with_nothing_lost() {
    let (mut cluster, agent, scheduler, message) = with_task(framework_info("jobs"));
    let first = cluster.master.info().id.clone();
    cluster.restart();
    assert_ne!(cluster.master.info().id, first);
    let view = cluster.master.snapshot();
    assert_eq!(view.recovered_agents.keys().collect::<Vec<_>>(), [&agent.id]);
    assert!(view.frameworks[&scheduler.id].recovered);

    // The agent's record says all there is to say: no write is needed to let it in.
    cluster.writes_complete = false;
    let effects = cluster.agent_message(&agent.pid, message);
    assert_eq!(names(&effects, &agent.pid), ["SlaveReregisteredMessage", "UpdateFrameworkMessage"]);
    cluster.complete_writes();
    cluster.writes_complete = true;

    let info = FrameworkInfo { id: Some(scheduler.id.clone()), ..framework_info("jobs") };
    let (again, effects) = cluster.subscribe(info);
    assert_eq!(again.id, scheduler.id);
    assert_eq!(offers(&effects, again.connection).len(), 1);
    assert!(statuses(&effects, again.connection).is_empty(), "nothing has changed");
    let view = cluster.master.snapshot();
    let framework = &view.frameworks[&again.id];
    assert!(framework.connected && !framework.recovered);
    assert_eq!(framework.tasks[0].state, TaskState::TaskRunning);
    assert_eq!(framework.used_resources.cpus().to_f64(), 1.0);
    assert!(view.recovered_agents.is_empty());
    // Ten minutes later everything is still there.
    cluster.advance_with_pongs(Duration::from_secs(700), &[&agent]);
    assert_eq!(cluster.master.snapshot().frameworks[&again.id].tasks.len(), 1);
}

#[test]
fn new_ids_never_repeat_those_of_an_earlier_master() {
    let (mut cluster, _, scheduler, _) = with_task(framework_info("jobs"));
    cluster.restart();
    let (other, _) = cluster.subscribe(framework_info("other"));
    assert_ne!(other.id, scheduler.id);
    assert_ne!(
        cluster.add_agent(2).id.value.split("-S").next(),
        scheduler.id.value.split("-0").next()
    );
}

#[test]
fn agents_that_do_not_come_back_are_unreachable() {
    let info = FrameworkInfo { failover_timeout: Some(1e6), ..framework_info("jobs") };
    let (mut cluster, agent, scheduler, _) = with_task(info.clone());
    cluster.restart();
    let (scheduler, _) = cluster.subscribe(FrameworkInfo { id: Some(scheduler.id), ..info });
    let effects = cluster.advance(Duration::from_secs(599));
    assert!(!events(&effects, scheduler.connection).iter().any(|it| it.failure.is_some()));
    let effects = cluster.advance(Duration::from_secs(2));
    let lost = events(&effects, scheduler.connection)
        .iter()
        .find_map(|event| event.failure.clone())
        .unwrap();
    assert_eq!(lost.agent_id, Some(agent.id));
    let view = cluster.master.snapshot();
    assert_eq!((view.recovered_agents.len(), view.unreachable_agents), (0, 1));
}

#[test]
fn agents_that_do_not_come_back_leave_no_faster_than_the_limit_allows() {
    let mut limited = config();
    limited.agent_removal_interval = Some(Duration::from_secs(60));
    let mut cluster = Cluster::with(limited);
    let agents: Vec<Agent> = (1..=3).map(|number| cluster.add_agent(number)).collect();
    cluster.restart();
    let counts = |cluster: &mut Cluster| {
        let view = cluster.master.snapshot();
        (view.recovered_agents.len(), view.unreachable_agents)
    };
    cluster.advance(Duration::from_secs(601));
    assert_eq!(counts(&mut cluster), (2, 1));
    cluster.advance(Duration::from_secs(60));
    assert_eq!(counts(&mut cluster), (1, 2));
    // The last is back in time, and nothing more befalls it.
    let last = cluster.master.snapshot().recovered_agents.keys().next().cloned();
    let last = agents.iter().find(|agent| Some(&agent.id) == last.as_ref()).unwrap();
    cluster.agent_message(&last.pid, reregistration(last));
    cluster.advance_with_pongs(Duration::from_secs(600), &[last]);
    assert_eq!(counts(&mut cluster), (0, 2));
    assert!(cluster.master.snapshot().agents.contains_key(&last.id));
}

#[test]
fn a_master_without_a_registry_adopts_agents_and_their_frameworks() {
    let info = FrameworkInfo { failover_timeout: Some(3600.0), ..framework_info("jobs") };
    let (mut cluster, agent, scheduler, message) = with_task(info.clone());
    cluster.registry.clear();
    cluster.restart();
    // Doubled and repeated as on any bad wire.
    for _ in 0..3 {
        cluster.agent_message(&agent.pid, message.clone());
    }
    let (again, effects) =
        cluster.subscribe(FrameworkInfo { id: Some(scheduler.id.clone()), ..info });
    assert_eq!(again.id, scheduler.id);
    let offered = offers(&effects, again.connection);
    assert_eq!(amount(&offered[0].resources, "cpus"), 3.0, "one of four is used");
    let view = cluster.master.snapshot();
    assert_eq!(view.frameworks[&again.id].tasks.len(), 1);
    assert_eq!(view.agents[&agent.id].used_resources.cpus().to_f64(), 1.0);
    // What was adopted is in the registry, so that it need not be adopted again.
    cluster.restart();
    let view = cluster.master.snapshot();
    assert_eq!(view.recovered_agents.keys().collect::<Vec<_>>(), [&agent.id]);
    assert!(view.frameworks[&scheduler.id].recovered);
}

#[test]
fn a_master_that_would_lose_too_many_agents_stops() {
    let mut careful = config();
    careful.recovery_agent_removal_limit = 0.4;
    let mut cluster = Cluster::with(careful);
    let first = cluster.add_agent(1);
    cluster.add_agent(2);
    cluster.restart();
    cluster.agent_message(&first.pid, reregistration(&first));
    let effects = cluster.advance_with_pongs(Duration::from_secs(601), &[&first]);
    let reason = effects
        .iter()
        .find_map(|effect| match effect {
            Effect::Abort { reason } => Some(reason.clone()),
            _ => None,
        })
        .expect("it stops");
    assert!(reason.starts_with("1 of 2 agents did not come back within 10mins"), "{reason}");
    assert_eq!(cluster.master.snapshot().unreachable_agents, 0);
}

#[test]
fn a_framework_is_waited_for_as_long_as_agents_are() {
    // Without a failover timeout, since it could not know that the master would die.
    let (mut cluster, agent, _, message) = with_task(framework_info("jobs"));
    cluster.restart();
    cluster.agent_message(&agent.pid, message);
    let effects = cluster.advance_with_pongs(Duration::from_secs(599), &[&agent]);
    assert!(!names(&effects, &agent.pid).contains(&"ShutdownFrameworkMessage"));
    let effects = cluster.advance_with_pongs(Duration::from_secs(2), &[&agent]);
    assert!(names(&effects, &agent.pid).contains(&"ShutdownFrameworkMessage"));
}

#[test]
fn the_deadline_of_a_failover_survives_the_master() {
    let info = FrameworkInfo { failover_timeout: Some(3600.0), ..framework_info("jobs") };
    let (mut cluster, agent, scheduler, message) = with_task(info);
    cluster.event(Event::ConnectionClosed { connection: scheduler.connection });
    cluster.advance_with_pongs(Duration::from_secs(1800), &[&agent]);
    cluster.restart();
    cluster.agent_message(&agent.pid, message);
    let effects = cluster.advance_with_pongs(Duration::from_secs(1795), &[&agent]);
    assert!(!names(&effects, &agent.pid).contains(&"ShutdownFrameworkMessage"));
    let effects = cluster.advance_with_pongs(Duration::from_secs(10), &[&agent]);
    assert!(names(&effects, &agent.pid).contains(&"ShutdownFrameworkMessage"));
}

#[test]
fn removed_frameworks_stay_removed() {
    let (mut cluster, agent, scheduler, message) = with_task(framework_info("jobs"));
    cluster.event(Event::ConnectionClosed { connection: scheduler.connection });
    cluster.restart();
    // The agent missed the shutdown.
    let effects = cluster.agent_message(&agent.pid, message);
    assert_eq!(
        names(&effects, &agent.pid),
        ["SlaveReregisteredMessage", "ShutdownFrameworkMessage"]
    );
    let view = cluster.master.snapshot();
    assert!(view.frameworks.is_empty());
    assert!(view.agents[&agent.id].used_resources.is_empty());
    assert_eq!(view.completed_frameworks.len(), 1);
}

#[test]
fn old_records_leave_the_registry() {
    let mut short = config();
    short.registry_max_agent_count = 1;
    let mut cluster = Cluster::with(short);
    cluster.add_agent(1);
    cluster.advance(Duration::from_secs(120));
    cluster.add_agent(2);
    cluster.advance(Duration::from_secs(120));
    assert_eq!(cluster.master.snapshot().unreachable_agents, 2);
    cluster.advance(Duration::from_secs(15 * 60));
    assert_eq!(cluster.master.snapshot().unreachable_agents, 1, "the newest");
    cluster.advance(Duration::from_secs(15 * 24 * 3600));
    assert_eq!(cluster.master.snapshot().unreachable_agents, 0);
    assert!(!cluster.registry.keys().any(|key| key.starts_with("agent/")));
}

#[test]
fn the_same_inputs_give_the_same_outputs() {
    let run = || {
        let (mut cluster, agent, scheduler, _) = with_task(framework_info("jobs"));
        let mut effects = cluster.advance_with_pongs(Duration::from_secs(100), &[&agent]);
        effects.extend(cluster.update(&agent, &scheduler, "t", TaskState::TaskFinished, 3));
        effects.extend(cluster.restart());
        format!("{effects:?}")
    };
    assert_eq!(run(), run());
}
