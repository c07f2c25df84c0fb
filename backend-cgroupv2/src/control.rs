//! Signals, kill, freeze and thaw of a subtree: each one pass.

use std::collections::HashSet;
use std::sync::atomic::Ordering;

use containment_core::{
    Error, ErrorKind, FreezeState, Kill, KillStep, Operation, Pid, Result, Signal, Signalled,
};
use containment_process::cgroupfs::{Dir, Failure};
use containment_process::pidfd::PidFd;
use containment_process::proc::{Stat, cgroup, process_of};
use containment_process::signalling::signal_members;

use crate::group::V2Group;

impl V2Group {
    /// Every process of the subtree, this group's own first.
    ///
    /// A threaded group's `cgroup.procs` cannot be read (K12); its processes stand in that of the
    /// domain group above it, which is in this subtree too.
    ///
    /// # Errors
    /// [`Gone`](ErrorKind::Gone) when the group was removed, [`Malformed`](ErrorKind::Malformed), of this
    /// `operation`.
    pub fn pids(&self, operation: Operation) -> Result<Vec<Pid>> {
        self.listed("cgroup.procs", operation)
    }

    /// The same; where nobody is listed, who is in no listing.
    pub(crate) fn present(&self, operation: Operation) -> Result<Vec<Pid>> {
        let listed = self.pids(operation)?;
        if listed.is_empty() { self.unlisted(&listed, operation) } else { Ok(listed) }
    }

    /// Both who is listed and who is in no listing.
    ///
    /// # Errors
    /// As those of [`pids`](Self::pids), and when `/proc` cannot be read.
    pub fn everybody(&self, operation: Operation) -> Result<Vec<Pid>> {
        let mut all = self.pids(operation)?;
        let unlisted = self.unlisted(&all, operation)?;
        all.extend(unlisted);
        Ok(all)
    }

    /// Those in no `cgroup.procs`: their first thread had ended when somebody else moved them here, and the kernel moved
    /// the other threads alone (K10). A look at each thread that is not the first one of who is `listed`.
    ///
    /// # Errors
    /// As those of [`pids`](Self::pids), and when `/proc` cannot be read.
    pub fn unlisted(&self, listed: &[Pid], operation: Operation) -> Result<Vec<Pid>> {
        let failed = |error| self.error(Error::from_io(operation, &error));
        let mut known: HashSet<_> = listed.iter().copied().collect();
        let mut unlisted = Vec::new();
        for thread in self.listed("cgroup.threads", operation)? {
            if known.contains(&thread) {
                continue;
            }
            let Some(process) = process_of(thread).map_err(failed)? else { continue };
            // A threaded group may have threads of a process that is elsewhere, ours for one.
            if !known.insert(process) {
                continue;
            }
            // Nor is who is on his way out a member: he never freezes.
            let stat = Stat::read(process).map_err(failed)?;
            if stat.is_some_and(|stat| stat.lives_without_first_thread() && !stat.has_ended()) {
                unlisted.push(process);
            }
        }
        Ok(unlisted)
    }

    /// What such files of the subtree list, but for those that the kernel does not fill.
    fn listed(&self, file: &str, operation: Operation) -> Result<Vec<Pid>> {
        let mut all = Vec::new();
        let mut collect = |dir: &Dir| match dir.pids(file) {
            Ok(listing) => {
                all.extend(listing.pids);
                Ok(())
            }
            Err(failure) if failure.kind() == ErrorKind::DomainInvalid => Ok(()),
            Err(failure) => Err(failure),
        };
        collect(&self.dir)
            .and_then(|()| self.dir.walk(collect))
            .map_err(|failure| self.error(failure.during(operation)))?;
        Ok(all)
    }

    /// One pass of a signal, the programs first.
    pub(crate) fn signal_pass(&self, signal: Signal) -> Result<Signalled> {
        self.refuse_own(Operation::Signal)?;
        self.signal_each(signal, Self::present)
    }

    fn signal_each(
        &self,
        signal: Signal,
        list: fn(&Self, Operation) -> Result<Vec<Pid>>,
    ) -> Result<Signalled> {
        let programs = self.programs.running_processes();
        let listed = list(self, Operation::Signal)?;
        let again = |_: &[PidFd]| Ok(list(self, Operation::Signal)?.into_iter().collect());
        let pass = signal_members(signal, &programs, listed, again);
        pass.map_err(|error| self.error(error))
            .map(|pass| pass.described(|error| self.error(error)))
    }

