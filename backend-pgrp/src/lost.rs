//! A process group that another process made, whose supervisor and keeper may both be dead: found by
//! what is on record of its programs and keepers, and by the mark that every program gets in its environment.
//!
//! Beyond reach, where no keeper lives, is who was re-parented, left the session, and cleared its
//! environment.

use std::collections::{BTreeMap, HashSet};
use std::os::fd::RawFd;
use std::sync::atomic::{AtomicBool, Ordering};

use containment_core::{
    Capabilities, Change, Error, ErrorKind, FreezeState, GroupId, GroupOps, KillStep, Member,
    Operation, Pid, Reaped, Result, Signal, Signalled, Standing, Usage, Watch,
};
use containment_process::pidfd::PidFd;
use containment_process::proc::{Snapshot, Stat};
use containment_process::signalling::signal_known;

use crate::lacking::{OfProcesses, lacking, starts_nothing};
use crate::tree::{freeze_state, is_of};

/// The variable that marks programs: the ids of the groups around each, outermost first, `:` between.
const MARK: &[u8] = b"CONTAIN_GROUP=";

/// What is known of groups that another process made: processes, each with when it started.
#[derive(Debug, Clone, Default)]
pub struct Trace {
    /// Their programs.
    pub programs: Vec<(Pid, u64)>,
    /// Their keepers: what descends from them is a group's, and they are not.
    pub keepers: Vec<(Pid, u64)>,
}

impl Trace {
    /// Adds what is known of another group.
    pub fn extend(&mut self, other: Self) {
        self.programs.extend(other.programs);
        self.keepers.extend(other.keepers);
    }
}

/// A process group that is not ours, as far as it can be found; or several, which end together.
#[derive(Debug)]
pub(crate) struct LostGroup {
    /// The one that errors name.
    pub(crate) id: GroupId,
    pub(crate) marks: HashSet<Vec<u8>>,
    pub(crate) capabilities: Capabilities,
    pub(crate) trace: Trace,
    pub(crate) removed: AtomicBool,
}

impl LostGroup {
    fn living(&self, operation: Operation) -> Result<Vec<Stat>> {
        self.refuse_removed(operation)?;
        let snapshot = Snapshot::take();
        let snapshot = snapshot.map_err(|e| self.error(Error::from_io(operation, &e)))?;
        let roots = self.roots(&snapshot);
        let pids: Vec<_> = roots.iter().map(|root| root.pid).collect();
        let found = roots.into_iter().chain(snapshot.descendants_of_all(&pids));
        let found: BTreeMap<Pid, &Stat> = found.map(|stat| (stat.pid, stat)).collect();
        let mut living: Vec<_> = found.into_values().cloned().collect();
        living.retain(|stat| !stat.is_dead() && !is_among(&self.trace.keepers, stat));
        Ok(living)
    }

    /// The members, unless the caller or one that it descends from is among them (K38): it does not end
    /// itself, and without that the group does not end.
    fn others(&self, operation: Operation) -> Result<Vec<Stat>> {
        let living = self.living(operation)?;
        let snapshot = Snapshot::of(living.iter().cloned());
        let mut above = Some(Pid::current());
        while let Some(pid) = above {
            if snapshot.get(pid).is_some() {
                return Err(self
                    .error(Error::new(ErrorKind::HoldsCaller, operation))
                    .advise("do it from outside of the group"));
            }
            let stat = Stat::read(pid).map_err(|e| self.error(Error::from_io(operation, &e)))?;
            above = stat.and_then(|stat| Pid::new(stat.parent));
        }
        Ok(living)
    }

    /// What descends from a keeper, the programs, their process groups and sessions, and whoever carries
    /// the mark.
    fn roots<'a>(&self, snapshot: &'a Snapshot) -> Vec<&'a Stat> {
        let marked = snapshot.processes().iter().filter(|stat| carries(stat, &self.marks));
        let mut roots: Vec<_> = marked.collect();
        let keepers = still(&self.trace.keepers, snapshot).map(|keeper| keeper.pid);
        roots.extend(snapshot.descendants_of_all(&keepers.collect::<Vec<_>>()));
        for program in still(&self.trace.programs, snapshot) {
            roots.push(program);
            // Of another leader's group it may be only one member among strangers.
            if program.group == program.pid.as_raw() {
                roots.extend(snapshot.in_group(program.pid));
            }
            if program.session == program.pid.as_raw() {
                roots.extend(snapshot.in_session(program.pid));
            }
        }
        roots
    }

    fn pass(&self, signal: Signal, operation: Operation) -> Result<Signalled> {
        let pass = signal_known(signal, &[], &self.others(operation)?);
        pass.map_err(|error| self.error(error))
            .map(|pass| pass.described(|error| self.error(error)))
    }

    fn refuse_removed(&self, operation: Operation) -> Result<()> {
        if self.removed.load(Ordering::Acquire) {
            return Err(self.error(Error::new(ErrorKind::Gone, operation)));
        }
        Ok(())
    }

    fn error(&self, error: Error) -> Error {
        error.with_backend(self.id.backend).with_group(&self.id.name)
    }
}

