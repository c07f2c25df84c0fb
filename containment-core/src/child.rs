//! A running program, for users.

use std::fmt;
use std::sync::Arc;

use crate::{Backoff, ChildOps, Pid, Result, Signal, Time, Waiter, Watch};

/// A program that runs in a group. Dropping it does nothing to the program: the group owns it.
///
/// ```
/// use backend_fake::{Fake, Script};
/// use containment_core::{CgroupOps, ControllerSet, Group, Outcome, Program, Signal, Time};
///
/// let fake = Fake::new();
/// fake.program("make", Script::new());
/// let job = Group::new(fake.create(&"job".parse()?, ControllerSet::EMPTY)?, fake.waiter());
/// let make = job.spawn(&Program::new("make"))?;
/// assert_eq!(make.try_wait()?, None, "it runs");
/// assert_eq!(job.members()?[0].pid, make.pid());
///
/// make.signal(Signal::TERM)?;
/// assert_eq!(make.wait()?, Outcome::Signaled(Signal::TERM));
///
/// // Among other things to wait for: watch, then look, then wait.
/// let make = job.spawn(&Program::new("make"))?;
/// make.signal(Signal::INT)?;
/// let outcome = loop {
///     let watch = make.watch()?;
///     match make.try_wait()? {
///         Some(outcome) => break outcome,
///         None => fake.waiter().wait(Time::NEVER, &watch),
///     }
/// };
/// assert_eq!(outcome, Outcome::Signaled(Signal::INT));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct Child {
    ops: Box<dyn ChildOps>,
    waiter: Arc<dyn Waiter>,
}

/// How a program ended.
///
/// ```
/// use containment_core::{Outcome, Signal};
/// assert!(Outcome::Exited(0).success() && !Outcome::Exited(3).success());
/// assert_eq!(Outcome::Signaled(Signal::KILL).shell_status(), 137);
/// assert_eq!(Outcome::Exited(3).to_string(), "exit status 3");
/// assert_eq!(Outcome::Signaled(Signal::KILL).to_string(), "SIGKILL");
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Outcome {
    /// It exited with this status.
    Exited(i32),
    /// This signal ended it.
    Signaled(Signal),
}

impl Outcome {
    /// Whether it exited with status 0.
    pub fn success(self) -> bool {
        self == Self::Exited(0)
    }

    /// The status that a shell would show: its own, or 128 plus the signal's number.
    pub fn shell_status(self) -> i32 {
        match self {
            Self::Exited(status) => status,
            Self::Signaled(signal) => 128 + signal.as_raw(),
        }
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Exited(status) => write!(f, "exit status {status}"),
            Self::Signaled(signal) => write!(f, "{signal}"),
        }
    }
}

impl Child {
    /// A child of a driver, by the driver's clock.
    pub fn new(ops: Box<dyn ChildOps>, waiter: Arc<dyn Waiter>) -> Self {
        Self { ops, waiter }
    }

    /// Its pid. Held unreaped by the backends that signal by it; on others it may be re-used once
    /// the program was waited for.
    pub fn pid(&self) -> Pid {
        self.ops.pid()
    }

    /// Waits until the program has ended, and says how. Its group may hold other members still.
    ///
    /// # Errors
    /// [`StatusLost`](crate::ErrorKind::StatusLost) when this process ignores SIGCHLD or reaped the
    /// program elsewhere; [`KeeperLost`](crate::ErrorKind::KeeperLost).
    pub fn wait(&self) -> Result<Outcome> {
        let mut pauses = Backoff::default();
        loop {
            // Watch, then read, then wait: an end in between makes the watch ready.
            // Without a descriptor to spare (EMFILE) there are still pauses.
            let watch = self.ops.watch().unwrap_or(Watch::Backoff);
            if let Some(outcome) = self.ops.try_wait()? {
                return Ok(outcome);
            }
            let until = pauses.bound(self.waiter.now(), Time::NEVER, &watch);
            self.waiter.wait(until, &watch);
        }
    }

    /// How the program ended, if it has.
    ///
    /// # Errors
    /// As [`wait`](Self::wait).
    pub fn try_wait(&self) -> Result<Option<Outcome>> {
        self.ops.try_wait()
    }

    /// What to wait on for the program's end, for callers that wait for other things too.
    ///
    /// # Errors
    /// [`System`](crate::ErrorKind::System) where it cannot be watched: looks after pauses do as well.
    pub fn watch(&self) -> Result<Watch> {
        self.ops.watch()
    }

    /// Sends a signal to the program alone.
    ///
    /// # Errors
    /// [`PermissionDenied`](crate::ErrorKind::PermissionDenied) for a program of another user. That it has ended
    /// is none.
    pub fn signal(&self, signal: Signal) -> Result<()> {
        self.ops.signal(signal)
    }
}
