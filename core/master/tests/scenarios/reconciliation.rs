//! The reconciliation table, row by row (surface of `docs/reconciliation.md`).

use std::time::Duration;

use master::Response;
use protocol::master::Call;
use protocol::master::call::{MarkAgentGone, Type as OperatorType};
use protocol::mesos::task_status::{Reason, Source};
use protocol::mesos::{AgentId, FrameworkInfo, TaskState, TaskStatus};
use protocol::scheduler;
use protocol::scheduler::call::{Kill, Reconcile, Type, reconcile};

use crate::cluster::{
    Agent, Cluster, Scheduler, framework_info, names, partition_aware, status_update, statuses,
    task_id,
};

fn ask(
    cluster: &mut Cluster,
    scheduler: &Scheduler,
    tasks: &[(&str, Option<&AgentId>)],
) -> Vec<TaskStatus> {
    let tasks = tasks
        .iter()
        .map(|(task, agent)| reconcile::Task {
            task_id: task_id(task),
            agent_id: agent.cloned(),
            ..Default::default()
        })
        .collect();
    let call = scheduler::Call {
        r#type: Some(Type::Reconcile),
        reconcile: Some(Reconcile { tasks, ..Default::default() }),
        ..Default::default()
    };
    let (answer, effects) = cluster.call(scheduler, call);
    assert_eq!(answer, Response::Accepted);
    let statuses = statuses(&effects, scheduler.connection);
    for status in &statuses {
        assert_eq!(status.reason, Some(Reason::ReasonReconciliation));
        assert_eq!(status.source, Some(Source::SourceMaster));
        assert_eq!((&status.uuid, &status.data), (&None, &None));
    }
    statuses
}

fn state(cluster: &mut Cluster, scheduler: &Scheduler, agent: Option<&AgentId>) -> TaskStatus {
    let mut statuses = ask(cluster, scheduler, &[("ghost", agent)]);
    assert_eq!(statuses.len(), 1);
    statuses.remove(0)
}

/// Both columns of the table.
fn both(test: impl Fn(FrameworkInfo, fn(TaskState) -> TaskState)) {
    let durable =
        |info| FrameworkInfo { checkpoint: Some(true), failover_timeout: Some(1e6), ..info };
    test(durable(partition_aware("jobs")), |state| state);
    test(durable(framework_info("jobs")), |_| TaskState::TaskLost);
}

fn running(info: FrameworkInfo) -> (Cluster, Agent, Scheduler) {
    let (mut cluster, agent, scheduler, offer) = Cluster::with_offer(info);
    cluster.running_task(&agent, &scheduler, &offer, "t");
    (cluster, agent, scheduler)
}

#[test]
fn a_known_task_has_its_latest_state() {
    let (mut cluster, agent, scheduler) = running(framework_info("jobs"));
    let mut message = status_update(&agent, &scheduler.id, "t", TaskState::TaskRunning, 2);
    message.update.status.healthy = Some(true);
    cluster.agent_message(&agent.pid, message);
    for tasks in [vec![], vec![("t", None)], vec![("t", Some(&agent.id))]] {
        let statuses = ask(&mut cluster, &scheduler, &tasks);
        assert_eq!(statuses.len(), 1);
        assert_eq!(statuses[0].state, TaskState::TaskRunning);
        assert_eq!(statuses[0].agent_id.as_ref(), Some(&agent.id));
        assert_eq!(statuses[0].healthy, Some(true));
        let message = statuses[0].message.as_deref();
        assert_eq!(message, Some("Reconciliation: Latest task state"));
    }
}

#[test]
fn the_answer_is_the_state_the_framework_was_last_told() {
    let (mut cluster, agent, scheduler) = running(framework_info("jobs"));
    // The agent has the end, but it still waits behind an earlier update.
    let mut message = status_update(&agent, &scheduler.id, "t", TaskState::TaskRunning, 2);
    message.update.latest_state = Some(TaskState::TaskFinished);
    cluster.agent_message(&agent.pid, message);
    assert_eq!(ask(&mut cluster, &scheduler, &[])[0].state, TaskState::TaskRunning);
}

