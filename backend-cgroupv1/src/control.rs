//! Signals, kill, freeze and thaw of a subtree: each one pass.

use std::collections::HashSet;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use containment_core::{
    Error, ErrorKind, FreezeState, KillStep, Operation, Pid, Result, Signal, Signalled, Watch,
};
use containment_process::cgroupfs::{Dir, Failure, Listing};
use containment_process::pidfd::PidFd;
use containment_process::proc::{Stat, cgroup};
use containment_process::signalling::signal_members;

use crate::branch::Branch;
use crate::group::V1Group;
use crate::{brake, freezer};

/// A member whose end is watched for.
#[derive(Debug, Clone)]
pub(crate) struct Watched {
    pub(crate) process: PidFd,
    /// When a kill signalled it.
    struck: Option<Instant>,
}

/// For so long who was a member when it was struck needs no second look: it is dying, and until it has ended the group
/// is as good as populated.
const JUST_NOW: Duration = Duration::from_millis(10);

impl Watched {
    fn living(process: PidFd) -> Self {
        Self { process, struck: None }
    }

    fn struck(process: &PidFd) -> Self {
        Self { process: process.clone(), struck: Some(Instant::now()) }
    }

    fn was_just_struck(&self) -> bool {
        self.struck.is_some_and(|struck| struck.elapsed() < JUST_NOW)
    }

    fn is_dying(&self) -> bool {
        self.was_just_struck() && !self.process.has_ended().unwrap_or(true)
    }
}

impl V1Group {
    pub(crate) fn pids(&self, operation: Operation) -> Result<Vec<Pid>> {
        let pids = self.branches.pids().map_err(|failure| self.failed(operation, failure))?;
        // What was removed lists as what is empty does.
        if pids.is_empty() && self.branches.are_gone() {
            return Err(self.error(Error::new(ErrorKind::Gone, operation)));
        }
        Ok(pids)
    }

    /// One pass of a signal, the programs first. Each other process is opened by pidfd and then listed
    /// again, so that none is hit that is no member; the caller is not, while it is one.
    pub(crate) fn signal_pass(&self, signal: Signal, operation: Operation) -> Result<Signalled> {
        let programs = self.programs.running_processes();
        self.signal_all(signal, operation, &programs, self.pids(operation)?, |_, _| ())
    }

    /// The same, and `confirmed` is shown each batch of others, and who of it is a member still.
    fn signal_all(
        &self,
        signal: Signal,
        operation: Operation,
        programs: &[PidFd],
        listed: Vec<Pid>,
        confirmed: impl Fn(&[PidFd], &HashSet<Pid>),
    ) -> Result<Signalled> {
        if listed.contains(&Pid::current()) {
            return Err(self.holds_caller(operation));
        }
        let again = |batch: &[PidFd]| {
            let members = self.branches.members_among(batch.iter().map(PidFd::pid).collect());
            let members = members.map_err(|failure| self.failed(operation, failure))?;
            confirmed(batch, &members);
            Ok(members)
        };
        let pass = signal_members(signal, programs, listed, again);
        pass.map_err(|error| self.error(error))
            .map(|pass| pass.described(|error| self.error(error)))
    }

    /// First signals everybody as they run: as safe as a freeze, by pidfd, and twice as fast. Only
    /// where members were left are forks stopped, and the group is frozen.
    pub(crate) fn kill_step(&self) -> Result<KillStep> {
        self.kills.fetch_add(1, Ordering::SeqCst);
        if !self.struck.swap(true, Ordering::SeqCst) {
            return self.strike(self.pids(Operation::Kill)?);
        }
        self.refuse_own(Operation::Kill)?;
        let failed = |failure| self.failed(Operation::Kill, failure);
        self.with_pids(brake::apply).map_err(failed)?;
        // Members may have left it, and somebody removed it.
        let freezer = self.branches.serving("freezer").filter(|branch| !branch.dir.is_gone());
        let Some(freezer) = freezer else {
            // Nothing thaws such a group, so nothing else would let it fork again.
            let step = self.strike(self.pids(Operation::Kill)?);
            self.with_pids(brake::release).map_err(failed)?;
            return step;
        };
        freezer::freeze(&freezer.dir).map_err(failed)?;
        if self.freeze_state(Operation::Kill)? != FreezeState::Frozen {
            return Ok(KillStep::Freezing);
        }
        self.strike(self.pids(Operation::Kill)?)
    }

