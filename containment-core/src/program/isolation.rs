//! What separates a program from its host: user, resource limits, root directory, binds, seal.

use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;

/// How a program is set apart; nothing of it by default.
///
/// ```
/// use containment_core::{Bind, Program, Resource, Rlimit, Seal, User};
///
/// let files = Rlimit { resource: Resource::Files, soft: Some(256), hard: None };
/// let program = Program::new("./untrusted").rlimit(files).no_new_privileges();
/// let isolation = program.isolation();
/// assert_eq!(isolation.rlimits, [files]);
/// assert!(isolation.no_new_privileges && !isolation.needs_own_memory());
///
/// let program = program
///     .user(User { uid: 65534, gid: 65534, groups: Vec::new() })
///     .root_directory("/srv/root")
///     .bind(Bind::read_only("/usr", "/usr"))
///     .bind(Bind::writable("/var/cache/build", "/cache"))
///     .seal(Seal::BestEffort);
/// let isolation = program.isolation();
/// assert!(isolation.has_mounts() && isolation.is_sealed() && isolation.needs_own_memory());
/// assert!(isolation.binds[1].writable && isolation.binds[1].is_at("/./cache/".as_ref()));
/// ```
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Isolation {
    /// The user that it runs as, unless ours.
    pub user: Option<User>,
    /// Its own resource limits, in the order in which they are set.
    pub rlimits: Vec<Rlimit>,
    /// Whether no exec can gain privileges (`PR_SET_NO_NEW_PRIVS`).
    pub no_new_privileges: bool,
    /// Its root directory, unless ours.
    pub root: Option<PathBuf>,
    /// What is bound below its root, in this order.
    pub binds: Vec<Bind>,
    /// Whether somebody inside can leave the group.
    pub seal: Seal,
}

/// Whether a program and what it starts can leave their group by more than fork, setsid and exec: by
/// the rights of root, or of who owns the group.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Seal {
    /// As far as its rights go.
    #[default]
    Open,
    /// Not at all, or nothing is started.
    Whole,
    /// As little as this kernel and this backend can prevent.
    BestEffort,
}

impl Isolation {
    /// Whether it has a seal, whole or not.
    pub fn is_sealed(&self) -> bool {
        self.seal != Seal::Open
    }

    /// Whether it takes a mount namespace of its own.
    pub fn has_mounts(&self) -> bool {
        self.root.is_some() || !self.binds.is_empty() || self.is_sealed()
    }

    /// Whether the steps before the exec must not run on the memory of the caller: a change of user
    /// there would let the target user hold the calling thread and look into that memory.
    pub fn needs_own_memory(&self) -> bool {
        self.user.is_some() || self.has_mounts()
    }
}

/// A user by ids: names are for whoever asks the name services.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct User {
    /// User id: real, effective and saved.
    pub uid: u32,
    /// Group id: real, effective and saved.
    pub gid: u32,
    /// The whole list of supplementary groups.
    pub groups: Vec<u32>,
}

/// A directory or file of the host that the program sees at another place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bind {
    /// What is bound, with everything mounted below it; a relative path is looked up from here.
    pub source: PathBuf,
    /// Where, below the program's root. It has to exist there, and a link in it never leads out.
    pub target: PathBuf,
    /// Whether the program may write to it.
    pub writable: bool,
}

impl Bind {
    /// `source` at `target`, to read and write.
    pub fn writable(source: impl Into<PathBuf>, target: impl Into<PathBuf>) -> Self {
        Self { source: source.into(), target: target.into(), writable: true }
    }

    /// `source` at `target`, to read only, with everything mounted below it.
    pub fn read_only(source: impl Into<PathBuf>, target: impl Into<PathBuf>) -> Self {
        Self { writable: false, ..Self::writable(source, target) }
    }

    /// Whether it is bound at `path`, whatever is written around the names.
    pub fn is_at(&self, path: &Path) -> bool {
        let from_root = |path: &Path| Path::new("/").join(path).components().collect::<PathBuf>();
        from_root(&self.target) == from_root(path)
    }
}

