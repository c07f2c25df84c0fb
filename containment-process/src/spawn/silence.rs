//! A child that keeps silent between its clone and its exec: it may be slow, stopped, dead, or frozen with
//! its group. Nothing of it is done for one that is as fast as they mostly are.

use std::time::{Duration, Instant};

use containment_core::{FreezeState, ProcessState, Signal};
use rustix::event::{PollFd, PollFlags, Timespec, poll};

use super::AskFrozen;
use crate::pidfd::PidFd;
use crate::proc::Stat;

/// How long a child may keep silent until it is looked after.
const SILENCE: Duration = Duration::from_millis(20);
/// The same once it was stopped: the target user may stop it again and again, and it gets on a little each time that
/// it is told to go on.
const AGAIN: Duration = Duration::from_micros(500);
/// After so many quick looks there is a long one: the file system may be what is slow.
const QUICK: u32 = 64;
/// Pauses without a stop become longer: they double, so many times.
const DOUBLINGS: u32 = 3;
/// How long a group may be frozen until its child is not waited for any longer: a moment is ridden out, and
/// whoever starts a program has an answer within a second.
const FROZEN: Duration = Duration::from_millis(500);

/// What became of a child.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Seen {
    /// It executed or died.
    Left,
    /// It asked whether its group was killed, and was.
    TurnedAway,
    /// Its group has been frozen for too long.
    Frozen,
}

/// What a look at a silent child tells.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Look {
    /// It is on its way, as far as can be seen.
    Silent,
    /// It has died.
    Dead,
    /// Its group has been frozen for too long.
    Frozen,
}

/// The looks at one child.
#[derive(Debug)]
pub(super) struct Silence<'a> {
    process: &'a PidFd,
    frozen: Option<AskFrozen<'a>>,
    looks: u32,
    was_stopped: bool,
    frozen_since: Option<Instant>,
}

impl<'a> Silence<'a> {
    pub(super) fn new(process: &'a PidFd, frozen: Option<AskFrozen<'a>>) -> Self {
        Self { process, frozen, looks: 0, was_stopped: false, frozen_since: None }
    }

    /// How long to wait for a word of it now.
    pub(super) fn pause(&self) -> Timespec {
        timespec(match self.was_stopped {
            false => SILENCE * (1 << self.looks.min(DOUBLINGS)),
            true if self.is_long() => SILENCE,
            true => AGAIN,
        })
    }

    /// Whether the pause that is over, or is next, is no quick one.
    fn is_long(&self) -> bool {
        !self.was_stopped || self.looks.is_multiple_of(QUICK)
    }

    /// There was none for so long: has it go on if it is stopped, and asks whether it ever will.
    ///
    /// What fails here leaves it waited for, as it was.
    pub(super) fn look(&mut self) -> Look {
        let is_long = self.is_long();
        self.looks = self.looks.wrapping_add(1);
        if self.process.has_ended().unwrap_or(false) {
            return Look::Dead;
        }
        if is_long && self.is_frozen_for_good() {
            return Look::Frozen;
        }
        // One that is slow has no use for a SIGCONT, which its program could see.
        if is_stopped(self.process) {
            self.was_stopped = true;
            if let Err(error) = self.process.signal(Signal::CONT) {
                tracing::warn!(%error, pid = %self.process.pid(), "a child is stopped, and is waited for");
            }
        }
        Look::Silent
    }

    fn is_frozen_for_good(&mut self) -> bool {
        let state = self.frozen.map_or(Ok(FreezeState::Thawed), |frozen| frozen.0());
        match state {
            Ok(FreezeState::Frozen | FreezeState::Freezing) => {
                self.frozen_since.get_or_insert_with(Instant::now).elapsed() >= FROZEN
            }
            Ok(FreezeState::Thawed) => {
                self.frozen_since = None;
                false
            }
            Err(error) => {
                tracing::warn!(%error, pid = %self.process.pid(), "the group of a child may be frozen");
                false
            }
        }
    }
}

/// Ends a child that is not to execute. `false` where it is frozen, and dies when it is thawed, not before: it was
/// seen asleep in the kernel after its end was ordered, and comes back to no instruction of ours.
pub(super) fn end(process: &PidFd) -> bool {
    let mut pause = Duration::from_micros(50);
    loop {
        match process.signal(Signal::KILL) {
            Ok(_) if process.has_ended().unwrap_or(false) => return true,
            Ok(_) if is_asleep(process) => return false,
            Ok(_) => {}
            Err(error) => {
                tracing::warn!(%error, pid = %process.pid(), "a child cannot be ended");
            }
        }
        // Its end, or the time: the next look tells.
        let _ = poll(&mut [PollFd::new(process, PollFlags::IN)], Some(&timespec(pause)));
        pause = (2 * pause).min(SILENCE);
    }
}

/// Also where that cannot be seen.
fn is_stopped(process: &PidFd) -> bool {
    let stat = Stat::read(process.pid());
    stat.map_or(true, |stat| stat.is_some_and(|stat| stat.state.is_stopped()))
}

/// State D: a task that a freezer of version 1 holds has that, and no other does for long.
fn is_asleep(process: &PidFd) -> bool {
    let stat = Stat::read(process.pid()).ok().flatten();
    stat.is_some_and(|stat| stat.state == ProcessState('D'))
}

fn timespec(duration: Duration) -> Timespec {
    Timespec { tv_sec: 0, tv_nsec: duration.subsec_nanos().into() }
}
