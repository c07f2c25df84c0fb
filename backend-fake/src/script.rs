//! What a process of the model does: a list of timed actions and a temper.

use std::time::Duration;

use containment_core::{Signal, SignalSet};

/// A program's behaviour. A new one sleeps for ever and dies of whatever signal it gets.
///
/// All times count from the process's start. What falls due while it cannot run (stopped, frozen,
/// in uninterruptible sleep) happens as soon as it can.
///
/// ```
/// use std::time::Duration;
/// use backend_fake::{Fake, Script};
/// use containment_core::{CgroupOps, ControllerSet, ErrorKind, Group, Policy, Program, Signal};
///
/// let [now, second] = [Duration::ZERO, Duration::from_secs(1)];
/// let fake = Fake::v1();
/// let scripts = [
///     ("daemon", Script::new().daemonises(now, Script::new().named("daemon"))),
///     ("bomb", Script::new().multiplies(second, 30)),
///     ("phoenix", Script::new().respawns(second)),
///     ("stubborn", Script::new().ignores(Signal::TERM).dodges(3)),
///     ("slow", Script::new().lingers(second).dies_within(second)),
///     ("stopped", Script::new().stops_itself(now)),
///     ("icy", Script::new().detached().freezes_its_group(second)),
///     ("greedy", Script::new().allocates(now, 1 << 20).works(now)),
///     ("shell", Script::new().forks(now, Script::new().exits(second, 0)).works_after_a_child()),
///     ("disk", Script::new().sleeps_uninterruptibly(now, second)),
///     ("text", Script::new().not_executable()),
/// ];
/// let job = Group::new(fake.create(&"job".parse()?, ControllerSet::EMPTY)?, fake.waiter());
/// for (name, script) in scripts {
///     fake.program(name, script);
///     let spawned = job.spawn(&Program::new(name));
///     match name {
///         "text" => assert_eq!(spawned.unwrap_err().kind(), ErrorKind::ProgramNotExecutable),
///         _ => drop(spawned?),
///     }
/// }
/// fake.advance(5 * second);
/// assert!(job.terminate(&Policy::graceful(second))?.is_clean(), "whatever they do");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, Default)]
pub struct Script {
    pub(crate) comm: Option<String>,
    pub(crate) actions: Vec<(Duration, Action)>,
    pub(crate) ignored: SignalSet,
    pub(crate) linger: Duration,
    pub(crate) dying: Option<Duration>,
    pub(crate) dodges: u32,
    pub(crate) works_after_a_child: bool,
    pub(crate) executable: Executable,
}

/// Whether the file of a program can be executed at all.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum Executable {
    #[default]
    Yes,
    No,
}

/// One thing that a process does.
#[derive(Debug, Clone)]
pub(crate) enum Action {
    Exit(i32),
    Fork(Box<Script>),
    /// Starts its own script anew in a child, and exits.
    Respawn,
    /// Forks itself again and again, while fewer than `most` processes are in its group.
    Multiply {
        period: Duration,
        most: usize,
    },
    Setsid,
    Stop,
    FreezeOwnGroup,
    /// Ignores these signals from now on.
    Ignore(SignalSet),
    /// Does one unit of work.
    Work,
    /// Does one unit of work each period.
    WorkEvery(Duration),
    Allocate(u64),
    SleepUninterruptibly(Duration),
    /// Ends by a signal that it met a while ago.
    Succumb(Signal),
}

impl Script {
    /// Sleeps for ever.
    pub fn new() -> Self {
        Self::default()
    }

    /// Calls itself so; a program that is spawned is called by its name otherwise.
    #[must_use]
    pub fn named(mut self, comm: &str) -> Self {
        self.comm = Some(comm.to_owned());
        self
    }

    /// Exits with this status.
    #[must_use]
    pub fn exits(self, after: Duration, status: i32) -> Self {
        self.does(after, Action::Exit(status))
    }

    /// Forks a child that behaves like `child`.
    #[must_use]
    pub fn forks(self, after: Duration, child: Script) -> Self {
        self.does(after, Action::Fork(Box::new(child)))
    }

    /// Forks a child into a session of its own and exits: what `daemon(3)` does.
    #[must_use]
    pub fn daemonises(self, after: Duration, daemon: Script) -> Self {
        self.forks(after, daemon.detached()).exits(after, 0)
    }

    /// Calls `setsid` at its very start.
    #[must_use]
    pub fn detached(mut self) -> Self {
        self.actions.insert(0, (Duration::ZERO, Action::Setsid));
        self
    }

    /// Each `period` leaves the field to a sibling that does the same.
    #[must_use]
    pub fn respawns(self, period: Duration) -> Self {
        self.does(period, Action::Respawn)
    }

    /// Multiplies: it and all that come of it fork each `period`, until `most` are in the group.
    #[must_use]
    pub fn multiplies(self, period: Duration, most: usize) -> Self {
        self.does(period, Action::Multiply { period, most })
    }

    /// Sends SIGSTOP to itself.
    #[must_use]
    pub fn stops_itself(self, after: Duration) -> Self {
        self.does(after, Action::Stop)
    }

    /// Freezes the group that it is in. Nothing happens on process groups.
    #[must_use]
    pub fn freezes_its_group(self, after: Duration) -> Self {
        self.does(after, Action::FreezeOwnGroup)
    }

    /// Does one unit of work, which [`Snapshot::work`](crate::Snapshot::work) counts.
    #[must_use]
    pub fn works(self, after: Duration) -> Self {
        self.does(after, Action::Work)
    }

    /// Does one unit of work each `period`.
    #[must_use]
    pub fn works_every(self, period: Duration) -> Self {
        self.does(period, Action::WorkEvery(period))
    }

    /// Does one unit of work when a child of its own has ended: as a shell, which runs its next command.
    #[must_use]
    pub fn works_after_a_child(mut self) -> Self {
        self.works_after_a_child = true;
        self
    }

    /// Is a file that cannot be executed.
    #[must_use]
    pub fn not_executable(mut self) -> Self {
        self.executable = Executable::No;
        self
    }

    /// Takes so many bytes of memory more; above the group's limit the OOM killer takes it.
    #[must_use]
    pub fn allocates(self, after: Duration, bytes: u64) -> Self {
        self.does(after, Action::Allocate(bytes))
    }

    /// Sleeps in state D for `duration`; [`Duration::MAX`] is until [`Fake::release`](crate::Fake::release).
    #[must_use]
    pub fn sleeps_uninterruptibly(self, after: Duration, duration: Duration) -> Self {
        self.does(after, Action::SleepUninterruptibly(duration))
    }

    /// Ignores a signal. SIGKILL and SIGSTOP cannot be ignored.
    #[must_use]
    pub fn ignores(mut self, signal: Signal) -> Self {
        self.ignored = self.ignored.with(signal);
        self
    }

    /// Ends only this long after a signal that asks it to.
    #[must_use]
    pub fn lingers(mut self, duration: Duration) -> Self {
        self.linger = duration;
        self
    }

    /// Takes the kernel so long to end it, once it is killed.
    #[must_use]
    pub fn dies_within(mut self, duration: Duration) -> Self {
        self.dying = Some(duration);
        self
    }

    /// So many times, forks a child between being listed and being signalled with SIGKILL. It cannot
    /// while it is frozen, and an atomic kill takes the child too.
    #[must_use]
    pub fn dodges(mut self, times: u32) -> Self {
        self.dodges = times;
        self
    }

    fn does(mut self, after: Duration, action: Action) -> Self {
        self.actions.push((after, action));
        self
    }
}
