//! Putting processes into a group: they move themselves in before their exec, or are moved.

use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;
use std::sync::atomic::Ordering;

use containment_core::{Error, ErrorKind, FreezeState, Operation, Pid, Program, Result};
use containment_process::cgroupfs;
use containment_process::child::Started;
use containment_process::pidfd::{Look, PidFd};
use containment_process::proc::cgroup;
use containment_process::spawn::{AskFrozen, Entry, Failure, Launch, Mark, Memory, spawn};
use rustix::io::Errno;

use crate::branch::Branch;
use crate::branches::Branches;
use crate::cpuset;
use crate::group::V1Group;

impl V1Group {
    /// Starts a program as a member of every hierarchy of the group.
    pub(crate) fn start(&self, program: &Program) -> Result<Started> {
        self.refuse_frozen()?;
        let mark = Mark::read(&self.kills);
        // From here on members may be new, and a first pass of signals is worth its while again.
        self.struck.store(false, Ordering::SeqCst);
        let files = self.branches.entries();
        let files = files.map_err(|failure| self.failed(Operation::Place, failure))?;
        let files: Vec<_> = files.iter().map(OwnedFd::as_fd).collect();
        let frozen = || self.state_at_entry();
        let entry = Entry::SelfMove(&files);
        let mut launch = Launch::into_cgroup(program, entry, mark, AskFrozen(&frozen));
        if self.branches.serving("memory").is_some() {
            launch.memory = Memory::Vfork;
        }
        if let Some(cpuset) = self.branches.serving("cpuset") {
            let no_prefix = self.branches.place.hierarchies[cpuset.index].mounted.no_prefix;
            let rebinds = cpuset::rebinds_memory(&cpuset.dir, no_prefix);
            if rebinds.map_err(|failure| self.failed(Operation::Place, failure))? {
                launch.memory = Memory::Copy;
            }
        }
        let started = |process| Started::new(process, Look::Reap, self.id.backend, &self.id.name);
        match spawn(&launch) {
            Ok(process) => Ok(started(process)),
            Err(Failure::Frozen(process)) => {
                self.programs.add(started(process));
                Err(self.frozen_error())
            }
            Err(failure) => Err(self.error(place_error(failure.into_error(program)))),
        }
    }

    /// A child that moves itself into a frozen group would keep us waiting (K07).
    fn refuse_frozen(&self) -> Result<()> {
        match self.state_at_entry()? {
            FreezeState::Thawed => Ok(()),
            FreezeState::Freezing | FreezeState::Frozen => Err(self.frozen_error()),
        }
    }

    fn state_at_entry(&self) -> Result<FreezeState> {
        match self.branches.serving("freezer") {
            Some(_) => self.freeze_state(Operation::Place),
            None => Ok(FreezeState::Thawed),
        }
    }

    fn frozen_error(&self) -> Error {
        let error = self.error(Error::new(ErrorKind::Frozen, Operation::Place));
        error.advise("thaw it first, and the groups around it")
    }

    /// Moves a running process in, with all its threads. It is held by pidfd: if it still runs
    /// afterwards, it was the one.
    pub(crate) fn move_in(&self, pid: Pid) -> Result<()> {
        self.branches.attach(pid).map_err(|error| self.error(error).with_pid(pid))
    }
}

impl Branches {
    /// Moves a process into every hierarchy, or, when one refuses it, back to where it was.
    pub(crate) fn attach(&self, pid: Pid) -> Result<()> {
        let failed = |error: std::io::Error| Error::from_io(Operation::Attach, &error);
        let process = PidFd::open(pid).map_err(failed)?.ok_or_else(gone)?;
        let before = cgroup::read(pid).map_err(failed)?.ok_or_else(gone)?;
        for (done, branch) in self.all.iter().enumerate() {
            let moved = branch.dir.write("cgroup.procs", pid.to_string());
            if let Err(failure) = moved {
                self.all[..done].iter().for_each(|branch| self.move_back(branch, pid, &before));
                return Err(place_error(failure.during(Operation::Attach)));
            }
        }
        if !process.has_ended().map_err(failed)? {
            return Ok(());
        }
        // Another one may have got its pid and been moved instead. It was born where its parent is.
        let is_in = |branch: &&Branch| {
            branch.dir.pids("cgroup.procs").is_ok_and(|listed| listed.pids.contains(&pid))
        };
        let parents = cgroup::read_of_parent(pid).map_err(failed)?.unwrap_or_default();
        self.all.iter().filter(is_in).for_each(|branch| self.move_back(branch, pid, &parents));
        Err(gone())
    }

    /// Undoes a move, as `/proc/PID/cgroup` was before.
    fn move_back(&self, branch: &Branch, pid: Pid, before: &[u8]) {
        let mounted = &self.place.hierarchies[branch.index].mounted;
        let Some(group) = mounted.group_of(before) else { return };
        let moved = mounted.open().and_then(|top| {
            let back = top.open_beneath(&group);
            back.and_then(|dir| dir.write("cgroup.procs", pid.to_string()))
                .map_err(|failure| failure.during(Operation::Attach))
        });
        if let Err(error) = moved {
            let group: &Path = &group;
            tracing::warn!(%error, %pid, ?group, "a process could not be moved back; move it by hand");
        }
    }
}

fn gone() -> Error {
    Error::from_errno(Operation::Attach, Errno::SRCH.raw_os_error())
}

/// What the errno of a refused move means on cgroup v1.
pub(crate) fn place_error(error: Error) -> Error {
    if !matches!(error.operation(), Operation::Place | Operation::Attach) {
        return error;
    }
    match error.errno().map(Errno::from_raw_os_error) {
        Some(Errno::NOSPC) => error
            .with_kind(ErrorKind::InvalidInput)
            .because("its cpuset has no CPU or no memory node")
            .advise("write CPUs and nodes to cpuset.cpus and cpuset.mems of the group and those around it"),
        // Whoever moves itself was born and is no kernel thread: trying again would not help.
        Some(Errno::INVAL) if error.operation() == Operation::Place => error
            .with_kind(ErrorKind::InvalidInput)
            .because("the program has real-time priority, and the group no real-time share of the CPUs")
            .advise("start it without (chrt -o 0), or do without the CPU limit, or write cpu.rt_runtime_us of the group and those around it"),
        Some(Errno::INVAL) => error
            .with_kind(ErrorKind::InvalidInput)
            .because("the kernel does not move it: a kernel thread, one of real-time priority, or just being born")
            .advise("try again; a real-time process needs cpu.rt_runtime_us of the group"),
        Some(Errno::NODEV | Errno::NOENT) => error.with_kind(ErrorKind::Gone),
        Some(Errno::ACCESS | Errno::PERM) => error
            .with_kind(ErrorKind::PermissionDenied)
            .advise("as root: chown this user to a group of each hierarchy, and name it with --parent PATH"),
        _ => error,
    }
}

impl V1Group {
    pub(crate) fn failed(&self, operation: Operation, failure: cgroupfs::Failure) -> Error {
        self.error(failure.during(operation))
    }
}
