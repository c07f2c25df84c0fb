//! What a group used, by the files of the hierarchies that it joined; from no other.
//!
//! Units: kernel, Documentation/admin-guide/cgroup-v1/{cpuacct,memory,blkio-controller}.rst. All
//! figures count the groups below too. Version 1 has no pressure files.

use std::time::Duration;

use containment_core::Usage;
use containment_process::cgroupfs::parse::{
    CpuAcctStat, OomControl, V1CpuStat, V1MemoryStat, blkio_bytes, number,
};
use containment_process::cgroupfs::{Failure, Texts};
use containment_process::proc::ticks;

use crate::branch::Branch;
use crate::branches::Branches;

impl Branches {
    /// Every figure that the joined hierarchies have.
    pub(crate) fn usage(&self) -> Result<Usage, Failure> {
        let mut usage = Usage::default();
        for controller in MEASURING {
            match self.serving(controller) {
                Some(branch) if self.place.sampling => read(controller, &*branch.files, &mut usage),
                Some(branch) => read(controller, &branch.dir, &mut usage),
                None => Ok(()),
            }?;
        }
        if let (Some(total), Some(user), Some(system)) =
            (usage.cpu, usage.cpu_user, usage.cpu_system)
        {
            let [user, system] = self.cpu_parts.of(total, user, system);
            (usage.cpu_user, usage.cpu_system) = (Some(user), Some(system));
        }
        if let Some(memory) = self.serving("memory") {
            usage.oom_kills = count_oom_kills(memory, self.place.sampling)?;
        }
        Ok(usage)
    }
}

/// The controllers that count.
const MEASURING: [&str; 5] = ["cpuacct", "cpu", "memory", "pids", "blkio"];

/// Fills in the figures of one controller.
fn read(controller: &str, files: &impl Texts, usage: &mut Usage) -> Result<(), Failure> {
    match controller {
        "cpuacct" => cpu_time(files, usage),
        "cpu" => throttling(files, usage),
        "memory" => memory(files, usage),
        "pids" => pids(files, usage),
        _ => io(files, usage),
    }
}

fn cpu_time(files: &impl Texts, usage: &mut Usage) -> Result<(), Failure> {
    let nanos = |file| Ok::<_, Failure>(files.figure(file, number)?.map(Duration::from_nanos));
    usage.cpu = files.first_figure("cpuacct.usage", number)?.map(Duration::from_nanos);
    // Since Linux 4.6.
    usage.cpu_user = nanos("cpuacct.usage_user")?;
    usage.cpu_system = nanos("cpuacct.usage_sys")?;
    if usage.cpu_user.is_none()
        && let Some(stat) = files.figure("cpuacct.stat", CpuAcctStat::parse)?
    {
        usage.cpu_user = stat.user.map(ticks);
        usage.cpu_system = stat.system.map(ticks);
    }
    Ok(())
}

fn throttling(files: &impl Texts, usage: &mut Usage) -> Result<(), Failure> {
    if let Some(stat) = files.first_figure("cpu.stat", V1CpuStat::parse)? {
        usage.throttled_periods = stat.throttled_periods;
        usage.throttled = stat.throttled.map(Duration::from_nanos);
    }
    Ok(())
}

fn memory(files: &impl Texts, usage: &mut Usage) -> Result<(), Failure> {
    usage.memory = files.first_figure("memory.usage_in_bytes", number)?;
    usage.memory_peak = files.figure("memory.max_usage_in_bytes", number)?;
    usage.memory_kernel = files.figure("memory.kmem.usage_in_bytes", number)?;
    if let Some(stat) = files.figure("memory.stat", V1MemoryStat::parse)? {
        usage.memory_anon = stat.anon;
        usage.memory_file = stat.file;
        usage.swap = stat.swap;
    }
    Ok(())
}

fn pids(files: &impl Texts, usage: &mut Usage) -> Result<(), Failure> {
    usage.pids = files.first_figure("pids.current", number)?;
    // Since Linux 6.11.
    usage.pids_peak = files.figure("pids.peak", number)?;
    Ok(())
}

fn io(files: &impl Texts, usage: &mut Usage) -> Result<(), Failure> {
    let recursive = files.first_figure("blkio.throttle.io_service_bytes_recursive", blkio_bytes)?;
    let totals = match recursive {
        Some(totals) => Some(totals),
        None => files.figure("blkio.throttle.io_service_bytes", blkio_bytes)?,
    };
    usage.io_read = totals.map(|totals| totals.read);
    usage.io_write = totals.map(|totals| totals.written);
    Ok(())
}

/// Counted where the victim was, and nowhere above: summed over the subtree. Since Linux 4.13. The group's own
/// file may be one that is `kept` open.
pub(crate) fn count_oom_kills(memory: &Branch, kept: bool) -> Result<Option<u64>, Failure> {
    let mut kills = if kept { kills_in(&*memory.files) } else { kills_in(&memory.dir) }?;
    memory.dir.walk(|dir| {
        let here = kills_in(dir)?;
        kills = here.map(|here| here + kills.unwrap_or(0)).or(kills);
        Ok(())
    })?;
    Ok(kills)
}

fn kills_in(files: &impl Texts) -> Result<Option<u64>, Failure> {
    let oom = files.figure("memory.oom_control", OomControl::parse)?;
    Ok(oom.and_then(|oom| oom.oom_kill))
}
