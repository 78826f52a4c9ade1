use super::*;

const NOW: Moment = Moment::from_secs(1);

fn task() -> Amount {
    Amount::new(1.0, 100.0)
}

/// One agent that holds two tasks.
fn ledger() -> Ledger {
    Ledger::new(2, task().times(2), task())
}

/// Runs a task to its end, the way it should be.
fn live(ledger: &mut Ledger, number: u64) {
    assert!(ledger.started(0, number));
    assert_eq!(
        ledger.heard(NOW, 0, number, TaskState::TaskRunning),
        Heard::Running(Duration::ZERO)
    );
    assert!(!ledger.acknowledged(number, STARTED));
    assert!(ledger.worked(number));
    let ended = ledger.heard(NOW, 0, number, TaskState::TaskFinished);
    assert_eq!(ended, Heard::Ended { finished: true });
    assert!(!ledger.acknowledged(number, ENDED));
}

fn only_violation(ledger: &Ledger) -> &str {
    assert_eq!(ledger.violations.count(), 1, "{:?}", ledger.violations);
    &ledger.violations.texts()[0]
}

#[test]
fn a_task_that_lives_and_ends_leaves_nothing() {
    let mut ledger = ledger();
    assert_eq!(ledger.offered(NOW, 0, "o1", 0, task().times(2)), None);
    ledger.answered("o1");
    let first = ledger.launched(NOW, 0, 0);
    let second = ledger.launched(NOW, 0, 0);
    assert_eq!((ledger.live(), ledger.launching()), (2, 2));
    live(&mut ledger, first);
    // What the first one used is offered again while the second one lives.
    assert_eq!(ledger.offered(NOW, 1, "o2", 0, task()), None);
    live(&mut ledger, second);
    ledger.close();
    assert_eq!((ledger.live(), ledger.launching()), (0, 0));
    assert_eq!(ledger.violations.count(), 0);
}

#[test]
fn an_end_waits_for_the_acknowledgement_of_the_start() {
    let mut ledger = ledger();
    let number = ledger.launched(NOW, 0, 0);
    ledger.started(0, number);
    assert!(!ledger.worked(number));
    assert!(ledger.awaits(number, STARTED));
    assert!(ledger.acknowledged(number, STARTED));
    assert!(ledger.awaits(number, ENDED));
    assert!(!ledger.acknowledged(number, STARTED), "the acknowledgement came twice");
    assert!(ledger.awaits(number, ENDED));
}

#[test]
fn resources_offered_twice_are_found_after_the_grace() {
    let mut ledger = ledger();
    assert_eq!(ledger.offered(NOW, 0, "o1", 0, task().times(2)), None);
    let due = ledger.offered(NOW, 1, "o2", 0, task()).unwrap();
    ledger.judge(NOW);
    assert_eq!(ledger.violations.count(), 0);
    ledger.judge(due);
    assert!(only_violation(&ledger).contains("cpus:3;mem:300 of cpus:2;mem:200 are promised"));
    ledger.judge(due + GRACE);
    assert_eq!(ledger.violations.count(), 1, "each is reported once");
}

#[test]
fn a_late_rescission_explains_an_overlap() {
    let mut ledger = ledger();
    ledger.offered(NOW, 0, "o1", 0, task().times(2));
    let due = ledger.offered(NOW, 1, "o2", 0, task()).unwrap();
    ledger.rescinded("o1");
    ledger.judge(due);
    assert_eq!(ledger.violations.count(), 0);
}

#[test]
fn an_offer_that_was_void_when_it_came_promises_nothing() {
    let mut ledger = ledger();
    ledger.launched(NOW, 1, 0);
    ledger.launched(NOW, 1, 0);
    let due = ledger.offered(NOW, 0, "o1", 0, task()).unwrap();
    ledger.answered("o1");
    ledger.rescinded("o1");
    ledger.judge(due);
    assert_eq!(ledger.violations.count(), 0);
}

#[test]
fn a_rescission_of_another_agent_or_of_too_little_explains_nothing() {
    let mut ledger = ledger();
    ledger.offered(NOW, 0, "o1", 0, task());
    ledger.offered(NOW, 0, "elsewhere", 1, task().times(2));
    let due = ledger.offered(NOW, 1, "o2", 0, task().times(3)).unwrap();
    ledger.rescinded("elsewhere");
    ledger.rescinded("o1");
    ledger.judge(due);
    only_violation(&ledger);
}

