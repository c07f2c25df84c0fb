//! One open group: its directories, its identity and what was started in it.

use std::os::fd::{AsRawFd, RawFd};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use containment_core::{
    Applied, Backend, Capabilities, Change, ChildOps, ControllerSet, Error, ErrorKind, FreezeState,
    GroupId, GroupName, GroupOps, HomeOps, Identity, KillStep, Limits, Member, Operation, Pid,
    Program, Reaped, Result, Signal, Signalled, Usage, Watch,
};
use containment_process::child::Programs;

use crate::branches::{Branches, Top};
use crate::control::Watched;
use crate::driver::Driver;
use crate::home::V1Home;

/// A group of several hierarchies.
#[derive(Debug)]
pub(crate) struct V1Group {
    driver: Arc<Driver>,
    pub(crate) id: GroupId,
    capabilities: Capabilities,
    pub(crate) branches: Branches,
    /// How often it was killed: a spawn that sees this change never runs its program.
    pub(crate) kills: AtomicU64,
    /// Whether a kill has signalled everybody once, so that whoever is left needs the freezer.
    pub(crate) struck: AtomicBool,
    pub(crate) programs: Programs,
    watched: Mutex<Option<Watched>>,
    removed: AtomicBool,
}

impl V1Group {
    pub(crate) fn new(driver: &Arc<Driver>, branches: Branches) -> Self {
        let identity = Identity::Cgroup(branches.identity());
        Self {
            driver: Arc::clone(driver),
            id: GroupId { backend: Backend::CgroupV1, name: branches.name.clone(), identity },
            capabilities: driver.capabilities_of(&branches.joined()),
            branches,
            kills: AtomicU64::new(0),
            struck: AtomicBool::new(false),
            programs: Programs::default(),
            watched: Mutex::default(),
            removed: AtomicBool::new(false),
        }
    }

    fn as_top(&self) -> Top<'_> {
        Top { place: &self.driver.place, outer: Some(&self.branches) }
    }

    pub(crate) fn watched(&self) -> MutexGuard<'_, Option<Watched>> {
        self.watched.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn refuse_removed(&self, operation: Operation) -> Result<()> {
        if self.removed.load(Ordering::Acquire) {
            return Err(self.error(Error::new(ErrorKind::Gone, operation)));
        }
        Ok(())
    }

    pub(crate) fn error(&self, error: Error) -> Error {
        error.with_backend(Backend::CgroupV1).with_group(&self.id.name)
    }
}

impl GroupOps for V1Group {
    fn id(&self) -> &GroupId {
        &self.id
    }

    fn capabilities(&self) -> &Capabilities {
        &self.capabilities
    }

    fn leave_mark(&self, mark: &str) -> Result<bool> {
        self.refuse_removed(Operation::Register)?;
        let Some(first) = self.branches.all.first() else { return Ok(false) };
        let left = first.dir.leave_mark(mark);
        left.map_err(|failure| self.failed(Operation::Register, failure))
    }

    fn mark(&self) -> Result<Option<String>> {
        self.refuse_removed(Operation::Register)?;
        let Some(first) = self.branches.all.first() else { return Ok(None) };
        first.dir.mark().map_err(|failure| self.failed(Operation::Register, failure))
    }

    fn spawn(&self, program: &Program) -> Result<Box<dyn ChildOps>> {
        self.refuse_removed(Operation::Spawn)?;
        let child = self.start(program)?;
        self.programs.add(child.clone());
        Ok(Box::new(child))
    }

    fn attach(&self, pid: Pid) -> Result<()> {
        self.refuse_removed(Operation::Attach)?;
        self.move_in(pid)
    }

    fn home(&self) -> Result<Box<dyn HomeOps>> {
        self.refuse_removed(Operation::Attach)?;
        Ok(Box::new(V1Home::of_caller(&self.branches).map_err(|error| self.error(error))?))
    }

    fn subgroup(&self, name: &GroupName, with: ControllerSet) -> Result<Box<dyn GroupOps>> {
        self.refuse_removed(Operation::Create)?;
        let made = self.driver.create(self.as_top(), name, with).map_err(|error| {
            let vanished = error.kind() == ErrorKind::NotFound && self.branches.are_gone();
            if vanished { self.error(error.with_kind(ErrorKind::Gone)) } else { error }
        });
        Ok(Box::new(made?))
    }

