use protocol::mesos::{Address, OfferId, Url};

use super::*;

fn options() -> ExecuteOptions {
    let command = ["sleep", "1"].map(str::to_owned);
    ExecuteOptions::for_arguments("127.0.0.1:5050".to_owned(), &command)
}

fn subscribed() -> Event {
    Event {
        r#type: Some(event::Type::Subscribed),
        subscribed: Some(event::Subscribed {
            framework_id: FrameworkId { value: "F".into(), ..Default::default() },
            ..Default::default()
        }),
        ..Default::default()
    }
}

fn offers(ids: &[(&str, &str)]) -> Event {
    let offer = |(id, resources): &(&str, &str)| Offer {
        id: OfferId { value: (*id).into(), ..Default::default() },
        agent_id: AgentId { value: "A".into(), ..Default::default() },
        hostname: "host".into(),
        url: Some(Url {
            scheme: "http".into(),
            address: Address { ip: Some("10.0.0.1".into()), port: 5051, ..Default::default() },
            ..Default::default()
        }),
        resources: Resources::parse(resources, "*").unwrap().allocated_to("*").to_wire(),
        ..Default::default()
    };
    Event {
        r#type: Some(event::Type::Offers),
        offers: Some(event::Offers {
            offers: ids.iter().map(offer).collect(),
            ..Default::default()
        }),
        ..Default::default()
    }
}

fn update(task: &str, state: TaskState) -> Event {
    let status = TaskStatus {
        task_id: TaskId { value: task.into(), ..Default::default() },
        agent_id: Some(AgentId { value: "A".into(), ..Default::default() }),
        executor_id: Some(ExecutorId { value: task.into(), ..Default::default() }),
        uuid: Some(vec![1; 16]),
        state,
        ..Default::default()
    };
    Event {
        r#type: Some(event::Type::Update),
        update: Some(Box::new(event::Update { status, ..Default::default() })),
        ..Default::default()
    }
}

/// The actions in short.
fn brief(actions: &[Action]) -> Vec<String> {
    actions
        .iter()
        .map(|action| match action {
            Action::Call(call) => call.r#type.unwrap().name(protocol::Names::V1).to_owned(),
            Action::Print(text) => text.lines().next().unwrap_or_default().to_owned(),
            Action::KillAfter(delay) => format!("kill after {delay:?}"),
            Action::Follow(sandbox) => {
                format!("follow {} on {}", sandbox.executor_id, sandbox.agent)
            }
            Action::Finish(ending) => format!("finish {}", ending.is_success()),
            Action::Fail(reason) => format!("fail {reason}"),
        })
        .collect()
}

#[test]
fn one_task_from_its_offer_to_its_end() {
    let mut execution =
        Execution::new(ExecuteOptions { kill_after: Some(Duration::from_secs(9)), ..options() });
    assert_eq!(brief(&execution.handle(subscribed())), ["Subscribed with ID F"]);
    assert!(execution.kill().is_empty());
    // The first is too small, the third comes too late.
    let actions = execution.handle(offers(&[
        ("O1", "cpus:0.05;mem:999"),
        ("O2", "cpus:4;mem:999"),
        ("O3", "cpus:4;mem:999"),
    ]));
    assert_eq!(
        brief(&actions),
        ["DECLINE", "ACCEPT", "Submitted task 'sleep' to agent 'A'", "SUPPRESS", "DECLINE"]
    );
    let Action::Call(accept) = &actions[1] else { panic!("no call") };
    let accept = accept.accept.as_ref().unwrap();
    assert_eq!(accept.offer_ids[0].value, "O2");
    let launch = accept.operations[0].launch.as_ref().unwrap();
    assert_eq!(launch.task_infos[0].agent_id.value, "A");
    let resources = Resources::from_wire(&launch.task_infos[0].resources).unwrap();
    assert_eq!(resources, Resources::parse("cpus:0.1;mem:32", "*").unwrap());

    assert_eq!(
        brief(&execution.handle(update("sleep", TaskState::TaskRunning))),
        [
            "Received status update TASK_RUNNING for task 'sleep'",
            "ACKNOWLEDGE",
            "follow sleep on 10.0.0.1:5051",
            "kill after 9s"
        ]
    );
    assert_eq!(brief(&execution.kill()), ["Asked to kill task 'sleep' on agent 'A'", "KILL"]);
    // A new master may have missed something.
    assert_eq!(brief(&execution.handle(subscribed())), ["RECONCILE"]);
    let actions = execution.handle(update("sleep", TaskState::TaskFinished));
    assert_eq!(brief(&actions).last().unwrap(), "finish true");
    assert!(execution.kill().is_empty());
}

#[test]
fn a_group_ends_with_its_last_task() {
    let task = |id: &str| TaskInfo {
        name: id.into(),
        task_id: TaskId { value: id.into(), ..Default::default() },
        resources: Resources::parse("cpus:1;mem:32", "*").unwrap().to_wire(),
        ..Default::default()
    };
    let group = TaskGroupInfo { tasks: vec![task("a"), task("b")], ..Default::default() };
    let mut execution = Execution::new(ExecuteOptions { work: Work::Group(group), ..options() });
    execution.handle(subscribed());
    // Enough for the tasks, not for their executor too.
    assert_eq!(brief(&execution.handle(offers(&[("O1", "cpus:2;mem:64;disk:32")]))), ["DECLINE"]);
    let actions = execution.handle(offers(&[("O2", "cpus:2.1;mem:96;disk:32")]));
    assert_eq!(brief(&actions)[1], "Submitted task group with tasks [ a, b ] to agent 'A'");
    let Action::Call(accept) = &actions[0] else { panic!("no call") };
    let operation = &accept.accept.as_ref().unwrap().operations[0];
    let launch = operation.launch_group.as_ref().unwrap();
    assert_eq!(launch.executor.executor_id.value, "default-executor");
    assert_eq!(launch.executor.framework_id.as_ref().unwrap().value, "F");
    let first = brief(&execution.handle(update("a", TaskState::TaskFailed)));
    assert!(!first.iter().any(|action| action.starts_with("finish")), "{first:?}");
    assert_eq!(brief(&execution.kill()), ["Asked to kill task 'b' on agent 'A'", "KILL"]);
    let last = brief(&execution.handle(update("b", TaskState::TaskFinished)));
    assert_eq!(last.last().unwrap(), "finish false");
}

#[test]
fn an_offer_that_could_not_be_accepted_is_replaced() {
    let mut execution = Execution::new(options());
    execution.handle(subscribed());
    execution.handle(offers(&[("O1", "cpus:1;mem:128")]));
    execution.call_not_sent(Some(call::Type::Suppress));
    execution.call_not_sent(Some(call::Type::Accept));
    assert_eq!(brief(&execution.handle(subscribed())), Vec::<String>::new());
    assert_eq!(brief(&execution.handle(offers(&[("O2", "cpus:1;mem:128")])))[0], "ACCEPT");
}

#[test]
fn an_error_of_the_master_is_the_end() {
    let error = event::Error { message: "no".into(), ..Default::default() };
    let event =
        Event { r#type: Some(event::Type::Error), error: Some(error), ..Default::default() };
    let actions = Execution::new(options()).handle(event);
    assert_eq!(brief(&actions), ["fail Received an ERROR event: no"]);
}
