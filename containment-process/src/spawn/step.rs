//! The steps of the child that can fail, in their order, and what each failure means.

use std::io;
use std::path::{Path, PathBuf};

use containment_core::{Error, ErrorKind, Operation, Program, Signal};

use crate::pidfd::PidFd;

macro_rules! steps {
    ($($(#[$doc:meta])* $name:ident $(($index:ident))? = $code:literal),+ $(,)?) => {
        /// The steps of the child that can fail, in their order. A number says which of several.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub enum Step { $($(#[$doc])* $name $((steps!(@type $index)))?),+ }

        impl Step {
            /// The step with this number.
            pub fn from_raw(raw: u32) -> Option<Self> {
                let [code, _, low, high] = raw.to_le_bytes();
                let index = u16::from_le_bytes([low, high]);
                match code {
                    $($code => Some(Self::$name $((steps!(@index $index index)))?),)+
                    _ => None,
                }
            }

            /// Its number; never zero.
            pub fn to_raw(self) -> u32 {
                let (code, index): (u8, u16) = match self {
                    $(Self::$name $(($index))? => ($code, steps!(@value $($index)?)),)+
                };
                let [low, high] = index.to_le_bytes();
                u32::from_le_bytes([code, 0, low, high])
            }

            /// Every step, with an index where it has one.
            #[cfg(test)]
            fn all() -> Vec<Self> {
                vec![$(Self::$name $((steps!(@sample $index)))?),+]
            }
        }
    };
    (@type $index:ident) => { u16 };
    (@index $index:ident $read:ident) => { $read };
    (@sample $index:ident) => { 259 };
    (@value $index:ident) => { $index };
    (@value) => { 0 };
}

steps! {
    /// Entering the group.
    Enter = 1,
    /// Seeing that the group was killed meanwhile.
    Mark = 2,
    /// Joining the process group.
    ProcessGroup = 3,
    /// Setting up the standard streams and other descriptors.
    Descriptors = 4,
    /// Leaving the host's mount namespace, and with a seal its cgroup namespace.
    Namespaces = 5,
    /// Making what is a way out of the seal read-only: the mount of this index.
    SealMount(index) = 6,
    /// Taking the root directory.
    Root = 7,
    /// Binding `/proc`, `/sys` or `/dev` into the new root.
    HostMount(index) = 8,
    /// Opening the source of this bind.
    BindSource(index) = 9,
    /// Finding the place of this bind.
    BindTarget(index) = 10,
    /// Putting this bind in its place.
    Bind(index) = 11,
    /// Leaving the old root behind.
    Pivot = 12,
    /// Setting this resource limit.
    Rlimit(index) = 13,
    /// Bounding the capabilities.
    Capabilities = 14,
    /// Becoming the user.
    User = 15,
    /// Changing to the directory.
    Directory = 16,
    /// Doing without new privileges.
    NoNewPrivileges = 17,
    /// Closing the seal to processes outside (Landlock).
    SealDomain = 18,
    /// Closing the seal to user namespaces (seccomp).
    SealFilter = 19,
    /// Closing what was inherited: the descriptor of this number leads out of the seal.
    SealDescriptor(number) = 20,
    /// Executing the program.
    Exec = 21,
}

/// Why no program runs. Nothing is left of the child.
#[derive(Debug)]
pub enum Failure {
    /// Nothing was cloned: bad arguments, or no memory.
    Prepare(io::Error),
    /// The clone was refused.
    Clone(io::Error),
    /// The child was killed before its first instruction, by this signal.
    KilledAtBirth(Option<Signal>),
    /// Its group stayed frozen. The child was killed, and may die of it only once it is thawed: it is to be waited for.
    Frozen(PidFd),
    /// A step of the child failed.
    Step(Step, io::Error),
}

impl Failure {
    /// This failure as the one error type; the caller adds backend and group.
    pub fn into_error(self, program: &Program) -> Error {
        match self {
            Self::Prepare(error) => {
                Error::from_io(Operation::Spawn, &error).with_path(program.name())
            }
            Self::Clone(error) | Self::Step(Step::Enter, error) => {
                Error::from_io(Operation::Place, &error)
            }
            Self::KilledAtBirth(_) | Self::Step(Step::Mark, _) => {
                Error::new(ErrorKind::Killed, Operation::Spawn)
            }
            Self::Frozen(_) => Error::new(ErrorKind::Frozen, Operation::Place),
            Self::Step(Step::Exec, error) => exec_error(&error).with_path(program.name()),
            Self::Step(step, error) => step_error(step, &error, program),
        }
    }
}

fn exec_error(error: &io::Error) -> Error {
    let kind = match error.raw_os_error() {
        Some(libc::ENOENT) => ErrorKind::ProgramNotFound,
        _ => ErrorKind::ProgramNotExecutable,
    };
    Error::from_io(Operation::Spawn, error).with_kind(kind)
}

fn step_error(step: Step, error: &io::Error, program: &Program) -> Error {
    let failed = Error::from_io(Operation::Spawn, error).because(cause(step, program));
    let failed = match path(step, program) {
        Some(path) => failed.with_kind(kind_of_path(error)).with_path(path),
        None => failed,
    };
    match remedy(step, error) {
        Some(remedy) => failed.advise(remedy),
        None => failed,
    }
}

/// What stands in the way of a path that the caller gave is his to mend.
fn kind_of_path(error: &io::Error) -> ErrorKind {
    match error.raw_os_error() {
        Some(libc::EPERM) => ErrorKind::PermissionDenied,
        _ => ErrorKind::InvalidInput,
    }
}

fn cause(step: Step, program: &Program) -> String {
    let isolation = program.isolation();
    match step {
        Step::ProcessGroup => "cannot join its process group".into(),
        Step::Descriptors => "cannot set up its descriptors".into(),
        Step::Namespaces => "cannot make a mount namespace of its own".into(),
        Step::SealMount(_) => "cannot seal: a mount stays writable".into(),
        Step::Root | Step::Pivot => "cannot take its root directory".into(),
        Step::HostMount(_) => "cannot bind /proc, /sys and /dev into its root".into(),
        Step::BindSource(_) => "cannot bind".into(),
        Step::BindTarget(_) => "cannot bind: no such place below its root".into(),
        Step::Bind(_) => "cannot bind: the place and what is bound there do not match".into(),
        Step::Rlimit(index) => match isolation.rlimits.get(usize::from(index)) {
            Some(limit) => format!("cannot set the resource limit {}", limit.resource),
            None => "cannot set a resource limit".into(),
        },
        Step::Capabilities => "cannot bound its capabilities".into(),
        Step::User => match &isolation.user {
            Some(user) => format!("cannot become user {}, group {}", user.uid, user.gid),
            None => "cannot become its user".into(),
        },
        Step::Directory => "cannot change to its directory".into(),
        Step::NoNewPrivileges => "cannot do without new privileges".into(),
        Step::SealDomain => "cannot seal: processes outside stay within reach".into(),
        Step::SealFilter => "cannot seal: namespaces can be made inside".into(),
        Step::SealDescriptor(number) => {
            format!("cannot seal: descriptor {number} is a directory or a cgroup's file")
        }
        Step::Enter | Step::Mark | Step::Exec => "cannot run".into(),
    }
}

fn path(step: Step, program: &Program) -> Option<PathBuf> {
    let isolation = program.isolation();
    let bind = |index: u16| isolation.binds.get(usize::from(index));
    match step {
        Step::Root | Step::Pivot => isolation.root.clone(),
        Step::BindSource(index) => bind(index).map(|bind| bind.source.clone()),
        Step::BindTarget(index) | Step::Bind(index) => bind(index).map(|bind| bind.target.clone()),
        Step::Directory => program.directory().map(Path::to_owned),
        _ => None,
    }
}

fn remedy(step: Step, error: &io::Error) -> Option<&'static str> {
    let denied = matches!(error.raw_os_error(), Some(libc::EPERM));
    match step {
        Step::Root | Step::Pivot | Step::BindSource(_) | Step::Directory => of_path(step, error),
        Step::BindTarget(_) => Some("make the place below the root first"),
        Step::Bind(_) if !denied => Some("bind a directory to a directory, or a file to a file"),
        Step::SealDomain => Some("take Linux 5.19 or later with Landlock, or accept best effort"),
        Step::SealDescriptor(_) => Some("redirect it to a file or to /dev/null"),
        Step::Rlimit(_) if denied => Some("run it as root, or stay below the hard limit"),
        Step::User if denied => Some("run it as root"),
        Step::Namespaces if denied => {
            Some("run it as root, or in a user namespace: unshare --user --map-root-user …")
        }
        _ => None,
    }
}

/// What to do about a path that the caller gave.
fn of_path(step: Step, error: &io::Error) -> Option<&'static str> {
    match (error.raw_os_error()?, step) {
        // pivot_root(2): the new root is the old one.
        (libc::EBUSY, Step::Pivot) => Some("leave the root directory out: this is the host's own"),
        (libc::ENOENT | libc::ENOTDIR, Step::BindSource(_)) => {
            Some("name a file or directory that exists")
        }
        (libc::ENOENT | libc::ENOTDIR, Step::Directory) => {
            Some("name a directory that the program finds below its root")
        }
        (libc::ENOENT | libc::ENOTDIR, _) => Some("name a directory that exists"),
        (libc::ELOOP, _) => Some("name it by a path without a loop of symbolic links"),
        (libc::EACCES, _) => Some("let the program's user search every directory on the way"),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_step_keeps_its_number_and_its_index() {
        for step in Step::all() {
            assert_ne!(step.to_raw(), 0);
            assert_eq!(Step::from_raw(step.to_raw()), Some(step));
        }
        assert_eq!(Step::from_raw(0), None);
        assert_eq!(Step::from_raw(255), None);
    }

    #[test]
    fn a_failed_bind_is_told_by_its_path() {
        use containment_core::Bind;
        let program = Program::new("true").bind(Bind::writable("/from", "/to"));
        let missing = || io::Error::from_raw_os_error(libc::ENOENT);
        let error = Failure::Step(Step::BindSource(0), missing()).into_error(&program);
        assert_eq!((error.kind(), error.path()), (ErrorKind::InvalidInput, Some("/from".as_ref())));
        let error = Failure::Step(Step::BindTarget(0), missing()).into_error(&program);
        assert_eq!(error.path(), Some("/to".as_ref()));
        assert!(error.remedy().is_some());
    }
}
