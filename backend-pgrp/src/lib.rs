//! The process-group driver, for hosts without cgroups.
//!
//! With a [`Keeper`], a small process stands between us and the program: it is the sub-reaper of this
//! group only, so that membership is descent from it, its last child's end is the event that the group
//! is empty, and it ends the group when we die. A member that calls `setsid` is found all the same.
//! Without one, the group is the program's process group: its leader is held unreaped, so that the
//! group's id cannot be re-used, and a member that leaves is lost, which the capabilities say.
//!
//! No limit is offered, since none would hold for a group (the caller is told so for each):
//! - memory, processes: rlimits count a process, or all of a user's (`RLIMIT_AS`, `RLIMIT_NPROC`), never a group;
//! - CPU time, swap, I/O per device, huge pages: the kernel has no call for them;
//! - CPUs, memory nodes: what `sched_setaffinity` and `set_mempolicy` set, each member may set anew, unprivileged;
//! - shares: `nice` and `ioprio` weigh a process, so that a group of many gets many shares.
//!
//! Figures are those of the members in `/proc`: resident memory (shared pages count with each that has them),
//! processes and threads; with a keeper CPU time too, of who ended as well.
//!
//! The supervisor's other children are never touched and its SIGCHLD disposition is never changed.
#![forbid(unsafe_code)]

mod held;
mod keeper;
mod keepers;
mod kept;
mod lacking;
mod line;
mod lost;
mod message;
mod names;
mod own;
mod tree;

use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use containment_core::{
    Backend, Capabilities, CgroupOps, ControllerSet, Empty, Error, ErrorKind, Escape, Freeze,
    GroupId, GroupName, GroupOps, Kill, LeaveBy, Measure, Operation, Pid, Result, Set,
    SystemWaiter, Waiter,
};
use containment_process::pidfd::{Look, PidFd};
use containment_process::proc::Snapshot;
use containment_process::reap::become_sub_reaper;

pub use keeper::{KeeperConfig, keep};
pub use keepers::{KeeperSpawner, Order, Recorder};
pub use lost::Trace;
pub use own::OwnChildren;

use keepers::KeeperSource;
use names::Names;

/// What holds the processes of a group together.
///
/// ```standalone_crate
/// use backend_pgrp::{Keeper, ProcessGroups};
/// use containment_core::{CgroupOps, ControllerSet, Escape, Group, Policy, Program};
///
/// let driver = ProcessGroups::probe(Keeper::Worker)?;
/// assert_eq!(driver.capabilities().escape, Escape::Swept);
/// let made = driver.create(&"job".parse()?, ControllerSet::EMPTY)?;
/// let job = Group::new(made, driver.waiter());
/// job.spawn(&Program::new("sh").args(["-c", "setsid sleep 1000 & exit 0"]))?.wait()?;
/// assert!(job.terminate(&Policy::kill())?.is_clean(), "it is found in its session");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Keeper {
    /// Nothing: the leader is held unreaped, and a member that calls `setsid` is lost.
    None,
    /// A fork of this process for each program. This process must be single-threaded at every spawn,
    /// serve one group only, and have no children of its own: it becomes a sub-reaper, and should a
    /// keeper be killed, everything that descends from it is taken for the group's.
    ///
    /// It ends the group when this process dies.
    Worker,
    /// The same, and it leaves the group alone when this process dies.
    Lasting,
}

/// The driver of process groups.
///
/// ```
/// use backend_pgrp::{Keeper, ProcessGroups};
/// use containment_core::{CgroupOps, ControllerSet, Escape, Group, Policy, Program};
///
/// let driver = ProcessGroups::probe(Keeper::None)?;
/// driver.prove()?;
/// assert_eq!(driver.capabilities().escape, Escape::Voluntary);
/// let made = driver.create(&"job".parse()?, ControllerSet::EMPTY)?;
/// let job = Group::new(made, driver.waiter());
/// job.spawn(&Program::new("sh").args(["-c", "sleep 1000 & exit 0"]))?.wait()?;
/// let report = job.terminate(&Policy::kill())?;
/// assert!(report.is_clean() && report.left_behind.len() == 1);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct ProcessGroups {
    keeper: Keeper,
    keepers: KeeperSource,
    capabilities: Capabilities,
    names: Arc<Names>,
    waiter: Arc<SystemWaiter>,
}

impl ProcessGroups {
    /// Finds out whether the kernel has what it takes: pidfds, and waits by them (Linux 5.4).
    ///
    /// # Errors
    /// [`Unusable`](ErrorKind::Unusable), with the reason and a remedy.
    pub fn probe(keeper: Keeper) -> Result<Self> {
        // We are no child of ours, which is told where such a wait is known.
        let us = PidFd::open(Pid::current());
        let waited = us.and_then(|us| us.map(|us| us.try_wait(Look::Hold)).transpose());
        waited.map_err(|error| match error.kind() {
            std::io::ErrorKind::Unsupported | std::io::ErrorKind::InvalidInput => unusable(&error)
                .because("the kernel does not wait for processes by pidfd")
                .advise("use Linux 5.4 or later"),
            _ => unusable(&error),
        })?;
        Ok(Self {
            keeper,
            keepers: KeeperSource::Own(None),
            capabilities: capabilities(keeper),
            names: Arc::default(),
            waiter: Arc::new(SystemWaiter::new()),
        })
    }

