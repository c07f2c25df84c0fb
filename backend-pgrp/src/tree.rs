//! Membership by descent: everybody whose chain of parents leads to one process.

use std::collections::HashSet;
use std::os::unix::fs::MetadataExt as _;

use containment_core::{
    Error, FreezeState, Member, Operation, Pid, ProcessState, Result, Signal, SignalSet, Signalled,
    Standing, Usage,
};
use containment_process::proc::{Snapshot, Stat, ticks};
use containment_process::signalling::signal_known;

/// The living descendants of some processes, but for a few.
#[derive(Debug, Clone)]
pub(crate) struct Tree {
    pub(crate) roots: Vec<Pid>,
    pub(crate) except: Vec<Pid>,
    /// Descendants who belong to somebody else with all that descends from them.
    pub(crate) others: Vec<Pid>,
}

/// A program of the tree, and the process group that it was started in.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Trunk {
    pub(crate) program: Pid,
    pub(crate) group: Pid,
}

/// Process groups that were signalled as such.
#[derive(Debug, Default)]
pub(crate) struct Struck {
    pub(crate) groups: Vec<Pid>,
    /// The user whose members that reached for certain; none where it reached all.
    pub(crate) user: Option<u32>,
}

impl Struck {
    /// Whether a process got the signal: of a group the kernel only tells that somebody did.
    fn has_reached(&self, stat: &Stat) -> bool {
        let is_in = self.groups.iter().any(|group| group.as_raw() == stat.group);
        is_in && self.user.is_none_or(|user| is_of(user, stat.pid))
    }
}

/// Whether a process acts as this user.
pub(crate) fn is_of(user: u32, pid: Pid) -> bool {
    std::fs::metadata(format!("/proc/{pid}")).is_ok_and(|directory| directory.uid() == user)
}

impl Tree {
    pub(crate) fn living(&self, operation: Operation) -> Result<Vec<Stat>> {
        let mut all = self.all(operation)?.1;
        all.retain(|stat| !stat.is_dead());
        Ok(all)
    }

    /// Those who are excepted and whose descendants are looked for, and everybody else, zombies too.
    fn all(&self, operation: Operation) -> Result<(Vec<Stat>, Vec<Stat>)> {
        if self.roots.is_empty() {
            return Ok((Vec::new(), Vec::new()));
        }
        let snapshot = Snapshot::below(&self.roots, &self.others)
            .map_err(|error| Error::from_io(operation, &error))?;
        let theirs = snapshot.descendants_of_all(&self.others).into_iter().map(|stat| stat.pid);
        let apart: HashSet<Pid> =
            theirs.chain(self.others.iter().chain(&self.except).copied()).collect();
        let mut all = snapshot.descendants_of_all(&self.roots);
        all.retain(|stat| !apart.contains(&stat.pid));
        all.sort_by_key(|stat| stat.pid);
        let all = all.into_iter().cloned().collect();
        let is_root = |pid: &&Pid| self.roots.contains(pid);
        let excepted = self.except.iter().filter(is_root).filter_map(|pid| snapshot.get(*pid));
        Ok((excepted.cloned().collect(), all))
    }

    /// What the members use now, and the CPU time of everybody: of who lives, of who was waited for by one
    /// who lives, and of who was waited for by one who is excepted (a keeper) and is a root: what others had
    /// waited for they have told.
    pub(crate) fn usage(&self) -> Result<Usage> {
        let (keepers, all) = self.all(Operation::Usage)?;
        let sum = |own: fn(&Stat) -> u64, waited: fn(&Stat) -> u64| {
            let of_members = all.iter().map(|stat| own(stat).saturating_add(waited(stat)));
            let of_keepers = keepers.iter().map(waited);
            ticks(of_members.chain(of_keepers).fold(0, u64::saturating_add))
        };
        let user = sum(|stat| stat.user_ticks, |stat| stat.waited_user_ticks);
        let system = sum(|stat| stat.system_ticks, |stat| stat.waited_system_ticks);
        Ok(Usage {
            cpu: Some(user + system),
            cpu_user: Some(user),
            cpu_system: Some(system),
            ..usage_now(&all)
        })
    }

