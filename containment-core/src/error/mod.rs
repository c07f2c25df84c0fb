//! The one error type: what failed, on which object, why, and what to do.

mod kind;

use std::borrow::Cow;
use std::fmt;
use std::path::{Path, PathBuf};

use nix::errno::Errno;

use crate::{Backend, Pid};
pub use kind::{ErrorKind, Operation};

/// `Result` with this crate's [`Error`].
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// A failed operation. `Display` is one line, "failed to OPERATION GROUP: CAUSE"; the path, the pid,
/// the errno and the remedy are fields, which the alternate form (`{:#}`) adds to the line.
///
/// ```
/// use containment_core::{Backend, Error, ErrorKind, Operation, Pid};
///
/// let error = Error::from_errno(Operation::Create, 13)
///     .with_backend(Backend::CgroupV2)
///     .with_group("build-42")
///     .with_path("/sys/fs/cgroup/build-42")
///     .advise("have the group around it delegated to you");
/// assert_eq!(error.kind(), ErrorKind::PermissionDenied);
/// assert_eq!((error.operation(), error.errno()), (Operation::Create, Some(13)));
/// assert_eq!((error.backend(), error.group()), (Some(Backend::CgroupV2), Some("build-42")));
/// assert_eq!(error.reason().to_string(), "Permission denied (EACCES)");
/// assert_eq!(error.why(), "Permission denied (EACCES): /sys/fs/cgroup/build-42");
/// assert_eq!(error.to_string(), "failed to create group build-42: Permission denied (EACCES)");
/// assert_eq!(error.located(), format!("{error}: {}", error.path().unwrap().display()));
/// assert_eq!(format!("{error:#}"), format!("{}; {}", error.located(), error.remedy().unwrap()));
///
/// let gone = Error::new(ErrorKind::Gone, Operation::Kill).with_pid(Pid::current());
/// assert!(gone.is_gone() && gone.pid() == Some(Pid::current()) && !gone.is_like(&error));
/// let late = gone.with_kind(ErrorKind::TimedOut).during(Operation::AwaitEmpty).because("it sleeps");
/// assert_eq!(late.reason().to_string(), "it sleeps");
///
/// let io = std::io::Error::from_raw_os_error(2);
/// let system = Error::from_io(Operation::Open, &io);
/// assert_eq!((system.kind(), system.errno()), (ErrorKind::System, Some(2)));
/// assert_eq!(system.with_errno(5).errno(), Some(5));
/// ```
pub struct Error(Box<Inner>);

struct Inner {
    kind: ErrorKind,
    operation: Operation,
    backend: Option<Backend>,
    group: Option<String>,
    path: Option<PathBuf>,
    pid: Option<Pid>,
    errno: Option<i32>,
    cause: Option<Cow<'static, str>>,
    remedy: Option<Cow<'static, str>>,
}

impl Error {
    /// An error of this kind, in this operation.
    pub fn new(kind: ErrorKind, operation: Operation) -> Self {
        Self(Box::new(Inner {
            kind,
            operation,
            backend: None,
            group: None,
            path: None,
            pid: None,
            errno: None,
            cause: None,
            remedy: None,
        }))
    }

    /// An error out of a failed system call; its kind follows from the errno.
    pub fn from_errno(operation: Operation, errno: i32) -> Self {
        let mut error = Self::new(ErrorKind::from_errno(errno), operation);
        error.0.errno = Some(errno);
        error
    }

    /// An error out of a failed call of the standard library or a system-call crate.
    pub fn from_io(operation: Operation, error: &std::io::Error) -> Self {
        if let Some(errno) = error.raw_os_error() {
            return Self::from_errno(operation, errno);
        }
        let kind = match error.kind() {
            std::io::ErrorKind::InvalidData => ErrorKind::Malformed,
            std::io::ErrorKind::InvalidInput => ErrorKind::InvalidInput,
            _ => ErrorKind::System,
        };
        Self::new(kind, operation).because(error.to_string())
    }

    /// Sets the kind.
    #[must_use]
    pub fn with_kind(mut self, kind: ErrorKind) -> Self {
        self.0.kind = kind;
        self
    }

    /// Sets the operation.
    #[must_use]
    pub fn during(mut self, operation: Operation) -> Self {
        self.0.operation = operation;
        self
    }

