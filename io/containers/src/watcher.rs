//! Learns when processes end: children of ours with their wait status, others without.

use std::collections::BTreeMap;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::process::ExitStatus;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;

use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};
use nix::sys::eventfd::{EfdFlags, EventFd};

use crate::process_table::ProcessStat;
use crate::system;

/// How often processes without a pidfd (Linux before 5.3) are looked at, in milliseconds.
const POLL_INTERVAL_MS: u16 = 100;

/// The stack of the watching thread, in bytes.
const STACK_BYTES: usize = 256 << 10;

/// The token of the descriptor that wakes the thread.
const WAKE: u64 = 0;

/// How many ended processes are taken from the kernel at once.
const EVENTS_MAX: usize = 64;

/// A process has ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Exit<K> {
    /// What it was watched as.
    pub key: K,
    /// Its wait status; `None` for a process that is not our child, whose status only its own parent
    /// can learn.
    pub status: Option<ExitStatus>,
}

/// Why watching failed.
#[derive(Debug, thiserror::Error)]
pub enum WatchError {
    /// The watcher's own descriptors or thread could not be made.
    #[error("failed to start the process watcher")]
    Start(#[source] io::Error),
    /// The process could not be added.
    #[error("failed to watch process {pid}")]
    Watch {
        /// The process.
        pid: i32,
        /// What the system said.
        source: io::Error,
    },
}

/// Watches processes from one thread and reports each end exactly once.
///
/// Own children are waited for here, so nobody else may wait for them.
#[derive(Debug)]
pub struct ExitWatcher<K: Send + 'static> {
    shared: Arc<Shared<K>>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Debug)]
struct Shared<K> {
    epoll: Epoll,
    wake: EventFd,
    state: Mutex<State<K>>,
}

#[derive(Debug)]
struct State<K> {
    watched: BTreeMap<u64, Watched<K>>,
    next_token: u64,
    stopping: bool,
}

#[derive(Debug)]
struct Watched<K> {
    key: K,
    pid: i32,
    start_time: u64,
    /// Absent when the process has to be polled for, or had ended before it was added.
    pidfd: Option<OwnedFd>,
}

impl<K: Send + 'static> ExitWatcher<K> {
    /// Starts the thread. `report` is called on it, once per watched process, and should be quick: a
    /// report may come before [`Self::watch`] has returned.
    ///
    /// # Errors
    /// When the kernel refuses a descriptor or the thread.
    pub fn start(report: impl FnMut(Exit<K>) + Send + 'static) -> Result<Self, WatchError> {
        let failed = |errno: nix::Error| WatchError::Start(errno.into());
        let epoll = Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC).map_err(failed)?;
        let wake =
            EventFd::from_flags(EfdFlags::EFD_CLOEXEC | EfdFlags::EFD_NONBLOCK).map_err(failed)?;
        epoll.add(&wake, EpollEvent::new(EpollFlags::EPOLLIN, WAKE)).map_err(failed)?;
        let state = State { watched: BTreeMap::new(), next_token: WAKE + 1, stopping: false };
        let shared = Arc::new(Shared { epoll, wake, state: Mutex::new(state) });
        let thread = std::thread::Builder::new()
            .name("exit-watcher".to_owned())
            .stack_size(STACK_BYTES)
            .spawn({
                let shared = Arc::clone(&shared);
                move || shared.run(report)
            })
            .map_err(WatchError::Start)?;
        Ok(Self { shared, thread: Some(thread) })
    }

    /// Watches a process: a child of ours, or one we only know the id of. One that has ended already
    /// is reported at once.
    ///
    /// # Errors
    /// When the kernel has no more descriptors.
    pub fn watch(&self, key: K, pid: i32, start_time: u64) -> Result<(), WatchError> {
        let failed = |source| WatchError::Watch { pid, source };
        let pidfd = match system::open_pidfd(pid) {
            Ok(pidfd) => {
                // Looked at after the descriptor is open, so that it stands for what was seen.
                let same = ProcessStat::read(pid).is_some_and(|stat| stat.start_time == start_time);
                same.then_some(pidfd)
            }
            Err(error) => match error.raw_os_error() {
                Some(libc::ESRCH | libc::ENOSYS) => None,
                _ => return Err(failed(error)),
            },
        };
        let mut state = self.shared.lock();
        let token = state.next_token;
        state.next_token += 1;
        if let Some(pidfd) = &pidfd {
            let event = EpollEvent::new(EpollFlags::EPOLLIN, token);
            self.shared.epoll.add(pidfd, event).map_err(|errno| failed(errno.into()))?;
        }
        let polled = pidfd.is_none();
        state.watched.insert(token, Watched { key, pid, start_time, pidfd });
        drop(state);
        if polled {
            self.shared.wake();
        }
        Ok(())
    }
}

impl<K: Send + 'static> Drop for ExitWatcher<K> {
    fn drop(&mut self) {
        self.shared.lock().stopping = true;
        self.shared.wake();
        if let Some(thread) = self.thread.take() {
            // A report that panicked has been shown by the panic hook.
            let _ = thread.join();
        }
    }
}

impl<K: Send + 'static> Shared<K> {
    fn lock(&self) -> std::sync::MutexGuard<'_, State<K>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn wake(&self) {
        // The only failure is a counter about to overflow, which wakes the thread as well.
        let _ = self.wake.write(1);
    }

    fn run(&self, mut report: impl FnMut(Exit<K>)) {
        let mut events = [EpollEvent::empty(); EVENTS_MAX];
        loop {
            let exits = {
                let mut state = self.lock();
                if state.stopping {
                    return;
                }
                self.take_polled(&mut state)
            };
            exits.into_iter().for_each(&mut report);
            let polling = self.lock().watched.values().any(|watched| watched.pidfd.is_none());
            let timeout =
                if polling { EpollTimeout::from(POLL_INTERVAL_MS) } else { EpollTimeout::NONE };
            // An interrupted wait counts as an empty one.
            let count = self.epoll.wait(&mut events, timeout).unwrap_or(0);
            for event in &events[..count] {
                if event.data() == WAKE {
                    let _ = self.wake.read();
                } else if let Some(exit) = self.take(event.data()) {
                    report(exit);
                }
            }
        }
    }

    fn take(&self, token: u64) -> Option<Exit<K>> {
        let watched = self.lock().watched.remove(&token)?;
        if let Some(pidfd) = &watched.pidfd {
            // Closing a descriptor takes it out of the epoll set, but only when no fork holds a copy.
            let _ = self.epoll.delete(pidfd.as_fd());
        }
        Some(Exit { key: watched.key, status: system::try_wait(watched.pid).ok().flatten() })
    }

    /// Processes without a descriptor: a child is asked for its status, any other is looked up.
    fn take_polled(&self, state: &mut State<K>) -> Vec<Exit<K>> {
        let mut ended = Vec::new();
        for (token, watched) in state.watched.iter().filter(|(_, watched)| watched.pidfd.is_none())
        {
            match system::try_wait(watched.pid) {
                Ok(Some(status)) => ended.push((*token, Some(status))),
                Ok(None) => {}
                Err(_) => {
                    let same = ProcessStat::read(watched.pid).is_some_and(|stat| {
                        stat.start_time == watched.start_time && !stat.is_dead()
                    });
                    if !same {
                        ended.push((*token, None));
                    }
                }
            }
        }
        ended
            .into_iter()
            .filter_map(|(token, status)| {
                let watched = state.watched.remove(&token)?;
                Some(Exit { key: watched.key, status })
            })
            .collect()
    }
}

#[cfg(test)]
mod tests;
