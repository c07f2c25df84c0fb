//! What to run, declaratively: no closure runs between clone and exec.

mod isolation;

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::{Pid, SignalSet};

pub use isolation::{Bind, Isolation, Resource, Rlimit, Seal, UnknownResource, User};

/// A program with its arguments, environment, directory and streams.
///
/// ```
/// use containment_core::{ProcessGroup, Program, Signal, SignalSet, Stream};
///
/// let (reader, writer) = std::io::pipe()?;
/// let make = Program::new("make")
///     .arg("-j8")
///     .args(["all", "check"])
///     .env("LANG", "C")
///     .env_remove("MAKEFLAGS")
///     .current_dir("/tmp")
///     .stdin(Stream::Null)
///     .stdout(writer)
///     .stderr(Stream::Inherit)
///     .descriptor(3, reader)
///     .process_group(ProcessGroup::Lead)
///     .signal_mask(SignalSet::default().with(Signal::USR1));
/// assert_eq!(make.name(), "make");
/// assert_eq!(make.arguments(), ["-j8", "all", "check"]);
/// assert!(make.sets("LANG") && make.sets("MAKEFLAGS"));
/// assert_eq!(make.directory(), Some("/tmp".as_ref()));
/// assert!(matches!(make.streams(), [Stream::Null, Stream::Fd(_), Stream::Inherit]));
/// assert_eq!(make.descriptors()[0].0, 3);
/// assert_eq!(make.group(), ProcessGroup::Lead);
/// assert!(make.mask().is_some_and(|mask| mask.contains(Signal::USR1)));
///
/// let ours = [("MAKEFLAGS", "-k"), ("HOME", "/root")].map(|(n, v)| (n.into(), v.into()));
/// let names = make.environment(ours.clone()).map(|(name, _)| name);
/// assert_eq!(names.collect::<Vec<_>>(), ["HOME", "LANG"]);
/// assert_eq!(make.env_clear().environment(ours).count(), 0);
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Debug, Clone)]
pub struct Program {
    name: OsString,
    arguments: Vec<OsString>,
    env_clear: bool,
    env: BTreeMap<OsString, Option<OsString>>,
    directory: Option<PathBuf>,
    stdin: Stream,
    stdout: Stream,
    stderr: Stream,
    descriptors: Vec<(i32, Arc<OwnedFd>)>,
    process_group: ProcessGroup,
    signal_mask: Option<SignalSet>,
    isolation: Isolation,
}

/// Where a standard stream of the program leads.
#[derive(Debug, Clone, Default)]
pub enum Stream {
    /// Where ours leads.
    #[default]
    Inherit,
    /// `/dev/null`.
    Null,
    /// This descriptor: a file, or one end of [`std::io::pipe`]. It stays open here for as long as
    /// the `Program` lives.
    Fd(Arc<OwnedFd>),
}

macro_rules! stream_from {
    ($($type:ty),+) => {$(
        impl From<$type> for Stream {
            fn from(stream: $type) -> Self {
                Self::Fd(Arc::new(stream.into()))
            }
        }
    )+};
}

stream_from!(OwnedFd, std::fs::File, std::io::PipeReader, std::io::PipeWriter);

/// The process group that the program starts in.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum ProcessGroup {
    /// What the backend does by itself: one of its own on process groups, ours elsewhere.
    #[default]
    Auto,
    /// Ours: the terminal then treats the program as it treats us. A process group that only an outer pid namespace can
    /// name is not joined by who starts elsewhere: a program that a keeper starts leads one of its own then.
    Inherit,
    /// One that it leads.
    Lead,
    /// This one, of the same session.
    Join(Pid),
}

impl Program {
    /// The program `name`, looked up in the `PATH` that it will see unless it has a slash.
    pub fn new(name: impl Into<OsString>) -> Self {
        Self {
            name: name.into(),
            arguments: Vec::new(),
            env_clear: false,
            env: BTreeMap::new(),
            directory: None,
            stdin: Stream::Inherit,
            stdout: Stream::Inherit,
            stderr: Stream::Inherit,
            descriptors: Vec::new(),
            process_group: ProcessGroup::Auto,
            signal_mask: None,
            isolation: Isolation::default(),
        }
    }

    /// Adds an argument.
    #[must_use]
    pub fn arg(mut self, argument: impl Into<OsString>) -> Self {
        self.arguments.push(argument.into());
        self
    }

    /// Adds arguments.
    #[must_use]
    pub fn args<A: Into<OsString>>(mut self, arguments: impl IntoIterator<Item = A>) -> Self {
        self.arguments.extend(arguments.into_iter().map(Into::into));
        self
    }

    /// Sets a variable of its environment.
    #[must_use]
    pub fn env(mut self, name: impl Into<OsString>, value: impl Into<OsString>) -> Self {
        self.env.insert(name.into(), Some(value.into()));
        self
    }

    /// Takes a variable out of its environment.
    #[must_use]
    pub fn env_remove(mut self, name: impl Into<OsString>) -> Self {
        self.env.insert(name.into(), None);
        self
    }

    /// Starts from an empty environment instead of ours; variables set before are dropped too.
    #[must_use]
    pub fn env_clear(mut self) -> Self {
        self.env_clear = true;
        self.env.clear();
        self
    }

    /// Runs it in this directory, entered as its user and inside its root. A relative program path is
    /// looked up from there.
    #[must_use]
    pub fn current_dir(mut self, directory: impl Into<PathBuf>) -> Self {
        self.directory = Some(directory.into());
        self
    }

    /// Sets its standard input.
    #[must_use]
    pub fn stdin(mut self, stream: impl Into<Stream>) -> Self {
        self.stdin = stream.into();
        self
    }

