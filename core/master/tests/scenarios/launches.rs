//! Offers and what becomes of them: launches, refusals, declines.

use std::time::Duration;

use master::{Counter, Effect, Response};
use proptest::prelude::*;
use protocol::mesos::framework_info::capability::Type as Capability;
use protocol::mesos::offer::Operation;
use protocol::mesos::offer::operation::{LaunchGroup, Type};
use protocol::mesos::task_status::Reason;
use protocol::mesos::{
    ExecutorInfo, Filters, OfferId, TaskGroupInfo, TaskInfo, TaskState, executor_info,
};
use protocol::messages::MasterToAgent;
use protocol::scheduler;
use protocol::scheduler::call::{Accept, Decline, Type as CallType};

use crate::cluster::{
    Agent, Cluster, Scheduler, accept_call, amount, capable, command, config, executor,
    framework_info, launch, launched, offers, partition_aware, ports, rescinded, scalar, statuses,
    task, task_id, to_agent,
};

fn run_task(effects: &[Effect], agent: &Agent) -> protocol::internal::RunTaskMessage {
    to_agent(effects, &agent.pid)
        .into_iter()
        .find_map(|message| match message {
            MasterToAgent::RunTask(message) => Some((**message).clone()),
            _ => None,
        })
        .expect("the agent runs a task")
}

fn decline(offer_ids: Vec<OfferId>, refuse_seconds: f64) -> scheduler::Call {
    let filters = Filters { refuse_seconds: Some(refuse_seconds), ..Default::default() };
    scheduler::Call {
        r#type: Some(CallType::Decline),
        decline: Some(Decline { offer_ids, filters: Some(filters), ..Default::default() }),
        ..Default::default()
    }
}

/// The one status of a refused task.
fn refused(
    cluster: &mut Cluster,
    scheduler: &Scheduler,
    offers: Vec<OfferId>,
    tasks: Vec<TaskInfo>,
) -> (TaskState, Reason, String) {
    let effects = cluster.accept(scheduler, offers, vec![launch(tasks)]);
    assert!(launched(&effects).is_empty());
    let mut statuses = statuses(&effects, scheduler.connection);
    assert_eq!(statuses.len(), 1);
    let status = statuses.remove(0);
    assert_eq!(status.uuid, None, "nothing to acknowledge");
    (status.state, status.reason.unwrap(), status.message.unwrap())
}

#[test]
fn an_offer_says_where_and_what() {
    let (_, agent, scheduler, offer) = Cluster::with_offer(framework_info("jobs"));
    assert!(offer.id.value.ends_with("-O0"), "{}", offer.id.value);
    assert_eq!((offer.framework_id, offer.agent_id), (scheduler.id, agent.id));
    assert_eq!(offer.hostname, "node-1");
    let url = offer.url.unwrap();
    assert_eq!((url.scheme.as_str(), url.path.as_deref()), ("http", Some("/slave(1)")));
    assert_eq!((url.address.ip.as_deref(), url.address.port), (Some("10.0.0.1"), 5051));
    assert_eq!(amount(&offer.resources, "cpus"), 4.0);
    // A framework without the newer capabilities sees the older format.
    assert!(offer.allocation_info.is_none());
    assert!(offer.resources.iter().all(|it| it.allocation_info.is_none()));
    assert!(offer.resources.iter().all(|it| it.role.as_deref() == Some("*")));
}

