//! What ends a run before its program ends it: a time limit, a limit on CPU time, an OOM kill.
//!
//! [`Watchdog`] is a state machine without I/O of its own, like the teardown: whoever waits for other
//! things too (the command line) asks it what to wait for; [`Group::wait`] drives it for those who do
//! not. A time limit is a deadline of the wait; an OOM kill is an event of the kernel; CPU time is
//! announced by nothing, so it is read when it could have been used up at the earliest.

use std::time::Duration;

use crate::{
    Backoff, Change, Child, Error, ErrorKind, Group, GroupOps, Operation, Outcome, Result, Time,
    Topology, Watch,
};

/// How long, and how, a run may go on.
///
/// ```
/// use std::time::Duration;
/// use containment_core::Bounds;
/// let bounds = Bounds::new().wall(Duration::from_secs(60)).cpu(Duration::from_secs(10));
/// assert!(bounds.ends_on_oom() && !bounds.survive_oom().ends_on_oom());
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bounds {
    wall: Option<Duration>,
    cpu: Option<Duration>,
    ends_on_oom: bool,
}

/// Why a run was ended before its program ended it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Overrun {
    /// The time limit passed.
    Timeout,
    /// The members used up their CPU time.
    CpuTime,
    /// The OOM killer took a member.
    Oom,
}

impl Overrun {
    /// The name used in reports.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Timeout => "timeout",
            Self::CpuTime => "cpu-time",
            Self::Oom => "oom",
        }
    }
}

/// How a wait with bounds ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ended {
    /// The program ended.
    Program(Outcome),
    /// A bound was passed; the program, or other members, run on until the group is ended.
    Overrun(Overrun),
}

impl Bounds {
    /// No limit on time; an OOM kill ends the run.
    pub const fn new() -> Self {
        Self { wall: None, cpu: None, ends_on_oom: true }
    }

    /// The most time that may pass.
    #[must_use]
    pub const fn wall(mut self, most: Duration) -> Self {
        self.wall = Some(most);
        self
    }

    /// The most CPU time, user and system, that all members together may use.
    #[must_use]
    pub const fn cpu(mut self, most: Duration) -> Self {
        self.cpu = Some(most);
        self
    }

    /// Lets the run go on without the members that the OOM killer takes.
    #[must_use]
    pub const fn survive_oom(mut self) -> Self {
        self.ends_on_oom = false;
        self
    }

    /// Whether one OOM kill ends the run.
    pub const fn ends_on_oom(&self) -> bool {
        self.ends_on_oom
    }
}

impl Default for Bounds {
    fn default() -> Self {
        Self::new()
    }
}

/// What a look at a run showed.
#[derive(Debug)]
pub enum Look {
    /// A bound was passed.
    Over(Overrun),
    /// None was. Look again at `until`, or earlier when `on` announces something.
    Within {
        /// The latest moment to look again; [`Time::NEVER`] where there is nothing to look for.
        until: Time,
        /// What may announce an overrun before, if anything does.
        on: Option<Watch>,
    },
}

/// Watches over the bounds of one run.
///
/// ```
/// use std::time::Duration;
/// use backend_fake::{Fake, Script};
/// use containment_core::{Bounds, CgroupOps, ControllerSet, Look, Overrun, Program, Watchdog};
///
/// let fake = Fake::new();
/// fake.program("make", Script::new());
/// let group = fake.create(&"build-42".parse()?, ControllerSet::EMPTY)?;
/// group.spawn(&Program::new("make"))?;
/// let bounds = Bounds::new().wall(Duration::from_secs(60));
/// let mut watchdog = Watchdog::new(&bounds, fake.now(), &*group)?;
/// let Look::Within { until, .. } = watchdog.look(fake.now(), &*group)? else { panic!() };
/// assert_eq!(until, fake.now() + Duration::from_secs(60));
/// fake.advance(Duration::from_secs(60));
/// assert!(matches!(watchdog.look(fake.now(), &*group)?, Look::Over(Overrun::Timeout)));
/// assert!(!watchdog.oom_killed(&*group)?);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct Watchdog {
    deadline: Time,
    cpu: Option<CpuBound>,
    oom: OomBound,
}

#[derive(Debug)]
struct CpuBound {
    most: Duration,
    /// How many CPUs the members can use at once.
    cpus: u32,
}

#[derive(Debug)]
enum OomBound {
    Ignored,
    Watched { known: u64, looks: Looks },
}

/// The looks that follow an announcement: on cgroup v1 it comes a moment before the kill is counted.
#[derive(Debug)]
struct Looks {
    /// When the next look is due; one that comes earlier was announced.
    due: Time,
    /// The pause before the next one; none where nothing was announced lately.
    pause: Option<Duration>,
}

