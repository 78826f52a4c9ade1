//! Status updates on their way to frameworks, and acknowledgements on their way back.

use master::{Counter, Event, Response};
use protocol::internal::{StatusUpdate, StatusUpdateMessage};
use protocol::mesos::{FrameworkInfo, TaskState, TaskStatus};
use protocol::messages::MasterToAgent;
use protocol::scheduler;
use protocol::scheduler::call::{Acknowledge, Type};

use crate::cluster::{
    Agent, Cluster, Scheduler, amount, framework_info, launch, names, offers, status_update,
    statuses, task, task_id, to_agent,
};

fn acknowledge(agent: &Agent, task: &str, uuid: u8) -> scheduler::Call {
    scheduler::Call {
        r#type: Some(Type::Acknowledge),
        acknowledge: Some(Acknowledge {
            agent_id: agent.id.clone(),
            task_id: task_id(task),
            uuid: vec![uuid; 16],
            ..Default::default()
        }),
        ..Default::default()
    }
}

fn staged() -> (Cluster, Agent, Scheduler) {
    let info = FrameworkInfo { failover_timeout: Some(600.0), ..framework_info("jobs") };
    let (mut cluster, agent, scheduler, offer) = Cluster::with_offer(info);
    let tasks = launch(vec![task("t", &agent.id, 1.0, 128.0)]);
    cluster.accept(&scheduler, vec![offer.id], vec![tasks]);
    (cluster, agent, scheduler)
}

#[test]
fn an_update_is_forwarded_whole_and_recorded_without_data() {
    let (mut cluster, agent, scheduler) = staged();
    let effects = cluster.update(&agent, &scheduler, "t", TaskState::TaskRunning, 1);
    let sent = statuses(&effects, scheduler.connection);
    assert_eq!(sent.len(), 1);
    assert_eq!(sent[0].uuid.as_deref(), Some(&[1; 16][..]));
    assert_eq!(sent[0].data.as_deref(), Some(&b"data"[..]));
    assert_eq!(sent[0].agent_id.as_ref(), Some(&agent.id));
    assert_eq!(sent[0].timestamp, Some(5.0));
    assert!(names(&effects, &agent.pid).is_empty(), "the master does not acknowledge");
    let view = cluster.master.snapshot();
    let task = view.frameworks[&scheduler.id].tasks[0].to_task();
    assert_eq!(task.state, TaskState::TaskRunning);
    assert_eq!(task.statuses.len(), 1);
    assert_eq!(task.statuses[0].data, None);

    // The same state again replaces the status, another state adds one.
    cluster.update(&agent, &scheduler, "t", TaskState::TaskRunning, 2);
    cluster.update(&agent, &scheduler, "t", TaskState::TaskKilling, 3);
    let view = cluster.master.snapshot();
    let statuses = &view.frameworks[&scheduler.id].tasks[0].to_task().statuses;
    let states: Vec<_> = statuses.iter().map(|status| status.state).collect();
    assert_eq!(states, [TaskState::TaskRunning, TaskState::TaskKilling]);
    assert_eq!(statuses[0].uuid.as_deref(), Some(&[2; 16][..]));
}

#[test]
fn the_end_of_a_task_frees_it_at_once_and_forgets_it_when_acknowledged() {
    let (mut cluster, agent, scheduler) = staged();
    cluster.update(&agent, &scheduler, "t", TaskState::TaskRunning, 1);
    let effects = cluster.update(&agent, &scheduler, "t", TaskState::TaskFinished, 2);
    let freed = offers(&effects, scheduler.connection);
    // The filter of the accept was for the rest alone, not for all of the agent.
    assert_eq!(amount(&freed[0].resources, "cpus"), 4.0);
    let view = cluster.master.snapshot();
    assert_eq!(view.frameworks[&scheduler.id].tasks.len(), 1, "until it is acknowledged");
    assert!(view.agents[&agent.id].used_resources.is_empty());
    assert_eq!(view.metrics.counter(Counter::TasksFinished), 1);

    // Acknowledging an older update is passed on, and forgets nothing.
    let (answer, effects) = cluster.call(&scheduler, acknowledge(&agent, "t", 1));
    assert_eq!(answer, Response::Accepted);
    assert_eq!(names(&effects, &agent.pid), ["StatusUpdateAcknowledgementMessage"]);
    assert_eq!(cluster.master.snapshot().frameworks[&scheduler.id].tasks.len(), 1);

    let (_, effects) = cluster.call(&scheduler, acknowledge(&agent, "t", 2));
    let MasterToAgent::StatusUpdateAcknowledgement(message) = to_agent(&effects, &agent.pid)[0]
    else {
        panic!("{effects:?}");
    };
    assert_eq!(message.uuid, [2; 16]);
    let view = cluster.master.snapshot();
    let framework = &view.frameworks[&scheduler.id];
    assert_eq!((framework.tasks.len(), framework.completed_tasks.len()), (0, 1));
    assert_eq!(framework.completed_tasks[0].state, TaskState::TaskFinished);
}