#[test]
fn a_launch_reaches_the_agent_and_the_rest_is_offered_after_the_filter() {
    let (mut cluster, agent, scheduler, offer) = Cluster::with_offer(framework_info("jobs"));
    let tasks = launch(vec![task("t", &agent.id, 1.0, 128.0)]);
    let effects = cluster.accept(&scheduler, vec![offer.id], vec![tasks]);
    let message = run_task(&effects, &agent);
    assert_eq!(message.pid.as_deref(), Some("@0.0.0.0:0"));
    assert_eq!(message.launch_executor, Some(true));
    assert_eq!(message.framework.id.as_ref(), Some(&scheduler.id));
    assert_eq!(message.resource_version_uuids.len(), 1);
    let role = message.task.resources[0].allocation_info.as_ref().unwrap().role.as_deref();
    assert_eq!(role, Some("*"));
    assert!(offers(&effects, scheduler.connection).is_empty(), "5 s of filter");

    let effects = cluster.advance(Duration::from_secs(7));
    let offer = offers(&effects, scheduler.connection).remove(0);
    assert_eq!((amount(&offer.resources, "cpus"), amount(&offer.resources, "mem")), (3.0, 3968.0));
    let view = cluster.master.snapshot();
    assert_eq!(view.frameworks[&scheduler.id].tasks[0].state, TaskState::TaskStaging);
    assert_eq!(view.agents[&agent.id].used_resources.cpus().to_f64(), 1.0);
    assert_eq!(view.agents[&agent.id].offered_resources.cpus().to_f64(), 3.0);
}

#[test]
fn tasks_are_validated_one_by_one() {
    let (mut cluster, agent, scheduler, offer) = Cluster::with_offer(framework_info("jobs"));
    let tasks = vec![
        task("a", &agent.id, 3.0, 100.0),
        task("too-big", &agent.id, 2.0, 100.0),
        task("b", &agent.id, 1.0, 100.0),
        task("a", &agent.id, 0.1, 1.0),
    ];
    let effects = cluster.accept(&scheduler, vec![offer.id], vec![launch(tasks)]);
    assert_eq!(launched(&effects), ["a", "b"]);
    let refused = statuses(&effects, scheduler.connection);
    let ids: Vec<_> = refused.iter().map(|status| status.task_id.value.as_str()).collect();
    assert_eq!(ids, ["too-big", "a"]);
    assert!(refused.iter().all(|it| it.state == TaskState::TaskError));
    assert!(refused.iter().all(|it| it.reason == Some(Reason::ReasonTaskInvalid)));
    assert!(refused[0].message.as_ref().unwrap().contains("more than available"));
    assert_eq!(refused[1].message.as_deref(), Some("Task has duplicate ID: a"));
    let metrics = cluster.master.snapshot().metrics.clone();
    assert_eq!(metrics.counter(Counter::TasksError), 2);
    let name = "master/task_error/source_master/reason_task_invalid";
    assert!(metrics.iter().any(|metric| metric == (name, 2.0)));
}

