//! The phase that kills: strike, look, strike again; freeze where the driver asks for it; give up in
//! time.

use std::time::Duration;

use super::{Next, Phase, Teardown, is_swept};
use crate::{
    Backoff, Change, Error, ErrorKind, Freeze, FreezeState, GroupOps, Kill, KillStep, Operation,
    Result, Signal, Time, Watch,
};

/// After so many freezes that timed out, members are signalled unfrozen, so that the healthy ones die.
const FREEZES: u8 = 2;

/// A kill that took every member at once is repeated only for members that were moved in after it, or that it did
/// not reach; any other one for those that were forked meanwhile.
const AFTER_ALL: Duration = Duration::from_secs(1);

/// What a process takes to die, on two cores. Whoever was struck has its share of the time until everybody is
/// struck again, for those who were forked meanwhile: to strike the dying again delays them.
const DYING: Duration = Duration::from_micros(100);

/// After so long everybody is struck again, however many are dying.
const DYING_AT_MOST: Duration = Duration::from_millis(250);

/// A kill under way.
#[derive(Debug, Clone)]
pub(super) struct Killing {
    /// When to give up; not before a step was made.
    give_up: Time,
    /// When to kill again if members are still there.
    next: Time,
    pauses: Backoff,
    freezing: Option<Freezing>,
    failed_freezes: u8,
    /// Whether a step was made.
    begun: bool,
    /// Whether somebody was known to live just now.
    looked: bool,
    /// Whether who lives on after the first step is to be thawed: somebody else may have frozen the group.
    thaw_due: bool,
}

impl Killing {
    fn new(now: Time, first: Time, give_up: Time) -> Self {
        Self {
            give_up,
            next: first,
            looked: first <= now,
            pauses: Backoff::new(Duration::from_millis(1), Duration::from_millis(20)),
            freezing: None,
            failed_freezes: 0,
            begun: false,
            thaw_due: false,
        }
    }

    /// When to look again at the latest.
    fn until(&self, now: Time) -> Time {
        let next = self.next.min(self.give_up);
        if self.thaw_due { next.min(now + SOON) } else { next }
    }
}

/// By then a few who run have died; who is frozen, where a frozen process does not die, is thawed.
const SOON: Duration = Duration::from_millis(1);

/// The kernel announces at most one change of a group in about 10 ms, so a freeze that completes at
/// once is announced late; it is looked for until this has passed.
const ANNOUNCEMENT_DELAY: Duration = Duration::from_millis(15);

/// A freeze that was asked for.
#[derive(Debug, Clone)]
struct Freezing {
    /// Until when it may take.
    until: Time,
    /// From when on its announcement is trusted alone.
    trusted: Time,
    looks: Backoff,
}

impl Freezing {
    fn asked(now: Time, until: Time) -> Self {
        let looks = Backoff::new(Duration::from_micros(50), Duration::from_millis(5));
        Self { until, trusted: now + ANNOUNCEMENT_DELAY, looks }
    }

    /// The wait `next` cut short, for as long as its announcement is not to be relied on.
    fn look_sooner(&mut self, now: Time, next: Next) -> Next {
        match next {
            Next::Wait { until, on } if now < self.trusted || matches!(on, Watch::Backoff) => {
                Next::Wait { until: until.min(now + self.looks.pause()), on }
            }
            next => next,
        }
    }
}

/// Whether a step signalled a few members, who die only once they are thawed.
fn signalled_few(step: &Result<KillStep>, group: &dyn GroupOps) -> bool {
    let kill = group.capabilities().kill;
    matches!((step, kill), (Ok(KillStep::Signalled(pass)), Kill::Frozen { thaw_after: true })
        if dying(pass.count) <= SOON)
}

/// How long so many take to die.
fn dying(count: usize) -> Duration {
    DYING.saturating_mul(u32::try_from(count).unwrap_or(u32::MAX)).min(DYING_AT_MOST)
}

impl Teardown {
    /// The phase that kills, first at `first`; where that is now, somebody was known to live just before.
    pub(super) fn killing(&mut self, now: Time, first: Time) -> Phase {
        if self.kill_by.is_none() {
            self.pauses = Backoff::default();
        }
        let kill_by = *self.kill_by.get_or_insert(now + self.policy.kill_timeout);
        Phase::Kill(Killing::new(now, first, self.remove_by.unwrap_or(kill_by)))
    }

    pub(super) fn kill(&mut self, now: Time, mut killing: Killing, group: &dyn GroupOps) -> Next {
        if !std::mem::take(&mut killing.looked)
            && let Some(end) = self.ended(group)
        {
            return Next::Phase(end);
        }
        if std::mem::take(&mut killing.thaw_due) {
            self.thaw_the_killed(group);
            // Who was thawed just now was signalled already.
            killing.next = killing.next.max(now + SOON);
        }
        if now >= killing.give_up && killing.begun {
            return self.give_up(now, &killing, group);
        }
        if killing.freezing.is_none() && now >= killing.next {
            self.kill_once(now, &mut killing, group);
        }
        if let Some(freezing) = killing.freezing.clone() {
            return self.await_freeze(now, killing, freezing, group);
        }
        let until = killing.until(now);
        self.phase = Phase::Kill(killing);
        self.watch(now, until, Change::Empty, group)
    }

