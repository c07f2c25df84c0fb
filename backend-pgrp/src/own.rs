//! Every descendant of this very process, as a group: for containing children where there is nothing
//! better.
//!
//! The process becomes a sub-reaper, so that no descendant gets lost by the end of its parent.

use std::collections::HashMap;
use std::os::fd::RawFd;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};

use containment_core::{
    Backend, Capabilities, Change, Empty, Error, ErrorKind, Escape, FreezeState, GroupId,
    GroupName, GroupOps, Identity, KillStep, Member, Operation, Pid, Reaped, Result, Signal,
    Signalled, Standing, Usage, Watch,
};
use containment_process::pidfd::{Look, PidFd, Waited};
use containment_process::proc::Stat;
use containment_process::reap::SubReaping;

use crate::lacking::{OfProcesses, lacking, starts_nothing};
use crate::tree::{Struck, Tree};
use crate::{Keeper, capabilities};

/// The descendants of this process, from a moment on when there were none.
#[derive(Debug)]
pub struct OwnChildren {
    id: GroupId,
    capabilities: Capabilities,
    /// Those that were seen under another parent, by pid and start time: whoever of them ends as our
    /// child was adopted, and nobody else waits for it.
    orphans: Mutex<HashMap<Pid, u64>>,
    removed: AtomicBool,
    /// Ends with the group.
    _reaping: SubReaping,
}

impl OwnChildren {
    /// Makes this process adopt the orphans among its descendants.
    ///
    /// # Errors
    /// [`Unusable`](ErrorKind::Unusable) when this process has living descendants already: adopted
    /// ones of theirs could not be told from those to come.
    pub fn adopt(name: GroupName) -> Result<Self> {
        let failed = |error: std::io::Error| {
            Error::from_io(Operation::Create, &error).with_backend(Backend::ProcessGroup)
        };
        let pid = Pid::current();
        if !tree().members(&[], Operation::Create)?.is_empty() {
            return Err(Error::new(ErrorKind::Unusable, Operation::Create)
                .with_backend(Backend::ProcessGroup)
                .because("this process has children already, which are not to be ended")
                .advise("begin before anything is started"));
        }
        let started = Stat::read(pid).map_err(failed)?.map_or(0, |stat| stat.started);
        let identity = Identity::Process { pid, started };
        Ok(Self {
            id: GroupId { backend: Backend::ProcessGroup, name, identity },
            capabilities: guarantees(),
            orphans: Mutex::default(),
            removed: AtomicBool::new(false),
            _reaping: SubReaping::begin().map_err(failed)?,
        })
    }

    fn look(&self, operation: Operation) -> Result<Vec<Member>> {
        self.refuse_removed(operation)?;
        let own = Pid::current().as_raw();
        let mut members = tree().members(&[], operation).map_err(|error| self.error(error))?;
        // Without a program and its process group there is nothing to escape from.
        for member in &mut members {
            member.standing = Standing::Inside;
        }
        let mut orphans = self.orphans.lock().unwrap_or_else(PoisonError::into_inner);
        let elsewhere = members.iter().filter(|member| member.parent != own);
        orphans.extend(elsewhere.map(|member| (member.pid, member.started)));
        Ok(members)
    }

    /// Whether one that was seen under another parent is a child of ours now.
    fn has_adopted(&self) -> bool {
        let own = Pid::current().as_raw();
        let is_ours = |(pid, started): (&Pid, &u64)| {
            let stat = Stat::read(*pid).ok().flatten();
            stat.is_some_and(|stat| stat.started == *started && stat.parent == own)
        };
        self.orphans.lock().unwrap_or_else(PoisonError::into_inner).iter().any(is_ours)
    }

    fn refuse_removed(&self, operation: Operation) -> Result<()> {
        if self.removed.load(Ordering::Acquire) {
            return Err(self.error(Error::new(ErrorKind::Gone, operation)));
        }
        Ok(())
    }

    fn error(&self, error: Error) -> Error {
        error.with_backend(Backend::ProcessGroup).with_group(&self.id.name)
    }
}

fn tree() -> Tree {
    Tree { roots: vec![Pid::current()], except: Vec::new(), others: Vec::new() }
}

