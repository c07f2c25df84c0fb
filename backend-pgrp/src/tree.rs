//! Membership by descent: everybody whose chain of parents leads to one process.

use std::collections::{HashMap, HashSet};

use containment_core::{
    Error, FreezeState, Member, Operation, Pid, ProcessState, Result, Signal, SignalSet, Signalled,
    Standing,
};
use containment_process::pidfd::PidFd;
use containment_process::proc::{Snapshot, Stat};
use containment_process::signalling::signal_all;

/// The living descendants of some processes, but for a few.
#[derive(Debug, Clone)]
pub(crate) struct Tree {
    pub(crate) roots: Vec<Pid>,
    pub(crate) except: Vec<Pid>,
}

/// A program of the tree, and the process group that it was started in.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Trunk {
    pub(crate) program: Pid,
    pub(crate) group: Pid,
}

impl Tree {
    fn living(&self, operation: Operation) -> Result<Vec<Stat>> {
        let snapshot = Snapshot::take().map_err(|error| Error::from_io(operation, &error))?;
        let mut living: Vec<Stat> = Vec::new();
        for descendant in self.roots.iter().flat_map(|root| snapshot.descendants_of(*root)) {
            if !descendant.state.is_zombie() && !self.except.contains(&descendant.pid) {
                living.push(descendant.clone());
            }
        }
        living.sort_by_key(|stat| stat.pid);
        living.dedup_by_key(|stat| stat.pid);
        Ok(living)
    }

    /// The members; who left the process group of every program has escaped.
    pub(crate) fn members(&self, trunks: &[Trunk], operation: Operation) -> Result<Vec<Member>> {
        let standing = |stat: &Stat| {
            if trunks.iter().any(|trunk| trunk.program == stat.pid) {
                Standing::Program
            } else if trunks.iter().any(|trunk| trunk.group.as_raw() == stat.group) {
                Standing::Inside
            } else {
                Standing::Escaped
            }
        };
        let living = self.living(operation)?;
        Ok(living.iter().map(|stat| stat.member(standing(stat))).collect())
    }

    /// One pass of a signal, `first` before the others. A member stays a descendant until it dies, so
    /// it is confirmed by its start time alone, though its parent may have died meanwhile.
    pub(crate) fn signal(&self, signal: Signal, first: &[Pid]) -> Result<Signalled> {
        let living = self.living(Operation::Signal)?;
        let started: HashMap<Pid, u64> = living.iter().map(|s| (s.pid, s.started)).collect();
        let confirm = |batch: &[PidFd]| {
            let same = |pid: Pid| {
                let now = Stat::read(pid).ok().flatten();
                now.is_some_and(|now| started.get(&pid) == Some(&now.started))
            };
            Ok(batch.iter().map(PidFd::pid).filter(|pid| same(*pid)).collect::<HashSet<_>>())
        };
        signal_all(signal, first, living.iter().map(|stat| stat.pid).collect(), confirm)
    }

    /// Frozen when every member is stopped.
    pub(crate) fn frozen(&self) -> Result<FreezeState> {
        Ok(freeze_state(&self.living(Operation::Freeze)?))
    }
}

/// What the states of these members amount to.
pub(crate) fn freeze_state(members: &[Stat]) -> FreezeState {
    let stopped = members.iter().filter(|stat| stands_still(stat)).count();
    match stopped {
        0 => FreezeState::Thawed,
        all if all == members.len() => FreezeState::Frozen,
        _ => FreezeState::Freezing,
    }
}

/// Stopped, or bound to stop before it executes anything: whoever waits in `vfork` for a child that is
/// stopped itself waits uninterruptibly (state D), and would keep a freeze from ever being complete.
fn stands_still(stat: &Stat) -> bool {
    stat.state.is_stopped() || (stat.state == ProcessState('D') && is_stop_pending(stat.pid))
}

/// Whether SIGSTOP waits for the process (`ShdPnd` of `/proc/PID/status`).
fn is_stop_pending(pid: Pid) -> bool {
    let Ok(status) = std::fs::read_to_string(format!("/proc/{pid}/status")) else { return false };
    let pending = status.lines().find_map(|line| line.strip_prefix("ShdPnd:"));
    let pending = pending.and_then(|bits| u64::from_str_radix(bits.trim(), 16).ok());
    pending.is_some_and(|bits| SignalSet::from_bits(bits).contains(Signal::STOP))
}
