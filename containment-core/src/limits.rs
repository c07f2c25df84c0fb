//! Limits of a group, as validated types.

use std::fmt;

use crate::{CpuSet, Limit, Set};

/// An amount of memory in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Bytes(pub u64);

impl Bytes {
    /// So many KiB.
    pub const fn kib(n: u64) -> Self {
        Self(n << 10)
    }
    /// So many MiB.
    pub const fn mib(n: u64) -> Self {
        Self(n << 20)
    }
    /// So many GiB.
    pub const fn gib(n: u64) -> Self {
        Self(n << 30)
    }
}

impl fmt::Display for Bytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// The limits that a caller asks for; what is not set is left as it is.
///
/// ```
/// use containment_core::{Bytes, Limit, Limits};
/// let limits = Limits::new().memory_max(Bytes::gib(2)).pids_max(500);
/// assert!(limits.asked().contains(Limit::Memory));
/// assert!(!limits.asked().contains(Limit::Cpus));
/// ```
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Limits {
    /// Most memory, in bytes: above it the kernel reclaims, then kills.
    pub memory_max: Option<Bytes>,
    /// Memory above which members are slowed down and reclaimed from, in bytes.
    pub memory_high: Option<Bytes>,
    /// Most swap, in bytes; 0 is none.
    pub swap_max: Option<Bytes>,
    /// CPU time per wall-clock time: 1.5 is one and a half CPUs.
    pub cpus: Option<f64>,
    /// CPU share relative to siblings, 1 to 10000, 100 when unset.
    pub cpu_weight: Option<u16>,
    /// CPUs that members may run on.
    pub cpuset: Option<CpuSet>,
    /// Memory nodes that members may allocate from.
    pub mems: Option<CpuSet>,
    /// Most processes and threads.
    pub pids_max: Option<u64>,
    /// I/O share relative to siblings, 1 to 10000, 100 when unset.
    pub io_weight: Option<u16>,
}

impl Limits {
    /// No limit at all.
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets [`Limits::memory_max`].
    #[must_use]
    pub fn memory_max(mut self, bytes: Bytes) -> Self {
        self.memory_max = Some(bytes);
        self
    }

    /// Sets [`Limits::pids_max`].
    #[must_use]
    pub fn pids_max(mut self, most: u64) -> Self {
        self.pids_max = Some(most);
        self
    }

    /// Sets [`Limits::cpus`].
    #[must_use]
    pub fn cpus(mut self, cpus: f64) -> Self {
        self.cpus = Some(cpus);
        self
    }

    /// Sets [`Limits::cpuset`].
    #[must_use]
    pub fn cpuset(mut self, cpus: CpuSet) -> Self {
        self.cpuset = Some(cpus);
        self
    }

    /// Sets [`Limits::mems`].
    #[must_use]
    pub fn mems(mut self, nodes: CpuSet) -> Self {
        self.mems = Some(nodes);
        self
    }

    /// Which limits are asked for.
    pub fn asked(&self) -> Set<Limit> {
        let asked = [
            (Limit::Memory, self.memory_max.is_some()),
            (Limit::MemoryHigh, self.memory_high.is_some()),
            (Limit::Swap, self.swap_max.is_some()),
            (Limit::Cpus, self.cpus.is_some()),
            (Limit::CpuWeight, self.cpu_weight.is_some()),
            (Limit::Cpuset, self.cpuset.is_some()),
            (Limit::Mems, self.mems.is_some()),
            (Limit::Pids, self.pids_max.is_some()),
            (Limit::IoWeight, self.io_weight.is_some()),
        ];
        asked.into_iter().filter(|(_, set)| *set).map(|(limit, _)| limit).collect()
    }
}

/// What became of limits that were asked for.
#[derive(Debug, Default)]
pub struct Applied {
    /// Those in force now.
    pub applied: Vec<Limit>,
    /// Those that are not, and why.
    pub refused: Vec<(Limit, crate::Error)>,
}
