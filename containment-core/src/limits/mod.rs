//! Limits of a group, as validated types.
//!
//! A value that is no limit on any host cannot be made ([`Cpus`], [`Weight`], [`Device`], [`HugePage`]) or
//! is found by [`Limits::check`]; what only this host refuses is the driver's to say. Drivers read each
//! limit back after they wrote it, and one that the kernel keeps differently is answered as refused:
//! there is no other way to learn what is in force, and none is needed.

mod amount;
mod cpu;
mod device;
mod hugepage;
mod invalid;
mod within;

use std::collections::BTreeMap;

use crate::{CpuSet, Limit, Set};

pub use amount::{Bytes, Most};
pub use cpu::{Cpus, Quota, Weight};
pub use device::{Device, IoMax, Rate};
pub use hugepage::HugePage;
pub use invalid::InvalidLimit;

/// The limits that a caller asks for; what is not set is left as it is.
///
/// ```
/// use containment_core::{Bytes, Cpus, HugePage, IoMax, Limit, Limits, Most, Rate, Weight};
/// let limits = Limits::new().memory_max(Bytes::gib(2)).pids_max(500).cpus(Cpus::new(1.5)?);
/// assert!(limits.asked().contains(Limit::Memory));
/// assert!(!limits.asked().contains(Limit::Swap));
///
/// let all = limits
///     .memory_high(Bytes::mib(1800))
///     .swap_max(Bytes(0))
///     .cpu_weight(Weight::new(50)?)
///     .cpuset("0-3".parse::<containment_core::CpuSet>()?)
///     .mems("0".parse::<containment_core::CpuSet>()?)
///     .io_weight(Weight::DEFAULT)
///     .io_max("259:0".parse()?, IoMax::new().with(Rate::ReadBytes, 100_000_000))
///     .hugetlb(HugePage::new(Bytes::mib(2))?, Bytes::mib(64));
/// assert_eq!(all.asked(), containment_core::Set::all());
/// assert_eq!(all.swap_max, Some(Most::At(Bytes(0))));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Limits {
    /// Most memory: above it the kernel reclaims, then kills. Kept to a whole page, rounded down.
    pub memory_max: Option<Most<Bytes>>,
    /// Memory above which members are slowed down and reclaimed from, never killed.
    pub memory_high: Option<Most<Bytes>>,
    /// Most swap, apart from memory; 0 is none. Version 1 counts memory and swap together: there it is
    /// what that limit exceeds that of memory by, and stays so when only the memory limit changes.
    pub swap_max: Option<Most<Bytes>>,
    /// CPU time per wall-clock time.
    pub cpus: Option<Most<Cpus>>,
    /// CPU share relative to siblings.
    pub cpu_weight: Option<Weight>,
    /// CPUs that members may run on.
    pub cpuset: Option<CpuSet>,
    /// Memory nodes that members may allocate from.
    pub mems: Option<CpuSet>,
    /// Most processes and threads. Those that are there stay; at 0 no new one can be made.
    pub pids_max: Option<Most<u64>>,
    /// I/O share relative to siblings.
    pub io_weight: Option<Weight>,
    /// Most I/O per device.
    pub io_max: BTreeMap<Device, IoMax>,
    /// Most memory in huge pages, by their size.
    pub hugetlb: BTreeMap<HugePage, Most<Bytes>>,
}

/// `PID_MAX_LIMIT`: the kernel has no more pids and takes no larger limit, so that more is no limit.
const MOST_PIDS: u64 = 4 << 20;
/// The smallest page of any machine: less memory than that is none.
const LEAST_MEMORY: Bytes = Bytes::kib(4);

