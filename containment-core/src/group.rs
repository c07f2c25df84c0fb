//! The owning guard of a group.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use crate::open_group::wait_empty;
use crate::teardown::{Policy, Stage, Step, Teardown, TeardownReport, drive};
use crate::{
    Capabilities, Child, Error, ErrorKind, GroupId, GroupOps, Limits, Member, Operation, Pid,
    Program, Result, Seal, Signal, Signalled, Time, Usage, Waiter, Witness,
};

/// A group that this process owns: dropping it kills every member and removes it, within a bound.
///
/// Only the process that made the guard acts on it, never its fork.
///
/// ```
/// use std::time::Duration;
/// use backend_fake::{Fake, Script};
/// use containment_core::{CgroupOps, ControllerSet, Group, Policy, Program};
///
/// let fake = Fake::new();
/// let daemon = Script::new().named("daemon");
/// fake.program("make", Script::new().forks(Duration::ZERO, daemon).exits(Duration::from_secs(1), 0));
///
/// let made = fake.create(&"build-42".parse()?, ControllerSet::EMPTY)?;
/// let job = Group::new(made, fake.waiter());
/// assert_eq!(job.capabilities(), fake.capabilities());
/// let make = job.spawn(&Program::new("make"))?;
/// assert!(make.wait()?.success());
/// let report = job.terminate(&Policy::graceful(Duration::from_secs(10)))?;
/// assert_eq!(report.left_behind[0].comm, "daemon");
/// assert!(report.is_clean());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[must_use = "dropping the guard kills the group"]
pub struct Group {
    ops: Arc<dyn GroupOps>,
    waiter: Arc<dyn Waiter>,
    witness: Option<Arc<dyn Witness>>,
    owner: Pid,
    armed: bool,
}

/// How long a drop may take.
pub(crate) const DROP_TIMEOUT: Duration = Duration::from_secs(5);

impl Group {
    /// Takes charge of a group that a driver made.
    pub fn new(ops: Box<dyn GroupOps>, waiter: Arc<dyn Waiter>) -> Self {
        Self { ops: ops.into(), waiter, witness: None, owner: Pid::current(), armed: true }
    }

    /// The same, and whoever is found in it at its end is reported with their origin.
    pub fn witnessed_by(mut self, witness: Arc<dyn Witness>) -> Self {
        self.witness = Some(witness);
        self
    }

    /// Its identity.
    pub fn id(&self) -> &GroupId {
        self.ops.id()
    }

    /// What this group guarantees.
    pub fn capabilities(&self) -> &Capabilities {
        self.ops.capabilities()
    }

    /// Starts a program that is a member before its first instruction.
    ///
    /// # Errors
    /// Those of [`GroupOps::spawn`], above all [`ProgramNotFound`](ErrorKind::ProgramNotFound),
    /// [`ProgramNotExecutable`](ErrorKind::ProgramNotExecutable) and [`InvalidInput`](ErrorKind::InvalidInput) for
    /// what was asked for, [`Frozen`](ErrorKind::Frozen), [`Killed`](ErrorKind::Killed) and
    /// [`Gone`](ErrorKind::Gone) for the group. [`Unsupported`](ErrorKind::Unsupported) for a sealed program in a
    /// group that can be left without writing to any file.
    pub fn spawn(&self, program: &Program) -> Result<Child> {
        spawn(&*self.ops, self.witness.as_deref(), &self.waiter, program)
    }

    /// Sets limits. Every limit that cannot be applied is an error, and then the first is returned.
    ///
    /// ```
    /// # use backend_fake::{Fake, Script};
    /// # use containment_core::{CgroupOps, ControllerSet, Group, Limit, Program};
    /// use containment_core::{CpuSet, ErrorKind, Limits};
    /// # let fake = Fake::new();
    /// # fake.program("make", Script::new());
    /// # let with = ControllerSet::EMPTY.with(Limit::Pids);
    /// # let group = Group::new(fake.create(&"job".parse()?, with)?, fake.waiter());
    /// group.set_limits(&Limits::new().pids_max(1))?;
    /// group.spawn(&Program::new("make"))?;
    /// assert!(group.spawn(&Program::new("make")).is_err(), "there is room for one process");
    /// let none = Limits::new().cpuset(CpuSet::new());
    /// assert_eq!(group.set_limits(&none).unwrap_err().kind(), ErrorKind::InvalidInput);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// [`InvalidInput`](ErrorKind::InvalidInput), and nothing is changed, when a value is no limit on
    /// any host.
    /// [`Unsupported`](ErrorKind::Unsupported) for a limit that this group cannot have; [`Gone`](ErrorKind::Gone).
    pub fn set_limits(&self, limits: &Limits) -> Result<()> {
        set_limits(&*self.ops, limits)
    }

