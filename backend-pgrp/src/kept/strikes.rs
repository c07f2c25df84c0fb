//! How a group held together by keepers is signalled, and killed: by process groups first, then one by one.
//!
//! A strike is one pass; whether there is another is decided elsewhere.

use std::sync::atomic::Ordering;

use containment_core::{Operation, Pid, Result, Signal, Signalled};
use containment_process::proc::Stat;
use rustix::thread::{CapabilitySet, capabilities};

use super::KeptGroup;
use crate::line::Line;
use crate::tree::{Struck, Tree};

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

impl KeptGroup {
    /// One pass of a signal that no member can ignore: at once to every process group that a program leads,
    /// which stops most of a fork bomb before the rest is looked for, and then to who has left those. Gives
    /// the members, too, if all of them had got it before they were listed.
    pub(super) fn strike(
        &self,
        signal: Signal,
        operation: Operation,
        whom: Whom,
    ) -> Result<(Signalled, Option<Vec<Stat>>)> {
        let struck: Result<Vec<_>> =
            self.lines().open.iter().map(|line| line.signal_process_group(signal)).collect();
        let struck = struck?;
        // Whom a process group's signal did not reach is not told.
        let reached = self.user.is_none() && struck.iter().all(Option::is_some);
        let groups = match whom {
            Whom::Together(count) if reached && !self.orphans.load(Ordering::Acquire) => {
                self.refuse_removed(operation)?;
                return Ok((Signalled { count, failed: Vec::new() }, None));
            }
            Whom::Together(_) | Whom::WhoLeft => struck.into_iter().flatten().collect(),
            Whom::Each => Vec::new(),
        };
        self.pass(signal, operation, &Struck { groups, user: self.user })
    }

    /// One pass of a signal over everybody who has not got it already; the members, if nobody was left.
    pub(super) fn pass(
        &self,
        signal: Signal,
        operation: Operation,
        struck: &Struck,
    ) -> Result<(Signalled, Option<Vec<Stat>>)> {
        self.refuse_removed(operation)?;
        let living = self.living(operation)?;
        let pass = struck.complete(signal, &self.programs()?, &living);
        let (pass, all_had_it) = pass.map_err(|error| self.error(error))?;
        Ok((pass.described(|error| self.error(error)), all_had_it.then_some(living)))
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
        let pass = tree.signal(Signal::KILL).map_err(|error| self.error(error))?;
        pass.failed.into_iter().next().map_or(Ok(()), |error| Err(self.error(error)))
    }
}

pub(super) fn signals_everybody() -> bool {
    capabilities(None).is_ok_and(|sets| sets.effective.contains(CapabilitySet::KILL))
}
