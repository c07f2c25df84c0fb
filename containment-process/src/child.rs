//! Programs that this process started and waits for itself: each, and those of one group together.

use std::collections::HashSet;
use std::os::fd::{AsRawFd as _, RawFd};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use containment_core::{
    Backend, ChildOps, Error, ErrorKind, GroupName, Member, Operation, Outcome, Pid, Reaped,
    Result, Signal, Standing, Watch,
};

use crate::pidfd::{Look, PidFd, Waited};
use crate::proc::Stat;

/// A started program and how it ended; shared by the group and whoever waits for it, so that the
/// exit status is there for both whoever reaps first.
#[derive(Debug, Clone)]
pub struct Started {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    process: PidFd,
    backend: Backend,
    group: GroupName,
    end: Mutex<End>,
}

#[derive(Debug, Clone, Copy)]
struct End {
    look: Look,
    outcome: Option<Outcome>,
    reaped: bool,
}

impl Started {
    /// A program of `group`; with [`Look::Hold`] it is left a zombie until [`release`](Self::release).
    pub fn new(process: PidFd, look: Look, backend: Backend, group: &GroupName) -> Self {
        let end = Mutex::new(End { look, outcome: None, reaped: false });
        Self { shared: Arc::new(Shared { process, backend, group: group.clone(), end }) }
    }

    /// Lets the zombie be reaped; its pid may be re-used from then on.
    pub fn release(&self) -> Result<Option<Outcome>> {
        self.look(Some(Look::Reap))
    }

    /// Whether its pid can belong to nobody else: it runs, or is held as a zombie. `false` also when
    /// somebody else reaped it.
    pub fn holds_pid(&self) -> Result<bool> {
        if self.lock().reaped {
            return Ok(false);
        }
        let waited = self.shared.process.try_wait(Look::Hold);
        Ok(waited.map_err(|error| self.error(&error))? != Waited::Lost)
    }

    /// Whether it has ended, as far as was seen.
    pub fn has_ended(&self) -> bool {
        let end = self.lock();
        end.reaped || end.outcome.is_some()
    }

    /// Whether nobody but the group cares for it any more, so that the group may forget it.
    pub fn is_forgotten(&self) -> bool {
        Arc::strong_count(&self.shared) == 1 && self.lock().reaped
    }

    /// The process.
    pub fn process(&self) -> &PidFd {
        &self.shared.process
    }

    fn look(&self, change: Option<Look>) -> Result<Option<Outcome>> {
        let mut end = self.lock();
        end.look = change.unwrap_or(end.look);
        if end.reaped {
            return Ok(end.outcome);
        }
        match self.shared.process.try_wait(end.look).map_err(|error| self.error(&error))? {
            Waited::Running => {}
            Waited::Ended(outcome) => {
                end.outcome = Some(outcome);
                end.reaped = end.look == Look::Reap;
            }
            Waited::Lost => {
                // The kernel may tell it all the same.
                end.outcome = self.shared.process.told_end().map_err(|error| self.error(&error))?;
                end.reaped = true;
            }
        }
        Ok(end.outcome)
    }

    fn error(&self, error: &std::io::Error) -> Error {
        self.describe(Error::from_io(Operation::Wait, error))
    }

    fn describe(&self, error: Error) -> Error {
        let shared = &self.shared;
        error.with_backend(shared.backend).with_group(&shared.group).with_pid(shared.process.pid())
    }

    fn lock(&self) -> MutexGuard<'_, End> {
        self.shared.end.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl ChildOps for Started {
    fn pid(&self) -> Pid {
        self.shared.process.pid()
    }

    fn try_wait(&self) -> Result<Option<Outcome>> {
        let outcome = self.look(None)?;
        if outcome.is_none() && self.lock().reaped {
            let lost = Error::new(ErrorKind::StatusLost, Operation::Wait);
            return Err(self.describe(lost).advise(
                "do not ignore SIGCHLD and do not wait for every child in the process that uses groups",
            ));
        }
        Ok(outcome)
    }

    fn watch(&self) -> Result<Watch> {
        Ok(Watch::Sources(vec![self.shared.process.source()]))
    }

    fn signal(&self, signal: Signal) -> Result<()> {
        if self.has_ended() {
            return Ok(());
        }
        let sent = self.shared.process.signal(signal);
        sent.map(drop).map_err(|error| self.error(&error).during(Operation::Signal))
    }
}

/// The programs of a group that this process started and still knows.
#[derive(Debug, Default)]
pub struct Programs(Mutex<Known>);

#[derive(Debug, Default)]
struct Known {
    programs: Vec<Started>,
    tidying: Tidying,
}

/// When a list of what comes and goes is worth a look for what can be forgotten: when it is twice as long as the
/// last look left it, so that a look costs each that came the same, however many stay.
#[derive(Debug)]
pub struct Tidying {
    due: usize,
}

/// So few are not worth a look.
const FEW: usize = 8;

impl Default for Tidying {
    fn default() -> Self {
        Self { due: FEW }
    }
}

impl Tidying {
    /// Whether a list of this length is to be looked through now.
    pub fn is_due(&self, length: usize) -> bool {
        length >= self.due
    }

