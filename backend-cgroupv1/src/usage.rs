//! What a group used, by the files of the hierarchies that it joined; from no other.
//!
//! Units: kernel, Documentation/admin-guide/cgroup-v1/{cpuacct,memory,blkio-controller}.rst. All
//! figures count the groups below too.

use std::time::Duration;

use containment_core::{ErrorKind, Usage};
use containment_process::cgroupfs::{Dir, Failure, field, number};

use crate::branches::Branches;

impl Branches {
    /// Every figure that the joined hierarchies have.
    pub(crate) fn usage(&self) -> Result<Usage, Failure> {
        let mut usage = Usage::default();
        let readers: [(&str, Reader); 5] = [
            ("cpuacct", cpu_time),
            ("cpu", throttling),
            ("memory", memory),
            ("pids", pids),
            ("blkio", io),
        ];
        for (controller, read) in readers {
            if let Some(branch) = self.serving(controller) {
                read(&branch.dir, &mut usage)?;
            }
        }
        if let Some(memory) = self.serving("memory") {
            // Counted where the victim was, and nowhere above.
            memory.walk(|dir| {
                let kills = text(dir, "memory.oom_control")?;
                let kills = kills.and_then(|text| field(&text, "oom_kill"));
                usage.oom_kills =
                    kills.map(|n| n + usage.oom_kills.unwrap_or(0)).or(usage.oom_kills);
                Ok(())
            })?;
        }
        Ok(usage)
    }
}

/// Fills in the figures of one controller.
type Reader = fn(&Dir, &mut Usage) -> Result<(), Failure>;

fn cpu_time(dir: &Dir, usage: &mut Usage) -> Result<(), Failure> {
    let nanos = |file| Ok::<_, Failure>(value(dir, file)?.map(Duration::from_nanos));
    usage.cpu = nanos("cpuacct.usage")?;
    // Since Linux 4.6.
    usage.cpu_user = nanos("cpuacct.usage_user")?;
    usage.cpu_system = nanos("cpuacct.usage_sys")?;
    if usage.cpu_user.is_none()
        && let Some(text) = text(dir, "cpuacct.stat")?
    {
        // In ticks of USER_HZ: 100 a second but on Alpha.
        let ticks = |key| field(&text, key).map(|ticks| Duration::from_millis(ticks * 10));
        usage.cpu_user = ticks("user");
        usage.cpu_system = ticks("system");
    }
    Ok(())
}

fn throttling(dir: &Dir, usage: &mut Usage) -> Result<(), Failure> {
    if let Some(text) = text(dir, "cpu.stat")? {
        usage.throttled_periods = field(&text, "nr_throttled");
        usage.throttled = field(&text, "throttled_time").map(Duration::from_nanos);
    }
    Ok(())
}

fn memory(dir: &Dir, usage: &mut Usage) -> Result<(), Failure> {
    usage.memory = value(dir, "memory.usage_in_bytes")?;
    usage.memory_peak = value(dir, "memory.max_usage_in_bytes")?;
    usage.memory_kernel = value(dir, "memory.kmem.usage_in_bytes")?;
    if let Some(text) = text(dir, "memory.stat")? {
        usage.memory_anon = field(&text, "total_rss");
        usage.memory_file = field(&text, "total_cache");
        usage.swap = field(&text, "total_swap");
    }
    Ok(())
}

fn pids(dir: &Dir, usage: &mut Usage) -> Result<(), Failure> {
    usage.pids = value(dir, "pids.current")?;
    // Since Linux 6.11.
    usage.pids_peak = value(dir, "pids.peak")?;
    Ok(())
}

fn io(dir: &Dir, usage: &mut Usage) -> Result<(), Failure> {
    for file in ["blkio.throttle.io_service_bytes_recursive", "blkio.throttle.io_service_bytes"] {
        if let Some(text) = text(dir, file)? {
            usage.io_read = Some(sum_of(&text, "Read"));
            usage.io_write = Some(sum_of(&text, "Write"));
            return Ok(());
        }
    }
    Ok(())
}

/// The bytes of one direction over all devices: lines as `8:0 Read 4096`.
fn sum_of(text: &[u8], direction: &str) -> u64 {
    let bytes = |line: &[u8]| {
        let mut fields = line.split(|byte| *byte == b' ').skip(1);
        let matches = fields.next() == Some(direction.as_bytes());
        fields.next().filter(|_| matches).and_then(number)
    };
    text.split(|byte| *byte == b'\n').filter_map(bytes).sum()
}

fn value(dir: &Dir, file: &str) -> Result<Option<u64>, Failure> {
    Ok(text(dir, file)?.and_then(|text| number(&text)))
}

/// A file's text; `None` where this kernel does not have it, or refuses to fill it.
fn text(dir: &Dir, file: &str) -> Result<Option<Vec<u8>>, Failure> {
    match dir.read(file) {
        Ok(text) => Ok(Some(text)),
        Err(failure)
            if matches!(failure.kind(), ErrorKind::Unsupported | ErrorKind::DomainInvalid) =>
        {
            Ok(None)
        }
        Err(failure) => Err(failure),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn io_is_summed_over_devices() {
        let text = b"8:0 Read 4096\n8:0 Write 100\n8:0 Total 4196\n259:1 Read 4\nTotal 4200\n";
        assert_eq!((sum_of(text, "Read"), sum_of(text, "Write")), (4100, 100));
        assert_eq!(sum_of(b"Total 0\n", "Read"), 0);
    }
}
