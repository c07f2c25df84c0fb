//! Putting processes into a group: born there, or moved in by themselves.

use containment_core::{Error, ErrorKind, Operation, Pid, Program, Result};
use containment_process::child::Started;
use containment_process::pidfd::{Look, PidFd};
use containment_process::proc::Stat;
use containment_process::proc::cgroup::{self, Membership};
use containment_process::spawn::{AskFrozen, Entry, Failure, Launch, Mark, Memory, spawn};
use rustix::io::Errno;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::atomic::Ordering;

use containment_process::cgroupfs::{self, Access, Dir};

use crate::group::V2Group;

impl V2Group {
    /// Starts a program as a member.
    ///
    /// On some kernels (6.12, 6.18) a child is killed at birth when its group and ours were reached by
    /// a different number of `cgroup.kill` writes (K42). Such a child never ran an instruction, so it
    /// is started again, moving itself in, unless the group was killed meanwhile. `also` are files of
    /// other hierarchies' groups that it writes itself to as well.
    pub(crate) fn start(&self, program: &Program, also: &[OwnedFd]) -> Result<Started> {
        self.refuse_frozen()?;
        let mark = Mark::read(&self.kills);
        let frozen = || self.freeze_state(Operation::Place);
        let launch = |entry, memory| {
            let launch = Launch::into_cgroup(program, entry, mark, AskFrozen(&frozen));
            spawn(&Launch { memory, ..launch })
        };
        let shared = if also.is_empty() && self.shares_our_memory_limits() {
            Memory::Share
        } else {
            Memory::Vfork
        };
        let also: Vec<_> = also.iter().map(AsFd::as_fd).collect();
        if !self.self_move.load(Ordering::Relaxed) && !self.confined.at_all() {
            let born = Entry::Born(self.dir.as_fd(), &also);
            match launch(born, shared) {
                Err(Failure::KilledAtBirth(_)) if !mark.is_stale() => {}
                Err(Failure::Clone(error)) if is_missing(&error) => {}
                result => return self.verdict(result, program),
            }
            self.self_move.store(true, Ordering::Relaxed);
        }
        let procs = self.dir.open_file("cgroup.procs", Access::Write);
        let procs = procs.map_err(|failure| self.error(failure.during(Operation::Place)))?;
        let files: Vec<_> = also.iter().copied().chain([procs.as_fd()]).collect();
        let memory = if self.confined.to_nodes() { Memory::Copy } else { shared };
        self.verdict(launch(Entry::SelfMove(&files), memory), program)
    }

    fn verdict(&self, result: Result<PidFd, Failure>, program: &Program) -> Result<Started> {
        let started = |process| Started::new(process, Look::Reap, self.id.backend, &self.id.name);
        match result {
            Ok(process) => Ok(started(process)),
            Err(Failure::Frozen(process)) => {
                self.programs.add(started(process));
                Err(self.frozen_error())
            }
            Err(failure) => Err(self.error(place_error(failure.into_error(program)))),
        }
    }

    /// Whether whoever runs out of memory in it does so in ours, too: no memory controller counts for it alone, nor
    /// for a group between the two.
    fn shares_our_memory_limits(&self) -> bool {
        !self.place.named
            && self.id.name.components().count() == 1
            && !self.dir.exists("memory.max")
    }

    /// A child born frozen would keep us waiting (K07).
    fn refuse_frozen(&self) -> Result<()> {
        let frozen = self.read_event(|events| events.frozen, Operation::Place)?;
        if frozen { Err(self.frozen_error()) } else { Ok(()) }
    }

    fn frozen_error(&self) -> Error {
        self.error(Error::new(ErrorKind::Frozen, Operation::Place)).advise("thaw it first")
    }

    /// Moves a running process in. Where it ended meanwhile and another one got its pid, that one is let go.
    pub(crate) fn move_in(&self, pid: Pid) -> Result<()> {
        move_into(&self.dir, pid).map_err(|error| {
            if error.errno() == Some(Errno::SRCH.raw_os_error())
                && let Err(error) = self.let_go(pid)
            {
                let error = self.error(error);
                tracing::warn!(%error, %pid, "a stranger may be in the group; move it out by hand");
            }
            self.error(error).with_pid(pid)
        })
    }

