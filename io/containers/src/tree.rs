//! Which processes belong to a container, and signalling all of them.
//!
//! A process belongs to a container when it is the leader, a descendant of a member, in the leader's
//! session or group or in one that a member opened, or when the environment it was started with
//! carries the container's marker. The marker finds what no other way does: a process that left the
//! session and whose parents have all ended (a daemon by double fork), also after the program that
//! launched the container was itself restarted. A process can hide only by clearing its environment
//! and leaving its session and outliving its parents, all three.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::ffi::c_int;

use crate::process_table::{ProcessStat, ProcessTable, ProcessTableError, environment_variable};
use crate::system;

/// How often the table is read again to find processes that were forked while others were stopped.
/// Each pass stops what it finds, so a tree would have to outrun the scan this many times.
const STOP_PASSES_MAX: usize = 64;

/// The parent of all threads of the kernel.
const KERNEL_THREADS_PARENT: i32 = 2;

/// Where the search for a container's processes begins.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TreeSeed {
    /// The first process, which leads the session.
    pub leader: i32,
    /// When the first process started, in clock ticks since boot.
    pub start_time: u64,
    /// An environment variable and its value that only processes of this container have.
    pub marker: Option<(Vec<u8>, Vec<u8>)>,
}

/// Processes whose environment was read, by pid and start time. An environment stays what it was at
/// exec, and a program that executes another keeps or drops the marker but never gains it.
pub(crate) type MarkerCache = BTreeMap<(i32, u64), Option<Vec<u8>>>;

/// Gives each process of a container the index of its seed. Processes that only wait to be waited
/// for are included.
pub(crate) fn attribute(
    table: &ProcessTable,
    seeds: &[TreeSeed],
    cache: &mut MarkerCache,
) -> BTreeMap<i32, usize> {
    let mut search = Search::new(table, seeds);
    let mut by_age: Vec<&ProcessStat> = table.iter().collect();
    // Parents are older than their children, so that one pass finds nearly all.
    by_age.sort_by_key(|process| (process.start_time, process.pid));
    loop {
        let before = search.owners.len();
        for process in &by_age {
            search.visit(process, cache);
        }
        if search.owners.len() == before {
            break;
        }
    }
    cache.retain(|(pid, start_time), _| {
        table.get(*pid).is_some_and(|process| process.start_time == *start_time)
    });
    search.owners
}

struct Search<'a> {
    seeds: &'a [TreeSeed],
    leaders: BTreeMap<i32, usize>,
    sessions: BTreeMap<i32, usize>,
    groups: BTreeMap<i32, usize>,
    markers: BTreeMap<&'a [u8], usize>,
    marker_variable: Option<&'a [u8]>,
    oldest: u64,
    ourselves: ProcessStat,
    owners: BTreeMap<i32, usize>,
}

impl<'a> Search<'a> {
    fn new(table: &ProcessTable, seeds: &'a [TreeSeed]) -> Self {
        let our_pid = i32::try_from(std::process::id()).unwrap_or_default();
        let mut search = Self {
            seeds,
            leaders: BTreeMap::new(),
            sessions: BTreeMap::new(),
            groups: BTreeMap::new(),
            markers: BTreeMap::new(),
            marker_variable: None,
            oldest: seeds.iter().map(|seed| seed.start_time).min().unwrap_or_default(),
            ourselves: ProcessStat::read(our_pid).unwrap_or_default(),
            owners: BTreeMap::new(),
        };
        for (index, seed) in seeds.iter().enumerate() {
            // Somebody else under the leader's pid means that session and group were gone by then.
            let taken_over =
                table.get(seed.leader).is_some_and(|process| process.start_time != seed.start_time);
            if !taken_over {
                search.leaders.insert(seed.leader, index);
                search.sessions.insert(seed.leader, index);
                search.groups.insert(seed.leader, index);
            }
            if let Some((variable, value)) = &seed.marker {
                search.marker_variable = Some(variable);
                search.markers.insert(value, index);
            }
        }
        search
    }

