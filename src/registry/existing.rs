//! Groups on record, by name: opened to act on them, and removed.

use std::sync::Arc;

use containment_core::{
    Backend, Error, ErrorKind, GroupName, OpenGroup, Operation, Result, SystemWaiter,
};
use containment_process::ancestry::Ancestry;

use super::recover::{end_group, remove_rest};
use super::{Entry, Owner, Registry};

impl Registry {
    /// The group of this name, if one is on record; of this backend, where one is named.
    ///
    /// # Errors
    /// [`NotFound`](ErrorKind::NotFound); as [`entry`](Self::entry).
    pub fn find(&self, name: &GroupName, backend: Option<Backend>) -> Result<Entry> {
        let entry = self.entry(name)?;
        let entry = entry.filter(|entry| backend.is_none_or(|backend| entry.backend == backend));
        entry.ok_or_else(|| {
            let error = Error::new(ErrorKind::NotFound, Operation::Open).with_group(name);
            let error = backend.into_iter().fold(error, Error::with_backend);
            error.advise("contain ls lists those that there are")
        })
    }

    /// Opens the group of an entry for whoever does not own it.
    ///
    /// # Errors
    /// Those of [`open_group`](Self::open_group).
    pub fn open_existing(&self, entry: &Entry) -> Result<OpenGroup> {
        let group = OpenGroup::new(self.open_group(entry)?, Arc::new(SystemWaiter::new()));
        Ok(group.witnessed_by(Arc::new(Ancestry::of_existing())))
    }

    /// Removes the group of an entry and its sub-groups, if nothing lives in any of them, and strikes
    /// them off the record. An entry whose group is gone is struck off, too, unless its owner is about to
    /// make it.
    ///
    /// # Errors
    /// [`Busy`](ErrorKind::Busy) when something lives there.
    pub fn remove(&self, entry: &Entry) -> Result<()> {
        self.removing(entry, OpenGroup::remove)
    }

    /// The same, but what lives there is killed first.
    ///
    /// # Errors
    /// The first on the way where something survives, else [`TimedOut`](ErrorKind::TimedOut) after ten seconds.
    pub fn remove_by_force(&self, entry: &Entry) -> Result<()> {
        self.removing(entry, |group| end_group(group.ops()))
    }

    fn removing(&self, entry: &Entry, by: impl FnOnce(&OpenGroup) -> Result<()>) -> Result<()> {
        match self.open_existing(entry) {
            Ok(group) => by(&group)?,
            Err(error) if error.is_gone() && self.owner(entry)? != Owner::Alive => {}
            Err(error) => return Err(error),
        }
        remove_rest(entry)?;
        self.forget_entry(entry)?;
        self.forget_inside(&entry.name)
    }

    /// Strikes off the sub-groups that went with the group around them.
    fn forget_inside(&self, outer: &GroupName) -> Result<()> {
        let below = format!("{outer}/");
        for entry in self.entries()?.into_iter().flatten() {
            let inside = entry.name.as_str().starts_with(&below);
            let is_gone = || self.open_group(&entry).is_err_and(|error| error.is_gone());
            if inside && self.owner(&entry)? != Owner::Alive && is_gone() {
                self.forget_entry(&entry)?;
            }
        }
        Ok(())
    }
}
