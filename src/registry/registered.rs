//! Drivers and groups that keep themselves on record.

use std::os::fd::RawFd;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use containment_core::{
    Applied, Backend, Capabilities, CgroupOps, Change, ChildOps, ControllerSet, Error, ErrorKind,
    FreezeState, GroupId, GroupName, GroupOps, HomeOps, KillStep, Limits, Member, Operation, Pid,
    Program, Reaped, Result, Signal, Signalled, Usage, Waiter, Watch,
};
use containment_process::proc::Base;

use super::{Claim, Process, Registry, Tenure};
use crate::keeping::{Helper, Keep, spawn_kept};
use crate::{GROUP_VARIABLE, with_group_variable};

/// A driver whose groups are on record from before they are made until they are removed.
#[derive(Debug)]
pub(crate) struct RegisteredDriver {
    pub(crate) driver: Arc<dyn CgroupOps>,
    pub(crate) registry: Registry,
    pub(crate) tenure: Tenure,
    /// Whether a group that cannot be put on record is not made.
    pub(crate) is_vital: bool,
    pub(crate) parent: Option<PathBuf>,
    /// Where this process was when the driver was found: from there it makes its groups, wherever this process is
    /// by then.
    pub(crate) base: Base,
    /// Who keeps programs that are to outlive us.
    pub(crate) keep: Option<Keep>,
    /// Who ends the groups should we be killed.
    pub(crate) guard: Option<Arc<Helper>>,
}

impl CgroupOps for RegisteredDriver {
    fn backend(&self) -> Backend {
        self.driver.backend()
    }

    fn capabilities(&self) -> &Capabilities {
        self.driver.capabilities()
    }

    fn waiter(&self) -> Arc<dyn Waiter> {
        self.driver.waiter()
    }

    fn create(&self, name: &GroupName, with: ControllerSet) -> Result<Box<dyn GroupOps>> {
        let backend = self.driver.backend();
        if let Some(guard) = &self.guard
            && let Err(error) = guard.stand()
        {
            tracing::warn!(group = %name, "{error:#}; nobody will end the group should we be killed");
        }
        let claim = match self.claim(name) {
            Ok(claim) => claim,
            Err(error) if self.is_vital || error.kind() == ErrorKind::AlreadyExists => {
                return Err(error.with_backend(backend));
            }
            Err(error) => {
                tracing::warn!("{:#}; the group cannot be recovered", error.with_group(name));
                return self.driver.create(name, with);
            }
        };
        match self.driver.create(name, with).and_then(|group| marked(group, &claim)) {
            Ok(group) => Ok(Box::new(RegisteredGroup::new(group, claim, self))),
            Err(error) => {
                forget(claim);
                Err(error)
            }
        }
    }

    fn open(&self, id: &GroupId) -> Result<Box<dyn GroupOps>> {
        self.driver.open(id)
    }

    fn list(&self) -> Result<Vec<GroupId>> {
        self.driver.list()
    }
}

impl RegisteredDriver {
    fn claim(&self, name: &GroupName) -> Result<Claim> {
        let (backend, parent) = (self.driver.backend(), self.parent.as_deref());
        self.registry.claim_from(&self.base, name, backend, parent, self.tenure)
    }
}

/// The group with the mark by which it is known to be the one on record.
fn marked(group: Box<dyn GroupOps>, claim: &Claim) -> Result<Box<dyn GroupOps>> {
    match group.leave_mark(&claim.entry().mark) {
        Ok(_) => Ok(group),
        Err(error) => {
            // What went wrong first is what gets reported.
            let _ = group.remove();
            Err(error)
        }
    }
}

fn forget(claim: Claim) {
    if let Err(error) = claim.release() {
        tracing::warn!(
            "{error:#}; the entry of a group that is gone stays on record, run: contain gc"
        );
    }
}

/// A group on record.
#[derive(Debug)]
struct RegisteredGroup {
    group: Box<dyn GroupOps>,
    claim: Mutex<Option<Claim>>,
    registry: Registry,
    keep: Option<Keep>,
    /// It stands for as long as there is a group.
    _guard: Option<Arc<Helper>>,
    /// How often it was killed, and how many spawns by others are under way: one that began before a kill
    /// is not to run after it (K49).
    kills: AtomicU64,
    spawning: AtomicUsize,
}

impl RegisteredGroup {
    fn new(group: Box<dyn GroupOps>, mut claim: Claim, driver: &RegisteredDriver) -> Self {
        warn_of(claim.identify(group.id().identity));
        // Process groups have keepers of their own.
        let has_keepers = group.id().backend == Backend::ProcessGroup;
        Self {
            group,
            claim: Mutex::new(Some(claim)),
            registry: driver.registry.clone(),
            keep: driver.keep.clone().filter(|_| !has_keepers),
            _guard: driver.guard.clone(),
            kills: AtomicU64::new(0),
            spawning: AtomicUsize::new(0),
        }
    }