macro_rules! builders {
    ($($(#[$doc:meta])* $field:ident: $type:ty),+ $(,)?) => {$(
        $(#[$doc])*
        #[must_use]
        pub fn $field(mut self, value: impl Into<$type>) -> Self {
            self.$field = Some(value.into());
            self
        }
    )+};
}

impl Limits {
    /// No limit at all.
    pub fn new() -> Self {
        Self::default()
    }

    builders! {
        /// Sets [`Limits::memory_max`].
        memory_max: Most<Bytes>,
        /// Sets [`Limits::memory_high`].
        memory_high: Most<Bytes>,
        /// Sets [`Limits::swap_max`].
        swap_max: Most<Bytes>,
        /// Sets [`Limits::cpus`].
        cpus: Most<Cpus>,
        /// Sets [`Limits::cpu_weight`].
        cpu_weight: Weight,
        /// Sets [`Limits::cpuset`].
        cpuset: CpuSet,
        /// Sets [`Limits::mems`].
        mems: CpuSet,
        /// Sets [`Limits::io_weight`].
        io_weight: Weight,
    }

    /// Sets [`Limits::pids_max`]; more than any kernel has pids is no limit.
    #[must_use]
    pub fn pids_max(mut self, most: impl Into<Most<u64>>) -> Self {
        let most = most.into().value().filter(|most| *most < MOST_PIDS);
        self.pids_max = Some(most.map_or(Most::Lifted, Most::At));
        self
    }

    /// Sets the most I/O on one device, in [`Limits::io_max`].
    #[must_use]
    pub fn io_max(mut self, device: Device, most: IoMax) -> Self {
        self.io_max.insert(device, most);
        self
    }

    /// Sets the most memory in huge pages of one size, in [`Limits::hugetlb`].
    #[must_use]
    pub fn hugetlb(mut self, pages: HugePage, most: impl Into<Most<Bytes>>) -> Self {
        self.hugetlb.insert(pages, most.into());
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
            (Limit::IoMax, !self.io_max.is_empty()),
            (Limit::Hugetlb, !self.hugetlb.is_empty()),
        ];
        asked.into_iter().filter(|(_, set)| *set).map(|(limit, _)| limit).collect()
    }

    /// The same for a group that was just made, where to lift a limit is to ask for nothing.
    ///
    /// ```
    /// use containment_core::{Bytes, Limits, Most};
    /// let limits = Limits::new().memory_max(Bytes::gib(2)).pids_max(Most::Lifted);
    /// assert_eq!(limits.of_new_group(), Limits::new().memory_max(Bytes::gib(2)));
    /// ```
    #[must_use]
    pub fn of_new_group(self) -> Self {
        fn set<T>(most: Option<Most<T>>) -> Option<Most<T>> {
            most.and_then(Most::value).map(Most::At)
        }
        let set_rates = |(device, most): (Device, IoMax)| {
            let set = most.iter().filter(|(_, most)| *most != Most::Lifted);
            let set = set.fold(IoMax::new(), |all, (rate, most)| all.with(rate, most));
            (set != IoMax::new()).then_some((device, set))
        };
        Self {
            memory_max: set(self.memory_max),
            memory_high: set(self.memory_high),
            swap_max: set(self.swap_max),
            cpus: set(self.cpus),
            pids_max: set(self.pids_max),
            io_max: self.io_max.into_iter().filter_map(set_rates).collect(),
            hugetlb: self.hugetlb.into_iter().filter(|(_, most)| *most != Most::Lifted).collect(),
            ..self
        }
    }

    /// Whether every value can be a limit at all. Done before any of them is written.
    ///
    /// ```
    /// use containment_core::{Bytes, InvalidLimit, Limits};
    /// assert_eq!(Limits::new().memory_max(Bytes::mib(1)).check(), Ok(()));
    /// assert_eq!(Limits::new().memory_max(Bytes(1)).check(), Err(InvalidLimit::Memory));
    /// ```
    ///
    /// # Errors
    /// The first that cannot.
    pub fn check(&self) -> Result<(), InvalidLimit> {
        let too_little = |most: Option<Most<Bytes>>| {
            most.and_then(Most::value).is_some_and(|most| most < LEAST_MEMORY)
        };
        if too_little(self.memory_max) || too_little(self.memory_high) {
            return Err(InvalidLimit::Memory);
        }
        if [&self.cpuset, &self.mems].into_iter().flatten().any(CpuSet::is_empty) {
            return Err(InvalidLimit::EmptySet);
        }
        self.io_max.values().try_for_each(IoMax::check)
    }
}

/// What became of limits that were asked for.
///
/// ```
/// use backend_fake::Fake;
/// use containment_core::{Bytes, CgroupOps, ControllerSet, Limit, Limits};
///
/// // Version 1 has no `memory.high`.
/// let fake = Fake::v1();
/// let group = fake.create(&"job".parse()?, ControllerSet::EMPTY.with(Limit::Pids))?;
/// let answer = group.set_limits(&Limits::new().pids_max(10).memory_high(Bytes::mib(1)))?;
/// assert_eq!(answer.applied, [Limit::Pids]);
/// let answer = answer.described(|error| error.with_group("job"));
/// let (limit, why) = &answer.refused[0];
/// assert_eq!((*limit, why.group()), (Limit::MemoryHigh, Some("job")));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Default)]
pub struct Applied {
    /// Those in force now, read back from the kernel.
    pub applied: Vec<Limit>,
    /// Those that are not, and why.
    pub refused: Vec<(Limit, crate::Error)>,
}

impl Applied {
    /// The same, each refusal with what `describe` adds to it.
    #[must_use]
    pub fn described(self, describe: impl Fn(crate::Error) -> crate::Error) -> Self {
        let refused = self.refused.into_iter().map(|(limit, error)| (limit, describe(error)));
        Self { refused: refused.collect(), ..self }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DISK: Device = Device { major: 8, minor: 0 };

    #[test]
    fn what_no_host_can_apply_is_found_before_anything_is_written() {
        let cases = [
            (Limits::new().memory_max(Bytes(0)), Err(InvalidLimit::Memory)),
            (Limits::new().memory_high(Bytes(4095)), Err(InvalidLimit::Memory)),
            (Limits::new().cpuset(CpuSet::new()), Err(InvalidLimit::EmptySet)),
            (Limits::new().mems(CpuSet::new()), Err(InvalidLimit::EmptySet)),
            (Limits::new().io_max(DISK, IoMax::new()), Err(InvalidLimit::NoRate)),
            (Limits::new().swap_max(Bytes(0)).memory_max(Bytes::kib(4)), Ok(())),
            (Limits::new().memory_max(Most::Lifted).pids_max(0), Ok(())),
        ];
        for (limits, expected) in cases {
            assert_eq!(limits.check(), expected, "{limits:?}");
        }
    }

    #[test]
    fn each_refusal_is_described() {
        let error =
            || crate::Error::new(crate::ErrorKind::Unsupported, crate::Operation::SetLimits);
        let refused = vec![(Limit::Pids, error()), (Limit::Swap, error())];
        let applied = Applied { applied: vec![Limit::Memory], refused };
        let applied = applied.described(|error| error.with_group("job"));
        let of = |(limit, error): &(Limit, crate::Error)| (*limit, error.group() == Some("job"));
        let refused: Vec<_> = applied.refused.iter().map(of).collect();
        assert_eq!(applied.applied, [Limit::Memory]);
        assert_eq!(refused, [(Limit::Pids, true), (Limit::Swap, true)]);
    }

    #[test]
    fn more_processes_than_a_kernel_has_pids_are_no_limit() {
        assert_eq!(Limits::new().pids_max(u64::MAX).pids_max, Some(Most::Lifted));
        assert_eq!(Limits::new().pids_max(500).pids_max, Some(Most::At(500)));
    }

    #[test]
    fn lifting_limits_of_a_new_group_asks_for_nothing() {
        let pages = HugePage::new(Bytes::mib(2)).unwrap();
        let lifting = Limits::new()
            .memory_max(Most::Lifted)
            .pids_max(Most::Lifted)
            .hugetlb(pages, Most::Lifted)
            .io_max(DISK, IoMax::new().with(Rate::Reads, Most::Lifted));
        assert_eq!(lifting.asked().iter().count(), 4);
        assert_eq!(lifting.clone().of_new_group(), Limits::new());
        let both = lifting.swap_max(Bytes(0)).of_new_group();
        assert_eq!(both, Limits::new().swap_max(Bytes(0)));
    }
}
