//! The processes of the machine, read from `/proc` (proc(5)).

use std::collections::BTreeMap;
use std::fs;
use std::io::{self, Read};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

/// The longest `/proc/PID/environ` that is searched for a marker: the kernel's limit for arguments
/// and environment together is far above what the marker's place needs.
const ENVIRONMENT_BYTES_MAX: u64 = 4 << 20;

/// One process, as `/proc/PID/stat` tells.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ProcessStat {
    /// The process id.
    pub pid: i32,
    /// `R`, `S`, `D`, `T`, `Z`, ...
    pub state: u8,
    /// The parent's id.
    pub parent: i32,
    /// The process group.
    pub group: i32,
    /// The session.
    pub session: i32,
    /// Clock ticks in user mode, with those of children it waited for.
    pub user_ticks: u64,
    /// Clock ticks in kernel mode, with those of children it waited for.
    pub system_ticks: u64,
    /// Number of threads.
    pub threads: u32,
    /// Clock ticks from boot to its start.
    pub start_time: u64,
    /// Resident pages.
    pub resident_pages: u64,
}

/// Why the processes cannot be listed.
#[derive(Debug, thiserror::Error)]
#[error("failed to list the processes in /proc")]
pub struct ProcessTableError {
    source: io::Error,
}

impl ProcessStat {
    /// Reads one process; `None` when there is none of this id.
    #[must_use]
    pub fn read(pid: i32) -> Option<Self> {
        Self::read_into(pid, &mut Vec::with_capacity(512))
    }

    fn read_into(pid: i32, buffer: &mut Vec<u8>) -> Option<Self> {
        buffer.clear();
        fs::File::open(format!("/proc/{pid}/stat")).ok()?.read_to_end(buffer).ok()?;
        Self::parse(buffer)
    }

    /// Whether it has ended and only waits to be waited for.
    #[must_use]
    pub fn is_dead(&self) -> bool {
        matches!(self.state, b'Z' | b'X' | b'x')
    }

    /// The name in parentheses may hold anything, so the fields are counted after the last one.
    fn parse(text: &[u8]) -> Option<Self> {
        let open = text.iter().position(|byte| *byte == b'(')?;
        let close = text.iter().rposition(|byte| *byte == b')')?;
        let pid = std::str::from_utf8(&text[..open]).ok()?.trim().parse().ok()?;
        let rest = std::str::from_utf8(&text[close + 1..]).ok()?;
        let fields: Vec<&str> = rest.split_ascii_whitespace().collect();
        // proc(5) numbers the fields from 1; the state, first after the name, is number 3.
        let field = |number: usize| fields.get(number - 3).copied();
        let signed = |number| field(number)?.parse::<i32>().ok();
        let unsigned = |number| field(number)?.parse::<u64>().ok();
        // The times of children are signed in the kernel's own table.
        let ticks = |number| field(number)?.parse::<i64>().ok().and_then(|n| u64::try_from(n).ok());
        Some(Self {
            pid,
            state: *field(3)?.as_bytes().first()?,
            parent: signed(4)?,
            group: signed(5)?,
            session: signed(6)?,
            user_ticks: unsigned(14)?.saturating_add(ticks(16)?),
            system_ticks: unsigned(15)?.saturating_add(ticks(17)?),
            threads: field(20)?.parse().ok()?,
            start_time: unsigned(22)?,
            resident_pages: unsigned(24)?,
        })
    }
}

/// All processes at one moment, by id.
#[derive(Clone, Debug, Default)]
pub struct ProcessTable {
    processes: BTreeMap<i32, ProcessStat>,
}

impl ProcessTable {
    /// Reads the whole table in one pass.
    ///
    /// # Errors
    /// When `/proc` cannot be listed. Processes that end while it is read are left out.
    pub fn read() -> Result<Self, ProcessTableError> {
        let failed = |source| ProcessTableError { source };
        let mut buffer = Vec::with_capacity(512);
        let mut processes = BTreeMap::new();
        for entry in fs::read_dir("/proc").map_err(failed)? {
            let name = entry.map_err(failed)?.file_name();
            let Some(pid) = name.to_str().and_then(|name| name.parse().ok()) else { continue };
            if let Some(stat) = ProcessStat::read_into(pid, &mut buffer) {
                processes.insert(pid, stat);
            }
        }
        Ok(Self { processes })
    }

