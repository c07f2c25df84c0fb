//! One open hybrid group: a v2 group that does everything but limit, and what limits it.

use std::os::fd::RawFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use backend_cgroupv1::LimitGroup;
use backend_cgroupv2::V2Group;
use containment_core::{
    Applied, Backend, Capabilities, Change, ChildOps, ControllerSet, Error, ErrorKind, FreezeState,
    GroupId, GroupName, GroupOps, HomeOps, KillStep, Limit, Limits, Member, Operation, Pid,
    Program, Reaped, Result, Set, Signal, Signalled, Usage, Watch,
};

use super::home::HybridHome;
use super::v1::{Level, V1Side};

/// A group of the unified hierarchy whose limits are in others.
#[derive(Debug)]
pub(super) struct HybridGroup {
    pub(super) v2: V2Group,
    /// Its v1 side, and that of the groups around it; `None` where it has none of both.
    pub(super) v1: Option<LimitGroup>,
    pub(super) side: Arc<V1Side>,
    capabilities: Capabilities,
    /// Whether a kill was made that may have found members held by a freezer of version 1.
    pub(super) struck: AtomicBool,
    removed: AtomicBool,
}

impl HybridGroup {
    pub(super) fn new(v2: V2Group, v1: Option<LimitGroup>, side: &Arc<V1Side>) -> Self {
        let held = v2.capabilities().clone();
        let capabilities = match &v1 {
            Some(v1) => Capabilities {
                limits: v1.limits(),
                usage: held.usage.iter().chain(v1.figures().iter()).collect(),
                ..held
            },
            // Limits are version 1's.
            None => Capabilities { limits: Set::EMPTY, ..held },
        };
        Self {
            v2,
            v1,
            side: Arc::clone(side),
            capabilities,
            struck: AtomicBool::new(false),
            removed: AtomicBool::new(false),
        }
    }

    pub(super) fn boxed(self) -> Box<dyn GroupOps> {
        Box::new(self)
    }

    pub(super) fn error(&self, error: Error) -> Error {
        error.with_backend(Backend::Hybrid).with_group(&self.v2.id().name)
    }

    fn refuse_removed(&self, operation: Operation) -> Result<()> {
        if self.removed.load(Ordering::Acquire) {
            return Err(self.error(Error::new(ErrorKind::Gone, operation)));
        }
        Ok(())
    }

    /// Why a limit cannot be set when the group joined no hierarchy at all.
    fn not_joined(&self, limit: Limit) -> Error {
        self.error(Error::new(ErrorKind::Unsupported, Operation::SetLimits))
            .because(format!("the group did not join the hierarchy of the limit {limit}"))
            .advise("ask for the limit when the group is made")
    }

    /// Whether this says that somebody removed its v2 directory, while directories of its own are left in v1
    /// hierarchies.
    pub(super) fn has_lost_v2_alone(&self, error: &Error) -> bool {
        let has_v1_left = || {
            self.v1.as_ref().is_some_and(|v1| !v1.is_gone())
                || self.whole_v1().is_ok_and(|whole| !whole.is_gone())
        };
        error.kind() == ErrorKind::Gone && has_v1_left()
    }

    /// Its v1 side with hierarchies that only groups inside it joined: these made its level there.
    pub(super) fn whole_v1(&self) -> Result<LimitGroup> {
        let limits = self.side.limits();
        let whole = limits.and_then(|v1| v1.open(&self.id().name, self.v2.inode()));
        whole.map_err(|error| self.error(error))
    }

    fn watch_oom(&self) -> Result<Watch> {
        match self.v1.as_ref().map(LimitGroup::watch_oom) {
            Some(Ok(watch)) => Ok(watch),
            Some(Err(error)) if !counts_none(&error) => Err(self.error(error)),
            None | Some(Err(_)) => self.v2.watch(Change::Oom),
        }
    }

    /// Whether who is left, if anybody, are strays.
    fn has_at_most_strays(&self) -> Result<bool> {
        let may_have = self.v1.is_some() || self.v2.is_nested();
        Ok(may_have && !self.v2.populated()?)
    }

