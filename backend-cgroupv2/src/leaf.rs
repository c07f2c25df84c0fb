//! A leaf for ourselves: a group that holds processes cannot hand controllers down (kernel: cgroup-v2.rst,
//! "No Internal Process Constraint"; K14), so this process steps aside into a group of its own below it.
//!
//! Only where the group is ours to arrange (delegation is marked, or it was named with `--parent`) and we are
//! the one process in it: nobody else's process is ever moved. It is undone when the driver and its
//! groups are gone, unless other groups are left there that rely on the controllers.

use std::os::unix::ffi::OsStrExt as _;
use std::path::PathBuf;

use containment_core::Pid;
use containment_process::cgroupfs::{Dir, Failure};

use crate::controllers::{self, Controllers, Refusal};

/// What leaves are called, the pid left out. Such a group is none of the driver's.
pub(crate) const PREFIX: &str = "contain-leaf-";

/// The leaf that this process is in.
#[derive(Debug)]
pub(crate) struct Leaf {
    parent: Dir,
    name: String,
    owner: Pid,
    handed_down: Controllers,
}

/// The group that is ours, for a process that was found in this one: a leaf stands for the group that it was
/// made in.
pub(crate) fn outside(mut group: PathBuf) -> PathBuf {
    let name = group.file_name().unwrap_or_default();
    if name.as_bytes().starts_with(PREFIX.as_bytes()) {
        group.pop();
    }
    group
}

/// Whether this process may step aside out of `dir`: `ours` says that the group was named to us.
pub(crate) fn may_step_aside(dir: &Dir, ours: bool) -> Result<bool, Failure> {
    // As systemd marks what it delegates (systemd.resource-control(5), "Delegate=").
    let marked = || Ok::<_, Failure>(dir.note("delegate")?.is_some_and(|note| note == b"1"));
    let alone = dir.pids("cgroup.procs")?;
    Ok(alone.outside == 0 && alone.pids == [Pid::current()] && (ours || marked()?))
}

impl Leaf {
    /// Moves this process into a leaf below `dir`, and hands the controllers down.
    pub(crate) fn step_aside(dir: &Dir, wanted: Controllers) -> Result<Self, Refusal> {
        let owner = Pid::current();
        let name = format!("{PREFIX}{owner}");
        let leaf = dir.create(&name)?;
        let mut stepped =
            Self { parent: dir.clone(), name, owner, handed_down: Controllers::EMPTY };
        leaf.write("cgroup.procs", owner.to_string())?;
        let before = controllers::listed(dir, controllers::SUBTREE)?;
        controllers::hand_down(dir, wanted)?;
        stepped.handed_down = wanted.iter().filter(|one| !before.contains(*one)).collect();
        Ok(stepped)
    }

    fn step_back(&self) -> Result<(), Failure> {
        if self.parent.subdirectories()?.iter().any(|name| *name != *self.name) {
            tracing::debug!(leaf = %self.name, "groups are left beside it, so it stays");
            return Ok(());
        }
        controllers::take_back(&self.parent, self.handed_down)?;
        self.parent.write("cgroup.procs", self.owner.to_string())?;
        self.parent.remove_child(&self.name)
    }
}

impl Drop for Leaf {
    fn drop(&mut self) {
        if self.owner != Pid::current() {
            return;
        }
        if let Err(failure) = self.step_back()
            && !failure.is_gone()
        {
            tracing::warn!(%failure, leaf = %self.name, "cannot leave a group of our own; remove it by hand");
        }
    }
}