/// How much CPU time may pass unseen: far less than what a tick of the kernel's accounts and the kill
/// add to it.
const CPU_SLACK: Duration = Duration::from_millis(20);
/// The shortest pause between two readings of CPU time, however many CPUs there are.
const CPU_PAUSE: Duration = Duration::from_millis(1);
/// The first and the longest pause between looks for an OOM kill that was announced.
const OOM_PAUSES: (Duration, Duration) = (Duration::from_millis(1), Duration::from_millis(64));

impl Watchdog {
    /// Watches over a run that started at `started`. What the group used and lost before is its own.
    ///
    /// # Errors
    /// [`Unsupported`](ErrorKind::Unsupported) for a limit on CPU time where the group does not measure
    /// it. A group that does not count OOM kills has none to tell of.
    pub fn new(bounds: &Bounds, started: Time, group: &dyn GroupOps) -> Result<Self> {
        let cpu = bounds.cpu.map(|most| CpuBound::new(most, group)).transpose()?;
        let oom = if bounds.ends_on_oom { OomBound::new(group)? } else { OomBound::Ignored };
        let deadline = bounds.wall.map_or(Time::NEVER, |most| started + most);
        Ok(Self { deadline, cpu, oom })
    }

    /// Looks whether a bound was passed. Watch, then read, then wait.
    ///
    /// # Errors
    /// Those of [`GroupOps::usage`] where CPU time is limited, and of [`GroupOps::watch`] and
    /// [`GroupOps::oom_kills`] where an OOM kill ends the run: [`Gone`](ErrorKind::Gone) when somebody removed
    /// the group.
    pub fn look(&mut self, now: Time, group: &dyn GroupOps) -> Result<Look> {
        let on = self.oom.watch(group)?;
        if self.oom_killed(group)? {
            return Ok(Look::Over(Overrun::Oom));
        }
        if now >= self.deadline {
            return Ok(Look::Over(Overrun::Timeout));
        }
        let mut until = self.deadline;
        if let Some(cpu) = &self.cpu {
            match cpu.left(group)? {
                Duration::ZERO => return Ok(Look::Over(Overrun::CpuTime)),
                left => until = until.min(now + cpu.pause(left)),
            }
        }
        Ok(Look::Within { until: self.oom.bound(now, until), on })
    }

    /// Whether the OOM killer took a member, which ends the run. To be asked once more when the program
    /// has ended: it may have been the member.
    ///
    /// # Errors
    /// Those of [`GroupOps::oom_kills`]. That the group is [`Gone`](ErrorKind::Gone) is none.
    pub fn oom_killed(&self, group: &dyn GroupOps) -> Result<bool> {
        match &self.oom {
            OomBound::Ignored => Ok(false),
            OomBound::Watched { known, .. } => match group.oom_kills() {
                Ok(kills) => Ok(kills > *known),
                // Whoever removed it found nobody in it.
                Err(error) if error.kind() == ErrorKind::Gone => Ok(false),
                Err(error) => Err(error),
            },
        }
    }
}

impl CpuBound {
    fn new(most: Duration, group: &dyn GroupOps) -> Result<Self> {
        let used = cpu_used(group)?;
        let cpus = Topology::read().map(|topology| topology.cpus().len());
        let cpus = counted(cpus.map_err(|error| error.with_group(&group.id().name)));
        Ok(Self { most: most.saturating_add(used), cpus })
    }

    fn left(&self, group: &dyn GroupOps) -> Result<Duration> {
        Ok(self.most.saturating_sub(cpu_used(group)?))
    }

    /// The time in which `left` can be used up at the earliest, and never so short that looking costs
    /// more than it saves.
    fn pause(&self, left: Duration) -> Duration {
        left.max(CPU_SLACK).checked_div(self.cpus).unwrap_or(left).max(CPU_PAUSE)
    }
}

/// How many CPUs there are; where nobody can tell, as many as could use up the time at once.
fn counted(cpus: Result<usize>) -> u32 {
    match cpus {
        Ok(cpus) => u32::try_from(cpus).unwrap_or(u32::MAX).max(1),
        Err(error) => {
            tracing::warn!(
                group = error.group(), %error, remedy = error.remedy(),
                "cannot tell how many CPUs there are; reading CPU time as often as can be"
            );
            u32::MAX
        }
    }
}

fn cpu_used(group: &dyn GroupOps) -> Result<Duration> {
    group.usage()?.cpu.ok_or_else(|| {
        Error::new(ErrorKind::Unsupported, Operation::Usage)
            .with_group(&group.id().name)
            .because("this backend does not measure CPU time, so it cannot be limited")
            .advise("use another backend, or a limit on wall-clock time")
    })
}

