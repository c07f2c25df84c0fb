//! One mounted hierarchy: what it carries, and the group in it that is ours.
//!
//! Each is resolved by itself: our group may have another path in every one.

use std::path::{Path, PathBuf};

use containment_core::{Error, ErrorKind, Operation, Result};
use containment_process::cgroupfs::{Dir, Failure, Version};
use containment_process::proc::cgroup::{self, Membership};
use containment_process::proc::mountinfo::Mount;

/// The controllers that a hierarchy of cgroup v1 can carry (cgroups(7)).
const CONTROLLERS: [&str; 14] = [
    "blkio",
    "cpu",
    "cpuacct",
    "cpuset",
    "debug",
    "devices",
    "freezer",
    "hugetlb",
    "memory",
    "net_cls",
    "net_prio",
    "perf_event",
    "pids",
    "rdma",
];

/// What a mount of type `cgroup` shows, by its options alone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Mounted {
    controllers: Vec<&'static str>,
    /// `name=` of a named hierarchy.
    name: Option<String>,
    /// Whether the cpuset files lack their prefix, as on hosts that mount it the way of old.
    pub(crate) no_prefix: bool,
    point: PathBuf,
    device: (u32, u32),
    /// The mount's root within the hierarchy, which `/proc/PID/cgroup` counts from.
    root: PathBuf,
}

impl Mounted {
    /// The hierarchy of a mount; `None` for other file systems.
    pub(crate) fn of(mount: &Mount<'_>) -> Option<Self> {
        let carries = |controller: &&str| mount.has_super_option(controller);
        let name = mount.super_option("name");
        mount.is_type("cgroup").then(|| Self {
            controllers: CONTROLLERS.into_iter().filter(carries).collect(),
            name: name.map(|name| String::from_utf8_lossy(&name).into_owned()),
            no_prefix: mount.has_super_option("noprefix"),
            point: mount.mount_point().into_owned(),
            device: mount.device,
            root: mount.root().into_owned(),
        })
    }

    /// Whether it carries a controller.
    pub(crate) fn serves(&self, controller: &str) -> bool {
        self.controllers.contains(&controller)
    }

    /// Where it is mounted.
    pub(crate) fn point(&self) -> &Path {
        &self.point
    }

    /// Whether it is another manager's book-keeping rather than a place for us.
    pub(crate) fn is_foreign(&self) -> bool {
        self.controllers.is_empty() && self.name.as_deref().is_none_or(|name| name == "systemd")
    }

    /// What it carries, as `cpu,cpuacct` or `name=jobs`.
    pub(crate) fn label(&self) -> String {
        let name = self.name.iter().map(|name| format!("name={name}"));
        let controllers = self.controllers.iter().map(ToString::to_string);
        controllers.chain(name).collect::<Vec<_>>().join(",")
    }

    /// The path of a process's group below the mount, by the text of its `/proc/PID/cgroup`; `None`
    /// when the mount does not show that group.
    pub(crate) fn group_of(&self, memberships: &[u8]) -> Option<PathBuf> {
        let named = self.name.as_ref().map(|name| format!("name={name}"));
        let is_it = |membership: &Membership<'_>| match (self.controllers.first(), &named) {
            (Some(controller), _) => membership.serves(controller),
            (None, Some(named)) => membership.serves(named),
            (None, None) => false,
        };
        let membership = cgroup::memberships(memberships).find(is_it)?;
        cgroup::below_mount(membership.path, &self.root)
    }

    /// The path below the mount of what groups are made in: `parent`, or else our own group.
    pub(crate) fn relative(&self, memberships: &[u8], parent: Option<&Path>) -> Option<PathBuf> {
        match parent {
            Some(parent) => Some(parent.strip_prefix("/").unwrap_or(parent).to_path_buf()),
            None => self.group_of(memberships),
        }
    }

    /// Opens the directory of the mount, which has to be this very hierarchy's.
    pub(crate) fn open(&self) -> Result<Dir, Error> {
        let top = Dir::open_mount(&self.point, Version::V1).map_err(|f| self.unusable(f))?;
        let stat = rustix::fs::fstat(&top).map_err(|errno| {
            Error::from_errno(Operation::Probe, errno.raw_os_error())
                .with_kind(ErrorKind::Unusable)
                .with_path(top.path())
        })?;
        let device = (rustix::fs::major(stat.st_dev), rustix::fs::minor(stat.st_dev));
        if device != self.device {
            return Err(refused(&top)
                .because(format!("another hierarchy is mounted over the {} one", self.label()))
                .advise("unmount what is mounted over it"));
        }
        Ok(top)
    }

    /// Opens a process's group, by the text of its `/proc/PID/cgroup`; `None` when the mount does not
    /// show it.
    pub(crate) fn open_group_of(&self, memberships: &[u8]) -> Result<Option<Dir>> {
        let Some(group) = self.group_of(memberships) else { return Ok(None) };
        let dir = self.open()?.open_beneath(&group);
        dir.map(Some).map_err(|failure| failure.during(Operation::Attach))
    }

    fn unusable(&self, failure: Failure) -> Error {
        let remedy = match failure.kind() {
            ErrorKind::NotCgroupfs => "unmount what is mounted over the hierarchy",
            ErrorKind::NotFound => "name a group that exists in this hierarchy with --parent PATH",
            _ => "make the hierarchy's mount accessible to this user",
        };
        let error = failure.during(Operation::Probe).with_kind(ErrorKind::Unusable);
        error
            .because(format!("cannot open our group in the {} hierarchy", self.label()))
            .advise(remedy)
    }

    fn not_writable(&self, failure: Failure) -> Error {
        let (why, remedy) = if failure.is_read_only() {
            ("the mount is read-only", "mount it writable: mount -o remount,rw,bind MOUNTPOINT")
        } else {
            (
                "our own group's directory is not ours to write to",
                "as root: chown this user to a group of each hierarchy, and name it with --parent PATH",
            )
        };
        let error = failure.during(Operation::Probe).with_kind(ErrorKind::Unusable).advise(remedy);
        error.because(format!("{why} ({} hierarchy)", self.label()))
    }
}