    /// Sets its standard output.
    #[must_use]
    pub fn stdout(mut self, stream: impl Into<Stream>) -> Self {
        self.stdout = stream.into();
        self
    }

    /// Sets its standard error.
    #[must_use]
    pub fn stderr(mut self, stream: impl Into<Stream>) -> Self {
        self.stderr = stream.into();
        self
    }

    /// Gives it the descriptor `fd` under the number `target`.
    #[must_use]
    pub fn descriptor(mut self, target: i32, fd: impl Into<OwnedFd>) -> Self {
        self.descriptors.push((target, Arc::new(fd.into())));
        self
    }

    /// Sets the process group that it starts in.
    #[must_use]
    pub fn process_group(mut self, group: ProcessGroup) -> Self {
        self.process_group = group;
        self
    }

    /// Sets the signals that are blocked when it starts; otherwise those of the calling thread are.
    #[must_use]
    pub fn signal_mask(mut self, mask: SignalSet) -> Self {
        self.signal_mask = Some(mask);
        self
    }

    /// Runs it as this user. That takes root, and is one of the steps that
    /// [`Isolation::needs_own_memory`] names.
    ///
    /// # Price
    /// The start costs what a fork costs, as the kernel copies the caller's page tables: measured 0.7 ms from a
    /// small caller, and some 36 ms more for each GiB that it has resident in pages of 4 KiB, during which the
    /// calling thread is busy and page faults of its other threads wait; on shared memory it is 0.6 ms from any
    /// caller (`docs/ISOLATION.md`). A caller with gigabytes resident starts `contain run --user …` as its
    /// program instead: that is small, and takes every step of the isolation.
    #[must_use]
    pub fn user(mut self, user: User) -> Self {
        self.isolation.user = Some(user);
        self
    }

    /// Limits a resource of the program, and of each process that it starts.
    #[must_use]
    pub fn rlimit(mut self, limit: Rlimit) -> Self {
        self.isolation.rlimits.push(limit);
        self
    }

    /// Lets no exec gain privileges: set-user-id bits and file capabilities do nothing.
    #[must_use]
    pub fn no_new_privileges(mut self) -> Self {
        self.isolation.no_new_privileges = true;
        self
    }

    /// Gives it this directory for its root, in a mount namespace of its own; `/proc`, `/sys` and
    /// `/dev` of the host are bound there where the directory has empty places for them. Takes
    /// `CAP_SYS_ADMIN`, and the price of [`user`](Self::user).
    #[must_use]
    pub fn root_directory(mut self, directory: impl Into<PathBuf>) -> Self {
        self.isolation.root = Some(directory.into());
        self
    }

    /// Binds a file or directory below its root, in a mount namespace of its own. Takes
    /// `CAP_SYS_ADMIN`, and the price of [`user`](Self::user).
    #[must_use]
    pub fn bind(mut self, bind: Bind) -> Self {
        self.isolation.binds.push(bind);
        self
    }

    /// Seals it in: with [`Seal::Whole`] no process inside can leave the group, be it root. Takes a
    /// cgroup backend, root, Landlock of Linux 5.19, and the price of [`user`](Self::user). What
    /// the program cannot do any more stands in `docs/ISOLATION.md`.
    #[must_use]
    pub fn seal(mut self, seal: Seal) -> Self {
        self.isolation.seal = seal;
        self
    }

    /// How it is set apart.
    pub fn isolation(&self) -> &Isolation {
        &self.isolation
    }

    /// The name or path that was given.
    pub fn name(&self) -> &OsStr {
        &self.name
    }

    /// The arguments after the name.
    pub fn arguments(&self) -> &[OsString] {
        &self.arguments
    }

    /// The directory to run in, unless ours.
    pub fn directory(&self) -> Option<&Path> {
        self.directory.as_deref()
    }

    /// Standard input, output and error, in this order.
    pub fn streams(&self) -> [&Stream; 3] {
        [&self.stdin, &self.stdout, &self.stderr]
    }

    /// The further descriptors, each with the number that the program sees.
    pub fn descriptors(&self) -> &[(i32, Arc<OwnedFd>)] {
        &self.descriptors
    }

    /// The process group that it starts in.
    pub fn group(&self) -> ProcessGroup {
        self.process_group
    }

    /// The signals that are blocked when it starts, unless the calling thread's.
    pub fn mask(&self) -> Option<SignalSet> {
        self.signal_mask
    }

    /// Whether it says what this variable is to be, or that it is not to be.
    pub fn sets(&self, variable: impl AsRef<OsStr>) -> bool {
        self.env.contains_key(variable.as_ref())
    }

    /// The whole environment that it gets: `ours` in their order, unless they were cleared, then what was set.
    pub fn environment(
        &self,
        ours: impl IntoIterator<Item = (OsString, OsString)>,
    ) -> impl Iterator<Item = (OsString, OsString)> {
        let ours = (!self.env_clear).then_some(ours).into_iter().flatten();
        let set = self.env.iter().filter_map(|(name, value)| Some((name.clone(), value.clone()?)));
        ours.filter(|(name, _)| !self.env.contains_key(name)).chain(set)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_there_twice_is_passed_on_so_and_what_a_program_sets_is_there_once() {
        let ours = || [("A", "1"), ("B", "2"), ("A", "3")].map(|(n, v)| (n.into(), v.into()));
        let of = |program: &Program| -> Vec<String> {
            let pairs = program.environment(ours());
            pairs.map(|(name, value)| format!("{}={}", name.display(), value.display())).collect()
        };
        assert_eq!(of(&Program::new("p").env("B", "4")), ["A=1", "A=3", "B=4"]);
        assert_eq!(of(&Program::new("p").env("A", "4")), ["B=2", "A=4"]);
        assert_eq!(of(&Program::new("p").env_remove("A")), ["B=2"]);
    }
}
