//! `meseta execute`: a small framework that runs one task or task group and tells what becomes of
//! it (`src/cli/execute.cpp`). It uses nothing that any other framework could not.

use std::future::pending;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use protocol::causes::with_causes;
use protocol::scheduler::{Call, call};
use sdk::{CallError, Incoming, Scheduler, SchedulerOptions};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep_until, timeout};

use crate::terminal::{print, print_error};

mod container;
mod execution;
mod flags;
mod offers;
mod options;
mod sandbox;
mod status;

use execution::{Action, Execution};
pub(crate) use options::ExecuteOptions;
use sandbox::Follower;

/// How long a task may take to end after an interrupt. Then the framework is torn down, which
/// kills what is left of it.
const INTERRUPT_LIMIT: Duration = Duration::from_secs(10);

/// How long the master may take to answer the last call.
const TEARDOWN_LIMIT: Duration = Duration::from_secs(2);

/// The exit code after an interrupt, as shells have it.
const INTERRUPTED: i32 = 130;

/// Runs the task, printing each status update. 0 only when every task has finished.
pub(crate) async fn run(options: ExecuteOptions) -> Result<i32> {
    Run::start(options, Output::Statuses)?.drive().await
}

/// Runs the task as if it were a local command: what it writes appears on our standard output and
/// error, and its exit code is returned.
pub(crate) async fn run_and_stream(options: ExecuteOptions) -> Result<i32> {
    Run::start(options, Output::Task)?.drive().await
}

/// What people see.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Output {
    /// A line for each thing that happens.
    Statuses,
    /// The task's own output.
    Task,
}

struct Run {
    scheduler: Scheduler,
    incoming: mpsc::Receiver<Incoming>,
    execution: Execution,
    output: Output,
    follower: Option<Follower>,
    interrupts: Option<Interrupts>,
    kill_at: Option<Instant>,
    give_up_at: Option<Instant>,
    is_connected: bool,
}

impl Run {
    fn start(options: ExecuteOptions, output: Output) -> Result<Self> {
        let interrupts = match output {
            Output::Statuses => Some(Interrupts::new()?),
            // The caller has a cluster to stop, and listens itself.
            Output::Task => None,
        };
        let scheduler_options = SchedulerOptions {
            credential: options.credential.clone(),
            content_type: options.content_type,
            ..SchedulerOptions::new(options.master.clone(), options.framework.clone())
        };
        let (scheduler, incoming) = Scheduler::start(scheduler_options)?;
        Ok(Self {
            scheduler,
            incoming,
            execution: Execution::new(options),
            output,
            follower: None,
            interrupts,
            kill_at: None,
            give_up_at: None,
            is_connected: true,
        })
    }

    async fn drive(mut self) -> Result<i32> {
        let code = loop {
            let actions = tokio::select! {
                incoming = self.incoming.recv() => self.understand(incoming)?,
                () = at(self.kill_at) => {
                    self.kill_at = None;
                    self.execution.kill()
                }
                () = at(self.give_up_at) => break INTERRUPTED,
                () = interrupted(&mut self.interrupts) => {
                    if self.give_up_at.is_some() {
                        break INTERRUPTED;
                    }
                    self.give_up_at = Some(Instant::now() + INTERRUPT_LIMIT);
                    let actions = self.execution.kill();
                    if actions.is_empty() {
                        // Nothing runs yet.
                        break INTERRUPTED;
                    }
                    actions
                }
            };
            if let Some(code) = self.act(actions).await? {
                break if self.give_up_at.is_some() { INTERRUPTED } else { code };
            }
        };
        if let Some(follower) = self.follower.take() {
            follower.finish().await;
        }
        self.tear_down().await;
        Ok(code)
    }

    fn understand(&mut self, incoming: Option<Incoming>) -> Result<Vec<Action>> {
        match incoming {
            Some(Incoming::Event(event)) => {
                self.is_connected = true;
                Ok(self.execution.handle(*event))
            }
            Some(Incoming::Disconnected { reason }) => {
                // Once is enough for a master that stays away.
                if std::mem::take(&mut self.is_connected) {
                    print_error(&format!("meseta: no master, trying again: {reason}"));
                }
                Ok(Vec::new())
            }
            Some(Incoming::Failed(error)) => Err(error.into()),
            None => bail!("the subscription ended"),
        }
    }

    /// The exit code, once there is one.
    async fn act(&mut self, actions: Vec<Action>) -> Result<Option<i32>> {
        let mut code = None;
        for action in actions {
            match action {
                Action::Call(call) => self.call(*call).await?,
                Action::Print(text) => {
                    if self.output == Output::Statuses {
                        print(&text);
                    }
                }
                Action::KillAfter(delay) => {
                    self.kill_at.get_or_insert_with(|| Instant::now() + delay);
                }
                Action::Follow(sandbox) => {
                    if self.output == Output::Task && self.follower.is_none() {
                        self.follower = Some(Follower::start(sandbox));
                    }
                }
                Action::Finish(ending) => {
                    code = Some(match self.output {
                        Output::Statuses => i32::from(!ending.is_success()),
                        Output::Task => ending.exit_code(print_error),
                    });
                }
                Action::Fail(reason) => bail!(reason),
            }
        }
        Ok(code)
    }

    async fn call(&mut self, call: Call) -> Result<()> {
        let kind = call.r#type;
        match self.scheduler.call(call).await {
            Ok(()) => {}
            // The subscription is being renewed, and the state of the task is asked for then.
            Err(CallError::NotSubscribed) => self.execution.call_not_sent(kind),
            Err(error @ CallError::Refused { .. }) if kind == Some(call::Type::Accept) => {
                return Err(error).context("cannot launch the task");
            }
            Err(error) => tracing::warn!(?kind, error = %with_causes(&error), "call failed"),
        }
        Ok(())
    }

    /// Ends the framework at once, instead of when the master notices that we are gone.
    async fn tear_down(&self) {
        let call = Call { r#type: Some(call::Type::Teardown), ..Default::default() };
        match timeout(TEARDOWN_LIMIT, self.scheduler.call(call)).await {
            Ok(Ok(()) | Err(CallError::NotSubscribed)) => {}
            Ok(Err(error)) => tracing::debug!(error = %with_causes(&error), "cannot tear down"),
            Err(_) => tracing::debug!("the master does not answer to the teardown"),
        }
    }
}

/// Ctrl-C, and what supervisors send.
struct Interrupts {
    interrupt: Signal,
    terminate: Signal,
}

impl Interrupts {
    fn new() -> Result<Self> {
        let listen = |kind| signal(kind).context("cannot listen to signals");
        Ok(Self {
            interrupt: listen(SignalKind::interrupt())?,
            terminate: listen(SignalKind::terminate())?,
        })
    }
}

async fn interrupted(interrupts: &mut Option<Interrupts>) {
    match interrupts {
        Some(interrupts) => {
            tokio::select! {
                _ = interrupts.interrupt.recv() => {}
                _ = interrupts.terminate.recv() => {}
            }
        }
        None => pending().await,
    }
}

async fn at(instant: Option<Instant>) {
    match instant {
        Some(instant) => sleep_until(instant).await,
        None => pending().await,
    }
}

#[cfg(test)]
mod tests;
