//! Processes by descriptor: a pidfd never means another process, however pids are recycled.

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::sync::Arc;

use containment_core::{Outcome, Pid, Signal, Source};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::{Errno, retry_on_intr};
use rustix::process::{PidfdFlags, WaitId, WaitIdOptions, WaitIdStatus, pidfd_open, waitid};

/// A process, by pidfd. The descriptor is shared, so that a waiter can keep it open.
///
/// ```
/// use containment_core::{Outcome, Pid, Signal};
/// use containment_process::pidfd::{Look, PidFd, Waited};
///
/// let child = std::process::Command::new("sleep").arg("1000").spawn()?;
/// let pid = i32::try_from(child.id()).ok().and_then(Pid::new).unwrap();
/// let process = PidFd::open(pid)?.expect("it is a child, and not reaped");
/// assert!(!process.has_ended()? && process.pid() == pid);
/// assert_eq!(PidFd::first_living([pid])?.map(|it| it.pid()), Some(pid));
/// assert_eq!(process.try_wait(Look::Hold)?, Waited::Running);
///
/// assert!(process.signal(Signal::KILL)?);
/// assert_eq!(process.wait()?, Waited::Ended(Outcome::Signaled(Signal::KILL)));
/// assert!(!process.signal(Signal::KILL)?, "it is reaped, and nobody else is struck");
/// assert_eq!(process.try_wait(Look::Reap)?, Waited::Lost);
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Debug, Clone)]
pub struct PidFd {
    pid: Pid,
    fd: Arc<OwnedFd>,
}

/// What a look at a child said.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Waited {
    /// It runs.
    Running,
    /// It ended like this.
    Ended(Outcome),
    /// It is no child of ours any more: somebody else reaped it, or SIGCHLD is ignored.
    Lost,
}

/// Whether a look at an ended child takes it away.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Look {
    /// It stays a zombie, so that its pid is not re-used.
    Hold,
    /// It is reaped.
    Reap,
}

impl PidFd {
    /// Opens the process that has this pid now; `None` when there is none.
    pub fn open(pid: Pid) -> io::Result<Option<Self>> {
        match pidfd_open(raw_pid(pid), PidfdFlags::empty()) {
            Ok(fd) => Ok(Some(Self::from_fd(pid, fd))),
            // The pid is a thread of another process, so no process of its own: EINVAL, since Linux 6.16 ENOENT.
            Err(Errno::SRCH | Errno::INVAL | Errno::NOENT) => Ok(None),
            Err(errno) => Err(errno.into()),
        }
    }

    /// The first of these processes that lives.
    pub fn first_living(pids: impl IntoIterator<Item = Pid>) -> io::Result<Option<Self>> {
        for pid in pids {
            if let Some(process) = Self::open(pid)?
                && !process.has_ended()?
            {
                return Ok(Some(process));
            }
        }
        Ok(None)
    }

    /// Takes over a pidfd that the kernel gave for `pid`.
    pub fn from_fd(pid: Pid, fd: OwnedFd) -> Self {
        Self { pid, fd: Arc::new(fd) }
    }

    /// The pid that it was opened by. Only as long as the process is not reaped it has it.
    pub fn pid(&self) -> Pid {
        self.pid
    }

    /// Sends a signal; `false` when the process has ended and was reaped.
    pub fn signal(&self, signal: Signal) -> io::Result<bool> {
        self.send(signal, 0)
    }

    /// Sends a signal to the process group that this process leads, or led: the group is found even
    /// when the leader was reaped, and never a stranger's. `false` when it has no member.
    ///
    /// # Errors
    /// `EINVAL` before Linux 6.9 (`PIDFD_SIGNAL_PROCESS_GROUP`).
    pub fn signal_process_group(&self, signal: Signal) -> io::Result<bool> {
        const PIDFD_SIGNAL_PROCESS_GROUP: u32 = 1 << 2;
        self.send(signal, PIDFD_SIGNAL_PROCESS_GROUP)
    }

