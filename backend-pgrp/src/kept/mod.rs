//! A group held together by keepers, one for each program: the supervisor's side.
//!
//! Should a keeper be killed, what it kept is re-parented to whoever made it, who is a sub-reaper, too:
//! from then on membership is descent from that process, but for what other groups' keepers keep.

mod strikes;

use std::os::fd::RawFd;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use containment_core::{
    Capabilities, Change, ChildOps, Error, ErrorKind, FreezeState, GroupId, GroupOps, KillStep,
    Member, Operation, Pid, Program, Reaped, Result, Signal, Signalled, Usage, Watch,
};
use containment_process::child::Tidying;
use containment_process::pidfd::PidFd;
use containment_process::reap::reap_children;
use containment_process::rusage::CpuTime;
use rustix::process::geteuid;

use crate::keepers::KeeperSource;
use crate::lacking::{OfProcesses, lacking};
use crate::line::{Keeping, Kept, Line, Unopened};
use crate::names::Claim;
use crate::tree::{self, Struck, Tree, Trunk, usage_now};
use strikes::{Whom, signals_everybody};

/// A group whose members descend from keepers.
#[derive(Debug)]
pub(crate) struct KeptGroup {
    claim: Claim,
    capabilities: Capabilities,
    lines: Mutex<Lines>,
    keepers: KeeperSource,
    /// Whether its keepers leave it alone when we die.
    lasting: bool,
    /// The user whose processes we may signal; none where we may signal everybody's.
    user: Option<u32>,
    /// Whether a keeper may have been lost before there was a line to it, and its program may run all the same.
    orphans: AtomicBool,
    /// How often it was killed. Each kill counts before it acts, and a spawn looks last.
    kills: AtomicU64,
    /// Whether everybody was told to stop, and nobody to go on since.
    held_still: AtomicBool,
    /// When it was last listed, and how many there were, if they stood still and nobody had left the process groups.
    together: Mutex<Option<(Instant, usize)>>,
    removed: AtomicBool,
}

#[derive(Debug, Default)]
struct Lines {
    open: Vec<Arc<Line>>,
    /// What was used by those that were forgotten.
    past: CpuTime,
    tidying: Tidying,
    /// How many are being opened.
    opening: usize,
}

impl Lines {
    /// Now and then, forgets those that are over and that nobody asks for: each has three descriptors.
    fn tidy(&mut self) {
        if !self.tidying.is_due(self.open.len()) {
            return;
        }
        let Self { open, past, tidying, .. } = self;
        open.retain(|line| match line.used() {
            Some(cpu) if Arc::strong_count(line) == 1 => {
                past.user += cpu.user;
                past.system += cpu.system;
                false
            }
            _ => true,
        });
        tidying.done(open.len());
    }
}

impl KeptGroup {
    pub(crate) fn new(
        claim: Claim,
        capabilities: Capabilities,
        keepers: KeeperSource,
        lasting: bool,
    ) -> Self {
        let [orphans, held_still, removed] = [false; 3].map(AtomicBool::new);
        Self {
            claim,
            capabilities,
            lines: Mutex::default(),
            keepers,
            lasting,
            user: (!signals_everybody()).then(|| geteuid().as_raw()),
            orphans,
            kills: AtomicU64::new(0),
            held_still,
            together: Mutex::default(),
            removed,
        }
    }

    /// A group of everything that descends from this process.
    pub(crate) fn of_orphans(claim: Claim, capabilities: Capabilities) -> Self {
        let group = Self::new(claim, capabilities, KeeperSource::Own(None), false);
        group.orphans.store(true, Ordering::Release);
        group
    }

    fn lines(&self) -> MutexGuard<'_, Lines> {
        self.lines.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How each keeping stands now.
    fn standing(&self) -> Result<Vec<(Arc<Line>, Keeping)>> {
        let lines = self.lines().open.clone();
        lines.into_iter().map(|line| line.listen().map(|news| (line, news.keeping))).collect()
    }

    /// Whose descendants the members are: the living keepers', and ours where one was lost.
    fn tree(&self) -> Result<Tree> {
        let standing = self.standing()?;
        let alive = |(line, keeping): &(Arc<Line>, Keeping)| {
            matches!(keeping, Keeping::Goes).then(|| line.keeper().pid())
        };
        let mut roots: Vec<Pid> = standing.iter().filter_map(alive).collect();
        let mut others = Vec::new();
        if self.has_lost(&standing) {
            match &self.keepers {
                KeeperSource::Own(_) => roots.push(Pid::current()),
                KeeperSource::Other(spawner) => {
                    others = spawner.keepers();
                    others.retain(|keeper| !roots.contains(keeper));
                    roots.push(spawner.sub_reaper());
                }
            }
        }
        Ok(Tree { roots, except: keepers(&standing)?, others })
    }

