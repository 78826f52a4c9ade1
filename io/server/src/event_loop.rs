//! The thread that owns a state machine of `core`: it takes inputs in batches, keeps the one timer,
//! and never waits for anything but its inputs.

use std::fmt;
use std::io;
use std::ops::ControlFlow;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use protocol::time::Timestamp;
use tokio::sync::mpsc;

/// How many inputs from outside may wait. Beyond it their senders wait, and so do the peers behind them.
pub const INPUTS_MAX: usize = 4096;

/// How many inputs are handled before the timers get their turn.
pub const BATCH_MAX: usize = 1024;

/// What the loop runs.
pub trait Machine {
    /// What happens to it.
    type Input: Send + 'static;

    /// Takes one input. Breaking ends the loop.
    fn handle(&mut self, now: Timestamp, input: Self::Input) -> ControlFlow<()>;

    /// Fires the timers that are due.
    fn expire(&mut self, now: Timestamp) -> ControlFlow<()>;

    /// When the next timer is due.
    fn next_expiry(&self) -> Option<Timestamp>;

    /// Called after each batch of inputs, before the loop waits again.
    fn batch_done(&mut self, now: Timestamp);
}

/// The time of a process: the system's at its start, and from there on by the monotonic clock, so that
/// a clock that is set by hand or jumps moves no timer.
#[derive(Clone, Copy, Debug)]
pub struct Clock {
    start: Timestamp,
    started: Instant,
}

impl Clock {
    /// Starts now.
    #[must_use]
    pub fn start() -> Self {
        let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let nanos = i64::try_from(since_epoch.as_nanos()).unwrap_or(i64::MAX);
        Self { start: Timestamp::from_nanos(nanos), started: Instant::now() }
    }

    /// The present time.
    #[must_use]
    pub fn now(&self) -> Timestamp {
        self.start + self.started.elapsed()
    }

    fn until(&self, then: Timestamp) -> Duration {
        then - self.now()
    }
}

/// Where inputs go.
pub struct Inputs<I> {
    outside: mpsc::Sender<I>,
    inside: mpsc::UnboundedSender<I>,
}

impl<I> Clone for Inputs<I> {
    fn clone(&self) -> Self {
        Self { outside: self.outside.clone(), inside: self.inside.clone() }
    }
}

impl<I> fmt::Debug for Inputs<I> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Inputs").finish_non_exhaustive()
    }
}

/// The loop has ended; the input was not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the daemon is stopping")]
pub struct Stopped;

impl<I: Send + 'static> Inputs<I> {
    /// Hands in what a peer caused, and waits while too much is waiting already.
    ///
    /// # Errors
    ///
    /// When the loop has ended.
    pub async fn send(&self, input: I) -> Result<(), Stopped> {
        self.outside.send(input).await.map_err(|_| Stopped)
    }

    /// Whether the loop has ended.
    #[must_use]
    pub fn is_stopped(&self) -> bool {
        self.inside.is_closed()
    }

    /// How many inputs from outside wait.
    #[must_use]
    pub fn waiting(&self) -> usize {
        self.outside.max_capacity().saturating_sub(self.outside.capacity())
    }

    /// Hands in what the daemon itself caused, at most once for something that it keeps bounded (an open
    /// connection, a write under way). Never waits, and goes before inputs from outside.
    ///
    /// # Errors
    ///
    /// When the loop has ended.
    pub fn complete(&self, input: I) -> Result<(), Stopped> {
        self.inside.send(input).map_err(|_| Stopped)
    }
}

/// The loop's end of [`Inputs`].
#[derive(Debug)]
pub struct Receiver<I> {
    outside: mpsc::Receiver<I>,
    inside: mpsc::UnboundedReceiver<I>,
}

impl<I> Receiver<I> {
    /// The next input; nothing when every sender is gone.
    pub async fn next(&mut self) -> Option<I> {
        tokio::select! {
            biased;
            input = self.inside.recv() => input,
            input = self.outside.recv() => input,
        }
    }

    /// The next input that waits already.
    fn ready(&mut self) -> Option<I> {
        self.inside.try_recv().ok().or_else(|| self.outside.try_recv().ok())
    }
}

/// Makes both ends.
#[must_use]
pub fn inputs<I>() -> (Inputs<I>, Receiver<I>) {
    let (outside, outside_receiver) = mpsc::channel(INPUTS_MAX);
    let (inside, inside_receiver) = mpsc::unbounded_channel();
    (Inputs { outside, inside }, Receiver { outside: outside_receiver, inside: inside_receiver })
}

