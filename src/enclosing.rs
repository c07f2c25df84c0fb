//! What whoever holds us allows: the groups around our own, of either version.

use containment_core::{CpuSet, Limits, Result};

/// The limits that hold for this process by the groups that it is in: of each the tightest, from our own
/// group up to the root of what is mounted, over the unified hierarchy and those of version 1. A group with
/// these limits is never looser than they are, wherever it is made. Weights are relative to siblings, and no
/// part of it.
///
/// CPUs and memory nodes are told where they are not all that the machine has.
///
/// # Errors
/// When a group's file cannot be read.
pub fn enclosing_limits() -> Result<Limits> {
    let (unified, _) = backend_cgroupv2::enclosing()?.within(&backend_cgroupv1::enclosing()?);
    let narrower = |set: Option<CpuSet>, all: &str| set.filter(|set| !holds_all(set, all));
    Ok(Limits {
        cpuset: narrower(unified.cpuset, "/sys/devices/system/cpu/online"),
        mems: narrower(unified.mems, "/sys/devices/system/node/online"),
        ..unified
    })
}

/// Whether nothing of the machine's is missing in `set`. A kernel without memory nodes has only the first.
fn holds_all(set: &CpuSet, file: &str) -> bool {
    let all = std::fs::read_to_string(file).ok().and_then(|text| text.trim().parse().ok());
    all.unwrap_or_else(|| CpuSet::from_iter([0])).is_subset(set)
}
