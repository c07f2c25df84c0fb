//! The hybrid driver: version 2 holds, kills and freezes the processes, version 1 limits and measures
//! them. One group, one guard, one removal.
//!
//! A group is a directory of the unified hierarchy, and one more in each v1 hierarchy that its limits,
//! or the figures that were asked for, need; in no other. A group that needs none is a v2 group, at the
//! price of one: nothing of version 1 is looked at for it. Programs are born in the v2 group and move
//! themselves into the v1 groups before their exec.
//!
//! Mechanism only, as any driver: no method waits or retries.

mod control;
mod group;
mod home;
mod v1;

use std::sync::{Arc, OnceLock};

use backend_cgroupv1::V1Limits;
use backend_cgroupv2::CgroupV2;
use containment_core::{
    Backend, Capabilities, CgroupOps, ControllerSet, Error, GroupId, GroupName, GroupOps, Measure,
    Result, Set, Waiter,
};
use containment_process::proc::Base;

use group::HybridGroup;
use v1::{Level, V1Side};

/// The hybrid driver: version 2 of cgroups holds, kills and freezes the processes, version 1 limits and
/// measures them.
///
/// ```no_run
/// use containment::{Backend, Bytes, Containment, Hybrid, Limits, Program};
///
/// let host = Containment::with(Hybrid::probe(None)?);
/// let limits = Limits::new().memory_max(Bytes::gib(2));
/// let job = host.group("build-42").limits(&limits).create()?;
/// job.spawn(&Program::new("make"))?.wait()?;
/// # Ok::<(), containment::Error>(())
/// ```
#[derive(Debug)]
pub struct Hybrid {
    v2: CgroupV2,
    v1: Arc<V1Side>,
    capabilities: OnceLock<Capabilities>,
}

impl Hybrid {
    /// Finds the unified hierarchy, and that there is a v1 hierarchy with a controller for limits. In
    /// both, groups are made below `base`: a path relative to the hierarchy's root, or else our own group.
    ///
    /// ```
    /// use containment::{CgroupOps, ErrorKind, Freeze, Hybrid, Measure, Set};
    /// match Hybrid::probe(None) {
    ///     Ok(hybrid) => {
    ///         let hybrid = hybrid.measuring(Set::EMPTY.with(Measure::Memory)).sampling();
    ///         assert_eq!(hybrid.capabilities().freeze, Freeze::Kernel);
    ///         hybrid.unusable().for_each(|why| eprintln!("not used: {why:#}"));
    ///         match hybrid.without_kill_file().prove(Set::EMPTY) {
    ///             Ok(()) => println!("groups can be made here"),
    ///             Err(error) => eprintln!("{error:#}"),
    ///         }
    ///     }
    ///     Err(error) => assert_eq!(error.kind(), ErrorKind::Unusable),
    /// }
    /// ```
    ///
    /// # Errors
    /// [`Unusable`](containment_core::ErrorKind::Unusable), with the reason and a remedy.
    pub fn probe(base: impl Into<Base>) -> Result<Self> {
        let base = base.into();
        let found = CgroupV2::probe(base.clone());
        let found = found.and_then(|v2| V1Limits::check(&base).map(|()| v2));
        let v2 = found.map_err(|error| error.with_backend(Backend::Hybrid))?;
        Ok(Self {
            v2: v2.as_part_of(Backend::Hybrid),
            v1: Arc::new(V1Side::new(base, Set::EMPTY)),
            capabilities: OnceLock::new(),
        })
    }

    /// The same with groups that show these figures too, as far as there are hierarchies for them: each
    /// may cost one more hierarchy.
    #[must_use]
    pub fn measuring(self, figures: Set<Measure>) -> Self {
        // What version 2 measures needs no second hierarchy.
        let measured = self.v2.capabilities().usage;
        let figures = figures.iter().filter(|figure| !measured.contains(*figure)).collect();
        let v1 = Arc::new(self.v1.with_figures(figures));
        Self { v2: self.v2, v1, capabilities: OnceLock::new() }
    }

    /// The same with groups that keep the files of their figures open once they were read: each further
    /// reading is one `pread` a file, and a group that is measured takes up to thirty descriptors more.
    ///
    /// A look at every figure then takes 0.37 of the time that opening, reading and closing takes, measured by
    /// `just bench usage`; it pays from the second look on.
    #[must_use]
    pub fn sampling(self) -> Self {
        let v1 = Arc::new(self.v1.with_sampling());
        Self { v2: self.v2.sampling(), v1, capabilities: OnceLock::new() }
    }

    /// The same, without using `cgroup.kill`: what kernels before 5.14 do. For tests of that path.
    #[must_use]
    pub fn without_kill_file(self) -> Self {
        let v2 = self.v2.without_kill_file();
        Self { v2, v1: self.v1, capabilities: OnceLock::new() }
    }

    /// Proves that groups with these limits work here, as far as the limits are offered; see
    /// [`containment_core::prove`].
    ///
    /// # Errors
    /// As [`containment_core::prove`].
    pub fn prove(&self, with: ControllerSet) -> Result<()> {
        let offered = |limit: &_| self.capabilities().limits.contains(*limit);
        containment_core::prove(self, with.iter().filter(offered).collect())
    }

    /// Why v1 hierarchies that are mounted cannot be used, if any.
    pub fn unusable(&self) -> impl Iterator<Item = &Error> {
        self.v1.limits().into_iter().flat_map(V1Limits::unusable)
    }

    fn find_capabilities(&self) -> Capabilities {
        let v2 = self.v2.capabilities().clone();
        match self.v1.offer() {
            Ok((limits, figures)) => Capabilities {
                limits,
                usage: v2.usage.iter().chain(figures.iter()).collect(),
                ..v2
            },
            Err(error) => {
                tracing::warn!(%error, "cannot tell what the v1 hierarchies offer; doing without limits");
                // Version 2's are never a hybrid group's.
                Capabilities { limits: Set::EMPTY, ..v2 }
            }
        }
    }
}

impl CgroupOps for Hybrid {
    fn backend(&self) -> Backend {
        Backend::Hybrid
    }

    fn capabilities(&self) -> &Capabilities {
        self.capabilities.get_or_init(|| self.find_capabilities())
    }

    fn waiter(&self) -> Arc<dyn Waiter> {
        self.v2.waiter()
    }

    fn create(&self, name: &GroupName, with: ControllerSet) -> Result<Box<dyn GroupOps>> {
        let level = Level { around: None, local: name };
        let made = self.v2.create_joined(name, |v2| self.v1.create(level, v2, with));
        made.map(|(v2, v1)| HybridGroup::new(v2, v1, &self.v1).boxed())
    }

    fn open(&self, id: &GroupId) -> Result<Box<dyn GroupOps>> {
        let v2 = self.v2.open_group(id)?;
        let v1 = self.v1.open(Level { around: None, local: &id.name }, &v2)?;
        Ok(HybridGroup::new(v2, v1, &self.v1).boxed())
    }

    fn list(&self) -> Result<Vec<GroupId>> {
        self.v2.list()
    }
}