    /// One kill step, and when to make the next.
    fn kill_once(&mut self, now: Time, killing: &mut Killing, group: &dyn GroupOps) {
        if killing.begun && is_swept(group) {
            let listed = if self.held_still { None } else { self.hold_still(group) };
            self.note_members(group, listed);
        }
        killing.begun = true;
        let step = group.kill();
        if matches!(step, Ok(KillStep::Freezing)) {
            let until = now + self.policy.freeze_timeout;
            killing.freezing = Some(Freezing::asked(now, until.min(killing.give_up)));
            return;
        }
        if matches!(&step, Err(error) if error.kind() == ErrorKind::HoldsCaller) {
            // Nor will any other step: the caller's own death is never the way.
            killing.give_up = now;
            return self.note_failure(step.map(drop));
        }
        let pause = match &step {
            // Once more before it is given up, however soon that is.
            Ok(KillStep::Killed) => AFTER_ALL.min(self.policy.kill_timeout / 2),
            Ok(KillStep::Signalled(pass)) => killing.pauses.pause().max(dying(pass.count)),
            _ => killing.pauses.pause(),
        };
        // A few whom nobody has told to hold still mostly run, and die without a look at the freezer.
        let is_first = self.report.rounds == 0;
        killing.thaw_due = is_first && !self.held_still && signalled_few(&step, group);
        self.follow_up(step, group);
        if !killing.thaw_due {
            self.thaw_the_killed(group);
        }
        self.report.rounds += 1;
        killing.next = now + pause;
    }

    /// What a kill step said, and the weaker one that stands in for a step that failed.
    fn follow_up(&mut self, step: Result<KillStep>, group: &dyn GroupOps) {
        match step {
            Ok(KillStep::Signalled(pass)) => self.note_pass(Ok(pass)),
            Ok(KillStep::Killed | KillStep::Freezing) => {}
            Err(error) if error.is_gone() => {}
            Err(error) => {
                self.report.note(error);
                let pass = group.signal(Signal::KILL);
                self.note_pass(pass);
            }
        }
    }

    /// Waits for a freeze, bounded, and then kills. The look at `frozen` is the last before the
    /// wait: an empty group counts as frozen too, so that no change gets lost between two looks.
    fn await_freeze(
        &mut self,
        now: Time,
        mut killing: Killing,
        mut freezing: Freezing,
        group: &dyn GroupOps,
    ) -> Next {
        let mut wait = self.watch(now, freezing.until, Change::Frozen, group);
        if matches!(wait, Next::Phase(_)) {
            return wait;
        }
        killing.freezing = None;
        match group.frozen() {
            Ok(FreezeState::Frozen) => self.kill_once(now, &mut killing, group),
            _ if now >= freezing.until => self.freeze_failed(now, &mut killing, group),
            state => {
                self.note_failure(state.map(drop));
                wait = freezing.look_sooner(now, wait);
                killing.freezing = Some(freezing);
            }
        }
        if killing.freezing.is_none() {
            return Next::Phase(Phase::Kill(killing));
        }
        self.phase = Phase::Kill(killing);
        wait
    }

    /// A freeze timed out: undo it, and after the second one signal what runs.
    fn freeze_failed(&mut self, now: Time, killing: &mut Killing, group: &dyn GroupOps) {
        killing.freezing = None;
        killing.failed_freezes += 1;
        self.freeze_undone(group);
        if killing.failed_freezes >= FREEZES || now >= killing.give_up {
            killing.failed_freezes = 0;
            self.kill_unfrozen(group);
        }
        killing.next = now + killing.pauses.pause();
    }

    /// Leaves nobody frozen by a freeze that did not complete.
    fn freeze_undone(&mut self, group: &dyn GroupOps) {
        self.note_failure(group.request_thaw());
        self.report
            .note(Error::new(ErrorKind::TimedOut, Operation::Freeze).with_group(&group.id().name));
    }

    fn kill_unfrozen(&mut self, group: &dyn GroupOps) {
        let pass = group.signal(Signal::KILL);
        self.note_pass(pass);
        self.report.rounds += 1;
    }

    /// Undoes the freeze of a kill. Where members die frozen, one around them is in nobody's way.
    fn thaw_the_killed(&mut self, group: &dyn GroupOps) {
        let Kill::Frozen { thaw_after } = group.capabilities().kill else { return };
        match group.request_thaw() {
            Err(error) if !thaw_after && error.kind() == ErrorKind::Frozen => {}
            thawed => self.note_failure(thawed),
        }
    }

    fn give_up(&mut self, now: Time, killing: &Killing, group: &dyn GroupOps) -> Next {
        if killing.freezing.is_some() {
            self.freeze_undone(group);
            self.kill_unfrozen(group);
        } else if group.capabilities().freeze != Freeze::None {
            // Who was held still and could not be killed is at least left running.
            self.note_failure(group.request_thaw());
        }
        let late = Error::new(ErrorKind::TimedOut, Operation::Kill).with_group(&group.id().name);
        self.report.note(late);
        match group.members() {
            Ok(members) if !members.is_empty() => self.note_survivors(&members),
            // Only the population could not be read, or nothing but zombies is left, or nothing can be
            // seen at all: the kernel refuses the removal where that is wrong.
            unseen => {
                self.note_failure(unseen.map(drop));
                self.blind = !matches!(group.populated(), Ok(false));
                self.remove_by = Some(now);
                return Next::Phase(Phase::Empty);
            }
        }
        self.read_usage(group);
        Next::Phase(Phase::Done)
    }
}
