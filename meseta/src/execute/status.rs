//! What status updates mean and how they are printed.

use std::fmt::Write as _;

use protocol::mesos::{TaskState, TaskStatus};
use protocol::{Message as _, Names};
use resources::Resources;

/// The lines that `mesos-execute` prints for an update.
pub(super) fn describe(status: &TaskStatus) -> String {
    let mut text = format!(
        "Received status update {} for task '{}'\n",
        status.state.name(Names::V1),
        status.task_id.value
    );
    let mut line = |name: &str, value: &str| {
        // Writing to a text cannot fail.
        let _ = writeln!(text, "  {name}: {value}");
    };
    if let Some(message) = &status.message {
        line("message", &format!("'{message}'"));
    }
    if let Some(source) = status.source {
        line("source", source.name(Names::V1));
    }
    if let Some(reason) = status.reason {
        line("reason", reason.name(Names::V1));
    }
    if let Some(healthy) = status.healthy {
        line("healthy?", if healthy { "1" } else { "0" });
    }
    if let Some(check) = &status.check_status {
        line("check status", &check.to_json(Names::V1));
    }
    if let Some(limitation) = &status.limitation
        && let Some(limits) = Resources::from_wire(&limitation.resources)
            .ok()
            .filter(|limits| !limits.is_empty())
            .and_then(|limits| limits.to_text())
    {
        line("resource limit violation", &limits);
    }
    text
}

/// How the work ended: the first status that is not TASK_FINISHED, if there is one.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Ending(Option<Box<TaskStatus>>);

/// The exit code when a task ended without one of its own.
const FAILURE: i32 = 1;

/// What shells add to the number of the signal that ended a command.
const SIGNALLED: i32 = 128;

/// The names by which the C library, and so a status message, calls signals that end programs.
const SIGNALS: &[(&str, i32)] = &[
    ("Hangup", 1),
    ("Interrupt", 2),
    ("Quit", 3),
    ("Illegal instruction", 4),
    ("Trace/breakpoint trap", 5),
    ("Aborted", 6),
    ("Bus error", 7),
    ("Floating point exception", 8),
    ("Killed", 9),
    ("User defined signal 1", 10),
    ("Segmentation fault", 11),
    ("User defined signal 2", 12),
    ("Broken pipe", 13),
    ("Alarm clock", 14),
    ("Terminated", 15),
];

impl Ending {
    pub(super) fn of(statuses: impl IntoIterator<Item = TaskStatus>) -> Self {
        let failed = |status: &TaskStatus| status.state != TaskState::TaskFinished;
        Self(statuses.into_iter().find(failed).map(Box::new))
    }

    pub(super) const fn is_success(&self) -> bool {
        self.0.is_none()
    }

    /// The exit code of the task's command. The protocol carries it only within the message for
    /// people; what is not a plain exit is explained through `tell`.
    pub(super) fn exit_code(&self, tell: impl FnOnce(&str)) -> i32 {
        let Some(status) = &self.0 else { return 0 };
        let message = status.message.as_deref().unwrap_or_default();
        if let Some(code) = after(message, "exited with status ").and_then(leading_number) {
            return code;
        }
        tell(&format!("meseta: the task ended as {}: {message}", status.state.name(Names::V1)));
        let signal = after(message, "terminated with signal ")
            .and_then(|text| SIGNALS.iter().find(|(name, _)| text.starts_with(name)));
        signal.map_or(FAILURE, |(_, number)| SIGNALLED + number)
    }
}

fn after<'a>(text: &'a str, marker: &str) -> Option<&'a str> {
    text.split_once(marker).map(|(_, rest)| rest)
}

fn leading_number(text: &str) -> Option<i32> {
    let end = text.find(|character: char| !character.is_ascii_digit()).unwrap_or(text.len());
    text[..end].parse().ok()
}

#[cfg(test)]
mod tests {
    use protocol::mesos::{TaskId, task_status};

    use super::*;

    fn status(state: TaskState, message: &str) -> TaskStatus {
        TaskStatus {
            task_id: TaskId { value: "t".into(), ..Default::default() },
            state,
            message: Some(message.into()),
            ..Default::default()
        }
    }

    #[test]
    fn the_lines_of_an_update() {
        let status = TaskStatus {
            source: Some(task_status::Source::SourceExecutor),
            reason: Some(task_status::Reason::ReasonCommandExecutorFailed),
            healthy: Some(true),
            ..status(TaskState::TaskFailed, "Command exited with status 7")
        };
        assert_eq!(
            describe(&status),
            "Received status update TASK_FAILED for task 't'\n  \
             message: 'Command exited with status 7'\n  \
             source: SOURCE_EXECUTOR\n  \
             reason: REASON_COMMAND_EXECUTOR_FAILED\n  \
             healthy?: 1\n"
        );
    }

    #[test]
    fn exit_codes() {
        let code = |state, message: &str| {
            let mut told = String::new();
            let ending = Ending::of([status(state, message)]);
            (ending.exit_code(|text| told.push_str(text)), told)
        };
        assert_eq!(code(TaskState::TaskFinished, ""), (0, String::new()));
        assert_eq!(code(TaskState::TaskFailed, "Command exited with status 3"), (3, String::new()));
        let (number, told) = code(TaskState::TaskFailed, "Command terminated with signal Killed");
        assert_eq!(number, 137);
        assert!(told.contains("TASK_FAILED: Command terminated"), "{told}");
        assert_eq!(code(TaskState::TaskLost, "agent lost").0, 1);
    }

    #[test]
    fn one_failed_task_fails_the_group() {
        let good = status(TaskState::TaskFinished, "");
        let bad = status(TaskState::TaskKilled, "");
        assert!(Ending::of([good.clone(), good.clone()]).is_success());
        assert_eq!(Ending::of([good, bad.clone()]), Ending(Some(Box::new(bad))));
    }
}
