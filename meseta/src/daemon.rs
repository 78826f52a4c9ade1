//! `meseta master` and `meseta agent`.

use anyhow::{Context as _, Result};
use server::agent::{AgentOptions, AgentServer};
use server::flags::Values;
use server::master::{MasterOptions, MasterServer};
use tokio::runtime::{Builder, Runtime};
use tokio::signal::unix::{SignalKind, signal};

use crate::terminal::print;

/// The most threads that a daemon's sockets are served on; the state machine has one of its own.
const IO_THREADS_MAX: usize = 2;

pub(crate) fn runtime() -> Result<Runtime> {
    // Threads beyond the processors that the daemon may use would only take turns.
    let processors = std::thread::available_parallelism().map_or(IO_THREADS_MAX, usize::from);
    Builder::new_multi_thread()
        .worker_threads(processors.min(IO_THREADS_MAX))
        .enable_all()
        .build()
        .context("failed to start the threads that serve sockets")
}

/// What ends a daemon from outside.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ending {
    /// Ctrl-C or SIGTERM.
    Stop,
    /// SIGUSR1: an agent leaves its cluster.
    Leave,
}

/// Waits for a signal that ends the daemon.
pub(crate) async fn signalled() -> Result<Ending> {
    let listen = |kind| signal(kind).context("failed to listen for signals");
    let mut interrupt = listen(SignalKind::interrupt())?;
    let mut terminate = listen(SignalKind::terminate())?;
    let mut leave = listen(SignalKind::user_defined1())?;
    Ok(tokio::select! {
        _ = interrupt.recv() => Ending::Stop,
        _ = terminate.recv() => Ending::Stop,
        _ = leave.recv() => Ending::Leave,
    })
}

pub(crate) fn master(values: &Values) -> Result<i32> {
    let options = MasterOptions::from_flags(values)?;
    // On a busy processor the thread that decides and those that serve sockets would interrupt each other
    // for every single message, instead of handing over all that is there.
    if let Err(error) = containers::system::schedule_in_batches() {
        tracing::warn!(%error, "cannot choose the scheduling policy SCHED_BATCH: going on without");
    }
    runtime()?.block_on(async {
        let mut master = MasterServer::start(options).await?;
        print(&format!("Meseta master is ready at http://{}\n", master.address()));
        tokio::select! {
            ending = signalled() => {
                ending?;
                master.shutdown().await;
                Ok(0)
            }
            reason = master.stopped() => {
                anyhow::bail!("{reason}")
            }
        }
    })
}

pub(crate) fn agent(values: &Values) -> Result<i32> {
    let options = AgentOptions::from_flags(values)?;
    runtime()?.block_on(async {
        let mut agent = AgentServer::start(options).await?;
        print(&format!("Meseta agent is ready at http://{}\n", agent.address()));
        loop {
            tokio::select! {
                ending = signalled() => match ending? {
                    Ending::Stop => {
                        agent.shutdown().await;
                        return Ok(0);
                    }
                    Ending::Leave => agent.unregister("the agent was told to leave (SIGUSR1)"),
                },
                exit = agent.ended() => {
                    agent.shutdown().await;
                    if exit.code == 0 {
                        tracing::info!("{}", exit.reason);
                        return Ok(0);
                    }
                    anyhow::bail!("{}", exit.reason)
                }
            }
        }
    })
}