    /// Has a keeper start a program that is to outlive us, and its status with it.
    fn spawn_kept(&self, keep: &Keep, program: &Program) -> Result<Box<dyn ChildOps>> {
        let before = self.kills.load(Ordering::SeqCst);
        self.spawning.fetch_add(1, Ordering::SeqCst);
        let spawned = spawn_kept(keep, &*self.group, &self.registry, program).and_then(|child| {
            if self.kills.load(Ordering::SeqCst) == before {
                return Ok(child);
            }
            child.signal(Signal::KILL)?;
            Err(Error::new(ErrorKind::Killed, Operation::Spawn)
                .with_backend(self.id().backend)
                .with_group(&self.id().name))
        });
        self.spawning.fetch_sub(1, Ordering::SeqCst);
        Ok(Box::new(spawned?))
    }

    /// Whether a spawn is under way that a kill has to wait for.
    fn is_awaited(&self) -> bool {
        self.kills.load(Ordering::SeqCst) > 0 && self.spawning.load(Ordering::SeqCst) > 0
    }

    /// Where the kernel knows the group by no name, it is found by its program.
    fn note_program(&self, pid: Pid) -> Result<()> {
        if self.group.id().backend != Backend::ProcessGroup {
            return Ok(());
        }
        let mut claim = self.claim.lock().unwrap_or_else(PoisonError::into_inner);
        match (claim.as_mut(), Process::of(pid)?) {
            (Some(claim), Some(program)) => claim.note_program(program),
            _ => Ok(()),
        }
    }
}

fn warn_of(recorded: Result<()>) {
    if let Err(error) = recorded {
        tracing::warn!("{error:#}; the record of the group is incomplete: it may not be recovered");
    }
}

impl GroupOps for RegisteredGroup {
    /// The program is told its group, by which `gc` knows whom a process group that lost its keeper has left.
    fn spawn(&self, program: &Program) -> Result<Box<dyn ChildOps>> {
        let told = (!program.sets(GROUP_VARIABLE))
            .then(|| with_group_variable(program.clone(), self.id()));
        let program = told.as_ref().unwrap_or(program);
        if let Some(keep) = &self.keep {
            return self.spawn_kept(keep, program);
        }
        let child = self.group.spawn(program)?;
        warn_of(self.note_program(child.pid()));
        Ok(child)
    }

    fn remove(&self) -> Result<()> {
        let removed = self.group.remove();
        let gone = |error: &Error| error.kind() == ErrorKind::Gone;
        if removed.as_ref().err().is_none_or(gone) {
            let claim = self.claim.lock().unwrap_or_else(PoisonError::into_inner).take();
            let lasting = claim.as_ref().is_some_and(|claim| claim.entry().owner.is_none());
            if lasting {
                warn_of(self.registry.forget(&self.group.id().name));
            }
            claim.into_iter().for_each(forget);
        }
        removed
    }

    fn id(&self) -> &GroupId {
        self.group.id()
    }

    fn capabilities(&self) -> &Capabilities {
        self.group.capabilities()
    }

    fn leave_mark(&self, _: &str) -> Result<bool> {
        Err(Error::new(ErrorKind::Unsupported, Operation::Register)
            .with_backend(self.id().backend)
            .with_group(&self.id().name)
            .because("it carries the mark by which it is on record"))
    }

    fn mark(&self) -> Result<Option<String>> {
        self.group.mark()
    }

    fn attach(&self, pid: Pid) -> Result<()> {
        self.group.attach(pid)
    }

    fn home(&self) -> Result<Box<dyn HomeOps>> {
        self.group.home()
    }

    fn subgroup(&self, name: &GroupName, with: ControllerSet) -> Result<Box<dyn GroupOps>> {
        self.group.subgroup(name, with)
    }

    fn subgroups(&self) -> Result<Vec<Box<dyn GroupOps>>> {
        self.group.subgroups()
    }

    fn program_runs(&self) -> bool {
        self.group.program_runs()
    }

    fn members(&self) -> Result<Vec<Member>> {
        self.group.members()
    }

    fn populated(&self) -> Result<bool> {
        Ok(self.is_awaited() || self.group.populated()?)
    }

    fn signal(&self, signal: Signal) -> Result<Signalled> {
        self.group.signal(signal)
    }

    fn kill(&self) -> Result<KillStep> {
        self.kills.fetch_add(1, Ordering::SeqCst);
        self.group.kill()
    }

    fn request_freeze(&self) -> Result<()> {
        self.group.request_freeze()
    }

    fn hold_still(&self) -> Result<Option<Vec<Member>>> {
        self.group.hold_still()
    }

    fn request_thaw(&self) -> Result<()> {
        self.group.request_thaw()
    }

    fn frozen(&self) -> Result<FreezeState> {
        self.group.frozen()
    }

    fn set_limits(&self, limits: &Limits) -> Result<Applied> {
        self.group.set_limits(limits)
    }

    fn usage(&self) -> Result<Usage> {
        self.group.usage()
    }

    fn oom_kills(&self) -> Result<u64> {
        self.group.oom_kills()
    }

    fn watch(&self, change: Change) -> Result<Watch> {
        self.group.watch(change)
    }

    fn reap(&self) -> Result<Reaped> {
        self.group.reap()
    }

    fn handles(&self) -> Vec<RawFd> {
        self.group.handles()
    }
}
