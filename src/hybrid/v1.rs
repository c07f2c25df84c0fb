//! The v1 side of hybrid groups: looked for when it is first needed, and joined level by level.

use std::os::fd::RawFd;
use std::sync::OnceLock;

use backend_cgroupv1::{LimitGroup, V1Limits};
use backend_cgroupv2::V2Group;
use containment_core::{
    Backend, ControllerSet, Error, ErrorKind, GroupName, GroupOps as _, Limit, Measure, Operation,
    Result, Set,
};
use containment_process::proc::Base;

/// The v1 hierarchies of this host.
#[derive(Debug)]
pub(super) struct V1Side {
    base: Base,
    /// What every group shows.
    figures: Set<Measure>,
    /// Whether groups keep the files of their figures open.
    sampling: bool,
    found: OnceLock<V1Limits>,
}

/// Where a group stands: its name, and the group that the name begins in, if that has a v1 side.
#[derive(Debug, Clone, Copy)]
pub(super) struct Level<'a> {
    pub(super) around: Option<&'a LimitGroup>,
    pub(super) local: &'a GroupName,
}

impl<'a> Level<'a> {
    /// Where nothing around has a v1 side, the name begins at our own group.
    fn absolute(self, v2: &'a V2Group) -> Self {
        if self.around.is_some() { self } else { Self { local: &v2.id().name, ..self } }
    }
}

impl V1Side {
    pub(super) fn new(base: Base, figures: Set<Measure>) -> Self {
        Self { base, figures, sampling: false, found: OnceLock::new() }
    }

    /// The same with other figures.
    pub(super) fn with_figures(&self, figures: Set<Measure>) -> Self {
        Self { base: self.base.clone(), figures, sampling: self.sampling, found: OnceLock::new() }
    }

    /// The same with groups that keep the files of their figures open.
    pub(super) fn with_sampling(&self) -> Self {
        Self { sampling: true, ..self.with_figures(self.figures) }
    }

    /// The descriptors that it has open so far.
    pub(super) fn handles(&self) -> Vec<RawFd> {
        self.found.get().map(V1Limits::handles).unwrap_or_default()
    }

    /// The hierarchies, found at the first call.
    pub(super) fn limits(&self) -> Result<&V1Limits> {
        if let Some(found) = self.found.get() {
            return Ok(found);
        }
        let found = V1Limits::probe(&self.base);
        let found = found.map_err(|error| error.with_backend(Backend::Hybrid))?;
        let found = if self.sampling { found.sampling() } else { found };
        Ok(self.found.get_or_init(|| found))
    }

    /// The limits that groups can have, and the figures that every one shows.
    pub(super) fn offer(&self) -> Result<(Set<Limit>, Set<Measure>)> {
        let limits = self.limits()?;
        Ok((limits.limits(), limits.figures(self.figures)?))
    }

    /// Makes the v1 side of a new group: `None` where neither the group nor one around it has any.
    pub(super) fn create(
        &self,
        level: Level<'_>,
        v2: &V2Group,
        with: ControllerSet,
    ) -> Result<Option<LimitGroup>> {
        let is_plain = with.is_empty() && self.figures.is_empty();
        if is_plain && level.around.is_none() && level.local.split_last().0.is_none() {
            return Ok(None);
        }
        self.try_create(level, v2, with).map(Some).map_err(|error| match error.kind() {
            // The same refusal as that of any other backend, which looks before it makes anything.
            ErrorKind::Unsupported => describe(error.during(Operation::SetLimits), v2),
            _ => describe(error, v2),
        })
    }

    fn try_create(
        &self,
        level: Level<'_>,
        v2: &V2Group,
        with: ControllerSet,
    ) -> Result<LimitGroup> {
        let (inodes, last) = (v2.inodes(), last_level(level.local)?);
        let level = level.absolute(v2);
        let around = self.open_around(level, &inodes)?;
        match around.as_ref().or(level.around) {
            Some(around) => around.subgroup(&last, &inodes, with, self.figures),
            None => self.limits()?.create(&last, &inodes, with, self.figures),
        }
    }

    /// Opens the v1 side of a group, which may have nothing of its own.
    pub(super) fn open(&self, level: Level<'_>, v2: &V2Group) -> Result<Option<LimitGroup>> {
        let opened = last_level(level.local).and_then(|last| {
            let inodes = v2.inodes();
            let level = level.absolute(v2);
            let around = self.open_around(level, &inodes)?;
            self.open_level(around.as_ref().or(level.around), &last, v2.inode())
        });
        opened.map(Some).map_err(|error| describe(error, v2))
    }

    /// Opens the v1 side of a group directly inside another one.
    pub(super) fn open_inside(
        &self,
        around: Option<&LimitGroup>,
        v2: &V2Group,
    ) -> Result<Option<LimitGroup>> {
        let local = last_level(&v2.id().name).map_err(|error| describe(error, v2))?;
        self.open(Level { around, local: &local }, v2)
    }

    /// Opens the levels of a name above the group itself; `None` where there are none.
    fn open_around(&self, level: Level<'_>, inodes: &[u64]) -> Result<Option<LimitGroup>> {
        let above = level.local.components().count() - 1;
        let first = inodes.len().saturating_sub(above + 1);
        let mut around = None;
        for (component, inode) in level.local.components().take(above).zip(&inodes[first..]) {
            let outer = around.as_ref().or(level.around);
            around = Some(self.open_level(outer, &parsed(component)?, *inode)?);
        }
        Ok(around)
    }

    fn open_level(
        &self,
        around: Option<&LimitGroup>,
        name: &GroupName,
        owner: u64,
    ) -> Result<LimitGroup> {
        match around {
            Some(around) => around.open_subgroup(name, owner),
            None => self.limits()?.open(name, owner),
        }
    }
}

fn last_level(name: &GroupName) -> Result<GroupName> {
    parsed(name.split_last().1)
}

/// A component of a valid name is one by itself.
fn parsed(component: &str) -> Result<GroupName> {
    component.parse().map_err(|invalid: containment_core::InvalidName| {
        Error::new(ErrorKind::InvalidInput, Operation::Create).because(invalid.to_string())
    })
}

fn describe(error: Error, v2: &V2Group) -> Error {
    error.with_backend(Backend::Hybrid).with_group(&v2.id().name)
}