    fn send(&self, signal: Signal, flags: u32) -> io::Result<bool> {
        // SAFETY: pidfd_send_signal reads a descriptor and integers; a null siginfo is allowed.
        let sent = unsafe {
            libc::syscall(
                libc::SYS_pidfd_send_signal,
                self.fd.as_raw_fd(),
                signal.as_raw(),
                std::ptr::null::<libc::siginfo_t>(),
                flags,
            )
        };
        match sent {
            0 => Ok(true),
            _ => match io::Error::last_os_error() {
                error if error.raw_os_error() == Some(libc::ESRCH) => Ok(false),
                error => Err(error),
            },
        }
    }

    /// Whether the process has ended, reaped or not.
    pub fn has_ended(&self) -> io::Result<bool> {
        let mut fds = [PollFd::new(&*self.fd, PollFlags::IN)];
        // Also a poll that does not wait is interrupted.
        Ok(retry_on_intr(|| poll(&mut fds, Some(&Timespec::default())))? > 0)
    }

    /// Looks, without waiting, whether this child has ended.
    pub fn try_wait(&self, look: Look) -> io::Result<Waited> {
        self.wait_with(WaitIdOptions::NOHANG, look)
    }

    /// Waits until this child has ended, and reaps it. For children that are about to end.
    pub fn wait(&self) -> io::Result<Waited> {
        self.wait_with(WaitIdOptions::empty(), Look::Reap)
    }

    fn wait_with(&self, options: WaitIdOptions, look: Look) -> io::Result<Waited> {
        let hold = match look {
            Look::Hold => WaitIdOptions::NOWAIT,
            Look::Reap => WaitIdOptions::empty(),
        };
        // Children that do not announce their end (`worker::fork_apart`) are waited for like others.
        let any_kind = WaitIdOptions::from_bits_retain(libc::__WALL.cast_unsigned());
        loop {
            let options = WaitIdOptions::EXITED | any_kind | options | hold;
            return match waitid(WaitId::PidFd(self.fd.as_fd()), options) {
                Ok(None) => Ok(Waited::Running),
                Ok(Some(status)) => Ok(outcome(&status).map_or(Waited::Running, Waited::Ended)),
                Err(Errno::CHILD) => Ok(Waited::Lost),
                Err(Errno::INTR) => continue,
                Err(errno) => Err(errno.into()),
            };
        }
    }

    /// How the process ended, if the kernel still tells: since Linux 6.15 whoever holds its pidfd can ask,
    /// also when somebody else reaped it. `None` where that cannot be told.
    pub fn told_end(&self) -> io::Result<Option<Outcome>> {
        const PIDFD_INFO_EXIT: u64 = 1 << 3;
        Ok(self.told(PIDFD_INFO_EXIT)?.and_then(|info| of_status(info.exit_code)))
    }

    /// The id of the group of the unified hierarchy that the process is in, which no other group ever bears, if
    /// the kernel tells: since Linux 6.13.
    pub fn cgroup_id(&self) -> io::Result<Option<u64>> {
        const PIDFD_INFO_CGROUPID: u64 = 1 << 2;
        Ok(self.told(PIDFD_INFO_CGROUPID)?.map(|info| info.cgroup))
    }

    /// What the kernel tells of this, if it can.
    fn told(&self, what: u64) -> io::Result<Option<Info>> {
        let mut info = Info { mask: what, ..Info::default() };
        // SAFETY: the request says how large the structure is that is read and written, which is ours.
        let done = unsafe { libc::ioctl(self.fd.as_raw_fd(), PIDFD_GET_INFO, &raw mut info) };
        if done != 0 {
            return match io::Error::last_os_error() {
                // Older kernels; a process that is reaped, and whose end was not kept.
                error if UNTOLD.contains(&error.raw_os_error().unwrap_or_default()) => Ok(None),
                error => Err(error),
            };
        }
        Ok((info.mask & what != 0).then_some(info))
    }

    /// What to poll for its end.
    pub fn source(&self) -> Source {
        Source::readable(Arc::clone(&self.fd))
    }
}

