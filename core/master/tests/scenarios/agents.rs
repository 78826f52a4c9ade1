//! Agents join, fall silent, return and go.

use std::time::Duration;

use master::{Counter, Effect, Event, Response};
use protocol::internal::{RegisterSlaveMessage, ReregisterSlaveMessage, UnregisterSlaveMessage};
use protocol::master::Call;
use protocol::master::call::{MarkAgentGone, Type};
use protocol::mesos::task_status::Reason;
use protocol::mesos::{FrameworkInfo, TaskState};
use protocol::messages::MasterToAgent;

use crate::cluster::{
    Agent, Cluster, agent_info, agent_pid, config, events, framework_info, launch, launched, names,
    offers, partition_aware, registered_id, registration, reregistration, rescinded, statuses,
    task, to_agent,
};

const PING: Duration = Duration::from_secs(15);

fn links(effects: &[Effect]) -> usize {
    effects.iter().filter(|effect| matches!(effect, Effect::Link { .. })).count()
}

/// A framework that survives restarts of agents, with a running task.
fn with_task(info: FrameworkInfo) -> (Cluster, Agent, crate::cluster::Scheduler) {
    let info = FrameworkInfo { checkpoint: Some(true), failover_timeout: Some(1e6), ..info };
    let (mut cluster, agent, scheduler, offer) = Cluster::with_offer(info);
    cluster.running_task(&agent, &scheduler, &offer, "t");
    (cluster, agent, scheduler)
}

/// The agent as it returns: with its task and the framework's info.
fn returning(cluster: &mut Cluster, agent: &Agent) -> ReregisterSlaveMessage {
    let view = cluster.master.snapshot();
    let framework = view.frameworks.values().next().unwrap();
    ReregisterSlaveMessage {
        tasks: framework.tasks.iter().map(|task| task.to_task()).collect(),
        frameworks: vec![(*framework.info).clone()],
        ..reregistration(agent)
    }
}

#[test]
fn admission_is_answered_only_once_it_is_durable() {
    let mut cluster = Cluster::new();
    cluster.writes_complete = false;
    let (scheduler, _) = {
        cluster.writes_complete = true;
        let subscribed = cluster.subscribe(framework_info("jobs"));
        cluster.writes_complete = false;
        subscribed
    };
    let pid = agent_pid(1);
    let effects = cluster.agent_message(&pid, registration(1));
    assert!(matches!(effects[..], [Effect::Persist { .. }]), "{effects:?}");
    // The agent asks again, because nobody answered.
    assert!(cluster.agent_message(&pid, registration(1)).is_empty());

    let effects = cluster.complete_writes();
    let id = registered_id(&effects).unwrap();
    assert!(id.value.ends_with("-S0"), "{}", id.value);
    assert_eq!(links(&effects), 1);
    assert_eq!(offers(&effects, scheduler.connection).len(), 1);
    let MasterToAgent::SlaveRegistered(message) = to_agent(&effects, &pid)
        .into_iter()
        .find(|message| matches!(message, MasterToAgent::SlaveRegistered(_)))
        .unwrap()
    else {
        unreachable!()
    };
    let connection = message.connection.as_ref().unwrap();
    assert_eq!(connection.total_ping_timeout_seconds, Some(75.0));

    // The answer may get lost: asking again gives the same id, and nothing is written.
    let effects = cluster.agent_message(&pid, registration(1));
    assert_eq!(registered_id(&effects), Some(id));
    assert!(cluster.writes.is_empty());
    assert_eq!(cluster.master.snapshot().agents.len(), 1);
}