/// One resource limit of setrlimit(2), in the unit that its [`Resource`] names; `None` is unlimited.
///
/// ```
/// use containment_core::{Resource, Rlimit};
/// let resource: Resource = "RLIMIT_NOFILE".parse()?;
/// let limit = Rlimit { resource, soft: Some(1024), hard: None };
/// assert_eq!((limit.resource, limit.resource.name()), (Resource::Files, "nofile"));
/// assert_eq!(Resource::Cpu.to_string(), "cpu", "in seconds, as setrlimit(2) has it");
/// let unknown = "threads".parse::<Resource>().unwrap_err();
/// assert!(unknown.to_string().starts_with("no such resource: \"threads\"; there are as, core,"));
/// # Ok::<(), containment_core::UnknownResource>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rlimit {
    /// What is limited.
    pub resource: Resource,
    /// The limit in force, which the program may raise up to the hard one.
    pub soft: Option<u64>,
    /// The most that the program may set.
    pub hard: Option<u64>,
}

macro_rules! resources {
    ($($(#[$doc:meta])* $variant:ident = $name:literal),+ $(,)?) => {
        /// A resource of setrlimit(2), with the unit of its limits; those without one are numbers.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub enum Resource { $($(#[$doc])* $variant),+ }

        impl Resource {
            /// Every resource.
            pub const ALL: &'static [Self] = &[$(Self::$variant),+];

            /// Its name: that of the C constant in lower case, without `RLIMIT_`.
            pub fn name(self) -> &'static str {
                match self { $(Self::$variant => $name),+ }
            }
        }
    };
}

resources! {
    /// Address space, bytes.
    AddressSpace = "as",
    /// Core file, bytes.
    Core = "core",
    /// CPU time, seconds.
    Cpu = "cpu",
    /// Data segment, bytes.
    Data = "data",
    /// Largest file, bytes.
    FileSize = "fsize",
    /// Locked memory, bytes.
    LockedMemory = "memlock",
    /// Bytes in POSIX message queues.
    MessageQueues = "msgqueue",
    /// Ceiling of the nice value, as 20 minus it.
    Nice = "nice",
    /// Descriptors.
    Files = "nofile",
    /// Processes and threads of the user.
    Processes = "nproc",
    /// Ceiling of the real-time priority.
    RealTimePriority = "rtprio",
    /// CPU time of a real-time task without a pause, microseconds.
    RealTime = "rttime",
    /// Queued signals.
    PendingSignals = "sigpending",
    /// Stack, bytes.
    Stack = "stack",
}

impl fmt::Display for Resource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl FromStr for Resource {
    type Err = UnknownResource;

    /// Reads a name in either case, with `RLIMIT_` or without.
    fn from_str(text: &str) -> Result<Self, UnknownResource> {
        let lower = text.to_ascii_lowercase();
        let name = lower.strip_prefix("rlimit_").unwrap_or(&lower);
        let known = Self::ALL.iter().copied().find(|resource| resource.name() == name);
        known.ok_or_else(|| UnknownResource(text.to_owned()))
    }
}

/// A text that names no resource.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnknownResource(String);

impl fmt::Display for UnknownResource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<_> = Resource::ALL.iter().map(|resource| resource.name()).collect();
        write!(f, "no such resource: {:?}; there are {}", self.0, names.join(", "))
    }
}

impl std::error::Error for UnknownResource {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn resources_are_read_by_either_name() {
        for resource in Resource::ALL {
            assert_eq!(resource.name().parse(), Ok(*resource));
        }
        assert_eq!("RLIMIT_NOFILE".parse(), Ok(Resource::Files));
        let error = "nofiles".parse::<Resource>().unwrap_err();
        assert!(error.to_string().contains("\"nofiles\""), "{error}");
    }

    #[test]
    fn a_target_is_known_however_it_is_written() {
        let bind = Bind::read_only("/x", "//proc/");
        assert!(bind.is_at(Path::new("/proc")));
        assert!(!bind.is_at(Path::new("/proc/sys")));
        let relative = Bind::writable("/a", "./x/proc/");
        assert!(relative.is_at(Path::new("/x/proc")) && !relative.is_at(Path::new("/proc")));
        assert!(Bind::writable("/a", "proc").is_at(Path::new("/proc")));
    }

    #[test]
    fn limits_alone_need_no_memory_of_their_own() {
        let mut isolation = Isolation { no_new_privileges: true, ..Isolation::default() };
        isolation.rlimits.push(Rlimit { resource: Resource::Core, soft: Some(0), hard: None });
        assert!(!isolation.needs_own_memory());
        isolation.seal = Seal::Whole;
        assert!(isolation.has_mounts() && isolation.needs_own_memory());
    }
}
