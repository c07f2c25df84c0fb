//! What the groups around us allow, ours included: of each limit the tightest, up to the root of what is
//! mounted. Nothing has to be writable for that, nor be ours.

use containment_core::{Bytes, Error, Limits, Most, Operation, Quota, Result};
use containment_process::cgroupfs::parse::{cpu_max, io_max, list, most};
use containment_process::cgroupfs::{Dir, Failure, Texts, Version};
use containment_process::proc::{Base, mountinfo};

use crate::host::own_group;

/// The limits of the unified hierarchy that hold for this process; none where it is not mounted, or not
/// where it would show our own group.
///
/// ```
/// let around = backend_cgroupv2::enclosing()?;
/// println!("the groups around us allow {:?} of memory", around.memory_max);
/// assert!(around.cpu_weight.is_none() && around.io_weight.is_none(), "those are relative");
/// # Ok::<(), containment_core::Error>(())
/// ```
///
/// # Errors
/// When a file there cannot be read.
pub fn enclosing() -> Result<Limits> {
    let failed = |failure: Failure| failure.during(Operation::Probe);
    let mounts = mountinfo::read().map_err(|error| Error::from_io(Operation::Probe, &error))?;
    let mut limits = Limits::new();
    for mount in mountinfo::mounts(&mounts).filter(|mount| mount.is_type("cgroup2")) {
        let Ok(own) = own_group(&mount.root(), &Base::default()) else { continue };
        // Another mount may cover it.
        let Ok(top) = Dir::open_mount(&mount.mount_point(), Version::V2) else { continue };
        for dir in top.levels_to(&own).map_err(failed)? {
            limits = limits.within(&of(&dir).map_err(failed)?).0;
        }
    }
    Ok(limits)
}

/// The limits of one group. A controller that it was not given has no files there.
fn of(dir: &Dir) -> std::result::Result<Limits, Failure> {
    let bytes = |file| dir.figure(file, most).map(|most| most.map(|most| most.map(Bytes)));
    let quota = dir.figure("cpu.max", cpu_max)?.and_then(Most::value);
    let pids = dir.figure("pids.max", most)?.and_then(Most::value);
    let limits = Limits {
        memory_max: bytes("memory.max")?,
        memory_high: bytes("memory.high")?,
        swap_max: bytes("memory.swap.max")?,
        cpus: quota.and_then(Quota::cpus).map(Most::At),
        cpuset: dir.figure("cpuset.cpus.effective", list)?.filter(|set| !set.is_empty()),
        mems: dir.figure("cpuset.mems.effective", list)?.filter(|set| !set.is_empty()),
        io_max: dir.figure("io.max", io_max)?.unwrap_or_default(),
        ..Limits::new()
    };
    Ok(pids.into_iter().fold(limits, Limits::pids_max).of_new_group())
}
