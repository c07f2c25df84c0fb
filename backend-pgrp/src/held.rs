//! A process group held by its leader: the leader stays an unreaped zombie until the group is dead, so
//! that the group's id cannot be re-used and no stranger is ever signalled (K19).
//!
//! A spawn and a kill exclude each other, so that nothing runs once the kill returned (K49).

use std::os::fd::{AsRawFd, RawFd};
use std::sync::{Mutex, MutexGuard, PoisonError};

use containment_core::{
    Capabilities, Change, ChildOps, Error, ErrorKind, FreezeState, GroupId, GroupOps, KillStep,
    Member, Operation, Pid, ProcessGroup, Program, Reaped, Result, Signal, Signalled, Standing,
    Usage, Watch,
};
use containment_process::child::{Programs, Started};
use containment_process::pidfd::{Look, PidFd};
use containment_process::proc::{Snapshot, Stat};
use containment_process::reap::signal_process_group;
use containment_process::spawn::{Entry, Launch, Memory, spawn};

use crate::lacking::{OfProcesses, lacking};
use crate::names::Claim;
use crate::tree::{freeze_state, usage_now};

/// A group that is a process group.
#[derive(Debug)]
pub(crate) struct HeldGroup {
    claim: Claim,
    capabilities: Capabilities,
    state: Mutex<State>,
}

/// How often a look at an empty group is repeated for those who were born meanwhile.
const CATCH_UPS: usize = 16;

#[derive(Debug, Default)]
struct State {
    leader: Option<Started>,
    /// Programs that joined the leader's group.
    joined: Programs,
    /// The member whose end is waited for.
    watched: Option<PidFd>,
    /// Whether it was killed, and nothing was started since.
    killed: bool,
    /// Whether it was empty after that, and so is for good.
    emptied: bool,
    removed: bool,
}

impl State {
    fn programs(&self) -> impl Iterator<Item = Started> {
        self.leader.iter().cloned().chain(self.joined.all())
    }

    /// A program of it that runs and has not left: a member that is known without a look at every process.
    fn running(&self) -> Option<Started> {
        self.programs()
            .find(|program| matches!(program.try_wait(), Ok(None)) && self.has(program.pid()))
    }

    /// Whether the member whose end is waited for lives, and has not left.
    fn watches_a_member(&self) -> bool {
        let lives = |member: &&PidFd| matches!(member.has_ended(), Ok(false));
        self.watched.as_ref().filter(lives).is_some_and(|member| self.has(member.pid()))
    }

    fn has(&self, pid: Pid) -> bool {
        let leader = self.leader.as_ref().map(|leader| leader.pid().as_raw());
        let stat = Stat::read(pid).ok().flatten();
        stat.is_some_and(|stat| Some(stat.group) == leader)
    }
}

impl HeldGroup {
    pub(crate) fn new(claim: Claim, capabilities: Capabilities) -> Self {
        Self { claim, capabilities, state: Mutex::default() }
    }

