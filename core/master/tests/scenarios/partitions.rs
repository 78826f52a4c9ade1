//! What of the rules on lost and returning agents is not told elsewhere: removals after the master's
//! start, and words of agents that are out.

use std::time::Duration;

use master::{Config, Counter, Response};
use protocol::internal::{PongSlaveMessage, UnregisterSlaveMessage};
use protocol::master::Call;
use protocol::master::call::{MarkAgentGone, Type};
use protocol::mesos::{AgentId, FrameworkInfo, TaskState};
use protocol::messages::AgentToMaster;

use crate::cluster::{
    Agent, Cluster, config, events, names, partition_aware, registered_id, registration,
    reregistration, statuses,
};

const MINUTE: Duration = Duration::from_secs(60);

fn unreachable(cluster: &mut Cluster) -> usize {
    cluster.master.snapshot().unreachable_agents
}

fn count(cluster: &mut Cluster, counter: Counter) -> u64 {
    cluster.master.snapshot().metrics.counter(counter)
}

/// A master that took over four agents, of which none is back.
fn after_failover(config: Config) -> (Cluster, Vec<Agent>) {
    let mut cluster = Cluster::with(config);
    let agents = (1..=4).map(|number| cluster.add_agent(number)).collect();
    cluster.restart();
    (cluster, agents)
}

#[test]
fn agents_that_do_not_return_are_removed_at_the_limited_rate_and_late_ones_are_spared() {
    let limited = Config { agent_removal_interval: Some(10 * MINUTE), ..config() };
    let (mut cluster, agents) = after_failover(limited);
    cluster.agent_message(&agents[0].pid, reregistration(&agents[0]));
    cluster.advance_with_pongs(10 * MINUTE, &[&agents[0]]);
    assert_eq!(unreachable(&mut cluster), 1, "the first of three at once");
    cluster.advance_with_pongs(9 * MINUTE, &[&agents[0]]);
    assert_eq!(unreachable(&mut cluster), 1);
    cluster.advance_with_pongs(2 * MINUTE, &[&agents[0]]);
    assert_eq!(unreachable(&mut cluster), 2);
    // The last comes back while its removal is queued.
    let effects = cluster.agent_message(&agents[3].pid, reregistration(&agents[3]));
    assert_eq!(names(&effects, &agents[3].pid), ["SlaveReregisteredMessage"]);
    cluster.advance_with_pongs(20 * MINUTE, &[&agents[0], &agents[3]]);
    assert_eq!(unreachable(&mut cluster), 2);
    assert_eq!(cluster.master.snapshot().agents.len(), 2);
    assert_eq!(count(&mut cluster, Counter::RecoveryAgentRemovals), 2);
    assert_eq!(count(&mut cluster, Counter::AgentUnreachableScheduled), 3);
    assert_eq!(count(&mut cluster, Counter::AgentUnreachableCompleted), 2);
    assert_eq!(count(&mut cluster, Counter::AgentUnreachableCanceled), 1);
}

#[test]
fn an_agent_that_is_not_back_yet_can_be_declared_gone() {
    let (mut cluster, agents) = after_failover(config());
    let gone = Call {
        r#type: Some(Type::MarkAgentGone),
        mark_agent_gone: Some(MarkAgentGone {
            agent_id: agents[0].id.clone(),
            ..Default::default()
        }),
        ..Default::default()
    };
    assert_eq!(cluster.operate(gone).0, Some(Response::Ok));
    let effects = cluster.agent_message(&agents[0].pid, reregistration(&agents[0]));
    assert_eq!(names(&effects, &agents[0].pid), ["ShutdownMessage"]);
    cluster.advance(11 * MINUTE);
    assert_eq!(unreachable(&mut cluster), 3, "it is gone, not unreachable");
    // Its machine may join again under another id.
    let effects = cluster.agent_message(&agents[0].pid, registration(1));
    assert_ne!(registered_id(&effects), Some(agents[0].id.clone()));
    assert!(registered_id(&effects).is_some());
}

#[test]
fn words_of_an_agent_that_is_out_change_nothing() {
    let info = FrameworkInfo { checkpoint: Some(true), ..partition_aware("jobs") };
    let (mut cluster, agent, scheduler, offer) = Cluster::with_offer(info);
    cluster.running_task(&agent, &scheduler, &offer, "t");
    cluster.advance(2 * MINUTE);
    assert_eq!(unreachable(&mut cluster), 1);
    let stranger = UnregisterSlaveMessage { slave_id: agent.id.clone(), ..Default::default() };
    let words: [AgentToMaster; 3] = [
        crate::cluster::status_update(&agent, &scheduler.id, "t", TaskState::TaskFinished, 7)
            .into(),
        PongSlaveMessage::default().into(),
        stranger.into(),
    ];
    for word in words {
        let effects = cluster.agent_message(&agent.pid, word);
        assert!(events(&effects, scheduler.connection).is_empty(), "{effects:?}");
        assert!(names(&effects, &agent.pid).is_empty(), "{effects:?}");
    }
    assert_eq!(unreachable(&mut cluster), 1);
    assert_eq!(count(&mut cluster, Counter::InvalidStatusUpdates), 1);
}

#[test]
fn a_task_that_ended_out_of_reach_is_told_when_its_agent_is_back() {
    let info = FrameworkInfo { checkpoint: Some(true), ..partition_aware("jobs") };
    let (mut cluster, agent, scheduler, offer) = Cluster::with_offer(info);
    cluster.running_task(&agent, &scheduler, &offer, "t");
    let view = cluster.master.snapshot();
    let framework = &view.frameworks[&scheduler.id];
    let mut message = reregistration(&agent);
    message.tasks = framework.tasks.iter().map(|task| task.to_task()).collect();
    message.tasks[0].state = TaskState::TaskFinished;
    message.frameworks = vec![(*framework.info).clone()];
    cluster.advance(2 * MINUTE);
    let effects = cluster.agent_message(&agent.pid, message);
    let told = statuses(&effects, scheduler.connection);
    assert_eq!(told[0].state, TaskState::TaskFinished);
    assert_eq!(told[0].uuid, None, "the agent's own update, to be acknowledged, is still to come");
    let effects = cluster.update(&agent, &scheduler, "t", TaskState::TaskFinished, 7);
    assert!(statuses(&effects, scheduler.connection)[0].uuid.is_some());
}

#[test]
fn agents_of_other_masters_ids_are_no_strangers() {
    // A master with an empty registry takes over a living cluster.
    let mut cluster = Cluster::new();
    let id = AgentId { value: "another-master-S7".to_owned(), ..Default::default() };
    let pid = crate::cluster::agent_pid(7);
    let info = protocol::mesos::AgentInfo { id: Some(id.clone()), ..crate::cluster::agent_info(7) };
    let agent = Agent { id: id.clone(), pid: pid.clone(), info };
    let effects = cluster.agent_message(&pid, reregistration(&agent));
    assert_eq!(names(&effects, &pid), ["SlaveReregisteredMessage"]);
    assert!(cluster.registry.contains_key(&format!("agent/{}", id.value)));
}
