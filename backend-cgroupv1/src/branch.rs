//! A group in one hierarchy: its directory, made with the levels of its name that were missing, and
//! removed with them.

use containment_core::{ErrorKind, GroupName};
use containment_process::cgroupfs::{Dir, Failure};

use crate::cpuset;
use crate::hierarchy::Hierarchy;
use crate::host::Index;

/// The note on a directory that says to which group it belongs: the inode of that group's directory
/// in the hierarchy that gives groups their identity.
const NOTE: &str = "contain.group";

/// One directory of a group.
#[derive(Debug, Clone)]
pub(crate) struct Branch {
    /// Its hierarchy.
    pub(crate) index: Index,
    pub(crate) dir: Dir,
    pub(crate) inode: u64,
    /// Where its name begins.
    top: Dir,
    /// Its name below `top`.
    local: GroupName,
    /// How many levels directly above it were made for it.
    made_above: usize,
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
        let mut made = 0;
        let created = self.descend(owners, &mut made);
        created.and_then(|dir| self.branch(dir, made.saturating_sub(1))).inspect_err(|_| {
            let mut path = Some(self.name.as_str());
            for _ in 0..made {
                path = remove_level(self.top, path, self.name);
            }
        })
    }

    fn descend(self, owners: &[u64], made: &mut usize) -> Result<Dir, Failure> {
        let mut here = self.top.clone();
        let mut levels = self.name.components().enumerate().peekable();
        while let Some((depth, level)) = levels.next() {
            let (below, is_new) = match here.create(level) {
                // The levels above may be there already, the group itself may not.
                Err(failure)
                    if failure.kind() == ErrorKind::AlreadyExists && levels.peek().is_some() =>
                {
                    (here.open_beneath(level)?, false)
                }
                created => (created?, true),
            };
            *made += usize::from(is_new);
            if is_new && let Some(owner) = owners.get(depth).filter(|owner| **owner != 0) {
                below.leave_note(NOTE, owner.to_string())?;
            }
            if self.hierarchy.mounted.serves("cpuset") {
                cpuset::inherit(&here, &below, self.hierarchy.mounted.no_prefix)?;
            }
            here = below;
        }
        Ok(here)
    }

    /// Opens what bears the name now.
    pub(crate) fn open(self) -> Result<Branch, Failure> {
        let dir = self.top.open_beneath(self.name.as_str())?;
        self.branch(dir, 0)
    }

    /// Opens what bears the name now if it belongs to the group `owner`.
    pub(crate) fn open_of(self, owner: u64) -> Result<Option<Branch>, Failure> {
        match self.open() {
            Ok(branch) => Ok(branch.belongs_to(owner)?.then_some(branch)),
            Err(failure) if failure.is_gone() => Ok(None),
            Err(failure) => Err(failure),
        }
    }

    fn branch(self, dir: Dir, made_above: usize) -> Result<Branch, Failure> {
        let inode = dir.inode()?;
        let (top, local) = (self.top.clone(), self.name.clone());
        Ok(Branch { index: self.index, dir, inode, top, local, made_above })
    }
}

impl Branch {
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

    /// Removes what bears the name now, if it is this directory, with every directory below it: that
    /// it is gone is success (cgroupfs cannot remove by handle: in the moment between, a namesake could only be hit when
    /// empty).
    pub(crate) fn remove(&self) -> Result<(), Failure> {
        match self.remove_tree() {
            Err(failure) if !failure.is_gone() => return Err(failure),
            Ok(()) | Err(_) => {}
        }
        let mut path = self.local.split_last().0;
        for _ in 0..self.made_above {
            path = remove_level(&self.top, path, &self.local);
        }
        Ok(())
    }

    fn remove_tree(&self) -> Result<(), Failure> {
        let (above, last) = self.local.split_last();
        let parent =
            above.map_or_else(|| Ok(self.top.clone()), |above| self.top.open_beneath(above))?;
        if parent.open_beneath(last)?.inode()? != self.inode {
            return Ok(());
        }
        match parent.remove_child(last) {
            // Perhaps only because of directories in it.
            Err(failure) if failure.kind() == ErrorKind::Busy => parent.remove_tree(last),
            removed => removed,
        }
    }
}

/// Removes the level at `path` if it is empty: others may have put groups there meanwhile. Answers the
/// one above it.
fn remove_level<'a>(top: &Dir, path: Option<&'a str>, name: &GroupName) -> Option<&'a str> {
    let path = path?;
    let (above, last) = path.rsplit_once('/').map_or((None, path), |(a, l)| (Some(a), l));
    let parent = top.open_beneath(above.unwrap_or_default());
    if let Err(failure) = parent.and_then(|parent| parent.remove_child(last))
        && failure.kind() != ErrorKind::Busy
        && !failure.is_gone()
    {
        tracing::warn!(%failure, group = %name, "cannot remove a level above a group; remove it by hand");
    }
    above
}
