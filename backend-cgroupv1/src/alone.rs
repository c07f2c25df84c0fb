//! Limits and figures alone, for groups whose processes another driver holds: on hosts that have
//! version 2 for processes and version 1 for the controllers.

use std::os::fd::{OwnedFd, RawFd};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use containment_core::{
    Applied, ControllerSet, Element, Error, ErrorKind, FreezeState, GroupName, Limit, Limits,
    Measure, Operation, Pid, Result, Set, Usage, Watch,
};
use containment_process::cgroupfs::Dir;
use containment_process::proc::{Base, Stat, cgroup, mountinfo};

use crate::branch::Branch;
use crate::branches::{Branches, Top};
use crate::entry;
use crate::hierarchy::{Hierarchy, Mounted};
use crate::home::V1Home;
use crate::host::Place;
use crate::{freezer, offer};

/// The limits and figures that this host's hierarchies offer.
#[derive(Debug, Clone)]
pub struct V1Limits {
    place: Arc<Place>,
}

impl V1Limits {
    /// The descriptors that it has open.
    pub fn handles(&self) -> Vec<RawFd> {
        self.place.handles().collect()
    }

    /// Finds the hierarchies, and in each the group below which groups are made: the one that `base`
    /// names, or else our own group. There may be none.
    ///
    /// # Errors
    /// [`System`](ErrorKind::System) when the mounts or our own groups cannot be read;
    /// [`Unusable`](ErrorKind::Unusable) where the kernel is short of something, as of descriptors. That a
    /// hierarchy cannot be used is none.
    pub fn probe(base: &Base) -> Result<Self> {
        Place::find(base).map(|place| Self { place: Arc::new(place) })
    }

    /// The same with groups that keep the files of their figures open, as by
    /// [`CgroupV1::sampling`](crate::CgroupV1::sampling).
    #[must_use]
    pub fn sampling(mut self) -> Self {
        Arc::make_mut(&mut self.place).sampling = true;
        self
    }

    /// The limits that can be set.
    pub fn limits(&self) -> Set<Limit> {
        self.place.limits
    }

    /// Whether there is a usable hierarchy that serves limits, found out at less expense than by
    /// [`probe`](Self::probe).
    ///
    /// # Errors
    /// [`Unusable`](ErrorKind::Unusable), with the reason and a remedy.
    pub fn check(base: &Base) -> Result<()> {
        let failed = |error| Error::from_io(Operation::Probe, &error);
        let mounts = base.mounts().map_err(failed)?;
        let memberships = base.memberships().map_err(failed)?;
        let serves_limits = |mounted: &Mounted| {
            let mut controllers =
                Limit::ALL.iter().filter_map(|limit| offer::controller_of(*limit));
            controllers.any(|controller| mounted.serves(controller))
        };
        let mut unusable = no_controller();
        let serving = mountinfo::mounts(mounts).filter_map(|mount| Mounted::of(&mount));
        for mounted in serving.filter(serves_limits) {
            match Hierarchy::open(mounted, memberships, base.parent()) {
                Ok(_) => return Ok(()),
                Err(error) => unusable = error,
            }
        }
        Err(unusable)
    }

    /// The figures that groups show which are made for these, as far as there are hierarchies for
    /// them: one that is joined for a figure may show others too.
    ///
    /// # Errors
    /// None: a figure that no hierarchy offers is left out.
    pub fn figures(&self, asked: Set<Measure>) -> Result<Set<Measure>> {
        let mut joined = Vec::new();
        self.place.join(&mut joined, Set::EMPTY, asked)?;
        Ok(offer::figures(&self.place, &joined))
    }

    /// Why hierarchies that are mounted cannot be used, if any.
    pub fn unusable(&self) -> impl Iterator<Item = &Error> {
        self.place.unusable.iter().map(|error| &**error)
    }

    /// Makes the group `name` in the hierarchies that these limits and figures need, and in no other.
    /// `owners` are the identities that another driver gives the group, and the groups around it,
    /// outermost first; by its own the group is found again.
    ///
    /// # Errors
    /// [`Unsupported`](ErrorKind::Unsupported) for a limit that is not offered,
    /// [`AlreadyExists`](ErrorKind::AlreadyExists) for a namesake in any of the hierarchies.
    pub fn create(
        &self,
        name: &GroupName,
        owners: &[u64],
        limits: ControllerSet,
        figures: Set<Measure>,
    ) -> Result<LimitGroup> {
        let mut joined = Vec::new();
        self.place.join(&mut joined, limits, figures).map_err(|error| error.with_group(name))?;
        let branches = self.top().create(name, &joined, Some(owners))?;
        Ok(LimitGroup::new(branches, &[]))
    }

