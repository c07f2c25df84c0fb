//! Sizes of huge pages.

use std::fmt;

use super::{Bytes, InvalidLimit};

/// A size of huge pages. Which ones there are depends on the machine (`/sys/kernel/mm/hugepages`).
///
/// ```
/// use containment_core::{Bytes, HugePage};
/// let pages = HugePage::new(Bytes::mib(2))?;
/// assert_eq!((pages.size(), pages.to_string().as_str()), (Bytes::mib(2), "2MB"));
/// assert!(HugePage::new(Bytes(5000)).is_err());
/// # Ok::<(), containment_core::InvalidLimit>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct HugePage(Bytes);

impl HugePage {
    /// Pages of this size.
    ///
    /// # Errors
    /// Unless it is a power of two from 8 KiB on.
    pub fn new(size: Bytes) -> Result<Self, InvalidLimit> {
        let fits = size.0.is_power_of_two() && size >= Bytes::kib(8);
        fits.then_some(Self(size)).ok_or(InvalidLimit::HugePage)
    }

    /// The size of one.
    pub fn size(self) -> Bytes {
        self.0
    }
}

/// As in the kernel's file names: `hugetlb.2MB.max` (kernel: `mem_fmt` of `mm/hugetlb_cgroup.c`).
impl fmt::Display for HugePage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Bytes(size) = self.0;
        match size {
            size if size >= 1 << 30 => write!(f, "{}GB", size >> 30),
            size if size >= 1 << 20 => write!(f, "{}MB", size >> 20),
            size => write!(f, "{}KB", size >> 10),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_named_as_by_the_kernel() {
        let names = [Bytes::kib(64), Bytes::mib(2), Bytes::mib(512), Bytes::gib(1), Bytes::gib(16)];
        let names = names.map(|size| HugePage::new(size).unwrap().to_string());
        assert_eq!(names, ["64KB", "2MB", "512MB", "1GB", "16GB"]);
        for wrong in [0, 1, 4096, 3 << 20] {
            assert_eq!(HugePage::new(Bytes(wrong)), Err(InvalidLimit::HugePage));
        }
    }
}