/// As with a keeper, but for the CPU time that a keeper measures.
fn guarantees() -> Capabilities {
    Capabilities { escape: Escape::Swept, empty: Empty::Notified, ..capabilities(Keeper::None) }
}

/// Reaps an adopted process that has ended; whether there was one to reap.
fn reap_adopted(pid: Pid, started: u64) -> bool {
    let own = Pid::current().as_raw();
    let is_ours = |stat: Stat| stat.started == started && stat.parent == own && stat.is_dead();
    // Nobody else reaps it, so that its pid stays its own from here on.
    Stat::read(pid).ok().flatten().is_some_and(is_ours)
        && PidFd::open(pid)
            .ok()
            .flatten()
            .is_some_and(|process| matches!(process.try_wait(Look::Reap), Ok(Waited::Ended(_))))
}

impl OfProcesses for OwnChildren {
    fn present(&self, operation: Operation) -> Result<()> {
        self.refuse_removed(operation)
    }

    fn describe(&self, error: Error) -> Error {
        self.error(error)
    }
}

impl GroupOps for OwnChildren {
    fn id(&self) -> &GroupId {
        &self.id
    }

    fn capabilities(&self) -> &Capabilities {
        &self.capabilities
    }

    lacking!();
    starts_nothing!();

    /// It holds no process by a descriptor between two calls.
    fn handles(&self) -> Vec<RawFd> {
        Vec::new()
    }

    fn members(&self) -> Result<Vec<Member>> {
        self.look(Operation::Members)
    }

    fn populated(&self) -> Result<bool> {
        Ok(!self.look(Operation::Populated)?.is_empty())
    }

    fn signal(&self, signal: Signal) -> Result<Signalled> {
        self.look(Operation::Signal)?;
        let pass = tree().signal(signal, &[], &Struck::default());
        pass.map_err(|error| self.error(error))
            .map(|pass| pass.described(|error| self.error(error)))
    }

    fn kill(&self) -> Result<KillStep> {
        self.signal(Signal::KILL).map(KillStep::Signalled)
    }

    fn request_freeze(&self) -> Result<()> {
        self.signal(Signal::STOP).map(drop)
    }

    fn request_thaw(&self) -> Result<()> {
        self.signal(Signal::CONT).map(drop)
    }

    fn frozen(&self) -> Result<FreezeState> {
        self.refuse_removed(Operation::Freeze)?;
        tree().frozen().map_err(|error| self.error(error))
    }

    fn usage(&self) -> Result<Usage> {
        self.refuse_removed(Operation::Usage)?;
        let usage = tree().usage().map_err(|error| self.error(error))?;
        // This process's own children of before, and those that somebody else waits for, are among it.
        Ok(Usage { cpu: None, cpu_user: None, cpu_system: None, ..usage })
    }

    /// One living member's pidfd: when it ends, the next one's.
    fn watch(&self, change: Change) -> Result<Watch> {
        let members = self.look(Operation::Watch)?;
        match change {
            Change::Empty => {}
            Change::Frozen => return Ok(Watch::Backoff),
            Change::Oom => return self.lacks(Operation::Watch),
        }
        let member = PidFd::first_living(members.iter().rev().map(|member| member.pid));
        let member = member.map_err(|e| self.error(Error::from_io(Operation::Watch, &e)))?;
        Ok(member.map_or(Watch::Backoff, |member| Watch::Sources(vec![member.source()])))
    }

    /// Adopted ones alone: for a child that this process started somebody may hold a handle, which
    /// must not end up with a stranger's pid.
    fn reap(&self) -> Result<Reaped> {
        let mut orphans = self.orphans.lock().unwrap_or_else(PoisonError::into_inner);
        let known = orphans.len();
        orphans.retain(|pid, started| !reap_adopted(*pid, *started));
        Ok(Reaped { count: known - orphans.len() })
    }

    fn remove(&self) -> Result<()> {
        if !self.look(Operation::Remove)?.is_empty() {
            return Err(self.error(Error::new(ErrorKind::Busy, Operation::Remove)));
        }
        self.reap()?;
        // A walk may miss who is re-parented meanwhile (proc(5)): nobody would reap him later.
        if self.has_adopted() {
            return Err(self.error(Error::new(ErrorKind::Busy, Operation::Remove)));
        }
        self.removed.store(true, Ordering::Release);
        Ok(())
    }
}
