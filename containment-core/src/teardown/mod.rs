//! Teardown as a state machine without I/O of its own: every look at the group and every act on it
//! goes through [`GroupOps`], every wait is returned to whoever drives.
//!
//! ```text
//! Begin ──► Grace ──► Kill ──► Empty ──► Remove ──► done
//!   │         │        ▲ │       ▲          │
//!   └─────────┴────────┼─┼───────┘          │   each left at once when the group is empty
//!                      └─┼──────────────────┘   a member that came in meanwhile
//!                        └──► done              survivors, when the time is up
//! ```
//!
//! The rule of every wait: watch, then read, then wait; and after every wake look again before
//! killing again.

mod killing;
mod noting;
mod policy;
mod report;

use std::sync::Arc;
use std::time::Duration;

use crate::{
    Backoff, Change, Error, ErrorKind, Escape, Freeze, GroupOps, Member, Signal, Time, Waiter,
    Watch, Witness,
};
use killing::Killing;
pub use policy::Policy;
pub use report::TeardownReport;

/// What a step came to.
#[derive(Debug)]
pub enum Step {
    /// The teardown is over.
    Done(Box<TeardownReport>),
    /// Call again at once: this step may have taken long (members were listed under a fork bomb), and
    /// the next one needs the time as it is now.
    Again,
    /// Call again at `until`, or earlier when `on` announces a change.
    Wait {
        /// The latest moment to call again.
        until: Time,
        /// What may announce a change before.
        on: Watch,
    },
}

/// How far a teardown has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Stage {
    /// Members are listed and asked to end.
    Asking,
    /// They have their grace.
    Grace,
    /// They are killed.
    Killing,
    /// The group is empty, and is being removed.
    Removing,
    /// It is over.
    Over,
}

/// The teardown of one group.
///
/// ```
/// use std::time::Duration;
/// use backend_fake::{Fake, Script};
/// use containment_core::{CgroupOps, ControllerSet, Policy, Program, Signal, Stage, Step, Teardown};
///
/// let fake = Fake::new();
/// fake.program("stubborn", Script::new().ignores(Signal::TERM));
/// let group = fake.create(&"job".parse()?, ControllerSet::EMPTY)?;
/// group.spawn(&Program::new("stubborn"))?;
///
/// let waiter = fake.waiter();
/// let mut teardown = Teardown::new(Policy::graceful(Duration::from_secs(10)));
/// assert_eq!(teardown.stage(), Stage::Asking);
/// teardown.end_grace_by(waiter.now() + Duration::from_secs(3));
/// let report = loop {
///     match teardown.step(waiter.now(), &*group) {
///         Step::Done(report) => break report,
///         Step::Again => {}
///         Step::Wait { until, on } => waiter.wait(until, &on),
///     }
/// };
/// assert!(report.is_clean() && report.elapsed >= Duration::from_secs(3));
/// assert_eq!(teardown.stage(), Stage::Over);
///
/// // Who has nothing else to wait for lets it run.
/// let group = fake.create(&"other".parse()?, ControllerSet::EMPTY)?;
/// group.spawn(&Program::new("stubborn"))?;
/// let mut teardown = Teardown::new(Policy::graceful(Duration::from_secs(10))).witnessed_by(None);
/// teardown.hurry();
/// let report = teardown.run(&*group, &*waiter);
/// assert!(report.is_clean() && report.elapsed < Duration::from_secs(10));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct Teardown {
    policy: Policy,
    /// Who can tell where members come from.
    witness: Option<Arc<dyn Witness>>,
    phase: Phase,
    started: Option<Time>,
    /// When the grace ends at the latest, where somebody said so.
    grace_by: Time,
    /// When the kill gives up, however often it is resumed; set by the first.
    kill_by: Option<Time>,
    /// When the removal gives up, and a kill that it resumed; set when the group was first empty.
    remove_by: Option<Time>,
    /// Whether the members at the program's end were taken down.
    left_behind_known: bool,
    /// Whether members were told to hold still.
    held_still: bool,
    /// Whether the last look at the population failed.
    blind: bool,
    /// Pauses where nothing announces a change.
    pauses: Backoff,
    report: TeardownReport,
}

#[derive(Debug, Clone)]
enum Phase {
    Begin,
    Ask,
    Grace { until: Time },
    Kill(Killing),
    Empty,
    Remove { tried: bool },
    Done,
}

enum Next {
    Phase(Phase),
    Again,
    Wait { until: Time, on: Watch },
}

impl Teardown {
    /// A teardown that has not begun.
    pub fn new(policy: Policy) -> Self {
        Self {
            policy,
            witness: None,
            phase: Phase::Begin,
            started: None,
            grace_by: Time::NEVER,
            kill_by: None,
            remove_by: None,
            left_behind_known: false,
            held_still: false,
            blind: false,
            pauses: Backoff::default(),
            report: TeardownReport::default(),
        }
    }