#[test]
fn old_and_invalid_agents_are_ignored() {
    let mut cluster = Cluster::new();
    let pid = agent_pid(1);
    let with_domain = RegisterSlaveMessage {
        slave: protocol::mesos::AgentInfo { domain: Some(Default::default()), ..agent_info(1) },
        ..registration(1)
    };
    let negative = RegisterSlaveMessage {
        slave: protocol::mesos::AgentInfo {
            resources: vec![crate::cluster::scalar("cpus", -1.0)],
            ..agent_info(1)
        },
        ..registration(1)
    };
    let old = RegisterSlaveMessage { version: Some("0.28.0".into()), ..registration(1) };
    let unversioned = RegisterSlaveMessage { version: None, ..registration(1) };
    for message in [old, unversioned, negative, with_domain] {
        assert!(cluster.agent_message(&pid, message).is_empty());
    }
    let counted = cluster.master.snapshot().metrics.counter(Counter::DroppedMessages);
    assert_eq!(counted, 4);
}

#[test]
fn a_silent_agent_becomes_unreachable_after_five_pings() {
    let (mut cluster, agent, scheduler) = with_task(partition_aware("jobs"));
    cluster.pong(&agent);
    // The next ping, and five timeouts.
    let effects = cluster.advance(PING * 6 - Duration::from_millis(1));
    let pings = to_agent(&effects, &agent.pid)
        .iter()
        .filter(|message| matches!(message, MasterToAgent::PingSlave(ping) if ping.connected))
        .count();
    assert_eq!(pings, 5);
    assert!(statuses(&effects, scheduler.connection).is_empty());

    cluster.writes_complete = false;
    let effects = cluster.advance(Duration::from_millis(1));
    assert!(statuses(&effects, scheduler.connection).is_empty(), "not before it is durable");
    let effects = cluster.complete_writes();
    let statuses = statuses(&effects, scheduler.connection);
    assert_eq!(statuses[0].state, TaskState::TaskUnreachable);
    assert_eq!(statuses[0].reason, Some(Reason::ReasonAgentRemoved));
    assert_eq!(statuses[0].message.as_deref(), Some("health check timed out"));
    assert!(statuses[0].unreachable_time.is_some() && statuses[0].uuid.is_none());
    let failures: Vec<_> = events(&effects, scheduler.connection)
        .iter()
        .filter_map(|event| event.failure.clone())
        .collect();
    assert_eq!(failures[0].agent_id.as_ref(), Some(&agent.id));
    assert_eq!(failures[0].executor_id, None);
    let view = cluster.master.snapshot();
    assert_eq!((view.agents.len(), view.unreachable_agents), (0, 1));
    let framework = &view.frameworks[&scheduler.id];
    assert_eq!((framework.tasks.len(), framework.unreachable_tasks.len()), (0, 1));
    assert!(framework.used_resources.is_empty());
}

#[test]
fn a_pong_in_time_keeps_an_agent() {
    let (mut cluster, agent, scheduler) = with_task(framework_info("jobs"));
    for _ in 0..3 {
        cluster.advance(PING * 4);
        cluster.pong(&agent);
    }
    assert_eq!(cluster.master.snapshot().agents.len(), 1);
    assert_eq!(cluster.master.snapshot().frameworks[&scheduler.id].tasks.len(), 1);
}

#[test]
fn an_unreachable_agent_returns_with_its_tasks() {
    for (info, unreachable) in [
        (partition_aware("jobs"), TaskState::TaskUnreachable),
        (framework_info("jobs"), TaskState::TaskLost),
    ] {
        let (mut cluster, agent, scheduler) = with_task(info);
        let message = returning(&mut cluster, &agent);
        let effects = cluster.advance(PING * 6);
        assert_eq!(statuses(&effects, scheduler.connection)[0].state, unreachable);

        cluster.writes_complete = false;
        assert!(names(&cluster.agent_message(&agent.pid, message), &agent.pid).is_empty());
        let effects = cluster.complete_writes();
        assert_eq!(
            names(&effects, &agent.pid),
            ["SlaveReregisteredMessage", "UpdateFrameworkMessage"]
        );
        let statuses = statuses(&effects, scheduler.connection);
        assert_eq!(statuses.len(), 1);
        assert_eq!(statuses[0].state, TaskState::TaskRunning);
        assert_eq!(statuses[0].reason, Some(Reason::ReasonAgentReregistered));
        let view = cluster.master.snapshot();
        let framework = &view.frameworks[&scheduler.id];
        assert_eq!(framework.tasks.len(), 1);
        assert!(framework.unreachable_tasks.is_empty());
        assert!(framework.completed_tasks.is_empty());
        assert_eq!(view.unreachable_agents, 0);
    }
}

