//! What the groups around us allow, ours included: in each hierarchy of each limit the tightest, up to the
//! root of what is mounted. Nothing has to be writable for that, nor be ours.

use std::time::Duration;

use containment_core::{Bytes, CpuSet, Cpus, Error, Limits, Most, Operation, Quota, Result};
use containment_process::cgroupfs::parse::{list, most, number};
use containment_process::cgroupfs::{Dir, Failure, Texts};
use containment_process::proc::{cgroup, mountinfo};

use crate::cpuset;
use crate::hierarchy::Mounted;

/// From here on the kernel means "no limit": `PAGE_COUNTER_MAX` on 64 bits, rounded to a page of any size.
pub(crate) const UNLIMITED: u64 = i64::MAX as u64 & !0xf_ffff;

/// The limits of the mounted hierarchies that hold for this process; none of those that are not mounted, or
/// not where they would show our own group.
///
/// ```
/// let around = backend_cgroupv1::enclosing()?;
/// println!("the groups around us allow {:?} processes", around.pids_max);
/// assert!(around.cpu_weight.is_none() && around.io_weight.is_none(), "those are relative");
/// # Ok::<(), containment_core::Error>(())
/// ```
///
/// # Errors
/// When a file there cannot be read.
pub fn enclosing() -> Result<Limits> {
    let failed = |error: std::io::Error| Error::from_io(Operation::Probe, &error);
    let mounts = mountinfo::read().map_err(failed)?;
    let memberships = cgroup::read_self().map_err(failed)?;
    let mut tightest = Tightest::default();
    for mounted in mountinfo::mounts(&mounts).filter_map(|mount| Mounted::of(&mount)) {
        let Some(own) = mounted.group_of(&memberships) else { continue };
        // Another mount may cover it.
        let Ok(top) = mounted.open() else { continue };
        let added = top.levels_to(&own).and_then(|levels| {
            levels.iter().try_for_each(|level| tightest.add(level, mounted.no_prefix))
        });
        added.map_err(|failure| failure.during(Operation::Probe))?;
    }
    Ok(tightest.limits())
}

/// The tightest of what was met, in the units of version 1.
#[derive(Debug, Default)]
struct Tightest {
    limits: Limits,
    memory: Option<u64>,
    /// Memory and swap together.
    both: Option<u64>,
}

impl Tightest {
    /// Takes the limits of one group in. Those of other hierarchies have no files there.
    fn add(&mut self, dir: &Dir, no_prefix: bool) -> std::result::Result<(), Failure> {
        let bytes =
            |file| dir.figure(file, number).map(|most| most.filter(|most| *most < UNLIMITED));
        let set = |file| -> std::result::Result<Option<CpuSet>, Failure> {
            Ok(dir.figure(cpuset::file(file, no_prefix), list)?.filter(|set| !set.is_empty()))
        };
        lower(&mut self.memory, bytes("memory.limit_in_bytes")?);
        lower(&mut self.both, bytes("memory.memsw.limit_in_bytes")?);
        let pids = dir.figure("pids.max", most)?.and_then(Most::value);
        let here = Limits {
            cpus: cpus(dir)?.map(Most::At),
            cpuset: set("cpuset.effective_cpus")?,
            mems: set("cpuset.effective_mems")?,
            ..Limits::new()
        };
        let here = pids.into_iter().fold(here, Limits::pids_max).of_new_group();
        self.limits = std::mem::take(&mut self.limits).within(&here).0;
        Ok(())
    }

    /// Swap is what both exceed memory by.
    fn limits(self) -> Limits {
        let memory = self.memory.into_iter().chain(self.both).min();
        let swap = self.both.zip(memory).map(|(both, memory)| both - memory);
        Limits {
            memory_max: memory.map(|bytes| Most::At(Bytes(bytes))),
            swap_max: swap.map(|bytes| Most::At(Bytes(bytes))),
            ..self.limits
        }
    }
}

fn lower(least: &mut Option<u64>, other: Option<u64>) {
    *least = least.iter().copied().chain(other).min();
}

/// The CPU time of a group; a quota of -1 is none.
fn cpus(dir: &Dir) -> std::result::Result<Option<Cpus>, Failure> {
    let quota = |text: &[u8]| match text {
        [b'-', ..] => Ok(None),
        quota => number(quota).map(Some),
    };
    let Some(quota) = dir.figure("cpu.cfs_quota_us", quota)?.flatten() else { return Ok(None) };
    let quota = Duration::from_micros(quota);
    let period = dir.figure("cpu.cfs_period_us", number)?.map(Duration::from_micros);
    Ok(period.and_then(|period| Quota { quota, period }.cpus()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn swap_is_what_both_exceed_memory_by() {
        let limits = |memory, both| {
            let limits = Tightest { memory, both, ..Tightest::default() }.limits();
            let bytes = |most: Option<Most<Bytes>>| most.and_then(Most::value).map(|bytes| bytes.0);
            (bytes(limits.memory_max), bytes(limits.swap_max))
        };
        assert_eq!(limits(None, None), (None, None));
        assert_eq!(limits(Some(5), None), (Some(5), None));
        assert_eq!(limits(Some(5), Some(7)), (Some(5), Some(2)));
        assert_eq!(limits(None, Some(7)), (Some(7), Some(0)));
        // An outer group may allow less of both than an inner one of memory alone.
        assert_eq!(limits(Some(9), Some(7)), (Some(7), Some(0)));
    }
}