    /// The same, and who is named in its report is named with their origins.
    #[must_use]
    pub fn witnessed_by(self, witness: Option<Arc<dyn Witness>>) -> Self {
        Self { witness, ..self }
    }

    /// How far it has come. A member that comes in while the group is being removed leads back to the
    /// kill.
    pub fn stage(&self) -> Stage {
        match self.phase {
            Phase::Begin | Phase::Ask => Stage::Asking,
            Phase::Grace { .. } => Stage::Grace,
            Phase::Kill(_) => Stage::Killing,
            Phase::Empty | Phase::Remove { .. } => Stage::Removing,
            Phase::Done => Stage::Over,
        }
    }

    /// Ends the grace now.
    pub fn hurry(&mut self) {
        self.policy.grace = Duration::ZERO;
        if let Phase::Grace { until } = &mut self.phase {
            *until = Time::ZERO;
        }
    }

    /// Ends the grace at that time, unless it ends sooner; one that has not begun yet, too.
    pub fn end_grace_by(&mut self, time: Time) {
        self.grace_by = time.min(self.grace_by);
        if let Phase::Grace { until } = &mut self.phase {
            *until = time.min(*until);
        }
    }

    /// Goes on as far as it goes without waiting. After `Done` there is nothing left to report.
    pub fn step(&mut self, now: Time, group: &dyn GroupOps) -> Step {
        let started = *self.started.get_or_insert(now);
        loop {
            let next = match self.phase.clone() {
                Phase::Begin => self.begin(now, group),
                Phase::Ask => self.ask(now, group),
                Phase::Grace { until } => self.grace(now, until, group),
                Phase::Kill(killing) => self.kill(now, killing, group),
                Phase::Empty => self.empty(now, group),
                Phase::Remove { tried } => self.remove(now, tried, group),
                Phase::Done => {
                    self.report.elapsed = now.since(started);
                    return Step::Done(Box::new(std::mem::take(&mut self.report)));
                }
            };
            match next {
                Next::Phase(phase) => self.phase = phase,
                Next::Again => return Step::Again,
                Next::Wait { until, on } => return Step::Wait { until, on },
            }
        }
    }

    /// Drives the machine to its end on this thread.
    pub fn run(mut self, group: &dyn GroupOps, waiter: &dyn Waiter) -> TeardownReport {
        drive(waiter, |now| self.step(now, group))
    }

    /// A kill at once that strikes nobody whom the report has to name, neither left behind nor escaped, needs no look
    /// at each member first, which takes a sixth of the time in which they die; nor one at the population, for the
    /// program lives.
    fn begin(&mut self, now: Time, group: &dyn GroupOps) -> Next {
        self.note_failure(group.reap().map(drop));
        if self.policy.grace.is_zero() && group.program_runs() && !is_swept(group) {
            return Next::Phase(self.killing(now, now));
        }
        if let Some(end) = self.emptied(group) {
            return Next::Phase(end);
        }
        let listed = self.hold_still(group);
        self.note_members(group, listed);
        self.phase = Phase::Ask;
        Next::Again
    }

    /// Stops members from forking, and from taking our share of the processors, while they are listed
    /// and signalled. Nobody waits for it: it need not be complete to help. Who they are, where that was seen.
    fn hold_still(&mut self, group: &dyn GroupOps) -> Option<Vec<Member>> {
        self.held_still = true;
        if group.capabilities().freeze == Freeze::None {
            return None;
        }
        group.hold_still().unwrap_or_else(|error| {
            self.note_failure(Err(error));
            None
        })
    }

    fn ask(&mut self, now: Time, group: &dyn GroupOps) -> Next {
        if self.policy.grace.is_zero() {
            return Next::Phase(self.killing(now, now));
        }
        self.ask_to_end(group);
        Next::Phase(Phase::Grace { until: self.grace_by.min(now + self.policy.grace) })
    }

    /// The signal, and then what lets a frozen or stopped member act on it.
    fn ask_to_end(&mut self, group: &dyn GroupOps) {
        let asked = group.signal(self.policy.signal);
        self.note_pass(asked);
        if group.capabilities().freeze == Freeze::Kernel {
            self.note_failure(group.request_thaw());
        }
        let continued = group.signal(Signal::CONT);
        self.note_pass(continued);
    }

    fn grace(&mut self, now: Time, until: Time, group: &dyn GroupOps) -> Next {
        if !self.left_behind_known || is_swept(group) {
            self.note_members(group, None);
        }
        if now >= until {
            return Next::Phase(match self.ended(group) {
                Some(end) => end,
                None => self.killing(now, now),
            });
        }
        self.watch(now, until, Change::Empty, group)
    }

