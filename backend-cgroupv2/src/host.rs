//! Where groups are made on this host: the mount, and the group in it that is ours.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use containment_core::{
    Backend, Capabilities, Error, ErrorKind, GroupName, Measure, Operation, Pid, Result, Set,
};
use containment_process::cgroupfs::{Dir, Failure, Version};
use containment_process::pidfd::PidFd;
use containment_process::proc::{Base, cgroup, mountinfo};

use crate::controllers::{self, Controllers, Refusal};
use crate::kernel::Kernel;
use crate::leaf::{self, Leaf};
use crate::offer::Offer;

/// The group below which groups are made, and what the kernel offers there.
#[derive(Debug, Clone)]
pub(crate) struct Place {
    /// The backend that the groups are of.
    pub(crate) backend: Backend,
    /// The mount's directory.
    pub(crate) mount: Dir,
    /// The directory of the group below which groups are made.
    pub(crate) dir: Dir,
    /// The mount's root within the hierarchy, which `/proc/PID/cgroup` counts from.
    pub(crate) mount_root: PathBuf,
    /// Its path below the mount.
    pub(crate) relative: PathBuf,
    /// Whether groups are killed by `cgroup.kill` where they have it.
    pub(crate) uses_kill: bool,
    pub(crate) capabilities: Capabilities,
    pub(crate) offer: Offer,
    /// Figures that every group is to show, if there is a controller for them.
    pub(crate) measured: Set<Measure>,
    /// Whether groups keep the files of their figures open.
    pub(crate) sampling: bool,
    /// Whether it was named to us, so that it is ours to arrange.
    pub(crate) named: bool,
    /// Where this process stepped aside to, if it had to.
    leaf: Arc<Mutex<Option<Leaf>>>,
}

/// Where the unified hierarchy is mounted: alone, and beside those of version 1.
const USUAL: [&str; 2] = ["/sys/fs/cgroup", "/sys/fs/cgroup/unified"];

impl Place {
    /// The usual cgroup2 mount, or else the first one, that shows our group (or the one that is named) and where
    /// groups can be made.
    pub(crate) fn find(base: &Base) -> Result<Self> {
        match Self::where_it_usually_is(base) {
            Some(place) => Ok(place),
            None => Self::listed(base),
        }
    }

    /// The first mount of those that are listed.
    fn listed(base: &Base) -> Result<Self> {
        let mounts = base.mounts().map_err(|error| Error::from_io(Operation::Probe, &error))?;
        let mut unusable = None;
        for mount in mountinfo::mounts(mounts).filter(|mount| mount.is_type("cgroup2")) {
            let opened = Dir::open_mount(&mount.mount_point(), Version::V2).map_err(self::unusable);
            match opened.and_then(|opened| Self::on(opened, &mount.root(), base)) {
                Ok(place) => return Ok(place),
                Err(error) => unusable = unusable.or(Some(error)),
            }
        }
        Err(unusable.unwrap_or_else(no_mount))
    }

    /// Our own group, found without the list of the mounts, which the kernel takes long to write: where a mount
    /// is that shows everything, our group's path leads to the very group whose id the kernel says is ours.
    fn where_it_usually_is(base: &Base) -> Option<Self> {
        if !base.is_own() {
            return None;
        }
        // Before Linux 6.13 it does not say.
        let own = PidFd::open(Pid::current()).ok()??.cgroup_id().ok()??;
        let root = Path::new("/");
        let ours = |mount: &&str| {
            let mount = Dir::open_mount(Path::new(mount), Version::V2).ok()?;
            let group = mount.open_beneath(own_group(root, base).ok()?).ok()?;
            (group.inode().ok()? == own).then_some(mount)
        };
        Self::on(USUAL.iter().find_map(ours)?, root, base).ok()
    }

    /// Below a mount of `root`.
    fn on(mount: Dir, root: &Path, base: &Base) -> Result<Self> {
        let mount_root = root.to_path_buf();
        let relative = match base.parent() {
            Some(parent) => parent.strip_prefix("/").unwrap_or(parent).to_path_buf(),
            None => leaf::outside(own_group(&mount_root, base)?),
        };
        let dir = mount.open_beneath(&relative).map_err(unusable)?;
        dir.check_writable().map_err(not_writable)?;
        let named = base.parent().is_some();
        let kernel = Kernel::look(&dir).map_err(unusable)?;
        let offer = Offer::of(&dir, named, kernel).map_err(unusable)?;
        let figures = offer.figures(offer.everywhere);
        let capabilities = crate::capabilities(kernel.kills, offer.limits, figures);
        let (measured, leaf) = (Set::EMPTY, Arc::default());
        Ok(Self {
            backend: Backend::CgroupV2,
            mount,
            dir,
            mount_root,
            relative,
            uses_kill: true,
            capabilities,
            offer,
            measured,
            sampling: false,
            named,
            leaf,
        })
    }