    /// The process of this id.
    #[must_use]
    pub fn get(&self, pid: i32) -> Option<&ProcessStat> {
        self.processes.get(&pid)
    }

    /// All processes, by id.
    pub fn iter(&self) -> impl Iterator<Item = &ProcessStat> {
        self.processes.values()
    }
}

/// Reads the table for several threads that ask at the same time: whoever asks gets a table that was
/// read from the first to the last process after it asked, and those who wait for the same reading
/// share it. A hundred containers that end together then cost two readings instead of hundreds.
#[derive(Debug, Default)]
pub(crate) struct SharedTable {
    latest: Mutex<Option<(Instant, Arc<ProcessTable>)>>,
}

impl SharedTable {
    pub(crate) fn read(&self) -> Result<Arc<ProcessTable>, ProcessTableError> {
        self.read_with(ProcessTable::read)
    }

    fn read_with(
        &self,
        read: impl FnOnce() -> Result<ProcessTable, ProcessTableError>,
    ) -> Result<Arc<ProcessTable>, ProcessTableError> {
        let asked = Instant::now();
        let mut latest = self.latest.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((started, table)) = &*latest
            && *started > asked
        {
            return Ok(Arc::clone(table));
        }
        let started = Instant::now();
        let table = Arc::new(read()?);
        *latest = Some((started, Arc::clone(&table)));
        Ok(table)
    }
}

/// The value of a variable in the environment a process was started with. `None` also when its
/// environment is not ours to read.
pub(crate) fn environment_variable(pid: i32, name: &[u8]) -> Option<Vec<u8>> {
    let mut environment = Vec::new();
    let file = fs::File::open(format!("/proc/{pid}/environ")).ok()?;
    file.take(ENVIRONMENT_BYTES_MAX).read_to_end(&mut environment).ok()?;
    environment
        .split(|byte| *byte == 0)
        .find_map(|entry| entry.strip_prefix(name)?.strip_prefix(b"=").map(<[u8]>::to_vec))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_with_parentheses_and_spaces_does_not_shift_the_fields() {
        let line =
            b"42 (a) b (c) S 1 42 41 0 -1 4194560 9 8 7 6 100 50 10 5 20 0 3 0 777 1000 25 9 1";
        let stat = ProcessStat::parse(line).unwrap();
        assert_eq!((stat.pid, stat.state, stat.parent), (42, b'S', 1));
        assert_eq!((stat.group, stat.session), (42, 41));
        assert_eq!((stat.user_ticks, stat.system_ticks), (110, 55));
        assert_eq!((stat.threads, stat.start_time, stat.resident_pages), (3, 777, 25));
        assert_eq!(ProcessStat::parse(b"42 (a) S 1"), None);
        assert_eq!(ProcessStat::parse(b""), None);
    }

    #[test]
    fn the_table_holds_ourselves() {
        let pid = i32::try_from(std::process::id()).unwrap();
        let table = ProcessTable::read().unwrap();
        let ours = table.get(pid).unwrap();
        assert!(!ours.is_dead() && ours.threads > 0 && ours.resident_pages > 0);
        assert_eq!(Some(ours.start_time), ProcessStat::read(pid).map(|stat| stat.start_time));
    }

    #[test]
    fn those_who_wait_for_a_reading_share_the_next() {
        let shared = SharedTable::default();
        let count = std::sync::atomic::AtomicU32::new(0);
        let read = || {
            count.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
            std::thread::sleep(std::time::Duration::from_millis(100));
            ProcessTable::read()
        };
        std::thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| shared.read_with(read).unwrap());
            }
        });
        // The first reads alone, or with those that asked before it began.
        assert!(count.load(std::sync::atomic::Ordering::SeqCst) <= 3);
        let before = count.load(std::sync::atomic::Ordering::SeqCst);
        shared.read_with(read).unwrap();
        assert_eq!(count.load(std::sync::atomic::Ordering::SeqCst), before + 1);
    }
}
