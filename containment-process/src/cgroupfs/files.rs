//! The files of a group: opened beneath its directory, read whole, written in one call.

use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

use rustix::fs::{AtFlags, Mode, OFlags};
use rustix::io::{Errno, retry_on_intr};

use super::parse::{Listing, Parsed};
use super::{Dir, Failure, Result, beneath};
use crate::proc::text;

/// What a file is opened for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Access {
    /// Reading; also for `poll` on `cgroup.events`.
    Read,
    /// Writing; also for a child that moves itself in.
    Write,
}

impl Access {
    fn flags(self) -> OFlags {
        match self {
            Self::Read => OFlags::RDONLY,
            Self::Write => OFlags::WRONLY,
        }
    }

    /// The owner's permission that it takes.
    fn permission(self) -> Mode {
        match self {
            Self::Read => Mode::RUSR,
            Self::Write => Mode::WUSR,
        }
    }
}

/// Errors on files: [`Gone`](containment_core::ErrorKind::Gone) when the group was removed,
/// [`Unsupported`](containment_core::ErrorKind::Unsupported) when it lacks the file.
impl Dir {
    /// Opens a file of the group. It is never created.
    ///
    /// A file of our own that is denied to us is made accessible first: a program of the same user
    /// may have shut it to escape its end.
    pub fn open_file(&self, file: &str, access: Access) -> Result<OwnedFd> {
        match self.try_open(file, access) {
            Err(Errno::ACCESS) if self.unlock(file, access) => self.try_open(file, access),
            opened => opened,
        }
        .map_err(|errno| self.file_failure(file, errno))
    }

    /// The same for reading; `None` where there is no such file, whatever the reason.
    pub(super) fn open_if_any(&self, file: &str) -> Result<Option<OwnedFd>> {
        match self.try_open(file, Access::Read) {
            Ok(open) => Ok(Some(open)),
            Err(Errno::NOENT | Errno::OPNOTSUPP) => Ok(None),
            Err(_) => self.open_file(file, Access::Read).map(Some),
        }
    }

    /// The whole text of a file.
    pub fn read(&self, file: &str) -> Result<Vec<u8>> {
        text::read_records(self.open_file(file, Access::Read)?)
            .map_err(|errno| self.file_failure(file, errno))
    }

    /// What a file says.
    ///
    /// # Errors
    /// [`Malformed`](containment_core::ErrorKind::Malformed), naming the file and the line.
    pub fn parse<T>(&self, file: &str, parse: impl FnOnce(&[u8]) -> Parsed<T>) -> Result<T> {
        self.understand(file, &self.read(file)?, parse)
    }

    /// What a text that was read off a file says.
    ///
    /// # Errors
    /// As those of [`parse`](Self::parse).
    pub fn understand<T>(
        &self,
        file: &str,
        text: &[u8],
        parse: impl FnOnce(&[u8]) -> Parsed<T>,
    ) -> Result<T> {
        parse(text).map_err(|malformed| Failure::of_text(self.join(file), malformed))
    }

    /// Writes to a file, in a single call.
    pub fn write(&self, file: &str, value: impl AsRef<[u8]>) -> Result<()> {
        let value = value.as_ref();
        let opened = self.open_file(file, Access::Write)?;
        match retry_on_intr(|| rustix::io::write(&opened, value)) {
            Ok(length) if length == value.len() => Ok(()),
            // The kernel takes a value whole or not at all; half of one would mean another value.
            Ok(_) => Err(self.file_failure(file, Errno::IO)),
            Err(errno) => Err(self.file_failure(file, errno)),
        }
    }

    /// The pids in `cgroup.procs`, `cgroup.threads` or `tasks`.
    ///
    /// # Errors
    /// [`DomainInvalid`](containment_core::ErrorKind::DomainInvalid) for `cgroup.procs` of a threaded
    /// group: `cgroup.threads` can be read there.
    pub fn pids(&self, file: &str) -> Result<Listing> {
        self.parse(file, Listing::parse)
    }

    /// Whether the group has this file.
    pub fn exists(&self, file: &str) -> bool {
        self.stat(file).is_ok()
    }

    fn try_open(&self, file: &str, access: Access) -> rustix::io::Result<OwnedFd> {
        self.with_access(|| beneath::open(self.as_fd(), Path::new(file), access.flags()))
    }

    /// Adds the owner's permission. Whether that worked: only the owner may.
    fn unlock(&self, file: &str, access: Access) -> bool {
        self.stat(file).is_ok_and(|stat| {
            let mode = Mode::from_raw_mode(stat.st_mode) | access.permission();
            rustix::fs::chmodat(self, file, mode, AtFlags::empty()).is_ok()
        })
    }

    pub(super) fn file_failure(&self, file: &str, errno: Errno) -> Failure {
        Failure::of_file(self.join(file), errno, errno == Errno::NOENT && self.is_gone())
    }
}