    /// Moves whoever bears this pid, if a member, to where its parent is: it was born there.
    fn let_go(&self, stranger: Pid) -> Result<()> {
        let failed = |failure: cgroupfs::Failure| failure.during(Operation::Attach);
        if !self.dir.pids("cgroup.procs").map_err(failed)?.pids.contains(&stranger) {
            return Ok(());
        }
        let parents = cgroup::read_of_parent(stranger)
            .map_err(|error| Error::from_io(Operation::Attach, &error))?
            .unwrap_or_default();
        let born = cgroup::memberships(&parents).find(Membership::is_unified);
        let born = born.and_then(|born| cgroup::below_mount(born.path, &self.place.mount_root));
        let unknown = || Error::new(ErrorKind::NotFound, Operation::Attach);
        let born = self.place.mount.open_beneath(born.ok_or_else(unknown)?).map_err(failed)?;
        born.write("cgroup.procs", stranger.to_string()).map_err(failed)
    }
}

/// Moves a running process into a group. It is held by pidfd: if it still runs afterwards, it was the
/// one.
pub(crate) fn move_into(dir: &Dir, pid: Pid) -> Result<()> {
    let gone = || Error::from_errno(Operation::Attach, Errno::SRCH.raw_os_error());
    let failed = |error: std::io::Error| Error::from_io(Operation::Attach, &error);
    let process = PidFd::open(pid).map_err(failed)?.ok_or_else(gone)?;
    let lacks_first_thread = || {
        let stat = Stat::read(pid).map_err(failed)?;
        Ok::<_, Error>(stat.is_some_and(|stat| stat.lives_without_first_thread()))
    };
    // The others would be members that no `cgroup.procs` lists: their process stays in it with the first.
    let unlisted = || {
        Error::new(ErrorKind::Unsupported, Operation::Attach)
            .because("its first thread has ended, and the kernel would list it nowhere")
    };
    if lacks_first_thread()? {
        return Err(unlisted());
    }
    let done = |failure: cgroupfs::Failure| place_error(failure.during(Operation::Attach));
    dir.write("cgroup.procs", pid.to_string()).map_err(done)?;
    // It may have ended just before.
    if lacks_first_thread()? && !dir.pids("cgroup.procs").map_err(done)?.pids.contains(&pid) {
        return Err(unlisted());
    }
    if process.has_ended().map_err(failed)? { Err(gone()) } else { Ok(()) }
}

/// The kernel lacks the flag, or a seccomp filter refuses the call: no verdict on the group.
fn is_missing(error: &std::io::Error) -> bool {
    let errno = Errno::from_io_error(error);
    matches!(errno, Some(Errno::NOSYS | Errno::INVAL | Errno::TOOBIG | Errno::PERM))
}

/// What the errno of a refused placement means on cgroup v2 (cgroup-v2.rst, "No Internal Process
/// Constraint" and "Threads").
fn place_error(error: Error) -> Error {
    if !matches!(error.operation(), Operation::Place | Operation::Attach) {
        return error;
    }
    match error.errno().map(Errno::from_raw_os_error) {
        Some(Errno::BUSY) => error
            .with_kind(ErrorKind::InternalProcesses)
            .because("controllers are enabled below it, so it may hold no process")
            .advise("put the process into a group below it"),
        Some(Errno::OPNOTSUPP) => error
            .with_kind(ErrorKind::DomainInvalid)
            .because("it is part of a threaded cgroup tree")
            .advise("use a group outside of the threaded tree"),
        Some(Errno::NODEV | Errno::NOENT) => error.with_kind(ErrorKind::Gone),
        Some(Errno::ACCESS | Errno::PERM) => error
            .with_kind(ErrorKind::PermissionDenied)
            .advise("run it in a delegated group (systemd-run --user --scope -p Delegate=yes …), or name one of this user's with --parent PATH"),
        _ => error,
    }
}