    /// Has what becomes of programs written down by their keepers, where this process forks those.
    #[must_use]
    pub fn recorded_by(mut self, recorder: Arc<dyn Recorder>) -> Self {
        self.keepers = KeeperSource::Own(Some(recorder));
        self
    }

    /// Has keepers made by somebody else. This process may have threads and children then, and serve any
    /// number of groups; `lasting` ones are left alone when it dies.
    #[must_use]
    pub fn kept_by(mut self, spawner: Arc<dyn KeeperSpawner>, lasting: bool) -> Self {
        self.keeper = if lasting { Keeper::Lasting } else { Keeper::Worker };
        self.capabilities = capabilities(self.keeper);
        self.keepers = KeeperSource::Other(spawner);
        self
    }

    /// Proves that groups work here: `/proc` can be read, from which members are told.
    ///
    /// # Errors
    /// [`Unusable`](ErrorKind::Unusable), with the reason and a remedy.
    pub fn prove(&self) -> Result<()> {
        let us = [Pid::current()];
        Snapshot::below(&us, &us).map(drop).map_err(|error| {
            unusable(&error)
                .because("/proc cannot be read")
                .advise("as root: mount -t proc proc /proc")
        })
    }
}

impl ProcessGroups {
    /// What there is of groups that another process made, as one group: whoever carries one of their ids in the
    /// variable `CONTAIN_GROUP`, their programs with the groups and the sessions that these lead, their
    /// descendants, and those of their keepers. `None` without an id.
    pub fn lost(&self, ids: Vec<GroupId>, trace: Trace) -> Option<Box<dyn GroupOps>> {
        let marks = ids.iter().map(|id| id.to_string().into_bytes()).collect();
        Some(Box::new(lost::LostGroup {
            id: ids.into_iter().next()?,
            marks,
            capabilities: self.capabilities.clone(),
            trace,
            removed: AtomicBool::new(false),
        }))
    }

    /// Everything that descends from this process, as a group, whatever became of it. For a process
    /// that is a sub-reaper and whose only children were a group's.
    ///
    /// # Errors
    /// [`AlreadyExists`](ErrorKind::AlreadyExists) when a group of this driver has the name.
    pub fn descendants(&self, name: &GroupName) -> Result<Box<dyn GroupOps>> {
        let claim = Names::claim(&self.names, name)?;
        Ok(Box::new(kept::KeptGroup::of_orphans(claim, self.capabilities.clone())))
    }
}

fn unusable(error: &std::io::Error) -> Error {
    Error::from_io(Operation::Probe, error)
        .with_kind(ErrorKind::Unusable)
        .with_backend(Backend::ProcessGroup)
}

impl CgroupOps for ProcessGroups {
    fn backend(&self) -> Backend {
        Backend::ProcessGroup
    }

    fn capabilities(&self) -> &Capabilities {
        &self.capabilities
    }

    fn waiter(&self) -> Arc<dyn Waiter> {
        Arc::<SystemWaiter>::clone(&self.waiter)
    }

    fn create(&self, name: &GroupName, with: ControllerSet) -> Result<Box<dyn GroupOps>> {
        if !with.is_empty() {
            return Err(unsupported(Operation::SetLimits).with_group(name));
        }
        if self.keeper != Keeper::None && matches!(self.keepers, KeeperSource::Own(_)) {
            become_sub_reaper().map_err(|error| {
                Error::from_io(Operation::Create, &error).with_backend(Backend::ProcessGroup)
            })?;
        }
        let claim = Names::claim(&self.names, name)?;
        let capabilities = self.capabilities.clone();
        Ok(match self.keeper {
            Keeper::None => Box::new(held::HeldGroup::new(claim, capabilities)),
            Keeper::Worker | Keeper::Lasting => {
                let lasting = self.keeper == Keeper::Lasting;
                Box::new(kept::KeptGroup::new(claim, capabilities, self.keepers.clone(), lasting))
            }
        })
    }

    fn open(&self, id: &GroupId) -> Result<Box<dyn GroupOps>> {
        Err(unsupported(Operation::Open)
            .with_group(&id.name)
            .because("the kernel knows process groups by no name"))
    }

    fn list(&self) -> Result<Vec<GroupId>> {
        Ok(self.names.ids())
    }
}

fn capabilities(keeper: Keeper) -> Capabilities {
    let usage = Set::EMPTY.with(Measure::Memory).with(Measure::Pids);
    let (escape, usage) = match keeper {
        Keeper::None => (Escape::Voluntary, usage),
        Keeper::Worker | Keeper::Lasting => (Escape::Swept, usage.with(Measure::Cpu)),
    };
    Capabilities {
        kill: Kill::Repeated,
        escape,
        leave_by: LeaveBy::None,
        empty: Empty::Notified,
        freeze: Freeze::StopSignal,
        nesting: false,
        attach: false,
        limits: Set::EMPTY,
        usage,
    }
}

fn unsupported(operation: Operation) -> Error {
    let why = match operation {
        Operation::SetLimits => "no rlimit or scheduler call holds for a process group as a whole",
        _ => "process groups do not have it",
    };
    Error::new(ErrorKind::Unsupported, operation)
        .with_backend(Backend::ProcessGroup)
        .because(why)
        .advise("use a cgroup backend; contain doctor tells which one this host has")
}
