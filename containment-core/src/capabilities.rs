//! What a backend guarantees, as ordered strengths, told before any group exists.

use std::fmt;

use crate::{Error, ErrorKind, Operation, Result};

/// A way of containing processes.
///
/// ```
/// use containment_core::Backend;
/// assert_eq!(Backend::CgroupV2.name(), "cgroup-v2");
/// assert_eq!(format!("{:<10}|", Backend::Hybrid), "hybrid    |");
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Backend {
    /// The unified cgroup hierarchy.
    CgroupV2,
    /// Version 2 for process control, version 1 for limits.
    Hybrid,
    /// Hierarchies of cgroup version 1.
    CgroupV1,
    /// Process groups, sub-reapers and `/proc`.
    ProcessGroup,
    /// The in-memory model, for tests. Never chosen by itself.
    Fake,
}

impl Backend {
    /// The name used on the command line and in reports.
    pub fn name(self) -> &'static str {
        match self {
            Self::CgroupV2 => "cgroup-v2",
            Self::Hybrid => "hybrid",
            Self::CgroupV1 => "cgroup-v1",
            Self::ProcessGroup => "process-group",
            Self::Fake => "fake",
        }
    }
}

impl fmt::Display for Backend {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// How a kill works. Later is stronger.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kill {
    /// Every member found is signalled, again and again until none is left.
    Repeated,
    /// Members are stopped by the kernel's freezer first, so that none can fork away.
    Frozen {
        /// Whether members die only once they are thawed again (cgroup v1).
        thaw_after: bool,
    },
    /// One write kills every member, those being forked included; but for who lives without its first thread,
    /// whom the kernel passes over, and the next kill ends.
    Atomic,
}

/// Whether a member can leave by fork, setsid or exec. Later is stronger.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Escape {
    /// A member that calls `setsid` or `setpgid` is lost.
    Voluntary,
    /// A member may leave its process group, and is found and ended all the same.
    Swept,
    /// No fork, setsid or exec leaves.
    Impossible,
}

/// Who could still move a member out, by other means than fork, setsid and exec.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum LeaveBy {
    /// Whoever may write to the cgroup file system: root, or the user that owns the subtree.
    CgroupfsWrite,
    /// Nobody.
    None,
}

/// How emptiness is learnt. Later is stronger.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Empty {
    /// By looking again after a pause.
    Polled,
    /// By an event of the kernel.
    Notified,
}

/// How members are frozen. Later is stronger.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Freeze {
    /// Not at all.
    None,
    /// By SIGSTOP: the program's parent sees it, and a member can be continued by anybody.
    StopSignal,
    /// By the kernel's freezer.
    Kernel,
}

macro_rules! named_strengths {
    ($($type:ident { $($variant:pat => $name:literal),+ $(,)? })+) => {$(
        impl fmt::Display for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(match self { $($variant => $name),+ })
            }
        }
    )+};
}

named_strengths! {
    Kill { Self::Repeated => "repeated", Self::Frozen { .. } => "frozen", Self::Atomic => "atomic" }
    Escape { Self::Voluntary => "voluntary", Self::Swept => "swept", Self::Impossible => "impossible" }
    LeaveBy { Self::CgroupfsWrite => "cgroupfs-write", Self::None => "none" }
    Empty { Self::Polled => "polled", Self::Notified => "notified" }
    Freeze { Self::None => "none", Self::StopSignal => "stop-signal", Self::Kernel => "kernel" }
}

/// Everything that a backend guarantees. It has no `Default` and is exhaustive, so that a new field
/// has to be answered by every driver.
///
/// ```
/// use backend_fake::Fake;
/// use containment_core::{CgroupOps, Empty, Escape, Freeze, Kill, LeaveBy, Limit, Measure};
///
/// let fake = Fake::v1();
/// let here = fake.capabilities();
/// assert!(here.kill >= Kill::Frozen { thaw_after: true } && here.kill < Kill::Atomic);
/// assert!(here.escape >= Escape::Swept && here.empty >= Empty::Polled);
/// assert_eq!(here.freeze, Freeze::Kernel);
/// assert!(here.limits.contains(Limit::Pids) && here.usage.contains(Measure::Memory));
/// assert_eq!(format!("kill={} freeze={}", here.kill, here.freeze), "kill=frozen freeze=kernel");
///
/// here.check_seal()?;
/// assert_eq!(here.clone().sealed().leave_by, LeaveBy::None);
/// assert!(Fake::process_group().capabilities().check_seal().is_err());
/// # Ok::<(), containment_core::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Capabilities {
    /// How a kill works.
    pub kill: Kill,
    /// Whether members can leave by fork, setsid or exec.
    pub escape: Escape,
    /// Who else could move a member out.
    pub leave_by: LeaveBy,
    /// How emptiness is learnt.
    pub empty: Empty,
    /// How members are frozen.
    pub freeze: Freeze,
    /// Whether groups can be made inside a group.
    pub nesting: bool,
    /// Whether running processes can be moved in.
    pub attach: bool,
    /// The limits that can be applied.
    pub limits: Set<Limit>,
    /// The figures that are measured.
    pub usage: Set<Measure>,
}

impl Capabilities {
    /// Whether a program can be sealed in: only a group that fork, setsid and exec do not leave can be
    /// closed for those who could write to its files, too.
    ///
    /// # Errors
    /// [`Unsupported`](ErrorKind::Unsupported) where it cannot.
    pub fn check_seal(&self) -> Result<()> {
        if self.escape == Escape::Impossible {
            return Ok(());
        }
        Err(Error::new(ErrorKind::Unsupported, Operation::Place)
            .because("members are held by descent alone, which a seal does not close")
            .advise("take a cgroup backend (see contain doctor), or accept best effort (contain run --best-effort)"))
    }

