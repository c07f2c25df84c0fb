//! A driver of one's own: whatever changes something is written down, with what came of it, and is done by
//! another driver. `docs/DRIVERS.md` goes through it; it passes `tests/conformance`.
//!
//! `cargo run --example audited_driver`

use std::os::fd::RawFd;
use std::sync::{Arc, Mutex, PoisonError};

use backend_pgrp::{Keeper, ProcessGroups};
use containment::{
    Applied, Backend, Capabilities, CgroupOps, Change, ChildOps, Containment, ControllerSet,
    FreezeState, GroupId, GroupName, GroupOps, HomeOps, KillStep, Limits, Member, Pid, Policy,
    Program, Reaped, Result, Signal, Signalled, Usage, Waiter, Watch,
};

pub(crate) fn main() -> Result<()> {
    let log = Log::default();
    let driver = ProcessGroups::probe(Keeper::None)?;
    let host = Containment::with(Audited::over(driver, &log));
    let job = host.group(format!("audited-{}", std::process::id())).create()?;
    job.spawn(&Program::new("sleep").arg("1000"))?;
    let report = job.terminate(&Policy::kill())?;
    log.lines().iter().for_each(|line| println!("{line}"));
    assert!(report.is_clean(), "somebody survived: {:?}", report.survivors);
    Ok(())
}

/// What was done so far, a line each.
#[derive(Debug, Clone, Default)]
pub(crate) struct Log(Arc<Mutex<Vec<String>>>);

impl Log {
    /// What was done so far.
    pub(crate) fn lines(&self) -> Vec<String> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Writes down what came of it, and hands that on.
    fn told<T>(&self, what: &str, name: &GroupName, result: Result<T>) -> Result<T> {
        let line = match &result {
            Ok(_) => format!("{what} {name}"),
            Err(error) => format!("{what} {name}: {error}"),
        };
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(line);
        result
    }
}

/// The driver: one way of containing processes.
#[derive(Debug)]
pub(crate) struct Audited {
    driver: Box<dyn CgroupOps>,
    log: Log,
}

impl Audited {
    /// Lets `driver` do the work.
    pub(crate) fn over(driver: impl CgroupOps + 'static, log: &Log) -> Self {
        Self { driver: Box::new(driver), log: log.clone() }
    }

    fn audited(&self, ops: Box<dyn GroupOps>) -> Box<dyn GroupOps> {
        Box::new(AuditedGroup { ops, log: self.log.clone() })
    }
}

impl CgroupOps for Audited {
    fn backend(&self) -> Backend {
        self.driver.backend()
    }
    // What is promised here is what the suite holds the driver to.
    fn capabilities(&self) -> &Capabilities {
        self.driver.capabilities()
    }
    fn waiter(&self) -> Arc<dyn Waiter> {
        self.driver.waiter()
    }
    fn create(&self, name: &GroupName, with: ControllerSet) -> Result<Box<dyn GroupOps>> {
        let made = self.driver.create(name, with);
        self.log.told("create", name, made).map(|ops| self.audited(ops))
    }
    fn open(&self, id: &GroupId) -> Result<Box<dyn GroupOps>> {
        self.driver.open(id).map(|ops| self.audited(ops))
    }
    fn list(&self) -> Result<Vec<GroupId>> {
        self.driver.list()
    }
}

/// One open group.
#[derive(Debug)]
struct AuditedGroup {
    ops: Box<dyn GroupOps>,
    log: Log,
}

impl AuditedGroup {
    fn told<T>(&self, what: &str, result: Result<T>) -> Result<T> {
        self.log.told(what, &self.ops.id().name, result)
    }

    /// The same for a group inside it: nobody gets hold of a group that is not audited.
    fn inside(&self, ops: Box<dyn GroupOps>) -> Box<dyn GroupOps> {
        Box::new(Self { ops, log: self.log.clone() })
    }
}

impl GroupOps for AuditedGroup {
    fn id(&self) -> &GroupId {
        self.ops.id()
    }
    fn capabilities(&self) -> &Capabilities {
        self.ops.capabilities()
    }
    fn leave_mark(&self, mark: &str) -> Result<bool> {
        self.ops.leave_mark(mark)
    }
    fn mark(&self) -> Result<Option<String>> {
        self.ops.mark()
    }
    fn spawn(&self, program: &Program) -> Result<Box<dyn ChildOps>> {
        self.told("spawn in", self.ops.spawn(program))
    }
    fn attach(&self, pid: Pid) -> Result<()> {
        self.told("attach to", self.ops.attach(pid))
    }
    fn home(&self) -> Result<Box<dyn HomeOps>> {
        self.ops.home()
    }
    fn subgroup(&self, name: &GroupName, with: ControllerSet) -> Result<Box<dyn GroupOps>> {
        self.told("divide", self.ops.subgroup(name, with)).map(|ops| self.inside(ops))
    }
    fn subgroups(&self) -> Result<Vec<Box<dyn GroupOps>>> {
        Ok(self.ops.subgroups()?.into_iter().map(|ops| self.inside(ops)).collect())
    }
    fn program_runs(&self) -> bool {
        self.ops.program_runs()
    }
    fn members(&self) -> Result<Vec<Member>> {
        self.ops.members()
    }
    fn populated(&self) -> Result<bool> {
        self.ops.populated()
    }
    fn signal(&self, signal: Signal) -> Result<Signalled> {
        self.told("signal", self.ops.signal(signal))
    }
    fn kill(&self) -> Result<KillStep> {
        self.told("kill", self.ops.kill())
    }
    fn request_freeze(&self) -> Result<()> {
        self.told("freeze", self.ops.request_freeze())
    }
    fn request_thaw(&self) -> Result<()> {
        self.told("thaw", self.ops.request_thaw())
    }
    fn frozen(&self) -> Result<FreezeState> {
        self.ops.frozen()
    }
    fn set_limits(&self, limits: &Limits) -> Result<Applied> {
        self.told("limit", self.ops.set_limits(limits))
    }
    fn usage(&self) -> Result<Usage> {
        self.ops.usage()
    }
    fn oom_kills(&self) -> Result<u64> {
        self.ops.oom_kills()
    }
    fn watch(&self, change: Change) -> Result<Watch> {
        self.ops.watch(change)
    }
    fn reap(&self) -> Result<Reaped> {
        self.ops.reap()
    }
    fn remove(&self) -> Result<()> {
        self.told("remove", self.ops.remove())
    }
    fn handles(&self) -> Vec<RawFd> {
        self.ops.handles()
    }
}
