//! Whom a kill of the v2 group does not reach: members that a freezer of version 1 holds, and strays.
//!
//! A stray was moved out of the v2 group by somebody who may write to cgroupfs, and is still in a v1
//! directory of ours: it is a member all the same, and keeps the directory from being removed.

use std::collections::HashSet;
use std::sync::atomic::Ordering;

use backend_cgroupv1::{LimitGroup, V1Limits};
use containment_core::{
    Error, ErrorKind, GroupOps as _, KillStep, Member, Operation, Pid, Result, Signal, Signalled,
    Standing,
};
use containment_process::pidfd::PidFd;
use containment_process::proc::Stat;
use containment_process::signalling::signal_all;

use super::group::HybridGroup;

impl HybridGroup {
    /// Kills the v2 group, and the strays. Who is left when it is called again may be held by a freezer.
    pub(super) fn kill_step(&self) -> Result<KillStep> {
        let step = match self.v2.kill() {
            Err(error) if self.has_lost_v2_alone(&error) => {
                KillStep::Signalled(Signalled::default())
            }
            step => step?,
        };
        if matches!(step, KillStep::Freezing) {
            // Whom a freezer of version 1 holds does not count as frozen on version 2 either, for as long as it
            // does. What fails of this is met again by the strike that follows.
            if self.struck.load(Ordering::SeqCst) {
                self.signal_strays(Signal::KILL, Operation::Kill)?;
                self.release_held()?;
            }
            return Ok(step);
        }
        let mut besides = self.signal_strays(Signal::KILL, Operation::Kill)?;
        if self.struck.swap(true, Ordering::SeqCst) {
            besides.failed.append(&mut self.release_held()?);
        }
        Ok(match step {
            KillStep::Signalled(pass) => KillStep::Signalled(both(pass, besides)),
            whole if besides.count == 0 && besides.failed.is_empty() => whole,
            _ => KillStep::Signalled(besides),
        })
    }

    /// One pass of a signal, over the strays last.
    pub(super) fn signal_pass(&self, signal: Signal) -> Result<Signalled> {
        let pass = match self.v2.signal(signal) {
            Err(error) if self.has_lost_v2_alone(&error) => Signalled::default(),
            pass => pass?,
        };
        Ok(both(pass, self.signal_strays(signal, Operation::Signal)?))
    }

    fn signal_strays(&self, signal: Signal, operation: Operation) -> Result<Signalled> {
        let strays = self.strays(operation)?;
        if strays.contains(&Pid::current()) {
            return Err(self
                .error(Error::new(ErrorKind::HoldsCaller, operation))
                .advise("move this process out of the group's v1 directories first"));
        }
        let again = |_: &[PidFd]| Ok(self.v1_pids(operation)?.into_iter().collect());
        let Signalled { count, failed } = signal_all(signal, &[], strays, again)?;
        let failed = failed.into_iter().map(|error| self.error(error)).collect();
        Ok(Signalled { count, failed })
    }

    /// The members that are strays.
    pub(super) fn stray_members(&self) -> Result<Vec<Member>> {
        let mut members = Vec::new();
        for pid in self.strays(Operation::Members)? {
            let stat = Stat::read(pid).map_err(|error| {
                self.error(Error::from_io(Operation::Members, &error)).with_pid(pid)
            })?;
            // What has ended since it was listed is no longer in the v2 group either.
            let living = stat.filter(|stat| !stat.has_ended());
            members.extend(living.map(|stat| stat.member(Standing::Escaped)));
        }
        Ok(members)
    }

    /// The processes in our v1 directories that are not in the v2 group.
    pub(super) fn strays(&self, operation: Operation) -> Result<Vec<Pid>> {
        let mut pids = self.v1_pids(operation)?;
        if !pids.is_empty() {
            let listed = self.of_v2(self.v2.pids(operation))?;
            let inside: HashSet<_> = listed.iter().collect();
            pids.retain(|pid| !inside.contains(pid));
            if !pids.is_empty() {
                let unlisted = self.of_v2(self.v2.unlisted(&listed, operation))?;
                pids.retain(|pid| !unlisted.contains(pid));
            }
        }
        Ok(pids)
    }

    /// The processes in our v1 directories, and in those that only groups inside ours made.
    fn v1_pids(&self, operation: Operation) -> Result<Vec<Pid>> {
        let whole = self.v2.is_nested().then(|| self.whole_v1()).transpose();
        let whole = whole.map_err(|error| error.during(operation))?;
        let pids = whole.as_ref().or(self.v1.as_ref()).map_or(Ok(Vec::new()), LimitGroup::pids);
        pids.map_err(|error| self.error(error.during(operation)))
    }

    /// Nobody where the v2 group alone is gone.
    fn of_v2(&self, pids: Result<Vec<Pid>>) -> Result<Vec<Pid>> {
        match pids {
            Err(error) if self.has_lost_v2_alone(&error) => Ok(Vec::new()),
            pids => pids,
        }
    }

    /// Thaws members that sit frozen in a v1 freezer group below ours: they do not die before (K47).
    /// Answers why others stay frozen: another group's freezer is not ours to thaw.
    fn release_held(&self) -> Result<Vec<Error>> {
        let limits = self.side.limits().map_err(|error| self.error(error))?;
        let mut failed = Vec::new();
        let strays = self.strays(Operation::Kill)?;
        let inside = self.of_v2(self.v2.everybody(Operation::Kill))?;
        for pid in inside.into_iter().chain(strays) {
            if let Err(error) = self.release(limits, pid) {
                failed.push(self.error(error).with_pid(pid));
            }
        }
        Ok(failed)
    }

    fn release(&self, limits: &V1Limits, pid: Pid) -> Result<()> {
        match limits.hold_on(pid)? {
            None => Ok(()),
            Some(hold) if hold.is_within(&self.id().name) => hold.thaw(),
            Some(hold) => Err(Error::new(ErrorKind::Frozen, Operation::Kill)
                .with_path(hold.path())
                .because(format!("a member is held by the frozen {}", hold.path().display()))
                .advise("thaw it: write THAWED to its freezer.state")),
        }
    }
}

fn both(mut pass: Signalled, besides: Signalled) -> Signalled {
    pass.count += besides.count;
    pass.failed.extend(besides.failed);
    pass
}
