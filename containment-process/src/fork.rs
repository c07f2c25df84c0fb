//! clone(2) as every kernel has it: on a copy of the memory, like fork.

use std::io;
use std::os::fd::{FromRawFd, OwnedFd};

use crate::pidfd::{PidFd, checked_pid};

/// Forks; `None` in the child. Its end sends this signal; with 0 it sends none, and a wait for any child does not
/// see it. Unlike with fork(3), what libc takes for the thread's id is the parent's still.
///
/// # Safety
/// The child has one thread: what others of this process had locked stays locked in it for ever.
pub(crate) unsafe fn clone_memory(exit_signal: libc::c_int) -> io::Result<Option<PidFd>> {
    let mut pidfd: libc::c_int = -1;
    let flags = libc::CLONE_PIDFD | exit_signal;
    // SAFETY: without CLONE_VM and a stack both go on from here, the child on a copy of this stack.
    let pid =
        unsafe { libc::syscall(libc::SYS_clone, flags, 0_usize, &raw mut pidfd, 0_usize, 0_usize) };
    match pid {
        -1 => Err(io::Error::last_os_error()),
        0 => Ok(None),
        pid => {
            // SAFETY: the clone succeeded, so the kernel stored a new descriptor of ours.
            let pidfd = unsafe { OwnedFd::from_raw_fd(pidfd) };
            Ok(Some(PidFd::from_fd(checked_pid(pid)?, pidfd)))
        }
    }
}