    /// The state, unless the group was removed.
    fn state(&self, operation: Operation) -> Result<MutexGuard<'_, State>> {
        let state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if state.removed {
            return Err(self.error(Error::new(ErrorKind::Gone, operation)));
        }
        Ok(state)
    }

    /// The living members, told by the process group's id, which is ours while the leader is held.
    fn living(&self, state: &State, operation: Operation) -> Result<Vec<Stat>> {
        let Some(leader) = &state.leader else { return Ok(Vec::new()) };
        if !leader.holds_pid()? {
            return Err(self.hold_lost(operation));
        }
        let snapshot = Snapshot::take().map_err(|e| self.error(Error::from_io(operation, &e)))?;
        let group = snapshot.in_group(leader.pid());
        Ok(group.filter(|stat| !stat.is_dead()).cloned().collect())
    }

    /// Whether nothing lives, for certain: somebody who forks and exits between the listing of `/proc`
    /// and the reading of it hides his child. Where processes come and go too fast for that it is
    /// not said, and the next look may say it.
    fn is_empty(&self, state: &mut State, operation: Operation) -> Result<bool> {
        let Some(leader) = &state.leader else { return Ok(true) };
        if !leader.holds_pid()? {
            return Err(self.hold_lost(operation));
        }
        if state.watches_a_member() || state.running().is_some() {
            return Ok(false);
        }
        if !state.emptied {
            let leader = leader.pid();
            if !self.nobody_lives(leader, &mut state.watched, operation)? {
                return Ok(false);
            }
            state.emptied = state.killed;
        }
        Ok(true)
    }

    /// Whether nobody of the leader's group lives. Who is found to live is whom to watch: to find him again
    /// takes another look at every process.
    fn nobody_lives(
        &self,
        leader: Pid,
        watched: &mut Option<PidFd>,
        operation: Operation,
    ) -> Result<bool> {
        let failed = |error: std::io::Error| self.error(Error::from_io(operation, &error));
        *watched = None;
        let mut snapshot = Snapshot::take().map_err(failed)?;
        let (mut ended, mut seen) = (usize::MAX, 0);
        for _ in 0..CATCH_UPS {
            let members = snapshot.in_group(leader).filter(|stat| !stat.is_dead());
            let members: Vec<_> = members.map(|stat| stat.pid).collect();
            // Nobody hid a child in the last listing, and whoever was alive in an earlier one had ended before it.
            let is_last = ended == 0 && members.len() == seen;
            seen = members.len();
            match PidFd::first_living(members.into_iter().rev()) {
                Ok(None) if is_last => return Ok(true),
                Ok(None) => ended = snapshot.catch_up().map_err(failed)?,
                Ok(living) => {
                    *watched = living;
                    return Ok(false);
                }
                // Without a descriptor it is not known; whoever wants to watch him is told why that cannot be.
                Err(_) => return Ok(false),
            }
        }
        Ok(false)
    }

    /// How many are about to get a signal: a figure for reports, for want of which nobody is spared.
    fn count(&self, state: &State) -> usize {
        let living = self.living(state, Operation::Signal).inspect_err(|error| {
            let group = &self.id().name;
            tracing::warn!(%group, %error, remedy = error.remedy(), "cannot count who gets a signal");
        });
        living.map_or(0, |living| living.len())
    }

    /// At once to every member; the kernel does not tell to how many.
    fn pass(&self, state: &State, signal: Signal) -> Result<()> {
        let Some(leader) = &state.leader else { return Ok(()) };
        let failed = |error: std::io::Error| self.error(Error::from_io(Operation::Signal, &error));
        match leader.process().signal_process_group(signal) {
            Ok(_) => {}
            // Before Linux 6.9: by the id, as long as that is held.
            Err(error) if error.raw_os_error() == Some(rustix::io::Errno::INVAL.raw_os_error()) => {
                if !leader.holds_pid()? {
                    return Err(self.hold_lost(Operation::Signal));
                }
                signal_process_group(leader.pid(), signal).map_err(failed)?;
            }
            Err(error) => return Err(failed(error)),
        }
        Ok(())
    }

    fn hold_lost(&self, operation: Operation) -> Error {
        self.error(Error::new(ErrorKind::StatusLost, operation))
            .because(
                "the group's leader was reaped by somebody else, so its id may be a stranger's",
            )
            .advise("do not ignore SIGCHLD and do not wait for every child, or use a keeper")
    }

    fn error(&self, error: Error) -> Error {
        error.with_backend(self.id().backend).with_group(&self.id().name)
    }
}

impl OfProcesses for HeldGroup {
    fn present(&self, operation: Operation) -> Result<()> {
        self.state(operation).map(drop)
    }

    fn describe(&self, error: Error) -> Error {
        self.error(error)
    }
}

impl GroupOps for HeldGroup {
    fn id(&self) -> &GroupId {
        self.claim.id()
    }

    fn capabilities(&self) -> &Capabilities {
        &self.capabilities
    }

    lacking!();

    fn handles(&self) -> Vec<RawFd> {
        let state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let leader = state.leader.iter().map(|leader| leader.process().as_raw_fd());
        let watched = state.watched.iter().map(AsRawFd::as_raw_fd);
        leader.chain(state.joined.handles()).chain(watched).collect()
    }

    /// The first program leads the group, and the others join it; one that asks to be in another is refused.
    fn spawn(&self, program: &Program) -> Result<Box<dyn ChildOps>> {
        let mut state = self.state(Operation::Spawn)?;
        if !matches!(program.group(), ProcessGroup::Auto | ProcessGroup::Lead) {
            return Err(self
                .error(Error::new(ErrorKind::InvalidInput, Operation::Spawn))
                .because("without a keeper the process group is the group"));
        }
        let leader = state.leader.as_ref().map_or(0, |leader| leader.pid().as_raw());
        let process = spawn(&Launch {
            program,
            entry: Entry::Nowhere,
            process_group: Some(leader),
            mark: None,
            frozen: None,
            memory: Memory::Share,
        });
        let process = process.map_err(|failure| self.error(failure.into_error(program)))?;
        let look = if leader == 0 { Look::Hold } else { Look::Reap };
        let child = Started::new(process, look, self.id().backend, &self.id().name);
        match leader {
            0 => state.leader = Some(child.clone()),
            _ => state.joined.add(child.clone()),
        }
        (state.killed, state.emptied) = (false, false);
        Ok(Box::new(child))
    }

