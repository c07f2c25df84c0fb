//! The one way by which drivers touch cgroupfs: handles on directories, and what is beneath them.
//!
//! A [`Dir`] holds its directory open, so a name that is removed and made again is never acted on by
//! mistake. Nothing is opened through a symbolic link, a mount or `..`, but for a walk's own way back up
//! (`subtree.rs`); no file is ever created (`O_CREAT` is not used); and what is not cgroupfs is refused
//! ([`ErrorKind::NotCgroupfs`]). Each call is one step: nothing here waits.

mod attributes;
mod beneath;
mod failure;
mod files;
mod levels;
pub mod parse;
mod subtree;
mod texts;

use std::ffi::{OsStr, OsString};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use containment_core::{ErrorKind, GroupName, Identity};
use rustix::fs::{AtFlags, CWD, FileType, Mode, OFlags, RawDir, Stat};
use rustix::io::{Errno, retry_on_intr};

pub use failure::{Failure, Result, no_disk};
pub use files::Access;
pub use levels::Level;
pub use parse::Listing;
pub use texts::{KeptOpen, Texts};

/// A handle alone: no right to read or write is needed, and none is given.
const HANDLE: OFlags = OFlags::PATH.union(OFlags::DIRECTORY);

/// Which cgroup file system a directory is on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Version {
    /// A hierarchy of version 1.
    V1,
    /// The unified hierarchy.
    V2,
}

impl Version {
    /// `f_type` of `statfs(2)`: `CGROUP_SUPER_MAGIC`, `CGROUP2_SUPER_MAGIC`.
    fn magic(self) -> u64 {
        match self {
            Self::V1 => 0x0027_e0eb,
            Self::V2 => 0x6367_7270,
        }
    }
}

/// An open group directory. Clones share the one descriptor.
#[derive(Debug, Clone)]
pub struct Dir {
    fd: Arc<OwnedFd>,
    path: Arc<Path>,
    version: Version,
}

impl Dir {
    /// Opens the directory on which a hierarchy is mounted.
    ///
    /// # Errors
    /// [`NotCgroupfs`](ErrorKind::NotCgroupfs) when something else is mounted there.
    pub fn open_mount(path: &Path, version: Version) -> Result<Self> {
        let flags = HANDLE | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        retry_on_intr(|| rustix::fs::openat(CWD, path, flags, Mode::empty()))
            .map_err(|errno| Failure::of_directory(path, errno))
            .and_then(|fd| Self::adopt(fd, path.into(), version))
    }

    /// Opens a directory beneath this one; an empty path is this one again.
    ///
    /// # Errors
    /// [`InvalidInput`](ErrorKind::InvalidInput) when `relative` is absolute or climbs,
    /// [`NotFound`](ErrorKind::NotFound), [`NotCgroupfs`](ErrorKind::NotCgroupfs) when a link or a
    /// mount is in the way.
    pub fn open_beneath(&self, relative: impl AsRef<Path>) -> Result<Self> {
        let relative = relative.as_ref();
        let path = self.join(relative);
        self.with_access(|| beneath::open(self.fd.as_fd(), relative, HANDLE))
            .map_err(|errno| Failure::of_directory(&path, errno))
            .and_then(|fd| Self::adopt(fd, path.into(), self.version))
    }

    /// Makes a directory in this one, and opens it.
    ///
    /// # Errors
    /// [`AlreadyExists`](ErrorKind::AlreadyExists): a namesake is never adopted.
    pub fn create(&self, component: impl AsRef<OsStr>) -> Result<Self> {
        let name = self.checked(component.as_ref())?;
        rustix::fs::mkdirat(&self.fd, name, Mode::from_raw_mode(0o755))
            .map_err(|errno| Failure::of_directory(self.join(name), errno))?;
        self.open_made(name).inspect_err(|_| {
            // Ours, and of no use to anybody; the failure to open it is what gets reported.
            let _ = self.remove_child(name);
        })
    }

    /// Opens one that was just made, for reading where the umask lets us: a note is left faster on it.
    fn open_made(&self, name: &OsStr) -> Result<Self> {
        match beneath::open(self.fd.as_fd(), name.as_ref(), OFlags::RDONLY | OFlags::DIRECTORY) {
            Ok(fd) => Self::adopt(fd, self.join(name).into(), self.version),
            Err(_) => self.open_beneath(name),
        }
    }

    /// Removes a directory in this one, which has to be empty of members and of directories.
    ///
    /// # Errors
    /// [`Busy`](ErrorKind::Busy), [`NotFound`](ErrorKind::NotFound).
    pub fn remove_child(&self, component: impl AsRef<OsStr>) -> Result<()> {
        let name = self.checked(component.as_ref())?;
        self.with_access(|| rustix::fs::unlinkat(&self.fd, name, AtFlags::REMOVEDIR))
            .map_err(|errno| Failure::of_directory(self.join(name), errno))
    }

    /// The names of the directories in this one; none once it was removed.
    pub fn subdirectories(&self) -> Result<Vec<OsString>> {
        match self.with_access(|| self.list()) {
            Err(Errno::NOENT | Errno::NODEV) => Ok(Vec::new()),
            listed => listed.map_err(|errno| Failure::of_directory(&*self.path, errno)),
        }
    }

    /// The groups in this one, by the directories whose names make one.
    ///
    /// # Errors
    /// [`Gone`](ErrorKind::Gone): what was removed would list as what is empty does.
    pub fn groups(&self) -> Result<Vec<GroupName>> {
        let names = self.subdirectories()?;
        if names.is_empty() && self.is_gone() {
            return Err(Failure::new(&*self.path, ErrorKind::Gone));
        }
        Ok(names.iter().filter_map(|name| name.to_str()?.parse().ok()).collect())
    }