#[test]
fn a_broken_connection_voids_the_offers_of_its_framework_alone() {
    let mut ledger = ledger();
    ledger.offered(NOW, 0, "o1", 0, task());
    ledger.offered(NOW, 1, "o2", 0, task());
    ledger.disconnected(0);
    assert_eq!(ledger.offered(NOW, 2, "o3", 0, task()), None);
    assert!(ledger.offered(NOW, 2, "o4", 0, task()).is_some());
}

#[test]
fn a_running_task_counts_against_new_offers() {
    let mut ledger = ledger();
    ledger.launched(NOW, 0, 0);
    assert_eq!(ledger.offered(NOW, 0, "o1", 0, task()), None);
    let due = ledger.offered(NOW, 0, "o2", 0, task()).unwrap();
    ledger.judge(due);
    only_violation(&ledger);
}

#[test]
fn an_agent_that_runs_too_much_is_found_at_once() {
    let mut ledger = ledger();
    for _ in 0..3 {
        let number = ledger.launched(NOW, 0, 0);
        ledger.started(0, number);
    }
    assert!(only_violation(&ledger).contains("was told to run cpus:3;mem:300"));
}

#[test]
fn a_task_run_twice_or_elsewhere_is_found() {
    let mut ledger = ledger();
    let number = ledger.launched(NOW, 0, 0);
    assert!(ledger.started(0, number));
    assert!(!ledger.started(0, number));
    assert!(only_violation(&ledger).contains("told again"));
    assert!(!ledger.started(1, number));
    assert!(!ledger.started(0, 99));
    assert_eq!(ledger.violations.count(), 3);
}

#[test]
fn a_task_that_ends_twice_is_found() {
    let mut ledger = ledger();
    let number = ledger.launched(NOW, 0, 0);
    live(&mut ledger, number);
    assert_eq!(ledger.heard(NOW, 0, number, TaskState::TaskLost), Heard::Again);
    assert!(only_violation(&ledger).contains("has ended and is now TaskLost"));
}

#[test]
fn an_update_that_was_sent_twice_may_come_twice() {
    let mut ledger = ledger();
    let number = ledger.launched(NOW, 0, 0);
    ledger.repeated(number);
    live(&mut ledger, number);
    assert_eq!(ledger.heard(NOW, 0, number, TaskState::TaskFinished), Heard::Again);
    assert_eq!(ledger.violations.count(), 0);
}

#[test]
fn a_task_of_another_framework_is_found() {
    let mut ledger = ledger();
    let number = ledger.launched(NOW, 0, 0);
    assert_eq!(ledger.heard(NOW, 1, number, TaskState::TaskRunning), Heard::Again);
    assert!(only_violation(&ledger).contains("framework 1 is told of task"));
}

#[test]
fn a_task_the_master_gave_up_is_over_without_its_agent() {
    let mut ledger = ledger();
    let number = ledger.launched(NOW, 0, 0);
    let heard = ledger.heard(NOW, 0, number, TaskState::TaskDropped);
    assert_eq!(heard, Heard::Ended { finished: false });
    assert_eq!((ledger.live(), ledger.launching()), (0, 0));
    assert_eq!(ledger.offered(NOW, 0, "o1", 0, task().times(2)), None);
    assert!(!ledger.started(0, number), "an ended task is not run");
    assert!(only_violation(&ledger).contains("ended task"));
}

#[test]
fn a_task_without_an_end_is_found_when_the_books_close() {
    let mut ledger = ledger();
    let number = ledger.launched(NOW, 0, 0);
    ledger.started(0, number);
    ledger.close();
    assert!(only_violation(&ledger).contains("never ended: framework Launched, agent Started"));
}

#[test]
fn violations_are_counted_beyond_what_is_kept() {
    let mut violations = Violations::default();
    for number in 0..TEXTS_MAX + 7 {
        violations.add(format!("{number}"));
    }
    assert_eq!(violations.count(), 57);
    assert_eq!(violations.texts().len(), TEXTS_MAX);
}
