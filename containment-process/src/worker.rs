//! A fork of a single-threaded process that goes on in Rust.

use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::fs::MetadataExt as _;
use std::sync::atomic::{AtomicBool, Ordering};

use containment_core::Pid;

use crate::fork::clone_memory;
use crate::pidfd::PidFd;

/// Forks; the child runs `work` and exits with what it returns, without running the destructors and
/// exit handlers of this process. Its pidfd tells its end.
///
/// # Errors
/// Where the worker may have begun, it was killed; what it started is left to the caller.
/// `EBUSY`-like [`io::ErrorKind::ResourceBusy`] when this process has other threads: their locks
/// would stay locked in the child for ever.
pub fn fork(work: impl FnOnce() -> u8) -> io::Result<PidFd> {
    refuse_threads()?;
    // SAFETY: this process has one thread, so that the child's copy is consistent.
    match unsafe { libc::fork() } {
        -1 => Err(io::Error::last_os_error()),
        0 => run(work),
        pid => {
            let pid = Pid::new(pid).ok_or(io::ErrorKind::InvalidData)?;
            match PidFd::open(pid) {
                Ok(Some(worker)) => Ok(worker),
                // Out of descriptors: without a handle the worker must not go on.
                failed => {
                    end_child(pid);
                    failed.and(Err(io::Error::from_raw_os_error(libc::ESRCH)))
                }
            }
        }
    }
}

/// Forks like [`fork`], a child that stands apart: its end sends no SIGCHLD, and a wait for any child
/// does not see it. Only its pidfd tells.
///
/// # Errors
/// Where it fails nothing was begun; [`io::ErrorKind::ResourceBusy`] as with [`fork`].
pub fn fork_apart(work: impl FnOnce() -> u8) -> io::Result<PidFd> {
    refuse_threads()?;
    // SAFETY: this process has one thread, so that the child's copy is consistent.
    let worker = unsafe { clone_memory(0) }?;
    Ok(worker.unwrap_or_else(|| {
        // Its libc, which did not fork, may take it for its parent: what `abort` sends to itself would go there.
        IS_APART.store(true, Ordering::Relaxed);
        std::panic::set_hook(Box::new(|_| exit(PANICKED)));
        run(work)
    }))
}

/// Whether this process is what [`fork_apart`] forked.
static IS_APART: AtomicBool = AtomicBool::new(false);

/// Ends such a process, which must not abort.
pub(crate) fn exit_if_apart() {
    if IS_APART.load(Ordering::Relaxed) {
        exit(PANICKED);
    }
}

fn refuse_threads() -> io::Result<()> {
    // What cannot be unshared by a process with threads, and changes nothing for one without (unshare(2)).
    // SAFETY: an integer only.
    if unsafe { libc::unshare(libc::CLONE_THREAD) } == 0 {
        return Ok(());
    }
    // A seccomp filter may refuse that call. Each thread has a directory, and so a link, beside `.` and `..`.
    let links = std::fs::metadata("/proc/self/task")?.nlink();
    if links == 3 || std::fs::read_dir("/proc/self/task")?.count() == 1 {
        return Ok(());
    }
    let why = "a worker can be forked only by a single-threaded process";
    Err(io::Error::new(io::ErrorKind::ResourceBusy, why))
}

/// The child's life.
fn run(work: impl FnOnce() -> u8) -> ! {
    let guard = ExitGuard;
    let status = work();
    std::mem::forget(guard);
    exit(status)
}

/// Kills and reaps a child of ours.
fn end_child(pid: Pid) {
    // SAFETY: integers and a null pointer only; the child is unreaped, so that its pid is its own.
    unsafe {
        libc::kill(pid.as_raw(), libc::SIGKILL);
        libc::waitpid(pid.as_raw(), std::ptr::null_mut(), 0);
    }
}

/// Ends the child when `work` unwinds, before the parent's frames would be run a second time.
struct ExitGuard;

impl Drop for ExitGuard {
    fn drop(&mut self) {
        exit(PANICKED);
    }
}

/// The status of a worker whose work panicked.
const PANICKED: u8 = 125;

fn exit(status: u8) -> ! {
    // SAFETY: `_exit` ends the process at once.
    unsafe { libc::_exit(status.into()) }
}

/// Detaches a worker from what its parent has open: every descriptor but `keep` is closed, the standard
/// streams lead nowhere, and the directory is `/`. Objects that own the closed descriptors must be
/// forgotten, not dropped.
pub fn detach(keep: &[impl AsRawFd]) -> io::Result<()> {
    let mut kept: Vec<_> = keep.iter().map(AsRawFd::as_raw_fd).filter(|fd| *fd > 2).collect();
    std::env::set_current_dir("/")?;
    kept.sort_unstable();
    kept.dedup();
    let mut first = 3;
    for fd in kept {
        close_range(first, fd - 1)?;
        first = fd + 1;
    }
    close_range(first, i32::MAX)?;
    // Now that others are closed, however few it may have open.
    let null = nowhere()?;
    rustix::stdio::dup2_stdin(&null)?;
    rustix::stdio::dup2_stdout(&null)?;
    rustix::stdio::dup2_stderr(&null)?;
    Ok(())
}

/// `/dev/null`; where there is none, as in a bare root directory, a file without a name.
fn nowhere() -> io::Result<OwnedFd> {
    let null = std::fs::File::options().read(true).write(true).open("/dev/null");
    null.map(OwnedFd::from)
        .or_else(|_| Ok(rustix::fs::memfd_create(c"nowhere", rustix::fs::MemfdFlags::CLOEXEC)?))
}

fn close_range(first: i32, last: i32) -> io::Result<()> {
    if first > last {
        return Ok(());
    }
    // SAFETY: integers only. The caller forgets the objects that own what is closed here.
    match unsafe { libc::syscall(libc::SYS_close_range, first, last, 0) } {
        0 => Ok(()),
        // Before Linux 5.9.
        _ => close_listed(first, last),
    }
}

fn close_listed(first: i32, last: i32) -> io::Result<()> {
    for fd in open_descriptors()?.into_iter().filter(|fd| (first..=last).contains(fd)) {
        // SAFETY: an integer; EBADF for the listing's own descriptor is of no interest.
        unsafe { libc::close(fd) };
    }
    Ok(())
}

fn open_descriptors() -> io::Result<Vec<i32>> {
    let listed = std::fs::read_dir("/proc/self/fd")?;
    Ok(listed.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok()).collect())
}

#[cfg(test)]
mod tests {
    #[test]
    fn a_process_with_threads_is_refused() {
        std::thread::scope(|scope| {
            let (send, receive) = std::sync::mpsc::channel::<()>();
            scope.spawn(move || receive.recv());
            let refused = super::fork(|| 0).unwrap_err();
            assert_eq!(refused.kind(), std::io::ErrorKind::ResourceBusy);
            drop(send);
        });
    }
}
