//! Why something beneath a group directory failed: which path, which errno, and what that means.

use std::fmt;
use std::path::{Path, PathBuf};

use containment_core::{Device, Error, ErrorKind, Operation};
use rustix::io::Errno;

use crate::malformed::Malformed;

/// `Result` with a [`Failure`].
pub type Result<T, E = Failure> = std::result::Result<T, E>;

/// A failed access to cgroupfs. It becomes the project's error with [`during`](Self::during); the
/// caller adds the group and the backend.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    path: PathBuf,
    kind: ErrorKind,
    errno: Option<Errno>,
    malformed: Option<Malformed>,
}

impl Failure {
    /// A failure that no system call reported.
    pub(super) fn new(path: impl Into<PathBuf>, kind: ErrorKind) -> Self {
        Self { path: path.into(), kind, errno: None, malformed: None }
    }

    /// A failed call on a directory.
    pub(super) fn of_directory(path: impl Into<PathBuf>, errno: Errno) -> Self {
        let kind = match errno {
            Errno::NOENT => ErrorKind::NotFound,
            Errno::EXIST => ErrorKind::AlreadyExists,
            _ => kind(errno),
        };
        Self { path: path.into(), kind, errno: Some(errno), malformed: None }
    }

    /// A failed call on a file of the group; `gone` says whether the group itself was removed.
    pub(super) fn of_file(path: impl Into<PathBuf>, errno: Errno, gone: bool) -> Self {
        let kind = match errno {
            Errno::NOENT if gone => ErrorKind::Gone,
            // The group is there: its kernel or its controllers lack the file.
            Errno::NOENT => ErrorKind::Unsupported,
            _ => kind(errno),
        };
        Self { path: path.into(), kind, errno: Some(errno), malformed: None }
    }

    /// A file that was read and not understood.
    pub(super) fn of_text(path: impl Into<PathBuf>, malformed: Malformed) -> Self {
        let failure = Self::new(path, ErrorKind::Malformed);
        Self { malformed: Some(malformed), ..failure }
    }

    /// The file or directory that it was about.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// What it means.
    pub fn kind(&self) -> ErrorKind {
        self.kind
    }

    /// The errno, where a system call failed.
    pub fn errno(&self) -> Option<i32> {
        self.errno.map(Errno::raw_os_error)
    }

    /// Whether the mount is what refuses: it is read-only.
    pub fn is_read_only(&self) -> bool {
        self.errno == Some(Errno::ROFS)
    }

    /// Whether the object was removed or never was: in a walk over a live tree that is no error.
    pub fn is_gone(&self) -> bool {
        matches!(self.kind, ErrorKind::Gone | ErrorKind::NotFound)
    }

    /// The project's error, for what was being done.
    pub fn during(self, operation: Operation) -> Error {
        let error = Error::new(self.kind, operation);
        let error = match self.malformed {
            Some(malformed) => error
                .because(format!("{}: {malformed}", self.path.display()))
                .advise("report it with the file's text and the kernel's release"),
            None => error,
        };
        let error = error.with_path(self.path);
        match self.errno {
            Some(errno) => error.with_errno(errno.raw_os_error()),
            None => error,
        }
    }
}

/// What an errno of cgroupfs means, file or directory.
fn kind(errno: Errno) -> ErrorKind {
    match errno {
        Errno::NODEV => ErrorKind::Gone,
        Errno::BUSY | Errno::NOTEMPTY => ErrorKind::Busy,
        Errno::ACCESS | Errno::PERM | Errno::ROFS => ErrorKind::PermissionDenied,
        Errno::OPNOTSUPP => ErrorKind::DomainInvalid,
        Errno::NAMETOOLONG => ErrorKind::InvalidInput,
        // A symbolic link, a mount or a file in the way: cgroupfs makes none of them there.
        Errno::LOOP | Errno::XDEV | Errno::NOTDIR => ErrorKind::NotCgroupfs,
        _ => ErrorKind::System,
    }
}

/// What a refused limit of a device means: the kernel says `ENODEV` of one that there is not, and of a
/// partition.
pub fn no_disk(error: Error, device: Device) -> Error {
    if error.errno() != Some(Errno::NODEV.raw_os_error()) {
        return error;
    }
    error
        .with_kind(ErrorKind::InvalidInput)
        .because(format!("{device} is no disk"))
        .advise("name a whole disk, not a partition; lsblk shows them")
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: ", self.path.display())?;
        match (self.errno, self.malformed) {
            (Some(errno), _) => errno.fmt(f),
            (None, Some(malformed)) => malformed.fmt(f),
            (None, None) => fmt::Debug::fmt(&self.kind, f),
        }
    }
}

impl std::error::Error for Failure {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_becomes_an_error_with_path_and_errno() {
        let error = Failure::of_directory("/g/a", Errno::BUSY).during(Operation::Remove);
        assert_eq!(error.kind(), ErrorKind::Busy);
        assert_eq!(error.path(), Some(Path::new("/g/a")));
        assert_eq!(error.errno(), Some(libc::EBUSY));
        assert_eq!(error.operation(), Operation::Remove);
    }

    #[test]
    fn a_text_that_is_not_understood_is_named_with_its_line() {
        let failure = Failure::of_text("/g/a/io.stat", Malformed { line: 3 });
        assert_eq!(failure.to_string(), "/g/a/io.stat: line 3 is not understood");
        let error = failure.during(Operation::Usage).with_group("a");
        assert_eq!(error.kind(), ErrorKind::Malformed);
        let line = "failed to read the usage of group a: /g/a/io.stat: line 3 is not understood";
        assert_eq!(error.to_string(), line);
    }

    #[test]
    fn a_limit_of_what_is_no_disk_is_told_from_other_refusals() {
        let refused = |errno: Errno| {
            let error = Failure::of_file("/g/a/io.max", errno, false).during(Operation::SetLimits);
            no_disk(error, Device { major: 8, minor: 1 })
        };
        let error = refused(Errno::NODEV);
        assert_eq!(error.kind(), ErrorKind::InvalidInput);
        assert!(error.to_string().contains("8:1 is no disk"), "{error}");
        assert!(error.remedy().is_some());
        assert_eq!(refused(Errno::ACCESS).kind(), ErrorKind::PermissionDenied);
    }

    #[test]
    fn a_missing_file_is_told_from_a_removed_group() {
        assert_eq!(Failure::of_file("f", Errno::NOENT, true).kind(), ErrorKind::Gone);
        assert_eq!(Failure::of_file("f", Errno::NOENT, false).kind(), ErrorKind::Unsupported);
        assert!(!Failure::of_file("f", Errno::NOENT, false).is_gone());
        assert!(Failure::of_file("f", Errno::NODEV, false).is_gone());
    }
}
