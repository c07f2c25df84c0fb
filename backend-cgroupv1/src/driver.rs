//! What makes and opens groups, for the driver and for groups inside groups.

use std::sync::Arc;

use containment_core::{
    Backend, Capabilities, ControllerSet, Empty, Error, Escape, Freeze, GroupName, Kill, LeaveBy,
    Measure, Result, Set,
};

use crate::branches::Top;
use crate::group::V1Group;
use crate::host::{Index, Place};
use crate::offer;

/// The hierarchies, and which of them every group joins.
#[derive(Debug, Clone)]
pub(crate) struct Driver {
    pub(crate) place: Arc<Place>,
    /// Those that hold a group's processes.
    pub(crate) holding: Vec<Index>,
    /// The figures that every group shows.
    pub(crate) figures: Set<Measure>,
    pub(crate) capabilities: Capabilities,
}

impl Driver {
    pub(crate) fn new(place: Place, figures: Set<Measure>) -> Result<Self> {
        let holding = place.holding()?;
        let mut joined = holding.clone();
        place.join(&mut joined, ControllerSet::EMPTY, figures)?;
        let capabilities = capabilities(&place, &joined);
        Ok(Self { place: Arc::new(place), holding, figures, capabilities })
    }

    /// Makes a group in the hierarchies that it needs, and in no other.
    pub(crate) fn create(
        self: &Arc<Self>,
        top: Top<'_>,
        name: &GroupName,
        with: ControllerSet,
    ) -> Result<V1Group> {
        let mut joined = self.holding.clone();
        let describe = |error: Error| error.with_backend(Backend::CgroupV1);
        self.place
            .join(&mut joined, with, self.figures)
            .map_err(|error| describe(error).with_group(name))?;
        let branches = top.create(name, &joined, None).map_err(describe)?;
        Ok(V1Group::new(self, branches))
    }

    /// Opens the group of that name as it is now.
    pub(crate) fn open(self: &Arc<Self>, top: Top<'_>, name: &GroupName) -> Result<V1Group> {
        let branches = top.open(name, self.holding[0]);
        let branches = branches.map_err(|error| error.with_backend(Backend::CgroupV1))?;
        Ok(V1Group::new(self, branches))
    }

    /// What a group in these hierarchies guarantees.
    pub(crate) fn capabilities_of(&self, joined: &[Index]) -> Capabilities {
        capabilities(&self.place, joined)
    }
}

fn capabilities(place: &Place, joined: &[Index]) -> Capabilities {
    let freezes = place.serving("freezer").is_some_and(|freezer| joined.contains(&freezer));
    Capabilities {
        kill: if freezes { Kill::Frozen { thaw_after: true } } else { Kill::Repeated },
        escape: Escape::Impossible,
        // Who may make this group may write to its parent, and the program is of the same user.
        leave_by: LeaveBy::CgroupfsWrite,
        empty: Empty::Notified,
        freeze: if freezes { Freeze::Kernel } else { Freeze::None },
        nesting: true,
        attach: true,
        limits: place.limits,
        usage: offer::figures(place, joined),
    }
}
