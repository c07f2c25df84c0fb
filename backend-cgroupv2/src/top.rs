//! Where groups are made and opened: below the driver's parent group, or inside another group.

use std::sync::Arc;

use containment_core::{
    ControllerSet, Error, ErrorKind, GroupName, InvalidName, Limit, Operation, Result,
};
use containment_process::cgroupfs::Dir;

use crate::controllers::{self, Controllers};
use crate::group::V2Group;
use crate::host::Place;
use crate::offer;

/// Where a group's name begins: a directory, and the name of the group that this is, if it is one.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Top<'a> {
    pub(crate) place: &'a Arc<Place>,
    pub(crate) dir: &'a Dir,
    pub(crate) outer: Option<&'a GroupName>,
}

impl Top<'_> {
    /// Makes the group, and the levels of its name that are missing.
    pub(crate) fn create(self, name: &GroupName, with: ControllerSet) -> Result<V2Group> {
        let full = self.full_name(name, Operation::Create)?;
        self.refuse_limits(with).map_err(|error| self.place.describe(error, &full))?;
        let (dir, made_above) = self.dir.create_levels(name, |_| Ok(())).map_err(|failure| {
            let error = self.place.describe(failure.during(Operation::Create), &full);
            match error.kind() {
                ErrorKind::AlreadyExists => {
                    error.advise("choose another name, or remove that group")
                }
                ErrorKind::NotFound if self.dir.is_gone() => {
                    error.with_kind(ErrorKind::Gone).with_group(self.outer.unwrap_or(&full))
                }
                _ => error,
            }
        })?;
        let wanted = controllers::of_limits(with);
        let figures = self.place.measured.iter().filter_map(controllers::of_figure);
        let wanted = figures
            .filter(|one| self.place.offer.controllers.contains(*one))
            .fold(wanted, Controllers::with);
        if let Err(error) = self.hand_down(name, wanted) {
            self.unmake(name, &dir, &made_above);
            return Err(self.place.describe(error, &full));
        }
        let made = V2Group::new(self, name, full, dir.clone(), made_above.clone());
        made.inspect_err(|_| self.unmake(name, &dir, &made_above))
    }

    /// Removes a group that was just made, and the levels that were made above it.
    fn unmake(self, name: &GroupName, dir: &Dir, made_above: &[u64]) {
        let removed = dir.inode().and_then(|inode| self.dir.remove_named(name, inode));
        if let Err(failure) = removed {
            tracing::warn!(%failure, group = %name, "cannot remove a half-made group; remove it by hand");
        }
        self.dir.remove_levels_above(name, made_above);
    }

    /// Opens the group of that name as it is now.
    pub(crate) fn open(self, name: &GroupName) -> Result<V2Group> {
        let full = self.full_name(name, Operation::Open)?;
        let dir = self.dir.open_beneath(name.as_str());
        let dir =
            dir.map_err(|failure| self.place.describe(failure.during(Operation::Open), &full))?;
        V2Group::new(self, name, full, dir, Vec::new())
    }

    /// The name below the driver's parent group.
    fn full_name(self, local: &GroupName, operation: Operation) -> Result<GroupName> {
        let Some(outer) = self.outer else { return Ok(local.clone()) };
        let too_long = |error: InvalidName| {
            self.place
                .describe(Error::new(ErrorKind::InvalidInput, operation), outer)
                .because(error.to_string())
        };
        outer.join(local).map_err(too_long)
    }

    fn refuse_limits(self, with: ControllerSet) -> Result<()> {
        let lacking = |limit: &Limit| !self.place.offer.limits.contains(*limit);
        match with.iter().find(lacking) {
            Some(limit) => Err(offer::lacks(limit, &self.place.offer)),
            None => Ok(()),
        }
    }

    /// Hands controllers down, from the driver's parent group to the group directly above `name`.
    pub(crate) fn hand_down(self, name: &GroupName, wanted: Controllers) -> Result<()> {
        if wanted.is_empty() {
            return Ok(());
        }
        self.place.hand_down(wanted)?;
        let outer = self.outer.into_iter().flat_map(|outer| outer.as_str().split('/'));
        let above = name.split_last().0.into_iter().flat_map(|above| above.split('/'));
        let mut here = self.place.dir.clone();
        for level in outer.chain(above) {
            here = here.open_beneath(level).map_err(|failure| failure.during(Operation::Create))?;
            controllers::hand_down(&here, wanted).map_err(controllers::refused)?;
        }
        Ok(())
    }
}
