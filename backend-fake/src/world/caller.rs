//! The process that uses the fake, as a process of the world: it is there from its first move on.

use containment_core::{Error, ErrorKind, Operation, Pid, Result};

use super::{Birth, OUTSIDE, Process, World};
use crate::script::Script;

const ESRCH: i32 = 3;

impl World {
    /// Moves a process into a group, or out of all of them.
    pub(crate) fn move_to(&mut self, pid: Pid, generation: u64) -> Result<()> {
        if generation != OUTSIDE {
            self.check_place(generation, Operation::Attach)?;
        }
        let birth = if pid == Pid::current() { Some(self.caller()) } else { self.by_pid(pid) };
        let process = birth.and_then(|birth| self.process_mut(birth));
        let gone = || Error::from_errno(Operation::Attach, ESRCH).with_pid(pid);
        process.ok_or_else(gone)?.node = generation;
        Ok(())
    }

    /// The generation of the group that the caller is in.
    pub(crate) fn callers_node(&self) -> u64 {
        self.caller.and_then(|birth| self.process(birth)).map_or(OUTSIDE, |process| process.node)
    }

    /// No group is signalled, frozen or killed that holds the caller (K38).
    pub(crate) fn refuse_callers(&self, generation: u64, operation: Operation) -> Result<()> {
        let inside = self.subtree(generation).contains(&self.callers_node());
        if inside { Err(Error::new(ErrorKind::HoldsCaller, operation)) } else { Ok(()) }
    }

    fn caller(&mut self) -> Birth {
        if let Some(known) = self.caller {
            return known;
        }
        let process = Process { comm: "caller".to_owned(), ..Process::outside() };
        let birth = self.born(Script::new(), process);
        if let Some(process) = self.process_mut(birth) {
            process.pid = Pid::current();
        }
        self.caller = Some(birth);
        birth
    }
}
