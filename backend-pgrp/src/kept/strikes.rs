//! How a group held together by keepers is signalled, and killed: by process groups first, then one by one.
//!
//! A strike is one pass; whether there is another is decided elsewhere.

use std::sync::atomic::Ordering;
use std::sync::{MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use containment_core::{Member, Operation, Pid, Result, Signal, Signalled};
use rustix::thread::{CapabilitySet, capabilities};

use super::KeptGroup;
use crate::line::Line;
use crate::tree::{self, Struck, Tree, signal_living};

/// Whom a strike looks for, besides the process groups that programs lead.
#[derive(Debug, Clone, Copy)]
pub(super) enum Whom {
    /// Nobody: so many members are all in them.
    Together(usize),
    /// Who has left them.
    WhoLeft,
    /// Each of their members, too: who joined one meanwhile, or is not ours to signal, which is told.
    Each,
}

/// For so long who was together stays together: what tells them to end comes right after the list.
const JUST_NOW: Duration = Duration::from_millis(10);

impl KeptGroup {
    /// One pass of a signal that no member can ignore: at once to every process group that a program leads,
    /// which stops most of a fork bomb before the rest is looked for, and then to who has left those.
    pub(super) fn strike(
        &self,
        signal: Signal,
        operation: Operation,
        whom: Whom,
    ) -> Result<Signalled> {
        let (struck, all) = self.strike_groups(signal)?;
        match whom {
            Whom::Together(count) if all => {
                self.refuse_removed(operation)?;
                Ok(Signalled { count, failed: Vec::new() })
            }
            Whom::Together(_) | Whom::WhoLeft => self.pass(signal, operation, &struck),
            Whom::Each => self.pass(signal, operation, &Struck { groups: Vec::new(), ..struck }),
        }
    }

    /// A signal to every process group that a program leads, and whether everybody in them got it: whom it did not
    /// reach is not told.
    fn strike_groups(&self, signal: Signal) -> Result<(Struck, bool)> {
        let struck: Result<Vec<_>> =
            self.lines().open.iter().map(|line| line.signal_process_group(signal)).collect();
        let struck = struck?;
        let all = self.user.is_none()
            && struck.iter().all(Option::is_some)
            && !self.orphans.load(Ordering::Acquire);
        Ok((Struck { groups: struck.into_iter().flatten().collect(), user: self.user }, all))
    }

    /// Stops everybody as a strike does. Who they are, where all of them were stopped with their process groups: they
    /// were listed after that, to see whether somebody had left.
    pub(super) fn stop_all(&self) -> Result<Option<Vec<Member>>> {
        self.refuse_removed(Operation::Freeze)?;
        let trunks = self.trunks();
        let (struck, all) = self.strike_groups(Signal::STOP)?;
        let living = self.tree()?.living(Operation::Freeze).map_err(|error| self.error(error))?;
        let (members, are_together) = tree::members(&living, &trunks);
        // A program that begins meanwhile has its line opened under this lock, and has them stir.
        let lines = self.lines();
        if all && are_together && lines.open.len() == trunks.len() {
            self.held_still.store(true, Ordering::SeqCst);
            *self.together() = Some((Instant::now(), members.len()));
            return Ok(Some(members));
        }
        drop(lines);
        let pass = signal_living(Signal::STOP, &self.programs()?, &struck, living);
        let pass = pass.map_err(|error| self.error(error))?;
        // Whom it did not reach goes on, and may leave.
        self.held_still.store(pass.failed.is_empty(), Ordering::SeqCst);
        Ok(None)
    }

    /// One pass of a signal over everybody who has not got it already.
    pub(super) fn pass(
        &self,
        signal: Signal,
        operation: Operation,
        struck: &Struck,
    ) -> Result<Signalled> {
        self.refuse_removed(operation)?;
        let pass = self.tree()?.signal(signal, &self.programs()?, struck);
        let pass = pass.map_err(|error| self.error(error))?;
        let failed = pass.failed.into_iter().map(|error| self.error(error)).collect();
        Ok(Signalled { failed, ..pass })
    }

    /// The programs that run, which get a signal before the others.
    fn programs(&self) -> Result<Vec<Pid>> {
        let lines = self.lines().open.clone();
        let mut programs = Vec::new();
        for line in lines {
            if line.listen()?.outcome.is_none() {
                programs.push(line.trunk().program);
            }
        }
        Ok(programs)
    }

    /// Kills whoever a keeper keeps.
    pub(super) fn end_line(&self, line: &Line) -> Result<()> {
        line.signal_process_group(Signal::KILL)?;
        let keeper = vec![line.keeper().pid()];
        let tree = Tree { roots: keeper.clone(), except: keeper, others: Vec::new() };
        let pass = tree
            .signal(Signal::KILL, &[], &Struck::default())
            .map_err(|error| self.error(error))?;
        pass.failed.into_iter().next().map_or(Ok(()), |error| Err(self.error(error)))
    }

    /// How many members were listed just now, if they stood still in the process groups: they need not be looked for
    /// again. Whom somebody else had go on, and leave meanwhile, the next strike meets.
    pub(super) fn take_together(&self) -> Option<usize> {
        let listed = self.together().take();
        listed.filter(|(when, _)| when.elapsed() < JUST_NOW).map(|(_, count)| count)
    }

    pub(super) fn together(&self) -> MutexGuard<'_, Option<(Instant, usize)>> {
        self.together.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Forgets that everybody stands still: somebody was told to go on, or begins.
    pub(super) fn stirs(&self) {
        self.held_still.store(false, Ordering::SeqCst);
        self.together().take();
    }
}

pub(super) fn signals_everybody() -> bool {
    capabilities(None).is_ok_and(|sets| sets.effective.contains(CapabilitySet::KILL))
}
