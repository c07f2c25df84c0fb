//! What is made read-only: every cgroupfs, and the parts of `/proc` and `/sys` through which root has
//! the kernel run a program outside (`core_pattern`, `uevent_helper`, `binfmt_misc`, sysrq).

use std::ffi::CString;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, CWD, StatxFlags, statx};
use rustix::io::Errno;
use rustix::mount::mount_bind_recursive;

use super::super::image::c_string;
use super::super::mounts::{at, remount_read_only};
use super::super::{Step, sys};
use crate::proc::mountinfo::{self, Mount};

/// Mounts that are covered whole.
const WHOLE: [&str; 11] = [
    "cgroup",
    "cgroup2",
    "sysfs",
    "debugfs",
    "tracefs",
    "securityfs",
    "configfs",
    "bpf",
    "binfmt_misc",
    "efivarfs",
    "pstore",
];
/// What is covered of a `/proc`.
const OF_PROC: [&str; 6] = ["sys", "sysrq-trigger", "irq", "bus", "fs", "acpi"];

/// The places to cover, as they are mounted in the caller's mount namespace.
#[derive(Debug)]
pub(in super::super) struct Covers {
    /// Parts of a mount, which become mounts first.
    parts: Vec<CString>,
    /// Mounts, after the parts: those below a part are found through it.
    mounts: Vec<CString>,
}

impl Covers {
    pub(in super::super) fn find() -> io::Result<Self> {
        let text = mountinfo::read()?;
        let (mut parts, mut mounts) = (Vec::new(), Vec::new());
        for mount in mountinfo::mounts(&text) {
            // Nothing else is touched: a network file system may not answer, a FUSE not let us in.
            let is_proc = mount.is_type("proc");
            let is_told = is_proc || WHOLE.iter().any(|name| mount.is_type(name));
            if !is_told || !is_reachable(&mount)? {
                continue;
            }
            let point = mount.mount_point();
            if is_proc && mount.root() == Path::new("/") {
                let inside = OF_PROC.iter().map(|name| point.join(name));
                parts.extend(inside.filter(|path| path.exists()));
            } else {
                mounts.push(point.into_owned());
            }
        }
        Ok(Self { parts: c_paths(&parts)?, mounts: c_paths(&mounts)? })
    }

    /// In the child, in a mount namespace of its own.
    pub(in super::super) fn put_on(&self) -> Result<(), (Step, i32)> {
        for (index, part) in (0..).zip(&self.parts) {
            mount_bind_recursive(part, part).map_err(at(Step::SealMount(index)))?;
        }
        for (index, mount) in (0..).zip(self.parts.iter().chain(&self.mounts)) {
            let done = match sys::mount_read_only(CWD, mount, libc::AT_SYMLINK_NOFOLLOW) {
                Err(Errno::NOSYS) => remount_read_only(mount),
                done => done,
            };
            done.map_err(at(Step::SealMount(index)))?;
        }
        Ok(())
    }
}

/// Whether the mount is what its path leads to: another one on top hides it from everybody inside.
fn is_reachable(mount: &Mount<'_>) -> io::Result<bool> {
    let flags = AtFlags::SYMLINK_NOFOLLOW | AtFlags::NO_AUTOMOUNT;
    match statx(CWD, &*mount.mount_point(), flags, StatxFlags::MNT_ID) {
        Ok(found) => {
            // Before Linux 5.8 the kernel does not tell, and the child sees.
            let told = found.stx_mask & StatxFlags::MNT_ID.bits() != 0;
            Ok(!told || found.stx_mnt_id == u64::from(mount.id))
        }
        Err(Errno::NOENT | Errno::NOTDIR) => Ok(false),
        Err(errno) => Err(errno.into()),
    }
}

fn c_paths(paths: &[PathBuf]) -> io::Result<Vec<CString>> {
    paths.iter().map(|path| c_string(path.as_os_str().as_bytes())).collect()
}
