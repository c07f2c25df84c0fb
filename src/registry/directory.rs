//! The state directory: ours alone, acted on by its handle, its files changed at once or not at all, but for
//! what is written behind the text that is there (`extend`).
//!
//! What is found in it is believed only as far as its permissions go: it has to belong to the effective
//! user, and nobody else may write to it. Links in it are never followed.

use std::ffi::OsString;
use std::fmt::Write as _;
use std::fs::File;
use std::io::{self, Read as _, Write as _};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use containment_core::{Error, ErrorKind, Operation, Result};
use rustix::fs::{AtFlags, CWD, Dir, FileType, Mode, OFlags, RenameFlags, Stat};
use rustix::io::Errno;
use rustix::process::geteuid;

/// An open state directory. Clones share the one descriptor.
#[derive(Debug, Clone)]
pub(crate) struct StateDir {
    fd: Arc<OwnedFd>,
    path: Arc<Path>,
}

/// The most that a file in it may hold.
const LONGEST: u64 = 1 << 20;

/// By here an entry has told its mark: a name is at most 255 bytes long.
const MARKED: usize = 1024;

impl StateDir {
    /// Opens the directory that was named, or the first default one that can be used; makes it where it
    /// is missing.
    pub(crate) fn open(named: Option<&Path>) -> Result<Self> {
        match named {
            Some(path) => Self::open_at(path),
            None => Self::open_default(),
        }
    }

    fn open_default() -> Result<Self> {
        let mut first = None;
        for path in defaults() {
            match Self::open_at(&path) {
                Ok(dir) => return Ok(dir),
                Err(error) => first = first.or(Some(error)),
            }
        }
        Err(first.unwrap_or_else(|| Error::new(ErrorKind::NotFound, Operation::Register)))
    }

    fn open_at(path: &Path) -> Result<Self> {
        let failed = |errno: Errno| failure(errno, path);
        match rustix::fs::mkdir(path, Mode::RWXU) {
            Ok(()) | Err(Errno::EXIST) => {}
            Err(errno) => return Err(failed(errno)),
        }
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let fd = rustix::fs::open(path, flags, Mode::empty()).map_err(failed)?;
        Self::adopt(fd, path)
    }

    /// Takes over an open directory.
    pub(crate) fn adopt(fd: OwnedFd, path: &Path) -> Result<Self> {
        let stat = rustix::fs::fstat(&fd).map_err(|errno| failure(errno, path))?;
        if let Some(why) = distrust(&stat) {
            return Err(Error::new(ErrorKind::PermissionDenied, Operation::Register)
                .with_path(path)
                .because(why)
                .advise(REMEDY));
        }
        Ok(Self { fd: Arc::new(fd), path: path.into() })
    }

    /// Where it was opened, for messages.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Makes the file `name` with this text, at once.
    ///
    /// # Errors
    /// [`AlreadyExists`](ErrorKind::AlreadyExists).
    pub(crate) fn create(&self, name: &str, text: &[u8]) -> Result<()> {
        self.with_temporary(text, |temporary| {
            let how = RenameFlags::NOREPLACE;
            match rustix::fs::renameat_with(&self.fd, temporary, &self.fd, name, how) {
                // A file system that replaces whatever there is.
                Err(Errno::INVAL | Errno::NOSYS) => {
                    rustix::fs::linkat(&self.fd, temporary, &self.fd, name, AtFlags::empty())?;
                    rustix::fs::unlinkat(&self.fd, temporary, AtFlags::empty())
                }
                renamed => renamed,
            }
        })
        .map_err(|errno| self.failure(errno, name))
    }

    /// Writes more text at the end of the file `name`, which is at `end`. Who reads it meanwhile, or after we
    /// were killed here, may see a part of that.
    ///
    /// # Errors
    /// With `ENOENT` where there is no such file with `mark` in it, or it was replaced.
    pub(crate) fn extend(&self, name: &str, mark: &str, end: u64, text: &[u8]) -> Result<()> {
        let failed = |errno| self.failure(errno, name);
        let file = self.open_marked(name, mark).map_err(failed)?;
        let length = rustix::fs::fstat(&file).map_err(failed)?.st_size;
        if u64::try_from(length) != Ok(end) {
            return Err(failed(Errno::NOENT));
        }
        file.write_all_at(text, end).map_err(|error| failed(errno_of(&error)))
    }

