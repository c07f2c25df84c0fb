//! What is left of a process group whose supervisor and keeper are both dead: found by what was on
//! record of its program, and by the mark that every program gets in its environment.
//!
//! Beyond reach is who was re-parented, left the session, and cleared its environment.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::os::unix::fs::MetadataExt as _;
use std::sync::atomic::{AtomicBool, Ordering};

use containment_core::{
    Capabilities, Change, ChildOps, Error, ErrorKind, FreezeState, GroupId, GroupOps, KillStep,
    Member, Operation, Pid, Program, Reaped, Result, Signal, Signalled, Standing, Usage, Watch,
};
use containment_process::pidfd::PidFd;
use containment_process::proc::{Snapshot, Stat};
use containment_process::signalling::signal_all;

use crate::lacking::{OfProcesses, lacking};
use crate::tree::freeze_state;

/// The variable that marks programs: the ids of the groups around each, outermost first, `:` between.
const MARK: &[u8] = b"CONTAIN_GROUP=";

/// A process group without a keeper, as far as it can be found.
#[derive(Debug)]
pub(crate) struct LostGroup {
    pub(crate) id: GroupId,
    pub(crate) capabilities: Capabilities,
    /// Its program's pid, and when that started.
    pub(crate) program: Option<(Pid, u64)>,
    pub(crate) removed: AtomicBool,
}

impl LostGroup {
    fn living(&self, operation: Operation) -> Result<Vec<Stat>> {
        self.refuse_removed(operation)?;
        let snapshot = Snapshot::take();
        let snapshot = snapshot.map_err(|e| self.error(Error::from_io(operation, &e)))?;
        let mut found: BTreeMap<Pid, &Stat> = BTreeMap::new();
        for root in self.roots(&snapshot) {
            found.insert(root.pid, root);
            found
                .extend(snapshot.descendants_of(root.pid).into_iter().map(|stat| (stat.pid, stat)));
        }
        // Whoever cleans up may be a member's descendant: it does not end itself.
        let ours = ancestors(&snapshot);
        let others = found.into_values().filter(|stat| !ours.contains(&stat.pid));
        Ok(others.filter(|stat| !stat.state.is_zombie()).cloned().collect())
    }

    /// The program, its process group and its session, and whoever carries the mark.
    fn roots<'a>(&self, snapshot: &'a Snapshot) -> Vec<&'a Stat> {
        let id = self.id.to_string();
        let marked = snapshot.processes().iter().filter(|stat| carries(stat.pid, id.as_bytes()));
        let mut roots: Vec<_> = marked.collect();
        let program = self
            .program
            .and_then(|(pid, started)| snapshot.get(pid).filter(|stat| stat.started == started));
        if let Some(program) = program {
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
        let living = self.living(operation)?;
        let started: HashMap<Pid, u64> = living.iter().map(|s| (s.pid, s.started)).collect();
        let confirm = |batch: &[PidFd]| {
            let same = |pid: &Pid| {
                let now = Stat::read(*pid).ok().flatten();
                now.is_some_and(|now| started.get(pid) == Some(&now.started))
            };
            Ok(batch.iter().map(PidFd::pid).filter(same).collect::<HashSet<_>>())
        };
        signal_all(signal, &[], living.iter().map(|stat| stat.pid).collect(), confirm)
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

/// This process and those above it.
fn ancestors(snapshot: &Snapshot) -> HashSet<Pid> {
    let mut all = HashSet::new();
    let mut here = Some(Pid::current());
    while let Some(pid) = here.filter(|pid| all.insert(*pid)) {
        here = snapshot.get(pid).and_then(|stat| Pid::new(stat.parent));
    }
    all
}

/// Whether a process of our own user carries this id in its mark. Another user's environment could say
/// anything: nobody else is to be ended for it.
fn carries(pid: Pid, id: &[u8]) -> bool {
    let directory = format!("/proc/{pid}");
    let ours = rustix::process::geteuid().as_raw();
    if !std::fs::metadata(&directory).is_ok_and(|directory| directory.uid() == ours) {
        return false;
    }
    let environment = std::fs::read(format!("{directory}/environ")).unwrap_or_default();
    let mut variables = environment.split(|byte| *byte == 0);
    let marks = variables.find_map(|variable| variable.strip_prefix(MARK)).unwrap_or_default();
    marks.split(|byte| *byte == b':').any(|mark| mark == id)
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

    fn spawn(&self, _: &Program) -> Result<Box<dyn ChildOps>> {
        self.lacks(Operation::Spawn)
    }

    fn members(&self) -> Result<Vec<Member>> {
        let program = self.program.map(|(pid, _)| pid);
        let standing = |stat: &Stat| {
            if Some(stat.pid) == program { Standing::Program } else { Standing::Inside }
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

    /// One living member's pidfd: when it ends, the next one's.
    fn watch(&self, change: Change) -> Result<Watch> {
        match change {
            Change::Empty => {}
            Change::Frozen => return Ok(Watch::Backoff),
            Change::Oom => return self.lacks(Operation::Watch),
        }
        let living = self.living(Operation::Watch)?;
        let mut open = living.iter().rev().filter_map(|stat| PidFd::open(stat.pid).ok().flatten());
        let member = open.find(|process| matches!(process.has_ended(), Ok(false)));
        Ok(member.map_or(Watch::Backoff, |member| Watch::Sources(vec![member.source()])))
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
