//! The master's process, when it runs on this machine: what it costs.

use std::net::SocketAddrV4;
use std::path::Path;
use std::time::Duration;

/// A process of this machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct MasterProcess {
    id: u32,
    ticks_per_second: u64,
}

/// What a process has used so far.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Usage {
    /// User and system time of all its threads.
    pub(crate) cpu: Duration,
    /// The most memory it ever had resident.
    pub(crate) peak_bytes: u64,
    /// The memory it has resident.
    pub(crate) resident_bytes: u64,
}

impl MasterProcess {
    /// The process with this id, or else the one that listens on the master's address, if that is
    /// on this machine and may be looked at.
    pub(crate) fn find(id: Option<u32>, address: SocketAddrV4) -> Option<Self> {
        let ticks = nix::unistd::sysconf(nix::unistd::SysconfVar::CLK_TCK).ok()??;
        let ticks_per_second = u64::try_from(ticks).ok().filter(|ticks| *ticks > 0)?;
        let id = match id {
            Some(id) => id,
            None => listener(address)?,
        };
        let found = Self { id, ticks_per_second };
        found.usage().map(|_| found)
    }

    pub(crate) fn id(self) -> u32 {
        self.id
    }

    /// Nothing when the process has ended.
    pub(crate) fn usage(self) -> Option<Usage> {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.id)).ok()?;
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.id)).ok()?;
        let ticks = cpu_ticks(&stat)?;
        let nanos = ticks.saturating_mul(1_000_000_000) / self.ticks_per_second;
        Some(Usage {
            cpu: Duration::from_nanos(nanos),
            peak_bytes: status_bytes(&status, "VmHWM:")?,
            resident_bytes: status_bytes(&status, "VmRSS:")?,
        })
    }
}

/// This process' own CPU time.
pub(crate) fn own_cpu() -> Option<Duration> {
    let own = MasterProcess::find(Some(std::process::id()), SocketAddrV4::new([0; 4].into(), 0));
    own.and_then(MasterProcess::usage).map(|usage| usage.cpu)
}

/// `utime` and `stime` of `/proc/<pid>/stat` (proc_pid_stat(5)); the name before them may hold
/// anything.
fn cpu_ticks(stat: &str) -> Option<u64> {
    let (_, after_name) = stat.rsplit_once(')')?;
    let mut fields = after_name.split_ascii_whitespace().skip(11);
    let user: u64 = fields.next()?.parse().ok()?;
    let system: u64 = fields.next()?.parse().ok()?;
    Some(user + system)
}

fn status_bytes(status: &str, name: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix(name))?;
    let kilobytes: u64 = line.split_ascii_whitespace().next()?.parse().ok()?;
    Some(kilobytes * 1024)
}

/// The process that listens on `address`, found by the inode of its socket.
fn listener(address: SocketAddrV4) -> Option<u32> {
    let table = std::fs::read_to_string("/proc/net/tcp").ok()?;
    let link = format!("socket:[{}]", listening_inode(&table, address)?);
    let mut ids: Vec<u32> = std::fs::read_dir("/proc")
        .ok()?
        .flatten()
        .filter_map(|entry| entry.file_name().to_str()?.parse().ok())
        .collect();
    ids.sort_unstable();
    ids.into_iter().find(|id| {
        let descriptors = std::fs::read_dir(format!("/proc/{id}/fd"));
        descriptors.into_iter().flatten().flatten().any(|descriptor| {
            std::fs::read_link(descriptor.path()).is_ok_and(|to| to == Path::new(&link))
        })
    })
}

/// The inode of the listening socket for `address` in the text of `/proc/net/tcp`.
fn listening_inode(table: &str, address: SocketAddrV4) -> Option<u64> {
    const LISTENING: &str = "0A";
    let own = format!("{:08X}:{:04X}", u32::from_ne_bytes(address.ip().octets()), address.port());
    let any = format!("{:08X}:{:04X}", 0, address.port());
    table.lines().skip(1).find_map(|line| {
        let fields: Vec<&str> = line.split_ascii_whitespace().collect();
        let [_, local, _, state, _, _, _, _, _, inode, ..] = fields.as_slice() else { return None };
        if *state == LISTENING && (*local == own || *local == any) {
            inode.parse().ok()
        } else {
            None
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::{Ipv4Addr, TcpListener};

    #[test]
    fn files_of_proc_are_understood() {
        let stat = "42 (a) b) c) R 1 42 42 0 -1 4194304 100 0 0 0 250 50 0 0 20 0 1 0 100 1000";
        assert_eq!(cpu_ticks(stat), Some(300));
        let status = "Name:\tx\nVmHWM:\t    2048 kB\nVmRSS:\t 1024 kB\n";
        assert_eq!(status_bytes(status, "VmHWM:"), Some(2 << 20));
        assert_eq!(status_bytes(status, "VmSwap:"), None);
    }

    #[test]
    fn a_listening_process_is_found_and_measured() {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let port = listener.local_addr().unwrap().port();
        let address = SocketAddrV4::new(Ipv4Addr::LOCALHOST, port);
        let found = MasterProcess::find(None, address).unwrap();
        assert_eq!(found.id(), std::process::id());
        let usage = found.usage().unwrap();
        assert!(usage.peak_bytes >= usage.resident_bytes && usage.resident_bytes > 0);
        assert!(own_cpu().is_some());
    }

    #[test]
    fn a_port_nobody_listens_on_has_no_process() {
        let port =
            TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap().local_addr().unwrap().port();
        let address = SocketAddrV4::new(Ipv4Addr::LOCALHOST, port);
        assert_eq!(MasterProcess::find(None, address), None);
    }
}
