//! The kernel's rules of signals (signal(7)): SIGKILL, SIGCONT and what else is fatal act on whoever it
//! is, the others on those who run; what waits is met before the program executes anything more.

use containment_core::{Outcome, Signal, SignalSet};

use super::{Birth, DYING, Event, Process, World};
use crate::script::Action;

/// Signals that end nobody by default.
const HARMLESS: [Signal; 3] = [Signal::CHLD, Signal::CONT, Signal::WINCH];

/// From here on every one that is sent is delivered.
const QUEUED: i32 = 32;

/// Signals that dump a core by default.
const DUMPING: [i32; 10] = [3, 4, 5, 6, 7, 8, 11, 24, 25, 31];

impl Process {
    /// A signal that ends a process by default, without a core, is made a SIGKILL as it is sent (kernel:
    /// `complete_signal`), so that a frozen process dies of it as of that; but not for one that is
    /// stopped, nor, most of the time, for one that version 1 has frozen: it has been told of a signal
    /// already.
    fn is_doomed_by(&self, signal: Signal) -> bool {
        let by_default = self.script.linger.is_zero();
        by_default && !self.stopped && signal != Signal::STOP && !DUMPING.contains(&signal.as_raw())
    }
}

impl World {
    /// Sends a signal to a process.
    pub(crate) fn send(&mut self, birth: Birth, signal: Signal) {
        let waits = self.is_frozen_by_version_1(birth);
        let Some(process) = self.processes.get_mut(&birth).filter(|p| p.is_alive()) else { return };
        match signal {
            Signal::KILL => return self.strike(birth, signal),
            Signal::CONT => {
                process.stopped = false;
                process.pending = without(process.pending, Signal::STOP);
            }
            _ if HARMLESS.contains(&signal) || process.script.ignored.contains(signal) => {}
            // A second one of what waits already is dropped, and ends nobody (kernel: `legacy_queue`).
            _ if signal.as_raw() < QUEUED && process.pending.contains(signal) => {}
            _ if !waits && process.is_doomed_by(signal) => return self.strike(birth, signal),
            _ => process.pending = process.pending.with(signal),
        }
        self.meet_the_pending();
    }

    /// Lets those meet their signals who can run; says whether there were any. A frozen process stops
    /// only once it is thawed, for the freezer comes first (kernel: `get_signal`).
    pub(super) fn meet_the_pending(&mut self) -> bool {
        let waiting = self.processes.iter().filter(|(_, p)| p.pending != SignalSet::default());
        let waiting: Vec<_> = waiting.map(|(birth, _)| *birth).collect();
        let mut met = false;
        for birth in waiting {
            while self.can_run(birth) && self.meet_next(birth) {
                met = true;
            }
        }
        met
    }

    /// Meets the pending signal of the lowest number, which the kernel delivers first.
    fn meet_next(&mut self, birth: Birth) -> bool {
        let Some(process) = self.processes.get_mut(&birth) else { return false };
        let mut signals = (1..=64).filter_map(Signal::new);
        let Some(signal) = signals.find(|signal| process.pending.contains(*signal)) else {
            return false;
        };
        process.pending = without(process.pending, signal);
        let linger = process.script.linger;
        let dying = process.script.dying.unwrap_or(DYING);
        match signal {
            Signal::STOP => process.stopped = true,
            _ if linger.is_zero() => self.strike(birth, signal),
            _ => self.schedule(linger.max(dying), Event::Act(birth, Action::Succumb(signal))),
        }
        true
    }

    /// Ends a process by a signal: from now on it executes nothing.
    fn strike(&mut self, birth: Birth, signal: Signal) {
        let now = self.now;
        let Some(process) = self.processes.get_mut(&birth) else { return };
        let dying = process.script.dying.unwrap_or(DYING);
        process.killed.get_or_insert((now + dying, signal));
        self.schedule(dying, Event::Settle);
    }

    /// Ends those whose fatal signal has reached them; says whether there were any.
    pub(super) fn end_the_killed(&mut self) -> bool {
        let due = |killed: (_, Signal)| (killed.0 <= self.now).then_some(killed.1);
        let living = self.processes.iter().filter(|(_, p)| p.is_alive());
        let killed = living.filter_map(|(birth, p)| Some((*birth, p.killed.and_then(due)?)));
        let mortal: Vec<_> = killed.filter(|(birth, _)| !self.is_held(*birth)).collect();
        for (birth, signal) in &mortal {
            self.end(*birth, Outcome::Signaled(*signal));
        }
        !mortal.is_empty()
    }
}

fn without(set: SignalSet, signal: Signal) -> SignalSet {
    SignalSet::from_bits(set.bits() & !SignalSet::default().with(signal).bits())
}

/// Both sets.
pub(super) fn union(one: SignalSet, other: SignalSet) -> SignalSet {
    SignalSet::from_bits(one.bits() | other.bits())
}