    /// Whoever was listed, and so signalled, last dies last: its end is what is watched for first.
    fn strike(&self, listed: Vec<Pid>) -> Result<KillStep> {
        let programs = self.programs.running_processes();
        let own = programs.iter().rev().find(|own| listed.contains(&own.pid()));
        *self.watched() = own.map(Watched::struck);
        // Never a stranger that was given the pid of who has died since.
        let watch_last = |batch: &[PidFd], members: &HashSet<Pid>| {
            let last = batch.iter().rev().find(|process| members.contains(&process.pid()));
            if let Some(last) = last {
                *self.watched() = Some(Watched::struck(last));
            }
        };
        self.signal_all(Signal::KILL, Operation::Kill, &programs, listed, watch_last)
            .map(KillStep::Signalled)
    }

    /// Where that directory was removed there is nothing to do.
    fn with_pids(&self, act: fn(&Dir) -> Result<(), Failure>) -> Result<(), Failure> {
        match self.branches.serving("pids").map_or(Ok(()), |pids| act(&pids.dir)) {
            Err(failure) if failure.is_gone() => Ok(()),
            done => done,
        }
    }

    /// The supervisor is never killed with what it supervises (K38).
    fn refuse_own(&self, operation: Operation) -> Result<()> {
        let text = cgroup::read_self().map_err(|error| Error::from_io(operation, &error))?;
        let holds = |branch: &Branch| {
            let own = self.branches.place.hierarchies[branch.index].mounted.group_of(&text);
            own.is_some_and(|own| own.starts_with(self.branches.relative(branch.index)))
        };
        if self.branches.all.iter().any(holds) {
            return Err(self.holds_caller(operation));
        }
        Ok(())
    }

    fn holds_caller(&self, operation: Operation) -> Error {
        self.error(Error::new(ErrorKind::HoldsCaller, operation))
            .advise("move this process out of the group first")
    }

    /// Whoever froze its own group would never come to thaw it.
    pub(crate) fn freeze(&self) -> Result<()> {
        self.refuse_own(Operation::Freeze)?;
        let freezer = self.freezer(Operation::Freeze)?;
        freezer::freeze(&freezer.dir).map_err(|failure| self.failed(Operation::Freeze, failure))
    }

    /// Thaws the group and every group in it, and lets it fork again.
    pub(crate) fn thaw(&self) -> Result<()> {
        let freezer = self.freezer(Operation::Thaw)?;
        if self.branches.are_gone() {
            return Err(self.error(Error::new(ErrorKind::Gone, Operation::Thaw)));
        }
        let failed = |failure| self.failed(Operation::Thaw, failure);
        let thawed = freezer::thaw(freezer).map_err(failed);
        let released = self.with_pids(brake::release).map_err(failed);
        let was_frozen = thawed?;
        released?;
        if was_frozen { self.refuse_held(freezer) } else { Ok(()) }
    }

    /// A group around ours may be frozen by somebody else: it is not ours to thaw.
    fn refuse_held(&self, freezer: &Branch) -> Result<()> {
        let failed = |failure| self.failed(Operation::Thaw, failure);
        match freezer.dir.read("freezer.parent_freezing") {
            Ok(text) if text.starts_with(b"1") => {}
            Err(failure) if !failure.is_gone() => return Err(failed(failure)),
            Ok(_) | Err(_) => return Ok(()),
        }
        let hierarchy = &self.branches.place.hierarchies[freezer.index];
        let relative = self.branches.relative(freezer.index);
        let holder = freezer::held_by(hierarchy, &relative).map_err(failed)?;
        let error = self
            .error(Error::new(ErrorKind::Frozen, Operation::Thaw))
            .because("a group around it is frozen")
            .advise("thaw that group: write THAWED to its freezer.state");
        Err(match holder {
            Some(path) => error.with_path(path),
            None => error,
        })
    }

