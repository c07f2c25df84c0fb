//! The mount namespace of a program: what is sealed, its root and its binds.
//!
//! It belongs to the program and goes with its last process: there is nothing to undo, and nothing is
//! made on the host's file systems. Everything is looked up by the child, inside its own namespace.

use std::ffi::{CStr, CString};
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use containment_core::Isolation;
use rustix::fs::{CWD, Mode, OFlags, ResolveFlags, StatVfsMountFlags, openat, openat2, statvfs};
use rustix::io::Errno;
use rustix::mount::{
    MountFlags, MountPropagationFlags, MoveMountFlags, OpenTreeFlags, UnmountFlags,
    mount_bind_recursive, mount_change, mount_move, mount_remount, move_mount, open_tree, unmount,
};
use rustix::process::{chdir, chroot, fchdir, pivot_root};
use rustix::thread::{UnshareFlags, unshare_unsafe};

use super::image::c_string;
use super::seal::Covers;
use super::{Step, sys};

type Failed = (Step, i32);

/// What is to be mounted, in the order in which it is.
#[derive(Debug)]
pub(super) struct Mounts {
    seal: Option<Covers>,
    root: Option<CString>,
    /// `/proc`, `/sys` and `/dev`, as far as the root has empty places for them.
    host: Vec<&'static CStr>,
    binds: Vec<Binding>,
    /// Whether the kernel makes a whole tree of mounts read-only at once.
    whole_trees: bool,
}

#[derive(Debug)]
struct Binding {
    source: CString,
    target: CString,
    writable: bool,
}

impl Mounts {
    pub(super) fn prepare(isolation: &Isolation) -> io::Result<Option<Self>> {
        if !isolation.has_mounts() {
            return Ok(None);
        }
        let root = isolation.root.as_deref();
        let binding = |bind: &containment_core::Bind| {
            let (source, target) = (path(&bind.source)?, path(&bind.target)?);
            Ok(Binding { source, target, writable: bind.writable })
        };
        Ok(Some(Self {
            seal: isolation.is_sealed().then(Covers::find).transpose()?,
            host: root.map(|root| host_mounts(root, isolation)).unwrap_or_default(),
            root: root.map(path).transpose()?,
            binds: isolation.binds.iter().map(binding).collect::<io::Result<_>>()?,
            whole_trees: sys::has_mount_setattr(),
        }))
    }

    /// In the child: leaves the host's namespaces and mounts.
    pub(super) fn set_up(&self) -> Result<(), Failed> {
        self.leave_host().map_err(at(Step::Namespaces))?;
        // First, so that every later bind of a covered mount is covered, too.
        if let Some(covers) = &self.seal {
            covers.put_on()?;
        }
        let root = self.open_root().map_err(at(Step::Root))?;
        for (index, place) in (0..).zip(&self.host) {
            bind_host(&root, place).map_err(at(Step::HostMount(index)))?;
        }
        for (index, binding) in (0..).zip(&self.binds) {
            self.bind(&root, binding, index)?;
        }
        if self.root.is_some() {
            enter(&root).map_err(at(Step::Pivot))?;
        }
        Ok(())
    }

    fn leave_host(&self) -> Result<(), Errno> {
        let mut flags = UnshareFlags::NEWNS;
        if self.seal.is_some() {
            // As a member already: the group becomes the root of the new namespace.
            flags |= UnshareFlags::NEWCGROUP;
        }
        // SAFETY: the descriptor table is not among what is unshared.
        unsafe { unshare_unsafe(flags)? };
        // Nothing propagates, in either direction: a cgroupfs that the host mounts later is not ours.
        mount_change(c"/", MountPropagationFlags::PRIVATE | MountPropagationFlags::REC)
    }

    /// The root to be, as a mount of its own, which `pivot_root(2)` wants.
    fn open_root(&self) -> Result<OwnedFd, Errno> {
        let root = self.root.as_deref().unwrap_or(c"/");
        if self.root.is_some() {
            mount_bind_recursive(root, root)?;
        }
        openat(CWD, root, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())
    }

    fn bind(&self, root: &OwnedFd, binding: &Binding, index: u16) -> Result<(), Failed> {
        let whole = binding.writable || self.whole_trees;
        let tree = clone_tree(&binding.source, whole).map_err(at(Step::BindSource(index)))?;
        let flags = libc::AT_EMPTY_PATH | libc::AT_RECURSIVE;
        if !binding.writable && self.whole_trees {
            sys::mount_read_only(tree.as_fd(), c"", flags).map_err(at(Step::Bind(index)))?;
        }
        let place = find(root, &binding.target).map_err(at(Step::BindTarget(index)))?;
        put(&tree, &place).map_err(at(Step::Bind(index)))?;
        if !binding.writable && !self.whole_trees {
            // Before Linux 5.12 a mount is made read-only by its path, and alone.
            remount_read_only(&magic_link(&tree)).map_err(at(Step::Bind(index)))?;
        }
        Ok(())
    }
}

