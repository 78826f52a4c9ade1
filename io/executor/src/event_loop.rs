//! Drives the command executor: one thread that waits for the agent, the task and the time.

use std::hash::{BuildHasher, RandomState};
use std::os::fd::AsFd;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use protocol::executor::call;
use protocol::mesos::TaskInfo;

use crate::checker::Checks;
use crate::command_executor::{Action, CommandExecutor, Input, Moment};
use crate::connection::{Agent, Connection, ConnectionError, Received};
use crate::log;
use crate::settings::{Recovery, Settings};
use crate::task::Process;

/// How long to wait before subscribing again with an agent that is not ready.
const SUBSCRIBE_INTERVAL: Duration = Duration::from_secs(1);

/// The shortest pause between two attempts to connect.
const BACKOFF_MIN: Duration = Duration::from_millis(50);

/// How often something is sent on the connection for calls, so that nothing between here and the
/// agent takes it for dead.
const HEARTBEAT_INTERVAL: Duration = Duration::from_secs(30 * 60);

/// How often the task is looked at on a kernel without pidfds.
const POLL_INTERVAL: Duration = Duration::from_millis(100);

/// After so much time without anything to do, memory that is not needed to wait is given back. Short
/// tasks are over by then and save the effort.
const IDLE_INTERVAL: Duration = Duration::from_secs(1);

/// The longest wait, so that no time is too long for the system call.
const WAIT_MAX: Duration = Duration::from_secs(60 * 60);

/// The executor and what it acts on.
#[derive(Debug)]
pub(crate) struct EventLoop {
    executor: CommandExecutor,
    settings: Settings,
    agent: Agent,
    link: Link,
    task: Option<Process>,
    checks: Option<Checks>,
    /// A source of random backoffs.
    random: u64,
    /// When to give memory back; none when that was done since something happened last.
    trim: Option<Instant>,
    exit: Option<i32>,
}

/// The state of the connection to the agent.
#[derive(Debug)]
enum Link {
    Up {
        connection: Box<Connection>,
        /// When to send the next call that needs no event: a subscription or a heartbeat.
        due: Instant,
    },
    Down {
        retry: Instant,
        /// When to stop retrying.
        give_up: Instant,
    },
    /// The agent is given up.
    Lost,
}

fn now() -> Moment {
    let since_1970 = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Moment { at: Instant::now(), unix_seconds: since_1970.as_secs_f64() }
}

impl EventLoop {
    pub(crate) fn new(settings: Settings) -> Self {
        let seed = RandomState::new().hash_one(std::process::id());
        let executor = CommandExecutor::new(
            settings.framework_id.clone(),
            settings.executor_id.clone(),
            settings.shutdown_grace_period,
            seed,
        );
        let at = Instant::now();
        let timeout = settings.recovery.map_or(Duration::ZERO, |recovery| recovery.timeout);
        Self {
            executor,
            agent: Agent::new(&settings),
            link: Link::Down { retry: at, give_up: at + timeout },
            settings,
            task: None,
            checks: None,
            random: RandomState::new().hash_one(seed),
            trim: Some(at + IDLE_INTERVAL),
            exit: None,
        }
    }

    /// Runs until the executor ends and gives its exit code.
    pub(crate) fn run(mut self) -> i32 {
        loop {
            self.expire();
            if let Some(code) = self.exit {
                return code;
            }
            let (agent_ready, wake_ready) = self.wait();
            if agent_ready {
                self.advance_connection();
            }
            if wake_ready {
                let inputs = self.checks.as_mut().map(|checks| checks.take(Instant::now()));
                inputs.into_iter().flatten().for_each(|input| self.handle(input));
            }
            self.look_at_task();
        }
    }