#[test]
fn a_broken_link_rescinds_offers_and_ends_what_cannot_survive() {
    let (mut cluster, agent, scheduler, offer) = Cluster::with_offer(framework_info("frail"));
    let tasks = launch(vec![task("t", &agent.id, 1.0, 100.0)]);
    cluster.accept(&scheduler, vec![offer.id], vec![tasks]);
    let (other, effects) = cluster.subscribe(framework_info("other"));
    let offer = offers(&effects, other.connection).remove(0);

    let effects = cluster.event(Event::Exited { pid: agent.pid.clone() });
    assert_eq!(rescinded(&effects, other.connection), [offer.id]);
    let lost = statuses(&effects, scheduler.connection);
    assert_eq!(lost[0].state, TaskState::TaskLost);
    assert_eq!(lost[0].reason, Some(Reason::ReasonAgentDisconnected));
    let view = cluster.master.snapshot();
    assert!(!view.agents[&agent.id].connected && !view.agents[&agent.id].active);
    assert!(view.agents[&agent.id].used_resources.is_empty());
    // Told twice, it happens once.
    assert!(cluster.event(Event::Exited { pid: agent.pid }).is_empty());
}

#[test]
fn a_disconnected_agent_that_does_not_return_is_unreachable() {
    let (mut cluster, agent, scheduler) = with_task(framework_info("jobs"));
    let effects = cluster.event(Event::Exited { pid: agent.pid.clone() });
    assert!(statuses(&effects, scheduler.connection).is_empty());
    // The process answers pings, but it is not the agent that registered.
    let effects = cluster.advance_with_pongs(Duration::from_secs(599), &[&agent]);
    assert!(statuses(&effects, scheduler.connection).is_empty());
    assert!(
        to_agent(&effects, &agent.pid)
            .iter()
            .all(|message| matches!(message, MasterToAgent::PingSlave(ping) if !ping.connected)),
        "pings tell the agent to reregister"
    );
    let effects = cluster.advance_with_pongs(Duration::from_secs(2), &[&agent]);
    let lost = statuses(&effects, scheduler.connection);
    assert_eq!(lost[0].state, TaskState::TaskLost);
    assert_eq!(
        lost[0].message.as_deref(),
        Some("agent did not reregister within 10mins after disconnecting")
    );
}

#[test]
fn a_disconnected_agent_returns_and_is_reconciled() {
    let (mut cluster, agent, scheduler) = with_task(framework_info("jobs"));
    cluster.event(Event::Exited { pid: agent.pid.clone() });
    // A kill meanwhile is remembered.
    let kill = protocol::scheduler::Call {
        r#type: Some(protocol::scheduler::call::Type::Kill),
        kill: Some(protocol::scheduler::call::Kill {
            task_id: crate::cluster::task_id("t"),
            ..Default::default()
        }),
        ..Default::default()
    };
    let (_, effects) = cluster.call(&scheduler, kill);
    assert!(names(&effects, &agent.pid).is_empty());

    let message = returning(&mut cluster, &agent);
    let effects = cluster.agent_message(&agent.pid, message.clone());
    assert_eq!(links(&effects), 1);
    assert_eq!(
        names(&effects, &agent.pid),
        ["SlaveReregisteredMessage", "KillTaskMessage", "UpdateFrameworkMessage"]
    );
    let effects = cluster.advance_with_pongs(Duration::from_secs(700), &[&agent]);
    assert_eq!(offers(&effects, scheduler.connection).len(), 1, "its rest is offered again");
    assert!(statuses(&effects, scheduler.connection).is_empty(), "the timer is stopped");

    // One that does not know the task any more is asked about it.
    let forgetful = ReregisterSlaveMessage { tasks: vec![], ..message };
    let effects = cluster.agent_message(&agent.pid, forgetful);
    let asked = to_agent(&effects, &agent.pid)
        .into_iter()
        .find_map(|message| match message {
            MasterToAgent::SlaveReregistered(message) => Some(message),
            _ => None,
        })
        .unwrap();
    let statuses = &asked.reconciliations[0].statuses;
    assert_eq!(statuses[0].task_id.value, "t");
    assert_eq!(statuses[0].reason, Some(Reason::ReasonReconciliation));
    assert!(asked.reconciliations[0].framework.is_some());
}