    /// The living members of the whole subtree.
    ///
    /// # Errors
    /// [`Gone`](ErrorKind::Gone) when somebody else removed the group;
    /// [`StatusLost`](ErrorKind::StatusLost) for a process group whose leader somebody else reaped;
    /// [`System`](ErrorKind::System) when `/proc` cannot be read.
    pub fn members(&self) -> Result<Vec<Member>> {
        self.ops.members()
    }

    /// What was used so far.
    ///
    /// ```
    /// # use backend_fake::{Fake, Script};
    /// # use containment_core::{CgroupOps, ControllerSet, Group, Program};
    /// # let fake = Fake::new();
    /// # fake.program("make", Script::new());
    /// # let group = Group::new(fake.create(&"job".parse()?, ControllerSet::EMPTY)?, fake.waiter());
    /// # group.spawn(&Program::new("make"))?;
    /// let usage = group.usage()?;
    /// assert_eq!(usage.pids, Some(1));
    /// assert_eq!(usage.io_read, None, "the fake does not measure it");
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// [`Gone`](ErrorKind::Gone) when somebody else removed the group;
    /// [`Malformed`](ErrorKind::Malformed) for a text of the kernel that is not understood. What is not
    /// measured is none.
    pub fn usage(&self) -> Result<Usage> {
        self.ops.usage()
    }

    /// Sends a signal to every member, the programs first.
    ///
    /// ```
    /// use std::time::Duration;
    /// # use backend_fake::{Fake, Script};
    /// # use containment_core::{CgroupOps, ControllerSet, Group, Program};
    /// use containment_core::Signal;
    /// # let fake = Fake::new();
    /// # fake.program("make", Script::new());
    /// # let group = Group::new(fake.create(&"job".parse()?, ControllerSet::EMPTY)?, fake.waiter());
    /// # group.spawn(&Program::new("make"))?;
    /// let pass = group.signal(Signal::TERM)?;
    /// assert_eq!((pass.count, pass.failed.len()), (1, 0));
    /// group.wait_empty(Duration::from_secs(1))?;
    /// assert!(group.members()?.is_empty());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// [`HoldsCaller`](ErrorKind::HoldsCaller) when this process is a member; [`Gone`](ErrorKind::Gone)
    /// when somebody else removed the group. That a member did not get it is told by the answer.
    pub fn signal(&self, signal: Signal) -> Result<Signalled> {
        self.ops.signal(signal)
    }

    /// Waits until the group is empty, or `timeout` has passed.
    ///
    /// # Errors
    /// [`TimedOut`](ErrorKind::TimedOut); [`Gone`](ErrorKind::Gone) when somebody else removed the group.
    pub fn wait_empty(&self, timeout: Duration) -> Result<()> {
        wait_empty(&*self.ops, &*self.waiter, self.waiter.now() + timeout)
    }

    /// Ends the group: asks, waits, kills, removes, as `policy` says. Blocks until it is over; the
    /// report holds what was found, and every error on the way.
    ///
    /// # Errors
    /// [`NotOwner`](ErrorKind::NotOwner) in a fork of the process that made the guard.
    pub fn terminate(self, policy: &Policy) -> Result<TeardownReport> {
        Ok(self.begin_termination(policy.clone())?.run())
    }

    /// Ends the group like [`terminate`](Self::terminate), for callers that do the waiting themselves.
    ///
    /// # Errors
    /// [`NotOwner`](ErrorKind::NotOwner) in a fork of the process that made the guard.
    pub fn begin_termination(self, policy: Policy) -> Result<Termination> {
        if self.owner != Pid::current() {
            return Err(
                Error::new(ErrorKind::NotOwner, Operation::Kill).with_group(&self.id().name)
            );
        }
        let teardown = Teardown::new(policy).witnessed_by(self.witness.clone());
        Ok(Termination { group: self, teardown })
    }

    /// Leaves the group and what runs in it alone from now on.
    ///
    /// ```
    /// # use backend_fake::{Fake, Script};
    /// # use containment_core::{CgroupOps, ControllerSet, Group, Program};
    /// # let fake = Fake::new();
    /// # fake.program("make", Script::new());
    /// # let group = Group::new(fake.create(&"job".parse()?, ControllerSet::EMPTY)?, fake.waiter());
    /// # group.spawn(&Program::new("make"))?;
    /// group.keep();
    /// assert_eq!(fake.list()?.len(), 1);
    /// assert_eq!(fake.snapshot().living().count(), 1);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn keep(mut self) {
        self.armed = false;
    }

    /// Who can tell where its members come from.
    pub(crate) fn witness(&self) -> Option<&dyn Witness> {
        self.witness.as_deref()
    }

    /// The clock that it lives by.
    pub(crate) fn waiter(&self) -> &dyn Waiter {
        &*self.waiter
    }

    /// The driver's group.
    pub fn ops(&self) -> &dyn GroupOps {
        &*self.ops
    }
}

