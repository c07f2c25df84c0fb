//! Limits that are to be no looser than others.

use std::collections::BTreeMap;

use super::{CpuSet, IoMax, Limits, Most};
use crate::{Limit, Set};

impl Limits {
    /// The tighter of each limit and its bound, and which of those that are asked for are tighter now. What
    /// is only in `bounds` is taken over; weights, which are relative to other groups, are left as they are.
    ///
    /// Sets of CPUs or nodes that have none in common become empty, which is no limit: see
    /// [`check`](Self::check).
    ///
    /// ```
    /// use containment_core::{Bytes, Limit, Limits};
    /// let bounds = Limits::new().memory_max(Bytes::gib(1)).pids_max(100);
    /// let (limits, tightened) = Limits::new().memory_max(Bytes::gib(2)).within(&bounds);
    /// assert_eq!(limits, bounds);
    /// assert!(tightened.contains(Limit::Memory) && !tightened.contains(Limit::Pids));
    /// ```
    #[must_use]
    pub fn within(self, bounds: &Self) -> (Self, Set<Limit>) {
        let within = Self {
            memory_max: least(self.memory_max, bounds.memory_max),
            memory_high: least(self.memory_high, bounds.memory_high),
            swap_max: least(self.swap_max, bounds.swap_max),
            cpus: least(self.cpus, bounds.cpus),
            cpu_weight: self.cpu_weight,
            cpuset: common(self.cpuset.as_ref(), bounds.cpuset.as_ref()),
            mems: common(self.mems.as_ref(), bounds.mems.as_ref()),
            pids_max: least(self.pids_max, bounds.pids_max),
            io_weight: self.io_weight,
            io_max: merged(&self.io_max, &bounds.io_max, slowest),
            hugetlb: merged(&self.hugetlb, &bounds.hugetlb, tighter),
        };
        let tightened = self.asked().iter().filter(|limit| self.differs(&within, *limit)).collect();
        (within, tightened)
    }

    fn differs(&self, other: &Self, limit: Limit) -> bool {
        match limit {
            Limit::Memory => self.memory_max != other.memory_max,
            Limit::MemoryHigh => self.memory_high != other.memory_high,
            Limit::Swap => self.swap_max != other.swap_max,
            Limit::Cpus => self.cpus != other.cpus,
            Limit::Cpuset => self.cpuset != other.cpuset,
            Limit::Mems => self.mems != other.mems,
            Limit::Pids => self.pids_max != other.pids_max,
            Limit::IoMax => {
                self.io_max.iter().any(|(disk, most)| other.io_max.get(disk) != Some(most))
            }
            Limit::Hugetlb => {
                self.hugetlb.iter().any(|(page, most)| other.hugetlb.get(page) != Some(most))
            }
            Limit::CpuWeight | Limit::IoWeight => false,
        }
    }
}

fn least<T: Ord + Copy>(own: Option<Most<T>>, bound: Option<Most<T>>) -> Option<Most<T>> {
    match (own, bound) {
        (Some(own), Some(bound)) => Some(tighter(own, bound)),
        (own, bound) => own.or(bound),
    }
}

fn tighter<T: Ord + Copy>(own: Most<T>, bound: Most<T>) -> Most<T> {
    match (own, bound) {
        (Most::At(own), Most::At(bound)) => Most::At(own.min(bound)),
        (Most::Lifted, bound) => bound,
        (own, Most::Lifted) => own,
    }
}

fn common(own: Option<&CpuSet>, bound: Option<&CpuSet>) -> Option<CpuSet> {
    match (own, bound) {
        (Some(own), Some(bound)) => Some(own.intersection(bound)),
        (own, bound) => own.or(bound).cloned(),
    }
}

fn merged<K: Ord + Copy, V: Copy>(
    own: &BTreeMap<K, V>,
    bounds: &BTreeMap<K, V>,
    tighter: impl Fn(V, V) -> V,
) -> BTreeMap<K, V> {
    let mut all = own.clone();
    for (key, bound) in bounds {
        all.entry(*key).and_modify(|own| *own = tighter(*own, *bound)).or_insert(*bound);
    }
    all
}

/// The tighter of each rate.
fn slowest(own: IoMax, bound: IoMax) -> IoMax {
    bound.iter().fold(own, |all, (rate, bound)| {
        all.with(rate, own.rate(rate).map_or(bound, |own| tighter(own, bound)))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Bytes, Cpus, Device, HugePage, Rate, Weight};

    const DISK: Device = Device { major: 8, minor: 0 };

    fn set(text: &str) -> CpuSet {
        text.parse().unwrap()
    }

    #[test]
    fn each_limit_is_the_tighter_of_both() {
        let pages = HugePage::new(Bytes::mib(2)).unwrap();
        let rates = |reads: u64| IoMax::new().with(Rate::Reads, reads);
        let bounds = Limits::new()
            .memory_max(Bytes::gib(1))
            .swap_max(Bytes(0))
            .cpus(Cpus::new(2.0).unwrap())
            .cpuset(set("0-3"))
            .pids_max(50)
            .io_max(DISK, rates(10).with(Rate::Writes, 5))
            .hugetlb(pages, Bytes::mib(4));
        let asked = Limits::new()
            .memory_max(Most::Lifted)
            .swap_max(Bytes::mib(1))
            .cpus(Cpus::new(0.5).unwrap())
            .cpuset(set("2-9"))
            .cpu_weight(Weight::new(9).unwrap())
            .pids_max(50)
            .io_max(DISK, rates(20))
            .hugetlb(pages, Bytes::mib(8));
        let (within, tightened) = asked.within(&bounds);
        let expected = Limits {
            cpus: Some(Most::At(Cpus::new(0.5).unwrap())),
            cpuset: Some(set("2-3")),
            cpu_weight: Some(Weight::new(9).unwrap()),
            ..bounds
        };
        assert_eq!(within, expected);
        let names: Vec<_> = tightened.iter().collect();
        let expected = [Limit::Memory, Limit::Swap, Limit::Cpuset, Limit::IoMax, Limit::Hugetlb];
        assert_eq!(names, expected);
    }

    #[test]
    fn without_bounds_everything_stays() {
        let asked = Limits::new().memory_max(Bytes::gib(1)).mems(set("0"));
        let (within, tightened) = asked.clone().within(&Limits::new());
        assert_eq!((within, tightened), (asked, Set::EMPTY));
    }

    #[test]
    fn sets_with_nothing_in_common_are_no_limit() {
        let (within, _) = Limits::new().cpuset(set("8")).within(&Limits::new().cpuset(set("0-3")));
        assert!(within.check().is_err());
    }
}