    /// Says which backend it was.
    #[must_use]
    pub fn with_backend(mut self, backend: Backend) -> Self {
        self.0.backend = Some(backend);
        self
    }

    /// Says which group it was.
    #[must_use]
    pub fn with_group(mut self, group: impl fmt::Display) -> Self {
        self.0.group = Some(group.to_string());
        self
    }

    /// Says which file or directory it was.
    #[must_use]
    pub fn with_path(mut self, path: impl Into<PathBuf>) -> Self {
        self.0.path = Some(path.into());
        self
    }

    /// Says which process it was.
    #[must_use]
    pub fn with_pid(mut self, pid: Pid) -> Self {
        self.0.pid = Some(pid);
        self
    }

    /// Says which errno it was, leaving the kind.
    #[must_use]
    pub fn with_errno(mut self, errno: i32) -> Self {
        self.0.errno = Some(errno);
        self
    }

    /// Says why, in words that go before the errno's own.
    #[must_use]
    pub fn because(mut self, cause: impl Into<Cow<'static, str>>) -> Self {
        self.0.cause = Some(cause.into());
        self
    }

    /// Says what to do.
    #[must_use]
    pub fn advise(mut self, remedy: impl Into<Cow<'static, str>>) -> Self {
        self.0.remedy = Some(remedy.into());
        self
    }

    /// The sort of failure.
    pub fn kind(&self) -> ErrorKind {
        self.0.kind
    }

    /// What was being done.
    pub fn operation(&self) -> Operation {
        self.0.operation
    }

    /// The backend, where one was at work.
    pub fn backend(&self) -> Option<Backend> {
        self.0.backend
    }

    /// The group's name, where there was one.
    pub fn group(&self) -> Option<&str> {
        self.0.group.as_deref()
    }

    /// The file or directory that it was about.
    pub fn path(&self) -> Option<&Path> {
        self.0.path.as_deref()
    }

    /// The process that it was about.
    pub fn pid(&self) -> Option<Pid> {
        self.0.pid
    }

    /// The errno, where a system call failed.
    pub fn errno(&self) -> Option<i32> {
        self.0.errno
    }

    /// What to do about it, where that is known.
    pub fn remedy(&self) -> Option<&str> {
        // Whatever was being done, it is these limits that stood in the way.
        match self.0.errno.map(Errno::from_raw) {
            Some(Errno::EMFILE) => Some("raise the limit on open files: ulimit -n"),
            Some(Errno::EAGAIN)
                if matches!(self.0.operation, Operation::Spawn | Operation::Place) =>
            {
                Some("raise the limit on processes: ulimit -u, or pids.max of a group around")
            }
            _ => self.0.remedy.as_deref(),
        }
    }

    /// Whether both say the same of the same object.
    pub fn is_like(&self, other: &Self) -> bool {
        let key = |e: &Inner| (e.kind, e.operation, e.pid, e.errno);
        key(&self.0) == key(&other.0)
            && self.0.group == other.0.group
            && self.0.path == other.0.path
    }

    /// Why, alone: the part of `Display` after the colon.
    pub fn reason(&self) -> impl fmt::Display + '_ {
        Reason(&self.0)
    }
}

struct Reason<'a>(&'a Inner);

impl fmt::Display for Reason<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let errno = self.0.errno.map(Errno::from_raw);
        match (&self.0.cause, errno) {
            (Some(cause), Some(errno)) => write!(f, "{cause}: {} ({errno:?})", errno.desc()),
            (Some(cause), None) => f.write_str(cause),
            (None, Some(errno)) => write!(f, "{} ({errno:?})", errno.desc()),
            (None, None) => f.write_str(self.0.kind.cause()),
        }
    }
}

impl Error {
    /// Whether what it was about is not there, or not any more.
    pub fn is_gone(&self) -> bool {
        matches!(self.kind(), ErrorKind::Gone | ErrorKind::NotFound)
    }

    /// The reason, and on which path, unless the reason names it: `Permission denied (EACCES): /run/x`.
    pub fn why(&self) -> String {
        let reason = self.reason().to_string();
        let path = self.unnamed_path(&reason);
        path.map_or(reason.clone(), |path| format!("{reason}: {path}"))
    }