/// Starts a program in a group that keeps what its isolation asks for, before the eyes of `witness`.
pub(crate) fn spawn(
    group: &dyn GroupOps,
    witness: Option<&dyn Witness>,
    waiter: &Arc<dyn Waiter>,
    program: &Program,
) -> Result<Child> {
    if program.isolation().seal == Seal::Whole {
        let id = group.id();
        let sealable = group.capabilities().check_seal();
        sealable.map_err(|error| error.with_backend(id.backend).with_group(&id.name))?;
    }
    let child = group.spawn(program)?;
    if let Some(witness) = witness {
        witness.spawned(child.pid());
    }
    Ok(Child::new(child, Arc::clone(waiter)))
}

/// Sets limits; the first that cannot be applied is the error.
pub(crate) fn set_limits(group: &dyn GroupOps, limits: &Limits) -> Result<()> {
    limits.check().map_err(|invalid| Error::from(invalid).with_group(&group.id().name))?;
    let refused = group.set_limits(limits)?.refused;
    refused.into_iter().next().map_or(Ok(()), |(_, error)| Err(error))
}

impl fmt::Debug for Group {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Group")
            .field("id", self.id())
            .field("armed", &self.armed)
            .finish_non_exhaustive()
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        if !self.armed || self.owner != Pid::current() {
            return;
        }
        let policy = Policy::kill().give_up_after(DROP_TIMEOUT);
        let teardown = Teardown::new(policy).witnessed_by(self.witness.clone());
        let report = teardown.run(&*self.ops, &*self.waiter);
        if !report.is_clean() {
            let errors: Vec<_> = report.errors.iter().map(ToString::to_string).collect();
            tracing::warn!(
                group = %self.id().name,
                survivors = ?report.survivors.iter().map(ToString::to_string).collect::<Vec<_>>(),
                ?errors,
                "a dropped group could not be ended; end its members by hand and remove it"
            );
        }
    }
}

/// A group that is being ended step by step. Dropping it half way kills and removes at once.
///
/// ```
/// use std::time::Duration;
/// use backend_fake::{Fake, Script};
/// use containment_core::{CgroupOps, ControllerSet, Group, Policy, Program, Signal, Stage, Step};
///
/// let fake = Fake::new();
/// fake.program("stubborn", Script::new().ignores(Signal::TERM));
/// let job = Group::new(fake.create(&"job".parse()?, ControllerSet::EMPTY)?, fake.waiter());
/// job.spawn(&Program::new("stubborn"))?;
///
/// let mut ending = job.begin_termination(Policy::graceful(Duration::from_secs(10)))?;
/// // To the next wait, which could be one for other things, too.
/// while matches!(ending.step(fake.now()), Step::Again) {}
/// assert_eq!(ending.stage(), Stage::Grace);
/// assert_eq!(ending.group().members()?.len(), 1);
/// ending.end_grace_by(fake.now() + Duration::from_secs(5));
/// // Somebody is in a hurry.
/// ending.hurry();
/// let report = ending.run();
/// assert!(report.is_clean() && report.elapsed < Duration::from_secs(5));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct Termination {
    group: Group,
    teardown: Teardown,
}

impl Termination {
    /// Goes on as far as it goes without waiting; `now` is by the clock that the caller waits by.
    pub fn step(&mut self, now: Time) -> Step {
        let step = self.teardown.step(now, &*self.group.ops);
        if matches!(step, Step::Done(_)) {
            self.group.armed = false;
        }
        step
    }

    /// Goes on to the end. Blocks until it is over.
    pub fn run(mut self) -> TeardownReport {
        let waiter = Arc::clone(&self.group.waiter);
        drive(&*waiter, |now| self.step(now))
    }

    /// Ends the grace now.
    pub fn hurry(&mut self) {
        self.teardown.hurry();
    }

    /// Ends the grace at that time of the group's waiter, unless it ends sooner.
    pub fn end_grace_by(&mut self, time: Time) {
        self.teardown.end_grace_by(time);
    }

    /// How far it has come.
    pub fn stage(&self) -> Stage {
        self.teardown.stage()
    }

    /// The group that is being ended.
    pub fn group(&self) -> &Group {
        &self.group
    }
}