impl OomBound {
    fn new(group: &dyn GroupOps) -> Result<Self> {
        match group.oom_kills() {
            Ok(known) => Ok(Self::Watched { known, looks: Looks { due: Time::ZERO, pause: None } }),
            Err(error) if error.kind() == ErrorKind::Unsupported => Ok(Self::Ignored),
            Err(error) => Err(error),
        }
    }

    fn watch(&self, group: &dyn GroupOps) -> Result<Option<Watch>> {
        match self {
            Self::Ignored => Ok(None),
            Self::Watched { .. } => group.watch(Change::Oom).map(Some),
        }
    }

    fn bound(&mut self, now: Time, until: Time) -> Time {
        match self {
            Self::Ignored => until,
            Self::Watched { looks, .. } => looks.bound(now, until),
        }
    }
}

impl Looks {
    /// Until when to wait at most: `until`, or shorter for a while after each announcement.
    fn bound(&mut self, now: Time, until: Time) -> Time {
        let (first, longest) = OOM_PAUSES;
        let announced = now < self.due;
        let pause = if announced { Some(first) } else { self.pause };
        self.pause = pause.map(|pause| pause * 2).filter(|next| *next <= longest);
        self.due = pause.map_or(until, |pause| until.min(now + pause));
        self.due
    }
}

impl Group {
    /// Waits until the program has ended, or a bound is passed; what happens to the group then is the
    /// caller's to say.
    ///
    /// ```
    /// use std::time::Duration;
    /// use backend_fake::{Fake, Script};
    /// use containment_core::{Bounds, Bytes, CgroupOps, ControllerSet, Ended, Group, Limit, Limits};
    /// use containment_core::{Outcome, Overrun, Program};
    ///
    /// let fake = Fake::new();
    /// let second = Duration::from_secs(1);
    /// fake.program("leaky", Script::new().allocates(second, Bytes::gib(4).0));
    /// fake.program("quick", Script::new().exits(second, 0));
    /// let with = ControllerSet::EMPTY.with(Limit::Memory);
    /// let job = Group::new(fake.create(&"build-42".parse()?, with)?, fake.waiter());
    /// job.set_limits(&Limits::new().memory_max(Bytes::gib(2)))?;
    ///
    /// let quick = job.spawn(&Program::new("quick"))?;
    /// assert_eq!(job.wait(&quick, &Bounds::new())?, Ended::Program(Outcome::Exited(0)));
    /// let leaky = job.spawn(&Program::new("leaky"))?;
    /// let ended = job.wait(&leaky, &Bounds::new().wall(60 * second))?;
    /// assert_eq!(ended, Ended::Overrun(Overrun::Oom));
    /// assert_eq!(Overrun::Oom.name(), "oom");
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// Those of [`Child::wait`] and of [`Watchdog::new`].
    pub fn wait(&self, child: &Child, bounds: &Bounds) -> Result<Ended> {
        let waiter = self.waiter();
        let mut watchdog = Watchdog::new(bounds, waiter.now(), self.ops())?;
        let mut pauses = Backoff::default();
        loop {
            let watch = child.watch().unwrap_or(Watch::Backoff);
            if let Some(outcome) = child.try_wait()? {
                let oom = watchdog.oom_killed(self.ops())?;
                return Ok(if oom {
                    Ended::Overrun(Overrun::Oom)
                } else {
                    Ended::Program(outcome)
                });
            }
            let now = waiter.now();
            match watchdog.look(now, self.ops())? {
                Look::Over(overrun) => return Ok(Ended::Overrun(overrun)),
                Look::Within { until, on } => {
                    let watch = watch.and(on);
                    waiter.wait(pauses.bound(now, until, &watch), &watch);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn where_nobody_can_tell_how_many_cpus_there_are_no_pause_is_longer_than_the_shortest() {
        let unknown = Err(Error::new(ErrorKind::System, Operation::Probe));
        let cpus = counted(unknown);
        let bound = CpuBound { most: Duration::MAX, cpus };
        for left in [Duration::ZERO, CPU_SLACK, Duration::from_secs(1_000_000)] {
            assert_eq!(bound.pause(left), CPU_PAUSE, "{left:?}");
        }
        assert!(bound.pause(Duration::MAX) > CPU_PAUSE);
        let known = [0, 1, 8, usize::MAX].map(|cpus| counted(Ok(cpus)));
        assert_eq!(known, [1, 1, 8, u32::MAX]);
    }
}