#[test]
fn another_agent_at_the_same_address_removes_the_old_one() {
    let (mut cluster, agent, scheduler) = with_task(framework_info("jobs"));
    cluster.event(Event::Exited { pid: agent.pid.clone() });
    let effects = cluster.agent_message(&agent.pid, registration(1));
    let lost = statuses(&effects, scheduler.connection);
    assert_eq!(lost[0].state, TaskState::TaskLost);
    assert_eq!(
        lost[0].message.as_deref(),
        Some("Agent node-1 removed: a new agent registered at the same address")
    );
    let id = registered_id(&effects).unwrap();
    assert_ne!(id, agent.id);
    assert_eq!(cluster.master.snapshot().agents.keys().collect::<Vec<_>>(), [&id]);
    let keys: Vec<_> = cluster.registry.keys().filter(|key| key.starts_with("agent/")).collect();
    assert_eq!(keys, [&format!("agent/{}", id.value)]);
}

#[test]
fn an_agent_that_says_goodbye_is_removed() {
    let (mut cluster, agent, scheduler) = with_task(partition_aware("jobs"));
    let goodbye = UnregisterSlaveMessage { slave_id: agent.id.clone(), ..Default::default() };
    assert!(cluster.agent_message(&agent_pid(9), goodbye.clone()).is_empty(), "not another's");
    let effects = cluster.agent_message(&agent.pid, goodbye);
    let lost = statuses(&effects, scheduler.connection);
    assert_eq!((lost[0].state, lost.len()), (TaskState::TaskLost, 1));
    assert!(cluster.master.snapshot().agents.is_empty());
    assert!(!cluster.registry.keys().any(|key| key.starts_with("agent/")));
}

#[test]
fn an_unknown_agent_is_adopted_with_its_tasks() {
    let (mut cluster, agent, scheduler) = with_task(framework_info("jobs"));
    let message = returning(&mut cluster, &agent);
    // A master that has never heard of any of them.
    cluster.registry.clear();
    cluster.restart();
    let effects = cluster.agent_message(&agent.pid, message);
    assert_eq!(names(&effects, &agent.pid), ["SlaveReregisteredMessage", "UpdateFrameworkMessage"]);
    let view = cluster.master.snapshot();
    let framework = &view.frameworks[&scheduler.id];
    assert!(framework.recovered && !framework.connected);
    assert_eq!(framework.tasks.len(), 1);
    assert_eq!(view.agents[&agent.id].used_resources.cpus().to_f64(), 1.0);
}

#[test]
fn an_agent_with_another_hostname_is_shut_down() {
    let mut cluster = Cluster::new();
    let agent = cluster.add_agent(1);
    let mut message = reregistration(&agent);
    message.slave.hostname = "elsewhere".to_owned();
    let effects = cluster.agent_message(&agent.pid, message);
    assert_eq!(names(&effects, &agent.pid), ["ShutdownMessage"]);
}

