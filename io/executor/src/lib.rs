//! The built-in executors.
//!
//! The command executor runs the one task the agent gives it. It is a process of its own, one per
//! task, so that a task survives its agent; hence it is kept small: one thread, no runtime, a few
//! hundred kilobytes of heap.

mod check;
mod checker;
mod command_executor;
mod connection;
mod event_loop;
mod http;
mod log;
mod settings;
mod status;
mod task;

pub use settings::{Recovery, Settings, SettingsError};

/// Runs a command executor as its environment says, and gives the exit code of the process.
///
/// Standard output and error, the working directory and the user are those of the task.
#[must_use]
pub fn main() -> i32 {
    containers::system::limit_allocator_arenas();
    match Settings::from_environment(std::env::vars_os()) {
        Ok(settings) => event_loop::EventLoop::new(settings).run(),
        Err(error) => {
            let cause = std::error::Error::source(&error);
            let cause = cause.map(|cause| format!(": {cause}")).unwrap_or_default();
            log::error(format_args!("{error}{cause}"));
            command_executor::EXIT_FAILURE
        }
    }
}