    /// Waits for a descriptor or the next time something is due; tells whether the agent and the
    /// checks have something.
    fn wait(&self) -> (bool, bool) {
        let mut fds = Vec::with_capacity(4);
        if let Link::Up { connection, .. } = &self.link {
            fds.extend(connection.poll_fds());
        }
        let of_agent = fds.len();
        if let Some(checks) = &self.checks {
            fds.push(PollFd::new(checks.wake().as_fd(), PollFlags::POLLIN));
        }
        let of_checks = fds.len();
        if let Some(pidfd) = self.task.as_ref().and_then(|task| task.pidfd.as_ref()) {
            fds.push(PollFd::new(pidfd.as_fd(), PollFlags::POLLIN));
        }
        let left = self.next_expiry().saturating_duration_since(Instant::now());
        // Rounded up, or the last millisecond would be spent spinning.
        let left = left.min(WAIT_MAX) + Duration::from_micros(999);
        let timeout = PollTimeout::try_from(left).unwrap_or(PollTimeout::MAX);
        // An interrupted wait counts as an empty one.
        let _ = poll(&mut fds, timeout);
        let ready = |fds: &[PollFd<'_>]| fds.iter().any(|fd| fd.any().unwrap_or(true));
        (ready(&fds[..of_agent]), ready(&fds[of_agent..of_checks]))
    }

    fn next_expiry(&self) -> Instant {
        let at = Instant::now();
        let link = match &self.link {
            Link::Up { due, .. } => Some(*due),
            Link::Down { retry, give_up } => Some((*retry).min(*give_up)),
            Link::Lost => None,
        };
        let polling = self.task.as_ref().is_some_and(|task| task.pidfd.is_none());
        let times = [
            link,
            self.executor.next_expiry(),
            self.checks.as_ref().and_then(Checks::next_expiry),
            polling.then(|| at + POLL_INTERVAL),
            self.trim,
        ];
        times.into_iter().flatten().min().unwrap_or(at + WAIT_MAX)
    }

    fn expire(&mut self) {
        let now = now();
        if self.trim.is_some_and(|due| due <= now.at) {
            self.trim = None;
            containers::system::trim_heap();
            // It costs nothing but memory when the kernel does not help.
            let _ = containers::system::release_file_pages();
        }
        if let Some(checks) = &mut self.checks {
            checks.expire(now.at);
        }
        let actions = self.executor.expire(now);
        self.act(actions);
        match &self.link {
            Link::Up { due, .. } if *due <= now.at => self.send_due(),
            Link::Down { give_up, retry } if *retry <= now.at => {
                let give_up = *give_up;
                self.connect(give_up);
            }
            Link::Up { .. } | Link::Down { .. } | Link::Lost => {}
        }
    }

    fn connect(&mut self, give_up: Instant) {
        match Connection::open(&self.agent) {
            Ok(connection) => {
                let connection = Box::new(connection);
                self.link = Link::Up { connection, due: Instant::now() };
                self.send_due();
            }
            Err(error) => self.on_disconnected(&error, Some(give_up)),
        }
    }

    fn send_due(&mut self) {
        let Link::Up { connection, due } = &mut self.link else { return };
        let sent = if connection.is_subscribed() {
            *due = Instant::now() + HEARTBEAT_INTERVAL;
            connection.send(&self.agent, &self.executor.heartbeat())
        } else {
            // The answer sets the next time; without one the agent is still at it.
            *due = Instant::now() + WAIT_MAX;
            connection.subscribe(&self.agent, &self.executor.subscription())
        };
        if let Err(error) = sent {
            self.on_disconnected(&error, None);
        }
    }

    fn advance_connection(&mut self) {
        let Link::Up { connection, .. } = &mut self.link else { return };
        let mut received = Vec::new();
        let advanced = connection.advance(&mut received);
        received.into_iter().for_each(|received| self.on_received(received));
        if let Err(error) = advanced
            && matches!(self.link, Link::Up { .. })
        {
            self.on_disconnected(&error, None);
        }
    }

    fn on_received(&mut self, received: Received) {
        match received {
            Received::Event(event) => self.handle(Input::Event(event)),
            Received::Subscribed => self.set_due(HEARTBEAT_INTERVAL),
            Received::SubscribeLater => self.set_due(SUBSCRIBE_INTERVAL),
            Received::Refused { call: call::Type::Subscribe, status, body } => {
                log::error(format_args!("The agent refused the executor: {status} {body}"));
                self.link = Link::Lost;
                self.handle(Input::AgentLost);
            }
            Received::UpdateLater => self.subscribe_later(),
            // An update that was refused goes out again with the next subscription.
            Received::Refused { .. } => {}
        }
    }

    fn set_due(&mut self, after: Duration) {
        if let Link::Up { due, .. } = &mut self.link {
            *due = Instant::now() + after;
        }
    }

    /// Subscribes anew in a while, which tells the agent all that it has not acknowledged.
    fn subscribe_later(&mut self) {
        match Connection::open(&self.agent) {
            Ok(connection) => {
                let connection = Box::new(connection);
                self.link = Link::Up { connection, due: Instant::now() + SUBSCRIBE_INTERVAL };
            }
            Err(error) => self.on_disconnected(&error, None),
        }
    }

    /// Tries again while the settings allow; else the task must not outlive its agent.
    fn on_disconnected(&mut self, error: &ConnectionError, give_up: Option<Instant>) {
        let at = Instant::now();
        let recovery = self.settings.recovery;
        let deadline = give_up.or_else(|| recovery.map(|recovery| at + recovery.timeout));
        if give_up.is_none() {
            log::info(format_args!("Disconnected from agent: {error}"));
        }
        match (recovery, deadline) {
            (Some(recovery), Some(give_up)) if give_up > at => {
                self.link = Link::Down { retry: at + self.backoff(recovery), give_up };
                self.handle(Input::AgentAway);
            }
            _ => {
                log::info(format_args!("Gave up the agent: {error}; Shutting down"));
                self.link = Link::Lost;
                self.handle(Input::AgentLost);
            }
        }
    }

    /// A random part of the longest backoff, so that a restarted agent is not met by all of its
    /// executors at once.
    fn backoff(&mut self, recovery: Recovery) -> Duration {
        self.random = RandomState::new().hash_one(self.random);
        let part = u32::try_from(self.random >> 32).unwrap_or(u32::MAX);
        recovery.backoff_max.mul_f64(f64::from(part) / f64::from(u32::MAX)).max(BACKOFF_MIN)
    }

    fn handle(&mut self, input: Input) {
        self.trim = Some(Instant::now() + IDLE_INTERVAL);
        let actions = self.executor.handle(now(), input);
        self.act(actions);
    }

    fn act(&mut self, actions: Vec<Action>) {
        for action in actions {
            match action {
                Action::Send(call) => self.send(&call),
                Action::Start(task) => self.start(&task),
                Action::StopChecks => self.checks = None,
                Action::Terminate => self.signal(libc::SIGTERM),
                Action::Kill => self.signal(libc::SIGKILL),
                Action::Exit(code) => self.exit = self.exit.or(Some(code)),
            }
        }
    }

    fn send(&mut self, call: &protocol::executor::Call) {
        let Link::Up { connection, .. } = &mut self.link else { return };
        if !connection.is_subscribed() {
            return;
        }
        if let Err(error) = connection.send(&self.agent, call) {
            self.on_disconnected(&error, None);
        }
    }

    fn start(&mut self, task: &TaskInfo) {
        match Process::start(task, &self.settings.environment) {
            Ok(process) => {
                self.task = Some(process);
                self.checks = Checks::of(task, &self.settings.environment, Instant::now())
                    .unwrap_or_else(|error| {
                        log::error(format_args!("The task is not checked: {error}"));
                        None
                    });
                self.handle(Input::Started);
            }
            Err(error) => {
                let message = error.message();
                log::error(format_args!("{message}"));
                self.handle(Input::NotStarted(message));
            }
        }
    }

    fn signal(&self, signal: i32) {
        if let Some(task) = &self.task {
            task.signal_tree(signal);
        }
    }

    fn look_at_task(&mut self) {
        let Some(status) = self.task.as_ref().and_then(Process::try_wait) else { return };
        self.handle(Input::Ended(status));
        self.task = None;
    }
}
