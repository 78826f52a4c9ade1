//! The system calls that no safe wrapper offers, each behind a safe function.
#![expect(unsafe_code, reason = "calls into libc; every block says why it is sound")]

use std::ffi::c_int;
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::{Command, ExitStatus};

/// The first file descriptor that a started program must not see.
const FIRST_PRIVATE_FD: c_int = 3;

/// How many descriptors are closed one by one where `close_range` is missing (Linux before 5.11).
const CLOSED_ONE_BY_ONE_MAX: c_int = 65_536;

/// The highest signal number of Linux.
const SIGNAL_MAX: c_int = 64;

/// Opens a descriptor that becomes readable when the process ends.
///
/// # Errors
/// `ESRCH` when there is no such process, `ENOSYS` on Linux before 5.3.
pub fn open_pidfd(pid: i32) -> io::Result<OwnedFd> {
    // SAFETY: the call takes two integers and touches no memory of ours.
    let result = unsafe { libc::syscall(libc::SYS_pidfd_open, pid, 0) };
    let fd = c_int::try_from(result).unwrap_or(-1);
    if fd < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the kernel just gave us this descriptor, so nobody else owns it.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// Sends a signal to exactly the process the descriptor stands for, never to one that took over its
/// pid.
///
/// # Errors
/// `ESRCH` when it has ended, `EPERM` when it is not ours to signal.
pub fn send_signal(pidfd: BorrowedFd<'_>, signal: c_int) -> io::Result<()> {
    let no_info = std::ptr::null::<libc::siginfo_t>();
    // SAFETY: a null siginfo is documented to mean "as kill(2) would fill it"; the rest is integers.
    let result = unsafe {
        libc::syscall(libc::SYS_pidfd_send_signal, pidfd.as_raw_fd(), signal, no_info, 0)
    };
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

/// Gives this thread, and those that it starts from now on, the scheduling policy `SCHED_BATCH`
/// (sched(7)): when they wake up they do not interrupt who is running, so several threads of a busy
/// process hand work over in batches. Their share of the processor stays the same.
///
/// # Errors
/// `EPERM` where a sandbox forbids the call.
pub fn schedule_in_batches() -> io::Result<()> {
    let parameter = libc::sched_param { sched_priority: 0 };
    // SAFETY: `parameter` is a valid value for the length of the call, which only reads it.
    let result = unsafe { libc::sched_setscheduler(0, libc::SCHED_BATCH, &raw const parameter) };
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

/// The wait status of our own child if it has ended, which also removes the zombie.
///
/// # Errors
/// `ECHILD` when the process is not a child of ours or was waited for already.
pub fn try_wait(pid: i32) -> io::Result<Option<ExitStatus>> {
    let mut status: c_int = 0;
    // SAFETY: `status` is a valid place for one int for the length of the call.
    let result = unsafe { libc::waitpid(pid, &raw mut status, libc::WNOHANG) };
    match result {
        0 => Ok(None),
        waited if waited == pid => Ok(Some(ExitStatus::from_raw(status))),
        _ => Err(io::Error::last_os_error()),
    }
}

/// Whether this program runs with the rights to become another user.
#[must_use]
pub fn is_root() -> bool {
    nix::unistd::geteuid().is_root()
}

/// Keeps the allocator to one arena. Each arena of glibc costs resident memory, which matters in a
/// program of which thousands run on a machine. Has no effect with another C library.
pub fn limit_allocator_arenas() {
    // SAFETY: mallopt sets one tunable of the allocator and may be called at any time.
    #[cfg(target_env = "gnu")]
    unsafe {
        libc::mallopt(libc::M_ARENA_MAX, 1);
    }
}

/// Gives freed memory at the top of the heap back to the system. Has no effect with another C
/// library than glibc.
pub fn trim_heap() {
    // SAFETY: malloc_trim takes the allocator's own locks and may be called at any time.
    #[cfg(target_env = "gnu")]
    unsafe {
        libc::malloc_trim(0);
    }
}

/// Takes the pages of our program and its libraries out of memory that can be read from their files
/// again, which happens by itself when they are needed. A program that only waits needs few of those
/// that it touched to get there. The pages stay in the system's cache; what changes is what this
/// process is said to use.
///
/// # Errors
/// When the kernel does not tell which pages those are.
pub fn release_file_pages() -> io::Result<()> {
    let maps = std::fs::read_to_string("/proc/self/smaps")?;
    for (start, end) in clean_file_mappings(&maps) {
        let address = std::ptr::with_exposed_provenance_mut(start);
        // SAFETY: the range is a whole private mapping of a file that is not writable and has no
        // page of its own ("Anonymous: 0 kB"), so that each page read again is the page dropped. The
        // kernel may drop such pages at any time itself. An error changes nothing.
        unsafe { libc::madvise(address, end - start, libc::MADV_DONTNEED) };
    }
    Ok(())
}

/// The address ranges of mappings that hold nothing but what is in their file (proc(5), `smaps`).
fn clean_file_mappings(maps: &str) -> Vec<(usize, usize)> {
    let mut clean = Vec::new();
    let mut candidate = None;
    for line in maps.lines() {
        let mut words = line.split_ascii_whitespace();
        let (first, second) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
        if first == "Anonymous:" {
            clean.extend(candidate.take().filter(|_| second == "0"));
        } else if let Some((start, end)) = first.split_once('-') {
            // Offset, device and inode come before the path.
            let is_file = words.nth(3).is_some_and(|path| path.starts_with('/'));
            let number = |text| usize::from_str_radix(text, 16).ok();
            candidate = number(start)
                .zip(number(end))
                .filter(|_| is_file && matches!(second, "r--p" | "r-xp"));
        }
    }
    clean
}

/// The user a child becomes; resolved before the fork because look-ups allocate.
#[derive(Clone, Debug)]
pub(crate) struct Identity {
    pub(crate) uid: libc::uid_t,
    pub(crate) gid: libc::gid_t,
    pub(crate) groups: Vec<libc::gid_t>,
}

/// Arranges what the child does between fork and exec: an own session, default signals, a fixed
/// umask, no inherited descriptors, and another user if asked.
pub(crate) fn prepare_child(command: &mut Command, identity: Option<Identity>) {
    let prepare = move || {
        enter_session()?;
        reset_signals();
        // SAFETY: umask takes an integer and cannot fail.
        unsafe { libc::umask(0o022) };
        hide_descriptors()?;
        identity.as_ref().map_or(Ok(()), become_user)
    };
    // SAFETY: the closure only makes system calls; it neither allocates nor takes a lock, so it is
    // sound in the child of a multi-threaded process.
    unsafe { command.pre_exec(prepare) };
}

fn check(result: c_int) -> io::Result<()> {
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

fn enter_session() -> io::Result<()> {
    // SAFETY: setsid has no arguments; a fresh child leads no group, so it succeeds.
    check(unsafe { libc::setsid() })
}

/// Handlers vanish at exec by themselves, ignored signals and the mask do not.
fn reset_signals() {
    // The C library's own call refuses the two signals it uses itself (32 and 33), which may be
    // ignored by inheritance all the same. All zeros are the kernel's `struct sigaction` for the
    // default action: handler, flags, restorer and a mask of 64 bits.
    let default_action = [0_u64; 4];
    for signal in 1..=SIGNAL_MAX {
        // SAFETY: the kernel reads at most these 32 bytes, which live on the stack; setting a default
        // action runs no code of ours. Errors for SIGKILL and SIGSTOP are expected and harmless.
        unsafe {
            libc::syscall(
                libc::SYS_rt_sigaction,
                signal,
                default_action.as_ptr(),
                std::ptr::null_mut::<u64>(),
                size_of::<u64>(),
            )
        };
    }
    let mut empty = std::mem::MaybeUninit::<libc::sigset_t>::uninit();
    // SAFETY: sigemptyset initialises the set it is given.
    unsafe { libc::sigemptyset(empty.as_mut_ptr()) };
    // SAFETY: the set was initialised above and the old one is not asked for.
    unsafe { libc::sigprocmask(libc::SIG_SETMASK, empty.as_ptr(), std::ptr::null_mut()) };
}

/// Marks every descriptor from 3 upwards to be closed by exec. They are not closed at once because
/// the standard library reports a failed exec through one of them.
fn hide_descriptors() -> io::Result<()> {
    // SAFETY: integers only; the flag changes descriptors of this process and no memory.
    let result = unsafe {
        libc::syscall(
            libc::SYS_close_range,
            FIRST_PRIVATE_FD,
            c_int::MAX,
            libc::CLOSE_RANGE_CLOEXEC,
        )
    };
    if result == 0 {
        return Ok(());
    }
    for fd in FIRST_PRIVATE_FD..CLOSED_ONE_BY_ONE_MAX {
        // SAFETY: integers only; an unused descriptor gives EBADF, which is the aim.
        unsafe { libc::fcntl(fd, libc::F_SETFD, libc::FD_CLOEXEC) };
    }
    Ok(())
}

fn become_user(identity: &Identity) -> io::Result<()> {
    // SAFETY: the pointer and length describe a vector that outlives the call.
    check(unsafe { libc::setgroups(identity.groups.len(), identity.groups.as_ptr()) })?;
    // SAFETY: integers only. Real, effective and saved ids change, so there is no way back.
    check(unsafe { libc::setresgid(identity.gid, identity.gid, identity.gid) })?;
    // SAFETY: as above; the group comes first because root is needed for it.
    check(unsafe { libc::setresuid(identity.uid, identity.uid, identity.uid) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_unchanged_read_only_mappings_of_files_are_released() {
        let maps = "\
            1000-2000 r--p 00000000 fe:01 11 /bin/program\nRss: 4 kB\nAnonymous:  0 kB\n\
            2000-5000 r-xp 00001000 fe:01 11 /bin/program\nAnonymous:  0 kB\nVmFlags: rd ex\n\
            5000-6000 r--p 00004000 fe:01 11 /bin/program\nAnonymous:  4 kB\n\
            6000-7000 rw-p 00005000 fe:01 11 /bin/program\nAnonymous:  0 kB\n\
            7000-8000 r--p 00000000 00:00 0\nAnonymous:  0 kB\n\
            8000-9000 r-xp 00000000 00:00 0 [vdso]\nAnonymous:  0 kB\n\
            9000-a000 r--s 00000000 fe:01 12 /locale\nAnonymous:  0 kB\n";
        assert_eq!(clean_file_mappings(maps), [(0x1000, 0x2000), (0x2000, 0x5000)]);
    }

    #[test]
    fn a_program_goes_on_after_its_pages_are_released() {
        release_file_pages().unwrap();
        assert_eq!(clean_file_mappings("").len(), 0);
    }
}