    /// What holds for a program that is sealed in.
    #[must_use]
    pub fn sealed(self) -> Self {
        Self { leave_by: LeaveBy::None, ..self }
    }
}

/// A member of a small closed set.
pub trait Element: Copy + PartialEq + 'static {
    /// Every element, in the order of display.
    const ALL: &'static [Self];
    /// Its name in reports and requirements.
    fn name(self) -> &'static str;
}

/// A set of [`Limit`]s or [`Measure`]s.
///
/// ```
/// use containment_core::{Element, Limit, Set};
/// let set = Set::EMPTY.with(Limit::Pids).with(Limit::Memory);
/// assert!(set.contains(Limit::Memory) && !set.contains(Limit::Swap) && !set.is_empty());
/// assert_eq!(set.iter().map(Element::name).collect::<Vec<_>>(), ["memory", "pids"]);
/// assert_eq!(Set::all(), Limit::ALL.iter().copied().collect::<Set<Limit>>());
/// ```
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Set<T> {
    bits: u32,
    element: std::marker::PhantomData<T>,
}

impl<T: Element> Set<T> {
    /// Nothing.
    pub const EMPTY: Self = Self { bits: 0, element: std::marker::PhantomData };

    /// Every element that there is.
    pub fn all() -> Self {
        T::ALL.iter().copied().collect()
    }

    /// This set and `element`.
    #[must_use]
    pub fn with(mut self, element: T) -> Self {
        self.bits |= Self::bit(element);
        self
    }

    /// Whether `element` is in it.
    pub fn contains(self, element: T) -> bool {
        self.bits & Self::bit(element) != 0
    }

    /// Whether nothing is in it.
    pub fn is_empty(self) -> bool {
        self.bits == 0
    }

    /// The elements, in the order of display.
    pub fn iter(self) -> impl Iterator<Item = T> {
        T::ALL.iter().copied().filter(move |element| self.contains(*element))
    }

    fn bit(element: T) -> u32 {
        let index = T::ALL.iter().position(|other| *other == element);
        index.map_or(0, |index| 1 << index)
    }
}

impl<T: Element> FromIterator<T> for Set<T> {
    fn from_iter<I: IntoIterator<Item = T>>(elements: I) -> Self {
        elements.into_iter().fold(Self::EMPTY, Self::with)
    }
}

impl<T: Element> fmt::Debug for Set<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.iter().map(T::name)).finish()
    }
}

macro_rules! elements {
    ($(#[$doc:meta])* $type:ident { $($(#[$vdoc:meta])* $variant:ident = $name:literal),+ $(,)? }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        #[non_exhaustive]
        pub enum $type { $($(#[$vdoc])* $variant),+ }

        impl Element for $type {
            const ALL: &'static [Self] = &[$(Self::$variant),+];
            fn name(self) -> &'static str {
                match self { $(Self::$variant => $name),+ }
            }
        }

        impl fmt::Display for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(self.name())
            }
        }
    };
}

elements! {
    /// A limit that can be asked for.
    Limit {
        /// Memory, hard.
        Memory = "memory",
        /// Memory above which the group is slowed down and reclaimed from.
        MemoryHigh = "memory-high",
        /// Swap.
        Swap = "swap",
        /// CPU time per period.
        Cpus = "cpus",
        /// CPU share relative to siblings.
        CpuWeight = "cpu-weight",
        /// CPUs that members may run on.
        Cpuset = "cpuset",
        /// Memory nodes that members may allocate from.
        Mems = "mems",
        /// Processes and threads.
        Pids = "pids",
        /// I/O share relative to siblings.
        IoWeight = "io-weight",
        /// I/O per device.
        IoMax = "io-max",
        /// Memory in huge pages.
        Hugetlb = "hugetlb",
    }
}

elements! {
    /// A figure that can be measured. Each stands for a group of fields of [`Usage`](crate::Usage).
    Measure {
        /// CPU time.
        Cpu = "cpu",
        /// CPU throttling.
        Throttling = "throttling",
        /// Memory in use.
        Memory = "memory",
        /// The most memory that was in use.
        MemoryPeak = "memory-peak",
        /// Swap in use.
        Swap = "swap",
        /// Processes and threads.
        Pids = "pids",
        /// I/O.
        Io = "io",
        /// OOM kills.
        Oom = "oom",
        /// Waiting for CPU, memory and I/O.
        Pressure = "pressure",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strengths_are_ordered() {
        assert!(Kill::Repeated < Kill::Frozen { thaw_after: false });
        assert!(Kill::Frozen { thaw_after: true } < Kill::Atomic);
        assert!(Escape::Voluntary < Escape::Swept && Escape::Swept < Escape::Impossible);
        assert!(Empty::Polled < Empty::Notified);
        assert!(Freeze::None < Freeze::StopSignal && Freeze::StopSignal < Freeze::Kernel);
    }

    #[test]
    fn a_set_keeps_the_order_of_display() {
        let set: Set<Limit> = [Limit::Pids, Limit::Memory].into_iter().collect();
        assert_eq!(set.iter().map(Limit::name).collect::<Vec<_>>(), ["memory", "pids"]);
        assert!(!set.contains(Limit::Cpus));
    }
}