    /// Removes the file `name` if it has `mark` in it: the name may have been given to another group.
    pub(crate) fn remove_marked(&self, name: &str, mark: &str) -> Result<()> {
        match self.open_marked(name, mark) {
            // No entry is a link.
            Ok(_) | Err(Errno::LOOP) => self.remove(name),
            Err(Errno::NOENT) => Ok(()),
            Err(errno) => Err(self.failure(errno, name)),
        }
    }

    fn open_marked(&self, name: &str, mark: &str) -> rustix::io::Result<File> {
        let file = File::from(self.open_file(name, false)?);
        let mut start = [0; MARKED];
        let length = file.read_at(&mut start, 0).map_err(|error| errno_of(&error))?;
        let is_marked = start[..length].windows(mark.len()).any(|window| window == mark.as_bytes());
        if is_marked { Ok(file) } else { Err(Errno::NOENT) }
    }

    /// Gives the file `name` this text, at once.
    pub(crate) fn replace(&self, name: &str, text: &[u8]) -> Result<()> {
        self.with_temporary(text, |temporary| {
            rustix::fs::renameat(&self.fd, temporary, &self.fd, name)
        })
        .map_err(|errno| self.failure(errno, name))
    }

    /// Gives the file `name` this text, at once, if there is such a file: one that was removed meanwhile is
    /// not made again.
    pub(crate) fn update(&self, name: &str, text: &[u8]) -> Result<()> {
        let exchanged = self.with_temporary(text, |temporary| {
            let how = RenameFlags::EXCHANGE;
            match rustix::fs::renameat_with(&self.fd, temporary, &self.fd, name, how) {
                Ok(()) => rustix::fs::unlinkat(&self.fd, temporary, AtFlags::empty()),
                // A file system that cannot exchange: the moment in between is accepted.
                Err(Errno::INVAL | Errno::NOSYS) => {
                    rustix::fs::statat(&self.fd, name, AtFlags::SYMLINK_NOFOLLOW)?;
                    rustix::fs::renameat(&self.fd, temporary, &self.fd, name)
                }
                Err(errno) => Err(errno),
            }
        });
        match exchanged {
            Ok(()) | Err(Errno::NOENT) => Ok(()),
            Err(errno) => Err(self.failure(errno, name)),
        }
    }

    /// The text of the file `name`; `None` where there is none.
    pub(crate) fn read(&self, name: &str) -> Result<Option<Vec<u8>>> {
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let file = match rustix::fs::openat(&self.fd, name, flags, Mode::empty()) {
            Ok(file) => file,
            Err(Errno::NOENT) => return Ok(None),
            Err(errno) => return Err(self.failure(errno, name)),
        };
        let stat = rustix::fs::fstat(&file).map_err(|errno| self.failure(errno, name))?;
        let plain = FileType::from_raw_mode(stat.st_mode) == FileType::RegularFile;
        if !plain || distrust(&stat).is_some() {
            return Err(Error::new(ErrorKind::PermissionDenied, Operation::Register)
                .with_path(self.path.join(name))
                .because("it is no plain file that is ours alone")
                .advise("remove it, if nothing of yours made it"));
        }
        let mut text = Vec::new();
        let read = File::from(file).take(LONGEST).read_to_end(&mut text);
        read.map_err(|error| self.failure(errno_of(&error), name))?;
        Ok(Some(text))
    }

    /// Removes the file `name`; it may be gone.
    pub(crate) fn remove(&self, name: &str) -> Result<()> {
        match rustix::fs::unlinkat(&self.fd, name, AtFlags::empty()) {
            Ok(()) | Err(Errno::NOENT) => Ok(()),
            Err(errno) => Err(self.failure(errno, name)),
        }
    }

    /// Opens the file `name` for reading and writing; makes it where `make` says so.
    pub(crate) fn open_file(&self, name: &str, make: bool) -> rustix::io::Result<OwnedFd> {
        let make = if make { OFlags::CREATE } else { OFlags::empty() };
        let flags = OFlags::RDWR | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC | make;
        rustix::fs::openat(&self.fd, name, flags, Mode::RUSR | Mode::WUSR)
    }

    /// The names of its files.
    pub(crate) fn names(&self) -> Result<Vec<OsString>> {
        let failed = |errno| failure(errno, &self.path);
        let mut names = Vec::new();
        for entry in Dir::read_from(&self.fd).map_err(failed)? {
            let name = entry.map_err(failed)?.file_name().to_bytes().to_vec();
            if !matches!(&*name, b"." | b"..") {
                names.push(OsString::from_vec(name));
            }
        }
        names.sort_unstable();
        Ok(names)
    }