    fn empty(&mut self, now: Time, group: &dyn GroupOps) -> Next {
        self.report.emptied = !self.blind;
        self.read_usage(group);
        // Nothing lives. What the pids controller counts still are zombies that nobody has reaped yet.
        if let Some(usage) = self.report.usage.as_mut().filter(|_| self.report.emptied) {
            usage.pids = usage.pids.and(Some(0));
        }
        if !self.policy.remove {
            // The kill may have left it frozen, and nobody could be put into it.
            if group.capabilities().freeze == Freeze::Kernel {
                self.note_failure(group.request_thaw());
            }
            return Next::Phase(Phase::Done);
        }
        if self.remove_by.is_none() {
            self.remove_by = Some(now + self.policy.kill_timeout);
            self.pauses = Backoff::default();
        }
        Next::Phase(Phase::Remove { tried: false })
    }

    fn remove(&mut self, now: Time, tried: bool, group: &dyn GroupOps) -> Next {
        let remove_by = *self.remove_by.get_or_insert(now);
        match group.remove() {
            Ok(()) => self.note_removed(),
            Err(error) if error.is_gone() => self.note_removed(),
            Err(error) if error.kind() == ErrorKind::Busy && now < remove_by => {
                return self.removal_busy(now, remove_by, tried, group);
            }
            Err(error) => self.report.note(error),
        }
        Next::Phase(Phase::Done)
    }

    /// Nothing lives in what the kernel let go.
    fn note_removed(&mut self) {
        (self.report.emptied, self.report.removed) = (true, true);
    }

    /// What is left may be announced (a keeper's exit), once; after that a pause is all there is. A
    /// member that came in meanwhile is killed, after the same pause, so that two looks that differ
    /// never spin.
    fn removal_busy(
        &mut self,
        now: Time,
        remove_by: Time,
        tried: bool,
        group: &dyn GroupOps,
    ) -> Next {
        let announced = (!tried).then(|| group.watch(Change::Empty).ok()).flatten();
        let until = self.pauses.bound(now, remove_by, &Watch::Backoff);
        let populated = group.populated();
        self.phase = match populated {
            Ok(true) => self.killing(now, until),
            _ => Phase::Remove { tried: true },
        };
        // What could not be read was not re-armed either.
        let on = announced.filter(|_| matches!(populated, Ok(false))).unwrap_or(Watch::Backoff);
        Next::Wait { until, on }
    }

    /// The phase that follows when nothing lives any more; `None` while something does.
    fn ended(&mut self, group: &dyn GroupOps) -> Option<Phase> {
        self.note_failure(group.reap().map(drop));
        self.emptied(group)
    }

    /// The same without reaping first.
    fn emptied(&mut self, group: &dyn GroupOps) -> Option<Phase> {
        let populated = group.populated();
        self.blind = populated.is_err();
        match populated {
            Ok(false) => Some(Phase::Empty),
            Ok(true) => None,
            Err(error) if error.is_gone() => Some(self.vanished()),
            Err(error) => {
                self.report.note(error);
                None
            }
        }
    }

    /// Somebody else removed it. What was made besides it, levels above it for one, is still ours to remove.
    fn vanished(&mut self) -> Phase {
        self.report.emptied = true;
        if self.policy.remove {
            return Phase::Remove { tried: false };
        }
        self.report.removed = true;
        Phase::Done
    }

    /// Watch, then read, then wait.
    fn watch(&mut self, now: Time, until: Time, change: Change, group: &dyn GroupOps) -> Next {
        let on = group.watch(change).unwrap_or_else(|error| self.unwatched(error, group));
        if let Some(end) = self.ended(group) {
            return Next::Phase(end);
        }
        // What could not be read was not re-armed either: its readiness would never end.
        let on = if self.blind { Watch::Backoff } else { on };
        let until = self.pauses.bound(now, until, &on);
        Next::Wait { until, on }
    }

    /// Without a watch (EMFILE) there are still pauses. One warning is enough for all of them.
    fn unwatched(&mut self, error: Error, group: &dyn GroupOps) -> Watch {
        let known = self.report.errors.len();
        self.note_failure(Err(error));
        if self.report.errors.len() > known {
            tracing::warn!(group = %group.id().name, "cannot watch; looking again after pauses");
        }
        Watch::Backoff
    }

    fn read_usage(&mut self, group: &dyn GroupOps) {
        if !self.policy.measure {
            return;
        }
        match group.usage() {
            Ok(usage) => self.report.usage = Some(usage),
            Err(error) if error.kind() == ErrorKind::Unsupported || error.is_gone() => {}
            Err(error) => self.report.note(error),
        }
    }
}

/// Takes steps to the end, waiting in between.
pub(crate) fn drive(waiter: &dyn Waiter, mut step: impl FnMut(Time) -> Step) -> TeardownReport {
    loop {
        let now = waiter.now();
        match step(now) {
            Step::Again => {}
            Step::Wait { until, on } => waiter.wait(until, &on),
            Step::Done(mut report) => {
                // The last step took its time, too.
                report.elapsed += waiter.now().since(now);
                return *report;
            }
        }
    }
}

/// Whether members can leave and are found all the same, at any time.
fn is_swept(group: &dyn GroupOps) -> bool {
    group.capabilities().escape == Escape::Swept
}
