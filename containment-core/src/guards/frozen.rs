//! A group that stands still, until it is let go.

use std::fmt;
use std::time::Duration;

use crate::{
    Backoff, Change, Error, ErrorKind, Freeze, FreezeState, Group, GroupOps, Member, OpenGroup,
    Operation, Pid, ProcessState, Result, Waiter, Watch, Witness,
};

/// A group in which nobody runs; dropping this thaws it.
///
/// Only the process that froze it thaws it, never its fork.
///
/// ```
/// use std::time::Duration;
/// # use backend_fake::{Fake, Script};
/// # use containment_core::{CgroupOps, ControllerSet, Group, Program};
/// use containment_core::{FreezeState, OpenGroup};
/// # let fake = Fake::new();
/// # fake.program("make", Script::new());
/// # let group = Group::new(fake.create(&"job".parse()?, ControllerSet::EMPTY)?, fake.waiter());
/// # group.spawn(&Program::new("make"))?;
/// let still = group.freeze(Duration::from_secs(1))?;
/// assert_eq!(group.ops().frozen()?, FreezeState::Frozen);
/// drop(still);
/// assert_eq!(group.ops().frozen()?, FreezeState::Thawed);
///
/// // Left frozen, and thawed by whoever opens the group.
/// group.freeze(Duration::from_secs(1))?.keep();
/// let opened = OpenGroup::new(fake.open(group.id())?, fake.waiter());
/// opened.thaw()?;
/// opened.freeze(Duration::from_secs(1))?.thaw()?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[must_use = "dropping this thaws the group at once"]
pub struct FreezeGuard<'a> {
    held: Held<'a>,
    owner: Pid,
    armed: bool,
}

/// A freeze that did not come about. What there was of it is undone.
///
/// ```
/// use std::time::Duration;
/// # use backend_fake::{Fake, Script};
/// # use containment_core::{CgroupOps, ControllerSet, Group, Program};
/// use containment_core::{ErrorKind, FreezeState};
/// # let fake = Fake::new();
/// # fake.program("make", Script::new());
/// # let group = Group::new(fake.create(&"job".parse()?, ControllerSet::EMPTY)?, fake.waiter());
/// # group.spawn(&Program::new("make"))?;
/// fake.freezing_takes(Duration::from_secs(60));
/// let not = group.freeze(Duration::from_secs(1)).unwrap_err();
/// assert_eq!(not.error.kind(), ErrorKind::TimedOut);
/// assert!(not.holdouts.iter().all(|member| member.comm == "make"));
/// assert_eq!(group.ops().frozen()?, FreezeState::Thawed, "it is undone");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct NotFrozen {
    /// Why: [`TimedOut`](ErrorKind::TimedOut), naming some of the holdouts, or what failed.
    pub error: Error,
    /// Who would not freeze, where it was for want of time: those who ran, and those whom the kernel waits
    /// for and that were not waiting frozen. Whoever can tell has told what they wait for
    /// ([`Origin::held_by`](crate::Origin::held_by)).
    pub holdouts: Vec<Member>,
}

/// How long a thaw may take.
const PATIENCE: Duration = Duration::from_secs(10);

impl Group {
    /// Freezes the whole subtree, and returns when no member runs any more: until the answer is dropped.
    ///
    /// ```
    /// # use std::time::Duration;
    /// # use backend_fake::{Fake, Script};
    /// # use containment_core::{CgroupOps, ControllerSet, Group, Program};
    /// # let fake = Fake::new();
    /// # fake.program("make", Script::new());
    /// # let group = Group::new(fake.create(&"job".parse()?, ControllerSet::EMPTY)?, fake.waiter());
    /// # group.spawn(&Program::new("make"))?;
    /// let still = group.freeze(Duration::from_secs(1))?;
    /// assert_eq!(group.members()?.len(), 1);
    /// still.thaw()?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// When it is not frozen within `timeout`, or a call fails; what there was of the freeze is undone. [`NotFrozen`]
    /// says who would not freeze.
    pub fn freeze(&self, timeout: Duration) -> Result<FreezeGuard<'_>, NotFrozen> {
        Held { ops: self.ops(), waiter: self.waiter(), witness: self.witness() }.freeze(timeout)
    }
}