    fn subgroups(&self) -> Result<Vec<Box<dyn GroupOps>>> {
        self.refuse_removed(Operation::List)?;
        let Some(first) = self.branches.all.first() else { return Ok(Vec::new()) };
        let names = first.dir.groups();
        let names = names.map_err(|failure| self.failed(Operation::List, failure))?;
        let mut groups: Vec<Box<dyn GroupOps>> = Vec::new();
        for name in names {
            match self.driver.open(self.as_top(), &name) {
                Ok(group) => groups.push(Box::new(group)),
                Err(error) if error.is_gone() => {}
                Err(error) => return Err(error),
            }
        }
        Ok(groups)
    }

    fn program_runs(&self) -> bool {
        self.programs.any_runs()
    }

    fn members(&self) -> Result<Vec<Member>> {
        self.refuse_removed(Operation::Members)?;
        let members = self.programs.members(self.pids(Operation::Members)?);
        members.map_err(|error| self.error(error))
    }

    fn populated(&self) -> Result<bool> {
        self.refuse_removed(Operation::Populated)?;
        self.is_populated()
    }

    fn signal(&self, signal: Signal) -> Result<Signalled> {
        self.refuse_removed(Operation::Signal)?;
        self.signal_pass(signal, Operation::Signal)
    }

    fn kill(&self) -> Result<KillStep> {
        self.refuse_removed(Operation::Kill)?;
        self.kill_step()
    }

    fn request_freeze(&self) -> Result<()> {
        self.refuse_removed(Operation::Freeze)?;
        self.freeze()
    }

    fn request_thaw(&self) -> Result<()> {
        self.refuse_removed(Operation::Thaw)?;
        self.thaw()
    }

    fn frozen(&self) -> Result<FreezeState> {
        self.refuse_removed(Operation::Freeze)?;
        self.freeze_state(Operation::Freeze)
    }

    fn set_limits(&self, limits: &Limits) -> Result<Applied> {
        self.refuse_removed(Operation::SetLimits)?;
        Ok(self.branches.set_limits(limits).described(|error| self.error(error)))
    }

    fn usage(&self) -> Result<Usage> {
        self.refuse_removed(Operation::Usage)?;
        self.branches.usage().map_err(|failure| self.failed(Operation::Usage, failure))
    }

    fn oom_kills(&self) -> Result<u64> {
        self.refuse_removed(Operation::Usage)?;
        self.branches.oom_kills().map_err(|error| self.error(error))
    }

    fn watch(&self, change: Change) -> Result<Watch> {
        self.refuse_removed(Operation::Watch)?;
        match change {
            Change::Oom => self.branches.watch_oom().map_err(|error| self.error(error)),
            Change::Empty => self.watch_empty(),
            // Reading the state is what completes a freeze, so nothing could announce it.
            Change::Frozen => Ok(Watch::Backoff),
        }
    }

    fn reap(&self) -> Result<Reaped> {
        self.refuse_removed(Operation::Reap)?;
        self.programs.reap()
    }

    fn handles(&self) -> Vec<RawFd> {
        let mut handles = self.branches.handles();
        handles.extend(self.watched().iter().map(|watched| watched.process.as_raw_fd()));
        handles.extend(self.programs.handles());
        handles
    }

    fn remove(&self) -> Result<()> {
        self.refuse_removed(Operation::Remove)?;
        let failed = |failure| self.failed(Operation::Remove, failure);
        self.programs.refuse_dying(&self.id.name).map_err(|error| self.error(error))?;
        let nested = self.branches.are_nested().map_err(failed)?;
        self.branches.remove(nested).map_err(failed)?;
        self.removed.store(true, Ordering::Release);
        // Who died between the last reaping and the removal; nobody asks the group for it again.
        if let Err(error) = self.programs.reap() {
            tracing::warn!(%error, group = %self.id.name, "a program may be left a zombie");
        }
        Ok(())
    }
}
