//! Where groups are made on this host: the mount, and the group in it that is ours.

use std::path::{Path, PathBuf};

use containment_core::{Backend, Capabilities, Error, ErrorKind, GroupName, Operation, Result};
use containment_process::cgroupfs::{Dir, Failure, Version};
use containment_process::proc::{cgroup, mountinfo};
use mountinfo::Mount;

/// The group below which groups are made, and what the kernel offers there.
#[derive(Debug, Clone)]
pub(crate) struct Place {
    /// The backend that the groups are of.
    pub(crate) backend: Backend,
    /// The mount's directory.
    pub(crate) mount: Dir,
    /// Its directory.
    pub(crate) dir: Dir,
    /// The mount's root within the hierarchy, which `/proc/PID/cgroup` counts from.
    pub(crate) mount_root: PathBuf,
    /// Its path below the mount.
    pub(crate) relative: PathBuf,
    pub(crate) has_kill: bool,
    pub(crate) capabilities: Capabilities,
}

impl Place {
    /// The first cgroup2 mount that shows our group (or `parent`) and where groups can be made.
    pub(crate) fn find(parent: Option<&Path>) -> Result<Self> {
        let mounts = mountinfo::read().map_err(|error| Error::from_io(Operation::Probe, &error))?;
        let mut unusable = None;
        for mount in mountinfo::mounts(&mounts).filter(|mount| mount.is_type("cgroup2")) {
            match Self::on(&mount, parent) {
                Ok(place) => return Ok(place),
                Err(error) => unusable = unusable.or(Some(error)),
            }
        }
        Err(unusable.unwrap_or_else(no_mount))
    }

    fn on(mount: &Mount<'_>, parent: Option<&Path>) -> Result<Self> {
        let mount_root = mount.root().into_owned();
        let relative = match parent {
            Some(parent) => parent.strip_prefix("/").unwrap_or(parent).to_path_buf(),
            None => own_group(&mount_root)?,
        };
        let mount = mount.mount_point();
        let mount = Dir::open_mount(&mount, Version::V2).map_err(unusable)?;
        let dir = mount.open_beneath(&relative).map_err(unusable)?;
        check_writable(&dir)?;
        let has_kill = has_kill(&dir).map_err(unusable)?;
        let capabilities = crate::capabilities(has_kill);
        let backend = Backend::CgroupV2;
        Ok(Self { backend, mount, dir, mount_root, relative, has_kill, capabilities })
    }

    /// An error of a group.
    pub(crate) fn describe(&self, error: Error, name: &GroupName) -> Error {
        error.with_backend(self.backend).with_group(name)
    }
}

/// Whether the kernel has `cgroup.kill` (since 5.14). The hierarchy's root never has it, so there a
/// group below it is looked at, one made for that where there is none.
fn has_kill(dir: &Dir) -> Result<bool, Failure> {
    const FILE: &str = "cgroup.kill";
    if dir.exists(FILE) {
        return Ok(true);
    }
    let is_root = !dir.exists("cgroup.events");
    if !is_root {
        return Ok(false);
    }
    for name in dir.subdirectories()? {
        let Ok(group) = dir.open_beneath(&name) else { continue };
        if group.exists(FILE) {
            return Ok(true);
        }
        // One that vanished meanwhile tells nothing.
        if !group.is_gone() {
            return Ok(false);
        }
    }
    let name = GroupName::scratch();
    let has_kill = dir.create(name.as_str())?.exists(FILE);
    dir.remove_child(name.as_str())?;
    Ok(has_kill)
}

/// Our own group, relative to the mount.
pub(crate) fn own_group(mount_root: &Path) -> Result<PathBuf> {
    let text = cgroup::read_self().map_err(|error| Error::from_io(Operation::Probe, &error))?;
    cgroup::memberships(&text)
        .find(cgroup::Membership::is_unified)
        .and_then(|own| cgroup::below_mount(own.path, mount_root))
        .ok_or_else(|| {
            Error::new(ErrorKind::Unusable, Operation::Probe)
                .because("our own group is not below the cgroup2 mount")
                .advise("name a group that is, with --parent PATH")
        })
}

/// A read-only mount and a directory of another user look alike to mkdir: tell them apart now.
fn check_writable(dir: &Dir) -> Result<()> {
    let access = rustix::fs::Access::WRITE_OK;
    let flags = rustix::fs::AtFlags::EACCESS;
    match rustix::fs::accessat(rustix::fs::CWD, dir.handle_path(), access, flags) {
        Err(errno @ (rustix::io::Errno::ACCESS | rustix::io::Errno::PERM)) => {
            Err(refused(dir, errno)
                .because("our own group's directory is not ours to write to")
                .advise(
                    "run it in a delegated group: systemd-run --user --scope -p Delegate=yes …",
                ))
        }
        Err(errno @ rustix::io::Errno::ROFS) => Err(refused(dir, errno)
            .because("the cgroup2 mount is read-only")
            .advise("mount it writable: mount -o remount,rw,bind MOUNTPOINT")),
        // What access(2) cannot tell is told by the proof.
        Ok(()) | Err(_) => Ok(()),
    }
}

fn refused(dir: &Dir, errno: rustix::io::Errno) -> Error {
    Error::new(ErrorKind::Unusable, Operation::Probe)
        .with_errno(errno.raw_os_error())
        .with_path(dir.path())
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