    /// Opens what was made for the group `name` of this identity; that may be nothing.
    ///
    /// # Errors
    /// [`PermissionDenied`](ErrorKind::PermissionDenied) and [`NotCgroupfs`](ErrorKind::NotCgroupfs) for a
    /// directory that cannot be opened. That there is none is no error.
    pub fn open(&self, name: &GroupName, owner: u64) -> Result<LimitGroup> {
        Ok(LimitGroup::new(self.top().open_of(name, owner)?, &[]))
    }

    /// The freezer group that holds a process frozen, if one does: such a process does not die.
    ///
    /// # Errors
    /// [`Unusable`](ErrorKind::Unusable) for a mount that cannot be opened, [`NotFound`](ErrorKind::NotFound)
    /// when the process's group vanished meanwhile, [`PermissionDenied`](ErrorKind::PermissionDenied).
    pub fn hold_on(&self, pid: Pid) -> Result<Option<Hold>> {
        let Some(index) = self.place.serving("freezer") else { return Ok(None) };
        let hierarchy = &self.place.hierarchies[index];
        let unread = |error: std::io::Error| Error::from_io(Operation::Thaw, &error).with_pid(pid);
        // Of a first thread that has ended the kernel says that it is in the root.
        let stat = Stat::read(pid).map_err(unread)?;
        let living = stat.and_then(|stat| stat.living_thread().map(|thread| thread.pid));
        let text = cgroup::read(living.unwrap_or(pid)).map_err(unread)?;
        let Some(group) = text.and_then(|text| hierarchy.mounted.group_of(&text)) else {
            return Ok(None);
        };
        // The root cannot be frozen.
        if group.as_os_str().is_empty() {
            return Ok(None);
        }
        let failed = |failure: containment_process::cgroupfs::Failure| {
            failure.during(Operation::Thaw).with_pid(pid)
        };
        let dir = hierarchy.mounted.open()?.open_beneath(&group).map_err(failed)?;
        if freezer::state(&dir).map_err(failed)? == FreezeState::Thawed {
            return Ok(None);
        }
        let below_ours = group.strip_prefix(&hierarchy.relative).map(Path::to_path_buf).ok();
        Ok(Some(Hold { dir, below_ours }))
    }

    fn top(&self) -> Top<'_> {
        Top { place: &self.place, outer: None }
    }
}

/// A group that has limits and figures, and neither kills nor freezes.
///
/// Its processes enter it by writing `0` to each of [`entries`](Self::entries): into its own directory
/// in each hierarchy that it joined, and into those of the groups around it in the others, so that
/// whatever holds for these holds for its processes.
#[derive(Debug)]
pub struct LimitGroup {
    branches: Branches,
    /// Where its processes are.
    entered: Branches,
}

impl LimitGroup {
    /// The descriptors that it has open.
    pub fn handles(&self) -> Vec<RawFd> {
        let mut handles = self.branches.handles();
        handles.extend(self.entered.handles());
        handles
    }

    fn new(branches: Branches, around: &[Branch]) -> Self {
        let entered = branches.within(around);
        Self { branches, entered }
    }

    /// Makes a group inside this one; `owners` as with [`V1Limits::create`].
    ///
    /// # Errors
    /// As [`V1Limits::create`]; [`InvalidInput`](ErrorKind::InvalidInput) when both names together are too long,
    /// [`Gone`](ErrorKind::Gone) when this group was removed.
    pub fn subgroup(
        &self,
        name: &GroupName,
        owners: &[u64],
        limits: ControllerSet,
        figures: Set<Measure>,
    ) -> Result<Self> {
        let place = &self.branches.place;
        let mut joined = Vec::new();
        place.join(&mut joined, limits, figures).map_err(|error| error.with_group(name))?;
        let top = Top { place, outer: Some(&self.branches) };
        Ok(Self::new(top.create(name, &joined, Some(owners))?, &self.entered.all))
    }

    /// Opens what was made for the group `name` inside this one.
    ///
    /// # Errors
    /// As [`V1Limits::open`]; [`InvalidInput`](ErrorKind::InvalidInput) when both names together are too long.
    pub fn open_subgroup(&self, name: &GroupName, owner: u64) -> Result<Self> {
        let top = Top { place: &self.branches.place, outer: Some(&self.branches) };
        Ok(Self::new(top.open_of(name, owner)?, &self.entered.all))
    }

    /// The figures that it shows.
    pub fn figures(&self) -> Set<Measure> {
        offer::figures(&self.branches.place, &self.branches.joined())
    }

    /// The limits that it can be given.
    pub fn limits(&self) -> Set<Limit> {
        let joined = |limit: &Limit| {
            let controller = offer::controller_of(*limit);
            controller.is_some_and(|controller| self.branches.serving(controller).is_some())
        };
        self.branches.place.limits.iter().filter(joined).collect()
    }

    /// Whether it has no directory of its own, be it that it never had one, or that they were removed.
    pub fn is_gone(&self) -> bool {
        self.branches.are_gone()
    }

