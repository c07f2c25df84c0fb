//! Sets of CPUs, or of memory nodes, in the kernel's list format.

use std::collections::BTreeSet;
use std::fmt;
use std::str::FromStr;

use crate::number::number;

/// A set of CPUs, or of memory nodes. Reads and writes the kernel's list format, `0-3,6` (cpuset(7),
/// "List format").
///
/// ```
/// use containment_core::CpuSet;
/// let set: CpuSet = "6,0-2,3".parse()?;
/// assert_eq!(set.to_string(), "0-3,6");
/// assert!(set.contains(2) && !set.contains(5));
/// assert_eq!((set.len(), set.iter().next_back()), (5, Some(6)));
///
/// let other: CpuSet = "1-4".parse()?;
/// assert_eq!(set.union(&other).to_string(), "0-4,6");
/// assert_eq!(set.intersection(&other).to_string(), "1-3");
/// assert_eq!(set.difference(&other), CpuSet::from_iter([0, 6]));
/// assert!(!set.is_disjoint(&other) && !other.is_subset(&set));
/// assert!(CpuSet::new().is_empty() && CpuSet::new().is_subset(&set));
/// assert!("3-1".parse::<CpuSet>().is_err());
/// # Ok::<(), containment_core::InvalidCpuSet>(())
/// ```
#[derive(Clone, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct CpuSet(BTreeSet<u16>);

impl CpuSet {
    /// No CPU at all.
    pub const fn new() -> Self {
        Self(BTreeSet::new())
    }

    /// Whether this CPU is in it.
    pub fn contains(&self, cpu: u16) -> bool {
        self.0.contains(&cpu)
    }

    /// How many CPUs are in it.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether no CPU is in it. To the kernel an empty set means "as the parent group", or is refused.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The CPUs, in ascending order.
    pub fn iter(&self) -> impl DoubleEndedIterator<Item = u16> + '_ {
        self.0.iter().copied()
    }

    /// The CPUs that are in either.
    #[must_use]
    pub fn union(&self, other: &Self) -> Self {
        Self(&self.0 | &other.0)
    }

    /// The CPUs that are in both.
    #[must_use]
    pub fn intersection(&self, other: &Self) -> Self {
        Self(&self.0 & &other.0)
    }

    /// The CPUs that are in this one and not in the other.
    #[must_use]
    pub fn difference(&self, other: &Self) -> Self {
        Self(&self.0 - &other.0)
    }

    /// Whether no CPU is in both.
    pub fn is_disjoint(&self, other: &Self) -> bool {
        self.0.is_disjoint(&other.0)
    }

    /// Whether every CPU of this one is in the other.
    pub fn is_subset(&self, other: &Self) -> bool {
        self.0.is_subset(&other.0)
    }

    /// The CPUs as ranges that do not touch each other.
    fn ranges(&self) -> Vec<(u16, u16)> {
        let mut ranges: Vec<(u16, u16)> = Vec::new();
        for cpu in self.iter() {
            match ranges.last_mut() {
                Some((_, last)) if last.checked_add(1) == Some(cpu) => *last = cpu,
                _ => ranges.push((cpu, cpu)),
            }
        }
        ranges
    }
}

impl FromIterator<u16> for CpuSet {
    fn from_iter<I: IntoIterator<Item = u16>>(cpus: I) -> Self {
        Self(cpus.into_iter().collect())
    }
}

impl Extend<u16> for CpuSet {
    fn extend<I: IntoIterator<Item = u16>>(&mut self, cpus: I) {
        self.0.extend(cpus);
    }
}

impl fmt::Display for CpuSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, (first, last)) in self.ranges().into_iter().enumerate() {
            let comma = if index == 0 { "" } else { "," };
            write!(f, "{comma}{first}")?;
            if last > first {
                write!(f, "-{last}")?;
            }
        }
        Ok(())
    }
}

impl fmt::Debug for CpuSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "CpuSet({self})")
    }
}

/// A text that is no set of CPUs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a set of CPUs is a list such as 0-3,6")]
pub struct InvalidCpuSet;

impl FromStr for CpuSet {
    type Err = InvalidCpuSet;

    /// Reads a list; an empty text is the empty set, as the kernel writes it.
    fn from_str(text: &str) -> Result<Self, InvalidCpuSet> {
        let mut set = Self::new();
        if text.is_empty() {
            return Ok(set);
        }
        for part in text.split(',') {
            let (first, last) = part.split_once('-').unwrap_or((part, part));
            let (first, last) = (index(first)?, index(last)?);
            if first > last {
                return Err(InvalidCpuSet);
            }
            set.extend(first..=last);
        }
        Ok(set)
    }
}

/// 65,535 is far above what kernels are built for (`NR_CPUS`, `MAX_NUMNODES`).
fn index(text: &str) -> Result<u16, InvalidCpuSet> {
    number(text).ok_or(InvalidCpuSet)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(text: &str) -> CpuSet {
        text.parse().unwrap()
    }

    #[test]
    fn lists_are_read_and_written_as_the_kernel_does() {
        let cases = [("", ""), ("0", "0"), ("3,1,2", "1-3"), ("0-3,6", "0-3,6"), ("4-4,0", "0,4")];
        for (read, written) in cases {
            assert_eq!(set(read).to_string(), written);
        }
        assert_eq!(set("65534-65535").to_string(), "65534-65535");
    }

    #[test]
    fn what_is_no_list_is_refused() {
        let wrong = [",", "3-1", "0-", "-1", "a", "0, 1", "+1", "0-3-5", "0,", "65536", "\n", "0 "];
        for text in wrong {
            assert_eq!(text.parse::<CpuSet>(), Err(InvalidCpuSet), "{text:?}");
        }
    }

    #[test]
    fn sets_are_combined() {
        let (a, b) = (set("0-3,8"), set("2-5"));
        assert_eq!(a.union(&b), set("0-5,8"));
        assert_eq!(a.intersection(&b), set("2-3"));
        assert_eq!(a.difference(&b), set("0-1,8"));
        assert!(set("8").is_subset(&a) && !b.is_subset(&a));
        assert!(set("0-1").is_disjoint(&b) && !a.is_disjoint(&b));
        assert_eq!((a.len(), CpuSet::new().is_empty()), (5, true));
        assert_eq!(b.iter().rev().collect::<Vec<_>>(), [5, 4, 3, 2]);
    }
}