    /// Removes the v1 directories: its own, and those of groups inside it, which may have joined
    /// hierarchies that it did not.
    fn remove_v1(&self, nested: bool) -> Result<()> {
        let removed = match &self.v1 {
            Some(v1) => v1.remove(nested),
            None if nested => self.whole_v1().and_then(|whole| whole.remove(true)),
            None => Ok(()),
        };
        removed.map_err(|error| self.error(error))
    }
}

impl GroupOps for HybridGroup {
    fn id(&self) -> &GroupId {
        self.v2.id()
    }

    fn capabilities(&self) -> &Capabilities {
        &self.capabilities
    }

    fn leave_mark(&self, mark: &str) -> Result<bool> {
        self.v2.leave_mark(mark)
    }

    fn mark(&self) -> Result<Option<String>> {
        self.v2.mark()
    }

    fn spawn(&self, program: &Program) -> Result<Box<dyn ChildOps>> {
        let Some(v1) = &self.v1 else { return self.v2.spawn(program) };
        self.refuse_removed(Operation::Spawn)?;
        let entries = v1.entries().map_err(|error| self.error(error))?;
        self.v2.spawn_joined(program, &entries).map_err(|error| match error.kind() {
            // Not a refusal that version 2 knows.
            ErrorKind::System => LimitGroup::explain(error),
            _ => error,
        })
    }

    /// Into every hierarchy, or none.
    fn attach(&self, pid: Pid) -> Result<()> {
        let Some(v1) = &self.v1 else { return self.v2.attach(pid) };
        self.refuse_removed(Operation::Attach)?;
        let before = v1.home_of(pid).map_err(|error| self.error(error))?;
        v1.attach(pid).map_err(|error| self.error(error))?;
        self.v2.attach(pid).inspect_err(|_| {
            if let Err(error) = before.take_back(pid)
                && error.errno() != Some(rustix::io::Errno::SRCH.raw_os_error())
            {
                tracing::warn!(%error, %pid, "a process could not be moved back; move it by hand");
            }
        })
    }

    fn home(&self) -> Result<Box<dyn HomeOps>> {
        let v2 = self.v2.home()?;
        let Some(v1) = &self.v1 else { return Ok(v2) };
        let v1 = v1.home_of(Pid::current()).map_err(|error| self.error(error))?;
        Ok(Box::new(HybridHome { v2, v1 }))
    }

    fn subgroup(&self, name: &GroupName, with: ControllerSet) -> Result<Box<dyn GroupOps>> {
        let level = Level { around: self.v1.as_ref(), local: name };
        let made = self.v2.subgroup_joined(name, |v2| self.side.create(level, v2, with));
        made.map(|(v2, v1)| Self::new(v2, v1, &self.side).boxed())
    }

    fn subgroups(&self) -> Result<Vec<Box<dyn GroupOps>>> {
        let inner = self.v2.open_subgroups()?.into_iter();
        let opened = inner.map(|v2| {
            let v1 = self.side.open_inside(self.v1.as_ref(), &v2)?;
            Ok(Self::new(v2, v1, &self.side).boxed())
        });
        opened.collect()
    }

    /// Where there are strays, a look at each member has to tell: they are to be named.
    fn program_runs(&self) -> bool {
        self.v2.program_runs()
            && (self.v1.is_none() || self.strays(Operation::Members).is_ok_and(|it| it.is_empty()))
    }

    fn members(&self) -> Result<Vec<Member>> {
        let mut members = match self.v2.members() {
            Err(error) if self.has_lost_v2_alone(&error) => Vec::new(),
            members => members?,
        };
        members.extend(self.stray_members()?);
        Ok(members)
    }

    /// A group whose v2 directory was removed is gone only with the rest of it.
    fn populated(&self) -> Result<bool> {
        match self.v2.populated() {
            Ok(true) => return Ok(true),
            Err(error) if self.has_lost_v2_alone(&error) => {}
            populated => drop(populated?),
        }
        Ok(!self.stray_members().map_err(|error| error.during(Operation::Populated))?.is_empty())
    }

