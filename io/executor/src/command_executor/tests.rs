use std::os::unix::process::ExitStatusExt;

use super::*;

struct Fixture {
    executor: CommandExecutor,
    start: Instant,
    now: Moment,
}

impl Fixture {
    /// An executor whose task runs.
    fn running(task: mesos::TaskInfo) -> Self {
        let start = Instant::now();
        let executor =
            CommandExecutor::new("f".to_owned(), "e".to_owned(), Duration::from_secs(5), 1);
        let mut fixture = Self { executor, start, now: Moment { at: start, unix_seconds: 1.0 } };
        let launch = event::Launch { task, ..Default::default() };
        fixture.event(Event {
            r#type: Some(event::Type::Launch),
            launch: Some(Box::new(launch)),
            ..Default::default()
        });
        fixture.executor.handle(fixture.now, Input::Started);
        fixture
    }

    fn advance(&mut self, seconds: u64) {
        self.now.at += Duration::from_secs(seconds);
    }

    fn event(&mut self, event: Event) -> Vec<Action> {
        self.executor.handle(self.now, Input::Event(Box::new(event)))
    }

    fn kill(&mut self, seconds: Option<i64>) -> Vec<Action> {
        let grace_period = seconds.map(|seconds| mesos::DurationInfo {
            nanoseconds: seconds * 1_000_000_000,
            ..Default::default()
        });
        let kill_policy = Some(mesos::KillPolicy { grace_period, ..Default::default() });
        self.event(Event {
            r#type: Some(event::Type::Kill),
            kill: Some(event::Kill { kill_policy, ..Default::default() }),
            ..Default::default()
        })
    }

    /// Seconds from the beginning to the next expiry.
    fn next_expiry(&self) -> Option<u64> {
        Some((self.executor.next_expiry()? - self.start).as_secs())
    }

    fn end(&mut self) -> mesos::TaskStatus {
        let actions = self.executor.handle(self.now, Input::Ended(Some(ExitStatus::from_raw(9))));
        let Some(Action::Send(call)) = actions.last() else { panic!("{actions:?}") };
        call.update.as_ref().unwrap().status.clone()
    }
}

#[test]
fn a_grace_period_is_only_ever_shortened() {
    let mut fixture = Fixture::running(mesos::TaskInfo::default());
    assert_eq!(fixture.kill(Some(20)), [Action::StopChecks, Action::Terminate]);
    assert_eq!(fixture.next_expiry(), Some(20));
    fixture.advance(2);
    assert_eq!(fixture.kill(Some(30)), []);
    assert_eq!(fixture.next_expiry(), Some(20));
    // It counts from the first kill.
    assert_eq!(fixture.kill(Some(5)), []);
    assert_eq!(fixture.next_expiry(), Some(5));
    // The default of three seconds.
    assert_eq!(fixture.kill(None), []);
    assert_eq!(fixture.next_expiry(), Some(3));
    fixture.advance(4);
    assert_eq!(fixture.executor.expire(fixture.now), [Action::Kill]);
    assert_eq!(fixture.next_expiry(), None);
    assert_eq!(fixture.kill(Some(0)), []);
    assert_eq!(fixture.end().state, TaskState::TaskKilled);
}

#[test]
fn a_task_that_ends_before_its_kill_is_not_killed() {
    let mut fixture = Fixture::running(mesos::TaskInfo::default());
    assert_eq!(fixture.end().state, TaskState::TaskFailed);
    assert_eq!(fixture.kill(None), []);
}

#[test]
fn results_of_checks_count_only_while_the_task_runs() {
    let mut fixture = Fixture::running(mesos::TaskInfo::default());
    fixture.kill(None);
    let health = Health { healthy: false, kill: true };
    assert_eq!(fixture.executor.handle(fixture.now, Input::Health(health)), []);
    let checked = Input::Checked(mesos::CheckStatusInfo::default());
    assert_eq!(fixture.executor.handle(fixture.now, checked), []);
    assert_eq!(fixture.end().healthy, None);
}

#[test]
fn an_update_of_a_checked_task_keeps_what_was_said_before() {
    let task = mesos::TaskInfo {
        check: Some(mesos::CheckInfo {
            r#type: Some(mesos::check_info::Type::Tcp),
            ..Default::default()
        }),
        ..Default::default()
    };
    let mut fixture = Fixture::running(task);
    let result = mesos::CheckStatusInfo {
        r#type: Some(mesos::check_info::Type::Tcp),
        tcp: Some(mesos::check_status_info::Tcp { succeeded: Some(true), ..Default::default() }),
        ..Default::default()
    };
    fixture.executor.handle(fixture.now, Input::Checked(result.clone()));
    let health = Input::Health(Health { healthy: true, kill: false });
    let actions = fixture.executor.handle(fixture.now, health);
    let [Action::Send(call)] = actions.as_slice() else { panic!("{actions:?}") };
    let status = &call.update.as_ref().unwrap().status;
    assert_eq!(status.check_status, Some(result));
    assert_eq!(status.healthy, Some(true));
    // The terminal update is made from scratch, but says which kind of check there is.
    let ended = fixture.end();
    assert_eq!(ended.healthy, None);
    let check_status = ended.check_status.unwrap();
    assert_eq!(check_status.tcp, Some(mesos::check_status_info::Tcp::default()));
}

#[test]
fn the_last_acknowledgement_is_awaited_for_as_long_as_the_agent_is_away() {
    let mut fixture = Fixture::running(mesos::TaskInfo::default());
    fixture.end();
    assert_eq!(fixture.next_expiry(), Some(60));
    fixture.executor.handle(fixture.now, Input::AgentAway);
    assert_eq!(fixture.next_expiry(), None);
    fixture.advance(100);
    fixture.event(Event {
        r#type: Some(event::Type::Subscribed),
        subscribed: Some(Box::default()),
        ..Default::default()
    });
    assert_eq!(fixture.next_expiry(), Some(160));
    fixture.advance(60);
    assert_eq!(fixture.executor.expire(fixture.now), [Action::Exit(EXIT_FAILURE)]);
}

#[test]
fn events_without_content_change_nothing() {
    let mut fixture = Fixture::running(mesos::TaskInfo::default());
    for r#type in [
        event::Type::Subscribed,
        event::Type::Launch,
        event::Type::Kill,
        event::Type::Acknowledged,
        event::Type::Message,
        event::Type::Heartbeat,
    ] {
        assert_eq!(fixture.event(Event { r#type: Some(r#type), ..Default::default() }), []);
    }
    assert_eq!(fixture.event(Event::default()), []);
}