    /// The members; who left the process group of every program has escaped. Who has ended but for the
    /// kernel's last steps still counts as alive, until its resources are free, and is listed no more.
    pub(crate) fn members(&self, trunks: &[Trunk], operation: Operation) -> Result<Vec<Member>> {
        self.living(operation).map(|living| members(&living, trunks).0)
    }

    /// One pass of a signal, `first` before the others, over who has not got it with its process group. A member
    /// stays a descendant until it dies, so it is confirmed by its start time alone, though its parent may have
    /// died meanwhile.
    pub(crate) fn signal(
        &self,
        signal: Signal,
        first: &[Pid],
        struck: &Struck,
    ) -> Result<Signalled> {
        signal_living(signal, first, struck, self.living(Operation::Signal)?)
    }

    /// Frozen when every member is stopped.
    pub(crate) fn frozen(&self) -> Result<FreezeState> {
        Ok(freeze_state(&self.living(Operation::Freeze)?))
    }
}

/// The same pass over these.
pub(crate) fn signal_living(
    signal: Signal,
    first: &[Pid],
    struck: &Struck,
    mut living: Vec<Stat>,
) -> Result<Signalled> {
    let all = living.len();
    living.retain(|stat| !struck.has_reached(stat));
    let done = all - living.len();
    let pass = signal_known(signal, first, &living)?;
    Ok(Signalled { count: pass.count + done, ..pass })
}

/// Those of the living who are members still, and whether each of them is in the process group of a program,
/// programs too.
pub(crate) fn members(living: &[Stat], trunks: &[Trunk]) -> (Vec<Member>, bool) {
    let is_inside = |stat: &Stat| trunks.iter().any(|trunk| trunk.group.as_raw() == stat.group);
    let standing = |stat: &Stat| {
        if trunks.iter().any(|trunk| trunk.program == stat.pid) {
            Standing::Program
        } else if is_inside(stat) {
            Standing::Inside
        } else {
            Standing::Escaped
        }
    };
    let running: Vec<_> = living.iter().filter(|stat| !stat.has_ended()).collect();
    let are_together = running.iter().all(|stat| is_inside(stat));
    (running.iter().map(|stat| stat.member(standing(stat))).collect(), are_together)
}

/// What the living of these use now: resident memory, which counts what is shared with each that has it,
/// and processes and threads.
pub(crate) fn usage_now(members: &[Stat]) -> Usage {
    let living = || members.iter().filter(|stat| !stat.is_dead());
    let threads = |stat: &Stat| u64::try_from(stat.threads).unwrap_or_default();
    Usage {
        memory: Some(living().map(Stat::resident).fold(0, u64::saturating_add)),
        pids: Some(living().map(threads).fold(0, u64::saturating_add)),
        ..Usage::default()
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
/// stopped itself waits uninterruptibly (state D), and would keep a freeze from ever being complete. Where the first
/// thread has ended, the others are who stops.
fn stands_still(stat: &Stat) -> bool {
    let stops = |thread: &Stat| {
        let is_bound = || thread.state == ProcessState('D') && is_stop_pending(thread.pid);
        thread.state.is_stopped() || is_bound()
    };
    if stat.state.is_zombie() {
        let mut threads = stat.each_thread().unwrap_or_default().into_iter();
        return threads.all(|thread| thread.state.is_zombie() || stops(&thread));
    }
    stops(stat)
}

/// Whether SIGSTOP waits for the process (`ShdPnd` of `/proc/PID/status`).
fn is_stop_pending(pid: Pid) -> bool {
    let Ok(status) = std::fs::read_to_string(format!("/proc/{pid}/status")) else { return false };
    let pending = status.lines().find_map(|line| line.strip_prefix("ShdPnd:"));
    let pending = pending.and_then(|bits| u64::from_str_radix(bits.trim(), 16).ok());
    pending.is_some_and(|bits| SignalSet::from_bits(bits).contains(Signal::STOP))
}
