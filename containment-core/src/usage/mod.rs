//! What a group used. Every figure is optional: `None` is "not measured", never 0 for unknown.

mod pressure;
mod rate;

use std::time::Duration;

pub use pressure::{Pressure, Stalled};
pub use rate::{CpuRate, Sample};

/// What the members of a group used so far, those that ended included.
///
/// ```
/// use backend_fake::{Fake, Script};
/// use containment_core::{Bytes, CgroupOps, ControllerSet, Group, Policy, Program};
/// use std::time::Duration;
///
/// let fake = Fake::new();
/// fake.program("make", Script::new().allocates(Duration::ZERO, Bytes::mib(3).0));
/// let job = Group::new(fake.create(&"job".parse()?, ControllerSet::EMPTY)?, fake.waiter());
/// job.spawn(&Program::new("make"))?;
/// let usage = job.usage()?;
/// assert_eq!(usage.memory, Some(3 << 20));
/// assert!(!usage.pressure.is_measured() && usage.cpu.is_none(), "not by the fake");
///
/// let report = job.terminate(&Policy::kill().measuring())?;
/// let usage = report.usage.unwrap_or_default();
/// assert_eq!((usage.pids, usage.memory_peak), (Some(0), Some(3 << 20)));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Usage {
    /// CPU time, user and system.
    pub cpu: Option<Duration>,
    /// CPU time in user mode.
    pub cpu_user: Option<Duration>,
    /// CPU time in the kernel.
    pub cpu_system: Option<Duration>,
    /// Periods in which the group was throttled.
    pub throttled_periods: Option<u64>,
    /// Time for which the group was throttled.
    pub throttled: Option<Duration>,
    /// Memory in use, in bytes.
    pub memory: Option<u64>,
    /// The most memory that was in use, in bytes.
    pub memory_peak: Option<u64>,
    /// Anonymous memory in use, in bytes.
    pub memory_anon: Option<u64>,
    /// Page cache in use, in bytes.
    pub memory_file: Option<u64>,
    /// Kernel memory in use, in bytes.
    pub memory_kernel: Option<u64>,
    /// Swap in use, in bytes.
    pub swap: Option<u64>,
    /// Processes and threads now. The kernel counts a zombie until it is reaped; in the report of a
    /// teardown that left the group empty this is 0 all the same.
    pub pids: Option<u64>,
    /// The most processes and threads that there were.
    pub pids_peak: Option<u64>,
    /// Bytes read from block devices.
    pub io_read: Option<u64>,
    /// Bytes written to block devices.
    pub io_write: Option<u64>,
    /// Members that the OOM killer took.
    pub oom_kills: Option<u64>,
    /// How long members waited for what they lacked.
    pub pressure: Pressure,
}
