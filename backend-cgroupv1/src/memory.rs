//! Before Linux 5.11 a memory group counts, and limits, what is in the groups inside it only where that was asked
//! for: else its limits would not hold them. Kernel: Documentation/admin-guide/cgroup-v1/memory.rst, section 6.

use containment_core::ErrorKind;
use containment_process::cgroupfs::{Dir, Failure};

const FILE: &str = "memory.use_hierarchy";

/// Has a new `group` count the groups inside it. Later that is how it is, and cannot be changed.
pub(crate) fn count_below(group: &Dir) -> Result<(), Failure> {
    match group.read(FILE) {
        Ok(text) if text.trim_ascii() == b"0" => group.write(FILE, "1"),
        Err(failure) if failure.kind() == ErrorKind::Unsupported => Ok(()),
        read => read.map(drop),
    }
}
