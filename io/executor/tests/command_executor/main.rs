//! The command executor as a process, against an agent that the test plays.

#![expect(clippy::unwrap_used, reason = "a test that finds nothing has failed")]

mod agent;

use std::time::{Duration, Instant};

use agent::{Agent, Capability, PATIENCE, kill_policy, shell_task, task_id};
use protocol::executor::event;
use protocol::mesos::environment::{Variable, variable};
use protocol::mesos::{
    self, CommandInfo, ContainerInfo, DurationInfo, Environment, HealthCheck, TaskState,
    task_status,
};

/// What an executor that checkpoints is told.
const CHECKPOINT: [(&str, &str); 3] = [
    ("MESOS_CHECKPOINT", "1"),
    ("MESOS_RECOVERY_TIMEOUT", "10secs"),
    ("MESOS_SUBSCRIPTION_BACKOFF_MAX", "100ms"),
];

fn wait_for(agent: &Agent, name: &str) -> String {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Ok(text) = std::fs::read_to_string(agent.sandbox.path().join(name))
            && text.ends_with('\n')
        {
            return text;
        }
        assert!(Instant::now() < deadline, "'{name}' was not written");
        std::thread::sleep(Duration::from_millis(5));
    }
}

fn wait_for_end(pid: i32) {
    let deadline = Instant::now() + PATIENCE;
    while is_alive(pid) {
        assert!(Instant::now() < deadline, "process {pid} is alive");
        std::thread::sleep(Duration::from_millis(5));
    }
}

fn is_alive(pid: i32) -> bool {
    containers::ProcessStat::read(pid).is_some_and(|stat| !stat.is_dead())
}

#[test]
fn a_task_runs_from_starting_to_finished() {
    let mut agent = Agent::subscribed(&[], &[]);
    agent.launch(shell_task("echo hello; pwd; echo problem >&2"));
    let starting = agent.expect(TaskState::TaskStarting);
    assert_eq!(starting.source, Some(task_status::Source::SourceExecutor));
    assert_eq!(starting.executor_id.unwrap().value, "task");
    assert_eq!(starting.uuid.unwrap().len(), 16);
    assert!(starting.timestamp.unwrap() > 1e9);
    assert_eq!(starting.message, None);
    agent.expect(TaskState::TaskRunning);
    let finished = agent.expect(TaskState::TaskFinished);
    assert_eq!(finished.message.as_deref(), Some("Command exited with status 0"));
    assert_eq!(finished.reason, None);
    assert_eq!(agent.exit_code(), Some(0));
    let sandbox = agent.sandbox.path().canonicalize().unwrap();
    assert_eq!(agent.read("stdout"), format!("hello\n{}\n", sandbox.display()));
    assert!(agent.read("stderr").contains("problem\n"));
}

#[test]
fn failures_say_how_the_command_ended() {
    for (line, message) in [
        ("exit 3", "Command exited with status 3"),
        ("kill -9 $$", "Command terminated with signal Killed"),
    ] {
        let mut agent = Agent::subscribed(&[], &[]);
        agent.launch(shell_task(line));
        agent.expect(TaskState::TaskStarting);
        agent.expect(TaskState::TaskRunning);
        let failed = agent.expect(TaskState::TaskFailed);
        assert_eq!(failed.message.as_deref(), Some(message));
        assert_eq!(agent.exit_code(), Some(0));
    }
}

