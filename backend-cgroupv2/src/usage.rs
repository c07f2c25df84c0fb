//! What a group used, by the files that its controllers give it.
//!
//! Units: kernel, Documentation/admin-guide/cgroup-v2.rst. All figures count the groups below too;
//! CPU time is counted for every group, without a controller.

use std::time::Duration;

use containment_core::{Pressure, Usage};
use containment_process::cgroupfs::parse::{
    CpuStat, MemoryEvents, MemoryStat, io_stat, number, pressure,
};
use containment_process::cgroupfs::{Failure, Texts};

use crate::controllers::{Controller, Controllers};

/// Every figure that the group's controllers give it: without one its files are not there, and are not looked for
/// where no group here is `offered` it.
pub(crate) fn read(files: &impl Texts, offered: Controllers) -> Result<Usage, Failure> {
    let mut usage = Usage::default();
    cpu(files, &mut usage)?;
    if offered.contains(Controller::Memory) {
        memory(files, &mut usage)?;
    }
    if offered.contains(Controller::Pids) {
        pids(files, &mut usage)?;
    }
    if offered.contains(Controller::Io)
        && let Some(totals) = files.figure("io.stat", io_stat)?
    {
        usage.io_read = Some(totals.read);
        usage.io_write = Some(totals.written);
    }
    usage.pressure = Pressure {
        cpu: files.figure("cpu.pressure", pressure)?.flatten(),
        memory: files.figure("memory.pressure", pressure)?.flatten(),
        io: files.figure("io.pressure", pressure)?.flatten(),
    };
    Ok(usage)
}

fn cpu(files: &impl Texts, usage: &mut Usage) -> Result<(), Failure> {
    let Some(stat) = files.first_figure("cpu.stat", CpuStat::parse)? else { return Ok(()) };
    usage.cpu = stat.usage.map(Duration::from_micros);
    usage.cpu_user = stat.user.map(Duration::from_micros);
    usage.cpu_system = stat.system.map(Duration::from_micros);
    usage.throttled_periods = stat.throttled_periods;
    usage.throttled = stat.throttled.map(Duration::from_micros);
    Ok(())
}

fn pids(files: &impl Texts, usage: &mut Usage) -> Result<(), Failure> {
    usage.pids = files.figure("pids.current", number)?;
    if usage.pids.is_some() {
        // Since Linux 6.11, and in later releases of some older ones.
        usage.pids_peak = files.figure("pids.peak", number)?;
    }
    Ok(())
}

fn memory(files: &impl Texts, usage: &mut Usage) -> Result<(), Failure> {
    usage.memory = files.figure("memory.current", number)?;
    if usage.memory.is_none() {
        return Ok(());
    }
    // Since Linux 5.19.
    usage.memory_peak = files.figure("memory.peak", number)?;
    usage.swap = files.figure("memory.swap.current", number)?;
    if let Some(stat) = files.figure("memory.stat", MemoryStat::parse)? {
        usage.memory_anon = stat.anon;
        usage.memory_file = stat.file;
        usage.memory_kernel = stat.kernel;
    }
    // A kill in this subtree, whatever limit called for it; `oom` also counts where none was (K30).
    if let Some(events) = files.figure("memory.events", MemoryEvents::parse)? {
        usage.oom_kills = events.oom_kill;
    }
    Ok(())
}
