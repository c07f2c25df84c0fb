//! The backends that are put to the test. A new one is one line of [`ALL`].

use backend_fake::Fake;
use backend_pgrp::Keeper;
use containment_core::{Capabilities, CgroupOps, Result, Set};

use crate::audited_driver::{Audited, Log};
use crate::drivers::{cgroup_v1, cgroup_v2, hybrid, process_groups};
use crate::world::{FakeWorld, RealWorld, World};

/// A backend, or a variant of one.
pub(crate) struct Backend {
    /// What it is called in results.
    pub(crate) name: &'static str,
    /// The backend that `CONTAIN_MUST_RUN` names.
    pub(crate) variant_of: &'static str,
    /// Where its cases are played.
    pub(crate) process: Process,
    make: Make,
}

/// Where the cases of a backend are played.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Process {
    /// On the threads of the test process.
    Shared,
    /// In a process for each, which has one thread and no other children.
    OneACase,
}

enum Make {
    Fake(fn() -> Fake),
    Real(fn() -> Result<Box<dyn CgroupOps>>),
}

/// Every backend, and every way in which one works differently.
pub(crate) const ALL: &[Backend] = &[
    fake("fake-v2", Fake::v2),
    fake("fake-v2-without-kill", Fake::v2_without_kill),
    fake("fake-v1", Fake::v1),
    fake("fake-hybrid", Fake::hybrid),
    fake("fake-process-group", Fake::process_group),
    real("cgroup-v2", "cgroup-v2", Process::Shared, || Ok(Box::new(cgroup_v2()?))),
    real("cgroup-v2-without-kill", "cgroup-v2", Process::Shared, || {
        Ok(Box::new(cgroup_v2()?.without_kill_file()))
    }),
    real("cgroup-v2-audited", "cgroup-v2", Process::Shared, || {
        Ok(Box::new(Audited::over(cgroup_v2()?, &Log::default())))
    }),
    real("cgroup-v1", "cgroup-v1", Process::Shared, || Ok(Box::new(cgroup_v1()?))),
    real("cgroup-v1-measuring", "cgroup-v1", Process::Shared, || {
        Ok(Box::new(cgroup_v1()?.measuring(Set::all())?))
    }),
    real("cgroup-v1-without-freezer", "cgroup-v1", Process::Shared, || {
        let driver = cgroup_v1()?.without("freezer")?;
        driver.prove()?;
        Ok(Box::new(driver))
    }),
    real("hybrid", "hybrid", Process::Shared, || Ok(Box::new(hybrid()?))),
    real("hybrid-measuring", "hybrid", Process::Shared, || {
        Ok(Box::new(hybrid()?.measuring(Set::all())))
    }),
    real("hybrid-without-kill", "hybrid", Process::Shared, || {
        Ok(Box::new(hybrid()?.without_kill_file()))
    }),
    real("process-group", "process-group", Process::Shared, || process_groups(Keeper::None)),
    real("process-group-with-keeper", "process-group", Process::OneACase, || {
        process_groups(Keeper::Worker)
    }),
];

const fn fake(name: &'static str, make: fn() -> Fake) -> Backend {
    Backend { name, variant_of: "fake", process: Process::Shared, make: Make::Fake(make) }
}

const fn real(
    name: &'static str,
    variant_of: &'static str,
    process: Process,
    make: fn() -> Result<Box<dyn CgroupOps>>,
) -> Backend {
    Backend { name, variant_of, process, make: Make::Real(make) }
}

impl Backend {
    /// What it advertises here, or why it cannot be used.
    pub(crate) fn capabilities(&self) -> Result<Capabilities> {
        match self.make {
            Make::Fake(make) => Ok(make().capabilities().clone()),
            Make::Real(make) => make().map(|driver| driver.capabilities().clone()),
        }
    }

    /// A world of its own for one case.
    pub(crate) fn world(&self) -> Box<dyn World> {
        match self.make {
            Make::Fake(make) => Box::new(FakeWorld::new(make())),
            Make::Real(make) => {
                Box::new(RealWorld::new(make().expect("it could be used a moment ago")))
            }
        }
    }
}
