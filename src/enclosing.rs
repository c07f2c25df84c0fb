//! What whoever holds us allows: the groups around our own, of either version.

use containment_core::{CpuSet, Limits, Result};

/// The limits that hold for this process by the groups that it is in: of each the tightest, from our own
/// group up to the root of what is mounted, over the unified hierarchy and those of version 1. A group with
/// these limits is never looser than they are, wherever it is made. Weights are relative to siblings, and no
/// part of it.
///
/// CPUs and memory nodes are told where they are not all that the machine has.
///
/// ```
/// use containment::{Bytes, Limits, enclosing_limits};
/// let around = enclosing_limits()?;
/// let (limits, tightened) = Limits::new().memory_max(Bytes::gib(2)).within(&around);
/// if !tightened.is_empty() {
///     println!("less memory than that is left to us: {:?}", limits.memory_max);
/// }
/// assert!(limits.memory_max.is_some());
/// # Ok::<(), containment::Error>(())
/// ```
///
/// # Errors
/// When a group's file cannot be read.
pub fn enclosing_limits() -> Result<Limits> {
    let (unified, _) = backend_cgroupv2::enclosing()?.within(&backend_cgroupv1::enclosing()?);
    let narrower = |set: Option<CpuSet>, all: Option<CpuSet>| {
        set.filter(|set| all.is_none_or(|all| !all.is_subset(set)))
    };
    // A kernel without memory nodes has only the first.
    let nodes = listed("/sys/devices/system/node/online").or(Some(CpuSet::from_iter([0])));
    Ok(Limits {
        cpuset: narrower(unified.cpuset, listed("/sys/devices/system/cpu/online")),
        mems: narrower(unified.mems, nodes),
        ..unified
    })
}

/// All that the machine has, as the file lists it; where that cannot be read, every limit is told.
fn listed(file: &str) -> Option<CpuSet> {
    std::fs::read_to_string(file).ok()?.trim().parse().ok()
}
