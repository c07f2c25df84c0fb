//! The contract of a driver. A driver is mechanism: one method is one step (one pass over the whole
//! subtree is one step); none waits, none retries. Policy is in [`teardown`](crate::teardown).
//!
//! There are no default methods, so that nothing is dropped in silence: a driver that lacks an
//! operation answers [`ErrorKind::Unsupported`](crate::ErrorKind::Unsupported).

use std::fmt::Debug;
use std::os::fd::RawFd;
use std::sync::Arc;

use crate::{
    Applied, Backend, Capabilities, Error, GroupId, GroupName, Limit, Limits, Member, Outcome, Pid,
    Program, Result, Set, Signal, Usage, Waiter, Watch,
};

/// The controllers that a group needs, named by the limits that they serve.
pub type ControllerSet = Set<Limit>;

/// One way of containing processes on this host.
///
/// ```
/// use backend_fake::Fake;
/// use containment_core::{Backend, CgroupOps, ControllerSet, ErrorKind, Time};
///
/// let fake = Fake::new();
/// let driver: &dyn CgroupOps = &fake;
/// assert_eq!(driver.backend(), Backend::Fake);
/// assert!(driver.capabilities().nesting);
/// assert_eq!(driver.waiter().now(), Time::ZERO);
///
/// let group = driver.create(&"job".parse()?, ControllerSet::EMPTY)?;
/// let again = driver.create(&"job".parse()?, ControllerSet::EMPTY);
/// assert_eq!(again.unwrap_err().kind(), ErrorKind::AlreadyExists);
/// assert_eq!(driver.list()?, [group.id().clone()]);
/// driver.open(group.id())?.remove()?;
/// assert_eq!(driver.open(group.id()).unwrap_err().kind(), ErrorKind::NotFound);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[cfg_attr(feature = "mock", mockall::automock)]
pub trait CgroupOps: Debug + Send + Sync {
    /// Which way it is.
    fn backend(&self) -> Backend;
    /// What it guarantees.
    fn capabilities(&self) -> &Capabilities;
    /// The clock that its groups live by.
    fn waiter(&self) -> Arc<dyn Waiter>;
    /// Makes a group, and the levels of its name that are missing. Never adopts a namesake.
    ///
    /// # Errors
    /// [`AlreadyExists`](crate::ErrorKind::AlreadyExists) for a namesake;
    /// [`Unsupported`](crate::ErrorKind::Unsupported) for a controller that cannot be had here, and
    /// [`InternalProcesses`](crate::ErrorKind::InternalProcesses) where the parent group holds processes, and
    /// so hands none down. Nothing is left of the group then.
    fn create(&self, name: &GroupName, with: ControllerSet) -> Result<Box<dyn GroupOps>>;
    /// Opens an existing group: of this identity, not just of this name.
    ///
    /// # Errors
    /// [`NotFound`](crate::ErrorKind::NotFound) when it is gone, or its name is another group's;
    /// [`Unsupported`](crate::ErrorKind::Unsupported) where the kernel knows groups by no name;
    /// [`Unusable`](crate::ErrorKind::Unusable) where it may be in a hierarchy that is denied to us.
    fn open(&self, id: &GroupId) -> Result<Box<dyn GroupOps>>;
    /// The groups directly below the driver's parent group.
    ///
    /// # Errors
    /// [`Gone`](crate::ErrorKind::Gone) when the parent group was removed.
    fn list(&self) -> Result<Vec<GroupId>>;
}