    pub(crate) fn freeze_state(&self, operation: Operation) -> Result<FreezeState> {
        let freezer = self.freezer(operation)?;
        freezer::state(&freezer.dir).map_err(|failure| self.failed(operation, failure))
    }

    fn freezer(&self, operation: Operation) -> Result<&Branch> {
        self.branches.serving("freezer").ok_or_else(|| {
            self.error(Error::new(ErrorKind::Unsupported, operation))
                .because("no usable freezer hierarchy is mounted")
                .advise("mount it as root: contain init")
        })
    }

    /// Whether anything lives. A listing may show what has ended and was not reaped.
    pub(crate) fn is_populated(&self) -> Result<bool> {
        let watched = self.watched().clone();
        if watched.as_ref().is_some_and(Watched::is_dying) {
            return Ok(true);
        }
        if self.branches.are_gone() {
            return Err(self.error(Error::new(ErrorKind::Gone, Operation::Populated)));
        }
        let process = watched.as_ref().map(|watched| &watched.process);
        let mut populated = false;
        let mut broken = Ok(());
        let walked = self.branches.walk(|dir| {
            if !populated {
                let lives = any_lives(&dir.pids("cgroup.procs")?, process);
                populated = *lives.as_ref().unwrap_or(&true);
                broken = lives.map(drop);
            }
            Ok(())
        });
        walked.map_err(|failure| self.failed(Operation::Populated, failure))?;
        broken.map_err(|error| self.error(Error::from_io(Operation::Populated, &error)))?;
        Ok(populated)
    }

    /// No file of version 1 announces emptiness: one living member's pidfd does, until it fires. Somebody
    /// may move that member out, which nothing announces.
    pub(crate) fn watch_empty(&self) -> Result<Watch> {
        let mut watched = self.watched();
        // It may have been the last: that is seen without a listing for somebody else to wait for.
        if let Some(ended) = watched.take_if(|one| one.process.has_ended().unwrap_or(false)) {
            return Ok(Watch::Members(vec![ended.process.source()]));
        }
        let is_watched = match watched.as_ref() {
            Some(one) => one.was_just_struck() || self.is_living_member(&one.process)?,
            None => false,
        };
        if !is_watched {
            *watched = self.living_member()?.map(Watched::living);
        }
        Ok(watched
            .as_ref()
            .map_or(Watch::Backoff, |one| Watch::Members(vec![one.process.source()])))
    }

    fn is_living_member(&self, process: &PidFd) -> Result<bool> {
        if process.has_ended().unwrap_or(true) {
            return Ok(false);
        }
        let members = self.branches.members_among(HashSet::from([process.pid()]));
        let members = members.map_err(|failure| self.failed(Operation::Watch, failure))?;
        Ok(members.contains(&process.pid()))
    }

    /// The youngest first: once it has ended, few are left to wait for.
    fn living_member(&self) -> Result<Option<PidFd>> {
        PidFd::first_living(self.pids(Operation::Watch)?.into_iter().rev())
            .map_err(|error| self.error(Error::from_io(Operation::Watch, &error)))
    }
}

/// Whether a listed process lives; one outside of our pid namespace counts as alive. Of the one that is `watched`
/// the kernel tells that at once.
fn any_lives(listing: &Listing, watched: Option<&PidFd>) -> std::io::Result<bool> {
    if let Some(watched) = watched
        && listing.pids.contains(&watched.pid())
        && !watched.has_ended()?
    {
        return Ok(true);
    }
    // Whoever was listed, and so signalled, last dies last.
    for pid in listing.pids.iter().rev() {
        if Stat::read(*pid)?.is_some_and(|stat| !stat.is_dead()) {
            return Ok(true);
        }
    }
    Ok(listing.outside > 0)
}
