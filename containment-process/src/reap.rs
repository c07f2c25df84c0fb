//! Adopting and reaping orphans, and signalling the process group of a leader whose pid is held.

use std::io;

use containment_core::{Pid, Signal};
use nix::errno::Errno;
use nix::sys::wait::{Id, WaitPidFlag, waitid};
use rustix::process::{child_subreaper, set_child_subreaper};

use crate::pidfd::raw_pid;

/// Makes this process the one that adopts the orphans among its descendants (`PR_SET_CHILD_SUBREAPER`).
pub fn become_sub_reaper() -> io::Result<()> {
    Ok(set_child_subreaper(Some(raw_pid(Pid::current())))?)
}

/// This process as a sub-reaper, until dropped; for good where it was one before.
#[derive(Debug)]
pub struct SubReaping {
    before: bool,
}

impl SubReaping {
    /// Makes this process a sub-reaper.
    pub fn begin() -> io::Result<Self> {
        let before = child_subreaper()?.is_some();
        become_sub_reaper()?;
        Ok(Self { before })
    }
}

impl Drop for SubReaping {
    fn drop(&mut self) {
        if !self.before
            && let Err(error) = set_child_subreaper(None)
        {
            tracing::warn!(%error, "this process goes on adopting orphans");
        }
    }
}

/// What a pass over our ended children came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Children {
    /// No child is left.
    None,
    /// Children are left, and none of them has ended.
    Running,
    /// The child that must not be reaped here has ended; it hides the others from view.
    Held,
    /// There may be more that have ended: call again.
    Behind,
}

/// How many are reaped in one pass: under a fork storm there are always more, and whoever reaps has other
/// things to look after.
const PASS: usize = 256;

/// Reaps children that have ended, but `except`, without waiting: all of them, unless they are very many.
///
/// For a process whose only children are a group's: a host's own children would be taken from it.
pub fn reap_children(except: Option<Pid>) -> io::Result<Children> {
    let ended = WaitPidFlag::WEXITED | WaitPidFlag::WNOHANG;
    for _ in 0..PASS {
        let seen = match waitid(Id::All, ended | WaitPidFlag::WNOWAIT) {
            Ok(seen) => seen,
            Err(Errno::ECHILD) => return Ok(Children::None),
            Err(Errno::EINTR) => continue,
            Err(errno) => return Err(errno.into()),
        };
        let Some(pid) = seen.pid() else { return Ok(Children::Running) };
        if except.is_some_and(|held| held.as_raw() == pid.as_raw()) {
            return Ok(Children::Held);
        }
        match waitid(Id::Pid(pid), ended) {
            Ok(_) | Err(Errno::ECHILD | Errno::EINTR) => {}
            Err(errno) => return Err(errno.into()),
        }
    }
    Ok(Children::Behind)
}

/// Signals the process group of a leader whose pid is known to be held. A group without a member is
/// no failure.
pub fn signal_process_group(leader: Pid, signal: Signal) -> io::Result<()> {
    // SAFETY: integers only; the pid is positive, so this names one process group.
    match unsafe { libc::kill(-leader.as_raw(), signal.as_raw()) } {
        0 => Ok(()),
        _ => match io::Error::last_os_error() {
            error if error.raw_os_error() == Some(libc::ESRCH) => Ok(()),
            error => Err(error),
        },
    }
}