    /// Whether a keeper was lost, so that what it kept descends from us.
    fn has_lost(&self, standing: &[(Arc<Line>, Keeping)]) -> bool {
        let lost = standing.iter().any(|(_, keeping)| *keeping == Keeping::Lost);
        lost || self.orphans.load(Ordering::Acquire)
    }

    fn trunks(&self) -> Vec<Trunk> {
        self.lines().open.iter().map(|line| line.trunk()).collect()
    }

    /// Announces a line, so that the group is not removed before it is there. How often the group was killed before.
    fn begin_opening(&self) -> Result<u64> {
        let mut lines = self.lines();
        self.refuse_removed(Operation::Spawn)?;
        lines.tidy();
        lines.opening += 1;
        Ok(self.kills.load(Ordering::SeqCst))
    }

    /// The line that was announced.
    fn open_line(&self, program: &Program) -> Result<Arc<Line>> {
        let opened = Line::open(&self.keepers, self.id(), program, self.lasting);
        let mut lines = self.lines();
        lines.opening -= 1;
        let line = opened.map_err(|Unopened { error, may_run }| {
            self.orphans.fetch_or(may_run, Ordering::AcqRel);
            self.error(error)
        })?;
        let line = Arc::new(line);
        lines.open.push(Arc::clone(&line));
        self.stirs();
        Ok(line)
    }

    fn refuse_removed(&self, operation: Operation) -> Result<()> {
        if self.removed.load(Ordering::Acquire) {
            return Err(self.error(Error::new(ErrorKind::Gone, operation)));
        }
        Ok(())
    }

    fn error(&self, error: Error) -> Error {
        error.with_backend(self.id().backend).with_group(&self.id().name)
    }
}

/// The keepers that have not ended: the pid of one that has may be a member's by now.
fn keepers(standing: &[(Arc<Line>, Keeping)]) -> Result<Vec<Pid>> {
    let mut keepers = Vec::new();
    for (line, keeping) in standing {
        if *keeping == Keeping::Goes || !line.has_keeper_ended()? {
            keepers.push(line.keeper().pid());
        }
    }
    Ok(keepers)
}

impl OfProcesses for KeptGroup {
    fn present(&self, operation: Operation) -> Result<()> {
        self.refuse_removed(operation)
    }

    fn describe(&self, error: Error) -> Error {
        self.error(error)
    }
}

impl GroupOps for KeptGroup {
    fn id(&self) -> &GroupId {
        self.claim.id()
    }

    fn capabilities(&self) -> &Capabilities {
        &self.capabilities
    }

    lacking!();

    fn handles(&self) -> Vec<RawFd> {
        self.lines().open.iter().flat_map(|line| line.handles()).collect()
    }

    fn spawn(&self, program: &Program) -> Result<Box<dyn ChildOps>> {
        let kills = self.begin_opening()?;
        let line = self.open_line(program)?;
        if self.kills.load(Ordering::SeqCst) != kills {
            // The kill may have looked for its members before there was this line.
            self.end_line(&line)?;
            return Err(self.error(Error::new(ErrorKind::Killed, Operation::Spawn)));
        }
        Ok(Box::new(Kept(line)))
    }

    /// Its keepers know, and a look at the members tells it as soon.
    fn program_runs(&self) -> bool {
        false
    }

    fn members(&self) -> Result<Vec<Member>> {
        self.refuse_removed(Operation::Members)?;
        self.together().take();
        let living = self.tree()?.living(Operation::Members).map_err(|error| self.error(error))?;
        let (members, are_together) = tree::members(&living, &self.trunks());
        // A spawn that comes between opens its line before it has them stir.
        let mut together = self.together();
        if are_together && self.held_still.load(Ordering::SeqCst) {
            *together = Some((Instant::now(), members.len()));
        }
        Ok(members)
    }

    fn populated(&self) -> Result<bool> {
        self.refuse_removed(Operation::Populated)?;
        if self.lines().opening > 0 {
            return Ok(true);
        }
        let standing = self.standing()?;
        for (line, keeping) in &standing {
            // A keeper's last word comes before its exit, and until that the group cannot be removed.
            let is_kept = match keeping {
                Keeping::Goes => true,
                Keeping::Over(_) => !line.has_keeper_ended()?,
                Keeping::Lost => false,
            };
            if is_kept {
                return Ok(true);
            }
        }
        Ok(self.has_lost(&standing) && !self.members()?.is_empty())
    }

    fn signal(&self, signal: Signal) -> Result<Signalled> {
        if signal == Signal::CONT {
            self.stirs();
        }
        self.pass(signal, Operation::Signal, &Struck::default())
    }