impl AsFd for PidFd {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

impl AsRawFd for PidFd {
    fn as_raw_fd(&self) -> RawFd {
        self.fd.as_raw_fd()
    }
}

/// `_IOWR(0xFF, 11, struct pidfd_info)` of its first version, of 64 bytes.
const PIDFD_GET_INFO: libc::Ioctl = 0xC040_FF0B_u32 as libc::Ioctl;

/// What a kernel answers that cannot tell.
const UNTOLD: [i32; 4] = [libc::ENOTTY, libc::EINVAL, libc::ESRCH, libc::EREMOTE];

/// `struct pidfd_info` of `linux/pidfd.h`.
#[derive(Debug, Default)]
#[repr(C)]
struct Info {
    mask: u64,
    cgroup: u64,
    ids: [u32; 11],
    exit_code: i32,
}

const _: () = assert!(size_of::<Info>() == 64);

/// The meaning of a status as wait(2) has it.
fn of_status(status: i32) -> Option<Outcome> {
    match status & 0x7f {
        0 => Some(Outcome::Exited((status >> 8) & 0xff)),
        signal => Signal::new(signal).map(Outcome::Signaled),
    }
}

/// How a waited-for process ended; `None` for a stop or a continue.
pub(crate) fn outcome(status: &WaitIdStatus) -> Option<Outcome> {
    if let Some(status) = status.exit_status() {
        return Some(Outcome::Exited(status));
    }
    let signal = status.terminating_signal()?;
    Signal::new(signal).map(Outcome::Signaled)
}

/// The pid in the system-call crate's type.
pub(crate) fn raw_pid(pid: Pid) -> rustix::process::Pid {
    rustix::process::Pid::from_raw(pid.as_raw()).expect("a Pid is positive")
}

/// The pid that the kernel returned.
pub(crate) fn checked_pid(raw: i64) -> io::Result<Pid> {
    let pid = i32::try_from(raw).ok().and_then(Pid::new);
    pid.ok_or_else(|| io::Error::other("the kernel returned no pid"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::process::Command;

    #[test]
    fn a_child_is_held_then_reaped_then_lost() {
        let mut child = Command::new("sh").args(["-c", "exit 7"]).spawn().unwrap();
        let pid = Pid::new(child.id().try_into().unwrap()).unwrap();
        let fd = PidFd::open(pid).unwrap().expect("an unreaped child exists");
        let mut ready = [PollFd::new(&fd, PollFlags::IN)];
        poll(&mut ready, None).unwrap();
        let seven = Waited::Ended(Outcome::Exited(7));
        assert_eq!(fd.try_wait(Look::Hold).unwrap(), seven);
        let living = PidFd::first_living([pid, Pid::current()]).unwrap();
        assert_eq!(living.map(|process| process.pid()), Some(Pid::current()));
        assert_eq!(fd.try_wait(Look::Reap).unwrap(), seven);
        assert_eq!(fd.try_wait(Look::Reap).unwrap(), Waited::Lost);
        let told = fd.told_end().unwrap();
        assert!([None, Some(Outcome::Exited(7))].contains(&told), "{told:?}");
        assert!(!fd.signal(Signal::KILL).unwrap(), "a reaped process gets no signal");
        assert!(fd.has_ended().unwrap());
        drop(child.wait());
    }

    #[test]
    fn a_thread_is_no_process() {
        std::thread::scope(|scope| {
            let (tell, told) = std::sync::mpsc::channel();
            let (end, wait) = std::sync::mpsc::channel::<()>();
            scope.spawn(move || {
                tell.send(rustix::thread::gettid()).unwrap();
                wait.recv()
            });
            let thread = Pid::new(told.recv().unwrap().as_raw_nonzero().get()).unwrap();
            assert!(PidFd::open(thread).unwrap().is_none());
            drop(end);
        });
    }

    #[test]
    fn a_signal_ends_a_child() {
        let mut child = Command::new("sleep").arg("1000").spawn().unwrap();
        let pid = Pid::new(child.id().try_into().unwrap()).unwrap();
        let fd = PidFd::open(pid).unwrap().unwrap();
        assert_eq!(fd.try_wait(Look::Reap).unwrap(), Waited::Running);
        assert!(fd.signal(Signal::KILL).unwrap());
        assert_eq!(fd.wait().unwrap(), Waited::Ended(Outcome::Signaled(Signal::KILL)));
        drop(child.wait());
    }
}
