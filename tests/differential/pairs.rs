//! The backends that are compared, each with the persona of the fake that is its twin. A new one is one
//! line of [`ALL`].

use backend_fake::Fake;
use backend_pgrp::Keeper;
use containment_core::{Capabilities, CgroupOps, Result};

use crate::drivers::{cgroup_v1, cgroup_v2, hybrid, process_groups};
use crate::world::{FakeWorld, RealWorld};

/// A backend, or a variant of one, and its twin.
pub(crate) struct Pair {
    /// What it is called in results.
    pub(crate) name: &'static str,
    /// The backend that `CONTAIN_MUST_RUN` names.
    pub(crate) variant_of: &'static str,
    pub(crate) rules: Rules,
    twin: fn() -> Fake,
    real: fn() -> Result<Box<dyn CgroupOps>>,
}

/// What a sequence may do on a backend.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Rules {
    /// Whether every process belongs to one group, and is played in a process of its own of a single
    /// thread: what a keeper asks for.
    pub(crate) one_group: bool,
    /// Whether there are processes outside of groups.
    pub(crate) outsiders: bool,
    /// Whether it is a matter of time which of several signals ends who got them frozen: version 1's
    /// freezer lets a fatal one wait, or makes it a SIGKILL of that number, as the task had looked for
    /// signals just then or not (kernel: `wants_signal`).
    pub(crate) frozen_signals_race: bool,
}

const CGROUPS: Rules = Rules { one_group: false, outsiders: true, frozen_signals_race: false };
const VERSION_1: Rules = Rules { frozen_signals_race: true, ..CGROUPS };
const HELD: Rules = Rules { outsiders: false, ..CGROUPS };
const KEPT: Rules = Rules { one_group: true, ..HELD };

/// Every pair.
pub(crate) const ALL: &[Pair] = &[
    pair("cgroup-v2", "cgroup-v2", CGROUPS, Fake::v2, || Ok(Box::new(cgroup_v2()?))),
    pair("cgroup-v2-without-kill", "cgroup-v2", CGROUPS, Fake::v2_without_kill, || {
        Ok(Box::new(cgroup_v2()?.without_kill_file()))
    }),
    pair("cgroup-v1", "cgroup-v1", VERSION_1, Fake::v1, || Ok(Box::new(cgroup_v1()?))),
    pair("hybrid", "hybrid", CGROUPS, Fake::hybrid, || Ok(Box::new(hybrid()?))),
    pair("process-group", "process-group", HELD, Fake::process_group_without_keeper, || {
        process_groups(Keeper::None)
    }),
    pair("process-group-with-keeper", "process-group", KEPT, Fake::process_group, || {
        process_groups(Keeper::Worker)
    }),
];

const fn pair(
    name: &'static str,
    variant_of: &'static str,
    rules: Rules,
    twin: fn() -> Fake,
    real: fn() -> Result<Box<dyn CgroupOps>>,
) -> Pair {
    Pair { name, variant_of, rules, twin, real }
}

impl Pair {
    /// The pair of this name.
    pub(crate) fn named(name: &str) -> Option<&'static Self> {
        ALL.iter().find(|pair| pair.name == name)
    }

    /// What the backend guarantees here, or why it cannot be used.
    pub(crate) fn usable(&self) -> Result<Capabilities> {
        (self.real)().map(|driver| driver.capabilities().clone())
    }

    /// The groups on this host whose names begin so.
    pub(crate) fn groups(&self, prefix: &str) -> Result<Vec<String>> {
        let names = (self.real)()?.list()?.into_iter().map(|id| id.name.as_str().to_owned());
        Ok(names.filter(|name| name.starts_with(prefix)).collect())
    }

    /// What its twin guarantees.
    pub(crate) fn promised(&self) -> Capabilities {
        (self.twin)().capabilities().clone()
    }

    /// A world of its own for one sequence, in memory.
    pub(crate) fn fake(&self) -> FakeWorld {
        FakeWorld((self.twin)())
    }

    /// A world of its own for one sequence, on this host.
    pub(crate) fn real(&self) -> RealWorld {
        RealWorld::new((self.real)().expect("it could be used a moment ago"))
    }
}
