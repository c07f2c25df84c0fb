//! The levels of a nested name: made from the outside in, removed from the inside out.

use std::path::Path;

use containment_core::{ErrorKind, GroupName};

use super::{Dir, Result};

/// A level on the way down to a group, the group itself being the last.
#[derive(Debug, Clone, Copy)]
pub struct Level<'a> {
    /// How many levels are around it.
    pub depth: usize,
    /// The directory that it is in.
    pub around: &'a Dir,
    /// Its own directory.
    pub dir: &'a Dir,
    /// Whether it was made just now.
    pub is_new: bool,
}

impl Dir {
    /// Makes the group `name` beneath this directory and the levels above it that are missing, and shows
    /// each level to `each`. Also answers the inodes of the levels above the group that were made, outermost
    /// first. What was made is removed again when something fails.
    ///
    /// # Errors
    /// [`AlreadyExists`](ErrorKind::AlreadyExists) for the group itself; those of `each`.
    pub fn create_levels(
        &self,
        name: &GroupName,
        mut each: impl FnMut(Level<'_>) -> Result<()>,
    ) -> Result<(Self, Vec<u64>)> {
        let mut made = Vec::new();
        let created = self.descend(name, &mut made, &mut each).and_then(|group| {
            let above = made.iter().take(made.len().saturating_sub(1));
            Ok((group, above.map(|(_, dir)| dir.inode()).collect::<Result<_>>()?))
        });
        created.inspect_err(|_| {
            made.iter().rev().for_each(|(path, _)| Self::note_kept(self.remove_level(path), name));
        })
    }

    /// Removes the levels directly above the group `name` that `made` identifies, outermost first in it, as far
    /// as they are empty: others may have put groups there meanwhile. A namesake of one that is gone is another's.
    pub fn remove_levels_above(&self, name: &GroupName, made: &[u64]) {
        let paths = paths(name);
        for (path, inode) in paths.iter().rev().skip(1).zip(made.iter().rev()) {
            let removed = self.open_beneath(path).and_then(|level| {
                if level.inode()? == *inode { self.remove_level(path) } else { Ok(()) }
            });
            Self::note_kept(removed, name);
        }
    }

    /// This directory and those on the way down to `relative`, that one being the last.
    pub fn levels_to(&self, relative: &Path) -> Result<Vec<Self>> {
        let mut levels = vec![self.clone()];
        let mut here = self.clone();
        for level in relative.components() {
            here = here.open_beneath(level)?;
            levels.push(here.clone());
        }
        Ok(levels)
    }

    /// The first group on the way down to `relative`, neither this one nor that one itself, of which `is_it`
    /// says so.
    pub fn first_above(
        &self,
        relative: &Path,
        is_it: impl Fn(&Self) -> Result<bool>,
    ) -> Result<Option<Self>> {
        let mut here = self.clone();
        for level in relative.parent().into_iter().flat_map(Path::components) {
            here = here.open_beneath(level)?;
            if is_it(&here)? {
                return Ok(Some(here));
            }
        }
        Ok(None)
    }

    fn descend<'n>(
        &self,
        name: &'n GroupName,
        made: &mut Vec<(&'n str, Self)>,
        each: &mut dyn FnMut(Level<'_>) -> Result<()>,
    ) -> Result<Self> {
        let mut here = self.clone();
        for (depth, path) in paths(name).into_iter().enumerate() {
            let is_group = path.len() == name.as_str().len();
            let level = split(path).1;
            let (dir, is_new) =
                if is_group { (here.create(level)?, true) } else { here.level(level)? };
            if is_new {
                made.push((path, dir.clone()));
            }
            each(Level { depth, around: &here, dir: &dir, is_new })?;
            here = dir;
        }
        Ok(here)
    }

    /// Opens a level above a group, or makes it; also answers whether it was made.
    fn level(&self, level: &str) -> Result<(Self, bool)> {
        match self.open_beneath(level) {
            Err(failure) if failure.kind() == ErrorKind::NotFound => match self.create(level) {
                // Somebody else made it just now.
                Err(failure) if failure.kind() == ErrorKind::AlreadyExists => {
                    self.open_beneath(level).map(|dir| (dir, false))
                }
                made => made.map(|dir| (dir, true)),
            },
            opened => opened.map(|dir| (dir, false)),
        }
    }

    fn remove_level(&self, path: &str) -> Result<()> {
        match split(path) {
            // That takes no descriptor: it works when none is left.
            ("", last) => self.remove_child(last),
            (above, last) => self.open_beneath(above)?.remove_child(last),
        }
    }

    /// A level that others use by now stays, and is theirs to remove.
    fn note_kept(removed: Result<()>, name: &GroupName) {
        if let Err(failure) = removed
            && failure.kind() != ErrorKind::Busy
            && !failure.is_gone()
        {
            tracing::warn!(%failure, group = %name, "cannot remove a level of a group; remove it by hand");
        }
    }
}

/// The paths of a name's levels, outermost first: `a`, `a/b`, `a/b/c`.
fn paths(name: &GroupName) -> Vec<&str> {
    let name = name.as_str();
    let above = name.match_indices('/').map(|(end, _)| &name[..end]);
    above.chain([name]).collect()
}

/// What a level is in, and its own name.
fn split(path: &str) -> (&str, &str) {
    path.rsplit_once('/').unwrap_or(("", path))
}