    fn visit(&mut self, process: &ProcessStat, cache: &mut MarkerCache) {
        let foreign = process.pid == self.ourselves.pid
            || process.start_time < self.oldest
            || process.parent == KERNEL_THREADS_PARENT;
        if foreign || self.owners.contains_key(&process.pid) {
            return;
        }
        let owner = self
            .leaders
            .get(&process.pid)
            .or_else(|| self.sessions.get(&process.session))
            .or_else(|| self.groups.get(&process.group))
            .or_else(|| self.owners.get(&process.parent))
            .copied()
            .or_else(|| self.owner_by_marker(process, cache));
        let Some(owner) = owner else { return };
        if self.seeds.get(owner).is_some_and(|seed| process.start_time < seed.start_time) {
            return;
        }
        self.owners.insert(process.pid, owner);
        // The session and group of whoever searches are never taken as a container's own.
        if process.session != self.ourselves.session {
            self.sessions.entry(process.session).or_insert(owner);
        }
        if process.group != self.ourselves.group {
            self.groups.entry(process.group).or_insert(owner);
        }
    }

    fn owner_by_marker(&self, process: &ProcessStat, cache: &mut MarkerCache) -> Option<usize> {
        let variable = self.marker_variable?;
        if process.is_dead() {
            return None;
        }
        // Between fork and exec a child of ours still has our environment: not to be remembered.
        if process.parent == self.ourselves.pid {
            let value = environment_variable(process.pid, variable)?;
            return self.markers.get(value.as_slice()).copied();
        }
        let value = cache
            .entry((process.pid, process.start_time))
            .or_insert_with(|| environment_variable(process.pid, variable));
        self.markers.get(value.as_deref()?).copied()
    }
}

/// The living processes of one container.
pub(crate) fn members(
    table: &ProcessTable,
    seed: &TreeSeed,
    cache: &mut MarkerCache,
) -> Vec<ProcessStat> {
    attribute(table, std::slice::from_ref(seed), cache)
        .into_keys()
        .filter_map(|pid| table.get(pid))
        .filter(|process| !process.is_dead())
        .copied()
        .collect()
}

/// Sends a signal to every process of the tree and gives their ids.
///
/// All are stopped first, so that none forks unseen, and continued afterwards.
///
/// # Errors
/// When the process table cannot be read; processes stopped until then are continued.
pub fn signal_tree(seed: &TreeSeed, signal: c_int) -> Result<Vec<i32>, ProcessTableError> {
    let mut cache = MarkerCache::new();
    signal_members(signal, || Ok(members(&ProcessTable::read()?, seed, &mut cache)))
}

/// As [`signal_tree`], for a tree whose members are found by looking.
pub(crate) fn signal_members(
    signal: c_int,
    look: impl FnMut() -> Result<Vec<ProcessStat>, ProcessTableError>,
) -> Result<Vec<i32>, ProcessTableError> {
    let mut stopped = BTreeMap::new();
    let outcome = stop_all(look, &mut stopped);
    for (pid, start_time) in &stopped {
        signal_process(*pid, *start_time, signal);
    }
    if signal != libc::SIGKILL {
        for (pid, start_time) in &stopped {
            signal_process(*pid, *start_time, libc::SIGCONT);
        }
    }
    outcome.map(|()| stopped.into_keys().collect())
}

fn stop_all(
    mut look: impl FnMut() -> Result<Vec<ProcessStat>, ProcessTableError>,
    stopped: &mut BTreeMap<i32, u64>,
) -> Result<(), ProcessTableError> {
    for _ in 0..STOP_PASSES_MAX {
        let known = stopped.len();
        for process in look()? {
            if let Entry::Vacant(entry) = stopped.entry(process.pid) {
                signal_process(process.pid, process.start_time, libc::SIGSTOP);
                entry.insert(process.start_time);
            }
        }
        if stopped.len() == known {
            break;
        }
    }
    Ok(())
}

/// Signals a process only if it still is the one that started then. One that has ended, or that is
/// not ours to signal, is passed over: the caller looks again.
fn signal_process(pid: i32, start_time: u64, signal: c_int) {
    use std::os::fd::AsFd;

    match system::open_pidfd(pid) {
        Ok(pidfd) => {
            if ProcessStat::read(pid).is_some_and(|stat| stat.start_time == start_time) {
                let _ = system::send_signal(pidfd.as_fd(), signal);
            }
        }
        Err(error) if error.raw_os_error() == Some(libc::ENOSYS) => {
            let signal = nix::sys::signal::Signal::try_from(signal).ok();
            let _ = nix::sys::signal::kill(nix::unistd::Pid::from_raw(pid), signal);
        }
        Err(_) => {}
    }
}
