//! Goes through the tree below a group: to visit every group, and to remove them depth first.
//!
//! One descriptor is held however deep the tree is: the way back up is `..`, which on cgroupfs
//! cannot have changed, as directories there never move to another parent.

use std::ffi::{OsStr, OsString};
use std::os::fd::AsFd;
use std::sync::Arc;

use containment_core::GroupName;
use rustix::fs::{Mode, OFlags};
use rustix::io::retry_on_intr;

use super::{Dir, Failure, HANDLE, Result};

impl Dir {
    /// Visits every group below this one, a group before those in it. Groups that vanish meanwhile
    /// are skipped, and so is what `visit` reports to have vanished (K13).
    ///
    /// # Errors
    /// The first failure; the rest of the tree is visited all the same.
    pub fn walk(&self, mut visit: impl FnMut(&Dir) -> Result<()>) -> Result<()> {
        self.traverse(self.subdirectories()?, &mut |step| match step {
            Step::Into(group) => visit(group),
            Step::OutOf(..) => Ok(()),
        })
    }

    /// Removes the group `component` in this one with every group below it, deepest first. Those that
    /// are gone already are removed.
    ///
    /// # Errors
    /// The first failure; what else can be removed is. [`Busy`](containment_core::ErrorKind::Busy) names
    /// the directory that still has members.
    pub fn remove_tree(&self, component: impl AsRef<OsStr>) -> Result<()> {
        let name = self.checked(component.as_ref())?;
        self.traverse(vec![name.to_owned()], &mut |step| match step {
            Step::Into(_) => Ok(()),
            Step::OutOf(parent, name) => parent.remove_child(name),
        })
    }

    /// Removes what bears the name now, with every group below it, if it is the group `inode`. That is
    /// the most that can be done: cgroupfs cannot remove by handle. In the moment between, a namesake
    /// could only be hit when empty.
    ///
    /// # Errors
    /// As [`remove_tree`](Self::remove_tree); that it is gone is none.
    pub fn remove_named(&self, name: &GroupName, inode: u64) -> Result<()> {
        let (above, last) = name.split_last();
        if above.is_none() && self.remove_at_once(last, inode) {
            return Ok(());
        }
        let removed = self.open_beneath(above.unwrap_or_default()).and_then(|parent| {
            if parent.open_beneath(last)?.inode()? == inode {
                parent.remove_tree(last)
            } else {
                Ok(())
            }
        });
        match removed {
            Err(failure) if failure.is_gone() => Ok(()),
            removed => removed,
        }
    }

    /// Whether the group directly in this one was removed, with nothing below it, which takes no
    /// descriptor: it works when none is left. Why it did not, the longer way tells.
    fn remove_at_once(&self, name: &str, inode: u64) -> bool {
        self.stat(name).is_ok_and(|found| found.st_ino == inode) && self.remove_child(name).is_ok()
    }

    fn traverse(
        &self,
        names: Vec<OsString>,
        visit: &mut dyn FnMut(Step<'_>) -> Result<()>,
    ) -> Result<()> {
        let mut first = Ok(());
        let mut note = |result: Result<()>| keep_first(&mut first, result);
        let mut here = self.clone();
        let mut levels = vec![Level { name: OsString::new(), to_do: names }];
        while let Some(level) = levels.last_mut() {
            if let Some(name) = level.to_do.pop() {
                match here.enter(&name, visit, &mut note) {
                    Some((below, to_do)) => {
                        levels.push(Level { name, to_do });
                        here = below;
                    }
                    None => note(visit(Step::OutOf(&here, &name))),
                }
            } else if let Some(done) = levels.pop().filter(|_| !levels.is_empty()) {
                here = if levels.len() == 1 { self.clone() } else { here.parent()? };
                note(visit(Step::OutOf(&here, &done.name)));
            }
        }
        first
    }

    /// Opens and visits the group `name`; answers what is below it, unless that is nothing.
    fn enter(
        &self,
        name: &OsStr,
        visit: &mut dyn FnMut(Step<'_>) -> Result<()>,
        note: &mut dyn FnMut(Result<()>),
    ) -> Option<(Self, Vec<OsString>)> {
        let entered = self.open_beneath(name).and_then(|below| {
            note(visit(Step::Into(&below)));
            below.subdirectories().map(|to_do| (below, to_do))
        });
        match entered {
            Ok((below, to_do)) => (!to_do.is_empty()).then_some((below, to_do)),
            Err(failure) => {
                note(Err(failure));
                None
            }
        }
    }

    /// The directory that this one is in. Only for directories that were reached from above.
    fn parent(&self) -> Result<Self> {
        let path = self.path.parent().unwrap_or(&self.path);
        let flags = HANDLE | OFlags::CLOEXEC;
        retry_on_intr(|| rustix::fs::openat(self.as_fd(), c"..", flags, Mode::empty()))
            .map_err(|errno| Failure::of_directory(path, errno))
            .and_then(|fd| Self::adopt(fd, Arc::from(path), self.version))
    }
}

/// A group on the way down, and those in it that are still to be entered.
struct Level {
    name: OsString,
    to_do: Vec<OsString>,
}

/// A step of the way.
enum Step<'a> {
    /// This group was entered.
    Into(&'a Dir),
    /// Everything below the group of this name in this parent is done.
    OutOf(&'a Dir, &'a OsStr),
}

fn keep_first(first: &mut Result<()>, result: Result<()>) {
    match result {
        Err(failure) if first.is_ok() && !failure.is_gone() => *first = Err(failure),
        _ => {}
    }
}
