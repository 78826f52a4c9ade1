//! What happens while something is being written.

use master::{Effect, Response};
use protocol::internal::{ExitedExecutorMessage, ReregisterSlaveMessage};
use protocol::master as api;
use protocol::master::call::{Teardown, Type};
use protocol::mesos::{FrameworkId, FrameworkInfo};
use protocol::scheduler;

use crate::cluster::{
    Cluster, closed, events, executor, framework_info, names, registration, reregistration,
    response, subscribe_call,
};

fn teardown(id: &FrameworkId) -> api::Call {
    api::Call {
        r#type: Some(Type::Teardown),
        teardown: Some(Teardown { framework_id: id.clone(), ..Default::default() }),
        ..Default::default()
    }
}

#[test]
fn a_framework_ends_when_its_removal_is_written_and_not_before() {
    let info = FrameworkInfo { failover_timeout: Some(600.0), ..framework_info("jobs") };
    let (mut cluster, agent, scheduler, offer) = Cluster::with_offer(info.clone());
    cluster.running_task(&agent, &scheduler, &offer, "t");
    cluster.writes_complete = false;
    let (answer, effects) = cluster.operate(teardown(&scheduler.id));
    assert_eq!(answer, None, "the operator waits for the write");
    assert!(names(&effects, &agent.pid).is_empty(), "the agent is not told yet");
    assert!(closed(&effects, scheduler.connection));

    // Meanwhile it can do nothing, and not come back.
    let kill =
        scheduler::Call { r#type: Some(scheduler::call::Type::Suppress), ..Default::default() };
    let (answer, _) = cluster.call(&scheduler, kill);
    assert_eq!(answer.status(), 403);
    let (request, connection) = (cluster.request(), cluster.connection());
    let info = FrameworkInfo { id: Some(scheduler.id.clone()), ..info };
    let effects = cluster.event(master::Event::SchedulerSubscribe {
        request,
        connection,
        stream_id: None,
        call: Box::new(subscribe_call(info)),
        principal: None,
    });
    let error = events(&effects, connection).iter().find_map(|event| event.error.clone());
    assert_eq!(error.map(|error| error.message).as_deref(), Some("Framework has been removed"));
    cluster.advance(std::time::Duration::from_secs(1));
    assert_eq!(cluster.master.snapshot().frameworks[&scheduler.id].tasks.len(), 1);

    // Who asks once more waits as well.
    let again = cluster.request();
    cluster.event(master::Event::OperatorCall {
        request: again,
        call: Box::new(teardown(&scheduler.id)),
        principal: None,
    });
    let effects = cluster.complete_writes();
    assert_eq!(names(&effects, &agent.pid), ["ShutdownFrameworkMessage"]);
    assert_eq!(response(&effects, again), Response::Ok);
    let view = cluster.master.snapshot();
    assert!(view.frameworks.is_empty());
    assert_eq!(view.completed_frameworks[0].completed_tasks.len(), 1);
}

#[test]
fn a_framework_that_tears_itself_down_is_told_so_when_that_is_written() {
    let info = FrameworkInfo { failover_timeout: Some(600.0), ..framework_info("jobs") };
    let (mut cluster, agent, scheduler, offer) = Cluster::with_offer(info.clone());
    cluster.running_task(&agent, &scheduler, &offer, "t");
    cluster.writes_complete = false;
    let r#type = Some(scheduler::call::Type::Teardown);
    let call = scheduler::Call { r#type, ..Default::default() };
    let (answer, effects) = cluster.try_call(&scheduler, call);
    assert_eq!(answer, None, "another master would still know it");
    assert!(names(&effects, &agent.pid).is_empty());
    let effects = cluster.complete_writes();
    let answered =
        |effect: &Effect| matches!(effect, Effect::Respond { response: Response::Accepted, .. });
    assert_eq!(effects.iter().filter(|effect| answered(effect)).count(), 1);
    // From now on no master lets it back.
    cluster.writes_complete = true;
    cluster.restart();
    let connection = cluster.connection();
    let request = cluster.request();
    let effects = cluster.event(master::Event::SchedulerSubscribe {
        request,
        connection,
        stream_id: None,
        call: Box::new(subscribe_call(FrameworkInfo { id: Some(scheduler.id), ..info })),
        principal: None,
    });
    let error = events(&effects, connection).iter().find_map(|event| event.error.clone());
    assert_eq!(error.map(|error| error.message).as_deref(), Some("Framework has been removed"));
}

#[test]
fn an_agent_is_not_told_that_it_is_registered_while_the_opposite_is_written() {
    let mut cluster = Cluster::new();
    let agent = cluster.add_agent(1);
    cluster.writes_complete = false;
    // It falls silent, and repeats its registration when nothing can be called off any more.
    cluster.advance(std::time::Duration::from_secs(80));
    let effects = cluster.agent_message(&agent.pid, registration(1));
    assert!(names(&effects, &agent.pid).is_empty());
    cluster.complete_writes();
    assert_eq!(cluster.master.snapshot().unreachable_agents, 1);
    cluster.writes_complete = true;
    let effects = cluster.agent_message(&agent.pid, registration(1));
    assert!(names(&effects, &agent.pid).contains(&"SlaveRegisteredMessage"));
}

#[test]
fn a_removal_that_was_never_written_has_not_happened() {
    let info = FrameworkInfo { failover_timeout: Some(600.0), ..framework_info("jobs") };
    let (mut cluster, agent, scheduler, offer) = Cluster::with_offer(info);
    cluster.running_task(&agent, &scheduler, &offer, "t");
    let framework = cluster.master.snapshot().frameworks[&scheduler.id].clone();
    cluster.writes_complete = false;
    cluster.operate(teardown(&scheduler.id));
    cluster.restart();
    cluster.writes_complete = true;
    let message = ReregisterSlaveMessage {
        tasks: framework.tasks.iter().map(|task| task.to_task()).collect(),
        frameworks: vec![(*framework.info).clone()],
        ..reregistration(&agent)
    };
    cluster.agent_message(&agent.pid, message);
    let view = cluster.master.snapshot();
    assert_eq!(view.frameworks[&scheduler.id].tasks.len(), 1, "the task goes on");
}

#[test]
fn an_executor_that_ends_while_its_agent_returns_holds_nothing() {
    let mut cluster = Cluster::new();
    let agent = cluster.add_agent(1);
    let (scheduler, _) = cluster.subscribe(framework_info("jobs"));
    let info = cluster.master.snapshot().frameworks[&scheduler.id].info.clone();
    // Silent for so long that its return must be written.
    cluster.advance(std::time::Duration::from_secs(120));
    cluster.writes_complete = false;
    let mut running = executor("e", 1.0, 64.0);
    running.framework_id = Some(scheduler.id.clone());
    for resource in &mut running.resources {
        resource.allocation_info = Some(protocol::mesos::resource::AllocationInfo {
            role: Some("*".to_owned()),
            ..Default::default()
        });
    }
    let message = ReregisterSlaveMessage {
        executor_infos: vec![running.clone()],
        frameworks: vec![(*info).clone()],
        ..reregistration(&agent)
    };
    cluster.agent_message(&agent.pid, message);
    let exited = ExitedExecutorMessage {
        slave_id: agent.id.clone(),
        framework_id: scheduler.id.clone(),
        executor_id: running.executor_id,
        status: 9,
        ..Default::default()
    };
    let effects = cluster.agent_message(&agent.pid, exited);
    let failure = events(&effects, scheduler.connection)[0].failure.clone();
    assert_eq!(failure.and_then(|failure| failure.status), Some(9));
    cluster.complete_writes();
    let view = cluster.master.snapshot();
    assert!(view.agents[&agent.id].used_resources.is_empty());
    assert_eq!(view.agents[&agent.id].total_resources.cpus().to_f64(), 4.0);
}
