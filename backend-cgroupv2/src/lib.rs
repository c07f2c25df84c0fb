//! The cgroup v2 driver: programs are born in their group (`CLONE_INTO_CGROUP`), die by one write
//! (`cgroup.kill`), or frozen and signalled by pidfd where the kernel is older, and emptiness is an
//! event (`cgroup.events`).
//!
//! Mechanism only: no method waits or retries. Groups are touched through directory handles
//! ([`containment_process::cgroupfs`]); nothing outside the parent group is ever opened.
#![forbid(unsafe_code)]

mod control;
mod events;
mod group;
mod home;
mod host;
mod place;
mod usage;

use std::os::fd::OwnedFd;
use std::path::Path;
use std::sync::Arc;

use containment_core::{
    Backend, Capabilities, CgroupOps, ControllerSet, Empty, Error, ErrorKind, Escape, Freeze,
    GroupId, GroupName, GroupOps, Kill, LeaveBy, Measure, Operation, Result, Set, SystemWaiter,
    Waiter,
};

use containment_process::cgroupfs::Failure;
use group::Top;
pub use group::V2Group;
use host::Place;

/// The driver of the unified hierarchy.
#[derive(Debug)]
pub struct CgroupV2 {
    place: Arc<Place>,
    waiter: Arc<SystemWaiter>,
}

impl CgroupV2 {
    /// Finds the hierarchy, and in it the group below which groups are made: `parent`, relative to
    /// the hierarchy's root, or else our own group.
    ///
    /// # Errors
    /// [`Unusable`](ErrorKind::Unusable), with the reason and a remedy.
    pub fn probe(parent: Option<&Path>) -> Result<Self> {
        let place = Place::find(parent).map_err(|error| error.with_backend(Backend::CgroupV2))?;
        Ok(Self { place: Arc::new(place), waiter: Arc::new(SystemWaiter::new()) })
    }

    /// The same, without using `cgroup.kill`: what kernels before 5.14 do. For tests of that path.
    #[must_use]
    pub fn without_kill_file(mut self) -> Self {
        let place = Arc::make_mut(&mut self.place);
        place.has_kill = false;
        place.capabilities.kill = Kill::Frozen { thaw_after: false };
        self
    }

    /// Proves that groups work here: makes one, clones a child into it that exits, removes it. A
    /// directory that can be made proves nothing: moving a process also needs the right to write to
    /// the common ancestor.
    pub fn prove(&self) -> Result<()> {
        containment_core::prove(self, ControllerSet::EMPTY)
    }
}

impl CgroupV2 {
    /// Makes a group whose programs join groups of other hierarchies besides: each writes `0` to the
    /// files that `also` gives for the new group's inode (v1: `tasks`) before it executes anything. For
    /// the hybrid driver, which moves processes that are attached itself.
    ///
    /// # Errors
    /// Those of `also` too; the group is removed again then.
    pub fn create_joined(
        &self,
        name: &GroupName,
        also: impl FnOnce(u64) -> Result<Vec<OwnedFd>>,
    ) -> Result<V2Group> {
        self.top().create(name, ControllerSet::EMPTY)?.joined(also)
    }

    /// Opens a group of this identity, whose programs join others besides as with `create_joined`.
    pub fn open_joined(
        &self,
        id: &GroupId,
        also: impl FnOnce(u64) -> Result<Vec<OwnedFd>>,
    ) -> Result<V2Group> {
        let mut group = self.open_group(id)?;
        group.also = also(group.inode())?;
        Ok(group)
    }

    fn open_group(&self, id: &GroupId) -> Result<V2Group> {
        let group = self.top().open(&id.name)?;
        if group.id().identity != id.identity {
            return Err(Error::new(ErrorKind::NotFound, Operation::Open)
                .with_backend(Backend::CgroupV2)
                .with_group(&id.name)
                .because("its name belongs to another group now"));
        }
        Ok(group)
    }

    fn top(&self) -> Top<'_> {
        Top { place: &self.place, dir: &self.place.dir, outer: None }
    }
}

impl CgroupOps for CgroupV2 {
    fn backend(&self) -> Backend {
        Backend::CgroupV2
    }

    fn capabilities(&self) -> &Capabilities {
        &self.place.capabilities
    }

    fn waiter(&self) -> Arc<dyn Waiter> {
        Arc::<SystemWaiter>::clone(&self.waiter)
    }

    fn create(&self, name: &GroupName, with: ControllerSet) -> Result<Box<dyn GroupOps>> {
        Ok(Box::new(self.top().create(name, with)?))
    }

    fn open(&self, id: &GroupId) -> Result<Box<dyn GroupOps>> {
        Ok(Box::new(self.open_group(id)?))
    }

    fn list(&self) -> Result<Vec<GroupId>> {
        let failed =
            |failure: Failure| failure.during(Operation::List).with_backend(Backend::CgroupV2);
        let groups = self.place.dir.identities().map_err(failed)?.into_iter();
        let ids =
            groups.map(|(name, identity)| GroupId { backend: Backend::CgroupV2, name, identity });
        Ok(ids.collect())
    }
}

/// What this driver guarantees, given what the kernel's files offer.
fn capabilities(has_kill: bool) -> Capabilities {
    Capabilities {
        kill: if has_kill { Kill::Atomic } else { Kill::Frozen { thaw_after: false } },
        escape: Escape::Impossible,
        // Who may make this group may write to its parent, and the program is of the same user.
        leave_by: LeaveBy::CgroupfsWrite,
        empty: Empty::Notified,
        freeze: Freeze::Kernel,
        nesting: true,
        attach: true,
        limits: Set::EMPTY,
        usage: Set::EMPTY.with(Measure::Cpu),
    }
}