#[test]
fn bad_tasks_are_task_invalid() {
    type Case = (fn(&mut TaskInfo), &'static str);
    let cases: Vec<Case> = vec![
        (|it| it.task_id = task_id("a/b"), "'a/b' contains invalid characters"),
        (|it| it.agent_id.value = "other".into(), "Task uses invalid agent other"),
        (|it| it.resources.clear(), "Task uses no resources"),
        (|it| it.resources[0] = scalar("cpus", -1.0), "Invalid scalar resource"),
        (|it| it.resources[0] = scalar("cpus", f64::NAN), "not a finite number"),
        (|it| it.resources[0] = scalar("gpus", 0.5), "'gpus' resource must be an unsigned integer"),
        (|it| it.resources.push(ports(1, 2)), "more than available"),
        (|it| it.command = None, "at least one (but not both) of CommandInfo or ExecutorInfo"),
        (
            |it| it.executor = Some(Box::new(executor("e", 0.1, 32.0))),
            "at least one (but not both) of CommandInfo or ExecutorInfo",
        ),
        (
            |it| {
                it.command = None;
                it.executor =
                    Some(Box::new(ExecutorInfo { command: None, ..executor("e", 0.1, 32.0) }));
            },
            "'ExecutorInfo.command' must be set",
        ),
        (
            |it| {
                it.command = None;
                let mut foreign = executor("e", 0.1, 32.0);
                foreign.framework_id =
                    Some(protocol::mesos::FrameworkId { value: "x".into(), ..Default::default() });
                it.executor = Some(Box::new(foreign));
            },
            "ExecutorInfo has an invalid FrameworkID",
        ),
        (|it| it.health_check = Some(Default::default()), "HealthCheck must specify 'type'"),
        (
            |it| {
                it.limits.insert("disk".into(), Default::default());
            },
            "Only cpus and mem may be included",
        ),
        (
            |it| {
                let limit = protocol::mesos::value::Scalar { value: 0.5, ..Default::default() };
                it.limits.insert("cpus".into(), limit);
            },
            "The cpu limit must be greater than or equal to the cpu request",
        ),
    ];
    for (spoil, expected) in cases {
        let (mut cluster, agent, scheduler, offer) = Cluster::with_offer(framework_info("jobs"));
        let mut bad = task("t", &agent.id, 1.0, 128.0);
        spoil(&mut bad);
        let (state, reason, message) = refused(&mut cluster, &scheduler, vec![offer.id], vec![bad]);
        assert_eq!((state, reason), (TaskState::TaskError, Reason::ReasonTaskInvalid));
        assert!(message.contains(expected), "{message} / {expected}");
        let view = cluster.master.snapshot();
        assert!(view.agents[&agent.id].used_resources.is_empty());
    }
}

#[test]
fn invalid_offers_drop_the_tasks_and_void_the_other_offers() {
    for (info, state) in [
        (partition_aware("jobs"), TaskState::TaskDropped),
        (framework_info("jobs"), TaskState::TaskLost),
    ] {
        let (mut cluster, agent, scheduler, offer) = Cluster::with_offer(info);
        let unknown = OfferId { value: "nope".into(), ..Default::default() };
        let wrong: [Vec<OfferId>; 3] =
            [vec![], vec![offer.id.clone(), offer.id.clone()], vec![offer.id.clone(), unknown]];
        for (offer_ids, expected) in
            wrong.into_iter().zip(["No offers specified", "Duplicate offer", "is no longer valid"])
        {
            let tasks = vec![task("t", &agent.id, 1.0, 128.0)];
            let (got, reason, message) = refused(&mut cluster, &scheduler, offer_ids, tasks);
            assert_eq!((got, reason), (state, Reason::ReasonInvalidOffers));
            assert!(message.starts_with("Task launched with invalid offers: "), "{message}");
            assert!(message.contains(expected), "{message}");
        }
        let tasks = vec![task("t", &agent.id, 1.0, 128.0)];
        let (_, _, message) = refused(&mut cluster, &scheduler, vec![offer.id.clone()], tasks);
        assert!(message.contains("is no longer valid"), "{message}");
    }
}

#[test]
fn offers_of_another_framework_cannot_be_used() {
    let (mut cluster, agent, scheduler, offer) = Cluster::with_offer(framework_info("jobs"));
    let (thief, _) = cluster.subscribe(framework_info("thief"));
    let tasks = vec![task("t", &agent.id, 1.0, 128.0)];
    let (state, _, message) = refused(&mut cluster, &thief, vec![offer.id.clone()], tasks);
    assert_eq!(state, TaskState::TaskLost);
    assert!(message.contains("has invalid framework"), "{message}");
    cluster.call(&thief, decline(vec![offer.id.clone()], 0.0));
    let tasks = launch(vec![task("t", &agent.id, 1.0, 128.0)]);
    let effects = cluster.accept(&scheduler, vec![offer.id], vec![tasks]);
    assert_eq!(launched(&effects), ["t"], "the owner still has it");
}

#[test]
fn two_offers_of_one_agent_may_be_used_together() {
    let (mut cluster, agent, scheduler, first) = Cluster::with_offer(framework_info("jobs"));
    let tasks = launch(vec![task("a", &agent.id, 1.0, 128.0)]);
    let call = scheduler::Call {
        r#type: Some(CallType::Accept),
        accept: Some(Accept {
            offer_ids: vec![first.id],
            operations: vec![tasks],
            filters: Some(Filters { refuse_seconds: Some(0.0), ..Default::default() }),
            ..Default::default()
        }),
        ..Default::default()
    };
    cluster.call(&scheduler, call);
    let effects = cluster.advance(Duration::from_secs(2));
    let rest = offers(&effects, scheduler.connection).remove(0);
    let effects = cluster.update(&agent, &scheduler, "a", TaskState::TaskFinished, 1);
    let freed = offers(&effects, scheduler.connection).remove(0);
    assert_eq!(amount(&freed.resources, "cpus"), 1.0);
    let tasks = launch(vec![task("whole", &agent.id, 4.0, 4096.0)]);
    let effects = cluster.accept(&scheduler, vec![rest.id, freed.id], vec![tasks]);
    assert_eq!(launched(&effects), ["whole"]);
}

#[test]
fn declined_resources_come_back_when_the_filter_ends() {
    let (mut cluster, _, scheduler, offer) = Cluster::with_offer(framework_info("jobs"));
    let (answer, effects) = cluster.call(&scheduler, decline(vec![offer.id.clone()], 30.0));
    assert_eq!(answer, Response::Accepted);
    assert!(offers(&effects, scheduler.connection).is_empty());
    let (other, effects) = cluster.subscribe(framework_info("other"));
    let offered = offers(&effects, other.connection).remove(0);
    cluster.call(&other, decline(vec![offered.id], 1000.0));
    let effects = cluster.advance(Duration::from_secs(29));
    assert!(offers(&effects, scheduler.connection).is_empty());
    let effects = cluster.advance(Duration::from_secs(3));
    assert_eq!(offers(&effects, scheduler.connection).len(), 1);
    // A stale decline is ignored.
    assert_eq!(cluster.call(&scheduler, decline(vec![offer.id], 5.0)).0, Response::Accepted);
}

#[test]
fn offers_held_too_long_are_rescinded() {
    let mut impatient = config();
    impatient.offer_timeout = Some(Duration::from_secs(20));
    let mut cluster = Cluster::with(impatient);
    cluster.add_agent(1);
    let (scheduler, effects) = cluster.subscribe(framework_info("jobs"));
    let offer = offers(&effects, scheduler.connection).remove(0);
    let effects = cluster.advance(Duration::from_secs(20));
    assert_eq!(rescinded(&effects, scheduler.connection), [offer.id]);
    assert_eq!(offers(&effects, scheduler.connection).len(), 1, "and offered again");
}

#[test]
fn an_executor_is_accounted_for_once() {
    let (mut cluster, agent, scheduler, offer) = Cluster::with_offer(framework_info("jobs"));
    let with_executor = |id: &str| TaskInfo {
        command: None,
        executor: Some(Box::new(executor("e", 1.0, 100.0))),
        ..task(id, &agent.id, 1.0, 100.0)
    };
    let tasks = launch(vec![with_executor("a"), with_executor("b")]);
    let effects = cluster.accept(&scheduler, vec![offer.id], vec![tasks]);
    let launches: Vec<_> = to_agent(&effects, &agent.pid)
        .into_iter()
        .filter_map(|message| match message {
            MasterToAgent::RunTask(message) => message.launch_executor,
            _ => None,
        })
        .collect();
    assert_eq!(launches, [true, false]);
    let view = cluster.master.snapshot();
    assert_eq!(view.agents[&agent.id].used_resources.cpus().to_f64(), 3.0);
    let framework = &view.frameworks[&scheduler.id];
    assert_eq!(framework.executors.len(), 1);
    assert_eq!(framework.executors[0].1.framework_id.as_ref(), Some(&scheduler.id));

    let effects = cluster.advance(Duration::from_secs(7));
    let offer = offers(&effects, scheduler.connection).remove(0);
    assert_eq!(offer.executor_ids[0].value, "e");
    let mut other = with_executor("c");
    other.executor.as_mut().unwrap().command = Some(command("something else"));
    let (state, _, message) = refused(&mut cluster, &scheduler, vec![offer.id], vec![other]);
    assert_eq!(state, TaskState::TaskError);
    assert!(message.contains("not compatible with existing ExecutorInfo"), "{message}");

    // The executor's end frees what it held, and is told.
    let exited = protocol::internal::ExitedExecutorMessage {
        slave_id: agent.id.clone(),
        framework_id: scheduler.id.clone(),
        executor_id: executor("e", 0.0, 0.0).executor_id,
        status: 9,
        ..Default::default()
    };
    let effects = cluster.agent_message(&agent.pid, exited);
    let failure = crate::cluster::events(&effects, scheduler.connection)
        .iter()
        .find_map(|event| event.failure.clone())
        .unwrap();
    assert_eq!((failure.status, failure.executor_id.unwrap().value.as_str()), (Some(9), "e"));
    let view = cluster.master.snapshot();
    assert_eq!(view.agents[&agent.id].used_resources.cpus().to_f64(), 2.0);
}

fn group(agent: &Agent, ids: &[&str], cpus: f64) -> Operation {
    let executor = ExecutorInfo {
        r#type: Some(executor_info::Type::Default),
        command: None,
        resources: vec![scalar("cpus", 0.1), scalar("mem", 32.0), scalar("disk", 10.0)],
        ..executor("pod", 0.0, 0.0)
    };
    let tasks = ids.iter().map(|id| task(id, &agent.id, cpus, 64.0)).collect();
    Operation {
        r#type: Some(Type::LaunchGroup),
        launch_group: Some(Box::new(LaunchGroup {
            executor,
            task_group: TaskGroupInfo { tasks, ..Default::default() },
            ..Default::default()
        })),
        ..Default::default()
    }
}

#[test]
fn a_task_group_is_launched_whole_or_not_at_all() {
    let (mut cluster, agent, scheduler, offer) = Cluster::with_offer(framework_info("jobs"));
    let effects = cluster.accept(&scheduler, vec![offer.id], vec![group(&agent, &["a", "b"], 1.0)]);
    assert_eq!(launched(&effects), ["a", "b"]);
    let view = cluster.master.snapshot();
    let used = view.agents[&agent.id].used_resources.cpus().to_f64();
    assert!((used - 2.1).abs() < 1e-9, "{used}");

    let (mut cluster, agent, scheduler, offer) = Cluster::with_offer(framework_info("jobs"));
    let effects = cluster.accept(&scheduler, vec![offer.id], vec![group(&agent, &["a", "b"], 2.0)]);
    assert!(launched(&effects).is_empty());
    let refused = statuses(&effects, scheduler.connection);
    assert_eq!(refused.len(), 2);
    assert!(refused.iter().all(|it| it.reason == Some(Reason::ReasonTaskGroupInvalid)));
    assert!(cluster.master.snapshot().agents[&agent.id].used_resources.is_empty());
}

#[test]
fn a_launch_of_nothing_declines() {
    let (mut cluster, _, scheduler, offer) = Cluster::with_offer(framework_info("jobs"));
    let effects = cluster.accept(&scheduler, vec![offer.id], vec![launch(vec![])]);
    assert!(offers(&effects, scheduler.connection).is_empty());
    let effects = cluster.advance(Duration::from_secs(7));
    assert_eq!(offers(&effects, scheduler.connection).len(), 1);
}

#[test]
fn multi_role_frameworks_see_the_role_of_an_offer() {
    let info = protocol::mesos::FrameworkInfo {
        roles: vec!["a".into(), "b".into()],
        ..capable(
            framework_info("jobs"),
            &[Capability::MultiRole, Capability::ReservationRefinement],
        )
    };
    let (mut cluster, agent, scheduler, offer) = Cluster::with_offer(info);
    let role = offer.allocation_info.unwrap().role.unwrap();
    assert!(["a", "b"].contains(&role.as_str()));
    assert!(offer.resources.iter().all(|it| it.role.is_none()));
    let effects = cluster.accept(
        &scheduler,
        vec![offer.id],
        vec![launch(vec![task("t", &agent.id, 1.0, 128.0)])],
    );
    let message = run_task(&effects, &agent);
    let allocated = message.task.resources[0].allocation_info.clone().unwrap().role.unwrap();
    assert_eq!(allocated, role);
}

#[test]
fn a_framework_may_ask_for_larger_offers() {
    use protocol::mesos::offer_filters::{MinAllocatableResources, ResourceQuantities};
    let wanting = |cpus: f64| {
        let scalar = protocol::mesos::value::Scalar { value: cpus, ..Default::default() };
        let quantities = ResourceQuantities {
            quantities: [("cpus".to_owned(), scalar)].into(),
            ..Default::default()
        };
        let minimum =
            MinAllocatableResources { quantities: vec![quantities], ..Default::default() };
        let filters = protocol::mesos::OfferFilters {
            min_allocatable_resources: Some(minimum),
            ..Default::default()
        };
        protocol::mesos::FrameworkInfo {
            offer_filters: [("*".to_owned(), filters)].into(),
            ..framework_info("jobs")
        }
    };
    let mut cluster = Cluster::new();
    cluster.add_agent(1);
    let (scheduler, effects) = cluster.subscribe(wanting(5.0));
    assert!(offers(&effects, scheduler.connection).is_empty(), "the agent has 4 cpus");
    let (scheduler, effects) = cluster.subscribe(wanting(4.0));
    assert_eq!(offers(&effects, scheduler.connection).len(), 1);
}

#[test]
fn accepts_without_operations_return_everything() {
    let (mut cluster, agent, scheduler, offer) = Cluster::with_offer(framework_info("jobs"));
    let (answer, _) = cluster.call(&scheduler, accept_call(vec![offer.id], vec![]));
    assert_eq!(answer, Response::Accepted);
    assert!(cluster.master.snapshot().agents[&agent.id].offered_resources.is_empty());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    /// Whatever is asked for, the books agree (checked inside after every event) and nothing gets lost:
    /// when all tasks have ended, everything is offered again.
    #[test]
    fn nothing_is_lost_or_used_twice(
        rounds in proptest::collection::vec(
            proptest::collection::vec((0_u32..5000, 0_u32..5000), 0..4),
            1..6,
        ),
    ) {
        let (mut cluster, agent, scheduler, offer) = Cluster::with_offer(framework_info("jobs"));
        let mut held = vec![offer];
        let mut running = Vec::new();
        for (round, sizes) in rounds.iter().enumerate() {
            let tasks: Vec<TaskInfo> = sizes
                .iter()
                .enumerate()
                .map(|(index, (cpus, mem))| {
                    let id = format!("{round}-{index}");
                    task(&id, &agent.id, f64::from(*cpus) / 1000.0, f64::from(*mem))
                })
                .collect();
            let ids = held.drain(..).map(|offer| offer.id).collect();
            let mut effects = cluster.accept(&scheduler, ids, vec![launch(tasks)]);
            running.extend(launched(&effects));
            effects.extend(cluster.advance_with_pongs(Duration::from_secs(7), &[&agent]));
            held.extend(offers(&effects, scheduler.connection));
        }
        for (index, id) in running.iter().enumerate() {
            let number = u8::try_from(index + 1).unwrap();
            let effects =
                cluster.update(&agent, &scheduler, id, TaskState::TaskFinished, number);
            held.extend(offers(&effects, scheduler.connection));
        }
        let total: f64 = held.iter().map(|offer| amount(&offer.resources, "cpus")).sum();
        prop_assert!((total - 4.0).abs() < 1e-9, "{total} cpus are offered");
    }
}