/// One open group. Acts through handles, so never on a namesake; after [`remove`](Self::remove)
/// every call answers [`ErrorKind::Gone`](crate::ErrorKind::Gone).
///
/// Each call names the kinds of errors that mean something of its own. Besides those every one can fail with
/// `Gone` when somebody else removed the group, [`PermissionDenied`](crate::ErrorKind::PermissionDenied),
/// [`Malformed`](crate::ErrorKind::Malformed) for a text of the kernel that is not understood, and
/// [`System`](crate::ErrorKind::System), with the errno.
///
/// ```
/// use backend_fake::{Fake, Script};
/// use containment_core::{CgroupOps, Change, ControllerSet, ErrorKind, FreezeState, GroupOps};
/// use containment_core::{KillStep, Limits, Pid, Program, Signal, Watch};
///
/// let fake = Fake::new();
/// fake.program("make", Script::new());
/// let group = fake.create(&"job".parse()?, ControllerSet::EMPTY)?;
/// if group.leave_mark("ours")? {
///     assert_eq!(group.mark()?.as_deref(), Some("ours"));
/// }
/// assert!(group.handles().is_empty(), "the fake has no descriptors");
/// let child = group.spawn(&Program::new("make"))?;
/// group.attach(fake.start_outside(Script::new()))?;
/// assert_eq!(group.members()?.len(), 2);
/// assert!(group.program_runs() && group.populated()?);
/// assert!(group.set_limits(&Limits::new())?.refused.is_empty());
/// assert_eq!((group.usage()?.pids, group.oom_kills()?), (Some(2), 0));
///
/// assert_eq!(group.hold_still()?, None, "the fake looks for nobody to freeze");
/// group.request_freeze()?;
/// assert_eq!(group.frozen()?, FreezeState::Frozen);
/// group.request_thaw()?;
///
/// // There and back again.
/// let home = group.home()?;
/// group.attach(Pid::current())?;
/// home.take_back(Pid::current())?;
///
/// let inner = group.subgroup(&"inner".parse()?, ControllerSet::EMPTY)?;
/// assert_eq!(group.subgroups()?[0].id(), inner.id());
///
/// assert!(matches!(group.watch(Change::Empty)?, Watch::Virtual(_)));
/// assert_eq!(group.signal(Signal::CONT)?.count, 2);
/// assert!(matches!(group.kill()?, KillStep::Killed));
/// assert_eq!(group.remove().unwrap_err().kind(), ErrorKind::Busy, "they are dying still");
/// while group.populated()? {
///     fake.advance(std::time::Duration::from_millis(1));
///     group.reap()?;
/// }
/// assert!(child.try_wait()?.is_some());
/// group.remove()?;
/// assert_eq!(group.members().unwrap_err().kind(), ErrorKind::Gone);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[cfg_attr(feature = "mock", mockall::automock)]
pub trait GroupOps: Debug + Send + Sync {
    /// Its identity.
    fn id(&self) -> &GroupId;
    /// What this group guarantees.
    fn capabilities(&self) -> &Capabilities;
    /// Leaves a mark on the group that lasts as long as the group does, whoever opens it; whether it was
    /// kept.
    ///
    /// # Errors
    /// [`Unsupported`](crate::ErrorKind::Unsupported) where it carries one that is not to be changed. That
    /// the kernel keeps none is no error.
    fn leave_mark(&self, mark: &str) -> Result<bool>;
    /// The mark that was left on it, if one was.
    ///
    /// # Errors
    /// Those of every call.
    fn mark(&self) -> Result<Option<String>>;
    /// Starts a program that is a member before its first instruction. A group that is frozen is
    /// refused; so is one that is frozen while the spawn is under way, and stays so for half a second, unless it has a
    /// memory controller of its own: that holds the calling thread until it is thawed or killed.
    ///
    /// # Errors
    /// In [`Operation::Place`](crate::Operation::Place) what kept the program out of the group:
    /// - [`Frozen`](crate::ErrorKind::Frozen);
    /// - on cgroup v2 [`InternalProcesses`](crate::ErrorKind::InternalProcesses) and
    ///   [`DomainInvalid`](crate::ErrorKind::DomainInvalid);
    /// - on cgroup v1 [`InvalidInput`](crate::ErrorKind::InvalidInput), without a CPU or a memory node in the
    ///   group's cpuset, or without a real-time share for a program that needs one.
    ///
    /// In [`Operation::Spawn`](crate::Operation::Spawn) what kept it from running:
    /// - [`ProgramNotFound`](crate::ErrorKind::ProgramNotFound),
    ///   [`ProgramNotExecutable`](crate::ErrorKind::ProgramNotExecutable);
    /// - [`InvalidInput`](crate::ErrorKind::InvalidInput) for a directory, a root or a bind that cannot be
    ///   had, and for a process group that this group cannot take;
    /// - [`PermissionDenied`](crate::ErrorKind::PermissionDenied) for an isolation that takes more rights;
    /// - [`Killed`](crate::ErrorKind::Killed) when the group was killed meanwhile;
    /// - [`KeeperLost`](crate::ErrorKind::KeeperLost) when its keeper, or whoever makes keepers, was;
    /// - [`Unsupported`](crate::ErrorKind::Unsupported) in a group of processes that are not ours.
    fn spawn(&self, program: &Program) -> Result<Box<dyn ChildOps>>;
    /// Moves a running process in, with all its threads.
    ///
    /// # Errors
    /// [`Unsupported`](crate::ErrorKind::Unsupported) where running processes cannot be moved in;
    /// [`System`](crate::ErrorKind::System) with `ESRCH` for one that has ended; what keeps a program out of
    /// the group, as with [`spawn`](Self::spawn).
    fn attach(&self, pid: Pid) -> Result<()>;
    /// The groups that the calling process is in now, in every hierarchy that this group uses.
    ///
    /// # Errors
    /// [`Unsupported`](crate::ErrorKind::Unsupported) where running processes cannot be moved;
    /// [`Gone`](crate::ErrorKind::Gone) when the group that holds the caller was removed;
    /// [`Unusable`](crate::ErrorKind::Unusable) where no mount shows that group.
    fn home(&self) -> Result<Box<dyn HomeOps>>;
    /// Makes a group inside this one.
    ///
    /// # Errors
    /// As [`CgroupOps::create`]; [`Unsupported`](crate::ErrorKind::Unsupported) where groups do not nest,
    /// [`InvalidInput`](crate::ErrorKind::InvalidInput) when both names together are too long.
    fn subgroup(&self, name: &GroupName, with: ControllerSet) -> Result<Box<dyn GroupOps>>;
    /// The groups directly inside this one.
    ///
    /// # Errors
    /// Those of every call.
    fn subgroups(&self) -> Result<Vec<Box<dyn GroupOps>>>;
    /// The living members of the whole subtree. A snapshot.
    ///
    /// # Errors
    /// [`StatusLost`](crate::ErrorKind::StatusLost) for a process group whose leader somebody else reaped:
    /// its id may be a stranger's.
    fn members(&self) -> Result<Vec<Member>>;
    /// Whether a program that was spawned by this handle runs still, wherever it is now: until the last of them ends,
    /// nobody was left behind. As of the last `reap`; `false` where it takes a look at each member to tell.
    fn program_runs(&self) -> bool;
    /// Whether anything in the subtree lives. Reads the very description that `watch` hands out,
    /// which re-arms it.
    ///
    /// # Errors
    /// As [`members`](Self::members).
    fn populated(&self) -> Result<bool>;
    /// Sends a signal to every member of the subtree, the programs first.
    ///
    /// # Errors
    /// [`HoldsCaller`](crate::ErrorKind::HoldsCaller) when the caller is a member; as
    /// [`members`](Self::members) besides. That a member did not get it is told by the answer.
    fn signal(&self, signal: Signal) -> Result<Signalled>;
    /// As strong a single step towards death as there is. From now on no spawn that is under way
    /// may succeed.
    ///
    /// # Errors
    /// As [`signal`](Self::signal).
    fn kill(&self) -> Result<KillStep>;
    /// Asks for the subtree to be frozen.
    ///
    /// # Errors
    /// [`Unsupported`](crate::ErrorKind::Unsupported) where members cannot be frozen;
    /// [`HoldsCaller`](crate::ErrorKind::HoldsCaller).
    fn request_freeze(&self) -> Result<()>;
    /// Asks for the same so that members hold still while they are listed and signalled, which nobody waits for. Who
    /// they are, where they had to be looked for anyway and need no second look.
    ///
    /// # Errors
    /// As [`request_freeze`](Self::request_freeze).
    fn hold_still(&self) -> Result<Option<Vec<Member>>> {
        self.request_freeze().map(|()| None)
    }
    /// Asks for the subtree to be thawed, sub-groups that were frozen by others included.
    ///
    /// # Errors
    /// [`ErrorKind::Frozen`](crate::ErrorKind::Frozen), with the path where it can be told, when a group
    /// around it is frozen, which is not ours to thaw: members stand still until somebody else thaws that.
    /// [`Unsupported`](crate::ErrorKind::Unsupported) where members cannot be frozen.
    fn request_thaw(&self) -> Result<()>;
    /// How far freezing or thawing has come. A frozen group that is empty reads as frozen.
    ///
    /// # Errors
    /// [`Unsupported`](crate::ErrorKind::Unsupported) where members cannot be frozen.
    fn frozen(&self) -> Result<FreezeState>;
    /// Sets limits: says what was applied, and what was not and why. Each is read back after it was
    /// written; one that the kernel keeps differently is refused.
    ///
    /// # Errors
    /// Those of every call: a limit that was not applied is told by the answer.
    fn set_limits(&self, limits: &Limits) -> Result<Applied>;
    /// What was used so far.
    ///
    /// # Errors
    /// [`Malformed`](crate::ErrorKind::Malformed), naming the file. A figure that is not measured is none.
    fn usage(&self) -> Result<Usage>;
    /// How many members of the subtree the OOM killer took so far. Reads the very description that
    /// `watch` hands out, which re-arms it.
    ///
    /// # Errors
    /// [`ErrorKind::Unsupported`](crate::ErrorKind::Unsupported) where they are not counted.
    fn oom_kills(&self) -> Result<u64>;
    /// What to wait on for `change`. Watch first, then read, then wait.
    ///
    /// # Errors
    /// [`Unsupported`](crate::ErrorKind::Unsupported) for [`Change::Oom`] where OOM kills are not counted;
    /// [`System`](crate::ErrorKind::System) with `EMFILE` where no descriptor is left: looks after pauses
    /// do as well.
    fn watch(&self, change: Change) -> Result<Watch>;
    /// Reaps what has ended and is ours to reap, without waiting; never a leader that is held.
    ///
    /// # Errors
    /// Those of every call.
    fn reap(&self) -> Result<Reaped>;
    /// Tries once to remove the group and the empty sub-groups in it, depth first.
    ///
    /// # Errors
    /// [`Busy`](crate::ErrorKind::Busy) while something lives in it, or the kernel still counts somebody
    /// who has ended. That somebody else removed it is none.
    fn remove(&self) -> Result<()>;
    /// Every descriptor that it has open now. A fork that is to act on the group keeps these, and may close
    /// all others.
    fn handles(&self) -> Vec<RawFd>;
}

