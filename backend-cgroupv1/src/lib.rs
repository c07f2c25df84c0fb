//! The cgroup v1 driver: a group is a directory in each hierarchy that it needs. Programs move
//! themselves in before their exec; they die signalled by pidfd, the group frozen where that has to
//! be; every hierarchy that was used is cleaned.
//!
//! Mechanism only: no method waits or retries, but for a spawn, which returns once the program was
//! executed. Groups are touched through directory handles ([`containment_process::cgroupfs`]); outside of
//! the parent groups nothing is written to, but the group that a process came from and goes back to, and
//! the freezer of a [`Hold`] that the caller thaws; and nothing is ever mounted but by [`init()`].
//!
//! The feature `limits`, on by default, brings limits, by `cgroups-rs`.
//!
//! ```no_run
//! use backend_cgroupv1::CgroupV1;
//! use containment_core::{CgroupOps, ControllerSet, Group, Limit, Limits, Policy, Program};
//!
//! let driver = CgroupV1::probe(None)?;
//! let pids = ControllerSet::EMPTY.with(Limit::Pids);
//! let group = Group::new(driver.create(&"build-42".parse().unwrap(), pids)?, driver.waiter());
//! group.set_limits(&Limits::new().pids_max(500))?;
//! group.spawn(&Program::new("make"))?.wait()?;
//! assert!(group.terminate(&Policy::kill())?.is_clean());
//! # Ok::<(), containment_core::Error>(())
//! ```
#![forbid(unsafe_code)]

mod alone;
mod brake;
mod branch;
mod branches;
mod control;
mod cpuset;
mod cputime;
mod driver;
mod enclosing;
mod entry;
mod freezer;
mod group;
mod hierarchy;
mod home;
mod host;
mod init;
#[cfg(feature = "limits")]
mod limits;
#[cfg(not(feature = "limits"))]
#[path = "no_limits.rs"]
mod limits;
mod memory;
mod offer;
mod oom;
mod unfinished;
mod usage;

use std::sync::Arc;

use containment_core::{
    Backend, Capabilities, CgroupOps, ControllerSet, Error, ErrorKind, GroupId, GroupName,
    GroupOps, Measure, Operation, Result, Set, SystemWaiter, Waiter,
};
use containment_process::proc::Base;

use containment_process::cgroupfs::Failure;

pub use alone::{Hold, LimitGroup, V1Limits};
use branches::Top;
use driver::Driver;
pub use enclosing::enclosing;
pub use home::V1Home;
use host::Place;
pub use init::{InitState, Initialized, init};
pub use unfinished::remove_unfinished;

/// The driver of the hierarchies of version 1.
///
/// ```
/// use backend_cgroupv1::CgroupV1;
/// use containment_core::{CgroupOps, ControllerSet, ErrorKind, Freeze, Group, GroupName, Measure};
/// use containment_core::{Policy, Program, Set};
///
/// match CgroupV1::probe(None) {
///     Ok(driver) => {
///         let driver = driver.measuring(Set::EMPTY.with(Measure::Cpu))?.sampling()?;
///         driver.unusable().for_each(|why| eprintln!("not used: {why:#}"));
///         // Whether this process may make groups below its own, and put programs into them.
///         if driver.prove().is_ok() {
///             let made = driver.create(&GroupName::scratch(), ControllerSet::EMPTY)?;
///             let job = Group::new(made, driver.waiter());
///             assert!(job.spawn(&Program::new("true"))?.wait()?.success());
///             assert!(job.terminate(&Policy::kill())?.is_clean());
///         }
///         // A host that has no freezer.
///         if let Ok(driver) = driver.without("freezer") {
///             assert_ne!(driver.capabilities().freeze, Freeze::Kernel);
///         }
///     }
///     Err(error) => assert_eq!(error.kind(), ErrorKind::Unusable, "{error:#}"),
/// }
/// # Ok::<(), containment_core::Error>(())
/// ```
#[derive(Debug, Clone)]
pub struct CgroupV1 {
    driver: Arc<Driver>,
    waiter: Arc<SystemWaiter>,
}

impl CgroupV1 {
    /// Finds the hierarchies, and in each the group below which groups are made: the one that `base`
    /// names, or else our own group.
    ///
    /// # Errors
    /// [`Unusable`](ErrorKind::Unusable), with the reason and a remedy.
    pub fn probe(base: impl Into<Base>) -> Result<Self> {
        let driver = Place::find(&base.into()).and_then(|place| Driver::new(place, Set::EMPTY));
        let driver = driver.map_err(|error| error.with_backend(Backend::CgroupV1))?;
        Ok(Self { driver: Arc::new(driver), waiter: Arc::new(SystemWaiter::new()) })
    }

