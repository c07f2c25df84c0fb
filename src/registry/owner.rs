//! Who owns groups, and whether that process lives: a lock file for each owner, locked for as long as
//! it, or its guardian, runs. The kernel lets go of a lock when its holder dies, however it does.
//!
//! They are POSIX record locks, which a fork does not inherit: byte 0 is the owner's, byte 1 the
//! guardian's. Closing any descriptor of the file lets go, so none is closed before the process ends.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;

use containment_core::{Error, Operation, Pid, Result, Signal};
use containment_process::pidfd::PidFd;
use nix::fcntl::{FcntlArg, fcntl};
use nix::libc;
use rustix::io::Errno;

use super::Process;
use super::directory::StateDir;

/// What is known of an entry's owner.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Owner {
    /// It lives, or its guardian does.
    Alive,
    /// Both are dead: the group is nobody's.
    Dead,
    /// There is none: the group stays until it is removed.
    None,
}

/// The lock of this process, held until it ends.
#[derive(Debug, Clone)]
pub(crate) struct OwnerLock {
    pub(crate) process: Process,
    file: Arc<OwnedFd>,
}

/// Which byte of an owner's file is whose.
#[derive(Debug, Clone, Copy)]
enum Holder {
    Owner = 0,
    Guardian = 1,
}

impl OwnerLock {
    /// That of `process`, which is this one.
    pub(super) fn take(dir: &StateDir, process: Process) -> Result<Self> {
        let failed = |errno| dir.failure(errno, &file_name(process));
        let file = dir.open_file(&file_name(process), true).map_err(failed)?;
        lock(file.as_fd(), Holder::Owner).map_err(failed)?;
        let file = Arc::new(file);
        // Never closed: that would let go of every lock that this process has on the file, those of
        // another open registry too.
        std::mem::forget(Arc::clone(&file));
        Ok(Self { process, file })
    }

    /// The guardian's place beside the lock of another process; none where that has let go meanwhile.
    pub(super) fn beside(dir: &StateDir, process: Process) -> Result<Option<Self>> {
        let failed = |errno| dir.failure(errno, &file_name(process));
        let file = match dir.open_file(&file_name(process), false) {
            Err(Errno::NOENT) => return Ok(None),
            opened => opened.map_err(failed)?,
        };
        lock(file.as_fd(), Holder::Guardian).map_err(failed)?;
        Ok(Some(Self { process, file: Arc::new(file) }))
    }

    /// Takes the guardian's byte, in the guardian, by the descriptor that it inherited.
    pub(crate) fn stand_guard(&self) -> std::io::Result<()> {
        Ok(lock(self.file.as_fd(), Holder::Guardian)?)
    }

    /// The descriptor that holds the lock: a process that closes it lets go.
    pub(crate) fn descriptor(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }
}

/// Whether `process` or its guardian lives. This process sees its own locks as free.
pub(super) fn lives(dir: &StateDir, process: Process) -> Result<bool> {
    if Process::current()? == process {
        return Ok(true);
    }
    let failed = |errno| dir.failure(errno, &file_name(process));
    let file = match dir.open_file(&file_name(process), false) {
        Ok(file) => file,
        Err(Errno::NOENT) => return Ok(false),
        Err(errno) => return Err(failed(errno)),
    };
    let held = |holder| held_by(file.as_fd(), holder).map(|pid| pid.is_some()).map_err(failed);
    Ok(held(Holder::Owner)? || held(Holder::Guardian)?)
}

/// Has the guardian of an owner that is dead go on, where somebody stopped it: it ends the groups then.
pub(super) fn wake_guardian(dir: &StateDir, owner: Process) -> Result<()> {
    // To close a descriptor of our own file would let go of our lock.
    if Process::current()? == owner {
        return Ok(());
    }
    let failed = |errno| dir.failure(errno, &file_name(owner));
    let file = match dir.open_file(&file_name(owner), false) {
        Ok(file) => file,
        Err(Errno::NOENT) => return Ok(()),
        Err(errno) => return Err(failed(errno)),
    };
    let held = |holder| held_by(file.as_fd(), holder).map_err(failed);
    let guardian = held(Holder::Guardian)?;
    if held(Holder::Owner)?.is_some() {
        return Ok(());
    }
    // One of another pid namespace has none here.
    let Some(pid) = guardian.and_then(Pid::new) else { return Ok(()) };
    let of_io = |error: std::io::Error| Error::from_io(Operation::Register, &error).with_pid(pid);
    let process = PidFd::open(pid).map_err(of_io)?;
    // It holds the lock still, so that the pid is its own.
    if let Some(process) =
        process.filter(|_| held(Holder::Guardian).is_ok_and(|now| now == guardian))
    {
        process.signal(Signal::CONT).map_err(of_io)?;
    }
    Ok(())
}

/// The name of an owner's file.
pub(super) fn file_name(process: Process) -> String {
    format!("{PREFIX}{}-{}", process.pid, process.started)
}

/// How the names of owners' files begin.
pub(super) const PREFIX: &str = "owner-";

/// The process that a file of this name belongs to.
pub(super) fn process_of(name: &str) -> Option<Process> {
    let (pid, started) = name.strip_prefix(PREFIX)?.split_once('-')?;
    Some(Process { pid: pid.parse().ok()?, started: started.parse().ok()? })
}

fn range(holder: Holder) -> libc::flock {
    let [kind, whence] = [libc::F_WRLCK, libc::SEEK_SET]
        .map(|constant| libc::c_short::try_from(constant).unwrap_or_default());
    libc::flock { l_type: kind, l_whence: whence, l_start: holder as i64, l_len: 1, l_pid: 0 }
}

fn lock(file: BorrowedFd<'_>, holder: Holder) -> rustix::io::Result<()> {
    fcntl(file, FcntlArg::F_SETLK(&range(holder))).map(drop).map_err(of_nix)
}

/// The pid of who holds it, if somebody does.
fn held_by(file: BorrowedFd<'_>, holder: Holder) -> rustix::io::Result<Option<i32>> {
    let mut wanted = range(holder);
    fcntl(file, FcntlArg::F_GETLK(&mut wanted)).map_err(of_nix)?;
    Ok((i32::from(wanted.l_type) != libc::F_UNLCK).then_some(wanted.l_pid))
}

fn of_nix(errno: nix::errno::Errno) -> Errno {
    Errno::from_raw_os_error(errno as i32)
}
