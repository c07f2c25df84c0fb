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
#[cfg_attr(feature = "mock", mockall::automock)]
pub trait CgroupOps: Debug + Send + Sync {
    /// Which way it is.
    fn backend(&self) -> Backend;
    /// What it guarantees.
    fn capabilities(&self) -> &Capabilities;
    /// The clock that its groups live by.
    fn waiter(&self) -> Arc<dyn Waiter>;
    /// Makes a group, and the levels of its name that are missing. Never adopts a namesake.
    fn create(&self, name: &GroupName, with: ControllerSet) -> Result<Box<dyn GroupOps>>;
    /// Opens an existing group: of this identity, not just of this name.
    fn open(&self, id: &GroupId) -> Result<Box<dyn GroupOps>>;
    /// The groups directly below the driver's parent group.
    fn list(&self) -> Result<Vec<GroupId>>;
}

/// One open group. Acts through handles, so never on a namesake; after [`remove`](Self::remove)
/// every call answers [`ErrorKind::Gone`](crate::ErrorKind::Gone).
#[cfg_attr(feature = "mock", mockall::automock)]
pub trait GroupOps: Debug + Send + Sync {
    /// Its identity.
    fn id(&self) -> &GroupId;
    /// What this group guarantees.
    fn capabilities(&self) -> &Capabilities;
    /// Leaves a mark on the group that lasts as long as the group does, whoever opens it; whether it was
    /// kept.
    fn leave_mark(&self, mark: &str) -> Result<bool>;
    /// The mark that was left on it, if one was.
    fn mark(&self) -> Result<Option<String>>;
    /// Starts a program that is a member before its first instruction. A group that is frozen is
    /// refused; one that is frozen while the spawn is under way holds the calling thread until it is
    /// thawed or killed.
    fn spawn(&self, program: &Program) -> Result<Box<dyn ChildOps>>;
    /// Moves a running process in, with all its threads.
    fn attach(&self, pid: Pid) -> Result<()>;
    /// The groups that the calling process is in now, in every hierarchy that this group uses.
    fn home(&self) -> Result<Box<dyn HomeOps>>;
    /// Makes a group inside this one.
    fn subgroup(&self, name: &GroupName, with: ControllerSet) -> Result<Box<dyn GroupOps>>;
    /// The groups directly inside this one.
    fn subgroups(&self) -> Result<Vec<Box<dyn GroupOps>>>;
    /// The living members of the whole subtree. A snapshot.
    fn members(&self) -> Result<Vec<Member>>;
    /// Whether a program that was spawned by this handle runs still, wherever it is now: until the last of them ends,
    /// nobody was left behind. As of the last `reap`; `false` where it takes a look at each member to tell.
    fn program_runs(&self) -> bool;
    /// Whether anything in the subtree lives. Reads the very description that `watch` hands out,
    /// which re-arms it.
    fn populated(&self) -> Result<bool>;
    /// Sends a signal to every member of the subtree, the programs first.
    fn signal(&self, signal: Signal) -> Result<Signalled>;
    /// As strong a single step towards death as there is. From now on no spawn that is under way
    /// may succeed.
    fn kill(&self) -> Result<KillStep>;
    /// Asks for the subtree to be frozen.
    fn request_freeze(&self) -> Result<()>;
    /// Asks for the subtree to be thawed, sub-groups that were frozen by others included.
    ///
    /// # Errors
    /// [`ErrorKind::Frozen`](crate::ErrorKind::Frozen), with the path where it can be told, when a group
    /// around it is frozen, which is not ours to thaw: members stand still until somebody else thaws that.
    fn request_thaw(&self) -> Result<()>;
    /// How far freezing or thawing has come. A frozen group that is empty reads as frozen.
    fn frozen(&self) -> Result<FreezeState>;
    /// Sets limits: says what was applied, and what was not and why. Each is read back after it was
    /// written; one that the kernel keeps differently is refused.
    fn set_limits(&self, limits: &Limits) -> Result<Applied>;
    /// What was used so far.
    fn usage(&self) -> Result<Usage>;
    /// How many members of the subtree the OOM killer took so far. Reads the very description that
    /// `watch` hands out, which re-arms it.
    ///
    /// # Errors
    /// [`ErrorKind::Unsupported`](crate::ErrorKind::Unsupported) where they are not counted.
    fn oom_kills(&self) -> Result<u64>;
    /// What to wait on for `change`. Watch first, then read, then wait.
    fn watch(&self, change: Change) -> Result<Watch>;
    /// Reaps what has ended and is ours to reap, without waiting; never a leader that is held.
    fn reap(&self) -> Result<Reaped>;
    /// Tries once to remove the group and the empty sub-groups in it, depth first.
    fn remove(&self) -> Result<()>;
    /// Every descriptor that it has open now. A fork that is to act on the group keeps these, and may close
    /// all others.
    fn handles(&self) -> Vec<RawFd>;
}

/// A program that was spawned into a group.
#[cfg_attr(feature = "mock", mockall::automock)]
pub trait ChildOps: Debug + Send + Sync {
    /// Its pid.
    fn pid(&self) -> Pid;
    /// How it ended, if it has.
    fn try_wait(&self) -> Result<Option<Outcome>>;
    /// What to wait on for its end.
    fn watch(&self) -> Result<Watch>;
    /// Sends a signal to it alone. Nothing happens once it has ended.
    fn signal(&self, signal: Signal) -> Result<()>;
}

/// Where a process was before it was moved into a group. Acts through handles, so never on a namesake.
#[cfg_attr(feature = "mock", mockall::automock)]
pub trait HomeOps: Debug + Send + Sync {
    /// Moves a process there, with all its threads.
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
#[derive(Debug, Default)]
pub struct Signalled {
    /// Members that got the signal.
    pub count: usize,
    /// Members that did not, and why. One that had ended is no failure.
    pub failed: Vec<Error>,
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
