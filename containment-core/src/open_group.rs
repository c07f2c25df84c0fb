//! A group that lives on without this process: opened to act on it, left as it is when the handle goes.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use crate::group::{set_limits, spawn};
use crate::teardown::{Policy, Teardown, TeardownReport};
use crate::{
    Backoff, Change, Child, Error, ErrorKind, GroupId, GroupOps, Limits, Operation, Program,
    Result, Signal, Time, Waiter, Watch, Witness,
};

/// An open group that is not ours to end: dropping this does nothing to it.
///
/// ```
/// use backend_fake::{Fake, Script};
/// use containment_core::{CgroupOps, ControllerSet, Group, OpenGroup, Policy, Program};
///
/// let fake = Fake::new();
/// fake.program("serve", Script::new());
/// let made = Group::new(fake.create(&"web".parse()?, ControllerSet::EMPTY)?, fake.waiter());
/// made.spawn(&Program::new("serve"))?;
/// let id = made.id().clone();
/// made.keep();
///
/// let web = OpenGroup::new(fake.open(&id)?, fake.waiter());
/// assert_eq!(web.ops().members()?.len(), 1);
/// assert!(web.remove().is_err(), "something lives in it");
/// assert!(web.kill(Policy::kill()).emptied);
/// web.remove()?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct OpenGroup {
    ops: Box<dyn GroupOps>,
    waiter: Arc<dyn Waiter>,
    witness: Option<Arc<dyn Witness>>,
}

/// How long the removal of a group may take in which nothing lives.
const PATIENCE: Duration = Duration::from_secs(10);

impl OpenGroup {
    /// The group that a driver opened, by the driver's clock.
    pub fn new(ops: Box<dyn GroupOps>, waiter: Arc<dyn Waiter>) -> Self {
        Self { ops, waiter, witness: None }
    }

    /// The same, and whoever is found in it by a kill is reported with their origin.
    #[must_use]
    pub fn witnessed_by(mut self, witness: Arc<dyn Witness>) -> Self {
        self.witness = Some(witness);
        self
    }

    /// Its identity.
    pub fn id(&self) -> &GroupId {
        self.ops.id()
    }

    /// The driver's group.
    pub fn ops(&self) -> &dyn GroupOps {
        &*self.ops
    }

    /// The clock that it lives by.
    pub fn waiter(&self) -> &Arc<dyn Waiter> {
        &self.waiter
    }

    /// Starts a program that is a member before its first instruction.
    ///
    /// # Errors
    /// Those of [`Group::spawn`](crate::Group::spawn), and [`Unsupported`](ErrorKind::Unsupported) in a process group
    /// that another process made.
    pub fn spawn(&self, program: &Program) -> Result<Child> {
        spawn(&*self.ops, self.witness(), &self.waiter, program)
    }

    /// Sets limits. Every limit that cannot be applied is an error, and then the first is returned.
    ///
    /// # Errors
    /// [`InvalidInput`](ErrorKind::InvalidInput), and nothing is changed, when a value is no limit on
    /// any host.
    pub fn set_limits(&self, limits: &Limits) -> Result<()> {
        set_limits(&*self.ops, limits)
    }

    /// Sends a signal to every member, and says how many got it.
    ///
    /// # Errors
    /// The first member's that did not get it; the others did.
    pub fn signal(&self, signal: Signal) -> Result<usize> {
        let pass = self.ops.signal(signal)?;
        pass.failed.into_iter().next().map_or(Ok(pass.count), Err)
    }

    /// Waits until nothing lives in it or below it, or it is gone; for ever without a time-out.
    ///
    /// ```
    /// # use backend_fake::{Fake, Script};
    /// # use containment_core::{CgroupOps, ControllerSet, Group, OpenGroup, Program};
    /// use std::time::Duration;
    /// use containment_core::{ErrorKind, Limits, Signal};
    ///
    /// # let fake = Fake::new();
    /// # fake.program("serve", Script::new());
    /// # let made = Group::new(fake.create(&"web".parse()?, ControllerSet::EMPTY)?, fake.waiter());
    /// # let web = OpenGroup::new(fake.open(made.id())?, fake.waiter());
    /// # made.keep();
    /// web.set_limits(&Limits::new())?;
    /// web.spawn(&Program::new("serve"))?;
    /// let waited = web.wait_empty(Some(Duration::from_secs(1)));
    /// assert_eq!(waited.unwrap_err().kind(), ErrorKind::TimedOut);
    /// assert_eq!(web.signal(Signal::TERM)?, 1);
    /// web.wait_empty(None)?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// [`TimedOut`](ErrorKind::TimedOut).
    pub fn wait_empty(&self, timeout: Option<Duration>) -> Result<()> {
        let deadline = timeout.map_or(Time::NEVER, |timeout| self.waiter.now() + timeout);
        or_gone(wait_empty(&*self.ops, &*self.waiter, deadline))
    }

    /// Who can tell where its members come from.
    pub(crate) fn witness(&self) -> Option<&dyn Witness> {
        self.witness.as_deref()
    }

    /// Ends every member as `policy` says, those of sub-groups too, and leaves the group itself, empty
    /// and thawed.
    pub fn kill(&self, policy: Policy) -> TeardownReport {
        let teardown = Teardown::new(policy.keeping_the_group());
        teardown.witnessed_by(self.witness.clone()).run(&*self.ops, &*self.waiter)
    }

    /// Removes it and its sub-groups, if nothing lives in any of them.
    ///
    /// # Errors
    /// [`Busy`](ErrorKind::Busy) when something does.
    pub fn remove(&self) -> Result<()> {
        let deadline = self.waiter.now() + PATIENCE;
        let mut pauses = Backoff::default();
        loop {
            if or_gone(self.ops.populated())? {
                return Err(Error::new(ErrorKind::Busy, Operation::Remove)
                    .with_group(&self.id().name)
                    .because("processes live in it or below it"));
            }
            let removed = or_gone(self.ops.remove());
            let now = self.waiter.now();
            match removed {
                // The last members are on their way out still.
                Err(error) if error.kind() == ErrorKind::Busy && now < deadline => {
                    let on = Watch::Backoff;
                    self.waiter.wait(pauses.bound(now, deadline, &on), &on);
                }
                settled => return settled,
            }
        }
    }
}

/// Waits until nothing lives in a group, or it is `deadline`.
pub(crate) fn wait_empty(group: &dyn GroupOps, waiter: &dyn Waiter, deadline: Time) -> Result<()> {
    let mut pauses = Backoff::default();
    loop {
        // Without a descriptor to spare (EMFILE) there are still pauses.
        let on = group.watch(Change::Empty).unwrap_or(Watch::Backoff);
        group.reap()?;
        if !group.populated()? {
            return Ok(());
        }
        let now = waiter.now();
        if now >= deadline {
            return Err(
                Error::new(ErrorKind::TimedOut, Operation::AwaitEmpty).with_group(&group.id().name)
            );
        }
        waiter.wait(pauses.bound(now, deadline, &on), &on);
    }
}

/// Where nothing is left there is nothing to wait for or to remove.
fn or_gone<T: Default>(result: Result<T>) -> Result<T> {
    match result {
        Err(error) if error.is_gone() => Ok(T::default()),
        result => result,
    }
}

impl fmt::Debug for OpenGroup {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OpenGroup").field("id", self.id()).finish_non_exhaustive()
    }
}