    /// The figures that every group shows, with those that it is asked to.
    pub(crate) fn figures(&self) -> Set<Measure> {
        let asked = self.measured.iter().filter_map(controllers::of_figure);
        let asked = asked.filter(|one| self.offer.controllers.contains(*one));
        let shown = self.offer.figures(asked.collect());
        shown.iter().fold(self.capabilities.usage, Set::with)
    }

    /// What a group guarantees that was given these controllers, by the files that it has.
    pub(crate) fn capabilities_of(&self, dir: &Dir, has: Controllers) -> Capabilities {
        let kills = self.uses_kill && dir.exists("cgroup.kill");
        crate::capabilities(kills, self.offer.limits, self.offer.figures_of(dir, has))
    }

    /// Hands controllers down to the groups below the parent group. Where that holds this process alone,
    /// and is ours to arrange, it steps aside first (K14).
    pub(crate) fn hand_down(&self, wanted: Controllers) -> Result<()> {
        let mut leaf = self.leaf.lock().unwrap_or_else(PoisonError::into_inner);
        match controllers::hand_down(&self.dir, wanted) {
            Err(Refusal::HoldsProcesses) => {}
            handed_down => return handed_down.map_err(controllers::refused),
        }
        if leaf.is_some() || !leaf::may_step_aside(&self.dir, self.named).unwrap_or(false) {
            return Err(controllers::refused(Refusal::HoldsProcesses));
        }
        *leaf = Some(Leaf::step_aside(&self.dir, wanted).map_err(controllers::refused)?);
        Ok(())
    }

    /// An error of a group.
    pub(crate) fn describe(&self, error: Error, name: &GroupName) -> Error {
        error.with_backend(self.backend).with_group(name)
    }
}

/// Our own group, relative to the mount.
pub(crate) fn own_group(mount_root: &Path, base: &Base) -> Result<PathBuf> {
    let text = base.memberships().map_err(|error| Error::from_io(Operation::Probe, &error))?;
    cgroup::memberships(text)
        .find(cgroup::Membership::is_unified)
        .and_then(|own| cgroup::below_mount(own.path, mount_root))
        .ok_or_else(|| {
            Error::new(ErrorKind::Unusable, Operation::Probe)
                .because("our own group is not below the cgroup2 mount")
                .advise("name a group that is, with --parent PATH")
        })
}

fn not_writable(failure: Failure) -> Error {
    let (why, remedy) = if failure.is_read_only() {
        ("the cgroup2 mount is read-only", "mount it writable: mount -o remount,rw,bind MOUNTPOINT")
    } else {
        (
            "our own group's directory is not ours to write to",
            "run it in a delegated group (systemd-run --user --scope -p Delegate=yes …), or name one of this user's with --parent PATH",
        )
    };
    failure.during(Operation::Probe).with_kind(ErrorKind::Unusable).because(why).advise(remedy)
}

fn unusable(failure: Failure) -> Error {
    let remedy = match failure.kind() {
        ErrorKind::NotCgroupfs => "unmount what is mounted over the cgroup2 mount",
        ErrorKind::NotFound => "name an existing group with --parent PATH",
        _ => "make the cgroup2 mount accessible to this user",
    };
    failure.during(Operation::Probe).with_kind(ErrorKind::Unusable).advise(remedy)
}

fn no_mount() -> Error {
    Error::new(ErrorKind::Unusable, Operation::Probe)
        .because("no cgroup2 file system is mounted")
        .advise("as root: mount -t cgroup2 none /sys/fs/cgroup")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::must_run::skip;

    /// What is found by the id of our group is what the list of the mounts shows.
    #[test]
    fn the_usual_place_is_the_listed_one() {
        let base = Base::default();
        let Some(usual) = Place::where_it_usually_is(&base) else {
            return skip("usual-mount", &"not usable, not usual, or Linux before 6.13");
        };
        let listed = Place::listed(&base).unwrap();
        assert_eq!(usual.dir.inode().unwrap(), listed.dir.inode().unwrap());
        assert_eq!(usual.mount.inode().unwrap(), listed.mount.inode().unwrap());
        assert_eq!((usual.mount_root, usual.relative), (listed.mount_root, listed.relative));
        assert_eq!(usual.capabilities, listed.capabilities);
    }

    /// Neither a group that is named nor where somebody else was is known by the id of ours.
    #[test]
    fn only_our_own_group_is_looked_for_where_it_usually_is() {
        assert!(Place::where_it_usually_is(&Base::default().at("/")).is_none());
        assert!(Place::where_it_usually_is(&Base::default().of("0::/\n")).is_none());
    }
}