/// Those of these processes that live still.
fn still<'a>(known: &[(Pid, u64)], snapshot: &'a Snapshot) -> impl Iterator<Item = &'a Stat> {
    let same =
        |(pid, started): &(Pid, u64)| snapshot.get(*pid).filter(|stat| stat.started == *started);
    known.iter().filter_map(same)
}

fn is_among(known: &[(Pid, u64)], stat: &Stat) -> bool {
    known.contains(&(stat.pid, stat.started))
}

/// Whether a process of our own user carries one of these ids in its mark. Another user's environment could say
/// anything: nobody else is to be ended for it.
fn carries(stat: &Stat, ids: &HashSet<Vec<u8>>) -> bool {
    if !is_of(rustix::process::geteuid().as_raw(), stat.pid) {
        return false;
    }
    let environment = environment_of(stat).unwrap_or_default();
    let mut variables = environment.split(|byte| *byte == 0);
    let marks = variables.find_map(|variable| variable.strip_prefix(MARK)).unwrap_or_default();
    marks.split(|byte| *byte == b':').any(|mark| ids.contains(mark))
}

fn environment_of(stat: &Stat) -> std::io::Result<Vec<u8>> {
    let thread = stat.living_thread().map_or(stat.pid, |thread| thread.pid);
    std::fs::read(format!("/proc/{}/task/{thread}/environ", stat.pid))
}

impl OfProcesses for LostGroup {
    fn present(&self, operation: Operation) -> Result<()> {
        self.refuse_removed(operation)
    }

    fn describe(&self, error: Error) -> Error {
        self.error(error)
    }
}

impl GroupOps for LostGroup {
    fn id(&self) -> &GroupId {
        &self.id
    }

    fn capabilities(&self) -> &Capabilities {
        &self.capabilities
    }

    lacking!();
    starts_nothing!();

    /// It holds no process by a descriptor between two calls.
    fn handles(&self) -> Vec<RawFd> {
        Vec::new()
    }

    fn members(&self) -> Result<Vec<Member>> {
        let standing = |stat: &Stat| {
            let is_program = is_among(&self.trace.programs, stat);
            if is_program { Standing::Program } else { Standing::Inside }
        };
        let living = self.living(Operation::Members)?;
        Ok(living.iter().map(|stat| stat.member(standing(stat))).collect())
    }

    fn populated(&self) -> Result<bool> {
        Ok(!self.living(Operation::Populated)?.is_empty())
    }

    fn signal(&self, signal: Signal) -> Result<Signalled> {
        self.pass(signal, Operation::Signal)
    }

    fn kill(&self) -> Result<KillStep> {
        self.pass(Signal::KILL, Operation::Kill).map(KillStep::Signalled)
    }

    fn request_freeze(&self) -> Result<()> {
        self.pass(Signal::STOP, Operation::Freeze).map(drop)
    }

    fn request_thaw(&self) -> Result<()> {
        self.pass(Signal::CONT, Operation::Thaw).map(drop)
    }

    fn frozen(&self) -> Result<FreezeState> {
        Ok(freeze_state(&self.living(Operation::Freeze)?))
    }

    fn usage(&self) -> Result<Usage> {
        Ok(crate::tree::usage_now(&self.living(Operation::Usage)?))
    }

    /// One living member's pidfd: when it ends, the next one's. That it leaves is announced by nothing.
    fn watch(&self, change: Change) -> Result<Watch> {
        match change {
            Change::Empty => {}
            Change::Frozen => return Ok(Watch::Backoff),
            Change::Oom => return self.lacks(Operation::Watch),
        }
        let living = self.living(Operation::Watch)?;
        let member = PidFd::first_living(living.iter().rev().map(|stat| stat.pid));
        let member = member.map_err(|e| self.error(Error::from_io(Operation::Watch, &e)))?;
        Ok(member.map_or(Watch::Backoff, |member| Watch::Members(vec![member.source()])))
    }

    /// Whoever adopted them reaps them.
    fn reap(&self) -> Result<Reaped> {
        Ok(Reaped::default())
    }

    fn remove(&self) -> Result<()> {
        if self.populated()? {
            return Err(self.error(Error::new(ErrorKind::Busy, Operation::Remove)));
        }
        self.removed.store(true, Ordering::Release);
        Ok(())
    }
}