fn refused(dir: &Dir) -> Error {
    Error::new(ErrorKind::Unusable, Operation::Probe).with_path(dir.path())
}

/// A hierarchy in which groups can be made.
#[derive(Debug, Clone)]
pub(crate) struct Hierarchy {
    pub(crate) mounted: Mounted,
    /// The path below the mount of the group that groups are made in.
    pub(crate) relative: PathBuf,
    /// That group's directory.
    pub(crate) dir: Dir,
}

impl Hierarchy {
    /// Opens our own group, or `parent`, in a hierarchy.
    ///
    /// # Errors
    /// [`Unusable`](ErrorKind::Unusable), with the reason and a remedy.
    pub(crate) fn open(
        mounted: Mounted,
        memberships: &[u8],
        parent: Option<&Path>,
    ) -> Result<Self, Error> {
        let relative = mounted.relative(memberships, parent).ok_or_else(|| not_shown(&mounted))?;
        let top = mounted.open()?;
        let dir = if relative.as_os_str().is_empty() {
            top
        } else {
            top.open_beneath(&relative).map_err(|failure| mounted.unusable(failure))?
        };
        dir.check_writable().map_err(|failure| mounted.not_writable(failure))?;
        Ok(Self { mounted, relative, dir })
    }
}

fn not_shown(mounted: &Mounted) -> Error {
    Error::new(ErrorKind::Unusable, Operation::Probe)
        .because(format!(
            "our own group is not below the mount of the {} hierarchy",
            mounted.label()
        ))
        .advise("name a group that is, with --parent PATH")
}

#[cfg(test)]
mod tests {
    use super::*;
    use containment_process::proc::mountinfo::mounts;

    const HOST: &[u8] = b"\
32 31 0:29 / /sys/fs/cgroup/cpu,cpuacct rw - cgroup cgroup rw,cpu,cpuacct
37 31 0:34 /docker/4f2 /sys/fs/cgroup/freezer rw - cgroup cgroup rw,freezer
38 31 0:35 / /dev/cpuset rw - cgroup none rw,cpuset,noprefix,release_agent=/sbin/x
40 31 0:37 / /sys/fs/cgroup/systemd rw - cgroup cgroup rw,xattr,name=systemd
42 31 0:39 / /sys/fs/cgroup/jobs rw - cgroup cgroup rw,name=jobs
41 31 0:38 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw
";
    const MEMBERSHIPS: &[u8] = b"\
5:name=jobs:/batch
4:cpuset:/
3:freezer:/docker/4f2/job
2:cpu,cpuacct:/a
0::/
";

    fn host() -> Vec<Mounted> {
        mounts(HOST).filter_map(|mount| Mounted::of(&mount)).collect()
    }

    #[test]
    fn hierarchies_are_told_by_their_controllers_or_names() {
        let labels: Vec<_> = host().iter().map(Mounted::label).collect();
        assert_eq!(labels, ["cpu,cpuacct", "freezer", "cpuset", "name=systemd", "name=jobs"]);
        assert!(host()[0].serves("cpuacct") && !host()[0].serves("cpuset"));
        let foreign: Vec<_> = host().iter().map(Mounted::is_foreign).collect();
        assert_eq!(foreign, [false, false, false, true, false]);
        let no_prefix: Vec<_> = host().iter().map(|mounted| mounted.no_prefix).collect();
        assert_eq!(no_prefix, [false, false, true, false, false]);
    }

    #[test]
    fn our_group_is_found_in_each_by_itself() {
        let groups: Vec<_> = host().iter().map(|mounted| mounted.group_of(MEMBERSHIPS)).collect();
        let path = |text: &str| Some(PathBuf::from(text));
        assert_eq!(groups, [path("a"), path("job"), path(""), None, path("batch")]);
    }

    #[test]
    fn a_mount_that_does_not_show_our_group_is_no_place_for_groups() {
        let freezer = host().remove(1);
        let error = Hierarchy::open(freezer, b"3:freezer:/elsewhere\n", None).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unusable);
        assert!(error.remedy().is_some(), "{error:?}");
    }
}