/// A program that was spawned into a group.
///
/// ```
/// use backend_fake::{Fake, Script};
/// use containment_core::{CgroupOps, ChildOps, ControllerSet, Outcome, Program, Signal};
/// use containment_core::{Time, Waiter};
///
/// let fake = Fake::new();
/// fake.program("make", Script::new());
/// let group = fake.create(&"job".parse()?, ControllerSet::EMPTY)?;
/// let make: Box<dyn ChildOps> = group.spawn(&Program::new("make"))?;
/// assert_eq!(group.members()?[0].pid, make.pid());
/// assert_eq!(make.try_wait()?, None);
/// make.signal(Signal::TERM)?;
/// fake.waiter().wait(Time::NEVER, &make.watch()?);
/// assert_eq!(make.try_wait()?, Some(Outcome::Signaled(Signal::TERM)));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[cfg_attr(feature = "mock", mockall::automock)]
pub trait ChildOps: Debug + Send + Sync {
    /// Its pid.
    fn pid(&self) -> Pid;
    /// How it ended, if it has.
    ///
    /// # Errors
    /// [`StatusLost`](crate::ErrorKind::StatusLost) when somebody else reaped it, or SIGCHLD is ignored,
    /// and the kernel does not tell all the same (Linux 6.15);
    /// [`KeeperLost`](crate::ErrorKind::KeeperLost) when the keeper that waits for it was killed.
    fn try_wait(&self) -> Result<Option<Outcome>>;
    /// What to wait on for its end.
    ///
    /// # Errors
    /// [`System`](crate::ErrorKind::System) where it cannot be watched: looks after pauses do as well.
    fn watch(&self) -> Result<Watch>;
    /// Sends a signal to it alone. Nothing happens once it has ended.
    ///
    /// # Errors
    /// [`PermissionDenied`](crate::ErrorKind::PermissionDenied) for a program of another user.
    fn signal(&self, signal: Signal) -> Result<()>;
}