#[test]
fn an_agent_with_new_attributes_is_updated_after_the_write() {
    let mut cluster = Cluster::new();
    let agent = cluster.add_agent(1);
    let mut message = reregistration(&agent);
    message.slave.resources[0] = crate::cluster::scalar("cpus", 8.0);
    cluster.writes_complete = false;
    let effects = cluster.agent_message(&agent.pid, message.clone());
    assert!(matches!(effects[..], [Effect::Persist { .. }]));
    assert!(cluster.agent_message(&agent.pid, message).is_empty(), "a write is under way");
    let effects = cluster.complete_writes();
    assert_eq!(names(&effects, &agent.pid), ["SlaveReregisteredMessage"]);
    let view = cluster.master.snapshot();
    assert_eq!(view.agents[&agent.id].total_resources.cpus().to_f64(), 8.0);
}

#[test]
fn gone_is_for_ever() {
    let (mut cluster, agent, scheduler) = with_task(partition_aware("jobs"));
    let message = returning(&mut cluster, &agent);
    let call = |id: &protocol::mesos::AgentId| Call {
        r#type: Some(Type::MarkAgentGone),
        mark_agent_gone: Some(MarkAgentGone { agent_id: id.clone(), ..Default::default() }),
        ..Default::default()
    };
    cluster.writes_complete = false;
    let request = cluster.request();
    let effects = cluster.event(Event::OperatorCall {
        request,
        call: Box::new(call(&agent.id)),
        principal: None,
    });
    assert!(matches!(effects[..], [Effect::Persist { .. }]), "no answer before the write");
    let effects = cluster.complete_writes();
    assert_eq!(crate::cluster::response(&effects, request), Response::Ok);
    assert_eq!(names(&effects, &agent.pid), ["ShutdownMessage"]);
    let gone = statuses(&effects, scheduler.connection);
    assert_eq!(gone[0].state, TaskState::TaskGoneByOperator);
    assert_eq!(gone[0].reason, Some(Reason::ReasonAgentRemovedByOperator));

    cluster.writes_complete = true;
    for restarted in [false, true] {
        if restarted {
            cluster.restart();
        }
        let effects = cluster.agent_message(&agent.pid, message.clone());
        assert_eq!(names(&effects, &agent.pid), ["ShutdownMessage"]);
    }
    assert_eq!(cluster.operate(call(&agent.id)).0, Some(Response::Ok));
    let nobody = protocol::mesos::AgentId { value: "x".into(), ..Default::default() };
    assert!(matches!(cluster.operate(call(&nobody)).0, Some(Response::NotFound(_))));
}

#[test]
fn removals_are_rate_limited_and_called_off_by_a_pong() {
    let mut limited = config();
    limited.agent_removal_interval = Some(Duration::from_secs(3600));
    let mut cluster = Cluster::with(limited);
    let agents: Vec<Agent> = (1..=3).map(|number| cluster.add_agent(number)).collect();
    cluster.advance(PING * 6);
    assert_eq!(cluster.master.snapshot().unreachable_agents, 1);
    let left: Vec<_> = cluster.master.snapshot().agents.keys().cloned().collect();
    let back = agents.iter().find(|agent| agent.id == left[0]).unwrap();
    cluster.pong(back);
    cluster.advance_with_pongs(Duration::from_secs(3600), &[back]);
    let view = cluster.master.snapshot();
    assert_eq!(view.unreachable_agents, 2);
    assert_eq!(view.agents.keys().collect::<Vec<_>>(), [&back.id]);
    assert_eq!(view.metrics.counter(Counter::AgentUnreachableCanceled), 1);
}

#[test]
fn a_duplicate_registration_launches_nothing_twice() {
    let (mut cluster, agent, scheduler, offer) = Cluster::with_offer(framework_info("jobs"));
    let tasks = launch(vec![task("t", &agent.id, 1.0, 100.0)]);
    let effects = cluster.accept(&scheduler, vec![offer.id], vec![tasks]);
    assert_eq!(launched(&effects), ["t"]);
    let effects = cluster.agent_message(&agent.pid, registration(1));
    assert!(launched(&effects).is_empty());
    let view = cluster.master.snapshot();
    assert_eq!(view.agents[&agent.id].used_resources.cpus().to_f64(), 1.0);
}