    fn signal(&self, signal: Signal) -> Result<Signalled> {
        self.signal_pass(signal)
    }

    fn kill(&self) -> Result<KillStep> {
        self.kill_step()
    }

    fn request_freeze(&self) -> Result<()> {
        self.v2.request_freeze()
    }

    fn request_thaw(&self) -> Result<()> {
        self.v2.request_thaw()
    }

    fn frozen(&self) -> Result<FreezeState> {
        self.v2.frozen()
    }

    fn set_limits(&self, limits: &Limits) -> Result<Applied> {
        self.refuse_removed(Operation::SetLimits)?;
        let Some(v1) = &self.v1 else {
            let refused = limits.asked().iter().map(|limit| (limit, self.not_joined(limit)));
            return Ok(Applied { applied: Vec::new(), refused: refused.collect() });
        };
        let Applied { applied, refused } = v1.set_limits(limits);
        let refused = refused.into_iter().map(|(limit, error)| (limit, self.error(error)));
        Ok(Applied { applied, refused: refused.collect() })
    }

    fn usage(&self) -> Result<Usage> {
        let held = self.v2.usage()?;
        match self.v1.as_ref().map(LimitGroup::usage) {
            None => Ok(held),
            Some(Ok(limited)) => Ok(merged(&held, &limited)),
            // What somebody else removed measures nothing any more; the group is there all the same.
            Some(Err(error)) if error.kind() == ErrorKind::Gone => Ok(held),
            Some(Err(error)) => Err(self.error(error)),
        }
    }

    fn oom_kills(&self) -> Result<u64> {
        match self.v1.as_ref().map(LimitGroup::oom_kills) {
            Some(Ok(kills)) => Ok(kills),
            Some(Err(error)) if !counts_none(&error) => Err(self.error(error)),
            None | Some(Err(_)) => self.v2.oom_kills(),
        }
    }

    /// No file announces that the last stray has ended: that is looked for after pauses.
    fn watch(&self, change: Change) -> Result<Watch> {
        if change == Change::Oom {
            return self.watch_oom();
        }
        match self.v2.watch(change) {
            Err(error) if self.has_lost_v2_alone(&error) => Ok(Watch::Backoff),
            Ok(_) if change == Change::Empty && self.has_at_most_strays()? => Ok(Watch::Backoff),
            watch => watch,
        }
    }

    fn reap(&self) -> Result<Reaped> {
        self.v2.reap()
    }

    fn handles(&self) -> Vec<RawFd> {
        let mut handles = self.v2.handles();
        handles.extend(self.v1.iter().flat_map(LimitGroup::handles));
        handles.extend(self.side.handles());
        handles
    }

    /// The v2 directory first: a group that stays keeps its limits.
    fn remove(&self) -> Result<()> {
        self.refuse_removed(Operation::Remove)?;
        let nested = self.v2.is_nested();
        match self.v2.remove() {
            Err(error) if error.kind() != ErrorKind::Gone => return Err(error),
            Ok(()) | Err(_) => {}
        }
        self.remove_v1(nested)?;
        self.removed.store(true, Ordering::Release);
        Ok(())
    }
}

/// Whether this says that the v1 side counts no OOM kills: it has no memory directory, or not any more.
fn counts_none(error: &Error) -> bool {
    matches!(error.kind(), ErrorKind::Unsupported | ErrorKind::Gone)
}

/// Each figure by version 2, or else by version 1.
fn merged(v2: &Usage, v1: &Usage) -> Usage {
    macro_rules! first_of {
        ($($figure:ident),+ $(,)?) => { Usage { $($figure: v2.$figure.or(v1.$figure)),+, pressure: v2.pressure } };
    }
    first_of! {
        cpu, cpu_user, cpu_system, throttled_periods, throttled, memory, memory_peak, memory_anon,
        memory_file, memory_kernel, swap, pids, pids_peak, io_read, io_write, oom_kills,
    }
}
