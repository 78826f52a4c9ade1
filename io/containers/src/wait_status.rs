//! Wait statuses in words.

use std::os::unix::process::ExitStatusExt;
use std::process::ExitStatus;

/// What glibc's `strsignal` says of the signals from 1, so that texts do not depend on the C
/// library this is built with.
const SIGNALS: [&str; 31] = [
    "Hangup",
    "Interrupt",
    "Quit",
    "Illegal instruction",
    "Trace/breakpoint trap",
    "Aborted",
    "Bus error",
    "Floating point exception",
    "Killed",
    "User defined signal 1",
    "Segmentation fault",
    "User defined signal 2",
    "Broken pipe",
    "Alarm clock",
    "Terminated",
    "Stack fault",
    "Child exited",
    "Continued",
    "Stopped (signal)",
    "Stopped",
    "Stopped (tty input)",
    "Stopped (tty output)",
    "Urgent I/O condition",
    "CPU time limit exceeded",
    "File size limit exceeded",
    "Virtual timer expired",
    "Profiling timer expired",
    "Window changed",
    "I/O possible",
    "Power failure",
    "Bad system call",
];

/// The first real-time signal a program can use.
const SIGNAL_REAL_TIME_MIN: i32 = 34;

/// How a process ended, as a predicate: `exited with status 3`, `terminated with signal Killed`
/// (`WSTRINGIFY` in Mesos' `src/common/status_utils.hpp`; frameworks parse it).
#[must_use]
pub fn describe(status: ExitStatus) -> String {
    if let Some(code) = status.code() {
        return format!("exited with status {code}");
    }
    let core_dumped = if status.core_dumped() { " (core dumped)" } else { "" };
    match (status.signal(), status.stopped_signal()) {
        (Some(signal), _) => format!("terminated with signal {}{core_dumped}", name(signal)),
        (None, Some(signal)) => format!("stopped on signal {}", name(signal)),
        (None, None) => format!("wait status {}", status.into_raw()),
    }
}

fn name(signal: i32) -> String {
    let index = usize::try_from(signal - 1).ok();
    match index.and_then(|index| SIGNALS.get(index)) {
        Some(name) => (*name).to_owned(),
        None if signal >= SIGNAL_REAL_TIME_MIN => {
            format!("Real-time signal {}", signal - SIGNAL_REAL_TIME_MIN)
        }
        None => format!("Unknown signal {signal}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_those_of_mesos() {
        let describe = |raw| describe(ExitStatus::from_raw(raw));
        assert_eq!(describe(0), "exited with status 0");
        assert_eq!(describe(0x100), "exited with status 1");
        assert_eq!(describe(libc::SIGTERM), "terminated with signal Terminated");
        assert_eq!(describe(libc::SIGKILL), "terminated with signal Killed");
        assert_eq!(
            describe(libc::SIGSEGV | 0x80),
            "terminated with signal Segmentation fault (core dumped)"
        );
        assert_eq!(describe(libc::SIGSYS), "terminated with signal Bad system call");
        assert_eq!(describe(36), "terminated with signal Real-time signal 2");
        assert_eq!(describe(33), "terminated with signal Unknown signal 33");
    }
}