    fn program_runs(&self) -> bool {
        let runs = |program: Started| matches!(program.try_wait(), Ok(None));
        self.state(Operation::Members).is_ok_and(|state| state.programs().any(runs))
    }

    fn members(&self) -> Result<Vec<Member>> {
        let state = self.state(Operation::Members)?;
        let is_program = |stat: &Stat| state.programs().any(|child| child.pid() == stat.pid);
        let standing = |stat| if is_program(stat) { Standing::Program } else { Standing::Inside };
        let living = self.living(&state, Operation::Members)?;
        Ok(living.iter().map(|stat| stat.member(standing(stat))).collect())
    }

    fn populated(&self) -> Result<bool> {
        let mut state = self.state(Operation::Populated)?;
        Ok(!self.is_empty(&mut state, Operation::Populated)?)
    }

    fn signal(&self, signal: Signal) -> Result<Signalled> {
        let state = self.state(Operation::Signal)?;
        // Counted before, since some of those who get it are gone after it.
        let count = self.count(&state);
        self.pass(&state, signal)?;
        Ok(Signalled { count, failed: Vec::new() })
    }

    fn kill(&self) -> Result<KillStep> {
        let mut state = self.state(Operation::Kill)?;
        self.pass(&state, Signal::KILL)?;
        state.killed = true;
        Ok(KillStep::Signalled(Signalled::default()))
    }

    fn request_freeze(&self) -> Result<()> {
        let state = self.state(Operation::Freeze)?;
        self.pass(&state, Signal::STOP)
    }

    fn request_thaw(&self) -> Result<()> {
        let state = self.state(Operation::Thaw)?;
        self.pass(&state, Signal::CONT)
    }

    fn frozen(&self) -> Result<FreezeState> {
        let state = self.state(Operation::Freeze)?;
        Ok(freeze_state(&self.living(&state, Operation::Freeze)?))
    }

    /// Not CPU time: who left the group, and who was orphaned and ended, is not known any more.
    fn usage(&self) -> Result<Usage> {
        let state = self.state(Operation::Usage)?;
        if state.emptied {
            return Ok(usage_now(&[]));
        }
        Ok(usage_now(&self.living(&state, Operation::Usage)?))
    }

    /// One living member's pidfd: when it ends, the next one's.
    fn watch(&self, change: Change) -> Result<Watch> {
        let mut state = self.state(Operation::Watch)?;
        match change {
            Change::Empty => {}
            Change::Frozen => return Ok(Watch::Backoff),
            Change::Oom => return self.lacks(Operation::Watch),
        }
        // A member that leaves by `setsid` is announced by nothing.
        if let Some(program) = state.running() {
            return Ok(Watch::Members(vec![program.process().source()]));
        }
        if self.is_empty(&mut state, Operation::Watch)? {
            // Where that is for good, the leader has ended, which announces it at once.
            let leader = state.leader.as_ref().filter(|_| state.emptied);
            let ended = leader.map(|leader| vec![leader.process().source()]);
            return Ok(ended.map_or(Watch::Backoff, Watch::Members));
        }
        if state.watched.is_none() {
            let living = self.living(&state, Operation::Watch)?;
            let member = PidFd::first_living(living.iter().rev().map(|stat| stat.pid));
            state.watched = member.map_err(|e| self.error(Error::from_io(Operation::Watch, &e)))?;
        }
        let watched = state.watched.as_ref().map(|member| vec![member.source()]);
        Ok(watched.map_or(Watch::Backoff, Watch::Members))
    }

    fn reap(&self) -> Result<Reaped> {
        self.state(Operation::Reap)?.joined.reap()
    }

    fn remove(&self) -> Result<()> {
        let mut state = self.state(Operation::Remove)?;
        if !self.is_empty(&mut state, Operation::Remove)? {
            return Err(self.error(Error::new(ErrorKind::Busy, Operation::Remove)));
        }
        for child in state.programs() {
            child.release()?;
        }
        state.removed = true;
        state.watched = None;
        self.claim.release();
        Ok(())
    }
}
