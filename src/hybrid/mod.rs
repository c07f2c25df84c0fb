//! The hybrid driver: version 2 holds, kills and freezes the processes, version 1 limits and measures
//! them. One group, one guard, one removal.
//!
//! A group is a directory of the unified hierarchy, and one more in each v1 hierarchy that its limits,
//! or the figures that were asked for, need; in no other. A group that needs none is a v2 group, at the
//! price of one: nothing of version 1 is looked at for it. Programs are born in the v2 group and move
//! themselves into the v1 groups before their exec.
//!
//! Mechanism only, as any driver: no method waits or retries.

mod group;
mod home;
mod v1;

use std::path::Path;
use std::sync::{Arc, OnceLock};

use backend_cgroupv1::V1Limits;
use backend_cgroupv2::CgroupV2;
use containment_core::{
    Backend, Capabilities, CgroupOps, ControllerSet, GroupId, GroupName, GroupOps, Measure, Result,
    Set, Waiter,
};

use group::HybridGroup;
use v1::{Level, V1Side};

/// Version 2 for processes, version 1 for limits.
#[derive(Debug)]
pub(crate) struct Hybrid {
    v2: CgroupV2,
    v1: Arc<V1Side>,
    capabilities: OnceLock<Capabilities>,
}

impl Hybrid {
    /// Finds the unified hierarchy, and that there is a v1 hierarchy with a controller for limits. In
    /// both, groups are made below `parent`, relative to the hierarchy's root, or else our own group.
    /// Groups show these figures, as far as there are hierarchies for them.
    ///
    /// # Errors
    /// [`Unusable`](containment_core::ErrorKind::Unusable), with the reason and a remedy.
    pub(crate) fn probe(parent: Option<&Path>, figures: Set<Measure>) -> Result<Self> {
        Self::find(parent, figures).map_err(|error| error.with_backend(Backend::Hybrid))
    }

    fn find(parent: Option<&Path>, figures: Set<Measure>) -> Result<Self> {
        let v2 = CgroupV2::probe(parent)?.as_part_of(Backend::Hybrid);
        V1Limits::check(parent)?;
        // What version 2 measures needs no second hierarchy.
        let measured = v2.capabilities().usage;
        let figures = figures.iter().filter(|figure| !measured.contains(*figure)).collect();
        let v1 = Arc::new(V1Side::new(parent, figures));
        Ok(Self { v2, v1, capabilities: OnceLock::new() })
    }

    /// Proves that groups with these of the limits work here, as far as they are offered.
    pub(crate) fn prove(&self, with: ControllerSet) -> Result<()> {
        let offered = |limit: &_| self.capabilities().limits.contains(*limit);
        let with = if with.is_empty() { with } else { with.iter().filter(offered).collect() };
        containment_core::prove(self, with)
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
                v2
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
