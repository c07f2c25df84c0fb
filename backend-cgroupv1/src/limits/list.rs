//! The kernel's list format (`0-3,6`). Kernel: Documentation/admin-guide/cgroup-v1/cpusets.rst, section 1.9;
//! cpuset(7), "List format".

use std::collections::BTreeSet;

/// More than any kernel is built for, so that a range cannot fill the memory.
const MOST: u32 = 1 << 16;

/// The numbers of a list, `None` when it is malformed or empty.
pub(super) fn parse(list: &str) -> Option<BTreeSet<u32>> {
    let mut numbers = BTreeSet::new();
    for part in list.trim().split(',') {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        let (first, last): (u32, u32) = (first.parse().ok()?, last.parse().ok()?);
        if first > last || last >= MOST {
            return None;
        }
        numbers.extend(first..=last);
    }
    Some(numbers)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_are_sets() {
        assert_eq!(parse("0-2,6"), Some(BTreeSet::from([0, 1, 2, 6])));
        assert_eq!(parse("1,0"), parse("0-1\n"));
        for bad in ["", "a", "3-1", "1-", "-1", "0,,1", "0-4000000000", "0 1"] {
            assert_eq!(parse(bad), None, "{bad:?}");
        }
    }
}