#[test]
fn a_task_that_ended_stays_as_it_ended() {
    let (mut cluster, agent, scheduler) = staged();
    cluster.update(&agent, &scheduler, "t", TaskState::TaskFailed, 1);
    let effects = cluster.update(&agent, &scheduler, "t", TaskState::TaskRunning, 2);
    assert_eq!(statuses(&effects, scheduler.connection).len(), 1, "forwarded all the same");
    let view = cluster.master.snapshot();
    assert_eq!(view.frameworks[&scheduler.id].tasks[0].state, TaskState::TaskFailed);
    assert_eq!(view.metrics.counter(Counter::IllegalTaskTransitions), 1);
    assert!(view.agents[&agent.id].used_resources.is_empty(), "freed once");
}

#[test]
fn the_latest_state_of_a_queued_update_counts() {
    let (mut cluster, agent, scheduler) = staged();
    let mut message = status_update(&agent, &scheduler.id, "t", TaskState::TaskRunning, 1);
    message.update.latest_state = Some(TaskState::TaskFinished);
    let effects = cluster.agent_message(&agent.pid, message);
    assert_eq!(statuses(&effects, scheduler.connection)[0].state, TaskState::TaskRunning);
    let view = cluster.master.snapshot();
    assert_eq!(view.frameworks[&scheduler.id].tasks[0].state, TaskState::TaskFinished);
    // The framework has not seen the end yet: its word on the running state removes nothing.
    cluster.call(&scheduler, acknowledge(&agent, "t", 1));
    assert_eq!(cluster.master.snapshot().frameworks[&scheduler.id].tasks.len(), 1);
}

#[test]
fn invalid_updates_are_counted_and_dropped() {
    let (mut cluster, agent, scheduler) = staged();
    let good = status_update(&agent, &scheduler.id, "t", TaskState::TaskRunning, 1);
    let spoil = |change: fn(&mut StatusUpdateMessage)| {
        let mut message = good.clone();
        change(&mut message);
        message
    };
    for message in [
        spoil(|it| it.update.uuid = Some(vec![1, 2])),
        spoil(|it| it.update.uuid = None),
        spoil(|it| it.update.slave_id = None),
        spoil(|it| it.update.slave_id = Some(Default::default())),
        spoil(|it| it.pid = None),
    ] {
        assert!(cluster.agent_message(&agent.pid, message).is_empty());
    }
    // An update about an unknown task is news for the framework, not for the master.
    let unknown = status_update(&agent, &scheduler.id, "u", TaskState::TaskRunning, 1);
    let effects = cluster.agent_message(&agent.pid, unknown);
    assert_eq!(statuses(&effects, scheduler.connection).len(), 1);
    let metrics = cluster.master.snapshot().metrics.clone();
    assert_eq!(metrics.counter(Counter::InvalidStatusUpdates), 6);
    assert_eq!(metrics.counter(Counter::ValidStatusUpdates), 0);
}