/// Where a process was before it was moved into a group. Acts through handles, so never on a namesake.
#[cfg_attr(feature = "mock", mockall::automock)]
pub trait HomeOps: Debug + Send + Sync {
    /// Moves a process there, with all its threads.
    ///
    /// # Errors
    /// [`Gone`](crate::ErrorKind::Gone) when a group that it was in was removed. It goes back in every
    /// other hierarchy all the same.
    fn take_back(&self, pid: Pid) -> Result<()>;
}

/// A change that can be waited for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Change {
    /// The last member ended.
    Empty,
    /// Freezing or thawing was completed.
    Frozen,
    /// The OOM killer took a member; where that is not announced with the count, a moment before it.
    Oom,
}

/// How far a freeze has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum FreezeState {
    /// Members run.
    Thawed,
    /// Asked for, not complete.
    Freezing,
    /// No member runs.
    Frozen,
}

/// What one pass of signalling did.
///
/// ```
/// use containment_core::{Error, ErrorKind, Operation, Signalled};
/// let failed = Error::new(ErrorKind::PermissionDenied, Operation::Signal);
/// let pass = Signalled { count: 3, failed: vec![failed] };
/// let pass = pass.described(|error| error.with_group("job"));
/// assert_eq!(pass.failed[0].to_string(), "failed to signal group job: permission denied");
/// ```
#[derive(Debug, Default)]
pub struct Signalled {
    /// Members that got the signal.
    pub count: usize,
    /// Members that did not, and why. One that had ended is no failure.
    pub failed: Vec<Error>,
}

impl Signalled {
    /// The same, each failure with what `describe` adds to it.
    #[must_use]
    pub fn described(self, describe: impl Fn(Error) -> Error) -> Self {
        Self { failed: self.failed.into_iter().map(describe).collect(), ..self }
    }
}

/// What one kill step did.
#[derive(Debug)]
pub enum KillStep {
    /// Every member was killed at once.
    Killed,
    /// Every member that was found was signalled.
    Signalled(Signalled),
    /// A freeze was asked for first; once [`GroupOps::frozen`] says so, call again.
    Freezing,
}

/// What one pass of reaping did.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Reaped {
    /// Processes that were reaped.
    pub count: usize,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{ErrorKind, Operation};

    #[test]
    fn each_failure_of_a_pass_is_described() {
        let failed = || Error::new(ErrorKind::PermissionDenied, Operation::Signal);
        let pass = Signalled { count: 3, failed: vec![failed(), failed()] };
        let pass = pass.described(|error| error.with_group("job"));
        let groups: Vec<_> = pass.failed.iter().map(Error::group).collect();
        assert_eq!((pass.count, groups), (3, vec![Some("job"); 2]));
    }
}