impl OpenGroup {
    /// Freezes the whole subtree, and returns when no member runs any more: until the answer is dropped.
    ///
    /// # Errors
    /// When it is not frozen within `timeout`, or a call fails; what there was of the freeze is undone. [`NotFrozen`]
    /// says who would not freeze.
    pub fn freeze(&self, timeout: Duration) -> Result<FreezeGuard<'_>, NotFrozen> {
        self.held().freeze(timeout)
    }

    /// Thaws the whole subtree, sub-groups that were frozen by others included, and returns when it is
    /// so.
    ///
    /// # Errors
    /// [`Frozen`](ErrorKind::Frozen) when a group around it is; [`TimedOut`](ErrorKind::TimedOut), after ten seconds.
    pub fn thaw(&self) -> Result<()> {
        self.held().thaw()
    }

    fn held(&self) -> Held<'_> {
        Held { ops: self.ops(), waiter: &**self.waiter(), witness: self.witness() }
    }
}

impl FreezeGuard<'_> {
    /// Thaws the group, and returns when it is so.
    ///
    /// # Errors
    /// [`Frozen`](ErrorKind::Frozen) when a group around it is; [`TimedOut`](ErrorKind::TimedOut), after ten seconds.
    /// [`NotOwner`](ErrorKind::NotOwner) in a fork of the process that froze it.
    pub fn thaw(mut self) -> Result<()> {
        self.armed = false;
        if self.owner != Pid::current() {
            let name = &self.held.ops.id().name;
            return Err(Error::new(ErrorKind::NotOwner, Operation::Thaw).with_group(name));
        }
        self.held.thaw()
    }

    /// Leaves the group frozen.
    pub fn keep(mut self) {
        self.armed = false;
    }
}

impl Drop for FreezeGuard<'_> {
    fn drop(&mut self) {
        if !self.armed || self.owner != Pid::current() {
            return;
        }
        match self.held.ops.request_thaw() {
            Err(error) if !error.is_gone() => {
                let group = &self.held.ops.id().name;
                tracing::warn!(%group, %error, remedy = error.remedy(), "a group stays frozen");
            }
            _ => {}
        }
    }
}

impl fmt::Debug for FreezeGuard<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FreezeGuard").field("group", self.held.ops.id()).finish_non_exhaustive()
    }
}

impl From<NotFrozen> for Error {
    fn from(not: NotFrozen) -> Self {
        not.error
    }
}

impl fmt::Display for NotFrozen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.error.fmt(f)
    }
}

impl std::error::Error for NotFrozen {}

/// What it takes to freeze a group.
#[derive(Clone, Copy)]
struct Held<'a> {
    ops: &'a dyn GroupOps,
    waiter: &'a dyn Waiter,
    witness: Option<&'a dyn Witness>,
}

