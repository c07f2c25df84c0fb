//! A group in one hierarchy: its directory, made with the levels of its name that were missing, and
//! removed with them.

use std::os::fd::{AsRawFd as _, RawFd};
use std::sync::Arc;

use containment_core::GroupName;
use containment_process::cgroupfs::{Dir, Failure, KeptOpen};

use crate::hierarchy::Hierarchy;
use crate::host::Index;
use crate::{cpuset, memory};

/// The note on a directory that says to which group it belongs: the inode of that group's directory
/// in the hierarchy that gives groups their identity.
pub(crate) const NOTE: &str = "contain.group";

/// One directory of a group.
#[derive(Debug, Clone)]
pub(crate) struct Branch {
    /// Its hierarchy.
    pub(crate) index: Index,
    pub(crate) dir: Dir,
    /// The files of its figures, where they are kept open.
    pub(crate) files: Arc<KeptOpen>,
    pub(crate) inode: u64,
    /// Where its name begins.
    top: Dir,
    /// Its name below `top`.
    local: GroupName,
    /// The inodes of the levels directly above it that were made for it.
    made_above: Vec<u64>,
}

/// Where a branch is made or opened.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Spot<'a> {
    pub(crate) index: Index,
    pub(crate) hierarchy: &'a Hierarchy,
    /// Where the name begins.
    pub(crate) top: &'a Dir,
    pub(crate) name: &'a GroupName,
}

impl Spot<'_> {
    /// Makes the directory, and the levels above it that are missing; `owners` are the identities of
    /// the levels' groups, outermost first, as far as there are any to note. What was made is removed again when
    /// something fails.
    pub(crate) fn create(self, owners: &[u64]) -> Result<Branch, Failure> {
        let mut inode = 0;
        let (dir, made_above) = self.top.create_levels(self.name, |level| {
            let owner = owners.get(level.depth).filter(|owner| level.is_new && **owner != 0);
            if let Some(owner) = owner {
                level.dir.leave_note(NOTE, owner.to_string())?;
            }
            if self.hierarchy.mounted.serves("cpuset") {
                cpuset::inherit(level.around, level.dir, self.hierarchy.mounted.no_prefix)?;
            }
            if level.is_new && self.hierarchy.mounted.serves("memory") {
                memory::count_below(level.dir)?;
            }
            // Here, where what was made is removed again should it fail.
            inode = level.dir.inode()?;
            Ok(())
        })?;
        Ok(self.branch(dir, inode, made_above))
    }

    /// Opens what bears the name now.
    pub(crate) fn open(self) -> Result<Branch, Failure> {
        let dir = self.top.open_beneath(self.name.as_str())?;
        let inode = dir.inode()?;
        Ok(self.branch(dir, inode, Vec::new()))
    }

    /// Opens what bears the name now if it belongs to the group `owner`.
    pub(crate) fn open_of(self, owner: u64) -> Result<Option<Branch>, Failure> {
        match self.open() {
            Ok(branch) => Ok(branch.belongs_to(owner)?.then_some(branch)),
            Err(failure) if failure.is_gone() => Ok(None),
            Err(failure) => Err(failure),
        }
    }

    fn branch(self, dir: Dir, inode: u64, made_above: Vec<u64>) -> Branch {
        let (top, local) = (self.top.clone(), self.name.clone());
        let files = Arc::new(KeptOpen::new(dir.clone()));
        Branch { index: self.index, dir, files, inode, top, local, made_above }
    }
}

impl Branch {
    /// The descriptors that it has open.
    pub(crate) fn handles(&self) -> impl Iterator<Item = RawFd> {
        let directories = [self.dir.as_raw_fd(), self.top.as_raw_fd()];
        directories.into_iter().chain(self.files.handles())
    }

    fn belongs_to(&self, owner: u64) -> Result<bool, Failure> {
        match self.dir.note(NOTE) {
            Ok(note) => Ok(note.is_some_and(|note| note == owner.to_string().as_bytes())),
            Err(failure) if failure.is_gone() => Ok(false),
            Err(failure) => Err(failure),
        }
    }

    /// Calls `visit` with this directory and each below it. What vanishes meanwhile is skipped.
    pub(crate) fn walk(
        &self,
        mut visit: impl FnMut(&Dir) -> Result<(), Failure>,
    ) -> Result<(), Failure> {
        match visit(&self.dir) {
            Err(failure) if failure.is_gone() => return Ok(()),
            visited => visited?,
        }
        self.dir.walk(visit)
    }

    /// Removes what bears the name now, if it is this directory, with every directory below it, and the
    /// levels that were made for it: that it is gone is success.
    pub(crate) fn remove(&self) -> Result<(), Failure> {
        self.top.remove_named(&self.local, self.inode)?;
        self.top.remove_levels_above(&self.local, &self.made_above);
        Ok(())
    }
}