#[test]
fn the_task_s_environment_lies_over_the_executor_s() {
    let token = ("MESOS_EXECUTOR_AUTHENTICATION_TOKEN", "secret");
    let mut agent = Agent::subscribed(&[token], &[]);
    let variable = |name: &str, value: &str| Variable {
        name: name.to_owned(),
        r#type: Some(variable::Type::Value),
        value: Some(value.to_owned()),
        ..Default::default()
    };
    let secret =
        Variable { r#type: Some(variable::Type::Secret), ..variable("FROM_AGENT", "hidden") };
    let mut task = shell_task("");
    let allocation_info =
        mesos::resource::AllocationInfo { role: Some("web".to_owned()), ..Default::default() };
    task.resources =
        vec![mesos::Resource { allocation_info: Some(allocation_info), ..Default::default() }];
    task.command = Some(CommandInfo {
        shell: Some(false),
        value: Some("env".to_owned()),
        arguments: vec!["renamed".to_owned()],
        environment: Some(Environment {
            variables: vec![variable("OVERWRITTEN", "task"), secret, variable("NEW", "a b")],
            ..Default::default()
        }),
        ..Default::default()
    });
    agent.launch(task);
    agent.expect(TaskState::TaskStarting);
    agent.expect(TaskState::TaskRunning);
    agent.expect(TaskState::TaskFinished);
    let output = agent.read("stdout");
    let lines: Vec<&str> = output.lines().collect();
    for line in ["OVERWRITTEN=task", "FROM_AGENT=inherited", "NEW=a b", "MESOS_ALLOCATION_ROLE=web"]
    {
        assert!(lines.contains(&line), "{line} in {output}");
    }
    assert!(lines.contains(&"MESOS_EXECUTOR_ID=task"));
    assert!(!output.contains("secret"));
}

#[test]
fn tasks_that_cannot_start_fail_with_the_cause() {
    let mut no_command = shell_task("");
    no_command.command = None;
    let mut no_value = shell_task("");
    no_value.command = Some(CommandInfo { shell: Some(false), ..Default::default() });
    let mut no_program = shell_task("/no/such/program");
    no_program.command.as_mut().unwrap().shell = Some(false);
    let mut image = shell_task("true");
    image.container =
        Some(Box::new(ContainerInfo { docker: Some(Default::default()), ..Default::default() }));
    for (task, message) in [
        (no_command, "Expecting task 'task' to have a command"),
        (no_value, "Executable of task 'task' is not specified"),
        (no_program, "'/no/such/program': No such file or directory"),
        (image, "Task 'task' needs a container image"),
    ] {
        let mut agent = Agent::subscribed(&[], &[]);
        agent.launch(task);
        agent.expect(TaskState::TaskStarting);
        let failed = agent.expect(TaskState::TaskFailed);
        assert!(failed.message.as_ref().unwrap().contains(message), "{failed:?}");
        assert_eq!(failed.reason, Some(task_status::Reason::ReasonContainerLaunchFailed));
        assert_eq!(agent.exit_code(), Some(0));
    }
}

#[test]
fn a_kill_terminates_the_whole_tree() {
    let mut agent = Agent::subscribed(&[], &[Capability::TaskKillingState]);
    agent.launch(shell_task("sleep 100 & echo $! > child; wait"));
    agent.expect(TaskState::TaskStarting);
    agent.expect(TaskState::TaskRunning);
    let child = wait_for(&agent, "child").trim().parse().unwrap();
    assert!(is_alive(child));
    agent.kill(None);
    let killing = agent.expect(TaskState::TaskKilling);
    assert_eq!(killing.message, None);
    let killed = agent.expect(TaskState::TaskKilled);
    assert_eq!(killed.message.as_deref(), Some("Command terminated with signal Terminated"));
    assert_eq!(agent.exit_code(), Some(0));
    wait_for_end(child);
}

#[test]
fn a_deaf_task_is_killed_after_the_shortest_grace_period() {
    let mut agent = Agent::subscribed(&[], &[]);
    let mut task = shell_task("trap '' TERM; echo ready > ready; sleep 100 & sleep 100");
    task.kill_policy = Some(kill_policy(Duration::from_secs(60)));
    agent.launch(task);
    agent.expect(TaskState::TaskStarting);
    agent.expect(TaskState::TaskRunning);
    wait_for(&agent, "ready");
    let started = Instant::now();
    agent.kill(None);
    agent.kill(Some(Duration::from_millis(300)));
    agent.kill(Some(Duration::from_secs(30)));
    // Without the capability there is no TASK_KILLING.
    let killed = agent.expect(TaskState::TaskKilled);
    assert_eq!(killed.message.as_deref(), Some("Command terminated with signal Killed"));
    let elapsed = started.elapsed();
    assert!(elapsed >= Duration::from_millis(300) && elapsed < Duration::from_secs(5));
    assert_eq!(agent.exit_code(), Some(0));
}

#[test]
fn shutdown_kills_the_task_within_the_agent_s_patience() {
    let mut agent = Agent::subscribed(&[], &[]);
    agent.launch(shell_task("trap '' TERM; echo ready > ready; sleep 100 & sleep 100"));
    agent.expect(TaskState::TaskStarting);
    agent.expect(TaskState::TaskRunning);
    wait_for(&agent, "ready");
    let started = Instant::now();
    agent.send_type(event::Type::Shutdown);
    agent.expect(TaskState::TaskKilled);
    assert!(started.elapsed() < Duration::from_secs(3));
    assert_eq!(agent.exit_code(), Some(0));

    let mut idle = Agent::subscribed(&[], &[]);
    idle.send_type(event::Type::Shutdown);
    assert_eq!(idle.exit_code(), Some(0));
}

#[test]
fn a_task_that_takes_too_long_fails() {
    let mut agent = Agent::subscribed(&[], &[Capability::TaskKillingState]);
    let mut task = shell_task("sleep 100");
    task.max_completion_time =
        Some(DurationInfo { nanoseconds: 200_000_000, ..Default::default() });
    agent.launch(task);
    agent.expect(TaskState::TaskStarting);
    agent.expect(TaskState::TaskRunning);
    let failed = agent.expect(TaskState::TaskFailed);
    assert_eq!(failed.reason, Some(task_status::Reason::ReasonMaxCompletionTimeReached));
    assert_eq!(agent.exit_code(), Some(0));
}

#[test]
fn an_unhealthy_task_is_killed() {
    let mut agent = Agent::subscribed(&[], &[]);
    let mut task = shell_task("sleep 100");
    task.health_check = Some(Box::new(HealthCheck {
        command: Some(CommandInfo { value: Some("exit 1".to_owned()), ..Default::default() }),
        delay_seconds: Some(0.0),
        interval_seconds: Some(0.05),
        grace_period_seconds: Some(0.0),
        consecutive_failures: Some(2),
        ..Default::default()
    }));
    agent.launch(task);
    agent.expect(TaskState::TaskStarting);
    agent.expect(TaskState::TaskRunning);
    for _ in 0..2 {
        let unhealthy = agent.expect(TaskState::TaskRunning);
        assert_eq!(unhealthy.healthy, Some(false));
        assert_eq!(unhealthy.reason, Some(task_status::Reason::ReasonTaskHealthCheckStatusUpdated));
    }
    let killed = agent.expect(TaskState::TaskKilled);
    assert_eq!(killed.healthy, Some(false));
    assert_eq!(agent.exit_code(), Some(0));
}

#[test]
fn a_second_task_is_refused() {
    let mut agent = Agent::subscribed(&[], &[]);
    agent.launch(shell_task("sleep 100"));
    agent.expect(TaskState::TaskStarting);
    agent.expect(TaskState::TaskRunning);
    let mut second = shell_task("true");
    second.task_id = task_id("second");
    agent.launch(second);
    let failed = agent.expect(TaskState::TaskFailed);
    assert_eq!(failed.task_id.value, "second");
    assert_eq!(
        failed.message.as_deref(),
        Some("Attempted to run multiple tasks using a \"command\" executor")
    );
    agent.kill(None);
    assert_eq!(agent.expect(TaskState::TaskKilled).task_id.value, "task");
    assert_eq!(agent.exit_code(), Some(0));
}

#[test]
fn a_checkpointing_executor_comes_back_with_what_was_not_acknowledged() {
    let mut agent = Agent::subscribed(&CHECKPOINT, &[]);
    agent.launch(shell_task("while ! test -e go; do sleep 0.05; done"));
    let starting = agent.update();
    let running = agent.update();
    agent.go_away();
    let subscribe = agent.accept_subscription();
    assert_eq!(subscribe.unacknowledged_tasks.len(), 1);
    let updates: Vec<_> =
        subscribe.unacknowledged_updates.into_iter().map(|update| update.status).collect();
    assert_eq!(updates, [starting.clone(), running.clone()]);
    agent.send_subscribed(&[]);
    agent.acknowledge(&starting);
    agent.wait_for_log("Received ACKNOWLEDGED event");

    // What ends while the agent is away is told afterwards.
    agent.answer_subscriptions_with(503);
    agent.go_away();
    std::fs::write(agent.sandbox.path().join("go"), "").unwrap();
    let refused = agent.accept_subscription();
    assert!(refused.unacknowledged_tasks.is_empty());
    agent.answer_subscriptions_with(200);
    let subscribe = agent.accept_subscription();
    agent.send_subscribed(&[]);
    let states: Vec<_> =
        subscribe.unacknowledged_updates.iter().map(|update| update.status.state).collect();
    assert_eq!(states, [TaskState::TaskRunning, TaskState::TaskFinished]);
    agent.acknowledge(&running);
    agent.expect_silence(Duration::from_millis(100));
    let finished = subscribe.unacknowledged_updates[1].status.clone();
    agent.acknowledge(&finished);
    assert_eq!(agent.exit_code(), Some(0));
}

#[test]
fn an_update_that_the_agent_has_no_time_for_is_told_again() {
    let mut agent = Agent::subscribed(&[], &[]);
    agent.launch(shell_task("while [ ! -e go ]; do sleep 0.02; done"));
    agent.expect(TaskState::TaskStarting);
    agent.expect(TaskState::TaskRunning);
    agent.wait_for_log("Received ACKNOWLEDGED event");
    // As of an agent that waits for its other executors after a restart.
    agent.answer_calls_with(503);
    std::fs::write(agent.sandbox.path().join("go"), "").unwrap();
    let finished = agent.update();
    assert_eq!(finished.state, TaskState::TaskFinished);
    let subscribe = agent.accept_subscription();
    let updates: Vec<_> =
        subscribe.unacknowledged_updates.into_iter().map(|update| update.status).collect();
    assert_eq!(updates.last(), Some(&finished));
    agent.send_subscribed(&[]);
    agent.acknowledge(&finished);
    assert_eq!(agent.exit_code(), Some(0));
}

#[test]
fn without_checkpointing_the_task_ends_with_the_agent() {
    let mut agent = Agent::subscribed(&[], &[]);
    agent.launch(shell_task("sleep 100 & echo $! > child; wait"));
    agent.expect(TaskState::TaskStarting);
    agent.expect(TaskState::TaskRunning);
    let child = wait_for(&agent, "child").trim().parse().unwrap();
    agent.go_away();
    assert_eq!(agent.exit_code(), Some(1));
    wait_for_end(child);
}

#[test]
fn an_agent_that_does_not_come_back_is_given_up() {
    let short = [
        ("MESOS_CHECKPOINT", "1"),
        ("MESOS_RECOVERY_TIMEOUT", "500ms"),
        ("MESOS_SUBSCRIPTION_BACKOFF_MAX", "100ms"),
    ];
    let mut agent = Agent::subscribed(&short, &[]);
    agent.launch(shell_task("sleep 100"));
    agent.expect(TaskState::TaskStarting);
    agent.expect(TaskState::TaskRunning);
    let started = Instant::now();
    agent.vanish();
    assert_eq!(agent.exit_code(), Some(1));
    assert!(started.elapsed() >= Duration::from_millis(500));
}

#[test]
fn an_executor_nobody_knows_ends() {
    let mut agent = Agent::start_with_status(400, &CHECKPOINT);
    assert_eq!(agent.exit_code(), Some(1));
    assert!(agent.read("stderr").contains("400"));

    let mut agent = Agent::subscribed(&[], &[]);
    agent.launch(shell_task("sleep 100"));
    agent.expect(TaskState::TaskStarting);
    agent.expect(TaskState::TaskRunning);
    agent.send_type(event::Type::Error);
    assert_eq!(agent.update().state, TaskState::TaskKilled);
    assert_eq!(agent.exit_code(), Some(1));
}

/// A value of `/proc/PID/status` in kilobytes, or a count.
fn of_status(pid: u32, name: &str) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find(|line| line.starts_with(name)).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

#[test]
fn an_idle_executor_is_small() {
    let mut agent = Agent::subscribed(&[], &[]);
    agent.wait_for_log("Subscribed executor on");
    let pid = agent.executor.id();
    let before = of_status(pid, "VmRSS:");
    assert!(before <= 4096, "{before} kB");
    assert_eq!(of_status(pid, "Threads:"), 1);
    // What it needed to get here is given back after a while.
    let deadline = Instant::now() + PATIENCE;
    while of_status(pid, "VmRSS:") > before / 2 {
        assert!(Instant::now() < deadline, "{} kB", of_status(pid, "VmRSS:"));
        std::thread::sleep(Duration::from_millis(20));
    }
    println!("resident: {before} kB, then {} kB", of_status(pid, "VmRSS:"));
    agent.launch(shell_task("true"));
    agent.expect(TaskState::TaskStarting);
    agent.expect(TaskState::TaskRunning);
    agent.expect(TaskState::TaskFinished);
    assert_eq!(agent.exit_code(), Some(0));
}