    /// So many were left by a look.
    pub fn done(&mut self, left: usize) {
        self.due = (2 * left).max(FEW);
    }
}

impl Programs {
    /// One more. Now and then those are reaped and forgotten that have ended.
    pub fn add(&self, program: Started) {
        let mut known = self.lock();
        known.programs.push(program);
        if known.tidying.is_due(known.programs.len()) {
            // What fails is told to whoever waits for that program.
            let _ = known.reap();
        }
    }

    /// All of them.
    pub fn all(&self) -> Vec<Started> {
        self.lock().programs.clone()
    }

    /// Those that have not been seen to end.
    pub fn running(&self) -> Vec<Pid> {
        let known = self.lock();
        known.programs.iter().filter(|child| !child.has_ended()).map(ChildOps::pid).collect()
    }

    /// The same, by their own descriptors.
    pub fn running_processes(&self) -> Vec<PidFd> {
        let known = self.lock();
        let running = known.programs.iter().filter(|child| !child.has_ended());
        running.map(|child| child.process().clone()).collect()
    }

    /// The youngest that lives, by its own descriptor.
    pub fn living(&self) -> Option<PidFd> {
        let known = self.lock();
        let unknown = known.programs.iter().rev().filter(|child| !child.has_ended());
        let lives = |process: &&PidFd| !process.has_ended().unwrap_or(true);
        unknown.map(Started::process).find(lives).cloned()
    }

    /// Whether one has not been seen to end.
    pub fn any_runs(&self) -> bool {
        self.lock().programs.iter().any(|child| !child.has_ended())
    }

    /// The members that these processes are now; one that is gone is none.
    pub fn members(&self, pids: Vec<Pid>) -> Result<Vec<Member>> {
        let programs: HashSet<Pid> = self.running().into_iter().collect();
        let mut members = Vec::new();
        for pid in pids {
            let stat = Stat::read(pid)
                .map_err(|error| Error::from_io(Operation::Members, &error).with_pid(pid))?;
            let program = programs.contains(&pid);
            let standing = if program { Standing::Program } else { Standing::Inside };
            members.extend(stat.map(|stat| stat.member(standing)));
        }
        Ok(members)
    }

    /// Reaps what has ended, without waiting, and forgets what nobody asks for any more.
    pub fn reap(&self) -> Result<Reaped> {
        self.lock().reap()
    }

    /// Refuses to have their group removed while one of them is dying: the kernel lets a process out of its groups,
    /// so that these are empty, shortly before it can be reaped, and nobody asks a removed group for it again. Whoever
    /// lives outside of the group is no reason.
    ///
    /// # Errors
    /// [`Busy`](ErrorKind::Busy).
    pub fn refuse_dying(&self, group: &GroupName) -> Result<()> {
        match self.any_is_dying() {
            Ok(false) => Ok(()),
            Ok(true) => Err(Error::new(ErrorKind::Busy, Operation::Remove)
                .because("a program of it is dying, and cannot be reaped yet")),
            Err(error) => {
                tracing::warn!(%error, %group, "a program may be left a zombie");
                Ok(())
            }
        }
    }

    fn any_is_dying(&self) -> Result<bool> {
        for pid in self.running() {
            let stat = Stat::read(pid);
            let stat =
                stat.map_err(|error| Error::from_io(Operation::Reap, &error).with_pid(pid))?;
            // A zombie can be reaped, or is held by a tracer.
            if stat.is_some_and(|stat| stat.has_ended() && !stat.is_dead()) {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// The descriptors by which they are held.
    pub fn handles(&self) -> Vec<RawFd> {
        self.lock().programs.iter().map(|program| program.process().as_raw_fd()).collect()
    }

    fn lock(&self) -> MutexGuard<'_, Known> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Known {
    fn reap(&mut self) -> Result<Reaped> {
        let mut reaped = Reaped::default();
        for child in self.programs.iter().filter(|child| !child.has_ended()) {
            match child.try_wait() {
                Ok(outcome) => reaped.count += usize::from(outcome.is_some()),
                // Told to whoever waits for this child; for the group it has ended.
                Err(error) if error.kind() == ErrorKind::StatusLost => {}
                Err(error) => return Err(error),
            }
        }
        self.programs.retain(|child| !child.is_forgotten());
        self.tidying.done(self.programs.len());
        Ok(reaped)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[expect(clippy::zombie_processes, reason = "the tests wait by its pidfd")]
    fn program() -> Started {
        let child = std::process::Command::new("true").spawn().unwrap();
        let process = PidFd::open(Pid::new(child.id().try_into().unwrap()).unwrap());
        let group = "group".parse().unwrap();
        Started::new(process.unwrap().unwrap(), Look::Reap, Backend::ProcessGroup, &group)
    }

    #[test]
    fn what_has_ended_and_is_asked_for_by_nobody_is_forgotten() {
        let programs = Programs::default();
        let asked_for = program();
        programs.add(asked_for.clone());
        for _ in 0..5 * FEW {
            let program = program();
            programs.add(program.clone());
            while program.try_wait().unwrap().is_none() {
                std::thread::yield_now();
            }
        }
        assert!(programs.handles().len() <= FEW + 2, "{:?}", programs.handles());
        assert!(programs.all().iter().any(|known| known.pid() == asked_for.pid()));
    }
}