    /// The same with groups that show these figures too, as far as a usable hierarchy offers them:
    /// each may cost one more hierarchy.
    ///
    /// # Errors
    /// Those of [`probe`](Self::probe), which has found what this builds on: none.
    pub fn measuring(mut self, figures: Set<Measure>) -> Result<Self> {
        let place = Place::clone(&self.driver.place);
        let driver = Driver::new(place, figures);
        self.driver = Arc::new(driver.map_err(|error| error.with_backend(Backend::CgroupV1))?);
        Ok(self)
    }

    /// The same with groups that keep the files of their figures open once they were read: each further
    /// reading is one `pread` a file, and a group that is measured takes up to twenty descriptors more.
    ///
    /// A look at every figure then takes 0.37 of the time that opening, reading and closing takes, measured by
    /// `just bench usage`; it pays from the second look on.
    ///
    /// # Errors
    /// As [`measuring`](Self::measuring).
    pub fn sampling(mut self) -> Result<Self> {
        let place = Place { sampling: true, ..Place::clone(&self.driver.place) };
        let driver = Driver::new(place, self.driver.figures);
        self.driver = Arc::new(driver.map_err(|error| error.with_backend(Backend::CgroupV1))?);
        Ok(self)
    }

    /// The same without one controller's hierarchy, as on hosts that lack it. For tests.
    ///
    /// # Errors
    /// [`Unusable`](ErrorKind::Unusable) when no hierarchy is left.
    pub fn without(mut self, controller: &str) -> Result<Self> {
        let mut place = Place::clone(&self.driver.place);
        place.hierarchies.retain(|hierarchy| !hierarchy.mounted.serves(controller));
        place.limits = offer::limits(&place);
        let driver = Driver::new(place, self.driver.figures);
        self.driver = Arc::new(driver.map_err(|error| error.with_backend(Backend::CgroupV1))?);
        Ok(self)
    }

    /// Why hierarchies that are mounted cannot be used, if any.
    pub fn unusable(&self) -> impl Iterator<Item = &Error> {
        self.driver.place.unusable.iter().map(|error| &**error)
    }

    /// Proves that groups work here: makes one, has a child move itself into it and exit, removes it.
    /// A directory that can be made proves nothing: moving a process takes more rights.
    ///
    /// # Errors
    /// As [`containment_core::prove`]: [`PermissionDenied`](ErrorKind::PermissionDenied) where no directory can be
    /// made or nobody moved, [`InvalidInput`](ErrorKind::InvalidInput) in a cpuset without CPUs or memory nodes.
    pub fn prove(&self) -> Result<()> {
        containment_core::prove(self, ControllerSet::EMPTY)
    }

    fn top(&self) -> Top<'_> {
        Top { place: &self.driver.place, outer: None }
    }
}

impl CgroupOps for CgroupV1 {
    fn backend(&self) -> Backend {
        Backend::CgroupV1
    }

    fn capabilities(&self) -> &Capabilities {
        &self.driver.capabilities
    }

    fn waiter(&self) -> Arc<dyn Waiter> {
        Arc::<SystemWaiter>::clone(&self.waiter)
    }

    fn create(&self, name: &GroupName, with: ControllerSet) -> Result<Box<dyn GroupOps>> {
        Ok(Box::new(self.driver.create(self.top(), name, with)?))
    }

    fn open(&self, id: &GroupId) -> Result<Box<dyn GroupOps>> {
        let error = match self.driver.open(self.top(), &id.name) {
            Ok(group) if group.id().identity == id.identity => return Ok(Box::new(group)),
            Ok(_) => Error::new(ErrorKind::NotFound, Operation::Open)
                .because("its name belongs to another group now"),
            Err(error) => error,
        };
        let error = error.with_backend(Backend::CgroupV1).with_group(&id.name);
        match self.driver.place.unseen() {
            Some(why) if error.kind() == ErrorKind::NotFound => {
                Err(error.with_kind(ErrorKind::Unusable).because(why.to_string()))
            }
            _ => Err(error),
        }
    }

    fn list(&self) -> Result<Vec<GroupId>> {
        let dir = &self.driver.place.hierarchies[self.driver.holding[0]].dir;
        let failed =
            |failure: Failure| failure.during(Operation::List).with_backend(Backend::CgroupV1);
        let groups = dir.identities().map_err(failed)?.into_iter();
        let ids =
            groups.map(|(name, identity)| GroupId { backend: Backend::CgroupV1, name, identity });
        Ok(ids.collect())
    }
}