#[test]
fn a_task_unknown_to_a_registered_agent_is_gone() {
    both(|info, seen| {
        let (mut cluster, agent, scheduler) = running(info);
        let status = state(&mut cluster, &scheduler, Some(&agent.id));
        assert_eq!(status.state, seen(TaskState::TaskGone));
    });
}

#[test]
fn a_task_on_an_unreachable_agent_is_unreachable_since() {
    both(|info, seen| {
        let (mut cluster, agent, scheduler) = running(info);
        cluster.advance(Duration::from_secs(90));
        assert_eq!(cluster.master.snapshot().unreachable_agents, 1);
        for task in ["t", "ghost"] {
            let status = ask(&mut cluster, &scheduler, &[(task, Some(&agent.id))]).remove(0);
            assert_eq!(status.state, seen(TaskState::TaskUnreachable));
            assert!(status.unreachable_time.unwrap().nanoseconds > 0);
        }
    });
}

#[test]
fn a_task_on_a_gone_agent_is_gone_by_operator() {
    both(|info, seen| {
        let (mut cluster, agent, scheduler) = running(info);
        cluster.operate(Call {
            r#type: Some(OperatorType::MarkAgentGone),
            mark_agent_gone: Some(MarkAgentGone {
                agent_id: agent.id.clone(),
                ..Default::default()
            }),
            ..Default::default()
        });
        let status = state(&mut cluster, &scheduler, Some(&agent.id));
        assert_eq!(status.state, seen(TaskState::TaskGoneByOperator));
    });
}

#[test]
fn a_task_of_nobody_is_unknown() {
    both(|info, seen| {
        let (mut cluster, _, scheduler) = running(info);
        let stranger = AgentId { value: "stranger".to_owned(), ..Default::default() };
        for agent in [None, Some(&stranger)] {
            let status = state(&mut cluster, &scheduler, agent);
            assert_eq!(status.state, seen(TaskState::TaskUnknown));
            assert_eq!(status.agent_id.as_ref(), agent);
        }
    });
}

#[test]
fn while_agents_may_come_back_there_is_no_answer() {
    both(|info, seen| {
        let (mut cluster, agent, scheduler) = running(info.clone());
        cluster.restart();
        let info = FrameworkInfo { id: Some(scheduler.id), ..info };
        let (scheduler, _) = cluster.subscribe(info);
        let stranger = AgentId { value: "stranger".to_owned(), ..Default::default() };
        for unanswered in [None, Some(&agent.id)] {
            assert!(ask(&mut cluster, &scheduler, &[("t", unanswered)]).is_empty());
        }
        // An agent that is not expected has nothing to do with it.
        let status = state(&mut cluster, &scheduler, Some(&stranger));
        assert_eq!(status.state, seen(TaskState::TaskUnknown));
        // Implicit reconciliation names what is known, which is nothing.
        assert!(ask(&mut cluster, &scheduler, &[]).is_empty());

        cluster.advance(Duration::from_secs(601));
        let status = ask(&mut cluster, &scheduler, &[("t", Some(&agent.id))]).remove(0);
        assert_eq!(status.state, seen(TaskState::TaskUnreachable));
    });
}

#[test]
fn killing_an_unknown_task_is_answered_by_reconciliation() {
    let (mut cluster, agent, scheduler) = running(partition_aware("jobs"));
    let kill = |task: &str, agent: Option<&AgentId>| scheduler::Call {
        r#type: Some(Type::Kill),
        kill: Some(Kill { task_id: task_id(task), agent_id: agent.cloned(), ..Default::default() }),
        ..Default::default()
    };
    let (_, effects) = cluster.call(&scheduler, kill("ghost", Some(&agent.id)));
    assert_eq!(statuses(&effects, scheduler.connection)[0].state, TaskState::TaskGone);
    let (_, effects) = cluster.call(&scheduler, kill("t", None));
    assert_eq!(names(&effects, &agent.pid), ["KillTaskMessage"]);
    let stranger = AgentId { value: "stranger".to_owned(), ..Default::default() };
    let (_, effects) = cluster.call(&scheduler, kill("t", Some(&stranger)));
    assert!(names(&effects, &agent.pid).is_empty(), "the task is elsewhere");
}