/// A loop on its thread.
#[derive(Debug)]
pub struct LoopThread(Option<thread::JoinHandle<()>>);

impl LoopThread {
    /// Waits until the loop has ended. To be called from a thread that may block.
    pub fn join(mut self) {
        if let Some(thread) = self.0.take()
            && thread.join().is_err()
        {
            tracing::error!("the event loop's thread panicked");
        }
    }
}

/// Starts a thread called `name` that runs the machine until it breaks or every sender is gone.
///
/// The machine is built on the thread, so it need not be `Send`. `ended` is dropped when the loop has ended for whatever
/// reason, a panic included.
///
/// # Errors
///
/// When the thread or its timer cannot be created.
pub fn spawn<M: Machine>(
    name: &str,
    clock: Clock,
    receiver: Receiver<M::Input>,
    ended: Arc<dyn Send + Sync>,
    build: impl FnOnce() -> M + Send + 'static,
) -> io::Result<LoopThread> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build()?;
    let thread = thread::Builder::new().name(name.to_owned()).spawn(move || {
        let _ended = ended;
        runtime.block_on(run(clock, receiver, build()));
    })?;
    Ok(LoopThread(Some(thread)))
}

async fn run<M: Machine>(clock: Clock, mut receiver: Receiver<M::Input>, mut machine: M) {
    let mut batch = Vec::with_capacity(BATCH_MAX);
    loop {
        let wait = machine.next_expiry().map(|then| clock.until(then));
        let first = tokio::select! {
            biased;
            input = receiver.next() => match input {
                Some(input) => Some(input),
                None => return,
            },
            () = tokio::time::sleep(wait.unwrap_or_default()), if wait.is_some() => None,
        };
        batch.extend(first);
        // What became ready meanwhile goes into the same batch.
        while batch.len() < BATCH_MAX
            && let Some(input) = receiver.ready()
        {
            batch.push(input);
        }
        let now = clock.now();
        for input in batch.drain(..) {
            if machine.handle(now, input).is_break() {
                return;
            }
        }
        if machine.next_expiry().is_some_and(|then| then <= now) && machine.expire(now).is_break() {
            return;
        }
        machine.batch_done(now);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc as std_mpsc;

    use super::*;

    /// Records what it is given; a timer fires 20 ms after each input.
    struct Recorder {
        log: std_mpsc::Sender<String>,
        timer: Option<Timestamp>,
    }

    impl Machine for Recorder {
        type Input = u32;

        fn handle(&mut self, now: Timestamp, input: u32) -> ControlFlow<()> {
            let _ = self.log.send(format!("input {input}"));
            self.timer = Some(now + Duration::from_millis(20));
            if input == 0 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        }

        fn expire(&mut self, now: Timestamp) -> ControlFlow<()> {
            assert!(self.timer.is_some_and(|timer| timer <= now), "fired early");
            self.timer = None;
            let _ = self.log.send("timer".to_owned());
            ControlFlow::Continue(())
        }

        fn next_expiry(&self) -> Option<Timestamp> {
            self.timer
        }

        fn batch_done(&mut self, _now: Timestamp) {}
    }

    fn start() -> io::Result<(Inputs<u32>, LoopThread, std_mpsc::Receiver<String>)> {
        let (log, logged) = std_mpsc::channel();
        let (inputs, receiver) = inputs();
        let thread = spawn("recorder", Clock::start(), receiver, Arc::new(()), move || Recorder {
            log,
            timer: None,
        })?;
        Ok((inputs, thread, logged))
    }

    #[test]
    fn inputs_come_in_order_and_timers_fire() -> io::Result<()> {
        let (inputs, thread, logged) = start()?;
        for input in [1, 2, 3] {
            inputs.outside.blocking_send(input).ok();
        }
        let patience = Duration::from_secs(5);
        let lines: Vec<String> =
            (0..4).filter_map(|_| logged.recv_timeout(patience).ok()).collect();
        assert_eq!(lines, ["input 1", "input 2", "input 3", "timer"]);
        drop(inputs);
        thread.join();
        Ok(())
    }

    #[test]
    fn a_machine_can_end_its_loop() -> io::Result<()> {
        let (inputs, thread, _logged) = start()?;
        inputs.complete(0).ok();
        thread.join();
        assert_eq!(inputs.complete(1), Err(Stopped));
        Ok(())
    }
}
