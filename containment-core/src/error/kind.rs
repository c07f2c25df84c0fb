//! What sort of failure it is, and in which operation: what a program decides by, and the words for a person.

use nix::errno::Errno;

/// What sort of failure it is: the part that a program decides by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ErrorKind {
    /// The backend does not have this operation.
    Unsupported,
    /// The backend cannot be used on this host, or not by this user.
    Unusable,
    /// No usable backend gives what was required.
    RequirementUnmet,
    /// A group of that name exists.
    AlreadyExists,
    /// No group of that name or id exists.
    NotFound,
    /// The group was removed, by this handle or by somebody else.
    Gone,
    /// The group still has members or sub-groups.
    Busy,
    /// The group is frozen, so a process put into it would not run.
    Frozen,
    /// Controllers are enabled for the children of this group, so it may hold no process (`EBUSY`).
    InternalProcesses,
    /// The cgroup is of type "domain invalid" or threaded (`EOPNOTSUPP`).
    DomainInvalid,
    /// The group was killed while the program was being started; the program did not run.
    Killed,
    /// The group holds the caller or one of its ancestors.
    HoldsCaller,
    /// The file system found there is not the one expected.
    NotCgroupfs,
    /// A file of the kernel holds what no kernel is known to write.
    Malformed,
    /// No right to do it.
    PermissionDenied,
    /// A value is not acceptable.
    InvalidInput,
    /// The program was not found.
    ProgramNotFound,
    /// The program was found and cannot be executed.
    ProgramNotExecutable,
    /// Somebody else reaped the child, or SIGCHLD is ignored: its exit status is lost.
    StatusLost,
    /// The process that holds the group together is gone.
    KeeperLost,
    /// It did not happen in time.
    TimedOut,
    /// The caller is not the process that made the guard.
    NotOwner,
    /// Whoever was to do it stopped before it was done.
    Abandoned,
    /// Any other failure of the system; see [`Error::errno`](super::Error::errno).
    System,
}

/// What was being done.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Operation {
    /// Finding out whether a backend works here.
    Probe,
    /// Choosing a backend.
    Select,
    /// Making a group.
    Create,
    /// Opening an existing group.
    Open,
    /// Listing groups.
    List,
    /// Putting a new process into a group.
    Place,
    /// Starting a program.
    Spawn,
    /// Waiting for a program.
    Wait,
    /// Waiting until nothing lives in a group.
    AwaitEmpty,
    /// Moving a running process into a group.
    Attach,
    /// Listing members.
    Members,
    /// Reading whether a group has members.
    Populated,
    /// Sending a signal.
    Signal,
    /// Killing.
    Kill,
    /// Freezing.
    Freeze,
    /// Thawing.
    Thaw,
    /// Setting limits.
    SetLimits,
    /// Reading usage.
    Usage,
    /// Watching for a change.
    Watch,
    /// Reaping.
    Reap,
    /// Removing a group.
    Remove,
    /// Opening the file that is to tell how a group ended.
    Report,
    /// Using the record of groups in the state directory.
    Register,
    /// Mounting a hierarchy.
    Mount,
    /// Standing by as the helper of another process.
    Serve,
}

impl Operation {
    pub(super) fn phrase(self) -> &'static str {
        match self {
            Self::Probe => "probe",
            Self::Select => "select a backend",
            Self::Create => "create group",
            Self::Open => "open group",
            Self::List => "list groups",
            Self::Place => "place a process in group",
            Self::Spawn => "start a program in group",
            Self::Wait => "wait for a program in group",
            Self::AwaitEmpty => "wait for the end of group",
            Self::Attach => "attach a process to group",
            Self::Members => "list the members of group",
            Self::Populated => "read the population of group",
            Self::Signal => "signal group",
            Self::Kill => "kill group",
            Self::Freeze => "freeze group",
            Self::Thaw => "thaw group",
            Self::SetLimits => "set the limits of group",
            Self::Usage => "read the usage of group",
            Self::Watch => "watch group",
            Self::Reap => "reap the members of group",
            Self::Remove => "remove group",
            Self::Report => "open the report of group",
            Self::Register => "use the record of group",
            Self::Mount => "mount a hierarchy",
            Self::Serve => "serve as a helper",
        }
    }
}

impl ErrorKind {
    pub(super) fn cause(self) -> &'static str {
        match self {
            Self::Unsupported => "this backend does not have it",
            Self::Unusable => "the backend cannot be used here",
            Self::RequirementUnmet => "no usable backend gives what is required",
            Self::AlreadyExists => "it exists already",
            Self::NotFound => "no such group",
            Self::Gone => "it was removed",
            Self::Busy => "it still has members or sub-groups",
            Self::Frozen => "it is frozen",
            Self::InternalProcesses => {
                "controllers are enabled below it, so it may hold no process"
            }
            Self::DomainInvalid => "it is part of a threaded cgroup tree",
            Self::Killed => "it was killed meanwhile",
            Self::HoldsCaller => "it holds the caller",
            Self::NotCgroupfs => "the file system there is not cgroupfs",
            Self::Malformed => "the kernel's text was not understood",
            Self::PermissionDenied => "permission denied",
            Self::InvalidInput => "invalid value",
            Self::ProgramNotFound => "program not found",
            Self::ProgramNotExecutable => "program cannot be executed",
            Self::StatusLost => "its exit status was taken by somebody else",
            Self::KeeperLost => "its keeper died",
            Self::TimedOut => "it did not happen in time",
            Self::NotOwner => "this process does not own it",
            Self::Abandoned => "it was given up before it was done",
            Self::System => "the system call failed",
        }
    }

    /// The kind that an errno means on its own.
    pub(super) fn from_errno(errno: i32) -> Self {
        match Errno::from_raw(errno) {
            Errno::EACCES | Errno::EPERM | Errno::EROFS => Self::PermissionDenied,
            Errno::ENODEV => Self::Gone,
            Errno::EBUSY => Self::Busy,
            Errno::ENOSYS => Self::Unsupported,
            _ => Self::System,
        }
    }
}