impl<'a> Held<'a> {
    fn freeze(self, timeout: Duration) -> Result<FreezeGuard<'a>, NotFrozen> {
        let frozen = self.await_state(timeout, Operation::Freeze, || {
            // Asked each time: where members are stopped one by one, more may have been forked.
            self.ops.request_freeze()?;
            Ok(self.ops.frozen()? == FreezeState::Frozen || self.has_nobody_to_stop()?)
        });
        match frozen {
            Ok(()) => Ok(FreezeGuard { held: self, owner: Pid::current(), armed: true }),
            Err(error) => Err(self.undone(error)),
        }
    }

    fn thaw(self) -> Result<()> {
        self.ops.request_thaw()?;
        let thawed = || Ok(self.ops.frozen()? == FreezeState::Thawed);
        self.await_state(PATIENCE, Operation::Thaw, thawed)
    }

    /// An empty group can be frozen only where the kernel does it.
    fn has_nobody_to_stop(self) -> Result<bool> {
        let by_signal = self.ops.capabilities().freeze == Freeze::StopSignal;
        Ok(by_signal && !self.ops.populated()?)
    }

    /// Watch, then ask or look, then wait.
    fn await_state(
        self,
        timeout: Duration,
        operation: Operation,
        mut reached: impl FnMut() -> Result<bool>,
    ) -> Result<()> {
        let deadline = self.waiter.now() + timeout;
        let mut pauses = Backoff::default();
        loop {
            let on = self.ops.watch(Change::Frozen).unwrap_or(Watch::Backoff);
            if reached()? {
                return Ok(());
            }
            let now = self.waiter.now();
            if now >= deadline {
                let late = Error::new(ErrorKind::TimedOut, operation);
                return Err(late.with_group(&self.ops.id().name));
            }
            self.waiter.wait(pauses.bound(now, deadline, &on), &on);
        }
    }

    /// Thaws what a freeze that failed has frozen, and finds out whose fault it was.
    fn undone(self, error: Error) -> NotFrozen {
        let late = error.kind() == ErrorKind::TimedOut;
        let then = if late { self.present() } else { Vec::new() };
        let stays = match self.ops.request_thaw() {
            Err(undone) if !undone.is_gone() => {
                format!("; and it cannot be thawed: {}", undone.reason())
            }
            _ => String::new(),
        };
        let holdouts = if then.is_empty() { Vec::new() } else { self.holdouts(&then) };
        let why = match then.len() {
            0 => error.reason().to_string(),
            all => named(&holdouts, all),
        };
        let error =
            if then.is_empty() && stays.is_empty() { error } else { error.because(why + &stays) };
        NotFrozen { error, holdouts }
    }

    /// Who is there now that the time is up. Where nobody can tell, nobody is named: the freeze failed all the same.
    fn present(self) -> Vec<Member> {
        self.ops.members().unwrap_or_else(|error| {
            let group = &self.ops.id().name;
            tracing::warn!(%group, %error, remedy = error.remedy(), "cannot tell who would not freeze");
            Vec::new()
        })
    }

    /// Who of these, who were there when the time was up, had not been frozen.
    fn holdouts(self, then: &[Member]) -> Vec<Member> {
        if self.ops.capabilities().freeze == Freeze::StopSignal {
            let moves = |m: &&Member| !m.state.is_stopped() && m.state != WAITS;
            return self.explained(then.iter().filter(moves).cloned().collect());
        }
        // Version 1 shows whoever it has frozen as waiting uninterruptibly, too: but no longer once it is
        // thawed.
        let now = self.settled(then);
        let waits = |m: &Member| {
            m.state == WAITS && now.iter().any(|again| again.is_same(m) && again.state == WAITS)
        };
        let moved = |m: &&Member| m.state == RUNS || waits(m);
        let mut found = self.explained(then.iter().filter(moved).cloned().collect());
        found.retain(|member| !waits_for_a_vfork(member));
        found
    }

    /// The members once everybody was let go who was frozen, or a moment later. A thaw of version 2 wakes up
    /// even those who wait uninterruptibly, who go on waiting as soon as they have run.
    fn settled(self, then: &[Member]) -> Vec<Member> {
        let woken = |now: &Member| {
            now.state == RUNS && then.iter().any(|m| m.is_same(now) && m.state == WAITS)
        };
        let soon = self.waiter.now() + SETTLING;
        let mut pauses = Backoff::default();
        loop {
            let thawed = matches!(self.ops.frozen(), Ok(FreezeState::Thawed));
            let members = self.ops.members().unwrap_or_default();
            let now = self.waiter.now();
            if (thawed && !members.iter().any(woken)) || now >= soon {
                return members;
            }
            self.waiter.wait(pauses.bound(now, soon, &Watch::Backoff), &Watch::Backoff);
        }
    }

    fn explained(self, mut members: Vec<Member>) -> Vec<Member> {
        if let Some(witness) = self.witness
            && !members.is_empty()
        {
            witness.explain(&mut members);
        }
        members
    }
}

const RUNS: ProcessState = ProcessState('R');
const WAITS: ProcessState = ProcessState('D');

/// How long a group is given to be thawed before it is asked who waits still.
const SETTLING: Duration = Duration::from_millis(500);

/// Whether it is known to wait for its child to execute something, which counts as frozen.
fn waits_for_a_vfork(member: &Member) -> bool {
    let hold = member.origin.as_ref().and_then(|origin| origin.held_by.as_ref());
    hold.and_then(|hold| hold.wchan.as_deref()).is_some_and(|function| {
        ["kernel_clone", "_do_fork", "wait_for_vfork_done"].contains(&function)
    })
}

fn named(holdouts: &[Member], all: usize) -> String {
    let some = holdouts.iter().take(8);
    let some = some.map(|m| format!("{} ({}, state {})", m.pid, m.comm, m.state));
    let some = some.collect::<Vec<_>>().join(", ");
    match holdouts.len() {
        0 => format!("it did not happen in time; none of {all} was seen to be in the way"),
        count => format!("it did not happen in time, for {count} of {all}: {some}"),
    }
}