fn path(path: &Path) -> io::Result<CString> {
    c_string(path.as_os_str().as_bytes())
}

/// Those of the kernel's file systems that a root has an empty place for.
fn host_mounts(root: &Path, isolation: &Isolation) -> Vec<&'static CStr> {
    let device = |path: &Path| {
        path.symlink_metadata().ok().filter(std::fs::Metadata::is_dir).map(|it| it.dev())
    };
    let Some(own) = root.metadata().ok().map(|it| it.dev()) else { return Vec::new() };
    [(c"/proc", "proc"), (c"/sys", "sys"), (c"/dev", "dev")]
        .into_iter()
        .filter(|(place, name)| {
            let host = Path::new("/").join(name);
            debug_assert_eq!(place.to_bytes(), host.as_os_str().as_bytes());
            let bound = isolation.binds.iter().any(|bind| bind.is_at(&host));
            !bound && device(&root.join(name)) == Some(own) && host.is_dir()
        })
        .map(|(place, _)| place)
        .collect()
}

fn bind_host(root: &OwnedFd, place: &CStr) -> Result<(), Errno> {
    put(&clone_tree(place, true)?, &find(root, place)?)
}

/// A copy of what is mounted at `source`, with what is mounted below it or alone.
fn clone_tree(source: &CStr, whole: bool) -> Result<OwnedFd, Errno> {
    let flags = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC;
    let below = if whole { OpenTreeFlags::AT_RECURSIVE } else { OpenTreeFlags::empty() };
    open_tree(CWD, source, flags | below)
}

/// Finds a place below the root; links and `..` in it never lead out of the root.
fn find(root: &OwnedFd, place: &CStr) -> Result<OwnedFd, Errno> {
    let flags = OFlags::PATH | OFlags::CLOEXEC;
    let within = ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS;
    let walk = || openat2(root, place, flags, Mode::empty(), within);
    for _ in 1..WALKS {
        match walk() {
            Err(Errno::AGAIN) => {}
            found => return found,
        }
    }
    walk()
}

/// How often a way with `..` is walked: where anybody on the host mounts or renames something meanwhile, the kernel
/// cannot tell whether it stayed below the root, and says EAGAIN (openat2(2)).
const WALKS: usize = 1000;

fn put(tree: &OwnedFd, place: &OwnedFd) -> Result<(), Errno> {
    let flags = MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH | MoveMountFlags::MOVE_MOUNT_T_EMPTY_PATH;
    move_mount(tree, c"", place, c"", flags)
}

/// Makes the directory the root, and leaves nothing of the old one to go back to.
fn enter(root: &OwnedFd) -> Result<(), Errno> {
    fchdir(root)?;
    // The old root comes to lie on top of the new one (pivot_root(2)), and is taken off.
    match pivot_root(c".", c".") {
        Ok(()) => unmount(c".", UnmountFlags::DETACH)?,
        // The host runs from its initial RAM disk, which cannot be pivoted away.
        Err(Errno::INVAL) => {
            mount_move(c".", c"/")?;
            chroot(c".")?;
        }
        Err(errno) => return Err(errno),
    }
    chdir(c"/")
}

/// Makes one mount read-only by its path, keeping its other flags.
pub(super) fn remount_read_only(path: &CStr) -> Result<(), Errno> {
    let now = statvfs(path)?.f_flag;
    let pairs = [
        (StatVfsMountFlags::NOSUID, MountFlags::NOSUID),
        (StatVfsMountFlags::NODEV, MountFlags::NODEV),
        (StatVfsMountFlags::NOEXEC, MountFlags::NOEXEC),
        (StatVfsMountFlags::NOATIME, MountFlags::NOATIME),
        (StatVfsMountFlags::NODIRATIME, MountFlags::NODIRATIME),
        (StatVfsMountFlags::RELATIME, MountFlags::RELATIME),
    ];
    let kept = pairs.into_iter().filter(|(flag, _)| now.contains(*flag)).map(|(_, flag)| flag);
    let flags = kept.fold(MountFlags::BIND | MountFlags::RDONLY, |flags, flag| flags | flag);
    mount_remount(path, flags, c"")
}

/// A path of a few bytes, made without memory of the heap.
struct MagicLink([u8; 32]);

impl std::ops::Deref for MagicLink {
    type Target = CStr;

    fn deref(&self) -> &CStr {
        CStr::from_bytes_until_nul(&self.0).unwrap_or_default()
    }
}

/// `/proc/self/fd/N`.
fn magic_link(fd: &OwnedFd) -> MagicLink {
    use std::io::Write as _;
    use std::os::fd::AsRawFd as _;
    let mut text = [0; 32];
    // 25 bytes at most, so that it fits and ends with a zero.
    let _ = write!(&mut text[..31], "/proc/self/fd/{}", fd.as_raw_fd());
    MagicLink(text)
}

pub(super) fn at(step: Step) -> impl Fn(Errno) -> Failed {
    move |errno| (step, errno.raw_os_error())
}