#[test]
fn updates_for_a_framework_that_is_away_wait_at_the_agent() {
    let (mut cluster, agent, scheduler) = staged();
    cluster.event(Event::ConnectionClosed { connection: scheduler.connection });
    let effects = cluster.update(&agent, &scheduler, "t", TaskState::TaskFinished, 1);
    assert!(effects.is_empty(), "{effects:?}");
    let view = cluster.master.snapshot();
    let task = view.frameworks[&scheduler.id].tasks[0].to_task();
    assert_eq!(task.state, TaskState::TaskFinished);
    assert_eq!(task.status_update_state, None, "nobody was told");

    let info = FrameworkInfo {
        id: Some(scheduler.id.clone()),
        ..(*view.frameworks[&scheduler.id].info).clone()
    };
    let (again, _) = cluster.subscribe(info);
    let effects = cluster.update(&agent, &again, "t", TaskState::TaskFinished, 1);
    assert_eq!(statuses(&effects, again.connection).len(), 1);
    cluster.call(&again, acknowledge(&agent, "t", 1));
    assert!(cluster.master.snapshot().frameworks[&again.id].tasks.is_empty());
}

#[test]
fn acknowledgements_need_an_agent_that_is_there() {
    let (mut cluster, agent, scheduler) = staged();
    let info = acknowledge(&agent, "t", 1);
    // Nothing was sent that could be acknowledged.
    let (answer, effects) = cluster.call(&scheduler, info.clone());
    assert_eq!(answer, Response::Accepted);
    assert!(names(&effects, &agent.pid).is_empty());
    let mut nowhere = info.clone();
    nowhere.acknowledge.as_mut().unwrap().agent_id = Default::default();
    cluster.call(&scheduler, nowhere);
    let mut short = info;
    short.acknowledge.as_mut().unwrap().uuid = vec![1];
    let (answer, _) = cluster.call(&scheduler, short);
    assert_eq!(
        answer,
        Response::BadRequest(
            "Failed to validate scheduler::Call: Expecting UUID string size of 16, but got 1"
                .to_owned()
        )
    );
    let metrics = cluster.master.snapshot().metrics.clone();
    assert_eq!(metrics.counter(Counter::InvalidAcknowledgements), 2);
}

#[test]
fn the_history_of_tasks_is_bounded() {
    let mut small = crate::cluster::config();
    small.max_completed_tasks_per_framework = 2;
    let mut cluster = Cluster::with(small);
    let agent = cluster.add_agent(1);
    let (scheduler, effects) = cluster.subscribe(framework_info("jobs"));
    let offer = offers(&effects, scheduler.connection).remove(0);
    let ids = ["a", "b", "c"];
    let tasks = ids.iter().map(|id| task(id, &agent.id, 1.0, 10.0)).collect();
    cluster.accept(&scheduler, vec![offer.id], vec![launch(tasks)]);
    for (number, id) in ids.into_iter().enumerate() {
        let number = u8::try_from(number).unwrap();
        cluster.update(&agent, &scheduler, id, TaskState::TaskFinished, number);
        cluster.call(&scheduler, acknowledge(&agent, id, number));
    }
    let view = cluster.master.snapshot();
    let kept: Vec<_> = view.frameworks[&scheduler.id]
        .completed_tasks
        .iter()
        .map(|task| task.task_id.value.as_str())
        .collect();
    assert_eq!(kept, ["b", "c"]);
}

#[test]
fn old_agents_leave_fields_out_of_the_status() {
    let (mut cluster, agent, scheduler) = staged();
    let message = StatusUpdateMessage {
        update: StatusUpdate {
            framework_id: scheduler.id.clone(),
            slave_id: Some(agent.id.clone()),
            status: TaskStatus {
                task_id: task_id("t"),
                state: TaskState::TaskRunning,
                ..Default::default()
            },
            timestamp: 9.0,
            uuid: Some(vec![4; 16]),
            ..Default::default()
        },
        pid: Some(agent.pid.to_string()),
        ..Default::default()
    };
    let effects = cluster.agent_message(&agent.pid, message);
    let status = statuses(&effects, scheduler.connection).remove(0);
    assert_eq!(status.uuid.as_deref(), Some(&[4; 16][..]));
    assert_eq!(status.agent_id.as_ref(), Some(&agent.id));
    assert_eq!(status.timestamp, Some(9.0));
}