    /// The line that `Display` gives, and on which path.
    pub fn located(&self) -> String {
        let path = self.unnamed_path(&self.reason().to_string());
        path.map_or(self.to_string(), |path| format!("{self}: {path}"))
    }

    fn unnamed_path(&self, reason: &str) -> Option<String> {
        self.path().map(|path| path.display().to_string()).filter(|path| !reason.contains(path))
    }

    /// On which object it was, unless the reason names it, and what to do.
    fn fmt_fields(&self, f: &mut fmt::Formatter<'_>, reason: &str) -> fmt::Result {
        if let Some(path) = self.unnamed_path(reason) {
            write!(f, ": {path}")?;
        }
        if let Some(pid) = self.pid() {
            write!(f, " (pid {pid})")?;
        }
        self.remedy().map_or(Ok(()), |remedy| write!(f, "; {remedy}"))
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "failed to {}", self.0.operation.phrase())?;
        match (&self.0.group, self.0.backend) {
            (Some(group), _) if self.0.operation == Operation::Probe => {
                write!(f, " the host for group {group}")?;
            }
            (Some(group), _) if self.0.operation == Operation::Select => {
                write!(f, " for group {group}")?;
            }
            (Some(group), _) => write!(f, " {group}")?,
            (None, Some(backend)) => write!(f, " ({backend})")?,
            // It is of all of them.
            (None, None) if self.0.operation == Operation::Register => f.write_str("s")?,
            (None, None) => {}
        }
        let reason = self.reason().to_string();
        write!(f, ": {reason}")?;
        if f.alternate() { self.fmt_fields(f, &reason) } else { Ok(()) }
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let inner = &self.0;
        f.debug_struct("Error")
            .field("kind", &inner.kind)
            .field("operation", &inner.operation)
            .field("backend", &inner.backend)
            .field("group", &inner.group)
            .field("path", &inner.path)
            .field("pid", &inner.pid)
            .field("errno", &inner.errno.map(Errno::from_raw))
            .field("cause", &inner.cause)
            .field("remedy", &inner.remedy)
            .finish()
    }
}

impl std::error::Error for Error {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_line_names_operation_group_and_cause_once() {
        let error = Error::from_errno(Operation::Create, Errno::EACCES as i32)
            .with_backend(Backend::CgroupV2)
            .with_group("build-42");
        assert_eq!(
            error.to_string(),
            "failed to create group build-42: Permission denied (EACCES)"
        );
        assert_eq!(error.kind(), ErrorKind::PermissionDenied);
        assert!(std::error::Error::source(&error).is_none());
    }

    #[test]
    fn the_alternate_line_says_on_which_object_and_what_to_do_too() {
        let error = Error::from_errno(Operation::Register, Errno::ENOSPC as i32)
            .with_path("/run/contain/group-x")
            .advise("free space there");
        assert_eq!(
            format!("{error:#}"),
            "failed to use the record of groups: No space left on device (ENOSPC): \
             /run/contain/group-x; free space there"
        );
        let error = Error::new(ErrorKind::NotOwner, Operation::Kill)
            .with_path("/x")
            .with_pid(Pid::current())
            .because("/x is not ours");
        let pid = Pid::current();
        assert_eq!(
            format!("{error:#}"),
            format!("failed to kill group: /x is not ours (pid {pid})")
        );
    }

    #[test]
    fn a_limit_of_the_process_is_named_whatever_was_being_done() {
        let advised = |errno: Errno, operation| {
            let error = Error::from_errno(operation, errno as i32).advise("check the path");
            error.remedy().map(str::to_owned)
        };
        let files = advised(Errno::EMFILE, Operation::Probe);
        assert!(files.is_some_and(|remedy| remedy.contains("ulimit -n")));
        let processes = advised(Errno::EAGAIN, Operation::Spawn);
        assert!(processes.is_some_and(|remedy| remedy.contains("ulimit -u")));
        assert_eq!(advised(Errno::ENOENT, Operation::Probe).as_deref(), Some("check the path"));
    }

    #[test]
    fn without_an_errno_the_kind_speaks() {
        let error = Error::new(ErrorKind::Gone, Operation::Kill).with_group("a/b");
        assert_eq!(error.to_string(), "failed to kill group a/b: it was removed");
    }
}