    /// Writes a file of a name that nobody else uses, and does `then` with it.
    fn with_temporary(
        &self,
        text: &[u8],
        then: impl FnOnce(&str) -> rustix::io::Result<()>,
    ) -> rustix::io::Result<()> {
        static SERIAL: AtomicU32 = AtomicU32::new(0);
        let serial = SERIAL.fetch_add(1, Ordering::Relaxed);
        let name = format!("{TEMPORARY}{}-{serial}", std::process::id());
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC;
        let mode = Mode::RUSR | Mode::WUSR;
        let file = match rustix::fs::openat(&self.fd, &*name, flags, mode) {
            // Of a process of this pid that was killed while it wrote.
            Err(Errno::EXIST) => {
                rustix::fs::unlinkat(&self.fd, &*name, AtFlags::empty())?;
                rustix::fs::openat(&self.fd, &*name, flags, mode)?
            }
            opened => opened?,
        };
        let written = File::from(file).write_all(text).map_err(|error| errno_of(&error));
        written.and_then(|()| then(&name)).inspect_err(|_| {
            // What went wrong first is what gets reported.
            let _ = rustix::fs::unlinkat(&self.fd, &*name, AtFlags::empty());
        })
    }

    /// The error of a failed call on the file `name`.
    pub(super) fn failure(&self, errno: Errno, name: &str) -> Error {
        failure(errno, &self.path.join(name))
    }
}

impl AsFd for StateDir {
    fn as_fd(&self) -> std::os::fd::BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

/// How the names of half-written files begin.
pub(super) const TEMPORARY: &str = ".new-";

const REMEDY: &str = "name a directory of your own with --state-dir DIR";

/// Why what has this owner and mode is not ours alone.
fn distrust(stat: &Stat) -> Option<&'static str> {
    if stat.st_uid != geteuid().as_raw() {
        return Some("it belongs to another user");
    }
    let others = Mode::WGRP | Mode::WOTH;
    Mode::from_raw_mode(stat.st_mode).intersects(others).then_some("others may write to it")
}

/// In this order: the user's runtime directory, where that is the user's own; root's; a temporary one.
fn defaults() -> Vec<PathBuf> {
    let uid = geteuid().as_raw();
    let runtime = std::env::var_os("XDG_RUNTIME_DIR").map(PathBuf::from);
    // With `sudo -E` it is somebody else's.
    let runtime = runtime.filter(|path| is_ours(path)).map(|path| path.join("contain"));
    let system = (uid == 0).then(|| PathBuf::from("/run/contain"));
    let temporary = PathBuf::from(format!("/tmp/contain-{uid}"));
    runtime.into_iter().chain(system).chain([temporary]).collect()
}

fn is_ours(path: &Path) -> bool {
    let stat = rustix::fs::statat(CWD, path, AtFlags::SYMLINK_NOFOLLOW);
    path.is_absolute() && stat.is_ok_and(|stat| distrust(&stat).is_none())
}

fn failure(errno: Errno, path: &Path) -> Error {
    let error = Error::from_errno(Operation::Register, errno.raw_os_error()).with_path(path);
    match errno {
        Errno::EXIST => error.with_kind(ErrorKind::AlreadyExists),
        Errno::NOSPC | Errno::DQUOT => {
            error.advise("free space there, or name another directory with --state-dir DIR")
        }
        Errno::ROFS => {
            error.advise("mount it writable, or name another directory with --state-dir DIR")
        }
        _ => error.advise(REMEDY),
    }
}

fn errno_of(error: &io::Error) -> Errno {
    Errno::from_io_error(error).unwrap_or(Errno::IO)
}

/// A name as one component of a path: what is no letter, digit, `-`, `_`, `.` or `+` is written by its
/// bytes; a long one ends in a number made from all of it.
pub(super) fn file_name(prefix: &str, name: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.+".contains(&byte);
    let mut text = prefix.to_owned();
    for byte in std::ffi::OsStr::new(name).as_bytes() {
        if plain(*byte) {
            text.push(char::from(*byte));
        } else {
            let _ = write!(text, "%{byte:02x}");
        }
    }
    if text.len() > 200 {
        let digest = fnv(name.as_bytes());
        text.truncate(180);
        let _ = write!(text, "~{digest:016x}");
    }
    text
}

/// FNV-1a (64 bits), to tell long names apart; the entry itself holds the whole name.
fn fnv(bytes: &[u8]) -> u64 {
    let mix = |hash: u64, byte: &u8| (hash ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3);
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, mix)
}