    /// The groups in this one with their cgroup ids; those that vanish meanwhile are skipped.
    pub fn identities(&self) -> Result<Vec<(GroupName, Identity)>> {
        let identity = |name: GroupName| {
            let inode = self.open_beneath(name.as_str()).and_then(|dir| dir.inode()).ok()?;
            Some((name, Identity::Cgroup(inode)))
        };
        Ok(self.groups()?.into_iter().filter_map(identity).collect())
    }

    /// The cgroup's id: the directory's inode number.
    pub fn inode(&self) -> Result<u64> {
        let stat = rustix::fs::fstat(&self.fd);
        stat.map(|stat| stat.st_ino).map_err(|errno| Failure::of_directory(&*self.path, errno))
    }

    /// Whether the group was removed, even if one of the same name exists again.
    pub fn is_gone(&self) -> bool {
        // Every group of either version has this file, and it cannot be removed.
        matches!(self.stat("cgroup.procs"), Err(Errno::NOENT | Errno::NODEV))
    }

    /// Tells a read-only mount and a directory of another user apart, which look alike to mkdir.
    ///
    /// # Errors
    /// With `EROFS`, or with `EACCES` or `EPERM`. What access(2) cannot tell is none.
    pub fn check_writable(&self) -> Result<()> {
        match rustix::fs::accessat(&self.fd, ".", rustix::fs::Access::WRITE_OK, AtFlags::EACCESS) {
            Err(errno @ (Errno::ACCESS | Errno::PERM | Errno::ROFS)) => {
                Err(Failure::of_directory(&*self.path, errno))
            }
            Ok(()) | Err(_) => Ok(()),
        }
    }

    /// Where it was opened, for messages. To act on it, use the handle.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// A path to this very directory for code that takes paths; good while this handle is open.
    pub fn handle_path(&self) -> PathBuf {
        PathBuf::from(format!("/proc/self/fd/{}", self.fd.as_raw_fd()))
    }

    /// Which file system it is on.
    pub fn version(&self) -> Version {
        self.version
    }

    /// Takes an open directory once it is known to be on cgroupfs.
    fn adopt(fd: OwnedFd, path: Arc<Path>, version: Version) -> Result<Self> {
        match rustix::fs::fstatfs(&fd) {
            // The field's type differs between architectures; both magic numbers fit all of them.
            Ok(stat) if u64::try_from(stat.f_type) == Ok(version.magic()) => {
                Ok(Self { fd: Arc::new(fd), path, version })
            }
            Ok(_) => Err(Failure::new(&*path, ErrorKind::NotCgroupfs)),
            Err(errno) => Err(Failure::of_directory(&*path, errno)),
        }
    }

    fn list(&self) -> rustix::io::Result<Vec<OsString>> {
        // cgroupfs counts directories in the link count, as other file systems do.
        if rustix::fs::fstat(&self.fd)?.st_nlink == 2 {
            return Ok(Vec::new());
        }
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let listing = rustix::fs::openat(&self.fd, c".", flags, Mode::empty())?;
        let mut buffer = vec![MaybeUninit::uninit(); 8 * 1024];
        let mut entries = RawDir::new(&listing, &mut buffer);
        let mut names = Vec::new();
        while let Some(entry) = entries.next() {
            let entry = entry?;
            let name = entry.file_name().to_bytes();
            if entry.file_type() == FileType::Directory && !matches!(name, b"." | b"..") {
                names.push(OsStr::from_bytes(name).to_owned());
            }
        }
        Ok(names)
    }

    /// What is there by that name.
    fn stat(&self, name: &str) -> rustix::io::Result<Stat> {
        self.with_access(|| rustix::fs::statat(&self.fd, name, AtFlags::SYMLINK_NOFOLLOW))
    }

    /// Does something in this directory. Where that is denied, ourselves are given the right to list, enter and
    /// change it, which a program of the same user may have taken away to escape its end, and it is done again.
    fn with_access<T>(
        &self,
        mut act: impl FnMut() -> rustix::io::Result<T>,
    ) -> rustix::io::Result<T> {
        match act() {
            Err(Errno::ACCESS) if self.restore_access() => act(),
            done => done,
        }
    }

    /// Whether that worked: only the owner may.
    fn restore_access(&self) -> bool {
        let open_up = |mode: Mode| rustix::fs::chmod(self.handle_path(), mode | Mode::RWXU);
        rustix::fs::fstat(&self.fd)
            .and_then(|stat| open_up(Mode::from_raw_mode(stat.st_mode)))
            .is_ok()
    }

    /// A name of one component.
    fn checked<'a>(&self, name: &'a OsStr) -> Result<&'a OsStr> {
        match name.as_bytes() {
            b"" | b"." | b".." => Err(Failure::new(self.join(name), ErrorKind::InvalidInput)),
            bytes if bytes.contains(&b'/') => {
                Err(Failure::new(self.join(name), ErrorKind::InvalidInput))
            }
            _ => Ok(name),
        }
    }

    fn join(&self, relative: impl AsRef<Path>) -> PathBuf {
        let relative = relative.as_ref();
        if relative.as_os_str().is_empty() {
            self.path.to_path_buf()
        } else {
            self.path.join(relative)
        }
    }
}

/// For `clone3(CLONE_INTO_CGROUP)`, which takes such a handle.
impl AsRawFd for Dir {
    fn as_raw_fd(&self) -> RawFd {
        self.fd.as_raw_fd()
    }
}

impl AsFd for Dir {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}