    /// The files that a child writes `0` to, each, before its exec.
    ///
    /// # Errors
    /// [`Gone`](ErrorKind::Gone) when one of its directories was removed,
    /// [`PermissionDenied`](ErrorKind::PermissionDenied), [`System`](ErrorKind::System) with `EMFILE`.
    pub fn entries(&self) -> Result<Vec<OwnedFd>> {
        self.entered.entries().map_err(|failure| self.error(failure.during(Operation::Place)))
    }

    /// What a failed entry means here: the errno of a write to one of the [`entries`](Self::entries).
    #[must_use]
    pub fn explain(error: Error) -> Error {
        entry::place_error(error)
    }

    /// Moves a running process in, into every hierarchy or none.
    ///
    /// # Errors
    /// [`System`](ErrorKind::System) with `ESRCH` for one that has ended, [`Gone`](ErrorKind::Gone),
    /// [`PermissionDenied`](ErrorKind::PermissionDenied); [`InvalidInput`](ErrorKind::InvalidInput) for one
    /// that the kernel does not move, and where the group's cpuset has no CPU or no memory node.
    pub fn attach(&self, pid: Pid) -> Result<()> {
        self.entered.attach(pid).map_err(|error| self.error(error).with_pid(pid))
    }

    /// The processes that are in any of its hierarchies.
    ///
    /// # Errors
    /// [`PermissionDenied`](ErrorKind::PermissionDenied) and [`Malformed`](ErrorKind::Malformed) of a directory
    /// that is there.
    pub fn pids(&self) -> Result<Vec<Pid>> {
        self.branches.pids().map_err(|failure| self.error(failure.during(Operation::Members)))
    }

    /// Where a process is now, in every hierarchy that its [`entries`](Self::entries) are in.
    ///
    /// # Errors
    /// [`Unusable`](ErrorKind::Unusable) for a mount that cannot be opened, [`NotFound`](ErrorKind::NotFound)
    /// when one of the process's groups vanished meanwhile. One that has ended is nowhere.
    pub fn home_of(&self, pid: Pid) -> Result<V1Home> {
        V1Home::of(pid, &self.entered).map_err(|error| self.error(error).with_pid(pid))
    }

    /// Sets limits: says what was applied, and what was not and why.
    pub fn set_limits(&self, limits: &Limits) -> Applied {
        self.branches.set_limits(limits).described(|error| self.error(error))
    }

    /// What was used so far, by the hierarchies that it joined.
    ///
    /// # Errors
    /// [`Gone`](ErrorKind::Gone); [`Malformed`](ErrorKind::Malformed), naming the file.
    pub fn usage(&self) -> Result<Usage> {
        self.branches.usage().map_err(|failure| self.error(failure.during(Operation::Usage)))
    }

    /// Members that the OOM killer took so far.
    ///
    /// # Errors
    /// [`Unsupported`](ErrorKind::Unsupported) without a memory hierarchy.
    pub fn oom_kills(&self) -> Result<u64> {
        self.branches.oom_kills().map_err(|error| self.error(error))
    }

    /// What announces that a limit on memory was met, a moment before the kill is counted.
    ///
    /// # Errors
    /// As [`oom_kills`](Self::oom_kills).
    pub fn watch_oom(&self) -> Result<Watch> {
        self.branches.watch_oom().map_err(|error| self.error(error))
    }

    /// Tries once to remove its directories and the empty ones in them, depth first; with groups inside
    /// it (`nested`) also those in hierarchies that only they joined. What is gone already is removed.
    ///
    /// # Errors
    /// The first failure; every hierarchy is cleaned all the same.
    pub fn remove(&self, nested: bool) -> Result<()> {
        let removed = self.branches.remove(nested);
        removed.map_err(|failure| self.error(failure.during(Operation::Remove)))
    }

    fn error(&self, error: Error) -> Error {
        error.with_group(&self.branches.name)
    }
}

fn no_controller() -> Error {
    Error::new(ErrorKind::Unusable, Operation::Probe)
        .because("no cgroup v1 hierarchy is mounted with a controller for limits")
        .advise("use cgroup-v2 instead, which needs none")
}

/// A freezer group that holds a process frozen.
#[derive(Debug)]
pub struct Hold {
    dir: Dir,
    below_ours: Option<PathBuf>,
}

impl Hold {
    /// The freezer group.
    pub fn path(&self) -> &Path {
        self.dir.path()
    }

    /// Whether it is the group `name` of ours, or inside it.
    pub fn is_within(&self, name: &GroupName) -> bool {
        self.below_ours.as_ref().is_some_and(|path| path.starts_with(name.as_str()))
    }

    /// Thaws it, as far as it is not a group around it that is frozen.
    ///
    /// # Errors
    /// [`Gone`](ErrorKind::Gone), [`PermissionDenied`](ErrorKind::PermissionDenied).
    pub fn thaw(&self) -> Result<()> {
        let thawed = self.dir.write("freezer.state", "THAWED");
        thawed.map_err(|failure| failure.during(Operation::Thaw))
    }
}