    /// One write where the kernel has `cgroup.kill`; else, and for whom that did not reach the last time,
    /// freeze, then signal everybody. A frozen process of cgroup v2 dies of SIGKILL without being thawed.
    pub(crate) fn kill_step(&self) -> Result<KillStep> {
        self.refuse_own(Operation::Kill)?;
        let again = self.kills.fetch_add(1, Ordering::SeqCst) > 0;
        let whole = self.kill_whole()?;
        let freeze = |on| {
            let written = write_freeze(&self.dir, on);
            written.map_err(|failure| self.error(failure.during(Operation::Kill)))
        };
        if whole && !(again && self.holds_unreachable()?) {
            return Ok(KillStep::Killed);
        }
        freeze(true)?;
        if self.freeze_state(Operation::Kill)? != FreezeState::Frozen {
            return Ok(KillStep::Freezing);
        }
        let list = if again { Self::everybody } else { Self::pids };
        let pass = self.signal_each(Signal::KILL, list);
        if whole {
            // Nobody expects a freeze to undo where kills are atomic.
            freeze(false)?;
        }
        pass.map(KillStep::Signalled)
    }

    /// Whether `cgroup.kill` is there, and was written.
    fn kill_whole(&self) -> Result<bool> {
        if self.capabilities.kill != Kill::Atomic {
            return Ok(false);
        }
        match self.dir.write("cgroup.kill", "1") {
            Ok(()) => Ok(true),
            Err(failure) if failure.kind() == ErrorKind::Unsupported => Ok(false),
            Err(failure) => Err(self.error(failure.during(Operation::Kill))),
        }
    }

    /// Whether a process lives without its first thread: `cgroup.kill` signals first threads alone, and
    /// where that has ended nobody dies of it (`__cgroup_kill`, `complete_signal`; seen on Linux 6.18).
    fn holds_unreachable(&self) -> Result<bool> {
        let listed = self.pids(Operation::Kill)?;
        for pid in &listed {
            let stat = Stat::read(*pid).map_err(|error| {
                self.error(Error::from_io(Operation::Kill, &error)).with_pid(*pid)
            })?;
            // Who is on his way out never freezes, and needs no signal.
            if stat.is_some_and(|stat| stat.lives_without_first_thread() && !stat.has_ended()) {
                return Ok(true);
            }
        }
        Ok(!self.unlisted(&listed, Operation::Kill)?.is_empty())
    }

    /// The supervisor is never killed, signalled or frozen with what it supervises (K38).
    fn refuse_own(&self, operation: Operation) -> Result<()> {
        let own = cgroup::own_unified().map_err(|error| Error::from_io(operation, &error))?;
        let own = own.and_then(|own| cgroup::below_mount(&own, &self.place.mount_root));
        if own.is_some_and(|own| own.starts_with(&self.relative)) {
            return Err(self
                .error(Error::new(ErrorKind::HoldsCaller, operation))
                .advise("move this process out of the group first"));
        }
        Ok(())
    }

    pub(crate) fn freeze(&self) -> Result<()> {
        self.refuse_own(Operation::Freeze)?;
        write_freeze(&self.dir, true).map_err(|f| self.error(f.during(Operation::Freeze)))
    }

    /// Thaws the group and every group below it, whoever froze it.
    pub(crate) fn thaw(&self) -> Result<()> {
        write_freeze(&self.dir, false)
            .and_then(|()| self.dir.walk(|below| write_freeze(below, false)))
            .map_err(|failure| self.error(failure.during(Operation::Thaw)))?;
        self.refuse_held()
    }

    /// A group around ours may be frozen by somebody else: it is not ours to thaw. Whether our own
    /// `frozen` says so is a matter of time: not before all stand still, nor while one of them dies.
    fn refuse_held(&self) -> Result<()> {
        let freezes = |group: &Dir| Ok(group.read("cgroup.freeze")?.starts_with(b"1"));
        let holder = match self.place.mount.first_above(&self.relative, freezes) {
            Ok(Some(holder)) => holder,
            Ok(None) => return Ok(()),
            Err(failure) if failure.is_gone() => {
                return Err(self.error(Error::new(ErrorKind::Gone, Operation::Thaw)));
            }
            Err(failure) => return Err(self.error(failure.during(Operation::Thaw))),
        };
        Err(self
            .error(Error::new(ErrorKind::Frozen, Operation::Thaw))
            .with_path(holder.path())
            .because("a group around it is frozen")
            .advise("thaw that group: write 0 to its cgroup.freeze"))
    }

    pub(crate) fn freeze_state(&self, operation: Operation) -> Result<FreezeState> {
        if self.read_event(|events| events.frozen, operation)? {
            return Ok(FreezeState::Frozen);
        }
        let asked = self.dir.read("cgroup.freeze");
        let asked = asked.map_err(|failure| self.error(failure.during(operation)))?;
        Ok(if asked.starts_with(b"1") { FreezeState::Freezing } else { FreezeState::Thawed })
    }
}

fn write_freeze(dir: &Dir, frozen: bool) -> Result<(), Failure> {
    dir.write("cgroup.freeze", if frozen { "1" } else { "0" })
}
