//! One value at a time: written through a controller of cgroups-rs, whose paths lead through our own
//! handle (`/proc/self/fd/N`), and read back by us.

use std::path::PathBuf;

use cgroups_rs::fs::MaxValue;
use cgroups_rs::fs::blkio::BlkIoController;
use cgroups_rs::fs::cpu::CpuController;
use cgroups_rs::fs::cpuset::CpuSetController;
use cgroups_rs::fs::memory::MemController;
use cgroups_rs::fs::pid::PidController;
use containment_core::{Bytes, CpuSet, Error, ErrorKind, HugePage, Most, Operation, Quota, Result};
use containment_process::cgroupfs::{Dir, parse};
use rustix::io::Errno;

use super::{memory, read};
use crate::{cpuset, offer};

pub(super) const MEMORY: &str = "memory.limit_in_bytes";
const BOTH: &str = "memory.memsw.limit_in_bytes";
/// The kernel rounds limits of memory down to pages, which are at most this large.
const LARGEST_PAGE: u64 = 64 << 10;

/// Writes to the directory of one controller.
#[derive(Debug)]
pub(super) struct Writer<'a> {
    pub(super) dir: &'a Dir,
    /// Whether the files of cpuset lack their prefix.
    pub(super) no_prefix: bool,
}

/// The file of memory and swap together, where the kernel counts swap.
pub(super) fn memory_and_swap(writer: &Writer<'_>) -> Option<&'static str> {
    writer.dir.exists(BOTH).then_some(BOTH)
}

impl Writer<'_> {
    pub(super) fn memory(&self, bytes: u64) -> Result<()> {
        let controller = MemController::new(self.path(), self.path(), false);
        self.write(MEMORY, controller.set_limit(signed(bytes)))?;
        self.check(MEMORY, &bytes.to_string(), |text| is_about(text, bytes))
    }

    pub(super) fn memory_and_swap(&self, bytes: u64) -> Result<()> {
        let controller = MemController::new(self.path(), self.path(), false);
        self.write(BOTH, controller.set_memswap_limit(signed(bytes)))?;
        self.check(BOTH, &bytes.to_string(), |text| is_about(text, bytes))
    }

    pub(super) fn cpu_shares(&self, shares: u64) -> Result<()> {
        let controller = CpuController::new(self.path(), self.path(), false);
        self.write("cpu.shares", controller.set_shares(shares))?;
        self.check_exactly("cpu.shares", &shares)
    }

    /// A quota of -1 lifts.
    pub(super) fn cpu_quota(&self, most: Most<Quota>) -> Result<()> {
        let Most::At(Quota { quota, period }) = most else {
            let controller = CpuController::new(self.path(), self.path(), false);
            self.write("cpu.cfs_quota_us", controller.set_cfs_quota(-1))?;
            return self.check_exactly("cpu.cfs_quota_us", &-1);
        };
        let quota = i64::try_from(quota.as_micros()).unwrap_or(i64::MAX);
        let period = u64::try_from(period.as_micros()).unwrap_or(u64::MAX);
        let controller = CpuController::new(self.path(), self.path(), false);
        if read(self.dir, "cpu.cfs_period_us")? != period.to_string() {
            self.write("cpu.cfs_period_us", controller.set_cfs_period(period))?;
        }
        self.write("cpu.cfs_quota_us", controller.set_cfs_quota(quota))
            .map_err(|error| hint(error, "a group around it has less CPU time"))?;
        self.check_exactly("cpu.cfs_period_us", &period)?;
        self.check_exactly("cpu.cfs_quota_us", &quota)
    }

    pub(super) fn cpus(&self, cpus: &CpuSet) -> Result<()> {
        let controller = CpuSetController::new(self.path(), self.path(), false);
        self.cpuset("cpuset.cpus", cpus, |list| controller.set_cpus(list))
    }

    pub(super) fn mems(&self, nodes: &CpuSet) -> Result<()> {
        let controller = CpuSetController::new(self.path(), self.path(), false);
        self.cpuset("cpuset.mems", nodes, |list| controller.set_mems(list))
    }

    pub(super) fn pids_max(&self, most: Most<u64>) -> Result<()> {
        let controller = PidController::new(self.path(), self.path(), false);
        let value = most.value().and_then(|most| i64::try_from(most).ok());
        let value = value.map_or(MaxValue::Max, MaxValue::Value);
        self.write("pids.max", controller.set_pid_max(value))?;
        self.check_exactly("pids.max", &most)
    }

    /// Written by us: cgroups-rs cannot lift this one.
    pub(super) fn hugetlb(&self, pages: HugePage, most: Most<Bytes>) -> Result<()> {
        let file = format!("hugetlb.{pages}.limit_in_bytes");
        let bytes = most.value().map_or(memory::UNLIMITED, |bytes| bytes.0);
        self.write_ourselves(&file, &signed(bytes).to_string()).map_err(|error| {
            match error.kind() {
                ErrorKind::Unsupported => error
                    .because(format!("this machine has no huge pages of {pages}"))
                    .advise("name a size that /sys/kernel/mm/hugepages has"),
                _ => error,
            }
        })?;
        let kept = |text: &str| is_rounded(text, bytes, pages.size().0);
        self.check(&file, &bytes.to_string(), kept)
    }

    pub(super) fn io_weight(&self, weight: u64) -> Result<()> {
        match offer::io_weight_file(self.dir) {
            // cgroups-rs does not know the file of BFQ.
            Some(file) if file != "blkio.weight" => self.write_ourselves(file, &weight.to_string()),
            _ => {
                let controller = BlkIoController::new(self.path(), self.path(), false);
                self.write("blkio.weight", controller.set_weight(weight))
            }
        }?;
        let file = offer::io_weight_file(self.dir).unwrap_or("blkio.weight");
        let weight = weight.to_string();
        // BFQ may show a line of devices after the default.
        let shown = |text: &str| text.split_ascii_whitespace().any(|word| word == weight);
        self.check(file, &weight, shown)
    }

    fn cpuset(
        &self,
        name: &'static str,
        wanted: &CpuSet,
        set: impl FnOnce(&str) -> cgroups_rs::fs::error::Result<()>,
    ) -> Result<()> {
        let list = wanted.to_string();
        let file = cpuset::file(name, self.no_prefix);
        // cgroups-rs knows the prefixed names only.
        if self.no_prefix {
            self.write_ourselves(file, &list)
        } else {
            self.write(file, set(&list))
        }
        .map_err(|error| hint(error, "the group around it does not have them all"))?;
        let kept = self.dir.parse(file, parse::list);
        let kept = kept.map_err(|failure| failure.during(Operation::SetLimits))?;
        if kept == *wanted { Ok(()) } else { Err(self.kept_another(file, &kept, wanted)) }
    }

    pub(super) fn path(&self) -> PathBuf {
        self.dir.handle_path()
    }

    fn write_ourselves(&self, file: &str, value: &str) -> Result<()> {
        self.dir.write(file, value).map_err(|failure| failure.during(Operation::SetLimits))
    }

    /// What cgroups-rs said of a write, as our error.
    pub(super) fn write(
        &self,
        file: &str,
        written: cgroups_rs::fs::error::Result<()>,
    ) -> Result<()> {
        written.map_err(|error| {
            let cause = std::error::Error::source(&error);
            let cause = cause.and_then(|cause| cause.downcast_ref::<std::io::Error>());
            let ours = match cause {
                Some(cause) => Error::from_io(Operation::SetLimits, cause),
                None => {
                    Error::new(ErrorKind::System, Operation::SetLimits).because(error.to_string())
                }
            };
            let ours = ours.with_path(self.dir.path().join(file));
            match ours.errno().map(Errno::from_raw_os_error) {
                Some(Errno::BUSY) => ours
                    .because("its members use more than that")
                    .advise("give a larger limit, or end some members"),
                Some(Errno::NODEV) => ours.with_kind(ErrorKind::Gone),
                _ => ours,
            }
        })
    }

    fn check_exactly(&self, file: &str, value: &impl ToString) -> Result<()> {
        let value = value.to_string();
        self.check(file, &value, |text| text == value)
    }

    /// Reads a value back: some kernels and files take a write and keep another value.
    fn check(&self, file: &str, wanted: &str, is_it: impl Fn(&str) -> bool) -> Result<()> {
        let text = read(self.dir, file)?;
        if is_it(&text) {
            return Ok(());
        }
        Err(self.kept_another(file, &text, &wanted))
    }

    pub(super) fn kept_another(
        &self,
        file: &str,
        kept: &dyn std::fmt::Display,
        wanted: &dyn std::fmt::Display,
    ) -> Error {
        Error::new(ErrorKind::System, Operation::SetLimits)
            .with_path(self.dir.path().join(file))
            .because(format!("the kernel keeps {kept} in place of {wanted}"))
            .advise("give a value that the kernel keeps as it is")
    }
}

/// A refused value that is fine by itself, but not below the groups around it.
fn hint(error: Error, why: &'static str) -> Error {
    match error.errno().map(Errno::from_raw_os_error) {
        Some(Errno::ACCESS | Errno::INVAL | Errno::RANGE) => error
            .with_kind(ErrorKind::InvalidInput)
            .because(why)
            .advise("ask for no more than the group around it has"),
        _ => error,
    }
}

/// -1 lifts a limit.
fn signed(bytes: u64) -> i64 {
    i64::try_from(bytes).ok().filter(|_| bytes < memory::UNLIMITED).unwrap_or(-1)
}

/// Whether a value is the one that was written, but for the rounding to pages.
fn is_about(text: &str, bytes: u64) -> bool {
    is_rounded(text, bytes, LARGEST_PAGE)
}

/// Whether a value is the one that was written, rounded down to multiples of `unit` or less.
fn is_rounded(text: &str, bytes: u64, unit: u64) -> bool {
    let Ok(kept) = text.parse::<u64>() else { return false };
    // Rounded to huge pages, "no limit" is a little less.
    let unlimited = bytes >= memory::UNLIMITED && kept >= memory::UNLIMITED - unit;
    unlimited || (kept <= bytes && bytes - kept < unit)
}