    fn kill(&self) -> Result<KillStep> {
        self.refuse_removed(Operation::Kill)?;
        let again = self.kills.fetch_add(1, Ordering::SeqCst) > 0;
        let whom = match self.take_together() {
            _ if again => Whom::Each,
            Some(count) => Whom::Together(count),
            None => Whom::WhoLeft,
        };
        self.strike(Signal::KILL, Operation::Kill, whom).map(KillStep::Signalled)
    }

    fn request_freeze(&self) -> Result<()> {
        self.hold_still().map(drop)
    }

    fn hold_still(&self) -> Result<Option<Vec<Member>>> {
        self.stop_all()
    }

    fn request_thaw(&self) -> Result<()> {
        self.stirs();
        self.pass(Signal::CONT, Operation::Thaw, &Struck::default()).map(drop)
    }

    fn frozen(&self) -> Result<FreezeState> {
        self.refuse_removed(Operation::Freeze)?;
        self.tree()?.frozen().map_err(|error| self.error(error))
    }

    /// While members live, by `/proc`, in clock ticks; then exactly, as the keepers reaped them.
    fn usage(&self) -> Result<Usage> {
        self.refuse_removed(Operation::Usage)?;
        let standing = self.standing()?;
        let over = |keeping: &Keeping| matches!(keeping, Keeping::Over(_));
        let mut usage =
            if standing.iter().all(|(_, keeping)| over(keeping)) && !self.has_lost(&standing) {
                let none = Some(Duration::ZERO);
                Usage { cpu_user: none, cpu_system: none, ..usage_now(&[]) }
            } else {
                self.tree()?.usage().map_err(|error| self.error(error))?
            };
        let over = standing.iter().filter_map(|(_, keeping)| match keeping {
            Keeping::Over(cpu) => Some(*cpu),
            Keeping::Goes | Keeping::Lost => None,
        });
        // None of `standing` is forgotten, and so counted twice, for as long as that has it.
        for cpu in over.chain([self.lines().past]) {
            usage.cpu_user = usage.cpu_user.map(|user| user + cpu.user);
            usage.cpu_system = usage.cpu_system.map(|system| system + cpu.system);
        }
        if self.has_lost(&standing) {
            // What a lost keeper had reaped is not known.
            (usage.cpu_user, usage.cpu_system) = (None, None);
        }
        usage.cpu = usage.cpu_user.zip(usage.cpu_system).map(|(user, system)| user + system);
        Ok(usage)
    }

    fn watch(&self, change: Change) -> Result<Watch> {
        self.refuse_removed(Operation::Watch)?;
        match change {
            Change::Empty => {}
            Change::Frozen => return Ok(Watch::Backoff),
            Change::Oom => return self.lacks(Operation::Watch),
        }
        let mut sources = Vec::new();
        for (line, keeping) in self.standing()? {
            match keeping {
                Keeping::Goes => sources.push(line.source()),
                // What is left of it is its exit, which is announced for ever once it came.
                Keeping::Over(_) if line.has_keeper_ended()? => {}
                Keeping::Over(_) => sources.push(line.keeper().source()),
                Keeping::Lost => {
                    let members = self.members()?;
                    let member = PidFd::first_living(members.iter().map(|member| member.pid));
                    let member =
                        member.map_err(|e| self.error(Error::from_io(Operation::Watch, &e)))?;
                    sources.extend(member.map(|member| member.source()));
                }
            }
        }
        Ok(if sources.is_empty() { Watch::Backoff } else { Watch::Sources(sources) })
    }

    /// The keepers reap their own; what was re-parented to us after the loss of one is ours.
    fn reap(&self) -> Result<Reaped> {
        self.refuse_removed(Operation::Reap)?;
        let standing = self.standing()?;
        let mut count = 0;
        for (line, keeping) in &standing {
            if *keeping != Keeping::Goes && !line.is_keeper_reaped() {
                count += usize::from(line.reap_keeper()?);
            }
        }
        if self.has_lost(&standing) && matches!(self.keepers, KeeperSource::Own(_)) {
            reap_children(None).map_err(|e| self.error(Error::from_io(Operation::Reap, &e)))?;
        }
        Ok(Reaped { count })
    }

    fn remove(&self) -> Result<()> {
        self.refuse_removed(Operation::Remove)?;
        let mut gone = !self.populated()?;
        let lines = self.lines();
        for line in &lines.open {
            gone &= line.reap_keeper()?;
        }
        if !gone || lines.opening > 0 {
            return Err(self.error(Error::new(ErrorKind::Busy, Operation::Remove)));
        }
        self.removed.store(true, Ordering::Release);
        self.claim.release();
        Ok(())
    }
}

impl Drop for KeptGroup {
    /// A group that was neither removed nor killed is to live on: without us its keepers would end it.
    fn drop(&mut self) {
        if !self.removed.load(Ordering::Acquire) && self.kills.load(Ordering::Acquire) == 0 {
            self.lines().open.iter().for_each(|line| line.let_go());
        }
    }
}
