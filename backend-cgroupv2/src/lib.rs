//! The cgroup v2 driver: programs are born in their group (`CLONE_INTO_CGROUP`), die by one write
//! (`cgroup.kill`), or frozen and signalled by pidfd where the kernel is older, and emptiness is an
//! event (`cgroup.events`).
//!
//! Mechanism only: no method waits or retries, but for a spawn, which returns once the program was
//! executed and is begun anew where the kernel killed the child at birth. Groups are touched through
//! directory handles ([`containment_process::cgroupfs`]); outside of the parent group nothing is written
//! to, but the group that a process came from and goes back to.
#![forbid(unsafe_code)]

mod confined;
mod control;
mod controllers;
mod enclosing;
mod events;
mod group;
mod home;
mod host;
mod kernel;
mod leaf;
mod limits;
#[cfg(test)]
#[path = "../../tests/support/must_run.rs"]
mod must_run;
mod offer;
mod place;
mod top;
mod usage;

use std::sync::Arc;

use containment_core::{
    Backend, Capabilities, CgroupOps, ControllerSet, Empty, Error, ErrorKind, Escape, Freeze,
    GroupId, GroupName, GroupOps, Kill, LeaveBy, Limit, Measure, Operation, Result, Set,
    SystemWaiter, Waiter,
};
use containment_process::cgroupfs::Failure;
use containment_process::proc::Base;

pub use enclosing::enclosing;
pub use group::V2Group;
use host::Place;
use top::Top;

/// The driver of the unified hierarchy.
///
/// ```
/// use backend_cgroupv2::CgroupV2;
/// use containment_core::{CgroupOps, ControllerSet, ErrorKind, Escape, Group, GroupName, Measure};
/// use containment_core::{Policy, Program, Set};
///
/// match CgroupV2::probe(None) {
///     Ok(driver) => {
///         let driver = driver.measuring(Set::EMPTY.with(Measure::Cpu)).sampling();
///         assert_eq!(driver.capabilities().escape, Escape::Impossible);
///         // Whether this process may make groups below its own, and put programs into them.
///         if driver.prove().is_ok() {
///             let made = driver.create(&GroupName::scratch(), ControllerSet::EMPTY)?;
///             let job = Group::new(made, driver.waiter());
///             assert!(job.spawn(&Program::new("true"))?.wait()?.success());
///             assert!(job.terminate(&Policy::kill())?.is_clean());
///         }
///     }
///     Err(error) => assert_eq!(error.kind(), ErrorKind::Unusable, "{error:#}"),
/// }
/// # Ok::<(), containment_core::Error>(())
/// ```
#[derive(Debug)]
pub struct CgroupV2 {
    place: Arc<Place>,
    waiter: Arc<SystemWaiter>,
}

impl CgroupV2 {
    /// Finds the hierarchy, and in it the group below which groups are made: the one that `base` names,
    /// or else our own group.
    ///
    /// # Errors
    /// [`Unusable`](ErrorKind::Unusable), with the reason and a remedy.
    pub fn probe(base: impl Into<Base>) -> Result<Self> {
        let place =
            Place::find(&base.into()).map_err(|error| error.with_backend(Backend::CgroupV2))?;
        Ok(Self { place: Arc::new(place), waiter: Arc::new(SystemWaiter::new()) })
    }

    /// The same, without using `cgroup.kill`: what kernels before 5.14 do. For tests of that path.
    #[must_use]
    pub fn without_kill_file(mut self) -> Self {
        let place = Arc::make_mut(&mut self.place);
        place.uses_kill = false;
        place.capabilities.kill = Kill::Frozen { thaw_after: false };
        self
    }

    /// The same with groups that show these figures too, as far as the parent group has the controllers
    /// for them.
    #[must_use]
    pub fn measuring(mut self, figures: Set<Measure>) -> Self {
        let place = Arc::make_mut(&mut self.place);
        place.measured = figures;
        place.capabilities.usage = place.figures();
        self
    }

    /// The same with groups that keep the files of their figures open once they were read: each further
    /// reading is one `pread` a file, and a group that is measured takes some ten descriptors more.
    ///
    /// A look at every figure then takes 0.32 of the time that opening, reading and closing takes, measured by
    /// `just bench usage`; it pays from the second look on.
    #[must_use]
    pub fn sampling(mut self) -> Self {
        Arc::make_mut(&mut self.place).sampling = true;
        self
    }

    /// Proves that groups work here; see [`containment_core::prove`].
    ///
    /// # Errors
    /// As [`containment_core::prove`]: [`PermissionDenied`](ErrorKind::PermissionDenied) where no directory can be
    /// made or nobody moved, [`DomainInvalid`](ErrorKind::DomainInvalid) in a threaded tree.
    pub fn prove(&self) -> Result<()> {
        containment_core::prove(self, ControllerSet::EMPTY)
    }
}

impl CgroupV2 {
    /// The same driver as a part of another backend, which groups, children and errors then name.
    #[must_use]
    pub fn as_part_of(mut self, backend: Backend) -> Self {
        Arc::make_mut(&mut self.place).backend = backend;
        self
    }

    /// Makes a group and what `also` makes besides it, in other hierarchies: both or none. For the
    /// hybrid driver, whose programs enter those by [`V2Group::spawn_joined`].
    ///
    /// # Errors
    /// Those of `also` too; the group is removed again then.
    pub fn create_joined<T>(
        &self,
        name: &GroupName,
        also: impl FnOnce(&V2Group) -> Result<T>,
    ) -> Result<(V2Group, T)> {
        self.top().create(name, ControllerSet::EMPTY)?.joined(also)
    }

    /// Opens a group of this identity.
    ///
    /// # Errors
    /// [`NotFound`](ErrorKind::NotFound) when it is gone, or its name is another group's.
    pub fn open_group(&self, id: &GroupId) -> Result<V2Group> {
        let group = self.top().open(&id.name)?;
        if group.id().identity != id.identity {
            return Err(Error::new(ErrorKind::NotFound, Operation::Open)
                .with_backend(self.place.backend)
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
        self.place.backend
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
        let backend = self.place.backend;
        let failed = |failure: Failure| failure.during(Operation::List).with_backend(backend);
        let groups = self.place.dir.identities().map_err(failed)?.into_iter();
        let groups = groups.filter(|(name, _)| !name.as_str().starts_with(leaf::PREFIX));
        let ids = groups.map(|(name, identity)| GroupId { backend, name, identity });
        Ok(ids.collect())
    }
}

/// What this driver guarantees, given what the kernel's files offer.
fn capabilities(kills: bool, limits: Set<Limit>, usage: Set<Measure>) -> Capabilities {
    Capabilities {
        kill: if kills { Kill::Atomic } else { Kill::Frozen { thaw_after: false } },
        escape: Escape::Impossible,
        // Who may make this group may write to its parent, and the program is of the same user.
        leave_by: LeaveBy::CgroupfsWrite,
        empty: Empty::Notified,
        freeze: Freeze::Kernel,
        nesting: true,
        attach: true,
        limits,
        usage,
    }
}
